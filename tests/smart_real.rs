//! SMART outputs of real drives: the traps that a naive ranking falls into, and input that is none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, blank, disinter, drill, json, run, shared};
use disinter::image::{Reading, read_vec};
use disinter::investigate::hits;
use disinter::layout::{Layout, Members};
use disinter::smart::half::{self, Health};
use disinter::smart::load::load;
use disinter::smart::rank::{Disk, Ranking, Verdict, rank};
use disinter::smart::selftest::LastTest;
use disinter::units::{Bytes, Extent};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const E: &str = "prometheus-community__smartctl_exporter";
const S: &str = "AnalogJ__scrutiny";
const P: &str = "PhilipMay__smart-prom-next";

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

fn stem(file: &str) -> String {
    let stem = Path::new(file).file_stem().unwrap();
    stem.to_str().unwrap().to_owned()
}

/// Which of two files the pair verdict takes, and why.
fn pair(a: &str, b: &str) -> Option<(String, String)> {
    let ranking = ranked(&[a, b])?;
    let disks: BTreeMap<String, &Disk> = ranking.disks.iter().map(|d| (d.name(), d)).collect();
    let health = Health {
        disks: &disks,
        lost: &|_| 0,
    };
    let half = half::choose(&[vec![stem(a), stem(b)]], health);
    assert!(
        half.warnings.iter().any(|w| w.contains("newer")),
        "every verdict says what SMART cannot"
    );
    Some((half.half[0].clone(), half.pairs[0].why.clone()))
}

/// Same model, one disk with damage: the other is taken. A sum of raw values would get these wrong or right by luck.
#[test]
fn the_healthier_of_a_pair() {
    let pairs = [
        (S, "smart-megaraid1", "smart-megaraid0"),
        (E, "ST3500418AS_12", "ST3500418AS_11"),
    ];
    for (folder, bad, good) in pairs {
        let Some((taken, why)) = pair(
            &format!("{folder}/{bad}.json"),
            &format!("{folder}/{good}.json"),
        ) else {
            return;
        };
        assert_eq!(taken, good, "{why}");
        assert!(!why.contains("no preference"), "{why}");
    }
    // 98 errors in the log, all of them the host's probing; wear in step; one uncorrectable error each.
    for (a, b) in [
        ("ST3200820AS_15", "ST3200820AS_16"),
        (
            "SAMSUNG_MZVL21T0HCLR-00B00_23",
            "SAMSUNG_MZVL21T0HCLR-00B00_24",
        ),
        ("MB0500EBNCR_13", "MB0500EBNCR_14"),
    ] {
        let (_, why) = pair(&format!("{E}/{a}.json"), &format!("{E}/{b}.json")).unwrap();
        assert!(why.contains("no preference"), "{why}");
    }
}

/// A newer short pass does not clear an extended failure, and lifetime hours wrap at 65536.
#[test]
fn self_tests_wrap_and_do_not_clear_each_other() {
    let Some(disk) = one(&format!("{S}/smart-fail2.json")) else {
        return;
    };
    assert_eq!(disk.verdict, Verdict::Failing);
    let failed = disk
        .reasons
        .iter()
        .find(|r| r.what.contains("self-test failed"));
    assert!(
        failed.unwrap().what.contains("extended, LBA 104870168"),
        "{failed:?}"
    );
    assert_eq!(disk.tested_within_24_h, Some(true));
    assert_eq!(
        disk.self_test.age_hours,
        Some(14),
        "65592 - 42 hours is 14 hours ago, not 65550"
    );
    assert!(
        disk.failing_lbas.contains(&104_870_168),
        "{:?}",
        disk.failing_lbas
    );
    let at = disk
        .failing_extents
        .iter()
        .find(|e| e.first_lba <= 104_870_168 && e.last_lba >= 104_870_168);
    assert!(at.unwrap().extent.offset.0 <= 104_870_168 * 512);
}

