//! Three members through `disinter md examine`: superblocks with their bitmaps and lists of bad blocks, what is left of
//! either, firmware's metadata (DDF, IMSM), and what they agree on.
#![no_main]

#[path = "../members.rs"]
mod members;

use disinter::image::progress::Silent;
use disinter::md::examine::{Disk, examine};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let slices = members::members(data, 3);
    if slices.is_empty() {
        return;
    }
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
