//! linear: one member behind the other, found by where each member's structures want it to start.
//!
//! Within one member the distance between a structure's place in the array
//! and its place on the member is always the same. That distance is where the
//! member starts, so the members' order and lengths follow from it.

use super::clues::{Base, Clues, Family, Test};
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
    let (mut starts, mut unplaced) = (Vec::new(), Vec::new());
    let distances = distances(clues, sample, members.len(), &bases);
    for (member, distances) in distances.iter().enumerate() {
        match clear(distances) {
            None => unplaced.push(member),
            Some((distance, votes)) => starts.push((distance, member, votes)),
        }
    }
    starts.sort_unstable();
    let data_offset = u64::try_from(-starts.first()?.0).ok().map(Bytes)?;
    match unplaced.as_slice() {
        [] => {}
        // What shows nothing of its place has the one that is left.
        [member] => {
            let goes_on = || place_behind(&starts, end(clues, &bases)?, data_offset, members);
            let place = place_left(&starts, *member, data_offset, members).or_else(goes_on)?;
            starts.push((place, *member, 0));
            starts.sort_unstable();
        }
        _ => return None,
    }
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
    let mut hypothesis = Hypothesis {
        shape: Shape {
            level: Level::Linear,
            layout: None,
            geometry,
            rank: 0,
        },
        data_offset,
        slots,
        score: 0,
        prior: 0,
        bases,
    };
    hypothesis.score = seen(&hypothesis, clues) + facts(&hypothesis, clues, sample);
    Some(hypothesis)
}

/// The distance that most ask for by far.
fn clear(distances: &BTreeMap<i128, BTreeSet<u64>>) -> Option<(i128, usize)> {
    let count = |(distance, seen): (&i128, &BTreeSet<u64>)| (seen.len(), *distance);
    let mut by_votes: Vec<(usize, i128)> = distances.iter().map(count).collect();
    by_votes.sort_unstable();
    let (votes, distance) = by_votes.pop()?;
    let next = by_votes.pop().map_or(0, |(votes, _)| votes);
    (votes >= FEWEST_VOTES && votes >= 3 * next).then_some((distance, votes))
}

/// For each member where a file system would start on it, if it began there, as far as it is in one piece there; before
/// the member's first byte as less than zero.
pub fn starts_of(family: &Family, sample: &Sample, members: usize) -> Vec<Option<i128>> {
    let clues = Clues {
        families: vec![Family {
            bases: vec![Base::at("its own start", Bytes::ZERO)],
            ..family.clone()
        }],
        ..Clues::default()
    };
    let distances = distances(&clues, sample, members, &[0]);
    let start = |of_member| clear(of_member).map(|(distance, _)| -distance);
    distances.iter().map(start).collect()
}

/// How far the file systems go in the array, by their own lengths.
fn end(clues: &Clues, bases: &[usize]) -> Option<Bytes> {
    let families = clues.families.iter().zip(bases);
    families.filter_map(|(f, base)| f.last(*base)).max()
}

/// Where a member belongs that is the only one left: behind all others, if a file system goes on there.
fn place_behind(
    starts: &[(i128, usize, usize)],
    end: Bytes,
    data_offset: Bytes,
    members: &[SharedSource],
) -> Option<i128> {
    let own = |member: usize| Some(i128::from((members.get(member)?.len() - data_offset).0));
    let (last, member, _) = starts.last()?;
    // Members of one length are as long in the array, rounded down as it may be.
    let alike = starts.windows(2).find_map(|pair| match pair {
        [(start, other, _), (next, ..)] if own(*other) == own(*member) => Some(next - start),
        _ => None,
    });
    let place = last + alike.or_else(|| own(*member))?;
    // In the array a member's place is its own from where its data start.
    (i128::from(end.0) >= place + i128::from(data_offset.0)).then_some(place)
}

/// Where a member belongs between others: behind one, where up to the next just its own length is free.
fn place_left(
    starts: &[(i128, usize, usize)],
    member: usize,
    data_offset: Bytes,
    members: &[SharedSource],
) -> Option<i128> {
    /// mdadm may round each member down to its chunk.
    const ROUNDING: i128 = 1 << 20;
    let own = |member: usize| Some(i128::from((members.get(member)?.len() - data_offset).0));
    let length = own(member)?;
    let free = starts.windows(2).filter_map(|pair| match pair {
        [(start, before, _), (next, ..)] => Some((start + own(*before)?, *next)),
        _ => None,
    });
    let mut fits = free.filter(|(from, to)| (0..ROUNDING).contains(&(length - (to - from))));
    let (place, _) = fits.next()?;
    fits.next().is_none().then_some(place)
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

/// Sightings where the chain puts them, neighbours as one.
fn seen(hypothesis: &Hypothesis, clues: &Clues) -> i64 {
    let mut runs = BTreeSet::new();
    for (number, (family, base)) in clues.families.iter().zip(&hypothesis.bases).enumerate() {
        for sighting in &family.sightings {
            let array = (family.bases.get(*base)).and_then(|b| b.map(sighting.logical));
            let place = array.and_then(|a| hypothesis.shape.geometry.places(a).0.first().copied());
            let lies = place.is_some_and(|p| {
                hypothesis.member(p.slot) == Some(sighting.member)
                    && hypothesis.data_offset + p.offset == sighting.at
            });
            if let Some(array) = array.filter(|_| lies) {
                runs.insert((number, array.0 / GRAIN));
            }
        }
    }
    i64::try_from(runs.len()).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use std::sync::Arc;

    /// A member whose part of the file system holds nothing that tells its place: it lies where just it fits, and
    /// where two places are free nothing is known.
    #[test]
    fn the_place_that_is_left() {
        let mib = |n: usize| n << 20;
        let member = |n: usize| -> SharedSource { Arc::new(Memory::new("m", vec![0; mib(n)])) };
        let members = [member(3), member(6), member(4), member(4)];
        let at = |n: usize| i128::try_from(mib(n)).unwrap();
        let starts = [(at(0), 0, 9), (at(5), 1, 9), (at(11), 3, 9)];
        let data = Bytes::mib(1);
        let place = |starts: &[_]| place_left(starts, 2, data, &members);
        assert_eq!(place(&starts), Some(at(2)));
        assert_eq!(place(&starts[1..]), None);
        let two = [(at(0), 0, 9), (at(5), 1, 9), (at(13), 3, 9)];
        assert_eq!(place(&two), None);
    }

    /// A member that shows nothing is the last only if a file system goes on behind the others.
    #[test]
    fn the_place_behind_the_others() {
        let mib = |n: usize| i128::try_from(n << 20).unwrap();
        let member = |n: usize| -> SharedSource { Arc::new(Memory::new("m", vec![0; n << 20])) };
        let members = [member(6), member(6), member(6)];
        // Each is rounded down by half a mebibyte.
        let step = mib(9) / 2;
        let starts = [(0, 0, 9), (step, 1, 9)];
        let place = |end| place_behind(&starts, end, Bytes::mib(1), &members);
        assert_eq!(place(Bytes::mib(11)), Some(2 * step));
        assert_eq!(place(Bytes::mib(9)), None);
    }
}
