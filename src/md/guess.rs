//! Finding an array where its superblocks are lost or not to be believed.
//!
//! What mirrors what comes from [`super::pairs`]; [`super::order`] finds the
//! order of the mirror groups and the chunk. Here both become one answer, with
//! what the superblocks claim beside it: an installer may have written them,
//! so a claim is evidence and no more.

use super::level::{Copies, Level};
use super::order::{Clues, MOST_GROUPS, Search};
use super::pairs::{Group, Span};
use super::superblock::{Role, Superblock, Version};
use crate::image::SharedSource;
use crate::units::{Bytes, Extent, utc};
use serde::Serialize;

/// An answer below this share is called ambiguous.
pub const SURE: f64 = 0.95;

/// One member of a set that is taken for an array.
#[derive(Clone)]
pub struct Member {
    /// The member.
    pub source: SharedSource,
    /// The superblock that lies on it, if any is sound.
    pub superblock: Option<Superblock>,
}

/// Another order that the evidence allows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// Members in array order.
    pub members: Vec<Option<String>>,
    /// Chunk in KiB.
    pub chunk_kib: Option<u64>,
    /// Landmarks that hold.
    pub landmarks: usize,
    /// Its share of the confidence.
    pub confidence: f64,
}

/// One array, as far as it could be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Level in mdadm's words; `None` where it could not be told.
    pub level: Option<Level>,
    /// Layout in mdadm's words.
    pub layout: Option<String>,
    /// Chunk in KiB, where the level has one.
    pub chunk_kib: Option<u64>,
    /// Sectors before the data on each member.
    pub data_offset_sectors: u64,
    /// Bytes that the array uses of each member.
    pub member_bytes: Bytes,
    /// Metadata version, where a superblock shows it.
    pub metadata: Option<Version>,
    /// Members in array order, `None` for a missing one.
    pub members: Vec<Option<String>>,
    /// Members whose superblock is behind the others'.
    pub stale: Vec<String>,
    /// Landmarks that hold, and those looked for.
    pub landmarks: (usize, usize),
    /// How sure, from 0 to 1: see [`super::order`].
    pub confidence: f64,
    /// Whether another answer is nearly as good.
    pub ambiguous: bool,
    /// What speaks for it, and against, in words.
    pub evidence: Vec<String>,
    /// The next best answers.
    pub alternatives: Vec<Alternative>,
}

/// The part of a member that holds data, by its superblock or, without one, all of it.
pub fn data_span(member: &Member) -> Span {
    let length = member.source.len();
    let whole = Extent::new(Bytes::ZERO, length);
    let data = member.superblock.as_ref().map_or(whole, |sb| {
        let start = Bytes::from(sb.data_offset).min(length);
        let before_metadata = if sb.at > start { sb.at } else { length };
        let end = sb.data_end().unwrap_or(length).min(before_metadata);
        Extent::new(start, end - start)
    });
    Span {
        source: member.source.clone(),
        data,
    }
}

/// Puts members into sets that may each be one array: those that claim the same array, and those of equal length.
pub fn sets(members: &[Member]) -> Vec<Vec<usize>> {
    let claim = |m: &Member| m.superblock.as_ref().map(|sb| sb.array_uuid.clone());
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let same = |other: &usize| {
            members.get(*other).is_some_and(|other| {
                let claims = (claim(member), claim(other));
                match claims {
                    (Some(a), Some(b)) => a == b,
                    _ => member.source.len() == other.source.len(),
                }
            })
        };
        match sets.iter_mut().find(|set| set.iter().any(same)) {
            Some(set) => set.push(index),
            None => sets.push(vec![index]),
        }
    }
    sets
}

/// Works out the array that a set of members is, from its mirror groups (indexes into `members`) and other clues.
pub fn guess(members: &[Member], groups: &[Group], clues: &Clues) -> Guess {
    let mut guess = frame(members, groups);
    let copies = groups.iter().map(|g| g.members.len()).max().unwrap_or(1);
    let uneven = groups.iter().any(|g| g.members.len() < copies);
    guess.evidence.push(mirror_evidence(members, groups));
    if groups.len() == 1 && copies > 1 {
        mirrors_only(members, &mut guess);
    } else if copies == 1 {
        guess.evidence.push(
            "no member mirrors another: raid0 and the parity levels cannot be told apart yet"
                .to_owned(),
        );
    } else if groups.len() > MOST_GROUPS {
        guess.evidence.push(format!(
            "{} mirror groups have too many orders to try one by one (at most {})",
            groups.len(),
            MOST_GROUPS
        ));
    } else {
        guess.level = Some(Level::Raid10);
        guess.layout = Some(format!("n{copies}"));
        if uneven {
            guess
                .evidence
                .push("a group with fewer members than the others lacks its mirror".to_owned());
        }
        Search::new(members, groups, clues, copies).answer(&mut guess);
    }
    superblock_evidence(members, &mut guess);
    guess
}

