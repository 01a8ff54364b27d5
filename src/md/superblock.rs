//! What both kinds of md superblock say, in one form, and where they can lie.

use super::level::{self, Level};
use super::{sb0, sb1};
use crate::image::{Rest, Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, Sectors, utc};
use serde::Serialize;
use std::fmt;

/// The first four bytes of every md superblock: 0xa92b4efc, as a little-endian machine writes it.
///
/// Source: `include/uapi/linux/raid/md_p.h`, `MD_SB_MAGIC`.
pub const MAGIC_LE: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];

/// The same as a big-endian machine writes it; only 0.90 exists so.
pub const MAGIC_BE: [u8; 4] = [0xa9, 0x2b, 0x4e, 0xfc];

/// A metadata version, in mdadm's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Version {
    /// Near the end, 64 KiB aligned; data from the start.
    #[serde(rename = "0.90")]
    V090,
    /// Near the end, 8 KiB before it; data from the start.
    #[serde(rename = "1.0")]
    V10,
    /// At byte 0, data behind it.
    #[serde(rename = "1.1")]
    V11,
    /// At byte 4096, data behind it.
    #[serde(rename = "1.2")]
    V12,
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 4] = [Version::V090, Version::V10, Version::V11, Version::V12];

    /// Where this version's superblock lies on a member of this length; `None` where the member is too short for one.
    pub fn place(self, member: Bytes) -> Option<Bytes> {
        match self {
            Version::V090 => (member.0 & !0xffff).checked_sub(0x1_0000).map(Bytes),
            Version::V10 => {
                let sector = member.whole_sectors().0.checked_sub(16)? & !7;
                Sectors(sector).to_bytes()
            }
            Version::V11 => Some(Bytes::ZERO),
            Version::V12 => Some(Bytes(4096)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V090 => "0.90",
            Version::V10 => "1.0",
            Version::V11 => "1.1",
            Version::V12 => "1.2",
        })
    }
}

/// What a member is to its array, by its own superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It holds this slot, counted from 0.
    Slot(u32),
    /// It waits to replace another.
    Spare,
    /// It was thrown out.
    Faulty,
    /// It holds the write journal.
    Journal,
}

/// One row of a superblock's table of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRole {
    /// The device's number in the table.
    pub number: u32,
    /// What it is.
    pub role: Role,
    /// The device's numbers on the machine that wrote this (0.90).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_minor: Option<(u32, u32)>,
}

/// A reshape under way: from what the superblock says otherwise to this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reshape {
    /// Sectors of the array that are in the new shape; those that are left in the old, where it goes backwards.
    pub position: Sectors,
    /// The new level's number.
    pub new_level: i32,
    /// The new layout's number.
    pub new_layout: u32,
    /// The new chunk.
    pub new_chunk: Sectors,
    /// Slots more, or less, than before; `raid_disks` counts with them.
    pub delta_disks: i32,
    /// From the end to the start.
    pub backwards: bool,
    /// Where data starts on this member in the new shape, where that differs.
    pub new_data_offset: Option<Sectors>,
}

/// One member's superblock, decoded.
#[derive(Clone, Debug, Serialize)]
pub struct Superblock {
    /// The metadata version.
    pub version: Version,
    /// Where it lies on the member.
    pub at: Bytes,
    /// Whether its own checksum holds.
    pub checksum: Checksum,
    /// Written by a big-endian machine.
    pub big_endian: bool,
    /// The array's UUID, as mdadm prints it.
    pub array_uuid: String,
    /// The array's name (1.x), safe to print.
    pub array_name: String,
    /// When the array was created, in seconds since 1970.
    pub created: u64,
    /// When this superblock was last written, in seconds since 1970.
    pub updated: u64,
    /// Events counted; the member with the lower number is behind.
    pub events: u64,
    /// RAID level as md numbers it; negative for linear (-1) and multipath (-4).
    pub level: i32,
    /// Layout as md numbers it; its meaning depends on the level.
    pub layout: u32,
    /// Chunk size; 0 for raid1.
    pub chunk: Sectors,
    /// Number of slots.
    pub raid_disks: u32,
    /// What the array uses of each member.
    pub member_size: Sectors,
    /// Where data starts on the member.
    pub data_offset: Sectors,
    /// What this member is.
    pub role: Role,
    /// This member's own UUID (1.x).
    pub device_uuid: Option<String>,
    /// A write-intent bitmap's place relative to the superblock, in sectors.
    pub bitmap_offset: Option<i32>,
    /// Whether a reshape was under way.
    pub reshaping: bool,
    /// How far a resync had come, if one was unfinished: sectors of a member, or of the array for some levels.
    pub resync_offset: Option<Sectors>,
    /// The reshape that was under way.
    pub reshape: Option<Reshape>,
    /// How far a recovery of this member had come: what is behind it on this member is not the array's.
    pub recovery_offset: Option<Sectors>,
    /// What of the format is in use, by name; unknown bits as numbers.
    pub features: Vec<String>,
    /// This device's number in the table of devices.
    pub device_number: u32,
    /// The table of devices, unused rows left out.
    pub roles: Vec<DeviceRole>,
    /// Marks of this member: `write-mostly`, `failfast`.
    pub marks: Vec<&'static str>,
    /// What of this member could hold data (1.x).
    pub data_size: Option<Sectors>,
    /// The partial-parity log's place on the member.
    pub ppl: Option<Extent>,
    /// The place on the member that a bad-block log has, whether anything is in it or not, and by how many bits its sector
    /// numbers are shifted.
    pub bad_block_log: Option<(Extent, u8)>,
    /// Read errors that were corrected on this member (1.x).
    pub corrected_reads: u32,
}

