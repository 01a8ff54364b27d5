//! Arrays that the answer's rivals in votes are not, and that it may be all the same: what superblocks claim, what begins
//! before it, what another file system lies in.

use super::finalist::Finalist;
use super::guess::Case;
use super::leftover::{self, Leftover};
use super::outcome::Guess;
use super::same_bytes::shape_name;
use super::start;
use super::votes::Hypothesis;

/// What speaks against an answer although no other has votes near its own.
pub(super) struct Rivals {
    /// What superblocks claim.
    pub(super) claim: Option<Hypothesis>,
    /// Why the array may begin elsewhere.
    start: Option<String>,
    /// What lies in another array.
    leftover: Option<Leftover>,
}

impl Rivals {
    /// Those of the best finalist.
    pub(super) fn of(case: &Case<'_>, best: &Finalist) -> Rivals {
        let claim = start::other_claim(case, best);
        let start = match &claim {
            Some(claim) => Some(start::claimed_words(claim, &best.hypothesis)),
            None => start::doubt(case, best),
        };
        Rivals {
            claim,
            start,
            leftover: leftover::find(case, best),
        }
    }

    /// The file system that may be the array's own, and the answer's what was there before.
    fn younger(&self) -> Option<&Leftover> {
        self.leftover.as_ref().filter(|other| !other.is_older)
    }

    /// Says them, and what they leave open.
    pub(super) fn tell(&self, best: &Hypothesis, guess: &mut Guess) {
        if let Some(other) = &self.leftover {
            let is = match other.is_older {
                true => "it was there before",
                false => "nothing tells which of the two arrays came later",
            };
            guess.evidence.push(format!(
                "{} does not lie in this array, but in a {} of the same members: {is}",
                other.family,
                shape_name(&other.of.shape)
            ));
        }
        let younger = self.younger().map(|other| {
            format!(
                "{} lies in another array of the same members, which may be the later one",
                other.family
            )
        });
        let Some(doubt) = younger.clone().or_else(|| self.start.clone()) else {
            return;
        };
        guess.call_open(doubt);
        if self.start.is_some() && self.claim.is_none() {
            guess.leave_open("data offset");
        }
        for other in self.arrays() {
            let differs = [
                (other.shape.level != best.shape.level, "level"),
                (other.shape.layout != best.shape.layout, "layout"),
                (
                    other.shape.geometry.chunk() != best.shape.geometry.chunk(),
                    "chunk",
                ),
                (other.data_offset != best.data_offset, "data offset"),
                (other.slots != best.slots, "order"),
            ];
            for (_, what) in differs.into_iter().filter(|(differs, _)| *differs) {
                guess.leave_open(what);
            }
        }
    }

    /// The arrays, to be told as alternatives.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Hypothesis> {
        let younger = self.younger().map(|other| &other.of);
        self.claim.iter().chain(younger)
    }
}
