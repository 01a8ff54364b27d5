//! `disinter backup`: what a later step would overwrite, kept, and compared with what is there.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Images, Outcome, confine, images_of, unread_of};
use anyhow::{Context, bail};
use disinter::evidence::backup::{
    self, BackupManifest, BackupSource, FRONT, Kept, Lost, State, compare, what_is,
};
use disinter::evidence::case::{Case, InputRow, Manifest, now};
use disinter::evidence::confine::Grants;
use disinter::evidence::verify;
use disinter::image::progress::Progress;
use disinter::image::{Image, ImageSpec, Part, Reading, Source};
use disinter::inputs::{self, Input};
use disinter::script::restore;
use disinter::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The backup's own list, in its folder.
const LIST: &str = "backup.json";

/// A list of extents is kilobytes; more than this is none.
const LARGEST_LIST: u64 = 64 << 20;

/// What to keep, or which backup to look at.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    images: Images,
    /// The folder to write; must not exist, or be empty
    #[arg(long, short, value_name = "DIR", required = true)]
    output: Option<PathBuf>,
    /// KiB of the front of each disk and partition, besides all places of
    /// metadata
    #[arg(long, value_name = "KIB", default_value_t = FRONT.0 >> 10)]
    front: u64,
    /// Hash all other bytes too, so that restore.sh can show that nothing else
    /// has changed; reads the whole disks
    #[arg(long)]
    rest: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Whether each extent is the same now, changed, or unreadable
    Verify {
        /// The backup's folder
        folder: PathBuf,
        /// The disks; else where they were when the backup was taken
        #[arg(value_name = "IMAGE")]
        images: Vec<PathBuf>,
    },
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    match &arguments.command {
        Some(Command::Verify { folder, images }) => verify_backup(folder, images, common),
        None => take(arguments, common),
    }
}

fn take(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let Some(folder) = &arguments.output else {
        bail!("-o DIR: name the folder to write");
    };
    let started = now();
    let inputs = arguments.images.open()?;
    let mut case = Case::begin(folder, &images_of(&inputs))?;
    let serials: Vec<Option<String>> = inputs.iter().map(|i| serial(&i.image)).collect();
    let confinement = confine(case.grants(), common);
    let slices = inputs::slices(&inputs);
    let front = Bytes::kib(arguments.front.min(16 << 10));
    let mut list = BackupManifest {
        schema: "disinter/backup/1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken: started.clone(),
        sources: Vec::new(),
        extents: Vec::new(),
        unread: Vec::new(),
    };
    for place in backup::places(&inputs, &slices, front) {
        if let Some(input) = inputs.get(place.input) {
            keep(&mut case, &mut list, input, place)?;
        }
    }
    add_sources(&mut list, &inputs, serials, arguments.rest, common);
    case.write("restore.sh", restore::write(&list)?.as_bytes(), true)?;
    let mut text = serde_json::to_vec_pretty(&list)?;
    text.push(b'\n');
    case.write(LIST, &text, false)?;
    let rows = inputs.iter().map(|input| InputRow {
        name: input.name.clone(),
        path: std::path::absolute(input.image.path()).unwrap_or_default(),
        size: input.image.len(),
        sha256: None,
        unread: input.image.unread(),
    });
    case.finish(Manifest::new(started, rows.collect(), confinement))?;
    let gaps = !unread_of(&inputs).is_empty() || !list.unread.is_empty();
    if common.json {
        output::json("backup", &list)?;
        return Ok(Outcome::of(true, gaps));
    }
    let kept: u64 = list.extents.iter().map(|k| k.extent.length.0).sum();
    let mut page = format!(
        "{} extents of {} disks kept, {}, in {}\n",
        list.extents.len(),
        list.sources.len(),
        Bytes(kept),
        folder.display()
    );
    for lost in &list.unread {
        page.push_str(&format!("UNREAD: {} bytes {}\n", lost.image, lost.extent));
    }
    page.push_str(&format!(
        "To compare:   disinter backup verify {0}\nTo put back:  read {0}/restore.sh\n",
        folder.display()
    ));
    output::page(&page)?;
    Ok(Outcome::of(true, gaps))
}

/// Writes one place as a file; in several where parts of it cannot be read.
fn keep(
    case: &mut Case,
    list: &mut BackupManifest,
    input: &Input,
    place: backup::Place,
) -> anyhow::Result<()> {
    let index = place.input;
    let image = &input.name;
    let runs = backup::read_runs(&*input.image, place.extent);
    for (extent, bytes) in runs.read {
        let file = format!("extents/{index:03}-{}.bin", extent.offset.0);
        case.write(&file, &bytes, false)?;
        list.extents.push(Kept {
            file,
            image: image.clone(),
            extent,
            sha256: hex::encode(Sha256::digest(&bytes)),
            what: place.what.clone(),
        });
    }
    list.unread.extend(runs.lost.into_iter().map(|extent| Lost {
        image: image.clone(),
        extent,
    }));
    Ok(())
}

fn add_sources(
    list: &mut BackupManifest,
    inputs: &[Input],
    serials: Vec<Option<String>>,
    rest: bool,
    common: Common,
) {
    let bar = Bar::new(common);
    let total = inputs.iter().map(|i| i.image.len().0).sum();
    bar.begin("hashing", if rest { total } else { 0 });
    for (input, serial) in inputs.iter().zip(serials) {
        let of = |image: &String| *image == input.name;
        let kept = list.extents.iter().filter(|k| of(&k.image));
        let lost = list.unread.iter().filter(|l| of(&l.image));
        let taken: Vec<Extent> = kept
            .map(|k| k.extent)
            .chain(lost.map(|l| l.extent))
            .collect();
        list.sources.push(BackupSource {
            name: input.name.clone(),
            path: std::path::absolute(input.image.path()).unwrap_or_default(),
            size: input.image.len(),
            serial,
            proofs: backup::proofs(&*input.image, &taken),
            rest_sha256: match rest {
                true => backup::rest(&*input.image, &taken, &|n| bar.advance(n)),
                false => None,
            },
        });
    }
    bar.end();
}

