//! One streaming pass over a source for all formats' needles.
//!
//! Most magics lie at a fixed place of a 512-byte sector: those are compared
//! once a sector. Only text is searched for byte by byte, all needles at once
//! (Aho-Corasick, leftmost-first, so that the SIMD searcher is used). A needle
//! may say how far apart two of it must be and what must stand before it: so
//! an image that is full of it costs no more than any other. What a hit means
//! is asked of the format that gave the needle; it reads the source around
//! the hit for itself.

use super::pass::{self, Passed, Plan, Window};
use super::progress::Progress;
use super::{Gaps, Source};
use crate::parse::is_blank;
use crate::units::{Bytes, Extent, SECTOR_LEN};
use aho_corasick::{AhoCorasick, Input, MatchKind};
use memchr::memmem::{Finder, FinderRev};
use sha2::Sha256;
use std::fmt;

/// Where in a source a needle can lie.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// At any byte.
    Anywhere(Context),
    /// At this byte of any 512-byte sector.
    InSector(usize),
}

/// What a needle of text can say of its surroundings, so that most chance hits cost nothing.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// No needle that means something starts closer than so many bytes behind another, whatever the other means.
    pub apart: usize,
    /// Bytes before the needle that [`Context::fits`] is shown; zeros before the start of a source.
    pub before: usize,
    /// Whether a needle behind these bytes can mean something.
    pub fits: fn(&[u8]) -> bool,
    /// What stands behind every needle that means something, before the next one. It is asked for only in a crowd: a
    /// needle alone may be all that is left of a structure.
    pub followed: Option<&'static [u8]>,
}

impl Context {
    /// Nothing is known of what surrounds the needle.
    pub const ANY: Context = Context {
        apart: 1,
        before: 0,
        fits: |_| true,
        followed: None,
    };
}

/// Needles of one block, of those that say what follows them, beyond which it is searched again in the way for crowds.
const CROWD: u32 = 8;

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

/// A needle of text as the search keeps it.
#[derive(Clone, Copy)]
struct Text<K> {
    kind: K,
    bytes: &'static [u8],
    context: Context,
}

/// Searches sources for one set of needles.
pub struct Sweep<K> {
    anywhere: Vec<Text<K>>,
    text: Option<AhoCorasick>,
    in_sector: Vec<(usize, &'static [u8], K)>,
    /// Bytes of one block that are seen again with the next, so that no needle is cut and each has its context.
    overlap: usize,
    /// Whether bytes that are all the same hold no needle.
    blank_is_nothing: bool,
}

/// What a sweep tells of each block, in the order of the source.
#[derive(Debug)]
pub struct Swept<K> {
    /// The end of the block: all before it has been searched.
    pub end: Bytes,
    /// What of it could not be read.
    pub gaps: Gaps,
    /// The needles found, ascending for those of text and for those of sectors.
    pub hits: Vec<(K, Bytes)>,
    /// The hash of all bytes up to the end, where it was asked for.
    pub hash: Option<Sha256>,
}

impl<K> From<Passed<Vec<(K, Bytes)>>> for Swept<K> {
    fn from(passed: Passed<Vec<(K, Bytes)>>) -> Swept<K> {
        Swept {
            end: passed.extent.end(),
            gaps: passed.gaps,
            hits: passed.found,
            hash: passed.hash,
        }
    }
}

impl<K> fmt::Debug for Sweep<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("anywhere", &self.anywhere.len())
            .field("in_sector", &self.in_sector.len())
            .finish_non_exhaustive()
    }
}

