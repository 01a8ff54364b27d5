//! ext's inodes, and which block of the volume holds which block of a file.
//!
//! An inode has 128 bytes or more, little endian, and lies in its group's
//! table; inodes are numbered from 1. A file is mapped by an extent tree or,
//! in ext2 and ext3, by 12 direct blocks and up to three levels of blocks of
//! numbers. This is what [`super::ext_check`] and [`super::ext_journal`] need;
//! reading files in general is [`super::browse`]'s.
//! Offsets: the kernel's ext4 documentation.

use super::ext::Superblock;
use super::ext_features::{crc32c, feature};
use super::ext_group::Descriptor;
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The root folder's inode.
pub const ROOT: u32 = 2;

/// flags: the data are encrypted.
const ENCRYPTED_FLAG: u32 = 0x800;
/// flags: the file is mapped by an extent tree.
const EXTENTS_FLAG: u32 = 0x8_0000;
/// flags: the file's data lie in the inode.
const INLINE_FLAG: u32 = 0x1000_0000;

/// An inode's first 128 bytes as they lie on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawInode {
    /// 0x00: kind (high four bits) and permissions.
    #[doc(alias = "i_mode")]
    pub mode: U16,
    /// 0x02: owner, low half.
    #[doc(alias = "i_uid")]
    pub uid: U16,
    /// 0x04: length in bytes, low half.
    #[doc(alias = "i_size_lo")]
    pub size_lo: U32,
    /// 0x08: read, changed, written, deleted; seconds since 1970.
    #[doc(alias = "i_atime")]
    pub times: [U32; 4],
    /// 0x18: group, low half.
    #[doc(alias = "i_gid")]
    pub gid: U16,
    /// 0x1a: names it has.
    #[doc(alias = "i_links_count")]
    pub links: U16,
    /// 0x1c: blocks of 512 bytes, low half.
    #[doc(alias = "i_blocks_lo")]
    pub sectors: U32,
    /// 0x20: flags.
    #[doc(alias = "i_flags")]
    pub flags: U32,
    /// 0x24: not used here.
    #[doc(alias = "i_osd1")]
    pub version: U32,
    /// 0x28: the map: extent tree's root, or 15 block numbers, or a short link's target.
    #[doc(alias = "i_block")]
    pub map: [u8; 60],
    /// 0x64: generation.
    #[doc(alias = "i_generation")]
    pub generation: U32,
    /// 0x68: block of extended attributes, low half.
    #[doc(alias = "i_file_acl_lo")]
    pub attributes: U32,
    /// 0x6c: length in bytes, high half.
    #[doc(alias = "i_size_high")]
    pub size_hi: U32,
    /// 0x70: not used here.
    pub unused: [u8; 12],
    /// 0x7c: CRC-32C, low half.
    #[doc(alias = "l_i_checksum_lo")]
    pub checksum_lo: U16,
    /// 0x7e: not used here.
    pub reserved: U16,
}

/// What follows in inodes of more than 128 bytes.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawInodeMore {
    /// 0x80 `i_extra_isize`: how many bytes behind 128 are in use.
    extra: U16,
    /// 0x82 `i_checksum_hi`: CRC-32C, high half.
    checksum_hi: U16,
}

/// Head of a node of an extent tree: `ext4_extent_header`.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawNode {
    /// `eh_magic`: 0xf30a.
    magic: U16,
    /// `eh_entries`: entries in use.
    entries: U16,
    /// `eh_max`: entries that fit.
    most: U16,
    /// `eh_depth`: 0 for a leaf.
    depth: U16,
    /// `eh_generation`.
    generation: U32,
}

/// An entry of a node: `ext4_extent` in a leaf, `ext4_extent_idx` above.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    /// `ee_block`, `ei_block`: first block of the file that it maps.
    first: U32,
    /// The rest: a leaf has length (2), place high (2), place low (4); an index node place low (4), place high (2).
    rest: [u8; 8],
}

const _: () = assert!(size_of::<RawInode>() == 128 && size_of::<RawInodeMore>() == 4);
const _: () = assert!(size_of::<RawNode>() == 12 && size_of::<RawEntry>() == 12);

/// Blocks of a file that lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first in the volume; `None` where they are a hole, which reads as zeros.
    pub block: Option<u64>,
    /// How many: at least 1; may reach past the file's end.
    pub blocks: u32,
}

/// What an inode stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
    /// Nothing that exists.
    Invalid,
}

/// An inode, decoded.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// Kind and permissions.
    pub mode: u16,
    /// Bytes of the file.
    pub size: u64,
    /// Names it has; 0 for a free or deleted one.
    pub links: u16,
    /// Deleted, seconds since 1970; 0 for a living one.
    pub deleted: u32,
    /// Flags.
    pub flags: u32,
    /// Whether its CRC-32C holds.
    pub checksum: Checksum,
    map: [u8; 60],
}

