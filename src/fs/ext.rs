//! The superblock of ext2, ext3 and ext4.
//!
//! It has 1024 bytes, little endian. The primary lies at byte 1024 of the
//! file system; copies begin at the first block of some later groups, so a
//! volume whose front was overwritten still tells what it was and where it
//! began. Copies are written by mke2fs and resize2fs only: their counts and
//! times are old, their geometry is right. Copies also lie in the journal,
//! where [`Superblock::fs_start`] gives a wrong answer: confirm it with
//! [`super::ext_check`].
//!
//! Offsets and meanings: "ext4 Data Structures and Algorithms" in the
//! kernel's documentation; compared with dumpe2fs in the tests.

use super::ext_features::{crc32c, feature};
use super::{text, uuid_text};
use crate::image::sweep::{Needle, Place};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a superblock.
pub const SUPERBLOCK_LEN: usize = 1024;

/// Where the primary lies.
pub const PRIMARY: Bytes = Bytes(1024);

/// Where in a superblock the magic lies.
pub const MAGIC_AT: usize = 0x38;

/// The magic as it lies on disk.
pub const MAGIC: &[u8] = b"\x53\xef";

/// More groups than any device of today has (128 TiB in groups of 128 MiB): a count above it is a lie.
const GROUPS_MOST: u64 = 1 << 20;

/// What to look for in a sweep: the caller takes 56 from the hit's place and asks [`Superblock::read`].
pub fn needle<K>(kind: K) -> Needle<K> {
    Needle {
        kind,
        bytes: MAGIC,
        place: Place::InSector(MAGIC_AT),
    }
}

