//! What superblocks say of members: who is behind, being filled, or used without the others, and what is done with it.
//!
//! The superblocks are written here by their published layout, so that each says just one thing that others do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{disinter, json, noise, strings};
use disinter::image::{Memory, SharedSource};
use disinter::investigate::newer::newer;
use disinter::units::Bytes;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes before the data, and of the data.
const FRONT: usize = 1 << 20;
const DATA: usize = 8 << 20;
const CHUNK: usize = 64 << 10;

const RECOVERY: u32 = 2;
const BAD_BLOCKS: u32 = 8;
const RECOVERY_BITMAP: u32 = 128;

/// One member's superblock 1.2: see `md_p.h`, `struct mdp_superblock_1`.
#[derive(Clone)]
struct Sb {
    level: u32,
    layout: u32,
    slots: u32,
    /// The slot; the device's number is the place of `roles` that this member's own is.
    number: u32,
    roles: Vec<u16>,
    events: u64,
    features: u32,
    recovery: u64,
    resync: u64,
}

impl Sb {
    fn of(level: u32, layout: u32, number: u32, roles: &[u16], slots: u32) -> Sb {
        Sb {
            level,
            layout,
            slots,
            number,
            roles: roles.to_vec(),
            events: 500,
            features: 0,
            recovery: 0,
            resync: u64::MAX,
        }
    }

    /// Filled up to such a share of its data.
    fn filled(mut self, percent: u64) -> Sb {
        self.features |= RECOVERY;
        self.recovery = (DATA as u64 * percent / 100) >> 9;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut raw = vec![0; 256];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xfc, 0x4e, 0x2b, 0xa9, 1]);
        put(8, &self.features.to_le_bytes());
        put(16, &[0x77; 16]);
        put(64, &1_500_000_000_u64.to_le_bytes());
        put(72, &self.level.to_le_bytes());
        put(76, &self.layout.to_le_bytes());
        put(80, &(DATA as u64 >> 9).to_le_bytes());
        let chunk = if self.level == 1 {
            0
        } else {
            CHUNK as u32 >> 9
        };
        put(88, &chunk.to_le_bytes());
        put(92, &self.slots.to_le_bytes());
        put(128, &(FRONT as u64 >> 9).to_le_bytes());
        put(136, &(DATA as u64 >> 9).to_le_bytes());
        put(144, &8_u64.to_le_bytes());
        put(152, &self.recovery.to_le_bytes());
        put(160, &self.number.to_le_bytes());
        put(168, &[self.number as u8 + 1; 16]);
        // As on every new array: room for a log of bad blocks, 8 sectors, 16 behind the superblock.
        put(184, &[0, 0, 8, 0, 16]);
        // In use for years.
        put(192, &1_600_000_000_u64.to_le_bytes());
        put(200, &self.events.to_le_bytes());
        put(208, &self.resync.to_le_bytes());
        put(220, &(self.roles.len() as u32).to_le_bytes());
        for role in &self.roles {
            raw.extend(role.to_le_bytes());
        }
        raw.resize(raw.len().next_multiple_of(4), 0);
        let words = raw
            .chunks(4)
            .map(|w| u32::from_le_bytes(w.try_into().unwrap()));
        let sum: u64 = words.map(u64::from).sum();
        let sum = (sum as u32).wrapping_add((sum >> 32) as u32);
        raw[216..220].copy_from_slice(&sum.to_le_bytes());
        raw
    }

    /// A member with this superblock before its data.
    fn member(&self, data: &[u8]) -> Vec<u8> {
        let mut member = vec![0; FRONT];
        let raw = self.bytes();
        member[4096..4096 + raw.len()].copy_from_slice(&raw);
        member.extend(data);
        member
    }
}

/// Data of a raid5 of three, parity on the last: noise, and its sum.
fn raid5() -> Vec<Vec<u8>> {
    let (a, b) = (noise(1, DATA), noise(2, DATA));
    let sum = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    vec![a, b, sum]
}

/// As far as a rebuild came what was, and behind that something else.
fn half_filled(data: &[u8], percent: usize) -> Vec<u8> {
    let done = data.len() * percent / 100 / 4096 * 4096;
    [&data[..done], &noise(99, data.len() - done)].concat()
}

fn write(folder: &Path, members: &[Vec<u8>]) -> Vec<PathBuf> {
    let write = |(i, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(format!("m{i}.img"));
        fs::write(&path, bytes).unwrap();
        path
    };
    members.iter().enumerate().map(write).collect()
}

