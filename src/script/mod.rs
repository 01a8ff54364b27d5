//! The review scripts: what a person reads, and then runs, to see the volumes again.
//!
//! Nothing here runs a script. Each script re-checks that the devices are the
//! ones that were examined, works on overlays (writes go to files, the disks
//! are mapped read only), says why before each command, and calls nothing
//! that destroys an old copy. Until a person sets `reviewed=yes` in
//! `settings.sh` they only show their commands.

mod plan;
pub mod quote;
pub mod restore;

pub use plan::{Plan, PlanArray, PlanDisk, PlanLv, PlanMember, PlanPv, PlanVg};

use crate::evidence::places::MD_ROOM;
use crate::units::{Bytes, Extent, SECTOR};
use quote::{Script, Unquotable};

/// A script's name, text, and whether it is to be run (not only read by others).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// File name.
    pub name: &'static str,
    /// What stands in it.
    pub text: String,
    /// Whether a person runs it.
    pub executable: bool,
}

/// How every script begins.
const HEAD: &str = "#!/bin/bash\n# What settings.sh and lib.sh set is not seen from here.\n# shellcheck disable=SC2154\nset -euo pipefail\nhere=$(cd \"$(dirname \"$0\")\" && pwd)\n# shellcheck source=/dev/null\n. \"$here/lib.sh\"\n";

/// The number of the first array's device; further ones count down, as mdadm does for arrays of others.
const FIRST_MD: u64 = 127;

/// Space for what is written over each member: labels, metadata, journals replayed by a mount.
const OVERLAY_MIB: u64 = 64;

/// Writes the scripts of a plan.
///
/// # Errors
/// [`Unquotable`] where a name cannot stand in a script.
pub fn write(plan: &Plan) -> Result<Vec<File>, Unquotable> {
    let script = |name, script: Script| -> Result<File, Unquotable> {
        Ok(File {
            name,
            text: script.finish()?,
            executable: true,
        })
    };
    let plain = |name, text: String| File {
        name,
        text,
        executable: false,
    };
    Ok(vec![
        plain("README.txt", include_str!("README.txt").to_owned()),
        plain("settings.sh", settings(plan).finish()?),
        plain(
            "lib.sh",
            concat!(include_str!("lib.sh"), include_str!("devices.sh")).to_owned(),
        ),
        script("10-identify.sh", identify(plan))?,
        script("20-overlay.sh", overlays(plan))?,
        script("30-assemble.sh", assemble(plan))?,
        script("40-restore.sh", restore(plan))?,
        script("50-check.sh", check(plan))?,
        script("60-real-disks.sh", real_disks(plan))?,
        script("90-undo.sh", undo(plan))?,
    ])
}

fn sectors(bytes: Bytes) -> u64 {
    bytes.0 / SECTOR
}

fn settings(plan: &Plan) -> Script {
    Script::new()
        .text("# shellcheck shell=bash disable=SC2034\n# What a person sets. Read all scripts first, then set reviewed=yes.\nreviewed=no\n\n")
        .text("# Where overlays and notes are kept. It must hold what is written to the overlays.\nwork=/run/disinter\n\n")
        .text("# Devices to look for the disks on, with blanks between; empty for every disk of this machine.\ndevices=\"\"\n\n")
        .text("# Most that can be written over each member, and in a check that replays a volume's journal, in MiB. The files are sparse.\noverlay_mib=")
        .number(OVERLAY_MIB)
        .text("\n\n# Volumes that nothing here can check and that you have looked at (mount -o ro), with blanks between: \"vg/home\".\nlooked_at=\"\"\n\n# Only for 60-real-disks.sh: the folder that `disinter backup` wrote of these disks.\nbackup=\"\"\n\n# The md devices to use; none of them may be in use.\n")
        .each(plan.arrays.iter().enumerate(), |s, (i, array)| {
            s.comment(&array.name)
                .text("md")
                .number(i as u64)
                .text("=/dev/md")
                .number(FIRST_MD.saturating_sub(i as u64))
                .text("\n")
        })
}

/// How every script starts: what it needs, and another look at the disks.
fn begin(plan: &Plan, tools: &'static str) -> Script {
    let script = Script::new()
        .text(HEAD)
        .text("begin ")
        .text(tools)
        .text("\nlook_for_disks\n");
    script.each(&plan.disks, find_disk).text("disks_found\n")
}

