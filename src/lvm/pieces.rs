//! Texts in pieces: what is left of a text that was cut is kept, and put together where it can be.
//!
//! A text is cut by the end of its ring (it goes on behind the metadata
//! area's header), by an indirect block of ext3 behind twelve blocks of a
//! file, by fragmentation, by the end of an md chunk, or by a younger text
//! that was written over it. In order of what they prove:
//!
//! - [`over_the_end`]: the header says where the ring ends and begins again.
//!   A text that goes over its end is whole, and its checksum may hold.
//! - [`Loose::join`]: a front and an end, with or without middles between
//!   them, that make one text by the grammar, with every volume inside its
//!   physical volume and none over another; of one source, or of several: the
//!   next md chunk is another member's. Nothing but that speaks for it, so it
//!   is never called complete.
//! - [`rebuild`]: an end whose front is gone, under the front of another text
//!   of the same group, from the line on which both agree.

use super::carve::{self, Carved, Carver, Made};
use super::join::{Part, together};
use super::mda::Header;
use crate::image::sweep::Context;
use crate::image::{Memory, Source};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent, SECTOR};

/// No two of what a piece shows itself by start closer to each other in a real text.
pub const CONTEXT: Context = Context {
    apart: 40,
    before: 0,
    fits: |_| true,
    followed: None,
};

/// The longest piece that is looked at; texts of thousands of volumes are so long.
const LONGEST: u64 = 1 << 20;

/// Fronts and ends of one source that are tried with each other. More than so many is no metadata area's wear.
const MOST: usize = 64;
const MOST_ENDS: usize = 256;

/// Bytes of ends kept of one source.
const MOST_BYTES: usize = 16 << 20;

/// Bytes of ends under fronts that are read to see whether they are texts, of one source.
const MOST_REBUILT: usize = 16 << 20;

/// Bytes on each side of a ring's end that are looked at for a text over it.
const ROUND_THE_END: u64 = 256 << 10;

/// A run of text that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The source that it lies in.
    pub source: String,
    /// Where it lies.
    pub extent: Extent,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Pieces that belong to no text yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loose {
    /// Texts without their end.
    pub fronts: Vec<Piece>,
    /// Texts without their front; without their end too, perhaps.
    pub ends: Vec<Piece>,
}

/// Whether a byte can stand in a text: UTF-8 beyond ASCII stands in no structure, and would carry a run into noise.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x20..=0x7e)
}

/// The runs of text round `hits` (ascending) that no whole text covers, without the fronts of cut ones.
pub fn ends(source: &dyn Source, hits: &[Bytes], texts: &[Carved]) -> Vec<Piece> {
    let mut edges: Vec<Extent> = texts.iter().map(understood).collect();
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
        // An end closes what was open, and a middle a segment at least.
        if memchr::memmem::find(&piece.bytes, b"}\n").is_some() {
            pieces.push(piece);
        }
    }
    pieces
}

/// Where a text lies; one that was cut in the middle of a string only as far as it can be text. The grammar lets a string
/// go on through whatever follows, into the next piece.
fn understood(text: &Carved) -> Extent {
    let other = text.bytes.iter().position(|b| !is_text(*b));
    match other.filter(|_| !text.complete && text.pieces.is_empty()) {
        Some(length) => Extent::new(text.extent.offset, Bytes(length as u64)),
        None => text.extent,
    }
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
        source: source.name().to_owned(),
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

/// The fronts of cut texts, as far as text goes.
pub fn fronts(source: &dyn Source, texts: &[Carved]) -> Vec<Piece> {
    let mut starts: Vec<Bytes> = texts.iter().map(|t| t.extent.offset).collect();
    starts.sort();
    let front = |text: &Carved| {
        let from = text.extent.offset;
        let next = starts.get(starts.partition_point(|s| *s <= from));
        let roof = (from + Bytes(LONGEST / 2)).min(next.copied().unwrap_or(source.len()));
        run(source, from, from, roof)
    };
    let cut = texts.iter().filter(|t| !t.complete && t.pieces.is_empty());
    cut.take(MOST).map(front).collect()
}

impl Loose {
    /// Without the pieces that these texts of one source were made of.
    pub fn drop_used(&mut self, made: &[Carved]) {
        let used = |piece: &Piece| {
            let mut parts = made.iter().flat_map(|t| &t.pieces);
            parts.any(|p| p.overlap(piece.extent).is_some())
        };
        self.fronts.retain(|p| !used(p));
        self.ends.retain(|p| !used(p));
    }

    /// The pieces of all sources together.
    pub fn all<'a>(of: impl Iterator<Item = &'a Loose>) -> Loose {
        let mut all = Loose::default();
        for loose in of {
            all.fronts.extend_from_slice(&loose.fronts);
            all.ends.extend_from_slice(&loose.ends);
        }
        all.fronts.truncate(MOST);
        all.ends.truncate(MOST_ENDS);
        all
    }
}

