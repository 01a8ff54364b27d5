//! Metadata texts under every kind of harm: cut at every byte, every byte changed, in pieces, crowded, hostile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{disinter, drill, json, run, unpack_xz};
use disinter::image::Memory;
use disinter::image::progress::Silent;
use disinter::investigate::plan;
use disinter::lvm::candidates::{self, Candidate};
use disinter::lvm::carve::{self, Carved, Form, Made};
use disinter::lvm::history::histories;
use disinter::lvm::text::{self, Section};
use disinter::lvm::{crc, mda};
use disinter::parse::Checksum;
use disinter::scan::{Job, Options, scan};
use disinter::units::Bytes;
use std::fs;

const VG: &str = "NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6";

/// A real text of a file: the drill's, as lvm2 wrote it.
fn file_text() -> Vec<u8> {
    fs::read(drill("holmes-2013").join("true-guests.vg")).unwrap()
}

/// The same as lvm2 writes it into a ring: no tabs, no comments, the description behind. With its NUL.
fn ring_text() -> Vec<u8> {
    let file = String::from_utf8(file_text()).unwrap();
    let at = file.find("guests {").unwrap();
    let (description, section) = file.split_at(at);
    let mut text = text::write(&text::section(section.as_bytes()).value);
    text.push_str(description.trim_end());
    text.push_str("\n\n\0");
    text.into_bytes()
}

fn carved(bytes: &[u8]) -> Option<Carved> {
    let hit = memchr::memmem::find(bytes, carve::NEEDLE)?;
    carve::text_at(&Memory::new("m", bytes.to_vec()), Bytes(hit as u64))
}

fn texts(bytes: Vec<u8>) -> Vec<Carved> {
    scan(
        &Job::of(&Memory::new("m", bytes)),
        0,
        Options::default(),
        &Silent,
    )
    .texts
}

fn ranked(bytes: Vec<u8>) -> Vec<Candidate> {
    let found = texts(bytes).into_iter().map(|t| ("m".to_owned(), t));
    candidates::gather(found.collect())
}

/// The names of all keys and sections, in order: what a text says without its values.
fn shape(section: &Section, out: &mut String) {
    for item in &section.items {
        match item {
            text::Item::Field(key, _) => out.push_str(&format!("{key};")),
            text::Item::Section(inner) => {
                out.push_str(&format!("{}{{", inner.name));
                shape(inner, out);
                out.push('}');
            }
        }
    }
}

fn shape_of(bytes: &[u8]) -> String {
    let line = |needle: &[u8]| memchr::memmem::find(bytes, needle);
    let hit = line(b"guests {")
        .or(line(b"guests\n{"))
        .or(line(b"guests  "))
        .unwrap();
    let mut out = String::new();
    shape(&text::section(&bytes[hit..]).value, &mut out);
    out
}

/// Half a restore file would be the end of the data. Every prefix, in both forms, alone and with zeros behind it.
#[test]
fn no_prefix_is_complete() {
    for (form, text, least) in [
        (Form::File, file_text(), 0),
        // Without its NUL a ring's text is still all there.
        (Form::Ring, ring_text(), 1),
    ] {
        let whole = carved(&text).unwrap();
        assert!(whole.complete && whole.form == form, "{:?}", whole.fault);
        for cut in 0..text.len() - least {
            let mut prefix = text[..cut].to_vec();
            for _ in 0..2 {
                if let Some(found) = carved(&prefix) {
                    assert!(!found.complete, "{form:?} cut at {cut}");
                }
                prefix.resize(cut + 600, 0);
            }
        }
    }
}

/// Every suffix too: what has lost its front has lost its name or its description.
#[test]
fn no_suffix_is_complete() {
    let text = file_text();
    for cut in 1..text.len() {
        if let Some(found) = carved(&text[cut..]) {
            assert!(!found.complete, "a file without its first {cut} bytes");
        }
    }
    // A ring's name that lost its first letter at a sector's border is another name; any other front is missed.
    let text = ring_text();
    for cut in "guests".len()..text.len() {
        if let Some(found) = carved(&text[cut..]) {
            assert!(
                !found.complete,
                "a ring's text without its first {cut} bytes"
            );
        }
    }
}

