//! How much memory a group's tree takes: what a text says in 5 bytes can take 200.

use super::metadata::{HistoricalVolume, LogicalVolume, PhysicalVolume, VolumeGroup};
use super::segment::{Area, Segment, Use};

/// What the allocator takes for so many bytes.
fn block(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// A list, and what each of its entries has elsewhere.
fn list<T>(items: &[T], of_one: impl Fn(&T) -> usize) -> usize {
    block(size_of_val(items)) + items.iter().map(of_one).sum::<usize>()
}

fn word(text: &str) -> usize {
    block(text.len())
}

fn words(texts: &[String]) -> usize {
    list(texts, |text| word(text))
}

impl VolumeGroup {
    /// Bytes that it takes, itself and all that is in it.
    pub fn taken(&self) -> usize {
        let texts = [&self.name, &self.id].map(|text| word(text));
        let lists = [&self.status, &self.flags, &self.tags].map(|l| words(l));
        block(size_of::<VolumeGroup>())
            + texts.iter().chain(&lists).sum::<usize>()
            + self.system_id.as_deref().map_or(0, word)
            + list(&self.pvs, of_pv)
            + list(&self.lvs, of_lv)
            + list(&self.historical, of_historical)
    }
}

fn of_pv(pv: &PhysicalVolume) -> usize {
    let texts = [&pv.name, &pv.id, &pv.device].map(|text| word(text));
    let lists = [&pv.status, &pv.flags, &pv.tags].map(|l| words(l));
    texts.iter().chain(&lists).sum()
}

fn of_lv(lv: &LogicalVolume) -> usize {
    let texts = [&lv.name, &lv.id].map(|text| word(text));
    let lists = [&lv.status, &lv.flags, &lv.tags].map(|l| words(l));
    let host = lv.creation_host.as_deref().map_or(0, word);
    texts.iter().chain(&lists).sum::<usize>() + host + list(&lv.segments, of_segment)
}

fn of_segment(segment: &Segment) -> usize {
    let area = |a: &Area| word(&a.on) + a.meta.as_deref().map_or(0, word);
    let used = |u: &Use| word(&u.key) + word(&u.lv);
    word(&segment.kind)
        + words(&segment.kind_flags)
        + list(&segment.areas, area)
        + list(&segment.uses, used)
}

fn of_historical(lv: &HistoricalVolume) -> usize {
    word(&lv.name) + word(&lv.id) + lv.origin.as_deref().map_or(0, word) + words(&lv.descendants)
}
