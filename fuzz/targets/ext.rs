//! ext2, ext3, ext4: the check, the journal, names, the bytes of files, and what holds each block.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let volume = memory(data);
    let _ = disinter::fs::ext_check::check(&volume);
    let whole = disinter::units::Extent::new(disinter::units::Bytes(0), disinter::units::Bytes(data.len() as u64));
    if let Ok(browser) = disinter::fs::browse::Browser::open(std::sync::Arc::new(volume))
        && let Ok(listing) = browser.list(b"/")
    {
        for entry in listing.entries.iter().take(16) {
            let path = [b"/", entry.name.as_slice()].concat();
            let _ = browser.read(&path, &mut Bounded(1 << 20));
        }
        let _ = browser.owners(&[whole]);
    }
});

fn memory(data: &[u8]) -> disinter::image::Memory {
    disinter::image::Memory::new("fuzz", data.to_vec())
}

/// Takes so many bytes and then says no: a file may claim exabytes.
struct Bounded(usize);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
