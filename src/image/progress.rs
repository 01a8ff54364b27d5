//! How long work tells that it goes on, without knowing of a terminal.

/// Told by long work how far it is; shown by the program, ignored by a library user who does not care.
pub trait Progress: Sync {
    /// A step begins that will go over `total` bytes.
    fn begin(&self, step: &str, total: u64);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The step is over.
    fn end(&self);
    /// The first answer about a source, long before the step is over.
    fn first(&self, _source: &str, _answer: &str) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _total: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
