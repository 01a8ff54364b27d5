//! What a metadata text says, typed: the volume group, its physical and logical volumes, their segments.
//!
//! Extents here are LVM's: a number of `extent_size` sectors each.

use super::text::{Section, Value};
use super::{dashed, is_id};
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;
use std::collections::BTreeMap;

/// A volume group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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

/// A run of a logical volume that lies in one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Segment {
    /// Its first extent in the logical volume.
    pub start_extent: u64,
    /// How many extents.
    pub extent_count: u64,
    /// `striped` (linear is striped over one), `raid1`, `thin`, …, without the flags behind a `+`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What stood behind a `+`: `RESHAPE`, which lvm2 must know to use the segment.
    #[serde(rename = "type_flags", skip_serializing_if = "Vec::is_empty")]
    pub kind_flags: Vec<String>,
    /// Where it lies, in the order of its stripes, mirrors or images: physical or logical volume, and first extent there.
    pub areas: Vec<Area>,
    /// Sectors of a stripe.
    pub stripe_size: Option<Sectors>,
    /// Sectors of a region of a mirror's or array's bitmap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_size: Option<Sectors>,
    /// Copies of each chunk in raid10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_copies: Option<u64>,
    /// Sectors before the data of each image, while an array is reshaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_offset: Option<Sectors>,
    /// Images by which a reshape grows (or, negative, shrinks) the array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshape_count: Option<i64>,
    /// Sectors of a chunk of a snapshot, thin pool or cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<Sectors>,
    /// Counts the changes of a thin pool; the pool's own metadata must agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<u64>,
    /// The thin volume's number in its pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u64>,
    /// The other logical volumes that it needs, by the field that names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Use>,
}

/// Where a stripe, mirror or image of a segment lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Area {
    /// A physical volume's name, or a logical volume's.
    pub on: String,
    /// First extent there.
    pub extent: u64,
    /// The logical volume with the bitmap and md superblock of an array's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<String>,
}

/// A logical volume that a segment needs beside its areas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The field: `thin_pool`, `metadata`, `origin`, `cow_store`, …
    #[serde(rename = "as")]
    pub key: String,
    /// The volume's name.
    pub lv: String,
}

