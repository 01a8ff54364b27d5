//! `disinter fs`: files through a layout.

use super::{Common, Failing, Outcome, confine, layout_file, open_stack, output};
use anyhow::{Context, bail};
use disinter::disk;
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFolder;
use disinter::fs::browse::Browser;
use disinter::fs::copy::{self, CopyReport, Links};
use disinter::fs::entry::{BrowseError, Entry};
use disinter::fs::ext_check;
use disinter::fs::ext_report::{ExtReport, Verdict};
use disinter::fs::probe::probe;
use disinter::image::Source;
use disinter::layout::{Layout, Members, Stack};
use disinter::lvm::sync::Told;
use disinter::parse::printable;
use disinter::units::utc;
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
    /// Whether a file system's metadata is where it says, all over the volume
    Check {
        #[command(flatten)]
        stack: StackArguments,
        /// A volume: `guests/home`, `guests/web@1`
        volume: String,
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
    /// The layout file, or the case that it is of
    #[arg(long, value_name = "FILE")]
    layout: PathBuf,
    /// Read only the chosen half; else the other mirrors serve where it cannot
    /// be read
    #[arg(long)]
    half: bool,
    #[command(flatten)]
    failing: Failing,
}

impl StackArguments {
    /// The layout as it is written.
    pub(crate) fn layout(&self) -> anyhow::Result<Layout> {
        Ok(Layout::load(&layout_file(&self.layout))?)
    }

    /// Opens the volumes.
    pub(crate) fn open(&self) -> anyhow::Result<disinter::layout::Stack> {
        let members = if self.half {
            Members::Half
        } else {
            Members::All
        };
        open_stack(&self.layout()?, &self.layout, members, self.failing)
    }
}

impl Place {
    /// Opened to be read, and nothing else.
    fn open(&self, common: Common) -> anyhow::Result<Opened> {
        let stack = self.stack.open()?;
        confine(Grants::none(), common);
        self.browse(&stack)
    }

    fn browse(&self, stack: &Stack) -> anyhow::Result<Opened> {
        let (volume, path) = split(&self.place);
        // The colon of a path without its slash, or of a volume: by-id names of USB disks end in `-0:0`.
        if path == "/" && volume.contains(':') && stack.volume(volume).is_err() {
            bail!("{}: a path in a volume starts with /", self.place);
        }
        let source = stack.volume(volume)?;
        let browser = Browser::open(source.clone());
        if let Err(BrowseError::NoFileSystem(_)) = browser
            && let Some(said) = lies_there(volume, &*source)
        {
            bail!("{said}");
        }
        let browser = browser?;
        for note in browser.notes() {
            eprintln!("disinter: note: {volume}: {note}");
        }
        let told = stack.told(volume);
        say(&told);
        Ok(Opened {
            browser,
            path: path.as_bytes().to_vec(),
            told,
        })
    }
}

/// A volume and a path in it; the whole of it where none is given.
fn split(place: &str) -> (&str, &str) {
    let at = place.find(":/");
    let parts = at.and_then(|at| Some((place.get(..at)?, place.get(at + 1..)?)));
    parts.unwrap_or((place, "/"))
}

/// A file system, and what to do in it.
struct Opened {
    browser: Browser,
    path: Vec<u8>,
    /// What is known of the copies under its volume.
    told: Told,
}

impl Opened {
    /// Whether nothing speaks against that its volume is read as it was last.
    fn sure(&self) -> bool {
        self.told.doubts.is_empty()
    }

    /// What is to be known of the volume and of its file system.
    fn notes(&self) -> Vec<&String> {
        let notes = self.browser.notes().iter();
        notes.chain(&self.told.notes).collect()
    }
}

/// What is known of the copies under a volume.
pub(crate) fn say(told: &Told) {
    for note in &told.notes {
        eprintln!("disinter: note: {}", printable(note.as_bytes()));
    }
    for doubt in &told.doubts {
        eprintln!("disinter: DOUBT: {}", printable(doubt.as_bytes()));
    }
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Ls { place } => ls(&place, common),
        Command::Cat { place } => {
            let opened = place.open(common)?;
            let mut out = std::io::stdout().lock();
            let read = opened.browser.read(&opened.path, &mut out)?;
            out.flush()?;
            for gap in &read.gaps {
                eprintln!(
                    "disinter: bytes {gap} of the file could not be read; zeros stand in their place"
                );
            }
            Ok(Outcome::of(opened.sure(), !read.gaps.is_empty()))
        }
        Command::Cp { place, to } => cp(&place, &to, common),
        Command::Check { stack, volume } => check(&stack, &volume, common),
    }
}

/// What lies on a volume that has no ext file system, and how that is named.
fn lies_there(volume: &str, source: &dyn Source) -> Option<String> {
    let table = disk::partitions(source).ok();
    let parts = table.iter().flat_map(|table| &table.partitions);
    let parts = parts.filter(|part| !part.is_extended());
    let names: Vec<String> = parts.map(|p| format!("{volume}@{}", p.number)).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        return Some(format!(
            "{volume} holds a partition table: name a partition of it: {names}"
        ));
    }
    let found = probe(source).signatures;
    let kinds: Vec<&str> = found.iter().map(|found| found.kind.as_str()).collect();
    let other = !kinds.is_empty() && !kinds.iter().any(|kind| kind.starts_with("ext"));
    other.then(|| {
        let kinds = kinds.join(", ");
        format!("{volume} holds {kinds}; disinter export writes it as an image")
    })
}

