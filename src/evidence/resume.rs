//! How far a long run has come, kept beside the case that it will become.
//!
//! A pass over large disks takes days and rescue machines lose power. Every
//! few seconds the states of all scans are written to the folder `CASE.resume`, put
//! in their place whole; a later run with `--resume` goes on from there. The
//! folder goes away when the case stands.
//!
//! It is a folder of its own, as Landlock can grant no less than all below one,
//! and before Linux 5.19 lets nobody move a file from one to another.
//!
//! With the states goes what each image is known by then to be unread at: no
//! later read goes there. Of a device that went away for a time that is not
//! all that a state has gaps at: what it did not give then it may give now.
//!
//! Letters move, and an image goes on under another name and in another place
//! of the list where a serial number says that it is the same, or its file was
//! not written to since.
//!
//! An image whose ddrescue map has changed since is read from its start: what
//! was unread then is data now, and the hash so far is not the image's. The
//! others go on.

use super::FileError;
use super::case::Case;
use super::confine::Porter;
use super::ground::is_mount_point;
use super::newfile::parent_of;
use crate::file::read_small;
use crate::image::{Image, Source, read_vec};
use crate::inputs::Input;
use crate::scan::state::{Keeper, State};
use crate::units::{Bytes, Extent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often states are written: what a power cut costs.
const EVERY: Duration = Duration::from_secs(5);

/// The version of the file's form.
const FORM: u32 = 3;

/// The states' file in their folder.
const FILE: &str = "state.json";

/// What a file is called until it is whole.
const UNFINISHED: &str = ".disinter-";

/// States of some hundred disks with all that was found; more than this is none.
const LARGEST: u64 = 1 << 30;

/// Pieces of an image's start by which it is known again, and the length of one.
const PIECES: u64 = 16;
const PIECE: Bytes = Bytes(4096);

/// Why a run cannot go on from where another stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// An earlier run was cut short, and nothing was said of it.
    #[error("{}: an earlier run was cut short after {done}; add --resume to go on from there, or remove that folder to begin anew", .path.display())]
    CutShort {
        /// The folder that it left.
        path: PathBuf,
        /// Bytes that it had read.
        done: Bytes,
    },
    /// The earlier run was over other images.
    #[error("{}: was left by a run over other images ({why}); give the same images, one that has another name now by a symbolic link of its old name, or remove that folder to begin anew", .path.display())]
    OtherImages {
        /// The folder.
        path: PathBuf,
        /// What is different.
        why: String,
    },
    /// What stands there is not ours, or not whole.
    #[error("{}: cannot be understood ({why}); remove it to begin anew", .path.display())]
    NotOurs {
        /// What stands there.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// What an image is known again by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    name: String,
    length: Bytes,
    /// A device's serial number, where the system tells it.
    serial: Option<String>,
    /// When a file was last written to.
    modified: Option<String>,
    /// SHA-256 of the pieces of its first 64 KiB, then of as many spread over it; none of one that could not be read.
    front: Vec<Option<String>>,
    /// SHA-256 of what its map calls unread; none without a map.
    map: Option<String>,
}

/// The file's contents.
#[derive(Serialize, Deserialize)]
struct Kept {
    form: u32,
    images: Vec<Known>,
    states: Vec<State>,
    /// Of each image what is known to be bad.
    bad: Vec<Vec<Extent>>,
}

/// Keeps the states of a run's scans.
#[derive(Debug)]
pub struct Store {
    /// Beside the case.
    folder: PathBuf,
    /// Who may take it away.
    porter: Arc<Porter>,
    images: Vec<Known>,
    sources: Vec<Arc<Image>>,
    states: Mutex<Held>,
    /// Tells a person, once, that nothing is kept.
    tell: fn(&str),
    failed: OnceLock<String>,
    /// Images that are read from their start.
    anew: Vec<String>,
}

/// What is held between two writes.
#[derive(Debug)]
struct Held {
    states: Vec<State>,
    /// When each of them was taken: a state can be long, so it is not for every block.
    taken: Vec<Instant>,
    written: Instant,
}

impl Known {
    /// Whether something says that it is the same image, whatever it is called now.
    fn is(&self, now: &Known) -> bool {
        let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let serials = self.serial.is_some() || now.serial.is_some();
        self.name == now.name
            || equal(&self.serial, &now.serial)
            || !serials && equal(&self.modified, &now.modified)
    }

    /// Whether it, or its map, was written to since: nothing that was read then is believed.
    fn changed(&self, now: &Known) -> bool {
        let written = self.modified.as_ref().zip(now.modified.as_ref());
        self.map != now.map || written.is_some_and(|(before, now)| before != now)
    }
}

impl Store {
    /// Begins to keep states for a case; gives those of the run that is gone on with. `tell` is asked to tell a person,
    /// once, where they cannot be kept.
    ///
    /// # Errors
    /// [`ResumeError`] where a state is there that was not asked for, or one of other images.
    pub fn begin(
        case: &Case,
        inputs: &[Input],
        resume: bool,
        tell: fn(&str),
    ) -> Result<(Store, Vec<State>), ResumeError> {
        let mut path = case.folder().as_os_str().to_owned();
        path.push(".resume");
        let path = PathBuf::from(path);
        let is_there = is_there(&path)?;
        let kept = read(&path)?;
        if let (Some(kept), false) = (&kept, resume) {
            let done = kept.states.iter().fold(Bytes::ZERO, |sum, s| sum + s.at);
            return Err(ResumeError::CutShort { path, done });
        }
        let earlier = kept.as_ref().map_or(&[][..], |kept| &kept.images);
        let images: Vec<Known> = inputs.iter().map(|input| known(input, earlier)).collect();
        let mut anew = Vec::new();
        let states = match kept {
            Some(kept) => go_on(&path, kept, inputs, &images, &mut anew)?,
            None => Vec::new(),
        };
        let mut now = states.clone();
        now.resize(images.len(), State::default());
        if !is_there {
            fs::create_dir(&path).map_err(FileError::at(&path))?;
        }
        let begun = Instant::now();
        let held = Held {
            taken: vec![begun; now.len()],
            states: now,
            written: begun,
        };
        let store = Store {
            folder: path,
            porter: case.porter(),
            images,
            sources: inputs.iter().map(|input| input.image.clone()).collect(),
            states: Mutex::new(held),
            tell,
            failed: OnceLock::new(),
            anew,
        };
        Ok((store, states))
    }

    /// The images that are read from their start although an earlier run had begun: they, or their maps, were written to.
    pub fn anew(&self) -> &[String] {
        &self.anew
    }

    /// Where it is kept. All below must still be allowed by the kernel.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Why nothing was kept for a time, or for all of it.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// The case stands: what was kept is of no more use.
    pub fn finish(self) {
        // What is left is told of by the next run, and does no harm.
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == FILE || name.as_bytes().starts_with(UNFINISHED.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Writes the file and puts it in its place whole.
    fn write(&self, states: &[State]) -> io::Result<()> {
        let kept = Kept {
            form: FORM,
            images: self.images.clone(),
            states: states.to_vec(),
            bad: self.sources.iter().map(|image| image.unread()).collect(),
        };
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.folder)?;
        serde_json::to_writer(&mut file, &kept)?;
        file.flush()?;
        file.as_file().sync_data()?;
        file.into_temp_path().persist(self.folder.join(FILE))?;
        Ok(())
    }

    /// A run that cannot keep its state is still a run, but a person must know that a power cut costs all of it.
    fn fail(&self, error: &io::Error) {
        let folder = crate::parse::printable_path(&self.folder);
        let why = format!(
            "how far this run has come could not be kept in {folder}, so --resume may have nothing to go on from: {error}"
        );
        if self.failed.set(why).is_ok() {
            (self.tell)(self.failure().unwrap_or_default());
        }
    }
}

impl Drop for Store {
    /// A folder in which nothing is kept goes away.
    fn drop(&mut self) {
        let folder = self.folder.clone();
        let _ = self.porter.ask(move || fs::remove_dir(folder));
    }
}

impl Keeper for Store {
    fn keep(&self, number: usize, state: &State) {
        let Ok(mut held) = self.states.lock() else {
            return;
        };
        let Held {
            states,
            taken,
            written,
        } = &mut *held;
        // Each source by its own clock: of several devices at once none is forgotten because another one's block came
        // when it was time to write.
        if let Some((slot, taken)) = states.get_mut(number).zip(taken.get_mut(number))
            && taken.elapsed() >= EVERY
        {
            *slot = state.clone();
            *taken = Instant::now();
        }
        if written.elapsed() >= EVERY {
            if let Err(error) = self.write(states) {
                self.fail(&error);
            }
            *written = Instant::now();
        }
    }
}

/// Whether there is a folder of states; what is none, or another disk, is not written to.
fn is_there(path: &Path) -> Result<bool, ResumeError> {
    let why = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(FileError::at(path)(cause).into()),
        Ok(meta) if !meta.is_dir() => "is no folder",
        Ok(_) if is_mount_point(path, parent_of(path)) => "something is mounted there",
        Ok(_) => return Ok(true),
    };
    Err(ResumeError::NotOurs {
        path: path.to_owned(),
        why: why.to_owned(),
    })
}

/// What an image is known again by. A piece that failed in an earlier run over an image like it is not asked for again.
fn known(input: &Input, earlier: &[Known]) -> Known {
    let serial = input.image.serial();
    let like = |k: &&Known| k.name == input.name || serial.is_some() && k.serial == serial;
    let failed = |number| {
        let mut like = earlier.iter().filter(like);
        like.any(|k| k.front.get(number).is_some_and(Option::is_none))
    };
    let piece = |(number, at): (usize, Bytes)| {
        if failed(number) {
            return None;
        }
        let bytes = read_vec(&*input.source, Extent::new(at, PIECE), PIECE.to_len(4096)).ok()?;
        Some(hex::encode(Sha256::digest(bytes)))
    };
    let step = input.source.len().0 / PIECES / PIECE.0 * PIECE.0;
    let front = (0..PIECES).map(|number| Bytes(number * PIECE.0));
    let spread = (1..PIECES).map(|number| Bytes(number * step));
    let front = front.chain(spread).enumerate().map(piece).collect();
    let map = input.image.map().map(|(_, map)| {
        let mut hash = Sha256::new();
        for extent in map.unread(input.image.len()) {
            hash.update(extent.offset.0.to_le_bytes());
            hash.update(extent.length.0.to_le_bytes());
        }
        hex::encode(hash.finalize())
    });
    Known {
        name: input.name.clone(),
        length: input.source.len(),
        serial,
        modified: input.image.modified(),
        front,
        map,
    }
}

/// What an earlier run has kept.
fn read(folder: &Path) -> Result<Option<Kept>, ResumeError> {
    let path = folder.join(FILE);
    match read_small(&path, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError { path, cause }.into()),
        Ok(bytes) => parse(folder, &bytes).map(Some),
    }
}

