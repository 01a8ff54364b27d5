//! Whether what must stand at a place does: what `lvm::starts` expects, asked of the data.

use crate::fs::probe::probe;
use crate::image::{Pieces, SharedSource, read_exact};
use crate::lvm::dmraid::ImageState;
use crate::lvm::mirrorlog;
use crate::lvm::starts::{Expected, Sign};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use std::collections::BTreeMap;

/// Where the magic stands in the superblocks of thin pools and caches: behind a checksum, flags, the block's number and a
/// UUID. Source: the kernel's `drivers/md/dm-thin-metadata.c` and `dm-cache-metadata.c`.
const MAGIC_AT: usize = 32;
const THIN_POOL: u64 = 27_022_010;
const CACHE: u64 = 0o6_142_003;

/// Where a thin pool counts its changes: behind the magic, its version and a time.
const TRANSACTION_AT: usize = 48;

/// The first word of a snapshot's store. Source: the kernel's `drivers/md/dm-snap-persistent.c`.
const SNAPSHOT_STORE: &[u8] = &0x7041_6e53_u32.to_le_bytes();

/// What was asked before, by the volume's number, the place and the sign: the texts of a group ask for the same places.
#[derive(Default)]
pub(super) struct Asked(BTreeMap<(usize, Bytes, Sign), bool>);

impl Asked {
    /// Whether the sign stands on this volume, which has this number, if it is the physical volume.
    pub(super) fn stands(
        &mut self,
        expected: &Expected<'_>,
        number: usize,
        volume: &SharedSource,
    ) -> bool {
        let (at, sign) = (expected.start.at, expected.sign);
        let known = self.0.entry((number, at, sign));
        *known.or_insert_with(|| stands(volume, at, sign))
    }
}

fn stands(volume: &SharedSource, at: Bytes, sign: Sign) -> bool {
    let slice = |length| Pieces::slice(volume.name(), volume.clone(), Extent::new(at, length));
    let mut sector = [0; SECTOR_LEN];
    if let Sign::Content(size) = sign {
        // What is striped has only its first stripe here: enough for what says its size itself.
        return !probe(&slice(size)).signatures.is_empty();
    }
    let whole = slice(Bytes(SECTOR));
    if let Sign::Image(number) = sign {
        return ImageState::read(&whole).is_ok_and(|state| state.position == number);
    }
    if read_exact(&whole, Bytes::ZERO, &mut sector).is_err() {
        return false;
    }
    let number = |at| {
        let bytes = sector.get(at..).and_then(|b| b.first_chunk());
        bytes.map(|b| u64::from_le_bytes(*b))
    };
    match sign {
        Sign::ThinPool(transaction) => {
            // A pool that went on after this text has a higher count: it is the same pool.
            let counted = number(TRANSACTION_AT);
            number(MAGIC_AT) == Some(THIN_POOL) && transaction.is_none_or(|t| counted >= Some(t))
        }
        Sign::Cache => number(MAGIC_AT) == Some(CACHE),
        Sign::MirrorLog => sector.starts_with(&mirrorlog::MAGIC),
        Sign::SnapshotStore => sector.starts_with(SNAPSHOT_STORE),
        Sign::Content(_) | Sign::Image(_) => false,
    }
}
