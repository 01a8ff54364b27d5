//! Physical volumes that start where no volume does: their partition is in no table any more.

use super::super::Survey;
use super::super::arrays::ArrayFound;
use crate::image::{Pieces, Source};
use crate::inputs::Slice;
use crate::lvm::metadata::VolumeGroup;
use crate::lvm::starts;
use crate::scan::{Finding, What};
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Starts outside all partitions that are looked at.
const MOST_HIDDEN: usize = 64;

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
fn wanted(findings: &[Finding], groups: &[&VolumeGroup]) -> Vec<(Bytes, Bytes)> {
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
            Some((at, pv.dev_size.map_or_else(|| vg.reach(pv), Bytes::from)))
        }));
    }
    wanted
}
