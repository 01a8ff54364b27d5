//! What a later writer left on the members, and which volumes it hit.
//!
//! Two mirrors that differ do not say which of them is right. Two things do.
//! LVM structures of another volume group in the differing extent were written
//! there by whoever made that group. And bytes that equal another disk's at
//! the same place, though it is no mirror of this one, came by a resync of an
//! array put together in a wrong order.

use super::Survey;
use super::arrays::ArrayFound;
use super::newer;
use crate::image::{Source, read_vec};
use crate::lvm::candidates::Candidate;
use crate::lvm::carve::Form;
use crate::scan::{Finding, What};
use crate::smart::half::{self, Half, Health};
use crate::smart::rank::Disk;
use crate::units::{Bytes, Extent, merge};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An LVM structure taints what differs this close to it: pvcreate clears whole KiB around its label.
const NEAR: Bytes = Bytes::kib(8);

/// Differing extents longer than this are not compared with other disks.
const LONGEST: usize = 1 << 20;

/// A part of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LvExtent {
    /// The volume.
    pub lv: String,
    /// The part.
    #[serde(flatten)]
    pub extent: Extent,
}

/// Bytes of one member that a later writer put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overwritten {
    /// The member.
    pub member: String,
    /// Where on it.
    #[serde(flatten)]
    pub extent: Extent,
    /// By whom, in words.
    pub by: String,
    /// The volumes hit.
    pub lvs: Vec<LvExtent>,
}

/// What differs between mirrors, or was overwritten on all of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Damage {
    /// What a later writer put on members.
    pub overwritten: Vec<Overwritten>,
    /// Extents in which mirrors differ and nothing says which is right: the members, and where.
    pub unexplained: Vec<(Vec<String>, Vec<Extent>)>,
    /// The members that are worked on.
    pub half: Vec<String>,
}

/// Looks for a later writer's traces on the members of every array under the chosen text's volumes.
pub fn find(
    survey: &Survey,
    arrays: &[ArrayFound],
    chosen: &Candidate,
    placed: &BTreeMap<String, String>,
    texts: &[Candidate],
) -> Damage {
    let mut damage = Damage::default();
    for array in arrays
        .iter()
        .filter(|a| placed.values().any(|v| *v == a.name))
    {
        let foreign = Foreign::new(survey, array, chosen, texts);
        let names = || array.members.iter().map(|m| m.source.name());
        let marks: BTreeMap<&str, Vec<(Extent, String)>> = names()
            .map(|name| (name, foreign.on_member(survey, name)))
            .collect();
        for mirror in &array.mirrors {
            let first = mirror.members.first().map_or("", String::as_str);
            let (mut unexplained, base) = (Vec::new(), array.data_offset_of(first));
            for differs in mirror.comparison.differing_extents.iter().map(|d| d.extent) {
                let extent = Extent::new(base + differs.offset, differs.length);
                let blamed = blame(array, &mirror.members, extent, &marks);
                // All blamed, or none: the difference says nothing of which is right.
                if blamed.is_empty() || blamed.len() == mirror.members.len() {
                    unexplained.push(differs);
                    continue;
                }
                for (member, by) in blamed {
                    damage.add(array, chosen, placed, member, extent, by);
                }
            }
            if !unexplained.is_empty() {
                damage
                    .unexplained
                    .push((mirror.members.clone(), unexplained));
            }
        }
        for (member, marks) in &marks {
            for (extent, by) in marks {
                damage.add(
                    array,
                    chosen,
                    placed,
                    (*member).to_owned(),
                    *extent,
                    by.clone(),
                );
            }
        }
    }
    damage.overwritten = joined(damage.overwritten);
    damage
}

/// Sectors from the data's start in which a label of a physical volume on the whole array can lie, as bytes.
const LABEL_ROOM: Bytes = Bytes(4 * 512);

/// What a later writer made on the whole array: a physical volume that starts where the members' data does.
///
/// A guest with LVM of its own has labels and texts too, inside a volume; they start elsewhere and are no damage.
#[derive(Debug, Default)]
struct Foreign {
    /// Ids of physical volumes whose label lies at a member's front, and that are not the chosen text's.
    pvs: BTreeSet<String>,
    /// Ids of younger volume groups on those, with their names.
    groups: BTreeMap<String, String>,
}

/// The findings on a member, with their extents from its start.
fn findings_on<'a>(survey: &'a Survey, member: &str) -> Vec<(Extent, &'a Finding)> {
    let Some(slice) = survey.slices.iter().find(|s| s.name == member) else {
        return Vec::new();
    };
    let findings = survey.scans.get(slice.input).map(|s| s.findings.as_slice());
    let inside = |finding: &'a Finding| {
        let extent = finding.extent.relative_to(slice.extent.offset)?;
        (extent.end() <= slice.extent.length).then_some((extent, finding))
    };
    findings
        .unwrap_or_default()
        .iter()
        .filter_map(inside)
        .collect()
}

