//! What the system calls a disk: its serial number, and its links in `/dev/disk/by-id`.
//!
//! Both are read before the program is confined: then neither can be any more.

use super::open::device_folder;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Names of a disk that do not move from boot to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAs {
    /// The serial number of the drive itself, where the system tells it. An enclosure on USB has a number of its own.
    pub serial: Option<String>,
    /// Names of the links to it in `/dev/disk/by-id`, ascending.
    pub links: Vec<String>,
}

impl KnownAs {
    /// What the system tells of a block device; nothing of a file.
    pub fn of(path: &Path) -> KnownAs {
        let number = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            meta.file_type().is_block_device().then(|| meta.rdev())
        };
        let Some(device) = number(path) else {
            return KnownAs::default();
        };
        let links = std::fs::read_dir("/dev/disk/by-id");
        let links = links.into_iter().flatten().flatten();
        let here = links.filter(|link| number(&link.path()) == Some(device));
        let mut links: Vec<String> = here
            .map(|link| link.file_name().to_string_lossy().into_owned())
            .collect();
        links.sort();
        let usb = device_folder(device).is_ok_and(|folder| {
            let mut parts = folder.iter();
            parts.any(|part| part.to_string_lossy().starts_with("usb"))
        });
        let told = serial_of(device).filter(|serial| !usb && !is_wide_name(serial));
        KnownAs {
            serial: told.or_else(|| links.iter().find_map(|link| in_link(link))),
            links,
        }
    }
}

/// World-wide names are no serial numbers; they begin with who gave them.
fn is_wide_name(serial: &str) -> bool {
    let kinds = ["naa.", "eui.", "t10.", "uuid."];
    kinds.iter().any(|kind| serial.starts_with(kind))
}

/// The end of the serial number in a link that udev made of what an ATA drive says of itself, through USB too.
fn in_link(link: &str) -> Option<String> {
    let (_, serial) = link.strip_prefix("ata-")?.rsplit_once('_')?;
    let serial = match serial.rsplit_once("-part") {
        Some((serial, _)) => serial,
        None => serial,
    };
    (!serial.is_empty()).then(|| serial.to_owned())
}

/// A disk's serial number as sysfs tells it; a partition has its disk's.
///
/// NVMe and virtio disks have a file `serial`; SCSI and with it ATA and USB have page 0x80 of their vital product
/// data (a head of four bytes, then the number) and a world-wide name.
pub(super) fn serial_of(device: u64) -> Option<String> {
    const FILES: [(&str, usize); 4] = [
        ("serial", 0),
        ("device/serial", 0),
        ("device/vpd_pg80", 4),
        ("device/wwid", 0),
    ];
    let entry = device_folder(device).ok()?;
    let read = |(file, head): &(PathBuf, usize)| {
        let bytes = std::fs::read(entry.join(file)).ok()?;
        let text = bytes.get(*head..)?.iter().filter(|b| b.is_ascii_graphic());
        let text: String = text.map(|b| char::from(*b)).collect();
        (!text.is_empty()).then_some(text)
    };
    let of = |base: &'static str| FILES.map(|(file, head)| (Path::new(base).join(file), head));
    [of(""), of("..")].iter().flatten().find_map(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model or a world-wide name taken for a serial number would be held against every report.
    #[test]
    fn serials_in_links() {
        for (link, serial) in [
            (
                "ata-WDC_WD10EZEX-00BN5A0_WD-WCC3F1234567",
                Some("WD-WCC3F1234567"),
            ),
            ("ata-ST1000_Z4Y0ABCD-part2", Some("Z4Y0ABCD")),
            ("usb-WD_Elements_77-0:0", None),
            ("wwn-0x5000c500a1b2c3d4", None),
            ("scsi-35000c500a1b2c3d4", None),
        ] {
            assert_eq!(in_link(link).as_deref(), serial);
        }
        assert!(is_wide_name("naa.5000c500a1b2c3d4") && !is_wide_name("Z4Y0ABCD"));
        assert_eq!(KnownAs::of(Path::new("/dev/null")), KnownAs::default());
    }
}
