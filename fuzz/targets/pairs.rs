//! Two members as mirrors of each other, compared byte by byte as `disinter md pairs` does it.
#![no_main]

use disinter::image::Memory;
use disinter::image::progress::Silent;
use disinter::inputs::Slice;
use disinter::investigate::{arrays, mirrors};
use disinter::units::{Bytes, Extent};
use std::sync::Arc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let length = data.len() / 2 / 512 * 512;
    if length == 0 {
        return;
    }
    let slices: Vec<Slice> = data
        .chunks_exact(length)
        .take(2)
        .enumerate()
        .map(|(input, bytes)| Slice {
            name: format!("m{input}"),
            input,
            extent: Extent::new(Bytes(0), Bytes(length as u64)),
            number: None,
            source: Arc::new(Memory::new(format!("m{input}"), bytes.to_vec())),
        })
        .collect();
    let members = arrays::members(&slices);
    for as_mirrors in [false, true] {
        let options = mirrors::Options {
            sample: false,
            as_mirrors,
        };
        let _ = mirrors::pairs(&members, options, &Silent);
    }
});
