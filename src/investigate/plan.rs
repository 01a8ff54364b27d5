//! The layout and the scripts' plan, from what was found.

use super::arrays::ArrayFound;
use super::checks::LvCheck;
use super::place::Open;
use super::serve::{forgets, superblocks_serve};
use super::{Investigation, Survey};
use crate::image::{Pieces, SharedSource, Source, read_vec};
use crate::inputs::{Input, Slice};
use crate::layout::{
    ArrayEntry, ImageEntry, Layout, MISSING, Members, PartitionEntry, Stack, VgEntry,
    places as places_of,
};
use crate::lvm::candidates::Candidate;
use crate::lvm::label::Label;
use crate::lvm::metadata::{LogicalVolume, PhysicalVolume, VolumeGroup};
use crate::lvm::standing;
use crate::md::array::is_whole;
use crate::md::geometry::Geometry;
use crate::md::superblock::{Superblock, Version};
use crate::parse::Checksum;
use crate::script::{Plan, PlanArray, PlanDisk, PlanLv, PlanMember, PlanPv, PlanVg};
use crate::units::{Bytes, Extent, SECTOR};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of each place by which a disk is known again.
const PROOF: Bytes = Bytes(4096);

/// Places that hold something and that a disk is known by, where it has as many.
const FEWEST_PROOFS: usize = 4;

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
            known_by: places_of(&*input.image),
            part: (input.source.len() < input.image.len())
                .then(|| Extent::new(input.offset, input.source.len())),
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
    if let Some(reshape) = &guess.reshape {
        let side = &reshape.halves.below;
        return Some(ArrayEntry {
            name: array.name.clone(),
            level: side.level.to_string(),
            layout: side.layout.clone(),
            chunk_kib: Some(side.chunk_kib),
            data_offset_sectors: side.data_offsets_sectors.first().copied().unwrap_or(0),
            data_offsets_sectors: Vec::new(),
            member_bytes: reshape.member_bytes,
            members_bytes: Vec::new(),
            metadata: guess.metadata.map(|v| v.to_string()),
            members: reshape.members.iter().map(member).collect(),
            half: Vec::new(),
            bad_blocks: array.bad_blocks(),
            reshape: Some(reshape.halves.clone()),
        });
    }
    Some(ArrayEntry {
        name: array.name.clone(),
        level: guess.level?.to_string(),
        layout: guess.layout.clone(),
        chunk_kib: guess.chunk_kib,
        data_offset_sectors: guess.data_offset_sectors,
        data_offsets_sectors: guess.data_offsets_sectors.clone().unwrap_or_default(),
        member_bytes: array.geometry()?.member_data(),
        members_bytes: guess.members_bytes.clone().unwrap_or_default(),
        metadata: guess.metadata.map(|v| v.to_string()),
        members: guess.members.iter().map(member).collect(),
        half: array.half.clone(),
        bad_blocks: array.bad_blocks(),
        reshape: None,
    })
}

/// The stack in memory, with the half or all of it.
pub fn open(
    (inputs, slices): (&[Input], &[Slice]),
    arrays: &[ArrayFound],
    chosen: Option<&Candidate>,
    placed: &BTreeMap<String, String>,
    members: Members,
) -> Stack {
    let mut sources: BTreeMap<String, SharedSource> = BTreeMap::new();
    for input in inputs {
        sources.insert(input.name.clone(), input.image.clone());
    }
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
        let vg = VolumeGroup::clone(&candidate.carved.vg);
        let pvs = placed
            .iter()
            .filter_map(|(pv, name)| Some((pv.clone(), sources.get(name)?.clone())));
        (vg.clone(), pvs.collect())
    });
    Stack::new(sources.clone(), groups.into_iter().collect())
}

/// What the scripts are to do: the arrays and plain volumes under the chosen group, on the half.
///
/// `text` is the restore file's.
pub fn plan(found: &Investigation, text: &str) -> Plan {
    let (Some(chosen), Some(stack)) = (found.chosen(), found.stack(Members::All)) else {
        return Plan::default();
    };
    let path = format!("../{}", restore_name(chosen));
    let vg = &chosen.carved.vg;
    let restore = RestoreFile { path: &path, text };
    let mut plan = plan_of(&found.layout, &stack, vg, restore, &found.checks);
    for planned in &mut plan.vgs {
        let open = found.placing.open.iter().map(Open::told);
        let doubts = found.placing.doubts.iter().cloned();
        planned.open.splice(..0, open.chain(doubts));
        planned.doubtful = doubtful(chosen, &found.candidates);
    }
    for planned in &mut plan.arrays {
        let array = found.arrays.iter().find(|a| a.name == planned.name);
        planned.unproven = array.and_then(unproven);
    }
    plan
}