/// Fields of a segment that name other logical volumes, of all types together. Source: the segment types in lvm2's `lib`
/// folder, read for the facts.
const USES: [&str; 15] = [
    // mirror
    "mirror_log",
    // snapshot
    "origin",
    "cow_store",
    "merging_store",
    // thin-pool
    "metadata",
    "pool",
    // thin
    "thin_pool",
    "external_origin",
    "merge",
    // cache, cache-pool, writecache
    "cache_pool",
    "data",
    "writecache",
    // vdo
    "vdo_pool",
    // integrity
    "meta_dev",
    "recalc_origin",
];

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
            pvs: inside("physical_volumes").map(physical_volume).collect(),
            lvs: inside("logical_volumes").map(logical_volume).collect(),
            historical: inside("historical_logical_volumes")
                .map(historical_volume)
                .collect(),
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

    /// What cannot be so in a sound text: areas outside their volume or over each other, gaps between segments, volumes
    /// that are named and not there.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.extent_size.0 == 0 {
            faults.push("no extent size".to_owned());
        }
        if self.pvs.is_empty() {
            faults.push("no physical volume".to_owned());
        }
        self.name_faults(&mut faults);
        for pv in &self.pvs {
            let end = Bytes::from(pv.pe_start) + self.extents(pv.pe_count);
            if pv.dev_size.is_some_and(|size| Bytes::from(size) < end) {
                faults.push(format!("{}: its extents end behind its device", pv.name));
            }
        }
        for lv in &self.lvs {
            segment_faults(lv, &mut faults);
        }
        self.area_faults(&mut faults);
        faults
    }

    /// Names and ids go into commands and paths: none that LVM itself would refuse is let through.
    fn name_faults(&self, faults: &mut Vec<String>) {
        let names = self.lvs.iter().map(|lv| &lv.name).chain([&self.name]);
        for name in names.filter(|name| !is_name(name)) {
            faults.push(format!("{name:?} is not a name that LVM allows"));
        }
        for id in self.pvs.iter().map(|pv| &pv.id).chain([&self.id]) {
            let bare: Vec<u8> = id.bytes().filter(|b| *b != b'-').collect();
            if !is_id(&bare) || dashed(&bare) != *id {
                faults.push(format!("{id:?} is not an id"));
            }
        }
    }

    fn area_faults(&self, faults: &mut Vec<String>) {
        let pvs: BTreeMap<&str, &PhysicalVolume> =
            self.pvs.iter().map(|pv| (pv.name.as_str(), pv)).collect();
        let lvs: BTreeMap<&str, u64> = self
            .lvs
            .iter()
            .map(|lv| (lv.name.as_str(), lv.extents()))
            .collect();
        let mut used: Vec<(&str, u64, u64, &str)> = Vec::new();
        for lv in &self.lvs {
            for segment in &lv.segments {
                let length = segment.area_extents().unwrap_or(0);
                for area in &segment.areas {
                    let end = area.extent.saturating_add(length);
                    match (pvs.get(area.on.as_str()), lvs.get(area.on.as_str())) {
                        (Some(pv), _) if end > pv.pe_count => {
                            faults.push(format!("{}: ends behind {}", lv.name, pv.name));
                        }
                        (Some(_), _) => used.push((&area.on, area.extent, end, &lv.name)),
                        (None, Some(extents)) if end > *extents => {
                            faults.push(format!("{}: ends behind {}", lv.name, area.on));
                        }
                        (None, Some(_)) => {}
                        (None, None) => {
                            faults.push(format!("{}: lies on unknown {}", lv.name, area.on));
                        }
                    }
                }
                let metas = segment.areas.iter().filter_map(|a| a.meta.as_ref());
                let others = segment.uses.iter().map(|u| &u.lv).chain(metas);
                // A name with a dash in front is that of a removed volume.
                for other in others.filter(|n| !lvs.contains_key(n.as_str()) && !n.starts_with('-'))
                {
                    faults.push(format!("{}: needs unknown {other}", lv.name));
                }
            }
        }
        used.sort_unstable();
        for (a, b) in used.iter().zip(used.iter().skip(1)) {
            if a.0 == b.0 && b.1 < a.2 {
                faults.push(format!("{} and {} overlap on {}", a.3, b.3, a.0));
            }
        }
    }
}

impl LogicalVolume {
    /// Its length in extents.
    pub fn extents(&self) -> u64 {
        let counts = self.segments.iter().map(|s| s.extent_count);
        counts.fold(0, u64::saturating_add)
    }
}

impl Segment {
    /// Extents that the segment takes of each of its areas, `None` where the type has none or the number cannot be.
    ///
    /// A mirror's areas are as long as the segment; stripes share it; parity takes one or two of an array's images.
    pub fn area_extents(&self) -> Option<u64> {
        let width = self.areas.len() as u64;
        let shares = match self.kind.as_str() {
            "mirror" | "raid1" | "linear" => 1,
            "striped" | "raid0" | "raid0_meta" => width,
            "raid10" | "raid10_near" => {
                // Copies of raid10 need not divide the number of images.
                let copies = self.data_copies.unwrap_or(2).max(1);
                let total = self.extent_count.checked_mul(copies)?;
                return (width > 0).then(|| total.div_ceil(width));
            }
            kind if kind.starts_with("raid4") || kind.starts_with("raid5") => {
                width.checked_sub(1)?
            }
            kind if kind.starts_with("raid6") => width.checked_sub(2)?,
            _ => return None,
        };
        (shares > 0).then(|| self.extent_count.div_ceil(shares))
    }
}

/// Segments must follow each other without a hole, and be as many as the text says.
fn segment_faults(lv: &LogicalVolume, faults: &mut Vec<String>) {
    let mut next = 0;
    for segment in &lv.segments {
        if segment.start_extent != next {
            faults.push(format!("{}: no segment at extent {next}", lv.name));
        }
        if segment.extent_count == 0 {
            faults.push(format!("{}: a segment without extents", lv.name));
        }
        next = segment.start_extent.saturating_add(segment.extent_count);
    }
    let count = lv.segments.len() as u64;
    if lv.segment_count.is_some_and(|says| says != count) || count == 0 {
        let says = lv.segment_count.unwrap_or(0);
        faults.push(format!(
            "{}: {count} segments where it says {says}",
            lv.name
        ));
    }
}

