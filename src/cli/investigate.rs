//! `disinter investigate`: the main job.

use super::progress::Bar;
use super::{Common, Images, Outcome, Pace, confine, images_of, output, smart};
use anyhow::bail;
use disinter::evidence::case::{Case, InputRow, Manifest, now};
use disinter::evidence::confine::Confinement;
use disinter::evidence::leading;
use disinter::evidence::resume::Store;
use disinter::image::{self, MOST_HASHED_HOLES, Source};
use disinter::inputs::Input;
use disinter::investigate::{self, Hints, Investigation, plan};
use disinter::lvm::candidates::Rows;
use disinter::lvm::restore;
use disinter::parse::printable_path;
use disinter::report;
use disinter::scan::{Options, Scan};
use disinter::script;
use disinter::smart::rank::Ranking;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to investigate.
#[derive(Debug, clap::Args)]
#[command(override_usage = "disinter investigate [OPTIONS] --case DIR IMAGE... [--smart FILE...]")]
pub(crate) struct Arguments {
    #[command(flatten)]
    images: Images,
    /// The folder to write; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    case: PathBuf,
    /// What `smartctl --json -x` printed of the disks, a file a disk (named like
    /// its image), or a folder of them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    smart: Vec<PathBuf>,
    /// Which SMART file is which disk's: `sda=FILE`
    #[arg(long, value_name = "DISK=FILE")]
    smart_of: Vec<String>,
    /// The volume group that is sought, by name or the front of its id; else
    /// the best proven one
    #[arg(long, value_name = "NAME|ID")]
    vg: Option<String>,
    /// Go on where a run over the same images into the same case was cut short
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pace: Pace,
}

/// Investigates, writes the case, prints the page.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let started = now();
    if arguments.resume && arguments.pace.quick {
        bail!(
            "--quick goes on with nothing; leave it away to go on, or give it another --case for a quick look meanwhile"
        );
    }
    let inputs = arguments.images.open()?;
    paths_for_a_layout(&inputs)?;
    let hints = hints(arguments)?;
    let mut case = Case::begin(&arguments.case, &images_of(&inputs))?;
    let (store, states) = Store::begin(&case, &inputs, arguments.resume, |why| {
        eprintln!("disinter: warning: {why}");
    })?;
    for name in store.anew() {
        eprintln!(
            "disinter: note: {name}: it or its map was written to since that run; it is read from its start"
        );
    }
    let confinement = confine(case.grants().write_below(store.folder()), common);
    let bar = Bar::new(common);
    let options = Options {
        hash: inputs.iter().all(|input| can_hash(&*input.source)),
        keeper: Some(&store),
        ..arguments.pace.options()
    };
    let survey = investigate::survey(inputs, &states, options, &bar);
    let found = investigate::investigate(survey, hints, &bar);
    let page = report::page(&found, &arguments.case.display().to_string());
    write(&mut case, &found, &page)?;
    let mut manifest = manifest(&found, started, confinement);
    manifest.notes.extend(store.failure().map(str::to_owned));
    case.finish(manifest)?;
    store.finish();
    match common.json {
        true => output::json("investigate", &Summary::of(&found, &arguments.case))?,
        false => output::page(&page)?,
    }
    Ok(Outcome::of(found.is_answered(), found.has_gaps()))
}

/// Refuses paths that `layout.toml` cannot hold, before anything is read for it: a TOML file is UTF-8.
fn paths_for_a_layout(inputs: &[Input]) -> anyhow::Result<()> {
    for image in images_of(inputs) {
        let map = image.map().map(|(path, _)| path);
        for path in [Some(image.path()), map].into_iter().flatten() {
            let path = std::path::absolute(path)?;
            if path.to_str().is_none() {
                let path = printable_path(&path);
                bail!(
                    "{path}: this path is not UTF-8, so no layout file can hold it; name the image by a symbolic link in a folder whose path is, with its map beside it"
                );
            }
        }
    }
    Ok(())
}

fn hints(arguments: &Arguments) -> anyhow::Result<Hints> {
    let ranking = match arguments.smart.is_empty() {
        true => Ranking::default(),
        false => smart::read(&arguments.smart)?.0,
    };
    Ok(Hints {
        ranking,
        smart_of: smart::parse_smart_of(&arguments.smart_of)?,
        vg: arguments.vg.clone(),
    })
}

