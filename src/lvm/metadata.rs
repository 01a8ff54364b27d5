//! What a metadata text says, typed: the volume group, its physical and logical volumes, their segments.
//!
//! Extents here are LVM's: a number of `extent_size` sectors each.

use super::segment::{self, Segment};
use super::text::Section;
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;

/// A volume group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its id, dashed.
    pub id: String,
    /// Counts its changes.
    pub seqno: u64,
    /// Sectors of an extent.
    pub extent_size: Sectors,
    /// `RESIZEABLE`, `READ`, …
    pub status: Vec<String>,
    /// Flags that lvm2 may pass over where it does not know them.
    pub flags: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The system that owns it, where one does.
    pub system_id: Option<String>,
    /// Physical volumes, in the text's order.
    pub pvs: Vec<PhysicalVolume>,
    /// Logical volumes, in the text's order.
    pub lvs: Vec<LogicalVolume>,
    /// Logical volumes that were removed and are remembered, in the text's order.
    pub historical: Vec<HistoricalVolume>,
}

/// A physical volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct PhysicalVolume {
    /// Its name in the text: `pv0`.
    pub name: String,
    /// Its id, dashed.
    pub id: String,
    /// The device that it was on: a hint.
    pub device: String,
    /// The device's size.
    pub dev_size: Option<Sectors>,
    /// Where its first extent starts.
    pub pe_start: Sectors,
    /// How many extents it has.
    pub pe_count: u64,
    /// `ALLOCATABLE`, `EXPORTED`, …
    pub status: Vec<String>,
    /// `MISSING` and others.
    pub flags: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// A logical volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its id, dashed.
    pub id: String,
    /// `READ`, `WRITE`, `VISIBLE`, …
    pub status: Vec<String>,
    /// Flags that lvm2 may pass over where it does not know them.
    pub flags: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Seconds since 1970.
    pub creation_time: Option<u64>,
    /// The machine that made it.
    pub creation_host: Option<String>,
    /// How many segments the text says that it has.
    pub segment_count: Option<u64>,
    /// Its segments, in the order of their start.
    pub segments: Vec<Segment>,
}

/// A logical volume that was removed, kept for the family tree of thin snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HistoricalVolume {
    /// Its name while it was there.
    pub name: String,
    /// Its id, dashed.
    pub id: String,
    /// Seconds since 1970.
    pub creation_time: Option<u64>,
    /// Seconds since 1970.
    pub removal_time: Option<u64>,
    /// What it was a snapshot of.
    pub origin: Option<String>,
    /// Its snapshots.
    pub descendants: Vec<String>,
}

impl VolumeGroup {
    /// Reads a section as a volume group; `None` where it has no id or seqno.
    ///
    /// What is missing or odd otherwise is left out here and told by [`VolumeGroup::faults`].
    pub fn from_section(section: &Section) -> Option<VolumeGroup> {
        let inside = |name: &str| {
            section
                .section(name)
                .into_iter()
                .flat_map(Section::sections)
        };
        Some(VolumeGroup {
            name: section.name.clone(),
            id: section.string("id")?.to_owned(),
            seqno: section.number("seqno")?,
            extent_size: Sectors(section.number("extent_size").unwrap_or(0)),
            status: section.strings("status"),
            flags: section.strings("flags"),
            tags: section.strings("tags"),
            system_id: section.string("system_id").map(str::to_owned),
            pvs: fitted(inside("physical_volumes").map(physical_volume)),
            lvs: fitted(inside("logical_volumes").map(logical_volume)),
            historical: fitted(inside("historical_logical_volumes").map(historical_volume)),
        })
    }

    /// The group without what changes from machine to machine: the devices' names.
    pub fn without_hints(&self) -> VolumeGroup {
        let mut group = self.clone();
        for pv in &mut group.pvs {
            pv.device.clear();
        }
        group
    }

    /// A physical volume by its name in the text.
    pub fn pv(&self, name: &str) -> Option<&PhysicalVolume> {
        self.pvs.iter().find(|pv| pv.name == name)
    }

    /// A logical volume by its name.
    pub fn lv(&self, name: &str) -> Option<&LogicalVolume> {
        self.lvs.iter().find(|lv| lv.name == name)
    }

