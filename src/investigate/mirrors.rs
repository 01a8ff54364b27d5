//! Mirror groups among volumes, how their members differ, and how far a copy without superblocks came.

use super::regions;
use crate::image::SharedSource;
use crate::image::progress::Progress;
use crate::md::compare::{Comparison, compare};
use crate::md::copied::{self, Copied, State};
use crate::md::guess::{self, Member};
use crate::md::pairs::{self, Group, Span};
use crate::md::{sample, windows};
use crate::units::Extent;
use serde::Serialize;

/// Equal pages that two volumes must share to be looked at as a copy that stopped early.
const FEWEST_PAGES: u32 = 16;

/// One mirror group in the JSON of `md pairs`. Offsets count from the start of each member's data.
#[derive(Clone, Debug, Serialize)]
pub struct Mirror {
    /// The members' names.
    pub members: Vec<String>,
    /// Pages compared that are not constant.
    pub pages: u32,
    /// The share of them that agree.
    pub share: f64,
    /// How they compare, byte by byte.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Members whose superblocks count fewer events than the others', which missed writes, and those that a rebuild had not
    /// filled yet.
    pub behind: Vec<String>,
    /// For two members, what they say of a copy from one to the other.
    pub copied: Option<Copied>,
}

/// Two members that hold the same at different places of their data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShiftedPair {
    /// Their names.
    pub members: [String; 2],
    /// How much further the second has what the first has, in bytes.
    pub shift: i64,
    /// Pages seen at that distance.
    pub pages: u32,
    /// Whether it is the whole of the data, or a part of it.
    pub whole: bool,
}

/// What `md pairs` tells.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pairs {
    /// Mirror groups of two and more.
    pub groups: Vec<Mirror>,
    /// Members that share their data at other places.
    pub shifted: Vec<ShiftedPair>,
    /// Members that mirror no other.
    pub alone: Vec<String>,
}

/// How to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Read a sample of each member, not all of it.
    pub sample: bool,
    /// Compare all members with each other, whether they look like mirrors or not.
    pub as_mirrors: bool,
}

/// The mirror groups of every set of members that may be an array, compared byte by byte: all, or only a sample.
pub fn pairs(all: &[Member], options: Options, progress: &dyn Progress) -> Pairs {
    let mut pairs = Pairs::default();
    if options.as_mirrors {
        let spans = spans(all);
        let group = Group {
            members: (0..all.len()).collect(),
            pages: 0,
            share: 0.0,
        };
        add_groups(all, &spans, &[group], options, progress, &mut pairs);
        return pairs;
    }
    for set in guess::sets(all) {
        let members: Vec<Member> = set.iter().filter_map(|i| all.get(*i)).cloned().collect();
        if members.len() < 2 && members.iter().all(|m| m.superblock.is_none()) {
            continue;
        }
        of_set(&members, options, progress, &mut pairs);
    }
    pairs
}

fn of_set(members: &[Member], options: Options, progress: &dyn Progress, pairs: &mut Pairs) {
    let spans = spans(members);
    let grouped = pairs::group(&spans, progress);
    // Two volumes that are equal in part only: a copy may have stopped. Members of other levels are equal in part too,
    // where parity repeats what is alone in its row.
    let no_mirror = |m: &Member| m.superblock.as_ref().is_some_and(|sb| sb.level != 1);
    let in_part = matches!((members, grouped.groups.as_slice()), ([_, _], [_, _]))
        && grouped.equal_pages(0, 1) >= FEWEST_PAGES
        && !members.iter().any(no_mirror);
    if in_part {
        let group = Group {
            members: vec![0, 1],
            pages: grouped.equal_pages(0, 1),
            share: grouped.share(0, 1),
        };
        add_groups(members, &spans, &[group], options, progress, pairs);
        let state = |m: &Mirror| m.copied.as_ref().map(|c| c.state);
        if pairs.groups.last().and_then(state) != Some(State::Unclear) {
            return;
        }
        pairs.groups.pop();
    }
    let name = |index: usize| members.get(index).map(|m| m.source.name().to_owned());
    add_groups(members, &spans, &grouped.groups, options, progress, pairs);
    let alone = grouped.groups.iter().filter(|g| g.members.len() == 1);
    pairs
        .alone
        .extend(alone.filter_map(|g| name(*g.members.first()?)));
    pairs.shifted.extend(grouped.shifted.iter().filter_map(|s| {
        Some(ShiftedPair {
            members: [name(s.members.0)?, name(s.members.1)?],
            shift: s.shift,
            pages: s.pages,
            whole: s.whole,
        })
    }));
}

