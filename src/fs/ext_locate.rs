//! Where blocks of an ext file system lie, told by the blocks themselves.
//!
//! With metadata_csum an inode's CRC-32C begins with the file system's seed
//! and the inode's own number. CRCs run backwards as well as forwards: from
//! the stored checksum back over the inode's bytes comes the value that seed
//! and number must have given, and so the number itself. That gives the place
//! of the inode in its table from its bytes alone, and its map then tells
//! where its file's last block lies and how full that is. Where tables start is
//! in the groups' descriptors, which may lie on another member than the
//! superblock before them: their checksums begin with the group's number, and
//! tell them wherever they are. Without checksums
//! (ext2, ext3) the inode's place stays unknown, but what its map tells does
//! not depend on it.

use super::ext::{MAGIC, MAGIC_AT, SUPERBLOCK_LEN, Superblock};
use super::ext_features::feature;
use super::ext_group::Descriptor;
use super::ext_inode::{Kind, RawInode};
use super::locate::{Located, PAGE, Test};
use crate::image::{Memory, Source, read_vec};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// An inode cannot have been changed before its file system was made; clocks may differ by a day.
const CLOCKS_DIFFER: u64 = 86_400;

/// Longest table of descriptors read behind one superblock.
const MOST_DESCRIPTORS: usize = 4 << 20;

/// Inodes kept until their group's descriptor is found.
const MOST_INODES: usize = 1 << 16;

/// CRC-32C's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

static FORWARD: [u32; 256] = forward_table();
/// Which index of [`FORWARD`] has this highest byte.
static BY_HIGHEST: [u8; 256] = highest_table();

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time"
)]
const fn forward_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time"
)]
const fn highest_table() -> [u8; 256] {
    let forward = forward_table();
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[(forward[i] >> 24) as usize] = i as u8;
        i += 1;
    }
    table
}

/// The running value before these bytes, from the one behind them.
fn crc_backwards(after: u32, bytes: impl DoubleEndedIterator<Item = u8>) -> u32 {
    bytes.rev().fold(after, |crc, byte| {
        let [highest, ..] = crc.to_be_bytes();
        let index = BY_HIGHEST
            .get(usize::from(highest))
            .copied()
            .unwrap_or_default();
        let entry = FORWARD.get(usize::from(index)).copied().unwrap_or_default();
        (crc ^ entry) << 8 | u32::from(index ^ byte)
    })
}

/// Recognises the structures of one ext file system.
pub struct Locator {
    sb: Superblock,
    /// The groups whose descriptor was found and holds.
    groups: BTreeMap<u64, Descriptor>,
    /// Inodes seen: member, place, number.
    inodes: Vec<(usize, Bytes, u32)>,
    nothing: Memory,
    pub(super) located: Located,
}

impl Locator {
    /// For the file system of this superblock.
    pub fn new(sb: Superblock) -> Locator {
        Locator {
            sb,
            groups: BTreeMap::new(),
            inodes: Vec::new(),
            nothing: Memory::new("nothing", Vec::new()),
            located: Located::default(),
        }
    }

    /// Reads the descriptors behind a superblock that was seen at `at` of a member; as many as hold are kept.
    ///
    /// Behind the end of the superblock's chunk lies something else, which their checksums tell.
    pub fn read_descriptors(&mut self, member: &dyn Source, at: Bytes, group: u64) {
        let distance = self.sb.descriptors_at(group) - self.sb.superblock_at(group);
        let length = self.sb.descriptors_length();
        let Ok(bytes) = read_vec(member, Extent::new(at + distance, length), MOST_DESCRIPTORS)
        else {
            return;
        };
        self.keep(0, &bytes);
    }

    /// Bytes of the file system.
    pub(super) fn length(&self) -> Bytes {
        self.sb.block(self.sb.blocks)
    }

    /// When it was made and last written.
    pub(super) fn times(&self) -> (u64, u64) {
        (self.sb.made, self.sb.written)
    }