/// LVM's rule for names of groups and volumes.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    (1..=127).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && name != "."
        && name != ".."
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
    let mut segments: Vec<Segment> = section
        .sections()
        .filter(|s| s.name.starts_with("segment"))
        .map(segment)
        .collect();
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

fn segment(section: &Section) -> Segment {
    let kind = section.string("type").unwrap_or_default();
    let mut kinds = kind.split('+').map(str::to_owned);
    let sectors = |key| section.number(key).map(Sectors);
    let used = |key: &&str| {
        section.string(key).map(|lv| Use {
            key: (*key).to_owned(),
            lv: lv.to_owned(),
        })
    };
    Segment {
        start_extent: section.number("start_extent").unwrap_or(0),
        extent_count: section.number("extent_count").unwrap_or(0),
        kind: kinds.next().unwrap_or_default(),
        kind_flags: kinds.collect(),
        areas: areas(section),
        stripe_size: sectors("stripe_size"),
        region_size: sectors("region_size"),
        data_copies: section.number("data_copies"),
        data_offset: sectors("data_offset"),
        reshape_count: section.field("reshape_count").and_then(Value::int),
        chunk_size: sectors("chunk_size"),
        transaction_id: section.number("transaction_id"),
        device_id: section.number("device_id"),
        uses: USES.iter().filter_map(used).collect(),
    }
}

