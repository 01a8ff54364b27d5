//! The md superblock 0.90: 4096 bytes of 32-bit words in the byte order of the machine that made it.
//!
//! It lies at the last 64 KiB border that leaves 64 KiB behind it; data starts
//! at byte 0. Sizes are in KiB, the chunk in bytes. The 64-bit event counter's
//! halves are in machine order, and so is its place.
//! Source: `mdp_super_t` in `include/uapi/linux/raid/md_p.h`.

use super::superblock::{DeviceRole, MAGIC_BE, MAGIC_LE, Reshape, Role, Superblock, Version};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, SECTOR, Sectors};

/// Bytes of a superblock.
pub const SIZE: usize = 4096;

/// The words of a superblock, by their number; byte offset is four times that.
mod word {
    pub(super) const MAJOR: usize = 1;
    pub(super) const MINOR: usize = 2;
    /// The UUID's four words: the first was there before the other three.
    pub(super) const SET_UUID: [usize; 4] = [5, 13, 14, 15];
    pub(super) const CTIME: usize = 6;
    pub(super) const LEVEL: usize = 7;
    /// What is used of a member, in KiB.
    pub(super) const SIZE: usize = 8;
    pub(super) const RAID_DISKS: usize = 10;
    pub(super) const UTIME: usize = 32;
    pub(super) const STATE: usize = 33;
    pub(super) const CHECKSUM: usize = 38;
    pub(super) const EVENTS: usize = 39;
    pub(super) const RECOVERY_CP: usize = 43;
    /// The reshape's fields count with minor version 91: position in sectors of the array, 64 bits.
    pub(super) const RESHAPE_POSITION: usize = 44;
    pub(super) const NEW_LEVEL: usize = 46;
    pub(super) const DELTA_DISKS: usize = 47;
    pub(super) const NEW_LAYOUT: usize = 48;
    /// In bytes.
    pub(super) const NEW_CHUNK: usize = 49;
    pub(super) const LAYOUT: usize = 64;
    pub(super) const CHUNK: usize = 65;
    /// This member's own descriptor: number, major, minor, slot, state.
    pub(super) const THIS_DISK: usize = 992;
    /// The table of devices: descriptors of [`DISK_WORDS`] words.
    pub(super) const DISKS: usize = 128;
}

const STATE_CLEAN: u32 = 1;
const STATE_BITMAP: u32 = 1 << 8;
const DISK_FAULTY: u32 = 1;
const DISK_ACTIVE: u32 = 1 << 1;
const DISK_REMOVED: u32 = 1 << 3;
const DISK_WRITE_MOSTLY: u32 = 1 << 9;
/// Words of a device's descriptor, and how many descriptors there are.
const DISK_WORDS: usize = 32;
const MOST_DISKS: usize = 27;
/// The minor version while a reshape runs: older kernels must not touch it.
const MINOR_RESHAPE: u32 = 91;

/// The superblock as words in host order.
struct Words(Vec<u32>);

impl Words {
    fn new(buf: &[u8], big_endian: bool) -> Words {
        let (words, _) = buf.as_chunks::<4>();
        let read = |w: &[u8; 4]| match big_endian {
            true => u32::from_be_bytes(*w),
            false => u32::from_le_bytes(*w),
        };
        Words(words.iter().map(read).collect())
    }

    fn get(&self, word: usize) -> u32 {
        self.0.get(word).copied().unwrap_or_default()
    }

    /// All words summed in 64 bits with the checksum's own as zero, then the halves added.
    fn checksum(&self) -> u32 {
        let sum: u64 = self.0.iter().map(|w| u64::from(*w)).sum();
        let sum = sum - u64::from(self.get(word::CHECKSUM));
        let folded = (sum & 0xffff_ffff) + (sum >> 32);
        u32::try_from(folded & 0xffff_ffff).unwrap_or_default()
    }

    /// A 64-bit counter whose halves lie in the machine's order.
    fn wide(&self, word: usize, big_endian: bool) -> u64 {
        let (first, second) = (u64::from(self.get(word)), u64::from(self.get(word + 1)));
        match big_endian {
            true => first << 32 | second,
            false => second << 32 | first,
        }
    }
}

