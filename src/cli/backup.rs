//! `disinter backup`: what a later step would overwrite, kept, and compared with what is there.

mod verify;

use super::investigate::can_hash;
use super::output;
use super::progress::Bar;
use super::{Common, Images, Outcome, confine, images_of, unread_of};
use anyhow::{Context, bail};
use disinter::evidence::backup::{self, BackupManifest, BackupSource, Kept, Lost};
use disinter::evidence::case::{Case, InputRow, Manifest, now};
use disinter::evidence::places::{self, FRONT};
use disinter::image::progress::Progress;
use disinter::image::{ImageSpec, MOST_HASHED_HOLES, Part, Source};
use disinter::inputs::{self, Input};
use disinter::script::restore;
use disinter::units::{Bytes, Extent};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The backup's own list, in its folder.
const LIST: &str = "backup.json";

/// KiB of a front that can be kept: more is a copy, and ddrescue makes better ones.
const MOST_FRONT: u64 = 16 << 10;

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
    /// KiB of the front of each disk and partition, up to 16384, besides all
    /// places of metadata
    #[arg(long, value_name = "KIB", default_value_t = FRONT.0 >> 10,
          value_parser = clap::value_parser!(u64).range(..=MOST_FRONT))]
    front: u64,
    /// More to keep: bytes that a later step will write though no table and no
    /// superblock tells of them; 60-real-disks.sh says which
    #[arg(long, value_name = "IMAGE@OFFSET+LENGTH")]
    keep: Vec<String>,
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
        /// The disks: NAME=PATH, NAME as the backup has it, or a file of that
        /// name; else where they were when the backup was taken
        #[arg(value_name = "IMAGE")]
        images: Vec<PathBuf>,
    },
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    match &arguments.command {
        Some(Command::Verify { folder, images }) => verify::run(folder, images, common),
        None => take(arguments, common),
    }
}

fn take(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let Some(folder) = &arguments.output else {
        bail!("-o DIR: name the folder to write");
    };
    let started = now();
    let inputs = arguments.images.open()?;
    let endless = |input: &&Input| arguments.rest && !can_hash(&*input.image);
    if let Some(input) = inputs.iter().find(endless) {
        bail!(
            "{}: has more than {MOST_HASHED_HOLES} of holes; to hash those would take years: leave --rest away",
            input.image.path().display()
        );
    }
    let more = asked(&arguments.keep, &inputs)?;
    let mut case = Case::begin(folder, &images_of(&inputs))?;
    let serials: Vec<Option<String>> = inputs.iter().map(|i| i.image.serial()).collect();
    let confinement = confine(case.grants(), common);
    let slices = inputs::slices(&inputs);
    let front = Bytes::kib(arguments.front);
    let mut list = BackupManifest {
        schema: "disinter/backup/1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken: started.clone(),
        sources: Vec::new(),
        extents: Vec::new(),
        unread: Vec::new(),
    };
    for place in places::places(&inputs, &slices, &more, front) {
        if let Some(input) = inputs.get(place.input) {
            keep(&mut case, &mut list, input, place)?;
        }
    }
    let hashes = add_sources(&mut list, &inputs, serials, arguments.rest, common);
    case.write("restore.sh", restore::write(&list)?.as_bytes(), true)?;
    let mut text = serde_json::to_vec_pretty(&list)?;
    text.push(b'\n');
    case.write(LIST, &text, false)?;
    let rows = inputs.iter().zip(hashes).map(|(input, sha256)| InputRow {
        name: input.name.clone(),
        path: std::path::absolute(input.image.path()).unwrap_or_default(),
        size: input.image.len(),
        sha256,
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
    let unproven = |s: &&BackupSource| arguments.rest && s.rest_sha256.is_none();
    for source in list.sources.iter().filter(unproven) {
        page.push_str(&format!(
            "NO HASH OF THE REST: {}, parts of it cannot be read\n",
            source.name
        ));
    }
    page.push_str(&format!(
        "To compare:   disinter backup verify {0}\nTo put back:  read {0}/restore.sh\n",
        folder.display()
    ));
    output::page(&page)?;
    Ok(Outcome::of(true, gaps))
}

/// What a person asked to keep besides, on these images.
fn asked(keep: &[String], inputs: &[Input]) -> anyhow::Result<Vec<(usize, Extent)>> {
    let of = |asked: &String| {
        let spec: ImageSpec = asked.parse()?;
        let Part::Extent(extent) = spec.part else {
            bail!("--keep {asked}: expected IMAGE@OFFSET+LENGTH, in bytes");
        };
        let on = |(index, input): (usize, &Input)| {
            let named = spec.path == input.image.path() || spec.path == Path::new(&input.name);
            let inside = extent
                .relative_to(input.offset)
                .filter(|e| e.end() <= input.source.len());
            named.then_some((index, inside?))
        };
        let found = inputs.iter().enumerate().find_map(on);
        found.with_context(|| format!("--keep {asked}: lies on none of the images that are named"))
    };
    keep.iter().map(of).collect()
}

/// Writes one place as a file; in several where parts of it cannot be read.
fn keep(
    case: &mut Case,
    list: &mut BackupManifest,
    input: &Input,
    place: places::Place,
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

/// Adds the images, and gives the SHA-256 of all of each where that was asked for.
fn add_sources(
    list: &mut BackupManifest,
    inputs: &[Input],
    serials: Vec<Option<String>>,
    rest: bool,
    common: Common,
) -> Vec<Option<String>> {
    let bar = Bar::new(common);
    let total = inputs.iter().map(|i| i.image.len().0).sum();
    bar.begin("hashing", if rest { total } else { 0 });
    let mut all: Vec<Option<String>> = Vec::new();
    for (input, serial) in inputs.iter().zip(serials) {
        // Of two parts of one image, what is kept of the one is no proof of the other: both are written.
        let one = |i: &&Input| i.image.identity() == input.image.identity();
        let of = |image: &str| inputs.iter().filter(one).any(|i| i.name == image);
        let path = inputs
            .iter()
            .find(one)
            .map_or(input.image.path(), |i| i.image.path());
        let taken = list.taken_of(of);
        let path = std::path::absolute(path).unwrap_or_default();
        let earlier = list.sources.iter().position(|s| s.path == path);
        let earlier = earlier.and_then(|at| {
            list.sources
                .get(at)?
                .rest_sha256
                .clone()
                .zip(all.get(at).cloned())
        });
        let (rest_sha256, whole) = match (rest, earlier) {
            (false, _) => (None, None),
            // Another part of the same image.
            (true, Some((rest, whole))) => {
                bar.advance(input.image.len().0);
                (Some(rest), whole)
            }
            (true, None) => {
                let hashes = backup::hashes(&*input.image, &taken, &|n| bar.advance(n));
                (hashes.rest, Some(hashes.whole))
            }
        };
        all.push(whole);
        list.sources.push(BackupSource {
            name: input.name.clone(),
            path,
            size: input.image.len(),
            serial,
            proofs: backup::proofs(&*input.image, &taken),
            rest_sha256,
        });
    }
    bar.end();
    all
}
