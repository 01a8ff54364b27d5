//! The whole way: from images to arrays, texts, volumes, damage, and what the scripts are to do.
//!
//! Every stop's answer is kept with its evidence in an [`Investigation`];
//! nothing is written here.

pub mod arrays;
pub mod checks;
pub mod damage;
pub mod landmarks;
pub mod plan;
pub mod proof;

use crate::image::progress::Progress;
use crate::image::{SharedSource, Source};
use crate::inputs::{self, Input, Slice};
use crate::layout::{Layout, LayoutError, Members, Stack};
use crate::lvm::candidates::{self, Candidate};
use crate::lvm::carve::Carved;
use crate::scan::{self, Scan};
use crate::smart::half::Half;
use crate::smart::rank::Ranking;
use crate::units::{Bytes, Extent};
use arrays::ArrayFound;
use checks::LvCheck;
use damage::Damage;
use std::sync::Arc;

/// Bytes of a found array that are read again for texts that lie across chunks: where metadata areas lie.
const ARRAY_FRONT: Bytes = Bytes::mib(4);

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
    /// Metadata texts, the best first.
    pub candidates: Vec<Candidate>,
    /// The disks in order of health.
    pub ranking: Ranking,
    /// The half to work on, of the array that the chosen text's volumes lie on.
    pub half: Option<Half>,
    /// What the last writer left on the members.
    pub damage: Damage,
    /// The stack, as it is written down.
    pub layout: Layout,
    /// The logical volumes, looked at through the stack.
    pub checks: Vec<LvCheck>,
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

/// Reads every image once.
pub fn survey(inputs: Vec<Input>, progress: &dyn Progress) -> Survey {
    let total = inputs.iter().map(|i| i.source.len().0).sum();
    progress.begin("reading", total);
    let sources: Vec<&dyn Source> = inputs.iter().map(|i| &*i.source as &dyn Source).collect();
    let scans = scan::scan_all(&sources, progress);
    progress.end();
    Survey {
        slices: inputs::slices(&inputs),
        scans,
        inputs,
    }
}

impl Survey {
    /// The texts of all images, ranked.
    pub fn candidates(&self) -> Vec<Candidate> {
        let texts = self
            .inputs
            .iter()
            .zip(&self.scans)
            .flat_map(|(input, scan)| scan.texts.iter().map(|t| (input.name.clone(), t.clone())));
        candidates::gather(texts.collect())
    }
}

/// Works out everything from the images and the SMART ranking.
///
/// # Errors
/// [`LayoutError`] where an image that was just read cannot be opened again.
pub fn investigate(
    survey: Survey,
    ranking: Ranking,
    smart_of: &dyn Fn(&str) -> Option<String>,
    progress: &dyn Progress,
) -> Result<Investigation, LayoutError> {
    let mut texts = survey.candidates();
    let mut arrays = arrays::find(&survey, &texts, progress);
    let mut volumes: Vec<SharedSource> = arrays.iter().filter_map(ArrayFound::open).collect();
    texts = with_array_texts(&survey, &volumes);
    volumes.extend(
        survey
            .slices
            .iter()
            .filter(|s| !arrays.iter().any(|a| a.has_member(&s.name)))
            .map(|s| s.source.clone()),
    );
    proof::prove(&mut texts, &volumes);
    let disks = crate::smart::half::by_disk(&ranking, &smart_map(&survey, &ranking, smart_of));
    let mut damage = Damage::default();
    let mut half = None;
    let chosen = texts.iter().find(|t| t.usable());
    if let Some(chosen) = chosen {
        let placed = proof::place(&chosen.carved.vg, &volumes);
        damage = damage::find(&survey, &arrays, chosen, &placed, &texts);
        for array in arrays.iter_mut().filter(|a| a.guess.level.is_some()) {
            let choice = damage.choose_half(array, &disks);
            array.half.clone_from(&choice.half);
            if placed.values().any(|name| *name == array.name) {
                half = Some(choice);
            }
        }
    }
    let layout = plan::layout(&survey, &arrays, chosen, &volumes);
    let stack = plan::open(&survey, &arrays, chosen, &volumes, Members::Half);
    let checks = chosen.map_or_else(Vec::new, |c| checks::check(&stack, &c.carved.vg, &damage));
    Ok(Investigation {
        inputs: survey.inputs,
        slices: survey.slices,
        scans: survey.scans,
        arrays,
        candidates: texts,
        ranking,
        half,
        damage,
        layout,
        checks,
    })
}

/// Which report is each image's, where the user said so.
fn smart_map(
    survey: &Survey,
    ranking: &Ranking,
    smart_of: &dyn Fn(&str) -> Option<String>,
) -> std::collections::BTreeMap<String, String> {
    let known = |file: &String| ranking.disks.iter().any(|d| d.file == *file);
    survey
        .inputs
        .iter()
        .filter_map(|i| Some((i.name.clone(), smart_of(&i.name).filter(known)?)))
        .collect()
}

/// The texts of the images, and those in the arrays' metadata areas: a text across two chunks shows only there.
fn with_array_texts(survey: &Survey, arrays: &[SharedSource]) -> Vec<Candidate> {
    let mut found: Vec<(String, Carved)> = Vec::new();
    for (input, scan) in survey.inputs.iter().zip(&survey.scans) {
        found.extend(scan.texts.iter().map(|t| (input.name.clone(), t.clone())));
    }
    for array in arrays {
        let front = Extent::new(Bytes::ZERO, ARRAY_FRONT.min(array.len()));
        let front = crate::image::Pieces::slice(array.name(), array.clone(), front);
        let scan = scan::scan(&front, &crate::image::progress::Silent);
        found.extend(scan.texts.into_iter().map(|t| (array.name().to_owned(), t)));
    }
    candidates::gather(found)
}

impl Investigation {
    /// The text that the rest rests on: the best that could be restored.
    pub fn chosen(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|c| c.usable())
    }

    /// Whether any image had bytes that could not be read.
    pub fn has_gaps(&self) -> bool {
        self.scans.iter().any(|s| !s.gaps.is_none())
    }

    /// Whether there is one answer: a text, and an array that is not ambiguous under its volumes.
    pub fn is_answered(&self) -> bool {
        let used = |a: &&ArrayFound| {
            let pvs = self.layout.vgs.iter().flat_map(|vg| vg.pvs.values());
            pvs.clone().any(|v| *v == a.name)
        };
        self.chosen().is_some() && self.arrays.iter().filter(used).all(|a| !a.guess.ambiguous)
    }

    /// The stack of the half, as the checks saw it.
    ///
    /// # Errors
    /// [`LayoutError`] where the layout cannot be opened.
    pub fn stack(&self, members: Members) -> Result<Stack, LayoutError> {
        self.layout.open(std::path::Path::new(""), members)
    }
}

/// A source under a name, to be shared.
pub(crate) fn shared(source: impl Source + 'static) -> SharedSource {
    Arc::new(source)
}
