//! `md guess` on what is no single whole array: what it may not claim, what it must name, within which time and reading.
//!
//! Arrays of every kind, as the kernel makes them, are tests/lab/matrix'.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blank, disinter, ext4_of, json, run, strings, unpack_xz};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;

/// Bytes that look like noise, the same ones for a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ z >> 27)
            .wrapping_mul(0x94d0_49bb_1331_11eb)
            .to_le_bytes()[4]
    };
    (0..length).map(|_| next()).collect()
}

/// Members of a raid5, parity on the last: noise, and its sum.
fn raid5(seed: u64, members: usize, length: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (1..members as u64)
        .map(|m| noise(seed * 100 + m, length))
        .collect();
    let mut sum = vec![0; length];
    for member in &all {
        sum.iter_mut().zip(member).for_each(|(s, b)| *s ^= b);
    }
    all.push(sum);
    all
}

/// Writes the members as `NAME0.img`, `NAME1.img` …
fn write(folder: &Path, name: &str, members: &[Vec<u8>]) -> Vec<PathBuf> {
    let write = |(i, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(format!("{name}{i}.img"));
        fs::write(&path, bytes).unwrap();
        path
    };
    members.iter().enumerate().map(write).collect()
}

fn guess(images: &[PathBuf], status: i32) -> Vec<Value> {
    whole_guess(images, status)["arrays"]
        .as_array()
        .unwrap()
        .clone()
}

fn whole_guess(images: &[PathBuf], status: i32) -> Value {
    json(disinter().args(["md", "guess"]).args(images), status)
}

/// What is in no array: names and why, each name once.
fn apart(document: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in document["apart"].as_array().unwrap() {
        let why = entry["why"].as_str().unwrap();
        for name in strings(&entry["members"]) {
            assert!(found.insert(name, why.to_owned()).is_none(), "{document:#}");
        }
    }
    found
}

/// The members of each array that was found, without order.
fn sets(arrays: &[Value]) -> Vec<Vec<String>> {
    let of = |array: &Value| {
        let members = array["members"].as_array().unwrap();
        let mut names: Vec<String> = members
            .iter()
            .filter_map(|m| m.as_str().map(str::to_owned))
            .collect();
        names.sort();
        names
    };
    let mut sets: Vec<_> = arrays.iter().map(of).collect();
    sets.sort();
    sets
}

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}{i}")).collect()
}

#[track_caller]
fn nothing_sure(arrays: &[Value]) {
    for array in arrays {
        assert_eq!(array["ambiguous"], true, "{array:#}");
    }
}

/// Forty disks of noise: an order for them would be an invention, and to try all of them would take for ever.
#[test]
fn forty_members_of_noise() {
    let folder = tempfile::tempdir().unwrap();
    let members: Vec<_> = (0..40).map(|i| noise(i, 64 * PAGE)).collect();
    let images = write(folder.path(), "m", &members);
    let start = Instant::now();
    let arrays = guess(&images, 1);
    assert!(start.elapsed() < Duration::from_secs(60));
    nothing_sure(&arrays);
    assert!(arrays.iter().all(|a| a["level"].is_null()), "{arrays:#?}");
}

/// Of a raid5 with forty members as many belong together, and nothing tells their order.
#[test]
fn forty_members_of_a_raid5() {
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path(), "m", &raid5(1, 40, 64 * PAGE));
    let arrays = guess(&images, 1);
    assert_eq!(arrays.len(), 1);
    nothing_sure(&arrays);
    assert!(strings(&arrays[0]["undetermined"]).contains(&"order".to_owned()));
}

/// Two arrays of one shape given together are two: taken for one they would be put together from each other's chunks.
#[test]
fn two_raid5_of_equal_shape_are_parted() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = write(folder.path(), "a", &raid5(1, 4, 256 * PAGE));
    images.extend(write(folder.path(), "b", &raid5(2, 4, 256 * PAGE)));
    let arrays = guess(&images, 1);
    assert_eq!(sets(&arrays), [names("a", 4), names("b", 4)]);
    for array in &arrays {
        let evidence = strings(&array["evidence"]);
        assert!(
            evidence[0].contains("4 of the 8 members given"),
            "{evidence:?}"
        );
    }
}

