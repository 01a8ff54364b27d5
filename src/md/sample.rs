//! What is read of members to tell an array: windows at the same places of all, a digest of every page in them, and
//! the linear relations between the members' bytes.
//!
//! Where they lie is chosen by [`super::windows`].

use super::galois::{self, Solved};
use super::pairs::couples;
use super::seams::{Edges, Model};
use crate::image::progress::Progress;
use crate::image::{Gaps, SharedSource};
use crate::parse::is_blank;
use crate::units::{Bytes, Extent};
use crc::{CRC_32_ISCSI, Crc, Table};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What a digest covers.
pub const PAGE: usize = 4096;

/// Bytes of a member that one pass over the windows reads at most.
pub const BUDGET: Bytes = Bytes::mib(64);

/// Bytes read of each member at a time; windows are multiples of a page, not of this.
pub const BLOCK: usize = 1 << 20;

/// Members read at once where only digests are asked for.
const READERS: usize = 16;

/// Of each block so many rows of pages are looked at for relations: elimination costs more than reading.
const ROWS_A_BLOCK: usize = 4;

/// CRC-32C as everyone but ext4 stores it: what btrfs keeps of each page of data.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// CRC-32C of bytes.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// What is known of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// Not read, or not readable.
    #[default]
    Unread,
    /// One byte over and over.
    Constant(u8),
    /// Anything else.
    Data {
        /// CRC-32C of the page.
        crc: u32,
        /// Bytes up to the last that is not zero.
        used: u16,
    },
}

/// The digest of a page's bytes.
pub fn digest(page: &[u8]) -> Page {
    let first = page.first().copied().unwrap_or_default();
    if is_blank(page) {
        return Page::Constant(first);
    }
    let used = page
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    Page::Data {
        crc: crc32c(page),
        used: u16::try_from(used).unwrap_or(u16::MAX),
    }
}

/// One page's place on all members, and what its bytes say.
#[derive(Clone, Debug)]
pub struct Row {
    /// Offset on every member.
    pub at: Bytes,
    /// Members whose page is not constant, as bits of their number.
    pub lively: u64,
    /// Sets of those of which some weighted sum is zero everywhere: each set of members as bits.
    pub related: Vec<u64>,
    /// What it says as a row of raid6, members numbered as in the sample.
    pub solved: Option<Solved>,
}

/// What was read of the members.
pub struct Sample {
    /// Where was read, ascending.
    pub windows: Vec<Extent>,
    /// First page's index of each window.
    starts: Vec<usize>,
    /// For each member the digests of the windows' pages.
    pages: Vec<Vec<Page>>,
    /// The same pages' ends.
    edges: Vec<Vec<Edges>>,
    /// What they say of pages that follow each other.
    pub model: Model,
    /// Bytes of each member, in whole pages.
    lengths: Vec<Bytes>,
    /// Rows looked at for relations.
    pub rows: Vec<Row>,
    /// Bytes read of each member.
    pub read: Bytes,
    /// See [`Sample::agreement`].
    agreement: OnceLock<Agreement>,
    /// See [`Sample::shifts`].
    shifts: OnceLock<Shifts>,
}

/// For two members, pages on which both were read and not both constant, and how many of those agree.
pub type Agreement = BTreeMap<(usize, usize), (u32, u32)>;

/// For two members and a distance, how many pages of one lie on the other so far on.
pub type Shifts = BTreeMap<(usize, usize, i64), u32>;

/// Called with each block that is read: the member, its offset, its bytes.
pub type Look<'a> = dyn FnMut(usize, Bytes, &[u8]) + 'a;

impl Sample {
    /// Reads the windows of all members in step, and shows each block that was read without a gap to `look`.
    pub fn take(
        members: &[SharedSource],
        windows: Vec<Extent>,
        progress: &dyn Progress,
        look: &mut Look<'_>,
    ) -> Sample {
        let mut sample = Sample::of(members, windows);
        progress.begin(
            "sampling members",
            sample.read.0.saturating_mul(members.len() as u64),
        );
        let mut buffers = vec![vec![0; BLOCK]; members.len()];
        for window in sample.windows.clone() {
            let mut at = window.offset;
            while at < window.end() {
                let n = (window.end() - at).to_len(BLOCK);
                sample.block(members, at, n, &mut buffers, look);
                progress.advance(n as u64 * members.len() as u64);
                at = at + Bytes(n as u64);
            }
        }
        progress.end();
        sample
    }

