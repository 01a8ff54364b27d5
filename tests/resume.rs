//! A run that is killed is gone on with, and ends as one that never stopped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, run, sha256};
use std::time::{Duration, Instant};

/// After a power cut at hour sixteen of a seventeen-hour pass a person must not begin anew, nor take a cut case for a
/// whole one, nor get a hash that the unbroken run would not have given.
#[test]
fn a_killed_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (image, case) = (folder.path().join("sda.img"), folder.path().join("case"));
    let mut state = 1_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(48 << 20)
    .collect();
    std::fs::write(&image, &bytes).unwrap();
    let investigate = || {
        let mut command = disinter();
        command.arg("investigate").arg(&image);
        command.arg("--case").arg(&case);
        command
    };
    let mut child = investigate().args(["--bwlimit", "4M"]).spawn().unwrap();
    let kept = folder.path().join("case.resume");
    let start = Instant::now();
    while !kept.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no state kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!case.exists(), "a cut case stands where a whole one would");
    let refused = run(&mut investigate(), 2);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--resume"), "{said}");
    // Noise holds no answer: status 1, but the case is whole.
    run(investigate().arg("--resume"), 1);
    let manifest = std::fs::read(case.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["inputs"][0]["sha256"], sha256(&bytes));
    assert!(!kept.exists());
    assert_eq!(sha256(&std::fs::read(&image).unwrap()), sha256(&bytes));
}
