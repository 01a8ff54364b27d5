//! The backup round trip: keep, damage, compare, put back by the script, compare.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, blank, disinter, json, run, sha256};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Kept {
    unpacked: Unpacked,
    disks: Vec<PathBuf>,
    before: Vec<String>,
    folder: PathBuf,
}

fn digests(disks: &[PathBuf]) -> Vec<String> {
    disks
        .iter()
        .map(|d| sha256(&fs::read(d).unwrap()))
        .collect()
}

impl Kept {
    fn new(options: &[&str]) -> Kept {
        let unpacked = Unpacked::new("holmes-2013");
        let disks: Vec<PathBuf> = unpacked.images().into_iter().take(3).collect();
        let folder = unpacked.path().join("backup");
        let before = digests(&disks);
        run(
            disinter()
                .arg("backup")
                .args(&disks)
                .args(options)
                .arg("-o")
                .arg(&folder),
            0,
        );
        Kept {
            before,
            unpacked,
            disks,
            folder,
        }
    }

    fn verify(&self, status: i32) -> Value {
        json(
            disinter()
                .args(["backup", "verify"])
                .arg(&self.folder)
                .args(&self.disks),
            status,
        )
    }

    /// The script, with this typed into it.
    fn restore(&self, options: &[&str], typed: &str, status: i32) -> (String, String) {
        let mut command = Command::new("bash");
        command.arg(self.folder.join("restore.sh")).args(options);
        for disk in &self.disks {
            let name = disk.file_stem().unwrap().to_str().unwrap();
            command.arg(format!("{name}={}", disk.display()));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The script may have ended before it asks.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let (out, code, errors) = (text(&out.stdout), out.status.code(), text(&out.stderr));
        assert_eq!(code, Some(status), "{out}\n{errors}");
        (out, errors)
    }
}

fn poke(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The whole promise: every byte that an installer, mdadm, pvcreate or a partitioner would write comes back, and no
/// other byte is written.
#[test]
fn keep_damage_restore() {
    let kept = Kept::new(&["--rest"]);
    assert_eq!(
        kept.verify(0)["extents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["state"] != "same")
            .count(),
        0
    );
    // Both ends of a disk; what a partition's front and end hold; a metadata area.
    let layout: toml::Table =
        toml::from_str(&fs::read_to_string(kept.unpacked.case().join("layout.toml")).unwrap())
            .unwrap();
    let mut hit = 0;
    for (disk, image) in kept.disks.iter().zip(layout["image"].as_array().unwrap()) {
        let length = fs::metadata(disk).unwrap().len();
        poke(disk, 0, &[0; 34 * 512]);
        poke(disk, length - 33 * 512, &[0xff; 33 * 512]);
        for partition in image["partitions"].as_array().unwrap() {
            let at = |key: &str| u64::try_from(partition[key].as_integer().unwrap()).unwrap();
            let (start, size) = (at("offset"), at("length"));
            poke(disk, start, b"a new superblock, a new label");
            poke(disk, start + 4096, &[0xee; 4096]);
            poke(disk, start + size - 8192, &[0xdd; 8192]);
            // 0.90's place: the last whole 64 KiB before the last 64 KiB border.
            poke(disk, start + (size & !0xffff) - 0x1_0000, &[0xcc; 4096]);
            hit += 1;
        }
    }
    assert!(hit >= 6);
    let damaged = digests(&kept.disks);
    assert!(damaged.iter().zip(&kept.before).all(|(a, b)| a != b));
    let changed = kept.verify(1);
    let first = &changed["extents"][0];
    assert_eq!(first["state"], "changed");
    assert!(first["differing_bytes"].as_u64().unwrap() > 0 && first["now"].is_string());
    let rests = |answer: &Value| -> Vec<Value> {
        let disks = answer["disks"].as_array().unwrap();
        disks.iter().map(|d| d["rest"].clone()).collect()
    };
    assert_eq!(rests(&changed), ["same", "same", "same"]);
    // Without --write, and without the word, nothing is written.
    let (out, _) = kept.restore(&[], "", 0);
    assert!(out.contains("Nothing was written"), "{out}");
    let (_, errors) = kept.restore(&["--write"], "yes\n", 1);
    assert!(errors.contains("nothing was written"), "{errors}");
    assert_eq!(digests(&kept.disks), damaged);
    let (out, _) = kept.restore(&["--write"], "restore alike\n", 0);
    assert!(out.contains("unchanged outside of what was kept"), "{out}");
    // Fronts came back, and with them partition tables.
    assert!(out.contains("blockdev --rereadpt"), "{out}");
    assert_eq!(
        digests(&kept.disks),
        kept.before,
        "not every byte came back"
    );
    kept.verify(0);
    let (out, _) = kept.restore(&["--write"], "", 0);
    assert!(out.contains("Nothing differs"), "{out}");
    // What was replaced was kept in its turn.
    let replaced = fs::read_dir(&kept.folder).unwrap().flatten();
    assert!(
        replaced
            .into_iter()
            .any(|e| e.file_name().to_string_lossy().starts_with("replaced-"))
    );
}

/// A change between the kept extents and the sixteen places was called the same, though the rest had been hashed.
#[test]
fn a_change_of_the_rest_is_seen() {
    let kept = Kept::new(&["--rest"]);
    let list = fs::read(kept.folder.join("backup.json")).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let known: Vec<(u64, u64)> = [&list["extents"], &list["sources"][0]["proofs"]]
        .into_iter()
        .flat_map(|extents| extents.as_array().unwrap())
        .map(|e| {
            let at = e["offset"].as_u64().unwrap();
            (at, at + e["length"].as_u64().unwrap())
        })
        .collect();
    let is_rest = |at: &u64| !known.iter().any(|(from, to)| (from..to).contains(&at));
    let at = (0..).map(|n| n << 20).find(is_rest).unwrap();
    let mut byte = [0];
    let disk = fs::File::open(&kept.disks[0]).unwrap();
    disk.read_exact_at(&mut byte, at).unwrap();
    poke(&kept.disks[0], at, &[!byte[0]]);
    let answer = kept.verify(1);
    assert_eq!(answer["disks"][0]["rest"], "changed");
    assert_eq!(answer["disks"][1]["rest"], "same");
    let all = answer["extents"].as_array().unwrap();
    assert!(all.iter().all(|e| e["state"] == "same"));
    // Without a hash of the rest there is nothing to compare.
    poke(&kept.disks[0], at, &byte);
    let plain = Kept::new(&[]);
    assert_eq!(plain.verify(0)["disks"][0]["rest"], Value::Null);
}

/// Written to the wrong disk, a backup is a second disaster: size, places and the rest must be looked at first.
#[test]
fn another_disk_is_refused() {
    let kept = Kept::new(&["--rest"]);
    poke(&kept.disks[0], 0, b"damage");
    // A change outside of what was kept: this is not simply the disk of before.
    let manifest: Value =
        serde_json::from_slice(&fs::read(kept.folder.join("backup.json")).unwrap()).unwrap();
    let proof = manifest["sources"][0]["proofs"][0]["offset"]
        .as_u64()
        .unwrap();
    let mut byte = [0];
    let file = fs::File::open(&kept.disks[0]).unwrap();
    file.read_exact_at(&mut byte, proof).unwrap();
    poke(&kept.disks[0], proof, &[!byte[0]]);
    let before = digests(&kept.disks);
    let (_, errors) = kept.restore(&["--write"], "restore\n", 1);
    assert!(
        errors.contains("it is another disk, or more than what was kept has changed"),
        "{errors}"
    );
    poke(&kept.disks[0], proof, &byte);
    // Two disks changed round.
    let swapped = [1, 0].map(|i: usize| kept.disks[i].clone());
    let mut command = Command::new("bash");
    command.arg(kept.folder.join("restore.sh")).arg("--write");
    for (name, disk) in ["sda", "sdb"].iter().zip(&swapped) {
        command.arg(format!("{name}={}", disk.display()));
    }
    let out = run(&mut command, 1);
    assert!(String::from_utf8_lossy(&out.stderr).contains("another disk"));
    // A disk of another size, a backup whose file was changed, a name that is not in it.
    let longer = kept.unpacked.path().join("sdc.img");
    fs::OpenOptions::new()
        .append(true)
        .open(&longer)
        .unwrap()
        .write_all(&[0; 512])
        .unwrap();
    let (_, errors) = kept.restore(&["--write"], "restore\n", 1);
    assert!(errors.contains("bytes; sdc had"), "{errors}");
    let out = run(
        disinter()
            .args(["backup", "verify"])
            .arg(&kept.folder)
            .args(&kept.disks),
        2,
    );
    assert!(String::from_utf8_lossy(&out.stderr).contains("it is another disk"));
    fs::OpenOptions::new()
        .write(true)
        .open(&longer)
        .unwrap()
        .set_len(fs::metadata(&longer).unwrap().len() - 512)
        .unwrap();
    let extent = manifest["extents"][0]["file"].as_str().unwrap();
    poke(&kept.folder.join(extent), 5, b"rot");
    let (_, errors) = kept.restore(&["--write"], "restore\n", 1);
    assert!(errors.contains("this backup is damaged"), "{errors}");
    let out = run(disinter().args(["case", "verify"]).arg(&kept.folder), 1);
    assert!(String::from_utf8_lossy(&out.stdout).contains(extent));
    assert_eq!(digests(&kept.disks)[1..], before[1..]);
}

/// An image in a folder, and the functions of the restore.sh of its backup.
fn functions(folder: &Path) -> (PathBuf, String) {
    let (image, backup) = (folder.join("a.img"), folder.join("backup"));
    fs::write(&image, [7; 8192]).unwrap();
    run(
        disinter().arg("backup").arg(&image).arg("-o").arg(&backup),
        0,
    );
    let script = fs::read_to_string(backup.join("restore.sh")).unwrap();
    let functions = script.split("declare -A place").next().unwrap();
    (image, functions.to_owned())
}

/// Written below what runs on it, a disk is damaged twice. An array or a volume group sits on a partition more often than
/// on the disk, swap and btrfs have no holder, and an old controller's names hold a slash.
#[test]
fn a_disk_in_use_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (image, functions) = functions(folder.path());
    // Over a system that is made up.
    let system = folder.path().display().to_string();
    let functions = functions
        .replace("/sys/", &format!("{system}/sys/"))
        .replace("/proc/", &format!("{system}/proc/"));
    assert!(functions.contains("used_by()"));
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (disk, partition, number) in [
        ("sda", "sda2", 2),
        ("cciss!c0d0", "cciss!c0d0p2", 18),
        ("sdb", "sdb2", 34),
    ] {
        let disk = format!("sys/devices/{disk}");
        put(&format!("{disk}/dev"), &format!("8:{}\n", number - 2));
        put(&format!("{disk}/{partition}/dev"), &format!("8:{number}\n"));
        put(&format!("{disk}/{partition}/partition"), "2\n");
        put(&format!("{disk}/queue/depth"), "1\n");
        fs::create_dir_all(folder.path().join(format!("{disk}/holders"))).unwrap();
    }
    put(
        "proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n",
    );
    put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
    let used = |block: &str| {
        let call = format!(
            "{functions}\nnumber_of() {{ [ \"$1\" != /dev/swap ] || printf 8:18; }}\n\
             used_by '{system}/sys/devices/{block}' '{}'",
            image.display()
        );
        let out = run(Command::new("bash").arg("-c").arg(call), 0);
        String::from_utf8(out.stdout).unwrap()
    };
    let all = ["sda", "sda/sda2", "cciss!c0d0", "cciss!c0d0/cciss!c0d0p2"];
    for block in all {
        assert_eq!(used(block), "", "{block}");
    }
    put("sys/devices/sda/sda2/holders/md127", "");
    put("sys/devices/cciss!c0d0/cciss!c0d0p2/holders/dm-3", "");
    for block in all {
        let user = if block.starts_with("sda") {
            "md127"
        } else {
            "dm-3"
        };
        assert!(used(block).starts_with(user), "{block}");
    }
    fs::remove_file(
        folder
            .path()
            .join("sys/devices/cciss!c0d0/cciss!c0d0p2/holders/dm-3"),
    )
    .unwrap();
    put("sys/devices/cciss!c0d0/holders/dm-4", "");
    assert!(used("cciss!c0d0/cciss!c0d0p2").starts_with("dm-4"));
    fs::remove_file(folder.path().join("sys/devices/cciss!c0d0/holders/dm-4")).unwrap();
    put(
        "proc/swaps",
        "Filename\tType\tSize\tUsed\tPriority\n/dev/swap\tpartition\t1\t0\t-2\n",
    );
    assert!(used("cciss!c0d0").starts_with("swap"));
    assert_eq!(used("sdb"), "");
    put(
        "proc/self/mountinfo",
        "30 1 8:34 / /mnt/a\\040b rw - ext4 /dev/root rw\n",
    );
    assert!(used("sdb").starts_with("the mount /mnt/a"));
    put("proc/self/mountinfo", "");
    put("sys/fs/btrfs/1234/devices/sdb2/dev", "");
    assert!(used("sdb").starts_with("a mounted btrfs"));
    put(
        "sys/block/loop7/loop/backing_file",
        &format!("{}\n", image.display()),
    );
    assert!(used("").starts_with("loop7"), "{}", used(""));
}

/// SATA, SAS and USB disks have no file of that name; without their number only letters say which disk it is.
#[test]
fn a_scsi_disk_has_a_serial_number() {
    let folder = tempfile::tempdir().unwrap();
    let (_, functions) = functions(folder.path());
    let device = folder.path().join("sda/device");
    fs::create_dir_all(folder.path().join("sda/sda2")).unwrap();
    fs::create_dir_all(&device).unwrap();
    let serial = |block: &str, call: &str| {
        let block = folder.path().join(block);
        let call = format!("set -euo pipefail\n{functions}\n{call}")
            .replace("BLOCK", &block.display().to_string());
        let out = run(Command::new("bash").arg("-c").arg(call), 0);
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let same = |number: &str| serial("sda", &format!("same_serial 'BLOCK' {number}"));
    assert_eq!(serial("sda", "serials 'BLOCK'"), "");
    assert_eq!(same("W1F0ABCD"), "");
    // What tells a world-wide name says nothing of a number, and the other way round.
    fs::write(device.join("wwid"), "naa.5000c500\n").unwrap();
    assert_eq!(serial("sda", "serials 'BLOCK'"), "naa.5000c500");
    for (number, answer) in [
        ("naa.5000c500", "yes"),
        ("naa.5000c501", "no"),
        ("W1F0ABCD", ""),
    ] {
        assert_eq!(same(number), answer, "{number}");
    }
    fs::write(device.join("vpd_pg80"), b"\0\x80\0\x0b   W1F0ABCD").unwrap();
    if tool("busybox", &["true"], "") {
        let call = "tail() { busybox tail \"$@\"; }; tr() { busybox tr \"$@\"; }; serials 'BLOCK'";
        assert_eq!(serial("sda", call), "W1F0ABCD\nnaa.5000c500");
    }
    for block in ["sda", "sda/sda2"] {
        assert_eq!(serial(block, "serials 'BLOCK'"), "W1F0ABCD\nnaa.5000c500");
    }
    for (number, answer) in [
        ("naa.5000c500", "yes"),
        ("W1F0ABCD", "yes"),
        ("W1F0ABCE", "no"),
    ] {
        assert_eq!(same(number), answer, "{number}");
    }
}

/// Behind a dock the right disk has no number, or another kind of one: a refusal leaves nothing to do but edit the script.
#[test]
fn an_untold_serial_is_asked_for() {
    let (folder, image, _, before) = two_places();
    let with = |had: &str, tells: &str| {
        format!(
            "check_source() {{ check_serial \"$1\" \"$2\" {had}; check_free \"$1\"; }}; serials() {{ say {tells}; }}"
        )
    };
    let dd = "real \"$@\"";
    let (status, said) = put_back(folder.path(), dd, &with("W1F0", "W1F1"));
    assert!(
        status == Some(1) && said.contains("has serial number W1F1; a had W1F0"),
        "{said}"
    );
    for tells in ["''", "naa.5000c500"] {
        let (status, said) = put_back(folder.path(), dd, &with("W1F0", tells));
        assert!(
            status == Some(1) && said.contains("Type restore untold to go on"),
            "{said}"
        );
    }
    let damaged = fs::read(&image).unwrap();
    assert_ne!(damaged, before);
    let (status, said) = put_back_if(folder.path(), dd, &with("W1F0", "''"), "restore untold\n");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(fs::read(&image).unwrap(), before);
}

/// The halves of a mirror differ in nothing but what is kept: written to the wrong one, it is the other half's superblock
/// with the other's count of events. And what was true when the question came need not be when it is answered.
#[test]
fn halves_are_told_apart_by_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let images = ["a=1.img", "b=1.img"].map(|name| folder.path().join(name));
    let backup = folder.path().join("backup");
    for (image, front) in images.iter().zip([1, 2]) {
        fs::write(image, noise(9, 4 << 20)).unwrap();
        poke(image, 0, &[front; 512]);
    }
    run(
        disinter()
            .arg("backup")
            .args(&images)
            .arg("-o")
            .arg(&backup),
        0,
    );
    let [a, b] = &images;
    let damage = || poke(a, 0, &[9; 512]);
    damage();
    let restore = |answer: &str, meanwhile: &dyn Fn()| {
        let mut script = Command::new("bash");
        script.arg(backup.join("restore.sh")).arg("--write");
        script.arg(format!("a=1={}", a.display()));
        script.arg(format!("b=1={}", b.display()));
        script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut said = Vec::new();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        while !said.ends_with(b"to go on: ") && out.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        meanwhile();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        out.read_to_end(&mut said).unwrap();
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(said).unwrap() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), said)
    };
    let (status, said) = restore("restore\n", &|| ());
    assert!(
        status == Some(1) && said.contains("a=1 and b=1 are alike"),
        "{said}"
    );
    let (status, said) = restore("restore alike\n", &|| poke(b, 0, &[9; 512]));
    assert!(
        status == Some(1) && said.contains("changed meanwhile"),
        "{said}"
    );
    poke(b, 0, &[2; 512]);
    let (status, said) = restore("restore alike\n", &|| ());
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(fs::read(a).unwrap()[..512], [1; 512]);
    // Where the rest differs it tells them apart.
    poke(b, 3 << 20, &[3; 512]);
    let again = folder.path().join("again");
    run(
        disinter()
            .arg("backup")
            .arg("--rest")
            .args(&images)
            .arg("-o")
            .arg(&again),
        0,
    );
    let script = fs::read_to_string(again.join("restore.sh")).unwrap();
    let told = script.split("each_alike() {").nth(1).unwrap();
    assert!(told.trim_start().starts_with(':'), "{told}");
}