/// The states of a self-test that are easily taken for each other, on real logs.
#[test]
fn self_test_states() {
    let states = [
        // "in progress" carries passed: true; raw hours are 9103526781257015.
        (format!("{P}/sat_xall.json"), LastTest::Running),
        // All aborted by the host at hour 0, no `passed` key.
        ("henrygd__beszel/sda.json".to_owned(), LastTest::Aborted),
        (format!("{S}/smart-ata2.json"), LastTest::Never),
        (format!("{E}/ST3500418AS_11.json"), LastTest::NotCollected),
        (
            format!("{P}/usbjmicron_a_when_failed_now.json"),
            LastTest::Failed,
        ),
        (
            format!("{P}/usbjmicron_x_exit_status_4.json"),
            LastTest::Passed,
        ),
        (
            "influxdata__telegraf/scsi_extended-response.json".to_owned(),
            LastTest::Passed,
        ),
    ];
    for (file, state) in states {
        let Some(disk) = one(&file) else { return };
        assert_eq!(disk.self_test.last, state, "{file}");
    }
    let running = one(&format!("{P}/sat_xall.json")).unwrap();
    assert_eq!(
        running.columns[3].decoded,
        Some(1335),
        "{:?}",
        running.columns
    );
}

/// A RAID volume or a virtual disk has no SMART: unknown, never clean, and said how to ask the disks behind it.
#[test]
fn what_has_no_smart_is_unknown() {
    for (file, words) in [
        (format!("{S}/smart-raid.json"), "megaraid,N"),
        (format!("{P}/scsi_xall_limited_output.json"), "virtual disk"),
        (format!("{S}/smart-pass.json"), "nothing about its health"),
        (
            "joeywli__smartctl-rs/perm.json".to_owned(),
            "run it as root",
        ),
    ] {
        let Some(disk) = one(&file) else { return };
        assert_eq!((disk.verdict, disk.rank), (Verdict::Unknown, 0), "{file}");
        assert!(disk.notes.join(" ").contains(words), "{:?}", disk.notes);
    }
}

/// Healthy Seagates have raw values of 10^8 in attribute 1: all of them clean, none below a damaged disk.
#[test]
fn healthy_seagates_are_clean() {
    let Some(disk) = one(&format!(
        "{E}/sat-Seagate_Exos_X16-ST16000NM001G-2KK103-sda.json"
    )) else {
        return;
    };
    assert!(disk.columns[0].raw.unwrap() > 100_000_000);
    assert_eq!(
        (disk.verdict, disk.columns[0].decoded),
        (Verdict::Clean, Some(0))
    );
    let timeouts = disk.attributes.iter().find(|a| a.id == 188).unwrap();
    assert_eq!(
        timeouts.decoded.count(),
        Some(12),
        "51540393996 is 12, three times"
    );
}

/// Drives that call themselves healthy, exit status 0, with damage in the body; and one that calls itself failed
/// because of its cache.
#[test]
fn passed_is_no_verdict() {
    let Some(disk) = one(&format!("{S}/smart-nvme-failed.json")) else {
        return;
    };
    assert_eq!(disk.verdict, Verdict::Damaged);
    assert!(
        disk.cross_check
            .differs
            .as_ref()
            .unwrap()
            .contains("PASSED")
    );
    // Thousands of log entries of refused commands are no media errors.
    for file in [
        format!("{S}/smart-nvme2.json"),
        "influxdata__telegraf/nvme-response.json".to_owned(),
    ] {
        let disk = one(&file).unwrap();
        assert_eq!(disk.verdict, Verdict::Clean, "{:?}", disk.reasons);
        assert!(disk.errors.unwrap().total > 4000);
    }
    let cache = one(&format!(
        "{E}/nvme-null-SAMSUNG_MZWLL3T2HAJQ-00005-nvme0.json"
    ))
    .unwrap();
    assert_eq!(
        (cache.verdict, cache.cross_check.passed),
        (Verdict::Suspect, Some(false))
    );
    // Every number of the eight is 0, and two reads have failed.
    let logged = one(&format!(
        "{E}/sat-Toshiba_MG05ACA..._Enterprise_Capacity_HDD-TOSHIBA_MG05ACA800E-sdw.json"
    ))
    .unwrap();
    assert_eq!(
        (logged.verdict, logged.errors.unwrap().media),
        (Verdict::Damaged, 2)
    );
}

