//! The texts of one source: whole ones, cut ones, and those that could be put together, each once with all its places.

use super::carve::{Carved, Carver, Made};
use super::crc;
use super::mda::Header;
use super::pieces::{self, Loose};
use crate::image::Source;
use crate::parse::{Checksum, ParseError};
use crate::units::Bytes;
use std::collections::BTreeMap;

/// Cut texts kept of one source, and places where pieces show themselves. Only an image that was made to be full of
/// them has more.
const MOST_CUT: usize = 4096;
const MOST_HITS: usize = 1 << 20;

/// Places kept of texts that lie in a source more than once; more are counted.
const MOST_PLACES: usize = 1 << 16;

/// Collects texts, hit by hit.
pub struct Texts<'a> {
    source: &'a dyn Source,
    carver: Carver<'a>,
    texts: Vec<Carved>,
    /// Where each text stands in `texts`, by its SHA-256.
    known: BTreeMap<String, usize>,
    cut: usize,
    places_left: usize,
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
            places_left: MOST_PLACES,
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
            match self.places_left.checked_sub(1) {
                Some(left) => {
                    self.places_left = left;
                    same.also_at.push(text.extent);
                }
                None => same.more += 1,
            }
            return;
        }
        self.cut += usize::from(!text.complete);
        if text.complete || self.cut <= MOST_CUT {
            self.known.insert(text.sha256.clone(), self.texts.len());
            self.texts.push(text);
        }
    }

    /// The texts, those in pieces put together, and the pieces that are left.
    pub fn finish(mut self) -> (Vec<Carved>, Loose) {
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
        let mut loose = Loose {
            fronts: pieces::fronts(self.source, &self.texts),
            ends: pieces::ends(self.source, &self.hits, &self.texts),
        };
        let joined = loose.join();
        loose.drop_used(&joined);
        let siblings: Vec<&Carved> = self.texts.iter().filter(|t| t.complete).collect();
        let ends = loose.ends.iter();
        let rebuilt: Vec<Carved> = ends
            .filter_map(|end| pieces::rebuild(end, &siblings))
            .collect();
        loose.drop_used(&rebuilt);
        for mut text in rebuilt.into_iter().chain(joined) {
            prove(&mut text, &headers);
            self.add(text);
        }
        (self.texts, loose)
    }

    fn remove(&mut self, gone: impl Fn(&Carved) -> bool) {
        self.texts.retain(|t| !gone(t));
        let places = self.texts.iter().enumerate();
        self.known = places.map(|(i, t)| (t.sha256.clone(), i)).collect();
    }
}

/// A text that was put together is proven where a header has its length and checksum.
pub fn prove(text: &mut Carved, headers: &[Header]) {
    let whole = [&text.bytes[..], &[0]].concat();
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
