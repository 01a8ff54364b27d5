//! The search for arrays among volumes: which of them are members together, and of what.
//!
//! A set of volumes that may be one array is sampled and guessed at. What the
//! first guess leaves open decides what else is tried: the set in parts, a
//! member that is missing, members whose data start at different sectors,
//! another array before or behind. All of it shares one bound on what is read
//! of a member ([`BUDGET`]).

use super::arrays::{ArrayFound, Known, members};
use super::clues::{self, Gathered};
use super::effort::{Effort, LEAST};
use super::missing::{self, Missing, Recent};
use super::{chained, offsets, own, roles, shared, twice};
use crate::image::SharedSource;
use crate::image::progress::Progress;
use crate::inputs::Slice;
use crate::md::guess::{self, Guess, Member};
use crate::md::otherside::other_side;
use crate::md::relations;
use crate::units::{Bytes, Extent, Sectors};
use serde::Serialize;
use std::collections::BTreeMap;

pub use super::effort::BUDGET;

/// Volumes that are not taken for members, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Apart {
    /// The volumes.
    pub members: Vec<String>,
    /// In words.
    pub why: String,
}

/// What came of a search.
#[derive(Clone, Default)]
pub struct Found {
    /// The arrays.
    pub arrays: Vec<ArrayFound>,
    /// What is in none.
    pub apart: Vec<Apart>,
}

/// Every array that the volumes are members of, with its order.
pub fn find(slices: &[Slice], known: &Known, progress: &dyn Progress) -> Found {
    let all = members(slices);
    let mut found = Found::default();
    for set in guess::sets(&all) {
        let members: Vec<Member> = set.iter().filter_map(|i| all.get(*i)).cloned().collect();
        if members.len() < 2 && members.iter().all(|m| m.superblock.is_none()) {
            found.set_apart(
                &members,
                "alone: to tell an array takes two members at least, or a superblock".to_owned(),
            );
            continue;
        }
        let mut search = Search {
            known,
            progress,
            found: &mut found,
        };
        search.set(members);
    }
    found
}

impl Found {
    fn set_apart(&mut self, members: &[Member], why: String) {
        let members = members.iter().map(|m| m.source.name().to_owned()).collect();
        self.apart.push(Apart { members, why });
    }

    /// Sets some of the members apart, by number, each for a reason of its own.
    fn set_each_apart(
        &mut self,
        members: &[Member],
        those: impl IntoIterator<Item = (usize, String)>,
    ) {
        for (index, why) in those {
            if let Some(member) = members.get(index) {
                self.set_apart(std::slice::from_ref(member), why);
            }
        }
    }

    /// Keeps an answer, unless it is none.
    fn keep(&mut self, members: Vec<Member>, guess: Guess, has_gaps: bool) {
        // Volumes of one length that nothing ties to each other are no array.
        let none = guess.level.is_none() && !guess.is_array;
        if none && members.iter().all(|m| m.superblock.is_none()) {
            self.set_apart(&members, guess.evidence.join("; "));
            return;
        }
        let mut array = ArrayFound {
            name: format!("array{}", self.arrays.len() + 1),
            members,
            mirrors: Vec::new(),
            guess,
            half: Vec::new(),
            has_gaps,
        };
        let mut unwritten: BTreeMap<String, Bytes> = BTreeMap::new();
        for bad in array.bad_blocks() {
            let sum = unwritten.entry(bad.member).or_default();
            *sum = *sum + bad.length;
        }
        let says = |(member, sum): (&String, &Bytes)| {
            format!(
                "{member}: by md's bad-block log {sum} hold none of the array's data; they are read from other members"
            )
        };
        array.guess.evidence.extend(unwritten.iter().map(says));
        self.arrays.push(array);
    }
}

/// One search, with what it goes by.
struct Search<'a> {
    known: &'a Known,
    progress: &'a dyn Progress,
    found: &'a mut Found,
}

