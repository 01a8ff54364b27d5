//! What failing extents of disks hit: which bytes of which array, which logical volume, which files; and from which
//! other disk the same bytes can be read.

use crate::disk::{self, Partition};
use crate::fs::browse::Browser;
use crate::fs::ext_find;
use crate::fs::ext_owner::Owners;
use crate::layout::{ArrayEntry, Layout, Stack};
use crate::lvm::metadata::{LogicalVolume, VolumeGroup};
use crate::lvm::segment::Segment;
use crate::md::geometry::{Content, Geometry, Place};
use crate::parse::printable;
use crate::smart::rank::{Disk, Verdict};
use crate::units::{Bytes, Extent, merge};
use serde::Serialize;
use std::collections::BTreeMap;

/// Pieces that one disk's failing extents are cut into at most.
const MOST_PIECES: usize = 10_000;

/// A member that holds the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// The member.
    pub member: String,
    /// Where on its disk, in bytes.
    pub offset: Bytes,
    /// Its disk's verdict, where there is a report.
    pub verdict: Option<Verdict>,
    /// Whether its own logs name these bytes too.
    pub fails_too: bool,
}

/// A file that lies in a failing extent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileHit {
    /// Its path in the volume, safe to show.
    pub path: String,
    /// The extents of the file.
    pub extents: Vec<Extent>,
}

/// A failing extent, followed up the stack as far as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The disk.
    pub disk: String,
    /// The extent on it, in bytes.
    pub on_disk: Extent,
    /// What of the layout lies there: a member or a partition.
    pub member: Option<String>,
    /// The array, and its bytes.
    pub array: Option<(String, Extent)>,
    /// The other members with the same bytes, the healthiest first.
    pub mirrors: Vec<Mirror>,
    /// Whether the others' parity gives these bytes.
    pub from_parity: bool,
    /// The volume (`guests/home`, an array, a partition), and its bytes.
    pub volume: Option<(String, Extent)>,
    /// The files.
    pub files: Vec<FileHit>,
    /// What else lies there, or why more is not known.
    pub notes: Vec<String>,
}

impl Hit {
    /// The member to read these bytes from: a mirror that does not fail there itself.
    pub fn read_from(&self) -> Option<&Mirror> {
        self.mirrors.iter().find(|m| !m.fails_too)
    }
}

/// Where a name of the layout lies: `sda`, `sda@2`, `sda@1048576+4096`.
fn place_of(layout: &Layout, name: &str) -> Option<(String, Extent)> {
    let image = |name: &str| layout.images.iter().find(|i| i.name == name);
    if let Some(whole) = image(name) {
        return Some((name.to_owned(), Extent::new(Bytes::ZERO, whole.size)));
    }
    let (disk, part) = name.rsplit_once('@')?;
    let extent = match part.split_once('+') {
        Some((offset, length)) => {
            Extent::new(Bytes(offset.parse().ok()?), Bytes(length.parse().ok()?))
        }
        None => {
            let number: u32 = part.parse().ok()?;
            let partition = image(disk)?
                .partitions
                .iter()
                .find(|p| p.number == number)?;
            Extent::new(partition.offset, partition.length)
        }
    };
    Some((disk.to_owned(), extent))
}

/// Follows the failing extents of every disk up a layout; `disks` are the reports by image.
pub fn hits(layout: &Layout, stack: &Stack, disks: &BTreeMap<String, &Disk>) -> Vec<Hit> {
    let follow = Follow {
        layout,
        stack,
        disks,
    };
    let mut hits = Vec::new();
    for (name, disk) in disks {
        let before = hits.len();
        for failing in &disk.failing_extents {
            if hits.len() - before < MOST_PIECES {
                follow.disk(name, failing.extent, &mut hits);
            }
        }
    }
    follow.files(&mut hits);
    hits
}

struct Follow<'a> {
    layout: &'a Layout,
    stack: &'a Stack,
    disks: &'a BTreeMap<String, &'a Disk>,
}

