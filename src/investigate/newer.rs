//! Which of two mirrors is newer: SMART does not say; what lies on them may.
//!
//! md counts events and notes when a superblock was written, LVM counts its
//! texts, ext notes its last write. A member that missed writes is behind in
//! them. Superblocks that an installer made anew tell of the installer only.

use crate::fs::ext;
use crate::image::progress::Silent;
use crate::image::{Pieces, SharedSource};
use crate::md::superblock::Superblock;
use crate::parse::Checksum;
use crate::scan::{Job, Options, scan};
use crate::units::{Bytes, Extent, utc};

/// Bytes of the data's front that are searched for LVM texts: where metadata areas lie.
const FRONT: Bytes = Bytes::mib(1);

/// What members, each with where its data starts, say of which is newer; a line a kind of evidence.
pub fn newer(members: &[(SharedSource, Bytes)]) -> Vec<String> {
    if members.len() < 2 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut tell = |kind: &str, each: Vec<Option<(u64, String)>>| {
        lines.extend(line(kind, members, &each));
    };
    let of_md = |(source, _): &(SharedSource, Bytes)| {
        let found = Superblock::all(&**source).0.into_iter();
        let sound = found.filter(|sb| sb.checksum == Checksum::Ok);
        let sb = sound.max_by_key(|sb| sb.updated)?;
        let written = format!("{} (written {}", sb.events, utc(sb.updated));
        Some(match sb.being_filled() {
            // It counts as many as the others, and is behind whatever they count.
            Some(filled) => (0, format!("{written}; {filled})")),
            None => (sb.events, format!("{written})")),
        })
    };
    let of_lvm = |(source, data): &(SharedSource, Bytes)| {
        let front = Pieces::slice("front", source.clone(), Extent::new(*data, FRONT));
        let texts = scan(&Job::of(&front), 0, Options::default(), &Silent)
            .texts
            .into_iter();
        let newest = texts.filter(|t| t.complete).max_by_key(|t| t.vg.seqno)?;
        Some((
            newest.vg.seqno,
            format!("{} of {}", newest.vg.seqno, newest.vg.name),
        ))
    };
    let of_fs = |(source, data): &(SharedSource, Bytes)| {
        let sb = ext::Superblock::read(&**source, *data + ext::PRIMARY).ok()?;
        (sb.group == 0 && sb.checksum != Checksum::Bad).then(|| (sb.written, utc(sb.written)))
    };
    tell("md events", members.iter().map(of_md).collect());
    tell("LVM seqno", members.iter().map(of_lvm).collect());
    tell("file system written", members.iter().map(of_fs).collect());
    lines
}

/// One kind of evidence in words; nothing where fewer than two members have it.
fn line(
    kind: &str,
    members: &[(SharedSource, Bytes)],
    each: &[Option<(u64, String)>],
) -> Option<String> {
    let known: Vec<(&str, u64, &str)> = members
        .iter()
        .zip(each)
        .filter_map(|((source, _), told)| {
            let (number, words) = told.as_ref()?;
            Some((source.name(), *number, words.as_str()))
        })
        .collect();
    let most = known.iter().map(|(_, n, _)| *n).max()?;
    let ahead: Vec<&str> = known
        .iter()
        .filter(|(_, n, _)| *n == most)
        .map(|(m, ..)| *m)
        .collect();
    let list: Vec<String> = known
        .iter()
        .map(|(m, _, words)| format!("{m} {words}"))
        .collect();
    let verdict = match (known.len() == members.len(), ahead.len() == known.len()) {
        (false, _) => "not all have it".to_owned(),
        (true, true) => "the same on all".to_owned(),
        (true, false) => format!("{} ahead", ahead.join(" and ")),
    };
    Some(format!("{kind}: {verdict}: {}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use std::sync::Arc;

    fn members() -> Vec<(SharedSource, Bytes)> {
        let memory = |name: &str| {
            let source: SharedSource = Arc::new(Memory::new(name, vec![0; 4096]));
            (source, Bytes::ZERO)
        };
        vec![memory("sda"), memory("sdb")]
    }

    /// "The same" of one member alone, or a member without evidence taken for the older, would mislead.
    #[test]
    fn what_only_one_has_decides_nothing() {
        let told = |n: u64| Some((n, n.to_string()));
        let say = |each: &[Option<(u64, String)>]| line("md events", &members(), each);
        assert_eq!(say(&[None, None]), None);
        let cases = [
            ([told(5), None], "md events: not all have it: sda 5"),
            (
                [told(5), told(5)],
                "md events: the same on all: sda 5, sdb 5",
            ),
            ([told(5), told(7)], "md events: sdb ahead: sda 5, sdb 7"),
        ];
        for (each, words) in cases {
            assert_eq!(say(&each).unwrap(), words);
        }
        assert!(newer(&members()).is_empty());
    }
}
