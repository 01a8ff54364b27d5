//! Whether the copies under a volume are of one time: images of raid volumes by their superblocks, legs of old mirrors by
//! their log and by what lies on them.
//!
//! An image that is old or unfinished is not read ([`super::dmraid`]). Where the
//! others give every byte that is all there is to say. Where they do not, bytes
//! are lost that lie there in an older form, and a person may want those: that
//! is a doubt, and names the image.
//!
//! Of an old mirror the first leg is read, as the kernel does when it makes the
//! others equal to it. Where the log says that a region is not in sync, any leg
//! may have the last bytes: after a leg failed the kernel went on with another,
//! and only its memory knew that. So regions that are not in sync and differ
//! are a doubt, and legs that differ where they should not: one of them was
//! overwritten, or there is no log. What is in no log is compared at places
//! only. Logs that a hostile text names without end are not looked at beyond a
//! measure, which is a doubt too.

use super::dmraid;
use super::metadata::{LogicalVolume, VolumeGroup};
use super::mirrorlog::{MOST_REGIONS, MirrorLog, OutOfSync};
use super::segment::{Area, Segment};
use super::segtype::{self, Lies};
use super::volume::{DEEPEST, Opener};
use crate::image::{Pieces, SharedSource, Source, read_vec};
use crate::md::array::is_whole;
use crate::md::level::Level;
use crate::units::{Bytes, Extent};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Bytes that are compared of the legs under one volume, however many mirrors it lies on.
const MOST_COMPARED: Bytes = Bytes::mib(32);

/// Places at which two legs are compared whatever the log says, and the bytes of each.
const PLACES: u64 = 16;
const PLACE: Bytes = Bytes::kib(64);

/// What is known of a volume's copies, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What was left out or compared, and does no harm.
    pub notes: Vec<String>,
    /// Why bytes that are read may not be the last ones, or are not read though an older form of them is there.
    pub doubts: Vec<String>,
}

/// What is known of the copies under the logical volume `lv`; physical volumes are given by their names in the text.
pub fn told(vg: &VolumeGroup, lv: &str, pvs: &BTreeMap<String, SharedSource>) -> Told {
    let search = Search {
        opener: Opener::new(vg, pvs),
        vg,
        left: Cell::new(MOST_COMPARED),
        regions_left: Cell::new(MOST_REGIONS),
        logs_left_out: Cell::new(0),
    };
    let mut told = Told::default();
    search.volume(lv, 0, &mut told);
    told.doubts.extend(search.left_out(lv));
    told
}

struct Search<'a> {
    opener: Opener<'a>,
    vg: &'a VolumeGroup,
    /// What may be compared yet.
    left: Cell<Bytes>,
    /// Regions that may be looked up in logs yet: a text can name one log for any number of segments.
    regions_left: Cell<u64>,
    /// Logs that were not looked at for that.
    logs_left_out: Cell<u64>,
}

