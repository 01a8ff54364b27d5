//! DDF, the firmware RAID format that controllers share: an anchor in the last sector names the header's place, and the
//! header those of the lists of disks, volumes and configurations.
//!
//! Big-endian; places in 512-byte sectors of the disk, lengths in sectors. The order of a volume's members is the list of
//! references in its configuration record, followed by the sector where the volume starts on each.
//! Source: SNIA, "Common RAID Disk Data Format", rev. 2.0; mdadm's `super-ddf.c`.

use super::firmware::{Disk, Firmware, Volume};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed, printable};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN, Sectors};
use crc::{Algorithm, CRC_32_ISO_HDLC, Crc};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The first bytes of anchor and header.
pub const MAGIC: [u8; 4] = [0xde, 0x11, 0xde, 0x11];

const CONFIGURATION: u32 = 0xeeee_eeee;
/// The record of the disk that it lies on.
const OWN: [u8; 4] = [0x33; 4];
const VOLUMES: u32 = 0xdddd_dddd;
/// mdadm wrote the second for years where the first is right.
const DISKS: [u32; 2] = [0x2222_2222, 0x3333_3333];

/// Bytes of one list that are read at most.
const MOST: usize = 4 << 20;

/// As mdadm computes it: without the inversions at both ends.
const PLAIN: Algorithm<u32> = Algorithm {
    init: 0,
    xorout: 0,
    ..CRC_32_ISO_HDLC
};
static CRC_PLAIN: Crc<u32> = Crc::<u32>::new(&PLAIN);
static CRC_ISO: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    /// Of the sector with this field as ones.
    crc: U32,
    guid: [u8; 24],
    revision: [u8; 8],
    sequence: U32,
    timestamp: U32,
    open: u8,
    _foreign: [u8; 47],
    /// @96: sector of the header; all ones for none.
    primary: U64,
    secondary: U64,
    kind: u8,
    _pad: [u8; 15],
    /// @128
    most_disks: U16,
    most_volumes: U16,
    most_partitions: U16,
    /// @134: sectors of a configuration record.
    record_sectors: U16,
    /// @136: references in a record.
    most_elements: U16,
    _pad2: [u8; 54],
    /// @192: sections, each sector from the header's start and length: controller, disks, volumes, configurations, the
    /// disk itself.
    sections: [[U32; 2]; 5],
}
const _: () = assert!(size_of::<RawHeader>() == 232);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDisk {
    guid: [u8; 24],
    reference: U32,
    kind: U16,
    /// Bit 0 online, 1 failed, 2 rebuilding, 6 missing.
    state: U16,
    size: U64,
    _path: [u8; 24],
}
const _: () = assert!(size_of::<RawDisk>() == 64);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawVolume {
    guid: [u8; 24],
    unit: U16,
    _pad: [u8; 6],
    /// Low 3 bits: 0 optimal, 1 degraded, 2 deleted, 3 missing, 4 failed, 5 partially optimal.
    state: u8,
    init: u8,
    _pad2: [u8; 14],
    name: [u8; 16],
}
const _: () = assert!(size_of::<RawVolume>() == 64);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawRecord {
    magic: U32,
    crc: U32,
    guid: [u8; 24],
    timestamp: U32,
    sequence: U32,
    _pad: [u8; 24],
    /// @64: members.
    elements: U16,
    /// @66: chunk is 512 shifted by this.
    chunk_shift: u8,
    /// @67: primary level and its qualifier.
    level: u8,
    qualifier: u8,
    /// @69: volumes of the next level above, this one's number, that level.
    secondary_elements: u8,
    secondary_number: u8,
    secondary_level: u8,
    /// @72: sectors of each member, of the volume.
    blocks: U64,
    volume_blocks: U64,
}
const _: () = assert!(size_of::<RawRecord>() == 88);

/// Bytes before the references in a record.
const REFERENCES: usize = 512;

/// Reads the metadata of a whole disk.
///
/// # Errors
/// [`ParseError::NotThis`] without an anchor in the last sector; [`ParseError::Broken`] where the anchor's header is none.
pub fn read(disk: &dyn Source) -> Parsed<Firmware> {
    let sectors = disk.len().0 / SECTOR;
    let at = Bytes(sectors.checked_sub(1).ok_or(ParseError::NotThis)? * SECTOR);
    let (anchor, sound) = header(disk, at)?;
    let mut firmware = Firmware::new(disk, "DDF", at);
    firmware.version = printable(&anchor.revision)
        .trim_end_matches("\\u{0}")
        .to_owned();
    let mut broken = None;
    for place in [anchor.primary.get(), anchor.secondary.get()] {
        let Some(start) = Sectors(place).to_bytes().filter(|s| *s < disk.len()) else {
            continue;
        };
        match header(disk, start) {
            Ok((head, holds)) => {
                let both = sound && holds;
                firmware.checksum = if both { Checksum::Ok } else { Checksum::Bad };
                firmware.generation = Some(head.sequence.get().into());
                return Ok(sections(disk, start, &head, firmware));
            }
            Err(ParseError::NotThis) => {
                broken = Some(ParseError::broken(start, "a DDF header", "none"))
            }
            Err(error) => broken = Some(error),
        }
    }
    Err(broken.unwrap_or_else(|| ParseError::broken(at + Bytes(96), "a header's place", "none")))
}

