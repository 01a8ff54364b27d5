//! linear: one member behind the other, found by where each member's structures want it to start.
//!
//! Within one member the distance between a structure's place in the array
//! and its place on the member is always the same. That distance is where the
//! member starts, so the members' order and lengths follow from it.

use super::clues::{Clues, Test};
use super::geometry::Geometry;
use super::hypothesis::Shape;
use super::level::Level;
use super::sample::{Page, Sample};
use super::votes::{Hypothesis, holds};
use crate::image::SharedSource;
use crate::units::{Bytes, Sectors};
use std::collections::{BTreeMap, BTreeSet};

/// Sightings in one run of so many bytes are one vote.
const GRAIN: u64 = 16 << 10;

/// Votes for one distance without which a member is not placed.
const FEWEST_VOTES: usize = 4;

/// Facts that look alike: of more than so many none tells which page is which.
const MOST_ALIKE: usize = 16;

/// The chain of members that the sightings ask for; `None` where any member has none.
pub fn find(clues: &Clues, sample: &Sample, members: &[SharedSource]) -> Option<Hypothesis> {
    let bases: usize = clues.families.iter().map(|f| f.bases.len()).max()?;
    let chains = (0..bases).filter_map(|base| chain(clues, sample, members, base));
    chains.max_by_key(|h| h.score)
}

/// The chain when every family lies at its base of this number, or its last.
fn chain(
    clues: &Clues,
    sample: &Sample,
    members: &[SharedSource],
    base: usize,
) -> Option<Hypothesis> {
    let bases: Vec<usize> = clues
        .families
        .iter()
        .map(|f| base.min(f.bases.len().saturating_sub(1)))
        .collect();
    let mut starts = Vec::new();
    for (member, distances) in distances(clues, sample, members.len(), &bases)
        .iter()
        .enumerate()
    {
        let mut by_votes: Vec<(usize, i128)> = distances
            .iter()
            .map(|(distance, seen)| (seen.len(), *distance))
            .collect();
        by_votes.sort_unstable();
        let (votes, distance) = by_votes.pop()?;
        let next = by_votes.pop().map_or(0, |(votes, _)| votes);
        if votes < FEWEST_VOTES || votes < 3 * next {
            return None;
        }
        starts.push((distance, member, votes));
    }
    starts.sort_unstable();
    let data_offset = u64::try_from(-starts.first()?.0).ok().map(Bytes)?;
    // The members' lengths are the steps between their starts; the last goes to its end.
    let mut sizes = Vec::new();
    for (i, (start, member, _)) in starts.iter().enumerate() {
        let own = members.get(*member)?.len() - data_offset;
        let size = match starts.get(i + 1) {
            Some((next, ..)) => Bytes(u64::try_from(next - start).ok()?),
            None => own,
        };
        if size > own {
            return None;
        }
        sizes.push(size);
    }
    let geometry = Geometry::of_sizes(Level::Linear, None, Sectors(0), &sizes).ok()?;
    let slots: Vec<Option<usize>> = starts.iter().map(|(_, member, _)| Some(*member)).collect();
    let votes: usize = starts.iter().map(|(_, _, votes)| votes).sum();
    let mut hypothesis = Hypothesis {
        shape: Shape {
            level: Level::Linear,
            layout: None,
            geometry,
            rank: 0,
        },
        data_offset,
        slots,
        score: i64::try_from(votes).ok()?,
        prior: 0,
        bases,
    };
    hypothesis.score += facts(&hypothesis, clues, sample);
    Some(hypothesis)
}

/// For each member, how far its structures and the pages that facts speak of lie from their place in the array: each
/// distance with the places that ask for it.
fn distances(
    clues: &Clues,
    sample: &Sample,
    members: usize,
    bases: &[usize],
) -> Vec<BTreeMap<i128, BTreeSet<u64>>> {
    let mut wanted: Vec<BTreeMap<i128, BTreeSet<u64>>> = vec![BTreeMap::new(); members];
    let mut want = |member: usize, array: Bytes, at: Bytes| {
        if let Some(of_member) = wanted.get_mut(member) {
            let distance = i128::from(array.0) - i128::from(at.0);
            of_member
                .entry(distance)
                .or_default()
                .insert(array.0 / GRAIN);
        }
    };
    for (family, base) in clues.families.iter().zip(bases) {
        let Some(base) = family.bases.get(*base) else {
            continue;
        };
        for sighting in &family.sightings {
            if let Some(array) = base.map(sighting.logical) {
                want(sighting.member, array, sighting.at);
            }
        }
        let mut facts: BTreeMap<Test, Vec<Bytes>> = BTreeMap::new();
        for fact in &family.facts {
            facts
                .entry(fact.test)
                .or_default()
                .extend(base.map(fact.logical));
        }
        for (member, (at, page)) in (0..members).flat_map(|m| sample.pages(m).map(move |p| (m, p)))
        {
            let Page::Data { crc, used } = page else {
                continue;
            };
            let told = [Test::Used(used), Test::Crc(crc)];
            for array in told
                .iter()
                .filter_map(|test| facts.get(test))
                .filter(|of| of.len() <= MOST_ALIKE)
                .flatten()
            {
                want(member, *array, at);
            }
        }
    }
    wanted
}

/// Facts that hold.
fn facts(hypothesis: &Hypothesis, clues: &Clues, sample: &Sample) -> i64 {
    let mut held = 0;
    for (family, base) in clues.families.iter().zip(&hypothesis.bases) {
        for fact in &family.facts {
            let array = family.bases.get(*base).and_then(|b| b.map(fact.logical));
            let place = array.and_then(|a| hypothesis.shape.geometry.places(a).0.first().copied());
            let page = place.and_then(|p| {
                Some(sample.page(
                    hypothesis.member(p.slot)?,
                    hypothesis.data_offset + p.offset,
                ))
            });
            held += i64::from(page.is_some_and(|page| holds(page, fact.test)));
        }
    }
    held
}