/// A superblock as it lies on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawSuperblock {
    /// 0x00: all inodes, used or not.
    #[doc(alias = "s_inodes_count")]
    pub inodes: U32,
    /// 0x04: all blocks, low half.
    #[doc(alias = "s_blocks_count_lo")]
    pub blocks_lo: U32,
    /// 0x08: blocks kept for root.
    #[doc(alias = "s_r_blocks_count_lo")]
    pub reserved_blocks_lo: U32,
    /// 0x0c: free blocks, low half.
    #[doc(alias = "s_free_blocks_count_lo")]
    pub free_blocks_lo: U32,
    /// 0x10: free inodes.
    #[doc(alias = "s_free_inodes_count")]
    pub free_inodes: U32,
    /// 0x14: the block in which group 0 begins: 1 with blocks of 1 KiB, else 0.
    #[doc(alias = "s_first_data_block")]
    pub first_data_block: U32,
    /// 0x18: block size is 1024 << this.
    #[doc(alias = "s_log_block_size")]
    pub log_block_size: U32,
    /// 0x1c: cluster size is 1024 << this (bigalloc).
    #[doc(alias = "s_log_cluster_size")]
    pub log_cluster_size: U32,
    /// 0x20: blocks in a group.
    #[doc(alias = "s_blocks_per_group")]
    pub blocks_per_group: U32,
    /// 0x24: clusters in a group; bits of a block bitmap.
    #[doc(alias = "s_clusters_per_group")]
    pub clusters_per_group: U32,
    /// 0x28: inodes in a group.
    #[doc(alias = "s_inodes_per_group")]
    pub inodes_per_group: U32,
    /// 0x2c: last mounted, seconds since 1970.
    #[doc(alias = "s_mtime")]
    pub mount_time_lo: U32,
    /// 0x30: last written, seconds since 1970.
    #[doc(alias = "s_wtime")]
    pub write_time_lo: U32,
    /// 0x34: mounts since the last check, and how many are allowed.
    #[doc(alias = "s_mnt_count")]
    pub mounts: [U16; 2],
    /// 0x38: 0xef53.
    #[doc(alias = "s_magic")]
    pub magic: U16,
    /// 0x3a: bit 0 unmounted cleanly, bit 1 errors were seen, bit 2 orphans are being recovered.
    #[doc(alias = "s_state")]
    pub state: U16,
    /// 0x3c: what to do on errors, and the minor revision.
    #[doc(alias = "s_errors")]
    pub errors: [U16; 2],
    /// 0x40: last checked, and the interval, in seconds.
    #[doc(alias = "s_lastcheck")]
    pub last_check: [U32; 2],
    /// 0x48: 0 Linux, 1 Hurd, 2 Masix, 3 FreeBSD, 4 Lites.
    #[doc(alias = "s_creator_os")]
    pub creator_os: U32,
    /// 0x4c: 0 the original format (inodes of 128 bytes), 1 today's.
    #[doc(alias = "s_rev_level")]
    pub revision: U32,
    /// 0x50: user and group for reserved blocks.
    #[doc(alias = "s_def_resuid")]
    pub reserved_owner: [U16; 2],
    /// 0x54: first inode that is not reserved.
    #[doc(alias = "s_first_ino")]
    pub first_inode: U32,
    /// 0x58: bytes of an inode.
    #[doc(alias = "s_inode_size")]
    pub inode_size: U16,
    /// 0x5a: the group in which this copy lies (its low 16 bits).
    #[doc(alias = "s_block_group_nr")]
    pub group: U16,
    /// 0x5c: compat, incompat, ro_compat.
    #[doc(alias = "s_feature_compat")]
    pub features: [U32; 3],
    /// 0x68: UUID.
    #[doc(alias = "s_uuid")]
    pub uuid: [u8; 16],
    /// 0x78: label, ended by a zero or the end of the field.
    #[doc(alias = "s_volume_name")]
    pub label: [u8; 16],
    /// 0x88: where it was mounted last.
    #[doc(alias = "s_last_mounted")]
    pub last_mounted: [u8; 64],
    /// 0xc8: not used here.
    pub prealloc: [u8; 6],
    /// 0xce: blocks kept behind the descriptors for more of them.
    #[doc(alias = "s_reserved_gdt_blocks")]
    pub reserved_gdt_blocks: U16,
    /// 0xd0: UUID of an external journal.
    #[doc(alias = "s_journal_uuid")]
    pub journal_uuid: [u8; 16],
    /// 0xe0: inode of the journal: 8.
    #[doc(alias = "s_journal_inum")]
    pub journal_inode: U32,
    /// 0xe4: not used here.
    pub journal_dev: U32,
    /// 0xe8: first of the inodes that are deleted but still open.
    #[doc(alias = "s_last_orphan")]
    pub last_orphan: U32,
    /// 0xec: seed, version and backup kind of directory hashes.
    pub hash: [u8; 18],
    /// 0xfe: bytes of a descriptor, with 64bit.
    #[doc(alias = "s_desc_size")]
    pub descriptor_size: U16,
    /// 0x100: not used here.
    pub mount_options: U32,
    /// 0x104: first descriptor block that is spread (meta_bg).
    #[doc(alias = "s_first_meta_bg")]
    pub first_meta_bg: U32,
    /// 0x108: made, seconds since 1970.
    #[doc(alias = "s_mkfs_time")]
    pub made_time_lo: U32,
    /// 0x10c: a copy of the journal inode's block map and size.
    #[doc(alias = "s_jnl_blocks")]
    pub journal_blocks: [U32; 17],
    /// 0x150: all blocks, high half.
    #[doc(alias = "s_blocks_count_hi")]
    pub blocks_hi: U32,
    /// 0x154: blocks kept for root, high half.
    #[doc(alias = "s_r_blocks_count_hi")]
    pub reserved_blocks_hi: U32,
    /// 0x158: free blocks, high half.
    #[doc(alias = "s_free_blocks_count_hi")]
    pub free_blocks_hi: U32,
    /// 0x15c: not used here.
    pub unused_1: [u8; 0x18],
    /// 0x174: flex_bg's groups in one are 1 << this.
    #[doc(alias = "s_log_groups_per_flex")]
    pub log_groups_per_flex: u8,
    /// 0x175: 1 for CRC-32C.
    #[doc(alias = "s_checksum_type")]
    pub checksum_type: u8,
    /// 0x176: not used here; times of errors among it.
    pub unused_2: [u8; 0xd6],
    /// 0x24c: the two groups with copies (sparse_super2).
    #[doc(alias = "s_backup_bgs")]
    pub backup_groups: [U32; 2],
    /// 0x254: not used here.
    pub unused_3: [u8; 0x1c],
    /// 0x270: seed of all checksums (metadata_csum_seed).
    #[doc(alias = "s_checksum_seed")]
    pub checksum_seed: U32,
    /// 0x274: bits 32..40 of the times of writing, mounting and making.
    #[doc(alias = "s_wtime_hi")]
    pub times_hi: [u8; 3],
    /// 0x277: not used here.
    pub unused_4: [u8; 0x185],
    /// 0x3fc: CRC-32C of all before it (metadata_csum).
    #[doc(alias = "s_checksum")]
    pub checksum: U32,
}

