//! `disinter lvm`: metadata texts found, ranked, shown, compared, and taken out.

use super::output::{self, Table};
use super::progress::Bar;
use super::{
    Common, Failing, Images, Outcome, Unread, confine, images_of, layout_file, open_stack,
    unread_of,
};
use anyhow::bail;
use disinter::evidence::confine::Grants;
use disinter::evidence::newfile::NewFile;
use disinter::image::progress::Progress;
use disinter::image::{Image, SharedSource};
use disinter::inputs::Input;
use disinter::investigate::{self, arrays, proof};
use disinter::layout::{Layout, Members, Stack};
use disinter::lvm::candidates::{self, Candidate, Row, Rows};
use disinter::lvm::carve::Made;
use disinter::lvm::diff::{Change, diff};
use disinter::lvm::history::{History, State, histories};
use disinter::lvm::restore;
use disinter::parse::{Checksum, printable};
use disinter::scan::Options;
use disinter::scan::{self, Job};
use disinter::units::utc;
use serde::Serialize;
use std::path::PathBuf;

/// What to do with metadata texts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All texts found, ranked by what the data says of them
    Scan {
        #[command(flatten)]
        images: Sources,
    },
    /// One text: where it was found, what speaks for it, and its words
    Show {
        /// Which text: its rank in `lvm scan`
        #[arg(value_parser = rank)]
        rank: usize,
        #[command(flatten)]
        images: Sources,
    },
    /// What changed from one text to another, volume by volume
    Diff {
        /// The rank of the one before
        #[arg(value_parser = rank)]
        before: usize,
        /// The rank of the one after
        #[arg(value_parser = rank)]
        after: usize,
        #[command(flatten)]
        images: Sources,
    },
    /// What was made, renamed, resized and removed, when, and by which command
    History {
        #[command(flatten)]
        images: Sources,
    },
    /// One text as a file that vgcfgrestore takes
    Extract {
        #[command(flatten)]
        images: Sources,
        /// Which text: its rank in `lvm scan`
        #[arg(long, default_value_t = 1)]
        rank: usize,
        #[command(flatten)]
        options: super::restore::Options,
        /// The file to write
        #[arg(long, short)]
        output: PathBuf,
    },
}

/// A text's rank.
fn rank(text: &str) -> Result<usize, String> {
    let no_rank =
        |_| "which text? Its rank in `disinter lvm scan` comes before the images".to_owned();
    text.parse().map_err(no_rank)
}

/// Where texts are looked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// Disk images or block devices: `disk.img`, `disk.img@2` (a partition),
    /// `disk.img@1048576+4096` (bytes)
    #[arg(required_unless_present = "layout", value_name = "IMAGE")]
    images: Vec<String>,
    /// Instead of images a layout file: its images, and its arrays as a whole
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    layout: Option<PathBuf>,
    /// An image's GNU ddrescue map, as for `disinter scan`
    #[arg(long, value_name = "IMAGE=FILE")]
    map: Vec<String>,
    #[command(flatten)]
    failing: Failing,
}

/// Texts that a page lists; `--json` has all.
const LISTED: usize = 50;

#[derive(Serialize)]
struct Document<'a> {
    candidates: Rows<'a>,
    /// Texts found beyond those, the oldest of each group.
    older_texts: u64,
    unread: &'a [Unread],
}

#[derive(Serialize)]
struct Histories<'a> {
    groups: &'a [History],
    older_texts: u64,
}

/// The texts, ranked.
struct Texts {
    candidates: Vec<Candidate>,
    /// Older ones that are not among them.
    older: u64,
    unread: Vec<Unread>,
}

impl Texts {
    /// The text of a rank.
    fn ranked(&self, rank: usize) -> anyhow::Result<&Candidate> {
        match rank.checked_sub(1).and_then(|i| self.candidates.get(i)) {
            Some(candidate) => Ok(candidate),
            None if self.candidates.is_empty() => {
                bail!("no LVM metadata text found; try more images")
            }
            None => bail!(
                "there are {} texts; ranks go from 1, see `disinter lvm scan`",
                self.candidates.len()
            ),
        }
    }

