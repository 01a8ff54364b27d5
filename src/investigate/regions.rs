//! What lies where in the data of mirrors: md's own, LVM's metadata, file systems' journals and structures.
//!
//! Read from the members themselves, whatever their state; what cannot be read is not claimed, and its differences are
//! called data.

use crate::disk;
use crate::fs::{ext, xfs};
use crate::image::{Piece, Pieces, SharedSource, Source, read_vec};
use crate::lvm::carve::{self, Carved};
use crate::lvm::label::Label;
use crate::md::bitmap::Bitmap;
use crate::md::pairs::Span;
use crate::md::regions::{Class, Regions};
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent, SECTOR, Sectors};
use std::sync::Arc;

/// Layers inside each other that are looked through: a partition in an array, a volume in it.
const DEEPEST: u32 = 4;

/// Groups of a file system whose structures are known one by one; behind that only the journal is.
const MOST_GROUPS: u64 = 200_000;

/// Runs of a journal: more is no journal.
const MOST_RUNS: u32 = 4096;

/// Bytes at a physical volume's front that are searched for its text.
const FRONT: usize = 4 << 20;

type Found = Vec<(Extent, Class)>;

/// The regions of a mirror group, by what its members show.
pub fn of(spans: &[&Span]) -> Regions {
    let mut found = Found::new();
    for span in spans {
        found.extend(md(span));
    }
    // Mirrors hold the same: the first that shows anything speaks for all.
    let content = spans.iter().map(|span| content(&span.view(), 0));
    found.extend(
        content
            .into_iter()
            .find(|c| !c.is_empty())
            .unwrap_or_default(),
    );
    Regions::new(found)
}

/// md's own structures that lie within the data: of older arrays, or where the superblock itself is lost.
fn md(span: &Span) -> Found {
    let mut found = Found::new();
    let (superblocks, _) = Superblock::all(&*span.source);
    for sb in superblocks {
        found.push((Extent::new(sb.at, Bytes(4096)), Class::MdSuperblock));
        if let Some((log, _)) = sb.bad_block_log {
            found.push((log, Class::MdSuperblock));
        }
        let at = sb.bitmap_offset.and_then(|offset| {
            let sector = sb.at.whole_sectors().0.checked_add_signed(offset.into())?;
            Sectors(sector).to_bytes()
        });
        if let Some(bitmap) = at.and_then(|at| Bitmap::read(&*span.source, at).ok()) {
            found.push((bitmap.extent(), Class::MdBitmap));
        }
    }
    found
        .into_iter()
        .filter_map(|(extent, class)| Some((extent.relative_to(span.data.offset)?, class)))
        .collect()
}

/// What a volume holds from its first byte.
fn content(volume: &SharedSource, depth: u32) -> Found {
    if depth > DEEPEST {
        return Found::new();
    }
    if let Ok(sb) = ext::Superblock::read(&**volume, ext::PRIMARY) {
        return ext_regions(&**volume, &sb);
    }
    if let Ok(sb) = xfs::read(&**volume) {
        return xfs_regions(&**volume, &sb);
    }
    if let Some(label) = Label::all(&**volume, Bytes::ZERO).next() {
        return lvm_regions(volume, &label, depth);
    }
    let mut found = Found::new();
    for partition in disk::partitions(&**volume)
        .map(|t| t.partitions)
        .unwrap_or_default()
    {
        if partition.is_extended() {
            continue;
        }
        let part: SharedSource = Arc::new(Pieces::slice("", volume.clone(), partition.extent));
        found.extend(
            content(&part, depth + 1)
                .into_iter()
                .map(|(extent, class)| {
                    let at = partition.extent.offset + extent.offset;
                    (Extent::new(at, extent.length), class)
                }),
        );
    }
    found
}

