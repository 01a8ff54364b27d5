//! RAID formats of firmware: DDF and IMSM read as far as is safe, others by name.
//!
//! mdadm assembles DDF and IMSM itself; the others are a controller's own and md knows nothing of them. All lie at the
//! end of the whole disk.

use super::{ddf, imsm};
use crate::image::{Source, read_exact};
use crate::parse::{Checksum, ParseError};
use crate::units::{Bytes, SECTOR, SECTOR_LEN, Sectors};
use serde::Serialize;

/// One disk that firmware metadata lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What the metadata calls it: a serial number (IMSM), a reference (DDF).
    pub id: String,
    /// Sectors that the metadata counts on it.
    pub size: Sectors,
    /// Its state in words.
    pub state: String,
}

/// One volume that firmware metadata describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name, safe to print.
    pub name: String,
    /// The level in mdadm's words.
    pub level: String,
    /// The layout in mdadm's words, where it is known.
    pub layout: Option<String>,
    /// Chunk in sectors; 0 where the level has none.
    pub chunk: Sectors,
    /// Sectors of the volume.
    pub size: Sectors,
    /// For each slot in order: the disk's id, and the sector of that disk where the volume starts.
    pub slots: Vec<(Option<String>, Sectors)>,
    /// Its state in words.
    pub state: String,
}

/// Firmware metadata on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Firmware {
    /// The image.
    pub image: String,
    /// The format: `IMSM`, `DDF`, `LSI MegaRAID`, `Adaptec`.
    pub format: &'static str,
    /// Where its anchor lies.
    pub at: Bytes,
    /// Whether its checksum holds.
    pub checksum: Checksum,
    /// Its version, safe to print.
    pub version: String,
    /// Counted up with each change: the disk with the lower number is behind.
    pub generation: Option<u64>,
    /// Which of the disks it is that this lies on, where it says so.
    pub own: Option<String>,
    /// The disks that it lists.
    pub disks: Vec<Disk>,
    /// The volumes that it describes.
    pub volumes: Vec<Volume>,
    /// What a person should know, in words.
    pub notes: Vec<String>,
}

impl Firmware {
    /// Metadata of a format, with nothing read of it yet.
    pub(super) fn new(source: &dyn Source, format: &'static str, at: Bytes) -> Firmware {
        Firmware {
            image: source.name().to_owned(),
            format,
            at,
            checksum: Checksum::None,
            version: String::new(),
            generation: None,
            own: None,
            disks: Vec::new(),
            volumes: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// The firmware metadata on a whole disk, and what of it is broken.
pub fn find(disk: &dyn Source) -> (Vec<Firmware>, Vec<(&'static str, ParseError)>) {
    let mut found = Vec::new();
    let mut broken = Vec::new();
    for (format, read) in [("IMSM", imsm::read(disk)), ("DDF", ddf::read(disk))] {
        match read {
            Ok(firmware) => found.push(firmware),
            Err(ParseError::NotThis) => {}
            Err(error) => broken.push((format, error)),
        }
    }
    found.extend(by_name(disk));
    (found, broken)
}

/// Formats known by the magic in the last sector alone.
fn by_name(disk: &dyn Source) -> Option<Firmware> {
    /// What Adaptec's HostRAID leaves: 0x37fc4d1e at byte 0 and `DPTM` at byte 256, big-endian.
    const ADAPTEC: (&[u8], &[u8]) = (b"\x37\xfc\x4d\x1e", b"DPTM");
    const LSI: &[u8] = b"$XIDE$";
    let at = Bytes((disk.len().0 / SECTOR).checked_sub(1)? * SECTOR);
    let mut sector = [0; SECTOR_LEN];
    read_exact(disk, at, &mut sector).ok()?;
    let adaptec = sector.starts_with(ADAPTEC.0)
        && sector
            .get(256..)
            .is_some_and(|tail| tail.starts_with(ADAPTEC.1));
    let format = match () {
        () if sector.starts_with(LSI) => "LSI MegaRAID",
        () if adaptec => "Adaptec",
        () => return None,
    };
    let mut firmware = Firmware::new(disk, format, at);
    firmware.notes.push(
        "known by name only; md does not assemble it: `md guess` can tell the array from its data"
            .to_owned(),
    );
    Some(firmware)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// Data that ends like a magic by chance, and a disk of no whole sector, are no firmware RAID.
    #[test]
    fn only_whole_magics_count() {
        let mut bytes = vec![0; 4096];
        bytes[3584..3588].copy_from_slice(b"\x37\xfc\x4d\x1e");
        assert!(find(&Memory::new("m", bytes.clone())).0.is_empty());
        bytes[3840..3844].copy_from_slice(b"DPTM");
        let found = find(&Memory::new("m", bytes)).0;
        assert_eq!((found[0].format, found[0].at), ("Adaptec", Bytes(3584)));
        assert!(find(&Memory::new("m", vec![1; 100])).0.is_empty());
    }
}