/// Compares groups, and says of those of two how far a copy came.
fn add_groups(
    members: &[Member],
    spans: &[Span],
    groups: &[Group],
    options: Options,
    progress: &dyn Progress,
    pairs: &mut Pairs,
) {
    for mut mirror in compare_groups(members, spans, groups, options, progress) {
        let of_two = || {
            let [a, b] = mirror.members.as_slice() else {
                return None;
            };
            let named = |name: &String| spans.iter().find(|s| s.source.name() == name);
            Some([named(a)?, named(b)?])
        };
        if let Some(two) = of_two() {
            mirror.copied = Some(copy_of(two, &mirror.comparison));
        }
        pairs.groups.push(mirror);
    }
}

fn copy_of(two: [&Span; 2], comparison: &Comparison) -> Copied {
    let plain = copied::judge(comparison, &[]);
    let Some(behind) = plain.at_most.filter(|_| plain.state == State::Stopped) else {
        return plain;
    };
    let [a, b]: [SharedSource; 2] = two.map(Span::view);
    copied::judge(comparison, &regions::witnesses([&a, &b], behind))
}

/// The data of members, md's own metadata left out.
pub fn spans(members: &[Member]) -> Vec<Span> {
    let span = |member: &Member| Span {
        source: member.source.clone(),
        data: guess::data_extent(member),
    };
    members.iter().map(span).collect()
}

/// The mirrors of one array, compared byte by byte: all of them, or a sample.
pub fn of_array(members: &[Member], sample: bool, progress: &dyn Progress) -> Vec<Mirror> {
    let spans = spans(members);
    let groups = pairs::group(&spans, progress).groups;
    let options = Options {
        sample,
        ..Options::default()
    };
    compare_groups(members, &spans, &groups, options, progress)
}

/// The mirror groups of two and more, read in step: whole, or a sample.
fn compare_groups(
    members: &[Member],
    spans: &[Span],
    groups: &[Group],
    options: Options,
    progress: &dyn Progress,
) -> Vec<Mirror> {
    let grouped = || groups.iter().filter(|g| g.members.len() > 1);
    let total = grouped().flat_map(|g| g.members.iter().filter_map(|m| spans.get(*m)));
    progress.begin("comparing mirrors", total.map(|s| s.data.length.0).sum());
    let mirrors = grouped().map(|group| {
        let of_group: Vec<&Span> = group.members.iter().filter_map(|m| spans.get(*m)).collect();
        let names = group.members.iter().filter_map(|m| members.get(*m));
        let windows: Option<Vec<Extent>> = options.sample.then(|| {
            let views: Vec<SharedSource> = of_group.iter().map(|s| s.view()).collect();
            windows::windows(&views, sample::BUDGET)
        });
        let regions = regions::of(&of_group);
        Mirror {
            members: names.map(|m| m.source.name().to_owned()).collect(),
            pages: group.pages,
            share: group.share,
            comparison: compare(&of_group, windows.as_deref(), &regions, progress),
            behind: behind(&group.members, members),
            copied: None,
        }
    });
    let mirrors = mirrors.collect();
    progress.end();
    mirrors
}

fn behind(group: &[usize], members: &[Member]) -> Vec<String> {
    let of_group = || group.iter().filter_map(|m| members.get(*m));
    let events = |m: &Member| m.superblock.as_ref().map(|sb| sb.events);
    let newest = of_group().filter_map(events).max();
    let is_behind = |m: &&Member| {
        let sb = m.superblock.as_ref().zip(newest);
        sb.is_some_and(|(sb, newest)| sb.lacks(newest))
    };
    of_group()
        .filter(is_behind)
        .map(|m| m.source.name().to_owned())
        .collect()
}
