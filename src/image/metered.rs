//! A source whose reading is counted, and ends where a limit is reached.

use super::{Gaps, SharedSource, Source, len_of};
use crate::units::{Bytes, Extent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much was read, and how much may be; shared by all who read one source.
#[derive(Clone, Debug)]
pub struct Meter {
    read: Arc<AtomicU64>,
    refused: Arc<AtomicBool>,
    limit: Bytes,
}

impl Meter {
    /// One that allows so many bytes.
    pub fn new(limit: Bytes) -> Meter {
        Meter {
            read: Arc::default(),
            refused: Arc::default(),
            limit,
        }
    }

    /// Bytes that were asked for.
    pub fn read(&self) -> Bytes {
        Bytes(self.read.load(Ordering::Relaxed))
    }

    /// Bytes that may still be read.
    pub fn left(&self) -> Bytes {
        self.limit - self.read()
    }

    /// Whether a read was refused.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, length: Bytes) -> bool {
        let more = |read: u64| {
            let after = read.checked_add(length.0)?;
            (after <= self.limit.0).then_some(after)
        };
        let taken = (self.read).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.refused.fetch_or(taken.is_err(), Ordering::Relaxed);
        taken.is_ok()
    }
}

/// A source behind a meter: what would exceed the limit is not read, and a gap.
pub struct Metered {
    source: SharedSource,
    meter: Meter,
}

impl Metered {
    /// `source` behind `meter`.
    pub fn new(source: SharedSource, meter: Meter) -> Metered {
        Metered { source, meter }
    }
}

impl Source for Metered {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> Bytes {
        self.source.len()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        // What lies behind the end costs nothing.
        let inside = len_of(buf).min(self.len() - at);
        if self.meter.take(inside) {
            return self.source.read_at(at, buf);
        }
        buf.fill(0);
        Gaps::one(Extent::new(at, len_of(buf)))
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        self.source.next_data(at)
    }

    fn absent(&self, at: Bytes) -> Option<Extent> {
        self.source.absent(at)
    }

    fn let_go(&self, extent: Extent) {
        self.source.let_go(extent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// A bound that one reader keeps and another does not is none.
    #[test]
    fn what_exceeds_the_limit_is_a_gap() {
        let meter = Meter::new(Bytes(100));
        let memory: SharedSource = Arc::new(Memory::new("m", vec![7; 90]));
        let [one, other] =
            [memory.clone(), memory].map(|source| Metered::new(source, meter.clone()));
        let mut buf = [0; 60];
        assert!(one.read_at(Bytes(0), &mut buf).is_none());
        assert!(!meter.has_refused());
        let gaps = other.read_at(Bytes(10), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(10), Bytes(60))]);
        assert_eq!((buf, meter.left()), ([0; 60], Bytes(40)));
        assert!(meter.has_refused());
        // Only 40 of these lie in the source.
        assert!(!other.read_at(Bytes(50), &mut buf).is_none());
        assert_eq!((buf[39], meter.left()), (7, Bytes::ZERO));
    }
}
