//! Where blocks of an XFS file system lie, told by the blocks themselves.
//!
//! With version 5 every block of metadata carries its own address (in
//! 512-byte units) and the file system's UUID, every inode its number, which
//! is an address too, and the headers of an allocation group its number.
//! Source: "XFS Filesystem Structure", self-describing metadata.

use super::locate::{Located, PAGE, Test};
use super::xfs::{MAGIC, RawSuperblock};
use crate::parse::{be16, be32, be64};
use crate::units::{Bytes, SECTOR};
use zerocopy::FromBytes;

/// Where a block with this magic keeps its address and UUID; the magic's own place is the last number.
const BLOCKS: [(&[u8], usize, usize, usize); 15] = [
    (b"AB3B", 16, 32, 0),
    (b"AB3C", 16, 32, 0),
    (b"IAB3", 16, 32, 0),
    (b"FIB3", 16, 32, 0),
    (b"RMB3", 16, 32, 0),
    (b"R3FC", 16, 32, 0),
    (b"BMA3", 24, 40, 0),
    (b"XDB3", 8, 24, 0),
    (b"XDD3", 8, 24, 0),
    (b"XDF3", 8, 24, 0),
    (b"XSLM", 40, 16, 0),
    (b"\x3d\xf1", 16, 32, 8),
    (b"\x3d\xff", 16, 32, 8),
    (b"\x3e\xbe", 16, 32, 8),
    (b"\x3b\xee", 16, 32, 8),
];

/// Recognises the structures of one XFS file system of version 5.
pub struct Locator {
    raw: RawSuperblock,
    pub(super) located: Located,
}

impl Locator {
    /// For the file system of this superblock's sector, if it is one of version 5.
    pub fn new(sector: &[u8]) -> Option<Locator> {
        let (raw, _) = RawSuperblock::read_from_prefix(sector).ok()?;
        let block_size = raw.block_size.get();
        let logs_hold = 1_u64.checked_shl(raw.block_log.into()) == Some(block_size.into())
            && u64::from(raw.group_blocks.get())
                <= 1_u64.checked_shl(raw.group_blocks_log.into())?
            && raw.group_blocks_log <= 32
            && raw.inodes_per_block_log <= 8;
        let sound = raw.magic == MAGIC && raw.version.get() & 0xf == 5 && logs_hold;
        sound.then(|| Locator {
            raw,
            located: Located::default(),
        })
    }

    /// The file system's UUID, as it lies on disk.
    pub fn uuid(&self) -> [u8; 16] {
        self.raw.uuid
    }

    /// Bytes of the file system.
    pub fn length(&self) -> Bytes {
        Bytes(
            self.raw
                .blocks
                .get()
                .saturating_mul(self.raw.block_size.get().into()),
        )
    }

    pub(super) fn look(&mut self, member: usize, at: Bytes, block: &[u8]) {
        for (i, page) in block.chunks(PAGE).enumerate() {
            let here = at + Bytes((i * PAGE) as u64);
            let logical = self.group_header(page).or_else(|| self.block(page));
            if let Some(logical) = logical.filter(|l| *l < self.length()) {
                self.located.sighting(member, here, logical);
            } else if page.starts_with(b"IN") {
                self.inodes(member, here, page);
            }
        }
    }

    /// A group's superblock, with the group's number in the header behind it.
    fn group_header(&self, page: &[u8]) -> Option<Bytes> {
        let sector = usize::from(self.raw.sector_size.get());
        let header = page.get(sector..)?;
        let ours = page.starts_with(MAGIC)
            && page.get(32..48)? == self.raw.uuid
            && header.starts_with(b"XAGF");
        let group = be32(header, 8).filter(|g| ours && *g < self.raw.groups.get())?;
        Some(self.at_block(group.into(), 0))
    }

