//! The logical volumes, looked at through the stack: what each holds, and whether it is whole.

use super::damage::Damage;
use crate::disk;
use crate::fs::ext_check;
use crate::fs::ext_report::{ExtReport, Verdict};
use crate::fs::probe::{Signature, probe};
use crate::image::{Pieces, SharedSource, Source, read_vec};
use crate::layout::Stack;
use crate::lvm::metadata::VolumeGroup;
use crate::units::{Bytes, Extent, SECTOR};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How much of each volume is hashed for the scripts to compare with: its front, and so many places all over it. The front
/// alone may lie on two members of ten.
const FRONT: Bytes = Bytes::mib(1);
const PLACES: u64 = 16;
const PLACE: Bytes = Bytes::kib(64);

/// A logical volume, looked at.
#[derive(Clone, Debug, Serialize)]
pub struct LvCheck {
    /// The volume group.
    pub vg: String,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// What begins at its start.
    pub holds: Vec<Signature>,
    /// Checks of the file systems in it: partition (0 for the volume itself), and report.
    pub file_systems: Vec<(u32, ExtReport)>,
    /// Its partitions in which an ext superblock was seen: number, and where on the volume.
    #[serde(skip)]
    pub inside: Vec<(u32, Extent)>,
    /// What the last writer overwrote of it, on the half.
    pub overwritten: Vec<Extent>,
    /// Its front and places all over it, in whole sectors, those that could not be read left out, and the SHA-256 of them all
    /// in this order; nothing where none could.
    pub expected: Option<(Vec<Extent>, String)>,
    /// How many such places there are, read or not.
    #[serde(skip)]
    pub places: usize,
    /// What of its images or legs was left out, and does no harm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why its images or legs may not give its last bytes, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Why it could not be looked at, if it could not.
    pub error: Option<String>,
}

impl LvCheck {
    /// In one word.
    pub fn verdict(&self) -> &'static str {
        match self {
            check if check.error.is_some() => "not read",
            check if check.holds.is_empty() => "unknown content",
            check if !check.overwritten.is_empty() => "overwritten in part",
            check if check.file_systems.iter().any(|(_, r)| r.failed() > 0) => "damaged",
            check if check.file_systems.iter().any(|(_, r)| r.unread_tests() > 0) => {
                "whole where read"
            }
            check if check.file_systems.is_empty() => "start found",
            _ => "whole",
        }
    }

    /// Things looked at in its file systems, and how many are as they must be.
    pub fn tally(&self) -> (u64, u64) {
        let sum = |f: fn(&ExtReport) -> u64| self.file_systems.iter().map(|(_, r)| f(r)).sum();
        (sum(ExtReport::passed), sum(ExtReport::tested))
    }
}

/// Looks at every visible volume of a group.
pub fn check(stack: &Stack, vg: &VolumeGroup, damage: &Damage) -> Vec<LvCheck> {
    let one = |name: &str, size| {
        let mut check = LvCheck {
            vg: vg.name.clone(),
            name: name.to_owned(),
            size,
            holds: Vec::new(),
            file_systems: Vec::new(),
            inside: Vec::new(),
            overwritten: damage.of_lv(name),
            expected: None,
            places: 0,
            notes: Vec::new(),
            doubts: Vec::new(),
            error: None,
        };
        match stack.volume(&format!("{}/{name}", vg.name)) {
            Ok(volume) => {
                let told = stack.told(volume.name());
                (check.notes, check.doubts) = (told.notes, told.doubts);
                look(&volume, &mut check);
            }
            Err(error) => check.error = Some(error.to_string()),
        }
        check
    };
    vg.visible().map(|lv| one(&lv.name, vg.size(lv))).collect()
}

fn look(volume: &SharedSource, check: &mut LvCheck) {
    check.holds = probe(&**volume).signatures;
    check.file_systems.extend(file_system(0, &**volume));
    if let Ok(table) = disk::partitions(&**volume) {
        for partition in &table.partitions {
            let name = format!("{}@{}", volume.name(), partition.number);
            let inner = Pieces::slice(name, volume.clone(), partition.extent);
            let Some((number, report)) = file_system(partition.number, &inner) else {
                continue;
            };
            if report.superblock.is_some() {
                check.inside.push((number, partition.extent));
            }
            check.file_systems.push((number, report));
        }
    }
    let places = places(volume.len());
    check.places = places.len();
    check.expected = expected(&**volume, &places);
}

/// The check of an ext file system, where there is one.
fn file_system(partition: u32, volume: &dyn Source) -> Option<(u32, ExtReport)> {
    let report = ext_check::check(volume);
    let none = report.superblock.is_none() && report.verdict != Verdict::Unread;
    (!none).then_some((partition, report))
}

/// A volume's front and places all over it, in whole sectors.
fn places(length: Bytes) -> Vec<Extent> {
    let spread = (1..=PLACES).map(|i| {
        let at = (length - PLACE).0 / PLACES * i / SECTOR * SECTOR;
        Extent::new(Bytes(at), PLACE.min(length))
    });
    let front = Extent::new(Bytes::ZERO, FRONT.min(length));
    let behind = spread.filter(|place| place.offset >= front.end());
    let whole = |place: Extent| Extent::new(place.offset, Bytes(place.length.0 / SECTOR * SECTOR));
    [front].into_iter().chain(behind).map(whole).collect()
}

fn expected(volume: &dyn Source, places: &[Extent]) -> Option<(Vec<Extent>, String)> {
    let (mut read, mut hash) = (Vec::new(), Sha256::new());
    for place in places {
        if let Ok(bytes) = read_vec(volume, *place, FRONT.to_len(1 << 20))
            && !bytes.is_empty()
        {
            read.push(*place);
            hash.update(bytes);
        }
    }
    (!read.is_empty()).then(|| (read, hex::encode(hash.finalize())))
}
