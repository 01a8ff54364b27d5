//! A source put together from extents of others: a partition, a linear
//! logical volume, a text in two parts.

use super::{Gaps, SharedSource, Source, len_of};
use crate::units::{Bytes, Extent};

/// One run of a [`Pieces`] source.
#[derive(Clone)]
pub struct Piece {
    /// How many bytes it gives.
    pub length: Bytes,
    /// Where they lie: a source and an offset in it, or `None` where nothing is known to hold them.
    pub from: Option<(SharedSource, Bytes)>,
}

/// Pieces one behind the other, read as one source.
#[derive(Clone)]
pub struct Pieces {
    name: String,
    /// Start of each piece in this source, ascending, with the piece.
    pieces: Vec<(Bytes, Piece)>,
    length: Bytes,
}

impl Pieces {
    /// The concatenation of `pieces`.
    pub fn new(name: impl Into<String>, pieces: Vec<Piece>) -> Pieces {
        let mut at = Bytes::ZERO;
        let pieces = pieces
            .into_iter()
            .map(|piece| {
                let start = at;
                at = at + piece.length;
                (start, piece)
            })
            .collect();
        Pieces {
            name: name.into(),
            pieces,
            length: at,
        }
    }

    /// One extent of `source`: what a partition is. What lies behind the end of `source` reads as a gap.
    pub fn slice(name: impl Into<String>, source: SharedSource, extent: Extent) -> Pieces {
        Pieces::new(
            name,
            vec![Piece {
                length: extent.length,
                from: Some((source, extent.offset)),
            }],
        )
    }

    /// All of `source`, under its own name, but for some extents, in order and apart: those read as gaps.
    pub fn without(source: SharedSource, extents: &[Extent]) -> Pieces {
        let (mut pieces, mut at) = (Vec::new(), Bytes::ZERO);
        let whole = Extent::new(Bytes::ZERO, source.len());
        for extent in extents.iter().filter_map(|e| e.overlap(whole)) {
            pieces.push(Piece {
                length: extent.offset - at,
                from: Some((source.clone(), at)),
            });
            pieces.push(Piece {
                length: extent.length,
                from: None,
            });
            at = extent.end();
        }
        pieces.push(Piece {
            length: whole.end() - at,
            from: Some((source.clone(), at)),
        });
        Pieces::new(source.name(), pieces)
    }
}

impl Source for Pieces {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Bytes {
        self.length
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let want = Extent::new(at, len_of(buf));
        let mut gaps = Vec::new();
        buf.fill(0);
        let first = self.pieces.partition_point(|(start, _)| *start <= at);
        for (start, piece) in self.pieces.iter().skip(first.saturating_sub(1)) {
            if *start >= want.end() {
                break;
            }
            let Some(part) = Extent::new(*start, piece.length).overlap(want) else {
                continue;
            };
            let from = (part.offset - at).to_len(buf.len());
            let to = (part.end() - at).to_len(buf.len());
            match (&piece.from, buf.get_mut(from..to)) {
                (Some((source, base)), Some(slot)) => {
                    let inner = *base + (part.offset - *start);
                    for gap in source.read_at(inner, slot).extents() {
                        gaps.push(Extent::new(part.offset + (gap.offset - inner), gap.length));
                    }
                }
                _ => gaps.push(part),
            }
        }
        let past = at.max(self.length);
        gaps.push(Extent::new(past, want.end() - past));
        Gaps::from(gaps)
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        let first = self.pieces.partition_point(|(start, _)| *start <= at);
        for (start, piece) in self.pieces.iter().skip(first.saturating_sub(1)) {
            let here = Extent::new(*start, piece.length);
            let Some((source, base)) = &piece.from else {
                // Nothing is known to hold these bytes: a gap, and not a hole.
                match here.overlap(Extent::new(at, self.length - at)) {
                    Some(gap) => return Some(gap),
                    None => continue,
                }
            };
            let from = at.max(*start);
            let found = source.next_data(*base + (from - *start));
            let found = found.map(|e| Extent::new(*start + (e.offset - *base), e.length));
            if let Some(part) = found.and_then(|e| e.overlap(here)) {
                return Some(part);
            }
            // That the source has no more data behind its end does not make a hole of what it should have there.
            let held = *start + (source.len() - *base).min(piece.length);
            let behind = Extent::new(held, here.end() - held);
            if let Some(gap) = behind.overlap(Extent::new(from, here.end() - from)) {
                return Some(gap);
            }
        }
        None
    }

