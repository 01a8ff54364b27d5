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
        id: "H6Oe77-aaaa-bbbb-cccc-dddd-eeee-ffffff".to_owned(),
        restore_file: format!("{name}.vg"),
        restore_sha256: String::new(),
        notes: Vec::new(),
        thin_pools: Vec::new(),
        thin_volumes: Vec::new(),
        skips: false,
        open: Vec::new(),
        doubtful: Vec::new(),
        unequal: Vec::new(),
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
            forgets: None,
            fronts: Vec::new(),
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
    plan.vgs[0].doubtful = vec!["seqno 5 and a younger one".to_owned()];
    plan.vgs[0].unequal = vec!["the legs of store/home differ".to_owned()];
    plan.arrays[0].unproven = Some("the order is not proven".to_owned());
    plan.arrays[0].not_whole = Some("too few are here".to_owned());
    plan.arrays[0].forgets = Some("sda had a write journal".to_owned());
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
        "not_active \"$vg\"",
    ] {
        before("60-real-disks.sh", check, "why 'the parts of the disks");
    }
    before("30-assemble.sh", "unproven 'the order", "mdadm --build");
    before("30-assemble.sh", "forgets 'sda had", "mdadm --build");
    before(
        "60-real-disks.sh",
        "forgets_on_disks 'sda had",
        "look_for_disks",
    );
    before(
        "60-real-disks.sh",
        "unproven_on_disks 'the order",
        "mdadm --build",
    );
    before("40-restore.sh", "doubtful 'seqno 5", "vgcfgrestore -f");
    before("40-restore.sh", "unequal 'the legs", "vgcfgrestore -f");
    for stop in ["doubtful_on_disks 'seqno 5", "unequal_on_disks 'the legs"] {
        before("60-real-disks.sh", stop, "look_for_disks");
    }
    let folder = reviewed(&plan);
    for (line, status) in [
        ("not_told pv1", 1),
        ("unequal_on_disks store", 1),
        ("unequal store", 0),
        ("doubtful_on_disks store", 1),
        ("doubtful store", 0),
        ("not_whole array1", 1),
        ("unproven_on_disks array1", 1),
        ("unproven array1", 0),
        ("forgets_on_disks sda", 1),
        ("forgets sda", 0),
    ] {
        let name = line.split(' ').nth(1).unwrap();
        ends(folder.path(), line, status, name);
        ends(folder.path(), &format!("reviewed=no; {line}"), 0, name);
    }
}

/// A raid image, a pool or a cache is written to by its start alone, whatever is said of the volume above: a resync would go
/// over whole images on the disks, and no backup holds them.
#[test]
fn what_writes_by_its_start_stays_down_on_the_disks() {
    let lv = |name: &str, start_writes: Option<&str>| PlanLv {
        name: name.to_owned(),
        expected: Some((vec![Extent::new(Bytes::ZERO, Bytes(4096))], "aa".to_owned())),
        places: 1,
        start_writes: start_writes.map(str::to_owned),
        holds: Some("ext4".to_owned()),
        inside: Vec::new(),
    };
    let mut plan = one_array();
    plan.vgs[0].lvs = vec![lv("home", None), lv("root", Some("it is raid1"))];
    let text = |plan: &Plan, name: &str| {
        let files = write(plan).unwrap();
        files.iter().find(|f| f.name == name).unwrap().text.clone()
    };
    let (overlays, check) = (text(&plan, "40-restore.sh"), text(&plan, "50-check.sh"));
    assert!(overlays.contains("vgchange -ay \"$vg\"\n"), "{overlays}");
    assert!(check.contains("check_ext store/root"), "{check}");
    let disks = text(&plan, "60-real-disks.sh");
    assert!(disks.contains(" lvchange -ay \"$vg\"/home\n"), "{disks}");
    assert!(disks.contains("not_started store/root 'it is raid1'\n"));
    assert!(disks.contains("stands store/home /dev/store/home\n"));
    assert!(disks.contains("only_to_be_read"));
    for words in [
        "vgchange -ay",
        "check_ext store/root",
        "stands store/root",
        "digest store/root",
    ] {
        assert!(!disks.contains(words), "{words}: {disks}");
    }
    plan.vgs[0].skips = true;
    assert!(text(&plan, "40-restore.sh").contains("vgchange -ay -K \"$vg\"\n"));
    plan.vgs[0].lvs = vec![lv("pool", Some("it is thin"))];
    let none = text(&plan, "60-real-disks.sh");
    assert!(!none.contains("change -ay"), "{none}");
}

