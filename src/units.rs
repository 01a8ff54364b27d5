//! Quantities that must not be mixed up: bytes, 512-byte sectors, and extents.
//!
//! md counts in sectors, its 0.90 superblock in KiB, LVM in sectors and in
//! extents of its own, ext in blocks. Most bugs of this field are a unit, so
//! a bare integer never crosses a module's border here.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

/// The unit in which md and LVM count, whatever the disk's own sector size.
pub const SECTOR: u64 = 512;

/// [`SECTOR`] as a buffer's length.
pub const SECTOR_LEN: usize = 512;

/// A number of bytes, or a byte offset from the start of a source.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A number of 512-byte sectors, or an offset counted in them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sectors(pub u64);

impl Bytes {
    /// No bytes; also the start of a source.
    pub const ZERO: Bytes = Bytes(0);

    /// `n` KiB.
    pub const fn kib(n: u64) -> Bytes {
        Bytes(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }

    /// The sum, or `None` where an untrusted number overflows.
    pub fn checked_add(self, other: Bytes) -> Option<Bytes> {
        self.0.checked_add(other.0).map(Bytes)
    }

    /// The difference, or zero where `other` is larger.
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// The whole sectors in this many bytes.
    pub fn whole_sectors(self) -> Sectors {
        Sectors(self.0 / SECTOR)
    }

    /// As a buffer length, cut to `most`: the only way an untrusted length becomes an allocation.
    pub fn to_len(self, most: usize) -> usize {
        usize::try_from(self.0).map_or(most, |n| n.min(most))
    }
}

impl Sectors {
    /// The same length in bytes, or `None` where an untrusted number overflows.
    pub fn to_bytes(self) -> Option<Bytes> {
        self.0.checked_mul(SECTOR).map(Bytes)
    }
}

impl Add for Bytes {
    type Output = Bytes;
    /// Saturates: an offset past the end of every device reads as a gap, never wraps to a valid one.
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    /// Saturates at zero.
    fn sub(self, other: Bytes) -> Bytes {
        self.saturating_sub(other)
    }
}

impl From<Sectors> for Bytes {
    /// Saturates; use [`Sectors::to_bytes`] where overflow must be told.
    fn from(sectors: Sectors) -> Bytes {
        Bytes(sectors.0.saturating_mul(SECTOR))
    }
}

impl fmt::Display for Bytes {
    /// For people: the exact number below 1 KiB, else three significant digits and a binary unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        // The loss of f64 is far below the three digits shown.
        #[allow(clippy::cast_precision_loss)]
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = "KiB";
        for next in UNITS.iter().skip(1) {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        let digits = if value.fract() == 0.0 || value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}s", self.0))
    }
}

/// A byte range of an image or volume: `length` bytes from `offset`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Extent {
    /// Where it starts, in bytes from the start of its source.
    pub offset: Bytes,
    /// How long it is, in bytes.
    pub length: Bytes,
}

impl Extent {
    /// The extent of `length` bytes at `offset`.
    pub const fn new(offset: Bytes, length: Bytes) -> Extent {
        Extent { offset, length }
    }

    /// The first byte behind it.
    pub fn end(self) -> Bytes {
        self.offset + self.length
    }

    /// Whether it holds no byte.
    pub fn is_empty(self) -> bool {
        self.length == Bytes::ZERO
    }

    /// What it shares with `other`, if anything.
    pub fn overlap(self, other: Extent) -> Option<Extent> {
        let offset = self.offset.max(other.offset);
        let end = self.end().min(other.end());
        (offset < end).then(|| Extent::new(offset, end - offset))
    }

    /// The same bytes seen from a source that starts at `base` in this one, or `None` if it starts later.
    pub fn relative_to(self, base: Bytes) -> Option<Extent> {
        let offset = self.offset.0.checked_sub(base.0)?;
        Some(Extent::new(Bytes(offset), self.length))
    }
}

impl fmt::Display for Extent {
    /// As the command line takes it: `offset+length` in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset.0, self.length.0)
    }
}

/// Sorts extents and joins those that touch or overlap.
pub fn merge(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort();
    let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match merged.last_mut() {
            Some(last) if extent.offset <= last.end() => {
                last.length = last.end().max(extent.end()) - last.offset;
            }
            _ => merged.push(extent),
        }
    }
    merged.retain(|e| !e.is_empty());
    merged
}

/// A time as people read it; the number itself where it is out of range.
pub fn utc(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(
            || format!("@{seconds}"),
            |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong unit on the page sends a person to the wrong place on a disk.
    #[test]
    fn bytes_are_shown_with_three_digits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (196_608, "192 KiB"),
            (1536, "1.50 KiB"),
            (176_160_768, "168 MiB"),
            (3_000_592_982_016, "2.73 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    /// A hostile length must not wrap round to a small, valid one.
    #[test]
    fn sums_saturate() {
        assert_eq!(Bytes(u64::MAX) + Bytes(10), Bytes(u64::MAX));
        assert_eq!(Bytes(u64::MAX).checked_add(Bytes(1)), None);
        assert_eq!(Sectors(u64::MAX).to_bytes(), None);
        assert_eq!(Bytes(u64::MAX).to_len(4096), 4096);
    }

    /// Touching extents reported apart would count one damaged place twice.
    #[test]
    fn extents_merge() {
        let e = |o, l| Extent::new(Bytes(o), Bytes(l));
        assert_eq!(
            merge(vec![e(8, 4), e(0, 4), e(4, 2), e(20, 0), e(9, 1)]),
            vec![e(0, 6), e(8, 4)]
        );
        assert_eq!(e(0, 10).overlap(e(5, 10)), Some(e(5, 5)));
        assert_eq!(e(0, 5).overlap(e(5, 5)), None);
    }
}
