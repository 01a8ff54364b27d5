//! The assembled array: members and a geometry, read as one source.

use super::galois::Row;
use super::geometry::{Geometry, Place};
use crate::image::{Gaps, SharedSource, Source, len_of};
use crate::units::{Bytes, Extent, SECTOR_LEN};

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
/// A byte comes from the first copy that can be read, preferred members
/// first; else it is computed from the row's parity, again from preferred
/// members before the others. Where nothing gives it, it is a gap.
pub struct Array {
    name: String,
    geometry: Geometry,
    members: Vec<Option<ArrayMember>>,
}

/// Whether every byte of an array is on one of the members that are `there`, or follows from the parity of the others.
pub fn is_whole(geometry: &Geometry, there: &dyn Fn(usize) -> bool) -> bool {
    let members = geometry.members();
    let missing = (0..members).filter(|slot| !there(*slot)).count();
    if missing <= geometry.level().parities() {
        return true;
    }
    geometry.level().parities() == 0 && copies_there(geometry, there).all(|copies| copies > 0)
}

/// For each kind of chunk the number of its copies on members that are `there`.
pub fn copies_there(
    geometry: &Geometry,
    there: &dyn Fn(usize) -> bool,
) -> impl Iterator<Item = usize> {
    // Which slots hold a chunk repeats after so many chunks at the latest, in every layout with copies.
    let kinds = geometry.members().saturating_mul(geometry.members());
    let mut at = Bytes::ZERO;
    let next = move || {
        (at < geometry.array_size()).then(|| {
            let (places, run) = geometry.places(at);
            at = at + run.max(Bytes(1));
            places.iter().filter(|place| there(place.slot)).count()
        })
    };
    std::iter::from_fn(next).take(kinds)
}

/// Longest piece that is computed from parity at a time; bounds the buffers, one for each member.
const RECOVER: usize = 64 << 10;

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
        let mut missing = vec![Extent::new(Bytes::ZERO, len_of(buf))];
        buf.fill(0);
        for reserve in [false, true] {
            for place in &places {
                missing = self.read_copy(*place, reserve, missing, buf);
            }
            if let ([place], false) = (places.as_slice(), missing.is_empty()) {
                missing = self.compute(*place, reserve, missing, buf);
            }
        }
        let absolute = |e: Extent| Extent::new(at + e.offset, e.length);
        Gaps::from(missing.into_iter().map(absolute).collect::<Vec<_>>())
    }

    /// Fills holes of `buf` from one copy, if it is of this kind; what is left of them comes back.
    fn read_copy(
        &self,
        place: Place,
        reserve: bool,
        holes: Vec<Extent>,
        buf: &mut [u8],
    ) -> Vec<Extent> {
        let member = self.members.get(place.slot).and_then(Option::as_ref);
        let Some(member) = member.filter(|m| m.reserve == reserve) else {
            return holes;
        };
        let mut still = Vec::new();
        for hole in holes {
            let Some(part) = part_of(buf, hole) else {
                continue;
            };
            let start = member.data_offset + place.offset + hole.offset;
            for gap in member.source.read_at(start, part).extents() {
                still.push(Extent::new(hole.offset + (gap.offset - start), gap.length));
            }
        }
        still
    }

    /// Fills holes of `buf`, which starts at `place`, from the row's parity; what is left of them comes back.
    fn compute(
        &self,
        place: Place,
        reserve: bool,
        holes: Vec<Extent>,
        buf: &mut [u8],
    ) -> Vec<Extent> {
        let mut still = Vec::new();
        for hole in holes {
            let mut at = hole.offset;
            while at < hole.end() {
                let piece = Extent::new(at, (hole.end() - at).min(Bytes(RECOVER as u64)));
                if !self.compute_piece(place, reserve, piece, buf) {
                    // One bad sector on another member must not take the sectors beside it along.
                    let mut sector = piece.offset;
                    while sector < piece.end() {
                        let length = (piece.end() - sector).min(Bytes(SECTOR_LEN as u64));
                        let one = Extent::new(sector, length);
                        if one == piece || !self.compute_piece(place, reserve, one, buf) {
                            still.push(one);
                        }
                        sector = one.end();
                    }
                }
                at = piece.end();
            }
        }
        still
    }

    /// Whether one piece could be computed; it stands in `buf` then.
    fn compute_piece(&self, place: Place, reserve: bool, piece: Extent, buf: &mut [u8]) -> bool {
        let offset = place.offset + piece.offset;
        let row = offset.0 / self.geometry.chunk().0;
        let Some(stripe) = self.geometry.stripe(row) else {
            return false;
        };
        let length = piece.length.to_len(RECOVER);
        let block = |slot: usize| {
            let member = self.members.get(slot)?.as_ref()?;
            if slot == place.slot || member.reserve && !reserve {
                return None;
            }
            let mut block = vec![0; length];
            let gaps = member
                .source
                .read_at(member.data_offset + offset, &mut block);
            gaps.is_none().then_some(block)
        };
        let data: Vec<Option<Vec<u8>>> = stripe.data.iter().map(|slot| block(*slot)).collect();
        let (p, q) = (block(stripe.p), stripe.q.and_then(block));
        let powers = stripe.power.iter().copied().chain(std::iter::repeat(0));
        let row = Row {
            data: data.iter().map(Option::as_deref).zip(powers).collect(),
            p: p.as_deref(),
            q: q.as_deref(),
        };
        let wanted = stripe.data.iter().position(|slot| *slot == place.slot);
        let computed = wanted.and_then(|wanted| row.recover(wanted, length));
        match (computed, part_of(buf, piece)) {
            (Some(bytes), Some(part)) if bytes.len() == part.len() => {
                part.copy_from_slice(&bytes);
                true
            }
            _ => false,
        }
    }
}