/// An image of which two places were written to since its backup, and a folder for tools that stand in for the system's.
fn two_places() -> (tempfile::TempDir, PathBuf, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.img");
    let before = noise(5, 4 << 20);
    fs::write(&image, &before).unwrap();
    let mut command = disinter();
    command.arg("backup").arg("--rest").arg(&image);
    command.arg("--keep=a@2097152+8192");
    run(command.arg("-o").arg(folder.path().join("backup")), 0);
    poke(&image, 0, &[9; 512]);
    poke(&image, 2 << 20, &[9; 8192]);
    let tools = folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    (folder, image, tools, before)
}

/// Puts back what [`two_places`] wrote, with `dd` standing in for the system's and `more` said to the script's functions.
fn put_back(folder: &Path, dd: &str, more: &str) -> (Option<i32>, String) {
    put_back_if(folder, dd, more, "restore\n")
}

/// The same with another answer.
fn put_back_if(folder: &Path, dd: &str, more: &str, answer: &str) -> (Option<i32>, String) {
    let tool = folder.join("tools/dd");
    let dd = format!(
        "#!/bin/bash\nreal() {{ PATH=${{PATH#*:}} dd \"$@\"; }}\nimage={}/a.img\n{dd}\n",
        folder.display()
    );
    fs::write(&tool, dd).unwrap();
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&tool, rights).unwrap();
    let script = fs::read_to_string(folder.join("backup/restore.sh")).unwrap();
    let script = script.replacen(
        "\nwhile [ $# -gt 0 ]",
        &format!("\n{more}\nwhile [ $# -gt 0 ]"),
        1,
    );
    fs::write(folder.join("backup/changed.sh"), script).unwrap();
    let mut command = Command::new("bash");
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", folder.join("tools").display()));
    command.arg(folder.join("backup/changed.sh")).arg("--write");
    command.arg(format!("a={}/a.img", folder.display()));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (
        out.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// udev starts what the first write put back, and its resync writes beneath the next ones: that is no success. A disk that
/// is locked it leaves alone.
#[test]
fn what_is_put_back_is_held_until_all_is() {
    let (folder, image, _, before) = two_places();
    // As a resync would, after the last write.
    let resync =
        "real \"$@\" || exit 1\n[[ $* != *of=*seek=2097152* ]] || printf resync 1<>\"$image\"";
    let (status, said) = put_back(folder.path(), resync, "");
    assert!(status == Some(1) && !said.contains("Done"), "{said}");
    assert!(
        said.contains("somebody else writes to these disks"),
        "{said}"
    );
    assert_eq!(fs::read(&image).unwrap()[..6], *b"resync");
    // An array that stands on it by then is not written beneath.
    let used = "used_by() { [ ! -e \"$here/begun\" ] || say 'md127, take that down'; }";
    let begins = "[[ $* != *of=* ]] || : >\"${image%/*}/backup/begun\"\nreal \"$@\"";
    poke(&image, 2 << 20, &[9; 8192]);
    let (status, said) = put_back(folder.path(), begins, used);
    assert!(
        status == Some(1) && said.contains("in use by md127"),
        "{said}"
    );
    assert_eq!(fs::read(&image).unwrap()[2 << 20..][..8192], [9; 8192]);
    // Each write finds it locked.
    let locked = "[[ $* != *of=* ]] || ! flock -n -s \"$image\" true || { echo NOT LOCKED; exit 1; }\nreal \"$@\"";
    let (status, said) = put_back(folder.path(), locked, "whole_disk() { say \"$1\"; }");
    if tool("flock", &["--version"], "") {
        assert_eq!(status, Some(0), "{said}");
        assert!(
            said.contains("AUTO -all") && said.contains("Done"),
            "{said}"
        );
    }
    assert_eq!(fs::read(&image).unwrap(), before);
}

/// A sector of a place that is to be put back has gone bad: the script stopped between two writes, at every run. Written to,
/// it is good again most often; where not, the other places are put back all the same.
#[test]
fn a_bad_sector_does_not_end_the_undo() {
    let (folder, image, _, before) = two_places();
    let bad = folder.path().join("bad");
    fs::write(&bad, "").unwrap();
    let mends = "bad=${image%/*}/bad\nif [ -e \"$bad\" ]; then case \"$*\" in\n*noerror*) ;;\n\
        *\"if=$image \"*\"skip=2097152 \"*) real \"$@\" | head -c 4096; exit 1 ;;\n\
        *\"of=$image \"*\"seek=2097152 \"*) rm \"$bad\" ;;\nesac; fi\nreal \"$@\"";
    let (status, said) = put_back(folder.path(), mends, "");
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("cannot be read whole: a, 8192 bytes at 2097152"),
        "{said}"
    );
    assert!(!bad.exists() && fs::read(&image).unwrap() == before);
    // What could be read of it was kept.
    let mut replaced = fs::read_dir(folder.path().join("backup"))
        .unwrap()
        .flatten();
    let replaced = replaced.find(|e| e.file_name().to_string_lossy().starts_with("replaced-"));
    let kept = replaced.unwrap().path().join("extents/000-2097152.bin");
    assert_eq!(fs::read(kept).unwrap(), [9; 8192]);
    poke(&image, 0, &[9; 512]);
    poke(&image, 2 << 20, &[9; 8192]);
    let stays = "case \"$*\" in *\"of=$image \"*\"seek=0 \"*) exit 1 ;; esac\nreal \"$@\"";
    let (status, said) = put_back(folder.path(), stays, "");
    assert!(
        status == Some(1) && said.contains("NOT PUT BACK: a"),
        "{said}"
    );
    assert!(said.contains("STOP: 1 extents are not put back"), "{said}");
    assert_eq!(fs::read(&image).unwrap()[512..], before[512..]);
}

