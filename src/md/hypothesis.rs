//! Every array that a set of members might be, by the kind of redundancy seen.

use super::geometry::Geometry;
use super::level::{Level, parity_names};
use super::relations::Kind;
use crate::units::{Bytes, Sectors};

/// Chunk sizes tried, as powers of two: 4 KiB to 16 MiB.
const CHUNKS: std::ops::RangeInclusive<u32> = 12..=24;

/// An array as far as its shape goes: not yet which member is where, nor where data starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Level and layout in mdadm's words.
    pub level: Level,
    /// See `level`.
    pub layout: Option<String>,
    /// Its arithmetic.
    pub geometry: Geometry,
    /// How early it comes in a list of equals: mdadm's defaults first.
    pub rank: usize,
}

/// All shapes of so many members that agree with the kind; `longest` are the bytes of the longest member.
///
/// Members may be missing where the kind shows that no redundancy is left.
pub fn shapes(kind: &Kind, members: usize, groups: usize, longest: Bytes) -> Vec<Shape> {
    let mut list = List {
        shapes: Vec::new(),
        longest,
    };
    let parity = |list: &mut List, level: Level, slots: usize| {
        for name in parity_names(level) {
            // raid5 with its parity on one member has the same bytes as raid4, which is the likelier name for them.
            if name == "parity-first" && level == Level::Raid5 {
                list.chunked(Level::Raid4, None, slots);
            }
            list.chunked(level, Some(name), slots);
        }
    };
    let one_parity = |list: &mut List, slots: usize| parity(list, Level::Raid5, slots);
    let copies = |list: &mut List, slots: usize, strides: &[u64]| {
        for count in [2, 3] {
            list.chunked(Level::Raid10, Some(&format!("n{count}")), slots);
            list.chunked(Level::Raid10, Some(&format!("o{count}")), slots);
            for stride in strides {
                list.far(count, slots, Bytes(*stride));
            }
        }
    };
    match kind {
        Kind::Mirrors => {
            list.one(Level::Raid1, members);
            // One group of a raid10, all mirrors of the other one missing.
            list.chunked(Level::Raid10, Some(&format!("n{members}")), members * 2);
        }
        Kind::Columns(k) => {
            list.chunked(Level::Raid10, Some(&format!("n{k}")), groups * k);
            // All mirrors of one group may be missing: the others hold what they hold.
            list.chunked(Level::Raid10, Some(&format!("n{k}")), (groups + 1) * k);
        }
        Kind::Parity => one_parity(&mut list, members),
        Kind::TwoParities => parity(&mut list, Level::Raid6, members),
        Kind::TwoParitiesLess => parity(&mut list, Level::Raid6, members + 1),
        Kind::Shifted(strides) => {
            copies(&mut list, members, strides);
            copies(&mut list, members + 1, strides);
        }
        Kind::Nothing | Kind::Unknown => {
            if *kind == Kind::Unknown && members > 1 {
                list.one(Level::Raid1, members);
                one_parity(&mut list, members);
                parity(&mut list, Level::Raid6, members);
                copies(&mut list, members, &[]);
            }
            list.chunked(Level::Raid0, None, members);
            if members > 1 {
                one_parity(&mut list, members + 1);
            }
            parity(&mut list, Level::Raid6, members + 2);
        }
    }
    list.shapes
}

struct List {
    shapes: Vec<Shape>,
    longest: Bytes,
}

impl List {
    fn push(&mut self, level: Level, layout: Option<&str>, geometry: Geometry) {
        self.shapes.push(Shape {
            level,
            layout: layout.map(str::to_owned),
            geometry,
            rank: self.shapes.len(),
        });
    }

    fn one(&mut self, level: Level, slots: usize) {
        if let Ok(geometry) = Geometry::new(level, None, slots, Sectors(0), self.longest) {
            self.push(level, None, geometry);
        }
    }

    /// The layout with every chunk size.
    fn chunked(&mut self, level: Level, layout: Option<&str>, slots: usize) {
        for chunk in CHUNKS.map(|bits| Sectors(1 << (bits - 9))) {
            // Long enough for any place that is asked for: where the data ends is not known yet.
            if let Ok(geometry) = Geometry::new(level, layout, slots, chunk, self.longest) {
                self.push(level, layout, geometry);
            }
        }
    }

    /// Far copies at a distance that was seen.
    fn far(&mut self, count: usize, slots: usize, stride: Bytes) {
        let layout = format!("f{count}");
        for chunk in CHUNKS.map(|bits| Sectors(1 << (bits - 9))) {
            let chunk_bytes = Bytes::from(chunk);
            if stride < chunk_bytes || !stride.0.is_multiple_of(chunk_bytes.0) {
                continue;
            }
            let used = Bytes(stride.0.saturating_mul(count as u64)).min(self.longest);
            if let Ok(geometry) = Geometry::new(Level::Raid10, Some(&layout), slots, chunk, used) {
                self.push(Level::Raid10, Some(&layout), geometry);
            }
        }
    }
}
