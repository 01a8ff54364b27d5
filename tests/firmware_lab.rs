//! DDF and IMSM as mdadm writes them, and the kernel as the judge of order, place and bytes.
//!
//! As tests/lab.rs these need the lab's packages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blanks, boot, disinter, json, lab};
use disinter::image::{Memory, SharedSource, Source};
use disinter::md::array::{Array, ArrayMember};
use disinter::md::geometry::Geometry;
use disinter::md::level::Level;
use disinter::units::{Bytes, Sectors};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// DDF keeps 32 MiB at the end of each disk to itself.
const DISK: u64 = 44 << 20;

/// Name, metadata, level and number of disks. DDF's raid10 is two records of a raid1 each.
const SETS: [(&str, &str, &str, usize); 8] = [
    ("ddf-mirror", "ddf", "1", 2),
    ("ddf-five", "ddf", "5", 3),
    ("ddf-six", "ddf", "6", 4),
    ("ddf-ten", "ddf", "10", 4),
    ("imsm-stripes", "imsm", "0", 3),
    ("imsm-mirror", "imsm", "1", 2),
    ("imsm-five", "imsm", "5", 3),
    ("imsm-ten", "imsm", "10", 4),
];

/// What the kernel says of a volume.
struct Truth {
    level: String,
    layout: u32,
    chunk: u64,
    /// For each slot the number of its disk, and the sector where the data starts there.
    slots: Vec<(usize, u64)>,
}

fn truth(share: &Path, set: &str, volume: usize) -> Truth {
    let text = fs::read_to_string(share.join(format!("{set}.vol{volume}"))).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let slot = |line: &&str| {
        let (disk, start) = line.split_once(' ').unwrap();
        let letter = disk.as_bytes()[3] - b'a';
        (usize::from(letter), start.parse().unwrap())
    };
    Truth {
        level: lines[0].to_owned(),
        layout: lines[1].parse().unwrap(),
        chunk: lines[2].parse().unwrap(),
        slots: lines[3..].iter().map(slot).collect(),
    }
}

/// Which disk of the set an id in the metadata is, by what mdadm says of each.
fn disk_of(share: &Path, set: &str, disks: usize, id: &str) -> usize {
    let is = |number: &usize| {
        let said = fs::read_to_string(share.join(format!("{set}.{number}.examine"))).unwrap();
        let device = format!("/dev/ubd{}", ["a", "b", "c", "d"][*number]);
        // IMSM's serial is the device here; DDF's list names the device that was asked about beside its reference.
        id == device
            || said
                .lines()
                .any(|line| line.contains(id) && line.contains(&device))
    };
    let found: Vec<usize> = (0..disks).filter(is).collect();
    assert_eq!(found.len(), 1, "{set}: {id}");
    found[0]
}

/// Our answer's slots as the kernel's are told.
fn slots(share: &Path, set: &str, disks: usize, volume: &Value) -> Vec<(usize, u64)> {
    let slots = volume["slots"].as_array().unwrap().iter();
    let slot = |slot: &Value| {
        let id = slot[0].as_str().unwrap();
        (disk_of(share, set, disks, id), slot[1].as_u64().unwrap())
    };
    slots.map(slot).collect()
}

/// The bytes of a volume, put together by what our answer says of it.
fn bytes(share: &Path, set: &str, volume: &Value, slots: &[(usize, u64)], size: usize) -> Vec<u8> {
    let level: Level = volume["level"].as_str().unwrap().parse().unwrap();
    let chunk = Sectors(volume["chunk"].as_u64().unwrap());
    let columns = match level {
        Level::Raid1 => 1,
        Level::Raid10 => slots.len() / 2,
        _ => slots.len() - level.parities(),
    };
    let member = Bytes((size / columns) as u64);
    let layout = volume["layout"].as_str();
    let geometry = Geometry::new(level, layout, slots.len(), chunk, member).unwrap();
    let members = slots.iter().map(|(disk, start)| {
        let name = format!("{set}.{disk}");
        let source: SharedSource = Arc::new(Memory::new(
            name.clone(),
            fs::read(share.join(name)).unwrap(),
        ));
        Some(ArrayMember {
            source,
            data_offset: Sectors(*start).into(),
            reserve: false,
        })
    });
    let array = Array::new(set, geometry, members.collect());
    let mut read = vec![0; size];
    assert!(array.read_at(Bytes::ZERO, &mut read).is_none(), "{set}");
    read
}

