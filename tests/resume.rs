//! A run that is killed is gone on with, and ends as one that never stopped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, run, sha256};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A folder with an image of noise, a run over it that was killed after it had kept its state, and where that is.
struct Killed {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Killed {
    /// With this map beside the image.
    fn new(map: Option<&str>) -> Killed {
        let folder = tempfile::tempdir().unwrap();
        let mut state = 1_u64;
        let bytes = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let bytes = bytes.take(48 << 20).collect();
        let killed = Killed { folder, bytes };
        std::fs::write(killed.path("sda.img"), &killed.bytes).unwrap();
        if let Some(map) = map {
            std::fs::write(killed.path("sda.map"), map).unwrap();
        }
        let mut command = killed.investigate();
        let mut child = command.args(["--bwlimit", "4M"]).spawn().unwrap();
        let start = Instant::now();
        while !killed.path("case.resume/state.json").exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "no state kept");
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn investigate(&self) -> Command {
        let mut command = disinter();
        command.arg("investigate").arg(self.path("sda.img"));
        command.arg("--case").arg(self.path("case"));
        command
    }

    /// The manifest of the case.
    fn manifest(&self) -> serde_json::Value {
        let manifest = std::fs::read(self.path("case/manifest.json")).unwrap();
        serde_json::from_slice(&manifest).unwrap()
    }
}

/// After a power cut at hour sixteen of a seventeen-hour pass a person must not begin anew, nor take a cut case for a
/// whole one, nor get a hash that the unbroken run would not have given.
#[test]
fn a_killed_run_goes_on() {
    let killed = Killed::new(None);
    assert!(
        !killed.path("case").exists(),
        "a cut case stands where a whole one would"
    );
    let refused = run(&mut killed.investigate(), 2);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--resume"), "{said}");
    // A quick look would take the state's place with a case of little.
    for more in [vec!["--quick", "--resume"], vec!["--quick"]] {
        let refused = run(killed.investigate().args(&more), 2);
        let said = String::from_utf8(refused.stderr).unwrap();
        let what = if more.len() == 2 {
            "leave it away"
        } else {
            "--resume"
        };
        assert!(said.contains(what), "{said}");
    }
    // Noise holds no answer: status 1, but the case is whole.
    run(killed.investigate().arg("--resume"), 1);
    assert_eq!(
        killed.manifest()["inputs"][0]["sha256"],
        sha256(&killed.bytes)
    );
    assert!(!killed.path("case.resume").exists());
    let image = std::fs::read(killed.path("sda.img")).unwrap();
    assert_eq!(sha256(&image), sha256(&killed.bytes));
}

/// While a machine was down ddrescue has read what was missing: believed, the older state would call it unread for ever,
/// and the hash would be that of no image.
#[test]
fn ddrescue_went_on_between() {
    let killed = Killed::new(Some(
        "0 +\n0 0x100000 +\n0x100000 0x100000 -\n0x200000 0x2e00000 +\n",
    ));
    std::fs::write(killed.path("sda.map"), "0 +\n0 0x3000000 +\n").unwrap();
    let out = run(killed.investigate().arg("--resume"), 1);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("sda: it or its map was written to"), "{said}");
    let manifest = killed.manifest();
    assert_eq!(manifest["unread_bytes"], 0);
    assert_eq!(manifest["inputs"][0]["sha256"], sha256(&killed.bytes));
}
