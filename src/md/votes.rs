//! How much of what was seen an assumed array explains: the one ranking that every kind of evidence adds to.
//!
//! A shape and an offset of the data say for each sighting which slot it lies
//! on, so a sighting is a vote of one member for one slot; facts and
//! landmarks are votes of whatever member shows them. Rows of raid6 that were
//! solved vote for all their members at once. What order the members have is
//! then the assignment with the most votes.

use super::assign::{self, Votes};
use super::clues::{Clues, Fact, Family, Landmark, Test};
use super::galois::Solved;
use super::geometry::{Geometry, Place};
use super::hypothesis::Shape;
use super::sample::{Page, Sample};
use crate::image::{SharedSource, read_vec};
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, BTreeSet};

/// Sightings in one run of so many bytes are one vote: neighbours stand and fall together.
const GRAIN: u64 = 16 << 10;

/// Offsets of the data tried for a shape, of those that most sightings ask for.
const MOST_OFFSETS: usize = 4;

/// Facts of a family looked at for a first choice of shapes.
const SOME_FACTS: usize = 200;

/// What is counted for a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What was seen, the quickest.
    Sightings,
    /// An even choice of the facts as well.
    SomeFacts,
    /// All facts and landmarks as well.
    All,
}

/// A sighting, each base of its family apart: the place in the array that it would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    array: Bytes,
    member: usize,
    at: Bytes,
}

/// Everything that votes, ready to be counted for any shape.
pub struct Voters<'a> {
    /// For each family and each of its bases, what was seen of it.
    families: Vec<Vec<Vec<Seen>>>,
    pub(super) clues: &'a Clues,
    sample: &'a Sample,
    pub(super) members: &'a [SharedSource],
    /// Solved rows of raid6, one a row of pages.
    solved: Vec<(Bytes, &'a Solved)>,
}

/// One array that may be: a shape, where data starts, and who has which slot.
#[derive(Clone, Debug)]
pub struct Hypothesis {
    /// Its shape.
    pub shape: Shape,
    /// Where data starts on every member.
    pub data_offset: Bytes,
    /// For each slot the member that has it.
    pub slots: Vec<Option<usize>>,
    /// Votes for it, the prior ones included.
    pub score: i64,
    /// Of those, what it is worth before anything is seen: see [`prior`].
    pub prior: i64,
    /// Which base of each family it goes with.
    pub bases: Vec<usize>,
}

/// What an offset of the data is worth before anything is seen: of 251 superblocks that people posted when they had lost
/// an array, nearly all had data start at once or at a multiple of 1024 sectors; and one that a superblock claims, even
/// an installer's, is likely to be the old one; and no array begins with half a mebibyte of nothing on each member, so
/// one where content begins (`starts`) is likelier than one before.
pub fn prior(offset: Bytes, claimed: Option<Bytes>, starts: bool) -> i64 {
    let usual = offset.0.is_multiple_of(1024 * SECTOR);
    i64::from(usual) * 2 + i64::from(claimed == Some(offset)) + i64::from(starts) * 2
}

/// Things of known place: structures in one run of 16 KiB on a member as one, pages that a file system tells of,
/// starts of volumes, members' places in solved rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Things {
    /// Those that lie in their place.
    pub held: usize,
    /// All.
    pub known: usize,
    /// Those in their place on each member.
    pub on: Vec<usize>,
}

impl Things {
    /// One more, which lies in its place on this member, or on none.
    fn add(&mut self, lies_on: Option<usize>) {
        self.known += 1;
        self.held += usize::from(lies_on.is_some());
        if let Some(count) = lies_on.and_then(|member| self.on.get_mut(member)) {
            *count += 1;
        }
    }
}

/// The votes for one shape and offset, seat by column.
pub struct Tally {
    /// Members that have a seat together: mirrors of each other, or each alone.
    pub seats: Vec<Vec<usize>>,
    /// Slots that belong to one column: those of mirrors, or each alone.
    pub columns: usize,
    /// Slots a column.
    pub copies: usize,
    /// The table.
    pub votes: Votes,
}

