//! What a set of members holds that tells its own place: gathered in two passes over a sample of them.
//!
//! The first pass finds the superblocks of file systems, encrypted volumes'
//! headers and LVM's texts; the second the structures of those file systems.

use super::arrays::Known;
use super::{chained, landmarks};
use crate::files::Finder;
use crate::fs::ext::{self, PRIMARY};
use crate::fs::locate::{Located, Locator, PAGE};
use crate::fs::{btrfs_locate, ext_locate, luks, uuid_text, xfs_locate};
use crate::image::SharedSource;
use crate::image::progress::Progress;
use crate::lvm::carve::{self, Carved};
use crate::md::clues::{Base, Clues, Family, Sighting, Times};
use crate::md::guess::Member;
use crate::md::sample::{BLOCK, Row, Sample, whole_pages};
use crate::md::spans::Spans;
use crate::md::windows;
use crate::units::{Bytes, Extent, SECTOR, Sectors};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Texts tried of one volume group.
const TEXTS_OF_A_GROUP: usize = 2;

/// File systems told apart at most, and texts kept; more are an image's way to keep a program busy.
const MOST_FAMILIES: usize = 64;
const MOST_TEXTS: usize = 1000;
const MOST_STARTS: usize = 12;

/// So many structures of file systems tell an order by themselves.
const FEW_SIGHTINGS: usize = 100;

/// Where the first partition of a GPT nearly always starts.
const GPT_START: u64 = 1 << 20;

/// What was read of members, and what was found in it.
pub struct Gathered {
    /// Digests and relations.
    pub sample: Sample,
    families: Vec<Family>,
    /// Texts seen in the sample, beside those known before.
    texts: Vec<Carved>,
    encrypted: Option<String>,
    spans: Arc<Spans>,
    /// Where a file system may start within a volume.
    starts: Vec<Bytes>,
    /// The youngest time that a file system's superblock holds.
    youngest: Option<u64>,
}

/// What the first pass finds.
#[derive(Default)]
struct Found {
    ext: BTreeMap<String, ext::Superblock>,
    /// Member, place of the superblock, its group.
    ext_at: Vec<(String, usize, Bytes, u64)>,
    others: BTreeMap<String, Locator>,
    luks: Vec<Sighting>,
    /// Where partition tables inside the array's volumes let partitions start.
    starts: BTreeSet<u64>,
    text_hits: Vec<(usize, Bytes)>,
}

/// Reads a sample of the members and gathers what it tells.
///
/// Each of the two passes reads `pass` bytes of a member at most.
pub fn gather(members: &[Member], known: &Known, pass: Bytes, progress: &dyn Progress) -> Gathered {
    let sources: Vec<SharedSource> = members.iter().map(|m| m.source.clone()).collect();
    let windows = windows::windows(&sources, pass);
    let mut found = Found::default();
    // Files are looked for whether they will be asked or not: that takes a sixth of the pass, and a pass of its own, once
    // file systems left the order open, would read as much of each member again.
    let mut files = Finder::default();
    let needle = memchr::memmem::Finder::new(carve::NEEDLE);
    let sample = Sample::take(&sources, windows, progress, &mut |member, at, block| {
        found.superblocks(member, at, block);
        files.look(member, at, block);
        if found.text_hits.len() < MOST_TEXTS {
            found.text_hits.extend(
                needle
                    .find_iter(block)
                    .map(|hit| (member, at + Bytes(hit as u64))),
            );
        }
    });
    let text = |(member, at): &(usize, Bytes)| carve::text_at(&**sources.get(*member)?, *at);
    let texts = found
        .text_hits
        .iter()
        .take(MOST_TEXTS)
        .filter_map(text)
        .filter(|t| t.complete)
        .collect();
    let youngest = found.ext.values().map(|sb| sb.written).max();
    let mut families = found.families(&sources, &sample, progress);
    // Compressed files are slow to follow, and not needed where file systems tell.
    if families.iter().map(|f| f.sightings.len()).sum::<usize>() < FEW_SIGHTINGS {
        files.follow(&sources);
    }
    add_known(&mut families, members, known);
    let starts: BTreeSet<Bytes> = found
        .starts
        .iter()
        .copied()
        .map(Bytes)
        .chain([Bytes::ZERO])
        .collect();
    let encrypted = (!found.luks.is_empty())
        .then(|| "a LUKS header, and behind it what looks like noise".to_owned());
    if !found.luks.is_empty() {
        families.push(Family {
            name: "LUKS".to_owned(),
            sightings: found.luks,
            ..Family::default()
        });
    }
    // A few sightings of a file system that is gone, or of one in a file, are worth keeping only if nothing else is.
    families.sort_by_key(|f| std::cmp::Reverse(f.sightings.len()));
    families.truncate(MOST_FAMILIES);
    Gathered {
        sample,
        families,
        texts,
        encrypted,
        spans: Arc::new(files.finish()),
        starts: starts.into_iter().collect(),
        youngest,
    }
}

