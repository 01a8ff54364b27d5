//! What a report says of its disk: tier, points, and the reasons for each, so that a person can redo it by hand.

use super::rank::{COLUMNS, Column, CrossCheck, Disk, Reason, Tested, Verdict};
use super::report::{Attribute, Report};
use super::selftest::{LastTest, uncleared};
use super::trend;
use super::weights::{self, Group, Weight};

const TABLE: &str = "ata_smart_attributes.table";
const NVME: &str = "nvme_smart_health_information_log";

/// Points and reasons while they are gathered.
struct Tally {
    verdict: Verdict,
    reasons: Vec<(Group, Reason)>,
}

/// One number that is weighed.
struct Found<'a> {
    key: String,
    raw: String,
    decoded: String,
    count: u64,
    weight: &'a Weight,
    /// Said behind the weight's own words.
    more: &'a str,
}

impl Tally {
    fn add(&mut self, found: Found<'_>) {
        let Some(points) = found.weight.points(found.count) else {
            return;
        };
        self.verdict = self.verdict.max(found.weight.tier);
        let reason = Reason {
            what: format!("{}{}", found.weight.what, found.more),
            key: found.key,
            raw: found.raw,
            decoded: found.decoded,
            points,
            source: found.weight.source,
        };
        self.reasons.push((found.weight.group, reason));
    }

    /// A number whose raw value is the count.
    fn count(&mut self, weight: &Weight, key: &str, count: u64) {
        self.add(Found {
            key: key.to_owned(),
            raw: count.to_string(),
            decoded: count.to_string(),
            count,
            weight,
            more: "",
        });
    }

    /// A fact that is so or not.
    fn fact(&mut self, weight: &Weight, key: &str, raw: String, more: &str) {
        self.add(Found {
            key: key.to_owned(),
            raw,
            decoded: String::new(),
            count: 1,
            weight,
            more,
        });
    }

    /// Of numbers that tell of the same damage only the largest counts; the others are kept with no points.
    fn finish(mut self) -> (Verdict, u32, Vec<Reason>) {
        self.reasons
            .sort_by_key(|(_, r)| std::cmp::Reverse(r.points));
        let mut had = Vec::new();
        for (group, reason) in &mut self.reasons {
            if *group != Group::Alone && had.contains(group) {
                reason.points = 0;
                reason.what.push_str(" (the same damage, counted above)");
            }
            had.push(*group);
        }
        let mut reasons: Vec<Reason> = self.reasons.into_iter().map(|(_, r)| r).collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.points));
        let score = reasons.iter().map(|r| r.points).sum();
        (self.verdict, score, reasons)
    }
}

/// What a report says of its disk, with what older ones of the same disk said.
pub fn assess(report: &Report, older: &[&Report]) -> Disk {
    let mut tally = Tally {
        verdict: Verdict::Clean,
        reasons: Vec::new(),
    };
    let attributes = report.attributes();
    weigh_attributes(report, &attributes, &mut tally);
    health(report, &mut tally);
    logs(report, &mut tally);
    self_tests(report, &mut tally);
    sas(report, &mut tally);
    nvme(report, &mut tally);
    let trend = trend::trend(report, older);
    if let Some(rising) = trend.as_ref().map(|t| t.rising()).filter(|r| !r.is_empty()) {
        tally.fact(&weights::RISING, "several reports", rising, "");
    }
    let (verdict, score, reasons) = tally.finish();
    let verdict = match report.has_body() {
        true => verdict,
        // A drive that only says "failed", or has a log of what it could not read, has said enough.
        false if matches!(verdict, Verdict::Damaged | Verdict::Failing) => verdict,
        false => Verdict::Unknown,
    };
    let failing = report.failing();
    let tests = report.self_tests();
    let (last, test) = LastTest::of(tests.as_deref());
    let age_hours = test.and_then(|t| t.age_hours);
    let mut notes = notes(report, &attributes, verdict);
    notes.extend(failing.notes);
    Disk {
        rank: 0,
        name: String::new(),
        file: report.file.clone(),
        index: report.index,
        device: report.device(),
        device_type: report.device_type(),
        model: report.model(),
        serial: report.serial(),
        protocol: report.protocol(),
        size: report.capacity(),
        verdict,
        score: if verdict == Verdict::Unknown {
            0
        } else {
            score
        },
        reasons: if verdict == Verdict::Unknown {
            Vec::new()
        } else {
            reasons
        },
        failing_lbas: failing.lbas,
        block_size: report.block_size().0,
        failing_extents: failing.extents,
        columns: columns(report, &attributes),
        errors: report.errors(),
        tested_within_24_h: (last != LastTest::NotCollected)
            .then(|| last == LastTest::Passed && age_hours.is_some_and(|a| a <= 24)),
        self_test: Tested {
            last,
            age_hours,
            extended: test.is_some_and(|t| t.extended),
        },
        cross_check: cross_check(report, verdict),
        attributes,
        notes,
        trend,
    }
}

