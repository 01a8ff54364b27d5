//! Sets of volumes that are an array: their mirror groups, how the mirrors differ, and the order.

use super::landmarks;
use super::{Survey, shared};
use crate::image::SharedSource;
use crate::image::progress::Progress;
use crate::inputs::Slice;
use crate::lvm::candidates::Candidate;
use crate::md::array::{Array, ArrayMember};
use crate::md::geometry::{Content, Geometry, Place};
use crate::md::guess::{self, Guess, Member};
use crate::md::level::Level;
use crate::md::order::Clues;
use crate::md::pairs::{self, Comparison, Group, Span};
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;

/// A set of members, and the array that they are.
#[derive(Clone)]
pub struct ArrayFound {
    /// What the layout calls it.
    pub name: String,
    /// Its members, as they were found.
    pub members: Vec<Member>,
    /// Mirror groups with how they differ.
    pub mirrors: Vec<Mirror>,
    /// The array.
    pub guess: Guess,
    /// The members to read first.
    pub half: Vec<String>,
}

/// One mirror group in the JSON of `md pairs`. Offsets count from the start of each member's data.
#[derive(Clone, Debug, Serialize)]
pub struct Mirror {
    /// The members' names.
    pub members: Vec<String>,
    /// Pages compared that are not constant.
    pub pages: u32,
    /// The share of them that agree.
    pub share: f64,
    /// How they compare, byte by byte.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// Volumes that can be members: their newest sound superblock with them.
pub fn members(slices: &[Slice]) -> Vec<Member> {
    let member = |slice: &Slice| Member {
        superblock: Superblock::all(&*slice.source)
            .0
            .into_iter()
            .find(|sb| sb.checksum == crate::parse::Checksum::Ok),
        source: slice.source.clone(),
    };
    slices.iter().map(member).collect()
}

/// A set of members, its mirror groups, and how the mirrors compare.
pub type Set = (Vec<Member>, Vec<Group>, Vec<Mirror>);

/// The mirror groups of every set of members that may be an array, compared byte by byte.
pub fn mirrors(all: &[Member], progress: &dyn Progress) -> Vec<Set> {
    let mut sets = Vec::new();
    for set in guess::sets(all) {
        let members: Vec<Member> = set.iter().filter_map(|i| all.get(*i)).cloned().collect();
        if members.len() < 2 && members.iter().all(|m| m.superblock.is_none()) {
            continue;
        }
        let spans: Vec<Span> = members.iter().map(guess::data_span).collect();
        let groups = pairs::group(&spans);
        let mirrors = compare(&members, &spans, &groups, progress);
        sets.push((members, groups, mirrors));
    }
    sets
}

/// Every array, with its order by the texts that were found.
pub fn find(survey: &Survey, texts: &[Candidate], progress: &dyn Progress) -> Vec<ArrayFound> {
    let mut found = Vec::new();
    for (members, groups, mirrors) in mirrors(&members(&survey.slices), progress) {
        // Volumes of one length that neither mirror each other nor claim an array are no array.
        if mirrors.is_empty() && members.iter().all(|m| m.superblock.is_none()) {
            continue;
        }
        let sightings = landmarks::sightings(survey, &members);
        let guess = best_guess(&members, &groups, texts, sightings);
        found.push(ArrayFound {
            name: format!("array{}", found.len() + 1),
            members,
            mirrors,
            guess,
            half: Vec::new(),
        });
    }
    found
}

/// The mirror groups of two and more, read whole and in step.
fn compare(
    members: &[Member],
    spans: &[Span],
    groups: &[Group],
    progress: &dyn Progress,
) -> Vec<Mirror> {
    let grouped = || groups.iter().filter(|g| g.members.len() > 1);
    let total = grouped().flat_map(|g| g.members.iter().filter_map(|m| spans.get(*m)));
    progress.begin("comparing mirrors", total.map(|s| s.data.length.0).sum());
    let mirrors = grouped().map(|group| {
        let of_group: Vec<&Span> = group.members.iter().filter_map(|m| spans.get(*m)).collect();
        let names = group.members.iter().filter_map(|m| members.get(*m));
        Mirror {
            members: names.map(|m| m.source.name().to_owned()).collect(),
            pages: group.pages,
            share: group.share,
            comparison: pairs::compare(&of_group, progress),
        }
    });
    let mirrors = mirrors.collect();
    progress.end();
    mirrors
}

/// The order by each volume group's best texts in turn: the one whose landmarks fit best is the data's own.
fn best_guess(
    members: &[Member],
    groups: &[Group],
    texts: &[Candidate],
    sightings: Vec<crate::md::order::Sighting>,
) -> Guess {
    const TEXTS_OF_A_GROUP: usize = 2;
    let mut clues = vec![Clues {
        landmarks: Vec::new(),
        sightings: sightings.clone(),
    }];
    let usable = || texts.iter().filter(|t| t.usable());
    for (i, text) in usable().enumerate() {
        let id = &text.carved.vg.id;
        let earlier = usable().take(i).filter(|t| t.carved.vg.id == *id).count();
        if earlier < TEXTS_OF_A_GROUP {
            for pv in &text.carved.vg.pvs {
                clues.push(Clues {
                    landmarks: landmarks::of_text(&text.carved.vg, &pv.name),
                    sightings: sightings.clone(),
                });
            }
        }
    }
    let guesses = clues
        .iter()
        .map(|clues| guess::guess(members, groups, clues));
    let better = |best: Guess, next: Guess| {
        let holds = |g: &Guess| (g.landmarks.0, g.confidence);
        match holds(&next) > holds(&best) {
            true => next,
            false => best,
        }
    };
    // The first entry is always there: the members alone.
    guesses
        .reduce(better)
        .unwrap_or_else(|| guess::guess(members, groups, &Clues::default()))
}

impl ArrayFound {
    /// Whether a volume is one of its members.
    pub fn has_member(&self, name: &str) -> bool {
        self.members.iter().any(|m| m.source.name() == name)
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.source.name() == name)
    }

