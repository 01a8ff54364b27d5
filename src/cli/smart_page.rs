//! The page of `smart rank`: what decides first, then the table, then why; 80 columns.

use super::output::{self, Table};
use disinter::investigate::hits::Hit;
use disinter::parse::printable;
use disinter::smart::half::Half;
use disinter::smart::matching::Match;
use disinter::smart::rank::{COLUMNS, Disk, Ranking, Verdict};
use disinter::smart::selftest::LastTest;
use disinter::smart::weights;

/// Longest name of a disk in the table.
const NAME: usize = 12;

/// Failing extents that the page follows up; `--json` has all.
const MOST_HITS: usize = 20;

/// What is shown.
pub(crate) struct Shown<'a> {
    pub(crate) ranking: &'a Ranking,
    pub(crate) half: Option<&'a Half>,
    pub(crate) matches: &'a [Match],
    pub(crate) hits: &'a [Hit],
    pub(crate) all_reasons: bool,
}

/// Text that is broken at words, later lines set in.
fn wrap(page: &mut String, text: &str) {
    output::wrap(page, text, 4);
}

/// The page.
pub(crate) fn page(shown: &Shown<'_>) -> String {
    let mut page = String::new();
    if let Some(half) = shown.half {
        the_half(half, &mut page);
    }
    page.push_str(&table(shown.ranking));
    if shown.half.is_some() {
        matches(shown, &mut page);
    }
    for warning in &shown.ranking.warnings {
        wrap(&mut page, &format!("warning: {warning}"));
    }
    match shown.all_reasons {
        true => all_reasons(shown.ranking, &mut page),
        false => reasons(shown.ranking, &mut page),
    }
    hits(shown.hits, &mut page);
    page
}

fn the_half(half: &Half, page: &mut String) {
    let (read_both, later): (Vec<&String>, Vec<&String>) = half
        .warnings
        .iter()
        .partition(|w| w.contains("READ BOTH") || w.contains("NOT WHOLE"));
    for warning in read_both {
        wrap(page, warning);
    }
    wrap(page, &format!("half: {}", half.half.join(" ")));
    for choice in half.pairs.iter().filter(|c| c.members.len() > 1) {
        let said = half.warnings.iter().any(|w| w.ends_with(&choice.why));
        if !said {
            wrap(
                page,
                &format!("{}: {}", choice.chosen.join(" "), choice.why),
            );
        }
        for line in &choice.newer {
            wrap(page, &format!("    {line}"));
        }
    }
    for warning in later {
        wrap(page, warning);
    }
    page.push('\n');
}

/// How each report was matched, in as few lines as it takes.
fn matches(shown: &Shown<'_>, page: &mut String) {
    for by in ["smart-of", "serial", "file name", "device name"] {
        let of = shown.matches.iter().filter(|m| m.by == by);
        let names: Vec<String> = of
            .map(|m| match by {
                "smart-of" => format!("{} is {}", m.disk, m.file),
                _ => m.disk.clone(),
            })
            .collect();
        if !names.is_empty() {
            wrap(page, &format!("matched by {by}: {}", names.join(" ")));
        }
    }
}

fn shortened(name: &str) -> String {
    let name = printable(name.as_bytes());
    let count = name.chars().count();
    if count <= NAME {
        return name;
    }
    // The end tells reports of one host apart, the front the model.
    let front: String = name.chars().take(NAME / 2 - 1).collect();
    let back: String = name.chars().skip(count - NAME / 2).collect();
    format!("{front}…{back}")
}

/// At most five characters: 99999, 178k, 12M.
fn short_count(count: u64) -> String {
    match count {
        0..=99_999 => count.to_string(),
        100_000..=9_999_999 => format!("{}k", count / 1000),
        10_000_000..=9_999_999_999 => format!("{}M", count / 1_000_000),
        _ => ">10G".to_owned(),
    }
}

fn table(ranking: &Ranking) -> String {
    let mut head = vec!["#", "disk", "verdict", "pts"];
    let numbers: Vec<String> = COLUMNS.iter().map(u64::to_string).collect();
    head.extend(numbers.iter().map(String::as_str));
    head.extend(["errors", "<24h"]);
    let mut table = Table::new(&head)
        .right(&[0, 3, 4, 5, 6, 7, 8, 9, 10, 11])
        .gap(1);
    for disk in &ranking.disks {
        table.row(row(disk));
    }
    table.render(0)
}

fn row(disk: &Disk) -> Vec<String> {
    let rank = match disk.rank {
        0 => "-".to_owned(),
        rank => rank.to_string(),
    };
    let mut row = vec![
        rank,
        shortened(&disk.name),
        disk.verdict.as_str().to_owned(),
        disk.score.to_string(),
    ];
    for column in &disk.columns {
        row.push(match (column.raw, column.decoded) {
            (_, Some(count)) => short_count(count),
            (Some(_), None) => "?".to_owned(),
            (None, None) => "-".to_owned(),
        });
    }
    row.push(match disk.errors {
        None => "?".to_owned(),
        Some(errors) if errors.media > 0 => format!("{} med", short_count(errors.media)),
        Some(errors) if errors.cable > 0 => format!("{} cab", short_count(errors.cable)),
        Some(errors) if errors.host > 0 => format!("{} host", short_count(errors.total)),
        Some(errors) if errors.total > 0 => format!("{} old", short_count(errors.total)),
        Some(_) => "none".to_owned(),
    });
    row.push(match (disk.self_test.last, disk.tested_within_24_h) {
        (LastTest::NotCollected, _) => "?".to_owned(),
        (LastTest::Failed, _) => "FAIL".to_owned(),
        (LastTest::Running, _) => "runs".to_owned(),
        (LastTest::Aborted, _) => "abrt".to_owned(),
        (LastTest::Never, _) => "none".to_owned(),
        (LastTest::Passed, Some(true)) => "yes".to_owned(),
        (LastTest::Passed, _) => "NO".to_owned(),
    });
    row
}

