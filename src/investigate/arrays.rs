//! Sets of volumes that are an array: their mirror groups, how the mirrors differ, and the order.

use super::clues::{self, Gathered};
use super::mirrors::{self, Mirror};
use super::missing::{self, Missing};
use super::offsets;
use super::shared;
use crate::image::SharedSource;
use crate::image::progress::Progress;
use crate::inputs::Slice;
use crate::lvm::carve::Carved;
use crate::md::array::{Array, ArrayMember};
use crate::md::geometry::{Content, Geometry, Place};
use crate::md::guess::{self, Guess, Member};
use crate::md::level::Level;
use crate::md::relations;
use crate::md::superblock::Superblock;
use crate::units::{Bytes, Extent, Sectors};

/// A set of members, and the array that they are.
#[derive(Clone)]
pub struct ArrayFound {
    /// What the layout calls it.
    pub name: String,
    /// Its members, as they were found.
    pub members: Vec<Member>,
    /// Mirror groups with how they differ.
    pub mirrors: Vec<Mirror>,
    /// The array.
    pub guess: Guess,
    /// The members to read first.
    pub half: Vec<String>,
    /// Whether some of what was to be read of the members could not be.
    pub has_gaps: bool,
}

/// Volumes that can be members: their newest sound superblock with them.
pub fn members(slices: &[Slice]) -> Vec<Member> {
    let member = |slice: &Slice| Member {
        superblock: Superblock::all(&*slice.source)
            .0
            .into_iter()
            .find(|sb| sb.checksum == crate::parse::Checksum::Ok),
        source: slice.source.clone(),
        disk: slice.input,
    };
    slices.iter().map(member).collect()
}

/// What is known of the images before arrays are looked for.
#[derive(Default)]
pub struct Known {
    /// LVM metadata texts, the best first.
    pub texts: Vec<Carved>,
    /// Superblocks of file systems that a whole pass found: UUID, member's name, place on it, place in the file system.
    pub superblocks: Vec<(String, String, Bytes, Bytes)>,
}

/// Every array that the volumes are members of, with its order.
pub fn find(slices: &[Slice], known: &Known, progress: &dyn Progress) -> Vec<ArrayFound> {
    let all = members(slices);
    let mut found: Vec<ArrayFound> = Vec::new();
    for set in guess::sets(&all) {
        let members: Vec<Member> = set.iter().filter_map(|i| all.get(*i)).cloned().collect();
        if members.len() < 2 && members.iter().all(|m| m.superblock.is_none()) {
            continue;
        }
        for (members, guess, has_gaps) in guesses(members, known, progress) {
            // Volumes of one length that nothing ties to each other are no array.
            if guess.level.is_none()
                && members.iter().all(|m| m.superblock.is_none())
                && !guess.is_array
            {
                continue;
            }
            found.push(ArrayFound {
                name: format!("array{}", found.len() + 1),
                members,
                mirrors: Vec::new(),
                guess,
                half: Vec::new(),
                has_gaps,
            });
        }
    }
    found
}

/// The guess for a set of members, or for each of the arrays that it turns out to be mixed of.
fn guesses(
    members: Vec<Member>,
    known: &Known,
    progress: &dyn Progress,
) -> Vec<(Vec<Member>, Guess, bool)> {
    let gathered = clues::gather(&members, known, progress);
    let parts = parts(&members, &gathered);
    if parts.len() < 2 {
        let guess = best_guess(&members, &gathered, known);
        let guess = with_missing(&members, guess, known, progress);
        let guess = with_offsets(&members, &gathered, guess, known, progress);
        return vec![(members, guess, gathered.sample.has_gaps())];
    }
    let parts = parts.into_iter().map(|part| {
        let part: Vec<Member> = part
            .iter()
            .filter_map(|i| members.get(*i))
            .cloned()
            .collect();
        let gathered = clues::gather(&part, known, progress);
        let guess = best_guess(&part, &gathered, known);
        let guess = with_missing(&part, guess, known, progress);
        let mut guess = with_offsets(&part, &gathered, guess, known, progress);
        guess.evidence.insert(
            0,
            format!(
                "{} of the {} members given: the others belong to another array",
                part.len(),
                members.len()
            ),
        );
        (part, guess, gathered.sample.has_gaps())
    });
    parts.collect()
}