/// A volume of this name may be another's, or may have been started for writing by udev before we came to it.
#[test]
fn a_volume_is_ours_and_read_only() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    let put = |path: &str, text: &str| {
        let path = at.join("sys").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let line = "in_sys() { say $PWD/sys/lv; }; failed=no; stands vg/lv /dev/vg/lv; say \"failed: $failed\"";
    let fails = |words: &str| {
        ends(at, line, 0, words);
        ends(at, line, 0, "failed: yes");
    };
    ends(
        at,
        "in_sys() { return 1; }; stands vg/lv /dev/vg/lv; say \"failed: $failed\"",
        0,
        "NOT THERE: vg/lv",
    );
    put("lv/dm/name", "vg-lv");
    put("lv/ro", "1\n");
    // Over a plain disk, over an array of our maps, and then over one of another's too.
    put("lv/slaves/dm-1/dm/name", "disinter-sda");
    put("lv/slaves/md127/md/level", "raid1");
    put("lv/slaves/md127/slaves/dm-2/dm/name", "disinter-sdb-2");
    ends(at, line, 0, "failed: no");
    put("lv/ro", "0\n");
    fails("CAN BE WRITTEN TO: vg/lv");
    put("lv/ro", "1\n");
    put("lv/slaves/md127/slaves/sdc/size", "8");
    fails("NOT OURS: vg/lv");
    fs::remove_dir_all(at.join("sys/lv/slaves")).unwrap();
    put("lv/slaves/sdc/size", "8");
    fails("NOT OURS: vg/lv");
}

/// lvm2 goes by ids: a group that was given another name for the scripts would be taken for the one that is in use, and
/// its volumes be put onto the overlays under whoever uses them.
#[test]
fn a_group_in_use_is_known_by_its_id() {
    let mut plan = one_array();
    plan.vgs[0].name = "no-such-group".to_owned();
    let folder = reviewed(&plan);
    let files = write(&plan).unwrap();
    for name in ["40-restore.sh", "60-real-disks.sh"] {
        let text = &files.iter().find(|f| f.name == name).unwrap().text;
        let line = "\nnot_active \"$vg\" H6Oe77aaaabbbbccccddddeeeeffffff\n";
        assert!(text.contains(line), "{text}");
    }
    let up = |uuid: &str| {
        format!("dmsetup() {{ say CRYPT-1; say {uuid}; }}; not_active no-such-group H6Oe77aaaa")
    };
    ends(
        folder.path(),
        &up("LVM-H6Oe77aaaa0000-pool"),
        1,
        "by its id",
    );
    ends(folder.path(), &up("LVM-eJ6hYSaaaa0000"), 0, "");
    ends(
        folder.path(),
        "dmsetup() { return 1; }; not_active no-such-group H6Oe77",
        0,
        "",
    );
}

/// What 50-check.sh looks at may be left of another run, or be half of what 40-restore.sh had to do.
#[test]
fn checks_want_a_restore_that_ended() {
    let plan = one_array();
    let folder = reviewed(&plan);
    let at = folder.path();
    ends(
        at,
        "must_be_restored",
        1,
        "40-restore.sh has not ended well",
    );
    ends(at, "record restored; must_be_restored", 0, "");
    ends(at, "forget restored; must_be_restored", 1, "40-restore.sh");
    let text = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert!(text("40-restore.sh").contains("\nrecord restored\n"));
    for name in ["20-overlay.sh", "90-undo.sh"] {
        assert!(text(name).contains("\nforget restored\n"), "{name}");
    }
    let check = text("50-check.sh");
    assert!(check.find("must_be_restored").unwrap() < check.find("started").unwrap());
}