fn columns(report: &Report, attributes: &[Attribute]) -> Vec<Column> {
    let column = |id: u64| {
        let attribute = attributes.iter().find(|a| a.id == id);
        Column {
            id,
            raw: attribute.map(|a| a.raw),
            decoded: attribute.and_then(|a| a.decoded.count()).or(match id {
                // smartctl tells every protocol's hours.
                9 => report.hours(),
                _ => None,
            }),
        }
    };
    COLUMNS.into_iter().map(column).collect()
}

fn weigh_attributes(report: &Report, attributes: &[Attribute], tally: &mut Tally) {
    for id in report.broken_attributes() {
        let key = format!("{TABLE}[id={id}].raw.value");
        tally.fact(&weights::NONSENSE, &key, "no count".to_owned(), "");
    }
    for attribute in attributes {
        let key = format!("{TABLE}[id={}].raw.value", attribute.id);
        threshold(attribute, tally);
        let Some(count) = attribute.decoded.count() else {
            continue;
        };
        let ever = ["Total_Pending", "Total_Offl"]
            .iter()
            .any(|name| attribute.name.starts_with(name));
        let by_id = weights::ATTRIBUTES
            .iter()
            .find(|(id, _)| *id == attribute.id)
            .map(|(_, weight)| weight);
        let weight = if ever {
            Some(&weights::PENDING_EVER)
        } else {
            by_id
        };
        if let Some(weight) = weight {
            tally.add(Found {
                key,
                raw: attribute.raw.to_string(),
                decoded: count.to_string(),
                count,
                weight,
                more: "",
            });
        }
    }
}

fn threshold(attribute: &Attribute, tally: &mut Tally) {
    let weight = match (attribute.when_failed.as_str(), attribute.prefailure) {
        ("now", true) => &weights::PREFAIL_NOW,
        ("now", false) => &weights::WORN_NOW,
        ("past", true) => &weights::PREFAIL_PAST,
        // Mostly a warm day.
        _ => return,
    };
    let key = format!("{TABLE}[id={}].when_failed", attribute.id);
    let show = |n: Option<u64>| n.map_or("?".to_owned(), |n| n.to_string());
    let more = format!(
        ": attribute {} {} (value {}, worst {}, threshold {})",
        attribute.id,
        attribute.name,
        show(attribute.value),
        show(attribute.worst),
        show(attribute.thresh)
    );
    tally.fact(weight, &key, attribute.when_failed.clone(), &more);
}

fn health(report: &Report, tally: &mut Tally) {
    // NVMe's is only its critical-warning bits once more.
    if report.passed() == Some(false) && report.number(&[NVME, "critical_warning"]).is_none() {
        tally.fact(
            &weights::HEALTH,
            "smart_status.passed",
            "false".to_owned(),
            "",
        );
    }
}

fn logs(report: &Report, tally: &mut Tally) {
    if let Some(errors) = report.errors()
        && errors.media > 0
    {
        let key = match report.error_log() {
            Some(kind) => format!("ata_smart_error_log.{kind}.table"),
            None => "nvme_error_information_log.table".to_owned(),
        };
        let more = match errors.newest_media_hours {
            Some(hours) => format!(", the newest {hours} h ago (modulo 65536)"),
            None => String::new(),
        };
        tally.add(Found {
            key,
            raw: format!("{} of {} errors", errors.media, errors.total),
            decoded: errors.media.to_string(),
            count: errors.media,
            weight: &weights::MEDIA_LOGGED,
            more: &more,
        });
    }
    for log in ["ata_pending_defects_log", "scsi_pending_defects"] {
        if let Some(count) = report.number(&[log, "count"]) {
            tally.count(&weights::PENDING_LOG, &format!("{log}.count"), count);
        }
    }
}

fn self_tests(report: &Report, tally: &mut Tally) {
    let key = match report.protocol().as_str() {
        "NVMe" => "nvme_self_test_log",
        "SCSI" => "scsi_self_test_0",
        _ => "ata_smart_self_test_log",
    };
    let Some(tests) = report.self_tests() else {
        return;
    };
    if let Some(failed) = uncleared(&tests) {
        let kind = if failed.extended { "extended" } else { "short" };
        let raw = match failed.lba {
            Some(lba) => format!("{kind}, LBA {lba}"),
            None => kind.to_owned(),
        };
        let ago = match failed.age_hours {
            Some(hours) => format!(" ({raw}, {hours} h ago)"),
            None => format!(" ({raw})"),
        };
        tally.fact(&weights::SELF_TEST, key, raw.clone(), &ago);
        return;
    }
    match LastTest::of(Some(&tests)) {
        (LastTest::Passed, Some(test)) => {
            if let Some(age) = test.age_hours {
                tally.count(&weights::STALE_TEST, key, age);
            }
        }
        (last, _) => {
            let how = match last {
                LastTest::Running => ": one is running now",
                LastTest::Aborted => ": all were aborted",
                _ => "",
            };
            tally.fact(&weights::NEVER_TESTED, key, "none".to_owned(), how);
        }
    }
}

