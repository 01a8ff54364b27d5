//! File systems made by the real tools, read and checked without mounting.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use disinter::disk;
use disinter::fs::browse::Browser;
use disinter::fs::copy::{Links, copy_tree};
use disinter::fs::ext_check;
use disinter::fs::ext_report::Verdict;
use disinter::fs::probe::probe;
use disinter::image::{Memory, SharedSource, Source, open};
use disinter::units::{Bytes, Extent};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Runs a tool of the host; `None`, with a printed reason, where it is not installed.
fn tool(name: &str, arguments: &[&str]) -> Option<()> {
    let path = format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap());
    match Command::new(name)
        .args(arguments)
        .env("PATH", path)
        .output()
    {
        Ok(out) if out.status.success() => Some(()),
        Ok(out) => panic!(
            "{name} {arguments:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        ),
        Err(_) => {
            eprintln!("SKIPPED: {name} is not installed");
            None
        }
    }
}

/// A folder of files of every kind that matters: sizes around block and list borders, holes, links, depth.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = |name: &str, length: usize| -> Vec<u8> {
        let line = format!("{name} line of text\n");
        line.bytes().cycle().take(length).collect()
    };
    fs::create_dir_all(folder.join("etc/deep/er")).unwrap();
    let mut files = BTreeMap::new();
    for length in [
        0,
        1,
        1023,
        1024,
        12 * 1024,
        12 * 1024 + 1,
        300_000,
        5_000_000,
    ] {
        files.insert(
            format!("etc/file-{length}"),
            text(&format!("file of {length}"), length),
        );
    }
    files.insert("etc/deep/er/name with blanks".into(), text("deep", 5000));
    for (name, length) in files
        .iter()
        .map(|(n, b)| (n.clone(), b.clone()))
        .collect::<Vec<_>>()
    {
        fs::write(folder.join(name), length).unwrap();
    }
    // Holes at each depth: in the first list, behind it, behind a list of lists.
    for at in [20_000_usize, 400_000, 30_000_000, 70_000_000] {
        let name = format!("etc/sparse-{at}");
        let mut file = fs::File::create(folder.join(&name)).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(b"end").unwrap();
        let mut bytes = b"begin".to_vec();
        bytes.resize(at, 0);
        bytes.extend(b"end");
        files.insert(name, bytes);
    }
    std::os::unix::fs::symlink("deep/er", folder.join("etc/link")).unwrap();
    files
}

/// An ext file system of a kind and block size with that tree in it.
fn make(folder: &Path, kind: &str, block: &str) -> Option<(PathBuf, BTreeMap<String, Vec<u8>>)> {
    let source = folder.join("tree");
    let files = tree(&source);
    let image = folder.join("fs.img");
    let (from, to) = (source.to_str().unwrap(), image.to_str().unwrap());
    tool(
        "mke2fs",
        &[
            "-q", "-F", "-t", kind, "-b", block, "-L", "label", "-d", from, to, "40m",
        ],
    )?;
    Some((image, files))
}

fn browse(image: &Path) -> Browser {
    Browser::open(Arc::new(open(image, "fs").unwrap())).unwrap()
}

fn read(browser: &Browser, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = browser
        .read(format!("/{name}").as_bytes(), &mut bytes)
        .unwrap();
    assert!(read.gaps.is_empty());
    bytes
}

