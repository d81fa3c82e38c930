//! `perilune config validate`: every mistake in the files of settings, with line and column.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::dashboard;
use crate::cli::global::Global;
use crate::cli::output::{Output, plain};
use crate::config::file::ConfigFile;
use crate::config::{ConfigError, Environment, Flags, Paths, Settings, presets, themes};
use crate::daemon::lookup;
use crate::logging;
use crate::placement::Part;
use crate::profile::{EMBEDDED, Preset, PresetError, position};
use crate::theme::Themes;
use crate::tui::options::PreviewChoice;
use crate::tui::rebind;
use crate::units::DeviceId;
use crate::workflow::{JobDraft, Kind, Refusal, check_ranges};

/// Code of an exit where a file is wrong, as for wrong flags.
const WRONG: u8 = 2;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Settings,
    Keys,
    Profile,
    Theme,
    ModelPaths,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Keys => "keys",
            Self::Profile => "profile",
            Self::Theme => "theme",
            Self::ModelPaths => "list of model folders",
        }
    }

    /// The name and what goes with it.
    fn is(self) -> String {
        let verb = match self {
            Self::Settings | Self::Keys => "are",
            Self::Profile | Self::Theme | Self::ModelPaths => "is",
        };
        format!("{} {verb}", self.name())
    }
}

/// A file, and what is wrong with it.
struct Checked {
    file: String,
    purpose: Purpose,
    problem: Option<Problem>,
}

/// What is wrong, and where.
struct Problem {
    line: usize,
    column: usize,
    text: String,
    hint: Option<String>,
}

/// Checks these files, or all there are. Returns the exit code.
pub(in crate::cli) fn validate(global: &Global, environment: &Environment, output: Output, files: &[PathBuf]) -> Result<u8, Refusal> {
    let paths = Paths::of(environment, global.home.as_deref())?;
    let wanted = if files.is_empty() {
        all(&paths, global, environment)
    } else {
        files.iter().map(|file| find(file, &paths, environment)).collect::<Result<_, _>>()?
    };
    // Themes may extend those that come before them by name.
    let mut themes = Themes::shipped();
    let mut checked: Vec<Checked> = Vec::new();
    for (file, purpose, text) in wanted {
        let text = match text {
            Some(text) => text,
            None => {
                fs::read_to_string(&file).map_err(|e| Refusal::new(Kind::NotFound, format!("{}: {e}", file.display()), "check the path"))?
            }
        };
        let name = file.display().to_string();
        let found = |problem: String| place(&problem, &text);
        let problem = match purpose {
            Purpose::Settings => settings(&text, &file, global, environment),
            Purpose::Keys => rebind::parse(&text).err().map(|e| found(e.to_string())),
            Purpose::Profile => profile(&text, &name),
            Purpose::ModelPaths => lookup::extra_folders(&text, &file, environment).err().map(|e| found(e.to_string())),
            Purpose::Theme => themes.add(&name, &text).err().map(|e| found(e.to_string())),
        };
        checked.push(Checked { file: name, purpose, problem });
    }
    let wrong = checked.iter().any(|c| c.problem.is_some());
    let rows: Vec<_> = checked
        .iter()
        .map(|c| {
            let problem = c.problem.as_ref();
            json!({
                "file": c.file, "kind": c.purpose.name(), "ok": problem.is_none(),
                "line": problem.map(|p| p.line), "column": problem.map(|p| p.column), "problem": problem.map(|p| &p.text),
                "hint": problem.map(|p| &p.hint),
            })
        })
        .collect();
    output.show(&json!({"files": rows}), || checked.iter().map(line).collect());
    Ok(if wrong { WRONG } else { 0 })
}

fn line(checked: &Checked) -> String {
    let file = plain(&checked.file);
    match &checked.problem {
        None => format!("{file}: {} fine\n", checked.purpose.is()),
        Some(Problem { line, column, text, hint }) => {
            let hint = hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{file}:{line}:{column}: {}\n", plain(&format!("{text}{hint}")))
        }
    }
}

type Wanted = (PathBuf, Purpose, Option<String>);

