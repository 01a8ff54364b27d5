//! From reports to disks in order, each with its reasons, so that a person can redo the ranking by hand.

use super::report::{Errors, Outcome, Report};
use super::weights::{self, Group, JUDGEMENT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The attributes that are always shown: those that the story's choice was made by.
pub const COLUMNS: [u64; 8] = [1, 5, 7, 9, 196, 197, 198, 200];

/// What a disk is, in one word. Ordered from good to bad; unknown stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing against it.
    Clean,
    /// Signs that often come before damage.
    Suspect,
    /// Sectors that cannot be read.
    Damaged,
    /// It says so itself, or fails its own test.
    Failing,
    /// Nothing could be read of it.
    Unknown,
}

/// One line of a disk's reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In words.
    pub what: String,
    /// The key in smartctl's JSON.
    pub key: String,
    /// The value there.
    pub raw: String,
    /// What it means.
    pub decoded: String,
    /// What it costs.
    pub points: u32,
    /// Where the weight comes from.
    pub source: &'static str,
}

/// One of the [`COLUMNS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The attribute.
    pub id: u64,
    /// As the drive gives it.
    pub raw: u64,
    /// What it counts, if that can be told.
    pub decoded: Option<u64>,
}

/// A disk with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// From 1, the best; 0 for unknown, which has no place.
    pub rank: usize,
    /// The report's file.
    pub file: String,
    /// The device's name on the machine that was asked.
    pub device: String,
    /// The model.
    pub model: String,
    /// The serial number.
    pub serial: String,
    /// `ATA`, `SCSI` or `NVMe`.
    pub protocol: String,
    /// In one word.
    pub verdict: Verdict,
    /// Points; lower is better.
    pub score: u32,
    /// Where the points come from, the most first.
    pub reasons: Vec<Reason>,
    /// Sectors that the logs say cannot be read.
    pub failing_lbas: Vec<u64>,
    /// The attributes that are always shown.
    pub columns: Vec<Column>,
    /// The error log, where it was collected.
    pub errors: Option<Errors>,
    /// Whether the last self-test ended well within a day; nothing where the log was not collected.
    pub tested_within_24_h: Option<bool>,
}

impl Disk {
    /// The disk that the report is of, by its file's name without extension; the device's name where it has none.
    pub fn name(&self) -> String {
        std::path::Path::new(&self.file)
            .file_stem()
            .map_or_else(|| self.device.clone(), |s| s.to_string_lossy().into_owned())
    }
}

/// Disks from best to worst, then those of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ranking {
    /// The disks.
    pub disks: Vec<Disk>,
    /// What is odd about them together.
    pub warnings: Vec<String>,
}

/// Ranks reports.
pub fn rank(reports: &[Report]) -> Ranking {
    let mut disks: Vec<Disk> = reports.iter().map(assess).collect();
    disks.sort_by(|a, b| {
        (a.verdict, a.score, &a.file, &a.device).cmp(&(b.verdict, b.score, &b.file, &b.device))
    });
    for (disk, rank) in disks.iter_mut().zip(1..) {
        disk.rank = match disk.verdict {
            Verdict::Unknown => 0,
            _ => rank,
        };
    }
    let mut serials: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for disk in disks.iter().filter(|d| !d.serial.is_empty()) {
        serials.entry(&disk.serial).or_default().push(&disk.file);
    }
    let warnings = serials
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(serial, files)| format!("serial {serial} stands in {}", files.join(", ")))
        .collect();
    Ranking { disks, warnings }
}

/// Points and reasons while they are gathered.
struct Tally {
    verdict: Verdict,
    reasons: Vec<(Group, Reason)>,
}

