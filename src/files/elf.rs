//! ELF files, little-endian: the header says where the section table lies, and the table where it lies itself.
//!
//! Linkers write the sections' names last, and the table right behind them. So
//! the entry of the names says with its own offset and size where its table
//! begins in the file, and that names the header which it belongs to.
//!
//! Source: System V ABI, chapter 4; elf(5).

use super::Notes;
use crate::md::spans::Sign;
use crate::parse::{le32, le64};
use crate::units::Bytes;
use goblin::elf::Elf;

/// In the entry of the names: its type (`SHT_STRTAB`), no flags, no address.
pub(super) const NEEDLE: &[u8] = b"\x03\0\0\0\0\0\0\0\0\0\0\0";
/// Where that stands in an entry.
const NEEDLE_AT: usize = 4;

/// Bytes of a header; those of 32 bits are shorter.
const HEADER: usize = 64;

/// Bytes of a section table's entry, for 64 and 32 bits.
const ENTRY: u16 = 64;
const ENTRY_32: u16 = 40;

/// A header at `start`, with `bytes` from there on.
pub(super) fn head(bytes: &[u8], start: usize, notes: &mut Notes<'_>) {
    if !bytes.starts_with(b"\x7fELF") {
        return;
    }
    let header = bytes.get(..HEADER).map(Elf::parse_header);
    let Some(Ok(header)) = header else {
        return;
    };
    let sound = header.endianness().is_ok_and(|e| e.is_little())
        && matches!(header.e_shentsize, ENTRY | ENTRY_32)
        && header.e_shstrndx > 0
        && header.e_shstrndx < header.e_shnum;
    if sound {
        let entry = u64::from(header.e_shstrndx) * u64::from(header.e_shentsize);
        if let Some(distance) = header.e_shoff.checked_add(entry) {
            notes.span(start, Bytes(distance), Sign::Sections(header.e_shoff));
        }
    }
}

/// The entry of the names, if it is one, of which [`NEEDLE`] was found at `found` of the block.
pub(super) fn section_names(block: &[u8], found: usize, notes: &mut Notes<'_>) {
    let Some(start) = found.checked_sub(NEEDLE_AT) else {
        return;
    };
    let entry = block.get(start..).unwrap_or_default();
    let long = || {
        let rest = (
            le64(entry, 16)?,
            le64(entry, 40)?,
            le64(entry, 48)?,
            le64(entry, 56)?,
        );
        let end = le64(entry, 24)?.checked_add(le64(entry, 32)?)?;
        (rest == (0, 0, 1, 0)).then(|| end.checked_next_multiple_of(8))?
    };
    let short = || {
        let rest = (
            le32(entry, 24)?,
            le32(entry, 28)?,
            le32(entry, 32)?,
            le32(entry, 36)?,
        );
        let end = le32(entry, 16)?.checked_add(le32(entry, 20)?)?;
        (rest == (0, 0, 1, 0)).then(|| u64::from(end).checked_next_multiple_of(4))?
    };
    if let Some(table) = long().or_else(short).filter(|table| *table > 0) {
        notes.sign(start, Sign::Sections(table));
    }
}
