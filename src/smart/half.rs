//! One disk of each mirror group, so that the set is the healthiest whole one: the half to work on.

use super::cover::{self, Component, Cost};
use super::rank::{Disk, Verdict};
use super::weights::CLOSE;
use crate::md::geometry::Geometry;
use crate::units::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// What no ranking can tell, and every choice must say.
pub const NOT_NEWER: &str =
    "SMART does not say which disk of a pair is newer; see md events and LVM seqno for that";

/// The choice for one mirror group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The group's members.
    pub members: Vec<String>,
    /// The one to trust; nothing where none can be, or where it takes more than one.
    pub choice: Option<String>,
    /// The members taken: the one above, or as many as hold every chunk.
    pub chosen: Vec<String>,
    /// Why, in words.
    pub why: String,
    /// What is known of which member is newer.
    pub newer: Vec<String>,
}

/// A half, and how each choice was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Half {
    /// One entry a mirror group.
    pub pairs: Vec<Choice>,
    /// The members chosen.
    pub half: Vec<String>,
    /// What must be read before the half is used, the gravest first.
    pub warnings: Vec<String>,
}

/// Words that begin the choice of a pair in which no disk is good.
pub const READ_BOTH: &str = "READ BOTH";

/// The disk that a member lies on: `sda@2` lies on `sda`.
pub fn disk_of(member: &str) -> &str {
    member.rsplit_once('@').map_or(member, |(disk, _)| disk)
}

/// What a choice is made by.
#[derive(Clone, Copy)]
pub struct Health<'a> {
    /// The disks' reports.
    pub disks: &'a BTreeMap<String, &'a Disk>,
    /// Bytes of volumes that a later writer took on a member, where that is known.
    pub lost: &'a dyn Fn(&str) -> u64,
}

impl<'a> Health<'a> {
    fn of(&self, member: &str) -> Option<&'a Disk> {
        let disk = self
            .disks
            .get(member)
            .or_else(|| self.disks.get(disk_of(member)));
        disk.copied().filter(|d| d.verdict != Verdict::Unknown)
    }

    /// A disk of which nothing is known stands behind those with signs and before those with damage: most such disks
    /// are sound, but that is a hope and must be said.
    fn cost(&self, member: &str) -> Cost {
        let disk = self.of(member);
        let is = |verdict| u64::from(disk.is_some_and(|d| d.verdict == verdict));
        Cost::new([
            is(Verdict::Failing),
            (self.lost)(member),
            is(Verdict::Damaged),
            u64::from(disk.is_none()),
            is(Verdict::Suspect),
            disk.map_or(0, |d| d.score.into()),
            1,
        ])
    }

    /// `sda clean, 0 points` or `sdb damaged, 90 points: 23 pending sectors (52)`.
    fn words(&self, member: &str) -> String {
        match self.of(member) {
            None => format!("{member} unknown"),
            Some(disk) => {
                let why = match disk.why(2) {
                    why if why.is_empty() => String::new(),
                    why => format!(": {why}"),
                };
                format!(
                    "{member} {} with {} points{why}",
                    disk.verdict.as_str(),
                    disk.score
                )
            }
        }
    }
}

/// Chooses one member of each group.
pub fn choose(groups: &[Vec<String>], health: Health<'_>) -> Half {
    let pairs = groups.iter().map(|members| choose_one(members, health));
    finish(pairs.collect(), Vec::new(), health)
}

/// Chooses the members of an array that hold every chunk of it; members in slot order, `None` for a missing one.
pub fn choose_array(geometry: &Geometry, members: &[Option<String>], health: Health<'_>) -> Half {
    let name = |slot: &usize| members.get(*slot).cloned().flatten();
    let mut pairs = Vec::new();
    let mut warnings = Vec::new();
    for component in cover::components(geometry) {
        let there: Vec<String> = component.slots.iter().filter_map(name).collect();
        match component.sets.as_slice() {
            [_] if there.is_empty() => warnings.push(format!(
                "NOT WHOLE: no member of slots {} is there",
                numbers(&component.slots)
            )),
            [_] => pairs.push(choose_one(&there, health)),
            _ => pairs.push(choose_ring(
                &component,
                members,
                there,
                health,
                &mut warnings,
            )),
        }
    }
    if pairs.is_empty() && warnings.is_empty() {
        warnings.push(format!(
            "{} has no mirrors: there is no half, every member is needed",
            geometry.level()
        ));
        let all: Vec<String> = members.iter().flatten().cloned().collect();
        pairs.extend(all.into_iter().map(|m| choose_one(&[m], health)));
    }
    finish(pairs, warnings, health)
}

fn numbers(slots: &[usize]) -> String {
    let slots: Vec<String> = slots.iter().map(usize::to_string).collect();
    slots.join(" ")
}

