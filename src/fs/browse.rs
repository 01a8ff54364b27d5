//! Reading folders and files of ext2, ext3 and ext4 without mounting.
//!
//! Names, folders and metadata come from the crate ext4-view, which is never
//! shown the volume itself but a view made for it ([`Browser::open`]):
//!
//! - a superblock that was checked here first, as a false block count would
//!   make the crate allocate until the process dies;
//! - copies of superblock and descriptors in the place of lost ones;
//! - the journal replayed, as the crate refuses ext3's journals;
//! - a gap is an error that says where, never zeros.
//!
//! File content is read here, through [`super::ext_inode`]'s block map: the
//! crate reads 32 KiB at a time and would lose up to 31 KiB before each
//! unreadable sector. A gap in a file is handed on with its place in the file.
//!
//! A symbolic link leads inside the volume only, as chroot would have it.

pub use super::entry::{BrowseError, Entry, EntryKind, FileRead, Listing};

use super::ext::Superblock;
use super::ext_find;
use super::ext_folder::Names;
use super::ext_group::Descriptor;
use super::ext_inode::{Inode, Kind, ROOT, Run};
use super::view::{Reader, error_of, replayed, spliced};
use crate::image::SharedSource;
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent, merge};
use ext4_view::{Ext4, Metadata};
use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

/// Links followed in one path, as Linux has it.
const LINKS_MOST: u32 = 40;
/// Bytes of a path or a link's target, as Linux has it.
const PATH_MOST: usize = 4095;
/// Entries of one folder that are kept.
const ENTRIES_MOST: usize = 1 << 21;
/// Bytes of a file read at a time.
const BUFFER: usize = 1 << 20;

/// A piece of a file, in order.
pub(super) enum Chunk<'a> {
    /// Content.
    Data(&'a [u8]),
    /// So many zeros that are stored nowhere.
    Hole(u64),
}

