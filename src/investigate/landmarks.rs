//! Things at known places of an array, from what was found: where LVM says that volumes start, and file systems'
//! superblocks with their copies.

use super::Survey;
use crate::lvm::metadata::{LogicalVolume, VolumeGroup};
use crate::md::guess::Member;
use crate::md::order::{Landmark, Sighting};
use crate::scan::What;
use crate::units::{Bytes, Extent};

/// What a volume's start may show: distance from the start, and bytes.
const MARKS: [(u64, &[u8]); 6] = [
    // ext: its magic in the superblock.
    (1024 + 56, b"\x53\xef"),
    // A partition table's last bytes.
    (510, b"\x55\xaa"),
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (4086, b"SWAPSPACE2"),
    (0x1_0040, b"_BHRfS_M"),
];

/// Where a text says that volumes start on one of its physical volumes.
pub fn of_text(vg: &VolumeGroup, pv: &str) -> Vec<Landmark> {
    let landmark = |(lv, extent): (&LogicalVolume, Extent)| Landmark {
        what: format!("{}/{}", vg.name, lv.name),
        at: extent.offset,
        marks: MARKS.map(|(at, bytes)| (Bytes(at), bytes)).to_vec(),
    };
    vg.starts_on(pv).into_iter().map(landmark).collect()
}

/// The superblocks of file systems that were seen on members, with their places in their file system.
pub fn sightings(survey: &Survey, members: &[Member]) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let Some(slice) = survey
            .slices
            .iter()
            .find(|s| s.name == member.source.name())
        else {
            continue;
        };
        let Some(scan) = survey.scans.get(slice.input) else {
            continue;
        };
        for finding in &scan.findings {
            if let What::ExtSuperblock(superblock) = &finding.what
                && let Some(inside) = finding.extent.relative_to(slice.extent.offset)
                && inside.end() <= slice.extent.length
            {
                sightings.push(Sighting {
                    family: superblock.uuid.clone(),
                    logical: superblock.superblock_at(superblock.group.into()),
                    member: index,
                    at: inside.offset,
                });
            }
        }
    }
    sightings.sort();
    sightings.dedup();
    sightings
}
