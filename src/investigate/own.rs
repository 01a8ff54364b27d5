//! Volumes that hold something of their own: disks with a physical volume each, or a file system, are no members,
//! though any two of them can be read as an array of large chunks.
//!
//! A label or a superblock at a volume's start that says just this volume's
//! length cannot be the start of an array over several: that would be longer.
//! Only where the array is as long as its members does the first one begin so,
//! and those are mirrors, or copies of each other, which their bytes show. An
//! old label or superblock in front of an array's data looks the same, so what
//! else lies on the volume has to agree.

use super::arrays::Known;
use super::clues::Gathered;
use crate::fs::probe::{SignatureKind, probe};
use crate::image::Pieces;
use crate::lvm::carve::Carved;
use crate::lvm::label::Label;
use crate::md::clues::{Base, Fact, Family, Sighting};
use crate::md::guess::{Guess, Member};
use crate::md::relations;
use crate::md::sample::Sample;
use crate::md::votes::holds;
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use std::collections::{BTreeMap, BTreeSet};

/// Where one may start: at once, or in a first partition whose table is lost.
const STARTS: [Bytes; 2] = [Bytes::ZERO, Bytes::mib(1)];

/// How much shorter it may be than its volume: file systems leave a part of a group over. As a share, one of so many.
const SHORTER: u64 = 64;

/// Structures in one run of so many bytes count once, as votes do.
const RUN: u64 = 16 << 10;

/// Sightings of a file system on a volume that count.
const FEWEST: usize = 4;

/// Something that begins a volume and is as long.
struct Whole {
    what: String,
    id: String,
    start: Bytes,
    is_pv: bool,
}

/// The members that are volumes of their own, each with the reason.
pub(super) fn volumes(
    members: &[Member],
    gathered: &Gathered,
    known: &Known,
) -> Vec<(usize, String)> {
    let wholes: Vec<Option<Whole>> = members.iter().map(whole).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for whole in wholes.iter().flatten() {
        *count.entry(&whole.id).or_default() += 1;
    }
    let tied = relations::tied(&gathered.sample, members.len());
    let mut own = Vec::new();
    for (index, whole) in wholes.iter().enumerate() {
        let Some(whole) = whole else {
            continue;
        };
        // Two with one id are mirrors, or a copy and its original.
        let once = count.get(whole.id.as_str()) == Some(&1);
        if once && !tied.contains(&index) && agrees(index, whole, gathered, known) {
            let why = format!(
                "a volume of its own: {} at its start says this volume's length, and an array over several would be longer",
                whole.what
            );
            own.push((index, why));
        }
    }
    own
}

/// The members where each file system lies in one piece on a single one, and more of what it says holds so than as the
/// array of the answer: nothing ties them to each other. All members but one show one then, each with the reason.
pub(super) fn in_one_piece(
    members: &[Member],
    gathered: &Gathered,
    guess: &Guess,
) -> Option<Vec<(usize, String)>> {
    /// So much more of what is known must hold, in percent.
    const MORE: usize = 120;
    let told = guess.is_array || members.iter().any(|m| m.superblock.is_some());
    if told || members.len() < 2 {
        return None;
    }
    let (mut things, mut holds) = (0, BTreeMap::new());
    for family in gathered.families() {
        if family.sightings.len() < FEWEST {
            continue;
        }
        let (member, start, count) = piece(family, &gathered.sample)?;
        things += count;
        let what = format!("{} lies in one piece from byte {start}", family.name);
        holds.entry(member).or_insert(what);
    }
    if holds.len() < 2 || holds.len() + 1 < members.len() || things * 100 < guess.landmarks.0 * MORE
    {
        return None;
    }
    let why = |member: usize| match holds.get(&member) {
        Some(what) => format!(
            "a volume of its own: {what} on; of arrays over several only a linear one has that"
        ),
        None => "no other volume is left for it".to_owned(),
    };
    Some((0..members.len()).map(|m| (m, why(m))).collect())
}