/// One wrong byte, at every place, in both forms: never a panic; and where the text is still called whole and
/// without contradiction, it says as many things as before, by the same names.
#[test]
fn no_corruption_passes_for_another_shape() {
    for text in [file_text(), ring_text()] {
        let before = shape_of(&text);
        let last = text.iter().rposition(|b| *b == b'}').unwrap();
        for at in 0..text.len() {
            for byte in [
                0,
                b'\n',
                b'"',
                b'{',
                b'}',
                b'#',
                b'[',
                b'=',
                b' ',
                b'9',
                0x1b,
                0xff,
                text[at] ^ 0x20,
                text[at] ^ 1,
            ] {
                let mut harmed = text.clone();
                harmed[at] = byte;
                let Some(found) =
                    carved(&harmed).filter(|f| f.complete && f.vg.faults().is_empty())
                else {
                    continue;
                };
                assert!(
                    found
                        .bytes
                        .iter()
                        .all(|b| !b.is_ascii_control() || b"\t\n".contains(b))
                );
                if at <= last && harmed != text && found.vg.name == "guests" {
                    let (now, here) = (
                        shape_of(&harmed),
                        &text[at.saturating_sub(12)..(at + 12).min(text.len())],
                    );
                    assert!(
                        now.len() + 40 > before.len(),
                        "{byte:#x} at {at}, near {:?}, lost more than a key",
                        String::from_utf8_lossy(here)
                    );
                }
            }
        }
    }
}

/// A younger text over an older one, cut at every sector: the younger is found whole, and no mix of both is complete.
#[test]
fn a_younger_text_over_an_older_one() {
    let old = ring_text();
    let new = text_of("guests", VG, 9, 1, "newer");
    for at in (0..old.len()).step_by(512) {
        let mut ring = old.clone();
        ring.resize(at + new.len() + 4096, 0);
        ring[at..at + new.len()].copy_from_slice(&new);
        let found = texts(ring);
        let whole: Vec<&Carved> = found.iter().filter(|t| t.complete).collect();
        assert_eq!(whole.len(), 1, "at {at}");
        assert_eq!(whole[0].bytes[..], new[..new.len() - 1], "at {at}");
    }
}

/// A small text of a ring, with its NUL.
fn text_of(name: &str, id: &str, seqno: u64, lvs: u64, why: &str) -> Vec<u8> {
    let lv = |n: u64| {
        format!(
            "\nlv{n} {{\nid = \"aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa{n:02}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\n\
             flags = []\nsegment_count = 1\n\nsegment1 {{\nstart_extent = 0\nextent_count = 2\n\ntype = \"striped\"\n\
             stripe_count = 1\n\nstripes = [\n\"pv0\", {}\n]\n}}\n}}\n",
            2 * n
        )
    };
    let lvs: String = (0..lvs).map(lv).collect();
    format!(
        "{name} {{\nid = \"{id}\"\nseqno = {seqno}\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\n\
         flags = []\nextent_size = 8192\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n\npv0 {{\n\
         id = \"bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb\"\ndevice = \"/dev/sda\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = []\n\
         dev_size = 1000000\npe_start = 2048\npe_count = 60\n}}\n}}\n\nlogical_volumes {{\n{lvs}}}\n\n}}\n\
         # Generated by LVM2 version 2.03.16(2): Fri\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n\
         description = \"{why}\"\n\ncreation_host = \"vm\"\t# Linux\ncreation_time = {}\t# Fri\n\n\0",
        1_700_000_000 + seqno
    )
    .into_bytes()
}

