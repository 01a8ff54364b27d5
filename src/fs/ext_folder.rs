//! ext's folders: which inode has which name.
//!
//! A folder is a file whose blocks are filled with entries: inode (4 bytes,
//! 0 for a free entry), length of the entry (2), length of the name (1),
//! kind (1), name; little endian. The first block begins with `.` and `..`.
//! An index over many blocks is made to look like one free entry.
//! Source: the kernel's ext4 documentation.

use super::ext::Superblock;
use super::ext_inode::{Inode, ROOT};
use crate::image::Source;
use crate::parse::{ParseError, Parsed};
use std::collections::BTreeMap;

/// Names of one folder that are kept.
pub const NAMES_MOST: usize = 1 << 21;

/// Blocks of a folder that are read: more than any folder has.
const BLOCKS_MOST: u64 = 1 << 20;

/// The names of a folder, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: BTreeMap<Vec<u8>, u32>,
    /// Why some may be missing.
    problem: Option<ParseError>,
}

impl Names {
    /// The inode of `name`; `None` where there is no such name.
    ///
    /// # Errors
    /// Where the name is not among those that could be read, and not all could be.
    pub fn find(&self, name: &[u8]) -> Parsed<Option<u32>> {
        match (self.names.get(name), &self.problem) {
            (Some(number), _) => Ok(Some(*number)),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Ok(None),
        }
    }
}

impl Superblock {
    /// The names in `folder`, from all of its blocks that can be read. Of a name that comes twice, the first.
    pub fn names(&self, source: &dyn Source, folder: &Inode) -> Names {
        let mut found = Names::default();
        let blocks = folder.size.div_ceil(self.block_size.max(1).into());
        let blocks = u32::try_from(blocks.min(BLOCKS_MOST).min(self.blocks)).unwrap_or(u32::MAX);
        let mut logical = 0;
        while logical < blocks && found.names.len() < NAMES_MOST {
            match self.run(source, folder, logical) {
                Ok(run) => {
                    let count = run.blocks.min(blocks - logical);
                    let first = run.block.into_iter();
                    for block in first.flat_map(|b| b..b.saturating_add(count.into())) {
                        match self.read_block(source, block) {
                            Ok(bytes) => entries(&bytes, &mut found.names),
                            Err(error) => found.problem = Some(error),
                        }
                    }
                    logical = logical.saturating_add(run.blocks);
                }
                Err(error) => {
                    found.problem = Some(error);
                    break;
                }
            }
        }
        found
    }

    /// Whether `inode`'s first block begins with a folder's `.` and `..`; what is wrong with it, in words.
    ///
    /// # Errors
    /// As [`Superblock::map`].
    pub fn folder_problem(&self, source: &dyn Source, inode: &Inode) -> Parsed<Option<String>> {
        let Some(block) = self.map(source, inode, 0)? else {
            return Ok(Some("its first block is a hole".to_owned()));
        };
        let bytes = self.read_block(source, block)?;
        let Some(([a, b, c, d, e, f, 1, _, b'.', ..], rest)) = bytes.split_first_chunk::<12>()
        else {
            return Ok(Some(format!("block {block} does not begin with \".\"")));
        };
        let own = u32::from_le_bytes([*a, *b, *c, *d]);
        if own != inode.number || [*e, *f] != [12, 0] {
            return Ok(Some(format!("\".\" in block {block} is inode {own}")));
        }
        let Some([a, b, c, d, _, _, 2, _, b'.', b'.', ..]) = rest.first_chunk::<12>() else {
            return Ok(Some(format!("block {block} has no \"..\"")));
        };
        let parent = u32::from_le_bytes([*a, *b, *c, *d]);
        let sound = match inode.number {
            ROOT => parent == ROOT,
            _ => parent > 0 && parent <= self.inodes,
        };
        Ok((!sound).then(|| format!("\"..\" in block {block} is inode {parent}")))
    }
}

/// The entries of one block. A broken one ends it, as its length leads nowhere.
fn entries(block: &[u8], names: &mut BTreeMap<Vec<u8>, u32>) {
    let mut rest = block;
    while let Some(([a, b, c, d, e, f, length, _], behind)) = rest.split_first_chunk::<8>() {
        let number = u32::from_le_bytes([*a, *b, *c, *d]);
        if let Some(name) = behind.get(..usize::from(*length)).filter(|_| number != 0) {
            names.entry(name.to_vec()).or_insert(number);
        }
        let step = usize::from(u16::from_le_bytes([*e, *f]));
        // 0 and 65535 stand for all of a block of 64 KiB.
        if step < 8 || step == 0xffff {
            return;
        }
        rest = rest.get(step..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::ext::PRIMARY;
    use crate::fs::testing::{debugfs, mke2fs, sample_folder};
    use crate::image::Memory;
    use crate::units::{Bytes, Extent};

    /// A name given another's inode shows another file's content; a name behind a gap is not a name that is not there.
    #[test]
    fn names_as_debugfs_has_them() {
        let folder = sample_folder();
        let Some(image) = mke2fs(&["-t", "ext3", "-b", "1024"], 16, Some(folder.path())) else {
            return;
        };
        let theirs = debugfs(&image, "ls -p /wide").unwrap();
        let source = Memory::new("m", image.clone());
        let sb = Superblock::read(&source, PRIMARY).unwrap();
        let inode = |number: u32| {
            let group = sb.descriptor(&source, sb.inode_group(number), 0).unwrap();
            sb.inode(&source, &group, number).unwrap()
        };
        let wide = sb
            .names(&source, &inode(ROOT))
            .find(b"wide")
            .unwrap()
            .unwrap();
        let names = sb.names(&source, &inode(wide));
        let mut count = 0;
        for line in theirs.lines().filter(|l| l.starts_with('/')) {
            let fields: Vec<&str> = line.split('/').collect();
            let number = fields[1].parse().unwrap();
            assert_eq!(names.find(fields[5].as_bytes()), Ok(Some(number)));
            count += 1;
        }
        assert_eq!((count, names.names.len()), (343, 343));
        assert_eq!(names.find(b"none"), Ok(None));
        let block = sb.map(&source, &inode(wide), 3).unwrap().unwrap();
        let gap = Extent::new(sb.block(block), Bytes(512));
        let torn = sb.names(&source.clone().with_unread(gap), &inode(wide));
        assert!(torn.names.len() > 300 && torn.names.len() < 343);
        assert_eq!(torn.find(b"none"), Err(ParseError::Unreadable(gap)));
    }
}