    /// Reads the windows of all members at once, for the digests of their pages alone: no rows, no ends of pages.
    pub fn digests(
        members: &[SharedSource],
        windows: Vec<Extent>,
        progress: &dyn Progress,
    ) -> Sample {
        let mut sample = Sample::of(members, windows);
        let bytes = sample.read.0.saturating_mul(members.len() as u64);
        progress.begin("sampling members", bytes);
        let windows = &sample.windows;
        for (members, pages) in members
            .chunks(READERS)
            .zip(sample.pages.chunks_mut(READERS))
        {
            std::thread::scope(|scope| {
                for (member, pages) in members.iter().zip(pages) {
                    scope.spawn(|| digest_all(member, windows, pages, progress));
                }
            });
        }
        progress.end();
        sample
    }

    /// Nothing read yet.
    fn of(members: &[SharedSource], windows: Vec<Extent>) -> Sample {
        let whole = |m: &SharedSource| Bytes(m.len().0 / PAGE as u64 * PAGE as u64);
        let mut page = 0;
        let mut first = |window: &Extent| {
            let start = page;
            page += window.length.to_len(usize::MAX).div_ceil(PAGE);
            start
        };
        Sample {
            starts: windows.iter().map(&mut first).collect(),
            pages: vec![Vec::new(); members.len()],
            edges: vec![Vec::new(); members.len()],
            model: Model::default(),
            lengths: members.iter().map(whole).collect(),
            rows: Vec::new(),
            read: Bytes(windows.iter().map(|w| w.length.0).sum()),
            windows,
            agreement: OnceLock::new(),
            shifts: OnceLock::new(),
        }
    }

    fn block(
        &mut self,
        members: &[SharedSource],
        at: Bytes,
        n: usize,
        buffers: &mut [Vec<u8>],
        look: &mut Look<'_>,
    ) {
        for ((index, member), buffer) in members.iter().enumerate().zip(buffers.iter_mut()) {
            let block = buffer.get_mut(..n).unwrap_or_default();
            let gaps = member.read_at(at, block);
            let digests: Vec<Page> = digests(at, block, &gaps).collect();
            self.learn(index, at, block, &digests);
            if let Some(pages) = self.pages.get_mut(index) {
                pages.extend(digests);
            }
            for (at, read) in whole_pages(at, block, &gaps) {
                look(index, at, read);
            }
        }
        let lively = |page: usize| -> u64 {
            let of = |(m, _): &(usize, _)| {
                matches!(
                    self.page(*m, at + Bytes((page * PAGE) as u64)),
                    Page::Data { .. }
                )
            };
            members
                .iter()
                .enumerate()
                .take(64)
                .filter(of)
                .map(|(m, _)| 1 << m)
                .sum()
        };
        // The rows with the most members that are not constant say the most.
        let mut rows: Vec<(usize, u64)> = (0..n / PAGE).map(|page| (page, lively(page))).collect();
        rows.sort_by_key(|(page, lively)| (std::cmp::Reverse(lively.count_ones()), spread(*page)));
        for (page, lively) in rows
            .into_iter()
            .take(ROWS_A_BLOCK)
            .filter(|(_, l)| l.count_ones() > 1)
        {
            let columns: Vec<(usize, &[u8])> = (buffers.iter().enumerate())
                .filter(|(m, _)| *m < 64 && lively & 1 << m != 0)
                .filter_map(|(m, buffer)| Some((m, buffer.get(page * PAGE..(page + 1) * PAGE)?)))
                .collect();
            self.rows.push(relate(
                at + Bytes((page * PAGE) as u64),
                lively,
                &columns,
                members.len(),
            ));
        }
    }

    /// Keeps the ends of a block's pages, and learns from those which no chunk parts.
    fn learn(&mut self, member: usize, at: Bytes, block: &[u8], digests: &[Page]) {
        let edges: Vec<Edges> = block.chunks(PAGE).map(Edges::of).collect();
        let pairs = block
            .chunks(PAGE)
            .zip(edges.iter().zip(edges.iter().skip(1)));
        let were_read = digests.windows(2).map(|two| !two.contains(&Page::Unread));
        for (i, ((page, (edge, next)), were_read)) in pairs.zip(were_read).enumerate() {
            // Chunks of 8 KiB and more end on even pages.
            if were_read && (at.0 / PAGE as u64 + i as u64).is_multiple_of(2) {
                self.model.learn(page, *edge, *next);
            }
        }
        if let Some(of_member) = self.edges.get_mut(member) {
            of_member.extend(edges);
        }
    }

