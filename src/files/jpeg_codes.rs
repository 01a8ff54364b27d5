//! Huffman codes of JPEG images, as their tables give them.
//!
//! Source: ITU-T T.81 (JPEG), annex C; F.2.2.3.

/// Bits by which a code is looked up at once.
const QUICK: u32 = 9;

/// A table of Huffman codes.
#[derive(Debug)]
pub(super) struct Codes {
    /// For each beginning of a code: its length and what it says; no length where it is longer or there is none.
    quick: Vec<(u8, u8)>,
    /// For each length in bits: one more than its last code, with zeros behind to 16 bits, and where that code's value
    /// stands, counted from code 0.
    ends: [(u32, i32); 17],
    values: Vec<u8>,
}

impl Codes {
    /// The table of which these are the counts of codes of each length, and the values; `None` if it is none.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Codes> {
        let mut quick = vec![(0, 0); 1 << QUICK];
        let mut ends = [(0, 0); 17];
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            let shift = 16 - length;
            let offset = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for _ in 0..*count {
                let value = *values.get(index)?;
                if length <= QUICK {
                    let first = usize::try_from(code << (QUICK - length)).ok()?;
                    let all = quick.get_mut(first..first + (1 << (QUICK - length)))?;
                    all.fill((u8::try_from(length).ok()?, value));
                }
                code += 1;
                index += 1;
            }
            // The code of ones only is none.
            if code >= 1 << length {
                return None;
            }
            *ends.get_mut(usize::try_from(length).ok()?)? = (code << shift, offset);
            code <<= 1;
        }
        (index == values.len()).then(|| Codes {
            quick,
            ends,
            values: values.to_vec(),
        })
    }

    /// The length and value of the code that these 16 bits begin with.
    pub(super) fn find(&self, bits: u16) -> Option<(u8, u8)> {
        let quick = self.quick.get(usize::from(bits >> (16 - QUICK)))?;
        if quick.0 > 0 {
            return Some(*quick);
        }
        let long = (QUICK + 1..=16).find_map(|length| {
            let (end, offset) = *self.ends.get(usize::try_from(length).ok()?)?;
            let code = i32::from(bits) >> (16 - length);
            (u32::from(bits) < end).then_some((length, code + offset))
        });
        let (length, index) = long?;
        let value = self.values.get(usize::try_from(index).ok()?)?;
        Some((u8::try_from(length).ok()?, *value))
    }
}