/// Members whose chunks overlap in a ring: one of each pair would not be whole.
fn choose_ring(
    component: &Component,
    members: &[Option<String>],
    there: Vec<String>,
    health: Health<'_>,
    warnings: &mut Vec<String>,
) -> Choice {
    let name = |slot: usize| members.get(slot).cloned().flatten();
    let cover = cover::cheapest(component, &|slot| name(slot).map(|m| health.cost(&m)));
    for set in &cover.uncovered {
        let slots: Vec<usize> = set.iter().copied().collect();
        warnings.push(format!(
            "NOT WHOLE: no member of slots {} is there, and some chunks lie only on them",
            numbers(&slots)
        ));
    }
    let chosen: Vec<String> = cover.slots.iter().filter_map(|s| name(*s)).collect();
    let left: Vec<&String> = there.iter().filter(|m| !chosen.contains(m)).collect();
    let words = |members: &mut dyn Iterator<Item = &String>| {
        let all: Vec<String> = members.map(|m| health.words(m)).collect();
        all.join("; ")
    };
    let taken_bad: Vec<&String> = chosen
        .iter()
        .filter(|m| health.of(m).is_some_and(|d| d.verdict >= Verdict::Damaged))
        .collect();
    let head = match taken_bad.is_empty() {
        true => String::new(),
        false => format!("{READ_BOTH}, no whole set is sound: "),
    };
    let sure = if cover.is_best {
        ""
    } else {
        " (whole, but perhaps not the healthiest)"
    };
    Choice {
        why: format!(
            "{head}neighbours share chunks, so {} of {} are needed{sure}; takes {}; leaves {}",
            chosen.len(),
            there.len(),
            words(&mut chosen.iter()),
            words(&mut left.into_iter())
        ),
        choice: None,
        members: there,
        chosen,
        newer: Vec::new(),
    }
}

fn finish(pairs: Vec<Choice>, mut warnings: Vec<String>, health: Health<'_>) -> Half {
    let bad = pairs.iter().filter(|c| c.why.starts_with(READ_BOTH));
    let mut first: Vec<String> = bad
        .map(|c| format!("{}: {}", c.members.join(" and "), c.why))
        .collect();
    first.append(&mut warnings);
    let members = || pairs.iter().flat_map(|c| &c.members);
    let without = |known: bool| {
        let unknown = |m: &&String| {
            let named =
                health.disks.contains_key(m.as_str()) || health.disks.contains_key(disk_of(m));
            health.of(m).is_none() && named == known
        };
        let mut disks: Vec<&str> = members().filter(unknown).map(|m| disk_of(m)).collect();
        disks.sort_unstable();
        disks.dedup();
        disks.join(", ")
    };
    for (known, words) in [
        (false, "no SMART report for"),
        (true, "SMART could not be read of"),
    ] {
        let disks = without(known);
        if !disks.is_empty() {
            first.push(format!("{words} {disks}: they are unknown, not sound"));
        }
    }
    first.push(NOT_NEWER.to_owned());
    let half = pairs
        .iter()
        .flat_map(|c| c.chosen.iter().cloned())
        .collect();
    Half {
        pairs,
        half,
        warnings: first,
    }
}

fn choose_one(members: &[String], health: Health<'_>) -> Choice {
    let mut ranked: Vec<&String> = members.iter().collect();
    ranked.sort_by_key(|m| health.cost(m));
    // Whom SMART alone would take.
    let alone = Health {
        lost: &|_| 0,
        ..health
    };
    let preferred = members.iter().min_by_key(|m| alone.cost(m));
    let why = match ranked.as_slice() {
        [] => "no member is there".to_owned(),
        [only] => format!("the only one there: {}", health.words(only)),
        [best, ..] if preferred.is_some_and(|p| (health.lost)(p) > (health.lost)(best)) => {
            let preferred = preferred.map_or("", String::as_str);
            let lost = Bytes((health.lost)(preferred));
            let word = health
                .of(best)
                .map_or("of unknown health", |d| d.verdict.as_str());
            format!(
                "on {preferred} {lost} of volumes were overwritten; {best} is {word} and was spared"
            )
        }
        [best, next, ..] => reason(best, next, health),
    };
    let choice = ranked.first().map(|m| (*m).clone());
    Choice {
        members: members.to_vec(),
        chosen: choice.iter().cloned().collect(),
        choice,
        why,
        newer: Vec::new(),
    }
}

