//! Texts against the data: do volumes start where a text says?

use crate::fs::probe::probe;
use crate::image::{Pieces, SharedSource};
use crate::lvm::candidates::{self, Candidate, Proof};
use crate::lvm::metadata::{LogicalVolume, VolumeGroup};
use crate::units::Extent;
use std::collections::BTreeMap;

/// Asks the data about every text that could be restored, and ranks them again.
pub fn prove(texts: &mut [Candidate], volumes: &[SharedSource]) {
    // For each group and volume, by ids: where texts put its start, and whether it shows there.
    let mut known: BTreeMap<(String, String), BTreeMap<String, bool>> = BTreeMap::new();
    let mut seen: Vec<Vec<((String, String), String)>> = Vec::new();
    let mut probes = Probes::default();
    for text in texts.iter_mut() {
        let mut starts = Vec::new();
        if text.usable() {
            let vg = &text.carved.vg;
            let mut proof = Proof::default();
            for pv in &vg.pvs {
                let best = volumes.iter().enumerate();
                let best = best.map(|(i, v)| shown_on(vg, &pv.name, (i, v), &mut probes));
                let best = best.max_by_key(|shown| shown.iter().filter(|(_, s)| *s).count());
                for ((lv, extent), shows) in best.unwrap_or_default() {
                    proof.tested += 1;
                    proof.shown += usize::from(shows);
                    let volume = (vg.id.clone(), lv.id.clone());
                    let place = format!("{} {}", pv.id, extent.offset.0);
                    known
                        .entry(volume.clone())
                        .or_default()
                        .insert(place.clone(), shows);
                    starts.push((volume, place));
                }
            }
            text.proof = Some(proof);
        }
        seen.push(starts);
    }
    for (text, starts) in texts.iter_mut().zip(seen) {
        let contradicted = starts.iter().filter(|(volume, place)| {
            known.get(volume).is_some_and(|places| {
                places.get(place) == Some(&false) && places.values().any(|shows| *shows)
            })
        });
        let against = contradicted.count();
        if let Some(proof) = &mut text.proof {
            proof.against = against;
        }
    }
    candidates::sort(texts);
}

/// What was seen already, by the volume's number and the extent in it: the texts of a group ask for the same places.
type Probes = BTreeMap<(usize, Extent), bool>;

/// The volumes that start on this physical volume, if it is this one, and whether each shows something at its start.
fn shown_on<'a>(
    vg: &'a VolumeGroup,
    pv: &str,
    (number, volume): (usize, &SharedSource),
    probes: &mut Probes,
) -> Vec<((&'a LogicalVolume, Extent), bool)> {
    let mut shows = |(lv, extent): (&'a LogicalVolume, Extent)| {
        let start = Extent::new(extent.offset, vg.size(lv));
        let shows = *probes.entry((number, start)).or_insert_with(|| {
            let start = Pieces::slice(lv.name.clone(), volume.clone(), start);
            !probe(&start).signatures.is_empty()
        });
        ((lv, extent), shows)
    };
    vg.starts_on(pv).into_iter().map(&mut shows).collect()
}
