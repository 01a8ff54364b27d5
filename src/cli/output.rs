//! What all subcommands print with: one JSON document, or a table that fits a terminal.

use disinter::parse::printable;
use serde::Serialize;
use std::io::{self, Write};

/// Prints `value` as the one JSON document of `disinter <command>`, with its schema's name first.
pub(crate) fn json(command: &str, value: &impl Serialize) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: String,
        #[serde(flatten)]
        value: &'a T,
    }
    let document = Document {
        schema: format!("disinter/{command}/1"),
        value,
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)?;
    Ok(())
}

/// A line on texts that were found and are not listed; nothing where there are none.
pub(crate) fn older_texts(count: u64) -> String {
    match count {
        0 => String::new(),
        _ => format!(
            "and {count} older LVM texts, too many to keep: of each group the newest are listed\n"
        ),
    }
}

/// Rows under a header, columns as wide as their widest cell. Cells are made safe for a terminal.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns whose cells stand at the right, as numbers do.
    right: Vec<usize>,
    /// Blanks between columns.
    gap: usize,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(head: &[&str]) -> Table {
        Table {
            rows: vec![head.iter().map(ToString::to_string).collect()],
            right: Vec::new(),
            gap: 2,
        }
    }

    /// Sets the columns (from 0) that are aligned to the right.
    pub(crate) fn right(mut self, columns: &[usize]) -> Table {
        self.right = columns.to_vec();
        self
    }

    /// Sets the blanks between columns.
    pub(crate) fn gap(mut self, blanks: usize) -> Table {
        self.gap = blanks;
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|c| printable(c.as_bytes())).collect());
    }

    /// The lines, indented by `indent`, without blanks at their ends.
    pub(crate) fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            self.rows
                .iter()
                .filter_map(|r| r.get(c))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if c > 0 {
                    line.push_str(&" ".repeat(self.gap));
                }
                if self.right.contains(&c) {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:<width$}"));
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Columns of a page.
const WIDTH: usize = 80;

/// Adds a text that is broken at words to a page, the first line as far in as it is, later ones by `indent`; made safe
/// for a terminal.
pub(crate) fn wrap(page: &mut String, text: &str, indent: usize) {
    let text = printable(text.as_bytes());
    let words = text.trim_start_matches(' ');
    let mut line = " ".repeat(text.len() - words.len());
    let mut fresh = true;
    for word in words.split(' ') {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            page.push_str(line.trim_end());
            page.push('\n');
            line = " ".repeat(indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    page.push_str(line.trim_end());
    page.push('\n');
}

/// Writes a page to standard output.
pub(crate) fn page(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Misaligned numbers are misread; a cell with an escape must not reach the terminal.
    #[test]
    fn tables_align_and_are_safe() {
        let mut table = Table::new(&["disk", "bytes"]).right(&[1]);
        table.row(["sda".into(), "12".into()]);
        table.row(["s\x1bb".into(), "3456".into()]);
        assert_eq!(
            table.render(2),
            "  disk      bytes\n  sda          12\n  s\\u{1b}b   3456\n"
        );
    }

    /// A line that runs over is broken by the terminal in the middle of a number.
    #[test]
    fn lines_are_broken_at_words() {
        let mut page = String::new();
        wrap(&mut page, "  - one  two", 4);
        assert_eq!(page, "  - one  two\n");
        page.clear();
        wrap(
            &mut page,
            &format!("  {} {} end", "a".repeat(77), "b".repeat(99)),
            4,
        );
        let lines = [
            "  ".to_owned() + &"a".repeat(77),
            "    ".to_owned() + &"b".repeat(99),
            "    end".to_owned(),
        ];
        assert_eq!(page, lines.join("\n") + "\n");
        page.clear();
        wrap(&mut page, &"abc ".repeat(20), 2);
        assert_eq!(page.lines().count(), 1);
        wrap(&mut page, &"abc ".repeat(21), 2);
        assert_eq!(page.lines().nth(2), Some("  abc"));
    }
}
