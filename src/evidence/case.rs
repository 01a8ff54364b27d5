//! The case folder: written beside its place, put there whole, with a manifest of every file.
//!
//! All files are written into a folder `.disinter-…` next to the place that
//! was asked for; the manifest comes last, under its name only when all of it
//! is on the disk, and then the folder is renamed. A case that was cut short
//! never stands where a whole one would, and has no manifest.

use super::FileError;
use super::confine::{Confinement, Grants, Porter};
use super::ground::{Ground, ground, is_mount_point};
use super::newfile::parent_of;
use crate::image::Image;
use crate::parse::printable_path;
use crate::units::{Bytes, Extent};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// The place has no name that could be given, like `.` or `/`.
    #[error("{}: is no new name; name a new one, in that folder or beside it", .0.display())]
    NoName(PathBuf),
    /// A folder that nothing can take the place of.
    #[error("{folder}: something is mounted there, so no finished folder can take its place; name a new folder in it, like {folder}/case", folder = .0.display())]
    MountPoint(PathBuf),
    /// All is written, but could not get its name.
    #[error("{}: {cause}; what was written is whole and stays at {}: give it a name by hand", .target.display(), .work.display())]
    Unnamed {
        /// Where it was to stand.
        target: PathBuf,
        /// Where it stands.
        work: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
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
    /// What is printed would be written to a device that is examined.
    #[error("{printed} goes to {}, which is being examined, or to a file on it; send it elsewhere", .device.display())]
    PrintedOnEvidence {
        /// What is printed there: even this error should not be.
        printed: Printed,
        /// The device.
        device: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// What of a run is printed to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// Standard output: the answer.
    Output,
    /// Standard error: notes, progress, errors.
    Error,
    /// All of it.
    Both,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Printed::Output => "standard output",
            Printed::Error => "standard error",
            Printed::Both => "all that is printed",
        })
    }
}

/// An image in the manifest.
#[derive(Clone, Debug, Serialize)]
pub struct InputRow {
    /// What answers call it.
    pub name: String,
    /// Where it was opened.
    #[serde(serialize_with = "as_text")]
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
    #[serde(serialize_with = "as_text")]
    pub folder: PathBuf,
}

/// A path in a document. Not every path is UTF-8, and one that is not must not cost the document.
fn as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&printable_path(path))
}

/// The same of several.
pub(super) fn as_texts<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| printable_path(path)))
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
    /// What did not go as it should, and harms nothing of the case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
            notes: Vec::new(),
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
    /// `None` once the folder is to stay.
    work: Option<TempDir>,
    path: PathBuf,
    porter: Arc<Porter>,
    /// The folder that it will stand in, open: its sync makes its names last.
    parent_file: Option<File>,
    files: Vec<FileRow>,
}

