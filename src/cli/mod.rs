//! The subcommands: their arguments, and what they print. No analysis happens here.

mod backup;
mod case;
mod doctor;
mod drill;
mod export;
mod fs;
mod investigate;
mod lvm;
mod md;
mod md_examine;
mod md_pairs;
mod output;
mod progress;
mod restore;
mod scan;
mod script;
mod smart;
mod smart_page;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use disinter::evidence::case::{CaseError, Printed, refuse_streams};
use disinter::evidence::confine::{Confinement, Enforced, Grants};
use disinter::image::{Image, ImageSpec, Reading, Source};
use disinter::inputs::{self, Input};
use disinter::layout::{Layout, Members, Stack};
use disinter::scan::Options;
use disinter::units::{Bytes, Extent};
use serde::Serialize;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Dig buried volumes back up: read-only recovery forensics for md, LVM2, ext and SMART.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 80,
    after_help = "Exit status: 0 answered; 1 nothing found, or the answer is open; 2 error;\n3 done, but something could not be read"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every subcommand.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Common {
    /// Print one JSON document instead of a page
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main job: everything found, proven and written to a case folder
    Investigate(investigate::Arguments),
    /// Every structure found in one pass
    Scan(scan::Arguments),
    /// LVM metadata texts
    #[command(subcommand)]
    Lvm(lvm::Command),
    /// Software RAID: superblocks, mirrors, lost order
    #[command(subcommand)]
    Md(md::Command),
    /// Rank disks by what their SMART numbers mean
    #[command(subcommand)]
    Smart(smart::Command),
    /// Read files through a layout, nothing assembled, nothing mounted
    #[command(subcommand)]
    Fs(fs::Command),
    /// Write a volume of a layout as a raw image
    Export(export::Arguments),
    /// The review scripts for a layout and a metadata text
    Script(script::Arguments),
    /// Keep what a later step would overwrite, compare it; a script puts it back
    Backup(backup::Arguments),
    /// Check a case folder against its manifest
    #[command(subcommand)]
    Case(case::Command),
    /// Is this rescue environment fit for what the scripts will call?
    Doctor(doctor::Arguments),
    /// Practise on damaged images
    #[command(subcommand)]
    Drill(drill::Command),
}

/// Images, as most subcommands take them.
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Disk images or block devices: `disk.img`, `disk.img@2` (a partition),
    /// `disk.img@1048576+4096` (bytes)
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// An image's GNU ddrescue map; else `disk.img.map` or `disk.map` beside
    /// it. What the map does not call finished is unread
    #[arg(long, value_name = "IMAGE=FILE")]
    pub(crate) map: Vec<String>,
    #[command(flatten)]
    pub(crate) failing: Failing,
}

/// How failing disks are read.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Failing {
    /// How often a sector that cannot be read is tried again
    #[arg(long, value_name = "N", default_value_t = 1)]
    retries: u32,
}

impl Failing {
    /// With these maps.
    pub(crate) fn reading(self, maps: Vec<(String, PathBuf)>) -> Reading {
        Reading {
            retries: self.retries,
            maps,
        }
    }
}

impl Images {
    /// Opens them, read only.
    pub(crate) fn open(&self) -> anyhow::Result<Vec<Input>> {
        let specs: Vec<ImageSpec> = self
            .images
            .iter()
            .map(|s| s.parse())
            .collect::<Result<_, _>>()?;
        let mut maps = Vec::new();
        for entry in &self.map {
            let (image, file) = match (entry.split_once('='), specs.as_slice()) {
                (Some((image, file)), _) => (image.to_owned(), file.into()),
                // One image needs no name.
                (None, [spec]) => (spec.path.display().to_string(), entry.into()),
                _ => bail!("--map {entry}: expected IMAGE=FILE"),
            };
            maps.push((image, file));
        }
        let inputs = inputs::open_all(&specs, &self.failing.reading(maps))?;
        refuse_streams(&images_of(&inputs))?;
        for input in &inputs {
            if let Some((path, map)) = input.image.map() {
                let unread = map.unread(input.image.len());
                let bytes: u64 = unread.iter().map(|e| e.length.0).sum();
                eprintln!(
                    "disinter: note: {}: {} are unread by the map {}",
                    input.name,
                    Bytes(bytes),
                    path.display()
                );
            }
            let warnings = input.table.iter().flat_map(|t| &t.warnings);
            for warning in warnings.chain(&input.no_table) {
                eprintln!("disinter: warning: {}: {warning}", input.name);
            }
        }
        Ok(inputs)
    }
}

/// A case's layout, or the file itself.
pub(crate) fn layout_file(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("layout.toml"),
        false => path.to_owned(),
    }
}

/// Opens the volumes of the layout in a file or case, read only.
pub(crate) fn open_stack(
    layout: &Layout,
    file: &Path,
    members: Members,
    failing: Failing,
) -> anyhow::Result<Stack> {
    let file = layout_file(file);
    let base = file.parent().unwrap_or(Path::new(""));
    let stack = layout.open(base, members, &failing.reading(Vec::new()))?;
    refuse_streams(&stack.images())?;
    Ok(stack)
}

/// What of each image is known not to be readable by now: by its map, or because reading it failed.
#[derive(Debug, Serialize)]
pub(crate) struct Unread {
    /// The image.
    image: String,
    /// Where in it.
    extents: Vec<Extent>,
}