/// An ext file system, open for reading.
///
/// It belongs to one thread, as ext4-view's handle does; open one for each.
pub struct Browser {
    fs: Ext4,
    /// What both readers read: base, journal, copies.
    view: SharedSource,
    superblock: Superblock,
    notes: Vec<String>,
    /// The folder whose names were asked for last: its files are mostly wanted one after the other.
    last_folder: RefCell<Option<(Vec<u8>, Rc<Names>)>>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser")
            .field("superblock", &self.superblock)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl Browser {
    /// Opens the file system that begins at `source`'s start.
    ///
    /// # Errors
    /// [`BrowseError::NoFileSystem`] where no superblock can be believed,
    /// [`BrowseError::Unsupported`], [`BrowseError::Damaged`] and
    /// [`BrowseError::Unreadable`] where ext4-view cannot go on from it.
    pub fn open(source: SharedSource) -> Result<Browser, BrowseError> {
        let mut found = ext_find::find(&*source).map_err(|error| match error {
            ParseError::Unreadable(extent) => BrowseError::Unreadable(extent),
            other => BrowseError::NoFileSystem(other),
        })?;
        let mut notes = std::mem::take(&mut found.notes);
        let base = replayed(source, &mut found, &mut notes);
        let view: SharedSource = Arc::new(spliced(base, &found));
        let fs = Ext4::load(Box::new(Reader(view.clone()))).map_err(|e| error_of(&e, b"/"))?;
        Ok(Browser {
            fs,
            view,
            superblock: found.superblock,
            notes,
            last_folder: RefCell::new(None),
        })
    }

    /// What a person should know of this view: what was lost and replaced, whether a journal was replayed.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The superblock that is believed.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What lies at `path`; a link at its end is followed.
    ///
    /// # Errors
    /// [`BrowseError`], as for all that follow.
    pub fn metadata(&self, path: &[u8]) -> Result<Entry, BrowseError> {
        let (real, _) = self.resolve(path, true)?;
        let meta = self.fs.symlink_metadata(real.as_slice());
        let meta = meta.map_err(|e| error_of(&e, path))?;
        let name = real.rsplit(|b| *b == b'/').next().unwrap_or_default();
        Ok(self.entry(name, &meta, &real))
    }

    /// The entries of the folder at `path`, sorted by name.
    ///
    /// # Errors
    /// Where the folder is not there or nothing of it can be read; what goes
    /// wrong later is told in the listing.
    pub fn list(&self, path: &[u8]) -> Result<Listing, BrowseError> {
        let (real, kind) = self.resolve(path, true)?;
        if kind != EntryKind::Folder {
            return Err(BrowseError::NotAFolder(path.to_vec()));
        }
        let folder = self.fs.read_dir(real.as_slice());
        let mut listing = Listing {
            entries: Vec::new(),
            problem: None,
        };
        for item in folder.map_err(|e| error_of(&e, path))? {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    listing.problem = Some(error_of(&error, path));
                    break;
                }
            };
            let name = item.file_name();
            let name: &[u8] = name.as_ref();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if listing.entries.len() >= ENTRIES_MOST {
                listing.problem = Some(BrowseError::TooMany(ENTRIES_MOST));
                break;
            }
            let entry = match item.metadata() {
                Ok(meta) => self.entry(name, &meta, &join(&real, name)),
                Err(error) => Entry {
                    name: name.to_vec(),
                    kind: item.file_type().map_or(EntryKind::File, EntryKind::from),
                    size: Bytes::ZERO,
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    inode: self.number(&join(&real, name)),
                    modified: 0,
                    target: None,
                    problem: Some(error_of(&error, name).to_string()),
                },
            };
            listing.entries.push(entry);
        }
        listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Calls `visit` with the path and entry of all below `path`, folders before what is in them, each folder sorted.
    ///
    /// Links are not followed. Returns what could not be listed, with its
    /// path. A damaged file system whose folders hold each other ends, as
    /// it cannot have more folders than inodes.
    ///
    /// # Errors
    /// Where `path` itself cannot be listed.
    pub fn walk(
        &self,
        path: &[u8],
        visit: &mut dyn FnMut(&[u8], &Entry),
    ) -> Result<Vec<(Vec<u8>, BrowseError)>, BrowseError> {
        let (top, _) = self.resolve(path, true)?;
        let mut problems = Vec::new();
        let mut budget = self.superblock.inodes;
        let mut stack = vec![top.clone()];
        while let Some(folder) = stack.pop() {
            let Some(rest) = budget.checked_sub(1) else {
                let what = "its folders hold each other".to_owned();
                problems.push((folder, BrowseError::Damaged(what)));
                break;
            };
            budget = rest;
            let listing = match self.list(&folder) {
                Ok(listing) => listing,
                Err(error) if folder == top => return Err(error),
                Err(error) => {
                    problems.push((folder, error));
                    continue;
                }
            };
            for entry in &listing.entries {
                visit(&join(&folder, &entry.name), entry);
            }
            let folders = listing.entries.iter().rev();
            stack.extend(
                folders
                    .filter(|e| e.kind == EntryKind::Folder)
                    .map(|e| join(&folder, &e.name)),
            );
            problems.extend(listing.problem.map(|problem| (folder, problem)));
        }
        Ok(problems)
    }

    /// Writes the content of the file at `path` to `out`; what cannot be read is written as zeros and told.
    ///
    /// # Errors
    /// Where it is no file, its block map cannot be followed to its end (what
    /// was written before is right), or `out` fails.
    pub fn read(&self, path: &[u8], out: &mut dyn Write) -> Result<FileRead, BrowseError> {
        let zeros = vec![0; BUFFER];
        self.stream(&self.real_path(path)?, &mut |chunk| match chunk {
            Chunk::Data(bytes) => out.write_all(bytes),
            Chunk::Hole(mut length) => {
                while length > 0 {
                    let part = zeros
                        .get(..Bytes(length).to_len(BUFFER))
                        .unwrap_or_default();
                    out.write_all(part)?;
                    length -= part.len() as u64;
                }
                Ok(())
            }
        })
    }

    /// `path` without links, `.` and `..`.
    ///
    /// # Errors
    /// Where it leads nowhere.
    pub fn real_path(&self, path: &[u8]) -> Result<Vec<u8>, BrowseError> {
        self.resolve(path, true).map(|(real, _)| real)
    }

