//! Whether an ext file system hangs together, from its metadata alone.
//!
//! Made to prove that an array was put together in the right order: a wrong
//! order leaves the front readable and tears what points from one place of
//! the volume to another. So it follows such pointers all over the volume
//! (copies of the superblock, descriptors, bitmaps, inodes, folders' first
//! blocks) and counts which of them arrive. It reads a bounded sample, never
//! file content, and repairs nothing. It is no e2fsck.

use super::ext::{PRIMARY, Superblock};
use super::ext_features::{crc32c, feature};
use super::ext_find::{self, Found};
use super::ext_group::{BLOCK_UNINIT, Descriptor, INODE_UNINIT};
use super::ext_inode::{Inode, Kind, ROOT};
use super::ext_journal::{self, Replayed};
pub use super::ext_report::{Check, ExtReport, Failure, Tally, Verdict};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, merge};

/// Groups whose bitmaps and inodes are looked at, spread evenly.
const GROUPS_MOST: u64 = 512;
/// Inodes looked at in each of them, spread evenly over the used ones.
const INODES_MOST: usize = 64;
/// Copies of the superblock looked at.
const COPIES_MOST: usize = 64;

/// Checks the file system that begins at `source`'s start.
pub fn check(source: &dyn Source) -> ExtReport {
    let mut report = ExtReport {
        verdict: Verdict::Unrecognisable,
        superblock: None,
        tallies: Vec::new(),
        failures: Vec::new(),
        unread: Vec::new(),
        notes: Vec::new(),
    };
    let found = match ext_find::find(source) {
        Ok(found) => found,
        Err(error) => {
            if let ParseError::Unreadable(extent) = error {
                report.verdict = Verdict::Unread;
                report.unread.push(extent);
            }
            report.notes.push(format!("the superblock {error}"));
            return report;
        }
    };
    report.notes.clone_from(&found.notes);
    let sb = found.superblock.clone();
    let primary = Superblock::read(source, PRIMARY)
        .map(|p| (p.checksum == Checksum::Bad).then(|| "its checksum does not hold".to_owned()));
    report.book(Check::Superblock, PRIMARY, primary);
    copies(source, &sb, &mut report);
    match ext_journal::read(source, &sb, found.copy) {
        Ok(Some(replay)) => {
            report.book(Check::Journal, Bytes::ZERO, Ok(replay.cut.clone()));
            if replay.transactions > 0 {
                report.notes.push(format!(
                    "the journal holds {} transactions ({} blocks) that are not in place: checked as if they were",
                    replay.transactions,
                    replay.blocks.len()
                ));
            }
            groups(&Replayed::new(source, &sb, replay), &found, &mut report);
        }
        other => {
            let why = match other {
                Ok(_) if sb.needs_recovery() => Some("it is on another device".to_owned()),
                Err(ParseError::Unsupported(what)) if found.may_have_work() => Some(what),
                Err(error) => {
                    report.book(Check::Journal, Bytes::ZERO, Err(error));
                    None
                }
                Ok(_) => None,
            };
            if let Some(why) = why {
                report.not_replayed(&why);
            }
            groups(source, &found, &mut report);
        }
    }
    report.superblock = Some(sb);
    report.unread = merge(std::mem::take(&mut report.unread));
    report.verdict = match (report.failed(), report.unread_tests()) {
        (0, 0) => Verdict::Whole,
        (0, _) => Verdict::Unread,
        _ => Verdict::Damaged,
    };
    report
}

/// The copies of the superblock say the same as the one believed.
fn copies(source: &dyn Source, sb: &Superblock, report: &mut ExtReport) {
    for group in sb.backup_groups().into_iter().take(COPIES_MOST) {
        let at = sb.superblock_at(group);
        let result = Superblock::read(source, at).map(|copy| {
            let same = copy.uuid == sb.uuid
                && copy.block_size == sb.block_size
                && copy.blocks_per_group == sb.blocks_per_group
                && copy.inodes_per_group == sb.inodes_per_group
                && u64::from(copy.group) == group % (1 << 16);
            match (same, copy.checksum) {
                (true, Checksum::Bad) => Some("its checksum does not hold".to_owned()),
                (true, _) => None,
                (false, _) => Some(format!(
                    "the copy for group {group} is group {}'s of {}",
                    copy.group, copy.uuid
                )),
            }
        });
        report.book(Check::Copy, at, result);
    }
}

