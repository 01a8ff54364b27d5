//! What kind of file a program is, as the kernel and the loader see it.
//!
//! Only the header, the program headers and the dynamic section are looked at:
//! sections are for linkers, and may lie or be gone.

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, Dynamic};
use goblin::elf::header::header32::SIZEOF_EHDR;
use goblin::elf::program_header::{PT_INTERP, PT_LOAD};
use goblin::elf::{Elf as Goblin, ProgramHeader};

/// Longest text taken from a file: a path.
const LONGEST: usize = 4096;

/// Libraries that one file may need.
const MOST_NEEDED: usize = 512;

/// A file that the loader can map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// 64 bits, not 32.
    pub is_64: bool,
    /// Little endian.
    pub is_little: bool,
    /// The machine, by ELF's number.
    pub machine: u16,
    /// The loader that it asks for; `None` for a static program or a library.
    pub interpreter: Option<String>,
    /// Whether it has a dynamic section.
    pub is_dynamic: bool,
    /// Shared libraries that it needs.
    pub needed: Vec<String>,
    /// Where its libraries lie, and those of its libraries.
    pub rpath: Vec<String>,
    /// Where its own libraries lie.
    pub runpath: Vec<String>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program or library.
    Elf(Elf),
    /// A text for an interpreter.
    Script(String),
    /// It begins as an ELF file and is none that could be loaded.
    Broken(String),
    /// Anything else.
    Other,
}

/// What a file is, from its bytes.
pub fn kind(bytes: &[u8]) -> Kind {
    if let Some(rest) = bytes.strip_prefix(b"#!") {
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line.get(..LONGEST.min(line.len())).unwrap_or_default());
        let interpreter = line.split_whitespace().next().unwrap_or_default();
        return match interpreter.is_empty() {
            true => Kind::Other,
            false => Kind::Script(interpreter.to_owned()),
        };
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Kind::Other;
    }
    match elf(bytes) {
        Ok(elf) => Kind::Elf(elf),
        Err(what) => Kind::Broken(what),
    }
}

fn elf(bytes: &[u8]) -> Result<Elf, String> {
    // The shorter header is that of 32 bits.
    if bytes.len() < SIZEOF_EHDR {
        return Err("is cut in its header".to_owned());
    }
    let fail = |error: goblin::error::Error| format!("is no sound ELF file: {error}");
    let header = Goblin::parse_header(bytes).map_err(fail)?;
    let ctx = Ctx::new(
        header.container().map_err(fail)?,
        header.endianness().map_err(fail)?,
    );
    let offset = usize::try_from(header.e_phoff).map_err(|_| "is cut".to_owned())?;
    let count = usize::from(header.e_phnum);
    let size = usize::from(header.e_phentsize);
    let end = count.checked_mul(size).and_then(|n| n.checked_add(offset));
    if end.is_none_or(|end| end > bytes.len()) {
        return Err("is cut before its program headers end".to_owned());
    }
    let programs = ProgramHeader::parse(bytes, offset, count, ctx).map_err(fail)?;
    let loaded = programs.iter().filter(|p| p.p_type == PT_LOAD);
    let reach = loaded.map(|p| p.p_offset.saturating_add(p.p_filesz)).max();
    if reach.is_some_and(|reach| reach > bytes.len() as u64) {
        return Err("is cut: the part to be loaded is longer than the file".to_owned());
    }
    let mut elf = Elf {
        is_64: ctx.is_big(),
        is_little: ctx.is_little_endian(),
        machine: header.e_machine,
        ..Elf::default()
    };
    let interpreter = programs.iter().find(|p| p.p_type == PT_INTERP);
    elf.interpreter = interpreter.and_then(|p| text_at(bytes, p.p_offset));
    if let Some(dynamic) = Dynamic::parse(bytes, &programs, ctx).map_err(fail)? {
        elf.is_dynamic = true;
        strings(bytes, &programs, &dynamic, &mut elf);
    }
    Ok(elf)
}

fn strings(bytes: &[u8], programs: &[ProgramHeader], dynamic: &Dynamic, elf: &mut Elf) {
    let value = |tag: u64| {
        dynamic
            .dyns
            .iter()
            .find(|d| d.d_tag == tag)
            .map(|d| d.d_val)
    };
    // The table's place in memory, and by the loaded part that holds it in the file.
    let table = value(DT_STRTAB).and_then(|at| {
        let holds = |p: &&ProgramHeader| {
            p.p_type == PT_LOAD && at >= p.p_vaddr && at - p.p_vaddr < p.p_filesz
        };
        let part = programs.iter().find(holds)?;
        part.p_offset.checked_add(at - part.p_vaddr)
    });
    let text = |at: u64| text_at(bytes, table?.checked_add(at)?);
    let paths = |tag: u64| -> Vec<String> {
        let path = value(tag).and_then(text).unwrap_or_default();
        let parts = path.split(':').filter(|p| !p.is_empty());
        parts.map(str::to_owned).collect()
    };
    elf.rpath = paths(DT_RPATH);
    elf.runpath = paths(DT_RUNPATH);
    let needed = dynamic.dyns.iter().filter(|d| d.d_tag == DT_NEEDED);
    elf.needed = needed
        .take(MOST_NEEDED)
        .filter_map(|d| text(d.d_val))
        .collect();
}

