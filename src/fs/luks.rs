//! Headers of encrypted volumes (LUKS 1 and 2), to recognise one. Big endian.
//!
//! LUKS2 has two headers of equal size, the second with another magic, each
//! with a SHA-256 over itself and its JSON area. Source: "LUKS1 On-Disk Format
//! Specification" 1.2.3 and "LUKS2 On-Disk Format Specification" 1.1.

use super::text;
use crate::image::{Source, read_vec};
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// At byte 0.
pub const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";

/// At byte 0 of the second header of LUKS2.
pub const SECOND_MAGIC: &[u8; 6] = b"SKUL\xba\xbe";

/// The largest LUKS2 header that the specification allows.
const HEADER_MOST: usize = 4 << 20;

/// A LUKS1 header's first 208 bytes as they lie on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawLuks1 {
    /// 0: `LUKS`, ba be.
    pub magic: [u8; 6],
    /// 6: 1.
    pub version: U16,
    /// 8: cipher.
    #[doc(alias = "cipher-name")]
    pub cipher: [u8; 32],
    /// 40: its mode.
    #[doc(alias = "cipher-mode")]
    pub mode: [u8; 32],
    /// 72: hash.
    #[doc(alias = "hash-spec")]
    pub hash: [u8; 32],
    /// 104: first sector of the encrypted content.
    #[doc(alias = "payload-offset")]
    pub payload: U32,
    /// 108: bytes of the key.
    #[doc(alias = "key-bytes")]
    pub key_bytes: U32,
    /// 112: digest, salt and iterations.
    #[doc(alias = "mk-digest")]
    pub digest: [u8; 56],
    /// 168: UUID, as text.
    pub uuid: [u8; 40],
}

/// A LUKS2 header's binary part, without padding, as it lies on disk.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawLuks2 {
    /// 0: `LUKS`, ba be.
    pub magic: [u8; 6],
    /// 6: 2.
    pub version: U16,
    /// 8: bytes of this header with its JSON area.
    #[doc(alias = "hdr_size")]
    pub size: U64,
    /// 16: counts up at every change.
    #[doc(alias = "seqid")]
    pub sequence: U64,
    /// 24: label.
    pub label: [u8; 48],
    /// 72: name of the checksum.
    #[doc(alias = "csum_alg")]
    pub checksum_kind: [u8; 32],
    /// 104: salt.
    pub salt: [u8; 64],
    /// 168: UUID, as text.
    pub uuid: [u8; 40],
    /// 208: a second label.
    pub subsystem: [u8; 48],
    /// 256: where this header lies.
    #[doc(alias = "hdr_offset")]
    pub offset: U64,
    /// 264: zero.
    pub padding: [u8; 184],
    /// 448: checksum, of all with this field zero.
    #[doc(alias = "csum")]
    pub checksum: [u8; 64],
}

const _: () = assert!(size_of::<RawLuks1>() == 208 && size_of::<RawLuks2>() == 512);

/// A header, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Luks {
    /// 1 or 2.
    pub version: u16,
    /// UUID, safe to show.
    pub uuid: String,
    /// Label, safe to show; LUKS1 has none.
    pub label: String,
    /// Cipher of LUKS1; LUKS2 has it in its JSON.
    pub cipher: Option<String>,
    /// Where the encrypted content begins, with LUKS1.
    pub payload: Option<Bytes>,
    /// Whether its checksum holds; LUKS1 has none.
    pub checksum: Checksum,
}

/// The place in its volume of the header that starts these bytes: LUKS2 keeps two copies, each with its place; `None`
/// where none starts here.
pub fn header_place(bytes: &[u8]) -> Option<Bytes> {
    let second = bytes.starts_with(SECOND_MAGIC);
    if !bytes.starts_with(MAGIC) && !second {
        return None;
    }
    let version = u16::from_be_bytes(*bytes.get(6..)?.first_chunk()?);
    match version {
        1 if !second => Some(Bytes::ZERO),
        // `hdr_offset`
        2 => Some(Bytes(u64::from_be_bytes(*bytes.get(256..)?.first_chunk()?))),
        _ => None,
    }
}

