//! The functions of `lib.sh`, asked of a real bash with the tools that would change something replaced by words.

use super::*;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A folder with the scripts of a plan, reviewed.
fn reviewed(plan: &Plan) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in write(plan).unwrap() {
        let text = file.text.replace("\nreviewed=no\n", "\nreviewed=yes\n");
        let text = text.replace("work=/run/disinter", "work=$here");
        fs::write(folder.path().join(file.name), text).unwrap();
    }
    folder
}

/// A group of these volumes, and nothing to say of it.
fn group(name: &str, lvs: Vec<PlanLv>) -> PlanVg {
    PlanVg {
        name: name.to_owned(),
        restore_file: format!("{name}.vg"),
        restore_sha256: String::new(),
        notes: Vec::new(),
        thin_pools: Vec::new(),
        thin_volumes: Vec::new(),
        open: Vec::new(),
        pvs: Vec::new(),
        lvs,
    }
}

/// A group without volumes, over one array.
fn one_array() -> Plan {
    Plan {
        vgs: vec![group("store", Vec::new())],
        arrays: vec![PlanArray {
            name: "array1".to_owned(),
            level: "raid0".to_owned(),
            layout: None,
            chunk_kib: Some(64),
            metadata: None,
            data_offset_sectors: None,
            member_kib: 1024,
            size: Bytes::mib(1),
            superblocks_serve: false,
            unproven: None,
            not_whole: None,
            slots: vec![None],
        }],
        ..Plan::default()
    }
}