/// A raid5 and members of something without redundancy: the raid5 must not take them in as missing ones.
#[test]
fn a_raid5_and_a_raid0_are_parted() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = write(folder.path(), "a", &raid5(1, 4, 256 * PAGE));
    let others: Vec<_> = (0..3).map(|i| noise(900 + i, 256 * PAGE)).collect();
    images.extend(write(folder.path(), "b", &others));
    let arrays = guess(&images, 1);
    assert!(
        sets(&arrays).contains(&names("a", 4)),
        "{:?}",
        sets(&arrays)
    );
    nothing_sure(&arrays);
}

/// A member whose copy was cut short still shows the parity as far as it goes, and it is named.
#[test]
fn a_member_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = raid5(1, 4, 512 * PAGE);
    members[1].truncate(200 * PAGE + 77);
    let arrays = guess(&write(folder.path(), "m", &members), 1);
    nothing_sure(&arrays);
    assert_eq!(arrays[0]["level"], "raid5", "{:#}", arrays[0]);
    let evidence = strings(&arrays[0]["evidence"]);
    let named: Vec<&String> = evidence
        .iter()
        .filter(|e| e.contains("cut short"))
        .collect();
    assert!(
        named.len() == 1 && named[0].starts_with("m1 "),
        "{evidence:?}"
    );
}

/// A copy of a member under another name is no sixth disk: it is named, used once, and the parity shows again.
#[test]
fn a_member_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = raid5(1, 4, 256 * PAGE);
    members.push(members[2].clone());
    let document = whole_guess(&write(folder.path(), "m", &members), 1);
    let arrays = document["arrays"].as_array().unwrap();
    nothing_sure(arrays);
    assert_eq!(sets(arrays), [names("m", 4)]);
    assert_eq!(arrays[0]["level"], "raid5");
    let apart = apart(&document);
    assert!(
        apart["m4"].contains("the same member twice: m2 and m4"),
        "{apart:?}"
    );
}

/// Two pairs, and a copy of one member: three mirrors of which one is lost elsewhere would look the same, so it is said,
/// and no answer is sure.
#[test]
fn a_mirror_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (noise(1, 256 * PAGE), noise(2, 256 * PAGE));
    let members = [a.clone(), b.clone(), b, a.clone(), a];
    let document = whole_guess(&write(folder.path(), "m", &members), 1);
    nothing_sure(document["arrays"].as_array().unwrap());
    let apart = apart(&document);
    assert!(
        apart["m4"].contains("perhaps the same member twice"),
        "{apart:?}"
    );
}

/// The same file under two names is refused before anything is read.
#[test]
fn a_file_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = write(folder.path(), "m", &raid5(1, 3, 64 * PAGE));
    let link = folder.path().join("link.img");
    std::os::unix::fs::symlink(&images[0], &link).unwrap();
    images.push(link);
    let out = run(disinter().args(["md", "guess"]).args(&images), 2);
    let says = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(says.contains("are the same file"), "{says}");
}

/// One member alone, members of nothing but zeros, and noise that nothing ties together: no claim, and each is named.
#[test]
fn too_little_to_tell() {
    let folder = tempfile::tempdir().unwrap();
    let one = write(folder.path(), "one", &raid5(1, 4, 64 * PAGE)[..1]);
    let zeros = write(folder.path(), "zero", &vec![vec![0; 64 * PAGE]; 5]);
    let noise: Vec<_> = (0..4).map(|seed| noise(70 + seed, 64 * PAGE)).collect();
    let noise = write(folder.path(), "noise", &noise);
    for (images, why) in [
        (one, "alone"),
        (zeros, "only 0 rows hold anything"),
        (noise, "no redundancy left"),
    ] {
        let document = whole_guess(&images, 1);
        assert_eq!(document["arrays"], json!([]), "{document:#}");
        let apart = apart(&document);
        assert_eq!(apart.len(), images.len());
        assert!(apart.values().all(|w| w.contains(why)), "{apart:?}");
    }
}

