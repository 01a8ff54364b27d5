//! The story from damaged disks to volumes, without any kernel: both variants of the drill, against the answers that
//! the recipe computed without disinter.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, answer, disinter, drill, json, run, sha256, strings};
use serde_json::Value;
use std::path::Path;

const SAME: &str = "holmes-2013";
const OTHER: &str = "holmes-2013-other-order";

/// The pairs of an order, each sorted: which mirror of a pair stands first cannot be known and does not matter.
fn pairs_in_order(members: &Value) -> Vec<Vec<String>> {
    let pair = |pair: &[String]| {
        let mut pair = pair.to_vec();
        pair.sort();
        pair
    };
    strings(members).chunks(2).map(pair).collect()
}

fn striped(arrays: &Value) -> &Value {
    arrays
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["chunk_kib"].is_u64())
        .unwrap()
}

/// The case must hold the true order, text and half, and say so in the fields that others build on.
fn the_case_is_right(name: &str) {
    let (unpacked, truth) = (Unpacked::new(name), answer(name));
    let read = |file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(unpacked.case().join(file)).unwrap()).unwrap()
    };
    let arrays = read("arrays.json");
    let (array, true_array) = (striped(&arrays), striped(&truth["arrays"]));
    for field in [
        "level",
        "layout",
        "chunk_kib",
        "data_offset_sectors",
        "metadata",
    ] {
        assert_eq!(array[field], true_array[field], "{field}");
    }
    assert_eq!(
        pairs_in_order(&array["members"]),
        pairs_in_order(&true_array["members"])
    );
    assert_eq!(array["ambiguous"], false);
    assert!(array["confidence"].as_f64().unwrap() > 0.99);
    // Offsets and counts by another program: the recipe's own comparison.
    let mut counted: Vec<(Vec<String>, Value, Value, Value)> = Vec::new();
    for pair in read("pairs.json").as_array().unwrap() {
        if pair["members"].as_array().unwrap().len() == 2 {
            let fields = ["common_bytes", "first_difference", "differing_bytes"];
            let [a, b, c] = fields.map(|f| pair[f].clone());
            counted.push((pairs_in_order(&pair["members"]).remove(0), a, b, c));
        }
    }
    for pair in truth["pair_differences"].as_array().unwrap() {
        let members = pairs_in_order(&pair["members"]).remove(0);
        let fields = ["common_bytes", "first_difference", "differing_bytes"];
        let [a, b, c] = fields.map(|f| pair[f].clone());
        assert!(
            counted.contains(&(members, a, b, c)),
            "{pair} in {counted:?}"
        );
    }
    let text = std::fs::read(unpacked.case().join("guests.vg")).unwrap();
    assert_eq!(sha256(&text), truth["vg"]["file_sha256"]);
    assert_eq!(
        text,
        std::fs::read(drill(name).join("true-guests.vg")).unwrap()
    );
}

/// Same order: if this fails, the story cannot be told at all.
#[test]
fn same_order_case() {
    the_case_is_right(SAME);
}

/// Other order: the superblocks claim a wrong order. Believing them would restore garbage.
#[test]
fn other_order_case() {
    the_case_is_right(OTHER);
    let unpacked = Unpacked::new(OTHER);
    let examined = json(
        disinter().args(["md", "examine"]).args(unpacked.images()),
        0,
    );
    let slot_0 = examined["superblocks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["level"] == 10 && s["role"]["slot"] == 0)
        .unwrap();
    assert_eq!(
        slot_0["member"], "sdi@2",
        "the variant is not what it is meant to be"
    );
    // The installer's own text is younger than its superblocks; nothing of it lies where it says.
    for array in examined["arrays"].as_array().unwrap() {
        assert_eq!(array["believed"], false, "{array}");
    }
}

/// A manifest that does not match its files is worse than none.
#[test]
fn the_manifest_holds() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let text = std::fs::read(unpacked.case().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let bytes = std::fs::read(unpacked.case().join(file["path"].as_str().unwrap())).unwrap();
        assert_eq!(sha256(&bytes), file["sha256"], "{file}");
    }
    let mut listed: Vec<String> = files
        .iter()
        .map(|f| f["path"].as_str().unwrap().into())
        .collect();
    listed.push("manifest.json".to_owned());
    listed.sort();
    let mut there = Vec::new();
    walk(&unpacked.case(), &unpacked.case(), &mut there);
    there.sort();
    assert_eq!(there, listed);
    for disk in truth["disks"].as_array().unwrap() {
        let row = manifest["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["name"] == disk["name"]);
        assert_eq!(row.unwrap()["sha256"], disk["sha256"]);
    }
    for name in [
        "findings.json",
        "layout.toml",
        "guests.vg",
        "scripts/30-assemble.sh",
        "leading/index.json",
    ] {
        assert!(listed.iter().any(|f| f == name), "{name} is missing");
    }
}

fn walk(folder: &Path, base: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, base, files),
            false => files.push(path.strip_prefix(base).unwrap().display().to_string()),
        }
    }
}