/// What a line of shell says after `lib.sh`, and its status; `run` only shows.
fn said(folder: &Path, line: &str) -> (i32, String) {
    let line = format!("here=$PWD; . ./lib.sh; run() {{ say \"RAN $*\"; }}; {line}");
    let mut bash = Command::new("bash");
    let out = bash
        .args(["-c", &line])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn ends(folder: &Path, line: &str, status: i32, words: &str) {
    let (code, text) = said(folder, line);
    assert_eq!(code, status, "{line}: {text}");
    assert!(text.contains(words), "{line}: {text}");
}

/// A restore that guesses a disk writes one volume group's label over another's data; what is not sure, or cannot be
/// started, must not get as far as the disks.
#[test]
fn nothing_is_restored_that_is_not_known() {
    let mut plan = one_array();
    plan.vgs[0].open = vec!["pv1 (id) may be sda or sdb: nothing tells which".to_owned()];
    plan.arrays[0].unproven = Some("the order is not proven".to_owned());
    plan.arrays[0].not_whole = Some("too few are here".to_owned());
    let files = write(&plan).unwrap();
    let text = |name: &str| &files.iter().find(|f| f.name == name).unwrap().text;
    let before = |name: &str, refusal: &str, step: &str| {
        let (refusal, step) = (text(name).find(refusal), text(name).find(step));
        assert!(refusal.unwrap() < step.unwrap(), "{name}");
    };
    for name in ["40-restore.sh", "60-real-disks.sh"] {
        before(name, "not_told 'pv1", "vgcfgrestore -f");
    }
    for name in ["30-assemble.sh", "60-real-disks.sh"] {
        before(name, "not_whole 'too few", "mdadm --build");
    }
    // All that can stop it does so before the first map that writes to a disk, not between two writes.
    for check in [
        "not_told 'pv1",
        "not_whole 'too few",
        "md_free \"$md0\"",
        "expect_text ",
        "[ ! -e \"/dev/$vg\" ]",
    ] {
        before("60-real-disks.sh", check, "why 'the parts of the disks");
    }
    before("30-assemble.sh", "unproven 'the order", "mdadm --build");
    before(
        "60-real-disks.sh",
        "unproven_on_disks 'the order",
        "mdadm --build",
    );
    let folder = reviewed(&plan);
    for (line, status) in [
        ("not_told pv1", 1),
        ("not_whole array1", 1),
        ("unproven_on_disks array1", 1),
        ("unproven array1", 0),
    ] {
        let name = line.split(' ').nth(1).unwrap();
        ends(folder.path(), line, status, name);
        ends(folder.path(), &format!("reviewed=no; {line}"), 0, name);
    }
}

/// A size is no identity: a disk of which nothing could be read is never found, not even the right one.
#[test]
fn a_size_alone_is_no_disk() {
    let folder = reviewed(&Plan::default());
    let line = "devices=; all_devices() { say /dev/null; }; is_disk() { return 0; }; look_for_disks; find_disk sda 100";
    ends(folder.path(), line, 1, "its size alone does not tell");
    ends(
        folder.path(),
        &format!("{line} 0 8 aa"),
        0,
        "sda is /dev/null",
    );
    // A copy in a file is the usual thing to have: what to do is said.
    fs::write(folder.path().join("sda.img"), "x").unwrap();
    ends(
        folder.path(),
        "devices=$PWD/sda.img; look_for_disks",
        1,
        "losetup -r -f --show",
    );
}

/// After a 60-real-disks.sh that did not end, the way on is the backup's, not that of a disk that is lost.
#[test]
fn a_disk_that_is_not_found_has_reasons() {
    let folder = reviewed(&one_array());
    let at = folder.path();
    let find = "all_devices() { say /dev/null; }; is_disk() { return 1; }; look_for_disks; find_disk sda 100 0 8 aa";
    for words in [
        "has changed since it was examined",
        "dmesg",
        "devices in settings.sh",
    ] {
        ends(at, find, 1, words);
    }
    let real =
        "plan_digest >passed; backup=$PWD; : >backup.json; : >restore.sh; overlays_passed store";
    let up = format!("dmsetup() {{ say 'disinter-sda (252:0)'; }}; {real}");
    ends(at, &up, 1, "the overlays are still there");
    ends(at, "begin_real", 0, "");
    for line in [find, &up] {
        ends(
            at,
            line,
            1,
            "stopped half-way: run 90-undo.sh, then restore.sh of the backup",
        );
    }
    ends(at, "end_real", 0, "");
    ends(at, find, 1, "has changed since it was examined");
    let text = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    let real = text("60-real-disks.sh");
    let [begin, write, fail, end] = [
        "\nbegin_real",
        "mdadm --build",
        "die 'some checks",
        "\nend_real",
    ]
    .map(|words| real.find(words).unwrap());
    assert!(begin < write && write < fail && fail < end, "{real}");
    assert!(text("20-overlay.sh").contains("\nend_real"));
}

/// An image's name may hold blanks; the next script must still know where it was found.
#[test]
fn disks_with_blanks_in_their_names_are_known_again() {
    let folder = reviewed(&Plan::default());
    let line = "all_devices() { say /dev/null; }; is_disk() { return 0; }; look_for_disks; \
                find_disk ' disk 10 ' 100 0 8 aa; find_disk sda 100 0 8 aa; disks_found; device_of ' disk 10 '";
    let (code, text) = said(folder.path(), line);
    assert_eq!(
        (code, text.lines().last()),
        (0, Some("/dev/null")),
        "{text}"
    );
}

/// The label is cleared only where lvm2 says that it is the old label it stumbles over: a disk in use, or a text that
/// is gone, is no reason to write anything.
#[test]
fn a_label_goes_only_where_it_is_in_the_way() {
    let folder = reviewed(&Plan::default());
    let with = |says: &str| {
        format!(
            "file=x; expect_sectors() {{ :; }}; lvm_on() {{ say \"  {says}\"; [ -e done ]; }}; \
             dd() {{ :; }}; make_pv /dev/md1 uuid /dev/md1 8"
        )
    };
    for says in [
        "Can't open /dev/md1 exclusively.",
        "Unable to read volume group from x",
        "",
    ] {
        let (code, text) = said(folder.path(), &with(says));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("STOP:") && !text.contains("RAN dd"), "{text}");
    }
    let stumbles = with("WARNING: scan failed to get metadata summary from /dev/md1 PVID x");
    assert!(
        said(folder.path(), &stumbles)
            .1
            .contains("RAN dd if=/dev/zero of=/dev/md1")
    );
    fs::write(folder.path().join("done"), "").unwrap();
    let (code, text) = said(folder.path(), &stumbles);
    assert_eq!((code, text.contains("RAN")), (0, false), "{text}");
}

/// The text that goes to the disks is the one that the overlays were tried with.
#[test]
fn another_text_is_refused() {
    let folder = reviewed(&Plan::default());
    let text = folder.path().join("guests.vg");
    fs::write(&text, "guests").unwrap();
    let sum = hex::encode(Sha256::digest("guests"));
    ends(
        folder.path(),
        &format!("file=guests.vg; expect_text {sum}"),
        0,
        "",
    );
    fs::write(&text, "guests, edited").unwrap();
    ends(
        folder.path(),
        &format!("file=guests.vg; expect_text {sum}"),
        1,
        "is not the text",
    );
    ends(
        folder.path(),
        &format!("file=none.vg; expect_text {sum}"),
        1,
        "cannot be read",
    );
}

