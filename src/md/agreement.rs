//! What the members of an array agree on by their superblocks, who disagrees, and who is behind.

use super::examine::{Examined, Standing};
use super::superblock::{Role, Superblock};
use crate::parse::Checksum;
use crate::units::{Bytes, utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One superblock's part in its array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// The member.
    pub member: String,
    /// What it says it is.
    pub role: Role,
    /// Its events.
    pub events: u64,
    /// Events that it lacks.
    pub behind: u64,
    /// When it was last written, in seconds since 1970.
    pub updated: u64,
    /// How it stands to its place.
    pub standing: Standing,
    /// How it stands to the others.
    pub status: Status,
    /// That in words, with figures.
    pub says: String,
}

/// How a member stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// In its slot, as new as any.
    Current,
    /// In its slot, and only partly filled by a recovery.
    Rebuilding,
    /// Left the array earlier than others did.
    Behind,
    /// Was in use without the others, as they were without it.
    Split,
    /// Waits.
    Spare,
    /// The others threw it out, or it says so itself.
    Faulty,
    /// Holds the journal.
    Journal,
    /// Its checksum does not hold, or it is a copy inside of something else.
    NotBelieved,
}

/// A field on which members do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The field.
    pub field: &'static str,
    /// Each value, with the members that have it, the most frequent first.
    pub values: Vec<(String, Vec<String>)>,
}

/// A slot that no current member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmptySlot {
    /// The slot.
    pub slot: u32,
    /// Why, in words.
    pub why: String,
}

/// One array by its superblocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArrayView {
    /// Its UUID.
    pub array_uuid: String,
    /// Its name.
    pub name: String,
    /// Level in mdadm's words.
    pub level: String,
    /// Layout in mdadm's words.
    pub layout: Option<String>,
    /// Slots.
    pub raid_disks: u32,
    /// The slots by the newest superblock: `A` held, `.` missing, `R` being replaced.
    pub state: String,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// When the newest superblock was written, in seconds since 1970.
    pub updated: u64,
    /// Events of the newest superblock.
    pub events: u64,
    /// Its members by slot.
    pub members: Vec<MemberView>,
    /// Slots without a current member.
    pub empty_slots: Vec<EmptySlot>,
    /// Fields on which members do not agree.
    pub disagreements: Vec<Disagreement>,
    /// A newer array whose superblocks lie on the same members.
    pub superseded_by: Option<String>,
    /// What the data says of these superblocks' age, where it speaks against them.
    pub age: Option<String>,
    /// Whether the superblocks are believed: not where all data is older than they are.
    pub believed: bool,
    /// What else a person should know, in words.
    pub notes: Vec<String>,
}

/// The arrays that superblocks speak of, the one updated last first.
pub fn arrays(superblocks: &[Examined]) -> Vec<ArrayView> {
    let mut by_uuid: BTreeMap<&str, Vec<&Examined>> = BTreeMap::new();
    for examined in superblocks {
        let uuid = &examined.superblock.array_uuid;
        by_uuid.entry(uuid).or_default().push(examined);
    }
    let mut arrays: Vec<ArrayView> = by_uuid
        .values()
        .filter_map(|group| view(group, superblocks))
        .collect();
    arrays.sort_by(|a, b| {
        let key = |v: &ArrayView| (v.superseded_by.is_some(), std::cmp::Reverse(v.updated));
        key(a).cmp(&key(b)).then(a.array_uuid.cmp(&b.array_uuid))
    });
    arrays
}

fn view(group: &[&Examined], all: &[Examined]) -> Option<ArrayView> {
    let believed = group.iter().filter(|e| e.is_sound());
    let newest = believed
        .clone()
        .max_by_key(|e| (e.superblock.events, e.superblock.updated))
        .or(group.first())?;
    let sb = &newest.superblock;
    let mut members: Vec<MemberView> = group.iter().map(|e| member(e, sb)).collect();
    let slot = |m: &MemberView| match m.role {
        Role::Slot(slot) => u64::from(slot),
        _ => u64::MAX,
    };
    members.sort_by_key(|m| (slot(m), m.status, m.member.clone()));
    let believed: Vec<&Examined> = believed.copied().collect();
    let mut view = ArrayView {
        array_uuid: sb.array_uuid.clone(),
        name: sb.array_name.clone(),
        level: sb.level_name(),
        layout: sb.layout_name(),
        raid_disks: sb.raid_disks,
        state: sb.array_state(),
        created: sb.created,
        updated: sb.updated,
        events: sb.events,
        empty_slots: empty_slots(sb, &members),
        disagreements: disagreements(&believed),
        superseded_by: superseded_by(group, all),
        age: None,
        believed: true,
        notes: Vec::new(),
        members,
    };
    view.notes = notes(sb, &view.members, group);
    Some(view)
}