    /// Hands on the content of the file at `real`, a path without links, piece by piece.
    pub(super) fn stream(
        &self,
        real: &[u8],
        give: &mut dyn FnMut(Chunk<'_>) -> io::Result<()>,
    ) -> Result<FileRead, BrowseError> {
        let inode = self.inode(real)?;
        if inode.kind() != Kind::File {
            return Err(BrowseError::NotAFile(real.to_vec()));
        }
        if inode.is_encrypted() {
            return Err(BrowseError::Unsupported("the file is encrypted".to_owned()));
        }
        let mut read = FileRead::default();
        // No block belongs to one file twice: more content than the volume has is a map that goes in circles.
        let mut budget = self.superblock.length().0;
        let size = u64::from(self.superblock.block_size);
        let mut buffer =
            vec![0; BUFFER.min(Bytes(inode.size).to_len(BUFFER).next_multiple_of(65_536))];
        while read.bytes.0 < inode.size {
            let left = inode.size - read.bytes.0;
            let logical = u32::try_from(read.bytes.0 / size)
                .map_err(|_| BrowseError::Damaged("the file has too many blocks".to_owned()))?;
            let run = self.superblock.run(&*self.view, &inode, logical)?;
            let mut length = u64::from(run.blocks).saturating_mul(size).min(left);
            match run.block {
                None => give(Chunk::Hole(length))?,
                Some(block) => {
                    length = length.min(buffer.len() as u64);
                    let part = buffer
                        .get_mut(..Bytes(length).to_len(BUFFER))
                        .unwrap_or_default();
                    let from = self.superblock.block(block);
                    for gap in self.view.read_at(from, part).extents() {
                        let place = read.bytes + (gap.offset - from);
                        read.gaps.push(Extent::new(place, gap.length));
                    }
                    budget = budget.checked_sub(length).ok_or_else(|| {
                        BrowseError::Damaged("the file has more content than its volume".to_owned())
                    })?;
                    give(Chunk::Data(part))?;
                }
            }
            read.bytes = read.bytes + Bytes(length);
        }
        read.gaps = merge(read.gaps);
        Ok(read)
    }

    /// The inode behind a path without links.
    fn inode(&self, real: &[u8]) -> Result<Inode, BrowseError> {
        let missing = || BrowseError::NotFound(real.to_vec());
        let cut = real.iter().rposition(|b| *b == b'/').ok_or_else(missing)?;
        let (folder, name) = real.split_at(cut);
        let number = match name.get(1..).unwrap_or_default() {
            b"" => ROOT,
            name => self.names(folder)?.find(name)?.ok_or_else(missing)?,
        };
        Ok(self.read_inode(number)?)
    }

    /// Where block `logical` of a file lies.
    pub(super) fn run(&self, inode: &Inode, logical: u32) -> Parsed<Run> {
        self.superblock.run(&*self.view, inode, logical)
    }

    /// A group's descriptor; the view has the best ones in the primary place.
    pub(super) fn descriptor(&self, group: u64) -> Parsed<Descriptor> {
        self.superblock.descriptor(&*self.view, group, 0)
    }

    pub(super) fn read_inode(&self, number: u32) -> Parsed<Inode> {
        let sb = &self.superblock;
        let group = self.descriptor(sb.inode_group(number))?;
        sb.inode(&*self.view, &group, number)
    }

    /// The names in the folder at `folder`, a path without links, with or without a slash at its end.
    fn names(&self, folder: &[u8]) -> Result<Rc<Names>, BrowseError> {
        let folder = folder.strip_suffix(b"/").unwrap_or(folder);
        if let Some((last, names)) = &*self.last_folder.borrow()
            && last == folder
        {
            return Ok(names.clone());
        }
        let mut inode = self.read_inode(ROOT)?;
        for name in folder.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let names = self.superblock.names(&*self.view, &inode);
            let number = names.find(name)?;
            inode =
                self.read_inode(number.ok_or_else(|| BrowseError::NotFound(folder.to_vec()))?)?;
        }
        let names = Rc::new(self.superblock.names(&*self.view, &inode));
        *self.last_folder.borrow_mut() = Some((folder.to_vec(), names.clone()));
        Ok(names)
    }

    /// The inode's number, where our own reading of the folder has it.
    fn number(&self, real: &[u8]) -> Option<u32> {
        let cut = real.iter().rposition(|b| *b == b'/')?;
        let (folder, name) = real.split_at(cut);
        match name.get(1..).unwrap_or_default() {
            b"" => Some(ROOT),
            name => self.names(folder).ok()?.find(name).ok()?,
        }
    }