    /// Where the page at an offset stands in the lists; `None` outside of the windows and off a page's border.
    fn index(&self, at: Bytes) -> Option<usize> {
        let window = self
            .windows
            .partition_point(|w| w.offset <= at)
            .checked_sub(1)?;
        let start = self.starts.get(window)?;
        let window = self.windows.get(window)?;
        let inside = at - window.offset;
        if at >= window.end() || !inside.0.is_multiple_of(PAGE as u64) {
            return None;
        }
        Some(start + usize::try_from(inside.0 / PAGE as u64).ok()?)
    }

    /// The digest of the page at an offset of a member; [`Page::Unread`] outside of the windows and off a page's border.
    pub fn page(&self, member: usize, at: Bytes) -> Page {
        let found = self
            .index(at)
            .and_then(|page| self.pages.get(member)?.get(page));
        found.copied().unwrap_or_default()
    }

    /// The ends of the page at an offset of a member, if it was read.
    pub fn edges(&self, member: usize, at: Bytes) -> Option<Edges> {
        let page = self.index(at)?;
        if *self.pages.get(member)?.get(page)? == Page::Unread {
            return None;
        }
        self.edges.get(member)?.get(page).copied()
    }

    /// The pages of a member that were read, with their offsets.
    pub fn pages(&self, member: usize) -> impl Iterator<Item = (Bytes, Page)> + '_ {
        let pages = self.pages.get(member).map_or(&[][..], Vec::as_slice);
        self.offsets().zip(pages.iter().copied())
    }

    /// Whether a page within the windows and a member's length could not be read.
    pub fn has_gaps(&self) -> bool {
        let unread = |((pages, offset), end): ((&Page, Bytes), &Bytes)| {
            *pages == Page::Unread && offset < *end
        };
        let of = |(pages, end): (&Vec<Page>, &Bytes)| {
            pages.iter().zip(self.offsets()).any(|p| unread((p, end)))
        };
        self.pages.iter().zip(&self.lengths).any(of)
    }

    /// Bytes of the shortest member.
    pub fn shortest(&self) -> Bytes {
        self.lengths.iter().copied().min().unwrap_or_default()
    }

    /// Whether two members have one length.
    pub fn is_as_long(&self, a: usize, b: usize) -> bool {
        self.lengths.get(a) == self.lengths.get(b)
    }

    /// Pages of all members that are not constant.
    pub fn data_pages(&self) -> u32 {
        let data = self
            .pages
            .iter()
            .flatten()
            .filter(|p| matches!(p, Page::Data { .. }));
        u32::try_from(data.count()).unwrap_or(u32::MAX)
    }

    /// Offsets of all pages that were read.
    pub fn offsets(&self) -> impl Iterator<Item = Bytes> + '_ {
        let of = |w: &Extent| (w.offset.0..w.end().0).step_by(PAGE).map(Bytes);
        self.windows.iter().flat_map(of)
    }

    /// For each two members: pages on which both were read and not both constant, and how many of those agree.
    pub fn agreement(&self) -> &Agreement {
        self.agreement.get_or_init(|| self.count_agreement())
    }

    fn count_agreement(&self) -> Agreement {
        let mut counts = BTreeMap::new();
        for (a, b) in couples(self.pages.len()) {
            let (Some(x), Some(y)) = (self.pages.get(a), self.pages.get(b)) else {
                continue;
            };
            let told = |(x, y): &(&Page, &Page)| match (x, y) {
                (Page::Unread, _) | (_, Page::Unread) => false,
                (x, y) => matches!(x, Page::Data { .. }) || matches!(y, Page::Data { .. }),
            };
            let (mut pages, mut equal) = (0, 0);
            for (x, y) in x.iter().zip(y).filter(told) {
                pages += 1;
                equal += u32::from(x == y);
            }
            counts.insert((a, b), (pages, equal));
        }
        counts
    }

    /// Pages that one member has at `at` and another, or the same, has elsewhere: how often for each distance.
    ///
    /// Only contents that each of both has once count: a page that lies about everywhere tells nothing.
    pub fn shifts(&self) -> &Shifts {
        self.shifts.get_or_init(|| self.count_shifts())
    }

    fn count_shifts(&self) -> Shifts {
        let offsets: Vec<Bytes> = self.offsets().collect();
        let unique: Vec<BTreeMap<(u32, u16), Option<Bytes>>> = (self.pages.iter())
            .map(|pages| {
                let mut seen = BTreeMap::new();
                for (page, at) in pages.iter().zip(&offsets) {
                    if let Page::Data { crc, used } = page {
                        seen.entry((*crc, *used))
                            .and_modify(|at| *at = None)
                            .or_insert(Some(*at));
                    }
                }
                seen
            })
            .collect();
        let mut shifts = BTreeMap::new();
        for (a, b) in couples(unique.len()) {
            let (Some(x), Some(y)) = (unique.get(a), unique.get(b)) else {
                continue;
            };
            for (content, at) in x {
                if let (Some(at), Some(Some(other))) = (at, y.get(content)) {
                    let shift = i64::try_from(other.0).unwrap_or(i64::MAX)
                        - i64::try_from(at.0).unwrap_or(i64::MAX);
                    *shifts.entry((a, b, shift)).or_insert(0) += 1;
                }
            }
        }
        shifts
    }
}

