//! Whether a case, or a backup, is as it was written: every file against the manifest.

use super::FileError;
use super::case::{FileRow, MANIFEST};
use crate::file::{open_file, read_small};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// A manifest lists some hundred files.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// No file of a case or backup is larger.
const LARGEST_FILE: u64 = 256 << 20;

/// Why a case, or a backup, cannot be checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no manifest.
    #[error("{}: has no manifest.json: it is no case or backup, or one that was cut short; run the command again", .0.display())]
    NoManifest(PathBuf),
    /// The manifest is none.
    #[error("{}: is not the manifest of a case or backup: {why}", .path.display())]
    NotAManifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// How a case's files compare with its manifest. Paths are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Files that are as they were written.
    pub same: usize,
    /// Files whose bytes are others.
    pub changed: Vec<String>,
    /// Files that are not there.
    pub missing: Vec<String>,
    /// Files that the manifest does not know.
    pub unlisted: Vec<String>,
    /// Files that cannot be read.
    pub unreadable: Vec<String>,
}

impl Verified {
    /// Whether every file that was written is there as it was. Files that came later do no harm.
    pub fn is_sound(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty() && self.unreadable.is_empty()
    }
}

/// Compares a case's files with its manifest.
///
/// # Errors
/// [`VerifyError`] where there is no manifest, or one that names files outside of the case.
pub fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    #[derive(Deserialize)]
    struct Files {
        files: Vec<FileRow>,
    }
    let path = folder.join(MANIFEST);
    let not = |why: String| VerifyError::NotAManifest {
        path: path.clone(),
        why,
    };
    let text = match read_small(&path, LARGEST_MANIFEST) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(VerifyError::NoManifest(folder.to_owned()));
        }
        Err(cause) => return Err(FileError { path, cause }.into()),
    };
    let files: Files = serde_json::from_slice(&text).map_err(|e| not(e.to_string()))?;
    let mut listed = BTreeSet::from([MANIFEST.to_owned()]);
    let mut verified = Verified::default();
    for file in files.files {
        if !is_inside(&file.path) {
            let shown = crate::parse::printable(file.path.as_bytes());
            return Err(not(format!("it names {shown:?}, which is not in the case")));
        }
        let shown = crate::parse::printable(file.path.as_bytes());
        match is_same(folder, &file) {
            Ok(true) => verified.same += 1,
            Ok(false) => verified.changed.push(shown),
            Err(error) if error.kind() == io::ErrorKind::NotFound => verified.missing.push(shown),
            Err(error) => verified.unreadable.push(format!("{shown}: {error}")),
        }
        listed.insert(file.path);
    }
    add_unlisted(&mut verified, folder, &listed);
    Ok(verified)
}

/// Reads a file of a case that its manifest has been compared with.
///
/// # Errors
/// [`VerifyError`] where `file` would lie outside, or cannot be read.
pub fn read_file(folder: &Path, file: &str) -> Result<Vec<u8>, VerifyError> {
    let path = folder.join(file);
    if !is_inside(file) {
        let why = "it is not in the case".to_owned();
        return Err(VerifyError::NotAManifest { path, why });
    }
    Ok(read_small(&path, LARGEST_FILE).map_err(FileError::at(&path))?)
}

/// Whether a path of a manifest stays in its folder.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a file is as its row says.
fn is_same(folder: &Path, row: &FileRow) -> io::Result<bool> {
    // A link in place of a folder leads to other files, today to the same ones and tomorrow to others.
    let mut path = folder.to_owned();
    for part in Path::new(&row.path).components() {
        if fs::symlink_metadata(&path)?.is_symlink() && path != folder {
            return Err(io::Error::other("a link stands in place of its folder"));
        }
        path.push(part);
    }
    let meta = fs::symlink_metadata(&path)?;
    if !meta.is_file() {
        return Err(io::Error::other("is no file"));
    }
    if Bytes(meta.len()) != row.size {
        return Ok(false);
    }
    if meta.len() > LARGEST_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (mut file, mut hash) = (open_file(&path)?.take(LARGEST_FILE), Sha256::new());
    let mut buf = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buf)?;
        if n == 0 {
            return Ok(hex::encode(hash.finalize()) == row.sha256);
        }
        hash.update(buf.get(..n).unwrap_or_default());
    }
}

