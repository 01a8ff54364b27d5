//! Whether an array begins where its answer says, or only something that lies in it.
//!
//! A file system tells where it begins itself. If the array holds more before
//! it (a volume group whose label and texts are lost, a partition), an array
//! that begins so many rows later reads the file system as well: with parity in
//! an order that is turned by as many rows, with stripes that are a part of a
//! row in one where the last member comes first. Nothing in the file system
//! tells the two apart. What lies around it may, and is looked at here.

use super::clues::Family;
use super::finalist::Finalist;
use super::guess::{Case, sectors};
use super::hypothesis::Shape;
use super::level::Level;
use super::same_bytes::{self, reads_same};
use super::sample::{Page, Row};
use super::spans::array_place;
use super::verify;
use super::votes::Hypothesis;
use crate::units::{Bytes, SECTOR};
use std::collections::BTreeMap;

/// Things seen of a file system, below which they say nothing of where it lies.
const FEWEST: usize = 4;

/// What fits another array as well has so many percent there of what is in its place in the answer. Not of all that is
/// seen: parity repeats some, and copies are others' places.
const FITS: usize = 80;

/// Before this a member holds superblocks and bitmaps, which mirrors have alike.
const METADATA: Bytes = Bytes::mib(1);

/// Rows before the start in which the redundancy holds, for it to be worth a word, and their share in percent.
const FEWEST_ROWS: usize = 8;
const ROWS_HOLD: usize = 80;

/// What superblocks claim, where that is another array than the answer's and the content could lie in it just so. Those
/// made after the data claim nothing.
pub(super) fn other_claim(case: &Case<'_>, best: &Finalist) -> Option<Hypothesis> {
    let claim = case.claim().filter(|claim| claim.votes() > 0)?;
    let answer = &best.hypothesis;
    if best.claimed || agree(&claim, answer) {
        return None;
    }
    let lie = |of: &Hypothesis| -> usize {
        let pieces = case.clues.families.iter().filter_map(|f| piece(of, f));
        let begins_inside = pieces.filter(|piece| piece.start >= 0);
        begins_inside.map(|piece| piece.lies).sum()
    };
    let (there, here) = (lie(&claim), lie(answer));
    let is_fit = if here < FEWEST {
        let members = case.sources.len();
        let held = |of| case.clues.spans.held(of, case.sample, members).held;
        fits(held(&claim), held(answer))
    } else {
        fits(there, here)
    };
    if !is_fit || is_refuted(case, &claim) {
        return None;
    }
    let shape = named_as(&claim, answer);
    Some(Hypothesis { shape, ..claim })
}

/// Whether as much is in its place in one array as in another.
fn fits(there: usize, here: usize) -> bool {
    there >= FEWEST && there * 100 >= here * FITS
}

/// Whether the members' redundancy speaks against a claim.
fn is_refuted(case: &Case<'_>, claim: &Hypothesis) -> bool {
    let rows = verify::FEW_ROWS;
    verify::check(claim, &case.sources, case.sample, case.clues, rows).refutes()
}

/// The claim's shape, under the name that the answer has for it: raid0's layouts are one over members of one length.
fn named_as(claim: &Hypothesis, answer: &Hypothesis) -> Shape {
    let there = Hypothesis {
        slots: answer.slots.clone(),
        data_offset: answer.data_offset,
        ..claim.clone()
    };
    match claim.slots.len() == answer.slots.len() && reads_same(&there, answer) {
        true => answer.shape.clone(),
        false => claim.shape.clone(),
    }
}

/// Whether two arrays read every byte from the same places, but for slots that only one of them fills.
fn agree(claim: &Hypothesis, answer: &Hypothesis) -> bool {
    if claim.slots.len() != answer.slots.len() {
        return reads_same(claim, answer);
    }
    let copies = same_bytes::mirrors(&claim.shape);
    let column = |of: &Hypothesis, member: usize| {
        let slot = of.slots.iter().position(|slot| *slot == Some(member))?;
        Some(slot / copies)
    };
    let placed = claim.slots.iter().flatten();
    let alike = |member: &usize| {
        column(answer, *member).is_none_or(|slot| Some(slot) == column(claim, *member))
    };
    let filled = Hypothesis {
        slots: answer.slots.clone(),
        ..claim.clone()
    };
    placed.copied().all(|member| alike(&member)) && reads_same(&filled, answer)
}

/// Where most of a file system lies in an array.
pub(super) struct Piece {
    /// Of the file system's first byte in the array; below zero if it began before the array.
    start: i64,
    /// Things seen of it that lie so.
    pub(super) lies: usize,
}

