//! md, Linux software RAID: superblocks, geometry, mirror pairs, the guess of
//! a lost order, and the assembled array.

pub mod agreement;
mod answer;
pub mod array;
pub mod assign;
pub mod badblocks;
pub mod bitmap;
pub mod clues;
pub mod compare;
pub mod continuity;
pub mod copied;
pub mod ddf;
pub mod examine;
mod finalist;
pub mod firmware;
pub mod galois;
pub mod geometry;
pub mod guess;
pub mod hypothesis;
pub mod imsm;
pub mod level;
pub mod linear;
pub mod otherside;
pub mod outcome;
pub mod pairs;
pub mod regions;
pub mod relations;
pub mod remains;
pub mod reshape;
pub mod sample;
pub mod sb0;
pub mod sb1;
pub mod seams;
pub mod stripe;
pub mod superblock;
pub mod verify;
pub mod votes;
