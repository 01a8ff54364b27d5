//! The md superblock 1.x: little-endian, 256 bytes and two for each role.
//!
//! Versions 1.0, 1.1 and 1.2 differ only in where it lies (see
//! [`Version::place`]). All offsets and sizes inside are in 512-byte sectors.
//! Source: `struct mdp_superblock_1` in `include/uapi/linux/raid/md_p.h`.

use super::superblock::{DeviceRole, MAGIC_LE, Reshape, Role, Superblock, Version};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed, printable};
use crate::units::{Bytes, Extent, Sectors};
use zerocopy::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The fixed part; `max_dev` roles of two bytes follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Debug)]
#[repr(C)]
pub struct Raw {
    /// @0, [`MAGIC_LE`].
    pub magic: [u8; 4],
    /// @4, always 1.
    #[doc(alias = "major_version")]
    pub major: U32,
    /// @8, see the `FEATURE_` constants.
    pub feature_map: U32,
    _pad0: U32,
    /// @16, the array's UUID.
    pub set_uuid: [u8; 16],
    /// @32, the array's name, NUL-padded: `host:name`.
    pub set_name: [u8; 32],
    /// @64, creation: low 40 bits seconds since 1970, the rest microseconds.
    pub ctime: U64,
    /// @72, RAID level.
    pub level: I32,
    /// @76, layout of that level.
    pub layout: U32,
    /// @80, sectors used of each member.
    pub size: U64,
    /// @88, chunk in sectors.
    #[doc(alias = "chunksize")]
    pub chunk: U32,
    /// @92, number of slots.
    pub raid_disks: U32,
    /// @96, sectors from the superblock to the bitmap, signed; valid with [`feature::BITMAP`]. With [`feature::PPL`] two
    /// halves of 16 bits: the sectors to the log, signed, and its length.
    pub bitmap_offset: I32,
    /// @100, level that a reshape leads to; valid with [`feature::RESHAPE`], as are the next four.
    pub new_level: I32,
    /// @104, sectors of the array that are in the new shape.
    pub reshape_position: U64,
    /// @112, slots more or less than before.
    pub delta_disks: I32,
    /// @116, layout that it leads to.
    pub new_layout: U32,
    /// @120, chunk that it leads to, in sectors.
    pub new_chunk: U32,
    /// @124, sectors by which the data's start moves; valid with [`feature::NEW_OFFSET`].
    pub new_offset: I32,
    /// @128, sector where data starts on this member.
    pub data_offset: U64,
    /// @136, sectors of this member that can hold data.
    pub data_size: U64,
    /// @144, sector of this superblock on the member.
    pub super_offset: U64,
    /// @152, how far a recovery of this member had come.
    pub recovery_offset: U64,
    /// @160, this member's index into the roles.
    pub dev_number: U32,
    /// @164, read errors corrected on this member.
    pub corrected_reads: U32,
    /// @168, this member's own UUID.
    pub device_uuid: [u8; 16],
    /// @184, marks of the member: 1 write-mostly, 2 failfast.
    #[doc(alias = "devflags")]
    pub marks: u8,
    /// @185, bits by which the bad-block log's sector numbers are shifted.
    pub bblog_shift: u8,
    /// @186, sectors of the bad-block log; 0 without one.
    pub bblog_size: U16,
    /// @188, sectors from the superblock to it, signed.
    pub bblog_offset: I32,
    /// @192, last update, as `ctime`.
    pub utime: U64,
    /// @200, events counted.
    pub events: U64,
    /// @208, how far a resync had come; all ones where none is needed.
    pub resync_offset: U64,
    /// @216, see [`checksum`].
    #[doc(alias = "sb_csum")]
    pub checksum: U32,
    /// @220, number of roles that follow.
    #[doc(alias = "max_dev")]
    pub max_devices: U32,
    _pad3: [u8; 32],
}

/// Bytes of [`Raw`]; the roles start here.
pub const FIXED: usize = 256;
const _: () = assert!(size_of::<Raw>() == FIXED);

/// Bits of `feature_map`. Source: `MD_FEATURE_*` in `md_p.h`.
pub mod feature {
    /// `bitmap_offset` is valid.
    pub const BITMAP: u32 = 1;
    /// `recovery_offset` is valid.
    pub const RECOVERY_OFFSET: u32 = 2;
    /// A reshape was under way.
    pub const RESHAPE: u32 = 4;
    /// The reshape goes from the end to the start; heeded where the number of slots stays.
    pub const RESHAPE_BACKWARDS: u32 = 32;
    /// `new_offset` is valid.
    pub const NEW_OFFSET: u32 = 64;
    /// There is a partial-parity log.
    pub const PPL: u32 = 1024;
    /// There is one with room for several.
    pub const MULTIPLE_PPLS: u32 = 2048;
    /// `layout` is valid for raid0.
    pub const RAID0_LAYOUT: u32 = 4096;
    /// All, with their names.
    pub const NAMES: [(u32, &str); 13] = [
        (BITMAP, "bitmap"),
        (RECOVERY_OFFSET, "recovery-offset"),
        (RESHAPE, "reshape"),
        (8, "bad-blocks"),
        (16, "replacement"),
        (RESHAPE_BACKWARDS, "reshape-backwards"),
        (NEW_OFFSET, "new-offset"),
        (128, "recovery-bitmap"),
        (256, "clustered"),
        (512, "journal"),
        (PPL, "ppl"),
        (MULTIPLE_PPLS, "multiple-ppls"),
        (RAID0_LAYOUT, "raid0-layout"),
    ];

