//! The texts of one source: whole ones, cut ones, and those that could be put together, each once with all its places.

use super::carve::{Carved, Carver, Made, Pointed};
use super::crc;
use super::mda::Header;
use super::pieces::{self, Loose};
use crate::image::Source;
use crate::parse::{Checksum, ParseError};
use crate::units::{Bytes, Extent, merge};
use std::collections::BTreeMap;

/// Cut texts kept of one source, and places where pieces show themselves. Only an image that was made to be full of
/// them has more.
const MOST_CUT: usize = 4096;
const MOST_HITS: usize = 1 << 20;

/// Places kept of texts that lie in a source more than once; more are counted.
const MOST_PLACES: usize = 1 << 16;

/// Memory that the different texts kept of one source may take, so that all of a run takes less than 64 MiB. A worn
/// metadata area has some hundred texts, of 10 KiB where they have eight volumes.
const MOST_KEPT: usize = 36 << 20;

/// What texts may take beyond that before the oldest are let go.
const SLACK: usize = 4 << 20;

/// What a text takes beside its bytes and its tree, and each of its volumes: what a scan and ranking note of them.
const NOTED: usize = 3 << 10;
const NOTED_OF_VOLUME: usize = 512;

/// What a text takes, itself and as it is understood, and what ranking notes of it: measured, see the table of hostile
/// images in the book.
fn cost(text: &Carved) -> usize {
    NOTED + text.bytes.len() + text.vg.taken() + NOTED_OF_VOLUME * text.vg.lvs.len()
}

/// All that a source gave of texts.
#[derive(Debug, Default)]
pub struct Found {
    /// Whole ones, cut ones, and those that could be put together.
    pub texts: Vec<Carved>,
    /// Pieces that belong to none of these.
    pub loose: Loose,
    /// How many texts were found and are not among them: of each group the oldest, and what is cut beyond all measure.
    pub let_go: u64,
}

/// Collects texts, hit by hit.
pub struct Texts<'a> {
    source: &'a dyn Source,
    carver: Carver<'a>,
    texts: Vec<Carved>,
    /// Where each text stands in `texts`, by its SHA-256.
    known: BTreeMap<String, usize>,
    /// What they take together.
    kept: usize,
    let_go: u64,
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
            kept: 0,
            let_go: 0,
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
        if !text.complete && self.cut > MOST_CUT {
            self.let_go += 1;
            return;
        }
        self.kept += cost(&text);
        self.known.insert(text.sha256.clone(), self.texts.len());
        self.texts.push(text);
        if self.kept > MOST_KEPT + SLACK {
            self.let_go_oldest();
        }
    }

    /// Lets go of what is more than [`MOST_KEPT`]. The newest text of every group stays before the second of any: groups
    /// made up by the thousand do not push out a real one's last state, nor its history that of another.
    fn let_go_oldest(&mut self) {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, text) in self.texts.iter().enumerate() {
            groups.entry(&text.vg.id).or_default().push(index);
        }
        let mut order: Vec<(usize, usize)> = Vec::new();
        for group in groups.values_mut() {
            let newest = |i: &usize| {
                let age = |text: &Carved| (text.complete, text.vg.seqno, text.about.creation_time);
                std::cmp::Reverse(self.texts.get(*i).map(age))
            };
            group.sort_by_key(newest);
            order.extend(group.iter().copied().enumerate());
        }
        order.sort_unstable();
        let mut stays = vec![false; self.texts.len()];
        let mut kept = 0;
        for (_, index) in order {
            let cost = self.texts.get(index).map_or(0, cost);
            // A long one that does not fit makes no room for shorter ones that are older.
            if kept + cost > MOST_KEPT {
                break;
            }
            kept += cost;
            stays.get_mut(index).into_iter().for_each(|s| *s = true);
        }
        // What shows a piece inside of them shows none.
        let gone = self.texts.iter().zip(&stays).filter(|(_, stays)| !**stays);
        let places = gone.flat_map(|(text, _)| text.also_at.iter().chain([&text.extent]));
        let mut places: Vec<Extent> = places.copied().collect();
        places.sort_unstable();
        self.hits.retain(|hit| {
            let before = places.partition_point(|place| place.offset <= *hit);
            let place = before.checked_sub(1).and_then(|i| places.get(i));
            place.is_none_or(|place| place.end() <= *hit)
        });
        let before = self.texts.len();
        let mut stays = stays.into_iter();
        self.remove(|_| !stays.next().unwrap_or(false));
        self.kept = kept;
        self.let_go += (before - self.texts.len()) as u64;
    }

    /// The texts, those in pieces put together, and the pieces that are left.
    pub fn finish(mut self) -> Found {
        if self.let_go > 0 {
            // Of what came since, too, only what is newer than all that went.
            self.let_go_oldest();
        }
        let headers = std::mem::take(&mut self.headers);
        let mut ruled = Rings::default();
        for header in &headers {
            for text in pieces::over_the_end(self.source, header) {
                // Its first piece was carved as a cut text.
                let first = text.extent.offset;
                self.remove(|t| t.extent.offset == first && !t.complete);
                self.add(text);
            }
            if let Some(group) = check(&mut self.texts, self.source, header) {
                ruled.entry(group).or_default().push(header.ring());
            }
        }
        pass_over(&mut self.texts, ruled);
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
        let rebuilt = pieces::rebuild(&loose.ends, &siblings);
        loose.drop_used(&rebuilt);
        for mut text in rebuilt.into_iter().chain(joined) {
            prove(&mut text, &headers);
            self.add(text);
        }
        Found {
            texts: self.texts,
            loose,
            let_go: self.let_go,
        }
    }

    fn remove(&mut self, mut gone: impl FnMut(&Carved) -> bool) {
        self.texts.retain(|t| !gone(t));
        let places = self.texts.iter().enumerate();
        self.known = places.map(|(i, t)| (t.sha256.clone(), i)).collect();
    }
}

