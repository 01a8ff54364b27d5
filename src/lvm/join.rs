//! Fronts, middles and ends of cut texts, tried with each other.
//!
//! There are many ways to put a few pieces together, and few of them are texts:
//! [`skim`](super::skim) says within a line whether a piece goes on as another
//! stopped. What closes all that was open is then read as a text, and counts if
//! that is whole and nothing in it contradicts itself.

use super::carve::{self, Carved, Made};
use super::pieces::{Loose, Piece};
use super::skim::{Rest, Skim, seam};
use crate::image::Memory;
use crate::units::{Bytes, Extent, SECTOR};
use std::collections::{BTreeMap, BTreeSet};

/// Borders inside of a run of text at which something else may begin that looks like text: those of blocks.
const BLOCK: usize = 4096;
const MOST_BORDERS: usize = 16;

/// Pieces that one text is made of. A file is rarely cut so often; each more multiplies the ways.
const MOST_PIECES: usize = 5;

/// Ways to go on with one middle that are followed.
const MOST_WAYS: usize = 16;

/// Bytes behind the section's last brace that its description can take; a command line stands in it.
const MOST_BEHIND: usize = 64 << 10;

/// Of a piece, the first bytes that are looked at with the end of the one before it.
const SEAM: usize = 1024;

/// What may be spent on trying.
#[derive(Default)]
struct Budget {
    /// Bytes looked at.
    skimmed: usize,
    /// Bytes put together, to be gone on from or read as a text.
    copied: usize,
}

impl Budget {
    /// A tenth of a second or two. Pieces of real disks, a worn metadata area's among them, need a small part of it.
    const ALL: Budget = Budget {
        skimmed: 8 << 20,
        copied: 8 << 20,
    };

    /// One of so many equal parts, taken out.
    fn share(&mut self, of: usize) -> Budget {
        let share = Budget {
            skimmed: self.skimmed / of.max(1),
            copied: self.copied / of.max(1),
        };
        self.skimmed -= share.skimmed;
        self.copied -= share.copied;
        share
    }

    /// Takes back what is left of a share.
    fn back(&mut self, left: &Budget) {
        self.skimmed += left.skimmed;
        self.copied += left.copied;
    }
}

/// What one look at a seam costs, and what one at a piece does at least.
const SEAM_LOOK: usize = 64;
const REST_LOOK: usize = 1024;

/// What was tried, and what may still be.
#[derive(Default)]
struct Tries<'p> {
    budget: Budget,
    /// How pieces go on behind their first, cut item: the same behind every front.
    known: BTreeMap<(&'p str, Extent), Rest>,
}

impl<'p> Tries<'p> {
    /// Bytes put together; `None` where no more are allowed.
    fn copy(&mut self, bytes: usize) -> Option<()> {
        self.budget.copied = self.budget.copied.checked_sub(bytes)?;
        Some(())
    }

    fn look(&mut self, bytes: usize) -> Option<()> {
        self.budget.skimmed = self.budget.skimmed.checked_sub(bytes)?;
        Some(())
    }

    /// How a run goes on from between two items inside of `depth` open sections; `None` where no more is looked at.
    fn rest(&mut self, run: Run<'p>, depth: usize) -> Option<Skim> {
        let key = (run.piece.source.as_str(), run.extent());
        if let Some(rest) = self.known.get(&key) {
            return Some(rest.inside(depth));
        }
        self.look(REST_LOOK)?;
        let rest = Rest::of(run.bytes());
        let found = rest.inside(depth);
        let looked = rest.looked_at(run.bytes());
        self.budget.skimmed = self.budget.skimmed.saturating_sub(looked);
        self.known.insert(key, rest);
        Some(found)
    }
}

/// Some bytes of a piece.
#[derive(Clone, Copy)]
struct Run<'p> {
    piece: &'p Piece,
    from: usize,
    to: usize,
}

impl<'p> Run<'p> {
    fn bytes(self) -> &'p [u8] {
        self.piece.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn extent(self) -> Extent {
        let length = Bytes(self.bytes().len() as u64);
        Extent::new(self.piece.extent.offset + Bytes(self.from as u64), length)
    }

    /// Without its first bytes.
    fn without(self, first: usize) -> Run<'p> {
        Run {
            from: self.from + first,
            ..self
        }
    }
}

/// One or more pieces as the beginning of a text.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<(String, Extent)>,
}

impl Part {
    /// With the bytes of a piece, from one place in it to another, behind.
    pub(super) fn then(&self, piece: &Piece, from: usize, to: usize) -> Option<Part> {
        let run = Run { piece, from, to };
        let bytes = Some(run.bytes()).filter(|b| !b.is_empty())?;
        let piece = (piece.source.clone(), run.extent());
        Some(Part {
            bytes: [self.bytes.as_slice(), bytes].concat(),
            pieces: [self.pieces.as_slice(), &[piece]].concat(),
        })
    }
}

