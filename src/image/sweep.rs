//! One streaming pass over a source for all formats' needles.
//!
//! Most magics lie at a fixed place of a 512-byte sector: those are compared
//! once a sector. Only text is searched for byte by byte, all needles at once
//! (Aho-Corasick, leftmost-first, so that the SIMD searcher is used). What a
//! hit means is asked of the format that gave the needle; it reads the source
//! around the hit for itself.

use super::progress::Progress;
use super::{Gaps, Source};
use crate::units::{Bytes, SECTOR_LEN};
use aho_corasick::{AhoCorasick, MatchKind};
use std::fmt;

/// Bytes read at a time. Large enough for a disk to stream, small beside any machine's memory.
const BLOCK: usize = 8 << 20;

/// Where in a source a needle can lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At any byte.
    Anywhere,
    /// At this byte of any 512-byte sector.
    InSector(usize),
}

/// A byte string that marks a structure.
#[derive(Clone, Debug)]
pub struct Needle<K> {
    /// What its owner knows it by.
    pub kind: K,
    /// The bytes.
    pub bytes: &'static [u8],
    /// Where they can lie.
    pub place: Place,
}

/// Searches sources for one set of needles.
pub struct Sweep<K> {
    anywhere: Vec<K>,
    text: Option<AhoCorasick>,
    in_sector: Vec<(usize, &'static [u8], K)>,
    /// Bytes of one block carried into the next, so that no needle is cut.
    overlap: usize,
}

impl<K> fmt::Debug for Sweep<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("anywhere", &self.anywhere.len())
            .field("in_sector", &self.in_sector.len())
            .finish_non_exhaustive()
    }
}

impl<K: Copy> Sweep<K> {
    /// Prepares the search for `needles`. Empty needles, and a sector needle that leaves its sector, find nothing.
    pub fn new(needles: &[Needle<K>]) -> Sweep<K> {
        let text: Vec<&Needle<K>> = needles
            .iter()
            .filter(|n| n.place == Place::Anywhere && !n.bytes.is_empty())
            .collect();
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(text.iter().map(|n| n.bytes));
        Sweep {
            anywhere: text.iter().map(|n| n.kind).collect(),
            // Building fails only past 2^31 states; a handful of short needles cannot.
            text: searcher.ok().filter(|_| !text.is_empty()),
            in_sector: needles
                .iter()
                .filter_map(|n| match n.place {
                    Place::InSector(at) if at + n.bytes.len() <= SECTOR_LEN => {
                        Some((at, n.bytes, n.kind))
                    }
                    _ => None,
                })
                .collect(),
            overlap: text.iter().map(|n| n.bytes.len()).max().unwrap_or(1) - 1,
        }
    }

    /// Reads all of `source` once and calls `hit` with the kind and the place of every needle, in blocks of
    /// ascending offset. Returns what could not be read.
    pub fn run(
        &self,
        source: &dyn Source,
        progress: &dyn Progress,
        hit: &mut dyn FnMut(K, Bytes),
    ) -> Gaps {
        let mut gaps = Gaps::none();
        let mut buf = vec![0; self.overlap + BLOCK];
        let mut carried = 0;
        let mut at = Bytes::ZERO;
        while at < source.len() {
            let fresh = (source.len() - at).to_len(BLOCK);
            let Some(block) = buf.get_mut(carried..carried + fresh) else {
                break;
            };
            gaps.add(source.read_at(at, block));
            self.search(&buf, carried, fresh, at, hit);
            let end = carried + fresh;
            let keep = self.overlap.min(end);
            buf.copy_within(end - keep..end, 0);
            carried = keep;
            at = at + Bytes(fresh as u64);
            progress.advance(fresh as u64);
        }
        gaps
    }

    /// Searches one block: `carried` bytes of the one before, then `fresh` bytes from `at`.
    fn search(
        &self,
        buf: &[u8],
        carried: usize,
        fresh: usize,
        at: Bytes,
        hit: &mut dyn FnMut(K, Bytes),
    ) {
        let block = buf.get(carried..carried + fresh).unwrap_or_default();
        for (i, sector) in block.chunks(SECTOR_LEN).enumerate() {
            for (offset, bytes, kind) in &self.in_sector {
                if sector.get(*offset..).is_some_and(|s| s.starts_with(bytes)) {
                    hit(*kind, at + Bytes((i * SECTOR_LEN + offset) as u64));
                }
            }
        }
        let (Some(text), Some(window)) = (&self.text, buf.get(..carried + fresh)) else {
            return;
        };
        for found in text.find_iter(window) {
            // What ends inside the carried part was reported with the block before.
            if found.end() <= carried {
                continue;
            }
            if let Some(kind) = self.anywhere.get(found.pattern().as_usize()) {
                hit(
                    *kind,
                    Bytes((at.0 + found.start() as u64).saturating_sub(carried as u64)),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::image::progress::Silent;
    use crate::units::Extent;

    const NEEDLES: [Needle<u8>; 3] = [
        Needle {
            kind: 1,
            bytes: b"seqno = ",
            place: Place::Anywhere,
        },
        Needle {
            kind: 2,
            bytes: b"LABELONE",
            place: Place::InSector(0),
        },
        Needle {
            kind: 3,
            bytes: b"\x53\xef",
            place: Place::InSector(56),
        },
    ];

    fn hits(source: &dyn Source) -> Vec<(u8, u64)> {
        let mut found = Vec::new();
        let _ = Sweep::new(&NEEDLES).run(source, &Silent, &mut |kind, at| found.push((kind, at.0)));
        found.sort_by_key(|(kind, at)| (*at, *kind));
        found
    }

    /// A needle that lies across two blocks is the one that a naive sweep loses, and one
    /// that is reported twice doubles every finding.
    #[test]
    fn needles_are_found_once_at_every_place_round_a_block_border() {
        for shift in 0..=12 {
            let at = BLOCK - 10 + shift;
            let mut bytes = vec![0; 2 * BLOCK + 700];
            bytes[at..at + 8].copy_from_slice(b"seqno = ");
            bytes[2 * BLOCK + 692..].copy_from_slice(b"seqno = ");
            let found = hits(&Memory::new("m", bytes));
            assert_eq!(found, [(1, at as u64), (1, (2 * BLOCK + 692) as u64)]);
        }
    }

    /// A magic in the middle of a sector is data, not a structure.
    #[test]
    fn sector_needles_only_at_their_place() {
        let mut bytes = vec![0; BLOCK + 4096];
        bytes[512..520].copy_from_slice(b"LABELONE");
        bytes[1030..1038].copy_from_slice(b"LABELONE");
        bytes[BLOCK..BLOCK + 8].copy_from_slice(b"LABELONE");
        bytes[BLOCK + 1024 + 56..BLOCK + 1024 + 58].copy_from_slice(b"\x53\xef");
        let found = hits(&Memory::new("m", bytes));
        let block = BLOCK as u64;
        assert_eq!(found, [(2, 512), (2, block), (3, block + 1080)]);
    }

    /// What could not be read must be told, and must not end the pass.
    #[test]
    fn gaps_are_returned_and_passed_over() {
        let mut bytes = vec![0; 3 * BLOCK];
        bytes[2 * BLOCK..2 * BLOCK + 8].copy_from_slice(b"LABELONE");
        let gap = Extent::new(Bytes(BLOCK as u64), Bytes(512));
        let source = Memory::new("m", bytes).with_unread(gap);
        let mut found = 0;
        let gaps = Sweep::new(&NEEDLES).run(&source, &Silent, &mut |_, _| found += 1);
        assert_eq!(gaps.extents(), [gap]);
        assert_eq!(found, 1);
    }
}
