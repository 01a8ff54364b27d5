//! Which volume is which physical volume of a group, and physical volumes whose partition is no longer in any table.
//!
//! A label with the right UUID settles it. Without one, in this order: what
//! the text says must stand on the physical volume stands on one volume and
//! not on the others ([`starts::expected`]); the texts in a volume's metadata
//! areas, each of which names all physical volumes of its group, the one it
//! lies on among them; and where few volumes are left for few physical
//! volumes, every way is tried, and the one through which the file systems
//! check best is taken, if it is the only one. What none of these tells stays
//! open, with the volumes that it may be: nothing is chosen by a size alone.

use super::checks;
use super::signs::Asked;
use crate::image::SharedSource;
use crate::layout::Stack;
use crate::lvm::metadata::{PhysicalVolume, VolumeGroup};
use crate::lvm::starts::{self, Expected};
use crate::units::Bytes;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

mod hidden;
mod labels;
mod nested;
mod rings;

pub use hidden::{Hidden, hidden};
pub use nested::Nested;

/// Physical volumes without evidence of their own, and volumes left for them, of which every way is tried.
const MOST_UNKNOWN: usize = 3;
const MOST_LEFT: usize = 4;

/// Volumes of the group that each way is judged by, the smallest first: each is a check of a whole file system.
const MOST_JUDGES: usize = 6;

/// The volumes that the physical volumes of a group are, as far as that can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placing {
    /// The volume of each physical volume, by its name in the text.
    pub pvs: BTreeMap<String, String>,
    /// What says so.
    pub evidence: BTreeMap<String, String>,
    /// What could not be told.
    pub open: Vec<Open>,
    /// What was told and is not sure, a sentence each.
    pub doubts: Vec<String>,
}

impl Placing {
    /// Doubts the physical volumes that lie inside of other volumes, where these do not go on in one run.
    pub fn doubt_nested(&mut self, vg: Option<&VolumeGroup>, nested: &[Nested]) {
        let Some(vg) = vg else { return };
        let told = |(pv, on): (&String, &String)| {
            let nested = nested.iter().find(|nested| nested.slice == *on)?;
            nested.told(vg, vg.pv(pv)?)
        };
        self.doubts.extend(self.pvs.iter().filter_map(told));
    }
}

/// A physical volume of which it could not be told where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// Its name in the text.
    pub pv: String,
    /// Its id.
    pub id: String,
    /// The volumes that it may be, by their size and by nothing that speaks against it; none where its disk is not there.
    pub may_be: Vec<String>,
}

impl Open {
    /// What could not be told, and what to do, as a sentence.
    pub fn told(&self) -> String {
        let Open { pv, id, may_be } = self;
        match may_be.as_slice() {
            [] => format!("{pv} ({id}) is on none of these images"),
            [one] => format!("{pv} ({id}) may be {one}, by its size alone"),
            many => format!(
                "{pv} ({id}) may be {}: nothing tells which",
                many.join(" or ")
            ),
        }
    }
}

/// The array that volumes are members of, by the members' names.
pub type MemberOf = BTreeMap<String, String>;

/// Bytes of volumes that could not be read, by the volumes' names.
pub type Unread = BTreeMap<String, Bytes>;

/// The volume that each physical volume of a group is.
pub fn place(
    vg: &VolumeGroup,
    volumes: &[SharedSource],
    members: &MemberOf,
    unread: &Unread,
) -> Placing {
    let mut search = Search::new(vg, volumes, members, unread);
    search.by_evidence();
    search.by_trial();
    search.finish()
}

/// The volumes of those physical volumes that are told without a trial, by their names in the text.
fn known(
    vg: &VolumeGroup,
    volumes: &[SharedSource],
    members: &MemberOf,
) -> BTreeMap<String, String> {
    let unread = Unread::new();
    let mut search = Search::new(vg, volumes, members, &unread);
    search.by_evidence();
    search.finish().pvs
}

type Placed = BTreeMap<String, usize>;

struct Search<'a> {
    vg: &'a VolumeGroup,
    volumes: &'a [SharedSource],
    members: &'a MemberOf,
    unread: &'a Unread,
    /// The ids in sound labels of the group, by the volume's place in `volumes`.
    labelled: BTreeMap<usize, String>,
    /// Volumes that are not looked at without a label, by their place in `volumes`.
    excluded: BTreeSet<usize>,
    /// For each volume, the ids of the physical volumes that it can be by the texts in its metadata areas.
    rings: Vec<Option<BTreeSet<String>>>,
    placed: Placed,
    evidence: BTreeMap<String, String>,
    doubts: Vec<String>,
}

