//! Output under a name of its own while it is written, under the one asked for when it is whole: one file, or one
//! folder without a manifest.
//!
//! A copy that was cut short and stands under the right name is taken for a
//! whole one. So nothing stands there until every byte has been written and
//! synced; what an interruption leaves is called `.disinter-…`.

use super::FileError;
use super::case::{CaseError, put_folder, refuse_evidence, sync_folder, work_folder};
use super::confine::{Grants, Porter};
use crate::image::Image;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir, TempPath};

/// A file being written.
#[derive(Debug)]
pub struct NewFile {
    target: PathBuf,
    parent: PathBuf,
    /// Open since the start: its sync makes the new name last.
    folder: Option<File>,
    file: File,
    /// `None` once the file is to stay.
    work: Option<TempPath>,
    porter: Porter,
}

impl NewFile {
    /// Begins a file that will stand at `target`, where nothing may stand now.
    ///
    /// # Errors
    /// [`CaseError`] where something is there, its folder cannot be written to, or lies on one of `images`.
    pub fn begin(target: &Path, images: &[&Image]) -> Result<NewFile, CaseError> {
        let parent = free_place(target)?;
        if target.as_os_str().as_bytes().ends_with(b"/") {
            return Err(CaseError::NoName(target.to_owned()));
        }
        refuse_evidence(target, parent, images)?;
        let (file, work) = tempfile::Builder::new()
            .prefix(".disinter-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(parent)
            .map(NamedTempFile::into_parts)
            .map_err(FileError::at(target))?;
        let grants = Grants::none().rename_file_in(parent);
        Ok(NewFile {
            target: target.to_owned(),
            parent: parent.to_owned(),
            folder: File::open(parent).ok(),
            file,
            work: Some(work),
            porter: Porter::start(grants).map_err(FileError::at(target))?,
        })
    }

    /// What the kernel must still allow: nothing, the file is open.
    pub fn grants(&self) -> Grants {
        Grants::none().besides_porter_in(&self.parent)
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CaseError> {
        let written = io::Write::write_all(&mut self.file, bytes);
        Ok(written.map_err(FileError::at(&self.target))?)
    }

    /// Puts the file in its place, once all of it is on the disk.
    ///
    /// # Errors
    /// [`CaseError`]; nothing stands there then. A file that only could not get its name stays where it is.
    pub fn finish(mut self) -> Result<(), CaseError> {
        self.file.sync_all().map_err(FileError::at(&self.target))?;
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let to = self.target.clone();
        let put = move || {
            let named = work.persist_noclobber(to);
            named.map_err(|error| (error.error, error.path.keep()))
        };
        match self.porter.ask(put).map_err(FileError::at(&self.target))? {
            Ok(()) => {}
            Err((cause, Ok(work))) if work.exists() => {
                return Err(CaseError::Unnamed {
                    target: self.target.clone(),
                    work,
                    cause,
                });
            }
            Err((cause, _)) => return Err(FileError::at(&self.target)(cause).into()),
        }
        if let Some(folder) = &self.folder {
            // Not every file system can sync a folder.
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = self.porter.ask(move || drop(work));
        }
    }
}

/// The folder that an output will stand in, where it has a name that is free.
fn free_place(target: &Path) -> Result<&Path, CaseError> {
    if target.file_name().is_none() {
        return Err(CaseError::NoName(target.to_owned()));
    }
    match target.symlink_metadata() {
        Ok(_) => Err(CaseError::Exists(target.to_owned())),
        Err(_) => Ok(parent_of(target)),
    }
}

/// A folder being filled.
#[derive(Debug)]
pub struct NewFolder {
    target: PathBuf,
    parent: PathBuf,
    /// Open since the start: its sync makes the new name last.
    folder: Option<File>,
    /// `None` once the folder is to stay.
    work: Option<TempDir>,
    path: PathBuf,
    porter: Porter,
}

impl NewFolder {
    /// Begins a folder that will stand at `target`, where nothing may stand now.
    ///
    /// # Errors
    /// As [`NewFile::begin`].
    pub fn begin(target: &Path, images: &[&Image]) -> Result<NewFolder, CaseError> {
        let parent = free_place(target)?;
        refuse_evidence(target, parent, images)?;
        let work = work_folder(parent)?;
        let path = work.path().to_owned();
        let grants = Grants::none().write_below(&path).rename_folder_in(parent);
        Ok(NewFolder {
            target: target.to_owned(),
            parent: parent.to_owned(),
            folder: File::open(parent).ok(),
            work: Some(work),
            path,
            porter: Porter::start(grants).map_err(FileError::at(target))?,
        })
    }

    /// Where it is until it is whole.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the kernel must still allow: all below it.
    pub fn grants(&self) -> Grants {
        Grants::none()
            .write_below(&self.path)
            .besides_porter_in(&self.parent)
    }

    /// Writes a file of it.
    ///
    /// # Errors
    /// [`CaseError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CaseError> {
        let write = || -> io::Result<()> {
            let mut file = File::create_new(self.path.join(name))?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        };
        Ok(write().map_err(FileError::at(&self.target.join(name)))?)
    }

    /// Leaves what was written where it is, under the name of unfinished work.
    pub fn keep(mut self) -> PathBuf {
        match self.work.take() {
            Some(work) => work.keep(),
            None => self.path.clone(),
        }
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// [`CaseError`]. The folder stays where it is then.
    pub fn finish(mut self) -> Result<(), CaseError> {
        sync_folder(&self.path);
        if let Some(work) = self.work.take() {
            put_folder(&self.porter, work, &self.target, |from, to| {
                // An empty folder would make way.
                match to.symlink_metadata() {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => std::fs::rename(from, to),
                }
            })?;
        }
        if let Some(folder) = &self.folder {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = self.porter.ask(move || drop(work));
        }
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
        let Err(CaseError::Unnamed { work, .. }) = file.finish() else {
            panic!("it took the place of another file");
        };
        assert_eq!(fs::read(&late).unwrap(), b"mine");
        assert_eq!(fs::read(&work).unwrap(), b"");
        let late = folder.path().join("later");
        let filled = NewFolder::begin(&late, &[]).unwrap();
        filled.write("a", b"text").unwrap();
        fs::create_dir(&late).unwrap();
        let Err(CaseError::Unnamed { work, .. }) = filled.finish() else {
            panic!("it took the place of another folder");
        };
        assert_eq!(fs::read(work.join("a")).unwrap(), b"text");
        let slash = folder.path().join("file/");
        assert!(matches!(
            NewFile::begin(&slash, &[]),
            Err(CaseError::NoName(_))
        ));
    }
}