/// Reads the superblock at `at`.
///
/// # Errors
/// [`ParseError::NotThis`] without the magic or with another major version.
pub fn read(source: &dyn Source, at: Bytes) -> Parsed<Superblock> {
    let mut buf = vec![0; SIZE];
    read_exact(source, at, &mut buf)?;
    let big_endian = match buf.first_chunk::<4>() {
        Some(magic) if *magic == MAGIC_LE => false,
        Some(magic) if *magic == MAGIC_BE => true,
        _ => return Err(ParseError::NotThis),
    };
    let words = Words::new(&buf, big_endian);
    if words.get(word::MAJOR) != 0 {
        // A 1.x superblock whose member ends where a 0.90 one would lie.
        return Err(ParseError::NotThis);
    }
    Ok(decode(&words, at, big_endian))
}

fn decode(words: &Words, at: Bytes, big_endian: bool) -> Superblock {
    let get = |word| words.get(word);
    let sound = words.checksum() == get(word::CHECKSUM);
    let this = word::THIS_DISK;
    let state = get(this + 4);
    let clean = get(word::STATE) & STATE_CLEAN != 0;
    Superblock {
        version: Version::V090,
        at,
        checksum: if sound { Checksum::Ok } else { Checksum::Bad },
        big_endian,
        array_uuid: word::SET_UUID.map(|i| format!("{:08x}", get(i))).join(":"),
        array_name: String::new(),
        created: get(word::CTIME).into(),
        updated: get(word::UTIME).into(),
        events: words.wide(word::EVENTS, big_endian),
        level: get(word::LEVEL).cast_signed(),
        // The kernel does not go by that of a raid0 here: it had none, and has no place for one.
        layout: match get(word::LEVEL) {
            0 => 0,
            _ => get(word::LAYOUT),
        },
        chunk: Sectors(u64::from(get(word::CHUNK)) / SECTOR),
        raid_disks: get(word::RAID_DISKS),
        member_size: Sectors(u64::from(get(word::SIZE)) * 2),
        data_offset: Sectors(0),
        role: role(words, this),
        device_uuid: None,
        bitmap_offset: (get(word::STATE) & STATE_BITMAP != 0).then_some(8),
        reshaping: get(word::MINOR) == MINOR_RESHAPE,
        resync_offset: (!clean && get(word::RECOVERY_CP) != u32::MAX)
            .then(|| Sectors(get(word::RECOVERY_CP).into())),
        reshape: (get(word::MINOR) == MINOR_RESHAPE).then(|| reshape(words, big_endian)),
        recovery_offset: None,
        features: Vec::new(),
        device_number: get(this),
        roles: roles(words),
        marks: match state & DISK_WRITE_MOSTLY {
            0 => Vec::new(),
            _ => vec!["write-mostly"],
        },
        data_size: None,
        ppl: None,
        bad_block_log: None,
        corrected_reads: 0,
    }
}

/// What the descriptor at `word` says of its device.
fn role(words: &Words, word: usize) -> Role {
    match words.get(word + 4) {
        s if s & DISK_FAULTY != 0 => Role::Faulty,
        s if s & DISK_ACTIVE != 0 => Role::Slot(words.get(word + 3)),
        _ => Role::Spare,
    }
}

/// The devices, without those that were removed and descriptors never used.
fn roles(words: &Words) -> Vec<DeviceRole> {
    let places = (0..MOST_DISKS).map(|i| word::DISKS + i * DISK_WORDS);
    let used = places.filter(|at| {
        let empty = (0..5).all(|i| words.get(at + i) == 0);
        !empty && words.get(at + 4) & DISK_REMOVED == 0
    });
    used.map(|at| DeviceRole {
        number: words.get(at),
        role: role(words, at),
        major_minor: Some((words.get(at + 1), words.get(at + 2))),
    })
    .collect()
}

fn reshape(words: &Words, big_endian: bool) -> Reshape {
    let delta_disks = words.get(word::DELTA_DISKS).cast_signed();
    Reshape {
        position: Sectors(words.wide(word::RESHAPE_POSITION, big_endian)),
        new_level: words.get(word::NEW_LEVEL).cast_signed(),
        new_layout: words.get(word::NEW_LAYOUT),
        new_chunk: Sectors(u64::from(words.get(word::NEW_CHUNK)) / SECTOR),
        delta_disks,
        backwards: delta_disks < 0,
        new_data_offset: None,
    }
}
