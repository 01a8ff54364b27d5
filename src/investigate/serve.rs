//! Whether an array can be started by its members' own superblocks.

use crate::layout::{ArrayEntry, Stack};
use crate::md::array::copies_there;
use crate::md::badblocks;
use crate::md::geometry::Geometry;
use crate::md::level::{Level, layout_name};
use crate::md::superblock::{Role, Superblock};
use crate::parse::Checksum;
use crate::units::Sectors;

/// Whether the superblocks of an array's members, `None` for one that is left out, say of it just what the layout says:
/// then mdadm can go by them. Not where the kernel would go on with a rebuild or a resync as soon as it may write: that
/// goes over whole members, and no backup holds those.
pub(super) fn superblocks_serve(
    stack: &Stack,
    entry: &ArrayEntry,
    geometry: &Geometry,
    names: &[Option<&String>],
) -> Option<bool> {
    let level: Level = entry.level.parse().ok()?;
    let twice = holds_twice(geometry, &|slot| {
        names.get(slot).is_some_and(Option::is_some)
    });
    let mut array = None;
    let mut tables: Vec<Superblock> = Vec::new();
    for (name, slot) in names.iter().zip(0..) {
        let Some(name) = name else {
            continue;
        };
        let member = stack.volume(name).ok()?;
        let superblocks = Superblock::all(&*member).0;
        let [sb] = superblocks.as_slice() else {
            return Some(false);
        };
        let same = sb.checksum == Checksum::Ok
            && sb.role == Role::Slot(slot)
            && Level::from_number(sb.level) == Some(level)
            && usize::try_from(sb.raid_disks) == Ok(entry.members.len())
            && entry.metadata.as_ref() == Some(&sb.version.to_string())
            && sb.data_offset.0 == entry.data_offset_sectors
            && !sb.reshaping
            // mdadm starts neither one of another byte order nor one whose journal is not given to it.
            && !sb.big_endian
            && !sb.has("journal")
            && entry
                .chunk_kib
                .is_none_or(|kib| kib.checked_mul(2) == Some(sb.chunk.0))
            && entry
                .layout
                .as_ref()
                .is_none_or(|l| layout_name(level, sb.layout).as_ref() == Some(l))
            // A raid0 or linear array uses all of each member, and its superblocks say nothing of a size.
            && (sb.member_size == Sectors(0)
                || sb.member_size.to_bytes() == Some(entry.member_bytes));
        let this = (sb.array_uuid.clone(), sb.events);
        if !same
            || goes_on(sb, twice)
            || tables.iter().any(|other| sb.is_split_from(other))
            || array.get_or_insert_with(|| this.clone()) != &this
        {
            return Some(false);
        }
        tables.push(sb.clone());
    }
    Some(array.is_some())
}

/// What the superblocks of an array's members know beside its geometry, and `--create` would not, a sentence: data in a
/// journal or a partial-parity log that the members have not got yet, sectors that hold none, a rebuild that was under
/// way, members that were used without each other.
pub(super) fn forgets(
    stack: &Stack,
    entry: &ArrayEntry,
    names: &[Option<&String>],
) -> Option<String> {
    let level: Level = entry.level.parse().ok()?;
    let mut tables: Vec<Superblock> = Vec::new();
    names.iter().flatten().find_map(|name| {
        let member = stack.volume(name).ok()?;
        // Those of another array have nothing to say of this one.
        let of_this = |sb: &Superblock| {
            Level::from_number(sb.level) == Some(level)
                && usize::try_from(sb.raid_disks) == Ok(entry.members.len())
        };
        let superblocks = Superblock::all(&*member).0.into_iter();
        superblocks.filter(of_this).find_map(|sb| {
            let bad = badblocks::read(&*member, &sb).ok().flatten();
            let open_ppl = sb.ppl.is_some() && sb.resync_offset.is_some();
            let bad = bad.map_or(0, |b| b.len());
            let what = match tables.iter().any(|other| sb.is_split_from(other)) {
                true => Some("and another one were each in use without the other".to_owned()),
                false => knows(sb.has("journal"), open_ppl, sb.being_filled(), bad),
            };
            tables.push(sb);
            let what = what?;
            Some(format!("{name}, a member of {}, {what}", entry.name))
        })
    })
}