/// Every file of every kind of ext, byte for byte, holes among them: the crate that reads them takes some for damage.
#[test]
fn every_file_is_read_as_it_was_written() {
    for (kind, block) in [
        ("ext2", "1024"),
        ("ext3", "1024"),
        ("ext3", "4096"),
        ("ext4", "1024"),
        ("ext4", "4096"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some((image, files)) = make(folder.path(), kind, block) else {
            return;
        };
        let browser = browse(&image);
        assert_eq!(browser.superblock().kind(), kind);
        for (name, bytes) in &files {
            assert!(read(&browser, name) == *bytes, "{kind} {block}: {name}");
        }
        let names: Vec<String> = browser
            .list(b"/etc")
            .unwrap()
            .entries
            .iter()
            .map(|e| String::from_utf8(e.name.clone()).unwrap())
            .collect();
        let mut expected: Vec<String> = fs::read_dir(folder.path().join("tree/etc"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        expected.sort();
        assert_eq!(names, expected);
    }
}

/// A copy of a folder holds its files, makes no link that could lead out of it, and overwrites nothing.
#[test]
fn copying_out_stays_inside() {
    let folder = tempfile::tempdir().unwrap();
    let Some((image, files)) = make(folder.path(), "ext4", "4096") else {
        return;
    };
    let target = folder.path().join("out");
    let copied = copy_tree(&browse(&image), b"/etc", &target, Links::List).unwrap();
    assert!(copied.problems.is_empty(), "{:?}", copied.problems);
    assert_eq!(copied.files, files.len() as u64);
    for (name, bytes) in &files {
        let path = target.join(name.strip_prefix("etc/").unwrap());
        assert!(fs::read(path).unwrap() == *bytes, "{name}");
    }
    assert!(
        copied
            .skipped
            .iter()
            .any(|s| s.path == "/etc/link" && s.why.contains("deep/er"))
    );
    assert!(fs::symlink_metadata(target.join("link")).is_err());
    let again = copy_tree(&browse(&image), b"/etc", &target, Links::List).unwrap();
    assert!(
        !again.problems.is_empty(),
        "a second copy must not write into the first"
    );
}

/// An installer's first act is to clear the front: superblock and descriptors are read from their copies then.
#[test]
fn a_lost_front_is_read_through_a_copy() {
    for (kind, block) in [("ext3", "1024"), ("ext4", "1024")] {
        let folder = tempfile::tempdir().unwrap();
        let Some((image, files)) = make(folder.path(), kind, block) else {
            return;
        };
        let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 3072], 0).unwrap();
        let browser = browse(&image);
        assert!(
            browser
                .notes()
                .iter()
                .any(|n| n.contains("copy in group 1")),
            "{:?}",
            browser.notes()
        );
        for (name, bytes) in &files {
            assert!(read(&browser, name) == *bytes, "{kind}: {name}");
        }
    }
}

/// A sector that cannot be read must be told with its place in the file, and the copy must not pass for whole.
#[test]
fn a_gap_is_told_and_the_copy_is_named_partial() {
    let folder = tempfile::tempdir().unwrap();
    let Some((image, files)) = make(folder.path(), "ext4", "4096") else {
        return;
    };
    let bytes = fs::read(&image).unwrap();
    let file = &files["etc/file-5000000"];
    let at = memchr::memmem::find(&bytes, &file[..4096]).unwrap();
    let gap = Extent::new(Bytes(at as u64 + (1 << 20)), Bytes(512));
    let source: SharedSource = Arc::new(Memory::new("fs", bytes).with_unread(gap));
    let browser = Browser::open(source).unwrap();
    let mut out = Vec::new();
    let read = browser.read(b"/etc/file-5000000", &mut out).unwrap();
    let lost = Extent::new(Bytes(1 << 20), Bytes(512));
    assert_eq!(read.gaps, [lost]);
    let mut expected = file.clone();
    expected[1 << 20..(1 << 20) + 512].fill(0);
    assert!(out == expected, "all but the gap must be right");
    let target = folder.path().join("out");
    let copied = copy_tree(&browser, b"/etc", &target, Links::List).unwrap();
    assert_eq!(copied.problems.len(), 1);
    assert!(!target.join("file-5000000").exists());
    assert!(target.join("file-5000000.disinter-partial").exists());
}

/// A machine whose power was pulled leaves its journals to be replayed: without that, ext3 of that day opens not at all,
/// or shows what was before. The real e2fsck is the judge.
#[test]
fn a_journal_that_waits_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let Some((image, _)) = make(folder.path(), "ext3", "1024") else {
        return;
    };
    let new = folder.path().join("new");
    fs::write(&new, b"written before the power went").unwrap();
    // debugfs writes a transaction to the journal and leaves it there: block 2000 gets this content when replayed.
    let block = folder.path().join("block");
    fs::write(&block, vec![0x5a; 1024]).unwrap();
    let script = format!("jo\njw -b 39000 {}\njc\n", block.display());
    let commands = folder.path().join("commands");
    fs::write(&commands, script).unwrap();
    let (commands, image_name) = (commands.to_str().unwrap(), image.to_str().unwrap());
    if tool("debugfs", &["-w", "-f", commands, image_name]).is_none() {
        return;
    }
    let browser = browse(&image);
    assert!(
        browser.superblock().needs_recovery(),
        "debugfs left no journal to replay"
    );
    assert!(!browser.notes().is_empty());
    assert!(!browser.list(b"/etc").unwrap().entries.is_empty());
}

