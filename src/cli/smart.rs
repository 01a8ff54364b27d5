//! `disinter smart`: disks in order of health, and the half to trust.

use super::smart_page::{self, Shown};
use super::{Common, Failing, Outcome, confine, layout_file, open_stack, output};
use anyhow::{Context, bail};
use disinter::evidence::confine::Grants;
use disinter::file::read_small_text;
use disinter::image::KnownAs;
use disinter::investigate::{hits, newer};
use disinter::layout::{ArrayEntry, Layout, MISSING, Members, Stack};
use disinter::parse::printable;
use disinter::smart::half::{self, Half, Health, disk_of};
use disinter::smart::load;
use disinter::smart::matching::{DiskId, Match, Matching, matching};
use disinter::smart::rank::{self, Ranking, Verdict};
use disinter::smart::weights;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to do with smartctl's output.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Disks from best to worst, with reasons
    Rank(Arguments),
    /// The table of weights: what each number costs, and where that comes from
    Weights,
}

/// What to rank.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `smartctl --json -x DEVICE` printed: files of one or several
    /// reports, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Mirror groups: what `disinter md pairs --json` printed, a layout file,
    /// or a case folder. Chooses the healthiest whole half
    #[arg(long, value_name = "FILE|CASE")]
    pairs: Option<PathBuf>,
    /// A layout file or case folder whose images are here: as --pairs, and the
    /// volumes and files that failing blocks hit
    #[arg(long, value_name = "FILE|CASE", conflicts_with = "pairs")]
    layout: Option<PathBuf>,
    /// Which SMART file is which disk's: `sda=FILE`; else serial, file name
    /// and device name say it
    #[arg(long, value_name = "DISK=FILE")]
    smart_of: Vec<String>,
    /// All reasons of every disk, with key, raw value and source
    #[arg(long)]
    reasons: bool,
    #[command(flatten)]
    failing: Failing,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    ranking: &'a Ranking,
    #[serde(flatten)]
    half: Option<HalfDocument<'a>>,
    matches: &'a [Match],
    hits: &'a [hits::Hit],
    unusable: &'a [(String, String)],
    rate_source: &'static str,
}

#[derive(Serialize)]
struct HalfDocument<'a> {
    pairs: &'a [half::Choice],
    half: &'a [String],
    half_warnings: &'a [String],
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Rank(arguments) => rank(&arguments, common),
        Command::Weights => {
            confine(Grants::none(), common);
            weights_table(common)
        }
    }
}

fn rank(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let (mut ranking, unusable) = read(&arguments.files)?;
    let smart_of = parse_smart_of(&arguments.smart_of)?;
    let groups = match arguments.pairs.as_ref().or(arguments.layout.as_ref()) {
        Some(path) => Some(groups(path)?),
        None => None,
    };
    let found = match &groups {
        Some(groups) => matching(&groups.ids, &ranking, &smart_of),
        None => Matching::default(),
    };
    let mut half = groups.as_ref().map(|g| g.choose(&found));
    let hit = match (&arguments.layout, &groups, &mut half) {
        (Some(path), Some(groups), Some(half)) => {
            let (layout, stack) = open(path, groups, arguments.failing)?;
            confine(Grants::none(), common);
            tell_newer(half, layout, &stack);
            hits::hits(layout, &stack, &found.disks)
        }
        _ => {
            confine(Grants::none(), common);
            Vec::new()
        }
    };
    let (matches, odd) = (found.matches, found.warnings);
    ranking.warnings.extend(odd);
    let known = ranking.disks.iter().any(|d| d.verdict != Verdict::Unknown);
    let undecided = half.as_ref().is_some_and(|h| {
        h.warnings
            .iter()
            .any(|w| w.contains(half::READ_BOTH) || w.contains("NOT WHOLE"))
    });
    let outcome = Outcome::of(known && !undecided, !unusable.is_empty());
    if common.json {
        let document = Document {
            ranking: &ranking,
            half: half.as_ref().map(|h| HalfDocument {
                pairs: &h.pairs,
                half: &h.half,
                half_warnings: &h.warnings,
            }),
            matches: &matches,
            hits: &hit,
            unusable: &unusable,
            rate_source: weights::RATE_SOURCE,
        };
        output::json("smart rank", &document)?;
    } else {
        output::page(&smart_page::page(&Shown {
            ranking: &ranking,
            half: half.as_ref(),
            matches: &matches,
            hits: &hit,
            all_reasons: arguments.reasons,
        }))?;
    }
    Ok(outcome)
}

