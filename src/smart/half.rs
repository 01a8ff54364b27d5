//! One disk of each mirror group, so that the set is the healthiest whole one: the half to work on.

use super::rank::{Disk, Ranking, Verdict};
use super::weights::CLOSE;
use serde::Serialize;
use std::collections::BTreeMap;

/// What no ranking can tell, and every choice must say.
pub const NOT_NEWER: &str =
    "SMART does not say which disk of a pair is newer; see md events and LVM seqno for that";

/// The choice for one mirror group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The group's members.
    pub members: Vec<String>,
    /// The one to trust; nothing where none can be.
    pub choice: Option<String>,
    /// Why, in words.
    pub why: String,
}

/// A half, and how each choice was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Half {
    /// One entry a mirror group.
    pub pairs: Vec<Choice>,
    /// The members chosen.
    pub half: Vec<String>,
    /// What must be read before the half is used.
    pub warnings: Vec<String>,
}

/// The disk that a member lies on: `sda@2` lies on `sda`.
pub fn disk_of(member: &str) -> &str {
    member.rsplit_once('@').map_or(member, |(disk, _)| disk)
}

/// Which report is a disk's: by the file's name without extension, unless `map` says otherwise.
pub fn by_disk<'a>(
    ranking: &'a Ranking,
    map: &BTreeMap<String, String>,
) -> BTreeMap<String, &'a Disk> {
    let named = ranking.disks.iter().map(|d| (d.name(), d));
    let mut disks: BTreeMap<String, &Disk> = named.collect();
    for (name, file) in map {
        if let Some(disk) = ranking.disks.iter().find(|d| d.file == *file) {
            disks.insert(name.clone(), disk);
        }
    }
    disks
}

/// Chooses one member of each group.
pub fn choose(groups: &[Vec<String>], disks: &BTreeMap<String, &Disk>) -> Half {
    let mut half = Half::default();
    for members in groups {
        let choice = choose_one(members, disks);
        half.half.extend(choice.choice.clone());
        half.pairs.push(choice);
    }
    let bad = |choice: &&Choice| choice.why.starts_with("READ BOTH");
    for choice in half.pairs.iter().filter(bad) {
        half.warnings
            .push(format!("{}: {}", choice.members.join(" and "), choice.why));
    }
    let missing: Vec<&str> = groups
        .iter()
        .flatten()
        .map(|m| disk_of(m))
        .filter(|d| !disks.contains_key(*d))
        .collect();
    if !missing.is_empty() {
        half.warnings
            .push(format!("no SMART report for {}", missing.join(", ")));
    }
    half.warnings.push(NOT_NEWER.to_owned());
    half
}

fn choose_one(members: &[String], disks: &BTreeMap<String, &Disk>) -> Choice {
    let mut known: Vec<(&String, &Disk)> = members
        .iter()
        .filter_map(|m| Some((m, *disks.get(disk_of(m))?)))
        .filter(|(_, disk)| disk.verdict != Verdict::Unknown)
        .collect();
    known.sort_by_key(|(name, disk)| (disk.verdict, disk.score, name.as_str()));
    let made = |choice: Option<&String>, why: String| Choice {
        members: members.to_vec(),
        choice: choice.cloned(),
        why,
    };
    let word = |disk: &Disk| format!("{:?}", disk.verdict).to_lowercase();
    match known.as_slice() {
        [] => made(
            members.first(),
            "nothing is known of any; took the first".to_owned(),
        ),
        [(best, disk)] if members.len() == 1 => made(
            Some(best),
            format!("it is the only one, and {}", word(disk)),
        ),
        [(best, disk)] => made(
            Some(best),
            format!("it is {}, of the other nothing is known", word(disk)),
        ),
        [(best, good), (_, next), ..] => {
            let both = format!(
                "{} with {} points against {} with {}",
                word(good),
                good.score,
                word(next),
                next.score
            );
            let why = match () {
                () if good.verdict >= Verdict::Damaged => {
                    format!("READ BOTH, neither is safe: {both}")
                }
                () if good.verdict == next.verdict && next.score - good.score < CLOSE => {
                    format!("SMART prefers none ({both}); took the first")
                }
                () => both,
            };
            made(Some(best), why)
        }
    }
}