    /// Whether inodes say by their checksums that they are this file system's.
    pub(super) fn has_checksums(&self) -> bool {
        self.sb.has_ro_compat(feature::METADATA_CSUM)
    }

    /// Bytes of a descriptor.
    fn entry(&self) -> usize {
        usize::from(self.sb.descriptor_size.clamp(32, 1024))
    }

    /// These bytes as the descriptor of a group, if their checksum says so.
    fn proven(&self, raw: &[u8], group: u64) -> Option<Descriptor> {
        let descriptor = self.sb.parse_descriptor(raw, group)?;
        let holds = descriptor.checksum == Checksum::Ok && descriptor.problem(&self.sb).is_none();
        holds.then_some(descriptor)
    }

    /// Keeps the descriptors that hold, of the group `first` and those behind it.
    fn keep(&mut self, first: u64, table: &[u8]) {
        for (group, raw) in (first..self.sb.group_count()).zip(table.chunks_exact(self.entry())) {
            if let Some(descriptor) = self.proven(raw, group) {
                self.groups.entry(group).or_insert(descriptor);
            }
        }
    }

    /// A page of descriptors, whichever page of the table it is.
    fn descriptors(&mut self, page: &[u8]) {
        let (all, size) = (self.sb.group_count(), self.entry());
        if self.groups.len() as u64 >= all || !self.is_like_descriptor(page) {
            return;
        }
        let before = self.sb.descriptors_at(0).0 % PAGE as u64;
        let pages = (before + all * size as u64).div_ceil(PAGE as u64);
        let firsts = (0..pages).filter_map(|number| (number * PAGE as u64).checked_sub(before));
        let first = firsts.map(|inside| inside / size as u64).find(|first| {
            self.proven(page.get(..size).unwrap_or_default(), *first)
                .is_some()
        });
        if let Some(first) = first {
            self.keep(first, page);
        }
    }

    /// Whether three places within the file system begin a page: bitmaps and table of a group.
    fn is_like_descriptor(&self, page: &[u8]) -> bool {
        let within = |at: usize| {
            let place = page.get(at..).and_then(|b| b.first_chunk());
            let place = place.map(|b| u64::from(u32::from_le_bytes(*b)));
            place.is_some_and(|place| place > 0 && place < self.sb.blocks)
        };
        self.sb.blocks > u64::from(u32::MAX) || [0, 4, 8].into_iter().all(within)
    }

    pub(super) fn look(&mut self, member: usize, at: Bytes, block: &[u8]) {
        for (i, page) in block.chunks(PAGE).enumerate() {
            let here = at + Bytes((i * PAGE) as u64);
            self.superblocks(member, here, page);
            if !self.has_checksums() {
                self.files(page);
            } else if self.sb.inode_size > 128 {
                self.descriptors(page);
                self.inodes(member, here, page);
            }
        }
    }

    fn superblocks(&mut self, member: usize, at: Bytes, page: &[u8]) {
        for start in (0..page.len()).step_by(SUPERBLOCK_LEN) {
            let Some(bytes) = page.get(start..start + SUPERBLOCK_LEN) else {
                continue;
            };
            if !bytes.get(MAGIC_AT..).is_some_and(|b| b.starts_with(MAGIC)) {
                continue;
            }
            let here = at + Bytes(start as u64);
            if let Ok(sb) = Superblock::parse(bytes, here)
                && sb.uuid == self.sb.uuid
            {
                let logical = sb.superblock_at(sb.group.into());
                self.located.sighting(member, here, logical);
            }
        }
    }

    fn inodes(&mut self, member: usize, at: Bytes, page: &[u8]) {
        let size = usize::from(self.sb.inode_size);
        for (i, bytes) in page.chunks_exact(size).enumerate() {
            let Some(number) = self.number(bytes) else {
                continue;
            };
            if self.inodes.len() < MOST_INODES {
                let here = at + Bytes((i * size) as u64);
                self.inodes.push((member, here, number));
            }
            self.file(bytes, number);
        }
    }

