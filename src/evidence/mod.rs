//! What is kept of an investigation: the case folder with its manifest, leading sectors, backups; and how the kernel
//! keeps the program from writing anything else.

pub mod backup;
pub mod case;
pub mod confine;
pub mod leading;
pub mod newfile;
pub mod resume;
