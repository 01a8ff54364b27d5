//! A text without physical volumes that are lost for good.
//!
//! Every volume is one of four: whole and kept; an array that bears the loss,
//! kept with place holders of type `error` for its lost images, as
//! `vgreduce --removemissing` makes them; a part of such an array; or left out
//! with all that is of no use without it, and said so. A snapshot's store is
//! left out with its origin: alone it would come back as a volume that looks
//! whole and holds a list of changes.

use super::fate::{Fate, Snapshot, fates, snapshots};
use super::metadata::{LogicalVolume, VolumeGroup};
use super::restore::Restore;
use super::segment::Segment;
use super::segtype::{self, Lies};
use super::text::{Item, Section, Value};
use crate::md::level::Level;
use std::collections::{BTreeMap, BTreeSet};

/// The sections inside the section of this name.
pub(super) fn sections_of<'a>(
    section: &'a mut Section,
    name: &str,
) -> impl Iterator<Item = &'a mut Section> {
    let inside = section.items.iter_mut().filter_map(move |item| match item {
        Item::Section(inner) if inner.name == name => Some(&mut inner.items),
        _ => None,
    });
    inside.flatten().filter_map(|item| match item {
        Item::Section(inner) => Some(inner),
        Item::Field(..) => None,
    })
}

/// Takes physical volumes out, and with them every volume that is not whole without them.
pub(super) fn prune(
    vg: &VolumeGroup,
    section: &mut Section,
    lost: &BTreeSet<String>,
    restore: &mut Restore,
) {
    let fates = fates(vg, lost);
    let group = Group::new(vg, lost, &fates);
    let stays = group.stays();
    for lv in vg.visible() {
        let fate = fates.get(&lv.name).copied().unwrap_or(Fate::Lost);
        restore.fates.push((lv.name.clone(), fate));
        restore.notes.extend(group.told(lv, fate, &stays));
    }
    let names: Vec<&str> = lost.iter().map(String::as_str).collect();
    restore.notes.push(format!(
        "{} left out: never connect that disk again beside the restored group without pvcreate or wiping its label",
        names.join(", ")
    ));
    for item in &mut section.items {
        let Item::Section(inner) = item else { continue };
        match inner.name.as_str() {
            "physical_volumes" => inner
                .items
                .retain(|i| !matches!(i, Item::Section(s) if lost.contains(&s.name))),
            "logical_volumes" => inner.items.retain(
                |i| !matches!(i, Item::Section(s) if !stays.kept.contains(s.name.as_str())),
            ),
            _ => {}
        }
    }
    for lv in sections_of(section, "logical_volumes") {
        if stays.held.contains(lv.name.as_str()) {
            hold_place(lv);
        }
    }
    let gone = |name: &str| group.by_name.contains_key(name) && !stays.kept.contains(name);
    for removed in sections_of(section, "historical_logical_volumes") {
        forget(removed, gone);
    }
}

/// What is left of a group.
#[derive(Debug, Default)]
struct Stays<'a> {
    /// The volumes that stay, place holders among them.
    kept: BTreeSet<&'a str>,
    /// The place holders.
    held: BTreeSet<&'a str>,
    /// Mirrors of the old kind that have lost a part, and all that lies on one: lvm2 knows no place holder in such a mirror.
    on_broken_mirrors: BTreeSet<&'a str>,
}

/// A group with what becomes of each of its volumes.
struct Group<'a> {
    vg: &'a VolumeGroup,
    lost: &'a BTreeSet<String>,
    fates: &'a BTreeMap<String, Fate>,
    by_name: BTreeMap<&'a str, &'a LogicalVolume>,
    /// Snapshots by their store.
    snapshots: BTreeMap<&'a str, Snapshot<'a>>,
}

