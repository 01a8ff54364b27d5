//! md, Linux software RAID: superblocks, geometry, mirror pairs, the guess of
//! a lost order, and the assembled array.

mod answer;
pub mod array;
pub mod assign;
pub mod clues;
pub mod galois;
pub mod geometry;
pub mod guess;
pub mod hypothesis;
pub mod level;
pub mod linear;
pub mod pairs;
pub mod relations;
pub mod sample;
pub mod sb0;
pub mod sb1;
pub mod stripe;
pub mod superblock;
pub mod verify;
pub mod votes;
