//! The order of mirror groups and the chunk size, where nothing written on the members is to be believed.
//!
//! Neither shows in the members alone: it takes something whose place in the
//! array is known. Two kinds serve here.
//!
//! * A [`Landmark`] has a known place in the array: LVM metadata says where a
//!   logical volume starts, and a file system or partition table that starts
//!   there carries a magic. For a chunk size that is being tried the place
//!   gives the row and the column; the column's group must show the magic.
//! * [`Sighting`]s of one family have known distances from each other: a file
//!   system's superblock and its backups.
//!
//! Every order of the groups with every chunk size is scored by how many of
//! these hold. The confidence of an order is its share when every landmark
//! that holds makes an order [`FACTOR`] times likelier than if it did not; a
//! superblock's claim counts as one more landmark, no better than the others,
//! because an installer may have written it.

use super::geometry::Geometry;
use super::guess::{Alternative, Guess, Member, SURE, claimed_order, data_span};
use super::level::Level;
use super::pairs::{Group, Span};
use crate::image::read_vec;
use crate::units::{Bytes, Extent, Sectors};
use std::collections::BTreeSet;

/// How much likelier an order gets by one landmark that holds. Far below what a magic at random is worth (65536),
/// because landmarks are not independent and old volumes leave magics too.
pub const FACTOR: f64 = 10.0;

/// Orders are tried one by one, so the groups must be few: 8! is 40,320.
pub const MOST_GROUPS: usize = 8;

/// Chunk sizes tried, as powers of two: 4 KiB to 16 MiB.
const CHUNKS: std::ops::RangeInclusive<u32> = 12..=24;

/// Orders listed beside the answer at most.
const MOST_ALTERNATIVES: usize = 4;

/// Something whose place in the array is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// What should start there: `guests/home`.
    pub what: String,
    /// Its first byte in the array.
    pub at: Bytes,
    /// What may be seen there, any one of them: bytes at a distance from `at`.
    pub marks: Vec<(Bytes, &'static [u8])>,
}

/// Something seen on a member whose distance to others of its family is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// What it is part of: a file system's UUID.
    pub family: String,
    /// Its place in the family, in bytes.
    pub logical: Bytes,
    /// The member it was seen on, as an index into the set.
    pub member: usize,
    /// Its place from the start of the member (not of its data).
    pub at: Bytes,
}

/// What is known of a set of members besides their data.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    /// Things at known places of the array.
    pub landmarks: Vec<Landmark>,
    /// Things at known distances from each other.
    pub sightings: Vec<Sighting>,
}

/// The search over chunk sizes and orders of the groups.
pub(super) struct Search<'a> {
    members: &'a [Member],
    groups: &'a [Group],
    copies: usize,
    /// For each chunk size tried, how often each group shows what belongs at each place.
    votes: Vec<Votes>,
    tested: usize,
}

/// What speaks for which place of which group, with one chunk size.
struct Votes {
    chunk: Bytes,
    /// `[group][place]`: landmarks that this group shows where a group at this place must.
    at_place: Vec<Vec<usize>>,
    /// For each two things at a known distance: what they ask of the order, any one of which will do. Several, because
    /// a thing may have been seen at several places (a journal holds copies), of which one is the true one.
    distances: Vec<BTreeSet<Apart>>,
}

/// The place of group `a` minus the place of group `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Apart {
    a: usize,
    b: usize,
    places: i64,
}

