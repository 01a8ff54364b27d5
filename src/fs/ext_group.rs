//! ext's groups: where each lies, which hold copies of the superblock, and
//! the descriptor of each.
//!
//! A descriptor has 32 bytes, or 64 with the feature 64bit, little endian.
//! All lie one behind the other from the block behind a superblock, so every
//! copy of the superblock is followed by a copy of all descriptors; with
//! meta_bg each block of them lies in the first group that it describes.
//! Offsets: the kernel's ext4 documentation.

use super::ext::{PRIMARY, Superblock};
use super::ext_features::{crc32c, feature};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use crc::{CRC_16_MODBUS, Crc};
use serde::Serialize;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// uninit_bg's checksum: polynomial 0xa001 (reflected), from 0xffff.
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// flags: the inode bitmap and table were never written.
pub const INODE_UNINIT: u16 = 1;
/// flags: the block bitmap was never written.
pub const BLOCK_UNINIT: u16 = 2;

/// A descriptor as it lies on disk; the second half only with 64bit.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawDescriptor {
    /// 0x00: block of the block bitmap.
    #[doc(alias = "bg_block_bitmap_lo")]
    pub block_bitmap: U32,
    /// 0x04: block of the inode bitmap.
    #[doc(alias = "bg_inode_bitmap_lo")]
    pub inode_bitmap: U32,
    /// 0x08: first block of the inode table.
    #[doc(alias = "bg_inode_table_lo")]
    pub inode_table: U32,
    /// 0x0c: free blocks (clusters with bigalloc).
    #[doc(alias = "bg_free_blocks_count_lo")]
    pub free_blocks: U16,
    /// 0x0e: free inodes.
    #[doc(alias = "bg_free_inodes_count_lo")]
    pub free_inodes: U16,
    /// 0x10: folders.
    #[doc(alias = "bg_used_dirs_count_lo")]
    pub folders: U16,
    /// 0x12: what was never written.
    #[doc(alias = "bg_flags")]
    pub flags: U16,
    /// 0x14: not used here.
    #[doc(alias = "bg_exclude_bitmap_lo")]
    pub exclude_bitmap: U32,
    /// 0x18: CRC-32C of the block bitmap, low half.
    #[doc(alias = "bg_block_bitmap_csum_lo")]
    pub block_bitmap_crc: U16,
    /// 0x1a: CRC-32C of the inode bitmap, low half.
    #[doc(alias = "bg_inode_bitmap_csum_lo")]
    pub inode_bitmap_crc: U16,
    /// 0x1c: inodes at the end of the table that were never used.
    #[doc(alias = "bg_itable_unused_lo")]
    pub unused_inodes: U16,
    /// 0x1e: checksum of this descriptor.
    #[doc(alias = "bg_checksum")]
    pub checksum: U16,
}

/// The second half of a descriptor of 64 bytes: the high halves.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawDescriptorHigh {
    /// 0x20, 0x24, 0x28: the three places.
    #[doc(alias = "bg_block_bitmap_hi")]
    pub places: [U32; 3],
    /// 0x2c, 0x2e, 0x30, 0x32: free blocks, free inodes, folders, unused inodes.
    #[doc(alias = "bg_free_blocks_count_hi")]
    pub counts: [U16; 4],
    /// 0x34: not used here.
    #[doc(alias = "bg_exclude_bitmap_hi")]
    pub exclude_bitmap: U32,
    /// 0x38, 0x3a: checksums of the block and the inode bitmap.
    #[doc(alias = "bg_block_bitmap_csum_hi")]
    pub bitmap_crcs: [U16; 2],
    /// 0x3c: zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<RawDescriptor>() == 32 && size_of::<RawDescriptorHigh>() == 32);