/// What is locked is the disk, for its partitions too.
#[test]
fn a_partition_s_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (_, functions) = functions(folder.path());
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(
        "c0d0/uevent",
        "MAJOR=104\nDEVNAME=cciss/c0d0\nDEVTYPE=disk\n",
    );
    put("c0d0/c0d0p2/uevent", "DEVNAME=cciss/c0d0p2\n");
    put("c0d0/c0d0p2/partition", "2\n");
    for (block, disk) in [
        ("c0d0", "/dev/cciss/c0d0\n"),
        ("c0d0/c0d0p2", "/dev/cciss/c0d0\n"),
    ] {
        let block = folder.path().join(block);
        let call = format!(
            "{functions}\nblock_of() {{ say '{}'; }}; whole_disk x",
            block.display()
        );
        let out = run(Command::new("bash").arg("-c").arg(call), 0);
        assert_eq!(String::from_utf8(out.stdout).unwrap(), disk);
    }
}

/// The script is for people and for their tools.
#[test]
fn the_script_is_sound() {
    let kept = Kept::new(&[]);
    let script = kept.folder.join("restore.sh");
    run(Command::new("bash").arg("-n").arg(&script), 0);
    match Command::new("shellcheck").arg("--version").output() {
        Err(_) => eprintln!("SKIPPED: shellcheck is not installed"),
        Ok(_) => {
            run(
                Command::new("shellcheck").args(["-s", "bash"]).arg(&script),
                0,
            );
        }
    }
    let out = run(Command::new("bash").arg(&script).arg("nosuch=/dev/null"), 1);
    assert!(String::from_utf8_lossy(&out.stderr).contains("is not in this backup"));
}

