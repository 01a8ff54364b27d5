//! The GUID partition table: a header in the second sector with the entries behind it, and both once more at the end.
//!
//! | offset in the header | size | what |
//! |---|---|---|
//! | 0 | 8 | `EFI PART` |
//! | 12 | 4 | size of the header, 92 |
//! | 16 | 4 | CRC-32 of the header with this field zero |
//! | 24 | 8 | this header's sector |
//! | 56 | 16 | the disk's GUID |
//! | 72 | 8 | first sector of the entries |
//! | 80 | 4 | number of entries |
//! | 84 | 4 | size of an entry, 128 or more |
//! | 88 | 4 | CRC-32 of the entries |
//!
//! An entry: type GUID, own GUID, first and last sector. Source: UEFI
//! specification, chapter 5. Sectors are taken as 512 bytes.

use super::{Kind, Partition, Table};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN, Sectors};
use crc::{CRC_32_ISO_HDLC, Crc, Table as Slices};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    _revision: U32,
    header_size: U32,
    checksum: U32,
    _reserved: U32,
    my_sector: U64,
    _other_sector: U64,
    _usable: [U64; 2],
    disk_id: [u8; 16],
    entries_at: U64,
    entries: U32,
    entry_size: U32,
    entries_checksum: U32,
}

const FIXED: usize = 92;
const _: () = assert!(size_of::<Raw>() == FIXED);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    kind: [u8; 16],
    _id: [u8; 16],
    first: U64,
    last: U64,
}

/// The specification asks for room for 128; a header that claims more than 1024 lies.
const MOST_ENTRIES: u32 = 1024;
const LARGEST_ENTRY: u32 = 4096;

/// Reads the table: the copy in front, or the one at the end where the first is gone.
///
/// # Errors
/// [`ParseError::NotThis`] where neither is there.
pub fn read(source: &dyn Source) -> Parsed<Table> {
    let last = Bytes((source.len().0 / SECTOR).saturating_sub(1) * SECTOR);
    let front = copy(source, Bytes(SECTOR));
    match (front, copy(source, last)) {
        (Ok(mut table), back) => {
            if back.is_err() {
                table
                    .warnings
                    .push("the copy at the disk's end is not there".to_owned());
            }
            Ok(table)
        }
        (Err(_), Ok(mut table)) => {
            table
                .warnings
                .push("the copy in front is gone; this is the one at the disk's end".to_owned());
            Ok(table)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

fn copy(source: &dyn Source, at: Bytes) -> Parsed<Table> {
    let crc = Crc::<u32, Slices<1>>::new(&CRC_32_ISO_HDLC);
    let mut sector = [0; SECTOR_LEN];
    read_exact(source, at, &mut sector)?;
    let (fixed, _) = sector.split_at_mut(FIXED);
    let raw = Raw::read_from_bytes(fixed).map_err(|_| ParseError::NotThis)?;
    if raw.magic != *b"EFI PART" || raw.my_sector.get() != at.0 / SECTOR {
        return Err(ParseError::NotThis);
    }
    let (count, size) = (raw.entries.get(), raw.entry_size.get());
    if count > MOST_ENTRIES || !(128..=LARGEST_ENTRY).contains(&size) {
        return Err(ParseError::broken(
            at + Bytes(80),
            "up to 1024 entries of 128 to 4096 bytes",
            format!("{count} of {size}"),
        ));
    }
    if let Some(own) = fixed.get_mut(16..20) {
        own.fill(0);
    }
    let size = usize::try_from(size).unwrap_or(128);
    let mut entries = vec![0; size * usize::try_from(count).unwrap_or(0)];
    read_exact(source, Sectors(raw.entries_at.get()).into(), &mut entries)?;
    let sound = crc.checksum(fixed) == raw.checksum.get()
        && crc.checksum(&entries) == raw.entries_checksum.get();
    let partitions = entries
        .chunks(size)
        .zip(1..)
        .filter_map(|(bytes, number)| partition(bytes, number))
        .collect();
    Ok(Table {
        kind: Kind::Gpt,
        disk_id: guid(&raw.disk_id),
        partitions,
        checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        warnings: Vec::new(),
    })
}

fn partition(bytes: &[u8], number: u32) -> Option<Partition> {
    let (entry, _) = Entry::read_from_prefix(bytes).ok()?;
    let (first, last) = (entry.first.get(), entry.last.get());
    if entry.kind == [0; 16] || last < first {
        return None;
    }
    let count = (last - first).saturating_add(1);
    Some(Partition {
        number,
        extent: Extent::new(Sectors(first).into(), Sectors(count).into()),
        type_id: guid(&entry.kind),
    })
}

/// A GUID as people know it: the first three groups little-endian.
fn guid(bytes: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (i, from) in order.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes.get(*from).copied().unwrap_or(0)));
    }
    text
}