/// A group's descriptor, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// The group.
    pub group: u64,
    /// Block of the block bitmap.
    pub block_bitmap: u64,
    /// Block of the inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
    /// Free blocks; clusters with bigalloc.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Folders.
    pub folders: u32,
    /// Inodes at the end of the table that were never used.
    pub unused_inodes: u32,
    /// [`INODE_UNINIT`], [`BLOCK_UNINIT`].
    pub flags: u16,
    /// CRC-32C of the block bitmap and of the inode bitmap.
    pub bitmap_crcs: [u32; 2],
    /// How many bits of those are stored: 16 or 32.
    pub bitmap_crc_bits: u32,
    /// Whether its own checksum holds.
    pub checksum: Checksum,
}

impl Superblock {
    /// Where block `number` begins, from the start of the file system.
    pub fn block(&self, number: u64) -> Bytes {
        Bytes(number.saturating_mul(self.block_size.into()))
    }

    /// Number of groups; the last may be shorter.
    pub fn group_count(&self) -> u64 {
        self.blocks
            .saturating_sub(self.first_data_block.into())
            .div_ceil(u64::from(self.blocks_per_group.max(1)))
    }

    /// First block of group `group`.
    pub fn group_first_block(&self, group: u64) -> u64 {
        u64::from(self.first_data_block)
            .saturating_add(group.saturating_mul(self.blocks_per_group.into()))
    }

    /// Blocks of group `group`.
    pub fn group_blocks(&self, group: u64) -> u64 {
        self.blocks
            .saturating_sub(self.group_first_block(group))
            .min(self.blocks_per_group.into())
    }

    /// Where the file system begins if this copy lies at `at`, or `None` if that is before byte 0.
    pub fn fs_start(&self, at: Bytes) -> Option<Bytes> {
        let from_start = match self.group {
            0 => PRIMARY,
            group => self.block(self.group_first_block(group.into())),
        };
        at.0.checked_sub(from_start.0).map(Bytes)
    }

    /// Where the superblock of group `group` lies, from the start of the file system.
    pub fn superblock_at(&self, group: u64) -> Bytes {
        match group {
            0 => PRIMARY,
            _ => self.block(self.group_first_block(group)),
        }
    }

    /// Whether group `group` holds a superblock.
    pub fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            true
        } else if self.has_compat(feature::SPARSE_SUPER2) {
            self.named_backup_groups
                .iter()
                .any(|g| u64::from(*g) == group)
        } else if self.has_ro_compat(feature::SPARSE_SUPER) {
            group == 1 || [3, 5, 7].iter().any(|base| is_power(group, *base))
        } else {
            true
        }
    }

    /// The groups with a copy of the superblock, ascending, without group 0.
    pub fn backup_groups(&self) -> Vec<u64> {
        // Without sparse_super every group has one: as many as there are groups, so bounded by the check.
        (1..self.group_count())
            .filter(|group| self.has_superblock(*group))
            .collect()
    }
}

/// Whether `n` is a power of `base`, from the first.
fn is_power(mut n: u64, base: u64) -> bool {
    while n >= base && n.is_multiple_of(base) {
        n /= base;
    }
    n == 1
}

