//! The whole way: from images to arrays, texts, volumes, damage, and what the scripts are to do.
//!
//! Every stop's answer is kept with its evidence in an [`Investigation`];
//! nothing is written here.

pub mod age;
pub mod arrays;
mod chained;
pub mod checks;
pub mod clues;
pub mod damage;
mod effort;
pub mod hits;
pub mod landmarks;
pub mod mirrors;
pub mod missing;
pub mod newer;
mod offsets;
mod own;
pub mod place;
pub mod plan;
pub mod proof;
pub mod regions;
mod roles;
pub mod search;
mod serve;
mod signs;
mod twice;

use crate::image::map::RescueMap;
use crate::image::progress::{Progress, Silent};
use crate::image::{Pieces, SharedSource, Source};
use crate::inputs::{self, Input, Slice};
use crate::layout::{Layout, Members, Stack};
use crate::lvm::candidates::{self, Candidate};
use crate::lvm::carve::Carved;
use crate::lvm::metadata::VolumeGroup;
use crate::lvm::pieces::Loose;
use crate::lvm::texts;
use crate::parse::Checksum;
use crate::scan::state::State;
use crate::scan::{self, Job, Scan, What};
use crate::smart::half::{Half, disk_of};
use crate::smart::matching::{DiskId, Matching, matching};
use crate::smart::rank::{Disk, Ranking};
use crate::units::{Bytes, Extent, merge};
use arrays::{ArrayFound, Known};
use checks::LvCheck;
use damage::Damage;
use hits::Hit;
use place::{Hidden, MemberOf, Placing, Unread};
use search::{Apart, Found};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a found array that are read again for texts that lie across chunks: where metadata areas lie.
const ARRAY_FRONT: Bytes = Bytes::mib(4);

/// Texts by whose volumes a physical volume is sought outside all partitions.
const MOST_GROUPS: usize = 64;

/// Metadata areas that reach beyond that, and how large one is that is read.
const MOST_AREAS: usize = 8;
const LARGEST_AREA: Bytes = Bytes::mib(256);

/// All that was found.
pub struct Investigation {
    /// The images.
    pub inputs: Vec<Input>,
    /// The volumes directly on them.
    pub slices: Vec<Slice>,
    /// What one pass over each image gave, in the images' order.
    pub scans: Vec<Scan>,
    /// Sets of members, and the array that each is.
    pub arrays: Vec<ArrayFound>,
    /// Volumes that are in no array, and why.
    pub apart: Vec<Apart>,
    /// Metadata texts, the best first.
    pub candidates: Vec<Candidate>,
    /// The volume group that was asked for, by name or the front of its id; else the best is taken.
    pub wanted: Option<String>,
    /// The disks in order of health.
    pub ranking: Ranking,
    /// The half to work on, of the array that the chosen text's volumes lie on.
    pub half: Option<Half>,
    /// What the failing blocks of the disks hit.
    pub hits: Vec<Hit>,
    /// What the last writer left on the members.
    pub damage: Damage,
    /// The stack, as it is written down.
    pub layout: Layout,
    /// Where the chosen text's physical volumes lie, why, and what could not be told.
    pub placing: Placing,
    /// The logical volumes, looked at through the stack.
    pub checks: Vec<LvCheck>,
    /// What of all this is not sure enough to be written to a disk, a sentence each.
    pub doubts: Vec<String>,
}

/// Survey: the images read once.
pub struct Survey {
    /// The images.
    pub inputs: Vec<Input>,
    /// The volumes directly on them.
    pub slices: Vec<Slice>,
    /// What one pass over each image gave.
    pub scans: Vec<Scan>,
}

/// Reads every image once, from where an earlier survey of it stopped.
pub fn survey(
    inputs: Vec<Input>,
    states: &[State],
    options: scan::Options<'_>,
    progress: &dyn Progress,
) -> Survey {
    let slices = inputs::slices(&inputs);
    let total = inputs.iter().map(|i| i.source.len().0).sum();
    progress.begin("reading", total);
    let jobs: Vec<Job<'_>> = inputs
        .iter()
        .enumerate()
        .map(|(number, input)| {
            let here = slices.iter().filter(|s| s.input == number);
            Job {
                source: &*input.source,
                device: input.image.device(),
                parts: here.map(|s| s.extent).collect(),
                state: states.get(number).cloned().unwrap_or_default(),
            }
        })
        .collect();
    let scans = scan::scan_all(&jobs, options, progress);
    progress.end();
    Survey {
        scans,
        slices,
        inputs,
    }
}

impl Survey {
    /// What is known of each image after the pass, as a ddrescue map under a name for a file.
    pub fn maps(&self) -> Vec<(String, RescueMap)> {
        maps(&self.inputs, &self.scans)
    }

