//! Physical volumes inside a logical volume of another group: a virtual machine's disk, most often.
//!
//! On the disk such a physical volume goes on only as far as the volume around
//! it does. Behind that lies something else, and reading on as if it were one
//! piece would give a volume that starts right and ends wrong.

use super::super::{members, volumes};
use super::known;
use crate::image::SharedSource;
use crate::inputs::Slice;
use crate::investigate::arrays::ArrayFound;
use crate::investigate::signs::Asked;
use crate::lvm::metadata::{LogicalVolume, PhysicalVolume, VolumeGroup};
use crate::lvm::segment::Segment;
use crate::lvm::segtype::{self, Lies};
use crate::lvm::starts;
use crate::md::level::Level;
use crate::units::{Bytes, Sectors};
use std::collections::BTreeMap;

/// Groups in whose volumes others are looked for.
const MOST_HOSTS: usize = 8;

/// Volumes lie on each other four deep in real groups; a hostile text must not nest without end.
const DEEPEST: usize = 8;

/// What goes on in one run where nothing says more: a block.
const LEAST: Bytes = Bytes(4096);

/// A physical volume that was cut where the volume around it goes on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested {
    /// What the cut one is called.
    pub slice: String,
    /// How much of it there is.
    pub run: Bytes,
    /// The group and the volume around it.
    pub inside: String,
}

impl Nested {
    /// What is not read, and what to do, as a sentence, where this physical volume of a group is the one.
    pub fn told(&self, vg: &VolumeGroup, pv: &PhysicalVolume) -> Option<String> {
        let Nested { slice, run, inside } = self;
        (vg.reach(pv) > *run).then(|| {
            format!(
                "{} ({}) lies on {slice} inside of the volume {inside}, of which {run} from there on lie in one piece: what \
                 is behind is not read; export {inside} and examine that image",
                pv.name, pv.id
            )
        })
    }
}

/// Groups whose physical volumes are known without a trial, and where these lie.
pub(super) struct Hosts<'a> {
    slices: &'a [Slice],
    /// Texts of a group, the best first, and the slices by the ids of its physical volumes.
    groups: Vec<(Vec<&'a VolumeGroup>, BTreeMap<String, String>)>,
}

