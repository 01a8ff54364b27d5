//! What one pass over a source finds, of every format: the findings.
//!
//! Likely places are looked at first ([`likely`]); the pass then only adds to
//! what they gave. A pass that was cut short can go on from its [`state`].

pub mod likely;
pub mod state;

use crate::fs::{ext, marks};
use crate::image::pass::Plan;
use crate::image::progress::Progress;
use crate::image::sweep::{Needle, Place, Sweep};
use crate::image::{Gaps, Source};
use crate::lvm::carve::{self, Carved};
use crate::lvm::pieces::Loose;
use crate::lvm::texts::Texts;
use crate::lvm::{self, label, mda};
use crate::md::superblock::{MAGIC_BE, MAGIC_LE, Superblock};
use crate::parse::Checksum;
use crate::units::{Bytes, Extent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use state::{Keeper, State};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Mutex;

/// Structures kept of one source; what is found beyond is counted.
const MOST_FINDINGS: usize = 100_000;

/// Structures of one kind whose checksum does not hold that are looked into; some take reading MiB to know.
const MOST_BROKEN: u32 = 100;

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
    /// The head of another file system, of swap, LUKS or a GUID partition table, or a copy of one.
    Head(marks::Head),
}

/// What one pass gave.
#[derive(Debug)]
pub struct Scan {
    /// The findings, by offset.
    pub findings: Vec<Finding>,
    /// Structures that were found and are not among them: an image full of them must not fill the memory.
    pub more: u64,
    /// The metadata texts.
    pub texts: Vec<Carved>,
    /// Texts that were found and are not among them, the oldest of each group: see [`Texts`].
    pub older_texts: u64,
    /// Pieces of texts that belong to none of these.
    pub loose: Loose,
    /// What could not be read.
    pub gaps: Gaps,
    /// SHA-256 of all bytes as read, gaps and holes as zeros, where it was asked for.
    pub sha256: Option<String>,
    /// Bytes of the source.
    pub length: Bytes,
    /// What was looked at: all, or the likely places alone.
    pub looked: Vec<Extent>,
}

impl Scan {
    /// Bytes that were looked at.
    pub fn looked_at(&self) -> Bytes {
        self.looked
            .iter()
            .fold(Bytes::ZERO, |sum, extent| sum + extent.length)
    }
}

/// A needle of some format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Mark {
    Lvm(lvm::Mark),
    Ext,
    Md,
    Head(marks::Mark),
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
    let mut at = |kind, bytes, place| {
        needles.push(Needle {
            kind,
            bytes,
            place: Place::InSector(place),
        });
    };
    at(Mark::Ext, ext::MAGIC, ext::MAGIC_AT);
    at(Mark::Md, &MAGIC_LE, 0);
    at(Mark::Md, &MAGIC_BE, 0);
    needles.extend(marks::needles().map(|n| Needle {
        kind: Mark::Head(n.kind),
        bytes: n.bytes,
        place: n.place,
    }));
    needles
}

/// How a scan is done.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Whether all bytes are hashed on the way.
    pub hash: bool,
    /// Bytes a second read of one source at most.
    pub limit: Option<NonZeroU64>,
    /// Whether only likely places are looked at.
    pub quick: bool,
    /// Who keeps how far the scan has come.
    pub keeper: Option<&'a dyn Keeper>,
}

/// A source to scan.
pub struct Job<'a> {
    /// The source.
    pub source: &'a dyn Source,
    /// The number of the device that it lies on.
    pub device: u64,
    /// What lies on it: partitions, or all of it.
    pub parts: Vec<Extent>,
    /// How far an earlier scan of it had come.
    pub state: State,
}

/// What hits become: each is asked of its format.
struct Collector<'a> {
    source: &'a dyn Source,
    findings: Vec<Finding>,
    more: u64,
    /// Of each kind, how many had a checksum that does not hold.
    broken: BTreeMap<Mark, u32>,
    texts: Texts<'a>,
    /// Hits that were asked about: the pass comes again to what was looked at first.
    known: BTreeSet<(Mark, Bytes)>,
}