/// What is exported through the layout must be what the kernel read before the damage: on the half, and on all disks.
#[test]
fn exported_volumes_are_the_old_ones() {
    for name in [SAME, OTHER] {
        let (unpacked, truth) = (Unpacked::new(name), answer(name));
        for lv in truth["lvs"].as_array().unwrap() {
            for half in [true, false] {
                let mut export = disinter();
                export
                    .args(["export", "--layout"])
                    .arg(unpacked.case().join("layout.toml"));
                if half {
                    export.arg("--half");
                }
                let volume = format!("guests/{}", lv["name"].as_str().unwrap());
                let target = unpacked.path().join("export.img");
                let out = json(export.arg(&volume).arg("-o").arg(&target), 0);
                assert_eq!(out["sha256"], lv["sha256"], "{name} {volume} half: {half}");
                let written = std::fs::read(&target).unwrap();
                assert_eq!(
                    sha256(&written),
                    lv["sha256"],
                    "what was written is not what was read"
                );
                std::fs::remove_file(&target).unwrap();
            }
        }
    }
}

/// On the overwritten half, the volumes differ from the old ones in the bytes that the installer changed and in no
/// other: the answer knows them.
#[test]
fn the_overwritten_half_differs_where_it_was_overwritten_only() {
    let (unpacked, truth) = (Unpacked::new(OTHER), answer(OTHER));
    let layout = std::fs::read_to_string(unpacked.case().join("layout.toml")).unwrap();
    let edited = layout.replace(
        "\"sdh@2\",\n    \"sda@2\",\n]",
        "\"sdi@2\",\n    \"sdj@2\",\n]",
    );
    assert_ne!(
        edited, layout,
        "the half's place in the layout file was not found"
    );
    let edited_file = unpacked.case().join("edited.toml");
    std::fs::write(&edited_file, edited).unwrap();
    let mut hit = 0;
    for lv in truth["lvs"].as_array().unwrap() {
        let volume = format!("guests/{}", lv["name"].as_str().unwrap());
        let mut export = disinter();
        export
            .args(["export", "--half", "--layout"])
            .arg(&edited_file);
        let mut bytes = run(export.arg(&volume).args(["-o", "-"]), 0).stdout;
        hit += usize::from(sha256(&bytes) != lv["sha256"].as_str().unwrap());
        for extent in lv["overwritten"].as_array().unwrap() {
            let at = usize::try_from(extent["offset"].as_u64().unwrap()).unwrap();
            let length = usize::try_from(extent["length"].as_u64().unwrap()).unwrap();
            bytes[at..at + length].fill(0);
        }
        assert_eq!(sha256(&bytes), lv["sha256_outside"], "{volume}");
    }
    assert_eq!(hit, 1, "only home was overwritten");
}

