//! The label of a physical volume: one sector, one of the first four, that says where data and metadata lie.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | `LABELONE` |
//! | 8 | 8 | the sector's number |
//! | 16 | 4 | CRC of bytes 20 to 511 |
//! | 20 | 4 | offset of the PV header in the sector, 32 |
//! | 24 | 8 | `LVM2 001` |
//! | 32 | 32 | the PV's UUID, without dashes |
//! | 64 | 8 | the device's size in bytes |
//! | 72 | … | data areas, then metadata areas: offset and size in bytes, each list ended by zeros |
//!
//! Little-endian. Source: lvm2 `lib/label/label.h`, `lib/format_text/layout.h`.

use super::{crc, dashed, is_id};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use serde::Serialize;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The first bytes of a label.
pub const MAGIC: &[u8] = b"LABELONE";

const TYPE: &[u8; 8] = b"LVM2 001";

/// The fixed part of the sector.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    #[doc(alias = "id")]
    magic: [u8; 8],
    #[doc(alias = "sector_xl")]
    sector: U64,
    #[doc(alias = "crc_xl")]
    checksum: U32,
    #[doc(alias = "offset_xl")]
    header_offset: U32,
    kind: [u8; 8],
    pv_uuid: [u8; 32],
    #[doc(alias = "device_size_xl")]
    device_size: U64,
}

const FIXED: usize = 72;
const _: () = assert!(size_of::<Raw>() == FIXED);

/// A label, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Where the label lies in the source.
    pub at: Bytes,
    /// The number of its sector in the physical volume.
    pub sector: u64,
    /// The physical volume's UUID, dashed.
    pub pv_uuid: String,
    /// The device's size as LVM saw it.
    pub device_size: Bytes,
    /// Data areas; a length of zero means to the end.
    pub data_areas: Vec<Extent>,
    /// Metadata areas.
    pub metadata_areas: Vec<Extent>,
    /// Whether the CRC holds.
    pub checksum: Checksum,
}

impl Label {
    /// Reads the label in the sector at `at`.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] where the magic, the type or the UUID's characters are not a label's.
    pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Label> {
        let mut sector = [0; SECTOR_LEN];
        read_exact(source, at, &mut sector)?;
        let (fixed, lists) = sector.split_at(FIXED);
        let raw = Raw::read_from_bytes(fixed).map_err(|_| ParseError::NotThis)?;
        if raw.magic != MAGIC || raw.kind != *TYPE || !is_id(&raw.pv_uuid) {
            return Err(ParseError::NotThis);
        }
        let covered = sector.get(20..).unwrap_or_default();
        let sound = crc(covered) == raw.checksum.get();
        let mut areas = lists.as_chunks::<16>().0.iter().map(|pair| {
            let pair = u128::from_le_bytes(*pair);
            let low = u64::try_from(pair & u128::from(u64::MAX)).unwrap_or_default();
            let high = u64::try_from(pair >> 64).unwrap_or_default();
            Extent::new(Bytes(low), Bytes(high))
        });
        let mut list = || -> Vec<Extent> {
            areas
                .by_ref()
                .take_while(|area| area.offset != Bytes::ZERO)
                .collect()
        };
        Ok(Label {
            at,
            sector: raw.sector.get(),
            pv_uuid: dashed(&raw.pv_uuid),
            device_size: Bytes(raw.device_size.get()),
            data_areas: list(),
            metadata_areas: list(),
            checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        })
    }

    /// The labels of a volume that starts at `start`: they may lie in its first four sectors.
    pub fn all(source: &dyn Source, start: Bytes) -> impl Iterator<Item = Label> {
        let at = move |sector| start + Bytes(sector * SECTOR);
        (0..4).filter_map(move |sector| Label::read(source, at(sector)).ok())
    }

    /// Where the physical volume starts in the source, `None` if before it.
    pub fn pv_start(&self) -> Option<Bytes> {
        let before = self.sector.checked_mul(SECTOR)?;
        self.at.0.checked_sub(before).map(Bytes)
    }
}
