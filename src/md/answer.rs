//! The finalists of a guess as one answer for people and programs.

use super::finalist::Finalist;
use super::guess::{
    Case, MOST_ALTERNATIVES, Member, behind, claimed_order, newest, room_for_data, sectors,
};
use super::level::{Level, layout_name};
use super::outcome::{Alternative, Guess, Reshape, device};
use super::relations::Kind;
use super::reshape::Halves;
use super::rivals::Rivals;
use super::same_bytes::{self, shape_name};
use super::sample::Page;
use super::superblock::{MOST_SLOTS, Superblock, Version};
use super::votes::Hypothesis;
use crate::units::{Bytes, Sectors, utc};

/// Pages with data behind a member's end, on each of the others, for it to be worth a word.
const FEWEST_BEHIND: usize = 8;

/// The answer.
pub(super) fn answer(case: &Case<'_>, finalists: Vec<Finalist>) -> Guess {
    let shares = Case::confidence(&finalists);
    let mut guess = frame(case);
    guess.evidence.push(case.relations.evidence.clone());
    reshape_evidence(case, &mut guess);
    let best = finalists.first().zip(shares.first().copied());
    // Where neither the members' bytes nor anything known of them speaks for an array, any shape would do as well.
    let told = |f: &Finalist| guess.is_array || f.claimed || f.hypothesis.votes() > 0;
    let Some((best, share)) = best.filter(|(best, _)| told(best)) else {
        return no_array(case, guess);
    };
    fill(case, best, &mut guess);
    guess.confidence = share;
    let at_odds = at_odds(case, &guess);
    guess.ambiguous = !Case::is_sure(best, share) || guess.reshape.is_some() || at_odds.is_some();
    guess.doubt = best.doubt().or(at_odds);
    let rivals = Rivals::of(case, best);
    let things = &best.explained.things;
    let spans = best.spans.clone().unwrap_or_default();
    guess.landmarks = (things.held + spans.held, things.known + spans.known());
    guess.landmarks_on.clone_from(&things.on);
    guess.end = best.explained.end;
    for (on, more) in guess.landmarks_on.iter_mut().zip(&spans.on) {
        *on += more;
    }
    vote_evidence(case, &finalists, &mut guess);
    check_evidence(case, best, &mut guess);
    length_evidence(case, Some(best), &mut guess);
    superblock_evidence(case, Some(best), rivals.claim.as_ref(), &mut guess);
    if guess.ambiguous {
        undetermined(case, &finalists, &mut guess);
    }
    rivals.tell(&best.hypothesis, &mut guess);
    let others = finalists
        .iter()
        .zip(&shares)
        .skip(1)
        .take(MOST_ALTERNATIVES);
    let others = others.map(|(f, share)| alternative(case, &f.hypothesis, *share));
    let told = rivals.arrays().map(|rival| alternative(case, rival, share));
    guess.alternatives = told.chain(others).collect();
    guess
}

/// The answer where nothing agrees with the members, but for what they are to each other.
fn no_array(case: &Case<'_>, mut guess: Guess) -> Guess {
    guess
        .evidence
        .push("no array of any kind agrees with the members".to_owned());
    guess.level = match case.relations.kind {
        Kind::Mirrors => Some(Level::Raid1),
        Kind::Parity => Some(Level::Raid5),
        Kind::TwoParities | Kind::TwoParitiesLess => Some(Level::Raid6),
        _ => None,
    };
    guess.undetermined = vec!["layout", "chunk", "data offset", "order"];
    length_evidence(case, None, &mut guess);
    superblock_evidence(case, None, None, &mut guess);
    guess
}

fn frame(case: &Case<'_>) -> Guess {
    let sb = newest(case.members);
    let all = (0..case.members.len()).map(Some);
    Guess {
        level: None,
        layout: None,
        chunk_kib: None,
        data_offset_sectors: sb.map_or(0, |sb| sb.data_offset.0),
        data_offsets_sectors: None,
        member_bytes: case
            .sources
            .iter()
            .map(|s| s.len())
            .min()
            .unwrap_or_default(),
        members_bytes: None,
        metadata: sb.map(|sb| sb.version),
        members: names(case.members, all),
        stale: Vec::new(),
        landmarks: (0, 0),
        landmarks_on: Vec::new(),
        end: Bytes::ZERO,
        confidence: 0.0,
        ambiguous: true,
        doubt: None,
        evidence: Vec::new(),
        alternatives: Vec::new(),
        command: None,
        reshape: None,
        part: None,
        is_array: !matches!(case.relations.kind, Kind::Nothing | Kind::Unknown),
        undetermined: Vec::new(),
        bytes_read_per_member: case.sample.read.0,
    }
}