    fn outcome(&self, usable: bool) -> Outcome {
        Outcome::of(usable, !self.unread.is_empty())
    }
}

/// Runs it.
pub(crate) fn run(command: Command, common: Common) -> anyhow::Result<Outcome> {
    match command {
        Command::Scan { images } => {
            let texts = find(&images, common)?;
            let usable = texts.candidates.iter().any(Candidate::usable);
            if common.json {
                let document = Document {
                    candidates: Rows(&texts.candidates),
                    older_texts: texts.older,
                    unread: &texts.unread,
                };
                output::json("lvm scan", &document)?;
            } else {
                output::page(&page(&texts))?;
            }
            Ok(texts.outcome(usable))
        }
        Command::Show { rank, images } => {
            let texts = find(&images, common)?;
            let candidate = texts.ranked(rank)?;
            show(candidate, rank, common)?;
            Ok(texts.outcome(candidate.usable()))
        }
        Command::Diff {
            before,
            after,
            images,
        } => {
            let texts = find(&images, common)?;
            let pair = (texts.ranked(before)?, texts.ranked(after)?);
            compare(pair, (before, after), common)?;
            Ok(texts.outcome(true))
        }
        Command::History { images } => {
            let texts = find(&images, common)?;
            let histories = histories(&texts.candidates);
            if common.json {
                let document = Histories {
                    groups: &histories,
                    older_texts: texts.older,
                };
                output::json("lvm history", &document)?;
            } else {
                output::page(&told(&histories))?;
                output::page(&output::older_texts(texts.older))?;
            }
            Ok(texts.outcome(!histories.is_empty()))
        }
        Command::Extract {
            images,
            rank,
            options,
            output,
        } => {
            let opened = images.open()?;
            let mut file = NewFile::begin(&output, &opened.images())?;
            confine(file.grants(), common);
            let texts = opened.texts(common);
            let candidate = texts.ranked(rank)?;
            let restore = restore::restore_with(&candidate.carved, &options.changes())?;
            file.write(restore.text.as_bytes())?;
            file.finish()?;
            super::restore::tell(&restore, (candidate, rank), &output, common)?;
            // The marks are of what is written; a text can be sound in itself and the file's not, and the other way round.
            Ok(texts.outcome(candidate.usable() && restore.marks.is_empty()))
        }
    }
}

/// The texts of the images, opened to be read and nothing else.
fn find(sources: &Sources, common: Common) -> anyhow::Result<Texts> {
    let opened = sources.open()?;
    confine(Grants::none(), common);
    Ok(opened.texts(common))
}

/// What texts are looked for in, open.
enum Opened {
    Inputs(Vec<Input>),
    /// A layout's volumes, and the names of those that are read whole.
    Stack(Stack, Vec<String>),
}

impl Sources {
    fn open(&self) -> anyhow::Result<Opened> {
        let Some(file) = &self.layout else {
            let images = Images {
                images: self.images.clone(),
                map: self.map.clone(),
                failing: self.failing,
            };
            return Ok(Opened::Inputs(images.open()?));
        };
        let layout = Layout::load(&layout_file(file))?;
        let stack = open_stack(&layout, file, Members::All, self.failing)?;
        let images = layout.images.iter().map(|i| i.name.clone());
        let names = images.chain(layout.arrays.iter().map(|a| a.name.clone()));
        Ok(Opened::Stack(stack, names.collect()))
    }
}

impl Opened {
    fn images(&self) -> Vec<&Image> {
        match self {
            Opened::Inputs(inputs) => images_of(inputs),
            Opened::Stack(stack, _) => stack.images(),
        }
    }

    /// The texts, proven against the volumes that could be put together.
    fn texts(self, common: Common) -> Texts {
        let bar = Bar::new(common);
        match self {
            Opened::Inputs(inputs) => of_images(inputs, &bar),
            Opened::Stack(stack, names) => of_stack(&stack, &names, &bar),
        }
    }
}

