//! The layout file: the written description of a whole stack, to be read and edited by people and opened by every
//! later command.
//!
//! ```toml
//! [[image]]
//! name = "sda"
//! path = "/images/sda.img"
//! size = 176160768
//! partitions = [{ number = 2, offset = 42991616, length = 133169152 }]
//!
//! [[array]]
//! name = "array2"
//! level = "raid10"
//! layout = "n2"
//! chunk_kib = 64
//! data_offset_sectors = 0
//! member_bytes = 133103616
//! members = ["sdb@2", "missing"]
//! half = ["sdb@2"]
//!
//! [[vg]]
//! name = "guests"
//! text = "guests.vg"
//! pvs = { pv0 = "array2" }
//! ```
//!
//! Volumes are named `sda` (an image), `sda@2` (a partition of it), `array2`
//! (an array), `guests/home` (a logical volume), and `guests/web@1` (a
//! partition of one).

mod known;

pub use known::places;

use crate::disk;
use crate::file::read_small_text;
use crate::image::{
    Image, ImageSpec, OpenError, Part, Pieces, Reading, SharedSource, Source, open_with,
};
use crate::lvm::carve::{self, Carved};
use crate::lvm::metadata::VolumeGroup;
use crate::lvm::sync::{self, Told};
use crate::lvm::volume::{VolumeError, logical_volume};
use crate::md::array::{Array, ArrayMember};
use crate::md::geometry::{Geometry, GeometryError, MOST_TIMES};
use crate::md::level::Level;
use crate::md::reshape::Halves;
use crate::parse::ParseError;
use crate::units::{Bytes, Extent, Sectors, merge};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// How a missing member is written.
pub const MISSING: &str = "missing";

/// A layout file is kilobytes.
const LARGEST: u64 = 16 << 20;

/// A whole stack, as written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The images.
    #[serde(default, rename = "image")]
    pub images: Vec<ImageEntry>,
    /// The arrays.
    #[serde(default, rename = "array")]
    pub arrays: Vec<ArrayEntry>,
    /// The volume groups.
    #[serde(default, rename = "vg")]
    pub vgs: Vec<VgEntry>,
}

/// An image and its partitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// What the other entries call it.
    pub name: String,
    /// The file or device; relative to the layout file where not absolute.
    pub path: PathBuf,
    /// Its size, to notice another image under the same name.
    pub size: Bytes,
    /// Places that tell it from others, as [`places`] writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_by: Vec<String>,
    /// Its ddrescue map, where it does not lie beside it; relative to the layout file where not absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<PathBuf>,
    /// The part of it that was examined and that the name stands for, where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Extent>,
    /// Its partitions.
    #[serde(default)]
    pub partitions: Vec<PartitionEntry>,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionEntry {
    /// Its number.
    pub number: u32,
    /// Its first byte.
    pub offset: Bytes,
    /// Its length.
    pub length: Bytes,
}

/// An md array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayEntry {
    /// What the other entries call it.
    pub name: String,
    /// Level in mdadm's words.
    pub level: String,
    /// Layout in mdadm's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Chunk in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_kib: Option<u64>,
    /// Sectors before the data on each member.
    pub data_offset_sectors: u64,
    /// The same for each slot, where they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_offsets_sectors: Vec<u64>,
    /// Bytes of data on each member.
    pub member_bytes: Bytes,
    /// The same for each slot, where they differ: of a linear array, and of raid0 over members of unequal length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members_bytes: Vec<Bytes>,
    /// Metadata version, for mdadm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Members in slot order; `missing` where there is none.
    pub members: Vec<String>,
    /// The members to read first, one of each mirror group; empty for all alike.
    #[serde(default)]
    pub half: Vec<String>,
    /// What of the members holds none of the array's data, and is read from the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_blocks: Vec<BadBlocks>,
    /// The two geometries of a reshape that was under way: then the array is read through them, and `level`, `layout`,
    /// `chunk_kib` and the data's offsets above are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reshape: Option<Halves>,
}

