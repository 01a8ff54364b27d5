//! What a later step would overwrite, kept so that it can be put back: the honest undo.
//!
//! `mdadm --create` writes a superblock and a bitmap, `pvcreate` a label and a
//! metadata area, a partitioner both ends of the disk, `mkfs` superblocks.
//! Every place where these lie, or would lie ([`places`](super::places)), is kept:
//! one file an extent, and a manifest that says of each what it is.

use super::places::{FRONT, LONGEST};
use crate::image::{Source, read_vec};
use crate::parse::{is_blank, printable};
use crate::units::{Bytes, Extent, merge};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest extent read or written at once.
const PIECE: usize = 1 << 20;

/// Places by which a disk is known again, besides what is kept.
const PROOFS: u64 = 16;

/// A manifest of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The document's kind.
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// When it was taken, UTC.
    pub taken: String,
    /// The images.
    pub sources: Vec<BackupSource>,
    /// What is kept.
    pub extents: Vec<Kept>,
    /// What should have been kept and could not be read.
    pub unread: Vec<Lost>,
}

impl BackupManifest {
    /// What is kept, or should have been, of the sources whose names are asked for: all else of an image is its rest.
    pub fn taken_of(&self, is_of: impl Fn(&str) -> bool) -> Vec<Extent> {
        let kept = self.extents.iter().map(|k| (&k.image, k.extent));
        let lost = self.unread.iter().map(|l| (&l.image, l.extent));
        let taken = kept.chain(lost).filter(|(image, _)| is_of(image));
        taken.map(|(_, extent)| extent).collect()
    }
}

/// An image of a backup, and how it is known again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupSource {
    /// What answers call it.
    pub name: String,
    /// Where it was: the same for two parts of one image.
    pub path: std::path::PathBuf,
    /// The whole image's size.
    pub size: Bytes,
    /// A device's serial number, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Places outside of what is kept, with their SHA-256: they tell this disk from others.
    pub proofs: Vec<Proof>,
    /// SHA-256 of all bytes outside of what is kept, in their order, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_sha256: Option<String>,
}

/// A place and its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The place.
    #[serde(flatten)]
    pub extent: Extent,
    /// Its SHA-256.
    pub sha256: String,
}

/// An extent that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The file that holds it.
    pub file: String,
    /// The image.
    pub image: String,
    /// Where in the image.
    #[serde(flatten)]
    pub extent: Extent,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// What lies there, or what a later step would put there.
    pub what: Vec<String>,
}

/// An extent that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The image.
    pub image: String,
    /// Where in the image.
    #[serde(flatten)]
    pub extent: Extent,
}

/// What of a place could be read, run by run, and what could not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Each run with its bytes, ascending.
    pub read: Vec<(Extent, Vec<u8>)>,
    /// The rest.
    pub lost: Vec<Extent>,
}

/// Reads a place; of one that is longer than [`places`](super::places::places) gives, the front.
pub fn read_runs(source: &dyn Source, extent: Extent) -> Runs {
    let length = extent.length.to_len(LONGEST);
    let extent = Extent::new(extent.offset, Bytes(length as u64));
    let mut bytes = vec![0; length];
    let gaps = source.read_at(extent.offset, &mut bytes);
    let mut runs = Runs {
        read: Vec::new(),
        lost: gaps.extents().to_vec(),
    };
    let mut at = extent.offset;
    let end = Extent::new(extent.end(), Bytes::ZERO);
    for gap in gaps.extents().iter().chain([&end]) {
        let run = Extent::new(at, gap.offset - at);
        let from = (at - extent.offset).to_len(length);
        let to = (run.end() - extent.offset).to_len(length);
        if let Some(bytes) = bytes.get(from..to).filter(|b| !b.is_empty()) {
            runs.read.push((run, bytes.to_vec()));
        }
        at = gap.end();
    }
    runs
}

