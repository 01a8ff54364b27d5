//! The texts that were found, one entry for each different text, the best first.
//!
//! Texts of one volume group stand together, under the group's best. Between
//! groups the data decides: the newest text is not always the one that is
//! sought, an installer's is newer. So a group whose best text is whole comes
//! first, then one of whose volumes more show their start where that text
//! says ([`Proof`]), then the younger one.
//!
//! Within a group more volumes are no better: an older text has the volumes
//! that were removed since. What a metadata area's header calls committed goes
//! before what that state has followed ([`super::standing`]). Then only a
//! contradiction counts: a volume that shows its start where another text puts
//! it and not where this one does. In order: whole and without fault in itself;
//! not older than what is committed; without contradiction; put together
//! rather than cut; when it was written; its seqno; a description of the state
//! after a command before one of the state before; how often this state was
//! found.

use super::carve::{Carved, Form, Made, Pointed};
use super::metadata::PhysicalVolume;
use super::segment::Segment;
use super::standing;
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A place where a text was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The image or volume.
    pub image: String,
    /// Where in it.
    #[serde(flatten)]
    pub extent: Extent,
}

/// What the data says of a text: of the volumes tested, how many start where it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Proof {
    /// Volumes that show a file system, partition table or the like at their start.
    pub shown: usize,
    /// Volumes looked at.
    pub tested: usize,
    /// Volumes that show nothing where this text puts them, and something where another text of the group does.
    pub against: usize,
}

/// A text that may be the right one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The text.
    pub carved: Carved,
    /// Where it was found, the first place first.
    pub places: Vec<Place>,
    /// Places beyond those, which are only counted.
    pub more: usize,
    /// Places where this state of the group was found, in whatever form.
    pub agreeing: usize,
    /// Whether a metadata area's header points at any text of this state as committed.
    pub committed: bool,
    /// The seqno that a header calls committed, where this state is older than that one.
    pub superseded_by: Option<u64>,
    /// What the data says of it, once that has been asked.
    pub proof: Option<Proof>,
    /// What cannot be so in it.
    pub faults: Vec<String>,
    /// What is known for and against it, in words.
    pub notes: Vec<String>,
}

/// A logical volume in the JSON of `lvm scan`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LvRow {
    name: String,
    id: String,
    size_bytes: Bytes,
    segments: Vec<Segment>,
}

/// A candidate in the JSON of `lvm scan`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    rank: usize,
    vg: String,
    vg_id: String,
    seqno: u64,
    creation_time: Option<u64>,
    creation_time_utc: Option<String>,
    description: String,
    creation_host: String,
    form: Form,
    image: String,
    offset: Bytes,
    length: Bytes,
    complete: bool,
    fault: Option<String>,
    checksum: Checksum,
    pointed: Pointed,
    committed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<u64>,
    pvs: Vec<PhysicalVolume>,
    lvs: Vec<LvRow>,
    sha256: String,
    proof: Option<Proof>,
    made: Made,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<Extent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces_on: Vec<String>,
    evidence: Vec<String>,
    places: Vec<Place>,
    #[serde(skip_serializing_if = "is_none")]
    more_places: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Candidates as `lvm scan` prints them; each row is made as it is written, so that many of them take no room.
pub struct Rows<'a>(pub &'a [Candidate]);

impl Serialize for Rows<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().zip(1..).map(|(c, rank)| c.row(rank)))
    }
}

/// Puts equal texts together and ranks the rest, the best first.
pub fn gather(found: Vec<(String, Carved)>) -> Vec<Candidate> {
    let mut texts: BTreeMap<String, Candidate> = BTreeMap::new();
    for (image, mut carved) in found {
        let extents = std::mem::take(&mut carved.also_at);
        let places = [carved.extent].into_iter().chain(extents);
        let places = places.map(|extent| Place {
            image: image.clone(),
            extent,
        });
        match texts.get_mut(&carved.sha256) {
            Some(candidate) => {
                candidate.places.extend(places);
                candidate.more += carved.more;
                candidate.learn(carved);
            }
            None => {
                let candidate = Candidate {
                    faults: carved.vg.faults(),
                    places: places.collect(),
                    more: carved.more,
                    agreeing: 0,
                    committed: false,
                    superseded_by: None,
                    proof: None,
                    notes: Vec::new(),
                    carved,
                };
                texts.insert(candidate.carved.sha256.clone(), candidate);
            }
        }
    }
    let mut candidates: Vec<Candidate> = texts.into_values().collect();
    for candidate in &mut candidates {
        candidate.places.sort();
        candidate.places.dedup();
        candidate.faults.truncate(MOST_FAULTS);
    }
    compare(&mut candidates);
    sort(&mut candidates);
    candidates
}

