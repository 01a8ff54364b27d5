//! `disinter case`: whether a case is as it was written.

use super::output;
use super::{Common, Outcome, confine};
use disinter::evidence::confine::Grants;
use disinter::evidence::verify::verify;
use std::path::PathBuf;

/// What to do with a case.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compare every file with the manifest
    Verify {
        /// The case's folder, or a backup's
        folder: PathBuf,
    },
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    let Command::Verify { folder } = command;
    if folder.is_dir() {
        confine(Grants::none().read(&folder), common);
    }
    let verified = verify(&folder)?;
    let outcome = Outcome::of(verified.is_sound(), !verified.unreadable.is_empty());
    if common.json {
        output::json("case verify", &verified)?;
        return Ok(outcome);
    }
    let verdict = match verified.is_sound() {
        true => "whole",
        false => "NOT AS IT WAS WRITTEN",
    };
    let mut page = format!("{verdict}: {} files are the same\n", verified.same);
    for (what, files) in [
        ("CHANGED", &verified.changed),
        ("MISSING", &verified.missing),
        ("UNREADABLE", &verified.unreadable),
        ("came later", &verified.unlisted),
    ] {
        for file in files {
            page.push_str(&format!("  {what}: {file}\n"));
        }
    }
    output::page(&page)?;
    Ok(outcome)
}
