//! `perilune doctor`: checks what is needed, and says how to mend it.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::dashboard::surroundings;
use crate::cache::embeddings::Usage;
use crate::cli::context::Context;
use crate::cli::output::table;
use crate::client::{Client, Gate};
use crate::config::{private_folder, socket_note};
use crate::daemon::engines::spawn::{SpawnSpec, spawn};
use crate::devices::DeviceReading;
use crate::gallery;
use crate::library::{self, moonlet};
use crate::placement::Floors;
use crate::prompt::Dialect;
use crate::telemetry::{Ask, NvidiaProbe, Probe, Sample};
use crate::tokens::VocabularyKind;
use crate::tui::options::{ColorChoice, ColorDepth};
use crate::units::{Bytes, Clock, DeviceId, SystemClock};
use crate::wire::hello::HelloFrame;
use crate::wire::work::{Configure, KeptTexts};
use crate::wire::{Hello, Limit, Order, Report, blocking};
use crate::workflow::{Refusal, text};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One check. Ids are stable, for programs.
#[derive(Debug, Serialize)]
struct Check {
    id: &'static str,
    state: State,
    text: String,
    hint: Option<String>,
}

fn ok(id: &'static str, text: impl Into<String>) -> Check {
    Check { id, state: State::Ok, text: text.into(), hint: None }
}

fn warn(id: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { id, state: State::Warn, text: text.into(), hint: Some(hint.into()) }
}

fn fail(id: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { id, state: State::Fail, text: text.into(), hint: Some(hint.into()) }
}

/// Below this much free space, a disk is nearly full.
const LITTLE: Bytes = Bytes::gib(5);
/// How long NVIDIA's driver may take to answer.
const DRIVER: Duration = Duration::from_secs(10);
/// Until an engine must have greeted.
const GREETING: Duration = Duration::from_mins(1);

/// Runs every check; fails if one does.
#[expect(clippy::unnecessary_wraps, reason = "every command may be refused")]
pub(super) fn doctor(context: &Context) -> Result<u8, Refusal> {
    let sample = gpus(context);
    let mut checks = vec![
        engine(context, sample.as_ref()),
        gpu_driver(sample.as_ref()),
        socket(context),
        daemon(context),
        folder("state", &context.settings.paths.state),
        folder("cache", &context.settings.paths.cache),
        embeddings(context),
        folder("output", &context.settings.output.value),
        models(context),
        tokenizer(),
        vocabulary(context, "tokenizer-t5", VocabularyKind::T5, "Flux.1 and SD3"),
        vocabulary(context, "tokenizer-qwen", VocabularyKind::Qwen, "Z-Image"),
    ];
    checks.extend(
        context.problem.as_ref().map(|problem| fail("settings", problem.message.clone(), problem.hint.clone().unwrap_or_default())),
    );
    checks.extend(sample.as_ref().and_then(|sample| visible_gpus(context, sample)));
    checks.extend(linger(context));
    checks.push(terminal(context));
    let failed = checks.iter().any(|c| c.state == State::Fail);
    context.output.show(&json!({"ok": !failed, "checks": checks}), || {
        let rows = checks.iter().map(|c| {
            let state = match c.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            let text = c.hint.as_ref().map_or_else(|| c.text.clone(), |hint| format!("{}\n-> {hint}", c.text));
            vec![c.id.to_owned(), state.to_owned(), text]
        });
        table(&["check", "state", "what"], rows)
    });
    Ok(u8::from(failed))
}

/// The engine is started for the device that jobs would run on, and must be ready for it: that needs libtorch, and for
/// a GPU its CUDA half too.
fn engine(context: &Context, gpus: Option<&Sample>) -> Check {
    let gpu = gpus.and_then(|s| s.devices.iter().find(|d| d.is_gpu_that_computes() && !is_hidden(context, d)).map(|d| d.id));
    let device = context.settings.compute_device.value.or(gpu).unwrap_or(DeviceId::Cpu);
    let program = context.settings.engine.value.clone();
    let shown = program.display().to_string();
    let hint = "install perilune-engine beside perilune (`cargo build --release`), or name it in PERILUNE_ENGINE";
    if !program.exists() {
        return fail("engine", format!("there is no engine at {shown}"), hint);
    }
    let spawned = match spawn(&SpawnSpec {
        program,
        arguments: &[],
        source: device.to_string(),
        environment: context.settings.engine_environment.clone(),
    }) {
        Ok(spawned) => spawned,
        Err(error) => return fail("engine", format!("{shown} cannot be started: {error}"), hint),
    };
    let mut socket = &spawned.socket;
    let greeted = socket
        .set_read_timeout(Some(GREETING))
        .map_err(crate::wire::FrameError::Io)
        .and_then(|()| blocking::write(&mut socket, &Hello::ours(), Limit::CONTROL))
        .and_then(|()| blocking::read::<HelloFrame>(&mut socket, Limit::CONTROL));
    if let Ok(Some(theirs)) = greeted {
        if let Err(mismatch) = theirs.hello.check() {
            return fail("engine", format!("{shown}: {mismatch}"), "build perilune and perilune-engine together");
        }
        let configure = Order::Configure(Configure {
            device,
            threads: None,
            log: "error".to_owned(),
            simulated: context.settings.simulated(),
            tally: None,
            texts: KeptTexts::none(),
            floors: Floors::default(),
        });
        let ready = blocking::write(&mut socket, &configure, Limit::CONTROL);
        if let Ok(Some(Report::Ready { about })) = ready.and_then(|()| blocking::read::<Report>(&mut socket, Limit::CONTROL)) {
            return ok("engine", format!("{shown} is ready on {device}: {about}"));
        }
    }
    spawned.process.kill();
    let how = spawned.exit.blocking_recv().unwrap_or_default();
    let last = spawned.tail.lines().pop().map_or_else(String::new, |line| format!("; it wrote: {line}"));
    let hint = "run it by hand to see more; `ldd` shows which library is missing, `scripts/setup` gets libtorch";
    fail("engine", format!("{shown} is not ready on {device}: it {how}{last}"), hint)
}