fn sas(report: &Report, tally: &mut Tally) {
    if let Some(uncorrected) = report.sas_uncorrected() {
        let key = "scsi_error_counter_log.*.total_uncorrected_errors";
        tally.count(&weights::SAS_UNCORRECTED, key, uncorrected);
    }
    tally.count(
        &weights::SAS_SCAN,
        "scsi_background_scan",
        report.scan_unreadable(),
    );
    if let Some(grown) = report.sas_grown() {
        let raw = report.number(&["scsi_grown_defect_list"]).unwrap_or(0);
        let more = match grown.is_bytes {
            true => format!(
                " (smartctl up to 7.1 prints bytes, {raw}: eight a defect, {} if four)",
                raw.div_ceil(4)
            ),
            false => String::new(),
        };
        tally.add(Found {
            key: "scsi_grown_defect_list".to_owned(),
            raw: raw.to_string(),
            decoded: grown.defects.to_string(),
            count: grown.defects,
            weight: &weights::SAS_GROWN,
            more: &more,
        });
    }
    let wear = "scsi_percentage_used_endurance_indicator";
    if let Some(used) = report.number(&[wear]) {
        tally.count(&weights::WEAR, wear, used);
    }
    for key in ["scsi_grown_defect_list", wear] {
        if report.is_nonsense(&[key]) {
            tally.fact(&weights::NONSENSE, key, "no count".to_owned(), "");
        }
    }
    for what in ["read", "write", "verify"] {
        let path = ["scsi_error_counter_log", what, "total_uncorrected_errors"];
        if report.is_nonsense(&path) {
            tally.fact(
                &weights::NONSENSE,
                &path.join("."),
                "no count".to_owned(),
                "",
            );
        }
    }
}

fn nvme(report: &Report, tally: &mut Tally) {
    for what in [
        "media_errors",
        "critical_warning",
        "available_spare",
        "percentage_used",
    ] {
        if report.is_nonsense(&[NVME, what]) {
            let key = format!("{NVME}.{what}");
            tally.fact(&weights::NONSENSE, &key, "no count".to_owned(), "");
        }
    }
    let number = |what: &str| report.number(&[NVME, what]);
    if let Some(errors) = number("media_errors") {
        tally.count(
            &weights::NVME_MEDIA,
            &format!("{NVME}.media_errors"),
            errors,
        );
    }
    let used = number("percentage_used");
    if let Some(used) = used {
        tally.count(&weights::WEAR, &format!("{NVME}.percentage_used"), used);
    }
    let spare = number("available_spare").zip(number("available_spare_threshold"));
    let spare_low = spare.is_some_and(|(spare, threshold)| spare < threshold);
    let bits = number("critical_warning").unwrap_or(0);
    let worn = used.is_some_and(|u| u >= 100)
        && !spare_low
        && number("media_errors").is_none_or(|n| n == 0);
    let reliability = if worn {
        &weights::NVME_WORN
    } else {
        &weights::NVME_RELIABILITY
    };
    let meanings = [
        (1, &weights::NVME_SPARE),
        (2, &weights::NVME_HOT),
        (4, reliability),
        (8, &weights::NVME_READ_ONLY),
        (16, &weights::NVME_BACKUP),
        (0xe0, &weights::NVME_OTHER),
    ];
    for (mask, weight) in meanings {
        if bits & mask != 0 {
            let key = format!("{NVME}.critical_warning");
            tally.fact(weight, &key, format!("{bits:#04x}"), "");
        }
    }
    if let (Some((spare, threshold)), true, 0) = (spare, spare_low, bits & 1) {
        let key = format!("{NVME}.available_spare");
        let raw = format!("{spare} % below {threshold} %");
        tally.fact(&weights::NVME_SPARE, &key, raw, "");
    }
}

/// smartctl's exit bits. 0 to 2 tell of smartctl's own work, 3 to 7 of the disk.
const BITS: [&str; 8] = [
    "its command line was wrong",
    "the device could not be opened or asked",
    "some command to the drive failed",
    "the drive says that it fails",
    "an attribute is below its threshold",
    "an attribute was below its threshold",
    "the error log has entries",
    "the self-test log has errors",
];

