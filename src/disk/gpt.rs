//! The GUID partition table: a header and an array of entries behind the
//! protective MBR, and a second copy of both at the end of the disk.
//!
//! The header lies in sector 1, its copy in the last sector; each says where
//! its own array lies (sector 2; before the last header). Numbers are little
//! endian and count in the disk's own sectors, which the table does not
//! state: 512 bytes are tried first, then 4096. Both header and array have a
//! CRC-32 (the common one). Source: UEFI specification 2.10, chapter 5.

use super::{Partition, Table, TableKind};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed, printable};
use crate::units::{Bytes, Extent};
use crc::{CRC_32_ISO_HDLC, Crc};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// `EFI PART`, at the start of a header.
pub const MAGIC: &[u8; 8] = b"EFI PART";

/// The most bytes of an entry array that are read; the usual one has 16 KiB.
const ARRAY_MOST: usize = 1 << 20;

/// The part of the header that has a meaning, as it lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// `EFI PART`.
    #[doc(alias = "Signature")]
    pub magic: [u8; 8],
    /// 0x00010000.
    #[doc(alias = "Revision")]
    pub revision: U32,
    /// Bytes of the header that its checksum covers: 92 so far.
    #[doc(alias = "HeaderSize")]
    pub header_size: U32,
    /// CRC-32 of the header with this field zero.
    #[doc(alias = "HeaderCRC32")]
    pub header_crc: U32,
    /// Zero.
    pub reserved: U32,
    /// Sector of this header.
    #[doc(alias = "MyLBA")]
    pub own_sector: U64,
    /// Sector of the other header.
    #[doc(alias = "AlternateLBA")]
    pub other_sector: U64,
    /// First sector that a partition may use.
    #[doc(alias = "FirstUsableLBA")]
    pub first_usable: U64,
    /// Last sector that a partition may use.
    #[doc(alias = "LastUsableLBA")]
    pub last_usable: U64,
    /// What the system knows the disk by.
    #[doc(alias = "DiskGUID")]
    pub disk_guid: [u8; 16],
    /// First sector of this copy's array.
    #[doc(alias = "PartitionEntryLBA")]
    pub array_sector: U64,
    /// Entries in the array, used or not.
    #[doc(alias = "NumberOfPartitionEntries")]
    pub entries: U32,
    /// Bytes of one entry: 128 × 2ⁿ.
    #[doc(alias = "SizeOfPartitionEntry")]
    pub entry_size: U32,
    /// CRC-32 of the array.
    #[doc(alias = "PartitionEntryArrayCRC32")]
    pub array_crc: U32,
}

/// One entry of the array, as it lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// What is in it; zero where the entry is free.
    #[doc(alias = "PartitionTypeGUID")]
    pub type_guid: [u8; 16],
    /// What the system knows it by.
    #[doc(alias = "UniquePartitionGUID")]
    pub guid: [u8; 16],
    /// First sector.
    #[doc(alias = "StartingLBA")]
    pub first: U64,
    /// Last sector, inclusive.
    #[doc(alias = "EndingLBA")]
    pub last: U64,
    /// Bit 2: the BIOS may boot it.
    #[doc(alias = "Attributes")]
    pub attributes: U64,
    /// UTF-16, ended by a zero or the end of the field.
    #[doc(alias = "PartitionName")]
    pub name: [U16; 36],
}

const _: () = assert!(size_of::<Header>() == 92 && size_of::<Entry>() == 128);

/// One copy of the table, read.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its header.
    pub header: Header,
    /// The used entries, each with its number from 1.
    pub entries: Vec<(u32, Entry)>,
    /// Whether both checksums hold.
    pub checksum: Checksum,
    /// Bytes a sector.
    pub sector_size: u32,
}

/// A GUID as text: its first three fields are stored little endian.
pub fn guid(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, tail @ ..] = *bytes;
    let front = hex::encode_upper([d, c, b, a, f, e, h, g]);
    let tail = hex::encode_upper(tail);
    let part = |text: &str, from: usize, to: usize| text.get(from..to).unwrap_or("").to_owned();
    [
        part(&front, 0, 8),
        part(&front, 8, 12),
        part(&front, 12, 16),
        part(&tail, 0, 4),
        part(&tail, 4, 16),
    ]
    .join("-")
}

