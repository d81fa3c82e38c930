//! Every setting, resolved, with its origin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::file::{ConfigFile, SupervisionFile};
use super::{ConfigError, Environment, Origin, Paths, Told, presets};
use crate::devices::{SimulatedGpu, Visible, visible};
use crate::profile::Preset;
use crate::units::{Bytes, DeviceId};

/// What an engine's environment says about heap, threads and GPU; read by the C library, libgomp and CUDA
/// before our first line. Variables that the operator set stay, but for what numbers GPUs.
///
/// The heap keeps what is freed, and takes no huge pages: where memory is full of files or the machine is a virtual
/// one, the kernel needs milliseconds to find and clear each. It keeps no list of small pieces for each thread: such a piece is
/// not joined with the free memory around it, and the next large tensor then takes new memory, a gigabyte of it in a step.
///
/// The spin count: a thread that waits for another gives the processor up soon. By default it spins for
/// milliseconds, and on a box where others compute too it then keeps the very core its partner needs.
///
/// CUDA: `cuda:N` counts as `nvidia-smi` does, whatever else is set, and fp32 means fp32, not `TensorFloat-32` with its
/// 10 bits.
pub const ENGINE_ENVIRONMENT: &[(&str, &str)] = &[
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296:glibc.malloc.tcache_count=0"),
    ("GOMP_SPINCOUNT", "10000"),
    (CUDA_ORDER, "PCI_BUS_ID"),
    ("NVIDIA_TF32_OVERRIDE", "0"),
];

/// The order in which CUDA counts GPUs. NVIDIA's management library, from which the daemon has its readings, knows one only.
const CUDA_ORDER: &str = "CUDA_DEVICE_ORDER";

/// What conversions leave free of a disk, where nobody says otherwise: pictures and the ledger go on being written.
const DISK_FLOOR: Bytes = Bytes(2 << 30);

/// How much of what text encoders made is kept where nobody says otherwise: of Flux.1, whose texts are the largest with 512 tokens of
/// 4096 numbers, 256 in fp32.
const EMBEDDINGS: Bytes = Bytes::gib(2);

/// What was said on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--home`.
    pub home: Option<PathBuf>,
    /// `--models`, as often as it was given.
    pub models: Vec<PathBuf>,
    /// `--profile`.
    pub profile: Option<String>,
}

/// Every setting.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where files lie.
    pub paths: Paths,
    /// What `ComfyUI`'s `extra_model_paths.yaml` may name: the user's home folder and variables.
    pub surroundings: Environment,
    /// Model folders.
    pub models: Told<Vec<PathBuf>>,
    /// `ComfyUI`'s `extra_model_paths.yaml`.
    pub extra_model_paths: Told<Option<PathBuf>>,
    /// Folders with vocabularies of text encoders.
    pub tokenizers: Told<Vec<PathBuf>>,
    /// Folder for the images.
    pub output: Told<PathBuf>,
    /// The device that computes; `None` is the first GPU, or the processor.
    pub compute_device: Told<Option<DeviceId>>,
    /// The engine's program.
    pub engine: Told<PathBuf>,
    /// Variables that an engine is given; `None` is one that it must not see.
    pub engine_environment: Vec<(&'static str, Option<&'static str>)>,
    /// Which GPUs jobs may run on, where the operator has said it in CUDA's words.
    pub visible: Option<Visible>,
    /// Processor threads of an engine; `None` is one per core.
    pub engine_threads: Told<Option<u32>>,
    /// Seconds after which an idle engine ends; `None` is never.
    pub engine_idle_s: Told<Option<f64>>,
    /// How much of a disk conversions leave free.
    pub disk_floor: Told<Bytes>,
    /// How much what text encoders made of texts may take of the disk; with 0 nothing of it is kept.
    pub embeddings_cache: Told<Bytes>,
    /// The most conversions that the daemon makes at once.
    pub conversions_at_once: Told<u32>,
    /// Where back-ups of conversions go, if they go anywhere.
    pub backup: Told<Option<String>>,
    /// NVIDIA's management library; `None` is where the system has it.
    pub nvml: Told<Option<PathBuf>>,
    /// The program that reaches other machines.
    pub ssh: Told<String>,
    /// The least level of log lines.
    pub log: Told<String>,
    /// The profile in use.
    pub profile: Told<Option<String>>,
    /// Colours of the dashboard.
    pub theme: Told<Option<String>>,
    /// Pictures in the dashboard.
    pub preview: Told<Option<String>>,
    /// Whether the mouse selects in the dashboard.
    pub mouse: Told<bool>,
    /// What a run is like: the file's words.
    pub run: Preset,
    /// What a run is like: the profile's words, which win.
    pub profiled: Preset,
    /// Patience with engines.
    pub supervision: Supervision,
}