/// Bytes of a member that md could not write, by its bad-block log: what was there before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadBlocks {
    /// The member.
    pub member: String,
    /// The first byte, from the member's own start.
    pub offset: Bytes,
    /// How many.
    pub length: Bytes,
}

/// A volume group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VgEntry {
    /// Its name.
    pub name: String,
    /// The file with its metadata text; relative to the layout file.
    pub text: PathBuf,
    /// For each physical volume of the text, the volume that it is.
    pub pvs: BTreeMap<String, String>,
}

/// Why a layout or a volume of it cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A file could not be read.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The layout file is not one.
    #[error("{}: line {line}: {what}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The text of a volume group could not be read.
    #[error("{}: {cause}; it is the text of {group}, and paths of a layout file begin at its own folder", .path.display())]
    TextFile {
        /// The text's file.
        path: PathBuf,
        /// The volume group.
        group: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// An image could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An image is not the one that was written down.
    #[error("{}: has {} bytes, the layout says {}; it is not the image that was examined", .path.display(), .has.0, .says.0)]
    OtherImage {
        /// The image.
        path: PathBuf,
        /// Its size.
        has: Bytes,
        /// What the layout says.
        says: Bytes,
    },
    /// An image holds other bytes than when it was written down.
    #[error(
        "{}: holds other bytes than {name} did when the layout was written ({changed} of {} places differ); if disks have \
         other letters now, correct the paths; if it is the right one and was written to, remove its known_by", .path.display(),
        .same + .changed
    )]
    OtherBytes {
        /// The image.
        path: PathBuf,
        /// What the layout calls it.
        name: String,
        /// Places that are as they were.
        same: usize,
        /// Places that are not.
        changed: usize,
    },
    /// One name stands for two things, or one disk in two places.
    #[error("{what} {name} stands in the layout twice; correct it")]
    Twice {
        /// What it is: a name, a member, an image.
        what: &'static str,
        /// It.
        name: String,
    },
    /// A member that is none of the array's.
    #[error(
        "array {array}: {name} is in its {list}, and is none of its members; correct the layout"
    )]
    NotAMember {
        /// The array.
        array: String,
        /// Where it is named: the half, the bad blocks.
        list: &'static str,
        /// What is named.
        name: String,
    },
    /// A name that nothing has.
    #[error("no volume is called {name}; {have}")]
    NoVolume {
        /// What was asked for.
        name: String,
        /// What there is, in words.
        have: String,
    },
    /// An array's numbers cannot be.
    #[error("array {name}: {cause}")]
    Array {
        /// The array.
        name: String,
        /// Why not.
        cause: GeometryError,
    },
    /// An array is said to use far more of its members than they have.
    #[error("array {name}: member_bytes is {}, but its longest member has {} bytes; correct the layout", .says.0, .has.0)]
    TooLong {
        /// The array.
        name: String,
        /// What the layout says.
        says: Bytes,
        /// What the longest member has.
        has: Bytes,
    },
    /// A metadata text is none.
    #[error("{}: holds no complete LVM metadata text", .0.display())]
    NoText(PathBuf),
    /// A logical volume cannot be read.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A partition inside a volume cannot be had.
    #[error("{name}: {cause}")]
    Partition {
        /// The volume.
        name: String,
        /// Why not.
        cause: ParseError,
    },
}

/// Which members of mirrors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// The half only.
    Half,
    /// The half first, the others where it cannot be read.
    All,
}

/// A volume group, and its physical volumes by their names in the text.
pub type Group = (VolumeGroup, BTreeMap<String, SharedSource>);

/// The volumes of a layout, opened.
pub struct Stack {
    /// By name: images, partitions, arrays.
    sources: BTreeMap<String, SharedSource>,
    /// The images below all of them, each with the part that was examined.
    images: Vec<(Arc<Image>, Option<Extent>)>,
    /// Volume groups with their physical volumes.
    groups: Vec<Group>,
}

