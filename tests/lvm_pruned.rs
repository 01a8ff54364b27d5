//! What is written for lvm2: texts without lost disks, and texts that are not sound.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{disinter, json, run};
use disinter::lvm::crc;
use disinter::lvm::fate::Fate;
use disinter::lvm::metadata::VolumeGroup;
use disinter::lvm::restore::{Changes, Restore, restore_with};
use disinter::{layout, lvm::mda};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Writes the volumes of a group; every id and every extent is given once.
#[derive(Default)]
struct Volumes {
    text: String,
    ids: Cell<u32>,
    used: [u32; 3],
}

impl Volumes {
    fn id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIB{:03}", self.ids.get())
    }

    fn add(&mut self, name: &str, visible: bool, segment: &str) {
        let (id, visible) = (self.id(), if visible { ", \"VISIBLE\"" } else { "" });
        self.text.push_str(&format!(
            "{name} {{\nid = \"{id}\"\nstatus = [\"READ\", \"WRITE\"{visible}]\nflags = []\ncreation_time = 1700000000\n\
             creation_host = \"h\"\nsegment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = 1\n{segment}\n}}\n}}\n"
        ));
    }

    /// An extent of a physical volume.
    fn on(&mut self, name: &str, pv: usize, visible: bool) {
        let at = self.used[pv];
        self.used[pv] += 1;
        let segment =
            format!("type = \"striped\"\nstripe_count = 1\nstripes = [\n\"pv{pv}\", {at}\n]");
        self.add(name, visible, &segment);
    }

    fn snapshot(&mut self, name: &str, origin: &str, key: &str, store: &str) {
        let segment = format!(
            "type = \"snapshot\"\nchunk_size = 8\norigin = \"{origin}\"\n{key} = \"{store}\""
        );
        self.add(name, false, &segment);
    }

    /// A raid1 volume whose images and their metadata lie on these physical volumes.
    fn raid1(&mut self, name: &str, pvs: [(usize, usize); 2]) {
        let mut raids = Vec::new();
        for (number, (meta, image)) in pvs.into_iter().enumerate() {
            let names = [
                format!("{name}_rmeta_{number}"),
                format!("{name}_rimage_{number}"),
            ];
            self.on(&names[0], meta, false);
            self.on(&names[1], image, false);
            raids.push(format!("\"{}\", \"{}\"", names[0], names[1]));
        }
        let segment = format!(
            "type = \"raid1\"\ndevice_count = 2\nregion_size = 1024\nraids = [\n{}\n]",
            raids.join(", ")
        );
        self.add(name, true, &segment);
    }

    fn pools(&mut self) {
        self.on("pool_tmeta", 0, false);
        self.on("pool_tdata", 1, false);
        self.on("lvol0_pmspare", 2, false);
        let pool = "type = \"thin-pool\"\nmetadata = \"pool_tmeta\"\npool = \"pool_tdata\"\ntransaction_id = 3\n\
                    chunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1";
        self.add("pool", true, pool);
        self.on("outer", 2, true);
        let thin = "type = \"thin\"\nthin_pool = \"pool\"\n";
        self.add(
            "thin1",
            true,
            &format!("{thin}transaction_id = 0\ndevice_id = 1"),
        );
        let outer = format!("{thin}transaction_id = 1\ndevice_id = 2\nexternal_origin = \"outer\"");
        self.add("thin2", true, &outer);
        // Snapshots of snapshots, each of the one before.
        for number in 3..=20 {
            let origin = if number == 3 { 1 } else { number - 1 };
            let segment = format!(
                "{thin}transaction_id = 2\ndevice_id = {number}\norigin = \"thin{origin}\""
            );
            self.add(&format!("thin{number}"), true, &segment);
        }
        self.on("cached_corig", 0, false);
        self.on("fast_cdata", 1, false);
        self.on("fast_cmeta", 1, false);
        let fast = "type = \"cache-pool\"\ndata = \"fast_cdata\"\nmetadata = \"fast_cmeta\"\nchunk_size = 128\n\
                    metadata_format = 1\ncache_mode = \"writethrough\"\npolicy = \"smq\"";
        self.add("fast", false, fast);
        let cached = "type = \"cache\"\ncache_pool = \"fast\"\norigin = \"cached_corig\"";
        self.add("cached", true, cached);
    }

    /// A group with a volume of each kind over three disks, as a file's text.
    fn of_every_kind() -> String {
        let mut lvs = Volumes::default();
        lvs.on("web", 0, true);
        lvs.on("webold", 1, true);
        lvs.snapshot("snapshot0", "web", "cow_store", "webold");
        lvs.on("db", 0, true);
        lvs.on("dbold", 2, true);
        lvs.snapshot("snapshot1", "db", "merging_store", "dbold");
        lvs.add("sparse_vorigin", false, "type = \"zero\"");
        lvs.on("sparse", 2, true);
        lvs.snapshot("snapshot2", "sparse_vorigin", "cow_store", "sparse");
        lvs.pools();
        lvs.raid1("r", [(0, 0), (1, 1)]);
        // The metadata of its first image lies on another disk than the image.
        lvs.raid1("s", [(0, 1), (2, 2)]);
        lvs.on("m_mimage_0", 0, false);
        lvs.on("m_mimage_1", 1, false);
        lvs.on("m_mlog", 2, false);
        let mirror = "type = \"mirror\"\nmirror_count = 2\nmirror_log = \"m_mlog\"\nregion_size = 1024\nmirrors = [\n\
                      \"m_mimage_0\", 0,\n\"m_mimage_1\", 0\n]";
        lvs.add("m", true, mirror);
        let removed = format!(
            "gone {{\nid = \"{}\"\ncreation_time = 1\nremoval_time = 2\norigin = \"thin1\"\n\
             descendants = [\"thin3\"]\n}}\n",
            lvs.id()
        );
        lvs.group(&removed)
    }

    /// A group of these volumes over three disks, as a file's text.
    fn group(&self, removed: &str) -> String {
        let pv = |n: usize| {
            format!(
                "pv{n} {{\nid = \"{}\"\ndevice = \"/dev/sd{n}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\n\
                 dev_size = 409600\npe_start = 2048\npe_count = 40\n}}\n",
                self.id()
            )
        };
        let pvs: String = (0..3).map(pv).collect();
        format!(
            "# Generated by LVM2 version 2.03.16(2) (2022-05-18): Tue\n\n\
             contents = \"Text Format Volume Group\"\nversion = 1\n\ndescription = \"x\"\n\ncreation_host = \"h\"\n\
             creation_time = 1700000000\n\nvg {{\nid = \"{}\"\nseqno = 3\nformat = \"lvm2\"\n\
             status = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\nextent_size = 8192\nmax_lv = 0\nmax_pv = 0\n\
             metadata_copies = 0\n\nphysical_volumes {{\n{pvs}}}\n\nlogical_volumes {{\n{}}}\n\n\
             historical_logical_volumes {{\n{removed}}}\n}}\n",
            self.id(),
            self.text
        )
    }
}