/// The issue's own example: PASSED, exit status 0, 8 pending sectors. Real attributes with one raw value changed.
#[test]
fn eight_pending_sectors_are_damage() {
    let Some(path) = shared(&format!(
        "smart/{E}/sat-Toshiba_MG04ACA..._Enterprise_HDD-TOSHIBA_MG04ACA200E-sdd.json"
    )) else {
        return;
    };
    let mut report: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let table = report["ata_smart_attributes"]["table"]
        .as_array_mut()
        .unwrap();
    let pending = table.iter_mut().find(|row| row["id"] == 197).unwrap();
    pending["raw"] = json!({"value": 8, "string": "8"});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sda.json");
    fs::write(&file, report.to_string()).unwrap();
    let out = json(disinter().args(["smart", "rank"]).arg(&file), 0);
    let disk = &out["disks"][0];
    assert_eq!(disk["verdict"], "damaged");
    assert_eq!(disk["cross_check"]["passed"], true);
    assert_eq!(disk["reasons"][0]["raw"], "8");
    assert_eq!(
        disk["reasons"][0]["key"],
        "ata_smart_attributes.table[id=197].raw.value"
    );
}

/// Old smartctl printed the grown-defect list's bytes: 56 for 7 defects.
#[test]
fn grown_defects_of_old_smartctl() {
    let Some(disk) = one(&format!("{S}/smart-scsi.json")) else {
        return;
    };
    let grown = disk
        .reasons
        .iter()
        .find(|r| r.key == "scsi_grown_defect_list")
        .unwrap();
    assert_eq!((grown.raw.as_str(), grown.decoded.as_str()), ("56", "7"));
    assert!(grown.what.contains("bytes"), "{grown:?}");
}

/// Tiers that a person who knows drives signs, read one by one; every sample that stands in no list is a drive with
/// nothing against it.
const TIERS: [(Verdict, &[&str]); 4] = [
    // Says so itself and fails its own tests.
    (
        Verdict::Failing,
        &["smart-fail2", "usbjmicron_a_when_failed_now"],
    ),
    // 7 media errors; 10 sectors uncorrectable offline; two reads that failed, in the log.
    (
        Verdict::Damaged,
        &[
            "smart-nvme-failed",
            "smart-ata-date2",
            "TOSHIBA_MG05ACA800E-sdw",
        ],
    ),
    (
        Verdict::Suspect,
        &[
            "smart-scsi",                       // 7 grown defects
            "smart-ata-failed-scrutiny",        // 108 transfer errors
            "smart-megaraid1",                  // 387 reallocated
            "usbsunplus_xall",                  // spin-up once below its threshold, 5 zone errors
            "sda",                              // 131 transfer errors
            "INTEL_SSDSC2BB016T7-sdc",          // 1 reallocated
            "INTEL_SSDSC2KB240G7-sdd",          // 4 reallocated
            "ST3500418AS_11",                   // 1 reallocated
            "ST3500418AS_12",                   // 304 reallocated
            "ST3000NM0033-9ZM178-sdc",          // 1 reallocated
            "SAMSUNG_MZWLL3T2HAJQ-00005-nvme0", // cache not safe at power loss
            "WDC_WD2003FYYS-02W0B1-sdi",        // 3118119 transfer errors
            "WUH721816ALE6L4-sdx",              // 1 transfer error
            "KINGSTON_SKC400S371T-sda",         // 1 reallocation
            "MB0500EBNCR_13",                   // 1 uncorrectable reported
            "MB0500EBNCR_14",
        ],
    ),
    (
        Verdict::Unknown,
        &[
            "smart-fail",
            "smart-pass",
            "smart-raid",
            "smartctl_info_nvme",
            "nvme_xall_error",
            "scsi_xall_limited_output",
            "perm",
        ],
    ),
];

