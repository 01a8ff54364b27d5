//! disinter digs buried volumes back up.
//!
//! It reads raw images and block devices of Linux storage that was damaged
//! (an installer ran over it, superblocks were zeroed), never writes to them,
//! works out what was there, and leaves evidence and review scripts.
//!
//! # The map
//!
//! Data flows one way, and every module is one stop on it or one format. A
//! lower one knows nothing of a higher one; only `cli` knows the terminal.
//! Formats stand beside each other: one may take another's magic, to name what
//! it sees, and nothing more; what ties them together is [`investigate`]'s.
//!
//! ```text
//! images -> sweep -> findings -> candidates -> layout -> volumes -> checks -> scripts, report
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`units`] | bytes, sectors, extents as types |
//! | [`parse`] | what parsing can say |
//! | [`file`](mod@file) | small files that are read whole |
//! | [`image`] | read-only sources and the sweep |
//! | [`disk`] | partition tables |
//! | [`md`] | superblocks, geometry, pairs, guess, the assembled array |
//! | [`lvm`] | label, metadata area, text, carving, ranking, volumes |
//! | [`files`] | what files say of their own bytes further on |
//! | [`fs`] | recognising, checking and reading file systems |
//! | [`investigate`] | the whole way: which volumes are an array, which text, what damage |
//! | [`script`] | the review scripts |
//! | [`evidence`] | the case folder, backups, the sandbox |
//! | [`smart`] | smartctl JSON, the health of a disk, ranking |
//! | [`doctor`] | whether a rescue environment is fit for the scripts |
//!
//! # Rules
//!
//! 1. Nothing here can write to a source: [`image::Source`] has no such method.
//! 2. Bytes from an image are hostile: no panic, no allocation by an untrusted length.
//! 3. A read error is not zeros: [`image::Gaps`] travel up to the answer.
//! 4. An answer carries its evidence; an ambiguous one says so.
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod disk;
pub mod doctor;
pub mod drill;
pub mod evidence;
pub mod file;
pub mod files;
pub mod fs;
pub mod image;
pub mod inputs;
pub mod investigate;
pub mod layout;
pub mod lvm;
pub mod md;
pub mod parse;
pub mod report;
pub mod scan;
pub mod script;
pub mod smart;
pub mod units;
