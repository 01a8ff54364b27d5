//! A text as a file that vgcfgrestore takes.
//!
//! vgcfgrestore demands two keys that a metadata area's text has behind its
//! section and a file's in front (`contents` and `version`), refuses a group
//! with a physical volume that is marked `MISSING` or that it cannot find by
//! its UUID, and takes the rest as it stands. So a text goes out to the byte
//! as it was found, unless one of these is in the way: then it is written anew
//! from its tree, which keeps every key and its order and loses only comments.
//! A text that was put together from pieces says so in its first line, and so
//! does one whose checksum is bad or that contradicts itself: a file is passed
//! on without the words that were printed when it was written.

use super::carve::{Carved, Form, Made};
use super::fate::Fate;
use super::faults::is_name;
use super::metadata::VolumeGroup;
use super::prune::{prune, sections_of};
use super::text::{self, Item, Section, Value};
use crate::parse::{Checksum, printable};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a text cannot be made into a restore file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The text is cut.
    #[error("the text is not complete: {0}")]
    Incomplete(String),
    /// The text holds bytes that are no text.
    #[error("the text is not UTF-8")]
    NotText,
    /// A new name that LVM would refuse.
    #[error("{0:?} is not a name that LVM allows for a volume group")]
    Name(String),
    /// A physical volume to leave out that is none.
    #[error("the group has no physical volume {asked}; there are {have}")]
    NoPv {
        /// What was asked for.
        asked: String,
        /// Names in the text, with their ids.
        have: String,
    },
    /// Nothing would be left.
    #[error("without {0} the group has no physical volume")]
    NothingLeft(String),
}

/// What is to be other than in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The group's new name.
    pub rename: Option<String>,
    /// Physical volumes that are lost for good: names in the text (`pv1`) or ids.
    pub prune: Vec<String>,
}

/// A restore file, and what a person must know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// The file's text.
    pub text: String,
    /// Why the text is not one to be relied on; each is a line of comment at the text's head, which lvm2 passes over.
    pub marks: Vec<String>,
    /// What was changed, and what to expect of the rest.
    pub notes: Vec<String>,
    /// Where physical volumes were left out: the fate of each visible volume.
    pub fates: Vec<(String, Fate)>,
}

/// The file of a text as it was found: see [`restore_with`].
///
/// # Errors
/// [`RestoreError`] where the text is cut or is no text.
pub fn restore_file(carved: &Carved) -> Result<String, RestoreError> {
    restore_with(carved, &Changes::default()).map(|r| r.text)
}

/// The restore file of a text, with changes. Without any, and with no physical volume marked as missing, a file's text
/// comes out to the byte, and a ring's with the two keys in front that vgcfgrestore demands, if it lacks them.
///
/// # Errors
/// [`RestoreError`] where the text is cut or is no text, or a change cannot be made.
pub fn restore_with(carved: &Carved, changes: &Changes) -> Result<Restore, RestoreError> {
    let put_together = matches!(carved.made, Made::Joined | Made::Rebuilt);
    if !carved.complete && !put_together {
        let fault = carved.fault.clone().unwrap_or_default();
        return Err(RestoreError::Incomplete(fault));
    }
    let text = String::from_utf8(carved.bytes.to_vec()).map_err(|_| RestoreError::NotText)?;
    let vg = &carved.vg;
    let lost = lost(vg, &changes.prune)?;
    let missing = |pv: &&super::metadata::PhysicalVolume| pv.flags.iter().any(|f| f == "MISSING");
    let marked: Vec<&str> = vg
        .pvs
        .iter()
        .filter(missing)
        .map(|pv| pv.name.as_str())
        .filter(|name| !lost.contains(*name))
        .collect();
    let mut restore = Restore {
        text,
        marks: Vec::new(),
        notes: Vec::new(),
        fates: Vec::new(),
    };
    let mut faults = vg.faults();
    if changes.rename.is_some() || !lost.is_empty() || !marked.is_empty() {
        let (made, left) = rewrite(carved, &restore.text, changes.rename.as_deref(), &lost)?;
        restore = made;
        // What was taken out may have been needed.
        faults = if faults.is_empty() { left } else { faults };
    }
    for name in marked {
        restore.notes.push(format!(
            "{name} was marked MISSING, which vgcfgrestore refuses; the mark is taken off: have the disk there, or \
             leave it out with --prune {name}"
        ));
    }
    notes(vg, &lost, &mut restore.notes);
    if carved.form == Form::Ring && !carved.about.versioned {
        restore.text = format!(
            "contents = \"Text Format Volume Group\"\nversion = 1\n\n{}",
            restore.text
        );
    }
    restore.marks = marks(carved, &faults);
    restore.text = mark(&restore.marks, &restore.text);
    Ok(restore)
}

/// How the first word of a mark is written, behind which it says what is wrong.
const MARKS: [&str; 3] = ["NOT PROVEN: ", "CHECKSUM BAD: ", "CONTRADICTORY: "];

/// Contradictions that a file's head names: thousands help nobody.
const MOST_FAULTS: usize = 8;