/// All descriptors; of an even choice of groups bitmaps and inodes too.
fn groups(source: &dyn Source, found: &Found, report: &mut ExtReport) {
    let sb = &found.superblock;
    let count = sb.group_count();
    let step = count.div_ceil(GROUPS_MOST).max(1);
    let other_copy = match found.copy {
        0 => sb.backup_groups().first().copied(),
        _ => Some(0),
    };
    let mut free = (0u64, 0u64);
    let mut all_read = true;
    for group in 0..count {
        let at = sb.descriptor_at(group, found.copy);
        let descriptor = sb.descriptor(source, group, found.copy);
        let problem = descriptor
            .as_ref()
            .map(|d| d.problem(sb))
            .map_err(Clone::clone);
        report.book(Check::Descriptor, at, problem);
        let Ok(descriptor) = descriptor else {
            all_read = false;
            continue;
        };
        free.0 += u64::from(descriptor.free_blocks) * u64::from(sb.blocks_per_cluster);
        free.1 += u64::from(descriptor.free_inodes);
        if let Some(copy) = other_copy {
            let other = sb.descriptor(source, group, copy);
            let result = other.map(|other| differs(&descriptor, &other));
            report.book(Check::DescriptorCopy, sb.descriptor_at(group, copy), result);
        }
        if group % step == 0 && descriptor.problem(sb).is_none() {
            contents(source, sb, &descriptor, report);
        }
    }
    // While mounted, the superblock's own counts lag behind; a copy's are those of mkfs.
    if all_read && sb.is_clean() && found.at == PRIMARY && found.copy == 0 {
        let told = (sb.free_blocks, sb.free_inodes.into());
        let what = (free != told).then(|| {
            format!("the groups have {free:?} free blocks and inodes, the superblock says {told:?}")
        });
        report.book(Check::Counts, PRIMARY, Ok(what));
    }
}

fn differs(a: &Descriptor, b: &Descriptor) -> Option<String> {
    let places = |d: &Descriptor| [d.block_bitmap, d.inode_bitmap, d.inode_table];
    (places(a) != places(b)).then(|| {
        format!(
            "group {}: one copy points to {:?}, the other to {:?}",
            a.group,
            places(a),
            places(b)
        )
    })
}

/// One group's bitmaps and a sample of its inodes.
fn contents(source: &dyn Source, sb: &Superblock, group: &Descriptor, report: &mut ExtReport) {
    let may_be_uninit =
        sb.has_ro_compat(feature::GDT_CSUM) || sb.has_ro_compat(feature::METADATA_CSUM);
    if !(may_be_uninit && group.flags & BLOCK_UNINIT != 0) {
        let result = block_bitmap_problem(source, sb, group);
        report.book(Check::BlockBitmap, sb.block(group.block_bitmap), result);
    }
    if may_be_uninit && group.flags & INODE_UNINIT != 0 {
        return;
    }
    let at = sb.block(group.inode_bitmap);
    let bits = u64::from(sb.inodes_per_group);
    let bitmap = match bitmap(source, sb, group.inode_bitmap) {
        Ok(bitmap) => bitmap,
        Err(error) => return report.book(Check::InodeBitmap, at, Err(error)),
    };
    let [_, crc] = group.bitmap_crcs;
    let expected = Expected {
        bits,
        covered: bits,
        crc,
        free: group.free_inodes,
    };
    let problem = bitmap_problem(sb, group, &bitmap, &expected);
    report.book(Check::InodeBitmap, at, Ok(problem));
    let first = u32::try_from(group.group * bits).unwrap_or(u32::MAX);
    let used: Vec<u32> = (0..sb.inodes_per_group)
        .filter(|index| is_set(&bitmap, u64::from(*index)))
        .map(|index| first.saturating_add(index).saturating_add(1))
        // Reserved and in use by no one, but for the root, the resize inode and the journal.
        .filter(|number| *number >= 11 || matches!(*number, ROOT | 8))
        .filter(|number| *number != 8 || sb.journal_inode == 8)
        .collect();
    let step = used.len().div_ceil(INODES_MOST).max(1);
    for number in used.into_iter().step_by(step) {
        inode(source, sb, group, number, report);
    }
}

