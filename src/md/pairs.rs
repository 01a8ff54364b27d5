//! Which members hold the same data: mirror groups, and where they differ.
//!
//! Two steps. [`group`] hashes pages of all members at the same offsets and
//! puts those together that agree on what is not constant: pages of zeros
//! agree on everything and tell nothing. [`compare`] then reads a group byte
//! by byte. Bytes that could not be read neither match nor differ.

use crate::image::progress::Progress;
use crate::image::{SharedSource, len_of};
use crate::units::{Bytes, Extent, SECTOR_LEN, merge};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is hashed at a time.
const PAGE: usize = 4096;

/// Regions up to this length are hashed whole.
const WHOLE: u64 = 1 << 30;

/// Of longer ones so many pages are, evenly spread: two minutes of a disk's seeks.
const SAMPLES: u64 = 16384;

/// Pages that two members must share before they can be called mirrors.
const FEWEST_PAGES: u32 = 8;

/// Share of pages on which mirrors agree. A page differs where one mirror missed a write, so it is far from 1 only
/// where a mirror was stale for long; two disks that are no mirrors share next to nothing that is not constant.
const MIRROR_SHARE: f64 = 0.8;

/// Bytes of each member read at a time when comparing.
const BLOCK: usize = 1 << 20;

/// Differing extents listed at most; the count of bytes stays exact.
const MOST_EXTENTS: usize = 1000;

