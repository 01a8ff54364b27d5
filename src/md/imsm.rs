//! IMSM, Intel's firmware RAID: the anchor in the last sector but one of the disk, what does not fit into it in the
//! sectors before.
//!
//! Little-endian; sizes in 512-byte sectors. A disk is known by its serial number, so an image alone does not say which
//! of the listed disks it is.
//! Source: mdadm's `super-intel.c` (`struct imsm_super`, `imsm_disk`, `imsm_dev`, `imsm_vol`, `imsm_map`).

use super::firmware::{Disk, Firmware, Volume};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed, printable};
use crate::units::{Bytes, SECTOR, SECTOR_LEN, Sectors};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The first bytes of the anchor; a version follows.
pub const SIGNATURE: &[u8; 24] = b"Intel Raid ISM Cfg Sig. ";

/// Bytes of metadata that are read at most.
const MOST: usize = 64 << 10;

/// The head of the metadata; disks follow at [`DISKS`].
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHead {
    /// @0, [`SIGNATURE`] and a version of 6 characters.
    signature: [u8; 32],
    /// @32, sum of all 32-bit words of the metadata without this one.
    checksum: U32,
    /// @36, bytes of the metadata.
    #[doc(alias = "mpb_size")]
    size: U32,
    /// @40, one number for all disks of a set.
    family: U32,
    /// @44, counted up with each write.
    generation: U32,
    _more: [u8; 8],
    /// @56, disks listed.
    disks: u8,
    /// @57, volumes listed.
    volumes: u8,
}
const _: () = assert!(size_of::<RawHead>() == 58);

/// Where the disks start.
const DISKS: usize = 216;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDisk {
    serial: [u8; 16],
    blocks_low: U32,
    scsi_id: U32,
    /// Bit 0 spare, 1 configured, 2 failed.
    status: U32,
    owner: U32,
    blocks_high: U32,
    _filler: [u8; 12],
}
const _: () = assert!(size_of::<RawDisk>() == 48);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawVolume {
    name: [u8; 16],
    size_low: U32,
    size_high: U32,
    status: U32,
    reserved_blocks: U32,
    _cache: [u8; 48],
    /// @80: how far a migration had come, in units.
    migration_unit: U32,
    checkpoint: U32,
    /// @88: a second map follows the first while this is not 0.
    migrating: u8,
    migration_type: u8,
    /// Bit 0: was not stopped cleanly.
    dirty: u8,
    fs_state: u8,
    _rest: [u8; 20],
}
const _: () = assert!(size_of::<RawVolume>() == 112);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawMap {
    /// Sector of each disk where the volume starts.
    start_low: U32,
    blocks_per_member: U32,
    stripes: U32,
    /// Chunk in sectors.
    strip: U16,
    /// 0 normal, 1 not initialised, 2 degraded, 3 failed.
    state: u8,
    /// 0, 1 (with 4 members: raid10), 5.
    level: u8,
    members: u8,
    domains: u8,
    failed: u8,
    ddf: u8,
    start_high: U32,
    _filler: [u8; 24],
}
const _: () = assert!(size_of::<RawMap>() == 48);

/// Reads the metadata of a whole disk.
///
/// # Errors
/// [`ParseError::NotThis`] without the signature; [`ParseError::Broken`] where lists leave the metadata.
pub fn read(disk: &dyn Source) -> Parsed<Firmware> {
    let sectors = disk.len().0 / SECTOR;
    let at = Bytes(sectors.checked_sub(2).ok_or(ParseError::NotThis)? * SECTOR);
    let mut anchor = [0; SECTOR_LEN];
    read_exact(disk, at, &mut anchor)?;
    let (head, _) = RawHead::ref_from_prefix(&anchor).map_err(|_| ParseError::NotThis)?;
    if !head.signature.starts_with(SIGNATURE) {
        return Err(ParseError::NotThis);
    }
    let size = usize::try_from(head.size.get()).unwrap_or(usize::MAX);
    if !(DISKS..=MOST).contains(&size) {
        let expected = format!("{DISKS} to {MOST} bytes of metadata");
        return Err(ParseError::broken(at + Bytes(36), expected, size));
    }
    let whole = whole(disk, at, &anchor, size)?;
    let mut firmware = Firmware::new(disk, "IMSM", at);
    firmware.checksum = match sum(&whole) == head.checksum.get() {
        true => Checksum::Ok,
        false => Checksum::Bad,
    };
    let version = head.signature.get(SIGNATURE.len()..).unwrap_or_default();
    firmware.version = text(version);
    firmware.generation = Some(head.generation.get().into());
    let cut = || ParseError::broken(at, "all disks and volumes within the metadata", size);
    let mut rest = whole.get(DISKS..).ok_or_else(cut)?;
    for _ in 0..head.disks {
        let (raw, tail) = RawDisk::ref_from_prefix(rest).map_err(|_| cut())?;
        firmware.disks.push(disk_of(raw));
        rest = tail;
    }
    for _ in 0..head.volumes {
        let (volume, tail) = volume(rest, &firmware.disks).ok_or_else(cut)?;
        firmware.volumes.push(volume);
        rest = tail;
    }
    firmware.notes.push(format!(
        "mdadm assembles it (set {:08x}); which listed disk this is, its serial number says",
        head.family.get()
    ));
    Ok(firmware)
}

