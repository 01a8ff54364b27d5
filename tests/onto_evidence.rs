//! No output is written onto what is examined, however the two are connected: the file systems are real, each mounted
//! in a name space of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::blank;
use std::path::Path;
use std::process::Command;

/// Runs a script as root in a name space where it may mount what it likes; what it prints. `None`, with a printed
/// reason, where that cannot be.
fn mounting(folder: &Path, script: &str) -> Option<String> {
    let out = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "bash",
            "-euc",
            script,
        ])
        .current_dir(folder)
        .env("DISINTER", env!("CARGO_BIN_EXE_disinter"))
        .output();
    let out = match out {
        Ok(out) if out.status.success() => out,
        Ok(out) => {
            let why = String::from_utf8_lossy(&out.stderr);
            assert!(out.stdout.is_empty(), "it was mounted, but: {why}");
            eprintln!("SKIPPED: these file systems cannot be mounted here: {why}");
            return None;
        }
        Err(error) => {
            eprintln!("SKIPPED: unshare cannot be run: {error}");
            return None;
        }
    };
    Some(String::from_utf8(out.stdout).unwrap())
}

/// Tells of a backup of image $1 to folder $2 its status and what it said. What is examined must not be changed by it; the
/// mounted file system's own journal may write at any time, but not at each of three tries.
const TRY: &str = r#"
settle() {
    local i after
    before=
    for i in 1 2 3 4 5 6 7 8 9 10; do
        sync
        after=$(sha256sum <"$1")
        [ "$before" != "$after" ] || break
        before=$after
        sleep 0.3
    done
}
try() {
    local said status before after again
    for again in 1 2 3; do
        status=0
        settle "$1"
        said=$("$DISINTER" -q backup "$1" -o "$2-$again" 2>&1) || status=$?
        sync
        after=$(sha256sum <"$1")
        [ "$before" != "$after" ] || break
        said="CHANGED $said"
    done
    echo "$3: $status $said" | tr '\n' ' '
    echo
}
"#;

#[track_caller]
fn assert_lines(said: &str, lines: &[(&str, &str)]) {
    let got: Vec<&str> = said.lines().collect();
    assert_eq!(got.len(), lines.len(), "{said}");
    for (line, (start, word)) in got.iter().zip(lines) {
        assert!(
            line.starts_with(start) && line.contains(word),
            "{line}\n{said}"
        );
        assert!(!line.contains("CHANGED"), "{line}");
    }
}

/// btrfs gives its files numbers that no device has: the folder looked as if it were on no disk at all.
#[test]
fn btrfs_on_an_examined_disk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.img", "b.img", "c.img"] {
        blank(folder.path().join(name), 256 << 20);
    }
    let script = format!(
        r#"{TRY}
        a=$(losetup --find --show a.img) b=$(losetup --find --show b.img)
        trap 'umount -R mnt other sub 2>/dev/null; losetup -d "$a" "$b"' EXIT
        mkfs.btrfs -q -d single -m single "$a" "$b" >&2
        mkfs.btrfs -q c.img >&2
        mkdir mnt other sub
        mount -o noatime "$a" mnt
        mount -o loop c.img other
        mkdir mnt/deep
        mount --bind mnt/deep sub
        try "$a" mnt/bk device
        try "$b" mnt/bk 'other device'
        try a.img mnt/bk file
        try b.img mnt/deep/bk 'other file'
        try a.img sub/bk 'bind mount'
        try "$a" other/bk 'another btrfs'
        try b.img other/bk2 'another btrfs, file'
        "#
    );
    let Some(said) = mounting(folder.path(), &script) else {
        return;
    };
    assert_lines(
        &said,
        &[
            ("device: 2", "is being examined; choose"),
            ("other device: 2", "is being examined; choose"),
            ("file: 2", "is being examined; choose"),
            ("other file: 2", "is being examined; choose"),
            ("bind mount: 2", "is being examined; choose"),
            ("another btrfs: 0", "kept"),
            ("another btrfs, file: 0", "kept"),
        ],
    );
}

