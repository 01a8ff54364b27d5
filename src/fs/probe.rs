//! What begins at the start of a source.
//!
//! All formats are asked, as a volume often carries several: an ext file
//! system over what was once swap, a table over an LVM label. What could not
//! be read is told beside what was found: "nothing found" is only true of
//! what was read.

use super::{btrfs, ext, luks, swap, xfs};
use crate::disk::{self, TableKind};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, SECTOR_LEN, merge};
use serde::Serialize;

/// A format that can be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureKind {
    /// A DOS partition table.
    Dos,
    /// A GUID partition table.
    Gpt,
    /// LVM's label: a physical volume.
    Lvm,
    /// A LUKS1 header.
    Luks1,
    /// A LUKS2 header.
    Luks2,
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// Some ext whose superblock is damaged.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// A swap area.
    Swap,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// NTFS.
    Ntfs,
    /// A qcow2 image inside of the volume.
    Qcow2,
}

impl SignatureKind {
    /// As blkid calls it, where it knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            SignatureKind::Dos => "dos",
            SignatureKind::Gpt => "gpt",
            SignatureKind::Lvm => "LVM2_member",
            SignatureKind::Luks1 => "LUKS1",
            SignatureKind::Luks2 => "LUKS2",
            SignatureKind::Ext2 => "ext2",
            SignatureKind::Ext3 => "ext3",
            SignatureKind::Ext4 => "ext4",
            SignatureKind::Ext => "ext",
            SignatureKind::Xfs => "xfs",
            SignatureKind::Btrfs => "btrfs",
            SignatureKind::Swap => "swap",
            SignatureKind::Fat => "vfat",
            SignatureKind::Ntfs => "ntfs",
            SignatureKind::Qcow2 => "qcow2",
        }
    }
}

/// Something recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// What.
    pub kind: SignatureKind,
    /// Where, as it says itself; it may end behind the source. Its length is zero where it does not say.
    pub extent: Extent,
    /// Its label, safe to show.
    pub label: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// What else is worth a word.
    pub detail: String,
    /// Whether its checksum holds.
    pub checksum: Checksum,
}

/// What was recognised, and what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Sorted by kind.
    pub signatures: Vec<Signature>,
    /// What a format wanted to see and could not.
    pub unread: Vec<Extent>,
}

impl Signature {
    fn new(kind: SignatureKind, length: Bytes, detail: String) -> Signature {
        Signature {
            kind,
            extent: Extent::new(Bytes::ZERO, length),
            label: None,
            uuid: None,
            detail,
            checksum: Checksum::None,
        }
    }

    fn named(mut self, label: &str, uuid: &str, checksum: Checksum) -> Signature {
        self.label = (!label.is_empty()).then(|| label.to_owned());
        self.uuid = (!uuid.is_empty()).then(|| uuid.to_owned());
        self.checksum = checksum;
        self
    }
}

/// Asks every format about the start of `source`.
pub fn probe(source: &dyn Source) -> Probe {
    let mut found = Probe::default();
    for ask in [table, lvm, luks, ext, xfs, btrfs, swap, fat, ntfs, qcow2] {
        match ask(source) {
            Ok(signature) => found.signatures.push(signature),
            Err(ParseError::Unreadable(extent)) => found.unread.push(extent),
            Err(_) => {}
        }
    }
    found.signatures.sort_by_key(|s| s.kind);
    found.unread = merge(found.unread);
    found
}

fn table(source: &dyn Source) -> Parsed<Signature> {
    let table = disk::partitions(source)?;
    let kind = match table.kind {
        TableKind::Dos => SignatureKind::Dos,
        TableKind::Gpt => SignatureKind::Gpt,
    };
    let mut detail = format!("{} partitions", table.partitions.len());
    for warning in &table.warnings {
        detail.push_str("; ");
        detail.push_str(warning);
    }
    Ok(Signature::new(kind, source.len(), detail).named("", &table.disk_id, table.checksum))
}

/// Only that there is one: what it says is LVM's part.
fn lvm(source: &dyn Source) -> Parsed<Signature> {
    let bytes = read_vec(source, Extent::new(Bytes(0), Bytes(2048)), 2048)?;
    let sector = bytes
        .chunks(SECTOR_LEN)
        .position(|sector| sector.starts_with(b"LABELONE"))
        .ok_or(ParseError::NotThis)?;
    let detail = format!("label in sector {sector}");
    Ok(Signature::new(SignatureKind::Lvm, Bytes(0), detail))
}

