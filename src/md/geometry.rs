//! Which member holds which byte of an array, for each level and layout: the arithmetic alone, no input or output.
//!
//! Two functions are each other's inverse: [`Geometry::places`] from an array
//! offset to the members that hold it, [`Geometry::content`] from a member and
//! an offset to what lies there. Offsets on members count from the start of
//! the data there, so a superblock in front does not show here.
//!
//! Built and proven so far: raid0 of equal members, raid1, and raid10 near
//! with a number of members that the copies divide. Any other asks for
//! [`GeometryError::Unsupported`] instead of a guess.

use crate::units::{Bytes, Extent, Sectors};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A RAID level whose geometry is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Stripes over members of equal size.
    Raid0,
    /// Every member holds everything.
    Raid1,
    /// Stripes of mirrors.
    Raid10,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Raid0 => "raid0",
            Level::Raid1 => "raid1",
            Level::Raid10 => "raid10",
        })
    }
}

impl FromStr for Level {
    type Err = GeometryError;

    fn from_str(text: &str) -> Result<Level, GeometryError> {
        match text {
            "raid0" => Ok(Level::Raid0),
            "raid1" => Ok(Level::Raid1),
            "raid10" => Ok(Level::Raid10),
            other => Err(GeometryError::Unsupported(format!("level {other}"))),
        }
    }
}

/// Why a geometry cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Sound, but this program cannot compute it yet.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// The numbers cannot be those of an array.
    #[error("not an array: {0}")]
    Impossible(String),
}

/// A place on a member: slot in the array, and bytes from the start of the member's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Slot, from 0.
    pub slot: usize,
    /// Bytes from the start of the data.
    pub offset: Bytes,
}

/// How an array lies on its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    level: Level,
    /// Slots.
    members: usize,
    /// Near copies of each chunk; 1 for raid0, all for raid1.
    copies: usize,
    /// Bytes of a chunk. For raid1 the whole member.
    chunk: Bytes,
    /// Bytes of data that the array uses of each member.
    member_data: Bytes,
}

/// The near copies that a raid10 layout names, in mdadm's words (`n2`), if it is a near layout.
pub fn near_copies(layout: &str) -> Option<usize> {
    layout.strip_prefix('n')?.parse().ok().filter(|n| *n > 1)
}

/// A raid10 layout number in mdadm's words: bits 0-7 near copies, 8-15 far copies, 16 offset.
///
/// Source: the kernel's `drivers/md/raid10.c`, `setup_geo`.
pub fn raid10_layout_name(number: u32) -> String {
    let (near, far) = (number & 0xff, number >> 8 & 0xff);
    match (near, far, number >> 16) {
        (near, 1, 0) => format!("n{near}"),
        (1, far, 0) => format!("f{far}"),
        (1, far, 1) => format!("o{far}"),
        _ => format!("{number:#x}"),
    }
}

