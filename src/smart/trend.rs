//! Several reports of one drive over time: which belong together, and where its counts go.

use super::report::Report;
use serde::Serialize;
use std::collections::BTreeMap;

/// Attributes that only rise, and only by damage.
const WATCHED: [u64; 7] = [5, 10, 187, 196, 197, 198, 199];

/// A count that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is counted: `attribute 5`, `media errors`.
    pub what: String,
    /// Its value in each report, the oldest first; nothing where a report lacks it.
    pub values: Vec<Option<u64>>,
}

/// How a drive's counts went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// The reports' files, the oldest first.
    pub files: Vec<String>,
    /// When they were made, in seconds since 1970.
    pub times: Vec<u64>,
    /// Counts that changed.
    pub changes: Vec<Change>,
}

impl Trend {
    /// Hours from the first report to the last.
    pub fn hours(&self) -> u64 {
        let first = self.times.first().copied().unwrap_or(0);
        let last = self.times.last().copied().unwrap_or(0);
        last.saturating_sub(first) / 3600
    }

    /// What rises, in words; empty where nothing does.
    pub fn rising(&self) -> String {
        let rising = self.changes.iter().filter_map(|change| {
            let mut values = change.values.iter().flatten();
            let first = values.next()?;
            let last = values.next_back()?;
            (last > first).then(|| format!("{} {first} -> {last}", change.what))
        });
        let rising: Vec<String> = rising.collect();
        match rising.is_empty() {
            true => String::new(),
            false => format!("{} in {} h", rising.join(", "), self.hours()),
        }
    }
}

/// The counts that are watched.
fn counts(report: &Report) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for attribute in report.attributes() {
        if let (true, Some(count)) = (WATCHED.contains(&attribute.id), attribute.decoded.count()) {
            counts.insert(format!("attribute {}", attribute.id), count);
        }
    }
    let nvme = ["nvme_smart_health_information_log", "media_errors"];
    let others = [
        ("media errors", report.number(&nvme)),
        ("grown defects", report.sas_grown().map(|g| g.defects)),
        ("uncorrected errors", report.sas_uncorrected()),
        ("media errors logged", report.errors().map(|e| e.media)),
    ];
    for (what, count) in others {
        counts.extend(count.map(|count| (what.to_owned(), count)));
    }
    counts
}

/// The trend of a drive with older reports, given the oldest first.
pub fn trend(newest: &Report, older: &[&Report]) -> Option<Trend> {
    if older.is_empty() {
        return None;
    }
    let all: Vec<&Report> = older.iter().copied().chain([newest]).collect();
    let each: Vec<BTreeMap<String, u64>> = all.iter().map(|r| counts(r)).collect();
    let mut names: Vec<&String> = each.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let changes = names.into_iter().filter_map(|name| {
        let values: Vec<Option<u64>> = each.iter().map(|c| c.get(name).copied()).collect();
        let mut known = values.iter().flatten();
        let first = known.next()?;
        known.any(|v| v != first).then(|| Change {
            what: name.clone(),
            values: values.clone(),
        })
    });
    Some(Trend {
        files: all.iter().map(|r| r.file.clone()).collect(),
        times: all.iter().filter_map(|r| r.time()).collect(),
        changes: changes.collect(),
    })
}

/// Reports by drive, the oldest first in each, and what is odd: one serial number that several drives seem to have.
pub fn series(reports: &[Report]) -> (Vec<Vec<&Report>>, Vec<String>) {
    let mut by_serial: BTreeMap<(String, String), Vec<&Report>> = BTreeMap::new();
    let mut series: Vec<Vec<&Report>> = Vec::new();
    for report in reports {
        match report.serial() {
            serial if serial.is_empty() => series.push(vec![report]),
            serial => {
                let key = (serial, report.model());
                by_serial.entry(key).or_default().push(report);
            }
        }
    }
    let mut warnings = Vec::new();
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((serial, model), mut of_serial) in by_serial {
        models.entry(serial.clone()).or_default().push(model);
        of_serial.sort_by_key(|r| r.time());
        let files: Vec<&str> = of_serial.iter().map(|r| file_name(&r.file)).collect();
        let files = files.join(", ");
        if of_serial.len() == 1 || are_one_drive(&of_serial) {
            series.push(of_serial);
        } else {
            warnings.push(format!(
                "serial {serial} stands in {files}: one disk twice, or two with one serial; they are kept apart"
            ));
            series.extend(of_serial.into_iter().map(|r| vec![r]));
        }
    }
    for (serial, models) in models.iter().filter(|(_, m)| m.len() > 1) {
        let few: Vec<&str> = models.iter().take(2).map(String::as_str).collect();
        warnings.push(format!(
            "serial {serial} is of {} models ({} …): it tells no disk from another",
            models.len(),
            few.join(", ")
        ));
    }
    (series, warnings)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether reports, in the order of their times, can be of one drive: at different times, under one world-wide name,
/// and with hours that rise no faster than the clock.
fn are_one_drive(reports: &[&Report]) -> bool {
    /// Clocks of drive and machine drift, and hours are rounded.
    const SLACK_HOURS: u64 = 2;
    reports.windows(2).all(|pair| {
        let [a, b] = pair else { return false };
        let (Some(from), Some(to)) = (a.time(), b.time()) else {
            return false;
        };
        let hours = a.hours().zip(b.hours());
        let names = [a.wwn(), b.wwn()];
        let [a, b] = &names;
        from < to
            && (a == b || a.is_empty() || b.is_empty())
            && hours.is_none_or(|(a, b)| a <= b && b - a <= (to - from) / 3600 + SLACK_HOURS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::rank::{Verdict, rank};
    use serde_json::json;

    fn report(file: &str, time: u64, hours: u64, reallocated: u64) -> Report {
        let value = json!({"device": {"name": "/dev/sda", "protocol": "ATA"}, "serial_number": "S1",
            "model_name": "M", "local_time": {"time_t": time}, "power_on_time": {"hours": hours},
            "ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": reallocated, "string": ""}}]}});
        Report::new(file, 0, value).unwrap()
    }

    /// A count that rises from week to week is another thing than the same count that has stood for years.
    #[test]
    fn several_reports_of_one_drive_are_one_disk() {
        let week = 7 * 24 * 3600;
        let reports = [
            report("new.json", 10 * week, 1168, 30),
            report("old.json", 9 * week, 1000, 4),
        ];
        let ranking = rank(&reports);
        let [disk] = ranking.disks.as_slice() else {
            panic!("{:?}", ranking.disks.len())
        };
        assert_eq!(
            (disk.file.as_str(), disk.verdict),
            ("new.json", Verdict::Suspect)
        );
        let trend = disk.trend.as_ref().unwrap();
        assert_eq!(trend.rising(), "attribute 5 4 -> 30 in 168 h");
        assert_eq!(disk.score, 32 + 10);
    }

    /// Two drives taken for one hide one of them; a redacted serial, or a bridge's, is on many.
    #[test]
    fn one_serial_on_two_drives_is_said() {
        let same_time = [report("a.json", 7, 1000, 0), report("b.json", 7, 1000, 0)];
        let too_fast = [
            report("a.json", 0, 1000, 0),
            report("b.json", 3600, 2000, 0),
        ];
        for reports in [same_time, too_fast] {
            let ranking = rank(&reports);
            assert_eq!(ranking.disks.len(), 2);
            assert!(ranking.warnings[0].contains("S1 stands in a.json, b.json"));
        }
    }
}
