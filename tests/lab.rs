//! The scripts, run unchanged by the real kernel, mdadm and lvm2 on the damaged disks of both variants, must bring
//! back every volume.
//!
//! These need the lab's packages; `tests/run` installs them. Where they are not there the tests say so and pass: the
//! environment variable DISINTER_LAB=required, which `tests/run` sets, makes that a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{
    Unpacked, answer, blank, blanks, boot, disinter, investigate, lab, run, sha256,
    share_with_program,
};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The scripts that a person runs, in order.
const SCRIPTS: [&str; 7] = [
    "10-identify",
    "20-overlay",
    "30-assemble",
    "40-restore",
    "50-check",
    "60-real-disks",
    "90-undo",
];

/// The documented review switch, and nothing else.
fn review(case: &Path) {
    let settings = case.join("scripts/settings.sh");
    let text = fs::read_to_string(&settings).unwrap();
    assert!(text.contains("\nreviewed=no\n"));
    fs::write(
        &settings,
        text.replace("\nreviewed=no\n", "\nreviewed=yes\n"),
    )
    .unwrap();
}

/// How far a restore goes.
#[derive(Clone, Copy, PartialEq)]
enum Far {
    /// To the volumes, on overlays.
    Overlays,
    /// Then to the disks themselves, and back by the backup.
    Disks,
}

/// Restores a variant in the lab and compares every volume, and files as the kernel's file systems read them.
fn restores(name: &str, far: Far) {
    let Some(_lab) = lab() else {
        return;
    };
    let (unpacked, truth) = (Unpacked::new(name), answer(name));
    let share = unpacked.path().join("share");
    fs::create_dir(&share).unwrap();
    run(
        Command::new("cp")
            .arg("-r")
            .arg(unpacked.case())
            .arg(share.join("case")),
        0,
    );
    review(&share.join("case"));
    if far == Far::Disks {
        fs::copy(env!("CARGO_BIN_EXE_disinter"), share.join("disinter")).unwrap();
    }
    // Volumes whose files are hashed through the kernel, with where their file system starts.
    let mounts = [
        ("home", 0, ""),
        ("distros", 0, ""),
        ("ada", 63 * 512, "@1"),
        ("mx1", 2048 * 512, "@1"),
    ];
    let lines = mounts.iter().map(|(lv, at, _)| format!("{lv} {at}\n"));
    fs::write(share.join("mounts"), lines.collect::<String>()).unwrap();
    // Drive letters move: the disks come in another order than they were examined in.
    let mut images = unpacked.images();
    images.rotate_left(3);
    // All scripts, the disks themselves and the way back: more than a boot has time for where others work beside it.
    let mut options = vec!["--timeout", "900", "--env", "VG=guests"];
    // The members have superblocks that serve, so that udev's rules would start the array as soon as the maps are there,
    // and the group on it: before the scripts do, and for writing.
    if name == "holmes-2013" {
        options.extend(["--env", "UDEV=yes"]);
    }
    boot(&share, "prove.guest.sh", &options, &images);
    for lv in truth["lvs"].as_array().unwrap() {
        let name = lv["name"].as_str().unwrap();
        let bytes = fs::read(share.join(format!("lv-{name}.img"))).unwrap();
        assert_eq!(
            sha256(&bytes),
            lv["sha256"],
            "{name} as the kernel reads it is not what it was"
        );
    }
    let log = fs::read_to_string(share.join("guest.log")).unwrap();
    assert!(log.contains("All checks passed."), "{log}");
    // Superblocks that say what was worked out serve as they are; those of another order do not.
    let (by_superblocks, anew) = (
        log.contains("+ mdadm --assemble"),
        log.contains("+ mdadm --create"),
    );
    assert_eq!(
        (by_superblocks, anew),
        (name == "holmes-2013", name != "holmes-2013"),
        "{log}"
    );
    assert_eq!(log.contains("put back:"), far == Far::Disks, "{log}");
    let waits = log.contains("+ udevadm control --reload");
    assert_eq!(waits, name == "holmes-2013", "{log}");
    for (lv, _, partition) in mounts {
        files_agree(&unpacked, &share, lv, partition);
    }
}

/// Every file that the kernel read of a volume is the same through `disinter fs cp`.
fn files_agree(unpacked: &Unpacked, share: &Path, lv: &str, partition: &str) {
    let target = unpacked.path().join(format!("files-{lv}"));
    let place = format!("guests/{lv}{partition}:/");
    let layout = unpacked.case().join("layout.toml");
    run(
        disinter()
            .args(["fs", "cp", "--layout"])
            .arg(layout)
            .arg(place)
            .arg(&target),
        0,
    );
    let kernel = fs::read_to_string(share.join(format!("files-{lv}"))).unwrap();
    assert!(kernel.lines().count() > 10, "{kernel}");
    for line in kernel.lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        let ours = fs::read(target.join(path.trim_start_matches("./"))).unwrap();
        assert_eq!(sha256(&ours), digest, "{lv}: {path}");
    }
}