/// Where the physical volumes of a text lie, by what is known of another text of the group: by their ids, as lvm2 numbers
/// `pv0`, `pv1` anew at every write.
pub fn by_ids(
    known: &BTreeMap<String, String>,
    of: &VolumeGroup,
    text: &VolumeGroup,
) -> BTreeMap<String, String> {
    let place = |pv: &PhysicalVolume| {
        let same = of.pvs.iter().find(|other| other.id == pv.id)?;
        Some((pv.name.clone(), known.get(&same.name)?.clone()))
    };
    text.pvs.iter().filter_map(place).collect()
}

/// A physical volume that is to lie where a sound label says that another one of the group lies, a sentence.
pub fn mislaid(
    vg: &VolumeGroup,
    placed: &BTreeMap<String, String>,
    stack: &Stack,
) -> Option<String> {
    let says = |pv: &PhysicalVolume| {
        let on = placed.get(&pv.name)?;
        let volume = stack.volume(on).ok()?;
        let labels = Label::all(&*volume, Bytes::ZERO);
        let labels = labels.filter(|label| label.checksum == Checksum::Ok);
        let mut others = labels.filter_map(|label| {
            let is_other = |other: &&PhysicalVolume| other.id == label.pv_uuid && other.id != pv.id;
            vg.pvs.iter().find(is_other)
        });
        let other = others.next()?;
        Some(format!(
            "{} is to lie on {on}, whose label is that of {}",
            pv.name, other.name
        ))
    };
    vg.pvs.iter().find_map(says)
}

/// What of the answer is not sure enough to be written to a disk, a sentence each; `stack` has all members.
pub fn doubts(
    vg: &VolumeGroup,
    placed: &BTreeMap<String, String>,
    arrays: &[ArrayFound],
    stack: &Stack,
) -> Vec<String> {
    let used = |a: &&ArrayFound| placed.values().any(|on| *on == a.name);
    let arrays = || arrays.iter().filter(used);
    let mut doubts: Vec<String> = arrays().filter_map(unproven).collect();
    doubts.extend(arrays().filter_map(|a| {
        let slots: Vec<bool> = a.guess.members.iter().map(Option::is_some).collect();
        not_whole(&a.name, &a.geometry()?, &slots)
    }));
    doubts.extend(too_short(vg, placed, stack));
    doubts
}

/// Why the chosen text may not be the group's last state, a sentence each. Who says that it is wanted all the same, by
/// writing scripts for it with `disinter script`, has settled that.
pub fn doubtful(chosen: &Candidate, texts: &[Candidate]) -> Vec<String> {
    let mut doubts = standing::doubts(chosen, texts);
    doubts.extend(passed_over(chosen, texts));
    doubts
}

/// What is left of a younger text of the group than the chosen one, a sentence: volumes may lie elsewhere since. A text
/// without volumes is what `vgremove` leaves, and passed over on purpose; a higher number with an earlier time is of before
/// a `vgcfgrestore`.
pub fn passed_over(chosen: &Candidate, texts: &[Candidate]) -> Option<String> {
    let of = |text: &Candidate| (text.carved.vg.seqno, text.carved.about.creation_time);
    let (seqno, time) = of(chosen);
    let is_younger = |text: &&Candidate| {
        let (other, written) = of(text);
        let removed = text.carved.complete && text.carved.vg.lvs.is_empty();
        text.carved.vg.id == chosen.carved.vg.id
            && other > seqno
            && !removed
            && written
                .zip(time)
                .is_none_or(|(written, time)| written >= time)
    };
    let younger = texts
        .iter()
        .filter(is_younger)
        .max_by_key(|text| of(text).0)?;
    Some(format!(
        "the text of {} is seqno {seqno}, and there was a younger one, seqno {}, that is not whole, that the data contradict or that no header points at: \
         its volumes may lie elsewhere",
        chosen.carved.vg.name,
        of(younger).0
    ))
}