fn ext_regions(volume: &dyn Source, sb: &ext::Superblock) -> Found {
    let block = Bytes(sb.block_size.into());
    let one = |number: u64| (Extent::new(sb.block(number), block), Class::FsMetadata);
    let mut found = vec![(
        Extent::new(Bytes::ZERO, ext::PRIMARY + Bytes(1024)),
        Class::FsMetadata,
    )];
    for group in 0..sb.group_count().min(MOST_GROUPS) {
        if sb.has_superblock(group) {
            let superblock = Bytes(sb.superblock_at(group).0 / block.0 * block.0);
            found.push((Extent::new(superblock, block), Class::FsMetadata));
            let descriptors = Extent::new(sb.descriptors_at(group), sb.descriptors_length());
            found.push((descriptors, Class::FsMetadata));
        }
        let Ok(descriptor) = sb.descriptor(volume, group, 0) else {
            continue;
        };
        if descriptor.problem(sb).is_some() {
            continue;
        }
        found.extend([descriptor.block_bitmap, descriptor.inode_bitmap].map(one));
        let table = sb.block(sb.inode_table_blocks());
        found.push((
            Extent::new(sb.block(descriptor.inode_table), table),
            Class::FsMetadata,
        ));
    }
    found.extend(
        ext_journal(volume, sb)
            .into_iter()
            .map(|e| (e, Class::Journal)),
    );
    found
}

/// The blocks of the journal's inode, as far as its map can be read.
fn ext_journal(volume: &dyn Source, sb: &ext::Superblock) -> Vec<Extent> {
    let mut runs = Vec::new();
    if sb.journal_inode == 0 {
        return runs;
    }
    let inode = sb
        .descriptor(volume, sb.inode_group(sb.journal_inode), 0)
        .and_then(|descriptor| sb.inode(volume, &descriptor, sb.journal_inode));
    let Ok(inode) = inode else {
        return runs;
    };
    let blocks = u32::try_from(inode.size / u64::from(sb.block_size.max(1))).unwrap_or(0);
    let mut logical = 0;
    for _ in 0..MOST_RUNS {
        if logical >= blocks {
            break;
        }
        let Ok(run) = sb.run(volume, &inode, logical) else {
            break;
        };
        let length = run.blocks.max(1).min(blocks - logical);
        if let Some(first) = run.block {
            runs.push(Extent::new(sb.block(first), sb.block(length.into())));
        }
        logical = logical.saturating_add(length);
    }
    runs
}

fn xfs_regions(volume: &dyn Source, sb: &xfs::Superblock) -> Found {
    use zerocopy::FromBytes;
    let mut found = Found::new();
    let bytes = read_vec(volume, Extent::new(Bytes::ZERO, Bytes(512)), 512).unwrap_or_default();
    let Ok((raw, _)) = xfs::RawSuperblock::ref_from_prefix(&bytes) else {
        return found;
    };
    let block = u64::from(sb.block_size);
    let group = u64::from(raw.group_blocks.get()).saturating_mul(block);
    // Superblock, free space, inodes, free list: a sector each; the roots of the trees lie in the blocks behind.
    let head = (u64::from(raw.sector_size.get()) * 4)
        .next_multiple_of(block)
        .saturating_mul(2);
    for number in 0..u64::from(sb.groups).min(MOST_GROUPS) {
        let at = Bytes(number.saturating_mul(group));
        found.push((Extent::new(at, Bytes(head)), Class::FsMetadata));
    }
    // A block's number holds its group's in the bits above those of its place in the group.
    let ([start, ..], [_, blocks]) = (raw.places, raw.bitmap_and_log);
    let bits = u32::from(raw.group_blocks_log.min(63));
    let inside = start.get() & ((1_u64 << bits) - 1);
    let at = (start.get() >> bits)
        .saturating_mul(group)
        .saturating_add(inside.saturating_mul(block));
    if start.get() != 0 {
        let length = Bytes(u64::from(blocks.get()).saturating_mul(block));
        found.push((Extent::new(Bytes(at), length), Class::Journal));
    }
    found
}

