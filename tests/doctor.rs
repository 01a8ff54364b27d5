//! `disinter doctor` on four trees: this machine, busybox alone, a program without its libraries, another machine's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, run};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of this machine; `None`, with a printed reason, where it is not installed.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = folders
        .iter()
        .map(|f| Path::new(f).join(name))
        .find(|p| p.exists());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed; tests/lab/install does that");
    }
    found
}

struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A file of this machine, at its own place.
    fn copy(&self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        self.put(path.strip_prefix("/").unwrap().to_str().unwrap(), &bytes);
    }

    fn doctor(&self) -> Value {
        doctor(Some(self.0.path()))
    }

    fn page(&self) -> String {
        let out = disinter()
            .arg("doctor")
            .arg("--root")
            .arg(self.0.path())
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    }
}

fn doctor(root: Option<&Path>) -> Value {
    let mut command = disinter();
    command.args(["doctor", "--json"]);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    let out = command.output().unwrap();
    assert!(
        matches!(out.status.code(), Some(0 | 1)),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}

fn program<'a>(found: &'a Value, name: &str) -> &'a Value {
    let programs = found["programs"].as_array().unwrap();
    programs.iter().find(|p| p["name"] == name).unwrap()
}

fn fits_a_console(page: &str) {
    assert!(page.lines().count() <= 24, "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 80), "{page}");
}

/// Shared libraries of a program, as this machine's own loader finds them.
fn ldd(program: &Path) -> Vec<PathBuf> {
    let out = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let words = text.split_whitespace().filter(|w| w.starts_with('/'));
    words
        .map(|w| PathBuf::from(w.trim_end_matches(':')))
        .collect()
}

/// This machine: what its loader finds, doctor finds; a version that is asked for is the program's own.
#[test]
fn this_machine() {
    let found = doctor(None);
    let mut looked = 0;
    for row in found["programs"].as_array().unwrap() {
        let Some(path) = row["path"].as_str() else {
            continue;
        };
        if row["state"] == "dynamic" {
            let out = Command::new("ldd").arg(path).output().unwrap();
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(!text.contains("not found"), "{path}: {text}");
            looked += 1;
        }
    }
    assert!(looked > 3, "{looked}: {found:#}");
    let out = disinter().args(["doctor", "--run"]).output().unwrap();
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(page.lines().all(|l| l.chars().count() <= 80), "{page}");
    assert!(
        page.starts_with("FIT") || page.starts_with("NOT FIT"),
        "{page}"
    );
    if let Some(e2fsck) = installed("e2fsck") {
        let says = Command::new(e2fsck).arg("-V").output().unwrap();
        let says = String::from_utf8(says.stderr).unwrap();
        let inside = program(&found, "e2fsck")["version"].as_str().unwrap();
        assert!(
            says.starts_with(&format!("e2fsck {inside} ")),
            "{inside} in {says}"
        );
    }
}

/// The story's own: every tool is busybox's, and its e2fsck crashed on the way.
#[test]
fn busybox_alone() {
    let Some(busybox) = installed("busybox") else {
        return;
    };
    let root = Root::new();
    root.put("bin/busybox", &fs::read(&busybox).unwrap());
    let list = Command::new(&busybox).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for (applet, i) in list.lines().zip(0..) {
        let path = root.at(&format!("bin/{applet}"));
        // Images link in either way.
        match i % 2 {
            _ if path.exists() => {}
            0 => symlink("/bin/busybox", &path).unwrap(),
            _ => fs::hard_link(root.at("bin/busybox"), &path).unwrap(),
        }
    }
    // Busybox of old had e2fsck; Debian's has not.
    symlink("busybox", root.at("bin/e2fsck")).unwrap();
    let found = root.doctor();
    assert_eq!(program(&found, "mdadm")["state"], "missing");
    assert!(
        program(&found, "e2fsck")["state"]["no-applet"]
            .as_str()
            .unwrap()
            .starts_with("BusyBox v")
    );
    for name in ["dd", "sha256sum", "blockdev", "losetup"] {
        let state = &program(&found, name)["state"]["busybox"];
        assert!(
            state.as_str().unwrap().starts_with("BusyBox v"),
            "{name}: {state}"
        );
    }
    let line = |name: &str| {
        let lines = found["lines"].as_array().unwrap();
        lines.iter().find(|l| l["name"] == name).unwrap().clone()
    };
    assert_eq!(line("dd")["level"], "fine");
    assert_eq!(line("losetup")["level"], "problem");
    assert_eq!(line("losetup")["todo"], "install mount");
    let page = root.page();
    fits_a_console(&page);
    assert!(page.starts_with("NOT FIT"), "{page}");
    run(disinter().arg("doctor").arg("--root").arg(root.0.path()), 1);
}

/// A real e2fsck whose libraries were left behind starts only once all of them are there: each is asked for by name.
#[test]
fn a_program_without_its_libraries() {
    let Some(e2fsck) = installed("e2fsck") else {
        return;
    };
    let e2fsck = e2fsck.canonicalize().unwrap();
    let root = Root::new();
    root.copy(&e2fsck);
    symlink(
        "e2fsck",
        root.at(&format!(
            "{}/fsck.ext4",
            e2fsck
                .parent()
                .unwrap()
                .strip_prefix("/")
                .unwrap()
                .display()
        )),
    )
    .unwrap();
    let state = |root: &Root| program(&root.doctor(), "e2fsck")["state"].clone();
    let files = ldd(&e2fsck);
    let (loader, libraries): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|f| f.file_name().unwrap().to_string_lossy().starts_with("ld-"));
    let interpreter = state(&root)["no-interpreter"].as_str().unwrap().to_owned();
    assert!(
        loader.iter().any(|l| l.to_str() == Some(&interpreter)),
        "{interpreter} {loader:?}"
    );
    root.copy(Path::new(&interpreter));
    // One after the other: what is missing is just what was not copied, but for what only the missing ask for.
    for (library, i) in libraries.iter().zip(0..) {
        let missing: Vec<String> = common::strings(&state(&root)["no-libraries"]);
        let left = libraries.get(i..).unwrap();
        for name in &missing {
            let name = name.split(' ').next().unwrap();
            assert!(
                left.iter()
                    .any(|l| l.file_name().unwrap().to_str() == Some(name)),
                "{name} {left:?}"
            );
        }
        assert!(!missing.is_empty());
        root.copy(library);
    }
    assert_eq!(state(&root), "dynamic");
    fits_a_console(&root.page());
}

