//! Where structures most likely lie: looked at first, so that the first answers come within a second.
//!
//! A pass over a disk takes hours; what a person wants to know first lies, on
//! most disks, in a few MiB: at both ends of the disk and of each partition,
//! at the places where md begins its data, and at MiB borders, where tools
//! have begun partitions since 2010.

use crate::units::{Bytes, Extent, SECTOR, merge};

/// Bytes of a disk that are looked at before the pass, at most.
pub const MOST: Bytes = Bytes::mib(64);

/// The front of a partition: label and metadata area, superblocks of md 1.1 and 1.2, of file systems, LUKS headers.
const FRONT: Bytes = Bytes::mib(4);

/// The end of a disk or partition: backup GPT, superblocks of md 0.90 and 1.0, firmware RAID, a second metadata area.
const END: Bytes = Bytes::mib(1);

/// Where md 1.1 and 1.2 begin the data of large members, in sectors from the member's start; small ones lie in
/// [`FRONT`]. Source: 251 superblocks posted to linux-raid, see the book's chapter on orders.
const DATA_OFFSETS: [u64; 2] = [262_144, 264_192];

/// Bytes looked at there: a label and its metadata area.
const DATA_FRONT: Bytes = Bytes::mib(1);

/// MiB borders that are looked at where no partition begins: for tables that are lost.
const BORDERS: u64 = 256;

/// Bytes looked at there: a label in its sector, the header behind it, a file system's superblock.
const BORDER: Bytes = Bytes(8 << 10);

/// The extents of a source of `length` bytes to look at first, for the `parts` that lie on it (partitions, or the whole
/// where there are none). Ascending, at most [`MOST`] bytes in all.
pub fn places(length: Bytes, parts: &[Extent]) -> Vec<Extent> {
    let whole = Extent::new(Bytes::ZERO, length);
    let mut wanted = vec![front(whole, END), back(whole)];
    for part in parts {
        wanted.push(front(*part, FRONT));
        wanted.push(back(*part));
    }
    for part in parts {
        for offset in DATA_OFFSETS {
            let data = Extent::new(part.offset + Bytes(offset * SECTOR), DATA_FRONT);
            wanted.extend(data.overlap(*part));
        }
    }
    wanted.extend((1..BORDERS).map(|mib| Extent::new(Bytes::mib(mib), BORDER)));
    let mut kept: Vec<Extent> = Vec::new();
    for extent in wanted {
        let Some(extent) = aligned(extent).overlap(whole) else {
            continue;
        };
        let mut more = kept.clone();
        more.push(extent);
        let more = merge(more);
        let sum = more.iter().fold(Bytes::ZERO, |sum, e| sum + e.length);
        if sum <= MOST {
            kept = more;
        }
    }
    kept
}

fn front(of: Extent, length: Bytes) -> Extent {
    Extent::new(of.offset, length.min(of.length))
}

fn back(of: Extent) -> Extent {
    let length = END.min(of.length);
    Extent::new(of.end() - length, length)
}

/// The sectors that an extent touches: sector needles are looked for from sector borders on.
fn aligned(extent: Extent) -> Extent {
    let start = extent.offset.0 / SECTOR * SECTOR;
    let end = extent.end().0.div_ceil(SECTOR).saturating_mul(SECTOR);
    Extent::new(Bytes(start), Bytes(end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places outside the disk, or more of them than a second's reading, would be the slow pass under another name.
    #[test]
    fn places_are_bounded_and_inside() {
        for length in [512, 4096, 1 << 20, (5 << 20) + 512, 3 << 30, 20 << 40] {
            let length = Bytes(length);
            let many: Vec<Extent> = (0..128)
                .map(|i| Extent::new(Bytes(i * (length.0 / 128)), Bytes(length.0 / 128)))
                .collect();
            for parts in [&many[..1], &many[..]] {
                let places = places(length, parts);
                let sum: u64 = places.iter().map(|p| p.length.0).sum();
                assert!(sum <= MOST.0 && sum > 0, "{sum}");
                assert!(places.iter().all(|p| p.end() <= length));
                assert!(places.iter().all(|p| p.offset.0 % SECTOR == 0));
                assert_eq!(places, merge(places.clone()));
            }
        }
    }

    /// A label at md's usual data offset of a large member is the one that a look at the front alone misses.
    #[test]
    fn usual_places_are_among_them() {
        let length = Bytes(4 << 40);
        let part = Extent::new(Bytes::mib(1), length - Bytes::mib(2));
        let places = places(length, &[part]);
        let seen = |at: u64| {
            let at = Extent::new(Bytes(at), Bytes(512));
            places.iter().any(|p| p.overlap(at) == Some(at))
        };
        assert!(seen(0) && seen(length.0 - 512), "the disk's ends");
        assert!(seen(part.offset.0) && seen(part.end().0 - 65536));
        assert!(seen(part.offset.0 + 262_144 * 512 + 512));
        assert!(seen(Bytes::mib(100).0 + 512), "a lost partition's label");
    }
}