/// Disks that each hold a physical volume or a file system of their own fit an array of large chunks, as any do: their
/// labels say that they are whole.
#[test]
fn physical_volumes_are_no_members() {
    let folder = tempfile::tempdir().unwrap();
    let packed = [
        "lvm/dfvfs-lvmtest-0783a444.img.xz",
        "lvm/gen-lvm2.03.16-reinstall-etc-lvm-in-lost-root.img.xz",
        "lvm/xenserver-disk.img.xz",
    ];
    let unpacked: Option<Vec<PathBuf>> = packed
        .iter()
        .map(|path| unpack_xz(path, folder.path()))
        .collect();
    let Some(images) = unpacked else {
        return;
    };
    // Of this one only the first MiB is kept.
    let file = fs::OpenOptions::new().write(true).open(&images[2]).unwrap();
    file.set_len(1 << 30).unwrap();
    let document = whole_guess(&images, 1);
    assert_eq!(document["arrays"], json!([]), "{document:#}");
    let own = apart(&document);
    assert_eq!(own.len(), 3);
    assert!(
        own.values()
            .all(|why| why.starts_with("a volume of its own: the LVM label of")),
        "{own:?}"
    );
    // Cut or lengthened, a label says nothing: then these are what they were, unknown.
    file.set_len(3 << 29).unwrap();
    let document = whole_guess(&images, 1);
    assert!(!apart(&document)["xenserver-disk"].starts_with("a volume of its own"));
    nothing_sure(document["arrays"].as_array().unwrap());
}

/// A mirror's members begin as what is on it does, and are as long; nobody may take them for disks of their own.
#[test]
fn mirrors_of_a_physical_volume_are_members() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let other = folder.path().join("other.img");
    fs::copy(&image, &other).unwrap();
    let document = whole_guess(&[image, other], 0);
    assert_eq!(document["arrays"][0]["level"], "raid1", "{document:#}");
    assert_eq!(document["apart"], json!([]));
}

/// However much the members hold and whatever is tried, one bound on reading holds for all passes together. Noise behind
/// a superblock makes it try all there is: a second pass, a missing member, and own starts.
#[test]
fn reading_has_one_bound() {
    const BOUND: u64 = 256 << 20;
    let folder = tempfile::tempdir().unwrap();
    let Some(front) = ext4_front(folder.path()) else {
        return;
    };
    let block = noise(5, 1 << 20);
    let member = |number: u64| {
        let path = folder.path().join(format!("m{number}.img"));
        let file = fs::File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let mut block = block.clone();
        for at in 0..96_u64 {
            // Different from every other block, as far as a page is concerned.
            for (page, bytes) in block.chunks_mut(PAGE).enumerate() {
                bytes[..8].copy_from_slice(&(number << 40 | at << 20 | page as u64).to_le_bytes());
            }
            file.write_all_at(&block, at * (7 << 30)).unwrap();
        }
        file.write_all_at(&front, number * (64 << 10)).unwrap();
        path
    };
    let images: Vec<PathBuf> = (0..3).map(member).collect();
    let document = json(disinter().args(["md", "guess"]).args(&images), 1);
    for array in document["arrays"].as_array().unwrap() {
        let read = array["bytes_read_per_member"].as_u64().unwrap();
        assert!(read <= BOUND && read > 64 << 20, "{read}");
    }
    assert_ne!(document["arrays"], json!([]));
}

/// Chunks of an array over members, one row after the other.
fn striped(array: &[u8], chunk: usize, count: usize) -> Vec<Vec<u8>> {
    let member = |m: usize| array.chunks(chunk).skip(m).step_by(count).flatten();
    (0..count).map(|m| member(m).copied().collect()).collect()
}

