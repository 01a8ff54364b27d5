//! The view of a volume that is given to ext4-view: the journal replayed, the
//! believed superblock and descriptors in the primary place, gaps as errors.

use super::entry::BrowseError;
use super::ext::Superblock;
use super::ext_features::{crc32c, feature};
use super::ext_find::Found;
use super::ext_journal::{self, Replayed};
use crate::image::{Memory, Piece, Pieces, SharedSource};
use crate::units::{Bytes, Extent};
use ext4_view::{Ext4Error, Ext4Read};
use std::sync::Arc;
use thiserror::Error;

/// A gap on its way through ext4-view's error.
#[derive(Debug, Error)]
#[error("cannot be read")]
struct Gap(Extent);

/// A source for ext4-view: all of a read, or the gap.
pub(super) struct Reader(pub(super) SharedSource);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        match self.0.read_at(Bytes(start_byte), dst).extents().first() {
            None => Ok(()),
            Some(gap) => Err(Box::new(Gap(*gap))),
        }
    }
}

/// ext4-view's error as ours; `path` is what was asked for.
pub(super) fn error_of(error: &Ext4Error, path: &[u8]) -> BrowseError {
    let path = || path.to_vec();
    match error {
        Ext4Error::Io(inner) => match inner.downcast_ref::<Gap>() {
            Some(Gap(extent)) => BrowseError::Unreadable(*extent),
            None => BrowseError::Damaged(error.to_string()),
        },
        Ext4Error::NotFound => BrowseError::NotFound(path()),
        Ext4Error::NotADirectory => BrowseError::NotAFolder(path()),
        Ext4Error::IsADirectory | Ext4Error::IsASpecialFile => BrowseError::NotAFile(path()),
        Ext4Error::NotAbsolute
        | Ext4Error::MalformedPath
        | Ext4Error::PathTooLong
        | Ext4Error::TooManySymlinks => BrowseError::BadPath(path()),
        Ext4Error::Incompatible(_) | Ext4Error::Encrypted => {
            BrowseError::Unsupported(error.to_string())
        }
        _ => BrowseError::Damaged(error.to_string()),
    }
}

/// The volume with its journal in place, where it has work in it.
pub(super) fn replayed(
    source: SharedSource,
    found: &mut Found,
    notes: &mut Vec<String>,
) -> SharedSource {
    let replay = match ext_journal::read(&*source, &found.superblock, found.copy) {
        Ok(Some(replay)) => replay,
        Ok(None) => {
            if found.superblock.needs_recovery() {
                notes.push(
                    "its journal is on another device, and is not replayed: files are shown as they lie, their last changes \
                     are missing"
                        .to_owned(),
                );
            }
            return source;
        }
        Err(error) => {
            if found.may_have_work() {
                notes.push(format!(
                    "the journal cannot be replayed ({error}): files are shown as they lie, their last changes are missing"
                ));
            }
            return source;
        }
    };
    notes.extend(
        replay
            .cut
            .iter()
            .map(|cut| format!("the journal's end is lost: {cut}")),
    );
    if replay.blocks.is_empty() {
        return source;
    }
    notes.push(format!(
        "the volume was not unmounted: {} transactions of its journal ({} blocks) are replayed in memory",
        replay.transactions,
        replay.blocks.len()
    ));
    let view: SharedSource = Arc::new(Replayed::new(source, &found.superblock, replay));
    // The journal may hold a newer superblock.
    if let Ok(newer) = Superblock::read(&*view, found.at)
        && newer.uuid == found.superblock.uuid
        && newer.length() == found.superblock.length()
    {
        found.superblock = newer;
    }
    view
}