impl Superblock {
    /// Where inode `number` lies, with the group's descriptor.
    pub fn inode_at(&self, descriptor: &Descriptor, number: u32) -> Bytes {
        let index = number.saturating_sub(1) % self.inodes_per_group.max(1);
        self.block(descriptor.inode_table)
            + Bytes(u64::from(index).saturating_mul(self.inode_size.into()))
    }

    /// The group of inode `number`.
    pub fn inode_group(&self, number: u32) -> u64 {
        u64::from(number.saturating_sub(1) / self.inodes_per_group.max(1))
    }

    /// Reads inode `number` through its group's descriptor.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] where no such number exists, [`ParseError::Unreadable`].
    pub fn inode(
        &self,
        source: &dyn Source,
        descriptor: &Descriptor,
        number: u32,
    ) -> Parsed<Inode> {
        if number == 0 || number > self.inodes {
            return Err(ParseError::NotThis);
        }
        let length = usize::from(self.inode_size);
        let extent = Extent::new(self.inode_at(descriptor, number), Bytes(length as u64));
        let bytes = read_vec(source, extent, length)?;
        self.parse_inode(&bytes, number)
            .ok_or(ParseError::Unreadable(extent))
    }

    /// Parses the bytes of inode `number`; `None` where they are too few.
    pub fn parse_inode(&self, bytes: &[u8], number: u32) -> Option<Inode> {
        let (raw, more) = RawInode::ref_from_prefix(bytes).ok()?;
        let [_, _, _, deleted] = raw.times;
        Some(Inode {
            number,
            mode: raw.mode.get(),
            size: u64::from(raw.size_lo.get()) | u64::from(raw.size_hi.get()) << 32,
            links: raw.links.get(),
            deleted: deleted.get(),
            flags: raw.flags.get(),
            checksum: self.inode_checksum(bytes, raw, more, number),
            map: raw.map,
        })
    }

    /// Over the whole inode with the checksum's own bytes zero.
    fn inode_checksum(&self, bytes: &[u8], raw: &RawInode, more: &[u8], number: u32) -> Checksum {
        if !self.has_ro_compat(feature::METADATA_CSUM) {
            return Checksum::None;
        }
        let high = RawInodeMore::ref_from_prefix(more)
            .ok()
            .map(|(more, _)| more)
            .filter(|more| more.extra.get() >= 4);
        let part =
            |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default();
        let parts: [&[u8]; 7] = [
            &number.to_le_bytes(),
            &raw.generation.get().to_le_bytes(),
            part(0, 0x7c),
            &[0, 0],
            part(0x7e, 0x82),
            if high.is_some() {
                &[0, 0]
            } else {
                part(0x82, 0x84)
            },
            part(0x84, usize::MAX),
        ];
        let crc = (parts.iter()).fold(self.checksum_seed, |seed, part| crc32c(seed, part));
        let stored = u32::from(raw.checksum_lo.get());
        let holds = match high {
            Some(more) => crc == stored | u32::from(more.checksum_hi.get()) << 16,
            None => crc & 0xffff == stored,
        };
        if holds { Checksum::Ok } else { Checksum::Bad }
    }

    /// The block of the volume that holds block `logical` of a file; `None` for a hole.
    ///
    /// # Errors
    /// As [`Superblock::run`].
    pub fn map(&self, source: &dyn Source, inode: &Inode, logical: u32) -> Parsed<Option<u64>> {
        self.run(source, inode, logical).map(|run| run.block)
    }

    /// Where block `logical` of a file lies, and how many behind it lie one behind the other.
    ///
    /// # Errors
    /// [`ParseError::Broken`] where the map leads outside of the volume or is
    /// no map, [`ParseError::Unreadable`], [`ParseError::Unsupported`] for data
    /// inside the inode.
    pub fn run(&self, source: &dyn Source, inode: &Inode, logical: u32) -> Parsed<Run> {
        if inode.flags & INLINE_FLAG != 0 {
            return Err(ParseError::Unsupported("data inside the inode".to_owned()));
        }
        let run = if inode.flags & EXTENTS_FLAG != 0 {
            self.run_extents(source, inode, logical)?
        } else {
            self.run_indirect(source, inode, logical)?
        };
        if let Some(block) = run.block {
            self.inside(block)?;
            self.inside(block.saturating_add(u64::from(run.blocks.saturating_sub(1))))?;
        }
        Ok(run)
    }

    /// The block's number, if the volume has it.
    fn inside(&self, block: u64) -> Parsed<u64> {
        if block <= u64::from(self.first_data_block) || block >= self.blocks {
            let expected = format!("a block below {}", self.blocks);
            return Err(ParseError::broken(self.block(block), expected, block));
        }
        Ok(block)
    }

