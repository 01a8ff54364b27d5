//! A JPEG image's scan: blocks of coefficients in units, each code with the bits behind it.
//!
//! Units are what the standard calls minimum coded units: for every component
//! the blocks of one piece of the picture.
//!
//! Source: ITU-T T.81 (JPEG), A.2, F.1.2, F.2.2.

use super::jpeg_codes::Codes;
use std::sync::Arc;

/// Markers of restarts, by their second byte.
const RESTART_FIRST: u8 = 0xd0;
const RESTART_LAST: u8 = 0xd7;

/// Coefficients of a block.
const COEFFICIENTS: u8 = 64;

/// What a coefficient is at most, times its quantization: of samples from -128 to 127 none is more than 1024; a quarter
/// more for encoders that overshoot at white edges. The quantization's own step comes on top, as it rounds.
const LARGEST: i64 = 1280;

/// Longest codes of differences and coefficients with samples of eight bits, in bits (T.81 F.1.2).
const LONGEST_FIRST: u8 = 11;
const LONGEST_OTHER: u8 = 10;

/// Units below others, fewer of which say nothing of whether they go on from those.
const FEWEST_UNITS: u64 = 16;

/// One block of a unit.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Which of the scan's components it is of.
    pub(super) component: usize,
    /// Whether it is that component's first one of the unit.
    pub(super) is_first: bool,
    pub(super) first: Arc<Codes>,
    pub(super) others: Arc<Codes>,
    pub(super) quantization: Arc<[u16; 64]>,
}

/// Where a scan stands.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    blocks: Arc<[Block]>,
    /// Units left of the scan.
    left: u64,
    /// Units from one restart to the next, 0 for none, and left to the next one; its marker.
    interval: u64,
    to_restart: u64,
    restart: u8,
    /// The block of the unit, its next coefficient, and the last first coefficient of each component.
    block: usize,
    coefficient: u8,
    last: [i64; 4],
    /// Units of a row and before this one in its row; what the last block of each component began with in the units above.
    across: usize,
    before: usize,
    above: Vec<[i64; 4]>,
    seam: Seam,
    /// Bits read and not used, the first at the top, and how many.
    bits: u64,
    count: u32,
    /// Whether the last byte was 0xff; the marker that was read behind the bits.
    escaped: bool,
    marker: Option<u8>,
}

/// How units go on from those above them, since bytes began that may be others'.
#[derive(Clone, Copy, Debug, Default)]
struct Seam {
    /// Differences between the first coefficients of neighbours, times quantization.
    difference: u64,
    /// Units of which they are.
    units: u64,
}

/// What became of some bytes of a scan.
#[derive(Debug)]
pub(super) enum Coded {
    /// All were used.
    More,
    /// The scan is over; this marker follows it.
    Over(u8),
    Broken,
}

impl Scan {
    pub(super) fn new(blocks: Vec<Block>, (across, down): (u32, u32), interval: u16) -> Scan {
        let row = usize::try_from(across).unwrap_or_default();
        Scan {
            blocks: blocks.into(),
            left: u64::from(across) * u64::from(down),
            across: row,
            before: 0,
            above: Vec::with_capacity(row),
            seam: Seam::default(),
            interval: interval.into(),
            to_restart: interval.into(),
            restart: RESTART_FIRST,
            block: 0,
            coefficient: 0,
            last: [0; 4],
            bits: 0,
            count: 0,
            escaped: false,
            marker: None,
        }
    }

    /// Goes on with the bytes from `at` on, which is moved behind those used.
    pub(super) fn feed(&mut self, bytes: &[u8], at: &mut usize) -> Coded {
        let blocks = self.blocks.clone();
        loop {
            self.fill(bytes, at);
            if self.left == 0 || self.interval > 0 && self.to_restart == 0 {
                match self.pause() {
                    Some(None) => {}
                    Some(Some(coded)) => return coded,
                    None => return Coded::Broken,
                }
                continue;
            }
            let Some(block) = blocks.get(self.block) else {
                return Coded::Broken;
            };
            match self.code(block) {
                Some(true) => {}
                Some(false) if self.marker.is_none() && *at == bytes.len() => return Coded::More,
                _ => return Coded::Broken,
            }
        }
    }