fn luks(source: &dyn Source) -> Parsed<Signature> {
    let luks = luks::read(source)?;
    let kind = match luks.version {
        1 => SignatureKind::Luks1,
        _ => SignatureKind::Luks2,
    };
    let detail = luks.cipher.clone().unwrap_or_default();
    Ok(Signature::new(kind, source.len(), detail).named(&luks.label, &luks.uuid, luks.checksum))
}

fn ext(source: &dyn Source) -> Parsed<Signature> {
    let sb = match ext::Superblock::read(source, ext::PRIMARY) {
        Ok(sb) => sb,
        Err(error @ ParseError::Broken { .. }) => {
            let detail = format!("the superblock is {error}");
            return Ok(Signature::new(SignatureKind::Ext, Bytes(0), detail));
        }
        Err(error) => return Err(error),
    };
    let kind = match sb.kind() {
        "ext2" => SignatureKind::Ext2,
        "ext3" => SignatureKind::Ext3,
        _ => SignatureKind::Ext4,
    };
    let mut detail = match sb.last_mounted.as_str() {
        "" => "mount point unknown".to_owned(),
        place => format!("last mounted on {place}"),
    };
    if sb.needs_recovery() {
        detail.push_str("; not unmounted: its journal is needed");
    }
    if sb.group != 0 {
        detail.push_str("; a copy that belongs to a later group");
    }
    Ok(Signature::new(kind, sb.length(), detail).named(&sb.label, &sb.uuid, sb.checksum))
}

fn xfs(source: &dyn Source) -> Parsed<Signature> {
    let sb = xfs::read(source)?;
    let detail = format!("version {}, {} allocation groups", sb.version, sb.groups);
    Ok(Signature::new(SignatureKind::Xfs, sb.length, detail).named(
        &sb.label,
        &sb.uuid,
        sb.checksum,
    ))
}

fn btrfs(source: &dyn Source) -> Parsed<Signature> {
    let sb = btrfs::read(source)?;
    let detail = format!("device {} of {}", sb.device, sb.devices);
    Ok(
        Signature::new(SignatureKind::Btrfs, sb.length, detail).named(
            &sb.label,
            &sb.uuid,
            sb.checksum,
        ),
    )
}

fn swap(source: &dyn Source) -> Parsed<Signature> {
    let swap = swap::read(source)?;
    let detail = format!("pages of {}", swap.page);
    let uuid = swap.uuid.unwrap_or_default();
    Ok(
        Signature::new(SignatureKind::Swap, swap.length, detail).named(
            &swap.label,
            &uuid,
            Checksum::None,
        ),
    )
}

/// The first sector, all of it.
fn sector(source: &dyn Source) -> Parsed<Vec<u8>> {
    let bytes = read_vec(source, Extent::new(Bytes(0), Bytes(512)), SECTOR_LEN)?;
    if bytes.len() < SECTOR_LEN {
        return Err(ParseError::NotThis);
    }
    Ok(bytes)
}

/// `N` bytes at `at`; zeros where there are too few.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes.get(at..).and_then(|b| b.first_chunk());
    field.copied().unwrap_or([0; N])
}

/// FAT by the name of its kind, at byte 82 (FAT32) or 54.
fn fat(source: &dyn Source) -> Parsed<Signature> {
    let boot = sector(source)?;
    let size = u64::from(u16::from_le_bytes(field(&boot, 11)));
    let base = match (field::<5>(&boot, 82), field::<3>(&boot, 54)) {
        ([b'F', b'A', b'T', b'3', b'2'], _) => 67,
        (_, [b'F', b'A', b'T']) => 39,
        _ => return Err(ParseError::NotThis),
    };
    if !matches!(size, 512 | 1024 | 2048 | 4096) || field(&boot, 510) != [0x55, 0xaa] {
        return Err(ParseError::NotThis);
    }
    let sectors = match u16::from_le_bytes(field(&boot, 19)) {
        0 => u64::from(u32::from_le_bytes(field(&boot, 32))),
        few => few.into(),
    };
    let [a, b, c, d] = field::<4>(&boot, base);
    let serial = format!("{d:02X}{c:02X}-{b:02X}{a:02X}");
    let label = crate::parse::printable(field::<11>(&boot, base + 4).trim_ascii());
    let detail = crate::parse::printable(field::<8>(&boot, base + 15).trim_ascii());
    Ok(
        Signature::new(SignatureKind::Fat, Bytes(sectors * size), detail).named(
            &label,
            &serial,
            Checksum::None,
        ),
    )
}

