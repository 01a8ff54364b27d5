//! An array whose reshape was under way: two geometries over the same members, and the place where one gives way to
//! the other.
//!
//! A reshape moves the array's bytes from the old geometry into the new one,
//! from the start on, or from the end where it goes backwards. The superblock
//! holds the place that it had reached (`reshape_position`), written before
//! anything behind it may be overwritten: what lies on the new geometry's side
//! is there, and on the other side nothing was lost. Only where both
//! geometries need the same sectors at once does mdadm keep what is being
//! moved in a backup file; that stretch is a gap here.
//!
//! Source: the kernel's `raid5.c` (`reshape_request`, `setup_conf`), mdadm's
//! `Grow.c` (`reshape_array`: the backup's unit is doubled up to 16 MiB, and
//! there are two of them).

use super::array::{Array, ArrayMember};
use super::geometry::{Geometry, GeometryError};
use super::level::{Level, layout_name};
use super::superblock::{MOST_SLOTS, Superblock};
use crate::image::{Gaps, SharedSource, Source, len_of};
use crate::units::{Bytes, Extent, SECTOR, Sectors};
use serde::{Deserialize, Serialize};

/// What mdadm keeps in a backup file at most, in bytes of the array: two units of 16 MiB.
const BACKUP: Bytes = Bytes::mib(32);

/// One of the two geometries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Level in mdadm's words.
    pub level: Level,
    /// Layout in mdadm's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Chunk in KiB.
    pub chunk_kib: u64,
    /// Slots: the first so many of the array's members.
    pub slots: usize,
    /// Sectors before the data on the member of each slot.
    pub data_offsets_sectors: Vec<u64>,
}

/// Both of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halves {
    /// Bytes of the array before which `below` holds, and from which on `above` does.
    pub position: Bytes,
    /// The geometry before the position.
    pub below: Side,
    /// The geometry from it on.
    pub above: Side,
    /// What only mdadm's backup file has, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_backup: Option<Extent>,
}

impl Side {
    /// Its arithmetic.
    ///
    /// # Errors
    /// [`GeometryError`] where the numbers cannot be those of an array.
    pub fn geometry(&self, member_bytes: Bytes) -> Result<Geometry, GeometryError> {
        let chunk = Sectors(self.chunk_kib.saturating_mul(2));
        let layout = self.layout.as_deref();
        Geometry::new(self.level, layout, self.slots, chunk, member_bytes)
    }

    /// `raid5 left-symmetric, chunk 64 KiB, over 4`.
    pub fn describe(&self) -> String {
        let layout = self.layout.as_deref().map(|l| format!(" {l}"));
        format!(
            "{}{}, chunk {} KiB, over {}",
            self.level,
            layout.unwrap_or_default(),
            self.chunk_kib,
            self.slots
        )
    }
}

impl Halves {
    /// What the newest of some superblocks says of a reshape; `members` are all of them in slot order. `None` where
    /// there was none under way, or its numbers cannot be.
    pub fn of_superblocks(newest: &Superblock, members: &[Option<&Superblock>]) -> Option<Halves> {
        let reshape = newest.reshape.as_ref()?;
        let before = usize::try_from(newest.slots_before()).ok()?;
        let now = usize::try_from(newest.raid_disks).ok()?;
        let offsets = |new: bool, slots: usize| {
            let of = |slot: usize| {
                let own = members.get(slot).copied().flatten();
                let sb = own.unwrap_or(newest);
                let moved = sb.reshape.as_ref().and_then(|r| r.new_data_offset);
                moved.filter(|_| new).unwrap_or(sb.data_offset).0
            };
            (0..slots.min(MOST_SLOTS)).map(of).collect()
        };
        let side = |level: i32, layout: u32, chunk: Sectors, slots: usize, new: bool| {
            let level = Level::from_number(level)?;
            Some(Side {
                level,
                layout: layout_name(level, layout),
                chunk_kib: chunk.0 / 2,
                slots,
                data_offsets_sectors: offsets(new, slots),
            })
        };
        let old = side(newest.level, newest.layout, newest.chunk, before, false)?;
        let new = side(
            reshape.new_level,
            reshape.new_layout,
            reshape.new_chunk,
            now,
            true,
        )?;
        let member_bytes = newest.member_size.to_bytes()?;
        let position = reshape.position.to_bytes()?;
        let width = |side: &Side| {
            let geometry = side.geometry(member_bytes).ok()?;
            geometry
                .array_size()
                .0
                .checked_div(geometry.member_data().0)
        };
        let (old_width, new_width) = (width(&old)?, width(&new)?);
        let in_backup = in_backup(
            position,
            reshape.backwards,
            (&old, old_width),
            (&new, new_width),
        );
        let (below, above) = match reshape.backwards {
            true => (old, new),
            false => (new, old),
        };
        Some(Halves {
            position,
            below,
            above,
            in_backup,
        })
    }