impl<'a> Group<'a> {
    fn new(
        vg: &'a VolumeGroup,
        lost: &'a BTreeSet<String>,
        fates: &'a BTreeMap<String, Fate>,
    ) -> Group<'a> {
        Group {
            vg,
            lost,
            fates,
            by_name: vg.lvs.iter().map(|lv| (lv.name.as_str(), lv)).collect(),
            snapshots: snapshots(vg).map(|s| (s.store, s)).collect(),
        }
    }

    fn is_complete(&self, name: &str) -> bool {
        self.fates.get(name).is_some_and(|f| f.is_complete())
    }

    /// The volumes that a volume names.
    fn under(&self, name: &str) -> Vec<&'a str> {
        let lv = self.by_name.get(name).copied();
        let mut under = Vec::new();
        for segment in lv.into_iter().flat_map(|lv| &lv.segments) {
            for area in &segment.areas {
                under.push(area.on.as_str());
                under.extend(area.meta.as_deref());
            }
            under.extend(segment.uses.iter().map(|u| u.lv.as_str()));
        }
        under.retain(|name| self.by_name.contains_key(name));
        under
    }

    /// Images of a volume's arrays that are lost, each with its metadata volume: neither is of use without the other.
    fn lost_images(&self, name: &str) -> BTreeSet<&'a str> {
        let lv = self.by_name.get(name).copied();
        let segments = lv.into_iter().flat_map(|lv| &lv.segments);
        let mut lost = BTreeSet::new();
        for area in segments.filter(|s| has_copies(s)).flat_map(|s| &s.areas) {
            let pair = [Some(area.on.as_str()), area.meta.as_deref()];
            let pair = pair.into_iter().flatten();
            let volumes: Vec<&str> = pair.filter(|n| self.by_name.contains_key(n)).collect();
            if volumes.iter().any(|volume| !self.is_complete(volume)) {
                lost.extend(volumes);
            }
        }
        lost
    }

    /// The volumes that stay: those whole without what is lost, with all that they lie on.
    fn stays(&self) -> Stays<'a> {
        let below = self.by_name.keys().flat_map(|name| self.under(name));
        let used: BTreeSet<&str> = below.collect();
        let visible: BTreeSet<&str> = self.vg.visible().map(|lv| lv.name.as_str()).collect();
        let mirrors = self.vg.lvs.iter().filter(|lv| self.is_broken_mirror(lv));
        let users = self.users();
        let on_broken_mirrors = over(&users, mirrors.map(|lv| lv.name.as_str()).collect());
        // Nothing is taken in by what lies on it that is not whole itself.
        let names = self.by_name.keys().copied();
        let not_whole = over(
            &users,
            names.filter(|name| !self.is_complete(name)).collect(),
        );
        let names = self.by_name.keys().copied();
        let mut todo: Vec<&str> = names
            .filter(|name| visible.contains(name) || !used.contains(name))
            .filter(|name| !not_whole.contains(name) && !on_broken_mirrors.contains(name))
            .collect();
        let mut stays = Stays {
            on_broken_mirrors,
            ..Stays::default()
        };
        while let Some(name) = todo.pop() {
            if stays.kept.insert(name) {
                let held = self.lost_images(name);
                todo.extend(self.under(name).into_iter().filter(|n| !held.contains(n)));
                // What a place holder lay on is named by nothing any more.
                stays.kept.extend(&held);
                stays.held.extend(held);
            }
        }
        stays
    }

    /// What lies on each volume, but for arrays in which a place holder stands for it.
    fn users(&self) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut users: BTreeMap<&'a str, Vec<&'a str>> = BTreeMap::new();
        for name in self.by_name.keys().copied() {
            let held = self.lost_images(name);
            for under in self.under(name).into_iter().filter(|n| !held.contains(n)) {
                users.entry(under).or_default().push(name);
            }
        }
        for snapshot in self.snapshots.values() {
            users.entry(snapshot.name).or_default().push(snapshot.store);
            if snapshot.merging {
                users
                    .entry(snapshot.store)
                    .or_default()
                    .push(snapshot.origin);
            }
        }
        users
    }

    fn is_broken_mirror(&self, lv: &LogicalVolume) -> bool {
        let mut mirrors = lv.segments.iter().filter(|s| s.kind == "mirror");
        mirrors.any(|s| {
            let images = s.areas.iter().map(|a| a.on.as_str());
            let mut parts = images.chain(s.uses.iter().map(|u| u.lv.as_str()));
            parts.any(|part| match self.vg.pv(part) {
                Some(pv) => self.lost.contains(&pv.name),
                None => !self.is_complete(part),
            })
        })
    }

    /// What a person must know of a volume that stays, or why it is left out, where its bytes or most of them are still there.
    fn told(&self, lv: &LogicalVolume, fate: Fate, stays: &Stays<'_>) -> Option<String> {
        let name = &lv.name;
        if stays.kept.contains(name.as_str()) {
            let unsure = fate == Fate::Redundant && lv.is_never_synced() && has_parity(lv);
            return unsure.then(|| {
                format!(
                    "{name}: made without a first sync: what its lost image held is computed from parity that may never have \
                     been written"
                )
            });
        }
        if fate.is_complete() {
            let why = match stays.on_broken_mirrors.contains(name.as_str()) {
                true => "of a mirror of the old kind that has lost an image or its log",
                false => "a volume that it is tied to is not whole",
            };
            return Some(format!(
                "{name}: left out, because {why}; export it instead"
            ));
        }
        if fate == Fate::TwoTimes {
            return Some(format!(
                "{name}: left out, as a file system of two times is damaged where nothing shows it; its bytes are still where \
                 the whole text says"
            ));
        }
        if let Some(of) = self.snapshots.get(name.as_str()) {
            return Some(format!(
                "{name}: left out, as a snapshot of {}: of the two neither makes a snapshot without the other",
                of.origin
            ));
        }
        let cached = lv
            .segments
            .iter()
            .find(|s| matches!(s.kind.as_str(), "cache" | "writecache"))?;
        let origin = cached.uses.iter().find(|u| u.key == "origin")?;
        self.is_complete(&origin.lv).then(|| {
            format!(
                "{name}: left out, because its cache is lost; {} is all of it where the cache was written through, and can be \
                 exported",
                origin.lv
            )
        })
    }
}

