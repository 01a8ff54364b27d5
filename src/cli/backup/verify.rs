//! `disinter backup verify`: whether what was kept is still there, and whether the disks are those of before.

use super::super::output::{self, Table};
use super::super::progress::Bar;
use super::super::{Common, Outcome, confine, images_of};
use super::LIST;
use anyhow::{Context, bail};
use disinter::evidence::backup::{
    BackupManifest, BackupSource, Kept, Proven, State, compare, hashes, prove, what_is,
};
use disinter::evidence::case::refuse_streams;
use disinter::evidence::confine::Grants;
use disinter::evidence::verify;
use disinter::image::progress::Progress;
use disinter::image::{Image, ImageSpec, Part, Reading, Source};
use disinter::inputs;
use disinter::units::{Bytes, Extent};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Serialize)]
struct Row {
    image: String,
    #[serde(flatten)]
    extent: Extent,
    what: Vec<String>,
    /// What is kept; nothing where that was not to be compared.
    was: Option<String>,
    #[serde(flatten)]
    state: State,
}

/// A disk that was looked at.
#[derive(Serialize)]
struct Disk {
    image: String,
    path: PathBuf,
    /// The places outside of what was kept.
    proofs: Proven,
    /// All bytes outside of what was kept, where they were hashed then.
    rest: Option<Rest>,
}

/// How the bytes outside of what was kept compare with those of then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rest {
    Same,
    Changed,
    /// Not all of them can be read.
    Unreadable,
}

#[derive(Serialize)]
struct Document {
    extents: Vec<Row>,
    disks: Vec<Disk>,
}

/// Compares and prints.
pub(super) fn run(folder: &Path, images: &[PathBuf], common: Common) -> anyhow::Result<Outcome> {
    let report = verify::verify(folder)?;
    if !report.is_sound() {
        bail!(
            "{}: the backup itself is damaged; see `disinter case verify {}`",
            folder.display(),
            folder.display()
        );
    }
    let text = verify::read_file(folder, LIST)
        .with_context(|| format!("{}: is no backup's folder", folder.display()))?;
    let list: BackupManifest = serde_json::from_slice(&text)
        .with_context(|| format!("{}: is no list of a backup", folder.join(LIST).display()))?;
    let opened = open_sources(&list, images)?;
    confine(Grants::none().read(folder), common);
    let mut document = Document {
        extents: Vec::new(),
        disks: Vec::new(),
    };
    let rests = rests(&list, &opened, common);
    for source in &list.sources {
        let image = opened.iter().find(|of| of.source.name == source.name);
        let Some(Opened { image, serial, .. }) = image else {
            document.extents.extend(not_looked_at(&list, source));
            continue;
        };
        let rows = rows(folder, &list, source, image)?;
        let proofs = prove(&**image, &source.proofs);
        let changed = !proofs.changed.is_empty() || rows.iter().any(|r| is_changed(&r.state));
        if changed {
            is_another(folder, &list, (source, &proofs), (image, serial.as_deref()))?;
        }
        document.extents.extend(rows);
        document.disks.push(Disk {
            image: source.name.clone(),
            path: image.path().to_owned(),
            proofs,
            rest: rests.get(&*source.path).copied(),
        });
    }
    document.extents.extend(list.unread.iter().map(|lost| Row {
        image: lost.image.clone(),
        extent: lost.extent,
        what: Vec::new(),
        was: None,
        state: State::NeverKept,
    }));
    let rows = || document.extents.iter().map(|r| &r.state);
    let proofs = || document.disks.iter().map(|d| &d.proofs);
    let is_rest = |rest| document.disks.iter().any(|d| d.rest == Some(rest));
    let changed =
        rows().any(is_changed) || proofs().any(|p| !p.changed.is_empty()) || is_rest(Rest::Changed);
    let gaps = rows().any(State::is_gap)
        || proofs().any(|p| !p.unread.is_empty())
        || is_rest(Rest::Unreadable);
    match common.json {
        true => output::json("backup verify", &document)?,
        false => output::page(&page(&document))?,
    }
    Ok(Outcome::of(!changed, gaps))
}

/// Reads all of each disk whose other bytes were hashed when the backup was taken, by where it lay then.
fn rests<'a>(
    list: &'a BackupManifest,
    opened: &[Opened<'a>],
    common: Common,
) -> BTreeMap<&'a Path, Rest> {
    let hashed: BTreeMap<&Path, (&str, &Image)> = opened
        .iter()
        .filter_map(|of| {
            let before = of.source.rest_sha256.as_deref()?;
            Some((&*of.source.path, (before, &*of.image)))
        })
        .collect();
    let bar = Bar::new(common);
    let total = hashed.values().map(|(_, image)| image.len().0).sum();
    bar.begin("hashing the rest", total);
    let rest = |(path, (before, image)): (&'a Path, (&str, &Image))| {
        // Of two parts of one image, what is kept of the one is no rest of the other.
        let is_on = |name: &str| {
            list.sources
                .iter()
                .any(|s| s.name == name && s.path == path)
        };
        let now = hashes(image, &list.taken_of(is_on), &|n| bar.advance(n)).rest;
        let rest = match now {
            Some(now) if now == before => Rest::Same,
            Some(_) => Rest::Changed,
            None => Rest::Unreadable,
        };
        (path, rest)
    };
    let rests = hashed.into_iter().map(rest).collect();
    bar.end();
    rests
}

