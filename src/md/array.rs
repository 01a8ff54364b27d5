//! The assembled array: members and a geometry, read as one source.

use super::geometry::Geometry;
use crate::image::{Gaps, SharedSource, Source, len_of};
use crate::units::{Bytes, Extent};

/// One slot's member.
#[derive(Clone)]
pub struct ArrayMember {
    /// The member.
    pub source: SharedSource,
    /// Where its data starts.
    pub data_offset: Bytes,
    /// Read it only where no preferred member gives the bytes.
    pub reserve: bool,
}

/// An array put together from what is left of it.
///
/// A byte comes from the first copy that can be read: preferred members
/// first, then the others. Where no copy can, it is a gap.
pub struct Array {
    name: String,
    geometry: Geometry,
    members: Vec<Option<ArrayMember>>,
}

impl Array {
    /// The array of these members in slot order, `None` for a missing one. Missing slots at the end may be left out.
    pub fn new(
        name: impl Into<String>,
        geometry: Geometry,
        members: Vec<Option<ArrayMember>>,
    ) -> Array {
        Array {
            name: name.into(),
            geometry,
            members,
        }
    }

    /// Its geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Reads one run, which lies in one piece on every member that holds it.
    fn read_run(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let (places, _) = self.geometry.places(at);
        let mut copies: Vec<(&ArrayMember, Bytes)> = places
            .iter()
            .filter_map(|place| {
                let member = self.members.get(place.slot)?.as_ref()?;
                Some((member, member.data_offset + place.offset))
            })
            .collect();
        copies.sort_by_key(|(member, _)| member.reserve);
        let mut missing = vec![Extent::new(Bytes::ZERO, len_of(buf))];
        buf.fill(0);
        for (member, base) in copies {
            let mut still = Vec::new();
            for hole in missing {
                let (from, to) = (hole.offset.to_len(buf.len()), hole.end().to_len(buf.len()));
                let Some(slot) = buf.get_mut(from..to) else {
                    continue;
                };
                let start = base + hole.offset;
                for gap in member.source.read_at(start, slot).extents() {
                    still.push(Extent::new(hole.offset + (gap.offset - start), gap.length));
                }
            }
            missing = still;
            if missing.is_empty() {
                break;
            }
        }
        let absolute = |e: Extent| Extent::new(at + e.offset, e.length);
        Gaps::from(missing.into_iter().map(absolute).collect::<Vec<_>>())
    }
}

impl Source for Array {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Bytes {
        self.geometry.array_size()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let mut gaps = Gaps::none();
        let mut rest = buf;
        let mut here = at;
        while !rest.is_empty() {
            let (_, run) = self.geometry.places(here);
            if run == Bytes::ZERO {
                rest.fill(0);
                gaps.add(Gaps::one(Extent::new(here, len_of(rest))));
                break;
            }
            let (now, later) = rest.split_at_mut(run.to_len(rest.len()));
            gaps.add(self.read_run(here, now));
            here = here + len_of(now);
            rest = later;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::md::geometry::Level;
    use crate::units::Sectors;
    use std::sync::Arc;

    /// A member with `front` bytes before its data, whose data is one byte value a chunk: row * 16 + slot.
    fn member(slot: u8, front: usize, unread: Option<Extent>) -> ArrayMember {
        let mut bytes = vec![0xee; front];
        for row in 0..4 {
            bytes.extend([row * 16 + slot; 512]);
        }
        let mut memory = Memory::new(format!("m{slot}"), bytes);
        if let Some(extent) = unread {
            memory = memory.with_unread(extent);
        }
        ArrayMember {
            source: Arc::new(memory),
            data_offset: Bytes(front as u64),
            reserve: false,
        }
    }

    fn geometry() -> Geometry {
        Geometry::new(Level::Raid10, Some("n2"), 4, Sectors(1), Bytes(2048)).unwrap()
    }

    /// A bad sector on one mirror must be read from the other, and only what neither has is a gap.
    #[test]
    fn bytes_come_from_any_copy_and_gaps_are_what_no_copy_has() {
        let bad = |o, l| Some(Extent::new(Bytes(o), Bytes(l)));
        let array = Array::new(
            "md1",
            geometry(),
            vec![
                Some(member(0, 100, bad(100 + 512, 512))),
                Some(member(1, 0, bad(512 + 256, 512))),
                None,
                Some(member(3, 0, None)),
            ],
        );
        assert_eq!(array.len(), Bytes(4096));
        let mut buf = vec![0xaa; 4096];
        let gaps = array.read_at(Bytes(0), &mut buf);
        // Row 1: slot 0 has nothing, slot 1 its first half only. Row 2 comes from slot 0.
        assert_eq!(gaps.extents(), [Extent::new(Bytes(1024 + 256), Bytes(256))]);
        let at = |i: usize| buf[i];
        assert_eq!((at(0), at(512), at(1024), at(1280)), (0, 3, 17, 0));
        assert_eq!((at(1536), at(2048), at(3072), at(3584)), (19, 32, 48, 51));
        // Across a run's border and behind the end.
        let mut buf = [0xaa; 1024];
        let gaps = array.read_at(Bytes(3584), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(4096), Bytes(512))]);
        assert_eq!((buf[0], buf[511], buf[512]), (51, 51, 0));
    }

    /// With a half chosen, the other half must not be read where the half has the bytes: it may be newer or damaged.
    #[test]
    fn the_half_is_read_first() {
        let mut reserve = member(0, 0, None);
        reserve.reserve = true;
        let array = Array::new(
            "md1",
            geometry(),
            vec![Some(reserve), Some(member(1, 0, None)), None, None],
        );
        let mut buf = [0; 512];
        assert!(array.read_at(Bytes(0), &mut buf).is_none());
        assert_eq!(buf[0], 1);
        let gaps = array.read_at(Bytes(512), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(512), Bytes(512))]);
    }
}
