//! How an image of a layout is known again: a few places that hold something, by their hashes.
//!
//! Letters of disks move from one start of a machine to the next, and the disks of an array have one size: a layout that
//! goes by path and size reads them in a wrong order without a word.

use crate::image::{Source, read_vec};
use crate::parse::is_blank;
use crate::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

/// Bytes of a place.
const PLACE: Bytes = Bytes(4096);

/// Places that are written down.
const MOST: usize = 4;

/// Places that are looked at for them: the start, then over all of it, then dense in front, where even an empty disk holds
/// something.
fn candidates(size: Bytes) -> impl Iterator<Item = Bytes> {
    let wide = (1..64u64).map(move |i| size.0 / 64 * i / PLACE.0 * PLACE.0);
    let dense = (0..64u64).map(|i| i * (64 << 10));
    [0].into_iter().chain(wide).chain(dense).map(Bytes)
}

fn hash(image: &dyn Source, at: Bytes) -> Option<(String, bool)> {
    let extent = Extent::new(at, PLACE);
    if extent.end() > image.len() {
        return None;
    }
    let bytes = read_vec(image, extent, PLACE.to_len(4096)).ok()?;
    Some((hex::encode(Sha256::digest(&bytes)), is_blank(&bytes)))
}

/// Places of an image that tell it from others, `OFFSET SHA256` each; none of a blank one.
pub fn places(image: &dyn Source) -> Vec<String> {
    let mut found = Vec::new();
    for at in candidates(image.len()) {
        if found.len() == MOST {
            break;
        }
        if let Some((sha256, false)) = hash(image, at) {
            found.push((at, sha256));
        }
    }
    found.sort_unstable();
    found.dedup();
    let written = found
        .into_iter()
        .map(|(at, sha256)| format!("{} {sha256}", at.0));
    written.collect()
}

/// How many of the places that were written down are as they were, and how many are not. What cannot be read, or is no
/// place, is neither.
pub(super) fn compare(image: &dyn Source, known: &[String]) -> (usize, usize) {
    let (mut same, mut changed) = (0, 0);
    for place in known.iter().take(4 * MOST) {
        let place = place.split_once(' ');
        let place = place.and_then(|(at, was)| Some((Bytes(at.parse().ok()?), was)));
        let Some((at, was)) = place else { continue };
        match hash(image, at) {
            Some((now, _)) if now == was => same += 1,
            Some(_) => changed += 1,
            None => {}
        }
    }
    (same, changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;

    /// Two disks of one size in each other's place would be read as each other.
    #[test]
    fn a_disk_is_told_from_another() {
        let disk = |seed: u8| {
            let mut bytes = vec![0; 8 << 20];
            bytes[..512].fill(seed);
            bytes[5 << 20..6 << 20].fill(seed);
            (5 << 20..6 << 20)
                .step_by(16)
                .for_each(|at| bytes[at] = at as u8 ^ seed);
            Memory::new("sda", bytes)
        };
        let (one, other) = (disk(1), disk(2));
        let known = places(&one);
        assert_eq!(known.len(), MOST);
        assert_eq!(compare(&one, &known), (MOST, 0));
        assert_eq!(compare(&other, &known), (0, MOST));
        assert_eq!(
            places(&Memory::new("blank", vec![0; 8 << 20])),
            Vec::<String>::new()
        );
        // Shorter than a place, or than what was written down.
        assert_eq!(
            places(&Memory::new("short", vec![7; 100])),
            Vec::<String>::new()
        );
        let odd = ["", "x y", "0", "99999999999 aa"].map(str::to_owned);
        assert_eq!(compare(&one, &odd), (0, 0));
    }
}