impl Geometry {
    /// The geometry of an array; `layout` in mdadm's words where the level has layouts, `chunk` ignored for raid1.
    ///
    /// # Errors
    /// [`GeometryError`] where the numbers cannot be those of an array, or are of a kind not yet built.
    pub fn new(
        level: Level,
        layout: Option<&str>,
        members: usize,
        chunk: Sectors,
        member_data: Bytes,
    ) -> Result<Geometry, GeometryError> {
        if members == 0 {
            return Err(GeometryError::Impossible("no members".into()));
        }
        let copies = match (level, layout) {
            (Level::Raid0, _) => 1,
            (Level::Raid1, _) => members,
            (Level::Raid10, Some(layout)) => near_copies(layout)
                .ok_or_else(|| GeometryError::Unsupported(format!("raid10 layout {layout}")))?,
            (Level::Raid10, None) => {
                return Err(GeometryError::Impossible("raid10 without a layout".into()));
            }
        };
        if !members.is_multiple_of(copies) {
            return Err(GeometryError::Unsupported(format!(
                "raid10 n{copies} over {members} members, which the copies do not divide,"
            )));
        }
        let chunk = match level {
            Level::Raid1 => member_data,
            _ => chunk.to_bytes().unwrap_or_default(),
        };
        if chunk == Bytes::ZERO {
            return Err(GeometryError::Impossible("a chunk of no bytes".into()));
        }
        Ok(Geometry {
            level,
            members,
            copies,
            chunk,
            // A tail shorter than a chunk holds no data.
            member_data: Bytes(member_data.0 / chunk.0 * chunk.0),
        })
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Number of slots.
    pub fn members(&self) -> usize {
        self.members
    }

    /// How often each byte is held.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Bytes of a chunk.
    pub fn chunk(&self) -> Bytes {
        self.chunk
    }

    /// Bytes that the array uses of each member.
    pub fn member_data(&self) -> Bytes {
        self.member_data
    }

    /// Slots that hold different data: the stripe's width.
    fn width(&self) -> u64 {
        (self.members / self.copies) as u64
    }

    /// Bytes that the array gives.
    pub fn array_size(&self) -> Bytes {
        Bytes(self.member_data.0.saturating_mul(self.width()))
    }

    /// Where the byte at `at` of the array lies: one place a copy, and for how many bytes from there the places stay
    /// in one run. Empty behind the array's end.
    pub fn places(&self, at: Bytes) -> (Vec<Place>, Bytes) {
        if at >= self.array_size() {
            return (Vec::new(), Bytes::ZERO);
        }
        let (chunk, within) = (at.0 / self.chunk.0, at.0 % self.chunk.0);
        let (row, column) = (chunk / self.width(), chunk % self.width());
        let first = usize::try_from(column).unwrap_or_default() * self.copies;
        let offset = Bytes(row * self.chunk.0 + within);
        let places = (first..first + self.copies)
            .map(|slot| Place { slot, offset })
            .collect();
        (places, Bytes(self.chunk.0 - within))
    }

    /// What lies at a place of a member: the array's bytes from here on, for so many bytes, and which copy they are.
    /// `None` behind the end of the data, or for a slot that is none.
    pub fn content(&self, place: Place) -> Option<(Extent, usize)> {
        if place.slot >= self.members || place.offset >= self.member_data {
            return None;
        }
        let (row, within) = (place.offset.0 / self.chunk.0, place.offset.0 % self.chunk.0);
        let column = (place.slot / self.copies) as u64;
        let at = Bytes((row * self.width() + column) * self.chunk.0 + within);
        let run = Bytes(self.chunk.0 - within);
        Some((Extent::new(at, run), place.slot % self.copies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raid10(members: usize) -> Geometry {
        let chunk = Sectors(128);
        Geometry::new(Level::Raid10, Some("n2"), members, chunk, Bytes::mib(10)).unwrap()
    }

    /// Worked out by hand from the kernel's rule for near copies: chunk k, copy j at slot (2k + j) mod n.
    #[test]
    fn raid10_near_2_over_ten() {
        let geometry = raid10(10);
        assert_eq!(geometry.array_size(), Bytes::mib(50));
        let (places, run) = geometry.places(Bytes(7 * 65536 + 100));
        let offset = Bytes(65536 + 100);
        assert_eq!(
            places,
            [Place { slot: 4, offset }, Place { slot: 5, offset }]
        );
        assert_eq!(run, Bytes(65436));
    }

    /// The two directions are used by different parts (reading, and naming what a bad sector hits): a
    /// disagreement sends a person to the wrong file.
    #[test]
    fn the_two_directions_agree_everywhere() {
        let one = |level, members| {
            Geometry::new(level, Some("n2"), members, Sectors(8), Bytes(81920 + 512)).unwrap()
        };
        let geometries = [
            one(Level::Raid0, 3),
            one(Level::Raid1, 4),
            one(Level::Raid10, 6),
            raid10(2),
        ];
        for geometry in geometries {
            let mut at = Bytes::ZERO;
            while at < geometry.array_size() {
                let (places, run) = geometry.places(at);
                assert_eq!(places.len(), geometry.copies());
                for (copy, place) in places.iter().enumerate() {
                    let back = geometry.content(*place).unwrap();
                    assert_eq!(back, (Extent::new(at, run), copy));
                }
                at = at + run.min(Bytes(1536));
            }
            assert!(geometry.places(geometry.array_size()).0.is_empty());
        }
    }

    /// A layout that is not built must be refused by name, not computed by another's rule.
    #[test]
    fn what_is_not_built_is_refused() {
        let make = |layout, members| {
            Geometry::new(
                Level::Raid10,
                Some(layout),
                members,
                Sectors(128),
                Bytes::mib(1),
            )
        };
        for (layout, members) in [("f2", 4), ("o2", 4), ("n2", 5), ("n1", 4), ("", 4)] {
            assert!(matches!(
                make(layout, members),
                Err(GeometryError::Unsupported(_))
            ));
        }
        assert_eq!(raid10_layout_name(0x102), "n2");
        assert_eq!(raid10_layout_name(0x201), "f2");
        assert_eq!(raid10_layout_name(0x10201), "o2");
        assert!("raid5".parse::<Level>().is_err());
    }
}
