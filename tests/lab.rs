//! The scripts, run unchanged by the real kernel, mdadm and lvm2 on the damaged disks of both variants, must bring
//! back every volume.
//!
//! These need the lab's packages; `tests/run` installs them. Where they are not there the tests say so and pass: the
//! environment variable DISINTER_LAB=required, which `tests/run` sets, makes that a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, answer, boot, disinter, lab, run, sha256};
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

/// Restores a variant in the lab and compares every volume, and files as the kernel's file systems read them.
fn restores(name: &str) {
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
    // The second variant goes on to the disks themselves, and back by the backup.
    if name == "holmes-2013-other-order" {
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
    boot(&share, "prove.guest.sh", &["--env", "VG=guests"], &images);
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
    assert_eq!(log.contains("put back:"), name != "holmes-2013", "{log}");
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
    restores("holmes-2013");
}

/// The harder one: superblocks in a wrong order, and a mirror of two pairs overwritten. The half avoids both, so that
/// every byte comes back.
#[test]
fn the_scripts_restore_the_other_order() {
    restores("holmes-2013-other-order");
}

/// Most machines have no array under their volumes: a disk whose label is lost comes back by its ring.
#[test]
fn the_scripts_restore_a_plain_disk() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (image, share) = (folder.path().join("disk.img"), folder.path().join("share"));
    fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
    boot(
        &share,
        "plain.guest.sh",
        &["--write"],
        std::slice::from_ref(&image),
    );
    let case = share.join("case");
    run(
        disinter()
            .arg("investigate")
            .arg(&image)
            .arg("--case")
            .arg(&case),
        0,
    );
    review(&case);
    fs::write(share.join("mounts"), "").unwrap();
    boot(&share, "prove.guest.sh", &["--env", "VG=plain"], &[image]);
    let (before, after) = (
        fs::read(share.join("before.img")),
        fs::read(share.join("lv-data.img")),
    );
    assert_eq!(sha256(&after.unwrap()), sha256(&before.unwrap()));
}

/// Block devices are examined like images, and a case on one of them is refused.
#[test]
fn devices_are_read_and_never_written_to() {
    let Some(_lab) = lab() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_disinter"), share.join("disinter")).unwrap();
    let images = ["data.img", "case.img"].map(|name| folder.path().join(name));
    for image in &images {
        fs::File::create(image).unwrap().set_len(96 << 20).unwrap();
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
        report.contains("volume group plain, 1 volumes; 1 of 1 start"),
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

/// The scripts are for busybox's shell too, and for people: no complaint of shellcheck, no command that destroys.
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
            run(check.args(["-s", "bash", "-e", "SC1091,SC2154"]), 0);
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
    fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
    fs::create_dir(&share).unwrap();
    fs::copy(program, share.join("disinter")).unwrap();
    boot(&share, "onefile.guest.sh", &[], &[image]);
    let said = |name: &str| fs::read_to_string(share.join(name)).unwrap();
    let tree = said("tree");
    assert!(!tree.contains("lib") && !tree.contains("etc"), "{tree}");
    for name in ["help", "scan", "texts", "case", "verify", "ls"] {
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
