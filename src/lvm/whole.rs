//! Whether a metadata text is whole: nothing in it is cut, and all is there that vgcfgrestore demands.
//!
//! A checksum proves a text; most texts that are found have none left. For
//! those, what lvm2 always writes must be there: every key that it demands, a
//! description with contents, version and time, and the end. A byte that no
//! text holds makes it not whole, wherever it stands.

use super::text::{Item, Section, Value};

/// Keys without which lvm2 does not read the part: of the group, a physical volume, a logical volume, a segment.
const GROUP: &[&str] = &["id", "seqno", "status", "extent_size", "max_lv", "max_pv"];
const PHYSICAL: &[&str] = &["id", "status", "pe_start", "pe_count"];
const LOGICAL: &[&str] = &["id", "status", "segment_count"];
const SEGMENT: &[&str] = &["start_extent", "extent_count", "type"];

/// What the description holds.
const DESCRIPTION: &[&str] = &["contents", "version", "description", "creation_time"];

/// Why the text of a file is not whole; `None` where it is.
pub(super) fn file(text: &[u8], section: &Section, description: &Section) -> Option<String> {
    // A file's lines are indented: only the group's own brace stands at the start of a line.
    if !text.ends_with(b"\n}\n") {
        return Some("its last line is not a closing brace alone".to_owned());
    }
    either_form(text, section, description)
}

/// Why the text of a ring is not whole; `None` where it is. `body` is the section's part of the text, `ended` whether
/// the empty line stands at its end.
pub(super) fn ring(
    text: &[u8],
    body: &[u8],
    section: &Section,
    description: &Section,
    ended: bool,
) -> Option<String> {
    if !text
        .get(body.len()..)?
        .trim_ascii_start()
        .starts_with(super::carve::DESCRIPTION)
    {
        return Some("the description that belongs to it is not there".to_owned());
    }
    if !ended {
        return Some("its end is not there".to_owned());
    }
    either_form(text, section, description)
}

fn either_form(text: &[u8], section: &Section, description: &Section) -> Option<String> {
    let missing = |key: &&&str| description.field(key).is_none();
    if let Some(key) = DESCRIPTION.iter().find(missing) {
        return Some(format!("its description has no {key}"));
    }
    if !is_versioned(description) {
        return Some("its contents or version is not one that vgcfgrestore takes".to_owned());
    }
    let control = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n');
    if let Some(at) = text.iter().position(control) {
        return Some(format!("a byte that is no text at {at}"));
    }
    if std::str::from_utf8(text).is_err() {
        return Some("bytes that are no text".to_owned());
    }
    keys(section)
        .or_else(|| strings(section))
        .or_else(|| strings(description))
}

/// Whether a description says what vgcfgrestore demands.
pub(super) fn is_versioned(description: &Section) -> bool {
    description.string("contents") == Some("Text Format Volume Group")
        && description.number("version") == Some(1)
}

/// A key that lvm2 demands and that is not there.
fn keys(group: &Section) -> Option<String> {
    let missing = |section: &Section, demanded: &[&str]| {
        let key = demanded.iter().find(|k| section.field(k).is_none())?;
        Some(format!("{} has no {key}", section.name))
    };
    let inside = |name: &str| group.section(name).into_iter().flat_map(Section::sections);
    if group.section("physical_volumes").is_none() {
        return Some("it has no physical_volumes".to_owned());
    }
    let parts = inside("logical_volumes").flat_map(Section::sections);
    let mut segments = parts.filter(|s| s.name.starts_with("segment"));
    missing(group, GROUP)
        .or_else(|| inside("physical_volumes").find_map(|pv| missing(pv, PHYSICAL)))
        .or_else(|| inside("logical_volumes").find_map(|lv| missing(lv, LOGICAL)))
        .or_else(|| segments.find_map(|segment| missing(segment, SEGMENT)))
}

/// A string with a control character or a line's end: a quote is lost before it, or it was made to deceive.
fn strings(section: &Section) -> Option<String> {
    section.items.iter().find_map(|item| match item {
        Item::Section(inner) => strings(inner),
        Item::Field(key, value) => {
            odd(value).then(|| format!("{key} in {} holds a line's end or worse", section.name))
        }
    })
}

fn odd(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.chars().any(char::is_control),
        Value::List(values) => values.iter().any(odd),
        _ => false,
    }
}
