//! JPEG images: markers with their segments, and codes of which each tells how long it is.
//!
//! Nothing is made into a picture: the codes are read for their lengths and the
//! bounds of what they say. A wrong piece of a file shows by a code that there
//! is not, more coefficients than a block has, one larger than eight bits of a
//! sample give, a marker where none may be, restarts out of their order, and in
//! the end by another number of blocks than the frame's size asks for.
//!
//! Progressive, lossless and arithmetic images are not followed: what one scan
//! of theirs holds depends on the scans before it.
//!
//! Source: ITU-T T.81 (JPEG), annexes B, C and F.

use super::jpeg_codes::Codes;
use super::jpeg_scan::{Block, Coded, Scan};
use super::streams::Step;
use crate::parse::be16;
use std::sync::Arc;

/// Start of the image, and the first byte of the next marker.
const MAGIC: &[u8] = b"\xff\xd8\xff";

/// Markers, by their second byte.
const FRAME_BASELINE: u8 = 0xc0;
const FRAME_EXTENDED: u8 = 0xc1;
const TABLES: u8 = 0xc4;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const QUANTIZATION: u8 = 0xdb;
const INTERVAL: u8 = 0xdd;
/// Application data and comments: of no consequence.
const APPLICATION: std::ops::RangeInclusive<u8> = 0xe0..=0xef;
const COMMENT: u8 = 0xfe;

/// Blocks in one unit at most (T.81 B.2.3).
const MOST_BLOCKS: usize = 10;

/// Whether a JPEG image begins so.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let next = bytes.get(MAGIC.len()).copied().unwrap_or_default();
    let known = [
        FRAME_BASELINE,
        FRAME_EXTENDED,
        TABLES,
        QUANTIZATION,
        INTERVAL,
        COMMENT,
    ];
    bytes.starts_with(MAGIC) && (APPLICATION.contains(&next) || known.contains(&next))
}

/// A component of the frame.
#[derive(Clone, Copy, Debug)]
struct Component {
    id: u8,
    /// Blocks in one unit, beside and below each other.
    size: (u32, u32),
    quantization: u8,
    /// Whether a scan held it.
    seen: bool,
}

/// What a frame's header says.
#[derive(Clone, Debug)]
struct Frame {
    /// In samples.
    width: u32,
    height: u32,
    components: Vec<Component>,
}

/// What a stream reads.
#[derive(Clone, Debug)]
enum Part {
    /// A marker; whether its first byte was read.
    Marker(bool),
    /// A segment of this marker: its bytes so far, the length's own two first.
    Segment(u8, Vec<u8>),
    /// Codes.
    Codes(Box<Scan>),
}

/// A file that is read code by code; a copy goes on from where it stands.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    part: Part,
    frame: Option<Frame>,
    /// Codes of first coefficients, and of the others.
    codes: [[Option<Arc<Codes>>; 4]; 2],
    quantization: [Option<Arc<[u16; 64]>>; 4],
    /// Units between restarts; 0 for none.
    interval: u16,
}

impl Stream {
    /// The image that begins these bytes, and where it goes on.
    pub(super) fn begin(bytes: &[u8]) -> Option<(Stream, usize)> {
        let stream = Stream {
            part: Part::Marker(false),
            frame: None,
            codes: Default::default(),
            quantization: Default::default(),
            interval: 0,
        };
        // Behind the first marker.
        begins(bytes).then_some((stream, 2))
    }