impl Follow<'_> {
    fn disk(&self, disk: &str, failing: Extent, hits: &mut Vec<Hit>) {
        let base = Hit {
            disk: disk.to_owned(),
            on_disk: failing,
            ..Hit::default()
        };
        let before = hits.len();
        for array in &self.layout.arrays {
            let Ok(geometry) = array.geometry() else {
                continue;
            };
            for (member, slot) in array.members.iter().zip(0..) {
                let place = place_of(self.layout, member).filter(|(image, _)| image == disk);
                if let Some(part) = place.and_then(|(_, extent)| extent.overlap(failing)) {
                    let mut hit = base.clone();
                    hit.on_disk = part;
                    hit.member = Some(member.clone());
                    self.member(array, &geometry, slot, hit, hits);
                }
            }
        }
        for part in self.plain_parts(disk) {
            let place =
                place_of(self.layout, &part).and_then(|(_, e)| Some((e, e.overlap(failing)?)));
            if let Some((extent, overlap)) = place {
                let mut hit = base.clone();
                hit.on_disk = overlap;
                hit.member = Some(part.clone());
                let inside = Extent::new(overlap.offset - extent.offset, overlap.length);
                self.volume(&part, inside, hit, hits);
            }
        }
        if hits.len() == before {
            let mut hit = base;
            let image = self.layout.images.iter().find(|i| i.name == disk);
            let note = match image {
                None => "not a whole disk of the layout: what lies there is not known".to_owned(),
                Some(image) if failing.offset >= image.size => {
                    format!("behind the image's end at {} bytes", image.size.0)
                }
                Some(_) => {
                    "outside of all that the layout names: partition tables, gaps, or free space"
                        .to_owned()
                }
            };
            hit.notes.push(note);
            hits.push(hit);
        }
    }

    /// Partitions of a disk that are no member of an array; the disk itself where it has none.
    fn plain_parts(&self, disk: &str) -> Vec<String> {
        let Some(image) = self.layout.images.iter().find(|i| i.name == disk) else {
            return Vec::new();
        };
        let numbers = image
            .partitions
            .iter()
            .map(|p| format!("{disk}@{}", p.number));
        let mut parts: Vec<String> = numbers.collect();
        if parts.is_empty() {
            parts.push(disk.to_owned());
        }
        parts.retain(|p| !self.layout.arrays.iter().any(|a| a.members.contains(p)));
        parts
    }

    fn member(
        &self,
        array: &ArrayEntry,
        geometry: &Geometry,
        slot: usize,
        hit: Hit,
        hits: &mut Vec<Hit>,
    ) {
        let Some((_, on)) = hit.member.as_ref().and_then(|m| place_of(self.layout, m)) else {
            return;
        };
        let data = on.offset + array.data_offset(slot);
        let mut at = hit.on_disk.offset;
        if at < data {
            let mut front = hit.clone();
            front.on_disk.length = hit.on_disk.end().min(data) - at;
            front
                .notes
                .push("before the array's data: md's own metadata, or nothing".to_owned());
            hits.push(front);
            at = data;
        }
        // Of this extent alone: one disk with many must not hide another's.
        let most = hits.len() + MOST_PIECES;
        while at < hit.on_disk.end() && hits.len() < most {
            let left = hit.on_disk.end() - at;
            let mut piece = hit.clone();
            let offset = at - data;
            let run = match geometry.content(Place { slot, offset }) {
                Some(Content::Data { array: bytes, .. }) => {
                    let run = bytes.length.min(left);
                    piece.on_disk = Extent::new(at, run);
                    let bytes = Extent::new(bytes.offset, run);
                    piece.array = Some((array.name.clone(), bytes));
                    piece.mirrors = self.mirrors(array, geometry, slot, bytes);
                    if geometry.level().parities() > 0 {
                        piece.from_parity = true;
                        piece
                            .notes
                            .push("the others' parity gives these bytes".to_owned());
                    }
                    self.volume(&array.name, bytes, piece, hits);
                    run
                }
                Some(Content::P { run, .. } | Content::Q { run, .. }) => {
                    let run = run.min(left);
                    piece.on_disk = Extent::new(at, run);
                    piece.notes.push("parity: of no file".to_owned());
                    hits.push(piece);
                    run
                }
                None => {
                    piece.on_disk = Extent::new(at, left);
                    piece
                        .notes
                        .push("behind the array's data: of no file".to_owned());
                    hits.push(piece);
                    left
                }
            };
            at = at + run.max(Bytes(1));
        }
    }

    /// The other members that hold these bytes of the array.
    fn mirrors(
        &self,
        array: &ArrayEntry,
        geometry: &Geometry,
        slot: usize,
        bytes: Extent,
    ) -> Vec<Mirror> {
        let (places, _) = geometry.places(bytes.offset);
        let others = places.into_iter().filter(|p| p.slot != slot);
        let mut mirrors: Vec<Mirror> = others
            .filter_map(|place| {
                let member = array.members.get(place.slot)?;
                let (image, on) = place_of(self.layout, member)?;
                let offset = on.offset + array.data_offset(place.slot) + place.offset;
                let disk = self.disks.get(&image);
                let there = Extent::new(offset, bytes.length);
                let fails = disk.is_some_and(|d| {
                    d.failing_extents
                        .iter()
                        .any(|f| f.extent.overlap(there).is_some())
                });
                Some(Mirror {
                    member: member.clone(),
                    offset,
                    verdict: disk.map(|d| d.verdict),
                    fails_too: fails,
                })
            })
            .collect();
        mirrors.sort_by_key(|m| (m.fails_too, m.verdict.unwrap_or(Verdict::Unknown)));
        mirrors
    }

    /// Bytes of an array or partition: of logical volumes where it is a physical one, else of its own file system.
    fn volume(&self, name: &str, bytes: Extent, mut hit: Hit, hits: &mut Vec<Hit>) {
        let before = hits.len();
        let mut is_pv = false;
        for (vg, entry) in self.stack.groups().zip(&self.layout.vgs) {
            for (pv, _) in entry.pvs.iter().filter(|(_, volume)| *volume == name) {
                is_pv = true;
                for lv in &vg.lvs {
                    for (inside, odd) in on_lv(vg, lv, pv, bytes) {
                        let mut of_lv = hit.clone();
                        of_lv.volume = Some((format!("{}/{}", vg.name, lv.name), inside));
                        of_lv.notes.extend(odd);
                        hits.push(of_lv);
                    }
                }
            }
        }
        if is_pv && hits.len() == before {
            hit.notes
                .push("of no logical volume: LVM's metadata, or free extents".to_owned());
            hits.push(hit);
        } else if !is_pv {
            hit.volume = Some((name.to_owned(), bytes));
            hits.push(hit);
        }
    }

    /// Looks up the files of every volume that was hit, each volume once.
    fn files(&self, hits: &mut [Hit]) {
        let mut by_volume: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (hit, i) in hits.iter().zip(0..) {
            if let Some((volume, _)) = &hit.volume {
                by_volume.entry(volume.clone()).or_default().push(i);
            }
        }
        for (volume, indexes) in by_volume {
            let mut by_part: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            let table = self.partitions(&volume);
            for i in indexes {
                let Some(hit) = hits.get_mut(i) else { continue };
                by_part
                    .entry(into_partition(&volume, &table, hit))
                    .or_default()
                    .push(i);
            }
            for (part, indexes) in by_part {
                self.files_of(&part, &indexes, hits);
            }
        }
    }

    /// Partitions inside a volume: a guest's disk has them. Empty where a file system begins it.
    fn partitions(&self, volume: &str) -> Vec<Partition> {
        let Ok(source) = self.stack.volume(volume) else {
            return Vec::new();
        };
        match ext_find::find(&*source) {
            Ok(_) => Vec::new(),
            Err(_) => disk::partitions(&*source).map_or_else(|_| Vec::new(), |t| t.partitions),
        }
    }

    fn files_of(&self, volume: &str, indexes: &[usize], hits: &mut [Hit]) {
        let extent = |i: &usize| hits.get(*i)?.volume.as_ref().map(|(_, e)| *e);
        let extents: Vec<Extent> = indexes.iter().filter_map(extent).collect();
        let opened = self.stack.volume(volume).map_err(|e| e.to_string());
        let browser = opened.and_then(|v| Browser::open(v).map_err(|e| e.to_string()));
        let owners = browser.and_then(|b| b.owners(&extents).map_err(|e| e.to_string()));
        for i in indexes {
            let Some(hit) = hits.get_mut(*i) else {
                continue;
            };
            match &owners {
                Ok(owners) => of_files(owners, hit),
                Err(error) => hit.notes.push(format!("its files are not known: {error}")),
            }
        }
    }
}