fn member(examined: &Examined, newest: &Superblock) -> MemberView {
    let sb = &examined.superblock;
    let behind = newest.events.saturating_sub(sb.events);
    let (status, says) = status(examined, newest, behind);
    MemberView {
        member: examined.member.clone(),
        role: sb.role,
        events: sb.events,
        behind,
        updated: sb.updated,
        standing: examined.standing,
        status,
        says,
    }
}

fn status(examined: &Examined, newest: &Superblock, behind: u64) -> (Status, String) {
    let sb = &examined.superblock;
    if sb.checksum == Checksum::Bad {
        return (Status::NotBelieved, "its checksum does not hold".to_owned());
    }
    if examined.standing == Standing::Copy {
        let says = format!(
            "a copy, at byte {} of {}",
            examined.offset.0, examined.image
        );
        return (Status::NotBelieved, says);
    }
    // The others' table of devices is the judge of who is still in: a member that was thrown out does not know of it.
    let listed = newest.roles.iter().find(|d| d.number == sb.device_number);
    let thrown_out = |words: &str| format!("the others {words}, {}", lacking(behind, sb, newest));
    match (sb.role, listed.map(|d| d.role)) {
        (Role::Slot(_), _) if sb.is_split_from(newest) => {
            let says = "SPLIT: it was in use without the others, and they without it".to_owned();
            (Status::Split, says)
        }
        // A clean stop may leave one event between members that are equal.
        (Role::Slot(_), Some(Role::Faulty)) if behind > 0 => {
            (Status::Behind, thrown_out("call it faulty"))
        }
        (Role::Slot(_), None) if behind > 0 => (Status::Behind, thrown_out("no longer list it")),
        (Role::Slot(_), _) if behind > 1 => (Status::Behind, lacking(behind, sb, newest)),
        (Role::Slot(_), _) => match sb.being_filled() {
            Some(says) => (Status::Rebuilding, says),
            None => (Status::Current, "current".to_owned()),
        },
        (Role::Spare, _) => (Status::Spare, "spare".to_owned()),
        (Role::Faulty, _) => (Status::Faulty, "faulty, by its own word".to_owned()),
        (Role::Journal, _) => (Status::Journal, "write journal".to_owned()),
    }
}

/// How far behind, in events and time.
fn lacking(behind: u64, sb: &Superblock, newest: &Superblock) -> String {
    let seconds = newest.updated.saturating_sub(sb.updated);
    let time = match seconds {
        0 => "in the same second".to_owned(),
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    };
    let plural = if behind == 1 { "" } else { "s" };
    format!("behind by {behind} event{plural} ({time})")
}

fn empty_slots(newest: &Superblock, members: &[MemberView]) -> Vec<EmptySlot> {
    let state = newest.array_state();
    let slots = (0_u32..).zip(state.chars());
    slots
        .filter_map(|(slot, letter)| {
            let mut holders = members.iter().filter(|m| m.role == Role::Slot(slot));
            let held = |m: &MemberView| matches!(m.status, Status::Current | Status::Rebuilding);
            if holders.clone().any(held) {
                return None;
            }
            let why = match (holders.next(), letter) {
                (Some(m), '.') if m.status != Status::Split => {
                    format!("missing; {} held it before", m.member)
                }
                (Some(m), _) => format!("only {}, {}", m.member, m.says),
                (None, '.') => "missing by the newest superblock".to_owned(),
                (None, _) => "held by a device that is not among these images".to_owned(),
            };
            Some(EmptySlot { slot, why })
        })
        .collect()
}