/// A PV with its metadata area's header; texts at offsets from the area's start, and the committed one.
fn ring(size: usize, copies: &[(usize, &[u8])], committed: Option<usize>) -> Vec<u8> {
    let start = 4096;
    let mut pv = vec![0; start + size + (1 << 20)];
    let mut header = vec![0; 512];
    header[4..20].copy_from_slice(mda::MAGIC);
    header[20..24].copy_from_slice(&1_u32.to_le_bytes());
    header[24..32].copy_from_slice(&(start as u64).to_le_bytes());
    header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
    for (at, text) in copies {
        for (i, byte) in text.iter().enumerate() {
            let mut place = at + i;
            if place >= size {
                place = 512 + (place - size);
            }
            pv[start + place] = *byte;
        }
    }
    if let Some(index) = committed {
        let (at, text) = copies[index];
        header[40..48].copy_from_slice(&(at as u64).to_le_bytes());
        header[48..56].copy_from_slice(&(text.len() as u64).to_le_bytes());
        header[56..60].copy_from_slice(&crc(text).to_le_bytes());
    }
    let sum = crc(&header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    pv[start..start + 512].copy_from_slice(&header);
    pv
}

/// The newest text of a worn ring often goes over its end: without this it is called cut and the last state is lost.
#[test]
fn a_text_over_the_rings_end() {
    let size = 64 << 10;
    let text = text_of("vg", VG, 7, 3, "x");
    for before in (512..text.len()).step_by(512) {
        for committed in [Some(0), None] {
            let pv = ring(size, &[(size - before, &text)], committed);
            let found = texts(pv);
            assert_eq!(
                found.len(),
                1,
                "{before}: {:?}",
                found.iter().map(|t| &t.fault).collect::<Vec<_>>()
            );
            let one = &found[0];
            assert_eq!(
                (one.complete, one.made, &one.fault),
                (true, Made::Wrapped, &None)
            );
            assert_eq!(one.bytes[..], text[..text.len() - 1]);
            let sum = if committed.is_some() {
                Checksum::Ok
            } else {
                Checksum::None
            };
            assert_eq!(one.checksum, sum);
            assert_eq!(one.pieces.len(), 2);
            assert_eq!(one.pieces[1].offset, Bytes(4096 + 512));
        }
    }
}

/// A number from an older text's end in front of the name makes another group of it: `41testvg`.
#[test]
fn a_name_starts_at_its_sector() {
    let mut bytes = vec![0; 512];
    bytes[500..512].copy_from_slice(b"_count = 41x");
    bytes.extend(text_of("testvg", VG, 2, 1, "x"));
    let found = texts(bytes);
    let whole: Vec<&Carved> = found.iter().filter(|t| t.complete).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(
        (whole[0].vg.name.as_str(), whole[0].extent.offset),
        ("testvg", Bytes(512))
    );
}

/// What cannot be read, or a header that is itself broken, proves nothing against a text; a precommitted text counts
/// where nothing was committed.
#[test]
fn checksums_are_believed_only_where_they_can_be_checked() {
    let text = text_of("vg", VG, 7, 3, "x");
    let sound = ring(64 << 10, &[(1024, &text)], Some(0));
    assert_eq!(texts(sound.clone())[0].checksum, Checksum::Ok);
    let mut broken = sound.clone();
    broken[4096 + 56] ^= 1;
    assert_eq!(texts(broken)[0].checksum, Checksum::None);
    let mut changed = sound.clone();
    let host = memchr::memmem::find(&changed, b"\"vm\"").unwrap();
    changed[host + 1] = b'w';
    assert_eq!(texts(changed)[0].checksum, Checksum::Bad);
    let mut precommitted = sound;
    let header = 4096..4096 + 512;
    let mut sector = precommitted[header.clone()].to_vec();
    sector.copy_within(40..64, 64);
    sector[40..64].fill(0);
    let sum = crc(&sector[4..]);
    sector[..4].copy_from_slice(&sum.to_le_bytes());
    precommitted[header].copy_from_slice(&sector);
    assert_eq!(texts(precommitted)[0].checksum, Checksum::Ok);
}

/// The newest text is cut, and an older one whole: what it says may no longer be so, and nobody would know that there was a
/// younger. What `vgremove` leaves is passed over on purpose.
#[test]
fn a_younger_text_is_not_passed_over_in_silence() {
    let old = text_of("store", VG, 5, 2, "");
    let young = text_of("store", VG, 6, 3, "");
    let passed = |second: &[u8]| {
        let mut bytes = vec![0; 256 << 10];
        bytes[0x10000..][..old.len()].copy_from_slice(&old);
        bytes[0x20000..][..second.len()].copy_from_slice(second);
        let texts = ranked(bytes);
        let chosen = texts.iter().find(|t| t.carved.vg.seqno == 5).unwrap();
        assert!(chosen.usable());
        plan::passed_over(chosen, &texts)
    };
    let cut = passed(&young[..young.len() * 2 / 3]).unwrap();
    assert!(cut.contains("seqno 5") && cut.contains("seqno 6"), "{cut}");
    assert!(passed(&young).is_some());
    assert_eq!(passed(&text_of("store", VG, 6, 0, "")), None);
    assert_eq!(passed(&text_of("store", VG, 4, 3, "")), None);
    let other = VG.replace("NiG3aN", "NiG3aM");
    assert_eq!(passed(&text_of("store", &other, 6, 3, "")), None);
}

/// Control bytes go to the terminal and into commands; a real text has none.
#[test]
fn control_bytes_make_a_text_not_whole() {
    for byte in [0x1b, 0x07, 0x7f, b'\n', b'\r'] {
        let mut text = text_of("vg", VG, 7, 1, "some words");
        let at = memchr::memmem::find(&text, b"some").unwrap();
        text[at + 1] = byte;
        assert!(!carved(&text).unwrap().complete, "{byte:#x}");
    }
}

/// Cut by an indirect block of ext3, or by fragmentation: both parts are there, and a person must be told; but what
/// only the grammar joined is not called complete, and with two ends that fit, both are told.
#[test]
fn pieces_are_joined_and_said_to_be() {
    let text = text_of("vg", VG, 7, 9, "x");
    let cut = 1024;
    let mut disk = vec![0; 1 << 20];
    disk[8192..8192 + cut].copy_from_slice(&text[..cut]);
    // Pointers of an indirect block, some of whose bytes look like text.
    for i in 0..1024_u32 {
        let at = 8192 + cut + 4 * i as usize;
        disk[at..at + 4].copy_from_slice(&(0x0000_4120 + i).to_le_bytes());
    }
    let second = 8192 + cut + 4096;
    disk[second..second + text.len() - cut].copy_from_slice(&text[cut..]);
    let candidates = ranked(disk.clone());
    let best = &candidates[0].carved;
    assert_eq!(
        (best.made, best.complete),
        (Made::Joined, false),
        "{:?}",
        best.fault
    );
    assert_eq!(best.bytes[..], text[..text.len() - 1]);
    assert_eq!(best.pieces.len(), 2);
    assert!(!candidates[0].usable());
    // A metadata area's header, wherever it survived, with this text's checksum: now it is proven.
    let pv = ring(64 << 10, &[(1024, &text)], Some(0));
    disk[512 << 10..(512 << 10) + 512].copy_from_slice(&pv[4096..4096 + 512]);
    let candidates = ranked(disk);
    assert_eq!(
        (candidates[0].carved.complete, candidates[0].carved.checksum),
        (true, Checksum::Ok)
    );
}

/// The end of the newest text, its front overwritten, is all that knows the newest volumes; under the front of an
/// older text of the group it can be read, and is marked as what it is.
#[test]
fn an_end_is_rebuilt_under_its_siblings_front() {
    let (old, new) = (text_of("vg", VG, 7, 3, "x"), text_of("vg", VG, 8, 5, "y"));
    let mut disk = vec![0; 64 << 10];
    disk[4096..4096 + old.len()].copy_from_slice(&old);
    let lost = memchr::memmem::find(&new, b"physical_volumes").unwrap() + 30;
    disk[32768..32768 + new.len() - lost].copy_from_slice(&new[lost..]);
    let candidates = ranked(disk);
    assert_eq!(
        candidates[0].carved.vg.lvs.len(),
        3,
        "the whole text comes first"
    );
    let rebuilt = candidates
        .iter()
        .find(|c| c.carved.made == Made::Rebuilt)
        .unwrap();
    assert_eq!(
        (rebuilt.carved.complete, rebuilt.carved.vg.lvs.len()),
        (false, 5)
    );
}

/// Within a group the newest is right, however many volumes an older one has; a fork is told.
#[test]
fn the_newest_of_a_group_comes_first() {
    let mut disk = Vec::new();
    for (seqno, lvs, why) in [(26, 5, "a"), (27, 4, "b"), (27, 3, "c")] {
        let start = disk.len();
        disk.extend(text_of("vg", VG, seqno, lvs, why));
        disk.resize((start + 8192) / 512 * 512, 0);
    }
    let candidates = ranked(disk);
    let seqnos: Vec<u64> = candidates.iter().map(|c| c.carved.vg.seqno).collect();
    assert_eq!(seqnos, [27, 27, 26]);
    assert!(candidates[0].evidence().iter().any(|e| e.contains("fork")));
    assert!(!candidates[2].evidence().iter().any(|e| e.contains("fork")));
}

/// The ring's older copies and what each changed: the timeline of a real disk.
#[test]
fn show_diff_and_history_of_a_published_disk() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let shown = json(disinter().args(["lvm", "show", "1"]).arg(&image), 0);
    assert!(shown["text"].as_str().unwrap().starts_with("vg_test {"));
    let diff = json(disinter().args(["lvm", "diff", "2", "1"]).arg(&image), 0);
    let changes = diff["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[0]["change"]),
        (1, &"created".into())
    );
    let history = json(disinter().args(["lvm", "history"]).arg(&image), 0);
    let states = history["groups"][0]["states"].as_array().unwrap();
    let seqnos: Vec<u64> = states
        .iter()
        .map(|s| s["seqno"].as_u64().unwrap())
        .collect();
    assert_eq!(seqnos, [1, 2, 3]);
    let none = run(disinter().args(["lvm", "show", "9"]).arg(&image), 2);
    assert!(String::from_utf8_lossy(&none.stderr).contains("ranks go from 1"));
}

