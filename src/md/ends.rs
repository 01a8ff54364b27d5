//! Where an assumed array must end at the earliest: what file systems and volumes in it say of their own lengths.

use super::clues::Family;
use super::geometry::Place;
use super::votes::{Hypothesis, Voters};
use crate::units::Bytes;

impl Voters<'_> {
    /// How far on the members the array goes at least: up to the end of each file system that has structures in their
    /// place, and of what is said of the whole.
    pub fn end(&self, hypothesis: &Hypothesis) -> Bytes {
        let geometry = &hypothesis.shape.geometry;
        let last = self.clues.end.map(|end| end - Bytes(1));
        let mut ends: Vec<Bytes> = last.into_iter().collect();
        for (family, base) in self.clues.families.iter().zip(&hypothesis.bases) {
            ends.extend(
                family
                    .last(*base)
                    .filter(|_| lies(family, *base, hypothesis)),
            );
        }
        // The row of the last byte is the array's too, whoever has that byte.
        let chunk = geometry.chunk().0.max(1);
        let on_member = |end: Bytes| {
            let places = geometry.places(end).0.into_iter();
            places
                .map(|p| hypothesis.data_offset + Bytes((p.offset.0 / chunk + 1) * chunk))
                .max()
        };
        ends.into_iter()
            .filter_map(on_member)
            .max()
            .unwrap_or_default()
    }

    /// Whether a file system goes on where this array has nothing: behind its end, or a member's. Then the one or the
    /// other was cut, or the array is another.
    pub fn lacks_an_end(&self, hypothesis: &Hypothesis) -> bool {
        let geometry = &hypothesis.shape.geometry;
        let is_there = |p: &Place| {
            let member = hypothesis.member(p.slot).and_then(|m| self.members.get(m));
            member.is_none_or(|m| hypothesis.data_offset + p.offset < m.len())
        };
        // Its last chunks, on every member that has one.
        let chunks = geometry.members() as u64;
        let lacks = |last: Bytes| {
            let before = |i: u64| last - Bytes(i * geometry.chunk().0);
            let holds = |at: Bytes| {
                at < geometry.array_size() && geometry.places(at).0.iter().all(is_there)
            };
            !(0..chunks).map(before).all(holds)
        };
        let families = self.clues.families.iter().zip(&hypothesis.bases);
        families.into_iter().any(|(family, base)| {
            family.last(*base).is_some_and(lacks) && lies(family, *base, hypothesis)
        })
    }
}

/// Whether a file system's structures lie where the hypothesis puts them: of what only strays here nearly all lies
/// elsewhere; parity over empty members repeats what is true.
fn lies(family: &Family, base: usize, hypothesis: &Hypothesis) -> bool {
    let Some(base) = family.bases.get(base) else {
        return false;
    };
    let seen = family.sightings.iter();
    seen.filter(|s| hypothesis.shows(base, s)).count() * 4 >= family.sightings.len().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::progress::Silent;
    use crate::image::{Memory, SharedSource};
    use crate::md::clues::{Base, Clues, Sighting};
    use crate::md::geometry::Geometry;
    use crate::md::hypothesis::Shape;
    use crate::md::level::Level;
    use crate::md::sample::Sample;
    use crate::units::Sectors;
    use std::sync::Arc;

    const CHUNK: u64 = 64 << 10;

    /// Whether a file system of so many chunks lacks its end in an array over members of 8, 6 and 8 chunks.
    fn lacks(chunks: u64, level: Level, slots: &[Option<usize>]) -> bool {
        let sizes = [8, 6, 8].map(|n| Bytes(n * CHUNK));
        let memory = |size: &Bytes| Memory::new("m", vec![0; size.to_len(usize::MAX)]);
        let source = |size| -> SharedSource { Arc::new(memory(size)) };
        let members: Vec<SharedSource> = sizes.iter().map(source).collect();
        let chunk = Sectors(CHUNK / 512);
        let geometry = match level {
            Level::Raid0 => Geometry::of_sizes(level, Some("alternate"), chunk, &sizes),
            _ => Geometry::new(level, None, slots.len(), chunk, Bytes(8 * CHUNK)),
        };
        let hypothesis = Hypothesis {
            shape: Shape {
                level,
                layout: None,
                geometry: geometry.unwrap(),
                rank: 0,
            },
            data_offset: Bytes::ZERO,
            slots: slots.to_vec(),
            score: 0,
            prior: 0,
            bases: vec![0],
        };
        let start = Sighting {
            member: 0,
            at: Bytes::ZERO,
            logical: Bytes::ZERO,
        };
        let clues = Clues {
            families: vec![Family {
                sightings: vec![start],
                bases: vec![Base::at("start", Bytes::ZERO)],
                length: Some(Bytes(chunks * CHUNK)),
                ..Family::default()
            }],
            ..Clues::default()
        };
        let sample = Sample::take(&members, Vec::new(), &Silent, &mut |_, _, _| {});
        Voters::new(&clues, &sample, &members).lacks_an_end(&hypothesis)
    }

    /// A raid0 over members of unequal length, and a raid4 without its parity, read the same up to the end of the
    /// shortest: only where the file system ends tells them apart.
    #[test]
    fn a_file_system_has_an_end() {
        let raid0 = |chunks| lacks(chunks, Level::Raid0, &[Some(0), Some(1), Some(2)]);
        let raid4 = |chunks| lacks(chunks, Level::Raid4, &[Some(0), Some(1), Some(2), None]);
        assert_eq!((raid0(22), raid4(22)), (false, true));
        assert_eq!((raid0(23), raid4(25)), (true, true));
        assert_eq!((raid0(18), raid4(18)), (false, false));
    }
}
