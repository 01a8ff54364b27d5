//! Runs that do not come to their end: stopped, killed, out of space, their folder taken away. Nothing may look whole
//! that is not, and no input may change.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{Unpacked, disinter, json, run, sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command, and where its output stands when it is whole.
fn commands(unpacked: &Unpacked, place: &Path) -> Vec<(Vec<PathBuf>, PathBuf)> {
    let arguments = |words: &[&str], more: &[PathBuf]| -> Vec<PathBuf> {
        words
            .iter()
            .map(PathBuf::from)
            .chain(more.iter().cloned())
            .collect()
    };
    let layout = unpacked.case().join("layout.toml").display().to_string();
    let disks: Vec<PathBuf> = unpacked.images().into_iter().take(3).collect();
    let (image, case, backup) = (
        place.join("out.img"),
        place.join("case"),
        place.join("backup"),
    );
    vec![
        (
            arguments(
                &["export", "--layout", &layout, "guests/home", "-o"],
                std::slice::from_ref(&image),
            ),
            image,
        ),
        (
            arguments(&["investigate", "--case", case.to_str().unwrap()], &disks),
            case,
        ),
        (
            arguments(
                &["backup", "--rest", "-o", backup.to_str().unwrap()],
                &disks,
            ),
            backup,
        ),
    ]
}

/// Whether what stands at a place is whole, by the program's own check or by the answer.
fn is_whole(target: &Path, unpacked: &Unpacked) -> bool {
    if target.is_dir() {
        let out = disinter()
            .args(["case", "verify"])
            .arg(target)
            .output()
            .unwrap();
        return out.status.success();
    }
    let truth = common::answer("holmes-2013");
    let _ = unpacked;
    let lv = truth["lvs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|lv| lv["name"] == "home")
        .unwrap()
        .clone();
    sha256(&fs::read(target).unwrap()) == lv["sha256"].as_str().unwrap()
}

/// What a stopped run leaves is nothing, or a thing whose name says what it is.
fn only_unfinished(place: &Path, target: &Path) {
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "case.resume" {
            // How far it had come, for --resume.
            fs::remove_dir_all(&path).unwrap();
            continue;
        }
        assert!(
            path == target || name.starts_with(".disinter-"),
            "{name} was left"
        );
        if path.is_dir() && path != target {
            // What was cut short is told from a whole one.
            let out = run(disinter().args(["case", "verify"]).arg(&path), 2);
            assert!(String::from_utf8_lossy(&out.stderr).contains("cut short"));
            fs::remove_dir_all(&path).unwrap();
        } else if path != target {
            fs::remove_file(&path).unwrap();
        }
    }
}

/// Ctrl-C, a shutdown, a power cut: at whatever moment it comes.
#[test]
fn a_stopped_run_leaves_nothing_that_looks_whole() {
    let unpacked = Unpacked::new("holmes-2013");
    let before: Vec<String> = unpacked
        .images()
        .iter()
        .take(3)
        .map(|i| sha256(&fs::read(i).unwrap()))
        .collect();
    let place = tempfile::tempdir().unwrap();
    let (mut stopped, mut whole) = (0, 0);
    for (arguments, target) in commands(&unpacked, place.path()) {
        let started = Instant::now();
        let out = disinter().args(&arguments).output().unwrap();
        assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
        let length = started.elapsed();
        assert!(is_whole(&target, &unpacked));
        if target.is_dir() {
            fs::remove_dir_all(&target).unwrap()
        } else {
            fs::remove_file(&target).unwrap()
        }
        for (step, signal) in ["INT", "TERM", "KILL", "KILL", "TERM", "KILL"]
            .iter()
            .enumerate()
        {
            let mut child = disinter()
                .args(&arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let share = (step as u32 * 2 + 1) * 9;
            std::thread::sleep(length * share / 100 + Duration::from_millis(3));
            let pid = child.id().to_string();
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .stderr(Stdio::null())
                .status();
            let status = child.wait().unwrap();
            if target.exists() {
                assert!(
                    is_whole(&target, &unpacked),
                    "{arguments:?} stopped by {signal} looks whole and is not"
                );
                whole += 1;
            } else {
                assert!(!status.success());
                stopped += 1;
            }
            only_unfinished(place.path(), &target);
            if target.is_dir() {
                fs::remove_dir_all(&target).unwrap()
            } else if target.exists() {
                fs::remove_file(&target).unwrap()
            }
        }
    }
    assert!(
        stopped >= 6,
        "only {stopped} runs were stopped in time, {whole} were not"
    );
    let after: Vec<String> = unpacked
        .images()
        .iter()
        .take(3)
        .map(|i| sha256(&fs::read(i).unwrap()))
        .collect();
    assert_eq!(after, before);
}

/// A drill's image that was cut short and stands under its name is taken for the drill's.
#[test]
fn a_stopped_drill_leaves_no_short_image() {
    let truth = common::answer("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    let mut unfinished = 0;
    for step in 0..12 {
        let work = place.path().join(format!("work{step}"));
        let mut child = disinter()
            .args(["drill", "run", "holmes-2013", "--corpus"])
            .arg(common::root().join("corpus"))
            .arg("--keep")
            .arg(&work)
            // What is killed leaves its own folder behind, too.
            .env("TMPDIR", place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + 40 * step));
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in fs::read_dir(&work).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let disks = truth["disks"].as_array().unwrap();
            match disks.iter().find(|disk| disk["name"] == name.as_str()) {
                Some(disk) => assert_eq!(sha256(&fs::read(&path).unwrap()), disk["sha256"]),
                None => unfinished += usize::from(name.starts_with(".disinter-")),
            }
        }
        fs::remove_dir_all(&work).unwrap_or_default();
    }
    assert!(unfinished > 0, "none was stopped in the middle of an image");
}