fn unproven(array: &ArrayFound) -> Option<String> {
    let open = || {
        format!(
            "the order of {} is not proven ({})",
            array.name,
            array.guess.open()
        )
    };
    array.guess.ambiguous.then(open)
}

/// What keeps an array from being started with the members that are there.
fn not_whole(name: &str, geometry: &Geometry, there: &[bool]) -> Option<String> {
    let is_there = |slot: usize| there.get(slot).copied().unwrap_or(false);
    (!is_whole(geometry, &is_there)).then(|| {
        format!(
            "{} of {} members of {name} are here, and some of its bytes are on none of them",
            there.iter().filter(|there| **there).count(),
            geometry.members()
        )
    })
}

/// A member that is no part of a disk, as an array over arrays has them: mdadm would be told that it is missing, and go on
/// without it.
fn unplaced(name: &str, names: &[Option<&String>], slots: &[Option<PlanMember>]) -> Option<String> {
    let (member, _) = names
        .iter()
        .zip(slots)
        .find(|(name, slot)| name.is_some() && slot.is_none())?;
    let member = member.map_or("", String::as_str);
    Some(format!(
        "{member}, a member of {name}, is no part of a disk"
    ))
}

/// Where an array's first MiB lies, which is what lvm2 writes to: in whole sectors of its members' data.
fn fronts(geometry: &Geometry) -> Vec<(usize, Extent)> {
    let end = Bytes::mib(1).min(geometry.array_size());
    let (mut fronts, mut at) = (Vec::<(usize, Extent)>::new(), Bytes::ZERO);
    while at < end {
        let (places, run) = geometry.places(at);
        let run = run.min(end - at).max(Bytes(SECTOR));
        for place in places {
            let grows = |(slot, extent): &&mut (usize, Extent)| {
                *slot == place.slot && extent.end() == place.offset
            };
            match fronts.iter_mut().find(grows) {
                Some((_, extent)) => extent.length = extent.length + run,
                None => fronts.push((place.slot, Extent::new(place.offset, run))),
            }
        }
        at = at + run;
    }
    fronts
}

/// Physical volumes that are to lie where there is no room for them.
fn too_short(vg: &VolumeGroup, placed: &BTreeMap<String, String>, stack: &Stack) -> Vec<String> {
    let short = |pv: &PhysicalVolume| {
        let on = placed.get(&pv.name)?;
        let has = stack.volume(on).ok()?.len();
        let needs = vg.reach(pv);
        (has < needs).then(|| {
            format!(
                "{} ({}) reaches to {needs}, and {on} has only {has}",
                pv.name, pv.id
            )
        })
    };
    vg.pvs.iter().filter_map(short).collect()
}

/// The restore file that the scripts give to lvm2.
#[derive(Clone, Copy, Debug)]
pub struct RestoreFile<'a> {
    /// Where it lies, from the scripts' folder.
    pub path: &'a str,
    /// What stands in it.
    pub text: &'a str,
}

/// What the scripts are to do for one group of a layout, whose volumes were checked.
pub fn plan_of(
    layout: &Layout,
    stack: &Stack,
    vg: &VolumeGroup,
    restore: RestoreFile<'_>,
    checks: &[LvCheck],
) -> Plan {
    let entry = layout.vgs.iter().find(|entry| entry.name == vg.name);
    let placed = entry.map(|entry| entry.pvs.clone()).unwrap_or_default();
    let below = |name: &String| placed.values().any(|v| v == name);
    let of = View { layout, stack };
    let arrays = layout.arrays.iter().filter(|a| below(&a.name));
    let mut plan = Plan {
        arrays: arrays.filter_map(|entry| of.array(entry)).collect(),
        plain: placed.values().filter_map(|name| of.member(name)).collect(),
        ..Plan::default()
    };
    plan.disks = of.disks(&plan);
    let pv = |pv: &PhysicalVolume| {
        let on = placed.get(&pv.name)?;
        Some(PlanPv {
            uuid: pv.id.clone(),
            on: of.member(on).map_or_else(|| on.clone(), |plain| plain.name),
            size: vg.reach(pv),
        })
    };
    let has = |lv: &LogicalVolume, kind: &str| lv.segments.iter().any(|s| s.kind.starts_with(kind));
    let named = |lv: &LogicalVolume| lv.name.clone();
    let thin_pools: Vec<String> = vg
        .lvs
        .iter()
        .filter(|lv| has(lv, "thin-pool"))
        .map(named)
        .collect();
    let in_pools = vg.visible().filter(|lv| !has(lv, "thin-pool"));
    let thin_volumes = match thin_pools.as_slice() {
        [] => Vec::new(),
        _ => in_pools.map(named).collect(),
    };
    plan.vgs.push(PlanVg {
        name: vg.name.clone(),
        id: vg.id.clone(),
        restore_file: restore.path.to_owned(),
        restore_sha256: hex::encode(Sha256::digest(restore.text)),
        notes: notes(vg),
        open: too_short(vg, &placed, stack),
        doubtful: Vec::new(),
        unequal: checks.iter().flat_map(|c| c.doubts.clone()).collect(),
        pvs: vg.pvs.iter().filter_map(pv).collect(),
        // A pool is no device that anybody reads.
        lvs: checks
            .iter()
            .filter(|check| !thin_pools.contains(&check.name))
            .map(|check| planned_lv(vg, check))
            .collect(),
        thin_pools,
        thin_volumes,
        skips: vg
            .visible()
            .any(|lv| lv.flags.iter().any(|f| f == "ACTIVATION_SKIP")),
    });
    plan
}

