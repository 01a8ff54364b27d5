//! Bad input: one clear line that says what, where and what to do, the right status, and nothing half-written.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, disinter, json, run};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `investigate` on these images must end with this status and one line that holds these words; no case stands.
    #[track_caller]
    fn investigate(&self, images: &[&Path], status: i32, words: &[&str]) {
        let before = self.list();
        let mut command = disinter();
        command
            .arg("investigate")
            .args(images)
            .arg("--case")
            .arg(self.path("case"));
        let out = run(&mut command, status);
        let errors = String::from_utf8(out.stderr).unwrap();
        if status == 2 {
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert_eq!(self.list(), before, "something was left");
            assert!(out.stdout.is_empty());
        }
        for word in words {
            assert!(errors.contains(word), "{word:?} is not in: {errors}");
        }
    }

    /// A line must end with status 2 and these words, at once.
    #[track_caller]
    fn refuses(&self, line: &str, words: &[&str]) {
        let mut command = Command::new("timeout");
        command.current_dir(self.folder.path());
        command.args(["20", env!("CARGO_BIN_EXE_disinter")]);
        let out = run(command.args(line.split(' ')), 2);
        let errors = String::from_utf8(out.stderr).unwrap();
        for word in words {
            assert!(errors.contains(word), "{line}: {errors}");
        }
    }

    fn list(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        names
    }
}

/// A name mistyped at 3 a.m. is the commonest of all.
#[test]
fn a_missing_file() {
    let place = Place::new();
    place.investigate(&[&place.path("none.img")], 2, &["none.img", "No such file"]);
}

/// A folder of images instead of its images.
#[test]
fn a_folder() {
    let place = Place::new();
    fs::create_dir(place.path("disks")).unwrap();
    place.investigate(&[&place.path("disks")], 2, &["disks", "is a folder"]);
}

/// An image of a copy that never began.
#[test]
fn an_empty_image() {
    let place = Place::new();
    let empty = place.file("empty.img", b"");
    place.investigate(&[&empty], 2, &["empty.img", "is empty"]);
}

/// A character device has no end to read to.
#[test]
fn not_a_disk() {
    let place = Place::new();
    place.investigate(
        &[Path::new("/dev/null")],
        2,
        &["/dev/null", "character device"],
    );
}

/// One image under two names is its own perfect mirror.
#[test]
fn the_same_image_twice() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    let link = place.path("b.img");
    fs::hard_link(&image, &link).unwrap();
    place.investigate(&[&image, &link], 2, &["a.img", "b.img", "the same file"]);
}

/// Without the right to read it, nothing can be said of it. Root may read everything, so this needs another user.
#[test]
fn an_unreadable_image() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(
        place.folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let program = place.path("disinter");
    fs::copy(env!("CARGO_BIN_EXE_disinter"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program);
    command.arg("scan").arg(&image);
    match command.output() {
        Ok(out) if out.status.code() == Some(2) => {
            let errors = String::from_utf8(out.stderr).unwrap();
            assert!(
                errors.contains("a.img") && errors.contains("Permission denied"),
                "{errors}"
            );
        }
        Ok(out) if out.status.code() == Some(127) => {
            eprintln!("SKIPPED: setpriv may not change the user here")
        }
        Ok(out) => panic!("{:?}", out),
        Err(_) => eprintln!("SKIPPED: setpriv is not installed"),
    }
}

/// An earlier case is never overwritten, nor is any other folder with something in it.
#[test]
fn the_case_is_taken() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    fs::create_dir(place.path("case")).unwrap();
    fs::write(place.path("case/report.txt"), b"old").unwrap();
    place.investigate(&[&image], 2, &["case", "not an empty folder"]);
    assert_eq!(fs::read(place.path("case/report.txt")).unwrap(), b"old");
}

/// A text file holds nothing: that is an answer (status 1), with a case that says so, not a failure.
#[test]
fn a_text_file() {
    let place = Place::new();
    let text = place.file("notes.txt", "a text of many lines\n".repeat(500).as_bytes());
    place.investigate(&[&text], 1, &[]);
    let report = fs::read_to_string(place.path("case/report.txt")).unwrap();
    assert!(report.contains("no LVM metadata text"), "{report}");
}

/// An image that was cut is worked on as far as it goes, and said to be cut.
#[test]
fn an_image_shorter_than_its_table_says() {
    let place = Place::new();
    let mut bytes = vec![0; 1 << 20];
    // One partition of type 83, from sector 63, of 100000 sectors.
    bytes[446 + 4] = 0x83;
    bytes[446 + 8] = 63;
    bytes[446 + 12..446 + 16].copy_from_slice(&100_000_u32.to_le_bytes());
    bytes[510] = 0x55;
    bytes[511] = 0xaa;
    let image = place.file("cut.img", &bytes);
    place.investigate(
        &[&image],
        1,
        &["cut", "shorter than its partition table says"],
    );
}

