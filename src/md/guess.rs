//! Finding an array where its superblocks are lost or not to be believed.
//!
//! [`super::relations`] says from the bytes alone what kind of redundancy
//! there is; [`super::hypothesis`] lists the shapes of that kind;
//! [`super::votes`] counts for each how much of what is known of the content
//! it explains, and with which order; [`super::verify`] holds the best against
//! the redundancy itself. What superblocks claim is one hypothesis among the
//! others, with a few votes of its own and none where it is younger than the data.
//!
//! The confidence of an answer is its share when every vote makes an answer
//! [`FACTOR`] times likelier than one that lacks it. Answers that read every
//! byte from the same place are one answer.

use super::answer;
use super::clues::Clues;
use super::continuity;
use super::finalist::{Explained, Finalist};
use super::geometry::{Geometry, MOST_TIMES};
use super::hypothesis::{self, Shape};
use super::level::{Level, layout_name};
use super::linear;
pub use super::outcome::{Alternative, Guess, Reshape};
use super::relations::{Kind, Relations, relations};
use super::same_bytes;
use super::sample::Sample;
use super::superblock::{Role, Superblock, Version};
use super::verify::{self, Check};
use super::votes::{Hypothesis, Look, Voters, prior};
use crate::image::SharedSource;
use crate::units::{Bytes, Extent, SECTOR, Sectors};
use std::collections::BTreeMap;

/// How much likelier an answer gets by one vote. Far below what one is worth by chance, because votes are not
/// independent: old arrays leave structures too.
pub const FACTOR: f64 = 10.0;

/// An answer below this share is called ambiguous.
pub const SURE: f64 = 0.95;

/// Votes that superblocks have which agree with each other and are not younger than the data.
const CLAIM_VOTES: i64 = 3;

/// What an answer loses by which a member or the array must have been cut short for its file system to have been whole, or
/// by which all mirrors of a group are missing.
const CUT_VOTES: i64 = 2;

/// Sightings that choose among shapes without the help of facts.
const MANY_SIGHTINGS: usize = 100;

/// Shapes with an offset that are looked at in detail.
const FINALISTS: usize = 24;

/// Offsets of the data with which continuity is asked.
pub(super) const OFFSETS_FOLLOWED: usize = 4;

/// Alternatives listed beside the answer.
pub(super) const MOST_ALTERNATIVES: usize = 24;

/// One member of a set that is taken for an array.
#[derive(Clone)]
pub struct Member {
    /// The member.
    pub source: SharedSource,
    /// The superblock that lies on it, if any is sound.
    pub superblock: Option<Superblock>,
    /// The disk that it lies on, by the caller's number: two parts of one disk are not members of one array by chance.
    pub disk: usize,
}

/// The part of a member that holds data, by its superblock or, without one, all of it.
pub fn data_extent(member: &Member) -> Extent {
    let length = member.source.len();
    let whole = Extent::new(Bytes::ZERO, length);
    member.superblock.as_ref().map_or(whole, |sb| {
        let start = Bytes::from(sb.data_offset).min(length);
        let before_metadata = if sb.at > start { sb.at } else { length };
        let end = sb.data_end().unwrap_or(length).min(before_metadata);
        Extent::new(start, end - start)
    })
}

/// Puts members into sets that may each be one array: those that claim the same array; and those that claim none, the
/// first parts of all disks, the second parts, and so on.
pub fn sets(members: &[Member]) -> Vec<Vec<usize>> {
    let mut claimed: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut free: Vec<Vec<usize>> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        if let Some(sb) = &member.superblock {
            claimed.entry(&sb.array_uuid).or_default().push(index);
            continue;
        }
        let other_disk = |set: &Vec<usize>| {
            set.iter()
                .filter_map(|i| members.get(*i))
                .all(|m| m.disk != member.disk)
        };
        match free.iter_mut().find(|set| other_disk(set)) {
            Some(set) => set.push(index),
            None => free.push(vec![index]),
        }
    }
    // A member whose superblock was lost belongs to the others of its size and part of the disk.
    let mut sets: Vec<Vec<usize>> = claimed.into_values().collect();
    sets.sort();
    for mut set in free {
        let length = |i: &usize| members.get(*i).map(|m| m.source.len());
        set.retain(|i| {
            let alike = |s: &&mut Vec<usize>| {
                let disk = members.get(*i).map(|m| m.disk);
                s.iter().any(|o| length(o) == length(i))
                    && s.iter().all(|o| members.get(*o).map(|m| m.disk) != disk)
            };
            match sets.iter_mut().find(alike) {
                Some(home) => {
                    home.push(*i);
                    false
                }
                None => true,
            }
        });
        if !set.is_empty() {
            sets.push(set);
        }
    }
    sets
}