fn json(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Every file of the case but the manifest.
pub(crate) fn write(case: &mut Case, found: &Investigation, page: &str) -> anyhow::Result<()> {
    case.write("report.txt", page.as_bytes(), false)?;
    let findings: Vec<_> = found
        .scans
        .iter()
        .flat_map(|s| s.findings.clone())
        .collect();
    case.write("findings.json", &json(&findings)?, false)?;
    let pairs: Vec<_> = found.arrays.iter().flat_map(|a| &a.mirrors).collect();
    case.write("pairs.json", &json(&pairs)?, false)?;
    let guesses: Vec<_> = found.arrays.iter().map(|a| &a.guess).collect();
    case.write("arrays.json", &json(&guesses)?, false)?;
    case.write("texts.json", &json(&Rows(&found.candidates))?, false)?;
    case.write("smart.json", &json(&found.ranking)?, false)?;
    case.write("half.json", &json(&found.half)?, false)?;
    case.write("hits.json", &json(&found.hits)?, false)?;
    case.write("damage.json", &json(&found.damage)?, false)?;
    case.write("volumes.json", &json(&found.checks)?, false)?;
    case.write("placing.json", &json(&found.placing)?, false)?;
    case.write(
        "layout.toml",
        toml::to_string_pretty(&found.layout)?.as_bytes(),
        false,
    )?;
    write_leading(case, found)?;
    for (name, map) in found.maps() {
        if !map.unread(map.end()).is_empty() {
            let path = format!("maps/{name}.map");
            case.write(&path, map.to_text().as_bytes(), false)?;
        }
    }
    let Some(chosen) = found.chosen() else {
        return Ok(());
    };
    let text = restore::restore_file(&chosen.carved)?;
    case.write(&plan::restore_name(chosen), text.as_bytes(), false)?;
    // Scripts that leave out the array that all lies on would bring back nothing.
    let half_done = found.layout.arrays.iter().any(|a| a.reshape.is_some());
    if half_done {
        return Ok(());
    }
    for file in script::write(&plan::plan(found, &text))? {
        case.write(
            &format!("scripts/{}", file.name),
            file.text.as_bytes(),
            file.executable,
        )?;
    }
    Ok(())
}

fn write_leading(case: &mut Case, found: &Investigation) -> anyhow::Result<()> {
    let (kept, lost) = leading::collect(&found.inputs, &found.slices);
    for extent in &kept {
        case.write(&extent.file, &extent.bytes, false)?;
    }
    #[derive(Serialize)]
    struct Leading<'a> {
        kept: &'a [leading::Kept],
        unread: &'a [String],
    }
    let list = Leading {
        kept: &kept,
        unread: &lost,
    };
    case.write("leading/index.json", &json(&list)?, false)?;
    Ok(())
}

/// What the case is of.
pub(crate) fn manifest(
    found: &Investigation,
    started: String,
    confinement: Confinement,
) -> Manifest {
    let input = |((input, scan), unread): ((&Input, &Scan), _)| InputRow {
        name: input.name.clone(),
        path: std::path::absolute(input.image.path()).unwrap_or_default(),
        size: scan.length,
        sha256: scan.sha256.clone(),
        unread,
    };
    let inputs = found.inputs.iter().zip(&found.scans).zip(found.unread());
    let inputs = inputs.map(input);
    Manifest::new(started, inputs.collect(), confinement)
}

/// Whether an image can be hashed whole in a time that its data asks for.
pub(crate) fn can_hash(source: &dyn Source) -> bool {
    image::holes_within(source, MOST_HASHED_HOLES)
}

/// The answer in short, for programs: the files of the case hold the rest.
#[derive(Serialize)]
struct Summary<'a> {
    case: String,
    answered: bool,
    vg: Option<&'a str>,
    vg_id: Option<&'a str>,
    text_sha256: Option<&'a str>,
    arrays: Vec<&'a disinter::md::guess::Guess>,
    half: Option<&'a [String]>,
    volumes: Vec<(&'a str, &'static str)>,
}

impl<'a> Summary<'a> {
    fn of(found: &'a Investigation, case: &Path) -> Summary<'a> {
        let chosen = found.chosen();
        Summary {
            case: printable_path(case),
            answered: found.is_answered(),
            vg: chosen.map(|c| c.carved.vg.name.as_str()),
            vg_id: chosen.map(|c| c.carved.vg.id.as_str()),
            text_sha256: chosen.map(|c| c.carved.sha256.as_str()),
            arrays: found.arrays.iter().map(|a| &a.guess).collect(),
            half: found.half.as_ref().map(|h| h.half.as_slice()),
            volumes: found
                .checks
                .iter()
                .map(|c| (c.name.as_str(), c.verdict()))
                .collect(),
        }
    }
}