impl Tally {
    fn add(&mut self, group: Group, verdict: Verdict, reason: Reason) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push((group, reason));
    }

    fn judge(&mut self, verdict: Verdict, points: u32, key: &str, raw: String, what: &str) {
        // Judgements count each for itself.
        let group = Group::Alone(1000 + self.reasons.len() as u64);
        let reason = Reason {
            what: what.to_owned(),
            key: key.to_owned(),
            decoded: raw.clone(),
            raw,
            points,
            source: JUDGEMENT,
        };
        self.add(group, verdict, reason);
    }

    /// The sum over groups of the largest in each; the others are kept with no points.
    fn finish(mut self) -> (Verdict, u32, Vec<Reason>) {
        self.reasons
            .sort_by(|(g, a), (h, b)| (g, b.points).cmp(&(h, a.points)));
        let mut last = None;
        for (group, reason) in &mut self.reasons {
            if last == Some(*group) {
                reason.points = 0;
                reason.what.push_str(" (counted with the line above)");
            }
            last = Some(*group);
        }
        let mut groups: Vec<Vec<Reason>> = Vec::new();
        let mut last = None;
        for (group, reason) in self.reasons {
            match groups.last_mut() {
                Some(lines) if last == Some(group) => lines.push(reason),
                _ => groups.push(vec![reason]),
            }
            last = Some(group);
        }
        let points = |lines: &[Reason]| lines.iter().map(|r| r.points).sum::<u32>();
        groups.sort_by_key(|lines| std::cmp::Reverse(points(lines)));
        let score = groups.iter().map(|lines| points(lines)).sum();
        (self.verdict, score, groups.concat())
    }
}

/// `base` plus three points for each doubling of `n`.
fn growing(base: u32, n: u64) -> u32 {
    base + 3 * n.max(1).ilog2()
}

/// What a report says of its disk.
pub fn assess(report: &Report) -> Disk {
    let mut tally = Tally {
        verdict: Verdict::Clean,
        reasons: Vec::new(),
    };
    attributes(report, &mut tally);
    health(report, &mut tally);
    self_tests(report, &mut tally);
    other_protocols(report, &mut tally);
    let (verdict, score, reasons) = tally.finish();
    let verdict = match report.has_body() {
        true => verdict,
        // A drive that only says "failed" has said enough.
        false if verdict == Verdict::Failing => verdict,
        false => Verdict::Unknown,
    };
    let columns = COLUMNS
        .iter()
        .filter_map(|id| report.attribute(*id))
        .map(|a| Column {
            id: a.id,
            raw: a.raw,
            decoded: a.decoded.count(),
        });
    Disk {
        rank: 0,
        file: report.file.clone(),
        device: report.device(),
        model: report.model(),
        serial: report.serial(),
        protocol: report.protocol(),
        verdict,
        score,
        reasons,
        failing_lbas: report.failing_lbas(),
        columns: columns.collect(),
        errors: report.errors(),
        tested_within_24_h: report.self_tests().map(|tests| {
            let ran = tests
                .iter()
                .find(|t| t.outcome == Outcome::Passed || t.outcome == Outcome::Failed);
            ran.is_some_and(|t| {
                t.outcome == Outcome::Passed && t.age_hours.is_some_and(|a| a <= 24)
            })
        }),
    }
}

fn attributes(report: &Report, tally: &mut Tally) {
    for attribute in report.attributes() {
        let key = format!("ata_smart_attributes.table[id={}].raw.value", attribute.id);
        if attribute.when_failed == "now" && attribute.prefailure {
            let what = format!("{} is below its threshold now", attribute.name);
            tally.judge(
                Verdict::Failing,
                weights::PREFAIL_NOW,
                &key,
                attribute.raw.to_string(),
                &what,
            );
        }
        let Some(count) = attribute.decoded.count() else {
            continue;
        };
        let Some(rule) = weights::RULES.iter().find(|r| r.id == attribute.id) else {
            continue;
        };
        let step = rule.steps.iter().rev().find(|(from, _)| count >= *from);
        if let Some((_, points)) = step {
            // Read and seek errors alone are common on good disks.
            let verdict = match rule.id {
                1 | 7 => Verdict::Clean,
                _ if rule.damage => Verdict::Damaged,
                _ => Verdict::Suspect,
            };
            let reason = Reason {
                what: rule.what.to_owned(),
                key,
                raw: attribute.raw.to_string(),
                decoded: count.to_string(),
                points: *points,
                source: rule.source,
            };
            tally.add(rule.group, verdict, reason);
        }
    }
}