const _: () = assert!(size_of::<RawSuperblock>() == SUPERBLOCK_LEN);

/// A superblock, decoded and found plausible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    /// Bytes a block: 1024 to 65536.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks; in a copy, or while mounted, an old number.
    pub free_blocks: u64,
    /// All inodes.
    pub inodes: u32,
    /// Free inodes; old as the free blocks.
    pub free_inodes: u32,
    /// Inodes a group.
    pub inodes_per_group: u32,
    /// Blocks a group.
    pub blocks_per_group: u32,
    /// Blocks a bit of a block bitmap: 1 but with bigalloc.
    pub blocks_per_cluster: u32,
    /// The block in which group 0 begins.
    pub first_data_block: u32,
    /// The group in which this copy lies, its low 16 bits.
    pub group: u16,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Bytes of a group descriptor.
    pub descriptor_size: u16,
    /// Blocks kept behind the descriptors.
    pub reserved_gdt_blocks: u16,
    /// First descriptor block that is spread, with meta_bg.
    pub first_meta_bg: u32,
    /// The groups with copies, with sparse_super2.
    pub named_backup_groups: [u32; 2],
    /// The journal's inode; 0 without.
    pub journal_inode: u32,
    /// UUID in the usual text form.
    pub uuid: String,
    /// Label, safe to show.
    pub label: String,
    /// Where it was mounted last, safe to show.
    pub last_mounted: String,
    /// Made, seconds since 1970; 0 where not told.
    pub made: u64,
    /// Mounted last, seconds since 1970; 0 for never.
    pub mounted: u64,
    /// Written last, seconds since 1970.
    pub written: u64,
    /// Bit 0: unmounted cleanly. Bit 1: errors were seen.
    pub state: u16,
    /// Feature words: compat, incompat, ro_compat.
    pub features: [u32; 3],
    /// What checksums of other structures begin with.
    pub checksum_seed: u32,
    /// Whether its own CRC-32C holds.
    pub checksum: Checksum,
    /// The bytes as read.
    #[serde(skip)]
    pub raw: Vec<u8>,
}

impl Superblock {
    /// Reads the superblock that lies at `at`: the superblock's own place, not the file system's.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] where the two bytes of magic are not there or
    /// are chance; [`ParseError::Broken`] where it is one with a field that
    /// cannot be so; [`ParseError::Unreadable`].
    pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Superblock> {
        let extent = Extent::new(at, Bytes(SUPERBLOCK_LEN as u64));
        let bytes = read_vec(source, extent, SUPERBLOCK_LEN)?;
        if bytes.len() < SUPERBLOCK_LEN {
            return Err(ParseError::Unreadable(extent));
        }
        Superblock::parse(&bytes, at)
    }