impl Superblock {
    /// Blocks of a group's inode table.
    pub fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * u64::from(self.inode_size))
            .div_ceil(self.block_size.into())
    }

    /// Where the copy of all descriptors that follows group `copy`'s superblock begins.
    pub fn descriptors_at(&self, copy: u64) -> Bytes {
        let superblock = match copy {
            0 => PRIMARY.0 / u64::from(self.block_size),
            _ => self.group_first_block(copy),
        };
        self.block(superblock.saturating_add(1))
    }

    /// Bytes of all descriptors, rounded to blocks.
    pub fn descriptors_length(&self) -> Bytes {
        let per_block = u64::from(self.block_size / u32::from(self.descriptor_size.max(32))).max(1);
        self.block(self.group_count().div_ceil(per_block))
    }

    /// Where group `group`'s descriptor lies in the copy behind group `copy`'s superblock.
    pub fn descriptor_at(&self, group: u64, copy: u64) -> Bytes {
        let size = u64::from(self.descriptor_size.max(32));
        let per_block = (u64::from(self.block_size) / size).max(1);
        let index = group / per_block;
        let block = if self.has_incompat(feature::META_BG) && index >= self.first_meta_bg.into() {
            let first = index * per_block;
            // A copy of such a block lies in the second group it describes.
            let holder = if copy == 0 { first } else { first + 1 };
            let behind = u64::from(self.has_superblock(holder));
            let sb_block = if holder == 0 {
                PRIMARY.0 / u64::from(self.block_size)
            } else {
                self.group_first_block(holder)
            };
            self.block(sb_block.saturating_add(behind))
        } else {
            self.descriptors_at(copy) + self.block(index)
        };
        block + Bytes(group % per_block * size)
    }

    /// Reads group `group`'s descriptor from the copy behind group `copy`'s superblock.
    ///
    /// # Errors
    /// [`ParseError::Unreadable`]. A descriptor has no magic: whether it is one
    /// is told by its checksum and by [`Descriptor::problem`].
    pub fn descriptor(&self, source: &dyn Source, group: u64, copy: u64) -> Parsed<Descriptor> {
        let size = usize::from(self.descriptor_size.clamp(32, 1024));
        let extent = Extent::new(self.descriptor_at(group, copy), Bytes(size as u64));
        let bytes = read_vec(source, extent, size)?;
        self.parse_descriptor(&bytes, group)
            .ok_or(ParseError::Unreadable(extent))
    }

    pub(super) fn parse_descriptor(&self, bytes: &[u8], group: u64) -> Option<Descriptor> {
        let (low, rest) = RawDescriptor::ref_from_prefix(bytes).ok()?;
        let high = RawDescriptorHigh::ref_from_prefix(rest)
            .ok()
            .map(|(h, _)| h);
        let place = |lo: U32, index: usize| {
            let hi = high.and_then(|h| h.places.get(index));
            u64::from(lo.get()) | u64::from(hi.map_or(0, |h| h.get())) << 32
        };
        let count = |lo: U16, index: usize| {
            let hi = high.and_then(|h| h.counts.get(index));
            u32::from(lo.get()) | u32::from(hi.map_or(0, |h| h.get())) << 16
        };
        let crc = |lo: U16, index: usize| {
            let hi = high.and_then(|h| h.bitmap_crcs.get(index));
            u32::from(lo.get()) | u32::from(hi.map_or(0, |h| h.get())) << 16
        };
        Some(Descriptor {
            group,
            block_bitmap: place(low.block_bitmap, 0),
            inode_bitmap: place(low.inode_bitmap, 1),
            inode_table: place(low.inode_table, 2),
            free_blocks: count(low.free_blocks, 0),
            free_inodes: count(low.free_inodes, 1),
            folders: count(low.folders, 2),
            unused_inodes: count(low.unused_inodes, 3),
            flags: low.flags.get(),
            bitmap_crcs: [crc(low.block_bitmap_crc, 0), crc(low.inode_bitmap_crc, 1)],
            bitmap_crc_bits: if high.is_some() { 32 } else { 16 },
            checksum: self.descriptor_checksum(bytes, group, low.checksum.get()),
        })
    }

    /// CRC-32C with metadata_csum, CRC-16 with uninit_bg, else none.
    fn descriptor_checksum(&self, bytes: &[u8], group: u64, stored: u16) -> Checksum {
        let number = u32::try_from(group).unwrap_or(u32::MAX).to_le_bytes();
        let before = bytes.get(..0x1e).unwrap_or_default();
        let behind = bytes.get(0x20..).unwrap_or_default();
        let computed = if self.has_ro_compat(feature::METADATA_CSUM) {
            [&number[..], before, &[0, 0], behind]
                .iter()
                .fold(self.checksum_seed, |seed, part| crc32c(seed, part))
                & 0xffff
        } else if self.has_ro_compat(feature::GDT_CSUM) {
            let mut digest = CRC16.digest();
            digest.update(self.raw.get(0x68..0x78).unwrap_or_default());
            digest.update(&number);
            digest.update(before);
            digest.update(behind);
            digest.finalize().into()
        } else {
            return Checksum::None;
        };
        match computed == u32::from(stored) {
            true => Checksum::Ok,
            false => Checksum::Bad,
        }
    }
}