/// Disks of different sizes are ordinary; they are compared as far as both go.
#[test]
fn images_of_two_sizes() {
    let place = Place::new();
    let line = |n: usize| format!("line {n} of a text that has no two pages alike\n");
    let text: String = (0..4000).map(line).collect();
    let a = place.file("a.img", text.as_bytes());
    let b = place.file("b.img", &text.as_bytes()[..100_000]);
    place.investigate(&[&a, &b], 1, &[]);
}

/// A partition that is not there, and an extent behind the end.
#[test]
fn parts_that_are_not_there() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    for (part, words) in [
        ("@3", "no partition 3"),
        ("@4096+8192", "ends behind the image"),
    ] {
        let spec = format!("{}{part}", image.display());
        place.investigate(&[Path::new(&spec)], 2, &[words]);
    }
}

/// A SMART file that is none must not pass for a healthy disk, and the images must not be read for an hour first.
#[test]
fn smart_files_that_are_none() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    for (name, bytes, words) in [
        ("empty.json", &b""[..], "is empty"),
        ("text.json", b"smartctl 7.4 ...", "text output"),
        ("cut.json", b"{\"device\": {\"name\"", "not whole JSON"),
        ("scan.json", b"{\"devices\": []}", "smartctl --scan"),
        ("other.json", b"{\"a\": 1}", "no report"),
    ] {
        let smart = place.file(name, bytes);
        let mut command = disinter();
        command
            .arg("investigate")
            .arg(&image)
            .arg("--case")
            .arg(place.path("case"));
        let out = run(command.arg("--smart").arg(&smart), 2);
        let errors = String::from_utf8(out.stderr).unwrap();
        assert!(errors.contains(words) && errors.contains(name), "{errors}");
        assert!(!place.path("case").exists());
    }
}

/// A layout that was edited wrong, or whose images are others by now.
#[test]
fn layouts_that_do_not_fit() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    let entry = |size: usize| {
        format!(
            "[[image]]\nname = \"a\"\npath = \"{}\"\nsize = {size}\n",
            image.display()
        )
    };
    for (text, words) in [
        ("[[image".to_owned(), "layout.toml"),
        (entry(4096), "not the image that was examined"),
        (entry(8192), "no volume is called guests/home; there are a"),
        (
            format!(
                "{}[[array]]\nname = \"r\"\nlevel = \"raid3\"\ndata_offset_sectors = 0\nmember_bytes = 4096\n\
                 members = [\"a\"]\n",
                entry(8192)
            ),
            "level raid3 is not supported",
        ),
    ] {
        let layout = place.file("layout.toml", text.as_bytes());
        let target = place.path("out.img");
        let mut command = disinter();
        command
            .args(["export", "--layout"])
            .arg(&layout)
            .arg("guests/home")
            .arg("-o")
            .arg(&target);
        let out = run(&mut command, 2);
        let errors = String::from_utf8(out.stderr).unwrap();
        assert!(errors.contains(words), "{errors}");
        assert!(!target.exists());
    }
}

/// `| head` ends the reader, not the program in tears.
#[test]
fn a_reader_that_goes_away() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    let program = env!("CARGO_BIN_EXE_disinter");
    let line = format!(
        "{program} scan {} --json | true; exit ${{PIPESTATUS[0]}}",
        image.display()
    );
    let out = Command::new("bash").arg("-c").arg(line).output().unwrap();
    assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
    assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"));
}

/// An export that was cut must not look like one that is whole: not for `| ssh`, not on a full disk.
#[test]
fn an_export_to_nowhere() {
    let place = Place::new();
    place.file("a.img", &[7; 1 << 20]);
    let text = "[[image]]\nname = \"a\"\npath = \"a.img\"\nsize = 1048576\n";
    let layout = place.file("layout.toml", text.as_bytes());
    let program = env!("CARGO_BIN_EXE_disinter");
    let export = format!("{program} -q export a --layout {} -o -", layout.display());
    for (line, said) in [
        (
            format!("{export} | true; exit ${{PIPESTATUS[0]}}"),
            "was closed before",
        ),
        (format!("{export} >/dev/full"), "No space"),
    ] {
        let out = Command::new("bash").arg("-c").arg(line).output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{errors}");
        assert!(errors.contains(said), "{errors}");
    }
    // The last bytes wait in a buffer, and what is in it at exit is lost without a word.
    place.file("a.img", &[7; 512]);
    place.file("layout.toml", text.replace("1048576", "512").as_bytes());
    let line = format!("{export} >/dev/full");
    let out = Command::new("bash").arg("-c").arg(line).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
}