/// Asks NVIDIA's library once, as the daemon does all the time.
fn gpus(context: &Context) -> Option<Sample> {
    let nvml = context.settings.nvml.value.clone();
    let (tell, answer) = mpsc::channel();
    // A driver that hangs keeps its thread; the check does not wait for it.
    thread::spawn(move || {
        let sample = NvidiaProbe::new(nvml, "/sys".into()).read(SystemClock.now(), &Ask::default());
        // Nobody listens to an answer that comes too late.
        drop(tell.send(sample));
    });
    answer.recv_timeout(DRIVER).ok()
}

fn gpu_driver(sample: Option<&Sample>) -> Check {
    let Some(Sample { devices, host }) = sample else {
        let hint = "look at `sudo dmesg | grep -i nvrm`; a GPU that hangs needs a reset or a reboot";
        return fail("gpu-driver", format!("NVIDIA's driver does not answer within {} s", DRIVER.as_secs()), hint);
    };
    if let Some(problem) = &host.gpu_problem {
        return warn("gpu-driver", format!("{}; jobs run on the processor", problem.cause), problem.hint.clone());
    }
    let names: Vec<String> = devices.iter().map(|d| format!("{} {}", d.id, d.name.as_deref().unwrap_or("without a name"))).collect();
    ok("gpu-driver", format!("driver {}: {}", host.driver.as_deref().unwrap_or("of unknown version"), names.join(", ")))
}

fn is_hidden(context: &Context, device: &DeviceReading) -> bool {
    let (Some(visible), DeviceId::Cuda(number)) = (&context.settings.visible, device.id) else { return false };
    visible.hides(number, device.uuid.as_deref())
}

/// What the operator's variable of CUDA's means for a daemon that is started here; nothing where it changes nothing.
fn visible_gpus(context: &Context, sample: &Sample) -> Option<Check> {
    const ID: &str = "visible-gpus";
    let visible = context.settings.visible.as_ref()?;
    let all: Vec<&DeviceReading> = sample.devices.iter().filter(|d| matches!(d.id, DeviceId::Cuda(_))).collect();
    if all.is_empty() {
        return None;
    }
    if visible.is_about_slices() {
        let text = format!("{visible} names slices: engines keep it, and cuda:0 is then the first slice, not nvidia-smi's GPU 0");
        return Some(warn(ID, text, "name the slice you want first"));
    }
    let hidden: Vec<String> = all.iter().filter(|d| is_hidden(context, d)).map(|d| d.id.to_string()).collect();
    if !hidden.is_empty() {
        let none = if hidden.len() == all.len() { ", so jobs run on the processor" } else { "" };
        let text = format!("{visible} hides {}{none}; cuda:N still counts all GPUs as nvidia-smi does", hidden.join(", "));
        return Some(warn(ID, text, "to use them, `perilune stop` and start the daemon without the variable"));
    }
    let numbered: Vec<(u16, Option<&str>)> = all
        .iter()
        .filter_map(|d| match d.id {
            DeviceId::Cuda(number) => Some((number, d.uuid.as_deref())),
            DeviceId::Cpu | DeviceId::Disk | DeviceId::Amd(_) | DeviceId::Sim(_) => None,
        })
        .collect();
    let reorders = visible.reorders(&numbered);
    reorders.then(|| ok(ID, format!("{visible} hides no GPU; its order is not followed: cuda:N counts as nvidia-smi does")))
}

