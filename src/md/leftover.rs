//! File systems that do not lie in the array that was told, and would in another of the same members.
//!
//! Disks that were an array before hold pieces of that one's file systems. They
//! vote as all others do, and where more is left of the old file system than
//! there is of the new one the old array wins. So each file system is looked
//! at by itself: one that lies in the answer nowhere in one piece, and in
//! another array does, is of that other array. Its own times say
//! whether it is what was there before; where they do not, nothing is sure.

use super::assign;
use super::clues::{Clues, Family};
use super::finalist::Finalist;
use super::guess::Case;
use super::start;
use super::votes::{Hypothesis, Look, Voters};
use std::collections::BTreeSet;

/// Things of a file system in their place, below which they name no array.
const FEWEST: usize = 8;
/// So many times as many must have their place in the other array as in the answer, wherever in it: within its own chunks
/// a part of what is another array's lies in one piece, too.
const TIMES: usize = 2;

/// What another array explains.
pub(super) struct Leftover {
    /// The file system.
    pub(super) family: String,
    /// The array that has it.
    pub(super) of: Hypothesis,
    /// Whether it was last written before the answer's own file system was made: then it is what was there before.
    pub(super) is_older: bool,
}

/// The first file system that another array explains, and the answer does not; those that are no older before others.
pub(super) fn find(case: &Case<'_>, best: &Finalist) -> Option<Leftover> {
    let hypothesis = &best.hypothesis;
    let of_bases = || case.clues.families.iter().zip(&hypothesis.bases);
    let own = of_bases().max_by_key(|(family, base)| hypothesis.shown(family, **base));
    let made = own.and_then(|(family, _)| Some(family.times?.made));
    let others = of_bases().filter_map(|(family, base)| {
        let is_older = family.times.zip(made);
        Some(Leftover {
            family: family.name.clone(),
            of: other_array(case, hypothesis, (family, *base))?,
            is_older: is_older.is_some_and(|(times, made)| times.written < made),
        })
    });
    let mut others: Vec<Leftover> = others.collect();
    others.sort_by_key(|other| other.is_older);
    others.into_iter().next()
}

/// The array that explains one file system, asked by itself, where the answer has next to nothing of it, not even in a
/// file.
fn other_array(
    case: &Case<'_>,
    answer: &Hypothesis,
    (family, base): (&Family, usize),
) -> Option<Hypothesis> {
    let on: BTreeSet<usize> = family.sightings.iter().map(|s| s.member).collect();
    let inside = start::piece(answer, family).map_or(0, |piece| piece.lies);
    let fewest = (answer.shown(family, base).max(inside) * TIMES).max(FEWEST);
    if family.sightings.len() < fewest || on.len() < 2 {
        return None;
    }
    let other = own_array(case, family)?;
    let base = other.bases.first().copied().unwrap_or_default();
    (other.shown(family, base) >= fewest).then_some(other)
}

/// The array with most of a file system in its place.
fn own_array(case: &Case<'_>, family: &Family) -> Option<Hypothesis> {
    let clues = Clues {
        families: vec![Family {
            facts: Vec::new(),
            ..family.clone()
        }],
        ..Clues::default()
    };
    let voters = Voters::new(&clues, case.sample, &case.sources);
    let groups = &case.relations.groups;
    let mut best: Option<Hypothesis> = None;
    for shape in case.shapes() {
        for (offset, _) in voters.offsets(&shape) {
            let (tally, bases) = voters.tally(&shape, offset, groups, Look::Sightings);
            if !tally.fits() {
                continue;
            }
            let score = assign::score(&tally.votes, &assign::assign(&tally.votes, tally.columns));
            if best.as_ref().is_some_and(|best| score <= best.score) {
                continue;
            }
            if let Some((slots, _)) = tally.orders().into_iter().next() {
                best = Some(Hypothesis {
                    shape: shape.clone(),
                    data_offset: offset,
                    slots,
                    score,
                    prior: 0,
                    bases,
                });
            }
        }
    }
    best
}
