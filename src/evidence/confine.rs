//! The kernel told what the program may still do: Landlock.
//!
//! Images are open by then, read only, and stay readable. After
//! [`Grants::confine`] the kernel refuses to open anything else: reading what
//! was not granted, writing anywhere but below the output folder, running a
//! program, TCP connections. It cannot be undone. It holds for the calling
//! thread and those it starts later, so it is done before any is started.
//!
//! What is whole must still get its name, in a folder that holds other things
//! too, and Landlock knows a right only for a folder with all below it. So these
//! rights stay with one thread, the [`Porter`], which does nothing but put the
//! output there; the threads that read images have none of them.
//!
//! A kernel before 5.13, or one built without it, has no Landlock. Then the
//! program still opens no image for writing; only nobody enforces it.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    make_bitflags,
};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

/// The newest rights that are asked for; an older kernel enforces those that it knows.
const WANTED: ABI = ABI::V6;

/// What may still be done with paths.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    rules: Vec<(PathBuf, BitFlags<AccessFs>)>,
    /// Where a porter works.
    porters: Vec<PathBuf>,
}

/// How far the kernel holds the program to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforced {
    /// All of it.
    Fully,
    /// What this kernel's Landlock knows; truncation or the network may not be among it.
    Partly,
    /// The kernel has no Landlock, or does not apply it: nothing of it.
    Not,
}

/// What was asked of the kernel, and what it does.
#[derive(Clone, Debug, Serialize)]
pub struct Confinement {
    /// How far it is enforced.
    pub landlock: Enforced,
    /// The folders below which files may be written.
    #[serde(serialize_with = "super::case::as_texts")]
    pub writable: Vec<PathBuf>,
    /// The folders below which the one thread that puts the output in its place may also give files and folders other
    /// names, and remove files and empty folders. It can open none for writing.
    #[serde(
        serialize_with = "super::case::as_texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub named_in: Vec<PathBuf>,
    /// Why not, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Grants {
    /// Nothing: what is open is read, nothing is opened any more.
    pub fn none() -> Grants {
        Grants::default()
    }

    /// A file, or all below a folder, may be read.
    #[must_use]
    pub fn read(mut self, path: &Path) -> Grants {
        let access = match path.is_dir() {
            true => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
            false => AccessFs::ReadFile.into(),
        };
        self.rules.push((path.to_owned(), access));
        self
    }

    /// Files and folders below `folder` may be made, written and removed.
    #[must_use]
    pub fn write_below(mut self, folder: &Path) -> Grants {
        let access = make_bitflags!(AccessFs::{
            ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer
        });
        self.rules.push((folder.to_owned(), access));
        self
    }

    /// A file in `folder` may get another name there, once it is whole; none may be opened for writing.
    ///
    /// This and the next two hold for all below `folder`, and are for a [`Porter`].
    #[must_use]
    pub fn rename_file_in(mut self, folder: &Path) -> Grants {
        let access = make_bitflags!(AccessFs::{MakeReg | RemoveFile});
        self.rules.push((folder.to_owned(), access));
        self
    }

    /// A folder in `folder` may get another name there, once it is whole.
    #[must_use]
    pub fn rename_folder_in(mut self, folder: &Path) -> Grants {
        let access = make_bitflags!(AccessFs::{MakeDir | RemoveDir});
        self.rules.push((folder.to_owned(), access));
        self
    }

    /// An empty folder in `folder` may be removed.
    #[must_use]
    pub fn remove_folder_in(mut self, folder: &Path) -> Grants {
        self.rules
            .push((folder.to_owned(), AccessFs::RemoveDir.into()));
        self
    }

    /// Nothing more; but a porter works in `folder`, and the answer says so.
    #[must_use]
    pub fn besides_porter_in(mut self, folder: &Path) -> Grants {
        self.porters.push(folder.to_owned());
        self
    }