fn names(members: &[Member], order: impl Iterator<Item = Option<usize>>) -> Vec<Option<String>> {
    order
        .map(|m| Some(members.get(m?)?.source.name().to_owned()))
        .collect()
}

/// The best finalist's array, stale members left out.
fn fill(case: &Case<'_>, best: &Finalist, guess: &mut Guess) {
    let hypothesis = &best.hypothesis;
    let mut stale = best.check.stale();
    for index in behind(case.members) {
        push_new(&mut stale, index);
    }
    // More than the level can bear missing: then nothing can be left out, and it is for a person to decide.
    let missing = hypothesis.slots.iter().filter(|s| s.is_none()).count();
    let bears = match hypothesis.shape.level.parities() {
        0 => hypothesis.shape.geometry.copies().saturating_sub(1),
        parities => parities,
    };
    let leave_out = |m: &usize| stale.contains(m) && stale.len() + missing <= bears;
    let slots = hypothesis
        .slots
        .iter()
        .map(|slot| slot.filter(|m| !leave_out(m)));
    guess.members = names(case.members, slots);
    guess.stale = stale
        .iter()
        .filter_map(|m| case.members.get(*m))
        .map(|m| m.source.name().to_owned())
        .collect();
    guess.level = Some(hypothesis.shape.level);
    guess.layout.clone_from(&hypothesis.shape.layout);
    guess.chunk_kib = chunk_kib(hypothesis);
    guess.data_offset_sectors = sectors(hypothesis.data_offset);
    guess.member_bytes = member_bytes(case, best);
    guess.members_bytes = hypothesis.shape.geometry.own_sizes();
    guess.command = Some(command(case, hypothesis, &guess.members));
}

/// What is open by the superblocks of the members that are in the array, in words: where they were used without each
/// other, or where one that a rebuild had not filled yet could not be left out.
fn at_odds(case: &Case<'_>, guess: &Guess) -> Option<String> {
    let uuid = &newest(case.members)?.array_uuid;
    let kept = |member: &Member| {
        let name = member.source.name().to_owned();
        let sb = member.superblock.clone();
        let sb = sb.filter(|sb| sb.array_uuid == *uuid)?;
        (guess.members.contains(&Some(name.clone()))).then_some((name, sb))
    };
    let kept: Vec<(String, Superblock)> = case.members.iter().filter_map(kept).collect();
    let split = kept.iter().find_map(|(name, sb)| {
        let other = kept.iter().find(|(_, other)| sb.is_split_from(other));
        other.map(|(other, _)| {
            format!(
                "{name} and {other} were each in use without the other: take those of one side only"
            )
        })
    });
    let half = || {
        kept.iter().find_map(|(name, sb)| {
            let filled = sb.being_filled()?;
            Some(format!(
                "{name} was {filled}; without it there are too few members"
            ))
        })
    };
    split.or_else(half)
}

fn chunk_kib(hypothesis: &Hypothesis) -> Option<u64> {
    hypothesis
        .shape
        .level
        .has_chunks()
        .then_some(hypothesis.shape.geometry.chunk().0 >> 10)
}

/// What the array uses of each member: by a superblock that claims the same place, else by its far copies, else up to where
/// metadata may lie.
fn member_bytes(case: &Case<'_>, best: &Finalist) -> Bytes {
    let hypothesis = &best.hypothesis;
    let sb = newest(case.members).filter(|sb| {
        Bytes::from(sb.data_offset) == hypothesis.data_offset && sb.member_size > Sectors(0)
    });
    if let Some(sb) = sb {
        return sb.member_size.into();
    }
    // Where far copies begin was seen, and says how much of each member is used: what lies behind is slack, or the disk's.
    let geometry = &hypothesis.shape.geometry;
    if geometry.is_far() {
        return geometry.member_data();
    }
    // One that was cut short lacks what the array holds there.
    let whole = case.sources.iter().filter(|s| !is_cut(best, s.len()));
    let shortest = whole.map(|s| s.len()).min().unwrap_or_default();
    let data = room_for_data(shortest, hypothesis.data_offset);
    match chunk_kib(hypothesis) {
        Some(kib) if kib > 0 => Bytes(data.0 / (kib << 10) * (kib << 10)),
        _ => data,
    }
}

/// Whether the array goes on behind the end of a member of this length.
fn is_cut(best: &Finalist, length: Bytes) -> bool {
    let uneven = matches!(best.hypothesis.shape.level, Level::Raid0 | Level::Linear);
    !uneven && best.explained.reach >= length
}