/// Another guess for members that show no redundancy: with one parity and one member missing, the sum of the others is
/// that member. Where it explains more, this is the array.
fn with_missing(members: &[Member], guess: Guess, known: &Known, progress: &dyn Progress) -> Guess {
    /// So many more things must have their place for it not to be chance.
    const MORE: usize = 3;
    if guess.is_array || members.len() < 2 {
        return guess;
    }
    let mut all = members.to_vec();
    all.push(Member {
        source: shared(Missing::new(
            members.iter().map(|m| m.source.clone()).collect(),
        )),
        superblock: None,
        disk: usize::MAX,
    });
    let gathered = clues::gather(&all, known, progress);
    let mut other = best_guess(&all, &gathered, known);
    if other.landmarks.0 < guess.landmarks.0 + MORE {
        return guess;
    }
    let forget = |order: &mut Vec<Option<String>>| {
        for slot in order
            .iter_mut()
            .filter(|s| s.as_deref() == Some(missing::NAME))
        {
            *slot = None;
        }
    };
    forget(&mut other.members);
    for alternative in &mut other.alternatives {
        forget(&mut alternative.members);
        alternative.command = alternative
            .command
            .replace(missing::COMMAND_NAME, "missing");
    }
    other.command = other
        .command
        .map(|c| c.replace(missing::COMMAND_NAME, "missing"));
    // With the sum among them every row sums to zero: that is no evidence.
    other
        .evidence
        .retain(|e| !e.contains("sum to zero") && !e.starts_with("parity hold"));
    other.evidence.insert(
        0,
        format!(
            "one member is missing: the sum of the {} others holds file-system structures where the missing one must ({} things of known place with it, {} without)",
            members.len(),
            other.landmarks.0,
            guess.landmarks.0
        ),
    );
    other.bytes_read_per_member += guess.bytes_read_per_member;
    other
}

/// Another guess for members that a single start of the data does not explain: each with its own. Where that explains
/// more, this is the array.
fn with_offsets(
    members: &[Member],
    gathered: &Gathered,
    guess: Guess,
    known: &Known,
    progress: &dyn Progress,
) -> Guess {
    /// So much more of the things of known place must have theirs, in percent.
    const MORE: usize = 120;
    let whole = !guess.ambiguous && guess.members.iter().all(Option::is_some);
    if whole || members.len() < 2 {
        return guess;
    }
    let shifts = gathered
        .readings(known)
        .iter()
        .find_map(|clues| offsets::shifts(clues, &gathered.sample, members));
    let Some(shifts) = shifts else {
        return guess;
    };
    let cut = offsets::cut(members, &shifts);
    let gathered = clues::gather(&cut, known, progress);
    let mut other = best_guess(&cut, &gathered, known);
    if other.landmarks.0 * 100 < guess.landmarks.0 * MORE {
        return guess;
    }
    other.set_shifts(|name| {
        let index = members.iter().position(|m| m.source.name() == name)?;
        shifts.get(index).copied()
    });
    other.bytes_read_per_member += guess.bytes_read_per_member;
    other
}

/// The members that belong together, by what their bytes and their file systems say; one part where nothing parts them.
fn parts(members: &[Member], gathered: &Gathered) -> Vec<Vec<usize>> {
    let mut parts = relations::families(&gathered.sample, members.len());
    for seen in gathered.seen_on() {
        // Members that show the same file system belong together, whatever they were in before.
        let (mut joined, apart): (Vec<Vec<usize>>, Vec<Vec<usize>>) = parts
            .into_iter()
            .partition(|part| part.iter().any(|m| seen.contains(m)));
        joined.push(seen);
        let mut joined = joined.concat();
        joined.sort_unstable();
        joined.dedup();
        parts = apart;
        parts.push(joined);
    }
    parts.retain(|part| part.len() > 1);
    let rest: Vec<usize> = (0..members.len())
        .filter(|m| !parts.iter().any(|p| p.contains(m)))
        .collect();
    match (rest.is_empty(), parts.len()) {
        (false, 0) => vec![rest],
        // One array, and members that show nothing: they may hold its empty parts.
        (false, 1) if !gathered.is_redundant(parts.first().map_or(&[], Vec::as_slice)) => {
            vec![(0..members.len()).collect()]
        }
        (false, _) => {
            parts.push(rest);
            parts
        }
        (true, _) => parts,
    }
}

