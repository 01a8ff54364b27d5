//! Where parity and data lie in one row of raid4, raid5 and raid6, and which power of two each data block has in Q.
//!
//! A row is one chunk of every member. Everything repeats after as many rows
//! as there are members. Source: the kernel's `raid5_compute_sector` and
//! `raid6_idx_to_slot` in `drivers/md/raid5.c`; measured against it by
//! tests/lab.rs.

use super::geometry::GeometryError;
use super::level::{Level, parity_number};

/// How parity goes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    /// From the last member down.
    Left,
    /// From the first member up.
    Right,
    /// Always at this slot.
    Fixed(usize),
}

/// A parity layout over a number of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParityLayout {
    members: usize,
    parities: usize,
    /// The kernel's number.
    number: u32,
}

/// What lies in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// The slot of P.
    pub p: usize,
    /// The slot of Q, in raid6.
    pub q: Option<usize>,
    /// The slots of the data blocks, in the array's order.
    pub data: Vec<usize>,
    /// For each of those, its power of two in Q; empty without Q.
    pub power: Vec<usize>,
}

impl ParityLayout {
    /// A layout in mdadm's words over so many members; raid4 has none.
    ///
    /// # Errors
    /// [`GeometryError`] where the level has no such layout, or cannot have so few members.
    pub fn new(
        level: Level,
        layout: Option<&str>,
        members: usize,
    ) -> Result<ParityLayout, GeometryError> {
        let parities = level.parities();
        if members <= parities {
            return Err(GeometryError::Impossible(format!(
                "{level} over {members} members"
            )));
        }
        let number = match (level, layout) {
            (Level::Raid4, _) => Some(5),
            (Level::Raid5, Some(name)) => parity_number(name).filter(|n| *n <= 5),
            (Level::Raid6, Some(name)) => parity_number(name),
            _ => None,
        };
        let name = layout.unwrap_or("none");
        let number =
            number.ok_or_else(|| GeometryError::Unsupported(format!("{level} layout {name}")))?;
        // Q on the last member leaves a raid5 over the others, which needs two.
        if number >= 16 && members < 3 {
            return Err(GeometryError::Impossible(format!(
                "{name} over {members} members"
            )));
        }
        Ok(ParityLayout {
            members,
            parities,
            number,
        })
    }

    /// Data blocks in a row.
    pub fn width(&self) -> usize {
        self.members - self.parities
    }

    /// What lies in row `row`.
    pub fn stripe(&self, row: u64) -> Stripe {
        let n = self.members;
        // *-6: a raid5 over all but the last, which holds Q.
        let (ring, q_last) = if self.number >= 16 {
            (n - 1, true)
        } else {
            (n, false)
        };
        // DDF's N-restart is left-asymmetric one row further on.
        let row = row + u64::from(self.number == 9);
        let step = usize::try_from(row % ring as u64).unwrap_or_default();
        let (rotation, follows) = match self.number % 16 {
            0 | 9 => (Rotation::Left, false),
            1 | 8 => (Rotation::Right, false),
            2 | 10 => (Rotation::Left, true),
            3 => (Rotation::Right, true),
            4 => (Rotation::Fixed(0), false),
            _ => (
                Rotation::Fixed(ring - if q_last { 1 } else { self.parities }),
                false,
            ),
        };
        let p = match rotation {
            Rotation::Left => ring - 1 - step,
            Rotation::Right => step,
            Rotation::Fixed(slot) => slot,
        };
        let q = match (self.parities, q_last, self.number) {
            (1, ..) => None,
            (_, true, _) => Some(n - 1),
            (.., 10) => Some((p + n - 1) % n),
            _ => Some((p + 1) % n),
        };
        let is_data = |slot: &usize| *slot != p && Some(*slot) != q;
        // Symmetric layouts go on behind the parity and wrap; the others keep the members' order.
        let data: Vec<usize> = match follows {
            true => (1..=ring).map(|i| (p + i) % ring).filter(is_data).collect(),
            false => (0..n).filter(is_data).collect(),
        };
        let power = q.map_or_else(Vec::new, |q| {
            data.iter().map(|slot| self.power(*slot, p, q)).collect()
        });
        Stripe { p, q, data, power }
    }