/// Every file there is.
fn all(paths: &Paths, global: &Global, environment: &Environment) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    if paths.file().exists() {
        all.push((paths.file(), Purpose::Settings, None));
    }
    if paths.keys().exists() {
        all.push((paths.keys(), Purpose::Keys, None));
    }
    all.extend(model_paths(paths, global, environment).map(|file| (file, Purpose::ModelPaths, None)));
    for (folder, purpose) in [(paths.profiles(), Purpose::Profile), (paths.themes(), Purpose::Theme)] {
        // A folder that is not there holds no files.
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
        let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
        files.sort();
        all.extend(files.into_iter().map(|file| (file, purpose, None)));
    }
    all
}

/// `ComfyUI`'s list of model folders: the one that the settings name, or the one beside them.
fn model_paths(paths: &Paths, global: &Global, environment: &Environment) -> Option<PathBuf> {
    let flags = Flags { home: global.home.clone(), ..Flags::default() };
    // Settings that cannot be read are told of by themselves.
    let named = Settings::load(&flags, environment).ok().and_then(|settings| settings.extra_model_paths.value);
    let beside = paths.config.join(MODEL_PATHS);
    named.or_else(|| beside.exists().then_some(beside))
}

/// What `ComfyUI` calls its list of model folders.
const MODEL_PATHS: &str = "extra_model_paths.yaml";

/// A file; or the profile or theme of that name.
fn find(file: &Path, paths: &Paths, environment: &Environment) -> Result<Wanted, Refusal> {
    let path = environment.absolute(file);
    if path.is_file() {
        return Ok((path.clone(), purpose(&path, paths), None));
    }
    let name = file.display().to_string();
    for (folder, purpose) in [(paths.profiles(), Purpose::Profile), (paths.themes(), Purpose::Theme)] {
        let own = folder.join(format!("{name}.yaml"));
        if !name.contains('/') && own.is_file() {
            return Ok((own, purpose, None));
        }
    }
    match EMBEDDED.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok((PathBuf::from(format!("profiles/{name}.yaml")), Purpose::Profile, Some((*text).to_owned()))),
        None => Err(Refusal::new(
            Kind::NotFound,
            format!("there is no file, profile or theme `{name}`"),
            "`perilune config` shows where they lie",
        )),
    }
}

/// Says what a file is for, by what stands in it.
fn purpose(path: &Path, paths: &Paths) -> Purpose {
    // What cannot be read is told when it is read to be checked.
    let text = fs::read_to_string(path).unwrap_or_default();
    let has = |key: &str| text.lines().any(|l| l.starts_with(&format!("{key}:")));
    if *path == paths.file() || path.file_name().is_some_and(|name| name == "config.yaml") {
        Purpose::Settings
    } else if *path == paths.keys() || path.file_name().is_some_and(|name| name == "keys.yaml") {
        Purpose::Keys
    } else if path.file_name().is_some_and(|name| name == MODEL_PATHS) {
        Purpose::ModelPaths
    } else if path.starts_with(paths.themes()) || ["name", "roles", "extends", "glyphs", "background"].into_iter().any(has) {
        Purpose::Theme
    } else {
        Purpose::Profile
    }
}

fn settings(text: &str, path: &Path, global: &Global, environment: &Environment) -> Option<Problem> {
    let file = match ConfigFile::parse(text, path) {
        Ok(file) => file,
        Err(ConfigError::File { problem, place: Some((line, column)), hint, .. }) => {
            return Some(Problem { line, column, text: problem, hint });
        }
        Err(error) => return Some(place(&error.to_string(), text)),
    };
    let flags = Flags { home: global.home.clone(), models: global.models.clone(), profile: global.profile.clone() };
    let error = Settings::load(&flags, environment).err().map(|error| error.to_string());
    // Other files have lines of their own.
    let error = error.and_then(|error| Some(error.strip_prefix(&format!("{}: ", path.display()))?.to_owned()));
    error
        .map(|error| place(&error, text))
        .or_else(|| refused(&file.run, file.compute_device, &["run"], text))
        .or_else(|| names(&file, &Paths::of(environment, global.home.as_deref()).ok()?, text))
}

