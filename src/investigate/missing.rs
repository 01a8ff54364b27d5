//! The member that one parity can bring back before anything else is known: the sum of all the others.

use crate::image::{Gaps, SharedSource, Source};
use crate::md::galois;
use crate::md::guess::Guess;
use crate::units::{Bytes, Extent};
use std::sync::{Mutex, PoisonError};

/// What it is called where names are needed; no image has this one.
pub const NAME: &str = "(computed)";

/// The same as a guess's command spells it.
pub const COMMAND_NAME: &str = "/dev/mapper/over--computed-";

/// Bytes that are told blank or not as one.
const PAGE: usize = 4096;

/// The sum of members, byte by byte: with one parity and one member missing that is the missing one, whatever the chunk
/// and the order. What cannot be read of any is a gap. So is what only one of them holds anything of: there the sum is
/// that member's copy, in a raid0 too, and each structure would be seen twice, to choose from.
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
        let first = PAGE - usize::try_from(at.0 % PAGE as u64).unwrap_or(0);
        let mut holding: Vec<usize> = Vec::new();
        buf.fill(0);
        for member in &self.members {
            gaps.add(member.read_at(at, &mut other));
            galois::add(buf, &other);
            holding.resize(pages(&other, first).count(), 0);
            for (page, count) in pages(&other, first).zip(&mut holding) {
                *count += usize::from(page.iter().any(|byte| *byte != 0));
            }
        }
        let mut start = at;
        for (page, count) in pages(&other, first).zip(holding) {
            let extent = Extent::new(start, Bytes(page.len() as u64));
            if count == 1 {
                gaps.add(Gaps::one(extent));
            }
            start = extent.end();
        }
        gaps.clear(at, buf);
        gaps
    }
}

/// The parts of a buffer of which the first ends at a page's end.
fn pages(buf: &[u8], first: usize) -> impl Iterator<Item = &[u8]> {
    let (head, rest) = buf.split_at_checked(first).unwrap_or((buf, &[]));
    let head = Some(head).filter(|head| !head.is_empty());
    head.into_iter().chain(rest.chunks(PAGE))
}

/// A source that remembers the last block read of it.
pub struct Recent {
    source: SharedSource,
    last: Mutex<(Bytes, Vec<u8>)>,
}

impl Recent {
    /// Of this one.
    pub fn new(source: SharedSource) -> Recent {
        Recent {
            source,
            last: Mutex::default(),
        }
    }
}

impl Source for Recent {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> Bytes {
        self.source.len()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = &*last;
        let from = (at - *start).to_len(usize::MAX);
        let known = (at >= *start).then(|| bytes.get(from..)?.get(..buf.len()));
        if let Some(known) = known.flatten() {
            buf.copy_from_slice(known);
            return Gaps::none();
        }
        let gaps = self.source.read_at(at, buf);
        if gaps.is_none() {
            *last = (at, buf.to_vec());
        }
        gaps
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        self.source.next_data(at)
    }

    fn absent(&self, at: Bytes) -> Option<Extent> {
        self.source.absent(at)
    }
}

/// Takes the computed member out of an answer: in its slot there is none.
pub(super) fn forget(guess: &mut Guess) {
    let empty = |order: &mut Vec<Option<String>>| {
        for slot in order.iter_mut().filter(|s| s.as_deref() == Some(NAME)) {
            *slot = None;
        }
    };
    let missing = |command: &str| command.replace(COMMAND_NAME, "missing");
    empty(&mut guess.members);
    for alternative in &mut guess.alternatives {
        empty(&mut alternative.members);
        alternative.command = missing(&alternative.command);
    }
    guess.command = guess.command.as_deref().map(missing);
    // With the sum among them every row sums to zero: that is no evidence.
    guess
        .evidence
        .retain(|e| !e.contains("sum to zero") && !e.starts_with("parity hold"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::image::metered::{Meter, Metered};
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

    /// Where all others are blank the sum is one member's copy: taken for the missing one, two disks of a raid0 that is
    /// mostly empty were a raid5 with one missing, and sure.
    #[test]
    fn a_copy_of_one_is_no_sum() {
        let bytes = |held: &[usize]| {
            let page = |i| vec![u8::from(held.contains(&i)) * 7; PAGE];
            (0..3).flat_map(page).collect::<Vec<u8>>()
        };
        let sum = Missing::new(vec![
            Arc::new(Memory::new("a", bytes(&[0, 1]))),
            Arc::new(Memory::new("b", bytes(&[1]))),
            Arc::new(Memory::new("c", bytes(&[1]))),
        ]);
        let mut buf = [0; 3 * PAGE - 100];
        let gaps = sum.read_at(Bytes(100), &mut buf);
        assert_eq!(
            gaps.extents(),
            [Extent::new(Bytes(100), Bytes(PAGE as u64 - 100))]
        );
        assert_eq!((buf[0], buf[PAGE], buf[2 * PAGE]), (0, 7, 0));
    }

    /// The sum of what was just read must not be read of the disks again.
    #[test]
    fn what_was_just_read_is_remembered() {
        let meter = Meter::new(Bytes(100));
        let memory: SharedSource = Arc::new(Memory::new("a", (0..64).collect()));
        let recent = Recent::new(Arc::new(Metered::new(memory, meter.clone())));
        let (mut block, mut part) = ([0; 32], [0; 8]);
        assert!(recent.read_at(Bytes(8), &mut block).is_none());
        assert!(recent.read_at(Bytes(20), &mut part).is_none());
        assert_eq!((part[0], meter.read()), (20, Bytes(32)));
        assert!(recent.read_at(Bytes(36), &mut part).is_none());
        assert_eq!((part[7], meter.read()), (43, Bytes(40)));
    }
}