/// A pair of physical volume and volume, with what speaks for it.
struct Pair<'a> {
    pv: &'a PhysicalVolume,
    index: usize,
    rank: Rank,
}

/// What speaks for a pair, the first thing most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// It has the size that the device had.
    size: bool,
    /// It is long enough.
    long: bool,
    /// Something stands where it must.
    any: bool,
    /// The texts in its metadata areas leave no other physical volume.
    alone: bool,
    /// It is no array. One that is there has another size than its members.
    plain: bool,
    /// How much stands.
    stand: usize,
}

impl<'a> Search<'a> {
    fn new(
        vg: &'a VolumeGroup,
        volumes: &'a [SharedSource],
        members: &'a MemberOf,
        unread: &'a Unread,
    ) -> Search<'a> {
        Search {
            vg,
            volumes,
            members,
            unread,
            labelled: BTreeMap::new(),
            excluded: excluded(vg, volumes, members),
            rings: volumes.iter().map(|v| rings::named(vg, v)).collect(),
            placed: BTreeMap::new(),
            evidence: BTreeMap::new(),
            doubts: Vec::new(),
        }
    }

    fn by_evidence(&mut self) {
        self.by_label();
        self.by_data();
        self.by_rest();
    }

    fn volume(&self, index: usize) -> Option<&'a SharedSource> {
        self.volumes.get(index)
    }

    fn is_size(&self, pv: &PhysicalVolume, index: usize) -> bool {
        let length = self.volume(index).map(|v| v.len());
        pv.dev_size.map(Bytes::from) == length
    }

    fn is_long_enough(&self, pv: &PhysicalVolume, index: usize) -> bool {
        self.volume(index)
            .is_some_and(|v| v.len() >= self.vg.reach(pv))
    }

    /// Whether the label and the texts on a volume let it be this physical volume: a copy of another one's disk is not it.
    fn may_be(&self, pv: &PhysicalVolume, index: usize) -> bool {
        if self.labelled.get(&index).is_some_and(|id| *id != pv.id) {
            return false;
        }
        let named = self.rings.get(index).and_then(Option::as_ref);
        named.is_none_or(|ids| ids.contains(&pv.id))
    }

    fn is_member(&self, index: usize) -> bool {
        self.volume(index)
            .is_some_and(|v| self.members.contains_key(v.name()))
    }

    fn is_taken(&self, index: usize) -> bool {
        // An array and one of its members are not two physical volumes.
        let name = |index: usize| self.volume(index).map(|v| v.name());
        let tied = |a, b| {
            let array = name(a).and_then(|name| self.members.get(name));
            array.is_some() && array.map(String::as_str) == name(b)
        };
        let taken = |i: &usize| *i == index || tied(*i, index) || tied(index, *i);
        self.placed.values().any(taken) || self.excluded.contains(&index)
    }

    fn is_array(&self, index: usize) -> bool {
        let is = |name| self.members.values().any(|array| array == name);
        self.volume(index).is_some_and(|v| is(v.name()))
    }

    fn unknown(&self) -> Vec<&'a PhysicalVolume> {
        let pvs = self.vg.pvs.iter();
        pvs.filter(|pv| !self.placed.contains_key(&pv.name))
            .collect()
    }

    fn take(&mut self, pv: &PhysicalVolume, index: usize, why: String) {
        self.placed.insert(pv.name.clone(), index);
        self.evidence.insert(pv.name.clone(), why);
    }

    /// Of the rest, the pairs with most evidence first; no volume is two physical volumes. Where two pairs have as much
    /// evidence, neither is taken.
    fn by_data(&mut self) {
        let mut pairs = self.pairs();
        // Worst first, so that the best are at the end.
        pairs.sort_by_key(|pair| pair.rank);
        while let Some(best) = pairs.last().map(|pair| pair.rank) {
            let first = pairs.partition_point(|pair| pair.rank < best);
            let equal = pairs.split_off(first);
            for pair in &equal {
                // As much evidence for another pair with either of them is none for this one: it is left to trial.
                let rivals = equal
                    .iter()
                    .filter(|p| p.pv.name == pair.pv.name || p.index == pair.index);
                let free = !self.is_taken(pair.index) && !self.placed.contains_key(&pair.pv.name);
                if rivals.count() == 1 && free {
                    self.take(pair.pv, pair.index, told(pair.rank));
                }
            }
            pairs.retain(|pair| {
                let tied = equal
                    .iter()
                    .any(|p| p.pv.name == pair.pv.name || p.index == pair.index);
                !tied && !self.is_taken(pair.index) && !self.placed.contains_key(&pair.pv.name)
            });
        }
    }

    /// The pairs for which anything speaks.
    fn pairs(&self) -> Vec<Pair<'a>> {
        let expected = starts::expected(self.vg);
        let mut asked = Asked::default();
        let mut pairs = Vec::new();
        for pv in self.unknown() {
            let signs: Vec<&Expected<'_>> =
                expected.iter().filter(|e| e.start.pv == pv.name).collect();
            for (index, volume) in self.volumes.iter().enumerate() {
                if self.is_taken(index) || !self.may_be(pv, index) {
                    continue;
                }
                let stand = signs
                    .iter()
                    .filter(|s| asked.stands(s, index, volume))
                    .count();
                let alone = self.rings.get(index).and_then(Option::as_ref);
                let size = self.is_size(pv, index);
                let alone = alone.is_some_and(|ids| ids.len() == 1);
                let rank = Rank {
                    size,
                    long: self.is_long_enough(pv, index),
                    any: stand > 0,
                    alone: alone && (size || !self.is_member(index)),
                    plain: !self.is_array(index),
                    stand,
                };
                if stand > 0 || rank.alone && rank.long {
                    pairs.push(Pair { pv, index, rank });
                }
            }
        }
        pairs
    }

    /// The one physical volume that is left, where one volume alone has a text of the group in its metadata area.
    fn by_rest(&mut self) {
        let [pv] = self.unknown()[..] else { return };
        let left: Vec<usize> = self.left(pv);
        let named = |i: &usize| self.rings.get(*i).is_some_and(Option::is_some);
        if let [index] = left.iter().copied().filter(named).collect::<Vec<_>>()[..] {
            let why = "the only volume left whose metadata area has texts of the group";
            self.take(pv, index, why.to_owned());
        }
    }

    /// The volumes that a physical volume can still be: of its size, free, with no text that says no.
    fn left(&self, pv: &PhysicalVolume) -> Vec<usize> {
        let fits = |i: &usize| {
            !self.is_taken(*i)
                && self.is_size(pv, *i)
                && self.is_long_enough(pv, *i)
                && self.may_be(pv, *i)
        };
        (0..self.volumes.len()).filter(fits).collect()
    }

    /// What has no evidence of its own: every way, by what the file systems say.
    fn by_trial(&mut self) {
        let unknown = self.unknown();
        let left: BTreeSet<usize> = unknown.iter().flat_map(|pv| self.left(pv)).collect();
        if unknown.is_empty() || unknown.len() > MOST_UNKNOWN || left.len() > MOST_LEFT {
            return;
        }
        let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
        for pv in &unknown {
            let fits = self.left(pv);
            let longer = |way: Vec<usize>| {
                let next = fits.iter().filter(|i| !way.contains(i));
                next.map(|i| [way.as_slice(), &[*i]].concat())
                    .collect::<Vec<_>>()
            };
            ways = ways.into_iter().flat_map(longer).collect();
        }
        let with = |way: &[usize]| {
            let mut all = self.placed.clone();
            let pairs = unknown
                .iter()
                .map(|pv| pv.name.clone())
                .zip(way.iter().copied());
            all.extend(pairs);
            all
        };
        let judges = judges(self.vg, &unknown);
        let score = |placed: &Placed| score(self.vg, &judges, self.volumes, placed);
        let mut scored: Vec<(Score, &[usize])> = ways
            .iter()
            .map(|way| (score(&with(way)), way.as_slice()))
            .collect();
        scored.sort_by_key(|(score, _)| Reverse(*score));
        let without = score(&self.placed);
        let next = scored.get(1).map_or(without, |s| s.0.max(without));
        // A damaged file system has faults in every way, and many more in a wrong one.
        let better = |best: Score| {
            best.0 > next.0 || best.0 == next.0 && best.1.0.saturating_mul(2) < next.1.0
        };
        if let Some((best, way)) = scored.into_iter().next()
            && better(best)
        {
            let why = "of all ways, the file systems check best through this one";
            for (pv, index) in unknown.into_iter().zip(way.iter().copied()) {
                self.take(pv, index, why.to_owned());
            }
        }
    }

    fn finish(mut self) -> Placing {
        if self.unknown().iter().any(|pv| self.left(pv).is_empty()) {
            // What was passed over may still be the disk.
            self.excluded.clear();
        }
        let name = |i: &usize| Some(self.volume(*i)?.name().to_owned());
        let open = self.unknown().into_iter().map(|pv| Open {
            pv: pv.name.clone(),
            id: pv.id.clone(),
            may_be: self.left(pv).iter().filter_map(name).collect(),
        });
        let open = open.collect();
        let placed = self.placed.iter();
        let pvs = placed.filter_map(|(pv, i)| Some((pv.clone(), name(i)?)));
        Placing {
            pvs: pvs.collect(),
            open,
            evidence: self.evidence,
            doubts: self.doubts,
        }
    }
}

