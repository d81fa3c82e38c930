//! The commands of the palette, in the words of the command line where it has the same.

use std::collections::HashMap;

use crate::devices::Labelled;
use crate::jobs::{JobState, JobView};
use crate::tui::action::{Action, CacheVerb, DeviceVerb, JobVerb, SetVerb, TuneVerb};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::screens::compose::{Field, pick};
use crate::tui::screens::sets::{self, Target};
use crate::tui::screens::{Screen, detail, overview};
use crate::tui::{frozen, verbs};
use crate::units::JobId;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// What a key does.
    Do(Action),
    /// Do something with a job.
    ToJob(JobVerb, JobId),
    /// Show a job.
    Show(JobId),
    /// Take a job back that is not among those shown.
    CancelUnseen(JobId),
    /// Open the form with a model.
    Run(String),
    /// Pin a set, or let a pinned one leave again.
    PinSet(Target),
    /// Have a set leave.
    UnloadSet(Target),
    /// Choose how long a set stays.
    KeepSet(Target),
    /// Load a model.
    LoadSet(String),
    /// Use a theme.
    UseTheme(String),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its words.
    pub words: String,
    /// What it does.
    pub about: String,
    /// The key that does the same.
    pub key: Option<String>,
    /// What to do.
    pub command: Command,
    /// Why it cannot be done now.
    pub refused: Option<String>,
}

/// Returns every command that makes sense now, what the screen offers first.
#[must_use]
pub fn all(model: &Model) -> Vec<Entry> {
    let layers = model.layers_below();
    let mut entries: Vec<Entry> = Vec::new();
    let screen_layers = layers.iter().copied().chain([Layer::Everywhere, Layer::Jobs]);
    for layer in screen_layers {
        for binding in model.options.keys.of(layer).map(|bound| bound.row) {
            let Some(words) = words(model, binding.action) else { continue };
            if entries.iter().any(|e| e.words == words) {
                continue;
            }
            let key = model.options.keys.key_of(&layers, binding.action);
            let refused = verbs::reason_against(model, binding.action);
            entries.push(Entry { words, about: binding.about.to_owned(), key, command: Command::Do(binding.action), refused });
        }
    }
    entries.push(Entry {
        words: "queue clear".to_owned(),
        about: "forget finished jobs; asks first".to_owned(),
        key: None,
        command: Command::Do(Action::Job(JobVerb::ClearFinished)),
        refused: verbs::reason_against(model, Action::Job(JobVerb::ClearFinished)),
    });
    entries.extend(model.known.jobs.iter().flat_map(|job| of_job(model, job)));
    entries.extend(pick::choices(Field::Model, &model.known).into_iter().map(|choice| Entry {
        words: format!("run -m {}", choice.value),
        about: choice.note,
        key: None,
        command: Command::Run(choice.value),
        refused: None,
    }));
    entries.extend(of_sets(model));
    entries.extend(model.options.themes.names().chain(["auto"]).map(|name| Entry {
        words: format!("theme {name}"),
        about: "use this theme until the end".to_owned(),
        key: None,
        command: Command::UseTheme(name.to_owned()),
        refused: None,
    }));
    entries
}

