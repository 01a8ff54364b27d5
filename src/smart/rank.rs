//! From reports to disks in order.

use super::assess::assess;
use super::errors::Errors;
use super::lbas::FailingExtent;
use super::report::{Attribute, Report};
use super::selftest::LastTest;
use super::trend::{self, Trend};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

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

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Clean => "clean",
            Verdict::Suspect => "suspect",
            Verdict::Damaged => "damaged",
            Verdict::Failing => "failing",
            Verdict::Unknown => "unknown",
        }
    }
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
    /// As the drive gives it; nothing where it does not.
    pub raw: Option<u64>,
    /// What it counts, if that can be told.
    pub decoded: Option<u64>,
}

/// What smartctl and the drive say by themselves, beside the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrossCheck {
    /// The drive's own PASSED or FAILED.
    pub passed: Option<bool>,
    /// smartctl's exit status.
    pub exit_status: Option<u64>,
    /// Its bits in words.
    pub bits: Vec<&'static str>,
    /// Where the verdict is another, why.
    pub differs: Option<String>,
}

/// The last self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// How it stands.
    pub last: LastTest,
    /// Hours since, where one has ended and its time can be told.
    pub age_hours: Option<u64>,
    /// Whether it read all of the disk.
    pub extended: bool,
}

/// A disk with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// From 1, the best; 0 for unknown, which has no place.
    pub rank: usize,
    /// What to call it: by its file; by device or serial where a file holds several.
    pub name: String,
    /// The report's file.
    pub file: String,
    /// Which of the reports in that file, from 0.
    pub index: usize,
    /// The device's name on the machine that was asked.
    pub device: String,
    /// How smartctl reached it.
    pub device_type: String,
    /// The model.
    pub model: String,
    /// The serial number.
    pub serial: String,
    /// `ATA`, `SCSI` or `NVMe`.
    pub protocol: String,
    /// Its size, where told.
    pub size: Option<Bytes>,
    /// In one word.
    pub verdict: Verdict,
    /// Points; lower is better.
    pub score: u32,
    /// Where the points come from, the most first.
    pub reasons: Vec<Reason>,
    /// Blocks that the logs say cannot be read.
    pub failing_lbas: Vec<u64>,
    /// Bytes of a logical block: the unit of the above.
    pub block_size: Bytes,
    /// The same as extents of the disk.
    pub failing_extents: Vec<FailingExtent>,
    /// The attributes that are always shown.
    pub columns: Vec<Column>,
    /// All attributes, decoded.
    pub attributes: Vec<Attribute>,
    /// The error log, where it was collected.
    pub errors: Option<Errors>,
    /// Whether the last self-test ended well within a day; nothing where the log was not collected.
    pub tested_within_24_h: Option<bool>,
    /// The last self-test.
    pub self_test: Tested,
    /// What smartctl and the drive say by themselves.
    pub cross_check: CrossCheck,
    /// What else a person must know.
    pub notes: Vec<String>,
    /// How its counts went over several reports.
    pub trend: Option<Trend>,
}

impl Disk {
    /// What to call it.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The first reasons in words: `23 pending sectors (52), a self-test failed (50)`.
    pub fn why(&self, most: usize) -> String {
        let shown = self.reasons.iter().filter(|r| r.points > 0).take(most);
        let words = shown.map(|r| match r.decoded.is_empty() {
            true => format!("{} ({})", r.what, r.points),
            false => format!("{} {} ({})", r.decoded, r.what, r.points),
        });
        words.collect::<Vec<_>>().join(", ")
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

/// Ranks reports. Several of one drive at different times are one disk, the newest report with a trend.
pub fn rank(reports: &[Report]) -> Ranking {
    let (series, mut warnings) = trend::series(reports);
    let mut disks: Vec<Disk> = series
        .iter()
        .filter_map(|of_one| {
            let (newest, older) = of_one.split_last()?;
            Some(assess(newest, older))
        })
        .collect();
    disks.sort_by(|a, b| {
        let key = |d: &Disk| (d.verdict, d.score, d.file.clone(), d.index);
        key(a).cmp(&key(b))
    });
    for (disk, rank) in disks.iter_mut().zip(1..) {
        disk.rank = match disk.verdict {
            Verdict::Unknown => 0,
            _ => rank,
        };
    }
    name_them(&mut disks);
    let drives: Vec<&Disk> = disks
        .iter()
        .filter(|d| d.verdict != Verdict::Unknown)
        .collect();
    if drives.len() > 1 && drives.iter().all(|d| d.verdict >= Verdict::Damaged) {
        warnings.insert(
            0,
            "every disk is damaged or failing: read from all, trust none".to_owned(),
        );
    }
    Ranking { disks, warnings }
}

/// A name for each: the file's, unless another has it too; then what tells them apart.
fn name_them(disks: &mut [Disk]) {
    let stem = |d: &Disk| {
        let stem = Path::new(&d.file).file_stem();
        stem.map_or_else(String::new, |s| s.to_string_lossy().into_owned())
    };
    let device = |d: &Disk| {
        let device = d.device.rsplit('/').next().unwrap_or_default();
        // Behind a controller every disk has the same device.
        match d
            .device_type
            .split_once('+')
            .or(d.device_type.split_once(','))
        {
            Some(_) => format!("{device}:{}", d.device_type),
            None => device.to_owned(),
        }
    };
    let makers: [&dyn Fn(&Disk) -> String; 3] = [&stem, &device, &|d: &Disk| d.serial.clone()];
    let mut open: Vec<usize> = (0..disks.len()).collect();
    for maker in makers {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for disk in disks.iter() {
            *count.entry(maker(disk)).or_default() += 1;
        }
        open.retain(|i| {
            let Some(disk) = disks.get_mut(*i) else {
                return false;
            };
            let name = maker(disk);
            let alone = !name.is_empty() && count.get(&name) == Some(&1);
            if alone {
                disk.name = name;
            }
            !alone
        });
    }
    for i in open {
        if let Some(disk) = disks.get_mut(i) {
            disk.name = format!("{}#{}", stem(disk), disk.index + 1);
        }
    }
}