/// An array that is as long as one of its members was guessed from equal bytes alone: md keeps room for a superblock. Where
/// the group has several physical volumes of that length, these can be equal too, as after `pvmove`: then the members
/// are looked at, and else the array.
fn excluded(vg: &VolumeGroup, volumes: &[SharedSource], members: &MemberOf) -> BTreeSet<usize> {
    let index = |name: &str| volumes.iter().position(|v| v.name() == name);
    let length = |index: usize| volumes.get(index).map(|v| v.len());
    let pairs = members.iter();
    let pairs = pairs.filter_map(|(member, array)| Some((index(member)?, index(array)?)));
    let equal = pairs.filter(|(member, array)| length(*member) == length(*array));
    equal
        .map(|(member, array)| {
            let sizes = vg.pvs.iter().map(|pv| pv.dev_size.map(Bytes::from));
            match sizes.filter(|size| *size == length(array)).count() {
                0 | 1 => member,
                _ => array,
            }
        })
        .collect()
}

/// What speaks for a pair, in words.
fn told(rank: Rank) -> String {
    let Rank {
        size, alone, stand, ..
    } = rank;
    let mut said = Vec::new();
    if stand > 0 {
        said.push(format!(
            "{stand} of its volumes' beginnings and superblocks stand there"
        ));
    }
    if alone {
        said.push("the texts in its metadata area have only this one in common".to_owned());
    }
    if size {
        said.push("it has the size".to_owned());
    }
    said.join("; ")
}