fn text_at(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(LONGEST).position(|b| *b == 0)?;
    let text = String::from_utf8_lossy(rest.get(..end)?).into_owned();
    (!text.is_empty()).then_some(text)
}

impl Elf {
    /// The architecture, in words.
    pub fn architecture(&self) -> String {
        let known = [
            (3, "x86"),
            (8, "mips"),
            (20, "powerpc"),
            (21, "powerpc64"),
            (22, "s390"),
            (40, "arm"),
            (62, "x86-64"),
            (183, "aarch64"),
            (243, "riscv"),
            (258, "loongarch"),
        ];
        let name = known.iter().find(|(n, _)| *n == self.machine);
        let name = name.map_or(format!("machine {}", self.machine), |(_, n)| {
            (*n).to_owned()
        });
        let bits = if self.is_64 { 64 } else { 32 };
        let order = if self.is_little { "little" } else { "big" };
        format!("{name} ({bits} bits, {order} endian)")
    }

    /// Whether a kernel of that machine runs it: its own kind, and x86 on x86-64.
    pub fn runs_on(&self, machine: u16) -> bool {
        self.machine == machine || self.machine == 3 && machine == 62
    }

    /// Whether two files can be loaded together.
    pub fn fits(&self, other: &Elf) -> bool {
        (self.is_64, self.is_little, self.machine) == (other.is_64, other.is_little, other.machine)
    }
}

/// This machine, by ELF's number.
pub fn this_machine() -> Option<u16> {
    match std::env::consts::ARCH {
        "x86" => Some(3),
        "x86_64" => Some(62),
        "arm" => Some(40),
        "aarch64" => Some(183),
        "powerpc64" => Some(21),
        "s390x" => Some(22),
        "riscv64" => Some(243),
        "loongarch64" => Some(258),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        std::fs::read("/bin/true").unwrap()
    }

    /// What the loader reads, against what is known of a plain program of this machine.
    #[test]
    fn a_real_program() {
        let Kind::Elf(elf) = kind(&sample()) else {
            panic!()
        };
        assert_eq!(Some(elf.machine), this_machine());
        assert!(elf.interpreter.unwrap().contains("ld"));
        assert!(
            elf.needed.iter().any(|n| n.starts_with("libc")),
            "{:?}",
            elf.needed
        );
    }

    /// A file that was cut anywhere before its loaded part ends is broken; none brings the program down.
    #[test]
    fn cut_at_every_length() {
        let bytes = sample();
        let mut whole = 0;
        for length in 0..bytes.len() {
            match kind(&bytes[..length]) {
                Kind::Elf(_) => whole += 1,
                Kind::Other => assert!(length < 4),
                Kind::Broken(_) => {}
                Kind::Script(_) => panic!(),
            }
        }
        assert!(whole < bytes.len() / 2, "{whole} of {}", bytes.len());
    }

    /// Headers that lie about sections, program headers, the dynamic section and its strings.
    #[test]
    fn every_byte_of_the_headers_may_lie() {
        let bytes = sample();
        let Kind::Elf(sound) = kind(&bytes) else {
            panic!()
        };
        for at in 0..1024 {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut lie = bytes.clone();
                lie[at] = value;
                let _ = kind(&lie);
            }
        }
        // Sections are not looked at: e_shoff, e_shnum, e_shstrndx.
        let mut lie = bytes.clone();
        lie[0x28..0x30].fill(0xff);
        lie[0x3a..0x40].fill(0xff);
        assert_eq!(kind(&lie), Kind::Elf(sound));
    }

    #[test]
    fn scripts_and_others() {
        assert_eq!(
            kind(b"#! /bin/sh -e\nexit 0\n"),
            Kind::Script("/bin/sh".to_owned())
        );
        assert_eq!(kind(b"#!\n"), Kind::Other);
        assert_eq!(kind(b""), Kind::Other);
        assert!(matches!(kind(b"\x7fELF\x02"), Kind::Broken(_)));
    }
}
