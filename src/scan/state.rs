//! How far a scan has come: what is kept of it so that a later one can go on.
//!
//! Hits are kept, not findings: they are small, and asking the formats again
//! takes no time beside the pass.

use super::Mark;
use crate::units::{Bytes, Extent, merge};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

/// How far the scan of one source has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// All before it has been read and searched.
    pub at: Bytes,
    /// What was hit so far.
    pub(super) hits: Vec<(Mark, Bytes)>,
    /// What could not be read so far.
    pub(super) gaps: Vec<Extent>,
    /// The hash of all before [`State::at`] in its inner form, in hexadecimal; `None` where nothing is hashed.
    hash: Option<String>,
}

impl State {
    /// The hash as it stands, to go on with; `None` where none was kept or it makes no sense.
    pub(super) fn hash(&self) -> Option<Sha256> {
        let bytes = hex::decode(self.hash.as_ref()?).ok()?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
        Sha256::deserialize(&state).ok()
    }

    /// Moves on to `at`, with the hash of all before it.
    pub(super) fn advance(&mut self, at: Bytes, gaps: &[Extent], hash: Option<&Sha256>) {
        self.at = at;
        if !gaps.is_empty() {
            self.gaps.extend_from_slice(gaps);
            self.gaps = merge(std::mem::take(&mut self.gaps));
        }
        self.hash = hash.map(|h| hex::encode(h.serialize()));
    }
}

/// Keeps states somewhere while a scan runs.
pub trait Keeper: Sync {
    /// The state of the source with this number among those that are scanned; called after every block.
    fn keep(&self, number: usize, state: &State);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    /// A hash that goes on from a state and ends otherwise than the unbroken one would accuse the evidence of a change.
    #[test]
    fn a_kept_hash_goes_on() {
        let hash = Sha256::new().chain_update([7; 1000]);
        let mut state = State::default();
        state.advance(Bytes(1000), &[], Some(&hash));
        let text = serde_json::to_string(&state).unwrap();
        let state: State = serde_json::from_str(&text).unwrap();
        let all = state.hash().unwrap().chain_update([8; 99]).finalize();
        let whole = Sha256::new().chain_update([7; 1000]).chain_update([8; 99]);
        assert_eq!(all, whole.finalize());
        for broken in ["", "zz", "00"] {
            let hash = Some(broken.to_owned());
            let state = State {
                hash,
                ..state.clone()
            };
            assert!(state.hash().is_none());
        }
    }
}
