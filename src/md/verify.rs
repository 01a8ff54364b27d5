//! Whether an assumed array's redundancy holds in the members' bytes, and which member is behind where it does not.

use super::clues::{Base, Clues, Family, Sighting, Test};
use super::galois::{self, add, add_times};
use super::geometry::{Content, Place};
use super::sample::{PAGE, Page, Sample, digest};
use super::votes::{Hypothesis, holds};
use crate::image::{SharedSource, read_vec};
use crate::units::{Bytes, Extent};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of pages read to check a finalist's parity.
pub const FEW_ROWS: usize = 48;
/// Rows read to check the answer's, and to find a stale member.
pub const MANY_ROWS: usize = 800;

/// A member is named stale where so many pages say so.
const FEWEST: u32 = 3;

/// What was checked.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Rows, or pages that are held more than once, where the redundancy holds.
    pub held: usize,
    /// Those where it does not.
    pub failed: usize,
    /// For each member the pages that show that it is behind, and those that show that it is not.
    pub behind: BTreeMap<usize, (u32, u32)>,
}

impl Check {
    /// Whether there was enough to check, and most of it failed.
    pub fn refutes(&self) -> bool {
        self.held + self.failed >= 8 && self.failed > self.held
    }

    /// Whether so much fails that a member must be behind, and none can be named.
    pub fn is_unexplained(&self) -> bool {
        const FEWEST_FAILED: usize = 8;
        const PERCENT: usize = 3;
        self.failed >= FEWEST_FAILED
            && self.failed * 100 >= (self.held + self.failed) * PERCENT
            && self.stale().is_empty()
    }

    /// Whether so much fails that a member which is behind explains it no better than another array does.
    pub fn is_doubtful(&self) -> bool {
        const FEWEST_FAILED: usize = 8;
        self.failed >= FEWEST_FAILED && self.failed * 3 > self.held + self.failed
    }

    /// Members that missed writes which the others have.
    pub fn stale(&self) -> Vec<usize> {
        let stale = self
            .behind
            .iter()
            .filter(|(_, (behind, not))| *behind >= FEWEST && *behind > 4 * not);
        stale.map(|(member, _)| *member).collect()
    }

    fn count(&mut self, member: usize, is_behind: bool) {
        let (behind, not) = self.behind.entry(member).or_default();
        match is_behind {
            true => *behind += 1,
            false => *not += 1,
        }
    }
}

/// What the clues say of single pages: by member and offset.
type Expected = BTreeMap<(usize, Bytes), Vec<Test>>;

fn expected(hypothesis: &Hypothesis, clues: &Clues) -> Expected {
    let mut expected = Expected::new();
    for (family, base) in clues.families.iter().zip(&hypothesis.bases) {
        let Some(base) = family.bases.get(*base) else {
            continue;
        };
        for fact in &family.facts {
            let places = base
                .map(fact.logical)
                .map(|at| hypothesis.shape.geometry.places(at).0);
            for place in places.unwrap_or_default() {
                if let Some(member) = hypothesis.member(place.slot) {
                    expected
                        .entry((member, hypothesis.data_offset + place.offset))
                        .or_default()
                        .push(fact.test);
                }
            }
        }
    }
    expected
}

impl Hypothesis {
    /// Votes by what was seen.
    pub fn votes(&self) -> i64 {
        self.score - self.prior
    }

    /// The member that has a slot.
    pub fn member(&self, slot: usize) -> Option<usize> {
        self.slots.get(slot).copied().flatten()
    }

    /// Whether a structure was seen where this puts it, if its file system lies at this base.
    pub fn shows(&self, base: &Base, sighting: &Sighting) -> bool {
        let places = |array| self.shape.geometry.places(array).0;
        let places = base.map(sighting.logical).map(places).unwrap_or_default();
        places.iter().any(|p| {
            self.member(p.slot) == Some(sighting.member)
                && self.data_offset + p.offset == sighting.at
        })
    }

