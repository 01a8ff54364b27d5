//! What changed between two states of a volume group, volume by volume.

use super::metadata::{LogicalVolume, PhysicalVolume, VolumeGroup};
use super::segment::Segment;
use crate::units::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Change {
    /// The group has another name.
    Group {
        /// Its name before.
        from: String,
        /// Its name after.
        to: String,
    },
    /// It is only in the second.
    Created {
        /// What it is.
        what: What,
        /// Its name.
        name: String,
        /// Its size.
        size: Bytes,
    },
    /// It is only in the first.
    Removed {
        /// What it is.
        what: What,
        /// Its name.
        name: String,
        /// Its size.
        size: Bytes,
    },
    /// The same volume, by its id, under another name.
    Renamed {
        /// What it is.
        what: What,
        /// Its name before.
        from: String,
        /// Its name after.
        to: String,
    },
    /// Another size.
    Resized {
        /// What it is.
        what: What,
        /// Its name after.
        name: String,
        /// Its size before.
        from: Bytes,
        /// Its size after.
        to: Bytes,
    },
    /// It lies elsewhere, or in another way.
    Moved {
        /// Its name after.
        name: String,
        /// Where it lay.
        from: String,
        /// Where it lies.
        to: String,
    },
    /// Its status, flags or tags.
    Marked {
        /// What it is.
        what: What,
        /// Its name after.
        name: String,
        /// Before.
        from: String,
        /// After.
        to: String,
    },
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A physical volume.
    Pv,
    /// A logical volume.
    Lv,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Pv => "PV",
            What::Lv => "LV",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Group { from, to } => write!(f, "VG {from} renamed to {to}"),
            Change::Created { what, name, size } => write!(f, "{what} {name} created, {size}"),
            Change::Removed { what, name, size } => write!(f, "{what} {name} removed, {size}"),
            Change::Renamed { what, from, to } => write!(f, "{what} {from} renamed to {to}"),
            Change::Resized {
                what,
                name,
                from,
                to,
            } => write!(f, "{what} {name} resized from {from} to {to}"),
            Change::Moved { name, from, to } => write!(f, "LV {name} moved from {from} to {to}"),
            Change::Marked {
                what,
                name,
                from,
                to,
            } => write!(f, "{what} {name} changed from {from} to {to}"),
        }
    }
}

/// What changed from `before` to `after`. Volumes are the same where their id is.
pub fn diff(before: &VolumeGroup, after: &VolumeGroup) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.name != after.name {
        changes.push(Change::Group {
            from: before.name.clone(),
            to: after.name.clone(),
        });
    }
    let pv = |vg: &VolumeGroup, pv: &PhysicalVolume| Seen {
        name: pv.id.clone(),
        size: vg.extents(pv.pe_count),
        place: Vec::new(),
        marks: marks(&[&pv.status, &pv.flags, &pv.tags]),
    };
    let lv = |vg: &VolumeGroup, lv: &LogicalVolume| Seen {
        name: lv.name.clone(),
        size: vg.size(lv),
        place: place(vg, lv),
        marks: marks(&[&lv.status, &lv.flags, &lv.tags]),
    };
    let pvs = |vg: &VolumeGroup| vg.pvs.iter().map(|p| (p.id.clone(), pv(vg, p))).collect();
    let lvs = |vg: &VolumeGroup| vg.lvs.iter().map(|l| (l.id.clone(), lv(vg, l))).collect();
    compare(What::Pv, &pvs(before), &pvs(after), &mut changes);
    compare(What::Lv, &lvs(before), &lvs(after), &mut changes);
    changes
}

/// A volume, as two states of it are compared.
struct Seen {
    name: String,
    size: Bytes,
    /// Its segments, in order.
    place: Vec<String>,
    marks: String,
}

