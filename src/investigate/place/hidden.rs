//! Physical volumes that start where no volume does: their partition is in no table any more, or they lie inside a volume
//! of another group.

use super::super::Survey;
use super::super::arrays::ArrayFound;
use super::nested::{Hosts, Nested, goes_on};
use crate::image::{Pieces, Source};
use crate::inputs::{Input, Slice};
use crate::lvm::metadata::VolumeGroup;
use crate::lvm::starts;
use crate::scan::{Finding, What};
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Starts outside all partitions that are looked at.
const MOST_HIDDEN: usize = 64;

/// What starts where no volume does.
#[derive(Default)]
pub struct Hidden {
    /// The physical volumes.
    pub slices: Vec<Slice>,
    /// Those of them that end where the volume around them goes on elsewhere.
    pub nested: Vec<Nested>,
}

/// How long something is that starts at a place, and the id of the physical volume that it is, where that is known.
#[derive(Clone, Debug, Default)]
struct Begin {
    length: Option<Bytes>,
    id: Option<String>,
}

/// Physical volumes that start where no volume does: where a label or a metadata area's header says, or where the
/// file systems found in the pass want a volume of these groups to start.
pub fn hidden(survey: &Survey, arrays: &[ArrayFound], groups: &[&VolumeGroup]) -> Hidden {
    let new = begins(survey, arrays, groups);
    if new.is_empty() {
        return Hidden::default();
    }
    let uncut: Vec<(Slice, Begin)> = new
        .into_iter()
        .filter_map(|((index, at), begin)| {
            let input = survey.inputs.get(index)?;
            let rest = input.source.len() - at;
            let extent = Extent::new(at, begin.length.unwrap_or(rest).min(rest));
            (!extent.is_empty()).then(|| (slice(input, index, extent), begin))
        })
        .collect();
    // Where a table is lost the volume around one is itself hidden.
    let found = uncut.iter().map(|(slice, _)| slice);
    let all: Vec<Slice> = survey.slices.iter().chain(found).cloned().collect();
    let hosts = Hosts::new(&all, arrays, groups);
    let mut hidden = Hidden::default();
    for (whole, begin) in uncut {
        let Some((inside, run)) = cut(&hosts, groups, &whole, &begin) else {
            hidden.slices.push(whole);
            continue;
        };
        let Some(input) = survey.inputs.get(whole.input) else {
            continue;
        };
        let extent = Extent::new(whole.extent.offset, run);
        let slice = slice(input, whole.input, extent);
        let name = slice.name.clone();
        hidden.nested.push(Nested {
            slice: name,
            run,
            inside,
        });
        hidden.slices.push(slice);
    }
    hidden
}

/// The volume around a physical volume, and how much of the latter lies in one piece, where that is not all.
fn cut(
    hosts: &Hosts<'_>,
    groups: &[&VolumeGroup],
    whole: &Slice,
    begin: &Begin,
) -> Option<(String, Bytes)> {
    let (inside, run) = hosts.around(whole.input, whole.extent.offset)?;
    let goes_on = |id: &String| goes_on(groups, id, &whole.source, run);
    let is_whole = run >= whole.extent.length || begin.id.as_ref().is_some_and(goes_on);
    (!is_whole).then_some((inside, run))
}

/// A part of an image, named as the layout file names it.
fn slice(input: &Input, index: usize, extent: Extent) -> Slice {
    let name = format!("{}@{}+{}", input.name, extent.offset.0, extent.length.0);
    Slice {
        source: Arc::new(Pieces::slice(name.clone(), input.source.clone(), extent)),
        name,
        input: index,
        extent,
        number: None,
    }
}

/// The places where something starts and no volume does.
fn begins(
    survey: &Survey,
    arrays: &[ArrayFound],
    groups: &[&VolumeGroup],
) -> Vec<((usize, Bytes), Begin)> {
    let mut starts: BTreeMap<(usize, Bytes), Begin> = BTreeMap::new();
    for (index, (input, scan)) in survey.inputs.iter().zip(&survey.scans).enumerate() {
        // The layout file can name an extent of a whole image only.
        if input.offset != Bytes::ZERO || input.source.len() != input.image.len() {
            continue;
        }
        for finding in &scan.findings {
            let start = match &finding.what {
                What::LvmLabel(label) => label.pv_start().map(|s| (s, Some(label))),
                What::LvmMetadataArea(header) => header.pv_start().map(|s| (s, None)),
                _ => None,
            };
            if let Some((start, label)) = start {
                let known = starts.entry((index, start)).or_default();
                known.length = known.length.or(label.map(|label| label.device_size));
                let id = known.id.take();
                known.id = id.or_else(|| label.map(|label| label.pv_uuid.clone()));
            }
        }
        for (start, begin) in wanted(&scan.findings, groups) {
            starts.entry((index, start)).or_insert(begin);
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
        .filter(|(place, begin)| !known(*place, begin.length));
    new.take(MOST_HIDDEN).collect()
}

/// Starts from which two volumes or more of a group have their file system where the text says.
fn wanted(findings: &[Finding], groups: &[&VolumeGroup]) -> Vec<(Bytes, Begin)> {
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
            let length = pv.dev_size.map_or_else(|| vg.reach(pv), Bytes::from);
            let begin = Begin {
                length: Some(length),
                id: Some(pv.id.clone()),
            };
            Some((at, begin))
        }));
    }
    wanted
}
