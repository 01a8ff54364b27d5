//! `disinter smart`.

use super::{Common, Outcome};

/// What to do with smartctl's output.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {}

/// Runs it.
pub(crate) fn run(command: Command, _common: Common) -> anyhow::Result<Outcome> {
    match command {}
}
