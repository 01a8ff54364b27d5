//! The timeline of a volume group, from all its texts: what was made, renamed, resized and removed, when, and by what.

use super::candidates::Candidate;
use super::diff::{Change, diff};
use serde::Serialize;
use std::collections::BTreeMap;

/// States of one seqno that a state is compared with. Real groups have two or three.
const FORKS: usize = 64;

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
    let ranked: Vec<(&Candidate, usize)> = candidates.iter().zip(1..).collect();
    // Texts of one group stand together.
    let groups = ranked.chunk_by(|(a, _), (b, _)| a.carved.vg.id == b.carved.vg.id);
    let whole = groups.map(|group| {
        let whole = group.iter().filter(|(c, _)| c.carved.complete);
        whole.copied().collect::<Vec<_>>()
    });
    whole.filter_map(history).collect()
}

fn history(mut texts: Vec<(&Candidate, usize)>) -> Option<History> {
    let id = texts.first()?.0.carved.vg.id.clone();
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
    for (text, rank) in texts.iter().copied() {
        let state = text.carved.vg.without_hints();
        let same = |(_, c): &&mut (State, &Candidate)| c.carved.vg.without_hints() == state;
        let of_seqno = states.iter_mut().rev().take(FORKS);
        let mut of_seqno = of_seqno.take_while(|(s, _)| s.seqno == state.seqno);
        match of_seqno.find(same) {
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
    commands_of_later_files(&mut states, &texts);
    let name = states.last().map(|(_, c)| c.carved.vg.name.clone());
    Some(History {
        vg: name.unwrap_or_default(),
        vg_id: id,
        states: states.into_iter().map(|(state, _)| state).collect(),
    })
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
fn commands_of_later_files(states: &mut [(State, &Candidate)], texts: &[(&Candidate, usize)]) {
    let archives = texts.iter().map(|(t, _)| *t).filter(|t| t.is_before());
    let commands = archives.map(|a| (a.carved.vg.seqno.saturating_add(1), command(a)));
    let commands: BTreeMap<u64, Option<String>> = commands.rev().collect();
    for (state, _) in states.iter_mut().filter(|(s, _)| s.command.is_none()) {
        state.command = commands.get(&state.seqno).cloned().flatten();
    }
}
