//! LVM as lvm2 wrote it: real images, and real lvm2 as the judge.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, drill, json, run, shared, unpack_xz};
use disinter::image::{Memory, open};
use disinter::lvm::label::Label;
use disinter::lvm::{carve, mda, restore, text};
use disinter::parse::{Checksum, ParseError};
use disinter::units::Bytes;
use proptest::prelude::*;
use std::fs;
use std::process::Command;

/// Label, header and text checksums of a disk that another team published: our CRC against lvm2's.
#[test]
fn checksums_of_a_published_image_hold() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let source = open(&image, "dfvfs").unwrap();
    let label = Label::read(&source, Bytes(512)).unwrap();
    assert_eq!((label.checksum, label.sector), (Checksum::Ok, 1));
    assert_eq!(label.device_size, Bytes(16 << 20));
    let header = mda::Header::read(&source, label.metadata_areas[0].offset).unwrap();
    assert_eq!(header.checksum, Checksum::Ok);
    let text = header.text(&source, &header.locations[0]).unwrap();
    assert!(text.starts_with(b"vg_test {"));
}

/// All three states of a ring, with the newest first: the older ones are what is left when the newest is lost.
#[test]
fn every_copy_in_a_ring_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let out = json(disinter().args(["lvm", "scan"]).arg(&image), 0);
    let candidates = out["candidates"].as_array().unwrap();
    let seqnos: Vec<u64> = candidates
        .iter()
        .map(|c| c["seqno"].as_u64().unwrap())
        .collect();
    assert_eq!(seqnos, [3, 2, 1]);
    let best = &candidates[0];
    assert_eq!(
        (&best["vg"], &best["form"], &best["checksum"]),
        (&"vg_test".into(), &"ring".into(), &"ok".into())
    );
    assert_eq!(best["lvs"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&best["proof"]["shown"], &best["proof"]["tested"]),
        (&2.into(), &2.into())
    );
}

/// A ring whose other copies are blank, far from the usual places.
#[test]
fn the_only_copy_of_a_ring_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/xenserver-disk.img.xz", folder.path()) else {
        return;
    };
    let out = json(disinter().args(["lvm", "scan"]).arg(&image), 0);
    let best = &out["candidates"][0];
    assert_eq!(
        (&best["seqno"], &best["offset"]),
        (&27.into(), &77312.into())
    );
}

/// The reinstalled disk: the old group's backup file lies in the lost root, byte for byte, and its volumes are there;
/// the installer's group is newer. Ranked by time alone the wrong one would win.
#[test]
fn the_old_group_is_found_under_a_reinstalled_system() {
    let folder = tempfile::tempdir().unwrap();
    let packed = "lvm/gen-lvm2.03.16-reinstall-etc-lvm-in-lost-root.img.xz";
    let (Some(image), Some(truth)) = (
        unpack_xz(packed, folder.path()),
        shared("lvm/gen-reinstall-truth-vg0.vgcfg"),
    ) else {
        return;
    };
    let out = json(disinter().args(["lvm", "scan"]).arg(&image), 0);
    let candidates = out["candidates"].as_array().unwrap();
    let truth = fs::read(truth).unwrap();
    let found = candidates
        .iter()
        .find(|c| c["sha256"] == common::sha256(&truth));
    assert!(
        found.is_some(),
        "the true file is not among {}",
        candidates.len()
    );
    let groups: std::collections::BTreeSet<&str> = candidates
        .iter()
        .map(|c| c["vg"].as_str().unwrap())
        .collect();
    assert!(
        groups.contains("vg0") && groups.contains("ubuntu-vg"),
        "{groups:?}"
    );
    let best_old = candidates.iter().find(|c| c["vg"] == "vg0").unwrap();
    assert_eq!(
        best_old["sha256"],
        common::sha256(&truth),
        "an older text of vg0 is ranked above its last"
    );
    // Both groups have volumes there; the old one can be asked for.
    let case = folder.path().join("case");
    let mut command = disinter();
    command
        .arg("investigate")
        .arg(&image)
        .args(["--vg", "vg0", "--case"])
        .arg(&case);
    run(&mut command, 0);
    assert_eq!(fs::read(case.join("vg0.vg")).unwrap(), truth);
}

