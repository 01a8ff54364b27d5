//! The superblock of ext2, ext3 and ext4: 1024 bytes, at byte 1024 of the file system, with copies in some groups.
//!
//! Little-endian. Source: the kernel's `Documentation/filesystems/ext4/super.rst`.

use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed, printable};
use crate::units::{Bytes, Extent};
use crc::{CRC_32_ISCSI, Crc, Table};
use serde::Serialize;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a superblock, and where the first one lies in a file system.
pub const SIZE: usize = 1024;

/// Where the first superblock lies in a file system.
pub const AT: Bytes = Bytes(1024);

/// The magic, [`MAGIC_AT`] bytes into the superblock.
pub const MAGIC: &[u8; 2] = b"\x53\xef";

/// Where the magic lies in a superblock; superblocks start on sectors.
pub const MAGIC_AT: usize = 0x38;

/// Where a superblock keeps its checksum, where it has one.
const CHECKSUM_AT: usize = 0x3fc;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    #[doc(alias = "s_inodes_count")]
    inodes: U32,
    #[doc(alias = "s_blocks_count_lo")]
    blocks_low: U32,
    _reserved_blocks: U32,
    #[doc(alias = "s_free_blocks_count_lo")]
    free_blocks_low: U32,
    #[doc(alias = "s_free_inodes_count")]
    free_inodes: U32,
    #[doc(alias = "s_first_data_block")]
    first_data_block: U32,
    #[doc(alias = "s_log_block_size")]
    log_block_size: U32,
    _log_cluster_size: U32,
    #[doc(alias = "s_blocks_per_group")]
    blocks_per_group: U32,
    _clusters_per_group: U32,
    #[doc(alias = "s_inodes_per_group")]
    inodes_per_group: U32,
    #[doc(alias = "s_mtime")]
    mounted: U32,
    #[doc(alias = "s_wtime")]
    written: U32,
    _mount_counts: [u8; 4],
    #[doc(alias = "s_magic")]
    magic: [u8; 2],
    #[doc(alias = "s_state")]
    state: U16,
    _errors: [u8; 12],
    _creator_os: U32,
    #[doc(alias = "s_rev_level")]
    revision: U32,
    _reserved_ids: [u8; 4],
    _first_inode: U32,
    #[doc(alias = "s_inode_size")]
    inode_size: U16,
    #[doc(alias = "s_block_group_nr")]
    group: U16,
    #[doc(alias = "s_feature_compat")]
    compat: U32,
    #[doc(alias = "s_feature_incompat")]
    incompat: U32,
    #[doc(alias = "s_feature_ro_compat")]
    ro_compat: U32,
    #[doc(alias = "s_uuid")]
    uuid: [u8; 16],
    #[doc(alias = "s_volume_name")]
    label: [u8; 16],
    #[doc(alias = "s_last_mounted")]
    last_mounted: [u8; 64],
    _algorithm: U32,
    _preallocation: [u8; 2],
    _reserved_gdt_blocks: U16,
    _journal: [u8; 28],
    _hash: [u8; 16],
    _hash_version: [u8; 2],
    #[doc(alias = "s_desc_size")]
    descriptor_size: U16,
    _mount_options: [u8; 8],
    #[doc(alias = "s_mkfs_time")]
    made: U32,
    _journal_blocks: [u8; 68],
    #[doc(alias = "s_blocks_count_hi")]
    blocks_high: U32,
    _middle: [u8; CHECKSUM_AT - 0x154],
    #[doc(alias = "s_checksum")]
    checksum: U32,
}

const _: () = assert!(size_of::<Raw>() == SIZE);
const _: () = assert!(std::mem::offset_of!(Raw, checksum) == CHECKSUM_AT);
const _: () = assert!(std::mem::offset_of!(Raw, uuid) == 0x68);
const _: () = assert!(std::mem::offset_of!(Raw, descriptor_size) == 0xfe);
const _: () = assert!(std::mem::offset_of!(Raw, blocks_high) == 0x150);

const COMPAT_HAS_JOURNAL: u32 = 4;
const INCOMPAT_RECOVER: u32 = 4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const RO_COMPAT_SPARSE_SUPER: u32 = 1;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const STATE_CLEAN: u16 = 1;

