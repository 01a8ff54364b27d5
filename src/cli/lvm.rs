//! `disinter lvm`: metadata texts found, ranked, and taken out.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Images, Outcome, Unread, confine, images_of, unread_of};
use anyhow::bail;
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFile;
use disinter::inputs::Input;
use disinter::investigate::{self, arrays, proof};
use disinter::lvm::candidates::{Candidate, Row};
use disinter::lvm::restore;
use disinter::scan::Options;
use disinter::units::utc;
use serde::Serialize;
use std::path::PathBuf;

/// What to do with metadata texts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All texts found, ranked by what the data says of them
    Scan {
        #[command(flatten)]
        images: Images,
    },
    /// One text as a file that vgcfgrestore takes
    Extract {
        #[command(flatten)]
        images: Images,
        /// Which text: its rank in `lvm scan`
        #[arg(long, default_value_t = 1)]
        rank: usize,
        #[command(flatten)]
        options: super::restore::Options,
        /// The file to write
        #[arg(long, short)]
        output: PathBuf,
    },
}

#[derive(Serialize)]
struct Document {
    candidates: Vec<Row>,
    unread: Vec<Unread>,
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Scan { images } => {
            let inputs = images.open()?;
            confine(Grants::none(), common);
            let (candidates, unread) = find(inputs, common);
            let gaps = !unread.is_empty();
            let usable = candidates.iter().any(Candidate::usable);
            if common.json {
                let rows = candidates.iter().zip(1..).map(|(c, rank)| c.row(rank));
                output::json(
                    "lvm scan",
                    &Document {
                        candidates: rows.collect(),
                        unread,
                    },
                )?;
            } else {
                output::page(&page(&candidates))?;
            }
            Ok(Outcome::of(usable, gaps))
        }
        Command::Extract {
            images,
            rank,
            options,
            output,
        } => {
            let inputs = images.open()?;
            let mut file = NewFile::begin(&output, &images_of(&inputs))?;
            confine(file.grants(), common);
            let (candidates, unread) = find(inputs, common);
            let Some(candidate) = rank.checked_sub(1).and_then(|i| candidates.get(i)) else {
                bail!(
                    "there are {} texts; ranks go from 1, see `disinter lvm scan`",
                    candidates.len()
                );
            };
            let restore = restore::restore_with(&candidate.carved, &options.changes())?;
            file.write(restore.text.as_bytes())?;
            file.finish()?;
            eprint!("{}", super::restore::told(&restore));
            Ok(Outcome::of(true, !unread.is_empty()))
        }
    }
}

/// The texts of the images, proven against the volumes that could be put together.
fn find(inputs: Vec<Input>, common: Common) -> (Vec<Candidate>, Vec<Unread>) {
    let bar = Bar::new(common);
    let survey = investigate::survey(inputs, &[], Options::default(), &bar);
    let mut candidates = survey.candidates();
    let arrays = survey.arrays(&bar);
    let mut volumes: Vec<_> = arrays.iter().filter_map(arrays::ArrayFound::open).collect();
    volumes.extend(survey.slices.iter().map(|s| s.source.clone()));
    proof::prove(&mut candidates, &volumes);
    // The whole of every image was read: all that is known to be unread is a gap of the answer.
    (candidates, unread_of(&survey.inputs))
}

fn page(candidates: &[Candidate]) -> String {
    let mut table = Table::new(&[
        "rank", "group", "seqno", "written", "form", "start", "places", "state",
    ])
    .right(&[0, 2, 6]);
    for (candidate, rank) in candidates.iter().zip(1..) {
        let carved = &candidate.carved;
        let proof = candidate
            .proof
            .map_or_else(String::new, |p| format!("{}/{}", p.shown, p.tested));
        let state = match (&carved.fault, candidate.faults.is_empty()) {
            (Some(_), _) => "cut",
            (None, false) => "contradicts itself",
            (None, true) => "whole",
        };
        let written = carved.about.creation_time.map(utc).unwrap_or_default();
        table.row([
            rank.to_string(),
            format!(
                "{} {}",
                carved.vg.name,
                carved.vg.id.split('-').next().unwrap_or_default()
            ),
            carved.vg.seqno.to_string(),
            written.strip_suffix(" UTC").unwrap_or(&written).to_owned(),
            format!("{:?}", carved.form).to_lowercase(),
            proof,
            candidate.places.len().to_string(),
            state.to_owned(),
        ]);
    }
    match candidates {
        [] => "No LVM metadata text found.\n".to_owned(),
        _ => format!(
            "{}start: volumes that show a file system or the like where the text says\n",
            table.render(0)
        ),
    }
}
