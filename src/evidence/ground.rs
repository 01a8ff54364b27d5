//! What an output would be written to: the devices under the file system of its folder.
//!
//! A file system on one device tells that device's number with every file, and
//! /sys says what is under it. btrfs and what is stacked on other file systems
//! (overlay) tell numbers that name nothing there: those are looked up in the
//! list of mounts. What cannot be told is not guessed. Then only one thing is a
//! proof: that nobody at all has the examined disk in use.

use crate::image::{Image, device_folder, device_number};
use rustix::fs::{Mode, OFlags, major, minor};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How a folder and an examined image belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// The folder's file system is on other disks, or on none.
    Apart,
    /// What is written to the folder ends up in the image.
    On,
    /// It cannot be told, for this reason.
    Untold(String),
}

/// File systems that are in memory, or on another machine.
const ON_NO_DISK: [&str; 20] = [
    "tmpfs",
    "ramfs",
    "rootfs",
    "devtmpfs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "virtiofs",
    "hostfs",
    "ceph",
    "afs",
    "lustre",
    "vboxsf",
    "vmhgfs",
    "fuse.vmhgfs-fuse",
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.glusterfs",
];

/// What is under these cannot be looked up, but the kernel has it in use for them, and says so.
const CLAIMED: [&str; 5] = ["aufs", "unionfs", "shiftfs", "bcachefs", "f2fs"];

/// Steps from file system to file system; more than a machine has.
const MOST_STEPS: usize = 64;

/// What proves that the thing that cannot be told is not on the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// That the kernel has the image in use for nobody.
    Unused,
    /// The same, for a device; a file can be in use without a trace.
    UnusedDevice,
    /// Nothing: a program may write to it as to any file.
    None,
}

/// How what is written to `folder`, or a file or device, and `image` belong together.
pub(super) fn ground(folder: &Path, image: &Image) -> Ground {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut walk = Walk {
        examined: image.identity(),
        mounts: mounts_of(&mounts),
        on: false,
        seen: BTreeSet::new(),
        devices: Vec::new(),
        paths: vec![folder.to_owned()],
        untold: None,
    };
    walk.run();
    match walk.untold {
        _ if walk.on => Ground::On,
        None => Ground::Apart,
        Some((Proof::Unused, why)) if is_in_use(image) => Ground::Untold(why),
        Some((Proof::UnusedDevice, why)) if !image.is_device() || is_in_use(image) => {
            Ground::Untold(why)
        }
        Some((Proof::None, why)) => Ground::Untold(why),
        Some(_) => Ground::Apart,
    }
}

/// Whether a folder is where something is mounted, or begins a file system's own numbers: no folder can take its place.
pub(super) fn is_mount_point(folder: &Path, parent: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
    device(folder) != device(parent) || mount_id(folder) != mount_id(parent)
}

struct Walk {
    examined: (u64, u64),
    mounts: Vec<Mount>,
    /// Whether the image was met.
    on: bool,
    seen: BTreeSet<u64>,
    devices: Vec<u64>,
    paths: Vec<PathBuf>,
    untold: Option<(Proof, String)>,
}

impl Walk {
    fn run(&mut self) {
        let mut steps = 0;
        while !self.on {
            if let Some(path) = self.paths.pop() {
                steps += 1;
                match steps > MOST_STEPS {
                    true => return self.cannot_tell(Proof::None, "there are too many layers"),
                    false => self.path(&path),
                }
            } else if let Some(device) = self.devices.pop() {
                self.device(device);
            } else {
                return;
            }
        }
    }

    /// The weakest of what is not known decides.
    fn cannot_tell(&mut self, proof: Proof, why: impl Into<String>) {
        if self.untold.as_ref().is_none_or(|(had, _)| *had < proof) {
            self.untold = Some((proof, why.into()));
        }
    }

    /// A file or folder: what its file system is on. A device: itself.
    fn path(&mut self, path: &Path) {
        let Ok(meta) = fs::metadata(path) else {
            return self.cannot_tell(Proof::Unused, format!("{} is not there", path.display()));
        };
        self.on |= (meta.dev(), meta.ino()) == self.examined;
        if meta.file_type().is_block_device() {
            self.devices.push(meta.rdev());
            return;
        }
        let numbered = major(meta.dev()) != 0;
        if numbered {
            self.devices.push(meta.dev());
        }
        let id = mount_id(path);
        let mount = self.mounts.iter().find(|m| Some(m.id) == id).cloned();
        match mount {
            Some(mount) => self.mount(&mount, numbered),
            None if numbered => {}
            None => self.unlisted(path),
        }
    }