impl Case {
    /// Begins a case that will stand at `folder`, after a look at what is there and where it lies.
    ///
    /// # Errors
    /// [`CaseError`] where something is there, or the folder lies on an examined device.
    pub fn begin(folder: &Path, images: &[&Image]) -> Result<Case, CaseError> {
        if folder.file_name().is_none() {
            return Err(CaseError::NoName(folder.to_owned()));
        }
        let parent = parent_of(folder);
        let taken = || CaseError::Taken(folder.to_owned());
        match folder.symlink_metadata() {
            Ok(meta) if !meta.is_dir() => return Err(taken()),
            Ok(_) if is_mount_point(folder, parent) => {
                return Err(CaseError::MountPoint(folder.to_owned()));
            }
            _ => {}
        }
        match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(taken()),
        }
        refuse_evidence(folder, parent, images)?;
        let work = work_folder(parent)?;
        let path = work.path().to_owned();
        let grants = Grants::none().write_below(&path).rename_folder_in(parent);
        let porter = Porter::start(grants).map_err(FileError::at(parent))?;
        Ok(Case {
            folder: folder.to_owned(),
            parent: parent.to_owned(),
            work: Some(work),
            path,
            porter: Arc::new(porter),
            parent_file: File::open(parent).ok(),
            files: Vec::new(),
        })
    }

    /// What the kernel must still allow: all below the folder.
    pub fn grants(&self) -> Grants {
        Grants::none()
            .write_below(&self.path)
            .besides_porter_in(&self.parent)
    }

    /// Where it will stand.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who puts it there.
    pub(super) fn porter(&self) -> Arc<Porter> {
        self.porter.clone()
    }

    /// Where it is until it is whole.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the case; its folders are made.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&mut self, path: &str, bytes: &[u8], executable: bool) -> Result<(), CaseError> {
        let target = self.path.join(path);
        let write = || -> io::Result<()> {
            make_folders(&self.path, Path::new(path))?;
            let mode = if executable { 0o777 } else { 0o666 };
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
    /// [`CaseError`]; nothing is left then, but of a case that only could not get its name.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<PathBuf, CaseError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let folders: BTreeSet<&Path> = self
            .files
            .iter()
            .flat_map(|file| Path::new(&file.path).ancestors().skip(1))
            .collect();
        for folder in folders {
            sync_folder(&self.path.join(folder));
        }
        manifest.files = std::mem::take(&mut self.files);
        manifest.ended = now();
        let text = serde_json::to_vec_pretty(&manifest);
        let mut text = text.map_err(|e| FileError::at(&self.folder.join(MANIFEST))(e.into()))?;
        text.push(b'\n');
        // A manifest that stands there is a whole one, even after a power cut between two writes.
        self.write(UNFINISHED, &text, false)?;
        let manifest = self.path.join(MANIFEST);
        fs::rename(self.path.join(UNFINISHED), manifest).map_err(FileError::at(&self.folder))?;
        sync_folder(&self.path);
        if let Some(work) = self.work.take() {
            put_folder(&self.porter, work, &self.folder, fs::rename)?;
        }
        if let Some(parent) = &self.parent_file {
            let _ = parent.sync_all();
        }
        Ok(self.folder.clone())
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = self.porter.ask(move || drop(work));
        }
    }
}

