//! Whether a case, or a backup, is as it was written: every file against the manifest.

use super::FileError;
use super::case::{FileRow, MANIFEST};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// A manifest lists some hundred files.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// No file of a case or backup is larger.
const LARGEST_FILE: u64 = 256 << 20;

/// Why a case cannot be checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no manifest.
    #[error("{}: has no manifest.json: it is no case, or one that was cut short; run the command again", .0.display())]
    NoManifest(PathBuf),
    /// The manifest is none.
    #[error("{}: is not a case's manifest: {why}", .path.display())]
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
    let text = match read_limited(&path, LARGEST_MANIFEST) {
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
        match hash(&folder.join(&file.path)) {
            Ok((size, sha256)) if size == file.size && sha256 == file.sha256 => verified.same += 1,
            Ok(_) => verified.changed.push(shown),
            Err(error) if error.kind() == io::ErrorKind::NotFound => verified.missing.push(shown),
            Err(error) => verified.unreadable.push(format!("{shown}: {error}")),
        }
        listed.insert(file.path);
    }
    verified.unlisted = unlisted(folder, &listed);
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
    Ok(read_limited(&path, LARGEST_FILE).map_err(FileError::at(&path))?)
}

/// Whether a path of a manifest stays in its folder.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn read_limited(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Only files: a pipe in place of one would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

fn hash(path: &Path) -> io::Result<(Bytes, String)> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let (mut buf, mut size) = (vec![0; 1 << 20], 0);
    loop {
        let n = file.read(&mut buf)?;
        if n == 0 {
            return Ok((Bytes(size), hex::encode(hash.finalize())));
        }
        hash.update(buf.get(..n).unwrap_or_default());
        size += n as u64;
    }
}

/// Files of a case that its manifest does not list, safe to print.
fn unlisted(folder: &Path, listed: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(folder).unwrap_or(&path);
            if !inside.to_str().is_some_and(|p| listed.contains(p)) {
                found.push(crate::parse::printable(
                    inside.as_os_str().as_encoded_bytes(),
                ));
            }
        }
    }
    found.sort();
    found
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
}