/// Members that are shorter than the array needs, or than all the others, which hold something there.
fn length_evidence(case: &Case<'_>, best: Option<&Finalist>, guess: &mut Guess) {
    for (index, source) in case.sources.iter().enumerate() {
        let (name, length) = (source.name(), source.len());
        if let Some(best) = best.filter(|best| is_cut(best, length)) {
            guess.evidence.push(format!(
                "{name} was CUT SHORT: it ends at byte {}, and the array goes on to byte {} of the others at least",
                length.0, best.explained.reach.0
            ));
            continue;
        }
        let others = (0..case.sources.len()).filter(|other| *other != index);
        let goes_on = |other: usize| {
            let behind = case.sample.pages(other).filter(|(at, _)| *at >= length);
            behind
                .filter(|(_, page)| matches!(page, Page::Data { .. }))
                .count()
                >= FEWEST_BEHIND
        };
        if guess.is_array && others.clone().count() > 1 && others.clone().all(goes_on) {
            guess.evidence.push(format!(
                "{name} is shorter than all the others ({} bytes), which hold data behind its end: it was cut short, or \
                 the array does not go that far",
                length.0
            ));
        }
    }
}

/// What a person tries on overlays; on the disks themselves it would write.
fn command(case: &Case<'_>, hypothesis: &Hypothesis, members: &[Option<String>]) -> String {
    let shape = &hypothesis.shape;
    let claimed = newest(case.members).map(|sb| sb.version);
    let version = match hypothesis.data_offset {
        Bytes::ZERO => claimed
            .filter(|v| matches!(v, Version::V090 | Version::V10))
            .unwrap_or(Version::V10),
        _ => claimed
            .filter(|v| matches!(v, Version::V11))
            .unwrap_or(Version::V12),
    };
    let mut words = vec![format!(
        "mdadm --create /dev/md100 --run --metadata={version} --level={}",
        shape.level
    )];
    if !matches!(shape.level, Level::Raid0 | Level::Linear) {
        words.insert(1, "--assume-clean --bitmap=none".to_owned());
    }
    if let Some(layout) = &shape.layout {
        words.push(format!("--layout={layout}"));
    }
    if let Some(kib) = chunk_kib(hypothesis) {
        words.push(format!("--chunk={kib}"));
    }
    if hypothesis.data_offset > Bytes::ZERO {
        words.push(format!(
            "--data-offset={}s",
            sectors(hypothesis.data_offset)
        ));
    }
    words.push(format!("--raid-devices={}", members.len()));
    let name = |m: &Option<String>| m.as_deref().map_or("missing".to_owned(), device);
    words.extend(members.iter().map(name));
    words.join(" ")
}

fn alternative(case: &Case<'_>, hypothesis: &Hypothesis, confidence: f64) -> Alternative {
    let members = names(case.members, hypothesis.slots.iter().copied());
    Alternative {
        level: hypothesis.shape.level,
        layout: hypothesis.shape.layout.clone(),
        chunk_kib: chunk_kib(hypothesis),
        data_offset_sectors: sectors(hypothesis.data_offset),
        command: command(case, hypothesis, &members),
        members,
        landmarks: hypothesis.votes(),
        confidence,
    }
}