/// A volume that nothing here can check keeps the run on the overlays from being a success until a person has looked.
#[test]
fn what_is_not_checked_is_no_success() {
    let lv = |name: &str| PlanLv {
        name: name.to_owned(),
        expected: None,
        holds: None,
        inside: Vec::new(),
    };
    let plan = Plan {
        vgs: vec![group("vg", vec![lv("thin"), lv("more")])],
        ..Plan::default()
    };
    let folder = reviewed(&plan);
    let run = |looked_at: &str| {
        let settings = fs::read_to_string(folder.path().join("settings.sh")).unwrap();
        let set = settings.replace("looked_at=\"\"", &format!("looked_at=\"{looked_at}\""));
        fs::write(folder.path().join("settings.sh"), set).unwrap();
        let _ = fs::remove_file(folder.path().join("passed"));
        // Only root may run it, and only with the tools there.
        let line = "begin() { :; }; export -f begin; sed -i 's/^begin .*//' 50-check.sh; bash ./50-check.sh";
        let out = said(folder.path(), line);
        fs::write(folder.path().join("settings.sh"), settings).unwrap();
        (out, folder.path().join("passed").exists())
    };
    let ((code, text), passed) = run("vg/thin");
    assert_eq!((code, passed), (1, false), "{text}");
    assert!(
        text.contains("NOT CHECKED: vg/more") && !text.contains("NOT CHECKED: vg/thin"),
        "{text}"
    );
    let ((code, text), passed) = run("vg/thin vg/more");
    assert_eq!((code, passed), (0, true), "{text}");
}

/// Noise passes for a partition table, and of what is not known nothing is checked: neither is a success.
#[test]
fn a_table_alone_is_no_check() {
    let lv = |name: &str, holds: Option<&str>, inside: &[(u32, Extent)]| PlanLv {
        name: name.to_owned(),
        expected: Some((vec![Extent::new(Bytes::ZERO, Bytes(4096))], "aa".to_owned())),
        holds: holds.map(str::to_owned),
        inside: inside.to_vec(),
    };
    let part = (1, Extent::new(Bytes::mib(1), Bytes::mib(8)));
    let mut plan = one_array();
    plan.vgs[0].lvs = vec![
        lv("blank", None, &[]),
        lv("swap", Some("swap"), &[]),
        lv("table", Some("dos"), &[]),
        lv("guest", Some("gpt"), &[part]),
        lv("home", Some("ext4"), &[]),
    ];
    let files = write(&plan).unwrap();
    let text = &files.iter().find(|f| f.name == "50-check.sh").unwrap().text;
    for (name, asked) in [
        ("blank", true),
        ("swap", true),
        ("table", true),
        ("guest", false),
        ("home", false),
    ] {
        let line = format!("\nnot_checked store/{name} '");
        assert_eq!(text.contains(&line), asked, "{name}: {text}");
    }
    let inside = "\ncheck_inside store/guest@1 /dev/store/guest 2048 16384\n";
    assert!(text.contains(inside), "{text}");
    let folder = reviewed(&plan);
    let tools = "was_in_use() { return 1; }; e2fsck() { say 'e2fsck 1 EXT2FS' >&2; }; failed=no; ";
    let line = format!("{tools}dmsetup() {{ :; }}; {}", inside.trim());
    let (code, said_all) = said(folder.path(), &line);
    let ran = [
        "dmsetup create disinter-inside --readonly --table 0 16384 linear /dev/store/guest 2048",
        "e2fsck -fn /dev/mapper/disinter-inside",
        "dmsetup remove --retry disinter-inside",
    ];
    let mut at = 0;
    for command in ran {
        at += said_all[at..]
            .find(&format!("RAN {command}"))
            .unwrap_or_else(|| panic!("{said_all}"));
    }
    assert_eq!(code, 0);
    let line = line.replace(
        "dmsetup() { :; }",
        "dmsetup() { printf 'disinter-inside\\t(252:0)\\n'; }",
    );
    ends(folder.path(), &line, 1, "run 90-undo.sh first");
}

