//! Reading ext2, ext3 and ext4 through any volume, nothing mounted, over the crate ext4-view.
//!
//! Two things stand between the crate and a damaged volume. Our own superblock
//! check, because the crate allocates by the block count it finds. And the
//! splice: where the front is lost, a copy of superblock and descriptors from
//! a later group is shown in its place, and a note says so.

use super::ext::{self, AT, SIZE, Superblock};
use super::holes::Holes;
use crate::image::{SharedSource, Source, len_of, read_exact, read_vec};
use crate::parse::{Checksum, ParseError};
use crate::units::{Bytes, Extent};
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use thiserror::Error;

/// Descriptor tables up to this size are kept in memory for a splice.
const LARGEST_TABLE: usize = 64 << 20;

/// Why a file or folder could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// No ext file system, nor a copy of its superblock where one must lie.
    #[error("{0}: no ext2, ext3 or ext4 file system here, nor a copy of its superblock")]
    NoFileSystem(String),
    /// The superblock claims more than the volume can hold.
    #[error("{name}: the file system says it is {claims} long, the volume has {has}")]
    TooLong {
        /// The volume.
        name: String,
        /// What the superblock says.
        claims: Bytes,
        /// What there is.
        has: Bytes,
    },
    /// Bytes that it needs could not be read.
    #[error("{path}: cannot be read at bytes {extent} of the volume")]
    Unread {
        /// What was asked for.
        path: String,
        /// Where, in the volume.
        extent: Extent,
    },
    /// The crate refused: broken, or of a kind that it does not know.
    #[error("{path}: {cause}")]
    Ext {
        /// What was asked for.
        path: String,
        /// What it said.
        cause: Ext4Error,
    },
    /// What was read could not be written to where it was to go.
    #[error("{path}: {cause}")]
    Write {
        /// What was asked for.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name's bytes.
    pub name: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of a file.
    pub size: Bytes,
    /// Permissions, and the kind as the file system keeps it.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content, in seconds since 1970.
    pub modified: u64,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

/// An ext file system, open for reading.
pub struct Browser {
    ext: Ext4,
    view: View,
    superblock: Superblock,
    notes: Vec<String>,
}

/// A volume as the crate is shown it.
#[derive(Clone)]
struct View {
    source: SharedSource,
    /// Another front, where the volume's own is lost.
    front: Option<Arc<[Patch]>>,
    /// Holes that the crate does not know.
    holes: Option<Arc<Holes>>,
}

impl Browser {
    /// Opens the file system that fills `source`.
    ///
    /// # Errors
    /// [`BrowseError`] where there is none, or none that can be read.
    pub fn open(source: SharedSource) -> Result<Browser, BrowseError> {
        let name = source.name().to_owned();
        let mut notes = Vec::new();
        let mut refusal = None;
        if let Ok(superblock) = Superblock::read(&*source, AT) {
            let view = View::new(&source, None, &superblock);
            match view.load(&superblock) {
                Ok(ext) => {
                    note_journal(&superblock, &mut notes);
                    return Ok(Browser {
                        ext,
                        view,
                        superblock,
                        notes,
                    });
                }
                Err(error) => refusal = Some(error),
            }
        }
        for copy in copies(&*source) {
            let at = copy.copy_at(copy.group);
            let Ok(front) = splice(&*source, &copy) else {
                continue;
            };
            let view = View::new(&source, Some(front), &copy);
            if let Ok(ext) = view.load(&copy) {
                notes.push(format!(
                    "the front is lost or damaged; read through the copy in group {} at byte {}",
                    copy.group, at.0
                ));
                note_journal(&copy, &mut notes);
                return Ok(Browser {
                    ext,
                    view,
                    superblock: copy,
                    notes,
                });
            }
        }
        Err(refusal.unwrap_or(BrowseError::NoFileSystem(name)))
    }

    /// The superblock that it is read by.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What a person should know of how it is read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// [`BrowseError`] where the folder cannot be read whole.
    pub fn list(&self, path: &[u8]) -> Result<Vec<Entry>, BrowseError> {
        let fail = |error| error_of(path, error);
        let path_of = ext4_view::Path::try_from(path).map_err(|e| odd_path(path, e))?;
        let mut entries = Vec::new();
        for entry in self.ext.read_dir(path_of).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().as_ref().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            let metadata = entry.metadata().map_err(fail)?;
            let kind = match metadata.file_type() {
                t if t.is_dir() => Kind::Folder,
                t if t.is_regular_file() => Kind::File,
                t if t.is_symlink() => Kind::Link,
                _ => Kind::Special,
            };
            let target = match kind {
                Kind::Link => {
                    let target = self.ext.read_link(&entry.path()).map_err(fail)?;
                    Some(target.as_ref().to_vec())
                }
                _ => None,
            };
            entries.push(Entry {
                name,
                kind,
                size: Bytes(metadata.len()),
                mode: metadata.mode(),
                uid: metadata.uid(),
                gid: metadata.gid(),
                modified: u64::try_from(metadata.modified().seconds()).unwrap_or(0),
                target,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Whether a path is a folder.
    ///
    /// # Errors
    /// [`BrowseError`] where there is no such path.
    pub fn is_folder(&self, path: &[u8]) -> Result<bool, BrowseError> {
        let path_of = ext4_view::Path::try_from(path).map_err(|e| odd_path(path, e))?;
        let metadata = self.ext.metadata(path_of).map_err(|e| error_of(path, e))?;
        Ok(metadata.is_dir())
    }

    /// Writes a file's bytes to `out`, a piece at a time, and says how many.
    ///
    /// # Errors
    /// [`BrowseError`] at the first bytes that cannot be read; what came before them was written.
    pub fn read(&self, path: &[u8], out: &mut dyn Write) -> Result<Bytes, BrowseError> {
        let mut done = Bytes::ZERO;
        // With how many lists of blocks were known when it was loaded: what it read ahead before a list was known to
        // be one is stale, and a fresh start goes on where this ended.
        let mut fresh: Option<(Ext4, usize)> = None;
        loop {
            let (ext, known) = fresh
                .as_ref()
                .map_or((&self.ext, 0), |(ext, known)| (ext, *known));
            match copy_out(ext, path, out, &mut done) {
                Err(BrowseError::Ext { .. }) if self.view.known() > known => {
                    let known = self.view.known();
                    fresh = Some((self.view.load(&self.superblock)?, known));
                }
                result => return result.map(|()| done),
            }
        }
    }
}

/// Copies a file from byte `done` on, and keeps count.
fn copy_out(
    ext: &Ext4,
    path: &[u8],
    out: &mut dyn Write,
    done: &mut Bytes,
) -> Result<(), BrowseError> {
    let fail = |error| error_of(path, error);
    let path_of = ext4_view::Path::try_from(path).map_err(|e| odd_path(path, e))?;
    let mut file = ext.open(path_of).map_err(fail)?;
    file.seek_to(done.0).map_err(fail)?;
    let mut buf = vec![0; 256 << 10];
    loop {
        let n = file.read_bytes(&mut buf).map_err(fail)?;
        let Some(piece) = buf.get(..n).filter(|piece| !piece.is_empty()) else {
            return Ok(());
        };
        out.write_all(piece).map_err(|cause| BrowseError::Write {
            path: crate::parse::printable(path),
            cause,
        })?;
        *done = *done + len_of(piece);
    }
}

fn note_journal(superblock: &Superblock, notes: &mut Vec<String>) {
    if superblock.needs_recovery {
        notes.push(
            "it was not unmounted: its journal is applied in memory while reading".to_owned(),
        );
    }
}

fn odd_path(path: &[u8], error: impl Error + Send + Sync + 'static) -> BrowseError {
    BrowseError::Write {
        path: crate::parse::printable(path),
        cause: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
    }
}

/// Our own reader's error comes back out of the crate's; it says where.
fn error_of(path: &[u8], error: Ext4Error) -> BrowseError {
    let path = crate::parse::printable(path);
    let gap = error.as_io().and_then(|io| {
        let mut cause: Option<&(dyn Error + 'static)> = Some(io);
        while let Some(error) = cause {
            if let Some(ParseError::Unreadable(extent)) = error.downcast_ref() {
                return Some(*extent);
            }
            cause = error.source();
        }
        None
    });
    match gap {
        Some(extent) => BrowseError::Unread { path, extent },
        None => BrowseError::Ext { path, cause: error },
    }
}

/// Bytes shown in place of the volume's own.
struct Patch {
    at: Bytes,
    bytes: Vec<u8>,
}

/// A gap is an error, never zeros.
impl Ext4Read for View {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        let at = Bytes(start_byte);
        let want = Extent::new(at, Bytes(dst.len() as u64));
        let result = read_exact(&*self.source, at, dst);
        let mut patched = Bytes::ZERO;
        for patch in self.front.iter().flat_map(|f| f.iter()) {
            let have = Extent::new(patch.at, Bytes(patch.bytes.len() as u64));
            let Some(part) = have.overlap(want) else {
                continue;
            };
            let from = (part.offset - patch.at).to_len(patch.bytes.len());
            let to = (part.offset - at).to_len(dst.len());
            let length = part.length.to_len(dst.len());
            if let (Some(from), Some(to)) = (
                patch.bytes.get(from..from + length),
                dst.get_mut(to..to + length),
            ) {
                to.copy_from_slice(from);
                patched = patched + part.length;
            }
        }
        // A gap is of no matter where the patches cover all that was asked for.
        match result {
            Err(error) if patched < want.length => return Err(Box::new(error)),
            _ => {}
        }
        if let Some(holes) = &self.holes {
            holes.show(at, dst);
        }
        Ok(())
    }
}

impl View {
    fn new(source: &SharedSource, front: Option<Arc<[Patch]>>, superblock: &Superblock) -> View {
        View {
            source: source.clone(),
            front,
            holes: Holes::new(&**source, superblock).map(Arc::new),
        }
    }

    fn known(&self) -> usize {
        self.holes.as_ref().map_or(0, |holes| holes.known())
    }

    /// Hands the file system to the crate, after a look at what it would allocate.
    fn load(&self, superblock: &Superblock) -> Result<Ext4, BrowseError> {
        let source = &self.source;
        if superblock.length() > source.len() || superblock.blocks_per_group < 256 {
            return Err(BrowseError::TooLong {
                name: source.name().to_owned(),
                claims: superblock.length(),
                has: source.len(),
            });
        }
        Ext4::load(Box::new(self.clone()))
            .map_err(|error| error_of(source.name().as_bytes(), error))
    }
}

/// Copies of the superblock where mke2fs puts those of groups 1, 3 and 5, for each block size.
fn copies(source: &dyn Source) -> impl Iterator<Item = Superblock> + '_ {
    const PLACES: [(u64, u64); 3] = [(1024, 1), (2048, 0), (4096, 0)];
    let places = PLACES.into_iter().flat_map(|(block, first)| {
        [1, 3, 5].map(|group| Bytes((group * block * 8 + first) * block))
    });
    places.filter_map(|at| {
        let copy = Superblock::read(source, at).ok()?;
        (copy.group > 0 && copy.fs_start(at) == Some(Bytes::ZERO)).then_some(copy)
    })
}

/// The front as it must have been: the copy with its group's number set to 0, and its descriptors.
fn splice(source: &dyn Source, copy: &Superblock) -> Result<Arc<[Patch]>, ParseError> {
    const GROUP_AT: usize = 0x5a;
    let extent = Extent::new(copy.copy_at(copy.group), Bytes(SIZE as u64));
    let mut superblock = read_vec(source, extent, SIZE)?;
    if let Some(group) = superblock.get_mut(GROUP_AT..GROUP_AT + 2) {
        group.fill(0);
    }
    if copy.checksum != Checksum::None {
        ext::seal(&mut superblock);
    }
    let table = read_vec(source, copy.descriptors(copy.group), LARGEST_TABLE)?;
    Ok(Arc::new([
        Patch {
            at: AT,
            bytes: superblock,
        },
        Patch {
            at: copy.descriptors(0).offset,
            bytes: table,
        },
    ]))
}
