//! Members of one mirror group byte by byte, all read once in step.
//!
//! Each member has one reader at a time, who reads it in order, so that a disk streams; while one block is compared the
//! next ones are being read, of all members. A worker takes a block through all members in turn and compares it where
//! it was read, in its core's own cache. Holes that all members have are skipped. Bytes that could not be read neither
//! match nor differ.

use super::compare_block::{Block, PagePair, compare_block};
use super::pairs::{Span, common_length};
use super::regions::{Class, Regions};
use crate::image::progress::Progress;
use crate::units::{Bytes, Extent, merge};
use serde::Serialize;
use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes of each member read at a time: measured, blocks of two members must fit a core's cache, and smaller ones cost more
/// in handing on the turn than they save.
pub(super) const BLOCK: usize = 512 << 10;

/// The least, with many members.
const LEAST_BLOCK: usize = 64 << 10;

/// Bytes of all buffers together.
const MEMORY: usize = 48 << 20;

/// Workers at most: so many members are read at the same time.
const MOST_WORKERS: usize = 16;

/// Differing extents listed at most; the counts stay exact.
const MOST_EXTENTS: usize = 1000;

/// What a page's content is judged by.
pub(super) const PAGE: usize = 4096;

/// One run of sectors that hold differing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// The sectors.
    #[serde(flatten)]
    pub extent: Extent,
    /// Bytes in them that differ.
    pub bytes: u64,
    /// What lies there.
    pub class: Class,
}

/// All differences of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClassTotal {
    /// The class.
    pub class: Class,
    /// Runs of sectors.
    pub extents: u64,
    /// Differing bytes.
    pub bytes: u64,
}

/// How the members of one group compare, byte by byte. Offsets count from the start of each member's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Bytes that all members have.
    pub common_bytes: Bytes,
    /// Bytes of those that were compared: less where only a sample was asked for, or some could not be read.
    pub compared_bytes: Bytes,
    /// The first byte in which any two differ.
    pub first_difference: Option<Bytes>,
    /// Bytes in which any two differ.
    pub differing_bytes: u64,
    /// For each member, bytes in which it differs from the first.
    pub differing_from_first: Vec<u64>,
    /// The sectors that hold differing bytes, joined where they touch and are of one class.
    pub differing_extents: Vec<Differing>,
    /// How many of those there are, listed or not.
    pub differing_extent_count: u64,
    /// Whether more extents differ than are listed.
    pub more_extents: bool,
    /// The differences by what lies there.
    pub classes: Vec<ClassTotal>,
    /// What could not be read on some member: neither equal nor different.
    pub unread_extents: Vec<Extent>,
    /// Bytes of those.
    pub unread_bytes: u64,
    /// For two members: how pages agree before and behind the first difference.
    #[serde(skip)]
    pub profile: Profile,
}

/// Pages of two members, counted before and behind the first that differs. Pages that are constant on both and equal
/// tell nothing and are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Pages before it that are equal.
    pub equal_before: u64,
    /// End of the last of those: up to here the copy has certainly come.
    pub last_equal_before: Bytes,
    /// Pages behind it that are equal.
    pub equal_behind: u64,
    /// Pages behind it, itself among them, that differ and are constant on neither.
    pub both_behind: u64,
    /// Those that are constant on the second only.
    pub first_only_behind: u64,
    /// Those that are constant on the first only.
    pub second_only_behind: u64,
}

/// Whose turn it is, block by block.
#[derive(Default)]
struct Turn {
    next: Mutex<u64>,
    changed: Condvar,
}

impl Turn {
    /// Does `work` when all blocks before `ticket` have been here.
    fn take<T>(&self, ticket: u64, work: impl FnOnce() -> T) -> T {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.changed.wait_while(next, |next| *next != ticket);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
        let result = work();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = ticket + 1;
        self.changed.notify_all();
        result
    }
}

/// Hands out the blocks to compare, in order, without holes that all members have.
struct Blocks<'a> {
    spans: &'a [&'a Span],
    windows: &'a [Extent],
    block: usize,
    window: usize,
    at: Bytes,
    ticket: u64,
    /// For each member the data around or behind `at`; `None` for none left.
    data: Vec<Option<Extent>>,
    skipped: Bytes,
    /// What some member does not hold at all.
    absent: Vec<Extent>,
}

