//! `disinter drill`: practise on damaged images, and see the answer.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Outcome, confine, investigate as cli_investigate, smart};
use anyhow::{Context, bail};
use disinter::drill::answer::Answer;
use disinter::drill::score::{self, Line};
use disinter::drill::unpack;
use disinter::evidence::case::{Case, now};
use disinter::evidence::confine::{Grants, Porter};
use disinter::image::progress::Progress;
use disinter::image::{ImageSpec, Reading};
use disinter::scan::Options;
use disinter::{inputs, investigate, report};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What to practise.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The drills there are
    List {
        #[command(flatten)]
        corpus: Corpus,
    },
    /// Unpack a drill's images, investigate them, and compare with the answer
    Run {
        #[command(flatten)]
        corpus: Corpus,
        /// Its name in `drill list`
        name: String,
        /// Unpack to this new folder and leave images and case there
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
}

/// Where drills lie.
#[derive(Debug, clap::Args)]
pub(crate) struct Corpus {
    /// The folder of drills; else `corpus` here or in a folder above
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
}

impl Corpus {
    fn find(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.corpus {
            return Ok(folder.clone());
        }
        let here = std::env::current_dir()?;
        let found = here
            .ancestors()
            .map(|f| f.join("corpus"))
            .find(|f| f.is_dir());
        found.context("no folder `corpus` here or above; name one with --corpus")
    }

    /// The drills' folders, sorted.
    fn drills(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.find()?;
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut drills = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.join("answer.json").is_file() {
                drills.push(path);
            }
        }
        drills.sort();
        Ok(drills)
    }
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::List { corpus } => list(&corpus, common),
        Command::Run { corpus, name, keep } => drill(&corpus, &name, keep.as_deref(), common),
    }
}

#[derive(Serialize)]
struct Drill {
    name: String,
    title: String,
    variant: String,
    disks: usize,
}

fn list(corpus: &Corpus, common: Common) -> anyhow::Result<Outcome> {
    let mut drills = Vec::new();
    let folders = corpus.drills()?;
    let read = |grants: Grants, folder: &PathBuf| grants.read(folder);
    confine(folders.iter().fold(Grants::none(), read), common);
    for folder in folders {
        let answer = Answer::load(&folder)?;
        drills.push(Drill {
            name: name_of(&folder),
            title: answer.title,
            variant: answer.variant,
            disks: answer.disks.len(),
        });
    }
    if common.json {
        #[derive(Serialize)]
        struct Document {
            drills: Vec<Drill>,
        }
        output::json("drill list", &Document { drills })?;
        return Ok(Outcome::Answered);
    }
    if drills.is_empty() {
        output::page("There are no drills; --corpus names the folder that holds them.\n")?;
        return Ok(Outcome::Open);
    }
    let mut table = Table::new(&["drill", "disks", "variant", "story"]).right(&[1]);
    for drill in drills {
        table.row([
            drill.name,
            drill.disks.to_string(),
            drill.variant,
            drill.title,
        ]);
    }
    output::page(&table.render(0))?;
    Ok(Outcome::Answered)
}

fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn drill(
    corpus: &Corpus,
    name: &str,
    keep: Option<&Path>,
    common: Common,
) -> anyhow::Result<Outcome> {
    let drills = corpus.drills()?;
    let Some(folder) = drills.iter().find(|f| name_of(f) == name) else {
        let names: Vec<String> = drills.iter().map(|f| name_of(f)).collect();
        bail!("there is no drill {name}; there are: {}", names.join(", "));
    };
    let answer = Answer::load(folder)?;
    let temporary = Temporary::new()?;
    let work = match keep {
        Some(keep) => {
            fs::create_dir(keep)
                .with_context(|| format!("{}: name a new folder", keep.display()))?;
            keep
        }
        None => temporary.path(),
    };
    let started = now();
    let grants = Grants::none().read(folder).write_below(work);
    let confinement = confine(temporary.with(grants), common);
    let bar = Bar::new(common);
    bar.begin("unpacking", answer.disks.iter().map(|d| d.size.0).sum());
    let images = unpack::unpack(folder, &answer, work, &bar)?;
    bar.end();
    let specs: Vec<ImageSpec> = images
        .into_iter()
        .map(|path| ImageSpec {
            path,
            part: disinter::image::Part::Whole,
        })
        .collect();
    let inputs = inputs::open_all(&specs, &Reading::default())?;
    let (ranking, _) = smart::read(&[folder.join("smart")])?;
    // The case's manifest holds the hash of every image.
    let options = Options {
        hash: true,
        ..Options::default()
    };
    let survey = investigate::survey(inputs, &[], options, &bar);
    let found = investigate::investigate(
        survey,
        investigate::Hints {
            ranking,
            ..Default::default()
        },
        &bar,
    );
    let page = report::page(&found, "CASE");
    if keep.is_some() {
        let mut case = Case::begin(&work.join("case"), &[])?;
        cli_investigate::write(&mut case, &found, &page)?;
        case.finish(cli_investigate::manifest(&found, started, confinement))?;
    }
    let lines = score::score(&found, &answer);
    let right = lines.iter().filter(|l| l.right).count();
    print(&page, &lines, right, common)?;
    Ok(Outcome::of(right == lines.len(), found.has_gaps()))
}

/// A folder that is removed with all in it at the end, also after an error: by a porter, as that takes a right on the
/// folder that it lies in.
struct Temporary {
    folder: Option<TempDir>,
    path: PathBuf,
    porter: Porter,
}

impl Temporary {
    fn new() -> anyhow::Result<Temporary> {
        let folder = tempfile::Builder::new()
            .prefix("disinter-drill-")
            .tempdir()?;
        let path = folder.path().to_owned();
        let mut grants = Grants::none().write_below(&path);
        if let Some(parent) = path.parent() {
            grants = grants.remove_folder_in(parent);
        }
        Ok(Temporary {
            folder: Some(folder),
            path,
            porter: Porter::start(grants)?,
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn with(&self, grants: Grants) -> Grants {
        let grants = grants.write_below(&self.path);
        match self.path.parent() {
            Some(parent) => grants.besides_porter_in(parent),
            None => grants,
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            let _ = self.porter.ask(move || drop(folder));
        }
    }
}

fn print(page: &str, lines: &[Line], right: usize, common: Common) -> anyhow::Result<()> {
    if common.json {
        #[derive(Serialize)]
        struct Document<'a> {
            lines: &'a [Line],
            right: usize,
            of: usize,
        }
        let document = Document {
            lines,
            right,
            of: lines.len(),
        };
        return output::json("drill run", &document);
    }
    let mut text = format!("{page}\nAgainst the answer:\n");
    for line in lines {
        let mark = if line.right { "right" } else { "WRONG" };
        text.push_str(&format!("  {mark}  {}: {}\n", line.question, line.got));
        if !line.right {
            text.push_str(&format!("         answer: {}\n", line.answer));
        }
    }
    text.push_str(&format!("Score: {right} of {}\n", lines.len()));
    output::page(&text)
}
