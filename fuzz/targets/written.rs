//! The input as each of the files that the program itself writes or is given beside images: a layout, the lists of a
//! case and of a backup, the state of a run that was cut short, reports of smartctl.
#![no_main]

use disinter::evidence::backup::{BackupManifest, compare};
use disinter::evidence::case::Case;
use disinter::evidence::resume::Store;
use disinter::evidence::verify;
use disinter::image::progress::Silent;
use disinter::image::{ImageSpec, Part, Reading};
use disinter::layout::{Layout, Members};
use disinter::scan::{Job, scan};
use disinter::units::Bytes;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A folder with two images, a text beside them, and one file under the names that all of these have.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = std::env::temp_dir().join(format!("disinter-written-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    for name in ["a.img", "b.img"] {
        fs::write(place.join(name), vec![b'7'; 65536]).unwrap();
    }
    fs::write(place.join("g.vg"), TEXT).unwrap();
    fs::write(place.join("manifest.json"), "").unwrap();
    fs::create_dir(place.join("case.resume")).unwrap();
    for name in ["layout.toml", "case.resume/state.json", "smart.json"] {
        let _ = fs::remove_file(place.join(name));
        fs::hard_link(place.join("manifest.json"), place.join(name)).unwrap();
    }
    place
});

/// What a run that was cut short is gone on with.
static CASE: LazyLock<Case> = LazyLock::new(|| Case::begin(&PLACE.join("case"), &[]).unwrap());

/// A group over two physical volumes, of extents of one sector.
const TEXT: &str = include_str!("group.vg");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let place = &*PLACE;
    fs::write(place.join("manifest.json"), data).unwrap();
    if let Ok(layout) = Layout::load(&place.join("layout.toml"))
        && let Ok(stack) = layout.open(place, Members::All, &Reading::default())
    {
        let mut bytes = vec![0; 4096];
        for name in stack.names().iter().take(32) {
            if let Ok(volume) = stack.volume(name) {
                for at in [Bytes(0), volume.len() - Bytes(4096)] {
                    let length = (volume.len() - at).to_len(4096);
                    let _ = volume.read_at(at, &mut bytes[..length]);
                }
            }
        }
    }
    let _ = verify::verify(place);
    let image = |name: &str| ImageSpec {
        path: place.join(name),
        part: Part::Whole,
    };
    let inputs = disinter::inputs::open_all(&[image("a.img"), image("b.img")], &Reading::default()).unwrap();
    if let Ok(list) = serde_json::from_slice::<BackupManifest>(data) {
        for kept in list.extents.iter().take(16) {
            if let Ok(bytes) = verify::read_file(place, &kept.file) {
                let _ = compare(&*inputs[0].source, kept.extent, &bytes);
            }
        }
    }
    if let Ok((_, states)) = Store::begin(&CASE, &inputs, true, |_| ()) {
        for (state, input) in states.into_iter().zip(&inputs) {
            let job = Job {
                state,
                ..Job::of(&*input.source)
            };
            let _ = scan(&job, 0, Default::default(), &Silent);
        }
    }
    let (reports, _) = disinter::smart::load::load(&[place.join("smart.json")]);
    let _ = disinter::smart::rank::rank(&reports);
});
