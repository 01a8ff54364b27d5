//! `disinter fs`: files through a layout.

use super::{Common, Outcome, output};
use anyhow::{Context, bail};
use disinter::fs::browse::{Browser, Entry, Kind};
use disinter::fs::copy;
use disinter::layout::{Layout, Members};
use disinter::parse::printable;
use disinter::units::{Bytes, utc};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to do with files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The names in a folder
    Ls {
        #[command(flatten)]
        place: Place,
    },
    /// A file's bytes, to standard output
    Cat {
        #[command(flatten)]
        place: Place,
    },
    /// A file, or a folder with all in it, copied out
    Cp {
        #[command(flatten)]
        place: Place,
        /// Where to; must not exist
        to: PathBuf,
    },
}

/// A place in a volume of a layout.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    #[command(flatten)]
    stack: StackArguments,
    /// A volume and a path: `guests/home:/etc`, `guests/web@1:/`, `array1:/`
    #[arg(value_name = "VOLUME:PATH")]
    place: String,
}

/// A layout, and which mirrors to read.
#[derive(Debug, clap::Args)]
pub(crate) struct StackArguments {
    /// The layout file
    #[arg(long, value_name = "FILE")]
    layout: PathBuf,
    /// Read only the chosen half; else the other mirrors serve where it cannot
    /// be read
    #[arg(long)]
    half: bool,
}

impl StackArguments {
    /// Opens the volumes.
    pub(crate) fn open(&self) -> anyhow::Result<disinter::layout::Stack> {
        let members = if self.half {
            Members::Half
        } else {
            Members::All
        };
        let base = self.layout.parent().unwrap_or(Path::new(""));
        Ok(Layout::load(&self.layout)?.open(base, members)?)
    }
}

impl Place {
    fn open(&self) -> anyhow::Result<(Browser, Vec<u8>)> {
        let (volume, path) = match self.place.split_once(':') {
            Some((volume, path)) => (volume, path),
            None => (self.place.as_str(), "/"),
        };
        if !path.starts_with('/') {
            bail!("{}: a path in a volume starts with /", self.place);
        }
        let browser = Browser::open(self.stack.open()?.volume(volume)?)?;
        for note in browser.notes() {
            eprintln!("disinter: note: {volume}: {note}");
        }
        Ok((browser, path.as_bytes().to_vec()))
    }
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Ls { place } => ls(&place, common),
        Command::Cat { place } => {
            let (browser, path) = place.open()?;
            let mut out = std::io::stdout().lock();
            browser.read(&path, &mut out)?;
            out.flush()?;
            Ok(Outcome::Answered)
        }
        Command::Cp { place, to } => cp(&place, &to),
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    size: Bytes,
    mode: String,
    uid: u32,
    gid: u32,
    modified: u64,
    target: Option<String>,
}

#[derive(Serialize)]
struct Document {
    entries: Vec<Row>,
    notes: Vec<String>,
}

fn ls(place: &Place, common: Common) -> anyhow::Result<Outcome> {
    let (browser, path) = place.open()?;
    let entries = browser.list(&path)?;
    if common.json {
        let row = |e: &Entry| Row {
            name: printable(&e.name),
            kind: kind(e.kind),
            size: e.size,
            mode: format!("{:04o}", e.mode & 0o7777),
            uid: e.uid,
            gid: e.gid,
            modified: e.modified,
            target: e.target.as_deref().map(printable),
        };
        let document = Document {
            entries: entries.iter().map(row).collect(),
            notes: browser.notes().to_vec(),
        };
        output::json("fs ls", &document)?;
        return Ok(Outcome::Answered);
    }
    let mut table =
        output::Table::new(&["kind", "mode", "owner", "bytes", "changed", "name"]).right(&[3]);
    for entry in &entries {
        let name = match &entry.target {
            Some(target) => format!("{} -> {}", printable(&entry.name), printable(target)),
            None => printable(&entry.name),
        };
        table.row([
            kind(entry.kind).to_owned(),
            format!("{:04o}", entry.mode & 0o7777),
            format!("{}:{}", entry.uid, entry.gid),
            entry.size.0.to_string(),
            utc(entry.modified).trim_end_matches(" UTC").to_owned(),
            name,
        ]);
    }
    output::page(&table.render(0))?;
    Ok(Outcome::Answered)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Folder => "folder",
        Kind::File => "file",
        Kind::Link => "link",
        Kind::Special => "special",
    }
}

fn cp(place: &Place, to: &Path) -> anyhow::Result<Outcome> {
    let (browser, path) = place.open()?;
    if to.symlink_metadata().is_ok() {
        bail!(
            "{}: exists; name a new place, nothing is ever overwritten",
            to.display()
        );
    }
    let copied = copy::copy(&browser, &path, to).with_context(|| place.place.clone())?;
    for skipped in &copied.skipped {
        eprintln!("disinter: left out: {skipped}");
    }
    for error in &copied.errors {
        eprintln!("disinter: {}", printable(error.to_string().as_bytes()));
    }
    eprintln!("disinter: {} files, {} bytes", copied.files, copied.bytes);
    Ok(Outcome::of(true, !copied.errors.is_empty()))
}