/// What is wrong with a text that was found, and contradicts itself so, a line each.
fn marks(carved: &Carved, faults: &[String]) -> Vec<String> {
    let [unproven, checksum, contradictory] = MARKS;
    let mut marks = Vec::new();
    if !carved.complete {
        let how = carved.fault.as_deref().unwrap_or_default();
        let of = carved.made_of();
        marks.push(format!(
            "{unproven}{how}; {of}; compare it with all that is known of the group before it is restored"
        ));
    }
    if carved.checksum == Checksum::Bad {
        marks.push(format!(
            "{checksum}a metadata area's header tells another checksum, so some of its bytes are not as lvm2 wrote them"
        ));
    }
    let more = faults.len().saturating_sub(MOST_FAULTS);
    let named = faults.iter().take(MOST_FAULTS);
    marks.extend(named.map(|fault| format!("{contradictory}{fault}")));
    if more > 0 {
        marks.push(format!("{contradictory}and {more} more"));
    }
    // A name must not end the comment and go on as a line of the text.
    marks.iter().map(|m| printable(m.as_bytes())).collect()
}

/// A text behind its marks.
pub fn mark(marks: &[String], text: &str) -> String {
    let lines: String = marks.iter().map(|mark| format!("# {mark}\n")).collect();
    lines + text
}

/// The marks that a restore file bears.
pub fn marks_of(text: &str) -> Vec<String> {
    let comments = text.lines().map_while(|line| line.strip_prefix("# "));
    let is_mark = |line: &&str| MARKS.iter().any(|mark| line.starts_with(mark));
    comments.filter(is_mark).map(str::to_owned).collect()
}

/// The names in the text of what is lost.
fn lost(vg: &VolumeGroup, asked: &[String]) -> Result<BTreeSet<String>, RestoreError> {
    let mut lost = BTreeSet::new();
    for asked in asked {
        let found = vg
            .pvs
            .iter()
            .find(|pv| pv.name == *asked || pv.id == *asked);
        let found = found.ok_or_else(|| RestoreError::NoPv {
            asked: asked.clone(),
            have: vg
                .pvs
                .iter()
                .map(|pv| format!("{} ({})", pv.name, pv.id))
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        lost.insert(found.name.clone());
    }
    match vg.pvs.iter().all(|pv| lost.contains(&pv.name)) && !lost.is_empty() {
        true => Err(RestoreError::NothingLeft(asked.join(", "))),
        false => Ok(lost),
    }
}

/// The text from its tree, without the marks of missing, under another name, without what is lost; and what cannot be so
/// in it.
fn rewrite(
    carved: &Carved,
    text: &str,
    rename: Option<&str>,
    lost: &BTreeSet<String>,
) -> Result<(Restore, Vec<String>), RestoreError> {
    let start = match carved.form {
        Form::Ring => 0,
        // The description in front stays as it is; the section starts behind it.
        Form::File => {
            let fields = text::fields(text.as_bytes(), None).end;
            let rest = text.get(fields..).unwrap_or_default();
            text.len() - rest.trim_start().len()
        }
    };
    let parse = text::section(text.get(start..).unwrap_or_default().as_bytes());
    let mut section = parse.value;
    let (before, behind) = (
        text.get(..start).unwrap_or_default(),
        text.get(start + parse.end..).unwrap_or_default(),
    );
    let mut restore = Restore {
        text: String::new(),
        marks: Vec::new(),
        notes: Vec::new(),
        fates: Vec::new(),
    };
    if let Some(name) = rename {
        if !is_name(name) {
            return Err(RestoreError::Name(name.to_owned()));
        }
        restore.notes.push(format!(
            "the group is called {name} here; its id stays, so two copies of one group still clash"
        ));
        name.clone_into(&mut section.name);
    }
    clear_missing(&mut section);
    if !lost.is_empty() {
        prune(&carved.vg, &mut section, lost, &mut restore);
    }
    restore.text = format!("{before}{}{behind}", text::write(&section));
    let faults = VolumeGroup::from_section(&section).map(|vg| vg.faults());
    Ok((restore, faults.unwrap_or_default()))
}

/// Takes the mark off every physical volume.
fn clear_missing(section: &mut Section) {
    for pv in sections_of(section, "physical_volumes") {
        for item in &mut pv.items {
            if let Item::Field(key, Value::List(flags)) = item
                && key == "flags"
            {
                flags.retain(|flag| flag.text() != Some("MISSING"));
            }
        }
    }
}

/// What may come as a surprise with this group.
fn notes(vg: &VolumeGroup, lost: &BTreeSet<String>, notes: &mut Vec<String>) {
    for pv in vg.pvs.iter().filter(|pv| !lost.contains(&pv.name)) {
        if let Some(size) = pv.dev_size {
            notes.push(format!(
                "{}: a device of {} sectors or more, which pvcreate --uuid {} makes it; {:?} is only where it was",
                pv.name, size.0, pv.id, pv.device
            ));
        }
    }
    let kinds: BTreeSet<&str> = vg
        .lvs
        .iter()
        .flat_map(|lv| &lv.segments)
        .map(|s| s.kind.as_str())
        .collect();
    if kinds.contains("thin-pool") {
        notes.push(
            "thin pools: vgcfgrestore takes the group with --force only; the pool's own metadata must have the same \
             transaction id"
                .to_owned(),
        );
    }
    if kinds
        .iter()
        .any(|k| k.starts_with("cache") || *k == "writecache")
    {
        notes.push(
            "cached volumes: bring the cache's disk back too, its blocks may be newer".to_owned(),
        );
    }
    if vg.status.iter().any(|s| s == "EXPORTED") {
        notes.push("the group was exported: vgimport it after the restore".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::lvm::carve;
    use crate::units::Bytes;

    const TEXT: &str = r#"vg {
id = "NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
seqno = 3
status = ["RESIZEABLE"]
max_lv = 0
max_pv = 0
extent_size = 2048
unknown = [7, "kept"]
physical_volumes {

pv0 {
id = "AiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
device = "/dev/sda"
status = ["ALLOCATABLE"]
flags = ["MISSING"]
dev_size = 204800
pe_start = 2048
pe_count = 90
}

pv1 {
id = "BiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = ["ALLOCATABLE"]
flags = []
pe_start = 2048
pe_count = 90
}
}

logical_volumes {

home {
id = "CiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = ["VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "striped"
stripes = ["pv0", 0]
}
}

r1 {
id = "DiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = ["VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "raid1"
raids = ["r1_rmeta_0", "r1_rimage_0", "r1_rmeta_1", "r1_rimage_1"]
}
}

r1_rmeta_0 {
id = "GiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "striped"
stripes = ["pv0", 10]
}
}

r1_rmeta_1 {
id = "HiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "striped"
stripes = ["pv1", 10]
}
}

r1_rimage_0 {
id = "EiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "striped"
stripes = ["pv0", 3]
}
}

r1_rimage_1 {
id = "FiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"
status = []
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "striped"
stripes = ["pv1", 3]
}
}
}
}
# Generated by LVM2
contents = "Text Format Volume Group"
version = 1

