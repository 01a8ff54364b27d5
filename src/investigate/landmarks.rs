//! Things at known places of an array: where LVM says that volumes start.

use crate::lvm::metadata::{LogicalVolume, VolumeGroup};
use crate::md::clues::Landmark;
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