/// These volumes and all that lies on one.
fn over<'a>(users: &BTreeMap<&'a str, Vec<&'a str>>, mut todo: Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if found.insert(name) {
            todo.extend(users.get(name).into_iter().flatten());
        }
    }
    found
}

/// Whether a volume's images are held together by parity.
fn has_parity(lv: &LogicalVolume) -> bool {
    lv.segments.iter().any(|segment| {
        let lies = segtype::lies(segment);
        matches!(lies, Ok(Lies::Images(level, _)) if level.parities() > 0)
    })
}

/// Whether a segment's areas are images that stand in for each other.
fn has_copies(segment: &Segment) -> bool {
    let Ok(Lies::Images(level, _)) = segtype::lies(segment) else {
        return false;
    };
    !matches!(level, Level::Raid0 | Level::Linear)
}

/// Makes every segment of a volume one that lies nowhere.
fn hold_place(lv: &mut Section) {
    for item in &mut lv.items {
        if let Item::Section(segment) = item
            && segment.name.starts_with("segment")
        {
            segment.items.retain(
                |i| matches!(i, Item::Field(key, _) if key == "start_extent" || key == "extent_count"),
            );
            let kind = Value::Text("error".to_owned());
            segment.items.push(Item::Field("type".to_owned(), kind));
        }
    }
}

/// Takes what is left out from a removed volume's family: lvm2 refuses a group in which it names a volume that is not
/// there, and a list of descendants without any.
fn forget(removed: &mut Section, gone: impl Fn(&str) -> bool) {
    let is_gone = |value: &Value| value.text().is_some_and(&gone);
    for item in &mut removed.items {
        if let Item::Field(key, Value::List(names)) = item
            && key == "descendants"
        {
            names.retain(|name| !is_gone(name));
        }
    }
    removed.items.retain(|item| match item {
        Item::Field(key, Value::List(names)) if key == "descendants" => !names.is_empty(),
        Item::Field(key, value) if key == "origin" => !is_gone(value),
        _ => true,
    });
}