fn of_images(inputs: Vec<Input>, bar: &Bar) -> Texts {
    let survey = investigate::survey(inputs, &[], Options::default(), bar);
    let arrays = survey.arrays(bar).arrays;
    let mut candidates = investigate::with_array_texts(&survey, &arrays);
    let mut volumes: Vec<_> = arrays.iter().filter_map(arrays::ArrayFound::open).collect();
    volumes.extend(survey.slices.iter().map(|s| s.source.clone()));
    proof::prove(&mut candidates, &volumes);
    // The whole of every image was read: all that is known to be unread is a gap of the answer.
    Texts {
        candidates,
        older: survey.older_texts(),
        unread: unread_of(&survey.inputs),
    }
}

/// The texts of a layout's images and, as a whole, of its arrays: a file of texts lies anywhere, and across chunks.
fn of_stack(stack: &Stack, names: &[String], bar: &Bar) -> Texts {
    let open = |name: &String| stack.volume(name).ok();
    let sources: Vec<SharedSource> = names.iter().filter_map(open).collect();
    bar.begin("reading", sources.iter().map(|s| s.len().0).sum());
    let (mut found, mut unread, mut older) = (Vec::new(), Vec::new(), 0);
    for source in &sources {
        let scan = scan::scan(&Job::of(&**source), 0, Options::default(), bar);
        older += scan.older_texts;
        let texts = scan.texts.into_iter();
        found.extend(texts.map(|t| (source.name().to_owned(), t)));
        if !scan.gaps.is_none() {
            unread.push(Unread {
                image: source.name().to_owned(),
                extents: scan.gaps.extents().to_vec(),
            });
        }
    }
    bar.end();
    let mut candidates = candidates::gather(found);
    let names = stack.names().into_iter().filter(|n| !n.contains('/'));
    let volumes: Vec<SharedSource> = names.filter_map(|n| open(&n)).collect();
    proof::prove(&mut candidates, &volumes);
    Texts {
        candidates,
        older,
        unread,
    }
}

fn page(texts: &Texts) -> String {
    let candidates = &texts.candidates;
    let mut table = Table::new(&[
        "rank", "group", "seqno", "written", "form", "start", "where", "state",
    ])
    .right(&[0, 2]);
    for (candidate, rank) in candidates.iter().zip(1..).take(LISTED) {
        let carved = &candidate.carved;
        let proof = candidate
            .proof
            .map_or_else(String::new, |p| format!("{}/{}", p.shown, p.tested));
        let id = carved.vg.id.split('-').next().unwrap_or_default();
        let written = carved.about.creation_time.map(utc).unwrap_or_default();
        table.row([
            rank.to_string(),
            format!("{} {id}", short(&carved.vg.name, 12)),
            carved.vg.seqno.to_string(),
            // The time of day is in `lvm show`: a line must fit a terminal.
            written.get(..10).unwrap_or(&written).to_owned(),
            format!("{:?}", carved.form).to_lowercase(),
            proof,
            place(candidate),
            state(candidate).to_owned(),
        ]);
    }
    if candidates.is_empty() {
        return "No LVM metadata text found.\n".to_owned();
    }
    let mut more = match candidates.len().saturating_sub(LISTED) {
        0 => String::new(),
        n => format!("… and {n} more, of lower rank; --json has them\n"),
    };
    more.push_str(&output::older_texts(texts.older));
    format!(
        "{}{more}start: volumes that show a file system or the like where the text says\n\
         proven: whole, and its checksum holds\n\
         `disinter lvm show RANK IMAGE...` says why\n",
        table.render(0)
    )
}

/// The first of so many characters.
fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The first place, and how many more there are.
fn place(candidate: &Candidate) -> String {
    let first = candidate.places.first();
    let first = first.map_or_else(String::new, |p| {
        format!("{}@{}", p.image, p.extent.offset.0)
    });
    match candidate.found() {
        0 | 1 => first,
        n => format!("{first} +{}", n - 1),
    }
}

fn state(candidate: &Candidate) -> &'static str {
    let carved = &candidate.carved;
    match (carved.made, carved.complete) {
        (Made::Joined, false) => "joined",
        (Made::Rebuilt, false) => "rebuilt",
        (_, false) => "cut",
        _ if carved.checksum == Checksum::Bad => "checksum bad",
        _ if !candidate.faults.is_empty() => "contradictory",
        _ if candidate.proof.is_some_and(|p| p.against > 0) => "contradicted",
        _ if carved.checksum == Checksum::Ok => "proven",
        _ => "whole",
    }
}