    fn entry(&self, name: &[u8], meta: &Metadata, real: &[u8]) -> Entry {
        let mut problem = None;
        let target = meta
            .is_symlink()
            .then(|| self.target(real, meta))
            .and_then(|target| {
                target
                    .map_err(|error| problem = Some(error.to_string()))
                    .ok()
            });
        Entry {
            name: name.to_vec(),
            kind: meta.file_type().into(),
            size: Bytes(meta.len()),
            mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
            inode: self.number(real),
            modified: meta.modified().seconds(),
            target,
            problem,
        }
    }

    /// Where the link at `real` leads. Its length is looked at first: ext4-view allocates what the inode says.
    fn target(&self, real: &[u8], meta: &Metadata) -> Result<Vec<u8>, BrowseError> {
        if meta.len() > PATH_MOST as u64 {
            return Err(BrowseError::Damaged(format!(
                "a link of {} bytes",
                meta.len()
            )));
        }
        let target = self.fs.read_link(real).map_err(|e| error_of(&e, real))?;
        Ok(AsRef::<[u8]>::as_ref(&target).to_vec())
    }

    /// `path` without links, `.` and `..`, and what lies there. Links are followed here and not by ext4-view, which
    /// would allocate whatever length a link on the way claims.
    fn resolve(&self, path: &[u8], follow_last: bool) -> Result<(Vec<u8>, EntryKind), BrowseError> {
        let bad = || BrowseError::BadPath(path.to_vec());
        if path.len() > PATH_MOST || path.contains(&0) {
            return Err(bad());
        }
        let split = |path: &[u8]| -> Vec<Vec<u8>> {
            let names = path.split(|b| *b == b'/').rev();
            names
                .filter(|n| !n.is_empty() && *n != b".")
                .map(<[u8]>::to_vec)
                .collect()
        };
        let mut todo = split(path);
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut kind = EntryKind::Folder;
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if kind != EntryKind::Folder {
                return Err(BrowseError::NotAFolder(path.to_vec()));
            }
            if name == b".." {
                done.pop();
                continue;
            }
            done.push(name);
            let here = absolute(&done);
            if here.len() > PATH_MOST {
                return Err(bad());
            }
            let meta = self.fs.symlink_metadata(here.as_slice());
            let meta = meta.map_err(|e| error_of(&e, path))?;
            kind = meta.file_type().into();
            if kind != EntryKind::Link || (todo.is_empty() && !follow_last) {
                continue;
            }
            links += 1;
            if links > LINKS_MOST {
                return Err(bad());
            }
            let target = self.target(&here, &meta)?;
            done.pop();
            if target.first() == Some(&b'/') {
                done.clear();
            }
            todo.extend(split(&target));
            kind = EntryKind::Folder;
        }
        Ok((absolute(&done), kind))
    }
}

/// `/` and the names between slashes.
fn absolute(names: &[Vec<u8>]) -> Vec<u8> {
    [b"/".to_vec(), names.join(&b'/')].concat()
}

