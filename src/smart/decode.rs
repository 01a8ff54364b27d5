//! Raw values of ATA attributes, by vendor: many are not the count that their name promises.

/// Who made a drive, as far as its encodings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Packs errors above operations in 1, 7 and 195, and three counters into 188.
    Seagate,
    /// 200 counts errors of whole zones.
    WesternDigital,
    /// Packs fields into 1.
    Hitachi,
    /// Any other: nothing is known.
    Other,
}

impl Vendor {
    /// By smartctl's family and model.
    pub fn of(family: &str, model: &str) -> Vendor {
        let seagate_model = model.strip_prefix("ST").and_then(|m| m.bytes().next());
        if family.contains("Seagate") || seagate_model.is_some_and(|b| b.is_ascii_digit()) {
            Vendor::Seagate
        } else if family.starts_with("Western Digital") || model.starts_with("WDC ") {
            Vendor::WesternDigital
        } else if [family, model]
            .iter()
            .any(|t| t.starts_with("HGST") || t.starts_with("Hitachi"))
        {
            Vendor::Hitachi
        } else {
            Vendor::Other
        }
    }
}

/// What a raw value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// So many.
    Count(u64),
    /// Nothing that can be told from the number.
    Opaque,
}

impl Decoded {
    /// The count, if it is one.
    pub fn count(self) -> Option<u64> {
        match self {
            Decoded::Count(n) => Some(n),
            Decoded::Opaque => None,
        }
    }
}

/// Decodes an attribute's raw value. `text` is smartctl's own reading of it, whose first number smartctl has decoded
/// for the drives that its database knows.
///
/// Sources: smartmontools' `drivedb.h` presets (raw24/raw32 for Seagate's 1, 7 and 195, raw16 for its 188,
/// raw16(raw16) for 5 and 196), checked on published outputs.
pub fn decode(vendor: Vendor, id: u64, raw: u64, text: &str) -> Decoded {
    let first: String = text.chars().take_while(char::is_ascii_digit).collect();
    let first = first.parse().ok();
    match (vendor, id) {
        (Vendor::Seagate, 1 | 7 | 195) => Decoded::Count(match text.split_once('/') {
            Some(_) => first.unwrap_or(raw >> 32),
            None => raw >> 32,
        }),
        (Vendor::Seagate, 188) => Decoded::Count(raw & 0xffff),
        (Vendor::Hitachi, 1) => Decoded::Opaque,
        // One drive shows all ones for "never computed".
        (_, 1) if raw == 0xffff_ffff => Decoded::Opaque,
        (Vendor::WesternDigital, 200) => Decoded::Count(raw),
        // On others 200 is a pressure limit, or a count of something else.
        (_, 200) => Decoded::Opaque,
        (_, 5 | 9 | 196) => Decoded::Count(first.unwrap_or(raw & 0xffff_ffff)),
        _ => Decoded::Count(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Seagate has a raw value of millions in attribute 1 and no error: taken as a count it would make all of
    /// them the worst disks of a machine.
    #[test]
    fn seagate_packs_errors_above_operations() {
        let seagate = Vendor::of("Seagate Barracuda", "ST3500418AS");
        assert_eq!(seagate, Vendor::Seagate);
        assert_eq!(
            decode(seagate, 1, 168_000_000, "168000000"),
            Decoded::Count(0)
        );
        assert_eq!(
            decode(seagate, 7, 0xbac_32e2_600d, "x"),
            Decoded::Count(2988)
        );
        assert_eq!(
            decode(seagate, 188, 0xc_000c_000c, "12 12 12"),
            Decoded::Count(12)
        );
    }

    /// A packed field read whole is a number of no meaning.
    #[test]
    fn others_are_what_they_are() {
        let hitachi = Vendor::of("Hitachi Ultrastar A7K2000", "Hitachi HUA722010CLA330");
        assert_eq!(decode(hitachi, 1, 0x4c_004c, ""), Decoded::Opaque);
        let wd = Vendor::of("", "WDC WD5002ABYS-02B1B0");
        assert_eq!(decode(wd, 200, 3, "3"), Decoded::Count(3));
        assert_eq!(decode(Vendor::Other, 200, 100, "100"), Decoded::Opaque);
        assert_eq!(
            decode(Vendor::Other, 196, 53_416_508_262_463, "2111 (12437 0)"),
            Decoded::Count(2111)
        );
    }
}
