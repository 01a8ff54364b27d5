//! GNU ddrescue's map file: which parts of a copy are the disk's bytes, and which were never read.
//!
//! A text of lines. Lines that start with `#`, and empty ones, are comments.
//! The first other line is where ddrescue stood: position, status, and since
//! 1.24 the pass. Every further line is one block:
//!
//! | field | what |
//! |---|---|
//! | pos | first byte, in decimal, hexadecimal (`0x`) or octal (`0`) |
//! | size | bytes, above zero |
//! | status | `?` not tried, `*` not trimmed, `/` not scraped, `-` bad sectors, `+` finished |
//!
//! Blocks are contiguous. Source: ddrescue's manual, chapter "Mapfile
//! structure". Only a finished block holds data: in the others the copy holds
//! zeros, or whatever the target held before.

use crate::file::{open_file, read_small};
use crate::units::{Bytes, Extent};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Most that is read of a map. A block takes some 30 bytes, so this is two million of them.
const LARGEST: u64 = 64 << 20;

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `?`: never tried.
    NonTried,
    /// `*`: failed as a whole, its edges not yet found.
    NonTrimmed,
    /// `/`: failed, its sectors not yet tried one by one.
    NonScraped,
    /// `-`: sectors that failed on their own.
    BadSector,
    /// `+`: read.
    Finished,
}

impl Status {
    const ALL: [(Status, &'static str); 5] = [
        (Status::NonTried, "?"),
        (Status::NonTrimmed, "*"),
        (Status::NonScraped, "/"),
        (Status::BadSector, "-"),
        (Status::Finished, "+"),
    ];

    /// Its character in the file.
    pub fn as_str(self) -> &'static str {
        let found = Status::ALL.iter().find(|(status, _)| *status == self);
        found.map_or("?", |(_, text)| text)
    }

    fn parse(text: &str) -> Option<Status> {
        let found = Status::ALL.iter().find(|(_, t)| *t == text);
        found.map(|(status, _)| *status)
    }
}

/// Why a map cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// It could not be read.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The map.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is longer than any map.
    #[error("{}: is not a ddrescue map: it has more than 64 MiB; {WHAT_TO_DO}", .0.display())]
    TooLarge(PathBuf),
    /// A line is not what a map has there.
    #[error("{}: line {line}: expected {expected}, found {found:?}; {WHAT_TO_DO}", .path.display())]
    Line {
        /// The map.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What a map has there.
        expected: String,
        /// What stands there, made safe for a terminal.
        found: String,
    },
    /// It is the map of something else.
    #[error("{}: does not fit {}: {why}; {WHAT_TO_DO}", .map.display(), .image.display())]
    Misfit {
        /// The map.
        map: PathBuf,
        /// The image.
        image: PathBuf,
        /// In what.
        why: String,
    },
}

/// How every message about a map ends.
const WHAT_TO_DO: &str = "name the right map with --map IMAGE=FILE, or move this one away";

/// A map: contiguous blocks, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescueMap {
    blocks: Vec<(Extent, Status)>,
}

