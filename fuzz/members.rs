//! An input as so many members of one length, for the targets that take several.

use disinter::image::Memory;
use disinter::inputs::Slice;
use disinter::units::{Bytes, Extent};
use std::sync::Arc;

/// The members, in whole sectors; none where the input is too short.
pub fn members(data: &[u8], count: usize) -> Vec<Slice> {
    let length = data.len() / count / 512 * 512;
    if length == 0 {
        return Vec::new();
    }
    let member = |(input, bytes): (usize, &[u8])| Slice {
        name: format!("m{input}"),
        input,
        extent: Extent::new(Bytes(0), Bytes(length as u64)),
        number: None,
        source: Arc::new(Memory::new(format!("m{input}"), bytes.to_vec())),
    };
    data.chunks_exact(length).take(count).enumerate().map(member).collect()
}
