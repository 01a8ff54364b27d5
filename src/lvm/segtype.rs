//! Types of segments: which lie where the text says, by which level and layout, and what the others need.
//!
//! | type | as md's |
//! |---|---|
//! | `striped` (`linear`) | raid0 over members of one size |
//! | `mirror`, `raid1` | raid1; of a `mirror` that `pvmove` makes, [one area](Segment::moved) |
//! | `raid0`, `raid0_meta` | raid0 |
//! | `raid4` | raid5, parity-first |
//! | `raid5`, `raid5_ls`, `_la`, `_rs`, `_ra`, `_n` | raid5, the layout of the same letters; `_n` parity-last |
//! | `raid6`, `raid6_zr`, `_nr`, `_nc` | raid6, ddf-zero-restart, ddf-N-restart, ddf-N-continue |
//! | `raid6_ls_6`, `_la_6`, `_rs_6`, `_ra_6`, `_n_6` | raid6, the `-6` layouts; `_n_6` parity-last |
//! | `raid10`, `raid10_near` | raid10, near copies |
//!
//! Source: the table of types in the kernel's `drivers/md/dm-raid.c`, and
//! lvm2's `lib/raid/raid.c`; held against the kernel by `tests/lab/histories`.

use super::metadata::VolumeGroup;
use super::segment::Segment;
use crate::md::level::Level;
use crate::units::Sectors;
use thiserror::Error;

/// How a segment lies on its areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// In stripes; over one area: as it is.
    Striped,
    /// On images, by a level and layout of md's.
    Images(Level, Option<&'static str>),
    /// On one of its areas alone, by its number, as it is: `pvmove` was moving it.
    Moved(usize),
    /// Nowhere: a place holder for what was lost.
    Error,
}

/// Why a segment's bytes are not where the text alone says, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Needs {
    /// A thin volume.
    #[error(
        "where its blocks lie is written in the metadata of thin pool {0}, and not in the text; restore the group \
         with vgcfgrestore --force and activate it, or export {0}'s metadata and data volumes"
    )]
    Pool(String),
    /// A thin pool itself.
    #[error("a thin pool has no bytes of its own; its parts {0} can be exported")]
    Parts(String),
    /// A volume behind a cache.
    #[error(
        "its newest bytes may lie in the cache {cache} only; restore the group and activate it, or export {origin}, \
         which is all of it where the cache was written through"
    )]
    Cache {
        /// The cache.
        cache: String,
        /// The volume without it.
        origin: String,
    },
    /// A vdo volume.
    #[error(
        "its blocks are compressed in the vdo pool {0}; restore the group and activate it, with the vdo module"
    )]
    Vdo(String),
    /// A volume with checksums beside it.
    #[error(
        "its bytes are interleaved with checksums or logged; restore the group and activate it"
    )]
    Integrity,
    /// A reshape or change of level that had not ended.
    #[error(
        "it was being reshaped ({0}): how far is known to its own metadata only; restore the group and let the kernel \
         go on"
    )]
    Reshape(String),
    /// A type that is not known.
    #[error("the type is not known")]
    Unknown,
}

/// How a segment lies.
///
/// # Errors
/// [`Needs`] where the text alone does not say.
pub fn lies(segment: &Segment) -> Result<Lies, Needs> {
    let used = |key: &str| {
        let found = segment.uses.iter().find(|u| u.key == key);
        found.map_or_else(|| "?".to_owned(), |u| u.lv.clone())
    };
    reshaped(segment)?;
    if let Some(area) = segment.moved() {
        return Ok(Lies::Moved(area));
    }
    let images = |level, layout| Ok(Lies::Images(level, layout));
    match segment.kind.as_str() {
        "striped" | "linear" => Ok(Lies::Striped),
        "error" => Ok(Lies::Error),
        "mirror" | "raid1" => images(Level::Raid1, None),
        "raid0" | "raid0_meta" => images(Level::Raid0, None),
        "raid4" => images(Level::Raid5, Some("parity-first")),
        "raid5" | "raid5_ls" => images(Level::Raid5, Some("left-symmetric")),
        "raid5_la" => images(Level::Raid5, Some("left-asymmetric")),
        "raid5_rs" => images(Level::Raid5, Some("right-symmetric")),
        "raid5_ra" => images(Level::Raid5, Some("right-asymmetric")),
        "raid5_n" => images(Level::Raid5, Some("parity-last")),
        "raid6" | "raid6_zr" => images(Level::Raid6, Some("ddf-zero-restart")),
        "raid6_nr" => images(Level::Raid6, Some("ddf-N-restart")),
        "raid6_nc" => images(Level::Raid6, Some("ddf-N-continue")),
        "raid6_ls_6" => images(Level::Raid6, Some("left-symmetric-6")),
        "raid6_la_6" => images(Level::Raid6, Some("left-asymmetric-6")),
        "raid6_rs_6" => images(Level::Raid6, Some("right-symmetric-6")),
        "raid6_ra_6" => images(Level::Raid6, Some("right-asymmetric-6")),
        "raid6_n_6" => images(Level::Raid6, Some("parity-last")),
        "raid10" | "raid10_near" => near(segment),
        "thin" => Err(Needs::Pool(used("thin_pool"))),
        "thin-pool" => Err(Needs::Parts(format!(
            "{} and {}",
            used("metadata"),
            used("pool")
        ))),
        "cache" => Err(Needs::Cache {
            cache: used("cache_pool"),
            origin: used("origin"),
        }),
        "writecache" => Err(Needs::Cache {
            cache: used("writecache"),
            origin: used("origin"),
        }),
        "cache-pool" => Err(Needs::Parts(format!(
            "{} and {}",
            used("metadata"),
            used("data")
        ))),
        "vdo" => Err(Needs::Vdo(used("vdo_pool"))),
        "vdo-pool" => Err(Needs::Vdo("itself".to_owned())),
        "integrity" => Err(Needs::Integrity),
        _ => Err(Needs::Unknown),
    }
}

