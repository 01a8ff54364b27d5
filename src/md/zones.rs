//! The zones of raid0 over members of unequal size: each goes over the members that reach that far.
//!
//! Source: the kernel's `raid0.c`, `create_strip_zones`.

use crate::units::{Bytes, Extent};

/// A zone of raid0: rows over the members that reach that far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// Where it starts in the array, and its length.
    pub(super) array: Extent,
    /// Where it starts on each of its members.
    pub(super) start: Bytes,
    /// Its members' slots.
    pub(super) slots: Vec<usize>,
}

/// The zones of raid0 over members of these sizes, in whole chunks, and the array's size.
pub(super) fn zones(sizes: &[Bytes]) -> (Bytes, Vec<Zone>) {
    let mut borders: Vec<Bytes> = sizes.to_vec();
    borders.sort_unstable();
    borders.dedup();
    let (mut start, mut end) = (Bytes::ZERO, Bytes::ZERO);
    let mut zones = Vec::new();
    for border in borders {
        let slots: Vec<usize> = (0..sizes.len())
            .filter(|s| sizes.get(*s).is_some_and(|size| *size > start))
            .collect();
        let length = Bytes((border - start).0.saturating_mul(slots.len() as u64));
        if length > Bytes::ZERO {
            zones.push(Zone {
                array: Extent::new(end, length),
                start,
                slots,
            });
        }
        (start, end) = (border, end + length);
    }
    (end, zones)
}