/// The reinstalled disk's files hold the commands: who made what.
#[test]
fn the_history_names_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let packed = "lvm/gen-lvm2.03.16-reinstall-etc-lvm-in-lost-root.img.xz";
    let Some(image) = unpack_xz(packed, folder.path()) else {
        return;
    };
    let out = run(disinter().args(["lvm", "history"]).arg(&image), 0);
    let page = String::from_utf8(out.stdout).unwrap();
    assert!(page.contains("LV home created, 40 MiB"), "{page}");
    assert!(
        page.contains("$ lvcreate --driverloaded n -an -Zn -Wn -L 40M -n home vg0"),
        "{page}"
    );
}

/// Names meant for a shell or a terminal, numbers beyond 64 bits: shown as what they are, and nothing is usable.
#[test]
fn hostile_texts_are_shown_and_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(text_of("vg", VG, 7, 1, "$(reboot) \\\" `x`")).unwrap();
    for (from, to) in [
        ("lv0 {", "\"l\u{1b}[2Jv$(reboot)\" {"),
        ("lv0 {", "\"a'b\\\"c\" {"),
        ("pe_count = 60", "pe_count = 99999999999999999999999"),
        ("extent_count = 2", "extent_count = 18446744073709551615"),
        ("extent_size = 8192", "extent_size = 9223372036854775807"),
        ("\"pv0\", 0", "\"pv0\", -1"),
    ] {
        assert!(text.contains(from));
        let file = folder.path().join("hostile.img");
        let mut bytes = text.replace(from, to).into_bytes();
        bytes.resize(8192, 0);
        fs::write(&file, bytes).unwrap();
        for command in ["scan", "history"] {
            let out = disinter()
                .args(["lvm", command])
                .arg(&file)
                .output()
                .unwrap();
            assert!(!out.stdout.contains(&0x1b), "{to}");
            assert!(out.status.code().is_some_and(|c| c < 2), "{to}: {out:?}");
        }
        let target = folder.path().join("out.vg");
        let mut extract = disinter();
        extract.args(["lvm", "scan"]).arg(&file);
        let scan = json(&mut extract, 1);
        assert!(!scan["candidates"].as_array().unwrap().is_empty(), "{to}");
        assert!(!target.exists());
    }
}