/// Ends under the fronts of whole texts of the same group: each from its first line that a text has too.
pub fn rebuild(ends: &[Piece], siblings: &[&Carved]) -> Vec<Carved> {
    let mut budget = MOST_REBUILT;
    let rebuilt = ends
        .iter()
        .filter_map(|end| rebuild_one(end, siblings, &mut budget));
    rebuilt.collect()
}

fn rebuild_one(end: &Piece, siblings: &[&Carved], budget: &mut usize) -> Option<Carved> {
    // The first line may be cut; it must be a whole one, and long enough to stand once in a text.
    let first = end.bytes.iter().position(|b| *b == b'\n')? + 1;
    let rest = end.bytes.get(first..)?;
    // With a seqno of its own it is no text without a front: one that was let go, of which there are too many.
    if memchr::memmem::find(rest, carve::NEEDLE).is_some() {
        return None;
    }
    let id = |line: &&[u8]| line.trim_ascii_start().starts_with(b"id = \"");
    let ids: Vec<&[u8]> = rest.split(|b| *b == b'\n').filter(id).collect();
    for sibling in siblings.iter().take(MOST) {
        let known = |id: &&&[u8]| memchr::memmem::find(&sibling.bytes, id).is_some();
        if ids.is_empty() || !ids.iter().any(|id| known(&id)) {
            continue;
        }
        if let Some(text) = under(end, first, sibling, budget) {
            return Some(text);
        }
    }
    None
}

/// Where in a sibling the bytes of an end stand up to its first id, which is in it too: no other place is as good.
fn aligned(rest: &[u8], sibling: &[u8]) -> Option<usize> {
    const ID: &[u8] = b"id = \"";
    let id = memchr::memmem::find(rest, ID)?;
    let line = rest.get(id..)?.split_inclusive(|b| *b == b'\n').next()?;
    let at = memchr::memmem::find(sibling, line)?.checked_sub(id)?;
    sibling
        .get(at..)?
        .starts_with(rest.get(..id)?)
        .then_some(at)
}

/// The end under one sibling's front, at every place where the sibling has the end's first lines.
fn under(end: &Piece, first: usize, sibling: &Carved, budget: &mut usize) -> Option<Carved> {
    let rest = end.bytes.get(first..)?;
    let anchor = rest
        .split_inclusive(|b| *b == b'\n')
        .take(3)
        .map(<[u8]>::len)
        .sum();
    let anchor = rest.get(..anchor).filter(|a| a.len() >= 24)?;
    let places = match aligned(rest, &sibling.bytes) {
        Some(at) => vec![at],
        None => memchr::memmem::find_iter(&sibling.bytes, anchor)
            .take(MOST)
            .collect(),
    };
    places.into_iter().find_map(|at| {
        // What goes on as the sibling does is the sibling.
        if rest.starts_with(sibling.bytes.get(at..)?) {
            return None;
        }
        *budget = budget.checked_sub(at + rest.len())?;
        let front = Extent::new(sibling.extent.offset, Bytes(at as u64));
        let head = Part {
            bytes: sibling.bytes.get(..at)?.to_vec(),
            pieces: vec![(end.source.clone(), front)],
        };
        let part = head.then(end, first, end.bytes.len())?;
        let text = together(part, at, Made::Rebuilt)?;
        (text.sha256 != sibling.sha256).then_some(text)
    })
}