fn check(stack: &StackArguments, volume: &str, common: Common) -> anyhow::Result<Outcome> {
    let volumes = stack.open()?;
    confine(Grants::none(), common);
    let source = volumes.volume(volume)?;
    let told = volumes.told(volume);
    say(&told);
    let mut report = ext_check::check(&*source);
    if report.verdict == Verdict::Unrecognisable {
        report.notes.extend(lies_there(volume, &*source));
    }
    let outcome = match report.verdict {
        Verdict::Whole => Outcome::of(told.doubts.is_empty(), false),
        Verdict::Damaged | Verdict::Unrecognisable => Outcome::Open,
        Verdict::Unread => Outcome::Gaps,
    };
    if common.json {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a ExtReport,
            doubts: &'a [String],
        }
        report.notes.extend(told.notes);
        let document = Document {
            report: &report,
            doubts: &told.doubts,
        };
        output::json("fs check", &document)?;
        return Ok(outcome);
    }
    let mut table = output::Table::new(&["checked", "held", "failed", "unread"]).right(&[1, 2, 3]);
    for tally in &report.tallies {
        let numbers = [tally.passed, tally.failed, tally.unread].map(|n| n.to_string());
        table.row([tally.check.as_str().to_owned()].into_iter().chain(numbers));
    }
    let verdict = format!("{:?}", report.verdict).to_lowercase();
    let mut page = format!("{volume}: {verdict}\n");
    if !report.tallies.is_empty() {
        page.push_str(&table.render(2));
    }
    for failure in &report.failures {
        page.push_str(&format!(
            "  at byte {}: {}\n",
            failure.at.0,
            printable(failure.what.as_bytes())
        ));
    }
    for note in &report.notes {
        output::wrap(&mut page, &format!("  note: {note}"), 4);
    }
    output::page(&page)?;
    Ok(outcome)
}

#[derive(Serialize)]
struct Document<'a> {
    entries: &'a [Entry],
    notes: Vec<&'a String>,
    doubts: &'a [String],
    problem: Option<String>,
}

fn ls(place: &Place, common: Common) -> anyhow::Result<Outcome> {
    let opened = place.open(common)?;
    let browser = &opened.browser;
    let listing = browser.list(&opened.path)?;
    let problem = listing.problem.map(|p| p.to_string());
    let outcome = Outcome::of(opened.sure(), problem.is_some());
    if common.json {
        let document = Document {
            entries: &listing.entries,
            notes: opened.notes(),
            doubts: &opened.told.doubts,
            problem,
        };
        output::json("fs ls", &document)?;
        return Ok(outcome);
    }
    let head = ["kind", "mode", "owner", "bytes", "changed", "name"];
    let mut table = output::Table::new(&head).right(&[3]);
    for entry in &listing.entries {
        let name = match &entry.target {
            Some(target) => format!("{} -> {}", entry.display_name(), printable(target)),
            None => entry.display_name(),
        };
        let changed = u64::try_from(entry.modified).map(utc).unwrap_or_default();
        table.row([
            entry.kind.as_str().to_owned(),
            format!("{:04o}", entry.mode & 0o7777),
            format!("{}:{}", entry.uid, entry.gid),
            entry.size.0.to_string(),
            changed.trim_end_matches(" UTC").to_owned(),
            name,
        ]);
    }
    output::page(&table.render(0))?;
    if let Some(problem) = problem {
        eprintln!(
            "disinter: the folder could not be read whole: {}",
            printable(problem.as_bytes())
        );
    }
    Ok(outcome)
}

fn cp(place: &Place, to: &Path, common: Common) -> anyhow::Result<Outcome> {
    let stack = place.stack.open()?;
    let folder = NewFolder::begin(to, &stack.images())?;
    confine(folder.grants(), common);
    let opened = place.browse(&stack)?;
    let copied = copy::copy_tree(&opened.browser, &opened.path, folder.path(), Links::List)
        .with_context(|| place.place.clone())?;
    if let Some(ended) = &copied.ended {
        bail!(
            "{}: {}: the copy ended there; {} files, {} were copied until then, and stay in {}",
            ended.path,
            ended.why,
            copied.files,
            copied.bytes,
            folder.keep().display()
        );
    }
    folder.finish()?;
    let outcome = Outcome::of(opened.sure(), !copied.problems.is_empty());
    if common.json {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            copied: &'a CopyReport,
            notes: Vec<&'a String>,
            doubts: &'a [String],
        }
        let document = Document {
            copied: &copied,
            notes: opened.notes(),
            doubts: &opened.told.doubts,
        };
        output::json("fs cp", &document)?;
        return Ok(outcome);
    }
    for left in &copied.skipped {
        eprintln!(
            "disinter: left out: {}: {}",
            left.path,
            printable(left.why.as_bytes())
        );
    }
    for left in &copied.problems {
        eprintln!(
            "disinter: {}: {}",
            left.path,
            printable(left.why.as_bytes())
        );
    }
    eprintln!("disinter: {} files, {}", copied.files, copied.bytes);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::split;

    /// A disk whose name holds a colon is no volume of another name; a path may hold colons too.
    #[test]
    fn colons_in_names_and_paths() {
        for (place, parts) in [
            ("guests/home:/etc/fstab", ("guests/home", "/etc/fstab")),
            ("usb-WD_77-0:0:/", ("usb-WD_77-0:0", "/")),
            ("usb-WD_77-0:0@1:/a:/b", ("usb-WD_77-0:0@1", "/a:/b")),
            ("usb-WD_77-0:0@1", ("usb-WD_77-0:0@1", "/")),
            ("home", ("home", "/")),
        ] {
            assert_eq!(split(place), parts);
        }
    }
}