/// raid10 has near copies only, two where the text does not say.
fn near(segment: &Segment) -> Result<Lies, Needs> {
    let layout = match segment.data_copies.unwrap_or(2) {
        2 => "n2",
        3 => "n3",
        4 => "n4",
        _ => return Err(Needs::Unknown),
    };
    Ok(Lies::Images(Level::Raid10, Some(layout)))
}

/// An array that is between two shapes lies partly in the one and partly in the other.
fn reshaped(segment: &Segment) -> Result<(), Needs> {
    if let Some(flag) = segment.kind_flags.iter().find(|f| *f == "RESHAPE") {
        return Err(Needs::Reshape(flag.clone()));
    }
    if let Some(count) = segment.reshape_count.filter(|n| *n != 0) {
        return Err(Needs::Reshape(format!("by {count} images")));
    }
    match segment.data_offset {
        // The kernel keeps the space for the next reshape before or behind the data, and tells which only in its own
        // metadata.
        Some(offset) if offset > Sectors(0) => Err(Needs::Reshape(format!(
            "space of {} sectors is kept in its images",
            offset.0
        ))),
        _ => Ok(()),
    }
}

/// Whether a volume is an old-style snapshot, which holds only what changed, or is being merged with one, and so is of two
/// times: then what it needs.
pub fn is_snapshot(vg: &VolumeGroup, lv: &str) -> Option<String> {
    fn named<'a>(segment: &'a Segment, key: &str) -> Option<&'a str> {
        let of = segment.uses.iter().find(|u| u.key == key);
        of.map(|u| u.lv.as_str())
    }
    let segments = vg.lvs.iter().flat_map(|l| &l.segments);
    let mut snapshots = segments.filter(|s| s.kind == "snapshot");
    let merged = snapshots
        .clone()
        .find(|s| named(s, "origin") == Some(lv) && named(s, "merging_store").is_some());
    if let Some(store) = merged.and_then(|s| named(s, "merging_store")) {
        return Some(format!(
            "{store} was being merged into it: what was not yet is in that one only; restore the group and activate it"
        ));
    }
    let stores = ["cow_store", "merging_store"];
    let snapshot = snapshots.find(|s| stores.iter().any(|key| named(s, key) == Some(lv)))?;
    let origin = named(snapshot, "origin").unwrap_or("its origin");
    Some(format!(
        "it holds only what has changed since in {origin}; restore the group and activate it; {origin} itself can be exported"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::text;

    fn segment(fields: &str) -> Segment {
        let text = format!(
            "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 extent_size = 8 logical_volumes {{ lv {{\n\
             segment1 {{ start_extent = 0 extent_count = 4 {fields} }} }} }} }}"
        );
        let vg = VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap();
        vg.lvs[0].segments[0].clone()
    }

    /// While a snapshot is merged its origin is of two times; whole it only looks.
    #[test]
    fn an_origin_that_is_merged_is_refused() {
        let group = |store: &str| {
            let text = format!(
                "vg {{ id = \"NiG3aN-yC2h-ZuGA-gD3s-9P0o-0YJn-SIBoU6\" seqno = 1 extent_size = 8 logical_volumes {{ snapshot0 {{\n\
                 segment1 {{ start_extent = 0 extent_count = 4 type = \"snapshot\" origin = \"web\" {store} = \"old\" }} }} }} }}"
            );
            VolumeGroup::from_section(&text::section(text.as_bytes()).value).unwrap()
        };
        let (kept, merged) = (group("cow_store"), group("merging_store"));
        assert_eq!(is_snapshot(&kept, "web"), None);
        assert!(
            is_snapshot(&merged, "web")
                .unwrap()
                .contains("old was being merged")
        );
        for vg in [kept, merged] {
            assert!(
                is_snapshot(&vg, "old")
                    .unwrap()
                    .contains("only what has changed")
            );
            assert_eq!(is_snapshot(&vg, "other"), None);
        }
    }

    /// A volume in the middle of a reshape, read by either shape, gives a mixture that looks whole.
    #[test]
    fn reshapes_are_refused() {
        for fields in [
            "type = \"raid5+RESHAPE\"",
            "type = \"raid5_ls\" reshape_count = 1",
            "type = \"raid5_ls\" data_offset = 2048",
        ] {
            assert!(
                matches!(lies(&segment(fields)), Err(Needs::Reshape(_))),
                "{fields}"
            );
        }
        assert!(lies(&segment("type = \"raid5_ls\"")).is_ok());
    }

    /// The refusal is all that a person has to go on: it names the volumes that hold the bytes.
    #[test]
    fn refusals_name_what_is_needed() {
        let refusal = |fields: &str| lies(&segment(fields)).unwrap_err().to_string();
        assert!(refusal("type = \"thin\" thin_pool = \"pool0\"").contains("pool0"));
        let cache = refusal("type = \"cache\" cache_pool = \"fast\" origin = \"web_corig\"");
        assert!(cache.contains("fast") && cache.contains("web_corig"));
        assert!(refusal("type = \"raid7\"").contains("not known"));
    }
}
