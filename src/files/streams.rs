//! Compressed files followed from member to member: where a chunk ends nothing tells which one comes next, but only
//! with the right ones is the file whole in the end.
//!
//! Bytes that are not a stream's own are found out late: any bits are some
//! codes, until one of them can be none. That takes some tens of kilobytes, so
//! at each chunk's end the wrong ways die soon behind it, and what is left in
//! the end is proven by what the file says of itself as a whole.

use super::{gzip, jpeg};
use crate::image::SharedSource;
use crate::md::sample::PAGE;
use crate::md::spans::{Sign, Span, Spans};
use crate::parse::is_blank;
use crate::units::{Bytes, Extent};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes read at a time.
const UNIT: u64 = 16 << 10;

/// Read of each member at most.
pub(super) const MOST_READ: Bytes = Bytes::mib(8);

/// Compressed bytes gone through for one file and size of chunks: with every size so many at first, and more only then.
/// Short chunks end before what is wrong has shown, and its ways grow many.
const MOST_OF_A_FILE: [u64; 2] = [1 << 20, 24 << 20];
/// The same for all files.
const MOST_OF_ALL: u64 = 160 << 20;

/// A longer file is not followed.
const LONGEST: u64 = 16 << 20;

/// Ends of chunks that one file is followed over.
const MOST_PARTS: usize = 256;

/// Ends of chunks behind which files went on, after which enough is known.
const ENOUGH: usize = 96;

/// Looked at behind a chunk's end to tell which way is the likeliest, where files tell that.
const AHEAD: Bytes = Bytes(64 << 10);

/// Chunk sizes tried, mdadm's defaults of today and before first.
const CHUNKS: [u64; 9] = [512, 64, 128, 256, 32, 1024, 16, 8, 4];

/// Files that went over ends of chunks of one size, after which no other is tried.
const SURE: usize = 3;

/// How a file stands after some of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    More,
    /// It is whole, as it says itself: so many of the bytes were its own.
    Whole(usize),
    /// These are not its bytes, or some before were not.
    Broken,
}

/// A file that is read in pieces; a copy goes on from where it stands.
#[derive(Clone)]
enum Stream {
    Gzip(gzip::Stream),
    Jpeg(jpeg::Stream),
}

impl Stream {
    /// The file that begins these bytes, and where it goes on.
    fn begin(bytes: &[u8]) -> Option<(Stream, usize)> {
        let gzip = || gzip::Stream::begin(bytes).map(|(s, start)| (Stream::Gzip(s), start));
        let jpeg = || jpeg::Stream::begin(bytes).map(|(s, start)| (Stream::Jpeg(s), start));
        gzip().or_else(jpeg)
    }

    /// Goes on with these bytes.
    fn feed(&mut self, bytes: &[u8]) -> Step {
        match self {
            Stream::Gzip(stream) => stream.feed(bytes),
            Stream::Jpeg(stream) => stream.feed(bytes),
        }
    }

    /// From here on other bytes may come; whether it will tell how they go on from those before.
    fn begin_seam(&mut self) -> bool {
        match self {
            Stream::Gzip(_) => false,
            Stream::Jpeg(stream) => stream.begin_seam(),
        }
    }

    /// Whether more bytes would tell no more of that.
    fn is_told(&self) -> bool {
        match self {
            Stream::Gzip(_) => true,
            Stream::Jpeg(stream) => stream.is_told(),
        }
    }

    /// How badly the bytes since then go on from those before; `None` where too few came to tell.
    fn seam(&self) -> Option<u64> {
        match self {
            Stream::Gzip(_) => None,
            Stream::Jpeg(stream) => stream.seam(),
        }
    }
}

/// Whether a file begins so that can be followed.
pub(super) fn begins(bytes: &[u8]) -> bool {
    gzip::begins(bytes) || jpeg::begins(bytes)
}

/// A place on a member.
type Spot = (usize, Bytes);

/// A chunk's last byte, and where the file goes on.
type Link = (Spot, Spot);

/// How a file lies.
enum Lies {
    /// In one piece: its first and its last byte.
    Whole(Link),
    /// Over ends of chunks of this size.
    Parted(u64, Vec<Link>),
}

