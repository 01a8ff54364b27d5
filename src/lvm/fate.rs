//! What becomes of each logical volume when physical volumes are lost for good.

use super::metadata::{LogicalVolume, VolumeGroup};
use super::segment::{Area, Segment};
use super::segtype::{self, Lies};
use crate::md::level::Level;
use crate::units::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is left of a volume, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// It does not lie on what is lost.
    Whole,
    /// All of it comes from its other images.
    Redundant,
    /// A snapshot was being merged into it, and the rest of that is lost: its bytes are of two times.
    TwoTimes,
    /// So many of its bytes are left, where they can be told.
    Partly {
        /// Bytes left.
        kept: Bytes,
        /// Bytes that it had.
        of: Bytes,
    },
    /// Nothing is left, or nothing that can be put together.
    Lost,
}

impl Fate {
    /// Whether every byte is there.
    pub fn is_complete(self) -> bool {
        matches!(self, Fate::Whole | Fate::Redundant)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Whole => f.write_str("whole"),
            Fate::Redundant => f.write_str("whole, from its other images"),
            Fate::TwoTimes => f.write_str(
                "of two times: a snapshot was being merged into it, and the rest is lost",
            ),
            Fate::Partly { kept, of } => write!(f, "in part: {kept} of {of}"),
            Fate::Lost => f.write_str("lost"),
        }
    }
}

/// Volumes lie on each other four deep in real groups; a hostile text must not nest without end.
const DEEPEST: usize = 8;

/// The fate of every volume of the group, hidden ones too, by name, when these physical volumes (their names in the text)
/// are lost.
pub fn fates(vg: &VolumeGroup, lost: &BTreeSet<String>) -> BTreeMap<String, Fate> {
    // An origin is not what it was once one of its snapshots was merged in part, wherever in the text that one stands: so
    // these are judged first, and the other snapshots of the origin by what that makes of it.
    let mut tied = BTreeMap::new();
    for merging in [true, false] {
        let known = without_snapshots(vg, lost, &tied);
        for snapshot in snapshots(vg).filter(|s| s.merging == merging) {
            of_snapshot(snapshot, &known, &mut tied);
        }
    }
    without_snapshots(vg, lost, &tied)
}

/// The fates by what the volumes lie on, with those that are already given.
fn without_snapshots(
    vg: &VolumeGroup,
    lost: &BTreeSet<String>,
    given: &BTreeMap<String, Fate>,
) -> BTreeMap<String, Fate> {
    let mut known = given.clone();
    let mut fates = Fates {
        vg,
        lost,
        by_name: vg.lvs.iter().map(|lv| (lv.name.as_str(), lv)).collect(),
        known: &mut known,
    };
    for lv in &vg.lvs {
        fates.with_origins(&lv.name);
    }
    known
}

/// An old-style snapshot: a hidden volume that ties a store, which is what people see and name, to its origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot<'a> {
    /// The hidden volume.
    pub(super) name: &'a str,
    /// What it was taken of.
    pub(super) origin: &'a str,
    /// What has changed since.
    pub(super) store: &'a str,
    /// The store is being put back into the origin.
    pub(super) merging: bool,
}

/// The old-style snapshots of a group.
pub(super) fn snapshots(vg: &VolumeGroup) -> impl Iterator<Item = Snapshot<'_>> {
    vg.lvs.iter().filter_map(snapshot)
}

fn snapshot(lv: &LogicalVolume) -> Option<Snapshot<'_>> {
    let segment = lv.segments.iter().find(|s| s.kind == "snapshot")?;
    let used = |key: &str| segment.uses.iter().find(|u| u.key == key);
    let merging = used("merging_store");
    Some(Snapshot {
        name: &lv.name,
        origin: &used("origin")?.lv,
        store: &used("cow_store").or(merging)?.lv,
        merging: merging.is_some(),
    })
}

/// A store without its origin is no volume, though every byte of it is there; an origin into which a lost store was being
/// merged is neither what it was nor what it was to be.
fn of_snapshot(
    snapshot: Snapshot<'_>,
    known: &BTreeMap<String, Fate>,
    tied: &mut BTreeMap<String, Fate>,
) {
    let of = |name: &str| known.get(name).copied().unwrap_or(Fate::Lost);
    let (origin, store) = (of(snapshot.origin), of(snapshot.store));
    let mut set = |name: &str, fate| tied.insert(name.to_owned(), fate);
    if !origin.is_complete() || !store.is_complete() {
        set(snapshot.store, Fate::Lost);
        set(snapshot.name, Fate::Lost);
    }
    if snapshot.merging && origin.is_complete() && !store.is_complete() {
        set(snapshot.origin, Fate::TwoTimes);
    }
}

