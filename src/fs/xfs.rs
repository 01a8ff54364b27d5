//! The superblock of XFS, to recognise one. Big endian, at byte 0.
//!
//! Each allocation group begins with a copy; only the first tells where the
//! file system begins. Version 5 has a CRC-32C (stored little endian) over
//! the sector with the field zero. Source: "XFS Filesystem Structure"
//! (xfs_info and xfs_db are the judges in the tests).

use super::ext_features::crc32c;
use super::{text, uuid_text};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// At byte 0.
pub const MAGIC: &[u8] = b"XFSB";

/// The superblock's first 228 bytes as they lie on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawSuperblock {
    /// 0: `XFSB`.
    #[doc(alias = "sb_magicnum")]
    pub magic: [u8; 4],
    /// 4: bytes a block.
    #[doc(alias = "sb_blocksize")]
    pub block_size: U32,
    /// 8: blocks.
    #[doc(alias = "sb_dblocks")]
    pub blocks: U64,
    /// 16: real-time blocks and extents.
    #[doc(alias = "sb_rblocks")]
    pub realtime: [U64; 2],
    /// 32: UUID.
    #[doc(alias = "sb_uuid")]
    pub uuid: [u8; 16],
    /// 48: log, root folder, real-time bitmap and summary.
    #[doc(alias = "sb_logstart")]
    pub places: [U64; 4],
    /// 80: real-time extent size.
    #[doc(alias = "sb_rextsize")]
    pub realtime_extent: U32,
    /// 84: blocks an allocation group.
    #[doc(alias = "sb_agblocks")]
    pub group_blocks: U32,
    /// 88: allocation groups.
    #[doc(alias = "sb_agcount")]
    pub groups: U32,
    /// 92: blocks of the real-time bitmap and of the log.
    #[doc(alias = "sb_rbmblocks")]
    pub bitmap_and_log: [U32; 2],
    /// 100: version in the low four bits.
    #[doc(alias = "sb_versionnum")]
    pub version: U16,
    /// 102: bytes a sector.
    #[doc(alias = "sb_sectsize")]
    pub sector_size: U16,
    /// 104: bytes an inode, inodes a block.
    #[doc(alias = "sb_inodesize")]
    pub inode_sizes: [U16; 2],
    /// 108: label.
    #[doc(alias = "sb_fname")]
    pub label: [u8; 12],
    /// 120: block size is 1 << this.
    #[doc(alias = "sb_blocklog")]
    pub block_log: u8,
    /// 121: sector size and inode size, as powers of two.
    pub sector_and_inode_log: [u8; 2],
    /// 123: inodes a block, as a power of two: the low bits of an inode's number.
    #[doc(alias = "sb_inopblog")]
    pub inodes_per_block_log: u8,
    /// 124: bits of a block's number within its group.
    #[doc(alias = "sb_agblklog")]
    pub group_blocks_log: u8,
    /// 125: not used here.
    pub unused: [u8; 99],
    /// 224: CRC-32C, little endian.
    #[doc(alias = "sb_crc")]
    pub crc: zerocopy::little_endian::U32,
}

const _: () = assert!(size_of::<RawSuperblock>() == 228);

/// A superblock, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    /// Bytes a block.
    pub block_size: u32,
    /// Its length.
    pub length: Bytes,
    /// Allocation groups.
    pub groups: u32,
    /// From one group's start to the next: a copy of the superblock lies at each.
    pub group_length: Bytes,
    /// Format version: 4 or 5.
    pub version: u16,
    /// UUID.
    pub uuid: String,
    /// Label, safe to show.
    pub label: String,
    /// Whether its checksum holds; version 4 has none.
    pub checksum: Checksum,
}

/// Reads the superblock at `source`'s start.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Broken`] where it is one with sizes that cannot be so, [`ParseError::Unreadable`].
pub fn read(source: &dyn Source) -> Parsed<Superblock> {
    let bytes = read_vec(source, Extent::new(Bytes(0), Bytes(512)), 512)?;
    let (raw, _) = RawSuperblock::ref_from_prefix(&bytes).map_err(|_| ParseError::NotThis)?;
    if raw.magic != MAGIC {
        return Err(ParseError::NotThis);
    }
    let (block_size, sector) = (raw.block_size.get(), raw.sector_size.get());
    if !block_size.is_power_of_two() || !(512..=65_536).contains(&block_size) {
        return Err(ParseError::broken(Bytes(4), "a block size", block_size));
    }
    if !sector.is_power_of_two() || !(512..=32_768).contains(&sector) {
        return Err(ParseError::broken(Bytes(102), "a sector size", sector));
    }
    let (blocks, groups) = (raw.blocks.get(), u64::from(raw.groups.get()));
    let in_groups = groups * u64::from(raw.group_blocks.get());
    if blocks == 0 || blocks > in_groups {
        return Err(ParseError::broken(
            Bytes(8),
            format!("at most {in_groups} blocks"),
            blocks,
        ));
    }
    let version = raw.version.get() & 0xf;
    let checksum = if version < 5 {
        Checksum::None
    } else {
        let extent = Extent::new(Bytes(0), Bytes(sector.into()));
        let whole = read_vec(source, extent, 32_768)?;
        let crc = [
            whole.get(..224).unwrap_or_default(),
            &[0; 4],
            whole.get(228..).unwrap_or_default(),
        ]
        .iter()
        .fold(!0, |crc, part| crc32c(crc, part));
        if !crc == raw.crc.get() {
            Checksum::Ok
        } else {
            Checksum::Bad
        }
    };
    Ok(Superblock {
        block_size,
        length: Bytes(blocks.saturating_mul(block_size.into())),
        groups: raw.groups.get(),
        group_length: Bytes(u64::from(raw.group_blocks.get()).saturating_mul(block_size.into())),
        version,
        uuid: uuid_text(&raw.uuid),
        label: text(&raw.label),
        checksum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::image;
    use crate::image::Memory;

    /// A wrong length would put the volume behind it in the wrong place.
    #[test]
    fn as_mkfs_made_it() {
        let uuid = "11111111-2222-3333-4444-555555555555";
        let meta = format!("uuid={uuid}");
        let args = ["-q", "-f", "-L", "guests", "-m", &meta];
        let Some(mut bytes) = image("mkfs.xfs", &args, 310) else {
            return;
        };
        let sb = read(&Memory::new("m", bytes.clone())).unwrap();
        assert_eq!((sb.label.as_str(), sb.uuid.as_str()), ("guests", uuid));
        assert_eq!((sb.checksum, sb.version), (Checksum::Ok, 5));
        assert_eq!(sb.length, Bytes::mib(310));
        bytes[200] ^= 1;
        assert_eq!(
            read(&Memory::new("m", bytes)).unwrap().checksum,
            Checksum::Bad
        );
    }
}
