//! `disinter md examine`: superblocks, and what they agree and disagree on.

use super::output::{self, Table};
use super::progress::Bar;
use super::{Common, Images, Outcome, Unread, confine, unread_of};
use disinter::evidence::confine::Grants;
use disinter::image::progress::Progress;
use disinter::inputs::{self, Input, Slice};
use disinter::investigate::age;
use disinter::md::agreement::{ArrayView, Status};
use disinter::md::examine::{self, Disk, Examination, Examined, Standing};
use disinter::md::firmware::{Firmware, Volume};
use disinter::md::remains::{Kind, Remain};
use disinter::md::superblock::Role;
use disinter::parse::{Checksum, printable};
use disinter::units::{Bytes, utc};
use serde::Serialize;

/// What to examine.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    images: Images,
    /// Search all of each image, and not only where superblocks belong
    #[arg(long)]
    search: bool,
    /// All that each superblock says, one after the other
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    found: Examination,
    unread: Vec<Unread>,
}

/// Examines and prints.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let inputs = arguments.images.open()?;
    confine(Grants::none(), common);
    let slices = inputs::slices(&inputs);
    let bar = Bar::new(common);
    let mut found = examine::examine(&disks(&inputs, &slices), arguments.search, &bar);
    age::judge(&mut found, &slices, &bar);
    bar.end();
    let any =
        !found.superblocks.is_empty() || !found.firmware.is_empty() || !found.remains.is_empty();
    let outcome = Outcome::of(any, !found.unread.is_empty());
    if common.json {
        let unread = unread_of(&inputs);
        output::json("md examine", &Document { found, unread })?;
        return Ok(outcome);
    }
    for (member, what) in &found.broken {
        eprintln!(
            "disinter: warning: {}",
            printable(format!("{member}: {what}").as_bytes())
        );
    }
    let mut page = page(&found, any);
    if arguments.verbose {
        for examined in &found.superblocks {
            page.push_str(&details(examined));
        }
    }
    output::page(&page)?;
    Ok(outcome)
}

fn disks(inputs: &[Input], slices: &[Slice]) -> Vec<Disk> {
    let parts = |index: usize| {
        let on = slices.iter().filter(move |s| s.input == index);
        on.map(|s| (s.name.clone(), s.extent)).collect()
    };
    let disk = |(index, input): (usize, &Input)| Disk {
        source: input.source.clone(),
        parts: parts(index),
    };
    inputs.iter().enumerate().map(disk).collect()
}

fn page(found: &Examination, any: bool) -> String {
    let mut page = String::new();
    if !any {
        page.push_str("No md superblock found");
        page.push_str(match found.searched {
            true => ".\n",
            false => " where one can lie; --search reads everything for copies and old ones.\n",
        });
    }
    for array in &found.arrays {
        page.push_str(&array_page(array));
    }
    for firmware in &found.firmware {
        page.push_str(&firmware_page(firmware));
    }
    if !found.remains.is_empty() {
        page.push_str("Without a superblock:\n");
        for remain in &found.remains {
            page.push_str(&remain_line(remain));
        }
    }
    for (image, extents) in &found.unread {
        let bytes: u64 = extents.iter().map(|e| e.length.0).sum();
        let image = printable(image.as_bytes());
        page.push_str(&format!("{image}: {} could not be read\n", Bytes(bytes)));
    }
    page
}

fn array_page(array: &ArrayView) -> String {
    let layout = array
        .layout
        .as_deref()
        .map_or(String::new(), |l| format!(" {l}"));
    let name = match array.name.as_str() {
        "" => String::new(),
        name => format!(", {name}"),
    };
    let current = array.members.iter().filter(|m| m.status == Status::Current);
    let held = current.filter(|m| matches!(m.role, Role::Slot(_))).count();
    let mut page = format!(
        "{}{layout}{name}: {held} of {} slots current\n  array {} created {}\n",
        array.level,
        array.raid_disks,
        array.array_uuid,
        utc(array.created)
    );
    if let Some(by) = &array.superseded_by {
        page.push_str(&format!("  OLD: array {by} was made over it\n"));
    }
    if let Some(age) = &array.age {
        let word = if array.believed {
            "note"
        } else {
            "NOT BELIEVED"
        };
        output::wrap(&mut page, &format!("  {word}: {age}"), 4);
    }
    let mut table = Table::new(&["slot", "member", "events", "written", ""]).right(&[0, 2]);
    for member in &array.members {
        let slot = match member.role {
            Role::Slot(slot) => slot.to_string(),
            _ => "-".to_owned(),
        };
        let says = match member.status {
            Status::Behind => member.says.replacen("behind", "BEHIND", 1),
            _ => member.says.clone(),
        };
        let says = match member.standing {
            Standing::Former => format!("{says}; where a former member lay"),
            _ => says,
        };
        table.row([
            slot,
            member.member.clone(),
            member.events.to_string(),
            utc(member.updated).trim_end_matches(" UTC").to_owned(),
            says,
        ]);
    }
    page.push_str(&table.render(2));
    for empty in &array.empty_slots {
        page.push_str(&format!("  slot {} EMPTY: {}\n", empty.slot, empty.why));
    }
    for differs in &array.disagreements {
        let values = differs.values.iter();
        let values: Vec<String> = values
            .map(|(value, names)| format!("{value} ({})", names.join(" ")))
            .collect();
        page.push_str(&format!(
            "  they DISAGREE on {}: {}\n",
            differs.field,
            values.join(", ")
        ));
    }
    for note in &array.notes {
        output::wrap(&mut page, &format!("  {note}"), 4);
    }
    safe(&page)
}