    /// Parses the first 1024 of `bytes`; `at` is only for the error's text.
    ///
    /// # Errors
    /// As [`Superblock::read`].
    pub fn parse(bytes: &[u8], at: Bytes) -> Parsed<Superblock> {
        let (raw, _) = RawSuperblock::ref_from_prefix(bytes).map_err(|_| ParseError::NotThis)?;
        let bytes = bytes.get(..SUPERBLOCK_LEN).unwrap_or_default();
        if raw.magic.get() != 0xef53 || !raw.could_be_one() {
            return Err(ParseError::NotThis);
        }
        let sb = raw.decode(bytes);
        sb.check(raw, at)?;
        Ok(sb)
    }

    /// What cannot be so in a superblock that is surely meant as one.
    fn check(&self, raw: &RawSuperblock, at: Bytes) -> Parsed<()> {
        let broken = |offset: u64, expected: String, found: u64| {
            Err(ParseError::broken(at + Bytes(offset), expected, found))
        };
        let first_most = u32::from(self.block_size == 1024);
        if self.first_data_block > first_most {
            return broken(
                0x14,
                format!("at most {first_most}"),
                self.first_data_block.into(),
            );
        }
        if self.blocks <= self.first_data_block.into() || self.group_count() > GROUPS_MOST {
            return broken(0x04, "a possible number of blocks".to_owned(), self.blocks);
        }
        // The kernel counts these blocks, e2fsprogs does not; where they are none, both agree.
        if raw.blocks_hi.get() != 0 && !self.has_incompat(feature::BIT64) {
            let found = raw.blocks_hi.get().into();
            return broken(0x150, "0 without the feature 64bit".to_owned(), found);
        }
        if !self.inode_size.is_power_of_two()
            || self.inode_size < 128
            || u32::from(self.inode_size) > self.block_size
        {
            return broken(0x58, "an inode size".to_owned(), self.inode_size.into());
        }
        let inodes = self.group_count() * u64::from(self.inodes_per_group);
        if u64::from(self.inodes) != inodes {
            return broken(
                0,
                format!("{inodes} inodes, as the groups hold"),
                self.inodes.into(),
            );
        }
        if self.has_incompat(feature::BIT64)
            && (self.descriptor_size < 64
                || !self.descriptor_size.is_power_of_two()
                || u32::from(self.descriptor_size) > self.block_size)
        {
            let found = raw.descriptor_size.get().into();
            return broken(0xfe, "a descriptor size".to_owned(), found);
        }
        if self.free_blocks > self.blocks || self.free_inodes > self.inodes {
            return broken(
                0x0c,
                format!("at most {} free blocks", self.blocks),
                self.free_blocks,
            );
        }
        Ok(())
    }

    /// Whether it was left with work in its journal.
    pub fn needs_recovery(&self) -> bool {
        self.has_incompat(feature::RECOVER)
    }

    /// Whether it was unmounted cleanly and has no work in its journal.
    pub fn is_clean(&self) -> bool {
        self.state & 1 != 0 && !self.needs_recovery()
    }

    /// Its length.
    pub fn length(&self) -> Bytes {
        self.block(self.blocks)
    }

    /// The name given to it in an answer: label, else where it was mounted last.
    pub fn display_name(&self) -> Option<&str> {
        [&self.label, &self.last_mounted]
            .into_iter()
            .map(String::as_str)
            .find(|name| !name.is_empty())
    }
}

impl RawSuperblock {
    /// Geometry that a real one has and chance does not: two bytes of magic are found in any disk.
    fn could_be_one(&self) -> bool {
        let log = self.log_block_size.get();
        if log > 6 {
            return false;
        }
        let bits = 8 * (1024u32 << log);
        let cluster_log = self.log_cluster_size.get();
        let per_cluster = match self.is_bigalloc() {
            true if cluster_log < log || cluster_log > 20 => return false,
            true => 1u64 << (cluster_log - log),
            false => 1,
        };
        let blocks = u64::from(self.blocks_per_group.get());
        let inodes = self.inodes_per_group.get();
        blocks >= 256
            && blocks.is_multiple_of(8)
            && blocks <= u64::from(bits) * per_cluster
            && (1..=bits).contains(&inodes)
            && self.revision.get() <= 1
            && self.creator_os.get() <= 4
            && self.state.get() <= 0xff
    }