/// An image's name goes into the script: one that holds shell text must stay a name.
#[test]
fn hostile_names_stay_names() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a$(touch PWNED)`id`'\";.img";
    let image = folder.path().join(name);
    let bytes: Vec<u8> = (0..1_u32 << 16).flat_map(u32::to_le_bytes).collect();
    fs::write(&image, &bytes).unwrap();
    let backup = folder.path().join("backup");
    run(
        disinter().arg("backup").arg(&image).arg("-o").arg(&backup),
        0,
    );
    poke(&image, 0, &[0; 512]);
    let mut command = Command::new("bash");
    command
        .current_dir(folder.path())
        .arg(backup.join("restore.sh"));
    let named = format!("{}={}", name.strip_suffix(".img").unwrap(), image.display());
    let out = run(command.arg(named), 0);
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 extents differ"));
    assert!(!folder.path().join("PWNED").exists());
    // A line break cannot stand in a script at all: said, and nothing is left.
    let broken = folder.path().join("a\nb.img");
    fs::rename(&image, &broken).unwrap();
    let other = folder.path().join("other");
    let out = disinter()
        .arg("backup")
        .arg(&broken)
        .arg("-o")
        .arg(&other)
        .output()
        .unwrap();
    match out.status.code() {
        Some(0) => assert!(
            !fs::read_to_string(other.join("restore.sh"))
                .unwrap()
                .contains("a\nb")
        ),
        code => assert!(code == Some(2) && !other.exists()),
    }
}

