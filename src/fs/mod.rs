//! File systems: recognising ([`probe`]), proving ([`ext_check`]) and reading
//! them ([`browse`], [`copy`]).
//!
//! | module | what it knows |
//! |---|---|
//! | [`probe`] | what begins at a source's start |
//! | [`ext`], [`ext_features`] | ext's superblock and feature bits |
//! | [`ext_group`], [`ext_inode`], [`ext_folder`] | group descriptors; inodes and block maps; names |
//! | [`ext_find`] | which copies to believe when the front is lost |
//! | [`ext_journal`] | the journal, replayed in memory |
//! | [`ext_check`], [`ext_report`] | whether a volume hangs together |
//! | [`browse`], [`entry`], [`view`], [`copy`] | folders and files, through a view made for reading; copying them out |
//! | [`ext_owner`] | whose blocks given extents are |
//! | [`xfs`], [`btrfs`], [`swap`], [`luks`] | enough to recognise one |
//! | [`marks`] | by which magics they are found anywhere on a disk |

pub mod browse;
pub mod btrfs;
pub mod btrfs_locate;
pub mod copy;
pub mod entry;
pub mod ext;
pub mod ext_check;
pub mod ext_features;
pub mod ext_find;
pub mod ext_folder;
pub mod ext_group;
pub mod ext_inode;
pub mod ext_journal;
pub mod ext_locate;
pub mod ext_owner;
pub mod ext_report;
pub mod locate;
pub mod luks;
pub mod marks;
pub mod probe;
pub mod swap;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
pub mod xfs;
pub mod xfs_locate;

use crate::parse::printable;

/// A fixed field of text, up to its first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    printable(field.get(..end).unwrap_or_default())
}

/// A UUID as libuuid writes it.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    let plain = hex::encode(bytes);
    [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        .map(|(from, to)| plain.get(from..to).unwrap_or_default())
        .join("-")
}
