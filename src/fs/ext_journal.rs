//! The journal of ext3 and ext4 (jbd2), replayed in memory.
//!
//! A machine that went down leaves its last changes in the journal; the
//! kernel writes them to their places at the next mount, which nobody may do
//! to evidence. [`read`] finds out which blocks of the journal hold the newer
//! content of which blocks of the volume, and [`Replayed`] is the volume with
//! those in place. Nothing is copied but the table.
//!
//! The journal is a file (inode 8) of blocks of the volume's size, big
//! endian. Its first block is its superblock; the others are a ring of
//! transactions: descriptor blocks, each followed by the blocks it lists;
//! revoke blocks, which say what must not be replayed; a commit block. A
//! transaction without its commit block never happened.
//! Source: the kernel's documentation of ext4's journal (jbd2).

use super::ext::Superblock;
use super::ext_features::{crc32c, feature};
use crate::image::{Gaps, Source, len_of, read_vec};
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent};
use std::collections::BTreeMap;
use std::ops::Deref;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// First four bytes of every block of the journal that is not data.
pub const MAGIC: u32 = 0xc03b_3998;

/// More blocks than any journal has (1 GiB of 1 KiB blocks): bounds the work on a lying one.
const BLOCKS_MOST: u32 = 1 << 20;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// incompat of the journal: numbers of 64 bits.
const BIT64: u32 = 0x2;
const CHECKSUM_V2: u32 = 0x8;
const CHECKSUM_V3: u32 = 0x10;
/// Revoke blocks, and the three above: what is understood here. Not fast commits (0x20), not async commits (0x4).
const KNOWN: u32 = 0x1 | BIT64 | CHECKSUM_V2 | CHECKSUM_V3;

/// Head of a block of the journal.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHead {
    /// 0xc03b3998.
    #[doc(alias = "h_magic")]
    pub magic: U32,
    /// 1 descriptor, 2 commit, 3 and 4 superblock, 5 revoke.
    #[doc(alias = "h_blocktype")]
    pub kind: U32,
    /// Number of the transaction.
    #[doc(alias = "h_sequence")]
    pub sequence: U32,
}

/// The journal's superblock, as far as it is used here.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawJournal {
    /// 0x00: head; kind 3 has nothing behind `errno`.
    pub head: RawHead,
    /// 0x0c: bytes a block.
    #[doc(alias = "s_blocksize")]
    pub block_size: U32,
    /// 0x10: blocks of the journal.
    #[doc(alias = "s_maxlen")]
    pub blocks: U32,
    /// 0x14: first block of the ring.
    #[doc(alias = "s_first")]
    pub first: U32,
    /// 0x18: first transaction to expect.
    #[doc(alias = "s_sequence")]
    pub sequence: U32,
    /// 0x1c: where it begins; 0 where there is nothing to replay.
    #[doc(alias = "s_start")]
    pub start: U32,
    /// 0x20: error.
    #[doc(alias = "s_errno")]
    pub errno: U32,
    /// 0x24: features: compat, incompat, ro_compat.
    #[doc(alias = "s_feature_compat")]
    pub features: [U32; 3],
    /// 0x30: UUID.
    #[doc(alias = "s_uuid")]
    pub uuid: [u8; 16],
}

const _: () = assert!(size_of::<RawHead>() == 12 && size_of::<RawJournal>() == 0x40);

/// What a journal holds that is not in its place yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Whole transactions.
    pub transactions: u32,
    /// For blocks of the volume: the block of the volume (inside the journal) with the newer content, and whether
    /// that content's first four bytes are the journal's magic, which are stored as zeros.
    pub blocks: BTreeMap<u64, (u64, bool)>,
    /// A block whose checksum does not hold, or that cannot be read, ended the replay before the journal's end.
    pub cut: Option<String>,
}

/// What the walk through the ring needs at every step.
struct Walk<'a> {
    source: &'a dyn Source,
    sb: &'a Superblock,
    inode: super::ext_inode::Inode,
    journal: RawJournal,
    /// Incompatible features of the journal.
    incompat: u32,
    /// What tags' checksums begin with.
    seed: u32,
}

/// New content for a block.
struct Write {
    /// The block.
    target: u64,
    /// The block of the journal that holds it, counted in the volume.
    from: u64,
    /// Whether its first four bytes are the magic, stored as zeros.
    escaped: bool,
}

/// What one transaction brings.
#[derive(Default)]
struct Transaction {
    writes: Vec<Write>,
    revokes: Vec<u64>,
}