/// The beginning of a text, and how it stopped.
struct Begun {
    part: Part,
    /// How many sections are open, and where in the bytes the item stands that is unfinished; `None` where the section is
    /// whole and only the description behind it is cut.
    open: Option<(usize, usize)>,
}

impl Begun {
    /// A front, cut at its own end, and where bytes of something else may look like text.
    fn fronts(piece: &Piece) -> Vec<Begun> {
        let nothing = Part {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        let front = |stop| {
            let part = nothing.then(piece, 0, stop)?;
            let open = match seam(&part.bytes, 0, usize::MAX) {
                Err(Skim::Open { depth, from }) if depth > 0 => Some((depth, from)),
                // Its section is whole, and its description is cut.
                Err(Skim::Closed(_)) => None,
                _ => return None,
            };
            Some(Begun { part, open })
        };
        borders(piece, true).into_iter().filter_map(front).collect()
    }

    /// With a piece behind, from one of these places in it, that goes on as this stops, and stops itself only where its
    /// bytes end.
    fn continued<'p>(
        &self,
        piece: &'p Piece,
        starts: &[usize],
        tries: &mut Tries<'p>,
    ) -> Vec<Begun> {
        let mut ways = Vec::new();
        for from in starts {
            let mut broken = usize::MAX;
            for to in borders(piece, true) {
                if to <= *from || to > broken || ways.len() >= MOST_WAYS {
                    continue;
                }
                let run = Run {
                    piece,
                    from: *from,
                    to,
                };
                let open = match self.goes_on(run, tries) {
                    None => return ways,
                    Some(Skim::Open { depth, from }) => Some((depth, from)),
                    Some(Skim::Broken(at)) => {
                        broken = from + at.saturating_sub(self.part.bytes.len());
                        continue;
                    }
                    // An end, not a middle.
                    Some(Skim::Closed(_)) => continue,
                };
                // What is put together is paid for, and so is bounded.
                if tries
                    .copy(self.part.bytes.len() + run.bytes().len())
                    .is_none()
                {
                    return ways;
                }
                let part = self.part.then(piece, *from, to);
                ways.extend(part.map(|part| Begun { part, open }));
            }
        }
        ways
    }

    /// How the text goes on with this run behind; places are those of both together. `None` where nothing can be said:
    /// its section is whole, or no more may be looked at.
    fn goes_on<'p>(&self, run: Run<'p>, tries: &mut Tries<'p>) -> Option<Skim> {
        let (depth, unfinished) = self.open?;
        let tail = self.part.bytes.get(unfinished..).unwrap_or_default();
        let next = run.bytes();
        let mut first = SEAM.min(next.len());
        loop {
            tries.look(SEAM_LOOK + tail.len())?;
            let both = [tail, next.get(..first).unwrap_or_default()].concat();
            return Some(match seam(&both, depth, tail.len()) {
                Ok((depth, at)) => {
                    let rest = run.without(at - tail.len());
                    tries.rest(rest, depth)?.later(unfinished + at)
                }
                // An item that is longer than what was looked at.
                Err(Skim::Open { .. }) if first < next.len() => {
                    tries.look(next.len())?;
                    first = next.len();
                    continue;
                }
                Err(skim) => skim.later(unfinished),
            });
        }
    }

    fn has(&self, piece: &Piece) -> bool {
        let mut pieces = self.part.pieces.iter();
        pieces.any(|(source, extent)| {
            *source == piece.source && extent.overlap(piece.extent).is_some()
        })
    }
}

/// Places in a piece where a cut may be: its own border, the sector's next to it, and those of blocks.
fn borders(piece: &Piece, last: bool) -> Vec<usize> {
    let (start, end) = (piece.extent.offset.0, piece.extent.end().0);
    let sector = match last {
        true => end / SECTOR * SECTOR,
        false => start.next_multiple_of(SECTOR),
    };
    let own = if last { end } else { start };
    let first = start.saturating_add(1).next_multiple_of(BLOCK as u64);
    let blocks = (first..end).step_by(BLOCK).take(MOST_BORDERS);
    let mut borders: Vec<usize> = Vec::new();
    for at in [own, sector].into_iter().chain(blocks) {
        let at = Bytes(at.saturating_sub(start)).to_len(piece.bytes.len());
        if !borders.contains(&at) {
            borders.push(at);
        }
    }
    borders
}

