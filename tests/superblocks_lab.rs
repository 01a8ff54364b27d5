//! md superblocks of every kind as the real kernel and mdadm write them, and mdadm as the judge of every field.
//!
//! As tests/lab.rs these need the lab's packages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{blanks, boot, disinter, export, json, lab};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the lab's disks: not a multiple of 64 KiB from any end that matters, so that the places differ.
const DISK: u64 = (8 << 20) + (128 << 10);

/// `mdadm --examine`'s lines as key and value, with more options; `None` where mdadm is not installed here.
fn mdadm(file: &Path, options: &str) -> Option<BTreeMap<String, String>> {
    let command = "PATH=/usr/sbin:/sbin:$PATH; command -v mdadm >/dev/null || exit 77; mdadm --examine $2 \"$1\"";
    let mut sh = Command::new("sh");
    let out = sh
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .args(["-c", command, "sh"])
        .arg(file)
        .arg(options)
        .output()
        .unwrap();
    if out.status.code() == Some(77) {
        eprintln!("SKIPPED: mdadm is not installed");
        return None;
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(" : "));
    Some(
        lines
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect(),
    )
}

/// The first number in a value.
fn number(value: &str) -> u64 {
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// mdadm's word for a layout.
fn layout(sb: &Value, view: &Value) -> Option<String> {
    let name = view["layout"].as_str()?;
    let copies = name.get(1..).unwrap_or_default();
    Some(match (sb["level"].as_i64(), name.chars().next()) {
        (Some(10), Some('n')) => format!("near={copies}"),
        (Some(10), Some('f')) => format!("far={copies}"),
        (Some(10), Some('o')) => format!("offset={copies}"),
        _ => name.to_owned(),
    })
}

/// Every field that mdadm prints of one member and ours of the same bytes.
fn compare(name: &str, theirs: &BTreeMap<String, String>, sb: &Value, view: &Value) {
    let get = |key: &str| theirs.get(key).map(String::as_str);
    let same = |key: &str, ours: String| {
        assert_eq!(get(key), Some(ours.as_str()), "{name}: {key}\n{theirs:#?}");
    };
    let version = text(&sb["version"]);
    let old = version == "0.90";
    let mdadms_version = match version.as_str() {
        "0.90" => "0.90.00".to_owned(),
        // mdadm calls all of them by their format; where they lie is the minor.
        _ => version.clone(),
    };
    same("Version", mdadms_version);
    let uuid = get(if old { "UUID" } else { "Array UUID" }).unwrap();
    assert_eq!(
        uuid.split_whitespace().next(),
        sb["array_uuid"].as_str(),
        "{name}"
    );
    assert_eq!(get("Raid Level"), view["level"].as_str(), "{name}");
    assert_eq!(
        number(get("Raid Devices").unwrap()),
        sb["raid_disks"].as_u64().unwrap(),
        "{name}"
    );
    assert_eq!(
        number(get("Events").unwrap()),
        sb["events"].as_u64().unwrap(),
        "{name}"
    );
    assert!(get("Checksum").unwrap().ends_with("correct"), "{name}");
    assert_eq!(sb["checksum"], "ok", "{name}");
    if let Some(theirs) = get("Layout") {
        assert_eq!(Some(theirs.to_owned()), layout(sb, view), "{name}");
    }
    if let Some(theirs) = get("Chunk Size") {
        assert_eq!(number(theirs) * 2, sb["chunk"].as_u64().unwrap(), "{name}");
    }
    for (key, field) in [("Creation Time", "created"), ("Update Time", "updated")] {
        let theirs = Command::new("date")
            .args(["-u", "+%s", "-d", get(key).unwrap()])
            .output()
            .unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        assert_eq!(theirs.trim(), sb[field].to_string(), "{name}: {key}");
    }
    if old {
        return;
    }
    same("Device UUID", text(&sb["device_uuid"]));
    // Where data starts at 0 mdadm says nothing of it.
    let offset = get("Data Offset").map_or(0, number);
    assert_eq!(Some(offset), sb["data_offset"].as_u64(), "{name}");
    same(
        "Super Offset",
        format!("{} sectors", sb["at"].as_u64().unwrap() / 512),
    );
    let state = get("Array State").unwrap().split_whitespace().next();
    let roles = disinter_state(sb);
    assert_eq!(state, Some(roles.as_str()), "{name}: Array State");
    let avail = number(get("Avail Dev Size").unwrap());
    assert_eq!(Some(avail), sb["data_size"].as_u64(), "{name}");
    let role = match &sb["role"] {
        Value::String(word) => match word.as_str() {
            "journal" => "Journal".to_owned(),
            word => word.to_owned(),
        },
        slot => format!("Active device {}", slot["slot"]),
    };
    same("Device Role", role);
    // In sectors of the array; mdadm prints KiB.
    let reshape = get("Reshape pos'n").map(|p| number(p) * 2);
    assert_eq!(reshape, sb["reshape"]["position"].as_u64(), "{name}");
    let moved = get("New Offset").map(number);
    assert_eq!(moved, sb["reshape"]["new_data_offset"].as_u64(), "{name}");
    let delta = get("Delta Devices").map(|d| d.split(' ').next().unwrap().to_owned());
    let ours = sb["reshape"]["delta_disks"].as_i64();
    assert_eq!(delta, ours.map(|d| d.to_string()), "{name}");
    let recovery = get("Recovery Offset").map(number);
    assert_eq!(recovery, sb["recovery_offset"].as_u64(), "{name}");
    let bitmap = get("Internal Bitmap").map(|b| b.split(' ').next().unwrap().to_owned());
    let ours = sb["bitmap_offset"].as_i64().map(|b| b.to_string());
    assert_eq!(bitmap, ours, "{name}");
    let ppl = get("PPL").map(number);
    let ours = sb["ppl"]["length"].as_u64().map(|bytes| bytes / 512);
    assert_eq!(ppl, ours, "{name}");
    let log = get("Bad Block Log");
    assert_eq!(log.is_some(), !sb["bad_block_log"].is_null(), "{name}");
    let listed = log.is_some_and(|l| l.contains("bad blocks present"));
    let bad = sb["bad_blocks"].as_array().is_some_and(|b| !b.is_empty());
    assert_eq!(listed, bad, "{name}");
    // A resync that is not over leaves the array active.
    let active = get("State").is_some_and(|s| s.starts_with("active"));
    assert_eq!(active, !sb["resync_offset"].is_null(), "{name}: State");
}

/// The slots by the roles in the JSON, by another way than the program's.
fn disinter_state(sb: &Value) -> String {
    let slots = sb["raid_disks"].as_u64().unwrap();
    let holders = |slot: u64| {
        let roles = sb["roles"].as_array().unwrap().iter();
        roles
            .filter(|r| r["role"]["slot"].as_u64() == Some(slot))
            .count()
    };
    (0..slots)
        .map(|slot| match holders(slot) {
            0 => '.',
            1 => 'A',
            _ => 'R',
        })
        .collect()
}

/// What `md examine` says of the members of one array.
fn examine(share: &Path, name: &str) -> (Value, Vec<PathBuf>) {
    let member = |i: usize| share.join(format!("{name}.{i}"));
    let files: Vec<PathBuf> = (0..8).map(member).take_while(|f| f.exists()).collect();
    (
        json(disinter().args(["md", "examine"]).args(&files), 0),
        files,
    )
}

fn status(view: &Value, member: &str) -> String {
    let members = view["members"].as_array().unwrap().iter();
    let mut of = members.filter(|m| m["member"] == member);
    text(&of.next().unwrap_or_else(|| panic!("{member}: {view:#}"))["status"])
}

/// Every kind of metadata that mdadm and the kernel write, field by field: a field read wrongly here puts an array
/// together wrongly there.
#[test]
fn mdadm_agrees_on_every_field() {
    let Some(_one) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    let disks = blanks(folder.path(), 0..5, DISK);
    boot(&share, "superblocks.guest.sh", &[], &disks);
    let names = fs::read_to_string(share.join("names")).unwrap();
    let mut compared = 0;
    for name in names.lines().filter(|n| *n != "wiped") {
        let (found, files) = examine(&share, name);
        let view = &found["arrays"][0];
        for file in &files {
            let member = file.file_name().unwrap().to_str().unwrap();
            let Some(theirs) = mdadm(file, "") else {
                return;
            };
            let rows = found["superblocks"].as_array().unwrap().iter();
            let sb = rows
                .filter(|row| row["member"] == member)
                .find(|row| row["array_uuid"] == view["array_uuid"])
                .unwrap_or_else(|| panic!("{member}: {found:#}"));
            compare(member, &theirs, sb, view);
            compared += 1;
        }
        assert_eq!(
            found["broken"].as_array().unwrap().len(),
            0,
            "{name}: {found:#}"
        );
    }
    println!("{compared} members");
    assert!(compared >= 40, "{compared}");
    what_members_say(&share);
    bitmaps_and_bad_blocks(&share);
    what_was_never_written(&share);
    what_holds_nothing(&share);
    members_of_unequal_length(&share);
    big_endian(&share);
    copies(folder.path(), &share);
}

/// Who is behind, spare, journal, being filled; what is old; what is left without a superblock.
fn what_members_say(share: &Path) {
    let (found, _) = examine(share, "behind");
    let view = &found["arrays"][0];
    assert_eq!(status(view, "behind.2"), "behind");
    assert_eq!(status(view, "behind.1"), "current");
    assert_eq!(
        (&view["state"], &view["empty_slots"][0]["slot"]),
        (&"AA.A".into(), &2.into())
    );
    let (found, _) = examine(share, "spare");
    assert_eq!(status(&found["arrays"][0], "spare.2"), "spare");
    let (found, _) = examine(share, "journal");
    assert_eq!(status(&found["arrays"][0], "journal.3"), "journal");
    let (found, _) = examine(share, "recovery");
    assert_eq!(status(&found["arrays"][0], "recovery.1"), "rebuilding");
    let (found, _) = examine(share, "recreated");
    let arrays = found["arrays"].as_array().unwrap();
    let levels: Vec<&str> = arrays
        .iter()
        .map(|a| a["level"].as_str().unwrap())
        .collect();
    assert_eq!(
        levels,
        ["raid0", "raid1"],
        "the new one, and the old one behind it"
    );
    assert!(arrays[0]["superseded_by"].is_null());
    assert_eq!(arrays[1]["superseded_by"], arrays[0]["array_uuid"]);
    let (found, _) = examine(share, "wiped");
    assert!(found["superblocks"].as_array().unwrap().is_empty());
    let remains = found["remains"].as_array().unwrap();
    assert_eq!(remains.len(), 2, "{found:#}");
    assert!(
        remains
            .iter()
            .all(|r| r["kind"] == "bitmap" && r["array_uuid"] == remains[0]["array_uuid"])
    );
}

/// What mdadm in the guest read from the devices.
fn bitmaps_and_bad_blocks(share: &Path) {
    for name in ["v10bitmap", "behind"] {
        let (found, _) = examine(share, name);
        for row in found["superblocks"].as_array().unwrap() {
            let member = row["member"].as_str().unwrap();
            let theirs = fs::read_to_string(share.join(format!("{member}.bitmap"))).unwrap();
            let line = |key: &str| {
                let mut lines = theirs.lines().filter_map(|l| l.split_once(" : "));
                let found = lines.find(|(k, _)| k.trim() == key);
                found
                    .unwrap_or_else(|| panic!("{key}: {theirs}"))
                    .1
                    .to_owned()
            };
            let ours = &row["bitmap"];
            assert_eq!(
                number(&line("Events")),
                ours["events"].as_u64().unwrap(),
                "{member}"
            );
            let cleared = number(&line("Events Cleared"));
            assert_eq!(
                cleared,
                ours["events_cleared"].as_u64().unwrap(),
                "{member}"
            );
            // "14 bits (chunks), 3 dirty (21.4%)"
            let bits = line("Bitmap");
            assert_eq!(number(&bits), ours["bits"].as_u64().unwrap(), "{member}");
            let dirty = bits.split(", ").nth(1).unwrap();
            assert_eq!(number(dirty), ours["dirty"].as_u64().unwrap(), "{member}");
            assert_eq!(line("UUID"), text(&ours["array_uuid"]), "{member}");
        }
    }
    let (found, _) = examine(share, "badblocks");
    let row = &found["superblocks"][0];
    let member = row["member"].as_str().unwrap();
    let theirs = fs::read_to_string(share.join(format!("{member}.bad"))).unwrap();
    let ours = row["bad_blocks"].as_array().unwrap().iter().map(|e| {
        let [at, length] = ["offset", "length"].map(|f| e[f].as_u64().unwrap() / 512);
        format!("{at} for {length} sectors")
    });
    let theirs: Vec<String> = theirs
        .lines()
        .skip(1)
        .map(|l| l.trim().to_owned())
        .collect();
    assert_eq!(ours.collect::<Vec<_>>(), theirs);
    assert!(theirs.len() >= 3, "{theirs:?}");
}

/// What md could not write on one mirror, and listed: read from there, the array held what was on the disk before it.
fn what_was_never_written(share: &Path) {
    let file = |name: &str| share.join(name);
    let members = ["unwritten.0", "unwritten.1"].map(file);
    let (listed, length) = (6000 * 512, 64 * 512);
    let array = fs::read(file("unwritten.array")).unwrap();
    let [layout, alone] = ["both.toml", "alone.toml"].map(file);

    let mut pairs = disinter();
    let pairs = json(pairs.args(["md", "pairs"]).args(&members), 3);
    let group = &pairs["groups"][0];
    assert_eq!(group["differing_bytes"], 0, "{group:#}");
    assert_eq!(group["unread_bytes"], length, "{group:#}");

    let mut guess = disinter();
    guess
        .args(["md", "guess", "-o"])
        .arg(&layout)
        .args(&members);
    let answer = json(&mut guess, 3);
    let evidence = answer["arrays"][0]["evidence"].to_string();
    assert!(evidence.contains("32 KiB hold none"), "{evidence}");
    let text = fs::read_to_string(&layout).unwrap();
    let written: toml::Table = toml::from_str(&text).unwrap();
    let bad = &written["array"][0]["bad_blocks"];
    assert_eq!(bad[0]["member"].as_str(), Some("unwritten.0"));
    assert_eq!(bad[0]["offset"].as_integer(), Some(listed));
    assert_eq!(bad[0]["length"].as_integer(), Some(length));

    let exported = |layout: &Path, status| export(layout, "array1", &[], status).0;
    assert!(exported(&layout, 0) == array, "not what the kernel read");
    // Without the other, nothing holds them: a gap, which is said.
    let mut one = written;
    one["array"][0]["members"][1] = "missing".into();
    fs::write(&alone, toml::to_string(&one).unwrap()).unwrap();
    let mut gap = array;
    let at = usize::try_from(listed - 2048 * 512).unwrap();
    gap[at..at + 64 * 512].fill(0);
    assert!(
        exported(&alone, 3) == gap,
        "the gap is not where md could not write"
    );
}

/// Members that hold nothing of the data: a disk that was replaced and still says that it has the slot, a spare, a journal.
/// With them the members made two arrays, each of them sure, or none.
fn what_holds_nothing(share: &Path) {
    for (name, disks, expected, apart, why) in [
        (
            "replaced",
            4,
            &[3, 1, 2][..],
            0,
            "was in slot 0 before replaced.3",
        ),
        ("spare", 3, &[0, 1], 2, "a spare"),
        ("journal", 4, &[0, 1, 2], 3, "write journal"),
    ] {
        let member = |n: &i32| format!("{name}.{n}");
        let members: Vec<PathBuf> = (0..disks).map(|n| share.join(member(&n))).collect();
        // Noise under superblocks of this minute: which of the orders it is stays open.
        let mut guess = disinter();
        let out = guess.args(["md", "guess", "--json"]).args(members).output();
        let answer: Value = serde_json::from_slice(&out.unwrap().stdout).unwrap();
        let arrays = answer["arrays"].as_array().unwrap();
        assert_eq!(arrays.len(), 1, "{answer:#}");
        let expected: Vec<String> = expected.iter().map(member).collect();
        assert_eq!(arrays[0]["members"], serde_json::json!(expected));
        let is = &answer["apart"][0];
        assert_eq!(is["members"], serde_json::json!([member(&apart)]));
        assert!(is["why"].as_str().unwrap().contains(why), "{is}");
    }
}

/// raid0 and linear use all of each member: by one length for all, what superblocks claimed was an array of another size.
fn members_of_unequal_length(share: &Path) {
    for name in ["unequal0", "unequallinear"] {
        let file = |end: &str| share.join(format!("{name}.{end}"));
        let members = ["0", "1"].map(file);
        let layout = file("toml");
        let mut guess = disinter();
        guess.args(["md", "guess", "-o"]).arg(&layout).args(members);
        guess.output().unwrap();
        let same = export(&layout, "array1", &[], 0).0 == fs::read(file("array")).unwrap();
        assert!(same, "{name}: {}", fs::read_to_string(&layout).unwrap());
    }
}

/// A member of a big-endian machine: the kernel's own with every word turned round, as such a machine writes it. mdadm
/// reads those too when it is told to (`-e 0.swap`).
fn big_endian(share: &Path) {
    let little = share.join("v090.0");
    let mut bytes = fs::read(&little).unwrap();
    let at = bytes.len() / 65_536 * 65_536 - 65_536;
    for word in bytes[at..at + 4096].chunks_mut(4) {
        word.reverse();
    }
    // 64-bit counters have their halves in the machine's order.
    for word in [39, 41] {
        let (a, b) = bytes[at + word * 4..at + word * 4 + 8].split_at_mut(4);
        a.swap_with_slice(b);
    }
    let big = share.join("big.0");
    fs::write(&big, &bytes).unwrap();
    let read = |file: &Path| {
        let mut row =
            json(disinter().args(["md", "examine"]).arg(file), 0)["superblocks"][0].clone();
        assert_eq!(row["checksum"], "ok");
        for field in ["big_endian", "member", "image"] {
            row[field].take();
        }
        row
    };
    assert_eq!(read(&big), read(&little));
    let found = json(disinter().args(["md", "examine"]).arg(&big), 0);
    let Some(theirs) = mdadm(&big, "-e 0.swap") else {
        return;
    };
    compare(
        "big.0",
        &theirs,
        &found["superblocks"][0],
        &found["arrays"][0],
    );
}

/// Superblocks at places that are not a member's own: in a partition seen through the whole disk, of a partition that is
/// gone, and in a file inside of other data.
fn copies(folder: &Path, share: &Path) {
    let member = fs::read(share.join("v10bitmap.0")).unwrap();
    let newer = fs::read(share.join("raid0.0")).unwrap();
    let uuids = |file: &Path, search: bool| {
        let mut command = disinter();
        command.args(["md", "examine"]).arg(file);
        if search {
            command.arg("--search");
        }
        let out = command.arg("--json").output().unwrap();
        let found: Value = serde_json::from_slice(&out.stdout).unwrap();
        let rows = found["superblocks"].as_array().unwrap().clone();
        rows.iter()
            .map(|r| {
                (
                    text(&r["version"]),
                    text(&r["standing"]),
                    r["offset"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    // A former partition at 1 MiB, with nothing in the table now.
    let mut disk = vec![0; 32 << 20];
    disk[1 << 20..(1 << 20) + newer.len()].copy_from_slice(&newer);
    let file = folder.join("former.img");
    fs::write(&file, &disk).unwrap();
    let former = ("1.2".to_owned(), "former".to_owned(), (1 << 20) + 4096);
    assert_eq!(uuids(&file, false), [former]);
    // A file in the middle of data: only a search finds it, and it is not taken for a member.
    let mut disk = vec![0x5a; 48 << 20];
    let at = (17 << 20) + 12_288;
    disk[at..at + member.len()].copy_from_slice(&member);
    fs::write(&file, &disk).unwrap();
    assert!(uuids(&file, false).is_empty());
    let found = uuids(&file, true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("1.0", "copy"));
}