/// A disk's serial number as the system tells it; a partition has its disk's.
fn serial(image: &Image) -> Option<String> {
    if !image.is_device() {
        return None;
    }
    let number = std::fs::metadata(image.path()).ok()?.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let entry = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let files = ["serial", "device/serial", "../serial", "../device/serial"];
    let text = files
        .iter()
        .find_map(|f| std::fs::read_to_string(entry.join(f)).ok())?;
    let text: String = text.chars().filter(|c| c.is_ascii_graphic()).collect();
    (!text.is_empty()).then_some(text)
}

#[derive(Serialize)]
struct Row {
    image: String,
    #[serde(flatten)]
    extent: Extent,
    what: Vec<String>,
    was: String,
    #[serde(flatten)]
    state: State,
}

fn verify_backup(folder: &Path, images: &[PathBuf], common: Common) -> anyhow::Result<Outcome> {
    let report = verify::verify(folder)?;
    if !report.is_sound() {
        bail!(
            "{}: the backup itself is damaged; see `disinter case verify {}`",
            folder.display(),
            folder.display()
        );
    }
    let list: BackupManifest = read_list(&folder.join(LIST))?;
    let opened = open_sources(&list, images)?;
    confine(Grants::none().read(folder), common);
    let mut rows = Vec::new();
    for kept in &list.extents {
        let Some((_, image)) = opened.iter().find(|(name, _)| *name == kept.image) else {
            continue;
        };
        let bytes = verify::read_file(folder, &kept.file)?;
        rows.push(Row {
            image: kept.image.clone(),
            extent: kept.extent,
            what: kept.what.clone(),
            state: compare(&**image, kept.extent, &bytes),
            was: what_is(&bytes),
        });
    }
    let changed = rows
        .iter()
        .any(|r| matches!(r.state, State::Changed { .. }));
    let gaps = rows
        .iter()
        .any(|r| matches!(r.state, State::Unreadable { .. }));
    let outcome = Outcome::of(!changed, gaps);
    if common.json {
        #[derive(Serialize)]
        struct Document {
            extents: Vec<Row>,
        }
        output::json("backup verify", &Document { extents: rows })?;
        return Ok(outcome);
    }
    output::page(&page(&rows))?;
    Ok(outcome)
}

fn read_list(path: &Path) -> anyhow::Result<BackupManifest> {
    use std::io::Read;
    let name = || path.display().to_string();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(name)?;
    file.take(LARGEST_LIST)
        .read_to_string(&mut text)
        .with_context(name)?;
    serde_json::from_str(&text).with_context(|| format!("{}: is no list of a backup", name()))
}

/// The disks of a backup: those named, by their names, or those that are where they were.
fn open_sources(
    list: &BackupManifest,
    images: &[PathBuf],
) -> anyhow::Result<Vec<(String, Arc<Image>)>> {
    let paths: Vec<PathBuf> = match images {
        [] => list.sources.iter().map(|s| s.path.clone()).collect(),
        images => images.to_vec(),
    };
    let specs: Vec<ImageSpec> = paths
        .into_iter()
        .filter(|path| !images.is_empty() || path.exists())
        .map(|path| ImageSpec {
            path,
            part: Part::Whole,
        })
        .collect();
    if specs.is_empty() {
        bail!("none of the disks is where it was; name them behind the folder");
    }
    let mut opened = Vec::new();
    for input in inputs::open_all(&specs, &Reading::default())? {
        let path = std::path::absolute(input.image.path()).unwrap_or_default();
        let by_path = |s: &&BackupSource| images.is_empty() && s.path == path;
        let source = list.sources.iter().find(by_path);
        let source = source.or_else(|| list.sources.iter().find(|s| s.name == input.name));
        let Some(source) = source else {
            let names: Vec<&str> = list.sources.iter().map(|s| s.name.as_str()).collect();
            bail!(
                "{} is not in this backup; it has {}",
                input.name,
                names.join(", ")
            );
        };
        if source.size != input.image.len() {
            bail!(
                "{}: has {} bytes, {} had {}; it is another disk",
                input.image.path().display(),
                input.image.len().0,
                source.name,
                source.size.0
            );
        }
        opened.push((source.name.clone(), input.image.clone()));
    }
    Ok(opened)
}

fn page(rows: &[Row]) -> String {
    let same = rows.iter().filter(|r| r.state == State::Same).count();
    let mut page = format!("{same} of {} extents are the same.\n", rows.len());
    let mut table = Table::new(&["disk", "byte", "bytes", "state", "differing"]).right(&[1, 2, 4]);
    let mut details = String::new();
    for row in rows.iter().filter(|r| r.state != State::Same) {
        let (state, differing) = match &row.state {
            State::Same => continue,
            State::Changed {
                differing_bytes,
                now,
                ..
            } => {
                details.push_str(&format!("{}, byte {}\n", row.image, row.extent.offset.0));
                details.push_str(&format!("  was: {}\n  is:  {now}\n", row.was));
                ("CHANGED", differing_bytes.to_string())
            }
            State::Unreadable { .. } => ("UNREADABLE", String::new()),
        };
        table.row([
            row.image.clone(),
            row.extent.offset.0.to_string(),
            row.extent.length.0.to_string(),
            state.to_owned(),
            differing,
        ]);
    }
    if same < rows.len() {
        page.push_str(&table.render(2));
        page.push_str(&details);
    }
    page
}