fn vote_evidence(case: &Case<'_>, finalists: &[Finalist], guess: &mut Guess) {
    let Some(best) = finalists.first() else {
        return;
    };
    let (held, known) = guess.landmarks;
    let what = match best.spans.as_ref().is_some_and(|spans| spans.held > 0) {
        true => "files",
        false => "superblocks, volumes",
    };
    if known == 0 {
        let why = case
            .clues
            .encrypted
            .as_deref()
            .unwrap_or("nothing was found on the members that tells its own place");
        guess
            .evidence
            .push(format!("the content says nothing of the order: {why}"));
    } else {
        let next = finalists
            .get(1)
            .map_or("no other array is near".to_owned(), |f| {
                let also = if f.hypothesis.shape == best.hypothesis.shape {
                    ", in another order"
                } else {
                    ""
                };
                format!(
                    "the next best, {}{also}, has {} votes to {}",
                    shape_name(&f.hypothesis.shape),
                    f.hypothesis.score,
                    best.hypothesis.score
                )
            });
        let families: Vec<&str> = case
            .clues
            .families
            .iter()
            .map(|f| f.name.as_str())
            .collect();
        guess.evidence.push(format!(
            "{held} of {known} things of known place ({}) lie where this array puts them; {next}",
            if families.is_empty() {
                what.to_owned()
            } else {
                families.join(", ")
            },
        ));
    }
    if let Some(hidden) = &case.clues.encrypted {
        guess.evidence.push(format!(
            "encrypted: {hidden}; only parity and the header itself tell anything"
        ));
    }
    let found = &best.explained;
    guess.evidence.push(format!(
        "what lies in its place: {} structures, {} ends of files, {} pages by checksum",
        found.structures, found.ends, found.checksums
    ));
    let (held, looked_up) = (found.held(), found.looked_up);
    guess.part = best.part();
    if let Some(part) = guess.part {
        guess.evidence.push(format!(
            "looks like a reshape in the middle: this array holds {}",
            part.describe()
        ));
    } else if best.lacks_facts() {
        guess.evidence.push(format!(
            "only {held} of {looked_up} pages hold what the file system says: a part of the array lies otherwise (members \
             that start at other places or are of other lengths, or a reshape that was under way)"
        ));
    }
    if let Some(spans) = best.spans.as_ref().filter(|spans| spans.held > 0) {
        guess.evidence.push(format!(
            "{} of {} places that files tell of further on (section tables, archives' headers, compressed files and images \
             that are whole so) hold what they must, {} of them on another member",
            spans.held,
            spans.known(),
            spans.parted
        ));
    }
    if let Some(continuity) = best.continuity {
        let next = finalists.get(1).and_then(|f| f.continuity);
        guess.evidence.push(format!(
            "content goes on across the chunks' ends: {} votes, {:.0} nats{}; a border of chunks says {} what one within them does",
            continuity.votes,
            continuity.nats,
            next.map_or(String::new(), |c| format!(" (the next has {:.0})", c.nats)),
            match continuity.share {
                Some(share) => format!("{:.0} % of", share * 100.0),
                None => "something that cannot be held against".to_owned(),
            }
        ));
    }
    if !best.also.is_empty() {
        guess.evidence.push(format!(
            "reads every byte as {} would",
            best.also.join(", ")
        ));
    }
    guess.evidence.extend(same_bytes::evidence(best));
}

fn check_evidence(case: &Case<'_>, best: &Finalist, guess: &mut Guess) {
    let check = &best.check;
    if check.held + check.failed > 0 {
        let what = if best.hypothesis.shape.level.parities() > 0 {
            "parity"
        } else {
            "the copies"
        };
        guess.evidence.push(format!(
            "{what} hold in {} of {} rows that were checked",
            check.held,
            check.held + check.failed
        ));
    }
    if best.is_unexplained() {
        guess.evidence.push(
            "a member missed writes, and nothing tells which: try the array without each of them"
                .to_owned(),
        );
    }
    for (member, (behind, not)) in &check.behind {
        if let Some(name) = case.members.get(*member).map(|m| m.source.name())
            && check.stale().contains(member)
        {
            guess.evidence.push(format!(
                "{name} is behind: {behind} pages show it, {not} speak against it"
            ));
        }
    }
    let members = behind(case.members);
    for member in members.iter().filter_map(|m| case.members.get(*m)) {
        let filled = member
            .superblock
            .as_ref()
            .and_then(Superblock::being_filled);
        let name = member.source.name();
        (guess.evidence).extend(filled.map(|filled| format!("{name} was {filled}")));
    }
    let missing = best.hypothesis.slots.iter().filter(|s| s.is_none()).count();
    if missing > 0 {
        guess.evidence.push(format!(
            "{missing} of {} members missing",
            best.hypothesis.slots.len()
        ));
    }
}

/// What is open, for a person to settle.
fn undetermined(case: &Case<'_>, finalists: &[Finalist], guess: &mut Guess) {
    let Some(best) = finalists.first() else {
        return;
    };
    let ties = finalists
        .iter()
        .filter(|f| f.hypothesis.score == best.hypothesis.score);
    let (mut levels, mut layouts) = (Vec::new(), Vec::new());
    let (mut chunks, mut offsets, mut orders) = (Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    for h in ties.map(|f| &f.hypothesis) {
        count += 1;
        push_new(&mut levels, h.shape.level);
        push_new(&mut layouts, h.shape.layout.clone());
        push_new(&mut chunks, chunk_kib(h));
        push_new(&mut offsets, h.data_offset);
        push_new(&mut orders, h.slots.clone());
    }
    // The list of ties is cut short: without a single vote all is open that has alternatives at all.
    let blind = best.hypothesis.votes() == 0;
    let chunked = best.hypothesis.shape.level.has_chunks();
    let open = [
        (levels.len() > 1, "level"),
        (layouts.len() > 1 || blind && chunked, "layout"),
        (chunks.len() > 1 || blind && chunked, "chunk"),
        (offsets.len() > 1 || blind, "data offset"),
        (orders.len() > 1, "order"),
    ];
    guess.undetermined = open
        .into_iter()
        .filter(|(open, _)| *open)
        .map(|(_, what)| what)
        .collect();
    if count > 1 {
        guess.evidence.push(format!(
            "at least {count} arrays explain as much; open: {}",
            guess.undetermined.join(", ")
        ));
    }
    if case.relations.kind == Kind::Parity && best.hypothesis.votes() < 2 {
        guess.evidence.push(
            "one parity says which members belong together, and nothing of their order".to_owned(),
        );
    }
}

fn push_new<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) {
        values.push(value);
    }
}

