//! What becomes of each logical volume when physical volumes are lost for good.

use super::metadata::{LogicalVolume, VolumeGroup};
use super::segment::Segment;
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
    let mut known = BTreeMap::new();
    let mut fates = Fates {
        vg,
        lost,
        by_name: vg.lvs.iter().map(|lv| (lv.name.as_str(), lv)).collect(),
        known: &mut known,
    };
    for lv in &vg.lvs {
        fates.of(&lv.name, 0);
    }
    known
}

struct Fates<'a> {
    vg: &'a VolumeGroup,
    lost: &'a BTreeSet<String>,
    by_name: BTreeMap<&'a str, &'a LogicalVolume>,
    known: &'a mut BTreeMap<String, Fate>,
}

impl Fates<'_> {
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

    /// A segment's fate, and how many of its bytes are left.
    fn segment(&mut self, segment: &Segment, length: Bytes, depth: usize) -> (Fate, Bytes) {
        let areas: Vec<Fate> = segment
            .areas
            .iter()
            .map(|a| self.on(&a.on, depth))
            .collect();
        let uses: Vec<Fate> = segment.uses.iter().map(|u| self.on(&u.lv, depth)).collect();
        let complete = areas.iter().filter(|f| f.is_complete()).count();
        let worst = areas.iter().chain(&uses).copied().max();
        let worst = worst.unwrap_or(Fate::Lost);
        match segtype::lies(segment) {
            Ok(Lies::Striped) if complete == areas.len() => (worst, length),
            Ok(Lies::Striped) => {
                let kept = length.0 / (areas.len() as u64).max(1) * complete as u64;
                (Fate::Lost, Bytes(kept))
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