impl<'a> Collector<'a> {
    fn new(source: &'a dyn Source) -> Collector<'a> {
        Collector {
            source,
            findings: Vec::new(),
            more: 0,
            broken: BTreeMap::new(),
            texts: Texts::new(source),
            known: BTreeSet::new(),
        }
    }

    /// Asks about hits of a likely place: the pass will come to them again.
    fn early(&mut self, hits: &[(Mark, Bytes)]) {
        for hit in hits {
            if self.known.insert(*hit) {
                self.hit(*hit);
            }
        }
    }

    /// Asks about a hit of the pass; whether it is something.
    fn late(&mut self, hit: (Mark, Bytes)) -> bool {
        self.known.contains(&hit) || self.hit(hit)
    }

    /// Asks the needle's format; whether the hit is something.
    fn hit(&mut self, (mark, at): (Mark, Bytes)) -> bool {
        if self.broken.get(&mark).is_some_and(|n| *n >= MOST_BROKEN) {
            return false;
        }
        match mark {
            Mark::Lvm(lvm::Mark::Text) => self.texts.front(at),
            Mark::Lvm(lvm::Mark::Piece) => self.texts.piece(at),
            Mark::Lvm(lvm::Mark::Label) => {
                let label = label::Label::read(self.source, at);
                let what = label.map(|l| (l.checksum, What::LvmLabel(l)));
                self.add(mark, at, 512, what.ok())
            }
            Mark::Lvm(lvm::Mark::MetadataArea) => {
                let at = at - Bytes(4);
                let header = mda::Header::read(self.source, at).ok();
                if let Some(header) = &header {
                    self.texts.header(header.clone());
                }
                let what = header.map(|h| (h.checksum, What::LvmMetadataArea(h)));
                self.add(mark, at, 512, what)
            }
            Mark::Ext => {
                let at = at - Bytes(ext::MAGIC_AT as u64);
                let superblock = ext::Superblock::read(self.source, at);
                let what = superblock.map(|s| (s.checksum, What::ExtSuperblock(s)));
                self.add(mark, at, ext::SUPERBLOCK_LEN as u64, what.ok())
            }
            Mark::Md => {
                let superblock = Superblock::found_at(self.source, at);
                let what = superblock.map(|(_, s)| (s.checksum, What::MdSuperblock(s)));
                self.add(mark, at, 4096, what.ok())
            }
            Mark::Head(kind) => {
                let head = kind.read(self.source, at).ok();
                let extent = head.as_ref().map_or(Extent::default(), |h| h.extent);
                let what = head.map(|h| (h.checksum, What::Head(h)));
                self.add(mark, extent.offset, extent.length.0, what)
            }
        }
    }

    /// What there is so far, in a line.
    fn summary(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        for text in self.texts.so_far().iter().rev() {
            let name = format!("{} seqno {}", text.vg.name, text.vg.seqno);
            if !said.contains(&name) && said.len() < 3 {
                said.push(name);
            }
        }
        let other = self.findings.len();
        match said.is_empty() {
            true => format!("{other} structures at likely places"),
            false => format!(
                "{other} structures at likely places, texts of {}",
                said.join(", ")
            ),
        }
    }

    fn add(&mut self, mark: Mark, at: Bytes, length: u64, what: Option<(Checksum, What)>) -> bool {
        let Some(what) = what else {
            return false;
        };
        if what.0 == Checksum::Bad {
            *self.broken.entry(mark).or_default() += 1;
        }
        match self.findings.len() < MOST_FINDINGS {
            true => {
                let finding = finding(self.source.name(), at, length, what);
                self.findings.push(finding);
            }
            false => self.more += 1,
        }
        true
    }

    /// The findings, by offset, and the texts; nothing yet of how they were read.
    fn finish(self) -> Scan {
        let (mut findings, found) = (self.findings, self.texts.finish());
        let source = self.source.name();
        for text in &found.texts {
            let what = What::LvmText {
                vg: text.vg.name.clone(),
                vg_id: text.vg.id.clone(),
                seqno: text.vg.seqno,
                form: text.form,
                complete: text.complete,
                sha256: text.sha256.clone(),
            };
            for extent in text.also_at.iter().chain([&text.extent]) {
                let what = (text.checksum, what.clone());
                findings.push(finding(source, extent.offset, extent.length.0, what));
            }
        }
        findings.sort_by_key(|f| f.extent);
        Scan {
            findings,
            more: self.more,
            texts: found.texts,
            older_texts: found.let_go,
            loose: found.loose,
            gaps: Gaps::none(),
            sha256: None,
            length: self.source.len(),
            looked: Vec::new(),
        }
    }
}

impl<'a> Job<'a> {
    /// All of one source, alone.
    pub fn of(source: &'a dyn Source) -> Job<'a> {
        Job {
            source,
            device: 0,
            parts: vec![Extent::new(Bytes::ZERO, source.len())],
            state: State::default(),
        }
    }
}

/// Scans one source: likely places first, then all of it once.
pub fn scan(job: &Job<'_>, number: usize, options: Options<'_>, progress: &dyn Progress) -> Scan {
    let source = job.source;
    let sweep = Sweep::new(&needles());
    let mut collector = Collector::new(source);
    let mut gaps = Gaps::none();
    let likely = likely::places(source.len(), &job.parts);
    for place in &likely {
        sweep.look(source, *place, &mut |swept| {
            gaps.add(swept.gaps);
            collector.early(&swept.hits);
        });
    }
    progress.first(source.name(), &collector.summary());
    let mut looked = likely;
    let mut hash = None;
    if !options.quick {
        let state = pass(job, number, options, (&sweep, &mut collector), progress);
        gaps = Gaps::from(state.gaps.clone());
        hash = state.hash().map(|h| hex::encode(h.finalize()));
        looked = vec![Extent::new(Bytes::ZERO, source.len())];
    }
    Scan {
        gaps,
        sha256: hash,
        looked,
        ..collector.finish()
    }
}

/// The pass over all of a source, from where an earlier one stopped.
fn pass(
    job: &Job<'_>,
    number: usize,
    options: Options<'_>,
    (sweep, collector): (&Sweep<Mark>, &mut Collector<'_>),
    progress: &dyn Progress,
) -> State {
    let mut state = job.state.clone();
    let mut hash = state.hash();
    if options.hash && hash.is_none() {
        // Nothing to go on with: what was found before is found again.
        state = State::default();
        hash = Some(Sha256::new());
    }
    for hit in &state.hits {
        collector.late(*hit);
    }
    progress.advance(state.at.0);
    let plan = Plan {
        from: state.at,
        hash: hash.filter(|_| options.hash),
        limit: options.limit,
        ..Plan::default()
    };
    sweep.pass(job.source, plan, progress, &mut |swept| {
        for hit in swept.hits {
            // Chance hits are not kept: an image full of them must not fill the memory.
            if collector.late(hit) && options.keeper.is_some() {
                state.hits.push(hit);
            }
        }
        state.advance(swept.end, swept.gaps.extents(), swept.hash.as_ref());
        if let Some(keeper) = options.keeper {
            keeper.keep(number, &state);
        }
    });
    state
}

fn finding(source: &str, at: Bytes, length: u64, (checksum, what): (Checksum, What)) -> Finding {
    Finding {
        source: source.to_owned(),
        extent: Extent::new(at, Bytes(length)),
        checksum,
        what,
    }
}

/// Scans several sources: the devices at once, one source of a device after the other, so that no disk has to read at
/// two places at a time.
pub fn scan_all(jobs: &[Job<'_>], options: Options<'_>, progress: &dyn Progress) -> Vec<Scan> {
    let mut devices: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, job) in jobs.iter().enumerate() {
        devices.entry(job.device).or_default().push(number);
    }
    let queue = Mutex::new(devices.into_values());
    let done: Mutex<Vec<(usize, Scan)>> = Mutex::new(Vec::new());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        for _ in 0..MOST_DEVICES.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(device) = next() {
                    for number in device {
                        let Some(job) = jobs.get(number) else {
                            continue;
                        };
                        let scan = scan(job, number, options, progress);
                        if let Ok(mut done) = done.lock() {
                            done.push((number, scan));
                        }
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, scan)| scan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::image::progress::Silent;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk of 8 GiB that holds nothing but a superblock at its front and one in its middle.
    struct Disk {
        sector: Memory,
        read: AtomicU64,
    }

    const LENGTH: u64 = 8 << 30;
    const MIDDLE: u64 = LENGTH / 2 + 4096;

    impl Disk {
        fn new() -> Disk {
            let mut bytes = vec![0; 4096];
            // An ext2 superblock: a gigabyte of blocks of 1 KiB, 8192 to a group.
            for (at, value) in [
                (0, 1 << 17),
                (4, 1 << 20),
                (32, 8192),
                (36, 8192),
                (40, 1024),
            ] {
                let field: [u8; 4] = u32::to_le_bytes(value);
                bytes[1024 + at..1028 + at].copy_from_slice(&field);
            }
            bytes[1024 + 20..1024 + 24].copy_from_slice(&1_u32.to_le_bytes());
            bytes[1024 + 56..1024 + 58].copy_from_slice(ext::MAGIC);
            bytes[1024 + 76..1024 + 80].copy_from_slice(&1_u32.to_le_bytes());
            bytes[1024 + 88..1024 + 90].copy_from_slice(&128_u16.to_le_bytes());
            Disk {
                sector: Memory::new("disk", bytes),
                read: AtomicU64::new(0),
            }
        }
    }

    impl Source for Disk {
        fn name(&self) -> &str {
            "disk"
        }
        fn len(&self) -> Bytes {
            Bytes(LENGTH)
        }
        fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
            self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
            buf.fill(0);
            let want = Extent::new(at, Bytes(buf.len() as u64));
            for start in [0, MIDDLE] {
                let here = Extent::new(Bytes(start), Bytes(4096));
                if let Some(part) = here.overlap(want) {
                    let to = (part.offset - at).to_len(usize::MAX);
                    let part_len = part.length.to_len(usize::MAX);
                    let slot = &mut buf[to..to + part_len];
                    let _ = self.sector.read_at(part.offset - here.offset, slot);
                }
            }
            Gaps::none()
        }
        fn next_data(&self, at: Bytes) -> Option<Extent> {
            let runs = [0, MIDDLE].map(|start| Extent::new(Bytes(start), Bytes(4096)));
            runs.into_iter().find(|run| run.end() > at)
        }
    }

    fn places(scan: &Scan) -> Vec<u64> {
        scan.findings.iter().map(|f| f.extent.offset.0).collect()
    }

    /// A first answer that reads for an hour is none, and one that counts twice what the pass finds again is wrong.
    #[test]
    fn quick_reads_little_and_the_pass_adds_to_it() {
        let disk = Disk::new();
        let quick = Options {
            quick: true,
            ..Options::default()
        };
        let first = scan(&Job::of(&disk), 0, quick, &Silent);
        assert_eq!(places(&first), [1024]);
        assert!(disk.read.load(Ordering::Relaxed) <= likely::MOST.0);
        assert!(first.looked_at() <= likely::MOST);
        let all = scan(&Job::of(&disk), 0, Options::default(), &Silent);
        assert_eq!(places(&all), [1024, MIDDLE + 1024]);
        assert_eq!(all.looked_at(), disk.len());
    }

    /// Keeps the last state before a place: what a run that ends there leaves.
    struct Until(Bytes, Mutex<State>);

    impl Keeper for Until {
        fn keep(&self, _number: usize, state: &State) {
            if state.at <= self.0 {
                *self.1.lock().unwrap() = state.clone();
            }
        }
    }

    /// A scan that goes on must end as one that never stopped: same findings, same gaps, same hash.
    #[test]
    fn a_scan_goes_on_from_every_state() {
        let mut bytes = vec![0; 4 << 20];
        let front = Disk::new().sector;
        for at in [0, 1 << 20, (3 << 20) + 8192] {
            let _ = front.read_at(Bytes::ZERO, &mut bytes[at..at + 4096]);
        }
        let gap = Extent::new(Bytes(1 << 19), Bytes(512));
        let source = Memory::new("m", bytes).with_unread(gap);
        let job = |state| Job {
            state,
            ..Job::of(&source)
        };
        let hashed = Options {
            hash: true,
            ..Options::default()
        };
        let whole = scan(&job(State::default()), 0, hashed, &Silent);
        assert_eq!(places(&whole).len(), 3);
        assert_eq!(whole.gaps.extents(), [gap]);
        for mib in 0..=4 {
            let until = Until(Bytes::mib(mib), Mutex::default());
            let keeping = Options {
                keeper: Some(&until),
                ..hashed
            };
            let _ = scan(&job(State::default()), 0, keeping, &Silent);
            let state = until.1.into_inner().unwrap();
            assert_eq!(state.at, Bytes::mib(mib));
            let rest = scan(&job(state), 0, hashed, &Silent);
            assert_eq!(places(&rest), places(&whole));
            assert_eq!(rest.gaps, whole.gaps);
            assert_eq!(rest.sha256, whole.sha256);
        }
    }

    /// Heads that claim MiB for their checksum, one in each sector: looking into all of them would be reading a disk
    /// thousands of times over, and a list of all would fill the memory.
    #[test]
    fn a_crowd_of_false_heads_is_bounded() {
        let mut sector = [0; 512];
        sector[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
        sector[8..16].copy_from_slice(&(4_u64 << 20).to_be_bytes());
        sector[72..78].copy_from_slice(b"sha256");
        let source = Memory::new("m", sector.repeat(8192));
        let scan = super::scan(&Job::of(&source), 0, Options::default(), &Silent);
        assert_eq!(scan.findings.len(), MOST_BROKEN as usize);
        // Swap has no checksum that could be wrong: all are believed, and counted.
        let mut page = [0; 512];
        page[502..].copy_from_slice(b"SWAPSPACE2");
        let source = Memory::new("m", page.repeat(MOST_FINDINGS + 507));
        let scan = super::scan(&Job::of(&source), 0, Options::default(), &Silent);
        assert_eq!((scan.findings.len(), scan.more), (MOST_FINDINGS, 500));
    }
}