/// Places outside of `kept` by which a disk is known again: spread over it, not constant where there are such.
pub fn proofs(source: &dyn Source, kept: &[Extent]) -> Vec<Proof> {
    let kept = merge(kept.to_vec());
    let free = |extent: &Extent| !kept.iter().any(|k| k.overlap(*extent).is_some());
    let length = source.len().0;
    let step = (length / (PROOFS * 4)).max(FRONT.0) / FRONT.0 * FRONT.0;
    let (mut telling, mut constant) = (Vec::new(), Vec::new());
    for at in (0..PROOFS * 4).filter_map(|i| i.checked_mul(step)) {
        let extent = Extent::new(Bytes(at), FRONT);
        if extent.end().0 > length || !free(&extent) {
            continue;
        }
        let Ok(bytes) = read_vec(source, extent, FRONT.to_len(4096)) else {
            continue;
        };
        let proof = Proof {
            extent,
            sha256: hex::encode(Sha256::digest(&bytes)),
        };
        match is_blank(&bytes) {
            true => constant.push(proof),
            false => telling.push(proof),
        }
    }
    telling.extend(constant);
    telling.truncate(PROOFS.try_into().unwrap_or(usize::MAX));
    telling.sort_by_key(|p| p.extent);
    telling
}

/// How a disk compares with its [`proofs`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// Places that are as they were.
    pub same: usize,
    /// Those of them that are not constant: zeros are the same on every disk.
    pub telling: usize,
    /// Places that are not.
    pub changed: Vec<Extent>,
    /// Those of them that were not constant.
    pub telling_changed: usize,
    /// Places that cannot be read now.
    pub unread: Vec<Extent>,
}

impl Proven {
    /// Whether there were places that tell this disk from others, and none of them is as it was.
    pub fn is_none_left(&self) -> bool {
        self.telling == 0 && self.telling_changed > 0
    }
}

/// Compares a disk with its [`proofs`].
pub fn prove(source: &dyn Source, proofs: &[Proof]) -> Proven {
    let constant = [0, 0xff].map(|byte| hex::encode(Sha256::digest([byte; 4096])));
    let mut proven = Proven::default();
    for proof in proofs {
        let Ok(bytes) = read_vec(source, proof.extent, FRONT.to_len(4096)) else {
            proven.unread.push(proof.extent);
            continue;
        };
        let telling = usize::from(!constant.contains(&proof.sha256) && !is_blank(&bytes));
        match hex::encode(Sha256::digest(&bytes)) == proof.sha256 {
            true => {
                proven.same += 1;
                proven.telling += telling;
            }
            false => {
                proven.changed.push(proof.extent);
                proven.telling_changed += usize::from(!constant.contains(&proof.sha256));
            }
        }
    }
    proven
}

/// A disk's hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-256 of all bytes outside of what is kept, in their order; `None` where any of them could not be read.
    pub rest: Option<String>,
    /// SHA-256 of all bytes as read, unread ones as zeros.
    pub whole: String,
}

/// Reads all of a disk of which `kept` is kept.
pub fn hashes(source: &dyn Source, kept: &[Extent], done: &dyn Fn(u64)) -> Hashes {
    let (mut rest, mut whole) = (Some(Sha256::new()), Sha256::new());
    let mut buf = vec![0; PIECE];
    let all = Extent::new(Bytes::ZERO, source.len());
    let kept = kept.iter().filter_map(|e| e.overlap(all));
    let mut runs: Vec<(Extent, bool)> = merge(kept.collect())
        .into_iter()
        .map(|e| (e, true))
        .collect();
    let kept: Vec<Extent> = runs.iter().map(|(e, _)| *e).collect();
    runs.extend(outside(source.len(), &kept).into_iter().map(|e| (e, false)));
    runs.sort_unstable();
    for (run, is_kept) in runs {
        let mut at = run.offset;
        while at < run.end() {
            let length = (run.end() - at).to_len(PIECE);
            let piece = buf.get_mut(..length).unwrap_or_default();
            let gaps = source.read_at(at, piece);
            whole.update(&*piece);
            match &mut rest {
                _ if is_kept => {}
                Some(hash) if gaps.is_none() => hash.update(&*piece),
                rest => *rest = None,
            }
            at = at + Bytes(length as u64);
            done(length as u64);
        }
    }
    Hashes {
        rest: rest.map(|hash| hex::encode(hash.finalize())),
        whole: hex::encode(whole.finalize()),
    }
}

