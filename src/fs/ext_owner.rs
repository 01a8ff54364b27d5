//! Whose blocks are these: the files of an ext file system that lie in given extents.

use super::browse::Browser;
use super::entry::{BrowseError, EntryKind};
use super::ext_inode::Inode;
use crate::parse::Parsed;
use crate::units::{Bytes, Extent, merge};

/// A part of a file that lies in a wanted extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The extent of the file.
    pub of_file: Extent,
    /// Where it lies in the volume.
    pub of_volume: Extent,
}

/// Runs of one file that are followed; a file of more pieces is told as not followed.
const MOST_RUNS: u32 = 1 << 20;

/// Whose the extents are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Files and folders by path, with the parts of them.
    pub files: Vec<(Vec<u8>, Vec<Part>)>,
    /// Extents of the volume that hold the file system's own structures.
    pub structures: Vec<(Extent, String)>,
    /// Extents of the volume in which nothing was found: free space, or the map of a file.
    pub nobody: Vec<Extent>,
    /// What could not be looked at, so that owners may be missing.
    pub unread: Vec<String>,
}

impl Browser {
    /// The files, folders and structures that lie in `extents` of the volume. Walks the whole tree once.
    ///
    /// # Errors
    /// [`BrowseError`] where the root folder cannot be listed.
    pub fn owners(&self, extents: &[Extent]) -> Result<Owners, BrowseError> {
        let wanted = merge(extents.to_vec());
        let mut owners = Owners::default();
        let mut held = self.structures(&wanted, &mut owners);
        let mut unread = Vec::new();
        let mut files = Vec::new();
        let mut look = |path: &[u8], number: Option<u32>| {
            let inode = number.map(|n| self.read_inode(n));
            match inode {
                Some(Ok(inode)) => match self.hits(&inode, &wanted, &mut held) {
                    Ok(hits) if hits.is_empty() => {}
                    Ok(hits) => files.push((path.to_vec(), hits)),
                    Err(error) => {
                        unread.push(format!("{}: {error}", crate::parse::printable(path)))
                    }
                },
                Some(Err(error)) => {
                    unread.push(format!("{}: {error}", crate::parse::printable(path)));
                }
                None => {}
            }
        };
        look(b"/", Some(super::ext_inode::ROOT));
        let problems = self.walk(b"/", &mut |path, entry| {
            if matches!(entry.kind, EntryKind::File | EntryKind::Folder) {
                look(path, entry.inode);
            }
        })?;
        owners.files = files;
        owners.unread = unread;
        let folder = |(path, error): (Vec<u8>, BrowseError)| {
            format!("{}: {error}", crate::parse::printable(&path))
        };
        owners.unread.extend(problems.into_iter().map(folder));
        owners.nobody = without(&wanted, merge(held));
        Ok(owners)
    }

    /// Extents of a file that lie in the wanted extents of the volume; the latter are added to `held`.
    fn hits(&self, inode: &Inode, wanted: &[Extent], held: &mut Vec<Extent>) -> Parsed<Vec<Part>> {
        let sb = self.superblock();
        let block = u64::from(sb.block_size.max(1));
        let blocks = inode.size.div_ceil(block).min(u64::from(u32::MAX));
        let mut found = Vec::new();
        let mut logical = 0_u64;
        let mut budget = MOST_RUNS;
        while logical < blocks && budget > 0 {
            budget -= 1;
            let first = u32::try_from(logical).unwrap_or(u32::MAX);
            let run = self.run(inode, first)?;
            if let Some(start) = run.block {
                let count = u64::from(run.blocks).min(blocks - logical);
                let here = Extent::new(sb.block(start), Bytes(count * block));
                let from = wanted.partition_point(|w| w.end() <= here.offset);
                for hit in wanted.iter().skip(from).map_while(|w| w.overlap(here)) {
                    let within = hit.offset - here.offset;
                    found.push(Part {
                        of_file: Extent::new(Bytes(logical * block) + within, hit.length),
                        of_volume: hit,
                    });
                    held.push(hit);
                }
            }
            logical += u64::from(run.blocks.max(1));
        }
        Ok(found)
    }

