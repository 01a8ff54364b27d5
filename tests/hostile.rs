//! Hostile input: every subcommand against some two hundred broken inputs. No panic, bounded memory, bounded time.
//!
//! The inputs are made here: from pieces of the drill's disks, and from heads of every structure that is recognised; cut,
//! flipped, with lengths that lie. Findings of the fuzz targets (`fuzz/run`) lie in `tests/hostile/` and go through the
//! same commands.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;
#[path = "common/structures.rs"]
mod structures;

use common::{Unpacked, drill, root};
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Most memory that a run may take, whatever its input says: 64 MiB, for inputs of at most 4 MiB.
const MOST_KIB: u64 = 64 << 10;

/// Most seconds; a debug build on a busy machine.
const MOST_TIME: f64 = 20.0;

/// A small generator, so that a failure can be made again: the seed stands in each file's name.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// What structures begin with: bytes close behind are their fields.
const MAGICS: [&[u8]; 16] = [
    &[0xfc, 0x4e, 0x2b, 0xa9],
    b"bitm",
    &[0xde, 0x11, 0xde, 0x11],
    b"Intel Raid ISM",
    b"LABELONE",
    b" LVM2 x[5A%r0N*>",
    b"physical_volumes",
    b"EFI PART",
    &[0x53, 0xef],
    &[0xc0, 0x3b, 0x39, 0x98],
    b"XFSB",
    b"_BHRfS_M",
    b"LUKS",
    b"SWAPSPACE2",
    &[0x1f, 0x8b, 0x08],
    &[0xff, 0xd8, 0xff],
];

/// One way to break bytes.
fn broken(seed: &[u8], way: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let length = bytes.len();
    match way % 8 {
        0 => bytes.truncate(dice.roll(length) + 1),
        1 => {
            for _ in 0..64 {
                let at = dice.roll(length);
                bytes[at] ^= 1 << dice.roll(8);
            }
        }
        // Lengths that lie: all ones, the largest signed, one above 4 GiB, at aligned places of the first sectors.
        2 => {
            for _ in 0..24 {
                let at = dice.roll(length.min(16 << 10) / 8) * 8;
                lie(&mut bytes, at, dice);
            }
        }
        // The same, where the last structures lie.
        3 => {
            for _ in 0..24 {
                let at = length - 1 - dice.roll(length.min(16 << 10));
                bytes[at] = [0, 0xff, 0x7f, 0x80][dice.roll(4)];
            }
        }
        4 => {
            let (from, to) = (dice.roll(length), dice.roll(length));
            let n = dice.roll(length - from.max(to)).min(4096);
            bytes.copy_within(from..from + n, to);
        }
        5 => {
            let at = dice.roll(length);
            let n = dice.roll(length - at).min(64 << 10);
            bytes[at..at + n].fill(0);
        }
        // In the fields of each structure, and nowhere else.
        6 => {
            for magic in MAGICS {
                let hits: Vec<usize> = memchr::memmem::find_iter(seed, magic).take(64).collect();
                for hit in hits {
                    for _ in 0..3 {
                        let at = hit + magic.len() + dice.roll(64) * 4;
                        lie(&mut bytes, at, dice);
                    }
                }
            }
        }
        // Numbers of a text.
        _ => {
            const LIES: [&str; 5] = [
                "18446744073709551615",
                "9223372036854775807",
                "-1",
                "1e308",
                "0",
            ];
            for _ in 0..12 {
                let from = dice.roll(bytes.len());
                let digit = |b: &u8| b.is_ascii_digit();
                if let Some(at) = bytes[from..].iter().position(digit).map(|at| from + at) {
                    let rest = bytes[at..].iter().position(|b| !digit(b));
                    let end = rest.map_or(bytes.len(), |n| at + n);
                    bytes.splice(at..end, LIES[dice.roll(5)].bytes());
                }
            }
        }
    }
    bytes
}

fn lie(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let lie = [u64::MAX, i64::MAX as u64, (1 << 32) + 1, 0xffff_fff0][dice.roll(4)];
    let end = (at + 8).min(bytes.len());
    if at < end {
        bytes[at..end].copy_from_slice(&lie.to_le_bytes()[..end - at]);
    }
}