    /// A mount that is above the root that we see, as in a chroot.
    fn unlisted(&mut self, path: &Path) {
        const TMPFS: i128 = 0x0102_1994;
        const RAMFS: i128 = 0x8584_58f6;
        const BTRFS: i128 = 0x9123_683e;
        const OVERLAY: i128 = 0x794c_7630;
        let kind = rustix::fs::statfs(path).map(|s| i128::from(s.f_type)).ok();
        let why = format!("the mount of {} is not listed", path.display());
        match kind {
            Some(TMPFS | RAMFS) => {}
            Some(BTRFS) => self.btrfs(Path::new("")),
            Some(OVERLAY) => self.cannot_tell(Proof::Unused, why),
            _ => self.cannot_tell(Proof::None, why),
        }
    }

    fn mount(&mut self, mount: &Mount, numbered: bool) {
        let kind = mount.kind.as_str();
        match kind {
            _ if ON_NO_DISK.contains(&kind) => {}
            "btrfs" => self.btrfs(&mount.source),
            // Without an upper folder it takes no write.
            "overlay" => match mount.option("upperdir=") {
                Some(upper) if upper.is_absolute() => self.paths.push(upper),
                Some(_) => self.cannot_tell(Proof::Unused, "the overlay's upper folder is hidden"),
                None => {}
            },
            "ecryptfs" if mount.source.is_absolute() => self.paths.push(mount.source.clone()),
            _ if CLAIMED.contains(&kind) => {
                self.cannot_tell(
                    Proof::Unused,
                    format!("{kind} does not say what is under it"),
                );
            }
            "zfs" => self.cannot_tell(Proof::UnusedDevice, "zfs does not say what is under it"),
            _ if numbered => self.side_devices(mount),
            _ => self.cannot_tell(Proof::None, format!("{kind} does not say what is under it")),
        }
    }

    /// Journals and the like on devices of their own.
    fn side_devices(&mut self, mount: &Mount) {
        for name in ["logdev=", "rtdev=", "journal_path="] {
            self.paths.extend(mount.option(name));
        }
    }

    /// All devices of the btrfs that was mounted from `source`; of every btrfs, where it cannot be told which it is.
    fn btrfs(&mut self, source: &Path) {
        let own = fs::metadata(source).ok().map(|m| m.rdev());
        let groups = btrfs_groups();
        let mine: Vec<&Vec<u64>> = groups
            .iter()
            .filter(|g| own.is_some_and(|own| g.contains(&own)))
            .collect();
        if groups.is_empty() {
            self.cannot_tell(Proof::Unused, "/sys/fs/btrfs does not say what is under it");
        }
        match mine.is_empty() {
            true => self.devices.extend(groups.iter().flatten()),
            false => self.devices.extend(mine.into_iter().flatten()),
        }
        self.devices.extend(own);
    }

    /// A device, and what is under it: a partition's disk, what it is built on, the file that it shows.
    fn device(&mut self, device: u64) {
        if (0, device) == self.examined {
            self.on = true;
            return;
        }
        if !self.seen.insert(device) {
            return;
        }
        let Ok(entry) = device_folder(device) else {
            let (major, minor) = (major(device), minor(device));
            let why = format!("the device {major}:{minor} is not in /sys");
            return self.cannot_tell(Proof::Unused, why);
        };
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("nbd") || name.starts_with("ublk") {
            self.cannot_tell(Proof::None, format!("{name} does not say what is under it"));
        }
        if let Ok(file) = fs::read(entry.join("loop/backing_file")) {
            self.paths.push(line_as_path(&file));
        }
        let slaves = fs::read_dir(entry.join("slaves"))
            .into_iter()
            .flatten()
            .flatten();
        let below = slaves.map(|slave| slave.path().join("dev"));
        let disk = entry.parent().map(|p| p.join("dev"));
        self.devices
            .extend(below.chain(disk).filter_map(|file| device_number(&file)));
    }
}

/// The devices of each btrfs that is mounted.
fn btrfs_groups() -> Vec<Vec<u64>> {
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    folders(Path::new("/sys/fs/btrfs"))
        .map(|group| {
            let devices = folders(&group.path().join("devices"));
            devices
                .filter_map(|device| device_number(&device.path().join("dev")))
                .collect::<Vec<_>>()
        })
        .filter(|group| !group.is_empty())
        .collect()
}

/// A path as /sys gives it: one line.
fn line_as_path(line: &[u8]) -> PathBuf {
    let path = line.strip_suffix(b"\n").unwrap_or(line);
    OsString::from_vec(path.to_vec()).into()
}