/// What is written to an overlay goes to its upper folder: on the examined disk, in memory as on a rescue system, or in
/// a place that cannot be seen from here.
#[test]
fn an_overlay_on_an_examined_disk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.img", "b.img"] {
        blank(folder.path().join(name), 256 << 20);
    }
    let script = format!(
        r#"{TRY}
        a=$(losetup --find --show a.img) b=$(losetup --find --show b.img)
        trap 'umount -R live over twice ram mnt 2>/dev/null; losetup -d "$a" "$b"' EXIT
        mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$a" >&2
        mkfs.ext4 -q "$b" >&2
        mkdir mnt ram low over twice live
        mount -o noatime "$a" mnt
        mount -t tmpfs tmpfs ram
        mkdir -p "mnt/up per" mnt/work ram/{{up,work,up2,work2}}
        mount -t overlay -o "lowerdir=low,upperdir=$PWD/mnt/up per,workdir=$PWD/mnt/work" overlay over
        mount -t overlay -o "lowerdir=$PWD/over,upperdir=$PWD/ram/up,workdir=$PWD/ram/work" overlay live
        mount -t overlay -o "lowerdir=low,upperdir=$PWD/ram/up2,workdir=$PWD/ram/work2" overlay twice
        try "$a" over/bk upper
        try a.img over/bk 'upper, file'
        try "$a" live/bk 'in memory'
        try "$a" mnt/bk itself
        mkdir ram/root mnt/root
        for root in ram mnt; do
            for shown in dev proc sys usr lib lib64; do
                [ -e /$shown ] || continue
                mkdir $root/root/$shown
                mount --rbind /$shown $root/root/$shown
            done
            touch $root/root/program
            mount --bind "$DISINTER" $root/root/program
            status=0
            chroot $root/root /program -q backup "$a" -o /bk >said 2>&1 || status=$?
            echo "chroot on $root: $status $(head -n 1 said)"
            umount -l $root/root/program
            for shown in dev proc sys usr lib lib64; do
                [ ! -e $root/root/$shown ] || umount -R -l $root/root/$shown
            done
        done
        mount -t tmpfs tmpfs mnt
        try "$a" twice/bk 'in memory, one layer'
        try "$a" over/bk 'upper out of sight'
        try a.img over/bk 'upper out of sight, file'
        try "$b" over/bk2 'upper out of sight, disk that nobody uses'
        "#
    );
    let Some(said) = mounting(folder.path(), &script) else {
        return;
    };
    assert_lines(
        &said,
        &[
            ("upper: 2", "is being examined; choose"),
            ("upper, file: 2", "is being examined; choose"),
            ("in memory: 0", "kept"),
            ("itself: 2", "is being examined; choose"),
            ("chroot on ram: 0", "kept"),
            ("chroot on mnt: 2", "is being examined; choose"),
            ("in memory, one layer: 0", "kept"),
            ("upper out of sight: 2", "cannot be told"),
            ("upper out of sight, file: 2", "cannot be told"),
            ("upper out of sight, disk that nobody uses: 0", "kept"),
        ],
    );
}

/// A shell opens what is behind `>` before the program runs, and no Landlock takes that back: an answer to a file on the
/// evidence overwrites what was deleted there, and an export to the wrong disk ends it.
#[test]
fn what_is_printed_onto_an_examined_disk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.img", "b.img"] {
        blank(folder.path().join(name), 64 << 20);
    }
    let script = r#"
        a=$(losetup --find --show a.img) b=$(losetup --find --show b.img)
        trap 'umount mnt 2>/dev/null || :; losetup -d "$a" "$b"' EXIT
        mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$a" >&2
        mkdir mnt
        mount -o noatime "$a" mnt
        : >mnt/log
        run() {
            local what=$1 status=0
            shift
            "$@" || status=$?
            echo "$what: $status $(head -c 200 said) $(cat mnt/log 2>/dev/null)" | tr '\n' ' '
            echo
            : >said
        }
        scan() { "$DISINTER" scan --quick --quiet "$@"; }
        answer() { scan "$1" >mnt/log 2>said; }
        appended() { scan "$1" >>"$1" 2>said; }
        noted() { scan "$1" >said 2>mnt/log; }
        all() { scan "$1" >mnt/log 2>&1; }
        device() { scan a.img 1<>"$a" 2>said; }
        apart() { scan a.img >said 2>&1; }
        other() { scan a.img 1<>"$b" 2>said; }
        layout() { "$DISINTER" fs check a --layout layout.toml >mnt/log 2>said; }
        printf '[[image]]\nname = "a"\npath = "a.img"\nsize = %s\n' $((64 << 20)) >layout.toml
        run answer answer "$a"
        run 'answer, file' answer a.img
        run notes noted "$a"
        run all all a.img
        run device device
        run apart apart
        run other other
        run layout layout
        umount mnt
        before=$(sha256sum <a.img)
        run appended appended a.img
        [ "$before" = "$(sha256sum <a.img)" ] || echo CHANGED
        "#;
    let Some(said) = mounting(folder.path(), script) else {
        return;
    };
    let output = "disinter: standard output goes to ";
    assert_lines(
        &said,
        &[
            ("answer: 2", output),
            ("answer, file: 2", output),
            ("notes: 2", "disinter: standard error goes to "),
            ("all: 2  ", ""),
            ("device: 2", output),
            ("apart: 0", "ext superblock"),
            ("other: 0", ""),
            ("layout: 2", output),
            ("appended: 2", output),
        ],
    );
}

/// A folder that something is mounted on cannot be replaced: said before days of work, not after.
#[test]
fn a_mount_point_as_output() {
    let folder = tempfile::tempdir().unwrap();
    blank(folder.path().join("a.img"), 4 << 20);
    let script = r#"
        mkdir usb bind empty
        mount -t tmpfs tmpfs usb
        mount --bind empty bind
        for case in usb bind . usb/case; do
            status=0
            said=$("$DISINTER" -q investigate a.img --case "$case" 2>&1) || status=$?
            echo "$case: $status $said" | head -n 1
        done
        umount usb bind
        "#;
    let Some(said) = mounting(folder.path(), script) else {
        return;
    };
    assert_lines(
        &said,
        &[
            ("usb: 2", "like usb/case"),
            ("bind: 2", "like bind/case"),
            (".: 2", "no new name"),
            ("usb/case: 1", ""),
        ],
    );
}
