//! The case folder: written beside its place, put there whole, with a manifest of every file.
//!
//! All files are written into a folder `.disinter-…` next to the place that
//! was asked for; the manifest comes last, under its name only when all of it
//! is on the disk, and then the folder is renamed. A case that was cut short
//! never stands where a whole one would, and has no manifest.

use super::FileError;
use super::confine::{Confinement, Grants};
use super::ground::{Ground, ground};
use super::newfile::parent_of;
use crate::image::Image;
use crate::units::{Bytes, Extent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thiserror::Error;

/// The manifest's name, and the one that it is written under.
pub(super) const MANIFEST: &str = "manifest.json";
const UNFINISHED: &str = "manifest.json.unfinished";

/// Why a case cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaseError {
    /// Something is there already.
    #[error("{}: exists and is not an empty folder; name a new one, nothing is ever overwritten", .0.display())]
    Taken(PathBuf),
    /// Something is where a file is to stand.
    #[error("{}: exists; name a new file, nothing is ever overwritten", .0.display())]
    Exists(PathBuf),
    /// Nobody says which disk the folder is on.
    #[error("{}: it cannot be told whether that lies on {}, which is being examined: {why}; choose a folder on another disk, or in memory (/dev/shm)", .folder.display(), .device.display())]
    Untold {
        /// The folder.
        folder: PathBuf,
        /// The image.
        device: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The folder would be written to a device that is examined.
    #[error("{}: lies on {}, which is being examined; choose a folder on another disk", .folder.display(), .device.display())]
    OnEvidence {
        /// The folder.
        folder: PathBuf,
        /// The device.
        device: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
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
    /// SHA-256 of all its bytes as read, unread ones as zeros; none where not all of it was read.
    pub sha256: Option<String>,
    /// What could not be read.
    pub unread: Vec<Extent>,
}

/// A file in the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileRow {
    /// Its path in the case.
    pub path: String,
    /// Its size.
    pub size: Bytes,
    /// Its SHA-256.
    pub sha256: String,
}

/// The machine and the user, as far as a reader of the case must know them.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The kernel and its release.
    pub kernel: String,
    /// The machine's architecture.
    pub machine: String,
    /// The host's name.
    pub host: String,
    /// The user's number; 0 is root.
    pub uid: u32,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
}

impl Environment {
    fn here() -> Environment {
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| crate::parse::printable(s.to_bytes());
        Environment {
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            machine: text(uname.machine()),
            host: text(uname.nodename()),
            uid: rustix::process::getuid().as_raw(),
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }
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
    /// Where it ran.
    pub environment: Environment,
    /// How far the kernel kept the program from writing elsewhere.
    pub confinement: Confinement,
    /// When it began and ended, UTC.
    pub started: String,
    /// When the last file was written.
    pub ended: String,
    /// The images.
    pub inputs: Vec<InputRow>,
    /// Bytes of the images that could not be read; 0 where nothing is missing.
    pub unread_bytes: Bytes,
    /// The files.
    pub files: Vec<FileRow>,
}

impl Manifest {
    /// The manifest of what was done with these images since `started`; the files are added at the end.
    pub fn new(started: String, inputs: Vec<InputRow>, confinement: Confinement) -> Manifest {
        let unread = inputs.iter().flat_map(|i| &i.unread).map(|e| e.length);
        Manifest {
            schema: "disinter/case/1",
            version: env!("CARGO_PKG_VERSION"),
            command: std::env::args_os()
                .map(|a| crate::parse::printable(a.as_encoded_bytes()))
                .collect(),
            environment: Environment::here(),
            confinement,
            started,
            ended: String::new(),
            unread_bytes: unread.fold(Bytes::ZERO, |a, b| a + b),
            inputs,
            files: Vec::new(),
        }
    }
}

/// A case folder under construction.
#[derive(Debug)]
pub struct Case {
    folder: PathBuf,
    parent: PathBuf,
    work: TempDir,
    /// The folder itself, open: its sync makes its names last.
    parent_file: Option<File>,
    files: Vec<FileRow>,
}

impl Case {
    /// Begins a case that will stand at `folder`, after a look at what is there and where it lies.
    ///
    /// # Errors
    /// [`CaseError`] where something is there, or the folder lies on an examined device.
    pub fn begin(folder: &Path, images: &[&Image]) -> Result<Case, CaseError> {
        match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(CaseError::Taken(folder.to_owned())),
        }
        let parent = parent_of(folder);
        refuse_evidence(folder, parent, images)?;
        let work = tempfile::Builder::new()
            .prefix(".disinter-")
            .tempdir_in(parent)
            .map_err(FileError::at(parent))?;
        Ok(Case {
            folder: folder.to_owned(),
            parent: parent.to_owned(),
            work,
            parent_file: File::open(parent).ok(),
            files: Vec::new(),
        })
    }

    /// What the kernel must still allow: all below the folder, and that it gets its name.
    pub fn grants(&self) -> Grants {
        Grants::none()
            .write_below(self.work.path())
            .rename_folder_in(&self.parent)
            .move_file_to(&self.parent)
    }

    /// Where it is until it is whole.
    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// Writes a file of the case; its folders are made.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&mut self, path: &str, bytes: &[u8], executable: bool) -> Result<(), CaseError> {
        let target = self.work.path().join(path);
        let write = || -> io::Result<()> {
            make_folders(self.work.path(), Path::new(path))?;
            let mode = if executable { 0o755 } else { 0o644 };
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&target)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(FileError::at(&self.folder.join(path)))?;
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
        // A manifest that stands there is a whole one, even after a power cut between two writes.
        self.write(UNFINISHED, &text, false)?;
        let fail = FileError::at(&self.folder);
        let manifest = self.work.path().join(MANIFEST);
        fs::rename(self.work.path().join(UNFINISHED), manifest).map_err(&fail)?;
        if let Ok(folder) = File::open(self.work.path()) {
            // Not every file system can sync a folder.
            let _ = folder.sync_all();
        }
        // The temporary folder is private; the case is as readable as the user's other files.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.work.path(), mode).map_err(&fail)?;
        let work = self.work.keep();
        fs::rename(&work, &self.folder).map_err(|error| {
            // The error that matters is the one that is returned.
            let _ = fs::remove_dir_all(&work);
            fail(error)
        })?;
        if let Some(parent) = self.parent_file {
            let _ = parent.sync_all();
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

/// Makes the folders of a path below `base`, which must be there: a disk that was taken away is not made again as a
/// folder of that name.
fn make_folders(base: &Path, path: &Path) -> io::Result<()> {
    let mut folder = base.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses an output that would be written to one of the images, or to a file system that lies on one.
pub(super) fn refuse_evidence(
    output: &Path,
    parent: &Path,
    images: &[&Image],
) -> Result<(), CaseError> {
    fs::metadata(parent).map_err(FileError::at(parent))?;
    for image in images {
        let (folder, device) = (output.to_owned(), image.path().to_owned());
        match ground(parent, image) {
            Ground::Apart => {}
            Ground::On => return Err(CaseError::OnEvidence { folder, device }),
            Ground::Untold(why) => {
                return Err(CaseError::Untold {
                    folder,
                    device,
                    why,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn manifest() -> Manifest {
        let confinement = Confinement {
            landlock: super::super::confine::Enforced::Not,
            writable: Vec::new(),
            why: None,
        };
        Manifest::new(now(), Vec::new(), confinement)
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