/// The guess with the text whose volumes fit best: that is the data's own.
fn best_guess(members: &[Member], gathered: &Gathered, known: &Known) -> Guess {
    let holds = |g: &Guess| (g.landmarks.0, g.confidence);
    let mut best: Option<Guess> = None;
    for clues in gathered.readings(known) {
        let guess = guess::guess(members, &gathered.sample, &clues);
        if best.as_ref().is_none_or(|best| holds(&guess) > holds(best)) {
            best = Some(guess);
        }
    }
    let mut guess =
        best.unwrap_or_else(|| guess::guess(members, &gathered.sample, &Default::default()));
    guess.bytes_read_per_member = gathered.read.0;
    guess
}

/// Compares the mirrors of every array that was found, byte by byte.
pub fn compare_mirrors(arrays: &mut [ArrayFound], progress: &dyn Progress) {
    for array in arrays {
        array.mirrors = mirrors::of_array(&array.members, progress);
    }
}

impl ArrayFound {
    /// Whether a volume is one of its members.
    pub fn has_member(&self, name: &str) -> bool {
        self.members.iter().any(|m| m.source.name() == name)
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.source.name() == name)
    }

    /// The geometry that was worked out.
    pub fn geometry(&self) -> Option<Geometry> {
        let level = self.guess.level?;
        let chunk = Sectors(self.guess.chunk_kib.unwrap_or(0).saturating_mul(2));
        // Only raid0 and linear use more of a longer member.
        let uneven = matches!(level, Level::Raid0 | Level::Linear);
        let size = |slot: &Option<String>| {
            let member = slot
                .as_deref()
                .and_then(|name| self.member(name))
                .filter(|_| uneven);
            member.map_or(self.guess.member_bytes, |m| {
                m.source.len() - self.data_offset_of(m.source.name())
            })
        };
        let sizes: Vec<Bytes> = self.guess.members.iter().map(size).collect();
        Geometry::of_sizes(level, self.guess.layout.as_deref(), chunk, &sizes).ok()
    }

    /// Where the data starts on a member.
    pub fn data_offset_of(&self, name: &str) -> Bytes {
        let own = self.guess.data_offsets_sectors.as_ref();
        let own = own
            .zip(self.slot(name))
            .and_then(|(own, slot)| own.get(slot).copied());
        Sectors(own.unwrap_or(self.guess.data_offset_sectors)).into()
    }

    /// The assembled array, every member in it, the half read first where one is chosen.
    pub fn open(&self) -> Option<SharedSource> {
        self.open_with(|_| true)
    }

    /// The assembled array with those members that `keep` names.
    pub fn open_with(&self, keep: impl Fn(&str) -> bool) -> Option<SharedSource> {
        let slots = self.guess.members.iter().map(|slot| {
            let member = self.member(slot.as_deref()?)?;
            let name = member.source.name();
            keep(name).then(|| ArrayMember {
                source: member.source.clone(),
                data_offset: self.data_offset_of(name),
                reserve: !self.half.is_empty() && !self.half.iter().any(|h| h == name),
            })
        });
        Some(shared(Array::new(
            self.name.clone(),
            self.geometry()?,
            slots.collect(),
        )))
    }

    /// The slot of a member in the order that was worked out.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.guess
            .members
            .iter()
            .position(|m| m.as_deref() == Some(name))
    }

    /// The mirror groups by name: one of a member alone where it has no mirror.
    pub fn groups(&self) -> Vec<Vec<String>> {
        let copies = match (self.guess.level, self.geometry()) {
            (Some(Level::Raid1), _) => self.guess.members.len(),
            (_, Some(geometry)) if geometry.is_columns() => geometry.copies(),
            _ => 1,
        };
        let chunks = self.guess.members.chunks(copies.max(1));
        chunks
            .map(|c| c.iter().flatten().cloned().collect())
            .collect()
    }

    /// What of the array's bytes lies at an extent of a member, and for how long: by the order worked out.
    pub fn array_extents(&self, member: &str, extent: Extent) -> Vec<Extent> {
        let (Some(geometry), Some(slot)) = (self.geometry(), self.slot(member)) else {
            return Vec::new();
        };
        let data = self.data_offset_of(member);
        let mut found = Vec::new();
        let mut at = extent.offset.max(data);
        while at < extent.end() {
            let offset = at - data;
            let run = match geometry.content(Place { slot, offset }) {
                Some(Content::Data { array, .. }) => {
                    let length = array.length.min(extent.end() - at);
                    found.push(Extent::new(array.offset, length));
                    length
                }
                // Parity is nobody's bytes.
                Some(Content::P { run, .. } | Content::Q { run, .. }) => run,
                None => break,
            };
            at = at + run;
        }
        found
    }
}
