//! The programs that the scripts and a person after them call: there, real, able to start.

use super::elf::{Elf, Kind, kind, this_machine};
use super::tree::{Resolved, Tree};
use super::{Line, libraries};
use regex::bytes::Regex;
use serde::Serialize;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that is looked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// Whether the scripts call it; else a person may.
    by_scripts: bool,
    /// Whether busybox's does what is asked of it.
    busybox_will_do: bool,
    /// Arguments that make it say its version and do nothing else.
    version: &'static [&'static str],
    /// What its version looks like inside of the file.
    pattern: &'static str,
    /// The oldest version that does what the scripts ask, and what an older one lacks.
    oldest: Option<(u32, u32, &'static str)>,
}

const fn script(
    name: &'static str,
    package: &'static str,
    version: &'static [&'static str],
    pattern: &'static str,
) -> Wanted {
    Wanted {
        name,
        package,
        by_scripts: true,
        busybox_will_do: false,
        version,
        pattern,
        oldest: None,
    }
}

const fn plain(name: &'static str) -> Wanted {
    plain_of(name, "coreutils")
}

const fn plain_of(name: &'static str, package: &'static str) -> Wanted {
    Wanted {
        busybox_will_do: true,
        ..script(name, package, &["--version"], "")
    }
}

const fn person(
    name: &'static str,
    package: &'static str,
    version: &'static [&'static str],
    pattern: &'static str,
) -> Wanted {
    Wanted {
        by_scripts: false,
        ..script(name, package, version, pattern)
    }
}

const LVM: &str = r"2\.\d\d\.\d+\(\d\)(-git)? \(\d{4}-\d\d-\d\d\)";
const UTIL_LINUX: &str = r"util-linux \d+\.[0-9.]+";
const E2FS: &str = r"\x001\.4\d(\.\d+)?\x00";

/// The programs: what the scripts call, a backup's `restore.sh` among them, then what a person may.
const WANTED: [Wanted; 49] = [
    Wanted {
        oldest: Some((3, 3, "--data-offset")),
        ..script(
            "mdadm",
            "mdadm",
            &["--version"],
            r"mdadm - v[0-9.]+[^\x00\n]{0,30}",
        )
    },
    script("lvm", "lvm2", &["version"], LVM),
    script("pvcreate", "lvm2", &["--version"], LVM),
    script("vgcfgrestore", "lvm2", &["--version"], LVM),
    script("vgchange", "lvm2", &["--version"], LVM),
    script("lvchange", "lvm2", &["--version"], LVM),
    script("pvs", "lvm2", &["--version"], LVM),
    script("vgs", "lvm2", &["--version"], LVM),
    script("lvs", "lvm2", &["--version"], LVM),
    script("dmsetup", "dmsetup", &["--version"], ""),
    script("losetup", "mount", &["--version"], UTIL_LINUX),
    script("blockdev", "util-linux", &["--version"], UTIL_LINUX),
    script("e2fsck", "e2fsprogs", &["-V"], E2FS),
    // Without it a journal that is to be replayed is not seen, and such a file system looks full of faults.
    script("dumpe2fs", "e2fsprogs", &["-V"], E2FS),
    script("fdisk", "fdisk", &["--version"], UTIL_LINUX),
    // The scripts are bash's: busybox's shell, linked as bash, has no arrays.
    script("bash", "bash", &["--version"], ""),
    plain("sh"),
    plain("dd"),
    plain("sha256sum"),
    plain("cut"),
    plain("readlink"),
    plain("df"),
    plain("stat"),
    plain("cat"),
    plain("mv"),
    plain("rm"),
    plain("mkdir"),
    plain("sort"),
    plain("head"),
    plain("tail"),
    plain("truncate"),
    plain("tr"),
    plain("id"),
    plain("date"),
    plain("sync"),
    plain("basename"),
    plain("dirname"),
    plain_of("grep", "grep"),
    plain_of("sed", "sed"),
    plain_of("awk", "mawk"),
    // Only where udevd runs, and where a module is to be loaded.
    script("udevadm", "udev", &["--version"], ""),
    plain_of("modprobe", "kmod"),
    person("fsck", "util-linux", &["--version"], UTIL_LINUX),
    person("xfs_repair", "xfsprogs", &["-V"], ""),
    person(
        "smartctl",
        "smartmontools",
        &["--version"],
        r"smartctl \d\.\d",
    ),
    person("wipefs", "util-linux", &["--version"], UTIL_LINUX),
    person("sfdisk", "fdisk", &["--version"], UTIL_LINUX),
    person("blkid", "util-linux", &["--version"], UTIL_LINUX),
    person(
        "ddrescue",
        "gddrescue",
        &["--version"],
        r"GNU ddrescue \d\.\d+",
    ),
];