/// The words of an action; none where it only moves, or makes sense only where it is.
fn words(model: &Model, action: Action) -> Option<String> {
    let words = match action {
        Action::Quit => "quit",
        Action::Suspend => "suspend",
        Action::Redraw => "redraw",
        Action::Refresh => "devices refresh",
        Action::GoTo(Screen::Overview) => "overview",
        Action::GoTo(Screen::Devices) => "devices",
        Action::GoTo(Screen::Sets) => "sets",
        Action::GoTo(Screen::Cache) => "cache",
        Action::GoTo(Screen::Gallery) => "gallery",
        Action::GoTo(Screen::Offload) => "offload",
        Action::GoTo(Screen::Queue) => "queue",
        Action::GoTo(Screen::Compose) => "run",
        Action::GoTo(Screen::Log) => "log",
        Action::Help => "help",
        Action::Alerts => "alerts",
        Action::Freeze if model.frozen.is_some() => "unfreeze",
        Action::Freeze => "freeze",
        Action::Mouse if model.mouse => "mouse off",
        Action::Mouse => "mouse on",
        Action::CopyValue => "copy value",
        Action::CopyCommand => "copy command",
        Action::MarkAll => "mark all",
        Action::Job(verb) => return job_words(model, verb),
        Action::Tune(verb) => return tune_words(verb),
        Action::Cache(verb) => return Some(cache_words(verb).to_owned()),
        Action::Set(SetVerb::Load) => "sets load",
        Action::Device(DeviceVerb::Span) => "devices time",
        Action::Device(DeviceVerb::Signal) => "devices signal",
        Action::SubmitJob => "run submit",
        Action::SubmitHeld => "run submit --held",
        Action::ClearForm => "run empty",
        Action::TakeProfile => "run profile",
        Action::SaveProfile => "run save",
        // Verbs for a set carry its name; keys of recordings are there only where they mean something.
        Action::Set(SetVerb::Unload | SetVerb::Pin | SetVerb::Keep)
        | Action::Play(_)
        | Action::NextHost
        | Action::Log(_)
        | Action::Move(_)
        | Action::Open
        | Action::Back
        | Action::Filter
        | Action::Hide
        | Action::Palette
        | Action::Complete
        | Action::Mark
        | Action::ClearField
        | Action::RestoreField
        | Action::Accept
        | Action::Decline => return None,
    };
    Some(words.to_owned())
}

fn cache_words(verb: CacheVerb) -> &'static str {
    match verb {
        CacheVerb::Convert => "convert",
        CacheVerb::Verify => "cache verify",
        CacheVerb::Clean => "cache clean",
        CacheVerb::Remove => "cache remove",
        CacheVerb::Keep => "cache keep",
        CacheVerb::Sort => "cache sort",
        CacheVerb::Reverse => "cache reverse",
    }
}

fn tune_words(verb: TuneVerb) -> Option<String> {
    let words = match verb {
        TuneVerb::NextWay => "offload mode",
        TuneVerb::Presets => "offload presets",
        TuneVerb::Apply => "offload apply",
        TuneVerb::ApplyNow => "offload apply now",
        TuneVerb::Trial => "offload trial",
        TuneVerb::Save => "offload save",
        TuneVerb::Undo => "offload undo",
        TuneVerb::CopyDiff => "offload copy diff",
        TuneVerb::UnpinAll => "offload unpin all",
        TuneVerb::Floor => "offload floor",
        TuneVerb::Probe => "offload probe",
        TuneVerb::Edit
        | TuneVerb::Toggle
        | TuneVerb::MoreLeaves
        | TuneVerb::LessLeaves
        | TuneVerb::Pin
        | TuneVerb::Unpin
        | TuneVerb::GoToBlock => return None,
    };
    Some(words.to_owned())
}

/// Verbs for the job at hand carry its number: what is typed and what is done must be the same.
fn job_words(model: &Model, verb: JobVerb) -> Option<String> {
    let whole_queue = match verb {
        JobVerb::PauseQueue if model.known.paused => "queue resume",
        JobVerb::PauseQueue => "queue pause",
        JobVerb::CancelWaiting => "queue cancel waiting",
        JobVerb::ClearFinished => "queue clear",
        JobVerb::Save => "queue save",
        JobVerb::PauseConversions if model.known.conversions.iter().all(|c| c.paused) => "conversions resume",
        JobVerb::PauseConversions => "conversions pause",
        JobVerb::CancelConversion => "conversions cancel",
        JobVerb::Cancel
        | JobVerb::PauseJob
        | JobVerb::Hold
        | JobVerb::Retry
        | JobVerb::Duplicate
        | JobVerb::Edit
        | JobVerb::Offload
        | JobVerb::MoveDown
        | JobVerb::MoveUp => return None,
    };
    Some(whole_queue.to_owned())
}