/// The partition that a hit lies in whole, which becomes its volume; else the volume itself.
fn into_partition(volume: &str, table: &[Partition], hit: &mut Hit) -> String {
    let Some((_, extent)) = hit.volume else {
        return volume.to_owned();
    };
    let holds = |p: &&Partition| p.extent.overlap(extent) == Some(extent);
    let Some(partition) = table.iter().find(holds) else {
        return volume.to_owned();
    };
    let name = format!("{volume}@{}", partition.number);
    let inside = Extent::new(extent.offset - partition.extent.offset, extent.length);
    hit.volume = Some((name.clone(), inside));
    name
}

fn of_files(owners: &Owners, hit: &mut Hit) {
    let Some((_, extent)) = hit.volume else {
        return;
    };
    for (path, parts) in &owners.files {
        let here = parts.iter().filter_map(|part| {
            let overlap = part.of_volume.overlap(extent)?;
            let within = overlap.offset - part.of_volume.offset;
            Some(Extent::new(part.of_file.offset + within, overlap.length))
        });
        let extents = merge(here.collect());
        if !extents.is_empty() {
            let path = printable(path);
            hit.files.push(FileHit { path, extents });
        }
    }
    let structures = owners
        .structures
        .iter()
        .filter(|(e, _)| e.overlap(extent).is_some());
    hit.notes.extend(structures.map(|(_, what)| what.clone()));
    let nobody = owners.nobody.iter().filter_map(|e| e.overlap(extent));
    let bytes: u64 = nobody.map(|e| e.length.0).sum();
    if bytes > 0 {
        hit.notes.push(format!("{} of no file", Bytes(bytes)));
    }
    if !owners.unread.is_empty() {
        hit.notes.push(format!(
            "{} files or folders could not be looked at; more may be hit",
            owners.unread.len()
        ));
    }
}

