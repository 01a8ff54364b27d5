//! tar archives: each file's header has a checksum, and its file's length says where the next one lies.
//!
//! Source: POSIX.1-2017 pax, ustar interchange format; GNU tar's binary numbers.

use super::Notes;
use crate::md::spans::Sign;
use crate::units::Bytes;

const BLOCK: usize = 512;
const MAGIC: &[u8] = b"ustar";
const MAGIC_AT: usize = 257;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE_AT: usize = 156;

/// A header at `start`, with `bytes` from there on.
pub(super) fn header(bytes: &[u8], start: usize, notes: &mut Notes<'_>) {
    let Some(header) = bytes.get(..BLOCK).filter(|h| is_header(h)) else {
        return;
    };
    notes.sign(start, Sign::Tar);
    // Links, devices and folders have nothing behind them, whatever the length says.
    let empty = matches!(header.get(TYPE_AT), Some(b'1'..=b'6'));
    let size = if empty {
        Some(0)
    } else {
        header.get(SIZE).and_then(octal)
    };
    if let Some(blocks) = size.map(|size| size.div_ceil(BLOCK as u64)) {
        let distance = (blocks + 1).saturating_mul(BLOCK as u64);
        notes.span(start, Bytes(distance), Sign::Tar);
    }
}

fn is_header(header: &[u8]) -> bool {
    let at = |at: usize| header.get(at..).unwrap_or_default();
    if !at(MAGIC_AT).starts_with(MAGIC) {
        return false;
    }
    // The checksum's own bytes count as blanks.
    let sum = |(at, byte): (usize, &u8)| match CHECKSUM.contains(&at) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    let sum: u64 = header.iter().enumerate().map(sum).sum();
    header.get(CHECKSUM).and_then(octal) == Some(sum)
}

/// A number in octal digits, ended by a blank, a zero byte or the field's end; `None` for a binary one.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.iter().skip_while(|b| **b == b' ');
    let digits = digits.take_while(|b| !matches!(**b, b' ' | 0));
    digits
        .copied()
        .try_fold(0_u64, |number, digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
}
