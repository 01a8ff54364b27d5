//! The scripts as texts: hostile names, ShellCheck over all of them, and `disinter script` as a command of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{
    Unpacked, answer, disinter, drill, export, investigate, json, run, sha256, unpack_xz,
};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every shell script in a folder, through bash's own eyes and ShellCheck's.
fn are_sound(folder: &Path) {
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "sh"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 9, "{scripts:?}");
    for script in &scripts {
        run(Command::new("bash").arg("-n").arg(script), 0);
    }
    match Command::new("shellcheck").arg("--version").output() {
        Err(_) => eprintln!("SKIPPED: shellcheck is not installed"),
        Ok(_) => {
            let mut check = Command::new("shellcheck");
            run(check.args(["-s", "bash"]).args(scripts), 0);
        }
    }
}

/// A layout that was written down, and a text that was taken out, must lead to the scripts that an investigation
/// writes: else a person who corrects a layout by hand has no way on.
#[test]
fn a_layout_leads_to_the_same_scripts() {
    for name in ["holmes-2013", "holmes-2013-other-order"] {
        let (unpacked, truth) = (Unpacked::new(name), answer(name));
        let text = unpacked.path().join("extracted.vg");
        fs::copy(unpacked.case().join("guests.vg"), &text).unwrap();
        assert_eq!(
            sha256(&fs::read(&text).unwrap()),
            truth["vg"]["file_sha256"]
        );
        let layout = unpacked.case().join("layout.toml");
        let out = unpacked.path().join("scripts");
        let mut command = disinter();
        command
            .args(["script", "--layout"])
            .arg(&layout)
            .arg("--vg")
            .arg(&text);
        let found = json(command.arg("-o").arg(&out), 0);
        assert_eq!(found["vg"], "guests");
        let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let inputs = manifest["inputs"].as_array().unwrap();
        let disks: Vec<_> = inputs.iter().map(|i| i["path"].as_str().unwrap()).collect();
        let images = unpacked.images();
        assert!(!disks.is_empty(), "it says nothing of the disks");
        assert!(
            disks.iter().all(|disk| images.contains(&disk.into())),
            "{disks:?}"
        );
        assert_eq!(
            found["volumes"].as_array().unwrap().len(),
            truth["lvs"].as_array().unwrap().len()
        );
        are_sound(&out);
        are_sound(&unpacked.case().join("scripts"));
        for script in [
            "10-identify",
            "20-overlay",
            "30-assemble",
            "40-restore",
            "50-check",
            "60-real-disks",
        ] {
            let read =
                |folder: &Path| fs::read_to_string(folder.join(format!("{script}.sh"))).unwrap();
            let theirs =
                read(&unpacked.case().join("scripts")).replace("../guests.vg", "guests.vg");
            assert_eq!(read(&out), theirs, "{name} {script}");
        }
        let assemble = fs::read_to_string(out.join("30-assemble.sh")).unwrap();
        match name {
            "holmes-2013" => {
                assert!(assemble.contains("--assemble") && assemble.contains("--readonly"))
            }
            _ => assert!(
                assemble.contains("--create")
                    && assemble.contains("--assume-clean")
                    && assemble.contains("missing")
            ),
        }
        // Without a [[vg]] in the layout, the data says where the physical volume lies.
        let mut edited: toml::Table =
            toml::from_str(&fs::read_to_string(&layout).unwrap()).unwrap();
        edited.remove("vg");
        let bare = unpacked.case().join("bare.toml");
        fs::write(&bare, toml::to_string(&edited).unwrap()).unwrap();
        let again = unpacked.path().join("again");
        let mut command = disinter();
        command
            .args(["script", "--layout"])
            .arg(&bare)
            .arg("--vg")
            .arg(&text);
        run(command.arg("-o").arg(&again), 0);
        assert_eq!(
            fs::read(again.join("40-restore.sh")).unwrap(),
            fs::read(out.join("40-restore.sh")).unwrap()
        );
    }
}