/// The images of which anything is known to be unread.
pub(crate) fn unread_of(inputs: &[Input]) -> Vec<Unread> {
    let unread = inputs.iter().map(|input| Unread {
        image: input.name.clone(),
        extents: input.image.unread(),
    });
    unread.filter(|u| !u.extents.is_empty()).collect()
}

/// How long passes read, as the subcommands that make one take it.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Pace {
    /// Look only where structures most likely lie, 64 MiB of a disk at most,
    /// and say what was not looked at
    #[arg(long)]
    quick: bool,
    /// Bytes a second to read of each disk at most: 500K, 20M, 1G
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bwlimit: Option<NonZeroU64>,
}

impl Pace {
    /// What a scan takes.
    pub(crate) fn options(self) -> Options<'static> {
        Options {
            limit: self.bwlimit,
            quick: self.quick,
            ..Options::default()
        }
    }
}

/// Bytes a second, with a binary unit if one is given.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let (digits, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_uppercase().trim_end_matches("IB") {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("a number of bytes a second, like 500K, 20M or 1G".to_owned()),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift));
    bytes
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "a number of bytes a second above 0, like 500K, 20M or 1G".to_owned())
}

/// The images behind inputs.
pub(crate) fn images_of(inputs: &[Input]) -> Vec<&Image> {
    inputs.iter().map(|i| &*i.image).collect()
}

/// How a run ended, for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Done and answered.
    Answered,
    /// Done, but nothing was found or the answer is ambiguous.
    Open,
    /// Answered, but some of the evidence could not be read.
    Gaps,
}

impl Outcome {
    /// Gaps outweigh all else, then an open answer.
    pub(crate) fn of(answered: bool, gaps: bool) -> Outcome {
        match (gaps, answered) {
            (true, _) => Outcome::Gaps,
            (false, true) => Outcome::Answered,
            (false, false) => Outcome::Open,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(match outcome {
            Outcome::Answered => 0,
            Outcome::Open => 1,
            Outcome::Gaps => 3,
        })
    }
}

/// Runs the subcommand that was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let common = cli.common;
    match cli.command {
        Command::Investigate(arguments) => investigate::run(&arguments, common),
        Command::Scan(arguments) => scan::run(&arguments, common),
        Command::Lvm(command) => lvm::run(command, common),
        Command::Md(command) => md::run(command, common),
        Command::Smart(command) => smart::run(command, common),
        Command::Fs(command) => fs::run(command, common),
        Command::Export(arguments) => export::run(&arguments, common),
        Command::Script(arguments) => script::run(&arguments, common),
        Command::Backup(arguments) => backup::run(&arguments, common),
        Command::Case(command) => case::run(command, common),
        Command::Doctor(arguments) => doctor::run(&arguments, common),
        Command::Drill(command) => drill::run(command, common),
    }
}

/// Gives up every right but these, once all that is needed is open; says so where the kernel does not enforce it.
pub(crate) fn confine(grants: Grants, common: Common) -> Confinement {
    let confinement = grants.confine();
    if let Some(note) = note(&confinement, common.quiet) {
        eprintln!("disinter: note: {note}");
    }
    confinement
}

/// What must be said of how far the kernel holds the program to it. That it does not at all is no progress to be quiet of.
fn note(confinement: &Confinement, quiet: bool) -> Option<String> {
    let why = confinement.why.as_deref()?;
    match confinement.landlock {
        Enforced::Fully => None,
        Enforced::Partly => (!quiet).then(|| {
            format!(
                "confined by the kernel (Landlock) to its inputs and its output folder, but {why}"
            )
        }),
        Enforced::Not => Some(format!(
            "not confined by the kernel (Landlock): {why}; inputs are open for reading only all the same"
        )),
    }
}

/// Whether the reader of our output went away (`| head`): no error of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>();
        io.or(json.and_then(serde_json::Error::io_error_kind)) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Prints an error, where that is not on what is examined.
pub(crate) fn tell(error: &anyhow::Error) {
    let line = format!("disinter: {}", one_line(error));
    match error.downcast_ref() {
        Some(CaseError::PrintedOnEvidence { printed, .. }) => match printed {
            Printed::Output => eprintln!("{line}"),
            Printed::Error => println!("{line}"),
            Printed::Both => {}
        },
        _ => eprintln!("{line}"),
    }
}

/// An error and its causes on one line, safe for a terminal.
fn one_line(error: &anyhow::Error) -> String {
    disinter::parse::printable(format!("{error:#}").as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// "Not confined" of a kernel that confines is a false alarm, and silence of one that does not a false promise.
    #[test]
    fn how_far_it_is_confined_is_said() {
        let said = |landlock, quiet| {
            let why = (landlock != Enforced::Fully).then(|| "WHY".to_owned());
            let confinement = Confinement {
                landlock,
                writable: Vec::new(),
                named_in: Vec::new(),
                why,
            };
            note(&confinement, quiet)
        };
        assert_eq!(said(Enforced::Fully, false), None);
        let partly = said(Enforced::Partly, false).unwrap();
        assert!(
            partly.starts_with("confined") && partly.contains("WHY"),
            "{partly}"
        );
        assert_eq!(said(Enforced::Partly, true), None);
        for quiet in [false, true] {
            let not = said(Enforced::Not, quiet).unwrap();
            assert!(not.starts_with("not confined"), "{not}");
        }
    }
}
