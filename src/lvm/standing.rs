//! What the headers of metadata areas say of the texts of one group.
//!
//! A sound header that is not ignored points at the text that was committed:
//! that is the group's state for lvm2, and of several areas the highest seqno,
//! as a disk that was away has an older one. A person wants the same, and two
//! things that look better may not be:
//!
//! - a clock that was ahead leaves an older text with a later time;
//! - what `pvmove` or `lvconvert -m0` leaves behind looks like the start of a
//!   volume at its old place, and where its new place lost its start, the older
//!   text seems to be the right one.
//!
//! So whatever the committed state has followed stands behind it: lower numbers
//! whatever their time, other states of its own number, and higher numbers that
//! were written earlier, as from before a `vgcfgrestore`. A higher number that
//! was written later stands behind only where it lies in an area whose header
//! points at another text, as what a command began and never committed.
//! Anywhere else (a file, a ring without its header) it may be what was there
//! when that header was lost on the other disks: it is ranked as if there were
//! no header, and `investigate` doubts it where it is taken.
//!
//! The committed state need not be the one that is wanted: the accident may
//! have been a command of lvm2's, a `vgcfgrestore` of a wrong backup. Nothing in
//! the texts tells that from a `pvmove`, and both show in the data alone. So
//! the committed text stays the first, and where the data contradict it that is
//! a doubt that names the other text. So is another state that a sound header
//! commits and that no number puts behind the chosen one: one of its own number,
//! as of disks that were used apart, or of a lower one and a later time, as of a
//! `vgcfgrestore` that did not reach all disks. The text of a group that was made
//! anew has another id, and nothing here touches that.

use super::candidates::Candidate;
use super::carve::Pointed;

/// What a text is compared with: seqno and time of what is committed.
#[derive(Clone, Copy)]
struct Committed {
    seqno: u64,
    time: Option<u64>,
}

/// Says of the texts of a group, all whole, which of them are older than what is committed.
pub(super) fn judge(candidates: &mut [Candidate], group: &[usize]) {
    let texts = group.iter().filter_map(|i| candidates.get(*i));
    let pointed = texts.filter(|c| c.usable() && c.carved.pointed == Pointed::Committed);
    let age = |c: &Candidate| (c.carved.vg.seqno, c.carved.about.creation_time);
    let Some((seqno, time)) = pointed.map(age).max() else {
        return;
    };
    let newest = Committed { seqno, time };
    for index in group {
        if let Some(candidate) = candidates.get_mut(*index) {
            candidate.superseded_by = is_older(candidate, newest).then_some(seqno);
        }
    }
}

fn is_older(candidate: &Candidate, newest: Committed) -> bool {
    let carved = &candidate.carved;
    if carved.vg.seqno <= newest.seqno {
        return carved.vg.seqno < newest.seqno || !candidate.committed;
    }
    let earlier = carved.about.creation_time.zip(newest.time);
    carved.pointed == Pointed::Elsewhere || earlier.is_some_and(|(this, newest)| this < newest)
}

/// That in words.
pub(super) fn told(candidate: &Candidate) -> Option<String> {
    match (candidate.carved.pointed, candidate.superseded_by) {
        (_, Some(seqno)) => Some(format!(
            "a metadata area's header points at another text as committed, seqno {seqno}"
        )),
        (Pointed::Committed, None) => Some(
            "a metadata area's header points at it as committed: it is what lvm2 takes".to_owned(),
        ),
        (_, None) => candidate.committed.then(|| {
            "a metadata area's header points at a text of this state as committed".to_owned()
        }),
    }
}

/// What a text that is taken has against it on the disks, a sentence each: the data, or a header that points at another.
pub fn doubts(chosen: &Candidate, texts: &[Candidate]) -> Vec<String> {
    let doubts = [
        contradicted(chosen, texts),
        not_committed(chosen, texts),
        disputed(chosen, texts),
    ];
    doubts.into_iter().flatten().collect()
}

/// The text of the group that the data contradict least, where that is another one.
fn contradicted(chosen: &Candidate, texts: &[Candidate]) -> Option<String> {
    let against = chosen.proof.filter(|proof| proof.against > 0)?.against;
    let others = texts.iter().filter(|text| {
        let same = text.carved.vg.id == chosen.carved.vg.id;
        let less = text.proof.is_some_and(|proof| proof.against < against);
        same && text.usable() && less
    });
    // The texts are in order of rank: of two that are as good the first.
    let best = others.min_by_key(|text| text.proof.map(|proof| proof.against));
    let other = best.map_or_else(
        || "no text has them all".to_owned(),
        |text| {
            format!(
                "seqno {} has more of them where they are; which of the two is right the disks do not tell",
                text.carved.vg.seqno
            )
        },
    );
    Some(format!(
        "the text of {} is seqno {}, and of its volumes {against} show their start only where another text puts them: {other}",
        chosen.carved.vg.name, chosen.carved.vg.seqno
    ))
}

/// A header's committed text that is not the chosen one. One without volumes is what `vgremove` or the last `lvremove` left,
/// and passed over on purpose.
fn not_committed(chosen: &Candidate, texts: &[Candidate]) -> Option<String> {
    let pointed = texts.iter().filter(|text| {
        let carved = &text.carved;
        let same = carved.vg.id == chosen.carved.vg.id;
        same && carved.pointed == Pointed::Committed && carved.complete
    });
    let newest = pointed.max_by_key(|text| text.carved.vg.seqno)?;
    let passed = !chosen.committed && !newest.carved.vg.lvs.is_empty();
    passed.then(|| {
        format!(
            "the text of {} is seqno {}, and a metadata area's header points at seqno {} as committed, which is what lvm2 \
             itself takes",
            chosen.carved.vg.name, chosen.carved.vg.seqno, newest.carved.vg.seqno
        )
    })
}

/// A state that another header commits, and that the chosen one's number does not put behind it.
fn disputed(chosen: &Candidate, texts: &[Candidate]) -> Option<String> {
    let age = |text: &Candidate| (text.carved.vg.seqno, text.carved.about.creation_time);
    let (seqno, time) = age(chosen);
    let mut state = None;
    let mut is_same = |text: &Candidate| {
        let state = state.get_or_insert_with(|| chosen.carved.vg.without_hints());
        text.carved.vg.without_hints() == *state
    };
    let others = texts.iter().filter(|text| {
        let (other, written) = age(text);
        let later = written.zip(time).is_some_and(|(w, t)| w > t);
        let pointed = text.carved.pointed == Pointed::Committed && text.usable();
        let group = text.carved.vg.id == chosen.carved.vg.id;
        group && pointed && ((other < seqno && later) || (other == seqno && !is_same(text)))
    });
    let other = others.max_by_key(|text| age(text))?;
    let (number, _) = age(other);
    let how = match number == seqno {
        true => "another state of that number, as where disks were used apart".to_owned(),
        false => format!(
            "seqno {number}, which was written later, as by a vgcfgrestore that did not reach all disks"
        ),
    };
    Some(format!(
        "the text of {} is seqno {seqno}, and the header of another metadata area commits {how}: which of the two is right \
         the disks do not tell",
        chosen.carved.vg.name
    ))
}
