//! Whether an ext file system's metadata is where it says, at many places of the volume.
//!
//! A volume read through a wrong member order has its front in place and the
//! rest shuffled, so each check here looks somewhere else: copies of the
//! superblock, descriptors and their copies, bitmaps, the root folder. It
//! reads metadata only and never repairs.

use super::ext::{AT, Descriptor, RawInode, Superblock};
use crate::image::{Source, read_vec};
use crate::parse::ParseError;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use zerocopy::FromBytes;

/// Groups looked at, at most, evenly spread: enough to tell, whatever the size.
const MOST_GROUPS: u32 = 512;

/// A descriptor table longer than this belongs to no real file system.
const LARGEST_TABLE: usize = 64 << 20;

/// Failures kept in words.
const MOST_WORDS: usize = 5;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The superblock.
    pub superblock: Superblock,
    /// Things looked at.
    pub tested: usize,
    /// Of those, how many are as they must be.
    pub passed: usize,
    /// Of the rest, how many could not be read.
    pub unread: usize,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether all that could be looked at is as it must be.
    pub fn sound(&self) -> bool {
        self.passed + self.unread == self.tested
    }

    fn note(&mut self, result: Result<bool, ParseError>, what: impl FnOnce() -> String) {
        self.tested += 1;
        match result {
            Ok(true) => self.passed += 1,
            Err(ParseError::Unreadable(_)) => self.unread += 1,
            Ok(false) | Err(_) => {
                if self.failures.len() < MOST_WORDS {
                    self.failures.push(what());
                }
            }
        }
    }
}

/// Checks the ext file system that starts at the source's first byte.
///
/// # Errors
/// What [`Superblock::read`] says where there is none.
pub fn check(source: &dyn Source) -> Result<Report, ParseError> {
    let superblock = Superblock::read(source, AT)?;
    let mut report = Report {
        superblock: superblock.clone(),
        tested: 0,
        passed: 0,
        unread: 0,
        failures: Vec::new(),
    };
    let length = superblock.length();
    report.note(Ok(length <= source.len()), || {
        format!(
            "the file system is {length} long, the volume {}",
            source.len()
        )
    });
    let groups = superblock.groups();
    let step = groups.div_ceil(MOST_GROUPS).max(1);
    let table = descriptors(source, &superblock, 0);
    for group in (0..groups).step_by(usize::try_from(step).unwrap_or(1)) {
        if group > 0 && superblock.has_copy(group) {
            check_copy(source, &superblock, group, &table, &mut report);
        }
        check_group(source, &superblock, group, &table, &mut report);
    }
    for (inode, name) in [(ROOT, "the root folder"), (LOST_AND_FOUND, "lost+found")] {
        match is_folder(source, &superblock, &table, inode) {
            // A person may have removed lost+found.
            Ok(None) if inode == LOST_AND_FOUND => {}
            result => report.note(result.map(|r| r == Some(true)), || {
                format!("{name} is not where it must be")
            }),
        }
    }
    if superblock.has_journal {
        let journal = is_journal(source, &superblock, &table);
        report.note(journal, || "the journal is not where it must be".to_owned());
    }
    Ok(report)
}

fn descriptors(
    source: &dyn Source,
    superblock: &Superblock,
    group: u32,
) -> Result<Vec<u8>, ParseError> {
    read_vec(source, superblock.descriptors(group), LARGEST_TABLE)
}

/// The copy of a group: the same file system, that group's number, and descriptors that name the same places.
fn check_copy(
    source: &dyn Source,
    superblock: &Superblock,
    group: u32,
    table: &Result<Vec<u8>, ParseError>,
    report: &mut Report,
) {
    let copy = Superblock::read(source, superblock.copy_at(group));
    let same = copy.map(|c| c.uuid == superblock.uuid && c.group == group);
    report.note(same, || {
        format!("no copy of the superblock in group {group}")
    });
    if superblock.meta_bg {
        return;
    }
    let other = descriptors(source, superblock, group);
    let places = |table: &[u8]| -> Vec<Option<Descriptor>> {
        table
            .chunks(superblock.descriptor_size.to_usize())
            .map(Descriptor::decode)
            .collect()
    };
    let agree = match (table, other) {
        (Ok(first), Ok(other)) => Ok(places(first) == places(&other)),
        (Err(error), _) => Err(error.clone()),
        (_, Err(error)) => Err(error),
    };
    report.note(agree, || {
        format!("the descriptors in group {group} are not a copy of the first")
    });
}

/// A group's own metadata lies in the file system, and its block bitmap says that its own blocks are used.
fn check_group(
    source: &dyn Source,
    superblock: &Superblock,
    group: u32,
    table: &Result<Vec<u8>, ParseError>,
    report: &mut Report,
) {
    let descriptor = descriptor_of(superblock, group, table);
    let inside = descriptor.clone().map(|d| {
        let in_fs = |b: u64| b > superblock.first_data_block && b < superblock.blocks;
        in_fs(d.block_bitmap) && in_fs(d.inode_bitmap) && in_fs(d.inode_table)
    });
    let good = inside == Ok(true);
    report.note(inside, || {
        format!("group {group}'s descriptor points outside the file system")
    });
    if let (true, Ok(descriptor)) = (good, descriptor)
        && superblock.has_bitmap(group, descriptor)
    {
        let used = bitmap_marks_itself(source, superblock, group, descriptor);
        report.note(used, || format!("group {group}'s block bitmap is not one"));
    }
}

