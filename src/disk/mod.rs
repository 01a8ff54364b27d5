//! What lies on a disk before any volume: partition tables.
//!
//! [`partitions`] is the one way in. It reads a DOS (MBR) table with its
//! logical partitions, or a GPT from whichever of its two copies is sound,
//! and says in words what does not fit. A partition that reaches behind the
//! end of the image is kept: the table may be right and the image short.

pub mod gpt;
pub mod mbr;

use crate::image::Source;
use crate::parse::{Checksum, ParseError, Parsed};
use crate::units::{Bytes, Extent};
use serde::Serialize;
use std::fmt;

/// Which kind of table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// The PC's table in the first sector, with extended partitions.
    Dos,
    /// The GUID partition table.
    Gpt,
}

impl TableKind {
    /// As sfdisk calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            TableKind::Dos => "dos",
            TableKind::Gpt => "gpt",
        }
    }
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// As the kernel counts them: from 1; logical ones of a DOS table from 5.
    pub number: u32,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// As sfdisk writes it: `83`, or an upper-case GUID.
    pub type_id: String,
    /// The GPT entry's own GUID, upper case.
    pub uuid: Option<String>,
    /// The GPT entry's name, safe to show.
    pub name: Option<String>,
    /// The active flag of a DOS table, the legacy-boot attribute of a GPT.
    pub bootable: bool,
}

impl Partition {
    /// Whether it only holds the chain of logical partitions.
    pub fn is_extended(&self) -> bool {
        matches!(self.type_id.as_str(), "5" | "f" | "85")
    }
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Which kind.
    pub kind: TableKind,
    /// As sfdisk writes it: `0x90909090`, or an upper-case GUID.
    pub disk_id: String,
    /// Bytes a sector of the table's own numbers: 512 or 4096.
    pub sector_size: u32,
    /// Sorted by number.
    pub partitions: Vec<Partition>,
    /// What does not fit, each a sentence for a person.
    pub warnings: Vec<String>,
    /// The GPT's own checksums over header and entries; a DOS table has none.
    pub checksum: Checksum,
}

impl Table {
    /// The partition of this number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.number == number)
    }
}

/// The partition table of a whole disk.
///
/// # Errors
/// [`ParseError::NotThis`] where none lies here (also where the first sector
/// is a FAT or NTFS boot sector), [`ParseError::Unreadable`] where neither the
/// front nor a backup GPT could be read, [`ParseError::Broken`] where a
/// protective MBR promises a GPT of which no copy parses.
pub fn partitions(source: &dyn Source) -> Parsed<Table> {
    let mut table = match mbr::read(source) {
        Ok(first) if first.is_protective() => gpt::read(source).map_err(|error| match error {
            ParseError::NotThis => ParseError::broken(
                Bytes(512),
                "the GPT that the protective MBR announces",
                "none there and none at the end of the image",
            ),
            other => other,
        })?,
        Ok(first) => {
            let mut table = mbr::table(source, &first);
            if gpt::read(source).is_ok() {
                table.warnings.push(
                    "a GPT lies here too; the DOS table, which is no protective one, is used"
                        .to_owned(),
                );
            }
            table
        }
        Err(front) => gpt_without_mbr(source, front)?,
    };
    table.partitions.sort_by_key(|p| p.number);
    warn_of_short_image(&mut table, source.len());
    Ok(table)
}

/// A front that was overwritten leaves the backup GPT at the end of the disk.
fn gpt_without_mbr(source: &dyn Source, front: ParseError) -> Parsed<Table> {
    let mut table = gpt::read(source).map_err(|_| front)?;
    table
        .warnings
        .push("there is no protective MBR before the GPT".to_owned());
    Ok(table)
}