    /// What was collected: inodes have their place now that all descriptors are known that were seen.
    pub(super) fn finish(mut self) -> Located {
        for (member, at, number) in std::mem::take(&mut self.inodes) {
            if let Some(descriptor) = self.groups.get(&self.sb.inode_group(number)) {
                let logical = self.sb.inode_at(descriptor, number);
                self.located.sighting(member, at, logical);
            }
        }
        self.located
    }

    /// What looks like inodes of regular files, where there is no checksum to prove it.
    fn files(&mut self, page: &[u8]) {
        for bytes in page.chunks_exact(usize::from(self.sb.inode_size.max(128))) {
            if self.is_likely_file(bytes) {
                self.file(bytes, 0);
            }
        }
    }

    /// Whether kind, times and above all length and blocks in use agree with each other.
    fn is_likely_file(&self, bytes: &[u8]) -> bool {
        let Ok((raw, _)) = RawInode::ref_from_prefix(bytes) else {
            return false;
        };
        let [_, changed, _, deleted] = raw.times;
        let size = u64::from(raw.size_lo.get()) | u64::from(raw.size_hi.get()) << 32;
        let block_size = u64::from(self.sb.block_size);
        let blocks = size.div_ceil(block_size) + u64::from(raw.attributes.get() != 0);
        raw.mode.get() & 0xf000 == 0x8000
            && (1..=1000).contains(&raw.links.get())
            && deleted.get() == 0
            && u64::from(changed.get()) + CLOCKS_DIFFER >= self.sb.made
            && size > 0
            && u64::from(raw.sectors.get()) * 512 == blocks * block_size
    }

