//! Three disks the whole way, as `disinter investigate` goes it: the pass over each, the arrays, the texts and which of
//! them stands, the volumes and their checks, the page, the layout, the scripts.
#![no_main]

#[path = "../members.rs"]
#[expect(dead_code, reason = "the disks are files here")]
mod members;

use disinter::evidence::leading;
use disinter::image::progress::Silent;
use disinter::image::{ImageSpec, Part, Reading};
use disinter::investigate::{Hints, investigate, plan, survey};
use disinter::layout::Layout;
use disinter::lvm::candidates::Rows;
use disinter::lvm::restore::restore_file;
use disinter::{report, scan, script};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A folder for the disks.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = std::env::temp_dir().join(format!("disinter-investigate-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    place
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disks = members::parts(data, 3);
    if disks.is_empty() {
        return;
    }
    let specs: Vec<ImageSpec> = ["a.img", "b.img", "c.img"]
        .iter()
        .zip(&disks)
        .map(|(name, bytes)| {
            let path = PLACE.join(name);
            fs::write(&path, bytes).unwrap();
            ImageSpec {
                path,
                part: Part::Whole,
            }
        })
        .collect();
    let inputs = disinter::inputs::open_all(&specs, &Reading::default()).unwrap();
    let survey = survey(inputs, &[], scan::Options::default(), &Silent);
    let found = investigate(survey, Hints::default(), &Silent);
    let _ = report::page(&found, "case");
    let _ = (
        serde_json::to_vec(&Rows(&found.candidates)),
        serde_json::to_vec(&found.damage),
        serde_json::to_vec(&found.checks),
        serde_json::to_vec(&found.placing),
    );
    let _ = leading::collect(&found.inputs, &found.slices);
    // What is written down is read again by all other commands.
    let layout = toml::to_string_pretty(&found.layout).unwrap();
    fs::write(PLACE.join("layout.toml"), layout).unwrap();
    Layout::load(&PLACE.join("layout.toml")).unwrap();
    if let Some(chosen) = found.chosen()
        && let Ok(text) = restore_file(&chosen.carved)
    {
        let _ = script::write(&plan::plan(&found, &text));
    }
});