/// Bytes that no two disks share.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

/// Two disks and their backup in a folder.
fn two(options: &[&str]) -> (tempfile::TempDir, [PathBuf; 2], PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disks = ["sda", "sdb"].map(|name| folder.path().join(name).with_extension("img"));
    for (seed, disk) in (1..).zip(&disks) {
        fs::write(disk, noise(seed, 8 << 20)).unwrap();
    }
    let backup = folder.path().join("backup");
    let mut command = disinter();
    command.arg("backup").args(&disks).args(options);
    run(command.arg("-o").arg(&backup), 0);
    (folder, disks, backup)
}

fn verify(backup: &Path, named: &[String], status: i32) -> (Value, String) {
    let command = || {
        let mut command = disinter();
        command.args(["backup", "verify"]).arg(backup).args(named);
        command
    };
    let out = run(&mut command(), status);
    let page = String::from_utf8(match status {
        2 => out.stderr,
        _ => out.stdout,
    });
    let value = match status {
        2 => Value::Null,
        _ => json(&mut command(), status),
    };
    (value, page.unwrap())
}

fn states(verified: &Value, state: &str) -> usize {
    let extents = verified["extents"].as_array().unwrap().iter();
    extents.filter(|e| e["state"] == state).count()
}

/// "All the same" of half of the disks sends a person on to write.
#[test]
fn what_was_not_compared_is_told() {
    let (folder, disks, backup) = two(&[]);
    verify(&backup, &[], 0);
    let away = folder.path().join("disk7.img");
    fs::rename(&disks[1], &away).unwrap();
    let (found, page) = verify(&backup, &[], 3);
    let all = found["extents"].as_array().unwrap().len();
    assert_eq!(states(&found, "not-looked-at"), all / 2);
    assert_eq!(states(&found, "same"), all / 2);
    assert!(page.contains(&format!("{} of {all} extents are the same", all / 2)));
    assert!(
        page.contains("sdb") && page.contains("NOT LOOKED AT"),
        "{page}"
    );
    // Moved, and named as restore.sh takes it.
    let named = [
        format!("sda={}", disks[0].display()),
        format!("sdb={}", away.display()),
    ];
    verify(&backup, &named, 0);
    let (_, errors) = verify(&backup, &[away.display().to_string()], 2);
    assert!(errors.contains("NAME=PATH"), "{errors}");

    // A gap when the backup was taken is one now.
    let map = folder.path().join("sda.map");
    fs::write(&map, "0 +\n0 0x200 +\n0x200 0x200 -\n0x400 0x7ffc00 +\n").unwrap();
    let gappy = folder.path().join("gappy");
    run(
        disinter()
            .arg("backup")
            .arg(&disks[0])
            .arg("-o")
            .arg(&gappy),
        3,
    );
    fs::remove_file(&map).unwrap();
    let (found, page) = verify(&gappy, &[], 3);
    assert_eq!(
        (states(&found, "never-kept"), states(&found, "changed")),
        (1, 0)
    );
    assert!(page.contains("NEVER KEPT"), "{page}");

    // A bad sector does not hide a change beside it.
    fs::write(&map, "0 +\n0 0x200 +\n0x200 0x200 -\n0x400 0x7ffc00 +\n").unwrap();
    poke(&disks[0], 0, b"changed");
    let (found, _) = verify(&backup, &named, 3);
    assert_eq!(states(&found, "changed"), 1);
    let changed = &found["extents"][0];
    assert_eq!(
        (&changed["unread"][0]["offset"], &changed["differing_bytes"]),
        (&512.into(), &7.into())
    );
}

