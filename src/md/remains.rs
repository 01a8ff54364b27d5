//! What outlives md superblocks: bitmaps, a journal's blocks, partial-parity logs.
//!
//! A bitmap names its array's UUID. A journal's meta blocks carry a sequence number and say that write-back data may
//! lie there; a partial-parity log lies in front of the data of raid5 members.
//! Source: `include/uapi/linux/raid/md_p.h` (`R5LOG_MAGIC`, `struct r5l_meta_block`, `struct ppl_header`).

use super::bitmap::{self, Bitmap};
use crate::image::{Source, read_exact};
use crate::parse::{le32, le64};
use crate::units::{Bytes, SECTOR_LEN};
use serde::Serialize;

/// The first bytes of a meta block of a write journal: 0x6433c509.
pub const JOURNAL_MAGIC: [u8; 4] = [0x09, 0xc5, 0x33, 0x64];

/// Bytes of ones in front of a partial-parity log's header.
const PPL_RESERVED: usize = 512;

/// What a remain is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// A bitmap.
    Bitmap(Bitmap),
    /// A meta block of a raid5 write journal.
    JournalBlock {
        /// Its number in the journal.
        sequence: u64,
        /// Its place in the journal, in sectors.
        position: u64,
    },
    /// A partial-parity log's header.
    PartialParityLog {
        /// The array's signature: all its members' logs have the same.
        signature: u32,
        /// Number of the log.
        generation: u64,
        /// Writes that it holds.
        entries: u32,
    },
}

/// Something that md left, and no superblock speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remain {
    /// The member or image that it was found on.
    pub member: String,
    /// Where on it.
    pub at: Bytes,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What lies at a sector of `source`, if it is one of these.
pub fn read(source: &dyn Source, at: Bytes) -> Option<Remain> {
    let mut sector = [0; SECTOR_LEN];
    read_exact(source, at, &mut sector).ok()?;
    let kind = if sector.starts_with(bitmap::MAGIC) {
        Kind::Bitmap(Bitmap::read(source, at).ok()?)
    } else if sector.starts_with(&JOURNAL_MAGIC) {
        journal(&sector)?
    } else if sector == [0xff; PPL_RESERVED] {
        ppl(source, at)?
    } else {
        return None;
    };
    Some(Remain {
        member: source.name().to_owned(),
        at,
        kind,
    })
}

/// `struct r5l_meta_block`: magic@0, checksum@4, version@8 (1), meta_size@12, seq@16, position@24.
fn journal(block: &[u8]) -> Option<Kind> {
    (le32(block, 8)? & 0xff == 1).then_some(())?;
    Some(Kind::JournalBlock {
        sequence: le64(block, 16)?,
        position: le64(block, 24)?,
    })
}

/// `struct ppl_header`: 512 bytes of ones, signature@512, generation@520, entries_count@528, checksum@532 (CRC-32C of the
/// 4 KiB page with itself as zero, seeded with all ones and inverted at the end).
fn ppl(source: &dyn Source, at: Bytes) -> Option<Kind> {
    const PAGE: usize = 4096;
    const CHECKSUM: usize = 532;
    /// Entries that fit: `PPL_HDR_MAX_ENTRIES`.
    const MOST_ENTRIES: u32 = 148;
    let mut page = [0; PAGE];
    read_exact(source, at, &mut page).ok()?;
    let entries = le32(&page, 528)?;
    let stored = le32(&page, CHECKSUM)?;
    let signature = le32(&page, 512)?;
    let generation = le64(&page, 520)?;
    page.get_mut(CHECKSUM..CHECKSUM + 4)?.fill(0);
    let sound = super::sample::crc32c(&page) == stored;
    (entries <= MOST_ENTRIES && sound).then_some(Kind::PartialParityLog {
        signature,
        generation,
        entries,
    })
}