/// What of `0..length` lies outside of `kept`, ascending.
pub fn outside(length: Bytes, kept: &[Extent]) -> Vec<Extent> {
    let mut runs = Vec::new();
    let mut at = Bytes::ZERO;
    let end = Extent::new(length, Bytes::ZERO);
    for extent in merge(kept.to_vec()).iter().chain([&end]) {
        if extent.offset > at {
            runs.push(Extent::new(at, extent.offset - at));
        }
        at = at.max(extent.end());
    }
    runs
}

/// How an extent on the disk compares with what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// The same bytes.
    Same,
    /// Others.
    Changed {
        /// How many bytes differ.
        differing_bytes: u64,
        /// The first of them, in the image.
        first_difference: Bytes,
        /// What lies there now.
        now: String,
        /// What of it cannot be read now, and may have changed too.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unread: Vec<Extent>,
    },
    /// Parts of it, or all, cannot be read now; the others are the same.
    Unreadable {
        /// Where not.
        extents: Vec<Extent>,
    },
    /// Its disk was not there, or not asked for.
    NotLookedAt,
    /// It could not be read when the backup was taken.
    NeverKept,
}

impl State {
    /// Whether anything of it is unknown.
    pub fn is_gap(&self) -> bool {
        match self {
            State::Same => false,
            State::Changed { unread, .. } => !unread.is_empty(),
            State::Unreadable { .. } | State::NotLookedAt | State::NeverKept => true,
        }
    }
}

/// Compares what is kept of an extent with what lies there now. A sector that cannot be read hides no change beside it.
pub fn compare(source: &dyn Source, extent: Extent, kept: &[u8]) -> State {
    let mut now = vec![0; kept.len()];
    let gaps = source.read_at(extent.offset, &mut now);
    for gap in gaps.extents() {
        let from = (gap.offset - extent.offset).to_len(kept.len());
        let to = (gap.end() - extent.offset).to_len(kept.len());
        if let (Some(now), Some(kept)) = (now.get_mut(from..to), kept.get(from..to)) {
            now.copy_from_slice(kept);
        }
    }
    let differing = || {
        now.iter()
            .zip(kept)
            .zip(0_u64..)
            .filter(|((a, b), _)| a != b)
    };
    let count = differing().count() as u64;
    let first = differing().next().map(|(_, first)| first);
    let unread = gaps.extents().to_vec();
    match first {
        None if unread.is_empty() => State::Same,
        None => State::Unreadable { extents: unread },
        Some(first) => State::Changed {
            differing_bytes: count,
            first_difference: extent.offset + Bytes(first),
            now: {
                gaps.clear(extent.offset, &mut now);
                what_is(&now)
            },
            unread,
        },
    }
}

