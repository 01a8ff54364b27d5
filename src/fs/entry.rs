//! What reading a file system gives: entries of folders, what was read of a
//! file, and why not.

use crate::parse::{ParseError, printable};
use crate::units::{Bytes, Extent};
use ext4_view::FileType;
use serde::{Serialize, Serializer};
use std::io;
use thiserror::Error;

/// Why something could not be had from a file system.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// There is no ext file system, or nothing of it that can be believed.
    #[error("no readable ext file system: {0}")]
    NoFileSystem(ParseError),
    /// The bytes it lies in could not be read; from the start of the file system.
    #[error("cannot be read: byte {} (+{}) of the file system", .0.offset.0, .0.length.0)]
    Unreadable(Extent),
    /// No such path.
    #[error("{}: not found", printable(.0))]
    NotFound(Vec<u8>),
    /// A folder was expected.
    #[error("{}: is not a folder", printable(.0))]
    NotAFolder(Vec<u8>),
    /// A file was expected.
    #[error("{}: is not a file", printable(.0))]
    NotAFile(Vec<u8>),
    /// Too long, with a zero byte, or through too many links.
    #[error("{}: is not a path that can be followed", printable(.0))]
    BadPath(Vec<u8>),
    /// Sound, but beyond this program.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Something in it cannot be so.
    #[error("damaged: {0}")]
    Damaged(String),
    /// More than this program keeps at once.
    #[error("more than {0} entries")]
    TooMany(usize),
    /// What was read could not be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl From<ParseError> for BrowseError {
    fn from(error: ParseError) -> BrowseError {
        match error {
            ParseError::Unreadable(extent) => BrowseError::Unreadable(extent),
            ParseError::Unsupported(what) => BrowseError::Unsupported(what),
            other => BrowseError::Damaged(other.to_string()),
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
}

impl EntryKind {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryKind::File => "file",
            EntryKind::Folder => "folder",
            EntryKind::Link => "link",
            EntryKind::BlockDevice => "block",
            EntryKind::CharacterDevice => "char",
            EntryKind::Pipe => "pipe",
            EntryKind::Socket => "socket",
        }
    }
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> EntryKind {
        match kind {
            FileType::Regular => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => EntryKind::Link,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::CharacterDevice => EntryKind::CharacterDevice,
            FileType::Fifo => EntryKind::Pipe,
            FileType::Socket => EntryKind::Socket,
        }
    }
}

/// A name in a folder and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name: any bytes but `/` and zero. Show it with [`Entry::display_name`] only.
    #[serde(serialize_with = "shown")]
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content.
    pub size: Bytes,
    /// Permissions: the low twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of its inode.
    pub inode: Option<u32>,
    /// Written last, seconds since 1970.
    pub modified: i64,
    /// Where a link leads.
    #[serde(serialize_with = "shown_option")]
    pub target: Option<Vec<u8>>,
    /// Why all but name and kind are unknown, if so.
    pub problem: Option<String>,
}

impl Entry {
    /// Its name, safe to show.
    pub fn display_name(&self) -> String {
        printable(&self.name)
    }
}

fn shown<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&printable(bytes))
}

fn shown_option<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => to.serialize_some(&printable(bytes)),
        None => to.serialize_none(),
    }
}

/// A folder's entries, as far as it can be read.
#[derive(Debug)]
pub struct Listing {
    /// Sorted by name, without `.` and `..`.
    pub entries: Vec<Entry>,
    /// What ended the reading before the folder's end: entries are missing.
    pub problem: Option<BrowseError>,
}

/// What was read of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileRead {
    /// Bytes given, holes and gaps with them: the file's size.
    pub bytes: Bytes,
    /// Extents of the file that could not be read and were given as zeros.
    pub gaps: Vec<Extent>,
}
