//! The images that the user named, opened, and the volumes that lie directly on them.

use crate::disk::{self, Table};
use crate::image::{
    Image, ImageSpec, OpenError, Part, Pieces, Reading, SharedSource, Source, open_with,
};
use crate::parse::ParseError;
use crate::units::{Bytes, Extent, merge};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why the images cannot be worked on together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// One could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two names for one file or device: it would look like its own mirror.
    #[error("{} and {} are the same {}; name each image once", .0.display(), .1.display(), if *.2 { "device" } else { "file" })]
    Twice(PathBuf, PathBuf, bool),
    /// A part and what it is a part of: the part would look like its own mirror.
    #[error("{part} is a part of {whole}, which is named too; leave one of them away")]
    Within {
        /// The part.
        part: String,
        /// What it lies in, all or some of it.
        whole: String,
    },
    /// A partition was asked for that the image's table does not have.
    #[error("{}: has no partition {number}; it has {have}", .path.display())]
    NoPartition {
        /// The image.
        path: PathBuf,
        /// What was asked for.
        number: u32,
        /// What is there, in words.
        have: String,
    },
    /// A ddrescue map was named for an image that is not among them.
    #[error("the map {} is said to be of {image}, which is none of the images", .map.display())]
    MapOfNone {
        /// The map.
        map: PathBuf,
        /// The image's name.
        image: String,
    },
    /// An extent was asked for that ends behind the image.
    #[error("{}: the extent {extent} ends behind the image, which has {} bytes", .path.display(), .length.0)]
    OutOfRange {
        /// The image.
        path: PathBuf,
        /// What was asked for.
        extent: Extent,
        /// What the image has.
        length: Bytes,
    },
}

/// One image as it was asked for.
#[derive(Clone)]
pub struct Input {
    /// What answers call it: the file name without its extension, `@` and the part.
    pub name: String,
    /// The file or device.
    pub image: Arc<Image>,
    /// The part that was asked for; all of it unless the user said otherwise.
    pub source: SharedSource,
    /// Where that part starts in the image.
    pub offset: Bytes,
    /// Its partition table, where one lies at its start.
    pub table: Option<Table>,
    /// Why it is read as a disk without partitions although it has, or may have, a table: a sentence for a person.
    pub no_table: Option<String>,
}

impl Input {
    /// What of it is known to be unread by now: by its image's map, because reading it failed, or as its image ends
    /// before it does.
    pub fn unread(&self) -> Vec<Extent> {
        let part = Extent::new(self.offset, self.source.len());
        let unread = self.image.unread().into_iter();
        let inside = unread.filter_map(|e| e.overlap(part)?.relative_to(self.offset));
        let held = (self.image.len() - self.offset).min(part.length);
        let cut = Extent::new(held, part.length - held);
        merge(inside.chain((!cut.is_empty()).then_some(cut)).collect())
    }
}

/// A volume directly on an image: a partition, or the whole where there is no table.
#[derive(Clone)]
pub struct Slice {
    /// `sda@2`, or `sda`.
    pub name: String,
    /// The input that it lies on, as an index.
    pub input: usize,
    /// Where it lies in that input.
    pub extent: Extent,
    /// The partition's number.
    pub number: Option<u32>,
    /// Its bytes.
    pub source: SharedSource,
}