/// Where the array has the file system, wherever that is.
pub(super) fn piece(of: &Hypothesis, family: &Family) -> Option<Piece> {
    let mut starts: BTreeMap<i64, usize> = BTreeMap::new();
    for sighting in &family.sightings {
        let slot = of.slots.iter().position(|s| *s == Some(sighting.member));
        let inside = sighting.at.0.checked_sub(of.data_offset.0).map(Bytes);
        let array = slot
            .zip(inside)
            .and_then(|(slot, inside)| array_place(&of.shape.geometry, slot, inside, 1));
        let number = |at: Bytes| i64::try_from(at.0).ok();
        let start = array.and_then(|array| number(array)?.checked_sub(number(sighting.logical)?));
        if let Some(start) = start {
            *starts.entry(start).or_default() += 1;
        }
    }
    let (start, lies) = starts.into_iter().max_by_key(|(_, count)| *count)?;
    Some(Piece { start, lies })
}

/// Why the array may begin before the start that was found, where nothing but its content says it.
pub(super) fn doubt(case: &Case<'_>, best: &Finalist) -> Option<String> {
    let start = best.hypothesis.data_offset;
    if best.claimed || case.claimed_offset() == Some(start) || lies_in_a_volume(case, best) {
        return None;
    }
    if !is_usual(start) {
        return Some(
            "mdadm --create starts no data there, though a reshape may: something that is lost may lie before it in the array"
                .to_owned(),
        );
    }
    let Some((held, live)) = rows_before(case, best) else {
        let live = lively_before(case, start);
        return (live >= FEWEST_ROWS).then(|| {
            format!(
                "before its start all members hold data, in {live} pages that were looked at: it may begin earlier"
            )
        });
    };
    (held >= FEWEST_ROWS && held * 100 >= live * ROWS_HOLD).then(|| {
        format!(
            "{held} of {live} rows with data before its start hold its redundancy too: it may begin earlier"
        )
    })
}

/// Pages before the start that hold data on all members.
fn lively_before(case: &Case<'_>, start: Bytes) -> usize {
    let before = case
        .sample
        .offsets()
        .filter(|at| *at >= METADATA && *at < start);
    let is_data = |at: Bytes, member| matches!(case.sample.page(member, at), Page::Data { .. });
    let all = |at: &Bytes| (0..case.sources.len()).all(|member| is_data(*at, member));
    before.filter(all).count()
}

/// Whether what is explained lies in a volume of a text that was found: then that says where the array starts.
fn lies_in_a_volume(case: &Case<'_>, best: &Finalist) -> bool {
    let mut families = case.clues.families.iter().zip(&best.hypothesis.bases);
    families.any(|(family, base)| {
        let start = family.bases.get(*base).map(|base| base.map(Bytes::ZERO));
        let is_inside = start.is_some_and(|start| start != Some(Bytes::ZERO));
        is_inside && best.hypothesis.shown(family, *base) >= FEWEST
    })
}

/// Whether mdadm, or what makes partitions, starts data there: metadata of versions 0.90 and 1.0 leave the front to the
/// data, mdadm before 3.2 kept just its own sectors free, and all others start at whole MiB; partitions do, too, but those
/// of old began behind the first track of 63 sectors. A reshape moves the usual 128 MiB some mebibytes down, where nothing
/// else begins: what lies in an array comes behind its start.
fn is_usual(start: Bytes) -> bool {
    const FIRST_TRACK: u64 = 63;
    const OLD: [u64; 7] = [0, 16, 264, 272, 288, 360, 528];
    let at = start.0 / SECTOR;
    let whole = at.is_multiple_of(2048);
    let moved = (262_144 - 16_384..262_144).contains(&at) && at.is_multiple_of(1024);
    let behind = |sectors: u64| at == sectors || at == sectors + FIRST_TRACK;
    whole
        || moved
        || OLD.into_iter().any(behind)
        || at
            .checked_sub(FIRST_TRACK)
            .is_some_and(|at| at.is_multiple_of(2048))
}

/// Rows before the start in which the array's redundancy holds, of those with data; `None` where nothing can be held
/// against itself.
fn rows_before(case: &Case<'_>, best: &Finalist) -> Option<(usize, usize)> {
    let shape = &best.hypothesis.shape;
    let start = best.hypothesis.data_offset;
    let before = |at: Bytes| at >= METADATA && at < start;
    if shape.level.parities() > 0 && best.hypothesis.slots.iter().all(Option::is_some) {
        let rows = case.sample.rows.iter();
        let live = rows.filter(|row| before(row.at) && row.lively.count_ones() > 1);
        // Two that are equal are mirrors: of another array in partitions before this one.
        let sums = |row: &&Row| row.related.iter().any(|set| set.count_ones() > 2);
        return Some((live.clone().filter(sums).count(), live.count()));
    }
    let offsets = case.sample.offsets().filter(|at| before(*at));
    (shape.geometry.is_columns()).then(|| mirrored(case, offsets))
}

