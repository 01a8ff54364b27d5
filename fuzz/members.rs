//! An input as so many members of one length, for the targets that take several.

use disinter::image::Memory;
use disinter::inputs::Slice;
use disinter::units::{Bytes, Extent};
use std::sync::Arc;

#[path = "mend.rs"]
mod mend;

/// The members, in whole sectors, with their checksums put right; none where the input is too short.
pub fn members(data: &[u8], count: usize) -> Vec<Slice> {
    let member = |(input, bytes): (usize, Vec<u8>)| Slice {
        name: format!("m{input}"),
        input,
        extent: Extent::new(Bytes(0), Bytes(bytes.len() as u64)),
        number: None,
        source: Arc::new(Memory::new(format!("m{input}"), bytes)),
    };
    parts(data, count)
        .into_iter()
        .enumerate()
        .map(member)
        .collect()
}

/// The bytes of each.
pub fn parts(data: &[u8], count: usize) -> Vec<Vec<u8>> {
    let length = data.len() / count / 512 * 512;
    if length == 0 {
        return Vec::new();
    }
    data.chunks_exact(length)
        .take(count)
        .map(mend::mended)
        .collect()
}
