//! What cannot be so in a sound text: the arithmetic of a volume group, and the names that LVM allows.

use super::metadata::{LogicalVolume, PhysicalVolume, VolumeGroup};
use super::{dashed, is_id};
use crate::units::Bytes;
use std::collections::BTreeMap;

impl VolumeGroup {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;
    use crate::units::{Extent, Sectors};

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
