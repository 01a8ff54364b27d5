//! What `disinter lvm extract` can change in a restore file, and what it says of it.

use super::Common;
use super::output::{self, Table, wrap};
use disinter::lvm::candidates::Candidate;
use disinter::lvm::restore::{Changes, Restore};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Changes to a text on its way into a restore file.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Another name for the group, where one of its name is in use
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// A physical volume that is lost for good, by its name in the text (`pv1`)
    /// or its id; the volumes that are not whole without it are left out
    #[arg(long, value_name = "PV")]
    prune: Vec<String>,
}

impl Options {
    /// As the library takes them.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            rename: self.rename.clone(),
            prune: self.prune.clone(),
        }
    }
}

/// Says on standard error, where scripts and people look even when the page is not read, that a text is not sound.
pub(crate) fn warn(file: &Path, marks: &[String]) {
    for mark in marks {
        eprintln!("disinter: warning: {}: {mark}", file.display());
    }
}

/// Prints which text was written where, and what to know of it: each volume's fate where disks were left out, and notes.
pub(crate) fn tell(
    restore: &Restore,
    (candidate, rank): (&Candidate, usize),
    file: &Path,
    common: Common,
) -> anyhow::Result<()> {
    let vg = &candidate.carved.vg;
    warn(file, &restore.marks);
    if common.json {
        #[derive(Serialize)]
        struct Written<'a> {
            file: &'a Path,
            rank: usize,
            vg: &'a str,
            seqno: u64,
            /// Whether all of it was found.
            complete: bool,
            bytes: usize,
            /// Why it is not to be relied on: its first lines, which are comments.
            marks: &'a [String],
            fates: BTreeMap<&'a str, String>,
            notes: &'a [String],
        }
        let fates = restore.fates.iter();
        let written = Written {
            file,
            rank,
            vg: &vg.name,
            seqno: vg.seqno,
            complete: candidate.carved.complete,
            bytes: restore.text.len(),
            fates: fates
                .map(|(name, fate)| (&**name, fate.to_string()))
                .collect(),
            marks: &restore.marks,
            notes: &restore.notes,
        };
        return output::json("lvm extract", &written);
    }
    let whole = match (candidate.carved.complete, restore.marks.is_empty()) {
        (false, _) => ", NOT WHOLE",
        (true, false) => ", NOT SOUND",
        (true, true) => "",
    };
    let head = format!(
        "{}: text {rank}: {} seqno {}{whole}",
        file.display(),
        vg.name,
        vg.seqno
    );
    let mut page = String::new();
    wrap(&mut page, &head, 2);
    if !restore.fates.is_empty() {
        let mut table = Table::new(&["volume", "what is left"]);
        for (name, fate) in &restore.fates {
            table.row([name.clone(), fate.to_string()]);
        }
        page.push_str(&table.render(0));
    }
    for mark in &restore.marks {
        wrap(&mut page, &format!("mark: {mark}"), 2);
    }
    for note in &restore.notes {
        wrap(&mut page, &format!("note: {note}"), 2);
    }
    output::page(&page)
}