/// Where a superblock of 1.x says in which sector of its member it lies.
#[doc(alias = "super_offset")]
pub const SUPER_OFFSET_AT: Bytes = Bytes(144);

/// Slots shown at most: a 1.x superblock has no room for more roles.
pub(super) const MOST_SLOTS: usize = 1920;

impl Superblock {
    /// Reads the superblock of `version` from its place on a member.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] where no magic lies there, or where the member is too short.
    pub fn read(source: &dyn Source, version: Version) -> Parsed<Superblock> {
        let at = version.place(source.len()).ok_or(ParseError::NotThis)?;
        match version {
            Version::V090 => sb0::read(source, at),
            _ => sb1::read(source, at, version),
        }
    }

    /// Slots before the reshape that was under way.
    pub fn slots_before(&self) -> i64 {
        let more = self.reshape.as_ref().map_or(0, |r| r.delta_disks);
        i64::from(self.raid_disks) - i64::from(more)
    }

    /// Reads the superblock at whatever place of a source, and says where its member starts: one of 1.x tells its own
    /// place; one of 0.90 does not, and its member starts at most its size before it.
    ///
    /// # Errors
    /// [`ParseError::Broken`] at [`SUPER_OFFSET_AT`] where the member would start before the source; else what
    /// [`Superblock::read`] says.
    pub fn found_at(source: &dyn Source, at: Bytes) -> Parsed<(Bytes, Superblock)> {
        let head = read_vec(source, Extent::new(at, Bytes(256)), 256)?;
        let field = |from: usize| head.get(from..).unwrap_or_default();
        if !field(0).starts_with(&MAGIC_LE) || !field(4).starts_with(&[1, 0, 0, 0]) {
            let sb = sb0::read(source, at)?;
            return Ok((at - Bytes::from(sb.member_size).min(at), sb));
        }
        let own = field(SUPER_OFFSET_AT.to_len(head.len())).first_chunk();
        let own = Sectors(own.map_or(u64::MAX, |b| u64::from_le_bytes(*b)));
        let inside = own.to_bytes().filter(|inside| *inside <= at);
        let inside = inside.ok_or_else(|| {
            ParseError::broken(at + SUPER_OFFSET_AT, "a place inside the image", own.0)
        })?;
        let version = match own {
            Sectors(0) => Version::V11,
            Sectors(8) => Version::V12,
            _ => Version::V10,
        };
        let start = at - inside;
        let member = Rest::new(source, start);
        Ok((start, sb1::read(&member, inside, version)?))
    }

    /// Every superblock that lies where one can lie, the newest first, and what is broken.
    pub fn all(source: &dyn Source) -> (Vec<Superblock>, Vec<(Version, ParseError)>) {
        let mut found = Vec::new();
        let mut broken = Vec::new();
        for version in Version::ALL {
            match Superblock::read(source, version) {
                Ok(superblock) => found.push(superblock),
                Err(ParseError::NotThis) => {}
                Err(error) => broken.push((version, error)),
            }
        }
        found.sort_by_key(|sb| (sb.checksum, std::cmp::Reverse(sb.updated), sb.version));
        (found, broken)
    }

    /// The level in mdadm's words.
    pub fn level_name(&self) -> String {
        match self.level {
            -1 => "linear".to_owned(),
            -4 => "multipath".to_owned(),
            n @ (0 | 1 | 4 | 5 | 6 | 10) => format!("raid{n}"),
            n => format!("level {n}"),
        }
    }

    /// The layout in mdadm's words, where the level has layouts.
    pub fn layout_name(&self) -> Option<String> {
        Level::from_number(self.level).and_then(|level| level::layout_name(level, self.layout))
    }