#[derive(Clone)]
struct Scored {
    /// The group at each place.
    order: Vec<usize>,
    chunk: Bytes,
    landmarks: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        members: &'a [Member],
        groups: &'a [Group],
        clues: &Clues,
        copies: usize,
    ) -> Search<'a> {
        let spans: Vec<Span> = members.iter().map(data_span).collect();
        let votes = CHUNKS
            .map(|bits| Votes::count(&spans, groups, clues, Bytes(1 << bits)))
            .collect();
        Search {
            members,
            groups,
            copies,
            votes,
            tested: clues.landmarks.len() + distances(clues).len(),
        }
    }

    /// Fills in order, chunk, confidence and alternatives.
    pub(super) fn answer(&self, guess: &mut Guess) {
        let claim = self.claim();
        let mut orders = Vec::new();
        permutations(self.groups.len(), &mut |order| {
            for votes in &self.votes {
                let mut landmarks = votes.score(order);
                if claim
                    .as_ref()
                    .is_some_and(|(o, c)| o == order && *c == votes.chunk)
                {
                    landmarks += 1;
                }
                orders.push(Scored {
                    order: order.to_vec(),
                    chunk: votes.chunk,
                    landmarks,
                });
            }
        });
        orders.sort_by(|a, b| {
            (b.landmarks, a.chunk, &a.order).cmp(&(a.landmarks, b.chunk, &b.order))
        });
        let Some(best) = orders.first().cloned() else {
            return;
        };
        let weight = |s: &Scored| {
            let behind = best.landmarks.saturating_sub(s.landmarks);
            FACTOR.powi(-i32::try_from(behind).unwrap_or(i32::MAX))
        };
        let total: f64 = orders.iter().map(weight).sum();
        guess.members = self.slots(&best.order);
        guess.chunk_kib = Some(best.chunk.0 >> 10);
        guess.confidence = 1.0 / total;
        guess.ambiguous = guess.confidence < SURE;
        guess.alternatives = orders
            .iter()
            .skip(1)
            .take(MOST_ALTERNATIVES)
            .map(|s| Alternative {
                members: self.slots(&s.order),
                chunk_kib: Some(s.chunk.0 >> 10),
                landmarks: s.landmarks,
                confidence: weight(s) / total,
            })
            .collect();
        guess.landmarks = (best.landmarks, self.tested + usize::from(claim.is_some()));
        let next = orders.get(1).map_or(0, |s| s.landmarks);
        guess.evidence.push(format!(
            "{} of {} landmarks hold in this order, {next} in the next best of {} orders and chunk sizes",
            best.landmarks,
            guess.landmarks.1,
            orders.len(),
        ));
    }

    /// The order and chunk that the superblocks claim, if it keeps the mirror groups together.
    fn claim(&self) -> Option<(Vec<usize>, Bytes)> {
        let sb = self.members.iter().find_map(|m| m.superblock.as_ref())?;
        let slots = self.groups.len() * self.copies;
        let claimed = claimed_order(self.members, slots);
        let group_of = |name: &Option<String>| {
            let name = name.as_deref()?;
            self.groups.iter().position(|g| {
                g.members.iter().any(|m| {
                    self.members
                        .get(*m)
                        .is_some_and(|m| m.source.name() == name)
                })
            })
        };
        let mut order = Vec::new();
        for chunk in claimed.chunks(self.copies) {
            let mut groups = chunk.iter().filter_map(group_of);
            let first = groups.next()?;
            if groups.any(|g| g != first) || order.contains(&first) {
                return None;
            }
            order.push(first);
        }
        Some((order, sb.chunk.to_bytes()?))
    }

    /// Member names by slot: each group's members beside each other, missing ones last.
    fn slots(&self, order: &[usize]) -> Vec<Option<String>> {
        let mut slots = Vec::new();
        for group in order.iter().filter_map(|g| self.groups.get(*g)) {
            let present = group.members.iter().map(|m| Some(*m));
            for slot in present.chain(std::iter::repeat(None)).take(self.copies) {
                slots.push(slot.and_then(|m| self.members.get(m)));
            }
        }
        let name = |m: Option<&Member>| m.map(|m| m.source.name().to_owned());
        slots.into_iter().map(name).collect()
    }
}

impl Votes {
    fn count(spans: &[Span], groups: &[Group], clues: &Clues, chunk: Bytes) -> Votes {
        let n = groups.len();
        let mut votes = Votes {
            chunk,
            at_place: vec![vec![0; n]; n],
            distances: Vec::new(),
        };
        let size = spans
            .iter()
            .map(|s| s.data.length)
            .min()
            .unwrap_or_default();
        // One slot a group: which mirror it is makes no difference to the place.
        let Ok(geometry) = Geometry::new(
            Level::Raid0,
            None,
            n,
            Sectors(chunk.whole_sectors().0),
            size,
        ) else {
            return votes;
        };
        for landmark in &clues.landmarks {
            votes.count_landmark(spans, groups, &geometry, landmark);
        }
        for (near, far) in distances(clues) {
            let pairs = near.iter().flat_map(|a| far.iter().map(move |b| (*a, *b)));
            votes.distances.push(
                pairs
                    .filter_map(|(a, b)| votes.apart(spans, groups, a, b))
                    .collect(),
            );
        }
        votes
    }

    /// A landmark that every group shows (a magic left by an older volume on each) says nothing, so it counts for all.
    fn count_landmark(
        &mut self,
        spans: &[Span],
        groups: &[Group],
        geometry: &Geometry,
        landmark: &Landmark,
    ) {
        for (g, group) in groups.iter().enumerate() {
            let shows = landmark.marks.iter().any(|(distance, bytes)| {
                let (places, _) = geometry.places(landmark.at + *distance);
                let (start, _) = geometry.places(landmark.at);
                // Start and mark must lie in the same chunk, or the mark speaks of another group.
                let (Some(place), Some(first)) = (places.first(), start.first()) else {
                    return false;
                };
                place.slot == first.slot
                    && group
                        .members
                        .iter()
                        .filter_map(|m| spans.get(*m))
                        .any(|span| {
                            let extent = Extent::new(
                                span.data.offset + place.offset,
                                Bytes(bytes.len() as u64),
                            );
                            read_vec(&*span.source, extent, bytes.len()).is_ok_and(|b| b == *bytes)
                        })
            });
            let column = geometry.places(landmark.at).0.first().map(|p| p.slot);
            if let (true, Some(column)) = (shows, column)
                && let Some(count) = self.at_place.get_mut(g).and_then(|row| row.get_mut(column))
            {
                *count += 1;
            }
        }
    }