/// NTFS by its name at byte 3; sectors at byte 40, serial number at byte 72.
fn ntfs(source: &dyn Source) -> Parsed<Signature> {
    let boot = sector(source)?;
    let size = u64::from(u16::from_le_bytes(field(&boot, 11)));
    if &field::<8>(&boot, 3) != b"NTFS    " || !matches!(size, 512 | 1024 | 2048 | 4096) {
        return Err(ParseError::NotThis);
    }
    let sectors = u64::from_le_bytes(field(&boot, 40)).saturating_add(1);
    let serial = format!("{:016X}", u64::from_le_bytes(field(&boot, 72)));
    let length = Bytes(sectors.saturating_mul(size));
    Ok(
        Signature::new(SignatureKind::Ntfs, length, String::new()).named(
            "",
            &serial,
            Checksum::None,
        ),
    )
}

/// qcow2 by its magic; version at byte 4, size of what it holds at byte 24, big endian.
fn qcow2(source: &dyn Source) -> Parsed<Signature> {
    let head = sector(source)?;
    let version = u32::from_be_bytes(field(&head, 4));
    if &field::<4>(&head, 0) != b"QFI\xfb" || !(1..=3).contains(&version) {
        return Err(ParseError::NotThis);
    }
    let size = Bytes(u64::from_be_bytes(field(&head, 24)));
    let backed = u64::from_be_bytes(field(&head, 8)) != 0;
    let tail = if backed { ", over a backing file" } else { "" };
    let detail = format!("version {version}, holds {} bytes{tail}", size.0);
    Ok(Signature::new(SignatureKind::Qcow2, Bytes(0), detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{image, mke2fs, tool};
    use crate::image::Memory;
    use proptest::prelude::*;

    /// blkid's answer to `field` about an image.
    fn blkid(bytes: &[u8], field: &str) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let out = tool(
            "blkid",
            &[
                "-p",
                "-o",
                "value",
                "-s",
                field,
                file.path().to_str().unwrap(),
            ],
        )?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    /// What blkid names and we do not is a volume passed over.
    #[test]
    fn as_blkid_names_it() {
        let images = [
            mke2fs(&["-t", "ext2", "-L", "one"], 4, None),
            mke2fs(&["-t", "ext3", "-L", "two"], 4, None),
            mke2fs(&["-t", "ext4", "-L", "three"], 4, None),
            image("mkfs.xfs", &["-q", "-f", "-L", "four"], 310),
            image("mkswap", &["-q", "-L", "five"], 1),
            image("mkfs.vfat", &["-n", "SIX"], 40),
        ];
        for bytes in images.into_iter().flatten() {
            let Some(kind) = blkid(&bytes, "TYPE") else {
                return;
            };
            let (label, uuid) = (blkid(&bytes, "LABEL"), blkid(&bytes, "UUID"));
            let length = Bytes(bytes.len() as u64);
            let found = probe(&Memory::new("m", bytes));
            assert_eq!(found.signatures.len(), 1, "{found:?}");
            let one = &found.signatures[0];
            assert_eq!(one.kind.as_str(), kind);
            assert_eq!((&one.label, &one.uuid), (&label, &uuid));
            assert_eq!(one.extent, Extent::new(Bytes(0), length));
            assert_ne!(one.checksum, Checksum::Bad);
        }
    }

    /// An unreadable start that counts as "nothing there" would be passed over for good.
    #[test]
    fn an_unreadable_start_is_told() {
        let gap = Extent::new(Bytes(0), Bytes(4096));
        let found = probe(&Memory::new("m", vec![0; 1 << 20]).with_unread(gap));
        assert_eq!(found.signatures, []);
        // As far as a format wanted to see.
        assert_eq!(found.unread, [Extent::new(Bytes(0), Bytes(2048))]);
        assert_eq!(probe(&Memory::new("m", vec![0; 1 << 20])), Probe::default());
    }

    proptest! {
        /// Whatever follows a magic.
        #[test]
        fn any_bytes_do_no_harm(
            noise in prop::collection::vec(any::<u8>(), 2048),
            length in 0usize..70_000,
            magic in 0usize..8,
        ) {
            let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(70_000).collect();
            let (at, text): (usize, &[u8]) = [
                (0, &b"XFSB"[..]),
                (0, b"LUKS\xba\xbe\0\x02"),
                (0, b"LUKS\xba\xbe\0\x01"),
                (0, b"QFI\xfb\0\0\0\x02"),
                (4086, b"SWAPSPACE2"),
                (65_600, b"_BHRfS_M"),
                (3, b"NTFS    \0\x02"),
                (82, b"FAT32"),
            ][magic];
            bytes[at..at + text.len()].copy_from_slice(text);
            bytes.truncate(length);
            let _ = probe(&Memory::new("m", bytes));
        }
    }
}