/// A tree of another machine: its programs are there, whole, and of no use here. A real foreign program is not at hand,
/// so a real one has its machine's number changed: the loader looks at that alone.
#[test]
fn another_machine() {
    let Some(e2fsck) = installed("e2fsck") else {
        return;
    };
    let mut bytes = fs::read(e2fsck).unwrap();
    let foreign: u16 = if bytes[18] == 183 { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&foreign.to_le_bytes());
    let root = Root::new();
    root.put("usr/sbin/e2fsck", &bytes);
    // 32 bits, big endian: a header of an old router.
    let mut mips = vec![0; 52];
    mips[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
    mips[16..20].copy_from_slice(&[0, 2, 0, 8]);
    mips[20..24].copy_from_slice(&[0, 0, 0, 1]);
    mips[40..42].copy_from_slice(&[0, 52]);
    root.put("usr/sbin/mdadm", &mips);
    let found = root.doctor();
    let state = program(&found, "e2fsck")["state"]["other-machine"]
        .as_str()
        .unwrap();
    assert!(state.contains("little endian"), "{state}");
    let architecture = program(&found, "mdadm");
    assert!(
        architecture
            .to_string()
            .contains("mips (32 bits, big endian)"),
        "{architecture}"
    );
    fits_a_console(&root.page());
}

/// Scripts, links out of the tree and round in circles, cut programs, files that may not be run, names with escapes.
#[test]
fn odd_files() {
    let root = Root::new();
    let real = fs::read("/bin/true").unwrap();
    root.put("usr/sbin/mdadm", &real[..real.len() / 3]);
    root.put("usr/sbin/losetup", b"#!/usr/bin/perl\n");
    root.put("usr/sbin/blockdev", b"#!/bin/\x1b[31msh\n");
    root.put("usr/sbin/wipefs", b"just text");
    root.put("usr/sbin/xfs_repair", b"");
    root.put("usr/sbin/sfdisk", &real);
    fs::set_permissions(
        root.at("usr/sbin/sfdisk"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    symlink("/bin/true", root.at("usr/sbin/e2fsck")).unwrap();
    symlink("dmsetup", root.at("usr/sbin/dmsetup")).unwrap();
    symlink("../../../../../../../../bin/true", root.at("usr/sbin/lvm")).unwrap();
    let found = root.doctor();
    let state = |name: &str| program(&found, name)["state"].to_string();
    assert!(state("mdadm").contains("cut"), "{}", state("mdadm"));
    assert!(state("losetup").contains("/usr/bin/perl"));
    assert!(state("wipefs").contains("neither"));
    assert!(state("xfs_repair").contains("neither"));
    assert_eq!(state("sfdisk"), "\"not-executable\"");
    for name in ["e2fsck", "dmsetup", "lvm"] {
        assert!(
            state(name).contains("dangling"),
            "{name} must not be this machine's: {}",
            state(name)
        );
    }
    let page = root.page();
    assert!(!page.contains('\u{1b}'), "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 80), "{page}");
    let out = run(
        disinter()
            .args(["doctor", "--run", "--root"])
            .arg(root.0.path()),
        2,
    );
    assert!(String::from_utf8_lossy(&out.stderr).contains("only looked at"));
    run(disinter().args(["doctor", "--root", "/nonexistent"]), 2);
}
