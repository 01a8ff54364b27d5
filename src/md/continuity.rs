//! The last and lowest evidence of an order: whether content goes on where one member's chunk ends and the next one's
//! begins.
//!
//! A chunk size and an order say which page follows which. Within chunks that
//! is the next page of the same member, whatever the order, so the chunk size
//! alone is told by where content breaks off; across their ends it is a matter
//! of the order. [`super::seams::Model::follows`] says in nats how much likelier two pages
//! are neighbours than strangers; the sum is compared between hypotheses, and
//! [`NATS_A_VOTE`] says how much of it counts as a vote.

use super::assign;
use super::geometry::{Content, Place};
use super::hypothesis::Shape;
use super::sample::{PAGE, Page, Sample};
use super::spans::Spans;
use super::votes::{Hypothesis, Tally};
use crate::units::{Bytes, SECTOR};

/// So many nats are one vote. Taken at their word it would be 2.3; neighbours in one file say the same thing again and
/// again, and what looks alike in two files is no chance of its own: see the book for how this was set.
pub const NATS_A_VOTE: f64 = 50.0;

/// Votes that continuity has at most.
pub const MOST_VOTES: i64 = 6;

/// Borders of two chunks must say at least so much of what borders within chunks do, or something else than this lies
/// there, whatever its rivals.
pub const FEWEST_SHARE: f64 = 0.75;

/// What a border of chunks must say on the average for any order, in nats, or the content is such that says nothing.
pub const FEWEST_NATS: f64 = 0.1;

/// Chunk sizes followed up, of those that the breaks speak for most.
pub const CHUNKS_TRIED: usize = 2;

/// Borders of chunks looked at.
const MOST_LINKS: usize = 3000;

/// Ways to place the members that are all tried; of more, the best are found by exchanging two at a time.
const MOST_TRIED: usize = 50_000;
/// Beginnings of such a search.
const BEGINNINGS: usize = 40;
/// Orders kept of each shape.
const ORDERS_KEPT: usize = 6;
/// With more members the table of all pairs at all places gets too large.
pub const MOST_SEATS: usize = 16;

/// Where an array's data may start when nothing on the members tells: multiples of 1024 sectors at which content begins
/// behind a stretch of nothing.
pub fn starts(sample: &Sample, members: usize) -> Vec<Bytes> {
    const STEP: u64 = 1024 * SECTOR;
    const BEFORE: u64 = 64;
    const BEHIND: u64 = 16;
    let holds =
        |at: u64| (0..members).any(|m| matches!(sample.page(m, Bytes(at)), Page::Data { .. }));
    let starts = |at: &u64| {
        let before = (1..=BEFORE).filter_map(|i| at.checked_sub(i * PAGE as u64));
        let behind = (0..BEHIND).map(|i| at + i * PAGE as u64);
        !before.into_iter().any(holds) && behind.into_iter().any(holds)
    };
    let reach = sample.windows.iter().map(|w| w.end().0).max().unwrap_or(0);
    let most = reach.min(Bytes::mib(256).0) / STEP;
    (0..=most)
        .map(|i| i * STEP)
        .filter(starts)
        .map(Bytes)
        .collect()
}

/// What borders of pages say together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// In nats.
    pub nats: f64,
    /// Borders that say anything.
    pub borders: u32,
}

impl Sum {
    fn add(&mut self, nats: f64) {
        self.nats += nats;
        self.borders += u32::from(nats != 0.0);
    }

    /// What one border says on the average.
    pub fn mean(self) -> f64 {
        self.nats / f64::from(self.borders.max(1))
    }
}

/// The votes of a hypothesis with these nats beside the best one's.
pub fn votes(nats: f64, best: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "at most MOST_VOTES")]
    let behind = ((best - nats) / NATS_A_VOTE).clamp(0.0, MOST_VOTES as f64) as i64;
    MOST_VOTES - behind
}

/// For each power of two, as bits, what speaks for content going on at the borders that are just its multiples.
pub fn within(sample: &Sample, members: usize, offset: Bytes) -> [Sum; 64] {
    let mut sums = [Sum::default(); 64];
    for at in sample.offsets().filter(|at| *at > offset) {
        let bits = (at - offset).0.trailing_zeros();
        for member in 0..members {
            if let Some(nats) = follows(sample, (member, at - Bytes(PAGE as u64)), (member, at))
                && let Some(sum) = sums.get_mut(bits as usize)
            {
                sum.add(nats);
            }
        }
    }
    sums
}