/// Everything that one guess rests on.
pub(super) struct Case<'a> {
    pub(super) members: &'a [Member],
    pub(super) sources: Vec<SharedSource>,
    pub(super) clues: &'a Clues,
    pub(super) sample: &'a Sample,
    pub(super) relations: Relations,
    /// Where content begins behind nothing: data may start there.
    pub(super) starts: Vec<Bytes>,
}

/// The first few places where content begins behind nothing.
fn starts(sample: &Sample, members: usize) -> Vec<Bytes> {
    let mut starts = continuity::starts(sample, members);
    starts.truncate(OFFSETS_FOLLOWED);
    starts
}

/// Works out the array that a set of members is, from what was read of them and what is known of their content.
pub fn guess(members: &[Member], sample: &Sample, clues: &Clues) -> Guess {
    let sources: Vec<SharedSource> = members.iter().map(|m| m.source.clone()).collect();
    let case = Case {
        members,
        relations: relations(sample, members.len()),
        starts: starts(sample, members.len()),
        sources,
        clues,
        sample,
    };
    let voters = Voters::new(clues, sample, &case.sources);
    let finalists = ranked(case.finalists(&voters));
    let mut finalists = case.distinct(finalists);
    if !Case::is_answered(&finalists) && relations_leave_orders(&case.relations.kind) {
        finalists = case.with_continuity(&voters, finalists);
    }
    let mut finalists = same_bytes::named(&case, &voters, finalists);
    if let Some(best) = finalists.first_mut() {
        best.check = verify::check(
            &best.hypothesis,
            &case.sources,
            sample,
            clues,
            verify::MANY_ROWS,
        );
        best.explained = Explained::of(&voters, &best.hypothesis);
    }
    answer::answer(&case, finalists)
}

/// The best first.
pub(super) fn ranked(mut finalists: Vec<Finalist>) -> Vec<Finalist> {
    finalists.sort_by(|a, b| {
        let key = |f: &Finalist| {
            (
                -f.hypothesis.score,
                !f.claimed,
                f.hypothesis.shape.rank,
                f.hypothesis.data_offset,
            )
        };
        key(a).cmp(&key(b))
    });
    finalists
}

/// Whether there is anything for continuity to tell.
fn relations_leave_orders(kind: &Kind) -> bool {
    !matches!(kind, Kind::Mirrors | Kind::Unknown)
}