/// Reads the copy whose header lies in sector `sector` of `size` bytes.
///
/// # Errors
/// [`ParseError::NotThis`] without the magic, [`ParseError::Broken`] where a
/// field cannot be so, [`ParseError::Unreadable`].
pub fn read_copy(source: &dyn Source, sector: u64, size: u32) -> Parsed<Copy> {
    let bytes = |sector: u64| Bytes(sector.saturating_mul(size.into()));
    let at = bytes(sector);
    let raw = read_vec(source, Extent::new(at, Bytes(size.into())), 4096)?;
    let (header, _) = Header::read_from_prefix(&raw).map_err(|_| ParseError::NotThis)?;
    if &header.magic != MAGIC {
        return Err(ParseError::NotThis);
    }
    let covered = Bytes(header.header_size.get().into()).to_len(raw.len() + 1);
    let Some(covered) = raw.get(..covered).filter(|c| c.len() >= 92) else {
        return Err(ParseError::broken(
            at + Bytes(12),
            "a header of 92 bytes to one sector",
            header.header_size,
        ));
    };
    let entry_size = header.entry_size.get();
    let array_length = u64::from(entry_size) * u64::from(header.entries.get());
    if entry_size < 128 || entry_size % 128 != 0 || array_length > ARRAY_MOST as u64 {
        return Err(ParseError::broken(
            at + Bytes(80),
            "an array of at most 1 MiB with entries of 128 bytes or a multiple",
            format!("{} of {entry_size}", header.entries),
        ));
    }
    let array = read_vec(
        source,
        Extent::new(bytes(header.array_sector.get()), Bytes(array_length)),
        ARRAY_MOST,
    )?;
    let sound = header_crc(covered) == header.header_crc.get()
        && CRC32.checksum(&array) == header.array_crc.get()
        && header.own_sector.get() == sector;
    let entry_len = Bytes(entry_size.into()).to_len(ARRAY_MOST);
    let entries = (1..)
        .zip(array.chunks(entry_len))
        .filter_map(|(number, raw)| Some((number, Entry::read_from_prefix(raw).ok()?.0)))
        .filter(|(_, entry)| entry.type_guid != [0; 16])
        .collect();
    Ok(Copy {
        header,
        entries,
        checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        sector_size: size,
    })
}

