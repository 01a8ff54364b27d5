//! `md guess` on what is no single whole array: what it may not claim, and within which time.
//!
//! Arrays of every kind, as the kernel makes them, are tests/lab/matrix'.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, json, strings};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;

/// Bytes that look like noise, the same ones for a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ z >> 27)
            .wrapping_mul(0x94d0_49bb_1331_11eb)
            .to_le_bytes()[4]
    };
    (0..length).map(|_| next()).collect()
}

/// Members of a raid5, parity on the last: noise, and its sum.
fn raid5(seed: u64, members: usize, length: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (1..members as u64)
        .map(|m| noise(seed * 100 + m, length))
        .collect();
    let mut sum = vec![0; length];
    for member in &all {
        sum.iter_mut().zip(member).for_each(|(s, b)| *s ^= b);
    }
    all.push(sum);
    all
}

/// Writes the members as `NAME0.img`, `NAME1.img` …
fn write(folder: &Path, name: &str, members: &[Vec<u8>]) -> Vec<PathBuf> {
    let write = |(i, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(format!("{name}{i}.img"));
        fs::write(&path, bytes).unwrap();
        path
    };
    members.iter().enumerate().map(write).collect()
}

fn guess(images: &[PathBuf], status: i32) -> Vec<Value> {
    let document = json(disinter().args(["md", "guess"]).args(images), status);
    document["arrays"].as_array().unwrap().clone()
}

/// The members of each array that was found, without order.
fn sets(arrays: &[Value]) -> Vec<Vec<String>> {
    let of = |array: &Value| {
        let members = array["members"].as_array().unwrap();
        let mut names: Vec<String> = members
            .iter()
            .filter_map(|m| m.as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    };
    let mut sets: Vec<_> = arrays.iter().map(of).collect();
    sets.sort();
    sets
}

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}{i}")).collect()
}

#[track_caller]
fn nothing_sure(arrays: &[Value]) {
    for array in arrays {
        assert_eq!(array["ambiguous"], true, "{array:#}");
    }
}

/// Forty disks of noise: an order for them would be an invention, and to try all of them would take for ever.
#[test]
fn forty_members_of_noise() {
    let folder = tempfile::tempdir().unwrap();
    let members: Vec<_> = (0..40).map(|i| noise(i, 64 * PAGE)).collect();
    let images = write(folder.path(), "m", &members);
    let start = Instant::now();
    let arrays = guess(&images, 1);
    assert!(start.elapsed() < Duration::from_secs(60));
    nothing_sure(&arrays);
    assert!(arrays.iter().all(|a| a["level"].is_null()), "{arrays:#?}");
}

/// Of a raid5 with forty members as many belong together, and nothing tells their order.
#[test]
fn forty_members_of_a_raid5() {
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path(), "m", &raid5(1, 40, 64 * PAGE));
    let arrays = guess(&images, 1);
    assert_eq!(arrays.len(), 1);
    nothing_sure(&arrays);
    assert!(strings(&arrays[0]["undetermined"]).contains(&"order".to_owned()));
}

/// Two arrays of one shape given together are two: taken for one they would be put together from each other's chunks.
#[test]
fn two_raid5_of_equal_shape_are_parted() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = write(folder.path(), "a", &raid5(1, 4, 256 * PAGE));
    images.extend(write(folder.path(), "b", &raid5(2, 4, 256 * PAGE)));
    let arrays = guess(&images, 1);
    assert_eq!(sets(&arrays), [names("a", 4), names("b", 4)]);
    for array in &arrays {
        let evidence = strings(&array["evidence"]);
        assert!(
            evidence[0].contains("4 of the 8 members given"),
            "{evidence:?}"
        );
    }
}

/// A raid5 and members of something without redundancy: the raid5 must not take them in as missing ones.
#[test]
fn a_raid5_and_a_raid0_are_parted() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = write(folder.path(), "a", &raid5(1, 4, 256 * PAGE));
    let others: Vec<_> = (0..3).map(|i| noise(900 + i, 256 * PAGE)).collect();
    images.extend(write(folder.path(), "b", &others));
    let arrays = guess(&images, 1);
    assert!(
        sets(&arrays).contains(&names("a", 4)),
        "{:?}",
        sets(&arrays)
    );
    nothing_sure(&arrays);
}

/// A member whose copy was cut short still shows the parity as far as it goes.
#[test]
fn a_member_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = raid5(1, 4, 512 * PAGE);
    members[1].truncate(200 * PAGE + 77);
    let arrays = guess(&write(folder.path(), "m", &members), 1);
    nothing_sure(&arrays);
    assert_eq!(arrays[0]["level"], "raid5", "{:#}", arrays[0]);
}

/// A copy of a member under another name is no sixth disk, whatever else can be told.
#[test]
fn a_member_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = raid5(1, 4, 256 * PAGE);
    members.push(members[2].clone());
    let arrays = guess(&write(folder.path(), "m", &members), 1);
    nothing_sure(&arrays);
}

/// One member alone, all zeros, and nothing but a header of an encrypted volume: no claim.
#[test]
fn too_little_to_tell() {
    let folder = tempfile::tempdir().unwrap();
    let one = write(folder.path(), "one", &raid5(1, 4, 64 * PAGE)[..1]);
    let zeros = write(folder.path(), "zero", &vec![vec![0; 64 * PAGE]; 5]);
    for images in [one, zeros] {
        nothing_sure(&guess(&images, 1));
    }
}
