//! Texts in pieces: what is left of a text that was cut is kept, and put together where it can be.
//!
//! A text is cut by the end of its ring (it goes on behind the metadata
//! area's header), by an indirect block of ext3 behind twelve blocks of a
//! file, by fragmentation, by the end of an md chunk, or by a younger text
//! that was written over it. In order of what they prove:
//!
//! - [`over_the_end`]: the header says where the ring ends and begins again.
//!   A text that goes over its end is whole, and its checksum may hold.
//! - [`join`]: a front and an end that make one text by the grammar, with
//!   every volume inside its physical volume and none over another. Nothing
//!   but that speaks for it, so it is never called complete.
//! - [`rebuild`]: an end whose front is gone, under the front of another text
//!   of the same group, from the line on which both agree.

use super::carve::{self, Carved, Carver, Made};
use super::mda::Header;
use crate::image::sweep::Context;
use crate::image::{Memory, Source};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent, SECTOR};
use serde::Serialize;

/// No two of what a piece shows itself by start closer to each other in a real text.
pub const CONTEXT: Context = Context {
    apart: 40,
    before: 0,
    fits: |_| true,
    between: None,
};

/// The longest piece that is looked at; texts of thousands of volumes are so long.
const LONGEST: u64 = 1 << 20;

/// Fronts and ends of one source that are tried with each other. More than so many is no metadata area's wear.
const MOST: usize = 64;
const MOST_ENDS: usize = 256;

/// Bytes of ends kept of one source.
const MOST_BYTES: usize = 16 << 20;

/// Bytes on each side of a ring's end that are looked at for a text over it.
const ROUND_THE_END: u64 = 256 << 10;

/// A run of text without its front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Where it lies.
    #[serde(flatten)]
    pub extent: Extent,
    /// Its bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Whether a byte can stand in a text: UTF-8 beyond ASCII stands in no structure, and would carry a run into noise.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x20..=0x7e)
}

/// The runs of text round `hits` (ascending) that no whole text covers, without the fronts of cut ones.
pub fn ends(source: &dyn Source, hits: &[Bytes], texts: &[Carved]) -> Vec<Piece> {
    let mut edges: Vec<Extent> = texts.iter().map(|t| t.extent).collect();
    edges.sort();
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut passed, mut kept) = (Bytes::ZERO, 0);
    for hit in hits {
        if *hit < passed {
            continue;
        }
        if pieces.len() >= MOST_ENDS || kept >= MOST_BYTES {
            break;
        }
        let after = edges.partition_point(|e| e.offset <= *hit);
        let before = after.checked_sub(1).and_then(|i| edges.get(i));
        if before.is_some_and(|e| *hit < e.end()) {
            continue;
        }
        let floor = before.map_or(Bytes::ZERO, |e| e.end());
        let roof = edges.get(after).map_or(source.len(), |e| e.offset);
        let piece = run(source, *hit, floor.max(passed), roof);
        passed = piece.extent.end().max(*hit + Bytes(1));
        kept += piece.bytes.len();
        // An end closes what was open, at least the group.
        if memchr::memmem::find(&piece.bytes, b"\n}\n").is_some() {
            pieces.push(piece);
        }
    }
    pieces
}

/// The text round `hit`, not beyond `floor` and `roof`.
fn run(source: &dyn Source, hit: Bytes, floor: Bytes, roof: Bytes) -> Piece {
    let from = floor.max(hit - Bytes(LONGEST / 2));
    let to = roof.min(hit + Bytes(LONGEST / 2));
    let mut bytes = vec![0; (to - from).to_len(1 << 20)];
    // Gaps read as zeros, which end a run.
    let _ = source.read_at(from, &mut bytes);
    let at = (hit - from).to_len(bytes.len());
    let front = bytes.get(..at).unwrap_or_default();
    let start = front
        .iter()
        .rposition(|b| !is_text(*b))
        .map_or(0, |i| i + 1);
    let back = bytes.get(at..).unwrap_or_default();
    let end = back
        .iter()
        .position(|b| !is_text(*b))
        .map_or(bytes.len(), |i| at + i);
    Piece {
        extent: Extent::new(from + Bytes(start as u64), Bytes((end - start) as u64)),
        bytes: bytes.get(start..end).unwrap_or_default().to_vec(),
    }
}

/// Texts that go over the end of the ring behind a header: each in two pieces, in the ring's order.
pub fn over_the_end(source: &dyn Source, header: &Header) -> Vec<Carved> {
    let ring = header.ring();
    if header.checksum != Checksum::Ok || ring.length < Bytes(SECTOR) || ring.end() > source.len() {
        return Vec::new();
    }
    let side = Bytes(ROUND_THE_END.min(ring.length.0 / SECTOR * SECTOR));
    let (tail, front) = (
        Extent::new(ring.end() - side, side),
        Extent::new(ring.offset, side),
    );
    let mut bytes = Vec::new();
    for part in [tail, front] {
        let Ok(part) = crate::image::read_vec(source, part, 1 << 20) else {
            return Vec::new();
        };
        bytes.extend(part);
    }
    let joint = side.to_len(usize::MAX);
    let hits: Vec<usize> = memchr::memmem::find_iter(&bytes, carve::NEEDLE).collect();
    let memory = Memory::new("ring", bytes);
    let mut found = Vec::new();
    let mut carver = Carver::new(&memory);
    for hit in hits {
        let Some(mut text) = carver.text_at(Bytes(hit as u64)) else {
            continue;
        };
        let (start, end) = (text.extent.offset, text.extent.end());
        if start.to_len(usize::MAX) >= joint || end.to_len(usize::MAX) <= joint || !text.complete {
            continue;
        }
        text.pieces = vec![
            Extent::new(tail.offset + start, side - start),
            Extent::new(front.offset, end - side),
        ];
        text.extent = Extent::new(tail.offset + start, side - start);
        text.made = Made::Wrapped;
        found.push(text);
    }
    found
}