/// One used inode, its map, and a folder's first block.
fn inode(
    source: &dyn Source,
    sb: &Superblock,
    group: &Descriptor,
    number: u32,
    report: &mut ExtReport,
) {
    let at = sb.inode_at(group, number);
    let inode = match sb.inode(source, group, number) {
        Ok(inode) => inode,
        Err(error) => return report.book(Check::Inode, at, Err(error)),
    };
    let mut problem = inode.problem(sb);
    if number == ROOT && inode.kind() != Kind::Folder {
        problem = Some(format!("the root is no folder: mode {:#o}", inode.mode));
    }
    let sound = problem.is_none();
    let told = problem.map(|what| format!("inode {number}: {what}"));
    report.book(Check::Inode, at, Ok(told));
    if !sound {
        return;
    }
    match inode.kind() {
        Kind::Folder => {
            let result = sb.folder_problem(source, &inode);
            let result = result.map(|p| p.map(|what| format!("folder {number}: {what}")));
            report.book(Check::Folder, at, result);
        }
        Kind::File if inode.size > 0 => {
            report.book(Check::Map, at, ends_in_volume(source, sb, &inode));
        }
        _ => {}
    }
}

/// Following the map to the file's first and last block finds blocks of the volume.
fn ends_in_volume(source: &dyn Source, sb: &Superblock, inode: &Inode) -> Parsed<Option<String>> {
    let last = (inode.size - 1) / u64::from(sb.block_size.max(1));
    for logical in [0, u32::try_from(last).unwrap_or(u32::MAX)] {
        sb.map(source, inode, logical)?;
    }
    Ok(None)
}

/// One block of bits.
fn bitmap(source: &dyn Source, sb: &Superblock, block: u64) -> Parsed<Vec<u8>> {
    let extent = Extent::new(sb.block(block), Bytes(sb.block_size.into()));
    let bytes = read_vec(source, extent, 1 << 16)?;
    if Bytes(bytes.len() as u64) < extent.length {
        return Err(ParseError::Unreadable(extent));
    }
    Ok(bytes)
}

fn is_set(bitmap: &[u8], bit: u64) -> bool {
    let byte = bitmap.get(Bytes(bit / 8).to_len(bitmap.len()));
    byte.is_some_and(|byte| byte & 1 << (bit % 8) != 0)
}

/// What a bitmap must be.
struct Expected {
    /// Bits that mean something.
    bits: u64,
    /// Bits that the checksum covers: those of a full group, also in the last one.
    covered: u64,
    /// Its checksum.
    crc: u32,
    /// Clear bits.
    free: u32,
}

/// Checksum, and as many free bits as the descriptor says.
fn bitmap_problem(
    sb: &Superblock,
    group: &Descriptor,
    bitmap: &[u8],
    expected: &Expected,
) -> Option<String> {
    if sb.has_ro_compat(feature::METADATA_CSUM) {
        let covered = bitmap.get(..Bytes(expected.covered / 8).to_len(bitmap.len()));
        let computed = crc32c(sb.checksum_seed, covered.unwrap_or_default());
        let mask = if group.bitmap_crc_bits == 32 {
            !0
        } else {
            0xffff
        };
        if computed & mask != expected.crc {
            return Some(format!("group {}: its checksum does not hold", group.group));
        }
    }
    let free = (0..expected.bits)
        .filter(|bit| !is_set(bitmap, *bit))
        .count() as u64;
    (free != u64::from(expected.free)).then(|| {
        format!(
            "group {}: {free} bits are free, the descriptor says {}",
            group.group, expected.free
        )
    })
}