    /// Goes on with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        loop {
            let step = match &mut self.part {
                Part::Codes(scan) => match scan.feed(bytes, &mut at) {
                    Coded::More => return Step::More,
                    Coded::Over(marker) => self.marker(marker),
                    Coded::Broken => None,
                },
                Part::Marker(escaped) => {
                    let Some(byte) = bytes.get(at).copied() else {
                        return Step::More;
                    };
                    at += 1;
                    match (*escaped, byte) {
                        (_, 0xff) => {
                            *escaped = true;
                            Some(false)
                        }
                        (true, marker) => self.marker(marker),
                        (false, _) => None,
                    }
                }
                Part::Segment(marker, read) => {
                    let length = be16(read, 0).map_or(2, usize::from);
                    let lacks = length.saturating_sub(read.len());
                    let rest = bytes.get(at..).unwrap_or_default();
                    let more = rest.get(..lacks).unwrap_or(rest);
                    read.extend(more);
                    at += more.len();
                    match lacks {
                        0 => {
                            let (marker, read) = (*marker, std::mem::take(read));
                            self.segment(marker, read.get(2..).unwrap_or_default())
                        }
                        _ if more.is_empty() => return Step::More,
                        _ => Some(false),
                    }
                }
            };
            match step {
                Some(false) => {}
                Some(true) => return Step::Whole(at),
                None => return Step::Broken,
            }
        }
    }

    /// From here on other bytes may come; whether it will tell how they go on from those before.
    pub(super) fn begin_seam(&mut self) -> bool {
        match &mut self.part {
            Part::Codes(scan) => scan.begin_seam(),
            _ => false,
        }
    }

    /// Whether more bytes would tell no more of that.
    pub(super) fn is_told(&self) -> bool {
        match &self.part {
            Part::Codes(scan) => scan.is_told(),
            _ => true,
        }
    }

    /// How much the units since then differ from those above them on the average; `None` where too few are known.
    pub(super) fn seam(&self) -> Option<u64> {
        match &self.part {
            Part::Codes(scan) => scan.seam(),
            _ => None,
        }
    }

    /// What a marker begins; whether the image is whole, and `None` where the marker may not be.
    fn marker(&mut self, marker: u8) -> Option<bool> {
        let (application, frame) = (APPLICATION.contains(&marker), self.frame.is_some());
        match marker {
            END => {
                let all = |frame: &Frame| frame.components.iter().all(|c| c.seen);
                return self.frame.as_ref().is_some_and(all).then_some(true);
            }
            FRAME_BASELINE | FRAME_EXTENDED if !frame => {}
            SCAN if frame => {}
            TABLES | QUANTIZATION | INTERVAL | COMMENT => {}
            _ if application => {}
            _ => return None,
        }
        self.part = Part::Segment(marker, Vec::new());
        Some(false)
    }

    /// Reads a segment without its length; `None` where it is not as it must be.
    fn segment(&mut self, marker: u8, bytes: &[u8]) -> Option<bool> {
        self.part = Part::Marker(false);
        match marker {
            FRAME_BASELINE | FRAME_EXTENDED => self.frame = Some(Frame::new(bytes)?),
            TABLES => self.tables(bytes)?,
            QUANTIZATION => self.quantizations(bytes)?,
            INTERVAL => self.interval = be16(bytes, 0).filter(|_| bytes.len() == 2)?,
            SCAN => self.part = Part::Codes(Box::new(self.scan(bytes)?)),
            _ => {}
        }
        Some(false)
    }

    fn tables(&mut self, mut bytes: &[u8]) -> Option<()> {
        while let Some((which, rest)) = bytes.split_first() {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let values = counts.iter().map(|c| usize::from(*c)).sum();
            let rest = rest.get(counts.len()..)?;
            let codes = Codes::new(counts, rest.get(..values)?)?;
            let of = self.codes.get_mut(usize::from(which >> 4))?;
            *of.get_mut(usize::from(which & 15))? = Some(Arc::new(codes));
            bytes = rest.get(values..)?;
        }
        Some(())
    }

    fn quantizations(&mut self, mut bytes: &[u8]) -> Option<()> {
        while let Some((which, rest)) = bytes.split_first() {
            let wide = match which >> 4 {
                0 => 1,
                1 => 2,
                _ => return None,
            };
            let mut table = [0; 64];
            for (step, value) in table.iter_mut().zip(rest.chunks_exact(wide)) {
                *step = value.iter().fold(0, |sum, b| sum << 8 | u16::from(*b));
            }
            *self.quantization.get_mut(usize::from(which & 15))? = Some(Arc::new(table));
            bytes = rest.get(64 * wide..)?;
        }
        Some(())
    }

    /// The scan of which this is the header.
    fn scan(&mut self, bytes: &[u8]) -> Option<Scan> {
        let frame = self.frame.as_mut()?;
        let (count, rest) = bytes.split_first()?;
        let count = usize::from(*count);
        // All coefficients, and none of them in parts: no other scan is sequential.
        if rest.get(2 * count..)? != [0, 63, 0] || !(1..=4).contains(&count) {
            return None;
        }
        let size = frame.unit();
        let mut blocks = Vec::new();
        let mut units = (
            frame.width.div_ceil(8 * size.0),
            frame.height.div_ceil(8 * size.1),
        );
        for (number, entry) in rest.get(..2 * count)?.chunks_exact(2).enumerate() {
            let [id, tables] = *entry.first_chunk()?;
            let component = frame
                .components
                .iter_mut()
                .find(|c| c.id == id && !c.seen)?;
            component.seen = true;
            let codes =
                |kind: usize, table: u8| self.codes.get(kind)?.get(usize::from(table))?.clone();
            let block = Block {
                component: number,
                is_first: false,
                first: codes(0, tables >> 4)?,
                others: codes(1, tables & 15)?,
                quantization: self
                    .quantization
                    .get(usize::from(component.quantization))?
                    .clone()?,
            };
            // A scan of one component has one block in each unit, and none that lie outside of the image.
            let (wide, high) = match count {
                1 => {
                    let blocks = |samples: u32, own: u32, most: u32| {
                        (samples * own).div_ceil(most).div_ceil(8)
                    };
                    units = (
                        blocks(frame.width, component.size.0, size.0),
                        blocks(frame.height, component.size.1, size.1),
                    );
                    (1, 1)
                }
                _ => component.size,
            };
            let of_unit = (0..wide * high).map(|i| Block {
                is_first: i == 0,
                ..block.clone()
            });
            blocks.extend(of_unit);
        }
        (blocks.len() <= MOST_BLOCKS).then(|| Scan::new(blocks, units, self.interval))
    }
}