/// Where programs are looked for, in this order.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Bytes of a program that are read.
const LARGEST: u64 = 64 << 20;

/// What a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not there.
    Missing,
    /// The link that should be it leads nowhere, or it cannot be read.
    Dangling(String),
    /// Not to be run by anybody.
    NotExecutable,
    /// Busybox's (or toybox's), with its version.
    Busybox(String),
    /// Real, and too old: its version, and what it lacks.
    TooOld(String),
    /// A link to a busybox that has no such applet.
    NoApplet(String),
    /// For another machine.
    OtherMachine(String),
    /// It begins as a program and is none.
    Broken(String),
    /// Needs an interpreter or loader that is not there.
    NoInterpreter(String),
    /// Needs shared libraries that are not there.
    NoLibraries(Vec<String>),
    /// A script whose interpreter is there.
    Script(String),
    /// Real, static.
    Static,
    /// Real, dynamic, all libraries there.
    Dynamic,
}

/// A program that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Debian's package of it.
    pub package: &'static str,
    /// Whether the scripts call it.
    pub by_scripts: bool,
    /// Whether busybox's would do.
    pub busybox_will_do: bool,
    /// Where it was found, inside the tree.
    pub path: Option<PathBuf>,
    /// The file behind links.
    pub file: Option<PathBuf>,
    /// What it is.
    pub state: State,
    /// Its version, from the file or, asked, from itself.
    pub version: Option<String>,
    /// Its architecture.
    pub architecture: Option<String>,
}

/// Looks for every program.
pub fn all(tree: &Tree, run: bool) -> Vec<Program> {
    WANTED
        .iter()
        .map(|wanted| look(tree, wanted, run))
        .collect()
}

/// What a name leads to in the usual folders; a link that leads nowhere is kept only where no other folder has it.
fn find(tree: &Tree, name: &str) -> Option<(PathBuf, std::io::Result<Resolved>)> {
    let mut dangling = None;
    for folder in FOLDERS {
        let path = Path::new(folder).join(name);
        match tree.resolve(&path) {
            Ok(found) => return Some((path, Ok(found))),
            Err(error) => {
                let parent = tree.resolve(Path::new(folder));
                let is_there = parent.is_ok_and(|p| p.host.join(name).symlink_metadata().is_ok());
                if is_there && dangling.is_none() {
                    dangling = Some((path, Err(error)));
                }
            }
        }
    }
    dangling
}

fn look(tree: &Tree, wanted: &Wanted, run: bool) -> Program {
    let mut program = Program {
        name: wanted.name,
        package: wanted.package,
        by_scripts: wanted.by_scripts,
        busybox_will_do: wanted.busybox_will_do,
        path: None,
        file: None,
        state: State::Missing,
        version: None,
        architecture: None,
    };
    let Some((path, found)) = find(tree, wanted.name) else {
        return program;
    };
    program.path = Some(path.clone());
    let resolved = match found {
        Ok(resolved) => resolved,
        Err(error) => {
            program.state = State::Dangling(error.to_string());
            return program;
        }
    };
    program.file = Some(resolved.path.clone());
    let bytes = match tree.read(&path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) => {
            program.state = State::Dangling(error.to_string());
            return program;
        }
    };
    let mode = resolved
        .host
        .metadata()
        .map_or(0, |m| m.permissions().mode());
    program.state = match kind(&bytes) {
        _ if mode & 0o111 == 0 => State::NotExecutable,
        Kind::Elf(elf) => {
            program.architecture = Some(elf.architecture());
            of_elf(tree, &resolved, &elf, &bytes, wanted.name)
        }
        Kind::Script(interpreter) => match tree.has(&interpreter) {
            true => State::Script(interpreter),
            false => State::NoInterpreter(interpreter),
        },
        Kind::Broken(what) => State::Broken(what),
        Kind::Other => State::Broken("is neither a program nor a script".to_owned()),
    };
    program.version = version_inside(&bytes, wanted.pattern);
    let real = matches!(program.state, State::Static | State::Dynamic);
    if run && real && tree.is_this_machine() {
        let answer = ask(&path, wanted.version);
        program.version = answer.or(program.version);
    }
    if let (true, Some(old)) = (real, too_old(&program, wanted)) {
        program.state = State::TooOld(old);
    }
    program
}