    /// The logical volumes that are meant to be used, without the parts of others.
    pub fn visible(&self) -> impl Iterator<Item = &LogicalVolume> {
        self.lvs
            .iter()
            .filter(|lv| lv.status.iter().any(|s| s == "VISIBLE"))
    }

    /// Bytes of so many extents.
    pub fn extents(&self, count: u64) -> Bytes {
        Bytes::from(Sectors(count.saturating_mul(self.extent_size.0)))
    }

    /// What a physical volume's extents reach to: a device that is shorter cannot be it.
    pub fn reach(&self, pv: &PhysicalVolume) -> Bytes {
        Bytes::from(pv.pe_start) + self.extents(pv.pe_count)
    }

    /// A logical volume's size.
    pub fn size(&self, lv: &LogicalVolume) -> Bytes {
        self.extents(lv.extents())
    }

    /// Where a logical volume lies on physical volumes, in its order: only where every segment lies on one.
    pub fn linear_extents(&self, lv: &LogicalVolume) -> Option<Vec<(&PhysicalVolume, Extent)>> {
        let one = |segment: &Segment| match segment.areas.as_slice() {
            [area] if segment.kind == "striped" => {
                let pv = self.pv(&area.on)?;
                let at = Bytes::from(pv.pe_start) + self.extents(area.extent);
                Some((pv, Extent::new(at, self.extents(segment.extent_count))))
            }
            _ => None,
        };
        lv.segments.iter().map(one).collect()
    }

    /// The visible volumes that start on a physical volume, each with its first extent there.
    pub fn starts_on(&self, pv: &str) -> Vec<(&LogicalVolume, Extent)> {
        let first = |lv| {
            let (on, extent) = self.linear_extents(lv)?.first().copied()?;
            (on.name == pv).then_some((lv, extent))
        };
        self.visible().filter_map(first).collect()
    }
}

impl LogicalVolume {
    /// Whether it was made without making its copies or its parity the same first.
    pub fn is_never_synced(&self) -> bool {
        self.status.iter().any(|s| s == "NOTSYNCED")
    }

    /// Its length in extents.
    pub fn extents(&self) -> u64 {
        let counts = self.segments.iter().map(|s| s.extent_count);
        counts.fold(0, u64::saturating_add)
    }
}

/// A list without room for more: thousands of texts may be kept, and most lists have one entry where four have room.
pub(super) fn fitted<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = items.collect();
    list.shrink_to_fit();
    list
}

fn physical_volume(section: &Section) -> PhysicalVolume {
    let text = |key| section.string(key).unwrap_or_default().to_owned();
    PhysicalVolume {
        name: section.name.clone(),
        id: text("id"),
        device: text("device"),
        dev_size: section.number("dev_size").map(Sectors),
        pe_start: Sectors(section.number("pe_start").unwrap_or(0)),
        pe_count: section.number("pe_count").unwrap_or(0),
        status: section.strings("status"),
        flags: section.strings("flags"),
        tags: section.strings("tags"),
    }
}

fn historical_volume(section: &Section) -> HistoricalVolume {
    let text = |key| section.string(key).map(str::to_owned);
    HistoricalVolume {
        name: text("name").unwrap_or_else(|| section.name.clone()),
        id: text("id").unwrap_or_default(),
        creation_time: section.number("creation_time"),
        removal_time: section.number("removal_time"),
        origin: text("origin"),
        descendants: section.strings("descendants"),
    }
}

fn logical_volume(section: &Section) -> LogicalVolume {
    let numbered = section.sections().filter(|s| s.name.starts_with("segment"));
    let mut segments = fitted(numbered.map(segment::read));
    segments.sort_by_key(|s| s.start_extent);
    LogicalVolume {
        name: section.name.clone(),
        id: section.string("id").unwrap_or_default().to_owned(),
        status: section.strings("status"),
        flags: section.strings("flags"),
        tags: section.strings("tags"),
        creation_time: section.number("creation_time"),
        creation_host: section.string("creation_host").map(str::to_owned),
        segment_count: section.number("segment_count"),
        segments,
    }
}
