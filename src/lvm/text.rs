//! The grammar of LVM metadata: sections of fields, as a tree that keeps everything and its order.
//!
//! `key = value`, `key { … }`, `# comment` to the end of the line; a value is
//! a string in double quotes with `\` escapes or in single quotes, a number, a
//! bare word, or `[ … ]` of values with commas between. A NUL ends the text.
//! Source: lvm2 `libdm/libdm-config.c`, read for the facts.
//!
//! Carving needs a parser that says how far it came: [`section`] returns the
//! part it understood and why it stopped.

use super::metadata::fitted;
use crate::parse::printable;

/// Sections nest six deep in real texts; a hostile one must not nest without end.
pub(super) const DEEPEST: usize = 32;

/// Sections that any text may have, and bytes of it for each beyond: real ones take more than a hundred. An empty one is
/// 3 bytes long and takes a hundred times as much memory.
const SECTIONS: usize = 4096;
const SECTION: usize = 64;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number, written as it is now.
    Int(i64),
    /// Any other number, as it stands there: with a point, octal, hex, too large for 64 bits.
    Number(String),
    /// A quoted string, escapes undone.
    Text(String),
    /// A bare word.
    Word(String),
    /// `[ … ]`.
    List(Vec<Value>),
}

impl Value {
    /// The number, if it is whole and fits; one that is written in octal or hex is read as C reads it.
    pub fn int(&self) -> Option<i64> {
        let text = match self {
            Value::Int(n) => return Some(*n),
            Value::Number(text) => text,
            _ => return None,
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
        let n = match (hex, digits.strip_prefix('0')) {
            (Some(hex), _) => i64::from_str_radix(hex, 16).ok()?,
            (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8).ok()?,
            _ => digits.parse().ok()?,
        };
        Some(if negative { -n } else { n })
    }

    /// The string or word.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(s) | Value::Word(s) => Some(s),
            _ => None,
        }
    }

    /// The values of a list; a single value is a list of one.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            one => std::slice::from_ref(one),
        }
    }
}

/// What stands in a section, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `key = value`.
    Field(String, Value),
    /// `name { … }`.
    Section(Section),
}

/// A section with everything in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub items: Vec<Item>,
}

impl Section {
    /// The value of a field.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.items.iter().find_map(|item| match item {
            Item::Field(k, value) if k == key => Some(value),
            _ => None,
        })
    }

    /// A whole number that is not negative.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.int().and_then(|n| u64::try_from(n).ok())
    }

    /// A string.
    pub fn string(&self, key: &str) -> Option<&str> {
        self.field(key)?.text()
    }

    /// The strings of a list.
    pub fn strings(&self, key: &str) -> Vec<String> {
        let values = self.field(key).map(Value::list).unwrap_or_default();
        fitted(values.iter().filter_map(Value::text).map(str::to_owned))
    }

    /// A section in this one.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections().find(|s| s.name == name)
    }

    /// The sections in this one.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.items.iter().filter_map(|item| match item {
            Item::Section(section) => Some(section),
            Item::Field(..) => None,
        })
    }
}

/// Where parsing ended before its end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Bytes from the start of what was given.
    pub at: usize,
    /// In words.
    pub why: String,
}

/// What was understood, and where it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Parse<T> {
    /// As far as it goes.
    pub value: T,
    /// The byte behind it.
    pub end: usize,
    /// The byte up to which the text was looked at.
    pub reached: usize,
    /// Why it is not whole, if it is not.
    pub stop: Option<Stop>,
}

/// Parses one section, `name { … }`, at the start of `text`.
pub fn section(text: &[u8]) -> Parse<Section> {
    let mut parser = Parser::new(text);
    let mut section = Section::default();
    let stop = parser.named_section(&mut section).err();
    Parse {
        value: section,
        end: parser.at,
        reached: parser.at,
        stop,
    }
}

