//! The table of weights: what each number costs a disk in points, in which tier it puts it, and where that comes from.
//!
//! Weights with a rate are `10 * log2(rate at this value / rate at 0)` of the
//! annual failure rates that Backblaze's data give by raw value, as tabulated
//! by scrutiny; steps are made monotone. The others are judgement and say so.
//! Rules of one group tell of the same damage: only the largest counts.
//! `disinter smart weights` prints this file; the book holds the same table.

use super::rank::Verdict;
use serde::Serialize;

/// Where a weight comes from.
pub const RATE: &str = "rate";

/// What [`RATE`] stands for.
pub const RATE_SOURCE: &str =
    "annual failure rate by raw value (Backblaze's data, as tabulated by scrutiny)";

/// A weight without published numbers behind it.
pub const JUDGEMENT: &str = "judgement";

/// Rules that tell of the same damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Sectors that were replaced.
    Reallocated,
    /// Sectors that cannot be read.
    Unreadable,
    /// Counts for itself.
    Alone,
}

/// What a number costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// What it tells, in words.
    pub what: &'static str,
    /// From this count on, so many points; ascending.
    pub steps: &'static [(u64, u32)],
    /// Points more for each doubling of the count.
    pub doubling: u32,
    /// Rules of the same damage.
    pub group: Group,
    /// The tier that a disk has at least.
    pub tier: Verdict,
    /// Where the weight comes from.
    pub source: &'static str,
}

impl Weight {
    /// What `count` costs; `None` below the first step.
    pub fn points(&self, count: u64) -> Option<u32> {
        let step = self.steps.iter().rev().find(|(from, _)| count >= *from);
        step.map(|(_, points)| points + self.doubling * count.max(1).ilog2())
    }
}

const fn rate(
    what: &'static str,
    group: Group,
    tier: Verdict,
    steps: &'static [(u64, u32)],
) -> Weight {
    Weight {
        what,
        steps,
        doubling: 0,
        group,
        tier,
        source: RATE,
    }
}

const fn judge(what: &'static str, tier: Verdict, steps: &'static [(u64, u32)]) -> Weight {
    Weight {
        what,
        steps,
        doubling: 0,
        group: Group::Alone,
        tier,
        source: JUDGEMENT,
    }
}

const fn growing(what: &'static str, tier: Verdict, steps: &'static [(u64, u32)]) -> Weight {
    let mut weight = judge(what, tier, steps);
    weight.doubling = 3;
    weight
}

use Group::{Alone, Reallocated, Unreadable};
use Verdict::{Clean, Damaged, Failing, Suspect};

/// ATA attributes by their number.
pub const ATTRIBUTES: [(u64, Weight); 11] = [
    (
        5,
        rate(
            "reallocated sectors",
            Reallocated,
            Suspect,
            &[(1, 1), (5, 16), (17, 32), (71, 39), (261, 45), (1101, 60)],
        ),
    ),
    (
        196,
        rate(
            "reallocation events",
            Reallocated,
            Suspect,
            &[(1, 22), (12, 46)],
        ),
    ),
    (
        197,
        rate(
            "pending sectors",
            Unreadable,
            Damaged,
            &[(1, 37), (3, 47), (17, 52), (41, 60), (101, 66), (251, 70)],
        ),
    ),
    (
        198,
        rate(
            "sectors uncorrectable offline",
            Unreadable,
            Damaged,
            &[(1, 48), (3, 53)],
        ),
    ),
    (
        187,
        rate(
            "uncorrectable errors reported",
            Unreadable,
            Suspect,
            &[(1, 36), (12, 43), (21, 49), (36, 57)],
        ),
    ),
    (10, rate("spin-up retries", Alone, Suspect, &[(1, 33)])),
    (
        199,
        rate(
            "transfer errors (cable or port, not the platters)",
            Alone,
            Suspect,
            &[(1, 19)],
        ),
    ),
    (188, judge("command timeouts", Clean, &[(1, 1), (100, 5)])),
    (200, judge("errors of whole zones", Suspect, &[(1, 10)])),
    (
        1,
        judge("read errors", Clean, &[(1, 3), (100, 6), (10_000, 10)]),
    ),
    (
        7,
        judge("seek errors", Clean, &[(1, 3), (100, 6), (10_000, 10)]),
    ),
];