    /// Gives up all else, for good. Where the kernel cannot enforce it, the answer says so; the program goes on.
    pub fn confine(self) -> Confinement {
        let writable = self
            .rules
            .iter()
            .filter(|(_, access)| access.contains(AccessFs::WriteFile))
            .map(|(path, _)| path.clone())
            .collect();
        let named_in = self.porters.clone();
        let (landlock, why) = match self.restrict() {
            Ok(status) => match (status.ruleset, status.landlock) {
                (RulesetStatus::FullyEnforced, _) => (Enforced::Fully, None),
                (RulesetStatus::PartiallyEnforced, known) => {
                    (Enforced::Partly, Some(not_refused(known)))
                }
                (RulesetStatus::NotEnforced, _) => (
                    Enforced::Not,
                    Some("this kernel has no Landlock".to_owned()),
                ),
            },
            Err(error) => (Enforced::Not, Some(error)),
        };
        Confinement {
            landlock,
            writable,
            named_in,
            why,
        }
    }

    fn restrict(self) -> Result<RestrictionStatus, String> {
        let say = |error: &dyn std::fmt::Display| error.to_string();
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(WANTED))
            .and_then(|r| r.handle_access(AccessNet::from_all(WANTED)))
            .and_then(|r| r.scope(Scope::from_all(WANTED)))
            .and_then(Ruleset::create)
            .map_err(|e| say(&e))?;
        for (path, access) in self.rules {
            let folder = PathFd::new(&path).map_err(|e| say(&e))?;
            ruleset = ruleset
                .add_rule(PathBeneath::new(folder, access))
                .map_err(|e| say(&e))?;
        }
        ruleset.restrict_self().map_err(|e| say(&e))
    }
}

/// What an older Landlock does not refuse of what was asked.
fn not_refused(known: LandlockStatus) -> String {
    let abi = match known {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        _ => ABI::Unsupported,
    };
    let since = [
        (ABI::V3, "truncating files"),
        (ABI::V4, "TCP"),
        (ABI::V5, "ioctl on devices"),
        (ABI::V6, "signals and abstract sockets"),
    ];
    let missing = since.iter().filter(|(since, _)| abi < *since);
    let missing: Vec<&str> = missing.map(|(_, what)| *what).collect();
    format!("this kernel does not refuse {}", missing.join(", "))
}

/// A thread that keeps rights which all others give up, and uses them to put the output in its place.
#[derive(Debug)]
pub struct Porter {
    /// `None` once it is to end.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Porter {
    /// Starts it with these rights and no others. It must be started before the others give theirs up.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(grants: Grants) -> io::Result<Porter> {
        let (jobs, asked) = channel::<Job>();
        let work = move || {
            // How far it is enforced is said once, for the others.
            let _ = grants.confine();
            asked.into_iter().for_each(|job| job());
        };
        Ok(Porter {
            jobs: Some(jobs),
            thread: Some(Builder::new().name("porter".to_owned()).spawn(work)?),
        })
    }

    /// Has it do something, and waits for that.
    ///
    /// # Errors
    /// Where it is no more.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let gone = || io::Error::other("the thread that names files ended");
        let (done, answer) = channel();
        let job = Box::new(move || {
            // Who asked waits.
            let _ = done.send(job());
        });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }
}

impl Drop for Porter {
    /// Ends it, when it has done what it was asked.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::fs::FileExt;

    /// Runs in a thread of its own, as the confinement stays with it; the reason is printed where there is none.
    fn confined(grants: Grants, act: impl FnOnce() + Send + 'static) {
        let run = move || {
            let confinement = grants.confine();
            if confinement.landlock == Enforced::Not {
                eprintln!("SKIPPED: {}", confinement.why.unwrap_or_default());
                return;
            }
            act();
        };
        std::thread::spawn(run).join().unwrap();
    }

    #[track_caller]
    fn refused<T>(result: std::io::Result<T>) {
        let error = result.err().expect("the kernel allowed it");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }

    /// The promise itself: the kernel must refuse every kind of write to an input and beside the output, and still
    /// give what is open and what was granted.
    #[test]
    fn the_kernel_refuses_what_was_not_granted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["out", "other"] {
            fs::create_dir(path(name)).unwrap();
        }
        for name in ["input", "readable", "other/file"] {
            fs::write(path(name), b"evidence").unwrap();
        }
        let open = File::open(path("input")).unwrap();
        let grants = Grants::none()
            .read(&path("readable"))
            .write_below(&path("out"));
        let base = folder.path().to_owned();
        confined(grants, move || {
            let path = |name: &str| base.join(name);
            let mut buf = [0; 8];
            open.read_exact_at(&mut buf, 0).unwrap();
            assert_eq!(&buf, b"evidence");
            refused(
                (&open)
                    .write(b"x")
                    .map_err(|_| ErrorKind::PermissionDenied.into()),
            );
            for name in ["input", "other/file"] {
                refused(OpenOptions::new().write(true).open(path(name)));
                refused(OpenOptions::new().append(true).open(path(name)));
                refused(File::create(path(name)));
                refused(File::open(path(name)));
                refused(fs::remove_file(path(name)));
            }
            refused(fs::write(path("new"), b"x"));
            refused(fs::create_dir(path("folder")));
            refused(fs::write("/tmp/disinter-not-here", b"x"));
            refused(std::process::Command::new("/bin/true").status());
            refused(std::net::TcpStream::connect("127.0.0.1:9"));
            let mut text = String::new();
            let mut readable = File::open(path("readable")).unwrap();
            readable.read_to_string(&mut text).unwrap();
            refused(OpenOptions::new().write(true).open(path("readable")));
            fs::create_dir(path("out/deep")).unwrap();
            fs::write(path("out/deep/file"), b"x").unwrap();
            fs::rename(path("out/deep/file"), path("out/deep/whole")).unwrap();
            fs::remove_dir_all(path("out/deep")).unwrap();
        });
        assert_eq!(fs::read(path("input")).unwrap(), b"evidence");
        assert_eq!(fs::read(path("other/file")).unwrap(), b"evidence");
    }

    /// What a porter may is more than one name, as Landlock has no smaller right: it must stay with the porter.
    #[test]
    fn only_the_porter_gives_names() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().to_owned();
        fs::create_dir_all(base.join("deep/empty")).unwrap();
        for name in ["input", "deep/input"] {
            fs::write(base.join(name), b"evidence").unwrap();
        }
        let mut part = File::create(base.join("part")).unwrap();
        let porter = Porter::start(Grants::none().rename_file_in(&base)).unwrap();
        confined(Grants::none(), move || {
            part.write_all(b"whole").unwrap();
            for input in ["input", "deep/input"] {
                let input = base.join(input);
                refused(fs::rename(base.join("part"), &input));
                refused(fs::rename(&input, base.join("gone")));
                refused(fs::remove_file(&input));
                refused(OpenOptions::new().write(true).open(&input));
            }
            refused(File::create_new(base.join("new")));
            refused(fs::create_dir(base.join("deep/folder")));
            refused(fs::remove_dir(base.join("deep/empty")));
            let fifo = rustix::fs::mknodat(
                rustix::fs::CWD,
                base.join("fifo"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            );
            refused(fifo.map_err(std::io::Error::from));
            let (from, to, input) = (base.join("part"), base.join("whole"), base.join("input"));
            let done = porter.ask(move || {
                refused(OpenOptions::new().write(true).open(&input));
                refused(File::open(&input));
                refused(fs::create_dir(input.with_file_name("folder")));
                fs::rename(from, to)
            });
            done.unwrap().unwrap();
        });
        assert_eq!(fs::read(folder.path().join("whole")).unwrap(), b"whole");
        assert_eq!(fs::read(folder.path().join("input")).unwrap(), b"evidence");
    }

    /// A kernel that enforces a part is no kernel that enforces nothing, and what is missing is said.
    #[test]
    fn what_an_older_kernel_does_not_refuse() {
        let known = |effective_abi| LandlockStatus::Available {
            effective_abi,
            kernel_abi: None,
        };
        let said = not_refused(known(ABI::V2));
        assert!(said.contains("truncating files, TCP, ioctl"), "{said}");
        let said = not_refused(known(ABI::V5));
        assert_eq!(
            said,
            "this kernel does not refuse signals and abstract sockets"
        );
    }
}
