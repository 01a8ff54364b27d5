//! What the kernel has for md and device mapper: loaded, built in, or to be loaded.
//!
//! Read from `/proc/modules`, `/sys/module`, and from `modules.builtin` and
//! `modules.dep` of the running kernel, or of every kernel of a tree in which
//! none runs.

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
            || running && tree.has(&format!("/sys/module/{module}"));
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
            () if there => Line::fine("kernel", name, "to be loaded"),
            () if path.is_some() => Line::problem(
                "kernel",
                name,
                format!("listed for kernel {release}, and its file is not here"),
                "install the modules of this kernel",
            ),
            // Built-in code without parameters shows nowhere but in that list.
            () if !told => Line::note(
                "kernel",
                name,
                format!("{folder} is not here: cannot be told"),
            ),
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
}
