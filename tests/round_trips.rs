//! Structures written by their published layouts, with any value that a field can hold, and read again.
//!
//! The drills' disks have few values of each field: low numbers, one byte order, both copies alike. Here the offsets
//! stand a second time, as the sources name them, so that a field read at the wrong place, width or order shows. And
//! no single flipped bit may leave a checksum that holds: a damaged superblock that passes for a sound one is believed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use crc::{CRC_32_ISO_HDLC, Crc};
use disinter::disk::{Table, partitions};
use disinter::image::{ImageSpec, Memory, Part};
use disinter::layout::{ArrayEntry, BadBlocks, ImageEntry, Layout, PartitionEntry, VgEntry};
use disinter::lvm::{self, label::Label, mda::Header};
use disinter::md::superblock::{Role, Superblock, Version};
use disinter::parse::{Checksum, Parsed};
use disinter::script::quote::Script;
use disinter::units::{Bytes, Extent, Sectors, merge};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

fn put(bytes: &mut [u8], at: usize, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// md's sum over little-endian words, the checksum's own counted as zero, an odd half word at the end.
fn md_sum(bytes: &[u8], checksum_at: usize) -> u32 {
    let mut bytes = bytes.to_vec();
    bytes[checksum_at..checksum_at + 4].fill(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let sum: u64 = (0..bytes.len())
        .step_by(4)
        .map(|at| u64::from(u32_at(&bytes, at)))
        .sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

const MEMBER: usize = 256 << 10;

/// A member with a superblock of this version where it belongs.
fn member(version: Version, superblock: &[u8]) -> Memory {
    let mut bytes = vec![0; MEMBER];
    let at = version.place(Bytes(MEMBER as u64)).unwrap().0 as usize;
    put(&mut bytes, at, superblock);
    Memory::new("member", bytes)
}

fn is_sound(read: &Parsed<Superblock>) -> bool {
    read.as_ref().is_ok_and(|s| s.checksum == Checksum::Ok)
}

fn role_1(number: u16) -> Role {
    match number {
        0xffff => Role::Spare,
        0xfffe => Role::Faulty,
        0xfffd => Role::Journal,
        slot => Role::Slot(slot.into()),
    }
}

/// `include/uapi/linux/raid/md_p.h`, `struct mdp_superblock_1`.
fn md_1(mut raw: Vec<u8>, roles: &[u16], number: u32, version: Version) -> Vec<u8> {
    let at = version.place(Bytes(MEMBER as u64)).unwrap().0 / 512;
    put(&mut raw, 0, [0xfc, 0x4e, 0x2b, 0xa9]);
    put(&mut raw, 4, 1_u32.to_le_bytes());
    put(&mut raw, 144, at.to_le_bytes());
    put(&mut raw, 160, number.to_le_bytes());
    put(&mut raw, 220, (roles.len() as u32).to_le_bytes());
    raw[92] |= 1;
    for role in roles {
        raw.extend(role.to_le_bytes());
    }
    let sum = md_sum(&raw, 216);
    put(&mut raw, 216, sum.to_le_bytes());
    raw
}

proptest! {
    #[test]
    fn md_superblocks_of_version_1(
        raw in vec(any::<u8>(), 256),
        roles in vec(prop_oneof![0_u16..8, select(vec![0xffff, 0xfffe, 0xfffd])], 1..384),
        own in any::<Index>(),
        version in select(vec![Version::V10, Version::V11, Version::V12]),
        delta in option::of(-2_i32..=2),
        raid0 in any::<bool>(),
        bit in any::<Index>(),
    ) {
        let own = own.index(roles.len());
        let mut raw = raw;
        if let Some(delta) = delta {
            put(&mut raw, 112, delta.to_le_bytes());
        }
        if raid0 {
            put(&mut raw, 72, [0; 4]);
        }
        let mut raw = md_1(raw, &roles, own as u32, version);
        let read = Superblock::read(&member(version, &raw), version).unwrap();
        prop_assert_eq!(read.checksum, Checksum::Ok);
        prop_assert_eq!(read.events, u64_at(&raw, 200));
        prop_assert_eq!(read.created, u64_at(&raw, 64) & ((1 << 40) - 1));
        prop_assert_eq!(read.updated, u64_at(&raw, 192) & ((1 << 40) - 1));
        prop_assert_eq!(read.level, u32_at(&raw, 72) as i32);
        // A raid0 has one only where the kernel says that it is one.
        let has_layout = u32_at(&raw, 72) != 0 || u32_at(&raw, 8) & 4096 != 0;
        prop_assert_eq!(read.layout, if has_layout { u32_at(&raw, 76) } else { 0 });
        prop_assert_eq!(read.member_size, Sectors(u64_at(&raw, 80)));
        prop_assert_eq!(read.chunk, Sectors(u32_at(&raw, 88).into()));
        prop_assert_eq!(read.raid_disks, u32_at(&raw, 92));
        prop_assert_eq!(read.data_offset, Sectors(u64_at(&raw, 128)));
        prop_assert_eq!(read.data_size, Some(Sectors(u64_at(&raw, 136))));
        prop_assert_eq!(read.corrected_reads, u32_at(&raw, 164));
        prop_assert_eq!(read.device_number, own as u32);
        prop_assert_eq!(read.role, role_1(roles[own]));
        let features = u32_at(&raw, 8);
        prop_assert_eq!(read.bitmap_offset, (features & 1 != 0).then(|| u32_at(&raw, 96) as i32));
        prop_assert_eq!(read.reshaping, features & 4 != 0);
        if let Some(reshape) = &read.reshape {
            prop_assert_eq!(reshape.new_level, u32_at(&raw, 100) as i32);
            prop_assert_eq!(reshape.position, Sectors(u64_at(&raw, 104)));
            prop_assert_eq!(reshape.delta_disks, u32_at(&raw, 112) as i32);
            prop_assert_eq!(reshape.new_layout, u32_at(&raw, 116));
            prop_assert_eq!(reshape.new_chunk, Sectors(u32_at(&raw, 120).into()));
            // As the kernel's super_1_validate.
            let delta = u32_at(&raw, 112) as i32;
            prop_assert_eq!(reshape.backwards, delta < 0 || delta == 0 && features & 32 != 0);
        }
        let groups: Vec<String> = raw[16..32].chunks(4).map(hex::encode).collect();
        prop_assert_eq!(read.array_uuid, groups.join(":"));
        for (row, role) in roles.iter().enumerate().filter(|(_, role)| **role != 0xffff) {
            let told = read.roles.iter().find(|r| r.number == row as u32);
            prop_assert_eq!(told.map(|r| r.role), Some(role_1(*role)));
        }
        let bits = raw.len() * 8;
        flip(&mut raw, bit.index(bits));
        prop_assert!(!is_sound(&Superblock::read(&member(version, &raw), version)));
    }

    /// `md_p.h`, `mdp_super_t`: words, in the order of the machine that wrote them.
    #[test]
    fn md_superblocks_of_version_0_90(
        words in vec(any::<u32>(), 1024),
        reshaping in any::<bool>(),
        big_endian in any::<bool>(),
        raid0 in any::<bool>(),
        bit in any::<Index>(),
    ) {
        let mut words = words;
        if raid0 {
            words[7] = 0;
        }
        (words[0], words[1], words[2]) = (0xa92b_4efc, 0, if reshaping { 91 } else { 90 });
        words[38] = 0;
        let sum: u64 = words.iter().map(|w| u64::from(*w)).sum();
        words[38] = (sum as u32).wrapping_add((sum >> 32) as u32);
        let mut raw: Vec<u8> = words
            .iter()
            .flat_map(|w| if big_endian { w.to_be_bytes() } else { w.to_le_bytes() })
            .collect();
        let read = Superblock::read(&member(Version::V090, &raw), Version::V090).unwrap();
        prop_assert_eq!((read.checksum, read.big_endian), (Checksum::Ok, big_endian));
        // The halves of a 64-bit number swap with the order, too.
        let wide = |at: usize| match big_endian {
            true => u64::from(words[at]) << 32 | u64::from(words[at + 1]),
            false => u64::from(words[at + 1]) << 32 | u64::from(words[at]),
        };
        prop_assert_eq!(read.events, wide(39));
        prop_assert_eq!(read.created, u64::from(words[6]));
        prop_assert_eq!(read.level, words[7] as i32);
        prop_assert_eq!(read.member_size, Sectors(u64::from(words[8]) * 2));
        prop_assert_eq!(read.raid_disks, words[10]);
        prop_assert_eq!(read.updated, u64::from(words[32]));
        prop_assert_eq!(read.layout, if words[7] == 0 { 0 } else { words[64] });
        prop_assert_eq!(read.chunk, Sectors(u64::from(words[65]) / 512));
        prop_assert_eq!(read.device_number, words[992]);
        let uuid = [5, 13, 14, 15].map(|i| format!("{:08x}", words[i])).join(":");
        prop_assert_eq!(read.array_uuid, uuid);
        prop_assert_eq!(read.reshape.is_some(), reshaping);
        if let Some(reshape) = read.reshape {
            prop_assert_eq!(reshape.position, Sectors(wide(44)));
            prop_assert_eq!(reshape.new_level, words[46] as i32);
            prop_assert_eq!(reshape.delta_disks, words[47] as i32);
            prop_assert_eq!(reshape.new_layout, words[48]);
        }
        flip(&mut raw, bit.index(4096 * 8));
        prop_assert!(!is_sound(&Superblock::read(&member(Version::V090, &raw), Version::V090)));
    }

    /// lvm2 `lib/label/label.h`, `lib/format_text/layout.h`.
    #[test]
    fn labels_of_physical_volumes(
        id in "[0-9A-Za-z!#]{32}",
        sector in 0_u64..4,
        size in any::<u64>(),
        data in vec((1..u64::MAX, any::<u64>()), 0..4),
        areas in vec((1..u64::MAX, any::<u64>()), 0..4),
        bit in 16 * 8..512 * 8_usize,
    ) {
        let mut raw = vec![0; 512];
        put(&mut raw, 0, b"LABELONE");
        put(&mut raw, 8, sector.to_le_bytes());
        put(&mut raw, 20, 32_u32.to_le_bytes());
        put(&mut raw, 24, b"LVM2 001");
        put(&mut raw, 32, &id);
        put(&mut raw, 64, size.to_le_bytes());
        let mut at = 72;
        for list in [&data, &areas] {
            for (offset, length) in list {
                put(&mut raw, at, offset.to_le_bytes());
                put(&mut raw, at + 8, length.to_le_bytes());
                at += 16;
            }
            at += 16;
        }
        let sum = lvm::crc(&raw[20..]);
        put(&mut raw, 16, sum.to_le_bytes());
        let place = sector as usize * 512;
        let disk = |raw: &[u8]| {
            let mut bytes = vec![0; 4096];
            put(&mut bytes, place, raw);
            Memory::new("pv", bytes)
        };
        let read = Label::read(&disk(&raw), Bytes(place as u64)).unwrap();
        let extents = |list: &[(u64, u64)]| -> Vec<Extent> {
            list.iter().map(|(o, l)| Extent::new(Bytes(*o), Bytes(*l))).collect()
        };
        prop_assert_eq!(read.checksum, Checksum::Ok);
        prop_assert_eq!(read.pv_uuid.replace('-', ""), id);
        prop_assert_eq!(read.pv_start(), Some(Bytes::ZERO));
        prop_assert_eq!(read.device_size, Bytes(size));
        prop_assert_eq!(read.data_areas, extents(&data));
        prop_assert_eq!(read.metadata_areas, extents(&areas));
        flip(&mut raw, bit);
        let damaged = Label::read(&disk(&raw), Bytes(place as u64));
        prop_assert!(damaged.is_err() || damaged.is_ok_and(|l| l.checksum == Checksum::Bad));
    }

    /// lvm2 `lib/format_text/layout.h`, `struct mda_header`.
    #[test]
    fn headers_of_metadata_areas(
        start in any::<u64>(),
        size in any::<u64>(),
        committed in option::of((1..u64::MAX, any::<u64>(), any::<u32>(), any::<bool>())),
        precommitted in option::of((1..u64::MAX, any::<u64>(), any::<u32>(), any::<bool>())),
        bit in 0..512 * 8_usize,
    ) {
        let mut raw = vec![0; 512];
        put(&mut raw, 4, b" LVM2 x[5A%r0N*>");
        put(&mut raw, 20, 1_u32.to_le_bytes());
        put(&mut raw, 24, start.to_le_bytes());
        put(&mut raw, 32, size.to_le_bytes());
        for (location, at) in [(committed, 40), (precommitted, 64)] {
            if let Some((offset, length, crc, ignored)) = location {
                put(&mut raw, at, offset.to_le_bytes());
                put(&mut raw, at + 8, length.to_le_bytes());
                put(&mut raw, at + 16, crc.to_le_bytes());
                put(&mut raw, at + 20, u32::from(ignored).to_le_bytes());
            }
        }
        let sum = lvm::crc(&raw[4..]);
        put(&mut raw, 0, sum.to_le_bytes());
        let read = Header::read(&Memory::new("mda", raw.clone()), Bytes::ZERO).unwrap();
        prop_assert_eq!(read.checksum, Checksum::Ok);
        prop_assert_eq!((read.start, read.size), (Bytes(start), Bytes(size)));
        let told: Vec<_> = read
            .locations
            .iter()
            .map(|l| (l.precommitted, (l.offset.0, l.size.0, l.checksum, l.ignored)))
            .collect();
        let meant = [(false, committed), (true, precommitted)];
        let meant: Vec<_> = meant.into_iter().filter_map(|(p, l)| Some((p, l?))).collect();
        prop_assert_eq!(told, meant);
        flip(&mut raw, bit);
        let damaged = Header::read(&Memory::new("mda", raw), Bytes::ZERO);
        prop_assert!(damaged.is_err() || damaged.is_ok_and(|h| h.checksum == Checksum::Bad));
    }
}

/// A partition for a GPT: entry, first sector, sectors, name.
type Row = (u32, u64, u64, String);

const SECTORS: u64 = 512;

/// UEFI 2.10, 5.3: both copies, on a disk of 512 sectors.
fn gpt(rows: &[Row], guids: &[[u8; 16]], sector: usize) -> Vec<u8> {
    let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    let mut disk = vec![0; SECTORS as usize * sector];
    let mut array = vec![0; 128 * 128];
    for ((number, first, length, name), guid) in rows.iter().zip(guids) {
        let at = (*number as usize - 1) * 128;
        put(&mut array, at, [0x5a; 16]);
        put(&mut array, at + 16, guid);
        put(&mut array, at + 32, first.to_le_bytes());
        put(&mut array, at + 40, (first + length - 1).to_le_bytes());
        for (i, unit) in name.encode_utf16().take(36).enumerate() {
            put(&mut array, at + 56 + 2 * i, unit.to_le_bytes());
        }
    }
    let array_sectors = (array.len() / sector) as u64;
    let last = SECTORS - 1;
    for (own, other, array_at) in [(1, last, 2), (last, 1, last - array_sectors)] {
        let mut header = vec![0; 92];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, 0x1_0000_u32.to_le_bytes());
        put(&mut header, 12, 92_u32.to_le_bytes());
        put(&mut header, 24, own.to_le_bytes());
        put(&mut header, 32, other.to_le_bytes());
        put(&mut header, 40, (2 + array_sectors).to_le_bytes());
        put(&mut header, 48, (last - array_sectors - 1).to_le_bytes());
        put(&mut header, 56, [0xd1; 16]);
        put(&mut header, 72, array_at.to_le_bytes());
        put(&mut header, 80, 128_u32.to_le_bytes());
        put(&mut header, 84, 128_u32.to_le_bytes());
        put(&mut header, 88, crc.checksum(&array).to_le_bytes());
        let sum = crc.checksum(&header);
        put(&mut header, 16, sum.to_le_bytes());
        put(&mut disk, own as usize * sector, &header);
        put(&mut disk, array_at as usize * sector, &array);
    }
    // The protective entry of a DOS table.
    disk[450] = 0xee;
    put(&mut disk, 454, 1_u32.to_le_bytes());
    put(&mut disk, 458, (last as u32).to_le_bytes());
    put(&mut disk, 510, [0x55, 0xaa]);
    disk
}

/// Partitions in any of the 128 entries, one behind the other with gaps between.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let numbers = subsequence((1..=128_u32).collect::<Vec<_>>(), 0..8).prop_shuffle();
    let shapes = vec((0_u64..4, 1_u64..40, "\\PC{0,18}"), 8);
    (numbers, shapes).prop_map(|(numbers, shapes)| {
        let mut at = 64;
        let mut row = |(number, (gap, length, name)): (u32, (u64, u64, String))| {
            let first = at + gap;
            at = first + length;
            (number, first, length, name)
        };
        numbers.into_iter().zip(shapes).map(&mut row).collect()
    })
}

fn told(table: &Table, sector: u64) -> Vec<(u32, u64, u64, String)> {
    let row = |p: &disinter::disk::Partition| {
        let (first, length) = (p.extent.offset.0 / sector, p.extent.length.0 / sector);
        (p.number, first, length, p.name.clone().unwrap_or_default())
    };
    let mut rows: Vec<_> = table.partitions.iter().map(row).collect();
    rows.sort();
    rows
}

proptest! {
    /// Both copies of a table say the same; either alone is enough.
    #[test]
    fn guid_partition_tables(
        rows in rows(),
        guids in vec(any::<[u8; 16]>(), 8),
        sector in select(vec![512_usize, 4096]),
        damaged in 0..3_usize,
    ) {
        let mut disk = gpt(&rows, &guids, sector);
        let from_end = disk.len() - 40 * sector.max(512);
        match damaged {
            0 => {}
            // What `dd` over the front, or a cut image's missing end, leaves.
            1 => disk[512..34 * 512].fill(0xff),
            _ => disk[from_end..].fill(0),
        }
        let table = partitions(&Memory::new("disk", disk)).unwrap();
        prop_assert_eq!(table.sector_size as usize, sector);
        prop_assert_eq!(table.checksum, Checksum::Ok);
        prop_assert_eq!(table.warnings.is_empty(), damaged == 0);
        let mut meant: Vec<_> = rows
            .into_iter()
            .map(|(n, first, length, name)| (n, first, length, disinter::parse::printable(name.as_bytes())))
            .collect();
        meant.sort();
        prop_assert_eq!(told(&table, sector as u64), meant);
    }
}

/// Any bytes that TOML's integers hold: 63 bits, as the kernel's own offsets.
fn bytes() -> impl Strategy<Value = Bytes> {
    (0..=i64::MAX as u64).prop_map(Bytes)
}

fn extent() -> impl Strategy<Value = Extent> {
    (bytes(), bytes()).prop_map(|(offset, length)| Extent::new(offset, length))
}

fn image() -> impl Strategy<Value = ImageEntry> {
    let partition =
        (any::<u32>(), bytes(), bytes()).prop_map(|(number, offset, length)| PartitionEntry {
            number,
            offset,
            length,
        });
    let partitions = vec(partition, 0..4);
    (
        "\\PC*",
        "\\PC*",
        bytes(),
        option::of("\\PC*"),
        option::of(extent()),
        partitions,
        vec(any::<String>(), 0..3),
    )
        .prop_map(
            |(name, path, size, map, part, partitions, known_by)| ImageEntry {
                name,
                path: path.into(),
                size,
                map: map.map(Into::into),
                part,
                partitions,
                known_by,
            },
        )
}

fn array() -> impl Strategy<Value = ArrayEntry> {
    let names = (
        any::<String>(),
        "\\PC*",
        option::of("\\PC*"),
        option::of("\\PC*"),
    );
    let numbers = (
        option::of(0..1_u64 << 40),
        0..1_u64 << 50,
        vec(0..1_u64 << 50, 0..4),
        bytes(),
        vec(bytes(), 0..3),
    );
    let members = (vec(any::<String>(), 0..5), vec("\\PC*", 0..3));
    let bad = vec((any::<String>(), bytes(), bytes()), 0..3);
    (names, numbers, members, bad).prop_map(|(names, numbers, members, bad)| ArrayEntry {
        name: names.0,
        level: names.1,
        layout: names.2,
        metadata: names.3,
        chunk_kib: numbers.0,
        data_offset_sectors: numbers.1,
        data_offsets_sectors: numbers.2,
        member_bytes: numbers.3,
        members_bytes: numbers.4,
        members: members.0,
        half: members.1,
        bad_blocks: bad
            .into_iter()
            .map(|(member, offset, length)| BadBlocks {
                member,
                offset,
                length,
            })
            .collect(),
        reshape: None,
    })
}

proptest! {
    /// A layout is written by one command, edited, and opened by the next: a name of a group may hold anything.
    #[test]
    fn layouts(
        images in vec(image(), 0..3),
        arrays in vec(array(), 0..3),
        vgs in vec((any::<String>(), "\\PC*", btree_map("\\PC*", any::<String>(), 0..3)), 0..3),
    ) {
        let vg = |(name, text, pvs): (String, String, _)| VgEntry { name, text: text.into(), pvs };
        let layout = Layout { images, arrays, vgs: vgs.into_iter().map(vg).collect() };
        let text = toml::to_string_pretty(&layout).unwrap();
        prop_assert_eq!(toml::from_str::<Layout>(&text).unwrap(), layout, "{}", text);
    }

    #[test]
    fn images_and_their_parts(path in "[^\0@]{1,20}", number in any::<u32>(), offset in any::<u64>(), length in any::<u64>()) {
        let of = |text: String| text.parse::<ImageSpec>().unwrap();
        let spec = |part| ImageSpec { path: path.clone().into(), part };
        prop_assert_eq!(of(path.clone()), spec(Part::Whole));
        prop_assert_eq!(of(format!("{path}@{number}")), spec(Part::Partition(number)));
        let extent = Extent::new(Bytes(offset), Bytes(length));
        prop_assert_eq!(of(format!("{path}@{offset}+{length}")), spec(Part::Extent(extent)));
    }

    /// As sets of numbers.
    #[test]
    fn merged_extents(extents in vec((0..64_u64, 0..12_u64), 0..20)) {
        let of = |extents: &[Extent]| -> Vec<u64> {
            (0..80).filter(|n| extents.iter().any(|e| e.offset.0 <= *n && *n < e.end().0)).collect()
        };
        let extents: Vec<Extent> = extents.into_iter().map(|(o, l)| Extent::new(Bytes(o), Bytes(l))).collect();
        let merged = merge(extents.clone());
        prop_assert_eq!(of(&merged), of(&extents));
        prop_assert!(merged.windows(2).all(|pair| pair[0].end() < pair[1].offset));
        prop_assert!(merged.iter().all(|e| !e.is_empty()));
    }
}

proptest! {
    // A shell a case.
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// What a real shell makes of quoted values: each of them, to the byte, and nothing run.
    #[test]
    fn values_in_scripts(values in vec("[^\\p{Cc}]{0,30}", 1..60), first in "[-~!#$&*(){}\\[\\]|;'\"<>?`\\\\ =%]{0,12}") {
        let values = [vec![first], values].concat();
        let script = Script::new().text("printf '%s\\0'").each(&values, |script, value| script.text(" ").value(value));
        let out = std::process::Command::new("bash").arg("-c").arg(script.finish().unwrap()).output().unwrap();
        let told: Vec<&[u8]> = out.stdout.split(|b| *b == 0).collect();
        let meant: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).chain([&b""[..]]).collect();
        prop_assert_eq!(told, meant);
        prop_assert!(out.stderr.is_empty());
    }
}