/// A layout's names of physical volumes are those of its own text, and lvm2 numbers anew at every write: a text that was
/// given in its place must not put one volume's id and label over another's data.
#[test]
fn another_text_goes_by_ids() {
    let unpacked = Unpacked::new("holmes-2013");
    let case = unpacked.case();
    let text = fs::read_to_string(case.join("guests.vg")).unwrap();
    let (head, body) = text.split_once("\t\tpv0 {").unwrap();
    let (own, rest) = body.split_once("\n\t\t}\n").unwrap();
    // The label that is on the array now is the installer's: given to a second volume, it is another's.
    let scan = run(
        disinter()
            .args(["scan", "-q", "--json"])
            .args(unpacked.images()),
        0,
    );
    let scan = String::from_utf8(scan.stdout).unwrap();
    let label = scan.split("\"pv_uuid\": \"").nth(1).unwrap();
    let label = label.split('"').next().unwrap();
    let id = own.split('"').nth(1).unwrap();
    assert_ne!(id, label);
    let second = own.replace(id, label);
    let two = |first: &str, second: &str| {
        format!("{head}\t\tpv0 {{{first}\n\t\t}}\n\t\tpv1 {{{second}\n\t\t}}\n{rest}").replace(
            "\"pv0\", ",
            if first == own {
                "\"pv0\", "
            } else {
                "\"pv1\", "
            },
        )
    };
    let given = unpacked.path().join("given.vg");
    let script = |text: &str, out: &str, words: &str| {
        fs::write(&given, text).unwrap();
        let mut command = disinter();
        command
            .args(["script", "-q", "--layout"])
            .arg(case.join("layout.toml"));
        command
            .arg("--vg")
            .arg(&given)
            .arg("-o")
            .arg(unpacked.path().join(out));
        let refused = String::from_utf8(run(&mut command, 2).stderr).unwrap();
        assert!(refused.contains(words), "{refused}");
    };
    // The volume that the layout knows as pv0 is pv1 here.
    script(&two(&second, own), "a", "where pv0 of guests lies");
    let layout = fs::read_to_string(case.join("layout.toml")).unwrap();
    fs::write(case.join("guests.vg"), two(own, &second)).unwrap();
    fs::write(
        case.join("layout.toml"),
        layout.replace("pv0 = \"array2\"", "pv0 = \"array2\"\npv1 = \"sda\""),
    )
    .unwrap();
    script(
        &two(own, &second),
        "b",
        "pv0 is to lie on array2, whose label is that of pv1",
    );
}

/// Two disks of ten hold no array that could be started: an answer that sends a person on to the scripts costs the night.
#[test]
fn too_few_disks_are_no_answer() {
    let unpacked = Unpacked::new("holmes-2013");
    let few: Vec<_> = unpacked
        .images()
        .into_iter()
        .filter(|image| {
            let name = image.file_name().unwrap();
            name == "sdb.img" || name == "sdd.img"
        })
        .collect();
    let case = unpacked.path().join("few");
    let out = run(&mut investigate(few, &case), 1);
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(
        page.contains("DOUBT") && page.contains("members of array"),
        "{page}"
    );
    assert!(!page.contains("scripts/README.txt"), "{page}");
    let assemble = fs::read_to_string(case.join("scripts/30-assemble.sh")).unwrap();
    assert!(assemble.contains("\nnot_whole '"), "{assemble}");
}

/// A mirror that fell out long ago has the same front, the same size and no part in the plan: the scripts must not take it
/// for the disk that was chosen.
#[test]
fn a_stale_mirror_is_not_the_chosen_disk() {
    const STALE: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let case = folder.path().join("case");
    run(&mut investigate([&image], &case), 0);
    let mut bytes = fs::read(&image).unwrap();
    let place = (1 << 20) + STALE;
    bytes[place] ^= 1;
    let stale = folder.path().join("stale.img");
    fs::write(&stale, &bytes).unwrap();
    bytes[place] ^= 1;
    let mut layout: toml::Table =
        toml::from_str(&fs::read_to_string(case.join("layout.toml")).unwrap()).unwrap();
    let images = layout["image"].as_array_mut().unwrap();
    let mut other = images[0].clone();
    other["name"] = "stale".into();
    other["path"] = stale.to_str().unwrap().into();
    images.push(other);
    let edited = case.join("edited.toml");
    fs::write(&edited, toml::to_string(&layout).unwrap()).unwrap();
    let out = folder.path().join("out");
    let mut command = disinter();
    command.args(["script", "--layout"]).arg(edited);
    command.arg("--vg").arg(case.join("vg_test.vg"));
    run(command.arg("-o").arg(&out), 0);
    let proof = |folder: &Path| {
        let text = fs::read_to_string(folder.join("10-identify.sh")).unwrap();
        text.contains(&sha256(&bytes[place..place + 4096]))
    };
    assert!(!proof(&case.join("scripts")) && proof(&out));
}

