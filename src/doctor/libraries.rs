//! Where the loader would find shared libraries, inside a tree: RPATH, RUNPATH, `/etc/ld.so.conf`, the default folders.
//!
//! `ld.so.cache` is a copy of what the configured folders hold and is not
//! read; LD_LIBRARY_PATH is passed over, as the scripts do not set it.
//! Source: the ld.so(8) manual page; musl's from its documentation.

use super::elf::{Elf, Kind, kind};
use super::tree::Tree;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files of one program that are looked at.
const MOST: usize = 512;

/// Folders that a configuration can name, and files and includes of it that are followed, each once: files that include
/// each other would be read without end.
const MOST_FOLDERS: usize = 256;
const MOST_INCLUDED: usize = 256;

/// Bytes of a library: more than any of those that are wanted here.
const LARGEST: u64 = 64 << 20;

/// Folders that the loader looks into by configuration and by default.
fn folders(tree: &Tree, elf: &Elf) -> Vec<String> {
    let musl = elf
        .interpreter
        .as_ref()
        .is_some_and(|i| i.contains("ld-musl"));
    let mut folders = Vec::new();
    if musl {
        let name = elf.interpreter.as_deref().unwrap_or_default();
        let arch = name.rsplit("ld-musl-").next().unwrap_or_default();
        let arch = arch.trim_end_matches(".so.1");
        match tree.text(&format!("/etc/ld-musl-{arch}.path")) {
            Some(text) => {
                let named = text.split([':', '\n']).take(MOST_FOLDERS);
                folders.extend(named.map(str::to_owned));
            }
            None => folders.extend(["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned)),
        }
    } else {
        configured(tree, "/etc/ld.so.conf", &mut BTreeSet::new(), &mut folders);
        folders.truncate(MOST_FOLDERS);
        let triplets: &[&str] = match (elf.machine, elf.is_64) {
            (3, _) => &["i386-linux-gnu"],
            (62, true) => &["x86_64-linux-gnu"],
            (62, false) => &["x86_64-linux-gnux32"],
            (40, _) => &["arm-linux-gnueabihf", "arm-linux-gnueabi"],
            (183, _) => &["aarch64-linux-gnu"],
            (21, _) => &["powerpc64le-linux-gnu"],
            (22, true) => &["s390x-linux-gnu"],
            (243, true) => &["riscv64-linux-gnu"],
            _ => &[],
        };
        for triplet in triplets {
            folders.extend([format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
        }
        let plain = if elf.is_64 {
            ["/lib64", "/usr/lib64"]
        } else {
            ["/lib32", "/usr/lib32"]
        };
        folders.extend(plain.map(str::to_owned));
        folders.extend(["/lib", "/usr/lib"].map(str::to_owned));
    }
    folders.retain(|f| f.starts_with('/'));
    folders
}

/// Folders of an `ld.so.conf` and what it includes; `seen` are the files and patterns that were followed.
fn configured(tree: &Tree, path: &str, seen: &mut BTreeSet<String>, folders: &mut Vec<String>) {
    if seen.len() >= MOST_INCLUDED || !seen.insert(path.to_owned()) {
        return;
    }
    let Some(text) = tree.text(path) else {
        return;
    };
    for line in text.lines().take(10_000) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if folders.len() >= MOST_FOLDERS {
            return;
        }
        match line.strip_prefix("include ").map(str::trim) {
            Some(pattern) => {
                let pattern = match pattern.starts_with('/') {
                    true => pattern.to_owned(),
                    false => format!("/etc/{pattern}"),
                };
                if seen.len() >= MOST_INCLUDED || !seen.insert(format!("include {pattern}")) {
                    continue;
                }
                let (folder, name) = pattern.rsplit_once('/').unwrap_or_default();
                let (front, back) = name.split_once('*').unwrap_or((name, ""));
                for file in tree.names(folder) {
                    if file.starts_with(front) && file.ends_with(back) {
                        configured(tree, &format!("{folder}/{file}"), seen, folders);
                    }
                }
            }
            None => folders.extend(
                line.split([' ', ':', ','])
                    .filter(|f| !f.is_empty())
                    .map(str::to_owned),
            ),
        }
    }
}

/// `$ORIGIN` and `$LIB` in a path of a file.
fn expand(path: &str, file: &Path, is_64: bool) -> String {
    let origin = file
        .parent()
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    let lib = if is_64 { "lib64" } else { "lib" };
    path.replace("${ORIGIN}", &origin)
        .replace("$ORIGIN", &origin)
        .replace("${LIB}", lib)
        .replace("$LIB", lib)
}

/// Shared libraries that a program needs, directly or not, and the loader would not find; each with who asks for it.
pub fn missing(tree: &Tree, program: &Path, elf: &Elf) -> Vec<(String, String)> {
    let default = folders(tree, elf);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut missing = Vec::new();
    let mut ahead: Vec<(PathBuf, Elf, Vec<String>)> =
        vec![(program.to_owned(), elf.clone(), Vec::new())];
    while let Some((file, of, inherited)) = ahead.pop() {
        // RPATH holds for what is below too, and not where there is a RUNPATH.
        let own = |paths: &[String]| -> Vec<String> {
            paths.iter().map(|p| expand(p, &file, of.is_64)).collect()
        };
        let mut rpath = inherited;
        if of.runpath.is_empty() {
            rpath.extend(own(&of.rpath));
        }
        let runpath = own(&of.runpath);
        for name in &of.needed {
            if !seen.insert(name.clone()) || seen.len() > MOST {
                continue;
            }
            let folders = rpath.iter().chain(&runpath).chain(&default);
            match folders.filter_map(|f| load(tree, f, name, elf)).next() {
                Some((path, library)) => ahead.push((path, library, rpath.clone())),
                None => {
                    let who = file
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    missing.push((name.clone(), who));
                }
            }
        }
    }
    missing
}

/// A library in a folder, if it is one for this program: the loader passes over those of another machine.
fn load(tree: &Tree, folder: &str, name: &str, program: &Elf) -> Option<(PathBuf, Elf)> {
    let path = match name.contains('/') {
        true => PathBuf::from(name),
        false => Path::new(folder).join(name),
    };
    let resolved = tree.resolve(&path).ok()?;
    let bytes = tree.read(&path, LARGEST).ok()?;
    match kind(&bytes) {
        Kind::Elf(library) if library.fits(program) => Some((resolved.path, library)),
        _ => None,
    }
}