/// Thousands of copies of one text are one line, with its places counted; heads without end cost no more than their
/// bytes.
#[test]
fn crowds_are_folded_and_cost_no_more_than_their_size() {
    let mut one = text_of("vg", VG, 7, 3, "x");
    one.resize(one.len().next_multiple_of(512), 0);
    let candidates = ranked(one.repeat(5000));
    assert_eq!((candidates.len(), candidates[0].places.len()), (1, 5000));
    let cut = format!("a {{ id = \"{VG}\" seqno = 1 {}", "x = 1 ".repeat(40));
    let many = ranked(cut.repeat(100_000).into_bytes());
    assert!(many.iter().map(|c| c.places.len()).sum::<usize>() <= 1 << 16);
    assert!(many.iter().all(|c| !c.usable()));
    let head = format!("a {{ id = \"{VG}\" seqno = 1 ");
    for crowd in [
        head.clone(),
        format!("# {}", head.replace("seqno", "\n seqno")),
        format!("{head} x = '"),
        "extent_count = 1\n}\n".to_owned(),
        "# Generated by LVM2\n}\n".to_owned(),
        "seqno = ".to_owned(),
        "{".to_owned(),
        format!("a {{ id = \"{VG}\" seqno = 1 b = ["),
    ] {
        let begun = std::time::Instant::now();
        let bytes = crowd.as_bytes().repeat((8 << 20) / crowd.len());
        let found = ranked(bytes);
        assert!(found.iter().all(|c| !c.usable()));
        let took = begun.elapsed();
        assert!(took.as_secs() < 20, "{crowd:?} took {took:?}");
    }
}

/// A front whose end is lost, and a whole text right behind it: by the grammar the second is a section of the first, which
/// must not hide it, however long it is. Files of eighty volumes are longer than what was once passed over.
#[test]
fn a_front_does_not_swallow_the_text_behind_it() {
    for (front, whole) in [
        (text_of("vg", VG, 6, 9, "x"), text_of("vg", VG, 7, 160, "y")),
        (
            file_text(),
            [vec![b'\n'], text_of("other", VG, 7, 160, "y")].concat(),
        ),
    ] {
        for near in [512, 1024, 1536] {
            let cut = front[..near].iter().rposition(|b| *b == b'\n').unwrap() + 1;
            let mut disk = vec![0xaa; 4096];
            disk.extend(&front[..cut]);
            disk.extend(&whole);
            disk.resize(disk.len() + 4096, 0xaa);
            let found = texts(disk);
            let complete: Vec<u64> = found
                .iter()
                .filter(|t| t.complete)
                .map(|t| t.vg.seqno)
                .collect();
            assert_eq!(complete, [7], "{cut}");
        }
    }
}

