//! Reading what fails: a failing run is narrowed to its failing sectors, each is tried a few times, and never again.
//!
//! A failing disk takes seconds for each bad sector and may die of them. So a
//! sector is touched by at most one read of everything, one of 64 KiB round
//! it, and then by reads of its own: one, and `retries` more. After that it
//! is known, and no later read goes there.

use super::{Gaps, len_of};
use crate::units::{Bytes, Extent};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::sync::RwLock;

/// The length of the reads between a whole run and single sectors.
const COARSE: usize = 64 << 10;

/// What lies below: it may fail, give less than was asked for, or shrink.
pub trait Device: Send + Sync {
    /// Its length as of now, where that can be told.
    fn length(&self) -> Option<Bytes>;

    /// The smallest piece that fails on its own: its logical sector, or the page through which it is read.
    fn unit(&self) -> usize;

    /// Reads at `at`; fewer bytes than asked for are fine, none mean the end.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, at: Bytes, buf: &mut [u8]) -> io::Result<usize>;

    /// Reads one unit, aligned, by the way that tells best which sector fails.
    ///
    /// # Errors
    /// What the system says.
    fn read_unit(&self, at: Bytes, buf: &mut [u8]) -> io::Result<usize> {
        self.read(at, buf)
    }
}

/// A device, and what is known of its bad places.
#[derive(Debug)]
pub struct Careful<D> {
    device: D,
    length: Bytes,
    retries: u32,
    /// Start and end of each known bad extent; none touches another.
    known: RwLock<BTreeMap<u64, u64>>,
}

impl<D: Device> Careful<D> {
    /// Reads `device`, which counts as `length` bytes long, but never `unread`; a failing sector is tried again
    /// `retries` times.
    pub fn new(device: D, length: Bytes, retries: u32, unread: Vec<Extent>) -> Careful<D> {
        let unread = crate::units::merge(unread);
        let known = unread.iter().map(|e| (e.offset.0, e.end().0)).collect();
        Careful {
            device,
            length,
            retries,
            known: RwLock::new(known),
        }
    }

    /// What lies below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The length that it counts as.
    pub fn length(&self) -> Bytes {
        self.length
    }

    /// No read goes to these any more: an earlier run has found them bad.
    pub fn know_bad(&self, bad: &[Extent]) {
        let all = Extent::new(Bytes::ZERO, self.length);
        for bad in bad.iter().filter_map(|bad| bad.overlap(all)) {
            self.remember(bad);
        }
    }

    /// Every extent that is known to be unread by now.
    pub fn unread(&self) -> Vec<Extent> {
        self.known_in(Extent::new(Bytes::ZERO, self.length))
    }

