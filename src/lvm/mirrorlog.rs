//! The log of an old mirror (`_mlog`): which regions its legs have in common.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | 0x4D695272, so `rRiM` on the disk |
//! | 4 | 4 | version: 2; 1 is the same where it was written by a little-endian machine |
//! | 8 | 8 | regions that the log knows of |
//! | 1024 | | a bit each, the lowest of a byte first: set where the legs agree |
//!
//! Little-endian. A bit is cleared before a region is written to and set when
//! all legs have it; one whose leg failed stays cleared. Regions beyond the
//! number are not in sync. At its start the kernel copies those that are not
//! from the first leg to the others, whichever was newer. Source: the kernel's
//! `drivers/md/dm-log.c` and `dm-raid1.c`.

use crate::image::{Source, read_exact};
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The first word, as it lies on the disk.
pub const MAGIC: [u8; 4] = 0x4D69_5272_u32.to_le_bytes();

/// Where the bits begin.
const BITS: Bytes = Bytes(1024);

/// lvm2 makes regions so large that their bits fit one extent; a text that has more lies.
pub(super) const MOST_REGIONS: u64 = 1 << 24;
const MOST_BITS: usize = 1 << 21;
const _: () = assert!(MOST_REGIONS / 8 == MOST_BITS as u64);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: [u8; 4],
    version: U32,
    nr_regions: U64,
}

const LENGTH: usize = 16;
const _: () = assert!(size_of::<Raw>() == LENGTH);

/// Extents that are listed; beyond that only their bytes are counted.
const MOST_EXTENTS: usize = 1 << 16;

/// A log, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorLog {
    /// Regions that it knows of.
    known: u64,
    bits: Vec<u8>,
}

impl MirrorLog {
    /// Reads the log of a mirror of so many regions.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] without the magic; [`ParseError::Unsupported`] for another version, or for more regions than
    /// any mirror has.
    pub fn read(log: &dyn Source, regions: u64) -> Parsed<MirrorLog> {
        let mut front = [0; LENGTH];
        read_exact(log, Bytes::ZERO, &mut front)?;
        let raw = Raw::read_from_bytes(&front).map_err(|_| ParseError::NotThis)?;
        if raw.magic != MAGIC {
            return Err(ParseError::NotThis);
        }
        let version = raw.version.get();
        if !(1..=2).contains(&version) {
            return Err(ParseError::Unsupported(format!(
                "mirror log version {version}"
            )));
        }
        if regions > MOST_REGIONS {
            return Err(ParseError::Unsupported(format!("{regions} regions")));
        }
        let known = raw.nr_regions.get().min(regions);
        let mut bits = vec![0; Bytes(known.div_ceil(8)).to_len(MOST_BITS)];
        read_exact(log, BITS, &mut bits)?;
        Ok(MirrorLog { known, bits })
    }

    fn in_sync(&self, region: u64) -> bool {
        let byte = usize::try_from(region / 8).ok();
        let byte = byte.and_then(|at| self.bits.get(at)).copied();
        region < self.known && byte.is_some_and(|byte| byte >> (region % 8) & 1 == 1)
    }

    /// What of a mirror of this length is not in sync.
    pub fn out_of_sync(&self, region: Bytes, length: Bytes) -> OutOfSync {
        let mut out = OutOfSync::default();
        let regions = match region {
            Bytes::ZERO => 0,
            _ => length.0.div_ceil(region.0),
        };
        for number in (0..regions.min(MOST_REGIONS)).filter(|number| !self.in_sync(*number)) {
            let at = Bytes(number.saturating_mul(region.0));
            let one = region.min(length - at);
            out.size = out.size + one;
            let full = out.extents.len() >= MOST_EXTENTS;
            match out.extents.last_mut() {
                Some(last) if last.end() == at => last.length = last.length + one,
                _ if full => {}
                _ => out.extents.push(Extent::new(at, one)),
            }
        }
        out
    }
}

/// What of a mirror is not in sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutOfSync {
    /// How much of it.
    pub size: Bytes,
    /// Where: the first extents, in order and apart.
    pub extents: Vec<Extent>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    fn log(version: u32, known: u64, bits: &[u8]) -> Memory {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"rRiM");
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        bytes[8..16].copy_from_slice(&known.to_le_bytes());
        bytes[1024..1024 + bits.len()].copy_from_slice(bits);
        Memory::new("mlog", bytes)
    }

    /// Bits read from the wrong place, or from the other end of a byte, call good regions bad and bad ones good.
    #[test]
    fn the_bits_lie_where_the_kernel_writes_them() {
        let out = |log: &Memory| {
            let log = MirrorLog::read(log, 10).unwrap();
            let out = log.out_of_sync(Bytes(512), Bytes(10 * 512 - 100));
            let listed = out
                .extents
                .iter()
                .fold(Bytes::ZERO, |sum, e| sum + e.length);
            assert_eq!(out.size, listed);
            out.extents
        };
        assert_eq!(out(&log(2, 10, &[0xff, 0x03])), []);
        let regions = |at: u64, length| Extent::new(Bytes(at * 512), Bytes(length));
        assert_eq!(out(&log(2, 10, &[0xf9, 0x03])), [regions(1, 1024)]);
        // The last region is shorter, and what the log does not know of is not in sync.
        assert_eq!(out(&log(1, 10, &[0xff, 0x01])), [regions(9, 412)]);
        assert_eq!(out(&log(2, 8, &[0xff, 0xff])), [regions(8, 924)]);
    }

    /// A log that is none, or was cut, must not pass for one in which nothing is in sync, nor all.
    #[test]
    fn what_is_no_log_is_refused() {
        let blank = Memory::new("mlog", vec![0; 4096]);
        assert_eq!(MirrorLog::read(&blank, 10), Err(ParseError::NotThis));
        assert!(matches!(
            MirrorLog::read(&log(3, 10, &[]), 10),
            Err(ParseError::Unsupported(_))
        ));
        assert!(MirrorLog::read(&log(2, u64::MAX, &[]), u64::MAX).is_err());
        let cut = Memory::new("mlog", vec![0; 10]);
        assert!(MirrorLog::read(&cut, 10).is_err());
        assert!(MirrorLog::read(&log(2, u64::MAX, &[0xff, 3]), 10).is_ok());
        // Numbers of a text that cannot be.
        let log = MirrorLog::read(&log(2, 10, &[]), 10).unwrap();
        assert_eq!(
            log.out_of_sync(Bytes::ZERO, Bytes(512)),
            OutOfSync::default()
        );
    }
}
