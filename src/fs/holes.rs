//! Holes of block-mapped files, for a reader that does not know them all.
//!
//! ext2 and ext3 list a file's blocks in the inode and in indirect blocks. A
//! hole can be a missing block (0 in the last list) or a missing list (0 where
//! an indirect block's number would stand). ext4-view 1.0 reads the first kind
//! as zeros and takes the second for damage. So the bytes that it sees are
//! changed on their way: a missing list becomes the number of a block that
//! never holds file data (a bitmap), and that block is shown as a list of
//! holes. `/var/log/lastlog` is such a file on nearly every old system.

use super::ext::{Descriptor, Superblock};
use crate::image::{Source, len_of, read_vec};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use std::collections::BTreeMap;
use std::sync::Mutex;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Groups whose inode tables are watched at most.
const MOST_GROUPS: usize = 1 << 20;

/// The parts of an inode that say where its blocks are.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Inode {
    mode: U16,
    _uid: U16,
    #[doc(alias = "i_size_lo")]
    size_low: U32,
    _times: [u8; 24],
    flags: U32,
    _version: U32,
    direct: [U32; 12],
    /// Lists of depth 1, 2 and 3.
    lists: [U32; 3],
    _generation: U32,
    _acl: U32,
    #[doc(alias = "i_size_high")]
    size_high: U32,
}

const INODE: usize = 112;
const _: () = assert!(size_of::<Inode>() == INODE);

const FILE: u16 = 0x8000;
const KIND: u16 = 0xf000;
/// Files by extents or with their bytes in the inode have no lists.
const OTHERWISE: u32 = 0x8_0000 | 0x1000_0000;

/// Shows missing lists as lists of holes.
pub struct Holes {
    block: u64,
    inode_size: usize,
    /// Inode tables, ascending.
    tables: Vec<Extent>,
    /// Blocks that never hold file data, shown as missing lists of depth 1, 2 and 3.
    stand_ins: [u32; 3],
    /// Lists of depth 2 and 3 that inodes name: their missing lists must be replaced when they are read.
    known: Mutex<BTreeMap<u64, usize>>,
}

impl Holes {
    /// For a file system whose inodes carry no checksum, with its descriptors; `None` for others, whose files have
    /// extents.
    pub fn new(source: &dyn Source, superblock: &Superblock) -> Option<Holes> {
        if superblock.checksum != Checksum::None || superblock.inode_size < INODE as u64 {
            return None;
        }
        let extent = superblock.descriptors(superblock.group);
        let table = read_vec(source, extent, MOST_GROUPS * 64).ok()?;
        let size = usize::try_from(superblock.descriptor_size).ok()?;
        let groups: Vec<Descriptor> = table
            .chunks_exact(size)
            .filter_map(Descriptor::decode)
            .collect();
        let block = superblock.block_size.0;
        let length = superblock
            .inodes_per_group
            .checked_mul(superblock.inode_size)?;
        let mut tables: Vec<Extent> = groups
            .iter()
            .map(|d| Extent::new(Bytes(d.inode_table.saturating_mul(block)), Bytes(length)))
            .collect();
        tables.sort();
        let bitmaps = groups.iter().flat_map(|d| [d.block_bitmap, d.inode_bitmap]);
        let mut bitmaps = bitmaps.filter_map(|b| u32::try_from(b).ok());
        let mut stand_in = || bitmaps.next().unwrap_or(0);
        Some(Holes {
            block,
            inode_size: usize::try_from(superblock.inode_size).ok()?,
            tables,
            stand_ins: [stand_in(), stand_in(), stand_in()],
            known: Mutex::new(BTreeMap::new()),
        })
    }

    /// How many lists are known: when reading has taught more of them, it is worth another try.
    pub fn known(&self) -> usize {
        self.known.lock().map_or(0, |known| known.len())
    }

    /// Changes bytes that were read at `at`.
    pub fn show(&self, at: Bytes, bytes: &mut [u8]) {
        self.show_inodes(at, bytes);
        for (depth, number) in (1..).zip(self.stand_ins) {
            if number != 0 {
                let entry = self.missing(depth - 1);
                self.each_entry(at, bytes, number.into(), |e| e.set(entry));
            }
        }
        self.show_lists(at, bytes);
    }

    /// What stands for a missing list of this depth; a missing block (depth 0) is 0.
    fn missing(&self, depth: usize) -> u32 {
        let list = depth.checked_sub(1).and_then(|d| self.stand_ins.get(d));
        list.copied().unwrap_or(0)
    }

    fn each_entry(&self, at: Bytes, bytes: &mut [u8], block: u64, mut act: impl FnMut(&mut U32)) {
        let start = Bytes(block.saturating_mul(self.block));
        let here = Extent::new(at, len_of(bytes));
        let whole = Extent::new(start, Bytes(self.block));
        if here.overlap(whole) != Some(whole) {
            return;
        }
        let from = (start - at).to_len(bytes.len());
        let length = Bytes(self.block).to_len(bytes.len());
        let list = bytes.get_mut(from..from + length).unwrap_or_default();
        if let Ok(entries) = <[U32]>::mut_from_bytes(list) {
            entries.iter_mut().for_each(&mut act);
        }
    }

    fn show_lists(&self, at: Bytes, bytes: &mut [u8]) {
        let end = at + len_of(bytes);
        let Ok(mut known) = self.known.lock() else {
            return;
        };
        let range = at.0 / self.block..=end.0 / self.block;
        let here: Vec<(u64, usize)> = known.range(range).map(|(b, d)| (*b, *d)).collect();
        for (block, depth) in here {
            let missing = self.missing(depth - 1);
            self.each_entry(at, bytes, block, |entry| {
                if entry.get() == 0 {
                    entry.set(missing);
                } else if depth > 2 {
                    known.entry(entry.get().into()).or_insert(depth - 1);
                }
            });
        }
    }

    fn show_inodes(&self, at: Bytes, bytes: &mut [u8]) {
        let here = Extent::new(at, len_of(bytes));
        let first = self.tables.partition_point(|t| t.end() <= at);
        let tables = self.tables.iter().skip(first);
        for table in tables.take_while(|t| t.offset < here.end()) {
            let Some(part) = table.overlap(here) else {
                continue;
            };
            let size = self.inode_size as u64;
            let skip = (part.offset - table.offset).0.next_multiple_of(size);
            let from = (table.offset + Bytes(skip) - at).to_len(bytes.len());
            let to = (part.end() - at).to_len(bytes.len());
            let inodes = bytes.get_mut(from..to).unwrap_or_default();
            for inode in inodes.chunks_exact_mut(self.inode_size) {
                if let Ok((inode, _)) = Inode::mut_from_prefix(inode) {
                    self.show_inode(inode);
                }
            }
        }
    }

    fn show_inode(&self, inode: &mut Inode) {
        if inode.mode.get() & KIND != FILE || inode.flags.get() & OTHERWISE != 0 {
            return;
        }
        let size = u64::from(inode.size_high.get()) << 32 | u64::from(inode.size_low.get());
        let blocks = size.div_ceil(self.block);
        let entries = self.block / 4;
        let mut covered = 12;
        let mut room = 1_u64;
        for (depth, list) in (1..).zip(&mut inode.lists) {
            if blocks <= covered {
                return;
            }
            if list.get() == 0 {
                list.set(self.missing(depth));
            } else if depth > 1
                && let Ok(mut known) = self.known.lock()
            {
                known.insert(list.get().into(), depth);
            }
            room = room.saturating_mul(entries);
            covered = covered.saturating_add(room);
        }
    }
}