/// A text that contradicts itself once is not usable; a list of thousands of its contradictions helps nobody.
const MOST_FAULTS: usize = 20;

/// Compares the texts of each group: which say the same, which are forks, whose clock went wrong.
fn compare(candidates: &mut [Candidate]) {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.carved.complete {
            let id = candidate.carved.vg.id.clone();
            groups.entry(id).or_default().push(index);
        }
    }
    for group in groups.values() {
        let seqno = |i: &usize| candidates.get(*i).map_or(0, |c| c.carved.vg.seqno);
        let mut group = group.clone();
        group.sort_by_key(seqno);
        for same in group
            .chunk_by(|a, b| seqno(a) == seqno(b))
            .map(<[usize]>::to_vec)
            .collect::<Vec<_>>()
        {
            states(candidates, &same);
        }
        standing::judge(candidates, &group);
    }
}

/// The texts of one seqno of one group: how many states they hold, and how often each was found.
fn states(candidates: &mut [Candidate], same: &[usize]) {
    let mut states: Vec<Vec<usize>> = Vec::new();
    let state_of = |index: usize| candidates.get(index).map(|c| c.carved.vg.without_hints());
    // By a hash of the state: of one seqno a hostile image can hold any number.
    let mut known: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for index in same {
        let Some(state) = state_of(*index) else {
            continue;
        };
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let alike = known.entry(hasher.finish()).or_default();
        let is = |at: &&usize| {
            let first = states.get(**at).and_then(|members| members.first());
            first.is_some_and(|first| state_of(*first).as_ref() == Some(&state))
        };
        match alike.iter().find(is).copied() {
            Some(at) => states
                .get_mut(at)
                .into_iter()
                .for_each(|members| members.push(*index)),
            None => {
                alike.push(states.len());
                states.push(vec![*index]);
            }
        }
    }
    let forks = states.len();
    for members in states {
        let found = || members.iter().filter_map(|i| candidates.get(*i));
        let places = found().map(Candidate::found).sum();
        let committed = found().any(|c| c.carved.pointed == Pointed::Committed);
        for index in members {
            let Some(candidate) = candidates.get_mut(index) else {
                continue;
            };
            candidate.agreeing = places;
            candidate.committed = committed;
            if forks > 1 {
                candidate.notes.push(format!(
                    "a fork: {forks} different states have seqno {}, as after vgcfgrestore",
                    candidate.carved.vg.seqno
                ));
            }
        }
    }
}

/// Ranks again, after proof was added.
pub fn sort(candidates: &mut [Candidate]) {
    let mut best: BTreeMap<&str, &Candidate> = BTreeMap::new();
    for candidate in candidates.iter() {
        let leader = best.entry(&candidate.carved.vg.id).or_insert(candidate);
        if candidate.within() > leader.within() {
            *leader = candidate;
        }
    }
    // The committed text leads even where the data contradict it: what another one shows is the group's all the same.
    let proof = |c: &Candidate| c.proof.unwrap_or_default();
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in candidates.iter().filter(|c| c.usable()) {
        let most = shown.entry(&candidate.carved.vg.id).or_default();
        *most = proof(candidate).shown.max(*most);
    }
    let rank = |(id, leader): (&str, &Candidate)| {
        let most = shown.get(id).filter(|_| proof(leader).against > 0);
        let most = most.copied().unwrap_or(proof(leader).shown);
        (id.to_owned(), leader.between(most))
    };
    let groups: BTreeMap<String, GroupRank> = best.into_iter().map(rank).collect();
    candidates.sort_by(|a, b| {
        let group = |c: &Candidate| groups.get(&c.carved.vg.id).copied();
        (group(b), &b.carved.vg.id, b.within(), &a.carved.sha256).cmp(&(
            group(a),
            &a.carved.vg.id,
            a.within(),
            &b.carved.sha256,
        ))
    });
}

/// What a group is ranked by: its best text is whole; how many of its volumes show their start; when that text was written;
/// its seqno.
type GroupRank = (bool, usize, Option<u64>, u64);

impl Candidate {
    /// What it is ranked by within its group, greater being better: see the module's text.
    fn within(&self) -> impl Ord + use<> {
        let carved = &self.carved;
        let whole = match carved.made {
            _ if carved.complete => 3,
            Made::Joined => 2,
            Made::Rebuilt => 1,
            Made::Found | Made::Wrapped => 0,
        };
        (
            self.usable(),
            self.superseded_by.is_none(),
            Reverse(self.proof.unwrap_or_default().against),
            whole,
            carved.about.creation_time,
            carved.vg.seqno,
            !self.is_before(),
            self.committed,
            self.agreeing,
            self.found(),
            // Of two ways to put pieces together the one that explains more of them.
            if carved.made >= Made::Joined {
                carved.bytes.len()
            } else {
                0
            },
            // Of two texts of one state the file's is what vgcfgrestore takes as it is.
            carved.form == Form::File,
        )
    }

