//! The sealed answer of a drill: what its recipe noted while it made the images.

use crate::units::{Bytes, Extent};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a drill cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DrillError {
    /// The system refused.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        cause: std::io::Error,
    },
    /// The answer is not one.
    #[error("{}: {cause}", .path.display())]
    Answer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// An image does not unpack to what the answer says.
    #[error("{}: unpacks to SHA-256 {found}, the answer says {expected}; the corpus is damaged", .path.display())]
    Damaged {
        /// The packed image.
        path: PathBuf,
        /// What came out.
        found: String,
        /// What should have.
        expected: String,
    },
    /// An image cannot be unpacked.
    #[error("{}: {what}", .path.display())]
    Unpack {
        /// The packed image.
        path: PathBuf,
        /// Why not.
        what: String,
    },
}

/// An answer is kilobytes.
const LARGEST: u64 = 16 << 20;

/// The answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// In one line.
    pub title: String,
    /// Which variant of its recipe.
    pub variant: String,
    /// The damaged disks.
    pub disks: Vec<DiskAnswer>,
    /// The arrays before the damage.
    pub arrays: Vec<ArrayAnswer>,
    /// Mirror pairs of the array under the volumes, each sorted.
    pub pairs: Vec<Vec<String>>,
    /// How each pair differs after the damage.
    pub pair_differences: Vec<PairAnswer>,
    /// The volume group before the damage.
    pub vg: VgAnswer,
    /// Its volumes.
    pub lvs: Vec<LvAnswer>,
    /// What the disks' SMART outputs are to be taken for.
    pub smart: SmartAnswer,
}

/// A damaged disk.
#[derive(Clone, Debug, Deserialize)]
pub struct DiskAnswer {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// SHA-256 of its image.
    pub sha256: String,
}

/// An array before the damage.
#[derive(Clone, Debug, Deserialize)]
pub struct ArrayAnswer {
    /// Its level.
    pub level: String,
    /// Its layout.
    pub layout: Option<String>,
    /// Its chunk.
    pub chunk_kib: Option<u64>,
    /// Its members in order.
    pub members: Vec<String>,
}

/// How a pair differs, by a comparison that is none of ours.
#[derive(Clone, Debug, Deserialize)]
pub struct PairAnswer {
    /// The members.
    pub members: Vec<String>,
    /// Bytes compared.
    pub common_bytes: Bytes,
    /// The first that differs.
    pub first_difference: Option<Bytes>,
    /// How many differ.
    pub differing_bytes: u64,
}

/// The volume group before the damage.
#[derive(Clone, Debug, Deserialize)]
pub struct VgAnswer {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The last seqno.
    pub seqno: u64,
    /// SHA-256 of the last file in `/etc/lvm/backup`.
    pub file_sha256: String,
}

/// A volume before the damage.
#[derive(Clone, Debug, Deserialize)]
pub struct LvAnswer {
    /// Its name.
    pub name: String,
    /// SHA-256 of all its bytes.
    pub sha256: String,
    /// What the installer changed on any mirror.
    pub overwritten: Vec<Extent>,
    /// SHA-256 with those extents as zeros.
    pub sha256_outside: String,
    /// Some of its files.
    pub files: Vec<FileAnswer>,
}

/// A file of a volume.
#[derive(Clone, Debug, Deserialize)]
pub struct FileAnswer {
    /// The partition that it lies in, 0 for the volume itself.
    pub partition: u32,
    /// Its path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// The disks' health.
#[derive(Clone, Debug, Deserialize)]
pub struct SmartAnswer {
    /// The worst disk.
    pub worst: String,
    /// All with faults, one of a pair at most.
    pub faulty: Vec<String>,
}

impl Answer {
    /// Reads the answer of the drill in `folder`.
    ///
    /// # Errors
    /// [`DrillError`] where there is none.
    pub fn load(folder: &Path) -> Result<Answer, DrillError> {
        let path = folder.join("answer.json");
        let text = crate::file::read_small(&path, LARGEST).map_err(|cause| DrillError::Io {
            path: path.clone(),
            cause,
        })?;
        serde_json::from_slice(&text).map_err(|cause| DrillError::Answer { path, cause })
    }
}