/// The areas of a segment: `stripes` and `mirrors` list volume and first extent, `raids` the volumes of metadata and
/// data, `raid0_lvs` those of data.
fn areas(section: &Section) -> Vec<Area> {
    let list = |key| section.field(key).map(Value::list).unwrap_or_default();
    if let pairs @ [_, ..] = list("raids") {
        let names: Vec<&str> = pairs.iter().filter_map(Value::text).collect();
        return names
            .chunks(2)
            .map(|pair| Area {
                on: pair.last().copied().unwrap_or_default().to_owned(),
                extent: 0,
                meta: pair
                    .first()
                    .filter(|_| pair.len() == 2)
                    .map(ToString::to_string),
            })
            .collect();
    }
    let mut areas: Vec<Area> = Vec::new();
    for value in ["stripes", "mirrors", "raid0_lvs"]
        .into_iter()
        .flat_map(list)
    {
        match (value, areas.last_mut()) {
            (Value::Text(on) | Value::Word(on), _) => areas.push(Area {
                on: on.clone(),
                ..Area::default()
            }),
            // A number that cannot be an extent must not become extent 0: it is made one that no volume has.
            (value, Some(area)) => {
                area.extent = value
                    .int()
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or(u64::MAX);
            }
            (_, None) => {}
        }
    }
    areas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    fn group(name: &str, id: &str, lv: &str, extent: u64) -> VolumeGroup {
        let text = format!(
            "{name} {{ id = \"{id}\" seqno = 1 extent_size = 8192\n\
             physical_volumes {{ pv0 {{ id = \"{id}\" pe_start = 2048 pe_count = 10 }} }}\n\
             logical_volumes {{ \"{lv}\" {{ status = [\"VISIBLE\"] segment1 {{ start_extent = 0 extent_count = 4\n\
             type = \"striped\" stripes = [\"pv0\", {extent}] }} }} }} }}"
        );
        VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap()
    }

    const ID: &str = "NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6";

    /// A text from a damaged disk becomes arguments of commands that root runs: an option in place of a name must
    /// make it unusable.
    #[test]
    fn names_that_lvm_refuses_are_faults() {
        assert_eq!(group("vg", ID, "home", 0).faults(), Vec::<String>::new());
        for (name, id, lv) in [
            ("-rf", ID, "home"),
            ("vg", "--config=x", "home"),
            ("vg", ID, "../../etc"),
            ("vg", ID, ".."),
            ("vg", ID, "a b"),
        ] {
            assert!(
                !group(name, id, lv, 0).faults().is_empty(),
                "{name} {id} {lv}"
            );
        }
    }

    /// A volume that ends behind its disk, or a segment that is not where it must be, is a text that lies.
    #[test]
    fn areas_must_fit() {
        assert!(!group("vg", ID, "home", 7).faults().is_empty());
        let vg = group("vg", ID, "home", 6);
        assert_eq!(vg.faults(), Vec::<String>::new());
        let (lv, extent) = vg.starts_on("pv0")[0];
        assert_eq!(lv.name, "home");
        assert_eq!(
            extent,
            Extent::new(Bytes(1 << 20) + Bytes(6 << 22), Bytes(4 << 22))
        );
    }

    /// A text with one volume of each kind; fields as lvm2 2.03.16 writes them.
    fn of_every_kind() -> VolumeGroup {
        let lv = |name: &str, extents: u64, rest: &str| {
            format!(
                "{name} {{ id = \"{ID}\" status = [\"READ\"] segment_count = 1\n\
                 segment1 {{ start_extent = 0 extent_count = {extents}\n{rest} }} }}\n"
            )
        };
        let on_pv = |name: &str, extents: u64, at: u64| {
            let rest = format!("type = \"striped\" stripe_count = 1 stripes = [\"pv0\", {at}]");
            lv(name, extents, &rest)
        };
        let mut lvs = String::new();
        for (at, name) in [
            "r_rmeta_0",
            "r_rimage_0",
            "r_rmeta_1",
            "r_rimage_1",
            "r_rmeta_2",
        ]
        .iter()
        .chain(&[
            "r_rimage_2",
            "m_mimage_0",
            "m_mimage_1",
            "m_mlog",
            "a",
            "b",
            "c",
        ])
        .enumerate()
        {
            lvs.push_str(&on_pv(name, 1, at as u64));
        }
        for (name, extents, rest) in [
            (
                "r",
                2,
                "type = \"raid5_ls+RESHAPE\" device_count = 3 stripe_size = 128 region_size = 4096\n\
                 data_offset = 8192 reshape_count = -1\n\
                 raids = [\"r_rmeta_0\", \"r_rimage_0\",\n\"r_rmeta_1\", \"r_rimage_1\",\n\
                 \"r_rmeta_2\", \"r_rimage_2\"]",
            ),
            (
                "z",
                2,
                "type = \"raid0\" stripe_count = 2 stripe_size = 128 raid0_lvs = [\"a\", \"b\"]",
            ),
            (
                "m",
                1,
                "type = \"mirror\" mirror_count = 2 mirror_log = \"m_mlog\" region_size = 1024\n\
                 mirrors = [\"m_mimage_0\", 0, \"m_mimage_1\", 0]",
            ),
            (
                "pool",
                1,
                "type = \"thin-pool\" metadata = \"a\" pool = \"b\" transaction_id = 7 chunk_size = 128",
            ),
            (
                "thin",
                100,
                "type = \"thin\" thin_pool = \"pool\" transaction_id = 3 device_id = 5 origin = \"-gone\"",
            ),
            (
                "snapshot0",
                1,
                "type = \"snapshot\" chunk_size = 8 origin = \"a\" cow_store = \"b\"",
            ),
            (
                "cpool",
                1,
                "type = \"cache-pool\" data = \"a\" metadata = \"b\" chunk_size = 128",
            ),
            (
                "cached",
                1,
                "type = \"cache\" cache_pool = \"cpool\" origin = \"c\"",
            ),
            (
                "wcached",
                1,
                "type = \"writecache\" origin = \"c\" writecache = \"b\"",
            ),
            ("vpool", 1, "type = \"vdo-pool\" data = \"a\""),
            (
                "vdo",
                9,
                "type = \"vdo\" vdo_pool = \"vpool\" vdo_offset = 0",
            ),
            (
                "whole",
                1,
                "type = \"integrity\" origin = \"a\" meta_dev = \"b\" data_sectors = 8192",
            ),
            ("lost", 3, "type = \"error\""),
        ] {
            lvs.push_str(&lv(name, extents, rest));
        }
        let text = format!(
            "vg {{ id = \"{ID}\" seqno = 1 extent_size = 8192 tags = [\"t1\"] system_id = \"host\"\n\
             physical_volumes {{ pv0 {{ id = \"{ID}\" pe_start = 2048 pe_count = 20 flags = [\"MISSING\"] }} }}\n\
             logical_volumes {{ {lvs} }}\n\
             historical_logical_volumes {{ gone {{ id = \"{ID}\" removal_time = 9 descendants = [\"thin\"] }} }} }}"
        );
        VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap()
    }

    /// A volume whose parts are not seen is one that nobody gets back, and a sound text of any kind must not be called
    /// impossible.
    #[test]
    fn every_kind_of_segment() {
        let vg = of_every_kind();
        assert_eq!(vg.faults(), Vec::<String>::new());
        assert_eq!(
            (vg.tags.as_slice(), vg.system_id.as_deref()),
            (["t1".to_owned()].as_slice(), Some("host"))
        );
        assert_eq!(vg.pvs[0].flags, ["MISSING"]);
        assert_eq!(
            (
                vg.historical[0].name.as_str(),
                vg.historical[0].descendants.as_slice()
            ),
            ("gone", ["thin".to_owned()].as_slice())
        );
        let segment = |lv: &str| vg.lv(lv).unwrap().segments[0].clone();
        let raid = segment("r");
        assert_eq!(
            (raid.kind.as_str(), raid.kind_flags.as_slice()),
            ("raid5_ls", ["RESHAPE".to_owned()].as_slice())
        );
        assert_eq!(
            (raid.reshape_count, raid.data_offset),
            (Some(-1), Some(Sectors(8192)))
        );
        let area = &raid.areas[2];
        assert_eq!(
            (area.on.as_str(), area.meta.as_deref()),
            ("r_rimage_2", Some("r_rmeta_2"))
        );
        assert_eq!(raid.area_extents(), Some(1));
        let names = |lv: &str| {
            segment(lv)
                .areas
                .into_iter()
                .map(|a| a.on)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("z"), ["a", "b"]);
        assert_eq!(names("m"), ["m_mimage_0", "m_mimage_1"]);
        let uses = |lv: &str| {
            let uses = segment(lv).uses.into_iter();
            uses.map(|u| format!("{}={}", u.key, u.lv))
                .collect::<Vec<_>>()
        };
        assert_eq!(uses("m"), ["mirror_log=m_mlog"]);
        assert_eq!(uses("pool"), ["metadata=a", "pool=b"]);
        assert_eq!(uses("thin"), ["origin=-gone", "thin_pool=pool"]);
        assert_eq!(uses("snapshot0"), ["origin=a", "cow_store=b"]);
        assert_eq!(uses("cpool"), ["metadata=b", "data=a"]);
        assert_eq!(uses("cached"), ["origin=c", "cache_pool=cpool"]);
        assert_eq!(uses("wcached"), ["origin=c", "writecache=b"]);
        assert_eq!(uses("vpool"), ["data=a"]);
        assert_eq!(uses("vdo"), ["vdo_pool=vpool"]);
        assert_eq!(uses("whole"), ["origin=a", "meta_dev=b"]);
        assert_eq!(
            (segment("pool").transaction_id, segment("thin").device_id),
            (Some(7), Some(5))
        );
    }

    /// Each contradiction alone must be seen: an array whose image is gone or too short, a pool without its data.
    #[test]
    fn what_is_named_must_be_there() {
        for (lv, gone) in [
            ("r", "r_rimage_1"),
            ("r", "r_rmeta_1"),
            ("m", "m_mlog"),
            ("pool", "b"),
        ] {
            let mut vg = of_every_kind();
            vg.lvs.retain(|l| l.name != gone);
            let faults = vg.faults();
            assert!(
                faults.iter().any(|f| f.starts_with(&format!("{lv}: "))),
                "{lv} {gone}: {faults:?}"
            );
        }
        let mut vg = of_every_kind();
        let raid = vg.lvs.iter_mut().find(|l| l.name == "r").unwrap();
        raid.segments[0].extent_count = 4;
        assert!(!vg.faults().is_empty());
    }
}
