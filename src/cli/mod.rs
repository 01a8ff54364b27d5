//! The subcommands: their arguments, and what they print. No analysis happens here.

mod output;
mod smart;

use clap::{Args, Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// Dig buried volumes back up: read-only recovery forensics for md, LVM2, ext and SMART.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 80)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every subcommand.
#[derive(Clone, Copy, Debug, Args)]
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
    /// Rank disks by what their SMART numbers mean
    #[command(subcommand)]
    Smart(smart::Command),
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
        Command::Smart(command) => smart::run(command, common),
    }
}

/// Whether the reader of our output went away (`| head`): no error of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// An error and its causes on one line, safe for a terminal.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    disinter::parse::printable(format!("{error:#}").as_bytes())
}