impl Layout {
    /// Reads a layout file.
    ///
    /// # Errors
    /// [`LayoutError`] where it cannot be read or is not one.
    pub fn load(path: &Path) -> Result<Layout, LayoutError> {
        let text = read(path)?;
        toml::from_str(&text).map_err(|cause: toml::de::Error| {
            let before = cause.span().and_then(|span| text.get(..span.start));
            LayoutError::Syntax {
                path: path.to_owned(),
                line: before.map_or(1, |before| before.split('\n').count()),
                what: cause.message().to_owned(),
            }
        })
    }

    /// Opens every volume; relative paths start from `base`, the layout file's folder.
    ///
    /// # Errors
    /// [`LayoutError`] for the first entry that cannot be opened.
    pub fn open(
        &self,
        base: &Path,
        members: Members,
        reading: &Reading,
    ) -> Result<Stack, LayoutError> {
        self.check()?;
        let mut stack = Stack {
            sources: BTreeMap::new(),
            images: Vec::new(),
            groups: Vec::new(),
        };
        for entry in &self.images {
            // The other half is not asked for, and may be unplugged.
            if members == Members::Half
                && self.is_in_other_halves(entry)
                && !base.join(&entry.path).exists()
            {
                continue;
            }
            let spec = ImageSpec {
                path: base.join(&entry.path),
                part: Part::Whole,
            };
            let mut reading = reading.clone();
            let map = entry
                .map
                .iter()
                .map(|map| (entry.name.clone(), base.join(map)));
            reading.maps.extend(map);
            stack.add_image(entry, open_with(&spec, &entry.name, &reading)?)?;
        }
        for entry in &self.arrays {
            let array = entry.open(&stack, members)?;
            stack.sources.insert(entry.name.clone(), array);
        }
        for entry in &self.vgs {
            let path = base.join(&entry.text);
            let text = read(&path).map_err(|error| match error {
                LayoutError::Io { path, cause } => LayoutError::TextFile {
                    path,
                    group: entry.name.clone(),
                    cause,
                },
                other => other,
            })?;
            let vg = parse_text(&text).ok_or(LayoutError::NoText(path))?;
            let mut pvs = BTreeMap::new();
            for (pv, volume) in &entry.pvs {
                pvs.insert(pv.clone(), stack.plain(volume)?);
            }
            stack.groups.push((vg, pvs));
        }
        Ok(stack)
    }
}

fn read(path: &Path) -> Result<String, LayoutError> {
    read_small_text(path, LARGEST).map_err(|cause| LayoutError::Io {
        path: path.to_owned(),
        cause,
    })
}

/// The first metadata text in a file's bytes, in either form.
pub fn text_of(bytes: &[u8]) -> Option<Carved> {
    let hit = memchr::memmem::find(bytes, carve::NEEDLE)?;
    let memory = crate::image::Memory::new("text", bytes.to_vec());
    carve::text_at(&memory, Bytes(hit as u64))
}

/// The volume group of a text in either form.
pub fn parse_text(text: &str) -> Option<VolumeGroup> {
    let carved = text_of(text.as_bytes())?;
    carved.complete.then(|| Arc::unwrap_or_clone(carved.vg))
}

