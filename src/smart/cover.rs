//! Which members of a mirrored array hold every byte of it together, and which such set is the healthiest.
//!
//! With two near copies on an even count of members that is one of each pair.
//! With an odd count, with far and offset copies, neighbours share chunks in a
//! ring, and "one of each pair" would leave chunks out: the sets of slots that
//! hold one chunk are taken from [`Geometry::places`], and every one of them
//! must have a chosen member.

use crate::md::geometry::Geometry;
use crate::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Terms of a [`Cost`], the heaviest first.
const TERMS: usize = 7;

/// What taking a member costs: compared term by term, so that one failing disk outweighs any number of suspect ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost([u64; TERMS]);

impl Cost {
    /// A cost of these terms.
    pub fn new(terms: [u64; TERMS]) -> Cost {
        Cost(terms)
    }

    fn plus(mut self, other: Cost) -> Cost {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = a.saturating_add(b);
        }
        self
    }
}

/// Slots that share chunks, directly or by others between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The slots, ascending.
    pub slots: Vec<usize>,
    /// Those of them that hold one chunk, for every chunk.
    pub sets: Vec<BTreeSet<usize>>,
}

/// A choice of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// The slots, ascending.
    pub slots: Vec<usize>,
    /// Sets of slots of which none can be chosen: their chunks are lost to the half.
    pub uncovered: Vec<BTreeSet<usize>>,
    /// Whether it is proven that none is healthier.
    pub is_best: bool,
}

/// The parts of an array that are chosen from independently. Empty where no chunk has a copy.
pub fn components(geometry: &Geometry) -> Vec<Component> {
    if geometry.copies() < 2 {
        return Vec::new();
    }
    let mut sets: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    // The layout repeats at the latest after as many chunks as there are members.
    let mut at = Bytes::ZERO;
    for _ in 0..geometry.members() {
        let (places, run) = geometry.places(at);
        if places.is_empty() {
            break;
        }
        sets.insert(places.iter().map(|p| p.slot).collect());
        at = at + run;
    }
    let mut parts: Vec<(BTreeSet<usize>, Vec<BTreeSet<usize>>)> = Vec::new();
    for set in sets {
        let (touching, apart): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .partition(|(slots, _)| !slots.is_disjoint(&set));
        parts = apart;
        let mut joined = (set.clone(), vec![set]);
        for (slots, sets) in touching {
            joined.0.extend(slots);
            joined.1.extend(sets);
        }
        parts.push(joined);
    }
    let mut components: Vec<Component> = parts
        .into_iter()
        .map(|(slots, mut sets)| {
            sets.sort();
            let slots = slots.into_iter().collect();
            Component { slots, sets }
        })
        .collect();
    components.sort_by(|a, b| a.slots.cmp(&b.slots));
    components
}

/// Decisions that are looked at together at most; layouts have copies within a few slots of each other.
const MOST_WINDOW: usize = 8;

/// The cheapest choice of slots with one of every set; `cost` is `None` for a slot that has no member.
pub fn cheapest(component: &Component, cost: &dyn Fn(usize) -> Option<Cost>) -> Cover {
    let costs: Vec<Option<Cost>> = component.slots.iter().map(|s| cost(*s)).collect();
    let position = |slot: &usize| component.slots.binary_search(slot).ok();
    let mut cover = Cover::default();
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for set in &component.sets {
        let positions: BTreeSet<usize> = set.iter().filter_map(position).collect();
        let can = |p: &usize| costs.get(*p).is_some_and(Option::is_some);
        match positions.iter().any(can) {
            true => sets.push(positions),
            false => cover.uncovered.push(set.clone()),
        }
    }
    let ring = Ring::new(&costs, &sets);
    // Of one set alone the cheapest member is the answer, however many there are.
    cover.is_best = sets.len() < 2 || ring.is_some();
    let chosen = match ring.filter(|_| sets.len() > 1) {
        Some(ring) => ring.cheapest(),
        None => greedy(&costs, &sets),
    };
    let slots = chosen
        .iter()
        .filter_map(|p| component.slots.get(*p).copied());
    cover.slots = slots.collect();
    cover.slots.sort_unstable();
    cover
}

/// The slots in a circle, with sets that lie within a short window of it.
struct Ring<'a> {
    costs: &'a [Option<Cost>],
    /// By the last position of their window: the positions of each set.
    ending: BTreeMap<usize, Vec<&'a BTreeSet<usize>>>,
    /// Decisions that must be remembered.
    memory: usize,
}

