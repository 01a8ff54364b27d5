//! Copying folders and files out of a file system: the one place here that
//! writes to the host.
//!
//! A damaged or hostile file system must not be able to write anywhere but
//! below the destination, nor over anything:
//!
//! - every folder is made anew and every file opened with "must not exist", so
//!   that a name that comes twice (first as a link to `/etc`, then as a folder)
//!   fails the second time instead of being written through;
//! - names that are `.`, `..` or hold a slash or a zero byte are refused;
//! - links are not made unless asked for ([`Links::Make`]), as what follows one
//!   later reads or writes the host's file of that name; they are listed;
//! - devices, pipes and sockets are listed; set-user-id bits and owners are left out.
//!
//! Hard links become files of their own. Long runs of zeros become holes.

use super::browse::{BrowseError, Browser, Chunk, Entry, EntryKind, join};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What a file that could not be read whole is called: its name and this.
pub const PARTIAL: &str = ".disinter-partial";

/// Runs of zeros of at least this length become holes.
const HOLE: usize = 4096;

/// What to do with symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// List them with where they lead.
    #[default]
    List,
    /// Make them as they are, wherever they lead.
    Make,
}

/// What was not copied as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Its path in the file system, safe to show.
    pub path: String,
    /// Why, in words.
    pub why: String,
    /// Extents of the file that are zeros in the copy, as they could not be read.
    pub gaps: Vec<Extent>,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// Files copied whole.
    pub files: u64,
    /// Folders made.
    pub folders: u64,
    /// Links made.
    pub links: u64,
    /// Bytes of the files copied whole.
    pub bytes: Bytes,
    /// Left out on purpose: links and special files.
    pub skipped: Vec<Left>,
    /// Failed: not there, or there under a name that ends in [`PARTIAL`].
    pub problems: Vec<Left>,
    /// Where the copy ended before its end, as no more could be written: the place to copy to is full, or fails.
    pub ended: Option<Left>,
}

impl CopyReport {
    fn problem(&mut self, path: &[u8], why: impl std::fmt::Display, gaps: Vec<Extent>) {
        self.problems.push(left(path, why, gaps));
    }

    /// A name that the host does not take is a problem of one file. A place that takes no more bytes is the end.
    fn not_written(&mut self, path: &[u8], error: &io::Error) {
        match takes_no_more(error) {
            true => self.ended = Some(left(path, error, Vec::new())),
            false => self.problem(path, error, Vec::new()),
        }
    }
}

/// Whether whatever is written next would fail as well.
fn takes_no_more(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = error.kind();
    matches!(kind, StorageFull | QuotaExceeded | ReadOnlyFilesystem)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn left(path: &[u8], why: impl std::fmt::Display, gaps: Vec<Extent>) -> Left {
    Left {
        path: crate::parse::printable(path),
        why: why.to_string(),
        gaps,
    }
}

/// Copies what lies at `path` into the folder `dest`: a folder's content, or one file.
///
/// `dest` is made if it is not there; the folder above it must be.
///
/// # Errors
/// Where `path` cannot be found or `dest` is no folder and cannot be made.
/// All else is told in the report.
pub fn copy_tree(
    browser: &Browser,
    path: &[u8],
    dest: &Path,
    links: Links,
) -> Result<CopyReport, BrowseError> {
    let path = &browser.real_path(path)?;
    let top = browser.metadata(path)?;
    if !dest.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(dest)?;
    }
    let mut report = CopyReport::default();
    if top.kind != EntryKind::Folder {
        one(browser, path, &top, dest, links, &mut report);
        return Ok(report);
    }
    // A sound file system has no more folders than inodes; one whose folders hold each other would go on for ever.
    let mut budget = browser.superblock().inodes;
    let mut stack = vec![(path.to_vec(), dest.to_owned())];
    while let Some((folder, host)) = stack.pop() {
        let Some(rest) = budget.checked_sub(1) else {
            report.problem(
                &folder,
                "the folders hold each other: stopped here",
                Vec::new(),
            );
            break;
        };
        budget = rest;
        let listing = match browser.list(&folder) {
            Ok(listing) => listing,
            Err(error) => {
                report.problem(&folder, error, Vec::new());
                continue;
            }
        };
        if let Some(problem) = listing.problem {
            report.problem(
                &folder,
                format!("not all of this folder: {problem}"),
                Vec::new(),
            );
        }
        let mut below = Vec::new();
        for entry in &listing.entries {
            let inner = join(&folder, &entry.name);
            if let Some(made) = one(browser, &inner, entry, &host, links, &mut report) {
                below.push((inner, made));
            }
            if report.ended.is_some() {
                return Ok(report);
            }
        }
        stack.extend(below.into_iter().rev());
    }
    Ok(report)
}