/// What is called only where there is an array.
fn mdadm(plan: &Plan) -> &'static str {
    if plan.arrays.is_empty() { "" } else { "mdadm " }
}

fn find_disk(script: Script, disk: &PlanDisk) -> Script {
    known_by(script.text("find_disk "), disk)
}

/// A disk's name, size, and what it is known by.
fn known_by(script: Script, disk: &PlanDisk) -> Script {
    let script = script
        .value(&disk.name)
        .text(" ")
        .number(sectors(disk.size));
    proofs(script, &disk.proofs)
}

/// First sector, sectors and SHA-256 of each extent, a line each.
fn proofs(script: Script, proofs: &[(Extent, String)]) -> Script {
    script
        .each(proofs, |s, (extent, sha256)| {
            s.text(" \\\n    ")
                .number(sectors(extent.offset))
                .text(" ")
                .number(sectors(extent.length))
                .text(" ")
                .value(sha256)
        })
        .text("\n")
}

fn identify(plan: &Plan) -> Script {
    begin(plan, "dd sha256sum").text("say 'next: 20-overlay.sh'\n")
}

fn overlays(plan: &Plan) -> Script {
    let script = begin(plan, "dmsetup losetup dd sha256sum")
        .each(&plan.disks, |s, disk| {
            s.text("not_in_use ").value(&disk.name).text("\n")
        })
        .text("enough_room ")
        .number(plan.members().count() as u64)
        .text("\n");
    let script = each_disk(script, plan, "as_before ").text("end_real\nforget restored\n");
    arrays_wait(script, plan)
        .text("why 'writes go to files; the disks themselves are mapped read only'\n")
        .each(plan.members(), |s, member| part(s.text("overlay "), member))
        .text("say 'next: 30-assemble.sh'\n")
}

/// `as_before sda 2097152`, for every disk.
fn each_disk(script: Script, plan: &Plan, command: &'static str) -> Script {
    script.each(&plan.disks, |s, disk| {
        let s = s.text(command).value(&disk.name).text(" ");
        s.number(sectors(disk.size)).text("\n")
    })
}

/// Nothing else starts what comes up now.
fn arrays_wait(script: Script, plan: &Plan) -> Script {
    script
        .text("udev_waits")
        .each(0..plan.arrays.len(), |s, index| md(s.text(" "), index))
        .each(&plan.vgs, |s, vg| s.text(" ").value(&vg.name))
        .text("\n")
}

/// Before anything is written: that it goes to overlays.
fn on_overlays(script: Script, plan: &Plan) -> Script {
    script.each(plan.members(), |s, member| {
        s.text("is_overlay ").value(&member.name).text("\n")
    })
}

fn assemble(plan: &Plan) -> Script {
    let tools = match mdadm(plan) {
        "" => "dmsetup dd sha256sum",
        _ => "mdadm dmsetup dd sha256sum",
    };
    on_overlays(begin(plan, tools), plan)
        .each(plan.arrays.iter().enumerate(), |s, array| {
            let s = s.each(&array.1.unproven, |s, why| {
                s.text("\nunproven ").value(why).text("\n")
            });
            let s = s.each(&array.1.forgets, |s, why| {
                s.text("\nforgets ").value(why).text("\n")
            });
            assemble_one(s, array)
        })
        .text("\nsay 'next: 40-restore.sh'\n")
}

/// `started "$md0" sdb-2 sdd-2`, for every array: what is done next is done to it, whatever else may have its number.
fn arrays_stand(script: Script, plan: &Plan, command: &'static str) -> Script {
    script.each(plan.arrays.iter().enumerate(), |s, (index, array)| {
        let s = md(s.text(command).text(" "), index);
        s.each(array.slots.iter().flatten(), |s, member| {
            s.text(" ").value(&member.name)
        })
        .text("\n")
    })
}

/// `"$md0"`.
fn md(script: Script, index: usize) -> Script {
    script.text("\"$md").number(index as u64).text("\"")
}

