//! File systems and what else can fill a volume: recognising, checking, reading.

pub mod browse;
pub mod copy;
pub mod ext;
pub mod ext_check;
pub mod holes;
pub mod signature;
