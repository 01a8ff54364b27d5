//! md superblocks as mdadm and the kernel wrote them, and mdadm as the judge.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, disinter, json, run, unpack_xz};
use disinter::image::{Memory, Source, open};
use disinter::md::superblock::{Role, Superblock, Version};
use disinter::parse::{Checksum, ParseError};
use disinter::units::{Bytes, Sectors};
use std::fs;
use std::process::Command;

/// Published signature images, fields as `mdadm --examine` prints them.
#[test]
fn published_superblocks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("md/mdraid.img.xz", folder.path()) else {
        return;
    };
    let (found, broken) = Superblock::all(&open(&image, "m").unwrap());
    assert!(broken.is_empty(), "{broken:?}");
    let sb = &found[0];
    assert_eq!(
        (sb.version, sb.checksum, sb.level),
        (Version::V090, Checksum::Ok, 1)
    );
    assert_eq!(sb.array_uuid, "37c76b91:011a05c5:d30c1fd4:c5c3dbbc");
    assert_eq!(
        (sb.member_size, sb.events, sb.raid_disks),
        (Sectors(10176 * 2), 4, 2)
    );
    assert_eq!((sb.role, sb.created), (Role::Slot(0), 1_243_428_696));
    let Some(image) = unpack_xz("md/mdraid-1.img.xz", folder.path()) else {
        return;
    };
    let (found, _) = Superblock::all(&open(&image, "m").unwrap());
    let sb = &found[0];
    assert_eq!(
        (sb.version, sb.checksum, sb.level),
        (Version::V12, Checksum::Ok, 0)
    );
    assert_eq!(sb.array_uuid, "77e61baf:c0b5d7d0:39cf575b:64d4878c");
    assert_eq!(
        sb.device_uuid.as_deref(),
        Some("379f6ef9:e75a12c1:11f1d883:ff168e1d")
    );
    assert_eq!(
        (sb.chunk, sb.data_offset, sb.array_name.as_str()),
        (Sectors(1024), Sectors(4096), "troy.t-8ch.de:0")
    );
}

/// The same member through mdadm and through us: every field that both print.
#[test]
fn mdadm_agrees_on_the_drills_members() {
    let unpacked = Unpacked::new("holmes-2013-other-order");
    let examined = json(
        disinter().args(["md", "examine"]).args(unpacked.images()),
        0,
    );
    let rows = examined["superblocks"].as_array().unwrap();
    assert_eq!(rows.len(), 20, "ten disks, two members each");
    let layout = unpacked.case().join("layout.toml");
    for row in rows.iter().step_by(7) {
        let member = row["member"].as_str().unwrap();
        let file = unpacked.path().join("member.img");
        run(
            disinter()
                .args(["export", member, "--layout"])
                .arg(&layout)
                .arg("-o")
                .arg(&file),
            0,
        );
        let command = "PATH=/usr/sbin:/sbin:$PATH; command -v mdadm >/dev/null || exit 77; mdadm --examine \"$1\"";
        let out = Command::new("sh")
            .args(["-c", command, "sh"])
            .arg(&file)
            .output()
            .unwrap();
        fs::remove_file(&file).unwrap();
        if out.status.code() == Some(77) {
            eprintln!("SKIPPED: mdadm is not installed");
            return;
        }
        let text = String::from_utf8_lossy(&out.stdout);
        let role = row["role"]["slot"].as_u64().unwrap();
        for line in [
            format!("Version : {}", row["version"].as_str().unwrap()),
            format!("Array UUID : {}", row["array_uuid"].as_str().unwrap()),
            format!("Device UUID : {}", row["device_uuid"].as_str().unwrap()),
            format!("Raid Level : raid{}", row["level"]),
            format!("Device Role : Active device {role}"),
            format!("Events : {}", row["events"]),
        ] {
            assert!(text.contains(&line), "{member}: {line}\n{text}");
        }
        assert!(text.contains("- correct"), "{text}");
        assert_eq!(row["checksum"], "ok");
    }
}

/// One flipped bit anywhere in a superblock shows: as a bad checksum, as broken, or as no superblock.
#[test]
fn a_flipped_bit_shows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("md/mdraid-1.img.xz", folder.path()) else {
        return;
    };
    let bytes = fs::read(image).unwrap();
    // Up to the roles' end: what is behind is not part of it.
    for at in 4096..4096 + 256 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let memory = Memory::new("m", bytes);
        match Superblock::read(&memory, Version::V12) {
            Ok(sb) => assert_eq!(sb.checksum, Checksum::Bad, "byte {at}"),
            Err(error) => assert!(
                !matches!(error, ParseError::Unreadable(_)),
                "byte {at}: {error}"
            ),
        }
    }
}

/// A 0.90 superblock of a big-endian machine is the same one with each word turned round.
#[test]
fn a_big_endian_superblock_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("md/mdraid.img.xz", folder.path()) else {
        return;
    };
    let source = open(&image, "m").unwrap();
    let little = Superblock::read(&source, Version::V090).unwrap();
    let mut bytes = fs::read(&image).unwrap();
    let at = usize::try_from(Version::V090.place(source.len()).unwrap().0).unwrap();
    for word in bytes[at..at + 4096].chunks_mut(4) {
        word.reverse();
    }
    // 64-bit counters have their halves in the machine's order.
    for word in [39, 41] {
        let (a, b) = bytes[at + word * 4..at + word * 4 + 8].split_at_mut(4);
        a.swap_with_slice(b);
    }
    let big = Superblock::read(&Memory::new("m", bytes), Version::V090).unwrap();
    assert!(big.big_endian && !little.big_endian);
    assert_eq!(big.checksum, Checksum::Ok);
    assert_eq!(
        (big.array_uuid, big.events, big.member_size),
        (little.array_uuid, little.events, little.member_size)
    );
    assert_eq!(little.at, Bytes(at as u64));
}

/// Zeros, noise, a member alone: a level or an order for these would be an invention.
#[test]
fn what_is_no_array_is_given_no_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ z >> 27)
                .wrapping_mul(0x94d0_49bb_1331_11eb)
                .to_le_bytes()[4]
        };
        (0..length).map(|_| next()).collect()
    };
    let mut files = |name: &str, count: usize, zero: bool| -> Vec<std::path::PathBuf> {
        (0..count)
            .map(|i| {
                let path = folder.path().join(format!("{name}{i}.img"));
                let bytes = if zero {
                    vec![0; 3 << 20]
                } else {
                    noise(3 << 20)
                };
                fs::write(&path, bytes).unwrap();
                path
            })
            .collect()
    };
    for images in [
        files("zero", 3, true),
        files("noise", 12, false),
        files("one", 1, false),
    ] {
        let document = json(disinter().args(["md", "guess"]).args(&images), 1);
        for array in document["arrays"].as_array().unwrap() {
            assert!(
                array["level"].is_null() && array["ambiguous"] == true,
                "{array:#}"
            );
        }
    }
}
