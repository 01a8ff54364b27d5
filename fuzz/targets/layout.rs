//! Layout files: parsed, and their arrays' geometry worked out.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(layout) = toml::from_str::<disinter::layout::Layout>(&text) {
        for array in &layout.arrays {
            if let Ok(geometry) = array.geometry() {
                for at in [0, 1 << 20, u64::MAX / 2] {
                    let _ = geometry.places(disinter::units::Bytes(at));
                }
            }
        }
    }
});
