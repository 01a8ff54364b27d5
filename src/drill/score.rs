//! What an investigation got, against the sealed answer.

use super::answer::{Answer, LvAnswer};
use crate::image::SharedSource;
use crate::investigate::Investigation;
use crate::layout::{Members, Stack};
use crate::smart::half::disk_of;
use crate::smart::rank::Disk;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const BLOCK: usize = 1 << 20;

/// One question of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was asked.
    pub question: &'static str,
    /// What was found.
    pub got: String,
    /// What is right.
    pub answer: String,
    /// Whether they agree.
    pub right: bool,
}

/// Compares a finding with the answer, question by question.
pub fn score(found: &Investigation, answer: &Answer) -> Vec<Line> {
    let mut lines = vec![
        text(found, answer),
        shape(found, answer),
        order(found, answer),
    ];
    lines.push(pairs(found, answer));
    lines.push(worst(found, answer));
    lines.push(half(found, answer));
    for (question, members) in [
        ("volumes, from the half", Members::Half),
        ("volumes, from all disks", Members::All),
    ] {
        lines.push(volumes(question, found, answer, members));
    }
    lines
}

fn line(question: &'static str, got: String, answer: String) -> Line {
    Line {
        question,
        right: got == answer,
        got,
        answer,
    }
}

fn text(found: &Investigation, answer: &Answer) -> Line {
    let short = |sha: &str| sha.chars().take(12).collect::<String>();
    let got = found.chosen().map(|c| {
        format!(
            "{} seqno {} sha256 {}",
            c.carved.vg.id,
            c.carved.vg.seqno,
            short(&c.carved.sha256)
        )
    });
    let vg = &answer.vg;
    line(
        "metadata text",
        got.unwrap_or_else(|| "none".to_owned()),
        format!(
            "{} seqno {} sha256 {}",
            vg.id,
            vg.seqno,
            short(&vg.file_sha256)
        ),
    )
}

/// The striped array of the answer, and what was found of the same members.
fn arrays<'a>(
    found: &'a Investigation,
    answer: &'a Answer,
) -> Option<(
    &'a crate::investigate::arrays::ArrayFound,
    &'a super::answer::ArrayAnswer,
)> {
    let truth = answer.arrays.iter().find(|a| a.chunk_kib.is_some())?;
    let array = found
        .arrays
        .iter()
        .find(|a| truth.members.iter().all(|m| a.has_member(m)))?;
    Some((array, truth))
}

fn shape(found: &Investigation, answer: &Answer) -> Line {
    let shape = |level: String, layout: &Option<String>, chunk: Option<u64>| {
        format!(
            "{level} {} chunk {} KiB",
            layout.clone().unwrap_or_default(),
            chunk.unwrap_or(0)
        )
    };
    let (got, truth) = match arrays(found, answer) {
        Some((array, truth)) => {
            let guess = &array.guess;
            let level = guess
                .level
                .map_or_else(|| "unknown".to_owned(), |l| l.to_string());
            (
                shape(level, &guess.layout, guess.chunk_kib),
                shape(truth.level.clone(), &truth.layout, truth.chunk_kib),
            )
        }
        None => ("no such array".to_owned(), String::new()),
    };
    line("array", got, truth)
}

/// Pairs in order; which mirror of a pair stands first is of no consequence.
fn groups(members: &[String]) -> String {
    let pair = |pair: &[String]| {
        let mut disks: Vec<&str> = pair.iter().map(|m| disk_of(m)).collect();
        disks.sort_unstable();
        disks.join("+")
    };
    members.chunks(2).map(pair).collect::<Vec<_>>().join(" ")
}

fn order(found: &Investigation, answer: &Answer) -> Line {
    let (got, truth) = match arrays(found, answer) {
        Some((array, truth)) => {
            let name = |m: &Option<String>| m.clone().unwrap_or_else(|| "missing".to_owned());
            let members: Vec<String> = array.guess.members.iter().map(name).collect();
            (groups(&members), groups(&truth.members))
        }
        None => ("none".to_owned(), String::new()),
    };
    line("order of the pairs", got, truth)
}