/// With chunks of one page the descriptors of groups lie on another member than the superblock, and every page's
/// neighbour is a stranger: only what knows its place tells the order, and it is more than a superblock. Votes were said
/// to be things, more of them to hold than were known.
#[test]
fn a_raid0_with_small_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(volume) = ext4_with_files(folder.path(), 24, 1) else {
        return;
    };
    let members = striped(&volume, PAGE, 3);
    let images = write(folder.path(), "m", &[&members[1..], &members[..1]].concat());
    let document = whole_guess(&images, 0);
    let array = &document["arrays"][0];
    assert_eq!(array["level"], "raid0", "{document:#}");
    assert_eq!(array["chunk_kib"], 4);
    assert_eq!(strings(&array["members"]), ["m2", "m0", "m1"]);
    let things = |which: usize| array["landmarks"][which].as_u64().unwrap();
    assert!(things(0) <= things(1) && things(0) > 100, "{document:#}");
    // A raid4 without its parity member is not told from it.
    let evidence = strings(&array["evidence"]);
    let also = |e: &String| e.starts_with("reads every byte as") && e.contains("raid4");
    assert!(evidence.iter().any(also), "{evidence:#?}");
}

/// A bad sector in every mebibyte of each member: nothing of a mebibyte with one in it was looked at, so no file system
/// was found, and no order.
#[test]
fn members_with_a_bad_sector_in_every_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    let Some(volume) = ext4_with_files(folder.path(), 24, 2) else {
        return;
    };
    let members = striped(&volume, 64 << 10, 3);
    let images = write(folder.path(), "m", &[&members[1..], &members[..1]].concat());
    for (number, image) in images.iter().enumerate() {
        let mut map = "0x0 ? 1\n".to_owned();
        let mut at = 0;
        for mebibyte in 0..8 {
            let bad = (mebibyte << 20) + 0x51e00 + 0x20000 * number;
            map += &format!("{at:#x} {:#x} +\n{bad:#x} 0x200 -\n", bad - at);
            at = bad + 0x200;
        }
        map += &format!("{at:#x} {:#x} +\n", (8 << 20) - at);
        fs::write(format!("{}.map", image.display()), map).unwrap();
    }
    let document = whole_guess(&images, 3);
    let array = &document["arrays"][0];
    assert_eq!(array["level"], "raid0", "{document:#}");
    assert_eq!(array["chunk_kib"], 64, "{document:#}");
    assert_eq!(
        strings(&array["members"]),
        ["m2", "m0", "m1"],
        "{document:#}"
    );
    assert_eq!(array["ambiguous"], false, "{document:#}");
}

/// The sum of a raid0's members is noise where they are: likeness of one noise to another made it a missing member, and
/// the array a raid5.
#[test]
fn the_sum_of_a_raid0_is_no_missing_member() {
    let folder = tempfile::tempdir().unwrap();
    let mut volume = noise(7, 32 << 20);
    volume[..16 << 20].fill(0);
    for (at, magic) in [
        (0, b"LUKS\xba\xbe\0\x02"),
        (16 << 10, b"SKUL\xba\xbe\0\x02"),
    ] {
        volume[at..at + 8].copy_from_slice(magic);
        volume[at + 256..at + 264].copy_from_slice(&(at as u64).to_be_bytes());
    }
    let images = write(folder.path(), "m", &striped(&volume, 64 << 10, 2));
    let arrays = guess(&images, 1);
    nothing_sure(&arrays);
    for array in &arrays {
        assert_eq!(array["level"], "raid0", "{array:#}");
        assert_eq!(array["landmarks"], json!([2, 2]), "{array:#}");
    }
}