/// Follows files, given where they begin, as far as it pays, and notes where they go on.
pub(super) fn follow(heads: &[Spot], members: &[SharedSource], spans: &mut Spans) {
    let mut search = Search {
        reader: Reader {
            members,
            units: HashMap::new(),
            read: vec![Bytes::ZERO; members.len()],
        },
        left: MOST_OF_ALL,
        of_file: 0,
    };
    let mut found = HashMap::new();
    let (mut number, mut links, mut files) = (0, 0, 0);
    // Files at the front of one folder are alike: an even choice first.
    let step = heads.len().div_ceil(ENOUGH).max(1);
    let order = (0..step).flat_map(|first| heads.iter().skip(first).step_by(step));
    for head in order {
        if search.left == 0 || links >= ENOUGH && files >= SURE {
            break;
        }
        let chunks = chunks(&found);
        let mut note = |(from, to): Link, distance: Bytes| {
            let sign = Sign::Followed(number);
            number += 1;
            spans.spans.push(Span {
                member: from.0,
                at: from.1,
                distance,
                sign,
            });
            spans.signs.insert((to.0, to.1, sign));
        };
        match search.file(*head, &chunks) {
            // It says how far no chunk ends.
            Some(Lies::Whole((from, to))) => note((from, to), to.1 - from.1),
            Some(Lies::Parted(chunk, path)) => {
                *found.entry(chunk).or_default() += 1;
                links += path.len();
                files += 1;
                path.into_iter().for_each(|link| note(link, Bytes(1)));
            }
            None => {}
        }
    }
}

/// The sizes to try, by those found so far: size in bytes, and how often.
fn chunks(found: &HashMap<u64, usize>) -> Vec<u64> {
    let best = found.iter().max_by_key(|(chunk, times)| (**times, **chunk));
    match best {
        Some((chunk, times)) if *times >= SURE => vec![*chunk],
        best => {
            let first = best.map(|(chunk, _)| *chunk);
            let all = CHUNKS.map(|kib| kib << 10);
            let others = all.into_iter().filter(|c| Some(*c) != first);
            first.into_iter().chain(others).collect()
        }
    }
}

struct Search<'a> {
    reader: Reader<'a>,
    /// Compressed bytes that may still be gone through, for all files and for this one.
    left: u64,
    of_file: u64,
}

