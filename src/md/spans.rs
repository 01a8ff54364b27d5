//! What files say of their own bytes further on, whatever file system they lie in, or none.
//!
//! A file's head, or a part of it, may say that so many bytes behind it lies
//! something that can be recognised there: an ELF header its section table, an
//! archive's header the next one. Such a [`Span`] and the [`Sign`]s that were
//! seen tie two places on members to a distance in the array. Where both lie
//! on one member at just that distance, no chunk ends between them; where the
//! sign is not there, one does, and the order must bring it to its place.

use super::geometry::{Content, Geometry, Place};
use super::sample::{PAGE, Page, Sample};
use super::votes::{Hypothesis, Tally};
use crate::units::Bytes;
use std::collections::HashSet;

/// Spans that are kept: of more an even choice.
pub const MOST: usize = 4096;

/// Spans that go on elsewhere, of which a choice of shapes is made.
const MOST_TRIED: usize = 1024;

/// Something of a file that is recognised by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// The entry of an ELF file's section names in its section table, with the table's place in the file.
    Sections(u64),
    /// A header within a ZIP archive.
    Zip,
    /// A chunk of a PNG image.
    Png,
    /// A file's header in a tar archive.
    Tar,
    /// Where the file of this number goes on, followed to its end.
    Followed(u32),
}

/// What lies so far behind a place, in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The member of the place.
    pub member: usize,
    /// The place, to the byte.
    pub at: Bytes,
    /// How far behind it.
    pub distance: Bytes,
    /// What lies there.
    pub sign: Sign,
}

/// Spans and signs of a set of members.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// The spans.
    pub spans: Vec<Span>,
    /// Where signs were seen.
    pub signs: HashSet<(usize, Bytes, Sign)>,
}

/// Whether a span's sign lies on the same member, as within one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// It does.
    Whole,
    /// It does not, where it would have been seen.
    Parted,
    /// That place was not read.
    Unread,
}

impl Spans {
    /// An even choice, if they are very many; those that cross no page's border say nothing.
    pub fn tidy(&mut self) {
        let page = |at: Bytes| at.0 / PAGE as u64;
        self.spans.retain(|s| page(s.at) != page(s.at + s.distance));
        self.spans.sort_unstable();
        self.spans.dedup();
        let step = self.spans.len().div_ceil(MOST).max(1);
        self.spans = self.spans.iter().copied().step_by(step).collect();
    }

    fn here(&self, span: &Span, sample: &Sample) -> Here {
        let there = span.at + span.distance;
        match sample.page(span.member, page_of(there)) {
            _ if self.signs.contains(&(span.member, there, span.sign)) => Here::Whole,
            // It was seen where it is.
            _ if matches!(span.sign, Sign::Followed(_)) => Here::Parted,
            Page::Unread => Here::Unread,
            _ => Here::Parted,
        }
    }

    /// For each power of two, as bits, how many spans agree with chunks of that size where data start at `offset`, less
    /// those that do not; `None` where there are none.
    pub fn chunks(&self, sample: &Sample, offset: Bytes) -> Option<[i64; 64]> {
        let mut agree = [0; 64];
        for span in self.spans.iter().filter(|s| s.at >= offset) {
            let here = self.here(span, sample);
            let (from, to) = (span.at - offset, span.at + span.distance - offset);
            for (bits, count) in agree.iter_mut().enumerate() {
                let one_chunk = from.0 >> bits == to.0 >> bits;
                *count += match here {
                    Here::Unread => 0,
                    Here::Whole if one_chunk => 1,
                    Here::Parted if !one_chunk => 1,
                    _ => -1,
                };
            }
        }
        (!self.spans.is_empty()).then_some(agree)
    }

