//! Self-tests: which ran, how long ago, how they ended.
//!
//! ATA keeps the status in the upper half of a byte (0 passed, 1 and 2
//! aborted, 3 to 8 failed, 15 running) and 16 bits of hours; SCSI numbers its
//! results alike (0, 1 and 2, 3 to 7, 15) and keeps 16 bits too; NVMe 0
//! passed, 5 to 7 failed, the others aborted, with hours in full.

use super::errors::age;
use super::report::{Report, member};
use serde::Serialize;
use serde_json::Value;

/// How a self-test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Without error.
    Passed,
    /// With one.
    Failed,
    /// By the host, or by a reset.
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
    /// Hours since, by the drive's clock (ATA and SCSI: modulo 65536).
    pub age_hours: Option<u64>,
    /// The first block that failed.
    pub lba: Option<u64>,
}

/// What is known of the last self-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastTest {
    /// The log was not collected: nothing is known.
    NotCollected,
    /// The log is empty, or holds only tests that did not end.
    Never,
    /// One runs now, and none has ended yet.
    Running,
    /// All were aborted.
    Aborted,
    /// The newest that ended passed.
    Passed,
    /// The newest that ended failed.
    Failed,
}

impl LastTest {
    /// The last test of a log.
    pub fn of(tests: Option<&[SelfTest]>) -> (LastTest, Option<&SelfTest>) {
        let Some(tests) = tests else {
            return (LastTest::NotCollected, None);
        };
        let ended = |t: &&SelfTest| matches!(t.outcome, Outcome::Passed | Outcome::Failed);
        let has = |outcome| tests.iter().any(|t| t.outcome == outcome);
        match tests.iter().find(ended) {
            Some(t) if t.outcome == Outcome::Passed => (LastTest::Passed, Some(t)),
            Some(t) => (LastTest::Failed, Some(t)),
            None if has(Outcome::Running) => (LastTest::Running, None),
            None if has(Outcome::Aborted) => (LastTest::Aborted, None),
            None => (LastTest::Never, None),
        }
    }
}

/// The newest failure that no extended pass has followed. A short pass clears nothing: it reads little of the disk.
pub fn uncleared(tests: &[SelfTest]) -> Option<&SelfTest> {
    let cleared = |t: &&SelfTest| !(t.extended && t.outcome == Outcome::Passed);
    let since = tests.iter().take_while(cleared);
    since.into_iter().find(|t| t.outcome == Outcome::Failed)
}

impl Report {
    /// The self-tests in the log, the newest first; `None` where it was not collected.
    pub fn self_tests(&self) -> Option<Vec<SelfTest>> {
        let mut tests = self
            .ata_tests()
            .or_else(|| self.nvme_tests())
            .or_else(|| self.scsi_tests())?;
        if self.runs_now() && !tests.iter().any(|t| t.outcome == Outcome::Running) {
            let running = SelfTest {
                extended: false,
                outcome: Outcome::Running,
                age_hours: Some(0),
                lba: None,
            };
            tests.insert(0, running);
        }
        Some(tests)
    }

    fn runs_now(&self) -> bool {
        let ata = self.number(&["ata_smart_data", "self_test", "status", "value"]);
        let nvme = ["nvme_self_test_log", "current_self_test_operation", "value"];
        ata.is_some_and(|v| v >> 4 == 15) || self.number(&nvme).is_some_and(|v| v > 0)
    }

    fn ata_tests(&self) -> Option<Vec<SelfTest>> {
        let log = |kind: &&str| {
            self.at(&["ata_smart_self_test_log", kind])
                .is_some_and(Value::is_object)
        };
        let kind = ["extended", "standard"].into_iter().find(log)?;
        let hours = self.hours();
        let rows = self.rows(&["ata_smart_self_test_log", kind, "table"]);
        Some(rows.filter_map(|row| ata_test(row, hours)).collect())
    }

    fn scsi_tests(&self) -> Option<Vec<SelfTest>> {
        let hours = self.hours();
        // Separate keys, 0 the newest.
        let entries: Vec<&Value> = (0..20)
            .map_while(|n| self.at(&[&format!("scsi_self_test_{n}")]))
            .collect();
        (!entries.is_empty()).then(|| {
            let tests = entries.into_iter().filter_map(|e| scsi_test(e, hours));
            tests.collect()
        })
    }

    fn nvme_tests(&self) -> Option<Vec<SelfTest>> {
        self.at(&["nvme_self_test_log"])
            .filter(|log| log.is_object())?;
        let hours = self.hours();
        let rows = self.rows(&["nvme_self_test_log", "table"]);
        Some(rows.filter_map(|row| nvme_test(row, hours)).collect())
    }
}

fn value_of(row: &Value, key: &str) -> Option<u64> {
    member(row.get(key)?, "value")
}

fn ata_test(row: &Value, hours: Option<u64>) -> Option<SelfTest> {
    let kind = value_of(row, "type")? & 0x7f;
    // 1 short, 2 extended, 3 conveyance, 4 selective (with 0x80: captive). Others are the maker's own, or the
    // collection of offline data, which tests nothing.
    if !(1..=4).contains(&kind) {
        return None;
    }
    let outcome = match value_of(row, "status")? >> 4 {
        0 => Outcome::Passed,
        3..=8 => Outcome::Failed,
        15 => Outcome::Running,
        _ => Outcome::Aborted,
    };
    let at = member(row, "lifetime_hours");
    Some(SelfTest {
        extended: kind == 2,
        outcome,
        age_hours: hours.zip(at).and_then(|(now, at)| age(now, at)),
        lba: member(row, "lba"),
    })
}

