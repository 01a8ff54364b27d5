//! What lies where on members, so that a difference between mirrors can be called by its name.

use crate::units::{Bytes, Extent, SECTOR_LEN};
use serde::Serialize;

/// What a differing extent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// An md superblock or bad-block log, this array's or an older one's.
    MdSuperblock,
    /// A write-intent bitmap.
    MdBitmap,
    /// LVM's labels, metadata areas and texts.
    LvmMetadata,
    /// A file system's journal.
    Journal,
    /// A file system's superblocks, descriptors, bitmaps, inodes, trees.
    FsMetadata,
    /// Nothing that is known: files, most of the time.
    Data,
}

impl Class {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Class::MdSuperblock => "md superblock",
            Class::MdBitmap => "md bitmap",
            Class::LvmMetadata => "LVM metadata",
            Class::Journal => "file-system journal",
            Class::FsMetadata => "file-system metadata",
            Class::Data => "data",
        }
    }
}

/// Extents of known class; offsets count from the start of the members' data.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// Ascending and apart from each other.
    extents: Vec<(Extent, Class)>,
}

impl Regions {
    /// From extents in any order; where two overlap, the one that starts later (the more special, as a rule) holds from
    /// its start on.
    pub fn new(mut extents: Vec<(Extent, Class)>) -> Regions {
        extents.retain(|(e, _)| !e.is_empty());
        extents.sort();
        let mut apart: Vec<(Extent, Class)> = Vec::with_capacity(extents.len());
        for (extent, class) in extents {
            if let Some((last, _)) = apart.last_mut()
                && last.end() > extent.offset
            {
                last.length = extent.offset - last.offset;
            }
            apart.push((extent, class));
        }
        apart.retain(|(e, _)| !e.is_empty());
        Regions { extents: apart }
    }

    /// What lies at a place, if it is known.
    pub fn class(&self, at: Bytes) -> Option<Class> {
        let behind = self.extents.partition_point(|(e, _)| e.offset <= at);
        let (extent, class) = self.extents.get(behind.checked_sub(1)?)?;
        (at < extent.end()).then_some(*class)
    }
}

/// What a page is by its own content: structures that begin with a magic. Where regions are not known (columns of
/// raid10, a lost file system) this is all there is.
pub fn of_content(page: &[u8]) -> Option<Class> {
    /// The first bytes of a sector or page.
    const MAGICS: [(&[u8], Class); 17] = [
        (&super::superblock::MAGIC_LE, Class::MdSuperblock),
        (&super::superblock::MAGIC_BE, Class::MdSuperblock),
        (super::bitmap::MAGIC, Class::MdBitmap),
        (b"LABELONE", Class::LvmMetadata),
        (b"\xc0\x3b\x39\x98", Class::Journal),
        (b"\xfe\xed\xba\xbe", Class::Journal),
        (b"XFSB", Class::FsMetadata),
        (b"XAGF", Class::FsMetadata),
        (b"XAGI", Class::FsMetadata),
        (b"XAFL", Class::FsMetadata),
        (b"AB3B", Class::FsMetadata),
        (b"AB3C", Class::FsMetadata),
        (b"IAB3", Class::FsMetadata),
        (b"FIB3", Class::FsMetadata),
        (b"XDB3", Class::FsMetadata),
        (b"XDD3", Class::FsMetadata),
        (b"IN\x81", Class::FsMetadata),
    ];
    /// LVM's metadata-area header has its magic at byte 4, ext's superblock its own at byte 56.
    const LATER: [(usize, &[u8], Class); 3] = [
        (4, crate::lvm::mda::MAGIC, Class::LvmMetadata),
        (56, crate::fs::ext::MAGIC, Class::FsMetadata),
        (1024 + 56, crate::fs::ext::MAGIC, Class::FsMetadata),
    ];
    for sector in page.chunks(SECTOR_LEN) {
        let magic = MAGICS.iter().find(|(magic, _)| sector.starts_with(magic));
        if let Some((_, class)) = magic {
            return Some(*class);
        }
    }
    let later = |(at, magic, _): &&(usize, &[u8], Class)| {
        page.get(*at..).is_some_and(|p| p.starts_with(magic))
    };
    if let Some((_, _, class)) = LATER.iter().find(later) {
        return Some(*class);
    }
    // A folder's block of ext4 ends in an entry that holds its checksum; a block of a file's map says how many it can hold.
    const FOLDER_END: &[u8] = &[0, 0, 0, 0, 12, 0, 0, 0xde];
    let tail = page.len().checked_sub(12).and_then(|at| page.get(at..));
    let map = page.starts_with(b"\x0a\xf3") && page.get(4..6) == Some(&[0x54, 0x01]);
    if map || tail.is_some_and(|tail| tail.starts_with(FOLDER_END)) {
        return Some(Class::FsMetadata);
    }
    let text = memchr::memmem::find(page, crate::lvm::carve::NEEDLE);
    text.map(|_| Class::LvmMetadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A difference called data is files lost; one called journal is none. The border between two must be exact.
    #[test]
    fn borders_are_exact() {
        let e = |o, l| Extent::new(Bytes(o), Bytes(l));
        let regions = Regions::new(vec![
            (e(100, 50), Class::Journal),
            (e(10, 20), Class::FsMetadata),
            (e(120, 10), Class::LvmMetadata),
        ]);
        let at = |at| regions.class(Bytes(at));
        assert_eq!(
            (at(9), at(10), at(29), at(30)),
            (None, Some(Class::FsMetadata), Some(Class::FsMetadata), None)
        );
        assert_eq!(
            (at(119), at(120), at(130)),
            (Some(Class::Journal), Some(Class::LvmMetadata), None)
        );
    }
}