    /// The images without a pass over them.
    pub fn quick(inputs: Vec<Input>) -> Survey {
        Survey {
            slices: inputs::slices(&inputs),
            scans: Vec::new(),
            inputs,
        }
    }

    /// The texts of all images, each with its image's name.
    fn texts(&self) -> Vec<(String, Carved)> {
        let scans = self.inputs.iter().zip(&self.scans);
        scans
            .flat_map(|(input, scan)| scan.texts.iter().map(|t| (input.name.clone(), t.clone())))
            .collect()
    }

    /// Texts that were found beyond those that are kept, the oldest of each group.
    pub fn older_texts(&self) -> u64 {
        self.scans.iter().map(|scan| scan.older_texts).sum()
    }

    /// The arrays, by all that the pass found.
    pub fn arrays(&self, progress: &dyn Progress) -> Found {
        let texts = self
            .candidates()
            .into_iter()
            .filter(Candidate::usable)
            .map(|c| c.carved);
        let known = Known {
            texts: texts.collect(),
            superblocks: self.superblocks(),
        };
        search::find(&self.slices, &known, progress)
    }

    /// The superblocks of ext file systems and their copies: UUID, volume, place on it, place in the file system.
    fn superblocks(&self) -> Vec<(String, String, Bytes, Bytes)> {
        let mut found = Vec::new();
        for slice in &self.slices {
            let findings = self.scans.get(slice.input).map(|s| s.findings.as_slice());
            for finding in findings.unwrap_or_default() {
                if let What::ExtSuperblock(sb) = &finding.what
                    && let Some(inside) = finding.extent.relative_to(slice.extent.offset)
                    && inside.end() <= slice.extent.length
                {
                    let logical = sb.superblock_at(sb.group.into());
                    found.push((sb.uuid.clone(), slice.name.clone(), inside.offset, logical));
                }
            }
        }
        found
    }

    /// How much of each volume on the images could not be read.
    fn unread(&self) -> Unread {
        let unread = unread(&self.inputs, &self.scans);
        let of = |slice: &Slice| {
            let lost = unread.get(slice.input).into_iter().flatten();
            let inside = lost.filter_map(|extent| extent.overlap(slice.extent));
            let sum = inside.fold(Bytes::ZERO, |sum, extent| sum + extent.length);
            (slice.name.clone(), sum)
        };
        self.slices.iter().map(of).collect()
    }

    /// The texts of all images, ranked.
    pub fn candidates(&self) -> Vec<Candidate> {
        candidates::gather(self.texts())
    }
}

/// The maps of images after a pass; two parts of one image give two.
fn maps(inputs: &[Input], scans: &[Scan]) -> Vec<(String, RescueMap)> {
    let safe = |c: char| match c {
        '/' => '-',
        c => c,
    };
    let map = |(input, scan): (&Input, &Scan)| {
        let on_image = |e: &Extent| Extent::new(input.offset + e.offset, e.length);
        let read: Vec<Extent> = scan.looked.iter().map(on_image).collect();
        let lost: Vec<Extent> = scan.gaps.extents().iter().map(on_image).collect();
        // Some sectors fail only when the pass is over.
        let lost = merge([lost, input.image.unread()].concat());
        let name = input.name.chars().map(safe).collect();
        (name, input.image.map_after(&read, &lost))
    };
    inputs.iter().zip(scans).map(map).collect()
}

/// What of each image could not be read, after a pass or without one.
fn unread(inputs: &[Input], scans: &[Scan]) -> Vec<Vec<Extent>> {
    let of = |(number, input): (usize, &Input)| {
        let gaps = scans.get(number).map(|scan| scan.gaps.extents());
        merge([gaps.unwrap_or_default(), &input.unread()].concat())
    };
    inputs.iter().enumerate().map(of).collect()
}

/// What a person knows and the images do not say.
#[derive(Debug, Default)]
pub struct Hints {
    /// The disks in order of health.
    pub ranking: Ranking,
    /// Which report's file is which image's, where the files' names do not say so.
    pub smart_of: BTreeMap<String, String>,
    /// The volume group that is sought, by name or the front of its id.
    pub vg: Option<String>,
}

/// The best text that could be restored, of the group that is wanted if one is. A text without any volume, as `vgremove`
/// leaves it, is the newest and brings nothing back: one with volumes goes before it.
fn choose<'a>(texts: &'a [Candidate], wanted: Option<&str>) -> Option<&'a Candidate> {
    let fits = |t: &&Candidate| {
        let vg = &t.carved.vg;
        t.usable() && wanted.is_none_or(|wanted| vg.name == wanted || vg.id.starts_with(wanted))
    };
    let mut fitting = texts.iter().filter(fits);
    let first = fitting.clone().next()?;
    let holds =
        |t: &&Candidate| t.carved.vg.id == first.carved.vg.id && !t.carved.vg.lvs.is_empty();
    fitting.find(holds).or(Some(first))
}

