//! Which member holds which byte of an array, for each level and layout: the arithmetic alone, no input or output.
//!
//! Two functions are each other's inverse: [`Geometry::places`] from an array
//! offset to the members that hold it, [`Geometry::content`] from a member and
//! an offset to what lies there. Offsets on members count from the start of
//! the data there, so a superblock in front does not show here.
//!
//! Source: the kernel's `raid0.c` (`map_sector`), `raid5.c`
//! (`raid5_compute_sector`), `raid10.c` (`__raid10_find_phys`) and
//! `md-linear.c`; tests/lab.rs holds every level and layout against arrays
//! that the kernel wrote.

use super::level::{Copies, Level, zones_from_array_start};
use super::stripe::{ParityLayout, Stripe};
use super::zones::{Zone, zones};
use crate::units::{Bytes, Extent, Sectors};
use thiserror::Error;

/// Why a geometry cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Not a level or layout that this program knows.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The numbers cannot be those of an array.
    #[error("not an array: {0}")]
    Impossible(String),
}

/// A place on a member: slot in the array, and bytes from the start of the member's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Slot, from 0.
    pub slot: usize,
    /// Bytes from the start of the data.
    pub offset: Bytes,
}

/// What lies at a place of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The array's bytes, and which copy of them.
    Data {
        /// Which bytes, as far as they go on in one run on this member.
        array: Extent,
        /// Which copy, in the order of [`Geometry::places`].
        copy: usize,
    },
    /// P, the sum of a row's data, for so many bytes.
    P {
        /// The row.
        row: u64,
        /// How far it goes on.
        run: Bytes,
    },
    /// Q, the weighted sum of a row's data, for so many bytes.
    Q {
        /// The row.
        row: u64,
        /// How far it goes on.
        run: Bytes,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// Start of each member in the array, and its length.
    Linear(Vec<Extent>),
    Zones {
        zones: Vec<Zone>,
        from_array_start: bool,
    },
    Mirror,
    Parity(ParityLayout),
    /// Copies; for far ones, bytes from one copy to the next on a member.
    Copies(Copies, Bytes),
}

/// How an array lies on its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    level: Level,
    members: usize,
    chunk: Bytes,
    member_data: Bytes,
    array_size: Bytes,
    shape: Shape,
}

/// More members than any array has: an untrusted number above it is none.
const MOST_MEMBERS: usize = 4096;

/// How many times as long as it is a member may be said to be: a copy that was cut has less than its array says, but not
/// beyond all measure.
pub(crate) const MOST_TIMES: u64 = 16;

impl Geometry {
    /// The geometry of an array of members of one size; `layout` in mdadm's words where the level has layouts, `chunk`
    /// ignored for raid1. Linear may have one, to which its members are rounded down.
    ///
    /// # Errors
    /// [`GeometryError`] where the numbers cannot be those of an array.
    pub fn new(
        level: Level,
        layout: Option<&str>,
        members: usize,
        chunk: Sectors,
        member_data: Bytes,
    ) -> Result<Geometry, GeometryError> {
        if members > MOST_MEMBERS {
            return Err(GeometryError::Impossible(format!("{members} members")));
        }
        Geometry::of_sizes(level, layout, chunk, &vec![member_data; members])
    }