fn lvm_regions(volume: &SharedSource, label: &Label, depth: u32) -> Found {
    let sector = (Extent::new(label.at, Bytes(SECTOR)), Class::LvmMetadata);
    let mut found = vec![sector];
    found.extend(
        label
            .metadata_areas
            .iter()
            .map(|area| (*area, Class::LvmMetadata)),
    );
    let Some(text) = newest_text(&**volume) else {
        return found;
    };
    let Some(pv) = text.vg.pvs.iter().find(|pv| pv.id == label.pv_uuid) else {
        return found;
    };
    for lv in text.vg.visible() {
        let extents = text.vg.linear_extents(lv).unwrap_or_default();
        if extents.is_empty() || extents.iter().any(|(on, _)| on.name != pv.name) {
            continue;
        }
        let piece = |(_, e): &(_, Extent)| Piece {
            length: e.length,
            from: Some((volume.clone(), e.offset)),
        };
        let inside: SharedSource = Arc::new(Pieces::new("", extents.iter().map(piece).collect()));
        let mut start = Bytes::ZERO;
        let regions = content(&inside, depth + 1);
        for (_, outer) in &extents {
            let here = Extent::new(start, outer.length);
            start = start + outer.length;
            found.extend(regions.iter().filter_map(|(extent, class)| {
                let part = extent.overlap(here)?;
                let at = outer.offset + (part.offset - here.offset);
                Some((Extent::new(at, part.length), *class))
            }));
        }
    }
    found
}

/// The newest whole text at a physical volume's front.
fn newest_text(volume: &dyn Source) -> Option<Carved> {
    let front = read_vec(volume, Extent::new(Bytes::ZERO, Bytes(FRONT as u64)), FRONT).ok()?;
    let hits = memchr::memmem::find_iter(&front, carve::NEEDLE);
    let texts = hits.filter_map(|at| carve::text_at(volume, Bytes(at as u64)));
    texts.filter(|t| t.complete).max_by_key(|t| t.vg.seqno)
}

/// Structures behind `from` that only one of two volumes holds, where what stands at their front says they must lie:
/// copies of ext superblocks, XFS groups, the second GPT. For each the volume, and in words what it is.
pub fn witnesses(volumes: [&SharedSource; 2], from: Bytes) -> Vec<(usize, String)> {
    let Some(front) = volumes.first() else {
        return Vec::new();
    };
    let expected = expected(&***front, from);
    let mut found = Vec::new();
    for (at, magic, what) in expected {
        let holds = volumes.map(|v| {
            let extent = Extent::new(at, Bytes(magic.len() as u64));
            read_vec(&**v, extent, magic.len()).is_ok_and(|bytes| bytes == magic)
        });
        match holds {
            [true, false] => found.push((0, what)),
            [false, true] => found.push((1, what)),
            _ => {}
        }
    }
    found
}

/// Where, which bytes, and what they are: from what stands at the front of a volume.
fn expected(volume: &dyn Source, from: Bytes) -> Vec<(Bytes, Vec<u8>, String)> {
    /// More say no more.
    const MOST: usize = 4;
    let mut expected = Vec::new();
    if let Ok(sb) = ext::Superblock::read(volume, ext::PRIMARY) {
        // The UUID, at byte 104 of every copy.
        const UUID: Bytes = Bytes(104);
        let uuid = read_vec(volume, Extent::new(ext::PRIMARY + UUID, Bytes(16)), 16);
        let groups = sb
            .backup_groups()
            .into_iter()
            .filter(|g| sb.superblock_at(*g) >= from);
        for group in groups.take(MOST) {
            let at = sb.superblock_at(group) + UUID;
            let what = format!("the ext superblock's copy of group {group}");
            expected.extend(uuid.clone().ok().map(|uuid| (at, uuid, what)));
        }
    }
    if let Ok(sb) = xfs::read(volume) {
        let group = sb.length.0 / u64::from(sb.groups.max(1));
        let block = u64::from(sb.block_size);
        let group = group.div_ceil(block.max(1)) * block;
        let starts = (1..u64::from(sb.groups))
            .map(|n| Bytes(n * group))
            .filter(|at| *at >= from);
        for at in starts.take(MOST) {
            expected.push((
                at,
                xfs::MAGIC.to_vec(),
                "an XFS group's superblock".to_owned(),
            ));
        }
    }
    let last = volume.len().0 / SECTOR;
    let gpt = read_vec(volume, Extent::new(Bytes(SECTOR), Bytes(8)), 8);
    if gpt.is_ok_and(|magic| magic == b"EFI PART") && last > 0 {
        let at = Bytes((last - 1) * SECTOR);
        expected.push((
            at,
            b"EFI PART".to_vec(),
            "the second copy of the GPT".to_owned(),
        ));
    }
    expected
}
