//! The texts of one source: whole ones, cut ones, and those that could be put together, each once with all its places.

use super::carve::{Carved, Carver, Made};
use super::mda::Header;
use super::{crc, pieces};
use crate::image::Source;
use crate::parse::{Checksum, ParseError};
use crate::units::Bytes;
use std::collections::BTreeMap;

/// Cut texts kept of one source, and places where pieces show themselves. Only an image that was made to be full of
/// them has more.
const MOST_CUT: usize = 4096;
const MOST_HITS: usize = 1 << 20;

/// Collects texts, hit by hit.
pub struct Texts<'a> {
    source: &'a dyn Source,
    carver: Carver<'a>,
    texts: Vec<Carved>,
    /// Where each text stands in `texts`, by its SHA-256.
    known: BTreeMap<String, usize>,
    cut: usize,
    hits: Vec<Bytes>,
    headers: Vec<Header>,
}

impl<'a> Texts<'a> {
    /// None yet.
    pub fn new(source: &'a dyn Source) -> Texts<'a> {
        Texts {
            source,
            carver: Carver::new(source),
            texts: Vec::new(),
            known: BTreeMap::new(),
            cut: 0,
            hits: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// A needle that is in the front of every text; whether one is there.
    pub fn front(&mut self, hit: Bytes) -> bool {
        let text = self.carver.text_at(hit);
        let found = text.is_some();
        text.into_iter().for_each(|text| self.add(text));
        found
    }

    /// A needle that shows a piece; whether it is kept.
    pub fn piece(&mut self, hit: Bytes) -> bool {
        let kept = self.hits.len() < MOST_HITS;
        if kept {
            self.hits.push(hit);
        }
        kept
    }

    /// The whole and cut texts found so far.
    pub fn so_far(&self) -> &[Carved] {
        &self.texts
    }

    /// The header of a metadata area.
    pub fn header(&mut self, header: Header) {
        self.headers.push(header);
    }

    fn add(&mut self, text: Carved) {
        if let Some(same) = self
            .known
            .get(&text.sha256)
            .and_then(|i| self.texts.get_mut(*i))
        {
            same.also_at.push(text.extent);
            return;
        }
        self.cut += usize::from(!text.complete);
        if text.complete || self.cut <= MOST_CUT {
            self.known.insert(text.sha256.clone(), self.texts.len());
            self.texts.push(text);
        }
    }

    /// The texts, those in pieces put together.
    pub fn finish(mut self) -> Vec<Carved> {
        let headers = std::mem::take(&mut self.headers);
        for header in &headers {
            for text in pieces::over_the_end(self.source, header) {
                // Its first piece was carved as a cut text.
                let first = text.extent.offset;
                self.remove(|t| t.extent.offset == first && !t.complete);
                self.add(text);
            }
            check(&mut self.texts, self.source, header);
        }
        let wrapped = self.texts.iter().flat_map(|t| t.pieces.iter().skip(1));
        let wrapped: Vec<_> = wrapped.copied().collect();
        self.hits.sort();
        self.hits
            .retain(|hit| !wrapped.iter().any(|w| w.offset <= *hit && *hit < w.end()));
        let ends = pieces::ends(self.source, &self.hits, &self.texts);
        let joined = pieces::join(self.source, &self.texts, &ends);
        let used = |end: &pieces::Piece| {
            let mut parts = joined.iter().flat_map(|t| &t.pieces);
            parts.any(|p| p.overlap(end.extent).is_some())
        };
        let siblings: Vec<&Carved> = self.texts.iter().filter(|t| t.complete).collect();
        let loose = ends.iter().filter(|end| !used(end));
        let rebuilt = loose.filter_map(|end| pieces::rebuild(end, &siblings));
        let more: Vec<Carved> = rebuilt.chain(joined.iter().cloned()).collect();
        for mut text in more {
            prove(&mut text, &headers);
            self.add(text);
        }
        self.texts
    }

    fn remove(&mut self, gone: impl Fn(&Carved) -> bool) {
        self.texts.retain(|t| !gone(t));
        let places = self.texts.iter().enumerate();
        self.known = places.map(|(i, t)| (t.sha256.clone(), i)).collect();
    }
}

/// A text that was put together is proven where a header has its length and checksum.
fn prove(text: &mut Carved, headers: &[Header]) {
    let whole = [text.bytes.as_slice(), &[0]].concat();
    let (size, sum) = (Bytes(whole.len() as u64), crc(&whole));
    let sound = headers.iter().filter(|h| h.checksum == Checksum::Ok);
    let mut locations = sound.flat_map(|h| &h.locations);
    if locations.any(|l| l.size == size && l.checksum == sum) {
        text.checksum = Checksum::Ok;
        text.complete = true;
        text.fault = None;
    }
}

/// Marks the texts that a metadata area's header points at, by its CRC. What could not be read, and what a broken
/// header says, proves nothing against a text.
fn check(texts: &mut [Carved], source: &dyn Source, header: &Header) {
    if header.checksum != Checksum::Ok {
        return;
    }
    for location in &header.locations {
        let verdict = match header.text(source, location) {
            Ok(_) => Checksum::Ok,
            Err(ParseError::Broken { .. }) => Checksum::Bad,
            Err(_) => Checksum::None,
        };
        let Some(place) = header.extents(location).first().map(|p| p.offset) else {
            continue;
        };
        for text in texts.iter_mut().filter(|t| t.made <= Made::Wrapped) {
            let mut places = text.also_at.iter().chain([&text.extent]);
            // Another length is another text than the one that the header means.
            let meant = location.size == Bytes(text.bytes.len() as u64 + 1);
            if places.any(|p| p.offset == place) && (meant || !text.complete) {
                text.checksum = text.checksum.min(verdict);
                if verdict == Checksum::Bad && text.checksum == Checksum::None {
                    text.checksum = Checksum::Bad;
                }
            }
        }
    }
}