/// Images, small: pieces of the drill's disks, each with a structure of every kind in it, and heads of all other kinds.
static SEEDS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let unpacked = Unpacked::new("holmes-2013");
    let layout = unpacked.case().join("layout.toml");
    let export = |volume: &str, length: usize| -> Vec<u8> {
        let out = common::run(
            common::disinter()
                .args(["export", "--layout"])
                .arg(&layout)
                .args([volume, "-o", "-"]),
            0,
        );
        out.stdout[..length.min(out.stdout.len())].to_vec()
    };
    let disk = fs::read(&unpacked.images()[1]).unwrap();
    let member = export("sdb@2", usize::MAX);
    // As short as a member can be: its front, and its end with the superblock.
    let short: Vec<u8> = [&member[..256 << 10], &member[member.len() - (256 << 10)..]].concat();
    let mut seeds = vec![
        ("disk", disk[..2 << 20].to_vec()),
        ("member", short),
        ("lvm", export("array2", 2 << 20)),
        ("ext", export("guests/distros", 4 << 20)),
        ("guest", export("guests/ada", 3 << 20)),
    ];
    let lvm = seeds[2].1[..192 << 10].to_vec();
    seeds.extend(structures::images(&lvm));
    seeds
});

/// Broken images of each kind.
const ROUNDS: usize = 4;

/// One command's words.
type Words = Vec<String>;

fn words(words: &[&str], paths: &[&Path]) -> Words {
    let paths = paths.iter().map(|p| p.to_str().unwrap().to_owned());
    words.iter().map(ToString::to_string).chain(paths).collect()
}

/// Runs the program so often, and fails where it crashed, took too much, or gave no proper status.
#[track_caller]
fn stand(commands: &[Words], what: &str) {
    // The peak of what a child took is what its parent is told, and no less than the parent's own: some 12 MiB.
    const MEASURE: &str = "\
import json, os, subprocess, sys, tempfile, threading, time
for words in json.load(sys.stdin):
    with tempfile.TemporaryFile() as errors:
        since = time.monotonic()
        child = subprocess.Popen([sys.argv[1]] + words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        clock = threading.Timer(60, child.kill)
        clock.start()
        _, status, usage = os.wait4(child.pid, 0)
        clock.cancel()
        errors.seek(0)
        said = errors.read().decode('utf-8', 'replace')
        took = time.monotonic() - since
        print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss, took, said]))
";
    let mut measure = Command::new("python3")
        .args(["-c", MEASURE, env!("CARGO_BIN_EXE_disinter")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let list = serde_json::to_vec(commands).unwrap();
    measure.stdin.take().unwrap().write_all(&list).unwrap();
    let out = measure.wait_with_output().unwrap();
    let lines = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        lines.lines().count(),
        commands.len(),
        "{what}: {}",
        out.status
    );
    for (line, command) in lines.lines().zip(commands) {
        let (status, peak, took, errors): (i64, u64, f64, String) =
            serde_json::from_str(line).unwrap();
        let what = format!("{what}: {}", command.join(" "));
        assert!(
            (0..=3).contains(&status),
            "{what}: status {status}\n{errors}"
        );
        assert!(!errors.contains("panicked"), "{what}\n{errors}");
        assert!(peak <= MOST_KIB, "{what} took {peak} KiB");
        assert!(took < MOST_TIME, "{what} took {took} s");
        assert!(
            !errors.contains('\u{1b}'),
            "{what}: an escape reached the terminal"
        );
    }
}

/// Whether what runs and measures the program is there.
fn can_measure() -> bool {
    let there = Command::new("python3").arg("-V").output().is_ok();
    if !there {
        eprintln!("SKIPPED: python3 is not installed");
    }
    there
}

