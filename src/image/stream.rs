//! All bytes of a source in order, hashed beside reading and using them: what an export is.

use super::{Gaps, MOST_HASHED_HOLES, Source, holes_within};
use crate::units::{Bytes, Extent};
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Blocks that wait between reading and writing, and again between writing and hashing.
const WAITING: usize = 4;

/// The next bytes of a source.
#[derive(Clone, Copy, Debug)]
pub enum Run<'a> {
    /// These.
    Data(&'a [u8]),
    /// So many zeros that are stored nowhere.
    Hole(Bytes),
}

/// What streaming a source told.
#[derive(Debug)]
pub struct Streamed {
    /// SHA-256 of all bytes, gaps and holes as zeros; none of a source whose holes alone would take days.
    pub sha256: Option<String>,
    /// What could not be read.
    pub gaps: Gaps,
}

enum Block {
    Data(Arc<Vec<u8>>, Gaps),
    /// Zeros, or what reads as such as it cannot be read.
    Hole(Bytes, Gaps),
}

/// Reads `source` from end to end and hands every run to `each`, while the next one is read and the one before is hashed.
///
/// # Errors
/// The first that `each` gives: nothing more is read then.
pub fn stream(
    source: &dyn Source,
    each: &mut dyn FnMut(Run<'_>) -> io::Result<()>,
) -> io::Result<Streamed> {
    let (blocks, read) = sync_channel(WAITING);
    let (used, to_hash) = sync_channel(WAITING);
    let can_hash = holes_within(source, MOST_HASHED_HOLES);
    std::thread::scope(|scope| {
        scope.spawn(move || read_all(source, &blocks));
        let hash = scope.spawn(move || hash_all(&to_hash));
        let mut gaps = Gaps::none();
        // Ends when all is read. On an error the ends of both channels go, and with them both threads.
        for block in read {
            let kept = match block {
                Block::Data(bytes, lost) => {
                    gaps.add(lost);
                    each(Run::Data(&bytes))?;
                    Block::Data(bytes, Gaps::none())
                }
                Block::Hole(length, lost) => {
                    gaps.add(lost);
                    each(Run::Hole(length))?;
                    Block::Hole(length, Gaps::none())
                }
            };
            if can_hash && used.send(kept).is_err() {
                break;
            }
        }
        drop(used);
        let sha256 = hash.join().map_err(|_| io::Error::other("hashing ended"))?;
        let sha256 = can_hash.then_some(sha256);
        Ok(Streamed { sha256, gaps })
    })
}

fn read_all(source: &dyn Source, blocks: &SyncSender<Block>) {
    let mut at = Bytes::ZERO;
    while at < source.len() {
        let data = source.next_data(at);
        let data = data.unwrap_or(Extent::new(source.len(), Bytes::ZERO));
        let hole = data.offset.max(at).min(source.len()) - at;
        let absent = source.absent(at).filter(|absent| absent.end() > at);
        let block = match absent {
            _ if hole > Bytes::ZERO => Block::Hole(hole, Gaps::none()),
            Some(absent) => Block::Hole(absent.length, Gaps::one(absent)),
            None => {
                // Whoever says that there is data says how much; at least a byte, or this would not end.
                let left = (data.end().min(source.len()) - at).max(Bytes(1));
                let mut bytes = vec![0; left.to_len(BLOCK)];
                let gaps = source.read_at(at, &mut bytes);
                Block::Data(Arc::new(bytes), gaps)
            }
        };
        at = at
            + match &block {
                Block::Data(bytes, _) => super::len_of(bytes),
                Block::Hole(length, _) => *length,
            };
        if blocks.send(block).is_err() {
            return;
        }
    }
}

fn hash_all(blocks: &Receiver<Block>) -> String {
    let mut hash = Sha256::new();
    let zeros = vec![0; 64 << 10];
    for block in blocks {
        match block {
            Block::Data(bytes, _) => hash.update(&*bytes),
            Block::Hole(length, _) => {
                let mut left = length;
                while left > Bytes::ZERO {
                    let n = left.to_len(zeros.len());
                    hash.update(zeros.get(..n).unwrap_or_default());
                    left = left - Bytes(n as u64);
                }
            }
        }
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Memory, open};

    /// Bytes lost or out of order, or a hash of something else, is evidence that nobody can check.
    #[test]
    fn all_bytes_in_order_with_their_hash() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 77).map(|i| ((i * i) >> 7) as u8).collect();
        let gap = Extent::new(Bytes(BLOCK as u64 + 512), Bytes(512));
        let mut seen = Vec::new();
        let source = Memory::new("m", bytes.clone()).with_unread(gap);
        let streamed = stream(&source, &mut |run| {
            match run {
                Run::Data(bytes) => seen.extend_from_slice(bytes),
                Run::Hole(length) => seen.resize(seen.len() + length.to_len(1 << 30), 0),
            }
            Ok(())
        });
        let streamed = streamed.unwrap();
        let mut expected = bytes;
        expected[BLOCK + 512..BLOCK + 1024].fill(0);
        assert!(seen == expected);
        let sha256 = hex::encode(Sha256::digest(&expected));
        assert_eq!(streamed.sha256, Some(sha256));
        assert_eq!(streamed.gaps.extents(), [gap]);
    }

    /// A hole of terabytes that is read, or written, is a night that is lost; left out of the hash, the hash is wrong.
    #[test]
    fn holes_are_told_and_hashed_as_zeros() {
        use std::os::unix::fs::FileExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        file.as_file().write_all_at(&[7; 4096], 32 << 20).unwrap();
        let image = open(file.path(), "m").unwrap();
        let (mut data, mut length) = (0, 0);
        let streamed = stream(&image, &mut |run| {
            match run {
                Run::Data(bytes) => data += bytes.len() as u64,
                Run::Hole(hole) => length += hole.0,
            }
            Ok(())
        });
        assert!(data <= 1 << 20, "{data} bytes read");
        assert_eq!(data + length, 64 << 20);
        let whole = std::fs::read(file.path()).unwrap();
        let sha256 = hex::encode(Sha256::digest(whole));
        assert_eq!(streamed.unwrap().sha256, Some(sha256));
    }

    /// An empty file of exabytes takes as long as its data: its zeros are neither read nor hashed.
    #[test]
    fn exabytes_of_holes_end() {
        struct Empty;
        impl Source for Empty {
            fn name(&self) -> &str {
                "empty"
            }
            fn len(&self) -> Bytes {
                Bytes(1 << 63)
            }
            fn read_at(&self, _: Bytes, buf: &mut [u8]) -> Gaps {
                buf.fill(7);
                Gaps::none()
            }
            fn next_data(&self, at: Bytes) -> Option<Extent> {
                let data = Extent::new(Bytes(1 << 62), Bytes(512));
                (at < data.end()).then(|| Extent::new(data.offset.max(at), data.end() - at))
            }
        }
        let (mut data, mut holes) = (0, 0);
        let streamed = stream(&Empty, &mut |run| {
            match run {
                Run::Data(bytes) => data += bytes.len(),
                Run::Hole(length) => holes += length.0,
            }
            Ok(())
        });
        assert_eq!((data, holes), (512, (1 << 63) - 512));
        assert_eq!(streamed.unwrap().sha256, None);
    }

    /// A full disk must end an export, not let it read on for hours.
    #[test]
    fn an_error_ends_the_reading() {
        struct Endless;
        impl Source for Endless {
            fn name(&self) -> &str {
                "endless"
            }
            fn len(&self) -> Bytes {
                Bytes(u64::MAX)
            }
            fn read_at(&self, _: Bytes, _: &mut [u8]) -> Gaps {
                Gaps::none()
            }
        }
        let mut left = 3;
        let ended = stream(&Endless, &mut |_| {
            left -= 1;
            match left {
                0 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        });
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