/// A text that was put together is proven where a header has its length and checksum, whatever else the header says of
/// it.
pub fn prove(text: &mut Carved, headers: &[Header]) {
    let whole = [&text.bytes[..], &[0]].concat();
    let (size, sum) = (Bytes(whole.len() as u64), crc(&whole));
    let sound = headers.iter().filter(|h| h.checksum == Checksum::Ok);
    let locations = sound.flat_map(|h| &h.locations);
    for location in locations.filter(|l| l.size == size && l.checksum == sum) {
        text.checksum = Checksum::Ok;
        text.complete = true;
        text.fault = None;
        if location.committed() {
            text.pointed = Pointed::Committed;
        }
    }
}

/// Marks the texts that a metadata area's header points at, by its CRC, and the one that it calls committed. What could not
/// be read, and what a broken header says, proves nothing against a text. The id of the group whose text it commits, where
/// that text is there.
fn check(texts: &mut [Carved], source: &dyn Source, header: &Header) -> Option<String> {
    if header.checksum != Checksum::Ok {
        return None;
    }
    let mut ruled = None;
    for location in &header.locations {
        let verdict = match header.text(source, location) {
            Ok(_) => Checksum::Ok,
            Err(ParseError::Broken { .. }) => Checksum::Bad,
            Err(_) => Checksum::None,
        };
        let Some(place) = header.extents(location).first().map(|p| p.offset) else {
            continue;
        };
        let committed = verdict == Checksum::Ok && location.committed();
        for text in texts.iter_mut().filter(|t| t.made <= Made::Wrapped) {
            let mut places = text.also_at.iter().chain([&text.extent]);
            // Another length is another text than the one that the header means.
            let meant = location.size == Bytes(text.bytes.len() as u64 + 1);
            if places.any(|p| p.offset == place) && (meant || !text.complete) {
                text.checksum = text.checksum.min(verdict);
                if verdict == Checksum::Bad && text.checksum == Checksum::None {
                    text.checksum = Checksum::Bad;
                }
                if committed && meant {
                    text.pointed = Pointed::Committed;
                    ruled = Some(text.vg.id.clone());
                }
            }
        }
    }
    ruled
}

/// The rings whose headers commit a text, by the id of its group.
type Rings = BTreeMap<String, Vec<Extent>>;

/// Marks the texts that lie in these rings only, whose headers point at others of the same group. What a group before left
/// in the ring of a new one is not ruled by that: its own headers are gone there, and its last state may be among it.
fn pass_over(texts: &mut [Carved], rings: Rings) {
    let merged = |(id, rings)| (id, merge(rings));
    let rings: Rings = rings.into_iter().map(merged).collect();
    for text in texts.iter_mut() {
        let Some(rings) = rings.get(&text.vg.id) else {
            continue;
        };
        let is_ruled = |place: &Extent| {
            let before = rings.partition_point(|ring| ring.offset <= place.offset);
            let ring = before.checked_sub(1).and_then(|i| rings.get(i));
            ring.is_some_and(|ring| place.offset < ring.end())
        };
        let mut places = text.also_at.iter().chain([&text.extent]);
        if text.pointed == Pointed::Nowhere && text.more == 0 && places.all(is_ruled) {
            text.pointed = Pointed::Elsewhere;
        }
    }
}
