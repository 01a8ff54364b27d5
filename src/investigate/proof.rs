//! Texts against the data: does what a text says stand where it says?
//!
//! Linear, striped, mirrored and raid volumes are asked for what begins at
//! their first byte, and arrays, pools, caches, mirrors' logs and snapshots'
//! stores for their own superblocks ([`crate::lvm::starts`]).

use super::signs::Asked;
use crate::image::SharedSource;
use crate::lvm::candidates::{self, Candidate, Proof};
use crate::lvm::metadata::VolumeGroup;
use crate::lvm::starts::{Expected, Sign, expected};
use std::collections::BTreeMap;

/// Texts that the data is asked about, the best first: a real system has hundreds, and an image that was made to be full
/// of texts must not cost a read for each volume of each.
const MOST: usize = 8192;

/// Where texts put the starts of volumes, and what shows there. Volumes and places are numbered: thousands of texts name
/// the same ones.
#[derive(Default)]
struct Starts {
    /// Volumes, by their group's id and their own.
    volumes: BTreeMap<String, usize>,
    /// Places, by the volume's number.
    places: BTreeMap<(usize, String), usize>,
    /// Of each place, whether its volume shows itself there.
    shows: Vec<bool>,
    /// Of each volume, whether it does at any place.
    anywhere: Vec<bool>,
}

impl Starts {
    /// Notes a place of a volume; the numbers of both.
    fn note(&mut self, volume: String, place: String, shows: bool) -> (usize, usize) {
        let next = self.volumes.len();
        let volume = *self.volumes.entry(volume).or_insert(next);
        let next = self.places.len();
        let place = *self.places.entry((volume, place)).or_insert(next);
        self.anywhere.resize(self.volumes.len(), false);
        self.shows.resize(self.places.len(), false);
        if shows {
            self.anywhere
                .get_mut(volume)
                .into_iter()
                .for_each(|s| *s = true);
            self.shows
                .get_mut(place)
                .into_iter()
                .for_each(|s| *s = true);
        }
        (volume, place)
    }

    /// Whether a volume shows itself at another place and not at this.
    fn against(&self, (volume, place): (usize, usize)) -> bool {
        self.anywhere.get(volume) == Some(&true) && self.shows.get(place) == Some(&false)
    }
}

/// Asks the data about the texts that could be restored, and ranks them again.
pub fn prove(texts: &mut [Candidate], volumes: &[SharedSource]) {
    let mut starts = Starts::default();
    let mut seen: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut asked = Asked::default();
    let mut left = MOST;
    for text in texts.iter_mut() {
        let mut noted = Vec::new();
        if text.usable() && left > 0 {
            left -= 1;
            let vg = &text.carved.vg;
            let mut proof = Proof::default();
            for (lv, (place, shows)) in shown(vg, volumes, &mut asked) {
                proof.tested += 1;
                proof.shown += usize::from(shows);
                noted.push(starts.note(format!("{} {lv}", vg.id), place, shows));
            }
            text.proof = Some(proof);
        }
        seen.push(noted);
    }
    for (text, noted) in texts.iter_mut().zip(seen) {
        let against = noted.into_iter().filter(|n| starts.against(*n)).count();
        if let Some(proof) = &mut text.proof {
            proof.against = against;
        }
    }
    candidates::sort(texts);
}