/// Patience with engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supervision {
    /// Between two questions whether an engine lives.
    pub heartbeat: Duration,
    /// Without an answer, until it counts as dead.
    pub silence: Duration,
    /// From a cancellation until the engine is killed.
    pub grace: Duration,
    /// Before an engine that died is started again; doubled each time.
    pub backoff: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            grace: Duration::from_secs(10),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Resolves every setting.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let file = ConfigFile::read(&Paths::of(environment, flags.home.as_deref())?.file())?;
        Self::resolve(flags, environment, &file)
    }

    /// Resolves every setting as if there were no file, for what must work while it is wrong.
    pub fn without_file(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        Self::resolve(flags, environment, &ConfigFile::default())
    }

    fn resolve(flags: &Flags, environment: &Environment, file: &ConfigFile) -> Result<Self, ConfigError> {
        let paths = Paths::of(environment, flags.home.as_deref())?;
        let file_path = paths.file();
        // Paths in the file are seen from the file.
        let here = |path: &Path| expand(path, environment).unwrap_or_else(|| paths.config.join(path));
        let env = |name| (environment.path(name).map(|p| environment.absolute(&p)), Origin::Environment(name));
        let text = |name| (environment.text(name), Origin::Environment(name));

        let (env_profile, by_env) = text("PERILUNE_PROFILE");
        let profile = Told::default(None)
            .or_some(file.profile.clone(), Origin::File)
            .or_some(env_profile, by_env)
            .or_some(flags.profile.clone(), Origin::Flag("--profile"));
        let profiled = profile.value.as_ref().map(|name| presets::load(&paths, name)).transpose()?.unwrap_or_default();

        let listed = environment.get("PERILUNE_MODELS").map(|list| split_paths(list, environment));
        let given = (!flags.models.is_empty()).then(|| flags.models.iter().map(|p| environment.absolute(p)).collect());
        let models = Told::default(default_models(&paths, environment))
            .or_told(file.models.as_ref().map(|list| list.iter().map(|p| here(p)).collect()), Origin::File)
            .or_told(listed, Origin::Environment("PERILUNE_MODELS"))
            .or_told(given, Origin::Flag("--models"));

        let beside = paths.config.join("extra_model_paths.yaml");
        let extra_model_paths =
            Told::default(beside.is_file().then_some(beside)).or_some(file.extra_model_paths.as_deref().map(here), Origin::File);

        let tokenizers = Told::default(vec![paths.data.join("tokenizers")])
            .or_told(file.tokenizers.as_ref().map(|list| list.iter().map(|p| here(p)).collect()), Origin::File);

        if !file.run.daemon.is_empty() {
            return Err(wrong(&file_path, "run.daemon: how the daemon behaves stands at the top of this file, or in a profile"));
        }
        if !file.run.thresholds.is_empty() {
            return Err(wrong(&file_path, "run.thresholds: thresholds stand in a theme or a profile"));
        }
        let by_profile = Origin::Profile(profile.value.clone().unwrap_or_default());
        let (env_output, by_env) = env("PERILUNE_OUTPUT");
        let output = Told::default(paths.data.join("output"))
            .or_told(file.output.as_deref().or(file.run.output.as_deref()).map(here), Origin::File)
            .or_told(profiled.output.as_deref().map(here), by_profile.clone())
            .or_told(env_output, by_env);
        let compute_device = Told::default(None)
            .or_some(file.compute_device.or(file.run.computes_on()), Origin::File)
            .or_some(profiled.computes_on(), by_profile.clone());

        let (env_engine, by_env) = env("PERILUNE_ENGINE");
        let engine =
            Told::default(default_engine(environment)).or_told(file.engine.as_deref().map(here), Origin::File).or_told(env_engine, by_env);
        let (env_nvml, by_env_nvml) = env("PERILUNE_NVML");
        let (env_backup, by_env_backup) = text("PERILUNE_BACKUP");
        let place = |text: String, here: &dyn Fn(&Path) -> PathBuf| {
            if text.contains("://") { text } else { here(Path::new(&text)).to_string_lossy().into_owned() }
        };
        let (env_ssh, by_env_ssh) = text("PERILUNE_SSH");
        let (env_log, by_env_log) = text("PERILUNE_LOG");
        let visible = environment.said(visible::VARIABLE).map(|text| Visible::parse(&text));
        Ok(Self {
            engine_environment: engine_environment(environment, visible.as_ref()),
            visible,
            engine_threads: Told::default(None)
                .or_some(threads(file.engine_threads, &file_path)?, Origin::File)
                .or_some(profiled.daemon.engine_threads, by_profile.clone()),
            engine_idle_s: Told::default(None)
                .or_some(idle(file.engine_idle_s, &file_path)?, Origin::File)
                .or_some(profiled.daemon.engine_idle_s, by_profile.clone()),
            disk_floor: Told::default(DISK_FLOOR)
                .or_told(size("disk_floor", file.disk_floor.as_deref(), &file_path)?, Origin::File)
                .or_told(profiled.daemon.disk_floor, by_profile.clone()),
            embeddings_cache: Told::default(EMBEDDINGS)
                .or_told(size("embeddings_cache", file.embeddings_cache.as_deref(), &file_path)?, Origin::File),
            conversions_at_once: Told::default(1)
                .or_told(at_once(file.conversions_at_once, &file_path)?, Origin::File)
                .or_told(profiled.daemon.conversions_at_once, by_profile),
            backup: Told::default(None)
                .or_some(file.backup.clone().map(|text| place(text, &here)), Origin::File)
                .or_some(env_backup.map(|text| place(text, &|path| environment.absolute(path))), by_env_backup),
            nvml: Told::default(None).or_some(file.nvml.as_deref().map(here), Origin::File).or_some(env_nvml, by_env_nvml),
            ssh: Told::default("ssh".to_owned()).or_told(file.ssh.clone(), Origin::File).or_told(env_ssh, by_env_ssh),
            log: Told::default("info".to_owned()).or_told(file.log.clone(), Origin::File).or_told(env_log, by_env_log),
            theme: Told::default(None).or_some(file.theme.clone(), Origin::File),
            preview: Told::default(None).or_some(file.preview.clone(), Origin::File),
            mouse: Told::default(false).or_told(file.mouse, Origin::File),
            supervision: supervision(file.supervision, &file_path)?,
            run: file.run.clone(),
            surroundings: environment.clone(),
            paths,
            models,
            extra_model_paths,
            tokenizers,
            output,
            compute_device,
            engine,
            profile,
            profiled,
        })
    }

    /// Returns what a run is like where the command line does not say.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.profiled.clone().over(self.run.clone())
    }

    /// Returns the GPUs that a daemon with these settings simulates.
    #[must_use]
    pub fn simulated(&self) -> Vec<SimulatedGpu> {
        self.preset().simulated
    }

    /// Returns every setting with its name and origin, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, Value, Origin)> {
        fn row<T: serde::Serialize>(name: &'static str, told: &Told<T>) -> (&'static str, Value, Origin) {
            (name, json!(told.value), told.origin.clone())
        }
        let mut rows = vec![
            row("models", &self.models),
            row("extra_model_paths", &self.extra_model_paths),
            row("tokenizers", &self.tokenizers),
            row("output", &self.output),
            row("compute_device", &self.compute_device),
            row("engine", &self.engine),
            row("engine_threads", &self.engine_threads),
            row("engine_idle_s", &self.engine_idle_s),
            row("disk_floor", &self.disk_floor),
            row("embeddings_cache", &self.embeddings_cache),
            row("conversions_at_once", &self.conversions_at_once),
            row("backup", &self.backup),
            row("nvml", &self.nvml),
            row("ssh", &self.ssh),
            row("log", &self.log),
            row("profile", &self.profile),
            row("theme", &self.theme),
            row("preview", &self.preview),
            row("mouse", &self.mouse),
        ];
        let profile = Origin::Profile(self.profile.value.clone().unwrap_or_default());
        let mut preset = |name, file: Value, profiled: Value| {
            let (value, origin) = match (profiled, file) {
                (Value::Null, Value::Null) => (Value::Null, Origin::Default),
                (Value::Null, file) => (file, Origin::File),
                (profiled, _) => (profiled, profile.clone()),
            };
            rows.push((name, value, origin));
        };
        let (file, own) = (&self.run, &self.profiled);
        preset("run.steps", json!(file.steps), json!(own.steps));
        preset("run.cfg", json!(file.cfg), json!(own.cfg));
        preset("run.sampler", json!(file.sampler), json!(own.sampler));
        preset("run.schedule", json!(file.schedule), json!(own.schedule));
        preset("run.size", json!(file.size.map(|s| s.to_string())), json!(own.size.map(|s| s.to_string())));
        preset("run.precision", json!(file.precision), json!(own.precision));
        preset("run.priority", json!(file.priority), json!(own.priority));
        let names = |preset: &Preset| {
            let names: Vec<&str> = preset.simulated.iter().map(|gpu| gpu.name.as_str()).collect();
            if names.is_empty() { Value::Null } else { json!(names) }
        };
        preset("run.simulated", names(file), names(own));
        preset("thresholds", Value::Null, if own.thresholds.is_empty() { Value::Null } else { json!(own.thresholds) });
        let floors = |preset: &Preset| if preset.floors.is_empty() { Value::Null } else { json!(preset.floors) };
        preset("run.floors", floors(file), floors(own));
        let sets = |preset: &Preset| if preset.sets.is_empty() { Value::Null } else { json!(preset.sets) };
        preset("run.sets", sets(file), sets(own));
        rows
    }
}