    /// Notes which wanted extents hold superblocks, descriptors, bitmaps and inode tables; returns them.
    fn structures(&self, wanted: &[Extent], owners: &mut Owners) -> Vec<Extent> {
        let sb = self.superblock();
        let block = Bytes(sb.block_size.into());
        let mut held = Vec::new();
        let mut note = |what: String, extent: Extent| {
            for hit in wanted.iter().filter_map(|w| w.overlap(extent)) {
                owners.structures.push((hit, what.clone()));
                held.push(hit);
            }
        };
        note(
            "superblock".to_owned(),
            Extent::new(Bytes(1024), Bytes(1024)),
        );
        note(
            "group descriptors".to_owned(),
            Extent::new(sb.descriptors_at(0), sb.descriptors_length()),
        );
        for group in 0..sb.group_count() {
            let Ok(descriptor) = self.descriptor(group) else {
                continue;
            };
            let one = |number: u64| Extent::new(sb.block(number), block);
            note(
                format!("block bitmap of group {group}"),
                one(descriptor.block_bitmap),
            );
            note(
                format!("inode bitmap of group {group}"),
                one(descriptor.inode_bitmap),
            );
            let length = Bytes(sb.inode_table_blocks().saturating_mul(block.0));
            let table = Extent::new(sb.block(descriptor.inode_table), length);
            note(format!("inodes of group {group}"), table);
        }
        held
    }
}

/// What of `wanted` is in no extent of `held`; both merged.
fn without(wanted: &[Extent], held: Vec<Extent>) -> Vec<Extent> {
    let mut left = Vec::new();
    for extent in wanted {
        let mut at = extent.offset;
        for taken in held.iter().filter_map(|h| h.overlap(*extent)) {
            if taken.offset > at {
                left.push(Extent::new(at, taken.offset - at));
            }
            at = taken.end();
        }
        if at < extent.end() {
            left.push(Extent::new(at, extent.end() - at));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{debugfs, mke2fs, sample_folder};
    use crate::fs::view::tests::open;

    /// Whose block it is, against debugfs: a wrong owner sends a person to copy the wrong file.
    #[test]
    fn owners_are_those_that_debugfs_tells() {
        for args in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"][..]] {
            let folder = sample_folder();
            let Some(image) = mke2fs(args, 16, Some(folder.path())) else {
                return;
            };
            let browser = open(image.clone()).unwrap();
            let block = u64::from(browser.superblock().block_size);
            let blocks: Vec<u64> = (1..browser.superblock().blocks).step_by(37).collect();
            let at = |number: u64| Extent::new(Bytes(number * block), Bytes(block));
            let wanted: Vec<Extent> = blocks.iter().map(|b| at(*b)).collect();
            let owners = browser.owners(&wanted).unwrap();
            let list: Vec<String> = blocks.iter().map(u64::to_string).collect();
            let told = debugfs(&image, &format!("icheck {}", list.join(" "))).unwrap();
            let mut files = 0;
            for number in &blocks {
                let line = told
                    .lines()
                    .find_map(|l| l.strip_prefix(&format!("{number}\t")));
                let inode: Option<u32> = line.and_then(|l| l.trim().parse().ok());
                let here = |parts: &[Part]| parts.iter().any(|p| p.of_volume == at(*number));
                let mine: Vec<&Vec<u8>> = owners
                    .files
                    .iter()
                    .filter(|(_, p)| here(p))
                    .map(|(f, _)| f)
                    .collect();
                match (mine.as_slice(), inode) {
                    ([path], Some(inode)) => {
                        files += 1;
                        let entry = browser.metadata(path).unwrap();
                        assert_eq!(entry.inode.or(Some(2)), Some(inode), "block {number}");
                    }
                    ([], _) => {
                        let structure = owners
                            .structures
                            .iter()
                            .any(|(e, _)| e.overlap(at(*number)).is_some());
                        let nobody = owners
                            .nobody
                            .iter()
                            .any(|e| e.overlap(at(*number)).is_some());
                        assert!(structure || nobody, "block {number}");
                    }
                    (many, inode) => panic!("block {number}: {many:?} {inode:?}"),
                }
            }
            assert!(blocks.len() > 100 && files > 0, "{} {files}", blocks.len());
        }
    }

    /// Nothing of what was asked may get lost between owners and nobody.
    #[test]
    fn the_rest_is_the_rest() {
        let e = |a: u64, l: u64| Extent::new(Bytes(a), Bytes(l));
        assert_eq!(
            without(&[e(0, 10), e(20, 5)], vec![e(2, 3), e(21, 9)]),
            [e(0, 2), e(5, 5), e(20, 1)]
        );
        assert_eq!(without(&[e(0, 10)], vec![]), [e(0, 10)]);
        assert_eq!(without(&[e(0, 10)], vec![e(0, 10)]), []);
    }
}
