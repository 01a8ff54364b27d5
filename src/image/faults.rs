//! A device of scripted faults, for tests: bad sectors, sectors that come back, short reads, shrinking, going away.
//!
//! It lies below the same code that reads real disks, so that what a test
//! sees of an error is what a person would.

use super::careful::{Careful, Device};
use super::{Gaps, Source, len_of};
use crate::units::{Bytes, Extent};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

/// Bytes in memory behind scripted errors.
#[derive(Debug)]
pub struct Faults {
    bytes: Vec<u8>,
    unit: usize,
    short: Option<usize>,
    /// Sectors, by number, with how often reading them still fails.
    bad: Mutex<BTreeMap<u64, u32>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    touched: BTreeMap<u64, u32>,
    reads: u32,
    length: u64,
    gone: bool,
}

impl Faults {
    /// A device of these bytes with sectors of `unit` bytes, without a fault yet.
    pub fn new(bytes: Vec<u8>, unit: usize) -> Faults {
        let length = bytes.len() as u64;
        Faults {
            bytes,
            unit: unit.max(1),
            short: None,
            bad: Mutex::default(),
            state: Mutex::new(State {
                length,
                ..State::default()
            }),
        }
    }

    /// The sectors of `extent` never read.
    #[must_use]
    pub fn bad(self, extent: Extent) -> Faults {
        let unit = self.unit as u64;
        let sectors = extent.offset.0 / unit..extent.end().0.div_ceil(unit);
        if let Ok(mut bad) = self.bad.lock() {
            bad.extend(sectors.map(|s| (s, u32::MAX)));
        }
        self
    }

    /// The sector at `at` fails `times` times, then reads.
    #[must_use]
    pub fn fails(self, at: Bytes, times: u32) -> Faults {
        if let Ok(mut bad) = self.bad.lock() {
            bad.insert(at.0 / self.unit as u64, times);
        }
        self
    }

    /// No read gives more than `most` bytes.
    #[must_use]
    pub fn short(mut self, most: usize) -> Faults {
        self.short = Some(most);
        self
    }

    /// From now on it ends at `length`.
    pub fn shrink(&self, length: Bytes) {
        self.with(|state| state.length = state.length.min(length.0));
    }

    /// From now on it is not there.
    pub fn vanish(&self) {
        self.with(|state| state.gone = true);
    }

    /// How many reads went over the sector at `at`.
    pub fn touched(&self, at: Bytes) -> u32 {
        let sector = at.0 / self.unit as u64;
        self.with(|state| state.touched.get(&sector).copied())
            .unwrap_or(0)
    }

    /// How many reads there were.
    pub fn reads(&self) -> u32 {
        self.with(|state| state.reads)
    }

    fn with<T: Default>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.state
            .lock()
            .map(|mut s| act(&mut s))
            .unwrap_or_default()
    }

    /// This device as a source, read as an image is.
    pub fn into_source(self, name: impl Into<String>) -> FaultySource {
        let length = len_of(&self.bytes);
        FaultySource {
            name: name.into(),
            careful: Careful::new(self, length, 1, Vec::new()),
        }
    }
}

impl Device for Faults {
    fn length(&self) -> Option<Bytes> {
        Some(Bytes(self.with(|state| state.length)))
    }

    fn unit(&self) -> usize {
        self.unit
    }

    fn read(&self, at: Bytes, buf: &mut [u8]) -> io::Result<usize> {
        let (length, gone) = self.with(|state| {
            state.reads += 1;
            (state.length, state.gone)
        });
        if gone {
            return Err(Errno::NODEV.into());
        }
        let n = buf.len().min(self.short.unwrap_or(usize::MAX));
        let n = (Bytes(length) - at).to_len(n);
        if n == 0 {
            return Ok(0);
        }
        let sectors = at.0 / self.unit as u64..(at.0 + n as u64).div_ceil(self.unit as u64);
        let mut failed = false;
        for sector in sectors {
            self.with(|state| *state.touched.entry(sector).or_default() += 1);
            if let Ok(mut bad) = self.bad.lock()
                && let Some(left) = bad.get_mut(&sector).filter(|left| **left > 0)
            {
                *left = left.saturating_sub(u32::from(*left != u32::MAX));
                failed = true;
            }
        }
        let from = at.to_len(self.bytes.len());
        match (failed, buf.get_mut(..n), self.bytes.get(from..from + n)) {
            (false, Some(to), Some(from)) => {
                to.copy_from_slice(from);
                Ok(n)
            }
            _ => Err(Errno::IO.into()),
        }
    }
}

/// A device of scripted faults, read as an image is.
#[derive(Debug)]
pub struct FaultySource {
    name: String,
    careful: Careful<Faults>,
}

impl FaultySource {
    /// The device.
    pub fn device(&self) -> &Faults {
        self.careful.device()
    }
}

impl Source for FaultySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Bytes {
        self.careful.length()
    }

    fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Gaps {
        self.careful.read_at(at, buf)
    }
}