fn socket(context: &Context) -> Check {
    let paths = &context.settings.paths;
    if let Err(error) = private_folder::check(&paths.runtime) {
        return fail("socket", error.to_string(), error.hint());
    }
    match &paths.too_long {
        Some(long) => warn(
            "socket",
            format!("{} is too long for a socket; it lies in {}", long.display(), paths.runtime.display()),
            "choose a shorter PERILUNE_HOME or XDG_RUNTIME_DIR",
        ),
        None => match socket_note::read(paths).filter(|noted| *noted != paths.socket()) {
            Some(noted) => ok("socket", format!("{}; the daemon has noted {}", paths.socket().display(), noted.display())),
            None => ok("socket", paths.socket().display().to_string()),
        },
    }
}

fn daemon(context: &Context) -> Check {
    let gate = Gate { spawn: false, ..context.gate() };
    match context.wait_for(async { Client::connect(&gate).await.map(drop) }) {
        Ok(()) => ok("daemon", "answers"),
        Err(refusal) => warn("daemon", refusal.message, refusal.hint.unwrap_or_default()),
    }
}

fn folder(id: &'static str, path: &Path) -> Check {
    if let Err(error) = gallery::check(path) {
        return fail(id, error.to_string(), error.hint());
    }
    let there = path.ancestors().find(|a| a.exists()).unwrap_or(path);
    match gallery::error::free_space(there) {
        Some(free) if free < LITTLE => warn(id, format!("{}: only {free} are free", path.display()), "make room on that disk"),
        Some(free) => ok(id, format!("{}, {free} are free", path.display())),
        None => ok(id, path.display().to_string()),
    }
}

/// What is kept of texts, and how much may be.
fn embeddings(context: &Context) -> Check {
    let (folder, limit) = (context.settings.paths.embeddings(), context.settings.embeddings_cache.value);
    let Usage { count, bytes } = Usage::of(&folder);
    if limit == Bytes::ZERO {
        return ok("embeddings", format!("nothing is kept of texts that were read: `embeddings_cache` is 0; {bytes} are there"));
    }
    ok("embeddings", format!("{}, {bytes} of {limit} in {count} files", folder.display()))
}

fn models(context: &Context) -> Check {
    let roots = match context.roots() {
        Ok(roots) => roots,
        Err(refusal) => return fail("models", refusal.message, refusal.hint.unwrap_or_default()),
    };
    let count = library::scan(&roots, false).iter().filter(|m| m.folder != moonlet::FOLDER).count();
    let folders = roots.models.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    if count == 0 {
        let hint = "name your folder with --models or in config.yaml; `perilune demo` needs none";
        return warn("models", format!("no models in {folders}"), hint);
    }
    ok("models", format!("{count} in {folders}"))
}

/// The vocabulary is part of the program, so this fails for a broken build only.
fn tokenizer() -> Check {
    // Five words that are a token each.
    match text::count("a photo of a cat", Dialect::default()).tokens {
        5 => ok("tokenizer", "CLIP's vocabulary is built in"),
        count => fail("tokenizer", format!("CLIP's vocabulary makes {count} tokens of five"), "build or install perilune again"),
    }
}

/// Models may bring these, so that none in the usual places is no failure.
fn vocabulary(context: &Context, id: &'static str, kind: VocabularyKind, families: &str) -> Check {
    let Ok(roots) = context.roots() else { return warn(id, "the model folders cannot be told", "see `models`") };
    match library::vocabulary::find(kind, &[], &roots) {
        Ok((place, vocabulary)) => ok(id, format!("{kind}'s vocabulary of {} entries: {}", vocabulary.size(), place.path().display())),
        Err(error) => {
            let own = format!("{error}; {families} need one beside their encoder or in it where there is none here");
            warn(id, own, error.hint())
        }
    }
}

/// Where systemd ends a user's processes at logout, it would end the daemon too.
fn linger(context: &Context) -> Option<Check> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let user = context.environment.user();
    if Path::new("/var/lib/systemd/linger").join(&user).exists() || rustix::process::getuid().is_root() {
        return Some(ok("linger", "the daemon outlives your session"));
    }
    let hint = format!("loginctl enable-linger {user}");
    Some(warn("linger", "systemd may end the daemon when you log out", hint))
}

fn terminal(context: &Context) -> Check {
    let surroundings = surroundings(context);
    let term = &surroundings.term;
    if surroundings.is_dumb() {
        return warn(
            "terminal",
            "TERM names no terminal that can draw",
            "commands work; for the dashboard set TERM, such as xterm-256color",
        );
    }
    let traits = surroundings.traits(ColorChoice::Auto);
    if !traits.unicode {
        return warn("terminal", format!("{term}, but the locale is not UTF-8"), "set LANG to a UTF-8 locale, such as C.UTF-8");
    }
    let colors = match traits.colors {
        ColorDepth::Mono => "no colours (NO_COLOR)",
        ColorDepth::Ansi16 => "16 colours",
        ColorDepth::Indexed256 => "256 colours",
        ColorDepth::TrueColor => "all colours",
    };
    ok("terminal", format!("{term}, {colors}"))
}