fn engine_environment(environment: &Environment, visible: Option<&Visible>) -> Vec<(&'static str, Option<&'static str>)> {
    let given = ENGINE_ENVIRONMENT.iter().filter(|(name, _)| *name == CUDA_ORDER || environment.get(name).is_none());
    let mut given: Vec<_> = given.map(|(name, value)| (*name, Some(*value))).collect();
    if visible.is_some_and(|v| !v.is_about_slices()) {
        given.push((visible::VARIABLE, None));
    }
    given
}

fn size(name: &str, value: Option<&str>, path: &Path) -> Result<Option<Bytes>, ConfigError> {
    let wrong_size = |error| wrong(path, &format!("{name}: {error}"));
    value.map(|text| text.parse::<Bytes>().map_err(wrong_size)).transpose()
}

fn threads(value: Option<u32>, path: &Path) -> Result<Option<u32>, ConfigError> {
    match value {
        Some(0) => Err(wrong(path, "engine_threads is 0, but must be at least 1; leave it out for one per core")),
        value => Ok(value),
    }
}

fn at_once(value: Option<u32>, path: &Path) -> Result<Option<u32>, ConfigError> {
    match value {
        Some(n) if !(1..=64).contains(&n) => Err(wrong(path, &format!("conversions_at_once is {n}, but must be from 1 to 64"))),
        value => Ok(value),
    }
}

