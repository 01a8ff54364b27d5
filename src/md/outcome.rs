//! What a guess says in the end.

use super::guess::SURE;
use super::level::Level;
use super::reshape::{Halves, Part};
use super::superblock::Version;
use crate::units::Bytes;
use serde::Serialize;

/// Another array that the evidence allows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// Level in mdadm's words.
    pub level: Level,
    /// Layout in mdadm's words.
    pub layout: Option<String>,
    /// Chunk in KiB.
    pub chunk_kib: Option<u64>,
    /// Sectors before the data on each member.
    pub data_offset_sectors: u64,
    /// Members in array order.
    pub members: Vec<Option<String>>,
    /// Votes that it has.
    pub landmarks: i64,
    /// Its share of the confidence.
    pub confidence: f64,
    /// How to try it, on overlays.
    pub command: String,
}

/// A reshape that was under way, by the superblocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reshape {
    /// Members in slot order, those of both geometries.
    pub members: Vec<Option<String>>,
    /// Bytes that the array uses of each.
    pub member_bytes: Bytes,
    /// The geometries.
    #[serde(flatten)]
    pub halves: Halves,
}

/// One array, as far as it could be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Level in mdadm's words; `None` where it could not be told.
    pub level: Option<Level>,
    /// Layout in mdadm's words.
    pub layout: Option<String>,
    /// Chunk in KiB, where the level has one.
    pub chunk_kib: Option<u64>,
    /// Sectors before the data on each member.
    pub data_offset_sectors: u64,
    /// The same for each slot, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_offsets_sectors: Option<Vec<u64>>,
    /// Bytes that the array uses of each member; of the smallest, where they differ.
    pub member_bytes: Bytes,
    /// The same for each slot, where they differ: of a linear array, and of raid0 over members of unequal length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_bytes: Option<Vec<Bytes>>,
    /// Metadata version, where a superblock shows it.
    pub metadata: Option<Version>,
    /// Members in array order, `None` for a missing one.
    pub members: Vec<Option<String>>,
    /// Members that missed writes which the others have, or that a rebuild had not filled yet; they are left out of `members`.
    pub stale: Vec<String>,
    /// Things known of the content that hold, and those known.
    pub landmarks: (usize, usize),
    /// Of those that hold the ones on each member, by its number in the set.
    #[serde(skip)]
    pub landmarks_on: Vec<usize>,
    /// How far on the members the array goes at least; zero where nothing in it says so.
    #[serde(skip)]
    pub end: Bytes,
    /// How sure, from 0 to 1: see [`super::guess`].
    pub confidence: f64,
    /// Whether another answer is nearly as good.
    pub ambiguous: bool,
    /// What is open though no other answer is near, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// What speaks for it, and against, in words.
    pub evidence: Vec<String>,
    /// The next best answers.
    pub alternatives: Vec<Alternative>,
    /// How to try it, on overlays.
    pub command: Option<String>,
    /// The two geometries of a reshape that was under way, by the superblocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshape: Option<Reshape>,
    /// The part of the array in which the answer holds, where it is in one only.
    #[serde(skip)]
    pub part: Option<Part>,
    /// Whether the members' own bytes tie them to each other, whatever else could be told.
    pub is_array: bool,
    /// What could not be told, in words: `order`, `chunk`, `layout`, `data offset`; empty where the answer is sure.
    pub undetermined: Vec<&'static str>,
    /// Bytes read of each member to tell.
    pub bytes_read_per_member: u64,
}

impl Guess {
    /// `raid5 left-symmetric, chunk 64 KiB, over 4`.
    pub fn describe(&self) -> String {
        let level = self.level.map_or("unknown".to_owned(), |l| l.to_string());
        let layout = self.layout.as_ref().map(|l| format!(" {l}"));
        let chunk = self.chunk_kib.map(|kib| format!(", chunk {kib} KiB"));
        format!(
            "{level}{}{}, over {}",
            layout.unwrap_or_default(),
            chunk.unwrap_or_default(),
            self.members.len()
        )
    }

    /// Leaves the answer open, for a reason in words, where none was given before.
    pub fn call_open(&mut self, doubt: String) {
        self.ambiguous = true;
        self.doubt.get_or_insert(doubt);
    }

    /// One more thing that is open.
    pub fn leave_open(&mut self, what: &'static str) {
        if !self.undetermined.contains(&what) {
            self.undetermined.push(what);
        }
    }

