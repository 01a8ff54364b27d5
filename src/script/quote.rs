//! The only way a value enters a script.
//!
//! Names, labels and UUIDs come from damaged disks and may hold anything. A
//! [`Script`] takes program text only as `&'static str`, so a value cannot be
//! pasted in by accident; it goes through [`Script::value`], which quotes it
//! for the shell, or into a comment, where it cannot end the line.

use crate::parse::printable;
use thiserror::Error;

/// A value that no shell word can hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the value {shown:?} holds a NUL or control character and cannot stand in a script")]
pub struct Unquotable {
    shown: String,
}

/// A shell script under construction.
#[derive(Clone, Debug, Default)]
pub struct Script {
    text: String,
    error: Option<Unquotable>,
}

impl Script {
    /// An empty script.
    pub fn new() -> Script {
        Script::default()
    }

    /// Program text, as it stands in this program.
    pub fn text(mut self, text: &'static str) -> Script {
        self.text.push_str(text);
        self
    }

    /// A value as one shell word.
    pub fn value(mut self, value: impl AsRef<str>) -> Script {
        let value = value.as_ref();
        match shlex::try_quote(value) {
            Ok(quoted) if !value.chars().any(char::is_control) => self.text.push_str(&quoted),
            _ => {
                self.error.get_or_insert(Unquotable {
                    shown: printable(value.as_bytes()),
                });
            }
        }
        self
    }

    /// A number.
    pub fn number(mut self, number: u64) -> Script {
        self.text.push_str(&number.to_string());
        self
    }

    /// A line of comment that may hold values: they cannot leave the line.
    pub fn comment(mut self, text: &str) -> Script {
        self.text.push_str("# ");
        self.text.push_str(&printable(text.as_bytes()));
        self.text.push('\n');
        self
    }

    /// Adds what `each` makes of every item.
    pub fn each<T>(
        self,
        items: impl IntoIterator<Item = T>,
        each: impl FnMut(Script, T) -> Script,
    ) -> Script {
        items.into_iter().fold(self, each)
    }

    /// The script's text.
    ///
    /// # Errors
    /// [`Unquotable`] where any value could not be quoted.
    pub fn finish(self) -> Result<String, Unquotable> {
        match self.error {
            None => Ok(self.text),
            Some(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A volume called `$(rm -rf /)` must reach the tool as that name and run nothing: asked of a real shell.
    #[test]
    fn any_value_is_one_word_to_a_real_shell() {
        for value in [
            "",
            "home",
            "a b",
            "$(touch /tmp/x)",
            "`id`",
            "it's",
            "\"; reboot; \"",
            "-rf",
            "*",
            "a\\b",
            "~root",
            "ümläut",
            "{a,b}",
        ] {
            let script = Script::new()
                .text("printf %s ")
                .value(value)
                .finish()
                .unwrap();
            let out = Command::new("sh").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), value, "{script}");
        }
    }

    /// A name with a newline would start a command line of its own in a comment or a word.
    #[test]
    fn control_characters_are_refused_or_escaped() {
        assert!(Script::new().value("a\nreboot").finish().is_err());
        assert!(Script::new().value("a\0b").finish().is_err());
        let comment = Script::new().comment("LV a\nreboot").finish().unwrap();
        assert_eq!(comment, "# LV a\\nreboot\n");
    }
}
