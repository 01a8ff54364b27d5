//! SMART: what smartctl's JSON says of a disk, what its numbers mean, and which disk to trust.
//!
//! Reports are read as loose JSON by typed getters: drives and versions of
//! smartctl differ too much for fixed structs. Raw values are decoded by
//! vendor before anything is made of them ([`decode`]); what each is worth
//! stands in one table ([`weights`]).

pub mod decode;
pub mod half;
pub mod load;
pub mod rank;
pub mod report;
pub mod weights;
