//! linear: one member behind the other, found by where each member's structures want it to start.
//!
//! Within one member the distance between a structure's place in the array
//! and its place on the member is always the same. That distance is where the
//! member starts, so the members' order and lengths follow from it.

use super::clues::Clues;
use super::geometry::Geometry;
use super::hypothesis::Shape;
use super::level::Level;
use super::sample::Sample;
use super::votes::{Hypothesis, holds};
use crate::image::SharedSource;
use crate::units::{Bytes, Sectors};
use std::collections::{BTreeMap, BTreeSet};

/// Sightings in one run of so many bytes are one vote.
const GRAIN: u64 = 16 << 10;

/// The chain of members that the sightings ask for; `None` where any member has none.
pub fn find(clues: &Clues, sample: &Sample, members: &[SharedSource]) -> Option<Hypothesis> {
    let bases: usize = clues.families.iter().map(|f| f.bases.len()).max()?;
    let chains = (0..bases).filter_map(|base| chain(clues, sample, members, base));
    chains.max_by_key(|h| h.score)
}

/// The chain when every family lies at its base of this number, or its last.
fn chain(clues: &Clues, sample: &Sample, members: &[SharedSource], base: usize) -> Option<Hypothesis> {
    let bases: Vec<usize> = clues.families.iter().map(|f| base.min(f.bases.len().saturating_sub(1))).collect();
    // For each member, how far in the array its structures lie before their place on it.
    let mut wanted: Vec<BTreeMap<i128, BTreeSet<u64>>> = vec![BTreeMap::new(); members.len()];
    for (family, base) in clues.families.iter().zip(&bases) {
        for sighting in &family.sightings {
            if let Some(array) = family.bases.get(*base).and_then(|b| b.map(sighting.logical)) {
                let distance = i128::from(array.0) - i128::from(sighting.at.0);
                let of_member = wanted.get_mut(sighting.member)?;
                of_member.entry(distance).or_default().insert(array.0 / GRAIN);
            }
        }
    }
    let mut starts = Vec::new();
    for (member, distances) in wanted.iter().enumerate() {
        let (distance, votes) = distances.iter().max_by_key(|(_, seen)| seen.len())?;
        starts.push((*distance, member, votes.len()));
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
        bases,
    };
    hypothesis.score += facts(&hypothesis, clues, sample);
    Some(hypothesis)
}

/// Facts that hold.
fn facts(hypothesis: &Hypothesis, clues: &Clues, sample: &Sample) -> i64 {
    let mut held = 0;
    for (family, base) in clues.families.iter().zip(&hypothesis.bases) {
        for fact in &family.facts {
            let array = family.bases.get(*base).and_then(|b| b.map(fact.logical));
            let place = array.and_then(|a| hypothesis.shape.geometry.places(a).0.first().copied());
            let page = place.and_then(|p| Some(sample.page(hypothesis.member(p.slot)?, hypothesis.data_offset + p.offset)));
            held += i64::from(page.is_some_and(|page| holds(page, fact.test)));
        }
    }
    held
}