struct Fates<'a> {
    vg: &'a VolumeGroup,
    lost: &'a BTreeSet<String>,
    by_name: BTreeMap<&'a str, &'a LogicalVolume>,
    known: &'a mut BTreeMap<String, Fate>,
}

impl<'a> Fates<'a> {
    /// The fate of a volume, of the thin volumes that it is a snapshot of first: snapshots of snapshots go on for as long as
    /// people take them, and are no nesting.
    fn with_origins(&mut self, name: &'a str) {
        let mut line = vec![name];
        let mut seen = BTreeSet::from([name]);
        while let Some(origin) = line.last().and_then(|last| self.thin_origin(last)) {
            if self.known.contains_key(origin) || !seen.insert(origin) {
                break;
            }
            line.push(origin);
        }
        for name in line.into_iter().rev() {
            self.of(name, 0);
        }
    }

    fn thin_origin(&self, name: &str) -> Option<&'a str> {
        let lv = self.by_name.get(name).copied()?;
        let mut thin = lv.segments.iter().filter(|s| s.kind == "thin");
        let origin = thin.find_map(|s| s.uses.iter().find(|u| u.key == "origin"))?;
        Some(origin.lv.as_str())
    }

    fn of(&mut self, name: &str, depth: usize) -> Fate {
        if let Some(fate) = self.known.get(name) {
            return *fate;
        }
        let Some(lv) = self.by_name.get(name).copied().filter(|_| depth < DEEPEST) else {
            return Fate::Lost;
        };
        // What lies on itself is lost, and must end.
        self.known.insert(name.to_owned(), Fate::Lost);
        let of = self.vg.size(lv);
        let (mut fate, mut kept) = (Fate::Whole, Bytes::ZERO);
        for segment in &lv.segments {
            let length = self.vg.extents(segment.extent_count);
            let (one, left) = self.segment(segment, length, depth);
            (fate, kept) = (fate.max(one), kept + left);
        }
        let fate = match fate {
            fate if fate.is_complete() && !lv.segments.is_empty() => fate,
            _ if kept == Bytes::ZERO => Fate::Lost,
            _ => Fate::Partly { kept, of },
        };
        self.known.insert(name.to_owned(), fate);
        fate
    }

    /// The fate of what an area lies on.
    fn on(&mut self, on: &str, depth: usize) -> Fate {
        match self.vg.pv(on) {
            Some(_) if self.lost.contains(on) => Fate::Lost,
            Some(_) => Fate::Whole,
            None => self.of(on, depth + 1),
        }
    }

    /// The fate of an area. The kernel does not take an image of an array without its metadata volume.
    fn area(&mut self, area: &Area, depth: usize) -> Fate {
        let data = self.on(&area.on, depth);
        match &area.meta {
            Some(meta) if !self.on(meta, depth).is_complete() => Fate::Lost,
            _ => data,
        }
    }

    /// A segment's fate, and how many of its bytes are left.
    fn segment(&mut self, segment: &Segment, length: Bytes, depth: usize) -> (Fate, Bytes) {
        if segment.kind == "zero" {
            return (Fate::Whole, length);
        }
        let areas: Vec<Fate> = segment.areas.iter().map(|a| self.area(a, depth)).collect();
        // A name with a dash in front is that of a removed volume, of which nothing is needed any more.
        let uses = segment.uses.iter().filter(|u| !u.lv.starts_with('-'));
        let uses: Vec<Fate> = uses.map(|u| self.on(&u.lv, depth)).collect();
        let complete = areas.iter().filter(|f| f.is_complete()).count();
        let worst = areas.iter().chain(&uses).copied().max();
        let worst = worst.unwrap_or(Fate::Lost);
        match segtype::lies(segment) {
            Ok(Lies::Striped) if complete == areas.len() => (worst, length),
            Ok(Lies::Striped) => {
                let kept = length.0 / (areas.len() as u64).max(1) * complete as u64;
                (Fate::Lost, Bytes(kept))
            }
            Ok(Lies::Moved(area)) => {
                let fate = areas.get(area).copied().unwrap_or(Fate::Lost);
                match (fate.is_complete(), complete == areas.len()) {
                    (true, true) => (fate, length),
                    // What it is moved to, or came from, is lost; lvm2 will want to know.
                    (true, false) => (Fate::Redundant, length),
                    (false, _) => (Fate::Lost, Bytes::ZERO),
                }
            }
            Ok(Lies::Images(level, _)) => {
                let bears = bears(level, segment, &areas);
                match (complete == areas.len(), bears) {
                    (true, _) => (worst.min(Fate::Redundant), length),
                    (false, true) => (Fate::Redundant, length),
                    (false, false) => (Fate::Lost, Bytes::ZERO),
                }
            }
            Ok(Lies::Error) => (Fate::Lost, Bytes::ZERO),
            Err(_) if worst.is_complete() => (worst, length),
            Err(_) => (Fate::Lost, Bytes::ZERO),
        }
    }
}