description = "Write from lvcreate"
creation_host = "h"
creation_time = 1700000000

"#;

    fn carved() -> Carved {
        let hit = TEXT.find("seqno").unwrap();
        let text = carve::text_at(&Memory::new("m", TEXT.into()), Bytes(hit as u64)).unwrap();
        assert!(text.complete, "{:?}", text.fault);
        text
    }

    fn with(rename: Option<&str>, prune: &[&str]) -> Result<Restore, RestoreError> {
        let changes = Changes {
            rename: rename.map(str::to_owned),
            prune: prune.iter().map(|p| (*p).to_owned()).collect(),
        };
        restore_with(&carved(), &changes)
    }

    fn read(restore: &Restore) -> VolumeGroup {
        VolumeGroup::from_section(&text::section(restore.text.as_bytes()).value).unwrap()
    }

    /// With the mark left in, vgcfgrestore refuses the whole group, and the person edits the file by hand.
    #[test]
    fn marks_of_missing_are_taken_off_and_told() {
        let restore = with(None, &[]).unwrap();
        assert!(!restore.text.contains("MISSING"));
        assert!(restore.notes[0].contains("pv0 was marked MISSING"));
        assert!(restore.text.contains("unknown = [7, \"kept\"]"));
        assert!(restore.text.ends_with("creation_time = 1700000000\n\n"));
        assert_eq!(read(&restore).lvs, carved().vg.lvs);
    }

    #[test]
    fn a_new_name_is_one_that_lvm_allows() {
        assert_eq!(read(&with(Some("vg2"), &[]).unwrap()).name, "vg2");
        for name in ["", "-x", "a/b", "..", "$(x)"] {
            assert_eq!(
                with(Some(name), &[]),
                Err(RestoreError::Name(name.to_owned()))
            );
        }
    }

    /// A volume that lies on the lost disk must not be in the file, or vgcfgrestore refuses all; one that has another
    /// image must not be lost with it.
    #[test]
    fn a_lost_disk_takes_only_what_lies_on_it_alone() {
        let restore = with(None, &["pv0"]).unwrap();
        let vg = read(&restore);
        assert!(vg.pv("pv0").is_none() && vg.lv("home").is_none());
        for lost in ["r1_rimage_0", "r1_rmeta_0"] {
            assert_eq!(vg.lv(lost).unwrap().segments[0].kind, "error");
        }
        assert_eq!(vg.lv("r1_rimage_1"), carved().vg.lv("r1_rimage_1"));
        let fates: Vec<String> = restore
            .fates
            .iter()
            .map(|(n, f)| format!("{n} {f}"))
            .collect();
        assert_eq!(fates, ["home lost", "r1 whole, from its other images"]);
        let by_id = with(None, &["AiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6"]).unwrap();
        assert_eq!(by_id.text, restore.text);
        assert!(matches!(
            with(None, &["pv7"]),
            Err(RestoreError::NoPv { .. })
        ));
        assert!(matches!(
            with(None, &["pv0", "pv1"]),
            Err(RestoreError::NothingLeft(_))
        ));
    }
}
