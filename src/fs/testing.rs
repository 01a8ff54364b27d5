//! File systems made with the real tools, for tests.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a tool of /usr/sbin; `None`, with a word on stderr, where it is not installed.
pub(crate) fn tool(name: &str, args: &[&str]) -> Option<Output> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let out = Command::new(name).env("PATH", path).args(args).output();
    match out {
        Ok(out) => Some(out),
        Err(error) => {
            eprintln!("skipped: {name}: {error}");
            None
        }
    }
}

/// An image of `mib` MiB that `name` made with `args` before the image's path.
pub(crate) fn image(name: &str, args: &[&str], mib: u64) -> Option<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(mib << 20).unwrap();
    let mut args = args.to_vec();
    args.push(file.path().to_str().unwrap());
    let out = tool(name, &args)?;
    assert!(out.status.success(), "{name} {args:?}: {out:?}");
    Some(std::fs::read(file.path()).unwrap())
}

/// An ext file system of `mib` MiB holding a copy of `folder`.
pub(crate) fn mke2fs(args: &[&str], mib: u64, folder: Option<&Path>) -> Option<Vec<u8>> {
    let mut all = vec!["-q", "-F", "-E", "nodiscard"];
    all.extend(args);
    if let Some(folder) = folder {
        all.extend(["-d", folder.to_str().unwrap()]);
    }
    image("mke2fs", &all, mib)
}

/// debugfs' answer to `request` about `image`.
pub(crate) fn debugfs(image: &[u8], request: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let out = tool("debugfs", &["-R", request, file.path().to_str().unwrap()])?;
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A folder with what a root file system has: deep and wide folders, long, sparse and empty files, links, odd names.
pub(crate) fn sample_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("etc/lvm/backup")).unwrap();
    std::fs::create_dir_all(at("wide")).unwrap();
    std::fs::write(at("etc/lvm/backup/guests"), "guests {\n\tseqno = 7\n}\n").unwrap();
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("odd \u{1b}[2J na\nme \u{f6}"), "odd").unwrap();
    let long: Vec<u8> = (0..400_000u32).flat_map(|n| n.to_le_bytes()).collect();
    std::fs::write(at("long"), long).unwrap();
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"far", 3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"near", 5000).unwrap();
    for n in 0..300 {
        let name = format!("wide/a file with a rather long name, number {n:04}");
        std::fs::write(at(&name), n.to_string().repeat(n)).unwrap();
    }
    for n in 0..40 {
        std::fs::create_dir(at(&format!("wide/folder-{n}"))).unwrap();
        std::fs::write(at(&format!("wide/folder-{n}/f")), format!("{n}")).unwrap();
    }
    std::os::unix::fs::symlink("../etc/lvm/backup/guests", at("wide/short-link")).unwrap();
    std::os::unix::fs::symlink("/etc/lvm", at("absolute-link")).unwrap();
    std::os::unix::fs::symlink("x/".repeat(60), at("long-link")).unwrap();
    folder
}

/// dumpe2fs' reading of `image`.
pub(crate) fn dumpe2fs(image: &[u8]) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let out = tool("dumpe2fs", &[file.path().to_str().unwrap()])?;
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}
