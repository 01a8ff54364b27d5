//! `disinter drill`.

use super::{Common, Outcome};

/// What to practise.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The drills there are
    List,
}

/// Runs it.
pub(crate) fn run(_command: Command, _common: Common) -> anyhow::Result<Outcome> {
    Ok(Outcome::Open)
}