/// What lvm2 wrote, the grammar reads and writes again without a loss; and an extracted ring text is one that the
/// real lvm2 can read as a file.
#[test]
fn texts_go_round() {
    let true_text = fs::read(drill("holmes-2013").join("true-guests.vg")).unwrap();
    let memory = Memory::new("file", true_text.clone());
    let hit = memchr::memmem::find(&true_text, carve::NEEDLE).unwrap();
    let carved = carve::text_at(&memory, Bytes(hit as u64)).unwrap();
    assert!(carved.complete && carved.form == carve::Form::File);
    assert_eq!(
        carved.bytes[..],
        true_text[..],
        "the carved file is not the whole file"
    );
    assert!(carved.vg.faults().is_empty(), "{:?}", carved.vg.faults());
    assert_eq!(
        restore::restore_file(&carved).unwrap().into_bytes(),
        true_text
    );
    let at = memchr::memmem::find(&true_text, b"guests {").unwrap();
    let section = text::section(&true_text[at..]);
    assert_eq!(section.stop, None);
    let again = text::section(text::write(&section.value).as_bytes());
    assert_eq!(again.value, section.value);
}

/// A volume of two segments is what the first version of this would get wrong.
#[test]
fn the_second_segment_is_known() {
    let text = fs::read_to_string(drill("holmes-2013").join("true-guests.vg")).unwrap();
    let vg = disinter::layout::parse_text(&text).unwrap();
    let ada = vg.lv("ada").unwrap();
    assert_eq!(ada.segments.len(), 2);
    let extents = vg.linear_extents(ada).unwrap();
    assert_ne!(extents[0].1.end(), extents[1].1.offset);
    assert_eq!(vg.size(ada), Bytes(52 << 20));
}

/// vgcfgrestore's own parser is the judge of an extracted ring text.
#[test]
fn real_lvm2_reads_an_extracted_text() {
    let folder = tempfile::tempdir().unwrap();
    let Some(image) = unpack_xz("lvm/dfvfs-lvmtest-0783a444.img.xz", folder.path()) else {
        return;
    };
    let file = folder.path().join("vg_test.vg");
    run(
        disinter()
            .args(["lvm", "extract"])
            .arg(&image)
            .arg("-o")
            .arg(&file),
        0,
    );
    let again = run(
        disinter()
            .args(["lvm", "extract"])
            .arg(&image)
            .arg("-o")
            .arg(&file),
        2,
    );
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing is ever overwritten"));
    // Lists what a file holds; needs no device.
    let command = "PATH=/usr/sbin:/sbin:$PATH; command -v vgcfgrestore >/dev/null || exit 77; \
                   exec vgcfgrestore --list --file \"$1\" vg_test";
    let out = Command::new("sh")
        .args(["-c", command, "sh"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    match out.status.code() {
        Some(77) => eprintln!("SKIPPED: lvm2 is not installed"),
        Some(0) => assert!(text.contains("vg_test"), "{text}"),
        _ => panic!("{out:?}"),
    }
}

/// A text that is cut, at any place, is told to be cut: half a restore file would be the end of the data.
#[test]
fn a_cut_text_is_never_called_complete() {
    let text = fs::read(drill("holmes-2013").join("true-guests.vg")).unwrap();
    let hit = memchr::memmem::find(&text, carve::NEEDLE).unwrap();
    for cut in (hit + 10..text.len() - 2).step_by(7) {
        let memory = Memory::new("cut", text[..cut].to_vec());
        if let Some(carved) = carve::text_at(&memory, Bytes(hit as u64)) {
            assert!(!carved.complete, "cut at {cut}");
            assert!(restore::restore_file(&carved).is_err());
        }
    }
}

proptest! {
    /// One flipped byte in a label: its checksum does not hold, or it is no label any more. Never a panic, never a
    /// false "ok".
    #[test]
    fn a_flipped_byte_in_a_label_shows(at in 0_usize..512, bit in 0_u8..8) {
        let mut sector = vec![0_u8; 512];
        sector[..8].copy_from_slice(b"LABELONE");
        sector[8] = 1;
        sector[20] = 32;
        sector[24..32].copy_from_slice(b"LVM2 001");
        sector[32..64].copy_from_slice(b"NiG3aNyC2hZuGAgD3s9P0o0YJnSIBoU6");
        let crc = disinter::lvm::crc(&sector[20..]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        let read = |sector: &[u8]| Label::read(&Memory::new("l", sector.to_vec()), Bytes(0));
        prop_assert_eq!(read(&sector).unwrap().checksum, Checksum::Ok);
        sector[at] ^= 1 << bit;
        match read(&sector) {
            // The sector's number lies before what the checksum covers.
            Ok(label) => prop_assert!(label.checksum == Checksum::Bad || (8..16).contains(&at)),
            Err(error) => prop_assert_eq!(error, ParseError::NotThis),
        }
    }

    /// Whatever lies around a needle, carving comes back.
    #[test]
    fn carving_any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..1500) {
        let at = at.min(bytes.len());
        bytes.splice(at..at, b"vg {\nid = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\"\nseqno = 3\n".iter().copied());
        let hit = at + 50;
        carve::text_at(&Memory::new("m", bytes), Bytes(hit as u64));
    }
}