/// Reads the header at `source`'s start.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Unsupported`] for another version, [`ParseError::Unreadable`].
pub fn read(source: &dyn Source) -> Parsed<Luks> {
    let (place, luks) = read_header(source, Bytes::ZERO)?;
    match place == Bytes::ZERO {
        true => Ok(luks),
        false => Err(ParseError::NotThis),
    }
}

/// Reads either header of a volume, wherever it lies in `source`: the place in its volume that it says it has, and what
/// it says.
///
/// # Errors
/// As [`read`].
pub fn read_header(source: &dyn Source, at: Bytes) -> Parsed<(Bytes, Luks)> {
    let bytes = read_vec(source, Extent::new(at, Bytes(512)), 512)?;
    let place = header_place(&bytes);
    let (one, _) = RawLuks1::ref_from_prefix(&bytes).map_err(|_| ParseError::NotThis)?;
    let version = one.version.get();
    let luks = match (version, place) {
        (1, Some(_)) => Luks {
            version,
            uuid: text(&one.uuid),
            label: String::new(),
            cipher: Some(format!("{}-{}", text(&one.cipher), text(&one.mode))),
            payload: Sectors(one.payload.get().into()).to_bytes(),
            checksum: Checksum::None,
        },
        (2, Some(_)) => {
            let (two, _) = RawLuks2::ref_from_prefix(&bytes).map_err(|_| ParseError::NotThis)?;
            Luks {
                version,
                uuid: text(&two.uuid),
                label: text(&two.label),
                cipher: None,
                payload: None,
                checksum: checksum(source, at, two)?,
            }
        }
        _ if &one.magic != MAGIC || matches!(version, 1 | 2) => return Err(ParseError::NotThis),
        _ => return Err(ParseError::Unsupported(format!("LUKS version {version}"))),
    };
    Ok((place.unwrap_or_default(), luks))
}

fn checksum(source: &dyn Source, at: Bytes, raw: &RawLuks2) -> Parsed<Checksum> {
    if text(&raw.checksum_kind) != "sha256" {
        return Ok(Checksum::None);
    }
    let extent = Extent::new(at, Bytes(raw.size.get()));
    let whole = read_vec(source, extent, HEADER_MOST)?;
    let mut hash = Sha256::new();
    hash.update(whole.get(..448).unwrap_or_default());
    hash.update([0; 64]);
    hash.update(whole.get(512..).unwrap_or_default());
    let holds = raw.checksum.get(..32) == Some(hash.finalize().as_slice());
    Ok(if holds { Checksum::Ok } else { Checksum::Bad })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// No cryptsetup here: laid out by the specification's offsets, not by the struct.
    #[test]
    fn both_versions_by_the_specification() {
        let mut one = vec![0; 4096];
        one[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
        one[8..11].copy_from_slice(b"aes");
        one[40..51].copy_from_slice(b"xts-plain64");
        one[104..108].copy_from_slice(&4096u32.to_be_bytes());
        one[168..172].copy_from_slice(b"1234");
        let luks = read(&Memory::new("m", one)).unwrap();
        assert_eq!(luks.cipher.as_deref(), Some("aes-xts-plain64"));
        assert_eq!(luks.payload, Some(Bytes::mib(2)));
        assert_eq!(luks.uuid, "1234");
        let mut two = vec![0; 16_384];
        two[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
        two[8..16].copy_from_slice(&16_384u64.to_be_bytes());
        two[24..28].copy_from_slice(b"home");
        two[72..78].copy_from_slice(b"sha256");
        let sum = Sha256::digest(&two);
        two[448..480].copy_from_slice(&sum);
        let luks = read(&Memory::new("m", two.clone())).unwrap();
        assert_eq!((luks.label.as_str(), luks.checksum), ("home", Checksum::Ok));
        two[9000] = 1;
        assert_eq!(
            read(&Memory::new("m", two)).unwrap().checksum,
            Checksum::Bad
        );
    }
}