/// A disk that fills up: the reason is said, nothing stands there. Once by the kernel's limit for a file, once by a
/// small file system.
#[test]
fn a_full_disk() {
    let unpacked = Unpacked::new("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    for (arguments, target) in commands(&unpacked, place.path()) {
        let program = env!("CARGO_BIN_EXE_disinter");
        let mut limited = Command::new("bash");
        limited
            .args(["-c", "ulimit -f 8; exec \"$0\" \"$@\"", program])
            .args(&arguments);
        let out = limited.output().unwrap();
        assert!(!out.status.success(), "{arguments:?}");
        assert!(!target.exists());
        only_unfinished(place.path(), &target);
    }
    let small = place.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96k", "tmpfs"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED in part: a small file system cannot be mounted here");
        return;
    }
    let mut failed = Vec::new();
    for (arguments, target) in commands(&unpacked, &small) {
        let out = disinter().args(&arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.code() != Some(2) || !errors.contains("No space left") || target.exists() {
            failed.push((arguments, errors));
        }
        only_unfinished(&small, &target);
    }
    let copied = copy_to_full(&unpacked, &small);
    let _ = Command::new("umount").arg(&small).status();
    assert!(failed.is_empty(), "{failed:?}");
    let (status, errors, left) = copied;
    assert_eq!(status, Some(2), "{errors}");
    for words in ["No space left", "the copy ended there", "copied until then"] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    // Once, not of each file that came after; and what came before is still there, under no name that looks whole.
    assert_eq!(errors.matches("No space left").count(), 1, "{errors}");
    let [kept] = left.as_slice() else {
        panic!("{left:?}");
    };
    assert!(
        errors.contains(kept) && kept.contains("/.disinter-"),
        "{kept}"
    );
}

/// Copies files to a place that is too small: status, what was said, and what lies there then.
fn copy_to_full(unpacked: &Unpacked, place: &Path) -> (Option<i32>, String, Vec<String>) {
    let mut copy = disinter();
    copy.args(["fs", "cp", "guests/home:/", "--layout"]);
    copy.arg(unpacked.case().join("layout.toml"));
    let out = copy.arg(place.join("copied")).output().unwrap();
    let left = fs::read_dir(place).unwrap();
    let left = left.map(|entry| entry.unwrap().path().display().to_string());
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
        left.collect(),
    )
}

/// A folder that is taken away meanwhile, one that nothing can be written to, one that is not there.
#[test]
fn a_folder_that_is_not_there() {
    let unpacked = Unpacked::new("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    let parent = place.path().join("usb");
    fs::create_dir(&parent).unwrap();
    for (arguments, target) in commands(&unpacked, &parent) {
        let child = disinter()
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As soon as the work has begun there.
        let since = Instant::now();
        while fs::read_dir(&parent).unwrap().count() == 0
            && since.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = fs::rename(&parent, place.path().join("gone"));
        let out = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!errors.contains("panicked"), "{errors}");
        if out.status.code() != Some(2) {
            // It was done before: then it is whole, where it went.
            let moved = place.path().join("gone").join(target.file_name().unwrap());
            assert!(moved.exists(), "{arguments:?} {:?} {errors}", out.status);
            assert!(is_whole(&moved, &unpacked), "{arguments:?} {errors}");
        }
        let _ = fs::remove_dir_all(place.path().join("gone"));
        fs::create_dir_all(&parent).unwrap();
    }
    for base in ["/proc", "/sys", "/nowhere"] {
        for (arguments, target) in commands(&unpacked, Path::new(base)) {
            let out = run(disinter().args(&arguments), 2);
            let errors = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(
                errors.lines().filter(|l| !l.contains("note:")).count(),
                1,
                "{errors}"
            );
            assert!(errors.contains(base) && !target.exists(), "{errors}");
        }
    }
}

/// A file that was there is never written over, nor is one that comes up while the work goes on.
#[test]
fn what_is_there_stays() {
    let unpacked = Unpacked::new("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    for (arguments, target) in commands(&unpacked, place.path()) {
        fs::write(&target, b"mine").unwrap();
        run(disinter().args(&arguments), 2);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        fs::remove_file(&target).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &target).unwrap();
        run(disinter().args(&arguments), 2);
        assert!(target.symlink_metadata().unwrap().is_symlink());
        fs::remove_file(&target).unwrap();
    }
}

/// Times before 1970, as a dead clock battery leaves them: said as they are, and no reason to stop.
#[test]
fn times_before_1970() {
    let unpacked = Unpacked::new("holmes-2013");
    let image = unpacked.images().remove(0);
    run(
        Command::new("touch")
            .args(["-d", "1960-01-01 00:00:00 UTC"])
            .arg(&image),
        0,
    );
    let found = json(disinter().arg("scan").arg(&image), 0);
    assert!(!found["findings"].as_array().unwrap().is_empty());
    let case = unpacked.path().join("old");
    let faked = Command::new("faketime")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    let mut command = match faked {
        true => Command::new("faketime"),
        false => disinter(),
    };
    if faked {
        command
            .args(["-f", "1965-06-01 00:00:00"])
            .arg(env!("CARGO_BIN_EXE_disinter"));
    } else {
        eprintln!("SKIPPED in part: faketime is not installed; the clock stays as it is");
    }
    let out = command
        .arg("investigate")
        .arg(&image)
        .arg("--case")
        .arg(&case)
        .output()
        .unwrap();
    assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
    let manifest = fs::read_to_string(case.join("manifest.json")).unwrap();
    assert!(
        !faked || manifest.contains("\"started\": \"1965-"),
        "{manifest}"
    );
}