/// Both are a cross-check, never the verdict: a drive with a thousand pending sectors says PASSED and exits 0.
fn cross_check(report: &Report, verdict: Verdict) -> CrossCheck {
    let status = report.exit_status();
    let bits = (0..8)
        .zip(BITS)
        .filter(|(bit, _)| status.is_some_and(|s| s >> bit & 1 == 1));
    let passed = report.passed();
    let calm = passed != Some(false) && status.is_none_or(|s| s & 0b1111_1000 == 0);
    let word = match passed {
        Some(true) => "PASSED",
        Some(false) => "FAILED",
        None => "nothing",
    };
    let exit = status.map_or(String::new(), |s| format!(", exit status {s}"));
    let why = match verdict {
        Verdict::Suspect | Verdict::Damaged | Verdict::Failing if calm => {
            Some("it knows no threshold for what is counted here")
        }
        Verdict::Clean if passed == Some(false) => Some("what it complains of concerns no data"),
        Verdict::Clean if !calm => Some("what it counts are refused commands or a past warmth"),
        Verdict::Unknown if passed == Some(true) => Some("that word alone says nothing"),
        _ => None,
    };
    CrossCheck {
        passed,
        exit_status: status,
        bits: bits.map(|(_, words)| words).collect(),
        differs: why.map(|why| format!("the drive says {word}{exit}: {why}")),
    }
}

fn notes(report: &Report, attributes: &[Attribute], verdict: Verdict) -> Vec<String> {
    let mut notes = report.messages();
    let status = report.exit_status().unwrap_or(0);
    if verdict == Verdict::Unknown {
        notes.push(format!(
            "nothing about its health is in the report; {}",
            collect(report)
        ));
    } else if !report.has_body() {
        notes.push(format!(
            "its counters are not in the report, only its logs are; {}",
            collect(report)
        ));
    } else if status & 0b100 != 0 {
        notes.push("smartctl says that some command failed: a log may be missing".to_owned());
    }
    for attribute in attributes {
        let shown = COLUMNS.contains(&attribute.id)
            || weights::ATTRIBUTES
                .iter()
                .any(|(id, _)| *id == attribute.id);
        if let (super::decode::Decoded::Opaque(why), true) = (attribute.decoded, shown) {
            notes.push(format!(
                "attribute {} has the raw value {}, not to be trusted: {why}",
                attribute.id, attribute.raw
            ));
        }
        // 198 is only counted when the drive collects offline data.
        if attribute.id == 198 && attribute.worst == Some(253) {
            notes.push("attribute 198 was never computed: its 0 says nothing".to_owned());
        }
    }
    notes
}

/// The command that would collect more.
fn collect(report: &Report) -> String {
    let device = match report.device() {
        name if name.is_empty() => "DEVICE".to_owned(),
        name => name,
    };
    let kind = report.device_type();
    let model = report.model().to_lowercase();
    let messages = report.messages().join(" ");
    if messages.contains("Permission denied") {
        return format!("run it as root: smartctl --json -x {device}");
    }
    if messages.contains("STANDBY") || messages.contains("low-power") {
        return format!("the drive sleeps; wake it: smartctl --json -x {device}");
    }
    if ["raid", "volume", "logical", "virtual", "perc", "megaraid"]
        .iter()
        .any(|w| model.contains(w))
    {
        return format!(
            "it is a volume of a controller; ask the disks behind it: \
             smartctl --json -x -d megaraid,N {device} (or areca,N  cciss,N  3ware,N  sat)"
        );
    }
    if model.contains("qemu") || model.contains("vmware") {
        return "it is a virtual disk: ask the disks of the host".to_owned();
    }
    match kind.as_str() {
        "" | "scsi" => format!("try: smartctl --json -x -d sat {device}"),
        kind => format!("try: smartctl --json -x -d {kind} {device}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn verdict(more: Value) -> Disk {
        let mut report =
            json!({"device": {"name": "/dev/sda", "protocol": "ATA"}, "model_name": "M"});
        let all = report.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        assess(&Report::new("sda.json", 0, report).unwrap(), &[])
    }

    /// The counters could not be read, the log of what cannot be read could: such a disk was unknown, and stood before one
    /// with a single bad sector.
    #[test]
    fn a_log_of_bad_sectors_is_enough() {
        let bad = verdict(json!({"ata_pending_defects_log": {"size": 100, "count": 50}}));
        assert_eq!(bad.verdict, Verdict::Damaged);
        assert!(bad.score > 0 && !bad.reasons.is_empty(), "{bad:?}");
        assert!(bad.notes.iter().any(|n| n.contains("only its logs")));
        let none = verdict(json!({"ata_pending_defects_log": {"size": 100, "count": 0}}));
        assert_eq!((none.verdict, none.score), (Verdict::Unknown, 0));
    }
}
