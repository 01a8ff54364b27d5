//! `disinter md`: superblocks, mirrors, and the order of arrays.

use super::output;
use super::progress::Bar;
use super::{Common, Images, Outcome, Unread, confine, images_of, md_examine, md_pairs, unread_of};
use anyhow::Context;
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFile;
use disinter::image::progress::Progress;
use disinter::investigate::arrays::Known;
use disinter::investigate::search::{self, Apart};
use disinter::investigate::{self, Survey};
use disinter::md::guess::Guess;
use serde::Serialize;
use std::path::PathBuf;

/// What to do with arrays.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Superblocks, and what they claim
    Examine(md_examine::Arguments),
    /// Which members mirror each other, and where they differ
    Pairs(md_pairs::Arguments),
    /// Level, chunk and order from the data, whatever superblocks claim
    Guess {
        #[command(flatten)]
        images: Images,
        /// Write a layout file that every later command takes
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Examine(arguments) => md_examine::run(&arguments, common),
        Command::Pairs(arguments) => md_pairs::run(&arguments, common),
        Command::Guess { images, output } => guess(&images, output, common),
    }
}

#[derive(Serialize)]
struct GuessDocument {
    arrays: Vec<Guess>,
    apart: Vec<Apart>,
    unread: Vec<Unread>,
}

fn guess(images: &Images, output: Option<PathBuf>, common: Common) -> anyhow::Result<Outcome> {
    let bar = Bar::new(common);
    let inputs = images.open()?;
    let file = output.map(|path| NewFile::begin(&path, &images_of(&inputs)));
    let file = file.transpose()?;
    confine(
        file.as_ref().map_or_else(Grants::none, NewFile::grants),
        common,
    );
    // No whole pass: what tells an array is found in a sample, whatever the disks' size.
    let survey = Survey::quick(inputs);
    let search::Found {
        arrays: found,
        apart,
    } = search::find(&survey.slices, &Known::default(), &bar);
    bar.end();
    let gaps = found.iter().any(|a| a.has_gaps);
    if let Some(mut file) = file {
        let layout = investigate::plan::layout(&survey, &found, None, &Default::default());
        let text = toml::to_string_pretty(&layout).context("the layout cannot be written down")?;
        file.write(text.as_bytes())?;
        file.finish()?;
    }
    let arrays: Vec<Guess> = found.into_iter().map(|a| a.guess).collect();
    let answered = !arrays.is_empty() && arrays.iter().all(|a| !a.ambiguous);
    let outcome = Outcome::of(answered, gaps);
    if common.json {
        let unread = unread_of(&survey.inputs);
        let document = GuessDocument {
            arrays,
            apart,
            unread,
        };
        output::json("md guess", &document)?;
        return Ok(outcome);
    }
    let mut page = String::new();
    for guess in &arrays {
        page.push_str(&guess_page(guess));
    }
    if arrays.is_empty() {
        page.push_str("No array.\n");
    }
    for apart in &apart {
        let line = format!("{}: {}", apart.members.join(" "), apart.why);
        output::wrap(&mut page, &line, 2);
    }
    output::page(&page)?;
    Ok(outcome)
}

fn guess_page(guess: &Guess) -> String {
    let level = guess
        .level
        .map_or("level unknown".to_owned(), |l| l.to_string());
    let chunk = guess
        .chunk_kib
        .map_or_else(String::new, |k| format!(", chunk {k} KiB"));
    let sure = match guess.ambiguous {
        true => "AMBIGUOUS",
        false => "sure",
    };
    let layout = guess.layout.as_ref();
    let layout = layout.map_or_else(String::new, |layout| format!(" {layout}"));
    let longest = guess.members_bytes.iter().flatten().max();
    let length = match longest {
        Some(longest) => format!("{} to {longest}", guess.member_bytes),
        None => guess.member_bytes.to_string(),
    };
    let head = format!(
        "{level}{layout} over {} members{chunk}, data from sector {}, {length} each: {sure} ({:.4})",
        guess.members.len(),
        guess.data_offset_sectors,
        guess.confidence,
    );
    let mut page = String::new();
    output::wrap(&mut page, &head, 2);
    let names = |members: &[Option<String>]| -> String {
        let name = |m: &Option<String>| m.clone().unwrap_or_else(|| "missing".to_owned());
        members.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    output::wrap(&mut page, &format!("  order: {}", names(&guess.members)), 9);
    if let Some(doubt) = guess.doubt.as_ref().filter(|_| guess.ambiguous) {
        output::wrap(&mut page, &format!("  open: {doubt}"), 8);
    }
    for evidence in &guess.evidence {
        output::wrap(&mut page, &format!("  - {evidence}"), 4);
    }
    if guess.ambiguous {
        for other in &guess.alternatives {
            let line = format!("  or: {} ({:.4})", names(&other.members), other.confidence);
            output::wrap(&mut page, &line, 6);
        }
    }
    page
}