fn guess(members: &[Vec<u8>], status: i32) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path(), members);
    let document = json(disinter().args(["md", "guess"]).args(images), status);
    document["arrays"][0].clone()
}

fn examine(members: &[Vec<u8>]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path(), members);
    json(disinter().args(["md", "examine"]).args(images), 0)
}

fn members(array: &Value) -> Vec<Option<&str>> {
    let members = array["members"].as_array().unwrap().iter();
    members.map(Value::as_str).collect()
}

/// Events are equal while a disk is filled: nothing else tells that its last part is not the array's.
#[test]
fn a_member_that_is_being_filled_is_left_out() {
    let data = raid5();
    let sb = |n| Sb::of(5, 5, n, &[0, 1, 2], 3);
    let whole = [sb(0).member(&data[0]), sb(1).member(&data[1])];
    let half = sb(2).filled(90).member(&half_filled(&data[2], 90));
    let array = guess(&[whole[0].clone(), whole[1].clone(), half.clone()], 0);
    assert_eq!(members(&array), [Some("m0"), Some("m1"), None], "{array:#}");
    assert_eq!(strings(&array["stale"]), ["m2"]);
    let says = strings(&array["evidence"]).join("\n");
    assert!(says.contains("m2 was being filled"), "{says}");

    // One more is lost: then the array does not come without it, and is not the whole truth with it.
    let array = guess(&[whole[1].clone(), half], 1);
    assert!(array["ambiguous"].as_bool().unwrap(), "{array:#}");
    let doubt = array["doubt"].as_str().unwrap();
    assert!(doubt.contains("m1 was being filled"), "{doubt}");
}

/// A disk that is being replaced and the new one have one slot, and all of it is on the old one.
#[test]
fn a_disk_that_is_being_replaced_has_its_slot() {
    let data = raid5();
    let sb = |n| Sb::of(5, 5, n, &[0, 1, 2, 2], 3);
    let mut all: Vec<Vec<u8>> = (0..3).map(|n| sb(n).member(&data[n as usize])).collect();
    let mut new = sb(3).filled(60);
    new.features |= 16;
    all.push(new.member(&half_filled(&data[2], 60)));
    let array = guess(&all, 0);
    let expected = ["m0", "m1", "m2"].map(Some);
    assert_eq!(members(&array), expected, "{array:#}");
    // Whichever is named first.
    all.swap(2, 3);
    let array = guess(&all, 0);
    assert_eq!(members(&array), ["m0", "m1", "m3"].map(Some), "{array:#}");
}

/// A disk that was replaced has its old slot in its superblock for ever: taken for a member, it made two arrays of one, each
/// of them sure.
#[test]
fn a_disk_that_was_replaced_has_no_slot() {
    let data = raid5();
    let sb = |n| Sb::of(5, 5, n, &[0xfffe, 1, 2, 0], 3);
    let mut old = Sb::of(5, 5, 0, &[0, 1, 2, 0], 3);
    old.events -= 2;
    let all = [
        old.member(&half_filled(&data[0], 60)),
        sb(1).member(&data[1]),
        sb(2).member(&data[2]),
        sb(3).member(&data[0]),
    ];
    let array = guess(&all, 0);
    assert_eq!(members(&array), ["m3", "m1", "m2"].map(Some), "{array:#}");
}

/// Superblocks that claim an order do not explain why its parity fails in a tenth of the rows.
#[test]
fn a_claim_explains_no_rows_that_fail() {
    let data = raid5();
    let sb = |n| Sb::of(5, 5, n, &[0, 1, 2], 3);
    let mut all: Vec<Vec<u8>> = (0..3).map(|n| sb(n).member(&data[n as usize])).collect();
    assert_eq!(guess(&all, 0)["ambiguous"], false);
    all[2] = sb(2).member(&half_filled(&data[2], 90));
    let array = guess(&all, 1);
    let doubt = array["doubt"].as_str().unwrap_or_default();
    assert!(doubt.contains("nothing tells which"), "{array:#}");
    // A resync that was not over is an explanation, and one that left earlier.
    let syncing = |n: u32, data: &[u8]| {
        let mut sb = sb(n);
        sb.resync = 1000;
        sb.member(data)
    };
    let third = half_filled(&data[2], 90);
    let unsynced = [
        syncing(0, &data[0]),
        syncing(1, &data[1]),
        syncing(2, &third),
    ];
    let array = guess(&unsynced, 0);
    assert_eq!(
        members(&array),
        [Some("m0"), Some("m1"), Some("m2")],
        "{array:#}"
    );
    let mut old = sb(2);
    old.events = 400;
    all[2] = old.member(&half_filled(&data[2], 90));
    let array = guess(&all, 0);
    assert_eq!(members(&array), [Some("m0"), Some("m1"), None], "{array:#}");
}