    /// The array, read through both.
    ///
    /// # Errors
    /// [`GeometryError`] where the numbers cannot be those of an array.
    pub fn open(
        &self,
        name: &str,
        member_bytes: Bytes,
        members: &[Option<(SharedSource, bool)>],
    ) -> Result<Reshaped, GeometryError> {
        let side = |side: &Side| {
            let geometry = side.geometry(member_bytes)?;
            let member = |slot: usize| {
                let (source, reserve) = members.get(slot)?.clone()?;
                let offset = side.data_offsets_sectors.get(slot)?;
                Some(ArrayMember {
                    source,
                    data_offset: Sectors(*offset).to_bytes()?,
                    reserve,
                })
            };
            Ok(Array::new(
                name,
                geometry,
                (0..side.slots).map(member).collect(),
            ))
        };
        Ok(Reshaped {
            name: name.to_owned(),
            halves: self.clone(),
            below: side(&self.below)?,
            above: side(&self.above)?,
        })
    }
}

/// The part of an array in which a geometry holds, where it holds in one part only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the array where that changes.
    pub position: Bytes,
    /// Whether it holds before that; else from there on.
    pub below: bool,
    /// Things looked up in that part, and those of them that hold.
    pub inside: (usize, usize),
    /// The same of the rest.
    pub outside: (usize, usize),
}

impl Part {
    /// Of things of known place in the array, each with whether it holds: the place that parts them best. `None` where
    /// none does.
    pub fn of(mut facts: Vec<(Bytes, bool)>) -> Option<Part> {
        /// Things on either side, the share of all that must lie there, and the shares of them that must hold, or may, in
        /// percent. Where a file system was rewritten much, a tenth of what old inodes say is wrong, most of it in its
        /// last part; of a reshape nothing holds on the other side.
        const FEWEST: usize = 16;
        const SHARE: usize = 10;
        const INSIDE: usize = 80;
        const OUTSIDE: usize = 15;
        facts.sort_unstable();
        let all = facts.iter().filter(|(_, holds)| *holds).count();
        let (mut before, mut best) = (0, None);
        for (i, (position, holds)) in facts.iter().enumerate() {
            let counts = [(i, before), (facts.len() - i, all - before)];
            for (below, [inside, outside]) in [(true, counts), (false, [counts[1], counts[0]])] {
                let explained = inside.1 + (outside.0 - outside.1);
                if best.is_none_or(|(most, _)| explained > most) {
                    let part = Part {
                        position: *position,
                        below,
                        inside,
                        outside,
                    };
                    best = Some((explained, part));
                }
            }
            before += usize::from(*holds);
        }
        let (_, part) = best?;
        let (inside, outside) = (part.inside, part.outside);
        let enough = |count: usize| count >= FEWEST && count * 100 >= facts.len() * SHARE;
        let parts = enough(inside.0)
            && enough(outside.0)
            && inside.1 * 100 >= inside.0 * INSIDE
            && outside.1 * 100 <= outside.0 * OUTSIDE;
        parts.then_some(part)
    }

    /// `below byte 94371840 of the array (310 of 312 pages hold, above 40 of 500)`.
    pub fn describe(&self) -> String {
        let (here, there) = if self.below {
            ("below", "above")
        } else {
            ("above", "below")
        };
        format!(
            "{here} byte {} of the array ({} of {} pages hold, {there} {} of {})",
            self.position.0, self.inside.1, self.inside.0, self.outside.1, self.outside.0
        )
    }
}

/// What of the array lies only in mdadm's backup file: where the new place of what comes next is still needed by the old.
fn in_backup(
    position: Bytes,
    backwards: bool,
    (old, old_width): (&Side, u64),
    (new, new_width): (&Side, u64),
) -> Option<Extent> {
    let on_member = |side: &Side, width: u64| {
        let start = side.data_offsets_sectors.first().copied().unwrap_or(0);
        let start = start.saturating_mul(SECTOR);
        start.saturating_add(position.0 / width.max(1))
    };
    let (from, to) = (on_member(old, old_width), on_member(new, new_width));
    // The reshape writes behind what it reads by less than a row of either: it overwrites what it has not moved yet.
    let row = old.chunk_kib.max(new.chunk_kib).saturating_mul(1 << 10);
    let ahead = match backwards {
        true => to.saturating_sub(from),
        false => from.saturating_sub(to),
    };
    (ahead < row).then(|| match backwards {
        true => Extent::new(position - BACKUP, position.min(BACKUP)),
        false => Extent::new(position, BACKUP),
    })
}

/// An array read through two geometries.
pub struct Reshaped {
    name: String,
    halves: Halves,
    below: Array,
    above: Array,
}