/// A text cut at these places, its parts at those of a disk, must be put together again, in this order and of all of them.
#[track_caller]
fn is_joined<const PARTS: usize>(text: &[u8], cuts: &[usize], places: [usize; PARTS]) {
    let length = text.len() - usize::from(text.ends_with(b"\0"));
    let mut disk = vec![0xaa; 1 << 20];
    let borders = [&[0], cuts, &[length]].concat();
    assert_eq!(borders.len(), PARTS + 1);
    for (part, at) in borders.windows(2).zip(places) {
        let part = &text[part[0]..part[1]];
        disk[at..at + part.len()].copy_from_slice(part);
    }
    let candidates = ranked(disk);
    let best = &candidates[0].carved;
    assert_eq!((best.made, best.complete), (Made::Joined, false));
    assert_eq!(best.bytes[..], text[..length]);
    let found: Vec<u64> = best.pieces.iter().map(|p| p.offset.0).collect();
    assert_eq!(found, places.map(|at| at as u64));
}

/// A file in three fragments: no pair of them makes a text, only all three do, and in one order. Both forms: a file's
/// middle has its closing braces behind tabs.
#[test]
fn three_pieces_are_joined() {
    for text in [text_of("vg", VG, 7, 12, "x"), file_text()] {
        is_joined(&text, &[1200, 2400], [8192, 65_536, 32_768]);
    }
}

/// A file in five fragments, in no order of the disk: no fewer of them make a text.
#[test]
fn five_pieces_are_joined() {
    let text = text_of("vg", VG, 7, 20, "x");
    let places = [40_960, 8192, 65_536, 16_384, 90_112];
    is_joined(&text, &[1100, 2111, 3333, 4200], places);
}

/// Fronts and ends by the hundred, each of other bytes and each going on by the grammar: what is tried with what must be
/// bounded, or a few KiB cost minutes. The text that can be put together is found all the same where it comes first.
#[test]
fn many_pieces_cost_little() {
    let whole = text_of("vg", VG, 7, 3, "x");
    let (front, end) = whole.split_at(900);
    let mut disk = Vec::new();
    let mut add = |part: &[u8]| {
        disk.extend_from_slice(part);
        disk.push(0xff);
    };
    add(front);
    add(end.strip_suffix(b"\0").unwrap());
    for n in 0..300 {
        let text = text_of("vg", VG, 100 + n, 2 + n % 7, "y");
        add(&text[..700 + n as usize]);
        add(format!("extent_count = {n}\n}}\nx{n} = [\n1,\n2\n]\ny {{\nz = {n}\n").as_bytes());
        add(format!("extent_count = {n}\n}}\nx{n} = 1\n}}\n}}\n}}\n").as_bytes());
    }
    let begun = std::time::Instant::now();
    let found = ranked(disk);
    let took = begun.elapsed();
    assert!(
        found
            .iter()
            .any(|c| c.carved.bytes[..] == whole[..whole.len() - 1])
    );
    // Without bounds each front is tried with each middle and end: some 64 x 256 x 255 texts, hours.
    assert!(took.as_secs() < 20, "{took:?}");
}

/// The next chunk of an md member is another member's: without the array, only both images together hold the text. It
/// is never taken by itself, and a file made of it says in its first line what it is.
#[test]
fn pieces_over_two_images() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_of("vg", VG, 7, 9, "x");
    let cut = 1536;
    let images = [
        ("a.img", 4096 - cut, &text[..cut]),
        ("b.img", 8192, &text[cut..]),
    ];
    let mut paths = Vec::new();
    for (name, at, part) in images {
        let mut disk = vec![0xaa; 1 << 20];
        disk[at..at + part.len()].copy_from_slice(part);
        let path = folder.path().join(name);
        fs::write(&path, disk).unwrap();
        paths.push(path);
    }
    let mut scan = disinter();
    scan.args(["lvm", "scan"]).args(&paths);
    let scan = json(&mut scan, 1);
    let best = &scan["candidates"][0];
    assert_eq!(
        (&best["made"], &best["complete"]),
        (&"joined".into(), &false.into())
    );
    assert_eq!(best["pieces_on"], serde_json::json!(["a", "b"]));
    let target = folder.path().join("out.vg");
    let mut extract = disinter();
    extract
        .args(["lvm", "extract"])
        .args(&paths)
        .arg("-o")
        .arg(&target);
    run(&mut extract, 1);
    let file = fs::read_to_string(&target).unwrap();
    assert!(file.starts_with("# NOT PROVEN: joined"), "{file}");
    assert!(file.ends_with(std::str::from_utf8(&text[..text.len() - 1]).unwrap()));
    let mut alone = disinter();
    alone.args(["lvm", "scan"]).arg(&paths[0]);
    let alone = json(&mut alone, 1);
    assert_eq!(alone["candidates"][0]["made"], "found");
}

