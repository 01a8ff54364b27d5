//! The table of weights: what each number costs a disk in points, and where the weight comes from.
//!
//! Weights with a rate are `10 * log2(rate at this value / rate at 0)` of the
//! annual failure rates that Backblaze's data give by raw value, as tabulated
//! by scrutiny; steps are made monotone. The others are judgement and say so.
//! Rules of one group tell of the same damage: only the largest counts.

/// Where a weight comes from.
pub const RATE: &str =
    "annual failure rate by raw value (Backblaze data, as tabulated by scrutiny)";

/// A weight without published numbers behind it.
pub const JUDGEMENT: &str = "judgement";

/// Rules that tell of the same damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Sectors that were replaced.
    Reallocated,
    /// Sectors that cannot be read.
    Unreadable,
    /// Counts for itself.
    Alone(u64),
}

/// What an attribute's count costs.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The attribute.
    pub id: u64,
    /// What it tells, in words.
    pub what: &'static str,
    /// From this count on, so many points; ascending.
    pub steps: &'static [(u64, u32)],
    /// Rules of the same damage.
    pub group: Group,
    /// Whether a count above zero means damage, not only suspicion.
    pub damage: bool,
    /// Where the weight comes from.
    pub source: &'static str,
}

/// The rules for ATA attributes.
pub const RULES: [Rule; 10] = [
    Rule {
        id: 5,
        what: "reallocated sectors",
        steps: &[(1, 1), (5, 16), (17, 32), (71, 39), (261, 45), (1101, 60)],
        group: Group::Reallocated,
        damage: false,
        source: RATE,
    },
    Rule {
        id: 196,
        what: "reallocation events",
        steps: &[(1, 22), (12, 46)],
        group: Group::Reallocated,
        damage: false,
        source: RATE,
    },
    Rule {
        id: 197,
        what: "pending sectors",
        steps: &[(1, 37), (3, 47), (17, 52), (41, 60), (101, 66), (251, 70)],
        group: Group::Unreadable,
        damage: true,
        source: RATE,
    },
    Rule {
        id: 198,
        what: "sectors uncorrectable offline",
        steps: &[(1, 48), (3, 53)],
        group: Group::Unreadable,
        damage: true,
        source: RATE,
    },
    Rule {
        id: 187,
        what: "uncorrectable errors reported",
        steps: &[(1, 36), (12, 43), (21, 49), (36, 57)],
        group: Group::Unreadable,
        damage: false,
        source: RATE,
    },
    Rule {
        id: 10,
        what: "spin-up retries",
        steps: &[(1, 33)],
        group: Group::Alone(10),
        damage: false,
        source: RATE,
    },
    Rule {
        id: 199,
        what: "transfer errors (cable or port, not the platters)",
        steps: &[(1, 19)],
        group: Group::Alone(199),
        damage: false,
        source: RATE,
    },
    Rule {
        id: 200,
        what: "errors of whole zones",
        steps: &[(1, 10)],
        group: Group::Alone(200),
        damage: false,
        source: JUDGEMENT,
    },
    Rule {
        id: 1,
        what: "read errors",
        steps: &[(1, 3), (100, 6), (10_000, 10)],
        group: Group::Alone(1),
        damage: false,
        source: JUDGEMENT,
    },
    Rule {
        id: 7,
        what: "seek errors",
        steps: &[(1, 3), (100, 6), (10_000, 10)],
        group: Group::Alone(7),
        damage: false,
        source: JUDGEMENT,
    },
];

/// The drive itself says that it fails.
pub const HEALTH_FAILED: u32 = 60;
/// A prefailure attribute is below its threshold now.
pub const PREFAIL_NOW: u32 = 40;
/// A failed self-test that no later pass of the same reach has cleared.
pub const SELF_TEST_FAILED: u32 = 50;
/// Unreadable sectors in the error log.
pub const MEDIA_ERRORS: u32 = 30;
/// SAS: errors that were not corrected, plus three for each doubling.
pub const SAS_UNCORRECTED: u32 = 36;
/// SAS: defects grown since it was made, plus three for each doubling.
pub const SAS_GROWN: u32 = 16;
/// NVMe: media errors, plus three for each doubling.
pub const NVME_MEDIA: u32 = 25;
/// NVMe: any other critical warning.
pub const NVME_CRITICAL: u32 = 40;
/// No self-test was ever run, though the log was collected.
pub const NEVER_TESTED: u32 = 6;
/// The last self-test is older than a day.
pub const STALE_TEST: u32 = 3;

/// Two disks whose points differ by less are not told apart.
pub const CLOSE: u32 = 10;
