//! One drive's report, by typed getters over what smartctl printed: identity and counters.
//!
//! The whole document is kept. A number comes from its key, or from `KEY_s`
//! where smartctl wrote one beside it because the number is above 2^53; what
//! is above 2^64 counts as 2^64 - 1, and what is negative as no number.

use super::decode::{Decoded, MOST_HOURS, Vendor, decode, is_of_no_damage};
use crate::parse::printable;
use crate::units::Bytes;
use serde::Serialize;
use serde_json::Value;

/// One drive's report.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file that it came from.
    pub file: String,
    /// Which of the reports in that file, from 0.
    pub index: usize,
    value: Value,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// Its number.
    pub id: u64,
    /// smartctl's name for it.
    pub name: String,
    /// The raw value.
    pub raw: u64,
    /// What it says.
    #[serde(serialize_with = "as_text")]
    pub decoded: Decoded,
    /// Normalised value, worst, and threshold, where the drive gives them.
    pub value: Option<u64>,
    /// The lowest value so far; 253 with a value of 100 or 200 is "never computed".
    pub worst: Option<u64>,
    /// Below it the attribute has failed.
    pub thresh: Option<u64>,
    /// `now`, `past` or nothing.
    pub when_failed: String,
    /// Whether falling below the threshold foretells failure.
    pub prefailure: bool,
}

fn as_text<S: serde::Serializer>(decoded: &Decoded, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&decoded.text())
}

impl Report {
    /// A report, if `value` is one: it names a device, or is smartctl's word that it could not read one.
    pub fn new(file: &str, index: usize, value: Value) -> Option<Report> {
        let has = |key: &str| value.get(key).is_some_and(|v| !v.is_null());
        let is_report = value.get("device").is_some_and(Value::is_object)
            || has("ata_smart_attributes")
            || has("scsi_grown_defect_list")
            || has("scsi_error_counter_log")
            || has("nvme_smart_health_information_log")
            || value
                .get("smartctl")
                .is_some_and(|s| s.get("exit_status").is_some());
        (is_report && !has("devices")).then(|| Report {
            file: file.to_owned(),
            index,
            value,
        })
    }

