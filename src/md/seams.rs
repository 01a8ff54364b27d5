//! How likely one page's bytes go on in another's: learnt from pages that surely do.
//!
//! Two measures, in nats (natural logarithms of how much likelier the two are
//! neighbours than strangers). Pages end and begin in kinds of content (zeros,
//! text, code, noise), and in files one kind mostly follows the same; and in
//! text and code each byte depends on the three before it, also across the end
//! of a page. Both tables are counted on the members themselves, on pages
//! whose border no chunk of 8 KiB or more can have.

/// Bytes at either end of a page by which its kind is told.
const EDGE: usize = 512;

/// Kinds of an edge.
const KINDS: usize = 12;
const NOISE: u8 = 11;
/// Zeros, or another byte over and over.
const CONSTANT: u8 = 1;

/// Bytes of context that the next one depends on.
const ORDER: usize = 3;

/// Bytes from which dependence is learnt, at most, and from one page.
const LEARNT: usize = 4 << 20;
const LEARNT_OF_A_PAGE: usize = 512;

/// Size of a table of counts.
const SLOTS: usize = 1 << 18;

/// One border says at most so much for or against, in nats: one odd place must not outweigh many.
const MOST_FOR: f64 = 6.0;
const MOST_AGAINST: f64 = -4.0;

/// What is kept of a page's two ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    head: [u8; ORDER],
    tail: [u8; ORDER],
    head_kind: u8,
    tail_kind: u8,
}

impl Edges {
    /// Of a page's bytes.
    pub fn of(page: &[u8]) -> Edges {
        let head = page.get(..EDGE).unwrap_or(page);
        let tail = page.get(page.len().saturating_sub(EDGE)..).unwrap_or(page);
        let first = |bytes: &[u8]| bytes.first_chunk().copied().unwrap_or_default();
        let last = |bytes: &[u8]| bytes.last_chunk().copied().unwrap_or_default();
        let padded = |run: Option<&[u8]>| run.is_some_and(|run| run.iter().all(|b| *b == 0));
        Edges {
            head: first(head),
            tail: last(tail),
            head_kind: kind(head, padded(head.get(..16))),
            tail_kind: kind(tail, padded(tail.get(tail.len().saturating_sub(64)..))),
        }
    }
}