/// Parses fields at the start of `text` until something else comes: the end, a section, what is no text; or until the
/// field `last` has been. `end` is the byte behind the last field's line.
pub fn fields(text: &[u8], last: Option<&str>) -> Parse<Section> {
    let mut parser = Parser::new(text);
    let mut fields = Section::default();
    let mut end = 0;
    loop {
        parser.blanks();
        let Ok(key) = parser.key() else { break };
        parser.blanks();
        if parser.take(b'=').is_err() {
            break;
        }
        let Ok(value) = parser.value(0) else { break };
        let done = last == Some(key.as_str());
        fields.items.push(Item::Field(key, value));
        end = parser.line_end();
        if done {
            break;
        }
    }
    Parse {
        value: fields,
        end,
        reached: parser.at.max(end),
        stop: None,
    }
}

/// Writes a section as lvm2 writes its ring: no indentation, no comments.
pub fn write(section: &Section) -> String {
    let mut out = String::new();
    write_section(section, &mut out);
    out
}

fn write_section(section: &Section, out: &mut String) {
    out.push_str(&key_text(&section.name));
    out.push_str(" {\n");
    for item in &section.items {
        match item {
            Item::Field(key, value) => {
                out.push_str(&format!("{} = {}\n", key_text(key), value_text(value)));
            }
            Item::Section(inner) => {
                out.push('\n');
                write_section(inner, out);
            }
        }
    }
    out.push_str("}\n");
}

fn key_text(key: &str) -> String {
    match !key.is_empty() && key.bytes().all(is_word) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::Number(text) | Value::Word(text) => text.clone(),
        Value::Text(text) => quoted(text),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(value_text).collect();
            format!("[{}]", values.join(", "))
        }
    }
}

/// Characters of keys, names and bare words.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+-/:!".contains(&byte)
}

/// What can stand next in a section.
pub(super) enum Next {
    /// `key = value`.
    Field(String, Value),
    /// `name {`.
    Begin(String),
    /// The section's closing brace.
    End,
}

/// Where in a text the next thing is read.
pub(super) struct Parser<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    /// Sections begun.
    sections: usize,
}

impl<'a> Parser<'a> {
    /// At the beginning.
    pub(super) fn new(text: &'a [u8]) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            sections: 0,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied().filter(|b| *b != 0)
    }

    fn stop<T>(&self, expected: &str) -> Result<T, Stop> {
        let found = match (self.peek(), self.text.get(self.at)) {
            (Some(byte), _) => format!("\"{}\"", printable(&[byte])),
            (None, Some(_)) => "the text's end (NUL)".to_owned(),
            (None, None) => "the end of what could be read".to_owned(),
        };
        Err(Stop {
            at: self.at,
            why: format!("expected {expected}, found {found}"),
        })
    }

