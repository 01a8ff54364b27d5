//! Metadata texts from anywhere: the ring of a metadata area, a backup or archive file in a file system, free space.
//!
//! A sweep hits `seqno = ` inside a text. From there the start is looked for
//! backwards (`name {`, then the id) and the end forwards by the grammar. Two
//! forms exist: in a ring the section comes first and its description behind
//! it; in `/etc/lvm` the description comes first, and the section is indented
//! and commented.

use super::is_id;
use super::metadata::VolumeGroup;
use super::text::{self, Section};
use crate::image::Source;
use crate::image::sweep::Context;
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use regex::bytes::Regex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// What a sweep looks for: in every text, once.
pub const NEEDLE: &[u8] = b"seqno = ";

/// What stands before it in every text: `name { id = "…"`, of which the id alone takes 40 bytes, and blanks.
pub const CONTEXT: Context = Context {
    apart: 40,
    before: 64,
    fits: |before| match before.trim_ascii_end() {
        [] => true,
        trimmed => trimmed.ends_with(b"\""),
    },
};

/// How far before the needle a text can start: the header of a file and the section's first lines.
const BEFORE: u64 = 16 << 10;

/// How much behind the needle is read first, and at most. Real texts are a few KiB; the largest ring takes 8 MiB.
const BEHIND_FIRST: u64 = 64 << 10;
const BEHIND_MOST: u64 = 8 << 20;

/// How a text was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As in a metadata area.
    Ring,
    /// As in `/etc/lvm/backup` and `archive`.
    File,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Carved {
    /// Where it lies in its source.
    pub extent: Extent,
    /// How it was stored.
    pub form: Form,
    /// Whether section and description are whole.
    pub complete: bool,
    /// Why not, if not.
    pub fault: Option<String>,
    /// Whether a metadata area's CRC for it holds; `None` until one is found.
    pub checksum: Checksum,
    /// The text.
    pub bytes: Vec<u8>,
    /// SHA-256 of the text.
    pub sha256: String,
    /// What it says, as far as it goes.
    pub vg: VolumeGroup,
    /// The description around the section.
    pub about: About,
}

/// What stands around the section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// What made lvm2 write it.
    pub description: String,
    /// The machine's name.
    pub creation_host: String,
    /// Seconds since 1970.
    pub creation_time: Option<u64>,
    /// Whether it names itself a metadata text of version 1, without which vgcfgrestore refuses it.
    pub versioned: bool,
}

/// `name {`, `id = "…"` and blanks, up to the needle.
static HEAD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?-u)([A-Za-z0-9._+-]{1,127})\s*\{\s*id\s*=\s*"([A-Za-z0-9!#-]{38})"\s*$"#).ok()
});

/// Bytes before the needle that hold the section's name and id: a look at them settles most hits, and an image full of
/// needles costs no more than its size.
const HEAD_LENGTH: u64 = 512;

/// The text around a needle at `hit`; `None` where it is no metadata text.
pub fn text_at(source: &dyn Source, hit: Bytes) -> Option<Carved> {
    let from = hit - Bytes(HEAD_LENGTH);
    let head = readable(source, from, hit, (hit - from).0);
    HEAD.as_ref()?.find(&head.bytes)?;
    let from = hit - Bytes(BEFORE);
    let before = (hit - from).to_len(usize::MAX);
    let mut behind = BEHIND_FIRST;
    loop {
        let window = readable(source, from, hit, before as u64 + behind);
        let carved = carve(&window.bytes, window.from, hit)?;
        // Ended by the window and not by the text: look at more of it.
        let ran_out = !carved.complete && carved.extent.end() == window.end();
        if !ran_out || window.cut || behind >= BEHIND_MOST {
            return Some(carved);
        }
        behind *= 4;
    }
}

struct Window {
    from: Bytes,
    bytes: Vec<u8>,
    /// More cannot be had: a gap or the source's end.
    cut: bool,
}

impl Window {
    fn end(&self) -> Bytes {
        self.from + Bytes(self.bytes.len() as u64)
    }
}

/// The readable bytes around `hit`, cut at gaps.
fn readable(source: &dyn Source, from: Bytes, hit: Bytes, length: u64) -> Window {
    let left = (source.len() - from).min(Bytes(length));
    let mut bytes = vec![0; left.to_len(usize::MAX)];
    let gaps = source.read_at(from, &mut bytes);
    let mut window = Window {
        from,
        cut: left < Bytes(length),
        bytes,
    };
    for gap in gaps.extents() {
        let start = (gap.offset - from).to_len(window.bytes.len());
        if gap.offset > hit {
            window.bytes.truncate(start);
            window.cut = true;
            break;
        }
        // A gap before the needle: what lies before it is no part of this text that we can read.
        let end = (gap.end() - window.from).to_len(window.bytes.len());
        window.bytes.drain(..end);
        window.from = gap.end();
    }
    window
}

fn carve(window: &[u8], from: Bytes, hit: Bytes) -> Option<Carved> {
    let needle = (hit - from).to_len(window.len());
    let head = HEAD.as_ref()?.captures(window.get(..needle)?)?;
    let id: Vec<u8> = head
        .get(2)?
        .as_bytes()
        .iter()
        .copied()
        .filter(|b| *b != b'-')
        .collect();
    if !is_id(&id) {
        return None;
    }
    let start = head.get(1)?.start();
    let section = text::section(window.get(start..)?);
    let vg = VolumeGroup::from_section(&section.value)?;
    let section_end = start + section.end;
    let mut fault = section.stop.map(|stop| stop.why);
    let header = file_header(window.get(..start)?);
    let (form, text_start, about, end) = match header {
        Some((at, fields)) => {
            let newline = usize::from(window.get(section_end) == Some(&b'\n'));
            (Form::File, at, about(&fields), section_end + newline)
        }
        None => {
            let rest = window.get(section_end..).unwrap_or_default();
            let trailer = match fault {
                None => text::fields(rest),
                Some(_) => text::fields(&[]),
            };
            let end = section_end + trailer.end;
            // lvm2 ends the text with an empty line.
            let empty = usize::from(trailer.end > 0 && window.get(end) == Some(&b'\n'));
            (Form::Ring, start, about(&trailer.value), end + empty)
        }
    };
    if fault.is_none() && (about.description.is_empty() && about.creation_time.is_none()) {
        fault = Some("the description that belongs to it is not there".to_owned());
    }
    let bytes = window.get(text_start..end)?.to_vec();
    Some(Carved {
        extent: Extent::new(from + Bytes(text_start as u64), Bytes(bytes.len() as u64)),
        form,
        complete: fault.is_none(),
        fault,
        checksum: Checksum::None,
        sha256: hex::encode(Sha256::digest(&bytes)),
        bytes,
        vg,
        about,
    })
}

/// The header of a file that ends where the section starts: its place and fields.
fn file_header(before: &[u8]) -> Option<(usize, Section)> {
    const FIRST: &[u8] = b"# Generated by LVM2";
    let at = memchr::memmem::rfind(before, FIRST)?;
    let fields = text::fields(before.get(at..)?);
    let rest = before.get(at + fields.end..)?;
    let only_blanks = rest.iter().all(u8::is_ascii_whitespace);
    (only_blanks && fields.value.field("contents").is_some()).then_some((at, fields.value))
}

fn about(fields: &Section) -> About {
    let text = |key| fields.string(key).unwrap_or_default().to_owned();
    About {
        description: text("description"),
        creation_host: text("creation_host"),
        creation_time: fields.number("creation_time"),
        versioned: fields.string("contents") == Some("Text Format Volume Group")
            && fields.number("version") == Some(1),
    }
}