/// What an old version lacks; nothing of one that is not known.
fn too_old(program: &Program, wanted: &Wanted) -> Option<String> {
    let (major, minor, lacks) = wanted.oldest?;
    let version = program.version.as_deref()?;
    let found = Regex::new(r"(\d+)\.(\d+)").ok()?;
    let found = found.captures(version.as_bytes())?;
    let number = |group| {
        std::str::from_utf8(found.get(group)?.as_bytes())
            .ok()?
            .parse()
            .ok()
    };
    let has: (u32, u32) = (number(1)?, number(2)?);
    let old = has < (major, minor);
    old.then(|| format!("{version}, and {lacks} came with {major}.{minor}"))
}

fn of_elf(tree: &Tree, resolved: &Resolved, elf: &Elf, bytes: &[u8], name: &str) -> State {
    if this_machine().is_some_and(|machine| !elf.runs_on(machine)) {
        return State::OtherMachine(elf.architecture());
    }
    if let Some(interpreter) = elf.interpreter.as_ref().filter(|i| !tree.has(i)) {
        return State::NoInterpreter(interpreter.clone());
    }
    let missing = libraries::missing(tree, &resolved.path, elf);
    if !missing.is_empty() {
        let names = missing
            .into_iter()
            .map(|(name, who)| format!("{name} (for {who})"));
        return State::NoLibraries(names.collect());
    }
    if let Some(version) = multi_call(bytes) {
        let applet = [b"\0", name.as_bytes(), b"\0"].concat();
        return match memchr::memmem::find(bytes, &applet) {
            Some(_) => State::Busybox(version),
            None => State::NoApplet(version),
        };
    }
    match elf.is_dynamic && elf.interpreter.is_some() {
        true => State::Dynamic,
        false => State::Static,
    }
}

/// The version of a busybox or toybox, by the words that it greets with.
fn multi_call(bytes: &[u8]) -> Option<String> {
    version_inside(bytes, r"(BusyBox v\d+\.[0-9.]+|toybox \d+\.[0-9.]+)")
}

/// A version by its pattern; without the zeros that may stand around it.
fn version_inside(bytes: &[u8], pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return None;
    }
    let found = Regex::new(pattern).ok()?.find(bytes)?;
    let text = String::from_utf8_lossy(found.as_bytes());
    Some(text.trim_matches(['\0', ' ']).trim().to_owned())
}

/// Asks a program for its version: no input, no environment, five seconds, and only its first line is kept.
fn ask(path: &Path, arguments: &[&str]) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let started = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut said = Vec::new();
    child
        .stdout
        .take()?
        .take(4096)
        .read_to_end(&mut said)
        .ok()?;
    child
        .stderr
        .take()?
        .take(4096)
        .read_to_end(&mut said)
        .ok()?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let line = text
        .lines()
        .map(str::trim)
        .find(|l| l.bytes().any(|b| b.is_ascii_digit()))?;
    Some(line.to_owned())
}

