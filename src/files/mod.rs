//! Files that are recognised by what they begin with, and say what lies where in them: evidence of an array's order
//! that needs no file system.
//!
//! Each format tells of its own: where a header is, and what lies how far
//! behind it ([`crate::md::spans`]).

mod elf;
mod gzip;
mod jpeg;
mod jpeg_codes;
mod jpeg_scan;
mod png;
mod streams;
mod tar;
mod zip;

use crate::image::SharedSource;
use crate::md::spans::{Sign, Span, Spans};
use crate::units::Bytes;

/// Files begin on multiples of so many bytes: blocks of a file system, or of a tar archive.
const BEGINNINGS: usize = 512;

/// Signs and heads kept of a set of members: more are an image's way to keep a program busy.
const MOST_SIGNS: usize = 1 << 18;
const MOST_HEADS: usize = 1 << 14;

/// Collects what files say.
#[derive(Default)]
pub struct Finder {
    spans: Spans,
    /// Where files begin that can be followed.
    heads: Vec<(usize, Bytes)>,
    needles: Needles,
}

/// What is searched for byte by byte.
struct Needles {
    elf: memchr::memmem::Finder<'static>,
    png: Vec<memchr::memmem::Finder<'static>>,
    zip: Vec<memchr::memmem::Finder<'static>>,
}

impl Default for Needles {
    fn default() -> Needles {
        let all = |needles: &[&'static [u8]]| {
            let finder = |needle: &&'static [u8]| memchr::memmem::Finder::new(*needle);
            needles.iter().map(finder).collect()
        };
        Needles {
            elf: memchr::memmem::Finder::new(elf::NEEDLE),
            png: all(&png::NEEDLES),
            zip: all(&zip::NEEDLES),
        }
    }
}

impl Finder {
    /// Looks at a block of a member.
    pub fn look(&mut self, member: usize, at: Bytes, block: &[u8]) {
        let mut notes = Notes {
            spans: &mut self.spans,
            member,
            at,
        };
        for start in (0..block.len()).step_by(BEGINNINGS) {
            let rest = block.get(start..).unwrap_or_default();
            elf::head(rest, start, &mut notes);
            tar::header(rest, start, &mut notes);
            if streams::begins(rest) && self.heads.len() < MOST_HEADS {
                self.heads.push((member, at + Bytes(start as u64)));
            }
        }
        for found in self.needles.elf.find_iter(block) {
            elf::section_names(block, found, &mut notes);
        }
        for found in self.needles.png.iter().flat_map(|f| f.find_iter(block)) {
            png::chunk(block, found, &mut notes);
        }
        for found in self.needles.zip.iter().flat_map(|f| f.find_iter(block)) {
            zip::header(block, found, &mut notes);
        }
    }

    /// Follows compressed files over the members; what is read for it stays below 8 MiB of each.
    pub fn follow(&mut self, members: &[SharedSource]) {
        streams::follow(&self.heads, members, &mut self.spans);
    }

    /// What was collected.
    pub fn finish(mut self) -> Spans {
        self.spans.tidy();
        self.spans
    }
}

/// Where the formats note what they find in a block.
struct Notes<'a> {
    spans: &'a mut Spans,
    member: usize,
    /// Where the block begins.
    at: Bytes,
}

impl Notes<'_> {
    /// At `start` of the block is what is recognised as this.
    fn sign(&mut self, start: usize, sign: Sign) {
        if self.spans.signs.len() < MOST_SIGNS {
            let at = self.at + Bytes(start as u64);
            self.spans.signs.insert((self.member, at, sign));
        }
    }

    /// So far behind `start` of the block lies this.
    fn span(&mut self, start: usize, distance: Bytes, sign: Sign) {
        if self.spans.spans.len() < MOST_SIGNS {
            self.spans.spans.push(Span {
                member: self.member,
                at: self.at + Bytes(start as u64),
                distance,
                sign,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md::sample::PAGE;

    fn spans(blocks: &[&[u8]]) -> Spans {
        let mut finder = Finder::default();
        for (member, block) in blocks.iter().enumerate() {
            finder.look(member, Bytes(PAGE as u64), block);
        }
        finder.finish()
    }

    /// The one span of a file that lies alone on a member must end at a sign that was seen just there.
    #[track_caller]
    fn meets(file: &[u8]) {
        let found = spans(&[file]);
        assert!(!found.spans.is_empty());
        for span in found.spans {
            let there = (span.member, span.at + span.distance, span.sign);
            assert!(found.signs.contains(&there), "{span:?}");
        }
    }

    /// A table one entry further on would speak for another order.
    #[test]
    fn elf_tables_lie_where_headers_say() {
        let mut file = vec![0; 9 * PAGE];
        let table = 8 * PAGE as u64 + 8;
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        file[40..48].copy_from_slice(&table.to_le_bytes());
        file[58..64].copy_from_slice(&[64, 0, 5, 0, 4, 0]);
        let entry = usize::try_from(table).unwrap() + 4 * 64;
        // The names end three bytes before the table.
        let fields = [3 << 32, 0, 0, table - 35, 32, 0, 1, 0_u64];
        for (i, field) in fields.iter().enumerate() {
            file[entry + 8 * i..entry + 8 * (i + 1)].copy_from_slice(&field.to_le_bytes());
        }
        meets(&file);
    }

    /// The same with 32 bits, as small boxes have.
    #[test]
    fn short_elf_tables_too() {
        let mut file = vec![0; 9 * PAGE];
        let table = 8 * PAGE as u32 + 4;
        file[..8].copy_from_slice(b"\x7fELF\x01\x01\x01\0");
        file[32..36].copy_from_slice(&table.to_le_bytes());
        file[46..52].copy_from_slice(&[40, 0, 5, 0, 4, 0]);
        let entry = usize::try_from(table).unwrap() + 4 * 40;
        let fields = [9, 3, 0, 0, table - 33, 30, 0, 0, 1, 0_u32];
        for (i, field) in fields.iter().enumerate() {
            file[entry + 4 * i..entry + 4 * (i + 1)].copy_from_slice(&field.to_le_bytes());
        }
        meets(&file);
    }

    fn tar_header(size: u64, kind: u8) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(b"name");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[148..156].fill(b' ');
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    /// A link's length is its target's: nothing of it lies behind the header.
    #[test]
    fn tar_headers_follow_each_other() {
        let mut file = tar_header(7000, b'0');
        file.resize(512 + 7168, 7);
        file.extend(tar_header(3000, b'1'));
        file.extend(tar_header(0, b'0'));
        meets(&file);
        file[512 + 7168 + 3] ^= 1;
        let found = spans(&[&file]);
        assert!(!found.signs.contains(&(0, Bytes(4096 + 7680), Sign::Tar)));
    }

    /// Data without a length in its header says nothing of what follows.
    #[test]
    fn zip_headers_follow_each_other() {
        let mut file = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
        file.extend([0; 8]);
        file.extend(5000_u32.to_le_bytes());
        file.extend([0; 4]);
        file.extend([4, 0, 2, 0]);
        file.resize(30 + 6 + 5000, 0x77);
        file.extend(b"PK\x01\x02");
        meets(&file);
        file[6] = 8;
        assert_eq!(spans(&[&file]).spans, []);
    }

    /// An image's chunks.
    #[test]
    fn png_chunks_follow_each_other() {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        file.extend(8192_u32.to_be_bytes());
        file.extend(b"IDAT");
        file.resize(file.len() + 8192 + 4, 0x55);
        file.extend(b"\0\0\0\0IEND\xae\x42\x60\x82");
        meets(&file);
    }
}
