//! Which report is which image's: by serial, by file name, or as a person says; and what is left over.
//!
//! Drive letters move from boot to boot, so how each was matched is told.

use super::rank::{Disk, Ranking};
use crate::image::KnownAs;
use crate::units::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A disk that a report may be of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskId {
    /// What the answer calls it: `sda`.
    pub name: String,
    /// Its image or device, where known.
    pub path: Option<PathBuf>,
    /// Its size, where known.
    pub size: Option<Bytes>,
    /// What the system calls it.
    pub known_as: KnownAs,
}

impl DiskId {
    /// The drive's serial number, where it is known and not that of a report. One may be cut short, or have a maker's
    /// letters before it.
    fn other_serial(&self, report: &Disk) -> Option<&str> {
        let serial = self.known_as.serial.as_deref()?;
        let (own, told) = (squeezed(serial), squeezed(&report.serial));
        let same = told.is_empty() || own.contains(&told) || told.contains(&own);
        (!same).then_some(serial)
    }

    /// Whether its name, a link to it or the system has the serial number of a report.
    fn has_serial(&self, report: &Disk) -> bool {
        // udev writes `_` where a drive has blanks, sysfs leaves them out.
        let serial = underscored(report.serial.trim());
        let own = self.known_as.serial.as_deref().map(squeezed);
        serial.len() >= SHORTEST_SERIAL
            && (own == Some(squeezed(&serial))
                || names_of(self).iter().any(|name| has_word(name, &serial)))
    }
}

fn underscored(text: &str) -> String {
    text.replace(char::is_whitespace, "_")
}

fn squeezed(serial: &str) -> String {
    let kept = serial.chars().filter(|c| !c.is_whitespace() && *c != '_');
    kept.collect()
}

/// How a report was matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The disk.
    pub disk: String,
    /// The report's file.
    pub file: String,
    /// The serial number in it.
    pub serial: String,
    /// By what: `smart-of`, `serial`, `file name`, `device name`.
    pub by: &'static str,
}

/// Reports and disks, put together.
#[derive(Clone, Debug, Default)]
pub struct Matching<'a> {
    /// The report of each disk.
    pub disks: BTreeMap<String, &'a Disk>,
    /// How each was found.
    pub matches: Vec<Match>,
    /// What is left over or odd.
    pub warnings: Vec<String>,
}

/// Serials shorter than this stand in too many names by chance.
const SHORTEST_SERIAL: usize = 6;

/// Puts reports and disks together; `smart_of` holds what a person said, by the disk's name.
pub fn matching<'a>(
    ids: &[DiskId],
    ranking: &'a Ranking,
    smart_of: &BTreeMap<String, String>,
) -> Matching<'a> {
    let mut found = Matching::default();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for (name, file) in smart_of {
        if !ids.iter().any(|id| id.name == *name) {
            found
                .warnings
                .push(format!("--smart-of {name}={file}: there is no disk {name}"));
        }
        let of_file: Vec<usize> = indexes(ranking, |d| d.file == *file || d.name == *file);
        match of_file.as_slice() {
            [one] => found.put(name, *one, ranking, "smart-of", &mut taken),
            [] => found.warnings.push(format!(
                "--smart-of {name}={file}: no such report was given"
            )),
            _ => found.warnings.push(format!(
                "--smart-of {name}={file}: the file holds several reports"
            )),
        }
    }
    let by_serial = |id: &DiskId| indexes(ranking, |d| id.has_serial(d));
    let by_file = |id: &DiskId| {
        let exact = indexes(ranking, |d| d.name == id.name);
        match exact.is_empty() {
            true => indexes(ranking, |d| has_word(&stem(&d.file), &id.name)),
            false => exact,
        }
    };
    let by_device = |id: &DiskId| {
        let device = format!("/dev/{}", id.name);
        indexes(ranking, |d| d.device == device)
    };
    type Rule<'r> = (&'static str, &'r dyn Fn(&DiskId) -> Vec<usize>);
    let rules: [Rule<'_>; 3] = [
        ("serial", &by_serial),
        ("file name", &by_file),
        ("device name", &by_device),
    ];
    for (by, rule) in rules {
        for id in ids {
            if found.disks.contains_key(&id.name) {
                continue;
            }
            let mut free = rule(id);
            free.retain(|i| !taken.contains(i));
            if by != "serial" {
                found.refuse(id, &mut free, ranking);
            }
            if let [one] = free.as_slice() {
                found.put(&id.name, *one, ranking, by, &mut taken);
            }
        }
    }
    found.odd_ones(ids);
    found.left_over(ids, ranking, &taken);
    found
}