    /// What stands at a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(&self.value, |value, key| value.get(key))
    }

    /// Rows of a table; none where there is no such table. Slots that smartctl left empty are passed over.
    pub(super) fn rows<'a>(&'a self, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
        let table = self.at(path).and_then(Value::as_array);
        table.into_iter().flatten().filter(|row| !row.is_null())
    }

    /// A whole number at a path of keys.
    pub fn number(&self, path: &[&str]) -> Option<u64> {
        let (key, parents) = path.split_last()?;
        member(self.at(parents)?, key)
    }

    /// Whether something stands at a path that should be a count and is none.
    pub(super) fn is_nonsense(&self, path: &[&str]) -> bool {
        self.at(path).is_some_and(|v| !v.is_null()) && self.number(path).is_none()
    }

    /// A text, safe to print; empty where there is none.
    pub fn text(&self, path: &[&str]) -> String {
        self.at(path)
            .and_then(Value::as_str)
            .map(|t| printable(t.trim().as_bytes()))
            .unwrap_or_default()
    }

    /// The device's name on the machine that was asked.
    pub fn device(&self) -> String {
        let named = self.text(&["device", "name"]);
        if !named.is_empty() {
            return named;
        }
        // Where the device could not be opened only the command line tells it.
        let argv = self.rows(&["smartctl", "argv"]).filter_map(Value::as_str);
        let device = argv.skip(1).filter(|word| word.starts_with('/')).last();
        device.map(|d| printable(d.as_bytes())).unwrap_or_default()
    }

    /// How smartctl reached it: `sat`, `nvme`, `sat+megaraid,0`.
    pub fn device_type(&self) -> String {
        self.text(&["device", "type"])
    }

    /// The model.
    pub fn model(&self) -> String {
        [
            ["model_name"],
            ["scsi_model_name"],
            ["product"],
            ["scsi_product"],
        ]
        .iter()
        .map(|key| self.text(key))
        .find(|name| !name.is_empty())
        .unwrap_or_default()
    }

    /// The serial number.
    pub fn serial(&self) -> String {
        self.text(&["serial_number"])
    }

    /// World-wide name, as one text; empty where there is none.
    pub fn wwn(&self) -> String {
        match self.at(&["wwn"]) {
            Some(wwn) => wwn.to_string(),
            None => self.text(&["logical_unit_id"]),
        }
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

    /// smartctl's exit status, where it was written down.
    pub fn exit_status(&self) -> Option<u64> {
        self.number(&["smartctl", "exit_status"])
    }

    /// What smartctl itself had to say.
    pub fn messages(&self) -> Vec<String> {
        self.rows(&["smartctl", "messages"])
            .filter_map(|m| m.get("string")?.as_str())
            .map(|m| printable(m.as_bytes()))
            .collect()
    }

    /// smartctl's version; empty in files that do not tell.
    pub fn version(&self) -> Vec<u64> {
        self.rows(&["smartctl", "version"])
            .filter_map(number)
            .collect()
    }

    /// When it was made, in seconds since 1970.
    pub fn time(&self) -> Option<u64> {
        self.number(&["local_time", "time_t"])
    }

    /// Hours that the drive has run, where they can be believed.
    pub fn hours(&self) -> Option<u64> {
        let told = self
            .number(&["power_on_time", "hours"])
            .or_else(|| self.number(&["nvme_smart_health_information_log", "power_on_hours"]));
        told.or_else(|| self.attribute(9)?.decoded.count())
            .filter(|hours| *hours <= MOST_HOURS)
    }

    /// ATA attributes.
    pub fn attributes(&self) -> Vec<Attribute> {
        let vendor = self.vendor();
        let attribute = |row: &Value| {
            let id = member(row, "id")?;
            let raw = row.get("raw")?;
            let text = raw
                .get("string")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let raw = member(raw, "value")?;
            let string = |key| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let flags = row.get("flags");
            let decoded = match is_of_no_damage(id, string("name")) {
                true => Decoded::Opaque("by its name it counts something else on this drive"),
                false => decode(vendor, id, raw, text),
            };
            Some(Attribute {
                id,
                name: printable(string("name").as_bytes()),
                raw,
                decoded,
                value: member(row, "value"),
                worst: member(row, "worst"),
                thresh: member(row, "thresh"),
                when_failed: string("when_failed").to_owned(),
                prefailure: flags
                    .and_then(|f| f.get("prefailure"))
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            })
        };
        let mut found: Vec<Attribute> = self
            .rows(&["ata_smart_attributes", "table"])
            .filter_map(attribute)
            .collect();
        contradicted_events(&mut found);
        found
    }

    /// Attributes whose raw value is there and is no number.
    pub(super) fn broken_attributes(&self) -> Vec<u64> {
        let broken = |row: &&Value| {
            let raw = row.get("raw").and_then(|r| r.get("value"));
            raw.is_some_and(|v| !v.is_null() && number(v).is_none())
        };
        let rows = self.rows(&["ata_smart_attributes", "table"]);
        rows.filter(broken)
            .filter_map(|r| member(r, "id"))
            .collect()
    }

    /// One attribute.
    pub fn attribute(&self, id: u64) -> Option<Attribute> {
        self.attributes().into_iter().find(|a| a.id == id)
    }

    /// Whether anything about the disk's health was collected.
    pub fn has_body(&self) -> bool {
        let table = self.rows(&["ata_smart_attributes", "table"]).next();
        let there = |key: &str| self.at(&[key]).is_some_and(Value::is_object);
        table.is_some()
            || there("nvme_smart_health_information_log")
            || there("scsi_error_counter_log")
            || self.number(&["scsi_grown_defect_list"]).is_some()
    }

    /// SAS: errors not corrected while reading, writing and verifying, where they were collected.
    pub fn sas_uncorrected(&self) -> Option<u64> {
        let of = |what: &&str| {
            self.number(&["scsi_error_counter_log", what, "total_uncorrected_errors"])
        };
        let counts = ["read", "write", "verify"];
        let counts: Vec<u64> = counts.iter().filter_map(of).collect();
        (!counts.is_empty()).then(|| counts.into_iter().fold(0, u64::saturating_add))
    }

    /// SAS: defects grown. smartctl up to 7.1 printed the list's bytes, eight for each.
    pub fn sas_grown(&self) -> Option<Grown> {
        let count = self.number(&["scsi_grown_defect_list"])?;
        let old = self.version() < vec![7, 2];
        Some(match old && count > 0 {
            false => Grown {
                defects: count,
                is_bytes: false,
            },
            true => Grown {
                defects: count.div_ceil(8),
                is_bytes: true,
            },
        })
    }

    /// The disk's size, where smartctl says it.
    pub fn capacity(&self) -> Option<Bytes> {
        self.number(&["user_capacity", "bytes"]).map(Bytes)
    }

    /// Bytes of a logical block, and whether the report says so; 512 else.
    pub fn block_size(&self) -> (Bytes, bool) {
        let namespace = || {
            let first = self.rows(&["nvme_namespaces"]).next()?;
            member(first, "formatted_lba_size")
        };
        let told = self
            .number(&["logical_block_size"])
            .or_else(namespace)
            .filter(|n| (256..=65_536).contains(n));
        (Bytes(told.unwrap_or(512)), told.is_some())
    }

    /// Bytes that the drive writes at a time: an unreadable block takes all of them along.
    pub fn physical_block_size(&self) -> Bytes {
        let (logical, _) = self.block_size();
        let physical = self.number(&["physical_block_size"]).map(Bytes);
        physical
            .filter(|p| *p >= logical && p.0 <= 65_536 && p.0.is_multiple_of(logical.0))
            .unwrap_or(logical)
    }
}

/// SAS defects, and whether the number stood for bytes of their list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// So many.
    pub defects: u64,
    /// The report's number is eight times as large; four times, on the few drives with short lists.
    pub is_bytes: bool,
}

/// Some drives pack 196 as they pack 5 and give large events with no sector reallocated: that is no count.
fn contradicted_events(attributes: &mut [Attribute]) {
    let none = attributes
        .iter()
        .any(|a| a.id == 5 && a.decoded == Decoded::Count(0));
    for events in attributes.iter_mut().filter(|a| a.id == 196) {
        if none && events.raw > 0xffff {
            events.decoded = Decoded::Opaque("packed, and no sector is reallocated");
        }
    }
}

/// A whole number under `key`, or the text that smartctl writes beside it for one above 2^53.
pub(super) fn member(value: &Value, key: &str) -> Option<u64> {
    let exact = value.get(format!("{key}_s")).and_then(number);
    exact.or_else(|| number(value.get(key)?))
}

/// Whole numbers, also as text; 2^64 and above are the largest that there is.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => {
            let number = text.trim().parse::<u128>().ok()?;
            Some(u64::try_from(number).unwrap_or(u64::MAX))
        }
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            // Only what is too large for a whole number comes here, or is none.
            (float >= 18_446_744_073_709_551_615.0).then_some(u64::MAX)
        }),
        _ => None,
    }
}
