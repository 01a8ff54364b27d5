//! Copies under a logical volume that are not of one time: images of raid volumes that were away, legs of old mirrors that
//! are not in sync. What is read must be the last bytes, or be said not to be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{disinter, export, json};
use disinter::image::{Memory, SharedSource, Source};
use disinter::lvm::fate::{Fate, fates};
use disinter::lvm::metadata::VolumeGroup;
use disinter::lvm::sync::{self, Told};
use disinter::lvm::text;
use disinter::lvm::volume::logical_volume;
use disinter::units::{Bytes, Extent};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

/// Bytes of an extent, and of a chunk and a region too.
const EXTENT: usize = 4096;

/// Each physical volume: one extent in front, one for metadata (an `_rmeta_N`, or the log), four for an image.
const PV: usize = 6 * EXTENT;
const IMAGE: usize = 4;

fn lv(name: &str, status: &str, extents: usize, fields: &str) -> String {
    format!(
        "{name} {{ id = \"{name}\" status = [{status}] flags = [] segment_count = 1 segment1 {{ start_extent = 0\n\
         extent_count = {extents} {fields} }} }}\n"
    )
}

fn linear(name: &str, extents: usize, pv: usize, at: usize) -> String {
    let stripes = format!("type = \"striped\" stripe_count = 1 stripes = [\"pv{pv}\", {at}]");
    lv(name, "\"READ\"", extents, &stripes)
}

fn group(lvs: &str, pvs: usize) -> String {
    let pv = |n: usize| {
        format!(
            "pv{n} {{ id = \"bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbb{n}\" device = \"/dev/sd{n}\" status = [\"ALLOCATABLE\"]\n\
             flags = [] dev_size = 48 pe_start = 8 pe_count = 5 }}\n"
        )
    };
    let pvs: String = (0..pvs).map(pv).collect();
    format!(
        "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 status = [\"RESIZEABLE\"] flags = [] extent_size = 8\n\
         max_lv = 0 max_pv = 0 physical_volumes {{ {pvs} }} logical_volumes {{ {lvs} }} }}\n"
    )
}

/// A raid volume `r` with one image on each physical volume.
fn raid(kind: &str, images: usize, extents: usize) -> String {
    let names = (0..images).map(|n| format!("\"r_rmeta_{n}\", \"r_rimage_{n}\""));
    let names = names.collect::<Vec<_>>().join(", ");
    let fields = format!(
        "type = \"{kind}\" device_count = {images} stripe_size = 8 region_size = 8 raids = [{names}]"
    );
    let mut lvs = lv("r", "\"READ\", \"VISIBLE\"", extents, &fields);
    for n in 0..images {
        lvs += &linear(&format!("r_rmeta_{n}"), 1, n, 0);
        lvs += &linear(&format!("r_rimage_{n}"), IMAGE, n, 1);
    }
    group(&lvs, images)
}

/// An old mirror `m` of two legs, with its log on a third physical volume.
fn mirror(status: &str, log: &str) -> String {
    let fields = format!(
        "type = \"mirror\" mirror_count = 2 {log} region_size = 8 mirrors = [\"m_mimage_0\", 0, \"m_mimage_1\", 0]"
    );
    let mut lvs = lv("m", status, IMAGE, &fields);
    lvs += &linear("m_mimage_0", IMAGE, 0, 1);
    lvs += &linear("m_mimage_1", IMAGE, 1, 1);
    lvs += &linear("m_mlog", 1, 2, 0);
    group(&lvs, 3)
}

const VISIBLE: &str = "\"READ\", \"VISIBLE\"";
const LOGGED: &str = "mirror_log = \"m_mlog\"";

/// A physical volume with the superblock of an image, and the image.
fn with_image(number: u8, events: u64, failed: u64, rebuilt: u64, image: &[u8]) -> Vec<u8> {
    let mut pv = vec![0; PV];
    let superblock = &mut pv[EXTENT..];
    superblock[..4].copy_from_slice(b"DmRd");
    superblock[12] = number;
    superblock[16..24].copy_from_slice(&events.to_le_bytes());
    superblock[24..32].copy_from_slice(&failed.to_le_bytes());
    superblock[32..40].copy_from_slice(&rebuilt.to_le_bytes());
    pv[2 * EXTENT..][..image.len()].copy_from_slice(image);
    pv
}

const WHOLE: u64 = u64::MAX;

fn noise(seed: usize, length: usize) -> Vec<u8> {
    let byte = |i: usize| ((i + seed * 7919).wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..length).map(byte).collect()
}

