//! md, Linux software RAID: superblocks, geometry, mirror pairs, the guess of
//! a lost order, and the assembled array.

pub mod array;
pub mod galois;
pub mod geometry;
pub mod guess;
pub mod level;
pub mod order;
pub mod pairs;
pub mod sb0;
pub mod sb1;
pub mod stripe;
pub mod superblock;