/// Files read through the layout are the files that were put there, on volumes and in guests' partitions.
#[test]
fn files_are_the_old_ones() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let layout = unpacked.case().join("layout.toml");
    for lv in truth["lvs"].as_array().unwrap() {
        let name = lv["name"].as_str().unwrap();
        for file in lv["files"].as_array().unwrap() {
            let volume = match file["partition"].as_u64().unwrap() {
                0 => format!("guests/{name}"),
                n => format!("guests/{name}@{n}"),
            };
            let place = format!("{volume}:{}", file["path"].as_str().unwrap());
            let out = run(
                disinter()
                    .args(["fs", "cat", "--layout"])
                    .arg(&layout)
                    .arg(&place),
                0,
            );
            assert_eq!(sha256(&out.stdout), file["sha256"], "{place}");
        }
    }
    let list = json(
        disinter()
            .args(["fs", "ls", "--layout"])
            .arg(&layout)
            .arg("guests/wiki@1:/etc"),
        0,
    );
    let motd = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "motd")
        .unwrap();
    assert_eq!(list["doubts"], serde_json::json!([]));
    assert_eq!(
        (&motd["kind"], &motd["target"]),
        (&"link".into(), &"../srv/big.log".into())
    );
    let target = unpacked.path().join("copied");
    let copied = json(
        disinter()
            .args(["fs", "cp", "--layout"])
            .arg(&layout)
            .arg("guests/home:/deep")
            .arg(&target),
        0,
    );
    assert_eq!(copied["problems"], serde_json::json!([]));
    assert!(copied["files"].as_u64() > Some(0), "{copied}");
    let bottom = (0..12)
        .fold(target, |folder, n| folder.join(format!("d{n}")))
        .join("bottom.txt");
    assert_eq!(std::fs::read(bottom).unwrap().len(), 2000);
}

/// The check must pass on a volume in the true order and fail on the same volume with two pairs changed round: it is
/// what a person falls back on where an order is ambiguous.
#[test]
fn a_wrong_order_fails_the_check() {
    let unpacked = Unpacked::new(SAME);
    let right = unpacked.case().join("layout.toml");
    let check = |layout: &Path, status| {
        json(
            disinter()
                .args(["fs", "check", "guests/distros", "--layout"])
                .arg(layout),
            status,
        )
    };
    assert_eq!(check(&right, 0)["verdict"], "whole");
    let mut layout: toml::Table =
        toml::from_str(&std::fs::read_to_string(&right).unwrap()).unwrap();
    let arrays = layout["array"].as_array_mut().unwrap();
    let array = arrays
        .iter_mut()
        .find(|a| a.get("chunk_kib").is_some())
        .unwrap();
    // The pair at place 3 holds the volume's start; those at 0 and 1 change round.
    array["members"].as_array_mut().unwrap()[..4].rotate_left(2);
    let wrong = unpacked.case().join("wrong.toml");
    std::fs::write(&wrong, toml::to_string(&layout).unwrap()).unwrap();
    assert_ne!(check(&wrong, 1)["verdict"], "whole");
}

/// The JSON that others build on: the fields of the commands, on the drill's disks.
#[test]
fn the_commands_give_their_fields() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let images = unpacked.images();
    let texts = json(disinter().args(["lvm", "scan"]).args(&images), 0);
    assert_eq!(texts["schema"], "disinter/lvm scan/1");
    let best = &texts["candidates"][0];
    let fields = "rank vg vg_id seqno creation_time description form image offset length complete checksum pvs lvs \
                  sha256 evidence";
    for field in fields.split(' ') {
        assert!(best.get(field).is_some(), "candidates[].{field}");
    }
    assert_eq!(best["sha256"], truth["vg"]["file_sha256"]);
    assert_eq!(best["vg_id"], truth["vg"]["id"]);
    let pv = &best["pvs"][0];
    for field in ["name", "id", "device", "dev_size", "pe_start", "pe_count"] {
        assert!(pv.get(field).is_some(), "pvs[].{field}");
    }
    for field in ["name", "id", "size_bytes", "segments"] {
        assert!(best["lvs"][0].get(field).is_some(), "lvs[].{field}");
    }
    let pairs = json(disinter().args(["md", "pairs"]).args(&images), 0);
    for field in [
        "members",
        "common_bytes",
        "first_difference",
        "differing_bytes",
        "differing_extents",
    ] {
        assert!(pairs["groups"][0].get(field).is_some(), "groups[].{field}");
    }
    let guess = json(disinter().args(["md", "guess"]).args(&images), 0);
    let fields = "level layout chunk_kib data_offset_sectors metadata members stale confidence ambiguous evidence \
                  alternatives";
    for field in fields.split(' ') {
        assert!(guess["arrays"][0].get(field).is_some(), "arrays[].{field}");
    }
    let pairs_file = unpacked.path().join("pairs.json");
    std::fs::write(&pairs_file, serde_json::to_vec(&pairs).unwrap()).unwrap();
    let smart = json(
        disinter()
            .args(["smart", "rank"])
            .arg(drill(SAME).join("smart"))
            .arg("--pairs")
            .arg(&pairs_file),
        0,
    );
    let fields = "rank file device model serial protocol verdict score reasons failing_lbas";
    for field in fields.split(' ') {
        assert!(smart["disks"][0].get(field).is_some(), "disks[].{field}");
    }
    let faulty: Vec<String> = strings(&truth["smart"]["faulty"]);
    let half: Vec<String> = strings(&smart["half"])
        .into_iter()
        .filter(|m| m.ends_with("@2"))
        .collect();
    assert_eq!(half.len(), 5);
    assert!(
        half.iter().all(|m| !faulty.contains(&m.replace("@2", ""))),
        "{half:?}"
    );
    assert!(smart["pairs"][0]["why"].is_string());
}

