//! `disinter scan`: every structure found in one pass.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Images, Outcome, Pace, confine, images_of};
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFolder;
use disinter::fs::marks::Head;
use disinter::investigate::{self, Survey};
use disinter::parse::Checksum;
use disinter::scan::{Finding, Scan, What};
use disinter::units::{Bytes, Extent};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to scan.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    images: Images,
    #[command(flatten)]
    pace: Pace,
    /// Write a GNU ddrescue map of each image, with what could not be read, to
    /// this new folder: ddrescue goes on from it
    #[arg(long, value_name = "DIR")]
    save_map: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    findings: &'a [&'a Finding],
    /// Structures found beyond those.
    more: u64,
    /// LVM texts found beyond those, the oldest of each group.
    older_texts: u64,
    unread: Vec<(String, Vec<Extent>)>,
    /// Of each image what was looked at.
    looked: Vec<Looked<'a>>,
}

#[derive(Serialize)]
struct Looked<'a> {
    image: &'a str,
    length: Bytes,
    extents: &'a [Extent],
}

/// Scans and prints.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let inputs = arguments.images.open()?;
    let maps = match &arguments.save_map {
        Some(folder) => Some(NewFolder::begin(folder, &images_of(&inputs))?),
        None => None,
    };
    confine(
        maps.as_ref().map_or_else(Grants::none, NewFolder::grants),
        common,
    );
    let survey = investigate::survey(inputs, &[], arguments.pace.options(), &Bar::new(common));
    if let Some(folder) = maps {
        for (name, map) in survey.maps() {
            folder.write(&format!("{name}.map"), map.to_text().as_bytes())?;
        }
        folder.finish()?;
    }
    let findings: Vec<&Finding> = survey.scans.iter().flat_map(|s| &s.findings).collect();
    let more = survey.scans.iter().map(|s| s.more).sum();
    let older_texts = survey.older_texts();
    // What a quick look did not come to may be known to be unread all the same.
    let unread: Vec<(String, Vec<Extent>)> = survey
        .inputs
        .iter()
        .map(|input| (input.name.clone(), input.unread()))
        .filter(|(_, unread)| !unread.is_empty())
        .collect();
    let outcome = Outcome::of(!findings.is_empty(), !unread.is_empty());
    if common.json {
        let findings = &findings;
        let images = survey.inputs.iter().zip(&survey.scans);
        let looked = images.map(|(input, scan)| Looked {
            image: &input.name,
            length: scan.length,
            extents: &scan.looked,
        });
        let looked = looked.collect();
        let document = Document {
            findings,
            more,
            older_texts,
            unread,
            looked,
        };
        output::json("scan", &document)?;
        return Ok(outcome);
    }
    let mut page = page(&survey, &findings, &unread);
    if more > 0 {
        page.push_str(&format!("and {more} structures more, too many to list\n"));
    }
    page.push_str(&output::older_texts(older_texts));
    output::page(&page)?;
    Ok(outcome)
}

/// What was found, and what was not looked at: how much of either first.
fn page(survey: &Survey, findings: &[&Finding], unread: &[(String, Vec<Extent>)]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut table = Table::new(&["where", "byte", "what", "checksum", ""]).right(&[1]);
    for finding in findings {
        let (kind, detail) = describe(&finding.what);
        *kinds.entry(kind).or_default() += 1;
        let checksum = match finding.checksum {
            Checksum::Ok => "holds",
            Checksum::None => "",
            Checksum::Bad => "BAD",
        };
        table.row([
            finding.source.clone(),
            finding.extent.offset.0.to_string(),
            kind.to_owned(),
            checksum.to_owned(),
            detail,
        ]);
    }
    let mut page = String::new();
    output::wrap(&mut page, &counts(&kinds), 2);
    let sum = |of: fn(&Scan) -> Bytes| {
        survey
            .scans
            .iter()
            .fold(Bytes::ZERO, |sum, scan| sum + of(scan))
    };
    let (looked_at, all) = (sum(Scan::looked_at), sum(|scan| scan.length));
    if looked_at < all {
        let line = format!(
            "looked at {looked_at} of {all}, where structures are likely; without --quick all of it is read"
        );
        output::wrap(&mut page, &line, 2);
    }
    for (image, extents) in unread {
        let bytes = Bytes(extents.iter().map(|e| e.length.0).sum());
        let line = format!(
            "{image}: {bytes} in {} extents could not be read",
            extents.len()
        );
        output::wrap(&mut page, &line, 2);
    }
    if !findings.is_empty() {
        page.push_str(&table.render(0));
    }
    page
}

/// How many of each kind there are: the table of a disk that was long in use has hundreds of lines.
fn counts(kinds: &BTreeMap<&str, usize>) -> String {
    if kinds.is_empty() {
        return "nothing found".to_owned();
    }
    let all: usize = kinds.values().sum();
    let each: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    format!("{all} structures: {}", each.join(", "))
}

fn describe(what: &What) -> (&'static str, String) {
    match what {
        What::MdSuperblock(sb) => (
            "md superblock",
            format!("{} {} {}", sb.version, sb.level_name(), sb.array_name),
        ),
        What::LvmLabel(label) => ("LVM label", first(&label.pv_uuid).to_owned()),
        What::LvmMetadataArea(header) => ("LVM metadata area", header.size.to_string()),
        What::LvmText {
            vg,
            seqno,
            form,
            complete,
            ..
        } => (
            "LVM text",
            format!(
                "{vg} seqno {seqno} {}{}",
                format!("{form:?}").to_lowercase(),
                if *complete { "" } else { " CUT" }
            ),
        ),
        What::ExtSuperblock(sb) => (
            "ext superblock",
            format!("{} {} {}", sb.kind(), sb.label, first(&sb.uuid)),
        ),
        What::Head(head) => (head.format.as_str(), head_line(head)),
    }
}

fn head_line(head: &Head) -> String {
    let line = format!("{} {}", head.label, first(&head.uuid));
    let mut line = line.trim().to_owned();
    if let Some(start) = head.volume_start.filter(|s| *s != head.extent.offset) {
        line.push_str(&format!(", of what begins at byte {}", start.0));
    }
    line
}

/// A UUID's first group tells one volume from another, and leaves a line within a terminal; `--json` has all of it.
fn first(uuid: &str) -> &str {
    uuid.split('-').next().unwrap_or(uuid)
}