impl Blocks<'_> {
    fn next(&mut self) -> Option<(u64, Extent)> {
        loop {
            let window = *self.windows.get(self.window)?;
            let at = self.at.max(window.offset);
            if at >= window.end() {
                self.window += 1;
                continue;
            }
            if let Some(end) = self.behind_absent(at).filter(|end| *end > at) {
                self.at = end.min(window.end());
                self.absent.push(Extent::new(at, self.at - at));
                continue;
            }
            let data = self.next_data(at).min(window.end());
            if data > at {
                self.skipped = self.skipped + (data - at);
                self.at = data;
                continue;
            }
            let length = (window.end() - at).min(Bytes(self.block as u64));
            self.at = at + length;
            self.ticket += 1;
            return Some((self.ticket - 1, Extent::new(at, length)));
        }
    }

    /// Where a member holds something again that holds nothing at `at`, in whole pages.
    fn behind_absent(&self, at: Bytes) -> Option<Bytes> {
        let absent = |span: &&Span| {
            let absent = span.source.absent(span.data.offset + at)?;
            let end = absent.end() - span.data.offset;
            Some(Bytes(end.0 / PAGE as u64 * PAGE as u64))
        };
        self.spans.iter().find_map(absent)
    }

    /// The first place from `at` on where any member may hold data, in whole pages.
    fn next_data(&mut self, at: Bytes) -> Bytes {
        let mut first = Bytes(u64::MAX);
        for (span, data) in self.spans.iter().zip(&mut self.data) {
            if data.is_some_and(|d| d.end() <= at) {
                let inside = span.source.next_data(span.data.offset + at);
                *data = inside.map(|d| Extent::new(d.offset - span.data.offset, d.length));
            }
            if let Some(data) = data {
                first = first.min(data.offset.max(at));
            }
        }
        Bytes(first.0 / PAGE as u64 * PAGE as u64).max(at)
    }
}

/// Compares the members of a group within `windows` of their common length; `None` for all of it.
pub fn compare(
    spans: &[&Span],
    windows: Option<&[Extent]>,
    regions: &Regions,
    progress: &dyn Progress,
) -> Comparison {
    let length = common_length(spans);
    let whole = [Extent::new(Bytes::ZERO, length)];
    let cut = |w: &Extent| w.overlap(Extent::new(Bytes::ZERO, length));
    let windows = merge(windows.unwrap_or(&whole).iter().filter_map(cut).collect());
    let n = spans.len().max(1);
    // As many as there are disks to read at once; comparing takes less than a tenth of the time that a disk does.
    let workers = n.min(MOST_WORKERS).min(MEMORY / (n * LEAST_BLOCK)).max(1);
    let block = (MEMORY / (n * workers) / PAGE * PAGE).clamp(LEAST_BLOCK, BLOCK);
    let blocks = Mutex::new(Blocks {
        spans,
        windows: &windows,
        block,
        window: 0,
        at: Bytes::ZERO,
        ticket: 0,
        data: vec![Some(Extent::default()); spans.len()],
        skipped: Bytes::ZERO,
        absent: Vec::new(),
    });
    let readers: Vec<Turn> = spans.iter().map(|_| Turn::default()).collect();
    let (last, merged) = (Turn::default(), Mutex::new(Merged::new(spans.len())));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut buffers = vec![vec![0; block]; spans.len()];
                loop {
                    let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((ticket, extent)) = next else {
                        return;
                    };
                    let unread = read(spans, &readers, ticket, extent, &mut buffers);
                    let found = compare_block(&mut buffers, extent, unread, regions);
                    last.take(ticket, || {
                        let mut merged = merged.lock().unwrap_or_else(PoisonError::into_inner);
                        merged.add(extent, found);
                    });
                    progress.advance(extent.length.0 * spans.len() as u64);
                }
            });
        }
    });
    let blocks = blocks.into_inner();
    let blocks = blocks.unwrap_or_else(PoisonError::into_inner);
    let mut merged = merged.into_inner().unwrap_or_else(PoisonError::into_inner);
    merged.unread.extend(blocks.absent);
    merged.unread = merge(merged.unread);
    merged.finish(length, blocks.skipped)
}

/// Reads one block of every member, each when its reader has come to it; what could not be read, from the data's start.
fn read(
    spans: &[&Span],
    readers: &[Turn],
    ticket: u64,
    extent: Extent,
    buffers: &mut [Vec<u8>],
) -> Vec<Extent> {
    let mut unread = Vec::new();
    for ((span, reader), buffer) in spans.iter().zip(readers).zip(buffers) {
        let bytes = buffer
            .get_mut(..extent.length.to_len(BLOCK))
            .unwrap_or_default();
        let start = span.data.offset + extent.offset;
        let gaps = reader.take(ticket, || span.source.read_at(start, bytes));
        let lost = gaps.extents().iter();
        unread
            .extend(lost.map(|gap| Extent::new(extent.offset + (gap.offset - start), gap.length)));
    }
    merge(unread)
}

/// The blocks' results, put together in order.
struct Merged {
    compared: Bytes,
    first: Option<Bytes>,
    bytes: u64,
    from_first: Vec<u64>,
    /// The run that may still grow.
    open: Option<Differing>,
    listed: Vec<Differing>,
    count: u64,
    classes: Vec<ClassTotal>,
    unread: Vec<Extent>,
    profile: Profile,
}

impl Merged {
    fn new(members: usize) -> Merged {
        Merged {
            compared: Bytes::ZERO,
            first: None,
            bytes: 0,
            from_first: vec![0; members],
            open: None,
            listed: Vec::new(),
            count: 0,
            classes: Vec::new(),
            unread: Vec::new(),
            profile: Profile::default(),
        }
    }

