//! `disinter smart`: disks in order of health, and the half to trust.

use super::output::{self, Table};
use super::{Common, Outcome, confine};
use anyhow::{Context, bail};
use disinter::evidence::confine::Grants;
use disinter::parse::printable;
use disinter::smart::half::{self, Half};
use disinter::smart::load;
use disinter::smart::rank::{self, COLUMNS, Disk, Ranking, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What to do with smartctl's output.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Disks from best to worst, with reasons
    Rank {
        /// What `smartctl --json -x DEVICE` printed, a file a disk, or a folder
        /// of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Mirror groups, as `disinter md pairs --json` prints them: chooses one
        /// disk of each
        #[arg(long, value_name = "FILE")]
        pairs: Option<PathBuf>,
        /// Which file is which disk's: `sda=FILE`; else a file's name says it
        #[arg(long, value_name = "DISK=FILE")]
        map: Vec<String>,
    },
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    ranking: &'a Ranking,
    #[serde(flatten)]
    half: Option<HalfDocument<'a>>,
    unusable: Vec<(String, String)>,
}

#[derive(Serialize)]
struct HalfDocument<'a> {
    pairs: &'a [half::Choice],
    half: &'a [String],
    half_warnings: &'a [String],
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    let Command::Rank { files, pairs, map } = command;
    let (ranking, unusable) = read(&files)?;
    let map = parse_map("--map", &map)?;
    let half = match pairs {
        Some(path) => Some(half::choose(
            &groups(&path)?,
            &half::by_disk(&ranking, &map),
        )),
        None => None,
    };
    confine(Grants::none(), common);
    let known = ranking.disks.iter().any(|d| d.verdict != Verdict::Unknown);
    if common.json {
        let document = Document {
            ranking: &ranking,
            half: half.as_ref().map(|h| HalfDocument {
                pairs: &h.pairs,
                half: &h.half,
                half_warnings: &h.warnings,
            }),
            unusable: unusable.clone(),
        };
        output::json("smart rank", &document)?;
    } else {
        output::page(&page(&ranking, half.as_ref()))?;
    }
    Ok(Outcome::of(known, !unusable.is_empty()))
}

/// Reports read and ranked; files that gave none are warned of.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<(Ranking, Vec<(String, String)>)> {
    let (reports, problems) = load::load(files);
    let unusable: Vec<(String, String)> = problems
        .into_iter()
        .map(|p| (p.path.display().to_string(), p.what))
        .collect();
    if reports.is_empty()
        && let Some((path, what)) = unusable.first()
    {
        bail!("{path}: {what}");
    }
    for (path, what) in &unusable {
        eprintln!(
            "disinter: warning: {}: {}",
            printable(path.as_bytes()),
            printable(what.as_bytes())
        );
    }
    Ok((rank::rank(&reports), unusable))
}

/// The `DISK=FILE` entries of an option.
pub(crate) fn parse_map(
    option: &str,
    entries: &[String],
) -> anyhow::Result<BTreeMap<String, String>> {
    let entry = |entry: &String| {
        let (disk, file) = entry
            .split_once('=')
            .with_context(|| format!("{option} {entry}: expected NAME=FILE"))?;
        Ok((disk.to_owned(), file.to_owned()))
    };
    entries.iter().map(entry).collect()
}

/// The mirror groups of `md pairs --json`.
fn groups(path: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    #[derive(serde::Deserialize)]
    struct Pairs {
        groups: Vec<Group>,
    }
    #[derive(serde::Deserialize)]
    struct Group {
        members: Vec<String>,
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let pairs: Pairs =
        serde_json::from_reader(std::io::BufReader::new(file)).with_context(|| {
            format!(
                "{}: not what `disinter md pairs --json` prints",
                path.display()
            )
        })?;
    Ok(pairs.groups.into_iter().map(|g| g.members).collect())
}

fn page(ranking: &Ranking, half: Option<&Half>) -> String {
    let mut head = vec!["rank", "disk", "verdict", "points"];
    let numbers: Vec<String> = COLUMNS.iter().map(u64::to_string).collect();
    head.extend(numbers.iter().map(String::as_str));
    head.extend(["errors", "<24h"]);
    let mut table = Table::new(&head).right(&[0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    for disk in &ranking.disks {
        table.row(row(disk));
    }
    let mut page = table.render(0);
    for disk in ranking.disks.iter().filter(|d| d.score > 0) {
        let reasons: Vec<String> = disk
            .reasons
            .iter()
            .map(|r| format!("{} {} ({})", r.decoded, r.what, r.points))
            .collect();
        page.push_str(&format!(
            "{}: {}\n",
            name(disk),
            printable(reasons.join("; ").as_bytes())
        ));
    }
    for warning in &ranking.warnings {
        page.push_str(&format!("warning: {}\n", printable(warning.as_bytes())));
    }
    if let Some(half) = half {
        for choice in &half.pairs {
            let taken = choice.choice.as_deref().unwrap_or("none");
            page.push_str(&format!(
                "{}: {taken}: {}\n",
                choice.members.join(" "),
                choice.why
            ));
        }
        page.push_str(&format!("half: {}\n", half.half.join(" ")));
        for warning in &half.warnings {
            page.push_str(&format!("{warning}\n"));
        }
    }
    page
}

fn name(disk: &Disk) -> String {
    printable(disk.name().as_bytes())
}

fn row(disk: &Disk) -> Vec<String> {
    let rank = match disk.rank {
        0 => "-".to_owned(),
        rank => rank.to_string(),
    };
    let mut row = vec![
        rank,
        name(disk),
        format!("{:?}", disk.verdict).to_lowercase(),
        disk.score.to_string(),
    ];
    for id in COLUMNS {
        let column = disk.columns.iter().find(|c| c.id == id);
        row.push(match column.map(|c| c.decoded) {
            Some(Some(count)) => count.to_string(),
            Some(None) => "?".to_owned(),
            None => "-".to_owned(),
        });
    }
    row.push(match disk.errors {
        None => "?".to_owned(),
        Some(errors) if errors.media > 0 => format!("{} media", errors.media),
        Some(errors) if errors.total > 0 => format!("{} other", errors.total),
        Some(_) => "none".to_owned(),
    });
    row.push(match disk.tested_within_24_h {
        None => "?".to_owned(),
        Some(true) => "yes".to_owned(),
        Some(false) => "NO".to_owned(),
    });
    row
}