/// A field's name, and its value as text.
type Field = (&'static str, fn(&Superblock) -> String);

/// What all members of one array must have in common.
const FIELDS: [Field; 11] = [
    ("version", |sb| sb.version.to_string()),
    ("name", |sb| sb.array_name.clone()),
    ("created", |sb| utc(sb.created)),
    ("level", Superblock::level_name),
    ("layout", |sb| {
        sb.layout_name().unwrap_or_else(|| sb.layout.to_string())
    }),
    ("chunk", |sb| Bytes::from(sb.chunk).to_string()),
    ("slots", |sb| sb.raid_disks.to_string()),
    ("member size", |sb| sb.member_size.to_string()),
    ("data offset", |sb| sb.data_offset.to_string()),
    ("byte order", |sb| {
        if sb.big_endian { "big" } else { "little" }.to_owned()
    }),
    ("reshape", |sb| match &sb.reshape {
        Some(r) => format!("at sector {}", r.position.0),
        None => "none".to_owned(),
    }),
];

fn disagreements(members: &[&Examined]) -> Vec<Disagreement> {
    let field = |(field, value): &Field| {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for e in members {
            // A journal and a spare have sizes of their own.
            let own = matches!(*field, "member size" | "data offset");
            if own && !matches!(e.superblock.role, Role::Slot(_)) {
                continue;
            }
            let names = values.entry(value(&e.superblock)).or_default();
            names.push(e.member.clone());
        }
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        (values.len() > 1).then_some(Disagreement { field, values })
    };
    FIELDS.iter().filter_map(field).collect()
}

/// The array whose newer superblocks lie on every member of this one.
fn superseded_by(group: &[&Examined], all: &[Examined]) -> Option<String> {
    let newer = |old: &&Examined| {
        let others = all.iter().filter(|e| {
            e.is_sound()
                && e.image == old.image
                && e.superblock.array_uuid != old.superblock.array_uuid
                && e.superblock.created >= old.superblock.created
                && (e.member == old.member || old.standing != Standing::Own)
        });
        others.max_by_key(|e| (e.superblock.created, e.superblock.updated))
    };
    let found: BTreeSet<&str> = group
        .iter()
        .map(|old| newer(old).map(|e| e.superblock.array_uuid.as_str()))
        .collect::<Option<_>>()?;
    // Two arrays of the same second each call the other newer: the one that lies behind has no members of its own left.
    let by = found.first()?;
    let created = |uuid: &str| {
        let of = all.iter().filter(|e| e.superblock.array_uuid == uuid);
        of.map(|e| {
            (
                e.superblock.created,
                e.superblock.updated,
                e.superblock.version,
            )
        })
        .max()
    };
    let own = &group.first()?.superblock.array_uuid;
    (created(by) > created(own)).then(|| (*by).to_owned())
}

fn notes(newest: &Superblock, members: &[MemberView], group: &[&Examined]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(reshape) = &newest.reshape {
        let chunk = |c: Bytes| {
            if c == Bytes::ZERO {
                String::new()
            } else {
                format!(", chunk {c}")
            }
        };
        let to = Superblock {
            level: reshape.new_level,
            layout: reshape.new_layout,
            ..newest.clone()
        };
        let slots = i64::from(newest.raid_disks) - i64::from(reshape.delta_disks);
        notes.push(format!(
            "RESHAPE stopped at sector {} of the array{}: from {slots} slots of {} {}{} to {} of {} {}{}; what lies on either side of it is in another shape",
            reshape.position.0,
            if reshape.backwards { ", going backwards" } else { "" },
            newest.level_name(),
            newest.layout_name().unwrap_or_default(),
            chunk(newest.chunk.into()),
            newest.raid_disks,
            to.level_name(),
            to.layout_name().unwrap_or_default(),
            chunk(reshape.new_chunk.into()),
        ));
    }
    if let Some(done) = newest.resync_offset {
        notes.push(format!(
            "not in sync: a resync had come to sector {}; copies and parity behind it may not hold",
            done.0
        ));
    }
    let split: Vec<&str> = members
        .iter()
        .filter(|m| m.status == Status::Split)
        .map(|m| m.member.as_str())
        .collect();
    if !split.is_empty() {
        notes.push(format!(
            "SPLIT: {} and the current members were each in use without the other; what was written since is on one side \
             only, and mdadm takes one",
            split.join(" ")
        ));
    }
    let mut holders: BTreeMap<Role, Vec<&str>> = BTreeMap::new();
    let current = members.iter().filter(|m| m.status == Status::Current);
    for member in current.filter(|m| matches!(m.role, Role::Slot(_))) {
        holders.entry(member.role).or_default().push(&member.member);
    }
    for (role, names) in holders {
        if let (Role::Slot(slot), true) = (role, names.len() > 1) {
            notes.push(format!(
                "slot {slot} is claimed by {}: copies of one disk, or an array that was split",
                names.join(" and ")
            ));
        }
    }
    for e in group {
        let bad = e.bad_blocks.as_deref().unwrap_or_default();
        if !bad.is_empty() {
            let bytes: u64 = bad.iter().map(|b| b.length.0).sum();
            notes.push(format!(
                "{}: md lists {} bad extents, {}, that hold none of the array's data",
                e.member,
                bad.len(),
                Bytes(bytes)
            ));
        }
        notes.extend(e.notes.iter().map(|note| format!("{}: {note}", e.member)));
    }
    notes
}

impl ArrayView {
    /// Holds the superblocks against the times that the data on their members carries; `of_the_data` is asked for the youngest
    /// of the array's own data where some are older and some younger.
    pub fn judge_age(
        &mut self,
        superblocks: &[Examined],
        times: &BTreeSet<u64>,
        of_the_data: impl FnOnce() -> Option<u64>,
    ) {
        let own = |e: &&Examined| e.superblock.array_uuid == self.array_uuid && e.is_sound();
        let Some(sb) = superblocks
            .iter()
            .filter(own)
            .map(|e| &e.superblock)
            .max_by_key(|sb| sb.created)
        else {
            return;
        };
        let younger = |time: &u64| sb.younger_than(*time);
        if let Some(says) = times.last().and_then(younger) {
            self.believed = false;
            self.age = Some(says);
        } else if let Some(oldest) = times.iter().rev().find(|t| younger(t).is_some()) {
            if let Some(says) = of_the_data().as_ref().and_then(younger) {
                self.believed = false;
                self.age = Some(says);
                return;
            }
            self.age = Some(format!(
                "the members also hold data from before it was made ({}): an array was made over older data, or the disks were used before",
                utc(*oldest)
            ));
        }
    }
}