/// A new disk of a mirror counts as many events as the old one, and is not as good.
#[test]
fn a_new_mirror_is_behind() {
    let data = noise(7, DATA);
    let sb = |n| Sb::of(1, 0, n, &[0, 1], 2);
    let all = [
        sb(0).member(&data),
        sb(1).filled(60).member(&half_filled(&data, 60)),
    ];
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path(), &all);
    let out = disinter()
        .args(["md", "pairs", "--as-mirrors", "--json"])
        .args(&images)
        .output()
        .unwrap();
    let pairs: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(strings(&pairs["groups"][0]["behind"]), ["m1"], "{pairs:#}");

    let source = |name: &str, bytes: &Vec<u8>| -> (SharedSource, Bytes) {
        (
            Arc::new(Memory::new(name, bytes.clone())),
            Bytes(FRONT as u64),
        )
    };
    let lines = newer(&[source("m0", &all[0]), source("m1", &all[1])]);
    assert!(lines[0].starts_with("md events: m0 ahead"), "{lines:?}");
    assert!(lines[0].contains("being filled"), "{lines:?}");
}

/// With a bitmap only what the others wrote meanwhile is copied: what lies behind is mostly the array's.
#[test]
fn a_rebuild_by_the_bitmap_is_told_as_one() {
    let mut back = Sb::of(1, 0, 1, &[0, 1], 2).filled(10);
    let says = |sb: &Sb| {
        let found = examine(&[Sb::of(1, 0, 0, &[0, 1], 2).member(&[]), sb.member(&[])]);
        let member = &found["arrays"][0]["members"][1];
        assert_eq!(member["status"], "rebuilding");
        member["says"].as_str().unwrap().to_owned()
    };
    assert!(!says(&back).contains("bitmap"), "{}", says(&back));
    back.features |= RECOVERY_BITMAP;
    assert!(says(&back).contains("bitmap marks"), "{}", says(&back));
}

/// Every new member has room for a log of bad blocks, and nothing is written there: on a used disk it holds anything.
#[test]
fn a_log_that_was_never_written_lists_nothing() {
    let member = |features: u32| {
        let mut sb = Sb::of(1, 0, 0, &[0, 1], 2);
        sb.features = features;
        let mut member = sb.member(&[]);
        member[4096 + 16 * 512..][..4096].copy_from_slice(&noise(5, 4096));
        member
    };
    let found = examine(&[member(0)]);
    assert_eq!(
        found["superblocks"][0]["bad_blocks"],
        Value::Array(Vec::new())
    );
    assert!(strings(&found["arrays"][0]["notes"]).is_empty());
    let found = examine(&[member(BAD_BLOCKS)]);
    let notes = strings(&found["arrays"][0]["notes"]);
    assert!(notes[0].contains("bad extents"), "{notes:?}");
}

/// A mirror that was started from each of its disks by itself: either holds writes that the other lacks.
#[test]
fn a_split_array_is_no_whole_one() {
    let data = noise(7, DATA);
    let mut changed = data.clone();
    changed[CHUNK..CHUNK + 4096].copy_from_slice(&noise(8, 4096));
    let sb = |n, roles: &[u16]| Sb::of(1, 0, n, roles, 2);
    let (faulty, gone) = (0xfffe, 0xffff);
    let status = |all: &[Vec<u8>]| {
        let found = examine(all);
        let members = found["arrays"][0]["members"].as_array().unwrap();
        let of = members
            .iter()
            .map(|m| m["status"].as_str().unwrap().to_owned());
        let mut of: Vec<String> = of.collect();
        of.sort();
        (of, strings(&found["arrays"][0]["notes"]).join("\n"))
    };
    let both = |words: [&str; 2]| words.map(str::to_owned).to_vec();
    let split = [
        sb(0, &[0, gone]).member(&data),
        sb(1, &[faulty, 1]).member(&changed),
    ];
    let (of, notes) = status(&split);
    assert_eq!(of, both(["current", "split"]));
    assert!(notes.contains("SPLIT: "), "{notes}");
    let array = guess(&split, 1);
    let doubt = array["doubt"].as_str().unwrap_or_default();
    assert!(doubt.contains("without the other"), "{array:#}");

    // One table is enough, and equal tables are none, with a slot that is missing or without.
    let one = [
        sb(0, &[0, 1]).member(&data),
        sb(1, &[gone, 1]).member(&data),
    ];
    assert_eq!(status(&one).0, both(["current", "split"]));
    let alike = [sb(0, &[0, 1]).member(&data), sb(1, &[0, 1]).member(&data)];
    let (of, notes) = status(&alike);
    assert_eq!((of, notes.as_str()), (both(["current"; 2]), ""));
    let of_three = |n| Sb::of(1, 0, n, &[0, 1, gone], 3).member(&data);
    assert_eq!(status(&[of_three(0), of_three(1)]).0, both(["current"; 2]));
    // What was thrown out by the other's last event is behind.
    let mut old = sb(1, &[0, 1]);
    old.events -= 1;
    let thrown_out = [sb(0, &[0, gone]).member(&data), old.member(&data)];
    assert_eq!(status(&thrown_out).0, both(["behind", "current"]));
}