fn is_changed(state: &State) -> bool {
    matches!(state, State::Changed { .. })
}

fn extents_of<'a>(
    list: &'a BackupManifest,
    source: &'a BackupSource,
) -> impl Iterator<Item = &'a Kept> {
    list.extents.iter().filter(|k| k.image == source.name)
}

fn not_looked_at<'a>(
    list: &'a BackupManifest,
    source: &'a BackupSource,
) -> impl Iterator<Item = Row> + 'a {
    extents_of(list, source).map(|kept| Row {
        image: kept.image.clone(),
        extent: kept.extent,
        what: kept.what.clone(),
        was: None,
        state: State::NotLookedAt,
    })
}

fn rows(
    folder: &Path,
    list: &BackupManifest,
    source: &BackupSource,
    image: &Image,
) -> anyhow::Result<Vec<Row>> {
    let row = |kept: &Kept| {
        let bytes = verify::read_file(folder, &kept.file)?;
        Ok(Row {
            image: kept.image.clone(),
            extent: kept.extent,
            what: kept.what.clone(),
            was: Some(what_is(&bytes)),
            state: compare(image, kept.extent, &bytes),
        })
    };
    extents_of(list, source).map(row).collect()
}

/// Fails where an image that differs is not the disk that it was taken for: its serial number is the best proof that it
/// is, another disk's bytes the best that it is not.
fn is_another(
    folder: &Path,
    list: &BackupManifest,
    (source, proofs): (&BackupSource, &Proven),
    (image, serial): (&Image, Option<&str>),
) -> anyhow::Result<()> {
    if source.serial.is_some() && source.serial.as_deref() == serial {
        return Ok(());
    }
    let path = image.path().display();
    let others = list.sources.iter().filter(|s| s.path != source.path);
    for other in others.filter(|s| s.size == image.len()) {
        let proven = prove(image, &other.proofs);
        let mut fits = proven.changed.is_empty() && proven.unread.is_empty();
        let mut telling = proven.telling > 0;
        for kept in extents_of(list, other) {
            if !fits {
                break;
            }
            let bytes = verify::read_file(folder, &kept.file)?;
            fits = compare(image, kept.extent, &bytes) == State::Same;
            telling |= !disinter::parse::is_blank(&bytes);
        }
        if fits && telling {
            bail!(
                "{path}: is not {} but {}, as that was: it is another disk; say {}={path}",
                source.name,
                other.name,
                other.name
            );
        }
    }
    if proofs.is_none_left() {
        bail!(
            "{path}: none of the places outside of what was kept is as it was on {}: it is another disk, or all of it was written over",
            source.name
        );
    }
    Ok(())
}

/// A disk of a backup, open.
struct Opened<'a> {
    source: &'a BackupSource,
    image: Arc<Image>,
    /// Its serial number; asked for before the kernel allows nothing but the backup's folder.
    serial: Option<String>,
}

/// The disks of a backup: those named, as `NAME=PATH` or by their names, or those that are where they were.
fn open_sources<'a>(
    list: &'a BackupManifest,
    images: &[PathBuf],
) -> anyhow::Result<Vec<Opened<'a>>> {
    let mut said: Vec<(PathBuf, Vec<&BackupSource>)> = Vec::new();
    let mut say = |path: PathBuf, source: Option<&'a BackupSource>| {
        // Two parts of one image lie on one.
        match said.iter_mut().find(|(earlier, _)| *earlier == path) {
            Some((_, sources)) => sources.extend(source),
            None => said.push((path, source.into_iter().collect())),
        }
    };
    for image in images {
        match named(list, image) {
            Some((source, path)) => say(path, Some(source)),
            None => say(image.clone(), None),
        }
    }
    if images.is_empty() {
        let there = list.sources.iter().filter(|s| s.path.exists());
        there.for_each(|source| say(source.path.clone(), Some(source)));
    }
    if said.is_empty() {
        bail!("none of the disks is where it was; name them behind the folder: NAME=PATH");
    }
    let spec = |(path, _): &(PathBuf, _)| ImageSpec {
        path: path.clone(),
        part: Part::Whole,
    };
    let specs: Vec<ImageSpec> = said.iter().map(spec).collect();
    let inputs = inputs::open_all(&specs, &Reading::default())?;
    refuse_streams(&images_of(&inputs))?;
    let mut opened: Vec<Opened<'_>> = Vec::new();
    for ((_, mut sources), input) in said.into_iter().zip(inputs) {
        if sources.is_empty() {
            sources = by_name(list, &input.name, input.image.path())?;
        }
        for source in sources {
            if opened.iter().any(|other| other.source.name == source.name) {
                bail!("{} is named twice", source.name);
            }
            let of = Opened {
                source,
                image: input.image.clone(),
                serial: input.image.serial(),
            };
            is_as_before(&of)?;
            opened.push(of);
        }
    }
    Ok(opened)
}

