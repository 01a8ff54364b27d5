//! The backup round trip: keep, damage, compare, put back by the script, compare.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, disinter, json, run, sha256};
use serde_json::Value;
use std::fs;
use std::io::Write;
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
    // Without --write, and without the word, nothing is written.
    let (out, _) = kept.restore(&[], "", 0);
    assert!(out.contains("Nothing was written"), "{out}");
    let (_, errors) = kept.restore(&["--write"], "yes\n", 1);
    assert!(errors.contains("nothing was written"), "{errors}");
    assert_eq!(digests(&kept.disks), damaged);
    let (out, _) = kept.restore(&["--write"], "restore\n", 0);
    assert!(out.contains("unchanged outside of what was kept"), "{out}");
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

/// Written below what runs on it, a disk is damaged twice. An array or a volume group sits on a partition more often than
/// on the disk, swap and btrfs have no holder, and an old controller's names hold a slash.
#[test]
fn a_disk_in_use_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (image, backup) = (folder.path().join("a.img"), folder.path().join("backup"));
    fs::write(&image, [7; 8192]).unwrap();
    run(
        disinter().arg("backup").arg(&image).arg("-o").arg(&backup),
        0,
    );
    // The script's own functions, over a system that is made up.
    let script = fs::read_to_string(backup.join("restore.sh")).unwrap();
    let functions = script.split("declare -A place").next().unwrap();
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
