//! No command writes to an input: by what the kernel was asked (strace), and by the bytes and times before and after.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Unpacked, disinter, drill, run, sha256};
use disinter::evidence::confine::{Enforced, Grants};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every subcommand, with arguments that make it work on the drill's disks. `{…}` stands for paths.
const COMMANDS: [&str; 27] = [
    "investigate {disks} --smart {smart} --case {new}",
    "scan {disks} --save-map {new}",
    "lvm scan {disks}",
    "lvm extract {disks} -o {new}",
    "md examine {disks}",
    "md pairs {disks}",
    "md guess {disks} -o {new}",
    "lvm show 1 {disks}",
    "lvm diff 1 2 {disks}",
    "lvm history {disks}",
    "smart rank {smart}",
    "smart rank {smart} --layout {layout}",
    "smart weights",
    "fs ls --layout {layout} guests/home:/",
    "fs cat --layout {layout} guests/home:/deep/d0/d1/d2/d3/d4/d5/d6/d7/d8/d9/d10/d11/bottom.txt",
    "fs cp --layout {layout} guests/home:/deep {new}",
    "fs check --layout {layout} guests/distros",
    "export --layout {layout} guests/home -o {new}",
    "backup {disks} -o {new}",
    "backup {disks} --rest -o {new}",
    "backup verify {backup} {disks}",
    "backup verify {backup}",
    "case verify {case}",
    "script --layout {layout} --vg {text} -o {new}",
    "drill list --corpus {corpus}",
    "drill run holmes-2013 --corpus {corpus} --keep {new}",
    "drill run holmes-2013 --corpus {corpus}",
];

/// Calls that change what their path or file descriptor names.
const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,fallocate,truncate,\
    ftruncate,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,chown,\
    fchown,lchown,fchownat,utime,utimes,utimensat,futimesat,setxattr,lsetxattr,fsetxattr,removexattr,fremovexattr,\
    mknod,mknodat,mkdir,mkdirat,rmdir";

struct Bench {
    unpacked: Unpacked,
    disks: Vec<PathBuf>,
    backup: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let unpacked = Unpacked::new("holmes-2013");
        let disks = unpacked.images().into_iter().take(3).collect::<Vec<_>>();
        let backup = unpacked.path().join("backup");
        run(
            disinter().arg("backup").args(&disks).arg("-o").arg(&backup),
            0,
        );
        Bench {
            unpacked,
            disks,
            backup,
        }
    }

    fn arguments(&self, line: &str, new: &Path) -> Vec<PathBuf> {
        let mut arguments = Vec::new();
        for word in line.split(' ') {
            match word {
                "{disks}" => arguments.extend(self.disks.iter().cloned()),
                "{smart}" => arguments.push(drill("holmes-2013").join("smart")),
                "{layout}" => arguments.push(self.unpacked.case().join("layout.toml")),
                "{text}" => arguments.push(self.unpacked.case().join("guests.vg")),
                "{backup}" => arguments.push(self.backup.clone()),
                "{case}" => arguments.push(self.unpacked.case()),
                "{corpus}" => arguments.push(common::root().join("corpus")),
                "{new}" => arguments.push(new.to_owned()),
                word => arguments.push(word.into()),
            }
        }
        arguments
    }

    /// What must be after every command as it was before: bytes and times of each input.
    fn state(&self) -> Vec<(PathBuf, String, i64, i64, i64)> {
        let case = self.unpacked.case();
        let mut inputs = self.unpacked.images();
        inputs.extend(["layout.toml", "guests.vg", "manifest.json"].map(|f| case.join(f)));
        inputs.push(self.backup.join("backup.json"));
        let state = |path: PathBuf| {
            let before = fs::metadata(&path).unwrap();
            let digest = sha256(&fs::read(&path).unwrap());
            let times = (before.mtime(), before.ctime(), before.size() as i64);
            (path, digest, times.0, times.1, times.2)
        };
        inputs.into_iter().map(state).collect()
    }
}