/// The digests of a block's pages.
fn digests<'a>(at: Bytes, block: &'a [u8], gaps: &'a Gaps) -> impl Iterator<Item = Page> + 'a {
    block.chunks(PAGE).enumerate().map(move |(i, page)| {
        let here = Extent::new(at + Bytes((i * PAGE) as u64), Bytes(PAGE as u64));
        let lost = gaps.extents().iter().any(|gap| gap.overlap(here).is_some());
        if lost { Page::Unread } else { digest(page) }
    })
}

/// The parts of a block at an offset that were read: runs of whole pages without a gap, each with its offset.
///
/// A disk that fails may have a bad sector in every block, and what lies beside it is still there; the last block of most
/// disks is read beyond their end.
pub fn whole_pages<'a>(at: Bytes, block: &'a [u8], gaps: &Gaps) -> Vec<(Bytes, &'a [u8])> {
    let mut runs = Vec::new();
    let mut from = 0;
    let ends = gaps.extents().iter().map(|gap| {
        let end = (gap.end() - at).to_len(block.len());
        let start = (gap.offset - at).to_len(block.len());
        (start / PAGE * PAGE, end.next_multiple_of(PAGE))
    });
    for (gap, behind) in ends.chain([(block.len(), block.len())]) {
        if let Some(run) = block.get(from..gap).filter(|run| !run.is_empty()) {
            runs.push((at + Bytes(from as u64), run));
        }
        from = behind;
    }
    runs
}

/// The digests of one member's windows.
fn digest_all(
    member: &SharedSource,
    windows: &[Extent],
    pages: &mut Vec<Page>,
    progress: &dyn Progress,
) {
    const PART: usize = BLOCK / 4;
    let mut buffer = vec![0; PART];
    for window in windows {
        let mut at = window.offset;
        while at < window.end() {
            let n = (window.end() - at).to_len(PART);
            let part = buffer.get_mut(..n).unwrap_or_default();
            let gaps = member.read_at(at, part);
            pages.extend(digests(at, part, &gaps));
            progress.advance(n as u64);
            at = at + Bytes(n as u64);
        }
    }
}

/// A fixed order of a block's pages that is not theirs: neighbours say much the same.
fn spread(page: usize) -> usize {
    page.wrapping_mul(2_654_435_761) >> 7 & 0xff
}

