//! The texts that were found, one entry for each different text, the best first.
//!
//! The newest is not always the right one: an installer's text is newer than
//! what is sought. So texts are ranked by what can be shown of them, and only
//! then by time. In order: whole and without contradiction; how many of the
//! volumes that it describes show their start where it says ([`Proof`]); when
//! it was written; its seqno; a description of the state after a command
//! before one of the state before; how often it was found.

use super::carve::{Carved, Form};
use super::mda::Header;
use super::metadata::{PhysicalVolume, Segment};
use crate::image::Source;
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use std::collections::BTreeMap;

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
}

/// A text that may be the right one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The text.
    pub carved: Carved,
    /// Where it was found, the first place first.
    pub places: Vec<Place>,
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
    pvs: Vec<PhysicalVolume>,
    lvs: Vec<LvRow>,
    sha256: String,
    proof: Option<Proof>,
    evidence: Vec<String>,
    places: Vec<Place>,
}

/// Puts equal texts together and ranks the rest, the best first.
pub fn gather(found: Vec<(String, Carved)>) -> Vec<Candidate> {
    let mut texts: BTreeMap<String, Candidate> = BTreeMap::new();
    for (image, carved) in found {
        let place = Place {
            image,
            extent: carved.extent,
        };
        match texts.get_mut(&carved.sha256) {
            Some(candidate) => {
                candidate.places.push(place);
                candidate.carved.checksum = candidate.carved.checksum.min(carved.checksum);
            }
            None => {
                let candidate = Candidate {
                    faults: carved.vg.faults(),
                    places: vec![place],
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
    }
    sort(&mut candidates);
    candidates
}

/// Ranks again, after proof was added.
pub fn sort(candidates: &mut [Candidate]) {
    candidates
        .sort_by(|a, b| (b.strength(), &a.carved.sha256).cmp(&(a.strength(), &b.carved.sha256)));
}

/// Marks the texts of a source that a metadata area's header points at, by its CRC.
pub fn check_ring(carved: &mut [Carved], source: &dyn Source, headers: &[Header]) {
    for header in headers {
        for location in &header.locations {
            let place = header.extents(location);
            let sound = header.text(source, location).is_ok();
            for text in carved.iter_mut().filter(|t| t.form == Form::Ring) {
                if place
                    .first()
                    .is_some_and(|p| p.offset == text.extent.offset)
                {
                    text.checksum = if sound { Checksum::Ok } else { Checksum::Bad };
                }
            }
        }
    }
}

impl Candidate {
    /// What it is ranked by, greater being better: see the module's text.
    fn strength(&self) -> impl Ord + use<> {
        let carved = &self.carved;
        let sound = carved.complete && self.faults.is_empty() && carved.checksum != Checksum::Bad;
        let before = carved.about.description.contains("*before*");
        (
            sound,
            self.proof.unwrap_or_default().shown,
            carved.about.creation_time,
            carved.vg.seqno,
            !before,
            self.places.len(),
        )
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
        evidence.extend(self.faults.iter().map(|f| format!("contradiction: {f}")));
        if let Some(proof) = self.proof {
            evidence.push(format!(
                "{} of {} volumes show their start where it says",
                proof.shown, proof.tested
            ));
        }
        evidence.push(match self.places.len() {
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
            pvs: vg.pvs.clone(),
            lvs: lvs.collect(),
            sha256: carved.sha256.clone(),
            proof: self.proof,
            evidence: self.evidence(),
            places: self.places.clone(),
        }
    }
}