    /// Takes bytes up to the next marker, as many as fit.
    fn fill(&mut self, bytes: &[u8], at: &mut usize) {
        while self.count <= 56 && self.marker.is_none() {
            let Some(byte) = bytes.get(*at).copied() else {
                return;
            };
            *at += 1;
            match (self.escaped, byte) {
                (false, 0xff) => self.escaped = true,
                (false, byte) => self.push(byte),
                (true, 0) => {
                    self.escaped = false;
                    self.push(0xff);
                }
                // Fill bytes before a marker.
                (true, 0xff) => {}
                (true, marker) => {
                    self.escaped = false;
                    self.marker = Some(marker);
                }
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.bits |= u64::from(byte) << (56 - self.count);
        self.count += 8;
    }

    fn drop(&mut self, bits: u32) {
        self.bits <<= bits;
        self.count -= bits;
    }

    /// Between the last code and a marker: `None` where it may not be there, else what becomes of it, if anything.
    fn pause(&mut self) -> Option<Option<Coded>> {
        // The last byte is filled up with ones.
        if self.count >= 8 || self.bits.leading_ones() < self.count {
            return None;
        }
        let Some(marker) = self.marker.take() else {
            return Some(Some(Coded::More));
        };
        if self.left == 0 {
            return Some(Some(Coded::Over(marker)));
        }
        if marker != self.restart {
            return None;
        }
        self.restart = match marker {
            RESTART_LAST => RESTART_FIRST,
            marker => marker + 1,
        };
        (self.bits, self.count, self.last) = (0, 0, [0; 4]);
        self.to_restart = self.interval;
        Some(None)
    }

    /// Reads one code: whether it was there whole, and `None` where it is none.
    fn code(&mut self, block: &Block) -> Option<bool> {
        let first = self.coefficient == 0;
        let codes = if first { &block.first } else { &block.others };
        let top = u16::try_from(self.bits >> 48).ok()?;
        // What is none with zeros behind it may be one with more bits.
        let Some((length, value)) = codes.find(top) else {
            return (self.count < 16).then_some(false);
        };
        let (zeros, size) = if first {
            (0, value)
        } else {
            (value >> 4, value & 15)
        };
        if size > if first { LONGEST_FIRST } else { LONGEST_OTHER } {
            return None;
        }
        let needed = u32::from(length) + u32::from(size);
        if needed > self.count {
            return Some(false);
        }
        self.drop(length.into());
        let coefficient = match size {
            0 => 0,
            size => {
                let bits = i64::try_from(self.bits >> (64 - u32::from(size))).ok()?;
                self.drop(size.into());
                // Those without the top bit are negative.
                let negative = bits >> (size - 1) == 0;
                if negative {
                    bits - (1 << size) + 1
                } else {
                    bits
                }
            }
        };
        if first {
            self.first(block, coefficient)?;
        } else {
            self.other(block, zeros, size, coefficient)?;
        }
        if self.coefficient == COEFFICIENTS {
            self.next_block();
        }
        Some(true)
    }

    /// A block's first coefficient: its difference to the one of the block before.
    fn first(&mut self, block: &Block, difference: i64) -> Option<()> {
        let last = self.last.get_mut(block.component)?;
        *last += difference;
        let step = block.quantization.first()?;
        if let Some(above) = self.above.get(self.before).filter(|_| block.is_first) {
            let difference = above.get(block.component)?.abs_diff(*last);
            let weighed = difference.saturating_mul((*step).into());
            self.seam.difference = self.seam.difference.saturating_add(weighed);
        }
        self.coefficient = 1;
        is_possible(*last, *step).then_some(())
    }

    /// Another one behind zeros, or only zeros to the block's end.
    fn other(&mut self, block: &Block, zeros: u8, size: u8, coefficient: i64) -> Option<()> {
        if size == 0 && zeros == 0 {
            self.coefficient = COEFFICIENTS;
            return Some(());
        }
        let place = self.coefficient + zeros;
        let step = *block.quantization.get(usize::from(place))?;
        self.coefficient = place + 1;
        // Sixteen zeros are the only ones with nothing behind them but more codes of the block.
        let sound = size > 0 || zeros == 15 && self.coefficient < COEFFICIENTS;
        (sound && is_possible(coefficient, step)).then_some(())
    }

    fn next_block(&mut self) {
        self.coefficient = 0;
        self.block += 1;
        if self.block == self.blocks.len() {
            self.block = 0;
            self.left -= 1;
            match self.above.get_mut(self.before) {
                Some(above) => {
                    *above = self.last;
                    self.seam.units += 1;
                }
                None => self.above.push(self.last),
            }
            self.before = (self.before + 1) % self.across.max(1);
            self.to_restart = self.to_restart.saturating_sub(1);
        }
    }

    /// From here on other bytes may come; whether it will tell how they go on from those before.
    pub(super) fn begin_seam(&mut self) -> bool {
        self.seam = Seam::default();
        !self.above.is_empty()
    }

    /// Whether more bytes would tell no more of that: units further on lie below others of theirs.
    pub(super) fn is_told(&self) -> bool {
        self.seam.units >= FEWEST_UNITS.max(self.across as u64)
    }

    /// How much the units since then differ from those above them on the average; `None` where too few are known.
    pub(super) fn seam(&self) -> Option<u64> {
        let known = self.seam.units >= FEWEST_UNITS;
        known.then(|| self.seam.difference / self.seam.units)
    }
}

/// Whether any samples have a coefficient of this many steps.
fn is_possible(coefficient: i64, step: u16) -> bool {
    let step = i64::from(step);
    coefficient.saturating_abs().saturating_mul(step) <= LARGEST + step
}