impl Foreign {
    fn new(
        survey: &Survey,
        array: &ArrayFound,
        chosen: &Candidate,
        texts: &[Candidate],
    ) -> Foreign {
        let own = &chosen.carved.vg;
        let mut foreign = Foreign::default();
        for member in &array.members {
            for (extent, finding) in findings_on(survey, member.source.name()) {
                let front = Extent::new(array.data_offset_of(member.source.name()), LABEL_ROOM);
                if let What::LvmLabel(label) = &finding.what
                    && front.overlap(extent).is_some()
                    && !own.pvs.iter().any(|pv| pv.id == label.pv_uuid)
                {
                    foreign.pvs.insert(label.pv_uuid.clone());
                }
            }
        }
        // Only a group that is younger than the chosen text can have written over it.
        let since = chosen.carved.about.creation_time;
        for text in texts
            .iter()
            .filter(|t| t.carved.about.creation_time > since)
        {
            let vg = &text.carved.vg;
            if vg.id != own.id && vg.pvs.iter().any(|pv| foreign.pvs.contains(&pv.id)) {
                foreign.groups.insert(vg.id.clone(), vg.name.clone());
            }
        }
        foreign
    }

    /// The extents of a member that hold such structures, with what they are.
    fn on_member(&self, survey: &Survey, member: &str) -> Vec<(Extent, String)> {
        let marks = findings_on(survey, member).into_iter();
        marks
            .filter_map(|(extent, finding)| Some((extent, self.writer(&finding.what)?)))
            .collect()
    }

    fn writer(&self, what: &What) -> Option<String> {
        match what {
            What::LvmLabel(label) if self.pvs.contains(&label.pv_uuid) => Some(format!(
                "LVM label of another physical volume ({})",
                label.pv_uuid
            )),
            What::LvmText {
                vg_id,
                form: Form::Ring,
                ..
            } => {
                let name = self.groups.get(vg_id)?;
                Some(format!("LVM metadata of another group {name} ({vg_id})"))
            }
            _ => None,
        }
    }
}

/// The members of a mirror group that show a later writer at an extent, with what shows it.
fn blame(
    array: &ArrayFound,
    group: &[String],
    extent: Extent,
    marks: &BTreeMap<&str, Vec<(Extent, String)>>,
) -> Vec<(String, String)> {
    let around = Extent::new(extent.offset - NEAR, extent.length + NEAR + NEAR);
    let mut blamed = Vec::new();
    for name in group {
        let mark = marks.get(name.as_str()).into_iter().flatten();
        let near = mark
            .into_iter()
            .find(|(at, _)| at.overlap(around).is_some());
        if let Some((_, by)) = near {
            blamed.push((name.clone(), by.clone()));
        } else if let Some(from) = copied_from(array, group, name, extent) {
            blamed.push((
                name.clone(),
                format!("a resync from {from}, in a wrong order"),
            ));
        }
    }
    blamed
}

/// A member outside the group whose bytes at the same place are the same, and are not constant.
fn copied_from(array: &ArrayFound, group: &[String], name: &str, extent: Extent) -> Option<String> {
    let read = |member: &dyn Source| {
        let bytes = read_vec(member, extent, LONGEST).ok()?;
        let first = *bytes.first()?;
        (bytes.iter().any(|b| *b != first)).then_some(bytes)
    };
    let own = read(&*array.member(name)?.source)?;
    array
        .members
        .iter()
        .filter(|m| !group.iter().any(|g| g == m.source.name()))
        .find(|m| read(&*m.source).as_ref() == Some(&own))
        .map(|m| m.source.name().to_owned())
}

/// Entries of one member and writer that touch, made one.
fn joined(mut entries: Vec<Overwritten>) -> Vec<Overwritten> {
    entries.sort_by(|a, b| (&a.member, a.extent, &a.by).cmp(&(&b.member, b.extent, &b.by)));
    let mut out: Vec<Overwritten> = Vec::new();
    for entry in entries {
        match out.last_mut() {
            Some(last)
                if last.member == entry.member && entry.extent.offset <= last.extent.end() =>
            {
                let both = merge(vec![last.extent, entry.extent]);
                last.extent = both.first().copied().unwrap_or(last.extent);
                last.lvs.extend(entry.lvs);
            }
            _ => out.push(entry),
        }
    }
    for entry in &mut out {
        let mut by_lv: BTreeMap<String, Vec<Extent>> = BTreeMap::new();
        for hit in entry.lvs.drain(..) {
            by_lv.entry(hit.lv).or_default().push(hit.extent);
        }
        for (lv, extents) in by_lv {
            entry
                .lvs
                .extend(merge(extents).into_iter().map(|extent| LvExtent {
                    lv: lv.clone(),
                    extent,
                }));
        }
    }
    out
}