/// Starts one array: by its own superblocks where they say what was worked out; without any where there were none and
/// the level needs none; else with new ones.
fn assemble_one(script: Script, (index, array): (usize, &PlanArray)) -> Script {
    let script = script.text("\n").comment(&format!(
        "{}: {} over {} members, {} left out",
        array.name,
        array.level,
        array.slots.len(),
        array.slots.iter().filter(|s| s.is_none()).count()
    ));
    let script = not_whole(script, array);
    let script = match (array.superblocks_serve, &array.metadata) {
        (true, _) => by_superblocks(script, index, array),
        (false, None) if can_be_built(array) => build(script, index, array),
        (false, metadata) => create(script, index, array, metadata.as_deref()),
    };
    md(script.text("\nexpect_sectors "), index)
        .text(" ")
        .number(sectors(array.size))
        .text("\n")
}

fn not_whole(script: Script, array: &PlanArray) -> Script {
    script.each(&array.not_whole, |s, why| {
        s.text("not_whole ").value(why).text("\n")
    })
}

fn by_superblocks(script: Script, index: usize, array: &PlanArray) -> Script {
    let script = script
        .text("why 'the superblocks say what was worked out: started by them, read only; none is written'\n")
        .text("md_free ");
    let script = md(script, index).text("\nrun mdadm --assemble ");
    md(script, index)
        .text(" --run --readonly")
        .each(array.slots.iter().flatten(), |s, member| {
            s.text(" \\\n    /dev/mapper/disinter-").value(&member.name)
        })
}

/// Whether `mdadm --build` starts it as it was whatever lay at the members' ends: its levels are few, and where members
/// differ in length, or copies lie at half of it, the end has a say in where the data lies.
fn can_be_built(array: &PlanArray) -> bool {
    let mut lengths = array.slots.iter().flatten().map(|m| m.extent.length);
    let first = lengths.next();
    let alike = lengths.all(|length| Some(length) == first);
    match array.level.as_str() {
        "raid0" => alike,
        "raid1" => true,
        "raid10" => array.layout.as_ref().is_none_or(|l| !l.starts_with('f')),
        _ => false,
    }
}

/// Starts an array that has no superblocks, and writes none: all of each member is data.
fn build(script: Script, index: usize, array: &PlanArray) -> Script {
    let script = script
        .text("why 'no member has a superblock, and none is written: --build, with every number given'\n")
        .text("md_free ");
    let script = md(script, index).text("\nrun mdadm --build ");
    let script = md(script, index).text(" --run");
    let script = match array.level.as_str() {
        // Only where there are copies is there anything that a start could make equal.
        "raid1" | "raid10" => script.text(" --assume-clean"),
        _ => script,
    };
    geometry(script.text(" \\\n   "), array)
}

/// Starts an array with new superblocks. Without a version to go by, metadata at the end leaves the data where it is.
fn create(script: Script, index: usize, array: &PlanArray, metadata: Option<&str>) -> Script {
    let script = script
        .text("why '--create writes superblocks, never data, with --assume-clean; every number is given'\n")
        .text("md_free ");
    let script = md(script, index).text("\nrun mdadm --create ");
    let script = md(script, index).text(" --run");
    // What has no copy and no parity has nothing that could be made equal, and its size is what its members give.
    let script = match array.level.as_str() {
        "linear" | "raid0" => script,
        _ => script
            .text(" --assume-clean --bitmap=none --size=")
            .number(array.member_kib),
    };
    let script = script
        .text(" \\\n    --metadata=")
        .value(metadata.unwrap_or("1.0"));
    let own = array.slots.iter().flatten();
    let vary = own.clone().any(|m| m.data_offset_sectors.is_some());
    let script = match (vary, array.data_offset_sectors) {
        (true, _) => script.text(" --data-offset=variable"),
        (false, Some(sectors)) => script.text(" --data-offset=").number(sectors).text("s"),
        (false, None) => script,
    };
    geometry(script, array)
}

/// Level, layout, chunk and members.
fn geometry(script: Script, array: &PlanArray) -> Script {
    script
        .text(" --level=")
        .value(&array.level)
        .each(&array.layout, |s, layout| {
            s.text(" --layout=").value(layout)
        })
        .each(array.chunk_kib, |s, kib| s.text(" --chunk=").number(kib))
        .text(" --raid-devices=")
        .number(array.slots.len() as u64)
        .each(&array.slots, |s, slot| match slot {
            None => s.text(" \\\n    missing"),
            Some(member) => s
                .text(" \\\n    /dev/mapper/disinter-")
                .value(&member.name)
                .each(member.data_offset_sectors, |s, sectors| {
                    s.text(":").number(sectors).text("s")
                }),
        })
}