/// One text: the evidence first, then its words, made safe.
fn show(candidate: &Candidate, rank: usize, common: Common) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&candidate.carved.bytes);
    if common.json {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            row: Row,
            text: &'a str,
        }
        let row = candidate.row(rank);
        return output::json("lvm show", &Document { row, text: &text });
    }
    let carved = &candidate.carved;
    let mut page = format!(
        "{} {}, seqno {}: {}\n",
        printable(carved.vg.name.as_bytes()),
        printable(carved.vg.id.as_bytes()),
        carved.vg.seqno,
        state(candidate)
    );
    for line in candidate.evidence() {
        page.push_str(&format!("  {}\n", printable(line.as_bytes())));
    }
    for place in candidate.places.iter().take(PLACES) {
        let image = printable(place.image.as_bytes());
        page.push_str(&format!("  at {image}@{}\n", place.extent));
    }
    if candidate.places.len() > PLACES {
        let more = candidate.places.len() - PLACES;
        page.push_str(&format!("  and {more} more (--json lists them)\n"));
    }
    page.push('\n');
    for line in text.lines() {
        // Tabs are the file's own; anything else that moves the cursor is shown as it is written.
        let cells: Vec<String> = line.split('\t').map(|c| printable(c.as_bytes())).collect();
        page.push_str(&cells.join("\t"));
        page.push('\n');
    }
    output::page(&page)
}

/// Places that a page lists.
const PLACES: usize = 8;

fn compare(
    (before, after): (&Candidate, &Candidate),
    (from, to): (usize, usize),
    common: Common,
) -> anyhow::Result<()> {
    let changes = diff(&before.carved.vg, &after.carved.vg);
    if common.json {
        #[derive(Serialize)]
        struct Document {
            before: usize,
            after: usize,
            changes: Vec<Change>,
        }
        let document = Document {
            before: from,
            after: to,
            changes,
        };
        return output::json("lvm diff", &document);
    }
    let name = |c: &Candidate| {
        format!(
            "{} seqno {}",
            printable(c.carved.vg.name.as_bytes()),
            c.carved.vg.seqno
        )
    };
    let mut page = format!("{from} ({}) -> {to} ({})\n", name(before), name(after));
    if before.carved.vg.id != after.carved.vg.id {
        page.push_str("these are two different groups, by their ids\n");
    }
    if changes.is_empty() {
        page.push_str("  nothing changed in the volumes\n");
    }
    for change in &changes {
        page.push_str(&format!("  {}\n", printable(change.to_string().as_bytes())));
    }
    output::page(&page)
}

/// The histories as a page.
fn told(histories: &[History]) -> String {
    if histories.is_empty() {
        return "No whole LVM metadata text found.\n".to_owned();
    }
    let mut page = String::new();
    for history in histories {
        let (vg, id) = (
            printable(history.vg.as_bytes()),
            printable(history.vg_id.as_bytes()),
        );
        page.push_str(&format!("{vg} {id}\n"));
        for state in &history.states {
            page.push_str(&moment(state));
        }
    }
    page
}

fn moment(state: &State) -> String {
    let mut lines = String::new();
    if state.lost > 0 {
        lines.push_str(&format!("        {} states lost\n", state.lost));
    }
    let written = state.time.map(utc).unwrap_or_default();
    let ranks: Vec<String> = state
        .ranks
        .iter()
        .take(PLACES)
        .map(ToString::to_string)
        .collect();
    let fork = if state.fork { ", a fork" } else { "" };
    lines.push_str(&format!(
        "  {:>5} {}  (rank {}{fork})\n",
        state.seqno,
        written.strip_suffix(" UTC").unwrap_or(&written),
        ranks.join(", ")
    ));
    if let Some(command) = &state.command {
        lines.push_str(&format!("        $ {}\n", printable(command.as_bytes())));
    }
    for change in &state.changes {
        lines.push_str(&format!(
            "        {}\n",
            printable(change.to_string().as_bytes())
        ));
    }
    lines
}