fn scsi_test(entry: &Value, hours: Option<u64>) -> Option<SelfTest> {
    let outcome = match value_of(entry, "result")? {
        0 => Outcome::Passed,
        1 | 2 => Outcome::Aborted,
        3..=7 => Outcome::Failed,
        15 => Outcome::Running,
        _ => return None,
    };
    let at = entry.get("power_on_time").and_then(|t| member(t, "hours"));
    Some(SelfTest {
        // 2 in the background, 6 in the foreground.
        extended: matches!(value_of(entry, "code"), Some(2 | 6)),
        outcome,
        age_hours: hours.zip(at).and_then(|(now, at)| age(now, at)),
        lba: value_of(entry, "lba_first_failure"),
    })
}

fn nvme_test(row: &Value, hours: Option<u64>) -> Option<SelfTest> {
    let outcome = match value_of(row, "self_test_result")? {
        0 => Outcome::Passed,
        5..=7 => Outcome::Failed,
        15 => return None,
        _ => Outcome::Aborted,
    };
    let at = member(row, "power_on_hours");
    Some(SelfTest {
        extended: value_of(row, "self_test_code") == Some(2),
        outcome,
        age_hours: hours.zip(at).and_then(|(now, at)| now.checked_sub(at)),
        lba: member(row, "lba"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ata(tests: &[(u64, u64, u64)]) -> Report {
        let row = |(kind, status, hours): &(u64, u64, u64)| json!({"type": {"value": kind}, "status": {"value": status}, "lifetime_hours": hours});
        let table: Vec<Value> = tests.iter().map(row).collect();
        let value = json!({"device": {"protocol": "ATA"}, "power_on_time": {"hours": 70_000},
            "ata_smart_self_test_log": {"standard": {"table": table}}});
        Report::new("x", 0, value).unwrap()
    }

    fn last(report: &Report) -> LastTest {
        LastTest::of(report.self_tests().as_deref()).0
    }

    /// A short pass reads a fraction of the disk; taken as an all-clear it hides a disk that fails its long test.
    #[test]
    fn only_an_extended_pass_clears_a_failure() {
        let failed = ata(&[(1, 0, 4463), (2, 0x79, 4460), (1, 0, 4400)]);
        let tests = failed.self_tests().unwrap();
        assert!(uncleared(&tests).is_some_and(|t| t.extended));
        let short = ata(&[(1, 0, 4463), (1, 0x79, 4460)]).self_tests().unwrap();
        assert!(uncleared(&short).is_some());
        let cleared = ata(&[(130, 0, 4463), (2, 0x79, 4460)])
            .self_tests()
            .unwrap();
        assert_eq!(uncleared(&cleared), None);
        // "fatal error" (3) is a failure, an abort is not.
        let fatal = ata(&[(1, 0x30, 4463)]).self_tests().unwrap();
        assert!(uncleared(&fatal).is_some());
        assert_eq!(uncleared(&ata(&[(1, 0x19, 1)]).self_tests().unwrap()), None);
    }

    /// Each of these has been taken for "tested and sound" by some tool.
    #[test]
    fn states_are_told_apart() {
        assert_eq!(last(&ata(&[])), LastTest::Never);
        assert_eq!(last(&ata(&[(1, 0x19, 0)])), LastTest::Aborted);
        assert_eq!(last(&ata(&[(1, 0xf9, 1)])), LastTest::Running);
        assert_eq!(last(&ata(&[(1, 0xf9, 1), (1, 0, 9)])), LastTest::Passed);
        assert_eq!(last(&ata(&[(1, 0x70, 1), (1, 0, 9)])), LastTest::Failed);
        // The maker's own kind, and offline collection.
        assert_eq!(last(&ata(&[(223, 0, 3), (0, 0, 3)])), LastTest::Never);
        let none = Report::new("x", 0, json!({"device": {}})).unwrap();
        assert_eq!(last(&none), LastTest::NotCollected);
        let tests = ata(&[(1, 0, 4463)]).self_tests().unwrap();
        assert_eq!(tests[0].age_hours, Some(1), "70000 is 4464 after the wrap");
    }

    /// Made after smartmontools' source; no real report of a failed SAS or NVMe self-test was at hand.
    #[test]
    fn sas_and_nvme() {
        let sas = json!({"device": {"protocol": "SCSI"}, "power_on_time": {"hours": 500},
            "scsi_self_test_0": {"code": {"value": 1}, "result": {"value": 0}, "power_on_time": {"hours": 499}},
            "scsi_self_test_1": {"code": {"value": 2}, "result": {"value": 7}, "power_on_time": {"hours": 490},
                "lba_first_failure": {"value": 12_345}}});
        let tests = Report::new("x", 0, sas).unwrap().self_tests().unwrap();
        let failure = uncleared(&tests).unwrap();
        assert_eq!((failure.lba, failure.age_hours), (Some(12_345), Some(10)));
        let nvme = json!({"device": {"protocol": "NVMe"}, "power_on_time": {"hours": 70_000},
            "nvme_self_test_log": {"current_self_test_operation": {"value": 1}, "table": [null,
                {"self_test_code": {"value": 2}, "self_test_result": {"value": 7}, "power_on_hours": 1, "lba": 99}]}});
        let tests = Report::new("x", 0, nvme).unwrap().self_tests().unwrap();
        assert_eq!(tests[0].outcome, Outcome::Running);
        assert_eq!(uncleared(&tests).and_then(|t| t.age_hours), Some(69_999));
    }
}