/// Adds the files that the manifest does not list, and the folders in which they cannot be looked for.
fn add_unlisted(verified: &mut Verified, folder: &Path, listed: &BTreeSet<String>) {
    let mut folders = vec![folder.to_owned()];
    let inside =
        |path: &Path| crate::parse::printable_path(path.strip_prefix(folder).unwrap_or(path));
    while let Some(here) = folders.pop() {
        let entries = fs::read_dir(&here).and_then(|entries| entries.collect::<io::Result<_>>());
        let entries: Vec<fs::DirEntry> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                verified
                    .unreadable
                    .push(format!("{}: {error}", inside(&here)));
                continue;
            }
        };
        for entry in entries {
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
            if !name.is_some_and(|p| listed.contains(p)) {
                verified.unlisted.push(inside(&path));
            }
        }
    }
    verified.unlisted.sort();
}

#[cfg(test)]
mod tests {
    use super::super::case::{Case, tests::manifest};
    use super::*;

    /// A check that overlooks a change, a loss or an addition makes the manifest an ornament; a hostile one must not
    /// lead it out of the case.
    #[test]
    fn a_case_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("case");
        let mut case = Case::begin(&place, &[]).unwrap();
        for name in ["a.txt", "b/c.txt", "d.txt"] {
            case.write(name, name.as_bytes(), false).unwrap();
        }
        assert!(matches!(
            verify(case.path()),
            Err(VerifyError::NoManifest(_))
        ));
        case.finish(manifest()).unwrap();
        let whole = verify(&place).unwrap();
        assert_eq!((whole.same, whole.is_sound()), (3, true));
        assert_eq!(whole.unlisted, Vec::<String>::new());
        fs::write(place.join("a.txt"), "A.txt").unwrap();
        fs::remove_file(place.join("d.txt")).unwrap();
        fs::write(place.join("b/new\x1b"), "").unwrap();
        let found = verify(&place).unwrap();
        assert!(!found.is_sound());
        assert_eq!(
            (found.same, &found.changed[..]),
            (1, &["a.txt".to_owned()][..])
        );
        assert_eq!(found.missing, ["d.txt"]);
        assert_eq!(found.unlisted, ["b/new\\u{1b}"]);
        for path in ["../x", "/etc/passwd", "b/../../x", ""] {
            let row = format!(r#"{{"files": [{{"path": "{path}", "size": 1, "sha256": ""}}]}}"#);
            fs::write(place.join(MANIFEST), row).unwrap();
            assert!(matches!(
                verify(&place),
                Err(VerifyError::NotAManifest { .. })
            ));
        }
    }

    /// A case that is "whole" only because a link leads to its files elsewhere, or because nobody could look.
    #[test]
    fn what_was_replaced_or_hidden_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("case");
        let mut case = Case::begin(&place, &[]).unwrap();
        case.write("b/c.txt", b"text", false).unwrap();
        case.finish(manifest()).unwrap();
        fs::rename(place.join("b"), folder.path().join("b")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("b"), place.join("b")).unwrap();
        let found = verify(&place).unwrap();
        assert!(!found.is_sound() && found.same == 0, "{found:?}");
        fs::remove_file(place.join("b")).unwrap();
        fs::rename(folder.path().join("b"), place.join("b")).unwrap();
        assert!(verify(&place).unwrap().is_sound());
        // A file of exabytes that a manifest lists is not read to its end.
        let file = fs::File::create(place.join("long")).unwrap();
        file.set_len(LARGEST_FILE + 1).unwrap();
        let (rows, size) = (r#"{"files": [{"path": "long", "size": "#, LARGEST_FILE + 1);
        fs::write(
            place.join(MANIFEST),
            format!(r#"{rows}{size}, "sha256": ""}}]}}"#),
        )
        .unwrap();
        let found = verify(&place).unwrap();
        assert_eq!(found.unreadable.len(), 1, "{found:?}");
    }

    /// Files may have come into a folder that nobody can look into.
    #[test]
    fn a_folder_that_cannot_be_read_is_said() {
        let mut verified = Verified::default();
        add_unlisted(
            &mut verified,
            Path::new("/nowhere/at/all"),
            &BTreeSet::new(),
        );
        assert_eq!(verified.unreadable.len(), 1);
    }
}