fn compare(
    what: What,
    before: &BTreeMap<String, Seen>,
    after: &BTreeMap<String, Seen>,
    changes: &mut Vec<Change>,
) {
    for old in before
        .iter()
        .filter(|(id, _)| !after.contains_key(*id))
        .map(|(_, v)| v)
    {
        changes.push(Change::Removed {
            what,
            name: old.name.clone(),
            size: old.size,
        });
    }
    for (id, new) in after {
        let name = new.name.clone();
        let Some(old) = before.get(id) else {
            changes.push(Change::Created {
                what,
                name,
                size: new.size,
            });
            continue;
        };
        if old.name != new.name {
            changes.push(Change::Renamed {
                what,
                from: old.name.clone(),
                to: name.clone(),
            });
        }
        if old.size != new.size {
            changes.push(Change::Resized {
                what,
                name: name.clone(),
                from: old.size,
                to: new.size,
            });
        }
        // A volume that grew lies where it lay, and in one more place.
        if !new.place.starts_with(&old.place) && !old.place.starts_with(&new.place) {
            changes.push(Change::Moved {
                name: name.clone(),
                from: old.place.join("; "),
                to: new.place.join("; "),
            });
        }
        if old.marks != new.marks {
            changes.push(Change::Marked {
                what,
                name,
                from: old.marks.clone(),
                to: new.marks.clone(),
            });
        }
    }
}

fn marks(lists: &[&Vec<String>]) -> String {
    let all: Vec<&str> = lists
        .iter()
        .flat_map(|l| l.iter().map(String::as_str))
        .collect();
    match all.as_slice() {
        [] => "nothing".to_owned(),
        _ => all.join(" "),
    }
}

/// Where a volume lies: of each segment its type and areas. Physical volumes by their ids' fronts, since their names
/// in a text are not kept when one is removed.
fn place(vg: &VolumeGroup, lv: &LogicalVolume) -> Vec<String> {
    let on = |name: &str| match vg.pv(name) {
        Some(pv) => pv.id.split('-').next().unwrap_or_default().to_owned(),
        None => name.to_owned(),
    };
    let segment = |segment: &Segment| {
        let areas = segment.areas.iter();
        let areas = areas.map(|a| format!("{}:{}", on(&a.on), a.extent));
        let uses = segment.uses.iter().map(|u| u.lv.clone());
        let parts: Vec<String> = areas.chain(uses).collect();
        format!("{} {}", segment.kind, parts.join(","))
    };
    lv.segments.iter().map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    fn group(lvs: &[(&str, char, u64, u64)]) -> VolumeGroup {
        let id = |c: char| {
            format!(
                "{0}{0}-{1}-{1}-{1}-{1}-{1}-{0}{0}",
                c.to_string().repeat(3),
                c.to_string().repeat(4)
            )
        };
        let lv = |(name, c, count, at): &(&str, char, u64, u64)| {
            format!(
                "{name} {{ id = \"{}\" segment1 {{ start_extent = 0 extent_count = {count} type = \"striped\"\n\
                 stripes = [\"pv0\", {at}] }} }}\n",
                id(*c)
            )
        };
        let lvs: String = lvs.iter().map(lv).collect();
        let text = format!(
            "vg {{ id = \"{0}\" seqno = 1 extent_size = 8192 physical_volumes {{ pv0 {{ id = \"{0}\" pe_count = 90 }} }}\n\
             logical_volumes {{ {lvs} }} }}",
            id('v')
        );
        VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap()
    }

    /// A removal taken for a rename, or growth for a move, would send a person after the wrong text.
    #[test]
    fn each_change_is_told_once() {
        let before = group(&[
            ("a", 'a', 2, 0),
            ("b", 'b', 2, 2),
            ("c", 'c', 2, 4),
            ("d", 'd', 2, 6),
        ]);
        let after = group(&[
            ("b2", 'b', 2, 2),
            ("c", 'c', 5, 4),
            ("d", 'd', 2, 60),
            ("a", 'e', 2, 0),
        ]);
        let told: Vec<String> = diff(&before, &after)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "LV a removed, 8 MiB",
                "LV b renamed to b2",
                "LV c resized from 8 MiB to 20 MiB",
                "LV d moved from striped vvvvvv:6 to striped vvvvvv:60",
                "LV a created, 8 MiB",
            ]
        );
        assert!(diff(&after, &after).is_empty());
    }
}