impl RescueMap {
    /// Reads a map file.
    ///
    /// # Errors
    /// [`MapError`] where it cannot be read or is not a map from its first line to its last.
    pub fn load(path: &Path) -> Result<RescueMap, MapError> {
        let bytes = read_small(path, LARGEST).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::FileTooLarge => MapError::TooLarge(path.to_owned()),
            _ => MapError::Io {
                path: path.to_owned(),
                cause,
            },
        })?;
        RescueMap::parse(path, &String::from_utf8_lossy(&bytes))
    }

    /// Parses a map's text; `path` is for the error.
    ///
    /// # Errors
    /// [`MapError::Line`] for the first line that a map cannot have.
    pub fn parse(path: &Path, text: &str) -> Result<RescueMap, MapError> {
        let mut lines = text
            .lines()
            .zip(1..)
            .map(|(text, line)| (text.trim(), line))
            .filter(|(text, _)| !text.is_empty() && !text.starts_with('#'));
        let wrong = |line, expected: &str, found: &str| MapError::Line {
            path: path.to_owned(),
            line,
            expected: expected.to_owned(),
            found: crate::parse::printable(found.chars().take(60).collect::<String>().as_bytes()),
        };
        let (head, line) = lines
            .next()
            .ok_or_else(|| wrong(1, "ddrescue's position and status", "nothing"))?;
        if !is_head(head) {
            return Err(wrong(line, "ddrescue's position and status", head));
        }
        let mut blocks: Vec<(Extent, Status)> = Vec::new();
        for (text, line) in lines {
            let block = block(text).ok_or_else(|| wrong(line, "position, size, status", text))?;
            let end = blocks.last().map(|(last, _)| last.end());
            if let Some(end) = end.filter(|end| *end != block.0.offset) {
                let expected = format!("a block at {:#x}, where the one before ends", end.0);
                return Err(wrong(line, &expected, text));
            }
            blocks.push(block);
        }
        if blocks.is_empty() {
            return Err(wrong(line + 1, "a block", "the end of the file"));
        }
        Ok(RescueMap { blocks })
    }

    /// The map of a disk of `length` bytes of which only `read` was read.
    pub fn of(length: Bytes, read: &[Extent]) -> RescueMap {
        let mut blocks = Vec::new();
        let mut at = Bytes::ZERO;
        let end = Extent::new(length, Bytes::ZERO);
        for extent in crate::units::merge(read.to_vec()).iter().chain([&end]) {
            blocks.push((Extent::new(at, extent.offset - at), Status::NonTried));
            blocks.push((*extent, Status::Finished));
            at = extent.end();
        }
        RescueMap::join(blocks)
    }

    /// Contiguous blocks as a map: empty ones left out, neighbours of one status joined.
    fn join(blocks: impl IntoIterator<Item = (Extent, Status)>) -> RescueMap {
        let mut joined: Vec<(Extent, Status)> = Vec::new();
        for (extent, status) in blocks.into_iter().filter(|(e, _)| !e.is_empty()) {
            match joined.last_mut() {
                Some((last, same)) if *same == status => last.length = last.length + extent.length,
                _ => joined.push((extent, status)),
            }
        }
        RescueMap { blocks: joined }
    }

    /// The blocks.
    pub fn blocks(&self) -> &[(Extent, Status)] {
        &self.blocks
    }

    /// The first byte behind the last block.
    pub fn end(&self) -> Bytes {
        self.blocks.last().map(|(e, _)| e.end()).unwrap_or_default()
    }

    /// What of `0..length` is not the disk's data by this map: every block that is not finished, and what no block covers.
    pub fn unread(&self, length: Bytes) -> Vec<Extent> {
        let start = self.blocks.first().map_or(length, |(e, _)| e.offset);
        let mut unread = vec![Extent::new(Bytes::ZERO, start)];
        let unfinished = self.blocks.iter().filter(|(_, s)| *s != Status::Finished);
        unread.extend(unfinished.map(|(e, _)| *e));
        unread.push(Extent::new(self.end(), length - self.end()));
        crate::units::merge(unread)
    }

    /// This map with what a later pass read and did not read: `read` but for `bad` is finished, and `bad` is bad
    /// where the map did not already call it unread.
    #[must_use]
    pub fn after(&self, read: &[Extent], bad: &[Extent]) -> RescueMap {
        let read = crate::units::merge(read.to_vec());
        let mut edges: Vec<Bytes> = read.iter().flat_map(|e| [e.offset, e.end()]).collect();
        edges.extend(bad.iter().flat_map(|e| [e.offset, e.end()]));
        edges.extend(self.blocks.iter().flat_map(|(e, _)| [e.offset, e.end()]));
        edges.sort_unstable();
        edges.dedup();
        let end = self.end();
        let pieces = edges.windows(2).filter_map(|edge| {
            let [from, to] = *edge else { return None };
            let piece = Extent::new(from, to - from);
            let (_, before) = self.block_at(from)?;
            let among = |list: &[Extent]| {
                let index = list.partition_point(|e| e.end() <= from);
                list.get(index).is_some_and(|e| e.overlap(piece).is_some())
            };
            let status = match (among(bad), among(&read), before) {
                (true, _, Status::Finished) => Status::BadSector,
                (false, true, _) => Status::Finished,
                (_, _, before) => before,
            };
            (from < end).then_some((piece, status))
        });
        RescueMap::join(pieces)
    }

    fn block_at(&self, at: Bytes) -> Option<(Extent, Status)> {
        let index = self.blocks.partition_point(|(e, _)| e.end() <= at);
        self.blocks.get(index).copied()
    }

    /// The map as ddrescue writes it.
    pub fn to_text(&self) -> String {
        let finished = self.blocks.iter().all(|(_, s)| *s == Status::Finished);
        let mut text = format!(
            "# Mapfile. Created by disinter version {}\n# current_pos  current_status  current_pass\n\
             0x00000000     {}               1\n#      pos        size  status\n",
            env!("CARGO_PKG_VERSION"),
            // ddrescue goes on where anything is left.
            if finished { "+" } else { "?" },
        );
        for (extent, status) in &self.blocks {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "0x{:08X}  0x{:08X}  {}",
                extent.offset.0,
                extent.length.0,
                status.as_str()
            );
        }
        text
    }
}

