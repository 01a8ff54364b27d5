//! Blocks that the drive's logs say cannot be read, as extents of the disk.

use super::errors::{Class, class, nvme_class};
use super::report::{Report, member};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// LBAs that the summary error log can hold: it keeps 28 bits.
const SUMMARY_LBAS: u64 = 1 << 28;

/// LBAs of one drive that are listed; a log has some hundreds of entries.
const MOST: usize = 100_000;

/// A failing extent of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingExtent {
    /// In bytes from the disk's start, widened to what the drive writes at a time.
    #[serde(flatten)]
    pub extent: Extent,
    /// The first LBA named, in logical blocks.
    pub first_lba: u64,
    /// The last LBA named.
    pub last_lba: u64,
    /// The logs that name it.
    pub logs: BTreeSet<&'static str>,
}

/// Failing extents, and what could not be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    /// Every LBA that a log names and the disk has, sorted.
    pub lbas: Vec<u64>,
    /// As extents.
    pub extents: Vec<FailingExtent>,
    /// What a person must know of them.
    pub notes: Vec<String>,
}

impl Report {
    /// LBAs that the logs say cannot be read, and by which log.
    fn named(&self) -> BTreeMap<u64, BTreeSet<&'static str>> {
        let mut named: BTreeMap<u64, BTreeSet<&'static str>> = BTreeMap::new();
        let mut add = |lba: Option<u64>, log: &'static str| {
            if let Some(lba) = lba
                && named.len() < MOST
            {
                named.entry(lba).or_default().insert(log);
            }
        };
        let media = self.error_entries().filter(|e| class(e) == Class::Media);
        for entry in media {
            let registers = entry.get("completion_registers");
            add(registers.and_then(|r| member(r, "lba")), self.log_name());
        }
        for test in self.self_tests().into_iter().flatten() {
            add(test.lba, "self-test");
        }
        for log in ["ata_pending_defects_log", "scsi_pending_defects"] {
            for row in self.rows(&[log, "table"]) {
                add(member(row, "lba"), "pending defects");
            }
        }
        for entry in self.scan_results() {
            if is_unreadable(entry) {
                add(lba_of(entry), "background scan");
            }
        }
        for row in self.rows(&["nvme_error_information_log", "table"]) {
            if nvme_class(row) == Class::Media {
                add(lba_of(row), "error log");
            }
        }
        named
    }

    fn log_name(&self) -> &'static str {
        match self.error_log() {
            Some("summary") => "summary error log",
            _ => "error log",
        }
    }

    /// Results of a SAS drive's background scan.
    fn scan_results(&self) -> impl Iterator<Item = &Value> {
        let scan = self
            .at(&["scsi_background_scan"])
            .and_then(Value::as_object);
        scan.into_iter()
            .flatten()
            .filter(|(key, _)| key.starts_with("result_"))
            .map(|(_, entry)| entry)
    }

    /// Sectors that a SAS drive's background scan could not read and nobody has repaired.
    pub fn scan_unreadable(&self) -> u64 {
        self.scan_results().filter(|e| is_unreadable(e)).count() as u64
    }

    /// Failing extents of the disk.
    pub fn failing(&self) -> Failing {
        let mut failing = Failing::default();
        let (block, told) = self.block_size();
        let blocks = self.capacity().map(|c| c.0 / block.0);
        let mut outside = 0_u64;
        let mut short = 0_u64;
        for (lba, mut logs) in self.named() {
            if blocks.is_some_and(|n| lba >= n) || lba == u64::MAX {
                outside += 1;
                continue;
            }
            failing.lbas.push(lba);
            // 28 bits of a longer address: any of several places.
            if logs.remove("summary error log") && blocks.is_none_or(|n| n > SUMMARY_LBAS) {
                short += 1;
            } else if logs.is_empty() {
                logs.insert("error log");
            }
            if !logs.is_empty() {
                self.widen(lba, logs, &mut failing.extents);
            }
        }
        if outside > 0 {
            failing.notes.push(format!(
                "{outside} LBAs in its logs lie behind its end: left out"
            ));
        }
        if short > 0 {
            failing.notes.push(format!(
                "{short} LBAs are of the summary log, which keeps 28 bits of them: their place is not known; \
                 collect with -x"
            ));
        }
        if !told && !failing.extents.is_empty() {
            failing
                .notes
                .push("its block size is not in the report: 512 bytes are assumed".to_owned());
        }
        failing
    }

    /// Adds an LBA, as the whole physical block that it lies in, to extents that come in order.
    fn widen(&self, lba: u64, logs: BTreeSet<&'static str>, extents: &mut Vec<FailingExtent>) {
        let (block, _) = self.block_size();
        let physical = self.physical_block_size();
        let start = lba.saturating_mul(block.0) / physical.0 * physical.0;
        let extent = Extent::new(Bytes(start), physical);
        match extents.last_mut() {
            Some(last) if extent.offset <= last.extent.end() => {
                last.extent.length = extent.end() - last.extent.offset;
                last.last_lba = lba;
                last.logs.extend(logs);
            }
            _ => extents.push(FailingExtent {
                extent,
                first_lba: lba,
                last_lba: lba,
                logs,
            }),
        }
    }
}

