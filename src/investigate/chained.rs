//! File systems that go on from one member to the next where nothing says where they start: a linear array whose volume
//! group's texts are lost.
//!
//! What each member shows of one file system gives how far the member lies
//! before or behind the others. All members so tied to each other are a chain,
//! and its steps, beside the members' lengths, say where their data start. One
//! member may show nothing: it has the place that is left.

use crate::lvm::label::Label;
use crate::md::clues::{Base, Family};
use crate::md::guess::{Guess, Member};
use crate::md::level::Level;
use crate::md::linear::starts_of;
use crate::md::sample::Sample;
use crate::parse::Checksum;
use crate::units::{Bytes, SECTOR, Sectors};

/// Data start on multiples of so much; a member's end may be rounded down by less.
const GRAIN: i128 = 1024 * SECTOR as i128;

/// No array's data start further on than this.
const FURTHEST: i128 = 256 << 20;

/// Where a file system would start on a member, if it began there; before the member's first byte as less than zero.
type Start = (usize, i128);

/// The file systems, each with its start in the array that the members are in line; `None` where nothing ties them.
pub(super) fn families(
    families: &[Family],
    sample: &Sample,
    lengths: &[Bytes],
) -> Option<Vec<Family>> {
    let starts = |family: &Family| -> Vec<Start> {
        let starts = starts_of(family, sample, lengths.len());
        let told = (0..).zip(starts);
        told.filter_map(|(member, start)| Some((member, start?)))
            .collect()
    };
    let starts: Vec<Vec<Start>> = families.iter().map(starts).collect();
    let origins = origins(&starts, lengths.len())?;
    let told = origins.iter().zip(0..);
    let mut order: Vec<(i128, usize)> = told.filter_map(|(at, m)| Some(((*at)?, m))).collect();
    order.sort_unstable();
    if order.len() + 1 < lengths.len() {
        return None;
    }
    let room = order.windows(2).map(|pair| match pair {
        [(at, member), (next, _)] if next > at => {
            Some(i128::from(lengths.get(*member)?.0) - (next - at))
        }
        _ => None,
    });
    let room: Vec<i128> = room.collect::<Option<_>>()?;
    let data = room.into_iter().min()?.div_euclid(GRAIN) * GRAIN;
    let first = order.first()?.0 + data;
    let with_base = |(family, starts): (&Family, &Vec<Start>)| {
        let start = starts.first().and_then(|(member, start)| {
            let at = (*origins.get(*member)?)? + start - first;
            u64::try_from(at).ok().map(Bytes)
        });
        Family {
            bases: start
                .map(|at| Base::at("a volume", at))
                .into_iter()
                .collect(),
            ..family.clone()
        }
    };
    let all = families.iter().zip(&starts).map(with_base);
    (0..=FURTHEST).contains(&data).then(|| all.collect())
}

/// Where each member's first byte lies beside the others', as far as the file systems tie them; `None` where they disagree.
fn origins(families: &[Vec<Start>], members: usize) -> Option<Vec<Option<i128>>> {
    let mut origins: Vec<Option<i128>> = vec![None; members];
    let (first, _) = families.iter().find(|starts| starts.len() > 1)?.first()?;
    *origins.get_mut(*first)? = Some(0);
    // Each round ties one member more at least, or none is left that can be.
    for _ in 0..members {
        for starts in families {
            let of = |(member, start): &Start| origins.get(*member).copied()?.map(|at| at + start);
            let Some(begins) = starts.iter().find_map(of) else {
                continue;
            };
            for (member, start) in starts {
                let origin = origins.get_mut(*member)?;
                if *origin.get_or_insert(begins - start) != begins - start {
                    return None;
                }
            }
        }
    }
    Some(origins)
}

/// Whether a linear array's first member says itself that more follows: an LVM label there, of a longer volume.
pub(super) fn says_more(members: &[Member], guess: &Guess) -> bool {
    let name = guess.members.first().and_then(Option::as_deref);
    let first = members.iter().find(|m| Some(m.source.name()) == name);
    let data = Bytes::from(Sectors(guess.data_offset_sectors));
    first.is_some_and(|member| {
        let label = Label::all(&*member.source, data).next();
        label.is_some_and(|l| l.checksum == Checksum::Ok && l.device_size > member.source.len())
    })
}

/// Says of a linear array told by file systems that go on alone what else would look so.
pub(super) fn doubt(guess: &mut Guess) {
    if guess.level == Some(Level::Linear) {
        guess.ambiguous = true;
        guess.evidence.push(
            "file systems go on from member to member; volumes of LVM over the members, one behind the other, would lie \
             just so, and no label says which it is"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::progress::Silent;
    use crate::md::clues::Sighting;

    /// A file system with structures at these places on members, which starts there.
    fn family(starts: &[(usize, i128)]) -> Family {
        let sighting = |(member, start): &(usize, i128), i: i128| Sighting {
            member: *member,
            at: Bytes(u64::try_from(start.max(&0) + (i << 20)).unwrap()),
            logical: Bytes(u64::try_from(start.max(&0) + (i << 20) - start).unwrap()),
        };
        let sightings = starts
            .iter()
            .flat_map(|s| (1..6).map(move |i| sighting(s, i)));
        Family {
            sightings: sightings.collect(),
            ..Family::default()
        }
    }

    /// Three members of 100 MiB whose data start at 1 MiB, given as the second, the first, the third: a volume from
    /// 50 MiB of the array on goes over all. One that contradicts, or two members that nothing ties, leave all open.
    #[test]
    fn members_in_line() {
        const MIB: i128 = 1 << 20;
        let lengths = [Bytes::mib(100); 3];
        let sample = Sample::take(&[], Vec::new(), &Silent, &mut |_, _, _| {});
        let families = |all: &[Family]| families(all, &sample, &lengths);
        let long = family(&[(1, 51 * MIB), (0, -48 * MIB), (2, -147 * MIB)]);
        let short = family(&[(2, 20 * MIB)]);
        let found = families(&[long.clone(), short.clone()]).unwrap();
        let base = |i: usize| found[i].bases[0].map(Bytes::ZERO);
        assert_eq!(base(0), Some(Bytes::mib(50)));
        assert_eq!(base(1), Some(Bytes::mib(217)));
        let other = family(&[(1, 10 * MIB), (0, -80 * MIB)]);
        assert_eq!(families(&[long, other]), None);
        assert_eq!(families(&[short]), None);
    }
}
