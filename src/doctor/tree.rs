//! Paths inside a tree: links are followed as if the tree were `/`, so that none leads out of it.

use crate::file::open_file;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Links followed in one path, as Linux has it.
const LINKS_MOST: usize = 40;

/// A tree that is looked at as if it were `/`.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

/// Where a path led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Inside the tree, without links, from `/`.
    pub path: PathBuf,
    /// The same outside of it: what to open.
    pub host: PathBuf,
    /// The links on the way that the path itself is: `/sbin/fsck.ext4`, `/sbin/e2fsck`.
    pub links: Vec<PathBuf>,
}

impl Tree {
    /// The tree below `root`.
    ///
    /// # Errors
    /// Where that is no folder.
    pub fn new(root: &Path) -> io::Result<Tree> {
        let root = root.canonicalize()?;
        match root.is_dir() {
            true => Ok(Tree { root }),
            false => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "is not a folder",
            )),
        }
    }

    /// Whether it is this machine's own.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Follows `path`, from the tree's `/`.
    ///
    /// # Errors
    /// Where it leads nowhere, or round in circles.
    pub fn resolve(&self, path: &Path) -> io::Result<Resolved> {
        let mut links = Vec::new();
        let mut budget = LINKS_MOST;
        let mut real = PathBuf::new();
        let mut ahead: Vec<PathBuf> = parts(path);
        while let Some(part) = ahead.pop() {
            if part == Path::new("..") {
                // Above the tree's `/` is the tree's `/`.
                real.pop();
                continue;
            }
            let next = real.join(&part);
            let meta = fs::symlink_metadata(self.root.join(&next))?;
            if !meta.is_symlink() {
                real = next;
                continue;
            }
            budget = budget
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("its links go round in circles"))?;
            let target = fs::read_link(self.root.join(&next))?;
            if ahead.is_empty() {
                links.push(Path::new("/").join(&next));
            }
            if target.is_absolute() {
                real = PathBuf::new();
            }
            ahead.extend(parts(&target));
        }
        let host = self.root.join(&real);
        fs::symlink_metadata(&host)?;
        Ok(Resolved {
            path: Path::new("/").join(&real),
            host,
            links,
        })
    }

    /// Whether something is there.
    pub fn has(&self, path: &str) -> bool {
        self.resolve(Path::new(path)).is_ok()
    }

    /// The first `most` bytes of a file.
    ///
    /// # Errors
    /// Where it is no file or cannot be read.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let resolved = self.resolve(path)?;
        let mut bytes = Vec::new();
        open_file(&resolved.host)?
            .take(most)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A text file of at most 4 MiB; `None` where it cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.read(Path::new(path), 4 << 20).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, sorted; empty where there is none.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(resolved) = self.resolve(Path::new(path)) else {
            return Vec::new();
        };
        let entries = fs::read_dir(resolved.host).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .take(10_000)
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A path's parts, the last first; `/` and `.` are none.
fn parts(path: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = path
        .components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A link of the tree that is followed on this machine would show this machine's programs as the tree's.
    #[test]
    fn no_link_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |p: &str| folder.path().join(p);
        fs::create_dir_all(at("usr/sbin")).unwrap();
        symlink("usr/sbin", at("sbin")).unwrap();
        fs::write(at("usr/sbin/e2fsck"), "x").unwrap();
        symlink("/sbin/e2fsck", at("usr/sbin/fsck.ext4")).unwrap();
        symlink("../../../../../../etc/passwd", at("usr/sbin/out")).unwrap();
        symlink("loop", at("usr/sbin/loop")).unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        let found = tree.resolve(Path::new("/sbin/fsck.ext4")).unwrap();
        assert_eq!(found.path, Path::new("/usr/sbin/e2fsck"));
        assert_eq!(found.links, [Path::new("/usr/sbin/fsck.ext4")]);
        assert!(
            tree.resolve(Path::new("/sbin/out")).is_err(),
            "the tree has no /etc/passwd"
        );
        assert!(tree.resolve(Path::new("/sbin/loop")).is_err());
        assert!(tree.resolve(Path::new("/../sbin/e2fsck")).is_ok());
        assert!(tree.resolve(Path::new("/usr/sbin/e2fsck/x")).is_err());
    }
}