/// The path of `name` in `folder`.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    [folder, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{debugfs, mke2fs, sample_folder};
    use crate::fs::view::tests::{open, same_files};
    use crate::image::Memory;

    fn content(browser: &Browser, path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let read = browser.read(path.as_bytes(), &mut out).unwrap();
        assert_eq!(read.bytes.0, out.len() as u64);
        assert_eq!(read.gaps, []);
        out
    }

    /// Names, sizes, owners and links as debugfs lists them; a name lost here is a file that nobody looks for.
    #[test]
    fn lists_as_debugfs_does() {
        let folder = sample_folder();
        for args in [["-t", "ext2", "-b", "1024"], ["-t", "ext4", "-b", "4096"]] {
            let Some(image) = mke2fs(&args, 16, Some(folder.path())) else {
                return;
            };
            let theirs = debugfs(&image, "ls -p /wide").unwrap();
            let browser = open(image).unwrap();
            let listing = browser.list(b"//wide/./folder-1/..").unwrap();
            assert!(listing.problem.is_none());
            // /inode/mode/uid/gid/name/size/
            let mut theirs: Vec<(String, u16, u32, u64, u32)> = theirs
                .lines()
                .map(|l| l.split('/').collect::<Vec<_>>())
                .filter(|l| l.len() > 6 && !matches!(l[5], "." | ".."))
                .map(|l| {
                    let mode = u16::from_str_radix(l[2], 8).unwrap() & 0o7777;
                    (
                        l[5].to_owned(),
                        mode,
                        l[3].parse().unwrap(),
                        l[6].parse().unwrap_or(0),
                        l[1].parse().unwrap(),
                    )
                })
                .collect();
            theirs.sort();
            let ours: Vec<(String, u16, u32, u64, u32)> = (listing.entries.iter())
                .map(|e| {
                    let size = if e.kind == EntryKind::Folder {
                        0
                    } else {
                        e.size.0
                    };
                    (e.display_name(), e.mode, e.uid, size, e.inode.unwrap())
                })
                .collect();
            assert_eq!(ours.len(), 341);
            assert_eq!(ours, theirs);
            let link = listing
                .entries
                .iter()
                .find(|e| e.kind == EntryKind::Link)
                .unwrap();
            assert_eq!(
                link.target.as_deref(),
                Some(&b"../etc/lvm/backup/guests"[..])
            );
            same_files(&browser, folder.path());
            assert_eq!(browser.notes(), Vec::<String>::new());
        }
    }

    /// Links lead inside the volume as chroot has it; one that leads to itself must end.
    #[test]
    fn links_are_followed_inside() {
        let folder = sample_folder();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        std::os::unix::fs::symlink("../../../../empty", folder.path().join("up")).unwrap();
        let Some(image) = mke2fs(&["-t", "ext4"], 16, Some(folder.path())) else {
            return;
        };
        let browser = open(image).unwrap();
        let guests = std::fs::read(folder.path().join("etc/lvm/backup/guests")).unwrap();
        assert_eq!(content(&browser, "/wide/short-link"), guests);
        assert_eq!(content(&browser, "/absolute-link/backup/guests"), guests);
        assert_eq!(content(&browser, "/up"), b"");
        assert_eq!(
            browser.metadata(b"/absolute-link").unwrap().kind,
            EntryKind::Folder
        );
        assert!(matches!(
            browser.metadata(b"/loop"),
            Err(BrowseError::BadPath(_))
        ));
        assert!(matches!(
            browser.list(b"/none"),
            Err(BrowseError::NotFound(_))
        ));
        assert!(matches!(
            browser.list(b"/empty"),
            Err(BrowseError::NotAFolder(_))
        ));
        assert!(matches!(
            browser.list(b"/empty/x"),
            Err(BrowseError::NotAFolder(_))
        ));
        let read = browser.read(b"/etc", &mut Vec::new());
        assert!(matches!(read, Err(BrowseError::NotAFile(_))));
    }

    /// A gap taken for zeros is a wrong file; one taken for the end of everything loses the others.
    #[test]
    fn gaps_are_told_where_they_lie() {
        let folder = sample_folder();
        let Some(image) = mke2fs(&["-t", "ext4", "-b", "4096"], 16, Some(folder.path())) else {
            return;
        };
        let bmap =
            |request: &str| -> u64 { debugfs(&image, request).unwrap().trim().parse().unwrap() };
        let in_file = Extent::new(Bytes(bmap("bmap /long 7") * 4096), Bytes(512));
        let in_folder = Extent::new(Bytes(bmap("bmap /wide 0") * 4096), Bytes(512));
        let source = Memory::new("m", image.clone())
            .with_unread(in_file)
            .with_unread(in_folder);
        let browser = Browser::open(Arc::new(source)).unwrap();
        let mut out = Vec::new();
        let read = browser.read(b"/long", &mut out).unwrap();
        assert_eq!(read.gaps, [Extent::new(Bytes(7 * 4096), Bytes(512))]);
        assert_eq!(out.len(), 1_600_000);
        let listing = browser.list(b"/wide").unwrap();
        assert!(matches!(listing.problem, Some(BrowseError::Unreadable(gap)) if gap == in_folder));
        assert!(browser.list(b"/etc/lvm").unwrap().problem.is_none());
    }
}
