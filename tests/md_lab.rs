//! The geometry, byte by byte, against arrays that the real kernel wrote.
//!
//! As tests/lab.rs these need the lab's packages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blanks, boot, disinter, lab, run};
use disinter::image::{Memory, SharedSource, Source};
use disinter::md::array::{Array, ArrayMember};
use disinter::md::geometry::Geometry;
use disinter::md::level::{Level, parity_names};
use disinter::units::{Bytes, Sectors};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the lab's disks.
const DISK: u64 = 1 << 20;

struct Case {
    name: String,
    level: Level,
    layout: Option<String>,
    chunk_kib: u64,
    /// KiB of each member; 0 for a whole disk.
    sizes: Vec<u64>,
}

impl Case {
    fn new(level: Level, layout: Option<&str>, chunk_kib: u64, sizes: &[u64]) -> Case {
        let layout_name = layout.unwrap_or("-");
        let sizes = sizes.to_vec();
        Case {
            name: format!("{level}.{layout_name}.{chunk_kib}.{}", sizes.len()),
            level,
            layout: layout.map(str::to_owned),
            chunk_kib,
            sizes,
        }
    }

    /// As the guest's script takes it.
    fn line(&self) -> String {
        let size = |kib: &u64| match kib {
            0 => "whole".to_owned(),
            kib => kib.to_string(),
        };
        let sizes: Vec<String> = self.sizes.iter().map(size).collect();
        let layout = self.layout.as_deref().unwrap_or("-");
        format!(
            "{} {} {layout} {} {}\n",
            self.name,
            self.level,
            self.chunk_kib,
            sizes.join(" ")
        )
    }

    /// The array of the members that `keep` names, with 1.0 superblocks cut off the members' ends.
    fn array(&self, members: &[Vec<u8>], keep: impl Fn(usize) -> bool) -> Array {
        // mdadm leaves the last 8 to 12 KiB of each member to the superblock, and says how much is used.
        let sizes: Vec<Bytes> = members.iter().map(|m| data_size(m, self.level)).collect();
        let geometry = Geometry::of_sizes(
            self.level,
            self.layout.as_deref(),
            Sectors(self.chunk_kib * 2),
            &sizes,
        )
        .unwrap();
        let member = |(i, bytes): (usize, &Vec<u8>)| {
            let source: SharedSource = Arc::new(Memory::new(format!("m{i}"), bytes.clone()));
            let data_offset = Bytes::ZERO;
            let reserve = false;
            keep(i).then_some(ArrayMember {
                source,
                data_offset,
                reserve,
            })
        };
        Array::new(
            self.name.clone(),
            geometry,
            members.iter().enumerate().map(member).collect(),
        )
    }
}

/// Bytes of data by the member's own superblock: raid0 and linear use each member's own, the others one size for all.
fn data_size(member: &[u8], level: Level) -> Bytes {
    let source = Memory::new("m", member.to_vec());
    let version = disinter::md::superblock::Version::V10;
    let sb = disinter::md::superblock::Superblock::read(&source, version).unwrap();
    match level {
        // data_size, which only the raw superblock has.
        Level::Linear | Level::Raid0 => {
            let at = sb.at.to_len(member.len()) + 136;
            let sectors = u64::from_le_bytes(member[at..at + 8].try_into().unwrap());
            Sectors(sectors).into()
        }
        _ => sb.member_size.into(),
    }
}

fn cases() -> Vec<Case> {
    let equal = |n: usize| vec![0; n];
    let mut cases = Vec::new();
    for n in [3, 4] {
        for layout in parity_names(Level::Raid5) {
            cases.push(Case::new(Level::Raid5, Some(layout), 32, &equal(n)));
        }
    }
    for n in [5, 8] {
        for layout in parity_names(Level::Raid6) {
            cases.push(Case::new(Level::Raid6, Some(layout), 16, &equal(n)));
        }
    }
    for (layout, members) in [
        ("n2", &[2, 4, 5, 12][..]),
        ("n3", &[3, 5, 6]),
        ("f2", &[2, 3, 4, 6]),
        ("f3", &[4, 5]),
        ("o2", &[2, 3, 4, 6]),
        ("o3", &[4, 5]),
    ] {
        for n in members {
            cases.push(Case::new(Level::Raid10, Some(layout), 16, &equal(*n)));
        }
    }
    cases.push(Case::new(Level::Raid4, None, 128, &equal(4)));
    cases.push(Case::new(Level::Raid1, None, 64, &equal(3)));
    cases.push(Case::new(Level::Raid0, None, 128, &equal(4)));
    cases.push(Case::new(Level::Linear, None, 64, &[1000, 800, 700]));
    for layout in ["original", "alternate"] {
        cases.push(Case::new(
            Level::Raid0,
            Some(layout),
            64,
            &[450, 1000, 800, 1000],
        ));
        cases.push(Case::new(Level::Raid0, Some(layout), 16, &[1000, 400, 700]));
    }
    cases
}