/// The journal of the file system with superblock `sb`, read through descriptors of group `copy`; `None` where it has none of its own.
///
/// # Errors
/// [`ParseError::Broken`] where the journal's inode or superblock is none,
/// [`ParseError::Unsupported`] for a feature that is not known here, [`ParseError::Unreadable`].
pub fn read(source: &dyn Source, sb: &Superblock, copy: u64) -> Parsed<Option<Replay>> {
    if !sb.has_compat(feature::HAS_JOURNAL) || sb.journal_inode == 0 {
        return Ok(None);
    }
    let descriptor = sb.descriptor(source, sb.inode_group(sb.journal_inode), copy)?;
    let inode = sb.inode(source, &descriptor, sb.journal_inode)?;
    let at = sb.inode_at(&descriptor, sb.journal_inode);
    let Some(first) = sb.map(source, &inode, 0)? else {
        return Err(ParseError::broken(
            at,
            "the journal's inode",
            "an empty file",
        ));
    };
    let at = sb.block(first);
    let bytes = read_vec(source, Extent::new(at, Bytes(64)), 64)?;
    let (journal, _) = RawJournal::read_from_prefix(&bytes).map_err(|_| ParseError::NotThis)?;
    let kind = journal.head.kind.get();
    if journal.head.magic.get() != MAGIC || !matches!(kind, 3 | 4) {
        let found = format!("{:#010x}, kind {kind}", journal.head.magic);
        return Err(ParseError::broken(at, "the journal's superblock", found));
    }
    if journal.block_size.get() != sb.block_size {
        let expected = format!("blocks of {}", sb.block_size);
        return Err(ParseError::broken(
            at + Bytes(12),
            expected,
            journal.block_size,
        ));
    }
    let [_, incompat, _] = journal.features.map(U32::get);
    let incompat = if kind == 4 { incompat } else { 0 };
    if incompat & !KNOWN != 0 {
        return Err(ParseError::Unsupported(format!(
            "a journal with features {:#x}",
            incompat & !KNOWN
        )));
    }
    let seed = crc32c(!0, &journal.uuid);
    Walk {
        source,
        sb,
        inode,
        journal,
        incompat,
        seed,
    }
    .run()
    .map(Some)
}

