//! `restore.sh` of a backup: puts back exactly the bytes that were kept.

use super::quote::{Script, Unquotable};
use crate::evidence::backup::{BackupManifest, BackupSource, Proof, outside};
use crate::units::Extent;

/// Pairs of disks that nothing outside of what is kept tells apart: halves of a mirror.
fn alike(sources: &[BackupSource]) -> Vec<(&BackupSource, &BackupSource)> {
    let pairs = sources
        .iter()
        .enumerate()
        .flat_map(|(i, a)| sources.iter().skip(i + 1).map(move |b| (a, b)));
    let alike = |(a, b): &(&BackupSource, &BackupSource)| {
        let other = |proof: &Proof| {
            let same_place = b.proofs.iter().find(|p| p.extent == proof.extent);
            same_place.is_some_and(|p| p.sha256 != proof.sha256)
        };
        let rest = a.rest_sha256.as_ref().zip(b.rest_sha256.as_ref());
        let told = a.serial.is_some() && b.serial.is_some()
            || a.proofs.iter().any(other)
            || rest.is_some_and(|(a, b)| a != b);
        a.size == b.size && a.path != b.path && !told
    };
    pairs.filter(alike).collect()
}

/// Writes the script of a backup.
///
/// # Errors
/// [`Unquotable`] where a name cannot stand in a script.
pub fn write(backup: &BackupManifest) -> Result<String, Unquotable> {
    // Two parts of one image: what is kept of either is not the rest.
    let one = |image: &str, source: &BackupSource| {
        let mut same = backup.sources.iter().filter(|s| s.path == source.path);
        same.any(|s| s.name == image)
    };
    let kept = |source: &BackupSource| -> Vec<Extent> {
        let of = backup.extents.iter().filter(|k| one(&k.image, source));
        let lost = backup.unread.iter().filter(|l| one(&l.image, source));
        of.map(|k| k.extent).chain(lost.map(|l| l.extent)).collect()
    };
    let extent = |s: Script, e: Extent| s.number(e.offset.0).text(" ").number(e.length.0);
    // Every list ends with `:`, so that an empty one is a function too.
    Script::new()
        .text(include_str!("restore_head.sh"))
        .text("# The disks: name, size, serial number where it is known.\neach_source() {\n")
        .each(&backup.sources, |s, source| {
            let s = s.text("    \"$1\" ").value(&source.name).text(" ");
            let s = s.number(source.size.0).text(" ");
            s.value(source.serial.as_deref().unwrap_or_default()).text("\n")
        })
        .text("    :\n}\n\n# Places that are not written: name, first byte, bytes, SHA-256.\neach_proof() {\n")
        .each(&backup.sources, |s, source| {
            s.each(&source.proofs, |s, proof| {
                let s = s.text("    \"$1\" ").value(&source.name).text(" ");
                extent(s, proof.extent).text(" ").value(&proof.sha256).text("\n")
            })
        })
        .text("    :\n}\n\n# All that was not kept, where it was hashed: name, SHA-256, then first byte and bytes of each run.\neach_rest() {\n")
        .each(&backup.sources, |s, source| {
            s.each(&source.rest_sha256, |s, sha256| {
                let s = s.text("    \"$1\" ").value(&source.name).text(" ").value(sha256);
                s.each(outside(source.size, &kept(source)), |s, run| {
                    extent(s.text(" \\\n        "), run)
                })
                .text("\n")
            })
        })
        .text("    :\n}\n\n# Disks that only differ in what was kept, and have no serial number.\neach_alike() {\n")
        .each(alike(&backup.sources), |s, (a, b)| {
            let s = s.text("    \"$1\" ").value(&a.name).text(" ");
            s.value(&b.name).text("\n")
        })
        .text("    :\n}\n\n# What was kept: name, first byte, bytes, SHA-256, file.\neach_extent() {\n")
        .each(&backup.extents, |s, kept| {
            let s = s.each(&kept.what, |s, what| s.text("    ").comment(what));
            let s = s.text("    \"$1\" ").value(&kept.image).text(" ");
            let s = extent(s, kept.extent).text(" ").value(&kept.sha256);
            s.text(" ").value(&kept.file).text("\n")
        })
        .text("    :\n}\n")
        .text(include_str!("devices.sh"))
        .text(include_str!("restore_tail.sh"))
        .finish()
}
