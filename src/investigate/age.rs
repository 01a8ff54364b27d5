//! How old the data on members is, by the times that it carries itself.

use super::arrays::Known;
use super::clues;
use crate::image::progress::Progress;
use crate::inputs::Slice;
use crate::md::examine::Examination;
use crate::md::guess::Member;
use crate::md::sample;
use std::collections::BTreeSet;

/// The times that file systems' superblocks and LVM texts on members carry, from the sample that `md guess` takes.
pub fn times(members: &[Member], progress: &dyn Progress) -> BTreeSet<u64> {
    let known = Known::default();
    let readings = clues::gather(members, &known, sample::BUDGET, progress).readings(&known);
    readings.into_iter().filter_map(|r| r.youngest).collect()
}

/// Judges the arrays of an examination by the data on their members.
pub fn judge(examination: &mut Examination, slices: &[Slice], progress: &dyn Progress) {
    for array in &mut examination.arrays {
        // What lies under an older array's superblocks is the newer one's.
        if array.superseded_by.is_some() {
            continue;
        }
        let named = |slice: &&Slice| array.members.iter().any(|m| m.member == slice.name);
        let member = |slice: &Slice| Member {
            source: slice.source.clone(),
            superblock: None,
            disk: slice.input,
        };
        let members: Vec<Member> = slices.iter().filter(named).map(member).collect();
        if !members.is_empty() {
            array.judge_age(&examination.superblocks, &times(&members, progress));
        }
    }
}
