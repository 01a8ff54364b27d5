//! RAID levels and layouts: mdadm's names and the kernel's numbers.
//!
//! Source: `drivers/md/raid5.h` (`ALGORITHM_*`), `drivers/md/raid10.c`
//! (`setup_geo`), `drivers/md/raid0.h`; the names are mdadm's.

use super::geometry::GeometryError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A RAID level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// One member behind the other.
    Linear,
    /// Stripes.
    Raid0,
    /// Every member holds everything.
    Raid1,
    /// Stripes with parity on one member.
    Raid4,
    /// Stripes with parity that goes round.
    Raid5,
    /// Stripes with two parities.
    Raid6,
    /// Stripes of mirrors.
    Raid10,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 7] = [
        Level::Linear,
        Level::Raid0,
        Level::Raid1,
        Level::Raid4,
        Level::Raid5,
        Level::Raid6,
        Level::Raid10,
    ];

    /// mdadm's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Linear => "linear",
            Level::Raid0 => "raid0",
            Level::Raid1 => "raid1",
            Level::Raid4 => "raid4",
            Level::Raid5 => "raid5",
            Level::Raid6 => "raid6",
            Level::Raid10 => "raid10",
        }
    }

    /// The level of a superblock's number, if its geometry is known here.
    pub fn from_number(number: i32) -> Option<Level> {
        Some(match number {
            -1 => Level::Linear,
            0 => Level::Raid0,
            1 => Level::Raid1,
            4 => Level::Raid4,
            5 => Level::Raid5,
            6 => Level::Raid6,
            10 => Level::Raid10,
            _ => return None,
        })
    }

    /// Parity blocks in each row.
    pub fn parities(self) -> usize {
        match self {
            Level::Raid4 | Level::Raid5 => 1,
            Level::Raid6 => 2,
            _ => 0,
        }
    }

    /// Whether the array is cut into chunks.
    pub fn has_chunks(self) -> bool {
        !matches!(self, Level::Linear | Level::Raid1)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = GeometryError;

    fn from_str(text: &str) -> Result<Level, GeometryError> {
        let found = Level::ALL.into_iter().find(|l| l.as_str() == text);
        found.ok_or_else(|| GeometryError::Unsupported(format!("level {text}")))
    }
}

/// The layouts of raid5 and raid6, with the kernel's numbers.
const PARITY: [(u32, &str); 14] = [
    (0, "left-asymmetric"),
    (1, "right-asymmetric"),
    (2, "left-symmetric"),
    (3, "right-symmetric"),
    (4, "parity-first"),
    (5, "parity-last"),
    (8, "ddf-zero-restart"),
    (9, "ddf-N-restart"),
    (10, "ddf-N-continue"),
    (16, "left-asymmetric-6"),
    (17, "right-asymmetric-6"),
    (18, "left-symmetric-6"),
    (19, "right-symmetric-6"),
    (20, "parity-first-6"),
];

/// raid0 of unequal members: how later zones are numbered.
const ZONES: [(u32, &str); 2] = [(1, "original"), (2, "alternate")];

/// How the copies of raid10 lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copies {
    /// Copies beside each other, in one row.
    pub near: usize,
    /// Copies far away: in another part of the member, or in the next rows.
    pub far: usize,
    /// The far copies lie in the next rows.
    pub offset: bool,
    /// Far copies stay among so many members: 0 all, 1 and 2 the kernel's two kinds of far sets.
    pub sets: u8,
}

impl Copies {
    /// From the kernel's number: bits 0-7 near copies, 8-15 far copies, 16 offset, 17 and 18 far sets.
    pub fn from_number(number: u32) -> Option<Copies> {
        let copies = Copies {
            near: usize::try_from(number & 0xff).ok()?,
            far: usize::try_from(number >> 8 & 0xff).ok()?,
            offset: number & 1 << 16 != 0,
            sets: u8::try_from(number >> 17).ok().filter(|s| *s <= 2)?,
        };
        (copies.near > 0 && copies.far > 0).then_some(copies)
    }

    /// In mdadm's words: `n2`, `f2`, `o3`; what has no word is the kernel's number, `0x20302`.
    pub fn from_name(name: &str) -> Option<Copies> {
        if let Some(hex) = name.strip_prefix("0x") {
            return Copies::from_number(u32::from_str_radix(hex, 16).ok()?);
        }
        let (kind, count) = name.split_at_checked(1)?;
        let count = count.parse().ok().filter(|n| (2..=255).contains(n))?;
        let one = |near, far, offset| Copies {
            near,
            far,
            offset,
            sets: 0,
        };
        match kind {
            "n" => Some(one(count, 1, false)),
            "f" => Some(one(1, count, false)),
            "o" => Some(one(1, count, true)),
            _ => None,
        }
    }

