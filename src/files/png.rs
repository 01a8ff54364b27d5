//! PNG images: chunks with their length, each followed by the next.
//!
//! Source: W3C's PNG specification, 5.3.

use super::Notes;
use crate::md::spans::Sign;
use crate::parse::be32;
use crate::units::Bytes;

/// The types of chunks that a long image has, its data and its end.
pub(super) const NEEDLES: [&[u8]; 2] = [b"IDAT", b"IEND"];

/// The length before the type, the type, and the checksum behind the data.
const LENGTH: usize = 4;
const AROUND: u64 = 12;

/// Longer chunks are none.
const LONGEST: u32 = 1 << 28;

/// A chunk whose type was found at `found` of the block.
pub(super) fn chunk(block: &[u8], found: usize, notes: &mut Notes<'_>) {
    let Some(start) = found.checked_sub(LENGTH) else {
        return;
    };
    let Some(length) = be32(block, start).filter(|length| *length <= LONGEST) else {
        return;
    };
    notes.sign(start, Sign::Png);
    if length > 0 {
        notes.span(start, Bytes(u64::from(length) + AROUND), Sign::Png);
    }
}
