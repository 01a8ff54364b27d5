//! The best way to give each seat a column of its own, by a table of votes: the assignment problem.
//!
//! Kuhn's method with potentials, in the cube of the number of members: orders
//! of forty members are found without trying any.

/// Votes: `table[seat][column]`, how much speaks for that seat having that column.
pub type Votes = Vec<Vec<i64>>;

/// What forbids a pairing.
pub const NEVER: i64 = i64::MIN / 1_000_000;

/// For each seat its column, so that the sum of votes is greatest. There must be at least as many columns as seats.
///
/// Of several such ways any one comes back; it is the same one each time.
pub fn assign(votes: &Votes, columns: usize) -> Vec<usize> {
    let seats = votes.len();
    let cost = |seat: usize, column: usize| -> i64 {
        let row = seat.checked_sub(1).and_then(|s| votes.get(s));
        -row.and_then(|r| r.get(column.checked_sub(1)?))
            .copied()
            .unwrap_or(0)
    };
    // Numbered from 1; 0 is nobody.
    let (mut of_seat, mut of_column) = (vec![0_i64; seats + 1], vec![0_i64; columns + 1]);
    let mut taken_by = vec![0_usize; columns + 1];
    let mut before = vec![0_usize; columns + 1];
    let at = |v: &[i64], i: usize| v.get(i).copied().unwrap_or_default();
    let who = |v: &[usize], i: usize| v.get(i).copied().unwrap_or_default();
    for seat in 1..=seats {
        set(&mut taken_by, 0, seat);
        let mut column = 0;
        let mut least = vec![i64::MAX; columns + 1];
        let mut used = vec![false; columns + 1];
        // Grow a tree of pairings from this seat until it meets a free column.
        loop {
            set(&mut used, column, true);
            let holder = who(&taken_by, column);
            let (mut delta, mut next) = (i64::MAX, 0);
            for other in 1..=columns {
                if used.get(other) == Some(&true) {
                    continue;
                }
                let slack = cost(holder, other) - at(&of_seat, holder) - at(&of_column, other);
                if slack < at(&least, other) {
                    set(&mut least, other, slack);
                    set(&mut before, other, column);
                }
                if at(&least, other) < delta {
                    (delta, next) = (at(&least, other), other);
                }
            }
            if next == 0 {
                break;
            }
            for other in 0..=columns {
                if used.get(other) == Some(&true) {
                    let holder = who(&taken_by, other);
                    add(&mut of_seat, holder, delta);
                    add(&mut of_column, other, -delta);
                } else {
                    add(&mut least, other, -delta);
                }
            }
            column = next;
            if who(&taken_by, column) == 0 {
                break;
            }
        }
        while column != 0 {
            let earlier = who(&before, column);
            let holder = who(&taken_by, earlier);
            set(&mut taken_by, column, holder);
            column = earlier;
        }
    }
    let mut of = vec![0; seats];
    for column in 1..=columns {
        if let Some(seat) = who(&taken_by, column).checked_sub(1) {
            set(&mut of, seat, column - 1);
        }
    }
    of
}

fn set<T>(values: &mut [T], at: usize, value: T) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

fn add(values: &mut [i64], at: usize, value: i64) {
    if let Some(slot) = values.get_mut(at) {
        *slot = slot.saturating_add(value);
    }
}

/// The votes that a pairing gets.
pub fn score(votes: &Votes, of: &[usize]) -> i64 {
    let each = votes
        .iter()
        .zip(of)
        .map(|(row, column)| row.get(*column).copied().unwrap_or_default());
    each.sum()
}

/// The best pairing, and for each of its pairs the best one without that pair: the next best of all is among those.
pub fn best_and_next(votes: &Votes, columns: usize) -> (Vec<usize>, Vec<Vec<usize>>) {
    let best = assign(votes, columns);
    let mut others = Vec::new();
    for (seat, column) in best.iter().enumerate() {
        let mut without = votes.clone();
        if let Some(vote) = without.get_mut(seat).and_then(|row| row.get_mut(*column)) {
            *vote = NEVER;
        }
        let other = assign(&without, columns);
        if score(&without, &other) > NEVER / 2 {
            others.push(other);
        }
    }
    others.sort();
    others.dedup();
    (best, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_trying_all(
        votes: &Votes,
        columns: usize,
        seat: usize,
        used: &mut Vec<usize>,
        all: &mut Vec<i64>,
    ) {
        if seat == votes.len() {
            all.push(score(votes, used));
            return;
        }
        for column in 0..columns {
            if !used.contains(&column) {
                used.push(column);
                by_trying_all(votes, columns, seat + 1, used, all);
                used.pop();
            }
        }
    }

    proptest! {
        /// A pairing that is not the best would be an order claimed for certain that is wrong.
        #[test]
        fn it_is_the_best_and_the_next_is_next(
            seats in 1..6_usize, more in 0..2_usize, numbers in prop::collection::vec(0..9_i64, 36)
        ) {
            let columns = seats + more;
            let votes: Votes = numbers.chunks(6).take(seats).map(|r| r[..columns].to_vec()).collect();
            let mut all = Vec::new();
            by_trying_all(&votes, columns, 0, &mut Vec::new(), &mut all);
            all.sort_unstable();
            let (best, others) = best_and_next(&votes, columns);
            prop_assert_eq!(score(&votes, &best), all.pop().unwrap());
            let next = others.iter().map(|o| score(&votes, o)).max();
            prop_assert_eq!(next, all.pop());
        }
    }
}