/// `"$md0 /dev/mapper/disinter-sdb-1"`: every device that may hold a physical volume.
fn pv_devices(script: Script, plan: &Plan) -> Script {
    let arrays = (0..plan.arrays.len()).map(Err);
    let devices = arrays.chain(plan.plain.iter().map(Ok)).enumerate();
    script
        .text("\"")
        .each(devices, |s, (i, device)| {
            let s = if i > 0 { s.text(" ") } else { s };
            match device {
                Err(array) => s.text("$md").number(array as u64),
                Ok(member) => s.text("/dev/mapper/disinter-").value(&member.name),
            }
        })
        .text("\"")
}

/// What may not be the groups' last state, in the words of the overlays or of the disks.
fn in_doubt(script: Script, plan: &Plan, on: &'static str) -> Script {
    let line = |what: &'static str| {
        move |s: Script, why: &String| s.text(what).text(on).text(" ").value(why).text("\n")
    };
    script
        .each(
            plan.vgs.iter().flat_map(|vg| &vg.doubtful),
            line("doubtful"),
        )
        .each(plan.vgs.iter().flat_map(|vg| &vg.unequal), line("unequal"))
}

fn restore(plan: &Plan) -> Script {
    let script = begin(plan, "pvcreate vgcfgrestore vgchange dmsetup dd sha256sum");
    let script = arrays_stand(on_overlays(script, plan), plan, "started");
    in_doubt(script, plan, "")
        .each(&plan.vgs, |s, vg| start(restore_one(s, plan, vg), plan, vg))
        .text("\nrecord restored\nsay 'next: 50-check.sh'\n")
}

/// What must hold before anything of a group is restored.
fn may_be_restored(script: Script, vg: &PlanVg) -> Script {
    script
        .text("\n")
        .comment(&format!("volume group {}", vg.name))
        .text("vg=")
        .value(&vg.name)
        .text("\nfile=\"$here\"/")
        .value(&vg.restore_file)
        .text("\nexpect_text ")
        .value(&vg.restore_sha256)
        .text("\nnot_active \"$vg\" ")
        .value(vg.id.replace('-', ""))
        .text("\n")
        .each(&vg.open, |s, open| {
            s.text("not_told ").value(open).text("\n")
        })
}

fn restore_one(script: Script, plan: &Plan, vg: &PlanVg) -> Script {
    let s = may_be_restored(script, vg)
        .each(&vg.notes, |s, note| s.text("say ").value(note).text("\n"));
    let s = arrays_stand(s, plan, "writable");
    let s = s.each(&vg.pvs, |s, pv| {
        let index = plan.arrays.iter().position(|a| a.name == pv.on);
        let s = s
            .text(
                "why 'pvcreate: the label and header of the physical volume, with its old UUID'\n",
            )
            .text("make_pv ");
        let s = pv_devices(s, plan).text(" ").value(&pv.uuid);
        let s = match index {
            Some(index) => md(s.text(" "), index),
            None => s.text(" /dev/mapper/disinter-").value(&pv.on),
        };
        s.text(" ").number(sectors(pv.size)).text("\n")
    });
    let s = match vg.thin_pools.is_empty() {
        false => s.text(
            "why 'the metadata that was found. THIN POOLS: lvm wants --force, as pools keep metadata of their own; \
             where that is younger than this text, thin volumes can be lost: run thin_check on it first'\nlvm_on ",
        ),
        true => s.text("why 'the metadata that was found'\nlvm_on "),
    };
    let s = pv_devices(s, plan);
    s.text(match vg.thin_pools.as_slice() {
        [] => " vgcfgrestore -f \"$file\" \"$vg\"\n",
        _ => " vgcfgrestore --force -f \"$file\" \"$vg\"\n",
    })
}

