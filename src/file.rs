//! Small files that are read whole: maps, layouts, reports, manifests.
//!
//! They are named by people, or by files that people have edited. A pipe in
//! place of one would be waited for, and a device read until the memory is full.

use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens for reading only, with O_NOATIME where the owner may: evidence keeps its time stamps.
pub(crate) fn open_read_only(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | more;
    rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty())
        .or_else(|_| rustix::fs::open(path, flags, Mode::empty()))
        .map(File::from)
        .map_err(io::Error::from)
}

/// Opens a file, and nothing else that can be opened.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no file.
pub fn open_file(path: &Path) -> io::Result<File> {
    // Before it is opened: a tape would rewind. And after, as another thing may stand there by then; a pipe is not waited
    // for.
    only_a_file(&fs::metadata(path)?)?;
    let file = open_read_only(path, OFlags::NONBLOCK)?;
    only_a_file(&file.metadata()?)?;
    Ok(file)
}

/// All of a file that has at most `most` bytes.
///
/// # Errors
/// As [`open_file`]; [`io::ErrorKind::FileTooLarge`] for one that has more.
pub fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("has more than {} MiB, as no such file has", most >> 20),
        )),
        false => Ok(bytes),
    }
}

/// The same, of a text.
///
/// # Errors
/// As [`read_small`]; [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_small_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_small(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is no text (not UTF-8)"))
}

fn only_a_file(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "folder",
        () if kind.is_fifo() => "pipe",
        () if kind.is_socket() => "socket",
        () => "device",
    };
    let what = format!("is a {what}, not a file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody writes to is waited for; a device has no end.
    #[test]
    fn only_small_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), b"text").unwrap();
        assert_eq!(read_small(&path("file"), 4).unwrap(), b"text");
        let error = read_small(&path("file"), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let (fifo, read) = (rustix::fs::FileType::Fifo, Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), fifo, read, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        for (name, what) in [("fifo", "pipe"), ("zero", "device"), ("", "folder")] {
            let error = read_small(&path(name), 4).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        fs::write(path("file"), [0xff]).unwrap();
        let error = read_small_text(&path("file"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
