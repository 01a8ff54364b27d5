//! Structures that know where they are: from a page on some disk to its place in a file system.
//!
//! A file system that lies on an array is cut into chunks over the members.
//! Some of its structures tell their own place, whatever lies around them:
//! copies of superblocks and XFS's headers carry a number, blocks of XFS and
//! btrfs their address, ext4's inodes a checksum over their number. A
//! [`Sighting`] of one ties a place on a member to a place in the file system.
//! The same structures say what lies elsewhere (how many bytes a file's last
//! block has, the checksum of a block of data): a [`Fact`], to be looked up
//! where an assumed array puts it.

use super::{btrfs_locate, ext_locate, xfs_locate};
pub use crate::md::clues::{Fact, Sighting, Test};
use crate::units::Bytes;

/// The grain of sightings and facts: offsets are multiples of it.
pub const PAGE: usize = 4096;

/// Sightings and facts kept of one file system at most.
const MOST: usize = 16_384;

/// What was collected of one file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// Where its structures were seen.
    pub sightings: Vec<Sighting>,
    /// What must lie where.
    pub facts: Vec<Fact>,
}

impl Located {
    pub(super) fn sighting(&mut self, member: usize, at: Bytes, logical: Bytes) {
        let grain = PAGE as u64;
        // A structure at an odd place is one in a file, or not ours.
        if self.sightings.len() < MOST && at.0 % grain == logical.0 % grain {
            let down = |b: Bytes| Bytes(b.0 / grain * grain);
            self.sightings.push(Sighting {
                member,
                at: down(at),
                logical: down(logical),
            });
        }
    }

    pub(super) fn fact(&mut self, logical: Bytes, test: Test) {
        if self.facts.len() < 4 * MOST {
            self.facts.push(Fact { logical, test });
        }
    }

    /// Each once, and of very many facts an even choice.
    fn tidy(mut self) -> Located {
        self.sightings.sort_unstable();
        self.sightings.dedup();
        self.facts.sort_unstable();
        self.facts.dedup();
        let step = self.facts.len().div_ceil(MOST / 4).max(1);
        self.facts = self.facts.into_iter().step_by(step).collect();
        self
    }
}

/// Recognises the structures of one file system.
pub enum Locator {
    /// ext2, ext3, ext4.
    Ext(ext_locate::Locator),
    /// XFS.
    Xfs(xfs_locate::Locator),
    /// btrfs.
    Btrfs(btrfs_locate::Locator),
}

impl Locator {
    /// Collects what a block of a member holds; `at` is a multiple of [`PAGE`].
    pub fn look(&mut self, member: usize, at: Bytes, block: &[u8]) {
        match self {
            Locator::Ext(locator) => locator.look(member, at, block),
            Locator::Xfs(locator) => locator.look(member, at, block),
            Locator::Btrfs(locator) => locator.look(member, at, block),
        }
    }

    /// Bytes of the file system, by its superblock; of one that may go over several devices they are not known.
    pub fn length(&self) -> Option<Bytes> {
        match self {
            Locator::Ext(locator) => Some(locator.length()),
            Locator::Xfs(locator) => Some(locator.length()),
            Locator::Btrfs(_) => None,
        }
    }

    /// When it was made and last written, in seconds since 1970, where its superblock says so.
    pub fn times(&self) -> Option<(u64, u64)> {
        match self {
            Locator::Ext(locator) => Some(locator.times()).filter(|(made, _)| *made > 0),
            Locator::Xfs(_) | Locator::Btrfs(_) => None,
        }
    }

    /// Whether what it calls a fact may be another file system's.
    pub fn shares_facts(&self) -> bool {
        matches!(self, Locator::Ext(locator) if !locator.has_checksums())
    }

    /// What was collected.
    pub fn finish(self) -> Located {
        match self {
            Locator::Ext(locator) => locator.finish(),
            Locator::Xfs(locator) => locator.located,
            Locator::Btrfs(locator) => locator.finish(),
        }
        .tidy()
    }
}
