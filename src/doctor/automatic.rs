//! What starts arrays and volumes by itself: it writes to the members before anybody has looked.

use super::Line;
use super::tree::Tree;

const ABOUT: &str = "automatic";

/// Folders of udev rules; a file in an earlier one hides its namesake in the later.
const RULES: [&str; 4] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];

/// The lines on what is automatic.
pub fn lines(tree: &Tree) -> Vec<Line> {
    let mut lines = running(tree);
    lines.push(assembly(tree));
    lines.push(activation(tree));
    lines
}

/// Arrays that run already.
fn running(tree: &Tree) -> Vec<Line> {
    let Some(text) = tree.text("/proc/mdstat") else {
        return vec![Line::note(
            ABOUT,
            "mdstat",
            "there is no /proc/mdstat: md is not loaded, or this is not a running system",
        )];
    };
    let active: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_once(" : "))
        .filter(|(name, _)| name.starts_with("md"))
        .map(|(name, _)| name)
        .collect();
    match active.is_empty() {
        true => vec![Line::fine(ABOUT, "mdstat", "no array runs")],
        false => active
            .into_iter()
            .map(|name| {
                Line::problem(
                    ABOUT,
                    name,
                    "runs now; a resync may be writing to its members",
                    format!("mdadm --stop /dev/{name}, unless this system lives on it"),
                )
            })
            .collect(),
    }
}

/// A udev rule that holds: not hidden by an empty file or a link to /dev/null.
fn rule(tree: &Tree, is_it: impl Fn(&str, &str) -> bool) -> Option<String> {
    let mut hidden: Vec<String> = Vec::new();
    for folder in RULES {
        let names = tree.names(folder).into_iter();
        for name in names.filter(|n| n.ends_with(".rules")) {
            let path = format!("{folder}/{name}");
            let text = tree.text(&path).unwrap_or_default();
            if is_it(&name, &text) && !text.trim().is_empty() && !hidden.contains(&name) {
                return Some(path);
            }
            hidden.push(name);
        }
    }
    None
}

/// Whether a rule has mdadm put members together: each version of each distribution calls its file something else.
/// `mdadm -If` only takes a member away that is gone.
fn assembles(text: &str) -> bool {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter(|l| !l.trim_start().starts_with('#'));
    let words = |line: &str| -> Vec<String> {
        let words = line.split(|c: char| c.is_whitespace() || "\"',=".contains(c));
        words.map(str::to_owned).collect()
    };
    let puts = |word: &String| match word.strip_prefix("--") {
        Some(long) => matches!(long, "incremental" | "assemble"),
        None => {
            let takes_away = word.contains('f');
            word.starts_with("-A") || word.starts_with("-I") && !takes_away
        }
    };
    let is_mdadm = |word: &String| word == "mdadm" || word.ends_with("/mdadm");
    lines.map(words).any(|line| {
        let mut after = line.iter().skip_while(|w| !is_mdadm(w));
        after.any(puts) && !line.iter().any(|w| w == "--fail")
    })
}

fn assembly(tree: &Tree) -> Line {
    let mut texts: Vec<String> = ["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"]
        .iter()
        .filter_map(|p| tree.text(p))
        .collect();
    for folder in ["/etc/mdadm.conf.d", "/etc/mdadm/mdadm.conf.d"] {
        let names = tree
            .names(folder)
            .into_iter()
            .filter(|n| n.ends_with(".conf"));
        texts.extend(names.filter_map(|n| tree.text(&format!("{folder}/{n}"))));
    }
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_lowercase)
            .collect::<Vec<_>>()
    };
    let all: Vec<Vec<String>> = texts.iter().flat_map(|t| t.lines()).map(words).collect();
    let off = all
        .iter()
        .any(|w| matches!(w.as_slice(), [auto, first, ..] if auto == "auto" && first == "-all"));
    let named = all
        .iter()
        .filter(|w| w.first().is_some_and(|f| f == "array"))
        .count();
    // The second calls a script.
    let rule = rule(tree, |name, text| {
        assembles(text) || name.contains("md-auto-readd")
    });
    match (rule, off, named) {
        (None, ..) => Line::fine(ABOUT, "md assembly", "no udev rule assembles arrays"),
        (Some(_), true, 0) => Line::fine(ABOUT, "md assembly", "switched off (AUTO -all)"),
        (Some(rule), true, n) => Line::problem(
            ABOUT,
            "md assembly",
            format!(
                "AUTO -all, but {n} ARRAY lines name arrays that {rule} assembles all the same"
            ),
            "take the ARRAY lines out of mdadm.conf",
        ),
        (Some(rule), false, _) => Line::problem(
            ABOUT,
            "md assembly",
            format!("{rule} assembles arrays as soon as their disks appear"),
            "write the line AUTO -all into mdadm.conf (mkdir -p /etc/mdadm; both /etc/mdadm.conf and /etc/mdadm/mdadm.conf), before disks are plugged in",
        ),
    }
}