impl<'a> Voters<'a> {
    /// All that `clues` and `sample` hold.
    pub fn new(clues: &'a Clues, sample: &'a Sample, members: &'a [SharedSource]) -> Voters<'a> {
        let families = clues
            .families
            .iter()
            .map(|f| f.bases.iter().map(|b| seen(f, &|l| b.map(l))).collect());
        let solved = sample
            .rows
            .iter()
            .filter_map(|row| Some((row.at, row.solved.as_ref()?)));
        Voters {
            families: families.collect(),
            clues,
            sample,
            members,
            solved: solved.collect(),
        }
    }

    /// How many sightings there are to vote.
    pub fn sightings(&self) -> usize {
        let most = |f: &Vec<Vec<Seen>>| f.iter().map(|seen| distinct(seen)).max().unwrap_or(0);
        self.families.iter().map(most).sum()
    }

    /// What a hypothesis puts in its place, each thing once, whatever votes it has.
    pub fn things(&self, hypothesis: &Hypothesis) -> Things {
        let geometry = &hypothesis.shape.geometry;
        let mut things = Things {
            held: 0,
            known: 0,
            on: vec![0; self.members.len()],
        };
        for (of_bases, base) in self.families.iter().zip(&hypothesis.bases) {
            for seen in of_bases.get(*base).into_iter().flatten() {
                let lies = geometry.places(seen.array).0.iter().any(|p| {
                    hypothesis.member(p.slot) == Some(seen.member)
                        && hypothesis.data_offset + p.offset == seen.at
                });
                things.add(lies.then_some(seen.member));
            }
        }
        for (family, base) in self.clues.families.iter().zip(&hypothesis.bases) {
            for fact in &family.facts {
                let array = family.bases.get(*base).and_then(|b| b.map(fact.logical));
                let places = array.map(|at| geometry.places(at).0).unwrap_or_default();
                let shows = |p: &Place| {
                    let member = hypothesis.member(p.slot)?;
                    let page = self.sample.page(member, hypothesis.data_offset + p.offset);
                    holds(page, fact.test).then_some(member)
                };
                things.add(places.iter().find_map(shows));
            }
        }
        for landmark in &self.clues.landmarks {
            let shown = self.shown(geometry, hypothesis.data_offset, landmark);
            let lies = |(member, slot): &(usize, usize)| hypothesis.member(*slot) == Some(*member);
            let mut lying = shown.into_iter().filter(lies);
            things.add(lying.next().map(|(member, _)| member));
        }
        if hypothesis.shape.level.parities() == 2 {
            for (at, solved) in &self.solved {
                let slots = row_slots(&hypothesis.shape, hypothesis.data_offset, *at, solved);
                for (member, slot) in slots.into_iter().enumerate() {
                    let lies = slot.is_some_and(|slot| hypothesis.member(slot) == Some(member));
                    things.add(lies.then_some(member));
                }
            }
        }
        things
    }

    /// Where data may start, by what the sightings ask for with this shape, the best first; each with the family bases
    /// that go with it.
    pub fn offsets(&self, shape: &Shape) -> Vec<(Bytes, i64)> {
        let mut total: BTreeMap<u64, i64> = BTreeMap::new();
        for family in &self.families {
            // Of one family only one base is true.
            let mut best: BTreeMap<u64, i64> = BTreeMap::new();
            for base in family {
                let mut count: BTreeMap<u64, i64> = BTreeMap::new();
                for seen in base {
                    let (places, _) = shape.geometry.places(seen.array);
                    let offsets = places
                        .iter()
                        .filter_map(|p| seen.at.0.checked_sub(p.offset.0));
                    let offsets: BTreeSet<u64> =
                        offsets.filter(|d| d.is_multiple_of(SECTOR)).collect();
                    for offset in offsets {
                        *count.entry(offset).or_default() += 1;
                    }
                }
                for (offset, votes) in count {
                    let most = best.entry(offset).or_default();
                    *most = votes.max(*most);
                }
            }
            for (offset, votes) in best {
                *total.entry(offset).or_default() += votes;
            }
        }
        let mut offsets: Vec<(Bytes, i64)> =
            total.into_iter().map(|(d, v)| (Bytes(d), v)).collect();
        // Of equals the smaller: data starts as early as it can.
        offsets.sort_by_key(|(offset, votes)| (-votes, *offset));
        offsets.truncate(MOST_OFFSETS);
        offsets
    }

    /// The votes for a shape whose data start at `offset`; with facts and landmarks as `look` says.
    pub fn tally(
        &self,
        shape: &Shape,
        offset: Bytes,
        groups: &[Vec<usize>],
        look: Look,
    ) -> (Tally, Vec<usize>) {
        let mut tally = Tally::new(shape, groups, self.members.len());
        let mut bases = Vec::new();
        for (family, of_bases) in self.clues.families.iter().zip(&self.families) {
            let count = |seen: &Vec<Seen>| {
                seen.iter()
                    .filter(|s| !tally.columns_for(shape, offset, s).is_empty())
                    .count()
            };
            let best = of_bases
                .iter()
                .enumerate()
                .max_by_key(|(i, seen)| (count(seen), std::cmp::Reverse(*i)));
            let Some((index, seen)) = best else {
                bases.push(0);
                continue;
            };
            bases.push(index);
            let pairs: BTreeSet<(Bytes, usize, usize)> = seen
                .iter()
                .flat_map(|s| {
                    let run = Bytes(s.array.0 / GRAIN);
                    tally
                        .columns_for(shape, offset, s)
                        .into_iter()
                        .map(move |(seat, column)| (run, seat, column))
                })
                .collect();
            pairs
                .into_iter()
                .for_each(|(_, seat, column)| tally.vote(seat, column));
            self.facts(shape, offset, family, (index, look), &mut tally);
        }
        if look == Look::All {
            for landmark in &self.clues.landmarks {
                let shown = self.shown(&shape.geometry, offset, landmark);
                let votes: BTreeSet<(usize, usize)> = shown
                    .into_iter()
                    .filter_map(|(m, slot)| Some((tally.seat_of(m)?, slot / tally.copies)))
                    .collect();
                votes
                    .into_iter()
                    .for_each(|(seat, column)| tally.vote(seat, column));
            }
        }
        if shape.level.parities() == 2 {
            for (at, solved) in &self.solved {
                self.row(shape, offset, *at, solved, &mut tally);
            }
        }
        (tally, bases)
    }

    /// Where what this hypothesis explains was seen, from the start of the members, ascending.
    pub fn explained(&self, hypothesis: &Hypothesis) -> Vec<Bytes> {
        let mut explained = Vec::new();
        for (family, base) in self.clues.families.iter().zip(&hypothesis.bases) {
            let Some(base) = family.bases.get(*base) else {
                continue;
            };
            let seen = family.sightings.iter();
            let explains = seen.filter(|s| hypothesis.shows(base, s));
            explained.extend(explains.map(|s| s.at));
        }
        explained.sort_unstable();
        explained
    }

    /// What the file systems say of single pages, as far as it can be looked up where the hypothesis puts them: the
    /// place in the array, what is said, and whether it is so. Of more than `most` of a family an even choice.
    pub fn facts_of(&self, hypothesis: &Hypothesis, most: usize) -> Vec<(Bytes, Test, bool)> {
        let mut facts = Vec::new();
        for (family, base) in self.clues.families.iter().zip(&hypothesis.bases) {
            let Some(base) = family.bases.get(*base) else {
                continue;
            };
            let shares = family.shares_facts;
            let look_up = |fact: &Fact| {
                let array = base.map(fact.logical)?;
                let (places, _) = hypothesis.shape.geometry.places(array);
                let pages = places.iter().filter_map(|p| {
                    let member = hypothesis.member(p.slot)?;
                    Some(self.sample.page(member, hypothesis.data_offset + p.offset))
                });
                let pages: Vec<Page> = pages.filter(|p| *p != Page::Unread).collect();
                let holds = pages.iter().any(|page| holds(*page, fact.test));
                (!pages.is_empty()).then_some((*fact, shares, (array, fact.test, holds)))
            };
            let step = family.facts.len().div_ceil(most.max(1)).max(1);
            facts.extend(family.facts.iter().step_by(step).filter_map(look_up));
        }
        // What may be said of any of several file systems is so in its own only, and fails once at most.
        let held = facts.iter().filter(|(.., (.., holds))| *holds);
        let mut told: BTreeSet<Fact> = held.map(|(fact, ..)| *fact).collect();
        facts.retain(|(fact, shares, (.., holds))| *holds || !shares || told.insert(*fact));
        facts.into_iter().map(|(.., looked_up)| looked_up).collect()
    }

    /// What a family says must lie where: a vote of each seat that shows it there.
    fn facts(
        &self,
        shape: &Shape,
        offset: Bytes,
        family: &Family,
        (base, look): (usize, Look),
        tally: &mut Tally,
    ) {
        let Some(base) = family.bases.get(base) else {
            return;
        };
        let step = match look {
            Look::Sightings => return,
            Look::SomeFacts => family.facts.len().div_ceil(SOME_FACTS).max(1),
            Look::All => 1,
        };
        for fact in family.facts.iter().step_by(step) {
            let Some(array) = base.map(fact.logical) else {
                continue;
            };
            let mut shown = BTreeSet::new();
            for place in shape.geometry.places(array).0 {
                for member in 0..self.members.len() {
                    if holds(self.sample.page(member, offset + place.offset), fact.test) {
                        shown.extend(
                            tally
                                .seat_of(member)
                                .map(|seat| (seat, place.slot / tally.copies)),
                        );
                    }
                }
            }
            // What every member shows says nothing of any.
            if shown.len() < self.members.len() {
                shown
                    .into_iter()
                    .for_each(|(seat, column)| tally.vote(seat, column));
            }
        }
    }

    /// The members that show a landmark, each with the slot for which it speaks.
    fn shown(
        &self,
        geometry: &Geometry,
        offset: Bytes,
        landmark: &Landmark,
    ) -> BTreeSet<(usize, usize)> {
        let (start, _) = geometry.places(landmark.at);
        let mut shown = BTreeSet::new();
        for (distance, bytes) in &landmark.marks {
            let (places, _) = geometry.places(landmark.at + *distance);
            for (place, first) in places.iter().zip(&start) {
                // Start and mark must lie on the same member, or the mark speaks of another.
                if place.slot != first.slot {
                    continue;
                }
                for (member, source) in self.members.iter().enumerate() {
                    let extent = Extent::new(offset + place.offset, Bytes(bytes.len() as u64));
                    if read_vec(&**source, extent, bytes.len()).is_ok_and(|b| b == *bytes) {
                        shown.insert((member, place.slot));
                    }
                }
            }
        }
        shown
    }

    /// A solved row votes for all its members.
    fn row(&self, shape: &Shape, offset: Bytes, at: Bytes, solved: &Solved, tally: &mut Tally) {
        for (member, slot) in row_slots(shape, offset, at, solved).into_iter().enumerate() {
            if let (Some(slot), Some(seat)) = (slot, tally.seat_of(member)) {
                tally.vote(seat, slot / tally.copies);
            }
        }
    }
}

/// The slots that a solved row gives its members: P, Q and each power name one.
fn row_slots(shape: &Shape, offset: Bytes, at: Bytes, solved: &Solved) -> Vec<Option<usize>> {
    let stripe =
        at.0.checked_sub(offset.0)
            .and_then(|inside| shape.geometry.stripe(inside / shape.geometry.chunk().0));
    let Some(stripe) = stripe else {
        return Vec::new();
    };
    let slot = |(member, power): (usize, &Option<usize>)| match power {
        Some(power) => stripe
            .power
            .iter()
            .position(|p| p == power)
            .and_then(|i| stripe.data.get(i).copied()),
        None if solved.p == Some(member) => Some(stripe.p),
        None if solved.q == member => stripe.q,
        None => None,
    };
    solved.power.iter().enumerate().map(slot).collect()
}

/// Whether a page is what a fact says.
pub fn holds(page: Page, test: Test) -> bool {
    match (page, test) {
        (Page::Data { used, .. }, Test::Used(expected)) => used == expected,
        (Page::Data { crc, .. }, Test::Crc(expected)) => crc == expected,
        _ => false,
    }
}

/// A family's sightings by their place in the array, one for each run of [`GRAIN`] on each member.
fn seen(family: &Family, map: &dyn Fn(Bytes) -> Option<Bytes>) -> Vec<Seen> {
    let mut once = BTreeMap::new();
    for sighting in &family.sightings {
        if let Some(array) = map(sighting.logical) {
            let key = (array.0 / GRAIN, sighting.member, sighting.at.0 / GRAIN);
            once.entry(key).or_insert(Seen {
                array,
                member: sighting.member,
                at: sighting.at,
            });
        }
    }
    once.into_values().collect()
}

fn distinct(seen: &[Seen]) -> usize {
    seen.iter()
        .map(|s| s.array.0 / GRAIN)
        .collect::<BTreeSet<_>>()
        .len()
}

impl Tally {
    fn new(shape: &Shape, groups: &[Vec<usize>], members: usize) -> Tally {
        let copies = if shape.geometry.is_columns() {
            shape.geometry.copies()
        } else {
            1
        };
        let seats = match copies {
            1 => (0..members).map(|m| vec![m]).collect(),
            _ => groups.to_vec(),
        };
        let columns = shape.geometry.members() / copies;
        Tally {
            votes: vec![vec![0; columns.max(seats.len())]; seats.len()],
            seats,
            columns,
            copies,
        }
    }

