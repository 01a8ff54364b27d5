//! What is kept of an investigation: the case folder with its manifest, and the leading sectors.

pub mod case;
pub mod leading;
pub mod resume;
