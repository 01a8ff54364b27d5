//! The layout and the scripts' plan, from what was found.

use super::arrays::ArrayFound;
use super::{Investigation, Survey};
use crate::image::{SharedSource, Source, read_vec};
use crate::inputs::Slice;
use crate::layout::{
    ArrayEntry, ImageEntry, Layout, MISSING, Members, PartitionEntry, Stack, VgEntry,
};
use crate::lvm::candidates::Candidate;
use crate::md::superblock::Version;
use crate::script::{Plan, PlanArray, PlanDisk, PlanLv, PlanMember, PlanPv, PlanVg};
use crate::units::{Bytes, Extent, SECTOR};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of each place by which a disk is known again.
const PROOF: Bytes = Bytes(4096);

/// The stack as it is written down; `placed` says which volume each physical volume of the chosen text is.
pub fn layout(
    survey: &Survey,
    arrays: &[ArrayFound],
    chosen: Option<&Candidate>,
    placed: &BTreeMap<String, String>,
) -> Layout {
    let images = survey
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| ImageEntry {
            name: input.name.clone(),
            path: std::path::absolute(input.image.path())
                .unwrap_or_else(|_| input.image.path().to_owned()),
            size: input.image.len(),
            map: input
                .image
                .map()
                .map(|(path, _)| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
            partitions: survey
                .slices
                .iter()
                .filter(|s| s.input == index)
                .filter_map(|s| {
                    Some(PartitionEntry {
                        number: s.number?,
                        offset: input.offset + s.extent.offset,
                        length: s.extent.length,
                    })
                })
                .collect(),
        });
    let vg = |candidate: &Candidate| VgEntry {
        name: candidate.carved.vg.name.clone(),
        text: restore_name(candidate).into(),
        pvs: placed.clone(),
    };
    Layout {
        images: images.collect(),
        arrays: arrays.iter().filter_map(array_entry).collect(),
        vgs: chosen.map(vg).into_iter().collect(),
    }
}

/// The restore file's name: the group's, which LVM's rules keep to harmless characters.
pub fn restore_name(candidate: &Candidate) -> String {
    format!("{}.vg", candidate.carved.vg.name.trim_start_matches('.'))
}

fn array_entry(array: &ArrayFound) -> Option<ArrayEntry> {
    let guess = &array.guess;
    let member = |slot: &Option<String>| slot.clone().unwrap_or_else(|| MISSING.to_owned());
    Some(ArrayEntry {
        name: array.name.clone(),
        level: guess.level?.to_string(),
        layout: guess.layout.clone(),
        chunk_kib: guess.chunk_kib,
        data_offset_sectors: guess.data_offset_sectors,
        member_bytes: array.geometry()?.member_data(),
        metadata: guess.metadata.map(|v| v.to_string()),
        members: guess.members.iter().map(member).collect(),
        half: array.half.clone(),
    })
}

/// The stack in memory, with the half or all of it.
pub fn open(
    slices: &[Slice],
    arrays: &[ArrayFound],
    chosen: Option<&Candidate>,
    placed: &BTreeMap<String, String>,
    members: Members,
) -> Stack {
    let mut sources: BTreeMap<String, SharedSource> = BTreeMap::new();
    for slice in slices {
        sources.insert(slice.name.clone(), slice.source.clone());
    }
    for array in arrays {
        let keep = |name: &str| {
            members == Members::All || array.half.is_empty() || array.half.iter().any(|h| h == name)
        };
        sources.extend(
            array
                .open_with(keep)
                .map(|source| (array.name.clone(), source)),
        );
    }
    let groups = chosen.map(|candidate| {
        let vg = candidate.carved.vg.clone();
        let pvs = placed
            .iter()
            .filter_map(|(pv, name)| Some((pv.clone(), sources.get(name)?.clone())));
        (vg.clone(), pvs.collect())
    });
    Stack::new(sources.clone(), groups.into_iter().collect())
}

