//! The arithmetic of P and Q: bytes as elements of GF(2^8) with the polynomial 0x11d and the generator 2.
//!
//! P is the sum of a row's data blocks, Q the sum of each times its own power
//! of two. Every byte position of a row is one linear equation, so what was
//! lost is computed, and [`null_space`] finds the equations themselves where
//! nobody knows any more which member holds what.
//! Source: H. P. Anvin, "The mathematics of RAID-6".

/// x^8 + x^4 + x^3 + x^2 + 1, without its highest term.
const POLYNOMIAL: u8 = 0x1d;

/// `EXP[i]` is 2^i, over two periods so that sums of logarithms need no reduction.
static EXP: [u8; 510] = exp_table();
/// `LOG[x]` is the i with 2^i = x; `LOG[0]` means nothing.
static LOG: [u8; 256] = log_table();

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn exp_table() -> [u8; 510] {
    let mut table = [0; 510];
    let mut x = 1_u8;
    let mut i = 0;
    while i < 510 {
        table[i] = x;
        x = (x << 1) ^ if x & 0x80 != 0 { POLYNOMIAL } else { 0 };
        i += 1;
    }
    table
}

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time"
)]
const fn log_table() -> [u8; 256] {
    let exp = exp_table();
    let mut table = [0; 256];
    let mut i = 0;
    while i < 255 {
        table[exp[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// 2 to the power of `i`.
pub fn power(i: usize) -> u8 {
    EXP.get(i % 255).copied().unwrap_or_default()
}

/// The i below 255 with 2^i = `x`; `None` for zero.
pub fn log(x: u8) -> Option<usize> {
    let log = LOG.get(usize::from(x)).copied().unwrap_or_default();
    (x != 0).then_some(usize::from(log))
}

/// The product.
pub fn mul(a: u8, b: u8) -> u8 {
    match (log(a), log(b)) {
        (Some(a), Some(b)) => power(a + b),
        _ => 0,
    }
}

/// 1 / `x`; 0 for 0, which nobody may ask for.
fn inverse(x: u8) -> u8 {
    log(x).map_or(0, |log| power(255 - log))
}

/// Adds `from` to `to`, byte by byte.
pub fn add(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

/// Adds `factor` times `from` to `to`.
pub fn add_times(to: &mut [u8], from: &[u8], factor: u8) {
    let mut products = [0; 256];
    for (x, product) in (0..=255).zip(products.iter_mut()) {
        *product = mul(x, factor);
    }
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= products
            .get(usize::from(*from))
            .copied()
            .unwrap_or_default();
    }
}

/// Multiplies all of `bytes`.
fn scale(bytes: &mut [u8], factor: u8) {
    for byte in bytes {
        *byte = mul(*byte, factor);
    }
}

/// A row as far as it was read: blocks of one length, `None` for a lost one.
pub struct Row<'a> {
    /// The data blocks, each with its power of two in Q (any where there is no Q).
    pub data: Vec<(Option<&'a [u8]>, usize)>,
    /// P.
    pub p: Option<&'a [u8]>,
    /// Q.
    pub q: Option<&'a [u8]>,
}

impl Row<'_> {
    /// The data block `wanted`, computed from the others; `None` where too much is lost.
    pub fn recover(&self, wanted: usize, length: usize) -> Option<Vec<u8>> {
        let lost: Vec<usize> = (0..self.data.len())
            .filter(|i| *i == wanted || self.data.get(*i).is_some_and(|(block, _)| block.is_none()))
            .collect();
        let power_of = |i: usize| self.data.get(i).map(|(_, i)| power(*i));
        let known = || {
            let of = |i: &usize| !lost.contains(i);
            (0..self.data.len())
                .filter(of)
                .filter_map(|i| Some((self.data.get(i)?.0?, power_of(i)?)))
        };
        // What P and Q say of the lost blocks alone.
        let p = self.p.map(|p| {
            let mut sum = p.to_vec();
            known().for_each(|(block, _)| add(&mut sum, block));
            sum
        });
        let q = || {
            let mut sum = self.q?.to_vec();
            known().for_each(|(block, factor)| add_times(&mut sum, block, factor));
            Some(sum)
        };
        let mut result = match (lost.as_slice(), p) {
            ([_], Some(p)) => p,
            ([_], None) => {
                let mut q = q()?;
                scale(&mut q, inverse(power_of(wanted)?));
                q
            }
            // P = x + y and Q = a x + b y: Q + b P = (a + b) x.
            ([x, y], Some(p)) => {
                let other = if *x == wanted { *y } else { *x };
                let (a, b) = (power_of(wanted)?, power_of(other)?);
                let mut sum = q()?;
                add_times(&mut sum, &p, b);
                scale(&mut sum, inverse(a ^ b));
                sum
            }
            _ => return None,
        };
        result.truncate(length);
        Some(result)
    }
}

/// All ways in which weighted sums of the columns are zero at every position: a basis of them, each one weight a
/// column. In reduced form: of each vector's first weight, which is 1, no other has any.
///
/// Empty where the columns are independent, as unrelated data soon are.
pub fn null_space(columns: &[&[u8]]) -> Vec<Vec<u8>> {
    /// Positions that bring nothing new, one after the other, before the sums so far are tried on all the others at once.
    const IDLE: usize = 32;
    let length = columns.iter().map(|c| c.len()).min().unwrap_or(0);
    let mut equations = Equations::of(columns.len());
    let (mut position, mut idle) = (0, 0);
    while position < length {
        idle = match equations.add(at(columns, position)) {
            true => 0,
            false => idle + 1,
        };
        if equations.rows.len() == columns.len() {
            return Vec::new();
        }
        position += 1;
        if idle >= IDLE {
            // The next position that is not in line, if there is one, brings something new.
            match first_not_zero(columns, &equations.sums(), position) {
                Some(next) => position = next,
                None => break,
            }
        }
    }
    equations.sums()
}

/// One byte of each column.
fn at(columns: &[&[u8]], position: usize) -> Vec<u8> {
    let byte = |c: &&[u8]| c.get(position).copied();
    columns.iter().filter_map(byte).collect()
}

/// The first position from `from` on at which one of these weighted sums is not zero.
fn first_not_zero(columns: &[&[u8]], sums: &[Vec<u8>], from: usize) -> Option<usize> {
    let rest: Vec<&[u8]> = columns.iter().filter_map(|c| c.get(from..)).collect();
    let mut length = rest.iter().map(|c| c.len()).min().unwrap_or(0);
    let mut first = None;
    for weights in sums {
        let mut sum = vec![0; length];
        for (column, weight) in rest.iter().zip(weights) {
            match weight {
                0 => {}
                1 => add(&mut sum, column),
                _ => add_times(&mut sum, column, *weight),
            }
        }
        if let Some(earlier) = sum.iter().position(|byte| *byte != 0) {
            length = earlier;
            first = Some(from + earlier);
        }
    }
    first
}

/// Linear equations over so many unknown weights, in reduced echelon form.
struct Equations {
    unknown: usize,
    /// Each with the place of its first weight, which no other has.
    rows: Vec<(usize, Vec<u8>)>,
}

impl Equations {
    fn of(unknown: usize) -> Equations {
        Equations {
            unknown,
            rows: Vec::new(),
        }
    }

    /// Adds one; whether it says what the others did not.
    fn add(&mut self, mut row: Vec<u8>) -> bool {
        for (pivot, earlier) in &self.rows {
            let factor = row.get(*pivot).copied().unwrap_or_default();
            if factor != 0 {
                add_times_short(&mut row, earlier, factor);
            }
        }
        let first = row.iter().copied().enumerate().find(|(_, v)| *v != 0);
        let Some((pivot, value)) = first else {
            return false;
        };
        scale(&mut row, inverse(value));
        for (_, earlier) in &mut self.rows {
            let factor = earlier.get(pivot).copied().unwrap_or_default();
            if factor != 0 {
                add_times_short(earlier, &row, factor);
            }
        }
        self.rows.push((pivot, row));
        true
    }

    /// A basis of the weights that solve all of them.
    fn sums(&self) -> Vec<Vec<u8>> {
        let is_free = |c: &usize| self.rows.iter().all(|(pivot, _)| pivot != c);
        let free = (0..self.unknown).filter(is_free);
        let vectors = free.map(|free| {
            let mut vector = vec![0; self.unknown];
            for (pivot, row) in &self.rows {
                if let (Some(to), Some(from)) = (vector.get_mut(*pivot), row.get(free)) {
                    *to = *from;
                }
            }
            if let Some(one) = vector.get_mut(free) {
                *one = 1;
            }
            vector
        });
        vectors.collect()
    }
}

/// [`add_times`] for vectors too short to pay for a table.
fn add_times_short(to: &mut [u8], from: &[u8], factor: u8) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= mul(*from, factor);
    }
}

/// What one row of raid6 says of its members, by their number among the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solved {
    /// The column that holds P; `None` where P is the one that is missing.
    pub p: Option<usize>,
    /// The column that holds Q.
    pub q: usize,
    /// For each column the power of two that it has in Q; `None` for P and Q.
    pub power: Vec<Option<usize>>,
}