fn part_of(buf: &mut [u8], part: Extent) -> Option<&mut [u8]> {
    let (from, to) = (part.offset.to_len(buf.len()), part.end().to_len(buf.len()));
    buf.get_mut(from..to)
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
    use crate::md::level::Level;
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

    fn noise(seed: u8) -> Vec<u8> {
        (0..2048_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed.wrapping_mul(37))
            .collect()
    }

    /// raid6 over five in rows of 512 bytes, as the geometry says where parity lies.
    fn raid6(geometry: &Geometry) -> (Vec<u8>, Vec<Vec<u8>>) {
        use crate::md::galois::{add, add_times, power};
        let data = [noise(1), noise(2), noise(3)].concat();
        let mut members = vec![vec![0; 2048]; 5];
        for (i, chunk) in data.chunks(512).enumerate() {
            let row = i / 3;
            let stripe = geometry.stripe(row as u64).unwrap();
            let here = row * 512..row * 512 + 512;
            members[stripe.data[i % 3]][here.clone()].copy_from_slice(chunk);
            add(&mut members[stripe.p][here.clone()], chunk);
            add_times(
                &mut members[stripe.q.unwrap()][here],
                chunk,
                power(stripe.power[i % 3]),
            );
        }
        (data, members)
    }

    /// Any two members missing, and a bad sector on a third where one is missing: bytes are right or gaps.
    #[test]
    fn parity_stands_in_for_what_is_lost() {
        let geometry = Geometry::new(
            Level::Raid6,
            Some("left-symmetric"),
            5,
            Sectors(1),
            Bytes(2048),
        )
        .unwrap();
        let (data, members) = raid6(&geometry);
        let array = |keep: &dyn Fn(usize) -> Option<ArrayMember>| {
            Array::new("a", geometry.clone(), (0..5).map(keep).collect())
        };
        let member = |i: usize, unread: Option<Extent>| {
            let memory = Memory::new("m", members[i].clone());
            ArrayMember {
                source: Arc::new(match unread {
                    Some(extent) => memory.with_unread(extent),
                    None => memory,
                }),
                data_offset: Bytes::ZERO,
                reserve: false,
            }
        };
        for (a, b) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
            let array = array(&|i| (i != a && i != b).then(|| member(i, None)));
            let mut buf = vec![1; data.len()];
            assert!(array.read_at(Bytes::ZERO, &mut buf).is_none(), "{a} {b}");
            assert_eq!(buf, data, "{a} {b}");
        }
        let hole = Extent::new(Bytes(512), Bytes(100));
        let array = array(&|i| (i > 1).then(|| member(i, (i == 2).then_some(hole))));
        let mut buf = vec![1; data.len()];
        let gaps = array.read_at(Bytes::ZERO, &mut buf);
        assert!(!gaps.is_none());
        for (i, (got, want)) in buf.iter().zip(&data).enumerate() {
            let lost = gaps
                .extents()
                .iter()
                .any(|g| g.offset.0 <= i as u64 && (i as u64) < g.end().0);
            assert_eq!(*got, if lost { 0 } else { *want }, "{i}");
        }
        let lost: u64 = gaps.extents().iter().map(|g| g.length.0).sum();
        assert!(
            lost <= 3 * 512,
            "only the row of the bad sector, and only its sector"
        );
    }

    /// A stale member is kept in reserve: parity gives the new bytes, not the member itself.
    #[test]
    fn parity_goes_before_a_reserve() {
        let geometry = Geometry::new(
            Level::Raid6,
            Some("left-symmetric"),
            5,
            Sectors(1),
            Bytes(2048),
        )
        .unwrap();
        let (data, members) = raid6(&geometry);
        let member = |i: usize| ArrayMember {
            source: Arc::new(Memory::new(
                "m",
                if i == 3 {
                    vec![0xbb; 2048]
                } else {
                    members[i].clone()
                },
            )),
            data_offset: Bytes::ZERO,
            reserve: i == 3,
        };
        let array = Array::new("a", geometry, (0..5).map(|i| Some(member(i))).collect());
        let mut buf = vec![1; data.len()];
        assert!(array.read_at(Bytes::ZERO, &mut buf).is_none());
        assert_eq!(buf, data);
    }
}