/// The anchor, and behind it in reading order the sectors that lie before it on the disk.
fn whole(disk: &dyn Source, at: Bytes, anchor: &[u8], size: usize) -> Parsed<Vec<u8>> {
    let more = size.saturating_sub(SECTOR_LEN).next_multiple_of(SECTOR_LEN);
    let mut rest = vec![0; more];
    let before = at.0.checked_sub(more as u64).ok_or(ParseError::NotThis)?;
    read_exact(disk, Bytes(before), &mut rest)?;
    let mut whole = anchor.to_vec();
    whole.append(&mut rest);
    whole.truncate(size);
    Ok(whole)
}

fn sum(whole: &[u8]) -> u32 {
    let words = whole.as_chunks::<4>().0.iter().enumerate();
    words.filter(|(i, _)| *i != 8).fold(0, |sum: u32, (_, w)| {
        sum.wrapping_add(u32::from_le_bytes(*w))
    })
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    printable(bytes.get(..end).unwrap_or_default())
        .trim()
        .to_owned()
}

fn wide(low: U32, high: U32) -> Sectors {
    Sectors(u64::from(high.get()) << 32 | u64::from(low.get()))
}

fn disk_of(raw: &RawDisk) -> Disk {
    let names = [(1, "spare"), (2, "configured"), (4, "failed")];
    let status = raw.status.get();
    let words = names.iter().filter(|(bit, _)| status & bit != 0);
    let state: Vec<&str> = words.map(|(_, name)| *name).collect();
    Disk {
        id: text(&raw.serial),
        size: wide(raw.blocks_low, raw.blocks_high),
        state: state.join(", "),
    }
}

/// One volume, and what lies behind it.
fn volume<'a>(bytes: &'a [u8], disks: &[Disk]) -> Option<(Volume, &'a [u8])> {
    let (raw, rest) = RawVolume::ref_from_prefix(bytes).ok()?;
    let (map, mut rest) = RawMap::ref_from_prefix(rest).ok()?;
    let slots = |map: &RawMap, bytes: &'a [u8]| -> Option<(Vec<u32>, &'a [u8])> {
        let (order, tail) = bytes.split_at_checked(usize::from(map.members) * 4)?;
        let words = order.as_chunks::<4>().0.iter();
        Some((words.map(|w| u32::from_le_bytes(*w)).collect(), tail))
    };
    let (order, tail) = slots(map, rest)?;
    rest = tail;
    if raw.migrating != 0 {
        let (second, tail) = RawMap::ref_from_prefix(rest).ok()?;
        rest = slots(second, tail)?.1;
    }
    let (level, layout) = match (map.level, map.members) {
        (0, _) => ("raid0", None),
        (1, 0..=2) => ("raid1", None),
        (1 | 10, _) => ("raid10", Some("n2")),
        (5, _) => ("raid5", Some("left-asymmetric")),
        _ => ("unknown", None),
    };
    let mut state = match map.state {
        0 => "normal",
        1 => "not initialised",
        2 => "degraded",
        3 => "failed",
        _ => "unknown",
    }
    .to_owned();
    if raw.migrating != 0 {
        let unit = raw.migration_unit.get();
        state.push_str(&format!(", migrating or being rebuilt (at unit {unit})"));
    }
    if raw.dirty & 1 != 0 {
        state.push_str(", not stopped cleanly");
    }
    let start = wide(map.start_low, map.start_high);
    // The upper byte of an entry marks a disk that is being rebuilt.
    let id = |entry: &u32| {
        let index = usize::try_from(entry & 0xff_ffff).ok()?;
        disks.get(index).map(|d| d.id.clone())
    };
    let volume = Volume {
        name: text(&raw.name),
        level: level.to_owned(),
        layout: layout.map(str::to_owned),
        chunk: Sectors(map.strip.get().into()),
        size: wide(raw.size_low, raw.size_high),
        slots: order.iter().map(|entry| (id(entry), start)).collect(),
        state,
    };
    Some((volume, rest))
}
