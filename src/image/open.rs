//! Opening what the user named: image files and block devices, read only.

use super::{Gaps, Source, len_of};
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Which part of an image is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its `n`th partition, as the kernel counts them from 1.
    Partition(u32),
    /// An extent in bytes.
    Extent(Extent),
}

/// What the user named: `disk.img`, `disk.img@2`, `disk.img@1048576+4096`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The file or block device.
    pub path: PathBuf,
    /// Which part of it.
    pub part: Part,
}

impl std::str::FromStr for ImageSpec {
    type Err = std::convert::Infallible;

    /// An `@` that is not followed by a partition number or an extent belongs to the file's name.
    fn from_str(text: &str) -> Result<ImageSpec, Self::Err> {
        let whole = ImageSpec {
            path: text.into(),
            part: Part::Whole,
        };
        let Some((path, tail)) = text.rsplit_once('@') else {
            return Ok(whole);
        };
        let part = match tail.split_once('+') {
            Some((offset, length)) => offset
                .parse()
                .ok()
                .zip(length.parse().ok())
                .map(|(o, l)| Part::Extent(Extent::new(Bytes(o), Bytes(l)))),
            None => tail.parse().ok().map(Part::Partition),
        };
        Ok(part.map_or(whole, |part| ImageSpec {
            path: path.into(),
            part,
        }))
    }
}

/// Why an image could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refused: missing, no permission, an unreadable device.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A folder was named where an image was meant.
    #[error("{}: is a folder, not a disk image or block device", .0.display())]
    Folder(PathBuf),
    /// Neither a file nor a block device.
    #[error("{}: is a {kind}, not a disk image or block device", .path.display())]
    NotAnImage {
        /// What was opened.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file of no bytes.
    #[error("{}: is empty", .0.display())]
    Empty(PathBuf),
}

/// A file or block device, open for reading only.
#[derive(Debug)]
pub struct Image {
    name: String,
    path: PathBuf,
    file: File,
    length: Bytes,
    /// Device and inode of a file, or the device number of a block device: the same for two names of one image.
    identity: (u64, u64),
}

/// Opens `path` read only; `name` is what answers will call it.
///
/// # Errors
/// [`OpenError`] where it is missing, unreadable, a folder, something other
/// than a file or block device, or empty.
pub fn open(path: &Path, name: &str) -> Result<Image, OpenError> {
    let io_error = |cause| OpenError::Io {
        path: path.to_owned(),
        cause,
    };
    // Looked at before it is opened: opening a FIFO would wait, a tape would rewind.
    let meta = std::fs::metadata(path).map_err(io_error)?;
    let kind = meta.file_type();
    if kind.is_dir() {
        return Err(OpenError::Folder(path.to_owned()));
    }
    if !kind.is_file() && !kind.is_block_device() {
        let kind = match () {
            () if kind.is_char_device() => "character device",
            () if kind.is_fifo() => "pipe",
            () => "socket",
        };
        return Err(OpenError::NotAnImage {
            path: path.to_owned(),
            kind,
        });
    }
    let mut file = open_read_only(path).map_err(io_error)?;
    let length = Bytes(file.seek(SeekFrom::End(0)).map_err(io_error)?);
    if length == Bytes::ZERO {
        return Err(OpenError::Empty(path.to_owned()));
    }
    let identity = if kind.is_block_device() {
        (0, meta.rdev())
    } else {
        (meta.dev(), meta.ino())
    };
    let image = Image {
        name: name.to_owned(),
        path: path.to_owned(),
        file,
        length,
        identity,
    };
    image.probe().map_err(io_error)?;
    Ok(image)
}

/// With O_NOATIME where the owner may: evidence keeps its time stamps.
fn open_read_only(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty())
        .or_else(|_| rustix::fs::open(path, flags, Mode::empty()))
        .map(File::from)
        .map_err(io::Error::from)
}

impl Image {
    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Equal for two names of one file or device.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// The number of the device that its bytes are read from: for a partition its disk's, for a file that of its file
    /// system. Two images with one number are better not read at once.
    pub fn device(&self) -> u64 {
        match self.identity {
            (0, device) => whole_disk(device).unwrap_or(device),
            (file_system, _) => whole_disk(file_system).unwrap_or(file_system),
        }
    }

