//! Where a sample of members is read: the same places of all.
//!
//! The windows do not depend on the size of a disk: all data where an image
//! has holes and little data, else the fronts where metadata of every kind
//! lies, and small windows evenly spread.

use crate::image::SharedSource;
use crate::units::{Bytes, Extent, merge};

/// Windows begin and end on borders of this: no structure of a file system is longer, and a hole may be a part of one.
const GRAIN: u64 = 64 << 10;

/// Extents of data looked at of a sparse image.
const MOST_EXTENTS: usize = 100_000;

/// Where to read members of these lengths and holes: whole pages, at most `budget` bytes of each.
pub fn windows(members: &[SharedSource], budget: Bytes) -> Vec<Extent> {
    let data = data_extents(members);
    let total: u64 = data.iter().map(|e| e.length.0).sum();
    if total <= budget.0 {
        return data;
    }
    const WINDOW: Bytes = Bytes::kib(128);
    let front = Bytes(budget.0 / 4 / WINDOW.0 * WINDOW.0);
    // Where data starts: at once, or behind the 128 MiB that mdadm leaves on large disks.
    let mut chosen = vec![
        Extent::new(Bytes::ZERO, front),
        Extent::new(Bytes::mib(128), front),
    ];
    let left = budget.0 - 2 * front.0;
    let apart = apart(&data, left / 2);
    let taken: u64 = apart.iter().map(|e| e.length.0).sum();
    chosen.extend(apart);
    let count = ((left - taken) / WINDOW.0).max(1);
    for i in 0..count {
        // The i-th of evenly spread places within the data.
        let mut skip = total / count * i;
        for extent in &data {
            if skip < extent.length.0 {
                let at = Bytes((extent.offset.0 + skip) / WINDOW.0 * WINDOW.0);
                chosen.push(Extent::new(at, WINDOW));
                break;
            }
            skip -= extent.length.0;
        }
    }
    let end = data.last().map_or(Bytes::ZERO, |e| e.end());
    let inside = |e: Extent| e.overlap(Extent::new(Bytes::ZERO, end));
    merge(chosen.into_iter().filter_map(inside).collect())
}

/// Of what was written to sparse members apart from the rest an even choice of at most so many bytes: there lies what
/// describes the rest.
fn apart(data: &[Extent], most: u64) -> Vec<Extent> {
    const LONGEST: Bytes = Bytes::mib(1);
    let short = || data.iter().filter(|e| e.length <= LONGEST);
    let total: u64 = short().map(|e| e.length.0).sum();
    let step = usize::try_from(total.div_ceil(most.max(1))).unwrap_or(usize::MAX);
    let mut chosen = Vec::new();
    let mut taken = 0;
    for extent in short().step_by(step.max(1)) {
        taken += extent.length.0;
        if taken > most {
            break;
        }
        chosen.push(*extent);
    }
    chosen
}

/// The extents in which any member may hold data, widened to [`GRAIN`].
fn data_extents(members: &[SharedSource]) -> Vec<Extent> {
    let mut extents = Vec::new();
    for member in members {
        let mut at = Bytes::ZERO;
        for _ in 0..MOST_EXTENTS {
            let Some(found) = member.next_data(at) else {
                break;
            };
            if let Some(absent) = member.absent(found.offset) {
                at = absent.end();
                continue;
            }
            let start = found.offset.0 / GRAIN * GRAIN;
            let end = found.end().0.next_multiple_of(GRAIN);
            extents.push(Extent::new(Bytes(start), Bytes(end - start)));
            at = found.end();
        }
    }
    merge(extents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Source;
    use crate::md::sample::BUDGET;
    use std::sync::Arc;

    /// A terabyte must not be read for what 64 MiB tell.
    #[test]
    fn reading_is_bounded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"here", 7 << 30).unwrap();
        let open = || -> SharedSource { Arc::new(crate::image::open(file.path(), "m").unwrap()) };
        let sparse = windows(&[open()], BUDGET);
        assert_eq!(sparse, [Extent::new(Bytes(7 << 30), Bytes(GRAIN))]);
        struct Full(u64);
        impl Source for Full {
            fn name(&self) -> &str {
                "full"
            }
            fn len(&self) -> Bytes {
                Bytes(self.0)
            }
            fn read_at(&self, _: Bytes, _: &mut [u8]) -> crate::image::Gaps {
                crate::image::Gaps::none()
            }
        }
        let full = windows(&[Arc::new(Full(1 << 40))], BUDGET);
        let total: u64 = full.iter().map(|w| w.length.0).sum();
        assert!(total <= BUDGET.0 && total > BUDGET.0 / 2, "{total}");
        assert!(full.last().unwrap().offset.0 > 1 << 39);
    }
}
