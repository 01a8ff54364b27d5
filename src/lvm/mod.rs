//! LVM2: label, metadata area, metadata text; carving texts from anywhere, ranking them, and the volumes they describe.

pub mod candidates;
pub mod carve;
pub mod diff;
pub mod dmraid;
pub mod fate;
mod faults;
pub mod history;
mod join;
pub mod label;
pub mod mda;
pub mod metadata;
pub mod mirrorlog;
pub mod pieces;
mod prune;
pub mod restore;
pub mod segment;
pub mod segtype;
mod skim;
pub mod standing;
pub mod starts;
pub mod sync;
mod taken;
pub mod text;
pub mod texts;
pub mod volume;
mod whole;

use crate::image::sweep::{Needle, Place};
use crc::{Algorithm, Crc, Table};
use serde::{Deserialize, Serialize};

/// LVM's CRC: the common reflected CRC-32 polynomial with a start value of its own and no final inversion.
///
/// Source: lvm2 `lib/misc/crc.c` (polynomial) and `INITIAL_CRC` 0xf597a6cf; checked on the labels, headers and texts
/// of real images in the tests.
const ALGORITHM: Algorithm<u32> = Algorithm {
    width: 32,
    poly: 0x04c1_1db7,
    init: 0xf597_a6cf_u32.reverse_bits(),
    refin: true,
    refout: true,
    xorout: 0,
    check: 0,
    residue: 0,
};

/// LVM's CRC over some bytes.
pub fn crc(bytes: &[u8]) -> u32 {
    static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&ALGORITHM);
    CRC.checksum(bytes)
}

/// What a sweep can find of LVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mark {
    /// The label of a physical volume.
    Label,
    /// The header of a metadata area; the hit lies 4 bytes behind its start.
    MetadataArea,
    /// The front of a metadata text.
    Text,
    /// What is in every metadata text and may be all that is left of one.
    Piece,
}

/// The needles of LVM for a sweep.
pub fn needles() -> [Needle<Mark>; 5] {
    [
        Needle {
            kind: Mark::Label,
            bytes: label::MAGIC,
            place: Place::InSector(0),
        },
        Needle {
            kind: Mark::MetadataArea,
            bytes: mda::MAGIC,
            place: Place::InSector(4),
        },
        Needle {
            kind: Mark::Text,
            bytes: carve::NEEDLE,
            place: Place::Anywhere(carve::CONTEXT),
        },
        Needle {
            kind: Mark::Piece,
            bytes: carve::DESCRIPTION,
            place: Place::Anywhere(pieces::CONTEXT),
        },
        Needle {
            kind: Mark::Piece,
            bytes: carve::SEGMENT,
            place: Place::Anywhere(pieces::CONTEXT),
        },
    ]
}

/// An LVM id's 32 characters in the form that people know: 6-4-4-4-4-4-6.
pub fn dashed(id: &[u8]) -> String {
    let text: Vec<char> = id.iter().map(|b| char::from(*b)).collect();
    let mut groups = Vec::new();
    let mut rest = text.as_slice();
    for length in [6, 4, 4, 4, 4, 4, 6] {
        let (group, later) = rest.split_at(length.min(rest.len()));
        groups.push(group.iter().collect::<String>());
        rest = later;
    }
    groups.join("-")
}

/// Whether these are the 32 characters of an id: letters, digits, and `!` and `#` of old versions.
pub fn is_id(id: &[u8]) -> bool {
    id.len() == 32
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#".contains(b))
}
