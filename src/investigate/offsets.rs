//! Members whose data start at different sectors: mdadm lets each have its own (`--data-offset=variable`), and a disk
//! that was added later, or a reshape, may leave it so.
//!
//! Nothing that holds members against each other at equal offsets (sums,
//! copies) finds anything then. What tells its place in the file system does:
//! for an assumed shape each such thing asks for one start of its own member's
//! data. With the starts that most ask for the members are cut to a common
//! start and looked at anew, so that the redundancy itself has the last word.

use super::shared;
use crate::image::Pieces;
use crate::md::assign;
use crate::md::clues::{Clues, Test};
use crate::md::guess::{Guess, Member};
use crate::md::hypothesis::{self, Shape};
use crate::md::relations::Kind;
use crate::md::sample::{Page, Sample};
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, HashMap};

/// No array's data start further on than this.
const FURTHEST: Bytes = Bytes::mib(256);

/// Pages that look alike: of more than so many none tells which is which.
const MOST_ALIKE: usize = 2;

/// Things that are looked at, at most.
const MOST_THINGS: usize = 4000;

/// Chunk sizes that are tried, in bytes.
const CHUNKS: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 20;

/// Votes for one start without which it is not believed.
const FEWEST_VOTES: i64 = 3;

/// Something seen on a member, and its place in the array.
struct Thing {
    member: usize,
    at: Bytes,
    array: Bytes,
}

/// How far behind the earliest each member's data start, where they differ; `None` where they do not, or nothing tells.
pub(super) fn shifts(clues: &Clues, sample: &Sample, members: &[Member]) -> Option<Vec<Bytes>> {
    let n = members.len();
    let longest = members.iter().map(|m| m.source.len()).max()?;
    let things = things(clues, sample, n);
    let shapes = hypothesis::shapes(&Kind::Unknown, n, n, longest);
    let starts = shapes
        .iter()
        .filter(|s| s.geometry.members() == n && CHUNKS.contains(&s.geometry.chunk().0))
        .filter_map(|shape| starts(shape, &things, n));
    let (_, starts) = starts.max_by_key(|(score, _)| *score)?;
    let first = starts.iter().min().copied()?;
    let shifts: Vec<Bytes> = starts.iter().map(|start| *start - first).collect();
    shifts.iter().any(|s| *s > Bytes::ZERO).then_some(shifts)
}

/// The members cut to a common start, with their superblocks where those have the same starts.
pub(super) fn cut(members: &[Member], shifts: &[Bytes]) -> Vec<Member> {
    let own = match are_claimed(members, shifts) {
        true => superblocks(members, shifts),
        false => Vec::new(),
    };
    let cut = |(index, (member, shift)): (usize, (&Member, &Bytes))| {
        let source = &member.source;
        let rest = Extent::new(*shift, source.len() - *shift);
        Member {
            source: shared(Pieces::slice(source.name(), source.clone(), rest)),
            superblock: own.get(index).cloned().flatten(),
            disk: member.disk,
        }
    };
    members.iter().zip(shifts).enumerate().map(cut).collect()
}

/// The superblocks as those of members that begin so much later.
fn superblocks(members: &[Member], shifts: &[Bytes]) -> Vec<Option<Superblock>> {
    let moved = |(member, shift): (&Member, &Bytes)| {
        let sb = member.superblock.as_ref()?;
        Some(Superblock {
            at: sb.at - *shift,
            data_offset: (Bytes::from(sb.data_offset) - *shift).whole_sectors(),
            ..sb.clone()
        })
    };
    members.iter().zip(shifts).map(moved).collect()
}

/// Whether the superblocks have just these starts, as far as there are any.
fn are_claimed(members: &[Member], shifts: &[Bytes]) -> bool {
    let starts = superblocks(members, shifts);
    let mut starts = starts.iter().flatten().map(|sb| sb.data_offset);
    let first = starts.next();
    let reach = |(member, shift): (&Member, &Bytes)| {
        let sb = member.superblock.as_ref();
        sb.is_none_or(|sb| Bytes::from(sb.data_offset) >= *shift)
    };
    starts.all(|start| Some(start) == first) && members.iter().zip(shifts).all(reach)
}

