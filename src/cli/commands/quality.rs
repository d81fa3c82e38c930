//! `perilune convert --report`: the same prompts and seeds with the source and with what it was converted to.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::run;
use crate::cli::context::Context;
use crate::cli::conversions::ReportArgs;
use crate::cli::output::{self, significant, table};
use crate::cli::quality_page::{Page, Row, cells};
use crate::cli::report;
use crate::imagery::{self, Difference, KeptLatent, LatentDifference};
use crate::jobs::JobView;
use crate::library::picture::read_upright;
use crate::units::{Bytes, Seed};
use crate::workflow::{JobDraft, Kind, Refusal};

/// What is painted where nobody says: a scene, a face, and a thing with edges.
const PROMPTS: [&str; 3] = [
    "a lighthouse on a cliff at night, moonlight on the sea",
    "portrait of an old sailor, film photograph",
    "a red bicycle against a blue wall, product photograph",
];

/// The seed where nobody says.
const SEED: u64 = 1;

/// A result that is compared with its source.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) rel_l2: Option<f64>,
}

/// What was painted with one precision.
struct Painted {
    made: Made,
    views: Vec<JobView>,
    /// Each picture's file, and its samples.
    pictures: Vec<(Vec<u8>, Vec<u8>)>,
    /// What each was decoded from.
    latents: Vec<KeptLatent>,
    /// How each differs from the source's.
    apart: Vec<Apart>,
}

/// How a picture, and what it was decoded from, differ from the source's; of several pictures, too.
#[derive(Debug, Clone, Copy)]
struct Apart {
    picture: Difference,
    latent: LatentDifference,
}

/// Paints with a source and its conversions, and writes the report.
pub(super) fn compare(context: &Context, args: &ReportArgs, source: Made, others: Vec<Made>) -> Result<(), Refusal> {
    let model = source.path.clone();
    let mut painted = vec![paint(context, args, source, &model)?];
    for made in others {
        let mut next = paint(context, args, made, &model)?;
        next.apart =
            apart(&painted[0], &next).ok_or_else(|| Refusal::bare(Kind::Failed, "pictures of one prompt came out in different sizes"))?;
        painted.push(next);
    }
    let to = args.report.as_deref().filter(|to| *to != Path::new("-"));
    let to = to.map(|path| context.environment.absolute(path));
    if let Some(path) = &to {
        fs::write(path, page(args, &model, &painted).html())
            .map_err(|e| Refusal::new(Kind::Failed, format!("{} cannot be written: {e}", path.display()), "name another file"))?;
    }
    let line = json!({"report": to, "source": model, "pictures": painted[0].pictures.len(),
        "precisions": painted.iter().map(shown).collect::<Vec<_>>()});
    context.output.show(&line, || {
        let numbers =
            table(&["precision", "network", "weights' error", "s/step", "pictures"], painted.iter().map(|p| cells(&row(p)).to_vec()));
        to.as_ref().map_or_else(|| numbers.clone(), |path| format!("{numbers}{}\n", path.display()))
    });
    Ok(())
}

/// Returns how pictures differ from the source's, one by one, where they have the same sizes.
fn apart(source: &Painted, other: &Painted) -> Option<Vec<Apart>> {
    let pictures = source.pictures.iter().zip(&other.pictures).map(|((_, a), (_, b))| Difference::between(a, b));
    let latents = source.latents.iter().zip(&other.latents).map(|(a, b)| LatentDifference::between(a, b));
    pictures.zip(latents).map(|(picture, latent)| Some(Apart { picture: picture?, latent: latent? })).collect()
}

fn prompts(args: &ReportArgs) -> Vec<String> {
    if args.prompt.is_empty() { PROMPTS.map(str::to_owned).to_vec() } else { args.prompt.clone() }
}

fn seeds(args: &ReportArgs) -> Vec<Seed> {
    if args.seed.is_empty() { vec![Seed(SEED)] } else { args.seed.clone() }
}