/// The images are evidence: no command may change a byte of them.
#[test]
fn the_images_stay_as_they_were() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let images = unpacked.images();
    for command in [
        &["scan"][..],
        &["md", "guess"],
        &["lvm", "scan"],
        &["md", "examine"],
    ] {
        run(disinter().args(command).args(&images), 0);
    }
    for disk in truth["disks"].as_array().unwrap() {
        let name = format!("{}.img", disk["name"].as_str().unwrap());
        let bytes = std::fs::read(unpacked.path().join(name)).unwrap();
        assert_eq!(sha256(&bytes), disk["sha256"]);
    }
}

/// A first look must not pass for the whole one: what was not read of the disks and not compared of the mirrors is said.
#[test]
fn a_quick_case_says_what_it_left_out() {
    let unpacked = Unpacked::new(SAME);
    let case = unpacked.path().join("quick");
    let mut command = disinter();
    command
        .args(["investigate", "--quick", "--case"])
        .arg(&case);
    let page = run(command.args(unpacked.images()), 0).stdout;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(
        page.contains("mirrors were compared at places only"),
        "{page}"
    );
    let pairs = std::fs::read(case.join("pairs.json")).unwrap();
    let pairs: Value = serde_json::from_slice(&pairs).unwrap();
    for pair in pairs.as_array().unwrap() {
        let bytes = |field: &str| pair[field].as_u64().unwrap();
        assert!(bytes("compared_bytes") <= 64 << 20);
        assert!(bytes("compared_bytes") < bytes("common_bytes"), "{pair}");
    }
}

/// The page and the case of some of a drill's disks.
fn of_disks(unpacked: &Unpacked, disks: &[String], status: i32) -> (String, std::path::PathBuf) {
    let case = unpacked.path().join("some");
    let images = disks
        .iter()
        .map(|d| unpacked.path().join(format!("{d}.img")));
    let mut command = disinter();
    command.args(["investigate", "--case"]).arg(&case);
    let page = run(command.args(images), status).stdout;
    (String::from_utf8_lossy(&page).into_owned(), case)
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn says(array: &Value, words: &str) -> bool {
    strings(&array["evidence"])
        .iter()
        .any(|e| e.contains(words))
}

/// One disk of each pair is what the book tells people to work on. Its bytes are a raid0's too; started as one, the array
/// could never take the other mirrors back.
#[test]
fn half_of_the_disks_is_still_a_raid10() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let disks = ["sdc", "sdd", "sdf", "sdi", "sdj"].map(str::to_owned);
    let (page, case) = of_disks(&unpacked, &disks, 0);
    assert!(page.contains("raid10 n2 of 10, chunk 64 KiB"), "{page}");
    assert!(page.contains("not believed: the same order"), "{page}");
    let arrays = read_json(&case.join("arrays.json"));
    let (array, true_array) = (striped(&arrays), striped(&truth["arrays"]));
    assert_eq!(array["ambiguous"], false);
    assert!(says(array, "the same bytes as raid0 of 5"), "{array}");
    let true_members = strings(&true_array["members"]);
    let members = array["members"].as_array().unwrap();
    assert_eq!(members.len(), 10);
    for (pair, of_truth) in members.chunks(2).zip(true_members.chunks(2)) {
        let here: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
        assert_eq!(here.len(), 1, "{members:?}");
        assert!(of_truth.iter().any(|m| m == here[0]), "{members:?}");
    }
    let script = std::fs::read_to_string(case.join("scripts/30-assemble.sh")).unwrap();
    assert!(script.contains("mdadm --assemble"), "{script}");
    assert!(script.contains("raid10 over 10 members"), "{script}");
    for lv in truth["lvs"].as_array().unwrap() {
        let volume = format!("guests/{}", lv["name"].as_str().unwrap());
        let mut export = disinter();
        export
            .args(["export", "--layout"])
            .arg(case.join("layout.toml"));
        let out = run(export.arg(&volume).args(["-o", "-"]), 0);
        assert_eq!(sha256(&out.stdout), lv["sha256"], "{volume}");
    }
}

