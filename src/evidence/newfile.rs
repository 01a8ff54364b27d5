//! Output under a name of its own while it is written, under the one asked for when it is whole: one file, or one
//! folder without a manifest.
//!
//! A copy that was cut short and stands under the right name is taken for a
//! whole one. So nothing stands there until every byte has been written and
//! synced; what an interruption leaves is called `.disinter-…`.

use super::FileError;
use super::case::{CaseError, refuse_evidence};
use super::confine::Grants;
use crate::image::Image;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

/// A file being written.
#[derive(Debug)]
pub struct NewFile {
    target: PathBuf,
    parent: PathBuf,
    /// Open since the start: its sync makes the new name last.
    folder: Option<File>,
    file: NamedTempFile,
}

impl NewFile {
    /// Begins a file that will stand at `target`, where nothing may stand now.
    ///
    /// # Errors
    /// [`CaseError`] where something is there, its folder cannot be written to, or lies on one of `images`.
    pub fn begin(target: &Path, images: &[&Image]) -> Result<NewFile, CaseError> {
        if target.symlink_metadata().is_ok() {
            return Err(CaseError::Exists(target.to_owned()));
        }
        let parent = parent_of(target);
        refuse_evidence(target, parent, images)?;
        let file = tempfile::Builder::new()
            .prefix(".disinter-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(parent)
            .map_err(FileError::at(target))?;
        Ok(NewFile {
            target: target.to_owned(),
            parent: parent.to_owned(),
            folder: File::open(parent).ok(),
            file,
        })
    }

    /// What the kernel must still allow for [`NewFile::finish`].
    pub fn grants(&self) -> Grants {
        Grants::none().rename_file_in(&self.parent)
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CaseError> {
        let written = io::Write::write_all(self.file.as_file_mut(), bytes);
        Ok(written.map_err(FileError::at(&self.target))?)
    }

    /// Puts the file in its place, once all of it is on the disk.
    ///
    /// # Errors
    /// [`CaseError`]; nothing stands there then.
    pub fn finish(self) -> Result<(), CaseError> {
        let target = self.target;
        let synced = self.file.as_file().sync_all();
        synced.map_err(FileError::at(&target))?;
        match self.file.persist_noclobber(&target) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CaseError::Exists(target));
            }
            Err(error) => return Err(FileError::at(&target)(error.error).into()),
        }
        if let Some(folder) = self.folder {
            // Not every file system can sync a folder.
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// A folder being filled.
#[derive(Debug)]
pub struct NewFolder {
    target: PathBuf,
    parent: PathBuf,
    work: TempDir,
}

impl NewFolder {
    /// Begins a folder that will stand at `target`, where nothing may stand now.
    ///
    /// # Errors
    /// As [`NewFile::begin`].
    pub fn begin(target: &Path, images: &[&Image]) -> Result<NewFolder, CaseError> {
        if target.symlink_metadata().is_ok() {
            return Err(CaseError::Exists(target.to_owned()));
        }
        let parent = parent_of(target);
        refuse_evidence(target, parent, images)?;
        let work = tempfile::Builder::new()
            .prefix(".disinter-")
            .tempdir_in(parent)
            .map_err(FileError::at(target))?;
        Ok(NewFolder {
            target: target.to_owned(),
            parent: parent.to_owned(),
            work,
        })
    }

    /// Where it is until it is whole.
    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// What the kernel must still allow: all below it, and [`NewFolder::finish`].
    pub fn grants(&self) -> Grants {
        Grants::none()
            .write_below(self.work.path())
            .rename_folder_in(&self.parent)
    }

    /// Writes a file of it.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CaseError> {
        let write = || -> io::Result<()> {
            let mut file = File::create_new(self.work.path().join(name))?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        };
        Ok(write().map_err(FileError::at(&self.target.join(name)))?)
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// [`CaseError`]; nothing of it is left then.
    pub fn finish(self) -> Result<(), CaseError> {
        // Neither an older folder nor a link is in the way, or the name is not given.
        if self.target.symlink_metadata().is_ok() {
            return Err(CaseError::Exists(self.target));
        }
        let named = std::fs::rename(self.work.path(), &self.target);
        named.map_err(FileError::at(&self.target))?;
        // It has another name now: there is nothing to clear away.
        let _ = self.work.keep();
        Ok(())
    }
}

/// The folder that a path lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file that was cut short must not stand under its name, and one that is there must stay.
    #[test]
    fn nothing_stands_there_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let mut file = NewFile::begin(&target, &[]).unwrap();
        file.write(b"half").unwrap();
        assert!(!target.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut file = NewFile::begin(&target, &[]).unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert!(matches!(
            NewFile::begin(&target, &[]),
            Err(CaseError::Exists(_))
        ));
        // One that came up meanwhile is not overwritten either.
        let late = folder.path().join("late");
        let file = NewFile::begin(&late, &[]).unwrap();
        fs::write(&late, b"mine").unwrap();
        assert!(matches!(file.finish(), Err(CaseError::Exists(_))));
        assert_eq!(fs::read(&late).unwrap(), b"mine");
    }
}