    /// The answer as one that is told beside another.
    pub fn as_alternative(&self) -> Option<Alternative> {
        Some(Alternative {
            level: self.level?,
            layout: self.layout.clone(),
            chunk_kib: self.chunk_kib,
            data_offset_sectors: self.data_offset_sectors,
            members: self.members.clone(),
            command: self.command.clone()?,
            landmarks: i64::try_from(self.landmarks.0).unwrap_or(i64::MAX),
            confidence: self.confidence,
        })
    }

    /// What is open of an ambiguous answer, in words: how far others are behind says it only where one is near.
    pub fn open(&self) -> String {
        let share = format!("{:.1} % for it", self.confidence * 100.0);
        match &self.doubt {
            Some(doubt) if self.confidence >= SURE => doubt.clone(),
            Some(doubt) => format!("{share}, and {doubt}"),
            None if self.confidence >= SURE => "arrays.json says what is open".to_owned(),
            None => share,
        }
    }

    /// Whether each of the array's bytes has a place on a member that is here, parity left alone.
    pub fn lacks_none(&self) -> bool {
        let copies = match (self.level, self.layout.as_deref()) {
            (Some(Level::Raid10), Some(layout)) => layout.strip_prefix('n').map(str::parse),
            _ => None,
        };
        let copies = copies.and_then(Result::ok).filter(|n| *n > 0).unwrap_or(1);
        // Where copies do not stand beside each other, a missing member is one that may be needed.
        let copies = match self.members.len().is_multiple_of(copies) {
            true => copies,
            false => 1,
        };
        let mut groups = self.members.chunks(copies);
        groups.all(|group| group.iter().any(Option::is_some))
    }

    /// Says of an answer for what lies behind so many bytes of the members where it lies on the whole ones.
    pub fn move_behind(&mut self, start: Bytes) {
        let before = start.whole_sectors().0;
        let moved = |command: &str, offset: u64| {
            let word = |word: &str| match word {
                // Behind something there is room for a superblock, and none at the members' ends.
                "--metadata=1.0" | "--metadata=0.90" => "--metadata=1.2".to_owned(),
                word if word.starts_with("--raid-devices=") => {
                    format!("--data-offset={}s {word}", offset + before)
                }
                word => word.to_owned(),
            };
            let words = command
                .split(' ')
                .filter(|w| !w.starts_with("--data-offset="));
            words.map(word).collect::<Vec<_>>().join(" ")
        };
        let offset = self.data_offset_sectors;
        self.command = self.command.as_deref().map(|c| moved(c, offset));
        self.data_offset_sectors += before;
        for alternative in &mut self.alternatives {
            alternative.command = moved(&alternative.command, alternative.data_offset_sectors);
            alternative.data_offset_sectors += before;
        }
        self.end = self.end + start;
    }

    /// Says of an answer for members that were cut to a common start how far behind the earliest each one's lies.
    pub fn set_shifts(&mut self, shift: impl Fn(&str) -> Option<Bytes>) {
        let common = self.data_offset_sectors;
        let own = |slot: &Option<String>| {
            let shift = slot.as_deref().and_then(&shift).unwrap_or_default();
            common + shift.whole_sectors().0
        };
        let offsets: Vec<u64> = self.members.iter().map(own).collect();
        let words: Vec<String> = (self.members.iter().zip(&offsets))
            .filter_map(|(name, offset)| Some(format!("{} from {offset}", name.as_deref()?)))
            .collect();
        let words = words.join(", ");
        self.evidence.insert(
            0,
            format!("the members' data start at different sectors: {words}"),
        );
        let vary = |command: &str, offset_of: &dyn Fn(&str) -> u64| {
            let names: Vec<&str> = self.members.iter().flatten().map(String::as_str).collect();
            let word = |word: &str| {
                let name = names.iter().find(|name| device(name) == word);
                match name {
                    Some(name) => format!("{word}:{}s", offset_of(name)),
                    None if word == format!("--data-offset={common}s") => {
                        "--data-offset=variable".to_owned()
                    }
                    None => word.to_owned(),
                }
            };
            command.split(' ').map(word).collect::<Vec<_>>().join(" ")
        };
        let offset_of = |name: &str| common + shift(name).unwrap_or_default().whole_sectors().0;
        self.command = self.command.as_deref().map(|c| vary(c, &offset_of));
        let commands = self
            .alternatives
            .iter()
            .map(|a| vary(&a.command, &offset_of));
        let commands: Vec<String> = commands.collect();
        for (alternative, command) in self.alternatives.iter_mut().zip(commands) {
            alternative.command = command;
        }
        self.data_offsets_sectors = Some(offsets);
    }
}

/// A member's overlay, as the review scripts call it.
pub(super) fn device(member: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!(
        "/dev/mapper/over-{}",
        member.chars().map(plain).collect::<String>()
    )
}