/// Six thousand states of one seqno: each compared with each would take hours, and a page of them would help nobody.
#[test]
fn a_crowd_of_different_texts() {
    let mut disk = Vec::new();
    for n in 0..4_000 {
        add(&mut disk, &text_of("vg", VG, 7, 1, &format!("number {n}")));
    }
    for n in 0..2_000 {
        let mut text = text_of("vg", VG, 7, 1, "x");
        let at = memchr::memmem::find(&text, b"pe_count = 60").unwrap();
        text.splice(at..at + 13, format!("pe_count = {}", 100 + n).into_bytes());
        add(&mut disk, &text);
    }
    let begun = std::time::Instant::now();
    let candidates = ranked(disk);
    assert_eq!(candidates.len(), 6_000);
    assert_eq!(histories(&candidates)[0].states[0].seqno, 7);
    let took = begun.elapsed();
    assert!(took.as_secs() < 60, "took {took:?}");
}

/// Puts a text at the next sector.
fn add(disk: &mut Vec<u8>, text: &[u8]) {
    disk.extend(text);
    disk.resize(disk.len().next_multiple_of(512), 0);
}

/// More texts than memory may be filled with. What goes must be the oldest states of the groups that have many, must be
/// counted, and must not be the last state of a group, whoever else is there and in whatever order.
#[test]
fn of_too_many_texts_the_oldest_go() {
    const MANY: u64 = 30_000;
    let other = |n: u64| format!("Oth{n:03}-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6");
    let mut disk = Vec::new();
    add(&mut disk, &text_of("old", &other(999), 1, 1, "x"));
    for n in 0..MANY {
        // Neither ascending nor descending.
        add(&mut disk, &text_of("vg", VG, 1 + n * 7_919 % MANY, 1, "x"));
        if n % 100 == 0 {
            let id = other(n / 100);
            add(&mut disk, &text_of("other", &id, 1, 1, "x"));
        }
    }
    let source = Memory::new("disk", disk);
    let found = scan(&Job::of(&source), 0, Options::default(), &Silent);
    let mut many: Vec<u64> = found
        .texts
        .iter()
        .filter(|t| t.vg.id == VG)
        .map(|t| t.vg.seqno)
        .collect();
    many.sort_unstable();
    let others = found.texts.len() - many.len();
    assert_eq!(others, 301, "the only state of a group is kept");
    assert_eq!(many.last(), Some(&MANY));
    assert!(many.len() > 5_000, "{}", many.len());
    assert_eq!(found.older_texts, MANY - many.len() as u64);
    let first = MANY + 1 - many.len() as u64;
    assert!(
        many.into_iter().eq(first..=MANY),
        "the newest are kept, without a hole"
    );
}

/// A text that makes a volume of an exabyte would have its zeros written for days.
#[test]
fn a_volume_that_was_never_there_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(text_of("vg", VG, 7, 1, "x")).unwrap();
    let huge = text
        .replace("pe_count = 60", "pe_count = 99999999999999")
        .replace("dev_size = 1000000\n", "")
        .replace("extent_count = 2", "extent_count = 9999999999999");
    fs::write(folder.path().join("vg.vg"), huge.trim_end_matches('\0')).unwrap();
    fs::write(folder.path().join("a.img"), vec![0; 1 << 20]).unwrap();
    let layout = folder.path().join("layout.toml");
    let written = "[[image]]\nname = \"a\"\npath = \"a.img\"\nsize = 1048576\n\
                   [[vg]]\nname = \"vg\"\ntext = \"vg.vg\"\npvs = { pv0 = \"a\" }\n";
    fs::write(&layout, written).unwrap();
    let target = folder.path().join("out.img");
    let mut export = disinter();
    export.arg("export").arg("--layout").arg(&layout);
    export.args(["vg/lv0", "-o"]).arg(&target);
    let out = run(&mut export, 2);
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(errors.contains("nothing is written"), "{errors}");
    assert!(!target.exists());
}