    /// An unreadable front is a finding, a device that gives nothing at all is not an image.
    fn probe(&self) -> io::Result<()> {
        let mut sector = [0; SECTOR_LEN];
        let middle = self.length.0 / 2 / SECTOR * SECTOR;
        let last = self.length.0.saturating_sub(SECTOR);
        let mut result = Ok(());
        for at in [0, middle, last] {
            match self.file.read_at(&mut sector, at) {
                Ok(_) => return Ok(()),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Reads as much of `buf` as there is; a failing run is narrowed to its failing sectors, each tried once.
    fn fill(&self, at: Bytes, buf: &mut [u8], gaps: &mut Vec<Extent>) {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let here = at + Bytes(done as u64);
            match self.file.read_at(rest, here.0) {
                // The end of the image, or a device that shrank.
                Ok(0) => {
                    rest.fill(0);
                    gaps.push(Extent::new(here, len_of(rest)));
                    return;
                }
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.narrow(here, rest, gaps);
                    return;
                }
            }
        }
    }

    /// Halves a run that failed until single sectors fail.
    fn narrow(&self, at: Bytes, buf: &mut [u8], gaps: &mut Vec<Extent>) {
        let sector = SECTOR_LEN;
        if buf.len() <= sector {
            buf.fill(0);
            gaps.push(Extent::new(at, len_of(buf)));
            return;
        }
        let half = (buf.len() / 2).next_multiple_of(sector).min(buf.len());
        let (left, right) = buf.split_at_mut(half);
        self.fill(at, left, gaps);
        self.fill(at + Bytes(half as u64), right, gaps);
    }
}

/// The disk that a partition lies on, by what sysfs says; `None` where `device` is no partition.
fn whole_disk(device: u64) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    if !entry.join("partition").exists() {
        return None;
    }
    device_number(&entry.parent()?.join("dev"))
}

/// A device number from a file of sysfs.
pub(crate) fn device_number(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}

impl Source for Image {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Bytes {
        self.length
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let mut gaps = Vec::new();
        self.fill(at, buf, &mut gaps);
        Gaps::from(gaps)
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        use rustix::fs::{SeekFrom as Seek, seek};
        if at >= self.length {
            return None;
        }
        let rest = Extent::new(at, self.length - at);
        // What cannot be told (a block device, a file system without holes) may hold data. Reads here say where they
        // read, so the file's own position is free.
        match seek(&self.file, Seek::Data(at.0)) {
            Ok(data) => {
                let end = seek(&self.file, Seek::Hole(data)).unwrap_or(self.length.0);
                Some(Extent::new(
                    Bytes(data),
                    Bytes(end.min(self.length.0)) - Bytes(data),
                ))
            }
            Err(rustix::io::Errno::NXIO) => None,
            Err(_) => Some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose name holds an `@` must not be taken for a partition of another.
    #[test]
    fn specs() {
        let spec = |s: &str| s.parse::<ImageSpec>().unwrap();
        assert_eq!(spec("a.img").part, Part::Whole);
        assert_eq!(spec("a.img@2").part, Part::Partition(2));
        assert_eq!(
            spec("a.img@1048576+4096").part,
            Part::Extent(Extent::new(Bytes(1_048_576), Bytes(4096)))
        );
        assert_eq!(spec("me@home.img").path, Path::new("me@home.img"));
        assert_eq!(spec("me@home.img@1").path, Path::new("me@home.img"));
    }

    /// Opening a pipe would wait for ever, a folder would fail at the first read with no reason given.
    #[test]
    fn what_is_not_an_image_is_refused_with_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, b"").unwrap();
        assert!(matches!(
            open(folder.path(), "x"),
            Err(OpenError::Folder(_))
        ));
        assert!(matches!(open(&empty, "x"), Err(OpenError::Empty(_))));
        assert!(matches!(
            open(Path::new("/dev/null"), "x"),
            Err(OpenError::NotAnImage {
                kind: "character device",
                ..
            })
        ));
        assert!(matches!(
            open(&folder.path().join("none"), "x"),
            Err(OpenError::Io { .. })
        ));
    }

    /// Two names for one file given as two disks would look like a perfect mirror pair.
    #[test]
    fn one_file_has_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (
            folder.path().join("a"),
            folder.path().join("b"),
            folder.path().join("c"),
        );
        std::fs::write(&a, b"data").unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        std::fs::write(&c, b"data").unwrap();
        let identity = |p: &Path| open(p, "x").unwrap().identity();
        assert_eq!(identity(&a), identity(&b));
        assert_ne!(identity(&a), identity(&c));
    }
}
