//! Copies that are not whole: ddrescue's maps, and what answers make of the places that were never read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{Unpacked, answer, blank, disinter, json, run, strings};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Overwrites places of an image and writes the map that calls them unread.
fn lose(image: &Path, map: &Path, places: &[(u64, u64, char)]) {
    let length = fs::metadata(image).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    let mut text = String::from("# Mapfile. Created by GNU ddrescue version 1.27\n0x0 ? 1\n");
    let mut at = 0;
    for (offset, size, status) in places {
        if *offset > at {
            text.push_str(&format!("{at:#x} {:#x} +\n", offset - at));
        }
        text.push_str(&format!("{offset:#x} {size:#x} {status}\n"));
        at = offset + size;
        // Not zeros: bytes that would count as differences, were they believed.
        file.write_all_at(&vec![0xa5; *size as usize], *offset)
            .unwrap();
    }
    if at < length {
        text.push_str(&format!("{at:#x} {:#x} +\n", length - at));
    }
    fs::write(map, text).unwrap();
}

/// A copy that a full disk ended is shorter than its table says. What it lacks is unread in every answer: as zeros it would
/// be exported under a checksum, and two such copies would agree about it.
#[test]
fn a_copy_that_was_cut_has_no_zeros_behind_its_end() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let images = ["a.img", "b.img"].map(|name| folder.path().join(name));
    for image in &images {
        let noise: Vec<u8> = (0..4 * MIB).map(|i| (i * i / 7) as u8).collect();
        fs::write(image, noise).unwrap();
        let file = fs::File::options().write(true).open(image).unwrap();
        // One partition, of 8 MiB from 1 MiB on.
        let mut entry = [0; 16];
        entry[4] = 0xfd;
        entry[8..12].copy_from_slice(&2048_u32.to_le_bytes());
        entry[12..].copy_from_slice(&16384_u32.to_le_bytes());
        file.write_all_at(&[0; 512], 0).unwrap();
        file.write_all_at(&entry, 446).unwrap();
        file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    }
    let [a, b] = &images;
    let lost = |offset: u64, length: u64| serde_json::json!([{"offset": offset, "length": length}]);
    let layout = folder.path().join("layout.toml");
    let text = "[[image]]\nname = \"a\"\npath = \"a.img\"\nsize = 4194304\n\
                partitions = [{ number = 1, offset = 1048576, length = 8388608 }]\n";
    fs::write(&layout, text).unwrap();
    let out = folder.path().join("out");
    let export = ["export", "a@1", "--layout"];
    let exported = json(disinter().args(export).arg(&layout).arg("-o").arg(&out), 3);
    assert_eq!(exported["unread"], lost(3 * MIB, 5 * MIB));
    assert_eq!(fs::metadata(&out).unwrap().len(), 8 * MIB);
    // Nor has what was exported: its map lies beside it, and is heeded.
    let map = folder.path().join("out.map");
    assert_eq!(exported["map"], map.to_str().unwrap());
    let scanned = json(disinter().arg("scan").arg(&out), 3);
    assert_eq!(scanned["unread"][0][1], lost(3 * MIB, 5 * MIB), "{scanned}");
    // One that lies there is neither overwritten nor left to pass for the new image's.
    fs::remove_file(&out).unwrap();
    let refused = run(disinter().args(export).arg(&layout).arg("-o").arg(&out), 2);
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(errors.contains("out.map"), "{errors}");
    assert!(!out.exists());
    // Where all was read there is none.
    let front = folder.path().join("front");
    let whole = ["export", "a", "--layout"];
    let whole = json(disinter().args(whole).arg(&layout).arg("-o").arg(&front), 0);
    assert_eq!(whole["map"], Value::Null);
    assert!(!folder.path().join("front.map").exists());
    let pairs = json(disinter().args(["md", "pairs"]).args([a, b]), 3);
    let compared = &pairs["groups"][0];
    assert_eq!(
        compared["compared_bytes"].as_u64(),
        Some(3 * MIB),
        "{pairs}"
    );
    assert_eq!(compared["unread_bytes"].as_u64(), Some(5 * MIB));
    let part = format!("{}@1", a.display());
    let scanned = json(disinter().args(["scan", &part]), 3);
    assert_eq!(scanned["unread"][0][1], lost(3 * MIB, 5 * MIB), "{scanned}");
    // However much the table promises, nobody waits for it.
    let file = fs::File::options().write(true).open(a).unwrap();
    file.write_all_at(&[0xff; 4], 446 + 12).unwrap();
    let since = std::time::Instant::now();
    run(disinter().args(["scan", &part]), 3);
    run(
        disinter()
            .args(["md", "pairs", "--as-mirrors", &part])
            .arg(b),
        3,
    );
    assert!(since.elapsed().as_secs() < 20);
}