impl<K: Copy + Send + Sync> Sweep<K> {
    /// Prepares the search for `needles`. Empty needles, and a sector needle that leaves its sector, find nothing.
    pub fn new(needles: &[Needle<K>]) -> Sweep<K> {
        let mut anywhere = Vec::new();
        let mut patterns = Vec::new();
        let mut in_sector = Vec::new();
        for needle in needles {
            match needle.place {
                Place::Anywhere(context) if !needle.bytes.is_empty() => {
                    patterns.push(needle.bytes);
                    anywhere.push(Text {
                        kind: needle.kind,
                        bytes: needle.bytes,
                        context,
                    });
                }
                Place::InSector(at) if at + needle.bytes.len() <= SECTOR_LEN => {
                    in_sector.push((at, needle.bytes, needle.kind));
                }
                _ => {}
            }
        }
        let overlap = anywhere
            .iter()
            .map(|t| t.bytes.len() - 1 + t.context.before);
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(patterns);
        Sweep {
            overlap: overlap.max().unwrap_or(0),
            // Building fails only past 2^31 states; a handful of short needles cannot.
            text: searcher.ok().filter(|_| !anywhere.is_empty()),
            anywhere,
            in_sector,
            blank_is_nothing: !needles.iter().any(|n| is_blank(n.bytes)),
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
        self.pass(source, Plan::default(), progress, &mut |swept| {
            gaps.add(swept.gaps);
            for (kind, at) in swept.hits {
                hit(kind, at);
            }
        });
        gaps
    }

    /// Goes over `source` as planned and tells of every block. The plan's overlap is set here.
    pub fn pass(
        &self,
        source: &dyn Source,
        plan: Plan,
        progress: &dyn Progress,
        each: &mut dyn FnMut(Swept<K>),
    ) {
        let plan = Plan {
            overlap: self.overlap,
            ..plan
        };
        pass::run(source, plan, &|window| self.search(window), &mut |passed| {
            progress.advance(passed.extent.length.0);
            each(Swept::from(passed));
        });
    }

    /// Looks at one extent of `source`, which starts at a sector's border, here and now.
    pub fn look(&self, source: &dyn Source, extent: Extent, each: &mut dyn FnMut(Swept<K>)) {
        let search = |window: Window<'_>| self.search(window);
        pass::look(source, extent, self.overlap, &search, &mut |passed| {
            each(Swept::from(passed));
        });
    }

    /// Searches one block.
    fn search(&self, window: Window<'_>) -> Vec<(K, Bytes)> {
        let mut hits = Vec::new();
        if self.blank_is_nothing && is_blank(window.bytes) {
            return hits;
        }
        let (sectors, rest) = window.block().as_chunks::<SECTOR_LEN>();
        for (i, sector) in sectors.iter().enumerate() {
            self.sector(sector, window.carried + i * SECTOR_LEN, &window, &mut hits);
        }
        let last = window.bytes.len() - rest.len();
        self.sector(rest, last, &window, &mut hits);
        if let Some(text) = &self.text {
            self.texts(text, window, &mut hits);
        }
        hits
    }

    #[inline]
    fn sector(&self, sector: &[u8], at: usize, window: &Window<'_>, hits: &mut Vec<(K, Bytes)>) {
        for (offset, bytes, kind) in &self.in_sector {
            if sector.get(*offset..).is_some_and(|s| s.starts_with(bytes)) {
                hits.push((*kind, window.place(at + offset)));
            }
        }
    }

    fn texts(&self, searcher: &AhoCorasick, window: Window<'_>, hits: &mut Vec<(K, Bytes)>) {
        let (before, mut from, mut crowd) = (hits.len(), 0, 0);
        while from < window.bytes.len() {
            let input = Input::new(window.bytes).range(from..);
            let Some(found) = searcher.find(input) else {
                return;
            };
            let Some(text) = self.anywhere.get(found.pattern().as_usize()) else {
                return;
            };
            if text.fits(&window, found.start()) {
                hits.push((text.kind, window.place(found.start())));
            }
            from = found.start() + text.context.apart.max(1);
            crowd += u32::from(text.context.followed.is_some());
            if crowd > CROWD {
                // Once more from the start: each needle that is told costs a look round it.
                hits.truncate(before);
                return self.crowd(window, hits);
            }
        }
    }

    /// A window that is full of needles: one needle after the other, so that of one that must be followed
    /// by something only the last before each of those is looked at, and the last of all.
    fn crowd(&self, window: Window<'_>, hits: &mut Vec<(K, Bytes)>) {
        let before = hits.len();
        for text in &self.anywhere {
            let mut tell = |at: usize| {
                if text.fits(&window, at) {
                    hits.push((text.kind, window.place(at)));
                }
            };
            let bytes = window.bytes;
            match text.context.followed {
                Some(word) => last_ones(bytes, text.bytes, word).for_each(&mut tell),
                None => spaced(bytes, text.bytes, text.context.apart).for_each(&mut tell),
            }
        }
        if let Some(new) = hits.get_mut(before..) {
            new.sort_by_key(|(_, at)| *at);
        }
    }
}

/// Where a needle lies in bytes, none closer than `apart` behind the one before.
fn spaced<'b>(bytes: &'b [u8], needle: &'b [u8], apart: usize) -> impl Iterator<Item = usize> + 'b {
    let finder = Finder::new(needle);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + finder.find(bytes.get(from..)?)?;
        from = at + apart.max(1);
        Some(at)
    })
}

/// The last place of a needle before each place of a word that follows it, and before the end: the word may stand behind.
fn last_ones<'b>(
    bytes: &'b [u8],
    needle: &'b [u8],
    word: &'b [u8],
) -> impl Iterator<Item = usize> + 'b {
    let (follows, last) = (Finder::new(word), FinderRev::new(needle));
    let mut from = 0;
    let runs = std::iter::from_fn(move || {
        let rest = bytes.get(from..)?;
        let run = follows.find(rest).map_or(bytes.len(), |at| from + at);
        let start = std::mem::replace(&mut from, run + word.len());
        Some((start, bytes.get(start..run)?))
    });
    runs.filter_map(move |(start, run)| Some(start + last.rfind(run)?))
}

