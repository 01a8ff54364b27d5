//! What the kernel has for md and device mapper: loaded, built in, or to be loaded.
//!
//! Read from `/proc/modules`, `/sys/module`, what of it has registered itself
//! with the running kernel (`seen`), and from `modules.builtin` and
//! `modules.dep` of that kernel, or of every kernel of a tree in which none
//! runs.

use super::tree::Tree;
use super::{Level, Line};

/// A module, what it is for, and whether the scripts rest on it.
const WANTED: [(&str, &str, bool); 14] = [
    ("md_mod", "md", true),
    ("raid1", "md raid1", true),
    ("raid10", "md raid10", true),
    ("raid456", "md raid4, raid5, raid6", true),
    ("raid0", "md raid0", false),
    ("linear", "md linear", false),
    ("dm_mod", "device mapper", true),
    ("dm_snapshot", "overlays", true),
    ("loop", "overlay files", true),
    ("dm_mirror", "LVM mirrors", false),
    ("dm_raid", "LVM raid", false),
    ("dm_thin_pool", "LVM thin pools", false),
    ("ext4", "ext file systems", false),
    ("xfs", "xfs", false),
];

/// What is said of a module that is there and not loaded.
pub(super) const LOADABLE: &str = "to be loaded";

/// The lines on the kernel.
pub fn lines(tree: &Tree) -> Vec<Line> {
    let running = tree.text("/proc/sys/kernel/osrelease");
    let kernels = match &running {
        Some(release) => vec![release.trim().to_owned()],
        None => tree.names("/lib/modules"),
    };
    let about = "kernel";
    if kernels.is_empty() {
        return vec![Line::note(
            about,
            "modules",
            "there is no kernel in this tree: boot it to know its modules",
        )];
    }
    kernels
        .iter()
        .flat_map(|k| of_kernel(tree, k, running.is_some()))
        .collect()
}

/// What a running kernel shows, loaded or built in. Targets of device mapper show nowhere but to `dmsetup targets`.
fn seen(tree: &Tree, module: &str) -> bool {
    let has_word = |file: &str, word: &str| {
        let text = tree.text(file).unwrap_or_default();
        text.split_whitespace().any(|w| w == word)
    };
    let device = |word| has_word("/proc/devices", word) || has_word("/proc/misc", word);
    let level = |level| has_word("/proc/mdstat", level);
    match module {
        "md_mod" => device("md") || tree.has("/proc/mdstat"),
        "dm_mod" => device("device-mapper"),
        "loop" => device("loop") || device("loop-control"),
        "raid1" => level("[raid1]"),
        "raid10" => level("[raid10]"),
        "raid456" => level("[raid6]"),
        "raid0" => level("[raid0]"),
        "linear" => level("[linear]"),
        "ext4" | "xfs" => has_word("/proc/filesystems", module),
        _ => false,
    }
}

/// A module of which no list says whether the kernel has it, and that shows nowhere.
fn untold(name: String, module: &str, needed: bool, folder: &str, running: bool) -> Line {
    let about = "kernel";
    let what = format!("cannot be told: {folder} has no list of modules");
    if !needed {
        return Line::note(about, name, what);
    }
    // These show in /proc wherever they are there.
    if running && matches!(module, "md_mod" | "dm_mod") {
        return Line::problem(
            about,
            name,
            format!("the kernel does not have it now, and {folder}, to load it from, is not here"),
            "install the modules of this kernel, or boot one that has it",
        );
    }
    let todo = match running {
        true => {
            "install the modules of this kernel; where /proc/mdstat names raid1, raid10 and raid6, and dmsetup targets snapshot, it has them"
        }
        false => "boot it and run doctor there",
    };
    Line::problem(about, name, what, todo)
}

