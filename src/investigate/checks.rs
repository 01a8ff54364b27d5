//! The logical volumes, looked at through the stack: what each holds, and whether it is whole.

use super::damage::Damage;
use crate::disk;
use crate::fs::ext_check;
use crate::fs::ext_report::{ExtReport, Verdict};
use crate::fs::probe::{Signature, probe};
use crate::image::{Pieces, SharedSource, Source, read_vec};
use crate::layout::Stack;
use crate::lvm::metadata::VolumeGroup;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How much of each volume's front is hashed, for the scripts to compare with.
const FRONT: Bytes = Bytes::mib(1);

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
    /// What the last writer overwrote of it, on the half.
    pub overwritten: Vec<Extent>,
    /// Length and SHA-256 of its front; nothing where it could not be read.
    pub front: Option<(Bytes, String)>,
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
            overwritten: damage.of_lv(name),
            front: None,
            error: None,
        };
        match stack.volume(&format!("{}/{name}", vg.name)) {
            Ok(volume) => look(&volume, &mut check),
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
            check
                .file_systems
                .extend(file_system(partition.number, &inner));
        }
    }
    check.front = front(&**volume);
}

/// The check of an ext file system, where there is one.
fn file_system(partition: u32, volume: &dyn Source) -> Option<(u32, ExtReport)> {
    let report = ext_check::check(volume);
    let none = report.superblock.is_none() && report.verdict != Verdict::Unread;
    (!none).then_some((partition, report))
}

fn front(volume: &dyn Source) -> Option<(Bytes, String)> {
    let length = FRONT.min(volume.len());
    let bytes = read_vec(
        volume,
        Extent::new(Bytes::ZERO, length),
        FRONT.to_len(1 << 20),
    )
    .ok()?;
    Some((length, hex::encode(Sha256::digest(bytes))))
}