/// The drive itself says that it fails.
pub const HEALTH: Weight = judge("the drive says that it is failing", Failing, &[(1, 60)]);
/// An attribute that foretells failure is below its threshold now.
pub const PREFAIL_NOW: Weight = judge("below its threshold now", Failing, &[(1, 40)]);
/// It was once.
pub const PREFAIL_PAST: Weight = judge("was below its threshold once", Suspect, &[(1, 10)]);
/// An attribute of use and wear is below its threshold now.
pub const WORN_NOW: Weight = judge("worn below its threshold", Suspect, &[(1, 10)]);
/// A failed self-test that no later extended pass has cleared.
pub const SELF_TEST: Weight = judge(
    "a self-test failed, and no extended one has passed since",
    Failing,
    &[(1, 50)],
);
/// Unreadable sectors in the error log.
pub const MEDIA_LOGGED: Weight = judge("unreadable sectors in the error log", Damaged, &[(1, 30)]);
/// Sectors in the log of pending defects; the steps of attribute 197.
pub const PENDING_LOG: Weight = rate(
    "sectors in the log of pending defects",
    Unreadable,
    Damaged,
    &[(1, 37), (3, 47), (17, 52), (41, 60), (101, 66), (251, 70)],
);
/// A total over the drive's life of what attributes 197 and 198 count now on others.
pub const PENDING_EVER: Weight = judge(
    "sectors that were pending at some time",
    Suspect,
    &[(1, 20)],
);
/// SAS: errors that were not corrected.
pub const SAS_UNCORRECTED: Weight = growing("errors that were not corrected", Damaged, &[(1, 36)]);
/// SAS: unreadable sectors that the background scan found and nobody repaired.
pub const SAS_SCAN: Weight = judge(
    "unreadable sectors found by the background scan",
    Damaged,
    &[(1, 37), (3, 47), (17, 52)],
);
/// SAS: defects grown since it was made.
pub const SAS_GROWN: Weight = Weight {
    group: Reallocated,
    ..growing(
        "defects grown since it was made",
        Suspect,
        &[(1, 1), (5, 10), (17, 20)],
    )
};
/// NVMe: media errors.
pub const NVME_MEDIA: Weight = growing("media errors", Damaged, &[(1, 25)]);
/// NVMe: bit 0, or spare below its threshold.
pub const NVME_SPARE: Weight = judge("spare blocks below the threshold", Failing, &[(1, 40)]);
/// NVMe: bit 1.
pub const NVME_HOT: Weight = judge("temperature outside its limits", Clean, &[(1, 5)]);
/// NVMe: bit 2.
pub const NVME_RELIABILITY: Weight =
    judge("reliability degraded by media errors", Damaged, &[(1, 40)]);
/// NVMe: bit 2 that wear alone explains.
pub const NVME_WORN: Weight = judge(
    "reliability bit set with all spare left: used up, not damaged",
    Suspect,
    &[(1, 10)],
);
/// NVMe: bit 3.
pub const NVME_READ_ONLY: Weight = judge("it has gone read-only", Failing, &[(1, 60)]);
/// NVMe: bit 4.
pub const NVME_BACKUP: Weight = judge(
    "its cache is not safe at power loss: the last writes are doubtful, the media are not",
    Suspect,
    &[(1, 15)],
);
/// NVMe: bits 5 to 7.
pub const NVME_OTHER: Weight = judge("a critical warning of unknown meaning", Suspect, &[(1, 20)]);
/// Percent of the rated life used.
pub const WEAR: Weight = judge(
    "percent of its rated life used",
    Clean,
    &[(90, 3), (100, 5)],
);
/// Counts that rise from one report of a drive to the next.
pub const RISING: Weight = judge("counts of damage rise between reports", Suspect, &[(1, 10)]);
/// A number that cannot be one.
pub const NONSENSE: Weight = judge("a number that cannot be, left out", Suspect, &[(1, 3)]);
/// No self-test has run to its end, though the log was collected.
pub const NEVER_TESTED: Weight = judge("no self-test has run to its end", Clean, &[(0, 6)]);
/// Hours since the last one.
pub const STALE_TEST: Weight = judge(
    "hours since the last self-test",
    Clean,
    &[(25, 3), (2160, 5)],
);

/// All but the attributes.
pub const OTHERS: [Weight; 24] = [
    HEALTH,
    PREFAIL_NOW,
    PREFAIL_PAST,
    WORN_NOW,
    SELF_TEST,
    MEDIA_LOGGED,
    PENDING_LOG,
    PENDING_EVER,
    SAS_UNCORRECTED,
    SAS_SCAN,
    SAS_GROWN,
    NVME_MEDIA,
    NVME_SPARE,
    NVME_HOT,
    NVME_RELIABILITY,
    NVME_WORN,
    NVME_READ_ONLY,
    NVME_BACKUP,
    NVME_OTHER,
    WEAR,
    RISING,
    NONSENSE,
    NEVER_TESTED,
    STALE_TEST,
];

/// Two disks of one tier whose points differ by less are not told apart.
pub const CLOSE: u32 = 10;

/// A row of the table for people: number of the attribute, and its weight.
pub fn table() -> impl Iterator<Item = (Option<u64>, Weight)> {
    let attributes = ATTRIBUTES.iter().map(|(id, weight)| (Some(*id), *weight));
    attributes.chain(OTHERS.iter().map(|weight| (None, *weight)))
}

/// The steps in words: `1: 37, 3: 47`, with what each doubling adds.
pub fn steps_text(weight: &Weight) -> String {
    let steps: Vec<String> = weight
        .steps
        .iter()
        .map(|(from, points)| format!("{from}: {points}"))
        .collect();
    match weight.doubling {
        0 => steps.join(", "),
        more => format!("{}; +{more} a doubling", steps.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that do not rise would make a worse disk cheaper.
    #[test]
    fn worse_is_never_cheaper() {
        for (_, weight) in table() {
            assert!(weight.steps.is_sorted(), "{weight:?}");
            assert!(weight.steps.is_sorted_by_key(|(_, p)| p), "{weight:?}");
            let far = weight.points(u64::MAX).unwrap();
            assert!(far < 300, "{weight:?} {far}");
        }
    }

    /// The book's table is this file's: a person redoes the ranking by it.
    #[test]
    fn the_book_has_the_same_table() {
        let book = include_str!("../../book/src/smart.md");
        for (id, weight) in table() {
            let name = id.map_or(String::new(), |id| format!("{id} "));
            let tier = weight.tier.as_str();
            let row = format!(
                "| {name}{} | {} | {tier} | {} |",
                weight.what,
                steps_text(&weight),
                weight.source
            );
            assert!(book.contains(&row), "the book lacks: {row}");
        }
    }
}
