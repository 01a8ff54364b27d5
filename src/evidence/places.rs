//! The places that a later step would overwrite: what a backup keeps.

use crate::disk::mbr;
use crate::fs::{btrfs, ext, luks, xfs};
use crate::image::{Rest, Source};
use crate::inputs::{Input, Slice};
use crate::lvm::label::Label;
use crate::md::superblock::{Superblock, Version};
use crate::units::{Bytes, Extent};

/// The front of every disk and partition, as in the story.
pub const FRONT: Bytes = Bytes(4096);

/// Both ends of a disk, for partition tables: GPT takes 34 sectors in front and 33 at the end, of up to 4096 bytes.
const TABLE: Bytes = Bytes::kib(140);

/// The end of a volume: md's 0.90 and 1.0 superblocks with their bitmaps lie in the last 192 KiB.
const TAIL: Bytes = Bytes::kib(256);

/// The front of a member's data: labels and metadata areas of what lies on the array.
const ARRAY_FRONT: Bytes = Bytes::mib(1);

/// What the kernel may write in front of a member's data by starting its array: superblock, bitmap, list of bad blocks, a
/// partial-parity log of 1 MiB, which it empties.
pub(crate) const MD_ROOM: Bytes = Bytes::kib(1024 + 64);

/// Where a member's superblock is lost, its data is looked for by the label at its front: mdadm puts it at a whole MiB,
/// at most 128 of them from the start.
const STARTS: std::ops::RangeInclusive<u64> = 1..=128;

/// A metadata area of LVM is rarely above 1 MiB, a LUKS header 16 MiB. Lengths from a disk are cut to this, and the cut
/// is told.
const LARGEST: Bytes = Bytes::mib(256);

/// The most superblock copies of one ext file system that are kept: enough for 16 TiB.
const EXT_COPIES: usize = 24;

/// The most headers of XFS' allocation groups that are kept: a file system has one for each TiB, more where it was grown.
const XFS_GROUPS: u32 = 1024;

/// The four headers of a group, each a sector of up to 4096 bytes.
const XFS_HEADERS: Bytes = Bytes(4 * 4096);

/// The longest place: what is longer is cut into several, so that each can be held in memory.
pub(super) const LONGEST: usize = 16 << 20;

/// A place to keep: the input's index, where, and what.
#[derive(Clone, Debug)]
pub struct Place {
    /// The input.
    pub input: usize,
    /// Where in the whole image.
    pub extent: Extent,
    /// What lies there.
    pub what: Vec<String>,
}

/// Every place that is to be kept, ascending, no byte twice; those of one image that touch are one, up to 16 MiB.
/// `more` are extents of inputs that a person asked for.
pub fn places(
    inputs: &[Input],
    slices: &[Slice],
    more: &[(usize, Extent)],
    front: Bytes,
) -> Vec<Place> {
    let mut list = List {
        inputs,
        places: Vec::new(),
    };
    for (index, input) in inputs.iter().enumerate() {
        let length = input.source.len();
        let name = &input.name;
        list.add(
            index,
            Extent::new(Bytes::ZERO, front),
            format!("front of {name}"),
        );
        let table = format!("partition table of {name}");
        list.add(index, Extent::new(Bytes::ZERO, TABLE), table.clone());
        list.add(index, Extent::new(length - TABLE, TABLE), table);
        let first = mbr::read(&*input.source).ok();
        for at in first.map_or_else(Vec::new, |first| mbr::records(&*input.source, &first)) {
            let what = format!("partition table of {name}: record of a logical partition");
            list.add(index, Extent::new(at, FRONT), what);
        }
    }
    for slice in slices {
        list.add_slice(slice, front);
    }
    for (input, extent) in more {
        list.add(*input, *extent, "asked for".to_owned());
    }
    list.joined()
}

struct List<'a> {
    inputs: &'a [Input],
    places: Vec<Place>,
}

impl List<'_> {
    /// Adds an extent of an input, cut to what the input has.
    fn add(&mut self, input: usize, extent: Extent, mut what: String) {
        let Some(of) = self.inputs.get(input) else {
            return;
        };
        let all = Extent::new(Bytes::ZERO, of.source.len());
        if let Some(mut part) = extent.overlap(all) {
            if part.length > LARGEST {
                what = format!("{what}: the first {LARGEST} of {}", part.length);
                part.length = LARGEST;
            }
            self.places.push(Place {
                input,
                extent: Extent::new(of.offset + part.offset, part.length),
                what: vec![what],
            });
        }
    }

    fn add_slice(&mut self, slice: &Slice, front: Bytes) {
        let (base, name) = (slice.extent.offset, &slice.name);
        let length = slice.extent.length;
        let mut add = |at: Bytes, long: Bytes, what: String| {
            let cut = long.min(length - at);
            self.add(slice.input, Extent::new(base + at, cut), what);
        };
        add(Bytes::ZERO, front, format!("front of {name}"));
        add(
            length - TAIL,
            TAIL,
            format!("end of {name}: md superblocks and bitmaps"),
        );
        let superblocks = Superblock::all(&*slice.source).0;
        let mut data = vec![Bytes::ZERO];
        if superblocks.is_empty() {
            let labelled = |start: &Bytes| Label::all(&*slice.source, *start).next().is_some();
            data.extend(STARTS.map(Bytes::mib).filter(labelled));
        }
        let mut volumes = data.clone();
        for version in Version::ALL {
            if let Some(at) = version.place(length) {
                add(
                    at,
                    FRONT,
                    format!("place of an md superblock {version} on {name}"),
                );
            }
        }
        for sb in superblocks {
            let start = Bytes::from(sb.data_offset);
            if start > sb.at {
                let room = (start - sb.at).min(MD_ROOM);
                add(
                    sb.at,
                    room,
                    format!("md superblock {} and bitmap on {name}", sb.version),
                );
            }
            data.push(start);
            // A member of these holds the array's bytes one behind the other; of a striped one it holds chunks.
            if matches!(sb.level, 1 | -1) {
                volumes.push(start);
            }
        }
        for list in [&mut data, &mut volumes] {
            list.sort_unstable();
            list.dedup();
        }
        for start in data {
            add(
                start,
                ARRAY_FRONT,
                format!("front of the data on {name}: LVM label and metadata area"),
            );
        }
        for start in volumes {
            for (extent, what) in found(&Rest::new(&*slice.source, start)) {
                let what = format!("{what} on {name}");
                add(start + extent.offset, extent.length, what);
            }
        }
    }

    /// Sorted; places of one image that overlap or touch joined, and cut to [`LONGEST`].
    fn joined(mut self) -> Vec<Place> {
        self.places.sort_by_key(|p| (p.input, p.extent));
        let mut joined = Vec::new();
        let mut run: Vec<Place> = Vec::new();
        let mut end = Bytes::ZERO;
        for place in self.places {
            let touches = |first: &Place| first.input == place.input && place.extent.offset <= end;
            if !run.first().is_some_and(touches) {
                joined.extend(pieces(&run, end));
                run.clear();
                end = Bytes::ZERO;
            }
            end = end.max(place.extent.end());
            run.push(place);
        }
        joined.extend(pieces(&run, end));
        joined
    }
}