/// The data of a raid5 of three images, left-symmetric, and the images.
fn raid5() -> (Vec<u8>, Vec<Vec<u8>>) {
    let data = noise(1, 2 * IMAGE * EXTENT);
    let mut images = vec![vec![0; IMAGE * EXTENT]; 3];
    for (row, chunks) in data.chunks(2 * EXTENT).enumerate() {
        let parity = 2 - row % 3;
        for (i, chunk) in chunks.chunks(EXTENT).enumerate() {
            let at = row * EXTENT;
            images[(parity + 1 + i) % 3][at..at + EXTENT].copy_from_slice(chunk);
            for (sum, byte) in images[parity][at..].iter_mut().zip(chunk) {
                *sum ^= byte;
            }
        }
    }
    (data, images)
}

fn read(text: &str, name: &str, pvs: &[Option<Memory>]) -> (Vec<u8>, Vec<Extent>, Told) {
    let vg = VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap();
    let mut sources: BTreeMap<String, SharedSource> = BTreeMap::new();
    for (n, pv) in pvs.iter().enumerate() {
        if let Some(pv) = pv {
            sources.insert(format!("pv{n}"), Arc::new(pv.clone()));
        }
    }
    let volume = logical_volume(&vg, name, &sources).unwrap();
    let mut bytes = vec![0xee; volume.len().to_len(1 << 20)];
    let gaps = volume.read_at(Bytes::ZERO, &mut bytes);
    let told = sync::told(&vg, name, &sources);
    (bytes, gaps.extents().to_vec(), told)
}

fn memory(bytes: &[u8]) -> Option<Memory> {
    Some(Memory::new("pv", bytes.to_vec()))
}

/// An image that was away gave its old bytes wherever it was asked for data: now parity gives the new ones.
#[test]
fn a_stale_image_is_taken_for_a_missing_one() {
    let (data, images) = raid5();
    let text = raid("raid5_ls", 3, 2 * IMAGE);
    for (stale, events, failed, rebuilt) in [(0, 5, 0, WHOLE), (1, 9, 0b10, WHOLE), (2, 9, 0, 8)] {
        let pv = |n: usize| {
            let old = noise(40 + n, IMAGE * EXTENT);
            let (events, rebuilt, image) = match n == stale {
                true => (events, rebuilt, &old),
                false => (9, WHOLE, &images[n]),
            };
            memory(&with_image(n as u8, events, failed, rebuilt, image))
        };
        let pvs: Vec<Option<Memory>> = (0..3).map(pv).collect();
        let (bytes, gaps, told) = read(&text, "r", &pvs);
        assert_eq!((bytes == data, gaps.len()), (true, 0), "{stale}");
        assert!(told.doubts.is_empty(), "{told:?}");
        assert!(told.notes[0].contains(&format!("r_rimage_{stale}")));
    }
}

/// With another image lost, old bytes would stand between new ones, and be mixed into parity: nothing would tell.
#[test]
fn what_only_a_stale_image_has_is_a_gap() {
    let (data, images) = raid5();
    let text = raid("raid5_ls", 3, 2 * IMAGE);
    let old = noise(50, IMAGE * EXTENT);
    let pvs = [
        memory(&with_image(0, 5, 0, WHOLE, &old)),
        memory(&with_image(1, 9, 0, WHOLE, &images[1])),
        None,
    ];
    let (bytes, gaps, told) = read(&text, "r", &pvs);
    assert!(!gaps.is_empty());
    for (at, (byte, right)) in bytes.iter().zip(&data).enumerate() {
        let lost = gaps
            .iter()
            .any(|gap| (gap.offset.0..gap.end().0).contains(&(at as u64)));
        assert_eq!(*byte, if lost { 0 } else { *right }, "{at}");
    }
    let doubt = &told.doubts[0];
    assert!(
        doubt.contains("counts 5 events, and the newest 9"),
        "{doubt}"
    );
    assert!(doubt.contains("vg/r_rimage_0 can be exported"), "{doubt}");
}

/// Of a mirrored volume the older image filled the bad sectors of the younger one, with status 0.
#[test]
fn a_stale_mirror_fills_no_hole() {
    let new = noise(1, IMAGE * EXTENT);
    let text = raid("raid1", 2, IMAGE);
    let bad = Extent::new(Bytes(3 * EXTENT as u64), Bytes(512));
    let young = Memory::new("pv", with_image(0, 9, 0b10, WHOLE, &new)).with_unread(bad);
    let old = memory(&with_image(1, 5, 0, WHOLE, &noise(2, IMAGE * EXTENT)));
    let (bytes, gaps, told) = read(&text, "r", &[Some(young), old.clone()]);
    assert_eq!(gaps, [Extent::new(Bytes(EXTENT as u64), Bytes(512))]);
    assert_eq!(bytes[..EXTENT], new[..EXTENT]);
    assert_eq!((told.notes.len(), told.doubts.len()), (1, 0), "{told:?}");
    // Alone it is not called old: no other says so.
    let (_, gaps, told) = read(&text, "r", &[None, old]);
    assert_eq!((gaps.len(), told), (0, Told::default()));
    // One that was being rebuilt says so itself.
    let begun = memory(&with_image(1, 9, 0, 4, &new));
    let (_, gaps, told) = read(&text, "r", &[None, begun]);
    assert_eq!((gaps.len(), told.doubts.len()), (1, 1));
}