impl Program {
    /// What is to be said of it.
    pub fn line(&self) -> Line {
        let install = format!("install {} (Debian: {})", self.name, self.package);
        let package = format!("install {}", self.package);
        let path = self
            .path
            .as_ref()
            .map_or(String::new(), |p| p.display().to_string());
        let bad = |what: String, todo: String| match self.by_scripts {
            true => Line::problem("program", self.name, what, todo),
            false => Line {
                todo,
                ..Line::note("program", self.name, what)
            },
        };
        let version = self.version.as_deref().unwrap_or("version unknown");
        match &self.state {
            State::Missing => bad("not here".to_owned(), package),
            State::Dangling(why) => bad(format!("{path} leads nowhere: {why}"), install),
            State::NotExecutable => {
                bad(format!("{path} may not be run"), format!("chmod +x {path}"))
            }
            State::Busybox(version) if self.busybox_will_do => {
                Line::fine("program", self.name, format!("{version}'s, which will do"))
            }
            State::Busybox(version) => bad(format!("{version}'s, not the real one"), package),
            State::TooOld(what) => bad(
                format!("too old: {what}"),
                format!("take a newer {}", self.package),
            ),
            State::NoApplet(version) => bad(
                format!("a link to {version}, which has no such applet"),
                package,
            ),
            State::OtherMachine(what) => bad(format!("for another machine: {what}"), package),
            State::Broken(what) => bad(format!("{path} {what}"), package),
            State::NoInterpreter(what) => bad(format!("needs {what}, which is not here"), package),
            State::NoLibraries(names) => {
                let what = format!("misses shared libraries: {}", names.join(", "));
                bad(what, "copy them too, or take a static one".to_owned())
            }
            State::Script(by) => Line::fine("program", self.name, format!("a script for {by}")),
            State::Static => Line::fine("program", self.name, format!("{version}, static")),
            State::Dynamic => Line::fine("program", self.name, format!("{version}, dynamic")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use std::collections::BTreeSet;

    /// A script that stops half-way for a missing program leaves arrays and maps behind. Each word of the scripts that is
    /// called like a program of this machine must be in the list, but for the shell's own and what only looks so.
    #[test]
    fn all_that_the_scripts_call_is_looked_for() {
        // restore.sh goes on without flock, and says what that means.
        const OTHER: [&str; 9] = [
            "echo", "flock", "install", "lsblk", "print", "printf", "pwd", "see", "yes",
        ];
        const SHELL: [&str; 4] = [
            include_str!("../script/lib.sh"),
            include_str!("../script/devices.sh"),
            include_str!("../script/restore_head.sh"),
            include_str!("../script/restore_tail.sh"),
        ];
        const MAKER: &str = include_str!("../script/mod.rs");
        let each = |pattern: &str, text: &'static str| {
            let pattern = regex::Regex::new(pattern).unwrap();
            let is_comment = |l: &str| ["#", "//"].iter().any(|c| l.trim_start().starts_with(c));
            let lines = text.lines().filter(|l| !is_comment(l));
            let words = lines.flat_map(|line| {
                let found: Vec<String> = pattern
                    .captures_iter(line)
                    .flat_map(|c| c[1].split(' ').map(str::to_owned).collect::<Vec<_>>())
                    .collect();
                found
            });
            words.collect::<BTreeSet<String>>()
        };
        const LISTED: &str = r#"(?:begin|needs|TOOLS: &str =|plan,) "?([a-z0-9 ]+)(?:["\\]|$)"#;
        const CALLED: &str =
            r"(?:^|[|&(;{!]|\b(?:then|do|run|if|while|else|lvm_on)\b)\s*([a-z0-9_]+)(?:[ )]|$)";
        let mut words = each(LISTED, MAKER);
        let mut functions = BTreeSet::new();
        for text in SHELL {
            words.extend(each(LISTED, text));
            words.extend(each(CALLED, text));
            functions.extend(each(r"^([a-z_]+)\(\)", text));
        }
        let installed = |w: &&String| {
            let there = |folder: &&str| Path::new(folder).join(w).is_file();
            !w.is_empty() && FOLDERS.iter().any(there)
        };
        let programs: Vec<&String> = words.difference(&functions).filter(installed).collect();
        assert!(programs.len() > 15, "{programs:?}");
        let known = |program: &&&String| {
            let mut wanted = WANTED.iter().filter(|w| w.by_scripts);
            wanted.any(|w| w.name == **program) || OTHER.contains(&program.as_str())
        };
        let unknown: Vec<_> = programs.iter().filter(|p| !known(p)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// One that does not know an option is told of before the disks are taken to pieces.
    #[test]
    fn an_old_mdadm() {
        let mdadm = WANTED.iter().find(|w| w.name == "mdadm").unwrap();
        let level = |version: &str| {
            let mut program = Program {
                name: mdadm.name,
                package: mdadm.package,
                by_scripts: true,
                busybox_will_do: false,
                path: None,
                file: None,
                state: State::Dynamic,
                version: Some(version.to_owned()),
                architecture: None,
            };
            if let Some(old) = too_old(&program, mdadm) {
                program.state = State::TooOld(old);
            }
            program.line()
        };
        let line = level("mdadm - v3.2.6 - 25th October 2012");
        assert_eq!(line.level, Level::Problem);
        assert!(line.what.contains("--data-offset"), "{}", line.what);
        for fine in [
            "mdadm - v3.3 - 3rd September 2013",
            "mdadm - v4.10",
            "unknown",
        ] {
            assert_eq!(level(fine).level, Level::Fine, "{fine}");
        }
    }
}
