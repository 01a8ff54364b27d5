//! Hostile input: every subcommand against about a hundred broken inputs. No panic, bounded memory, bounded time.
//!
//! The inputs are made here from pieces of the drill's disks: cut, flipped, with lengths that lie. Findings of the fuzz
//! targets (`fuzz/run`) lie in `tests/hostile/` and go through the same commands.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use common::{Unpacked, drill, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Most memory that a run may take, whatever its input says: 64 MiB, for inputs of at most 4 MiB.
const MOST_KIB: u64 = 64 << 10;

/// Most time; a debug build on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(20);

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

/// One way to break bytes.
fn broken(seed: &[u8], way: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let length = bytes.len();
    match way % 6 {
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
                let lie = [u64::MAX, i64::MAX as u64, (1 << 32) + 1, 0xffff_fff0][dice.roll(4)];
                let end = (at + 8).min(length);
                bytes[at..end].copy_from_slice(&lie.to_le_bytes()[..end - at]);
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
        _ => {
            let at = dice.roll(length);
            let n = dice.roll(length - at).min(64 << 10);
            bytes[at..at + n].fill(0);
        }
    }
    bytes
}

/// Pieces of the drill's disks, small, each with a structure of every kind in it.
fn image_seeds(unpacked: &Unpacked) -> Vec<(&'static str, Vec<u8>)> {
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
    vec![
        ("disk", disk[..2 << 20].to_vec()),
        ("member", short),
        ("lvm", export("array2", 2 << 20)),
        ("ext", export("guests/distros", 4 << 20)),
        ("guest", export("guests/ada", 3 << 20)),
    ]
}

/// Runs the program, and fails where it crashed, took too much, or gave no proper status.
#[track_caller]
fn stands(arguments: &[&Path], what: &str) {
    // The peak of what a child took is what its parent is told; the shell's own is far below.
    const MEASURE: &str = "import resource, subprocess, sys\n\
        r = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n\
        sys.stderr.buffer.write(r.stderr)\n\
        print(r.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n";
    let since = Instant::now();
    let out = Command::new("timeout")
        .args(["--kill-after=1", "60", "python3", "-c", MEASURE])
        .arg(env!("CARGO_BIN_EXE_disinter"))
        .args(arguments)
        .output()
        .unwrap();
    let took = since.elapsed();
    let errors = String::from_utf8_lossy(&out.stderr);
    let text = String::from_utf8_lossy(&out.stdout);
    let numbers: Vec<i64> = text
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let [status, peak] = numbers[..] else {
        panic!("{what}: {arguments:?}: {}\n{errors}", out.status);
    };
    assert!(
        (0..=3).contains(&status),
        "{what}: {arguments:?}: status {status}\n{errors}"
    );
    assert!(
        !errors.contains("panicked"),
        "{what}: {arguments:?}\n{errors}"
    );
    assert!(
        peak as u64 <= MOST_KIB,
        "{what}: {arguments:?} took {peak} KiB"
    );
    assert!(took < MOST_TIME, "{what}: {arguments:?} took {took:?}");
    assert!(
        !errors.contains('\u{1b}'),
        "{what}: an escape reached the terminal"
    );
}

/// Every subcommand that takes an image, on this one.
fn as_image(image: &Path, place: &Path, what: &str) {
    let path = |name: &str| place.join(name);
    let (case, backup) = (path("case"), path("backup"));
    for command in [
        &["scan"][..],
        &["lvm", "scan"],
        &["md", "examine"],
        &["md", "guess"],
        &["md", "pairs"],
    ] {
        let mut arguments: Vec<&Path> = command.iter().map(Path::new).collect();
        arguments.push(image);
        stands(&arguments, what);
    }
    stands(
        &["investigate".as_ref(), image, "--case".as_ref(), &case],
        what,
    );
    stands(&["backup".as_ref(), image, "-o".as_ref(), &backup], what);
    if backup.exists() {
        stands(
            &["backup".as_ref(), "verify".as_ref(), &backup, image],
            what,
        );
    }
    let layout = path("hostile-layout.toml");
    let size = fs::metadata(image).unwrap().len();
    let text = format!(
        "[[image]]\nname = \"i\"\npath = {:?}\nsize = {size}\n",
        image.display().to_string()
    );
    fs::write(&layout, text).unwrap();
    let out = path("out");
    for command in [
        &["fs", "ls", "i:/"][..],
        &["fs", "cat", "i:/etc/motd"],
        &["fs", "check", "i"],
        &["fs", "ls", "i@1:/"],
        &["fs", "check", "i@1"],
    ] {
        let mut arguments: Vec<&Path> = command.iter().map(Path::new).collect();
        arguments.extend([Path::new("--layout"), &layout]);
        stands(&arguments, what);
    }
    stands(
        &[
            "fs".as_ref(),
            "cp".as_ref(),
            "i:/".as_ref(),
            &out,
            "--layout".as_ref(),
            &layout,
        ],
        what,
    );
    for made in [&case, &backup, &out] {
        let _ = fs::remove_dir_all(made);
    }
}

