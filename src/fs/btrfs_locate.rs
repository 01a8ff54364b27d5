//! Where blocks of a btrfs file system lie, told by the blocks themselves.
//!
//! Every tree block carries its logical address and the file system's UUID.
//! The chunk tree, and for itself an array in the superblock, say where
//! logical addresses lie on the device; the checksum tree holds the CRC-32C of
//! every block of data. Only file systems on one device are told so.
//! Source: btrfs' on-disk format documentation (btrfs.readthedocs.io).

use super::btrfs::MAGIC;
use super::locate::{Located, PAGE, Test};
use crate::parse::{le32, le64};
use crate::units::{Bytes, Extent};

/// From a superblock's start to its magic, its own address, the array of chunks and that array's length.
const MAGIC_AT: usize = 64;
const ADDRESS_AT: usize = 48;
const CHUNKS_AT: usize = 0x32b;
const CHUNKS_LENGTH_AT: usize = 0xa0;
const CHUNKS_MOST: usize = 2048;

/// A tree block's header, and an item's entry behind it.
const HEADER: usize = 101;
const ITEM: usize = 25;

/// The trees, by their owner, and the items that are read of them.
const CHUNK_TREE: u64 = 3;
const CHECKSUM_TREE: u64 = 7;
const CHUNK_ITEM: u8 = 228;
const CHECKSUM_ITEM: u8 = 128;

/// Bytes of a chunk item before its stripes, and of a stripe.
const CHUNK: usize = 48;
const STRIPE: usize = 32;

/// Tree blocks and checksums kept at most.
const MOST: usize = 65_536;

/// A run of logical addresses, and a place where it lies on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mapped {
    logical: Extent,
    device: Bytes,
}

/// Recognises the structures of one btrfs file system.
pub struct Locator {
    uuid: [u8; 16],
    node_size: usize,
    sector_size: usize,
    chunks: Vec<Mapped>,
    /// Tree blocks: member, place, logical address.
    blocks: Vec<(usize, Bytes, Bytes)>,
    /// Logical address of a page of data, and its CRC-32C.
    checksums: Vec<(Bytes, u32)>,
    /// Superblocks, which carry their place on the device.
    located: Located,
}

/// Whether a superblock starts here.
pub fn is_superblock(bytes: &[u8]) -> bool {
    bytes.get(MAGIC_AT..).is_some_and(|b| b.starts_with(MAGIC))
}

impl Locator {
    /// For the file system of this superblock, of which the first 4 KiB are given, if it lies on one device.
    pub fn new(superblock: &[u8]) -> Option<Locator> {
        let sb = superblock.get(..PAGE).filter(|sb| is_superblock(sb))?;
        let (devices, sector_size, node_size) = (le64(sb, 0x88)?, le32(sb, 0x90)?, le32(sb, 0x94)?);
        let sound = devices == 1
            && sector_size == 4096
            && node_size.is_power_of_two()
            && (4096..=65536).contains(&node_size);
        let length = usize::try_from(le32(sb, CHUNKS_LENGTH_AT)?)
            .ok()?
            .min(CHUNKS_MOST);
        let mut locator = Locator {
            uuid: *sb.get(32..)?.first_chunk()?,
            node_size: usize::try_from(node_size).ok()?,
            sector_size: usize::try_from(sector_size).ok()?,
            chunks: Vec::new(),
            blocks: Vec::new(),
            checksums: Vec::new(),
            located: Located::default(),
        };
        let mut array = sb.get(CHUNKS_AT..CHUNKS_AT + length)?;
        while array.len() > 17 + CHUNK {
            let stripes = locator.chunk(le64(array, 9)?, array.get(17..)?)?;
            array = array.get(17 + CHUNK + stripes * STRIPE..)?;
        }
        sound.then_some(locator)
    }

    /// The file system's UUID, as it lies on disk.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Adds a chunk item; gives its number of stripes.
    fn chunk(&mut self, logical: u64, item: &[u8]) -> Option<usize> {
        let (length, stripes) = (
            le64(item, 0)?,
            u16::from_le_bytes(*item.get(44..)?.first_chunk()?),
        );
        let logical = Extent::new(Bytes(logical), Bytes(length));
        let stripes = usize::from(stripes);
        for stripe in item.get(CHUNK..)?.chunks_exact(STRIPE).take(stripes) {
            let device = Bytes(le64(stripe, 8)?);
            if self.chunks.len() < MOST {
                self.chunks.push(Mapped { logical, device });
            }
        }
        Some(stripes)
    }

