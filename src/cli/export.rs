//! `disinter export`: a volume of a layout as a raw image.

use super::fs::{StackArguments, say};
use super::progress::Bar;
use super::{Common, Outcome, confine};
use anyhow::{Context, bail};
use disinter::evidence::case::CaseError;
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFile;
use disinter::image::map::RescueMap;
use disinter::image::progress::Progress;
use disinter::image::stream::{Run, stream};
use disinter::image::{MOST_HASHED_HOLES, Source, holes_within};
use disinter::units::{Bytes, Extent};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What to export.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArguments,
    /// The volume: `guests/home`, `array1`, `sda@2`
    volume: String,
    /// The image to write; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// A volume of which many disks are lost is longer than the images; one that is so many times longer was never there, and
/// its zeros would take days to write.
const MOST_TIMES: u64 = 64;

/// Unread extents that are printed.
const SHOWN: usize = 10;

enum Target {
    File(NewFile),
    Stdout,
}

/// Exports, and prints what was written.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let stack = arguments.stack.open()?;
    let volume = stack.volume(&arguments.volume)?;
    let told = stack.told(&arguments.volume);
    let held = stack
        .images()
        .iter()
        .fold(Bytes::ZERO, |sum, image| sum + image.len());
    if volume.len().0 > held.0.saturating_mul(MOST_TIMES) {
        bail!(
            "{} is said to have {}, and all images together have {}: its text is wrong, or is not of these disks; \
             nothing is written",
            arguments.volume,
            volume.len(),
            held
        );
    }
    let path = arguments.output.display().to_string();
    let map = map_path(&arguments.output);
    let mut target = match path.as_str() {
        "-" if common.json => bail!("--json and an image cannot both go to standard output"),
        "-" if !holes_within(&*volume, MOST_HASHED_HOLES) => bail!(
            "{} is {} of almost nothing, which is too much to print; name a file, which will be sparse",
            arguments.volume,
            volume.len()
        ),
        "-" => Target::Stdout,
        _ => Target::File(NewFile::begin(&arguments.output, &stack.images())?),
    };
    // Whether anything will be unread is not known yet; and a map that lies there now would be taken for this image's.
    let gaps = match &target {
        Target::File(_) => Some(NewFile::begin(&map, &stack.images())?),
        Target::Stdout => None,
    };
    let grants = match &target {
        // The map lies in the same folder.
        Target::File(file) => file.grants(),
        Target::Stdout => Grants::none(),
    };
    confine(grants, common);
    let length = volume.len();
    if let Target::File(file) = &mut target {
        // A file system that has no files of that length says so before the work.
        file.file()
            .set_len(length.0)
            .with_context(|| path.clone())?;
    }
    say(&told);
    let bar = Bar::new(common);
    bar.begin("exporting", volume.len().0);
    let streamed = stream(&*volume, &mut |run| {
        write(&mut target, run)?;
        bar.advance(match run {
            Run::Data(bytes) => bytes.len() as u64,
            Run::Hole(length) => length.0,
        });
        Ok(())
    });
    // Of all that is printed this is the one that is of no use cut.
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if streamed.as_ref().is_err_and(closed) {
        bail!(
            "standard output was closed before all of {} was written",
            arguments.volume
        );
    }
    let streamed = streamed.with_context(|| path.clone())?;
    let (unread, sha256) = (streamed.gaps.extents(), streamed.sha256);
    // First: an image should at no time stand there without its gaps. But hours of work do not go with a map.
    let gaps = gaps.filter(|_| !unread.is_empty());
    let mapped =
        gaps.map(|gaps| write_map(gaps, length, unread).map(|()| map.display().to_string()));
    match target {
        Target::File(file) => file.finish()?,
        // What stays in the buffer is written at exit, where nobody hears of a full disk.
        Target::Stdout => std::io::stdout().flush().context("standard output")?,
    }
    let mapped = mapped
        .transpose()
        .with_context(|| format!("{path} is written, but not the map of its gaps"))?;
    bar.end();
    tell_unread(&arguments.volume, length, unread, mapped.as_deref());
    if common.json {
        #[derive(serde::Serialize)]
        struct Document<'a> {
            volume: &'a str,
            size: Bytes,
            sha256: Option<&'a str>,
            unread: &'a [Extent],
            /// The map beside the image that lists them.
            map: Option<&'a str>,
            notes: &'a [String],
            doubts: &'a [String],
        }
        let document = Document {
            volume: &arguments.volume,
            size: volume.len(),
            sha256: sha256.as_deref(),
            unread,
            map: mapped.as_deref(),
            notes: &told.notes,
            doubts: &told.doubts,
        };
        super::output::json("export", &document)?;
    } else {
        match sha256 {
            Some(sha256) => eprintln!("disinter: {sha256}  {}", arguments.volume),
            None => eprintln!(
                "disinter: {}: no checksum was taken: more than {MOST_HASHED_HOLES} of it are holes",
                arguments.volume
            ),
        }
    }
    Ok(Outcome::of(told.doubts.is_empty(), !unread.is_empty()))
}

/// What could not be read, on standard error.
fn tell_unread(volume: &str, length: Bytes, unread: &[Extent], map: Option<&str>) {
    if unread.is_empty() {
        return;
    }
    let lost = unread.iter().fold(Bytes::ZERO, |sum, e| sum + e.length);
    eprintln!(
        "disinter: {volume}: {lost} of {length} are on no disk here or could not be read; zeros stand in their place:"
    );
    for extent in unread.iter().take(SHOWN) {
        eprintln!("disinter:   bytes {extent}");
    }
    if unread.len() > SHOWN {
        eprintln!("disinter:   and {} more extents", unread.len() - SHOWN);
    }
    if let Some(map) = map {
        eprintln!("disinter: {map} lists them as ddrescue does; keep it beside the image");
    }
}

/// Where an image's map is looked for.
fn map_path(image: &Path) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(".map");
    path.into()
}

/// Writes the map of an image of which `unread` could not be read.
fn write_map(mut file: NewFile, length: Bytes, unread: &[Extent]) -> Result<(), CaseError> {
    let all = [Extent::new(Bytes::ZERO, length)];
    let map = RescueMap::of(length, &all).after(&all, unread);
    file.write(map.to_text().as_bytes())?;
    file.finish()
}

/// Blocks of zeros become holes of a file.
fn write(target: &mut Target, run: Run<'_>) -> std::io::Result<()> {
    match (target, run) {
        (Target::File(file), Run::Data(block)) if block.iter().any(|b| *b != 0) => {
            file.file().write_all(block)
        }
        (Target::File(file), Run::Data(block)) => skip(file, block.len() as u64),
        (Target::File(file), Run::Hole(length)) => skip(file, length.0),
        (Target::Stdout, Run::Data(block)) => std::io::stdout().lock().write_all(block),
        (Target::Stdout, Run::Hole(length)) => {
            let zeros = std::io::Read::take(std::io::repeat(0), length.0);
            std::io::copy(&mut { zeros }, &mut std::io::stdout().lock()).map(|_| ())
        }
    }
}

fn skip(file: &mut NewFile, length: u64) -> std::io::Result<()> {
    let length = i64::try_from(length).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
    file.file().seek(SeekFrom::Current(length)).map(|_| ())
}