    /// Two sightings of one family fix how far apart their groups' places are; `None` where no order can do it.
    fn apart(&self, spans: &[Span], groups: &[Group], a: &Sighting, b: &Sighting) -> Option<Apart> {
        let place = |s: &Sighting| {
            let group = groups.iter().position(|g| g.members.contains(&s.member))?;
            let within = s.at.0.checked_sub(spans.get(s.member)?.data.offset.0)?;
            Some((group, within / self.chunk.0, within % self.chunk.0))
        };
        let (group_a, row_a, in_a) = place(a)?;
        let (group_b, row_b, in_b) = place(b)?;
        let wide = |x: u64| i128::from(x);
        // logical = (row * groups + place) * chunk + in-chunk + a base that both share.
        let distance = wide(a.logical.0) - wide(b.logical.0) - (wide(in_a) - wide(in_b));
        let chunk = wide(self.chunk.0);
        if distance % chunk != 0 {
            return None;
        }
        let rows = (wide(row_a) - wide(row_b)) * wide(groups.len() as u64);
        let places = i64::try_from(distance / chunk - rows).ok()?;
        let possible =
            places.unsigned_abs() < groups.len() as u64 && (places == 0) == (group_a == group_b);
        possible.then_some(Apart {
            a: group_a,
            b: group_b,
            places,
        })
    }

    fn score(&self, order: &[usize]) -> usize {
        let mut place_of = vec![0_i64; order.len()];
        let mut score = 0;
        for (place, group) in order.iter().enumerate() {
            score += self
                .at_place
                .get(*group)
                .and_then(|row| row.get(place))
                .copied()
                .unwrap_or(0);
            if let Some(slot) = place_of.get_mut(*group) {
                *slot = i64::try_from(place).unwrap_or(i64::MAX);
            }
        }
        let holds = |apart: &Apart| {
            let places = place_of.get(apart.a).zip(place_of.get(apart.b));
            places.is_some_and(|(a, b)| a - b == apart.places)
        };
        score
            + self
                .distances
                .iter()
                .filter(|any| any.iter().any(holds))
                .count()
    }
}

/// The distances that families of sightings fix: where the first thing of a family was seen, and where another was.
///
/// n things are n - 1 facts, not n * (n - 1) / 2.
fn distances(clues: &Clues) -> Vec<(Vec<&Sighting>, Vec<&Sighting>)> {
    let families: BTreeSet<&str> = clues.sightings.iter().map(|s| s.family.as_str()).collect();
    let mut distances = Vec::new();
    for family in families {
        let of_family = || clues.sightings.iter().filter(|s| s.family == family);
        let things: BTreeSet<Bytes> = of_family().map(|s| s.logical).collect();
        let seen = |thing: &Bytes| of_family().filter(|s| s.logical == *thing).collect();
        if let Some(first) = things.first() {
            for other in things.iter().skip(1) {
                distances.push((seen(first), seen(other)));
            }
        }
    }
    distances
}