/// Works out everything from the images and what a person knows.
pub fn investigate(mut survey: Survey, mut hints: Hints, progress: &dyn Progress) -> Investigation {
    let Found { mut arrays, apart } = survey.arrays(progress);
    let quick = survey.scans.iter().any(|s| s.looked_at() < s.length);
    arrays::compare_mirrors(&mut arrays, quick, progress);
    let mut texts = with_array_texts(&survey, &arrays);
    let groups = texts.iter().filter(|t| t.usable()).take(MOST_GROUPS);
    let groups: Vec<&VolumeGroup> = groups.map(|t| &*t.carved.vg).collect();
    let Hidden { slices, nested } = place::hidden(&survey, &arrays, &groups);
    survey.slices.extend(slices);
    let volumes = volumes(&arrays, &survey.slices);
    proof::prove(&mut texts, &volumes);
    let chosen = choose(&texts, hints.vg.as_deref());
    let members = members(&arrays);
    let unread = survey.unread();
    let mut placing = chosen.map_or_else(Placing::default, |c| {
        place::place(&c.carved.vg, &volumes, &members, &unread)
    });
    placing.doubt_nested(chosen.map(|c| &*c.carved.vg), &nested);
    let placed = std::mem::take(&mut placing.pvs);
    let matched = match hints.ranking.disks.is_empty() {
        true => Matching::default(),
        false => matching(&ids(&survey.inputs), &hints.ranking, &hints.smart_of),
    };
    let (damage, half) = match chosen {
        Some(chosen) => {
            let mut damage = damage::find(&survey, &arrays, chosen, &placed, &texts);
            let half = choose_halves(&mut arrays, &mut damage, &matched.disks, &placed);
            (damage, half)
        }
        None => (Damage::default(), None),
    };
    let layout = plan::layout(&survey, &arrays, chosen, &placed);
    let images = (&*survey.inputs, &*survey.slices);
    let stack = |members| plan::open(images, &arrays, chosen, &placed, members);
    let all = stack(Members::All);
    let hits = hits::hits(&layout, &all, &matched.disks);
    let mut doubts = chosen.map_or_else(Vec::new, |c| {
        let mut doubts = plan::doubts(&c.carved.vg, &placed, &arrays, &all);
        doubts.extend(plan::doubtful(c, &texts));
        doubts.extend(placing.doubts.iter().cloned());
        doubts
    });
    let checks = chosen.map_or_else(Vec::new, |c| {
        checks::check(&stack(Members::Half), &c.carved.vg, &damage)
    });
    doubts.extend(checks.iter().flat_map(|check| check.doubts.clone()));
    hints.ranking.warnings.extend(matched.warnings);
    Investigation {
        inputs: survey.inputs,
        slices: survey.slices,
        scans: survey.scans,
        arrays,
        apart,
        candidates: texts,
        wanted: hints.vg,
        ranking: hints.ranking,
        half,
        hits,
        damage,
        layout,
        placing: Placing {
            pvs: placed,
            ..placing
        },
        checks,
        doubts,
    }
}

/// The disks that reports may be of.
fn ids(inputs: &[Input]) -> Vec<DiskId> {
    let id = |input: &Input| DiskId {
        name: disk_of(&input.name).to_owned(),
        path: Some(input.image.path().to_owned()),
        size: Some(input.image.len()),
        known_as: input.image.known_as().clone(),
    };
    let mut ids: Vec<DiskId> = inputs.iter().map(id).collect();
    ids.dedup();
    ids
}

/// What may be a physical volume: each array, and each slice, those last that are members of an array. They are looked at
/// too because two disks under one volume group can be taken for an array.
fn volumes(arrays: &[ArrayFound], slices: &[Slice]) -> Vec<SharedSource> {
    let is_member = |s: &&Slice| {
        arrays
            .iter()
            .any(|a| a.guess.level.is_some() && a.has_member(&s.name))
    };
    let (members, alone): (Vec<&Slice>, Vec<&Slice>) = slices.iter().partition(is_member);
    let opened = arrays.iter().filter_map(ArrayFound::open);
    let slices = alone.into_iter().chain(members);
    opened.chain(slices.map(|s| s.source.clone())).collect()
}

/// The arrays of the members that have one.
fn members(arrays: &[ArrayFound]) -> MemberOf {
    let known = arrays.iter().filter(|a| a.guess.level.is_some());
    let pairs = known.flat_map(|a| {
        let names = a.guess.members.iter().flatten().cloned();
        names.map(|member| (member, a.name.clone()))
    });
    pairs.collect()
}