/// An accident took the superblock, or the image is a new one that was never filled: it is read last, and that is said.
#[test]
fn an_image_without_a_superblock_is_read_last() {
    let new = noise(1, IMAGE * EXTENT);
    let text = raid("raid1", 2, IMAGE);
    let mut blank = with_image(0, 0, 0, 0, &noise(2, IMAGE * EXTENT));
    blank[EXTENT..2 * EXTENT].fill(0);
    let good = with_image(1, 9, 0, WHOLE, &new);
    let (bytes, gaps, told) = read(&text, "r", &[memory(&blank), memory(&good)]);
    assert_eq!((bytes == new, gaps.len(), told.doubts.len()), (true, 0, 0));
    // Without any superblock, as where all fronts were overwritten, nothing is judged.
    let mut other = good;
    other[EXTENT..2 * EXTENT].fill(0);
    let (_, gaps, told) = read(&text, "r", &[memory(&blank), memory(&other)]);
    assert_eq!((gaps.len(), told), (0, Told::default()));
}

/// A leg of a mirror, and the physical volume of its log in which these regions are in sync.
fn leg(bytes: &[u8]) -> Vec<u8> {
    [vec![0; 2 * EXTENT], bytes.to_vec()].concat()
}

fn log(bits: u8) -> Vec<u8> {
    let mut pv = vec![0; PV];
    pv[EXTENT..][..4].copy_from_slice(b"rRiM");
    pv[EXTENT + 4] = 2;
    pv[EXTENT + 8] = IMAGE as u8;
    pv[EXTENT + 1024] = bits;
    pv
}

/// What is told of a mirror whose second leg differs in this region.
fn of_mirror(text: &str, differs: Option<usize>, log: Option<Vec<u8>>) -> Told {
    let first = noise(1, IMAGE * EXTENT);
    let mut second = first.clone();
    if let Some(region) = differs {
        second[region * EXTENT + 99] ^= 1;
    }
    let pvs = [
        memory(&leg(&first)),
        memory(&leg(&second)),
        log.and_then(|log| memory(&log)),
    ];
    let (bytes, gaps, told) = read(text, "m", &pvs);
    assert_eq!((bytes == first, gaps.len()), (true, 0));
    told
}

/// After a leg failed the kernel went on with the other, and at the next start copies the first one over it: a region that
/// is not in sync may be newer on any leg.
#[test]
fn legs_that_are_not_in_sync_are_told() {
    let text = mirror(VISIBLE, LOGGED);
    assert_eq!(of_mirror(&text, None, Some(log(0b1111))), Told::default());
    let told = of_mirror(&text, Some(2), Some(log(0b1011)));
    let doubt = &told.doubts[0];
    assert!(doubt.contains("differ there, from byte 8291 on"), "{doubt}");
    assert!(doubt.contains("vg/m_mimage_1 can be exported"), "{doubt}");
    let told = of_mirror(&text, None, Some(log(0b1011)));
    assert_eq!((told.notes.len(), told.doubts.len()), (1, 0), "{told:?}");
    // One leg was overwritten: what differs is not where the log says.
    let told = of_mirror(&text, Some(1), Some(log(0b1111)));
    assert!(told.doubts[0].contains("its log says that they are in sync there"));
    for lost in [None, Some(vec![0; PV])] {
        let told = of_mirror(&text, Some(1), lost);
        assert!(told.doubts[0].contains("no log of it can be read"));
    }
    // The other leg is not here.
    let first = noise(1, IMAGE * EXTENT);
    let pvs = [memory(&leg(&first)), None, memory(&log(0b1011))];
    let (_, _, told) = read(&text, "m", &pvs);
    assert!(told.doubts[0].contains("not all of its legs are here"));
}