    /// The names of the bits of a map; those that have none as one number.
    pub fn names(map: u32) -> Vec<String> {
        let known = NAMES.iter().fold(0, |all, (bit, _)| all | bit);
        let mut names: Vec<String> = NAMES
            .iter()
            .filter(|(bit, _)| map & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        if map & !known != 0 {
            names.push(format!("unknown:{:#x}", map & !known));
        }
        names
    }
}

const MARKS: [(u8, &str); 2] = [(1, "write-mostly"), (2, "failfast")];

/// mdadm never writes more roles than fit in 4 KiB.
const MOST_DEVICES: usize = (4096 - FIXED) / 2;

const ROLE_SPARE: u16 = 0xffff;
const ROLE_FAULTY: u16 = 0xfffe;
const ROLE_JOURNAL: u16 = 0xfffd;

/// Where the checksum lies; it counts as zero in its own sum.
const CHECKSUM_AT: usize = 216;

/// Reads the superblock at `at`; the caller says which version lies there.
///
/// # Errors
/// [`ParseError::NotThis`] without the magic; [`ParseError::Broken`] where the
/// superblock contradicts its own place or numbers.
pub fn read(source: &dyn Source, at: Bytes, version: Version) -> Parsed<Superblock> {
    let mut buf = [0; 4096];
    let (fixed, _) = buf.split_at_mut(FIXED);
    read_exact(source, at, fixed)?;
    let raw = Raw::read_from_bytes(fixed).map_err(|_| ParseError::NotThis)?;
    if raw.magic != MAGIC_LE || raw.major.get() != 1 {
        return Err(ParseError::NotThis);
    }
    let here = at.whole_sectors().0;
    if raw.super_offset.get() != here {
        // Another version's superblock, or one that belongs to a member that starts elsewhere.
        return Err(ParseError::broken(
            at + Bytes(144),
            format!("super_offset {here}"),
            raw.super_offset.get(),
        ));
    }
    let devices = usize::try_from(raw.max_devices.get()).unwrap_or(usize::MAX);
    if devices > MOST_DEVICES {
        return Err(ParseError::broken(
            at + Bytes(220),
            format!("at most {MOST_DEVICES} roles"),
            devices,
        ));
    }
    let whole = buf
        .get_mut(..FIXED + 2 * devices)
        .ok_or(ParseError::NotThis)?;
    read_exact(source, at, whole)?;
    let sound = checksum(whole) == raw.checksum.get();
    decode(&raw, whole, at, version, sound)
}

fn decode(raw: &Raw, whole: &[u8], at: Bytes, version: Version, sound: bool) -> Parsed<Superblock> {
    let roles = whole.get(FIXED..).unwrap_or_default();
    let number = raw.dev_number.get();
    let role = usize::try_from(number)
        .ok()
        .and_then(|n| roles.as_chunks::<2>().0.get(n))
        .map_or(Role::Spare, |role| role_of(*role));
    if raw.raid_disks.get() == 0 && sound {
        return Err(ParseError::broken(at + Bytes(92), "raid_disks above 0", 0));
    }
    let features = raw.feature_map.get();
    let has = |bit| features & bit != 0;
    let resync = raw.resync_offset.get();
    Ok(Superblock {
        version,
        at,
        checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        big_endian: false,
        array_uuid: uuid(&raw.set_uuid),
        array_name: name(&raw.set_name),
        created: seconds(raw.ctime),
        updated: seconds(raw.utime),
        events: raw.events.get(),
        level: raw.level.get(),
        layout: layout(raw),
        chunk: Sectors(raw.chunk.get().into()),
        raid_disks: raw.raid_disks.get(),
        member_size: Sectors(raw.size.get()),
        data_offset: Sectors(raw.data_offset.get()),
        role,
        device_uuid: Some(uuid(&raw.device_uuid)),
        bitmap_offset: has(feature::BITMAP).then(|| raw.bitmap_offset.get()),
        reshaping: has(feature::RESHAPE),
        resync_offset: (resync != u64::MAX).then_some(Sectors(resync)),
        reshape: has(feature::RESHAPE).then(|| reshape(raw)),
        // On a journal the same field is the journal's tail.
        recovery_offset: (has(feature::RECOVERY_OFFSET) && role != Role::Journal)
            .then(|| Sectors(raw.recovery_offset.get())),
        features: feature::names(features),
        device_number: number,
        roles: table(roles, number),
        marks: MARKS
            .iter()
            .filter(|(bit, _)| raw.marks & bit != 0)
            .map(|(_, name)| *name)
            .collect(),
        data_size: Some(Sectors(raw.data_size.get())),
        ppl: (has(feature::PPL) || has(feature::MULTIPLE_PPLS))
            .then(|| ppl(raw, at))
            .flatten(),
        bad_block_log: bad_block_log(raw, at),
        corrected_reads: raw.corrected_reads.get(),
    })
}

fn role_of(role: [u8; 2]) -> Role {
    match u16::from_le_bytes(role) {
        ROLE_SPARE => Role::Spare,
        ROLE_FAULTY => Role::Faulty,
        ROLE_JOURNAL => Role::Journal,
        slot => Role::Slot(slot.into()),
    }
}

/// The roles of devices; the rows that were never used look like spares, and only this device's own is told from them.
fn table(roles: &[u8], own: u32) -> Vec<DeviceRole> {
    let rows = (0_u32..).zip(roles.as_chunks::<2>().0);
    rows.map(|(number, role)| DeviceRole {
        number,
        role: role_of(*role),
        major_minor: None,
    })
    .filter(|row| row.role != Role::Spare || row.number == own)
    .collect()
}

/// raid0 had no layout before Linux 5.4: without the feature the number is what another level left there, and the kernel
/// does not go by it.
fn layout(raw: &Raw) -> u32 {
    let known = raw.level.get() != 0 || raw.feature_map.get() & feature::RAID0_LAYOUT != 0;
    if known { raw.layout.get() } else { 0 }
}

fn reshape(raw: &Raw) -> Reshape {
    let features = raw.feature_map.get();
    let has = |bit| features & bit != 0;
    let moved = has(feature::NEW_OFFSET);
    let delta_disks = raw.delta_disks.get();
    let shift = i64::from(raw.new_offset.get());
    Reshape {
        position: Sectors(raw.reshape_position.get()),
        new_level: raw.new_level.get(),
        new_layout: raw.new_layout.get(),
        new_chunk: Sectors(raw.new_chunk.get().into()),
        delta_disks,
        // The kernel sets the bit only where the number of members stays: where it falls the reshape goes backwards anyway.
        backwards: delta_disks < 0 || delta_disks == 0 && has(feature::RESHAPE_BACKWARDS),
        new_data_offset: moved
            .then(|| raw.data_offset.get().checked_add_signed(shift))
            .flatten()
            .map(Sectors),
    }
}

/// `sectors` at a distance of `offset` sectors from the superblock at `at`; `None` where that is before the member.
fn beside(at: Bytes, offset: i64, sectors: u64) -> Option<Extent> {
    let start = at.whole_sectors().0.checked_add_signed(offset)?;
    Some(Extent::new(
        Sectors(start).to_bytes()?,
        Sectors(sectors).to_bytes()?,
    ))
}

fn ppl(raw: &Raw, at: Bytes) -> Option<Extent> {
    let [a, b, c, d] = raw.bitmap_offset.to_bytes();
    let (offset, sectors) = (i16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    beside(at, offset.into(), sectors.into())
}

fn bad_block_log(raw: &Raw, at: Bytes) -> Option<(Extent, u8)> {
    let (offset, sectors) = (raw.bblog_offset.get(), raw.bblog_size.get());
    if offset == 0 || sectors == 0 {
        return None;
    }
    Some((beside(at, offset.into(), sectors.into())?, raw.bblog_shift))
}

/// The checksum over a whole superblock: its 32-bit words summed in 64 bits with its own field as zero, an odd half
/// word at the end added as 16 bits, then the halves added.
pub fn checksum(whole: &[u8]) -> u32 {
    let mut sum = 0_u64;
    let (words, tail) = whole.as_chunks::<4>();
    for (i, word) in words.iter().enumerate() {
        if i * 4 != CHECKSUM_AT {
            sum += u64::from(U32::from_bytes(*word).get());
        }
    }
    if let [low, high] = tail {
        sum += u64::from(U16::from_bytes([*low, *high]).get());
    }
    let folded = (sum & 0xffff_ffff) + (sum >> 32);
    u32::try_from(folded & 0xffff_ffff).unwrap_or_default()
}

fn seconds(time: U64) -> u64 {
    time.get() & 0xff_ffff_ffff
}

fn name(bytes: &[u8]) -> String {
    printable(bytes.split(|b| *b == 0).next().unwrap_or_default())
}

/// Four groups of eight hex digits, as mdadm prints a UUID.
pub(super) fn uuid(bytes: &[u8; 16]) -> String {
    let groups: Vec<String> = bytes.chunks(4).map(hex::encode).collect();
    groups.join(":")
}
