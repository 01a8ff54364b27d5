//! One member given twice: a copy of it under another name looks like a mirror, and is none.
//!
//! Mirrors whose superblocks are wiped are equal too, so equal bytes alone
//! say nothing. Two with one superblock's id are one member; and where sums
//! tie a member to two others or more, none of these is its mirror.

use crate::md::guess::Member;
use crate::md::relations;
use crate::md::sample::Sample;

/// Members that are a copy of another one, each with the reason.
pub(super) fn certain(members: &[Member], sample: &Sample) -> Vec<(usize, String)> {
    let sums = relations::sums(sample, members.len());
    let id = |index: &usize| {
        members
            .get(*index)?
            .superblock
            .as_ref()?
            .device_uuid
            .clone()
    };
    let mut out = Vec::new();
    for group in relations::equal_groups(sample, members.len()) {
        let Some((first, others)) = group.split_first() else {
            continue;
        };
        let summed = group.iter().any(|m| sums.contains(m));
        for other in others {
            let same_id = id(first).is_some() && id(first) == id(other);
            let why = match (same_id, summed) {
                (true, _) => "their superblocks have one id",
                (_, true) => "sums tie them to other members, so they are no mirrors",
                _ => continue,
            };
            let (a, b) = (name(members, *first), name(members, *other));
            out.push((
                *other,
                format!(
                    "the same member twice: {a} and {b} hold the same bytes, and {why}; {a} is used"
                ),
            ));
        }
    }
    out
}

/// Members that may be a copy of another: among pairs one group of more holds the same bytes. Three copies of which one
/// is lost everywhere else would look so too.
pub(super) fn perhaps(members: &[Member], sample: &Sample) -> Vec<(usize, String)> {
    let mirrors = relations::mirror_groups(sample, members.len());
    let mut sizes: Vec<usize> = mirrors.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    let largest = sizes.pop().unwrap_or_default();
    let usual = sizes.last().copied().unwrap_or_default();
    if usual < 2 || largest <= usual {
        return Vec::new();
    }
    let mut out = Vec::new();
    for group in relations::equal_groups(sample, members.len()) {
        let names: Vec<&str> = group.iter().map(|m| name(members, *m)).collect();
        let names = names.join(" and ");
        for other in group.iter().skip(usual) {
            out.push((
                *other,
                format!(
                    "perhaps the same member twice: {names} hold the same bytes, where the others are groups of {usual}; {} \
                     is left out",
                    name(members, *other)
                ),
            ));
        }
    }
    out
}

fn name(members: &[Member], index: usize) -> &str {
    members.get(index).map_or("", |m| m.source.name())
}