/// 512-byte sectors that each hold their own number, so that a sector in a wrong place tells where it is from.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes / 512)
        .flat_map(|sector| (sector as u64 + 1).to_le_bytes().repeat(64))
        .collect()
}

#[track_caller]
fn assert_pattern(array: &Array, pattern: &[u8], what: &str) {
    let mut buf = vec![0; array.len().to_len(pattern.len())];
    assert!(
        array.read_at(Bytes::ZERO, &mut buf).is_none(),
        "{what}: gaps"
    );
    let wrong = buf
        .chunks(512)
        .zip(pattern.chunks(512))
        .position(|(a, b)| a != b);
    assert_eq!(wrong, None, "{what}: first wrong sector");
}

fn members(share: &Path, case: &Case) -> Vec<Vec<u8>> {
    let file = |i: usize| -> PathBuf { share.join(format!("{}.{i}", case.name)) };
    (0..case.sizes.len())
        .map(|i| fs::read(file(i)).unwrap())
        .collect()
}

/// Every level and layout: what the kernel wrote through the array is what the members give through the geometry, with
/// all of them and with as many missing as the level can bear. A wrong table would put files together from wrong chunks.
#[test]
fn the_kernel_and_the_geometry_agree() {
    let Some(_one) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    let cases = cases();
    let pattern = pattern(16 << 20);
    fs::write(share.join("pattern"), &pattern).unwrap();
    fs::write(
        share.join("arrays.txt"),
        cases.iter().map(Case::line).collect::<String>(),
    )
    .unwrap();
    let disks = blanks(folder.path(), 0..12, DISK);
    boot(&share, "geometry.guest.sh", &[], &disks);
    for case in &cases {
        let members = members(&share, case);
        let size = fs::read_to_string(share.join(format!("{}.size", case.name))).unwrap();
        let array = case.array(&members, |_| true);
        assert_eq!(
            array.len().0.to_string(),
            size.trim(),
            "{}: size",
            case.name
        );
        assert_pattern(&array, &pattern, &case.name);
        let n = members.len();
        for (a, b) in (0..n).flat_map(|a| (a..n).map(move |b| (a, b))) {
            let bears = match case.level {
                Level::Raid6 => true,
                Level::Raid4 | Level::Raid5 | Level::Raid10 => a == b,
                Level::Raid1 => true,
                _ => false,
            };
            if bears {
                let array = case.array(&members, |i| i != a && i != b);
                assert_pattern(
                    &array,
                    &pattern,
                    &format!("{} without {a} and {b}", case.name),
                );
            }
        }
    }
    println!("{} arrays", cases.len());
}

/// The disks of a raid5 that the kernel was stopped in the middle of reshaping: `yes` from three members to four, `fewer`
/// from five to four; on it is a file of this content, `/tree/big`.
fn reshaped(folder: &Path, reshape: &str, content: &str, big: &[u8]) -> Vec<PathBuf> {
    let share = folder.join("share");
    fs::create_dir_all(share.join("tree")).unwrap();
    fs::write(share.join("tree/big"), big).unwrap();
    let (before, disks) = if reshape == "fewer" { (5, 5) } else { (3, 4) };
    let names = (0..disks).map(|i| format!("disk{i}"));
    let disks = blanks(folder, names, 112 << 20);
    let given = format!(
        "N={before} LEVEL=raid5 LAYOUT=left-symmetric CHUNK=64 META=1.2 OFFSET=- PARTITION=- CONTENT={content} TREE=tree \
         MORE=- STALE=- BLOCK=- OFFSETS=- RESHAPE={reshape} LOOPS=no"
    );
    let options = given
        .split_whitespace()
        .flat_map(|setting| ["--env", setting]);
    let options: Vec<&str> = ["--write"].into_iter().chain(options).collect();
    boot(&share, "array.guest.sh", &options, &disks);
    disks
}

