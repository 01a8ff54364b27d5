//! How old the data on members is, by the times that it carries itself.

use super::arrays::{self, Known};
use super::clues::{self, Gathered};
use crate::image::progress::Progress;
use crate::inputs::Slice;
use crate::md::examine::Examination;
use crate::md::guess::{self, Member};
use crate::md::sample;
use std::collections::BTreeSet;

/// Things in their place without which a reading of the content is not the array's own.
const FEWEST: usize = 3;

/// The youngest time of the content that explains the members best, as `md guess` takes it: an installer's texts lie on
/// the members too, and nothing in them lies where they say.
fn youngest(members: &[Member], gathered: &Gathered) -> Option<u64> {
    let mut best = (FEWEST, 0.0, None);
    for clues in gathered.readings(&Known::default()) {
        let guess = guess::guess(members, &gathered.sample, &clues);
        let (held, confidence, _) = best;
        if guess.level.is_some() && (guess.landmarks.0, guess.confidence) > (held, confidence) {
            best = (guess.landmarks.0, guess.confidence, clues.youngest);
        }
    }
    best.2
}

/// Judges the arrays of an examination by the data on their members.
pub fn judge(examination: &mut Examination, slices: &[Slice], progress: &dyn Progress) {
    for array in &mut examination.arrays {
        // What lies under an older array's superblocks is the newer one's.
        if array.superseded_by.is_some() {
            continue;
        }
        let named = |slice: &&Slice| array.members.iter().any(|m| m.member == slice.name);
        let own: Vec<Slice> = slices.iter().filter(named).cloned().collect();
        let members = arrays::members(&own);
        if members.is_empty() {
            continue;
        }
        let known = Known::default();
        let gathered = clues::gather(&members, &known, sample::BUDGET, progress);
        let times: BTreeSet<u64> = gathered
            .readings(&known)
            .into_iter()
            .filter_map(|r| r.youngest)
            .collect();
        let youngest = || youngest(&members, &gathered);
        array.judge_age(&examination.superblocks, &times, youngest);
    }
}