/// By its usual rules udev starts an old array from our maps, a group on ours, a guest's array in a volume.
#[test]
fn udev_leaves_alone_what_comes_up() {
    let mut plan = one_array();
    plan.vgs[0].name = "store+1".to_owned();
    let folder = reviewed(&plan);
    let at = folder.path();
    for name in ["20-overlay.sh", "60-real-disks.sh"] {
        let text = fs::read_to_string(at.join(name)).unwrap();
        let (waits, step) = (
            text.find("\nudev_waits \"$md0\" store+1\n"),
            text.find("\nwhy 'the parts of")
                .or(text.find("\nwhy 'writes go")),
        );
        assert!(waits.unwrap() < step.unwrap(), "{text}");
    }
    let paths = "udev=$PWD/udev rules=$PWD/udev/rules.d/r processes=$PWD/proc; ";
    let waits = format!("{paths}udev_waits /dev/md127 store+1");
    let (code, text) = said(at, &waits);
    assert_eq!(
        (code, text.as_str(), at.join("udev").exists()),
        (0, "", false)
    );
    // In a chroot without /run the machine's own goes on, and cannot be told to wait.
    fs::create_dir_all(at.join("proc/17")).unwrap();
    fs::write(at.join("proc/17/comm"), "bash\n").unwrap();
    ends(at, &waits, 0, "");
    fs::write(at.join("proc/17/comm"), "systemd-udevd\n").unwrap();
    ends(at, &waits, 1, "bind /run");
    fs::create_dir(at.join("udev")).unwrap();
    fs::write(at.join("udev/control"), "").unwrap();
    ends(at, &waits, 0, "RAN udevadm control --reload");
    let rules = fs::read_to_string(at.join("udev/rules.d/r")).unwrap();
    let lines = [
        "ENV{DM_NAME}==\"disinter-*\", ENV{ID_FS_TYPE}=\"\"",
        "KERNEL==\"md127\", ENV{ID_FS_TYPE}=\"\"",
        "ENV{DM_VG_NAME}==\"store+1\", ENV{ID_FS_TYPE}=\"\"",
    ];
    assert_eq!(rules.lines().collect::<Vec<_>>(), lines);
    ends(
        at,
        &format!("run() {{ \"$@\"; }}; udevadm() {{ :; }}; {paths}udev_goes_on"),
        0,
        "",
    );
    assert!(!at.join("udev/rules.d/r").exists());
}

/// Two mirrors of which only one is plugged in: both would be found on it, and its sectors be two members.
#[test]
fn one_device_is_not_two_disks() {
    let folder = reviewed(&Plan::default());
    let line = "all_devices() { say /dev/null; }; is_disk() { return 0; }; look_for_disks; \
                find_disk sda 100 0 8 aa; find_disk sdb 100 0 8 aa";
    ends(
        folder.path(),
        line,
        1,
        "/dev/null looks like sdb, and like another",
    );
}

/// What a disk is known by may lie where 60-real-disks.sh wrote nothing before it was stopped: only the backup can say that
/// the disk is again what it was.
#[test]
fn a_stopped_run_is_not_forgotten() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    let line =
        |backup: &str| format!("in_backup() {{ {backup}; }}; as_before sda 100; say GOES ON");
    ends(at, &line("die never"), 0, "GOES ON");
    // Nothing is written where that could not be noted.
    ends(at, "here=$PWD/none; begin_real", 1, "cannot be written to");
    // A folder of /run is gone after a power cut.
    ends(at, "work=$PWD/run; mkdir run; begin_real; rm -r run", 0, "");
    let half_way = "stopped half-way: run 90-undo.sh, then restore.sh";
    ends(at, &line(":"), 1, half_way);
    fs::write(at.join("restore.sh"), "").unwrap();
    ends(at, &format!("backup=$PWD; {}", line(":")), 0, "GOES ON");
    ends(
        at,
        &format!("backup=$PWD; {}", line("die changed")),
        1,
        half_way,
    );
}