/// Every sample parses and has the tier that was read off it by hand, or is a scan list that is refused by name.
#[test]
fn every_sample_has_a_verdict_to_sign() {
    let Some(folder) = shared("smart") else {
        return;
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut refused = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let (reports, problems) = load(&[path]);
        assert!(
            problems.iter().all(|p| p.what.contains("--scan")),
            "{problems:?}"
        );
        refused += problems.len();
        let ranking = rank(&reports);
        let ranks: Vec<usize> = ranking
            .disks
            .iter()
            .map(|d| d.rank)
            .filter(|r| *r > 0)
            .collect();
        assert_eq!(ranks, (1..=ranks.len()).collect::<Vec<_>>());
        for disk in &ranking.disks {
            let stem = stem(&disk.file);
            let named = |names: &&[&str]| {
                names
                    .iter()
                    .any(|n| *n == stem || n.len() > 10 && stem.ends_with(n))
            };
            let tier = TIERS
                .iter()
                .find(|(_, names)| named(names))
                .map_or(Verdict::Clean, |(t, _)| *t);
            assert_eq!(disk.verdict, tier, "{stem}: {:?}", disk.reasons);
            *seen.entry(disk.verdict.as_str()).or_default() += 1;
            for reason in &disk.reasons {
                assert!(
                    !reason.key.is_empty() && !reason.source.is_empty(),
                    "{reason:?}"
                );
            }
            let points: u32 = disk.reasons.iter().map(|r| r.points).sum();
            assert_eq!(points, disk.score, "a person must be able to add it up");
        }
    }
    assert_eq!(refused, 9);
    let of = |word: &str| seen.get(word).copied().unwrap_or(0);
    for (tier, names) in TIERS {
        assert_eq!(of(tier.as_str()), names.len(), "{tier:?}");
    }
    assert!(of("clean") > 90, "{seen:?}");
}

/// The page must be read on a console of 80 columns, whatever the names.
#[test]
fn the_page_fits_a_console() {
    let Some(folder) = shared("smart") else {
        return;
    };
    for sub in [E, S, P] {
        for option in [None, Some("--reasons")] {
            let mut command = disinter();
            command
                .args(["smart", "rank"])
                .args(option)
                .arg(folder.join(sub));
            let out = command.output().unwrap();
            let page = String::from_utf8(out.stdout).unwrap();
            let long = |l: &&str| {
                l.chars().count() > 80
                    && l.contains(' ')
                    && !l.contains("/work")
                    && !l.trim().starts_with('[')
            };
            let long: Vec<&str> = page
                .lines()
                .filter(long)
                .filter(|l| l.split(' ').all(|w| w.chars().count() < 60))
                .collect();
            assert!(long.is_empty(), "{long:#?}");
        }
    }
}