impl<'a> Ring<'a> {
    /// `None` where some set is spread too widely.
    fn new(costs: &'a [Option<Cost>], sets: &'a [BTreeSet<usize>]) -> Option<Ring<'a>> {
        let count = costs.len();
        let mut ending: BTreeMap<usize, Vec<&BTreeSet<usize>>> = BTreeMap::new();
        let mut window = 1;
        for set in sets {
            // The window begins behind the widest gap between neighbours of the set.
            let (start, width) = set
                .iter()
                .map(|start| {
                    let reach = set.iter().map(|p| (p + count - start) % count).max();
                    (*start, reach.unwrap_or(0) + 1)
                })
                .min_by_key(|(_, width)| *width)?;
            window = window.max(width);
            ending.entry(start + width - 1).or_default().push(set);
        }
        (window <= MOST_WINDOW).then_some(Ring {
            costs,
            ending,
            memory: (window - 1).min(count),
        })
    }

    /// Goes round once for each way to decide the first positions; keeps the cheapest way to each last few decisions.
    fn cheapest(&self) -> Vec<usize> {
        let count = self.costs.len();
        let mut best: Option<(Cost, Vec<usize>)> = None;
        for first in 0..1_u32 << self.memory {
            let Some(start) = self.begin(first) else {
                continue;
            };
            let mut ways: BTreeMap<u32, (Cost, Vec<usize>)> = BTreeMap::from([(first, start)]);
            for at in self.memory..count {
                ways = self.step(at, &ways);
            }
            // Windows that run over the end meet the first decisions again.
            for (cost, chosen) in ways.into_values() {
                let holds = |set: &&BTreeSet<usize>| chosen.iter().any(|p| set.contains(p));
                let over = self
                    .ending
                    .iter()
                    .filter(|(end, _)| **end >= count || **end < self.memory);
                if over.flat_map(|(_, sets)| sets).all(holds)
                    && best.as_ref().is_none_or(|(least, _)| cost < *least)
                {
                    best = Some((cost, chosen));
                }
            }
        }
        best.map(|(_, chosen)| chosen).unwrap_or_default()
    }

    /// The first decisions, one bit each, the last in the lowest; `None` where one would take what is not there.
    fn begin(&self, bits: u32) -> Option<(Cost, Vec<usize>)> {
        let mut way = (Cost::default(), Vec::new());
        for at in 0..self.memory {
            if bits >> (self.memory - 1 - at) & 1 == 1 {
                way.0 = way.0.plus(self.costs.get(at).copied().flatten()?);
                way.1.push(at);
            }
        }
        Some(way)
    }

    fn step(
        &self,
        at: usize,
        ways: &BTreeMap<u32, (Cost, Vec<usize>)>,
    ) -> BTreeMap<u32, (Cost, Vec<usize>)> {
        let mut next: BTreeMap<u32, (Cost, Vec<usize>)> = BTreeMap::new();
        let mask = (1_u32 << self.memory) - 1;
        for (bits, (cost, chosen)) in ways {
            for take in [false, true] {
                let (mut cost, mut chosen) = (*cost, chosen.clone());
                if take {
                    let Some(more) = self.costs.get(at).copied().flatten() else {
                        continue;
                    };
                    cost = cost.plus(more);
                    chosen.push(at);
                }
                let holds = |set: &&BTreeSet<usize>| {
                    chosen
                        .iter()
                        .rev()
                        .take(MOST_WINDOW)
                        .any(|p| set.contains(p))
                };
                if !self.ending.get(&at).into_iter().flatten().all(holds) {
                    continue;
                }
                let state = (bits << 1 | u32::from(take)) & mask;
                let better = next.get(&state).is_none_or(|(least, _)| cost < *least);
                if better {
                    next.insert(state, (cost, chosen));
                }
            }
        }
        next
    }
}

