//! Which volume is which physical volume of a group, and physical volumes whose partition is no longer in any table.
//!
//! A label with the right UUID settles it. Without one, the data is asked:
//! what logical volumes begin with stands where the text says on one volume
//! and not on the others, and each image of a raid volume has a superblock
//! with its number. Stripes without their label have neither; where few
//! volumes are left for few physical volumes, every way is tried, and the one
//! through which the file systems check best is taken, if it is the only one.

use super::arrays::ArrayFound;
use super::{Survey, checks};
use crate::fs::probe::probe;
use crate::image::{Pieces, SharedSource, Source};
use crate::inputs::Slice;
use crate::layout::Stack;
use crate::lvm::dmraid::ImageState;
use crate::lvm::label::Label;
use crate::lvm::metadata::{PhysicalVolume, VolumeGroup};
use crate::lvm::starts;
use crate::scan::What;
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Physical volumes without evidence of their own, and volumes left for them, of which every way is tried.
const MOST_UNKNOWN: usize = 3;
const MOST_LEFT: usize = 4;

/// Starts outside all partitions that are looked at.
const MOST_HIDDEN: usize = 64;

/// A label lies in one of the first sectors.
const LABEL_SECTORS: u64 = 4;

/// The volume that each physical volume of a group is.
pub fn place(vg: &VolumeGroup, volumes: &[SharedSource]) -> BTreeMap<String, String> {
    let mut placed = by_label(vg, volumes);
    by_data(vg, volumes, &mut placed);
    by_trial(vg, volumes, &mut placed);
    placed
        .into_iter()
        .filter_map(|(pv, index)| Some((pv, volumes.get(index)?.name().to_owned())))
        .collect()
}

type Placed = BTreeMap<String, usize>;

/// Volumes whose label names a physical volume of the group. Members of a mirror show the array's label too, and so does
/// the start of what is wrongly taken for an array: the device's size, which the label holds, tells them apart.
fn by_label(vg: &VolumeGroup, volumes: &[SharedSource]) -> Placed {
    let mut found = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let label = |sector| Label::read(&**volume, Bytes(sector * SECTOR)).ok();
        let Some(label) = (0..LABEL_SECTORS).find_map(label) else {
            continue;
        };
        if let Some(pv) = vg.pvs.iter().find(|pv| pv.id == label.pv_uuid) {
            found.push((volume.len() != label.device_size, index, pv));
        }
    }
    found.sort_by_key(|(other_size, index, _)| (*other_size, *index));
    let mut placed = Placed::new();
    for (_, index, pv) in found {
        placed.entry(pv.name.clone()).or_insert(index);
    }
    placed
}

/// Of the rest, the pairs with most evidence first; no volume is two physical volumes. Where two pairs have as much
/// evidence, neither is taken.
fn by_data(vg: &VolumeGroup, volumes: &[SharedSource], placed: &mut Placed) {
    let mut scored = Vec::new();
    for pv in vg.pvs.iter().filter(|pv| !placed.contains_key(&pv.name)) {
        for (index, volume) in volumes.iter().enumerate() {
            let score = shown(vg, pv, &**volume, volume);
            if score > 0 {
                scored.push((score, pv, index));
            }
        }
    }
    // Worst first, so that the best are at the end.
    let rank = |(score, pv, index): &(usize, &PhysicalVolume, usize)| {
        let length = volumes.get(*index).map(|v| v.len()).unwrap_or_default();
        (is_size(pv, length), length >= needed(vg, pv), *score)
    };
    scored.sort_by_key(rank);
    while let Some(best) = scored.last().map(rank) {
        let first = scored.partition_point(|s| rank(s) < best);
        let equal = scored.split_off(first);
        for (_, pv, index) in &equal {
            // As much evidence for another pair with either of them is none for this one: it is left to trial.
            let rivals = equal
                .iter()
                .filter(|(_, p, i)| p.name == pv.name || i == index);
            let taken = placed.values().any(|i| i == index);
            if rivals.count() == 1 && !taken && !placed.contains_key(&pv.name) {
                placed.insert(pv.name.clone(), *index);
            }
        }
        scored.retain(|(_, pv, index)| {
            let taken = placed.values().any(|i| i == index);
            let tied = equal
                .iter()
                .any(|(_, p, i)| p.name == pv.name || i == index);
            !taken && !tied && !placed.contains_key(&pv.name)
        });
    }
}