/// The data of one member: what is compared with the others'.
#[derive(Clone)]
pub struct Span {
    /// The member.
    pub source: SharedSource,
    /// Its data, md's own metadata left out.
    pub data: Extent,
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

/// Sorts the members into mirror groups; one that mirrors no other is a group of one.
pub fn group(spans: &[Span]) -> Vec<Group> {
    let length = common_length(spans);
    let tally = Tally::sample(spans, length);
    let mut owner: Vec<usize> = (0..spans.len()).collect();
    for (a, b) in couples(spans.len()) {
        if tally.mirrors(a, b) {
            let (from, to) = (find(&owner, b), find(&owner, a));
            if let Some(slot) = owner.get_mut(from.max(to)) {
                *slot = from.min(to);
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for root in 0..spans.len() {
        let members: Vec<usize> = (0..spans.len())
            .filter(|m| find(&owner, *m) == root)
            .collect();
        if members.is_empty() {
            continue;
        }
        let inside = couples(spans.len())
            .filter(|(a, b)| members.contains(a) && members.contains(b))
            .map(|(a, b)| tally.get(a, b));
        let pages = inside.clone().map(|c| c.equal + c.differ).min();
        let share = inside.map(Couple::share).fold(1.0, f64::min);
        groups.push(Group {
            members,
            pages: pages.unwrap_or(0),
            share,
        });
    }
    groups
}

/// The root of `member` in a union-find forest whose links point to lower numbers.
pub(super) fn find(owner: &[usize], mut member: usize) -> usize {
    while let Some(&up) = owner.get(member) {
        if up == member {
            break;
        }
        member = up;
    }
    member
}

pub(super) fn couples(n: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

fn common_length(spans: &[Span]) -> Bytes {
    spans
        .iter()
        .map(|s| s.data.length)
        .min()
        .unwrap_or_default()
}

#[derive(Clone, Copy, Default)]
struct Couple {
    equal: u32,
    differ: u32,
}

impl Couple {
    fn share(self) -> f64 {
        f64::from(self.equal) / f64::from((self.equal + self.differ).max(1))
    }
}

/// For each two members, on how many pages they agree and differ.
struct Tally {
    n: usize,
    couples: Vec<Couple>,
}

impl Tally {
    fn sample(spans: &[Span], length: Bytes) -> Tally {
        let mut tally = Tally {
            n: spans.len(),
            couples: vec![Couple::default(); spans.len() * spans.len()],
        };
        let page_size = PAGE as u64;
        let stride = match length.0 {
            0..=WHOLE => page_size,
            long => long / SAMPLES / page_size * page_size,
        };
        let mut page = vec![0; PAGE];
        let mut at = 0;
        while at + page_size <= length.0 {
            let seen: Vec<Option<u64>> = spans
                .iter()
                .map(|span| hash_page(span, Bytes(at), &mut page))
                .collect();
            tally.count(&seen);
            at += stride;
        }
        tally
    }

    /// Counts one page: `None` unread, 0 constant, else a hash.
    fn count(&mut self, seen: &[Option<u64>]) {
        for (a, b) in couples(self.n) {
            let (Some(Some(x)), Some(Some(y))) = (seen.get(a), seen.get(b)) else {
                continue;
            };
            if let Some(couple) = self.couples.get_mut(a * self.n + b)
                && (*x, *y) != (0, 0)
            {
                match x == y {
                    true => couple.equal += 1,
                    false => couple.differ += 1,
                }
            }
        }
    }

    fn get(&self, a: usize, b: usize) -> Couple {
        let (a, b) = (a.min(b), a.max(b));
        self.couples
            .get(a * self.n + b)
            .copied()
            .unwrap_or_default()
    }

    fn mirrors(&self, a: usize, b: usize) -> bool {
        let couple = self.get(a, b);
        couple.equal >= FEWEST_PAGES && couple.share() >= MIRROR_SHARE
    }
}

fn hash_page(span: &Span, at: Bytes, page: &mut [u8]) -> Option<u64> {
    if !span.source.read_at(span.data.offset + at, page).is_none() {
        return None;
    }
    let first = page.first()?;
    if page.iter().all(|byte| byte == first) {
        return Some(0);
    }
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    Some(hasher.finish().max(1))
}

/// How the members of one group compare, byte by byte. Offsets count from the start of each member's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Bytes that all members have.
    pub common_bytes: Bytes,
    /// The first byte in which any two differ.
    pub first_difference: Option<Bytes>,
    /// Bytes in which any member differs from the first.
    pub differing_bytes: u64,
    /// The sectors that hold them, joined where they touch.
    pub differing_extents: Vec<Extent>,
    /// Whether more extents differ than are listed.
    pub more_extents: bool,
    /// What could not be read on some member: neither equal nor different.
    pub unread_extents: Vec<Extent>,
}

/// Compares the members of a group over their common length, all read once in step.
pub fn compare(spans: &[&Span], progress: &dyn Progress) -> Comparison {
    let length = spans
        .iter()
        .map(|s| s.data.length)
        .min()
        .unwrap_or_default();
    let mut result = Comparison {
        common_bytes: length,
        first_difference: None,
        differing_bytes: 0,
        differing_extents: Vec::new(),
        more_extents: false,
        unread_extents: Vec::new(),
    };
    let mut buffers = vec![vec![0; BLOCK]; spans.len()];
    let mut at = Bytes::ZERO;
    while at < length {
        let n = (length - at).to_len(BLOCK);
        let mut unread = Vec::new();
        for (span, buffer) in spans.iter().zip(&mut buffers) {
            let Some(block) = buffer.get_mut(..n) else {
                continue;
            };
            let start = span.data.offset + at;
            let gaps = span.source.read_at(start, block);
            unread.extend(
                gaps.extents()
                    .iter()
                    .map(|gap| Extent::new(at + (gap.offset - start), gap.length)),
            );
        }
        let unread = merge(unread);
        compare_block(&buffers, n, at, &unread, &mut result);
        result.unread_extents.extend(unread);
        progress.advance(n as u64 * spans.len() as u64);
        at = at + Bytes(n as u64);
    }
    result.unread_extents = merge(result.unread_extents);
    result
}

fn compare_block(
    buffers: &[Vec<u8>],
    n: usize,
    at: Bytes,
    unread: &[Extent],
    result: &mut Comparison,
) {
    let Some((first, others)) = buffers.split_first() else {
        return;
    };
    let first = first.get(..n).unwrap_or_default();
    if others.iter().all(|o| o.get(..n) == Some(first)) {
        return;
    }
    for (i, sector) in first.chunks(SECTOR_LEN).enumerate() {
        let from = i * SECTOR_LEN;
        let here = Extent::new(at + Bytes(from as u64), len_of(sector));
        let mut differs = vec![false; sector.len()];
        for other in others {
            let theirs = other.get(from..from + sector.len()).unwrap_or_default();
            if sector != theirs {
                for ((flag, a), b) in differs.iter_mut().zip(sector).zip(theirs) {
                    *flag |= a != b;
                }
            }
        }
        for gap in unread.iter().filter_map(|u| u.overlap(here)) {
            let start = (gap.offset - here.offset).to_len(sector.len());
            let end = (gap.end() - here.offset).to_len(sector.len());
            differs.get_mut(start..end).unwrap_or_default().fill(false);
        }
        let Some(offset) = differs.iter().position(|d| *d) else {
            continue;
        };
        result.differing_bytes += differs.iter().filter(|d| **d).count() as u64;
        result
            .first_difference
            .get_or_insert(here.offset + Bytes(offset as u64));
        push_extent(result, here);
    }
}

fn push_extent(result: &mut Comparison, sector: Extent) {
    let full = result.differing_extents.len() >= MOST_EXTENTS;
    match result.differing_extents.last_mut() {
        Some(last) if last.end() == sector.offset => {
            last.length = last.length + sector.length;
        }
        _ if full => result.more_extents = true,
        _ => result.differing_extents.push(sector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::progress::Silent;
    use crate::image::{Memory, Source};
    use std::sync::Arc;

    /// Pages that differ from page to page and from seed to seed; every third is zeros, as on a real disk.
    fn data(seed: u8, pages: usize) -> Vec<u8> {
        let mut bytes = vec![0; pages * PAGE];
        for (i, page) in bytes.chunks_mut(PAGE).enumerate() {
            if i % 3 != 0 {
                for (j, byte) in page.iter_mut().enumerate() {
                    *byte = (i * 31 + j * usize::from(seed) + usize::from(seed)) as u8;
                }
            }
        }
        bytes
    }

    fn span(memory: Memory) -> Span {
        let data = Extent::new(Bytes::ZERO, memory.len());
        Span {
            source: Arc::new(memory),
            data,
        }
    }

    /// Zeros are equal on all disks: taken for evidence they would make one big mirror of everything.
    #[test]
    fn groups_rest_on_what_is_not_constant() {
        let spans: Vec<Span> = [1, 2, 1, 3, 2]
            .iter()
            .map(|seed| span(Memory::new("m", data(*seed, 60))))
            .collect();
        let members: Vec<Vec<usize>> = group(&spans).into_iter().map(|g| g.members).collect();
        assert_eq!(members, [vec![0, 2], vec![1, 4], vec![3]]);
        let empty: Vec<Span> = (0..3)
            .map(|_| span(Memory::new("z", vec![0; 60 * PAGE])))
            .collect();
        assert_eq!(group(&empty).len(), 3);
    }

    /// The count is what a person decides by; unread bytes counted as zeros would be thousands of false differences.
    #[test]
    fn differences_are_counted_exactly_and_unread_bytes_are_none() {
        let a = data(1, 600);
        let mut b = a.clone();
        b[PAGE + 5] ^= 1;
        b[PAGE + 600] ^= 1;
        b[2 * PAGE] ^= 1;
        b[500 * PAGE + 4095] ^= 1;
        b[501 * PAGE] ^= 1;
        let gap = Extent::new(Bytes(2 * PAGE as u64), Bytes(512));
        let (a, b) = (
            span(Memory::new("a", a)),
            span(Memory::new("b", b).with_unread(gap)),
        );
        let result = compare(&[&a, &b], &Silent);
        let sector =
            |page: u64, s: u64, n: u64| Extent::new(Bytes(page * 4096 + s * 512), Bytes(n * 512));
        assert_eq!(result.first_difference, Some(Bytes(4096 + 5)));
        assert_eq!(result.differing_bytes, 4);
        assert_eq!(
            result.differing_extents,
            [sector(1, 0, 2), sector(500, 7, 2)]
        );
        assert_eq!(result.unread_extents, [gap]);
        assert_eq!(result.common_bytes, Bytes(600 * 4096));
    }
}
