//! Files that tell an order of members: heads of ELF, tar, ZIP and PNG, and gzip and JPEG followed over two members.
#![no_main]

use disinter::image::{Memory, SharedSource};
use disinter::units::Bytes;

/// What a sample reads at a time.
const BLOCK: usize = 64 << 10;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut finder = disinter::files::Finder::default();
    let halves = data.split_at(data.len() / 2);
    let mut members: Vec<SharedSource> = Vec::new();
    for (member, bytes) in [halves.0, halves.1].into_iter().enumerate() {
        for (i, block) in bytes.chunks(BLOCK).enumerate() {
            finder.look(member, Bytes((i * BLOCK) as u64), block);
        }
        members.push(std::sync::Arc::new(Memory::new(format!("m{member}"), bytes.to_vec())));
    }
    finder.follow(&members);
    let _ = finder.finish();
});
