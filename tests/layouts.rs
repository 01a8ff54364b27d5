//! The layout file that a guess or a case leaves: it must read back what lies on the members, and refuse what a person or
//! a start of the machine has changed under it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{disinter, export, ext4_of, run};
use disinter::md::geometry::Geometry;
use disinter::md::level::Level;
use disinter::units::{Bytes, Sectors};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

/// An ext4 with files in it; `None`, with a printed reason, where no mkfs is.
fn ext4(folder: &Path, mib: u64) -> Option<Vec<u8>> {
    let tree = folder.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..mib * 12 {
        let text = format!("file {number}, ").repeat(240 + (number as usize * 97) % 10_800);
        fs::write(tree.join(format!("f{number}")), text).unwrap();
    }
    ext4_of(&tree, &folder.join("volume"), mib, &[], None)
}

/// Members of this length with an array's bytes on them, written as `m0.img` and so on.
fn write(folder: &Path, array: &[u8], geometry: &Geometry, lengths: &[usize]) -> Vec<PathBuf> {
    let mut members: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0; *length]).collect();
    let mut at = 0;
    while at < array.len() {
        let (places, run) = geometry.places(Bytes(at as u64));
        let end = array.len().min(at + run.0 as usize);
        assert!(!places.is_empty(), "the array ends at {at}");
        for place in places {
            let from = place.offset.0 as usize;
            members[place.slot][from..from + end - at].copy_from_slice(&array[at..end]);
        }
        at = end;
    }
    let write = |(number, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(format!("m{number}.img"));
        fs::write(&path, bytes).unwrap();
        path
    };
    members.iter().enumerate().map(write).collect()
}

/// The layout that `md guess` writes for these members.
fn guessed(folder: &Path, images: &[PathBuf], status: i32) -> PathBuf {
    let layout = folder.join("layout.toml");
    let mut command = disinter();
    command
        .args(["md", "guess"])
        .args(images)
        .arg("-o")
        .arg(&layout);
    run(&mut command, status);
    layout
}

fn edit(layout: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(layout).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(layout, text.replacen(from, to, 1)).unwrap();
}

/// Where the second copies begin was seen, and then worked out again from the member's end: with any slack there, as on a
/// whole disk whose partition table is lost, every one was read some chunks off as soon as a member was missing.
#[test]
fn far_copies_are_read_where_they_were_seen() {
    let folder = tempfile::tempdir().unwrap();
    let Some(volume) = ext4(folder.path(), 24) else {
        return;
    };
    let chunk = 64 << 10;
    // 24 MiB of data in two copies over three members, and 5 chunks of slack.
    let used = 16 * MIB;
    let geometry = |bytes: usize| {
        let chunk = Sectors(chunk as u64 / 512);
        Geometry::new(Level::Raid10, Some("f2"), 3, chunk, Bytes(bytes as u64)).unwrap()
    };
    let lengths = [used + 5 * chunk; 3];
    let images = write(folder.path(), &volume, &geometry(used), &lengths);
    let layout = guessed(folder.path(), &images, 0);
    assert_eq!(export(&layout, "array1", &[], 0).0, volume);
    for missing in ["m0", "m1", "m2"] {
        let text = fs::read_to_string(&layout).unwrap();
        edit(
            &layout,
            &format!("\n    \"{missing}\",\n"),
            "\n    \"missing\",\n",
        );
        let (bytes, errors) = export(&layout, "array1", &[], 0);
        assert!(bytes == volume, "{missing} {errors}");
        fs::write(&layout, text).unwrap();
    }
}

/// A linear array's members, and those of a raid0 of unequal disks, were all taken to be as long as the shortest: what lay
/// behind it was read from a wrong place, by a layout whose answer was sure.
#[test]
fn members_of_unequal_length_are_read_as_long_as_they_are() {
    let chunks = |count: usize| count * (64 << 10);
    for (level, layout, sizes, behind) in [
        (Level::Linear, None, [112, 192, 80], 0),
        // Behind the data there is room for a superblock, as mdadm leaves it.
        (Level::Raid0, Some("original"), [65, 160, 160], 16 << 10),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some(volume) = ext4(folder.path(), 24) else {
            return;
        };
        let sizes = sizes.map(chunks);
        let of = sizes.map(|size| Bytes(size as u64));
        let geometry = Geometry::of_sizes(level, layout, Sectors(128), &of).unwrap();
        let lengths = sizes.map(|size| size + behind);
        let images = write(folder.path(), &volume, &geometry, &lengths);
        let file = guessed(folder.path(), &images, 0);
        let (bytes, errors) = export(&file, "array1", &[], 0);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            bytes.len() as u64,
            geometry.array_size().0,
            "{level} {errors} {text}"
        );
        let differs = bytes.iter().zip(&volume).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{level} {text}");
    }
}