    /// The geometry that was worked out.
    pub fn geometry(&self) -> Option<Geometry> {
        Geometry::new(
            self.guess.level?,
            self.guess.layout.as_deref(),
            self.guess.members.len(),
            Sectors(self.guess.chunk_kib.unwrap_or(0).saturating_mul(2)),
            self.guess.member_bytes,
        )
        .ok()
    }

    /// Where the data starts on each member.
    pub fn data_offset(&self) -> Bytes {
        Sectors(self.guess.data_offset_sectors).into()
    }

    /// The assembled array, every member in it, the half read first where one is chosen.
    pub fn open(&self) -> Option<SharedSource> {
        self.open_with(|_| true)
    }

    /// The assembled array with those members that `keep` names.
    pub fn open_with(&self, keep: impl Fn(&str) -> bool) -> Option<SharedSource> {
        let slots = self.guess.members.iter().map(|slot| {
            let member = self.member(slot.as_deref()?)?;
            let name = member.source.name();
            keep(name).then(|| ArrayMember {
                source: member.source.clone(),
                data_offset: self.data_offset(),
                reserve: !self.half.is_empty() && !self.half.iter().any(|h| h == name),
            })
        });
        Some(shared(Array::new(
            self.name.clone(),
            self.geometry()?,
            slots.collect(),
        )))
    }

    /// The slot of a member in the order that was worked out.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.guess
            .members
            .iter()
            .position(|m| m.as_deref() == Some(name))
    }

    /// The mirror groups by name: one of a member alone where it has no mirror.
    pub fn groups(&self) -> Vec<Vec<String>> {
        let copies = match self.guess.level {
            Some(Level::Raid1) => self.guess.members.len(),
            _ => self.geometry().map_or(1, |g| g.copies()),
        };
        let chunks = self.guess.members.chunks(copies.max(1));
        chunks
            .map(|c| c.iter().flatten().cloned().collect())
            .collect()
    }

    /// What of the array's bytes lies at an extent of a member, and for how long: by the order worked out.
    pub fn array_extents(&self, member: &str, extent: Extent) -> Vec<Extent> {
        let (Some(geometry), Some(slot)) = (self.geometry(), self.slot(member)) else {
            return Vec::new();
        };
        let data = self.data_offset();
        let mut found = Vec::new();
        let mut at = extent.offset.max(data);
        while at < extent.end() {
            let offset = at - data;
            let run = match geometry.content(Place { slot, offset }) {
                Some(Content::Data { array, .. }) => {
                    let length = array.length.min(extent.end() - at);
                    found.push(Extent::new(array.offset, length));
                    length
                }
                // Parity is nobody's bytes.
                Some(Content::P { run, .. } | Content::Q { run, .. }) => run,
                None => break,
            };
            at = at + run;
        }
        found
    }
}