    pub(super) fn read_block(&self, source: &dyn Source, block: u64) -> Parsed<Vec<u8>> {
        let at = self.block(self.inside(block)?);
        let extent = Extent::new(at, Bytes(self.block_size.into()));
        let bytes = read_vec(source, extent, 1 << 16)?;
        if Bytes(bytes.len() as u64) < extent.length {
            return Err(ParseError::Unreadable(extent));
        }
        Ok(bytes)
    }

    fn run_extents(&self, source: &dyn Source, inode: &Inode, logical: u32) -> Parsed<Run> {
        let mut node = inode.map.to_vec();
        let mut at = Bytes::ZERO;
        let mut above = None;
        // First block behind `logical` that some node maps by another entry.
        let mut next_first = u32::MAX;
        // A tree has at most five levels below its root; each must be one lower than the last.
        loop {
            let (head, entries) =
                RawNode::ref_from_prefix(&node).map_err(|_| ParseError::NotThis)?;
            let depth = head.depth.get();
            if head.magic.get() != 0xf30a || depth > 5 || above.is_some_and(|a| a != depth + 1) {
                let found = format!("{:#06x} of depth {depth}", head.magic);
                return Err(ParseError::broken(at, "a node of an extent tree", found));
            }
            let mut chosen = None;
            for raw in entries.chunks_exact(12).take(head.entries.get().into()) {
                let Ok(entry) = RawEntry::ref_from_bytes(raw) else {
                    break;
                };
                if entry.first.get() > logical {
                    next_first = next_first.min(entry.first.get());
                    break;
                }
                chosen = Some(entry);
            }
            let hole = Run {
                block: None,
                blocks: (next_first - logical).max(1),
            };
            let Some(entry) = chosen else { return Ok(hole) };
            let [a, b, c, d, e, f, g, h] = entry.rest;
            let place = |low: [u8; 4], high: [u8; 2]| {
                u64::from(u32::from_le_bytes(low)) | u64::from(u16::from_le_bytes(high)) << 32
            };
            if depth == 0 {
                let length = u32::from(u16::from_le_bytes([a, b]));
                // More than 32768: set aside but never written, reads as zeros.
                let unwritten = length > 0x8000;
                let length = if unwritten { length - 0x8000 } else { length };
                let behind = logical - entry.first.get();
                return Ok(match behind < length {
                    false => hole,
                    true => Run {
                        block: (!unwritten)
                            .then(|| place([e, f, g, h], [c, d]) + u64::from(behind)),
                        blocks: length - behind,
                    },
                });
            }
            let next = place([a, b, c, d], [e, f]);
            at = self.block(next);
            node = self.read_block(source, next)?;
            above = Some(depth);
        }
    }

    fn run_indirect(&self, source: &dyn Source, inode: &Inode, logical: u32) -> Parsed<Run> {
        let per_block = u64::from(self.block_size / 4).max(1);
        let mut rest = u64::from(logical);
        if rest < 12 {
            let direct = inode.map.get(..48).unwrap_or_default();
            return Ok(numbers_run(direct, rest));
        }
        rest -= 12;
        let mut span = 1u64;
        for (slot, levels) in [(12, 1), (13, 2), (14, 3)] {
            span = span.saturating_mul(per_block);
            if rest >= span {
                rest -= span;
                continue;
            }
            let mut block = numbers_run(&inode.map, slot).block;
            let mut below = span;
            for level in (0..levels).rev() {
                let Some(numbers) = block else {
                    // Nothing of what this block would map is there.
                    let blocks = u32::try_from(below - rest).unwrap_or(u32::MAX);
                    return Ok(Run {
                        block: None,
                        blocks,
                    });
                };
                below /= per_block;
                let bytes = self.read_block(source, numbers)?;
                let run = numbers_run(&bytes, rest / below.max(1));
                if level == 0 {
                    return Ok(run);
                }
                block = run.block;
                rest %= below.max(1);
            }
        }
        Ok(Run {
            block: None,
            blocks: u32::MAX,
        })
    }
}

/// The run that begins with number `index` of a list of block numbers; 0 is a hole.
fn numbers_run(list: &[u8], index: u64) -> Run {
    let from = Bytes(index.saturating_mul(4)).to_len(list.len());
    let mut numbers = list
        .get(from..)
        .unwrap_or_default()
        .chunks_exact(4)
        .map(|raw| {
            raw.iter()
                .rev()
                .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
        });
    let first = numbers.next().unwrap_or(0);
    let more = (1..)
        .zip(numbers)
        .take_while(|(n, number)| *number == if first == 0 { 0 } else { first + n })
        .count();
    Run {
        block: (first != 0).then_some(first),
        blocks: u32::try_from(more).unwrap_or(0).saturating_add(1),
    }
}

