//! One drive's report, by typed getters over what smartctl printed.

use super::decode::{Decoded, Vendor, decode};
use crate::parse::printable;
use crate::units::Bytes;
use serde::Serialize;
use serde_json::Value;

/// One drive's report.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file that it came from.
    pub file: String,
    value: Value,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number.
    pub id: u64,
    /// smartctl's name for it.
    pub name: String,
    /// The raw value.
    pub raw: u64,
    /// What it counts.
    pub decoded: Decoded,
    /// `now`, `past` or nothing.
    pub when_failed: String,
    /// Whether falling below the threshold foretells failure.
    pub prefailure: bool,
}

/// Errors in the drive's log, by what they tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Counted by the drive.
    pub total: u64,
    /// Logged: sectors that could not be read or found.
    pub media: u64,
    /// Logged: transfers that came over wrong.
    pub cable: u64,
    /// Logged: commands that the drive refused, the host's doing.
    pub host: u64,
}

/// How a self-test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without error.
    Passed,
    /// With one.
    Failed,
    /// By the host.
    Aborted,
    /// It runs.
    Running,
}

/// A self-test in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// Whether it reads all of the disk.
    pub extended: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Hours since, by the drive's clock.
    pub age_hours: Option<u64>,
    /// The first sector that failed.
    pub lba: Option<u64>,
}

impl Report {
    /// A report, if `value` is one: it names a device.
    pub fn new(file: &str, value: Value) -> Option<Report> {
        let is_report = value.get("device").is_some_and(Value::is_object)
            || value.get("ata_smart_attributes").is_some()
            || value.get("scsi_grown_defect_list").is_some()
            || value.get("nvme_smart_health_information_log").is_some();
        is_report.then(|| Report {
            file: file.to_owned(),
            value,
        })
    }

    /// What stands at a path of keys.
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(&self.value, |value, key| value.get(key))
    }

    /// A whole number, or one that smartctl wrote as text because it is too large.
    pub fn number(&self, path: &[&str]) -> Option<u64> {
        number(self.at(path)?)
    }

    /// A text, safe to print; empty where there is none.
    pub fn text(&self, path: &[&str]) -> String {
        self.at(path)
            .and_then(Value::as_str)
            .map(|t| printable(t.as_bytes()))
            .unwrap_or_default()
    }

    /// The device's name on the machine that was asked.
    pub fn device(&self) -> String {
        self.text(&["device", "name"])
    }

    /// The model.
    pub fn model(&self) -> String {
        [["model_name"], ["scsi_model_name"], ["product"]]
            .iter()
            .map(|key| self.text(key))
            .find(|name| !name.is_empty())
            .unwrap_or_default()
    }

    /// The serial number.
    pub fn serial(&self) -> String {
        self.text(&["serial_number"])
    }

    /// `ATA`, `SCSI` or `NVMe`.
    pub fn protocol(&self) -> String {
        self.text(&["device", "protocol"])
    }

    /// Who made it.
    pub fn vendor(&self) -> Vendor {
        Vendor::of(&self.text(&["model_family"]), &self.model())
    }

    /// Whether the drive calls itself healthy.
    pub fn passed(&self) -> Option<bool> {
        self.at(&["smart_status", "passed"])?.as_bool()
    }

    /// Hours that it has run.
    pub fn hours(&self) -> Option<u64> {
        self.number(&["power_on_time", "hours"])
            .or_else(|| self.attribute(9)?.decoded.count())
    }

    /// ATA attributes.
    pub fn attributes(&self) -> Vec<Attribute> {
        let vendor = self.vendor();
        let table = self
            .at(&["ata_smart_attributes", "table"])
            .and_then(Value::as_array);
        let attribute = |row: &Value| {
            let id = number(row.get("id")?)?;
            let raw = row.get("raw")?;
            let text = raw
                .get("string")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let raw = number(raw.get("value")?)?;
            let string = |key| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let flags = row.get("flags");
            Some(Attribute {
                id,
                name: printable(string("name").as_bytes()),
                raw,
                decoded: decode(vendor, id, raw, text),
                when_failed: string("when_failed").to_owned(),
                prefailure: flags
                    .and_then(|f| f.get("prefailure"))
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            })
        };
        table.into_iter().flatten().filter_map(attribute).collect()
    }

    /// One attribute.
    pub fn attribute(&self, id: u64) -> Option<Attribute> {
        self.attributes().into_iter().find(|a| a.id == id)
    }

    /// The error log; `None` where it was not collected.
    pub fn errors(&self) -> Option<Errors> {
        let log = self.log("ata_smart_error_log", &["extended", "summary"])?;
        let mut errors = Errors {
            total: log.get("count").and_then(number).unwrap_or(0),
            ..Errors::default()
        };
        for entry in rows(log) {
            match class(entry) {
                Class::Media => errors.media += 1,
                Class::Cable => errors.cable += 1,
                Class::Host => errors.host += 1,
            }
        }
        Some(errors)
    }

    /// Sectors that the logs say cannot be read, sorted.
    pub fn failing_lbas(&self) -> Vec<u64> {
        let errors = self.log("ata_smart_error_log", &["extended", "summary"]);
        let logged = errors
            .into_iter()
            .flat_map(rows)
            .filter(|e| class(e) == Class::Media);
        let mut lbas: Vec<u64> = logged
            .filter_map(|e| number(e.get("completion_registers")?.get("lba")?))
            .chain(
                self.self_tests()
                    .into_iter()
                    .flatten()
                    .filter_map(|t| t.lba),
            )
            .collect();
        let pending = self
            .at(&["ata_pending_defects_log", "table"])
            .and_then(Value::as_array);
        lbas.extend(
            pending
                .into_iter()
                .flatten()
                .filter_map(|row| number(row.get("lba")?)),
        );
        lbas.sort_unstable();
        lbas.dedup();
        lbas
    }

    /// The self-tests in the log, the newest first; `None` where it was not collected.
    pub fn self_tests(&self) -> Option<Vec<SelfTest>> {
        let log = self.log("ata_smart_self_test_log", &["extended", "standard"])?;
        let hours = self.hours();
        Some(rows(log).filter_map(|row| self_test(row, hours)).collect())
    }

    fn log(&self, name: &str, kinds: &[&str]) -> Option<&Value> {
        kinds.iter().find_map(|kind| self.at(&[name, kind]))
    }

    /// Whether anything about the disk's health was collected.
    pub fn has_body(&self) -> bool {
        !self.attributes().is_empty()
            || self.at(&["nvme_smart_health_information_log"]).is_some()
            || self.at(&["scsi_error_counter_log"]).is_some()
            || self.at(&["scsi_grown_defect_list"]).is_some()
    }

    /// SAS: errors not corrected while reading, writing and verifying.
    pub fn sas_uncorrected(&self) -> u64 {
        ["read", "write", "verify"]
            .iter()
            .filter_map(|what| {
                self.number(&["scsi_error_counter_log", what, "total_uncorrected_errors"])
            })
            .fold(0, u64::saturating_add)
    }

    /// SAS: defects grown. smartctl up to 7.1 printed the list's bytes, eight for each.
    pub fn sas_grown(&self) -> Option<u64> {
        let count = self.number(&["scsi_grown_defect_list"])?;
        let version: Vec<u64> = self
            .at(&["smartctl", "version"])
            .and_then(Value::as_array)
            .map(|v| v.iter().filter_map(number).collect())
            .unwrap_or_default();
        Some(if version < vec![7, 2] {
            count / 8
        } else {
            count
        })
    }

    /// The disk's size, where smartctl says it.
    pub fn capacity(&self) -> Option<Bytes> {
        self.number(&["user_capacity", "bytes"]).map(Bytes)
    }
}

