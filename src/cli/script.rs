//! `disinter script`: the review scripts for a layout, without an investigation.

use super::fs::{StackArguments, say};
use super::{Common, Outcome, confine, output};
use anyhow::{Context, bail};
use disinter::evidence::case::{Case, InputRow, Manifest, now};
use disinter::file::read_small;
use disinter::image::Source;
use disinter::investigate::damage::Damage;
use disinter::investigate::{checks, place, plan};
use disinter::layout::{self, VgEntry};
use disinter::lvm::carve::Carved;
use disinter::lvm::restore;
use disinter::lvm::sync::Told;
use disinter::script;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A metadata text is kilobytes.
const LARGEST_TEXT: u64 = 16 << 20;

/// What the scripts are to bring back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArguments,
    /// The volume group's metadata text: a restore file, as `disinter lvm
    /// extract` writes it. The layout says where its volumes lie
    #[arg(long, value_name = "TEXT")]
    vg: PathBuf,
    /// The folder to write; must not exist, or be empty
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
}

/// Writes the scripts; looks at every volume first, so that they know what to expect.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let started = now();
    let mut layout = arguments.stack.layout()?;
    let mut stack = arguments.stack.open()?;
    let (carved, marks) = read_text(&arguments.vg)?;
    super::restore::warn(&arguments.vg, &marks);
    let vg = &carved.vg;
    let name = format!("{}.vg", vg.name.trim_start_matches('.'));
    // The layout's names of physical volumes are those of its own text; of another group it knows nothing.
    let own = stack
        .groups()
        .find(|own| own.name == vg.name && own.id == vg.id);
    let arrays = layout.arrays.iter();
    let pairs = arrays.flat_map(|a| a.members.iter().map(|m| (m.clone(), a.name.clone())));
    let placing = place::place(vg, &stack.bases(), &pairs.collect(), &place::Unread::new());
    match own {
        Some(own) => {
            let entries = layout.vgs.iter_mut().filter(|entry| entry.name == vg.name);
            entries.for_each(|entry| entry.pvs = plan::by_ids(&entry.pvs, own, vg));
        }
        None => {
            if let Some(doubt) = placing.doubts.first() {
                bail!("{doubt}; say under [[vg]] in the layout which it is");
            }
            layout.vgs.retain(|entry| entry.name != vg.name);
            layout.vgs.push(VgEntry {
                name: vg.name.clone(),
                text: name.clone().into(),
                pvs: placing.pvs,
            });
        }
    }
    let entry = layout.vgs.iter().find(|entry| entry.name == vg.name);
    let pvs = entry.map(|entry| entry.pvs.clone()).unwrap_or_default();
    let half_done =
        |a: &&layout::ArrayEntry| a.reshape.is_some() && pvs.values().any(|v| *v == a.name);
    if let Some(array) = layout.arrays.iter().find(half_done) {
        bail!(
            "{} is in the middle of a reshape: assembled, it would be reshaped further, and made anew it would have one \
             geometry of two; copy what is needed with disinter fs cp or disinter export",
            array.name
        );
    }
    if let Some(pv) = vg.pvs.iter().find(|pv| !pvs.contains_key(&pv.name)) {
        bail!(
            "it is not known where {} of {} lies; say so under [[vg]] in the layout: pvs = {{ {} = \"VOLUME\" }}",
            pv.name,
            vg.name,
            pv.name
        );
    }
    if let Some(mislaid) = plan::mislaid(vg, &pvs, &stack) {
        bail!(
            "{mislaid}; mend pvs under [[vg]] in the layout, whose names are those of the text that it names"
        );
    }
    stack.set_group(vg, &pvs)?;
    let mut case = Case::begin(&arguments.output, &stack.images())?;
    let confinement = confine(case.grants(), common);
    let checks = checks::check(&stack, vg, &Damage::default());
    let text = restore::mark(&marks, &restore::restore_file(&carved)?);
    case.write(&name, text.as_bytes(), false)?;
    let restore = plan::RestoreFile {
        path: &name,
        text: &text,
    };
    let mut plan = plan::plan_of(&layout, &stack, vg, restore, &checks);
    // That the layout names one of two images says nothing of the other.
    for planned in &mut plan.vgs {
        planned.unequal.extend(placing.doubts.iter().cloned());
    }
    for file in script::write(&plan)? {
        case.write(file.name, file.text.as_bytes(), file.executable)?;
    }
    let rows = stack.images().into_iter().map(|image| InputRow {
        name: image.name().to_owned(),
        path: std::path::absolute(image.path()).unwrap_or_default(),
        size: image.len(),
        sha256: None,
        unread: image.unread(),
    });
    case.finish(Manifest::new(started, rows.collect(), confinement))?;
    let told = Told {
        notes: checks.iter().flat_map(|c| c.notes.clone()).collect(),
        doubts: plan.vgs.iter().flat_map(|vg| vg.unequal.clone()).collect(),
    };
    say(&told);
    let unknown = checks.iter().filter(|c| c.expected.is_none()).count();
    if common.json {
        #[derive(Serialize)]
        struct Document<'a> {
            folder: &'a Path,
            vg: &'a str,
            volumes: Vec<(&'a str, &'static str)>,
        }
        let volumes = checks.iter().map(|c| (c.name.as_str(), c.verdict()));
        let document = Document {
            folder: &arguments.output,
            vg: &vg.name,
            volumes: volumes.collect(),
        };
        output::json("script", &document)?;
    } else {
        let mut table = output::Table::new(&["volume", "seen now"]);
        for check in &checks {
            table.row([check.name.clone(), check.verdict().to_owned()]);
        }
        output::page(&format!(
            "{}NEXT  read {}/README.txt. The scripts change no disk until 60-real-disks.sh.\n",
            table.render(2),
            arguments.output.display()
        ))?;
    }
    Ok(Outcome::of(
        !checks.is_empty() && marks.is_empty() && told.doubts.is_empty(),
        unknown > 0,
    ))
}

/// The text, if lvm itself would take it, and the marks at its head: whoever has seen to what they say takes them off.
fn read_text(path: &Path) -> anyhow::Result<(Carved, Vec<String>)> {
    let name = || path.display().to_string();
    let bytes = read_small(path, LARGEST_TEXT).with_context(name)?;
    let carved = layout::text_of(&bytes)
        .with_context(|| format!("{}: holds no LVM metadata text", name()))?;
    if let Some(fault) = &carved.fault {
        bail!("{}: the text is not complete: {fault}", name());
    }
    if let Some(fault) = carved.vg.faults().first() {
        bail!("{}: {fault}; no script is written for such a text", name());
    }
    let marks = restore::marks_of(&String::from_utf8_lossy(&bytes));
    Ok((carved, marks))
}