/// lvm2 before 2.03.06 wrote a text over an older, longer one and left that one's end behind it. The end is no part of
/// the text, and not a text of its own.
#[test]
fn the_end_of_an_older_text_behind_a_shorter_one() {
    let (long, short) = (text_of("vg", VG, 7, 9, "x"), text_of("vg", VG, 8, 2, "y"));
    let mut disk = vec![0; 64 << 10];
    disk[4608..4608 + long.len()].copy_from_slice(&long);
    disk[4608..4608 + short.len()].copy_from_slice(&short);
    let candidates = ranked(disk);
    let whole: Vec<&Candidate> = candidates.iter().filter(|c| c.carved.complete).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].carved.bytes[..], short[..short.len() - 1]);
    assert!(
        candidates
            .iter()
            .all(|c| c.carved.vg.seqno == 8 || !c.usable())
    );
}

/// Texts of 7 KiB on a raid0 with chunks of 4 KiB: each member has pieces. Whoever knows the array must be given them
/// whole, by every command, and not have to trust a joining by grammar.
#[test]
fn a_layout_makes_texts_over_chunks_whole() {
    const CHUNK: usize = 4096;
    let folder = tempfile::tempdir().unwrap();
    let (older, newer) = (
        text_of("vg", VG, 7, 29, "x"),
        text_of("vg", VG, 8, 30, "lvcreate"),
    );
    assert!(older.len() > CHUNK);
    let mut array = vec![0xaa; 120 * CHUNK];
    for (at, text) in [(10 * CHUNK + 512, &older), (50 * CHUNK + 2048, &newer)] {
        array[at..at + text.len()].copy_from_slice(text);
    }
    let mut members = vec![Vec::new(); 3];
    for (i, chunk) in array.chunks(CHUNK).enumerate() {
        members[i % 3].extend_from_slice(chunk);
    }
    let mut written = String::new();
    let mut paths = Vec::new();
    for (name, bytes) in ["b", "c", "a"].iter().zip(&members) {
        let path = folder.path().join(format!("{name}.img"));
        fs::write(&path, bytes).unwrap();
        paths.push(path);
        written += &format!(
            "[[image]]\nname = \"{name}\"\npath = \"{name}.img\"\nsize = {}\n\n",
            bytes.len()
        );
    }
    written += &format!(
        "[[array]]\nname = \"array1\"\nlevel = \"raid0\"\nchunk_kib = 4\ndata_offset_sectors = 0\nmember_bytes = {}\n\
         members = [\"b\", \"c\", \"a\"]\n",
        40 * CHUNK
    );
    let layout = folder.path().join("layout.toml");
    fs::write(&layout, written).unwrap();

    let mut alone = disinter();
    alone.args(["lvm", "scan"]).args(&paths);
    let alone = json(&mut alone, 1);
    let whole = |said: &serde_json::Value| {
        let all = said["candidates"].as_array().unwrap().iter();
        all.filter(|c| c["complete"] == true).count()
    };
    assert_eq!(whole(&alone), 0, "no member has a whole one");

    let by_layout = |words: &[&str]| {
        let mut command = disinter();
        command.arg("lvm").args(words).arg("--layout").arg(&layout);
        command
    };
    let scan = json(&mut by_layout(&["scan"]), 0);
    assert_eq!(whole(&scan), 2);
    let best = &scan["candidates"][0];
    assert_eq!(
        (&best["image"], &best["seqno"], &best["made"]),
        (&"array1".into(), &8.into(), &"found".into())
    );
    let shown = json(&mut by_layout(&["show", "1"]), 0);
    assert_eq!(
        shown["text"]
            .as_str()
            .unwrap()
            .trim_end_matches('\0')
            .as_bytes(),
        &newer[..newer.len() - 1]
    );
    let diff = json(&mut by_layout(&["diff", "2", "1"]), 0);
    let changes = diff["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{diff}");
    assert!(changes[0].to_string().contains("lv29"), "{diff}");
    let history = json(&mut by_layout(&["history"]), 0);
    let states = history["groups"][0]["states"].as_array().unwrap();
    assert_eq!(
        states.iter().map(|s| &s["seqno"]).collect::<Vec<_>>(),
        [7, 8]
    );
    let target = folder.path().join("out.vg");
    let mut extract = by_layout(&["extract"]);
    run(extract.arg("-o").arg(&target), 0);
    let file = fs::read_to_string(&target).unwrap();
    assert!(
        !file.contains("NOT PROVEN") && file.contains("lv29 {"),
        "{file}"
    );
}