/// A raid1 and a raid0 of two disks each, as a person has them in a layout.
fn four(folder: &Path) -> PathBuf {
    let noise = |seed: u64| -> Vec<u8> {
        let byte = |i: u64| ((i + seed * 7919).wrapping_mul(2_654_435_761) >> 13) as u8;
        (0..MIB as u64).map(byte).collect()
    };
    let mut text = String::new();
    for (name, seed) in [("a", 1), ("b", 1), ("c", 3), ("d", 4)] {
        let path = folder.join(format!("{name}.img"));
        fs::write(&path, noise(seed)).unwrap();
        let known = disinter::layout::places(&disinter::image::Memory::new(name, noise(seed)));
        text += &format!(
            "[[image]]\nname = \"{name}\"\npath = \"{name}.img\"\nsize = 1048576\nknown_by = {known:?}\n"
        );
    }
    for (name, level, members, half) in [
        ("mirror", "raid1", ["a", "b"], "half = [\"a\"]"),
        ("stripe", "raid0", ["c", "d"], "chunk_kib = 64"),
    ] {
        text += &format!(
            "[[array]]\nname = \"{name}\"\nlevel = \"{level}\"\ndata_offset_sectors = 0\nmember_bytes = 1048576\n\
             members = {members:?}\n{half}\n"
        );
    }
    let layout = folder.join("layout.toml");
    fs::write(&layout, text).unwrap();
    layout
}

/// Disks get other letters at the next start: two of one size were read in each other's place, with status 0.
#[test]
fn images_that_changed_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layout = four(folder.path());
    let (before, _) = export(&layout, "stripe", &[], 0);
    let [c, d, away] = ["c.img", "d.img", "away"].map(|name| folder.path().join(name));
    for (from, to) in [(&c, &away), (&d, &c), (&away, &d)] {
        fs::rename(from, to).unwrap();
    }
    let (_, errors) = export(&layout, "stripe", &[], 2);
    assert!(
        errors.contains("c.img: holds other bytes than c did"),
        "{errors}"
    );
    assert!(errors.contains("correct the paths"), "{errors}");
    edit(&layout, "\"c.img\"", "\"x.img\"");
    edit(&layout, "\"d.img\"", "\"c.img\"");
    edit(&layout, "\"x.img\"", "\"d.img\"");
    assert!(export(&layout, "stripe", &[], 0).0 == before);
    // One place that was written to since makes no other disk of it.
    let file = fs::OpenOptions::new().write(true).open(&c).unwrap();
    file.write_all_at(b"a superblock", 0).unwrap();
    export(&layout, "stripe", &[], 0);
}

/// One disk in two places, one name for two things, a half of nobody, a table that nobody reads: each gave bytes, or
/// zeros, and status 0.
#[test]
fn what_is_written_twice_or_wrong_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layout = four(folder.path());
    let text = fs::read_to_string(&layout).unwrap();
    for (from, to, words) in [
        ("\"d.img\"", "\"c.img\"", "holds other bytes"),
        ("path = \"b.img\"", "path = \"a.img\"", "the image"),
        (
            "name = \"d\"",
            "name = \"c\"",
            "the name c stands in the layout twice",
        ),
        (
            "name = \"stripe\"",
            "name = \"a\"",
            "the name a stands in the layout twice",
        ),
        (
            "[\"c\", \"d\"]",
            "[\"c\", \"c\"]",
            "the member c stands in the layout twice",
        ),
        (
            "half = [\"a\"]",
            "half = [\"c\"]",
            "c is in its half, and is none of its members",
        ),
        ("[[array]]", "[[arrays]]", "unknown field"),
    ] {
        edit(&layout, from, to);
        let (_, errors) = export(&layout, "stripe", &[], 2);
        assert!(errors.contains(words), "{from} {errors}");
        fs::write(&layout, &text).unwrap();
    }
}

/// The report says to unplug the other half; then nothing could be read by the layout.
#[test]
fn the_other_half_may_be_unplugged() {
    let folder = tempfile::tempdir().unwrap();
    let layout = four(folder.path());
    fs::remove_file(folder.path().join("b.img")).unwrap();
    let (bytes, _) = export(&layout, "mirror", &["--half"], 0);
    assert!(bytes == fs::read(folder.path().join("a.img")).unwrap());
    let (_, errors) = export(&layout, "mirror", &[], 2);
    assert!(errors.contains("b.img"), "{errors}");
    fs::remove_file(folder.path().join("c.img")).unwrap();
    let (_, errors) = export(&layout, "mirror", &["--half"], 2);
    assert!(errors.contains("c.img"), "{errors}");
}
