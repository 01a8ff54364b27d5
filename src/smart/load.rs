//! Files of smartctl's output: one report, several, or something else that is named for what it is.

use super::report::Report;
use crate::file::read_small;
use serde_json::{Deserializer, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// A report is tens of KiB, so this is hundreds of them; a larger file is something else.
const LARGEST: u64 = 16 << 20;

/// Files of one folder that are looked at.
const MOST_FILES: usize = 10_000;

/// What to run instead.
const COLLECT: &str = "collect it with `smartctl --json -x DEVICE >FILE`";

/// A file that gave no report, or not all that is in it, and what to do about it.
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
    let mut seen = std::collections::BTreeSet::new();
    for path in paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(error) => {
                let what = error.to_string();
                problems.push(Problem {
                    path: path.clone(),
                    what,
                });
                continue;
            }
        };
        for file in files {
            // The same file twice is one report.
            if let Ok(real) = fs::canonicalize(&file)
                && !seen.insert(real)
            {
                continue;
            }
            let what = match read(&file) {
                Ok(found) => {
                    reports.extend(found.reports);
                    found.problem
                }
                Err(what) => Some(what),
            };
            problems.extend(what.map(|what| Problem { path: file, what }));
        }
    }
    (reports, problems)
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)?.take(MOST_FILES) {
        let file = entry?.path();
        let ending = file.extension().and_then(|e| e.to_str());
        if matches!(ending, Some("json" | "jsonl" | "ndjson")) {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(std::io::Error::other("holds no *.json file")),
        false => Ok(files),
    }
}

/// What one file gave.
#[derive(Debug, Default)]
struct Found {
    reports: Vec<Report>,
    problem: Option<String>,
}

fn read(path: &Path) -> Result<Found, String> {
    let bytes = read_small(path, LARGEST).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            "is larger than any smartctl output (16 MiB); give the reports as files of their own"
                .to_owned()
        }
        _ => error.to_string(),
    })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(format!("is empty; {COLLECT}"));
    }
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes.as_slice() {
        return Err("is UTF-16, as PowerShell writes it; convert it to UTF-8".to_owned());
    }
    // Old versions let a drive's invalid bytes through: they are shown as such, not refused.
    parse(
        &path.display().to_string(),
        &String::from_utf8_lossy(&bytes),
    )
}

/// Every document in a text. Lines of a log may stand before, between and behind them.
fn parse(name: &str, text: &str) -> Result<Found, String> {
    let mut found = Found::default();
    let mut keys = None;
    let mut scan = false;
    let mut from = 0;
    while let Some(start) = next_start(text, from) {
        let rest = text.get(start..).unwrap_or_default();
        let mut stream = Deserializer::from_str(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                from = start + stream.byte_offset();
                scan |= value.get("devices").is_some();
                keys = keys.or_else(|| keys_of(&value));
                let documents = match value {
                    Value::Array(values) => values,
                    value => vec![value],
                };
                for document in documents {
                    let index = found.reports.len();
                    found.reports.extend(Report::new(name, index, document));
                }
            }
            Some(Err(error)) => {
                if found.problem.is_none() && looks_like_a_report(rest) {
                    let what =
                        format!("holds a report that is not whole JSON ({error}); {COLLECT}");
                    found.problem = Some(what);
                }
                // Go on at the next line that may begin a document.
                from = start + 1;
            }
            None => break,
        }
    }
    match (found.reports.is_empty(), found.problem.take()) {
        (false, problem) => {
            found.problem = problem;
            Ok(found)
        }
        (true, Some(problem)) => Err(problem),
        (true, None) => Err(refusal(text, scan, keys)),
    }
}

/// Where the next document may begin: the first brace, or a later one at the start of a line.
fn next_start(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    if from == 0 {
        let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
        let trimmed = rest.trim_start_matches(blank);
        if trimmed.starts_with(['{', '[']) {
            return Some(rest.len() - trimmed.len());
        }
    } else if let Some(behind) = rest.trim_start().chars().next()
        && matches!(behind, '{' | '[')
        && text.get(..from).is_some_and(|t| t.ends_with(['}', ']']))
    {
        // Documents one behind the other, on one line or several.
        return Some(from + (rest.len() - rest.trim_start().len()));
    }
    let mut lines = rest.match_indices('\n').map(|(at, _)| at + 1);
    let begins = |at: &usize| {
        rest.get(*at..)
            .is_some_and(|line| line.starts_with(['{', '[']))
    };
    lines.find(begins).map(|at| from + at)
}

