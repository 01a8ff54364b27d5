//! The packed images of a drill, unpacked as sparse files and checked.

use super::answer::{Answer, DrillError};
use crate::file::open_file;
use crate::image::progress::Progress;
use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest, Sha256};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const BLOCK: usize = 64 << 10;

/// Unpacks every disk of the drill in `folder` to `to`, two at a time. The images' paths, in the answer's order.
///
/// # Errors
/// [`DrillError`] for the first that does not unpack to what the answer says.
pub fn unpack(
    folder: &Path,
    answer: &Answer,
    to: &Path,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, DrillError> {
    let next = Mutex::new(answer.disks.iter());
    let failed = Mutex::new(None);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(disk) = next.lock().ok().and_then(|mut disks| disks.next()) else {
                        return;
                    };
                    let from = folder.join(format!("{}.img.zst", disk.name));
                    let target = to.join(format!("{}.img", disk.name));
                    let result = unpack_one(&from, &target, &disk.sha256, progress);
                    if let (Err(error), Ok(mut slot)) = (result, failed.lock()) {
                        slot.get_or_insert(error);
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(answer
            .disks
            .iter()
            .map(|disk| to.join(format!("{}.img", disk.name)))
            .collect()),
    }
}

fn unpack_one(
    from: &Path,
    to: &Path,
    expected: &str,
    progress: &dyn Progress,
) -> Result<(), DrillError> {
    let io = |cause| DrillError::Io {
        path: from.to_owned(),
        cause,
    };
    let packed = BufReader::new(open_file(from).map_err(io)?);
    let mut decoder = StreamingDecoder::new(packed).map_err(|error| DrillError::Unpack {
        path: from.to_owned(),
        what: error.to_string(),
    })?;
    let named = |cause| DrillError::Io {
        path: to.to_owned(),
        cause,
    };
    // Under its name when it is whole: a short one would be taken for the drill's.
    let folder = to.parent().unwrap_or(Path::new("."));
    let (mut image, unfinished) = tempfile::Builder::new()
        .prefix(".disinter-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(named)?
        .into_parts();
    let (mut hash, mut length, mut buf) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        let n = fill(&mut decoder, &mut buf).map_err(io)?;
        let Some(block) = buf.get(..n).filter(|block| !block.is_empty()) else {
            break;
        };
        hash.update(block);
        length += n as u64;
        progress.advance(n as u64);
        let written = match block.iter().all(|b| *b == 0) {
            true => image.seek(SeekFrom::Start(length)).map(|_| ()),
            false => image.write_all(block),
        };
        written.map_err(io)?;
    }
    image.set_len(length).map_err(io)?;
    let found = hex::encode(hash.finalize());
    match found == expected {
        true => unfinished
            .persist_noclobber(to)
            .map_err(|error| named(error.error)),
        false => Err(DrillError::Damaged {
            path: from.to_owned(),
            found,
            expected: expected.to_owned(),
        }),
    }
}

/// Reads until `buf` is full or the end.
fn fill(reader: &mut impl Read, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