/// Opens what the user named. Nothing is kept open of a list with an error in it.
///
/// # Errors
/// [`InputError`] with the first image that cannot be used.
pub fn open_all(specs: &[ImageSpec], reading: &Reading) -> Result<Vec<Input>, InputError> {
    let names = names(specs);
    for (named, map) in &reading.maps {
        let known =
            |(spec, name): (&ImageSpec, &String)| Path::new(named) == spec.path || named == name;
        if !specs.iter().zip(&names).any(known) {
            return Err(InputError::MapOfNone {
                map: map.clone(),
                image: named.clone(),
            });
        }
    }
    let mut inputs: Vec<Input> = Vec::with_capacity(specs.len());
    for (spec, name) in specs.iter().zip(names) {
        let image = Arc::new(open_with(spec, &name, reading)?);
        let input = input(spec, &name, image)?;
        for earlier in specs.iter().zip(&inputs) {
            apart(earlier, (spec, &input))?;
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// Refuses two inputs that have bytes in common. Two different parts of one image are two volumes.
fn apart(earlier: (&ImageSpec, &Input), later: (&ImageSpec, &Input)) -> Result<(), InputError> {
    let (a, b) = (&earlier.1.image, &later.1.image);
    let asked =
        |(spec, _): (&ImageSpec, &Input)| part_name(&spec.path.display().to_string(), spec.part);
    let within = |part, whole| {
        let (part, whole) = (asked(part), asked(whole));
        Err(InputError::Within { part, whole })
    };
    if a.identity() == b.identity() {
        let extent = |(_, input): (_, &Input)| Extent::new(input.offset, input.source.len());
        let (first, second) = (extent(earlier), extent(later));
        if first == second {
            let paths = [a, b].map(|image| image.path().to_owned());
            let [first, second] = paths;
            return Err(InputError::Twice(first, second, a.is_device()));
        }
        return match first.overlap(second) {
            Some(_) if first.length < second.length => within(earlier, later),
            Some(_) => within(later, earlier),
            None => Ok(()),
        };
    }
    // A partition's device has a number of its own.
    let is_on = |part: &Image, disk: &Image| {
        part.is_device() && disk.is_device() && disk.identity() == (0, part.device())
    };
    match (is_on(a, b), is_on(b, a)) {
        (true, _) => within(earlier, later),
        (_, true) => within(later, earlier),
        _ => Ok(()),
    }
}

fn part_name(name: &str, part: Part) -> String {
    match part {
        Part::Whole => name.to_owned(),
        Part::Partition(number) => format!("{name}@{number}"),
        Part::Extent(extent) => format!("{name}@{extent}"),
    }
}

fn input(spec: &ImageSpec, name: &str, image: Arc<Image>) -> Result<Input, InputError> {
    let whole: SharedSource = image.clone();
    let extent = match spec.part {
        Part::Whole => Extent::new(Bytes::ZERO, whole.len()),
        Part::Extent(extent) => extent,
        Part::Partition(number) => partition(&spec.path, &*whole, number)?,
    };
    if extent.end() > whole.len() && matches!(spec.part, Part::Extent(_)) {
        return Err(InputError::OutOfRange {
            path: spec.path.clone(),
            extent,
            length: whole.len(),
        });
    }
    let name = part_name(name, spec.part);
    let source: SharedSource = match spec.part {
        Part::Whole => whole,
        _ => Arc::new(Pieces::slice(name.clone(), whole, extent)),
    };
    let table = disk::partitions(&*source);
    let why = match &table {
        Err(error @ ParseError::Broken { .. }) => Some(format!("is {error}")),
        // A partition has none as a rule, whatever can be read of it.
        Err(error @ ParseError::Unreadable(_)) if spec.part == Part::Whole => {
            Some(error.to_string())
        }
        _ => None,
    };
    let no_table = why
        .map(|why| format!("its partition table {why}; it is read as a disk without partitions"));
    Ok(Input {
        name,
        image,
        source,
        offset: extent.offset,
        table: table.ok(),
        no_table,
    })
}

fn partition(path: &Path, image: &dyn Source, number: u32) -> Result<Extent, InputError> {
    let missing = |have: String| InputError::NoPartition {
        path: path.to_owned(),
        number,
        have,
    };
    let table = disk::partitions(image).map_err(|error| match error {
        ParseError::NotThis => missing("no partition table".to_owned()),
        broken @ ParseError::Broken { .. } => {
            missing(format!("a partition table that is {broken}"))
        }
        other => missing(format!("a partition table that {other}")),
    })?;
    let found = table.partitions.iter().find(|p| p.number == number);
    found.map(|p| p.extent).ok_or_else(|| {
        let numbers: Vec<String> = table
            .partitions
            .iter()
            .map(|p| p.number.to_string())
            .collect();
        missing(match numbers.as_slice() {
            [] => "none".to_owned(),
            _ => numbers.join(", "),
        })
    })
}

/// A short name for each image that no other has: the file's stem, else its name, else its path.
fn names(specs: &[ImageSpec]) -> Vec<String> {
    let printable = |text: &std::ffi::OsStr| {
        crate::parse::printable(std::os::unix::ffi::OsStrExt::as_bytes(text))
    };
    let short = |path: &Path| path.file_stem().map(printable).unwrap_or_default();
    let long = |path: &Path| path.file_name().map(printable).unwrap_or_default();
    let mut count: BTreeMap<(u8, String), Vec<&Path>> = BTreeMap::new();
    for spec in specs {
        for key in [(0, short(&spec.path)), (1, long(&spec.path))] {
            let paths = count.entry(key).or_default();
            if !paths.contains(&spec.path.as_path()) {
                paths.push(&spec.path);
            }
        }
    }
    let unique = |kind: u8, name: String| {
        (count.get(&(kind, name.clone())).map_or(0, Vec::len) == 1).then_some(name)
    };
    specs
        .iter()
        .map(|spec| {
            unique(0, short(&spec.path))
                .or_else(|| unique(1, long(&spec.path)))
                .unwrap_or_else(|| printable(spec.path.as_os_str()))
        })
        .collect()
}

/// The volumes directly on the inputs: each partition, or the whole input where it has no partition table.
pub fn slices(inputs: &[Input]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let partitions = input.table.as_ref().map(|t| t.partitions.as_slice());
        // An extended partition is only the room of the logical ones.
        let parts = partitions.unwrap_or_default().iter();
        for partition in parts.filter(|p| !p.is_extended()) {
            let name = format!("{}@{}", input.name, partition.number);
            slices.push(Slice {
                source: Arc::new(Pieces::slice(
                    name.clone(),
                    input.source.clone(),
                    partition.extent,
                )),
                name,
                input: index,
                extent: partition.extent,
                number: Some(partition.number),
            });
        }
        if partitions.is_none_or(<[_]>::is_empty) {
            slices.push(Slice {
                name: input.name.clone(),
                input: index,
                extent: Extent::new(Bytes::ZERO, input.source.len()),
                number: None,
                source: input.source.clone(),
            });
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ImageSpec {
        text.parse().unwrap()
    }

    /// Two images under one name make every line about them worthless.
    #[test]
    fn names_are_short_and_unique() {
        let specs = [
            "a/sda.img",
            "b/sdb.img",
            "a/x.img",
            "a/x.raw",
            "c/y.img",
            "d/y.img",
        ];
        let specs: Vec<ImageSpec> = specs.iter().map(|s| spec(s)).collect();
        assert_eq!(
            names(&specs),
            ["sda", "sdb", "x.img", "x.raw", "c/y.img", "d/y.img"]
        );
        // Two parts of one image keep its short name.
        let parts: Vec<ImageSpec> = ["sda.img@1", "sda.img@2"].iter().map(|s| spec(s)).collect();
        assert_eq!(names(&parts), ["sda", "sda"]);
    }

    /// A GPT that is lost at both ends must not be passed over in silence: its disk was partitioned.
    #[test]
    fn a_lost_gpt_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        let mut disk = vec![0; 1 << 20];
        disk[450] = 0xee;
        disk[454] = 1;
        disk[458..462].fill(0xff);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&file, disk).unwrap();
        let open = |part: &str| {
            let specs = [spec(&format!("{}{part}", file.display()))];
            open_all(&specs, &Reading::default())
        };
        let inputs = open("").unwrap();
        let told = inputs[0].no_table.as_deref().unwrap();
        assert!(
            told.starts_with("its partition table is broken at byte 512: expected the GPT"),
            "{told}"
        );
        let error = open("@1").err().unwrap().to_string();
        assert!(
            error.contains("it has a partition table that is broken at byte 512"),
            "{error}"
        );
    }

    /// An image given twice mirrors itself without a difference: the most convincing wrong answer there is.
    #[test]
    fn the_same_image_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        let link = folder.path().join("b.img");
        std::fs::write(&file, vec![0; 4096]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let specs = [&file, &link].map(|p| spec(p.to_str().unwrap()));
        let error = open_all(&specs, &Reading::default()).err().unwrap();
        assert!(matches!(error, InputError::Twice(_, _, false)), "{error}");
        let parts = ["0+512", "512+512"].map(|p| spec(&format!("{}@{p}", file.display())));
        assert_eq!(open_all(&parts, &Reading::default()).unwrap().len(), 2);
        // Nor is a part of it any other image, whichever is named first.
        let whole = spec(file.to_str().unwrap());
        for both in [[whole.clone(), parts[1].clone()], [parts[1].clone(), whole]] {
            let error = open_all(&both, &Reading::default()).err().unwrap();
            let InputError::Within { part, whole } = error else {
                panic!("{error}");
            };
            assert_eq!(
                (part, whole),
                (
                    format!("{}@512+512", file.display()),
                    file.display().to_string()
                )
            );
        }
        let far = [spec(&format!("{}@4000+512", file.display()))];
        let far = open_all(&far, &Reading::default());
        assert!(matches!(far, Err(InputError::OutOfRange { .. })));
    }
}