fn pruned(pv: &str) -> (Restore, VolumeGroup) {
    pruned_of(&Volumes::of_every_kind(), pv)
}

fn pruned_of(text: &str, pv: &str) -> (Restore, VolumeGroup) {
    let carved = layout::text_of(text.as_bytes()).unwrap();
    assert!(carved.complete, "{:?}", carved.fault);
    assert_eq!(carved.vg.faults(), Vec::<String>::new());
    let changes = Changes {
        prune: vec![pv.to_owned()],
        ..Changes::default()
    };
    let restore = restore_with(&carved, &changes).unwrap();
    let vg = layout::parse_text(&restore.text).unwrap();
    assert_eq!(vg.faults(), Vec::<String>::new());
    assert_eq!(restore.marks, Vec::<String>::new());
    (restore, vg)
}

/// The volumes that are left, without those of the thin chain but its ends.
fn left(vg: &VolumeGroup) -> BTreeSet<&str> {
    let in_chain = |name: &&str| (3..20).any(|n| *name == format!("thin{n}"));
    let names = vg.lvs.iter().map(|lv| lv.name.as_str());
    names.filter(|name| !in_chain(name)).collect()
}

fn set(names: &'static str) -> BTreeSet<&'static str> {
    names.split_whitespace().collect()
}

/// Place holders among the volumes that are left.
fn held(vg: &VolumeGroup) -> BTreeSet<&str> {
    let is_held = |lv: &&disinter::lvm::metadata::LogicalVolume| lv.segments[0].kind == "error";
    vg.lvs
        .iter()
        .filter(is_held)
        .map(|lv| lv.name.as_str())
        .collect()
}

fn fate(restore: &Restore, name: &str) -> Fate {
    restore.fates.iter().find(|(n, _)| n == name).unwrap().1
}

fn is_noted(restore: &Restore, words: &str) -> bool {
    restore.notes.iter().any(|note| note.contains(words))
}

const R: &str =
    "r r_rmeta_0 r_rimage_0 r_rmeta_1 r_rimage_1 s s_rmeta_0 s_rimage_0 s_rmeta_1 s_rimage_1 ";

/// A store without its origin came back as a volume that looked whole and held a list of changes.
#[test]
fn a_snapshot_goes_with_its_origin() {
    let (restore, vg) = pruned("pv0");
    let rest = "outer lvol0_pmspare sparse sparse_vorigin snapshot2";
    let names: BTreeSet<&str> = set(R).union(&set(rest)).copied().collect();
    assert_eq!(left(&vg), names);
    assert_eq!(held(&vg), set("r_rmeta_0 r_rimage_0 s_rmeta_0 s_rimage_0"));
    for name in ["web", "webold", "db", "dbold", "pool", "thin20", "cached"] {
        assert_eq!(fate(&restore, name), Fate::Lost, "{name}");
    }
    assert_eq!(fate(&restore, "s"), Fate::Redundant);
    assert!(is_noted(&restore, "webold: left out, as a snapshot of web"));
    assert!(is_noted(&restore, "m: left out, because of a mirror"));
    // lvm2 refuses a group where a removed volume's family is not there.
    assert_eq!(vg.historical[0].descendants, Vec::<String>::new());
    assert_eq!(vg.historical[0].origin, None);
}

/// An origin is whole without its snapshot, a pool is not without its data, and a cache's loss is told with what is left.
#[test]
fn an_origin_stays_without_its_snapshot() {
    let (restore, vg) = pruned("pv1");
    let rest = "web db dbold snapshot1 outer lvol0_pmspare sparse sparse_vorigin snapshot2";
    let names: BTreeSet<&str> = set(R).union(&set(rest)).copied().collect();
    assert_eq!(left(&vg), names);
    assert_eq!(held(&vg), set("r_rmeta_1 r_rimage_1 s_rmeta_0 s_rimage_0"));
    assert_eq!(fate(&restore, "web"), Fate::Whole);
    assert!(is_noted(&restore, "cached_corig is all of it"));
}

/// What is lost of an external origin or a half-merged snapshot takes the volumes over it, and not the pool.
#[test]
fn a_pool_stays_without_one_of_its_volumes() {
    let (restore, vg) = pruned("pv2");
    let rest = "web webold snapshot0 pool pool_tmeta pool_tdata thin1 thin20 cached cached_corig fast fast_cdata \
                fast_cmeta";
    let names: BTreeSet<&str> = set(R).union(&set(rest)).copied().collect();
    assert_eq!(left(&vg), names);
    assert_eq!(held(&vg), set("s_rmeta_1 s_rimage_1"));
    assert_eq!(fate(&restore, "db"), Fate::TwoTimes);
    assert_eq!(fate(&restore, "thin20"), Fate::Whole);
    assert_eq!(vg.historical[0].descendants, ["thin3"]);
}

/// An origin that was merged in part came back as a normal volume where another of its snapshots stood first in the text.
#[test]
fn an_origin_of_two_times_goes_in_whatever_order_its_snapshots_stand() {
    for merging_first in [false, true] {
        let mut lvs = Volumes::default();
        lvs.on("web", 0, true);
        lvs.on("s2", 0, true);
        lvs.on("s1", 1, true);
        lvs.on("other", 0, true);
        let mut snapshots = [
            ("snapshot2", "cow_store", "s2"),
            ("snapshot1", "merging_store", "s1"),
        ];
        if merging_first {
            snapshots.reverse();
        }
        for (name, key, store) in snapshots {
            lvs.snapshot(name, "web", key, store);
        }
        let (restore, vg) = pruned_of(&lvs.group(""), "pv1");
        assert_eq!(left(&vg), set("other"), "{merging_first}");
        assert_eq!(fate(&restore, "web"), Fate::TwoTimes);
        assert_eq!(fate(&restore, "s2"), Fate::Lost);
        assert!(is_noted(&restore, "web: left out, as a file system of two"));
    }
}

/// A volume on its way by pvmove was whole "from its other images" when the disk was lost that still had it alone.
#[test]
fn what_pvmove_was_moving_is_whole_only_where_it_is() {
    let moved_of = |extents_moved: u32, lost: &str| {
        let mut lvs = Volumes::default();
        let moving = format!(
            "type = \"mirror\"\nmirror_count = 2\nextents_moved = {extents_moved}\nmirrors = [\n\"pv0\", 0,\n\"pv1\", 0\n]"
        );
        lvs.add("pvmove0", false, &moving);
        let on = "type = \"striped\"\nstripe_count = 1\nstripes = [\n\"pvmove0\", 0\n]";
        lvs.add("web", true, on);
        lvs.on("other", 2, true);
        let (restore, vg) = pruned_of(&lvs.group(""), lost);
        assert_eq!(left(&vg), set("other"));
        (
            fate(&restore, "web"),
            is_noted(&restore, "export it instead"),
        )
    };
    assert_eq!(moved_of(0, "pv0"), (Fate::Lost, false));
    assert_eq!(moved_of(0, "pv1"), (Fate::Redundant, true));
    assert_eq!(moved_of(1, "pv0"), (Fate::Redundant, true));
    assert_eq!(moved_of(1, "pv1"), (Fate::Lost, false));
}

/// Parity that nobody made the sum of the data gives bytes that nobody wrote, and lvm2 takes the text without a word.
#[test]
fn an_image_behind_parity_that_was_never_made_is_told() {
    let of = |status: &str| {
        let mut lvs = Volumes::default();
        let mut raids = Vec::new();
        for pv in 0..3 {
            let names = [format!("r_rmeta_{pv}"), format!("r_rimage_{pv}")];
            names.iter().for_each(|name| lvs.on(name, pv, false));
            raids.push(format!("\"{}\", \"{}\"", names[0], names[1]));
        }
        let segment = format!(
            "type = \"raid5_ls\"\ndevice_count = 3\nstripe_size = 128\nregion_size = 1024\nraids = [\n{}\n]",
            raids.join(", ")
        );
        lvs.add("r", true, &segment);
        let text = lvs.group("").replace("\"VISIBLE\"]", status);
        let (restore, _) = pruned_of(&text, "pv1");
        assert_eq!(fate(&restore, "r"), Fate::Redundant);
        is_noted(&restore, "r: made without a first sync")
    };
    assert!(!of("\"VISIBLE\"]"));
    assert!(of("\"VISIBLE\", \"NOTSYNCED\"]"));
}

/// What a volume is tied to is not taken in unseen, however the fates came about: here the volume of two times was itself
/// being merged into another.
#[test]
fn nothing_that_is_not_whole_is_taken_in_from_above() {
    let mut lvs = Volumes::default();
    lvs.on("base", 0, true);
    lvs.on("web", 0, true);
    lvs.on("s1", 1, true);
    lvs.on("other", 0, true);
    lvs.snapshot("snapshot0", "base", "merging_store", "web");
    lvs.snapshot("snapshot1", "web", "merging_store", "s1");
    let (restore, vg) = pruned_of(&lvs.group(""), "pv1");
    assert_eq!(left(&vg), set("other"));
    assert!(is_noted(&restore, "base: left out, because a volume"));
}

/// Whether the real lvm2 reads all of a file; `None`, with a printed reason, where it is not installed.
fn lvm2_reads(file: &Path, vg: &str) -> Option<bool> {
    // Lists what a file holds, for which it reads the group with every segment; needs no device.
    let command = "PATH=/usr/sbin:/sbin:$PATH; command -v vgcfgrestore >/dev/null || exit 77; \
                   exec vgcfgrestore --list --file \"$1\" \"$2\"";
    let out = Command::new("sh")
        .args(["-c", command, "sh"])
        .args([file.as_os_str(), vg.as_ref()])
        .output()
        .unwrap();
    if out.status.code() == Some(77) {
        eprintln!("SKIPPED: lvm2 is not installed");
        return None;
    }
    // It is content with a file that it could not read.
    Some(String::from_utf8_lossy(&out.stdout).contains("VG name:"))
}

/// A file that lvm2 refuses is found out at night, with the disks in hand.
#[test]
fn real_lvm2_reads_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vg.vg");
    for pv in ["pv0", "pv1", "pv2"] {
        fs::write(&file, pruned(pv).0.text).unwrap();
        assert_ne!(lvm2_reads(&file, "vg"), Some(false), "{pv}");
    }
    // And it does refuse: a family that is not there.
    let whole = Volumes::of_every_kind();
    fs::write(&file, whole.replace("\"thin3\"]", "\"nobody\"]")).unwrap();
    assert_ne!(lvm2_reads(&file, "vg"), Some(true));
}

