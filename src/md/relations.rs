//! What the members' bytes say of the level, whatever is stored: who mirrors whom, and what sums are zero.

use super::pairs::couples;
use super::sample::Sample;
use crate::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Pages that are not constant and agree, below which two members are not called mirrors.
const FEWEST_PAGES: u32 = 8;
/// Share of such pages on which mirrors agree: a stale one missed some writes.
const MIRROR_SHARE: f64 = 0.8;
/// Rows that must be told before relations count.
const FEWEST_ROWS: usize = 4;
/// Share of rows in which a relation must hold: a stale member breaks some.
const RELATED_SHARE: f64 = 0.5;
/// Pages at one distance from each other, as a share of the most that could be, that make a far copy: less than half,
/// because each layout has two distances, or a member may be missing.
const SHIFT_SHARE: f64 = 0.12;

/// The kinds of redundancy, by what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All mirror each other.
    Mirrors,
    /// Groups of mirrors of this many at most, and more than one group.
    Columns(usize),
    /// All members together sum to zero: one parity.
    Parity,
    /// P and Q, with all members.
    TwoParities,
    /// P and Q, with one member missing.
    TwoParitiesLess,
    /// Copies at other places of other members; the distances seen, the most frequent first.
    Shifted(Vec<u64>),
    /// Nothing: no redundancy, or as many members missing as the level bears.
    Nothing,
    /// Too little that is not constant to tell.
    Unknown,
}

/// What was seen of a set of members.
#[derive(Clone, Debug)]
pub struct Relations {
    /// Mirror groups at equal offsets, members ascending; a group of one mirrors no other.
    pub groups: Vec<Vec<usize>>,
    /// The kind.
    pub kind: Kind,
    /// In words, with figures.
    pub evidence: String,
}

/// Members joined to sets.
struct Sets(Vec<usize>);

impl Sets {
    fn of(members: usize) -> Sets {
        Sets((0..members).collect())
    }

    fn find(&self, mut member: usize) -> usize {
        while let Some(&up) = self.0.get(member).filter(|up| **up != member) {
            member = up;
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if let Some(slot) = self.0.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }

    /// All sets, members ascending; those of one too.
    fn all(&self) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for member in 0..self.0.len() {
            sets.entry(self.find(member)).or_default().push(member);
        }
        sets.into_values().collect()
    }
}

/// Pairs of members that one sum of three and more holds, in most of the rows in which both show something.
fn summed(sample: &Sample, members: usize) -> Vec<(usize, usize)> {
    let mut both: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
    for row in &sample.rows {
        for (a, b) in couples(members.min(64)) {
            let mask = 1_u64 << a | 1 << b;
            if row.lively & mask == mask {
                let (rows, related) = both.entry((a, b)).or_default();
                *rows += 1;
                // Two that are equal may be one of several pairs.
                let holds = |set: &u64| set & mask == mask && set.count_ones() > 2;
                *related += u32::from(row.related.iter().any(holds));
            }
        }
    }
    let enough = both.into_iter().filter(|(_, (rows, related))| {
        *rows as usize >= FEWEST_ROWS && share(*related, *rows) >= RELATED_SHARE
    });
    enough.map(|(pair, _)| pair).collect()
}

/// Members that a sum of three and more holds.
pub fn sums(sample: &Sample, members: usize) -> BTreeSet<usize> {
    let pairs = summed(sample, members);
    pairs.into_iter().flat_map(|(a, b)| [a, b]).collect()
}

/// Pairs of members of which one holds many pages of the other at one distance.
fn shifted(sample: &Sample, members: usize) -> Vec<(usize, usize)> {
    // The same files on two arrays lie at many distances, each of them a small share.
    let of_a_member = sample.data_pages() / u32::try_from(members.max(1)).unwrap_or(u32::MAX);
    let enough = sample.shifts().iter().filter(|((.., shift), count)| {
        *shift != 0 && **count >= 4 * FEWEST_PAGES && share(**count, of_a_member) >= SHIFT_SHARE
    });
    enough.map(|((a, b, _), _)| (*a, *b)).collect()
}