    pub(super) fn seat_of(&self, member: usize) -> Option<usize> {
        self.seats.iter().position(|seat| seat.contains(&member))
    }

    fn vote(&mut self, seat: usize, column: usize) {
        if let Some(votes) = self.votes.get_mut(seat).and_then(|row| row.get_mut(column)) {
            *votes += 1;
        }
    }

    /// The seat and columns for which a sighting speaks: none where this shape cannot have it, several where copies lie
    /// beside each other.
    fn columns_for(&self, shape: &Shape, offset: Bytes, seen: &Seen) -> BTreeSet<(usize, usize)> {
        let (Some(on_member), Some(seat)) =
            (seen.at.0.checked_sub(offset.0), self.seat_of(seen.member))
        else {
            return BTreeSet::new();
        };
        let (places, _) = shape.geometry.places(seen.array);
        let here = places.iter().filter(|p: &&Place| p.offset.0 == on_member);
        here.map(|p| (seat, p.slot / self.copies)).collect()
    }

    /// Whether there is a column for every seat.
    pub fn fits(&self) -> bool {
        self.seats.len() <= self.columns
    }

    /// The members by slot when the seats have these columns.
    pub fn slots(&self, of: &[usize]) -> Vec<Option<usize>> {
        let mut slots = vec![None; self.columns * self.copies];
        for (seat, column) in self.seats.iter().zip(of) {
            for (i, member) in seat.iter().take(self.copies).enumerate() {
                if let Some(slot) = slots.get_mut(column * self.copies + i) {
                    *slot = Some(*member);
                }
            }
        }
        slots
    }

    /// The columns of the seats when the slots have these members; `None` where that parts members of one seat.
    pub fn columns_of(&self, slots: &[Option<usize>]) -> Option<Vec<usize>> {
        let column = |seat: &Vec<usize>| {
            let mut columns = seat
                .iter()
                .filter_map(|m| slots.iter().position(|s| *s == Some(*m)))
                .map(|slot| slot / self.copies);
            let first = columns.next()?;
            columns.all(|c| c == first).then_some(first)
        };
        self.seats.iter().map(column).collect()
    }

    /// The best order and those next to it, with their votes.
    pub fn orders(&self) -> Vec<(Vec<Option<usize>>, i64)> {
        let (best, others) = assign::best_and_next(&self.votes, self.columns);
        let scored = |of: Vec<usize>| (self.slots(&of), assign::score(&self.votes, &of));
        std::iter::once(best).chain(others).map(scored).collect()
    }
}
