//! `disinter md pairs`: which members mirror each other, where they differ, and how far a copy came.

use super::output::{self, Table, wrap};
use super::progress::Bar;
use super::{Common, Images, Outcome, Unread, confine, unread_of};
use disinter::evidence::confine::Grants;
use disinter::image::progress::Progress;
use disinter::inputs::{self, Input, Slice};
use disinter::investigate::arrays;
use disinter::investigate::mirrors::{self, Mirror, Pairs};
use disinter::md::copied::{Copied, State};
use disinter::parse::printable;
use disinter::units::Bytes;
use serde::Serialize;

/// Extents of a group shown on the page; `--json` lists more.
const SHOWN: usize = 8;

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    images: Images,
    /// Compare at most 64 MiB of each member, spread over it
    #[arg(long)]
    sample: bool,
    /// Compare all of them with each other, whether they look like mirrors or
    /// not
    #[arg(long)]
    as_mirrors: bool,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    pairs: Pairs,
    unread: Vec<Unread>,
}

/// Compares and prints.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let inputs = arguments.images.open()?;
    confine(Grants::none(), common);
    let bar = Bar::new(common);
    let slices = inputs::slices(&inputs);
    let members = arrays::members(&slices);
    let options = mirrors::Options {
        sample: arguments.sample,
        as_mirrors: arguments.as_mirrors,
    };
    let pairs = mirrors::pairs(&members, options, &bar);
    bar.end();
    // A member that cannot be read is in no group, and may be a mirror all the same.
    let lost = lost(&inputs, &slices);
    let gaps = !lost.is_empty() || pairs.groups.iter().any(|g| g.comparison.unread_bytes > 0);
    let outcome = Outcome::of(!pairs.groups.is_empty(), gaps);
    if common.json {
        let unread = unread_of(&inputs);
        output::json("md pairs", &Document { pairs, unread })?;
        return Ok(outcome);
    }
    output::page(&page(&pairs, &lost))?;
    Ok(outcome)
}

/// The volumes of which anything is unread, and how much.
fn lost(inputs: &[Input], slices: &[Slice]) -> Vec<(String, Bytes)> {
    let of = |slice: &Slice| {
        let unread = inputs.get(slice.input)?.unread();
        let inside = unread.iter().filter_map(|e| e.overlap(slice.extent));
        let bytes = inside.fold(Bytes::ZERO, |sum, e| sum + e.length);
        (bytes > Bytes::ZERO).then(|| (slice.name.clone(), bytes))
    };
    slices.iter().filter_map(of).collect()
}

fn page(pairs: &Pairs, lost: &[(String, Bytes)]) -> String {
    let head = [
        "mirrors",
        "compared",
        "first difference",
        "bytes differing",
        "extents",
    ];
    let mut table = Table::new(&head).right(&[1, 2, 3, 4]);
    for group in &pairs.groups {
        let compared = &group.comparison;
        let first = compared.first_difference;
        table.row([
            short(&group.members),
            compared.compared_bytes.to_string(),
            first.map_or("none".to_owned(), |at| at.0.to_string()),
            compared.differing_bytes.to_string(),
            compared.differing_extent_count.to_string(),
        ]);
    }
    let mut page = match pairs.groups.is_empty() {
        true => "No two of these mirror each other.\n".to_owned(),
        false => table.render(0),
    };
    for group in &pairs.groups {
        group_lines(&mut page, group);
    }
    for shifted in &pairs.shifted {
        let [a, b] = &shifted.members;
        let (shift, pages) = (shifted.shift, shifted.pages);
        let line = match shifted.whole {
            true => format!(
                "{a} {b}: the same data at another place ({shift:+} bytes, {pages} pages): give their extents to \
                 compare them"
            ),
            // What was copied from file to file looks the same.
            false => format!(
                "{a} {b}: {pages} pages lie at another place ({shift:+} bytes): far copies of raid10, ones that \
                 interleave, or the same file twice"
            ),
        };
        wrap(&mut page, &line, 2);
    }
    if !pairs.alone.is_empty() {
        let names = pairs.alone.join(" ");
        wrap(
            &mut page,
            &format!("no mirror at the same place: {names}"),
            2,
        );
    }
    // Those of groups are told there.
    for (name, bytes) in lost.iter().filter(|(name, _)| pairs.alone.contains(name)) {
        let name = printable(name.as_bytes());
        page.push_str(&format!(
            "{name}: {bytes} could not be read: it may be a mirror there\n"
        ));
    }
    page
}