    fn between(&self, shown: usize) -> GroupRank {
        let carved = &self.carved;
        (
            self.usable(),
            shown,
            carved.about.creation_time,
            carved.vg.seqno,
        )
    }

    /// At how many places it was found.
    pub fn found(&self) -> usize {
        self.places.len() + self.more
    }

    /// Whether it is an archive file, written before a command for the state that the command ended.
    pub fn is_before(&self) -> bool {
        self.carved.about.description.contains("*before*")
    }

    /// The same text found once more, perhaps with better evidence.
    fn learn(&mut self, again: Carved) {
        let checksum = self.carved.checksum.min(again.checksum);
        let pointed = self.carved.pointed.and(again.pointed);
        if again.complete && !self.carved.complete {
            self.carved = again;
        }
        self.carved.checksum = checksum;
        self.carved.pointed = pointed;
    }

    /// Whether it could be restored: whole, and nothing in it contradicts itself.
    pub fn usable(&self) -> bool {
        self.carved.complete && self.faults.is_empty() && self.carved.checksum != Checksum::Bad
    }

    /// What is known for and against it, in words.
    pub fn evidence(&self) -> Vec<String> {
        let mut evidence = Vec::new();
        let carved = &self.carved;
        match &carved.fault {
            Some(fault) => evidence.push(format!("not complete: {fault}")),
            None => evidence.push("complete".to_owned()),
        }
        match carved.checksum {
            Checksum::Ok => evidence.push("a metadata area's checksum for it holds".to_owned()),
            Checksum::Bad => {
                evidence.push("a metadata area's checksum for it does not hold".to_owned())
            }
            Checksum::None => {}
        }
        evidence.extend(standing::told(self));
        match carved.made {
            Made::Found => {}
            Made::Wrapped => evidence.push("it goes on at its ring's start".to_owned()),
            Made::Joined | Made::Rebuilt => {
                evidence.push(format!("made of the bytes at {}", carved.made_of()))
            }
        }
        evidence.extend(self.faults.iter().map(|f| format!("contradiction: {f}")));
        if let Some(proof) = self.proof {
            evidence.push(format!(
                "{} of {} volumes show their start where it says",
                proof.shown, proof.tested
            ));
            if proof.against > 0 {
                evidence.push(format!(
                    "{} show their start only where another text of the group puts them",
                    proof.against
                ));
            }
        }
        if self.is_before() {
            evidence.push("an archive file: the state before its command".to_owned());
        }
        if self.agreeing > self.found() {
            evidence.push(format!("the same state stands at {} places", self.agreeing));
        }
        evidence.push(match self.found() {
            1 => "found at 1 place".to_owned(),
            n => format!("found at {n} places"),
        });
        evidence.extend(self.notes.iter().cloned());
        evidence
    }

    /// As `lvm scan` prints it.
    pub fn row(&self, rank: usize) -> Row {
        let (carved, vg) = (&self.carved, &self.carved.vg);
        let lvs = vg.lvs.iter().map(|lv| LvRow {
            name: lv.name.clone(),
            id: lv.id.clone(),
            size_bytes: vg.size(lv),
            segments: lv.segments.clone(),
        });
        let place = self.places.first();
        Row {
            rank,
            vg: vg.name.clone(),
            vg_id: vg.id.clone(),
            seqno: vg.seqno,
            creation_time: carved.about.creation_time,
            creation_time_utc: carved.about.creation_time.map(crate::units::utc),
            description: carved.about.description.clone(),
            creation_host: carved.about.creation_host.clone(),
            form: carved.form,
            image: place.map(|p| p.image.clone()).unwrap_or_default(),
            offset: place.map(|p| p.extent.offset).unwrap_or_default(),
            length: carved.extent.length,
            complete: carved.complete,
            fault: carved.fault.clone(),
            checksum: carved.checksum,
            pointed: carved.pointed,
            committed: self.committed,
            superseded_by: self.superseded_by,
            pvs: vg.pvs.clone(),
            lvs: lvs.collect(),
            sha256: carved.sha256.clone(),
            proof: self.proof,
            made: carved.made,
            pieces: carved.pieces.clone(),
            pieces_on: carved.pieces_on.clone(),
            evidence: self.evidence(),
            places: self.places.clone(),
            more_places: self.more,
        }
    }
}
