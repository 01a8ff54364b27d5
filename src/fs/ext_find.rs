//! Which superblock and which copy of the descriptors of an ext file system
//! to believe, when its front may be gone.
//!
//! mke2fs puts copies where they can be computed from the block size alone,
//! as long as it was not told another group size: group g begins at block
//! g × 8 × block size, and copies lie in groups 1, 3, 5, 7, 9, 25 … Those
//! places are tried for each block size, 4 KiB first.

use super::ext::{PRIMARY, Superblock};
use crate::image::Source;
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::Bytes;

/// Block sizes in the order in which they are likely.
const BLOCK_SIZES: [u64; 7] = [4096, 1024, 2048, 65_536, 8192, 16_384, 32_768];

/// Groups with copies, as far out as is worth a read.
const GROUPS: [u64; 10] = [1, 3, 5, 7, 9, 25, 27, 49, 81, 125];

/// Copies of the descriptors that are compared before the best is taken.
const COPIES_MOST: usize = 4;

/// What to believe of a file system.
#[derive(Clone, Debug)]
pub struct Found {
    /// The superblock.
    pub superblock: Superblock,
    /// Where it lies, from the start of the file system.
    pub at: Bytes,
    /// The group behind whose superblock the best descriptors lie; 0 is the primary place.
    pub copy: u64,
    /// Descriptors of that copy that are unread or cannot be so.
    pub bad_descriptors: u64,
    /// What a person should know: what of the front is lost, what replaced it.
    pub notes: Vec<String>,
}

impl Found {
    /// Whether its journal may hold what is not in place yet. Of the copies the kernel keeps none up to date: only the
    /// primary says that there is nothing to replay.
    pub fn may_have_work(&self) -> bool {
        self.superblock.needs_recovery() || self.at != PRIMARY
    }
}

/// Finds the superblock and descriptors of the file system that begins at `source`'s start.
///
/// # Errors
/// [`ParseError::NotThis`] where neither a primary superblock nor a copy of
/// one is found; what is wrong with the primary where it is one but damaged
/// and no copy is found; [`ParseError::Unreadable`].
pub fn find(source: &dyn Source) -> Parsed<Found> {
    let mut notes = Vec::new();
    let (superblock, at) = match Superblock::read(source, PRIMARY) {
        Ok(sb) if sb.checksum != Checksum::Bad && sb.group == 0 => (sb, PRIMARY),
        primary => {
            let Some((sb, at)) = backup(source) else {
                return match primary {
                    // Better a superblock with a wrong checksum than none.
                    Ok(sb) if sb.group == 0 => {
                        notes.push(
                            "the superblock's checksum does not hold, and no copy of it was found"
                                .to_owned(),
                        );
                        Ok(descriptors(source, sb, PRIMARY, notes))
                    }
                    Ok(_) => Err(ParseError::NotThis),
                    Err(error) => Err(error),
                };
            };
            let why = match primary {
                Ok(sb) if sb.group != 0 => "is a copy that belongs elsewhere".to_owned(),
                Ok(_) => "has a wrong checksum".to_owned(),
                Err(ParseError::NotThis) => "is lost".to_owned(),
                Err(error) => error.to_string(),
            };
            notes.push(format!(
                "the superblock {why}; its copy in group {} (byte {}) is used",
                sb.group, at.0
            ));
            (sb, at)
        }
    };
    if superblock.length() > source.len() {
        notes.push(format!(
            "the file system is longer than what it lies in: {} of {} bytes are there",
            source.len().0,
            superblock.length().0
        ));
    }
    Ok(descriptors(source, superblock, at, notes))
}

/// The first copy of a superblock at a computed place, of a file system that begins at byte 0.
fn backup(source: &dyn Source) -> Option<(Superblock, Bytes)> {
    GROUPS
        .iter()
        .flat_map(|group| BLOCK_SIZES.iter().map(move |size| (*group, *size)))
        .find_map(|(group, size)| {
            let block = group * 8 * size + u64::from(size == 1024);
            let at = Bytes(block * size);
            if at >= source.len() {
                return None;
            }
            let sb = Superblock::read(source, at).ok()?;
            let fits = sb.fs_start(at) == Some(Bytes::ZERO)
                && u64::from(sb.block_size) == size
                && sb.checksum != Checksum::Bad;
            fits.then_some((sb, at))
        })
}

/// Chooses the copy of the descriptors with the fewest impossible ones.
fn descriptors(source: &dyn Source, sb: Superblock, at: Bytes, mut notes: Vec<String>) -> Found {
    let mut best = (u64::MAX, 0);
    let copies = std::iter::once(0).chain(sb.backup_groups());
    for copy in copies.take(COPIES_MOST) {
        let bad = (0..sb.group_count())
            .filter(|group| {
                sb.descriptor(source, *group, copy)
                    .map_or(true, |d| d.problem(&sb).is_some())
            })
            .count() as u64;
        if bad < best.0 {
            best = (bad, copy);
        }
        if bad == 0 {
            break;
        }
    }
    let (bad_descriptors, copy) = best;
    if copy != 0 {
        notes.push(format!(
            "the group descriptors are damaged; their copy behind group {copy}'s superblock is used"
        ));
    }
    if bad_descriptors > 0 {
        notes.push(format!(
            "{bad_descriptors} of {} group descriptors are damaged or unread in every copy",
            sb.group_count()
        ));
    }
    Found {
        superblock: sb,
        at,
        copy,
        bad_descriptors,
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::mke2fs;
    use crate::image::Memory;

    /// An installer's first megabytes take the front of a file system whose copies are whole.
    #[test]
    fn a_lost_front_is_replaced_by_copies() {
        for (args, mib) in [
            (&["-t", "ext3", "-b", "1024"][..], 32),
            (&["-t", "ext4", "-b", "2048"], 64),
            (&["-t", "ext4", "-b", "4096"], 160),
        ] {
            let Some(mut image) = mke2fs(args, mib, None) else {
                return;
            };
            let whole = find(&Memory::new("m", image.clone())).unwrap();
            assert_eq!(
                (whole.at, whole.copy, whole.bad_descriptors),
                (PRIMARY, 0, 0)
            );
            assert_eq!(whole.notes, Vec::<String>::new());
            let block = whole.superblock.block_size as usize;
            // Descriptors only: the superblock stays.
            let gdt = whole.superblock.descriptors_at(0).0 as usize;
            image[gdt..gdt + block].fill(0xff);
            let found = find(&Memory::new("m", image.clone())).unwrap();
            assert_eq!(
                (found.at, found.copy, found.bad_descriptors),
                (PRIMARY, 1, 0)
            );
            image[..65_536].fill(0);
            let found = find(&Memory::new("m", image)).unwrap();
            assert_eq!((found.copy, found.bad_descriptors), (1, 0));
            assert_eq!(found.superblock.uuid, whole.superblock.uuid);
            assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        }
    }
}