impl Case<'_> {
    /// Whether the first of these is the answer.
    fn is_answered(finalists: &[Finalist]) -> bool {
        let shares = Case::confidence(finalists);
        let best = finalists.first().zip(shares.first());
        best.is_some_and(|(best, share)| Case::is_sure(best, *share))
    }

    fn longest(&self) -> Bytes {
        self.sources
            .iter()
            .map(|s| s.len())
            .max()
            .unwrap_or_default()
    }

    /// Every shape that agrees with what the members are to each other.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let Relations { kind, groups, .. } = &self.relations;
        hypothesis::shapes(kind, self.sources.len(), groups.len(), self.longest())
    }

    /// The best orders of the best shapes, those refuted by the redundancy left out.
    fn finalists(&self, voters: &Voters<'_>) -> Vec<Finalist> {
        let groups = &self.relations.groups;
        let claim = self.claim();
        // Few sightings leave too many shapes alike for the best of them to be among the first.
        let look = match voters.sightings() < MANY_SIGHTINGS {
            true => Look::SomeFacts,
            false => Look::Sightings,
        };
        let mut candidates: Vec<(Shape, Bytes, i64)> = Vec::new();
        for shape in self.shapes() {
            let mut offsets: Vec<Bytes> = voters
                .offsets(&shape)
                .into_iter()
                .map(|(offset, _)| offset)
                .collect();
            offsets.extend(claim.iter().map(|c| c.data_offset));
            if voters.sightings() == 0 {
                offsets.extend(self.starts.iter().copied());
            }
            offsets.push(self.claimed_offset().unwrap_or_default());
            offsets.sort_unstable();
            offsets.dedup();
            for offset in offsets {
                let (tally, _) = voters.tally(&shape, offset, groups, look);
                if tally.fits() {
                    let of = super::assign::assign(&tally.votes, tally.columns);
                    candidates.push((
                        shape.clone(),
                        offset,
                        super::assign::score(&tally.votes, &of),
                    ));
                }
            }
        }
        candidates.sort_by_key(|(shape, offset, score)| (-score, shape.rank, *offset));
        candidates.truncate(FINALISTS);
        let mut finalists = Vec::new();
        for (shape, offset, _) in candidates {
            let (tally, bases) = voters.tally(&shape, offset, groups, Look::All);
            for (slots, score) in tally.orders() {
                finalists.extend(self.placed(voters, (&shape, offset), slots, score, &bases));
            }
        }
        if matches!(self.relations.kind, Kind::Nothing | Kind::Unknown) {
            let found = linear::find(self.clues, self.sample, &self.sources);
            finalists.extend(found.map(|h| {
                self.finalist(
                    voters,
                    (&h.shape, h.data_offset),
                    h.slots,
                    h.score,
                    &h.bases,
                    false,
                )
            }));
        }
        if let Some(claim) = claim {
            let (tally, bases) = voters.tally(&claim.shape, claim.data_offset, groups, Look::All);
            if let Some(of) = tally.columns_of(&claim.slots) {
                let score = super::assign::score(&tally.votes, &of) + claim.score;
                finalists.push(self.finalist(
                    voters,
                    (&claim.shape, claim.data_offset),
                    claim.slots,
                    score,
                    &bases,
                    true,
                ));
            }
        }
        finalists.retain(|f| !f.check.refutes());
        finalists
    }

    /// An order of a shape as a finalist; raid0 over members of unequal length, whose later rows are then known, as one
    /// for each of the kernel's two layouts.
    pub(super) fn placed(
        &self,
        voters: &Voters<'_>,
        (shape, offset): (&Shape, Bytes),
        slots: Vec<Option<usize>>,
        score: i64,
        bases: &[usize],
    ) -> Vec<Finalist> {
        let uneven = self.uneven(shape, offset, &slots);
        if uneven.is_empty() {
            return vec![self.finalist(voters, (shape, offset), slots, score, bases, false)];
        }
        let counted = uneven.into_iter().filter_map(|shape| {
            let (tally, bases) = voters.tally(&shape, offset, &self.relations.groups, Look::All);
            let score = super::assign::score(&tally.votes, &tally.columns_of(&slots)?);
            Some(self.finalist(
                voters,
                (&shape, offset),
                slots.clone(),
                score,
                &bases,
                false,
            ))
        });
        counted.collect()
    }

    /// raid0 with its members' own lengths, where they differ.
    fn uneven(&self, shape: &Shape, offset: Bytes, slots: &[Option<usize>]) -> Vec<Shape> {
        let chunk = shape.geometry.chunk().whole_sectors();
        let sizes = self.own_sizes(slots, offset, chunk);
        let Some(sizes) = sizes.filter(|_| shape.level == Level::Raid0) else {
            return Vec::new();
        };
        let of = |(rank, layout): (usize, &str)| {
            let geometry = Geometry::of_sizes(Level::Raid0, Some(layout), chunk, &sizes).ok()?;
            Some(Shape {
                level: Level::Raid0,
                layout: Some(layout.to_owned()),
                geometry,
                rank: shape.rank * 2 + rank,
            })
        };
        ["alternate", "original"]
            .into_iter()
            .enumerate()
            .filter_map(of)
            .collect()
    }

    /// Bytes of data on the member in each slot, whole chunks, where none is missing and they differ.
    fn own_sizes(
        &self,
        slots: &[Option<usize>],
        offset: Bytes,
        chunk: Sectors,
    ) -> Option<Vec<Bytes>> {
        let grain = chunk.to_bytes()?.0.max(SECTOR);
        let size = |slot: &Option<usize>| {
            let size = self.data_of((*slot)?, offset)?;
            Some(Bytes(size.0 / grain * grain))
        };
        let sizes: Vec<Bytes> = slots.iter().map(size).collect::<Option<_>>()?;
        let differ = sizes.iter().any(|size| Some(size) != sizes.first());
        differ.then_some(sizes)
    }

    /// Bytes of data on a member whose data start at `offset`: by its superblock, else all up to where one may lie.
    fn data_of(&self, member: usize, offset: Bytes) -> Option<Bytes> {
        let length = self.sources.get(member)?.len();
        let sb = self.members.get(member)?.superblock.as_ref();
        let told = sb.filter(|sb| Bytes::from(sb.data_offset) == offset);
        let told = told.and_then(|sb| match sb.version {
            Version::V090 => Version::V090.place(length),
            _ => sb.data_size?.to_bytes(),
        });
        let most = Bytes(length.0.saturating_mul(MOST_TIMES));
        let room = || room_for_data(length, offset);
        Some(told.filter(|told| *told <= most).unwrap_or_else(room))
    }

    fn finalist(
        &self,
        voters: &Voters<'_>,
        (shape, data_offset): (&Shape, Bytes),
        slots: Vec<Option<usize>>,
        score: i64,
        bases: &[usize],
        claimed: bool,
    ) -> Finalist {
        let starts = self.starts.contains(&data_offset);
        let prior = prior(data_offset, self.claimed_offset(), starts);
        let mut hypothesis = Hypothesis {
            shape: shape.clone(),
            data_offset,
            slots,
            score: score + prior,
            prior,
            bases: bases.to_vec(),
        };
        if voters.lacks_an_end(&hypothesis) {
            hypothesis.score -= CUT_VOTES;
            hypothesis.prior -= CUT_VOTES;
        }
        // What a group that is not here would hold can be anything, and explains too easily.
        if !claimed && same_bytes::lacks_a_group(&hypothesis) {
            let malus = match self.relations.kind {
                // Many chunk sizes explain what lies at the front as well as a mirror does.
                Kind::Mirrors => 2 * CUT_VOTES,
                _ => CUT_VOTES,
            };
            hypothesis.score -= malus;
            hypothesis.prior -= malus;
        }
        Finalist {
            check: Check::default(),
            hypothesis,
            claimed,
            undated: match claimed && !self.is_dated() && !self.is_too_young() {
                true => CLAIM_VOTES,
                false => 0,
            },
            dated: claimed && self.is_dated(),
            says_why: claimed && self.says_why(),
            also: Vec::new(),
            continuity: None,
            spans: None,
            explained: Explained::default(),
        }
    }

    /// Whether the superblocks were made after the youngest data.
    fn is_too_young(&self) -> bool {
        let times = newest(self.members).zip(self.clues.youngest);
        times.is_some_and(|(sb, data)| sb.created > data)
    }

    /// Whether the superblocks say themselves why rows fail: a member lacks something, or a resync came some way and was not
    /// over.
    fn says_why(&self) -> bool {
        let resync = newest(self.members).and_then(|sb| sb.resync_offset);
        !behind(self.members).is_empty() || resync.is_some_and(|done| done > Sectors(0))
    }

    /// Whether something tells that the superblocks are no younger than the data: times in it, or that the array was in use
    /// for days.
    fn is_dated(&self) -> bool {
        newest(self.members).is_some_and(|sb| match self.clues.youngest {
            Some(data) => sb.created <= data,
            None => sb.was_in_use(),
        })
    }

    /// Where superblocks say that data starts, whether they are believed or not.
    pub(super) fn claimed_offset(&self) -> Option<Bytes> {
        Some(newest(self.members)?.data_offset.into())
    }

    /// What the superblocks claim as a hypothesis, with the votes that the claim itself is worth.
    pub(super) fn claim(&self) -> Option<Hypothesis> {
        let sb = newest(self.members)?;
        let level = Level::from_number(sb.level)?;
        let layout = layout_name(level, sb.layout);
        let slots = usize::try_from(sb.raid_disks).ok().filter(|n| *n <= 1024)?;
        let length = if level == Level::Raid10 {
            sb.member_size.into()
        } else {
            self.longest()
        };
        let order = claimed_order(self.members, sb, slots);
        let own = self.own_sizes(&order, sb.data_offset.into(), sb.chunk);
        let geometry = match own.filter(|_| matches!(level, Level::Raid0 | Level::Linear)) {
            Some(sizes) => Geometry::of_sizes(level, layout.as_deref(), sb.chunk, &sizes),
            None => Geometry::new(level, layout.as_deref(), slots, sb.chunk, length),
        };
        let geometry = geometry.ok()?;
        Some(Hypothesis {
            shape: Shape {
                level,
                layout,
                geometry,
                rank: 0,
            },
            data_offset: sb.data_offset.into(),
            slots: order,
            score: match self.is_too_young() {
                true => 0,
                false => CLAIM_VOTES,
            },
            prior: 0,
            bases: Vec::new(),
        })
    }

    /// Checks the finalists, best first, and makes those one that read every byte from the same place.
    pub(super) fn distinct(&self, finalists: Vec<Finalist>) -> Vec<Finalist> {
        let best = finalists.first().map_or(0, |f| f.hypothesis.score);
        let mut kept: Vec<Finalist> = Vec::new();
        for mut finalist in finalists {
            // Far behind, one more does not change the answer: no need to read for it.
            if best - finalist.hypothesis.score > 12 || kept.len() >= 4 * MOST_ALTERNATIVES {
                continue;
            }
            if let Some(same) = kept
                .iter_mut()
                .find(|k| same_bytes::reads_same(&k.hypothesis, &finalist.hypothesis))
            {
                let other = &finalist.hypothesis.shape;
                if (&other.level, &other.layout)
                    != (&same.hypothesis.shape.level, &same.hypothesis.shape.layout)
                {
                    let name = same_bytes::shape_name(other);
                    if !same.also.contains(&name) {
                        same.also.push(name);
                    }
                }
                continue;
            }
            finalist.check = verify::check(
                &finalist.hypothesis,
                &self.sources,
                self.sample,
                self.clues,
                verify::FEW_ROWS,
            );
            if !finalist.check.refutes() {
                kept.push(finalist);
            }
        }
        kept
    }

    /// The share of each, by its votes; those of superblocks whose age nothing tells make it the first, and no surer.
    pub(super) fn confidence(finalists: &[Finalist]) -> Vec<f64> {
        let votes = |f: &Finalist| f.hypothesis.score - f.undated;
        let best = finalists.iter().map(votes).max().unwrap_or(0);
        let weight =
            |f: &Finalist| FACTOR.powi(-i32::try_from(best - votes(f)).unwrap_or(i32::MAX));
        let total: f64 = finalists.iter().map(weight).sum();
        finalists.iter().map(|f| weight(f) / total).collect()
    }

    pub(super) fn is_sure(finalist: &Finalist, confidence: f64) -> bool {
        confidence >= SURE && finalist.is_whole() && finalist.has_votes()
    }
}

