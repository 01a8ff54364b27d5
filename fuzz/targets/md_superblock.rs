//! md superblocks of every version, on a member of whatever length.
#![no_main]

#[path = "../mend.rs"]
mod mend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let member = memory(data);
    let (found, _) = disinter::md::superblock::Superblock::all(&member);
    for superblock in found {
        let _ = (superblock.level_name(), superblock.data_end());
    }
});

fn memory(data: &[u8]) -> disinter::image::Memory {
    disinter::image::Memory::new("fuzz", mend::mended(data))
}