    /// The power of two that a data block's slot has in Q: DDF counts slots, the others data blocks from behind Q.
    fn power(&self, slot: usize, p: usize, q: usize) -> usize {
        let n = self.members;
        if (8..=10).contains(&self.number) {
            return slot;
        }
        let behind_q = |slot: usize| (slot + n - q - 1) % n;
        behind_q(slot) - usize::from(behind_q(p) < behind_q(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripe(level: Level, layout: &str, members: usize, row: u64) -> Stripe {
        ParityLayout::new(level, Some(layout), members)
            .unwrap()
            .stripe(row)
    }

    /// Rows worked out by hand from the kernel's rules; the lab holds all layouts against the kernel itself.
    #[test]
    fn rows_by_hand() {
        let s = stripe(Level::Raid5, "left-symmetric", 4, 1);
        assert_eq!((s.p, s.q, s.data), (2, None, vec![3, 0, 1]));
        let s = stripe(Level::Raid5, "left-asymmetric", 4, 1);
        assert_eq!((s.p, s.data), (2, vec![0, 1, 3]));
        // P on the last member: Q wraps to the first.
        let s = stripe(Level::Raid6, "left-asymmetric", 5, 0);
        assert_eq!(
            (s.p, s.q, s.data, s.power),
            (4, Some(0), vec![1, 2, 3], vec![0, 1, 2])
        );
        let s = stripe(Level::Raid6, "left-symmetric", 5, 1);
        assert_eq!(
            (s.p, s.q, s.data, s.power),
            (3, Some(4), vec![0, 1, 2], vec![0, 1, 2])
        );
        let s = stripe(Level::Raid6, "left-asymmetric", 5, 2);
        // Q at 3: its order goes 4, 0, 1, which is not the data's 0, 1, 4.
        assert_eq!(
            (s.p, s.q, s.data, s.power),
            (2, Some(3), vec![0, 1, 4], vec![1, 2, 0])
        );
        let s = stripe(Level::Raid6, "ddf-N-continue", 5, 0);
        assert_eq!(
            (s.p, s.q, s.data, s.power),
            (4, Some(3), vec![0, 1, 2], vec![0, 1, 2])
        );
        let s = stripe(Level::Raid6, "left-symmetric-6", 5, 1);
        assert_eq!((s.p, s.q, s.data), (2, Some(4), vec![3, 0, 1]));
    }

    /// Every slot of a row has one use, and powers are not used twice, or two losses could not be told apart.
    #[test]
    fn every_slot_once() {
        for level in [Level::Raid4, Level::Raid5, Level::Raid6] {
            let names = match level {
                Level::Raid4 => vec!["parity-last"],
                _ => super::super::level::parity_names(level),
            };
            for (name, members) in names
                .iter()
                .flat_map(|n| (level.parities() + 1..=12).map(move |m| (n, m)))
            {
                let Ok(layout) = ParityLayout::new(level, Some(name), members) else {
                    assert!(members < 4, "{name}");
                    continue;
                };
                for row in 0..2 * members as u64 {
                    let s = layout.stripe(row);
                    let mut slots = s.data.clone();
                    slots.push(s.p);
                    slots.extend(s.q);
                    slots.sort_unstable();
                    assert_eq!(
                        slots,
                        (0..members).collect::<Vec<_>>(),
                        "{name} {members} row {row}"
                    );
                    let mut powers = s.power.clone();
                    powers.sort_unstable();
                    powers.dedup();
                    assert_eq!(powers.len(), s.power.len());
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(ParityLayout::new(Level::Raid6, Some("left-symmetric"), 2).is_err());
        assert!(ParityLayout::new(Level::Raid5, Some("ddf-N-continue"), 4).is_err());
        assert!(ParityLayout::new(Level::Raid5, None, 4).is_err());
        assert!(ParityLayout::new(Level::Raid0, None, 4).is_err());
    }
}