fn images(numbers: std::ops::Range<usize>) {
    if Command::new("python3").arg("-V").output().is_err() {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    }
    let unpacked = Unpacked::new("holmes-2013");
    let place = tempfile::tempdir().unwrap();
    let seeds = image_seeds(&unpacked);
    for number in numbers {
        let (name, seed) = &seeds[number % seeds.len()];
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1) << 20);
        let image = place.path().join(format!("{name}-{number}.img"));
        fs::write(&image, broken(seed, number / seeds.len(), &mut dice)).unwrap();
        as_image(&image, place.path(), &format!("{name} {number}"));
        fs::remove_file(&image).unwrap();
    }
}

/// Broken images of five kinds, in six ways.
#[test]
fn broken_images_first_half() {
    images(0..15);
}

/// As above, with other dice.
#[test]
fn broken_images_second_half() {
    images(15..30);
}

/// Broken files of every kind that is not an image, each to the commands that read it.
#[test]
fn broken_files() {
    if Command::new("python3").arg("-V").output().is_err() {
        eprintln!("SKIPPED: python3 is not installed");
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
    fs::write(path("a.img"), vec![7; 8192]).unwrap();
    let layout = unpacked.case().join("layout.toml");
    let read = |p: &Path| fs::read(p).unwrap();
    let seeds = [
        ("layout", read(&layout)),
        ("text", read(&drill("holmes-2013").join("true-guests.vg"))),
        ("smart", read(&drill("holmes-2013").join("smart/sde.json"))),
        (
            "map",
            b"# c\n0x0 ? 1\n0x0 0x200 +\n0x200 0x200 -\n0x400 0x1c00 +\n".to_vec(),
        ),
        ("manifest", read(&unpacked.case().join("manifest.json"))),
        ("list", read(&backup.join("backup.json"))),
    ];
    for number in 0..66 {
        let (name, seed) = &seeds[number % seeds.len()];
        let mut dice = Dice(0x2545_f491_4f6c_dd1d ^ (number as u64 + 1) << 24);
        let file = path(&format!("{name}-{number}"));
        fs::write(&file, broken(seed, number / seeds.len(), &mut dice)).unwrap();
        let what = format!("{name} {number}");
        let run = |words: &[&Path]| stands(words, &what);
        let out = path("out");
        match *name {
            "layout" => {
                // Beside the text that it names.
                let beside = unpacked.case().join("hostile.toml");
                fs::copy(&file, &beside).unwrap();
                for command in [
                    &["fs", "ls", "guests/home:/"][..],
                    &["fs", "check", "guests/home"],
                ] {
                    let mut words: Vec<&Path> = command.iter().map(Path::new).collect();
                    words.extend([Path::new("--layout"), &beside]);
                    run(&words);
                }
                run(&[
                    "export".as_ref(),
                    "--layout".as_ref(),
                    &beside,
                    "array2".as_ref(),
                    "-o".as_ref(),
                    &out,
                ]);
                let text = unpacked.case().join("guests.vg");
                run(&[
                    "script".as_ref(),
                    "--layout".as_ref(),
                    &beside,
                    "--vg".as_ref(),
                    &text,
                    "-o".as_ref(),
                    &path("s"),
                ]);
            }
            "text" => run(&[
                "script".as_ref(),
                "--layout".as_ref(),
                &layout,
                "--vg".as_ref(),
                &file,
                "-o".as_ref(),
                &path("s"),
            ]),
            "smart" => run(&["smart".as_ref(), "rank".as_ref(), &file]),
            "map" => {
                let named = PathBuf::from(format!("--map={}", file.display()));
                run(&["scan".as_ref(), &named, &path("a.img")]);
            }
            "manifest" => {
                let case = path("case");
                fs::create_dir(&case).unwrap();
                fs::copy(&file, case.join("manifest.json")).unwrap();
                run(&["case".as_ref(), "verify".as_ref(), &case]);
                fs::remove_dir_all(&case).unwrap();
            }
            _ => {
                let list = backup.join("backup.json");
                fs::copy(&file, &list).unwrap();
                run(&["backup".as_ref(), "verify".as_ref(), &backup, &disk]);
            }
        }
        let _ = (fs::remove_file(&out), fs::remove_dir_all(path("s")));
    }
}

/// What the fuzz targets found once must never come back.
#[test]
fn findings_stay_found() {
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