fn indexes(ranking: &Ranking, is: impl Fn(&Disk) -> bool) -> Vec<usize> {
    let hits = ranking.disks.iter().zip(0..).filter(|(d, _)| is(d));
    hits.map(|(_, i)| i).collect()
}

fn stem(file: &str) -> String {
    let stem = Path::new(file).file_stem();
    stem.map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// Whether `word` stands in `text` by itself, not as a part of a longer one: `sda` not in `sdaa`.
fn has_word(text: &str, word: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, _)| {
        let (before, behind) = text.split_at(at);
        edge(before.chars().next_back()) && edge(behind.chars().nth(word.chars().count()))
    })
}

/// Names under which an image or a device is known, without blanks: a device's links hold its serial.
fn names_of(id: &DiskId) -> Vec<String> {
    let stem = id.path.as_ref().and_then(|path| path.file_stem());
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    let names = [id.name.clone()].into_iter().chain(stem);
    let names = names.chain(id.known_as.links.iter().cloned());
    names.map(|name| underscored(&name)).collect()
}

impl<'a> Matching<'a> {
    fn put(
        &mut self,
        name: &str,
        index: usize,
        ranking: &'a Ranking,
        by: &'static str,
        taken: &mut BTreeSet<usize>,
    ) {
        let Some(disk) = ranking.disks.get(index) else {
            return;
        };
        if !taken.insert(index) {
            let file = &disk.file;
            self.warnings
                .push(format!("{file} is given to two disks; {name} has none now"));
            return;
        }
        self.disks.insert(name.to_owned(), disk);
        self.matches.push(Match {
            disk: name.to_owned(),
            file: disk.file.clone(),
            serial: disk.serial.clone(),
            by,
        });
    }

    /// Takes away the reports that are of a drive with another serial number, whatever their names say.
    fn refuse(&mut self, id: &DiskId, reports: &mut Vec<usize>, ranking: &Ranking) {
        reports.retain(|index| {
            let Some(report) = ranking.disks.get(*index) else {
                return false;
            };
            let Some(serial) = id.other_serial(report) else {
                return true;
            };
            let what = format!(
                "{}: the report {} is of the drive {}, and this one is {serial}: not taken for its own",
                id.name, report.file, report.serial
            );
            if !self.warnings.contains(&what) {
                self.warnings.push(what);
            }
            false
        });
    }

    /// Reports of a drive of another size, or taken under another letter.
    fn odd_ones(&mut self, ids: &[DiskId]) {
        for id in ids {
            let Some(disk) = self.disks.get(&id.name) else {
                continue;
            };
            if let (Some(has), Some(says)) = (id.size, disk.size)
                && has > says
            {
                self.warnings.push(format!(
                    "{}: the report {} is of a smaller drive ({says}, the image has {has}): not of this disk?",
                    id.name, disk.file
                ));
            }
            if let Some(serial) = id.other_serial(disk) {
                self.warnings.push(format!(
                    "{}: the report {} is of the drive {}, and this one is {serial}: not of this disk?",
                    id.name, disk.file, disk.serial
                ));
            }
            let device = disk.device.rsplit('/').next().unwrap_or_default();
            let is_letter = |n: &str| n.len() == 3 && n.starts_with("sd");
            if is_letter(&id.name) && is_letter(device) && device != id.name {
                self.warnings.push(format!(
                    "{}: its report was taken when it was {device}; drive letters move, check the serial {}",
                    id.name, disk.serial
                ));
            }
        }
        self.matches.sort_by(|a, b| a.disk.cmp(&b.disk));
    }