/// Every subcommand that takes an image, on this one.
fn as_image(image: &Path, place: &Path, what: &str) {
    let path = |name: &str| place.join(name);
    let made = ["case", "quick", "backup", "maps", "text", "out", "raw"].map(path);
    let [case, quick, backup, maps, text, out, raw] = &made;
    let layout = path("hostile-layout.toml");
    let size = fs::metadata(image).unwrap().len();
    let entry = format!(
        "[[image]]\nname = \"i\"\npath = {:?}\nsize = {size}\npartitions = [{{ number = 1, offset = 512, length = {} }}]\n",
        image.display().to_string(),
        size.saturating_sub(512)
    );
    fs::write(&layout, entry).unwrap();
    let mut commands = vec![
        words(&["scan", "--save-map"], &[maps, image]),
        words(&["scan", "--quick", "--json"], &[image]),
        words(&["lvm", "scan"], &[image]),
        words(&["lvm", "show", "1"], &[image]),
        words(&["lvm", "diff", "1", "2"], &[image]),
        words(&["lvm", "history"], &[image]),
        words(&["lvm", "extract", "-o"], &[text, image]),
        words(&["lvm", "scan", "--layout"], &[&layout]),
        words(&["md", "examine"], &[image]),
        words(&["md", "examine", "--search", "--verbose"], &[image]),
        words(&["md", "guess"], &[image]),
        words(&["md", "pairs"], &[image]),
        words(&["investigate", "--case"], &[case, image]),
        words(&["investigate", "--quick", "--case"], &[quick, image]),
        words(&["backup", "-o"], &[backup, image]),
        words(&["backup", "verify"], &[backup, image]),
        words(&["case", "verify"], &[case]),
        words(&["export", "i", "-o"], &[raw, "--layout".as_ref(), &layout]),
        words(&["fs", "cp", "i:/"], &[out, "--layout".as_ref(), &layout]),
    ];
    for command in [
        &["fs", "ls", "i:/"][..],
        &["fs", "cat", "i:/etc/motd"],
        &["fs", "check", "i"],
        &["fs", "ls", "i@1:/"],
        &["fs", "check", "i@1"],
    ] {
        commands.push(words(command, &["--layout".as_ref(), &layout]));
    }
    stand(&commands, what);
    for made in &made {
        let _ = fs::remove_dir_all(made).or_else(|_| fs::remove_file(made));
    }
}

/// What takes several images, on these.
fn together(images: &[&Path], place: &Path, what: &str) {
    let case = place.join("case");
    let all = |first: &[&str]| words(first, images);
    let mut investigate = all(&["investigate", "--case"]);
    investigate.insert(2, case.to_str().unwrap().to_owned());
    stand(
        &[
            all(&["md", "examine"]),
            all(&["md", "guess"]),
            all(&["md", "pairs"]),
            all(&["md", "pairs", "--as-mirrors"]),
            all(&["lvm", "scan", "--json"]),
            investigate,
        ],
        what,
    );
    fs::remove_dir_all(&case).unwrap();
}

/// The kinds of images that a test of so many takes, each broken in so many ways.
fn images(part: usize, of: usize) {
    if !can_measure() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for (kind, (name, seed)) in SEEDS.iter().enumerate() {
        if kind % of != part {
            continue;
        }
        let mut made = Vec::new();
        for round in 0..ROUNDS {
            let number = kind + round * SEEDS.len();
            // The ways that break images are seven; each kind begins with another.
            let way = (kind + 2 * round) % 7;
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1) << 20);
            let image = place.path().join(format!("{name}-{number}.img"));
            fs::write(&image, broken(seed, way, &mut dice)).unwrap();
            as_image(&image, place.path(), &format!("{name} {number}"));
            made.push(image);
        }
        let some: Vec<&Path> = made[1..].iter().map(PathBuf::as_path).collect();
        together(&some, place.path(), &format!("three of {name}"));
        made.iter()
            .for_each(|image| fs::remove_file(image).unwrap());
    }
    assert!(SEEDS.len() * ROUNDS >= 60);
}

/// Broken images of every kind: of disks, members, groups, file systems, and heads of all that is recognised.
#[test]
fn broken_images_first_half() {
    images(0, 2);
}

/// As above, the other kinds.
#[test]
fn broken_images_second_half() {
    images(1, 2);
}