/// In words, where there is anything to say.
fn knows(
    journal: bool,
    open_ppl: bool,
    filled: Option<String>,
    bad_blocks: usize,
) -> Option<String> {
    Some(match (journal, open_ppl, filled, bad_blocks) {
        (true, ..) => "had a write journal: what is only in that is on no member".to_owned(),
        (_, true, ..) => "has a partial-parity log that the kernel has not gone through".to_owned(),
        (.., Some(filled), _) => format!("was {filled}"),
        (.., 0) => return None,
        (.., n) => {
            format!("has {n} entries in its bad-block log: what lies there is not the array's")
        }
    })
}

/// Whether the kernel has something of this member to make equal, where the array holds bytes twice or does not.
fn goes_on(sb: &Superblock, twice: bool) -> bool {
    sb.recovery_offset.is_some() || sb.resync_offset.is_some() && twice
}

/// Whether any byte is on two of the members that are `there`, or has parity: then a resync has something to write.
fn holds_twice(geometry: &Geometry, there: &dyn Fn(usize) -> bool) -> bool {
    // With parity, the kernel does not even start what lacks a member and was not in sync.
    geometry.level().parities() > 0 || copies_there(geometry, there).any(|copies| copies > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn entry(level: &str, layout: Option<&str>, members: usize) -> ArrayEntry {
        ArrayEntry {
            name: "array1".to_owned(),
            level: level.to_owned(),
            layout: layout.map(str::to_owned),
            chunk_kib: (level != "raid1").then_some(64),
            data_offset_sectors: 0,
            data_offsets_sectors: Vec::new(),
            member_bytes: Bytes::mib(8),
            members_bytes: Vec::new(),
            metadata: Some("1.0".to_owned()),
            members: (0..members).map(|n| format!("sd{n}")).collect(),
            half: Vec::new(),
            bad_blocks: Vec::new(),
            reshape: None,
        }
    }

    /// A new array knows nothing of what a journal, a partial-parity log or a bad-block log holds.
    #[test]
    fn what_a_new_array_would_not_know_is_told() {
        assert_eq!(knows(false, false, None, 0), None);
        let half = Some("being filled: the array's up to sector 8 of its data");
        for (journal, ppl, filled, bad, words) in [
            (true, true, None, 1, "write journal"),
            (false, true, half, 0, "partial-parity log"),
            (false, false, half, 2, "up to sector 8"),
            (false, false, None, 2, "2 entries in its bad-block log"),
        ] {
            let said = knows(journal, ppl, filled.map(str::to_owned), bad).unwrap();
            assert!(said.contains(words), "{said}");
        }
    }

    /// A half has nothing to resync onto; one pair that is whole is enough for the kernel to write over it.
    #[test]
    fn what_is_held_twice_is_seen() {
        let cases = [
            ("raid1", None, &[true, false][..], false),
            ("raid1", None, &[true, true], true),
            ("raid10", Some("n2"), &[true, false, false, true], false),
            ("raid10", Some("n2"), &[true, false, true, true], true),
            // Of three members with two copies, any two share some chunks.
            ("raid10", Some("n2"), &[true, true, false], true),
            ("raid0", None, &[true, true], false),
            ("raid5", Some("left-symmetric"), &[true, true, false], true),
        ];
        for (level, layout, there, twice) in cases {
            let geometry = entry(level, layout, there.len()).geometry().unwrap();
            let seen = holds_twice(&geometry, &|slot| there[slot]);
            assert_eq!(seen, twice, "{level} {there:?}");
        }
    }
}