/// A superblock, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    /// Which group's copy it is; 0 for the first.
    pub group: u32,
    /// Bytes of a block.
    pub block_size: Bytes,
    /// Blocks of the file system.
    pub blocks: u64,
    /// Blocks of a group.
    pub blocks_per_group: u64,
    /// The block in which the first group starts: 1 with blocks of 1 KiB, else 0.
    pub first_data_block: u64,
    /// Inodes of a group.
    pub inodes_per_group: u64,
    /// Bytes of an inode.
    pub inode_size: u64,
    /// Bytes of a group descriptor.
    pub descriptor_size: u64,
    /// `ext2`, `ext3` or `ext4`, by its features.
    pub kind: &'static str,
    /// Its UUID.
    pub uuid: String,
    /// Its label, safe to print.
    pub label: String,
    /// Where it was last mounted, safe to print.
    pub last_mounted: String,
    /// When it was made, in seconds since 1970; 0 where not noted.
    pub made: u64,
    /// When it was last written.
    pub written: u64,
    /// Whether it has a journal.
    pub has_journal: bool,
    /// Whether it was unmounted cleanly.
    pub clean: bool,
    /// Whether its journal waits to be replayed.
    pub needs_recovery: bool,
    /// Whether descriptors lie in each meta group instead of behind the superblock.
    pub meta_bg: bool,
    /// Whether a group's bitmaps and inodes may lie in another group.
    pub flex_bg: bool,
    /// Whether copies lie in few groups only.
    pub sparse: bool,
    /// Whether its checksum holds, where it has one.
    pub checksum: Checksum,
}

impl Superblock {
    /// Reads the superblock at `at` (its own first byte, not the file system's).
    ///
    /// # Errors
    /// [`ParseError::NotThis`] without the magic or where the numbers cannot be a file system's.
    pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Superblock> {
        let mut buf = [0; SIZE];
        read_exact(source, at, &mut buf)?;
        let raw = Raw::read_from_bytes(&buf).map_err(|_| ParseError::NotThis)?;
        if raw.magic != *MAGIC || !makes_sense(&raw) {
            return Err(ParseError::NotThis);
        }
        let checksum = match raw.ro_compat.get() & RO_COMPAT_METADATA_CSUM {
            0 => Checksum::None,
            _ if checksum(&buf) == raw.checksum.get() => Checksum::Ok,
            _ => Checksum::Bad,
        };
        Ok(decode(&raw, checksum))
    }

    /// Where the file system starts in the source, by a superblock's place; `None` where before it.
    pub fn fs_start(&self, at: Bytes) -> Option<Bytes> {
        at.0.checked_sub(self.copy_at(self.group).0).map(Bytes)
    }

    /// Where the copy of group `group` lies in the file system.
    pub fn copy_at(&self, group: u32) -> Bytes {
        match group {
            0 => AT,
            n => self.group_start(n),
        }
    }

    /// Where a group starts in the file system.
    pub fn group_start(&self, group: u32) -> Bytes {
        let block = u64::from(group)
            .saturating_mul(self.blocks_per_group)
            .saturating_add(self.first_data_block);
        Bytes(block.saturating_mul(self.block_size.0))
    }

    /// How many groups there are.
    pub fn groups(&self) -> u32 {
        let blocks = self.blocks.saturating_sub(self.first_data_block);
        u32::try_from(blocks.div_ceil(self.blocks_per_group.max(1))).unwrap_or(u32::MAX)
    }

    /// The file system's length.
    pub fn length(&self) -> Bytes {
        Bytes(self.blocks.saturating_mul(self.block_size.0))
    }

    /// Whether group `group` holds a copy of the superblock.
    pub fn has_copy(&self, group: u32) -> bool {
        let power_of = |base: u32| {
            let mut n = base;
            while n < group {
                n = n.saturating_mul(base);
            }
            n == group
        };
        !self.sparse || group <= 1 || power_of(3) || power_of(5) || power_of(7)
    }

    /// Whether a group's block bitmap was written, as far as the place of its own blocks tells: with flex_bg, only the
    /// group that holds its own bitmap certainly has one.
    pub fn has_bitmap(&self, group: u32, descriptor: Descriptor) -> bool {
        let first = self.group_start(group).0 / self.block_size.0;
        !self.flex_bg || (first..first + self.blocks_per_group).contains(&descriptor.block_bitmap)
    }

    /// Where the group descriptors lie in the file system, behind the first superblock or the copy of a group.
    pub fn descriptors(&self, group: u32) -> Extent {
        let block = self.block_size.0;
        let after = match group {
            0 => (self.first_data_block + 1) * block,
            n => self.group_start(n).0.saturating_add(block),
        };
        let length = u64::from(self.groups()).saturating_mul(self.descriptor_size);
        Extent::new(Bytes(after), Bytes(length))
    }
}

/// A superblock's checksum: crc32c of all before it, which ext4 keeps without the final inversion.
fn checksum(superblock: &[u8]) -> u32 {
    let crc = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);
    !crc.checksum(superblock.get(..CHECKSUM_AT).unwrap_or_default())
}

/// Gives a superblock that was changed in memory the checksum that fits.
pub(super) fn seal(superblock: &mut [u8]) {
    let sum = checksum(superblock).to_le_bytes();
    if let Some(slot) = superblock.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
        slot.copy_from_slice(&sum);
    }
}

fn makes_sense(raw: &Raw) -> bool {
    let log = raw.log_block_size.get();
    if log > 6 || raw.revision.get() > 1 {
        return false;
    }
    let block = 1024_u64 << log;
    let per_group = u64::from(raw.blocks_per_group.get());
    let inodes = u64::from(raw.inodes_per_group.get());
    (8..=block * 8).contains(&per_group)
        && (1..=block * 8).contains(&inodes)
        && raw.inodes.get() > 0
        && raw.blocks_low.get() | raw.blocks_high.get() > 0
        && raw.first_data_block.get() <= 1
}