    fn is_bigalloc(&self) -> bool {
        let [_, _, ro_compat] = self.features;
        ro_compat.get() & feature::BIGALLOC != 0
    }

    fn checksum_of(&self, bytes: &[u8]) -> Checksum {
        let [_, _, ro_compat] = self.features;
        if ro_compat.get() & feature::METADATA_CSUM == 0 {
            Checksum::None
        } else if crc32c(!0, bytes.get(..0x3fc).unwrap_or_default()) == self.checksum.get() {
            Checksum::Ok
        } else {
            Checksum::Bad
        }
    }

    /// After [`Self::could_be_one`]: shifts cannot overflow.
    fn decode(&self, bytes: &[u8]) -> Superblock {
        let features = self.features.map(U32::get);
        let [_, incompat, _] = features;
        let wide = incompat & feature::BIT64 != 0;
        let hi = |lo: U32, hi: U32| {
            u64::from(lo.get()) | if wide { u64::from(hi.get()) << 32 } else { 0 }
        };
        let time = |lo: U32, hi: u8| u64::from(lo.get()) | u64::from(hi) << 32;
        let [written_hi, mounted_hi, made_hi] = self.times_hi;
        let log = self.log_block_size.get().min(6);
        let cluster_log = if self.is_bigalloc() {
            self.log_cluster_size.get()
        } else {
            log
        };
        Superblock {
            block_size: 1024 << log,
            blocks: hi(self.blocks_lo, self.blocks_hi),
            free_blocks: hi(self.free_blocks_lo, self.free_blocks_hi),
            inodes: self.inodes.get(),
            free_inodes: self.free_inodes.get(),
            inodes_per_group: self.inodes_per_group.get(),
            blocks_per_group: self.blocks_per_group.get(),
            blocks_per_cluster: 1 << cluster_log.saturating_sub(log).min(20),
            first_data_block: self.first_data_block.get(),
            group: self.group.get(),
            inode_size: if self.revision.get() == 0 {
                128
            } else {
                self.inode_size.get()
            },
            descriptor_size: if wide { self.descriptor_size.get() } else { 32 },
            reserved_gdt_blocks: self.reserved_gdt_blocks.get(),
            first_meta_bg: self.first_meta_bg.get(),
            named_backup_groups: self.backup_groups.map(U32::get),
            journal_inode: self.journal_inode.get(),
            uuid: uuid_text(&self.uuid),
            label: text(&self.label),
            last_mounted: text(&self.last_mounted),
            made: time(self.made_time_lo, made_hi),
            mounted: time(self.mount_time_lo, mounted_hi),
            written: time(self.write_time_lo, written_hi),
            state: self.state.get(),
            features,
            checksum_seed: if incompat & feature::CSUM_SEED != 0 {
                self.checksum_seed.get()
            } else {
                crc32c(!0, &self.uuid)
            },
            checksum: self.checksum_of(bytes),
            raw: bytes.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{dumpe2fs, mke2fs};
    use crate::image::Memory;
    use proptest::prelude::*;

    fn field<'a>(dump: &'a str, name: &str) -> &'a str {
        let line = dump.lines().find(|l| l.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}"))[name.len()..].trim()
    }

