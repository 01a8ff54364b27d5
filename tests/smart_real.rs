//! SMART outputs of real drives: the traps that a naive ranking falls into.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::shared;
use disinter::smart::half;
use disinter::smart::load::load;
use disinter::smart::rank::{Disk, Ranking, Verdict, rank};
use std::path::{Path, PathBuf};

fn ranked(files: &[&str]) -> Option<Ranking> {
    let files: Option<Vec<PathBuf>> = files
        .iter()
        .map(|f| shared(&format!("smart/{f}")))
        .collect();
    let (reports, problems) = load(&files?);
    assert!(problems.is_empty(), "{problems:?}");
    Some(rank(&reports))
}

fn one(file: &str) -> Option<Disk> {
    ranked(&[file]).map(|r| r.disks[0].clone())
}

/// Which of two files the pair verdict takes, and why.
fn pair(a: &str, b: &str) -> Option<(String, String)> {
    let ranking = ranked(&[a, b])?;
    let stem = |file: &str| {
        Path::new(file)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let groups = [vec![stem(a), stem(b)]];
    let half = half::choose(&groups, &half::by_disk(&ranking, &Default::default()));
    assert!(
        half.warnings.iter().any(|w| w.contains("newer")),
        "every verdict says what SMART cannot"
    );
    Some((half.half[0].clone(), half.pairs[0].why.clone()))
}

/// Same model, one disk with damage: the other is taken. A sum of raw values would get these wrong or right by luck.
#[test]
fn the_healthier_of_a_pair() {
    const E: &str = "prometheus-community__smartctl_exporter";
    const S: &str = "AnalogJ__scrutiny";
    let pairs = [
        (
            format!("{S}/smart-megaraid0.json"),
            format!("{S}/smart-megaraid1.json"),
            "smart-megaraid0",
        ),
        (
            format!("{E}/ST3500418AS_12.json"),
            format!("{E}/ST3500418AS_11.json"),
            "ST3500418AS_11",
        ),
    ];
    for (a, b, good) in pairs {
        let Some((taken, why)) = pair(&a, &b) else {
            return;
        };
        assert_eq!(taken, good, "{why}");
        assert!(!why.contains("prefers none"), "{why}");
    }
    // 98 errors in the log, all of them the host's probing: no reason to prefer either.
    let probing = pair(
        &format!("{E}/ST3200820AS_15.json"),
        &format!("{E}/ST3200820AS_16.json"),
    );
    if let Some((_, why)) = probing {
        assert!(why.contains("prefers none"), "{why}");
    }
}

/// A newer short pass does not clear an extended failure, and lifetime hours wrap at 65536.
#[test]
fn self_tests_wrap_and_do_not_clear_each_other() {
    let Some(disk) = one("AnalogJ__scrutiny/smart-fail2.json") else {
        return;
    };
    assert_eq!(disk.verdict, Verdict::Failing);
    assert!(
        disk.reasons
            .iter()
            .any(|r| r.what.contains("extended self-test failed")),
        "{:?}",
        disk.reasons
    );
    assert_eq!(
        disk.tested_within_24_h,
        Some(true),
        "65592 - 42 hours is 14 hours ago, not 65550"
    );
    assert!(
        disk.failing_lbas.contains(&104_870_168),
        "{:?}",
        disk.failing_lbas
    );
}

/// A RAID volume or a virtual disk has no SMART: unknown, never clean.
#[test]
fn what_has_no_smart_is_unknown() {
    for file in [
        "AnalogJ__scrutiny/smart-raid.json",
        "PhilipMay__smart-prom-next/scsi_xall_limited_output.json",
    ] {
        let Some(disk) = one(file) else { return };
        assert_eq!((disk.verdict, disk.rank), (Verdict::Unknown, 0), "{file}");
    }
}

/// A drive that calls itself healthy, exit status 0, with a thousand reallocated and pending sectors.
#[test]
fn passed_is_no_verdict() {
    let Some(disk) = one("AnalogJ__scrutiny/smart-nvme-failed.json") else {
        return;
    };
    assert_eq!(disk.verdict, Verdict::Damaged);
    // Thousands of log entries of refused commands are no media errors.
    let Some(disk) = one("AnalogJ__scrutiny/smart-nvme2.json") else {
        return;
    };
    assert_eq!(
        (disk.verdict, disk.score),
        (Verdict::Clean, 0),
        "{:?}",
        disk.reasons
    );
}

/// Old smartctl printed the grown-defect list's bytes: 56 for 7 defects.
#[test]
fn grown_defects_of_old_smartctl() {
    let Some(disk) = one("AnalogJ__scrutiny/smart-scsi.json") else {
        return;
    };
    let grown = disk
        .reasons
        .iter()
        .find(|r| r.key == "scsi_grown_defect_list")
        .unwrap();
    assert_eq!(grown.decoded, "7");
}

/// Every real file is a report or is refused with a reason; none of them brings the program down.
#[test]
fn every_sample_is_read_or_refused() {
    let Some(folder) = shared("smart") else {
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let (reports, problems) = load(&[path]);
        seen += reports.len();
        assert!(
            problems
                .iter()
                .all(|p| p.what.contains("scan") || p.what.contains("no report")),
            "{problems:?}"
        );
        let ranking = rank(&reports);
        let ranks: Vec<usize> = ranking
            .disks
            .iter()
            .map(|d| d.rank)
            .filter(|r| *r > 0)
            .collect();
        assert_eq!(ranks, (1..=ranks.len()).collect::<Vec<_>>());
    }
    assert!(seen > 100, "only {seen} reports");
}
