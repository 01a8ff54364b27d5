//! A file or block device as the system reads it.

use super::careful::Device;
use crate::file::open_read_only;
use crate::units::{Bytes, Extent, SECTOR, SECTOR_LEN};
use rustix::fs::{Advice, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the kernel reads of a file at a time: one page fails as a whole.
const PAGE: usize = 4096;

/// Buffers of direct reads start at a multiple of this; no device asks for more.
const ALIGNMENT: usize = 4096;

/// An open file or block device.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    /// The same device past the page cache, to tell which sector of a page fails.
    direct: Option<File>,
    unit: usize,
    /// Bytes of a sector as a block device shows them.
    shown: Option<u32>,
    block_device: bool,
    /// Whether all of it can stay in the page cache and leave room for what others keep there.
    fits_in_memory: bool,
}

impl Disk {
    /// Opens a path that is known to be a file or a block device.
    pub(super) fn open(path: &Path, block_device: bool) -> io::Result<Disk> {
        let file = open_read_only(path, OFlags::empty())?;
        let direct = match block_device {
            true => open_read_only(path, OFlags::DIRECT).ok(),
            false => None,
        };
        // What fails is a sector of the disk's own: one of 4096 bytes that is shown as eight would be tried eight times.
        let shown = rustix::fs::ioctl_blksszget(&file).ok();
        let own = rustix::fs::ioctl_blkpbszget(&file).ok();
        let unit = direct.as_ref().and(shown.max(own));
        let unit = unit.and_then(|unit| usize::try_from(unit).ok());
        Ok(Disk {
            unit: unit
                .filter(|u| (SECTOR_LEN..=ALIGNMENT).contains(u) && u.is_power_of_two())
                .unwrap_or(PAGE),
            fits_in_memory: fits_in_memory((&file).seek(SeekFrom::End(0))?),
            file,
            direct,
            shown: shown.filter(|_| block_device),
            block_device,
        })
    }

    /// Whether it is a block device.
    pub(super) fn is_block_device(&self) -> bool {
        self.block_device
    }

    /// Bytes of a sector as a block device shows them.
    pub(super) fn sector_size(&self) -> Option<u32> {
        self.shown
    }

    /// An unreadable front is a finding, a device that gives nothing at all is not an image.
    pub(super) fn probe(&self, length: Bytes) -> io::Result<()> {
        let mut sector = [0; SECTOR_LEN];
        let middle = length.0 / 2 / SECTOR * SECTOR;
        let last = length.0.saturating_sub(SECTOR);
        let mut result = Ok(());
        for at in [0, middle, last] {
            match self.file.read_at(&mut sector, at) {
                Ok(_) => return Ok(()),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Drops an extent that was read from the page cache, where all of the disk would not fit in there: a pass over
    /// terabytes must not push out what the machine lives on.
    pub(super) fn let_go(&self, extent: Extent) {
        if !self.fits_in_memory
            && let Some(length) = NonZeroU64::new(extent.length.0)
        {
            // Only advice: a failure changes nothing.
            let _ =
                rustix::fs::fadvise(&self.file, extent.offset.0, Some(length), Advice::DontNeed);
        }
    }

    /// The next extent of `rest` that may hold data.
    pub(super) fn next_data(&self, rest: Extent) -> Option<Extent> {
        use rustix::fs::{SeekFrom as Seek, seek};
        // What cannot be told (a block device, a file system without holes) may hold data. Reads here say where they
        // read, so the file's own position is free.
        match seek(&self.file, Seek::Data(rest.offset.0)) {
            Ok(data) => {
                let end = seek(&self.file, Seek::Hole(data)).unwrap_or(rest.end().0);
                Some(Extent::new(
                    Bytes(data),
                    Bytes(end).min(rest.end()) - Bytes(data),
                ))
            }
            // Also where the file has become shorter meanwhile: what it no longer has is no hole.
            Err(rustix::io::Errno::NXIO) => {
                let now = self.length().filter(|now| *now < rest.end())?;
                let from = now.max(rest.offset);
                Some(Extent::new(from, rest.end() - from))
            }
            Err(_) => Some(rest),
        }
    }
}

/// Whether `length` bytes are at most half of the memory that is free for caches; yes where that cannot be told.
fn fits_in_memory(length: u64) -> bool {
    let kib = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
            line.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
    kib.is_none_or(|kib| length <= kib.saturating_mul(1024) / 2)
}

impl Device for Disk {
    fn length(&self) -> Option<Bytes> {
        // Where a block device ends, too, without a call of its own.
        (&self.file).seek(SeekFrom::End(0)).ok().map(Bytes)
    }

    fn unit(&self) -> usize {
        self.unit
    }

    fn read(&self, at: Bytes, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, at.0);
        if read.is_err() {
            // Reading ahead would touch bad sectors that nobody asked for. Only advice: a failure changes nothing.
            let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
        }
        read
    }

    fn read_unit(&self, at: Bytes, buf: &mut [u8]) -> io::Result<usize> {
        let Some(direct) = &self.direct else {
            return self.read(at, buf);
        };
        let mut room = vec![0; buf.len() + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let Some(aligned) = room.get_mut(start..start + buf.len()) else {
            return self.read(at, buf);
        };
        match direct.read_at(aligned, at.0) {
            Ok(n) => {
                buf.copy_from_slice(aligned);
                Ok(n)
            }
            // A device that takes no direct read of this shape after all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.read(at, buf),
            Err(error) => Err(error),
        }
    }
}
