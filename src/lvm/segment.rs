//! Segments: the runs of a logical volume, each lying in one way on physical or other logical volumes.

use super::metadata::fitted;
use super::text::{Section, Value};
use crate::units::Sectors;
use serde::Serialize;

/// A run of a logical volume that lies in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
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
    /// Of a segment that `pvmove` moves from its first area to its second: how many of its extents are moved. No other
    /// segment has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extents_moved: Option<u64>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
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

impl Segment {
    /// Of a segment that `pvmove` moves, the area that its bytes are on: the first until all of it is moved, which is
    /// written to until then, and from then on the second alone.
    ///
    /// lvm2 notes only that a segment is moved whole, never how far it is. Source: `_mirrored_add_target_line` and
    /// `_mirrored_text_import` in its `lib/mirror/mirrored.c`; held against the kernel by `tests/lab/histories`.
    pub fn moved(&self) -> Option<usize> {
        let moved = self.extents_moved.filter(|_| self.kind == "mirror")?;
        Some(usize::from(moved >= self.extent_count))
    }

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

/// Reads a `segmentN` section.
pub(super) fn read(section: &Section) -> Segment {
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
        extents_moved: section.number("extents_moved"),
        transaction_id: section.number("transaction_id"),
        device_id: section.number("device_id"),
        uses: fitted(USES.iter().filter_map(used)),
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
    areas.shrink_to_fit();
    areas
}