/// A half of every array; the one returned is that under the chosen text's volumes.
fn choose_halves(
    arrays: &mut [ArrayFound],
    damage: &mut Damage,
    disks: &BTreeMap<String, &Disk>,
    placed: &BTreeMap<String, String>,
) -> Option<Half> {
    let mut half = None;
    for array in arrays.iter_mut().filter(|a| a.guess.level.is_some()) {
        let choice = damage.choose_half(array, disks);
        array.half.clone_from(&choice.half);
        if placed.values().any(|name| *name == array.name) {
            half = Some(choice);
        }
    }
    half
}

/// The texts of the images, and those in the arrays' metadata areas: a text across two chunks shows only there.
pub fn with_array_texts(survey: &Survey, arrays: &[ArrayFound]) -> Vec<Candidate> {
    let mut found = survey.texts();
    found.extend(across(survey));
    for array in arrays.iter().filter_map(ArrayFound::open) {
        let texts = metadata_area_texts(&array);
        found.extend(texts.into_iter().map(|t| (array.name().to_owned(), t)));
    }
    candidates::gather(found)
}

/// Texts of which one piece lies on one image and another on another, as in md chunks of members whose array is not known.
fn across(survey: &Survey) -> Vec<(String, Carved)> {
    let loose = Loose::all(survey.scans.iter().map(|scan| &scan.loose));
    let findings = survey.scans.iter().flat_map(|scan| &scan.findings);
    let headers: Vec<_> = findings
        .filter_map(|finding| match &finding.what {
            What::LvmMetadataArea(header) => Some(header.clone()),
            _ => None,
        })
        .collect();
    let joined = loose
        .join()
        .into_iter()
        .filter(|text| !text.pieces_on.is_empty());
    joined
        .map(|mut text| {
            texts::prove(&mut text, &headers);
            (text.pieces_on.first().cloned().unwrap_or_default(), text)
        })
        .collect()
}

/// The texts at an array's front and end, and in the metadata areas that headers there tell of.
fn metadata_area_texts(array: &SharedSource) -> Vec<Carved> {
    let side = ARRAY_FRONT.min(array.len());
    let mut extents = vec![
        Extent::new(Bytes::ZERO, side),
        Extent::new(array.len() - side, side),
    ];
    let mut texts = Vec::new();
    let mut done = 0;
    while let Some(extent) = extents.get(done).copied() {
        done += 1;
        let part = Pieces::slice(array.name(), array.clone(), extent);
        let scan = scan::scan(&Job::of(&part), 0, scan::Options::default(), &Silent);
        texts.extend(scan.texts.into_iter().map(|t| t.moved(extent.offset)));
        for finding in scan.findings {
            if let What::LvmMetadataArea(header) = finding.what
                && header.checksum == Checksum::Ok
                && header.size <= LARGEST_AREA
                && done <= 2
            {
                let area = Extent::new(extent.offset + header.at, header.size);
                let seen = |e: &Extent| e.overlap(area) == Some(area);
                if !extents.iter().any(seen) && extents.len() < MOST_AREAS {
                    extents.push(area);
                }
            }
        }
    }
    texts
}

impl Investigation {
    /// The text that the rest rests on: the best that could be restored.
    pub fn chosen(&self) -> Option<&Candidate> {
        choose(&self.candidates, self.wanted.as_deref())
    }

    /// What is known of each image after the pass, as a ddrescue map under a name for a file.
    pub fn maps(&self) -> Vec<(String, RescueMap)> {
        maps(&self.inputs, &self.scans)
    }

    /// What of each image could not be read: in the pass, before it (a run that was cut short), behind it, and what a
    /// quick pass did not come to and its map calls unread.
    pub fn unread(&self) -> Vec<Vec<Extent>> {
        unread(&self.inputs, &self.scans)
    }

    /// The bytes of all that could not be read.
    pub fn unread_bytes(&self) -> Bytes {
        let extents = self.unread().into_iter().flatten();
        extents.fold(Bytes::ZERO, |sum, extent| sum + extent.length)
    }

    /// Whether any image had bytes that could not be read.
    pub fn has_gaps(&self) -> bool {
        self.unread_bytes() > Bytes::ZERO
    }

    /// Whether there is one answer: a text, arrays under its volumes that are not ambiguous and can be started, room for each
    /// physical volume, and none of which it is not known where it lies.
    pub fn is_answered(&self) -> bool {
        self.chosen().is_some() && self.placing.open.is_empty() && self.doubts.is_empty()
    }

    /// The volumes, read from the half or from all members; `None` where no text was found.
    pub fn stack(&self, members: Members) -> Option<Stack> {
        let chosen = self.chosen()?;
        let placed = &self.layout.vgs.first()?.pvs;
        let chosen = Some(chosen);
        Some(plan::open(
            (&self.inputs, &self.slices),
            &self.arrays,
            chosen,
            placed,
            members,
        ))
    }
}

/// A source under a name, to be shared.
pub(crate) fn shared(source: impl Source + 'static) -> SharedSource {
    Arc::new(source)
}
