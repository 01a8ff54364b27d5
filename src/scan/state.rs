//! How far a scan has come: what is kept of it so that a later one can go on.
//!
//! Hits are kept, not findings: they are small, and asking the formats again
//! takes no time beside the pass.

use super::Mark;
use crate::units::{Bytes, Extent, merge};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
    /// The hash of all before [`State::at`]; `None` where nothing is hashed.
    hash: Option<Hash>,
}

/// A hash in the middle of its work; written down, its inner form in hexadecimal.
#[derive(Clone, Debug)]
struct Hash(Sha256);

impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.0.serialize() == other.0.serialize()
    }
}

impl Eq for Hash {}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(self.0.serialize()))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let bytes = hex::decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        let state =
            SerializedState::<Sha256>::try_from(bytes.as_slice()).map_err(D::Error::custom)?;
        Sha256::deserialize(&state)
            .map(Hash)
            .map_err(D::Error::custom)
    }
}

impl State {
    /// The hash as it stands, to go on with; `None` where none was kept.
    pub(super) fn hash(&self) -> Option<Sha256> {
        self.hash.as_ref().map(|hash| hash.0.clone())
    }

    /// Moves on to `at`, with the hash of all before it.
    pub(super) fn advance(&mut self, at: Bytes, gaps: &[Extent], hash: Option<&Sha256>) {
        self.at = at;
        if !gaps.is_empty() {
            self.gaps.extend_from_slice(gaps);
            self.gaps = merge(std::mem::take(&mut self.gaps));
        }
        self.hash = hash.cloned().map(Hash);
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
            let text = serde_json::to_string(
                &serde_json::json!({"at": 0, "hits": [], "gaps": [], "hash": broken}),
            );
            assert!(
                serde_json::from_str::<State>(&text.unwrap()).is_err(),
                "{broken}"
            );
        }
    }
}
