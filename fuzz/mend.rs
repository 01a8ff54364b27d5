//! Checksums of an input put right. What lies behind one is hardly ever reached by an input that was changed by chance,
//! and on a damaged disk it is what most metadata still has. A stored checksum of all ones is left as it is: records with
//! a wrong one are inputs, too.

use crc::{CRC_32_ISO_HDLC, Crc};
use disinter::{lvm, md};

const SECTOR: usize = 512;

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The input, in which the checksums of md's and LVM's metadata and of GPTs hold wherever one starts a sector.
pub fn mended(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for at in (0..bytes.len()).step_by(SECTOR) {
        // Each leaves alone what is not its own.
        let _ = md_one(&mut bytes, at);
        let _ = md_zero(&mut bytes, at);
        let _ = lvm_label(&mut bytes, at);
        let _ = lvm_area(&mut bytes, at);
        let _ = gpt(&mut bytes, at);
    }
    bytes
}

/// A superblock of version 1: its own sum, over as many roles as it says.
fn md_one(bytes: &mut [u8], at: usize) -> Option<()> {
    let block = bytes.get_mut(at..)?;
    block
        .starts_with(&[0xfc, 0x4e, 0x2b, 0xa9, 1])
        .then_some(())?;
    let roles = number(block, 220)?.min(1 << 11);
    let sum = md::sb1::checksum(block.get(..256 + 2 * roles)?);
    put(block, 216, sum)
}

/// A superblock of version 0.90: the sum of its words, its two halves added.
fn md_zero(bytes: &mut [u8], at: usize) -> Option<()> {
    const CHECKSUM: usize = 38 * 4;
    let block = bytes.get_mut(at..at + 4096)?;
    block
        .starts_with(&[0xfc, 0x4e, 0x2b, 0xa9, 0])
        .then_some(())?;
    let words = block.as_chunks::<4>().0.iter().enumerate();
    let sum: u64 = words
        .filter(|(i, _)| i * 4 != CHECKSUM)
        .map(|(_, word)| u64::from(u32::from_le_bytes(*word)))
        .sum();
    put(
        block,
        CHECKSUM,
        (sum as u32).wrapping_add((sum >> 32) as u32),
    )
}

fn lvm_label(bytes: &mut [u8], at: usize) -> Option<()> {
    let sector = bytes.get_mut(at..at + SECTOR)?;
    sector.starts_with(lvm::label::MAGIC).then_some(())?;
    let sum = lvm::crc(sector.get(20..)?);
    put(sector, 16, sum)
}

/// The header of a metadata area, and the texts that it says where they lie.
fn lvm_area(bytes: &mut [u8], at: usize) -> Option<()> {
    let area = bytes.get_mut(at..)?;
    (area.get(4..20)? == lvm::mda::MAGIC).then_some(())?;
    let size = number(area, 32)?;
    for slot in 0..4 {
        let slot = 40 + 24 * slot;
        let (from, length) = (number(area, slot)?, number(area, slot + 8)?);
        if from < SECTOR || length == 0 || from >= size {
            break;
        }
        // A text that reaches the ring's end goes on behind the header.
        let first = length.min(size - from);
        let Some(front) = area.get(from..from + first) else {
            break;
        };
        let Some(rest) = area.get(SECTOR..SECTOR + length - first) else {
            break;
        };
        let sum = lvm::crc(&[front, rest].concat());
        put(area, slot + 16, sum);
    }
    let sum = lvm::crc(area.get(4..SECTOR)?);
    put(area, 0, sum)
}

/// A header of a GPT and its array of entries.
fn gpt(bytes: &mut [u8], at: usize) -> Option<()> {
    bytes.get(at..)?.starts_with(b"EFI PART").then_some(())?;
    let header = bytes.get(at..at + SECTOR)?;
    let array = number(header, 72)?.checked_mul(SECTOR)?;
    let length = number(header, 80)?.checked_mul(number(header, 84)?)?;
    if let Some(entries) = array
        .checked_add(length)
        .and_then(|end| bytes.get(array..end))
    {
        let sum = CRC32.checksum(entries);
        put(bytes.get_mut(at..)?, 88, sum);
    }
    let header = bytes.get_mut(at..at + SECTOR)?;
    let covered = number(header, 12)?.min(SECTOR);
    let mut blank = header.get(..covered)?.to_vec();
    blank.get_mut(16..20)?.fill(0);
    put(header, 16, CRC32.checksum(&blank))
}

/// Thirty-two bits, little-endian, as a length; those of 64 bits that are more than that name nothing in an input.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_le_bytes(field.try_into().ok()?)).ok()
}

/// Puts a sum in its place, unless all ones stand there.
fn put(bytes: &mut [u8], at: usize, sum: u32) -> Option<()> {
    let place = bytes.get_mut(at..at + 4)?;
    if place != [0xff; 4] {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    Some(())
}
