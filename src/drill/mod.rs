//! Drills: damaged images with a sealed answer, to practise on and to be scored against.
//!
//! A drill is a folder with one `NAME.img.zst` for each disk, the disks'
//! `smart/` outputs, and `answer.json`, which the recipe wrote when it made
//! the images.

pub mod answer;
pub mod score;
pub mod unpack;