impl Walk<'_> {
    fn run(&self) -> Parsed<Replay> {
        let mut replay = Replay::default();
        let mut at = self.journal.start.get();
        let mut sequence = self.journal.sequence.get();
        if at == 0 {
            return Ok(replay);
        }
        // Block of the volume -> last transaction that revoked it.
        let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
        let mut writes: Vec<(u32, Write)> = Vec::new();
        let mut budget = self.journal.blocks.get().min(BLOCKS_MOST);
        loop {
            match self.transaction(&mut at, sequence, &mut budget) {
                Ok(Some(transaction)) => {
                    let number = replay.transactions;
                    revoked.extend(transaction.revokes.iter().map(|block| (*block, number)));
                    writes.extend(transaction.writes.into_iter().map(|write| (number, write)));
                    replay.transactions += 1;
                    sequence = sequence.wrapping_add(1);
                }
                Ok(None) => break,
                Err(error) => {
                    replay.cut = Some(format!("transaction {sequence} is left out: {error}"));
                    break;
                }
            }
        }
        for (number, write) in writes {
            // A revoke counts for its own transaction and all before it.
            if revoked.get(&write.target).is_none_or(|last| *last < number) {
                replay
                    .blocks
                    .insert(write.target, (write.from, write.escaped));
            }
        }
        Ok(replay)
    }

    /// The transaction `sequence` from `at`; `None` where it is not there or not whole.
    fn transaction(
        &self,
        at: &mut u32,
        sequence: u32,
        budget: &mut u32,
    ) -> Parsed<Option<Transaction>> {
        let mut found = Transaction::default();
        while let Some(rest) = budget.checked_sub(1) {
            *budget = rest;
            let (_, block) = self.block(*at)?;
            let Ok((head, body)) = RawHead::read_from_prefix(&block) else {
                return Ok(None);
            };
            if head.magic.get() != MAGIC || head.sequence.get() != sequence {
                return Ok(None);
            }
            *at = self.next(*at);
            match head.kind.get() {
                DESCRIPTOR => self.tags(body, at, sequence, budget, &mut found)?,
                REVOKE => found.revokes.extend(self.revokes(body)),
                COMMIT => return Ok(Some(found)),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Block `logical` of the journal: where in the volume, and its bytes.
    fn block(&self, logical: u32) -> Parsed<(u64, Vec<u8>)> {
        let Some(block) = self.sb.map(self.source, &self.inode, logical)? else {
            return Err(ParseError::broken(
                Bytes::ZERO,
                "a block of the journal",
                "a hole",
            ));
        };
        let extent = Extent::new(self.sb.block(block), Bytes(self.sb.block_size.into()));
        Ok((block, read_vec(self.source, extent, 1 << 16)?))
    }

    /// The ring's block after `at`.
    fn next(&self, at: u32) -> u32 {
        match at.saturating_add(1) {
            next if next >= self.journal.blocks.get() => self.journal.first.get(),
            next => next,
        }
    }

    /// The list of a descriptor block: for each of the blocks that follow it, where it belongs.
    fn tags(
        &self,
        body: &[u8],
        at: &mut u32,
        sequence: u32,
        budget: &mut u32,
        found: &mut Transaction,
    ) -> Parsed<()> {
        let v3 = self.incompat & CHECKSUM_V3 != 0;
        let checked = self.incompat & (CHECKSUM_V2 | CHECKSUM_V3) != 0;
        let wide = self.incompat & BIT64 != 0;
        let size = match (v3, wide) {
            (true, _) => 16,
            (false, true) => 12 + if checked { 2 } else { 0 },
            (false, false) => 8 + if checked { 2 } else { 0 },
        };
        // With checksums the last four bytes are the descriptor block's own.
        let end = body.len().saturating_sub(if checked { 4 } else { 0 });
        let mut rest = body.get(..end).unwrap_or_default();
        while let Some((tag, behind)) = rest.split_at_checked(size) {
            let Some(rest_budget) = budget.checked_sub(1) else {
                break;
            };
            *budget = rest_budget;
            let (target, flags, sum) = read_tag(tag, v3, wide);
            let (from, bytes) = self.block(*at)?;
            *at = self.next(*at);
            if checked {
                let crc = [&sequence.to_be_bytes()[..], &bytes]
                    .iter()
                    .fold(self.seed, |seed, part| crc32c(seed, part));
                if (v3 && crc != sum) || (!v3 && crc & 0xffff != sum) {
                    let place = self.sb.block(from);
                    return Err(ParseError::broken(
                        place,
                        format!("checksum {sum:08x}"),
                        format!("{crc:08x}"),
                    ));
                }
            }
            found.writes.push(Write {
                target,
                from,
                escaped: flags & 1 != 0,
            });
            if flags & 8 != 0 {
                break;
            }
            rest = match flags & 2 != 0 {
                true => behind,
                false => behind.get(16..).unwrap_or_default(),
            };
        }
        Ok(())
    }

    /// The list of a revoke block.
    fn revokes(&self, body: &[u8]) -> Vec<u64> {
        let wide = self.incompat & BIT64 != 0;
        let Some((count, list)) = body.split_first_chunk::<4>() else {
            return Vec::new();
        };
        // The count is in bytes and counts the head (12) and itself (4).
        let used =
            Bytes(u64::from(u32::from_be_bytes(*count)).saturating_sub(16)).to_len(list.len());
        let list = list.get(..used).unwrap_or_default();
        list.chunks_exact(if wide { 8 } else { 4 })
            .map(|raw| raw.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
            .collect()
    }
}

/// Block, flags (1 escaped, 2 same UUID, 8 last) and checksum of a tag.
fn read_tag(tag: &[u8], v3: bool, wide: bool) -> (u64, u32, u32) {
    let word = |at: usize| {
        let raw = tag
            .get(at..)
            .and_then(|raw| U32::read_from_prefix(raw).ok());
        raw.map_or(0, |(word, _)| word.get())
    };
    let half = |at: usize| {
        let raw = tag
            .get(at..)
            .and_then(|raw| U16::read_from_prefix(raw).ok());
        raw.map_or(0, |(half, _)| u32::from(half.get()))
    };
    let high = if wide { u64::from(word(8)) << 32 } else { 0 };
    match v3 {
        true => (high | u64::from(word(0)), word(4), word(12)),
        false => (high | u64::from(word(0)), half(6), half(4)),
    }
}

/// A volume with its journal's content in place, in memory.
#[derive(Debug)]
pub struct Replayed<S> {
    base: S,
    block_size: u64,
    blocks: BTreeMap<u64, (u64, bool)>,
}

impl<S> Replayed<S> {
    /// `base` with what `replay` found; both of the file system with superblock `sb`.
    pub fn new(base: S, sb: &Superblock, replay: Replay) -> Replayed<S> {
        Replayed {
            base,
            block_size: sb.block_size.max(1).into(),
            blocks: replay.blocks,
        }
    }
}

impl<S> Source for Replayed<S>
where
    S: Deref + Send + Sync,
    S::Target: Source,
{
    fn name(&self) -> &str {
        self.base.name()
    }

    fn len(&self) -> Bytes {
        self.base.len()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let want = Extent::new(at, len_of(buf));
        let first = at.0 / self.block_size;
        let last = want.end().0 / self.block_size;
        if self.blocks.range(first..=last).next().is_none() {
            return self.base.read_at(at, buf);
        }
        let mut gaps = Gaps::none();
        let mut here = at;
        let mut rest = buf;
        while !rest.is_empty() {
            let block = here.0 / self.block_size;
            let inside = here.0 % self.block_size;
            let length = Bytes(self.block_size - inside).to_len(rest.len());
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(length);
            rest = behind;
            match self.blocks.get(&block) {
                None => gaps.add(self.base.read_at(here, part)),
                Some((from, escaped)) => {
                    let there = Bytes(from.saturating_mul(self.block_size).saturating_add(inside));
                    for gap in self.base.read_at(there, part).extents() {
                        gaps.add(Gaps::one(Extent::new(
                            here + (gap.offset - there),
                            gap.length,
                        )));
                    }
                    if *escaped {
                        let magic = MAGIC.to_be_bytes();
                        let lost = magic.iter().skip(Bytes(inside).to_len(4));
                        part.iter_mut().zip(lost).for_each(|(to, from)| *to = *from);
                    }
                }
            }
            here = here + len_of(part);
        }
        gaps
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fs::ext::PRIMARY;
    use crate::fs::testing::{image, mke2fs, tool};
    use crate::image::Memory;

    /// An image whose journal holds new content for some blocks, as debugfs writes one, and the same image after
    /// e2fsck replayed it.
    pub(crate) fn dirty_and_replayed(args: &[&str], journal: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let image = mke2fs(args, 16, None)?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("image"), &image).unwrap();
        // 4 blocks of data; the first begins with the journal's magic, so it is stored escaped.
        let mut data = vec![0x5a; 16 << 10];
        data[..4].copy_from_slice(&MAGIC.to_be_bytes());
        std::fs::write(path("data"), &data).unwrap();
        let script = format!(
            "{journal}\njw -b 3000,3001,3002,3003 {d}\njw -r 3002\njw -b 3001 /dev/zero\njc\n",
            d = path("data")
        );
        std::fs::write(path("script"), script).unwrap();
        let out = tool("debugfs", &["-w", "-f", &path("script"), &path("image")])?;
        let dirty = std::fs::read(path("image")).unwrap();
        assert_ne!(image, dirty, "{out:?}");
        tool("e2fsck", &["-p", "-E", "journal_only", &path("image")])?;
        let replayed = std::fs::read(path("image")).unwrap();
        Some((dirty, replayed))
    }

    /// Content of the journal left out, or put where it was revoked, shows a file system that never was; e2fsck is the judge.
    #[test]
    fn replays_as_e2fsck_does() {
        for (args, journal) in [
            (&["-t", "ext3", "-b", "4096"][..], "jo"),
            (&["-t", "ext3", "-b", "1024"], "jo"),
            (&["-t", "ext4", "-b", "4096"], "jo -c"),
            (&["-t", "ext4", "-b", "1024", "-O", "64bit"], "jo -c -v 2"),
        ] {
            let Some((dirty, replayed)) = dirty_and_replayed(args, journal) else {
                return;
            };
            let source = Memory::new("m", dirty);
            let sb = Superblock::read(&source, PRIMARY).unwrap();
            assert!(sb.needs_recovery(), "{args:?}");
            let replay = read(&source, &sb, 0).unwrap().unwrap();
            assert_eq!(replay.cut, None);
            assert!(
                replay.transactions >= 2 && replay.blocks.len() == 3,
                "{args:?} {replay:?}"
            );
            let view = Replayed::new(&source as &dyn Source, &sb, replay);
            let size = sb.block_size as usize;
            for block in 2990..3010 {
                let mut ours = vec![0; size];
                assert!(view.read_at(sb.block(block), &mut ours).is_none());
                let theirs = &replayed[block as usize * size..][..size];
                assert_eq!(ours, theirs, "{args:?} block {block}");
            }
            // The same through one long read that begins and ends inside of blocks.
            let mut ours = vec![0; 20 * size];
            let from = 2990 * size + 2;
            assert!(view.read_at(Bytes(from as u64), &mut ours).is_none());
            assert_eq!(ours, replayed[from..][..ours.len()]);
        }
    }

    /// A file system that was unmounted has nothing to replay; one without a journal has none.
    #[test]
    fn clean_ones_bring_nothing() {
        for (kind, replay) in [("ext2", None), ("ext4", Some(Replay::default()))] {
            let Some(image) = image("mke2fs", &["-q", "-F", "-t", kind], 8) else {
                return;
            };
            let source = Memory::new("m", image);
            let sb = Superblock::read(&source, PRIMARY).unwrap();
            assert_eq!(read(&source, &sb, 0), Ok(replay));
        }
    }
}