/// A check whose snapshot could not be made has no result: least of all that of the volume before it.
#[test]
fn a_check_answers_for_its_own_volume() {
    let folder = reviewed(&Plan::default());
    let run = |fails: &str, maps: &str| {
        let line = format!(
            "sectors() {{ say 8; }}; losetup() {{ say /dev/loop7; }}; dmsetup() {{ {maps}:; }}; \
             run() {{ say \"RAN $*\"; case $* in *\"{fails}\"*) return 1 ;; esac; }}; \
             check_replayed /dev/vg/b || say FAILED"
        );
        said(folder.path(), &line)
    };
    let (code, text) = run("nothing", "");
    assert_eq!((code, text.contains("FAILED")), (0, false), "{text}");
    for fails in ["dd if=", "losetup /dev/loop7", "dmsetup create"] {
        let (_, text) = run(fails, "");
        assert!(
            text.contains("FAILED") && !text.contains("e2fsck"),
            "{fails}: {text}"
        );
    }
    for fails in ["e2fsck -fp", "dmsetup remove"] {
        let (_, text) = run(fails, "");
        // A status of 1 says that the file system was mended.
        assert_eq!(text.contains("FAILED"), fails != "e2fsck -fp", "{text}");
    }
    let (code, text) = run("nothing", "say 'disinter-replay (252:9)'; ");
    assert_eq!((code, text.contains("RAN")), (1, false), "{text}");
    assert!(text.contains("run 90-undo.sh first"), "{text}");
    ends(
        folder.path(),
        "dmsetup() { say 'disinter-replay (252:9)'; }; checks_down",
        0,
        "dmsetup remove --retry disinter-replay",
    );
    let (code, text) = said(folder.path(), "dmsetup() { :; }; checks_down");
    assert_eq!((code, text.contains("RAN")), (0, false), "{text}");
}

/// What was written to a map that is still in use lies in its file; and what is left is told, as success it is a dead end.
#[test]
fn what_cannot_be_taken_down_is_told() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    fs::write(at.join("sdb-2.cow"), "x").unwrap();
    let maps = "dmsetup() { say 'disinter-sdb-2 (252:1)'; say 'disinter-base-sdb-2 (252:0)'; }; ";
    let busy = "run() { say \"RAN $*\"; [ \"$1\" != dmsetup ]; }; ";
    let (code, text) = said(at, &format!("{maps}{busy}overlay_down sdb-2"));
    assert_eq!((code, text.contains("RAN rm")), (0, false), "{text}");
    ends(at, &format!("{maps}overlay_down sdb-2"), 0, "RAN rm -f");
    let left = "still there: disinter-sdb-2 disinter-base-sdb-2.";
    ends(at, &format!("{maps}all_down sda-2 sdb-2"), 1, left);
    ends(at, &format!("{maps}all_down sda-2 b-2 sdb"), 0, "");
    ends(at, "dmsetup() { :; }; all_down sdb-2", 0, "");
    // Both refusals of the next run lead to the script that helps.
    fs::create_dir_all(at.join("disk/holders/dm-0/dm")).unwrap();
    fs::write(at.join("disk/holders/dm-0/dm/name"), "disinter-base-sdb-2").unwrap();
    let holders = "device_of() { :; }; in_sys() { say $PWD/disk; }; not_in_use sdb";
    ends(at, holders, 1, "run 90-undo.sh first");
    fs::write(at.join("disk/holders/dm-0/dm/name"), "vg-lv").unwrap();
    ends(at, holders, 1, "is in use by dm-0");
    fs::create_dir_all(at.join("md")).unwrap();
    fs::write(at.join("md/array_state"), "readonly").unwrap();
    let number = "basename() { say ../..$PWD; }; in_sys() { say $PWD/none; }; md_free /dev/md127";
    ends(at, number, 1, "set another md number");
    ends(
        at,
        &format!("ours() {{ :; }}; {number}"),
        1,
        "run 90-undo.sh first",
    );
}

/// After a restart, another array may have the number that ours had.
#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = reviewed(&Plan::default());
    for line in ["array_down /dev/md127", "volumes_down /dev/md127 vg"] {
        let (code, text) = said(folder.path(), line);
        assert_eq!((code, text.contains("RAN")), (0, false), "{text}");
    }
    ends(
        folder.path(),
        "ours() { :; }; array_down /dev/md127",
        0,
        "RAN mdadm --stop /dev/md127",
    );
}