    /// The same of members with the given bytes of data each, which differ only in raid0 and linear; else the
    /// smallest counts.
    ///
    /// # Errors
    /// [`GeometryError`] where the numbers cannot be those of an array.
    pub fn of_sizes(
        level: Level,
        layout: Option<&str>,
        chunk: Sectors,
        sizes: &[Bytes],
    ) -> Result<Geometry, GeometryError> {
        let smallest = sizes.iter().copied().min();
        let Some(smallest) = smallest.filter(|_| sizes.len() <= MOST_MEMBERS) else {
            return Err(GeometryError::Impossible(format!(
                "{} members",
                sizes.len()
            )));
        };
        let rounding = chunk
            .to_bytes()
            .filter(|c| *c > Bytes::ZERO)
            .unwrap_or(Bytes(1));
        let chunk = match level {
            Level::Raid1 | Level::Linear => smallest.max(Bytes(1)),
            _ => chunk.to_bytes().unwrap_or_default(),
        };
        if chunk == Bytes::ZERO {
            return Err(GeometryError::Impossible("a chunk of no bytes".into()));
        }
        let whole = |size: Bytes| Bytes(size.0 / chunk.0 * chunk.0);
        let n = sizes.len();
        let mut geometry = Geometry {
            level,
            members: n,
            chunk,
            // A tail shorter than a chunk holds no data.
            member_data: whole(smallest),
            array_size: Bytes::ZERO,
            shape: Shape::Mirror,
        };
        let wide = |members: usize| Bytes(geometry.member_data.0.saturating_mul(members as u64));
        let (size, shape) = match level {
            Level::Linear => linear(sizes, rounding),
            Level::Raid0 => {
                let from_array_start = zones_from_array_start(layout)?;
                let (size, zones) = zones(&sizes.iter().map(|s| whole(*s)).collect::<Vec<_>>());
                (
                    size,
                    Shape::Zones {
                        zones,
                        from_array_start,
                    },
                )
            }
            Level::Raid1 => (geometry.member_data, Shape::Mirror),
            Level::Raid4 | Level::Raid5 | Level::Raid6 => {
                let parity = ParityLayout::new(level, layout, n)?;
                (wide(parity.width()), Shape::Parity(parity))
            }
            Level::Raid10 => copies(layout, n, geometry.member_data, chunk)?,
        };
        (geometry.array_size, geometry.shape) = (size, shape);
        Ok(geometry)
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Number of slots.
    pub fn members(&self) -> usize {
        self.members
    }

    /// How often each byte is held.
    pub fn copies(&self) -> usize {
        match &self.shape {
            Shape::Mirror => self.members,
            Shape::Copies(copies, _) => copies.count(),
            _ => 1,
        }
    }

    /// Whether slots `k * copies .. (k + 1) * copies` hold the same bytes at the same offsets, and which of them a
    /// member has is of no consequence.
    pub fn is_columns(&self) -> bool {
        match &self.shape {
            Shape::Mirror => true,
            Shape::Copies(c, _) => c.far == 1 && self.members.is_multiple_of(c.near),
            _ => false,
        }
    }

    /// Bytes of a chunk; for raid1 and linear those of the smallest member.
    pub fn chunk(&self) -> Bytes {
        self.chunk
    }

    /// Bytes that the array uses of each member; of the smallest, where they differ.
    pub fn member_data(&self) -> Bytes {
        self.member_data
    }

    /// Bytes that the array uses of each member, where they differ: in a linear array, and in raid0 over members of
    /// unequal length.
    pub fn own_sizes(&self) -> Option<Vec<Bytes>> {
        let sizes: Vec<Bytes> = match &self.shape {
            Shape::Linear(members) => members.iter().map(|m| m.length).collect(),
            Shape::Zones { zones, .. } => {
                let end = |slot: usize| {
                    let last = zones.iter().rev().find(|z| z.slots.contains(&slot));
                    last.map_or(Bytes::ZERO, |z| {
                        z.start + Bytes(z.array.length.0 / (z.slots.len() as u64).max(1))
                    })
                };
                (0..self.members).map(end).collect()
            }
            _ => return None,
        };
        let differ = sizes.iter().any(|size| Some(size) != sizes.first());
        differ.then_some(sizes)
    }

    /// Whether copies lie far apart: then where the second ones begin follows from the size of each member.
    pub fn is_far(&self) -> bool {
        matches!(&self.shape, Shape::Copies(copies, _) if copies.far > 1 && !copies.offset)
    }

    /// Bytes that the array gives.
    pub fn array_size(&self) -> Bytes {
        self.array_size
    }

    /// What lies in a row of a level with parity.
    pub fn stripe(&self, row: u64) -> Option<Stripe> {
        match &self.shape {
            Shape::Parity(parity) => Some(parity.stripe(row)),
            _ => None,
        }
    }

    /// Where the byte at `at` of the array lies: one place a copy, and for how many bytes from there the places stay
    /// in one run. Empty behind the array's end.
    pub fn places(&self, at: Bytes) -> (Vec<Place>, Bytes) {
        if at >= self.array_size {
            return (Vec::new(), Bytes::ZERO);
        }
        let (number, within) = (at.0 / self.chunk.0, at.0 % self.chunk.0);
        let run = Bytes(self.chunk.0 - within);
        let in_row = |slot: usize, row: u64| Place {
            slot,
            offset: Bytes(row * self.chunk.0 + within),
        };
        match &self.shape {
            Shape::Linear(members) => {
                let slot = members.partition_point(|m| m.end() <= at);
                let member = members.get(slot).copied().unwrap_or_default();
                let offset = at - member.offset;
                (vec![Place { slot, offset }], member.end() - at)
            }
            Shape::Zones {
                zones,
                from_array_start,
            } => {
                let index = zones.partition_point(|z| z.array.end() <= at);
                let Some(zone) = zones.get(index) else {
                    return (Vec::new(), Bytes::ZERO);
                };
                let in_zone = (at - zone.array.offset).0 / self.chunk.0;
                let counted = if *from_array_start { number } else { in_zone };
                let slot = zone
                    .slots
                    .get(index_of(counted, zone.slots.len()))
                    .copied()
                    .unwrap_or_default();
                let mut place = in_row(slot, in_zone / zone.slots.len().max(1) as u64);
                place.offset = place.offset + zone.start;
                (vec![place], run)
            }
            Shape::Mirror => {
                let place = |slot| Place { slot, offset: at };
                ((0..self.members).map(place).collect(), self.array_size - at)
            }
            Shape::Parity(parity) => {
                let width = parity.width() as u64;
                let stripe = parity.stripe(number / width);
                let slot = stripe
                    .data
                    .get(index_of(number, parity.width()))
                    .copied()
                    .unwrap_or_default();
                (vec![in_row(slot, number / width)], run)
            }
            Shape::Copies(copies, stride) => {
                let mut places = Vec::with_capacity(copies.count());
                for near in 0..copies.near as u64 {
                    let k = number * copies.near as u64 + near;
                    let row =
                        k / self.members as u64 * if copies.offset { copies.far as u64 } else { 1 };
                    let mut place = in_row(index_of(k, self.members), row);
                    for _ in 0..copies.far {
                        places.push(place);
                        place.slot = copies.next_far(self.members, place.slot);
                        place.offset = place.offset + *stride;
                    }
                }
                (places, run)
            }
        }
    }

    /// What lies at a place of a member. `None` behind the end of the data, or for a slot that is none.
    pub fn content(&self, place: Place) -> Option<Content> {
        if place.slot >= self.members {
            return None;
        }
        let (row, within) = (place.offset.0 / self.chunk.0, place.offset.0 % self.chunk.0);
        let run = Bytes(self.chunk.0 - within);
        let data = |number: u64| Bytes(number * self.chunk.0 + within);
        let array = match &self.shape {
            Shape::Linear(members) => {
                let member = members
                    .get(place.slot)
                    .filter(|m| place.offset < m.length)?;
                let array = Extent::new(member.offset + place.offset, member.length - place.offset);
                return Some(Content::Data { array, copy: 0 });
            }
            Shape::Mirror => {
                let array = Extent::new(place.offset, self.array_size - place.offset);
                let copy = place.slot;
                return (!array.is_empty()).then_some(Content::Data { array, copy });
            }
            Shape::Zones {
                zones,
                from_array_start,
            } => {
                let reaches = |z: &&Zone| z.slots.contains(&place.slot) && z.start <= place.offset;
                let zone = zones.iter().rev().find(reaches)?;
                let width = zone.slots.len() as u64;
                let rows = zone.array.length.0 / self.chunk.0 / width;
                let in_zone = (place.offset - zone.start).0 / self.chunk.0;
                let column = zone.slots.iter().position(|s| *s == place.slot)? as u64;
                let shift =
                    zone.array.offset.0 / self.chunk.0 % width * u64::from(*from_array_start);
                let column = (column + width - shift) % width;
                let at = zone.array.offset + data(in_zone * width + column);
                (in_zone < rows).then_some(at)?
            }
            Shape::Parity(parity) => {
                if place.offset >= self.member_data {
                    return None;
                }
                let stripe = parity.stripe(row);
                if stripe.p == place.slot {
                    return Some(Content::P { row, run });
                }
                if stripe.q == Some(place.slot) {
                    return Some(Content::Q { row, run });
                }
                let index = stripe.data.iter().position(|s| *s == place.slot)?;
                data(row * parity.width() as u64 + index as u64)
            }
            Shape::Copies(..) => return self.content_of_copies(place),
        };
        (array < self.array_size).then_some(Content::Data {
            array: Extent::new(array, run),
            copy: 0,
        })
    }

    fn content_of_copies(&self, place: Place) -> Option<Content> {
        let Shape::Copies(copies, stride) = &self.shape else {
            return None;
        };
        let chunk = self.chunk.0;
        let n = self.members as u64;
        let (row, within) = (place.offset.0 / chunk, place.offset.0 % chunk);
        let (far, row) = match copies.offset {
            true => (row % copies.far as u64, row / copies.far as u64),
            false if copies.far > 1 => (row / (stride.0 / chunk), row % (stride.0 / chunk)),
            false => (0, row),
        };
        let far = usize::try_from(far).ok().filter(|f| *f < copies.far)?;
        // The far copies' slots are a permutation of the first copies': look for the one that leads here.
        let leads_here = |first: &usize| {
            let last = (0..far).fold(*first, |slot, _| copies.next_far(self.members, slot));
            last == place.slot
        };
        let first = (0..self.members).find(leads_here)?;
        let k = row * n + first as u64;
        let (number, near) = (k / copies.near as u64, index_of(k, copies.near));
        let array = Extent::new(Bytes(number * chunk + within), Bytes(chunk - within));
        (array.offset < self.array_size).then_some(Content::Data {
            array,
            copy: near * copies.far + far,
        })
    }
}

/// `number % count`, as an index.
fn index_of(number: u64, count: usize) -> usize {
    usize::try_from(number % count.max(1) as u64).unwrap_or_default()
}

fn linear(sizes: &[Bytes], rounding: Bytes) -> (Bytes, Shape) {
    let mut end = Bytes::ZERO;
    let members = sizes.iter().map(|size| {
        let member = Extent::new(end, Bytes(size.0 / rounding.0 * rounding.0));
        end = member.end();
        member
    });
    let members = members.collect();
    (end, Shape::Linear(members))
}

fn copies(
    layout: Option<&str>,
    members: usize,
    member_data: Bytes,
    chunk: Bytes,
) -> Result<(Bytes, Shape), GeometryError> {
    let name = layout.ok_or_else(|| GeometryError::Impossible("raid10 without a layout".into()))?;
    let copies = Copies::from_name(name)
        .ok_or_else(|| GeometryError::Unsupported(format!("raid10 layout {name}")))?;
    if copies.count() > members {
        return Err(GeometryError::Impossible(format!(
            "{} copies over {members} members",
            copies.count()
        )));
    }
    let n = members as u64;
    let rows = member_data.0 / chunk.0 / copies.far as u64;
    let chunks = rows.saturating_mul(n) / copies.near as u64;
    // The rows that one copy of all takes.
    let used = (chunks * copies.count() as u64).div_ceil(n) / copies.far as u64;
    let stride = if copies.offset {
        chunk
    } else {
        Bytes(used * chunk.0)
    };
    if copies.far > 1 && stride == Bytes::ZERO {
        return Err(GeometryError::Impossible(format!(
            "{name} with no row for each copy"
        )));
    }
    Ok((
        Bytes(chunks.saturating_mul(chunk.0)),
        Shape::Copies(copies, stride),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md::level::parity_names;
    use proptest::prelude::*;

    fn raid10(members: usize, layout: &str) -> Geometry {
        Geometry::new(
            Level::Raid10,
            Some(layout),
            members,
            Sectors(128),
            Bytes::mib(10),
        )
        .unwrap()
    }

    fn chunk_place(slot: usize, row: u64) -> Place {
        let offset = Bytes(row * 65536);
        Place { slot, offset }
    }

    /// Worked out by hand from the kernel's rule for near copies: chunk k, copy j at slot (2k + j) mod n.
    #[test]
    fn raid10_near_2_over_ten() {
        let geometry = raid10(10, "n2");
        assert_eq!(geometry.array_size(), Bytes::mib(50));
        let (places, run) = geometry.places(Bytes(7 * 65536 + 100));
        let offset = Bytes(65536 + 100);
        assert_eq!(
            places,
            [Place { slot: 4, offset }, Place { slot: 5, offset }]
        );
        assert_eq!(run, Bytes(65436));
        assert!(geometry.is_columns());
    }

    /// An odd number of members: the second copy of a row's last chunk starts the next row.
    #[test]
    fn raid10_by_hand() {
        let geometry = raid10(3, "n2");
        let chunk = |c: u64| geometry.places(Bytes(c * 65536)).0;
        assert_eq!(chunk(1), [chunk_place(2, 0), chunk_place(0, 1)]);
        assert!(!geometry.is_columns());
        let geometry = raid10(3, "f2");
        // 160 rows a member, 80 a copy.
        assert_eq!(
            geometry.places(Bytes(2 * 65536)).0,
            [chunk_place(2, 0), chunk_place(0, 80)]
        );
        let geometry = raid10(3, "o2");
        assert_eq!(
            geometry.places(Bytes(5 * 65536)).0,
            [chunk_place(2, 2), chunk_place(0, 3)]
        );
    }

    /// Three members of 2, 3 and 5 chunks: three zones, and the two kernels' ways to number the later ones.
    #[test]
    fn raid0_of_unequal_members() {
        let sizes = [Bytes(2 * 65536 + 5), Bytes(5 * 65536), Bytes(3 * 65536)];
        let make =
            |layout| Geometry::of_sizes(Level::Raid0, Some(layout), Sectors(128), &sizes).unwrap();
        let place = |geometry: &Geometry, c: u64| geometry.places(Bytes(c * 65536)).0;
        let (old, new) = (make("original"), make("alternate"));
        assert_eq!(new.array_size(), Bytes(10 * 65536));
        assert_eq!(place(&new, 5), [chunk_place(2, 1)]);
        assert_eq!(place(&new, 6), [chunk_place(1, 2)]);
        assert_eq!(place(&new, 9), [chunk_place(1, 4)]);
        assert_eq!(place(&old, 6), [chunk_place(1, 2)]);
        let sizes = [Bytes(65536), Bytes(65536 * 2), Bytes(65536 * 2)];
        let make =
            |layout| Geometry::of_sizes(Level::Raid0, Some(layout), Sectors(128), &sizes).unwrap();
        assert_eq!(place(&make("alternate"), 3), [chunk_place(1, 1)]);
        assert_eq!(place(&make("original"), 3), [chunk_place(2, 1)]);
    }

    fn any_geometry() -> impl Strategy<Value = Geometry> {
        let copies = prop::sample::select(vec![
            "n2", "n3", "f2", "f3", "o2", "o3", "0x202", "0x10202", "0x20201", "0x40201", "0x60203",
        ]);
        (
            0..7_usize,
            1..13_usize,
            0..14_usize,
            copies,
            prop::collection::vec(0..30_u64, 12),
        )
            .prop_filter_map("no such array", |(level, members, name, copies, sizes)| {
                let level = Level::ALL[level];
                let names = parity_names(level);
                let layout = match level {
                    Level::Raid10 => Some(copies),
                    Level::Raid0 => Some(["original", "alternate"][name % 2]),
                    _ => names.get(name % names.len().max(1)).copied(),
                };
                let uneven = matches!(level, Level::Linear | Level::Raid0);
                let size =
                    |i: usize| Bytes(4096 * (8 + if uneven { sizes[i] } else { sizes[0] }) + 512);
                let sizes: Vec<Bytes> = (0..members).map(size).collect();
                Geometry::of_sizes(level, layout, Sectors(8), &sizes).ok()
            })
    }

    proptest! {
        /// The two directions are used by different parts (reading, and naming what a bad sector hits): a
        /// disagreement sends a person to the wrong file.
        #[test]
        fn the_two_directions_agree_everywhere(geometry in any_geometry()) {
            let mut at = Bytes::ZERO;
            while at < geometry.array_size() {
                let (places, run) = geometry.places(at);
                prop_assert_eq!(places.len(), geometry.copies());
                for (copy, place) in places.iter().enumerate() {
                    let array = Extent::new(at, run);
                    prop_assert_eq!(geometry.content(*place), Some(Content::Data { array, copy }), "at {} {:?}", at.0, place);
                }
                at = at + run.min(Bytes(1536));
            }
            prop_assert!(geometry.places(geometry.array_size()).0.is_empty());
        }

        /// No byte of a member stands for two of the array: one of them would be lost.
        #[test]
        fn no_place_is_used_twice(geometry in any_geometry()) {
            let mut seen = std::collections::BTreeSet::new();
            let mut at = Bytes::ZERO;
            while at < geometry.array_size() {
                let (places, run) = geometry.places(at);
                for place in places {
                    prop_assert!(seen.insert(place), "{place:?} twice");
                }
                at = at + run;
            }
        }
    }

    /// What is no array must be refused by name, not computed by another's rule.
    #[test]
    fn what_is_no_array_is_refused() {
        let make = |level, layout, members, chunk| {
            Geometry::new(level, layout, members, Sectors(chunk), Bytes::mib(1))
        };
        assert!(make(Level::Raid10, Some("n2"), 1, 128).is_err());
        assert!(make(Level::Raid10, None, 4, 128).is_err());
        assert!(make(Level::Raid10, Some("f2"), 4, 1 << 20).is_err());
        assert!(make(Level::Raid5, Some("n2"), 4, 128).is_err());
        assert!(make(Level::Raid0, None, 2, 0).is_err());
        assert!(make(Level::Raid0, None, 0, 128).is_err());
        assert!(make(Level::Raid1, None, usize::MAX, 128).is_err());
    }
}
