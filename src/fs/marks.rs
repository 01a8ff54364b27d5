//! Formats that can begin anywhere on a disk, by their magics, for the one pass over it.
//!
//! A table that is lost hides where volumes begin; their own heads do not need it. What is found is told where it lies,
//! and where its volume begins, as far as the format says that: a copy of XFS' superblock in a later allocation group
//! is the same to the byte and does not.

use super::probe::SignatureKind;
use super::{btrfs, luks, swap, xfs};
use crate::disk::gpt;
use crate::image::sweep::{Needle, Place};
use crate::image::{Rest, Source};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR};
use serde::{Deserialize, Serialize};

/// What a needle marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mark {
    /// A superblock of XFS.
    Xfs,
    /// A superblock of btrfs, any of its three.
    Btrfs,
    /// The first or second header of LUKS.
    Luks,
    /// The end of a swap area's first page, of 4 KiB.
    Swap,
    /// A header of a GUID partition table, either.
    Gpt,
}

/// Where in a btrfs superblock its magic lies.
const BTRFS_MAGIC_AT: usize = 0x40;

/// Where swap's magic lies in the last sector of its first page.
const SWAP_MAGIC_AT: usize = 502;

/// Where it lies in the area.
const SWAP_MAGIC: Bytes = Bytes(4096 - 10);

/// What a disk or partition begins on a multiple of.
const ROUND: u64 = 1 << 20;

/// `at` less `distance`, where that is not before the source.
fn before(at: Bytes, distance: Bytes) -> Option<Bytes> {
    at.0.checked_sub(distance.0).map(Bytes)
}

/// The needles of all of them: each lies at one place of a sector.
pub fn needles() -> [Needle<Mark>; 6] {
    let needle = |kind, bytes, at| Needle {
        kind,
        bytes,
        place: Place::InSector(at),
    };
    [
        needle(Mark::Xfs, xfs::MAGIC, 0),
        needle(Mark::Btrfs, btrfs::MAGIC, BTRFS_MAGIC_AT),
        needle(Mark::Luks, luks::MAGIC, 0),
        needle(Mark::Luks, luks::SECOND_MAGIC, 0),
        needle(Mark::Swap, swap::MAGIC, SWAP_MAGIC_AT),
        needle(Mark::Gpt, gpt::MAGIC, 0),
    ]
}

/// A structure that a needle led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Where it lies.
    #[serde(skip)]
    pub extent: Extent,
    /// Whether its checksum holds.
    #[serde(skip)]
    pub checksum: Checksum,
    /// Of what.
    pub format: SignatureKind,
    /// Where its volume begins, where it says so and that is in the source.
    pub volume_start: Option<Bytes>,
    /// How long the volume is, where it says so.
    pub volume_length: Option<Bytes>,
    /// The volume's label, safe to show.
    pub label: String,
    /// Its UUID.
    pub uuid: String,
}

