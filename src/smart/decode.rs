//! Raw values of ATA attributes, by vendor: many are not the count that their name promises.
//!
//! Sources: smartmontools' `drivedb.h` presets (raw24/raw32 for Seagate's 1, 7
//! and 195 and SandForce's 1, raw16 for Seagate's 188, raw16(raw16) for 5 and
//! 196, raw24(raw8), msec24hour32 and min2hour for 9, tempminmax for 190 and
//! 194), checked on published outputs. The same file gives the names of
//! `is_of_no_damage`.

/// Who made a drive, as far as its encodings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Packs errors above operations in 1, 7 and 195, and three counters into 188.
    Seagate,
    /// 200 counts errors of whole zones.
    WesternDigital,
    /// 200 counts errors of writing, on its hard disks.
    Samsung,
    /// Packs fields into 1.
    Hitachi,
    /// 197 of the MX500 goes to 1 and back by itself.
    CrucialMx500,
    /// Any other: nothing is known.
    Other,
}

impl Vendor {
    /// By smartctl's family and model.
    pub fn of(family: &str, model: &str) -> Vendor {
        let starts = |name: &str| family.starts_with(name) || model.starts_with(name);
        let seagate_model = model.strip_prefix("ST").and_then(|m| m.bytes().next());
        if family.contains("Seagate") || seagate_model.is_some_and(|b| b.is_ascii_digit()) {
            Vendor::Seagate
        } else if starts("HGST") || starts("Hitachi") || family.contains("HGST") {
            Vendor::Hitachi
        } else if starts("Western Digital") || starts("WDC ") || is_wd_model(model) {
            Vendor::WesternDigital
        } else if starts("SAMSUNG HD") || starts("SAMSUNG SpinPoint") {
            Vendor::Samsung
        } else if model.starts_with("CT") && model.contains("MX500") {
            Vendor::CrucialMx500
        } else {
            Vendor::Other
        }
    }
}

/// `WD4000FYYX`: behind a controller the maker's name is often left out.
fn is_wd_model(model: &str) -> bool {
    let mut rest = model.strip_prefix("WD").unwrap_or_default().bytes();
    rest.next().is_some_and(|b| b.is_ascii_digit())
}

/// What a raw value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// So many.
    Count(u64),
    /// Errors, and the operations that they came up in.
    Packed {
        /// The upper bits.
        errors: u64,
        /// The lower 32 bits: always large, and no fault.
        operations: u64,
    },
    /// Three counters in one number, the total lowest.
    Words([u64; 3]),
    /// Hours.
    Hours(u64),
    /// Degrees, in the lowest byte.
    Celsius(u64),
    /// Nothing that can be told from the number, and why.
    Opaque(&'static str),
}

impl Decoded {
    /// What is to be weighed, if the number says it.
    pub fn count(self) -> Option<u64> {
        match self {
            Decoded::Count(n) | Decoded::Hours(n) | Decoded::Words([n, ..]) => Some(n),
            Decoded::Packed { errors, .. } => Some(errors),
            Decoded::Celsius(_) | Decoded::Opaque(_) => None,
        }
    }

    /// In words.
    pub fn text(self) -> String {
        match self {
            Decoded::Count(n) => n.to_string(),
            Decoded::Packed { errors, operations } => {
                format!("{errors} errors in {operations} operations")
            }
            Decoded::Words([a, b, c]) => format!("{a} (with {b} and {c} of special kinds)"),
            Decoded::Hours(n) => format!("{n} h"),
            Decoded::Celsius(n) => format!("{n} °C"),
            Decoded::Opaque(why) => format!("not to be trusted: {why}"),
        }
    }
}

/// More hours than any drive has run: thirty years.
pub const MOST_HOURS: u64 = 30 * 8766;

/// A vendor that is not known to pack does not count errors in millions.
const LARGEST_COUNT: u64 = 1 << 20;

/// Decodes an attribute's raw value. `text` is smartctl's own reading of it, whose first number smartctl has decoded
/// for the drives that its database knows.
pub fn decode(vendor: Vendor, id: u64, raw: u64, text: &str) -> Decoded {
    let first = number_at_start(text);
    let packed = || Decoded::Packed {
        errors: raw >> 32,
        operations: raw & 0xffff_ffff,
    };
    match (vendor, id) {
        // smartctl knows the packing and has unpacked it.
        (_, 1 | 7 | 195 | 198) if text.contains('/') => {
            let (errors, operations) = text.split_once('/').unwrap_or_default();
            Decoded::Packed {
                errors: number_at_start(errors).unwrap_or(raw >> 32),
                operations: number_at_start(operations).unwrap_or(raw & 0xffff_ffff),
            }
        }
        (Vendor::Seagate, 1 | 7 | 195) => packed(),
        (Vendor::Seagate, 188) => {
            let word = |n: u32| raw >> (16 * n) & 0xffff;
            match (word(0), word(1), word(2)) {
                (low, a, b) if low >= a && low >= b => Decoded::Words([low, a, b]),
                _ => Decoded::Opaque("its three counters contradict each other"),
            }
        }
        (Vendor::Hitachi, 1) if raw > 0xffff => Decoded::Opaque("this maker packs fields into it"),
        (_, 1) if raw == 0xffff_ffff => Decoded::Opaque("all ones: never computed"),
        (_, 1 | 7) if raw >= LARGEST_COUNT => {
            Decoded::Opaque("too large for a count; this maker's packing is not known")
        }
        (Vendor::CrucialMx500, 197) if raw == 1 => {
            Decoded::Opaque("this firmware sets it to 1 and back without a fault")
        }
        (Vendor::WesternDigital | Vendor::Samsung, 200) => Decoded::Count(raw),
        (_, 200) => Decoded::Opaque("a pressure limit or another count on some makers' drives"),
        (_, 9) => match first.unwrap_or(raw & 0xffff_ffff) {
            hours if hours <= MOST_HOURS => Decoded::Hours(hours),
            _ => Decoded::Opaque("more than thirty years: minutes or half minutes, or no clock"),
        },
        (_, 190 | 194) => Decoded::Celsius(raw & 0xff),
        (_, 5 | 196) => Decoded::Count(first.unwrap_or(raw & 0xffff)),
        _ => Decoded::Count(raw),
    }
}

