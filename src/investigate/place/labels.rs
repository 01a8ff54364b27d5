//! Labels: the volume that each physical volume's label stands on, and which to read where it stands on several.
//!
//! A clone, a copy beside its disk, or an older image carry the same id. None
//! of them is wrong in itself: they may be of two times. Which one is read is
//! decided by what speaks for it, and where they differ it is said.

use super::Search;
use crate::image::SharedSource;
use crate::lvm::label::Label;
use crate::lvm::mda::Header;
use crate::lvm::metadata::{PhysicalVolume, VolumeGroup};
use crate::lvm::{starts, text};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent, merge};
use std::cmp::Reverse;

/// Bytes that are compared at once, and at the start of a volume.
const PIECE: Bytes = Bytes::kib(64);

/// Bytes in front that are compared: label and metadata area.
const FRONT: Bytes = Bytes::mib(1);

/// Starts of volumes, and places all over the physical volume, that are compared.
const MOST_STARTS: usize = 64;
const PLACES: u64 = 64;

/// Metadata areas that are read: lvm2 makes two at most.
const MOST_AREAS: usize = 4;

/// Arrays lie on each other two deep in real stacks.
const DEEPEST: usize = 8;

/// A volume whose label names a physical volume of the group.
struct Claim<'a> {
    pv: &'a PhysicalVolume,
    index: usize,
    label: Label,
}

impl Claim<'_> {
    fn is_sound(&self) -> bool {
        self.label.checksum == Checksum::Ok
    }
}

/// A claim, with what speaks for it.
struct Weighed<'c> {
    claim: &'c Claim<'c>,
    weight: Weight,
}

/// What speaks for a claim against another, the first thing most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    /// The label's checksum holds.
    sound: bool,
    /// It is long enough for the physical volume.
    long: bool,
    /// The seqno of the text that a sound metadata area on it calls its last.
    seqno: Option<u64>,
    /// It has the size that the label says.
    size: bool,
    /// Bytes that could not be read.
    unread: Reverse<Bytes>,
}

impl Weight {
    /// Whether this is no rival of a better one: too short to be the physical volume, and with no newer text, as the start of
    /// a disk is that somebody kept in a file.
    fn is_a_part_beside(self, best: Weight) -> bool {
        best.sound && best.long && !self.long && self.seqno <= best.seqno
    }
}

/// What comparing two volumes gave.
enum Compared {
    /// So many bytes were compared, and are equal.
    Same(Bytes),
    /// They differ first here.
    Differ(Bytes),
}

impl<'a> Search<'a> {
    /// Volumes whose label names a physical volume of the group. Members of a mirror show the array's label too, and so
    /// does the start of what is wrongly taken for an array: the device's size, which the label holds, tells them apart.
    pub(super) fn by_label(&mut self) {
        let claims = claims(self.vg, self.volumes);
        let sound = claims.iter().filter(|claim| claim.is_sound());
        self.labelled = sound.map(|c| (c.index, c.pv.id.clone())).collect();
        let vg: &'a VolumeGroup = self.vg;
        for pv in &vg.pvs {
            let own: Vec<&Claim<'_>> = claims.iter().filter(|c| c.pv.name == pv.name).collect();
            match self.untied(self.parted(pv, own))[..] {
                [] => {}
                [claim] => self.take(pv, claim.index, by_one(claim)),
                ref several => self.contested(pv, several),
            }
        }
    }

