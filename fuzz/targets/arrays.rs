//! Three members of one length through the search for arrays, as `disinter md guess` does it.
#![no_main]

#[path = "../members.rs"]
mod members;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let slices = members::members(data, 3);
    if slices.is_empty() {
        return;
    }
    let known = disinter::investigate::arrays::Known::default();
    let found = disinter::investigate::search::find(&slices, &known, &disinter::image::progress::Silent);
    for found in found.arrays {
        let _ = found.open();
    }
});