impl Frame {
    /// The frame of which this is the header; only of samples of eight bits.
    fn new(bytes: &[u8]) -> Option<Frame> {
        let (precision, height, width) = (*bytes.first()?, be16(bytes, 1)?, be16(bytes, 3)?);
        let entries = bytes.get(6..)?;
        let count = usize::from(*bytes.get(5)?);
        let component = |entry: &[u8]| {
            let [id, size, quantization] = *entry.first_chunk()?;
            let size = (u32::from(size >> 4), u32::from(size & 15));
            let fits = (1..=4).contains(&size.0) && (1..=4).contains(&size.1);
            fits.then_some(Component {
                id,
                size,
                quantization,
                seen: false,
            })
        };
        let components: Vec<Component> = entries
            .chunks_exact(3)
            .map(component)
            .collect::<Option<_>>()?;
        let sound = precision == 8
            && width > 0
            && height > 0
            && (1..=4).contains(&count)
            && entries.len() == 3 * count;
        sound.then_some(Frame {
            width: width.into(),
            height: height.into(),
            components,
        })
    }

    /// Blocks that a unit of all components is wide and high.
    fn unit(&self) -> (u32, u32) {
        let most = |of: fn(&Component) -> u32| self.components.iter().map(of).max().unwrap_or(1);
        (most(|c| c.size.0), most(|c| c.size.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: &[u8] = include_bytes!("samples/photo.jpg");
    const RESTARTS: &[u8] = include_bytes!("samples/restarts.jpg");
    const GRAY: &[u8] = include_bytes!("samples/gray.jpg");
    const SCANS: &[u8] = include_bytes!("samples/scans.jpg");
    const PROGRESSIVE: &[u8] = include_bytes!("samples/progressive.jpg");
    const FOLLOWED: [&[u8]; 4] = [PHOTO, RESTARTS, GRAY, SCANS];

    /// What becomes of a file that is given in pieces of this length, and how much of it was given then.
    fn fed(file: &[u8], piece: usize) -> (Step, usize) {
        let (mut stream, mut at) = Stream::begin(file).unwrap();
        for bytes in file[at..].chunks(piece) {
            match stream.feed(bytes) {
                Step::More => at += bytes.len(),
                Step::Whole(used) => return (Step::Whole(used), at + used),
                Step::Broken => return (Step::Broken, at),
            }
        }
        (Step::More, at)
    }

    /// Real images, wherever a member's pieces of them end: a code cut in two must not be another one.
    #[test]
    fn real_images_are_whole() {
        for file in FOLLOWED {
            let mut long = file.to_vec();
            long.extend([7; 99]);
            for piece in (1..50).chain([512, 1 << 20]) {
                let (step, end) = fed(&long, piece);
                assert!(matches!(step, Step::Whole(_)), "{piece} {step:?} {end}");
                assert_eq!(end, file.len());
            }
        }
    }

    /// A file that was cut lacks its end: it must not be called whole, nor broken, as its next piece is still to come.
    #[test]
    fn a_beginning_goes_on() {
        for file in FOLLOWED {
            for length in 4..file.len() {
                assert_eq!(fed(&file[..length], 1 << 20).0, Step::More, "{length}");
            }
        }
    }

    /// Only the count of units tells here: sixteen lines more or less are units that the codes have not.
    #[test]
    fn the_frame_counts_the_units() {
        for (file, height) in [(PHOTO, 132_u16), (GRAY, 53), (SCANS, 53)] {
            let frame = memchr::memmem::find(file, b"\xff\xc0").unwrap();
            let at = frame + 5;
            assert_eq!(be16(file, at), Some(height));
            for other in [height - 16, height + 16] {
                let mut file = file.to_vec();
                file[at..at + 2].copy_from_slice(&other.to_be_bytes());
                assert_eq!(fed(&file, 1 << 20).0, Step::Broken);
            }
        }
    }

    /// Two pieces changed for each other are what a wrong order gives.
    #[test]
    fn pieces_in_another_order_are_broken() {
        let mut file = PHOTO.to_vec();
        let (front, back) = file.split_at_mut(8192);
        front[4096..].swap_with_slice(&mut back[..4096]);
        assert_eq!(fed(&file, 1 << 20).0, Step::Broken);
    }

    /// A table may say of any code that hundreds of bits follow it.
    #[test]
    fn codes_with_more_bits_than_any_has() {
        let table = memchr::memmem::find(GRAY, b"\xff\xc4").unwrap() + 4;
        assert_eq!(GRAY[table], 0);
        let count: u8 = GRAY[table + 1..table + 17].iter().sum();
        for bits in [12, 63, 64, 200] {
            let mut file = GRAY.to_vec();
            file[table + 17..][..usize::from(count)].fill(bits);
            assert_eq!(fed(&file, 1 << 20).0, Step::Broken);
        }
    }

    /// A restart that is left out shows by the next one's number.
    #[test]
    fn restarts_have_an_order() {
        let restarts: Vec<usize> = memchr::memmem::find_iter(RESTARTS, b"\xff\xd1").collect();
        let mut file = RESTARTS.to_vec();
        file[restarts[0] + 1] = 0xd2;
        assert_eq!(fed(&file, 1 << 20).0, Step::Broken);
    }

    /// Scans that refine others cannot be counted alone, and are left alone.
    #[test]
    fn progressive_images_are_not_followed() {
        assert_eq!(fed(PROGRESSIVE, 1 << 20).0, Step::Broken);
    }

    /// A wrong byte anywhere must not panic, and of the wrong ones among the codes many must show.
    #[test]
    fn wrong_bytes_do_no_harm() {
        for file in [RESTARTS, GRAY, SCANS] {
            let scan = memchr::memmem::find(file, b"\xff\xda").unwrap();
            let mut shown = 0;
            for at in 4..file.len() {
                for wrong in [0x01, 0x80, 0xff] {
                    let mut file = file.to_vec();
                    file[at] ^= wrong;
                    let whole = matches!(fed(&file, 100).0, Step::Whole(_));
                    shown += usize::from(at > scan + 14 && !whole);
                }
            }
            // Of three for each byte.
            let tried = 3 * (file.len() - scan);
            assert!(4 * shown > tried, "{shown} of {tried}");
        }
    }

    /// Of two pieces whose codes could both follow, only how the picture goes on tells.
    #[test]
    fn the_right_piece_goes_on_from_the_units_above() {
        let (mut stream, start) = Stream::begin(PHOTO).unwrap();
        assert!(!stream.begin_seam());
        assert_eq!(stream.feed(&PHOTO[start..6000]), Step::More);
        assert!(stream.begin_seam());
        let seam = |piece: &[u8]| {
            let mut stream = stream.clone();
            let end = piece.chunks(64).find_map(|bytes| {
                let step = stream.feed(bytes);
                (step != Step::More || stream.is_told()).then_some(step)
            });
            (end == Some(Step::More)).then(|| stream.seam()).flatten()
        };
        let right = seam(&PHOTO[6000..]).unwrap();
        let wrong: Vec<u64> = (1000..11_000)
            .step_by(250)
            .filter(|at| *at != 6000)
            .filter_map(|at| seam(&PHOTO[at..]))
            .collect();
        assert!(wrong.len() > 5, "{wrong:?}");
        assert!(
            wrong.iter().all(|wrong| *wrong > right),
            "{right} {wrong:?}"
        );
    }
}