/// `NAME=PATH`, where NAME is in the backup.
fn named<'a>(list: &'a BackupManifest, image: &Path) -> Option<(&'a BackupSource, PathBuf)> {
    let text = image.as_os_str().as_bytes();
    list.sources.iter().find_map(|source| {
        let rest = text.strip_prefix(source.name.as_bytes())?;
        let path = rest.strip_prefix(b"=")?;
        Some((source, PathBuf::from(OsStr::from_bytes(path))))
    })
}

/// The sources of an image by its name, else by where it lies; several where parts of it were kept.
fn by_name<'a>(
    list: &'a BackupManifest,
    name: &str,
    path: &Path,
) -> anyhow::Result<Vec<&'a BackupSource>> {
    let path = std::path::absolute(path).unwrap_or_default();
    let part = |s: &&BackupSource| {
        s.name
            .strip_prefix(name)
            .is_some_and(|p| p.starts_with('@'))
    };
    let ways: [&dyn Fn(&&BackupSource) -> bool; 3] =
        [&|s| s.name == name, &part, &|s| s.path == path];
    let found = ways
        .iter()
        .map(|way| list.sources.iter().filter(way).collect());
    let found = found.into_iter().find(|found: &Vec<_>| !found.is_empty());
    found.with_context(|| {
        let names: Vec<&str> = list.sources.iter().map(|s| s.name.as_str()).collect();
        format!(
            "{name} is not in this backup; it has {}: say NAME=PATH",
            names.join(", ")
        )
    })
}

/// What of a disk does not change by what is written to it.
fn is_as_before(opened: &Opened<'_>) -> anyhow::Result<()> {
    let Opened {
        source,
        image,
        serial,
    } = opened;
    let (path, name) = (image.path().display(), &source.name);
    if source.size != image.len() {
        bail!(
            "{path}: has {} bytes, {name} had {}; it is another disk",
            image.len().0,
            source.size.0
        );
    }
    match (&source.serial, serial) {
        (Some(before), Some(now)) if before != now => {
            bail!("{path}: has serial number {now}, {name} had {before}; it is another disk")
        }
        _ => Ok(()),
    }
}

fn page(document: &Document) -> String {
    let rows = &document.extents;
    let same = rows.iter().filter(|r| r.state == State::Same).count();
    let mut page = format!("{same} of {} extents are the same.\n", rows.len());
    let mut table = Table::new(&["disk", "byte", "bytes", "state", "differing"]).right(&[1, 2, 4]);
    let mut details = String::new();
    let mut away: Vec<(&str, Bytes)> = Vec::new();
    for row in rows {
        let (state, differing) = match &row.state {
            State::Same => continue,
            // One line a disk.
            State::NotLookedAt => {
                match away.last_mut() {
                    Some((image, bytes)) if *image == row.image => {
                        *bytes = *bytes + row.extent.length;
                    }
                    _ => away.push((&row.image, row.extent.length)),
                }
                continue;
            }
            State::Changed {
                differing_bytes,
                now,
                unread,
                ..
            } => {
                let was = row.was.as_deref().unwrap_or_default();
                details.push_str(&format!("{}, byte {}\n", row.image, row.extent.offset.0));
                details.push_str(&format!("  was: {was}\n  is:  {now}\n"));
                let state = match unread.is_empty() {
                    true => "CHANGED",
                    false => "CHANGED, and parts UNREADABLE",
                };
                (state, differing_bytes.to_string())
            }
            State::Unreadable { extents } => {
                let bytes = extents.iter().fold(Bytes::ZERO, |sum, e| sum + e.length);
                let state = match bytes < row.extent.length {
                    true => "the same where it can be read; parts UNREADABLE",
                    false => "UNREADABLE",
                };
                (state, String::new())
            }
            State::NeverKept => ("NEVER KEPT: could not be read then", String::new()),
        };
        table.row([
            row.image.clone(),
            row.extent.offset.0.to_string(),
            row.extent.length.0.to_string(),
            state.to_owned(),
            differing,
        ]);
    }
    for (image, bytes) in away {
        let (bytes, state) = (bytes.0.to_string(), "NOT LOOKED AT".to_owned());
        table.row([image.to_owned(), String::new(), bytes, state, String::new()]);
    }
    if same < rows.len() {
        page.push_str(&table.render(2));
        page.push_str(&details);
    }
    for disk in &document.disks {
        let Proven {
            same,
            changed,
            unread,
            ..
        } = &disk.proofs;
        let all = same + changed.len() + unread.len();
        if !changed.is_empty() {
            page.push_str(&format!(
                "{}: {} of {all} places outside of what was kept differ: more has changed, or it is another disk\n",
                disk.image,
                changed.len()
            ));
        }
        if !unread.is_empty() {
            page.push_str(&format!(
                "{}: {} of {all} places outside of what was kept cannot be read\n",
                disk.image,
                unread.len()
            ));
        }
    }
    page
}