/// A file's text as it lies in a ring: the description behind it.
fn in_ring(text: &str) -> String {
    let (description, section) = text.split_at(text.find("vg {").unwrap());
    format!("{section}{}\n\n", description.trim_end())
}

/// A disk with a metadata area in front whose committed text is this one.
fn disk(text: &str) -> Vec<u8> {
    let mut disk = vec![0; 2 << 20];
    let text = [text.as_bytes(), &[0]].concat();
    disk[8192..8192 + text.len()].copy_from_slice(&text);
    let header = &mut disk[4096..4608];
    header[4..20].copy_from_slice(mda::MAGIC);
    header[20] = 1;
    let numbers = [4096, 1 << 20, 4096, text.len() as u64, crc(&text).into()];
    for (at, number) in (24..).step_by(8).zip(numbers) {
        header[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let sum = crc(&header[4..]).to_le_bytes();
    header[..4].copy_from_slice(&sum);
    disk
}

/// A text that its own checksum or its own numbers speak against was written as any other, with status 0.
#[test]
fn a_text_that_is_not_sound_bears_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let sound = in_ring(&Volumes::of_every_kind());
    let mut changed = disk(&sound);
    let host = memchr::memmem::find(&changed, b"\"/dev/sd1\"").unwrap();
    changed[host + 5] = b'x';
    let contradictory = sound.replace("\"pv0\", 0\n", "\"pv0\", 90\n");
    for (name, bytes, mark) in [
        ("sound", disk(&sound), None),
        ("changed", changed, Some("# CHECKSUM BAD: ")),
        (
            "contradictory",
            disk(&contradictory),
            Some("# CONTRADICTORY: "),
        ),
    ] {
        let (image, out) = (
            folder.path().join(name),
            folder.path().join(format!("{name}.vg")),
        );
        fs::write(&image, bytes).unwrap();
        let mut extract = disinter();
        extract
            .args(["lvm", "extract"])
            .arg(&image)
            .arg("-o")
            .arg(&out);
        let done = run(&mut extract, i32::from(mark.is_some()));
        let warned = String::from_utf8(done.stderr).unwrap();
        let text = fs::read_to_string(&out).unwrap();
        match mark {
            Some(mark) => {
                assert!(text.starts_with(mark), "{text}");
                assert!(warned.contains(mark.trim_start_matches("# ")), "{warned}");
            }
            None => assert!(text.starts_with("vg {") && warned.is_empty(), "{warned}"),
        }
        if name != "contradictory" {
            assert_ne!(lvm2_reads(&out, "vg"), Some(false), "{name}");
        }
        let mut again = disinter();
        again.args(["lvm", "scan"]).arg(&out);
        let status = i32::from(name == "contradictory");
        assert_eq!(json(&mut again, status)["candidates"][0]["vg"], "vg");
    }
}