fn pairs(found: &Investigation, answer: &Answer) -> Line {
    let row = |members: &[String], common: Bytes, first: Option<Bytes>, count: u64| {
        let mut members = members.to_vec();
        members.sort();
        let first = first.map_or("none".to_owned(), |b| b.0.to_string());
        (members, format!("{}:{first}:{count}", common.0))
    };
    let mut truth: Vec<_> = answer
        .pair_differences
        .iter()
        .map(|p| {
            row(
                &p.members,
                p.common_bytes,
                p.first_difference,
                p.differing_bytes,
            )
        })
        .collect();
    truth.sort();
    let mut got: Vec<_> = found
        .arrays
        .iter()
        .flat_map(|a| &a.mirrors)
        .filter(|m| m.members.len() == 2)
        .map(|m| {
            let c = &m.comparison;
            row(
                &m.members,
                c.common_bytes,
                c.first_difference,
                c.differing_bytes,
            )
        })
        .collect();
    got.sort();
    let agree = got.iter().filter(|g| truth.contains(g)).count();
    Line {
        question: "pairs, first difference, bytes",
        right: got == truth,
        got: format!("{agree} of {} as counted", truth.len()),
        answer: format!("{0} of {0}", truth.len()),
    }
}

fn worst(found: &Investigation, answer: &Answer) -> Line {
    let last = found.ranking.disks.iter().rfind(|d| d.rank > 0);
    let got = last.map_or_else(|| "none".to_owned(), Disk::name);
    line("worst disk", got, answer.smart.worst.clone())
}

/// Any half is right that takes no disk with faults, but for one whose mirror was overwritten.
fn half(found: &Investigation, answer: &Answer) -> Line {
    let half = found
        .half
        .as_ref()
        .map(|h| h.half.clone())
        .unwrap_or_default();
    let bad: Vec<&String> = half
        .iter()
        .filter(|m| answer.smart.faulty.iter().any(|f| f == disk_of(m)))
        .filter(|m| {
            let pair = answer.pairs.iter().find(|p| p.contains(m));
            !pair
                .into_iter()
                .flatten()
                .any(|other| found.damage.on_member(other) > found.damage.on_member(m))
        })
        .collect();
    let disks: Vec<&str> = half.iter().map(|m| disk_of(m)).collect();
    Line {
        question: "half",
        right: bad.is_empty() && half.len() == answer.pairs.len(),
        got: disks.join(" "),
        answer: format!("one of each pair, not {}", answer.smart.faulty.join(" ")),
    }
}

fn volumes(
    question: &'static str,
    found: &Investigation,
    answer: &Answer,
    members: Members,
) -> Line {
    let stack = found.stack(members);
    let right = answer
        .lvs
        .iter()
        .filter(|lv| stack.as_ref().is_some_and(|s| same(s, answer, lv)));
    let (right, total) = (right.count(), answer.lvs.len());
    Line {
        question,
        right: right == total,
        got: format!("{right} of {total} byte for byte"),
        answer: format!("{total} of {total}"),
    }
}

/// Whether a volume reads as before the damage; with what the installer changed on any mirror left out, unless it
/// reads as before with it.
fn same(stack: &Stack, answer: &Answer, lv: &LvAnswer) -> bool {
    let Ok(volume) = stack.volume(&format!("{}/{}", answer.vg.name, lv.name)) else {
        return false;
    };
    hash_without(&volume, &[]).as_deref() == Some(&lv.sha256)
        || hash_without(&volume, &lv.overwritten).as_deref() == Some(&lv.sha256_outside)
}

/// SHA-256 of a volume with some extents as zeros; nothing where it cannot be read.
pub fn hash_without(volume: &SharedSource, without: &[Extent]) -> Option<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; BLOCK];
    let mut at = Bytes::ZERO;
    while at < volume.len() {
        let block = buf.get_mut(..(volume.len() - at).to_len(BLOCK))?;
        if !volume.read_at(at, block).is_none() {
            return None;
        }
        let here = Extent::new(at, Bytes(block.len() as u64));
        for part in without.iter().filter_map(|e| e.overlap(here)) {
            let from = (part.offset - at).to_len(block.len());
            let to = (part.end() - at).to_len(block.len());
            block.get_mut(from..to)?.fill(0);
        }
        hash.update(&*block);
        at = here.end();
    }
    Some(hex::encode(hash.finalize()))
}