/// Failing blocks followed up to a volume and file must be the bytes that the volume has there, and so must be those
/// of the mirror that is named: else a person copies the wrong place.
#[test]
fn failing_blocks_are_found_in_volumes_and_on_mirrors() {
    let unpacked = Unpacked::new("holmes-2013");
    let case = unpacked.case();
    let layout = Layout::load(&case.join("layout.toml")).unwrap();
    let stack = layout
        .open(&case, Members::All, &Reading::default())
        .unwrap();
    let array = layout.arrays.iter().find(|a| a.level == "raid10").unwrap();
    let (image, _) = array.members[0].rsplit_once('@').unwrap();
    let partition = layout.images.iter().find(|i| i.name == image).unwrap();
    let number: u32 = array.members[0]
        .rsplit_once('@')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let start = partition
        .partitions
        .iter()
        .find(|p| p.number == number)
        .unwrap()
        .offset
        .0
        / 512;
    // Sectors that hold something: most of a drill's disk is empty.
    let member = stack.volume(&array.members[0]).unwrap();
    let mut full: Vec<u64> = Vec::new();
    for at in (0..member.len().0).step_by(4096) {
        let sector = read_vec(&*member, Extent::new(Bytes(at), Bytes(512)), 512).unwrap();
        if sector.iter().any(|b| *b != 0) {
            full.push(at / 512);
        }
    }
    let step = (full.len() / 150).max(1);
    let lbas = full
        .iter()
        .step_by(step)
        .map(|at| json!({"lba": start + at}));
    let lbas: Vec<serde_json::Value> = lbas.collect();
    let report = json!({"device": {"name": "/dev/sdx", "protocol": "ATA"}, "logical_block_size": 512,
        "user_capacity": {"bytes": partition.size.0},
        "ata_pending_defects_log": {"count": lbas.len(), "table": lbas},
        "ata_smart_attributes": {"table": [{"id": 197, "raw": {"value": lbas.len(), "string": ""}}]}});
    let file = unpacked.path().join(format!("{image}.json"));
    fs::write(&file, report.to_string()).unwrap();
    let (reports, _) = load(std::slice::from_ref(&file));
    let ranking = rank(&reports);
    let disks = BTreeMap::from([(image.to_owned(), &ranking.disks[0])]);
    let found = hits::hits(&layout, &stack, &disks);
    let (mut in_volumes, mut in_files, mut mirrored) = (0, 0, 0);
    for hit in &found {
        let on_disk = read_vec(&*stack.volume(&hit.disk).unwrap(), hit.on_disk, 4096).unwrap();
        if let Some((volume, extent)) = &hit.volume {
            in_volumes += 1;
            in_files += usize::from(!hit.files.is_empty());
            assert_eq!(extent.length, hit.on_disk.length);
            // The half may take the other mirror, which differs where the installer wrote.
            let there = read_vec(&*stack.volume(volume).unwrap(), *extent, 4096).unwrap();
            mirrored += usize::from(there == on_disk);
        }
        if let Some(mirror) = hit.read_from() {
            let (other, _) = mirror.member.rsplit_once('@').unwrap();
            assert_ne!(other, hit.disk);
        }
    }
    assert!(in_volumes > 10 && in_files > 0, "{in_volumes} {in_files}");
    assert!(mirrored + 2 >= in_volumes, "{mirrored} of {in_volumes}");
    let out = run(
        disinter()
            .args(["smart", "rank"])
            .arg(&file)
            .arg("--layout")
            .arg(&case),
        // Of the other disks nothing is known.
        1,
    );
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(page.contains("read it from"), "{page}");
    assert!(
        page.contains("md events") && page.contains("newer"),
        "{page}"
    );
    // A case keeps the same without being asked for it, and its page says so.
    let ranked = json(
        disinter()
            .args(["smart", "rank"])
            .arg(&file)
            .arg("--layout")
            .arg(&case),
        1,
    );
    // The document warns of what the page warns of.
    let warned = ranked["warnings"].to_string();
    assert!(warned.contains("no SMART report for"), "{warned}");
    let kept = unpacked.path().join("case-with-hits");
    let mut investigate = disinter();
    investigate.arg("investigate").args(unpacked.images());
    investigate
        .arg("--case")
        .arg(&kept)
        .arg("--smart")
        .arg(&file);
    let out = run(&mut investigate, 0);
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(page.contains("failing blocks of"), "{page}");
    let hits: serde_json::Value =
        serde_json::from_slice(&fs::read(kept.join("hits.json")).unwrap()).unwrap();
    assert_eq!(hits, ranked["hits"]);
    // With the drill's own reports, from the layout alone: the half is that of the pairs.
    let half = json(
        disinter()
            .args(["smart", "rank"])
            .arg(drill("holmes-2013").join("smart"))
            .arg("--pairs")
            .arg(&case),
        0,
    );
    assert!(
        half["half"].as_array().unwrap().len() >= 5,
        "{}",
        half["half"]
    );
}

struct Bad(tempfile::TempDir);

