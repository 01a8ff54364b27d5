//! Is this rescue environment fit for what the scripts will call?
//!
//! Looks at a tree of files (this machine's, a chroot, an unpacked initramfs)
//! and says of each program whether it is there, whether it is the real one
//! and whether it can start; of the kernel, whether it has what md and device
//! mapper need; and whether something would start arrays or volumes by itself.
//! Nothing of the tree is run, but for version questions where that is asked.
//!
//! | module | what it knows |
//! |---|---|
//! | [`tree`] | paths inside a tree, links followed without leaving it |
//! | [`elf`] | what kind of file a program is, as the loader sees it |
//! | [`libraries`] | where the loader would find shared libraries |
//! | [`programs`] | the programs that scripts call |
//! | [`kernel`] | modules for md levels and device-mapper targets |
//! | [`automatic`] | what starts arrays and volumes by itself |
//! | [`machine`] | memory, Landlock |

pub mod automatic;
pub mod elf;
pub mod kernel;
pub mod libraries;
pub mod machine;
pub mod programs;
pub mod tree;

use serde::Serialize;
use tree::Tree;

/// How bad a line is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The scripts would fail, or the evidence is in danger.
    Problem,
    /// To be known.
    Note,
    /// Fine.
    Fine,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// `program`, `kernel`, `automatic` or `machine`.
    pub about: &'static str,
    /// What was looked at.
    pub name: String,
    /// What is so.
    pub what: String,
    /// What to do about it; empty where nothing is.
    pub todo: String,
}

impl Line {
    /// A line that asks for something to be done.
    pub fn problem(
        about: &'static str,
        name: impl Into<String>,
        what: impl Into<String>,
        todo: impl Into<String>,
    ) -> Line {
        Line {
            level: Level::Problem,
            about,
            name: name.into(),
            what: what.into(),
            todo: todo.into(),
        }
    }

    /// A line that is to be known.
    pub fn note(about: &'static str, name: impl Into<String>, what: impl Into<String>) -> Line {
        Line {
            level: Level::Note,
            todo: String::new(),
            ..Line::problem(about, name, what, "")
        }
    }

    /// A line that is fine.
    pub fn fine(about: &'static str, name: impl Into<String>, what: impl Into<String>) -> Line {
        Line {
            level: Level::Fine,
            ..Line::note(about, name, what)
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// The programs, in the order of the list.
    pub programs: Vec<programs::Program>,
    /// Every line, the worst first.
    pub lines: Vec<Line>,
}

impl Findings {
    /// Whether nothing is to be done.
    pub fn is_fit(&self) -> bool {
        self.lines.iter().all(|l| l.level != Level::Problem)
    }
}

impl Findings {
    /// What came of the attempt itself, in place of what the kernel's list says of Landlock; `why` it is not enforced.
    pub fn landlock(&mut self, why: Option<&str>) {
        let told = machine::tried(why);
        self.lines.retain(|line| line.name != told.name);
        self.lines.push(told);
        self.lines.sort_by_key(|l| l.level);
    }
}

/// Looks at a tree; `run` asks programs for their versions.
pub fn examine(tree: &Tree, run: bool) -> Findings {
    let kernel = kernel::lines(tree);
    let mut programs = programs::all(tree, run);
    for program in &mut programs {
        match program.name {
            "modprobe" => program.by_scripts = kernel.iter().any(|l| l.what == kernel::LOADABLE),
            "udevadm" => program.by_scripts = tree.has("/run/udev/control"),
            _ => {}
        }
    }
    let mut lines: Vec<Line> = programs.iter().map(programs::Program::line).collect();
    lines.extend(kernel);
    lines.extend(automatic::lines(tree));
    lines.extend(machine::lines(tree));
    lines.sort_by_key(|l| l.level);
    Findings { programs, lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A kernel whose modules cannot be loaded has none of them; one that has all needs nobody to load them.
    #[test]
    fn what_is_needed_only_there() {
        let folder = tempfile::tempdir().unwrap();
        let level = |name: &str| {
            let found = examine(&Tree::new(folder.path()).unwrap(), false);
            let line = found.lines.into_iter().find(|l| l.name == name).unwrap();
            line.level
        };
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "lib/modules/6.1.0/modules.builtin",
            "kernel/drivers/md/raid1.ko\n",
        );
        assert_eq!(level("modprobe"), Level::Note);
        assert_eq!(level("udevadm"), Level::Note);
        put(
            "lib/modules/6.1.0/modules.dep",
            "kernel/drivers/md/dm-mod.ko:\n",
        );
        put("lib/modules/6.1.0/kernel/drivers/md/dm-mod.ko", "");
        put("run/udev/control", "");
        assert_eq!(level("modprobe"), Level::Problem);
        assert_eq!(level("udevadm"), Level::Problem);
        assert_eq!(level("dumpe2fs"), Level::Problem);
    }
}