/// Whether a file begins as ddrescue's maps do, by the name of today or that of before 1.20.
pub(super) fn begins_as_one(path: &Path) -> bool {
    const HEADS: [&[u8]; 2] = [b"# Mapfile. Created by", b"# Rescue Logfile."];
    let mut front = Vec::new();
    let read = open_file(path).and_then(|file| file.take(32).read_to_end(&mut front));
    read.is_ok() && HEADS.iter().any(|head| front.starts_with(head))
}

/// Whether a line says where ddrescue stood.
fn is_head(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let status = |s: &str| s.len() == 1 && "?*/-FG+".contains(s);
    match fields.as_slice() {
        [pos, s] => number(pos).is_some() && status(s),
        [pos, s, pass] => number(pos).is_some() && status(s) && number(pass).is_some(),
        _ => false,
    }
}

fn block(text: &str) -> Option<(Extent, Status)> {
    let mut fields = text.split_whitespace();
    let (pos, size) = (number(fields.next()?)?, number(fields.next()?)?);
    let status = Status::parse(fields.next()?)?;
    // A block past the end of all numbers is none.
    pos.checked_add(size)?;
    (fields.next().is_none() && size > 0).then_some((Extent::new(Bytes(pos), Bytes(size)), status))
}

/// A number in C's three notations.
fn number(text: &str) -> Option<u64> {
    let digits = |text: &str, radix| {
        // from_str_radix takes a sign.
        let plain = text.chars().all(|c| c.is_digit(radix));
        u64::from_str_radix(text, radix).ok().filter(|_| plain)
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => digits(hex, 16),
        None if text.len() > 1 && text.starts_with('0') => digits(text, 8),
        None => digits(text, 10),
    }
}

