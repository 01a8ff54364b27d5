//! The other geometry of a reshape in the middle, where superblocks do not name it.
//!
//! What the first geometry explains lies in one part of the array. Before a
//! member was added the array had the same level, layout and chunk over fewer
//! members, in the same order, and rows in which a sum ties fewer members say
//! which. mdadm moves the data's start where it can, so that alone is open:
//! every page's start is tried, by what the file system says of its pages.

use super::clues::Clues;
use super::geometry::Geometry;
use super::guess::{Alternative, Guess, Member};
use super::hypothesis::Shape;
use super::outcome::device;
use super::sample::{PAGE, Sample};
use super::votes::{Hypothesis, Voters};
use crate::image::SharedSource;
use crate::units::{Bytes, Sectors};

/// Starts that are tried lie no further behind the first geometry's.
const FURTHER: Bytes = Bytes::mib(32);

/// Things looked up for each start that is tried.
const SOME: usize = 250;

/// Things that must be known where the first geometry fails, and the share of them that must hold, in percent.
const FEWEST: usize = 16;
const HELD: usize = 80;

/// The other geometry, and how much it explains.
pub struct OtherSide {
    /// As an answer; its confidence is not computed, and 0.
    pub alternative: Alternative,
    /// Pages that hold what the file system says, of those that can be looked up where the first geometry fails.
    pub held: (usize, usize),
}

/// The array over `fewer` of the members that holds where `guess` does not.
pub fn other_side(
    members: &[Member],
    sample: &Sample,
    clues: &Clues,
    guess: &Guess,
    fewer: &[usize],
) -> Option<OtherSide> {
    let index = |name: &Option<String>| {
        let name = name.as_deref()?;
        members.iter().position(|m| m.source.name() == name)
    };
    let order: Option<Vec<usize>> = guess.members.iter().map(index).collect();
    let mut slots = order?;
    slots.retain(|member| fewer.contains(member));
    let sources: Vec<SharedSource> = members.iter().map(|m| m.source.clone()).collect();
    let longest = sources.iter().map(|s| s.len()).max()?;
    let (level, chunk) = (guess.level?, Sectors(guess.chunk_kib?.checked_mul(2)?));
    let layout = guess.layout.clone();
    let geometry = Geometry::new(level, layout.as_deref(), slots.len(), chunk, longest).ok()?;
    let mut hypothesis = Hypothesis {
        shape: Shape {
            level,
            layout,
            geometry,
            rank: 0,
        },
        data_offset: Bytes::ZERO,
        slots: slots.into_iter().map(Some).collect(),
        score: 0,
        prior: 0,
        bases: vec![0; clues.families.len()],
    };
    let voters = Voters::new(clues, sample, &sources);
    let last = (Bytes::from(Sectors(guess.data_offset_sectors)) + FURTHER).min(longest);
    let mut best = (0, Bytes::ZERO);
    for offset in (0..=last.0).step_by(PAGE).map(Bytes) {
        hypothesis.data_offset = offset;
        let facts = voters.facts_of(&hypothesis, SOME);
        let held = facts.iter().filter(|(.., holds)| *holds).count();
        best = best.max((held, offset));
    }
    hypothesis.data_offset = best.1;
    let facts = voters.facts_of(&hypothesis, usize::MAX);
    let first = guess.part?;
    let there = || (facts.iter()).filter(|(at, ..)| (*at >= first.position) == first.below);
    let (held, all) = (
        there().filter(|(.., holds)| *holds).count(),
        there().count(),
    );
    let holds = all >= FEWEST && held * 100 >= all * HELD;
    holds.then(|| OtherSide {
        alternative: alternative(members, &hypothesis, held),
        held: (held, all),
    })
}

fn alternative(members: &[Member], hypothesis: &Hypothesis, held: usize) -> Alternative {
    let shape = &hypothesis.shape;
    let name = |slot: &Option<usize>| Some(members.get((*slot)?)?.source.name().to_owned());
    let names: Vec<Option<String>> = hypothesis.slots.iter().map(name).collect();
    let chunk_kib = shape.geometry.chunk().0 >> 10;
    let data_offset_sectors = hypothesis.data_offset.whole_sectors().0;
    let layout = shape.layout.as_deref();
    let mut words = vec![format!(
        "mdadm --create /dev/md101 --assume-clean --bitmap=none --run --metadata=1.2 --level={}",
        shape.level
    )];
    words.extend(layout.map(|layout| format!("--layout={layout}")));
    words.push(format!(
        "--chunk={chunk_kib} --data-offset={data_offset_sectors}s --raid-devices={}",
        names.len()
    ));
    words.extend(names.iter().flatten().map(|name| device(name)));
    Alternative {
        level: shape.level,
        layout: shape.layout.clone(),
        chunk_kib: Some(chunk_kib),
        data_offset_sectors,
        members: names,
        landmarks: i64::try_from(held).unwrap_or(i64::MAX),
        confidence: 0.0,
        command: words.join(" "),
    }
}