/// What speaks for content going on within chunks of this size.
pub fn within_chunks(sums: &[Sum; 64], chunk: Bytes) -> Sum {
    let below = sums
        .get(..chunk.0.trailing_zeros() as usize)
        .unwrap_or_default();
    below.iter().fold(Sum::default(), |all, sum| Sum {
        nats: all.nats + sum.nats,
        borders: all.borders + sum.borders,
    })
}

fn follows(sample: &Sample, page: (usize, Bytes), next: (usize, Bytes)) -> Option<f64> {
    let edges = |(member, at)| sample.edges(member, at);
    Some(sample.model.follows(edges(page)?, edges(next)?))
}

/// A border of two chunks: slot and place on the member of the page before it, and of the one behind it.
struct Link {
    page: Place,
    next: Place,
}

/// The borders that the sample shows, whoever has the slots.
fn links(shape: &Shape, offset: Bytes, sample: &Sample) -> Vec<Link> {
    let geometry = &shape.geometry;
    let (chunk, page) = (geometry.chunk().0, PAGE as u64);
    let mut links = Vec::new();
    // A linear array has no chunks.
    if chunk < page {
        return links;
    }
    for at in sample.offsets().filter(|at| *at >= offset) {
        let inside = at - offset;
        if inside.0 % chunk != chunk - page {
            continue;
        }
        for slot in 0..geometry.members() {
            let place = Place {
                slot,
                offset: inside,
            };
            if let Some(Content::Data { array, copy: 0 }) = geometry.content(place)
                && let Some(next) = geometry.places(array.offset + Bytes(page)).0.first()
            {
                links.push(Link {
                    page: place,
                    next: *next,
                });
            }
        }
    }
    let step = links.len().div_ceil(MOST_LINKS).max(1);
    links.into_iter().step_by(step).collect()
}

/// What speaks for a hypothesis across chunks' ends.
pub fn across(hypothesis: &Hypothesis, sample: &Sample) -> Sum {
    let offset = hypothesis.data_offset;
    let of = |link: &Link| {
        let place = |p: &Place| Some((hypothesis.member(p.slot)?, offset + p.offset));
        follows(sample, place(&link.page)?, place(&link.next)?)
    };
    let links = links(&hypothesis.shape, offset, sample);
    let mut sum = Sum::default();
    for nats in links.iter().filter_map(of) {
        sum.add(nats);
    }
    sum
}

/// For every two columns and every two seats: what speaks for content going on from one to the other.
struct Table {
    columns: usize,
    seats: usize,
    nats: Vec<f64>,
}

impl Table {
    fn new(
        (shape, offset): (&Shape, Bytes),
        sample: &Sample,
        spans: &Spans,
        tally: &Tally,
    ) -> Table {
        let (columns, seats) = (tally.columns, tally.seats.len());
        let mut table = Table {
            columns,
            seats,
            nats: vec![0.0; columns * columns * seats * seats],
        };
        let first: Vec<usize> = tally
            .seats
            .iter()
            .filter_map(|s| s.first().copied())
            .collect();
        for link in links(shape, offset, sample) {
            let of = (link.page.slot / tally.copies, link.next.slot / tally.copies);
            for (a, page) in first.iter().enumerate() {
                for (b, next) in first
                    .iter()
                    .enumerate()
                    .filter(|(b, _)| *b != a || of.0 == of.1)
                {
                    let from = (*page, offset + link.page.offset);
                    let to = (*next, offset + link.next.offset);
                    let index = table.index(of, (a, b));
                    if let Some(nats) = follows(sample, from, to)
                        && let Some(sum) = table.nats.get_mut(index)
                    {
                        *sum += nats;
                    }
                }
            }
        }
        let geometry = (&shape.geometry, offset);
        spans.tally(geometry, sample, tally, &mut |columns, seats| {
            let index = table.index(columns, seats);
            if let Some(sum) = table.nats.get_mut(index) {
                *sum += NATS_A_VOTE;
            }
        });
        table
    }