/// Opens the layout's images.
fn open<'a>(
    path: &Path,
    groups: &'a Groups,
    failing: Failing,
) -> anyhow::Result<(&'a Layout, Stack)> {
    let Some(layout) = &groups.layout else {
        bail!("{}: is no layout file; give it as --pairs", path.display());
    };
    let stack = open_stack(layout, path, Members::All, failing)?;
    Ok((layout, stack))
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

/// The `DISK=FILE` entries of `--smart-of`.
pub(crate) fn parse_smart_of(entries: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let entry = |entry: &String| {
        let (disk, file) = entry
            .split_once('=')
            .with_context(|| format!("--smart-of {entry}: expected DISK=FILE"))?;
        Ok((disk.to_owned(), file.to_owned()))
    };
    entries.iter().map(entry).collect()
}

/// What halves are chosen from.
struct Groups {
    ids: Vec<DiskId>,
    /// Groups of plain mirrors.
    mirrors: Vec<Vec<String>>,
    /// Volumes that mirror no other.
    alone: Vec<String>,
    layout: Option<Layout>,
}

impl Groups {
    fn choose(&self, found: &Matching<'_>) -> Half {
        let health = Health {
            disks: &found.disks,
            lost: &|_| 0,
        };
        let mut half = half::choose(&self.mirrors, health);
        for array in self.layout.iter().flat_map(|l| &l.arrays) {
            let Ok(geometry) = array.geometry() else {
                half.warnings.insert(
                    0,
                    format!("{}: its numbers cannot be those of an array", array.name),
                );
                continue;
            };
            let there = |name: &String| (name != MISSING).then(|| name.clone());
            let members: Vec<Option<String>> = array.members.iter().map(there).collect();
            let more = half::choose_array(&geometry, &members, health);
            half.pairs.extend(more.pairs);
            half.half.extend(more.half);
            half.warnings.pop();
            half.warnings.extend(more.warnings);
        }
        if !self.alone.is_empty() {
            let what = format!(
                "{} mirror no other: where their array needs them, so does the half",
                self.alone.join(" ")
            );
            half.warnings
                .insert(half.warnings.len().saturating_sub(1), what);
        }
        half
    }
}

/// Mirror groups of `md pairs --json`, of a case's pairs.json, of a layout, or of a case.
fn groups(path: &Path) -> anyhow::Result<Groups> {
    /// `md pairs --json` lists its differing extents; more than this is something else.
    const LARGEST: u64 = 64 << 20;
    let path = layout_file(path);
    let text = read_small_text(&path, LARGEST).with_context(|| path.display().to_string())?;
    let front = text.trim_start();
    let is_json = front.starts_with(['{', '[']) && !front.starts_with("[[");
    if !is_json {
        let layout = Layout::load(&path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        let ids = layout.images.iter().map(|image| {
            let path = base.join(&image.path);
            DiskId {
                name: image.name.clone(),
                known_as: KnownAs::of(&path),
                path: Some(path),
                size: Some(image.size),
            }
        });
        return Ok(Groups {
            ids: ids.collect(),
            mirrors: Vec::new(),
            alone: Vec::new(),
            layout: Some(layout),
        });
    }
    #[derive(serde::Deserialize)]
    struct Group {
        members: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Pairs {
        Printed {
            groups: Vec<Group>,
            #[serde(default)]
            alone: Vec<String>,
        },
        Case(Vec<Group>),
    }
    let pairs: Pairs = serde_json::from_str(&text).ok().with_context(|| {
        format!(
            "{}: not what `disinter md pairs --json` prints",
            path.display()
        )
    })?;
    let (groups, alone) = match pairs {
        Pairs::Printed { groups, alone } => (groups, alone),
        Pairs::Case(groups) => (groups, Vec::new()),
    };
    let mirrors: Vec<Vec<String>> = groups.into_iter().map(|g| g.members).collect();
    let mut names: Vec<&str> = mirrors.iter().flatten().map(|m| disk_of(m)).collect();
    names.sort_unstable();
    names.dedup();
    let ids = names.into_iter().map(|name| DiskId {
        name: name.to_owned(),
        ..DiskId::default()
    });
    Ok(Groups {
        ids: ids.collect(),
        mirrors,
        alone,
        layout: None,
    })
}

/// What the members' own superblocks and texts say of which is newer.
fn tell_newer(half: &mut Half, layout: &Layout, stack: &Stack) {
    for choice in &mut half.pairs {
        let members = choice.members.iter().filter_map(|name| {
            let slot = |a: &ArrayEntry| a.members.iter().position(|m| m == name);
            let (array, slot) = layout.arrays.iter().find_map(|a| Some((a, slot(a)?)))?;
            Some((stack.volume(name).ok()?, array.data_offset(slot)))
        });
        choice.newer = newer::newer(&members.collect::<Vec<_>>());
    }
}

#[derive(Serialize)]
struct WeightRow {
    attribute: Option<u64>,
    #[serde(flatten)]
    weight: weights::Weight,
}

fn weights_table(common: Common) -> anyhow::Result<Outcome> {
    #[derive(Serialize)]
    struct Weights {
        weights: Vec<WeightRow>,
        close: u32,
        rate_source: &'static str,
    }
    if common.json {
        let rows = weights::table().map(|(attribute, weight)| WeightRow { attribute, weight });
        let document = Weights {
            weights: rows.collect(),
            close: weights::CLOSE,
            rate_source: weights::RATE_SOURCE,
        };
        output::json("smart weights", &document)?;
    } else {
        output::page(&smart_page::weights())?;
    }
    Ok(Outcome::Answered)
}
