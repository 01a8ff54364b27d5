//! What begins at a volume's first byte.

use super::ext;
use crate::disk;
use crate::image::{Source, read_vec};
use crate::lvm::label;
use crate::parse::printable;
use crate::units::{Bytes, Extent};
use serde::Serialize;

/// Something recognised at a volume's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// `ext3`, `swap`, `dos`, `LVM2`, …
    pub kind: &'static str,
    /// Its UUID or number, where it has one.
    pub uuid: Option<String>,
    /// Its label, safe to print.
    pub label: Option<String>,
    /// More in words.
    pub detail: Option<String>,
}

impl Signature {
    fn plain(kind: &'static str) -> Signature {
        Signature {
            kind,
            uuid: None,
            label: None,
            detail: None,
        }
    }
}

/// A magic with nothing behind it that we decode: where, what, whose.
///
/// Sources: the formats' own documents. Swap's lies in the last ten bytes of the first page, whose size differs.
const MAGICS: [(u64, &[u8], &str); 10] = [
    (0, b"XFSB", "xfs"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"QFI\xfb", "qcow2"),
    (3, b"NTFS    ", "ntfs"),
    (82, b"FAT32   ", "vfat"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (4086, b"SWAPSPACE2", "swap"),
    (8182, b"SWAPSPACE2", "swap"),
    (16374, b"SWAPSPACE2", "swap"),
    (65526, b"SWAPSPACE2", "swap"),
];

/// Everything that begins here; several where one was written over another.
pub fn probe(source: &dyn Source) -> Vec<Signature> {
    let mut found = Vec::new();
    if let Ok(superblock) = ext::Superblock::read(source, ext::AT)
        && superblock.group == 0
    {
        found.push(Signature {
            kind: superblock.kind,
            uuid: Some(superblock.uuid.clone()),
            label: (!superblock.label.is_empty()).then(|| superblock.label.clone()),
            detail: Some(format!("{} long", superblock.length())),
        });
    }
    for (at, magic, kind) in MAGICS {
        let extent = Extent::new(Bytes(at), Bytes(magic.len() as u64));
        if read_vec(source, extent, magic.len()).is_ok_and(|bytes| bytes == magic) {
            found.push(match kind {
                "swap" => swap(source),
                _ => Signature::plain(kind),
            });
        }
    }
    for sector in 0..4 {
        if let Ok(label) = label::Label::read(source, Bytes(sector * 512)) {
            found.push(Signature {
                uuid: Some(label.pv_uuid),
                ..Signature::plain("LVM2")
            });
        }
    }
    if let Ok(table) = disk::partitions(source) {
        found.push(Signature {
            kind: match table.kind {
                disk::Kind::Dos => "dos",
                disk::Kind::Gpt => "gpt",
            },
            uuid: Some(table.disk_id),
            label: None,
            detail: Some(match table.partitions.len() {
                1 => "1 partition".to_owned(),
                n => format!("{n} partitions"),
            }),
        });
    }
    found
}

/// Swap: UUID at byte 1036, label at 1052.
fn swap(source: &dyn Source) -> Signature {
    let head = read_vec(source, Extent::new(Bytes(1036), Bytes(32)), 32).unwrap_or_default();
    let label = head.get(16..).unwrap_or_default();
    let label = printable(label.split(|b| *b == 0).next().unwrap_or_default());
    Signature {
        uuid: head.first_chunk().map(ext::uuid),
        label: (!label.is_empty()).then_some(label),
        ..Signature::plain("swap")
    }
}