/// `home` on a pvmove from `pv0` to `pv1` of which one segment is moved and one is not, each of two extents.
fn moving() -> String {
    let segment = |number: usize, moved: usize| {
        let start = 2 * (number - 1);
        format!(
            "segment{number} {{ start_extent = {start} extent_count = 2 type = \"mirror\" mirror_count = 2\n\
             extents_moved = {moved} mirrors = [\"pv0\", {start}, \"pv1\", {}] }}\n",
            start + 1
        )
    };
    let moves = format!("{}{}", segment(1, 2), segment(2, 0));
    let on = "type = \"striped\" stripe_count = 1 stripes = [\"pvmove0\", 0]";
    let mut lvs = lv("home", VISIBLE, IMAGE, on);
    lvs += &format!(
        "pvmove0 {{ id = \"m\" status = [\"READ\", \"PVMOVE\"] flags = [] segment_count = 2 {moves} }}\n"
    );
    group(&lvs, 2)
}

/// A pvmove that was cut short was refused, and of one of images (`--atomic`) the target stood in for what was lost of the
/// source, wherever it had come to. What is moved whole is on the target alone: the source's bytes there are old.
#[test]
fn what_pvmove_was_moving_is_read_from_where_it_is() {
    let text = moving();
    let [from, to] = [noise(1, PV), noise(2, PV)];
    let (moved, not_moved) = (&to[2 * EXTENT..4 * EXTENT], &from[3 * EXTENT..5 * EXTENT]);
    let (bytes, gaps, told) = read(&text, "home", &[memory(&from), memory(&to)]);
    assert!(bytes == [moved, not_moved].concat());
    assert_eq!((gaps.len(), told), (0, Told::default()));
    let half = |n: usize| Extent::new(Bytes::kib(8 * n as u64), Bytes::kib(8));
    let (_, gaps, told) = read(&text, "home", &[None, memory(&to)]);
    assert_eq!(gaps, [half(1)]);
    assert_eq!(told.doubts.len(), 1, "{told:?}");
    assert!(told.doubts[0].contains("how much is not known"), "{told:?}");
    let (_, gaps, told) = read(&text, "home", &[memory(&from), None]);
    assert_eq!(gaps, [half(0)]);
    assert!(
        told.doubts[0].contains("what pv0 holds is older"),
        "{told:?}"
    );
    let vg = VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap();
    for lost in ["pv0", "pv1"] {
        let fates = fates(&vg, &BTreeSet::from([lost.to_owned()]));
        let (kept, of) = (Bytes::kib(8), Bytes::kib(16));
        assert_eq!(fates["pvmove0"], Fate::Partly { kept, of }, "{lost}");
        assert_eq!(fates["home"], Fate::Lost, "{lost}");
    }
}

/// An atomic pvmove has its areas on volumes of its own; the target was read for a source that is lost.
#[test]
fn the_target_of_an_atomic_pvmove_stands_in_for_nothing() {
    let text = mirror("\"READ\", \"PVMOVE\"", "extents_moved = 0");
    let [from, to] = [noise(1, IMAGE * EXTENT), noise(2, IMAGE * EXTENT)];
    let both = [memory(&leg(&from)), memory(&leg(&to))];
    let (bytes, gaps, told) = read(&text, "m", &both);
    assert_eq!(
        (bytes == from, gaps.len(), told),
        (true, 0, Told::default())
    );
    let (_, gaps, told) = read(&text, "m", &[None, memory(&leg(&to))]);
    assert_eq!(gaps, [Extent::new(Bytes::ZERO, Bytes::kib(16))]);
    assert!(told.doubts[0].contains("how much is not known"), "{told:?}");
}

/// Without a log only the first leg is sure to have had all: a second one that is here alone may never have been in sync.
#[test]
fn a_leg_without_the_first_and_without_a_log_is_a_doubt() {
    let bytes = noise(1, IMAGE * EXTENT);
    let text = mirror(VISIBLE, "");
    let (_, _, told) = read(&text, "m", &[None, memory(&leg(&bytes))]);
    assert!(
        told.doubts[0].contains("its first leg is not here"),
        "{told:?}"
    );
    let (_, _, told) = read(&text, "m", &[memory(&leg(&bytes)), None]);
    assert_eq!(told, Told::default());
}

/// Parity that was never made the sum of the data computes bytes that nobody wrote.
#[test]
fn parity_without_a_first_sync_is_a_doubt() {
    let (_, images) = raid5();
    let pv = |n: usize| memory(&with_image(n as u8, 9, 0, WHOLE, &images[n]));
    let synced = raid("raid5_ls", 3, 2 * IMAGE);
    let unsynced = synced.replace(VISIBLE, "\"READ\", \"VISIBLE\", \"NOTSYNCED\"");
    assert_ne!(synced, unsynced);
    let missing = [pv(0), None, pv(2)];
    let (_, _, told) = read(&synced, "r", &missing);
    assert_eq!(told, Told::default());
    let (_, _, told) = read(&unsynced, "r", &missing);
    assert!(told.doubts[0].contains("without a first sync"), "{told:?}");
    let (_, _, told) = read(&unsynced, "r", &[pv(0), pv(1), pv(2)]);
    assert_eq!(told, Told::default());
}

