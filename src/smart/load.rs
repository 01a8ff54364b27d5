//! Files of smartctl's output: one report, several, or something else that is named for what it is.

use super::report::Report;
use serde_json::{Deserializer, Value};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A report is tens of KiB; a file this large is something else.
const LARGEST: u64 = 16 << 20;

/// A file that gave no report, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// In words.
    pub what: String,
}

/// Reads reports from files, and from the `*.json` of folders. A file that gives none becomes a problem; the others
/// still count.
pub fn load(paths: &[PathBuf]) -> (Vec<Report>, Vec<Problem>) {
    let mut reports = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let files = match folder(path) {
            Ok(files) => files,
            Err(error) => {
                problems.push(Problem {
                    path: path.clone(),
                    what: error.to_string(),
                });
                continue;
            }
        };
        for file in files {
            match read(&file) {
                Ok(found) => reports.extend(found),
                Err(what) => problems.push(Problem { path: file, what }),
            }
        }
    }
    (reports, problems)
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|e| e == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<Report>, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|e| e.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("is larger than any smartctl output (16 MiB)".to_owned());
    }
    let text = String::from_utf8_lossy(&bytes);
    // A byte-order mark, or lines of a log, may stand before the first brace.
    let start = text.find(['{', '[']);
    let Some(json) = start.and_then(|s| text.get(s..)) else {
        return Err("is not JSON; collect it with `smartctl --json -x DEVICE`".to_owned());
    };
    let name = path.display().to_string();
    let mut reports = Vec::new();
    let mut other = None;
    for value in Deserializer::from_str(json).into_iter::<Value>() {
        match value {
            Ok(Value::Array(values)) => {
                reports.extend(values.into_iter().filter_map(|v| Report::new(&name, v)));
            }
            Ok(value) if value.get("devices").is_some() => {
                other = Some("is the list of `smartctl --scan`, not a report of a disk".to_owned());
            }
            Ok(value) => reports.extend(Report::new(&name, value)),
            Err(error) if reports.is_empty() => {
                other = Some(format!("is not whole JSON ({error}); collect it again"));
                break;
            }
            // Text behind a report is a log's; the report stands.
            Err(_) => break,
        }
    }
    match (reports.is_empty(), other) {
        (false, _) => Ok(reports),
        (true, Some(what)) => Err(what),
        (true, None) => Err("holds no report of smartctl".to_owned()),
    }
}
