//! Byte sources that are only ever read: images, block devices, and what is
//! stacked on them.
//!
//! Everything above speaks [`Source`]: a file, a partition of it, an md array
//! of partitions and a logical volume on the array are all the same thing, so
//! they stack. A read never fails as a whole. It says which extents it could
//! not read ([`Gaps`]), and those travel up through every layer to the answer.

mod careful;
mod device;
pub mod faults;
mod known;
pub mod map;
mod memory;
pub mod metered;
mod open;
pub mod pass;
mod pieces;
pub mod progress;
pub mod stream;
pub mod sweep;

pub use careful::{Careful, Device};
pub use known::KnownAs;
pub use memory::Memory;
pub use open::{Image, ImageSpec, OpenError, Part, Reading, open, open_with};
pub(crate) use open::{device_folder, device_number};
pub use pieces::{Piece, Pieces, Rest};

use crate::parse::ParseError;
use crate::units::{Bytes, Extent, merge};
use std::sync::Arc;

/// A read-only byte source with a name and a length.
pub trait Source: Send + Sync {
    /// What to call it in an answer: `sda`, `sda@2`, `guests/home`.
    fn name(&self) -> &str;

    /// Its length.
    fn len(&self) -> Bytes;

    /// Whether it holds no byte.
    fn is_empty(&self) -> bool {
        self.len() == Bytes::ZERO
    }

    /// Fills `buf` from `at` and says which extents of this source could not be read.
    ///
    /// The bytes of a gap are zeroed in `buf` and mean nothing. What lies
    /// behind the end of the source is a gap.
    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps;

    /// The next extent from `at` on that may hold data; `None` where only holes, which read as zeros, are left.
    ///
    /// A source that knows nothing of holes says that all of the rest may hold data.
    fn next_data(&self, at: Bytes) -> Option<Extent> {
        (at < self.len()).then(|| Extent::new(at, self.len() - at))
    }

    /// The extent from `at` on of which it is known without a read that nothing here holds it: a gap, as what a table
    /// promises behind the end of its image. It may be as long as the table says, so nobody walks through it.
    fn absent(&self, _at: Bytes) -> Option<Extent> {
        None
    }

    /// Bytes of a sector as the system shows them, where it is a device: tables count in those.
    fn sector_size(&self) -> Option<u32> {
        None
    }

    /// A pass is over `extent`: what the system keeps of it in memory may go, where it could not stay anyway.
    fn let_go(&self, _extent: Extent) {}
}

/// A source that several stops of the way hold at once.
pub type SharedSource = Arc<dyn Source>;

/// The extents of a source that one read could not give, sorted and merged.
#[must_use = "bytes of a gap mean nothing: a gap that is not looked at becomes a wrong answer"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(Vec<Extent>);

impl Gaps {
    /// Everything was read.
    pub fn none() -> Gaps {
        Gaps::default()
    }

    /// One extent was not read.
    pub fn one(extent: Extent) -> Gaps {
        Gaps::from(vec![extent])
    }

    /// Whether everything was read.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The extents, sorted, none touching another.
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// Zeroes what they leave unread of a buffer that starts at `at`.
    pub fn clear(&self, at: Bytes, buf: &mut [u8]) {
        for gap in &self.0 {
            let (from, to) = (
                (gap.offset - at).to_len(buf.len()),
                (gap.end() - at).to_len(buf.len()),
            );
            if let Some(lost) = buf.get_mut(from..to) {
                lost.fill(0);
            }
        }
    }

    /// Adds those of another read of the same source.
    pub fn add(&mut self, other: Gaps) {
        if !other.is_none() {
            self.0.extend(other.0);
            self.0 = merge(std::mem::take(&mut self.0));
        }
    }
}

impl From<Vec<Extent>> for Gaps {
    fn from(extents: Vec<Extent>) -> Gaps {
        Gaps(merge(extents))
    }
}

/// Reads all of `buf`, or says what could not be read.
pub fn read_exact(source: &dyn Source, at: Bytes, buf: &mut [u8]) -> Result<(), ParseError> {
    match source.read_at(at, buf).extents().first() {
        None => Ok(()),
        Some(&gap) => Err(ParseError::Unreadable(gap)),
    }
}

/// Reads up to `most` bytes of `extent`, cut at the end of the source.
///
/// `most` bounds what is allocated: `extent` may come from the image itself.
pub fn read_vec(source: &dyn Source, extent: Extent, most: usize) -> Result<Vec<u8>, ParseError> {
    let length = extent.length.min(source.len() - extent.offset);
    let mut buf = vec![0; length.to_len(most)];
    read_exact(source, extent.offset, &mut buf)?;
    Ok(buf)
}

/// Holes above this are not hashed: an empty file of an exabyte would take centuries.
pub const MOST_HASHED_HOLES: Bytes = Bytes(1 << 40);

/// Whether the holes of a source, and what nothing holds of it, are at most `most` bytes together.
///
/// A source of very many holes is answered by those looked at: the rest of it counts as data.
pub fn holes_within(source: &dyn Source, most: Bytes) -> bool {
    const LOOKS: usize = 100_000;
    let (mut at, mut holes) = (Bytes::ZERO, Bytes::ZERO);
    for _ in 0..LOOKS {
        let next = source.next_data(at);
        let data = next.unwrap_or(Extent::new(source.len(), Bytes::ZERO));
        let absent = source.absent(data.offset);
        let absent = absent.unwrap_or(Extent::new(data.offset, Bytes::ZERO));
        holes = holes + (data.offset - at) + absent.length;
        at = data.end().max(absent.end());
        if next.is_none() || data.is_empty() || holes > most {
            break;
        }
    }
    holes <= most
}

/// Length of a buffer, as [`Bytes`].
pub(crate) fn len_of(buf: &[u8]) -> Bytes {
    Bytes(buf.len() as u64)
}
