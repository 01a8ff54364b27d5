//! Which members hold the same data: mirror groups, and mirrors whose data does not lie at the same place.
//!
//! Pages of all members are hashed at the same places of their data, in a smaller sample than `md guess` takes; those
//! are put together that agree on what is not constant: pages of zeros agree on everything and tell nothing. What the
//! groups differ in, [`super::compare`] reads byte by byte.

use super::relations;
use super::sample::{Page, Sample};
use super::windows;
use crate::image::progress::Progress;
use crate::image::{Pieces, SharedSource};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes read of each member to sort them: to be equal or not is seen in far fewer pages than an order is.
const GROUPING: Bytes = Bytes::mib(16);

/// Pages that two members must share at another distance before that is called a copy.
const FEWEST_SHIFTED: u32 = 16;

/// Share of a member's pages that lie on another at one distance, for it to be a whole mirror of it.
const WHOLE_SHARE: f64 = 0.8;

/// The same for a part of it, as copies of raid10 are when they do not come out even.
const PART_SHARE: f64 = 0.2;

/// The data of one member: what is compared with the others'.
#[derive(Clone)]
pub struct Span {
    /// The member.
    pub source: SharedSource,
    /// Its data, md's own metadata left out.
    pub data: Extent,
}

impl Span {
    /// Its data alone, as a source of its own.
    pub fn view(&self) -> SharedSource {
        let name = self.source.name();
        Arc::new(Pieces::slice(name, self.source.clone(), self.data))
    }
}

/// Members that mirror each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Indexes into the spans that were given, ascending.
    pub members: Vec<usize>,
    /// Pages that are not constant and were compared, for the pair of the group with the fewest.
    pub pages: u32,
    /// Share of those that agree, for the pair of the group with the lowest.
    pub share: f64,
}

/// Two members that hold the same pages at different places of their data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shifted {
    /// Indexes into the spans that were given.
    pub members: (usize, usize),
    /// How much further the second has what the first has, in bytes.
    pub shift: i64,
    /// Pages seen at that distance.
    pub pages: u32,
    /// Whether it is the whole of the data that is shifted, or a part, as copies of raid10 are that do not come out even.
    pub whole: bool,
}

/// The members by what they share.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// Mirror groups at equal places; one that mirrors no other is a group of one.
    pub groups: Vec<Group>,
    /// Pairs across groups that share pages at other distances.
    pub shifted: Vec<Shifted>,
    /// For each two members: pages that tell something, and how many of those agree.
    agreement: BTreeMap<(usize, usize), (u32, u32)>,
}

impl Grouped {
    /// Pages that are not constant and equal on two members.
    pub fn equal_pages(&self, a: usize, b: usize) -> u32 {
        self.agreement.get(&(a, b)).map_or(0, |(_, equal)| *equal)
    }

    /// Their share of those that could be.
    pub fn share(&self, a: usize, b: usize) -> f64 {
        let counts = self.agreement.get(&(a, b)).copied();
        counts.map_or(0.0, |(pages, equal)| {
            f64::from(equal) / f64::from(pages.max(1))
        })
    }
}

/// Sorts the members into mirror groups by a sample of their data.
pub fn group(spans: &[Span], progress: &dyn Progress) -> Grouped {
    let views: Vec<SharedSource> = spans.iter().map(Span::view).collect();
    let windows = windows::windows(&views, GROUPING);
    let sample = Sample::digests(&views, windows, progress);
    let agreement = sample.agreement();
    let group = |members: Vec<usize>| {
        let inside: Vec<(u32, u32)> = couples(members.len())
            .filter_map(|(a, b)| {
                agreement
                    .get(&(*members.get(a)?, *members.get(b)?))
                    .copied()
            })
            .collect();
        let share = |(pages, equal): &(u32, u32)| f64::from(*equal) / f64::from((*pages).max(1));
        Group {
            pages: inside.iter().map(|(pages, _)| *pages).min().unwrap_or(0),
            share: inside.iter().map(share).fold(1.0, f64::min),
            members,
        }
    };
    let groups: Vec<Group> = relations::mirror_groups(&sample, spans.len())
        .into_iter()
        .map(group)
        .collect();
    let shifted = shifted(&sample, &groups);
    Grouped {
        groups,
        shifted,
        agreement: agreement.clone(),
    }
}

