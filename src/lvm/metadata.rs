//! What a metadata text says, typed: the volume group, its physical and logical volumes, their segments.
//!
//! Extents here are LVM's: a number of `extent_size` sectors each.

use super::text::{Section, Value};
use super::{dashed, is_id};
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;

/// A volume group.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Physical volumes, in the text's order.
    pub pvs: Vec<PhysicalVolume>,
    /// Logical volumes, in the text's order.
    pub lvs: Vec<LogicalVolume>,
}

/// A physical volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// `MISSING` and others.
    pub flags: Vec<String>,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its id, dashed.
    pub id: String,
    /// `READ`, `WRITE`, `VISIBLE`, …
    pub status: Vec<String>,
    /// Its segments, in the order of their start.
    pub segments: Vec<Segment>,
}

/// A run of a logical volume that lies in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Segment {
    /// Its first extent in the logical volume.
    pub start_extent: u64,
    /// How many extents.
    pub extent_count: u64,
    /// `striped` (linear is striped over one), `raid1`, `thin`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it lies: physical or logical volume, and first extent there.
    pub areas: Vec<Area>,
    /// Sectors of a stripe.
    pub stripe_size: Option<Sectors>,
}

/// Where a stripe of a segment lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    /// A physical volume's name, or a logical volume's.
    pub on: String,
    /// First extent there.
    pub extent: u64,
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
            pvs: inside("physical_volumes").map(physical_volume).collect(),
            lvs: inside("logical_volumes").map(logical_volume).collect(),
        })
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
        self.extents(
            lv.segments
                .iter()
                .map(|s| s.extent_count)
                .fold(0, u64::saturating_add),
        )
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

    /// What cannot be so in a sound text: areas outside their volume or over each other, gaps between segments.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.extent_size.0 == 0 {
            faults.push("no extent size".to_owned());
        }
        if self.pvs.is_empty() {
            faults.push("no physical volume".to_owned());
        }
        self.name_faults(&mut faults);
        for lv in &self.lvs {
            let mut next = 0;
            for segment in &lv.segments {
                if segment.start_extent != next {
                    faults.push(format!("{}: no segment at extent {next}", lv.name));
                }
                next = segment.start_extent.saturating_add(segment.extent_count);
            }
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
        let mut used: Vec<(&str, u64, u64, &str)> = Vec::new();
        for lv in &self.lvs {
            for segment in lv.segments.iter().filter(|s| s.kind == "striped") {
                let length = segment.extent_count / (segment.areas.len() as u64).max(1);
                for area in &segment.areas {
                    let end = area.extent.saturating_add(length);
                    match self.pv(&area.on) {
                        Some(pv) if end > pv.pe_count => {
                            faults.push(format!("{}: ends behind {}", lv.name, pv.name));
                        }
                        Some(_) => used.push((&area.on, area.extent, end, &lv.name)),
                        None if self.lv(&area.on).is_none() => {
                            faults.push(format!("{}: lies on unknown {}", lv.name, area.on));
                        }
                        None => {}
                    }
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

/// LVM's rule for names of groups and volumes.
fn is_name(name: &str) -> bool {
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
        flags: section.strings("flags"),
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
        segments,
    }
}

fn segment(section: &Section) -> Segment {
    let list = ["stripes", "mirrors", "raids"]
        .iter()
        .find_map(|key| section.field(key))
        .map(Value::list)
        .unwrap_or_default();
    let mut areas: Vec<Area> = Vec::new();
    for value in list {
        match (value, areas.last_mut()) {
            (Value::Int(extent), Some(area)) => area.extent = u64::try_from(*extent).unwrap_or(0),
            (value, _) => areas.extend(value.text().map(|on| Area {
                on: on.to_owned(),
                extent: 0,
            })),
        }
    }
    Segment {
        start_extent: section.number("start_extent").unwrap_or(0),
        extent_count: section.number("extent_count").unwrap_or(0),
        kind: section.string("type").unwrap_or_default().to_owned(),
        areas,
        stripe_size: section.number("stripe_size").map(Sectors),
    }
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
}