/// The story's own case: the installer's array in the old order.
#[test]
fn the_scripts_restore_the_same_order() {
    restores("holmes-2013", Far::Overlays);
}

/// The harder one: superblocks in a wrong order, and a mirror of two pairs overwritten. The half avoids both, so that
/// every byte comes back.
#[test]
fn the_scripts_restore_the_other_order() {
    restores("holmes-2013-other-order", Far::Overlays);
}

/// And on the ten disks themselves, five of which are written to: each must be what it was after the way back. This takes
/// six minutes, so that `tests/run` leaves it to `tests/run --whole`; a smaller group's disks are written to and put
/// back in [`a_volume_that_writes_by_its_start_stays_down_on_the_disks`].
#[test]
fn the_other_order_goes_to_the_disks_and_back() {
    restores("holmes-2013-other-order", Far::Disks);
}

/// Most machines have no array under their volumes: a disk whose label is lost comes back by its ring.
#[test]
fn the_scripts_restore_a_plain_disk() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (image, share) = (folder.path().join("disk.img"), folder.path().join("share"));
    blank(&image, 96 << 20);
    boot(
        &share,
        "plain.guest.sh",
        &["--write"],
        std::slice::from_ref(&image),
    );
    let case = share.join("case");
    run(&mut investigate([&image], &case), 0);
    review(&case);
    fs::write(share.join("mounts"), "").unwrap();
    boot(&share, "prove.guest.sh", &["--env", "VG=plain"], &[image]);
    let (before, after) = (
        fs::read(share.join("before.img")),
        fs::read(share.join("lv-data.img")),
    );
    assert_eq!(sha256(&after.unwrap()), sha256(&before.unwrap()));
    // A file system that nobody unmounted is full of faults to a check that replays nothing.
    let log = fs::read_to_string(share.join("guest.log")).unwrap();
    for words in ["its journal is replayed", "All checks passed."] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

/// Superblocks of a raid0 serve, though they say nothing of a size. On the disks a volume that lvm2 keeps as raid1 stays
/// down, whose start would write its own metadata, or make whole images equal; the one that lies plainly comes up, read
/// only, though udev's rules would start both for writing.
#[test]
fn a_volume_that_writes_by_its_start_stays_down_on_the_disks() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    let images = blanks(folder.path(), 'a'..='c', 96 << 20);
    boot(&share, "raids.guest.sh", &["--write"], &images);
    let case = share.join("case");
    run(&mut investigate(&images, &case), 0);
    review(&case);
    fs::write(share.join("mounts"), "").unwrap();
    fs::copy(env!("CARGO_BIN_EXE_disinter"), share.join("disinter")).unwrap();
    let options = ["--timeout", "300", "--env", "VG=mixed", "--env", "UDEV=yes"];
    boot(&share, "prove.guest.sh", &options, &images);
    for volume in ["home", "root"] {
        let [before, after] = ["before", "lv"]
            .map(|when| fs::read(share.join(format!("{when}-{volume}.img"))).unwrap());
        assert_eq!(sha256(&after), sha256(&before), "{volume}");
    }
    let log = fs::read_to_string(share.join("guest.log")).unwrap();
    for words in [
        "+ mdadm --assemble",
        "NOT STARTED: mixed/root (it is raid1",
        "lvchange",
        "put back:",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains("+ mdadm --create"), "{log}");
}

/// Mirrors without superblocks are equal to the byte: a person says which of them are the half.
fn only_the_half(case: &Path, images: &[std::path::PathBuf]) {
    let layout: toml::Table =
        toml::from_str(&fs::read_to_string(case.join("layout.toml")).unwrap()).unwrap();
    let half = layout["array"][0]["half"].as_array().unwrap().iter();
    let device = |name: &toml::Value| {
        let named = |i: &std::path::PathBuf| i.file_stem().unwrap().to_str() == name.as_str();
        let index = images.iter().position(named).unwrap();
        format!("/dev/ubd{}", ["a", "b", "c", "d"][index])
    };
    let devices: Vec<String> = half.map(device).collect();
    assert_eq!(devices.len(), 2, "{layout:?}");
    let settings = case.join("scripts/settings.sh");
    let text = fs::read_to_string(&settings).unwrap();
    let ours = format!("\ndevices=\"{}\"\n", devices.join(" "));
    fs::write(&settings, text.replace("\ndevices=\"\"\n", &ours)).unwrap();
}