impl Search<'_> {
    /// What cannot be opened is told by whoever opens it.
    fn volume(&self, name: &str, depth: usize, told: &mut Told) {
        let Some(lv) = self.vg.lv(name).filter(|_| depth < DEEPEST) else {
            return;
        };
        let mut at = Bytes::ZERO;
        for segment in &lv.segments {
            let length = self.vg.extents(segment.extent_count);
            match (segtype::lies(segment), segment.kind.as_str()) {
                (Ok(Lies::Images(..)), "mirror") => {
                    self.mirror(lv, segment, (at, length), depth, told);
                }
                (Ok(Lies::Images(level, layout)), _) => {
                    self.images(lv, segment, (level, layout), depth, told);
                }
                (Ok(Lies::Moved(area)), _) => self.moved(segment, area, depth, told),
                _ => {}
            }
            for area in &segment.areas {
                if self.opener.spend().is_none() {
                    return;
                }
                self.volume(&area.on, depth + 1, told);
            }
            at = at + length;
        }
    }

    /// Images of a raid volume that are not read, and whether the others suffice.
    fn images(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        (level, layout): (Level, Option<&str>),
        depth: usize,
        told: &mut Told,
    ) {
        if level == Level::Raid0 {
            return;
        }
        let states = self.opener.states(segment, depth);
        let judged = dmraid::judge(&states);
        let Ok(geometry) = self.opener.raid_geometry(lv, segment, level, layout) else {
            return;
        };
        let is_here = |slot: usize| {
            let area = segment.areas.get(slot);
            area.is_some_and(|area| self.is_here(&area.on, depth + 1))
        };
        let is_good = |slot: usize| judged.get(slot).is_some_and(Option::is_none) && is_here(slot);
        let suffice = is_whole(&geometry, &is_good);
        if level.parities() > 0
            && lv.is_never_synced()
            && !(0..segment.areas.len()).all(is_good)
            && suffice
        {
            told.doubts.push(format!(
                "{}/{} was made without a first sync, and not all of its images are read: what is computed for the others is \
                 right only where its parity was written since",
                self.vg.name, lv.name
            ));
        }
        for ((slot, area), why) in segment.areas.iter().enumerate().zip(&judged) {
            let Some(why) = why.as_ref().filter(|_| is_here(slot)) else {
                continue;
            };
            let image = format!("{}, an image of {}/{},", area.on, self.vg.name, lv.name);
            match (suffice, why.is_read()) {
                (true, _) => told
                    .notes
                    .push(format!("{image} {why}: the others are read in its place")),
                (false, true) => told.doubts.push(format!(
                    "{image} {why}, and it is read where the others do not give the bytes"
                )),
                (false, false) => told.doubts.push(format!(
                    "{image} {why}: it is not read, and the others do not give all bytes; {}/{} can be exported by itself",
                    self.vg.name, area.on
                )),
            }
        }
    }

    /// What `pvmove` was moving is read from one area. Where that is not here, the other has what was moved until then, or
    /// what it held before it was moved.
    fn moved(&self, segment: &Segment, area: usize, depth: usize, told: &mut Told) {
        let on = |area: usize| segment.areas.get(area).map(|area| area.on.as_str());
        let (Some(read), Some(other)) = (on(area), on(usize::from(area == 0))) else {
            return;
        };
        if self.is_here(read, depth + 1) || !self.is_here(other, depth + 1) {
            return;
        }
        let group = &self.vg.name;
        let doubt = match area {
            0 => format!(
                "pvmove was moving bytes of {group} from {read}, which is not here, to {other}: what was moved until then is \
                 there, how much is not known, and nothing of it is read"
            ),
            _ => format!(
                "pvmove had moved bytes of {group} from {other} to {read}, which is not here: what {other} holds is older, and \
                 nothing of it is read"
            ),
        };
        // A volume in many pieces is moved in as many segments.
        if !told.doubts.contains(&doubt) {
            told.doubts.push(doubt);
        }
    }

    /// Whether any of a volume, or the physical volume, is on what was given.
    fn is_here(&self, name: &str, depth: usize) -> bool {
        if self.vg.pv(name).is_some() {
            return self.opener.has(name);
        }
        let Some(lv) = self.vg.lv(name).filter(|_| depth < DEEPEST) else {
            return false;
        };
        let mut areas = lv.segments.iter().flat_map(|s| &s.areas);
        areas.any(|area| self.opener.spend().is_some() && self.is_here(&area.on, depth + 1))
    }

    /// Legs of an old mirror, `at` this place of the volume.
    fn mirror(
        &self,
        lv: &LogicalVolume,
        segment: &Segment,
        (at, length): (Bytes, Bytes),
        depth: usize,
        told: &mut Told,
    ) {
        if segment.areas.len() < 2 {
            return;
        }
        let leg = |area: &Area| {
            let leg = self.opener.leg(lv, area, length, depth).ok()??;
            Some((area.on.clone(), leg))
        };
        let here = segment.areas.iter();
        let here = here.filter(|area| self.is_here(&area.on, depth + 1));
        let legs: Vec<(String, Pieces)> = here.filter_map(leg).collect();
        let Some((first, others)) = legs.split_first() else {
            return;
        };
        let mirror = Mirror {
            name: format!("{}/{}", self.vg.name, lv.name),
            vg: &self.vg.name,
            at,
            log: self.log(segment, length, depth),
            never_synced: lv.is_never_synced(),
        };
        if legs.len() < segment.areas.len() {
            let is_first = segment.areas.first().is_some_and(|a| a.on == first.0);
            told.doubts.extend(mirror.leg_missing(&first.0, is_first));
        }
        for other in others {
            let (dirty, size) = mirror.log.extents();
            let differ = Differ {
                dirty: self.compare(&first.1, &other.1, dirty, size),
                // What was never written need not be the same where nobody made it so.
                anywhere: match mirror.log != Log::None && mirror.never_synced {
                    true => None,
                    false => self.compare(&first.1, &other.1, &places(length), length).at,
                },
            };
            mirror.judge((&first.0, &other.0), differ, told);
        }
    }

    fn log(&self, segment: &Segment, length: Bytes, depth: usize) -> Log {
        let used = segment.uses.iter().find(|used| used.key == "mirror_log");
        let region = segment.region_size.map(Bytes::from);
        let (Some(used), Some(region)) = (used, region.filter(|r| *r > Bytes::ZERO)) else {
            return Log::None;
        };
        let regions = length.0.div_ceil(region.0);
        let Some(left) = self.regions_left.get().checked_sub(regions) else {
            self.logs_left_out.set(self.logs_left_out.get() + 1);
            return Log::LeftOut;
        };
        self.regions_left.set(left);
        let log = self.opener.volume(&used.lv, depth + 1).ok();
        let log = log.and_then(|log| MirrorLog::read(&log, regions).ok());
        log.map_or(Log::None, |log| Log::Says(log.out_of_sync(region, length)))
    }

    fn left_out(&self, lv: &str) -> Option<String> {
        let count = self.logs_left_out.get();
        (count > 0).then(|| {
            format!(
                "{}/{lv}: {count} logs of old mirrors were not looked at, as all have more than {MOST_REGIONS} regions \
                 together: of each mirror one leg is read, and what another has may be newer",
                self.vg.name
            )
        })
    }

    /// Compares two legs at these extents, which are `of` so many bytes.
    fn compare(
        &self,
        one: &dyn Source,
        other: &dyn Source,
        extents: &[Extent],
        of: Bytes,
    ) -> Compared {
        let mut same = Bytes::ZERO;
        for extent in extents {
            let mut at = extent.offset;
            while at < extent.end() {
                let piece = Extent::new(at, PLACE.min(extent.end() - at));
                if self.left.get() < piece.length {
                    return Compared::default();
                }
                self.left.set(self.left.get() - piece.length);
                let read = |leg: &dyn Source| read_vec(leg, piece, 1 << 16).ok();
                if let (Some(a), Some(b)) = (read(one), read(other)) {
                    if let Some(differs) = a.iter().zip(&b).position(|(a, b)| a != b) {
                        return Compared {
                            at: Some(at + Bytes(differs as u64)),
                            all: false,
                        };
                    }
                    same = same + piece.length;
                }
                at = piece.end();
            }
        }
        Compared {
            at: None,
            all: same == of,
        }
    }
}