/// A folder for work in `parent`, as readable as the user's other files.
pub(super) fn work_folder(parent: &Path) -> Result<TempDir, FileError> {
    tempfile::Builder::new()
        .prefix(".disinter-")
        .permissions(fs::Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(FileError::at(parent))
}

/// Makes a folder's names last. Not every file system can do that.
pub(super) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Puts a finished folder in its place. It is whole by now: where that fails it stays.
pub(super) fn put_folder(
    porter: &Porter,
    work: TempDir,
    target: &Path,
    put: impl FnOnce(PathBuf, PathBuf) -> io::Result<()> + Send + 'static,
) -> Result<(), CaseError> {
    let (from, to) = (work.keep(), target.to_owned());
    let work = from.clone();
    let done = porter.ask(move || put(from, to)).and_then(|put| put);
    done.map_err(|cause| match work.exists() {
        true => CaseError::Unnamed {
            target: target.to_owned(),
            work,
            cause,
        },
        false => FileError::at(target)(cause).into(),
    })
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

/// Refuses to run where what is printed is written to one of the images, or to a file on one: a shell that was told
/// `> FILE` has opened it before anybody could look.
///
/// # Errors
/// [`CaseError::PrintedOnEvidence`].
pub fn refuse_streams(images: &[&Image]) -> Result<(), CaseError> {
    let (output, error) = (under_stream(1, images), under_stream(2, images));
    let (printed, image) = match (output, error) {
        (None, None) => return Ok(()),
        (Some(image), None) => (Printed::Output, image),
        (None, Some(image)) => (Printed::Error, image),
        (Some(image), Some(_)) => (Printed::Both, image),
    };
    let device = image.path().to_owned();
    Err(CaseError::PrintedOnEvidence { printed, device })
}

/// The image that this open file of ours is, or is a file on.
fn under_stream<'a>(number: u32, images: &[&'a Image]) -> Option<&'a Image> {
    let file = PathBuf::from(format!("/proc/self/fd/{number}"));
    let kind = fs::metadata(&file).ok()?.file_type();
    // Terminals and pipes are on no disk.
    let on_disk = kind.is_file() || kind.is_block_device();
    let on = |image: &&Image| on_disk && ground(&file, image) == Ground::On;
    images.iter().copied().find(on)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    pub(crate) fn manifest() -> Manifest {
        let confinement = Confinement {
            landlock: super::super::confine::Enforced::Not,
            writable: Vec::new(),
            named_in: Vec::new(),
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

    /// A manifest of nothing is found out years later, when the case is verified.
    #[test]
    fn paths_that_are_no_text_are_in_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"/caf\xe9"));
        let mut manifest = manifest();
        manifest.environment.folder = odd.clone();
        manifest.confinement.writable = vec![odd.clone()];
        manifest.confinement.named_in = vec![odd.clone()];
        manifest.inputs = vec![InputRow {
            name: "sda".to_owned(),
            path: odd,
            size: Bytes(1),
            sha256: None,
            unread: Vec::new(),
        }];
        let place = folder.path().join("case");
        Case::begin(&place, &[]).unwrap().finish(manifest).unwrap();
        assert!(super::super::verify::verify(&place).unwrap().is_sound());
        let text = fs::read_to_string(place.join("manifest.json")).unwrap();
        assert_eq!(text.matches(r"/caf\\xe9").count(), 4, "{text}");
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

    /// What cannot be put in its place at the end of a run is refused before it; what fills meanwhile costs no work.
    #[test]
    fn finished_work_is_not_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        for place in [".", "..", "/", "case/.."] {
            let begun = Case::begin(Path::new(place), &[]);
            assert!(matches!(begun, Err(CaseError::NoName(_))), "{place}");
        }
        for (place, to) in [("dangling", "nowhere"), ("link", ".")] {
            let place = folder.path().join(place);
            std::os::unix::fs::symlink(to, &place).unwrap();
            assert!(matches!(Case::begin(&place, &[]), Err(CaseError::Taken(_))));
        }
        let mounted = Case::begin(Path::new("/proc"), &[]);
        assert!(matches!(mounted, Err(CaseError::MountPoint(_))));
        let place = folder.path().join("case");
        let mut case = Case::begin(&place, &[]).unwrap();
        case.write("a", b"text", false).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(place.join("mine"), b"x").unwrap();
        let Err(CaseError::Unnamed { work, .. }) = case.finish(manifest()) else {
            panic!("it took the place of a folder with a file in it");
        };
        assert!(super::super::verify::verify(&work).unwrap().is_sound());
        assert_eq!(fs::read(place.join("mine")).unwrap(), b"x");
    }

    /// Whose files nobody else may read does not want a case that all can.
    #[test]
    fn modes_follow_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let like = folder.path().join("like");
        fs::create_dir(&like).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        let place = case.finish(manifest()).unwrap();
        assert_eq!(mode(&place), mode(&like));
        let filled = super::super::newfile::NewFolder::begin(&folder.path().join("new"), &[]);
        filled.unwrap().finish().unwrap();
        assert_eq!(mode(&folder.path().join("new")), mode(&like));
    }

    /// The folder that a case is put into holds other things: the input, or with `--case /case` all there is.
    #[test]
    fn what_lies_beside_a_case_is_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let (input, place) = (folder.path().join("input"), folder.path().join("case"));
        fs::write(&input, b"evidence").unwrap();
        let mut case = Case::begin(&place, &[]).unwrap();
        let run = move || {
            let confinement = case.grants().confine();
            if confinement.landlock == super::super::confine::Enforced::Not {
                eprintln!("SKIPPED: {}", confinement.why.unwrap_or_default());
                return;
            }
            assert_eq!(confinement.writable, [case.path()]);
            assert_eq!(confinement.named_in, [input.parent().unwrap()]);
            case.write("text", b"text", false).unwrap();
            for done in [
                fs::remove_file(&input),
                fs::rename(&input, input.with_extension("old")),
                fs::rename(case.path().join("text"), &input),
                fs::write(input.with_extension("new"), b"x"),
                fs::create_dir(input.with_extension("folder")),
                fs::rename(case.path(), case.folder()),
            ] {
                assert_eq!(done.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            }
            case.finish(manifest()).unwrap();
        };
        std::thread::spawn(run).join().unwrap();
        assert!(super::super::verify::verify(&place).unwrap().is_sound());
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "a case and the input");
    }
}