/// The member and the start at which most of a file system's structures lie as in one piece, with what is known of it that
/// holds there; `None` where a tenth of the structures lie otherwise.
fn piece(family: &Family, sample: &Sample) -> Option<(usize, i128, usize)> {
    let start = |s: &Sighting| i128::from(s.at.0) - i128::from(s.logical.0);
    let mut count: BTreeMap<(usize, i128), usize> = BTreeMap::new();
    for sighting in &family.sightings {
        *count.entry((sighting.member, start(sighting))).or_default() += 1;
    }
    let (&(member, from), &most) = count.iter().max_by_key(|(_, count)| **count)?;
    if most * 10 < family.sightings.len() * 9 {
        return None;
    }
    let here = family
        .sightings
        .iter()
        .filter(|s| s.member == member && start(s) == from);
    let runs: BTreeSet<u64> = here.map(|s| s.logical.0 / RUN).collect();
    let fact = |fact: &&Fact| {
        let at = u64::try_from(i128::from(fact.logical.0) + from);
        at.is_ok_and(|at| holds(sample.page(member, Bytes(at)), fact.test))
    };
    let facts = family.facts.iter().filter(fact).count();
    Some((member, from, runs.len() + facts))
}

fn whole(member: &Member) -> Option<Whole> {
    if member.superblock.is_some() {
        return None;
    }
    STARTS.into_iter().find_map(|start| whole_at(member, start))
}

fn whole_at(member: &Member, start: Bytes) -> Option<Whole> {
    let length = member.source.len() - start;
    let fits = |l: Bytes| l <= length && (length - l).0 <= length.0 / SHORTER;
    let rest = Extent::new(start, length);
    let volume = Pieces::slice(member.source.name(), member.source.clone(), rest);
    let label = Label::all(&volume, Bytes::ZERO).next();
    if let Some(label) = label.filter(|l| fits(l.device_size) && l.checksum == Checksum::Ok) {
        return Some(Whole {
            what: format!("the LVM label of {}", label.pv_uuid),
            id: label.pv_uuid,
            start,
            is_pv: true,
        });
    }
    use SignatureKind::{Btrfs, Ext2, Ext3, Ext4, Ntfs, Xfs};
    let signatures = probe(&volume).signatures;
    let found = signatures.into_iter().find(|s| {
        matches!(s.kind, Ext2 | Ext3 | Ext4 | Xfs | Btrfs | Ntfs)
            && s.checksum != Checksum::Bad
            && fits(s.extent.length)
    })?;
    let id = found.uuid?;
    Some(Whole {
        what: format!("the superblock of {} {id}", found.kind.as_str()),
        id,
        start,
        is_pv: false,
    })
}

/// Whether nothing on the volume speaks of another that goes over several.
fn agrees(index: usize, whole: &Whole, gathered: &Gathered, known: &Known) -> bool {
    let of_pv = |text: &&Carved| text.vg.pvs.iter().any(|pv| pv.id == whole.id);
    let texts: Vec<&Carved> = gathered.texts(known).filter(of_pv).collect();
    // Stripes over physical volumes are LVM's own: what lies on them cannot be told from an array's.
    let striped = texts.iter().any(|text| {
        let mut visible = text.vg.visible();
        visible.any(|lv| text.vg.linear_extents(lv).is_none())
    });
    if whole.is_pv && striped {
        return true;
    }
    let mut bases = vec![Base::at("its start", Bytes::ZERO)];
    for text in texts {
        let pvs = text.vg.pvs.iter().filter(|pv| pv.id == whole.id);
        bases.extend(pvs.flat_map(|pv| super::clues::bases(text, &pv.name)));
    }
    let strange = |family: &Family| {
        let here = family.sightings.iter().filter(|s| s.member == index);
        let elsewhere = family.sightings.iter().filter(|s| s.member != index);
        let at_home = here.clone().filter(|s| {
            let at = |base: &Base| base.map(s.logical).map(|at| whole.start + at);
            bases.iter().any(|base| at(base) == Some(s.at))
        });
        let (here, at_home) = (here.count(), at_home.count());
        here >= FEWEST && elsewhere.count() >= FEWEST && at_home * 2 < here
    };
    !gathered.families().iter().any(strange)
}