impl Damage {
    fn add(
        &mut self,
        array: &ArrayFound,
        chosen: &Candidate,
        placed: &BTreeMap<String, String>,
        member: String,
        extent: Extent,
        by: String,
    ) {
        let vg = &chosen.carved.vg;
        let mut lvs = Vec::new();
        for lv in vg.visible() {
            let mut start = Bytes::ZERO;
            for (pv, on_pv) in vg.linear_extents(lv).unwrap_or_default() {
                if placed.get(&pv.name) == Some(&array.name) {
                    for hit in array.array_extents(&member, extent) {
                        lvs.extend(hit.overlap(on_pv).map(|part| LvExtent {
                            lv: lv.name.clone(),
                            extent: Extent::new(start + (part.offset - on_pv.offset), part.length),
                        }));
                    }
                }
                start = start + on_pv.length;
            }
        }
        self.overwritten.push(Overwritten {
            member,
            extent,
            by,
            lvs,
        });
    }

    /// What was overwritten of a volume, on the members that are worked on.
    pub fn of_lv(&self, lv: &str) -> Vec<Extent> {
        let worked_on = self
            .overwritten
            .iter()
            .filter(|o| self.half.contains(&o.member));
        let hits = worked_on.flat_map(|o| &o.lvs).filter(|hit| hit.lv == lv);
        merge(hits.map(|hit| hit.extent).collect())
    }

    /// Bytes of volumes that were overwritten on a member.
    pub fn on_member(&self, member: &str) -> Bytes {
        let hits = self.overwritten.iter().filter(|o| o.member == member);
        Bytes(
            hits.flat_map(|o| &o.lvs)
                .map(|hit| hit.extent.length.0)
                .sum(),
        )
    }

    /// Members that hold every chunk together: by SMART, unless volumes were overwritten on one and not on another that
    /// does not fail.
    pub fn choose_half(&mut self, array: &ArrayFound, disks: &BTreeMap<String, &Disk>) -> Half {
        let lost = |member: &str| self.on_member(member).0;
        let health = Health { disks, lost: &lost };
        let mut half = match array.geometry() {
            Some(geometry) => half::choose_array(&geometry, &array.guess.members, health),
            None => half::choose(&array.groups(), health),
        };
        for choice in &mut half.pairs {
            let members = choice.members.iter().filter_map(|name| {
                let source = array.member(name)?.source.clone();
                Some((source, array.data_offset_of(name)))
            });
            choice.newer = newer::newer(&members.collect::<Vec<_>>());
        }
        self.half.extend(half.half.iter().cloned());
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::label::Label;
    use crate::parse::Checksum;

    fn label(id: &str) -> What {
        What::LvmLabel(Label {
            at: Bytes(512),
            sector: 1,
            pv_uuid: id.to_owned(),
            device_size: Bytes::ZERO,
            data_areas: Vec::new(),
            metadata_areas: Vec::new(),
            checksum: Checksum::Ok,
        })
    }

    fn text(vg_id: &str, form: Form) -> What {
        What::LvmText {
            vg: "vg".to_owned(),
            vg_id: vg_id.to_owned(),
            seqno: 1,
            form,
            complete: true,
            sha256: String::new(),
        }
    }

    /// A guest's own LVM, on a disk inside a volume, is what was there before: called damage, it would turn a person
    /// away from a whole volume.
    #[test]
    fn only_what_lies_on_the_whole_array_is_foreign() {
        let foreign = Foreign {
            pvs: BTreeSet::from(["installer-pv".to_owned()]),
            groups: BTreeMap::from([("installer-vg".to_owned(), "guests".to_owned())]),
        };
        assert!(foreign.writer(&label("installer-pv")).is_some());
        assert!(foreign.writer(&text("installer-vg", Form::Ring)).is_some());
        assert!(foreign.writer(&label("guest-pv")).is_none());
        assert!(foreign.writer(&text("guest-vg", Form::Ring)).is_none());
        // A backup file of the installer's group in a root file system is a file, not damage.
        assert!(foreign.writer(&text("installer-vg", Form::File)).is_none());
    }

    /// Touching extents of one writer are one place; two volumes hit there stay two.
    #[test]
    fn places_are_joined() {
        let hit = |lv: &str, offset| LvExtent {
            lv: lv.to_owned(),
            extent: Extent::new(Bytes(offset), Bytes(512)),
        };
        let entry = |offset, lvs| Overwritten {
            member: "sdi@2".to_owned(),
            extent: Extent::new(Bytes(offset), Bytes(512)),
            by: "x".to_owned(),
            lvs,
        };
        let entries = vec![
            entry(1024, vec![hit("home", 512), hit("var", 0)]),
            entry(512, vec![hit("home", 0)]),
            entry(4096, vec![]),
        ];
        let joined = joined(entries);
        assert_eq!(joined.len(), 2);
        assert_eq!(joined[0].extent, Extent::new(Bytes(512), Bytes(1024)));
        let home = LvExtent {
            lv: "home".to_owned(),
            extent: Extent::new(Bytes(0), Bytes(1024)),
        };
        assert_eq!(joined[0].lvs, [home, hit("var", 0)]);
    }
}