fn idle(value: Option<f64>, path: &Path) -> Result<Option<f64>, ConfigError> {
    // A year is as good as never, which is what is meant where nothing is said.
    match value {
        Some(s) if !(0.0..=31_536_000.0).contains(&s) => {
            Err(wrong(path, &format!("engine_idle_s is {s}, but must be from 0 to 31536000; leave it out for never")))
        }
        value => Ok(value),
    }
}

fn wrong(path: &Path, problem: &str) -> ConfigError {
    ConfigError::Value { origin: path.display().to_string(), problem: problem.to_owned() }
}

fn supervision(file: SupervisionFile, path: &Path) -> Result<Supervision, ConfigError> {
    let built_in = Supervision::default();
    let seconds = |name: &str, value: Option<f64>, built_in: Duration| match value {
        None => Ok(built_in),
        Some(s) if s > 0.0 && s <= 3600.0 => Ok(Duration::from_secs_f64(s)),
        Some(s) => Err(ConfigError::Value {
            origin: path.display().to_string(),
            problem: format!("supervision.{name} is {s}, but must be above 0 and at most 3600"),
        }),
    };
    Ok(Supervision {
        heartbeat: seconds("heartbeat_s", file.heartbeat_s, built_in.heartbeat)?,
        silence: seconds("silence_s", file.silence_s, built_in.silence)?,
        grace: seconds("grace_s", file.grace_s, built_in.grace)?,
        backoff: seconds("backoff_s", file.backoff_s, built_in.backoff)?,
        backoff_max: seconds("backoff_max_s", file.backoff_max_s, built_in.backoff_max)?,
    })
}

