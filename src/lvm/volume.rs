//! A logical volume as a source: its segments on physical volumes and on other logical volumes.
//!
//! Raid volumes lie on image volumes (`_rimage_N`), which are logical volumes
//! themselves; so do old mirrors (`_mimage_N`). Which image holds which byte is
//! the same arithmetic as md's, because the kernel hands both to the same code
//! ([`super::segtype`]). What lies on a physical volume that is not there is a
//! gap, or computed from the images that are. An image that is known to be old
//! is taken for one that is not there ([`super::dmraid`]); what that does to the
//! answer is told by [`super::sync`].

use super::dmraid::{self, ImageState};
use super::metadata::{LogicalVolume, VolumeGroup};
use super::segment::{Area, Segment};
use super::segtype::{self, Lies};
use crate::image::{Piece, Pieces, SharedSource};
use crate::md::array::{Array, ArrayMember};
use crate::md::geometry::{Geometry, GeometryError};
use crate::md::level::Level;
use crate::units::{Bytes, Extent, Sectors};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Volumes lie on each other four deep in real groups; a hostile text must not nest without end.
pub(super) const DEEPEST: usize = 8;

/// Areas that one volume is made of, with all that it lies on. More than this is a text that lies.
const MOST_AREAS: u32 = 1 << 20;

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
    /// A volume whose bytes are not at a place that the text alone gives.
    #[error("{lv} is of type {kind}, which is not read here: {needs}")]
    Unsupported {
        /// The volume.
        lv: String,
        /// The segment's type.
        kind: String,
        /// What its bytes hang on, and what to do.
        needs: String,
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
/// one that is not given is computed from redundancy where the volume has any, and reads as a gap otherwise.
///
/// # Errors
/// [`VolumeError`] where there is no such volume, or its bytes are not where the text alone says.
pub fn logical_volume(
    vg: &VolumeGroup,
    lv: &str,
    pvs: &BTreeMap<String, SharedSource>,
) -> Result<Pieces, VolumeError> {
    let opener = Opener::new(vg, pvs);
    if let Some(needs) = segtype::is_snapshot(vg, lv) {
        return Err(unsupported(lv, "snapshot", needs));
    }
    opener.volume(lv, 0)
}

fn unsupported(lv: &str, kind: &str, needs: String) -> VolumeError {
    VolumeError::Unsupported {
        lv: lv.to_owned(),
        kind: kind.to_owned(),
        needs,
    }
}

fn impossible(lv: &str, why: impl Into<String>) -> VolumeError {
    VolumeError::Impossible {
        lv: lv.to_owned(),
        why: why.into(),
    }
}

pub(super) struct Opener<'a> {
    vg: &'a VolumeGroup,
    pvs: &'a BTreeMap<String, SharedSource>,
    /// Counts down, over the whole tree of volumes under the one that is opened.
    areas_left: Cell<u32>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(vg: &'a VolumeGroup, pvs: &'a BTreeMap<String, SharedSource>) -> Opener<'a> {
        Opener {
            vg,
            pvs,
            areas_left: Cell::new(MOST_AREAS),
        }
    }

    /// Whether a physical volume was given.
    pub(super) fn has(&self, pv: &str) -> bool {
        self.pvs.contains_key(pv)
    }

    /// Counts an area; `None` where a text has more than any volume.
    pub(super) fn spend(&self) -> Option<()> {
        let left = self.areas_left.get().checked_sub(1)?;
        self.areas_left.set(left);
        Some(())
    }

    pub(super) fn volume(&self, name: &str, depth: usize) -> Result<Pieces, VolumeError> {
        let lv = self.vg.lv(name).ok_or_else(|| VolumeError::None {
            vg: self.vg.name.clone(),
            lv: name.to_owned(),
        })?;
        if depth >= DEEPEST {
            return Err(impossible(name, "volumes lie on each other without end"));
        }
        let mut pieces = Vec::new();
        for segment in &lv.segments {
            pieces.push(self.segment(lv, segment, depth)?);
        }
        Ok(Pieces::new(format!("{}/{name}", self.vg.name), pieces))
    }

    fn segment(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        depth: usize,
    ) -> Result<Piece, VolumeError> {
        let length = self.vg.extents(segment.extent_count);
        let lies = segtype::lies(segment)
            .map_err(|needs| unsupported(&lv.name, &segment.kind, needs.to_string()))?;
        let as_it_is = match (lies, segment.areas.as_slice()) {
            (Lies::Striped, [area]) => Some(area),
            (Lies::Moved(area), areas) => areas.get(area),
            _ => None,
        };
        if let Some(area) = as_it_is {
            let from = self.area(lv, area, depth)?;
            return Ok(Piece { length, from });
        }
        let array = match lies {
            // A move has two areas; a text that names fewer says nothing of where its bytes are.
            Lies::Error | Lies::Moved(_) => return Ok(Piece { length, from: None }),
            Lies::Striped => self.striped(lv, segment, length, depth)?,
            Lies::Images(level, layout) => self.raid(lv, segment, level, layout, depth)?,
        };
        let size = array.geometry().array_size();
        if size < length {
            let why = format!("its images give {size} of the {length} that it has");
            return Err(impossible(&lv.name, why));
        }
        let source: SharedSource = Arc::new(array);
        Ok(Piece {
            length,
            from: Some((source, Bytes::ZERO)),
        })
    }

    /// What an area lies on, and where on it; `None` where that physical volume is not there.
    fn area(
        &self,
        lv: &LogicalVolume,
        area: &Area,
        depth: usize,
    ) -> Result<Option<(SharedSource, Bytes)>, VolumeError> {
        self.spend()
            .ok_or_else(|| impossible(&lv.name, "more areas than any volume has"))?;
        let at = self.vg.extents(area.extent);
        match self.vg.pv(&area.on) {
            Some(pv) => {
                let source = self.pvs.get(&area.on).cloned();
                Ok(source.map(|source| (source, Bytes::from(pv.pe_start) + at)))
            }
            None => Ok(Some((Arc::new(self.volume(&area.on, depth + 1)?), at))),
        }
    }

    /// The members of an array over the segment's areas.
    fn members(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        depth: usize,
    ) -> Result<Vec<Option<ArrayMember>>, VolumeError> {
        let one = |area| {
            let member = |(source, data_offset)| ArrayMember {
                source,
                data_offset,
                reserve: false,
            };
            Ok(self.area(lv, area, depth)?.map(member))
        };
        segment.areas.iter().map(one).collect()
    }

    /// Stripes over several areas: raid0 over members of one size.
    fn striped(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        length: Bytes,
        depth: usize,
    ) -> Result<Array, VolumeError> {
        let width = segment.areas.len();
        let each = Bytes(length.0 / (width as u64).max(1));
        let geometry = geometry(lv, segment, Level::Raid0, None, &vec![each; width])?;
        if geometry.array_size() != length {
            return Err(impossible(
                &lv.name,
                "a striped segment whose stripes do not fill it",
            ));
        }
        let members = self.members(lv, segment, depth)?;
        Ok(Array::new(lv.name.clone(), geometry, members))
    }

    /// Images under a raid volume or mirror, without those that were away when the last bytes were written. Of which
    /// nothing tells that is read last.
    fn raid(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        level: Level,
        layout: Option<&str>,
        depth: usize,
    ) -> Result<Array, VolumeError> {
        let geometry = self.raid_geometry(lv, segment, level, layout)?;
        let mut members = self.members(lv, segment, depth)?;
        // Without copies or parity an image that is told apart would only be lost.
        if level != Level::Raid0 {
            let judged = dmraid::judge(&self.states(segment, depth));
            for (slot, old) in members.iter_mut().zip(judged) {
                match (slot.as_mut(), old) {
                    (Some(member), Some(old)) if old.is_read() => member.reserve = true,
                    (Some(_), Some(_)) => *slot = None,
                    _ => {}
                }
            }
        }
        Ok(Array::new(lv.name.clone(), geometry, members))
    }

    /// The geometry of a segment over images.
    pub(super) fn raid_geometry(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        level: Level,
        layout: Option<&str>,
    ) -> Result<Geometry, VolumeError> {
        let sizes: Vec<Bytes> = segment.areas.iter().map(|a| self.size_on(a)).collect();
        geometry(lv, segment, level, layout, &sizes)
    }

    /// What the superblock of each image says, where there is one.
    pub(super) fn states(&self, segment: &Segment, depth: usize) -> Vec<Option<ImageState>> {
        let state = |area: &Area| {
            let meta = self.volume(area.meta.as_deref()?, depth + 1).ok()?;
            ImageState::read(&meta).ok()
        };
        segment.areas.iter().map(state).collect()
    }

    /// One leg of a mirror; `None` where it is not there.
    pub(super) fn leg(
        &self,
        lv: &LogicalVolume,
        area: &Area,
        length: Bytes,
        depth: usize,
    ) -> Result<Option<Pieces>, VolumeError> {
        let lies = self.area(lv, area, depth)?;
        Ok(
            lies.map(|(source, at)| {
                Pieces::slice(area.on.clone(), source, Extent::new(at, length))
            }),
        )
    }

    /// Bytes of an image: of a whole volume, less where the area starts.
    fn size_on(&self, area: &Area) -> Bytes {
        let size = self.vg.lv(&area.on).map(|lv| self.vg.size(lv));
        size.unwrap_or_default() - self.vg.extents(area.extent)
    }
}

fn geometry(
    lv: &LogicalVolume,
    segment: &Segment,
    level: Level,
    layout: Option<&str>,
    sizes: &[Bytes],
) -> Result<Geometry, VolumeError> {
    let chunk = segment.stripe_size.unwrap_or(Sectors(0));
    Geometry::of_sizes(level, layout, chunk, sizes).map_err(|error| match error {
        GeometryError::Impossible(why) => impossible(&lv.name, why),
        error => impossible(&lv.name, error.to_string()),
    })
}
