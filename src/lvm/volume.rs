//! A logical volume as a source: its segments on the physical volumes.

use super::metadata::{Segment, VolumeGroup};
use crate::image::{Piece, Pieces, SharedSource};
use crate::units::Bytes;
use std::collections::BTreeMap;
use thiserror::Error;

/// Stripes become pieces one by one; more than this many is a text that lies.
const MOST_PIECES: u64 = 1 << 22;

/// Why a logical volume cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The volume group has no such volume.
    #[error("volume group {vg} has no logical volume {lv}")]
    None {
        /// The volume group.
        vg: String,
        /// What was asked for.
        lv: String,
    },
    /// A segment of a kind that cannot be read yet.
    #[error("{lv} has a segment of type {kind}, which cannot be read yet")]
    Unsupported {
        /// The volume.
        lv: String,
        /// The segment's type.
        kind: String,
    },
    /// The numbers of a segment cannot be.
    #[error("{lv}: {why}")]
    Impossible {
        /// The volume.
        lv: String,
        /// What cannot be.
        why: String,
    },
}

/// The logical volume `lv`, read from its physical volumes, which are given by their names in the text. What lies on
/// one that is not given reads as a gap.
///
/// # Errors
/// [`VolumeError`] where there is no such volume or it cannot be read yet.
pub fn logical_volume(
    vg: &VolumeGroup,
    lv: &str,
    pvs: &BTreeMap<String, SharedSource>,
) -> Result<Pieces, VolumeError> {
    let found = vg.lv(lv).ok_or_else(|| VolumeError::None {
        vg: vg.name.clone(),
        lv: lv.to_owned(),
    })?;
    let mut pieces = Vec::new();
    for segment in &found.segments {
        if segment.kind != "striped" {
            return Err(VolumeError::Unsupported {
                lv: lv.to_owned(),
                kind: segment.kind.clone(),
            });
        }
        stripes(vg, lv, segment, pvs, &mut pieces)?;
    }
    Ok(Pieces::new(format!("{}/{lv}", vg.name), pieces))
}

fn stripes(
    vg: &VolumeGroup,
    lv: &str,
    segment: &Segment,
    pvs: &BTreeMap<String, SharedSource>,
    pieces: &mut Vec<Piece>,
) -> Result<(), VolumeError> {
    let impossible = |why: &str| VolumeError::Impossible {
        lv: lv.to_owned(),
        why: why.to_owned(),
    };
    let length = vg.extents(segment.extent_count);
    let width = segment.areas.len() as u64;
    let mut piece = |on: &str, extent: u64, within: Bytes, length: Bytes| {
        let from = vg.pv(on).and_then(|pv| {
            let at = Bytes::from(pv.pe_start) + vg.extents(extent) + within;
            pvs.get(on).map(|source| (source.clone(), at))
        });
        pieces.push(Piece { length, from });
    };
    if let [area] = segment.areas.as_slice() {
        piece(&area.on, area.extent, Bytes::ZERO, length);
        return Ok(());
    }
    let stripe = segment.stripe_size.map(Bytes::from).unwrap_or_default();
    if width == 0
        || stripe == Bytes::ZERO
        || !length.0.is_multiple_of(stripe.0.saturating_mul(width))
    {
        return Err(impossible("a striped segment whose stripes do not fill it"));
    }
    let rows = length.0 / stripe.0 / width;
    if rows.saturating_mul(width) > MOST_PIECES {
        return Err(impossible("more stripes than any volume has"));
    }
    for row in 0..rows {
        for area in &segment.areas {
            piece(&area.on, area.extent, Bytes(row * stripe.0), stripe);
        }
    }
    Ok(())
}