impl Bad {
    /// What the program says of a file with these bytes, and its status.
    fn say(&self, bytes: &[u8]) -> (i32, String) {
        let file = self.0.path().join("x.json");
        fs::write(&file, bytes).unwrap();
        let out = disinter()
            .args(["smart", "rank", "--reasons"])
            .arg(&file)
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

/// Input that is no report is refused in one line that says what it is and what to run.
#[test]
fn what_is_no_report_is_refused() {
    let bad = Bad(tempfile::tempdir().unwrap());
    let cases: [(&[u8], &str); 8] = [
        (b"", "is empty"),
        (
            b"{\"device\": {\"name\": \"/dev/sda\"}, \"ata_sm",
            "not whole JSON",
        ),
        (
            b"{\"device\": {\"name\": \"/dev/sda\"}, \"temperature\": NaN}",
            "not whole JSON",
        ),
        (b"{\"blockdevices\": []}", "no report of smartctl"),
        (
            b"smartctl 7.3 2022-02-28\n=== START OF INFORMATION SECTION ===\n",
            "text output",
        ),
        (b"---\njson_format_version:\n- 1\n", "YAML"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b"\x7fELF\x02\x01", "not JSON"),
    ];
    for (bytes, words) in cases {
        let (status, said) = bad.say(bytes);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Numbers that cannot be are said to be so, and never make a disk clean.
#[test]
fn impossible_numbers() {
    let bad = Bad(tempfile::tempdir().unwrap());
    let ata = |rows: &str| {
        let text = format!(
            r#"{{"device": {{"name": "/dev/sda", "protocol": "ATA"}}, "ata_smart_attributes": {{"table": [{rows}]}}}}"#
        );
        bad.say(text.as_bytes())
    };
    let cases = [
        // 2^64, and 2^64 with its text beside it.
        (
            r#"{"id": 197, "raw": {"value": 18446744073709551616, "string": ""}}"#,
            "damaged",
        ),
        (
            r#"{"id": 5, "raw": {"value": 1, "value_s": "18446744073709551616", "string": ""}}"#,
            "suspect",
        ),
        (
            r#"{"id": 197, "raw": {"value": -8, "string": "-8"}}"#,
            "cannot be, left out",
        ),
        (
            r#"{"id": 197, "raw": {"value": 0.5, "string": ""}}"#,
            "cannot be, left out",
        ),
        (
            r#"null, {"id": null}, {"id": 197}, {"id": 5, "raw": null}, {"id": 197, "raw": {"value": 8, "string": "8"}}"#,
            "damaged",
        ),
        (
            r#"{"id": 255, "name": "\u001b[31mx", "raw": {"value": 99999, "string": ""}}, {"id": 70000, "raw": {"value": 1}}"#,
            "clean",
        ),
        (
            r#"{"id": 5, "raw": {"value": 3, "string": "3"}}, {"id": 5, "raw": {"value": 300, "string": "300"}}"#,
            "45",
        ),
    ];
    for (rows, words) in cases {
        let (status, said) = ata(rows);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains(words), "{rows}: {said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    let nvme = br#"{"device": {"protocol": "NVMe"}, "nvme_smart_health_information_log": {"critical_warning": 0,
        "media_errors": -1, "num_err_log_entries": 340282366920938463463374607431768211455}}"#;
    assert!(bad.say(nvme).1.contains("suspect"));
    // Old smartctl lets a drive's own bytes through.
    let (status, said) = bad.say(b"{\"device\": {\"name\": \"/dev/sda\"}, \"model_name\": \"A\xff\xfeB\", \"scsi_grown_defect_list\": 0}");
    assert_eq!(status, 0, "{said}");
}

/// A disk image given by mistake must not be read into memory whole.
#[test]
fn a_large_file_is_refused_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    blank(&path, 200 << 20);
    let started = std::time::Instant::now();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -v 400000; exec \"$0\" smart rank \"$1\""]);
    let out = run(command.arg(env!("CARGO_BIN_EXE_disinter")).arg(&path), 2);
    assert!(String::from_utf8_lossy(&out.stderr).contains("16 MiB"));
    assert!(started.elapsed().as_secs() < 20);
}

/// A disk without a report and a report without a disk are said; so is how each was matched.
#[test]
fn leftovers_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let report = |serial: &str| {
        json!({"device": {"name": "/dev/sdq"}, "serial_number": serial, "scsi_grown_defect_list": 0, "smartctl": {"version": [7, 4]}}).to_string()
    };
    let pairs = write(
        "pairs.json",
        json!({"groups": [{"members": ["sda@2", "sdb@2"]}], "alone": ["sdc@2"]}).to_string(),
    );
    let a = write("sda.txt", report("AAAAAAA"));
    let other = write("other.txt", report("BBBBBBB"));
    let mut command = disinter();
    command
        .args(["smart", "rank"])
        .arg(&a)
        .arg(&other)
        .arg("--pairs")
        .arg(&pairs);
    let page = String::from_utf8(run(&mut command, 0).stdout).unwrap();
    for words in [
        "no SMART report for sdb",
        "of no disk here",
        "matched by file name: sda",
        "half: sda@2",
        "sdc@2 mirror no other",
        "which disk of a pair is newer",
    ] {
        assert!(
            page.replace("\n    ", " ").contains(words),
            "{words}: {page}"
        );
    }
    let map = format!("sdb={}", other.display());
    let out = json(command.args(["--smart-of", &map]), 0);
    assert_eq!(out["matches"][1]["by"], "smart-of");
}
