//! The member that one parity can bring back before anything else is known: the sum of all the others.

use crate::image::{Gaps, SharedSource, Source};
use crate::md::galois;
use crate::units::Bytes;

/// What it is called where names are needed; no image has this one.
pub const NAME: &str = "(computed)";

/// The same as a guess's command spells it.
pub const COMMAND_NAME: &str = "/dev/mapper/over--computed-";

/// The sum of members, byte by byte: with one parity and one member missing that is the missing one, whatever the chunk
/// and the order. What cannot be read of any is a gap.
pub struct Missing {
    members: Vec<SharedSource>,
}

impl Missing {
    /// Of these members.
    pub fn new(members: Vec<SharedSource>) -> Missing {
        Missing { members }
    }
}

impl Source for Missing {
    fn name(&self) -> &str {
        NAME
    }

    fn len(&self) -> Bytes {
        self.members
            .iter()
            .map(|m| m.len())
            .min()
            .unwrap_or_default()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let mut gaps = Gaps::none();
        let mut other = vec![0; buf.len()];
        buf.fill(0);
        for member in &self.members {
            gaps.add(member.read_at(at, &mut other));
            galois::add(buf, &other);
        }
        for gap in gaps.extents() {
            let (from, to) = (
                (gap.offset - at).to_len(buf.len()),
                (gap.end() - at).to_len(buf.len()),
            );
            if let Some(lost) = buf.get_mut(from..to) {
                lost.fill(0);
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::units::Extent;
    use std::sync::Arc;

    /// A gap of one member summed up as zeros would be a byte of another one passed off as the missing one's.
    #[test]
    fn the_sum_and_its_gaps() {
        let gap = Extent::new(Bytes(3), Bytes(2));
        let sum = Missing::new(vec![
            Arc::new(Memory::new("a", vec![1, 2, 3, 4, 5, 6, 7, 8])),
            Arc::new(Memory::new("b", vec![8; 8]).with_unread(gap)),
        ]);
        let mut buf = [0xee; 6];
        let gaps = sum.read_at(Bytes(1), &mut buf);
        assert_eq!(buf, [10, 11, 0, 0, 14, 15]);
        assert_eq!(gaps.extents(), [gap]);
    }
}