    /// The number of the inode that these bytes are, by their checksum; `None` where they are none.
    fn number(&self, bytes: &[u8]) -> Option<u32> {
        let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (mode, links, extra) = (word(0)?, word(0x1a)?, word(0x80)?);
        let kinds = [0x1000, 0x2000, 0x4000, 0x6000, 0x8000, 0xa000, 0xc000];
        if links == 0 || !kinds.contains(&(mode & 0xf000)) || !(4..=128).contains(&extra) {
            return None;
        }
        let stored = u32::from(word(0x7c)?) | u32::from(word(0x82)?) << 16;
        let is_checksum = |at: usize| (0x7c..0x7e).contains(&at) || (0x82..0x84).contains(&at);
        let body = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if is_checksum(at) { 0 } else { *byte });
        let generation = bytes.get(0x64..0x68)?.iter().copied();
        let behind_number = crc_backwards(crc_backwards(stored, body), generation);
        // Four bytes taken in are the same as taken in as zeros by a value that had them added before.
        let number = crc_backwards(behind_number, [0; 4].into_iter()) ^ self.sb.checksum_seed;
        (number >= 1 && number <= self.sb.inodes).then_some(number)
    }

    /// What a regular file's inode says of its last block.
    fn file(&mut self, bytes: &[u8], number: u32) {
        let Some(inode) = self.sb.parse_inode(bytes, number) else {
            return;
        };
        let block_size = u64::from(self.sb.block_size);
        let used = inode.size % block_size;
        if inode.kind() != Kind::File
            || used == 0
            || inode.is_encrypted()
            || block_size > PAGE as u64
        {
            return;
        }
        let last = u32::try_from(inode.size / block_size);
        let Some(last) = last.ok() else { return };
        // Maps that need another block to be read are left out: where that lies is what is being looked for.
        let Ok(Some(block)) = self.sb.map(&self.nothing, &inode, last) else {
            return;
        };
        let at = self.sb.block(block);
        let in_page = at.0 % PAGE as u64;
        // A page of several blocks ends where its last one does.
        if in_page + block_size == PAGE as u64
            && let Ok(used) = u16::try_from(in_page + used)
        {
            self.located.fact(at - Bytes(in_page), Test::Used(used));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::ext::PRIMARY;
    use crate::fs::ext_features::crc32c;
    use crate::fs::testing;

    #[test]
    fn checksums_run_backwards() {
        let bytes = b"one direction is as good as the other";
        let after = crc32c(0x1234_5678, bytes);
        assert_eq!(crc_backwards(after, bytes.iter().copied()), 0x1234_5678);
    }

    /// A real file system with these options, and what its own bytes tell of it; `None` where mke2fs is not installed.
    fn located(args: &[&str]) -> Option<(Vec<u8>, Locator)> {
        let (bytes, memory, mut locator) = made(args)?;
        locator.read_descriptors(&memory, PRIMARY, 0);
        locator.look(0, Bytes::ZERO, &bytes);
        Some((bytes, locator))
    }

    fn made(args: &[&str]) -> Option<(Vec<u8>, Memory, Locator)> {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..40_usize {
            let text = vec![b'x'; 100 + 777 * i];
            std::fs::write(folder.path().join(format!("f{i}")), text).unwrap();
        }
        let tree = folder.path().to_str().unwrap();
        let bytes = testing::image("mke2fs", &[&["-q", "-d", tree], args].concat(), 32)?;
        let memory = Memory::new("m", bytes.clone());
        let locator = Locator::new(Superblock::read(&memory, PRIMARY).unwrap());
        Some((bytes, memory, locator))
    }

    /// With chunks of one page the descriptors lie on another member than the superblock: without them no inode has a
    /// place, and nothing told the order of such arrays.
    #[test]
    fn descriptors_are_known_by_themselves() {
        let args = ["-t", "ext4", "-b", "4096", "-O", "metadata_csum"];
        let Some((bytes, _, mut locator)) = made(&args) else {
            return;
        };
        // Each page from another place, the last ones first.
        let pages: Vec<&[u8]> = bytes.chunks(PAGE).collect();
        for (i, page) in pages.iter().enumerate().rev() {
            locator.look(0, Bytes((i * PAGE) as u64), page);
        }
        let located = locator.finish();
        assert!(located.sightings.len() > 39, "{}", located.sightings.len());
        for sighting in &located.sightings {
            assert_eq!(sighting.at, sighting.logical);
        }
    }

    #[track_caller]
    fn assert_facts(bytes: &[u8], located: &Located, fewest: usize) {
        let facts = &located.facts;
        assert!(facts.len() >= fewest, "{}", facts.len());
        for fact in facts {
            let page = &bytes[fact.logical.to_len(usize::MAX)..][..PAGE];
            let used = page.iter().rposition(|b| *b != 0).unwrap() + 1;
            assert_eq!(fact.test, Test::Used(used as u16));
        }
    }

    /// Every inode in mke2fs' own table must be found at its place, from its bytes alone, and nothing else anywhere.
    #[test]
    fn inodes_of_a_real_file_system_tell_their_place() {
        for (block_size, fewest) in [("4096", 39), ("1024", 5)] {
            let args = ["-t", "ext4", "-b", block_size, "-O", "metadata_csum"];
            let Some((bytes, locator)) = located(&args) else {
                return;
            };
            assert_eq!(locator.groups.len() as u64, locator.sb.group_count());
            let located = locator.finish();
            assert!(located.sightings.len() > 3);
            for sighting in &located.sightings {
                assert_eq!(sighting.at, sighting.logical);
            }
            assert_facts(&bytes, &located, fewest);
        }
    }

    /// Of a raid0 with an ext3 on it nothing but its files' ends tells the order: a file's end that is none would be a
    /// vote for a wrong one.
    #[test]
    fn inodes_without_checksums_tell_where_files_end() {
        for kind in ["ext2", "ext3"] {
            let Some((bytes, locator)) = located(&["-t", kind, "-b", "4096"]) else {
                return;
            };
            assert_facts(&bytes, &locator.finish(), 39);
        }
    }
}
