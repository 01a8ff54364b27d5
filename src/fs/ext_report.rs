//! What [`super::ext_check`] says: counts, the first failures, a verdict.

use super::ext::Superblock;
use crate::parse::{ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;

/// Failures told in words; the others are only counted.
const FAILURES_MOST: usize = 16;
/// Unread places kept; more are joined to the last.
const UNREAD_MOST: usize = 256;

/// What can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The primary superblock.
    Superblock,
    /// A copy of it agrees with it.
    Copy,
    /// A group's descriptor.
    Descriptor,
    /// Its copy points to the same places.
    DescriptorCopy,
    /// A block bitmap: checksum, count of free blocks, its own metadata in use.
    BlockBitmap,
    /// An inode bitmap: checksum, count of free inodes.
    InodeBitmap,
    /// A used inode.
    Inode,
    /// The block map of a file: its first and last block lie in the volume.
    Map,
    /// A folder's first block.
    Folder,
    /// The journal.
    Journal,
    /// The groups' free counts add up to the superblock's.
    Counts,
}

impl Check {
    /// In words, in the plural.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Superblock => "primary superblock",
            Check::Copy => "superblock copies",
            Check::Descriptor => "group descriptors",
            Check::DescriptorCopy => "descriptor copies",
            Check::BlockBitmap => "block bitmaps",
            Check::InodeBitmap => "inode bitmaps",
            Check::Inode => "inodes",
            Check::Map => "block maps",
            Check::Folder => "folders",
            Check::Journal => "journal",
            Check::Counts => "free counts",
        }
    }
}

/// How one kind of test went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// What was tested.
    pub check: Check,
    /// Tests that held.
    pub passed: u64,
    /// Tests that did not.
    pub failed: u64,
    /// Tests that could not be made, as something could not be read.
    pub unread: u64,
}

/// One test that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was tested.
    pub check: Check,
    /// Where, from the start of the file system.
    pub at: Bytes,
    /// What is wrong, in words.
    pub what: String,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All that was tested holds.
    Whole,
    /// It is one, and some of it does not hold.
    Damaged,
    /// No superblock, nor a copy where one should be.
    Unrecognisable,
    /// Nothing failed, but something could not be read.
    Unread,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct ExtReport {
    /// In one word.
    pub verdict: Verdict,
    /// The superblock that was believed.
    pub superblock: Option<Superblock>,
    /// Counts for each kind of test that was made.
    pub tallies: Vec<Tally>,
    /// The first that failed.
    pub failures: Vec<Failure>,
    /// What could not be read.
    pub unread: Vec<Extent>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

impl ExtReport {
    /// Tests that held.
    pub fn passed(&self) -> u64 {
        self.tallies.iter().map(|t| t.passed).sum()
    }

    /// Tests that did not.
    pub fn failed(&self) -> u64 {
        self.tallies.iter().map(|t| t.failed).sum()
    }

    /// Tests that could not be made.
    pub fn unread_tests(&self) -> u64 {
        self.tallies.iter().map(|t| t.unread).sum()
    }

    /// Tests made.
    pub fn tested(&self) -> u64 {
        self.passed() + self.failed()
    }

    /// The share of tests that held, 0 to 1; 0 where none could be made.
    pub fn agreement(&self) -> f64 {
        // Counts of a bounded sample: far below where f64 loses a unit.
        #[allow(clippy::cast_precision_loss)]
        let share = |n: u64| n as f64;
        if self.tested() == 0 {
            return 0.0;
        }
        share(self.passed()) / share(self.tested())
    }

    fn count(&mut self, check: Check) -> &mut Tally {
        let at = match self.tallies.binary_search_by_key(&check, |t| t.check) {
            Ok(at) => at,
            Err(at) => {
                let tally = Tally {
                    check,
                    passed: 0,
                    failed: 0,
                    unread: 0,
                };
                self.tallies.insert(at, tally);
                at
            }
        };
        // Found or inserted just above.
        #[allow(clippy::indexing_slicing)]
        &mut self.tallies[at]
    }

    /// Books a journal that may hold what is not in place, and is not replayed.
    pub(super) fn not_replayed(&mut self, why: &str) {
        self.count(Check::Journal).unread += 1;
        self.notes.push(format!(
            "its journal may hold what is not in place yet, and is not replayed: {why}"
        ));
    }

    /// Books one test: nothing wrong, something wrong in words, or what kept it from being made.
    pub(super) fn book(&mut self, check: Check, at: Bytes, result: Parsed<Option<String>>) {
        let what = match result {
            Ok(None) => return self.count(check).passed += 1,
            Ok(Some(what)) => what,
            Err(ParseError::Unreadable(extent)) => {
                self.count(check).unread += 1;
                if self.unread.len() < UNREAD_MOST {
                    self.unread.push(extent);
                }
                return;
            }
            // Beyond us is not wrong.
            Err(ParseError::Unsupported(_)) => return,
            Err(error) => error.to_string(),
        };
        self.count(check).failed += 1;
        if self.failures.len() < FAILURES_MOST {
            self.failures.push(Failure { check, at, what });
        }
    }
}
