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
//! Numbers are little endian and count in the disk's own sectors, which the
//! table does not state. A device says how long its are, a file does not: they
//! are taken for 512 bytes. Many enclosures on USB show 4096, though, and a
//! table made there is read elsewhere. So where no known structure begins
//! where the partitions do, and one does with sectors of the other length,
//! those are taken, which is told. Of an extended boot record's entries the
//! first is a logical partition, counted from that record, and the second the
//! next record, counted from the start of the extended partition. Source: the
//! format as sfdisk of util-linux writes it, which the tests compare with.

use super::{Partition, Table, TableKind};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// More logical partitions than any tool makes; ends a chain that was built not to end.
const LOGICAL_MOST: u32 = 256;

/// The two lengths of a sector.
const SHORT: u32 = 512;
const LONG: u32 = 4096;

/// What lies at the start of a partition, and how far behind it: XFS, LUKS, NTFS, exFAT, FAT, LVM, md 1.1 and 1.2, swap.
const MARKS: [(usize, &[u8]); 10] = [
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (54, b"FAT1"),
    (82, b"FAT32"),
    (512, b"LABELONE"),
    (0, MD),
    (4096, MD),
    (4086, b"SWAPSPACE2"),
];
const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9];

/// The longest front that the marks are looked for in.
const FRONT: usize = 4100;

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

    /// Where it lies, counted from `base` in sectors of `size` bytes.
    fn extent(&self, base: Bytes, size: u32) -> Extent {
        let bytes = |sectors: U32| Bytes(u64::from(sectors.get()) * u64::from(size));
        Extent::new(base + bytes(self.start), bytes(self.sectors))
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
            .map(|e| e.extent(Bytes::ZERO, SHORT))
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
    read_as(source, mbr).0
}

/// Where the extended boot records lie that the table leads to; of one that cannot be read, where it should.
pub fn records(source: &dyn Source, mbr: &Mbr) -> Vec<Bytes> {
    read_as(source, mbr).1
}

/// With sectors as the device says, else of 512 bytes; of the other length where what lies there shows it.
fn read_as(source: &dyn Source, mbr: &Mbr) -> (Table, Vec<Bytes>) {
    let (told, other) = match source.sector_size() {
        Some(LONG) => (LONG, SHORT),
        _ => (SHORT, LONG),
    };
    let as_told = follow(source, mbr, told);
    // Most tables do not fit the disk with longer sectors, and nothing more is read then.
    let used = mbr.entries.iter().filter(|e| e.is_used());
    let mut ends = used.map(|e| e.extent(Bytes::ZERO, other).end());
    // A start that cannot be read may be a known one.
    if ends.any(|end| end > source.len()) || shows(source, &as_told.0, true) {
        return as_told;
    }
    let (mut table, records) = follow(source, mbr, other);
    if !shows(source, &table, false) {
        return as_told;
    }
    table.warnings.push(format!(
        "its sectors are taken for {other} bytes: what is known begins where partitions start then, and nothing with sectors of {told}"
    ));
    (table, records)
}

/// Whether a known structure begins where one of the partitions does; `unread` where a start cannot be read.
fn shows(source: &dyn Source, table: &Table, unread: bool) -> bool {
    let begins = |partition: &Partition| {
        let front = Extent::new(partition.extent.offset, Bytes(FRONT as u64));
        read_vec(source, front, FRONT).map_or(unread, |front| is_known(&front))
    };
    let mut parts = table.partitions.iter().filter(|p| !p.is_extended());
    parts.any(begins)
}

fn is_known(front: &[u8]) -> bool {
    let is_at = |at: usize, mark: &[u8]| front.get(at..).is_some_and(|b| b.starts_with(mark));
    // ext's magic has two bytes only; its blocks have at most 64 KiB.
    let ext = is_at(1080, &[0x53, 0xef]) && (0..=6).any(|log| is_at(1048, &[log, 0, 0, 0]));
    ext || MARKS.iter().any(|(at, mark)| is_at(*at, mark))
}

fn follow(source: &dyn Source, mbr: &Mbr, sector_size: u32) -> (Table, Vec<Bytes>) {
    let mut records = Vec::new();
    let mut table = Table {
        kind: TableKind::Dos,
        disk_id: format!("{:#010x}", mbr.disk_id.get()),
        sector_size,
        partitions: Vec::new(),
        warnings: Vec::new(),
        checksum: Checksum::None,
    };
    for (number, entry) in (1..).zip(&mbr.entries) {
        if !entry.is_used() {
            continue;
        }
        let extent = entry.extent(Bytes::ZERO, sector_size);
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
            let extent = logical.extent(at, table.sector_size);
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
        at = next.extent(extended.offset, table.sector_size).offset;
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

    /// A disk with the length of sectors that its system shows.
    struct Shown(Memory, u32);

    impl Source for Shown {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn len(&self) -> Bytes {
            self.0.len()
        }
        fn read_at(&self, at: Bytes, buf: &mut [u8]) -> crate::image::Gaps {
            self.0.read_at(at, buf)
        }
        fn sector_size(&self) -> Option<u32> {
            Some(self.1)
        }
    }

    /// In an enclosure that shows sectors of 4096 bytes a partition at sector 256 begins at 1 MiB: nothing would be found
    /// at 128 KiB. On a disk of which an eighth is used both may be meant, and only what lies there tells.
    #[test]
    fn sectors_of_4096_bytes() {
        let starts = |table: &Table| -> Vec<u64> {
            let parts = table.partitions.iter();
            parts.map(|p| p.extent.offset.0).collect()
        };
        let mut bytes = vec![0; 8 << 20];
        put(&mut bytes[..512], 0, 0x83, 256, 256);
        put(&mut bytes[..512], 1, 5, 512, 1024);
        put(&mut bytes[2 << 20..][..512], 0, 0x83, 16, 64);
        let read_it = |source: &dyn Source| table(source, &read(source).unwrap());
        let blank = read_it(&Memory::new("m", bytes.clone()));
        assert_eq!(
            (blank.sector_size, starts(&blank)),
            (512, vec![131_072, 262_144])
        );
        let device = read_it(&Shown(Memory::new("m", bytes.clone()), 4096));
        let all = vec![1 << 20, 2 << 20, (2 << 20) + 65_536];
        assert_eq!((device.sector_size, starts(&device)), (4096, all.clone()));
        // The logical one is known by its swap.
        let mark = (2 << 20) + 65_536 + 4086;
        bytes[mark..mark + 10].copy_from_slice(b"SWAPSPACE2");
        let memory = Memory::new("m", bytes.clone());
        let found = read_it(&memory);
        assert_eq!((found.sector_size, starts(&found)), (4096, all));
        assert!(found.warnings[0].contains("4096"), "{:?}", found.warnings);
        assert_eq!(records(&memory, &read(&memory).unwrap()), [Bytes(2 << 20)]);
        // The same disk without its enclosure; and where something lies, or may lie, at 128 KiB.
        assert_eq!(read_it(&Shown(memory, 512)).sector_size, 4096);
        let lost = Extent::new(Bytes(131_072), Bytes(512));
        let lost = Memory::new("m", bytes.clone()).with_unread(lost);
        assert_eq!(read_it(&lost).sector_size, 512);
        bytes[131_072 + 1080..][..2].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(read_it(&Memory::new("m", bytes.clone())).sector_size, 512);
        // A disk that is not long enough.
        bytes[131_072 + 1080] = 0;
        bytes.truncate((4 << 20) + 65_536);
        assert_eq!(read_it(&Memory::new("m", bytes)).sector_size, 512);
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