/// What bytes are, in a few words.
pub fn what_is(bytes: &[u8]) -> String {
    if let Some(first) = bytes.first()
        && is_blank(bytes)
    {
        return match first {
            0 => "zeros".to_owned(),
            byte => format!("nothing but the byte {byte:#04x}"),
        };
    }
    let mut found = Vec::new();
    let memory = crate::image::Memory::new("now", bytes.to_vec());
    let scan = crate::scan::scan(
        &crate::scan::Job::of(&memory),
        0,
        Default::default(),
        &crate::image::progress::Silent,
    );
    for finding in &scan.findings {
        use crate::scan::What;
        found.push(match &finding.what {
            What::MdSuperblock(sb) => {
                let name = printable(sb.array_name.as_bytes());
                format!("md superblock {} {name}", sb.version)
            }
            What::LvmLabel(label) => format!("LVM label of {}", label.pv_uuid),
            What::LvmMetadataArea(_) => "LVM metadata area".to_owned(),
            What::LvmText { vg, seqno, .. } => {
                format!("LVM text of {}, seqno {seqno}", printable(vg.as_bytes()))
            }
            What::ExtSuperblock(sb) => format!("{} superblock {}", sb.kind(), sb.uuid),
            What::Head(head) => format!("{} {}", head.format.as_str(), head.uuid),
        });
    }
    if let Ok(table) = crate::disk::partitions(&memory) {
        found.push(format!(
            "{} partition table of {} partitions",
            table.kind.as_str(),
            table.partitions.len()
        ));
    }
    found.dedup();
    found.truncate(4);
    match found.as_slice() {
        [] => "data of no known kind".to_owned(),
        found => found.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use proptest::prelude::*;

    fn e(offset: u64, length: u64) -> Extent {
        Extent::new(Bytes(offset), Bytes(length))
    }

    proptest! {
        /// What is kept and what is outside must be the disk, each byte once: else a change is missed.
        #[test]
        fn kept_and_outside_are_all(
            extents in prop::collection::vec((0..1000_u64, 0..100_u64), 0..20),
            length in 1..1000_u64,
        ) {
            let kept: Vec<Extent> = extents.into_iter().filter_map(|(o, l)| e(o, l).overlap(e(0, length))).collect();
            let mut seen = vec![0; length as usize];
            for x in outside(Bytes(length), &kept).into_iter().chain(merge(kept)) {
                for at in x.offset.0..x.end().0 {
                    seen[at as usize] += 1;
                }
            }
            prop_assert!(seen.iter().all(|n| *n == 1));
        }
    }

    /// A gap written as zeros would be put back as zeros over what may be readable another day.
    #[test]
    fn what_cannot_be_read_is_not_kept() {
        let source = Memory::new("m", (0..=255).collect()).with_unread(e(100, 20));
        let runs = read_runs(&source, e(90, 100));
        assert_eq!(runs.lost, [e(100, 20)]);
        assert_eq!(runs.read.len(), 2);
        assert_eq!(runs.read[0], (e(90, 10), (90..100).collect()));
        assert_eq!(runs.read[1], (e(120, 70), (120..190).collect()));
        let zeroed: Vec<u8> = (0..=255)
            .map(|b| if (100..120).contains(&b) { 0 } else { b })
            .collect();
        let whole = hex::encode(Sha256::digest(&zeroed));
        let hashed = |kept: &[Extent]| hashes(&source, kept, &|_| {});
        let rest = None;
        assert_eq!(
            hashed(&[e(0, 90)]),
            Hashes {
                rest,
                whole: whole.clone()
            }
        );
        let rest = Some(hex::encode(Sha256::digest(&zeroed[130..])));
        assert_eq!(hashed(&[e(20, 110), e(0, 50)]), Hashes { rest, whole });
    }

    /// "Changed" alone does not say who was here.
    #[test]
    fn a_change_is_told() {
        let source = Memory::new("m", vec![0; 8192]).with_unread(e(8000, 10));
        assert_eq!(compare(&source, e(0, 512), &[0; 512]), State::Same);
        let changed = compare(&source, e(512, 3), &[0, 7, 8]);
        let State::Changed {
            differing_bytes,
            first_difference,
            now,
            ..
        } = changed
        else {
            panic!("{changed:?}");
        };
        assert_eq!(
            (differing_bytes, first_difference, now.as_str()),
            (2, Bytes(513), "zeros")
        );
        assert!(matches!(
            compare(&source, e(7900, 200), &[0; 200]),
            State::Unreadable { extents } if extents == [e(8000, 10)]
        ));
        // Beside a bad sector a change is still one.
        let mut kept = [0; 200];
        kept[3] = 9;
        kept[105] = 9;
        assert!(matches!(
            compare(&source, e(7900, 200), &kept),
            State::Changed { differing_bytes: 1, unread, .. } if unread == [e(8000, 10)]
        ));
    }
}