/// On overlays every volume starts.
fn start(script: Script, plan: &Plan, vg: &PlanVg) -> Script {
    let script = script
        .text(match vg.thin_pools.as_slice() {
            [] => "why 'the logical volumes become devices that can only be read'\nonly_to_be_read \"$vg\"\n",
            _ => "why 'thin pools do not start unless they can be written to, nor the volumes in them'\n",
        })
        .text("lvm_on ");
    pv_devices(script, plan)
        .text(" vgchange -ay")
        .text(even_skipped(vg))
        .text(" \"$vg\"\n")
        .each(&vg.thin_volumes, |s, volume| {
            s.text("protect /dev/\"$vg\"/").value(volume).text("\n")
        })
}

/// On the disks only what lies there plainly: the start of a raid image, a pool or a cache writes, whatever is said of the
/// volume above, and no backup holds those bytes.
fn start_plain(script: Script, plan: &Plan, vg: &PlanVg) -> Script {
    let plain: Vec<&PlanLv> = vg
        .lvs
        .iter()
        .filter(|lv| lv.start_writes.is_none())
        .collect();
    if plain.is_empty() {
        return script.text("say 'no volume of it can be started without a write'\n");
    }
    let script = script
        .text("why 'the logical volumes become devices that can only be read'\nonly_to_be_read \"$vg\"\nlvm_on ");
    pv_devices(script, plan)
        .text(" lvchange -ay")
        .text(even_skipped(vg))
        .each(plain, |s, lv| s.text(" \"$vg\"/").value(&lv.name))
        .text("\n")
}

/// lvm2 passes over some volumes unless it is told not to; old versions do not know the word.
fn even_skipped(vg: &PlanVg) -> &'static str {
    if vg.skips { " -K" } else { "" }
}

/// The same on the disks themselves: only after the overlays, a backup, and the group's name typed by a person.
fn real_disks(plan: &Plan) -> Script {
    let script = Script::new()
        .text(HEAD)
        .text("begin ")
        .text(mdadm(plan))
        .text("pvcreate vgcfgrestore vgchange lvchange dmsetup losetup dd sha256sum\n")
        .each(&plan.vgs, |s, vg| {
            s.text("overlays_passed ").value(&vg.name).text("\n")
        })
        .each(&plan.arrays, |s, array| {
            s.each(&array.unproven, |s, why| {
                s.text("unproven_on_disks ").value(why).text("\n")
            })
            .each(&array.forgets, |s, why| {
                s.text("forgets_on_disks ").value(why).text("\n")
            })
        });
    let script = in_doubt(script, plan, "_on_disks")
        .text("look_for_disks\n")
        .each(&plan.disks, find_disk)
        .text("disks_found\n")
        .each(&plan.disks, |s, disk| {
            s.text("not_in_use ").value(&disk.name).text("\n")
        })
        .each([plan], backed_up)
        .text("\nwhy 'what would stop this later stops it before the first write'\n")
        .each(plan.arrays.iter().enumerate(), |s, (index, array)| {
            md(not_whole(s, array).text("md_free "), index).text("\n")
        })
        .each(&plan.vgs, may_be_restored)
        .text("\n");
    arrays_wait(script, plan)
        .text("why 'the parts of the disks that are members, whatever the partition table says now'\n")
        .each(plan.members(), |s, member| part(s.text("real "), member))
        .text("begin_real\n")
        .each(plan.arrays.iter().enumerate(), assemble_one)
        .each(&plan.vgs, |s, vg| {
            start_plain(restore_one(s, plan, vg), plan, vg)
        })
        .each([plan], |s, plan| checks(s, plan, true))
        .text(
            "\n[ \"$failed\" = no ] || die 'some checks failed: write nothing more; restore.sh of the backup undoes it'\n\
             end_real\n\
             [ -z \"$unchecked\" ] || say \"Look at these yourself, nothing here can:$unchecked\"\n\
             say 'Done. Copy the volumes to other disks now; they can only be read. 90-undo.sh takes them down.'\n",
        )
}