/// An array of the rescue system that has the number of ours takes no label, nor is it what is checked.
#[test]
fn another_array_is_not_written_to() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    let slave = |number: u32, name: &str| {
        let dm = at.join(format!("sys/slaves/dm-{number}/dm"));
        fs::create_dir_all(&dm).unwrap();
        fs::write(dm.join("name"), name).unwrap();
    };
    let line = "in_sys() { say $PWD/sys; }; cat() { case $1 in */array_state) say readonly ;; *) command cat $1 ;; esac; }; \
                writable /dev/md127 sdb-2 sdd-2";
    let refusal = "does not stand on the maps";
    ends(at, line, 1, refusal);
    slave(0, "disinter-sdb-2");
    slave(1, "disinter-sdd-2");
    ends(at, line, 0, "RAN mdadm --readwrite /dev/md127");
    ends(at, &format!("reviewed=no; {line}"), 0, "RAN");
    // Nothing is to be made equal once it can be written to.
    fs::create_dir(at.join("md")).unwrap();
    fs::write(at.join("md/sync_action"), "idle").unwrap();
    let with_copies = format!("basename() {{ say ../..$PWD; }}; {line}");
    ends(at, &with_copies, 0, "RAN mdadm --readwrite /dev/md127");
    let action = fs::read_to_string(at.join("md/sync_action")).unwrap();
    assert_eq!(action, "frozen\n");
    for name in ["disinter-sdc-2", "vg-lv"] {
        slave(2, name);
        let (code, text) = said(at, line);
        assert_eq!((code, text.contains("RAN")), (1, false), "{text}");
        assert!(text.contains(refusal), "{text}");
    }
}

/// Another array is found out before the first step on any: 40 and 50 look at all of them first.
#[test]
fn the_arrays_are_looked_at_first() {
    let member = |name: &str| PlanMember {
        name: name.to_owned(),
        disk: "sda".to_owned(),
        extent: Extent::new(Bytes::ZERO, Bytes::mib(1)),
        data_offset_sectors: None,
    };
    let mut plan = one_array();
    plan.arrays[0].slots = vec![Some(member("sda-1")), None, Some(member("sda-2"))];
    let files = write(&plan).unwrap();
    let text = |name: &str| &files.iter().find(|f| f.name == name).unwrap().text;
    for (name, step) in [
        ("40-restore.sh", "\nexpect_text"),
        ("50-check.sh", "\nfailed="),
    ] {
        let (look, step) = (
            text(name).find("\nstarted \"$md0\" sda-1 sda-2\n"),
            text(name).find(step),
        );
        assert!(look.unwrap() < step.unwrap(), "{name}");
    }
    assert!(text("60-real-disks.sh").contains("\nwritable \"$md0\" sda-1 sda-2\n"));
}

/// A backup of other disks puts nothing back, nor does one of another day, nor one without what is written now: the undo
/// would find nothing to do.
#[test]
fn another_backup_is_refused() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    fs::create_dir(at.join("b")).unwrap();
    let mut disk = vec![3; 1 << 20];
    disk[..8192].fill(7);
    fs::write(at.join("disk"), &disk).unwrap();
    let size = "{\n      \"size\": 1048576,\n}";
    fs::write(at.join("b/backup.json"), size).unwrap();
    let sum = |byte: u8, length: usize| hex::encode(Sha256::digest(vec![byte; length]));
    let backup = |proof: u8, front: u8| {
        let lines = format!(
            "    \"$1\" 'a b' 524288 4096 {}\n    \"$1\" 'a b' 0 8192 {} front\n    \"$1\" 'a b' 8192 4096 {} more\n",
            sum(proof, 4096),
            sum(front, 8192),
            sum(3, 4096)
        );
        fs::write(at.join("b/restore.sh"), lines).unwrap();
    };
    let line = |rest: &str| format!("device_of() {{ echo disk; }}; backup=b; {rest}");
    let known = line("in_backup sda 2048");
    backup(3, 7);
    ends(at, &known, 0, "");
    let two = line("in_backup sda 2048; is_kept sda 0 24; is_kept sda 8 8; all_is_kept sda");
    ends(at, &two, 0, "");
    let behind = line("in_backup sda 2048; is_kept sda 0 16; is_kept sda 16 16; all_is_kept sda");
    ends(
        at,
        &behind,
        1,
        "disinter backup disk --keep disk@8192+8192 -o",
    );
    ends(at, &line("in_backup sda 2049"), 1, "no disk of that size");
    for (proof, front) in [(4, 7), (3, 8)] {
        backup(proof, front);
        ends(at, &known, 1, "not what disk has");
    }
}