/// The volume with the believed superblock and descriptors in the primary place.
pub(super) fn spliced(base: SharedSource, found: &Found) -> Pieces {
    let sb = &found.superblock;
    let [_, incompat, _] = sb.features;
    // Replayed already; a guard against two machines mounting it at once does not concern a reader.
    let incompat = incompat & !feature::RECOVER & !feature::MMP;
    let bytes = with_change(sb, |raw| {
        for (at, new) in [(0x5a, &[0, 0][..]), (0x60, &incompat.to_le_bytes())] {
            if let Some(field) = raw.get_mut(at..at + new.len()) {
                field.copy_from_slice(new);
            }
        }
    });
    let name = base.name().to_owned();
    let length = base.len();
    let descriptors = sb.descriptors_at(0);
    let behind = descriptors + sb.descriptors_length();
    let superblock: SharedSource = Arc::new(Memory::new("superblock", bytes));
    let part = |from: Bytes, to: Bytes, source: &SharedSource, at: Bytes| Piece {
        length: to - from,
        from: Some((source.clone(), at)),
    };
    let pieces = vec![
        part(Bytes(0), Bytes(1024), &base, Bytes(0)),
        part(Bytes(1024), Bytes(2048), &superblock, Bytes(0)),
        part(Bytes(2048), descriptors, &base, Bytes(2048)),
        part(descriptors, behind, &base, sb.descriptors_at(found.copy)),
        part(behind, length, &base, behind),
    ];
    Pieces::new(name, pieces)
}