impl Search<'_> {
    /// How the file lies that begins there, if it can be followed to its end.
    fn file(&mut self, head: Spot, chunks: &[u64]) -> Option<Lies> {
        let unit = self.reader.unit(head.0, head.1)?;
        let (stream, start) = Stream::begin(&unit)?;
        let start = (head.0, head.1 + Bytes(start as u64));
        let mut path = Vec::new();
        self.of_file = LONGEST.min(self.left);
        if let Some(end) = self.go(stream.clone(), start, None, &mut path) {
            let last = (end.0, end.1 - Bytes(1));
            return Some(Lies::Whole((head, last)));
        }
        let mut open = chunks.to_vec();
        for most in MOST_OF_A_FILE {
            let mut ran_out = Vec::new();
            for chunk in open {
                path.clear();
                self.of_file = most.min(self.left);
                let end = self.go(stream.clone(), start, Some(chunk), &mut path);
                if end.is_some() && !path.is_empty() {
                    return Some(Lies::Parted(chunk, path));
                }
                if self.of_file == 0 {
                    ran_out.push(chunk);
                }
            }
            open = ran_out;
        }
        None
    }

    /// Where the file ends that stands so before `here`, if it can be followed to its end; `path` has each end of a
    /// chunk, as its last byte, and where it goes on.
    fn go(
        &mut self,
        mut stream: Stream,
        here: Spot,
        chunk: Option<u64>,
        path: &mut Vec<Link>,
    ) -> Option<Spot> {
        let (member, mut at) = here;
        let border = chunk.map(|chunk| Bytes((at.0 / chunk + 1) * chunk));
        let stop = border.unwrap_or(at + Bytes(LONGEST));
        while at < stop {
            match self.feed(&mut stream, (member, at), stop)? {
                (Step::More, length) => at = at + length,
                (Step::Whole(used), _) => return Some((member, at + Bytes(used as u64))),
                (Step::Broken, _) => return None,
            }
        }
        let (chunk, border) = chunk.zip(border)?;
        if path.len() >= MOST_PARTS {
            return None;
        }
        let last = (member, border - Bytes(1));
        for next in self.ways(&stream, (member, border), chunk) {
            if path.iter().any(|(_, to)| *to == next) {
                continue;
            }
            path.push((last, next));
            let end = self.go(stream.clone(), next, Some(chunk), path);
            if end.is_some() {
                return end;
            }
            path.pop();
        }
        None
    }

    /// Gives a stream what lies at a place, up to `stop` and the end of a unit; what became of it, and how much that was.
    fn feed(
        &mut self,
        stream: &mut Stream,
        (member, at): Spot,
        stop: Bytes,
    ) -> Option<(Step, Bytes)> {
        let unit = self.reader.unit(member, at)?;
        let bytes = unit.get(..(stop - at).to_len(unit.len())).unwrap_or(&unit);
        let length = bytes.len() as u64;
        self.left = self.left.saturating_sub(length);
        self.of_file = self.of_file.saturating_sub(length);
        // One byte over and over is some code over and over: it would never fail.
        let constant = bytes.len() >= PAGE && is_blank(bytes);
        (self.of_file > 0 && !constant).then(|| (stream.feed(bytes), Bytes(length)))
    }

    /// Where a file may go on behind a chunk that ends at `border`, the likeliest first: the next in the row, or the
    /// first of the next row. Nowhere, if it is most likely to go on where it is: then no chunk ends there.
    fn ways(&mut self, stream: &Stream, (member, border): Spot, chunk: u64) -> Vec<Spot> {
        let rows = [border.0.checked_sub(chunk), Some(border.0)];
        let others = (0..self.reader.members.len()).filter(|other| *other != member);
        let rows = rows.into_iter().flatten().map(Bytes);
        let ways = rows.flat_map(|at| others.clone().map(move |other| (other, at)));
        let mut start = stream.clone();
        if !start.begin_seam() {
            return ways.collect();
        }
        let ways: Vec<Spot> = ways.collect();
        let mut seams = Vec::new();
        for way in ways.into_iter().chain([(member, border)]) {
            let ahead = AHEAD.min(Bytes(chunk));
            if let Some(seam) = self.look_ahead(start.clone(), way, way.1 + ahead) {
                seams.push((seam, way));
            }
        }
        seams.sort_by_key(|(seam, _)| *seam);
        let best = seams.first().map_or(0, |(seam, _)| *seam);
        let stays = seams.iter().find(|(_, way)| *way == (member, border));
        if stays.is_some_and(|(seam, _)| *seam == best && *seam < u64::MAX) {
            return Vec::new();
        }
        // Others are far worse wherever bytes are not the file's own.
        let near = |seam: u64| seam <= best.saturating_add(best / 4);
        let likely = seams
            .into_iter()
            .filter(|(seam, way)| near(*seam) && way.0 != member);
        likely.map(|(_, way)| way).collect()
    }

    /// How badly the bytes of a place go on from those that a stream had; `None` if they are not its own.
    fn look_ahead(
        &mut self,
        mut stream: Stream,
        (member, mut at): Spot,
        stop: Bytes,
    ) -> Option<u64> {
        while at < stop && !stream.is_told() {
            match self.feed(&mut stream, (member, at), stop)? {
                (Step::More, length) => at = at + length,
                // It is whole with it: nothing could go on better.
                (Step::Whole(_), _) => return Some(0),
                (Step::Broken, _) => return None,
            }
        }
        Some(stream.seam().unwrap_or(u64::MAX))
    }
}

/// Members, with what was read of them.
struct Reader<'a> {
    members: &'a [SharedSource],
    units: HashMap<Spot, Arc<Vec<u8>>>,
    read: Vec<Bytes>,
}

