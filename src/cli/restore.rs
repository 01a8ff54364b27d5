//! What `disinter lvm extract` can change in a restore file, and what it says of it.

use super::output::Table;
use disinter::lvm::restore::{Changes, Restore};
use disinter::parse::printable;

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

/// What to know of a restore file: each volume's fate where disks were left out, and the notes.
pub(crate) fn told(restore: &Restore) -> String {
    let mut page = String::new();
    if !restore.fates.is_empty() {
        let mut table = Table::new(&["volume", "what is left"]);
        for (name, fate) in &restore.fates {
            table.row([printable(name.as_bytes()), fate.to_string()]);
        }
        page.push_str(&table.render(0));
    }
    for note in &restore.notes {
        page.push_str(&format!("note: {}\n", printable(note.as_bytes())));
    }
    page
}
