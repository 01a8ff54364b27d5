//! What the tests that run the program share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

/// The program, built with the tests.
pub(crate) fn disinter() -> Command {
    Command::new(env!("CARGO_BIN_EXE_disinter"))
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Real data that is not part of the repository; `None`, with a printed reason, where it is absent.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("DISINTER_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let file = folder.join("data").join(path);
    if !file.exists() {
        eprintln!("SKIPPED: {} is not there", file.display());
        return None;
    }
    Some(file)
}

/// Unpacks `FILE.xz` of the shared data into a folder; `None` as [`shared`].
pub(crate) fn unpack_xz(path: &str, to: &Path) -> Option<PathBuf> {
    let packed = shared(path)?;
    let target = to.join(packed.file_stem().unwrap());
    let out = match Command::new("xz").arg("-dc").arg(&packed).output() {
        Ok(out) if out.status.success() => out.stdout,
        _ => {
            eprintln!("SKIPPED: xz is not installed");
            return None;
        }
    };
    std::fs::write(&target, out).unwrap();
    Some(target)
}

/// Runs a command, and shows all of it where the status is not the expected one.
#[track_caller]
pub(crate) fn run(command: &mut Command, status: i32) -> Output {
    let out = command.output().unwrap();
    assert_eq!(
        out.status.code(),
        Some(status),
        "{command:?}\nstdout:\n{}\nstderr:\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    out
}

/// Runs a command and parses what it prints.
#[track_caller]
pub(crate) fn json(command: &mut Command, status: i32) -> Value {
    let out = run(command.arg("--json"), status);
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Makes an image of so many zeros, all of them a hole.
#[track_caller]
pub(crate) fn blank(path: impl AsRef<Path>, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

/// Makes such images in a folder, `NAME.img` for each name.
#[track_caller]
pub(crate) fn blanks(
    folder: &Path,
    names: impl IntoIterator<Item: std::fmt::Display>,
    bytes: u64,
) -> Vec<PathBuf> {
    let image = |name| folder.join(format!("{name}.img"));
    let images: Vec<PathBuf> = names.into_iter().map(image).collect();
    for image in &images {
        blank(image, bytes);
    }
    images
}

/// Bytes that look like noise, the same ones for a seed; in whole words.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ z >> 27
    };
    (0..length / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// The folder that the lab's machine shares, with the program in it.
#[track_caller]
pub(crate) fn share_with_program(folder: &Path) -> PathBuf {
    let share = folder.join("share");
    fs::create_dir(&share).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_disinter"), share.join("disinter")).unwrap();
    share
}

/// A drill's folder.
pub(crate) fn drill(name: &str) -> PathBuf {
    root().join("corpus").join(name)
}

/// A drill's answer.
pub(crate) fn answer(name: &str) -> Value {
    let text = std::fs::read(drill(name).join("answer.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A drill's images unpacked, and its case, made by the program itself.
pub(crate) struct Unpacked {
    /// Holds the folder until the test is over.
    folder: tempfile::TempDir,
}

impl Unpacked {
    /// Runs a drill and keeps its images and case.
    pub(crate) fn new(name: &str) -> Unpacked {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        let corpus = root().join("corpus");
        run(
            disinter()
                .args(["drill", "run", name, "--corpus"])
                .arg(corpus)
                .arg("--keep")
                .arg(&work),
            0,
        );
        Unpacked { folder }
    }

    /// Where images and case lie.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The case.
    pub(crate) fn case(&self) -> PathBuf {
        self.path().join("case")
    }

    /// The disks' images, by name.
    pub(crate) fn images(&self) -> Vec<PathBuf> {
        let mut images: Vec<PathBuf> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "img"))
            .collect();
        images.sort();
        images
    }
}

/// `disinter investigate` of these images.
pub(crate) fn investigate<P: AsRef<std::ffi::OsStr>>(
    images: impl IntoIterator<Item = P>,
    case: &Path,
) -> Command {
    let mut command = disinter();
    command
        .arg("investigate")
        .args(images)
        .arg("--case")
        .arg(case);
    command
}

/// SHA-256 of bytes, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

/// The strings of a JSON list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

/// A boot takes a core and more than a gigabyte: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The lab for one test at a time; `None`, with a printed reason, where it cannot run.
pub(crate) fn lab() -> Option<MutexGuard<'static, ()>> {
    let there = Command::new("sh")
        .args(["-c", "command -v linux.uml"])
        .output()
        .unwrap();
    let required = std::env::var("DISINTER_LAB").is_ok_and(|v| v == "required");
    if there.status.success() || required {
        return Some(ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
    eprintln!("SKIPPED: the lab's packages are not installed; tests/lab/install does that");
    None
}

/// Boots the lab's kernel on copies of images and runs one of its scripts.
#[track_caller]
pub(crate) fn boot(share: &Path, script: &str, options: &[&str], images: &[PathBuf]) {
    let lab = root().join("tests/lab");
    let out = Command::new(lab.join("boot"))
        .args(["--timeout", "480"])
        .args(options)
        .arg("--share")
        .arg(share)
        .arg("--script")
        .arg(lab.join(script))
        .args(images)
        .output()
        .unwrap();
    let log = fs::read_to_string(share.join("guest.log")).unwrap_or_default();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{errors}\n{log}", out.status);
}

/// An ext4 of so many MiB with the files of a folder, made at this time, in seconds since 1970, where one is given; `None`,
/// with a printed reason, where no mkfs is.
pub(crate) fn ext4_of(
    tree: &Path,
    path: &Path,
    mib: u64,
    options: &[&str],
    time: Option<&str>,
) -> Option<Vec<u8>> {
    blank(path, mib << 20);
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "4096"])
        .args(options)
        .envs(time.map(|time| ("E2FSPROGS_FAKE_TIME", time)))
        .arg("-d")
        .args([tree, path])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: mke2fs is not installed");
        return None;
    }
    Some(fs::read(path).unwrap())
}

/// The bytes of `what` of a layout and what was said of them, through files beside the layout that are gone after it; no
/// bytes where the program refuses.
#[track_caller]
pub(crate) fn export(
    layout: &Path,
    what: &str,
    options: &[&str],
    status: i32,
) -> (Vec<u8>, String) {
    let file = layout.with_file_name("out.img");
    let mut command = disinter();
    command.args(["export", what, "--layout"]).arg(layout);
    let out = run(command.args(options).arg("-o").arg(&file), status);
    let bytes = match status {
        2 => Vec::new(),
        _ => fs::read(&file).unwrap(),
    };
    // Where there are gaps, a map lies beside it.
    for file in [&file, &layout.with_file_name("out.img.map")] {
        let _ = fs::remove_file(file);
    }
    (bytes, String::from_utf8_lossy(&out.stderr).into_owned())
}