/// Why the better of two is taken, or why neither is better.
fn reason(best: &str, next: &str, health: Health<'_>) -> String {
    let both = format!("{}, against {}", health.words(best), health.words(next));
    match (health.of(best), health.of(next)) {
        (None, None) => "nothing is known of any; took the first".to_owned(),
        (Some(good), None) if good.verdict >= Verdict::Damaged => {
            format!("{READ_BOTH}: {both}; look at the unknown one first")
        }
        (Some(_), None) => format!("of the other nothing is known: {both}"),
        (None, Some(bad)) => format!(
            "{READ_BOTH}: {next} is {}, and of {best} nothing is known; collect its SMART data first",
            bad.verdict.as_str()
        ),
        (Some(good), Some(_)) if good.verdict >= Verdict::Damaged => {
            format!("{READ_BOTH}, neither is safe: {both}")
        }
        (Some(good), Some(other))
            if good.verdict == other.verdict && other.score.abs_diff(good.score) < CLOSE =>
        {
            format!("no preference ({both}); took the one with fewer points, or the first")
        }
        _ => both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::cover::tests::geometry;
    use crate::smart::rank::rank;
    use crate::smart::report::Report;
    use serde_json::{Value, json};

    /// A disk by its counts of 5 and 197; nothing for one without SMART.
    fn report(name: &str, counts: Option<(u64, u64)>) -> Report {
        let row = |id: u64, raw: u64| json!({"id": id, "raw": {"value": raw, "string": ""}});
        let mut value = json!({"device": {"name": format!("/dev/{name}"), "protocol": "ATA"}});
        if let (Some((a, b)), Value::Object(map)) = (counts, &mut value) {
            map.insert(
                "ata_smart_attributes".into(),
                json!({"table": [row(5, a), row(197, b)]}),
            );
        }
        Report::new(&format!("{name}.json"), 0, value).unwrap()
    }

    fn half(counts: &[Option<(u64, u64)>], array: Option<(&str, usize)>) -> Half {
        let names: Vec<String> = (0..counts.len()).map(|i| format!("sd{i}")).collect();
        let reports: Vec<Report> = names
            .iter()
            .zip(counts)
            .map(|(n, c)| report(n, *c))
            .collect();
        let ranking = rank(&reports);
        let disks: BTreeMap<String, &Disk> = ranking.disks.iter().map(|d| (d.name(), d)).collect();
        let health = Health {
            disks: &disks,
            lost: &|_| 0,
        };
        match array {
            None => choose(&[names], health),
            Some((layout, members)) => {
                let geometry = geometry(layout, members).unwrap();
                let members: Vec<Option<String>> = names.into_iter().map(Some).collect();
                choose_array(&geometry, &members, health)
            }
        }
    }

    const GOOD: Option<(u64, u64)> = Some((0, 0));

    /// What is said of a pair, in every case that a person meets.
    #[test]
    fn pairs() {
        let why = |counts: &[Option<(u64, u64)>]| {
            let half = half(counts, None);
            assert!(half.warnings.iter().any(|w| w.contains("newer")));
            (
                half.half[0].clone(),
                half.pairs[0].why.clone(),
                half.warnings,
            )
        };
        let (taken, words, _) = why(&[Some((0, 8)), GOOD]);
        assert_eq!(taken, "sd1");
        assert!(words.contains("8 pending sectors (47)"), "{words}");
        let (_, words, _) = why(&[Some((1, 0)), Some((2, 0))]);
        assert!(words.starts_with("no preference"), "{words}");
        let (taken, words, warnings) = why(&[Some((0, 100)), Some((0, 8))]);
        assert_eq!(taken, "sd1");
        assert!(words.starts_with("READ BOTH") && warnings[0].contains("READ BOTH"));
        // Unknown: never before a good one, never silently before a bad one.
        let (taken, words, warnings) = why(&[None, Some((300, 0))]);
        assert_eq!(taken, "sd1", "{words}");
        assert!(
            warnings[0].contains("SMART could not be read of sd0"),
            "{warnings:?}"
        );
        let (taken, words, _) = why(&[None, Some((0, 8))]);
        assert_eq!(taken, "sd0");
        assert!(words.contains("collect its SMART data first"), "{words}");
        let (taken, ..) = why(&[Some((0, 1)), Some((3, 0)), GOOD]);
        assert_eq!(taken, "sd2", "raid1 of three");
    }

    /// With an odd count "one of each pair" leaves chunks out.
    #[test]
    fn odd_counts_and_far_copies_need_neighbours() {
        let bad = Some((0, 8));
        let odd = half(&[GOOD, bad, GOOD], Some(("n2", 3)));
        assert_eq!(odd.half, ["sd0", "sd2"]);
        assert!(
            odd.pairs[0].why.contains("2 of 3 are needed"),
            "{:?}",
            odd.pairs
        );
        // The bad one's neighbours can stand in for it only if both are taken.
        let far = half(&[GOOD, bad, GOOD, GOOD], Some(("f2", 4)));
        assert_eq!(far.half, ["sd0", "sd2"]);
        let two_bad = half(&[GOOD, bad, bad, GOOD], Some(("o2", 4)));
        assert!(
            two_bad.warnings[0].contains("READ BOTH"),
            "{:?}",
            two_bad.warnings
        );
        let pairs = half(&[bad, GOOD, GOOD, bad], Some(("n2", 4)));
        assert_eq!(pairs.half, ["sd1", "sd2"]);
    }
}