/// Lines from images, made safe for a terminal one by one.
fn safe(page: &str) -> String {
    page.lines()
        .map(|line| printable(line.as_bytes()) + "\n")
        .collect()
}

fn firmware_page(firmware: &Firmware) -> String {
    let sum = match firmware.checksum {
        Checksum::Ok => ", checksum holds",
        Checksum::Bad => ", checksum BAD",
        Checksum::None => "",
    };
    let generation = firmware
        .generation
        .map_or(String::new(), |g| format!(", generation {g}"));
    let mut page = format!(
        "{}: {} firmware RAID{}{generation}{sum}\n",
        firmware.image,
        firmware.format,
        match firmware.version.as_str() {
            "" => String::new(),
            version => format!(" {version}"),
        }
    );
    for volume in &firmware.volumes {
        page.push_str(&volume_lines(volume));
    }
    for disk in &firmware.disks {
        page.push_str(&format!(
            "  disk {}: {}, {}{}\n",
            disk.id,
            Bytes::from(disk.size),
            disk.state,
            match firmware.own.as_ref() == Some(&disk.id) {
                true => "; THIS ONE",
                false => "",
            }
        ));
    }
    for note in &firmware.notes {
        output::wrap(&mut page, &format!("  {note}"), 4);
    }
    safe(&page)
}

fn volume_lines(volume: &Volume) -> String {
    let layout = volume
        .layout
        .as_deref()
        .map_or(String::new(), |l| format!(" {l}"));
    let order: Vec<String> = volume
        .slots
        .iter()
        .map(|(id, start)| format!("{}@{}", id.as_deref().unwrap_or("missing"), start))
        .collect();
    let chunk = match Bytes::from(volume.chunk) {
        Bytes::ZERO => String::new(),
        chunk => format!(", chunk {chunk}"),
    };
    format!(
        "  {}: {}{layout}{chunk}, {}, {}\n    order: {}\n",
        volume.name,
        volume.level,
        Bytes::from(volume.size),
        volume.state,
        order.join(" ")
    )
}

fn remain_line(remain: &Remain) -> String {
    let what = match &remain.kind {
        Kind::Bitmap(bitmap) => format!(
            "bitmap of array {}, {} events",
            bitmap.array_uuid, bitmap.events
        ),
        Kind::JournalBlock { sequence, .. } => format!("block {sequence} of a write journal"),
        Kind::PartialParityLog {
            signature,
            generation,
            ..
        } => {
            format!("partial-parity log {generation} of array signature {signature:08x}")
        }
    };
    format!(
        "  {} byte {}: {what}\n",
        printable(remain.member.as_bytes()),
        remain.at.0
    )
}

/// All of one superblock.
fn details(examined: &Examined) -> String {
    let sb = &examined.superblock;
    let mut lines = vec![
        (
            "place",
            format!("byte {} of {}", examined.offset.0, examined.image),
        ),
        (
            "version",
            sb.version.to_string() + if sb.big_endian { ", big-endian" } else { "" },
        ),
        (
            "checksum",
            if sb.checksum == Checksum::Ok {
                "holds"
            } else {
                "BAD"
            }
            .to_owned(),
        ),
        ("array", sb.array_uuid.clone()),
        (
            "device",
            sb.device_uuid
                .clone()
                .unwrap_or_else(|| sb.device_number.to_string()),
        ),
        (
            "level",
            format!(
                "{} {}",
                sb.level_name(),
                sb.layout_name().unwrap_or_default()
            ),
        ),
        (
            "chunk",
            match Bytes::from(sb.chunk) {
                Bytes::ZERO => String::new(),
                chunk => chunk.to_string(),
            },
        ),
        ("member size", Bytes::from(sb.member_size).to_string()),
        ("data from", format!("sector {}", sb.data_offset.0)),
        ("slots", format!("{} ({})", sb.raid_disks, sb.array_state())),
        ("features", sb.features.join(" ")),
        ("marks", sb.marks.join(" ")),
        ("events", sb.events.to_string()),
        ("written", utc(sb.updated)),
    ];
    if let Some(bitmap) = &examined.bitmap {
        let dirty = bitmap
            .dirty
            .map_or("unreadable".to_owned(), |d| d.to_string());
        let says = format!(
            "{} bits of {}, {dirty} dirty; events {}, cleared {}",
            bitmap.bits, bitmap.chunk, bitmap.events, bitmap.events_cleared
        );
        lines.push(("bitmap", says));
    }
    if let Some(ppl) = sb.ppl {
        lines.push((
            "parity log",
            format!("{} at byte {}", ppl.length, ppl.offset.0),
        ));
    }
    for bad in examined.bad_blocks.iter().flatten() {
        let sectors = bad.length.whole_sectors().0;
        let says = format!(
            "sector {} for {sectors} sectors",
            bad.offset.whole_sectors().0
        );
        lines.push(("bad block", says));
    }
    let mut page = format!("\n{}\n", examined.member);
    for (name, value) in lines.iter().filter(|(_, v)| !v.trim().is_empty()) {
        page.push_str(&format!("  {name:<12} {}\n", value.trim_end()));
    }
    safe(&page)
}