    /// How many things seen of a file system this puts where they were, if that lies at its base of this number.
    pub fn shown(&self, family: &Family, base: usize) -> usize {
        let shows = |base| {
            let seen = family.sightings.iter();
            seen.filter(|s| self.shows(base, s)).count()
        };
        family.bases.get(base).map_or(0, shows)
    }
}

/// Checks what the hypothesis says is held twice or summed up.
pub fn check(
    hypothesis: &Hypothesis,
    members: &[SharedSource],
    sample: &Sample,
    clues: &Clues,
    rows: usize,
) -> Check {
    let expected = expected(hypothesis, clues);
    match hypothesis.shape.level.parities() {
        0 => copies(hypothesis, sample, &expected),
        _ => parity(hypothesis, members, sample, &expected, rows),
    }
}

/// Compares the digests of pages that are copies of each other.
fn copies(hypothesis: &Hypothesis, sample: &Sample, expected: &Expected) -> Check {
    let mut check = Check::default();
    let geometry = &hypothesis.shape.geometry;
    for at in sample.offsets().filter(|at| *at >= hypothesis.data_offset) {
        for slot in 0..geometry.members() {
            let offset = at - hypothesis.data_offset;
            let Some(Content::Data { array, copy: 0 }) = geometry.content(Place { slot, offset })
            else {
                continue;
            };
            let pages: Vec<(usize, Bytes, Page)> = (geometry.places(array.offset).0.iter())
                .filter_map(|p| {
                    let (member, at) = (
                        hypothesis.member(p.slot)?,
                        hypothesis.data_offset + p.offset,
                    );
                    Some((member, at, sample.page(member, at)))
                })
                .filter(|(.., page)| *page != Page::Unread)
                .collect();
            let Some((_, _, first)) = pages.first() else {
                continue;
            };
            if pages.len() < 2 || pages.iter().all(|(.., p)| matches!(p, Page::Constant(_))) {
                continue;
            }
            if pages.iter().all(|(.., p)| p == first) {
                check.held += 1;
                continue;
            }
            check.failed += 1;
            let tests: BTreeSet<Test> = (pages.iter())
                .filter_map(|(m, at, _)| expected.get(&(*m, *at)))
                .flatten()
                .copied()
                .collect();
            // The stale half's inodes tell of the stale half's pages, and are as good: where a file grew each shows
            // what one of the two inodes says, and that says nothing.
            let shows = |page: Page| tests.iter().any(|test| holds(page, *test));
            let shown = pages.iter().filter(|(.., page)| shows(*page)).count();
            if shown > 0 && shown < pages.len() {
                for (member, _, page) in &pages {
                    check.count(*member, !shows(*page));
                }
            }
        }
    }
    check
}

/// Sums up rows of pages.
fn parity(
    hypothesis: &Hypothesis,
    members: &[SharedSource],
    sample: &Sample,
    expected: &Expected,
    most: usize,
) -> Check {
    let mut check = Check::default();
    let lively =
        |at: &Bytes| (0..members.len()).any(|m| matches!(sample.page(m, *at), Page::Data { .. }));
    let rows: Vec<Bytes> = sample
        .offsets()
        .filter(|at| *at >= hypothesis.data_offset)
        .filter(lively)
        .collect();
    // Rows that hold a page of which something is known tell which member is behind: half of those read are such.
    let known: BTreeSet<Bytes> = expected.keys().map(|(_, at)| *at).collect();
    let (known, others): (Vec<Bytes>, Vec<Bytes>) =
        rows.into_iter().partition(|at| known.contains(at));
    for rows in [known, others] {
        for at in rows.iter().step_by(rows.len().div_ceil(most / 2).max(1)) {
            if let Some(row) = Sums::read(hypothesis, members, *at) {
                row.check(*at, expected, &mut check);
            }
        }
    }
    check
}