/// Legs that need not be the same: what was made without a first sync and never written.
#[test]
fn legs_that_may_differ_are_no_doubt() {
    let unsynced = mirror("\"READ\", \"VISIBLE\", \"NOTSYNCED\"", LOGGED);
    let told = of_mirror(&unsynced, Some(1), Some(log(0b1111)));
    assert_eq!(told, Told::default());
    let core = mirror(VISIBLE, "");
    assert_eq!(of_mirror(&core, None, None), Told::default());
    assert_eq!(of_mirror(&core, Some(0), None).doubts.len(), 1);
}

/// A text can name one log for any number of segments, each of as many regions as any mirror has: to look all of them up
/// takes hours.
#[test]
fn logs_without_end_are_left_out_and_told() {
    const SEGMENTS: usize = 100;
    const REGIONS: usize = 1 << 24;
    let segment = |n: usize| {
        format!(
            "segment{} {{ start_extent = {} extent_count = {REGIONS} type = \"mirror\" mirror_count = 2 {LOGGED}\n\
             region_size = 8 mirrors = [\"m_mimage_0\", 0, \"m_mimage_1\", 0] }}\n",
            n + 1,
            n * REGIONS
        )
    };
    let segments: String = (0..SEGMENTS).map(segment).collect();
    let mut lvs = format!(
        "m {{ id = \"m\" status = [{VISIBLE}] flags = [] segment_count = {SEGMENTS} {segments} }}\n"
    );
    lvs += &linear("m_mimage_0", IMAGE, 0, 1);
    lvs += &linear("m_mimage_1", IMAGE, 1, 1);
    lvs += &linear("m_mlog", 1, 2, 0);
    let text = group(&lvs, 3);
    let vg = VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap();
    let leg = leg(&noise(1, IMAGE * EXTENT));
    let pvs = [leg.clone(), leg, log(0b1111)];
    let source = |(n, bytes): (usize, Vec<u8>)| {
        let source: SharedSource = Arc::new(Memory::new("pv", bytes));
        (format!("pv{n}"), source)
    };
    let pvs: BTreeMap<String, SharedSource> = pvs.into_iter().enumerate().map(source).collect();
    let told = sync::told(&vg, "m", &pvs);
    let (last, before) = told.doubts.split_last().unwrap();
    assert!(last.contains("99 logs of old mirrors were not looked at"));
    // The first one was looked at.
    assert_eq!(before.len(), 1, "{before:?}");
}

/// Who copies such a volume out must not get it with status 0 and without a word.
#[test]
fn export_says_it_by_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let first = noise(1, IMAGE * EXTENT);
    let mut second = first.clone();
    second[2 * EXTENT] ^= 1;
    let images = [leg(&first), leg(&second), log(0b1011)];
    let mut layout = String::new();
    for (n, bytes) in images.iter().enumerate() {
        fs::write(folder.path().join(format!("d{n}.img")), bytes).unwrap();
        layout += &format!(
            "[[image]]\nname = \"d{n}\"\npath = \"d{n}.img\"\nsize = {}\n",
            bytes.len()
        );
    }
    layout += "[[vg]]\nname = \"vg\"\ntext = \"vg.vg\"\npvs = { pv0 = \"d0\", pv1 = \"d1\", pv2 = \"d2\" }\n";
    let file = folder.path().join("layout.toml");
    fs::write(&file, layout).unwrap();
    let text = format!(
        "{}# Generated by LVM2 version 2.03.16(2): Fri\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n\
         description = \"x\"\n\ncreation_host = \"vm\"\ncreation_time = 1700000000\n\n",
        mirror(VISIBLE, LOGGED)
    );
    fs::write(folder.path().join("vg.vg"), text).unwrap();
    let mut doubted = disinter();
    doubted.arg("export").arg("--layout").arg(&file).arg("vg/m");
    let said = json(doubted.arg("-o").arg(folder.path().join("m.img")), 1);
    assert_eq!(said["doubts"].as_array().unwrap().len(), 1, "{said}");
    let mut check = disinter();
    check.args(["fs", "check", "vg/m", "--layout"]).arg(&file);
    assert_eq!(json(&mut check, 1)["doubts"], said["doubts"]);
    assert_eq!(export(&file, "vg/m_mimage_1", &[], 0).0, second);
}
