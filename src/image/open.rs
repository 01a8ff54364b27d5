//! Opening what the user named: image files and block devices, read only.

use super::careful::{Careful, Device};
use super::device::Disk;
use super::known::{KnownAs, serial_of};
use super::map::{self, MapError, RescueMap};
use super::{Gaps, Source};
use crate::units::{Bytes, Extent};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
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
    /// Its ddrescue map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// How images are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How often a failing sector is tried again before it counts as unread for good.
    pub retries: u32,
    /// ddrescue maps that the user named, each with the image, as it was named or as answers call it.
    pub maps: Vec<(String, PathBuf)>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            retries: 1,
            maps: Vec::new(),
        }
    }
}

/// A file or block device, open for reading only.
#[derive(Debug)]
pub struct Image {
    name: String,
    path: PathBuf,
    disk: Careful<Disk>,
    /// Device and inode of a file, or the device number of a block device: the same for two names of one image.
    identity: (u64, u64),
    /// Its ddrescue map, and where that was found.
    map: Option<(PathBuf, RescueMap)>,
    known_as: KnownAs,
}

/// Opens all of `path` read only; `name` is what answers will call it. Its map is taken where one lies beside it.
///
/// # Errors
/// As [`open_with`].
pub fn open(path: &Path, name: &str) -> Result<Image, OpenError> {
    let spec = ImageSpec {
        path: path.to_owned(),
        part: Part::Whole,
    };
    open_with(&spec, name, &Reading::default())
}

/// Opens an image read only; `name` is what answers will call it.
///
/// # Errors
/// [`OpenError`] where it is missing, unreadable, a folder, something other
/// than a file or block device, or empty, or where its map does not fit.
pub fn open_with(spec: &ImageSpec, name: &str, reading: &Reading) -> Result<Image, OpenError> {
    let path = spec.path.as_path();
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
    let disk = Disk::open(path, kind.is_block_device()).map_err(io_error)?;
    let length = disk.length().unwrap_or_default();
    let map = match map_of(path, name, reading) {
        Some(map) => Some((map.clone(), RescueMap::load(&map)?)),
        None => None,
    };
    let (whole, unread) = match &map {
        None => (length, Vec::new()),
        Some((map_path, map)) => {
            let needed = match spec.part {
                Part::Extent(extent) => extent.end().min(length),
                _ => length,
            };
            let whole = map::fit(map, map_path, path, length, needed)?;
            let mut unread = map.unread(whole);
            unread.push(Extent::new(length, whole - length));
            (whole, unread)
        }
    };
    if whole == Bytes::ZERO {
        return Err(OpenError::Empty(path.to_owned()));
    }
    if map.is_none() {
        disk.probe(length).map_err(io_error)?;
    }
    let identity = if kind.is_block_device() {
        (0, meta.rdev())
    } else {
        (meta.dev(), meta.ino())
    };
    Ok(Image {
        name: name.to_owned(),
        path: path.to_owned(),
        disk: Careful::new(disk, whole, reading.retries, unread),
        identity,
        map,
        known_as: KnownAs::of(path),
    })
}

/// The map that was named for an image, else the one that lies beside it, or beside what its name is a link to.
fn map_of(path: &Path, name: &str, reading: &Reading) -> Option<PathBuf> {
    let named = |(image, _): &&(String, PathBuf)| image == name || Path::new(image) == path;
    if let Some((_, map)) = reading.maps.iter().find(named) {
        return Some(map.clone());
    }
    let real = std::fs::canonicalize(path).ok();
    let real = real.as_deref().filter(|real| *real != path);
    [Some(path), real].into_iter().flatten().find_map(beside)
}