impl Inode {
    /// Whether its data are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED_FLAG != 0
    }

    /// What it stands for.
    pub fn kind(&self) -> Kind {
        match self.mode >> 12 {
            8 => Kind::File,
            4 => Kind::Folder,
            10 => Kind::Link,
            1 | 2 | 6 | 12 => Kind::Special,
            _ => Kind::Invalid,
        }
    }

    /// What in it cannot be so, for an inode that its bitmap calls used.
    pub fn problem(&self, sb: &Superblock) -> Option<String> {
        if self.checksum == Checksum::Bad {
            return Some("its checksum does not hold".to_owned());
        }
        // Reserved ones (bad blocks, resize, journal) have modes of their own; orphans have no links.
        let reserved = self.number < 11 && self.number != ROOT;
        if self.kind() == Kind::Invalid && !(reserved && self.mode & 0xf000 == 0) {
            return Some(format!("mode {:#o} is of no kind of file", self.mode));
        }
        let most = u64::from(sb.block_size).saturating_mul(1 << 32);
        if self.size > most {
            return Some(format!("it would have {} bytes", self.size));
        }
        if self.kind() == Kind::Folder
            && !self.size.is_multiple_of(sb.block_size.into())
            && self.flags & INLINE_FLAG == 0
        {
            return Some(format!(
                "a folder of {} bytes is no whole blocks",
                self.size
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::ext::PRIMARY;
    use crate::fs::testing::{debugfs, mke2fs, sample_folder};
    use crate::image::Memory;

    /// A block map off by one gives another file's bytes under this one's name; debugfs is the judge.
    #[test]
    fn files_are_mapped_as_debugfs_maps_them() {
        let folder = sample_folder();
        for args in [
            ["-t", "ext3", "-b", "1024"],
            ["-t", "ext4", "-b", "1024"],
            ["-t", "ext4", "-b", "4096"],
        ] {
            let Some(image) = mke2fs(&args, 24, Some(folder.path())) else {
                return;
            };
            let source = Memory::new("m", image.clone());
            let sb = Superblock::read(&source, PRIMARY).unwrap();
            let stat = debugfs(&image, "stat /long").unwrap();
            let number: u32 = stat.split_whitespace().nth(1).unwrap().parse().unwrap();
            let group = sb.descriptor(&source, sb.inode_group(number), 0).unwrap();
            let inode = sb.inode(&source, &group, number).unwrap();
            assert_eq!((inode.size, inode.kind()), (1_600_000, Kind::File));
            assert_ne!(inode.checksum, Checksum::Bad);
            let last = 1_600_000 / sb.block_size;
            for logical in [0, 1, 11, 12, 13, 267, 268, 269, last, last + 1] {
                let theirs = debugfs(&image, &format!("bmap /long {logical}")).unwrap();
                let theirs: u64 = theirs.trim().parse().unwrap();
                let ours = sb.map(&source, &inode, logical).unwrap().unwrap_or(0);
                assert_eq!(ours, theirs, "{args:?} block {logical}");
            }
            let mut logical = 0;
            while logical <= last {
                let run = sb.run(&source, &inode, logical).unwrap();
                for n in 0..run.blocks.min(last + 1 - logical) {
                    let one = sb.map(&source, &inode, logical + n).unwrap();
                    assert_eq!(one, run.block.map(|b| b + u64::from(n)), "{args:?}");
                }
                logical = logical.saturating_add(run.blocks);
            }
            let root = sb
                .inode(&source, &sb.descriptor(&source, 0, 0).unwrap(), ROOT)
                .unwrap();
            assert_eq!(sb.names(&source, &root).find(b"long"), Ok(Some(number)));
            assert_eq!(sb.names(&source, &root).find(b"lon"), Ok(None));
            assert_eq!(sb.folder_problem(&source, &root), Ok(None));
            assert!(sb.folder_problem(&source, &inode).unwrap().is_some());
        }
    }

    /// A tree whose index node leads to itself must end.
    #[test]
    fn a_tree_that_loops_ends() {
        let Some(mut image) = mke2fs(&["-t", "ext4", "-b", "1024"], 8, None) else {
            return;
        };
        let source = Memory::new("m", image.clone());
        let sb = Superblock::read(&source, PRIMARY).unwrap();
        let node = [
            0x0a, 0xf3, 1, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x13, 0, 0, 0, 0, 0, 0,
        ];
        image[5000 * 1024..][..24].copy_from_slice(&node);
        let mut bytes = vec![0; 256];
        bytes[1] = 0x80;
        bytes[0x22] = 0x08;
        bytes[0x28..0x40].copy_from_slice(&node);
        let inode = sb.parse_inode(&bytes, 12).unwrap();
        let result = sb.map(&Memory::new("m", image), &inode, 0);
        assert!(
            matches!(result, Err(ParseError::Broken { .. })),
            "{result:?}"
        );
    }
}
