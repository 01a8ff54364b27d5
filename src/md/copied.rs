//! How far a copy of one volume to another came, where no superblock says it: a mirror built without superblocks
//! (`mdadm --build`) that was stopped, a `dd` that was ended.
//!
//! Such a copy goes from the first byte to the last, so up to where it came both are equal, and behind that they are
//! equal only where both were written while the mirror was in use, or where both hold nothing. The first difference is
//! therefore the furthest that the copy can have come, and the end of the last page before it that says anything the
//! least. Where most of what lies behind is equal too, the copy was whole once, and one side missed writes later.

use super::compare::Comparison;
use crate::units::Bytes;
use serde::Serialize;

/// Equal pages before the first difference that a copy must show.
const FEWEST_PAGES: u64 = 16;

/// Share of the telling pages behind the first difference that differ where a copy stopped.
const STOPPED_SHARE: f64 = 0.5;

/// Share up to which the copy was whole once.
const WHOLE_SHARE: f64 = 0.2;

/// One side holds so many times what the other does, behind the first difference, where the other was fresh.
const FRESH_TIMES: u64 = 20;

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing differs.
    Complete,
    /// Whole once; since then one side missed writes.
    Diverged,
    /// Stopped on the way.
    Stopped,
    /// Neither of these can be told.
    Unclear,
}

/// What two volumes say of a copy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Copied {
    /// How far it came.
    pub state: State,
    /// For a copy that stopped: bytes that it came to, at least.
    pub at_least: Option<Bytes>,
    /// And at most.
    pub at_most: Option<Bytes>,
    /// The member that was copied from, by its index in the group, where it can be told.
    pub source: Option<usize>,
    /// Why, with figures.
    pub evidence: Vec<String>,
}

/// Judges a comparison of two volumes; `witnesses` are structures behind the first difference that lie where the file
/// system or table at the volume's front says: for each the member that holds it, and in words what it is.
pub fn judge(comparison: &Comparison, witnesses: &[(usize, String)]) -> Copied {
    let profile = comparison.profile;
    let mut copied = Copied {
        state: State::Unclear,
        at_least: None,
        at_most: None,
        source: None,
        evidence: Vec::new(),
    };
    let Some(first) = comparison.first_difference else {
        copied.state = State::Complete;
        let what = if comparison.compared_bytes == comparison.common_bytes {
            "all bytes are equal".to_owned()
        } else {
            let (part, all) = (comparison.compared_bytes, comparison.common_bytes);
            format!("what was compared is equal: {part} of {all}")
        };
        copied.evidence.push(what);
        return copied;
    };
    let differ = profile.both_behind + profile.first_only_behind + profile.second_only_behind;
    let telling = differ + profile.equal_behind;
    let share = ratio(differ, telling);
    let before = match profile.equal_before {
        0 => String::new(),
        n => format!(
            "all {n} pages before byte {} that hold anything are equal; ",
            first.0
        ),
    };
    copied.evidence.push(format!(
        "{before}of {telling} pages from there on {differ} differ"
    ));
    copied.state = match () {
        () if profile.equal_before >= FEWEST_PAGES
            && differ >= FEWEST_PAGES
            && share >= STOPPED_SHARE =>
        {
            State::Stopped
        }
        () if share <= WHOLE_SHARE
            && profile.equal_before + profile.equal_behind >= FEWEST_PAGES =>
        {
            State::Diverged
        }
        () => State::Unclear,
    };
    if copied.state == State::Stopped {
        copied.at_least = Some(profile.last_equal_before);
        copied.at_most = Some(first);
        if profile.equal_behind > 0 {
            copied.evidence.push(format!(
                "{} pages behind it are equal: written to both while the mirror was in use, or the same by chance",
                profile.equal_behind
            ));
        }
        direction(&mut copied, comparison, witnesses);
    }
    copied
}

fn direction(copied: &mut Copied, comparison: &Comparison, witnesses: &[(usize, String)]) {
    let profile = comparison.profile;
    let (mut first, mut second) = (false, false);
    let mut votes = [&mut first, &mut second];
    let (a, b) = (profile.first_only_behind, profile.second_only_behind);
    for ((number, vote), (more, less)) in (1..).zip(&mut votes).zip([(a, b), (b, a)]) {
        if more >= FEWEST_PAGES && more >= FRESH_TIMES * less && more >= profile.both_behind {
            copied.evidence.push(format!(
                "behind it member {number} holds {more} pages where the other holds nothing: that one was fresh"
            ));
            **vote = true;
        }
    }
    for (source, what) in witnesses {
        let number = source + 1;
        copied
            .evidence
            .push(format!("behind it only member {number} holds {what}"));
        if let Some(vote) = votes.get_mut(*source) {
            **vote = true;
        }
    }
    let votes = [first, second];
    copied.source = match votes {
        [true, false] => Some(0),
        [false, true] => Some(1),
        _ => None,
    };
    if copied.source.is_none() {
        copied.evidence.push(
            "nothing says which one was copied from: only their contents behind it can".to_owned(),
        );
    }
}

#[allow(clippy::cast_precision_loss)] // Counts of pages are far below 2^53.
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::pairs::tests::{PAGE, data, span};
    use super::super::regions::Regions;
    use super::*;
    use crate::image::Memory;
    use crate::image::progress::Silent;

    fn judged(a: Vec<u8>, b: Vec<u8>) -> Copied {
        let (a, b) = (span(Memory::new("a", a)), span(Memory::new("b", b)));
        judge(&compare(&[&a, &b], None, &Regions::default(), &Silent), &[])
    }

    /// A copy taken for whole loses all behind its end; a stale mirror taken for a copy that stopped loses the other half.
    #[test]
    fn how_far_and_from_which() {
        let source = data(3, 300);
        let whole = judged(source.clone(), source.clone());
        assert_eq!((whole.state, whole.at_most), (State::Complete, None));
        // Fresh zeros behind page 160, and one page written to both since.
        let mut target = source.clone();
        target[160 * PAGE..].fill(0);
        target[200 * PAGE..201 * PAGE].copy_from_slice(&source[200 * PAGE..201 * PAGE]);
        let stopped = judged(target.clone(), source.clone());
        assert_eq!((stopped.state, stopped.source), (State::Stopped, Some(1)));
        let (least, most) = (stopped.at_least.unwrap(), stopped.at_most.unwrap());
        assert!(
            least <= Bytes(160 * PAGE as u64) && Bytes(160 * PAGE as u64) <= most,
            "{stopped:?}"
        );
        assert!(most - least <= Bytes(2 * PAGE as u64));
        // Other data behind it: stopped, and nothing says which was copied.
        let mut target = data(4, 300);
        target[..160 * PAGE].copy_from_slice(&source[..160 * PAGE]);
        let stopped = judged(source.clone(), target);
        assert_eq!((stopped.state, stopped.source), (State::Stopped, None));
        // A few writes that one side missed.
        let mut stale = source.clone();
        for page in [50, 51, 250] {
            stale[page * PAGE + 9] ^= 1;
        }
        assert_eq!(judged(source, stale).state, State::Diverged);
    }
}
