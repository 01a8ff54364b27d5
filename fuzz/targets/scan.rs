//! A whole image through the sweep, as `disinter scan` does it.
#![no_main]

#[path = "../mend.rs"]
mod mend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let data = mend::mended(data);
    let image = disinter::image::Memory::new("fuzz", data.clone());
    let scan = disinter::scan::scan(&disinter::scan::Job::of(&image), 0, Default::default(), &disinter::image::progress::Silent);
    let _ = disinter::evidence::backup::what_is(data.get(..4096).unwrap_or(&data));
    assert!(scan.gaps.is_none());
});