/// Columns that the names of a group may take in the table.
const NAMES: usize = 24;

/// A group's members; the first and how many more, where that is too long.
fn short(members: &[String]) -> String {
    let names = members.join(" ");
    match members {
        [first, others @ ..] if names.chars().count() > NAMES => {
            format!("{first} +{}", others.len())
        }
        _ => names,
    }
}

/// Adds what is to be said of a group below the table.
fn group_lines(page: &mut String, group: &Mirror) {
    let compared = &group.comparison;
    let mut lines = Vec::new();
    let copied = group.copied.as_ref();
    if !group.behind.is_empty() {
        let names = group.behind.join(" ");
        lines.push(format!(
            "BEHIND by its superblock: {names}; take the other's bytes where they differ"
        ));
    }
    // A copy that stopped is the first thing to know: what lies behind is no mirror at all.
    lines.extend(
        copied
            .into_iter()
            .flat_map(|c| copy_lines(c, &group.members)),
    );
    for total in &compared.classes {
        let (class, plural) = (
            total.class.words(),
            if total.extents == 1 { "" } else { "s" },
        );
        lines.push(format!(
            "{class}: {} in {} extent{plural}",
            Bytes(total.bytes),
            total.extents
        ));
    }
    if group.members.len() > 2 && compared.differing_bytes > 0 {
        let counts = group
            .members
            .iter()
            .zip(&compared.differing_from_first)
            .skip(1);
        let counts: Vec<String> = counts.map(|(m, bytes)| format!("{m} in {bytes}")).collect();
        let first = group.members.first().map_or("", String::as_str);
        lines.push(format!(
            "bytes that differ from {first}: {}",
            counts.join(", ")
        ));
    }
    for differs in compared.differing_extents.iter().take(SHOWN) {
        let (extent, class) = (differs.extent, differs.class.words());
        lines.push(format!("  {extent}: {} bytes, {class}", differs.bytes));
    }
    let hidden = compared.differing_extent_count.saturating_sub(SHOWN as u64);
    if hidden > 0 {
        lines.push(format!(
            "  and {hidden} more extents (--json lists up to 1000)"
        ));
    }
    if compared.unread_bytes > 0 {
        lines.push(format!(
            "{} could not be read on some member: neither equal nor different",
            Bytes(compared.unread_bytes)
        ));
    }
    let names = group.members.join(" ");
    let short = short(&group.members);
    match short == names {
        true if lines.is_empty() => return,
        true => wrap(page, &names, 2),
        false => wrap(page, &format!("{short}: {names}"), 2),
    }
    for line in lines {
        wrap(page, &format!("  {line}"), 6);
    }
}

fn copy_lines(copied: &Copied, members: &[String]) -> Vec<String> {
    let (least, most) = (
        copied.at_least.unwrap_or_default(),
        copied.at_most.unwrap_or_default(),
    );
    let name = |index: usize| members.get(index).map_or("?", String::as_str);
    let says = match (copied.state, copied.source) {
        (State::Complete, _) => return Vec::new(),
        (State::Diverged, _) => "a whole copy once: one side missed writes since".to_owned(),
        (State::Unclear, _) => "whether one is a copy of the other cannot be told".to_owned(),
        (State::Stopped, Some(source)) => format!(
            "the COPY from {} to {} STOPPED at byte {} to {}",
            name(source),
            name(1 - source.min(1)),
            least.0,
            most.0
        ),
        (State::Stopped, None) => {
            format!(
                "a COPY from one to the other STOPPED at byte {} to {}",
                least.0, most.0
            )
        }
    };
    let because = copied.evidence.iter().map(|why| format!("  - {why}"));
    std::iter::once(says).chain(because).collect()
}
