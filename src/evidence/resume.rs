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
    #[error("{}: was left by a run over other images ({why}); give the same images in the same order, or remove that folder to begin anew", .path.display())]
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
        let folder = crate::parse::printable(self.folder.as_os_str().as_bytes());
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
    same(path, &kept.images, images)?;
    let mut states = kept.states;
    states.resize(images.len(), State::default());
    let known = kept.images.iter().zip(images).zip(inputs).enumerate();
    for ((number, ((before, now), input)), state) in known.zip(&mut states) {
        match (before.changed(now), kept.bad.get(number)) {
            (true, _) if state.at > Bytes::ZERO => {
                *state = State::default();
                anew.push(now.name.clone());
            }
            (false, Some(bad)) => input.image.know_bad(bad),
            _ => {}
        }
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

fn same(path: &Path, before: &[Known], now: &[Known]) -> Result<(), ResumeError> {
    let other = |why: String| ResumeError::OtherImages {
        path: path.to_owned(),
        why,
    };
    if before.len() != now.len() {
        let (before, now) = (before.len(), now.len());
        return Err(other(format!("{before} then, {now} now")));
    }
    for (before, now) in before.iter().zip(now) {
        let name = &now.name;
        if before.name != now.name {
            return Err(other(format!("{} then, {name} now", before.name)));
        }
        if let Some((before, now)) = before.serial.as_ref().zip(now.serial.as_ref())
            && before != now
        {
            return Err(other(format!(
                "{name} was the disk {before}, it is {now} now"
            )));
        }
        // With another map nothing that was read then is believed.
        if before.map != now.map {
            continue;
        }
        if before.length != now.length {
            let (before, now) = (before.length.0, now.length.0);
            return Err(other(format!("{name} had {before} bytes, it has {now}")));
        }
        // A sector that fails now and then is no other image.
        // One that was written to is read again; only its start says whether it still is the same.
        let looked_at = match before.changed(now) {
            true => Bytes(PIECES).to_len(usize::MAX),
            false => usize::MAX,
        };
        let mut pieces = before.front.iter().zip(&now.front).take(looked_at);
        if pieces.any(|(a, b)| a.is_some() && b.is_some() && a != b) {
            return Err(other(format!("{name} has other contents than then")));
        }
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
