//! What must stand where on physical volumes, if a text is right: the beginnings of logical volumes, and the superblocks
//! that the kernel keeps in the parts of others. This is what the data is asked about.

use super::metadata::{LogicalVolume, VolumeGroup};
use super::segment::Segment;
use super::segtype::{self, Lies};
use crate::md::geometry::Geometry;
use crate::units::{Bytes, Sectors};
use std::collections::BTreeSet;

/// Volumes lie on each other four deep in real groups; a hostile text must not nest without end.
const DEEPEST: usize = 8;

/// Areas that are followed for one volume: mirrors of mirrors of mirrors must not take a lifetime.
const MOST_AREAS: usize = 4096;

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

/// What must be seen at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// The beginning of a volume of so many bytes: a file system, a table, whatever can be recognised.
    Content(Bytes),
    /// The superblock of an array's image with this number ([`super::dmraid`]).
    Image(u32),
    /// The superblock of a thin pool, which counts its changes as the text does.
    ThinPool(Option<u64>),
    /// The superblock of a cache.
    Cache,
    /// The log of an old mirror.
    MirrorLog,
    /// The header of an old-style snapshot's store.
    SnapshotStore,
}

/// A volume, where it starts, and what must be seen there.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected<'a> {
    /// The volume that the sign speaks for.
    pub lv: &'a LogicalVolume,
    /// Where.
    pub start: Start<'a>,
    /// What.
    pub sign: Sign,
}

/// All that must stand on the physical volumes of a group.
pub fn expected(vg: &VolumeGroup) -> Vec<Expected<'_>> {
    let mut all = Vec::new();
    let uses = vg
        .lvs
        .iter()
        .flat_map(|lv| &lv.segments)
        .flat_map(|s| &s.uses);
    let stores = uses.filter(|u| ["cow_store", "merging_store"].contains(&u.key.as_str()));
    let stores: BTreeSet<&str> = stores.map(|u| u.lv.as_str()).collect();
    for lv in vg.visible() {
        // A snapshot's store does not begin with what the snapshot shows.
        if !stores.contains(lv.name.as_str()) {
            let sign = Sign::Content(vg.size(lv));
            all.extend(
                of_volume(vg, lv)
                    .into_iter()
                    .map(|start| Expected { lv, start, sign }),
            );
        }
    }
    for lv in &vg.lvs {
        for segment in &lv.segments {
            let signs = images(segment).chain(parts(segment));
            for (name, sign) in signs {
                let starts = vg.lv(name).map(|part| of_volume(vg, part));
                let starts = starts.into_iter().flatten();
                all.extend(starts.map(|start| Expected { lv, start, sign }));
            }
        }
    }
    all
}

/// The volumes with the superblocks of an array's images.
fn images(segment: &Segment) -> impl Iterator<Item = (&str, Sign)> {
    let metas = (0..).zip(segment.areas.iter().map(|a| a.meta.as_deref()));
    metas.filter_map(|(number, meta)| Some((meta?, Sign::Image(number))))
}

/// The parts of pools, caches, mirrors and snapshots that begin with a magic of their own.
fn parts(segment: &Segment) -> impl Iterator<Item = (&str, Sign)> {
    segment.uses.iter().filter_map(|used| {
        let sign = match (segment.kind.as_str(), used.key.as_str()) {
            ("thin-pool", "metadata") => Sign::ThinPool(segment.transaction_id),
            ("cache-pool", "metadata") => Sign::Cache,
            ("mirror", "mirror_log") => Sign::MirrorLog,
            ("snapshot", "cow_store") => Sign::SnapshotStore,
            _ => return None,
        };
        Some((used.lv.as_str(), sign))
    })
}

/// Where the first bytes of a volume lie, each of their copies.
pub fn of_volume<'a>(vg: &'a VolumeGroup, lv: &'a LogicalVolume) -> Vec<Start<'a>> {
    let mut search = Search {
        vg,
        starts: Vec::new(),
        left: MOST_AREAS,
    };
    search.add(lv, Bytes(u64::MAX), 0);
    search.starts
}

struct Search<'a> {
    vg: &'a VolumeGroup,
    starts: Vec<Start<'a>>,
    left: usize,
}

impl<'a> Search<'a> {
    fn add(&mut self, lv: &'a LogicalVolume, most: Bytes, depth: usize) {
        let vg = self.vg;
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
            Ok(Lies::Moved(area)) => (vec![area], length),
            Ok(Lies::Error) => return,
            Err(_) => {
                // Behind a cache lies the volume itself, less what only the cache has.
                let cached = ["cache", "writecache"].contains(&segment.kind.as_str());
                let origin = segment.uses.iter().find(|u| u.key == "origin" && cached);
                if let Some(inner) = origin.and_then(|o| vg.lv(&o.lv)) {
                    self.add(inner, most, depth + 1);
                }
                return;
            }
        };
        let run = run.min(most);
        for area in slots.iter().filter_map(|slot| segment.areas.get(*slot)) {
            let Some(left) = self.left.checked_sub(1) else {
                return;
            };
            self.left = left;
            match (vg.pv(&area.on), vg.lv(&area.on)) {
                (Some(pv), _) => self.starts.push(Start {
                    pv: &pv.name,
                    at: Bytes::from(pv.pe_start) + vg.extents(area.extent),
                    run,
                }),
                (None, Some(inner)) if area.extent == 0 => self.add(inner, run, depth + 1),
                _ => {}
            }
        }
    }
}
