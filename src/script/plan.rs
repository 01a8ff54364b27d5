//! What the scripts are to do, worked out elsewhere.

use crate::units::{Bytes, Extent};

/// A disk that the scripts use, and how they know it again.
#[derive(Clone, Debug)]
pub struct PlanDisk {
    /// Its name in the case.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// Extents, in whole sectors, with their SHA-256: together they must tell it from every other disk.
    pub proofs: Vec<(Extent, String)>,
}

/// A part of a disk that is a member.
#[derive(Clone, Debug)]
pub struct PlanMember {
    /// A name for the overlay: `sdb2`.
    pub name: String,
    /// The disk it lies on.
    pub disk: String,
    /// Where on the disk, in whole sectors.
    pub extent: Extent,
    /// Sectors before its data, where the members of its array differ in that.
    pub data_offset_sectors: Option<u64>,
}

/// An array to assemble from overlays.
#[derive(Clone, Debug)]
pub struct PlanArray {
    /// Its name in the case.
    pub name: String,
    /// Level in mdadm's words.
    pub level: String,
    /// Layout in mdadm's words, where the level has one.
    pub layout: Option<String>,
    /// Chunk in KiB, where the level has one.
    pub chunk_kib: Option<u64>,
    /// Metadata version; `None` where no superblock is known and the data starts with the member.
    pub metadata: Option<String>,
    /// Sectors before the data, where the metadata lies in front.
    pub data_offset_sectors: Option<u64>,
    /// KiB used of each member.
    pub member_kib: u64,
    /// What the array must have at least.
    pub size: Bytes,
    /// Whether the members' own superblocks say all this: then mdadm goes by them and writes none.
    pub superblocks_serve: bool,
    /// Why its order is not sure, a sentence: then it is tried on overlays and nowhere else.
    pub unproven: Option<String>,
    /// Why it cannot be started, a sentence: too few members.
    pub not_whole: Option<String>,
    /// What its superblocks know beside all this and a new array would not, a sentence: then it is made on overlays and
    /// nowhere else.
    pub forgets: Option<String>,
    /// Where the array's first MiB lies: slot, and extent of that member's data.
    pub fronts: Vec<(usize, Extent)>,
    /// The members in array order, `None` for a missing one.
    pub slots: Vec<Option<PlanMember>>,
}

/// A physical volume to bring back.
#[derive(Clone, Debug)]
pub struct PlanPv {
    /// Its UUID, in LVM's form.
    pub uuid: String,
    /// The array that it lies on, or the overlay of a plain volume.
    pub on: String,
    /// What its extents reach to.
    pub size: Bytes,
}

/// A logical volume to check.
#[derive(Clone, Debug)]
pub struct PlanLv {
    /// Its name.
    pub name: String,
    /// Extents in whole sectors, all over the volume, and the SHA-256 of them all in this order, as disinter read them;
    /// nothing where it could not.
    pub expected: Option<(Vec<Extent>, String)>,
    /// How many places were to be read for that.
    pub places: usize,
    /// Why its start alone would write to the disks below it, a few words: raid images, pools and caches have metadata of
    /// their own.
    pub start_writes: Option<String>,
    /// `ext3`, `dos`, … as recognised at its start.
    pub holds: Option<String>,
    /// Its partitions that hold an ext file system: number, and where on the volume, in whole sectors.
    pub inside: Vec<(u32, Extent)>,
}

/// A volume group to bring back.
#[derive(Clone, Debug)]
pub struct PlanVg {
    /// Its name.
    pub name: String,
    /// Its id, in LVM's form.
    pub id: String,
    /// The restore file, relative to the scripts' folder.
    pub restore_file: String,
    /// Its SHA-256.
    pub restore_sha256: String,
    /// What may come as a surprise, a sentence each.
    pub notes: Vec<String>,
    /// Its thin pools, whose own metadata may not fit an older text.
    pub thin_pools: Vec<String>,
    /// Physical volumes of which it is not known where they lie, a sentence each: with one of them nothing is restored.
    pub open: Vec<String>,
    /// Why its text may not be the group's last state, or the copies under its volumes not be the last, a sentence each: then
    /// it is tried on overlays and nowhere else.
    pub doubtful: Vec<String>,
    /// Copies under its volumes, and images of its physical volumes, that differ, a sentence each: a start on the disks would
    /// make them equal, and no choice of a text settles which is right.
    pub unequal: Vec<String>,
    /// Its physical volumes.
    pub pvs: Vec<PlanPv>,
    /// Its logical volumes.
    pub lvs: Vec<PlanLv>,
    /// Its thin volumes, which start with their pools and can only then be protected.
    pub thin_volumes: Vec<String>,
    /// Whether some of its volumes are passed over by a plain start, as thin snapshots are.
    pub skips: bool,
}

/// What the scripts are to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The disks that are used: one half, where mirrors were found.
    pub disks: Vec<PlanDisk>,
    /// The arrays, in the order in which they are assembled.
    pub arrays: Vec<PlanArray>,
    /// Volumes that are physical volumes themselves, without an array.
    pub plain: Vec<PlanMember>,
    /// The volume groups.
    pub vgs: Vec<PlanVg>,
}

impl Plan {
    /// Every part of a disk that is used.
    pub fn members(&self) -> impl Iterator<Item = &PlanMember> {
        let in_arrays = self.arrays.iter().flat_map(|a| a.slots.iter().flatten());
        in_arrays.chain(&self.plain)
    }
}