    /// The slots as mdadm shows them: `A` held, `.` missing, `R` being replaced.
    pub fn array_state(&self) -> String {
        let slots = usize::try_from(self.raid_disks).unwrap_or(MOST_SLOTS);
        let mut held = vec![0_u8; slots.min(MOST_SLOTS)];
        for device in &self.roles {
            if let Role::Slot(slot) = device.role
                && let Some(count) = usize::try_from(slot).ok().and_then(|s| held.get_mut(s))
            {
                *count = count.saturating_add(1);
            }
        }
        let shown = |count: &u8| match count {
            0 => '.',
            1 => 'A',
            _ => 'R',
        };
        held.iter().map(shown).collect()
    }

    /// Whether a feature of this name is in use.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// Whether this member lacks what another one of the array has that counts so many events: it left earlier, or a
    /// rebuild had not filled it yet, during which both count the same.
    pub fn lacks(&self, events: u64) -> bool {
        // A clean stop may leave one event between members that are equal.
        events.saturating_sub(self.events) > 1 || self.recovery_offset.is_some()
    }

    /// Whether this member and another one of the array, which count the same, were each in use without the other: the table
    /// of devices of one has nothing in the other's slot. mdadm does not start two such together.
    pub fn is_split_from(&self, other: &Superblock) -> bool {
        let of_one_array = self.array_uuid == other.array_uuid && self.role != other.role;
        let in_slots = [self.role, other.role].map(|role| matches!(role, Role::Slot(_)));
        // A clean stop may leave one event between members that are equal.
        if !of_one_array || in_slots != [true; 2] || self.events.abs_diff(other.events) > 1 {
            return false;
        }
        let lists =
            |table: &Superblock, role: Role| table.roles.iter().any(|device| device.role == role);
        // An older one that is not listed was thrown out; an older one that does not list the newer one was not.
        let lacks_other = self.events <= other.events && !lists(self, other.role);
        let is_lacking = other.events <= self.events && !lists(other, self.role);
        lacks_other || is_lacking
    }

    /// How far a rebuild of this member had come, in words, where one was under way.
    pub fn being_filled(&self) -> Option<String> {
        let done = self.recovery_offset?.0;
        let far = format!("the array's up to sector {done} of its data");
        Some(match self.has("recovery-bitmap") {
            // One that came back: only what the others wrote meanwhile is copied.
            true => format!(
                "being filled again: {far}, and behind that but for what the array's bitmap marks"
            ),
            false => format!("being filled: {far}"),
        })
    }

    /// Whether the array was in use for days: written to a day after it was made, and more often than making, syncing and
    /// stopping it take: each start, stop and check counts some, writes alone do not. With its members in a wrong order nobody
    /// could have used it.
    pub fn was_in_use(&self) -> bool {
        const DAY: u64 = 24 * 60 * 60;
        // A resync notes how far it came sixteen times.
        const EVENTS: u64 = 100;
        self.updated.saturating_sub(self.created) >= DAY && self.events >= EVENTS
    }

    /// What a superblock made after the data on its member is: not that array's own.
    ///
    /// `data` is the youngest time that the data itself holds, in seconds since 1970. Both `md guess` and `md examine`
    /// judge by this and say it in these words.
    pub fn younger_than(&self, data: u64) -> Option<String> {
        (data < self.created).then(|| {
            format!(
                "they were made after the youngest data ({}): whoever made them did not make this array, and they are not believed",
                utc(data)
            )
        })
    }

    /// The first byte of this member that belongs to md and not to data, looking from the data's start.
    ///
    /// With metadata at the end that is the end of the data; else the end of the member.
    pub fn data_end(&self) -> Option<Bytes> {
        let length = self.member_size.to_bytes()?;
        let start = self.data_offset.to_bytes()?;
        start.checked_add(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong place finds no superblock where mdadm finds one.
    #[test]
    fn places() {
        // A partition of 1000000 sectors: mdadm -E of such a member, 1.0 at 8 KiB before the end.
        let member = Bytes(1_000_000 * 512);
        assert_eq!(Version::V10.place(member), Some(Bytes(999_984 * 512)));
        assert_eq!(Version::V090.place(member), Some(Bytes(511_901_696)));
        assert_eq!(Version::V12.place(member), Some(Bytes(4096)));
        // An odd length: rounded down to 4 KiB and to 64 KiB.
        let odd = Bytes(1_000_003 * 512);
        assert_eq!(Version::V10.place(odd), Some(Bytes(999_984 * 512)));
        assert_eq!(Version::V090.place(Bytes(60_000)), None);
        assert_eq!(Version::V10.place(Bytes(512)), None);
    }
}
