//! The DOS partition table: four entries in the first sector, and a chain of
//! further tables through an extended partition.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 440 | boot code |
//! | 440 | 4 | disk signature |
//! | 446 | 4 × 16 | entries |
//! | 510 | 2 | 55 aa |
//!
//! Numbers are little endian and count in sectors; 512 bytes are assumed, as
//! the table does not say. Of an extended boot record's entries the first is
//! a logical partition, counted from that record, and the second the next
//! record, counted from the start of the extended partition. Source: the
//! format as sfdisk of util-linux writes it, which the tests compare with.

use super::{Partition, Table, TableKind};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN, Sectors};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// More logical partitions than any tool makes; ends a chain that was built not to end.
const LOGICAL_MOST: u32 = 256;

/// One entry of a table, as it lies on disk.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// 0x80 active, 0x00 not; nothing else is an entry.
    #[doc(alias = "boot_ind")]
    pub status: u8,
    /// Cylinder, head, sector of the start: not used since disks passed 8 GB.
    pub chs_first: [u8; 3],
    /// What is in it; 0 where the entry is free.
    #[doc(alias = "sys_ind")]
    pub kind: u8,
    /// Cylinder, head, sector of the end.
    pub chs_last: [u8; 3],
    /// First sector.
    #[doc(alias = "start_sect")]
    pub start: U32,
    /// Number of sectors.
    #[doc(alias = "nr_sects")]
    pub sectors: U32,
}

/// The first sector of a disk, as it lies on disk; also an extended boot record.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mbr {
    /// The boot loader's first stage.
    pub boot_code: [u8; 440],
    /// What the system knows the disk by.
    #[doc(alias = "disk_signature")]
    pub disk_id: U32,
    /// 0x5a5a on a copy-protected disk, else 0.
    pub protection: U16,
    /// The table.
    pub entries: [Entry; 4],
    /// 55 aa.
    pub signature: [u8; 2],
}

const _: () = assert!(size_of::<Entry>() == 16 && size_of::<Mbr>() == SECTOR_LEN);

impl Entry {
    /// Whether it names a partition.
    pub fn is_used(&self) -> bool {
        self.kind != 0
    }

    /// Whether it holds the chain of logical partitions.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    /// Where it lies, counted from sector `base`.
    fn extent(&self, base: Bytes) -> Extent {
        Extent::new(
            base + Sectors(self.start.get().into()).into(),
            Sectors(self.sectors.get().into()).into(),
        )
    }

    fn is_sane(&self) -> bool {
        matches!(self.status, 0 | 0x80)
            && (!self.is_used() || (self.start.get() >= 1 && self.sectors.get() >= 1))
    }

    fn partition(&self, number: u32, extent: Extent) -> Partition {
        Partition {
            number,
            extent,
            type_id: format!("{:x}", self.kind),
            uuid: None,
            name: None,
            bootable: self.status == 0x80,
        }
    }
}

impl Mbr {
    /// Whether its only purpose is to guard a GPT.
    pub fn is_protective(&self) -> bool {
        self.entries.iter().any(|e| e.kind == 0xee)
    }

    /// Whether what is between boot code and signature can be a table at all.
    fn is_sane(&self) -> bool {
        let used: Vec<Extent> = (self.entries.iter())
            .filter(|e| e.is_used())
            .map(|e| e.extent(Bytes::ZERO))
            .collect();
        // A boot loader's sector at the start of a partition has an empty table and no signature.
        let means_something = !used.is_empty() || self.disk_id.get() != 0;
        let mut sorted = used;
        sorted.sort();
        let apart = sorted
            .iter()
            .zip(sorted.iter().skip(1))
            .all(|(a, b)| a.overlap(*b).is_none());
        means_something
            && self.entries.iter().all(Entry::is_sane)
            // Hybrid tables of a GPT disk may overlap on purpose.
            && (apart || self.is_protective())
    }
}

/// Whether `sector` begins a FAT, exFAT or NTFS file system: those end in 55 aa too.
fn is_boot_sector(sector: &[u8]) -> bool {
    let at = |offset: usize| sector.get(offset).copied().unwrap_or(0);
    let word = |offset: usize| u16::from_le_bytes([at(offset), at(offset + 1)]);
    let name = sector.get(3..11).unwrap_or_default();
    let jump = at(0) == 0xeb && at(2) == 0x90 || at(0) == 0xe9;
    let fat = matches!(word(11), 512 | 1024 | 2048 | 4096)
        && at(13).is_power_of_two()
        && word(14) > 0
        && matches!(at(16), 1 | 2)
        && at(21) >= 0xf0;
    matches!(name, b"NTFS    " | b"EXFAT   ") || (jump && fat)
}

/// Parses the first sector of a disk that lies at byte `at`.
///
/// # Errors
/// [`ParseError::NotThis`] without 55 aa, where the sector is a file system's
/// boot sector, or where the entries cannot be meant as a table.
pub fn parse(sector: &[u8]) -> Parsed<Mbr> {
    let (mbr, _) = Mbr::read_from_prefix(sector).map_err(|_| ParseError::NotThis)?;
    if mbr.signature != [0x55, 0xaa] || is_boot_sector(sector) || !mbr.is_sane() {
        return Err(ParseError::NotThis);
    }
    Ok(mbr)
}

/// Reads and parses the first sector.
///
/// # Errors
/// As [`parse`], and [`ParseError::Unreadable`].
pub fn read(source: &dyn Source) -> Parsed<Mbr> {
    parse(&read_vec(
        source,
        Extent::new(Bytes::ZERO, Bytes(SECTOR)),
        SECTOR_LEN,
    )?)
}

