//! Mirrors that the real kernel wrote: one member behind, and copies without superblocks that were stopped.
//!
//! As tests/lab.rs these need the lab's packages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blanks, boot, disinter, json, lab, noise};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the lab's disks.
const DISK: u64 = 96 << 20;

/// Sector at which the copy is stopped: 24 MiB, in the middle of files.
const STOP: u64 = 49_152;

fn pair(share: &Path, name: &str) -> [PathBuf; 2] {
    [0, 1].map(|i| share.join(format!("{name}.{i}")))
}

fn group(files: &[PathBuf; 2], options: &[&str]) -> Value {
    let found = json(
        disinter().args(["md", "pairs"]).args(options).args(files),
        0,
    );
    assert_eq!(found["groups"].as_array().unwrap().len(), 1, "{found:#}");
    found["groups"][0].clone()
}

/// The file system's block numbers of its journal, by debugfs; `None` where that is not installed.
fn journal_blocks(fs_image: &Path) -> Option<BTreeSet<u64>> {
    let command = "PATH=/usr/sbin:/sbin:$PATH; command -v debugfs >/dev/null || exit 77; debugfs -R 'blocks <8>' \"$1\" 2>/dev/null";
    let mut sh = Command::new("sh");
    let out = sh
        .args(["-c", command, "sh"])
        .arg(fs_image)
        .output()
        .unwrap();
    if out.status.code() == Some(77) {
        eprintln!("SKIPPED: debugfs is not installed");
        return None;
    }
    let text = String::from_utf8(out.stdout).unwrap();
    Some(
        text.split_whitespace()
            .map(|b| b.parse().unwrap())
            .collect(),
    )
}

/// One boot for all: it takes half a minute.
#[test]
fn mirrors_of_the_real_kernel() {
    let Some(_one) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    for (name, files, seed) in [("fresh", 40, 1000), ("more", 3, 2000)] {
        let tree = share.join(name);
        fs::create_dir_all(&tree).unwrap();
        for i in 0..files {
            fs::write(tree.join(format!("{name}{i}")), noise(seed + i, 1_500_000)).unwrap();
        }
    }
    let disks = blanks(folder.path(), 0..2, DISK);
    let stop = format!("STOP={STOP}");
    boot(&share, "mirrors.guest.sh", &["--env", &stop], &disks);
    a_member_behind(&share, folder.path());
    copies(&share);
}

/// Each difference called by its name: a person who is told "data" looks for lost files, and one told "journal" does not.
fn a_member_behind(share: &Path, folder: &Path) {
    let files = pair(share, "behind");
    let found = group(&files, &[]);
    assert_eq!(found["behind"], serde_json::json!(["behind.1"]));
    assert_eq!(found["copied"]["state"], "diverged");
    // By another way: the bytes themselves, from where mdadm says that data starts.
    let examined = json(disinter().args(["md", "examine"]).args(&files), 0);
    let offset = examined["superblocks"][0]["data_offset"].as_u64().unwrap() * 512;
    let size = examined["superblocks"][0]["member_size"].as_u64().unwrap() * 512;
    let [a, b] = files.each_ref().map(|f| {
        let (from, to) = (
            usize::try_from(offset).unwrap(),
            usize::try_from(offset + size).unwrap(),
        );
        fs::read(f).unwrap()[from..to].to_vec()
    });
    let differing: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i]).collect();
    assert_eq!(
        found["differing_bytes"].as_u64().unwrap(),
        differing.len() as u64
    );
    assert_eq!(
        found["first_difference"].as_u64().unwrap(),
        differing[0] as u64
    );
    let image = folder.join("behind.fs");
    fs::write(&image, &a).unwrap();
    let Some(journal) = journal_blocks(&image) else {
        return;
    };
    let mut in_class: std::collections::BTreeMap<String, u64> = Default::default();
    let mut listed = 0;
    for extent in found["differing_extents"].as_array().unwrap() {
        let [at, length, bytes] =
            ["offset", "length", "bytes"].map(|f| extent[f].as_u64().unwrap());
        let class = extent["class"].as_str().unwrap();
        *in_class.entry(class.to_owned()).or_default() += bytes;
        listed += bytes;
        for sector in (at..at + length).step_by(512) {
            let is_journal = journal.contains(&(sector / 4096));
            assert_eq!(is_journal, class == "journal", "{extent}");
        }
    }
    assert_eq!(listed, differing.len() as u64);
    // Three files of noise where the other member has zeros: one byte in 256 is equal by chance.
    let files = 3.0 * 1_500_000.0 * 255.0 / 256.0;
    let data = f64::from(u32::try_from(in_class["data"]).unwrap());
    assert!((data / files - 1.0).abs() < 0.002, "{in_class:?}");
    assert!(
        in_class["fs-metadata"] > 0 && in_class["journal"] > 0,
        "{in_class:?}"
    );
}

/// The story of a migration between storages: whether the copy is whole, and if not, how far it came and which way.
fn copies(share: &Path) {
    let stopped = fs::read_to_string(share.join("built.offset")).unwrap();
    let sector: u64 = stopped.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(sector, STOP, "the kernel stopped elsewhere");
    let files = pair(share, "built");
    for files in [files.clone(), [files[1].clone(), files[0].clone()]] {
        let found = group(&files, &[]);
        let copied = &found["copied"];
        assert_eq!(copied["state"], "stopped", "{found:#}");
        let [least, most] = ["at_least", "at_most"].map(|f| copied[f].as_u64().unwrap());
        let truth = STOP * 512;
        assert!(least <= truth && truth <= most, "{least} {truth} {most}");
        // Where there are files on both sides of it, to the page; at the end of a file of noise there is a rest of zeros.
        assert!(most - least <= 64 << 10, "{least} {most}");
        let source = copied["source"].as_u64().unwrap();
        let names = found["members"].as_array().unwrap();
        assert_eq!(names[usize::try_from(source).unwrap()], "built.0");
    }
    let whole = group(&pair(share, "whole"), &[]);
    assert_eq!(whole["copied"]["state"], "complete");
    assert_eq!(
        (&whole["differing_bytes"], &whole["compared_bytes"]),
        (&0.into(), &DISK.into())
    );
    let sampled = group(&pair(share, "whole"), &["--sample"]);
    let compared = sampled["compared_bytes"].as_u64().unwrap();
    assert!(compared <= 64 << 20 && compared > 1 << 20, "{compared}");
    assert_eq!(sampled["common_bytes"], DISK);
}