fn block_bitmap_problem(
    source: &dyn Source,
    sb: &Superblock,
    group: &Descriptor,
) -> Parsed<Option<String>> {
    let bitmap = bitmap(source, sb, group.block_bitmap)?;
    let cluster = u64::from(sb.blocks_per_cluster.max(1));
    let first = sb.group_first_block(group.group);
    let clusters = sb.group_blocks(group.group).div_ceil(cluster);
    let [crc, _] = group.bitmap_crcs;
    let expected = Expected {
        bits: clusters,
        covered: u64::from(sb.blocks_per_group) / cluster,
        crc,
        free: group.free_blocks,
    };
    if let Some(what) = bitmap_problem(sb, group, &bitmap, &expected) {
        return Ok(Some(what));
    }
    let table = (0..sb.inode_table_blocks()).map(|n| group.inode_table.saturating_add(n));
    let own = [group.block_bitmap, group.inode_bitmap]
        .into_iter()
        .chain(table);
    let free = own
        .filter_map(|block| block.checked_sub(first))
        .filter(|index| *index < sb.group_blocks(group.group))
        .find(|index| !is_set(&bitmap, index / cluster));
    Ok(free.map(|index| {
        let block = first + index;
        format!(
            "group {}: block {block} holds metadata and counts as free",
            group.group
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{mke2fs, sample_folder};
    use crate::image::Memory;

    const KINDS: [&[&str]; 6] = [
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext3", "-b", "4096", "-g", "512"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,uninit_bg"],
        &["-t", "ext4", "-b", "4096", "-g", "512", "-O", "^flex_bg"],
    ];

    /// The pairs of 64 KiB chunks in the other order, as two swapped members of a stripe give them.
    fn swapped(image: &[u8], chunk: usize) -> Vec<u8> {
        let pair = |pair: &[u8]| {
            let (a, b) = pair.split_at(chunk.min(pair.len()));
            [b, a].concat()
        };
        image
            .chunks(2 * chunk)
            .map(pair)
            .collect::<Vec<_>>()
            .concat()
    }

    /// A wrong order that passes, or a right one that fails, is the error this module exists to prevent.
    #[test]
    fn right_orders_pass_and_wrong_ones_fail() {
        let folder = sample_folder();
        for args in KINDS {
            let Some(image) = mke2fs(args, 24, Some(folder.path())) else {
                return;
            };
            let report = check(&Memory::new("m", image.clone()));
            assert_eq!(report.verdict, Verdict::Whole, "{args:?} {report:#?}");
            assert!(report.tested() > 50, "{args:?} {:?}", report.tallies);
            for chunk in [64 << 10, 512 << 10, 2 << 20] {
                // The first pair stays, so that the front is whole and only the order behind it is wrong.
                let (front, behind) = image.split_at(2 * chunk);
                let wrong = [front, &swapped(behind, chunk)].concat();
                let report = check(&Memory::new("m", wrong));
                assert_eq!(report.verdict, Verdict::Damaged, "{args:?} {chunk}");
                assert!(
                    report.agreement() < 0.97,
                    "{args:?} {chunk} {:?}",
                    report.tallies
                );
                let wrong = check(&Memory::new("m", swapped(&image, chunk)));
                assert!(
                    wrong.agreement() < 0.9,
                    "{args:?} {chunk} {:?}",
                    wrong.tallies
                );
            }
        }
    }

    /// A lost front is damage, but most of the volume agrees: not to be taken for a wrong order.
    #[test]
    fn a_lost_front_is_damage_with_much_agreement() {
        let folder = sample_folder();
        let Some(mut image) = mke2fs(&["-t", "ext3", "-b", "1024"], 24, Some(folder.path())) else {
            return;
        };
        image[..4096].fill(0);
        let report = check(&Memory::new("m", image));
        assert_eq!(report.verdict, Verdict::Damaged);
        assert!(report.agreement() > 0.9, "{report:?}");
        let nothing = check(&Memory::new("m", vec![0; 1 << 20]));
        assert_eq!(nothing.verdict, Verdict::Unrecognisable);
    }

    /// What could not be read must not be booked as wrong, nor as right.
    #[test]
    fn the_unread_is_neither_right_nor_wrong() {
        let folder = sample_folder();
        let Some(image) = mke2fs(&["-t", "ext4", "-b", "1024"], 24, Some(folder.path())) else {
            return;
        };
        let whole = Memory::new("m", image.clone());
        let sb = Superblock::read(&whole, PRIMARY).unwrap();
        let at = sb.block(sb.descriptor(&whole, 0, 0).unwrap().block_bitmap);
        let gap = Extent::new(at, Bytes(512));
        let report = check(&Memory::new("m", image).with_unread(gap));
        assert_eq!(report.verdict, Verdict::Unread);
        assert_eq!((report.failed(), report.unread_tests()), (0, 1));
        assert_eq!(report.unread, [gap]);
    }
}