/// The table that begins with `mbr`, with its logical partitions.
pub fn table(source: &dyn Source, mbr: &Mbr) -> Table {
    follow(source, mbr).0
}

/// Where the extended boot records lie that the table leads to; of one that cannot be read, where it should.
pub fn records(source: &dyn Source, mbr: &Mbr) -> Vec<Bytes> {
    follow(source, mbr).1
}

fn follow(source: &dyn Source, mbr: &Mbr) -> (Table, Vec<Bytes>) {
    let mut records = Vec::new();
    let mut table = Table {
        kind: TableKind::Dos,
        disk_id: format!("{:#010x}", mbr.disk_id.get()),
        sector_size: 512,
        partitions: Vec::new(),
        warnings: Vec::new(),
        checksum: Checksum::None,
    };
    for (number, entry) in (1..).zip(&mbr.entries) {
        if !entry.is_used() {
            continue;
        }
        let extent = entry.extent(Bytes::ZERO);
        table.partitions.push(entry.partition(number, extent));
        if entry.is_extended() {
            chain(source, extent, &mut table, &mut records);
        }
    }
    (table, records)
}

/// Follows the records of one extended partition; notes where they lie in `seen`.
fn chain(source: &dyn Source, extended: Extent, table: &mut Table, seen: &mut Vec<Bytes>) {
    let mut at = extended.offset;
    let mut number = table
        .partitions
        .iter()
        .map(|p| p.number + 1)
        .max()
        .unwrap_or(5)
        .max(5);
    let stop = number.saturating_add(LOGICAL_MOST);
    while number < stop {
        if seen.contains(&at) {
            let what = format!(
                "the chain of logical partitions comes back to byte {}",
                at.0
            );
            table.warnings.push(what);
            return;
        }
        seen.push(at);
        let record = match record(source, at) {
            Ok(record) => record,
            Err(error) => {
                table.warnings.push(format!(
                    "the chain of logical partitions ends at byte {}: its record {error}",
                    at.0
                ));
                return;
            }
        };
        let [logical, next, ..] = record.entries;
        if logical.is_used() {
            let extent = logical.extent(at);
            if extended.overlap(extent) != Some(extent) {
                table.warnings.push(format!(
                    "logical partition {number} reaches out of its extended partition"
                ));
            }
            table.partitions.push(logical.partition(number, extent));
            number += 1;
        }
        if !next.is_extended() {
            return;
        }
        at = next.extent(extended.offset).offset;
        if at >= extended.end() {
            table.warnings.push(format!(
                "the chain of logical partitions leaves its extended partition for byte {}",
                at.0
            ));
            return;
        }
    }
    table.warnings.push(format!(
        "the chain of logical partitions was not followed past {LOGICAL_MOST}"
    ));
}

/// One extended boot record: only its first two entries mean anything.
fn record(source: &dyn Source, at: Bytes) -> Parsed<Mbr> {
    let sector = read_vec(source, Extent::new(at, Bytes(SECTOR)), SECTOR_LEN)?;
    let (record, _) = Mbr::read_from_prefix(&sector)
        .map_err(|_| ParseError::Unreadable(Extent::new(at, Bytes(SECTOR))))?;
    let [first, second, ..] = &record.entries;
    if record.signature != [0x55, 0xaa] || !first.is_sane() || !second.is_sane() {
        return Err(ParseError::NotThis);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    fn put(sector: &mut [u8], slot: usize, kind: u8, start: u32, sectors: u32) {
        let entry = &mut sector[446 + 16 * slot..462 + 16 * slot];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
    }

    /// A chain that returns to itself would never end.
    #[test]
    fn a_loop_of_extended_partitions_ends() {
        let mut bytes = vec![0; 64 * 512];
        put(&mut bytes[..512], 0, 5, 8, 56);
        put(&mut bytes[8 * 512..9 * 512], 0, 0x83, 1, 4);
        put(&mut bytes[8 * 512..9 * 512], 1, 5, 16, 8);
        put(&mut bytes[24 * 512..25 * 512], 0, 0x83, 1, 4);
        put(&mut bytes[24 * 512..25 * 512], 1, 5, 0, 0);
        bytes[24 * 512 + 446 + 16 + 8] = 16;
        bytes[24 * 512 + 446 + 16 + 12] = 8;
        let source = Memory::new("m", bytes);
        let table = table(&source, &read(&source).unwrap());
        let numbers: Vec<u32> = table.partitions.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [1, 5, 6]);
        assert_eq!(table.partitions[1].extent.offset, Bytes(9 * 512));
        assert_eq!(table.partitions[2].extent.offset, Bytes(25 * 512));
        assert!(table.warnings[0].contains("comes back"));
    }

    /// Overlapping entries, a status of neither kind, a start at the table itself: not a table.
    #[test]
    fn nonsense_entries_are_refused() {
        let mut good = [0; 512];
        put(&mut good, 0, 0x83, 8, 56);
        assert!(parse(&good).is_ok());
        for (slot, start, at, byte) in [(1, 60, 446, 0), (1, 0, 446, 0), (1, 64, 446, 0x41)] {
            let mut bad = good;
            put(&mut bad, slot, 0x83, start, 8);
            bad[at] = byte;
            assert_eq!(parse(&bad).map(|_| ()), Err(ParseError::NotThis));
        }
    }
}