/// Two file systems of real tools, each over an array of its own on the same disks, of which the other's front is lost:
/// what is left of it is named. It was there before where it is older, and else nothing tells which of the arrays came
/// later, and both are told.
#[test]
fn an_array_that_was_there_before() {
    let (early, late) = ("1700000000", "1700001000");
    for (seed, times, later) in [(1, (early, late), false), (2, (late, early), true)] {
        let folder = tempfile::tempdir().unwrap();
        let (Some(lost), Some(whole)) = (
            // Groups of 16 MiB with few inodes: superblocks, and inodes, lie where the other one does not reach.
            ext4_made(
                folder.path(),
                (96, seed),
                &["-g", "4096", "-G", "1", "-i", "65536"],
                Some(times.0),
            ),
            ext4_made(folder.path(), (24, seed + 10), &[], Some(times.1)),
        ) else {
            return;
        };
        let mut members = striped(&lost, 64 << 10, 3);
        for (member, slot) in members.iter_mut().zip([2, 0, 1]) {
            let own = &striped(&whole, 256 << 10, 3)[slot];
            member[..own.len()].copy_from_slice(own);
        }
        let images = write(folder.path(), "m", &members);
        let document = whole_guess(&images, 1);
        let array = &document["arrays"][0];
        assert_eq!(array["ambiguous"], true, "{document:#}");
        assert_eq!(array["chunk_kib"], 256, "{document:#}");
        assert_eq!(strings(&array["members"]), ["m1", "m2", "m0"]);
        let says = match later {
            true => "nothing tells which of the two arrays came later",
            false => "it was there before",
        };
        let evidence = strings(&array["evidence"]);
        let named =
            |e: &&String| e.contains("does not lie in this array, but in a raid0 of the same");
        let line = evidence.iter().find(named);
        assert!(
            line.is_some_and(|line| line.ends_with(says)),
            "{document:#}"
        );
        let told = array["alternatives"].as_array().unwrap().iter();
        let told =
            told.filter(|a| a["chunk_kib"] == 64 && strings(&a["members"]) == ["m0", "m1", "m2"]);
        assert_eq!(told.count(), usize::from(later), "{document:#}");
    }
}

/// Disks whose labels are lost, each with a file system of its own, fit an array of chunks that are as large as these:
/// that each lies in one piece says what they are.
#[test]
fn file_systems_in_one_piece_are_volumes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = Vec::new();
    for seed in 0..2 {
        let Some(volume) = ext4_with_files(folder.path(), 16, seed) else {
            return;
        };
        let mut member = vec![0; 1 << 20];
        member.extend(volume);
        member.resize(40 << 20, 0);
        members.push(member);
    }
    let images = write(folder.path(), "m", &members);
    let document = whole_guess(&images, 1);
    assert_eq!(document["arrays"], json!([]), "{document:#}");
    let apart = apart(&document);
    assert_eq!(apart.len(), 2, "{document:#}");
    for why in apart.values() {
        assert!(why.contains("in one piece from byte 1048576"), "{why}");
    }
}

/// Where one of two disks is empty, the sum of both is the other's copy: no mirror, and no array of it.
#[test]
fn a_disk_beside_an_empty_one_is_no_mirror() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut volume) = ext4_with_files(folder.path(), 16, 1) else {
        return;
    };
    volume.splice(..0, vec![0; 1 << 20]);
    volume.resize(40 << 20, 0);
    let mut other = vec![0; 40 << 20];
    other[38 << 20..39 << 20].copy_from_slice(&noise(3, 1 << 20));
    let images = write(folder.path(), "m", &[volume, other]);
    let document = whole_guess(&images, 1);
    assert_eq!(document["arrays"], json!([]), "{document:#}");
}