/// The most telling reasons of each disk that is not clean, and what smartctl says otherwise.
fn reasons(ranking: &Ranking, page: &mut String) {
    for disk in &ranking.disks {
        let calls_itself = match disk.cross_check.passed {
            Some(true) if disk.verdict >= Verdict::Damaged && disk.verdict != Verdict::Unknown => {
                " [calls itself PASSED]"
            }
            _ => "",
        };
        let why = match disk.verdict {
            Verdict::Clean => continue,
            Verdict::Unknown => disk.notes.join("; "),
            _ => disk.why(4),
        };
        wrap(page, &format!("{}: {why}{calls_itself}", disk.name));
    }
    page.push_str(
        "Columns: attributes decoded; - none, ? not to be trusted. --reasons tells all.\n",
    );
}

fn all_reasons(ranking: &Ranking, page: &mut String) {
    for disk in &ranking.disks {
        let serial = match disk.serial.as_str() {
            "" => "no serial",
            serial => serial,
        };
        wrap(
            page,
            &format!(
                "\u{20}{}: {} {} ({serial}): {}, {} points",
                disk.name,
                disk.protocol,
                disk.model,
                disk.verdict.as_str(),
                disk.score
            ),
        );
        for reason in &disk.reasons {
            let decoded = match reason.decoded.as_str() {
                same if same == reason.raw => String::new(),
                "" => String::new(),
                other => format!(", decoded {other}"),
            };
            wrap(
                page,
                &format!(
                    "  {:>3} {} [{} = {}{decoded}; {}]",
                    reason.points, reason.what, reason.key, reason.raw, reason.source
                ),
            );
        }
        for extent in &disk.failing_extents {
            let logs: Vec<&str> = extent.logs.iter().copied().collect();
            wrap(
                page,
                &format!(
                    "    fails at LBA {}-{} of {} bytes: byte {}, {} ({})",
                    extent.first_lba,
                    extent.last_lba,
                    disk.block_size.0,
                    extent.extent.offset.0,
                    extent.extent.length,
                    logs.join(", ")
                ),
            );
        }
        let differs = disk.cross_check.differs.iter();
        for note in differs.chain(&disk.notes) {
            wrap(page, &format!("    {note}"));
        }
        if let Some(trend) = &disk.trend {
            for change in &trend.changes {
                let values = change.values.iter();
                let values: Vec<String> = values
                    .map(|v| v.map_or("-".to_owned(), |n| n.to_string()))
                    .collect();
                wrap(
                    page,
                    &format!(
                        "    over {} h: {} {}",
                        trend.hours(),
                        change.what,
                        values.join(" -> ")
                    ),
                );
            }
        }
    }
    wrap(page, &format!("rate: {}", weights::RATE_SOURCE));
}

fn hits(hits: &[Hit], page: &mut String) {
    for hit in hits.iter().take(MOST_HITS) {
        let what = match (&hit.volume, hit.files.first()) {
            (Some((volume, _)), Some(file)) => {
                let more = match hit.files.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                format!("{volume}:{}{more}", file.path)
            }
            (Some((volume, extent)), None) => format!(
                "{volume} byte {}: {}",
                extent.offset.0,
                hit.notes.join(", ")
            ),
            (None, _) => hit.notes.join(", "),
        };
        let from = match (hit.read_from(), hit.mirrors.is_empty()) {
            (Some(mirror), _) => format!(
                "; read it from {} ({})",
                mirror.member,
                mirror.verdict.map_or("no report", Verdict::as_str)
            ),
            (None, false) => "; the mirrors fail there too".to_owned(),
            (None, true) => String::new(),
        };
        wrap(
            page,
            &format!(
                "{} byte {} ({}) fails: {what}{from}",
                hit.disk, hit.on_disk.offset.0, hit.on_disk.length
            ),
        );
    }
    if hits.len() > MOST_HITS {
        page.push_str(&format!(
            "… and {} more failing extents: see --json\n",
            hits.len() - MOST_HITS
        ));
    }
}

/// The table of weights.
pub(crate) fn weights() -> String {
    let mut page = String::new();
    for (attribute, weight) in weights::table() {
        let id = attribute.map_or(String::new(), |id| format!("{id} "));
        wrap(
            &mut page,
            &format!(
                "{id}{}: {} ({}, at least {})",
                weight.what,
                weights::steps_text(&weight),
                weight.source,
                weight.tier.as_str()
            ),
        );
    }
    wrap(
        &mut page,
        &format!(
            "From each count on, so many points. Pending, uncorrectable, reported and the log of pending defects \
             tell of the same damage: the largest counts. So do 5, 196 and grown defects. \
             Less than {} points apart in one tier is no preference. rate: {}",
            weights::CLOSE,
            weights::RATE_SOURCE
        ),
    );
    page
}
