//! Three members through `disinter md examine`: superblocks with their bitmaps and lists of bad blocks, what is left of
//! either, firmware's metadata (DDF, IMSM), and what they agree on.
#![no_main]

use disinter::image::Memory;
use disinter::image::progress::Silent;
use disinter::inputs::Slice;
use disinter::md::examine::{Disk, examine};
use disinter::units::{Bytes, Extent};
use std::sync::Arc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let length = data.len() / 3 / 512 * 512;
    if length == 0 {
        return;
    }
    let slices: Vec<Slice> = data
        .chunks_exact(length)
        .take(3)
        .enumerate()
        .map(|(input, bytes)| Slice {
            name: format!("m{input}"),
            input,
            extent: Extent::new(Bytes(0), Bytes(length as u64)),
            number: None,
            source: Arc::new(Memory::new(format!("m{input}"), bytes.to_vec())),
        })
        .collect();
    let disks: Vec<Disk> = slices
        .iter()
        .map(|slice| Disk {
            source: slice.source.clone(),
            parts: vec![(slice.name.clone(), slice.extent)],
        })
        .collect();
    for search in [false, true] {
        let mut found = examine(&disks, search, &Silent);
        disinter::investigate::age::judge(&mut found, &slices, &Silent);
    }
});