    fn add(&mut self, extent: Extent, block: Block) {
        let unread: u64 = block.unread.iter().map(|e| e.length.0).sum();
        self.compared = self.compared + (extent.length - Bytes(unread));
        self.first = self.first.or(block.first);
        self.pages(extent.offset, &block.pages);
        for (total, more) in self.from_first.iter_mut().zip(block.from_first) {
            *total += more;
        }
        for run in block.runs {
            self.bytes += run.bytes;
            match &mut self.open {
                Some(open) if open.extent.end() == run.extent.offset && open.class == run.class => {
                    open.extent.length = open.extent.length + run.extent.length;
                    open.bytes += run.bytes;
                }
                _ => {
                    self.close();
                    self.open = Some(run);
                }
            }
        }
        if !block.unread.is_empty() {
            self.unread.extend(block.unread);
            self.unread = merge(std::mem::take(&mut self.unread));
        }
    }

    fn pages(&mut self, at: Bytes, pages: &[PagePair]) {
        let mut end = at;
        for page in pages {
            end = end + Bytes(PAGE as u64);
            let profile = &mut self.profile;
            let behind = self.first.is_some_and(|first| first < end);
            match page {
                PagePair::Silent => {}
                PagePair::Equal if behind => profile.equal_behind += 1,
                PagePair::Equal => {
                    profile.equal_before += 1;
                    profile.last_equal_before = end;
                }
                PagePair::Both => profile.both_behind += 1,
                PagePair::FirstOnly => profile.first_only_behind += 1,
                PagePair::SecondOnly => profile.second_only_behind += 1,
            }
        }
    }

    /// The open run is whole: it is counted, and listed while there is room.
    fn close(&mut self) {
        let Some(run) = self.open.take() else {
            return;
        };
        self.count += 1;
        if self.listed.len() < MOST_EXTENTS {
            self.listed.push(run);
        }
        let total = self.classes.iter_mut().find(|t| t.class == run.class);
        match total {
            Some(total) => {
                total.extents += 1;
                total.bytes += run.bytes;
            }
            None => self.classes.push(ClassTotal {
                class: run.class,
                extents: 1,
                bytes: run.bytes,
            }),
        }
    }

    fn finish(mut self, length: Bytes, skipped: Bytes) -> Comparison {
        self.close();
        self.classes.sort_by_key(|t| t.class);
        Comparison {
            common_bytes: length,
            compared_bytes: self.compared + skipped,
            first_difference: self.first,
            differing_bytes: self.bytes,
            differing_from_first: self.from_first,
            more_extents: self.count > self.listed.len() as u64,
            differing_extents: self.listed,
            differing_extent_count: self.count,
            classes: self.classes,
            unread_bytes: self.unread.iter().map(|e| e.length.0).sum(),
            unread_extents: self.unread,
            profile: self.profile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pairs::tests::{PAGE, data, span};
    use super::*;
    use crate::image::Memory;
    use crate::image::progress::Silent;

    fn all(spans: &[&Span]) -> Comparison {
        compare(spans, None, &Regions::default(), &Silent)
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
        let result = all(&[&a, &b]);
        let sector =
            |page: u64, s: u64, n: u64| Extent::new(Bytes(page * 4096 + s * 512), Bytes(n * 512));
        let extents: Vec<Extent> = result.differing_extents.iter().map(|d| d.extent).collect();
        assert_eq!(result.first_difference, Some(Bytes(4096 + 5)));
        assert_eq!(result.differing_bytes, 4);
        assert_eq!(extents, [sector(1, 0, 2), sector(500, 7, 2)]);
        assert_eq!(
            (result.unread_extents.as_slice(), result.unread_bytes),
            (&[gap][..], 512)
        );
        assert_eq!(result.common_bytes, Bytes(600 * 4096));
        assert_eq!(result.compared_bytes, Bytes(600 * 4096 - 512));
    }

    /// With several members a byte that two of them have changed counts once, and each one's own count says who stands
    /// alone; blocks must come together in order however the workers run.
    #[test]
    fn many_members_count_each_byte_once() {
        let base = data(7, 700);
        let mut members = vec![base.clone(); 5];
        let mut truth = std::collections::BTreeSet::new();
        for (member, step) in [(1, 9973), (3, 4099), (4, 9973)] {
            for at in (step..base.len()).step_by(step) {
                members[member][at] ^= 0x55;
                truth.insert(at);
            }
        }
        let spans: Vec<Span> = members
            .iter()
            .map(|m| span(Memory::new("m", m.clone())))
            .collect();
        let spans: Vec<&Span> = spans.iter().collect();
        let result = all(&spans);
        assert_eq!(result.differing_bytes, truth.len() as u64);
        assert_eq!(result.first_difference, Some(Bytes(4099)));
        let changed = |step: usize| ((base.len() - 1) / step) as u64;
        assert_eq!(
            result.differing_from_first,
            [0, changed(9973), 0, changed(4099), changed(9973)]
        );
        let listed: u64 = result.differing_extents.iter().map(|d| d.bytes).sum();
        assert_eq!(
            listed, result.differing_bytes,
            "{} extents",
            result.differing_extent_count
        );
        let classes: u64 = result.classes.iter().map(|t| t.extents).sum();
        assert_eq!(classes, result.differing_extent_count);
    }
}
