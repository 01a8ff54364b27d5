//! Where the beginnings of logical volumes lie on physical volumes: what the data is asked about.

use super::metadata::{LogicalVolume, VolumeGroup};
use super::segtype::{self, Lies};
use crate::md::geometry::Geometry;
use crate::units::{Bytes, Sectors};

/// Volumes lie on each other four deep in real groups; a hostile text must not nest without end.
const DEEPEST: usize = 8;

/// The beginning of something, on a physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The physical volume's name in the text.
    pub pv: &'a str,
    /// Bytes from the physical volume's start.
    pub at: Bytes,
    /// Bytes that lie there in one run; less than the volume where it is striped.
    pub run: Bytes,
}

/// Where the first bytes of a volume lie, each of their copies.
pub fn of_volume<'a>(vg: &'a VolumeGroup, lv: &'a LogicalVolume) -> Vec<Start<'a>> {
    let mut starts = Vec::new();
    add(vg, lv, Bytes(u64::MAX), 0, &mut starts);
    starts
}

fn add<'a>(
    vg: &'a VolumeGroup,
    lv: &'a LogicalVolume,
    most: Bytes,
    depth: usize,
    starts: &mut Vec<Start<'a>>,
) {
    let Some(segment) = lv.segments.first().filter(|_| depth < DEEPEST) else {
        return;
    };
    let length = vg.extents(segment.extent_count);
    let (slots, run): (Vec<usize>, Bytes) = match segtype::lies(segment) {
        Ok(Lies::Striped) if segment.areas.len() == 1 => (vec![0], length),
        Ok(Lies::Striped) => (
            vec![0],
            segment.stripe_size.map(Bytes::from).unwrap_or_default(),
        ),
        Ok(Lies::Images(level, layout)) => {
            let chunk = segment.stripe_size.unwrap_or(Sectors(0));
            let n = segment.areas.len();
            match Geometry::new(level, layout, n, chunk, length) {
                Ok(geometry) => {
                    let (places, run) = geometry.places(Bytes::ZERO);
                    (places.iter().map(|p| p.slot).collect(), run)
                }
                Err(_) => return,
            }
        }
        Ok(Lies::Error) | Err(_) => return,
    };
    let run = run.min(most);
    for area in slots.iter().filter_map(|slot| segment.areas.get(*slot)) {
        match (vg.pv(&area.on), vg.lv(&area.on)) {
            (Some(pv), _) => starts.push(Start {
                pv: &pv.name,
                at: Bytes::from(pv.pe_start) + vg.extents(area.extent),
                run,
            }),
            (None, Some(inner)) if area.extent == 0 => add(vg, inner, run, depth + 1, starts),
            _ => {}
        }
    }
}

/// Where the superblocks of raid volumes' images lie, each with its image's number.
pub fn of_image_states(vg: &VolumeGroup) -> Vec<(Start<'_>, u32)> {
    let segments = vg.lvs.iter().flat_map(|lv| &lv.segments);
    let metas = segments.flat_map(|s| (0..).zip(s.areas.iter().map(|a| a.meta.as_deref())));
    let metas = metas.filter_map(|(position, meta)| Some((position, vg.lv(meta?)?)));
    metas
        .flat_map(|(position, meta)| {
            let starts = of_volume(vg, meta);
            starts.into_iter().map(move |start| (start, position))
        })
        .collect()
}
