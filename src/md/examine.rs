//! Every md superblock on images, old ones and copies too, with what hangs on each: bitmap and bad blocks.
//!
//! First the places where one can lie: for each version, on the whole image and on each of its partitions. Then the
//! first and last [`NEAR`] bytes of each image, and all of it where a search is asked for. A 1.x superblock says at which
//! sector of its member it lies, so one that is found anywhere names the start of its member: that of a partition, of a
//! former one, or of a file inside a volume.

use super::agreement::{self, ArrayView};
use super::badblocks;
use super::bitmap::{self, Bitmap};
use super::firmware::{self, Firmware};
use super::remains::{self, Remain};
use super::superblock::{MAGIC_BE, MAGIC_LE, Role, SUPER_OFFSET_AT, Superblock, Version};
use crate::image::progress::{Progress, Silent};
use crate::image::sweep::{Needle, Place, Sweep};
use crate::image::{Gaps, Pieces, SharedSource, Source};
use crate::parse::{Checksum, ParseError};
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Bytes at each end of an image that are searched in any case.
pub const NEAR: Bytes = Bytes::mib(4);

/// Superblocks and remains kept of one image: more are an image's way to keep a program busy.
const MOST: usize = 4096;

/// Remains of one kind that are kept for each image, from the front: a write journal is full of blocks.
const MOST_REMAINS: usize = 16;

/// An image, and the volumes directly on it.
#[derive(Clone)]
pub struct Disk {
    /// The image, or the part of it that was asked for.
    pub source: SharedSource,
    /// Its partitions, each with its name; the whole under the image's own name where there is no table.
    pub parts: Vec<(String, Extent)>,
}

/// How a superblock stands to the place where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Where the superblock of this member must lie.
    Own,
    /// Where that of a former member lay: of a partition that is gone, or that had another length.
    Former,
    /// Inside of something else: a copy in a file, or of a member that was copied. Trust it less.
    Copy,
}

/// One superblock with what hangs on it.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// The member that it belongs to, as the command line names it.
    pub member: String,
    /// The image that it was found on.
    pub image: String,
    /// Where in that image.
    pub offset: Bytes,
    /// How it stands to that place.
    pub standing: Standing,
    /// The superblock.
    #[serde(flatten)]
    pub superblock: Superblock,
    /// Its bitmap.
    pub bitmap: Option<Bitmap>,
    /// What md could not read or write, from the member's start; `None` without a log.
    pub bad_blocks: Option<Vec<Extent>>,
    /// What is odd about it, in words.
    pub notes: Vec<String>,
}

/// Everything found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Examination {
    /// The arrays that the superblocks speak of, the youngest first.
    pub arrays: Vec<ArrayView>,
    /// The superblocks, by image and place.
    pub superblocks: Vec<Examined>,
    /// Metadata of firmware RAID.
    pub firmware: Vec<Firmware>,
    /// What no superblock speaks of.
    pub remains: Vec<Remain>,
    /// What is broken: member and what is wrong.
    pub broken: Vec<(String, String)>,
    /// Whether all bytes were searched, and not only where superblocks belong.
    pub searched: bool,
    /// What was to be read and could not be, by image.
    #[serde(skip)]
    pub unread: Vec<(String, Vec<Extent>)>,
}

/// Looks for superblocks on images; with `search` everywhere, in one pass over each.
pub fn examine(disks: &[Disk], search: bool, progress: &dyn Progress) -> Examination {
    let mut all = Examination {
        searched: search,
        ..Examination::default()
    };
    if search {
        let total = disks.iter().map(|d| d.source.len().0).sum();
        progress.begin("searching", total);
    }
    for disk in disks {
        let mut one = OneDisk::new(disk);
        one.places();
        one.search(search, progress);
        one.finish(&mut all);
    }
    if search {
        progress.end();
    }
    all.arrays = agreement::arrays(&all.superblocks);
    all
}

/// What is found on one image.
struct OneDisk<'a> {
    disk: &'a Disk,
    found: BTreeMap<Bytes, Examined>,
    remains: BTreeMap<Bytes, Remain>,
    broken: BTreeMap<Bytes, (String, String)>,
    gaps: Gaps,
}

#[derive(Clone, Copy)]
enum Mark {
    Superblock,
    Remain,
}