    fn name(&self, index: usize) -> &'a str {
        self.volumes.get(index).map_or("", |v| v.name())
    }

    fn has_size(&self, claim: &Claim<'_>) -> bool {
        self.volumes.get(claim.index).map(|v| v.len()) == Some(claim.label.device_size)
    }

    /// What is taken for a mirror by nothing but what its members have in common, md keeping no room for a superblock in it,
    /// may be a disk and its copy. Where these hold the same it stays a mirror; else each stands for itself.
    fn parted<'c>(&self, pv: &PhysicalVolume, claims: Vec<&'c Claim<'c>>) -> Vec<&'c Claim<'c>> {
        let length = |claim: &Claim<'_>| self.volumes.get(claim.index).map(|v| v.len());
        let is_parted = |array: &Claim<'_>| {
            let over = |claim: &&&Claim<'_>| self.lies_on(array.index, claim.index);
            let members: Vec<&Claim<'_>> = claims.iter().filter(over).copied().collect();
            let guessed = members.iter().any(|m| length(m) == length(array));
            guessed && self.differ(pv, &members)
        };
        let left = claims.iter().copied().filter(|claim| !is_parted(claim));
        left.collect()
    }

    /// Whether any of these holds something else than the first.
    fn differ(&self, pv: &PhysicalVolume, claims: &[&Claim<'_>]) -> bool {
        let mut sources = claims.iter().filter_map(|c| self.volumes.get(c.index));
        let Some(first) = sources.next() else {
            return false;
        };
        let places = places(self.vg, pv);
        sources.any(|other| matches!(compare(first, other, &places), Some(Compared::Differ(_))))
    }

    /// The claims without those of which an array over the volume, or a member below it, says the same with more right. Two
    /// members of an array that is dropped so are not tied to each other.
    fn untied<'c>(&self, mut claims: Vec<&'c Claim<'c>>) -> Vec<&'c Claim<'c>> {
        claims.sort_by_key(|claim| (!self.has_size(claim), claim.index));
        let mut kept: Vec<&Claim<'_>> = Vec::new();
        for claim in claims {
            let is_tied = |other: &&Claim<'_>| {
                self.lies_on(claim.index, other.index) || self.lies_on(other.index, claim.index)
            };
            if !kept.iter().any(is_tied) {
                kept.push(claim);
            }
        }
        kept
    }

    /// Whether a volume is an array over another one, or over an array over it.
    fn lies_on(&self, array: usize, member: usize) -> bool {
        let (array, mut at) = (self.name(array), self.name(member));
        for _ in 0..DEEPEST {
            match self.members.get(at) {
                Some(over) if over == array => return true,
                Some(over) => at = over,
                None => return false,
            }
        }
        false
    }

    /// Takes the best of several volumes with one id, and says so where they do not hold the same.
    fn contested(&mut self, pv: &'a PhysicalVolume, claims: &[&Claim<'_>]) {
        let weighed = claims.iter().filter_map(|claim| {
            let weight = self.weight(pv, claim)?;
            Some(Weighed { claim, weight })
        });
        let weighed: Vec<Weighed<'_>> = weighed.collect();
        let by_right = |w: &&Weighed<'_>| Reverse(w.weight);
        let Some(best) = weighed.iter().min_by_key(by_right) else {
            return;
        };
        let places = places(self.vg, pv);
        let source = |w: &Weighed<'_>| self.volumes.get(w.claim.index);
        let (mut others, mut doubts) = (Vec::new(), Vec::new());
        for other in weighed.iter().filter(|w| w.claim.index != best.claim.index) {
            let (one, two) = (self.name(best.claim.index), self.name(other.claim.index));
            if other.weight.is_a_part_beside(best.weight) {
                others.push(format!("{two}, which is too short for it"));
                continue;
            }
            let compared = source(best)
                .zip(source(other))
                .and_then(|(a, b)| compare(a, b, &places));
            let how = match compared {
                Some(Compared::Same(bytes)) => {
                    others.push(format!("{two}, which is the same in {bytes} compared"));
                    continue;
                }
                Some(Compared::Differ(at)) => format!("which differ, first seen at byte {}", at.0),
                None => "which could not be compared".to_owned(),
            };
            doubts.push(format!(
                "the physical volume {} ({}) lies on {one} and on {two}, {how}; {one} was read, because {}",
                pv.name,
                pv.id,
                because((one, best.weight), (two, other.weight))
            ));
        }
        let mut why = by_one(best.claim);
        if !others.is_empty() {
            why.push_str(&format!("; others with it: {}", others.join("; ")));
        }
        let index = best.claim.index;
        self.doubts.extend(doubts);
        self.take(pv, index, why);
    }

    fn weight(&self, pv: &PhysicalVolume, claim: &Claim<'_>) -> Option<Weight> {
        let volume = self.volumes.get(claim.index)?;
        let unread = self.unread.get(volume.name()).copied();
        Some(Weight {
            sound: claim.is_sound(),
            long: volume.len() >= self.vg.reach(pv),
            seqno: seqno(self.vg, volume, &claim.label),
            size: self.has_size(claim),
            unread: Reverse(unread.unwrap_or_default()),
        })
    }
}

