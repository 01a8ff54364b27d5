//! One block of all members of a mirror group compared: which bytes differ, in what, and how its pages are to each other.

use super::compare::{BLOCK, Differing, PAGE};
use super::regions::{Class, Regions, of_content};
use crate::parse::is_blank;
use crate::units::{Bytes, Extent, SECTOR_LEN};

/// What one block gives.
#[derive(Default)]
pub(super) struct Block {
    pub(super) runs: Vec<Differing>,
    pub(super) first: Option<Bytes>,
    pub(super) from_first: Vec<u64>,
    pub(super) unread: Vec<Extent>,
    pub(super) pages: Vec<PagePair>,
}

/// How a page is on the first and on the second of two members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PagePair {
    Silent,
    Equal,
    Both,
    FirstOnly,
    SecondOnly,
}

/// Compares one block of all members, read into `buffers`; what is unread on any of them neither matches nor differs.
pub(super) fn compare_block(
    buffers: &mut [Vec<u8>],
    extent: Extent,
    unread: Vec<Extent>,
    regions: &Regions,
) -> Block {
    let n = extent.length.to_len(BLOCK);
    // What is unread on one is made equal on all.
    for gap in unread.iter().filter_map(|gap| gap.overlap(extent)) {
        let (from, to) = (
            (gap.offset - extent.offset).to_len(n),
            (gap.end() - extent.offset).to_len(n),
        );
        for buffer in buffers.iter_mut() {
            buffer.get_mut(from..to).unwrap_or_default().fill(0);
        }
    }
    let mut found = Block {
        from_first: vec![0; buffers.len()],
        unread,
        ..Block::default()
    };
    let members: Vec<&[u8]> = buffers
        .iter()
        .map(|b| b.get(..n).unwrap_or_default())
        .collect();
    let Some((first, others)) = members.split_first() else {
        return found;
    };
    let differ: Vec<(usize, &[u8])> = others
        .iter()
        .enumerate()
        .filter(|(_, other)| *other != first)
        .map(|(i, other)| (i + 1, *other))
        .collect();
    if let [second] = others {
        found.pages = pages(first, second, differ.is_empty());
    }
    if differ.is_empty() {
        return found;
    }
    let mut content = Content::default();
    for (i, sector) in first.chunks(SECTOR_LEN).enumerate() {
        let from = i * SECTOR_LEN;
        let bytes = sector_differs(sector, from, &differ, &mut found.from_first);
        if bytes == 0 {
            continue;
        }
        let here = Extent::new(
            extent.offset + Bytes(from as u64),
            Bytes(sector.len() as u64),
        );
        if found.first.is_none() {
            let at = |other: &[u8]| {
                let theirs = other.get(from..).unwrap_or_default();
                sector.iter().zip(theirs).position(|(a, b)| a != b)
            };
            let at = differ.iter().filter_map(|(_, other)| at(other)).min();
            found.first = Some(here.offset + Bytes(at.unwrap_or(0) as u64));
        }
        let class = regions
            .class(here.offset)
            .unwrap_or_else(|| content.class(&members, from));
        push(
            &mut found.runs,
            Differing {
                extent: here,
                bytes,
                class,
            },
        );
    }
    found
}

/// Bytes of one sector in which any member differs; each member's own are added to `from_first`.
fn sector_differs(
    sector: &[u8],
    from: usize,
    differ: &[(usize, &[u8])],
    from_first: &mut [u64],
) -> u64 {
    let mut any = [0_u8; SECTOR_LEN];
    let (mut members, mut bytes) = (0, 0);
    for (member, other) in differ {
        let theirs = other.get(from..from + sector.len()).unwrap_or_default();
        if theirs == sector {
            continue;
        }
        members += 1;
        bytes = differing(sector, theirs, &mut any);
        if let Some(total) = from_first.get_mut(*member) {
            *total += bytes;
        }
    }
    // One member that differs: its bytes are all.
    match members {
        0 | 1 => bytes,
        _ => count(&any),
    }
}

/// Ones in a sector of ones and zeros: in pieces whose sum fits a byte, which the compiler makes vectors of.
fn count(flags: &[u8]) -> u64 {
    let sum = |piece: &[u8]| piece.iter().fold(0_u8, |sum, flag| sum.wrapping_add(*flag));
    flags.chunks(128).map(|piece| u64::from(sum(piece))).sum()
}

/// How many bytes differ, and a one in `any` for each of them.
fn differing(a: &[u8], b: &[u8], any: &mut [u8]) -> u64 {
    let mut sum = 0;
    for ((a, b), any) in a.chunks(128).zip(b.chunks(128)).zip(any.chunks_mut(128)) {
        let mut piece = 0_u8;
        for ((a, b), flag) in a.iter().zip(b).zip(any) {
            let differs = u8::from(a != b);
            *flag |= differs;
            piece = piece.wrapping_add(differs);
        }
        sum += u64::from(piece);
    }
    sum
}

/// Members, besides the first, whose page is asked what it is where it differs: of many mirrors most hold the same kind.
const OTHERS_ASKED: usize = 2;

/// The class of the page looked at last.
#[derive(Default)]
struct Content(Option<(usize, Class)>);

impl Content {
    fn class(&mut self, members: &[&[u8]], from: usize) -> Class {
        let page = from / PAGE * PAGE;
        if let Some((at, class)) = self.0
            && at == page
        {
            return class;
        }
        let mut pages = members
            .iter()
            .filter_map(|m| m.get(page..(page + PAGE).min(m.len())));
        let first = pages.next();
        let others = pages
            .filter(|other| first != Some(other))
            .take(OTHERS_ASKED);
        let mut asked = first.into_iter().chain(others);
        let class = asked.find_map(of_content).unwrap_or(Class::Data);
        self.0 = Some((page, class));
        class
    }
}

/// How the pages of two members are to each other; `equal` where it is known that all are.
fn pages(first: &[u8], second: &[u8], equal: bool) -> Vec<PagePair> {
    let pair = |(a, b): (&[u8], &[u8])| match (equal || a == b, is_blank(a)) {
        (true, true) => PagePair::Silent,
        (true, false) => PagePair::Equal,
        (false, constant) => match (constant, is_blank(b)) {
            (true, true) => PagePair::Silent,
            (true, false) => PagePair::SecondOnly,
            (false, true) => PagePair::FirstOnly,
            (false, false) => PagePair::Both,
        },
    };
    first
        .chunks(PAGE)
        .zip(second.chunks(PAGE))
        .map(pair)
        .collect()
}

/// Joins a run to the one before where they touch and are of one class.
pub(super) fn push(runs: &mut Vec<Differing>, run: Differing) {
    match runs.last_mut() {
        Some(last) if last.extent.end() == run.extent.offset && last.class == run.class => {
            last.extent.length = last.extent.length + run.extent.length;
            last.bytes += run.bytes;
        }
        _ => runs.push(run),
    }
}