/// Reads a row of raid6 from the sums of its columns that are zero, [`null_space`]: which column is Q, which P, and each
/// data block's power of two.
///
/// With all members there are two independent sums that are zero, P's and
/// Q's; with one data block missing one is left, which still tells all, but
/// where the lost block's power is 0: then P and Q could change places. (With
/// P missing, Q could change with the block of power 0.)
/// `None` where the row tells nothing (that, or constant or dependent data), or is none of raid6.
pub fn solve(space: &[Vec<u8>]) -> Option<Solved> {
    let n = space.first().map_or(0, Vec::len);
    if n < 3 {
        return None;
    }
    let mut found = match space {
        [only] => (0..n)
            .filter_map(|q| degraded(only, q))
            .flatten()
            .collect::<Vec<_>>(),
        [a, b] => (0..n).filter_map(|q| complete(a, b, q)).collect(),
        _ => return None,
    };
    // Several readings of one row: it says too little.
    (found.len() == 1).then(|| found.pop()).flatten()
}

/// The sum of two vectors that is zero at `at`; `None` where it is all zero.
fn without(a: &[u8], b: &[u8], at: usize) -> Option<Vec<u8>> {
    let (x, y) = (*a.get(at)?, *b.get(at)?);
    let mut sum = vec![0; a.len()];
    match (x, y) {
        (0, _) => sum = a.to_vec(),
        (_, 0) => sum = b.to_vec(),
        _ => {
            add_times_short(&mut sum, a, y);
            add_times_short(&mut sum, b, x);
        }
    }
    sum.iter().any(|v| *v != 0).then_some(sum)
}