fn shifted(sample: &Sample, groups: &[Group]) -> Vec<Shifted> {
    let together = |a: usize, b: usize| {
        groups
            .iter()
            .any(|g| g.members.contains(&a) && g.members.contains(&b))
    };
    // Only pages whose other place was read too can tell.
    let lively = |a: usize, b: usize, shift: i64| {
        let seen = |(at, page): &(Bytes, Page)| {
            let other = at.0.checked_add_signed(shift).map(Bytes);
            matches!(page, Page::Data { .. })
                && other.is_some_and(|at| sample.page(b, at) != Page::Unread)
        };
        u32::try_from(sample.pages(a).filter(seen).count()).unwrap_or(u32::MAX)
    };
    let mut best: BTreeMap<(usize, usize), (u32, i64)> = BTreeMap::new();
    for (&(a, b, shift), &count) in sample.shifts() {
        if shift != 0 && a != b && count >= FEWEST_SHIFTED && !together(a, b) {
            let entry = best.entry((a, b)).or_insert((count, shift));
            *entry = (*entry).max((count, shift));
        }
    }
    let judge = |((a, b), (pages, shift)): ((usize, usize), (u32, i64))| {
        let share = f64::from(pages) / f64::from(lively(a, b, shift).max(1));
        (share >= PART_SHARE).then_some(Shifted {
            members: (a, b),
            shift,
            pages,
            whole: share >= WHOLE_SHARE,
        })
    };
    best.into_iter().filter_map(judge).collect()
}

pub(super) fn couples(n: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

/// What all of them have, in bytes.
pub(super) fn common_length(spans: &[&Span]) -> Bytes {
    let lengths = spans.iter().map(|s| s.data.length);
    lengths.min().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::progress::Silent;
    use crate::image::{Memory, Source};

    pub(in crate::md) const PAGE: usize = crate::md::sample::PAGE;

    /// Pages that differ from page to page and from seed to seed; every third is zeros, as on a real disk.
    pub(in crate::md) fn data(seed: u8, pages: usize) -> Vec<u8> {
        let mut bytes = vec![0; pages * PAGE];
        let mut state = u64::from(seed) << 32;
        for (i, page) in bytes.chunks_mut(PAGE).enumerate() {
            if i % 3 != 0 {
                for word in page.chunks_mut(8) {
                    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    word.copy_from_slice(&(z ^ z >> 27).to_le_bytes());
                }
            }
        }
        bytes
    }

    pub(in crate::md) fn span(memory: Memory) -> Span {
        let data = Extent::new(Bytes::ZERO, memory.len());
        Span {
            source: Arc::new(memory),
            data,
        }
    }

    fn groups(spans: &[Span]) -> Vec<Vec<usize>> {
        let grouped = group(spans, &Silent);
        grouped.groups.into_iter().map(|g| g.members).collect()
    }

    /// Zeros are equal on all disks: taken for evidence they would make one big mirror of everything.
    #[test]
    fn groups_rest_on_what_is_not_constant() {
        let spans: Vec<Span> = [1, 2, 1, 3, 2]
            .iter()
            .map(|seed| span(Memory::new("m", data(*seed, 60))))
            .collect();
        assert_eq!(groups(&spans), [vec![0, 2], vec![1, 4], vec![3]]);
        let empty: Vec<Span> = (0..3)
            .map(|_| span(Memory::new("z", vec![0; 60 * PAGE])))
            .collect();
        assert_eq!(groups(&empty).len(), 3);
    }

    /// A mirror whose data starts elsewhere is a mirror: called none, a person would look for a lost disk.
    #[test]
    fn a_shifted_mirror_is_told() {
        let one = data(1, 300);
        let mut other = vec![0; 16 * PAGE];
        other.extend_from_slice(&one[..284 * PAGE]);
        let spans = [span(Memory::new("a", one)), span(Memory::new("b", other))];
        let grouped = group(&spans, &Silent);
        assert_eq!(grouped.groups.len(), 2);
        let [shifted] = grouped.shifted.as_slice() else {
            panic!("{:?}", grouped.shifted);
        };
        assert_eq!((shifted.members, shifted.whole), ((0, 1), true));
        assert_eq!(shifted.shift, 16 * 4096);
    }
}