/// How long the disk is of which `image` of `length` bytes is a copy with this map; `needed` bytes of it are asked for.
///
/// A copy that was stopped is shorter than its map: the rest was never read.
///
/// # Errors
/// [`MapError::Misfit`] where the map calls bytes finished that the image does not have, or does not reach as far as
/// what is asked for.
pub fn fit(
    map: &RescueMap,
    map_path: &Path,
    image: &Path,
    length: Bytes,
    needed: Bytes,
) -> Result<Bytes, MapError> {
    let misfit = |why: String| MapError::Misfit {
        map: map_path.to_owned(),
        image: image.to_owned(),
        why,
    };
    let finished = map
        .blocks
        .iter()
        .rev()
        .find(|(_, s)| *s == Status::Finished);
    let finished = finished.map(|(e, _)| e.end()).unwrap_or_default();
    if finished > length {
        return Err(misfit(format!(
            "the map has bytes read up to {}, the image ends at {}",
            finished.0, length.0
        )));
    }
    if map.end() < needed {
        return Err(misfit(format!(
            "the map ends at byte {}, the image at {}",
            map.end().0,
            needed.0
        )));
    }
    Ok(map.end().max(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent::new(Bytes(offset), Bytes(length))
    }

    fn parse(text: &str) -> Result<RescueMap, String> {
        RescueMap::parse(Path::new("m"), text).map_err(|e| e.to_string())
    }

    const MAP: &str = "# Mapfile. Created by GNU ddrescue version 1.27\n# Command line: ddrescue a b m\n\
        # current_pos  current_status  current_pass\n0x0000A000     *               1\n\
        #      pos        size  status\n0x00000000  0x00001000  +\n0x00001000  4096  *\n\
        020000 0x200 /\n0x2200  0x200  -\n0x2400  0x1C00  +\n0x4000  0x4000  ?\n";

    /// A state taken for data is a hole of zeros in an answer: all but `+` are unread.
    #[test]
    fn every_state_but_finished_is_unread() {
        let map = parse(MAP).unwrap();
        assert_eq!(map.end(), Bytes(0x8000));
        let unread = [extent(0x1000, 0x1400), extent(0x4000, 0x5000)];
        assert_eq!(map.unread(Bytes(0x9000)), unread);
        // The older form, without a pass, and a map that does not start at the start.
        let old = parse("0x0 +\n0x200 0x200 +\n").unwrap();
        assert_eq!(old.unread(Bytes(0x400)), [extent(0, 0x200)]);
    }

    /// A line that is guessed at is a line that is wrong: each of these must be refused, with its number.
    #[test]
    fn what_is_no_map_is_refused_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("# only a comment\n", 1),
            ("hello\n", 1),
            ("0x0 + 1\n", 2),
            ("0x0 + 1 1\n0 512 +\n", 1),
            ("0x0 +\n0 512\n", 2),
            ("0x0 +\n0 512 + 3\n", 2),
            ("0x0 +\n0 512 x\n", 2),
            ("0x0 +\n0 0 +\n", 2),
            ("0x0 +\n-1 512 +\n", 2),
            ("0x0 +\n0 +5 +\n", 2),
            ("0x0 +\n0 512 +\n1024 512 +\n", 3),
            ("0x0 +\n0 512 +\n\n# c\n256 512 +\n", 5),
            ("0x0 +\n0xffffffffffffffff 2 +\n", 2),
            ("0x0 +\n0 99999999999999999999999 +\n", 2),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.contains(&format!("line {line}:")),
                "{text:?}: {error}"
            );
        }
        assert!(!parse("\x1b[2J\n").unwrap_err().contains('\x1b'));
    }

    /// A map of another disk would call good bytes bad and, worse, bad ones good.
    #[test]
    fn a_map_must_fit() {
        let map = parse(MAP).unwrap();
        let fits = |length, needed| {
            let (m, i) = (Path::new("m"), Path::new("i"));
            fit(&map, m, i, Bytes(length), Bytes(needed)).map_err(|e| e.to_string())
        };
        assert_eq!(fits(0x8000, 0x8000), Ok(Bytes(0x8000)));
        // Stopped before its end: as long as the disk, the rest unread.
        assert_eq!(fits(0x4000, 0x4000), Ok(Bytes(0x8000)));
        let error = fits(0x3fff, 0x3fff).unwrap_err();
        assert!(
            error.contains("read up to 16384") && error.contains("--map"),
            "{error}"
        );
        assert!(
            fits(0x9000, 0x9000)
                .unwrap_err()
                .contains("ends at byte 32768")
        );
        // Only the front of a larger disk was asked for.
        assert_eq!(fits(0x9000, 0x8000), Ok(Bytes(0x9000)));
    }

    /// What a pass adds must not call anything read that was not.
    #[test]
    fn a_map_after_a_pass() {
        let map = parse(MAP).unwrap();
        let bad = [
            extent(0x200, 0x200),
            extent(0x1000, 0x1400),
            extent(0x4000, 0x4000),
        ];
        let after = map.after(&[extent(0, 0x8000)], &bad);
        assert_eq!(after.unread(Bytes(0x8000)), bad);
        assert_eq!(after.blocks()[1], (bad[0], Status::BadSector));
        assert_eq!(after.blocks()[3].1, Status::NonTrimmed);
        // A part that was not looked at stays as it was.
        let part = map.after(&[extent(0, 0x1000)], &[]);
        assert_eq!(part, map);
        // Without a map: what was looked at is known, the rest was not tried.
        let looked = [extent(0x100, 0x200), extent(0x800, 0x100)];
        let of = RescueMap::of(Bytes(0x1000), &looked).after(&looked, &[extent(0x200, 0x80)]);
        let unread = [
            extent(0, 0x100),
            extent(0x200, 0x80),
            extent(0x300, 0x500),
            extent(0x900, 0x700),
        ];
        assert_eq!(of.unread(Bytes(0x1000)), unread);
    }

    proptest! {
        /// A map that changes on its way through a file loses what it was made for.
        #[test]
        fn maps_survive_the_file(lengths in prop::collection::vec((1..1_u64 << 40, 0..5_usize), 1..50)) {
            let mut at = Bytes::ZERO;
            let mut blocks = Vec::new();
            for (length, status) in lengths {
                blocks.push((Extent::new(at, Bytes(length)), Status::ALL[status].0));
                at = at + Bytes(length);
            }
            let map = RescueMap::join(blocks);
            prop_assert_eq!(parse(&map.to_text()).unwrap(), map);
        }

        /// Whatever stands in the file, it is a map or an error.
        #[test]
        fn any_text_is_a_map_or_an_error(text in "[0-9x?*/+\\- \n#]{0,200}") {
            let _ = parse(&text);
        }
    }
}