fn of_kernel(tree: &Tree, release: &str, running: bool) -> Vec<Line> {
    let folder = format!("/lib/modules/{release}");
    let read = |name: &str| tree.text(&format!("{folder}/{name}"));
    let (builtin, dep) = (read("modules.builtin"), read("modules.dep"));
    let loaded = match running {
        true => tree.text("/proc/modules").unwrap_or_default(),
        false => String::new(),
    };
    let told = builtin.is_some() || dep.is_some();
    let (builtin, dep) = (builtin.unwrap_or_default(), dep.unwrap_or_default());
    let mut lines = Vec::new();
    for (module, purpose, needed) in WANTED {
        let is_loaded = loaded.lines().any(|l| l.split(' ').next() == Some(module))
            || running && (tree.has(&format!("/sys/module/{module}")) || seen(tree, module));
        let path = dep.lines().find_map(|l| {
            l.split_once(':')
                .map(|(p, _)| p)
                .filter(|p| module_of(p) == module)
        });
        let there = path.is_some_and(|p| match p.starts_with('/') {
            true => tree.has(p),
            false => tree.has(&format!("{folder}/{p}")),
        });
        let name = format!("{module} ({purpose})");
        let line = match () {
            () if is_loaded => Line::fine("kernel", name, "there"),
            () if builtin.lines().any(|l| module_of(l) == module) => {
                Line::fine("kernel", name, "built in")
            }
            () if there => Line::fine("kernel", name, LOADABLE),
            () if path.is_some() => Line::problem(
                "kernel",
                name,
                format!("listed for kernel {release}, and its file is not here"),
                "install the modules of this kernel",
            ),
            // Built-in code without parameters shows nowhere but in that list.
            () if !told => untold(name, module, needed, &folder, running),
            () => Line::problem(
                "kernel",
                name,
                format!("kernel {release} has it neither built in nor as a module"),
                "boot a kernel that has it",
            ),
        };
        lines.push(match (line.level, needed) {
            (Level::Problem, false) => Line {
                level: Level::Note,
                ..line
            },
            _ => line,
        });
    }
    lines
}

/// `kernel/drivers/md/dm-mod.ko.xz` is `dm_mod`.
fn module_of(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    let name = file.split(".ko").next().unwrap_or_default();
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A rescue kernel without dm_snapshot makes no overlays; that must be known before the first script.
    #[test]
    fn modules_of_a_tree() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("lib/modules/6.1.0/kernel/drivers/md");
        fs::create_dir_all(&modules).unwrap();
        let base = folder.path().join("lib/modules/6.1.0");
        fs::write(modules.join("raid1.ko.xz"), "").unwrap();
        fs::write(
            base.join("modules.builtin"),
            "kernel/drivers/md/md-mod.ko\nkernel/drivers/md/dm-mod.ko\n",
        )
        .unwrap();
        fs::write(
            base.join("modules.dep"),
            "kernel/drivers/md/raid1.ko.xz:\nkernel/drivers/md/raid10.ko.xz: kernel/drivers/md/md-mod.ko\n",
        )
        .unwrap();
        let lines = lines(&Tree::new(folder.path()).unwrap());
        let of = |name: &str| {
            lines
                .iter()
                .find(|l| l.name.starts_with(&format!("{name} ")))
                .unwrap()
        };
        assert_eq!(of("md_mod").what, "built in");
        assert_eq!(of("raid1").what, "to be loaded");
        assert_eq!(of("raid10").level, Level::Problem, "its file is gone");
        assert_eq!(of("dm_snapshot").level, Level::Problem);
        assert_eq!(of("xfs").level, Level::Note);
    }

    /// A running kernel without a list of its modules, as many a rescue stick's is: what it has shows elsewhere, and what
    /// shows nowhere is not fit to begin with.
    #[test]
    fn a_kernel_without_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let level = |name: &str| {
            let lines = lines(&Tree::new(folder.path()).unwrap());
            let name = format!("{name} ");
            let line = lines.iter().find(|l| l.name.starts_with(&name)).unwrap();
            (line.level, line.what.clone())
        };
        put("proc/sys/kernel/osrelease", "6.1.0\n");
        put("proc/devices", "Block devices:\n  7 loop\n259 blkext\n");
        put("proc/misc", "237 loop-control\n");
        for name in ["md_mod", "dm_mod"] {
            let (level, what) = level(name);
            assert_eq!(level, Level::Problem);
            assert!(what.contains("does not have it now"), "{what}");
        }
        assert_eq!(level("loop").0, Level::Fine);
        assert_eq!(level("xfs").0, Level::Note);
        put(
            "proc/devices",
            "Block devices:\n  9 md\n253 device-mapper\n",
        );
        put(
            "proc/mdstat",
            "Personalities : [raid1] [raid6] [raid5] [raid4] \n",
        );
        put("proc/filesystems", "nodev\tproc\n\text4\n");
        for name in ["md_mod", "dm_mod", "raid1", "raid456", "ext4"] {
            assert_eq!(level(name).0, Level::Fine, "{name}");
        }
        for name in ["raid10", "dm_snapshot"] {
            let (level, what) = level(name);
            assert_eq!(level, Level::Problem, "{name}");
            assert!(what.starts_with("cannot be told"), "{what}");
        }
    }
}