fn looks_like_a_report(text: &str) -> bool {
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let front = text.get(..end).unwrap_or_default();
    front.starts_with('{') && front.contains('"')
}

fn keys_of(value: &Value) -> Option<String> {
    let keys: Vec<&str> = value
        .as_object()?
        .keys()
        .take(4)
        .map(String::as_str)
        .collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// What a file is that holds no report.
fn refusal(text: &str, scan: bool, keys: Option<String>) -> String {
    let has = |words: &str| text.contains(words);
    if scan {
        return format!("is the list of `smartctl --scan`, not a report of a disk; {COLLECT}");
    }
    if let Some(keys) = keys {
        return format!("holds no report of smartctl (its keys are {keys}); {COLLECT}");
    }
    if has("=== START OF") || has("SMART overall-health") || has("smartctl 7.") {
        return format!("is smartctl's text output; {COLLECT}");
    }
    if text.lines().any(|l| l.starts_with("json_format_version:")) {
        return format!("is smartctl's YAML output (-j=y); {COLLECT}");
    }
    if text.lines().any(|l| l.starts_with("json.")) {
        return format!("is smartctl's output for grep (-j=g); {COLLECT}");
    }
    format!("is not JSON; {COLLECT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"device": {"name": "/dev/sda"}}"#;

    fn count(text: &str) -> usize {
        parse("x", text).map_or(0, |f| f.reports.len())
    }

    fn why(text: &str) -> String {
        parse("x", text).map_or_else(|e| e, |f| f.problem.unwrap_or_default())
    }

    /// People keep reports in logs, in lists and one behind the other; a report that is passed over is a disk that is
    /// not ranked.
    #[test]
    fn documents_are_found_in_all_shapes() {
        assert_eq!(count(REPORT), 1);
        assert_eq!(count(&format!("\u{feff}  {REPORT}")), 1);
        assert_eq!(
            count(&format!(
                "[12:00] running smartctl\n+ smartctl\n{REPORT}\ndone\n"
            )),
            1
        );
        assert_eq!(count(&format!("{REPORT}{REPORT} {REPORT}")), 3);
        assert_eq!(
            count(&format!("{REPORT}\n\n{REPORT}\nnoise\n{REPORT}\n")),
            3
        );
        assert_eq!(count(&format!("[{REPORT},\n{REPORT}]")), 2);
        assert_eq!(count(&format!("[{REPORT}, null, 7, {{}}]")), 1);
        assert_eq!(
            count(&format!(
                "{}\n{REPORT}",
                REPORT.replace("sda\"", "sda\", \"x\": NaN")
            )),
            1
        );
    }

    /// Each of these is a mistake that people make; "invalid JSON at line 1" helps nobody.
    #[test]
    fn what_is_no_report_is_named() {
        let named = [
            ("", "not JSON"),
            (
                r#"{"devices": [{"name": "/dev/sda"}], "smartctl": {"exit_status": 0}}"#,
                "--scan",
            ),
            (r#"{"blockdevices": []}"#, "its keys are blockdevices"),
            (
                "smartctl 7.3 2022-02-28 r5338\n=== START OF INFORMATION SECTION ===\n",
                "text output",
            ),
            ("---\njson_format_version:\n- 1\n- 0\n", "YAML"),
            ("json.smartctl.version[0] = 7;\n", "grep"),
            (
                r#"{"device": {"name": "/dev/sda"}, "smart_sta"#,
                "not whole JSON",
            ),
            (
                r#"{"device": {"name": "/dev/sda"}, "x": NaN}"#,
                "not whole JSON",
            ),
            ("null", "not JSON"),
            ("7", "not JSON"),
        ];
        for (text, words) in named {
            assert!(why(text).contains(words), "{text}: {}", why(text));
            assert!(why(text).contains("smartctl --json -x"), "{}", why(text));
        }
        let second_cut = format!("{REPORT}\n{}", &REPORT[..20]);
        assert_eq!(count(&second_cut), 1);
        assert!(why(&second_cut).contains("not whole JSON"));
    }

    /// Deep or endless nesting must neither overflow the stack nor take quadratic time.
    #[test]
    fn hostile_nesting() {
        assert_eq!(count(&"[".repeat(1 << 20)), 0);
        assert_eq!(count(&"{\"a\":\n".repeat(1 << 17)), 0);
        assert_eq!(count(&"\n[1,".repeat(1 << 17)), 0);
    }
}