fn frame(members: &[Member], groups: &[Group]) -> Guess {
    let superblocks: Vec<&Superblock> = members
        .iter()
        .filter_map(|m| m.superblock.as_ref())
        .collect();
    let newest = superblocks.iter().map(|sb| sb.events).max();
    let stale = members.iter().filter(|m| {
        m.superblock.as_ref().is_some_and(|sb| {
            Some(sb.array_uuid.as_str()) == superblocks.first().map(|f| f.array_uuid.as_str())
                && Some(sb.events) < newest
        })
    });
    let spans = members.iter().map(data_span);
    let size = spans.clone().map(|s| s.data.length).min();
    Guess {
        level: None,
        layout: None,
        chunk_kib: None,
        data_offset_sectors: superblocks.first().map_or(0, |sb| sb.data_offset.0),
        member_bytes: size.unwrap_or_default(),
        metadata: superblocks.first().map(|sb| sb.version),
        members: names(
            members,
            groups.iter().flat_map(|g| g.members.iter().copied()),
        ),
        stale: stale.map(|m| m.source.name().to_owned()).collect(),
        landmarks: (0, 0),
        confidence: 0.0,
        ambiguous: true,
        evidence: Vec::new(),
        alternatives: Vec::new(),
    }
}

fn names(members: &[Member], order: impl Iterator<Item = usize>) -> Vec<Option<String>> {
    order
        .map(|i| members.get(i).map(|m| m.source.name().to_owned()))
        .collect()
}

fn mirror_evidence(members: &[Member], groups: &[Group]) -> String {
    let mirrored: Vec<&Group> = groups.iter().filter(|g| g.members.len() > 1).collect();
    let pages = mirrored.iter().map(|g| g.pages).min().unwrap_or(0);
    let share = mirrored.iter().map(|g| g.share).fold(1.0, f64::min);
    format!(
        "{} of {} members mirror another, in {} groups; the weakest agrees on {:.2} % of {pages} pages that are not constant",
        mirrored.iter().map(|g| g.members.len()).sum::<usize>(),
        members.len(),
        mirrored.len(),
        share * 100.0,
    )
}

/// All members hold the same: raid1, and the order is of no consequence.
fn mirrors_only(members: &[Member], guess: &mut Guess) {
    guess.level = Some(Level::Raid1);
    guess.confidence = 1.0;
    guess.ambiguous = false;
    if members.len() == 2 {
        guess.evidence.push(
            "two equal members could also be raid10 n2 or raid5 over two: the data is the same"
                .to_owned(),
        );
    }
}

/// What the superblocks claim, beside what the data says.
fn superblock_evidence(members: &[Member], guess: &mut Guess) {
    let Some(sb) = members.iter().find_map(|m| m.superblock.as_ref()) else {
        guess
            .evidence
            .push("no sound md superblock on any member".to_owned());
        return;
    };
    let claimed = claimed_order(members, guess.members.len());
    let chunk = match sb.chunk.0 {
        0 => String::new(),
        sectors => format!(" chunk {} KiB,", sectors / 2),
    };
    let agrees = guess.level == Some(Level::Raid1) || same_groups(guess, &claimed);
    guess.evidence.push(format!(
        "the superblocks ({}, array {}, created {}) claim {},{chunk} {} order",
        sb.version,
        sb.array_uuid,
        utc(sb.created),
        sb.level_name(),
        if agrees { "the same" } else { "ANOTHER" },
    ));
}

/// Whether a claimed order puts the same members into each mirror group, group by group.
fn same_groups(guess: &Guess, claimed: &[Option<String>]) -> bool {
    let copies = guess
        .layout
        .as_deref()
        .and_then(Copies::from_name)
        .map_or(1, Copies::count);
    let sorted = |order: &[Option<String>]| -> Vec<Vec<Option<String>>> {
        order
            .chunks(copies)
            .map(|chunk| {
                let mut chunk = chunk.to_vec();
                chunk.sort();
                chunk
            })
            .collect()
    };
    sorted(&guess.members) == sorted(claimed)
}

/// The order that the superblocks claim.
pub fn claimed_order(members: &[Member], slots: usize) -> Vec<Option<String>> {
    let mut order = vec![None; slots];
    for member in members {
        if let Some(Role::Slot(slot)) = member.superblock.as_ref().map(|sb| sb.role)
            && let Some(place) = order.get_mut(usize::try_from(slot).unwrap_or(usize::MAX))
        {
            *place = Some(member.source.name().to_owned());
        }
    }
    order
}
