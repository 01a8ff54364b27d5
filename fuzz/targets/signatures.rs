//! What lies at the start of a volume: all file systems and the like that are recognised.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = disinter::fs::probe::probe(&memory(data));
});

fn memory(data: &[u8]) -> disinter::image::Memory {
    disinter::image::Memory::new("fuzz", data.to_vec())
}