    /// A block that carries its address.
    fn block(&self, page: &[u8]) -> Option<Bytes> {
        let (_, address, uuid, _) = BLOCKS
            .iter()
            .find(|(magic, .., at)| page.get(*at..).is_some_and(|b| b.starts_with(magic)))?;
        let ours = page.get(*uuid..*uuid + 16)? == self.raw.uuid;
        be64(page, *address)
            .filter(|_| ours)?
            .checked_mul(SECTOR)
            .map(Bytes)
    }

    fn inodes(&mut self, member: usize, at: Bytes, page: &[u8]) {
        let [size, _] = self.raw.inode_sizes;
        for (i, inode) in page
            .chunks_exact(usize::from(size.get()).max(176))
            .enumerate()
        {
            let ours = inode.starts_with(b"IN")
                && inode.get(4) == Some(&3)
                && inode.get(160..176) == Some(&self.raw.uuid);
            let Some(number) = be64(inode, 152).filter(|_| ours) else {
                continue;
            };
            let log = self.raw.inodes_per_block_log;
            let in_block = number & ((1 << log) - 1);
            let offset = Bytes(in_block * u64::from(size.get()));
            if let Some(block) = self.block_at(number >> log) {
                self.located.sighting(
                    member,
                    at + Bytes((i * usize::from(size.get())) as u64),
                    block + offset,
                );
                self.file(inode);
            }
        }
    }

    /// What a regular file's inode says of its last block.
    fn file(&mut self, inode: &[u8]) -> Option<()> {
        let (mode, size, extents) = (be16(inode, 2)?, be64(inode, 56)?, be32(inode, 76)?);
        let block_size = u64::from(self.raw.block_size.get());
        let used = size % block_size;
        // Format 2: the extents stand in the inode, from byte 176.
        if mode & 0xf000 != 0x8000
            || inode.get(5) != Some(&2)
            || used == 0
            || block_size != PAGE as u64
        {
            return None;
        }
        let last = size / block_size;
        let records = inode
            .get(176..)?
            .chunks_exact(16)
            .take(extents.min(32) as usize);
        for record in records {
            // 1 bit unwritten, 54 bits place in the file, 52 bits block, 21 bits length.
            let (high, low) = (be64(record, 0)?, be64(record, 8)?);
            let first = high >> 9 & ((1 << 54) - 1);
            let block = (high & 0x1ff) << 43 | low >> 21;
            let length = low & 0x1f_ffff;
            if high >> 63 == 0 && (first..first.saturating_add(length)).contains(&last) {
                let at = self.block_at(block)? + Bytes((last - first) * block_size);
                self.located.fact(at, Test::Used(u16::try_from(used).ok()?));
            }
        }
        Some(())
    }

    /// A block by the number that inodes use: the group in the upper bits.
    fn block_at(&self, number: u64) -> Option<Bytes> {
        let log = self.raw.group_blocks_log;
        let (group, block) = (number >> log, number & ((1 << log) - 1));
        let inside =
            group < self.raw.groups.get().into() && block < self.raw.group_blocks.get().into();
        inside.then(|| self.at_block(group, block))
    }

    fn at_block(&self, group: u64, block: u64) -> Bytes {
        let blocks = group
            .saturating_mul(self.raw.group_blocks.get().into())
            .saturating_add(block);
        Bytes(blocks.saturating_mul(self.raw.block_size.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing;

    /// Everything that mkfs.xfs wrote and that carries its address lies at that address.
    #[test]
    fn blocks_of_a_real_file_system_tell_their_place() {
        let Some(bytes) = testing::image("mkfs.xfs", &["-q", "-f"], 320) else {
            return;
        };
        let mut locator = Locator::new(&bytes[..512]).unwrap();
        assert_eq!(locator.length(), Bytes::mib(320));
        locator.look(0, Bytes::ZERO, &bytes);
        let sightings = &locator.located.sightings;
        // Four groups, each with its header and its trees' roots.
        assert!(sightings.len() >= 4 * 5, "{}", sightings.len());
        for sighting in sightings {
            assert_eq!(sighting.at, sighting.logical);
        }
        assert!(Locator::new(&bytes[512..1024]).is_none());
    }
}