/// The check that proves an order must pass on a whole file system and fail on one whose chunks are swapped.
#[test]
fn the_check_tells_whole_from_shuffled() {
    for (kind, block) in [
        ("ext3", "1024"),
        ("ext4", "1024"),
        ("ext3", "4096"),
        ("ext4", "4096"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some((image, _)) = make(folder.path(), kind, block) else {
            return;
        };
        let mut bytes = fs::read(&image).unwrap();
        let whole = ext_check::check(&Memory::new("fs", bytes.clone()));
        assert!(
            whole.verdict == Verdict::Whole && whole.tested() > 3,
            "{kind} {block}: {whole:?}"
        );
        // As a wrong order shuffles: the second and third of every three chunks change places.
        for row in bytes.chunks_mut(3 << 16) {
            if let Some((_, rest)) = row.split_at_mut_checked(1 << 16)
                && rest.len() == 2 << 16
            {
                let (a, b) = rest.split_at_mut(1 << 16);
                a.swap_with_slice(b);
            }
        }
        let shuffled = ext_check::check(&Memory::new("fs", bytes));
        assert!(
            shuffled.verdict == Verdict::Damaged && shuffled.agreement() < 0.97,
            "{kind} {block}: {shuffled:?}"
        );
    }
}

/// What begins at a volume's start is what the real tools put there.
#[test]
fn signatures_of_real_tools() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        fs::File::create(&path).unwrap().set_len(320 << 20).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let kinds = |path: &str| -> Vec<&'static str> {
        probe(&open(Path::new(path), "v").unwrap())
            .signatures
            .iter()
            .map(|s| s.kind.as_str())
            .collect()
    };
    let swap = file("swap");
    if tool("mkswap", &["-q", "-L", "sw", &swap]).is_some() {
        assert_eq!(kinds(&swap), ["swap"]);
    }
    let xfs = file("xfs");
    if tool("mkfs.xfs", &["-q", &xfs]).is_some() {
        assert_eq!(kinds(&xfs), ["xfs"]);
    }
    assert!(kinds(&file("nothing")).is_empty());
}

/// Partitions must lie where sfdisk put them: logical ones too, and on a GPT whose front is gone.
#[test]
fn partition_tables_of_sfdisk() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, table: &str| -> Option<PathBuf> {
        let path = folder.path().join(name);
        fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        let script = folder.path().join("table");
        fs::write(&script, table).unwrap();
        let command = format!("sfdisk -q {} < {}", path.display(), script.display());
        tool(
            "sh",
            &[
                "-c",
                &format!("PATH=/usr/sbin:/sbin:$PATH; command -v sfdisk || exit 0; {command}"),
            ],
        )?;
        let made = fs::read(&path).unwrap()[510] == 0x55;
        if !made {
            eprintln!("SKIPPED: sfdisk is not installed");
        }
        made.then_some(path)
    };
    let extents = |source: &dyn Source| -> Vec<(u32, u64, u64)> {
        let table = disk::partitions(source).unwrap();
        let row =
            |p: &disk::Partition| (p.number, p.extent.offset.0 / 512, p.extent.length.0 / 512);
        table.partitions.iter().map(row).collect()
    };
    let dos = "label: dos\nstart=63, size=10000, type=83\nstart=20480, size=60000, type=5\n\
               start=22528, size=4096, type=83\nstart=30720, size=8192, type=82\n";
    if let Some(path) = make("dos", dos) {
        let found = extents(&open(&path, "d").unwrap());
        let expected = [
            (1, 63, 10000),
            (2, 20480, 60000),
            (5, 22528, 4096),
            (6, 30720, 8192),
        ];
        assert_eq!(found, expected);
        // The same table on an image that was cut: kept, and said.
        let cut = fs::read(&path).unwrap()[..20 << 20].to_vec();
        let table = disk::partitions(&Memory::new("cut", cut)).unwrap();
        assert!(
            table
                .warnings
                .iter()
                .any(|w| w.contains("shorter than its partition table"))
        );
    }
    if let Some(path) = make(
        "gpt",
        "label: gpt\nstart=2048, size=8192\nstart=16384, size=32768\n",
    ) {
        let expected = [(1, 2048, 8192), (2, 16384, 32768)];
        assert_eq!(extents(&open(&path, "g").unwrap()), expected);
        let mut bytes = fs::read(&path).unwrap();
        bytes[..34 * 512].fill(0);
        let memory = Memory::new("g", bytes);
        assert_eq!(extents(&memory), expected);
        let warnings = disk::partitions(&memory).unwrap().warnings;
        assert!(
            warnings
                .iter()
                .any(|w| w.contains("its backup at the end of the disk is used"))
        );
    }
    assert!(disk::partitions(&Memory::new("zeros", vec![0; 4096])).is_err());
}