impl Found {
    fn superblocks(&mut self, member: usize, at: Bytes, block: &[u8]) {
        for (i, page) in block.chunks(PAGE).enumerate() {
            let here = at + Bytes((i * PAGE) as u64);
            for start in [0, PRIMARY.to_len(PAGE)] {
                let Some(bytes) = page.get(start..start + ext::SUPERBLOCK_LEN) else {
                    continue;
                };
                if bytes
                    .get(ext::MAGIC_AT..)
                    .is_some_and(|b| b.starts_with(ext::MAGIC))
                {
                    self.ext(member, here + Bytes(start as u64), bytes);
                }
            }
            self.starts
                .extend(partition_starts(page).take(MOST_STARTS.saturating_sub(self.starts.len())));
            if self.others.len() >= MOST_FAMILIES {
                continue;
            }
            if page.starts_with(crate::fs::xfs::MAGIC)
                && let Some(locator) = xfs_locate::Locator::new(page)
            {
                let uuid = uuid_text(&locator.uuid());
                self.others.entry(uuid).or_insert(Locator::Xfs(locator));
            }
            if btrfs_locate::is_superblock(page)
                && let Some(locator) = btrfs_locate::Locator::new(page)
            {
                let uuid = uuid_text(&locator.uuid());
                self.others.entry(uuid).or_insert(Locator::Btrfs(locator));
            }
            if let Some(logical) = luks::header_place(page) {
                self.luks.push(Sighting {
                    member,
                    at: here,
                    logical,
                });
            }
        }
    }

    fn ext(&mut self, member: usize, at: Bytes, bytes: &[u8]) {
        let Ok(sb) = ext::Superblock::parse(bytes, at) else {
            return;
        };
        let known = self
            .ext
            .get(&sb.uuid)
            .is_some_and(|known| known.written >= sb.written);
        if self.ext_at.len() < MOST_TEXTS && (known || self.ext.len() < MOST_FAMILIES) {
            self.ext_at
                .push((sb.uuid.clone(), member, at, sb.group.into()));
            if !known {
                self.ext.insert(sb.uuid.clone(), sb);
            }
        }
    }

