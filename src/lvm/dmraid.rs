//! The superblock that the kernel's device-mapper keeps in the `_rmeta_N` volume of each image of a raid volume.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | `DmRd` |
//! | 4 | 4 | features that a reader must know |
//! | 8 | 4 | number of images |
//! | 12 | 4 | which image this is, from 0 |
//! | 16 | 8 | events: counts changes of the array's state |
//! | 24 | 8 | images that have failed, a bit each, of the first 64 |
//! | 32 | 8 | sectors of this image that are rebuilt; all bits set where it is whole |
//!
//! Little-endian, at the volume's start. The data's image has no superblock of
//! its own, so only this tells an image that was away from one that was there.
//! Source: the kernel's `drivers/md/dm-raid.c`.

use crate::image::{Source, read_exact};
use crate::parse::{ParseError, Parsed};
use crate::units::Bytes;
use thiserror::Error;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const MAGIC: &[u8; 4] = b"DmRd";

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: [u8; 4],
    compat_features: U32,
    num_devices: U32,
    array_position: U32,
    events: U64,
    failed_devices: U64,
    disk_recovery_offset: U64,
}

const LENGTH: usize = 40;
const _: () = assert!(size_of::<Raw>() == LENGTH);

/// What an image's superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageState {
    /// Which image it belongs to.
    pub position: u32,
    /// Counts changes of the array's state.
    pub events: u64,
    /// Images that had failed, a bit each.
    pub failed: u64,
    /// Whether the image holds all of its data; a rebuild was under way otherwise.
    pub whole: bool,
}

impl ImageState {
    /// Reads it at the start of a `_rmeta_N` volume.
    ///
    /// # Errors
    /// [`ParseError::NotThis`] without the magic.
    pub fn read(meta: &dyn Source) -> Parsed<ImageState> {
        let mut bytes = [0; LENGTH];
        read_exact(meta, Bytes::ZERO, &mut bytes)?;
        let raw = Raw::read_from_bytes(&bytes).map_err(|_| ParseError::NotThis)?;
        if raw.magic != *MAGIC {
            return Err(ParseError::NotThis);
        }
        Ok(ImageState {
            position: raw.array_position.get(),
            events: raw.events.get(),
            failed: raw.failed_devices.get(),
            whole: raw.disk_recovery_offset.get() == u64::MAX,
        })
    }
}

/// A crash between two writes leaves the counts of images that agree one apart; the kernel allows that too.
const APART: u64 = 1;

/// Why an image's data may not be those of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Old {
    /// The newest superblocks say so.
    #[error("had failed, as the others say")]
    Failed,
    /// It did not take part in the last changes.
    #[error("is behind: it counts {events} events, and the newest {newest}")]
    Behind {
        /// Its own count.
        events: u64,
        /// The highest.
        newest: u64,
    },
    /// It was being rebuilt.
    #[error("was being rebuilt, and that had not ended")]
    Unfinished,
    /// Nothing tells: it has no superblock, and others have. The kernel would take it for a new one and rebuild it; but what
    /// lost its superblock to an accident may hold everything.
    #[error("has no superblock to tell whether it holds what the others hold")]
    NotTold,
}

impl Old {
    /// Whether it is read where no other gives the bytes. What is known to be old is not: mixed into parity it would give
    /// bytes that never were on the volume.
    pub fn is_read(self) -> bool {
        self == Old::NotTold
    }
}

/// Which images hold old or unfinished data, and why, by the superblocks of all: those that the newest of them call failed,
/// those that did not take part in its last changes, and those still being rebuilt. Without any superblock none is
/// judged.
pub fn judge(states: &[Option<ImageState>]) -> Vec<Option<Old>> {
    let newest = states.iter().flatten().map(|s| s.events).max();
    let newest = newest.unwrap_or_default();
    let by_newest = states.iter().flatten().filter(|s| s.events == newest);
    let failed = by_newest.fold(0, |bits, s| bits | s.failed);
    let any = states.iter().any(Option::is_some);
    let one = |(index, state): (usize, &Option<ImageState>)| {
        if index < 64 && failed >> index & 1 == 1 {
            return Some(Old::Failed);
        }
        match state {
            Some(s) if s.events.saturating_add(APART) < newest => Some(Old::Behind {
                events: s.events,
                newest,
            }),
            Some(s) if !s.whole => Some(Old::Unfinished),
            Some(_) => None,
            None => any.then_some(Old::NotTold),
        }
    };
    states.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    fn state(events: u64, failed: u64, whole: bool) -> Option<ImageState> {
        Some(ImageState {
            position: 0,
            events,
            failed,
            whole,
        })
    }

    /// An old image that is taken for a good one gives old bytes between new ones, and no checksum anywhere tells.
    #[test]
    fn old_images_are_told() {
        let of = |states: &[Option<ImageState>]| {
            let judged = judge(states);
            judged.iter().map(Option::is_some).collect::<Vec<bool>>()
        };
        assert_eq!(of(&[state(7, 0, true), state(7, 0, true)]), [false, false]);
        assert_eq!(of(&[state(8, 0, true), state(7, 0, true)]), [false, false]);
        assert_eq!(of(&[state(9, 2, true), state(7, 0, true)]), [false, true]);
        assert_eq!(of(&[state(9, 0, true), state(9, 0, false)]), [false, true]);
        // The newest says that image 1 has failed, whose superblock cannot be read.
        assert_eq!(of(&[state(9, 2, true), None]), [false, true]);
        assert_eq!(of(&[None, None]), [false, false]);
        let not_told = judge(&[state(9, 0, true), None]);
        assert_eq!(not_told, [None, Some(Old::NotTold)]);
        assert!(Old::NotTold.is_read() && !Old::Failed.is_read());
        assert_eq!(of(&[]), [false; 0]);
    }

    /// Offsets by hand: a field read from the wrong place calls every image stale, or none.
    #[test]
    fn the_fields_lie_where_the_kernel_writes_them() {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"DmRd");
        bytes[12] = 2;
        bytes[16] = 5;
        bytes[24] = 1;
        bytes[32..40].fill(0xff);
        let read = |bytes: &[u8]| ImageState::read(&Memory::new("rmeta", bytes.to_vec()));
        let state = read(&bytes).unwrap();
        assert_eq!((state.position, state.events, state.failed), (2, 5, 1));
        assert!(state.whole);
        bytes[3] = b'x';
        assert_eq!(read(&bytes), Err(ParseError::NotThis));
        assert!(read(&bytes[..20]).is_err());
    }
}