fn header(disk: &dyn Source, at: Bytes) -> Parsed<(RawHeader, bool)> {
    let mut sector = [0; SECTOR_LEN];
    read_exact(disk, at, &mut sector)?;
    let (raw, _) = RawHeader::read_from_prefix(&sector).map_err(|_| ParseError::NotThis)?;
    if raw.magic != MAGIC {
        return Err(ParseError::NotThis);
    }
    let sound = holds(&sector, raw.crc.get());
    Ok((raw, sound))
}

/// Whether a CRC at byte 4 holds, computed over all with itself as ones.
fn holds(bytes: &[u8], stored: u32) -> bool {
    let mut bytes = bytes.to_vec();
    if let Some(field) = bytes.get_mut(4..8) {
        field.fill(0xff);
    }
    CRC_PLAIN.checksum(&bytes) == stored || CRC_ISO.checksum(&bytes) == stored
}

/// The lists that the header names; what cannot be read or is none is a note.
fn sections(disk: &dyn Source, start: Bytes, head: &RawHeader, mut firmware: Firmware) -> Firmware {
    let [_, disks, volumes, records, own] = head.sections.map(|place| {
        let [from, length] = place.map(|n| Bytes::from(Sectors(n.get().into())));
        let extent = Extent::new(start + from, length);
        crate::image::read_vec(disk, extent, MOST).map_err(|error| error.to_string())
    });
    match &disks {
        Ok(bytes) => firmware.disks = disks_of(bytes),
        Err(error) => firmware.notes.push(format!("the list of disks: {error}")),
    }
    let names = volumes.as_deref().map(volumes_of).unwrap_or_default();
    match &records {
        Ok(bytes) => firmware.volumes = configurations(bytes, head, &names, &firmware.disks),
        Err(error) => firmware.notes.push(format!("the configurations: {error}")),
    }
    match &own {
        Ok(bytes) => firmware.own = own_reference(bytes),
        Err(error) => firmware.notes.push(format!("which disk this is: {error}")),
    }
    firmware.notes.push("mdadm assembles it".to_owned());
    firmware
}

/// What the lists call the disk that the metadata lies on, by the record of itself: its reference is at byte 32.
fn own_reference(bytes: &[u8]) -> Option<String> {
    let sector = bytes.get(..SECTOR_LEN)?;
    let stored = u32::from_be_bytes(*sector.get(4..)?.first_chunk()?);
    let reference = u32::from_be_bytes(*sector.get(32..)?.first_chunk()?);
    (sector.starts_with(&OWN) && holds(sector, stored)).then(|| format!("{reference:08x}"))
}

/// The entries of a list: a head of 64 bytes with its magic, then records of 64 bytes.
fn entries<'a, T: FromBytes + Immutable + KnownLayout + Unaligned + 'a>(
    bytes: &'a [u8],
    magics: &[u32],
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let magic = bytes.first_chunk::<4>().map(|m| u32::from_be_bytes(*m));
    let known = magic.is_some_and(|m| magics.contains(&m));
    let rows = bytes.get(64..).filter(|_| known).unwrap_or_default();
    rows.chunks_exact(64)
        .map_while(|row| T::ref_from_bytes(row).ok())
}

/// Never used: all ones.
fn is_used(guid: &[u8; 24]) -> bool {
    guid.iter().any(|b| *b != 0xff) && guid.iter().any(|b| *b != 0)
}

fn disks_of(bytes: &[u8]) -> Vec<Disk> {
    let names = [
        (1, "online"),
        (2, "failed"),
        (4, "rebuilding"),
        (64, "missing"),
    ];
    entries::<RawDisk>(bytes, &DISKS)
        .filter(|raw| is_used(&raw.guid))
        .map(|raw| {
            let state = names.iter().filter(|(bit, _)| raw.state.get() & bit != 0);
            let mut state: Vec<&str> = state.map(|(_, name)| *name).collect();
            if raw.kind.get() & 0b1100 != 0 {
                state.insert(0, "spare");
            }
            Disk {
                id: format!("{:08x}", raw.reference.get()),
                size: Sectors(raw.size.get()),
                state: state.join(", "),
            }
        })
        .collect()
}