/// With every member there: P's sum leaves out Q and has equal weights; Q's leaves out P and has powers of two.
fn complete(a: &[u8], b: &[u8], q: usize) -> Option<Solved> {
    let sum = without(a, b, q)?;
    let mut weights = sum
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != q)
        .map(|(_, w)| *w);
    let first = weights.next().filter(|w| *w != 0)?;
    if !weights.all(|w| w == first) {
        return None;
    }
    let mut readings = (0..sum.len()).filter(|p| *p != q).filter_map(|p| {
        let mut weights = without(a, b, p)?;
        let of_q = *weights.get(q)?;
        scale(&mut weights, inverse(of_q));
        powers(&weights, Some(p), q, &[])
    });
    let only = readings.next()?;
    readings.next().is_none().then_some(only)
}

/// With one member missing: Q's sum alone where that is P, else Q's plus k times P's with the lost block's power k.
fn degraded(sum: &[u8], q: usize) -> Option<Vec<Solved>> {
    let scaled = *sum.get(q).filter(|w| **w != 0)?;
    let mut weights = sum.to_vec();
    scale(&mut weights, inverse(scaled));
    let mut readings: Vec<Solved> = powers(&weights, None, q, &[]).into_iter().collect();
    for p in (0..sum.len()).filter(|p| *p != q) {
        let k = *weights.get(p)?;
        let Some(lost) = log(k) else { continue };
        if lost >= sum.len() {
            continue;
        }
        let mut shifted = weights.clone();
        for (i, weight) in shifted.iter_mut().enumerate() {
            *weight ^= if i == q { 0 } else { k };
        }
        readings.extend(powers(&shifted, Some(p), q, &[lost]));
    }
    Some(readings)
}