fn lba_of(row: &Value) -> Option<u64> {
    let lba = row.get("lba")?;
    member(lba, "value").or_else(|| member(row, "lba"))
}

/// A medium error (sense key 3) that was not repaired: reassigned (2), rewritten in place (5), and reassigned with
/// valid data (6) are.
fn is_unreadable(entry: &Value) -> bool {
    let value = |key: &str| {
        let inner = entry.get(key)?;
        member(inner, "value").or_else(|| member(entry, key))
    };
    value("sense_key") == Some(3) && !matches!(value("reassign_status"), Some(2 | 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One bad LBA of a drive with 4 KiB sectors takes its seven neighbours along; two beside each other are one extent.
    #[test]
    fn extents_are_what_the_drive_writes_at_a_time() {
        let report = json!({"device": {}, "logical_block_size": 512, "physical_block_size": 4096,
            "user_capacity": {"bytes": 1_000_000_000_u64},
            "ata_pending_defects_log": {"table": [{"lba": 17}, {"lba": 19}, {"lba": 24}, {"lba": 1000}, {"lba": 99_999_999}]}});
        let failing = Report::new("x", 0, report).unwrap().failing();
        assert_eq!(failing.lbas, [17, 19, 24, 1000]);
        let extents: Vec<(u64, u64)> = failing
            .extents
            .iter()
            .map(|e| (e.extent.offset.0, e.extent.length.0))
            .collect();
        assert_eq!(extents, [(8192, 8192), (512_000, 4096)]);
        assert!(failing.notes[0].contains("behind its end"));
    }

    /// The summary log's address is cut to 28 bits: on a large disk it would send a person to the wrong file.
    #[test]
    fn short_addresses_have_no_place() {
        let report = |bytes: u64| {
            let value = json!({"device": {}, "logical_block_size": 512, "user_capacity": {"bytes": bytes},
                "ata_smart_error_log": {"summary": {"count": 1, "table": [{
                    "completion_registers": {"error": 64, "lba": 1000}}]}}});
            Report::new("x", 0, value).unwrap().failing()
        };
        assert_eq!(report(500_000_000_000).extents, []);
        assert_eq!(report(500_000_000_000).lbas, [1000]);
        assert_eq!(report(100_000_000_000).extents.len(), 1);
    }

    /// After smartmontools' source: no real report with such entries was at hand.
    #[test]
    fn background_scan_and_nvme() {
        let sas = json!({"device": {}, "logical_block_size": 520, "scsi_background_scan": {
            "status": {"value": 1},
            "result_0": {"lba": {"value": 77}, "sense_key": {"value": 3}, "reassign_status": {"value": 1}},
            "result_1": {"lba": 78, "sense_key": 3, "reassign_status": 2},
            "result_2": {"lba": 79, "sense_key": 1, "reassign_status": 1}}});
        let sas = Report::new("x", 0, sas).unwrap();
        assert_eq!((sas.scan_unreadable(), sas.failing().lbas), (1, vec![77]));
        assert_eq!(sas.failing().extents[0].extent.offset, Bytes(77 * 520));
        let nvme = json!({"device": {}, "nvme_namespaces": [{"formatted_lba_size": 4096}],
            "nvme_error_information_log": {"table": [null,
                {"status_field": {"status_code_type": 2, "status_code": 129}, "lba": {"value": 5}},
                {"status_field": {"status_code_type": 0, "status_code": 2}, "lba": {"value": 6}}]}});
        let failing = Report::new("x", 0, nvme).unwrap().failing();
        assert_eq!(failing.lbas, [5]);
        assert_eq!(
            failing.extents[0].extent,
            Extent::new(Bytes(20_480), Bytes(4096))
        );
    }
}
