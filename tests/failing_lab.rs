//! Disks that fail, by the real kernel: dm-dust (bad sectors by number) and dm-error (bad ranges) under the program.
//!
//! As the other lab tests, these are skipped, and say so, where the lab's packages are not installed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blank, boot, lab, share_with_program};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn read(share: &Path, name: &str) -> Value {
    let bytes = fs::read(share.join(name)).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn extents(value: &Value) -> Vec<(u64, u64)> {
    let extents = value.as_array().unwrap().iter();
    extents
        .map(|e| (e["offset"].as_u64().unwrap(), e["length"].as_u64().unwrap()))
        .collect()
}

fn status(share: &Path, name: &str) -> String {
    let text = fs::read_to_string(share.join(format!("{name}.status"))).unwrap();
    text.trim().to_owned()
}

/// Bad sectors, told by the kernel, must come out as exactly those extents, in every answer that rests on them, with
/// status 3; what lies beside them must still be found.
#[test]
fn bad_sectors_are_told_to_the_byte() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let share = share_with_program(folder.path());
    let images = ["a.img", "b.img"].map(|name| folder.path().join(name));
    for image in &images {
        blank(image, 64 << 20);
    }
    boot(&share, "failing.guest.sh", &[], &images);
    // 512-byte sectors 70, 71 and 100000, through dm-dust.
    let bad = [(70 * 512, 1024), (100_000 * 512, 512)];
    let scan = read(&share, "dust.json");
    assert_eq!(extents(&scan["unread"][0][1]), bad);
    assert_eq!(status(&share, "dust"), "3");
    let kinds: Vec<&str> = scan["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"lvm-label") && kinds.contains(&"ext-superblock"),
        "{kinds:?}"
    );
    let texts = read(&share, "texts.json");
    assert_eq!(extents(&texts["unread"][0]["extents"]), bad);
    assert_eq!(status(&share, "texts"), "3");
    let manifest = read(&share, "case/manifest.json");
    assert_eq!(extents(&manifest["inputs"][0]["unread"]), bad);
    assert_eq!(status(&share, "case"), "3");
    let map = fs::read_to_string(share.join("case/maps/dust.map")).unwrap();
    assert!(map.contains("0x00008C00  0x00000400  -"), "{map}");
    // dm-dust counts what it refused: one read of everything, one of 64 KiB, one of its own, one retry, each maybe
    // split or read ahead by the kernel, and no more however often the place is asked for.
    let refused: u64 = fs::read_to_string(share.join("refused"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(
        (1..=60).contains(&refused),
        "{refused} reads of three bad sectors:\n{}",
        fs::read_to_string(share.join("refused.log")).unwrap_or_default()
    );
    // A range that fails as a whole, and a disk of 4096-byte sectors above the bad one.
    assert_eq!(
        extents(&read(&share, "error.json")["unread"][0][1]),
        [(8 << 20, 1 << 20)]
    );
    assert_eq!(status(&share, "error"), "3");
    assert_eq!(
        extents(&read(&share, "large.json")["unread"][0][1]),
        [(8 * 4096, 4096), (12_500 * 4096, 4096)]
    );
    assert_eq!(status(&share, "large"), "3");
    // md superblocks that cannot be read are not called absent.
    assert_eq!(status(&share, "examine"), "3");
}