impl Reader<'_> {
    /// What lies from a place to the end of its unit; `None` where it cannot be read, or enough was.
    fn unit(&mut self, member: usize, at: Bytes) -> Option<Vec<u8>> {
        let start = Bytes(at.0 / UNIT * UNIT);
        let inside = (at - start).to_len(usize::MAX);
        let whole = match self.units.get(&(member, start)) {
            Some(unit) => unit.clone(),
            None => {
                let unit = Arc::new(self.fetch(member, start)?);
                self.units.insert((member, start), unit.clone());
                unit
            }
        };
        let rest = whole.get(inside..).filter(|rest| !rest.is_empty());
        rest.map(<[u8]>::to_vec)
    }

    fn fetch(&mut self, member: usize, start: Bytes) -> Option<Vec<u8>> {
        let source = self.members.get(member)?;
        let read = self.read.get_mut(member)?;
        let length = Bytes(UNIT).min(source.len() - start);
        if *read + length > MOST_READ || length.0 < PAGE as u64 {
            return None;
        }
        *read = *read + length;
        let extent = Extent::new(start, length);
        crate::image::read_vec(&**source, extent, length.to_len(usize::MAX)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crc::{CRC_32_ISO_HDLC, Crc};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut file = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0".to_vec();
        file.extend(miniz_oxide::deflate::compress_to_vec(text, 6));
        let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(text);
        file.extend(crc.to_le_bytes());
        file.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        file
    }

    /// Words in no order: half of them compress away.
    fn text(seed: u64, words: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..words)
            .flat_map(|_| format!("{:x} ", next() % 60_000).into_bytes())
            .collect()
    }

    /// Chunks of an array over members, one row after the other.
    fn members(array: &[u8], chunk: usize, count: usize) -> Vec<SharedSource> {
        let member = |m: usize| -> SharedSource {
            let chunks = array.chunks(chunk).skip(m).step_by(count);
            Arc::new(Memory::new("m", chunks.flatten().copied().collect()))
        };
        (0..count).map(member).collect()
    }

    /// The file at these bytes of an array over three members must lead from each end of a chunk to where it goes on, and
    /// to no other place.
    #[track_caller]
    fn is_followed(array: &[u8], chunk: usize, file: std::ops::Range<usize>) {
        let at = |array: usize| {
            let (row, column) = (array / chunk / 3, array / chunk % 3);
            (column, Bytes((row * chunk + array % chunk) as u64))
        };
        let mut spans = Spans::default();
        follow(&[at(file.start)], &members(array, chunk, 3), &mut spans);
        let found: Vec<(Spot, Spot)> = spans
            .spans
            .iter()
            .map(|span| {
                assert_eq!(span.distance, Bytes(1));
                let signs = spans.signs.iter().filter(|s| s.2 == span.sign);
                let signs: Vec<Spot> = signs.map(|s| (s.0, s.1)).collect();
                assert_eq!(signs.len(), 1);
                ((span.member, span.at), signs[0])
            })
            .collect();
        let borders = (file.start / chunk + 1..=file.end / chunk).map(|number| number * chunk);
        let expected: Vec<_> = borders.map(|border| (at(border - 1), at(border))).collect();
        assert!(expected.len() > 2);
        assert_eq!(found, expected);
    }

    #[test]
    fn files_are_followed_over_chunks() {
        const CHUNK: usize = 16 << 10;
        let mut array = vec![7; 5 * CHUNK - 4096];
        array.extend(gzip(&text(1, 30_000)));
        let file = 5 * CHUNK - 4096..array.len();
        array.resize(12 * CHUNK, 9);
        is_followed(&array, CHUNK, file);
    }

    /// An image among pieces of itself: their codes could follow nearly everywhere.
    #[test]
    fn images_are_followed_over_chunks() {
        const CHUNK: usize = 4 << 10;
        let photo = include_bytes!("samples/photo.jpg");
        let mut array = photo.repeat(2);
        array.resize(array.len().next_multiple_of(512) + 512, 0);
        let start = array.len();
        array.extend(photo);
        let file = start..array.len();
        array.extend(&photo[3000..]);
        array.resize(array.len().next_multiple_of(3 * CHUNK), 0);
        is_followed(&array, CHUNK, file);
    }

    /// What a file says that lies alone on a member.
    fn alone(mut file: Vec<u8>) -> Spans {
        file.resize(64 << 10, 0);
        let mut spans = Spans::default();
        follow(
            &[(0, Bytes::ZERO)],
            &members(&file, 64 << 10, 1),
            &mut spans,
        );
        spans
    }

    /// One wrong bit in a file that is otherwise whole: nothing is proven, and nothing may be said.
    #[test]
    fn a_broken_file_says_nothing() {
        let mut file = gzip(&text(2, 3000));
        let middle = file.len() / 2;
        file[middle] ^= 4;
        let spans = alone(file);
        assert_eq!(spans.spans, []);
    }

    /// A file in one piece says that no chunk ends within it.
    #[test]
    fn a_file_in_one_piece() {
        let file = gzip(&text(3, 9000));
        let length = file.len() as u64;
        let spans = alone(file);
        let span = spans.spans.first().unwrap();
        assert_eq!((span.at, span.distance), (Bytes::ZERO, Bytes(length - 1)));
        assert!(spans.signs.contains(&(0, Bytes(length - 1), span.sign)));
    }
}