impl Search<'_> {
    /// The answers for volumes that may be one array.
    fn set(&mut self, members: Vec<Member>) {
        let effort = Effort::new(&members);
        let gathered = self.gather(&effort, effort.pass(1));
        let own = own::volumes(effort.members(), &gathered, self.known);
        let mut twice = twice::certain(effort.members(), &gathered.sample);
        twice.extend(roles::without_data(effort.members()));
        self.found
            .set_each_apart(&members, own.iter().chain(&twice).cloned());
        let out = |index: &usize| own.iter().chain(&twice).any(|(other, _)| other == index);
        let left: Vec<usize> = (0..members.len()).filter(|i| !out(i)).collect();
        if left.len() < members.len() {
            // Without them the members are another set, and rows and parts are other ones.
            if left.len() > 1 {
                let effort = effort.part(&left);
                let gathered = self.gather(&effort, effort.pass(2));
                self.parts(&members, &effort, gathered);
            } else {
                let why = "no other volume is left for it";
                let alone = left.into_iter().map(|index| (index, why.to_owned()));
                self.found.set_each_apart(&members, alone);
            }
            return;
        }
        self.parts(&members, &effort, gathered);
    }

    fn gather(&self, effort: &Effort, pass: Bytes) -> Gathered {
        clues::gather(effort.members(), self.known, pass, self.progress)
    }

    /// The answer for a set, or for each of the arrays that it turns out to be mixed of.
    fn parts(&mut self, given: &[Member], effort: &Effort, gathered: Gathered) {
        let parts = parts(effort.members(), &gathered);
        if parts.len() < 2 {
            self.one(given, effort, gathered, None);
            return;
        }
        let spare = |part: &Vec<usize>| part.iter().all(|m| roles::is_spare(effort.members(), *m));
        let (spares, parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(spare);
        let why = "a spare of the array: its slots have their members without it";
        let spares = spares.concat().into_iter().map(|m| (m, why.to_owned()));
        self.found.set_each_apart(effort.members(), spares);
        let all: usize = parts.iter().map(Vec::len).sum();
        for part in &parts {
            let effort = effort.part(part);
            let gathered = self.gather(&effort, effort.pass(2));
            let some = effort.members().len();
            let note = (parts.len() > 1).then(|| {
                format!("{some} of the {all} members given: the others belong to another array")
            });
            self.one(given, &effort, gathered, note);
        }
    }

    /// The answer for members that are one array, but for one that may be given twice.
    fn one(&mut self, given: &[Member], effort: &Effort, gathered: Gathered, note: Option<String>) {
        let twice = twice::perhaps(effort.members(), &gathered.sample);
        if !twice.is_empty() && self.mirror_apart(given, effort, &gathered) {
            return;
        }
        let out = |index: &usize| twice.iter().any(|(other, _)| other == index);
        let left: Vec<usize> = (0..effort.members().len()).filter(|i| !out(i)).collect();
        self.found
            .set_each_apart(effort.members(), twice.iter().cloned());
        let (effort, gathered) = match twice.is_empty() {
            true => (effort.part(&left), gathered),
            false => {
                let effort = effort.part(&left);
                let gathered = self.gather(&effort, effort.pass(2));
                (effort, gathered)
            }
        };
        let guess = self.best_guess(effort.members(), &gathered);
        if let Some(own) = own::in_one_piece(effort.members(), &gathered, &guess) {
            self.found.set_each_apart(effort.members(), own);
            return;
        }
        let mut guess = self.whole(&effort, &gathered, guess);
        guess.ambiguous |= !twice.is_empty();
        guess.evidence.splice(0..0, note);
        self.keep(given, &effort, guess, gathered.sample.has_gaps());
    }

    /// Whether the largest group of mirrors, larger than all others, is an array of its own: then the others are another.
    fn mirror_apart(&mut self, given: &[Member], effort: &Effort, gathered: &Gathered) -> bool {
        /// Things that must lie in their place: of an array that goes over other members too, most would not.
        const FEWEST: usize = 40;
        let count = effort.members().len();
        let groups = relations::mirror_groups(&gathered.sample, count);
        let Some(group) = groups.into_iter().max_by_key(Vec::len) else {
            return false;
        };
        let rest: Vec<usize> = (0..count).filter(|m| !group.contains(m)).collect();
        let mirror = effort.part(&group);
        let gathered = self.gather(&mirror, mirror.pass(2));
        let mut guess = self.best_guess(mirror.members(), &gathered);
        if guess.ambiguous || guess.landmarks.0 < FEWEST {
            return false;
        }
        let note = |some: usize| {
            format!("{some} of the {count} members given: the others belong to another array")
        };
        guess.evidence.insert(0, note(group.len()));
        self.keep(given, &mirror, guess, gathered.sample.has_gaps());
        let others = effort.part(&rest);
        let gathered = self.gather(&others, others.pass(2));
        self.one(given, &others, gathered, Some(note(rest.len())));
        true
    }

    /// Keeps an answer under the members as they were given.
    fn keep(&mut self, given: &[Member], effort: &Effort, mut guess: Guess, has_gaps: bool) {
        guess.bytes_read_per_member = effort.read().0;
        if effort.is_exhausted() {
            guess.evidence.push(format!(
                "reading stopped at {BUDGET} of a member: what was left to look up was not"
            ));
        }
        let members: Vec<Member> = given.iter().filter(|m| effort.has(m)).cloned().collect();
        let front = front(&members, &guess).map(|front| Extent::new(Bytes::ZERO, front));
        let back = back(&members, &guess);
        let behind = back.and_then(|back| self.beside(effort, back));
        let guess = match back.filter(|_| behind.is_some()) {
            Some(back) => self.up_to(effort, back.offset, guess),
            None => guess,
        };
        let before = front.and_then(|front| self.beside(effort, front));
        self.found.keep(members.clone(), guess, has_gaps);
        for (guess, has_gaps) in [before, behind].into_iter().flatten() {
            self.found.keep(members.clone(), guess, has_gaps);
        }
    }

    /// Another array on the same members, in the partitions before or behind the one that was told: their tables are lost.
    fn beside(&self, effort: &Effort, extent: Extent) -> Option<(Guess, bool)> {
        /// Things of known place without which it is not told.
        const FEWEST: usize = 3;
        let effort = effort.cut(extent);
        let pass = effort.pass(1);
        if pass < LEAST {
            return None;
        }
        let gathered = self.gather(&effort, pass);
        let mut guess = self.best_guess(effort.members(), &gathered);
        if !guess.is_array || guess.level.is_none() || guess.landmarks.0 < FEWEST {
            return None;
        }
        let start = extent.offset;
        let place = match start {
            Bytes::ZERO => format!("before byte {}", extent.end().0),
            _ => format!("behind byte {}", start.0),
        };
        let note = format!("lies on the same members, {place}");
        guess.evidence.insert(0, note);
        if start > Bytes::ZERO {
            guess.move_behind(start);
        }
        guess.bytes_read_per_member = effort.read().0;
        Some((guess, gathered.sample.has_gaps()))
    }

    /// The guess for members that end where another array begins: what lies there is none of this one's, and counts no
    /// longer against it.
    fn up_to(&self, effort: &Effort, end: Bytes, guess: Guess) -> Guess {
        let cut = effort.cut(Extent::new(Bytes::ZERO, end));
        let pass = cut.pass(1);
        if pass < LEAST {
            return guess;
        }
        let gathered = self.gather(&cut, pass);
        let mut other = self.best_guess(cut.members(), &gathered);
        let same = other.describe() == guess.describe() && other.members == guess.members;
        if !same || other.ambiguous {
            return guess;
        }
        other.bytes_read_per_member = effort.read().0;
        other
    }

    /// The guess for members that are one array, and what else the first guess leaves to try.
    fn whole(&self, effort: &Effort, gathered: &Gathered, guess: Guess) -> Guess {
        let shifts = self.shifts(effort, gathered, &guess);
        if guess.part.is_some() {
            return self.with_other_side(effort, gathered, guess);
        }
        let guess = self.with_missing(effort, guess, shifts.is_some());
        self.with_offsets(effort, guess, shifts.as_deref())
    }

    /// What holds where a guess does not: before a member was added, sums tied fewer members.
    fn with_other_side(&self, effort: &Effort, gathered: &Gathered, mut guess: Guess) -> Guess {
        let members = effort.members();
        let fewer = relations::fewer(&gathered.sample, members.len());
        let (Some(fewer), Some(part)) = (fewer, guess.part) else {
            return guess;
        };
        let readings = gathered.readings(self.known);
        let other = readings
            .iter()
            .find_map(|clues| other_side(members, &gathered.sample, clues, &guess, &fewer));
        let Some(other) = other else {
            return guess;
        };
        guess.evidence.insert(
            0,
            format!(
                "a reshape was in the middle: {}, from sector {}, holds {}; before it the array was over {} of the members, \
                 from sector {}, where {} of {} pages hold that the first lacks; neither alone is the whole array",
                guess.describe(),
                guess.data_offset_sectors,
                part.describe(),
                other.alternative.members.len(),
                other.alternative.data_offset_sectors,
                other.held.0,
                other.held.1
            ),
        );
        guess.ambiguous = true;
        guess.alternatives.insert(0, other.alternative);
        guess
    }

    /// The guess with the text whose volumes fit best: that is the data's own.
    fn best_guess(&self, members: &[Member], gathered: &Gathered) -> Guess {
        let holds = |g: &Guess| (g.landmarks.0, g.confidence);
        let mut best: Option<Guess> = None;
        for clues in gathered.readings(self.known) {
            let guess = guess::guess(members, &gathered.sample, &clues);
            if best.as_ref().is_none_or(|best| holds(&guess) > holds(best)) {
                best = Some(guess);
            }
        }
        let is_told = |g: &Guess| g.is_array || !g.ambiguous;
        if !best.as_ref().is_some_and(is_told)
            && let Some(clues) = gathered.chained(members)
        {
            let mut guess = guess::guess(members, &gathered.sample, &clues);
            if !chained::says_more(members, &guess) {
                chained::doubt(&mut guess);
            }
            if best.as_ref().is_none_or(|best| holds(&guess) > holds(best)) {
                best = Some(guess);
            }
        }
        best.unwrap_or_else(|| guess::guess(members, &gathered.sample, &Default::default()))
    }

    /// Another guess for members that show no redundancy: with one parity and one member missing, the sum of the others
    /// is that member. Where it explains more, and shows some of that itself, this is the array: a raid4 without its
    /// parity member reads as a raid0 does, and is called one.
    fn with_missing(&self, effort: &Effort, guess: Guess, more_to_try: bool) -> Guess {
        /// So many more things must have their place for it not to be chance.
        const MORE: usize = 3;
        let pass = effort.pass(if more_to_try { 3 } else { 1 });
        let members = effort.members();
        if guess.is_array || members.len() < 2 || pass < LEAST {
            return guess;
        }
        // The sum asks for what was just read of each: from the disk once is enough.
        let recent: Vec<SharedSource> = members
            .iter()
            .map(|m| shared(Recent::new(m.source.clone())))
            .collect();
        let mut all = members.to_vec();
        for (member, source) in all.iter_mut().zip(&recent) {
            member.source = source.clone();
        }
        all.push(Member {
            source: shared(Missing::new(recent)),
            superblock: None,
            disk: usize::MAX,
        });
        let gathered = clues::gather(&all, self.known, pass, self.progress);
        let mut other = self.best_guess(&all, &gathered);
        // Where all but one of the members are empty, the sum is that one's copy, and no missing member.
        if other.level.is_none_or(|level| level.parities() != 1) {
            return guess;
        }
        let on_the_sum = other.landmarks_on.last().copied().unwrap_or_default();
        if on_the_sum < MORE || other.landmarks.0 < guess.landmarks.0 + MORE {
            return guess;
        }
        missing::forget(&mut other);
        other.evidence.insert(
            0,
            format!(
                "one member is missing: the sum of the {} others holds file-system structures where the missing one must ({} things of known place with it, {} without)",
                members.len(),
                other.landmarks.0,
                guess.landmarks.0
            ),
        );
        other
    }

    /// How far behind the earliest each member's data start, where a single start does not explain all.
    fn shifts(&self, effort: &Effort, gathered: &Gathered, guess: &Guess) -> Option<Vec<Bytes>> {
        let members = effort.members();
        let whole = !guess.ambiguous && guess.lacks_none();
        if whole || members.len() < 2 {
            return None;
        }
        let readings = gathered.readings(self.known);
        readings
            .iter()
            .find_map(|clues| offsets::shifts(clues, &gathered.sample, members))
    }

    /// Another guess for members that a single start of the data does not explain: each with its own. Where that
    /// explains more, this is the array.
    fn with_offsets(&self, effort: &Effort, guess: Guess, shifts: Option<&[Bytes]>) -> Guess {
        /// So much more of the things of known place must have theirs, in percent.
        const MORE: usize = 120;
        let Some(shifts) = shifts else {
            return guess;
        };
        let pass = effort.pass(1);
        let whole = !guess.ambiguous && guess.lacks_none();
        if whole || pass < LEAST {
            return guess;
        }
        let members = effort.members();
        let cut = offsets::cut(members, shifts);
        let gathered = clues::gather(&cut, self.known, pass, self.progress);
        let mut other = self.best_guess(&cut, &gathered);
        if other.landmarks.0 * 100 < guess.landmarks.0 * MORE {
            return guess;
        }
        other.set_shifts(|name| {
            let index = members.iter().position(|m| m.source.name() == name)?;
            shifts.get(index).copied()
        });
        if offsets::doubt(&mut other, members, shifts) {
            let single = guess.as_alternative().into_iter().chain(guess.alternatives);
            other.alternatives.splice(0..0, single);
        }
        other
    }
}

