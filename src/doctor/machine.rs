//! Memory for overlays and images, and whether Landlock can hold this program back.

use super::Line;
use super::tree::Tree;
use crate::units::Bytes;

const ABOUT: &str = "machine";

/// Below it overlays in memory fill it: a fsck of a large file system writes that much.
const ENOUGH: Bytes = Bytes::mib(1024);

/// The lines on the machine.
pub fn lines(tree: &Tree) -> Vec<Line> {
    vec![memory(tree), landlock(tree)]
}

fn memory(tree: &Tree) -> Line {
    let text = tree.text("/proc/meminfo").unwrap_or_default();
    let of = |key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(Bytes(kib.saturating_mul(1024)))
    };
    match of("MemAvailable:").or_else(|| of("MemFree:")) {
        None => Line::note(ABOUT, "memory", "cannot be told: there is no /proc/meminfo"),
        Some(free) if free < ENOUGH => Line::problem(
            ABOUT,
            "memory",
            format!("{free} free: overlays below /run would fill it"),
            "set work= in settings.sh to a folder on a disk of its own",
        ),
        Some(free) => Line::fine(
            ABOUT,
            "memory",
            format!("{free} free; an image that fits may be kept in it"),
        ),
    }
}

/// Landlock, as it was tried on this machine.
pub(super) fn tried(why: Option<&str>) -> Line {
    match why {
        None => Line::fine(ABOUT, "Landlock", "enforced"),
        Some(why) => Line::note(
            ABOUT,
            "Landlock",
            format!("not enforced ({why}): evidence is opened read only all the same"),
        ),
    }
}

fn landlock(tree: &Tree) -> Line {
    match tree.text("/sys/kernel/security/lsm") {
        Some(text) if text.trim().split(',').any(|l| l == "landlock") => Line::fine(
            ABOUT,
            "Landlock",
            "active: the kernel enforces that evidence is only read",
        ),
        Some(_) => Line::note(
            ABOUT,
            "Landlock",
            "not active: evidence is opened read only, and nothing but this program enforces it",
        ),
        None => Line::note(
            ABOUT,
            "Landlock",
            "cannot be told: /sys/kernel/security is not mounted",
        ),
    }
}