/// Copies one entry into the host's folder `host`; the new folder's place, if it is one.
fn one(
    browser: &Browser,
    path: &[u8],
    entry: &Entry,
    host: &Path,
    links: Links,
    report: &mut CopyReport,
) -> Option<PathBuf> {
    let Some(to) = place(host, &entry.name) else {
        report.problem(path, "refused: not a name that a file can have", Vec::new());
        return None;
    };
    if let Some(problem) = &entry.problem {
        report.problem(path, problem, Vec::new());
        return None;
    }
    match (entry.kind, links) {
        (EntryKind::Folder, _) => match fs::DirBuilder::new().mode(0o700).create(&to) {
            Ok(()) => {
                report.folders += 1;
                return Some(to);
            }
            Err(error) => report.not_written(path, &error),
        },
        (EntryKind::File, _) => file(browser, path, entry, &to, report),
        (EntryKind::Link, Links::Make) => {
            let target = entry.target.as_deref().unwrap_or_default();
            match std::os::unix::fs::symlink(OsStr::from_bytes(target), &to) {
                Ok(()) => report.links += 1,
                Err(error) => report.not_written(path, &error),
            }
        }
        (EntryKind::Link, Links::List) => {
            let target = crate::parse::printable(entry.target.as_deref().unwrap_or_default());
            let why = format!("link to {target}");
            report.skipped.push(left(path, why, Vec::new()));
        }
        _ => report
            .skipped
            .push(left(path, "a device, pipe or socket", Vec::new())),
    }
    None
}

/// `name` in `host`, if it is one plain name.
fn place(host: &Path, name: &[u8]) -> Option<PathBuf> {
    let plain = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
    plain.then(|| host.join(OsStr::from_bytes(name)))
}

fn file(browser: &Browser, path: &[u8], entry: &Entry, to: &Path, report: &mut CopyReport) {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut out = match made {
        Ok(out) => out,
        Err(error) => return report.not_written(path, &error),
    };
    let result = browser
        .stream(path, &mut |chunk| write_sparse(&mut out, chunk))
        .and_then(|read| {
            finish(&mut out, entry)
                .map(|()| read)
                .map_err(BrowseError::from)
        });
    let (why, gaps) = match result {
        Ok(read) if read.gaps.is_empty() => {
            report.files += 1;
            report.bytes = report.bytes + read.bytes;
            return;
        }
        Ok(read) => ("parts of it cannot be read".to_owned(), read.gaps),
        Err(BrowseError::Write(error)) if takes_no_more(&error) => {
            // Said once, for the whole copy; of the file only that it is not whole, and nothing where even that fails.
            let _ = set_aside(to);
            return report.not_written(path, &error);
        }
        Err(error) => (error.to_string(), Vec::new()),
    };
    let why = match set_aside(to) {
        Ok(()) => format!("{why}; what there is has the ending {PARTIAL}"),
        Err(error) => format!("{why}; and what there is cannot be renamed: {error}"),
    };
    report.problem(path, why, gaps);
}

/// Writes a chunk, leaving holes for zeros.
fn write_sparse(out: &mut File, chunk: Chunk<'_>) -> io::Result<()> {
    let skip = |out: &mut File, length: u64| {
        let length = i64::try_from(length).map_err(io::Error::other)?;
        out.seek(SeekFrom::Current(length)).map(|_| ())
    };
    match chunk {
        Chunk::Hole(length) => skip(out, length),
        Chunk::Data(bytes) => {
            for part in bytes.chunks(HOLE) {
                if part.len() == HOLE && part.iter().all(|b| *b == 0) {
                    skip(out, HOLE as u64)?;
                } else {
                    out.write_all(part)?;
                }
            }
            Ok(())
        }
    }
}

/// Length, permissions without set-id bits, and time of the last change.
fn finish(out: &mut File, entry: &Entry) -> io::Result<()> {
    let length = out.stream_position()?;
    out.set_len(length)?;
    out.set_permissions(Permissions::from_mode(
        u32::from(entry.mode & 0o777) | 0o600,
    ))?;
    if let Ok(seconds) = u64::try_from(entry.modified) {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        time.map_or(Ok(()), |time| out.set_modified(time))?;
    }
    Ok(())
}

