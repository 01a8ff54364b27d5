//! SMART: what smartctl's JSON says of a disk, what its numbers mean, and which disk to trust.
//!
//! Reports are read as loose JSON by typed getters: drives and versions of
//! smartctl differ too much for fixed structs. Raw values are decoded by
//! vendor before anything is made of them ([`decode`]); what each is worth
//! stands in one table ([`weights`]).
//!
//! ```text
//! load -> report (errors, selftest, lbas) -> assess -> rank -> matching -> half (cover)
//! ```

pub mod assess;
pub mod cover;
pub mod decode;
pub mod errors;
pub mod half;
pub mod lbas;
pub mod load;
pub mod matching;
pub mod rank;
pub mod report;
pub mod selftest;
pub mod trend;
pub mod weights;