    /// Passes white space and comments.
    fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    while self.peek().is_some_and(|b| b != b'\n') {
                        self.at += 1;
                    }
                }
                b if b.is_ascii_whitespace() => self.at += 1,
                _ => break,
            }
        }
    }

    /// The byte behind this line, if only blanks and a comment are left on it.
    fn line_end(&self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let line = rest.iter().position(|b| *b == b'\n' || *b == 0);
        let length = line.unwrap_or(rest.len());
        let newline = usize::from(rest.get(length) == Some(&b'\n'));
        let tail = rest.get(..length).unwrap_or_default().trim_ascii_start();
        match tail.first() {
            None | Some(b'#') => self.at + length + newline,
            Some(_) => self.at,
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Stop> {
        if self.peek() != Some(byte) {
            return self.stop(&format!("\"{}\"", char::from(byte)));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        printable(self.text.get(start..self.at).unwrap_or_default())
    }

    fn key(&mut self) -> Result<String, Stop> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(byte) if is_word(byte) => Ok(self.word()),
            _ => self.stop("a name"),
        }
    }

    /// A quoted string. Bytes that are not UTF-8 are kept as escapes; real texts hold none.
    fn string(&mut self) -> Result<String, Stop> {
        let quote = self.peek();
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => return self.stop("the end of a string"),
                Some(byte) if Some(byte) == quote => {
                    self.at += 1;
                    return Ok(match String::from_utf8(bytes) {
                        Ok(text) => text,
                        Err(error) => printable(error.as_bytes()),
                    });
                }
                Some(b'\\') if quote == Some(b'"') => {
                    self.at += 1;
                    match self.peek() {
                        Some(byte) => bytes.push(byte),
                        None => return self.stop("the end of a string"),
                    }
                    self.at += 1;
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        self.blanks();
        match self.peek() {
            Some(b'[') if depth < DEEPEST => self.list(depth),
            Some(b'"' | b'\'') => self.string().map(Value::Text),
            Some(byte) if is_word(byte) => {
                let word = self.word();
                Ok(match word.parse::<i64>() {
                    Ok(n) if n.to_string() == word => Value::Int(n),
                    _ if byte.is_ascii_digit() || b"-+".contains(&byte) => Value::Number(word),
                    _ => Value::Word(word),
                })
            }
            _ => self.stop("a value"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        self.take(b'[')?;
        let mut values = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(values));
                }
                Some(b',') => self.at += 1,
                _ => values.push(self.value(depth + 1)?),
            }
        }
    }

    fn named_section(&mut self, section: &mut Section) -> Result<(), Stop> {
        section.name = self.key()?;
        self.blanks();
        self.take(b'{')?;
        self.body(section, 1)
    }

    /// The rest of a section that is inside of so many, itself among them; what was read before a stop is kept.
    fn body(&mut self, section: &mut Section, depth: usize) -> Result<(), Stop> {
        loop {
            match self.next(depth)? {
                Next::End => return Ok(()),
                Next::Field(key, value) => section.items.push(Item::Field(key, value)),
                Next::Begin(name) => {
                    let items = Vec::new();
                    let mut inner = Section { name, items };
                    let result = self.body(&mut inner, depth + 1);
                    section.items.push(Item::Section(inner));
                    result?;
                }
            }
        }
    }

    /// The next thing inside of `depth` open sections, with the blanks before it.
    pub(super) fn next(&mut self, depth: usize) -> Result<Next, Stop> {
        self.blanks();
        if depth > 0 && self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Next::End);
        }
        let before = self.at;
        let key = self.key()?;
        self.blanks();
        match self.peek() {
            Some(b'=') if depth > 1 && key == "seqno" => {
                // Only a group has one: a younger text was written over the rest of this one.
                self.at = before;
                self.stop("the rest of the text before another one")
            }
            Some(b'=') => {
                self.at += 1;
                let value = self.value(depth.saturating_sub(1))?;
                Ok(Next::Field(key, value))
            }
            Some(b'{') if self.sections > SECTIONS + self.at / SECTION => {
                self.stop("sections that say more")
            }
            Some(b'{') if depth <= DEEPEST => {
                self.at += 1;
                self.sections += 1;
                Ok(Next::Begin(key))
            }
            _ => self.stop("\"{\" or \"=\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r#"vg0 {
	id = "abc"	# comment } {
	seqno = 4
	"odd key" = 'single \'
	tags = [ "a", "b\"c\\", ]
	empty = []
	f = 1.5
	big = 99999999999999999999
	neg = -1
	oct = 0755
	hex = 0x1F
	word = on
	pvs {

		pv0 { x = 1 }
	}
}
rest"#;

    /// A key lost or a quote misread here is a volume lost later: every kind of value, in order.
    #[test]
    fn the_whole_grammar() {
        let parse = section(TEXT.as_bytes());
        assert_eq!(parse.stop, None);
        assert_eq!(&TEXT[parse.end..], "\nrest");
        let vg = &parse.value;
        assert_eq!(vg.name, "vg0");
        assert_eq!(vg.string("odd key"), Some("single \\"));
        assert_eq!(vg.strings("tags"), ["a", "b\"c\\"]);
        assert_eq!(vg.field("empty"), Some(&Value::List(vec![])));
        assert_eq!(vg.field("f"), Some(&Value::Number("1.5".into())));
        assert_eq!(
            vg.field("big"),
            Some(&Value::Number("99999999999999999999".into()))
        );
        assert_eq!(vg.field("neg"), Some(&Value::Int(-1)));
        assert_eq!(vg.number("neg"), None);
        assert_eq!(
            (vg.number("oct"), vg.number("hex")),
            (Some(0o755), Some(31))
        );
        assert_eq!(vg.field("hex"), Some(&Value::Number("0x1F".into())));
        assert_eq!(vg.field("word"), Some(&Value::Word("on".into())));
        let pv = vg.section("pvs").unwrap().section("pv0").unwrap();
        assert_eq!(pv.number("x"), Some(1));
    }

    /// A text cut short is still worth what stands before the cut, and the cut's place says where the rest may lie.
    #[test]
    fn a_cut_text_keeps_what_was_read() {
        let cut = &TEXT.as_bytes()[..TEXT.find("pv0").unwrap() + 8];
        let parse = section(cut);
        assert_eq!(parse.stop.as_ref().unwrap().at, cut.len());
        assert_eq!(parse.value.number("seqno"), Some(4));
        assert!(parse.value.section("pvs").unwrap().section("pv0").is_some());
    }

    /// Nesting without end would overflow the stack: a crash on hostile input.
    #[test]
    fn deep_nesting_is_refused() {
        let deep = "a {".repeat(100_000);
        assert!(section(deep.as_bytes()).stop.is_some());
        let lists = format!("a {{ b = {}", "[".repeat(100_000));
        assert!(section(lists.as_bytes()).stop.is_some());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            prop_oneof!["0x[0-9a-f]{1,20}", "0[0-7]{1,9}", "[0-9]{1,3}\\.[0-9]{1,3}"]
                .prop_map(Value::Number),
            any::<String>()
                .prop_filter("a NUL ends a text", |s| !s.contains('\0'))
                .prop_map(Value::Text),
            "[a-z_][a-z0-9_.+-]{0,8}".prop_map(Value::Word),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            proptest::collection::vec(inner, 0..4).prop_map(Value::List)
        })
    }

    fn field() -> impl Strategy<Value = Item> {
        ("[^\\x00]{1,9}", value()).prop_map(|(key, value)| Item::Field(key, value))
    }

    fn tree() -> impl Strategy<Value = Section> {
        let items = proptest::collection::vec(field(), 0..4);
        let items = items.prop_recursive(4, 24, 3, |inner| {
            let section = ("[^\\x00]{1,9}", inner)
                .prop_map(|(name, items)| Item::Section(Section { name, items }));
            proptest::collection::vec(prop_oneof![field(), section], 0..4)
        });
        ("[^\\x00]{1,9}", items).prop_map(|(name, items)| Section { name, items })
    }

    proptest! {
        /// Any tree at all, with keys that must be quoted, unknown ones, and strings of every character: what is
        /// written is read again, all of it and in its order. A field lost here is lost from a restored group.
        #[test]
        fn any_tree_goes_round(section in tree()) {
            // Only a group has a seqno; a nested one is another text.
            let written = write(&section);
            prop_assume!(!written.contains("seqno"));
            let parse = super::section(written.as_bytes());
            prop_assert_eq!(parse.stop, None);
            prop_assert_eq!(parse.value, section);
        }

        /// Whatever lies on a disk, the parser comes back, and what it took in whole it can write and read again.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..TEXT.len(), put in any::<u8>()) {
            section(&bytes);
            fields(&bytes, None);
            let mut mutated = TEXT.as_bytes().to_vec();
            mutated[cut] = put;
            let parse = section(&mutated);
            if parse.stop.is_none() {
                let again = section(write(&parse.value).as_bytes());
                prop_assert_eq!(again.stop, None);
                prop_assert_eq!(again.value, parse.value);
            }
        }
    }
}
