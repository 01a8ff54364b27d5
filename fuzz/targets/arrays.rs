//! Three members of one length through the search for arrays, as `disinter md guess` does it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let length = data.len() / 3 / 512 * 512;
    if length == 0 {
        return;
    }
    let slices: Vec<disinter::inputs::Slice> = data
        .chunks_exact(length)
        .take(3)
        .enumerate()
        .map(|(input, bytes)| disinter::inputs::Slice {
            name: format!("m{input}"),
            input,
            extent: disinter::units::Extent::new(disinter::units::Bytes(0), disinter::units::Bytes(length as u64)),
            number: None,
            source: std::sync::Arc::new(disinter::image::Memory::new(format!("m{input}"), bytes.to_vec())),
        })
        .collect();
    let known = disinter::investigate::arrays::Known::default();
    let found = disinter::investigate::search::find(&slices, &known, &disinter::image::progress::Silent);
    for found in found.arrays {
        let _ = found.open();
    }
});