/// Unread bytes must be unknown to every stop: the true order, text and mirrors come out as without the loss, the
/// answer says what it does not know, and its status is 3.
#[test]
fn unread_places_are_unknown_and_told() {
    let (unpacked, truth) = (Unpacked::new("holmes-2013"), answer("holmes-2013"));
    let images = unpacked.images();
    let whole_pairs = json(disinter().args(["md", "pairs"]).args(&images), 0);
    let places = [
        (40 << 20, 4096, '-'),
        (80 << 20, 1 << 20, '*'),
        (120 << 20, 512, '/'),
    ];
    for (image, extension) in images.iter().zip(["img.map", "map"].iter().cycle()).take(3) {
        lose(image, &image.with_extension(extension), &places);
    }
    // One map elsewhere, named.
    let elsewhere = unpacked.path().join("maps");
    fs::create_dir(&elsewhere).unwrap();
    lose(&images[3], &elsewhere.join("d"), &places);
    let named = format!("--map=sdd={}", elsewhere.join("d").display());

    let pairs = json(disinter().args(["md", "pairs", &named]).args(&images), 3);
    let difference = |pairs: &Value| -> Vec<(Vec<String>, Value)> {
        let groups = pairs["groups"].as_array().unwrap();
        let mut found: Vec<_> = groups
            .iter()
            .map(|g| (strings(&g["members"]), g["first_difference"].clone()))
            .collect();
        found.sort_by_key(|(members, _)| members.clone());
        found
    };
    assert_eq!(difference(&pairs), difference(&whole_pairs));
    assert!(
        pairs["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| { !g["unread_extents"].as_array().unwrap().is_empty() })
    );
    for group in pairs["groups"].as_array().unwrap() {
        let same = whole_pairs["groups"]
            .as_array()
            .unwrap()
            .iter()
            .find(|w| w["members"] == group["members"]);
        let (ours, whole) = (&group["differing_bytes"], &same.unwrap()["differing_bytes"]);
        assert!(
            ours.as_u64() <= whole.as_u64(),
            "unread bytes were counted as differences: {group}"
        );
    }

    let case = unpacked.path().join("lossy");
    let mut command = disinter();
    command
        .arg("investigate")
        .arg(&named)
        .args(&images)
        .arg("--case")
        .arg(&case);
    let found = json(&mut command, 3);
    assert_eq!(found["answered"], true);
    assert_eq!(found["text_sha256"], truth["vg"]["file_sha256"]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(case.join("manifest.json")).unwrap()).unwrap();
    for name in ["sda", "sdb", "sdc", "sdd"] {
        let input = manifest["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["name"] == name)
            .unwrap();
        let told: Vec<(u64, u64)> = input["unread"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["offset"].as_u64().unwrap(), e["length"].as_u64().unwrap()))
            .collect();
        assert_eq!(
            told,
            places.map(|(offset, length, _)| (offset, length)),
            "{name}"
        );
    }
    // The case's own map says what the given one said, and the layout finds it again.
    let map = fs::read_to_string(case.join("maps/sdd.map")).unwrap();
    assert!(
        map.contains("0x02800000  0x00001000  -") && map.contains("0x05000000  0x00100000  *"),
        "{map}"
    );
    let layout = case.join("layout.toml");
    let out = unpacked.path().join("sdd.out");
    let exported = json(
        disinter()
            .args(["export", "--layout"])
            .arg(&layout)
            .arg("sdd")
            .arg("-o")
            .arg(&out),
        3,
    );
    assert_eq!(exported["unread"].as_array().unwrap().len(), 3);
    let written = fs::read(&out).unwrap();
    assert!(written[40 << 20..][..4096].iter().all(|b| *b == 0));
}

/// A quick look does not come to most of what a map calls unread; that it is unknown is no less true. Of an image that is
/// given as a part only what lies in the part is.
#[test]
fn a_quick_look_tells_all_that_is_unread() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("sda.img");
    blank(&image, 256 << 20);
    lose(
        &image,
        &folder.path().join("sda.map"),
        &[(100 << 20, 7 << 20, '-')],
    );
    let look = |name: &str, part: &str, status: i32| -> Value {
        let case = folder.path().join(name);
        let mut command = disinter();
        command.args(["investigate", "--quick"]);
        command.arg(format!("{}{part}", image.display()));
        run(command.arg("--case").arg(&case), status);
        let told = fs::read_to_string(case.join("report.txt")).unwrap();
        assert_eq!(told.contains("could not be read"), status == 3, "{told}");
        serde_json::from_slice(&fs::read(case.join("manifest.json")).unwrap()).unwrap()
    };
    let manifest = look("whole", "", 3);
    assert_eq!(manifest["unread_bytes"], 7 << 20);
    assert_eq!(manifest["inputs"][0]["unread"][0]["offset"], 100 << 20);
    let manifest = look("inside", &format!("@{}+{}", 90 << 20, 100 << 20), 3);
    assert_eq!(manifest["inputs"][0]["unread"][0]["offset"], 10 << 20);
    assert_eq!(
        look("beside", &format!("@0+{}", 90 << 20), 1)["unread_bytes"],
        0
    );
}