/// Calls `each` with every order of `0..n`, in lexical order.
fn permutations(n: usize, each: &mut dyn FnMut(&[usize])) {
    fn extend(order: &mut Vec<usize>, n: usize, each: &mut dyn FnMut(&[usize])) {
        if order.len() == n {
            each(order);
            return;
        }
        for next in 0..n {
            if !order.contains(&next) {
                order.push(next);
                extend(order, n, each);
                order.pop();
            }
        }
    }
    extend(&mut Vec::new(), n, each);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::md::guess::guess;
    use crate::md::pairs;
    use std::sync::Arc;

    const CHUNK: usize = 64 << 10;
    const ROWS: usize = 24;

    /// An array of `pairs` mirror pairs with a magic at each landmark, cut into members in the given order of pairs.
    fn array(order: &[usize], magics: &[usize]) -> Vec<Member> {
        let mut bytes = vec![0; order.len() * ROWS * CHUNK];
        let mut noise = 1_u32;
        for word in bytes.chunks_mut(4) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            word.copy_from_slice(&noise.to_be_bytes());
        }
        for at in magics {
            bytes[*at..*at + 4].copy_from_slice(b"MARK");
        }
        let mut parts = vec![Vec::new(); order.len()];
        for (i, chunk) in bytes.chunks(CHUNK).enumerate() {
            parts[order[i % order.len()]].extend_from_slice(chunk);
        }
        let mut members = Vec::new();
        for copy in 0..2 {
            for (pair, part) in parts.iter().enumerate() {
                members.push(Member {
                    source: Arc::new(Memory::new(format!("p{pair}c{copy}"), part.clone())),
                    superblock: None,
                });
            }
        }
        members
    }

    fn landmarks(at: &[usize]) -> Clues {
        Clues {
            landmarks: at
                .iter()
                .map(|at| Landmark {
                    what: format!("lv at {at}"),
                    at: Bytes(*at as u64),
                    marks: vec![(Bytes::ZERO, b"MARK")],
                })
                .collect(),
            sightings: Vec::new(),
        }
    }

    fn run(members: &[Member], clues: &Clues) -> Guess {
        let spans: Vec<Span> = members.iter().map(data_span).collect();
        guess(members, &pairs::group(&spans), clues)
    }

    fn pairs_in_order(guess: &Guess) -> Vec<String> {
        let first = |pair: &[Option<String>]| pair[0].as_deref().unwrap()[..2].to_owned();
        guess.members.chunks(2).map(first).collect()
    }

    /// The whole point: order and chunk from nothing but what must lie where.
    #[test]
    fn order_and_chunk_come_from_landmarks() {
        let places: Vec<usize> = [3, 11, 17, 24, 33, 41, 60].map(|c| c * CHUNK + 512).into();
        let members = array(&[2, 0, 3, 1], &places);
        let guess = run(&members, &landmarks(&places));
        assert_eq!(pairs_in_order(&guess), ["p2", "p0", "p3", "p1"]);
        assert_eq!(guess.chunk_kib, Some(64));
        assert!(!guess.ambiguous, "{guess:?}");
        assert_eq!(guess.level, Some(Level::Raid10));
    }

    /// With landmarks on two of four places the rest can stand either way: to claim one would be a coin toss.
    #[test]
    fn an_order_that_the_data_does_not_fix_is_ambiguous() {
        let places: Vec<usize> = [0, 8, 16, 1, 9, 21].map(|c| c * CHUNK + 512).into();
        let members = array(&[2, 0, 3, 1], &places);
        let guess = run(&members, &landmarks(&places));
        assert!(guess.ambiguous);
        assert!(guess.confidence <= 0.5);
        assert!(!guess.alternatives.is_empty());
        let none = run(&members, &Clues::default());
        assert!(none.ambiguous && none.confidence < 0.01);
    }

    /// Backups of superblocks at known distances fix the order even where no volume's start is known; a copy
    /// in a journal must not spoil it.
    #[test]
    fn distances_between_sightings_fix_the_order() {
        let order = [1, 2, 0];
        let base = 5 * CHUNK + 1024;
        let steps = [0, 7, 14, 23, 37, 40].map(|c| c * CHUNK + (c % 3) * 4096);
        let members = array(&order, &[]);
        let mut sightings = Vec::new();
        for step in steps {
            let at = base + step;
            let (row, place) = (at / CHUNK / 3, at / CHUNK % 3);
            for copy in 0..2 {
                sightings.push(Sighting {
                    family: "fs".into(),
                    logical: Bytes(step as u64),
                    member: order[place] + 3 * copy,
                    at: Bytes((row * CHUNK + at % CHUNK) as u64),
                });
            }
        }
        sightings.push(Sighting {
            family: "fs".into(),
            logical: Bytes(0),
            member: 0,
            at: Bytes(20 * CHUNK as u64),
        });
        let guess = run(
            &members,
            &Clues {
                landmarks: Vec::new(),
                sightings,
            },
        );
        assert_eq!(pairs_in_order(&guess), ["p1", "p2", "p0"]);
        assert_eq!(guess.chunk_kib, Some(64));
        assert!(!guess.ambiguous, "{guess:?}");
    }

    /// A missing mirror leaves its slot empty; the pair keeps its place.
    #[test]
    fn a_lone_mirror_keeps_its_place() {
        let places: Vec<usize> = [3, 11, 17, 24, 31, 41, 60].map(|c| c * CHUNK).into();
        let mut members = array(&[2, 0, 1], &places);
        members.remove(3);
        let guess = run(&members, &landmarks(&places));
        assert_eq!(pairs_in_order(&guess), ["p2", "p0", "p1"]);
        assert_eq!(guess.members[3], None);
        assert!(!guess.ambiguous, "{guess:?}");
    }
}