/// A disk whose front cannot be read is known by other places: by its size alone, any disk of that size would be it.
#[test]
fn an_unread_front_leaves_other_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let size = fs::metadata(&image).unwrap().len();
    let map = format!("0x0 ? 1\n0x0 0x1000 -\n0x1000 {:#x} +\n", size - 0x1000);
    fs::write(image.with_extension("img.map"), map).unwrap();
    let case = folder.path().join("case");
    run(&mut investigate([&image], &case), 3);
    let identify = fs::read_to_string(case.join("scripts/10-identify.sh")).unwrap();
    let proofs = identify
        .lines()
        .filter(|l| l.trim_end_matches(" \\").len() > 64 + 8);
    assert!(proofs.count() >= 4, "{identify}");
}

/// Names come from damaged disks. Each of these would run something, or lead somewhere else, if it reached a script
/// as it is; LVM itself allows none of them, so none is let through, and nothing is left behind.
#[test]
fn hostile_names_are_refused() {
    let unpacked = Unpacked::new("holmes-2013");
    let good = fs::read_to_string(drill("holmes-2013").join("true-guests.vg")).unwrap();
    let names = [
        "$(reboot)",
        "`id`",
        "a;reboot",
        "a b",
        "a\\nreboot",
        "a'b",
        "a\\\"b",
        "\u{1b}[2Jx",
        "../../etc",
        "-rf",
        ".",
        "a|b",
        "a\u{202e}b",
    ];
    for name in names {
        let texts = [
            good.replacen("guests {", &format!("{name} {{"), 1),
            good.replacen("\thome {", &format!("\t{name} {{"), 1)
                .replacen("home {", &format!("{name} {{"), 1),
        ];
        for (number, text) in texts.into_iter().enumerate() {
            assert_ne!(text, good);
            let file = unpacked.path().join("hostile.vg");
            fs::write(&file, text).unwrap();
            let out = unpacked.path().join("out");
            let mut command = disinter();
            command
                .args(["script", "--layout"])
                .arg(unpacked.case().join("layout.toml"))
                .arg("--vg")
                .arg(&file);
            let ended = run(command.arg("-o").arg(&out), 2);
            let errors = String::from_utf8(ended.stderr).unwrap();
            assert!(!out.exists(), "{name:?} {number}");
            assert!(
                !errors.contains('\u{1b}') && !errors.contains('\u{202e}'),
                "{errors:?}"
            );
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
    }
}

/// Names that LVM allows and a shell might trip over are quoted or harmless: asked of the real shell.
#[test]
fn odd_names_stay_names() {
    let unpacked = Unpacked::new("holmes-2013");
    let good = fs::read_to_string(drill("holmes-2013").join("true-guests.vg")).unwrap();
    let text = good
        .replacen("guests {", "g.u+e_s-t {", 1)
        .replacen("home {", "h-o.m+e_ {", 1);
    let file = unpacked.path().join("odd.vg");
    fs::write(&file, text).unwrap();
    let out = unpacked.path().join("out");
    let mut command = disinter();
    command
        .args(["script", "--layout"])
        .arg(unpacked.case().join("layout.toml"))
        .arg("--vg")
        .arg(&file);
    run(command.arg("-o").arg(&out), 0);
    are_sound(&out);
    let shown = run(Command::new("bash").arg(out.join("40-restore.sh")), 0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("vgchange") && shown.contains("g.u+e_s-t"),
        "{shown}"
    );
    assert!(
        fs::read_to_string(out.join("50-check.sh"))
            .unwrap()
            .contains("/dev/g.u+e_s-t/h-o.m+e_ ")
    );
}

/// A part of a disk that was examined alone is that part in the layout too, and the scripts look for it where it lies:
/// taken for the whole disk, every byte read through the layout and every command would be off by the part's start.
#[test]
fn a_part_of_a_disk_keeps_its_place() {
    const START: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let Some(volume) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let volume = fs::read(volume).unwrap();
    let mut bytes = vec![0x5a; START];
    bytes.extend_from_slice(&volume);
    bytes.extend_from_slice(&[0x5a; 4096]);
    let disk = folder.path().join("disk.img");
    fs::write(&disk, &bytes).unwrap();
    let case = folder.path().join("case");
    let part = format!("{}@{START}+{}", disk.display(), volume.len());
    let mut command = disinter();
    run(command.args(["investigate", &part, "--case"]).arg(&case), 0);
    // The physical volume's first extent is the first of this volume.
    let (lv, _) = export(&case.join("layout.toml"), "vg_test/lv_test1", &[], 0);
    assert!(lv.len() > 1 << 20 && lv == bytes[START + (1 << 20)..][..lv.len()]);
    are_sound(&case.join("scripts"));
    let mut scripts = String::new();
    for entry in fs::read_dir(case.join("scripts")).unwrap() {
        scripts.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let digest = sha256(&bytes[START..START + 4096]);
    let line = scripts.lines().find(|l| l.contains(&digest));
    let line = line.unwrap_or_else(|| panic!("{scripts}"));
    assert!(
        line.contains(&(START / 512).to_string()) || line.contains(&START.to_string()),
        "{line}"
    );
    assert!(
        scripts.contains(&bytes.len().to_string())
            || scripts.contains(&(bytes.len() / 512).to_string())
    );
}

/// A member whose rebuild had not ended serves as it is; started by its superblock, the kernel would go on with the rebuild
/// over all of it.
#[test]
fn an_unfinished_rebuild_is_not_gone_on_with() {
    let unpacked = Unpacked::new("holmes-2013");
    let layout = unpacked.case().join("layout.toml");
    let script = |to: &str| {
        let out = unpacked.path().join(to);
        let mut command = disinter();
        command.args(["script", "--layout"]).arg(&layout);
        command.arg("--vg").arg(unpacked.case().join("guests.vg"));
        run(command.arg("-o").arg(&out), 0);
        fs::read_to_string(out.join("30-assemble.sh")).unwrap()
    };
    assert!(script("before").contains("run mdadm --assemble"));
    let table: toml::Table = toml::from_str(&fs::read_to_string(&layout).unwrap()).unwrap();
    let mut arrays = table["array"].as_array().unwrap().iter();
    let array = arrays.rfind(|a| a.get("half").is_some()).unwrap();
    let member = array["half"][0]
        .as_str()
        .unwrap()
        .split('@')
        .next()
        .unwrap();
    let image = unpacked.path().join(format!("{member}.img"));
    let mut bytes = fs::read(&image).unwrap();
    unfinished(&mut bytes);
    fs::write(&image, bytes).unwrap();
    let after = script("after");
    assert!(after.contains("run mdadm --create") && !after.contains("run mdadm --assemble"));
}

/// Puts an unfinished rebuild into every superblock 1.0 of raid10 on a disk, checksum and all.
fn unfinished(bytes: &mut [u8]) {
    const FEATURES: usize = 8;
    const LEVEL: usize = 72;
    const RECOVERY_OFFSET: usize = 152;
    const CHECKSUM: usize = 216;
    const MOST_DEVICES: usize = 220;
    let word = |sb: &[u8], at: usize| u32::from_le_bytes(sb[at..at + 4].try_into().unwrap());
    let mut changed = 0;
    for at in (0..bytes.len() - 4096).step_by(512) {
        let sb = &mut bytes[at..at + 4096];
        if sb[..4] != [0xfc, 0x4e, 0x2b, 0xa9] || word(sb, 4) != 1 || word(sb, LEVEL) != 10 {
            continue;
        }
        sb[FEATURES] |= 2;
        sb[RECOVERY_OFFSET..RECOVERY_OFFSET + 8].copy_from_slice(&2048_u64.to_le_bytes());
        sb[CHECKSUM..CHECKSUM + 4].fill(0);
        let length = 256 + 2 * word(sb, MOST_DEVICES) as usize;
        let (words, rest) = sb[..length].as_chunks::<4>();
        let sum: u64 = words
            .iter()
            .map(|w| u64::from(u32::from_le_bytes(*w)))
            .sum();
        let sum = sum
            + rest
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | u64::from(*byte));
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        sb[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes()[..4]);
        changed += 1;
    }
    assert!(changed > 0);
}