/// The volumes with a label of the group, a sound label before one that is not: lvm2 passes over the latter.
fn claims<'a>(vg: &'a VolumeGroup, volumes: &[SharedSource]) -> Vec<Claim<'a>> {
    let claim = |(index, volume): (usize, &SharedSource)| {
        let labels = Label::all(&**volume, Bytes::ZERO);
        let label = labels.min_by_key(|label| label.checksum != Checksum::Ok)?;
        let pv = vg.pvs.iter().find(|pv| pv.id == label.pv_uuid)?;
        Some(Claim { pv, index, label })
    };
    volumes.iter().enumerate().filter_map(claim).collect()
}

fn by_one(claim: &Claim<'_>) -> String {
    match claim.is_sound() {
        true => "its label has this id".to_owned(),
        false => "its label has this id, though the label's checksum does not hold".to_owned(),
    }
}

/// What speaks most for one volume against another, in words.
fn because((one, best): (&str, Weight), (two, other): (&str, Weight)) -> String {
    if best.sound != other.sound {
        return format!("the checksum of the label of {two} does not hold");
    }
    if best.long != other.long {
        return format!("{two} is too short for it");
    }
    match (best.seqno, other.seqno) {
        (Some(newer), Some(older)) if newer != older => {
            return format!("its metadata area has seqno {newer}, that of {two} {older}");
        }
        (Some(_), None) => return format!("{two} has no sound metadata area of the group"),
        _ => {}
    }
    if best.size != other.size {
        return format!("{two} has another size than the label says");
    }
    let (Reverse(fewer), Reverse(more)) = (best.unread, other.unread);
    if fewer != more {
        return format!("{fewer} of it could not be read, and {more} of {two}");
    }
    format!("nothing tells which is the right one and {one} came first")
}

/// The seqno of the group's text that a sound metadata area calls its last.
fn seqno(vg: &VolumeGroup, volume: &SharedSource, label: &Label) -> Option<u64> {
    let areas = label.metadata_areas.iter().take(MOST_AREAS);
    let headers = areas.filter_map(|area| Header::read(&**volume, area.offset).ok());
    let sound = headers.filter(|header| header.checksum == Checksum::Ok);
    let texts = sound.flat_map(|header| {
        let last = header.locations.iter().filter(|l| l.committed());
        let texts = last.filter_map(|location| header.text(&**volume, location).ok());
        texts.collect::<Vec<_>>()
    });
    let groups = texts.filter_map(|t| VolumeGroup::from_section(&text::section(&t).value));
    groups.filter(|g| g.id == vg.id).map(|g| g.seqno).max()
}

/// Where copies of a physical volume are compared: where its metadata lie, where volumes start, and all over it.
fn places(vg: &VolumeGroup, pv: &PhysicalVolume) -> Vec<Extent> {
    let reach = pv.dev_size.map_or_else(|| vg.reach(pv), Bytes::from);
    let mut places = vec![
        Extent::new(Bytes::ZERO, FRONT),
        Extent::new(reach - FRONT, FRONT),
    ];
    let starts = vg.visible().flat_map(|lv| starts::of_volume(vg, lv));
    let here = starts.filter(|start| start.pv == pv.name).take(MOST_STARTS);
    places.extend(here.map(|start| Extent::new(start.at, PIECE)));
    let spread = (0..PLACES).map(|i| Bytes(reach.0 / PLACES * i / PIECE.0 * PIECE.0));
    places.extend(spread.map(|at| Extent::new(at, PIECE)));
    merge(places)
}