/// Leaves open an answer whose members' starts may be something else: stripes of a single start, counted from a chunk
/// further on, or others than the members' own superblocks say. Whether it did.
pub(super) fn doubt(guess: &mut Guess, members: &[Member], shifts: &[Bytes]) -> bool {
    let chunk = guess.chunk_kib.map(Bytes::kib);
    let last = shifts.iter().max().copied();
    let claimed = are_claimed(members, shifts);
    let proven = claimed && members.iter().all(|m| m.superblock.is_some());
    let doubt = if last == chunk && !proven {
        "its members' starts differ by just a chunk: it may be an array with one start, whose content begins with its \
         second chunk"
    } else if !claimed {
        "its superblocks have other starts of its members' data"
    } else {
        return false;
    };
    guess.call_open(doubt.to_owned());
    guess.leave_open("data offset");
    true
}

/// Structures that know their place, and pages that a file system describes so that they can be recognised anywhere.
fn things(clues: &Clues, sample: &Sample, members: usize) -> Vec<Thing> {
    let mut things = Vec::new();
    let mut described: BTreeMap<Test, Vec<Bytes>> = BTreeMap::new();
    for family in &clues.families {
        let Some(base) = family.bases.first() else {
            continue;
        };
        for sighting in &family.sightings {
            things.extend(base.map(sighting.logical).map(|array| Thing {
                member: sighting.member,
                at: sighting.at,
                array,
            }));
        }
        for fact in &family.facts {
            let places = described.entry(fact.test).or_default();
            places.extend(base.map(fact.logical));
        }
    }
    for member in 0..members {
        for (at, page) in sample.pages(member) {
            let Page::Data { crc, used } = page else {
                continue;
            };
            let tests = [Test::Used(used), Test::Crc(crc)];
            for places in tests.iter().filter_map(|test| described.get(test)) {
                if places.len() <= MOST_ALIKE {
                    things.extend(places.iter().map(|array| Thing {
                        member,
                        at,
                        array: *array,
                    }));
                }
            }
        }
    }
    let step = things.len().div_ceil(MOST_THINGS).max(1);
    things.into_iter().step_by(step).collect()
}

/// Where each member's data start if the array has this shape, and the votes for that.
fn starts(shape: &Shape, things: &[Thing], members: usize) -> Option<(i64, Vec<Bytes>)> {
    let mut asked: HashMap<(usize, usize, u64), i64> = HashMap::new();
    for thing in things {
        for place in shape.geometry.places(thing.array).0 {
            let start = thing.at.0.checked_sub(place.offset.0);
            let possible = |start: &u64| start.is_multiple_of(SECTOR) && *start <= FURTHEST.0;
            if let Some(start) = start.filter(possible) {
                *asked.entry((thing.member, place.slot, start)).or_default() += 1;
            }
        }
    }
    let columns = shape.geometry.members();
    let mut votes = vec![vec![0; columns]; members];
    let mut starts = vec![vec![0; columns]; members];
    let mut asked: Vec<_> = asked.into_iter().collect();
    asked.sort_unstable();
    for ((member, slot, start), count) in asked {
        let most = votes.get_mut(member).and_then(|row| row.get_mut(slot));
        let best = starts.get_mut(member).and_then(|row| row.get_mut(slot));
        if let (Some(most), Some(best)) = (most, best)
            && count > *most
        {
            (*most, *best) = (count, start);
        }
    }
    let of = assign::assign(&votes, columns);
    let chosen = of.iter().enumerate().map(|(member, slot)| {
        let votes = *votes.get(member)?.get(*slot)?;
        let start = *starts.get(member)?.get(*slot)?;
        (votes >= FEWEST_VOTES).then_some(Bytes(start))
    });
    let chosen: Vec<Bytes> = chosen.collect::<Option<_>>()?;
    Some((assign::score(&votes, &of), chosen))
}