/// The far copies of a raid10 begin at half a member; where they are all that is here, the label is written there.
#[test]
fn the_backup_has_the_array_s_front_wherever_it_lies() {
    let mut plan = one_array();
    let member = PlanMember {
        name: "sdb-1".to_owned(),
        disk: "sdb".to_owned(),
        extent: Extent::new(Bytes::mib(1), Bytes::mib(64)),
        data_offset_sectors: None,
    };
    plan.arrays[0].data_offset_sectors = Some(2048);
    plan.arrays[0].slots = vec![None, Some(member)];
    let front = Extent::new(Bytes::mib(31), Bytes::kib(64));
    plan.arrays[0].fronts = vec![(0, Extent::new(Bytes::ZERO, Bytes::kib(64))), (1, front)];
    let files = write(&plan).unwrap();
    let text = &files
        .iter()
        .find(|f| f.name == "60-real-disks.sh")
        .unwrap()
        .text;
    let at = 2048 + 2048 + 31 * 2048;
    assert!(text.contains(&format!("is_kept sdb {at} 128\n")), "{text}");
}

/// What starts by its superblocks writes to its bitmap; with that in no backup, the undo refused a disk that had changed
/// outside of what was kept, or left it changed.
#[test]
fn the_backup_has_the_bitmap() {
    let mut plan = one_array();
    let member = PlanMember {
        name: "sdb-1".to_owned(),
        disk: "sdb".to_owned(),
        extent: Extent::new(Bytes::mib(1), Bytes::mib(640)),
        data_offset_sectors: None,
    };
    plan.arrays[0].slots = vec![Some(member)];
    for (metadata, data, serves, count) in [
        ("1.2", 2048, true, 2048),
        ("1.2", 2048, false, 16),
        ("1.2", 264_192, true, 8 + 2176),
        ("1.1", 264_192, true, 2176),
        ("1.0", 0, true, 16),
    ] {
        plan.arrays[0].metadata = Some(metadata.to_owned());
        plan.arrays[0].data_offset_sectors = Some(data);
        plan.arrays[0].superblocks_serve = serves;
        let files = write(&plan).unwrap();
        let real = files.iter().find(|f| f.name == "60-real-disks.sh").unwrap();
        let line = format!("\nis_kept sdb 2048 {count}\n");
        assert!(real.text.contains(&line), "{metadata}: {}", real.text);
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
    let mut plan = one_array();
    plan.arrays[0].slots = vec![Some(PlanMember {
        name: "sdb-1".to_owned(),
        disk: "sdb".to_owned(),
        extent: Extent::new(Bytes::ZERO, Bytes::mib(1)),
        data_offset_sectors: None,
    })];
    let folder = reviewed(&plan);
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
    // What keeps a map from a disk stops it while nothing is written.
    let places = [
        "\nreal sdb-1 ",
        "\nbegin_real",
        "mdadm --build",
        "die 'some checks",
        "\nend_real",
    ]
    .map(|words| real.find(words).unwrap());
    assert!(places.is_sorted(), "{real}");
    assert!(text("20-overlay.sh").contains("\nend_real"));
}

/// An image's name may hold blanks; the next script must still know where it was found.
#[test]
fn disks_with_blanks_in_their_names_are_known_again() {
    let folder = reviewed(&Plan::default());
    let line = "all_devices() { say /dev/zero; say /dev/null; }; is_disk() { [ \"$1 $2\" = '/dev/null 100' ] || [ \"$1 $2\" = '/dev/zero 200' ]; }; \
                look_for_disks; find_disk ' disk 10 ' 100 0 8 aa; find_disk sda 200 0 8 aa; disks_found; device_of ' disk 10 '";
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
        places: 17,
        start_writes: None,
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
        let line = "sed -i 's/^begin .*//; s/^stands .*//' 50-check.sh; record restored; bash ./50-check.sh";
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
        places: 1,
        start_writes: None,
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
    // A snapshot that is full answers for itself.
    let full = "[ \"$1\" != status ] || say '0 8 snapshot Invalid'; ";
    for fails in ["nothing", "e2fsck -fp"] {
        let (code, text) = run(fails, full);
        assert!(code == 0 && text.contains("FAILED"), "{text}");
        assert!(
            text.contains("Set overlay_mib in settings.sh higher"),
            "{text}"
        );
        assert!(text.contains("dmsetup remove"), "{text}");
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
    // What has no holder, and keeps a map from the disk all the same.
    fs::remove_dir_all(at.join("disk/holders")).unwrap();
    ends(at, holders, 0, "");
    let swap = "used_by() { say \"swap on $1, take it away\"; }; ";
    ends(
        at,
        &format!("{swap}{holders}"),
        1,
        "sdb is in use by swap on ",
    );
    fs::create_dir_all(at.join("md")).unwrap();
    fs::write(at.join("md/array_state"), "readonly").unwrap();
    let number = "block_of() { say $PWD; }; in_sys() { say $PWD/none; }; md_free /dev/md127";
    ends(at, number, 1, "set another md number");
    // What has a name of its own is not where the kernel tells of it.
    let named = number.replace("md127", "md/rescue");
    ends(at, &named, 1, "say it like /dev/md126");
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

/// Plain LVM on a system without mdadm: 30 stopped, and 90 did not take the overlays down.
#[test]
fn mdadm_is_needed_for_arrays_only() {
    for (plan, needed) in [(Plan::default(), false), (one_array(), true)] {
        let files = write(&plan).unwrap();
        for name in ["30-assemble.sh", "60-real-disks.sh", "90-undo.sh"] {
            let text = &files.iter().find(|f| f.name == name).unwrap().text;
            let line = text.lines().find(|l| l.starts_with("begin ")).unwrap();
            assert_eq!(line.contains("mdadm"), needed, "{name}: {line}");
            assert!(line.contains("dmsetup"), "{name}: {line}");
        }
    }
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
    fs::create_dir(at.join("sys/md")).unwrap();
    fs::write(at.join("sys/md/sync_action"), "idle").unwrap();
    ends(at, line, 0, "RAN mdadm --readwrite /dev/md127");
    let action = fs::read_to_string(at.join("sys/md/sync_action")).unwrap();
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

/// The halves of a mirror without superblocks are equal to the byte, and letters move: with the wrong one plugged in, the
/// only undo was written to.
#[test]
fn the_other_half_is_not_written_to() {
    let folder = reviewed(&Plan::default());
    let at = folder.path();
    fs::create_dir(at.join("b")).unwrap();
    fs::write(at.join("disk"), [7; 8192]).unwrap();
    fs::write(at.join("b/backup.json"), "{\n      \"size\": 8192,\n}").unwrap();
    let backup = |disks: &[(&str, &str)]| {
        let mut lines = "each_source() {\n".to_owned();
        for (name, serial) in disks {
            lines += &format!("    \"$1\" {name} 8192 {serial}\n");
        }
        lines += "    :\n}\neach_extent() {\n";
        let sum = hex::encode(Sha256::digest([7; 8192]));
        for (name, _) in disks {
            lines += &format!("    \"$1\" {name} 0 8192 {sum} front\n");
        }
        fs::write(at.join("b/restore.sh"), lines).unwrap();
    };
    let line = |tells: &str| {
        format!(
            "device_of() {{ echo disk; }}; backup=b; serials() {{ say {tells}; }}; in_backup sda 16; \
             say \"is ${{backup_of[sda]}}\"; serials_told; say GOES ON"
        )
    };
    backup(&[("'a b'", "W1F0"), ("sdb", "W1F1")]);
    ends(at, &line("W1F0"), 0, "is 'a b'\nGOES ON");
    ends(at, &line("W1F1"), 0, "is sdb\nGOES ON");
    ends(at, &line("W1F2"), 1, "the other half of a mirror");
    // A dock tells nothing, another kernel another kind of number.
    for tells in ["''", "naa.5000"] {
        let line = line(tells);
        let (code, text) = said(at, &format!("exec </dev/null; {line}"));
        assert!(code == 1 && !text.contains("GOES ON"), "{text}");
        assert!(text.contains("sda (disk, had W1F1)"), "{text}");
        ends(at, &format!("exec <<<untold; {line}"), 0, "GOES ON");
    }
    // What told none when the backup was taken is known by what it holds.
    backup(&[("sda", "''")]);
    ends(at, &line("W1F0"), 0, "is sda\nGOES ON");
    let real = fs::read_to_string(at.join("60-real-disks.sh")).unwrap();
    let [told, write] = ["\nserials_told\n", "\nbegin_real"].map(|words| real.find(words));
    assert!(told.unwrap() < write.unwrap(), "{real}");
}