/// Compares two volumes where both could be read; `None` where that is nowhere.
fn compare(one: &SharedSource, two: &SharedSource, places: &[Extent]) -> Option<Compared> {
    let end = one.len().min(two.len());
    let whole = Extent::new(Bytes::ZERO, end);
    let mut same = Bytes::ZERO;
    for place in places.iter().filter_map(|place| place.overlap(whole)) {
        let mut at = place.offset;
        while at < place.end() {
            let length = PIECE.min(place.end() - at);
            let [mut a, mut b] = [(); 2].map(|()| vec![0; length.to_len(1 << 16)]);
            let mut gaps = one.read_at(at, &mut a);
            gaps.add(two.read_at(at, &mut b));
            gaps.clear(at, &mut a);
            gaps.clear(at, &mut b);
            if let Some(other) = a.iter().zip(&b).position(|(a, b)| a != b) {
                return Some(Compared::Differ(at + Bytes(other as u64)));
            }
            let lost = gaps.extents().iter().map(|gap| gap.length);
            same = same + (length - lost.fold(Bytes::ZERO, |sum, length| sum + length));
            at = at + length;
        }
    }
    (same > Bytes::ZERO).then_some(Compared::Same(same))
}

#[cfg(test)]
mod tests {
    use super::super::{MemberOf, Placing, Unread, place};
    use super::*;
    use crate::image::Memory;
    use crate::lvm::{crc, dashed};
    use std::sync::Arc;

    const LENGTH: usize = 128 << 10;
    const ID: &[u8; 32] = b"NiG3aNyC2hZuGAgD3s9P0o0YJnSIBo01";

    fn group(seqno: u64) -> String {
        format!(
            "vg {{\nid = \"{}\"\nseqno = {seqno}\nextent_size = 8\nphysical_volumes {{\npv0 {{\nid = \"{}\"\n\
             dev_size = {}\npe_start = 16\npe_count = 20\n}}\n}}\n}}\n",
            dashed(b"NiG3aNyC2hZuGAgD3s9P0o0YJnSIBo00"),
            dashed(ID),
            LENGTH / 512
        )
    }

    fn vg() -> VolumeGroup {
        VolumeGroup::from_section(&text::section(group(1).as_bytes()).value).unwrap()
    }