fn of_job(model: &Model, job: &JobView) -> Vec<Entry> {
    let waits = matches!(job.state, JobState::Queued | JobState::Held);
    let active = job.state.is_active();
    let ended = matches!(job.state, JobState::Failed | JobState::Cancelled);
    let resumes = matches!(job.state, JobState::Held | JobState::Paused);
    let pause = if resumes { "resume" } else { "pause" };
    let id = job.job;
    let to = |verb| Command::ToJob(verb, id);
    let commands = [
        (true, format!("queue show {id}"), Command::Show(id)),
        (waits || active, format!("queue cancel {id}"), to(JobVerb::Cancel)),
        (waits, format!("queue {pause} {id}"), to(JobVerb::Hold)),
        (active, format!("queue {pause} {id}"), to(JobVerb::PauseJob)),
        (ended, format!("queue retry {id}"), to(JobVerb::Retry)),
        (waits, format!("queue move {id} up"), to(JobVerb::MoveUp)),
        (waits, format!("queue move {id} down"), to(JobVerb::MoveDown)),
        (waits, format!("queue edit {id}"), to(JobVerb::Edit)),
        (true, format!("queue duplicate {id}"), to(JobVerb::Duplicate)),
        (true, format!("queue offload {id}"), to(JobVerb::Offload)),
    ];
    let about = format!("{} {}: {}", job.state, job.spec.set.name, job.spec.prompt);
    let possible = commands.into_iter().filter(|(possible, ..)| *possible);
    possible
        .map(|(_, words, command)| Entry { words, about: about.clone(), key: None, refused: refusal(model, &command), command })
        .collect()
}

/// Verbs for sets, each with the set's name, and for models that could be loaded.
fn of_sets(model: &Model) -> Vec<Entry> {
    let no_daemon = (!model.is_up()).then(|| "the daemon does not answer".to_owned()).or_else(|| frozen::reason(model));
    let mut entries = Vec::new();
    // There may be a thousand of them: names are counted once for all.
    let mut named: HashMap<&str, usize> = HashMap::new();
    for set in &model.known.sets {
        *named.entry(&set.name).or_default() += 1;
        if set.id.0 != set.name {
            *named.entry(&set.id.0).or_default() += 1;
        }
    }
    for set in &model.known.sets {
        let target = Target::of(set);
        let word = target.called(named.get(set.name.as_str()) == Some(&1));
        let about = format!("{}, {} on {}", set.family, set.bytes, Labelled(set.device));
        let pin = if set.pinned { "unpin" } else { "pin" };
        let stays = sets::deeds::reason_to_stay(&model.options.keys, set);
        let commands = [
            (format!("sets {pin} {word}"), Command::PinSet(target.clone()), None),
            (format!("sets keep {word}"), Command::KeepSet(target.clone()), None),
            (format!("sets unload {word}"), Command::UnloadSet(target), stays),
        ];
        entries.extend(commands.into_iter().map(|(words, command, reason)| Entry {
            words,
            about: about.clone(),
            key: None,
            command,
            refused: no_daemon.clone().or(reason),
        }));
    }
    entries.extend(pick::choices(Field::Model, &model.known).into_iter().map(|choice| Entry {
        words: format!("sets load {}", choice.value),
        about: choice.note,
        key: None,
        command: Command::LoadSet(choice.value),
        refused: no_daemon.clone(),
    }));
    entries
}

fn refusal(model: &Model, command: &Command) -> Option<String> {
    let needs_daemon = matches!(command, Command::ToJob(verb, _) if Action::Job(*verb).needs_daemon());
    (needs_daemon && !model.is_up()).then(|| "the daemon does not answer".to_owned())
}

/// Puts the model where a command for a job finds it at hand.
pub fn bring_to_hand(model: &mut Model, job: JobId) {
    model.queue.selected = Some(job);
    model.queue.marked.clear();
    model.queue.filter.clear();
    model.help = None;
    let in_detail = matches!(&model.detail, Some(detail::State { subject: detail::Subject::Job(id), .. }) if *id == job);
    if in_detail {
        return;
    }
    model.detail = None;
    if !(model.screen == Screen::Overview && model.overview.pane == overview::Pane::Queue) {
        model.screen = Screen::Queue;
    }
}