impl Source for Reshaped {
    fn name(&self) -> &str {
        &self.name
    }

    /// While a reshape runs the array is as long as in the smaller of the two.
    fn len(&self) -> Bytes {
        self.below.len().min(self.above.len())
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let here = Extent::new(at, len_of(buf));
        let split = (self.halves.position - at).to_len(buf.len());
        let (low, high) = buf.split_at_mut(split);
        let mut gaps = Gaps::none();
        if !low.is_empty() {
            gaps.add(self.below.read_at(at, low));
        }
        if !high.is_empty() {
            gaps.add(self.above.read_at(at + Bytes(split as u64), high));
        }
        let lost = self.halves.in_backup.and_then(|lost| lost.overlap(here));
        let end = Extent::new(self.len(), here.end() - self.len()).overlap(here);
        gaps.add(Gaps::from(
            [lost, end].into_iter().flatten().collect::<Vec<_>>(),
        ));
        gaps.clear(at, buf);
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use std::sync::Arc;

    fn side(slots: usize, chunk_kib: u64, offset: u64) -> Side {
        Side {
            level: Level::Raid0,
            layout: None,
            chunk_kib,
            slots,
            data_offsets_sectors: vec![offset; slots],
        }
    }

    /// Each side must be read through its own geometry and at its own start, and what only a backup has is no zeros.
    #[test]
    fn each_side_has_its_own_geometry() {
        // Old: two members from sector 2; new: three from sector 0, chunks of 1 KiB. The first 3 KiB were moved.
        let kib = |n: u8| vec![n; 1024];
        let members: Vec<Option<(SharedSource, bool)>> = [
            [kib(0), kib(2), kib(4)],
            [kib(1), kib(3), kib(5)],
            [kib(2), kib(0xee), kib(0xee)],
        ]
        .into_iter()
        .map(|rows| -> Option<(SharedSource, bool)> {
            Some((Arc::new(Memory::new("m", rows.concat())), false))
        })
        .collect();
        let mut halves = Halves {
            position: Bytes(3072),
            below: side(3, 1, 0),
            above: side(2, 1, 0),
            in_backup: None,
        };
        let array = halves.open("a", Bytes(3072), &members).unwrap();
        assert_eq!(array.len(), Bytes(6144));
        let mut buf = vec![0; 6144];
        assert!(array.read_at(Bytes::ZERO, &mut buf).is_none());
        for (i, chunk) in buf.chunks(1024).enumerate() {
            assert_eq!(chunk[0] as usize, i);
        }
        let lost = Extent::new(Bytes(3072), Bytes(512));
        halves.in_backup = Some(lost);
        let array = halves.open("a", Bytes(3072), &members).unwrap();
        let mut buf = vec![9; 1024];
        let gaps = array.read_at(Bytes(3000), &mut buf);
        assert_eq!(gaps.extents(), [lost]);
        assert_eq!((buf[0], buf[72], buf[583], buf[584]), (2, 0, 0, 3));
    }

    /// A stale member breaks a share of pages everywhere: that is no reshape.
    #[test]
    fn what_holds_in_one_part() {
        let facts = |holds: &dyn Fn(u64) -> bool| (0..200).map(|i| (Bytes(i), holds(i))).collect();
        let part = Part::of(facts(&|i| i < 120 && i % 20 != 3)).unwrap();
        assert_eq!(
            (part.position, part.below, part.inside),
            (Bytes(120), true, (120, 114))
        );
        let other = Part::of(facts(&|i| i >= 110)).unwrap();
        assert!(!other.below && other.position == Bytes(110));
        assert_eq!(Part::of(facts(&|i| i % 3 != 0)), None);
        assert_eq!(Part::of(facts(&|_| true)), None);
        assert_eq!(Part::of(facts(&|i| i < 5)), None);
    }

    /// In place, without a free stretch ahead, what is moved exists in the backup file alone.
    #[test]
    fn what_a_backup_holds() {
        let at = Bytes::mib(90);
        let grown = in_backup(at, false, (&side(2, 64, 2048), 2), (&side(3, 64, 2048), 3));
        assert_eq!(grown, None);
        let in_place = in_backup(at, false, (&side(3, 64, 2048), 3), (&side(3, 128, 2048), 3));
        assert_eq!(in_place, Some(Extent::new(at, BACKUP)));
        let moved = in_backup(at, false, (&side(3, 64, 4096), 3), (&side(3, 128, 2048), 3));
        assert_eq!(moved, None);
        let back = in_backup(at, true, (&side(3, 64, 2048), 3), (&side(3, 128, 2048), 3));
        assert_eq!(back, Some(Extent::new(Bytes::mib(58), BACKUP)));
    }
}