/// Bytes of which no page is like another.
fn unlike(length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// An array that was stopped in the middle of a growth from three to four members is read through both geometries: a
/// file that lies on either side comes back as it was, and through one of them it does not.
#[test]
fn a_reshape_in_the_middle_is_read() {
    is_read_through_both("yes", (4, 3));
}

/// One that takes a member away goes from the end to the start: the new geometry lies above. Taken for the other kind,
/// every byte was read from the wrong place.
#[test]
fn a_reshape_to_fewer_members_is_read() {
    is_read_through_both("fewer", (5, 4));
}

fn is_read_through_both(reshape: &str, slots: (u64, u64)) {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // More than the part that is moved.
    let big = unlike(160 << 20);
    let disks = reshaped(folder.path(), reshape, "ext4", &big);

    let layout = folder.path().join("layout.toml");
    let mut guess = disinter();
    guess.args(["md", "guess", "-o"]).arg(&layout).args(&disks);
    let answer = common::json(&mut guess, 1);
    let array = &answer["arrays"][0];
    let (below, above) = (&array["reshape"]["below"], &array["reshape"]["above"]);
    assert_eq!(
        (&below["slots"], &above["slots"]),
        (&slots.0.into(), &slots.1.into()),
        "{array:#}"
    );
    let position = array["reshape"]["position"].as_u64().unwrap();
    assert!((64 << 20..190 << 20).contains(&position), "{position}");

    let read = |layout: &Path| {
        let mut cat = disinter();
        cat.args(["fs", "cat", "--layout"]).arg(layout);
        cat.arg("array1:/tree/big").output().unwrap()
    };
    let out = read(&layout);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        out.stdout == big,
        "{} bytes differ from the file",
        out.stdout.len()
    );
    let text = fs::read_to_string(&layout).unwrap();
    let single = folder.path().join("single.toml");
    let at = text.find("[array.reshape]").unwrap();
    fs::write(&single, &text[..at]).unwrap();
    assert!(
        read(&single).stdout != big,
        "one geometry alone reads all of it"
    );
}

/// Scripts for an array in the middle of a reshape would have mdadm go on with it, or make one geometry out of two: none
/// is written, and what is said instead gets the files out.
#[test]
fn no_script_is_written_for_a_reshape_in_the_middle() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let big = unlike(100 << 20);
    let disks = reshaped(folder.path(), "yes", "lvm", &big);
    let (layout, text, out) = (file("layout.toml"), file("store.vg"), file("scripts"));
    let mut guess = disinter();
    guess.args(["md", "guess", "-o"]).arg(&layout).args(&disks);
    run(&mut guess, 1);
    let with_layout = |words: &[&str]| {
        let mut command = disinter();
        command.args(words).arg("--layout").arg(&layout);
        command
    };
    run(with_layout(&["lvm", "extract"]).arg("-o").arg(&text), 0);

    let mut script = with_layout(&["script"]);
    let refused = run(script.arg("--vg").arg(&text).arg("-o").arg(&out), 2);
    let says = String::from_utf8(refused.stderr).unwrap();
    for words in [
        "array1 is in the middle of a reshape",
        "disinter fs cp or disinter export",
    ] {
        assert!(says.contains(words), "{says}");
    }
    assert!(!out.exists());

    let mut with_group: toml::Table =
        toml::from_str(&fs::read_to_string(&layout).unwrap()).unwrap();
    let group = "name = \"store\"\ntext = \"store.vg\"\npvs = { pv0 = \"array1\" }";
    let group: toml::Table = toml::from_str(group).unwrap();
    with_group.insert("vg".to_owned(), vec![toml::Value::Table(group)].into());
    fs::write(&layout, toml::to_string(&with_group).unwrap()).unwrap();
    let copied = file("copied");
    let mut copy = with_layout(&["fs", "cp"]);
    run(copy.arg("store/data:/tree/big").arg(&copied), 0);
    assert!(fs::read(copied.join("big")).unwrap() == big);
    // With a group in the layout it is no other answer.
    let mut script = with_layout(&["script"]);
    run(script.arg("--vg").arg(&text).arg("-o").arg(&out), 2);
}