/// Whether a volume has the size that the device had.
fn is_size(pv: &PhysicalVolume, length: Bytes) -> bool {
    pv.dev_size.map(Bytes::from) == Some(length)
}

/// Bytes that a physical volume's extents reach to.
fn needed(vg: &VolumeGroup, pv: &PhysicalVolume) -> Bytes {
    Bytes::from(pv.pe_start) + vg.extents(pv.pe_count)
}

/// How many beginnings, and superblocks of images, stand on a volume where they would if it were this physical volume.
fn shown(
    vg: &VolumeGroup,
    pv: &PhysicalVolume,
    volume: &dyn Source,
    shared: &SharedSource,
) -> usize {
    let begins = vg.visible().flat_map(|lv| {
        let size = vg.size(lv);
        starts::of_volume(vg, lv)
            .into_iter()
            .map(move |s| (s, size))
    });
    let begins = begins.filter(|(start, size)| {
        // What is striped has only its first stripe here: enough for what says its size itself.
        let slice = Extent::new(start.at, *size);
        start.pv == pv.name && {
            let slice = Pieces::slice(volume.name(), shared.clone(), slice);
            !probe(&slice).signatures.is_empty()
        }
    });
    let states = starts::of_image_states(vg);
    let states = states.iter().filter(|(start, position)| {
        let slice = Extent::new(start.at, Bytes(SECTOR));
        start.pv == pv.name && {
            let meta = Pieces::slice(volume.name(), shared.clone(), slice);
            ImageState::read(&meta).is_ok_and(|s| s.position == *position)
        }
    });
    begins.count() + states.count()
}

/// What has no evidence of its own: every way, by what the file systems say.
fn by_trial(vg: &VolumeGroup, volumes: &[SharedSource], placed: &mut Placed) {
    let unknown: Vec<&PhysicalVolume> = vg
        .pvs
        .iter()
        .filter(|pv| !placed.contains_key(&pv.name))
        .collect();
    // Only volumes of the right size: each way is a check of all file systems.
    let of_size = |i: &usize| {
        let length = volumes.get(*i).map(|v| v.len()).unwrap_or_default();
        unknown.iter().any(|pv| is_size(pv, length))
    };
    let left: Vec<usize> = (0..volumes.len())
        .filter(|i| !placed.values().any(|p| p == i))
        .filter(of_size)
        .collect();
    if unknown.is_empty() || unknown.len() > MOST_UNKNOWN || left.len() > MOST_LEFT {
        return;
    }
    let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
    for pv in &unknown {
        let fits = |i: &usize| volumes.get(*i).is_some_and(|v| v.len() >= needed(vg, pv));
        ways = ways
            .into_iter()
            .flat_map(|way| {
                let next: Vec<usize> = left.iter().copied().filter(|i| !way.contains(i)).collect();
                let next = next.into_iter().filter(fits).collect::<Vec<_>>();
                next.into_iter()
                    .map(move |i| [way.as_slice(), &[i]].concat())
            })
            .collect();
    }
    let with = |way: &[usize]| {
        let mut all = placed.clone();
        all.extend(
            unknown
                .iter()
                .map(|pv| pv.name.clone())
                .zip(way.iter().copied()),
        );
        all
    };
    let mut scored: Vec<(i128, Placed)> = ways
        .iter()
        .map(|way| (score(vg, volumes, &with(way)), with(way)))
        .collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let without = score(vg, volumes, placed);
    let next = scored.get(1).map_or(without, |s| s.0.max(without));
    if let Some((best, all)) = scored.into_iter().next()
        && best > next
    {
        *placed = all;
    }
}