fn decode(raw: &Raw, checksum: Checksum) -> Superblock {
    let (compat, incompat) = (raw.compat.get(), raw.incompat.get());
    let wide = incompat & INCOMPAT_64BIT != 0;
    let high = if wide {
        u64::from(raw.blocks_high.get())
    } else {
        0
    };
    let name = |bytes: &[u8]| printable(bytes.split(|b| *b == 0).next().unwrap_or_default());
    Superblock {
        group: raw.group.get().into(),
        block_size: Bytes(1024 << raw.log_block_size.get().min(6)),
        blocks: high << 32 | u64::from(raw.blocks_low.get()),
        blocks_per_group: raw.blocks_per_group.get().into(),
        first_data_block: raw.first_data_block.get().into(),
        inodes_per_group: raw.inodes_per_group.get().into(),
        inode_size: match raw.revision.get() {
            0 => 128,
            _ => raw.inode_size.get().into(),
        },
        descriptor_size: match raw.descriptor_size.get() {
            size if wide && size >= 64 => size.into(),
            _ => 32,
        },
        kind: match (
            incompat & (INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG),
            compat,
        ) {
            (0, c) if c & COMPAT_HAS_JOURNAL == 0 => "ext2",
            (0, _) => "ext3",
            _ => "ext4",
        },
        uuid: uuid(&raw.uuid),
        label: name(&raw.label),
        last_mounted: name(&raw.last_mounted),
        made: raw.made.get().into(),
        written: u64::from(raw.written.get()).max(raw.mounted.get().into()),
        has_journal: compat & COMPAT_HAS_JOURNAL != 0,
        clean: raw.state.get() & STATE_CLEAN != 0,
        needs_recovery: incompat & INCOMPAT_RECOVER != 0,
        meta_bg: incompat & INCOMPAT_META_BG != 0,
        flex_bg: incompat & INCOMPAT_FLEX_BG != 0,
        sparse: raw.ro_compat.get() & RO_COMPAT_SPARSE_SUPER != 0,
        checksum,
    }
}

/// A UUID as people know it.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let hex = hex::encode(bytes);
    let mut text = String::new();
    for (i, c) in hex.chars().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(c);
    }
    text
}

/// A group descriptor: where the group's own metadata lies, as block numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The block bitmap's block.
    pub block_bitmap: u64,
    /// The inode bitmap's block.
    pub inode_bitmap: u64,
    /// The inode table's first block.
    pub inode_table: u64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDescriptor {
    low: [U32; 3],
    _counts: [u8; 20],
}

const _: () = assert!(size_of::<RawDescriptor>() == 32);

impl Descriptor {
    /// Decodes one descriptor; those of 64 bytes have the upper halves at byte 32.
    pub fn decode(bytes: &[u8]) -> Option<Descriptor> {
        let (raw, rest) = RawDescriptor::read_from_prefix(bytes).ok()?;
        let high = <[U32; 3]>::read_from_prefix(rest).map_or([U32::ZERO; 3], |(high, _)| high);
        let joined = |low: U32, high: U32| u64::from(high.get()) << 32 | u64::from(low.get());
        let [a, b, c] = raw.low;
        let [x, y, z] = high;
        Some(Descriptor {
            block_bitmap: joined(a, x),
            inode_bitmap: joined(b, y),
            inode_table: joined(c, z),
        })
    }
}

/// The parts of an inode that a check looks at.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawInode {
    /// Kind and permissions.
    #[doc(alias = "i_mode")]
    pub mode: U16,
    _ids: [u8; 30],
    /// Flags; 0x80000 for extents.
    #[doc(alias = "i_flags")]
    pub flags: U32,
    _version: U32,
    /// Block numbers, or an extent tree's root.
    #[doc(alias = "i_block")]
    pub block: [u8; 60],
}

const _: () = assert!(size_of::<RawInode>() == 100);

impl RawInode {
    /// The first block of the file, if it can be told from the inode alone.
    pub fn first_block(&self) -> Option<u64> {
        const EXTENTS: u32 = 0x8_0000;
        if self.flags.get() & EXTENTS == 0 {
            return U32::read_from_prefix(&self.block)
                .ok()
                .map(|(b, _)| b.get().into());
        }
        // Header of 12 bytes (magic f30a, depth at byte 6), then: logical u32, length u16, start high u16, start low u32.
        let depth = self.block.get(6..8)?;
        let entry = self.block.get(12..24)?;
        if self.block.first_chunk() != Some(&[0x0a, 0xf3]) || depth != [0, 0] {
            return None;
        }
        let (whole, _) = U64::read_from_prefix(entry.get(4..12)?).ok()?;
        let high = whole.get() >> 16 & 0xffff;
        let low = whole.get() >> 32;
        Some(high << 32 | low)
    }
}
