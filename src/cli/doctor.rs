//! `disinter doctor`: is this rescue environment fit for what the scripts will call?

use super::{Common, Outcome, confine, output};
use anyhow::{Context, bail};
use disinter::doctor::tree::Tree;
use disinter::doctor::{self, Findings, Level, Line};
use disinter::evidence::confine::Grants;
use disinter::parse::printable;
use std::path::PathBuf;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Another tree: a chroot, an unpacked initramfs
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Ask each program for its version; nothing else is ever run
    #[arg(long)]
    run: bool,
}

/// Looks, and prints the problems first.
pub(crate) fn run(arguments: &Arguments, common: Common) -> anyhow::Result<Outcome> {
    let tree = Tree::new(&arguments.root).with_context(|| arguments.root.display().to_string())?;
    if arguments.run && !tree.is_this_machine() {
        bail!("--run asks programs of this machine; those of another tree are only looked at");
    }
    // A program that is asked for its version needs rights that this one gives up.
    let confinement = (!arguments.run)
        .then(|| Grants::none().read(&arguments.root))
        .map(|grants| {
            confine(
                grants,
                Common {
                    quiet: true,
                    ..common
                },
            )
        });
    let mut found = doctor::examine(&tree, arguments.run);
    if let (Some(confinement), true) = (confinement, tree.is_this_machine()) {
        found.landlock(confinement.why.as_deref());
    }
    match common.json {
        true => output::json("doctor", &found)?,
        false => output::page(&page(&found))?,
    }
    Ok(Outcome::of(found.is_fit(), false))
}

/// Things of one level of which the same is to be said, and what is to be installed for them.
struct Group<'a> {
    what: &'a str,
    /// What to do, but for what there is to install.
    todo: &'a str,
    names: Vec<&'a str>,
    packages: Vec<&'a str>,
}

impl Group<'_> {
    fn said(&self) -> String {
        let install = format!("install {}", self.packages.join(" "));
        let todo = match self.packages.is_empty() {
            true => self.todo,
            false => &install,
        };
        let stop = if todo.is_empty() { "" } else { ". " };
        format!("{}: {}{stop}{todo}.", self.names.join(" "), self.what)
    }
}

/// Lines of one level that say the same of several things, as one.
fn grouped(lines: &[Line], level: Level) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for line in lines.iter().filter(|l| l.level == level) {
        let package = line.todo.strip_prefix("install ");
        let todo = package.map_or(line.todo.as_str(), |_| "");
        let same = |g: &&mut Group<'_>| {
            g.what == line.what && g.todo == todo && g.packages.is_empty() == package.is_none()
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.names.push(&line.name);
                group
                    .packages
                    .extend(package.filter(|p| !group.packages.contains(p)));
            }
            None => groups.push(Group {
                what: &line.what,
                todo,
                names: vec![&line.name],
                packages: package.into_iter().collect(),
            }),
        }
    }
    groups
}

fn page(found: &Findings) -> String {
    let mut page = String::new();
    let count = |level| found.lines.iter().filter(|l| l.level == level).count();
    let head = match count(Level::Problem) {
        0 => "FIT: nothing is to be done before the scripts.".to_owned(),
        1 => "NOT FIT: one thing to mend before the scripts are run.".to_owned(),
        n => format!("NOT FIT: {n} things to mend before the scripts are run."),
    };
    page.push_str(&head);
    page.push('\n');
    for (level, word) in [(Level::Problem, "MEND"), (Level::Note, "note")] {
        for group in grouped(&found.lines, level) {
            output::wrap(&mut page, &format!("{word}  {}", group.said()), 6);
        }
    }
    let fine = found.lines.iter().filter(|l| l.level == Level::Fine);
    let names: Vec<String> = fine
        .map(|l| match l.about {
            "program" => format!("{} ({})", l.name, short(&l.what)),
            "kernel" => l.name.split(' ').next().unwrap_or_default().to_owned(),
            _ => format!("{}: {}", l.name, l.what),
        })
        .map(|name| printable(name.as_bytes()))
        .collect();
    if !names.is_empty() {
        output::wrap(&mut page, &format!("fine  {}", names.join(", ")), 6);
    }
    page
}

/// `mdadm - v4.2 - 2021-12-30, dynamic` is `4.2`; the whole stands in the JSON.
fn short(what: &str) -> String {
    let is_version = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit())
    };
    let version = what.split([' ', ',', '(']).find(is_version);
    match (version, what.contains("BusyBox")) {
        (Some(version), true) => format!(
            "busybox {}",
            version.trim_start_matches('v').trim_end_matches("'s")
        ),
        (Some(version), false) => version.trim_start_matches('v').to_owned(),
        (None, _) => what.rsplit(", ").next().unwrap_or_default().to_owned(),
    }
}