/// The largest set of fewer than all members that one sum ties in several rows: what an array was before a member came.
pub fn fewer(sample: &Sample, members: usize) -> Option<Vec<usize>> {
    let mut count: BTreeMap<u64, usize> = BTreeMap::new();
    for set in sample.rows.iter().flat_map(|row| &row.related) {
        let size = set.count_ones() as usize;
        if size > 2 && size < members {
            *count.entry(*set).or_default() += 1;
        }
    }
    count.retain(|_, rows| *rows >= FEWEST_ROWS);
    let key = |(set, rows): &(&u64, &usize)| (set.count_ones(), **rows);
    let (set, _) = count.iter().max_by_key(key)?;
    Some((0..members.min(64)).filter(|m| set >> m & 1 != 0).collect())
}

/// Members that belong together by sums of three and more, or by copies at other places, as sets; equal ones alone may
/// be pairs of one array or arrays of their own.
pub fn families(sample: &Sample, members: usize) -> Vec<Vec<usize>> {
    let mut sets = Sets::of(members);
    for (a, b) in summed(sample, members)
        .into_iter()
        .chain(shifted(sample, members))
    {
        sets.join(a, b);
    }
    let mut sets = sets.all();
    sets.retain(|set| set.len() > 1);
    sets
}

/// Members that mirrors or sums tie to others; where the members are so few that one may be as long as their array,
/// copies at other places too.
pub fn tied(sample: &Sample, members: usize) -> BTreeSet<usize> {
    /// Copies of an array that are as many as its members.
    const FEW: usize = 3;
    let mut tied = sums(sample, members);
    let groups = mirror_groups(sample, members);
    tied.extend(groups.into_iter().filter(|g| g.len() > 1).flatten());
    if members <= FEW {
        tied.extend(
            shifted(sample, members)
                .into_iter()
                .flat_map(|(a, b)| [a, b]),
        );
    }
    tied
}

/// Members that hold the same bytes on every page that was read, as sets.
pub fn equal_groups(sample: &Sample, members: usize) -> Vec<Vec<usize>> {
    let mut sets = Sets::of(members);
    for (&(a, b), &(pages, equal)) in sample.agreement() {
        if equal >= FEWEST_PAGES && equal == pages && sample.is_as_long(a, b) {
            sets.join(a, b);
        }
    }
    let mut sets = sets.all();
    sets.retain(|set| set.len() > 1);
    sets
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1))
}

fn percent(part: usize, whole: usize) -> String {
    format!("{part} of {whole}")
}

/// The mirror groups at equal offsets; a group of one mirrors no other.
pub fn mirror_groups(sample: &Sample, members: usize) -> Vec<Vec<usize>> {
    let mut sets = Sets::of(members);
    for (&(a, b), &(pages, equal)) in sample.agreement() {
        if equal >= FEWEST_PAGES && share(equal, pages) >= MIRROR_SHARE {
            sets.join(a, b);
        }
    }
    sets.all()
}

