//! What is kept of an investigation: the case folder with its manifest, leading sectors, backups; and how the kernel
//! keeps the program from writing anything else.

pub mod backup;
pub mod case;
pub mod confine;
mod ground;
pub mod leading;
pub mod newfile;
pub mod places;
pub mod resume;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};

/// The system refused a file or folder of the output.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", .path.display())]
pub struct FileError {
    /// Where.
    pub path: PathBuf,
    /// What it said.
    pub cause: io::Error,
}

impl FileError {
    /// What makes an error of what the system said of `path`.
    pub fn at(path: &Path) -> impl Fn(io::Error) -> FileError + use<> {
        let path = path.to_owned();
        move |cause| FileError {
            path: path.clone(),
            cause,
        }
    }
}