fn relate(at: Bytes, lively: u64, columns: &[(usize, &[u8])], members: usize) -> Row {
    let bytes: Vec<&[u8]> = columns.iter().map(|(_, page)| *page).collect();
    let space = galois::null_space(&bytes);
    let related = space.iter().map(|vector| {
        let used = vector
            .iter()
            .zip(columns)
            .filter(|(weight, _)| **weight != 0);
        used.map(|(_, (member, _))| 1_u64 << member).sum()
    });
    let related: Vec<u64> = related.collect();
    // By number among all members, not among the lively ones.
    let solved = galois::solve(&space).and_then(|s| {
        let member = |column: usize| columns.get(column).map(|(m, _)| *m);
        let mut power = vec![None; members];
        for (column, i) in s.power.iter().enumerate() {
            *power.get_mut(member(column)?)? = *i;
        }
        let p = match s.p {
            Some(p) => Some(member(p)?),
            None => None,
        };
        Some(Solved {
            p,
            q: member(s.q)?,
            power,
        })
    });
    Row {
        at,
        lively,
        related,
        solved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Memory;
    use crate::image::progress::Silent;
    use crate::md::windows::windows;
    use std::sync::Arc;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed << 32;
        (0..length)
            .map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                ((z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as u8
            })
            .collect()
    }

    fn source(bytes: Vec<u8>) -> SharedSource {
        Arc::new(Memory::new("m", bytes))
    }

    /// Digests at wrong offsets would move every clue; shifts are what tells raid10's far and offset copies.
    #[test]
    fn pages_and_shifts() {
        let a = noise(1, 64 * PAGE);
        let mut b = noise(2, 64 * PAGE);
        b[10 * PAGE..30 * PAGE].copy_from_slice(&a[2 * PAGE..22 * PAGE]);
        b[40 * PAGE + 7..41 * PAGE].fill(0);
        let members = [source(a), source(b.clone())];
        let mut looked = 0;
        let windows = windows(&members, BUDGET);
        let sample = Sample::take(&members, windows, &Silent, &mut |_, _, block| {
            looked += block.len()
        });
        assert_eq!(looked, 2 * 64 * PAGE);
        assert_eq!(
            sample.page(1, Bytes(40 * 4096)),
            digest(&b[40 * PAGE..41 * PAGE])
        );
        assert!(matches!(
            sample.page(1, Bytes(40 * 4096)),
            Page::Data { used: 7, .. }
        ));
        assert_eq!(sample.page(1, Bytes(64 * 4096)), Page::Unread);
        assert_eq!(*sample.shifts(), BTreeMap::from([((0, 1, 8 * 4096), 20)]));
        assert_eq!(*sample.agreement(), BTreeMap::from([((0, 1), (64, 0))]));
    }

    /// A bad sector would hide all that lies within a mebibyte of it, or what stands in its place would be looked at.
    #[test]
    fn what_lies_beside_gaps_is_looked_at() {
        let block = noise(8, 8 * PAGE);
        let runs = |gaps: &[(u64, u64)]| -> Vec<(u64, usize)> {
            let gap = |(offset, length): &(u64, u64)| Extent::new(Bytes(*offset), Bytes(*length));
            let gaps = Gaps::from(gaps.iter().map(gap).collect::<Vec<_>>());
            whole_pages(Bytes(1 << 20), &block, &gaps)
                .into_iter()
                .map(|(at, run)| {
                    let start = (at.0 - (1 << 20)) as usize;
                    assert_eq!(run, &block[start..start + run.len()]);
                    (at.0 >> 12, run.len() / PAGE)
                })
                .collect()
        };
        let at = |page: u64| (256 + page) << 12;
        assert_eq!(runs(&[]), [(256, 8)]);
        assert_eq!(runs(&[(at(3) + 512, 512)]), [(256, 3), (260, 4)]);
        // Two in one page, one at the block's front, one that goes over its end.
        let many = [
            (at(0), 1),
            (at(2), 512),
            (at(2) + 1024, 512),
            (at(7) + 4095, 9000),
        ];
        assert_eq!(runs(&many), [(257, 1), (259, 4)]);
        assert_eq!(runs(&[(0, 1 << 30)]), []);
    }

    /// Hardly a disk is as long as blocks are: what lies in the last one would not be looked at.
    #[test]
    fn the_last_block_is_looked_at() {
        for length in [10 * PAGE, 75 * PAGE + 1536] {
            let members = [source(noise(6, length)), source(noise(7, length))];
            let mut looked = 0;
            let windows = windows(&members, BUDGET);
            Sample::take(&members, windows, &Silent, &mut |_, _, block| {
                looked += block.len()
            });
            assert_eq!(looked, 2 * (length / PAGE * PAGE), "{length}");
        }
    }

    /// The sets whose sum is zero are found among strangers, whatever is read first.
    #[test]
    fn rows_name_the_related() {
        let (a, b) = (noise(3, 32 * PAGE), noise(4, 32 * PAGE));
        let sum: Vec<u8> = a.iter().zip(&b).map(|(x, y)| x ^ y).collect();
        let members = [
            source(noise(5, 32 * PAGE)),
            source(a),
            source(sum),
            source(b),
        ];
        let sample = Sample::take(
            &members,
            windows(&members, BUDGET),
            &Silent,
            &mut |_, _, _| {},
        );
        assert!(!sample.rows.is_empty());
        for row in &sample.rows {
            assert_eq!(
                (row.lively, row.related.as_slice()),
                (0b1111, &[0b1110][..])
            );
        }
    }
}
