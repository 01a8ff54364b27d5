//! One front-to-back pass over a source: read in order by one hand at a time, searched by several.
//!
//! A disk is fastest when one reader asks for one block after the other, and a
//! program when no block is handed from one core to another. So the workers
//! share a pen: who holds it reads the next block into its own buffer, gives
//! the pen on, and searches what it has read while the next one reads. Where
//! the bytes are hashed too, the worker takes the hash before it lets go of
//! the pen, so that blocks are hashed in their order while the next is read.
//!
//! Blocks are small enough for a core's own cache: what was just read is
//! searched from there. What comes out arrives at the caller in the order of
//! the source.

use super::{Gaps, Source};
use crate::units::{Bytes, Extent};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Bytes read at a time: few enough that a block stays in a core's cache between reading and searching, and that ten
/// disks at once need no more than 30 MiB.
pub const BLOCK: usize = 1 << 20;

/// Answers that wait for the caller; a slow caller holds the workers up instead of filling the memory.
const WAITING: usize = 16;

/// How a pass goes over its source.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where it starts: 0, or where an earlier pass stopped.
    pub from: Bytes,
    /// Bytes before each block that the search sees again, so that nothing is cut between two blocks.
    pub overlap: usize,
    /// The hash of all before [`Plan::from`], where all bytes are to be hashed; gaps and holes as zeros.
    pub hash: Option<Sha256>,
    /// Bytes a second at most.
    pub limit: Option<NonZeroU64>,
}

/// What a search is given: a block and the end of the one before.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// [`Window::carried`] bytes of the block before, then the block.
    pub bytes: &'a [u8],
    /// How many bytes were seen with the block before.
    pub carried: usize,
    /// Where the block starts in the source.
    pub at: Bytes,
}

impl Window<'_> {
    /// Where in the source a byte of the window lies.
    pub fn place(&self, index: usize) -> Bytes {
        Bytes((self.at.0 + index as u64).saturating_sub(self.carried as u64))
    }

    /// The block alone.
    pub fn block(&self) -> &[u8] {
        self.bytes.get(self.carried..).unwrap_or_default()
    }
}

/// What one block gave.
#[derive(Debug)]
pub struct Passed<T> {
    /// The block, with the hole before it where one was skipped.
    pub extent: Extent,
    /// What of it could not be read.
    pub gaps: Gaps,
    /// What the search found.
    pub found: T,
    /// The hash of all bytes up to the end of the block, where it was asked for.
    pub hash: Option<Sha256>,
}

/// The one place that reading goes on from.
struct Pen<'a> {
    source: &'a dyn Source,
    /// Counts blocks.
    next: u64,
    at: Bytes,
    /// Where the pass ends.
    end: Bytes,
    /// The run of data that `at` lies in or before; empty before the first question.
    data: Extent,
    /// The last bytes before `at`.
    tail: Vec<u8>,
    limit: Option<Limit>,
}

/// A block as it left the pen.
struct Taken {
    number: u64,
    extent: Extent,
    /// Bytes skipped before the block: a hole, or what nothing holds.
    hole: Bytes,
    gaps: Gaps,
    carried: usize,
    length: usize,
}

impl Taken {
    /// The block in the buffer that it was read into.
    fn window<'b>(&self, buf: &'b [u8]) -> Window<'b> {
        Window {
            bytes: buf.get(..self.carried + self.length).unwrap_or_default(),
            carried: self.carried,
            at: self.extent.offset + self.hole,
        }
    }
}