/// Names that are no images: a pipe would be waited for, a socket cannot be read, a loop of links leads nowhere, an
/// endless device has no end.
#[test]
fn what_is_no_image() {
    let place = Place::new();
    run(Command::new("mkfifo").arg(place.path("pipe")), 0);
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    std::os::unix::fs::symlink(place.path("b"), place.path("a")).unwrap();
    std::os::unix::fs::symlink(place.path("a"), place.path("b")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.path("zero")).unwrap();
    for (name, words) in [
        ("pipe", "is a pipe"),
        ("socket", "is a socket"),
        ("a", "symbolic links"),
        ("zero", "is a character device"),
    ] {
        let path = place.path(name);
        place.investigate(&[&path], 2, &[name, words]);
        for command in [&["scan"][..], &["md", "guess"], &["lvm", "scan"]] {
            let out = run(disinter().args(command).arg(&path), 2);
            assert!(String::from_utf8_lossy(&out.stderr).contains(words));
        }
    }
}

/// A folder named in another encoding: the case has its manifest; what a layout file cannot hold is said before a disk is
/// read for it.
#[test]
fn a_folder_that_is_not_utf_8() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    let odd = place.folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&odd).unwrap();
    fs::copy(&image, odd.join("b.img")).unwrap();
    let investigate = |image: &Path, case: &Path| {
        let mut command = disinter();
        command.current_dir(&odd).arg("investigate").arg(image);
        command.arg("--case").arg(case);
        command
    };
    let out = run(&mut investigate(Path::new("b.img"), Path::new("case")), 2);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains(r"caf\xe9/b.img: this path is not UTF-8"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 1, "something was left");
    let case = odd.join("case");
    let summary = json(&mut investigate(&image, &case), 1);
    let told = summary["case"].as_str().unwrap();
    assert!(told.ends_with(r"caf\xe9/case"), "{told}");
    run(disinter().args(["case", "verify"]).arg(&case), 0);
}

/// What stands beside images is read whole: from a pipe that would be waiting for ever, from a device until the memory is
/// full.
#[test]
fn what_is_no_small_file() {
    let place = Place::new();
    let image = place.file("a.img", &[7; 8192]);
    let text = "[[image]]\nname = \"a\"\npath = \"a.img\"\nsize = 8192\n";
    let layout = place.file("layout.toml", text.as_bytes());
    run(Command::new("mkfifo").arg(place.path("pipe")), 0);
    std::os::unix::fs::symlink("/dev/zero", place.path("device")).unwrap();
    let backup = place.path("backup");
    run(
        disinter().arg("backup").arg(&image).arg("-o").arg(&backup),
        0,
    );
    for kind in ["pipe", "device"] {
        fs::create_dir(place.path("case.resume")).unwrap();
        for name in ["case.resume/state.json", "backup/backup.json"] {
            let _ = fs::remove_file(place.path(name));
            fs::rename(place.path(kind), place.path(name)).unwrap();
            let line = match name {
                "case.resume/state.json" => "investigate a.img --case case",
                _ => "backup verify backup a.img",
            };
            place.refuses(line, &[]);
            fs::rename(place.path(name), place.path(kind)).unwrap();
        }
        fs::remove_dir(place.path("case.resume")).unwrap();
        let is = format!("is a {kind}, not a file");
        let smart = common::drill("holmes-2013")
            .join("smart")
            .display()
            .to_string();
        for line in [
            "scan a.img --map KIND",
            "smart rank KIND",
            "investigate a.img --case case --smart KIND",
            "smart rank SMART --layout KIND",
            "smart rank SMART --pairs KIND",
            "fs ls --layout KIND a:/",
            "export --layout KIND a -o out.img",
            "script --layout layout.toml --vg KIND -o out",
        ] {
            let line = line.replace("KIND", kind).replace("SMART", &smart);
            place.refuses(&line, &[&is]);
        }
    }
    assert!(layout.exists() && !place.path("case").exists());
}

