//! Members that hold nothing of the array's data by their superblocks: its write journal, disks that wait, and those whose
//! slot another member has.
//!
//! A disk that is being replaced and the new one have one slot, and equal
//! bytes as far as the new one is filled; one that was replaced, or failed
//! before a spare was filled in its stead, still says that it has the slot,
//! and holds what the array was until then.

use crate::md::guess::Member;
use crate::md::superblock::{Role, Superblock};

/// These members, each with the reason. Of two there is no array to be told without them.
pub(super) fn without_data(members: &[Member]) -> Vec<(usize, String)> {
    if members.len() <= 2 {
        return Vec::new();
    }
    let why = |(index, member): (usize, &Member)| {
        let sb = member.superblock.as_ref()?;
        let why = match sb.role {
            Role::Slot(slot) => in_others_slot(sb, slot, members),
            Role::Journal => journal(sb, members),
            Role::Spare | Role::Faulty => None,
        };
        why.map(|why| (index, why))
    };
    members.iter().enumerate().filter_map(why).collect()
}

/// Whether a member waits to take the place of others, which hold every slot of its array. Where a slot has no member, it
/// may have been in it: who adds a failed disk again makes a spare of it.
pub(super) fn is_spare(members: &[Member], index: usize) -> bool {
    let sb = members.get(index).and_then(|m| m.superblock.as_ref());
    sb.is_some_and(|sb| sb.role == Role::Spare && is_complete(sb, members))
}

/// The superblocks of the members that are of one array with this one.
fn of_one_array<'a>(
    sb: &'a Superblock,
    members: &'a [Member],
) -> impl Iterator<Item = (&'a str, &'a Superblock)> {
    members.iter().filter_map(|member| {
        let other = member.superblock.as_ref()?;
        (other.array_uuid == sb.array_uuid).then(|| (member.source.name(), other))
    })
}

fn is_complete(sb: &Superblock, members: &[Member]) -> bool {
    let newest = of_one_array(sb, members)
        .map(|(_, other)| other.events)
        .max();
    let held = |slot: u32| {
        of_one_array(sb, members).any(|(_, other)| {
            other.role == Role::Slot(slot) && !other.lacks(newest.unwrap_or_default())
        })
    };
    // Not more than there are members, whatever the superblock counts.
    usize::try_from(sb.raid_disks).is_ok_and(|slots| slots <= members.len())
        && (0..sb.raid_disks).all(held)
}

fn journal(sb: &Superblock, members: &[Member]) -> Option<String> {
    let mut others = of_one_array(sb, members);
    others.find(|(_, other)| matches!(other.role, Role::Slot(_)))?;
    let why = "the array's write journal: none of its data, but perhaps writes that the members have not got yet";
    Some(why.to_owned())
}

/// Why a member has its slot no longer, or not yet, where another one has all of it.
fn in_others_slot(sb: &Superblock, slot: u32, members: &[Member]) -> Option<String> {
    let has_all =
        |(_, other): &(&str, &Superblock)| other.role == sb.role && !other.lacks(sb.events);
    let holders = of_one_array(sb, members).filter(has_all);
    let (other, newest) = holders.max_by_key(|(_, other)| other.events)?;
    match sb.being_filled() {
        Some(filled) => Some(format!(
            "was {filled}; {other} has all of its slot, {slot}, and is used"
        )),
        None if sb.lacks(newest.events) => Some(format!(
            "was in slot {slot} before {other}, which counts {} events more and is used",
            newest.events.saturating_sub(sb.events)
        )),
        None => None,
    }
}