/// What the sample says of the level.
pub fn relations(sample: &Sample, members: usize) -> Relations {
    let groups = mirror_groups(sample, members);
    let most = groups.iter().map(Vec::len).max().unwrap_or(1);
    let told = |kind, evidence| Relations {
        groups: groups.clone(),
        kind,
        evidence,
    };
    if most > 1 {
        let in_groups = groups.iter().filter(|g| g.len() > 1);
        let (sets, mirrored) = (
            in_groups.clone().count(),
            in_groups.map(Vec::len).sum::<usize>(),
        );
        let pages = sample.agreement();
        let lowest =
            couples(members).filter(|(a, b)| groups.iter().any(|g| g.contains(a) && g.contains(b)));
        let lowest = lowest
            .filter_map(|c| pages.get(&c))
            .map(|(pages, equal)| share(*equal, *pages))
            .fold(1.0, f64::min);
        let evidence = format!(
            "{mirrored} of {members} members mirror another, in {sets} groups; the weakest agrees on {:.2} % of the pages that are not constant",
            lowest * 100.0
        );
        let kind = if groups.len() == 1 {
            Kind::Mirrors
        } else {
            Kind::Columns(most)
        };
        return told(kind, evidence);
    }
    let rows: Vec<_> = sample
        .rows
        .iter()
        // Behind the end of a member that was cut short nothing can be held against it.
        .filter(|row| row.lively.count_ones() > 1 && row.at < sample.shortest())
        .collect();
    // Rows in which every lively member takes part in a sum.
    let of_dimension = |d: usize| {
        let whole = |row: &&&super::sample::Row| {
            row.related.len() == d && row.related.iter().fold(0, |a, b| a | b) == row.lively
        };
        rows.iter().filter(whole).count()
    };
    let (one, two) = (of_dimension(1), of_dimension(2));
    let solved = rows.iter().filter(|row| row.solved.is_some()).count();
    if rows.len() >= FEWEST_ROWS {
        let half = rows.len() / 2;
        if two > half {
            let evidence = format!(
                "two independent sums over the members are zero in {} rows: P and Q",
                percent(two, rows.len())
            );
            return told(Kind::TwoParities, evidence);
        }
        if one > half && solved * 4 > rows.len() {
            let evidence = format!(
                "one weighted sum over the members is zero in {} rows, with powers of two as weights in {solved}: P and Q, one member missing",
                percent(one, rows.len())
            );
            return told(Kind::TwoParitiesLess, evidence);
        }
        if one > half {
            let evidence = format!(
                "all members sum to zero in {} rows: one parity",
                percent(one, rows.len())
            );
            return told(Kind::Parity, evidence);
        }
    }
    if let Some(shifts) = shifts(sample, members) {
        let words: Vec<String> = shifts.iter().map(|s| Bytes(*s).to_string()).collect();
        return told(
            Kind::Shifted(shifts),
            format!(
                "members hold each other's pages at other offsets, {} apart: copies, far or in the next rows",
                words.join(" and ")
            ),
        );
    }
    match rows.len() >= FEWEST_ROWS {
        true => told(
            Kind::Nothing,
            format!(
                "no member mirrors another and no sum over the members is zero in {} rows: no redundancy left",
                rows.len()
            ),
        ),
        false => told(
            Kind::Unknown,
            format!(
                "only {} rows hold anything on two members or more",
                rows.len()
            ),
        ),
    }
}

/// The distances at which enough pages repeat, the most frequent first.
fn shifts(sample: &Sample, members: usize) -> Option<Vec<u64>> {
    let shifts = sample.shifts();
    let mut by_distance: BTreeMap<u64, u32> = BTreeMap::new();
    for ((_, _, shift), count) in shifts {
        *by_distance.entry(shift.unsigned_abs()).or_default() += count;
    }
    // Each page that is held twice is one of a pair; what is stored twice for other reasons (btrfs' metadata) is little.
    let total = sample.data_pages() / 2;
    let mut found: Vec<(u64, u32)> = by_distance
        .into_iter()
        .filter(|(_, count)| *count >= 4 * FEWEST_PAGES && share(*count, total) >= SHIFT_SHARE)
        .collect();
    found.sort_by_key(|(distance, count)| (std::cmp::Reverse(*count), *distance));
    found.truncate(4);
    // One pair alone may be two copies of one large file.
    let mut seen = vec![false; members];
    for (a, b, shift) in shifts
        .iter()
        .filter(|(_, c)| **c >= FEWEST_PAGES)
        .map(|(k, _)| *k)
    {
        if found
            .iter()
            .any(|(distance, _)| *distance == shift.unsigned_abs())
        {
            for member in [a, b] {
                if let Some(flag) = seen.get_mut(member) {
                    *flag = true;
                }
            }
        }
    }
    let enough = !found.is_empty() && seen.iter().filter(|s| **s).count() * 3 >= members * 2;
    enough.then(|| found.into_iter().map(|(distance, _)| distance).collect())
}