/// The member of each set that is not held yet that is cheapest: whole, but perhaps not the healthiest.
fn greedy(costs: &[Option<Cost>], sets: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    for set in sets {
        if chosen.iter().any(|p| set.contains(p)) {
            continue;
        }
        let priced = set
            .iter()
            .filter_map(|p| Some((costs.get(*p).copied().flatten()?, *p)));
        chosen.extend(priced.min().map(|(_, p)| p));
    }
    chosen
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::md::level::Level;
    use crate::units::Sectors;

    /// An array of 60 chunks; none where the layout needs more members.
    pub(crate) fn geometry(layout: &str, members: usize) -> Option<Geometry> {
        // Ten rows of chunks, so that every layout repeats several times.
        let chunk = Sectors(8);
        let data = Bytes(4096 * 60);
        match layout {
            "raid1" => Geometry::new(Level::Raid1, None, members, chunk, data).ok(),
            _ => Geometry::new(Level::Raid10, Some(layout), members, chunk, data).ok(),
        }
    }

    /// Every chunk of the array has a chosen member, by the arithmetic that md itself uses.
    fn holds_every_chunk(geometry: &Geometry, chosen: &BTreeSet<usize>) -> bool {
        let mut at = Bytes::ZERO;
        while at < geometry.array_size() {
            let (places, run) = geometry.places(at);
            if !places.iter().any(|p| chosen.contains(&p.slot)) {
                return false;
            }
            at = at + run;
        }
        true
    }

    const LAYOUTS: [&str; 14] = [
        "raid1", "n2", "n3", "n4", "f2", "f3", "f4", "o2", "o3", "o4",
        // near 2 with far 2, offset, and both kinds of far sets.
        "0x202", "0x10202", "0x20201", "0x40201",
    ];

    /// A half that leaves one chunk out makes a volume with holes; one that is not the healthiest reads the worse disk.
    /// All layouts, all member counts to ten, several healths and missing members, against all subsets.
    #[test]
    fn whole_and_cheapest_against_all_subsets() {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        let mut tested = 0;
        for (layout, members) in LAYOUTS.iter().flat_map(|l| (2..=10).map(move |n| (l, n))) {
            let Some(geometry) = geometry(layout, members) else {
                continue;
            };
            let parts = components(&geometry);
            assert!(!parts.is_empty(), "{layout} {members}");
            for round in 0..6 {
                let costs: Vec<Option<Cost>> = (0..members)
                    .map(|_| {
                        let missing = round > 3 && next() % 5 == 0;
                        let terms = [next() % 3 / 2, 0, 0, 0, next() % 2, next() % 20, 1];
                        (!missing).then(|| Cost::new(terms))
                    })
                    .collect();
                let covers: Vec<Cover> = parts.iter().map(|c| cheapest(c, &|s| costs[s])).collect();
                let chosen: BTreeSet<usize> = covers.iter().flat_map(|c| c.slots.clone()).collect();
                let whole = covers.iter().all(|c| c.uncovered.is_empty());
                assert!(covers.iter().all(|c| c.is_best), "{layout} {members}");
                assert!(chosen.iter().all(|s| costs[*s].is_some()));
                assert_eq!(
                    holds_every_chunk(&geometry, &chosen),
                    whole,
                    "{layout} {members} {chosen:?}"
                );
                let price = |set: &BTreeSet<usize>| {
                    set.iter()
                        .try_fold(Cost::default(), |sum, s| Some(sum.plus(costs[*s]?)))
                };
                let subsets = (0..1_u32 << members).map(|bits| {
                    (0..members)
                        .filter(|s| bits >> s & 1 == 1)
                        .collect::<BTreeSet<usize>>()
                });
                let least = subsets
                    .filter(|set| holds_every_chunk(&geometry, set))
                    .filter_map(|set| price(&set))
                    .min();
                assert_eq!(whole, least.is_some(), "{layout} {members}");
                if let Some(least) = least {
                    assert_eq!(price(&chosen), Some(least), "{layout} {members} {chosen:?}");
                }
                tested += 1;
            }
        }
        assert!(tested > 500, "{tested}");
    }

    /// The ring of a whole shelf of disks, where all subsets cannot be tried.
    #[test]
    fn long_rings() {
        for (layout, members) in [("f2", 48), ("n2", 47), ("o3", 60), ("n2", 200)] {
            let geometry = geometry(layout, members).unwrap();
            let parts = components(&geometry);
            let all = |s: usize| Some(Cost::new([0, 0, 0, 0, 0, s as u64 % 7, 1]));
            let chosen: BTreeSet<usize> =
                parts.iter().flat_map(|p| cheapest(p, &all).slots).collect();
            assert!(holds_every_chunk(&geometry, &chosen), "{layout} {members}");
            assert!(
                chosen.len() < members * 2 / 3,
                "{layout} {members}: {}",
                chosen.len()
            );
        }
    }

    /// What has no copies has no half.
    #[test]
    fn without_copies_there_is_nothing_to_choose() {
        let raid5 = Geometry::new(
            Level::Raid5,
            Some("left-symmetric"),
            4,
            Sectors(8),
            Bytes(40_960),
        )
        .unwrap();
        assert!(components(&raid5).is_empty());
    }
}