/// The backup has what is about to be written: what lies in front of the data, the data's front, the end of each member, and
/// wherever the array's front lies, in sectors.
fn backed_up(script: Script, plan: &Plan) -> Script {
    let script = script.text("\nwhy 'what is written now can be put back'\n");
    let script = each_disk(script, plan, "in_backup ")
        .text("serials_told\n")
        .each(&plan.arrays, |s, array| {
            let data = |member: &PlanMember| {
                let own = member.data_offset_sectors;
                own.or(array.data_offset_sectors).unwrap_or(0)
            };
            let s = s.each(array.slots.iter().flatten(), |s, member| {
                kept(s, member, front(array, data(member)), data(member))
            });
            // The far copies of a raid10 begin at half a member, and those may be all that is here.
            let there = |(slot, extent): &(usize, Extent)| {
                let member = array.slots.get(*slot)?.as_ref()?;
                Some((member, *extent))
            };
            s.each(
                array.fronts.iter().filter_map(there),
                |s, (member, extent)| {
                    let first =
                        sectors(member.extent.offset) + data(member) + sectors(extent.offset);
                    is_kept(s, member, first, sectors(extent.length))
                },
            )
        })
        .each(&plan.plain, |s, member| kept(s, member, FRONT, 0))
        .text("all_is_kept");
    let disks = plan.disks.iter();
    script
        .each(disks, |s, disk| s.text(" ").value(&disk.name))
        .text("\n")
}

/// Sectors in front of a member that a label or a new superblock takes.
const FRONT: u64 = 16;

/// Sectors of a member in front of its data at `data` that are written. A new array has no bitmap; one that starts by its
/// superblocks has its own, and maybe a partial-parity log, behind them.
fn front(array: &PlanArray, data: u64) -> u64 {
    let superblock = match array.metadata.as_deref() {
        Some("1.1") => 0,
        Some("1.2") => 8,
        _ => return FRONT,
    };
    match array.superblocks_serve {
        true => data.min(superblock + sectors(MD_ROOM)).max(FRONT),
        false => FRONT,
    }
}

/// The backup has the first `front` sectors of a member, the front of its data, and its end.
fn kept(script: Script, member: &PlanMember, front: u64, data: u64) -> Script {
    const DATA: u64 = 2048;
    const TAIL: u64 = 512;
    let (start, length) = (sectors(member.extent.offset), sectors(member.extent.length));
    let parts = [
        (0, front),
        (data, DATA),
        (length.saturating_sub(TAIL), TAIL),
    ];
    let parts = parts.into_iter().filter(|(first, _)| *first < length);
    script.each(parts, |s, (first, count)| {
        is_kept(s, member, start + first, count.min(length - first))
    })
}

/// `is_kept sdb 83968 16`: sectors of the disk that a member lies on.
fn is_kept(script: Script, member: &PlanMember, first: u64, count: u64) -> Script {
    let script = script.text("is_kept ").value(&member.disk).text(" ");
    script.number(first).text(" ").number(count).text("\n")
}

/// `sdb-2 sdb 83968 260096`: a part of a disk, for `overlay` and `real`.
fn part(script: Script, member: &PlanMember) -> Script {
    script
        .value(&member.name)
        .text(" ")
        .value(&member.disk)
        .text(" ")
        .number(sectors(member.extent.offset))
        .text(" ")
        .number(sectors(member.extent.length))
        .text("\n")
}

fn check(plan: &Plan) -> Script {
    let script = on_overlays(begin(plan, CHECK_TOOLS), plan);
    let script = script.text("must_be_restored\n");
    checks(arrays_stand(script, plan, "started"), plan, false).text(
        "\n[ \"$failed\" = no ] || die 'some checks failed: read above; 90-undo.sh takes all down again'\n\
         [ -z \"$unchecked\" ] || die \"nothing here tells whether these are right:$unchecked. Look at them yourself, then name them \
         in looked_at in settings.sh and run this again\"\n\
         record passed\nsay 'All checks passed. Copy the volumes to other disks before anything else.'\n",
    )
}

/// What 50-check.sh calls. fdisk and e2fsck are missed where they are needed.
const CHECK_TOOLS: &str = "dmsetup sha256sum dd losetup";