impl Layout {
    /// What a person may have written twice, or may not have meant.
    fn check(&self) -> Result<(), LayoutError> {
        let images = self.images.iter().map(|i| &i.name);
        let names = images.chain(self.arrays.iter().map(|a| &a.name));
        once("the name", names)?;
        for array in &self.arrays {
            once("the member", array.members.iter().filter(|m| *m != MISSING))?;
            let half = array.half.iter().map(|name| ("half", name));
            let bad = array.bad_blocks.iter().map(|b| ("bad_blocks", &b.member));
            let mut named = half.chain(bad);
            if let Some((list, name)) = named.find(|(_, name)| !array.members.contains(name)) {
                return Err(LayoutError::NotAMember {
                    array: array.name.clone(),
                    list,
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether an image is used by nothing but arrays that are read without it where only their halves are.
    fn is_in_other_halves(&self, entry: &ImageEntry) -> bool {
        let is_of = |volume: &String| {
            let rest = volume.strip_prefix(&entry.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        };
        let pvs = self.vgs.iter().flat_map(|vg| vg.pvs.values());
        let mut arrays = self.arrays.iter();
        let members = |array: &ArrayEntry| array.members.iter().any(is_of);
        let read = |array: &ArrayEntry| match array.half.is_empty() {
            true => members(array),
            false => array.half.iter().any(is_of),
        };
        arrays.clone().any(members) && !arrays.any(read) && !pvs.into_iter().any(is_of)
    }
}

/// Fails where one of the names comes again.
fn once<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), LayoutError> {
    let mut seen = BTreeSet::new();
    let mut again = names.filter(|name| !seen.insert(*name));
    match again.next() {
        None => Ok(()),
        Some(name) => Err(LayoutError::Twice {
            what,
            name: name.clone(),
        }),
    }
}

impl ArrayEntry {
    /// Bytes of data on the member in a slot.
    fn data_of(&self, slot: usize) -> Bytes {
        let own = self.members_bytes.get(slot).copied();
        own.unwrap_or(self.member_bytes)
    }

    /// Where the data starts on the member in a slot.
    pub fn data_offset(&self, slot: usize) -> Bytes {
        let own = self.data_offsets_sectors.get(slot).copied();
        Sectors(own.unwrap_or(self.data_offset_sectors)).into()
    }

    /// The array's geometry.
    ///
    /// # Errors
    /// [`LayoutError::Array`] where its numbers cannot be.
    pub fn geometry(&self) -> Result<Geometry, LayoutError> {
        let level = self.level.parse::<Level>();
        let geometry = level.and_then(|level| {
            let chunk = Sectors(self.chunk_kib.unwrap_or(0).saturating_mul(2));
            let (layout, slots) = (self.layout.as_deref(), self.members.len());
            if self.members_bytes.is_empty() {
                return Geometry::new(level, layout, slots, chunk, self.member_bytes);
            }
            let sizes: Vec<Bytes> = (0..slots).map(|slot| self.data_of(slot)).collect();
            Geometry::of_sizes(level, layout, chunk, &sizes)
        });
        geometry.map_err(|cause| LayoutError::Array {
            name: self.name.clone(),
            cause,
        })
    }

    /// A member's claimed length may be more than a cut copy still has, but not beyond all measure: what is read or
    /// written of the array takes a time that follows from it.
    fn check_length(&self, stack: &Stack) -> Result<(), LayoutError> {
        let there = self
            .members
            .iter()
            .filter_map(|name| stack.sources.get(name));
        let longest = there.map(|member| member.len().0).max().unwrap_or(u64::MAX);
        let own = self.members_bytes.iter().copied().max();
        let says = own.unwrap_or_default().max(self.member_bytes);
        match says.0 > longest.saturating_mul(MOST_TIMES) {
            true => Err(LayoutError::TooLong {
                name: self.name.clone(),
                says,
                has: Bytes(longest),
            }),
            false => Ok(()),
        }
    }

    fn open(&self, stack: &Stack, which: Members) -> Result<SharedSource, LayoutError> {
        self.check_length(stack)?;
        if let Some(halves) = &self.reshape {
            return self.open_reshaped(stack, halves);
        }
        let geometry = self.geometry()?;
        let mut members = Vec::new();
        for (slot, name) in self.members.iter().enumerate() {
            let in_half = self.half.is_empty() || self.half.contains(name);
            members.push(
                match name == MISSING || which == Members::Half && !in_half {
                    true => None,
                    false => Some(ArrayMember {
                        source: self.member(stack, name)?,
                        data_offset: self.data_offset(slot),
                        reserve: !in_half,
                    }),
                },
            );
        }
        Ok(Arc::new(Array::new(self.name.clone(), geometry, members)))
    }

    /// A member, but for its bad blocks.
    fn member(&self, stack: &Stack, name: &str) -> Result<SharedSource, LayoutError> {
        let source = stack.plain(name)?;
        let bad = self.bad_blocks.iter().filter(|bad| bad.member == name);
        let bad = merge(bad.map(|b| Extent::new(b.offset, b.length)).collect());
        Ok(match bad.is_empty() {
            true => source,
            false => Arc::new(Pieces::without(source, &bad)),
        })
    }

    /// The array read through both geometries; only levels with mirrors have halves, and those do not reshape.
    fn open_reshaped(&self, stack: &Stack, halves: &Halves) -> Result<SharedSource, LayoutError> {
        let mut members = Vec::new();
        for name in &self.members {
            members.push(match name == MISSING {
                true => None,
                false => Some((self.member(stack, name)?, false)),
            });
        }
        let array = halves.open(&self.name, self.member_bytes, &members);
        let array = array.map_err(|cause| LayoutError::Array {
            name: self.name.clone(),
            cause,
        })?;
        Ok(Arc::new(array))
    }
}

impl Stack {
    /// A stack of volumes that are open already: images, partitions and arrays by name, and volume groups with their
    /// physical volumes.
    pub fn new(sources: BTreeMap<String, SharedSource>, groups: Vec<Group>) -> Stack {
        Stack {
            sources,
            images: Vec::new(),
            groups,
        }
    }

    fn add_image(&mut self, entry: &ImageEntry, image: Image) -> Result<(), LayoutError> {
        if image.len() != entry.size {
            return Err(LayoutError::OtherImage {
                path: image.path().to_owned(),
                has: image.len(),
                says: entry.size,
            });
        }
        let (same, changed) = known::compare(&image, &entry.known_by);
        if changed > same {
            return Err(LayoutError::OtherBytes {
                path: image.path().to_owned(),
                name: entry.name.clone(),
                same,
                changed,
            });
        }
        let part = |of: Option<Extent>| of.unwrap_or(Extent::new(Bytes::ZERO, entry.size));
        let again = |(other, of): &(Arc<Image>, Option<Extent>)| {
            other.identity() == image.identity() && part(*of).overlap(part(entry.part)).is_some()
        };
        if self.images.iter().any(again) {
            return Err(LayoutError::Twice {
                what: "the image",
                name: image.path().display().to_string(),
            });
        }
        let image = Arc::new(image);
        self.images.push((image.clone(), entry.part));
        let image: SharedSource = image;
        for partition in &entry.partitions {
            let name = format!("{}@{}", entry.name, partition.number);
            let extent = Extent::new(partition.offset, partition.length);
            let slice = Pieces::slice(name.clone(), image.clone(), extent);
            self.sources.insert(name, Arc::new(slice));
        }
        let named = match entry.part {
            Some(part) => Arc::new(Pieces::slice(entry.name.clone(), image, part)),
            None => image,
        };
        self.sources.insert(entry.name.clone(), named);
        Ok(())
    }

    /// An image, partition or array.
    fn plain(&self, name: &str) -> Result<SharedSource, LayoutError> {
        if let Some(source) = self.sources.get(name) {
            return Ok(source.clone());
        }
        // An extent of an image, as the command line takes it.
        let extent = name.rsplit_once('@').and_then(|(image, extent)| {
            let (offset, length) = extent.split_once('+')?;
            let extent = Extent::new(Bytes(offset.parse().ok()?), Bytes(length.parse().ok()?));
            Some((self.sources.get(image)?, extent))
        });
        match extent {
            Some((image, extent)) => Ok(Arc::new(Pieces::slice(name, image.clone(), extent))),
            None => Err(LayoutError::NoVolume {
                name: name.to_owned(),
                have: self.have(name),
            }),
        }
    }

    /// What there is instead of a name: what it may have meant, and volumes before what they are made of.
    fn have(&self, name: &str) -> String {
        let mut names = self.names();
        let meant = names.iter().find(|n| n.rsplit('/').next() == Some(name));
        let meant = meant.map_or_else(String::new, |meant| format!("did you mean {meant}? "));
        let of_image = |n: &String| {
            let named = |(image, _): &(Arc<Image>, _)| {
                let behind = n.strip_prefix(image.name());
                behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
            };
            self.images.iter().any(named)
        };
        names.sort_by_key(|n| !n.contains('/'));
        let all = names.len();
        if !names.iter().all(of_image) {
            names.retain(|n| !of_image(n));
        }
        let more = match all - names.len() {
            0 => String::new(),
            n => format!(", and {n} images and partitions"),
        };
        format!("{meant}there are {}{more}", names.join(", "))
    }

    /// What a physical volume can lie on: arrays, partitions, and images without partitions.
    pub fn bases(&self) -> Vec<SharedSource> {
        let whole = |name: &&String| {
            let inside = format!("{name}@");
            !self.sources.keys().any(|other| other.starts_with(&inside))
        };
        let names = self.sources.keys().filter(whole);
        names
            .filter_map(|name| self.sources.get(name).cloned())
            .collect()
    }

    /// Sets a volume group, in place of one of that name; `pvs` says which volume each physical volume is.
    ///
    /// # Errors
    /// [`LayoutError::NoVolume`] where one of them is not there.
    pub fn set_group(
        &mut self,
        vg: &VolumeGroup,
        pvs: &BTreeMap<String, String>,
    ) -> Result<(), LayoutError> {
        let mut opened = BTreeMap::new();
        for (pv, volume) in pvs {
            opened.insert(pv.clone(), self.plain(volume)?);
        }
        self.groups.retain(|(other, _)| other.name != vg.name);
        self.groups.push((vg.clone(), opened));
        Ok(())
    }

    /// The images that were opened for the volumes.
    pub fn images(&self) -> Vec<&Image> {
        self.images.iter().map(|(image, _)| &**image).collect()
    }

    /// Every volume's name: images, partitions, arrays, logical volumes.
    pub fn names(&self) -> Vec<String> {
        let lvs = self.groups.iter().flat_map(|(vg, _)| {
            vg.visible()
                .map(move |lv| format!("{}/{}", vg.name, lv.name))
        });
        self.sources.keys().cloned().chain(lvs).collect()
    }

    /// The volume groups.
    pub fn groups(&self) -> impl Iterator<Item = &VolumeGroup> {
        self.groups.iter().map(|(vg, _)| vg)
    }

    /// A volume by its name.
    ///
    /// # Errors
    /// [`LayoutError`] where nothing is called so, or it cannot be read.
    pub fn volume(&self, name: &str) -> Result<SharedSource, LayoutError> {
        let inner = name
            .rsplit_once('@')
            .and_then(|(n, p)| Some((n, p.parse::<u32>().ok()?)));
        if let Ok(volume) = self.whole(name) {
            return Ok(volume);
        }
        let Some((outer, number)) = inner else {
            return self.whole(name);
        };
        let outer = self.whole(outer)?;
        let fail = |cause| LayoutError::Partition {
            name: name.to_owned(),
            cause,
        };
        let table = disk::partitions(&*outer).map_err(fail)?;
        let partition = table.partitions.iter().find(|p| p.number == number);
        let extent = partition.ok_or(fail(ParseError::NotThis))?.extent;
        Ok(Arc::new(Pieces::slice(name, outer, extent)))
    }

    /// What is known of the copies under a logical volume, or under one of its partitions; nothing for other volumes.
    pub fn told(&self, name: &str) -> Told {
        let inner = name.rsplit_once('@').map(|(outer, _)| outer);
        let names = [Some(name), inner].into_iter().flatten();
        let mut lvs = names.filter_map(|name| self.logical(name));
        let told = lvs.next().map(|((vg, pvs), lv)| sync::told(vg, lv, pvs));
        told.unwrap_or_default()
    }

    /// A logical volume's group, and its name in that.
    fn logical<'a>(&self, name: &'a str) -> Option<(&Group, &'a str)> {
        let (vg, lv) = name.split_once('/')?;
        let group = self.groups.iter().find(|(g, _)| g.name == vg)?;
        group.0.lv(lv).map(|_| (group, lv))
    }

    fn whole(&self, name: &str) -> Result<SharedSource, LayoutError> {
        match self.logical(name) {
            Some(((vg, pvs), lv)) => Ok(Arc::new(logical_volume(vg, lv, pvs)?)),
            None => self.plain(name),
        }
    }
}
