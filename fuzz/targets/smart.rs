//! smartctl's JSON: everything that the ranking asks of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(value) = serde_json::from_slice(data)
        && let Some(report) = disinter::smart::report::Report::new("f", 0, value)
    {
        let _ = disinter::smart::rank::rank(&[report]);
    }
});
