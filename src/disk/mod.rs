//! What lies on a disk before any file system: partition tables.

pub mod gpt;
pub mod mbr;

use crate::image::Source;
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;

/// A partition table's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The MBR's.
    Dos,
    /// GUID partition table.
    Gpt,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its kind.
    pub kind: Kind,
    /// The disk's own number, as fdisk prints it.
    pub disk_id: String,
    /// The partitions, by number.
    pub partitions: Vec<Partition>,
    /// Whether its checksum holds.
    pub checksum: Checksum,
    /// What is odd about it, in words.
    pub warnings: Vec<String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// As the kernel counts, from 1; logical ones from 5.
    pub number: u32,
    /// Where it lies.
    pub extent: Extent,
    /// The type: two hex digits, or a GUID.
    pub type_id: String,
}

/// The partition table of a disk, or of a logical volume that is one.
///
/// # Errors
/// [`ParseError::NotThis`] where none lies there.
pub fn partitions(source: &dyn Source) -> Parsed<Table> {
    let mut table = match mbr::read(source) {
        Ok(table)
            if table
                .partitions
                .iter()
                .any(|p| p.type_id == mbr::PROTECTIVE) =>
        {
            gpt::read(source)?
        }
        Ok(table) => table,
        // A GPT whose protective MBR is gone is still a GPT.
        Err(ParseError::NotThis) => gpt::read(source)?,
        Err(error) => return Err(error),
    };
    for partition in &table.partitions {
        let behind = partition.extent.end() - source.len();
        if behind > Bytes::ZERO {
            table.warnings.push(format!(
                "partition {} ends {behind} behind the end of {}: the image is shorter than its partition table says",
                partition.number,
                source.name(),
            ));
        }
    }
    Ok(table)
}