    /// The second pass: every structure of the file systems found.
    fn families(
        &mut self,
        sources: &[SharedSource],
        sample: &Sample,
        progress: &dyn Progress,
    ) -> Vec<Family> {
        let mut locators: Vec<(String, Locator)> = Vec::new();
        for (uuid, sb) in std::mem::take(&mut self.ext) {
            let name = format!("{} {}", sb.kind(), short(&uuid));
            let mut locator = ext_locate::Locator::new(sb);
            for (_, member, at, group) in self.ext_at.iter().filter(|(of, ..)| *of == uuid) {
                if let Some(source) = sources.get(*member) {
                    locator.read_descriptors(&**source, *at, *group);
                }
            }
            locators.push((name, Locator::Ext(locator)));
        }
        for (uuid, locator) in std::mem::take(&mut self.others) {
            let kind = if matches!(locator, Locator::Xfs(_)) {
                "xfs"
            } else {
                "btrfs"
            };
            locators.push((format!("{kind} {}", short(&uuid)), locator));
        }
        if locators.is_empty() {
            return Vec::new();
        }
        progress.begin(
            "looking for file systems' structures",
            sample.read.0.saturating_mul(sources.len() as u64),
        );
        let mut buffer = vec![0; BLOCK];
        for window in &sample.windows {
            let mut at = window.offset;
            while at < window.end() {
                let length = (window.end() - at).to_len(BLOCK);
                let block = buffer.get_mut(..length).unwrap_or_default();
                // All members at one place: what one is computed from was just read then.
                for (member, source) in sources.iter().enumerate() {
                    let gaps = source.read_at(at, block);
                    for (at, read) in whole_pages(at, block, &gaps) {
                        locators
                            .iter_mut()
                            .for_each(|(_, locator)| locator.look(member, at, read));
                    }
                    progress.advance(length as u64);
                }
                at = at + Bytes(length as u64);
            }
        }
        progress.end();
        let family = |(name, locator): (String, Locator)| {
            let length = locator.length();
            let shares_facts = locator.shares_facts();
            let times = locator.times();
            let times = times.map(|(made, written)| Times { made, written });
            let Located { sightings, facts } = locator.finish();
            Family {
                name,
                sightings,
                facts,
                bases: Vec::new(),
                shares_facts,
                length,
                times,
            }
        };
        locators.into_iter().map(family).collect()
    }
}

/// Where the partitions of an MBR that starts a page start, in bytes from it; for a GPT's, where its first one does.
fn partition_starts(page: &[u8]) -> impl Iterator<Item = u64> {
    let starts = page
        .get(..512)
        .filter(|sector| sector.ends_with(b"\x55\xaa"))
        .map(|sector| {
            let entries = sector.get(446..510).unwrap_or_default().chunks_exact(16);
            let sound = entries.clone().all(|e| matches!(e.first(), Some(0 | 0x80)));
            let start = |e: &[u8]| {
                let start = u32::from_le_bytes(*e.get(8..)?.first_chunk()?);
                match *e.get(4)? {
                    0 => None,
                    0xee => Some(GPT_START),
                    _ => Some(u64::from(start) * SECTOR).filter(|s| *s > 0),
                }
            };
            let starts: Vec<u64> = entries.filter_map(start).collect();
            if sound { starts } else { Vec::new() }
        });
    starts.into_iter().flatten()
}

fn short(uuid: &str) -> &str {
    uuid.split('-').next().unwrap_or_default()
}

/// Adds superblocks that a whole pass found: the sample may have missed them.
fn add_known(families: &mut Vec<Family>, members: &[Member], known: &Known) {
    for (uuid, on, at, logical) in &known.superblocks {
        let Some(member) = members.iter().position(|m| m.source.name() == on) else {
            continue;
        };
        let grain = PAGE as u64;
        if at.0 % grain != logical.0 % grain {
            continue;
        }
        let down = |b: &Bytes| Bytes(b.0 / grain * grain);
        let sighting = Sighting {
            member,
            at: down(at),
            logical: down(logical),
        };
        let ending = format!(" {}", short(uuid));
        let family = match families.iter_mut().position(|f| f.name.ends_with(&ending)) {
            Some(index) => families.get_mut(index),
            None => {
                families.push(Family {
                    name: format!("ext{ending}"),
                    ..Family::default()
                });
                families.last_mut()
            }
        };
        if let Some(family) = family.filter(|f| !f.sightings.contains(&sighting)) {
            family.sightings.push(sighting);
        }
    }
}

impl Gathered {
    /// For each file system that was seen often enough not to be a stray copy, the members that show it.
    pub fn seen_on(&self) -> Vec<Vec<usize>> {
        const OFTEN: usize = 8;
        let members = |family: &Family| {
            let mut count: BTreeMap<usize, usize> = BTreeMap::new();
            for sighting in &family.sightings {
                *count.entry(sighting.member).or_default() += 1;
            }
            count
                .into_iter()
                .filter(|(_, seen)| *seen >= OFTEN)
                .map(|(member, _)| member)
                .collect::<Vec<_>>()
        };
        self.families
            .iter()
            .map(members)
            .filter(|m| m.len() > 1)
            .collect()
    }