/// For each volume: its GUID, name and state.
fn volumes_of(bytes: &[u8]) -> Vec<([u8; 24], String, &'static str)> {
    entries::<RawVolume>(bytes, &[VOLUMES])
        .filter(|raw| is_used(&raw.guid))
        .map(|raw| {
            let end = raw.name.iter().position(|b| matches!(b, 0 | 0xff));
            let name = raw.name.get(..end.unwrap_or(raw.name.len()));
            let state = match raw.state & 7 {
                0 => "optimal",
                1 => "degraded",
                2 => "deleted",
                3 => "missing",
                4 => "failed",
                5 => "partially optimal",
                _ => "unknown",
            };
            (
                raw.guid,
                printable(name.unwrap_or_default()).trim().to_owned(),
                state,
            )
        })
        .collect()
}

/// One volume for each configuration record.
fn configurations(
    bytes: &[u8],
    head: &RawHeader,
    names: &[([u8; 24], String, &'static str)],
    disks: &[Disk],
) -> Vec<Volume> {
    let length = usize::from(head.record_sectors.get()).max(1) * SECTOR_LEN;
    let most = usize::from(head.most_elements.get());
    let mut volumes = Vec::new();
    for record in bytes.chunks_exact(length) {
        let Ok((raw, _)) = RawRecord::ref_from_prefix(record) else {
            continue;
        };
        if raw.magic.get() != CONFIGURATION {
            continue;
        }
        let list = |from: usize, size: usize| {
            let tail = record.get(from..).unwrap_or_default();
            tail.chunks_exact(size).take(raw.elements.get().into())
        };
        let references =
            list(REFERENCES, 4).filter_map(|b| b.first_chunk().map(|b| u32::from_be_bytes(*b)));
        let starts = list(REFERENCES + most * 4, 8)
            .filter_map(|b| b.first_chunk().map(|b| u64::from_be_bytes(*b)));
        let slots = references.zip(starts).map(|(reference, start)| {
            let id = format!("{reference:08x}");
            (
                disks.iter().any(|d| d.id == id).then_some(id),
                Sectors(start),
            )
        });
        let named = names.iter().find(|(guid, ..)| *guid == raw.guid);
        let (level, layout) = level(raw);
        let chunk = 1_u64.checked_shl(raw.chunk_shift.into()).unwrap_or(0);
        let mut state = named
            .map_or("not in the list of volumes", |(_, _, state)| state)
            .to_owned();
        if !holds(record, raw.crc.get()) {
            state.push_str(", its record's checksum does not hold");
        }
        if raw.secondary_elements > 1 {
            let (number, of) = (raw.secondary_number, raw.secondary_elements);
            state.push_str(&format!(", part {number} of {of} of a volume of volumes"));
        }
        volumes.push(Volume {
            name: named.map(|(_, name, _)| name.clone()).unwrap_or_default(),
            level,
            layout,
            chunk: Sectors(chunk),
            size: Sectors(raw.volume_blocks.get()),
            slots: slots.collect(),
            state,
        });
    }
    volumes
}

/// Level and layout in mdadm's words, from the primary level and its qualifier.
fn level(raw: &RawRecord) -> (String, Option<String>) {
    let (level, layout) = match (raw.level, raw.qualifier) {
        (0, _) => ("raid0", None),
        (1, _) => ("raid1", None),
        // md's raid4 has its parity last; with it first md calls it a raid5.
        (4, 0) => ("raid5", Some("parity-first")),
        (4, 1) => ("raid4", Some("parity-last")),
        (5, 0) => ("raid5", Some("right-asymmetric")),
        (5, 2) => ("raid5", Some("left-asymmetric")),
        (5, 3) => ("raid5", Some("left-symmetric")),
        (6, 1) => ("raid6", Some("ddf-zero-restart")),
        (6, 2) => ("raid6", Some("ddf-N-restart")),
        (6, 3) => ("raid6", Some("ddf-N-continue")),
        (0x11, 0) => ("raid10", Some("n2")),
        (0x11, 1) => ("raid10", Some("o2")),
        (0x1f, _) => ("linear", None),
        (level, qualifier) => {
            return (format!("DDF level {level:#x}, qualifier {qualifier}"), None);
        }
    };
    (level.to_owned(), layout.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parity taken for data, and data for parity, shifts every byte by a disk.
    #[test]
    fn where_parity_lies() {
        let of = |qualifier: u8| {
            let mut raw = [0; size_of::<RawRecord>()];
            (raw[67], raw[68]) = (4, qualifier);
            let (level, layout) = level(RawRecord::ref_from_bytes(&raw).unwrap());
            format!("{level} {}", layout.unwrap_or_default())
        };
        assert_eq!(of(0), "raid5 parity-first");
        assert_eq!(of(1), "raid4 parity-last");
        assert_eq!(of(2), "DDF level 0x4, qualifier 2 ");
    }
}
