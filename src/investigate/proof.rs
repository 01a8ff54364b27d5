//! Texts against the data: do volumes start where a text says?

use crate::fs::probe::probe;
use crate::image::{Pieces, SharedSource};
use crate::lvm::candidates::{self, Candidate, Proof};
use crate::lvm::metadata::{LogicalVolume, VolumeGroup};
use crate::units::Extent;

/// Asks the data about every text that could be restored, and ranks them again.
pub fn prove(texts: &mut [Candidate], volumes: &[SharedSource]) {
    for text in texts.iter_mut().filter(|t| t.usable()) {
        let vg = &text.carved.vg;
        let mut proof = Proof::default();
        for pv in &vg.pvs {
            let on_pv = volumes.iter().map(|v| proof_on(vg, &pv.name, v)).max();
            let on_pv = on_pv.unwrap_or_default();
            proof.shown += on_pv.shown;
            proof.tested += on_pv.tested;
        }
        text.proof = Some(proof);
    }
    candidates::sort(texts);
}

/// Of the volumes that start on this physical volume, how many show something at their start.
fn proof_on(vg: &VolumeGroup, pv: &str, volume: &SharedSource) -> Proof {
    let starts = vg.starts_on(pv);
    let shows = |(lv, extent): &&(&LogicalVolume, Extent)| {
        let start = Extent::new(extent.offset, vg.size(lv));
        let start = Pieces::slice(lv.name.clone(), volume.clone(), start);
        !probe(&start).signatures.is_empty()
    };
    Proof {
        shown: starts.iter().filter(shows).count(),
        tested: starts.len(),
    }
}
