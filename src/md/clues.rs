//! What is known of an array's content: structures seen on members, and what must lie where.
//!
//! Everything here comes from above (file systems, LVM); md itself only asks
//! which array puts these things where they were seen.

use super::spans::Spans;
use crate::units::{Bytes, Extent};
use std::sync::Arc;

/// A structure seen on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The member, by the caller's number.
    pub member: usize,
    /// Where on the member.
    pub at: Bytes,
    /// Where in the file system.
    pub logical: Bytes,
}

/// What a page of the file system must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The page's place in the file system.
    pub logical: Bytes,
    /// What it holds.
    pub test: Test,
}

/// How a page is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// So many bytes, and zeros behind: the end of a file.
    Used(u16),
    /// CRC-32C of the page.
    Crc(u32),
}

/// Something whose place in the array is known, recognised by a few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// What should start there: `guests/home`.
    pub what: String,
    /// Its first byte in the array.
    pub at: Bytes,
    /// What may be seen there, any one of them: bytes at a distance from `at`.
    pub marks: Vec<(Bytes, &'static [u8])>,
}

/// Where a file system may lie in the array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// In words: `the array's start`, `store/data`.
    pub what: String,
    /// Extents of the file system, each with its place in the array.
    pub pieces: Vec<(Extent, Bytes)>,
}

impl Base {
    /// The whole, from `start` on.
    pub fn at(what: impl Into<String>, start: Bytes) -> Base {
        let all = Extent::new(Bytes::ZERO, Bytes(u64::MAX) - start);
        Base {
            what: what.into(),
            pieces: vec![(all, start)],
        }
    }

    /// What starts behind the first `skip` bytes of it; `None` where it is no longer than that.
    #[must_use]
    pub fn from(&self, skip: Bytes) -> Option<Base> {
        let cut = |(extent, at): &(Extent, Bytes)| {
            let start = extent.offset.max(skip);
            let left = Extent::new(start - skip, extent.end() - start);
            (extent.end() > skip).then(|| (left, *at + (start - extent.offset)))
        };
        let pieces: Vec<_> = self.pieces.iter().filter_map(cut).collect();
        (!pieces.is_empty()).then(|| Base {
            what: self.what.clone(),
            pieces,
        })
    }

    /// The place in the array of a place in the file system.
    pub fn map(&self, logical: Bytes) -> Option<Bytes> {
        let (extent, start) = self
            .pieces
            .iter()
            .find(|(e, _)| e.offset <= logical && logical < e.end())?;
        Some(*start + (logical - extent.offset))
    }
}

/// One file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// In words: `ext4 4f1c2d3e`.
    pub name: String,
    /// Where its structures were seen; members by their index in the set.
    pub sightings: Vec<Sighting>,
    /// What must lie where in it.
    pub facts: Vec<Fact>,
    /// Where it may start; one of these, or none is known.
    pub bases: Vec<Base>,
    /// Whether a fact may be another file system's: an inode of ext2 or ext3 does not say whose it is.
    pub shares_facts: bool,
    /// How long it is, where its superblock says so.
    pub length: Option<Bytes>,
    /// When it was in use, where its superblock says so.
    pub times: Option<Times>,
}

/// Between which times a file system was in use, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub made: u64,
    /// When its superblock was last written.
    pub written: u64,
}

impl Family {
    /// The place in the array of its last byte, if it lies at this one of its bases and says how long it is.
    pub fn last(&self, base: usize) -> Option<Bytes> {
        self.bases.get(base)?.map(self.length? - Bytes(1))
    }
}

/// What is known of a set of members besides their bytes.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    /// File systems seen in pieces.
    pub families: Vec<Family>,
    /// Things at known places of the array.
    pub landmarks: Vec<Landmark>,
    /// How far the array goes at least, by what is said of it as a whole.
    pub end: Option<Bytes>,
    /// What files say of their own bytes further on.
    pub spans: Arc<Spans>,
    /// The youngest time that the data itself holds, in seconds since 1970: a superblock made later is not its own.
    pub youngest: Option<u64>,
    /// What the content hides, in words: `LUKS from the array's start`.
    pub encrypted: Option<String>,
}