/// Broken files of every kind that is not an image, each to the commands that read it.
#[test]
fn broken_files() {
    if !can_measure() {
        return;
    }
    let unpacked = Unpacked::new("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let backup = path("whole");
    let disk = unpacked.images().remove(0);
    common::run(
        common::disinter()
            .arg("backup")
            .arg(&disk)
            .arg("-o")
            .arg(&backup),
        0,
    );
    let image = path("a.img");
    fs::write(&image, vec![7; 65536]).unwrap();
    let tree = path("tree");
    structures::tree(&tree);
    let corpus = path("corpus");
    let layout = unpacked.case().join("layout.toml");
    let read = |p: &Path| fs::read(p).unwrap();
    let report = drill("holmes-2013").join("smart/sde.json");
    let answer = drill("holmes-2013").join("answer.json");
    let state = format!(
        "{{\"form\":3,\"images\":[{{\"name\":\"a\",\"length\":65536,\"front\":{:?},\"map\":null}}],\"states\":[{{\
         \"at\":4096,\"hits\":[[\"Ext\",1080],[{{\"Lvm\":\"Text\"}},512],[\"Md\",4096]],\
         \"gaps\":[{{\"offset\":0,\"length\":512}}],\"hash\":null}}],\
         \"bad\":[[{{\"offset\":4096,\"length\":512}}]]}}",
        vec![common::sha256(&[7; 4096]); 16]
    );
    let pairs = common::run(
        common::disinter()
            .args(["md", "pairs", "--json"])
            .args([&image, &disk]),
        1,
    );
    let seeds = [
        ("layout", read(&layout)),
        ("text", read(&drill("holmes-2013").join("true-guests.vg"))),
        ("smart", read(&report)),
        (
            "map",
            b"# c\n0x0 ? 1\n0x0 0x200 +\n0x200 0x200 -\n0x400 0xfc00 +\n".to_vec(),
        ),
        ("manifest", read(&unpacked.case().join("manifest.json"))),
        ("list", read(&backup.join("backup.json"))),
        ("state", state.into_bytes()),
        ("pairs", pairs.stdout),
        ("program", structures::program()),
        ("configuration", structures::configuration()),
        ("answer", read(&answer)),
        ("packed", structures::packed()),
    ];
    // A state of another form is refused for that, however it is broken.
    let (_, state) = seeds.iter().find(|(name, _)| *name == "state").unwrap();
    fs::create_dir(path("case.resume")).unwrap();
    fs::write(path("case.resume/state.json"), state).unwrap();
    let mut resume = common::disinter();
    let resume = resume.args(["investigate", "--resume", "--case"]);
    common::run(resume.arg(path("case")).arg(&image), 3);
    fs::remove_dir_all(path("case")).unwrap();
    for number in 0..8 * seeds.len() {
        let (name, seed) = &seeds[number % seeds.len()];
        let mut dice = Dice(0x2545_f491_4f6c_dd1d ^ (number as u64 + 1) << 24);
        let file = path(&format!("{name}-{number}"));
        let bytes = broken(seed, number / seeds.len(), &mut dice);
        fs::write(&file, &bytes).unwrap();
        let what = format!("{name} {number}");
        let run = |commands: &[Words]| stand(commands, &what);
        let (out, scripts) = (path("out"), path("scripts"));
        match *name {
            "layout" => {
                // Beside the text that it names.
                let beside = unpacked.case().join("hostile.toml");
                fs::copy(&file, &beside).unwrap();
                let text = unpacked.case().join("guests.vg");
                let with = |first: &[&str]| words(first, &["--layout".as_ref(), &beside]);
                let mut script = with(&["script", "--vg"]);
                script.insert(2, text.to_str().unwrap().to_owned());
                script.extend(words(&["-o"], &[&scripts]));
                let mut export = with(&["export", "array2"]);
                export.extend(words(&["-o"], &[&out]));
                let mut rank = with(&["smart", "rank"]);
                rank.extend(words(&[], &[&report]));
                run(&[
                    with(&["fs", "ls", "guests/home:/"]),
                    with(&["fs", "check", "guests/home"]),
                    with(&["lvm", "scan"]),
                    export,
                    script,
                    rank,
                ]);
            }
            "text" => {
                let script = words(
                    &["script", "--layout"],
                    &[&layout, "--vg".as_ref(), &file, "-o".as_ref(), &scripts],
                );
                // As the layout's own text, for the volumes that it describes.
                let (own, beside) = (unpacked.case().join("guests.vg"), path("guests.vg"));
                let layout = unpacked.case().join("hostile.toml");
                fs::rename(&own, &beside).unwrap();
                fs::copy(&file, &own).unwrap();
                fs::copy(unpacked.case().join("layout.toml"), &layout).unwrap();
                run(&[
                    script,
                    words(&["lvm", "show", "1"], &[&file]),
                    words(&["lvm", "diff", "1", "2"], &[&file, &beside]),
                    words(&["fs", "ls", "guests/home:/", "--layout"], &[&layout]),
                ]);
                fs::rename(&beside, &own).unwrap();
            }
            "smart" => run(&[
                words(&["smart", "rank"], &[&file]),
                words(&["smart", "rank", "--layout"], &[&layout, &file]),
            ]),
            "map" => {
                let named = PathBuf::from(format!("--map={}", file.display()));
                run(&[words(&["scan"], &[&named, &image])]);
            }
            "manifest" => {
                let case = path("case");
                fs::create_dir(&case).unwrap();
                fs::copy(&file, case.join("manifest.json")).unwrap();
                run(&[words(&["case", "verify"], &[&case])]);
                fs::remove_dir_all(&case).unwrap();
            }
            "list" => {
                fs::write(backup.join("backup.json"), &bytes).unwrap();
                // Else it is known to be another before it is read.
                let path = backup.join("manifest.json");
                let mut manifest: serde_json::Value = serde_json::from_slice(&read(&path)).unwrap();
                let rows = manifest["files"].as_array_mut().unwrap();
                let row = rows
                    .iter_mut()
                    .find(|row| row["path"] == "backup.json")
                    .unwrap();
                row["size"] = bytes.len().into();
                row["sha256"] = common::sha256(&bytes).into();
                fs::write(&path, manifest.to_string()).unwrap();
                run(&[
                    words(&["backup", "verify"], &[&backup, &disk]),
                    words(&["backup", "verify"], &[&backup]),
                ]);
            }
            "state" => {
                let case = path("case");
                fs::create_dir(path("case.resume")).unwrap();
                fs::copy(&file, path("case.resume/state.json")).unwrap();
                run(&[words(
                    &["investigate", "--resume", "--case"],
                    &[&case, &image],
                )]);
                let _ = (
                    fs::remove_dir_all(&case),
                    fs::remove_dir_all(path("case.resume")),
                );
            }
            "pairs" => run(&[words(&["smart", "rank", "--pairs"], &[&file, &report])]),
            "program" | "configuration" => {
                // All files of the tree are this one.
                fs::write(tree.join("input"), &bytes).unwrap();
                run(&[words(&["doctor", "--root"], &[&tree])]);
            }
            _ => {
                let drill = corpus.join("d");
                fs::create_dir_all(&drill).unwrap();
                let which = if *name == "answer" {
                    "answer.json"
                } else {
                    "sda.img.zst"
                };
                fs::copy(&answer, drill.join("answer.json")).unwrap();
                fs::write(drill.join("sda.img.zst"), structures::packed()).unwrap();
                fs::write(drill.join(which), &bytes).unwrap();
                run(&[
                    words(&["drill", "list", "--corpus"], &[&corpus]),
                    words(&["drill", "run", "d", "--corpus"], &[&corpus]),
                ]);
            }
        }
        let _ = (fs::remove_file(&out), fs::remove_dir_all(&scripts));
    }
}

/// A header that claims the whole disk is kept whole up to a point, which is told, and never held whole.
#[test]
fn a_header_that_is_as_long_as_the_disk() {
    if !can_measure() {
        return;
    }
    const MIB: u64 = 1 << 20;
    let place = tempfile::tempdir().unwrap();
    let (image, backup) = (place.path().join("luks.img"), place.path().join("backup"));
    common::blank(&image, 300 * MIB);
    let mut kinds = structures::images(&[0; 192 << 10]).into_iter();
    let (_, mut header) = kinds.find(|(name, _)| *name == "luks1").unwrap();
    header[104..108].copy_from_slice(&u32::MAX.to_be_bytes());
    let disk = fs::File::options().write(true).open(&image).unwrap();
    disk.write_all_at(&header, 0).unwrap();
    stand(
        &[words(&["backup", "-o"], &[&backup, &image])],
        "a long header",
    );
    let list: serde_json::Value =
        serde_json::from_slice(&fs::read(backup.join("backup.json")).unwrap()).unwrap();
    let extents = list["extents"].as_array().unwrap();
    let mut end = 0;
    for extent in extents
        .iter()
        .filter(|e| e["offset"].as_u64() < Some(256 * MIB))
    {
        assert_eq!(extent["offset"].as_u64(), Some(end));
        assert!(extent.to_string().contains("LUKS header and key slots"));
        assert!(
            extent.to_string().contains("the first 256 MiB of 300 MiB"),
            "{extent}"
        );
        end += extent["length"].as_u64().unwrap();
    }
    assert_eq!(end, 256 * MIB);
}

/// A whole text of a ring, of 3 KiB: eight volumes, and no id that another has.
fn text_of_its_own(number: usize) -> Vec<u8> {
    let id = |kind: u8| format!("{kind:06}-aaaa-bbbb-cccc-dddd-eeee-{number:06}");
    let volumes: String = (0..8)
        .map(|lv| {
            format!(
                "lv{lv}_{number} {{\nid = \"{}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\n\
                 creation_time = {number}\ncreation_host = \"vm\"\nsegment_count = 1\n\nsegment1 {{\n\
                 start_extent = 0\nextent_count = {}\n\ntype = \"striped\"\nstripe_count = 1\n\nstripes = [\n\
                 \"pv0\", {}\n]\n}}\n}}\n\n",
                id(lv),
                lv + 1,
                u32::from(lv) * 10
            )
        })
        .collect();
    let mut text = format!(
        "vg{number} {{\nid = \"{}\"\nseqno = {}\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\n\
         flags = []\nextent_size = 8192\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n\n\
         pv0 {{\nid = \"{}\"\ndevice = \"/dev/sda\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = []\n\
         dev_size = 100000000\npe_start = 2048\npe_count = 6000\n}}\n}}\n\nlogical_volumes {{\n\n{volumes}}}\n}}\n\
         # Generated by LVM2 version 2.03.16(2): Fri\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n\
         description = \"number {number}\"\n\ncreation_host = \"vm\"\t# Linux\ncreation_time = {}\n\n\0",
        id(100),
        number + 1,
        id(101),
        1_600_000_000 + number
    )
    .into_bytes();
    text.resize(text.len().next_multiple_of(512), 0);
    text
}

/// Texts that are all different are all kept, up to a point: 24 MiB of them took 200.
#[test]
fn an_image_full_of_different_texts() {
    if !can_measure() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let image = place.path().join("texts.img");
    let texts: Vec<u8> = (0..8_000).flat_map(text_of_its_own).collect();
    assert!(texts.len() > 22 << 20);
    fs::write(&image, texts).unwrap();
    let commands = [
        &["scan"][..],
        &["scan", "--json"],
        &["lvm", "scan"],
        &["lvm", "scan", "--json"],
        &["lvm", "history", "--json"],
    ];
    stand(
        &commands.map(|command| words(command, &[&image])),
        "different texts",
    );
    // What is let go is said, and the newest stay.
    let found = common::json(common::disinter().args(["lvm", "scan"]).arg(&image), 0);
    let candidates = found["candidates"].as_array().unwrap();
    assert!(candidates.len() > 1500);
    assert_eq!(
        found["older_texts"].as_u64(),
        Some(8_000 - candidates.len() as u64)
    );
    assert_eq!(candidates[0]["seqno"].as_u64(), Some(8_000));
    // One text, of sections that say nothing.
    let mut text = text_of_its_own(0);
    let volumes = b"logical_volumes {\n";
    let at = memchr::memmem::find(&text, volumes).unwrap() + volumes.len();
    text.splice(at..at, b"a{}\n".repeat(1 << 20));
    fs::write(&image, text).unwrap();
    let commands = [&["scan"][..], &["lvm", "scan"]];
    stand(
        &commands.map(|command| words(command, &[&image])),
        "empty sections",
    );
}

/// What the fuzz targets found once must never come back.
#[test]
fn findings_stay_found() {
    if !can_measure() {
        return;
    }
    let folder = root().join("tests/hostile");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no findings are kept");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    for entry in entries {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "img") {
            continue;
        }
        let image = place.path().join("finding.img");
        fs::copy(&file, &image).unwrap();
        as_image(&image, place.path(), &file.display().to_string());
    }
}
