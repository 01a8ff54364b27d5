//! Whether bytes go on where others stopped, by the grammar alone: nothing is built, and nothing is read twice.
//!
//! A text that was cut stops inside of so many open sections, in the middle
//! of an item perhaps. What comes next must end that item and go on by the
//! grammar until all the sections are closed. Most wrong continuations break
//! within a line, which is what makes it cheap to try thousands.

use super::text::{DEEPEST, Next, Parser};

/// How far bytes go by the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skim {
    /// The last open section was closed; the byte behind its brace.
    Closed(usize),
    /// The bytes ended first.
    Open {
        /// Sections that are open.
        depth: usize,
        /// Where what is unfinished starts: blanks, a comment, an item. From here on it must be seen again.
        from: usize,
    },
    /// No text goes on like that; the byte.
    Broken(usize),
}

impl Skim {
    /// The same, of bytes that start so much later.
    pub(super) fn later(self, by: usize) -> Skim {
        match self {
            Skim::Closed(at) => Skim::Closed(at + by),
            Skim::Broken(at) => Skim::Broken(at + by),
            Skim::Open { depth, from } => Skim::Open {
                depth,
                from: from + by,
            },
        }
    }
}

/// The next thing, by a parser that is inside of so many sections; where there is none, how that ends it, with `depth` of
/// them open.
fn pass(parser: &mut Parser<'_>, inside: usize, depth: usize) -> Result<Next, Skim> {
    let (from, length) = (parser.at, parser.text.len());
    match parser.next(inside) {
        // A number or a word may go on behind the end.
        Ok(Next::Field(..)) if parser.at >= length => Err(Skim::Open { depth, from }),
        Ok(next) => Ok(next),
        Err(stop) if stop.at >= length => Err(Skim::Open { depth, from }),
        Err(stop) => Err(Skim::Broken(stop.at)),
    }
}

/// The first items of `text`, which starts between two items inside of `depth` open sections, up to the first end of an
/// item at or behind `until`: `Ok` with the depth there and the place. At depth 0, before a text's section, fields may
/// stand, as in a file.
pub(super) fn seam(text: &[u8], mut depth: usize, until: usize) -> Result<(usize, usize), Skim> {
    let mut parser = Parser::new(text);
    loop {
        match pass(&mut parser, depth, depth)? {
            Next::Field(..) => {}
            Next::Begin(_) => depth += 1,
            Next::End if depth == 1 => return Err(Skim::Closed(parser.at)),
            Next::End => depth -= 1,
        }
        if parser.at >= until {
            return Ok((depth, parser.at));
        }
    }
}

/// How bytes go on from between two items, however many sections are open before them.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// The bytes behind the braces that close sections opened before, from the innermost.
    closed: Vec<usize>,
    /// Where it ends, with the sections counted that were opened in it and not closed; never closed.
    end: Skim,
}

impl Rest {
    /// Follows `text` to its end, or to where the grammar breaks.
    pub(super) fn of(text: &[u8]) -> Rest {
        // Deep enough for anything but the field that only a group has.
        const INSIDE: usize = 2;
        let mut parser = Parser::new(text);
        let (mut closed, mut depth) = (Vec::new(), 0);
        let end = loop {
            let from = parser.at;
            match pass(&mut parser, INSIDE, depth) {
                Ok(Next::Field(..)) => {}
                Ok(Next::Begin(_)) => depth += 1,
                Ok(Next::End) if depth > 0 => depth -= 1,
                Ok(Next::End) if closed.len() > DEEPEST => break Skim::Broken(from),
                Ok(Next::End) => closed.push(parser.at),
                Err(end) => break end,
            }
        };
        Rest { closed, end }
    }

    /// Behind `open` sections, one at least.
    pub(super) fn inside(&self, open: usize) -> Skim {
        let last = open.checked_sub(1).and_then(|i| self.closed.get(i));
        match (last, self.end) {
            (Some(at), _) => Skim::Closed(*at),
            (None, Skim::Open { depth, from }) => Skim::Open {
                depth: (open + depth).saturating_sub(self.closed.len()),
                from,
            },
            (None, end) => end,
        }
    }

    /// Bytes that were looked at.
    pub(super) fn looked_at(&self, text: &[u8]) -> usize {
        match self.end {
            Skim::Broken(at) => at,
            Skim::Open { .. } | Skim::Closed(_) => text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    const GOOD: &[u8] = b"contents = \"x\" # a comment\nvg { id = \"a b\" seqno = 123\n pv { pv0 { id = 'x' } }\n lv { l { a = [\"x\", \
        0] t = [] } } }\n";

    /// All of a text, the two ways in which it is looked at one behind the other.
    fn skim(text: &[u8], depth: usize, until: usize) -> Skim {
        match seam(text, depth, until) {
            Err(skim) => skim,
            Ok((depth, at)) => Rest::of(&text[at..]).inside(depth).later(at),
        }
    }

    fn place(word: &[u8]) -> usize {
        GOOD.windows(word.len()).position(|w| w == word).unwrap()
    }

    /// A front holds the beginning of its seqno: by that it is found.
    fn inside() -> usize {
        place(b"seqno = ") + 9
    }

    /// Cut anywhere, the two parts must be taken for what they are, wherever one look ends and the other begins: one place
    /// missed is a text that is never put together.
    #[test]
    fn every_cut_goes_on() {
        let end = GOOD.len() - 1;
        for cut in inside()..end {
            let (front, back) = GOOD.split_at(cut);
            for until in [inside(), cut.midpoint(inside()), cut] {
                let Skim::Open { depth, from } = skim(front, 0, until) else {
                    panic!("{cut}: the front is whole or broken");
                };
                let rest = [&front[from..], back].concat();
                assert_eq!(
                    skim(&rest, depth, cut - from),
                    Skim::Closed(end - from),
                    "{cut}"
                );
            }
        }
    }

    /// What the parser refuses is refused, at the same byte: else much is tried in vain, or a text is taken for broken.
    #[test]
    fn breaks_where_the_parser_stops() {
        let section = place(b"vg {");
        for at in inside()..GOOD.len() - 2 {
            for byte in *b"{}[=\"\0" {
                let mut bad = GOOD.to_vec();
                bad[at] = byte;
                let parsed = text::section(&bad[section..]);
                let expected = match parsed.stop {
                    None => Skim::Closed(section + parsed.end),
                    Some(stop) if section + stop.at >= bad.len() => continue,
                    Some(stop) => Skim::Broken(section + stop.at),
                };
                for until in [inside(), at, bad.len()] {
                    assert_eq!(skim(&bad, 0, until), expected, "{at} {}", char::from(byte));
                }
            }
        }
        // Of another group: its first fields inside of a section.
        assert!(matches!(
            skim(b"vg { a { b { seqno = 1", 0, 4),
            Skim::Broken(_)
        ));
        let deep = b"a {".repeat(2 * DEEPEST);
        assert!(matches!(skim(&deep, 0, deep.len()), Skim::Broken(_)));
    }
}