/// The kind of an edge; `padded` where its outer bytes are zeros.
fn kind(bytes: &[u8], padded: bool) -> u8 {
    let mut counts = [0_u16; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let all = bytes.len().max(1) as f64;
    let of = |range: std::ops::RangeInclusive<usize>| -> f64 {
        let counts = counts.get(range).unwrap_or_default();
        counts.iter().map(|c| f64::from(*c)).sum()
    };
    if counts.first() == Some(&512) {
        return 0;
    }
    if counts.iter().filter(|c| **c > 0).count() <= 1 {
        return CONSTANT;
    }
    let share = |count: &u16| f64::from(*count) / all;
    let entropy: f64 = (counts.iter().map(share))
        .filter(|p| *p > 0.0)
        .map(|p| -p * p.log2())
        .sum();
    if of(0x20..=0x7e) + of(0x09..=0x0d) > 0.95 * all {
        return if entropy < 4.3 { 2 } else { 3 };
    }
    if padded {
        return 4;
    }
    let borders = [2.0, 3.5, 4.5, 5.5, 6.5, 7.2];
    let above = borders.iter().filter(|b| entropy >= **b).count();
    u8::try_from(above).map_or(NOISE, |above| 5 + above)
}

/// What was learnt of pages that follow each other.
pub struct Model {
    /// How often an edge of one kind was followed by one of another.
    followed: [[u32; KINDS]; KINDS],
    /// For each number of bytes of context: how often it was seen, and how often with the byte behind it; by hash.
    contexts: Vec<Vec<u16>>,
    grams: Vec<Vec<u16>>,
    learnt: usize,
}

impl Default for Model {
    fn default() -> Model {
        let tables = || vec![vec![0; SLOTS]; ORDER + 1];
        Model {
            followed: [[1; KINDS]; KINDS],
            contexts: tables(),
            grams: tables(),
            learnt: 0,
        }
    }
}

fn slot(bytes: &[u8], next: Option<u8>) -> usize {
    let seed = bytes.len() as u64 + 1;
    let all = bytes.iter().copied().chain(next);
    let hash = all.fold(seed, |hash, byte| {
        (hash ^ u64::from(byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23)
    });
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

fn count(table: Option<&mut Vec<u16>>, slot: usize) {
    if let Some(count) = table.and_then(|t| t.get_mut(slot)) {
        *count = count.saturating_add(1);
    }
}

impl Model {
    /// Learns from two pages of which the second surely follows the first.
    pub fn learn(&mut self, page: &[u8], edges: Edges, next: Edges) {
        let row = self.followed.get_mut(usize::from(edges.tail_kind));
        if let Some(count) = row.and_then(|row| row.get_mut(usize::from(next.head_kind))) {
            *count += 1;
        }
        let tells = |kind: u8| kind > CONSTANT && kind != NOISE;
        if self.learnt < LEARNT && tells(edges.tail_kind) && tells(next.head_kind) {
            let bytes = page
                .get(page.len().saturating_sub(LEARNT_OF_A_PAGE)..)
                .unwrap_or_default();
            self.learnt += bytes.len();
            for window in bytes.windows(ORDER + 1) {
                let Some((next, context)) = window.split_last() else {
                    continue;
                };
                for order in 0..=ORDER {
                    let context = context.get(ORDER - order..).unwrap_or_default();
                    count(self.contexts.get_mut(order), slot(context, None));
                    count(self.grams.get_mut(order), slot(context, Some(*next)));
                }
            }
        }
    }

    /// How likely `next` comes behind these bytes, at most [`ORDER`] of them.
    fn likely(&self, context: &[u8], next: u8) -> f64 {
        // What a longer context says counts the more the oftener it was seen.
        const TRUST: f64 = 4.0;
        (0..=context.len().min(ORDER)).fold(1.0 / 256.0, |shorter, order| {
            let context = context.get(context.len() - order..).unwrap_or_default();
            let of = |tables: &[Vec<u16>], slot: usize| {
                let count = tables.get(order).and_then(|t| t.get(slot));
                f64::from(count.copied().unwrap_or_default())
            };
            let seen = of(&self.contexts, slot(context, None));
            let with = of(&self.grams, slot(context, Some(next)));
            (with.min(seen) + TRUST * shorter) / (seen + TRUST)
        })
    }

    /// How much likelier `next` follows this page than any other does, in nats.
    ///
    /// Zeros behind zeros say nothing: they are everywhere.
    pub fn follows(&self, page: Edges, next: Edges) -> f64 {
        if page.tail_kind <= CONSTANT && next.head_kind <= CONSTANT {
            return 0.0;
        }
        let (tail, head) = (usize::from(page.tail_kind), usize::from(next.head_kind));
        let at = |t: usize, h: usize| {
            let count = self.followed.get(t).and_then(|row| row.get(h));
            f64::from(count.copied().unwrap_or(1))
        };
        let all: f64 = (0..KINDS)
            .flat_map(|t| (0..KINDS).map(move |h| at(t, h)))
            .sum();
        let of_tail: f64 = (0..KINDS).map(|h| at(tail, h)).sum();
        let of_head: f64 = (0..KINDS).map(|t| at(t, head)).sum();
        let mut nats = (at(tail, head) * all / (of_tail * of_head)).ln();
        let tells = |kind: u8| kind > CONSTANT && kind != NOISE;
        if tells(page.tail_kind) && tells(next.head_kind) {
            let joined: Vec<u8> = page.tail.iter().chain(&next.head).copied().collect();
            for (i, byte) in next.head.iter().enumerate() {
                let across = joined.get(i..i + ORDER).unwrap_or_default();
                let alone = next.head.get(..i).unwrap_or_default();
                nats += (self.likely(across, *byte) / self.likely(alone, *byte)).ln();
            }
        }
        nats.clamp(MOST_AGAINST, MOST_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that goes on must be told from other text: else every order of an array of texts is as good as any.
    #[test]
    fn text_goes_on_in_its_own_words() {
        let text = include_str!("../../LICENSE").repeat(60);
        let pages: Vec<&[u8]> = text
            .as_bytes()
            .chunks_exact(4099)
            .map(|p| &p[..4096])
            .collect();
        let whole: Vec<&[u8]> = text.as_bytes().chunks_exact(4096).collect();
        let mut model = Model::default();
        for pair in whole.windows(2) {
            model.learn(pair[0], Edges::of(pair[0]), Edges::of(pair[1]));
        }
        let sum = |pages: &[&[u8]]| -> f64 {
            let pairs = pages.windows(2);
            pairs
                .map(|p| model.follows(Edges::of(p[0]), Edges::of(p[1])))
                .sum()
        };
        // With three bytes lost at each border the words do not go on.
        assert!(
            sum(&whole) > sum(&pages) + 20.0,
            "{} {}",
            sum(&whole),
            sum(&pages)
        );
    }

    /// Noise says nothing: an encrypted array must stay open.
    #[test]
    fn noise_says_nothing() {
        let mut state = 1_u64;
        let mut noise = || -> Vec<u8> {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            };
            (0..4096).map(|_| next()).collect()
        };
        let pages: Vec<Vec<u8>> = (0..64).map(|_| noise()).collect();
        let mut model = Model::default();
        for pair in pages.windows(2) {
            model.learn(&pair[0], Edges::of(&pair[0]), Edges::of(&pair[1]));
        }
        for pair in pages.windows(3) {
            let nats = model.follows(Edges::of(&pair[0]), Edges::of(&pair[2]));
            assert_eq!(
                nats,
                model.follows(Edges::of(&pair[0]), Edges::of(&pair[1]))
            );
        }
    }
}