/// lvm2 takes an old text over a thin pool only by force; the pool's own metadata then says where the bytes are.
#[test]
fn the_scripts_restore_a_thin_pool() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (image, share) = (folder.path().join("disk.img"), folder.path().join("share"));
    blank(&image, 96 << 20);
    let modules = "MODULES=dm-thin-pool";
    let images = std::slice::from_ref(&image);
    boot(
        &share,
        "thin.guest.sh",
        &["--write", "--env", modules],
        images,
    );
    let case = share.join("case");
    run(&mut investigate([&image], &case), 0);
    review(&case);
    let restore = fs::read_to_string(case.join("scripts/40-restore.sh")).unwrap();
    assert!(
        restore.contains("THIN POOLS") && restore.contains("--force"),
        "{restore}"
    );
    fs::write(share.join("mounts"), "").unwrap();
    let options = [
        "--env",
        "VG=store",
        "--env",
        modules,
        "--env",
        "LOOKED_AT=store/data",
    ];
    boot(&share, "prove.guest.sh", &options, images);
    let [before, after] =
        ["before.img", "lv-data.img"].map(|name| fs::read(share.join(name)).unwrap());
    assert_eq!(sha256(&after), sha256(&before));
}

/// Arrays without superblocks: what the kernel is told of them must be all that it needs. A raid0 takes no size, an array
/// by --build must not get superblocks over its last bytes, and members whose data start at different places need each
/// its own.
#[test]
fn the_scripts_restore_arrays_without_superblocks() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir_all(share.join("tree")).unwrap();
    for (number, name) in ["src", "tests", "book/src"].iter().enumerate() {
        let from = common::root().join(name);
        let to = share.join("tree").join(number.to_string());
        run(Command::new("cp").arg("-r").arg(from).arg(to), 0);
    }
    let mut state = 1_u32;
    for file in 0..600_u32 {
        let noise: Vec<u8> = (0..4000 + file * 37)
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state ^ state >> 15).to_le_bytes()
            })
            .collect();
        fs::write(share.join(format!("tree/noise-{file}")), noise).unwrap();
    }
    let tree = share.join("tree.img");
    blank(&tree, 80 << 20);
    let mut make = Command::new("mke2fs");
    make.env(
        "PATH",
        format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()),
    );
    make.args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(share.join("tree"))
        .arg(&tree);
    run(&mut make, 0);
    let images = blanks(folder.path(), 'a'..='j', 96 << 20);
    boot(&share, "wiped.guest.sh", &["--write"], &images);
    let true_bytes = sha256(&fs::read(&tree).unwrap());
    let sets = [
        (0, 3, "--create"),
        (3, 7, "--build"),
        (7, 10, "--data-offset=variable"),
    ];
    for (number, (from, to, how)) in sets.into_iter().enumerate() {
        let share = folder.path().join(format!("share{number}"));
        fs::create_dir(&share).unwrap();
        let images = &images[from..to];
        // How sure an order is, is asked elsewhere; here it must be right.
        let mut command = disinter();
        command.arg("investigate").args(images).arg("--case");
        let out = command.arg(share.join("case")).output().unwrap();
        assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
        review(&share.join("case"));
        let assemble = fs::read_to_string(share.join("case/scripts/30-assemble.sh")).unwrap();
        assert!(assemble.contains(how), "{assemble}");
        if how == "--build" {
            only_the_half(&share.join("case"), images);
        }
        fs::write(share.join("mounts"), "data 0\n").unwrap();
        let vg = format!("VG=vg{number}");
        boot(&share, "prove.guest.sh", &["--env", &vg], images);
        let read = fs::read(share.join("lv-data.img")).unwrap();
        assert_eq!(sha256(&read), true_bytes, "{how}");
    }
}

/// Block devices are examined like images, and a case on one of them is refused.
#[test]
fn devices_are_read_and_never_written_to() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let share = share_with_program(folder.path());
    let images = ["data.img", "case.img"].map(|name| folder.path().join(name));
    for image in &images {
        blank(image, 96 << 20);
    }
    boot(&share, "devices.guest.sh", &[], &images);
    let refused = fs::read_to_string(share.join("refused")).unwrap();
    assert!(
        refused.contains("/dev/ubdb, which is being examined"),
        "{refused}"
    );
    let found: serde_json::Value =
        serde_json::from_slice(&fs::read(share.join("case/manifest.json")).unwrap()).unwrap();
    assert_eq!(found["inputs"][0]["size"], 96 << 20);
    let report = fs::read_to_string(share.join("case/report.txt")).unwrap();
    assert!(
        report.contains("volume group plain, 1 volume; 1 of 1 start"),
        "{report}"
    );
}