/// The subcommands that the program's own help names, two deep.
fn subcommands() -> BTreeSet<String> {
    let listed = |arguments: &[&str]| -> Vec<String> {
        let out = run(disinter().args(arguments).arg("--help"), 0);
        let text = String::from_utf8(out.stdout).unwrap();
        let commands = text.split("Commands:\n").nth(1).unwrap_or_default();
        commands
            .lines()
            .take_while(|line| !line.trim().is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let mut all = BTreeSet::new();
    for name in listed(&[]) {
        let inner = listed(&[&name]);
        all.extend(inner.iter().map(|inner| format!("{name} {inner}")));
        if inner.is_empty() {
            all.insert(name);
        }
    }
    all
}

/// A subcommand that is not in the list above would be one that nobody looks at.
#[test]
fn every_subcommand_is_watched() {
    for name in subcommands() {
        // These read no input: what they print is in the program.
        if ["doctor", "schema", "generate"]
            .iter()
            .any(|n| name.starts_with(n))
        {
            continue;
        }
        assert!(
            COMMANDS.iter().any(|line| line.starts_with(&name)),
            "{name} is not in the list of commands that are watched"
        );
    }
}

/// What the lab's machine must have, as `tests/run` asks for it; else it is said and passed over.
#[track_caller]
fn missing(what: &str) {
    let required = std::env::var("DISINTER_LAB").is_ok_and(|v| v == "required");
    assert!(!required, "{what}");
    eprintln!("SKIPPED in part: {what}");
}

/// Whether this kernel confines at all: asked in a thread of its own, as it stays with that.
fn has_landlock() -> bool {
    let ask = || Grants::none().confine().landlock != Enforced::Not;
    std::thread::spawn(ask).join().unwrap()
}

/// What one call, as strace prints it, does to an input; `None` where it is harmless.
fn harm(call: &str, inputs: &[String]) -> Option<&'static str> {
    if !inputs.iter().any(|input| call.contains(input.as_str())) {
        return None;
    }
    let name = call.split('(').next().unwrap_or_default();
    let name = name.rsplit(' ').next().unwrap_or_default();
    match name {
        "open" | "openat" | "openat2" | "creat" => {
            let writes = ["O_WRONLY", "O_RDWR", "O_TRUNC", "O_CREAT", "creat("];
            writes
                .iter()
                .any(|w| call.contains(w))
                .then_some("opened for writing")
        }
        "mmap" => {
            let shared = call.contains("PROT_WRITE") && call.contains("MAP_SHARED");
            shared.then_some("mapped for writing")
        }
        "ioctl" => {
            let asks = ["BLKSSZGET", "BLKPBSZGET"];
            (!asks.iter().any(|ask| call.contains(ask))).then_some("an ioctl")
        }
        name => WRITES
            .split(',')
            .any(|w| w.trim() == name)
            .then_some("a write"),
    }
}

/// Whether the thread that the program began with gave up its rights; what another one gave up binds only that one.
/// strace may tell the call in two lines, as begun and as resumed.
fn confines_itself(calls: &str) -> bool {
    let of = |line: &str| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let first = calls.lines().next().map(of);
    calls.lines().any(|line| {
        line.contains("landlock_restrict_self") && line.ends_with("= 0") && Some(of(line)) == first
    })
}

/// The test's own eye: it must see each kind of harm in what strace prints.
#[test]
fn harm_is_seen() {
    let inputs = ["/e/sda.img".to_owned()];
    for call in [
        r#"openat(AT_FDCWD, "/e/sda.img", O_RDWR|O_CLOEXEC) = 3"#,
        r#"7 pwrite64(3</e/sda.img>, "x", 1, 0) = 1"#,
        r#"unlink("/e/sda.img") = 0"#,
        r#"ioctl(3</e/sda.img>, BLKDISCARD) = 0"#,
        r#"mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</e/sda.img>, 0) = 0x7"#,
        r#"utimensat(3</e/sda.img>, NULL, NULL, 0) = 0"#,
    ] {
        assert!(harm(call, &inputs).is_some(), "{call}");
    }
    for call in [
        r#"openat(AT_FDCWD, "/e/sda.img", O_RDONLY|O_CLOEXEC|O_NOATIME) = 3"#,
        r#"write(3</e/other>, "x", 1) = 1"#,
        r#"mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</e/sda.img>, 0) = 0x7"#,
    ] {
        assert_eq!(harm(call, &inputs), None, "{call}");
    }
    let calls = |pid| {
        format!(
            "7 openat(AT_FDCWD, \"/x\", O_RDONLY) = 3\n{pid} landlock_restrict_self(4, 0) = 0\n"
        )
    };
    assert!(confines_itself(&calls(7)));
    assert!(!confines_itself(&calls(8)));
    assert!(!confines_itself(&calls(7).replace("= 0", "= -1 EPERM")));
}

/// The rule above all others: no byte of an input changes, and nothing is even asked of the kernel that could.
#[test]
fn no_command_writes_to_an_input() {
    let bench = Bench::new();
    let traced = Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|o| o.status.success());
    if !traced {
        missing("strace is not installed; only bytes and times are compared");
    }
    let landlock = has_landlock();
    if !landlock {
        missing("the kernel has no Landlock; that each command confines itself is not looked at");
    }
    let before = bench.state();
    let inputs: Vec<String> = before
        .iter()
        .map(|(path, ..)| path.display().to_string())
        .collect();
    let place = tempfile::tempdir().unwrap();
    for (number, line) in COMMANDS.iter().enumerate() {
        let new = place.path().join(format!("new{number}"));
        let log = place.path().join(format!("log{number}"));
        let mut command = match traced {
            true => Command::new("strace"),
            false => disinter(),
        };
        if traced {
            let calls = format!(
                "trace=open,openat,openat2,creat,mmap,ioctl,landlock_restrict_self,{WRITES}"
            )
            .replace(' ', "");
            command.args(["-f", "-y", "-qq", "--seccomp-bpf", "-e", &calls, "-o"]);
            command.arg(&log).arg(env!("CARGO_BIN_EXE_disinter"));
        }
        let out = command.args(bench.arguments(line, &new)).output().unwrap();
        let status = out.status.code();
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(
            matches!(status, Some(0 | 1)),
            "{line}: {status:?}\n{errors}"
        );
        if traced {
            let calls = fs::read_to_string(&log).unwrap();
            assert!(calls.contains("open"), "{line}: nothing was traced");
            let harmful: Vec<_> = calls
                .lines()
                .filter_map(|c| Some((harm(c, &inputs)?, c)))
                .collect();
            assert!(harmful.is_empty(), "{line}: {harmful:?}");
            assert!(
                !landlock || confines_itself(&calls),
                "{line}: nothing but good will keeps it from writing\n{calls}"
            );
            // Reading must be seen too, or the paths are not what is looked for.
            if line.contains("{disks}") {
                assert!(calls.contains(inputs[0].as_str()), "{line}");
            }
        }
        assert_eq!(bench.state(), before, "{line} changed an input");
    }
}

/// A case says whether the kernel held the program to it.
#[test]
fn a_case_says_how_it_was_confined() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.img");
    fs::write(&image, vec![7; 8192]).unwrap();
    let case = folder.path().join("case");
    let out = run(
        disinter()
            .arg("investigate")
            .arg(&image)
            .arg("--case")
            .arg(&case),
        1,
    );
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(case.join("manifest.json")).unwrap()).unwrap();
    let errors = String::from_utf8(out.stderr).unwrap();
    match manifest["confinement"]["landlock"].as_str().unwrap() {
        "fully" => assert!(!errors.contains("Landlock"), "{errors}"),
        _ => assert!(errors.contains("Landlock"), "{errors}"),
    }
    for field in ["kernel", "machine", "host", "uid", "folder"] {
        assert!(manifest["environment"].get(field).is_some(), "{field}");
    }
}
