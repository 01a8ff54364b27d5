//! The drive's log of errors, by what they tell of: the medium, the cable, or the host's own commands.

use super::report::{Report, member};
use serde::Serialize;
use serde_json::Value;

/// Errors in the drive's log, by what they tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Counted by the drive over its life; the log keeps only the last few.
    pub total: u64,
    /// Kept in the log: sectors that could not be read or found.
    pub media: u64,
    /// Kept in the log: transfers that came over wrong.
    pub cable: u64,
    /// Kept in the log: commands that the drive refused, the host's doing.
    pub host: u64,
    /// Hours since the newest error of the medium, by the drive's clock (modulo 65536).
    pub newest_media_hours: Option<u64>,
}

impl Errors {
    /// Those that the log no longer holds: nothing is known of their class.
    pub fn unclassed(&self) -> u64 {
        let kept = self.media + self.cable + self.host;
        self.total.saturating_sub(kept)
    }
}

/// What an error tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A sector could not be read, or not be found.
    Media,
    /// A transfer came over wrong.
    Cable,
    /// A command that the drive did not take.
    Host,
}

impl Report {
    /// The error log; `None` where it was not collected, or the protocol has none.
    pub fn errors(&self) -> Option<Errors> {
        self.ata_errors().or_else(|| self.nvme_errors())
    }

    fn ata_errors(&self) -> Option<Errors> {
        let kind = self.error_log()?;
        let path = ["ata_smart_error_log", kind];
        let mut errors = Errors {
            total: self.number(&[path[0], kind, "count"]).unwrap_or(0),
            ..Errors::default()
        };
        for entry in self.error_entries() {
            match class(entry) {
                Class::Media => {
                    errors.media += 1;
                    let at = member(entry, "lifetime_hours");
                    let age = self.hours().zip(at).map(|(now, at)| age(now, at));
                    let newest = errors.newest_media_hours.into_iter().chain(age.flatten());
                    errors.newest_media_hours = newest.min();
                }
                Class::Cable => errors.cable += 1,
                Class::Host => errors.host += 1,
            }
        }
        Some(errors)
    }

    /// Which of the two ATA logs there is.
    pub(super) fn error_log(&self) -> Option<&'static str> {
        let there = |kind: &&str| {
            self.at(&["ata_smart_error_log", kind])
                .is_some_and(Value::is_object)
        };
        ["extended", "summary"].into_iter().find(there)
    }

    /// The entries that the ATA log keeps.
    pub(super) fn error_entries(&self) -> impl Iterator<Item = &Value> {
        let kind = self.error_log().unwrap_or("extended");
        self.rows(&["ata_smart_error_log", kind, "table"])
    }

    /// NVMe counts every refused command; only status code type 2 is the medium, and not all of it.
    fn nvme_errors(&self) -> Option<Errors> {
        let health = "nvme_smart_health_information_log";
        let total = self.number(&[health, "num_err_log_entries"])?;
        let mut errors = Errors {
            total,
            ..Errors::default()
        };
        for entry in self.rows(&["nvme_error_information_log", "table"]) {
            match nvme_class(entry) {
                Class::Media => errors.media += 1,
                _ => errors.host += 1,
            }
        }
        Some(errors)
    }
}

/// The class of an entry of the NVMe error log.
///
/// Of type 2, "media and data integrity errors", 0x85 to 0x87 are a comparison that failed, a range that is locked, and a
/// block that was never written: nothing of these is broken. Source: NVM Express base specification, status values.
pub(super) fn nvme_class(entry: &Value) -> Class {
    let status = entry.get("status_field");
    let status = |key| status.and_then(|s| member(s, key));
    match (status("status_code_type"), status("status_code")) {
        (Some(2), Some(0x85..=0x87)) => Class::Host,
        (Some(2), _) => Class::Media,
        _ => Class::Host,
    }
}

/// Hours between an entry's time, of which the drive keeps 16 bits, and now. `None` where the entry is of a time that
/// the drive has not reached.
pub(super) fn age(now: u64, at: u64) -> Option<u64> {
    let age = now.wrapping_sub(at) & 0xffff;
    (age <= now).then_some(age)
}

/// An error's class, by the error register: 0x40 unreadable, 0x80 a transfer gone wrong, 0x10 and 0x01 a sector not
/// found, which is the medium's fault only where data was read or written (probing for a hidden area ends so too).
pub fn class(entry: &Value) -> Class {
    let register = entry
        .get("completion_registers")
        .and_then(|r| member(r, "error"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(register: u64, command: &str) -> Value {
        json!({"completion_registers": {"error": register},
               "previous_commands": [{"command_name": command}]})
    }

    /// Probing for a hidden area fills the log of a sound drive with "sector not found".
    #[test]
    fn classes() {
        assert_eq!(class(&entry(0x40, "READ DMA EXT")), Class::Media);
        assert_eq!(class(&entry(0x84, "WRITE DMA")), Class::Cable);
        assert_eq!(class(&entry(0x10, "READ FPDMA QUEUED")), Class::Media);
        assert_eq!(
            class(&entry(0x10, "SET NATIVE MAX ADDRESS EXT")),
            Class::Host
        );
        assert_eq!(
            class(&entry(0x10, "READ NATIVE MAX ADDRESS EXT")),
            Class::Host
        );
        assert_eq!(class(&entry(0x10, "READ LOG EXT")), Class::Host);
        assert_eq!(class(&entry(0x04, "SMART READ DATA")), Class::Host);
    }

    /// A locked drive that was read at boot was told to have unreadable sectors.
    #[test]
    fn nvme_classes() {
        let of = |kind: u64, code: u64| {
            nvme_class(&json!({"status_field": {"status_code_type": kind, "status_code": code}}))
        };
        for code in [0x80, 0x81, 0x82, 0x88] {
            assert_eq!(of(2, code), Class::Media, "{code:#x}");
        }
        for code in [0x85, 0x86, 0x87] {
            assert_eq!(of(2, code), Class::Host, "{code:#x}");
        }
        assert_eq!(of(0, 0x81), Class::Host);
        let old = json!({"status_field": {"status_code_type": 2}});
        assert_eq!(nvme_class(&old), Class::Media);
    }

    /// 16 bits of hours wrap after seven and a half years; an entry from the future has no age.
    #[test]
    fn ages() {
        assert_eq!(age(65_592, 42), Some(14));
        assert_eq!(age(67_346, 1770), Some(40));
        assert_eq!(age(1000, 1500), None);
        assert_eq!(age(1000, 1000), Some(0));
    }
}