/// The header's checksum: over its bytes with the checksum's own four zero.
fn header_crc(covered: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(covered.get(..16).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(covered.get(20..).unwrap_or_default());
    digest.finalize()
}

/// Reads a header wherever it lies, without its array, and whether its own checksum holds.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Unreadable`].
pub fn read_header(source: &dyn Source, at: Bytes) -> Parsed<(Header, Checksum)> {
    let raw = read_vec(source, Extent::new(at, Bytes(512)), 512)?;
    let (header, _) = Header::read_from_prefix(&raw).map_err(|_| ParseError::NotThis)?;
    let covered = raw.get(..Bytes(header.header_size.get().into()).to_len(raw.len() + 1));
    let covered = covered.filter(|c| c.len() >= 92);
    if &header.magic != MAGIC {
        return Err(ParseError::NotThis);
    }
    let holds = covered.is_some_and(|c| header_crc(c) == header.header_crc.get());
    Ok((header, if holds { Checksum::Ok } else { Checksum::Bad }))
}

/// The better of both copies as a table.
///
/// # Errors
/// [`ParseError::NotThis`] where neither copy has the magic; else what is
/// wrong with the copy that has it.
pub fn read(source: &dyn Source) -> Parsed<Table> {
    let mut worst = ParseError::NotThis;
    let mut bad = None;
    for size in [512, 4096] {
        let primary = read_copy(source, 1, size);
        let backup = backup(source, primary.as_ref().ok(), size);
        for error in [primary.as_ref().err(), backup.as_ref().err()] {
            if let Some(error) = error.filter(|e| **e != ParseError::NotThis) {
                worst = error.clone();
            }
        }
        let (chosen, warnings) = choose(primary, backup);
        if let Some(copy) = chosen {
            let table = table(&copy, warnings);
            if copy.checksum == Checksum::Ok {
                return Ok(table);
            }
            bad.get_or_insert(table);
        }
    }
    bad.ok_or(worst)
}

/// The copy at the end of the disk, or where a sound primary says that it is.
fn backup(source: &dyn Source, primary: Option<&Copy>, size: u32) -> Parsed<Copy> {
    let last = (source.len().0 / u64::from(size)).saturating_sub(1);
    let at_end = read_copy(source, last, size);
    match primary.map(|p| p.header.other_sector.get()) {
        Some(told) if at_end.is_err() && told < last && told > 1 => read_copy(source, told, size),
        _ => at_end,
    }
}

/// A sound primary, else a sound backup, else what there is; with what a person should know.
fn choose(primary: Parsed<Copy>, backup: Parsed<Copy>) -> (Option<Copy>, Vec<String>) {
    let sound = |copy: &Parsed<Copy>| copy.as_ref().is_ok_and(|c| c.checksum == Checksum::Ok);
    let state = |copy: &Parsed<Copy>| match copy {
        Ok(_) => "has a wrong checksum".to_owned(),
        Err(ParseError::NotThis) => "is not there".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut warnings = Vec::new();
    match (sound(&primary), sound(&backup)) {
        (true, true) => {
            if let (Ok(a), Ok(b)) = (&primary, &backup)
                && (a.entries != b.entries || a.header.disk_guid != b.header.disk_guid)
            {
                warnings.push(
                    "the backup GPT at the end of the disk says something else: one of them is of an older table"
                        .to_owned(),
                );
            }
            (primary.ok(), warnings)
        }
        (true, false) => {
            warnings.push(format!("the backup GPT {}", state(&backup)));
            (primary.ok(), warnings)
        }
        (false, true) => {
            warnings.push(format!(
                "the primary GPT {}; its backup at the end of the disk is used",
                state(&primary)
            ));
            (backup.ok(), warnings)
        }
        (false, false) => {
            warnings.push(format!(
                "no copy of the GPT is sound: the primary {}, the backup {}",
                state(&primary),
                state(&backup)
            ));
            (primary.ok().or(backup.ok()), warnings)
        }
    }
}

fn table(copy: &Copy, mut warnings: Vec<String>) -> Table {
    let size = u64::from(copy.sector_size);
    let mut partitions = Vec::new();
    for (number, entry) in &copy.entries {
        let (first, last) = (entry.first.get(), entry.last.get());
        if last < first {
            warnings.push(format!(
                "partition {number} ends before it begins: left out"
            ));
            continue;
        }
        let sectors = (last - first).saturating_add(1);
        let name: Vec<u16> = (entry.name.iter().map(|c| c.get()))
            .take_while(|c| *c != 0)
            .collect();
        let name = printable(String::from_utf16_lossy(&name).as_bytes());
        partitions.push(Partition {
            number: *number,
            extent: Extent::new(
                Bytes(first.saturating_mul(size)),
                Bytes(sectors.saturating_mul(size)),
            ),
            type_id: guid(&entry.type_guid),
            uuid: Some(guid(&entry.guid)),
            name: (!name.is_empty()).then_some(name),
            bootable: entry.attributes.get() & 4 != 0,
        });
    }
    Table {
        kind: TableKind::Gpt,
        disk_id: guid(&copy.header.disk_guid),
        sector_size: copy.sector_size,
        partitions,
        warnings,
        checksum: copy.checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// One partition of 4096-byte sectors 6..=9, both copies, on a disk of 64 sectors.
    fn disk_4k() -> Vec<u8> {
        let mut disk = vec![0; 64 * 4096];
        let mut array = vec![0; 4096];
        array[..16].fill(0x11);
        array[32] = 6;
        array[40] = 9;
        for (own, other, array_at) in [(1u64, 63u64, 2u64), (63, 1, 62)] {
            let mut header = [0; 92];
            header[..8].copy_from_slice(MAGIC);
            header[10] = 1;
            header[12] = 92;
            header[24..32].copy_from_slice(&own.to_le_bytes());
            header[32..40].copy_from_slice(&other.to_le_bytes());
            header[72..80].copy_from_slice(&array_at.to_le_bytes());
            header[80] = 32;
            header[84] = 128;
            header[88..92].copy_from_slice(&CRC32.checksum(&array).to_le_bytes());
            let crc = header_crc(&header);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            disk[own as usize * 4096..][..92].copy_from_slice(&header);
            disk[array_at as usize * 4096..][..4096].copy_from_slice(&array);
        }
        disk
    }

    /// A disk with sectors of 4096 bytes read as 512 would give extents eight times too low.
    #[test]
    fn sectors_of_4096_bytes() {
        let table = read(&Memory::new("m", disk_4k())).unwrap();
        assert_eq!(table.sector_size, 4096);
        assert_eq!(table.checksum, Checksum::Ok);
        assert_eq!(table.warnings, Vec::<String>::new());
        assert_eq!(
            table.partitions[0].extent,
            Extent::new(Bytes(6 * 4096), Bytes(4 * 4096))
        );
    }

    /// A wrong checksum passed over in silence would give a half-overwritten table full trust.
    #[test]
    fn damage_is_told() {
        let mut disk = disk_4k();
        disk[2 * 4096 + 40] = 12;
        disk[62 * 4096 + 40] = 12;
        let table = read(&Memory::new("m", disk.clone())).unwrap();
        assert_eq!(table.checksum, Checksum::Bad);
        assert!(table.warnings[0].contains("no copy"));
        disk[4096..8192].fill(0);
        disk[63 * 4096 + 80..63 * 4096 + 84].fill(0xff);
        assert!(matches!(
            read(&Memory::new("m", disk)),
            Err(ParseError::Broken { .. })
        ));
    }

    /// GUIDs are mixed-endian; a plain hex dump of one is found by nobody.
    #[test]
    fn guids_as_text() {
        let raw = hex::decode("af3dc60f838472478e793d69d8477de4").unwrap();
        assert_eq!(
            guid(&raw.try_into().unwrap()),
            "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
        );
    }
}