/// `disk.img.map` or `disk.map` beside `disk.img`, whatever it holds; else a file of one of ddrescue's other habitual names
/// that begins as its maps do.
fn beside(path: &Path) -> Option<PathBuf> {
    let names = |ending: &str| {
        let mut longer = path.as_os_str().to_owned();
        longer.push(".");
        longer.push(ending);
        [PathBuf::from(longer), path.with_extension(ending)]
    };
    // A link that leads nowhere is a map that cannot be read, not none.
    let there = |map: &PathBuf| {
        let meta = map.symlink_metadata();
        map != path && meta.is_ok_and(|m| m.is_symlink() || m.is_file())
    };
    let other = ["log", "mapfile"].iter().flat_map(|ending| names(ending));
    let mut other = other.filter(|file| file != path && map::begins_as_one(file));
    names("map")
        .into_iter()
        .find(there)
        .or_else(|| other.next())
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

    /// A disk's serial number as the system tells it; a partition has its disk's, a file none. Read it before the program
    /// is confined.
    pub fn serial(&self) -> Option<String> {
        match self.identity {
            (0, device) => serial_of(device),
            _ => None,
        }
    }

    /// What the system called it when it was opened.
    pub fn known_as(&self) -> &KnownAs {
        &self.known_as
    }

    /// When its file was last written to, as the file system says it; nothing of a device.
    pub(crate) fn modified(&self) -> Option<String> {
        let meta = std::fs::metadata(&self.path).ok().filter(|m| m.is_file())?;
        Some(format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()))
    }

    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        self.disk.device().is_block_device()
    }

    /// Its ddrescue map, and where that was found.
    pub fn map(&self) -> Option<(&Path, &RescueMap)> {
        self.map.as_ref().map(|(path, map)| (path.as_path(), map))
    }

    /// What is known to be unread by now: by its map, or because reading it failed.
    pub fn unread(&self) -> Vec<Extent> {
        self.disk.unread()
    }

    /// No read goes to these places any more: an earlier run over this very image has found them bad.
    pub(crate) fn know_bad(&self, bad: &[Extent]) {
        self.disk.know_bad(bad);
    }

    /// What is known of this image after a pass over `read` that could not read `bad`, as a ddrescue map.
    pub fn map_after(&self, read: &[Extent], bad: &[Extent]) -> RescueMap {
        match &self.map {
            Some((_, map)) => map.after(read, bad),
            None => RescueMap::of(self.len(), read).after(read, bad),
        }
    }
}

/// The disk that a partition lies on, by what sysfs says; `None` where `device` is no partition.
fn whole_disk(device: u64) -> Option<u64> {
    let entry = device_folder(device).ok()?;
    if !entry.join("partition").exists() {
        return None;
    }
    device_number(&entry.parent()?.join("dev"))
}

/// A device's folder in sysfs.
pub(crate) fn device_folder(device: u64) -> io::Result<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))
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
        self.disk.length()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        self.disk.read_at(at, buf)
    }

    fn next_data(&self, at: Bytes) -> Option<Extent> {
        let rest = Extent::new(at, self.len() - at);
        match self.map {
            _ if rest.is_empty() => None,
            // A hole of the copy may be a place that was never read.
            Some(_) => Some(rest),
            None => self.disk.device().next_data(rest),
        }
    }

    fn sector_size(&self) -> Option<u32> {
        self.disk.device().sector_size()
    }

    fn let_go(&self, extent: Extent) {
        self.disk.device().let_go(extent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that somebody cuts while it is read: what is gone is no hole, whose zeros would be believed.
    #[test]
    fn a_file_that_shrinks_has_a_gap() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let image = open(file.path(), "m").unwrap();
        assert_eq!(image.next_data(Bytes(6 << 20)), None);
        file.as_file().set_len(4 << 20).unwrap();
        let gone = image.next_data(Bytes(2 << 20)).unwrap();
        assert_eq!(gone, Extent::new(Bytes(4 << 20), Bytes(4 << 20)));
        let gaps = image.read_at(gone.offset, &mut [0; 4096]);
        assert_eq!(gaps.extents(), [Extent::new(gone.offset, Bytes(4096))]);
    }

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

    /// A map that is passed over makes data of holes: ddrescue's own older habit is `.log`, and a link to an image lies
    /// elsewhere than its map. A log of something else is none.
    #[test]
    fn maps_beside_an_image_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let blocks = "0x0 +\n0x0 0x200 +\n0x200 0x200 -\n0x400 0xC00 +\n";
        let lost = [Extent::new(Bytes(512), Bytes(512))];
        std::fs::create_dir(path("links")).unwrap();
        for (name, head) in [
            (
                "a.log",
                "# Rescue Logfile. Created by GNU ddrescue version 1.16",
            ),
            (
                "b.img.log",
                "# Mapfile. Created by GNU ddrescue version 1.27",
            ),
            (
                "c.mapfile",
                "# Mapfile. Created by GNU ddrescue version 1.27",
            ),
            ("d.map", "# of whatever kind"),
        ] {
            let image = path(&name[..1]).with_extension("img");
            std::fs::write(&image, [7; 4096]).unwrap();
            std::fs::write(path(name), format!("{head}\n{blocks}")).unwrap();
            let link = path("links").join(&name[..1]);
            std::os::unix::fs::symlink(&image, &link).unwrap();
            for way in [image, link] {
                assert_eq!(open(&way, "m").unwrap().unread(), lost, "{}", way.display());
            }
        }
        std::fs::write(path("a.log"), format!("# of something else\n{blocks}")).unwrap();
        assert_eq!(open(&path("a.img"), "m").unwrap().unread(), []);
        // One of ddrescue's that does not fit is refused, as under its newer name.
        std::fs::write(path("b.img.log"), "# Rescue Logfile.\n0 +\n0 512 +\n").unwrap();
        let error = open(&path("b.img"), "m").unwrap_err();
        assert!(matches!(error, OpenError::Map(_)), "{error}");
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