    pub(super) fn look(&mut self, member: usize, at: Bytes, block: &[u8]) {
        for start in (0..block.len()).step_by(PAGE) {
            let (Some(page), here) = (block.get(start..), at + Bytes(start as u64)) else {
                continue;
            };
            if page.get(32..48) != Some(&self.uuid) {
                continue;
            }
            let address = le64(page, ADDRESS_AT).map(Bytes);
            match address {
                Some(address) if is_superblock(page) => {
                    self.located.sighting(member, here, address)
                }
                Some(address) if self.blocks.len() < MOST => {
                    self.blocks.push((member, here, address));
                    self.node(page);
                }
                _ => {}
            }
        }
    }

    /// Reads the leaves of the two trees that tell something; in a block that is cut by its chunk's end what is whole.
    fn node(&mut self, page: &[u8]) -> Option<()> {
        let node = page.get(..self.node_size.min(page.len()))?;
        let (owner, level) = (le64(node, 88)?, *node.get(100)?);
        if level != 0 || ![CHUNK_TREE, CHECKSUM_TREE].contains(&owner) {
            return None;
        }
        let items = le32(node, 96)?;
        for item in node.get(HEADER..)?.chunks_exact(ITEM).take(items as usize) {
            let (kind, key) = (*item.get(8)?, le64(item, 9)?);
            let from = HEADER + usize::try_from(le32(item, 17)?).ok()?;
            let to = from + usize::try_from(le32(item, 21)?).ok()?;
            let Some(body) = node.get(from..to) else {
                continue;
            };
            match (owner, kind) {
                (CHUNK_TREE, CHUNK_ITEM) => {
                    self.chunk(key, body);
                }
                (CHECKSUM_TREE, CHECKSUM_ITEM) => {
                    for (i, crc) in body
                        .chunks_exact(4)
                        .enumerate()
                        .take(MOST - self.checksums.len().min(MOST))
                    {
                        let logical = Bytes(key.saturating_add((i * self.sector_size) as u64));
                        self.checksums.push((logical, le32(crc, 0)?));
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Where a logical address lies on the device: several places with DUP.
    fn places(&self, logical: Bytes) -> impl Iterator<Item = Bytes> + '_ {
        let holds = move |m: &&Mapped| logical >= m.logical.offset && logical < m.logical.end();
        self.chunks
            .iter()
            .filter(holds)
            .map(move |m| m.device + (logical - m.logical.offset))
    }

    pub(super) fn finish(mut self) -> Located {
        self.chunks.sort_unstable();
        self.chunks.dedup();
        let mut located = std::mem::take(&mut self.located);
        for (member, at, logical) in &self.blocks {
            for device in self.places(*logical) {
                located.sighting(*member, *at, device);
            }
        }
        for (logical, crc) in &self.checksums {
            for device in self.places(*logical) {
                located.fact(device, Test::Crc(*crc));
            }
        }
        located
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing;
    use crate::md::sample::{Page, digest};

    /// Every tree block that mkfs.btrfs wrote lies where its address and the chunks say, and every checksum holds.
    #[test]
    fn blocks_of_a_real_file_system_tell_their_place() {
        let folder = tempfile::tempdir().unwrap();
        for i in 1..60_u32 {
            let text = format!("{i} ").repeat(3000 + 100 * i as usize);
            std::fs::write(folder.path().join(format!("f{i}")), text).unwrap();
        }
        let tree = folder.path().to_str().unwrap();
        let Some(bytes) = testing::image("mkfs.btrfs", &["-q", "--rootdir", tree], 200) else {
            return;
        };
        let mut locator = Locator::new(&bytes[65536..]).unwrap();
        locator.look(0, Bytes::ZERO, &bytes);
        let located = locator.finish();
        let right = located
            .sightings
            .iter()
            .filter(|s| s.at == s.logical)
            .count();
        assert!(right > 5, "{right}");
        // With DUP each block has two places, so it is once at one and once at the other.
        assert!(right * 2 >= located.sightings.len());
        assert!(located.facts.len() > 60, "{}", located.facts.len());
        for fact in &located.facts {
            let page = &bytes[fact.logical.to_len(usize::MAX)..][..PAGE];
            let Test::Crc(expected) = fact.test else {
                panic!("{fact:?}");
            };
            assert!(matches!(digest(page), Page::Data { crc, .. } if crc == expected));
        }
    }
}