impl<'a> Hosts<'a> {
    pub(super) fn new(
        slices: &'a [Slice],
        arrays: &[ArrayFound],
        texts: &[&'a VolumeGroup],
    ) -> Hosts<'a> {
        let (volumes, members) = (volumes(arrays, slices), members(arrays));
        let mut groups: Vec<(Vec<&'a VolumeGroup>, BTreeMap<String, String>)> = Vec::new();
        for text in texts.iter().copied() {
            let is_its = |(known, _): &&mut (Vec<&VolumeGroup>, _)| {
                known.first().is_some_and(|first| first.id == text.id)
            };
            if let Some((known, _)) = groups.iter_mut().find(is_its) {
                known.push(text);
            } else if groups.len() < MOST_HOSTS {
                let placed = known(text, &volumes, &members);
                let ids = placed.into_iter().filter_map(|(pv, on)| {
                    let pv = text.pv(&pv)?;
                    Some((pv.id.clone(), on))
                });
                groups.push((vec![text], ids.collect()));
            }
        }
        Hosts { slices, groups }
    }

    /// The volume around a place of an input, and how far it goes on from there in one run.
    pub(super) fn around(&self, input: usize, at: Bytes) -> Option<(String, Bytes)> {
        let here = |slice: &&Slice| {
            slice.input == input && slice.extent.offset < at && at < slice.extent.end()
        };
        for slice in self.slices.iter().filter(here) {
            let inside = at - slice.extent.offset;
            for (texts, ids) in &self.groups {
                for (id, _) in ids.iter().filter(|(_, on)| **on == slice.name) {
                    let found = texts.iter().find_map(|vg| {
                        let pv = vg.pvs.iter().find(|pv| pv.id == *id)?;
                        run(vg, pv, inside)
                    });
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }
}

/// Whether a physical volume goes on behind `run` all the same: most of what a text puts there stands. The text around it
/// is then of an earlier life of the disk.
pub(super) fn goes_on(texts: &[&VolumeGroup], id: &str, volume: &SharedSource, run: Bytes) -> bool {
    let of = |vg: &&VolumeGroup| vg.pvs.iter().any(|pv| pv.id == id);
    let Some(vg) = texts.iter().copied().find(of) else {
        return false;
    };
    let mut asked = Asked::default();
    let (mut stand, mut all) = (0_usize, 0_usize);
    let its = |name: &str| vg.pv(name).is_some_and(|pv| pv.id == id);
    for sign in starts::expected(vg) {
        if its(sign.start.pv) && sign.start.at >= run {
            all += 1;
            stand += usize::from(asked.stands(&sign, 0, volume));
        }
    }
    stand * 2 > all
}

/// The visible volume that lies at a byte of a physical volume, and for how many bytes it goes on there.
fn run(vg: &VolumeGroup, pv: &PhysicalVolume, at: Bytes) -> Option<(String, Bytes)> {
    let start = |extent| Bytes::from(pv.pe_start) + vg.extents(extent);
    for lv in &vg.lvs {
        for (number, segment) in lv.segments.iter().enumerate() {
            let length = segment.area_extents().unwrap_or(0);
            let covers =
                |extent: u64| start(extent) <= at && at < start(extent.saturating_add(length));
            let mut areas = segment.areas.iter().filter(|a| a.on == pv.name);
            let Some(area) = areas.find(|area| covers(area.extent)) else {
                continue;
            };
            let end = start(area.extent.saturating_add(length));
            let inside = at - start(area.extent);
            let own = in_segment(segment, inside, end - at);
            let more = match own == end - at {
                true => following(vg, lv, number, pv, area.extent.saturating_add(length)),
                false => Bytes::ZERO,
            };
            let offset = vg.extents(segment.start_extent) + inside;
            return Some(above(vg, lv, offset, own + more));
        }
    }
    None
}

/// How far a segment goes on from a byte of one of its areas, of which so much is left.
fn in_segment(segment: &Segment, inside: Bytes, left: Bytes) -> Bytes {
    match segtype::lies(segment) {
        Ok(Lies::Striped) if segment.areas.len() == 1 => left,
        Ok(Lies::Images(Level::Raid1, _) | Lies::Moved(_)) => left,
        _ => left.min(in_chunk(segment.stripe_size, inside)),
    }
}

/// The rest of the chunk that a byte lies in.
fn in_chunk(chunk: Option<Sectors>, inside: Bytes) -> Bytes {
    let chunk = chunk.map_or(LEAST, Bytes::from).max(LEAST);
    chunk - Bytes(inside.0 % chunk.0)
}

/// Bytes of the segments behind one that go on right behind it on the same physical volume.
fn following(
    vg: &VolumeGroup,
    lv: &LogicalVolume,
    number: usize,
    pv: &PhysicalVolume,
    mut end: u64,
) -> Bytes {
    let mut more = Bytes::ZERO;
    for segment in lv.segments.iter().skip(number + 1) {
        let goes_on = matches!(
            (segtype::lies(segment), segment.areas.as_slice()),
            (Ok(Lies::Striped), [area]) if area.on == pv.name && area.extent == end
        );
        if !goes_on {
            break;
        }
        more = more + vg.extents(segment.extent_count);
        end = end.saturating_add(segment.extent_count);
    }
    more
}

/// Goes from a volume to those that lie on it: the one that people see, and how far that goes on in one run.
fn above(vg: &VolumeGroup, lv: &LogicalVolume, offset: Bytes, mut run: Bytes) -> (String, Bytes) {
    let mut at = lv;
    for _ in 0..DEEPEST {
        let users = vg
            .lvs
            .iter()
            .flat_map(|user| user.segments.iter().map(move |s| (user, s)));
        let mut users = users.filter_map(|(user, s)| Some((user, through(s, &at.name, offset)?)));
        let Some((user, most)) = users.next() else {
            break;
        };
        run = run.min(most);
        at = user;
    }
    (format!("{}/{}", vg.name, at.name), run)
}

/// How far a segment over a volume goes on from a byte of it; nothing where it does not lie on that.
fn through(segment: &Segment, on: &str, offset: Bytes) -> Option<Bytes> {
    const ALL: Bytes = Bytes(u64::MAX);
    if segment.areas.iter().any(|area| area.on == on) {
        return Some(in_segment(segment, offset, ALL));
    }
    let of = segment.uses.iter().find(|u| u.lv == on)?;
    match (segment.kind.as_str(), of.key.as_str()) {
        ("cache" | "writecache" | "integrity", "origin") => Some(ALL),
        ("thin-pool", "pool") | ("cache-pool" | "vdo-pool", "data") => {
            Some(in_chunk(segment.chunk_size, offset))
        }
        ("snapshot", "cow_store" | "merging_store") => Some(in_chunk(segment.chunk_size, offset)),
        // Thin volumes and snapshots read what their origin holds where it lies, and the rest names no bytes of it.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    fn group() -> VolumeGroup {
        let lv = |name: &str, segments: &str| format!("{name} {{ {segments} }}\n");
        let one = |n: u64, start: u64, count: u64, rest: &str| {
            format!("segment{n} {{ start_extent = {start} extent_count = {count} {rest} }}\n")
        };
        let on = |pv: &str, at: u64| format!("type = \"striped\" stripes = [\"{pv}\", {at}]");
        let lvs = [
            lv(
                "split",
                &(one(1, 0, 2, &on("pv0", 0))
                    + &one(2, 2, 1, &on("pv0", 2))
                    + &one(3, 3, 4, &on("pv0", 9))),
            ),
            lv("r_rimage_0", &one(1, 0, 2, &on("pv0", 3))),
            lv(
                "r",
                &one(
                    1,
                    0,
                    2,
                    "type = \"raid1\" raids = [\"r_rmeta_0\", \"r_rimage_0\"]",
                ),
            ),
            lv(
                "wide",
                &one(
                    1,
                    0,
                    4,
                    "type = \"striped\" stripe_size = 128 stripes = [\"pv0\", 5, \"pv1\", 0]",
                ),
            ),
            lv("pool_tdata", &one(1, 0, 2, &on("pv0", 7))),
            lv(
                "pool",
                &one(
                    1,
                    0,
                    2,
                    "type = \"thin-pool\" pool = \"pool_tdata\" metadata = \"m\" chunk_size = 256",
                ),
            ),
            lv(
                "thin",
                &one(1, 0, 9, "type = \"thin\" thin_pool = \"pool\""),
            ),
        ];
        let all = format!(
            "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 extent_size = 2048\n\
             physical_volumes {{ pv0 {{ pe_start = 2048 pe_count = 20 }} pv1 {{ pe_start = 2048 pe_count = 20 }} }}\n\
             logical_volumes {{ {} }} }}",
            lvs.concat()
        );
        VolumeGroup::from_section(&text::section(all.as_bytes()).value).unwrap()
    }

    /// Each is what lies behind a byte of the disk in one run; one byte more is another volume's.
    #[test]
    fn volumes_go_on_as_far_as_they_do() {
        let vg = group();
        let pv = vg.pv("pv0").unwrap();
        let at = |kib: u64| run(&vg, pv, Bytes::kib(kib)).map(|(lv, run)| (lv, run.0 >> 10));
        let mib = |n: u64| n << 10;
        let is = |lv: &str, kib: u64| Some((format!("vg/{lv}"), kib));
        // The second segment goes on right behind the first, the third does not.
        assert_eq!(at(mib(2)), is("split", mib(2)));
        assert_eq!(at(mib(10)), is("split", mib(4)));
        assert_eq!(at(mib(4) + 64), is("r", mib(2) - 64));
        assert_eq!(at(mib(6) + 16), is("wide", 48));
        assert_eq!(at(mib(8) + 128 + 32), is("pool", 96));
        assert_eq!((at(512), at(mib(19))), (None, None));
    }

    /// Only where the cut takes something away is there a doubt.
    #[test]
    fn what_is_cut_is_told() {
        let vg = group();
        let pv = vg.pv("pv1").unwrap();
        let nested = |mib| Nested {
            slice: "sda@1+2".to_owned(),
            run: Bytes::mib(mib),
            inside: "host/vm".to_owned(),
        };
        assert_eq!(nested(21).told(&vg, pv), None);
        let told = nested(20).told(&vg, pv).unwrap();
        assert!(told.contains("inside of the volume host/vm"), "{told}");
    }
}
