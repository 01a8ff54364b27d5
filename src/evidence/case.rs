//! The case folder: written beside its place, put there whole, with a manifest of every file.
//!
//! All files are written into a temporary folder next to the place that was
//! asked for, which is renamed at the end: a case that was cut short never
//! stands where a whole one would.

use crate::image::{Image, device_number};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thiserror::Error;

/// Why a case cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaseError {
    /// Something is there already.
    #[error("{}: exists and is not an empty folder; name a new one, nothing is ever overwritten", .0.display())]
    Taken(PathBuf),
    /// The folder would be written to a device that is examined.
    #[error("{}: lies on {}, which is being examined; choose a folder on another disk", .folder.display(), .device.display())]
    OnEvidence {
        /// The folder.
        folder: PathBuf,
        /// The device.
        device: PathBuf,
    },
    /// The system refused.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

/// An image in the manifest.
#[derive(Clone, Debug, Serialize)]
pub struct InputRow {
    /// What answers call it.
    pub name: String,
    /// Where it was opened.
    pub path: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// SHA-256 of all its bytes as read; unread ones as zeros.
    pub sha256: String,
    /// What could not be read.
    pub unread: Vec<Extent>,
}

/// A file in the manifest.
#[derive(Clone, Debug, Serialize)]
pub struct FileRow {
    /// Its path in the case.
    pub path: String,
    /// Its size.
    pub size: Bytes,
    /// Its SHA-256.
    pub sha256: String,
}

/// What the case is of, for its manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// The document's kind.
    pub schema: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// The command that was given.
    pub command: Vec<String>,
    /// When it began and ended, UTC.
    pub started: String,
    /// When the last file was written.
    pub ended: String,
    /// The images.
    pub inputs: Vec<InputRow>,
    /// The files.
    pub files: Vec<FileRow>,
}

/// A case folder under construction.
#[derive(Debug)]
pub struct Case {
    folder: PathBuf,
    work: TempDir,
    files: Vec<FileRow>,
}

impl Case {
    /// Begins a case that will stand at `folder`, after a look at what is there and where it lies.
    ///
    /// # Errors
    /// [`CaseError`] where something is there, or the folder lies on an examined device.
    pub fn begin(folder: &Path, images: &[&Image]) -> Result<Case, CaseError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |cause| CaseError::Io { path, cause }
        };
        match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(CaseError::Taken(folder.to_owned())),
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let device = fs::metadata(parent).map_err(fail(parent))?.dev();
        for image in images {
            let (kind, number) = image.identity();
            if kind == 0 && lies_on(device, number) {
                return Err(CaseError::OnEvidence {
                    folder: folder.to_owned(),
                    device: image.path().to_owned(),
                });
            }
        }
        let work = tempfile::Builder::new()
            .prefix(".disinter-")
            .tempdir_in(parent)
            .map_err(fail(parent))?;
        Ok(Case {
            folder: folder.to_owned(),
            work,
            files: Vec::new(),
        })
    }

    /// Writes a file of the case; its folders are made.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&mut self, path: &str, bytes: &[u8], executable: bool) -> Result<(), CaseError> {
        let target = self.work.path().join(path);
        let write = || -> io::Result<()> {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let mode = if executable { 0o755 } else { 0o644 };
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&target)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|cause| CaseError::Io {
            path: self.folder.join(path),
            cause,
        })?;
        self.files.push(FileRow {
            path: path.to_owned(),
            size: Bytes(bytes.len() as u64),
            sha256: hex::encode(Sha256::digest(bytes)),
        });
        Ok(())
    }

    /// Writes the manifest, last of all, and puts the case in its place.
    ///
    /// # Errors
    /// [`CaseError`]; nothing is left then.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<PathBuf, CaseError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.files = std::mem::take(&mut self.files);
        manifest.ended = now();
        let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        text.push(b'\n');
        self.write("manifest.json", &text, false)?;
        let fail = |cause| CaseError::Io {
            path: self.folder.clone(),
            cause,
        };
        // The temporary folder is private; the case is as readable as the user's other files.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.work.path(), mode).map_err(fail)?;
        let work = self.work.keep();
        fs::rename(&work, &self.folder).map_err(|error| {
            // The error that matters is the one that is returned.
            let _ = fs::remove_dir_all(&work);
            fail(error)
        })?;
        if let Ok(folder) = File::open(&self.folder) {
            // Not every file system can sync a folder.
            let _ = folder.sync_all();
        }
        Ok(self.folder)
    }
}

/// The time, for people.
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

/// Whether the file system on device `device` has anything to do with block device `examined`: it is it, a partition
/// of it, or built on it.
fn lies_on(device: u64, examined: u64) -> bool {
    let mut seen = BTreeSet::new();
    let mut ask = vec![device];
    while let Some(device) = ask.pop() {
        if device == examined {
            return true;
        }
        if !seen.insert(device) {
            continue;
        }
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let Ok(entry) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else {
            continue;
        };
        let slaves = fs::read_dir(entry.join("slaves"))
            .into_iter()
            .flatten()
            .flatten();
        let below = slaves.map(|slave| slave.path().join("dev"));
        let disk = entry.parent().map(|p| p.join("dev"));
        ask.extend(below.chain(disk).filter_map(|file| device_number(&file)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            schema: "disinter/case/1",
            version: "0",
            command: Vec::new(),
            started: now(),
            ended: String::new(),
            inputs: Vec::new(),
            files: Vec::new(),
        }
    }

    /// A case that was cut short and stands in its place is taken for a whole one.
    #[test]
    fn nothing_stands_there_until_all_does() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("case");
        let mut case = Case::begin(&place, &[]).unwrap();
        case.write("a/b.txt", b"text", false).unwrap();
        drop(case);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut case = Case::begin(&place, &[]).unwrap();
        case.write("a/b.txt", b"text", false).unwrap();
        assert!(!place.exists());
        case.finish(manifest()).unwrap();
        let text = fs::read_to_string(place.join("manifest.json")).unwrap();
        assert!(text.contains(&hex::encode(Sha256::digest(b"text"))));
    }

    /// An earlier case is evidence too.
    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("case");
        fs::create_dir(&place).unwrap();
        Case::begin(&place, &[])
            .unwrap()
            .finish(manifest())
            .unwrap();
        assert!(matches!(Case::begin(&place, &[]), Err(CaseError::Taken(_))));
        let file = folder.path().join("file");
        fs::write(&file, b"x").unwrap();
        assert!(matches!(Case::begin(&file, &[]), Err(CaseError::Taken(_))));
        let mut case = Case::begin(&folder.path().join("new"), &[]).unwrap();
        case.write("x", b"1", false).unwrap();
        assert!(case.write("x", b"2", false).is_err());
    }
}