    /// A disk with a label, and a metadata area whose last text has this seqno.
    fn disk(seqno: u64) -> Vec<u8> {
        let mut disk = vec![0_u8; LENGTH];
        let label = &mut disk[512..1024];
        label[..8].copy_from_slice(b"LABELONE");
        label[8] = 1;
        label[20] = 32;
        label[24..32].copy_from_slice(b"LVM2 001");
        label[32..64].copy_from_slice(ID);
        label[64..72].copy_from_slice(&(LENGTH as u64).to_le_bytes());
        // One data area, and behind the zeros that end its list one metadata area.
        for (at, number) in [(72, 8192_u64), (104, 4096), (112, 4096)] {
            label[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc(&label[20..]).to_le_bytes();
        label[16..20].copy_from_slice(&sum);
        let text = [group(seqno).as_bytes(), &[0]].concat();
        disk[4608..4608 + text.len()].copy_from_slice(&text);
        let header = &mut disk[4096..4608];
        header[4..20].copy_from_slice(crate::lvm::mda::MAGIC);
        header[20] = 1;
        let numbers = [4096, 4096, 512, text.len() as u64, crc(&text).into()];
        for (at, number) in (24..).step_by(8).zip(numbers) {
            header[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc(&header[4..]).to_le_bytes();
        header[..4].copy_from_slice(&sum);
        disk
    }

    fn source(name: &str, bytes: Vec<u8>) -> SharedSource {
        Arc::new(Memory::new(name, bytes))
    }

    fn placed(disks: &[SharedSource], members: &[(&str, &str)], unread: &[(&str, u64)]) -> Placing {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        let members: MemberOf = members.iter().map(owned).collect();
        let unread = unread.iter().map(|(n, b)| ((*n).to_owned(), Bytes(*b)));
        place(&vg(), disks, &members, &unread.collect::<Unread>())
    }

    fn on(placing: &Placing) -> &str {
        &placing.pvs["pv0"]
    }

    /// An old image given before the disk itself was read in its place, and nothing said so.
    #[test]
    fn the_newer_of_two_is_read_and_both_are_named() {
        let disks = [source("old", disk(3)), source("new", disk(4))];
        let placing = placed(&disks, &[], &[]);
        assert_eq!(on(&placing), "new");
        let [doubt] = &placing.doubts[..] else {
            panic!("{:?}", placing.doubts);
        };
        for words in ["new and on old", "seqno 4, that of old 3", "differ"] {
            assert!(doubt.contains(words), "{doubt}");
        }
    }

    /// Two that differ where volumes lie, and in nothing that tells their age: the first is read, and it is said.
    #[test]
    fn nothing_tells_which() {
        let mut other = disk(3);
        other[LENGTH - 1] = 1;
        let placing = placed(&[source("a", disk(3)), source("b", other)], &[], &[]);
        assert_eq!(on(&placing), "a");
        assert!(placing.doubts[0].contains("nothing tells"), "{placing:?}");
    }

    /// A copy that holds the same is no reason to doubt; of two copies the one with fewer gaps is read.
    #[test]
    fn copies_that_are_equal_are_named_and_not_doubted() {
        let disks = [source("a", disk(3)), source("b", disk(3))];
        let placing = placed(&disks, &[], &[("a", 4096)]);
        assert_eq!((on(&placing), placing.doubts.len()), ("b", 0));
        assert!(
            placing.evidence["pv0"].contains("a, which is the same in 128 KiB"),
            "{placing:?}"
        );
    }

    /// A label that lvm2 itself would pass over is not taken before a sound one, whatever else speaks for it.
    #[test]
    fn a_sound_label_goes_before_a_broken_one() {
        let mut broken = disk(9);
        broken[512 + 200] ^= 1;
        let disks = [source("broken", broken.clone()), source("sound", disk(3))];
        let placing = placed(&disks, &[], &[]);
        assert_eq!((on(&placing), placing.doubts.len()), ("sound", 1));
        assert!(placing.doubts[0].contains("does not hold"), "{placing:?}");
        let alone = placed(&[source("broken", broken)], &[], &[]);
        assert_eq!((on(&alone), alone.doubts.len()), ("broken", 0));
        assert!(alone.evidence["pv0"].contains("does not hold"));
    }

    /// A disk and its older image look like a mirror whose superblocks are lost: read as one, and with gaps of the one
    /// filled from the other, they are a mixture of two times.
    #[test]
    fn what_differs_is_no_mirror() {
        let members = [("old", "array1"), ("new", "array1")];
        let disks = |new: u64| {
            [("array1", 3), ("old", 3), ("new", new)].map(|(name, n)| source(name, disk(n)))
        };
        let placing = placed(&disks(4), &members, &[]);
        assert_eq!((on(&placing), placing.doubts.len()), ("new", 1));
        let placing = placed(&disks(3), &members, &[]);
        assert_eq!((on(&placing), placing.doubts.len()), ("array1", 0));
        // Shorter than the label says, it is no array of this physical volume; a copy on a larger disk is one all the same.
        let (mut array, mut larger) = (disk(3), disk(4));
        array.truncate(LENGTH - 8192);
        larger.resize(LENGTH + 4096, 0);
        let disks = [("array1", array), ("old", disk(3)), ("new", larger)];
        let placing = placed(&disks.map(|(n, bytes)| source(n, bytes)), &members, &[]);
        assert_eq!((on(&placing), placing.doubts.len()), ("new", 1));
    }

    /// The first megabytes of a disk in a file are no rival of the disk; with a newer text they would be.
    #[test]
    fn the_start_of_a_disk_is_no_disk() {
        let part = |seqno: u64| source("part", disk(seqno)[..LENGTH / 2].to_vec());
        let mut changed = disk(3);
        changed[16 << 10] = 1;
        for (seqno, doubts) in [(3, 0), (4, 1)] {
            let disks = [part(seqno), source("disk", changed.clone())];
            let placing = placed(&disks, &[], &[]);
            assert_eq!((on(&placing), placing.doubts.len()), ("disk", doubts));
        }
    }

    /// Halves of a mirror show the array's label: three volumes with one id, and nothing odd about it.
    #[test]
    fn an_array_and_its_members_are_one() {
        let mut half = disk(3);
        half.extend([7; 4096]);
        let mut other = half.clone();
        other[LENGTH - 1] = 1;
        let disks = [
            source("array1", disk(3)),
            source("a", half),
            source("b", other),
        ];
        let members = [("a", "array1"), ("b", "array1")];
        let placing = placed(&disks, &members, &[]);
        assert_eq!((on(&placing), placing.doubts.len()), ("array1", 0));
    }
}