fn rows(log: &Value) -> impl Iterator<Item = &Value> {
    log.get("table")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whole numbers, also as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Media,
    Cable,
    Host,
}

/// An error's class, by the error register: 0x40 unreadable, 0x80 a transfer gone wrong, 0x10 a sector not found,
/// which is the medium's fault only where data was read or written (probing for a hidden area ends so too).
fn class(entry: &Value) -> Class {
    let register = entry
        .get("completion_registers")
        .and_then(|r| number(r.get("error")?))
        .unwrap_or(0);
    let command = entry
        .get("previous_commands")
        .and_then(|c| c.get(0)?.get("command_name")?.as_str())
        .unwrap_or_default();
    let moves_data = (command.contains("READ") || command.contains("WRITE"))
        && !command.contains("NATIVE MAX")
        && !command.contains("LOG");
    match register {
        r if r & 0x40 != 0 => Class::Media,
        r if r & 0x80 != 0 => Class::Cable,
        r if r & 0x11 != 0 && moves_data => Class::Media,
        _ => Class::Host,
    }
}

/// The status byte's upper half: 0 passed, 1 and 2 aborted, 3 to 8 failed, 15 running. Its hours have 16 bits.
fn self_test(row: &Value, hours: Option<u64>) -> Option<SelfTest> {
    let status = number(row.get("status")?.get("value")?)?;
    let outcome = match status >> 4 {
        0 => Outcome::Passed,
        3..=8 => Outcome::Failed,
        15 => Outcome::Running,
        _ => Outcome::Aborted,
    };
    let at = row.get("lifetime_hours").and_then(number);
    let kind = row
        .get("type")
        .and_then(|t| number(t.get("value")?))
        .unwrap_or(0);
    Some(SelfTest {
        // 2 and 130: extended, offline or captive.
        extended: kind & 0x7f == 2,
        outcome,
        age_hours: hours.zip(at).map(|(now, at)| now.wrapping_sub(at) & 0xffff),
        lba: row.get("lba").and_then(number),
    })
}
