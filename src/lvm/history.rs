//! The timeline of a volume group, from all its texts: what was made, renamed, resized and removed, when, and by what.

use super::candidates::Candidate;
use super::diff::{Change, diff};
use serde::Serialize;

/// One state of a group, and how it came to be.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Its seqno.
    pub seqno: u64,
    /// When it was written, seconds since 1970; of an archive file, when it was ended.
    pub time: Option<u64>,
    /// The command that led to it, as lvm2 wrote it down.
    pub command: Option<String>,
    /// The machine.
    pub host: String,
    /// The ranks of the texts that hold it.
    pub ranks: Vec<usize>,
    /// What changed since the state before it in this list.
    pub changes: Vec<Change>,
    /// Seqnos between this state and the one before of which no text was found.
    pub lost: u64,
    /// Other states with this seqno were found.
    pub fork: bool,
}

/// One group and its states.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// Its last name.
    pub vg: String,
    /// Its id.
    pub vg_id: String,
    /// Its states, by seqno and time.
    pub states: Vec<State>,
}

/// The histories of all groups, in the order of the texts, which are the best first.
pub fn histories(candidates: &[Candidate]) -> Vec<History> {
    let mut ids: Vec<&str> = Vec::new();
    for candidate in candidates.iter().filter(|c| c.carved.complete) {
        if ids.last() != Some(&candidate.carved.vg.id.as_str()) {
            ids.push(&candidate.carved.vg.id);
        }
    }
    ids.into_iter().map(|id| history(id, candidates)).collect()
}

fn history(id: &str, candidates: &[Candidate]) -> History {
    let ranked = candidates.iter().zip(1..);
    let mut texts: Vec<(&Candidate, usize)> = ranked
        .filter(|(c, _)| c.carved.complete && c.carved.vg.id == id)
        .collect();
    // A state's own text before the archive file that was written when it ended.
    texts.sort_by_key(|(c, rank)| {
        let carved = &c.carved;
        (
            carved.vg.seqno,
            c.is_before(),
            carved.about.creation_time,
            *rank,
        )
    });
    let mut states: Vec<(State, &Candidate)> = Vec::new();
    for (text, rank) in texts {
        let state = text.carved.vg.without_hints();
        let same = |(s, c): &&mut (State, &Candidate)| {
            s.seqno == state.seqno && c.carved.vg.without_hints() == state
        };
        match states.iter_mut().rev().find(same) {
            Some((known, _)) => {
                known.ranks.push(rank);
                // The ring's text has the function that wrote it; the backup file has the command.
                if !text.is_before() && known.command.is_none() {
                    known.command = command(text);
                }
            }
            None => {
                let entry = entry(text, rank, states.last().map(|(_, c)| *c));
                states.push((entry, text));
            }
        }
    }
    commands_of_later_files(&mut states, candidates, id);
    let name = states.last().map(|(_, c)| c.carved.vg.name.clone());
    History {
        vg: name.unwrap_or_default(),
        vg_id: id.to_owned(),
        states: states.into_iter().map(|(state, _)| state).collect(),
    }
}

fn entry(text: &Candidate, rank: usize, before: Option<&Candidate>) -> State {
    let carved = &text.carved;
    let last = before.map_or(0, |b| b.carved.vg.seqno);
    State {
        seqno: carved.vg.seqno,
        time: carved.about.creation_time,
        command: command(text).filter(|_| !text.is_before()),
        host: carved.about.creation_host.clone(),
        ranks: vec![rank],
        changes: before.map_or_else(Vec::new, |b| diff(&b.carved.vg, &carved.vg)),
        lost: carved.vg.seqno.saturating_sub(last.saturating_add(1)),
        fork: before.is_some_and(|b| b.carved.vg.seqno == carved.vg.seqno),
    }
}

/// The command in a description: what stands between its quotes.
fn command(text: &Candidate) -> Option<String> {
    let (_, rest) = text.carved.about.description.split_once("executing '")?;
    Some(rest.strip_suffix('\'').unwrap_or(rest).to_owned())
}

/// An archive file of seqno N names the command that led to N + 1.
fn commands_of_later_files(states: &mut [(State, &Candidate)], texts: &[Candidate], id: &str) {
    let archives = texts
        .iter()
        .filter(|t| t.carved.complete && t.is_before() && t.carved.vg.id == id);
    for archive in archives {
        let next = archive.carved.vg.seqno.saturating_add(1);
        for (state, _) in states
            .iter_mut()
            .filter(|(s, _)| s.seqno == next && s.command.is_none())
        {
            state.command = command(archive);
        }
    }
}