/// Where an array starts on its members, if there is room for another one before it.
fn front(members: &[Member], guess: &Guess) -> Option<Bytes> {
    /// mdadm leaves up to 128 MiB free, but on disks far larger than that.
    const LEAST: Bytes = Bytes::mib(4);
    const SHARE: u64 = 100;
    let offsets = guess.data_offsets_sectors.as_ref();
    let first = offsets.and_then(|o| o.iter().min().copied());
    let start = Bytes::from(Sectors(first.unwrap_or(guess.data_offset_sectors)));
    let shortest = members.iter().map(|m| m.source.len()).min()?;
    let told = guess.level.is_some() && members.iter().all(|m| m.superblock.is_none());
    let room = start >= LEAST && (start > Bytes::mib(130) || start.0 >= shortest.0 / SHARE);
    (told && room).then_some(start)
}

/// What lies behind an array on its members, if there is room for another one: from the next border of partitions on.
fn back(members: &[Member], guess: &Guess) -> Option<Extent> {
    /// Partitions start on multiples of so much.
    const GRAIN: u64 = 1 << 20;
    const LEAST: Bytes = Bytes::mib(8);
    const SHARE: u64 = 100;
    let shortest = members.iter().map(|m| m.source.len()).min()?;
    let start = Bytes(guess.end.0.next_multiple_of(GRAIN));
    let left = shortest - start;
    let told = guess.level.is_some()
        && guess.end > Bytes::ZERO
        && guess.data_offsets_sectors.is_none()
        && members.iter().all(|m| m.superblock.is_none());
    let room = left >= LEAST && left.0 >= shortest.0 / SHARE;
    (told && room).then(|| Extent::new(start, left))
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
    let (spares, rest): (Vec<usize>, Vec<usize>) = (0..members.len())
        .filter(|m| !parts.iter().any(|p| p.contains(m)))
        .partition(|m| roles::is_spare(members, *m));
    let mut parts = match (rest.is_empty(), parts.len()) {
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
    };
    parts.extend(spares.into_iter().map(|spare| vec![spare]));
    parts
}