fn planned_lv(vg: &VolumeGroup, check: &LvCheck) -> PlanLv {
    PlanLv {
        name: check.name.clone(),
        expected: check.expected.clone(),
        places: check.places,
        start_writes: vg.lv(&check.name).and_then(|lv| start_writes(vg, lv)),
        holds: check.holds.first().map(|s| s.kind.as_str().to_owned()),
        inside: check.inside.clone(),
    }
}

/// Why the start of a volume may write to where it lies, read only or not: anything but stripes and single pieces on
/// physical volumes has metadata of its own, and what that says is done at once, a resync over whole images too.
fn start_writes(vg: &VolumeGroup, lv: &LogicalVolume) -> Option<String> {
    const PLAIN: [&str; 4] = ["striped", "linear", "error", "zero"];
    let other = lv
        .segments
        .iter()
        .find(|s| !PLAIN.contains(&s.kind.as_str()));
    if let Some(segment) = other {
        return Some(format!("it is {}", segment.kind));
    }
    let areas = || lv.segments.iter().flat_map(|s| &s.areas);
    if let Some(below) = areas().find(|area| vg.lv(&area.on).is_some()) {
        return Some(format!("it lies on {}", below.on));
    }
    let snapshots = vg.lvs.iter().flat_map(|l| &l.segments);
    let mut snapshots = snapshots
        .filter(|s| s.kind == "snapshot")
        .flat_map(|s| &s.uses);
    let part = snapshots.find(|part| part.lv == lv.name)?;
    Some(match part.key.as_str() {
        "origin" => "it has a snapshot".to_owned(),
        _ => "it is a snapshot".to_owned(),
    })
}

/// What lvm2 wants to be told of a group before it starts.
fn notes(vg: &VolumeGroup) -> Vec<String> {
    let mut notes = Vec::new();
    if vg.status.iter().any(|s| s == "EXPORTED") {
        notes.push("the group was exported: lvm2 starts nothing of it before vgimport".to_owned());
    }
    if let Some(system) = &vg.system_id {
        notes.push(format!(
            "the group belongs to the machine {system}: lvm2 passes it over unless local/extra_system_ids names that"
        ));
    }
    notes
}

/// A layout with its volumes open.
struct View<'a> {
    layout: &'a Layout,
    stack: &'a Stack,
}

