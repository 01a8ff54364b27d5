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
    /// @88: while this is not 0 a second map follows the first: what the volume was before, and the first what it becomes.
    migrating: u8,
    migration_type: u8,
    /// Bit 0: was not stopped cleanly.
    dirty: u8,
    fs_state: u8,
    _errors: [u8; 4],
    /// @96: the upper half of `migration_unit`.
    #[doc(alias = "curr_migr_unit_hi")]
    migration_unit_high: U32,
    _rest: [u8; 12],
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

/// Level and layout in mdadm's words.
fn level_of(map: &RawMap) -> (&'static str, Option<&'static str>) {
    match (map.level, map.members) {
        (0, _) => ("raid0", None),
        (1, 0..=2) => ("raid1", None),
        (1 | 10, _) => ("raid10", Some("n2")),
        (5, _) => ("raid5", Some("left-asymmetric")),
        _ => ("unknown", None),
    }
}

/// A map with its entries, one for each slot.
type Map<'a> = (&'a RawMap, Vec<u32>);

/// The map that begins here, and what lies behind it.
fn map(bytes: &[u8]) -> Option<(Map<'_>, &[u8])> {
    let (map, rest) = RawMap::ref_from_prefix(bytes).ok()?;
    let (order, rest) = rest.split_at_checked(usize::from(map.members) * 4)?;
    let order = order.as_chunks::<4>().0.iter();
    let order = order.map(|w| u32::from_le_bytes(*w)).collect();
    Some(((map, order), rest))
}

/// The disk's number in an entry, and a mark that it lacks the volume's data: it failed, or is being rebuilt.
const NUMBER: u32 = 0xff_ffff;
const LACKING: u32 = 1 << 24;

/// The id of the disk that an entry names.
fn id(entry: u32, disks: &[Disk]) -> Option<String> {
    let index = usize::try_from(entry & NUMBER).ok()?;
    disks.get(index).map(|d| d.id.clone())
}

/// One volume, and what lies behind it.
fn volume<'a>(bytes: &'a [u8], disks: &[Disk]) -> Option<(Volume, &'a [u8])> {
    let (raw, rest) = RawVolume::ref_from_prefix(bytes).ok()?;
    let ((now, order), mut rest) = map(rest)?;
    let mut before = None;
    if raw.migrating != 0 {
        let (second, tail) = map(rest)?;
        (before, rest) = (Some(second), tail);
    }
    let (level, layout) = level_of(now);
    let start = wide(now.start_low, now.start_high);
    let slots = order.iter().map(|entry| (id(*entry, disks), start));
    let volume = Volume {
        name: text(&raw.name),
        level: level.to_owned(),
        layout: layout.map(str::to_owned),
        chunk: Sectors(now.strip.get().into()),
        size: wide(raw.size_low, raw.size_high),
        slots: slots.collect(),
        state: state(raw, (now, &order), before, disks),
    };
    Some((volume, rest))
}

/// How a volume is, in words: its state, what goes on, and which disks lack its data.
fn state(
    raw: &RawVolume,
    (now, order): (&RawMap, &[u32]),
    before: Option<Map<'_>>,
    disks: &[Disk],
) -> String {
    let mut state = match now.state {
        0 => "normal",
        1 => "not initialised",
        2 => "degraded",
        3 => "failed",
        _ => "unknown",
    }
    .to_owned();
    // While a rebuild goes on the marks are in the map of before.
    let mut marked = order;
    if let Some((old, of_old)) = &before {
        let what = match raw.migration_type {
            0 => "being initialised",
            1 => "being rebuilt",
            2 => "being verified",
            3 => "migrating",
            5 => "being repaired",
            _ => "changing",
        };
        let unit = wide(raw.migration_unit, raw.migration_unit_high).0;
        state.push_str(&format!(", {what} (at unit {unit})"));
        let shape = |map: &RawMap| {
            let start = wide(map.start_low, map.start_high);
            (level_of(map), map.strip.get(), map.members, start)
        };
        if shape(old) != shape(now) {
            state.push_str(&format!(", {}", was(old, of_old, disks)));
        }
        marked = of_old;
    }
    for (slot, entry) in marked.iter().enumerate() {
        if entry & LACKING != 0 {
            let id = id(*entry, disks).unwrap_or_default();
            state.push_str(&format!(", slot {slot} LACKS its data ({id})"));
        }
    }
    if raw.dirty & 1 != 0 {
        state.push_str(", not stopped cleanly");
    }
    state
}