impl<'a> Pen<'a> {
    /// Before the first block of `extent`, the `overlap` bytes before it read where there are any.
    fn new(source: &'a dyn Source, extent: Extent, overlap: usize) -> Pen<'a> {
        let mut tail = vec![0; overlap];
        let before = extent.offset.to_len(overlap);
        if let Some(slot) = tail.get_mut(overlap - before..) {
            // Unread bytes are zeros here; the pass that went over them has counted them.
            let _ = source.read_at(extent.offset - Bytes(before as u64), slot);
        }
        Pen {
            source,
            next: 0,
            at: extent.offset,
            end: extent.end().min(source.len()),
            data: Extent::default(),
            tail,
            limit: None,
        }
    }

    /// Reads the next block behind its carried bytes into `buf`; `None` at the end of the source.
    fn take(&mut self, buf: &mut [u8]) -> Option<Taken> {
        if self.at >= self.end {
            return None;
        }
        let start = self.at;
        let mut lost = Gaps::none();
        let from = match self.source.absent(start) {
            Some(absent) if absent.length >= Bytes(BLOCK as u64) => {
                let from = absent.end().min(self.end);
                lost = Gaps::one(Extent::new(start, from - start));
                from
            }
            _ => self.behind_the_hole(),
        };
        let hole = from - start;
        if hole > Bytes::ZERO {
            self.tail.fill(0);
        }
        let carried = self.tail.len();
        let length = (self.end - from).to_len(BLOCK);
        buf.get_mut(..carried)?.copy_from_slice(&self.tail);
        let block = buf.get_mut(carried..carried + length)?;
        let mut gaps = self.source.read_at(from, block);
        gaps.add(lost);
        let seen = buf.get(..carried + length)?;
        let keep = seen.len().saturating_sub(self.tail.len());
        self.tail.copy_from_slice(seen.get(keep..)?);
        self.at = from + Bytes(length as u64);
        if let Some(limit) = &mut self.limit {
            limit.spend(length as u64);
        }
        self.next += 1;
        Some(Taken {
            number: self.next - 1,
            extent: Extent::new(start, self.at - start),
            hole,
            gaps,
            carried,
            length,
        })
    }

    /// Where the next block starts: here, or behind a hole of at least a block; the end where only holes are left.
    fn behind_the_hole(&mut self) -> Bytes {
        if self.at >= self.data.end() {
            self.data = match self.source.next_data(self.at) {
                Some(data) if data.end() > self.at => data,
                Some(_) => Extent::new(self.at, self.end - self.at),
                None => return self.end,
            };
        }
        match self.data.offset - self.at >= Bytes(BLOCK as u64) {
            true => {
                let block = self.data.offset.0 / BLOCK as u64 * BLOCK as u64;
                Bytes(block).max(self.at).min(self.end)
            }
            false => self.at,
        }
    }
}

/// A rate that is not passed: what was read too early is waited for.
struct Limit {
    rate: NonZeroU64,
    since: Instant,
    spent: u64,
}

impl Limit {
    fn spend(&mut self, bytes: u64) {
        self.spent = self.spent.saturating_add(bytes);
        #[allow(clippy::cast_precision_loss)] // a waiting time
        let due = Duration::from_secs_f64(self.spent as f64 / self.rate.get() as f64);
        if let Some(early) = due.checked_sub(self.since.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// Goes over `source` as planned, searches every block, and hands what was found to `each` in the source's order.
///
/// Holes of a block and more are not read: they hold nothing to be found.
pub fn run<T: Send>(
    source: &dyn Source,
    plan: Plan,
    search: &(dyn Fn(Window<'_>) -> T + Sync),
    each: &mut dyn FnMut(Passed<T>),
) {
    let hashing = plan.hash.is_some();
    let rest = Extent::new(plan.from, source.len() - plan.from);
    let mut pen = Pen::new(source, rest, plan.overlap);
    pen.limit = plan.limit.map(|rate| Limit {
        rate,
        since: Instant::now(),
        spent: 0,
    });
    let pen = Mutex::new(pen);
    let hash = Mutex::new(plan.hash);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.clamp(1, 2) + usize::from(hashing);
    let (send, receive) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let send = send.clone();
            let (pen, hash) = (&pen, &hash);
            scope.spawn(move || work((source, pen), hash, plan.overlap, search, &send));
        }
        drop(send);
        let mut early: BTreeMap<u64, Passed<T>> = BTreeMap::new();
        let mut next = 0;
        for (number, passed) in receive {
            early.insert(number, passed);
            while let Some(passed) = early.remove(&next) {
                next += 1;
                each(passed);
            }
        }
    });
}

/// Goes over one extent of `source`, here and now, without workers: what is worth it for a few MiB.
pub fn look<T>(
    source: &dyn Source,
    extent: Extent,
    overlap: usize,
    search: &dyn Fn(Window<'_>) -> T,
    each: &mut dyn FnMut(Passed<T>),
) {
    let mut pen = Pen::new(source, extent, overlap);
    let mut buf = vec![0; overlap + extent.length.to_len(BLOCK)];
    while let Some(taken) = pen.take(&mut buf) {
        let found = search(taken.window(&buf));
        each(Passed {
            extent: taken.extent,
            gaps: taken.gaps,
            found,
            hash: None,
        });
    }
}

/// One worker: takes blocks, hashes and searches them, until there are no more.
fn work<T>(
    (source, pen): (&dyn Source, &Mutex<Pen<'_>>),
    hash: &Mutex<Option<Sha256>>,
    overlap: usize,
    search: &(dyn Fn(Window<'_>) -> T + Sync),
    send: &SyncSender<(u64, Passed<T>)>,
) {
    let mut buf = vec![0; overlap + BLOCK];
    loop {
        let Ok(mut held) = pen.lock() else { return };
        let Some(taken) = held.take(&mut buf) else {
            return;
        };
        // The hash is taken before the pen is given on: who reads first hashes first.
        let Ok(mut hash) = hash.lock() else { return };
        drop(held);
        let window = taken.window(&buf);
        let so_far = hash.as_mut().map(|hash| {
            zeros(hash, taken.hole);
            hash.update(window.block());
            hash.clone()
        });
        drop(hash);
        let passed = Passed {
            extent: taken.extent,
            gaps: taken.gaps,
            found: search(window),
            hash: so_far,
        };
        source.let_go(taken.extent);
        if send.send((taken.number, passed)).is_err() {
            return;
        }
    }
}

/// Hashes a hole: `length` zeros.
fn zeros(hash: &mut Sha256, length: Bytes) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut left = length.0;
    while left > 0 {
        let n = Bytes(left).to_len(ZEROS.len());
        hash.update(ZEROS.get(..n).unwrap_or_default());
        left -= n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// A source of data runs with holes between them, which refuses to be read inside a hole.
    struct Holey {
        inner: Memory,
        data: Vec<Extent>,
    }

    impl Source for Holey {
        fn name(&self) -> &str {
            "holey"
        }
        fn len(&self) -> Bytes {
            self.inner.len()
        }
        fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
            self.inner.read_at(at, buf)
        }
        fn next_data(&self, at: Bytes) -> Option<Extent> {
            let mut later = self.data.iter().filter(|d| d.end() > at);
            later.next().map(|d| {
                let from = d.offset.max(at);
                Extent::new(from, d.end() - from)
            })
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    /// Blocks out of order, one lost or one hashed twice: an evidence hash that nobody else can reproduce.
    #[test]
    fn every_byte_passes_once_in_order_and_is_hashed() {
        let bytes = noise(5 * BLOCK + 777);
        let source = Memory::new("m", bytes.clone());
        let plan = Plan {
            overlap: 9,
            hash: Some(Sha256::new()),
            ..Plan::default()
        };
        let (mut all, mut last) = (Vec::new(), None);
        run(
            &source,
            plan,
            &|window| (window.block().to_vec(), window.bytes.len()),
            &mut |passed| {
                assert_eq!(passed.extent.offset, Bytes(all.len() as u64));
                all.extend(passed.found.0);
                last = passed.hash;
            },
        );
        assert!(all == bytes);
        assert_eq!(last.unwrap().finalize(), Sha256::digest(&bytes));
    }

    /// Going on from the middle must end with the hash of the whole, and see a needle that lies across the border.
    #[test]
    fn a_pass_goes_on_where_another_stopped() {
        let bytes = noise(3 * BLOCK);
        let source = Memory::new("m", bytes.clone());
        let mut at_block = Vec::new();
        let plan = Plan {
            hash: Some(Sha256::new()),
            ..Plan::default()
        };
        run(&source, plan, &|_| (), &mut |p| {
            at_block.push((p.extent.end(), p.hash));
        });
        let (from, hash) = at_block.remove(0);
        let plan = Plan {
            from,
            overlap: 5,
            hash,
            limit: None,
        };
        let mut seen = Vec::new();
        let mut last = None;
        run(
            &source,
            plan,
            &|window| window.bytes.get(..window.carried).unwrap().to_vec(),
            &mut |p| {
                seen.push((p.extent.offset.to_len(usize::MAX), p.found));
                last = p.hash;
            },
        );
        for (at, carried) in seen {
            assert_eq!(carried, bytes[at - 5..at]);
        }
        assert_eq!(last.unwrap().finalize(), Sha256::digest(&bytes));
    }

    /// A hole that is read costs the time of a disk that is not there; a hole whose zeros are left out of the hash
    /// gives a hash that no other tool gives.
    #[test]
    fn holes_are_skipped_and_hashed_as_zeros() {
        let mut bytes = vec![0; 20 * BLOCK + 300];
        let data = [(0, 10), (7 * BLOCK + 5, 100), (19 * BLOCK, BLOCK)];
        for (at, length) in data {
            bytes[at..at + length].copy_from_slice(&noise(length));
        }
        let source = Holey {
            inner: Memory::new("m", bytes.clone()),
            data: data
                .iter()
                .map(|(at, length)| Extent::new(Bytes(*at as u64), Bytes(*length as u64)))
                .collect(),
        };
        let plan = Plan {
            hash: Some(Sha256::new()),
            ..Plan::default()
        };
        let (mut read, mut end, mut last) = (0, Bytes::ZERO, None);
        run(&source, plan, &|w| w.block().len(), &mut |p| {
            assert_eq!(p.extent.offset, end, "no byte is left out of the extents");
            end = p.extent.end();
            read += p.found;
            last = p.hash;
        });
        assert_eq!(end, source.len());
        assert!(read <= 4 * BLOCK, "{read}");
        assert_eq!(last.unwrap().finalize(), Sha256::digest(&bytes));
    }

    /// A disk that a person wants spared is read at full speed.
    #[test]
    fn a_rate_is_kept() {
        let source = Memory::new("m", vec![0; 3 * BLOCK]);
        let plan = Plan {
            limit: NonZeroU64::new(10 << 20),
            ..Plan::default()
        };
        let start = Instant::now();
        run(&source, plan, &|_| (), &mut |_| ());
        assert!(start.elapsed() >= Duration::from_millis(290));
    }
}
