//! gzip files: a header, one deflated stream, and the checksum and length of what it held.
//!
//! Source: RFC 1952; RFC 1951.

use super::streams::Step;
use crate::parse::{le16, le32};
use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Magic and the only method there is.
const MAGIC: &[u8] = b"\x1f\x8b\x08";
/// Bytes of a header without the parts that its flags tell of.
const HEADER: usize = 10;
/// Flags: a checksum of the header, more fields, a name, a comment; others are reserved.
const HAS_CRC: u8 = 2;
const HAS_MORE: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;
/// Bytes behind the stream: checksum, length.
const TRAILER: usize = 8;

/// What is inflated at a time.
const OUTPUT: usize = 64 << 10;

/// Whether a gzip file begins so.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let flags = bytes.get(3).copied().unwrap_or(RESERVED);
    let system = bytes.get(9).copied().unwrap_or_default();
    bytes.starts_with(MAGIC)
        && flags & RESERVED == 0
        && matches!(bytes.get(8), Some(0 | 2 | 4))
        && (system <= 13 || system == 255)
}

/// Where the stream begins.
fn header(bytes: &[u8]) -> Option<usize> {
    if !begins(bytes) {
        return None;
    }
    let flags = *bytes.get(3)?;
    let mut at = HEADER;
    if flags & HAS_MORE != 0 {
        at += 2 + usize::from(le16(bytes, at)?);
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            at += 1 + bytes.get(at..)?.iter().position(|b| *b == 0)?;
        }
    }
    if flags & HAS_CRC != 0 {
        at += 2;
    }
    Some(at)
}

/// A file that is read bit by bit; a copy goes on from where it stands.
#[derive(Clone)]
pub(super) struct Stream {
    state: Box<InflateState>,
    crc: Digest<'static, u32, Table<16>>,
    length: u32,
    /// The trailer's bytes, once the stream is over.
    trailer: Option<Vec<u8>>,
}

impl Stream {
    /// The file that begins these bytes, and where its stream does.
    pub(super) fn begin(bytes: &[u8]) -> Option<(Stream, usize)> {
        let stream = Stream {
            state: InflateState::new_boxed(DataFormat::Raw),
            crc: CRC32.digest(),
            length: 0,
            trailer: None,
        };
        Some((stream, header(bytes)?))
    }

    /// Goes on with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Step {
        let mut output = vec![0; OUTPUT];
        let mut used = 0;
        while self.trailer.is_none() {
            let rest = bytes.get(used..).unwrap_or_default();
            let result = inflate(&mut self.state, rest, &mut output, MZFlush::None);
            used += result.bytes_consumed;
            let written = output.get(..result.bytes_written).unwrap_or_default();
            self.crc.update(written);
            self.length = self
                .length
                .wrapping_add(u32::try_from(written.len()).unwrap_or(0));
            match result.status {
                Ok(MZStatus::StreamEnd) => self.trailer = Some(Vec::new()),
                Ok(_) if result.bytes_consumed + written.len() > 0 => {}
                Ok(_) | Err(MZError::Buf) if used == bytes.len() => return Step::More,
                _ => return Step::Broken,
            }
        }
        let Some(trailer) = &mut self.trailer else {
            return Step::Broken;
        };
        let rest = bytes.get(used..).unwrap_or_default();
        let lacks = rest.get(..TRAILER - trailer.len()).unwrap_or(rest);
        trailer.extend(lacks);
        if trailer.len() < TRAILER {
            return Step::More;
        }
        let told = (le32(trailer, 0), le32(trailer, 4));
        match told == (Some(self.crc.clone().finalize()), Some(self.length)) {
            true => Step::Whole(used + lacks.len()),
            false => Step::Broken,
        }
    }
}