/// Order, place, level and layout of every volume, and its bytes by them. A reference that is not known for the disk's own
/// leaves the order to be guessed; a start counted from elsewhere reads another volume.
#[test]
fn the_kernel_agrees_on_firmware_raid() {
    let Some(_lab) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    let lines = SETS.map(|(set, kind, level, n)| format!("{set} {kind} {level} {n}\n"));
    fs::write(share.join("sets"), lines.concat()).unwrap();
    boot(
        &share,
        "firmware.guest.sh",
        &[],
        &blanks(folder.path(), 0..4, DISK),
    );
    for (set, kind, _, disks) in SETS {
        let images = (0..disks).map(|n| share.join(format!("{set}.{n}")));
        let found = json(disinter().args(["md", "examine"]).args(images), 0);
        let firmware = found["firmware"].as_array().unwrap();
        assert_eq!(firmware.len(), disks, "{set}: {found:#}");
        for (number, on_disk) in firmware.iter().enumerate() {
            assert_eq!(on_disk["checksum"], "ok", "{set}");
            match on_disk["own"].as_str() {
                Some(own) => assert_eq!(disk_of(&share, set, disks, own), number, "{set}"),
                None => assert_eq!(kind, "imsm"),
            }
        }
        for number in 0..2 {
            let truth = truth(&share, set, number);
            // Parts of a volume of volumes stand on the disks of each part.
            let parts: Vec<&Value> = match set {
                "ddf-ten" => [0, 1].map(|part| part_of(firmware, number, part)).to_vec(),
                _ => vec![volume_of(&firmware[0], number).unwrap()],
            };
            let ours: Vec<(usize, u64)> = parts
                .iter()
                .flat_map(|part| slots(&share, set, disks, part))
                .collect();
            assert_eq!(ours, truth.slots, "{set}, volume {number}: {found:#}");
            let volume = parts[0];
            if set != "ddf-ten" {
                assert_eq!(volume["level"], *truth.level, "{set}: {found:#}");
                let level: Level = truth.level.parse().unwrap();
                let layout = disinter::md::level::layout_name(level, truth.layout);
                assert_eq!(volume["layout"].as_str(), layout.as_deref(), "{set}");
                let array = fs::read(share.join(format!("{set}.vol{number}.img"))).unwrap();
                assert_eq!(
                    volume["size"].as_u64().unwrap() * 512,
                    array.len() as u64,
                    "{set}"
                );
                assert!(
                    bytes(&share, set, volume, &ours, array.len()) == array,
                    "{set}, volume {number}: other bytes"
                );
            }
            if truth.level != "raid1" {
                assert_eq!(
                    volume["chunk"].as_u64().unwrap() * 512,
                    truth.chunk,
                    "{set}"
                );
            }
        }
    }
}

/// A volume on a disk by its number, which mdadm gives as its name.
fn volume_of(on_disk: &Value, number: usize) -> Option<&Value> {
    let mut volumes = on_disk["volumes"].as_array()?.iter();
    volumes.find(|volume| volume["name"] == *number.to_string())
}

/// The record of one part of a volume of volumes, from a disk that has it.
fn part_of(firmware: &[Value], number: usize, part: usize) -> &Value {
    let says = format!("part {part} of 2");
    let records = firmware
        .iter()
        .filter_map(|on_disk| volume_of(on_disk, number));
    let mut those = records.filter(|record| record["state"].as_str().unwrap().contains(&says));
    those.next().unwrap_or_else(|| panic!("{firmware:#?}"))
}