impl Descriptor {
    /// What in it cannot be so, in words.
    pub fn problem(&self, sb: &Superblock) -> Option<String> {
        if self.checksum == Checksum::Bad {
            return Some("its checksum does not hold".to_owned());
        }
        let flex = sb.has_incompat(feature::FLEX_BG);
        let first = if flex {
            u64::from(sb.first_data_block)
        } else {
            sb.group_first_block(self.group)
        };
        let end = if flex {
            sb.blocks
        } else {
            first.saturating_add(sb.group_blocks(self.group))
        };
        let inside = |block: u64, blocks: u64| {
            block > 0 && block >= first && block.saturating_add(blocks) <= end
        };
        for (what, block, blocks) in [
            ("block bitmap", self.block_bitmap, 1),
            ("inode bitmap", self.inode_bitmap, 1),
            ("inode table", self.inode_table, sb.inode_table_blocks()),
        ] {
            if !inside(block, blocks) {
                return Some(format!(
                    "its {what} would lie in block {block}, outside of {first}..{end}"
                ));
            }
        }
        let clusters = sb
            .group_blocks(self.group)
            .div_ceil(sb.blocks_per_cluster.into());
        if u64::from(self.free_blocks) > clusters {
            return Some(format!(
                "{} of {clusters} blocks would be free",
                self.free_blocks
            ));
        }
        if self.free_inodes > sb.inodes_per_group || self.folders > sb.inodes_per_group {
            return Some(format!(
                "{} of {} inodes would be free, {} be folders",
                self.free_inodes, sb.inodes_per_group, self.folders
            ));
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::image::Memory;

    /// Called for every kind of image that ext.rs makes: a descriptor looked for one block off gives a group's
    /// inodes to another, and a copy not found is a volume lost.
    pub(crate) fn groups_as_dumpe2fs(dump: &str, source: &Memory, sb: &Superblock, args: &[&str]) {
        let backups: Vec<u64> = (dump.lines())
            .filter_map(|l| l.trim().strip_prefix("Backup superblock at "))
            .map(|l| l.split(',').next().unwrap().parse().unwrap())
            .collect();
        let ours: Vec<u64> = (sb.backup_groups().iter())
            .map(|g| sb.group_first_block(*g))
            .collect();
        assert_eq!(backups, ours, "{args:?}");
        for group in sb.backup_groups() {
            let at = sb.superblock_at(group);
            let copy = Superblock::read(source, at).unwrap();
            assert_eq!(u64::from(copy.group), group);
            assert_eq!(copy.fs_start(at), Some(Bytes(0)));
            assert_eq!(copy.uuid, sb.uuid);
        }
        let groups = dump
            .lines()
            .filter(|l| l.starts_with("Group ") && l.contains(": (Blocks"))
            .count();
        assert_eq!(groups as u64, sb.group_count());
        let tables: Vec<u64> = (dump.lines())
            .filter_map(|l| l.trim().strip_prefix("Inode table at "))
            .map(|l| l.split('-').next().unwrap().parse().unwrap())
            .collect();
        for (group, table) in (0..).zip(tables) {
            let descriptor = sb.descriptor(source, group, 0).unwrap();
            assert_eq!(descriptor.inode_table, table, "{args:?} group {group}");
            assert_eq!(descriptor.problem(sb), None, "{args:?} group {group}");
            assert_ne!(descriptor.checksum, Checksum::Bad);
        }
    }
}