/// The superblock's bytes with `change` made to them and the checksum set anew: for a view in memory, never for a disk.
fn with_change(sb: &Superblock, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = sb.raw.clone();
    change(&mut bytes);
    if sb.has_ro_compat(feature::METADATA_CSUM)
        && let Some((body, sum)) = bytes.split_at_mut_checked(0x3fc)
    {
        sum.copy_from_slice(&crc32c(!0, body).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::fs::browse::{BrowseError, Browser, EntryKind};
    use crate::fs::ext_journal::tests::dirty_and_replayed;
    use crate::fs::testing::{mke2fs, sample_folder};
    use crate::image::Memory;
    use proptest::prelude::*;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    pub(crate) fn open(image: Vec<u8>) -> Result<Browser, BrowseError> {
        Browser::open(Arc::new(Memory::new("m", image)))
    }

    /// Every file below `folder` is in the file system with the same content.
    pub(crate) fn same_files(browser: &Browser, folder: &Path) {
        let mut files = 0;
        let problems = browser.walk(b"/", &mut |path, entry| {
            use std::os::unix::ffi::OsStrExt;
            let host = folder.join(std::ffi::OsStr::from_bytes(&path[1..]));
            assert_eq!(entry.problem, None);
            if entry.kind == EntryKind::File {
                let mut out = Vec::new();
                browser.read(path, &mut out).unwrap();
                assert!(std::fs::read(&host).unwrap() == out, "{}", host.display());
                files += 1;
            }
        });
        assert!(problems.unwrap().is_empty());
        assert_eq!(files, 345);
    }

    /// The story's case: the front is overwritten, the files are still there behind it.
    #[test]
    fn files_are_read_behind_a_lost_front() {
        let folder = sample_folder();
        for (args, mib) in [
            (&["-t", "ext3", "-b", "1024"][..], 32),
            (&["-t", "ext4", "-b", "1024"], 32),
            (&["-t", "ext4", "-b", "2048"], 64),
        ] {
            let Some(mut image) = mke2fs(args, mib, Some(folder.path())) else {
                return;
            };
            let sb = open(image.clone()).unwrap().superblock().clone();
            // 64 KiB, or up to group 0's bitmaps where its root folder would go too: no copy holds that.
            let group = sb
                .descriptor(&Memory::new("m", image.clone()), 0, 0)
                .unwrap();
            let front = sb.block(group.block_bitmap).0.min(65_536) as usize;
            image[..front].fill(0);
            let browser = open(image).unwrap();
            assert_eq!(browser.notes().len(), 2, "{:?}", browser.notes());
            same_files(&browser, folder.path());
        }
    }

    /// ext4-view refuses ext3's journals, so a machine that went down would show nothing at all.
    #[test]
    fn a_volume_that_was_not_unmounted_opens() {
        for (args, journal) in [
            (["-t", "ext3", "-b", "1024"], "jo"),
            (["-t", "ext4", "-b", "4096"], "jo -c"),
        ] {
            let Some((dirty, _)) = dirty_and_replayed(&args, journal) else {
                return;
            };
            let browser = open(dirty).unwrap();
            let notes = browser.notes();
            assert!(notes[0].contains("replayed in memory"), "{notes:?}");
            assert_eq!(browser.list(b"/").unwrap().entries.len(), 1);
        }
    }

    /// What lies in a journal that is not here, or not understood, was left out without a word.
    #[test]
    fn a_journal_that_is_not_replayed_is_told() {
        use crate::fs::ext::{PRIMARY, Superblock};
        use crate::fs::ext_check::{Verdict, check};
        let args = ["-t", "ext3", "-b", "1024"];
        let Some((mut dirty, _)) = dirty_and_replayed(&args, "jo") else {
            return;
        };
        let inode = 1024 + 0xe0;
        dirty[inode..][..4].fill(0);
        let browser = open(dirty.clone()).unwrap();
        assert!(browser.notes()[0].contains("on another device"));
        let report = check(&Memory::new("m", dirty));
        assert_eq!(report.verdict, Verdict::Unread, "{report:?}");
        // Lost primary, whose copies never say that the journal has work in it; a journal of a later kernel.
        let Some(mut clean) = mke2fs(&args, 24, None) else {
            return;
        };
        let source = Memory::new("m", clean.clone());
        let sb = Superblock::read(&source, PRIMARY).unwrap();
        let descriptor = sb.descriptor(&source, 0, 0).unwrap();
        let journal = sb.inode(&source, &descriptor, sb.journal_inode).unwrap();
        let first = sb.map(&source, &journal, 0).unwrap().unwrap();
        clean[sb.block(first).0 as usize..][0x28..0x2c].copy_from_slice(&0x20u32.to_be_bytes());
        assert!(open(clean.clone()).unwrap().notes().is_empty());
        clean[1024..2048].fill(0);
        let says = |notes: &[String]| notes.iter().any(|n| n.contains("replayed"));
        assert!(says(open(clean.clone()).unwrap().notes()));
        assert!(says(&check(&Memory::new("m", clean)).notes));
    }

    /// A block count of 2^44 made ext4-view allocate until the process died.
    #[test]
    fn a_false_block_count_is_refused() {
        let Some(mut image) = mke2fs(&["-t", "ext2", "-b", "1024"], 4, None) else {
            return;
        };
        image[1028..1032].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
        image[1056..1060].copy_from_slice(&256u32.to_le_bytes());
        assert!(matches!(open(image), Err(BrowseError::NoFileSystem(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        /// Changed bytes in superblock, descriptors, inodes and folders may give errors, never a panic or an endless walk.
        #[test]
        fn mutants_do_no_harm(
            kind in 0usize..2,
            changes in prop::collection::vec((0usize..1 << 19, any::<u8>()), 1..60),
            fields in prop::collection::vec((0x400usize..0x800, any::<u8>()), 0..3),
        ) {
            use std::sync::OnceLock;
            static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
            let images = IMAGES.get_or_init(|| {
                let folder = sample_folder();
                [["-t", "ext3", "-b", "1024"], ["-t", "ext4", "-b", "1024"]]
                    .iter()
                    .filter_map(|args| mke2fs(&[&args[..], &["-O", "^metadata_csum"]].concat(), 12, Some(folder.path())))
                    .collect()
            });
            let Some(image) = images.get(kind) else { return Ok(()) };
            let mut image = image.clone();
            for (at, byte) in changes.into_iter().chain(fields) {
                image[at] = byte;
            }
            if let Ok(browser) = open(image.clone()) {
                let mut files = Vec::new();
                let _ = browser.walk(b"/", &mut |path, entry| {
                    if files.len() < 400 && entry.size.0 < 10 << 20 {
                        files.push(path.to_vec());
                    }
                });
                for file in files {
                    let _ = browser.read(&file, &mut io::sink());
                }
            }
            let _ = crate::fs::ext_check::check(&Memory::new("m", image));
        }
    }
}