    /// Fills `buf`, and says what of it could not be read; that is zeroed.
    pub fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let want = Extent::new(at, len_of(buf));
        let mut gaps = self.known_in(want);
        let mut from = at;
        let known = gaps.clone();
        for bad in known.iter().chain([&Extent::new(want.end(), Bytes::ZERO)]) {
            if let Some(good) = part(buf, at, Extent::new(from, bad.offset - from)) {
                self.fill(from, good, &mut gaps);
            }
            if let Some(lost) = part(buf, at, *bad) {
                lost.fill(0);
            }
            from = bad.end();
        }
        Gaps::from(gaps)
    }

    /// The known bad extents in `want`.
    fn known_in(&self, want: Extent) -> Vec<Extent> {
        let Ok(known) = self.known.read() else {
            return Vec::new();
        };
        let before = known.range(..want.offset.0).next_back();
        let behind = known.range(want.offset.0..);
        let inside = behind.take_while(|(start, _)| **start < want.end().0);
        before
            .into_iter()
            .chain(inside)
            .filter_map(|(start, end)| extent(*start, *end).overlap(want))
            .collect()
    }

    fn remember(&self, bad: Extent) {
        let Ok(mut known) = self.known.write() else {
            return;
        };
        let (mut start, mut end) = (bad.offset.0, bad.end().0);
        // Joined with what touches it: neighbours are the rule on a bad disk.
        if let Some((s, e)) = known.range(..=start).next_back().map(|(s, e)| (*s, *e))
            && e >= start
        {
            (start, end) = (s, end.max(e));
        }
        while let Some((s, e)) = known.range(start..=end).next().map(|(s, e)| (*s, *e)) {
            known.remove(&s);
            end = end.max(e);
        }
        known.insert(start, end);
    }

    /// Reads a run in one go as long as that works; the rest of it piece by piece.
    fn fill(&self, at: Bytes, buf: &mut [u8], gaps: &mut Vec<Extent>) {
        let (done, error) = self.run(at, buf);
        let here = at + Bytes(done as u64);
        let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) else {
            return;
        };
        let rest_extent = Extent::new(here, len_of(rest));
        // A device that has gone or shrunk is not asked sector by sector.
        let end = match error {
            Some(error) if !has_gone(&error) => self.device.length().unwrap_or(rest_extent.end()),
            _ => here,
        };
        let there = (end - here).to_len(rest.len());
        let (there, gone) = rest.split_at_mut(there);
        gone.fill(0);
        gaps.push(Extent::new(here + len_of(there), len_of(gone)));
        for (at, piece) in pieces(here, there, COARSE) {
            let (done, error) = self.run(at, piece);
            let Some(rest) = piece.get_mut(done..).filter(|rest| !rest.is_empty()) else {
                continue;
            };
            let at = at + Bytes(done as u64);
            match error {
                Some(_) => self.units(at, rest, gaps),
                None => {
                    rest.fill(0);
                    gaps.push(Extent::new(at, len_of(rest)));
                }
            }
        }
    }

    /// Reads until `buf` is full, the end (no error), or an error.
    fn run(&self, at: Bytes, buf: &mut [u8]) -> (usize, Option<io::Error>) {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.device.read(at + Bytes(done as u64), rest) {
                Ok(0) => return (done, None),
                Ok(n) => done += n.min(rest.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Reads unit by unit; what fails is remembered.
    fn units(&self, at: Bytes, buf: &mut [u8], gaps: &mut Vec<Extent>) {
        let unit = self.device.unit().max(1);
        let mut scratch = vec![0; unit];
        for (at, piece) in pieces(at, buf, unit) {
            let start = Bytes(at.0 / unit as u64 * unit as u64);
            let skip = (at - start).to_len(unit);
            let good = self.unit(start, &mut scratch);
            match scratch.get(skip..skip + piece.len()) {
                Some(bytes) if good.is_some_and(|n| n >= skip + piece.len()) => {
                    piece.copy_from_slice(bytes);
                }
                _ => {
                    piece.fill(0);
                    gaps.push(Extent::new(at, len_of(piece)));
                }
            }
        }
    }

    /// One unit, tried `retries` times more; the number of its bytes, `None` where it is bad.
    fn unit(&self, at: Bytes, buf: &mut [u8]) -> Option<usize> {
        for _ in 0..=self.retries {
            match self.device.read_unit(at, buf) {
                Ok(n) => return Some(n),
                Err(error) if has_gone(&error) => return None,
                Err(_) => {}
            }
        }
        self.remember(Extent::new(at, len_of(buf)));
        None
    }
}

fn extent(start: u64, end: u64) -> Extent {
    Extent::new(Bytes(start), Bytes(end) - Bytes(start))
}

/// The part of a buffer that starts at `base` which holds `extent`; `None` where that is empty.
fn part(buf: &mut [u8], base: Bytes, extent: Extent) -> Option<&mut [u8]> {
    let from = (extent.offset - base).to_len(buf.len());
    let to = (extent.end() - base).to_len(buf.len());
    buf.get_mut(from..to).filter(|part| !part.is_empty())
}

/// A buffer at `at` in pieces that end at multiples of `size`.
fn pieces(at: Bytes, buf: &mut [u8], size: usize) -> impl Iterator<Item = (Bytes, &mut [u8])> {
    let size = size as u64;
    let first = Bytes(size - at.0 % size).to_len(buf.len());
    let (head, tail) = buf.split_at_mut(first);
    let base = at + len_of(head);
    let rest = tail.chunks_mut(Bytes(size).to_len(usize::MAX));
    let rest = rest
        .zip(0..)
        .map(move |(piece, i): (_, u64)| (base + Bytes(i.saturating_mul(size)), piece));
    std::iter::once((at, head)).chain(rest)
}

/// Whether an error says that there is no device any more, rather than that a place on it is bad.
fn has_gone(error: &io::Error) -> bool {
    let gone = [
        Errno::NODEV,
        Errno::NXIO,
        Errno::BADF,
        Errno::NOMEDIUM,
        Errno::STALE,
        Errno::NOTCONN,
        Errno::SHUTDOWN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::super::faults::Faults;
    use super::*;

    fn e(offset: u64, length: u64) -> Extent {
        Extent::new(Bytes(offset), Bytes(length))
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i / 512 + i) as u8 | 1).collect()
    }

    fn careful(faults: Faults, retries: u32) -> Careful<Faults> {
        let length = faults.length().unwrap();
        Careful::new(faults, length, retries, Vec::new())
    }

    /// One bad sector must cost its own bytes and no others, wherever a read starts.
    #[test]
    fn an_error_narrows_to_the_sector() {
        let bytes = pattern(1 << 20);
        let bad = [e(512 * 300, 512), e(512 * 302, 512), e(512 * 1999, 1024)];
        for (at, length) in [
            (0, 1 << 20),
            (100, 900_000),
            (512 * 300 + 7, 30),
            (153_600, 512),
        ] {
            let device = bad
                .iter()
                .fold(Faults::new(bytes.clone(), 512), |f, b| f.bad(*b));
            let careful = careful(device, 1);
            let mut buf = vec![0xee; length];
            let gaps = careful.read_at(Bytes(at), &mut buf);
            let want = Extent::new(Bytes(at), Bytes(length as u64));
            let expected: Vec<Extent> = bad.iter().filter_map(|b| b.overlap(want)).collect();
            assert_eq!(gaps.extents(), expected);
            for (i, byte) in buf.iter().enumerate() {
                let at = at + i as u64;
                let lost = expected.iter().any(|x| x.overlap(e(at, 1)).is_some());
                assert_eq!(*byte, if lost { 0 } else { bytes[at as usize] }, "{at}");
            }
        }
    }

    /// What an earlier run paid for is not paid for again.
    #[test]
    fn what_an_earlier_run_found_bad_is_not_asked_for() {
        let device = Faults::new(pattern(1 << 20), 512).bad(e(512 * 700, 512));
        let careful = careful(device, 1);
        careful.know_bad(&[e(512 * 700, 512), e(1 << 20, 512), e(u64::MAX, 7)]);
        let mut buf = vec![0; 1 << 20];
        let gaps = careful.read_at(Bytes::ZERO, &mut buf);
        assert_eq!(gaps.extents(), [e(512 * 700, 512)]);
        assert_eq!(careful.unread(), [e(512 * 700, 512)]);
        assert_eq!(careful.device().touched(Bytes(512 * 700)), 0);
    }

    /// A disk that fails dies of being asked again and again.
    #[test]
    fn a_bad_sector_is_never_asked_for_again() {
        for retries in [0, 1, 5] {
            let device = Faults::new(pattern(1 << 20), 512).bad(e(512 * 700, 512));
            let careful = careful(device, retries);
            let mut buf = vec![0; 1 << 20];
            for _ in 0..3 {
                let _ = careful.read_at(Bytes::ZERO, &mut buf);
                let _ = careful.read_at(Bytes(512 * 699), &mut buf[..4096]);
            }
            // One read of all, one of 64 KiB, one of its own, and the retries.
            assert_eq!(careful.device().touched(Bytes(512 * 700)), 3 + retries);
        }
    }

    /// Some sectors come back at the second try: that is what a retry is for.
    #[test]
    fn a_sector_that_comes_back_is_read() {
        let bytes = pattern(1 << 18);
        let device = || Faults::new(bytes.clone(), 512).fails(Bytes(512 * 9), 3);
        let mut buf = vec![0; 1 << 18];
        assert!(
            careful(device(), 1)
                .read_at(Bytes::ZERO, &mut buf)
                .is_none()
        );
        assert_eq!(buf, bytes);
        let gaps = careful(device(), 0).read_at(Bytes::ZERO, &mut buf);
        assert_eq!(gaps.extents(), [e(512 * 9, 512)]);
    }

    /// A disk of 4096-byte sectors loses 4096 bytes at a time, and takes reads of whole ones only.
    #[test]
    fn large_sectors() {
        let device = Faults::new(pattern(1 << 18), 4096).bad(e(4096 * 5 + 512, 512));
        let careful = careful(device, 1);
        let mut buf = vec![0; 3000];
        let gaps = careful.read_at(Bytes(4096 * 5 - 1000), &mut buf);
        assert_eq!(gaps.extents(), [e(4096 * 5, 2000)]);
    }

    /// A device that shrinks or vanishes is told as a gap at once, not after a million failing reads.
    #[test]
    fn a_device_that_goes() {
        let device = Faults::new(pattern(1 << 20), 512);
        let careful = careful(device, 1);
        let mut buf = vec![1; 4096];
        careful.device().shrink(Bytes(100_000));
        let gaps = careful.read_at(Bytes(98_304), &mut buf);
        assert_eq!(gaps.extents(), [e(100_000, 98_304 + 4096 - 100_000)]);
        careful.device().vanish();
        let before = careful.device().reads();
        let gaps = careful.read_at(Bytes::ZERO, &mut vec![0; 1 << 20]);
        assert_eq!(gaps.extents(), [e(0, 1 << 20)]);
        assert_eq!(careful.device().reads() - before, 1);
    }

    /// A map's unread places are not read even once, and short reads are no ends.
    #[test]
    fn unread_places_and_short_reads() {
        let device = Faults::new(pattern(1 << 16), 512).short(700);
        let length = Bytes(1 << 16);
        let careful = Careful::new(device, length, 1, vec![e(1024, 512), e(0, 100)]);
        let mut buf = vec![0; 1 << 16];
        let gaps = careful.read_at(Bytes::ZERO, &mut buf);
        assert_eq!(gaps.extents(), [e(0, 100), e(1024, 512)]);
        assert_eq!(careful.device().touched(Bytes(1024)), 0);
        assert_eq!(buf[100..1024], pattern(1 << 16)[100..1024]);
        assert_eq!(buf[1536..], pattern(1 << 16)[1536..]);
    }

    /// Extents that touch are one, however they are found.
    #[test]
    fn what_is_known_is_merged() {
        let careful = careful(Faults::new(pattern(8192), 512), 1);
        for at in [4, 2, 3, 9, 2, 8] {
            careful.remember(e(at * 512, 512));
        }
        assert_eq!(careful.known_in(e(0, 8192)), [e(1024, 1536), e(4096, 1024)]);
        assert_eq!(careful.known_in(e(1100, 10)), [e(1100, 10)]);
        assert_eq!(careful.known_in(e(u64::MAX, 0)), []);
    }
}
