//! ddrescue maps: whatever is parsed is written and read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let path = std::path::Path::new("m");
    if let Ok(map) = disinter::image::map::RescueMap::parse(path, &text) {
        let again = disinter::image::map::RescueMap::parse(path, &map.to_text());
        let unread = |m: &disinter::image::map::RescueMap| m.unread(m.end());
        assert_eq!(again.map(|m| unread(&m)).ok(), Some(unread(&map)));
        let _ = map.after(&[map.blocks()[0].0], &map.unread(map.end()));
    }
});
