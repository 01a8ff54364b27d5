//! The write-intent bitmap: a superblock of 256 bytes, then a bit for each chunk of the array or member.
//!
//! It lies where the md superblock says ([`super::superblock::Superblock::bitmap_offset`], in sectors from it), mostly
//! 8 sectors behind it, little-endian. It outlives its array: `mdadm --zero-superblock` does not touch it, and its UUID
//! names the array. Its event counter may be behind that of the superblock.
//! Source: `drivers/md/md-bitmap.h`, `struct bitmap_super_s`.

use crate::image::{Source, read_exact};
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The magic.
pub const MAGIC: &[u8; 4] = b"bitm";

/// Bytes of [`Raw`]; the bits start behind it.
pub const SIZE: usize = 256;

/// Bytes of bits read at a time, and in all: mdadm leaves a bitmap no more room than that.
const BLOCK: usize = 64 << 10;
const MOST_BITS: u64 = (4 << 20) * 8;

/// The superblock of a bitmap.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Debug)]
#[repr(C)]
pub struct Raw {
    /// @0, [`MAGIC`].
    pub magic: [u8; 4],
    /// @4, 3 (bits in the machine's order), 4 or 5 (clustered).
    pub version: U32,
    /// @8, the array's UUID.
    pub uuid: [u8; 16],
    /// @24, events when it was last written.
    pub events: U64,
    /// @32, events when bits were last cleared: a member not older than this can be brought up by the bitmap alone.
    pub events_cleared: U64,
    /// @40, sectors that the bits cover.
    pub sync_size: U64,
    /// @48, bit 1 stale, bit 2 a write to it failed.
    pub state: U32,
    /// @52, bytes that each bit covers.
    #[doc(alias = "chunksize")]
    pub chunk: U32,
    /// @56, seconds between the daemon's rounds.
    pub daemon_sleep: U32,
    /// @60, writes behind on write-mostly members.
    pub write_behind: U32,
    /// @64, sectors that the bitmap may take.
    pub sectors_reserved: U32,
    /// @68, nodes of a cluster.
    pub nodes: U32,
    /// @72, the cluster's name.
    pub cluster_name: [u8; 64],
    _pad: [u8; 120],
}
const _: () = assert!(size_of::<Raw>() == SIZE);

/// A bitmap, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bitmap {
    /// Where it lies on the member.
    pub at: Bytes,
    /// Its version: 3, 4, or 5 in a cluster.
    pub version: u32,
    /// The array's UUID, as mdadm prints it.
    pub array_uuid: String,
    /// Events when it was last written.
    pub events: u64,
    /// Events when bits were last cleared.
    pub events_cleared: u64,
    /// Sectors that the bits cover.
    pub sync_size: Sectors,
    /// Whether it calls itself out of date.
    pub stale: bool,
    /// Bytes that each bit covers.
    pub chunk: Bytes,
    /// How many bits there are.
    pub bits: u64,
    /// How many are set: chunks in which members may differ. `None` where bits could not be read, or where there are too
    /// many to be a bitmap's.
    pub dirty: Option<u64>,
    /// Nodes of a cluster; 0 without one.
    pub nodes: u32,
}

impl Bitmap {
    /// Reads the bitmap at `at`.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] without the magic; [`ParseError::Broken`] with a version or chunk that cannot be;
    /// [`ParseError::Unreadable`].
    pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Bitmap> {
        let mut buf = [0; SIZE];
        read_exact(source, at, &mut buf)?;
        let raw = Raw::read_from_bytes(&buf).map_err(|_| ParseError::NotThis)?;
        if &raw.magic != MAGIC {
            return Err(ParseError::NotThis);
        }
        let version = raw.version.get();
        if !matches!(version, 3..=5) {
            let found = format!("version {version}");
            return Err(ParseError::broken(
                at + Bytes(4),
                "version 3, 4 or 5",
                found,
            ));
        }
        let chunk = raw.chunk.get();
        if chunk < 512 || !chunk.is_power_of_two() {
            return Err(ParseError::broken(
                at + Bytes(52),
                "a power of two from 512",
                chunk,
            ));
        }
        let sync_size = Sectors(raw.sync_size.get());
        let bits = Bytes::from(sync_size).0.div_ceil(chunk.into());
        Ok(Bitmap {
            at,
            version,
            array_uuid: super::sb1::uuid(&raw.uuid),
            events: raw.events.get(),
            events_cleared: raw.events_cleared.get(),
            sync_size,
            stale: raw.state.get() & 2 != 0,
            chunk: Bytes(chunk.into()),
            bits,
            dirty: count(source, at + Bytes(SIZE as u64), bits),
            nodes: raw.nodes.get(),
        })
    }

    /// The whole bitmap's place.
    pub fn extent(&self) -> Extent {
        let bits = self.bits.min(MOST_BITS).div_ceil(8);
        Extent::new(self.at, Bytes(SIZE as u64 + bits))
    }

    /// Whether it is that array's: with a 0.90 superblock, whose UUID is four words, each lies turned round in here.
    pub fn is_of(&self, array_uuid: &str) -> bool {
        let turned = |group: &str| -> String {
            let bytes = group.as_bytes().as_chunks::<2>().0;
            bytes
                .iter()
                .rev()
                .flatten()
                .map(|b| char::from(*b))
                .collect()
        };
        let words: Vec<String> = array_uuid.split(':').map(turned).collect();
        self.array_uuid == array_uuid || self.array_uuid == words.join(":")
    }
}

/// Set bits among the first `bits` from `at` on.
fn count(source: &dyn Source, at: Bytes, bits: u64) -> Option<u64> {
    if bits > MOST_BITS {
        return None;
    }
    let mut buf = vec![0; BLOCK];
    let (mut left, mut at, mut dirty) = (bits, at, 0);
    while left > 0 {
        let block = buf.get_mut(..Bytes(left.div_ceil(8)).to_len(BLOCK))?;
        read_exact(source, at, block).ok()?;
        at = at + Bytes(block.len() as u64);
        for byte in block.iter() {
            // Behind the last bit the kernel leaves ones.
            let mask = if left >= 8 { 0xff } else { (1_u8 << left) - 1 };
            dirty += u64::from((byte & mask).count_ones());
            left = left.saturating_sub(8);
        }
    }
    Some(dirty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// The ones behind the last bit are no dirty chunks; a hostile size must not be counted through.
    #[test]
    fn only_bits_that_exist_are_counted() {
        let mut bytes = vec![0; 8192];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = 4;
        bytes[40..48].copy_from_slice(&1280_u64.to_le_bytes());
        bytes[52..56].copy_from_slice(&65_536_u32.to_le_bytes());
        bytes[256] = 0b101;
        bytes[257] = 0b1111_1110;
        bytes[258..].fill(0xff);
        let read = |bytes: &[u8]| Bitmap::read(&Memory::new("m", bytes.to_vec()), Bytes::ZERO);
        let bitmap = read(&bytes).unwrap();
        assert_eq!((bitmap.bits, bitmap.dirty), (10, Some(3)));
        bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&bytes).unwrap().dirty, None);
        bytes[52] = 3;
        assert!(matches!(read(&bytes), Err(ParseError::Broken { .. })));
    }
}