fn activation(tree: &Tree) -> Line {
    let text = ["/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf"]
        .iter()
        .filter_map(|p| tree.text(p))
        .collect::<Vec<_>>()
        .join("\n");
    let squeezed = |line: &str| {
        line.chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
    };
    let off = text
        .lines()
        .map(squeezed)
        .any(|l| l == "event_activation=0" || l == "auto_activation_volume_list=[]");
    // Most call it 69-dm-lvm.rules, Debian 69-lvm.rules; 11-dm-lvm.rules and 56-lvm.rules only name volumes.
    let rule = rule(tree, |n, _| {
        n.starts_with("69-") && (n.ends_with("-lvm.rules") || n.contains("-lvm-"))
    });
    match (rule, off) {
        (None, _) => Line::fine(
            ABOUT,
            "LVM activation",
            "no udev rule activates volume groups",
        ),
        (Some(_), true) => Line::fine(ABOUT, "LVM activation", "switched off in lvm.conf"),
        (Some(rule), false) => Line::problem(
            ABOUT,
            "LVM activation",
            format!("{rule} activates volume groups as soon as they are whole"),
            "set event_activation=0 in the section global of /etc/lvm/lvm.conf",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use std::fs;

    fn level(files: &[(&str, &str)], name: &str) -> Level {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let lines = lines(&Tree::new(folder.path()).unwrap());
        lines.iter().find(|l| l.name == name).unwrap().level
    }

    /// A rescue system that assembles a stale half by itself starts a resync over the good one.
    #[test]
    fn assembly_is_known_before_disks_are_plugged_in() {
        const RULE: (&str, &str) = (
            "usr/lib/udev/rules.d/64-md-raid-assembly.rules",
            "# assembles\nACTION==\"remove\", RUN+=\"/usr/sbin/mdadm -If $name\"\n\
             IMPORT{program}=\"/usr/sbin/mdadm --incremental --export $devnode --offroot $env{DEVLINKS}\"\n",
        );
        let of = |files: &[(&str, &str)]| level(files, "md assembly");
        assert_eq!(of(&[]), Level::Fine);
        assert_eq!(of(&[RULE]), Level::Problem);
        assert_eq!(
            of(&[
                RULE,
                ("etc/mdadm/mdadm.conf", "# AUTO -all\nHOMEHOST <system>\n")
            ]),
            Level::Problem
        );
        assert_eq!(
            of(&[RULE, ("etc/mdadm/mdadm.conf", "auto  -all\n")]),
            Level::Fine
        );
        assert_eq!(
            of(&[
                RULE,
                ("etc/mdadm.conf", "AUTO -all\nARRAY /dev/md0 UUID=1\n")
            ]),
            Level::Problem
        );
        assert_eq!(
            of(&[RULE, ("etc/mdadm.conf", "AUTO +1.x -all\n")]),
            Level::Problem
        );
        assert_eq!(
            of(&[RULE, ("etc/udev/rules.d/64-md-raid-assembly.rules", "")]),
            Level::Fine
        );
        let mdstat = "Personalities : [raid1]\nmd127 : active raid1 sda1[0]\n      10 blocks\nunused devices: <none>\n";
        assert_eq!(level(&[("proc/mdstat", mdstat)], "md127"), Level::Problem);
        assert_eq!(
            level(
                &[("proc/mdstat", "Personalities : \nunused devices: <none>\n")],
                "mdstat"
            ),
            Level::Fine
        );
    }

    /// What RHEL 6, Ubuntu's older releases and dracut call it; a rule that only looks, or takes away, assembles nothing.
    #[test]
    fn rules_are_known_by_what_they_do() {
        let of = |name: &str, text: &str| {
            let path = format!("lib/udev/rules.d/{name}");
            level(&[(path.as_str(), text)], "md assembly")
        };
        for (name, text) in [
            (
                "65-md-incremental.rules",
                "ACTION==\"add\", RUN+=\"/sbin/mdadm -I $env{DEVNAME}\"\n",
            ),
            (
                "64-md-raid.rules",
                "RUN+=\"/sbin/mdadm --incremental $env{DEVNAME}\"\n",
            ),
            (
                "85-mdadm.rules",
                "RUN+=\"watershed -i udev-mdadm /sbin/mdadm -As\"\n",
            ),
            (
                "65-md.rules",
                "ACTION==\"add\", \\\n  RUN+=\"/sbin/mdadm \\\n -IRs\"\n",
            ),
        ] {
            assert_eq!(of(name, text), Level::Problem, "{name}");
        }
        for (name, text) in [
            (
                "63-md-raid-arrays.rules",
                "IMPORT{program}=\"/sbin/mdadm --detail --export $devnode\"\n",
            ),
            (
                "64-md-gone.rules",
                "ACTION==\"remove\", RUN+=\"/sbin/mdadm -If $name --path x\"\n",
            ),
            (
                "64-md-gone.rules",
                "RUN+=\"/sbin/mdadm --incremental --fail $name\"\n",
            ),
            (
                "65-md-incremental.rules",
                "# RUN+=\"/sbin/mdadm -I $name\"\n",
            ),
            ("65-md-incremental.txt", "RUN+=\"/sbin/mdadm -I $name\"\n"),
        ] {
            assert_eq!(of(name, text), Level::Fine, "{name}");
        }
    }

    /// The same for volume groups.
    #[test]
    fn activation() {
        const RULE: (&str, &str) = ("lib/udev/rules.d/69-dm-lvm.rules", "SUBSYSTEM");
        let of = |files: &[(&str, &str)]| level(files, "LVM activation");
        assert_eq!(of(&[RULE]), Level::Problem);
        let named = |path| of(&[(path, "SUBSYSTEM")]);
        assert_eq!(named("lib/udev/rules.d/69-lvm.rules"), Level::Problem);
        assert_eq!(named("lib/udev/rules.d/69-lvm-metad.rules"), Level::Problem);
        assert_eq!(named("lib/udev/rules.d/56-lvm.rules"), Level::Fine);
        assert_eq!(
            of(&[
                RULE,
                ("etc/lvm/lvm.conf", "global {\n\tevent_activation = 0\n}\n")
            ]),
            Level::Fine
        );
        assert_eq!(
            of(&[RULE, ("etc/lvm/lvm.conf", "\t# event_activation = 0\n")]),
            Level::Problem
        );
        assert_eq!(
            of(&[("lib/udev/rules.d/11-dm-lvm.rules", "x")]),
            Level::Fine
        );
    }
}
