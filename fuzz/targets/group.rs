//! A group: the texts in the input, ranked, told as a history and against each other, and the volumes of the best over
//! the input's two halves as physical volumes.
#![no_main]

use disinter::image::{Memory, SharedSource, Source};
use disinter::investigate::place::{MemberOf, Unread, place};
use disinter::investigate::proof::prove;
use disinter::lvm::candidates::{Rows, gather};
use disinter::lvm::diff::diff;
use disinter::lvm::fate::fates;
use disinter::lvm::history::histories;
use disinter::lvm::restore::{Changes, restore_with};
use disinter::lvm::sync;
use disinter::lvm::texts::Texts;
use disinter::lvm::volume::logical_volume;
use disinter::lvm::{Mark, needles};
use disinter::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Volumes that are opened, and what is read of each front and end.
const MOST: usize = 8;
const READ: usize = 4096;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let image = Memory::new("m", data.to_vec());
    // As a scan does, without its threads and buffers: they take most of the time of an input as small as these.
    let mut hits: Vec<(usize, Mark)> = needles()
        .iter()
        .flat_map(|needle| {
            memchr::memmem::find_iter(data, needle.bytes).map(|at| (at, needle.kind))
        })
        .collect();
    hits.sort_unstable();
    let mut texts = Texts::new(&image);
    for (at, mark) in hits {
        match mark {
            Mark::Text => drop(texts.front(Bytes(at as u64))),
            Mark::Piece => drop(texts.piece(Bytes(at as u64))),
            Mark::Label | Mark::MetadataArea => {}
        }
    }
    let found = texts.finish().texts;
    let found = found.into_iter().map(|text| ("m".to_owned(), text));
    let mut texts = gather(found.collect());
    let (a, b) = data.split_at(data.len() / 2);
    let volumes: Vec<SharedSource> = [("a", a), ("b", b)]
        .map(|(name, bytes)| -> SharedSource { Arc::new(Memory::new(name, bytes.to_vec())) })
        .to_vec();
    prove(&mut texts, &volumes);
    let _ = (histories(&texts), serde_json::to_vec(&Rows(&texts)));
    if let [first, second, ..] = texts.as_slice() {
        for change in diff(&second.carved.vg, &first.carved.vg) {
            let _ = change.to_string();
        }
    }
    let Some(best) = texts.first() else {
        return;
    };
    let vg = &best.carved.vg;
    let _ = place(vg, &volumes, &MemberOf::new(), &Unread::new());
    let names = vg.pvs.iter().map(|pv| pv.name.clone());
    let lost = vg.pvs.iter().take(1).map(|pv| pv.name.clone());
    let lost: BTreeSet<String> = lost.collect();
    let _ = fates(vg, &lost);
    let changes = Changes {
        prune: lost.into_iter().collect(),
        ..Changes::default()
    };
    let _ = restore_with(&best.carved, &changes);
    let pvs: BTreeMap<String, SharedSource> = names.zip(volumes.iter().cycle().cloned()).collect();
    for lv in vg.lvs.iter().take(MOST) {
        let _ = sync::told(vg, &lv.name, &pvs);
        if let Ok(volume) = logical_volume(vg, &lv.name, &pvs) {
            let mut bytes = vec![0; READ];
            for at in [Bytes(0), volume.len() - Bytes(READ as u64)] {
                let length = (volume.len() - at).to_len(READ);
                let _ = volume.read_at(at, &mut bytes[..length]);
            }
        }
    }
});
