//! `disinter md`: superblocks, mirrors, and the order of arrays.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Images, Outcome, Unread, unread_of};
use anyhow::Context;
use disinter::image::progress::Progress;
use disinter::inputs;
use disinter::investigate::arrays::{self, Known};
use disinter::investigate::{self, Survey};
use disinter::md::guess::Guess;
use disinter::md::superblock::{Role, Superblock};
use disinter::parse::{Checksum, ParseError};
use disinter::units::{Bytes, utc};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// What to do with arrays.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Superblocks, and what they claim
    Examine {
        #[command(flatten)]
        images: Images,
    },
    /// Which members mirror each other, and where they differ
    Pairs {
        #[command(flatten)]
        images: Images,
    },
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
        Command::Examine { images } => examine(&images, common),
        Command::Pairs { images } => pairs(&images, common),
        Command::Guess { images, output } => guess(&images, output, common),
    }
}

#[derive(Serialize)]
struct Examined {
    member: String,
    #[serde(flatten)]
    superblock: Superblock,
}

#[derive(Serialize)]
struct ExamineDocument {
    superblocks: Vec<Examined>,
    broken: Vec<(String, String)>,
    unread: Vec<Unread>,
}

fn examine(images: &Images, common: Common) -> anyhow::Result<Outcome> {
    let inputs = images.open()?;
    let mut document = ExamineDocument {
        superblocks: Vec::new(),
        broken: Vec::new(),
        unread: Vec::new(),
    };
    let mut gaps = false;
    for slice in inputs::slices(&inputs) {
        let (found, broken) = Superblock::all(&*slice.source);
        gaps |= broken
            .iter()
            .any(|(_, error)| matches!(error, ParseError::Unreadable(_)));
        document
            .superblocks
            .extend(found.into_iter().map(|superblock| Examined {
                member: slice.name.clone(),
                superblock,
            }));
        document.broken.extend(
            broken.into_iter().map(|(version, error)| {
                (slice.name.clone(), format!("superblock {version} {error}"))
            }),
        );
    }
    document.unread = unread_of(&inputs);
    let outcome = Outcome::of(!document.superblocks.is_empty(), gaps);
    if common.json {
        output::json("md examine", &document)?;
        return Ok(outcome);
    }
    let mut table = Table::new(&[
        "member", "version", "array", "level", "slot", "events", "created", "sum",
    ])
    .right(&[4, 5]);
    for row in &document.superblocks {
        let sb = &row.superblock;
        let slot = match sb.role {
            Role::Slot(slot) => slot.to_string(),
            role => format!("{role:?}").to_lowercase(),
        };
        table.row([
            row.member.clone(),
            sb.version.to_string(),
            sb.array_uuid
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned(),
            sb.level_name(),
            slot,
            sb.events.to_string(),
            utc(sb.created).trim_end_matches(" UTC").to_owned(),
            if sb.checksum == Checksum::Ok {
                "ok"
            } else {
                "BAD"
            }
            .to_owned(),
        ]);
    }
    for (member, what) in &document.broken {
        eprintln!("disinter: warning: {member}: {what}");
    }
    match document.superblocks.is_empty() {
        true => output::page("No md superblock found.\n")?,
        false => output::page(&table.render(0))?,
    }
    Ok(outcome)
}

#[derive(Serialize)]
struct PairsDocument {
    groups: Vec<arrays::Mirror>,
    alone: Vec<String>,
    unread: Vec<Unread>,
}