/// Cut fronts and loose ends that make one text. Where several ends fit one front, each is told.
pub fn join(source: &dyn Source, texts: &[Carved], ends: &[Piece]) -> Vec<Carved> {
    let mut starts: Vec<Bytes> = texts.iter().map(|t| t.extent.offset).collect();
    starts.sort();
    let mut joined: Vec<Carved> = Vec::new();
    for front in texts.iter().filter(|t| !t.complete).take(MOST) {
        let from = front.extent.offset;
        let next = starts.get(starts.partition_point(|s| *s <= from));
        let roof = (from + Bytes(LONGEST / 2)).min(next.copied().unwrap_or(source.len()));
        let whole = run(source, from, from, roof);
        let loose = |end: &&Piece| end.extent.overlap(whole.extent).is_none();
        joined.extend(ends.iter().filter(loose).filter_map(|end| fit(&whole, end)));
    }
    joined.sort_by(|a, b| (&a.sha256, a.extent).cmp(&(&b.sha256, b.extent)));
    joined.dedup_by(|a, b| a.sha256 == b.sha256);
    joined
}

/// A front and an end, cut where bytes of something else look like text: at the borders of sectors.
fn fit(front: &Piece, end: &Piece) -> Option<Carved> {
    let border = |at: Bytes| Bytes(at.0 / SECTOR * SECTOR);
    let stops = [front.extent.end(), border(front.extent.end())];
    let starts = [
        end.extent.offset,
        border(end.extent.offset + Bytes(SECTOR - 1)),
    ];
    for stop in stops {
        for start in starts {
            let head = front
                .bytes
                .get(..(stop - front.extent.offset).to_len(MOST_BYTES))?;
            let tail = end
                .bytes
                .get((start - end.extent.offset).to_len(MOST_BYTES)..);
            let Some(tail) = tail.filter(|t| !t.is_empty() && !head.is_empty()) else {
                continue;
            };
            let pieces = vec![
                Extent::new(front.extent.offset, Bytes(head.len() as u64)),
                Extent::new(start, Bytes(tail.len() as u64)),
            ];
            let text = together(head, tail, pieces, Made::Joined);
            if text.is_some() {
                return text;
            }
        }
    }
    None
}

/// Two parts as one text, if it is whole and nothing in it contradicts itself.
fn together(head: &[u8], tail: &[u8], mut pieces: Vec<Extent>, made: Made) -> Option<Carved> {
    let bytes = [head, tail].concat();
    let hit = memchr::memmem::find(&bytes, carve::NEEDLE)? as u64;
    let mut text = carve::text_at(&Memory::new("pieces", bytes), Bytes(hit))?;
    let length = text.bytes.len();
    if !text.complete
        || length <= head.len()
        || text.extent.offset != Bytes::ZERO
        || !text.vg.faults().is_empty()
    {
        return None;
    }
    if let Some(last) = pieces.last_mut() {
        last.length = Bytes((length - head.len()) as u64);
    }
    text.extent = pieces.first().copied()?;
    text.pieces = pieces;
    text.complete = false;
    text.made = made;
    text.fault = Some(match made {
        Made::Rebuilt => "rebuilt: its end under the front of another text of the group".to_owned(),
        _ => "joined from pieces that fit; nothing proves that they belong together".to_owned(),
    });
    Some(text)
}

/// An end under the front of whole texts of the same group: from the first line of the end that a text has too.
pub fn rebuild(end: &Piece, siblings: &[&Carved]) -> Option<Carved> {
    // The first line may be cut; it must be a whole one, and long enough to stand once in a text.
    let first = end.bytes.iter().position(|b| *b == b'\n')? + 1;
    let rest = end.bytes.get(first..)?;
    let id = |line: &&[u8]| line.trim_ascii_start().starts_with(b"id = \"");
    let ids: Vec<&[u8]> = rest.split(|b| *b == b'\n').filter(id).collect();
    for sibling in siblings.iter().take(MOST) {
        let known = |id: &&&[u8]| memchr::memmem::find(&sibling.bytes, id).is_some();
        if ids.is_empty() || !ids.iter().any(|id| known(&id)) {
            continue;
        }
        if let Some(text) = under(end, first, sibling) {
            return Some(text);
        }
    }
    None
}

/// The end under one sibling's front, at every place where the sibling has the end's first lines.
fn under(end: &Piece, first: usize, sibling: &Carved) -> Option<Carved> {
    let rest = end.bytes.get(first..)?;
    let anchor = rest
        .split_inclusive(|b| *b == b'\n')
        .take(3)
        .map(<[u8]>::len)
        .sum();
    let anchor = rest.get(..anchor).filter(|a| a.len() >= 24)?;
    memchr::memmem::find_iter(&sibling.bytes, anchor)
        .take(MOST)
        .find_map(|at| {
            let head = sibling.bytes.get(..at)?;
            let pieces = vec![
                Extent::new(sibling.extent.offset, Bytes(at as u64)),
                Extent::new(
                    end.extent.offset + Bytes(first as u64),
                    Bytes(rest.len() as u64),
                ),
            ];
            let text = together(head, rest, pieces, Made::Rebuilt)?;
            (text.sha256 != sibling.sha256).then_some(text)
        })
}