/// The states to go on with, in the order of the images now. What is known to be bad is told to those that are as they
/// were; the others are read from their start, and named in `anew`.
fn go_on(
    path: &Path,
    kept: Kept,
    inputs: &[Input],
    images: &[Known],
    anew: &mut Vec<String>,
) -> Result<Vec<State>, ResumeError> {
    let order = matched(&kept.images, images).map_err(|why| ResumeError::OtherImages {
        path: path.to_owned(),
        why,
    })?;
    let mut states = Vec::new();
    for ((number, now), input) in order.into_iter().zip(images).zip(inputs) {
        let mut state = kept.states.get(number).cloned().unwrap_or_default();
        let changed = kept.images.get(number).is_none_or(|b| b.changed(now));
        if changed && state.at > Bytes::ZERO {
            anew.push(now.name.clone());
        }
        match kept.bad.get(number) {
            _ if changed => state = State::default(),
            Some(bad) => input.image.know_bad(bad),
            None => {}
        }
        states.push(state);
    }
    Ok(states)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Kept, ResumeError> {
    let not_ours = |why: String| ResumeError::NotOurs {
        path: path.to_owned(),
        why,
    };
    let kept: Kept = serde_json::from_slice(bytes).map_err(|e| not_ours(e.to_string()))?;
    match kept.form {
        FORM => Ok(kept),
        other => Err(not_ours(format!("form {other}, expected {FORM}"))),
    }
}

/// Of each image now, which one of the earlier run it is.
fn matched(before: &[Known], now: &[Known]) -> Result<Vec<usize>, String> {
    if before.len() != now.len() {
        return Err(format!("{} then, {} now", before.len(), now.len()));
    }
    let mut order = Vec::new();
    for now in now {
        let name = &now.name;
        let fits = |b: &Known, as_it_was| same(b, now).is_ok() && !(as_it_was && b.changed(now));
        let all = |as_it_was| {
            let all = before.iter().enumerate();
            all.filter(|(_, b)| fits(b, as_it_was)).collect::<Vec<_>>()
        };
        // Halves of a mirror begin alike: of the start alone only one that was written to is known.
        let fit = [all(true), all(false)].into_iter().find(|f| !f.is_empty());
        let fit = fit.unwrap_or_default();
        let named = fit.iter().find(|(_, b)| b.name == *name);
        let number = match (named, fit.as_slice()) {
            (Some((number, _)), _) | (None, [(number, _)]) => *number,
            (None, []) => return Err(why_none(before, now)),
            (None, _) => return Err(format!("{name} may be one or another of them")),
        };
        if order.contains(&number) {
            return Err(format!(
                "{name} and another one may both be the same of them"
            ));
        }
        order.push(number);
    }
    Ok(order)
}

/// Why an image is none of those.
fn why_none(before: &[Known], now: &Known) -> String {
    let names: Vec<&str> = before.iter().map(|b| b.name.as_str()).collect();
    let named = before.iter().find(|b| b.name == now.name);
    let why = named.and_then(|b| same(b, now).err());
    why.unwrap_or_else(|| format!("{} then, {} now", names.join(" "), now.name))
}

/// Whether an image of the earlier run is this one; else why not.
fn same(before: &Known, now: &Known) -> Result<(), String> {
    let name = &now.name;
    if !before.is(now) {
        return Err(format!("{} then, {name} now", before.name));
    }
    if let Some((before, now)) = before.serial.as_ref().zip(now.serial.as_ref())
        && before != now
    {
        return Err(format!("{name} was the disk {before}, it is {now} now"));
    }
    // With another map nothing that was read then is believed.
    if before.map != now.map {
        return Ok(());
    }
    if before.length != now.length {
        let (before, now) = (before.length.0, now.length.0);
        return Err(format!("{name} had {before} bytes, it has {now}"));
    }
    // A sector that fails now and then is no other image.
    // One that was written to is read again; only its start says whether it still is the same.
    let looked_at = match before.changed(now) {
        true => Bytes(PIECES).to_len(usize::MAX),
        false => usize::MAX,
    };
    let mut pieces = before.front.iter().zip(&now.front).take(looked_at);
    if pieces.any(|(a, b)| a.is_some() && b.is_some() && a != b) {
        return Err(format!("{name} has other contents than then"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;
    use landlock::{
        ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus,
    };
    use std::sync::atomic::{AtomicU32, Ordering};

    fn inputs(path: &Path) -> Vec<Input> {
        inputs::open_all(
            &[path.to_str().unwrap().parse().unwrap()],
            &Default::default(),
        )
        .unwrap()
    }

    /// The halves of a mirror have one start, and a power cut changes letters.
    #[test]
    fn another_half_does_not_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (image, other) = (folder.path().join("sda.img"), folder.path().join("sdb.img"));
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        let mut bytes = vec![1; 4 << 20];
        fs::write(&image, &bytes).unwrap();
        bytes[2 << 20] = 2;
        fs::write(&other, &bytes).unwrap();
        let (store, _) = Store::begin(&case, &inputs(&image), false, |_| ()).unwrap();
        let mut state = State::default();
        state.at = Bytes(3 << 20);
        store.write(&[state]).unwrap();
        let written = fs::metadata(&image).unwrap().modified().unwrap();
        fs::rename(&other, &image).unwrap();
        let file = fs::File::options().write(true).open(&image).unwrap();
        file.set_modified(written).unwrap();
        let begun = Store::begin(&case, &inputs(&image), true, |_| ());
        assert!(matches!(begun, Err(ResumeError::OtherImages { .. })));
    }

    /// ddrescue goes on between two runs: what it has read since must be looked at, and the other images need not be read
    /// again for it. A front that cannot be read is no other image.
    #[test]
    fn a_map_that_changed_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("sda.img");
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        let map = folder.path().join("sda.map");
        fs::write(&image, vec![1; 8192]).unwrap();
        fs::write(&map, "0 +\n0 4096 -\n4096 4096 +\n").unwrap();
        let begin = |resume| Store::begin(&case, &inputs(&image), resume, |_| ());
        let known = super::known(&inputs(&image)[0], &[]);
        assert!(known.front[0].is_none() && known.front[1].is_some());
        let (store, _) = begin(false).unwrap();
        let mut state = State::default();
        state.at = Bytes(4096);
        store.write(std::slice::from_ref(&state)).unwrap();
        assert_eq!(begin(true).unwrap().1, [state]);
        fs::write(&map, "0 +\n0 8192 +\n").unwrap();
        let (store, states) = begin(true).unwrap();
        assert_eq!(states, [State::default()]);
        assert_eq!(store.anew(), ["sda"]);
    }

    /// A state of other disks that is believed skips what was never read.
    #[test]
    fn only_the_same_images_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("sda.img");
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        fs::write(&image, vec![1; 4096]).unwrap();
        let (store, states) = Store::begin(&case, &inputs(&image), false, |_| ()).unwrap();
        assert_eq!(states, []);
        let mut state = State::default();
        state.at = Bytes(2048);
        store.write(std::slice::from_ref(&state)).unwrap();
        let begin = |resume| Store::begin(&case, &inputs(&image), resume, |_| ());
        assert!(matches!(begin(false), Err(ResumeError::CutShort { done, .. }) if done.0 == 2048));
        let (again, states) = begin(true).unwrap();
        assert_eq!(states, [state]);
        let written = fs::metadata(&image).unwrap().modified().unwrap();
        fs::write(&image, vec![2; 4096]).unwrap();
        assert!(matches!(begin(true), Err(ResumeError::OtherImages { .. })));
        // Mirrors have one start; a file that was copied again has it too.
        let file = fs::File::options().write(true).open(&image).unwrap();
        fs::write(&image, vec![1; 4096]).unwrap();
        file.set_modified(written).unwrap();
        assert_eq!(begin(true).unwrap().1.len(), 1);
        file.set_modified(written + Duration::from_secs(1)).unwrap();
        let (anew, states) = begin(true).unwrap();
        assert_eq!(states, [State::default()]);
        assert_eq!(anew.anew(), ["sda"]);
        again.finish();
        let kept = folder.path().join("case.resume");
        assert!(!kept.exists());
        assert_eq!(begin(true).unwrap().1, []);
        assert!(!kept.exists(), "nothing was kept");
        fs::write(&kept, b"{}").unwrap();
        assert!(matches!(begin(true), Err(ResumeError::NotOurs { .. })));
        fs::remove_file(&kept).unwrap();
        // A link may lead to a disk that is examined.
        std::os::unix::fs::symlink(folder.path(), &kept).unwrap();
        assert!(matches!(begin(true), Err(ResumeError::NotOurs { .. })));
        fs::remove_file(&kept).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join(FILE), b"{}").unwrap();
        assert!(matches!(begin(true), Err(ResumeError::NotOurs { .. })));
    }

    /// Ubuntu 22.04 has Linux 5.15: its Landlock refuses every move of a file to another folder.
    #[test]
    fn a_kernel_that_moves_nothing_between_folders() {
        let run = || {
            let rights = AccessFs::from_all(ABI::V1);
            let all = PathBeneath::new(PathFd::new("/").unwrap(), rights);
            let rules = Ruleset::default().handle_access(rights).unwrap();
            let rules = rules.create().unwrap().add_rule(all).unwrap();
            if rules.restrict_self().unwrap().ruleset == RulesetStatus::NotEnforced {
                eprintln!("SKIPPED: this kernel has no Landlock");
                return;
            }
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("sda.img");
            fs::write(&image, vec![1; 4096]).unwrap();
            fs::create_dir(folder.path().join("other")).unwrap();
            let moved = fs::rename(&image, folder.path().join("other/sda.img"));
            assert_eq!(moved.unwrap_err().kind(), io::ErrorKind::CrossesDevices);
            let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
            let begin = |resume| Store::begin(&case, &inputs(&image), resume, |_| ());
            let (store, _) = begin(false).unwrap();
            case.grants().write_below(store.folder()).confine();
            let mut state = State::default();
            for at in [1024, 2048] {
                state.at = Bytes(at);
                store.write(std::slice::from_ref(&state)).unwrap();
            }
            let bytes = fs::read(store.folder().join(FILE)).unwrap();
            let kept = parse(store.folder(), &bytes).unwrap();
            assert_eq!(kept.states, [state]);
            store.finish();
            assert!(!folder.path().join("case.resume").exists());
        };
        std::thread::spawn(run).join().unwrap();
    }

    /// A machine that comes up again counts its disks anew: days of reading are not thrown away for a letter.
    #[test]
    fn letters_move() {
        let known = |name: &str, serial: Option<&str>, front: &str| Known {
            name: name.to_owned(),
            length: Bytes(1 << 20),
            serial: serial.map(str::to_owned),
            modified: None,
            front: vec![Some(front.to_owned())],
            map: None,
        };
        let (a, b) = (known("sda", Some("A"), "1"), known("sdb", Some("B"), "1"));
        let then = [a.clone(), b.clone()];
        let named = |name: &str, of: &Known| Known {
            name: name.to_owned(),
            ..of.clone()
        };
        let now = |a: &Known, b: &Known| matched(&then, &[a.clone(), b.clone()]);
        assert_eq!(now(&a, &b), Ok(vec![0, 1]));
        assert_eq!(now(&named("sda", &b), &named("sdb", &a)), Ok(vec![1, 0]));
        assert_eq!(now(&named("sdc", &a), &named("sda", &b)), Ok(vec![0, 1]));
        let other = known("sdb", Some("C"), "1");
        let why = now(&a, &other).unwrap_err();
        assert!(why.contains("was the disk B, it is C"), "{why}");
        assert!(now(&a, &named("sdc", &a)).is_err(), "one disk twice");
        // A disk that was written to is not known by its number alone.
        let written = known("sdc", Some("B"), "2");
        assert!(now(&a, &written).is_err());
        // Without a number a name is all that a disk has.
        let (c, d) = (known("sdc", None, "1"), known("sdd", None, "1"));
        let then = [c.clone(), d.clone()];
        let why = matched(&then, &[c, named("sde", &d)]).unwrap_err();
        assert_eq!(why, "sdc sdd then, sde now");
    }

    /// The same of a file: of two mirrors, of which one goes on as the other, half of what is there is never read.
    #[test]
    fn files_get_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let case = Case::begin(&path("case"), &[]).unwrap();
        let at = std::time::SystemTime::UNIX_EPOCH;
        let mut bytes = vec![1; 4 << 20];
        for (name, seconds) in [("sda.img", 1), ("sdb.img", 2)] {
            // Behind the start mirrors differ.
            bytes[2 << 20] = seconds as u8;
            fs::write(path(name), &bytes).unwrap();
            let file = fs::File::options().write(true).open(path(name)).unwrap();
            file.set_modified(at + Duration::from_secs(seconds))
                .unwrap();
        }
        let both = |a: &str, b: &str| {
            let specs = [a, b].map(|name| path(name).to_str().unwrap().parse().unwrap());
            inputs::open_all(&specs, &Default::default()).unwrap()
        };
        let begin = |inputs: &[Input]| Store::begin(&case, inputs, true, |_| ());
        let (store, _) = begin(&both("sda.img", "sdb.img")).unwrap();
        let states = [1, 2].map(|mib| {
            let mut state = State::default();
            state.at = Bytes::mib(mib);
            state
        });
        store.write(&states).unwrap();
        fs::rename(path("sda.img"), path("other.img")).unwrap();
        fs::rename(path("sdb.img"), path("sda.img")).unwrap();
        fs::rename(path("other.img"), path("sdb.img")).unwrap();
        let (store, begun) = begin(&both("sda.img", "sdb.img")).unwrap();
        assert_eq!(begun, [states[1].clone(), states[0].clone()]);
        assert_eq!(store.anew(), [""; 0]);
    }

    /// What an earlier run paid seconds for, sector by sector, is not read again by anything of a later one.
    #[test]
    fn what_is_known_to_be_bad_stays_known() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("sda.img");
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        fs::write(&image, vec![1; 1 << 20]).unwrap();
        let begun = |inputs: &[Input]| Store::begin(&case, inputs, true, |_| ()).unwrap();
        let bad = Extent::new(Bytes(512), Bytes(1024));
        let first = inputs(&image);
        first[0].image.know_bad(&[bad]);
        let (store, _) = begun(&first);
        let mut state = State::default();
        state.at = Bytes(1 << 19);
        store.write(&[state]).unwrap();
        let again = inputs(&image);
        let (store, _) = begun(&again);
        assert_eq!(again[0].image.unread(), [bad]);
        assert!(store.images[0].front[0].is_none(), "it was read");
        // One that was written to is another matter.
        let file = fs::File::options().write(true).open(&image).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        let again = inputs(&image);
        begun(&again);
        assert_eq!(again[0].image.unread(), []);
    }

    /// A full stick on the first day: told then, and once, not by a power cut on the third.
    #[test]
    fn what_cannot_be_kept_is_told_once() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("sda.img");
        fs::write(&image, vec![1; 4096]).unwrap();
        let case = Case::begin(&folder.path().join("case"), &[]).unwrap();
        let tell = |_: &str| {
            TOLD.fetch_add(1, Ordering::Relaxed);
        };
        let (store, _) = Store::begin(&case, &inputs(&image), false, tell).unwrap();
        fs::remove_dir(store.folder()).unwrap();
        for _ in 0..2 {
            store.states.lock().unwrap().written = Instant::now().checked_sub(EVERY).unwrap();
            store.keep(0, &State::default());
        }
        assert_eq!(TOLD.load(Ordering::Relaxed), 1);
        let why = store.failure().unwrap();
        assert!(why.contains("case.resume"), "{why}");
    }
}