/// Superblocks of another order say nothing of this half's slots: then a person must be told what else has its bytes.
#[test]
fn half_of_the_disks_in_another_order_may_be_a_raid0() {
    let (unpacked, truth) = (Unpacked::new(OTHER), answer(OTHER));
    let members = strings(&striped(&truth["arrays"])["members"]);
    let one = |pair: &[String]| pair[1].replace("@2", "");
    let disks: Vec<String> = members.chunks(2).map(one).collect();
    let images = disks
        .iter()
        .map(|d| unpacked.path().join(format!("{d}.img")));
    let guess = json(disinter().args(["md", "guess"]).args(images), 0);
    let array = striped(&guess["arrays"]);
    assert_eq!(array["level"], "raid0");
    assert!(says(array, "a raid10 n2 of 10"), "{array}");
}

/// A pair that is missing takes its bytes with it and contradicts nothing: what ext3 inodes of unknown file systems say
/// was held against each of them, and this order called ambiguous at 100.0 %.
#[test]
fn a_missing_pair_leaves_the_order_sure() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let true_pairs = pairs_in_order(&striped(&truth["arrays"])["members"]);
    let is_lost = |disk: &str| true_pairs[4].iter().any(|m| m.starts_with(disk));
    let disks: Vec<String> = ('a'..='j').map(|c| format!("sd{c}")).collect();
    let here: Vec<String> = disks.into_iter().filter(|d| !is_lost(d)).collect();
    let (page, case) = of_disks(&unpacked, &here, 1);
    assert!(!page.contains("AMBIGUOUS"), "{page}");
    assert!(page.contains("8 of 10 members of array2"), "{page}");
    let arrays = read_json(&case.join("arrays.json"));
    let array = striped(&arrays);
    assert!(!says(array, "lies otherwise"), "{array}");
    let pairs: Vec<Vec<String>> = array["members"].as_array().unwrap()[..8]
        .chunks(2)
        .map(|pair| pairs_in_order(&Value::from(pair.to_vec())).remove(0))
        .collect();
    assert_eq!(pairs, true_pairs[..4]);
}

/// With its superblocks lost as well, an array that lacks a pair was told as one of four pairs, and no order of those
/// holds what the content says.
#[test]
fn a_missing_pair_is_told_without_superblocks() {
    let (unpacked, truth) = (Unpacked::new(SAME), answer(SAME));
    let true_pairs = pairs_in_order(&striped(&truth["arrays"])["members"]);
    let is_lost = |image: &Path| {
        let disk = image.file_stem().unwrap().to_str().unwrap();
        true_pairs[2].iter().any(|m| m.starts_with(disk))
    };
    let mut images = unpacked.images();
    images.retain(|image| !is_lost(image));
    for image in &images {
        let mut bytes = std::fs::read(image).unwrap();
        for sector in bytes.chunks_mut(512) {
            if sector.starts_with(&[0xfc, 0x4e, 0x2b, 0xa9]) {
                sector.fill(0);
            }
        }
        std::fs::write(image, bytes).unwrap();
    }
    let guess = json(disinter().args(["md", "guess"]).args(images), 0);
    let array = striped(&guess["arrays"]);
    assert_eq!(array["ambiguous"], false, "{array}");
    let members = array["members"].as_array().unwrap();
    assert_eq!(members.len(), 10, "{array}");
    for (place, (pair, of_truth)) in members.chunks(2).zip(&true_pairs).enumerate() {
        let pair = pair.to_vec();
        match place {
            2 => assert_eq!(pair, [Value::Null, Value::Null]),
            _ => assert_eq!(pairs_in_order(&pair.into())[0], *of_truth),
        }
    }
}
