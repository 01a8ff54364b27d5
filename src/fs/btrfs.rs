//! The superblock of btrfs, to recognise one. Little endian, at byte 65536.
//!
//! Copies lie at 64 MiB and 256 GiB. Source: btrfs' on-disk format
//! documentation (btrfs.readthedocs.io).

use super::ext_features::crc32c;
use super::{text, uuid_text};
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// At byte 64 of the superblock.
pub const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// Where the first superblock lies.
pub const AT: Bytes = Bytes(65_536);

/// Bytes of a superblock.
pub const LEN: usize = 4096;

/// A superblock's first 555 bytes as they lie on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawSuperblock {
    /// 0x00: checksum of all behind it; with CRC-32C its first four bytes.
    #[doc(alias = "csum")]
    pub checksum: [u8; 32],
    /// 0x20: UUID of the file system.
    #[doc(alias = "fsid")]
    pub uuid: [u8; 16],
    /// 0x30: where this copy lies.
    #[doc(alias = "bytenr")]
    pub at: U64,
    /// 0x38: flags.
    pub flags: U64,
    /// 0x40: `_BHRfS_M`.
    pub magic: [u8; 8],
    /// 0x48: counts up at every change.
    pub generation: U64,
    /// 0x50: roots; total and used bytes of all devices; root folder.
    #[doc(alias = "root")]
    pub roots: [U64; 7],
    /// 0x88: devices.
    #[doc(alias = "num_devices")]
    pub devices: U64,
    /// 0x90: sector, node, leaf, stripe size.
    #[doc(alias = "sectorsize")]
    pub sizes: [U32; 4],
    /// 0xa0: not used here.
    pub unused: [u8; 36],
    /// 0xc4: 0 for CRC-32C.
    #[doc(alias = "csum_type")]
    pub checksum_kind: U16,
    /// 0xc6: levels of the roots.
    #[doc(alias = "root_level")]
    pub levels: [u8; 3],
    /// 0xc9: this device's number and length.
    #[doc(alias = "dev_item")]
    pub device: [U64; 2],
    /// 0xd9: the rest of its item.
    pub device_rest: [u8; 82],
    /// 0x12b: label.
    pub label: [u8; 256],
}

const _: () = assert!(size_of::<RawSuperblock>() == 0x22b);

/// A superblock, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    /// UUID of the file system.
    pub uuid: String,
    /// Label, safe to show.
    pub label: String,
    /// Devices that the file system lies on.
    pub devices: u64,
    /// This device's number among them.
    pub device: u64,
    /// Bytes used of this device.
    pub length: Bytes,
    /// Whether its checksum holds; only CRC-32C is computed.
    pub checksum: Checksum,
}

/// Reads the first superblock.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Unreadable`].
pub fn read(source: &dyn Source) -> Parsed<Superblock> {
    let (own, superblock) = read_copy(source, AT)?;
    match own == AT {
        true => Ok(superblock),
        false => Err(ParseError::NotThis),
    }
}

/// Reads the superblock at any place of a source: where on its own device it says that it lies (64 KiB, 64 MiB or
/// 256 GiB), and what it says.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Unreadable`].
pub fn read_copy(source: &dyn Source, at: Bytes) -> Parsed<(Bytes, Superblock)> {
    let bytes = read_vec(source, Extent::new(at, Bytes(LEN as u64)), LEN)?;
    let (raw, _) = RawSuperblock::ref_from_prefix(&bytes).map_err(|_| ParseError::NotThis)?;
    if &raw.magic != MAGIC {
        return Err(ParseError::NotThis);
    }
    let [a, b, c, d, ..] = raw.checksum;
    let checksum = match raw.checksum_kind.get() {
        0 if !crc32c(!0, bytes.get(32..).unwrap_or_default())
            == u32::from_le_bytes([a, b, c, d]) =>
        {
            Checksum::Ok
        }
        0 => Checksum::Bad,
        _ => Checksum::None,
    };
    let [device, length] = raw.device;
    let superblock = Superblock {
        uuid: uuid_text(&raw.uuid),
        label: text(&raw.label),
        devices: raw.devices.get(),
        device: device.get(),
        length: Bytes(length.get()),
        checksum,
    };
    Ok((Bytes(raw.at.get()), superblock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// No mkfs.btrfs here: laid out by the documented offsets, not by the struct.
    #[test]
    fn by_the_documented_offsets() {
        let mut bytes = vec![0; 128 << 10];
        let sb = &mut bytes[65_536..69_632];
        sb[0x32] = 1;
        sb[0x40..0x48].copy_from_slice(MAGIC);
        sb[0x88] = 2;
        sb[0xc9] = 1;
        sb[0xd1 + 3] = 1;
        sb[0x12b..0x12f].copy_from_slice(b"pool");
        let sum = !crc32c(!0, &sb[32..]);
        sb[..4].copy_from_slice(&sum.to_le_bytes());
        let sb = read(&Memory::new("m", bytes)).unwrap();
        assert_eq!((sb.label.as_str(), sb.devices, sb.device), ("pool", 2, 1));
        assert_eq!((sb.length, sb.checksum), (Bytes::mib(16), Checksum::Ok));
    }
}