    /// How often each byte is held.
    pub fn count(self) -> usize {
        self.near * self.far
    }

    /// Over so many members, the slot of the next far copy of what lies at `slot`.
    pub(super) fn next_far(&self, members: usize, slot: usize) -> usize {
        let set = match self.sets {
            0 => members,
            1 => (members / self.far).max(1),
            _ => self.count().min(members).max(1),
        };
        let last = (members / set - 1) * set;
        let next = slot + self.near;
        if !members.is_multiple_of(set) && next > last {
            // The last set takes the members that are left over.
            (next - last) % (set + members % set) + last
        } else {
            next % set + set * (slot / set)
        }
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.near, self.far, self.offset, self.sets) {
            (near, 1, false, 0) => write!(f, "n{near}"),
            (1, far, false, 0) => write!(f, "f{far}"),
            (1, far, true, 0) => write!(f, "o{far}"),
            (near, far, offset, sets) => {
                let number = near | far << 8 | usize::from(offset) << 16 | usize::from(sets) << 17;
                write!(f, "{number:#x}")
            }
        }
    }
}

/// A parity layout's number from mdadm's word for it.
pub fn parity_number(name: &str) -> Option<u32> {
    PARITY.iter().find(|(_, n)| *n == name).map(|(n, _)| *n)
}

/// The layouts that a level of parity has, in mdadm's words, the usual one first.
pub fn parity_names(level: Level) -> Vec<&'static str> {
    let known = |number: &u32| match level {
        Level::Raid5 => *number <= 5,
        Level::Raid6 => true,
        _ => false,
    };
    let mut names: Vec<_> = PARITY.iter().filter(|(n, _)| known(n)).collect();
    // mdadm's default; 50 of 51 arrays posted to linux-raid have it.
    names.sort_by_key(|(n, _)| (*n != 2, *n));
    names.into_iter().map(|(_, name)| *name).collect()
}

/// The layout of a superblock's number in mdadm's words, where the level has layouts.
pub fn layout_name(level: Level, number: u32) -> Option<String> {
    let of = |table: &[(u32, &str)]| {
        let found = table.iter().find(|(n, _)| *n == number);
        found.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).to_owned())
    };
    match level {
        Level::Raid5 | Level::Raid6 => Some(of(&PARITY)),
        Level::Raid10 => Some(
            Copies::from_number(number).map_or_else(|| format!("{number:#x}"), |c| c.to_string()),
        ),
        Level::Raid0 if number != 0 => Some(of(&ZONES)),
        _ => None,
    }
}

/// Whether raid0's later zones are numbered from the array's start, as before Linux 3.14; else from the zone's.
pub(super) fn zones_from_array_start(layout: Option<&str>) -> Result<bool, GeometryError> {
    match layout {
        Some("original") => Ok(true),
        Some("alternate") | None => Ok(false),
        Some(other) => Err(GeometryError::Unsupported(format!("raid0 layout {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that does not survive the way to the layout file and back would open another array.
    #[test]
    fn names_and_numbers() {
        for (number, name) in [
            (0x102, "n2"),
            (0x201, "f2"),
            (0x10201, "o2"),
            (0x203, "0x203"),
            (0x4_0201, "0x40201"),
        ] {
            let copies = Copies::from_number(number).unwrap();
            assert_eq!(copies.to_string(), name);
            assert_eq!(Copies::from_name(name), Some(copies));
        }
        for wrong in ["n1", "x2", "n", "", "0x0", "n256", "é2"] {
            assert_eq!(Copies::from_name(wrong), None, "{wrong}");
        }
        assert_eq!(
            layout_name(Level::Raid6, 10).as_deref(),
            Some("ddf-N-continue")
        );
        assert_eq!(
            layout_name(Level::Raid5, 2).as_deref(),
            Some("left-symmetric")
        );
        assert_eq!(layout_name(Level::Raid1, 0), None);
        assert_eq!(parity_number("left-symmetric-6"), Some(18));
        assert_eq!(parity_names(Level::Raid5).len(), 6);
        assert_eq!(parity_names(Level::Raid6)[0], "left-symmetric");
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("raid3".parse::<Level>().is_err());
    }
}