/// The group with only those volumes visible that lie on unknown physical volumes and on others too, the smallest first:
/// where parts of two disks make one file system that is sound, they belong together. One that lies on a single disk
/// says nothing: another disk can hold as sound a one at the same place.
fn judges(vg: &VolumeGroup, unknown: &[&PhysicalVolume]) -> VolumeGroup {
    let judges = |name: &str| {
        let below = below(vg, name);
        below.len() > 1 && unknown.iter().any(|pv| below.contains(&pv.name))
    };
    let mut seen: Vec<_> = vg.visible().filter(|lv| judges(&lv.name)).collect();
    seen.sort_by_key(|lv| vg.size(lv));
    let names = seen.iter().take(MOST_JUDGES).map(|lv| lv.name.as_str());
    let seen: BTreeSet<&str> = names.collect();
    let mut judges = vg.clone();
    for lv in &mut judges.lvs {
        if !seen.contains(lv.name.as_str()) {
            lv.status.retain(|s| s != "VISIBLE");
        }
    }
    judges
}

/// The physical volumes that a volume lies on.
fn below(vg: &VolumeGroup, lv: &str) -> BTreeSet<String> {
    let (mut todo, mut done) = (vec![lv.to_owned()], BTreeSet::new());
    let mut pvs = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if vg.pv(&name).is_some() {
            pvs.insert(name);
        } else if done.insert(name.clone()) {
            let segments = vg.lv(&name).into_iter().flat_map(|lv| &lv.segments);
            todo.extend(segments.flat_map(|s| s.areas.iter().map(|a| a.on.clone())));
        }
    }
    pvs
}