/// Of these rows those in which members that mirror each other are equal, and those with data.
fn mirrored(case: &Case<'_>, offsets: impl Iterator<Item = Bytes>) -> (usize, usize) {
    let (mut held, mut live) = (0, 0);
    for at in offsets {
        let page = |member: &usize| case.sample.page(*member, at);
        let groups = case.relations.groups.iter().filter(|g| g.len() > 1);
        let pages: Vec<Vec<Page>> = groups.map(|g| g.iter().map(page).collect()).collect();
        let first = pages.iter().flatten().next().copied();
        let all_equal = pages.iter().flatten().all(|page| Some(*page) == first);
        let has_data = pages
            .iter()
            .flatten()
            .any(|page| matches!(page, Page::Data { .. }));
        // What all members of several groups have alike is a mirror over all of them, before this array.
        if !has_data || pages.len() > 1 && all_equal {
            continue;
        }
        live += 1;
        let equal = |group: &Vec<Page>| group.iter().all(|page| Some(page) == group.first());
        held += usize::from(pages.iter().all(equal));
    }
    (held, live)
}

/// The start as an alternative's words have it.
pub(super) fn claimed_words(claim: &Hypothesis, answer: &Hypothesis) -> String {
    let (a, b) = (claim.data_offset, answer.data_offset);
    let others = match claim.shape.level {
        Level::Raid1 => "",
        _ if claim.slots == answer.slots => ", in the same order",
        _ => ", in another order",
    };
    match a == b {
        true => format!(
            "its superblocks claim {}{others}, and the content fits that too",
            same_bytes::shape_name(&claim.shape)
        ),
        false => format!(
            "its superblocks say that the data start at sector {}{others}, and the content fits that too",
            sectors(a)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md::clues::Sighting;
    use crate::md::geometry::Geometry;
    use crate::units::Sectors;

    fn raid5(slots: &[Option<usize>], start: Bytes) -> Hypothesis {
        let layout = Some("left-symmetric".to_owned());
        let size = Bytes::mib(64);
        let geometry = Geometry::new(
            Level::Raid5,
            layout.as_deref(),
            slots.len(),
            Sectors(128),
            size,
        );
        Hypothesis {
            shape: Shape {
                level: Level::Raid5,
                layout,
                geometry: geometry.unwrap(),
                rank: 0,
            },
            data_offset: start,
            slots: slots.to_vec(),
            score: 0,
            prior: 0,
            bases: Vec::new(),
        }
    }

    /// Superblocks that lack one member, or an answer that does, claim no other array; the same members in another order,
    /// or another start, do.
    #[test]
    fn claims_that_agree() {
        let start = Bytes::mib(1);
        let all = raid5(&[Some(0), Some(1), Some(2)], start);
        let lacks = raid5(&[Some(0), None, Some(2)], start);
        assert!(agree(&all, &lacks) && agree(&lacks, &all) && agree(&all, &all));
        let turned = raid5(&[Some(1), Some(2), Some(0)], start);
        assert!(!agree(&turned, &all) && !agree(&turned, &lacks));
        assert!(!agree(
            &raid5(&[Some(0), Some(1), Some(2)], Bytes::mib(2)),
            &all
        ));
    }

    /// One row further on, in an order turned by one, a raid5 reads a file system as it does from the start: whoever takes
    /// only its own start for a proof finds it in one of the two alone.
    #[test]
    fn a_file_system_lies_in_both() {
        let start = Bytes::mib(1);
        let array = raid5(&[Some(0), Some(1), Some(2)], start);
        let row = Bytes::kib(64);
        // The array's second row is the first of one whose parity is where the second row's is: on the member before.
        let later = raid5(&[Some(2), Some(0), Some(1)], start + row);
        let mut family = Family::default();
        for i in 0..64 {
            let logical = Bytes::kib(16 * i);
            let place = later.shape.geometry.places(logical).0[0];
            family.sightings.push(Sighting {
                member: later.member(place.slot).unwrap(),
                at: later.data_offset + place.offset,
                logical,
            });
        }
        let own = piece(&later, &family).unwrap();
        assert_eq!((own.start, own.lies), (0, 64));
        let inside = piece(&array, &family).unwrap();
        assert_eq!((inside.start, inside.lies), (128 << 10, 64));
        let other = raid5(&[Some(1), Some(0), Some(2)], start);
        assert!(piece(&other, &family).unwrap().lies < 32);
    }

    /// Where mdadm starts data, and where something in the array does.
    #[test]
    fn usual_starts() {
        let sectors = |n: u64| Bytes(n * SECTOR);
        for usual in [0, 63, 272, 2048, 4096, 2048 + 63, 259_072, 262_144, 264_192] {
            assert!(is_usual(sectors(usual)), "{usual}");
        }
        for other in [8, 1024, 3072, 2048 + 512, 264_192 + 1024] {
            assert!(!is_usual(sectors(other)), "{other}");
        }
    }
}