fn health(report: &Report, tally: &mut Tally) {
    if report.passed() == Some(false) {
        let what = "the drive says that it is failing";
        tally.judge(
            Verdict::Failing,
            weights::HEALTH_FAILED,
            "smart_status.passed",
            "false".into(),
            what,
        );
    }
    if let Some(errors) = report.errors()
        && errors.media > 0
    {
        let what = "unreadable sectors in the error log";
        let key = "ata_smart_error_log";
        tally.judge(
            Verdict::Damaged,
            weights::MEDIA_ERRORS,
            key,
            errors.media.to_string(),
            what,
        );
    }
}

/// A failure counts until a later pass of the same reach: a short pass does not clear an extended failure.
fn self_tests(report: &Report, tally: &mut Tally) {
    const KEY: &str = "ata_smart_self_test_log";
    let Some(tests) = report.self_tests() else {
        return;
    };
    let mut cleared_short = false;
    let mut cleared_all = false;
    for test in &tests {
        match test.outcome {
            Outcome::Passed => {
                cleared_short = true;
                cleared_all |= test.extended;
            }
            Outcome::Failed if !(cleared_all || cleared_short && !test.extended) => {
                let what = match test.extended {
                    true => "an extended self-test failed, and none has passed since",
                    false => "a self-test failed, and none has passed since",
                };
                let raw = test
                    .lba
                    .map_or("failed".to_owned(), |lba| format!("LBA {lba}"));
                tally.judge(Verdict::Failing, weights::SELF_TEST_FAILED, KEY, raw, what);
                return;
            }
            _ => {}
        }
    }
    let ran = tests
        .iter()
        .find(|t| matches!(t.outcome, Outcome::Passed | Outcome::Failed));
    match ran.map(|t| t.age_hours) {
        None => {
            let what = "no self-test has run to its end";
            tally.judge(
                Verdict::Clean,
                weights::NEVER_TESTED,
                KEY,
                "none".into(),
                what,
            );
        }
        Some(Some(age)) if age > 24 => {
            let what = "the last self-test is older than a day";
            tally.judge(
                Verdict::Clean,
                weights::STALE_TEST,
                KEY,
                format!("{age} h"),
                what,
            );
        }
        Some(_) => {}
    }
}

/// The basics of SAS and NVMe.
fn other_protocols(report: &Report, tally: &mut Tally) {
    let uncorrected = report.sas_uncorrected();
    if uncorrected > 0 {
        let points = growing(weights::SAS_UNCORRECTED, uncorrected);
        let what = "errors that were not corrected";
        tally.judge(
            Verdict::Damaged,
            points,
            "scsi_error_counter_log",
            uncorrected.to_string(),
            what,
        );
    }
    if let Some(grown) = report.sas_grown().filter(|n| *n > 0) {
        let points = growing(weights::SAS_GROWN, grown);
        let what = "defects grown since it was made";
        tally.judge(
            Verdict::Suspect,
            points,
            "scsi_grown_defect_list",
            grown.to_string(),
            what,
        );
    }
    const LOG: &str = "nvme_smart_health_information_log";
    if let Some(errors) = report.number(&[LOG, "media_errors"]).filter(|n| *n > 0) {
        let points = growing(weights::NVME_MEDIA, errors);
        tally.judge(
            Verdict::Damaged,
            points,
            LOG,
            errors.to_string(),
            "media errors",
        );
    }
    if let Some(bits) = report.number(&[LOG, "critical_warning"]).filter(|n| *n > 0) {
        // Bit 3: read only. Bit 4: its cache is no longer safe at power loss; the media are not concerned.
        let (verdict, what) = match bits {
            b if b & 8 != 0 => (Verdict::Failing, "it has gone read-only"),
            16 => (
                Verdict::Suspect,
                "its cache is not safe at power loss: last writes are doubtful",
            ),
            _ => (Verdict::Suspect, "a critical warning is set"),
        };
        tally.judge(verdict, weights::NVME_CRITICAL, LOG, bits.to_string(), what);
    }
}