/// To everything but their own checksums compressed files are noise, and an order of noise cannot be told.
#[test]
fn compressed_files_tell_the_order() {
    const CHUNK: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let mut array = Vec::new();
    for seed in 0..24 {
        array.extend(gzip(&words(seed, 40_000)));
        array.resize(array.len().next_multiple_of(PAGE), 0);
    }
    array.resize(array.len().next_multiple_of(12 * CHUNK), 0);
    let members = striped(&array, CHUNK, 3);
    let order = |array: &Value| (array["chunk_kib"].clone(), strings(&array["members"]));
    let images = write(folder.path(), "m", &[&members[1..], &members[..1]].concat());
    let document = whole_guess(&images, 0);
    let found = &document["arrays"][0];
    assert_eq!(found["level"], "raid0", "{document:#}");
    let expected = ["m2", "m0", "m1"].map(str::to_owned);
    assert_eq!(order(found), (json!(64), expected.to_vec()), "{document:#}");
}

/// Without partition tables an array may lie behind the one that was told: nobody would miss it who is not told.
#[test]
fn the_array_behind_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let volume = |mib, seed| ext4_with_files(folder.path(), mib, seed);
    let (Some(first), Some(second)) = (volume(24, 1), volume(12, 2)) else {
        return;
    };
    // A raid10 of near copies, and behind it a mirror.
    let halves = striped(&first, 64 << 10, 2);
    let member = |half: &Vec<u8>| {
        let mut member = vec![0; 1 << 20];
        member.extend(half);
        member.resize(16 << 20, 0);
        member.extend(&second);
        member.resize(30 << 20, 0);
        member
    };
    let members: Vec<Vec<u8>> = [0, 0, 1, 1].map(|half| member(&halves[half])).to_vec();
    let images = write(folder.path(), "m", &members);
    let document = whole_guess(&images, 0);
    let told = |array: &Value| {
        let (level, offset) = (&array["level"], &array["data_offset_sectors"]);
        (level.clone(), offset.as_u64().unwrap() / 2048)
    };
    let arrays: Vec<_> = document["arrays"]
        .as_array()
        .unwrap()
        .iter()
        .map(told)
        .collect();
    assert_eq!(
        arrays,
        [(json!("raid10"), 1), (json!("raid1"), 16)],
        "{document:#}"
    );
    let command = document["arrays"][1]["command"].as_str().unwrap();
    assert!(
        command.contains("--metadata=1.2") && command.contains(" --data-offset=32768s "),
        "{command}"
    );
}

/// Words in no order: half of them compress away.
fn words(seed: u64, count: usize) -> Vec<u8> {
    let bytes = noise(seed + 100, 2 * count);
    let word = |pair: &[u8]| format!("{:x} ", u16::from_le_bytes([pair[0], pair[1]]));
    bytes
        .chunks_exact(2)
        .flat_map(|p| word(p).into_bytes())
        .collect()
}

/// A gzip file.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    file.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes);
    file.extend(crc.to_le_bytes());
    file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    file
}

/// An ext4 of so many MiB with texts in it; `None`, with a printed reason, where no mkfs is.
fn ext4_with_files(folder: &Path, mib: u64, seed: u64) -> Option<Vec<u8>> {
    ext4_made(folder, (mib, seed), &[], None)
}

/// The same, with more options of mke2fs, and made at this time, in seconds since 1970.
fn ext4_made(
    folder: &Path,
    (mib, seed): (u64, u64),
    options: &[&str],
    time: Option<&str>,
) -> Option<Vec<u8>> {
    let tree = folder.join(format!("tree{seed}"));
    fs::create_dir(&tree).unwrap();
    for number in 0..mib * 12 {
        let text = words(
            1000 * seed + number,
            100 + usize::try_from(number * 97 % 9000).unwrap(),
        );
        fs::write(tree.join(format!("f{number}")), text).unwrap();
    }
    ext4_of(
        &tree,
        &folder.join(format!("volume{seed}")),
        mib,
        options,
        time,
    )
}

/// The first 64 KiB of an ext4, which name it; `None`, with a printed reason, where no mkfs is.
fn ext4_front(folder: &Path) -> Option<Vec<u8>> {
    let path = folder.join("front");
    blank(&path, 64 << 20);
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4"])
        .arg(&path)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: mke2fs is not installed");
        return None;
    }
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(64 << 10);
    Some(bytes)
}
