//! The input as every file that `disinter doctor` reads of a tree: a program, its libraries and their list, the lists of
//! modules, mdadm's and udev's configuration, what the kernel tells.
#![no_main]

use disinter::doctor::tree::Tree;
use disinter::doctor::{elf, examine};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

const FILES: [&str; 14] = [
    "sbin/mdadm",
    "bin/bash",
    "lib/libc.so.6",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d/a.conf",
    "etc/mdadm.conf",
    "etc/mdadm.conf.d/a.conf",
    "etc/lvm/lvm.conf",
    "etc/udev/rules.d/64-md-raid-assembly.rules",
    "lib/modules/6.1.0/modules.dep",
    "lib/modules/6.1.0/modules.builtin",
    "proc/mdstat",
    "proc/meminfo",
    "sys/kernel/security/lsm",
];

/// A tree of one file under all these names.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("disinter-doctor-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let input = root.join("input");
    fs::write(&input, "").unwrap();
    fs::set_permissions(&input, fs::Permissions::from_mode(0o755)).unwrap();
    for file in FILES {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&file);
        fs::hard_link(&input, file).unwrap();
    }
    root
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = elf::kind(data);
    fs::write(ROOT.join("input"), data).unwrap();
    let tree = Tree::new(&ROOT).unwrap();
    let _ = examine(&tree, false).is_fit();
});
