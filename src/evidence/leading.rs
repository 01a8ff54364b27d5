//! The leading sectors of every disk and partition, and md's superblocks: what would be needed to undo a wrong step.

use crate::image::read_vec;
use crate::inputs::{Input, Slice};
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How much of each front is kept, as in the story.
const FRONT: Bytes = Bytes(4096);

/// One extent that is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The file in the case that holds it.
    pub file: String,
    /// The image.
    pub image: String,
    /// Where in the image.
    #[serde(flatten)]
    pub extent: Extent,
    /// What lies there, in words.
    pub what: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Reads what is to be kept. What cannot be read is returned in words.
pub fn collect(inputs: &[Input], slices: &[Slice]) -> (Vec<Kept>, Vec<String>) {
    let mut places: Vec<(usize, Extent, String)> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let front = Extent::new(Bytes::ZERO, FRONT);
        places.push((index, front, format!("front of {}", input.name)));
    }
    for slice in slices {
        let base = slice.extent.offset;
        if slice.number.is_some() {
            let front = Extent::new(base, FRONT.min(slice.extent.length));
            places.push((slice.input, front, format!("front of {}", slice.name)));
        }
        for sb in Superblock::all(&*slice.source).0 {
            let what = format!("md superblock {} of {}", sb.version, slice.name);
            places.push((slice.input, Extent::new(base + sb.at, FRONT), what));
        }
    }
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for (index, extent, what) in places {
        let Some(input) = inputs.get(index) else {
            continue;
        };
        match read_vec(&*input.source, extent, FRONT.to_len(4096)) {
            Ok(bytes) => kept.push(Kept {
                file: format!("leading/{index:03}-{}.bin", extent.offset.0),
                image: input.name.clone(),
                extent: Extent::new(extent.offset, Bytes(bytes.len() as u64)),
                what,
                sha256: hex::encode(Sha256::digest(&bytes)),
                bytes,
            }),
            Err(error) => lost.push(format!("{what}: {error}")),
        }
    }
    kept.sort_by(|a, b| a.file.cmp(&b.file));
    // A partition that starts with its disk, or a superblock in a front, is one file.
    kept.dedup_by(|a, b| a.file == b.file);
    (kept, lost)
}