/// The two geometries of a reshape, where the superblocks tell of one.
fn reshape_evidence(case: &Case<'_>, guess: &mut Guess) {
    let Some(sb) = newest(case.members) else {
        return;
    };
    let slots = usize::try_from(i64::from(sb.raid_disks).max(sb.slots_before())).unwrap_or(0);
    let order = claimed_order(case.members, sb, slots.min(MOST_SLOTS));
    let superblock = |slot: &Option<usize>| case.members.get((*slot)?)?.superblock.as_ref();
    let superblocks: Vec<Option<&Superblock>> = order.iter().map(superblock).collect();
    let Some(halves) = Halves::of_superblocks(sb, &superblocks) else {
        return;
    };
    guess.evidence.push(format!(
        "a reshape was under way: before byte {} the array is {}, from there on {}",
        halves.position.0,
        halves.below.describe(),
        halves.above.describe()
    ));
    if let Some(lost) = halves.in_backup {
        guess.evidence.push(format!(
            "bytes {} to {} of the array were being moved in place: only mdadm's backup file has them for certain",
            lost.offset.0,
            lost.end().0
        ));
    }
    guess.reshape = Some(Reshape {
        members: names(case.members, order.into_iter()),
        member_bytes: sb.member_size.into(),
        halves,
    });
}

/// What the superblocks claim, beside what the data say; `other` where the data could lie in that array as well.
fn superblock_evidence(
    case: &Case<'_>,
    best: Option<&Finalist>,
    other: Option<&Hypothesis>,
    guess: &mut Guess,
) {
    let Some(sb) = newest(case.members) else {
        guess
            .evidence
            .push("no sound md superblock on any member".to_owned());
        return;
    };
    let level = Level::from_number(sb.level);
    let layout = level
        .and_then(|l| layout_name(l, sb.layout))
        .map_or(String::new(), |l| format!(" {l}"));
    let chunk = match sb.chunk.0 {
        0 => String::new(),
        sectors => format!(" chunk {} KiB,", sectors / 2),
    };
    let agrees = best.is_some_and(|best| best.claimed || agrees(case, sb, best));
    let elsewhere = |claim: &&Hypothesis| {
        best.is_some_and(|best| best.hypothesis.data_offset != claim.data_offset)
    };
    let start = other.filter(elsewhere).map_or_else(String::new, |claim| {
        format!(
            ", and data from sector {}: what begins elsewhere may lie in the array",
            sectors(claim.data_offset)
        )
    });
    guess.evidence.push(format!(
        "the superblocks ({}, array {}, created {}) claim {}{layout},{chunk} {} order{start}",
        sb.version,
        sb.array_uuid,
        utc(sb.created),
        sb.level_name(),
        if agrees { "the same" } else { "ANOTHER" },
    ));
    guess
        .evidence
        .extend(case.clues.youngest.and_then(|data| sb.younger_than(data)));
}

/// Whether the claimed order reads as the answer does.
fn agrees(case: &Case<'_>, sb: &Superblock, best: &Finalist) -> bool {
    let claimed = claimed_order(case.members, sb, best.hypothesis.slots.len());
    let copies = same_bytes::mirrors(&best.hypothesis.shape);
    let sorted = |order: &[Option<usize>]| -> Vec<Vec<Option<usize>>> {
        let chunks = order.chunks(copies);
        chunks
            .map(|chunk| {
                let mut chunk = chunk.to_vec();
                chunk.sort_unstable();
                chunk
            })
            .collect()
    };
    Level::from_number(sb.level) == Some(best.hypothesis.shape.level)
        && sorted(&best.hypothesis.slots) == sorted(&claimed)
}
