//! Arrays of the real kernel whose content fits more than one array: `md guess` must not be sure of one of them.
//!
//! As tests/lab.rs these need the lab's packages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blanks, boot, disinter, lab, noise};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the lab's disks.
const DISK: u64 = 48 << 20;

/// Folders of files, and a LUKS header with noise behind it.
fn content(share: &Path) {
    for (name, files, seed, length) in [("fresh", 60, 1000, 100_001), ("many", 600, 2000, 300)] {
        let tree = share.join(name);
        fs::create_dir_all(&tree).unwrap();
        for i in 0..files {
            let bytes = noise(seed + i as u64, length + 8 * i);
            fs::write(tree.join(format!("{name}{i}")), bytes).unwrap();
        }
    }
    let luks = share.join("luks.img");
    fs::write(&luks, noise(7, 40 << 20)).unwrap();
    let format = "PATH=/usr/sbin:/sbin:$PATH; cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 \
                  --pbkdf-force-iterations 1000 \"$1\" \"$1.key\"";
    fs::write(share.join("luks.img.key"), b"key").unwrap();
    let mut sh = Command::new("sh");
    assert!(
        sh.args(["-c", format, "sh"])
            .arg(&luks)
            .status()
            .unwrap()
            .success()
    );
}

struct Case<'a> {
    share: &'a Path,
    name: &'a str,
    count: usize,
}

impl Case<'_> {
    fn members(&self) -> Vec<PathBuf> {
        let member = |i| self.share.join(format!("{}.{i}", self.name));
        (0..self.count).map(member).collect()
    }

    /// Where the first member's superblock, of version 1.2, says that its data start.
    fn start(&self) -> u64 {
        let mut start = [0; 8];
        let file = fs::File::open(&self.members()[0]).unwrap();
        file.read_exact_at(&mut start, 4096 + 128).unwrap();
        u64::from_le_bytes(start)
    }

    /// Without superblocks.
    fn wiped(self) -> Self {
        for member in self.members() {
            let file = fs::File::options().write(true).open(member).unwrap();
            file.write_all_at(&[0; 8192], 0).unwrap();
        }
        self
    }

    fn guess(&self) -> Value {
        let mut command = disinter();
        command.args(["md", "guess", "--json"]).args(self.members());
        let out = command.output().unwrap();
        let document: Value = serde_json::from_slice(&out.stdout).unwrap();
        let arrays = document["arrays"].as_array().unwrap();
        assert_eq!(arrays.len(), 1, "{}: {document:#}", self.name);
        assert_eq!(
            out.status.code() == Some(1),
            arrays[0]["ambiguous"] == true,
            "{}: {document:#}",
            self.name
        );
        arrays[0].clone()
    }

    /// Nothing may be sure, and it is said why.
    fn open(&self) {
        let guess = self.guess();
        assert_eq!(guess["ambiguous"], true, "{}: {guess:#}", self.name);
        assert!(!guess["doubt"].is_null(), "{}: {guess:#}", self.name);
    }
}

/// One boot for all: it takes a minute.
#[test]
fn content_that_fits_more_than_one_array() {
    let Some(_one) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir_all(&share).unwrap();
    content(&share);
    let disks = blanks(folder.path(), 0..4, DISK);
    boot(&share, "starts.guest.sh", &[], &disks);
    let case = |name, count| Case {
        share: &share,
        name,
        count,
    };
    for (name, count) in [
        ("stripes", 3),
        ("undated", 2),
        ("turned", 3),
        ("parity", 4),
        ("mirror", 2),
    ] {
        begins_before_what_is_seen(case(name, count));
    }
    the_half_whose_files_grew(&case("grown", 2).wiped());
    an_array_before(&case("before", 3).wiped());
    own_starts(&case("own", 3));
    one_pair(&case("pair", 2).wiped());
    only_superblocks(&case("sealed", 3), &case("used", 3));
}

/// A volume group's label and texts are lost, and its file system reads as well in an array that begins with it: sure of
/// that one, a person would restore the group's backup at the wrong place.
fn begins_before_what_is_seen(case: Case<'_>) {
    let start = case.start();
    let kept = case.guess();
    let told = kept["alternatives"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&kept]);
    let told: Vec<_> = told.map(|a| a["data_offset_sectors"].as_u64()).collect();
    assert!(told.contains(&Some(start)), "{}: {kept:#}", case.name);
    if kept["ambiguous"] == false {
        assert_eq!(
            kept["data_offset_sectors"].as_u64(),
            Some(start),
            "{kept:#}"
        );
    }
    let wiped = case.wiped();
    let guess = wiped.guess();
    if guess["data_offset_sectors"].as_u64() != Some(start) {
        wiped.open();
    }
}

/// The older half's inodes tell of the older half's pages: the half that was in use was named as the one that is behind,
/// and left out.
fn the_half_whose_files_grew(case: &Case<'_>) {
    let guess = case.guess();
    let stale = guess["stale"].as_array().unwrap();
    assert!(!stale.contains(&"grown.0".into()), "{guess:#}");
    assert_eq!(guess["level"], "raid1", "{guess:#}");
}

/// What is left of an array that was there before has more votes than the new one's few files.
fn an_array_before(case: &Case<'_>) {
    let guess = case.guess();
    let right = guess["chunk_kib"] == 512;
    assert!(right || guess["ambiguous"] == true, "{guess:#}");
    let told = guess["alternatives"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&guess]);
    let chunks: Vec<_> = told.map(|a| a["chunk_kib"].as_u64()).collect();
    assert!(chunks.contains(&Some(512)), "{guess:#}");
}

/// Superblocks that say where each member's data start were left aside once the members were cut to a common start, and
/// the answer doubted for a start that they had all along.
fn own_starts(case: &Case<'_>) {
    let guess = case.guess();
    assert_eq!(guess["ambiguous"], false, "{guess:#}");
    assert_eq!(
        guess["data_offsets_sectors"],
        serde_json::json!([2048, 6144, 2048]),
        "{guess:#}"
    );
    let evidence = guess["evidence"].as_array().unwrap().iter();
    let superblocks = |e: &&Value| e.as_str().is_some_and(|e| e.contains("the same order"));
    assert_eq!(evidence.filter(superblocks).count(), 1, "{guess:#}");
}

/// Two mirrors of four members are half of the array, and no raid1: as one, a file system would be read of which every
/// second chunk is missing.
fn one_pair(case: &Case<'_>) {
    let guess = case.guess();
    assert!(
        guess["level"] == "raid10" || guess["ambiguous"] == true,
        "{guess:#}"
    );
}

/// An installer's superblocks over an encrypted array look as its own do; those of an array that was in use for days are
/// its own, and nobody shall be told to doubt them.
fn only_superblocks(sealed: &Case<'_>, used: &Case<'_>) {
    sealed.open();
    let guess = used.guess();
    assert_eq!(guess["ambiguous"], false, "{guess:#}");
    assert_eq!(guess["chunk_kib"], 64, "{guess:#}");
}