/// A sparse file of exabytes has nothing in it, and is answered as fast as nothing is: no pass over its holes, no hash
/// that takes centuries.
#[test]
fn the_largest_sparse_file() {
    let place = Place::new();
    let file = fs::File::create(place.path("huge.img")).unwrap();
    // The largest that this file system takes: 8 EiB less a page on tmpfs, 16 TiB on ext4.
    let sizes = [(8 << 60) - 4096, (1 << 60), (16 << 40) - 4096, (8 << 40)];
    let Some(size) = sizes.into_iter().find(|size| file.set_len(*size).is_ok()) else {
        eprintln!("SKIPPED: this file system takes no large sparse file");
        return;
    };
    // A little data far inside.
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 8192], size / 2 / 4096 * 4096).unwrap();
    let image = place.path("huge.img");
    let since = std::time::Instant::now();
    place.investigate(&[&image], 1, &[]);
    let manifest = fs::read_to_string(place.path("case/manifest.json")).unwrap();
    assert!(manifest.contains("\"sha256\": null"), "{manifest}");
    let backup = place.path("backup");
    run(
        disinter().arg("backup").arg(&image).arg("-o").arg(&backup),
        0,
    );
    for command in [
        &["scan"][..],
        &["md", "guess"],
        &["md", "pairs"],
        &["md", "examine"],
        &["lvm", "scan"],
    ] {
        run(disinter().args(command).arg(&image), 1);
    }
    let text = format!("[[image]]\nname = \"a\"\npath = \"huge.img\"\nsize = {size}\n");
    place.file("layout.toml", text.as_bytes());
    let mut export = Command::new("timeout");
    export.current_dir(place.folder.path());
    export.args(["20", env!("CARGO_BIN_EXE_disinter")]);
    export.args("export --layout layout.toml a -o out.img".split(' '));
    let out = run(&mut export, 0);
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("no checksum")
    );
    assert_eq!(fs::metadata(place.path("out.img")).unwrap().len(), size);
    place.refuses("export --layout layout.toml a -o -", &["name a file"]);
    assert!(
        since.elapsed().as_secs() < 60,
        "{size} bytes took {:?}",
        since.elapsed()
    );
}

/// What a person in a hurry gets wrong; each has an answer that leads on.
#[test]
fn what_is_said_a_little_wrong() {
    let unpacked = Unpacked::new("holmes-2013");
    let (case, images) = (unpacked.case(), unpacked.images());
    let layout = case.join("layout.toml");
    let says = |words: &[&str], paths: &[&Path], status: i32, said: &str| {
        let out = run(disinter().args(words).args(paths), status);
        let all = [out.stdout, out.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        assert!(all.contains(said), "{words:?}: {all}");
    };
    // A guest's disk has a table, and the file system lies in a partition of it.
    let ada = "name a partition of it: guests/ada@1";
    says(
        &["fs", "ls", "guests/ada:/", "--layout"],
        &[&layout],
        2,
        ada,
    );
    says(
        &["fs", "check", "guests/ada", "--layout"],
        &[&layout],
        1,
        ada,
    );
    says(
        &["fs", "ls", "guests/ada@1:/etc", "--layout"],
        &[&layout],
        0,
        "motd",
    );
    // A volume without its group; a case instead of its layout; a layout edited by hand.
    let meant = "did you mean guests/home? there are guests/home";
    says(&["fs", "ls", "home:/", "--layout"], &[&layout], 2, meant);
    says(
        &["fs", "ls", "guests/home:/", "--layout"],
        &[&case],
        0,
        "srv",
    );
    let place = Place::new();
    let typed = place.file("typed.toml", b"[[image]]\nname = \"a\"\npaht = \"a.img\"\n");
    says(
        &["fs", "ls", "a:/", "--layout"],
        &[&typed],
        2,
        "line 3: unknown field `paht`",
    );
    let text = std::fs::read_to_string(&layout).unwrap();
    let group = text.find("[[vg]]").unwrap();
    let moved = place.file("moved.toml", &text.as_bytes()[group..]);
    let folder = "paths of a layout file begin at its own folder";
    says(
        &["fs", "ls", "guests/home:/", "--layout"],
        &[&moved],
        2,
        folder,
    );
    // A rank forgotten; a text that is written without a word.
    says(&["lvm", "show"], &[&images[0]], 2, "which text? Its rank");
    let out = place.path("a.vg");
    says(
        &["lvm", "extract", "-o"],
        &[&out, &images[0]],
        0,
        "a.vg: text 1: guests seqno 18",
    );
    let again = place.path("b.vg");
    let mut extract = disinter();
    extract
        .args(["lvm", "extract", "-o"])
        .args([&again, &images[0]]);
    let written = json(&mut extract, 0);
    assert_eq!(
        (&written["vg"], written["seqno"].as_u64()),
        (&"guests".into(), Some(18))
    );
    // Half of what is needed: a partition of each disk, and not the one with the volumes.
    let case = place.path("case");
    let part = format!("{}@1", images[0].display());
    says(
        &["investigate", "--case"],
        &[&case, Path::new(&part)],
        1,
        "is on none of these",
    );
    // A disk and a part of it: a mirror of itself.
    says(
        &["md", "pairs"],
        &[&images[0], Path::new(&part)],
        2,
        "is a part of",
    );
}
