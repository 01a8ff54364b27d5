//! The MBR's partition table: four entries at byte 446 of the first sector, and a chain of further tables for more.
//!
//! | offset in an entry | size | what |
//! |---|---|---|
//! | 0 | 1 | 0x80 active, else 0 |
//! | 4 | 1 | type |
//! | 8 | 4 | first sector |
//! | 12 | 4 | number of sectors |
//!
//! The sector ends in 55 AA; the disk's number lies at byte 440. Sectors are
//! taken as 512 bytes. A boot sector of FAT or NTFS ends in 55 AA too, so the
//! entries must make sense.

use super::{Kind, Partition, Table};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR_LEN, Sectors};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The type of the one partition by which a GPT protects itself from tools that know only the MBR.
pub const PROTECTIVE: &str = "ee";

/// Logical partitions followed at most: a chain may be a loop.
const MOST_LOGICAL: u32 = 128;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    status: u8,
    _chs_first: [u8; 3],
    kind: u8,
    _chs_last: [u8; 3],
    first: U32,
    count: U32,
}

const _: () = assert!(size_of::<Entry>() == 16);

const ENTRIES_AT: usize = 446;

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn is_used(&self) -> bool {
        self.kind != 0 && self.count.get() != 0
    }

    fn makes_sense(&self) -> bool {
        matches!(self.status, 0 | 0x80) && (!self.is_used() || self.first.get() > 0)
    }

    fn extent(&self, base: Sectors) -> Extent {
        let first = Sectors(base.0 + u64::from(self.first.get()));
        Extent::new(first.into(), Sectors(self.count.get().into()).into())
    }
}

/// The four entries and the disk's number, where a table lies at `at`.
fn sector(source: &dyn Source, at: Bytes) -> Parsed<(Vec<Entry>, u32)> {
    let mut sector = [0; SECTOR_LEN];
    read_exact(source, at, &mut sector)?;
    if sector.last_chunk() != Some(&[0x55, 0xaa]) {
        return Err(ParseError::NotThis);
    }
    let table = sector.get(ENTRIES_AT..510).unwrap_or_default();
    let entries: Vec<Entry> = table
        .as_chunks::<16>()
        .0
        .iter()
        .filter_map(|e| Entry::read_from_bytes(e).ok())
        .collect();
    if !entries.iter().all(Entry::makes_sense) {
        return Err(ParseError::NotThis);
    }
    let id = sector.get(440..).and_then(<[u8]>::first_chunk);
    Ok((entries, id.map_or(0, |id| u32::from_le_bytes(*id))))
}

/// Reads the table of a disk.
///
/// # Errors
/// [`ParseError::NotThis`] where the first sector holds none, or one without entries.
pub fn read(source: &dyn Source) -> Parsed<Table> {
    let (entries, id) = sector(source, Bytes::ZERO)?;
    if !entries.iter().any(Entry::is_used) {
        return Err(ParseError::NotThis);
    }
    let mut table = Table {
        kind: Kind::Dos,
        disk_id: format!("0x{id:08x}"),
        partitions: Vec::new(),
        checksum: Checksum::None,
        warnings: Vec::new(),
    };
    for (entry, number) in entries.iter().zip(1..).filter(|(e, _)| e.is_used()) {
        table.partitions.push(Partition {
            number,
            extent: entry.extent(Sectors(0)),
            type_id: format!("{:02x}", entry.kind),
        });
    }
    for entry in entries.iter().filter(|e| e.is_extended()) {
        logical(source, Sectors(entry.first.get().into()), &mut table);
    }
    Ok(table)
}

/// Follows the chain of an extended partition: each table has a logical partition, relative to itself, and the next
/// table, relative to the extended partition.
fn logical(source: &dyn Source, extended: Sectors, table: &mut Table) {
    let mut here = extended;
    for number in 5..5 + MOST_LOGICAL {
        let Ok((entries, _)) = sector(source, here.into()) else {
            table.warnings.push(format!(
                "the chain of logical partitions breaks at sector {}",
                here.0
            ));
            return;
        };
        let mut next = None;
        for entry in entries.iter().take(2).filter(|e| e.is_used()) {
            if entry.is_extended() {
                next = Some(Sectors(extended.0 + u64::from(entry.first.get())));
            } else {
                table.partitions.push(Partition {
                    number,
                    extent: entry.extent(here),
                    type_id: format!("{:02x}", entry.kind),
                });
            }
        }
        match next {
            // Real chains go forward; one that does not is a loop.
            Some(next) if next > here => here = next,
            _ => return,
        }
    }
}