impl<K> Text<K> {
    /// Whether a needle at this place of a window is to be told: its context fits, and it was not seen whole with the
    /// block before.
    fn fits(&self, window: &Window<'_>, at: usize) -> bool {
        let before = at.saturating_sub(self.context.before)..at;
        at + self.bytes.len() > window.carried
            && (self.context.fits)(window.bytes.get(before).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::image::pass::BLOCK;
    use crate::image::progress::Silent;

    const NEEDLES: [Needle<u8>; 3] = [
        Needle {
            kind: 1,
            bytes: b"seqno = ",
            place: Place::Anywhere(Context::ANY),
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

    /// A needle that counts only behind an `x` and before `physical`, and never within 16 bytes of another.
    const PICKY: [Needle<u8>; 1] = [Needle {
        kind: 1,
        bytes: b"seqno = ",
        place: Place::Anywhere(Context {
            apart: 16,
            before: 16,
            fits: |before| before.ends_with(b"x"),
            followed: Some(b"physical"),
        }),
    }];

    /// Two kinds of needle in one crowd: looking for one must not hide the other, nor turn their order round.
    #[test]
    fn a_crowd_of_one_needle_hides_no_other() {
        let mut needles = PICKY.to_vec();
        needles.push(Needle {
            kind: 2,
            bytes: b"extent_count",
            place: Place::Anywhere(Context::ANY),
        });
        let mut bytes = b"seqno = ".repeat(BLOCK / 4);
        let (first, second, third) = (BLOCK / 2, BLOCK / 2 + 4096, BLOCK + 99_999);
        for at in [first, third] {
            bytes[at..at + 12].copy_from_slice(b"extent_count");
        }
        bytes[second - 1..second + 16].copy_from_slice(b"xseqno = physical");
        let source = Memory::new("m", bytes);
        let mut found = Vec::new();
        let _ = Sweep::new(&needles).run(&source, &Silent, &mut |kind, at| {
            found.push((kind, at.0 as usize));
        });
        assert_eq!(found, [(2, first), (1, second), (2, third)]);
    }

    /// Heads that lead nowhere, by thousands: the one that is followed by what must follow is told, wherever it lies, and
    /// so is the last of a block, which may be followed by what lies in the next.
    #[test]
    fn a_crowd_of_heads_tells_those_that_are_followed() {
        let context = Context {
            followed: Some(b"physical"),
            ..Context::ANY
        };
        let needle = Needle {
            kind: 1,
            bytes: b"seqno = ",
            place: Place::Anywhere(context),
        };
        for at in [8192, BLOCK / 2, BLOCK - 120, BLOCK - 8, BLOCK, BLOCK + 8] {
            let mut bytes = b"seqno = ".repeat(2 * BLOCK / 8);
            bytes[at..at + 8].copy_from_slice(b"physical");
            let mut found = Vec::new();
            let source = Memory::new("m", bytes);
            let _ =
                Sweep::new(std::slice::from_ref(&needle)).run(&source, &Silent, &mut |_, hit| {
                    found.push(hit.0 as usize);
                });
            for told in [at - 8, BLOCK - 8, 2 * BLOCK - 8] {
                assert!(told == at || found.contains(&told), "{told}, {at}");
            }
            // And no other: an image full of them would cost many times its size.
            assert!(found.len() <= 2 * 2 + 1, "{found:?}");
        }
    }

    /// A blank block is passed over; not where a needle is blank itself, nor where the block before ended in a needle's
    /// first bytes.
    #[test]
    fn blank_blocks_hide_nothing() {
        let mut bytes = vec![0; 2 * BLOCK];
        bytes[BLOCK - 4..BLOCK].copy_from_slice(b"key\0");
        let needle = |bytes| Needle {
            kind: 1,
            bytes,
            place: Place::Anywhere(Context::ANY),
        };
        let source = Memory::new("m", bytes);
        let count = |needle| {
            let mut found = 0;
            let _ = Sweep::new(&[needle]).run(&source, &Silent, &mut |_, _| found += 1);
            found
        };
        assert_eq!(count(needle(b"key\0\0\0")), 1);
        assert_eq!(count(needle(b"\0")), 2 * BLOCK - 3);
    }

    /// The context must be whole at every place round a block's border, and an image full of the needle must not hide
    /// the one that counts.
    #[test]
    fn context_is_seen_across_block_borders() {
        for shift in 0..=40 {
            let at = BLOCK - 20 + shift;
            let mut bytes = b"seqno = ".repeat(2 * BLOCK / 8);
            bytes[at - 16..at].copy_from_slice(b"---------------x");
            bytes[at..at + 16].copy_from_slice(b"seqno = physical");
            let mut found = Vec::new();
            let source = Memory::new("m", bytes);
            let _ = Sweep::new(&PICKY).run(&source, &Silent, &mut |_, at| found.push(at.0));
            assert_eq!(found, [at as u64], "{shift}");
        }
    }

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
