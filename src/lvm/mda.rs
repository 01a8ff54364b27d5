//! The header of a metadata area: one sector that says where in the ring behind it the texts lie.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | CRC of bytes 4 to 511 |
//! | 4 | 16 | magic |
//! | 20 | 4 | version, 1 |
//! | 24 | 8 | the area's start in the physical volume, bytes |
//! | 32 | 8 | the area's size, bytes |
//! | 40 | 24 each | raw locations: offset from the area's start, size with the NUL, CRC, flags; committed, then precommitted |
//!
//! Little-endian. The ring is the area without its first sector; a text that
//! meets the area's end goes on behind the header. Source: lvm2
//! `lib/format_text/layout.h`, `format-text.c`.
//!
//! What lvm2 takes as the group's state is the committed location of an area
//! that is not ignored, and of several areas the highest seqno. A precommitted
//! text is one whose command has not ended, or never did. An ignored area
//! (`pvchange --metadataignore y`, `vgchange --vgmetadatacopies`) gets no texts
//! any more and keeps an old one, its location with the flag: lvm2's `pvck.c`
//! says there that out-of-date text may lie in it.

use super::crc;
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use serde::Serialize;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The magic, at byte 4.
pub const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";

/// Texts are kilobytes; a header that claims more than this for one lies.
const LONGEST_TEXT: u64 = 16 << 20;

const FLAG_IGNORED: u32 = 1;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    #[doc(alias = "checksum_xl")]
    checksum: U32,
    magic: [u8; 16],
    version: U32,
    start: U64,
    size: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawLocation {
    offset: U64,
    size: U64,
    checksum: U32,
    flags: U32,
}

const FIXED: usize = 40;
const _: () = assert!(size_of::<Raw>() == FIXED);
const _: () = assert!(size_of::<RawLocation>() == 24);

/// Where a text lies in its area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Bytes from the area's start.
    pub offset: Bytes,
    /// Bytes, the closing NUL among them.
    pub size: Bytes,
    /// CRC of those bytes.
    pub checksum: u32,
    /// The area was told to be passed over.
    pub ignored: bool,
    /// It was written and not committed.
    pub precommitted: bool,
}

/// A metadata area's header, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Where it lies in the source.
    pub at: Bytes,
    /// The area's start in the physical volume.
    pub start: Bytes,
    /// The area's size.
    pub size: Bytes,
    /// The locations in use: committed, then precommitted.
    pub locations: Vec<Location>,
    /// Whether the CRC holds.
    pub checksum: Checksum,
}

impl Location {
    /// Whether lvm2 takes the text as the group's state: not one that was only begun, nor what an ignored area has kept.
    pub fn committed(&self) -> bool {
        !self.ignored && !self.precommitted
    }
}

impl Header {
    /// Reads the header in the sector at `at`.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] without the magic; [`ParseError::Unsupported`] for another version.
    pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Header> {
        let mut sector = [0; SECTOR_LEN];
        read_exact(source, at, &mut sector)?;
        let (fixed, locations) = sector.split_at(FIXED);
        let raw = Raw::read_from_bytes(fixed).map_err(|_| ParseError::NotThis)?;
        if raw.magic != MAGIC {
            return Err(ParseError::NotThis);
        }
        if raw.version.get() != 1 {
            let version = raw.version.get();
            return Err(ParseError::Unsupported(format!(
                "metadata area version {version}"
            )));
        }
        let sound = crc(sector.get(4..).unwrap_or_default()) == raw.checksum.get();
        let locations = locations
            .as_chunks::<24>()
            .0
            .iter()
            .filter_map(|raw| RawLocation::read_from_bytes(raw).ok())
            .take(2)
            .enumerate()
            // A group that was just created has only its precommitted text.
            .filter(|(_, raw)| raw.offset.get() != 0)
            .map(|(slot, raw)| Location {
                precommitted: slot == 1,
                offset: Bytes(raw.offset.get()),
                size: Bytes(raw.size.get()),
                checksum: raw.checksum.get(),
                ignored: raw.flags.get() & FLAG_IGNORED != 0,
            })
            .collect();
        Ok(Header {
            at,
            start: Bytes(raw.start.get()),
            size: Bytes(raw.size.get()),
            locations,
            checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        })
    }

    /// Where the physical volume starts in the source, `None` if before it.
    pub fn pv_start(&self) -> Option<Bytes> {
        self.at.0.checked_sub(self.start.0).map(Bytes)
    }

    /// The ring in the source: the area without its header.
    pub fn ring(&self) -> Extent {
        Extent::new(self.at + Bytes(SECTOR), self.size - Bytes(SECTOR))
    }

    /// The extents of the source that a location's text fills: two where it wraps round the ring's end.
    pub fn extents(&self, location: &Location) -> Vec<Extent> {
        let (offset, size) = (location.offset.0, location.size.0);
        if offset < SECTOR || offset >= self.size.0 || size > self.size.0 - SECTOR {
            return Vec::new();
        }
        let first = size.min(self.size.0 - offset);
        let mut extents = vec![Extent::new(self.at + Bytes(offset), Bytes(first))];
        if first < size {
            extents.push(Extent::new(self.at + Bytes(SECTOR), Bytes(size - first)));
        }
        extents
    }

    /// A location's text without its NUL, its parts joined, if its CRC holds.
    ///
    /// # Errors
    /// [`ParseError::Broken`] where the location lies outside its area or the CRC does not hold.
    pub fn text(&self, source: &dyn Source, location: &Location) -> Parsed<Vec<u8>> {
        let broken =
            |expected: &str| ParseError::broken(self.at, expected, format!("{location:?}"));
        let extents = self.extents(location);
        if extents.is_empty() || location.size.0 > LONGEST_TEXT {
            return Err(broken("a text inside its metadata area"));
        }
        let mut text = Vec::new();
        for extent in extents {
            let mut part = vec![0; extent.length.to_len(1 << 24)];
            read_exact(source, extent.offset, &mut part)?;
            text.extend(part);
        }
        if crc(&text) != location.checksum {
            return Err(broken("a text with this checksum"));
        }
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }
}
