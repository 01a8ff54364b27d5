//! Arrays of other names that read every byte from the same places.
//!
//! raid10 near-k over n*k slots, of which one of each k is here, is byte for byte a raid0 over n. No landmark tells them
//! apart, and under the wrong name the other mirrors could never join again. Only superblocks say which it is, whether
//! they are believed of the order or not.

use super::finalist::Finalist;
use super::guess::Case;
use super::hypothesis::Shape;
use super::level::Level;
use super::votes::{Hypothesis, Voters};
use crate::units::Bytes;

/// Places of the array that are compared to tell whether two hypotheses read the same.
const PROBES: u64 = 509;

/// Whether both read every byte from the same places: they differ in name only.
pub(super) fn reads_same(a: &Hypothesis, b: &Hypothesis) -> bool {
    let size = a
        .shape
        .geometry
        .array_size()
        .min(b.shape.geometry.array_size());
    // A slot without a member is no place to read from: a mirror that is missing makes no other array.
    let places = |h: &Hypothesis, at: Bytes| {
        let of = |p: &super::geometry::Place| Some((h.member(p.slot)?, h.data_offset + p.offset));
        let places = h.shape.geometry.places(at).0;
        let mut places: Vec<_> = places.iter().filter_map(of).collect();
        places.sort_unstable();
        places
    };
    let near = |i: u64| Bytes(i * 4096);
    let spread = |i: u64| Bytes(size.0 / PROBES * i / 512 * 512);
    let probes = (0..PROBES)
        .flat_map(|i| [near(i), spread(i)])
        .filter(|at| *at < size);
    let mut probes = probes.peekable();
    probes.peek().is_some() && probes.all(|at| places(a, at) == places(b, at))
}

/// Slots beside each other that mirror each other, whose order says nothing.
pub(super) fn mirrors(shape: &Shape) -> usize {
    match shape.geometry.is_columns() {
        true => shape.geometry.copies().max(1),
        false => 1,
    }
}

/// `raid5 left-symmetric`.
pub(super) fn shape_name(shape: &Shape) -> String {
    match &shape.layout {
        Some(layout) => format!("{} {layout}", shape.level),
        None => shape.level.to_string(),
    }
}

/// Whether just one of each group of mirrors is here, and there are two groups at least.
fn is_one_of_each(hypothesis: &Hypothesis) -> bool {
    let geometry = &hypothesis.shape.geometry;
    let copies = geometry.copies();
    let mut groups = hypothesis.slots.chunks(copies.max(1));
    hypothesis.shape.level == Level::Raid10
        && geometry.is_columns()
        && copies > 1
        && groups.len() > 1
        && groups.all(|group| group.iter().flatten().count() == 1)
}

/// Whether all mirrors of a group are missing.
pub(super) fn lacks_a_group(hypothesis: &Hypothesis) -> bool {
    let geometry = &hypothesis.shape.geometry;
    let mut groups = hypothesis.slots.chunks(geometry.copies().max(1));
    let is_empty = |group: &[Option<usize>]| group.iter().all(Option::is_none);
    hypothesis.shape.level == Level::Raid10 && geometry.is_columns() && groups.any(is_empty)
}

/// The finalists; a best one that is a raid0 under the name that the superblocks have for the same bytes.
pub(super) fn named(
    case: &Case<'_>,
    voters: &Voters<'_>,
    mut finalists: Vec<Finalist>,
) -> Vec<Finalist> {
    let claim = case.claim().filter(is_one_of_each);
    let (Some(claim), Some(best)) = (claim, finalists.first_mut()) else {
        return finalists;
    };
    let raid0 = &best.hypothesis;
    if raid0.shape.level != Level::Raid0 || !reads_same(raid0, &claim) {
        return finalists;
    }
    let raid10 = Hypothesis {
        score: raid0.score,
        prior: raid0.prior,
        bases: raid0.bases.clone(),
        ..claim
    };
    // raid0 goes on over what longer members have more, and a raid10 does not.
    if voters.lacks_an_end(&raid10) && !voters.lacks_an_end(raid0) {
        return finalists;
    }
    let own = shape_name(&raid10.shape);
    best.also.retain(|name| *name != own);
    best.also.insert(0, shape_name(&raid0.shape));
    best.hypothesis = raid10;
    best.claimed = true;
    // The raid0 of the kernel's other layout differs only where the raid10 has nothing.
    let best = best.hypothesis.clone();
    let mut first = true;
    finalists.retain(|f| std::mem::take(&mut first) || !reads_same(&f.hypothesis, &best));
    finalists
}

/// What is to be said where the bytes are those of a raid0 and of one half of a raid10.
pub(super) fn evidence(best: &Finalist) -> Option<String> {
    let slots = best.hypothesis.slots.len();
    let shape = &best.hypothesis.shape;
    if is_one_of_each(&best.hypothesis) {
        let copies = shape.geometry.copies();
        return Some(format!(
            "the same bytes as raid0 of {}: that it is {} of {slots}, with one of each {} here, the superblocks say, and \
             nothing else can",
            slots / copies,
            shape_name(shape),
            match copies {
                2 => "pair".to_owned(),
                more => format!("{more} mirrors"),
            },
        ));
    }
    /// Things seen of a mirror, up to which one group of a raid10 shows as many.
    const FEW: i64 = 8;
    if shape.level == Level::Raid1 && !best.claimed && best.hypothesis.votes() <= FEW {
        return Some(format!(
            "one group of a raid10 n{slots} begins as this does: if other disks exist, name those images too"
        ));
    }
    (shape.level == Level::Raid0 && slots > 1 && !best.claimed).then(|| {
        format!(
            "a raid10 n2 of {}, with one of each pair here, has the same bytes: if the other half exists, name those images \
             too",
            slots * 2
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md::geometry::Geometry;
    use crate::units::Sectors;

    fn array(level: Level, layout: Option<&str>, slots: &[Option<usize>]) -> Hypothesis {
        let size = Bytes::mib(8);
        let layout = layout.map(str::to_owned);
        let geometry =
            Geometry::new(level, layout.as_deref(), slots.len(), Sectors(128), size).unwrap();
        Hypothesis {
            shape: Shape {
                level,
                layout,
                geometry,
                rank: 0,
            },
            data_offset: Bytes::ZERO,
            slots: slots.to_vec(),
            score: 0,
            prior: 0,
            bases: Vec::new(),
        }
    }

    /// The half of a raid10 called another array than the raid0 with its bytes was a raid0 to the scripts, which the other
    /// mirrors could not join again.
    #[test]
    fn half_a_raid10_reads_as_raid0() {
        let raid0 = array(Level::Raid0, None, &[Some(2), Some(0), Some(1)]);
        let half = [None, Some(2), Some(0), None, None, Some(1)];
        let half = array(Level::Raid10, Some("n2"), &half);
        assert!(reads_same(&raid0, &half) && is_one_of_each(&half));
        let other = [None, Some(0), Some(2), None, None, Some(1)];
        let other = array(Level::Raid10, Some("n2"), &other);
        assert!(!reads_same(&raid0, &other) && is_one_of_each(&other));
        let third = [Some(2), None, Some(0), Some(1), None, None];
        let third = array(Level::Raid10, Some("n2"), &third);
        assert!(!reads_same(&raid0, &third) && !is_one_of_each(&third));
        let far = array(Level::Raid10, Some("f2"), &[None, Some(2), Some(0), None]);
        assert!(!is_one_of_each(&far) && !is_one_of_each(&raid0));
    }
}
