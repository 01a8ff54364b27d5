//! The case as a page for people: what was found, how sure, what is damaged, what to do next.

use crate::investigate::Investigation;
use crate::investigate::arrays::ArrayFound;
use crate::investigate::hits::Hit;
use crate::investigate::mirrors::Mirror;
use crate::lvm::candidates::Candidate;
use crate::md::level::Level;
use crate::parse::printable;
use crate::smart::rank::{Disk, Verdict};
use crate::units::{Bytes, utc};
use std::fmt::Write;

/// Columns of the page.
const WIDTH: usize = 80;

/// The page, at most 80 columns wide and, for a usual machine, 24 lines long.
pub fn page(found: &Investigation, case: &str) -> String {
    let mut page = Page::default();
    answer(found, &mut page);
    arrays(found, &mut page);
    disks(found, &mut page);
    volumes(found, &mut page);
    damage(found, &mut page);
    next(found, case, &mut page);
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    /// A line under a head of its own column; what is too long goes on below.
    fn line(&mut self, head: &str, text: &str) {
        const HEAD: usize = 10;
        let text = printable(text.as_bytes());
        let mut line = format!("{head:<HEAD$}");
        let mut empty = true;
        for word in text.split_whitespace() {
            if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _ = writeln!(self.0, "{}", line.trim_end());
                line = " ".repeat(HEAD);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        let _ = writeln!(self.0, "{}", line.trim_end());
    }
}

/// `1 volume`, `10 volumes`.
fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn percent(share: f64) -> String {
    // Never rounded up to certainty.
    format!("{:.1} %", (share * 1000.0).floor() / 10.0)
}

fn answer(found: &Investigation, page: &mut Page) {
    let Some(chosen) = found.chosen() else {
        let which = found
            .wanted
            .as_ref()
            .map_or_else(String::new, |w| format!(" of {w}"));
        page.line(
            "FOUND",
            &format!("no LVM metadata text{which} that could be restored."),
        );
        others(found, None, page);
        return;
    };
    let vg = &chosen.carved.vg;
    let volumes = vg.visible().count();
    page.line(
        "FOUND",
        &format!(
            "volume group {}, {}; {}.",
            vg.name,
            counted(volumes, "volume"),
            starts(chosen)
        ),
    );
    page.line(
        "",
        &format!(
            "Its text is of {}, seqno {}, found {}.",
            written(chosen),
            vg.seqno,
            counted(chosen.found(), "time")
        ),
    );
    others(found, Some(&vg.id), page);
}

fn written(candidate: &Candidate) -> String {
    let time = candidate.carved.about.creation_time;
    time.map_or_else(|| "unknown time".to_owned(), utc)
}

fn starts(candidate: &Candidate) -> String {
    let proof = candidate.proof.unwrap_or_default();
    format!(
        "{} of {} start where its text says",
        proof.shown, proof.tested
    )
}

/// The best text of every other group: one of them may be what is sought.
fn others(found: &Investigation, chosen: Option<&String>, page: &mut Page) {
    const MOST: usize = 3;
    let mut seen: Vec<&String> = chosen.into_iter().collect();
    for other in found.candidates.iter().filter(|c| c.usable()) {
        let vg = &other.carved.vg;
        if seen.contains(&&vg.id) || seen.len() > MOST {
            continue;
        }
        seen.push(&vg.id);
        let id = vg.id.split('-').next().unwrap_or_default();
        page.line(
            "",
            &format!(
                "Not {} of {}: {} (--vg {id} takes it).",
                vg.name,
                written(other),
                starts(other)
            ),
        );
    }
}

fn arrays(found: &Investigation, page: &mut Page) {
    for array in &found.arrays {
        let guess = &array.guess;
        let Some(level) = guess.level else {
            let members = array.members.len();
            page.line(
                "ARRAY",
                &format!("{}: {members} members, level unknown.", array.name),
            );
            continue;
        };
        let shape = match (level, guess.chunk_kib, &guess.layout) {
            (Level::Raid1, ..) => format!("raid1 of {}", guess.members.len()),
            (_, Some(chunk), Some(layout)) => {
                format!(
                    "{level} {layout} of {}, chunk {chunk} KiB",
                    guess.members.len()
                )
            }
            _ => format!("{level} of {}", guess.members.len()),
        };
        let sure = match (level, guess.ambiguous) {
            (Level::Raid1, _) => String::new(),
            (_, true) => format!(", order AMBIGUOUS ({})", guess.open()),
            (_, false) => format!(
                ", order {} sure, {} of {} landmarks hold",
                percent(guess.confidence),
                guess.landmarks.0,
                guess.landmarks.1
            ),
        };
        page.line("ARRAY", &format!("{}: {shape}{sure}.", array.name));
        if level != Level::Raid1 {
            page.line("", &order(array));
        }
        let says = |words: &str| guess.evidence.iter().any(|e| e.contains(words));
        if says("the same bytes as raid0") {
            page.line(
                "",
                "One of each pair: the same bytes as a raid0; superblocks say which it is.",
            );
        } else if says("has the same bytes") {
            page.line(
                "",
                "Half of a raid10 n2 has the same bytes: if there is another half, name it too.",
            );
        }
        let order = if says("ANOTHER order") {
            "another"
        } else {
            "the same"
        };
        if says("not believed") && level != Level::Raid1 {
            page.line(
                "",
                &format!("Superblocks younger than the data, not believed: {order} order."),
            );
        }
    }
    // That a single disk is no array needs no words.
    if found.slices.len() > 1 {
        for apart in &found.apart {
            let line = format!("{}: {}.", apart.members.join(" "), apart.why);
            page.line("NO ARRAY", &line);
        }
    }
}

/// The mirror groups in order: `sdb+sdc sdd+sde …`, by disk where all members are the same partition.
fn order(array: &ArrayFound) -> String {
    let groups = array.groups();
    let tail = |name: &str| name.rsplit_once('@').map(|(_, t)| t.to_owned());
    let tails: std::collections::BTreeSet<_> = groups.iter().flatten().map(|m| tail(m)).collect();
    let short = |name: &String| match tails.len() {
        1 => crate::smart::half::disk_of(name).to_owned(),
        _ => name.clone(),
    };
    let group = |g: &Vec<String>| match g.as_slice() {
        // Left out, the groups behind it would stand in places that are not theirs.
        [] => "missing".to_owned(),
        here => here.iter().map(short).collect::<Vec<_>>().join("+"),
    };
    groups.iter().map(group).collect::<Vec<_>>().join(" ")
}

fn disks(found: &Investigation, page: &mut Page) {
    if !found.ranking.disks.is_empty() {
        let of = |verdict: Verdict| {
            let names: Vec<String> = found
                .ranking
                .disks
                .iter()
                .filter(|d| d.verdict == verdict)
                .map(Disk::name)
                .collect();
            (!names.is_empty()).then(|| format!("{verdict:?}: {}", names.join(" ")).to_lowercase())
        };
        let verdicts = [
            Verdict::Failing,
            Verdict::Damaged,
            Verdict::Suspect,
            Verdict::Clean,
            Verdict::Unknown,
        ];
        let text: Vec<String> = verdicts.into_iter().filter_map(of).collect();
        page.line("DISKS", &format!("{}.", text.join("; ")));
    }
    if let Some(half) = &found.half {
        page.line("HALF", &half.half.join(" "));
        for choice in half.pairs.iter().filter(|c| c.why.contains("spared")) {
            page.line("", &format!("{}.", choice.why));
        }
        for warning in half.warnings.iter().filter(|w| w.contains("READ BOTH")) {
            page.line("", &format!("{warning}."));
        }
    }
}

fn volumes(found: &Investigation, page: &mut Page) {
    let mut by_verdict: std::collections::BTreeMap<&str, Vec<String>> = Default::default();
    for check in &found.checks {
        let (passed, tested) = check.tally();
        let text = match check.verdict() {
            "damaged" | "overwritten in part" => {
                format!("{} ({passed} of {tested} checks)", check.name)
            }
            _ => check.name.clone(),
        };
        by_verdict.entry(check.verdict()).or_default().push(text);
    }
    for (verdict, names) in by_verdict {
        page.line("VOLUMES", &format!("{verdict}: {}.", names.join(", ")));
    }
}

fn damage(found: &Investigation, page: &mut Page) {
    let damage = &found.damage;
    let mut members: Vec<&str> = damage
        .overwritten
        .iter()
        .map(|o| o.member.as_str())
        .collect();
    members.dedup();
    if !members.is_empty() {
        let hit: Bytes = Bytes(members.iter().map(|m| damage.on_member(m).0).sum());
        let where_hit = match hit {
            Bytes::ZERO => "no volume was hit".to_owned(),
            hit => format!("{hit} of volumes were hit on some mirror"),
        };
        page.line(
            "DAMAGE",
            &format!(
                "a later writer left traces on {}; {where_hit}.",
                members.join(" ")
            ),
        );
    }
    let differing: Vec<String> = found
        .arrays
        .iter()
        .flat_map(|a| &a.mirrors)
        .filter(|m| m.comparison.differing_bytes > 0 && m.members.len() == 2)
        .map(|m| {
            format!(
                "{} {}",
                m.members.join("/"),
                Bytes(m.comparison.differing_bytes)
            )
        })
        .collect();
    if !differing.is_empty() {
        page.line("", &format!("mirrors differ: {}.", differing.join(", ")));
    }
    let mirrors = || found.arrays.iter().flat_map(|a| &a.mirrors);
    let sampled = |m: &&Mirror| {
        let unread = Bytes(m.comparison.unread_bytes);
        m.comparison.compared_bytes + unread < m.comparison.common_bytes
    };
    if let Some(mirror) = mirrors().find(sampled) {
        let line = format!(
            "mirrors were compared at places only, {} of {} a member: they may differ elsewhere.",
            mirror.comparison.compared_bytes, mirror.comparison.common_bytes
        );
        page.line("", &line);
    }
    failing_blocks(found, page);
    let gaps = found.unread_bytes().0;
    if gaps > 0 {
        page.line(
            "",
            &format!("{} could not be read: see manifest.json.", Bytes(gaps)),
        );
    }
}

/// Which disks' failing blocks lie in volumes; those in parity, gaps and free space harm nobody.
fn failing_blocks(found: &Investigation, page: &mut Page) {
    let in_volumes = || found.hits.iter().filter(|h| h.volume.is_some());
    let mut disks: Vec<&str> = in_volumes().map(|h| h.disk.as_str()).collect();
    disks.dedup();
    if disks.is_empty() {
        return;
    }
    let mut files: Vec<&str> = in_volumes()
        .flat_map(|h| &h.files)
        .map(|f| f.path.as_str())
        .collect();
    files.sort_unstable();
    files.dedup();
    let alone = |h: &&Hit| h.read_from().is_none() && !h.from_parity;
    let whole = match in_volumes().filter(alone).count() {
        0 => "other disks give each of them".to_owned(),
        n => format!("no other disk gives {n} of the extents"),
    };
    let line = format!(
        "failing blocks of {} lie in volumes, {}; {whole}: see hits.json.",
        disks.join(" "),
        counted(files.len(), "file")
    );
    page.line("", &line);
}

fn next(found: &Investigation, case: &str, page: &mut Page) {
    let Some(chosen) = found.chosen() else {
        page.line(
            "NEXT",
            "try more images: the disk of the root file system holds /etc/lvm.",
        );
        if let Some(array) = found.arrays.iter().find(|a| a.guess.level.is_some()) {
            let name = &array.name;
            let layout = format!("--layout {case}/layout.toml");
            page.line(
                "",
                &format!("Or without LVM: disinter fs ls {layout} {name}:/"),
            );
            page.line("", &format!("disinter export {layout} {name} -o FILE"));
        }
        return;
    };
    let open = &found.placing.open;
    for open in open {
        page.line("OPEN", &format!("{}.", open.told()));
    }
    if !open.is_empty() {
        let next = match open.iter().all(|open| open.may_be.is_empty()) {
            true => "add the images of the disks that hold it, whole disks rather than partitions"
                .to_owned(),
            false => format!("say in {case}/layout.toml, under [[vg]], which it is"),
        };
        page.line(
            "NEXT",
            &format!(
                "{next}; look at the volumes with disinter fs. The scripts restore nothing before that."
            ),
        );
        return;
    }
    for doubt in &found.doubts {
        page.line("DOUBT", &format!("{doubt}."));
    }
    if !found.doubts.is_empty() {
        page.line(
            "NEXT",
            &format!(
                "read {case}/arrays.json, texts.json and placing.json, add disks or edit {case}/layout.toml, look at the volumes \
                 with disinter fs. The scripts write to no disk before that."
            ),
        );
        return;
    }
    let unplug = match &found.half {
        Some(_) => " Unplug the other half all the same.",
        None => "",
    };
    page.line(
        "NEXT",
        &format!("read {case}/scripts/README.txt. The scripts change no disk.{unplug}"),
    );
    let vg = &chosen.carved.vg;
    if let Some(lv) = vg.visible().next() {
        page.line(
            "",
            &format!(
                "Or: disinter export --layout {case}/layout.toml {}/{} -o FILE",
                vg.name, lv.name
            ),
        );
    }
}