    fn index(&self, (from, to): (usize, usize), (a, b): (usize, usize)) -> usize {
        ((from * self.columns + to) * self.seats + a) * self.seats + b
    }

    /// What a seat in a column adds to the seats placed before it.
    fn adds(&self, of: &[usize], seat: usize, column: usize) -> f64 {
        let nats = |columns, seats| {
            let value = self.nats.get(self.index(columns, seats));
            value.copied().unwrap_or_default()
        };
        let pair = |(other, there): (usize, &usize)| {
            nats((column, *there), (seat, other)) + nats((*there, column), (other, seat))
        };
        nats((column, column), (seat, seat)) + of.iter().enumerate().map(pair).sum::<f64>()
    }

    fn total(&self, of: &[usize]) -> f64 {
        let add = |(seat, column): (usize, &usize)| {
            self.adds(of.get(..seat).unwrap_or_default(), seat, *column)
        };
        of.iter().enumerate().map(add).sum()
    }

    /// Tries all ways to place the seats behind those placed.
    fn all(&self, of: &mut Vec<usize>, sum: f64, best: &mut Best) {
        if of.len() == self.seats {
            best.add(sum, of);
            return;
        }
        for column in 0..self.columns {
            if !of.contains(&column) {
                let adds = self.adds(of, of.len(), column);
                of.push(column);
                self.all(of, sum + adds, best);
                of.pop();
            }
        }
    }

    /// Exchanges seats two at a time from several beginnings, as long as that helps.
    fn exchange(&self, best: &mut Best) {
        for beginning in 0..BEGINNINGS {
            // Each another order, the same ones each time.
            let mut of: Vec<usize> = (0..self.columns).collect();
            of.sort_by_key(|c| (c + 1).wrapping_mul(2_654_435_761 + 977 * beginning) % 65_537);
            let mut sum = self.total(of.get(..self.seats).unwrap_or_default());
            loop {
                let mut gain: Option<(f64, usize, usize)> = None;
                for (a, b) in super::pairs::couples(self.columns) {
                    of.swap(a, b);
                    let other = self.total(of.get(..self.seats).unwrap_or_default());
                    if other > gain.map_or(sum + 1e-6, |(most, ..)| most) {
                        gain = Some((other, a, b));
                    }
                    best.add(other, of.get(..self.seats).unwrap_or_default());
                    of.swap(a, b);
                }
                let Some((most, a, b)) = gain else { break };
                of.swap(a, b);
                sum = most;
            }
        }
    }
}

/// The best ways to place the seats.
#[derive(Default)]
struct Best(Vec<(f64, Vec<usize>)>);

impl Best {
    fn add(&mut self, sum: f64, of: &[usize]) {
        let full = self.0.len() >= ORDERS_KEPT;
        if full && self.0.last().is_some_and(|(least, _)| sum <= *least)
            || self.0.iter().any(|(_, known)| known == of)
        {
            return;
        }
        let at = self.0.partition_point(|(better, _)| *better >= sum);
        self.0.insert(at, (sum, of.to_vec()));
        self.0.truncate(ORDERS_KEPT);
    }
}

/// The orders for which continuity and the spans of files speak most, each with the votes that other evidence gives it.
pub fn orders(
    (shape, offset): (&Shape, Bytes),
    sample: &Sample,
    spans: &Spans,
    tally: &Tally,
) -> Vec<(Vec<Option<usize>>, i64)> {
    let seats = tally.seats.len();
    if !tally.fits() || seats > MOST_SEATS {
        return Vec::new();
    }
    let table = Table::new((shape, offset), sample, spans, tally);
    let mut best = Best::default();
    let ways = (0..seats).try_fold(1_usize, |ways, i| ways.checked_mul(tally.columns - i));
    match ways.filter(|ways| *ways <= MOST_TRIED) {
        Some(_) => table.all(&mut Vec::new(), 0.0, &mut best),
        None => table.exchange(&mut best),
    }
    let order = |(_, of): (f64, Vec<usize>)| (tally.slots(&of), assign::score(&tally.votes, &of));
    best.0.into_iter().map(order).collect()
}
