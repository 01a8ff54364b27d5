//! LVM metadata texts: carving, the grammar, faults, the restore file, and the volumes that a text describes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(carved) = disinter::layout::text_of(data) {
        let vg = &carved.vg;
        let _ = (vg.faults(), disinter::lvm::restore::restore_file(&carved));
        for lv in vg.visible() {
            let _ = (vg.size(lv), vg.linear_extents(lv));
        }
    }
});