/// Sound file systems, and what is wrong in the others.
type Score = (usize, Reverse<u64>);

/// How well the file systems of a group check, by where its physical volumes are taken to be: how many are without a
/// fault, and how little is wrong with the others. How much was looked at is no sign: the fuller file system may be
/// another volume's.
fn score(
    vg: &VolumeGroup,
    judges: &VolumeGroup,
    volumes: &[SharedSource],
    placed: &Placed,
) -> Score {
    let pvs = placed
        .iter()
        .filter_map(|(pv, index)| Some((pv.clone(), volumes.get(*index)?.clone())));
    let stack = Stack::new(BTreeMap::new(), vec![(vg.clone(), pvs.collect())]);
    let checks = checks::check(&stack, judges, &super::Damage::default());
    let reports = || checks.iter().flat_map(|c| &c.file_systems).map(|(_, r)| r);
    let sound = reports().filter(|r| r.passed() > 0 && r.failed() == 0 && r.unread_tests() == 0);
    (sound.count(), Reverse(reports().map(|r| r.failed()).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::lvm::text;
    use std::sync::Arc;

    const LENGTH: usize = 64 << 10;

    /// Two physical volumes of one size, and a volume on the second one's second extent.
    fn group() -> VolumeGroup {
        let id = |n| format!("NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBo{n:02}");
        let pv = |n| {
            format!(
                "pv{n} {{ id = \"{}\" dev_size = 128 pe_start = 8 pe_count = 10 }}\n",
                id(n)
            )
        };
        let text = format!(
            "vg {{ id = \"{}\" seqno = 1 extent_size = 8 physical_volumes {{ {} {} }} logical_volumes {{ web {{\n\
             id = \"{}\" status = [\"VISIBLE\"] segment1 {{ start_extent = 0 extent_count = 4 type = \"striped\"\n\
             stripes = [\"pv1\", 1] }} }} }} }}",
            id(9),
            pv(0),
            pv(1),
            id(8)
        );
        VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap()
    }

    /// A disk with or without a swap area where the volume starts.
    fn disk(name: &str, swap: bool) -> SharedSource {
        let mut bytes = vec![0; LENGTH];
        if swap {
            bytes[8192 + 1024] = 1;
            bytes[8192 + 1028] = 3;
            bytes[8192 + 4086..8192 + 4096].copy_from_slice(b"SWAPSPACE2");
        }
        Arc::new(Memory::new(name, bytes))
    }

    fn open(placing: &Placing) -> Vec<(&str, Vec<&str>)> {
        let opens = placing.open.iter();
        opens
            .map(|o| (&*o.pv, o.may_be.iter().map(|v| &**v).collect()))
            .collect()
    }

    /// What stands where the text says tells the disk; the other disk has nothing but its size, and a size is no proof.
    #[test]
    fn a_size_alone_places_nothing() {
        let disks = [disk("a", false), disk("b", true)];
        let placing = place(&group(), &disks, &MemberOf::new(), &Unread::new());
        assert_eq!(placing.pvs.get("pv1").map(String::as_str), Some("b"));
        assert_eq!(open(&placing), [("pv0", vec!["a"])]);
        assert!(placing.open[0].told().contains("by its size alone"));
    }

    /// After pvmove both disks hold the same: either answer would be a guess, and so would the mirror that they look like.
    #[test]
    fn disks_that_are_alike_stay_open() {
        let array = disk("array1", true);
        let disks = [array, disk("a", true), disk("b", true)];
        let members = ["a", "b"].map(|m| (m.to_owned(), "array1".to_owned()));
        let placing = place(&group(), &disks, &MemberOf::from(members), &Unread::new());
        assert_eq!(placing.pvs, BTreeMap::new());
        let both = vec!["a", "b"];
        assert_eq!(open(&placing), [("pv0", both.clone()), ("pv1", both)]);
    }

    /// A disk that is not there is not sought among disks of another size.
    #[test]
    fn a_lost_disk_is_nowhere() {
        let placing = place(
            &group(),
            &[disk("b", true)],
            &MemberOf::new(),
            &Unread::new(),
        );
        assert_eq!(placing.pvs.len(), 1);
        assert_eq!(open(&placing), [("pv0", vec![])]);
        assert!(placing.open[0].told().contains("none of these images"));
    }
}
