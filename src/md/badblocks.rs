//! The bad-block log of a 1.x member: 64-bit little-endian entries of what md could not read or write.
//!
//! The upper 54 bits are a sector of the member, counted from its own start (and not from its data's: measured by
//! tests/superblocks_lab.rs), the lower 10 how many; all ones is an unused entry and ends the list. Both are shifted by
//! `bblog_shift`. What is listed holds no data of the array: md reads it from the other members. mdadm gives every member
//! room for a log and writes nothing there; a feature says whether the kernel did, and it goes when the list gets empty:
//! then entries of before, or of another array, stay.
//! Source: `md_p.h` (`bblog_offset`), `drivers/md/md.c` (`super_1_load`).

use super::superblock::Superblock;
use crate::image::{Source, read_exact};
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR, Sectors, merge};

/// Bytes of the log that are read: md never makes it larger than one page a shift.
const MOST: usize = 64 << 10;

/// The bad blocks as extents of the member; `None` where the member has no log.
///
/// # Errors
/// [`ParseError::Unreadable`] where the log cannot be read.
pub fn read(source: &dyn Source, sb: &Superblock) -> Parsed<Option<Vec<Extent>>> {
    let Some((log, shift)) = sb.bad_block_log else {
        return Ok(None);
    };
    if !sb.has("bad-blocks") {
        return Ok(Some(Vec::new()));
    }
    if shift > 32 {
        return Err(ParseError::broken(
            sb.at + Bytes(185),
            "a shift up to 32",
            shift,
        ));
    }
    let mut buf = vec![0; log.length.to_len(MOST)];
    read_exact(source, log.offset, &mut buf)?;
    let (entries, _) = buf.as_chunks::<8>();
    let entries = entries.iter().map(|e| u64::from_le_bytes(*e));
    let extent = |entry: u64| {
        let sectors = |n: u64| n.checked_shl(shift.into()).filter(|s| s >> shift == n);
        let start = Sectors(sectors(entry >> 10)?).to_bytes()?;
        Some(Extent::new(
            start,
            Bytes((sectors(entry & 0x3ff)?).saturating_mul(SECTOR)),
        ))
    };
    Ok(Some(
        entries
            .take_while(|entry| *entry != u64::MAX)
            .filter_map(extent)
            .filter(|e| !e.is_empty())
            .collect(),
    ))
}

/// The same as far as they lie in the member's data, in order and apart; none where the log cannot be read.
pub fn in_data(member: &dyn Source, sb: &Superblock) -> Vec<Extent> {
    let listed = read(member, sb).ok().flatten().unwrap_or_default();
    let start = Bytes::from(sb.data_offset);
    let end = sb.data_end().unwrap_or(start).min(member.len());
    let data = Extent::new(start, end - start);
    merge(listed.into_iter().filter_map(|e| e.overlap(data)).collect())
}