    /// Whether these members have parity among themselves, so that one that has no part in it is none of them.
    pub fn is_redundant(&self, part: &[usize]) -> bool {
        let mask: u64 = part.iter().filter(|m| **m < 64).map(|m| 1_u64 << m).sum();
        // Rows of which this part shows nothing say nothing of it.
        let told = |row: &&Row| (row.lively & mask).count_ones() > 2;
        let (mut rows, mut related) = (0, 0);
        for row in self.sample.rows.iter().filter(told) {
            let sum = |set: &u64| set & mask == *set && set.count_ones() > 2;
            rows += 1;
            related += usize::from(row.related.iter().any(sum));
        }
        related * 2 > rows
    }

    /// The texts that name physical volumes, those known before and those seen.
    pub(super) fn texts<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = &'a Carved> {
        let all = known.texts.iter().chain(&self.texts);
        all.filter(|t| !t.vg.pvs.is_empty())
    }

    /// The file systems.
    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }

    /// The clues under each assumption on what the array holds: a file system or encrypted volume from its start, or the
    /// volumes of each text.
    pub fn readings(&self, known: &Known) -> Vec<Clues> {
        let mut readings = vec![self.reading(Vec::new(), self.youngest)];
        let mut usable: Vec<&Carved> = self.texts(known).collect();
        usable.sort_by_key(|t| std::cmp::Reverse(t.vg.seqno));
        for (i, text) in usable.iter().enumerate() {
            let same = |earlier: &&&Carved| earlier.vg.id == text.vg.id;
            let earlier = usable.iter().take(i).filter(same);
            if earlier.clone().any(|e| e.sha256 == text.sha256)
                || earlier.count() >= TEXTS_OF_A_GROUP
            {
                continue;
            }
            for pv in &text.vg.pvs {
                let mut clues = self.reading(bases(text, &pv.name), text.about.creation_time);
                clues.landmarks = landmarks::of_text(&text.vg, &pv.name);
                let extents = pv.pe_count.saturating_mul(text.vg.extent_size.0);
                clues.end = Some(Bytes::from(pv.pe_start) + Bytes::from(Sectors(extents)));
                readings.push(clues);
            }
        }
        readings
    }

    /// The clues if file systems whose starts nothing tells go on from member to member of a linear array.
    pub(super) fn chained(&self, members: &[Member]) -> Option<Clues> {
        let lengths: Vec<Bytes> = members.iter().map(|m| m.source.len()).collect();
        let families = chained::families(&self.families, &self.sample, &lengths)?;
        Some(Clues {
            families,
            ..self.reading(Vec::new(), self.youngest)
        })
    }

    fn reading(&self, bases: Vec<Base>, youngest: Option<u64>) -> Clues {
        let whole = Base::at("the array's start", Bytes::ZERO);
        let volumes = std::iter::once(whole).chain(bases);
        let bases: Vec<Base> = volumes
            .flat_map(|base| {
                self.starts
                    .iter()
                    .filter_map(move |start| base.from(*start))
            })
            .collect();
        let with_bases = |family: &Family| Family {
            bases: bases.clone(),
            ..family.clone()
        };
        Clues {
            families: self.families.iter().map(with_bases).collect(),
            landmarks: Vec::new(),
            end: None,
            spans: self.spans.clone(),
            youngest,
            encrypted: self.encrypted.clone().filter(|_| self.families.len() == 1),
        }
    }
}

/// Where the volumes of a text lie on one of its physical volumes.
pub(super) fn bases(text: &Carved, pv: &str) -> Vec<Base> {
    let vg = &text.vg;
    let base = |lv: &crate::lvm::metadata::LogicalVolume| {
        let mut start = Bytes::ZERO;
        let mut pieces = Vec::new();
        for (on, extent) in vg.linear_extents(lv)? {
            if on.name == pv {
                pieces.push((Extent::new(start, extent.length), extent.offset));
            }
            start = start + extent.length;
        }
        (!pieces.is_empty()).then(|| Base {
            what: format!("{}/{}", vg.name, lv.name),
            pieces,
        })
    };
    vg.visible().filter_map(base).collect()
}