fn descriptor_of(
    superblock: &Superblock,
    group: u32,
    table: &Result<Vec<u8>, ParseError>,
) -> Result<Descriptor, ParseError> {
    let table = table.as_ref().map_err(ParseError::clone)?;
    let size = superblock.descriptor_size.to_usize();
    let start = usize::try_from(group)
        .unwrap_or(usize::MAX)
        .saturating_mul(size);
    table
        .get(start..)
        .and_then(|rest| rest.get(..size))
        .and_then(Descriptor::decode)
        .ok_or(ParseError::NotThis)
}

/// Whether the bitmap's own bit, the inode bitmap's and the inode table's first are set in the block bitmap.
fn bitmap_marks_itself(
    source: &dyn Source,
    superblock: &Superblock,
    group: u32,
    descriptor: Descriptor,
) -> Result<bool, ParseError> {
    let block = superblock.block_size;
    let at = Bytes(descriptor.block_bitmap.saturating_mul(block.0));
    let bitmap = read_vec(source, Extent::new(at, block), 1 << 16)?;
    let first = superblock.group_start(group).0 / block.0;
    let is_used = |number: u64| {
        let bit = number.checked_sub(first)?;
        let byte = bitmap.get(usize::try_from(bit / 8).ok()?)?;
        Some(byte >> (bit % 8) & 1 == 1)
    };
    let own = [
        descriptor.block_bitmap,
        descriptor.inode_bitmap,
        descriptor.inode_table,
    ];
    // With flex_bg some lie in other groups, of which this bitmap says nothing.
    Ok(own.iter().all(|b| is_used(*b) != Some(false)))
}

/// Inodes with a number of their own.
const ROOT: u32 = 2;
const JOURNAL: u32 = 8;
const LOST_AND_FOUND: u32 = 11;

/// An inode of the first group.
fn inode(
    source: &dyn Source,
    superblock: &Superblock,
    table: &Result<Vec<u8>, ParseError>,
    number: u32,
) -> Result<RawInode, ParseError> {
    let descriptor = descriptor_of(superblock, 0, table)?;
    let at = descriptor
        .inode_table
        .saturating_mul(superblock.block_size.0)
        .saturating_add(u64::from(number - 1).saturating_mul(superblock.inode_size));
    let bytes = read_vec(source, Extent::new(Bytes(at), Bytes(100)), 100)?;
    RawInode::read_from_bytes(&bytes).map_err(|_| ParseError::NotThis)
}

/// The first bytes of an inode's first block; `None` where the inode does not name it.
fn front(
    source: &dyn Source,
    superblock: &Superblock,
    inode: &RawInode,
) -> Result<Option<Vec<u8>>, ParseError> {
    let Some(first) = inode.first_block() else {
        return Ok(None);
    };
    let at = Bytes(first.saturating_mul(superblock.block_size.0));
    read_vec(source, Extent::new(at, Bytes(24)), 24).map(Some)
}

/// Whether an inode is a folder whose first block begins with itself and the root; `None` where it is no folder.
fn is_folder(
    source: &dyn Source,
    superblock: &Superblock,
    table: &Result<Vec<u8>, ParseError>,
    number: u32,
) -> Result<Option<bool>, ParseError> {
    const FOLDER: u16 = 0x4000;
    let inode = inode(source, superblock, table, number)?;
    if inode.mode.get() & 0xf000 != FOLDER {
        return Ok(None);
    }
    let Some(folder) = front(source, superblock, &inode)? else {
        return Ok(Some(false));
    };
    // Entries: inode u32, length u16, name length u8, kind u8, name padded to four.
    let own = folder.get(..4) == Some(&number.to_le_bytes()) && folder.get(8..9) == Some(b".");
    let root = ROOT.to_le_bytes();
    let parent = folder.get(12..16) == Some(&root) && folder.get(20..22) == Some(b"..");
    Ok(Some(own && parent))
}

/// Whether the journal's first block is a journal's superblock.
fn is_journal(
    source: &dyn Source,
    superblock: &Superblock,
    table: &Result<Vec<u8>, ParseError>,
) -> Result<bool, ParseError> {
    const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];
    let inode = inode(source, superblock, table, JOURNAL)?;
    let front = front(source, superblock, &inode)?;
    Ok(front.is_some_and(|bytes| bytes.starts_with(&MAGIC)))
}

/// Small numbers of a superblock as lengths.
trait ToUsize {
    fn to_usize(self) -> usize;
}

impl ToUsize for u64 {
    /// At least 1, so that it can divide.
    fn to_usize(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX).max(1)
    }
}