    fn absent(&self, at: Bytes) -> Option<Extent> {
        let first = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, piece) = self.pieces.get(first.checked_sub(1)?)?;
        let rest = Extent::new(at, *start + piece.length - at);
        match &piece.from {
            Some((source, base)) if at < *start + (source.len() - *base) => {
                let absent = source.absent(*base + (at - *start))?;
                Extent::new(at, absent.length).overlap(rest)
            }
            _ => (!rest.is_empty()).then_some(rest),
        }
    }
}

/// What of a source lies from a place on, borrowed: how a structure found in the middle of a disk is read by the format
/// that only knows volumes.
pub struct Rest<'a> {
    source: &'a dyn Source,
    from: Bytes,
}

impl<'a> Rest<'a> {
    /// `source` from `from` on.
    pub fn new(source: &'a dyn Source, from: Bytes) -> Rest<'a> {
        Rest { source, from }
    }
}

impl Source for Rest<'_> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> Bytes {
        self.source.len() - self.from
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let gaps = self.source.read_at(self.from + at, buf);
        let gaps = gaps.extents().iter();
        let gaps: Vec<Extent> = gaps
            .map(|gap| Extent::new(gap.offset - self.from, gap.length))
            .collect();
        Gaps::from(gaps)
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        let data = self.source.next_data(self.from + at)?;
        let start = data.offset.max(self.from);
        Some(Extent::new(start - self.from, data.end() - start))
    }

    fn absent(&self, at: Bytes) -> Option<Extent> {
        let absent = self.source.absent(self.from + at)?;
        Some(Extent::new(at, absent.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use std::sync::Arc;

    /// A wrong piece border shifts every byte behind it; a gap must keep its place through the layer.
    #[test]
    fn pieces_join_and_carry_gaps() {
        let a: SharedSource = Arc::new(Memory::new("a", (0..50).collect()));
        let b: SharedSource = Arc::new(
            Memory::new("b", (100..150).collect()).with_unread(Extent::new(Bytes(12), Bytes(2))),
        );
        let joined = Pieces::new(
            "ab",
            vec![
                Piece {
                    length: Bytes(5),
                    from: Some((a.clone(), Bytes(40))),
                },
                Piece {
                    length: Bytes(3),
                    from: None,
                },
                Piece {
                    length: Bytes(6),
                    from: Some((b, Bytes(10))),
                },
                Piece {
                    length: Bytes(20),
                    from: Some((a, Bytes(45))),
                },
            ],
        );
        assert_eq!(joined.len(), Bytes(34));
        let mut buf = [0xaa; 16];
        let gaps = joined.read_at(Bytes(2), &mut buf);
        assert_eq!(
            buf,
            [
                42, 43, 44, 0, 0, 0, 110, 111, 0, 0, 114, 115, 45, 46, 47, 48
            ]
        );
        assert_eq!(
            gaps.extents(),
            [
                Extent::new(Bytes(5), Bytes(3)),
                Extent::new(Bytes(10), Bytes(2))
            ]
        );
        // The last piece promises 20 bytes of a source that has five left.
        let gaps = joined.read_at(Bytes(14), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(19), Bytes(11))]);
        // Sources without holes: data from anywhere to the piece's end.
        assert_eq!(
            joined.next_data(Bytes(2)),
            Some(Extent::new(Bytes(2), Bytes(3)))
        );
        assert_eq!(
            joined.next_data(Bytes(6)),
            Some(Extent::new(Bytes(6), Bytes(2)))
        );
        // The last piece's source ends before it does: what is behind is no hole, whose zeros would be believed.
        assert_eq!(
            joined.next_data(Bytes(19)),
            Some(Extent::new(Bytes(19), Bytes(15)))
        );
        assert_eq!(
            joined.absent(Bytes(20)),
            Some(Extent::new(Bytes(20), Bytes(14)))
        );
        assert_eq!(
            joined.absent(Bytes(10)),
            None,
            "an unreadable sector is found by reading it"
        );
        assert_eq!(joined.next_data(Bytes(34)), None);
        let gaps = joined.read_at(Bytes(1000), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(1000), Bytes(16))]);
    }
}