/// Whether anybody has an image in use: a file system, an array, a loop device. `true` where that cannot be told.
fn is_in_use(image: &Image) -> bool {
    let Ok(disks) = fs::read_dir("/sys/block") else {
        return true;
    };
    for disk in disks.flatten() {
        let Ok(file) = fs::read(disk.path().join("loop/backing_file")) else {
            continue;
        };
        // What takes no write carries none on.
        if fs::read(disk.path().join("ro")).is_ok_and(|ro| ro.starts_with(b"1")) {
            continue;
        }
        let file = line_as_path(&file);
        let Ok(meta) = fs::metadata(&file) else {
            return true;
        };
        // A loop over a device does not claim it.
        if (meta.dev(), meta.ino()) == image.identity() || meta.file_type().is_block_device() {
            return true;
        }
    }
    // The kernel gives a device, or a disk with partitions, to one user; who asks to be that one learns of another.
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    image.is_device() && rustix::fs::open(image.path(), flags, Mode::empty()).is_err()
}

/// What of one line of /proc/self/mountinfo is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    kind: String,
    source: PathBuf,
    /// Of the file system, each by itself.
    options: Vec<Vec<u8>>,
}

impl Mount {
    /// The path that an option gives.
    fn option(&self, name: &str) -> Option<PathBuf> {
        let value = |o: &Vec<u8>| o.strip_prefix(name.as_bytes()).map(<[u8]>::to_vec);
        let value = self.options.iter().find_map(value)?;
        Some(OsString::from_vec(value).into())
    }
}

/// The mounts in the text of /proc/self/mountinfo.
fn mounts_of(text: &[u8]) -> Vec<Mount> {
    let lines = text.split(|b| *b == b'\n');
    lines.filter_map(mount_of).collect()
}

fn mount_of(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    // Six fields, as many more as there are, and a dash.
    let dash = fields.iter().skip(6).position(|f| *f == b"-")? + 6;
    let number = std::str::from_utf8(fields.first()?).ok()?;
    let options = fields.get(dash + 3).copied().unwrap_or_default();
    Some(Mount {
        id: number.parse().ok()?,
        kind: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
        source: OsString::from_vec(unescape(fields.get(dash + 2)?)).into(),
        options: options.split(|b| *b == b',').map(unescape).collect(),
    })
}

/// The kernel writes blanks and the like as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let octal = match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        plain.push(octal.unwrap_or(*first));
        rest = behind
            .get(if octal.is_some() { 3 } else { 0 }..)
            .unwrap_or_default();
    }
    plain
}

/// The number of the mount that a path is reached by.
fn mount_id(path: &Path) -> Option<u64> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    id.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of several systems: a field too many, an upper folder with a blank or a comma in its name, and the folder
    /// is looked for on the wrong disk.
    #[test]
    fn the_list_of_mounts_is_understood() {
        let text = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
            45 27 0:39 /@/home /home rw shared:9 master:2 - btrfs /dev/sd\\040a2 rw,subvolid=257,subvol=/@/home\n\
            61 27 0:50 / / rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/run/live\\040rw\\054x/up,workdir=/w\n\
            62 27 0:51 / /mnt rw - tmpfs  rw\n\
            63 27 0:52 / /x rw shared:1\n\
            no mount at all\n";
        let mounts = mounts_of(text);
        let seen: Vec<_> = mounts.iter().map(|m| (m.id, m.kind.as_str())).collect();
        assert_eq!(
            seen,
            [(27, "ext4"), (45, "btrfs"), (61, "overlay"), (62, "tmpfs")]
        );
        assert_eq!(mounts[0].source, Path::new("/dev/vda"));
        assert_eq!(mounts[1].source, Path::new("/dev/sd a2"));
        let upper = mounts[2].option("upperdir=");
        assert_eq!(upper, Some("/run/live rw,x/up".into()));
        assert_eq!(mounts[3].option("upperdir="), None);
        assert_eq!(unescape(b"a\\\\134\\1\\"), b"a\\\\\\1\\");
    }

    /// Every folder that can be written to is on a mount that is listed.
    #[test]
    fn a_folder_is_on_a_listed_mount() {
        let folder = tempfile::tempdir().unwrap();
        let id = mount_id(folder.path()).unwrap();
        let mounts = mounts_of(&fs::read("/proc/self/mountinfo").unwrap());
        assert!(mounts.iter().any(|m| m.id == id));
        assert!(is_mount_point(Path::new("/proc"), Path::new("/")));
        assert!(!is_mount_point(folder.path(), &std::env::temp_dir()));
    }
}
