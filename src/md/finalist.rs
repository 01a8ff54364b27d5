//! A hypothesis that stood the checks, and what it explains.

use super::clues::Test;
use super::continuity;
use super::level::Level;
use super::reshape::Part;
use super::spans::Held;
use super::verify::Check;
use super::votes::{Hypothesis, Things, Voters};
use crate::units::Bytes;

/// Facts looked up, below which their share says nothing.
const FEWEST_FACTS: usize = 40;

/// Share of facts that hold in an answer that explains the array: the true answers of the matrix have 0.83 and more
/// (stale members and old contents take the rest), a single geometry of a reshape in the middle has 0.2.
const FACTS_SHARE: f64 = 0.7;

/// Places that files tell of, below which their share says nothing. The true answers of the matrix have 0.99 of them, an
/// order that goes round as the true one does, but begins elsewhere, has half.
const FEWEST_SPANS: usize = 10;

/// An answer with fewer votes is called ambiguous whatever its share.
const FEWEST_VOTES: i64 = 3;

/// Things that seem to lie behind an array's end by chance, at most.
const FEW_STRAY: usize = 3;

/// What speaks for a hypothesis by content that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuity {
    /// In nats.
    pub(super) nats: f64,
    /// Votes of the score.
    pub(super) votes: i64,
    /// What a border of two chunks says on the average, as a share of what one within a chunk does: both are borders of
    /// neighbours where the hypothesis is right. `None` where chunks are so short that there are no borders within: then
    /// what neighbours look like was learnt from strangers.
    pub(super) share: Option<f64>,
}

/// A hypothesis that stood the checks.
pub(super) struct Finalist {
    pub(super) hypothesis: Hypothesis,
    pub(super) check: Check,
    /// Whether the superblocks claim just this.
    pub(super) claimed: bool,
    /// Of its votes those of superblocks whose age nothing tells.
    pub(super) undated: i64,
    /// Whether superblocks that are no younger than the data claim it.
    pub(super) dated: bool,
    /// Whether the superblocks that claim it say themselves why rows fail.
    pub(super) says_why: bool,
    /// Other names of the same array, which read every byte from the same place.
    pub(super) also: Vec<String>,
    /// What continuity said, where it was asked.
    pub(super) continuity: Option<Continuity>,
    /// What files say of it, where they were asked.
    pub(super) spans: Option<Held>,
    /// What it explains.
    pub(super) explained: Explained,
}

/// What the best finalist explains.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    /// All things of known place.
    pub(super) things: Things,
    /// Structures that tell their own place and lie there.
    pub(super) structures: usize,
    /// Of what file systems say of single pages: ends of files, and checksums, that are so.
    pub(super) ends: usize,
    pub(super) checksums: usize,
    /// All that could be looked up of those.
    pub(super) looked_up: usize,
    /// How far on the members the array goes at least, by what file systems and volumes in it say of themselves.
    pub(super) end: Bytes,
    /// How far on the members what it explains goes, but for the last few.
    pub(super) reach: Bytes,
    /// The part of the array in which all this is so, where it is in one only.
    pub(super) part: Option<Part>,
}

impl Explained {
    pub(super) fn of(voters: &Voters<'_>, hypothesis: &Hypothesis) -> Explained {
        let places = voters.explained(hypothesis);
        let facts = voters.facts_of(hypothesis, usize::MAX);
        let held = || facts.iter().filter(|(.., holds)| *holds);
        let ends = held()
            .filter(|(_, test, _)| matches!(test, Test::Used(_)))
            .count();
        Explained {
            things: voters.things(hypothesis),
            structures: places.len(),
            ends,
            checksums: held().count() - ends,
            looked_up: facts.len(),
            end: voters.end(hypothesis),
            // The very last may be stray.
            reach: places
                .iter()
                .rev()
                .nth(FEW_STRAY)
                .copied()
                .unwrap_or_default(),
            part: Part::of(facts.iter().map(|(at, _, holds)| (*at, *holds)).collect()),
        }
    }

    /// Pages that hold what a file system says.
    pub(super) fn held(&self) -> usize {
        self.ends + self.checksums
    }
}

impl Finalist {
    /// The part of the array in which it holds, where that is not all of it; only what has redundancy, or mirrors, is
    /// ever reshaped.
    pub(super) fn part(&self) -> Option<Part> {
        let shape = &self.hypothesis.shape;
        let reshapes = shape.level.parities() > 0 || shape.level == Level::Raid10;
        self.explained.part.filter(|_| reshapes)
    }

    /// Whether it explains most of what can be looked up: an array of members that start at other places, or of two
    /// geometries at once, is explained in part by a single one.
    pub(super) fn is_whole(&self) -> bool {
        self.part().is_none()
            && !self.is_unexplained()
            && (self.claimed || !self.check.is_doubtful())
            && !self.lacks_facts()
            && !self.lacks_spans()
            && !self.breaks_off()
    }

    /// Whether a member missed writes, and nothing tells which.
    pub(super) fn is_unexplained(&self) -> bool {
        self.check.is_unexplained() && !self.says_why
    }

    /// Whether too many pages do not hold what the file system says.
    pub(super) fn lacks_facts(&self) -> bool {
        let (held, looked_up) = (self.explained.held(), self.explained.looked_up);
        looked_up >= FEWEST_FACTS && share(held, looked_up) < FACTS_SHARE
    }

    /// Whether too many places do not hold what files say.
    fn lacks_spans(&self) -> bool {
        self.spans.as_ref().is_some_and(|s| {
            s.known() >= FEWEST_SPANS
                && share(s.held, s.known_without(&self.check.stale())) < FACTS_SHARE
        })
    }

    /// Whether content does not go on across the chunks' ends as it does within them.
    fn breaks_off(&self) -> bool {
        let goes_on = |share: f64| share >= continuity::FEWEST_SHARE;
        (self.continuity).is_some_and(|c| !c.share.is_some_and(goes_on))
    }

    /// Whether enough speaks for it, however little for others. Superblocks of which nothing tells that they are older
    /// than the data do not, where members have an order: those of a new array over the old one look the same.
    pub(super) fn has_votes(&self) -> bool {
        match self.hypothesis.shape.level {
            // Of mirrors there is no order to be told: that they are equal is all the proof there is, but of the start.
            Level::Raid1 => self.dated || self.hypothesis.votes() > self.undated,
            _ => self.hypothesis.votes() - self.undated >= FEWEST_VOTES,
        }
    }

    /// What is open where no other answer is near, in words.
    pub(super) fn doubt(&self) -> Option<String> {
        let found = &self.explained;
        if self.part().is_some() {
            Some("it holds in a part of the array only".to_owned())
        } else if self.lacks_facts() {
            Some(format!(
                "only {} of {} pages hold what the file system says",
                found.held(),
                found.looked_up
            ))
        } else if self.lacks_spans() {
            Some("too few places hold what files say of them".to_owned())
        } else if self.breaks_off() {
            Some("content does not go on across its chunks' ends as within them".to_owned())
        } else if self.is_unexplained() {
            Some("a member missed writes, and nothing tells which".to_owned())
        } else if !self.claimed && self.check.is_doubtful() {
            Some(format!(
                "its redundancy fails in {} of {} rows: a member that missed so many writes, or another array",
                self.check.failed,
                self.check.held + self.check.failed
            ))
        } else if self.has_votes() {
            None
        } else if self.claimed {
            Some(
                "only its superblocks speak for it, and nothing tells whether they are older than the data"
                    .to_owned(),
            )
        } else {
            Some("too little speaks for it".to_owned())
        }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