    /// One wrong offset here and every layer above searches in the wrong place; dumpe2fs is the judge.
    #[test]
    fn as_dumpe2fs_reads_it() {
        for args in [
            &["-t", "ext2", "-b", "1024", "-L", "boot"][..],
            &["-t", "ext3", "-b", "1024"],
            &["-t", "ext3", "-b", "4096", "-g", "512", "-M", "/var/tmp"],
            &[
                "-t",
                "ext4",
                "-b",
                "4096",
                "-g",
                "256",
                "-O",
                "^metadata_csum",
            ],
            &["-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum"],
            &[
                "-t",
                "ext4",
                "-b",
                "1024",
                "-O",
                "sparse_super2,^resize_inode",
            ],
            &["-t", "ext2", "-r", "0", "-b", "1024"],
            &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
            &["-t", "ext4", "-b", "1024", "-O", "bigalloc"],
        ] {
            let Some(image) = mke2fs(args, 24, None) else {
                return;
            };
            let Some(dump) = dumpe2fs(&image) else { return };
            let source = Memory::new("m", image);
            let sb = Superblock::read(&source, PRIMARY).unwrap();
            assert_eq!(field(&dump, "Block size:"), sb.block_size.to_string());
            assert_eq!(field(&dump, "Block count:"), sb.blocks.to_string());
            assert_eq!(field(&dump, "Free blocks:"), sb.free_blocks.to_string());
            assert_eq!(field(&dump, "Inode count:"), sb.inodes.to_string());
            assert_eq!(field(&dump, "Filesystem UUID:"), sb.uuid);
            let mut features = sb.feature_names();
            features.sort_unstable();
            let mut theirs: Vec<&str> = field(&dump, "Filesystem features:").split(' ').collect();
            theirs.sort_unstable();
            if theirs != ["(none)"] {
                assert_eq!(theirs, features);
            }
            let kind = args[1];
            assert_eq!(sb.kind(), kind, "{args:?}");
            let csum = dump.contains("Checksum type:");
            assert_eq!(
                sb.checksum,
                if csum { Checksum::Ok } else { Checksum::None }
            );
            assert!(sb.is_clean() && sb.made > 1_700_000_000, "{sb:?}");
            crate::fs::ext_group::tests::groups_as_dumpe2fs(&dump, &source, &sb, args);
        }
    }

    /// Two bytes of magic are found once in 128 KiB of noise (at any byte): nothing of that may become a finding.
    #[test]
    fn chance_is_not_a_superblock() {
        let mut bytes = vec![0; 1024];
        bytes[MAGIC_AT..][..2].copy_from_slice(MAGIC);
        assert_eq!(
            Superblock::parse(&bytes, Bytes(0)),
            Err(ParseError::NotThis)
        );
        let mut noise = 1u64;
        for _ in 0..2000 {
            for byte in &mut bytes {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (noise >> 56) as u8;
            }
            bytes[MAGIC_AT..][..2].copy_from_slice(MAGIC);
            assert_eq!(
                Superblock::parse(&bytes, Bytes(0)),
                Err(ParseError::NotThis)
            );
        }
    }

    /// A real superblock with one impossible field is damage to be told, not "nothing here".
    #[test]
    fn one_impossible_field_is_broken() {
        let Some(image) = mke2fs(&["-t", "ext4"], 8, None) else {
            return;
        };
        let mut bytes = image[1024..2048].to_vec();
        bytes[0] ^= 1;
        let error = Superblock::parse(&bytes, PRIMARY).unwrap_err();
        assert!(matches!(error, ParseError::Broken { at, .. } if at == PRIMARY));
        bytes[0] ^= 1;
        bytes[0x30] ^= 1;
        assert_eq!(
            Superblock::parse(&bytes, PRIMARY).unwrap().checksum,
            Checksum::Bad
        );
    }

    proptest! {
        /// The parser is fed whatever carries the magic.
        #[test]
        fn any_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 1024), log in 0u8..7) {
            bytes[MAGIC_AT..][..2].copy_from_slice(MAGIC);
            bytes[0x18..0x1c].copy_from_slice(&[log, 0, 0, 0]);
            bytes[0x22..0x24].fill(0);
            bytes[0x2a..0x2c].fill(0);
            bytes[0x48..0x50].fill(0);
            bytes[0x3b] = 0;
            if let Ok(sb) = Superblock::parse(&bytes, Bytes(0)) {
                let _ = (sb.backup_groups(), sb.fs_start(Bytes(0)), sb.descriptors_length());
            }
        }
    }
}
