//! How much of each member may be read, whatever is tried: one bound that all passes share.

use super::shared;
use crate::image::Pieces;
use crate::image::metered::{Meter, Metered};
use crate::md::guess::Member;
use crate::md::sample;
use crate::units::{Bytes, Extent};

/// Bytes of a member that a search reads at most, all passes and single pages together.
pub const BUDGET: Bytes = Bytes::mib(256);

/// Of those, what passes leave for looking up single pages.
const RESERVE: Bytes = Bytes::mib(24);

/// Passes over a sample: one for superblocks, one for the structures of what they name.
const PASSES: u64 = 2;

/// A pass over less than this of each member is not worth it.
pub(super) const LEAST: Bytes = Bytes::mib(4);

/// Members, each behind its meter.
pub(super) struct Effort {
    members: Vec<Member>,
    meters: Vec<Meter>,
}

impl Effort {
    /// The members of a new search.
    pub(super) fn new(members: &[Member]) -> Effort {
        let meters: Vec<Meter> = members.iter().map(|_| Meter::new(BUDGET)).collect();
        let behind = |(member, meter): (&Member, &Meter)| Member {
            source: shared(Metered::new(member.source.clone(), meter.clone())),
            ..member.clone()
        };
        Effort {
            members: members.iter().zip(&meters).map(behind).collect(),
            meters,
        }
    }

    /// Some of the members, with what was read of them.
    pub(super) fn part(&self, indices: &[usize]) -> Effort {
        let members = indices.iter().filter_map(|i| self.members.get(*i));
        let meters = indices.iter().filter_map(|i| self.meters.get(*i));
        Effort {
            members: members.cloned().collect(),
            meters: meters.cloned().collect(),
        }
    }

    /// An extent of each member.
    pub(super) fn cut(&self, extent: Extent) -> Effort {
        let cut = |member: &Member| {
            let source = &member.source;
            let whole = Extent::new(Bytes::ZERO, source.len());
            let part = extent.overlap(whole).unwrap_or_default();
            Member {
                source: shared(Pieces::slice(source.name(), source.clone(), part)),
                ..member.clone()
            }
        };
        Effort {
            members: self.members.iter().map(cut).collect(),
            meters: self.meters.clone(),
        }
    }

    /// The members.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether a member is among these, by its name.
    pub(super) fn has(&self, member: &Member) -> bool {
        let name = member.source.name();
        self.members.iter().any(|m| m.source.name() == name)
    }

    /// What each pass of the next two may read of a member, where so many pairs of passes share what is left.
    pub(super) fn pass(&self, share: u64) -> Bytes {
        let left = self.meters.iter().map(Meter::left).min();
        let left = left.unwrap_or_default() - RESERVE;
        Bytes(left.0 / share / PASSES).min(sample::BUDGET)
    }

    /// The most that was read of any member.
    pub(super) fn read(&self) -> Bytes {
        self.meters
            .iter()
            .map(Meter::read)
            .max()
            .unwrap_or_default()
    }

    /// Whether a read was refused.
    pub(super) fn is_exhausted(&self) -> bool {
        self.meters.iter().any(Meter::has_refused)
    }
}
