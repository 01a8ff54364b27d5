//! The finalists of a guess where structures leave the order open: what follows across chunks' ends has its votes, what
//! files say of themselves ([`super::spans`]) and content that goes on ([`super::continuity`]).

use super::continuity::{self, Sum};
use super::finalist::{Continuity, Finalist};
use super::guess::{Case, OFFSETS_FOLLOWED, ranked};
use super::hypothesis::Shape;
use super::verify;
use super::votes::{Look, Voters};
use crate::units::Bytes;
use std::collections::BTreeMap;

/// For each offset of the data what borders within chunks say.
type Within = BTreeMap<Bytes, [Sum; 64]>;

impl Case<'_> {
    /// The finalists, and the orders that files and continuity speak for, with their votes.
    pub(super) fn with_continuity(
        &self,
        voters: &Voters<'_>,
        mut finalists: Vec<Finalist>,
    ) -> Vec<Finalist> {
        let mut offsets: Vec<Bytes> = match voters.sightings() {
            0 => self.starts.clone(),
            _ => finalists.iter().map(|f| f.hypothesis.data_offset).collect(),
        };
        offsets.dedup();
        offsets.truncate(OFFSETS_FOLLOWED);
        let shapes = self.shapes();
        let mut within = Within::new();
        for offset in offsets {
            let within = self.within(&mut within, offset);
            self.add_orders(voters, &shapes, (offset, within), &mut finalists);
        }
        for finalist in &mut finalists {
            let spans = &self.clues.spans;
            let held = spans.held(&finalist.hypothesis, self.sample, self.sources.len());
            finalist.hypothesis.score += i64::try_from(held.held).unwrap_or(i64::MAX);
            finalist.spans = Some(held);
        }
        let mut finalists = self.near_the_best(finalists);
        self.weigh(&mut finalists, &mut within);
        self.distinct(ranked(finalists))
    }

    fn within<'a>(&self, within: &'a mut Within, offset: Bytes) -> &'a [Sum; 64] {
        let count = || continuity::within(self.sample, self.sources.len(), offset);
        within.entry(offset).or_insert_with(count)
    }

    /// Adds the best orders of the shapes whose chunk size is likely.
    fn add_orders(
        &self,
        voters: &Voters<'_>,
        shapes: &[Shape],
        (offset, within): (Bytes, &[Sum; 64]),
        finalists: &mut Vec<Finalist>,
    ) {
        let (members, groups) = (self.sources.len(), &self.relations.groups);
        let chunks = self.chunks_tried(shapes, offset, within);
        for shape in shapes {
            // With P and Q the rows themselves tell the order.
            let open = shape.level.parities() < 2 && shape.geometry.members() <= members + 1;
            if !open || !chunks.contains(&shape.geometry.chunk()) {
                continue;
            }
            let (tally, bases) = voters.tally(shape, offset, groups, Look::All);
            let spans = &self.clues.spans;
            for (slots, score) in continuity::orders((shape, offset), self.sample, spans, &tally) {
                finalists.extend(self.placed(voters, (shape, offset), slots, score, &bases));
            }
        }
    }

    /// Those that continuity could still bring to the front: near the best that the redundancy does not refute.
    fn near_the_best(&self, finalists: Vec<Finalist>) -> Vec<Finalist> {
        let mut finalists = ranked(finalists).into_iter();
        let refuted = |finalist: &Finalist| {
            let h = &finalist.hypothesis;
            let rows = verify::FEW_ROWS;
            verify::check(h, &self.sources, self.sample, self.clues, rows).refutes()
        };
        let Some(best) = finalists.find(|f| !refuted(f)) else {
            return Vec::new();
        };
        let most = best.hypothesis.score;
        let near = |f: &Finalist| most - f.hypothesis.score <= continuity::MOST_VOTES;
        std::iter::once(best)
            .chain(finalists.take_while(near))
            .collect()
    }

    /// Gives continuity's votes, where it says anything.
    fn weigh(&self, finalists: &mut [Finalist], within: &mut Within) {
        let mut tells = false;
        for finalist in finalists.iter_mut() {
            let h = &finalist.hypothesis;
            let within = self.within(within, h.data_offset);
            let inside = continuity::within_chunks(within, h.shape.geometry.chunk());
            let across = continuity::across(h, self.sample);
            tells |= across.mean() >= continuity::FEWEST_NATS;
            let share = across.mean() / inside.mean().max(f64::MIN_POSITIVE);
            finalist.continuity = Some(Continuity {
                nats: inside.nats + across.nats,
                votes: 0,
                share: (inside.borders > 0).then_some(share),
            });
        }
        let nats = |f: &Finalist| f.continuity.map_or(f64::MIN, |c| c.nats);
        let best = finalists.iter().map(nats).fold(f64::MIN, f64::max);
        let least = finalists.iter().map(nats).fold(best, f64::min);
        // Noise says the same of all: nothing.
        if best - least < 2.0 * continuity::NATS_A_VOTE || !tells {
            finalists.iter_mut().for_each(|f| f.continuity = None);
        }
        for finalist in finalists {
            if let Some(continuity) = &mut finalist.continuity {
                continuity.votes = continuity::votes(continuity.nats, best);
                finalist.hypothesis.score += continuity.votes;
            }
        }
    }

    /// The chunk sizes that content which goes on, and files, speak for most.
    fn chunks_tried(&self, shapes: &[Shape], offset: Bytes, within: &[Sum; 64]) -> Vec<Bytes> {
        let mut chunks: Vec<Bytes> = shapes.iter().map(|s| s.geometry.chunk()).collect();
        chunks.sort_unstable();
        chunks.dedup();
        let best_by = |value: &dyn Fn(&Bytes) -> f64| {
            let mut best = chunks.clone();
            // Where chunks of one size end, smaller ones do too: of equals the largest says the most.
            best.sort_by(|a, b| value(b).total_cmp(&value(a)).then(b.cmp(a)));
            best.truncate(continuity::CHUNKS_TRIED);
            best
        };
        let mut best = best_by(&|c| continuity::within_chunks(within, *c).nats);
        if let Some(agree) = self.clues.spans.chunks(self.sample, offset) {
            best.extend(best_by(&|c| {
                let count = agree.get(c.0.trailing_zeros() as usize);
                count.map_or(f64::MIN, |count| *count as f64)
            }));
        }
        best
    }
}
