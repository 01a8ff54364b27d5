//! Two members as mirrors of each other, compared byte by byte as `disinter md pairs` does it.
#![no_main]

#[path = "../members.rs"]
mod members;

use disinter::image::progress::Silent;
use disinter::investigate::{arrays, mirrors};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let slices = members::members(data, 2);
    if slices.is_empty() {
        return;
    }
    let members = arrays::members(&slices);
    for as_mirrors in [false, true] {
        let options = mirrors::Options {
            sample: false,
            as_mirrors,
        };
        let _ = mirrors::pairs(&members, options, &Silent);
    }
});