/// Finds names and words that the commands refuse which look for them.
fn names(file: &ConfigFile, paths: &Paths, text: &str) -> Option<Problem> {
    let at = |key: &str, told: String, hint: &str| {
        let (line, column) = position::of_value(&[key], text).unwrap_or((1, 1));
        Problem { line, column, text: format!("{key}: {told}"), hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()) }
    };
    let profile = file.profile.as_ref().and_then(|name| match presets::load(paths, name) {
        // What is wrong within a profile is told of that file.
        Err(error @ ConfigError::NoProfile { .. }) => Some(at("profile", error.to_string(), &error.hint())),
        Ok(_) | Err(_) => None,
    });
    let theme = || {
        let name = file.theme.as_ref().filter(|name| *name != dashboard::AUTO)?;
        let themes = themes::load(paths).ok()?;
        let known = || themes.names().collect::<Vec<_>>().join(", ");
        let missing = themes.get(name).is_none();
        missing.then(|| at("theme", format!("there is no theme `{name}`"), &format!("there are {}, {}", dashboard::AUTO, known())))
    };
    let preview = || Some(at("preview", file.preview.as_ref()?.parse::<PreviewChoice>().err()?.to_string(), ""));
    let log = || Some(at("log", logging::check(file.log.as_ref()?).err()?.to_string(), ""));
    let output = || {
        let empty = file.output.as_ref().is_some_and(|folder| folder.as_os_str().is_empty());
        empty.then(|| at("output", "no folder is named".to_owned(), "name one, or leave it out"))
    };
    profile.or_else(theme).or_else(preview).or_else(log).or_else(output)
}

fn profile(text: &str, name: &str) -> Option<Problem> {
    match Preset::parse(text, name) {
        Ok(preset) => refused(&preset, None, &[], text),
        Err(PresetError { problem, place: (line, column), hint, .. }) => Some(Problem { line, column, text: problem, hint }),
    }
}

/// Finds what every command would refuse that is given nothing else than this preset.
fn refused(preset: &Preset, compute: Option<DeviceId>, under: &[&str], text: &str) -> Option<Problem> {
    let computes_on = compute.or(preset.computes_on());
    let mut parts = preset.asks();
    let draft = JobDraft {
        steps: preset.steps,
        cfg: preset.cfg,
        // Where nothing is said of it, what is wrong is what no device could compute: a simulated one may have any donor.
        compute_device: Some(computes_on.unwrap_or(DeviceId::Sim(u16::MAX))),
        offload: parts.take(Part::Denoiser),
        parts,
        ..JobDraft::default()
    };
    let refusal = check_ranges(&draft).err()?;
    let words = refusal.message.clone();
    let (part, problem) = match words.split_once(": ") {
        Some((part, problem)) if Part::ALL.iter().any(|known| known.name() == part) => (Some(part), problem),
        _ => (None, words.as_str()),
    };
    // A flag has the name of its key.
    let flag = problem.split(' ').next().and_then(|word| word.strip_prefix("--"));
    let told = flag.map(|_| problem.trim_start_matches("--").to_owned());
    let keys = ["expert_mode_allocations", "donor_device", "pin_blocks", "virtual_vram_gb", "compute_device"];
    let places = flag.into_iter().chain(keys).filter_map(|key| {
        let inside = part.map(|part| ["parts", part]).into_iter().flatten();
        let keys: Vec<&str> = under.iter().copied().chain(inside).chain([key]).collect();
        position::of_value(&keys, text)
    });
    let (line, column) = places.into_iter().next().unwrap_or((1, 1));
    Some(Problem { line, column, text: told.unwrap_or(words), hint: refusal.hint })
}

/// Says where a problem is.
fn place(problem: &str, text: &str) -> Problem {
    let (line, column) = position::position(problem, text);
    let words = position::split(problem).map_or(problem, |(before, _)| before);
    Problem { line, column, text: words.to_owned(), hint: None }
}