/// The extents of a logical volume that lie in bytes of a physical one, with what is not known of them.
fn on_lv(
    vg: &VolumeGroup,
    lv: &LogicalVolume,
    pv: &str,
    bytes: Extent,
) -> Vec<(Extent, Option<String>)> {
    let Some(physical) = vg.pv(pv) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for segment in &lv.segments {
        let width = segment.areas.len().max(1) as u64;
        let start = vg.extents(segment.start_extent);
        let length = Bytes(vg.extents(segment.extent_count).0 / width);
        for (area, column) in segment
            .areas
            .iter()
            .zip(0_u64..)
            .filter(|(a, _)| a.on == pv)
        {
            let at = Bytes::from(physical.pe_start) + vg.extents(area.extent);
            let Some(hit) = Extent::new(at, length).overlap(bytes) else {
                continue;
            };
            let within = Extent::new(hit.offset - at, hit.length);
            match (segment.kind.as_str(), width) {
                ("striped", 1) => {
                    found.push((Extent::new(start + within.offset, within.length), None))
                }
                ("striped", _) => {
                    let parts = striped(segment, column, within).into_iter();
                    found.extend(parts.map(|e| (Extent::new(start + e.offset, e.length), None)));
                }
                (kind, _) => {
                    let odd = format!("in a segment of type {kind}: where in it is not worked out");
                    found.push((
                        Extent::new(start, vg.extents(segment.extent_count)),
                        Some(odd),
                    ));
                }
            }
        }
    }
    let (exact, odd): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, odd)| odd.is_none());
    let exact = merge(exact.into_iter().map(|(e, _)| e).collect());
    exact.into_iter().map(|e| (e, None)).chain(odd).collect()
}