fn pairs(images: &Images, common: Common) -> anyhow::Result<Outcome> {
    let inputs = images.open()?;
    let bar = Bar::new(common);
    let members = arrays::members(&inputs::slices(&inputs));
    let mut document = PairsDocument {
        groups: Vec::new(),
        alone: Vec::new(),
        unread: Vec::new(),
    };
    for (members, groups, mirrors) in arrays::mirrors(&members, &bar) {
        let alone = groups.iter().filter(|g| g.members.len() == 1);
        let names = alone.filter_map(|g| members.get(*g.members.first()?));
        document
            .alone
            .extend(names.map(|m| m.source.name().to_owned()));
        document.groups.extend(mirrors);
    }
    bar.end();
    document.unread = unread_of(&inputs);
    let gaps = document
        .groups
        .iter()
        .any(|g| !g.comparison.unread_extents.is_empty());
    let outcome = Outcome::of(!document.groups.is_empty(), gaps);
    if common.json {
        output::json("md pairs", &document)?;
        return Ok(outcome);
    }
    let mut table = Table::new(&["mirrors", "compared", "first difference", "bytes differing"])
        .right(&[1, 2, 3]);
    for group in &document.groups {
        let compared = &group.comparison;
        table.row([
            group.members.join(" "),
            compared.common_bytes.to_string(),
            compared
                .first_difference
                .map_or("none".to_owned(), |at| at.0.to_string()),
            compared.differing_bytes.to_string(),
        ]);
    }
    let mut page = table.render(0);
    if !document.alone.is_empty() {
        page.push_str(&format!("no mirror: {}\n", document.alone.join(" ")));
    }
    output::page(&page)?;
    Ok(outcome)
}

#[derive(Serialize)]
struct GuessDocument {
    arrays: Vec<Guess>,
    unread: Vec<Unread>,
}

fn guess(images: &Images, output: Option<PathBuf>, common: Common) -> anyhow::Result<Outcome> {
    let bar = Bar::new(common);
    // No whole pass: what tells an array is found in a sample, whatever the disks' size.
    let survey = Survey::quick(images.open()?);
    let found = arrays::find(&survey.slices, &Known::default(), &bar);
    bar.end();
    let gaps = found.iter().any(|a| a.has_gaps);
    if let Some(path) = output {
        let layout = investigate::plan::layout(&survey, &found, None, &Default::default());
        let text = toml::to_string_pretty(&layout).context("the layout cannot be written down")?;
        super::create_new(&path)?
            .write_all(text.as_bytes())
            .with_context(|| path.display().to_string())?;
    }
    let arrays: Vec<Guess> = found.into_iter().map(|a| a.guess).collect();
    let answered = !arrays.is_empty() && arrays.iter().all(|a| !a.ambiguous);
    let outcome = Outcome::of(answered, gaps);
    if common.json {
        let unread = unread_of(&survey.inputs);
        output::json("md guess", &GuessDocument { arrays, unread })?;
        return Ok(outcome);
    }
    let mut page = String::new();
    for guess in &arrays {
        page.push_str(&guess_page(guess));
    }
    if arrays.is_empty() {
        page.push_str("Nothing that could be a member of an array.\n");
    }
    output::page(&page)?;
    Ok(outcome)
}

fn guess_page(guess: &Guess) -> String {
    let level = guess
        .level
        .map_or("level unknown".to_owned(), |l| l.to_string());
    let layout = guess.layout.clone().unwrap_or_default();
    let chunk = guess
        .chunk_kib
        .map_or_else(String::new, |k| format!(", chunk {k} KiB"));
    let sure = match guess.ambiguous {
        true => "AMBIGUOUS",
        false => "sure",
    };
    let mut page = format!(
        "{level} {layout} over {} members{chunk}, data from sector {}, {} each: {sure} ({:.4})\n",
        guess.members.len(),
        guess.data_offset_sectors,
        Bytes(guess.member_bytes.0),
        guess.confidence,
    );
    let names = |members: &[Option<String>]| -> String {
        let name = |m: &Option<String>| m.clone().unwrap_or_else(|| "missing".to_owned());
        members.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    page.push_str(&format!("  order: {}\n", names(&guess.members)));
    for evidence in &guess.evidence {
        page.push_str(&format!("  - {evidence}\n"));
    }
    if guess.ambiguous {
        for other in &guess.alternatives {
            page.push_str(&format!(
                "  or: {} ({:.4})\n",
                names(&other.members),
                other.confidence
            ));
        }
    }
    page
}