/// What a volume was before it began to migrate: what is not moved yet lies so.
fn was(map: &RawMap, order: &[u32], disks: &[Disk]) -> String {
    let (level, layout) = level_of(map);
    let layout = layout.map(|l| format!(" {l}")).unwrap_or_default();
    let chunk = Bytes::from(Sectors(map.strip.get().into()));
    let start = wide(map.start_low, map.start_high).0;
    let ids = order.iter().map(|entry| match id(*entry, disks) {
        Some(id) => format!("{id}@{start}"),
        None => "missing".to_owned(),
    });
    let order: Vec<String> = ids.collect();
    format!(
        "from {level}{layout}, chunk {chunk}, order {}",
        order.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    fn put(bytes: &mut [u8], at: usize, words: &[u32]) {
        for (i, word) in words.iter().enumerate() {
            bytes[at + i * 4..at + i * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Three disks, and one volume that goes from its second map to its first; of a type, with the entries of both.
    fn disk(kind: u8, level: u8, first: &[u32], second: &[u32]) -> Memory {
        let mut whole = vec![0; 1024];
        whole[..30].copy_from_slice(b"Intel Raid ISM Cfg Sig. 1.3.00");
        (whole[56], whole[57]) = (3, 1);
        for (i, name) in [b"A", b"B", b"C"].iter().enumerate() {
            whole[DISKS + i * 48] = name[0];
        }
        let volume = DISKS + 3 * 48;
        whole[volume] = b'v';
        put(&mut whole, volume + 80, &[7]);
        (whole[volume + 88], whole[volume + 89]) = (1, kind);
        put(&mut whole, volume + 96, &[1]);
        let mut at = volume + 112;
        for (level, order) in [(5, first), (level, second)] {
            put(&mut whole, at, &[2048, 0, 0, 128]);
            whole[at + 15] = level;
            whole[at + 16] = u8::try_from(order.len()).unwrap();
            put(&mut whole, at + 48, order);
            at += 48 + order.len() * 4;
        }
        put(&mut whole, 36, &[u32::try_from(at).unwrap()]);
        let sum = sum(&whole[..at]);
        put(&mut whole, 32, &[sum]);
        let mut bytes = vec![0; 8192];
        let anchor = bytes.len() - 1024;
        bytes[anchor..anchor + 512].copy_from_slice(&whole[..512]);
        bytes[anchor - 512..anchor].copy_from_slice(&whole[512..]);
        Memory::new("m", bytes)
    }

    /// A disk that is being rebuilt taken for one that holds its part, or what was not moved yet read in the new shape,
    /// would be files of other bytes.
    #[test]
    fn what_goes_on_is_told() {
        let state = |disk: Memory| {
            let firmware = read(&disk).unwrap();
            assert_eq!(firmware.checksum, Checksum::Ok);
            let slots = firmware.volumes[0].slots.len();
            (slots, firmware.volumes[0].state.clone())
        };
        let rebuilt = disk(1, 5, &[0, 1, 2], &[0, 1 | LACKING, 2]);
        assert_eq!(
            state(rebuilt),
            (
                3,
                "normal, being rebuilt (at unit 4294967303), slot 1 LACKS its data (B)".to_owned()
            )
        );
        let moved = disk(3, 0, &[0, 1, 2], &[1, 0]);
        let says =
            "normal, migrating (at unit 4294967303), from raid0, chunk 64 KiB, order B@2048 A@2048";
        assert_eq!(state(moved), (3, says.to_owned()));
    }
}