/// Two halves of a mirror that cannot be read do not look like one: "no mirror" is then no answer.
#[test]
fn members_without_a_mirror_have_gaps_too() {
    let folder = tempfile::tempdir().unwrap();
    let images = ["sda", "sdb"].map(|name| folder.path().join(name).with_extension("img"));
    for (byte, image) in (1..).zip(&images) {
        let bytes: Vec<u8> = (0..4_u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761 + byte) >> 13) as u8)
            .collect();
        fs::write(image, bytes).unwrap();
    }
    json(disinter().args(["md", "pairs"]).args(&images), 1);
    lose(
        &images[1],
        &images[1].with_extension("map"),
        &[(2 << 20, 1 << 20, '*')],
    );
    let pairs = json(disinter().args(["md", "pairs"]).args(&images), 3);
    assert_eq!(pairs["groups"], serde_json::json!([]));
    let out = run(disinter().args(["md", "pairs"]).args(&images), 3);
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(page.contains("sdb: 1 MiB could not be read"), "{page}");
}

/// A map that is not this image's, or no map at all, stops the work: read without it, holes would be data.
#[test]
fn maps_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.img");
    fs::write(&image, vec![7; 8192]).unwrap();
    let map = folder.path().join("a.img.map");
    for (text, words) in [
        ("0 +\n0 4096 +\n", "ends at byte 4096"),
        ("0 +\n0 16384 +\n", "read up to 16384"),
        (
            "digraph { a -> b }\n",
            "line 1: expected ddrescue's position and status",
        ),
        ("", "line 1"),
    ] {
        fs::write(&map, text).unwrap();
        let out = run(disinter().arg("scan").arg(&image), 2);
        let errors = String::from_utf8(out.stderr).unwrap();
        assert!(
            errors.contains(words) && errors.contains("--map"),
            "{errors}"
        );
        assert_eq!(errors.lines().count(), 1);
    }
    fs::remove_file(&map).unwrap();
    let out = run(disinter().args(["scan", "--map", "b=x"]).arg(&image), 2);
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("none of the images")
    );
    let out = run(disinter().args(["scan", "--map", "none"]).arg(&image), 2);
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("No such file")
    );
    // Only the front of a larger disk is the copy.
    fs::write(&map, "0 +\n0 4096 +\n").unwrap();
    let front = format!("{}@0+4096", image.display());
    run(disinter().arg("scan").arg(front), 1);
}

/// GNU ddrescue's own maps are read, and ours are read by its own tool.
#[test]
fn the_maps_are_ddrescues() {
    if Command::new("ddrescue").arg("--version").output().is_err() {
        eprintln!("SKIPPED: ddrescue is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("disk"), vec![7; 1 << 20]).unwrap();
    // Only the first half is copied: what a stopped rescue leaves.
    run(
        Command::new("ddrescue")
            .args(["--size=512KiB", "--quiet"])
            .args([path("disk"), path("copy.img"), path("part.map")]),
        0,
    );
    run(
        Command::new("ddrescue")
            .args([
                "--quiet",
                "--extend-outfile=1MiB",
                "--max-error-rate=0",
                "--input-position=256KiB",
                "--size=256KiB",
            ])
            .args([path("disk"), path("late.img"), path("late.map")]),
        0,
    );
    let found = json(disinter().arg("scan").arg(path("late.img")), 3);
    let unread = &found["unread"][0][1];
    assert_eq!(unread[0]["offset"], 0);
    assert_eq!(unread[0]["length"], 256 << 10);
    // Ours, checked by ddrescue's tool.
    let saved = path("saved");
    run(
        disinter()
            .args(["scan", "--save-map"])
            .arg(&saved)
            .arg(path("late.img")),
        3,
    );
    let out = run(
        Command::new("ddrescuelog")
            .arg("--list-blocks=+")
            .arg(saved.join("late.map")),
        0,
    );
    let blocks: Vec<u64> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|l| l.parse().unwrap())
        .collect();
    assert_eq!(blocks, (512..1024).collect::<Vec<u64>>());
}