/// What smartctl's database calls counts of something else than damage, at the ids of damage: 198 is the sectors read in
/// all on drives of Indilinx, 197 is nothing on some of Phison's.
const OF_NO_DAMAGE: [&str; 7] = [
    "_Tot_Ct",
    "_GiB",
    "Not_In_Use",
    "Not_Supported",
    "Unknown_",
    "Spare_Block",
    "Factory_Bad_Block",
];

/// Whether smartctl's name of an attribute says that its id does not mean on this drive what it means on others.
pub(super) fn is_of_no_damage(id: u64, name: &str) -> bool {
    let of_damage = matches!(id, 5 | 10 | 187 | 188 | 196..=199);
    of_damage && OF_NO_DAMAGE.iter().any(|other| name.contains(other))
}

fn number_at_start(text: &str) -> Option<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..end)?.parse().ok()
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
        let one = decode(seagate, 1, 168_000_000, "168000000");
        assert_eq!(one.count(), Some(0));
        let seven = decode(seagate, 7, 0xbac_32e2_600d, "x");
        assert_eq!(seven.text(), "2988 errors in 853696525 operations");
        let timeouts = decode(seagate, 188, 0xc_000c_000c, "12 12 12");
        assert_eq!(timeouts.count(), Some(12));
        // A low word below the others is another encoding.
        assert_eq!(decode(seagate, 188, 0x5_0000_0001, "").count(), None);
        // What smartctl has unpacked is taken from it, whoever made the drive.
        let sandforce = decode(Vendor::Other, 1, 79_241_087, "0/79241087");
        assert_eq!(sandforce.count(), Some(0));
    }

    /// Sectors read over a drive's life made a sound one the worst of a machine.
    #[test]
    fn names_of_no_damage() {
        for (id, name) in [
            (198, "Read_Sectors_Tot_Ct"),
            (199, "Host_Writes_GiB"),
            (197, "Not_In_Use"),
            (196, "Spare_Blocks"),
            (10, "Unknown_SSD_Attribute"),
        ] {
            assert!(is_of_no_damage(id, name), "{name}");
        }
        for (id, name) in [
            (198, "Offline_Uncorrectable"),
            (198, "Uncor_Read_Error_Ct"),
            (197, "Total_Unc_Read_Failures"),
            (5, "Retired_Block_Count"),
            (196, "Erase_Failure_Blk_Ct"),
            (197, ""),
            // Weighed by nothing.
            (241, "Total_LBAs_Written_Tot_Ct"),
        ] {
            assert!(!is_of_no_damage(id, name), "{name}");
        }
    }

    /// A packed field read whole is a number of no meaning.
    #[test]
    fn others_are_what_they_are() {
        let hitachi = Vendor::of("Hitachi Ultrastar A7K2000", "Hitachi HUA722010CLA330");
        assert_eq!(decode(hitachi, 1, 0x4c_004c, "").count(), None);
        assert_eq!(Vendor::of("", "WD4000FYYX"), Vendor::WesternDigital);
        let wd = Vendor::of("", "WDC WD5002ABYS-02B1B0");
        assert_eq!(decode(wd, 200, 3, "3"), Decoded::Count(3));
        assert_eq!(decode(Vendor::Other, 200, 100, "100").count(), None);
        let events = decode(Vendor::Other, 196, 53_416_508_262_463, "2111 (12437 0)");
        assert_eq!(events, Decoded::Count(2111));
        assert_eq!(
            decode(Vendor::Other, 1, 83_905_456, "83905456").count(),
            None
        );
        let mx500 = Vendor::of("", "CT1000MX500SSD1");
        assert_eq!(decode(mx500, 197, 1, "1").count(), None);
        assert_eq!(decode(mx500, 197, 2, "2"), Decoded::Count(2));
    }

    /// Hours are told in hours, minutes, half minutes and milliseconds; a wrong unit makes a disk of a year one of
    /// sixty, and every self-test on it old.
    #[test]
    fn hours_of_all_kinds() {
        let hours = |raw, text| decode(Vendor::Other, 9, raw, text);
        assert_eq!(
            hours(167_031_278_144_165, "2725 (151 234 0)"),
            Decoded::Hours(2725)
        );
        assert_eq!(
            hours(9_103_526_781_257_015, "1335h+00m+00.000s"),
            Decoded::Hours(1335)
        );
        assert_eq!(
            hours(115_594_749_838_557, "34013 (105 34 0)"),
            Decoded::Hours(34013)
        );
        // A drive that smartctl does not know and that counts minutes.
        assert_eq!(hours(1_200_000, "1200000").count(), None);
        let temperature = decode(Vendor::Other, 194, 0x2d_0013_0022, "34 (Min/Max 19/45)");
        assert_eq!(temperature, Decoded::Celsius(34));
    }
}