impl Loose {
    /// Pieces that make one text. Where several ends fit one front, each is told.
    pub fn join(&self) -> Vec<Carved> {
        let ends = self.different_ends();
        let mut tries = Tries::default();
        let (mut pairs, mut more) = (Budget::ALL, Budget::ALL);
        let mut joined: Vec<Carved> = Vec::new();
        for (i, front) in self.fronts.iter().enumerate() {
            let mut begun = Begun::fronts(front);
            tries.budget = pairs;
            let texts = ends.iter().filter_map(|end| fit(&begun, end, &mut tries));
            let mut made: Vec<Carved> = texts.collect();
            // What one front does not need of its share is the next ones'.
            let share = more.share(self.fronts.len() - i);
            pairs = std::mem::replace(&mut tries.budget, share);
            // Where pieces repeat themselves, two fit without the one that lay between them: all three are told too. In
            // more than three there is so much chance that they are tried only where fewer made no text.
            for count in 3..=MOST_PIECES {
                if count == 3 || made.is_empty() {
                    begun = one_more(&begun, &ends, &mut made, &mut tries);
                }
            }
            joined.extend(made);
            more.back(&tries.budget);
        }
        joined.sort_by(|a, b| (&a.sha256, a.extent).cmp(&(&b.sha256, b.extent)));
        joined.dedup_by(|a, b| a.sha256 == b.sha256);
        joined
    }

    /// The ends, those of the same bytes once: in a worn metadata area many are.
    fn different_ends(&self) -> Vec<&Piece> {
        let mut known = BTreeSet::new();
        let mut different = Vec::new();
        for end in &self.ends {
            // Where blocks begin in it matters too.
            let turn = end.extent.offset.0 % BLOCK as u64;
            if known.insert((&end.source, turn, &end.bytes)) {
                different.push(end);
            }
        }
        different
    }
}

/// Puts each middle behind each of these; what an end then makes a text of goes to `made`, and all the longer ones are
/// returned.
fn one_more<'p>(
    begun: &[Begun],
    ends: &[&'p Piece],
    made: &mut Vec<Carved>,
    tries: &mut Tries<'p>,
) -> Vec<Begun> {
    let mut all = Vec::new();
    for middle in ends {
        let starts = borders(middle, false);
        let mut longer: Vec<Begun> = Vec::new();
        for begun in begun.iter().filter(|b| !b.has(middle)) {
            longer.extend(begun.continued(middle, &starts, tries));
        }
        if !longer.is_empty() {
            let others = ends.iter().filter(|end| *end != middle);
            made.extend(others.filter_map(|end| fit(&longer, end, tries)));
            all.extend(longer);
        }
    }
    all
}

/// The first way in which the beginning of a text and an end make one.
fn fit<'p>(begun: &[Begun], end: &'p Piece, tries: &mut Tries<'p>) -> Option<Carved> {
    let starts = borders(end, false);
    for front in begun.iter().filter(|front| !front.has(end)) {
        for start in &starts {
            let run = Run {
                piece: end,
                from: *start,
                to: end.bytes.len(),
            };
            let length = front.part.bytes.len();
            let stop = match front.open {
                // The section is whole: what is behind it is read with it.
                None => length + run.bytes().len(),
                Some(_) => match front.goes_on(run, tries)? {
                    Skim::Closed(at) => at.saturating_add(MOST_BEHIND),
                    Skim::Open { .. } | Skim::Broken(_) => continue,
                },
            };
            let stop = (start + stop.saturating_sub(length)).min(end.bytes.len());
            let Some(both) = front.part.then(end, *start, stop) else {
                continue;
            };
            tries.copy(both.bytes.len())?;
            if let Some(text) = together(both, length, Made::Joined) {
                return Some(text);
            }
        }
    }
    None
}

/// Parts as one text that reaches beyond `least` bytes, if it is whole and nothing in it contradicts itself.
pub(super) fn together(part: Part, least: usize, made: Made) -> Option<Carved> {
    let Part { bytes, pieces } = part;
    let hit = memchr::memmem::find(&bytes, carve::NEEDLE)? as u64;
    let mut text = carve::text_at(&Memory::new("pieces", bytes), Bytes(hit))?;
    let length = text.bytes.len();
    if !text.complete
        || length <= least
        || text.extent.offset != Bytes::ZERO
        || !text.vg.faults().is_empty()
    {
        return None;
    }
    text.extent = pieces.first()?.1;
    let own = pieces.first()?.0.clone();
    if pieces.iter().any(|(source, _)| *source != own) {
        text.pieces_on = pieces.iter().map(|(source, _)| source.clone()).collect();
    }
    // What stands behind the text in its last piece is not of it.
    let mut left = Bytes(length as u64);
    for (_, extent) in pieces {
        let length = extent.length.min(left);
        left = left - length;
        text.pieces.push(Extent::new(extent.offset, length));
    }
    text.complete = false;
    text.made = made;
    text.fault = Some(match made {
        Made::Rebuilt => "rebuilt: its end under the front of another text of the group".to_owned(),
        _ => "joined from pieces that fit; nothing proves that they belong together".to_owned(),
    });
    Some(text)
}