/// A volume group with one volume of one extent on the array.
const TEXT: &str = r#"# Generated by LVM2 version 2.03.16(2) (2022-05-18): Tue

contents = "Text Format Volume Group"
version = 1
description = "Write from lvcreate"
creation_host = "vm"
creation_time = 1500000000

store {
id = "NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
seqno = 3
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
max_lv = 0
max_pv = 0
metadata_copies = 0

physical_volumes {
pv0 {
id = "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"
device = "/dev/md0"
status = ["ALLOCATABLE"]
flags = []
dev_size = 16384
pe_start = 2048
pe_count = 1
}
}

logical_volumes {
data {
id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "striped"
stripe_count = 1
stripes = [
"pv0", 0
]
}
}
}
}
"#;

/// What mdadm would start by its superblocks, and what not: half of a mirror each, or a disk that the kernel would fill.
#[test]
fn superblocks_that_do_not_serve() {
    let data = noise(7, DATA);
    let gone = 0xffff;
    let sb = |n, roles: &[u16]| Sb::of(1, 0, n, roles, 2);
    let scripts = |all: [Vec<u8>; 2]| {
        let folder = tempfile::tempdir().unwrap();
        let images = write(folder.path(), &all);
        let out = folder.path().join("scripts");
        let layout = folder.path().join("layout.toml");
        let image = |(i, path): (usize, &PathBuf)| {
            let path = path.display();
            format!(
                "[[image]]\nname = \"m{i}\"\npath = \"{path}\"\nsize = {}\n",
                FRONT + DATA
            )
        };
        let images: String = images.iter().enumerate().map(image).collect();
        let rest = format!(
            "[[array]]\nname = \"array1\"\nlevel = \"raid1\"\ndata_offset_sectors = {}\nmember_bytes = {DATA}\nmetadata = \
             \"1.2\"\nmembers = [\"m0\", \"m1\"]\n[[vg]]\nname = \"store\"\ntext = \"store.vg\"\npvs = {{ pv0 = \"array1\" }}\n",
            FRONT >> 9
        );
        fs::write(&layout, format!("{images}{rest}")).unwrap();
        let text = folder.path().join("store.vg");
        fs::write(&text, TEXT).unwrap();
        let mut script = disinter();
        script.args(["script", "--layout"]).arg(&layout);
        let done = script
            .arg("--vg")
            .arg(&text)
            .arg("-o")
            .arg(&out)
            .output()
            .unwrap();
        assert!(out.exists(), "{}", String::from_utf8_lossy(&done.stderr));
        let texts = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let texts = texts.filter(|path| path.is_file());
        texts
            .map(|path| fs::read_to_string(path).unwrap())
            .collect::<String>()
    };
    let alike = scripts([sb(0, &[0, 1]).member(&data), sb(1, &[0, 1]).member(&data)]);
    assert!(alike.contains("--assemble"), "{alike}");
    let split = scripts([
        sb(0, &[0, gone]).member(&data),
        sb(1, &[gone, 1]).member(&data),
    ]);
    assert!(!split.contains("--assemble"), "{split}");
    assert!(split.contains("each in use without the other"), "{split}");
    let half = sb(1, &[0, 1]).filled(60).member(&half_filled(&data, 60));
    let half = scripts([sb(0, &[0, 1]).member(&data), half]);
    assert!(half.contains("being filled: the array"), "{half}");
}