    fn left_over(&mut self, ids: &[DiskId], ranking: &Ranking, taken: &BTreeSet<usize>) {
        let without = ids.iter().filter(|id| !self.disks.contains_key(&id.name));
        let without: Vec<&str> = without.map(|id| id.name.as_str()).collect();
        if !without.is_empty() {
            self.warnings
                .push(format!("no SMART report for {}", without.join(", ")));
        }
        let unused = ranking
            .disks
            .iter()
            .zip(0..)
            .filter(|(_, i)| !taken.contains(i));
        let unused: Vec<&str> = unused.map(|(d, _)| d.file.as_str()).collect();
        if !unused.is_empty() {
            self.warnings.push(format!(
                "of no disk here: {} (say whose it is with --smart-of DISK=FILE)",
                unused.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::rank::rank;
    use crate::smart::report::Report;
    use serde_json::json;

    fn report(file: &str, serial: &str, device: &str) -> Report {
        let value = json!({"device": {"name": device, "protocol": "ATA"}, "serial_number": serial,
            "user_capacity": {"bytes": 1000}});
        Report::new(file, 0, value).unwrap()
    }

    fn id(name: &str, path: &str) -> DiskId {
        DiskId {
            name: name.to_owned(),
            path: (!path.is_empty()).then(|| path.into()),
            size: Some(Bytes(1000)),
            known_as: KnownAs::default(),
        }
    }

    /// Letters move: a name that fits must not give a disk the clean report of another, where its serial is known.
    #[test]
    fn a_known_serial_is_believed_before_any_name() {
        let known = |name: &str, serial: &str, links: &[&str]| DiskId {
            known_as: KnownAs {
                serial: (!serial.is_empty()).then(|| serial.to_owned()),
                links: links.iter().map(|link| (*link).to_owned()).collect(),
            },
            ..id(name, &format!("/dev/{name}"))
        };
        let ranking = rank(&[
            report("sda.json", "AAAAAAA1", "/dev/sda"),
            report("sdb.json", "", "/dev/sdb"),
            report("x.json", "WD  7788", "/dev/sdx"),
            report("y.json", "AC ME 99", "/dev/sdy"),
            report("sde.json", "EEEEEEE5", "/dev/sde"),
        ]);
        let ids = [
            known("sda", "CCCCCCC3", &["ata-DISK_CCCCCCC3"]),
            known("sdb", "BBBBBBB2", &[]),
            known("sdc", "WD7788", &[]),
            known("sdd", "", &["scsi-SDISK_AC_ME_99"]),
            known("sde", "XY-EEEEEEE5", &[]),
        ];
        let found = matching(&ids, &ranking, &BTreeMap::new());
        let by: Vec<_> = found.matches.iter().map(|m| (&*m.disk, m.by)).collect();
        let names = [("sdb", "file name"), ("sdc", "serial"), ("sdd", "serial")];
        assert_eq!(by, [&names[..], &[("sde", "file name")]].concat());
        let warned = found.warnings.join("\n");
        let refused = "sda: the report sda.json is of the drive AAAAAAA1, and this one is CCCCCCC3";
        assert_eq!(warned.matches(refused).count(), 1, "{warned}");
        assert!(warned.contains("no SMART report for sda"), "{warned}");
        // A person may know better, and is told.
        let map = BTreeMap::from([("sda".to_owned(), "sda.json".to_owned())]);
        let found = matching(&ids, &ranking, &map);
        assert_eq!(found.disks["sda"].serial, "AAAAAAA1");
        assert!(found.warnings.iter().any(|w| w.starts_with(refused)));
    }

    /// A report given to the wrong disk turns the choice around; so the serial goes before the letter, and all that is
    /// left over is said.
    #[test]
    fn serial_before_name_before_device() {
        let ranking = rank(&[
            report("reports/a.json", "WD-111111", "/dev/sdb"),
            report("reports/sdb.json", "WD-222222", "/dev/sda"),
            report("reports/x.json", "WD-333333", "/dev/sdc"),
            report("reports/sdz.json", "WD-444444", "/dev/sdz"),
        ]);
        let ids = [
            id("sda", "/images/ata-WDC_WD-111111.img"),
            id("sdb", "/images/sdb.img"),
            id("sdc", ""),
            id("sdaa", ""),
        ];
        let found = matching(&ids, &ranking, &BTreeMap::new());
        let by: Vec<(&str, &str, &str)> = found
            .matches
            .iter()
            .map(|m| (m.disk.as_str(), m.serial.as_str(), m.by))
            .collect();
        assert_eq!(
            by,
            [
                ("sda", "WD-111111", "serial"),
                ("sdb", "WD-222222", "file name"),
                ("sdc", "WD-333333", "device name"),
            ]
        );
        let warned = found.warnings.join("\n");
        for words in [
            "no SMART report for sdaa",
            "of no disk here: reports/sdz.json",
            "taken when it was sda",
        ] {
            assert!(warned.contains(words), "{words}: {warned}");
        }
        let map = BTreeMap::from([("sda".to_owned(), "reports/sdz.json".to_owned())]);
        let found = matching(&ids, &ranking, &map);
        assert_eq!(found.disks["sda"].serial, "WD-444444");
    }

    /// `sda` must not take the report of `sdaa`; a smaller drive's report is not of this disk.
    #[test]
    fn names_are_whole_words() {
        let ranking = rank(&[
            report("sdaa.json", "", ""),
            report("smart-sda.json", "", ""),
        ]);
        let mut large = id("sda", "");
        large.size = Some(Bytes(2000));
        let found = matching(&[large], &ranking, &BTreeMap::new());
        assert_eq!(found.matches[0].file, "smart-sda.json");
        assert!(
            found.warnings[0].contains("smaller drive"),
            "{:?}",
            found.warnings
        );
    }
}