/// Letters change places at every start: "changed" of a disk that is another one is believed.
#[test]
fn verify_knows_the_disks_again() {
    let (folder, disks, backup) = two(&[]);
    let swapped = || {
        let between = folder.path().join("between");
        fs::rename(&disks[0], &between).unwrap();
        fs::rename(&disks[1], &disks[0]).unwrap();
        fs::rename(&between, &disks[1]).unwrap();
    };
    swapped();
    let (_, errors) = verify(&backup, &[], 2);
    assert!(
        errors.contains("is not sda but sdb") && errors.contains("another disk"),
        "{errors}"
    );
    let named = [
        format!("sda={}", disks[1].display()),
        format!("sdb={}", disks[0].display()),
    ];
    verify(&backup, &named, 0);
    // The other one, and that changed too: no place of either is as it was.
    poke(&disks[0], 0, b"changed");
    let (_, errors) = verify(&backup, &[], 2);
    assert!(errors.contains("another disk"), "{errors}");
    swapped();
    poke(&disks[1], 0, &noise(2, 7));
    verify(&backup, &[], 0);
    // More than what was kept has changed: told, and no reason to say nothing else.
    let list: Value =
        serde_json::from_slice(&fs::read(backup.join("backup.json")).unwrap()).unwrap();
    let proof = list["sources"][0]["proofs"][0]["offset"].as_u64().unwrap();
    poke(&disks[0], proof, &[0; 8]);
    let (found, page) = verify(&backup, &[], 1);
    assert_eq!(found["disks"][0]["proofs"]["changed"][0]["offset"], proof);
    assert!(page.contains("sda: 1 of 16 places outside"), "{page}");
    let twice = [&disks[0], &disks[1]].map(|disk| format!("sda={}", disk.display()));
    verify(&backup, &twice, 2);
}

