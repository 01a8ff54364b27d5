//! What one pass over a source finds, of every format: the findings.

use crate::fs::ext;
use crate::image::pass::Plan;
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
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Mutex;

/// Devices that are read at once: each takes some 3 MiB for its blocks.
const MOST_DEVICES: usize = 16;

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
    /// SHA-256 of all bytes as read, gaps and holes as zeros, where it was asked for.
    pub sha256: Option<String>,
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

/// How a scan is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether all bytes are hashed on the way.
    pub hash: bool,
    /// Bytes a second read of one device at most.
    pub limit: Option<NonZeroU64>,
}

/// What hits become: each is asked of its format.
struct Collector<'a> {
    source: &'a dyn Source,
    findings: Vec<Finding>,
    texts: Vec<Carved>,
    headers: Vec<mda::Header>,
}

impl Collector<'_> {
    fn hit(&mut self, mark: Mark, at: Bytes) {
        match mark {
            Mark::Lvm(lvm::Mark::Text) => self.texts.extend(carve::text_at(self.source, at)),
            Mark::Lvm(lvm::Mark::Label) => {
                if let Ok(label) = label::Label::read(self.source, at) {
                    self.add(at, 512, (label.checksum, What::LvmLabel(label)));
                }
            }
            Mark::Lvm(lvm::Mark::MetadataArea) => {
                let at = at - Bytes(4);
                if let Ok(header) = mda::Header::read(self.source, at) {
                    self.headers.push(header.clone());
                    self.add(at, 512, (header.checksum, What::LvmMetadataArea(header)));
                }
            }
            Mark::Ext => {
                let at = at - Bytes(ext::MAGIC_AT as u64);
                if let Ok(superblock) = ext::Superblock::read(self.source, at) {
                    let what = (superblock.checksum, What::ExtSuperblock(superblock));
                    self.add(at, ext::SUPERBLOCK_LEN as u64, what);
                }
            }
        }
    }

    fn add(&mut self, at: Bytes, length: u64, what: (Checksum, What)) {
        self.findings
            .push(finding(self.source.name(), at, length, what));
    }

    /// The findings, by offset, and the texts.
    fn finish(mut self) -> (Vec<Finding>, Vec<Carved>) {
        let mut texts = std::mem::take(&mut self.texts);
        candidates::check_ring(&mut texts, self.source, &self.headers);
        for text in &texts {
            let what = What::LvmText {
                vg: text.vg.name.clone(),
                vg_id: text.vg.id.clone(),
                seqno: text.vg.seqno,
                form: text.form,
                complete: text.complete,
                sha256: text.sha256.clone(),
            };
            let extent = text.extent;
            self.add(extent.offset, extent.length.0, (text.checksum, what));
        }
        self.findings.sort_by_key(|f| f.extent);
        (self.findings, texts)
    }
}

/// Reads all of `source` once.
pub fn scan(source: &dyn Source, options: Options, progress: &dyn Progress) -> Scan {
    let mut collector = Collector {
        source,
        findings: Vec::new(),
        texts: Vec::new(),
        headers: Vec::new(),
    };
    let plan = Plan {
        hash: options.hash.then(Sha256::new),
        limit: options.limit,
        ..Plan::default()
    };
    let mut gaps = Gaps::none();
    let mut hash = plan.hash.clone();
    Sweep::new(&needles()).pass(source, plan, progress, &mut |swept| {
        gaps.add(swept.gaps);
        hash = swept.hash;
        for (mark, at) in swept.hits {
            collector.hit(mark, at);
        }
    });
    let (findings, texts) = collector.finish();
    Scan {
        findings,
        texts,
        gaps,
        sha256: hash.map(|h| hex::encode(h.finalize())),
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

/// Scans several sources, each with the number of the device that it lies on: the devices at once, one source of a
/// device after the other, so that no disk has to read at two places at a time.
pub fn scan_all(
    sources: &[(&dyn Source, u64)],
    options: Options,
    progress: &dyn Progress,
) -> Vec<Scan> {
    let mut devices: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, (_, device)) in sources.iter().enumerate() {
        devices.entry(*device).or_default().push(index);
    }
    let queue = Mutex::new(devices.into_values());
    let done: Mutex<Vec<(usize, Scan)>> = Mutex::new(Vec::new());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        for _ in 0..MOST_DEVICES.min(sources.len()) {
            scope.spawn(|| {
                while let Some(device) = next() {
                    for index in device {
                        let Some((source, _)) = sources.get(index) else {
                            continue;
                        };
                        let scan = scan(*source, options, progress);
                        if let Ok(mut done) = done.lock() {
                            done.push((index, scan));
                        }
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, scan)| scan).collect()
}