/// What the volumes must show; on the disks only those that are started there.
fn checks(script: Script, plan: &Plan, on_disks: bool) -> Script {
    let script = script.text(
        "\nfailed=no unchecked=\nwhy 'each volume is ours and can only be read; the kernel must read what disinter read, all over it'\n",
    );
    let volumes = || {
        plan.vgs
            .iter()
            .flat_map(|vg| vg.lvs.iter().map(move |lv| (vg, lv)))
    };
    let name = |vg: &PlanVg, lv: &PlanLv| format!("{}/{}", vg.name, lv.name);
    let device = |s: Script, vg: &PlanVg, lv: &PlanLv| {
        s.text("/dev/").value(&vg.name).text("/").value(&lv.name)
    };
    let down = |lv: &PlanLv| lv.start_writes.clone().filter(|_| on_disks);
    let script = script.each(volumes(), |s, (vg, lv)| {
        if let Some(reason) = down(lv) {
            let s = s.text("not_started ").value(name(vg, lv)).text(" ");
            return s.value(reason).text("\n");
        }
        let s = device(s.text("stands ").value(name(vg, lv)).text(" "), vg, lv).text("\n");
        let Some((places, sha256)) = &lv.expected else {
            let s = s.text("not_checked ").value(name(vg, lv));
            return s.text(" 'disinter could not read it'\n");
        };
        let s = s.text("expect_digest ").value(name(vg, lv)).text(" ");
        let s = device(s, vg, lv).text(" ").value(sha256);
        s.each(places, |s, place| {
            let s = s.text(" \\\n    ").number(sectors(place.offset));
            s.text(" ").number(sectors(place.length))
        })
        .text("\n")
    });
    let script = script.text("\nwhy 'read-only checks: garbage here means a wrong order'\n");
    script.each(
        volumes().filter(|(_, lv)| down(lv).is_none()),
        |s, (vg, lv)| {
            let s = match lv.holds.as_deref() {
                Some("ext2" | "ext3" | "ext4") => {
                    let s = s.text("check_ext ").value(name(vg, lv)).text(" ");
                    return device(s, vg, lv).text("\n");
                }
                // A table is read without a complaint from noise, too: what counts is what lies in the partitions.
                Some("dos" | "gpt") => {
                    let s = device(s.text("run fdisk -l "), vg, lv).text(" || failed=yes\n");
                    s.each(&lv.inside, |s, (number, extent)| {
                        let what = format!("{}@{number}", name(vg, lv));
                        let s = device(s.text("check_inside ").value(what).text(" "), vg, lv);
                        let s = s.text(" ").number(sectors(extent.offset));
                        s.text(" ").number(sectors(extent.length)).text("\n")
                    })
                }
                _ => s,
            };
            match unchecked(lv) {
                Some(reason) => s
                    .text("not_checked ")
                    .value(name(vg, lv))
                    .text(" ")
                    .value(reason)
                    .text("\n"),
                None => s,
            }
        },
    )
}

/// Why nothing in the scripts can tell whether a volume's content is right.
fn unchecked(lv: &PlanLv) -> Option<String> {
    match lv.holds.as_deref() {
        // That is said where the bytes are compared.
        _ if lv.expected.is_none() => None,
        _ if few(lv) => {
            Some("most of its places could not be read when it was examined".to_owned())
        }
        None => Some("nothing tells what it holds".to_owned()),
        Some("dos" | "gpt") => lv
            .inside
            .is_empty()
            .then(|| "a partition table, and no ext file system in the partitions".to_owned()),
        Some(kind) => Some(format!(
            "it begins as {kind} does, and nothing here checks that"
        )),
    }
}

/// Whether what is compared says little of the whole.
fn few(lv: &PlanLv) -> bool {
    let read = lv.expected.as_ref().map_or(0, |(places, _)| places.len());
    read.saturating_mul(2) < lv.places
}

fn undo(plan: &Plan) -> Script {
    let script = Script::new()
        .text(HEAD)
        .text("begin ")
        .text(mdadm(plan))
        .text("dmsetup losetup\n\nwhy 'take down in reverse what is ours; the rest is passed over'\nchecks_down\n");
    let script = script.each(&plan.vgs, |s, vg| {
        let s = pv_devices(s.text("volumes_down "), plan);
        s.text(" ").value(&vg.name).text("\n")
    });
    let script = script.each(0..plan.arrays.len(), |s, i| {
        md(s.text("array_down "), i).text("\n")
    });
    let script = script.each(plan.members(), |s, member| {
        s.text("overlay_down ").value(&member.name).text("\n")
    });
    script
        .text("all_down")
        .each(plan.members(), |s, member| s.text(" ").value(&member.name))
        .text("\nudev_goes_on\nforget restored\nrun rm -f \"$work/devices\"\n")
}

#[cfg(test)]
mod tests;