/// Whether images of these fates give every byte.
fn bears(level: Level, segment: &Segment, images: &[Fate]) -> bool {
    let gone = images.iter().filter(|f| !f.is_complete()).count();
    match level {
        Level::Raid1 => gone < images.len(),
        Level::Raid4 | Level::Raid5 => gone <= 1,
        Level::Raid6 => gone <= 2,
        Level::Raid10 => {
            let copies = usize::try_from(segment.data_copies.unwrap_or(2)).unwrap_or(2);
            let columns = copies > 0 && images.len().is_multiple_of(copies);
            // Where copies do not fall on the same images, only so many losses are sure to be borne.
            match columns {
                true => images
                    .chunks(copies)
                    .all(|c| c.iter().any(|f| f.is_complete())),
                false => gone < copies,
            }
        }
        Level::Raid0 | Level::Linear => gone == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    const TEXT: &str = r#"vg {
        id = "NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
        seqno = 1
        extent_size = 2048
        physical_volumes {
            pv0 { pe_start = 2048 pe_count = 100 }
            pv1 { pe_start = 2048 pe_count = 100 }
            pv2 { pe_start = 2048 pe_count = 100 }
        }
        logical_volumes {
            on0 { segment1 { start_extent = 0 extent_count = 4 type = "striped" stripes = ["pv0", 0] } }
            both {
                segment1 { start_extent = 0 extent_count = 3 type = "striped" stripes = ["pv0", 4] }
                segment2 { start_extent = 3 extent_count = 1 type = "striped" stripes = ["pv1", 0] }
            }
            r5 { segment1 { start_extent = 0 extent_count = 4 type = "raid5" stripe_size = 128
                 raids = ["r5_rmeta_0", "r5_rimage_0", "r5_rmeta_1", "r5_rimage_1", "r5_rmeta_2", "r5_rimage_2"] } }
            r5_rmeta_0 { segment1 { start_extent = 0 extent_count = 1 type = "striped" stripes = ["pv0", 20] } }
            r5_rmeta_1 { segment1 { start_extent = 0 extent_count = 1 type = "striped" stripes = ["pv1", 20] } }
            r5_rmeta_2 { segment1 { start_extent = 0 extent_count = 1 type = "striped" stripes = ["pv2", 20] } }
            r5_rimage_0 { segment1 { start_extent = 0 extent_count = 2 type = "striped" stripes = ["pv0", 10] } }
            r5_rimage_1 { segment1 { start_extent = 0 extent_count = 2 type = "striped" stripes = ["pv1", 10] } }
            r5_rimage_2 { segment1 { start_extent = 0 extent_count = 2 type = "striped" stripes = ["pv2", 10] } }
            pool { segment1 { start_extent = 0 extent_count = 4 type = "thin-pool" metadata = "on0" pool = "both" } }
            thin { segment1 { start_extent = 0 extent_count = 4 type = "thin" thin_pool = "pool" } }
            loop { segment1 { start_extent = 0 extent_count = 4 type = "striped" stripes = ["loop", 0] } }
        }
    }"#;

    /// Who is told that a volume is whole, when a part of it was on the lost disk, prunes the rest away.
    #[test]
    fn volumes_on_a_lost_disk() {
        let vg = VolumeGroup::from_section(&text::section(TEXT.as_bytes()).value).unwrap();
        let of = |lost: &[&str]| fates(&vg, &lost.iter().map(|l| (*l).to_owned()).collect());
        let one = of(&["pv1"]);
        assert_eq!(one["on0"], Fate::Whole);
        let (kept, all) = (Bytes::mib(3), Bytes::mib(4));
        assert_eq!(one["both"], Fate::Partly { kept, of: all });
        assert_eq!((one["r5"], one["thin"]), (Fate::Redundant, Fate::Lost));
        let two = of(&["pv0", "pv1"]);
        assert_eq!(
            (two["r5"], two["on0"], two["both"]),
            (Fate::Lost, Fate::Lost, Fate::Lost)
        );
        let none = of(&[]);
        assert_eq!(
            (none["thin"], none["r5"], none["loop"]),
            (Fate::Whole, Fate::Whole, Fate::Lost)
        );
    }
}