/// Runs every prompt with every seed, as jobs like any other. What a conversion of the network lacks comes from its source.
fn paint(context: &Context, args: &ReportArgs, made: Made, model: &Path) -> Result<Painted, Refusal> {
    let mut painted = Painted { made, views: Vec::new(), pictures: Vec::new(), latents: Vec::new(), apart: Vec::new() };
    let borrowed = (painted.made.path != model).then(|| model.display().to_string());
    for prompt in prompts(args) {
        for seed in seeds(args) {
            let draft = JobDraft {
                model: painted.made.path.display().to_string(),
                vae: borrowed.clone(),
                clip: borrowed.iter().cloned().collect(),
                models: context.asked_models()?,
                prompt: prompt.clone(),
                seed: Some(seed),
                size: args.size,
                steps: args.steps,
                compute_device: args.compute_device,
                keep_latents: true,
                ..JobDraft::default()
            };
            if !context.output.json {
                report::note(&format!("{}: {}, seed {seed}", painted.made.name, output::head(&prompt, 50)));
            }
            let view = run::finished(context, draft)?;
            for image in &view.images {
                let file = fs::read(&image.path)
                    .map_err(|e| Refusal::bare(Kind::Failed, format!("{} cannot be read: {e}", image.path.display())))?;
                painted.latents.push(latent(&image.path, &file)?);
                painted.pictures.push((file, read_upright(&image.path)?.into_rgb8().into_raw()));
            }
            painted.views.push(view);
        }
    }
    Ok(painted)
}

fn latent(path: &Path, file: &[u8]) -> Result<KeptLatent, Refusal> {
    let kept = imagery::latent::kept(file).map_err(|e| Refusal::bare(Kind::Failed, format!("{}: {e}", path.display())))?;
    kept.ok_or_else(|| Refusal::new(Kind::Failed, format!("{} keeps no latent", path.display()), "stop and start the daemon: it is older"))
}

impl Painted {
    fn step_s(&self) -> Option<f64> {
        let mut steps: Vec<f64> = self.views.iter().filter_map(|v| v.timing.as_ref()).flat_map(|t| t.per_step.clone()).collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }

    fn apart(&self) -> Option<Apart> {
        let all = |apart: &[Apart]| Apart { picture: apart.iter().map(|a| a.picture).sum(), latent: apart.iter().map(|a| a.latent).sum() };
        (!self.apart.is_empty()).then(|| all(&self.apart))
    }
}

fn shown(painted: &Painted) -> Value {
    let Made { name, path, bytes, rel_l2 } = &painted.made;
    let apart = painted.apart();
    json!({
        "to": name, "path": path, "bytes": bytes, "rel_l2": rel_l2, "step_s": painted.step_s(),
        "psnr_db": apart.and_then(|d| d.picture.psnr()), "mean_abs": apart.map(|d| d.picture.mean_absolute()),
        "identical": apart.map(|d| d.picture.is_none()), "latent_rel_l2": apart.map(|d| d.latent.relative()),
        "jobs": painted.views.iter().map(|v| v.job).collect::<Vec<_>>(),
    })
}

fn said(apart: &Apart) -> String {
    let (mean, latent) = (significant(apart.picture.mean_absolute()), significant(apart.latent.relative()));
    let picture = apart.picture.psnr().map_or_else(|| "the same to the bit".to_owned(), |db| format!("{db:.1} dB, {mean} grey levels"));
    format!("{picture}, latent {latent}")
}

fn row(painted: &Painted) -> Row {
    let pictures = painted.pictures.iter().enumerate();
    let pictures = pictures.map(|(n, (file, _))| (file.clone(), painted.apart.get(n).map(said).unwrap_or_default()));
    Row {
        name: painted.made.name.clone(),
        bytes: painted.made.bytes,
        rel_l2: painted.made.rel_l2,
        step_s: painted.step_s(),
        apart: painted.apart().as_ref().map(said),
        pictures: pictures.collect(),
    }
}

fn page(args: &ReportArgs, model: &Path, painted: &[Painted]) -> Page {
    let columns = prompts(args).into_iter().flat_map(|prompt| seeds(args).into_iter().map(move |seed| format!("{prompt}, seed {seed}")));
    let spec = painted.first().and_then(|p| p.views.first());
    let conditions = spec.map(|view| {
        let (spec, precision) = (&view.spec, view.precision.clone().unwrap_or_else(|| "-".to_owned()));
        format!(
            "Computed on {} in {precision}, {} at {} steps; the source is {}. PSNR and mean absolute difference compare the \
             finished pictures, sample by sample; the latents' error is relative L2, before the autoencoder. The network's size is that of its file; seconds a step \
             are the median of all steps.",
            spec.compute, spec.size, spec.steps, painted[0].made.name
        )
    });
    Page {
        model: model.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        conditions: conditions.unwrap_or_default(),
        columns: columns.collect(),
        rows: painted.iter().map(row).collect(),
    }
}