/// Gives a file that is not whole a name that says so; a link first, as that never replaces a file.
fn set_aside(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    fs::hard_link(path, &name)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{debugfs, mke2fs, sample_folder, tool};
    use crate::image::Memory;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    fn browser(image: Vec<u8>) -> Browser {
        Browser::open(Arc::new(Memory::new("m", image))).unwrap()
    }

    /// A copy that differs from what mke2fs was given in one byte, one name or one link is no recovery.
    #[test]
    fn a_copy_is_the_folder_that_went_in() {
        let folder = sample_folder();
        for args in [["-t", "ext3", "-b", "1024"], ["-t", "ext4", "-b", "4096"]] {
            let Some(image) = mke2fs(&args, 16, Some(folder.path())) else {
                return;
            };
            let out = tempfile::tempdir().unwrap();
            let dest = out.path().join("copy");
            let report = copy_tree(&browser(image), b"/", &dest, Links::Make).unwrap();
            assert_eq!(report.problems, []);
            assert_eq!((report.links, report.files), (3, 345));
            fs::remove_dir(dest.join("lost+found")).unwrap();
            let pair = [folder.path().to_str().unwrap(), dest.to_str().unwrap()];
            let diff = tool("diff", &["-r", "--no-dereference", pair[0], pair[1]]).unwrap();
            assert!(diff.status.success(), "{diff:?}");
            let sparse = fs::metadata(dest.join("sparse")).unwrap();
            assert!(sparse.blocks() * 512 < 64 << 10, "{}", sparse.blocks());
            let (a, b) = (
                fs::metadata(folder.path().join("long")).unwrap(),
                fs::metadata(dest.join("long")).unwrap(),
            );
            assert_eq!((a.mtime(), a.mode()), (b.mtime(), b.mode()));
            // Once more over the first: nothing is overwritten, all is told.
            fs::write(dest.join("empty"), "mine").unwrap();
            let again = copy_tree(
                &browser(mke2fs(&args, 16, Some(folder.path())).unwrap()),
                b"/",
                &dest,
                Links::List,
            )
            .unwrap();
            assert_eq!(fs::read(dest.join("empty")).unwrap(), b"mine");
            // The folder that was there is not entered, so its link is not met.
            assert_eq!((again.files, again.skipped.len()), (0, 2));
        }
    }

    /// A name that comes twice, first as a link to a folder outside: the second must not be written through the first.
    #[test]
    fn nothing_is_written_outside() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("aaaa")).unwrap();
        fs::create_dir(folder.path().join("bbbb")).unwrap();
        fs::write(folder.path().join("bbbb/evil"), "evil").unwrap();
        let args = ["-t", "ext3", "-b", "1024"];
        let Some(mut image) = mke2fs(&args, 8, Some(folder.path())) else {
            return;
        };
        // The folder's name becomes that of the link, and another one becomes "..".
        let at = image.windows(4).position(|w| w == b"bbbb").unwrap();
        image[at..at + 4].copy_from_slice(b"aaaa");
        let out = tempfile::tempdir().unwrap();
        let report = copy_tree(&browser(image), b"/", out.path(), Links::Make).unwrap();
        assert_eq!(report.links + report.problems.len() as u64, 2, "{report:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", b"/etc"] {
            assert_eq!(place(Path::new("/x"), name), None);
        }
    }

    /// A file with a gap must not look whole, and the rest of the tree must come.
    #[test]
    fn a_gap_makes_a_partial_file() {
        let folder = sample_folder();
        let Some(image) = mke2fs(&["-t", "ext4", "-b", "4096"], 16, Some(folder.path())) else {
            return;
        };
        let block: u64 = debugfs(&image, "bmap /long 100")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let gap = Extent::new(Bytes(block * 4096 + 512), Bytes(1024));
        let source = Memory::new("m", image).with_unread(gap);
        let browser = Browser::open(Arc::new(source)).unwrap();
        let out = tempfile::tempdir().unwrap();
        let report = copy_tree(&browser, b"/", out.path(), Links::List).unwrap();
        assert_eq!((report.files, report.problems.len()), (344, 1));
        let place = Extent::new(Bytes(100 * 4096 + 512), Bytes(1024));
        assert_eq!(report.problems[0].gaps, [place]);
        let mut expected = fs::read(folder.path().join("long")).unwrap();
        expected[place.offset.0 as usize..place.end().0 as usize].fill(0);
        assert!(!out.path().join("long").exists());
        let partial = out.path().join(format!("long{PARTIAL}"));
        assert_eq!(fs::read(partial).unwrap(), expected);
    }
}