/// Ascending places without a gap between them up to `end`, as pieces of at most [`LONGEST`]; each is what the places in
/// it are.
fn pieces(run: &[Place], end: Bytes) -> Vec<Place> {
    let Some(first) = run.first() else {
        return Vec::new();
    };
    let mut pieces = Vec::new();
    let mut at = first.extent.offset;
    while at < end {
        let extent = Extent::new(at, Bytes(LONGEST as u64).min(end - at));
        let within = run.iter().filter(|p| p.extent.overlap(extent).is_some());
        let mut what: Vec<String> = within.flat_map(|p| p.what.clone()).collect();
        what.sort();
        what.dedup();
        at = extent.end();
        pieces.push(Place {
            input: first.input,
            extent,
            what,
        });
    }
    pieces
}

/// Metadata that is there and says for itself where it lies: LVM's areas, LUKS headers, copies of file systems'
/// superblocks.
fn found(source: &dyn Source) -> Vec<(Extent, String)> {
    let mut found = Vec::new();
    for label in Label::all(source, Bytes::ZERO) {
        let start = label.pv_start().unwrap_or_default();
        for area in label.metadata_areas.iter().take(4) {
            let area = Extent::new(start + area.offset, area.length);
            found.push((area, "LVM metadata area".to_owned()));
        }
    }
    if let Ok(luks) = luks::read(source) {
        let length = luks.payload.unwrap_or(Bytes::mib(16));
        found.push((
            Extent::new(Bytes::ZERO, length),
            "LUKS header and key slots".to_owned(),
        ));
    }
    if let Ok(sb) = ext::Superblock::read(source, Bytes(1024)) {
        found.extend(ext_copies(source, &sb));
    }
    if let Ok(sb) = xfs::read(source) {
        found.extend(xfs_copies(source, &sb));
    }
    if let Ok(sb) = btrfs::read(source) {
        found.extend(btrfs_copies(source, &sb));
    }
    found
}

/// The headers of XFS' allocation groups that are there, each with a copy of the superblock.
fn xfs_copies(source: &dyn Source, sb: &xfs::Superblock) -> Vec<(Extent, String)> {
    let copy = |group: u32| {
        let at = Bytes(sb.group_length.0.checked_mul(group.into())?);
        let copy = xfs::read(&Rest::new(source, at)).ok()?;
        let what = format!("XFS superblock and headers of group {group}");
        (copy.uuid == sb.uuid).then(|| (Extent::new(at, XFS_HEADERS), what))
    };
    (0..sb.groups.min(XFS_GROUPS)).filter_map(copy).collect()
}

/// The superblocks of btrfs that are there.
fn btrfs_copies(source: &dyn Source, sb: &btrfs::Superblock) -> Vec<(Extent, String)> {
    let copy = |at: Bytes| {
        let (own, copy) = btrfs::read_copy(source, at).ok()?;
        let extent = Extent::new(at, Bytes(btrfs::LEN as u64));
        (own == at && copy.uuid == sb.uuid).then(|| (extent, "btrfs superblock".to_owned()))
    };
    [btrfs::AT, Bytes::mib(64), Bytes::mib(256 << 10)]
        .into_iter()
        .filter_map(copy)
        .collect()
}

/// The copies of an ext superblock that are there. They lie in groups 1 and the powers of 3, 5 and 7.
fn ext_copies(source: &dyn Source, sb: &ext::Superblock) -> Vec<(Extent, String)> {
    let mut groups = vec![1_u64];
    for base in [3_u64, 5, 7] {
        groups.extend((1..=12).map_while(|power| base.checked_pow(power)));
    }
    groups.sort_unstable();
    let per_group = u64::from(sb.blocks_per_group.max(1));
    let last = sb.blocks / per_group;
    let copy = |group: u64| {
        let at = sb.superblock_at(group);
        let copy = ext::Superblock::read(source, at).ok()?;
        let length = Bytes(ext::SUPERBLOCK_LEN as u64);
        (copy.uuid == sb.uuid).then(|| {
            let what = format!("ext superblock, copy in group {group}");
            (Extent::new(at, length), what)
        })
    };
    let there = groups.into_iter().filter(|g| *g <= last);
    there.filter_map(copy).take(EXT_COPIES).collect()
}
