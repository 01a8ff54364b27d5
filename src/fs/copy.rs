//! Copying files and folders out of a file system, into a folder of the host and nowhere else.

use super::browse::{BrowseError, Browser, Kind};
use crate::parse::printable;
use crate::units::Bytes;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders deeper than this are a loop.
const DEEPEST: usize = 256;

/// What was copied, and what was not.
#[derive(Debug, Default)]
pub struct Copied {
    /// Files written whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was left out, in words.
    pub skipped: Vec<String>,
    /// What could not be read. No file stands where one of these would.
    pub errors: Vec<BrowseError>,
}

/// Copies a file, or a folder with all in it, to `to`, which must not exist.
///
/// Symbolic links are not made: a link of the image could point anywhere on
/// the host. They are listed as skipped with their target, as are devices.
///
/// # Errors
/// What happens to single files is collected; an error is returned where `from` itself cannot be had.
pub fn copy(browser: &Browser, from: &[u8], to: &Path) -> Result<Copied, BrowseError> {
    let mut copied = Copied::default();
    if !browser.is_folder(from)? {
        file(browser, from, to, &mut copied);
        return match copied.errors.pop() {
            Some(error) => Err(error),
            None => Ok(copied),
        };
    }
    let mut folders: Vec<(Vec<u8>, PathBuf, usize)> = vec![(from.to_vec(), to.to_owned(), 0)];
    while let Some((path, target, depth)) = folders.pop() {
        if let Err(cause) = fs::create_dir(&target) {
            copied.errors.push(BrowseError::Write {
                path: target.display().to_string(),
                cause,
            });
            continue;
        }
        let entries = match browser.list(&path) {
            Ok(entries) => entries,
            Err(error) => {
                copied.errors.push(error);
                continue;
            }
        };
        for entry in entries {
            let shown = printable(&join(&path, &entry.name));
            if !is_name(&entry.name) {
                copied.skipped.push(format!("{shown}: not a name"));
                continue;
            }
            let target = target.join(OsStr::from_bytes(&entry.name));
            match entry.kind {
                Kind::Folder if depth < DEEPEST => {
                    folders.push((join(&path, &entry.name), target, depth + 1));
                }
                Kind::Folder => copied.skipped.push(format!("{shown}: too deep")),
                Kind::File => file(browser, &join(&path, &entry.name), &target, &mut copied),
                Kind::Link => {
                    let link = printable(entry.target.as_deref().unwrap_or_default());
                    copied
                        .skipped
                        .push(format!("{shown}: symbolic link to {link}"));
                }
                Kind::Special => copied
                    .skipped
                    .push(format!("{shown}: device, pipe or socket")),
            }
        }
    }
    Ok(copied)
}

/// A name that stays in its folder.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|b| matches!(b, b'/' | 0))
}

/// `folder/name`.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Copies one file. One that could not be read whole is taken away again: nothing may look whole that is not.
fn file(browser: &Browser, from: &[u8], to: &Path, copied: &mut Copied) {
    let result = File::create_new(to)
        .map_err(|cause| BrowseError::Write {
            path: to.display().to_string(),
            cause,
        })
        .and_then(|mut out| {
            browser.read(from, &mut out).inspect_err(|_| {
                // The error that matters is the one that is returned.
                let _ = fs::remove_file(to);
            })
        });
    match result {
        Ok(Bytes(n)) => {
            copied.files += 1;
            copied.bytes += n;
        }
        Err(error) => copied.errors.push(error),
    }
}
