//! What parsing can say.
//!
//! "Could not be read", "is something else", "is ours but broken" and "is
//! ours, whole, but beyond us" lead a person to four different next steps, so
//! they are four variants everywhere.

use crate::units::{Bytes, Extent};
use thiserror::Error;

/// Why a structure could not be had from where it was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes could not be read: a bad sector, a missing member, or the end of the image.
    #[error("cannot be read at byte {} (+{})", .0.offset.0, .0.length.0)]
    Unreadable(Extent),
    /// The magic is not there: something else lies here.
    #[error("nothing of the kind is there")]
    NotThis,
    /// The magic is there and something behind it cannot be so.
    #[error("broken at byte {}: expected {expected}, found {found}", .at.0)]
    Broken {
        /// Where, in the source that was read.
        at: Bytes,
        /// What a sound one has there.
        expected: String,
        /// What lies there.
        found: String,
    },
    /// Sound as far as we can tell, but a kind that this program does not know.
    #[error("not supported: {0}")]
    Unsupported(String),
}

impl ParseError {
    /// [`ParseError::Broken`] from things that can be shown.
    pub fn broken(
        at: Bytes,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> ParseError {
        ParseError::Broken {
            at,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// What a parser gives.
pub type Parsed<T> = Result<T, ParseError>;

/// Whether a structure's own checksum holds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It has one and it holds.
    Ok,
    /// It has none, or none that can be checked here.
    None,
    /// It has one and it does not hold.
    Bad,
}

/// The number at a place; `None` beyond the bytes.
pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`le16`], of four bytes.
pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`le16`], of eight bytes.
pub fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`le16`], the highest byte first.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`le32`], the highest byte first.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`le64`], the highest byte first.
pub fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether bytes are all the same, as none are.
pub fn is_blank(bytes: &[u8]) -> bool {
    // Compared with themselves one byte on; what is not blank is mostly known by its first bytes.
    bytes.get(1..).is_none_or(|rest| bytes.starts_with(rest))
}

/// A path as text, made safe the same way: not every path is UTF-8.
pub fn printable_path(path: &std::path::Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// Text from an image made safe for a terminal: control characters and bytes that are not UTF-8 are escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_bidi_control(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Characters that reorder the text around them: a name must not be able to rearrange a report's line.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file or volume name with an escape sequence must not reach the terminal as one.
    #[test]
    fn names_cannot_speak_to_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable(b"\xff\xfeok"), "\\xff\\xfeok");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(printable("Größe".as_bytes()), "Größe");
    }
}