impl View<'_> {
    /// Where a volume lies on its image; `None` for an array.
    fn place(&self, name: &str) -> Option<(&ImageEntry, Extent)> {
        let whole = |image: &ImageEntry| Extent::new(Bytes::ZERO, image.size);
        if let Some(image) = self.layout.images.iter().find(|i| i.name == name) {
            return Some((image, image.part.unwrap_or(whole(image))));
        }
        let (image, part) = name.rsplit_once('@')?;
        let image = self.layout.images.iter().find(|i| i.name == image)?;
        let extent = match part.split_once('+') {
            Some((offset, length)) => {
                Extent::new(Bytes(offset.parse().ok()?), Bytes(length.parse().ok()?))
            }
            None => {
                let number: u32 = part.parse().ok()?;
                let of = image.partitions.iter().find(|p| p.number == number)?;
                Extent::new(of.offset, of.length)
            }
        };
        extent.overlap(whole(image)).map(|extent| (image, extent))
    }

    fn member(&self, name: &str) -> Option<PlanMember> {
        let (image, extent) = self.place(name)?;
        Some(PlanMember {
            name: overlay_name(name),
            disk: image.name.clone(),
            extent,
            data_offset_sectors: None,
        })
    }

    fn array(&self, entry: &ArrayEntry) -> Option<PlanArray> {
        // mdadm would go on with the reshape, or make an array of one geometry out of two.
        if entry.reshape.is_some() {
            return None;
        }
        let geometry = entry.geometry().ok()?;
        let kept = |name: &&String| {
            *name != MISSING && (entry.half.is_empty() || entry.half.contains(name))
        };
        let names: Vec<Option<&String>> = entry
            .members
            .iter()
            .map(|name| Some(name).filter(kept))
            .collect();
        // A superblock that is there may be of another array: where the data begins says which version there is room for.
        let in_front = entry.data_offset_sectors > 0 || !entry.data_offsets_sectors.is_empty();
        let metadata = match (in_front, entry.metadata.as_deref()) {
            (true, Some("1.1")) => Some(Version::V11),
            (true, _) => Some(Version::V12),
            (false, Some("0.90")) => Some(Version::V090),
            (false, Some("1.0")) => Some(Version::V10),
            // Nothing is left of a superblock; nothing says that there was one.
            (false, _) => None,
        };
        let slots = names.iter().zip(0..).map(|(name, slot)| {
            let mut member = self.member((*name)?)?;
            let own = entry.data_offsets_sectors.get(slot).copied();
            member.data_offset_sectors = own.filter(|_| entry.data_offsets_sectors.len() > 1);
            Some(member)
        });
        let slots: Vec<Option<PlanMember>> = slots.collect();
        let there: Vec<bool> = slots.iter().map(Option::is_some).collect();
        let not_whole = unplaced(&entry.name, &names, &slots)
            .or_else(|| not_whole(&entry.name, &geometry, &there));
        let serve = superblocks_serve(self.stack, entry, &geometry, &names).unwrap_or(false);
        Some(PlanArray {
            name: entry.name.clone(),
            level: entry.level.clone(),
            layout: entry.layout.clone(),
            chunk_kib: entry.chunk_kib,
            metadata: metadata.map(|version| version.to_string()),
            data_offset_sectors: in_front.then_some(entry.data_offset_sectors),
            member_kib: geometry.member_data().0 >> 10,
            size: geometry.array_size(),
            superblocks_serve: serve,
            unproven: None,
            not_whole,
            forgets: match serve {
                true => None,
                false => forgets(self.stack, entry, &names),
            },
            fronts: fronts(&geometry),
            slots,
        })
    }

    /// The disks of a plan's members, each with places that tell it from the others: its front, the member's front,
    /// and the member's md superblock, which holds an id of its own.
    fn disks(&self, plan: &Plan) -> Vec<PlanDisk> {
        let mut disks: Vec<PlanDisk> = Vec::new();
        for image in &self.layout.images {
            let here: Vec<&PlanMember> = plan.members().filter(|m| m.disk == image.name).collect();
            let Ok(source) = self.stack.volume(&image.name) else {
                continue;
            };
            if here.is_empty() {
                continue;
            }
            // Only a part of the disk may have been examined: what is read lies so far behind the disk's start.
            let shift = image.part.map_or(Bytes::ZERO, |part| part.offset);
            let mut places = vec![Bytes::ZERO];
            for member in here {
                let base = member.extent.offset - shift;
                let extent = Extent::new(base, member.extent.length);
                let slice = Pieces::slice(member.name.clone(), source.clone(), extent);
                places.push(base);
                let superblocks = Superblock::all(&slice).0;
                places.extend(superblocks.iter().map(|sb| base + sb.at));
            }
            places.sort_unstable();
            places.dedup();
            let proofs = places
                .into_iter()
                .filter_map(|at| self.proof(&image.name, shift + at));
            let mut disk = PlanDisk {
                name: image.name.clone(),
                size: image.size,
                proofs: proofs.collect(),
            };
            self.prove_more(&mut disk);
            disks.push(disk);
        }
        self.tell_apart(&mut disks);
        disks
    }

    /// Adds places all over a disk until enough of them hold something: its fronts may be blank, or may not have been read,
    /// and then its size would be all that it is known by.
    fn prove_more(&self, disk: &mut PlanDisk) {
        let blank = hex::encode(Sha256::digest(vec![0; PROOF.to_len(4096)]));
        let telling = |proofs: &[(Extent, String)]| proofs.iter().filter(|p| p.1 != blank).count();
        for place in places(disk.size) {
            if telling(&disk.proofs) >= FEWEST_PROOFS {
                return;
            }
            // One blank place is as good as many.
            let found = self.proof(&disk.name, place);
            let known = |p: &(Extent, String)| {
                disk.proofs.contains(p) || p.1 == blank && !disk.proofs.is_empty()
            };
            let new: Vec<_> = found.into_iter().filter(|p| !known(p)).collect();
            disk.proofs.extend(new);
        }
    }

    /// Adds to disks of one size that look alike at their fronts, as those whose superblocks were wiped do, a place where
    /// they differ. Mirrors may differ nowhere: then a person has to say which is which. A mirror that is left out may be
    /// plugged in all the same, and be older.
    fn tell_apart(&self, disks: &mut [PlanDisk]) {
        let planned: Vec<String> = disks.iter().map(|d| d.name.clone()).collect();
        for one in 0..disks.len() {
            for other in one + 1..disks.len() {
                let Some(place) = self.difference(disks.get(one), disks.get(other)) else {
                    continue;
                };
                for disk in [one, other] {
                    let proof = disks.get(disk).and_then(|d| self.proof(&d.name, place));
                    if let (Some(disk), Some(proof)) = (disks.get_mut(disk), proof) {
                        disk.proofs.push(proof);
                    }
                }
            }
        }
        for disk in &mut *disks {
            for other in self
                .layout
                .images
                .iter()
                .filter(|i| !planned.contains(&i.name))
            {
                let other = PlanDisk {
                    name: other.name.clone(),
                    size: other.size,
                    proofs: Vec::new(),
                };
                let place = self.difference(Some(disk), Some(&other));
                let proof = place.and_then(|at| self.proof(&disk.name, at));
                disk.proofs.extend(proof);
            }
            disk.proofs.sort();
            disk.proofs.dedup();
        }
    }

    /// A place where two disks differ, where their proofs do not tell that.
    fn difference(&self, one: Option<&PlanDisk>, other: Option<&PlanDisk>) -> Option<Bytes> {
        let (one, other) = (one?, other?);
        let known = |(extent, sum): &(Extent, String)| {
            self.proof(&other.name, extent.offset).map(|p| p.1) != Some(sum.clone())
        };
        if one.size != other.size || one.proofs.iter().any(known) {
            return None;
        }
        places(one.size).find(|at| {
            let (a, b) = (self.proof(&one.name, *at), self.proof(&other.name, *at));
            a.is_some() && b.is_some() && a != b
        })
    }

    /// The SHA-256 of the sectors at a place of a disk, which counts from the disk's start whatever part was examined.
    fn proof(&self, disk: &str, at: Bytes) -> Option<(Extent, String)> {
        let image = self.layout.images.iter().find(|i| i.name == disk)?;
        let shift = image.part.map_or(0, |part| part.offset.0);
        let source = self.stack.volume(disk).ok()?;
        let (extent, sum) = digest(&*source, Bytes(at.0.checked_sub(shift)?))?;
        Some((
            Extent::new(Bytes(shift) + extent.offset, extent.length),
            sum,
        ))
    }
}