    /// Calls `vote` with two columns and two seats for every span that goes on elsewhere and would lie right so.
    pub fn tally(
        &self,
        (geometry, offset): (&Geometry, Bytes),
        sample: &Sample,
        tally: &Tally,
        vote: &mut dyn FnMut((usize, usize), (usize, usize)),
    ) {
        let parted = |s: &&Span| s.at >= offset && self.here(s, sample) == Here::Parted;
        let parted: Vec<&Span> = self.spans.iter().filter(parted).collect();
        let step = parted.len().div_ceil(MOST_TRIED).max(1);
        for span in parted.into_iter().step_by(step) {
            let Some(seat) = tally.seat_of(span.member) else {
                continue;
            };
            for slot in 0..geometry.members() {
                let Some(array) = array_place(geometry, slot, span.at - offset, tally.copies)
                else {
                    continue;
                };
                for place in geometry.places(array + span.distance).0 {
                    // Copies beside each other have one column, which the first stands for.
                    if place.slot % tally.copies != 0 {
                        continue;
                    }
                    let at = offset + place.offset;
                    let shows = |members: &Vec<usize>| {
                        let sign = |m: &usize| self.signs.contains(&(*m, at, span.sign));
                        members.iter().any(sign)
                    };
                    for (other, _) in tally.seats.iter().enumerate().filter(|(_, m)| shows(m)) {
                        let columns = (slot / tally.copies, place.slot / tally.copies);
                        vote(columns, (seat, other));
                    }
                }
            }
        }
    }

    /// How many of the spans go on where a hypothesis puts them, those of each copy by themselves: what calls two copies
    /// two places must not have more.
    pub fn held(&self, hypothesis: &Hypothesis, sample: &Sample, members: usize) -> Held {
        let geometry = &hypothesis.shape.geometry;
        let mut held = Held {
            on: vec![0; members],
            ..Held::default()
        };
        for span in &self.spans {
            let slots = &hypothesis.slots;
            let slot = slots.iter().position(|s| *s == Some(span.member));
            let inside = span.at.0.checked_sub(hypothesis.data_offset.0).map(Bytes);
            let array = slot
                .zip(inside)
                .and_then(|(slot, inside)| array_place(geometry, slot, inside, 1));
            let Some(array) = array else {
                continue;
            };
            let place = |p: &Place| {
                let at = hypothesis.data_offset + p.offset;
                Some((hypothesis.member(p.slot)?, at))
            };
            let places = geometry.places(array + span.distance).0;
            let places: Vec<(usize, Bytes)> = places.iter().filter_map(place).collect();
            let read = |(m, at): &(usize, Bytes)| sample.page(*m, page_of(*at)) != Page::Unread;
            if !places.iter().any(read) {
                continue;
            }
            let lies = |(m, at): &&(usize, Bytes)| self.signs.contains(&(*m, *at, span.sign));
            if let Some((member, _)) = places.iter().find(lies) {
                held.held += 1;
                held.parted += usize::from(*member != span.member);
                for end in [span.member, *member] {
                    if let Some(count) = held.on.get_mut(end) {
                        *count += 1;
                    }
                }
            } else if let Some((member, _)) = places.first() {
                held.missed.push((span.member, *member));
            }
        }
        held
    }
}

/// What a hypothesis makes of the spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Those that go on in their place.
    pub held: usize,
    /// Of those, the ones that do so on another member.
    pub parted: usize,
    /// Those whose place was read and that do not go on: the member that each begins on, and the one where it should go on.
    pub missed: Vec<(usize, usize)>,
    /// Ends of those that go on, on each member.
    pub on: Vec<usize>,
}

impl Held {
    /// Those whose place was read.
    pub fn known(&self) -> usize {
        self.held + self.missed.len()
    }

    /// Those, without the ones that do not go on and have to do with members that missed writes.
    pub fn known_without(&self, stale: &[usize]) -> usize {
        let counts = |(a, b): &&(usize, usize)| !stale.contains(a) && !stale.contains(b);
        self.held + self.missed.iter().filter(counts).count()
    }
}

fn page_of(at: Bytes) -> Bytes {
    Bytes(at.0 / PAGE as u64 * PAGE as u64)
}

/// The place in the array of a byte of a slot that holds data; of copies beside each other only the first's.
pub(super) fn array_place(
    geometry: &Geometry,
    slot: usize,
    inside: Bytes,
    copies: usize,
) -> Option<Bytes> {
    let chunk = Place {
        slot,
        offset: inside,
    };
    match geometry.content(chunk)? {
        Content::Data { array, copy } if copy == 0 || copies == 1 => Some(array.offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a member that missed writes go on nowhere: counted, they make of a sure answer one that is not.
    #[test]
    fn a_stale_member_says_nothing_against_an_answer() {
        let held = Held {
            held: 60,
            missed: [vec![(0, 2); 20], vec![(2, 1); 20]].concat(),
            ..Held::default()
        };
        assert_eq!(held.known_without(&[2]), 60);
        assert_eq!(held.known_without(&[1]), 80);
        assert_eq!((held.known_without(&[]), held.known()), (100, 100));
    }
}