/// The powers of two that the weights are: different ones, none in `taken`, below the number of members.
fn powers(weights: &[u8], p: Option<usize>, q: usize, taken: &[usize]) -> Option<Solved> {
    let members = weights.len() + usize::from(p.is_none() || !taken.is_empty());
    let mut seen = taken.to_vec();
    let mut power = Vec::with_capacity(weights.len());
    for (i, weight) in weights.iter().enumerate() {
        if i == q || Some(i) == p {
            power.push(None);
            continue;
        }
        let log = log(*weight).filter(|l| *l < members && !seen.contains(l))?;
        seen.push(log);
        power.push(Some(log));
    }
    Some(Solved { p, q, power })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of splitmix64: a weaker generator's streams are linearly dependent, which is just what is looked for here.
    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = u64::from(seed) << 32;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 33) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// P and Q of data blocks with these powers.
    fn parity(data: &[Vec<u8>], powers: &[usize]) -> (Vec<u8>, Vec<u8>) {
        let (mut p, mut q) = (vec![0; data[0].len()], vec![0; data[0].len()]);
        for (block, i) in data.iter().zip(powers) {
            add(&mut p, block);
            add_times(&mut q, block, power(*i));
        }
        (p, q)
    }

    /// The field: 2 generates it, and its tables agree with multiplication by hand.
    #[test]
    fn the_field() {
        assert_eq!(
            (power(0), power(8), mul(0x80, 2), mul(7, 0)),
            (1, 0x1d, 0x1d, 0)
        );
        for x in 1..=255 {
            assert_eq!(mul(x, inverse(x)), 1);
            assert_eq!(power(log(x).unwrap()), x);
        }
    }

    proptest! {
        /// Whatever two blocks are lost, the wanted one comes back: a wrong byte here is a wrong byte in every file.
        #[test]
        fn two_losses_come_back(n in 1..10_usize, wanted in 0..10_usize, other in 0..12_usize) {
            let wanted = wanted % n;
            let data: Vec<Vec<u8>> = (0..n).map(|i| noise(i as u32 + 7, 64)).collect();
            let powers: Vec<usize> = (0..n).map(|i| (i * 5) % 11).collect();
            let (p, q) = parity(&data, &powers);
            let block = |i: usize| (i != wanted && i != other).then(|| data[i].as_slice());
            let row = Row {
                data: (0..n).map(|i| (block(i), powers[i])).collect(),
                p: (other != n).then_some(&p),
                q: (other != n + 1).then_some(&q),
            };
            prop_assert_eq!(row.recover(wanted, 64).unwrap(), &data[wanted][..]);
            let blind = Row { data: row.data, p: None, q: row.q };
            let only_q = other >= n || other == wanted;
            prop_assert_eq!(blind.recover(wanted, 64).is_some(), only_q && other != n + 1);
        }

        /// One row of noise tells P, Q and every power, with all members or one data block missing.
        #[test]
        fn a_row_names_its_members(n in 2..10_usize, turn in 0..12_usize, missing in 0..13_usize) {
            let data: Vec<Vec<u8>> = (0..n).map(|i| noise((i + 31 * turn) as u32 + 1, 256)).collect();
            let powers: Vec<usize> = (0..n).map(|i| (i + turn) % n).collect();
            let (p, q) = parity(&data, &powers);
            let mut all: Vec<(Option<usize>, bool, &[u8])> =
                data.iter().zip(&powers).map(|(d, i)| (Some(*i), false, d.as_slice())).collect();
            all.push((None, true, &p));
            all.push((None, false, &q));
            all.rotate_left(turn % (n + 2));
            let lost = (missing < all.len()).then(|| all.remove(missing));
            let columns: Vec<&[u8]> = all.iter().map(|c| c.2).collect();
            // These two rows read the same with two of their columns exchanged.
            let undecided = lost.is_some_and(|c| c.0 == Some(0) || c.1);
            let q = all.iter().position(|c| c.0.is_none() && !c.1).filter(|_| !undecided);
            let expected = q.map(|q| Solved {
                p: all.iter().position(|c| c.1),
                q,
                power: all.iter().map(|c| c.0).collect(),
            });
            // Two data blocks with one lost are three columns with one relation, which has several readings.
            if columns.len() > 3 {
                prop_assert_eq!(solve(&null_space(&columns)), expected);
            }
        }
    }

    proptest! {
        /// A sum that holds for most of a page and fails at one byte is none, wherever that byte lies; and no sum is missed.
        #[test]
        fn sums_hold_at_every_position(
            n in 2..8_usize, p in any::<bool>(), q in any::<bool>(), changed in proptest::collection::vec(0..4096_usize, 0..3),
        ) {
            let mut blocks: Vec<Vec<u8>> = (0..n).map(|i| noise(i as u32 + 3, 4096)).collect();
            let powers: Vec<usize> = (0..n).collect();
            let (sum, weighted) = parity(&blocks, &powers);
            blocks.extend(p.then_some(sum));
            blocks.extend(q.then_some(weighted));
            for at in changed {
                blocks[0][at] ^= 0x40;
            }
            let columns: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let mut all = Equations::of(columns.len());
            for position in 0..4096 {
                all.add(at(&columns, position));
            }
            let space = null_space(&columns);
            prop_assert_eq!(first_not_zero(&columns, &space, 0), None);
            prop_assert_eq!(space, all.sums());
        }
    }

    /// Unrelated data, zeros and raid5 must not be read as raid6: any answer would be an invention.
    #[test]
    fn what_is_no_raid6_says_nothing() {
        let noise: Vec<Vec<u8>> = (1..5).map(|i| noise(i, 512)).collect();
        let columns: Vec<&[u8]> = noise.iter().map(Vec::as_slice).collect();
        assert_eq!(null_space(&columns), Vec::<Vec<u8>>::new());
        let zeros = [0; 512];
        assert_eq!(solve(&null_space(&[&zeros, &zeros, &zeros, &zeros])), None);
        let (p, _) = parity(&noise, &[0, 1, 2, 3]);
        let raid5: Vec<&[u8]> = columns.iter().copied().chain([p.as_slice()]).collect();
        assert_eq!(null_space(&raid5), [vec![1; 5]]);
        assert_eq!(solve(&null_space(&raid5)), None);
    }
}
