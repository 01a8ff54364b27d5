//! ZIP archives, and what is one inside (documents, packages of programs): behind each file's data lies the next header.
//!
//! Source: PKWARE's APPNOTE, 4.3.7.

use super::Notes;
use crate::md::spans::Sign;
use crate::parse::{le16, le32};
use crate::units::Bytes;

/// A file's header before its data, and its entry in the directory at the archive's end.
pub(super) const NEEDLES: [&[u8]; 2] = [LOCAL, b"PK\x01\x02"];
const LOCAL: &[u8] = b"PK\x03\x04";

/// Bytes of a file's header without its name.
const HEADER: u64 = 30;

/// Flag: the lengths stand behind the data, not in the header.
const LENGTHS_BEHIND: u16 = 8;

/// The highest version of the format that a header asks for.
const NEWEST: u16 = 63;

/// A header of either kind at `start` of the block.
pub(super) fn header(block: &[u8], start: usize, notes: &mut Notes<'_>) {
    notes.sign(start, Sign::Zip);
    let bytes = block.get(start..).unwrap_or_default();
    let distance = || {
        let (version, flags) = (le16(bytes, 4)?, le16(bytes, 6)?);
        let (data, name, more) = (le32(bytes, 18)?, le16(bytes, 26)?, le16(bytes, 28)?);
        let told = version <= NEWEST && flags & LENGTHS_BEHIND == 0 && data < u32::MAX;
        told.then(|| HEADER + u64::from(data) + u64::from(name) + u64::from(more))
    };
    if bytes.starts_with(LOCAL)
        && let Some(distance) = distance()
    {
        notes.span(start, Bytes(distance), Sign::Zip);
    }
}