/// Places of a disk, dense in front, where even an empty array holds something, then over all of it.
fn places(disk: Bytes) -> impl Iterator<Item = Bytes> {
    let dense = (0..256).map(|i| i * (64 << 10));
    let wide = (0..1024).map(move |i| disk.0 / 1024 * i / PROOF.0 * PROOF.0);
    dense.chain(wide).map(Bytes).filter(move |at| *at < disk)
}

/// A name that device-mapper and a shell take as it is.
fn overlay_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(safe).collect()
}

/// The SHA-256 of the sectors at a place; nothing where they cannot be read.
fn digest(image: &dyn Source, at: Bytes) -> Option<(Extent, String)> {
    let left = image.len() - at;
    let length = Bytes(PROOF.0.min(left.0) / SECTOR * SECTOR);
    let extent = Extent::new(at, length);
    let bytes = read_vec(image, extent, PROOF.to_len(4096)).ok()?;
    Some((extent, hex::encode(Sha256::digest(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;
    use crate::md::level::Level;
    use crate::units::Sectors;

    /// After a volume was taken out of the group, `pv0` of the younger text is `pv1` of the older: by the names each would be
    /// given the other's id, and its label be written over the other's data.
    #[test]
    fn physical_volumes_are_known_by_their_ids() {
        let text = |pvs: &[(&str, &str)]| {
            let pv = |(name, id): &(&str, &str)| {
                format!("{name} {{ id = \"{id}\" pe_start = 2048 pe_count = 4 }}")
            };
            let pvs: Vec<String> = pvs.iter().map(pv).collect();
            let all = format!(
                "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 extent_size = 8 physical_volumes {{ {} }} }}",
                pvs.join("\n")
            );
            VolumeGroup::from_section(&text::section(all.as_bytes()).value).unwrap()
        };
        let young = text(&[("pv0", "b"), ("pv1", "c")]);
        let old = text(&[("pv0", "a"), ("pv1", "b")]);
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(pv, on): &(&str, &str)| ((*pv).to_owned(), (*on).to_owned());
            pairs.iter().map(owned).collect()
        };
        let known = map(&[("pv0", "sdb"), ("pv1", "sdc")]);
        assert_eq!(by_ids(&known, &young, &young), known);
        assert_eq!(by_ids(&known, &young, &old), map(&[("pv1", "sdb")]));
    }

    /// lvm2 writes to an array's front: in a far layout that is at half of the members too, and with chunks of a MiB the
    /// copy of the offset layout lies behind the first MiB.
    #[test]
    fn an_array_s_front_is_found_on_all_its_members() {
        let geometry = |layout, kib: u64| {
            let chunk = Sectors(kib * 2);
            Geometry::new(Level::Raid10, Some(layout), 4, chunk, Bytes::mib(64)).unwrap()
        };
        let kib = |from: u64, length| Extent::new(Bytes::kib(from), Bytes::kib(length));
        let far = fronts(&geometry("f2", 64));
        for slot in 0..4 {
            assert!(far.contains(&(slot, kib(0, 256))), "{far:?}");
            assert!(far.contains(&(slot, kib(32 << 10, 256))), "{far:?}");
        }
        assert_eq!(far.len(), 8, "{far:?}");
        let offset = fronts(&geometry("o2", 1024));
        assert_eq!(offset, [(0, kib(0, 1024)), (1, kib(1024, 1024))]);
    }

    /// Of a group only volumes that lie plainly on physical volumes are started where a start must not write.
    #[test]
    fn what_writes_by_its_start_is_known() {
        let segment =
            |fields: &str| format!("segment1 {{ start_extent = 0 extent_count = 4 {fields} }}");
        let lv = |name: &str, fields: &str| {
            format!("{name} {{ status = [\"VISIBLE\"] {} }}", segment(fields))
        };
        let volumes = [
            lv(
                "plain",
                "type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 0]",
            ),
            lv(
                "root",
                "type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 4]",
            ),
            lv(
                "old",
                "type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 8]",
            ),
            lv(
                "on",
                "type = \"striped\" stripe_count = 1 stripes = [\"plain\", 0]",
            ),
            lv(
                "twice",
                "type = \"raid1\" device_count = 1 raids = [\"m\", \"i\"]",
            ),
            lv(
                "thin",
                "type = \"thin\" thin_pool = \"pool\" transaction_id = 1 device_id = 1",
            ),
            lv(
                "snapshot0",
                "type = \"snapshot\" chunk_size = 8 origin = \"root\" cow_store = \"old\"",
            ),
        ];
        let all = format!(
            "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 extent_size = 8 logical_volumes {{ {} }} }}",
            volumes.join("\n")
        );
        let vg = VolumeGroup::from_section(&text::section(all.as_bytes()).value).unwrap();
        for (name, told) in [
            ("plain", None),
            ("root", Some("it has a snapshot")),
            ("old", Some("it is a snapshot")),
            ("on", Some("it lies on plain")),
            ("twice", Some("it is raid1")),
            ("thin", Some("it is thin")),
        ] {
            assert_eq!(
                start_writes(&vg, vg.lv(name).unwrap()).as_deref(),
                told,
                "{name}"
            );
        }
    }
}