/// Two parts of one image are one file, and what is put back in the one is no proof for the other.
#[test]
fn parts_of_one_image_are_compared_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let (image, backup) = (folder.path().join("x.img"), folder.path().join("backup"));
    fs::write(&image, noise(3, 16 << 20)).unwrap();
    let before = sha256(&fs::read(&image).unwrap());
    let (a, b) = ("x@1048576+4194304", "x@8388608+4194304");
    let mut command = disinter();
    command.arg("backup").arg("--rest");
    for part in [a, b] {
        let part = part.replace("x@", "@");
        command.arg(format!("{}{part}", image.display()));
    }
    run(command.arg("-o").arg(&backup), 0);
    verify(&backup, &[], 0);
    verify(&backup, &[image.display().to_string()], 0);
    let list: Value =
        serde_json::from_slice(&fs::read(backup.join("backup.json")).unwrap()).unwrap();
    let place = |v: &Value| {
        let (at, long) = (v["offset"].as_u64().unwrap(), v["length"].as_u64().unwrap());
        at..at + long
    };
    let kept: Vec<_> = list["extents"]
        .as_array()
        .unwrap()
        .iter()
        .map(place)
        .collect();
    for source in list["sources"].as_array().unwrap() {
        for proof in source["proofs"].as_array().unwrap().iter().map(place) {
            let apart = |k: &std::ops::Range<u64>| k.end <= proof.start || proof.end <= k.start;
            assert!(kept.iter().all(apart), "{proof:?} is kept");
        }
    }
    // All that is kept, of both parts: still the same disk, for verify and for the script.
    for place in &kept {
        poke(
            &image,
            place.start,
            &vec![0; usize::try_from(place.end - place.start).unwrap()],
        );
    }
    let (found, _) = verify(&backup, &[], 1);
    assert_eq!(states(&found, "changed"), kept.len());
    let mut command = Command::new("bash");
    command.arg(backup.join("restore.sh")).arg("--write");
    for part in [a, b] {
        command.arg(format!("{part}={}", image.display()));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"restore\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(sha256(&fs::read(&image).unwrap()), before);
}

/// Runs a tool of the system; false, with a printed reason, where it is not installed.
fn tool(name: &str, arguments: &[&str], input: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(name);
    command.env("PATH", path).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let Ok(mut child) = command.stderr(Stdio::null()).spawn() else {
        eprintln!("SKIPPED: {name} is not installed");
        return false;
    };
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    assert!(child.wait().unwrap().success(), "{name} {arguments:?}");
    true
}

/// Whether a backup of an image keeps all of an extent.
fn keeps(image: &Path, extents: &[(u64, u64)], options: &[&str]) {
    let backup = image.with_extension("backup");
    run(
        disinter()
            .arg("backup")
            .arg(image)
            .args(options)
            .arg("-o")
            .arg(&backup),
        0,
    );
    let list: Value =
        serde_json::from_slice(&fs::read(backup.join("backup.json")).unwrap()).unwrap();
    for (at, long) in extents {
        let mut kept = *at;
        for e in list["extents"].as_array().unwrap() {
            let (from, length) = (e["offset"].as_u64().unwrap(), e["length"].as_u64().unwrap());
            // Each begins behind the one before it: long places are in pieces, and none is there twice.
            if from <= kept {
                kept = kept.max(from + length);
            }
        }
        assert!(
            at + long <= kept,
            "{at}+{long} of {} is not kept",
            image.display()
        );
    }
}

/// Every place that a partitioner or mkfs writes: a record of a logical partition, the headers of XFS' groups, btrfs's
/// second superblock.
#[test]
fn records_and_copies_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let new = |name: &str| {
        let image = folder.path().join(name);
        blank(&image, 320 << 20);
        image.display().to_string()
    };
    let disk = new("logical.img");
    let script = "label: dos\n2048,204800,L\n206848,,E\n208896,102400,L\n,,L\n";
    if tool("sfdisk", &["-q", &disk], script) {
        let record = |extended: u64, at: u64| {
            let mut entry = [0; 16];
            let file = fs::File::open(&disk).unwrap();
            file.read_exact_at(&mut entry, (extended + at) * 512 + 446 + 16)
                .unwrap();
            u64::from(u32::from_le_bytes(*entry[8..].first_chunk().unwrap()))
        };
        let second = record(206_848, 0);
        assert!(second > 0);
        let second = 206_848 + second;
        keeps(
            Path::new(&disk),
            &[(206_848 * 512, 512), (second * 512, 512)],
            &[],
        );
    }
    let disk = new("xfs.img");
    if tool("mkfs.xfs", &["-q", "-f", "-d", "agcount=4", &disk], "") {
        let group = 80 << 20;
        keeps(
            Path::new(&disk),
            &[
                (0, 2048),
                (group, 2048),
                (2 * group, 2048),
                (3 * group, 2048),
            ],
            &[],
        );
    }
    let disk = new("btrfs.img");
    if tool("mkfs.btrfs", &["-q", &disk], "") {
        keeps(Path::new(&disk), &[(64 << 10, 4096), (64 << 20, 4096)], &[]);
    }
    let out = run(
        disinter().args(["backup", "--front", "20000", &disk, "-o", "none"]),
        2,
    );
    assert!(String::from_utf8(out.stderr).unwrap().contains("16384"));
}