/// How well the file systems in the group's volumes check: what is as it must be, less what is not.
fn score(vg: &VolumeGroup, volumes: &[SharedSource], placed: &Placed) -> i128 {
    let pvs = placed
        .iter()
        .filter_map(|(pv, index)| Some((pv.clone(), volumes.get(*index)?.clone())));
    let stack = Stack::new(BTreeMap::new(), vec![(vg.clone(), pvs.collect())]);
    let checks = checks::check(&stack, vg, &super::Damage::default());
    let reports = checks.iter().flat_map(|c| &c.file_systems);
    reports
        .map(|(_, r)| i128::from(r.passed()) - i128::from(r.failed()))
        .sum()
}

/// Physical volumes that start where no volume does: where a label or a metadata area's header says, or where the
/// file systems found in the pass want a volume of these groups to start.
pub fn hidden(survey: &Survey, arrays: &[ArrayFound], groups: &[&VolumeGroup]) -> Vec<Slice> {
    let mut starts: BTreeMap<(usize, Bytes), Option<Bytes>> = BTreeMap::new();
    for (index, (input, scan)) in survey.inputs.iter().zip(&survey.scans).enumerate() {
        // The layout file can name an extent of a whole image only.
        if input.offset != Bytes::ZERO || input.source.len() != input.image.len() {
            continue;
        }
        for finding in &scan.findings {
            let start = match &finding.what {
                What::LvmLabel(label) => label.pv_start().map(|s| (s, Some(label.device_size))),
                What::LvmMetadataArea(header) => header.pv_start().map(|s| (s, None)),
                _ => None,
            };
            if let Some((start, length)) = start {
                let known = starts.entry((index, start)).or_default();
                *known = known.or(length);
            }
        }
        for (start, length) in wanted(&scan.findings, groups) {
            starts.entry((index, start)).or_insert(Some(length));
        }
    }
    let inside = |slice: &Slice, index: usize, at: Bytes| {
        slice.input == index && slice.extent.offset <= at && at < slice.extent.end()
    };
    let known = |(index, at): (usize, Bytes), length: Option<Bytes>| {
        survey.slices.iter().any(|s| {
            let member = || {
                arrays
                    .iter()
                    .any(|a| a.guess.level.is_some() && a.has_member(&s.name))
            };
            (s.input == index
                && s.extent.offset == at
                && length.is_none_or(|l| l <= s.extent.length))
                || inside(s, index, at) && member()
        })
    };
    let new = starts
        .into_iter()
        .filter(|(place, length)| !known(*place, *length));
    new.take(MOST_HIDDEN)
        .filter_map(|((index, at), length)| {
            let input = survey.inputs.get(index)?;
            let rest = input.source.len() - at;
            let extent = Extent::new(at, length.unwrap_or(rest).min(rest));
            let name = format!("{}@{}+{}", input.name, extent.offset.0, extent.length.0);
            let source = Pieces::slice(name.clone(), input.source.clone(), extent);
            (!extent.is_empty()).then(|| Slice {
                name,
                input: index,
                extent,
                number: None,
                source: Arc::new(source),
            })
        })
        .collect()
}

/// Starts from which two volumes or more of a group have their file system where the text says.
fn wanted(findings: &[crate::scan::Finding], groups: &[&VolumeGroup]) -> Vec<(Bytes, Bytes)> {
    let fronts: BTreeSet<Bytes> = findings
        .iter()
        .filter_map(|f| match &f.what {
            What::ExtSuperblock(sb) if sb.group == 0 => {
                let inside = sb.superblock_at(0);
                f.extent.offset.0.checked_sub(inside.0).map(Bytes)
            }
            _ => None,
        })
        .collect();
    let mut wanted = Vec::new();
    for vg in groups {
        let mut votes: BTreeMap<(&str, Bytes), usize> = BTreeMap::new();
        for start in vg.visible().flat_map(|lv| starts::of_volume(vg, lv)) {
            for front in fronts.iter().filter(|f| **f >= start.at) {
                *votes.entry((start.pv, *front - start.at)).or_default() += 1;
            }
        }
        let enough = votes
            .into_iter()
            .filter(|((_, at), votes)| *votes > 1 && at.0.is_multiple_of(SECTOR));
        wanted.extend(enough.filter_map(|((pv, at), _)| {
            let pv = vg.pv(pv)?;
            Some((at, pv.dev_size.map_or_else(|| needed(vg, pv), Bytes::from)))
        }));
    }
    wanted
}