/// The most useful thing to know of an image cut short, or of a table from another disk.
fn warn_of_short_image(table: &mut Table, length: Bytes) {
    for partition in &table.partitions {
        let end = partition.extent.end();
        if end > length {
            table.warnings.push(format!(
                "image is shorter than its partition table says: partition {} ends {} behind the end of the image ({} bytes)",
                partition.number,
                end - length,
                (end - length).0,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use proptest::prelude::*;
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// The image after sfdisk ran `script` on it, and sfdisk's own reading of it; `None` without sfdisk.
    fn sfdisk(mib: u64, script: &str) -> Option<(Vec<u8>, serde_json::Value)> {
        use std::io::Write;
        if !Path::new("/usr/sbin/sfdisk").exists() && !Path::new("/sbin/sfdisk").exists() {
            eprintln!("skipped: sfdisk is not installed");
            return None;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(mib << 20).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut child = Command::new("sfdisk")
            .env("PATH", &path)
            .arg("-q")
            .arg(file.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
        let out = Command::new("sfdisk")
            .env("PATH", &path)
            .arg("-J")
            .arg(file.path())
            .output()
            .unwrap();
        let json = serde_json::from_slice(&out.stdout).unwrap();
        Some((std::fs::read(file.path()).unwrap(), json))
    }

    fn assert_same(table: &Table, json: &serde_json::Value) {
        let theirs = &json["partitiontable"];
        assert_eq!(theirs["label"], table.kind.as_str());
        assert_eq!(theirs["id"], table.disk_id.as_str());
        let list = theirs["partitions"].as_array().unwrap();
        assert_eq!(list.len(), table.partitions.len(), "{table:?}");
        for (a, b) in list.iter().zip(&table.partitions) {
            assert_eq!(a["start"].as_u64().unwrap() * 512, b.extent.offset.0);
            assert_eq!(a["size"].as_u64().unwrap() * 512, b.extent.length.0);
            assert_eq!(a["type"], b.type_id.as_str());
            assert_eq!(a["name"].as_str(), b.name.as_deref());
            assert_eq!(a["uuid"].as_str(), b.uuid.as_deref());
            // sfdisk writes a GPT's as one of the attributes.
            let bootable = a["bootable"].as_bool().unwrap_or(false) || a["attrs"].is_string();
            assert_eq!(bootable, b.bootable);
            let node = a["node"].as_str().unwrap();
            assert!(node.ends_with(&b.number.to_string()), "{node}");
        }
    }

    /// A logical partition off by its container's start is the classic error of EBR readers; sfdisk is the judge.
    #[test]
    fn dos_with_logical_partitions_as_sfdisk_reads_it() {
        let script = "label: dos\nlabel-id: 0x90abcdef\nstart=2048,size=8192,type=83,bootable\nsize=4096,type=fd\nsize=40960,type=5\n\n\nsize=8192,type=8e\nsize=4096,type=82\nsize=6144,type=83\n";
        let Some((bytes, json)) = sfdisk(64, script) else {
            return;
        };
        let table = partitions(&Memory::new("m", bytes.clone())).unwrap();
        assert_same(&table, &json);
        assert_eq!(table.warnings, Vec::<String>::new());
        assert_eq!(table.checksum, Checksum::None);
        // The same disk cut in its second logical partition: kept, and told.
        let cut = bytes[..table.partition(6).unwrap().extent.offset.0 as usize + 100].to_vec();
        let short = partitions(&Memory::new("m", cut)).unwrap();
        assert!(short.partition(6).is_some());
        assert!(short.warnings.iter().any(|w| w.contains("shorter than")));
    }

    /// A GPT whose primary was overwritten must come from its backup, and say so.
    #[test]
    fn gpt_and_its_backup_as_sfdisk_reads_them() {
        let script = "label: gpt\nsize=8192,name=\"b\u{f6}ot\",attrs=\"LegacyBIOSBootable\"\nsize=16384,type=linux-raid\nsize=8192,type=lvm,name=data\n";
        let Some((bytes, json)) = sfdisk(32, script) else {
            return;
        };
        let table = partitions(&Memory::new("m", bytes.clone())).unwrap();
        assert_same(&table, &json);
        assert_eq!(table.checksum, Checksum::Ok);
        assert_eq!(table.warnings, Vec::<String>::new());
        for front in [
            512..1024,    // the header
            1024..20_480, // the entries
            0..1_048_576, // the whole front, as dd leaves it
        ] {
            let mut damaged = bytes.clone();
            damaged[front.clone()].fill(0);
            let table = partitions(&Memory::new("m", damaged)).unwrap();
            assert_same(&table, &json);
            assert_eq!(table.checksum, Checksum::Ok);
            assert!(
                table.warnings.iter().any(|w| w.contains("backup")),
                "{front:?} {:?}",
                table.warnings
            );
        }
    }

    /// A boot sector read as a table sends the search to nonsense extents.
    #[test]
    fn boot_sectors_are_not_tables() {
        let mut sector = vec![0; 1 << 20];
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(
            partitions(&Memory::new("blank", sector.clone())),
            Err(ParseError::NotThis)
        );
        let mut text = sector.clone();
        text[400..510].fill(b'x');
        assert_eq!(
            partitions(&Memory::new("text", text)),
            Err(ParseError::NotThis)
        );
        let mut ntfs = sector.clone();
        ntfs[..11].copy_from_slice(b"\xeb\x52\x90NTFS    ");
        ntfs[440] = 1;
        assert_eq!(
            partitions(&Memory::new("ntfs", ntfs)),
            Err(ParseError::NotThis)
        );
    }

    /// An unreadable first sector is not "no partition table".
    #[test]
    fn an_unreadable_front_is_told() {
        let gap = Extent::new(Bytes(0), Bytes(512));
        let source = Memory::new("m", vec![0; 1 << 20]).with_unread(gap);
        assert_eq!(partitions(&source), Err(ParseError::Unreadable(gap)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Hostile tables (loops of extended partitions, huge counts) must end, without a panic.
        #[test]
        fn arbitrary_tables_do_no_harm(
            entries in prop::collection::vec(any::<u8>(), 64),
            header in prop::collection::vec(any::<u8>(), 92),
            kinds in prop::collection::vec(prop::sample::select(vec![0u8, 5, 0xf, 0x83, 0xee]), 4),
        ) {
            let mut bytes = vec![0; 64 << 10];
            for sector in bytes.chunks_mut(512) {
                sector[446..510].copy_from_slice(&entries);
                sector[440] = 7;
                for (i, kind) in kinds.iter().enumerate() {
                    sector[446 + 16 * i] = 0;
                    sector[450 + 16 * i] = *kind;
                    // Small enough to stay inside now and then.
                    sector[455 + 16 * i..458 + 16 * i].fill(0);
                }
                sector[510..].copy_from_slice(&[0x55, 0xaa]);
            }
            bytes[512..604].copy_from_slice(&header);
            bytes[512..520].copy_from_slice(b"EFI PART");
            let _ = partitions(&Memory::new("m", bytes));
        }
    }
}
