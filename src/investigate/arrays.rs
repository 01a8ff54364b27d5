//! An array that was found: its members, how its mirrors differ, and how it is read.

use super::mirrors::{self, Mirror};
use super::shared;
use crate::image::progress::Progress;
use crate::image::{Pieces, SharedSource};
use crate::inputs::Slice;
use crate::layout::BadBlocks;
use crate::lvm::carve::Carved;
use crate::md::array::{Array, ArrayMember};
use crate::md::badblocks;
use crate::md::geometry::{Content, Geometry, Place};
use crate::md::guess::{Guess, Member};
use crate::md::level::Level;
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent, Sectors};

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
    /// Whether some of what was to be read of the members could not be.
    pub has_gaps: bool,
}

/// Volumes that can be members: their newest sound superblock with them. What that lists as bad blocks holds no data of
/// the array, but what was there before: it reads as a gap, as a bad sector does.
pub fn members(slices: &[Slice]) -> Vec<Member> {
    let member = |slice: &Slice| {
        let superblock = Superblock::all(&*slice.source)
            .0
            .into_iter()
            .find(|sb| sb.checksum == crate::parse::Checksum::Ok);
        let source = slice.source.clone();
        let bad = superblock
            .as_ref()
            .map_or_else(Vec::new, |sb| badblocks::in_data(&*source, sb));
        Member {
            superblock,
            source: match bad.is_empty() {
                true => source,
                false => shared(Pieces::without(source, &bad)),
            },
            disk: slice.input,
        }
    };
    slices.iter().map(member).collect()
}

/// What is known of the images before arrays are looked for.
#[derive(Default)]
pub struct Known {
    /// LVM metadata texts, the best first.
    pub texts: Vec<Carved>,
    /// Superblocks of file systems that a whole pass found: UUID, member's name, place on it, place in the file system.
    pub superblocks: Vec<(String, String, Bytes, Bytes)>,
}

/// Compares the mirrors of every array that was found, byte by byte: all of them, or a sample.
pub fn compare_mirrors(arrays: &mut [ArrayFound], sample: bool, progress: &dyn Progress) {
    for array in arrays {
        array.mirrors = mirrors::of_array(&array.members, sample, progress);
    }
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

    /// What of the members in its slots holds none of its data, by their own bad-block logs.
    pub fn bad_blocks(&self) -> Vec<BadBlocks> {
        let reshape = self.guess.reshape.as_ref();
        let slots = reshape.map_or(&self.guess.members, |reshape| &reshape.members);
        let members = slots.iter().flatten().filter_map(|name| self.member(name));
        let of_member = |member: &Member| {
            let sb = member.superblock.as_ref();
            let bad = sb.map_or_else(Vec::new, |sb| badblocks::in_data(&*member.source, sb));
            let name = member.source.name().to_owned();
            bad.into_iter().map(move |extent| BadBlocks {
                member: name.clone(),
                offset: extent.offset,
                length: extent.length,
            })
        };
        members.flat_map(of_member).collect()
    }

    /// The geometry that was worked out.
    pub fn geometry(&self) -> Option<Geometry> {
        let level = self.guess.level?;
        let chunk = Sectors(self.guess.chunk_kib.unwrap_or(0).saturating_mul(2));
        let own = self.guess.members_bytes.as_ref();
        let size = |slot| {
            own.and_then(|own| own.get(slot))
                .copied()
                .unwrap_or(self.guess.member_bytes)
        };
        let sizes: Vec<Bytes> = (0..self.guess.members.len()).map(size).collect();
        Geometry::of_sizes(level, self.guess.layout.as_deref(), chunk, &sizes).ok()
    }

    /// Where the data starts on a member.
    pub fn data_offset_of(&self, name: &str) -> Bytes {
        let own = self.guess.data_offsets_sectors.as_ref();
        let own = own
            .zip(self.slot(name))
            .and_then(|(own, slot)| own.get(slot).copied());
        Sectors(own.unwrap_or(self.guess.data_offset_sectors)).into()
    }

    /// The assembled array, every member in it, the half read first where one is chosen.
    pub fn open(&self) -> Option<SharedSource> {
        self.open_with(|_| true)
    }

    /// The assembled array with those members that `keep` names.
    pub fn open_with(&self, keep: impl Fn(&str) -> bool) -> Option<SharedSource> {
        if let Some(reshape) = &self.guess.reshape {
            let member = |slot: &Option<String>| {
                let member = self.member(slot.as_deref()?)?;
                let name = member.source.name();
                let reserve = !self.half.is_empty() && !self.half.iter().any(|h| h == name);
                keep(name).then(|| (member.source.clone(), reserve))
            };
            let members: Vec<_> = reshape.members.iter().map(member).collect();
            let halves = &reshape.halves;
            let array = halves.open(&self.name, reshape.member_bytes, &members);
            return array.ok().map(shared);
        }
        let slots = self.guess.members.iter().map(|slot| {
            let member = self.member(slot.as_deref()?)?;
            let name = member.source.name();
            keep(name).then(|| ArrayMember {
                source: member.source.clone(),
                data_offset: self.data_offset_of(name),
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
        let copies = match (self.guess.level, self.geometry()) {
            (Some(Level::Raid1), _) => self.guess.members.len(),
            (_, Some(geometry)) if geometry.is_columns() => geometry.copies(),
            _ => 1,
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
        let data = self.data_offset_of(member);
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