/// Without the review switch the scripts must do nothing at all.
#[test]
fn unreviewed_scripts_only_talk() {
    let unpacked = Unpacked::new("holmes-2013");
    let scripts = unpacked.case().join("scripts");
    let before = sha256(&fs::read(unpacked.images()[0].clone()).unwrap());
    for script in SCRIPTS {
        let mut shell = Command::new("bash");
        // A path without any tool that could change something: only what the shell itself and coreutils give.
        let out = run(
            shell
                .arg(scripts.join(format!("{script}.sh")))
                .env("PATH", "/usr/bin:/bin"),
            0,
        );
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.starts_with("Not reviewed:"), "{text}");
        assert!(
            out.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    assert_eq!(
        sha256(&fs::read(unpacked.images()[0].clone()).unwrap()),
        before
    );
    assert!(!Path::new("/run/disinter").exists());
}

/// The scripts are for people to read and for bash: no complaint of shellcheck, no command that destroys.
#[test]
fn the_scripts_are_sound() {
    let unpacked = Unpacked::new("holmes-2013");
    let scripts = unpacked.case().join("scripts");
    for entry in fs::read_dir(&scripts).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "sh") {
            continue;
        }
        run(Command::new("bash").arg("-n").arg(&path), 0);
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n");
        for forbidden in [
            "vgremove",
            "lvremove",
            "pvremove",
            "mkfs",
            "zero-superblock",
            "wipefs",
        ] {
            assert!(!code.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
    match Command::new("shellcheck").arg("--version").output() {
        Err(_) => eprintln!("SKIPPED: shellcheck is not installed"),
        Ok(_) => {
            let mut check = Command::new("shellcheck");
            for name in ["lib", "settings"].iter().chain(&SCRIPTS) {
                check.arg(scripts.join(format!("{name}.sh")));
            }
            run(check.args(["-s", "bash"]), 0);
        }
    }
}

/// One file is enough: where there is busybox and nothing else, no library and no /etc, the program answers what it
/// answers here. Built otherwise than by `cargo static` it would not even start there.
#[test]
fn one_file_runs_where_there_is_only_busybox() {
    let Some(_lab) = lab() else {
        return;
    };
    let program = env!("CARGO_BIN_EXE_disinter");
    if !is_static(&fs::read(program).unwrap()) {
        let required = std::env::var("DISINTER_LAB").is_ok_and(|v| v == "required");
        assert!(!required, "{program} needs a loader");
        eprintln!("SKIPPED: the program is built dynamically; tests/run builds it as one file");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (image, share) = (folder.path().join("disk.img"), folder.path().join("share"));
    blank(&image, 96 << 20);
    fs::create_dir(&share).unwrap();
    fs::copy(program, share.join("disinter")).unwrap();
    boot(&share, "onefile.guest.sh", &[], &[image]);
    let said = |name: &str| fs::read_to_string(share.join(name)).unwrap();
    let tree = said("tree");
    assert!(!tree.contains("lib") && !tree.contains("etc"), "{tree}");
    for name in [
        "help", "scan", "texts", "case", "verify", "ls", "early", "check",
    ] {
        assert_eq!(
            said(&format!("{name}.status")),
            "0\n",
            "{name}: {}",
            said(&format!("{name}.err"))
        );
    }
    // There is nothing that the scripts call: doctor says so, and does not fail.
    assert_eq!(said("doctor.status"), "1\n", "{}", said("doctor.err"));
    assert!(
        said("doctor.out").contains("mdadm"),
        "{}",
        said("doctor.out")
    );
    assert!(said("ls.out").contains("lost+found"), "{}", said("ls.out"));
    // The clock was wrong; the answer must not be.
    let [early, case] = ["early", "case"].map(|case| -> serde_json::Value {
        serde_json::from_str(&said(&format!("{case}/manifest.json"))).unwrap()
    });
    assert!(early.to_string().contains("1970-01-01"), "{early}");
    assert_eq!(early["inputs"][0]["sha256"], case["inputs"][0]["sha256"]);
    assert_eq!(
        said("early/report.txt"),
        said("case/report.txt").replace("/share/case", "/share/early")
    );
    let there: serde_json::Value = serde_json::from_str(&said("texts.out")).unwrap();
    let here = common::json(
        disinter().args(["lvm", "scan"]).arg(share.join("disk.img")),
        0,
    );
    let digests = |scan: &serde_json::Value| -> Vec<serde_json::Value> {
        let candidates = scan["candidates"].as_array().unwrap().iter();
        candidates.map(|c| c["sha256"].clone()).collect()
    };
    assert!(!digests(&here).is_empty());
    assert_eq!(digests(&there), digests(&here));
}

/// Whether an ELF program needs no loader.
fn is_static(bytes: &[u8]) -> bool {
    use goblin::elf::Elf;
    Elf::parse(bytes).is_ok_and(|elf| elf.interpreter.is_none())
}