impl Mark {
    /// Reads the structure whose magic lies at `hit`.
    ///
    /// # Errors
    /// What the format's own reading says.
    pub fn read(self, source: &dyn Source, hit: Bytes) -> Parsed<Head> {
        match self {
            Mark::Xfs => {
                let sb = xfs::read(&Rest::new(source, hit))?;
                Ok(Head {
                    extent: Extent::new(hit, Bytes(SECTOR)),
                    checksum: sb.checksum,
                    format: SignatureKind::Xfs,
                    volume_start: None,
                    volume_length: Some(sb.length),
                    label: sb.label,
                    uuid: sb.uuid,
                })
            }
            Mark::Btrfs => {
                let at = hit - Bytes(BTRFS_MAGIC_AT as u64);
                let (own, sb) = btrfs::read_copy(source, at)?;
                Ok(Head {
                    extent: Extent::new(at, Bytes(btrfs::LEN as u64)),
                    checksum: sb.checksum,
                    format: SignatureKind::Btrfs,
                    volume_start: before(at, own),
                    volume_length: Some(sb.length),
                    label: sb.label,
                    uuid: sb.uuid,
                })
            }
            Mark::Luks => {
                let (own, luks) = luks::read_header(source, hit)?;
                let format = match luks.version {
                    1 => SignatureKind::Luks1,
                    _ => SignatureKind::Luks2,
                };
                Ok(Head {
                    extent: Extent::new(hit, Bytes(SECTOR)),
                    checksum: luks.checksum,
                    format,
                    volume_start: before(hit, own),
                    volume_length: None,
                    label: luks.label,
                    uuid: luks.uuid,
                })
            }
            Mark::Swap => {
                let start = before(hit, SWAP_MAGIC).ok_or(ParseError::NotThis)?;
                let swap = swap::read(&Rest::new(source, start))?;
                Ok(Head {
                    extent: Extent::new(start, Bytes(swap.page.into())),
                    checksum: Checksum::None,
                    format: SignatureKind::Swap,
                    volume_start: Some(start),
                    volume_length: Some(swap.length),
                    label: swap.label,
                    uuid: swap.uuid.unwrap_or_default(),
                })
            }
            Mark::Gpt => {
                let (header, checksum) = gpt::read_header(source, hit)?;
                // It does not say how long its sectors are; disks begin at round places.
                let starts = [SECTOR, 4096].map(|sector| {
                    before(hit, Bytes(header.own_sector.get().saturating_mul(sector)))
                });
                let start = starts.into_iter().flatten().min_by_key(|s| s.0 % ROUND);
                Ok(Head {
                    extent: Extent::new(hit, Bytes(SECTOR)),
                    checksum,
                    format: SignatureKind::Gpt,
                    volume_start: start,
                    volume_length: None,
                    label: String::new(),
                    uuid: gpt::guid(&header.disk_guid),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{image, tool};
    use crate::image::Memory;
    use crate::image::progress::Silent;
    use crate::image::sweep::Sweep;

    fn heads(bytes: Vec<u8>) -> Vec<Head> {
        let source = Memory::new("m", bytes);
        let mut found = Vec::new();
        let _ = Sweep::new(&needles()).run(&source, &Silent, &mut |mark, at| {
            found.extend(mark.read(&source, at));
        });
        found.sort_by_key(|h| h.extent);
        found
    }

    /// Each maker's volume put into the middle of a disk without a table: its first head must say where it begins, and
    /// later copies must not be taken for volumes of their own.
    #[test]
    fn what_the_makers_made_is_found_in_the_middle_of_a_disk() {
        const START: usize = (3 << 20) + 512;
        let makers: [(&str, &[&str], u64, SignatureKind, bool); 3] = [
            ("mkswap", &["-q", "-L", "v"], 2, SignatureKind::Swap, true),
            (
                "mkfs.xfs",
                &["-q", "-f", "-L", "v"],
                512,
                SignatureKind::Xfs,
                false,
            ),
            (
                "mkfs.btrfs",
                &["-q", "-f", "-L", "v"],
                256,
                SignatureKind::Btrfs,
                true,
            ),
        ];
        for (maker, args, mib, format, says_start) in makers {
            let Some(volume) = image(maker, args, mib) else {
                continue;
            };
            let mut disk = vec![0; START];
            disk.extend_from_slice(&volume);
            let found = heads(disk);
            let first = found.first().unwrap();
            assert_eq!(
                (first.format, first.label.as_str()),
                (format, "v"),
                "{maker}"
            );
            assert_ne!(first.checksum, Checksum::Bad, "{maker}");
            let length = Bytes(volume.len() as u64);
            for head in &found {
                let start = says_start.then_some(Bytes(START as u64));
                assert_eq!(head.volume_start, start, "{maker} at {:?}", head.extent);
                assert_eq!(head.uuid, first.uuid);
                assert!(
                    head.volume_length.unwrap() <= length
                        && head.volume_length.unwrap() > Bytes::ZERO
                );
            }
            if format == SignatureKind::Xfs {
                assert_eq!(first.extent.offset, Bytes(START as u64));
                assert!(found.len() > 1, "one for each allocation group");
            }
        }
    }

    /// The second header is what is left of a LUKS2 volume whose front was overwritten; the backup table what is left of
    /// a partition table.
    #[test]
    fn second_headers_tell_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        let path = path.to_str().unwrap();
        std::fs::write(path, vec![0; 32 << 20]).unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "secret").unwrap();
        let luks = [
            "luksFormat",
            "-q",
            "--type",
            "luks2",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
        ];
        let luks = [&luks[..], &["--key-file", key.to_str().unwrap(), path]].concat();
        if tool("cryptsetup", &luks).is_some() {
            let mut disk = vec![0; 1 << 20];
            disk.extend(std::fs::read(path).unwrap());
            disk[1 << 20..(1 << 20) + 4096].fill(0);
            let found = heads(disk);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].format, SignatureKind::Luks2);
            assert_eq!(
                (found[0].volume_start, found[0].checksum),
                (Some(Bytes(1 << 20)), Checksum::Ok)
            );
        }
        std::fs::write(path, vec![0; 8 << 20]).unwrap();
        let made = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("echo ',' | PATH=$PATH:/sbin:/usr/sbin sfdisk -q -X gpt {path}"),
            ])
            .status();
        if made.is_ok_and(|s| s.success()) {
            let mut disk = std::fs::read(path).unwrap();
            disk[..1 << 20].fill(0);
            let found = heads(disk);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (found[0].volume_start, found[0].checksum),
                (Some(Bytes::ZERO), Checksum::Ok)
            );
        }
    }
}