impl<'a> OneDisk<'a> {
    fn new(disk: &'a Disk) -> OneDisk<'a> {
        OneDisk {
            disk,
            found: BTreeMap::new(),
            remains: BTreeMap::new(),
            broken: BTreeMap::new(),
            gaps: Gaps::none(),
        }
    }

    /// The places of every version, on the partitions and on the whole.
    fn places(&mut self) {
        let whole = Extent::new(Bytes::ZERO, self.disk.source.len());
        let mut volumes = self.disk.parts.clone();
        if volumes.iter().all(|(_, extent)| *extent != whole) {
            volumes.push((self.disk.source.name().to_owned(), whole));
        }
        for (name, extent) in volumes {
            let volume = Pieces::slice(name.clone(), self.disk.source.clone(), extent);
            for version in Version::ALL {
                let Some(at) = version.place(extent.length).map(|at| extent.offset + at) else {
                    continue;
                };
                match Superblock::read(&volume, version) {
                    Ok(sb) => self.add(&volume, extent, sb, Standing::Own),
                    Err(ParseError::NotThis) => {}
                    Err(ParseError::Unreadable(gap)) => {
                        let gap = Extent::new(extent.offset + gap.offset, gap.length);
                        self.gaps.add(Gaps::one(gap));
                    }
                    Err(error) => {
                        let what = format!("superblock {version} {error}");
                        self.broken.entry(at).or_insert((name.clone(), what));
                    }
                }
            }
        }
    }

    /// Keeps a superblock; one that both a partition and the whole disk show belongs to the partition, unless it counts
    /// on more room than that has.
    fn add(&mut self, volume: &dyn Source, extent: Extent, sb: Superblock, standing: Standing) {
        let at = extent.offset + sb.at;
        if let Some(known) = self.found.get_mut(&at) {
            let room = Version::V090.place(known_length(self.disk, &known.member));
            let whole = volume.name() == self.disk.source.name();
            let longer = room.is_some_and(|room| Bytes::from(sb.member_size) > room);
            if sb.version == Version::V090 && whole && longer {
                let note = format!("{} ends where the disk does and shows it too", known.member);
                known.member = volume.name().to_owned();
                known.superblock = sb;
                known.notes.push(note);
            }
            return;
        }
        if self.found.len() >= MOST {
            return;
        }
        let mut notes = Vec::new();
        let bitmap = bitmap(volume, &sb, &mut notes);
        let bad_blocks = badblocks::read(volume, &sb).unwrap_or_else(|error| {
            notes.push(format!("its bad-block log: {error}"));
            None
        });
        let examined = Examined {
            member: volume.name().to_owned(),
            image: self.disk.source.name().to_owned(),
            offset: at,
            standing,
            superblock: sb,
            bitmap,
            bad_blocks,
            notes,
        };
        self.found.insert(at, examined);
    }

    /// The sectors at both ends, or all: superblocks that do not lie at a place, and remains.
    fn search(&mut self, all: bool, progress: &dyn Progress) {
        let needle = |kind, bytes| Needle {
            kind,
            bytes,
            place: Place::InSector(0),
        };
        const PPL: &[u8] = &[0xff; 64];
        let sweep = Sweep::new(&[
            needle(Mark::Superblock, &MAGIC_LE),
            needle(Mark::Superblock, &MAGIC_BE),
            needle(Mark::Remain, bitmap::MAGIC),
            needle(Mark::Remain, &remains::JOURNAL_MAGIC),
            needle(Mark::Remain, PPL),
        ]);
        let length = self.disk.source.len();
        let windows = if all || length <= NEAR + NEAR {
            vec![Extent::new(Bytes::ZERO, length)]
        } else {
            // From a sector's start: needles are looked for in sectors.
            let back = Bytes::from((length - NEAR).whole_sectors());
            vec![
                Extent::new(Bytes::ZERO, NEAR),
                Extent::new(back, length - back),
            ]
        };
        for window in windows {
            let view = Pieces::slice(self.disk.source.name(), self.disk.source.clone(), window);
            let mut hits = Vec::new();
            let progress = if all { progress } else { &Silent };
            let gaps = sweep.run(&view, progress, &mut |mark, at| {
                if hits.len() < MOST {
                    hits.push((mark, window.offset + at));
                }
            });
            let gaps = gaps.extents().iter();
            let gaps: Vec<Extent> = gaps
                .map(|gap| Extent::new(window.offset + gap.offset, gap.length))
                .collect();
            self.gaps.add(Gaps::from(gaps));
            for (mark, at) in hits {
                match mark {
                    Mark::Superblock if self.found.contains_key(&at) => {}
                    Mark::Superblock => self.displaced(at),
                    Mark::Remain => {
                        if let Some(remain) = remains::read(&*self.disk.source, at) {
                            self.remains.insert(at, remain);
                        }
                    }
                }
            }
        }
    }

    /// A superblock that lies where none of this image's volumes has its own.
    fn displaced(&mut self, at: Bytes) {
        let source = &self.disk.source;
        let (start, sb) = match Superblock::found_at(&**source, at) {
            Ok(found) => found,
            Err(ParseError::Broken { at: field, .. }) if field == at + SUPER_OFFSET_AT => {
                let what = format!(
                    "superblock 1.x at byte {}: its member starts before this image",
                    at.0
                );
                self.broken
                    .entry(at)
                    .or_insert((source.name().to_owned(), what));
                return;
            }
            Err(_) => return,
        };
        self.broken.remove(&at);
        if sb.version == Version::V090 {
            let standing = match self.is_start(start) || at.0.is_multiple_of(0x1_0000) {
                true => Standing::Former,
                false => Standing::Copy,
            };
            let whole = Extent::new(Bytes::ZERO, source.len());
            self.add(&**source, whole, sb, standing);
            return;
        }
        let length = member_length(&sb).min(source.len() - start);
        let extent = Extent::new(start, length);
        let name = self.name_of(extent);
        let standing = self.standing(start, &name);
        let member = Pieces::slice(name, source.clone(), extent);
        self.add(&member, extent, sb, standing);
    }

    fn is_start(&self, at: Bytes) -> bool {
        at == Bytes::ZERO
            || self
                .disk
                .parts
                .iter()
                .any(|(_, extent)| extent.offset == at)
    }

    /// As the command line takes it.
    fn name_of(&self, extent: Extent) -> String {
        let part = self
            .disk
            .parts
            .iter()
            .find(|(_, e)| e.offset == extent.offset);
        let same = part.filter(|(_, e)| e.length == extent.length);
        same.map_or_else(
            || format!("{}@{extent}", self.disk.source.name()),
            |(name, _)| name.clone(),
        )
    }

    fn standing(&self, start: Bytes, name: &str) -> Standing {
        const MIB: u64 = 1 << 20;
        /// Where partitions started before 2010.
        const OLD_FIRST: u64 = 63 * 512;
        match () {
            () if self.disk.parts.iter().any(|(part, _)| part == name) => Standing::Own,
            () if self.is_start(start) => Standing::Former,
            () if start.0.is_multiple_of(MIB) || start.0 == OLD_FIRST => Standing::Former,
            () => Standing::Copy,
        }
    }

    fn finish(mut self, all: &mut Examination) {
        let name = self.disk.source.name().to_owned();
        // What a superblock speaks of is no remain.
        let spoken: BTreeSet<Bytes> = self
            .found
            .values()
            .flat_map(|e| {
                let start = e.offset - e.superblock.at;
                let bitmap = e.bitmap.as_ref().map(|b| start + b.at);
                bitmap.into_iter().chain(ppl_places(start, &e.superblock))
            })
            .collect();
        let journal = self
            .found
            .values()
            .any(|e| e.superblock.role == Role::Journal);
        self.remains.retain(|at, remain| {
            let in_journal = journal && matches!(remain.kind, remains::Kind::JournalBlock { .. });
            !spoken.contains(at) && !in_journal
        });
        let mut kept: HashMap<std::mem::Discriminant<remains::Kind>, usize> = HashMap::new();
        self.remains.retain(|_, remain| {
            let count = kept
                .entry(std::mem::discriminant(&remain.kind))
                .or_default();
            *count += 1;
            *count <= MOST_REMAINS
        });
        // The same place broken for one version and sound for another is sound.
        self.broken.retain(|at, _| !self.found.contains_key(at));
        let (firmware, broken) = firmware::find(&*self.disk.source);
        all.superblocks.extend(self.found.into_values());
        all.remains.extend(self.remains.into_values());
        all.broken.extend(self.broken.into_values());
        all.broken.extend(
            broken
                .into_iter()
                .map(|(format, error)| (name.clone(), format!("{format} {error}"))),
        );
        all.firmware.extend(firmware);
        if !self.gaps.is_none() {
            all.unread.push((name, self.gaps.extents().to_vec()));
        }
    }
}

fn known_length(disk: &Disk, member: &str) -> Bytes {
    let part = disk.parts.iter().find(|(name, _)| name == member);
    part.map_or(disk.source.len(), |(_, extent)| extent.length)
}

/// How long a member is by its own superblock, so that the superblock lies at its place on it.
fn member_length(sb: &Superblock) -> Bytes {
    match sb.version {
        Version::V10 => sb.at + Bytes::kib(8),
        _ => Bytes::from(sb.data_offset) + sb.data_size.unwrap_or_default().into(),
    }
}

fn ppl_places(start: Bytes, sb: &Superblock) -> Vec<Bytes> {
    // A log holds several headers, 4 KiB apart at least; any of them is spoken of.
    let logs = sb.ppl.into_iter();
    logs.flat_map(|log| {
        let length = log.length.min(Bytes::mib(16));
        (0..length.0 / 512).map(move |i| start + log.offset + Bytes(i * 512))
    })
    .collect()
}

/// The bitmap that a superblock speaks of.
fn bitmap(volume: &dyn Source, sb: &Superblock, notes: &mut Vec<String>) -> Option<Bitmap> {
    let sectors = sb.at.whole_sectors().0;
    let at = sectors.checked_add_signed(sb.bitmap_offset?.into())?;
    match Bitmap::read(volume, Sectors(at).to_bytes()?) {
        Ok(bitmap) => {
            if !bitmap.is_of(&sb.array_uuid) {
                let uuid = &bitmap.array_uuid;
                notes.push(format!("its bitmap is that of another array, {uuid}"));
            }
            Some(bitmap)
        }
        Err(error) => {
            notes.push(format!("its bitmap: {error}"));
            None
        }
    }
}

impl Examined {
    /// Whether it can be believed to be what its member was last.
    pub fn is_sound(&self) -> bool {
        self.superblock.checksum == Checksum::Ok && self.standing != Standing::Copy
    }
}