/// One row of pages with what P and Q lack to be right.
struct Sums {
    /// Member and bytes, by slot.
    pages: Vec<(usize, Vec<u8>)>,
    /// Power of each slot's data, for those that are data.
    powers: Vec<Option<usize>>,
    /// Slots of P and Q.
    parity: (usize, Option<usize>),
    p: Vec<u8>,
    q: Vec<u8>,
}

impl Sums {
    /// `None` where a member is missing or unreadable: then there is nothing to check.
    fn read(hypothesis: &Hypothesis, members: &[SharedSource], at: Bytes) -> Option<Sums> {
        let geometry = &hypothesis.shape.geometry;
        let stripe = geometry.stripe((at - hypothesis.data_offset).0 / geometry.chunk().0)?;
        let page = |slot: usize| {
            let member = hypothesis.member(slot)?;
            let bytes = read_vec(
                &**members.get(member)?,
                Extent::new(at, Bytes(PAGE as u64)),
                PAGE,
            )
            .ok()?;
            (bytes.len() == PAGE).then_some((member, bytes))
        };
        let pages: Vec<(usize, Vec<u8>)> =
            (0..geometry.members()).map(page).collect::<Option<_>>()?;
        let (mut p, mut q) = (vec![0; PAGE], vec![0; PAGE]);
        let mut powers = vec![None; pages.len()];
        for (i, slot) in stripe.data.iter().enumerate() {
            let (_, bytes) = pages.get(*slot)?;
            let power = stripe.power.get(i).copied();
            add(&mut p, bytes);
            if let Some(power) = power {
                add_times(&mut q, bytes, galois::power(power));
            }
            *powers.get_mut(*slot)? = Some(power.unwrap_or_default());
        }
        add(&mut p, &pages.get(stripe.p)?.1);
        if let Some(slot) = stripe.q {
            add(&mut q, &pages.get(slot)?.1);
        }
        let parity = (stripe.p, stripe.q);
        Some(Sums {
            pages,
            powers,
            parity,
            p,
            q,
        })
    }

    fn check(&self, at: Bytes, expected: &Expected, check: &mut Check) {
        let zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
        let (p_holds, q_holds) = (zero(&self.p), zero(&self.q));
        if p_holds && q_holds {
            check.held += 1;
            return;
        }
        check.failed += 1;
        match self.parity.1 {
            Some(q) => {
                let slot = match (p_holds, q_holds) {
                    (true, _) => Some(q),
                    (_, true) => Some(self.parity.0),
                    _ => self.wrong_data(),
                };
                if let Some((member, _)) = slot.and_then(|slot| self.pages.get(slot)) {
                    check.count(*member, true);
                }
            }
            None => self.by_facts(at, expected, check),
        }
    }

    /// The slot whose data being wrong explains both sums: Q's error is P's, times its power of two.
    fn wrong_data(&self) -> Option<usize> {
        let explains = |slot: &usize| {
            let Some(power) = self.powers.get(*slot).copied().flatten() else {
                return false;
            };
            let factor = galois::power(power);
            self.p
                .iter()
                .zip(&self.q)
                .all(|(p, q)| galois::mul(*p, factor) == *q)
        };
        let mut slots = (0..self.pages.len()).filter(explains);
        let only = slots.next()?;
        slots.next().is_none().then_some(only)
    }

    /// With one parity any member may be wrong: the one that what is known of the page contradicts, and that the others
    /// together set right.
    fn by_facts(&self, at: Bytes, expected: &Expected, check: &mut Check) {
        for (member, bytes) in &self.pages {
            let Some(tests) = expected.get(&(*member, at)) else {
                continue;
            };
            let mut computed = bytes.clone();
            add(&mut computed, &self.p);
            let shows = |bytes: &[u8]| tests.iter().any(|test| holds(digest(bytes), *test));
            match (shows(bytes), shows(&computed)) {
                (true, false) => check.count(*member, false),
                (false, true) => check.count(*member, true),
                _ => {}
            }
        }
    }
}