/// The superblock with the most events, of the array that most members claim.
pub fn newest(members: &[Member]) -> Option<&Superblock> {
    let superblocks = || members.iter().filter_map(|m| m.superblock.as_ref());
    let of = |uuid: &str| superblocks().filter(|sb| sb.array_uuid == uuid).count();
    superblocks().max_by_key(|sb| (of(&sb.array_uuid), sb.events))
}

/// Members that lack something by the superblocks of the array that most claim.
pub(super) fn behind(members: &[Member]) -> Vec<usize> {
    let Some(newest) = newest(members) else {
        return Vec::new();
    };
    let lacks = |member: &Member| {
        let sb = member.superblock.as_ref();
        sb.is_some_and(|sb| sb.array_uuid == newest.array_uuid && sb.lacks(newest.events))
    };
    let all = members.iter().enumerate();
    all.filter(|(_, member)| lacks(member))
        .map(|(index, _)| index)
        .collect()
}

/// Members by the slots that the superblocks of this one's array give them; of two in one slot, as a disk that is being
/// replaced and the new one are, one that lacks nothing.
pub(super) fn claimed_order(
    members: &[Member],
    of: &Superblock,
    slots: usize,
) -> Vec<Option<usize>> {
    let mut order: Vec<Option<(usize, bool)>> = vec![None; slots];
    for (index, member) in members.iter().enumerate() {
        let superblock = member
            .superblock
            .as_ref()
            .filter(|sb| sb.array_uuid == of.array_uuid);
        if let Some(sb) = superblock
            && let Role::Slot(slot) = sb.role
            && let Some(place) = order.get_mut(usize::try_from(slot).unwrap_or(usize::MAX))
            && place.is_none_or(|(_, lacks)| lacks || !sb.lacks(of.events))
        {
            *place = Some((index, sb.lacks(of.events)));
        }
    }
    let index = |place: Option<(usize, bool)>| place.map(|(index, _)| index);
    order.into_iter().map(index).collect()
}

/// The most that data from `offset` on can take of a member of this length.
pub(super) fn room_for_data(length: Bytes, offset: Bytes) -> Bytes {
    // Data from the first byte leaves the superblock only the end.
    let end = match offset {
        Bytes::ZERO => Version::V10.place(length).unwrap_or(length),
        _ => length,
    };
    end - offset
}

/// Sectors, as mdadm counts them.
pub(super) fn sectors(bytes: Bytes) -> u64 {
    bytes.whole_sectors().0
}