/// For each volume of a group, by its id: where its signs must stand, and whether any does. Each physical volume is taken
/// to be the volume on which most of what must stand there does.
fn shown<'a>(
    vg: &'a VolumeGroup,
    volumes: &[SharedSource],
    asked: &mut Asked,
) -> BTreeMap<&'a str, (String, bool)> {
    let mut by_pv: BTreeMap<&str, Vec<Expected<'_>>> = BTreeMap::new();
    for one in expected(vg) {
        by_pv.entry(one.start.pv).or_default().push(one);
    }
    let mut shown: BTreeMap<&str, (String, bool)> = BTreeMap::new();
    for (pv, signs) in by_pv {
        let on = |(number, volume): (usize, &SharedSource), asked: &mut Asked| {
            let stand = signs.iter().map(|sign| asked.stands(sign, number, volume));
            stand.collect::<Vec<bool>>()
        };
        let each = volumes.iter().enumerate().map(|v| on(v, asked));
        let best = each.max_by_key(|stand| stand.iter().filter(|s| **s).count());
        let id = vg.pv(pv).map_or("", |pv| pv.id.as_str());
        for (sign, stands) in signs.iter().zip(best.unwrap_or_default()) {
            let (place, shows) = shown.entry(&sign.lv.id).or_default();
            if let Sign::Content(_) = sign.sign {
                // An array keeps its place when an image is replaced; its contents tell where it is.
                place.push_str(&format!("{id} {} ", sign.start.at.0));
            }
            *shows |= stands;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::lvm::carve;
    use crate::units::Bytes;
    use std::sync::Arc;

    /// A whole text of a group with one volume in these areas; `time` ranks it.
    fn text(seqno: u64, time: u64, segment: &str) -> String {
        let id = |n: u8| format!("NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBo{n:02}");
        let pv = |n: u8| {
            format!(
                "pv{n} {{\nid = \"{}\"\ndevice = \"/dev/sd{n}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\n\
                 dev_size = 128\npe_start = 8\npe_count = 10\n}}\n",
                id(n)
            )
        };
        format!(
            "vg {{\nid = \"{}\"\nseqno = {seqno}\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\"]\nflags = []\n\
             extent_size = 8\nmax_lv = 0\nmax_pv = 0\nphysical_volumes {{\n{}{}}}\nlogical_volumes {{\nweb {{\n\
             id = \"{}\"\nstatus = [\"READ\", \"VISIBLE\"]\nflags = []\nsegment_count = 1\nsegment1 {{\n\
             start_extent = 0\nextent_count = 4\n{segment}\n}}\n}}\n}}\n}}\n\
             # Generated by LVM2 version 2.03.16(2) (2022-05-18)\ncontents = \"Text Format Volume Group\"\n\
             version = 1\ndescription = \"Write from lvcreate\"\ncreation_host = \"h\"\ncreation_time = {time}\n\n",
            id(0),
            pv(1),
            pv(2),
            id(9)
        )
    }

    fn candidates(texts: &[String]) -> Vec<Candidate> {
        let carved = texts.iter().map(|text| {
            let hit = text.find("seqno").unwrap() as u64;
            let memory = Memory::new("t", text.clone().into_bytes());
            ("t".to_owned(), carve::text_at(&memory, Bytes(hit)).unwrap())
        });
        let found = candidates::gather(carved.collect());
        assert!(found.iter().all(Candidate::usable));
        found
    }

    /// A disk of 64 KiB with a swap area's signature at these extents.
    fn disk(name: &str, extents: &[usize]) -> SharedSource {
        let mut bytes = vec![0; 64 << 10];
        for extent in extents {
            let at = 4096 + extent * 4096;
            bytes[at + 1024] = 1;
            bytes[at + 1028] = 3;
            bytes[at + 4086..at + 4096].copy_from_slice(b"SWAPSPACE2");
        }
        Arc::new(Memory::new(name, bytes))
    }

    fn linear(pv: u8, extent: u64) -> String {
        format!("type = \"striped\"\nstripe_count = 1\nstripes = [\n\"pv{pv}\", {extent}\n]")
    }

    /// The younger text is taken for the right one by its time alone, though the volume is where the older one says.
    #[test]
    fn a_contradicted_text_stands_behind_an_older_one() {
        let mut texts = candidates(&[text(3, 300, &linear(1, 5)), text(2, 200, &linear(1, 1))]);
        assert_eq!(texts[0].carved.vg.seqno, 3);
        prove(&mut texts, &[disk("a", &[1]), disk("b", &[])]);
        assert_eq!(texts[0].carved.vg.seqno, 2);
        assert_eq!(
            texts[0].proof,
            Some(Proof {
                shown: 1,
                tested: 1,
                against: 0
            })
        );
        assert_eq!(
            texts[1].proof,
            Some(Proof {
                shown: 0,
                tested: 1,
                against: 1
            })
        );
        assert!(
            texts[1]
                .evidence()
                .iter()
                .any(|e| e.contains("only where another text"))
        );
    }

    /// Striped and raid volumes proved nothing before: their texts were ranked by time alone.
    #[test]
    fn stripes_and_mirrors_are_asked() {
        let striped = "type = \"striped\"\nstripe_count = 2\nstripe_size = 8\nstripes = [\n\"pv1\", 1,\n\"pv2\", 0\n]";
        let swapped = "type = \"striped\"\nstripe_count = 2\nstripe_size = 8\nstripes = [\n\"pv2\", 6,\n\"pv1\", 1\n]";
        let mut texts = candidates(&[text(3, 300, swapped), text(2, 200, striped)]);
        prove(&mut texts, &[disk("a", &[1]), disk("b", &[])]);
        assert_eq!(texts[0].carved.vg.seqno, 2);
        assert_eq!(texts[0].proof.unwrap().shown, 1);
        assert_eq!(texts[1].proof.unwrap().against, 1);
    }

    /// What shows nowhere is not held against a text: data without a signature is no contradiction.
    #[test]
    fn nothing_seen_is_no_contradiction() {
        let mut texts = candidates(&[text(3, 300, &linear(1, 5)), text(2, 200, &linear(1, 1))]);
        prove(&mut texts, &[disk("a", &[])]);
        assert_eq!(texts[0].carved.vg.seqno, 3);
        assert!(texts.iter().all(|t| t.proof.unwrap().against == 0));
    }
}