/// Returns the path with `~` replaced, if it says for itself where it is.
fn expand(path: &Path, environment: &Environment) -> Option<PathBuf> {
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), environment.home()) {
        return Some(home.join(rest));
    }
    path.is_absolute().then(|| path.to_owned())
}

fn split_paths(list: &std::ffi::OsString, environment: &Environment) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|p| !p.as_os_str().is_empty()).map(|p| environment.absolute(&p)).collect()
}

fn default_models(paths: &Paths, environment: &Environment) -> Vec<PathBuf> {
    let comfy = environment.home().map(|home| home.join("ComfyUI/models"));
    let comfy = comfy.filter(|folder| folder.is_dir() && !paths.config.starts_with(folder));
    std::iter::once(paths.data.join("models")).chain(comfy).collect()
}

fn default_engine(environment: &Environment) -> PathBuf {
    let program = environment.program().unwrap_or_else(|| PathBuf::from("perilune"));
    program.with_file_name("perilune-engine")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], flags: &Flags, file: &str) -> Result<Settings, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.yaml"), file).unwrap();
        let all: Vec<_> = variables.iter().copied().chain([("PERILUNE_HOME", home.path().to_str().unwrap())]).collect();
        Settings::load(flags, &Environment::made_of(&all, "/home/ana"))
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let flags = Flags { models: vec!["flagged".into()], ..Flags::default() };
        let check = |variables: &[(&str, &str)], flags: &Flags, file: &str, expected: (&str, &str)| {
            let settings = load(variables, flags, file).unwrap();
            let models = &settings.models;
            assert!(models.value[0].ends_with(expected.0), "{:?}", models.value);
            assert_eq!(models.origin.to_string(), expected.1);
        };
        let (env, file) = ([("PERILUNE_MODELS", "/env:/other")], "models: [~/filed]");
        check(&[], &Flags::default(), "", ("models", "default"));
        check(&[], &Flags::default(), file, ("/home/ana/filed", "file"));
        check(&env, &Flags::default(), file, ("/env", "PERILUNE_MODELS"));
        check(&env, &flags, file, ("/home/ana/flagged", "--models"));
    }

    #[test]
    fn a_profile_lies_between_file_and_flags() {
        let flags = Flags { profile: Some("fast".to_owned()), ..Flags::default() };
        let settings = load(&[("PERILUNE_PROFILE", "sd15")], &flags, "run: {steps: 33, priority: 2}").unwrap();
        assert_eq!((settings.preset().steps, settings.preset().priority), (Some(10), Some(2)));
        let rows = settings.rows();
        let origin = |name: &str| rows.iter().find(|r| r.0 == name).unwrap().2.to_string();
        assert_eq!((origin("run.steps").as_str(), origin("run.priority").as_str()), ("profile fast", "file"));
        assert_eq!((origin("profile").as_str(), origin("run.precision").as_str()), ("--profile", "default"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let named = Flags { profile: Some("slow".to_owned()), ..Flags::default() };
        let error = load(&[], &named, "").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_str()),
            ("there is no profile `slow`", "there are cpu, eight-h100, fast, one-24gb, sd15, simulated, simulated-dual, two-unequal")
        );
        let error = load(&[], &Flags::default(), "supervision: {grace_s: 0}").unwrap_err();
        for (file, what) in [
            ("engine_threads: 0", "engine_threads is 0"),
            ("conversions_at_once: 0", "conversions_at_once is 0"),
            ("engine_idle_s: .inf", "engine_idle_s is inf"),
            ("engine_idle_s: -1", "-1"),
            ("embeddings_cache: much", "embeddings_cache: "),
        ] {
            let error = load(&[], &Flags::default(), file).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(error.to_string().ends_with("supervision.grace_s is 0, but must be above 0 and at most 3600"), "{error}");
    }
}