/// Bytes of a striped segment that lie in bytes of one of its columns.
fn striped(segment: &Segment, column: u64, within: Extent) -> Vec<Extent> {
    let width = segment.areas.len() as u64;
    let stripe = segment.stripe_size.map(Bytes::from).unwrap_or_default().0;
    let mut parts = Vec::new();
    let mut at = within.offset.0;
    while stripe > 0 && at < within.end().0 && parts.len() < MOST_PIECES {
        let (row, inside) = (at / stripe, at % stripe);
        let length = (stripe - inside).min(within.end().0 - at);
        let logical = (row.saturating_mul(width).saturating_add(column)).saturating_mul(stripe);
        parts.push(Extent::new(Bytes(logical) + Bytes(inside), Bytes(length)));
        at += length;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::parse_text;

    const TEXT: &str = r#"vg {
id = "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"
seqno = 1
format = "lvm2"
status = ["READ"]
extent_size = 8
max_lv = 0
max_pv = 0
physical_volumes {
 pv0 { id = "cccccc-cccc-cccc-cccc-cccc-cccc-cccccc" status = ["ALLOCATABLE"] pe_start = 2048 pe_count = 100 }
 pv1 { id = "dddddd-dddd-dddd-dddd-dddd-dddd-dddddd" status = ["ALLOCATABLE"] pe_start = 2048 pe_count = 100 }
}
logical_volumes {
 flat { id = "eeeeee-eeee-eeee-eeee-eeee-eeee-eeeeee" status = ["VISIBLE"] segment_count = 1
  segment1 { start_extent = 0 extent_count = 10 type = "striped" stripe_count = 1 stripes = ["pv0", 5] } }
 wide { id = "ffffff-ffff-ffff-ffff-ffff-ffff-ffffff" status = ["VISIBLE"] segment_count = 1
  segment1 { start_extent = 0 extent_count = 20 type = "striped" stripe_count = 2 stripe_size = 4 stripes = ["pv0", 20, "pv1", 20] } }
}
}
# Generated by LVM2 version 2.03.16(2) (2022-05-18): Thu Jan  1 00:00:01 1970

contents = "Text Format Volume Group"
version = 1

description = ""

creation_host = "h"
creation_time = 1

"#;

    /// The other way round than reading: what is told must be what reading the volume would touch. Every sector of a
    /// volume is looked up from below.
    #[test]
    fn from_below_as_from_above() {
        use crate::image::{Memory, SharedSource, Source};
        use std::sync::Arc;
        let vg = parse_text(TEXT).unwrap();
        // A physical volume whose every sector holds its own number.
        let numbered = |tag: u8| -> SharedSource {
            let mut bytes = Vec::new();
            for sector in 0..2048_u32 + 100 * 8 {
                let mut one = [tag; 512];
                one[..4].copy_from_slice(&sector.to_le_bytes());
                bytes.extend(one);
            }
            Arc::new(Memory::new("pv", bytes))
        };
        let pvs = BTreeMap::from([
            ("pv0".to_owned(), numbered(10)),
            ("pv1".to_owned(), numbered(11)),
        ]);
        let mut looked = 0;
        for lv in &vg.lvs {
            let volume = crate::lvm::volume::logical_volume(&vg, &lv.name, &pvs).unwrap();
            for at in (0..volume.len().0).step_by(512) {
                let mut sector = [0; 512];
                assert!(volume.read_at(Bytes(at), &mut sector).is_none());
                let number = u32::from_le_bytes(sector[..4].try_into().unwrap());
                let pv = if sector[4] == 10 { "pv0" } else { "pv1" };
                let below = Extent::new(Bytes(u64::from(number) * 512), Bytes(512));
                let found = on_lv(&vg, lv, pv, below);
                assert_eq!(
                    found,
                    [(Extent::new(Bytes(at), Bytes(512)), None)],
                    "{} {at}",
                    lv.name
                );
                looked += 1;
            }
        }
        assert_eq!(looked, 80 + 160);
    }
}
