//! What one pass over a source finds, of every format: the findings.

use crate::fs::ext;
use crate::image::progress::Progress;
use crate::image::sweep::{Needle, Place, Sweep};
use crate::image::{Gaps, Source};
use crate::lvm::carve::{self, Carved};
use crate::lvm::{self, candidates, label, mda};
use crate::md::superblock::Superblock;
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// Something recognised at an extent.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The image or volume.
    pub source: String,
    /// Where in it.
    #[serde(flatten)]
    pub extent: Extent,
    /// Whether its checksum holds.
    pub checksum: Checksum,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a finding is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// An md superblock.
    MdSuperblock(Superblock),
    /// The label of a physical volume.
    LvmLabel(label::Label),
    /// A metadata area's header.
    LvmMetadataArea(mda::Header),
    /// A metadata text.
    LvmText {
        /// The volume group's name.
        vg: String,
        /// Its id.
        vg_id: String,
        /// Its seqno.
        seqno: u64,
        /// How it was stored.
        form: carve::Form,
        /// Whether it is whole.
        complete: bool,
        /// SHA-256 of the text.
        sha256: String,
    },
    /// A superblock of ext2, ext3 or ext4, or a copy of one.
    ExtSuperblock(ext::Superblock),
}

/// What one pass gave.
#[derive(Debug)]
pub struct Scan {
    /// The findings, by offset.
    pub findings: Vec<Finding>,
    /// The metadata texts.
    pub texts: Vec<Carved>,
    /// What could not be read.
    pub gaps: Gaps,
    /// SHA-256 of all bytes as read, gaps as zeros.
    pub sha256: String,
    /// Bytes of the source.
    pub length: Bytes,
}

#[derive(Clone, Copy)]
enum Mark {
    Lvm(lvm::Mark),
    Ext,
}

fn needles() -> Vec<Needle<Mark>> {
    let mut needles: Vec<Needle<Mark>> = lvm::needles()
        .into_iter()
        .map(|n| Needle {
            kind: Mark::Lvm(n.kind),
            bytes: n.bytes,
            place: n.place,
        })
        .collect();
    needles.push(Needle {
        kind: Mark::Ext,
        bytes: ext::MAGIC,
        place: Place::InSector(ext::MAGIC_AT),
    });
    needles
}

/// A source that hashes what is read of it in order, so that finding and hashing share one pass.
struct Hashing<'a> {
    source: &'a dyn Source,
    hash: Mutex<Sha256>,
}

impl Source for Hashing<'_> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> Bytes {
        self.source.len()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        let gaps = self.source.read_at(at, buf);
        if let Ok(mut hash) = self.hash.lock() {
            hash.update(&*buf);
        }
        gaps
    }
}

/// Reads all of `source` once.
pub fn scan(source: &dyn Source, progress: &dyn Progress) -> Scan {
    let hashing = Hashing {
        source,
        hash: Mutex::new(Sha256::new()),
    };
    let mut findings = Vec::new();
    let mut texts = Vec::new();
    let mut headers = Vec::new();
    let name = source.name().to_owned();
    let mut hit = |mark: Mark, at: Bytes| match mark {
        Mark::Lvm(lvm::Mark::Text) => texts.extend(carve::text_at(source, at)),
        Mark::Lvm(lvm::Mark::Label) => {
            if let Ok(label) = label::Label::read(source, at) {
                let what = (label.checksum, What::LvmLabel(label));
                findings.push(finding(&name, at, 512, what));
            }
        }
        Mark::Lvm(lvm::Mark::MetadataArea) => {
            let at = at - Bytes(4);
            if let Ok(header) = mda::Header::read(source, at) {
                headers.push(header.clone());
                let what = (header.checksum, What::LvmMetadataArea(header));
                findings.push(finding(&name, at, 512, what));
            }
        }
        Mark::Ext => {
            let at = at - Bytes(ext::MAGIC_AT as u64);
            if let Ok(superblock) = ext::Superblock::read(source, at) {
                let what = (superblock.checksum, What::ExtSuperblock(superblock));
                findings.push(finding(&name, at, ext::SUPERBLOCK_LEN as u64, what));
            }
        }
    };
    let gaps = Sweep::new(&needles()).run(&hashing, progress, &mut hit);
    candidates::check_ring(&mut texts, source, &headers);
    for text in &texts {
        let what = What::LvmText {
            vg: text.vg.name.clone(),
            vg_id: text.vg.id.clone(),
            seqno: text.vg.seqno,
            form: text.form,
            complete: text.complete,
            sha256: text.sha256.clone(),
        };
        let length = text.extent.length.0;
        findings.push(finding(
            &name,
            text.extent.offset,
            length,
            (text.checksum, what),
        ));
    }
    findings.sort_by_key(|f| f.extent);
    let hash = hashing.hash.into_inner().map(|h| hex::encode(h.finalize()));
    Scan {
        findings,
        texts,
        gaps,
        sha256: hash.unwrap_or_default(),
        length: source.len(),
    }
}

fn finding(source: &str, at: Bytes, length: u64, (checksum, what): (Checksum, What)) -> Finding {
    Finding {
        source: source.to_owned(),
        extent: Extent::new(at, Bytes(length)),
        checksum,
        what,
    }
}

/// The md superblocks of a member as findings; whole disks are not looked at, but what lies on them.
pub fn md_findings(member: &dyn Source) -> Vec<Finding> {
    let (superblocks, _) = Superblock::all(member);
    superblocks
        .into_iter()
        .map(|sb| {
            finding(
                member.name(),
                sb.at,
                4096,
                (sb.checksum, What::MdSuperblock(sb)),
            )
        })
        .collect()
}

/// Scans several sources, as many at a time as the machine has cores, each by one reader.
pub fn scan_all(sources: &[&dyn Source], progress: &dyn Progress) -> Vec<Scan> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(0..sources.len());
    let done: Mutex<Vec<(usize, Scan)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.min(sources.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.lock().ok().and_then(|mut n| n.next());
                    let Some((index, source)) = index.and_then(|i| Some((i, sources.get(i)?)))
                    else {
                        return;
                    };
                    let scan = scan(*source, progress);
                    if let Ok(mut done) = done.lock() {
                        done.push((index, scan));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, scan)| scan).collect()
}
