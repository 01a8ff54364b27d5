//! Swap areas, to recognise one.
//!
//! The magic ends the first page, whose size the machine that made it had:
//! 4, 8, 16 or 64 KiB. What else there is lies at byte 1024, in that
//! machine's byte order; the version, 1, shows which. Source: mkswap of
//! util-linux, which made what the tests read.

use super::{text, uuid_text};
use crate::image::{Source, read_vec};
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The last ten bytes of the first page.
pub const MAGIC: &[u8; 10] = b"SWAPSPACE2";
/// The same in the format that has no header.
pub const OLD_MAGIC: &[u8; 10] = b"SWAP-SPACE";

/// What lies at byte 1024.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    /// 0: 1.
    pub version: [u8; 4],
    /// 4: last page.
    pub last_page: [u8; 4],
    /// 8: bad pages.
    #[doc(alias = "nr_badpages")]
    pub bad_pages: [u8; 4],
    /// 12: UUID.
    #[doc(alias = "sws_uuid")]
    pub uuid: [u8; 16],
    /// 28: label.
    #[doc(alias = "sws_volume")]
    pub label: [u8; 16],
}

const _: () = assert!(size_of::<RawHeader>() == 44);

/// A swap area, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// Bytes a page.
    pub page: u32,
    /// Its length; 0 where the old format does not tell.
    pub length: Bytes,
    /// UUID, if it has one.
    pub uuid: Option<String>,
    /// Label, safe to show.
    pub label: String,
}

/// Reads what says that `source` is a swap area.
///
/// # Errors
/// [`ParseError::NotThis`], [`ParseError::Unreadable`].
pub fn read(source: &dyn Source) -> Parsed<Swap> {
    let header = read_vec(source, Extent::new(Bytes(1024), Bytes(44)), 44)?;
    let mut unread = None;
    for page in [4096u32, 8192, 16_384, 65_536] {
        let end = Extent::new(Bytes(u64::from(page) - 10), Bytes(10));
        match read_vec(source, end, 10) {
            Ok(magic) if magic == MAGIC => {
                let (raw, _) =
                    RawHeader::ref_from_prefix(&header).map_err(|_| ParseError::NotThis)?;
                return Ok(decode(raw, page));
            }
            Ok(magic) if magic == OLD_MAGIC => {
                return Ok(Swap {
                    page,
                    length: Bytes(0),
                    uuid: None,
                    label: String::new(),
                });
            }
            Ok(_) => {}
            Err(error) => unread = Some(error),
        }
    }
    Err(unread.unwrap_or(ParseError::NotThis))
}

fn decode(raw: &RawHeader, page: u32) -> Swap {
    let number = match raw.version {
        [1, 0, 0, 0] => u32::from_le_bytes,
        _ => u32::from_be_bytes,
    };
    Swap {
        page,
        length: Bytes((u64::from(number(raw.last_page)) + 1) * u64::from(page)),
        uuid: (raw.uuid != [0; 16]).then(|| uuid_text(&raw.uuid)),
        label: text(&raw.label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::image;
    use crate::image::Memory;

    /// A swap area taken for empty space loses the place of what lies behind it.
    #[test]
    fn as_mkswap_made_it() {
        let uuid = "11111111-2222-3333-4444-555555555555";
        for page in ["4096", "65536"] {
            let args = ["-q", "-L", "swap0", "-U", uuid, "-p", page];
            let Some(bytes) = image("mkswap", &args, 2) else {
                return;
            };
            let swap = read(&Memory::new("m", bytes)).unwrap();
            assert_eq!(swap.page.to_string(), page);
            assert_eq!(
                (swap.uuid.as_deref(), swap.label.as_str()),
                (Some(uuid), "swap0")
            );
            assert_eq!(swap.length, Bytes::mib(2));
        }
    }
}
