//! Partition tables: MBR with its chain of extended ones, both copies of GPT.
#![no_main]

#[path = "../mend.rs"]
mod mend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disk = memory(data);
    if let Ok(table) = disinter::disk::partitions(&disk) {
        for partition in &table.partitions {
            let _ = table.partition(partition.number);
        }
    }
});

fn memory(data: &[u8]) -> disinter::image::Memory {
    disinter::image::Memory::new("fuzz", mend::mended(data))
}