/// What a comparison gave.
#[derive(Clone, Copy, Default)]
struct Compared {
    /// The first byte that differs.
    at: Option<Bytes>,
    /// Whether all is the same, and was read.
    all: bool,
}

/// What the log of a mirror gave.
#[derive(Debug, PartialEq, Eq)]
enum Log {
    /// There is none, or none that can be read.
    None,
    /// It was not looked at.
    LeftOut,
    /// What is not in sync.
    Says(OutOfSync),
}

impl Log {
    /// The extents that are not in sync, and how much of the mirror is not.
    fn extents(&self) -> (&[Extent], Bytes) {
        match self {
            Log::Says(out) => (&out.extents, out.size),
            Log::None | Log::LeftOut => (&[], Bytes::ZERO),
        }
    }
}

/// How two legs differ.
struct Differ {
    /// Where the log says that they may.
    dirty: Compared,
    /// At a place of all.
    anywhere: Option<Bytes>,
}

/// An old mirror, or a segment of one.
struct Mirror<'a> {
    name: String,
    vg: &'a str,
    /// Where in the volume it begins.
    at: Bytes,
    log: Log,
    /// It was made without a first sync.
    never_synced: bool,
}

impl Mirror<'_> {
    /// How much is not in sync, if anything.
    fn dirty(&self) -> Option<Bytes> {
        let (_, size) = self.log.extents();
        (size > Bytes::ZERO).then_some(size)
    }

    fn says(&self, size: Bytes) -> String {
        format!(
            "the log of {}, an old mirror, says that {size} of it are not in sync",
            self.name
        )
    }

    /// What the missing of a leg leaves open, where `first` is the first that is here, and of all or not.
    fn leg_missing(&self, first: &str, is_first_of_all: bool) -> Option<String> {
        match (&self.log, self.dirty()) {
            (_, Some(size)) => Some(format!(
                "{}, and not all of its legs are here: {first} is read, and what another has may be newer",
                self.says(size)
            )),
            // The others are made equal to the first: it may be the only one that ever had all.
            (Log::None, None) if !is_first_of_all => Some(format!(
                "no log of {}, an old mirror, can be read, and its first leg is not here: {first} is read, which may never \
                 have had all of it",
                self.name
            )),
            _ => None,
        }
    }

    fn judge(&self, (first, other): (&str, &str), differ: Differ, told: &mut Told) {
        let export = format!("{}/{other} can be exported by itself", self.vg);
        let byte = |at: Bytes| (self.at + at).0;
        match (self.dirty(), differ.dirty, differ.anywhere) {
            (
                Some(size),
                Compared {
                    at: None,
                    all: true,
                },
                None,
            ) => told.notes.push(format!(
                "{}; its legs {first} and {other} are the same there",
                self.says(size)
            )),
            (Some(size), Compared { at, all: false }, _) => {
                let how = at.map_or_else(
                    || "not all of that could be compared".to_owned(),
                    |at| format!("its legs differ there, from byte {} on", byte(at)),
                );
                told.doubts.push(format!(
                    "{}, and {how}: {first} is read, as the kernel would, and {other} may be newer; {export}",
                    self.says(size)
                ));
            }
            (_, _, Some(at)) => {
                let log = match self.log {
                    Log::Says(_) => "its log says that they are in sync there",
                    Log::LeftOut => "its log was not looked at",
                    Log::None => "no log of it can be read",
                };
                told.doubts.push(format!(
                    "the legs of {}, an old mirror, differ at byte {}, and {log}: {first} is read; {export}",
                    self.name,
                    byte(at)
                ));
            }
            (_, _, None) => {}
        }
    }
}

/// Places all over a mirror.
fn places(length: Bytes) -> Vec<Extent> {
    let step = Bytes(length.0 / PLACES).max(PLACE);
    let each = (0..PLACES).map(|n| Bytes(n.saturating_mul(step.0)));
    let each = each.take_while(|at| *at < length);
    each.map(|at| Extent::new(at, PLACE.min(length - at)))
        .collect()
}
