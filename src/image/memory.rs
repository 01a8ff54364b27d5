//! A source in memory, with gaps where a test or a caller wants them.

use super::{Gaps, Source, len_of};
use crate::units::{Bytes, Extent};

/// Bytes in memory as a [`Source`]; extents may be declared unread.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    bytes: Vec<u8>,
    unread: Vec<Extent>,
}

impl Memory {
    /// A source of these bytes, all readable.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Memory {
        Memory {
            name: name.into(),
            bytes,
            unread: Vec::new(),
        }
    }

    /// The same source with one more extent that cannot be read.
    #[must_use]
    pub fn with_unread(mut self, extent: Extent) -> Memory {
        self.unread.push(extent);
        self
    }
}

impl Source for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Bytes {
        len_of(&self.bytes)
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        buf.fill(0);
        let want = Extent::new(at, len_of(buf));
        let start = at.to_len(self.bytes.len());
        let have = self.bytes.get(start..).unwrap_or_default();
        let n = have.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), have.get(..n)) {
            to.copy_from_slice(from);
        }
        let mut gaps: Vec<Extent> = self.unread.iter().filter_map(|u| u.overlap(want)).collect();
        let read = at + Bytes(n as u64);
        gaps.push(Extent::new(read, want.end() - read));
        let gaps = Gaps::from(gaps);
        gaps.clear(at, buf);
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short read taken for zeros is the error this trait exists to prevent.
    #[test]
    fn the_end_and_the_unread_are_gaps() {
        let source = Memory::new("m", vec![7; 100]).with_unread(Extent::new(Bytes(10), Bytes(5)));
        let mut buf = [1; 20];
        let gaps = source.read_at(Bytes(90), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(100), Bytes(10))]);
        assert_eq!(buf[..10], [7; 10]);
        let gaps = source.read_at(Bytes(8), &mut buf);
        assert_eq!(gaps.extents(), [Extent::new(Bytes(10), Bytes(5))]);
        assert_eq!(buf[2..7], [0; 5]);
        assert!(source.read_at(Bytes(0), &mut buf[..10]).is_none());
        let past = source.read_at(Bytes(u64::MAX - 1), &mut buf);
        assert!(!past.is_none());
    }
}