/// What the scripts are to do: the arrays and plain volumes under the chosen group, on the half.
pub fn plan(found: &Investigation) -> Plan {
    let mut plan = Plan::default();
    let Some(chosen) = found.chosen() else {
        return plan;
    };
    let placed = found
        .layout
        .vgs
        .first()
        .map(|vg| vg.pvs.clone())
        .unwrap_or_default();
    let vg = &chosen.carved.vg;
    let mut used: Vec<&Slice> = Vec::new();
    for array in found
        .arrays
        .iter()
        .filter(|a| placed.values().any(|v| *v == a.name))
    {
        plan.arrays.extend(plan_array(found, array, &mut used));
    }
    for name in placed.values() {
        if let Some(slice) = found.slices.iter().find(|s| s.name == *name) {
            plan.plain.push(plan_member(found, slice));
            used.push(slice);
        }
    }
    plan.disks = plan_disks(found, &used);
    let pv = |pv: &crate::lvm::metadata::PhysicalVolume| {
        let on = placed.get(&pv.name)?;
        let plain = found.slices.iter().find(|s| s.name == *on);
        Some(PlanPv {
            uuid: pv.id.clone(),
            on: plain.map_or_else(|| on.clone(), overlay_name),
        })
    };
    plan.vgs.push(PlanVg {
        name: vg.name.clone(),
        restore_file: format!("../{}", restore_name(chosen)),
        pvs: vg.pvs.iter().filter_map(pv).collect(),
        lvs: found
            .checks
            .iter()
            .map(|check| PlanLv {
                name: check.name.clone(),
                front: check.front.clone(),
                holds: check.holds.first().map(|s| s.kind.as_str().to_owned()),
            })
            .collect(),
    });
    plan
}

fn plan_array<'a>(
    found: &'a Investigation,
    array: &ArrayFound,
    used: &mut Vec<&'a Slice>,
) -> Option<PlanArray> {
    let geometry = array.geometry()?;
    let guess = &array.guess;
    let in_front = matches!(guess.metadata, Some(Version::V11 | Version::V12));
    let mut slots = Vec::new();
    for slot in &guess.members {
        let kept = slot
            .as_ref()
            .filter(|name| array.half.is_empty() || array.half.contains(name));
        let slice = kept.and_then(|name| found.slices.iter().find(|s| s.name == *name));
        used.extend(slice);
        slots.push(slice.map(|s| plan_member(found, s)));
    }
    Some(PlanArray {
        name: array.name.clone(),
        level: guess.level?.to_string(),
        layout: guess.layout.clone(),
        chunk_kib: guess.chunk_kib,
        // Without a superblock to go by, metadata at the end leaves the data where it is.
        metadata: guess.metadata.unwrap_or(Version::V10).to_string(),
        data_offset_sectors: in_front.then_some(guess.data_offset_sectors),
        member_kib: geometry.member_data().0 >> 10,
        size: geometry.array_size(),
        slots,
    })
}

/// A name that device-mapper and a shell take as it is.
fn overlay_name(slice: &Slice) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    slice.name.chars().map(safe).collect()
}

fn plan_member(found: &Investigation, slice: &Slice) -> PlanMember {
    let input = found.inputs.get(slice.input);
    let base = input.map(|i| i.offset).unwrap_or_default();
    PlanMember {
        name: overlay_name(slice),
        disk: input.map(|i| i.name.clone()).unwrap_or_default(),
        extent: Extent::new(base + slice.extent.offset, slice.extent.length),
    }
}

/// The disks of the members, each with places that tell it from the others: its front, the member's front, and the
/// member's md superblock, which holds an id of its own.
fn plan_disks(found: &Investigation, used: &[&Slice]) -> Vec<PlanDisk> {
    let mut disks: Vec<PlanDisk> = Vec::new();
    for (index, input) in found.inputs.iter().enumerate() {
        let here = || used.iter().filter(|s| s.input == index);
        if here().count() == 0 {
            continue;
        }
        let mut places = vec![Bytes::ZERO];
        for slice in here() {
            let base = input.offset + slice.extent.offset;
            places.push(base);
            let superblocks = crate::md::superblock::Superblock::all(&*slice.source).0;
            places.extend(superblocks.iter().map(|sb| base + sb.at));
        }
        places.sort_unstable();
        places.dedup();
        disks.push(PlanDisk {
            name: input.name.clone(),
            size: input.image.len(),
            proofs: places
                .into_iter()
                .filter_map(|at| digest(&*input.image, at))
                .collect(),
        });
    }
    disks
}

/// The SHA-256 of the sectors at a place; nothing where they cannot be read.
fn digest(image: &dyn Source, at: Bytes) -> Option<(Extent, String)> {
    let left = image.len() - at;
    let length = Bytes(PROOF.0.min(left.0) / SECTOR * SECTOR);
    let extent = Extent::new(at, length);
    let bytes = read_vec(image, extent, PROOF.to_len(4096)).ok()?;
    Some((extent, hex::encode(Sha256::digest(bytes))))
}