/// An image with the md superblock 1.2 of a member whose data starts at 1 MiB, and these bytes there.
fn member(image: &Path, level: i32, data: &[u8]) {
    let mut sb = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(72, &level.to_le_bytes());
    put(80, &(60_u64 << 11).to_le_bytes());
    put(92, &2_u32.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(136, &(60_u64 << 11).to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(220, &2_u32.to_le_bytes());
    blank(image, 64 << 20);
    poke(image, 4096, &sb);
    poke(image, 1 << 20, data);
}

/// The front of a physical volume: its label, with these numbers from the list of data areas on.
fn label(areas: &[u64]) -> [u8; 1024] {
    let mut label = [0; 1024];
    let mut put = |at: usize, bytes: &[u8]| label[512 + at..][..bytes.len()].copy_from_slice(bytes);
    put(0, b"LABELONE");
    put(8, &1_u64.to_le_bytes());
    put(20, &32_u32.to_le_bytes());
    put(24, b"LVM2 001");
    put(32, b"0123456789abcdefghijklmnopqrstuv");
    for (at, number) in (72..).step_by(8).zip(areas) {
        put(at, &number.to_le_bytes());
    }
    label
}

/// A mirror's member holds what lies on the array: a metadata area that is longer than the first MiB, a second one at the
/// volume's end, copies of superblocks.
#[test]
fn what_lies_on_a_mirror_is_kept() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let image = |name: &str| folder.path().join(name);
    let label = label(&[17 * MIB, 0, 0, 0, 4096, 16 * MIB, 50 * MIB, MIB]);
    let lvm = [(MIB + 4096, 16 * MIB), (51 * MIB, MIB)];
    for (name, level) in [("raid1.img", 1), ("linear.img", -1)] {
        member(&image(name), level, &label);
        keeps(&image(name), &lvm, &[]);
    }
    let ext = image("ext");
    blank(&ext, 32 << 20);
    let name = ext.display().to_string();
    if tool("mkfs.ext4", &["-q", "-F", "-b", "1024", &name], "") {
        member(&image("ext.img"), 1, &fs::read(&ext).unwrap());
        keeps(&image("ext.img"), &[(MIB + 8193 * 1024, 1024)], &[]);
    }
}

/// Superblock and table are lost, which is what this program is for: what a restore then writes, the label and the
/// metadata area behind the superblock's room, was not kept, and the undo had nothing to put back.
#[test]
fn what_no_superblock_tells_of_is_kept() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let image = |name: &str| folder.path().join(name);
    let label = label(&[17 * MIB, 0, 0, 0, 4096, 2 * MIB]);
    member(&image("lost.img"), 1, &label);
    poke(&image("lost.img"), 4096, &[0; 512]);
    keeps(
        &image("lost.img"),
        &[(MIB, MIB), (MIB + 4096, 2 * MIB)],
        &[],
    );
    // The label is lost too, and so is the partition at 3 MiB: only a person, or a script, knows.
    let bare = image("bare.img");
    blank(&bare, 64 * MIB);
    let keep = |path: &str| format!("--keep={path}@{}+{}", 5 * MIB, 2 * MIB);
    keeps(&bare, &[(5 * MIB, 2 * MIB)], &[&keep("bare")]);
    fs::remove_dir_all(image("bare.backup")).unwrap();
    let named = keep(bare.to_str().unwrap());
    keeps(&bare, &[(5 * MIB, 2 * MIB)], &[&named]);
    for wrong in [
        &*keep("other"),
        "--keep=bare@2",
        "--keep=bare@67108000+4096",
    ] {
        let mut command = disinter();
        command.arg("backup").arg(&bare).args([wrong, "-o", "none"]);
        let errors = String::from_utf8(run(&mut command, 2).stderr).unwrap();
        assert!(errors.contains("--keep"), "{errors}");
    }
}

/// A hash that takes centuries looks like a program that hangs; and a manifest that has no hash of what was read whole
/// says less than is known.
#[test]
fn the_rest_is_hashed_where_that_ends() {
    let (folder, disks, backup) = two(&["--rest"]);
    let manifest = fs::read(backup.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for (row, disk) in manifest["inputs"].as_array().unwrap().iter().zip(&disks) {
        assert_eq!(row["sha256"], sha256(&fs::read(disk).unwrap()));
    }
    let endless = folder.path().join("endless.img");
    let file = fs::File::create(&endless).unwrap();
    if file.set_len(4 << 40).is_err() {
        eprintln!("SKIPPED: the file system has no sparse files of 4 TiB");
        return;
    }
    let keep = |name: &str, options: &[&str], status: i32| {
        let mut command = disinter();
        command.arg("backup").arg(&endless).args(options);
        run(command.arg("-o").arg(folder.path().join(name)), status)
    };
    let errors = String::from_utf8(keep("whole", &["--rest"], 2).stderr).unwrap();
    assert!(errors.contains("1 TiB of holes"), "{errors}");
    keep("metadata", &[], 0);
}
