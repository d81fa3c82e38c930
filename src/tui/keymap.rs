//! The one table of keys. Handling, footers, help, palette and documentation are made from it, by way of [`keys`](super::keys),
//! which knows what the operator has changed.
//!
//! A layer is a place where keys have a meaning. Several are open at once, the innermost first; a key
//! means what the first layer says that knows it, and a closed layer hides all below but `Always`.

use super::action::{Action, CacheVerb, DeviceVerb, JobVerb, LogVerb, Motion, SetVerb, TuneVerb};
pub use super::layer::Layer;
use super::player::Play;
use super::screens::Screen;

/// Whether a footer shows a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footer {
    /// It does, where there is room.
    Shown,
    /// Only help does.
    Hidden,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Where.
    pub layer: Layer,
    /// The keys, the one to show first.
    pub keys: &'static [&'static str],
    /// What they do.
    pub action: Action,
    /// In a word or two, for footers.
    pub label: &'static str,
    /// In a sentence, for help.
    pub about: &'static str,
    /// Whether footers show it.
    pub footer: Footer,
}

const fn shown(layer: Layer, keys: &'static [&'static str], action: Action, label: &'static str, about: &'static str) -> Binding {
    Binding { layer, keys, action, label, about, footer: Footer::Shown }
}

const fn hidden(layer: Layer, keys: &'static [&'static str], action: Action, label: &'static str, about: &'static str) -> Binding {
    Binding { layer, keys, action, label, about, footer: Footer::Hidden }
}

/// Every key there is. The order is that of footers and help.
pub const BINDINGS: &[Binding] = &[
    // Jobs, wherever one can be selected.
    shown(Layer::Jobs, &["c"], Action::Job(JobVerb::Cancel), "cancel", "take the job, or the marked ones, back; asks first"),
    shown(Layer::Jobs, &["p"], Action::Job(JobVerb::PauseQueue), "pause queue", "start no more jobs after the current ones, or go on"),
    shown(
        Layer::Jobs,
        &["P"],
        Action::Job(JobVerb::PauseJob),
        "pause job",
        "stop the running job at the next step border, or let it go on",
    ),
    shown(Layer::Jobs, &["H"], Action::Job(JobVerb::Hold), "hold", "keep a waiting job back, or release it"),
    shown(Layer::Jobs, &["R"], Action::Job(JobVerb::Retry), "retry", "try a failed or cancelled job again"),
    shown(Layer::Jobs, &["d"], Action::Job(JobVerb::Duplicate), "duplicate", "take the job's settings into the Run form"),
    shown(Layer::Jobs, &["e"], Action::Job(JobVerb::Edit), "edit", "take a waiting job into the Run form; submitting replaces it"),
    shown(Layer::Jobs, &["O"], Action::Job(JobVerb::Offload), "offload", "tune where the weights of the job's model live"),
    shown(Layer::Jobs, &["J"], Action::Job(JobVerb::MoveDown), "move down", "move a waiting job one place back"),
    hidden(Layer::Jobs, &["K"], Action::Job(JobVerb::MoveUp), "move up", "move a waiting job one place forward"),
    shown(
        Layer::Jobs,
        &["C"],
        Action::Job(JobVerb::CancelWaiting),
        "cancel waiting",
        "take every waiting job back, all but the current; asks first",
    ),
    hidden(
        Layer::Jobs,
        &["v"],
        Action::Job(JobVerb::PauseConversions),
        "conversions",
        "keep conversions from going on, or let them; what is done is kept",
    ),
    hidden(
        Layer::Jobs,
        &["V"],
        Action::Job(JobVerb::CancelConversion),
        "cancel convert",
        "give up the conversion that the job waits for, or the first; asks first",
    ),
    // Screens.
    shown(Layer::Overview, &["tab"], Action::Move(Motion::NextPane), "next panel", "go to the next panel"),
    hidden(Layer::Overview, &["shift-tab"], Action::Move(Motion::PreviousPane), "panel before", "go to the panel before"),
    hidden(Layer::Overview, &["l", "right"], Action::Move(Motion::Right), "right", "go to the next panel"),
    hidden(Layer::Overview, &["h", "left"], Action::Move(Motion::Left), "left", "go to the panel before"),
    shown(Layer::Devices, &["]", "l", "right"], Action::Move(Motion::Right), "next device", "go to the next device"),
    hidden(Layer::Devices, &["[", "h", "left"], Action::Move(Motion::Left), "device before", "go to the device before"),
    shown(Layer::Devices, &["t"], Action::Device(DeviceVerb::Span), "time", "show one minute, ten minutes or an hour"),
    shown(Layer::Devices, &["x"], Action::Device(DeviceVerb::Signal), "signal", "choose a signal for the process at hand; asks first"),
    shown(
        Layer::Devices,
        &["/"],
        Action::Filter,
        "filter",
        "show only processes with some words, or of which something is true: memory>1GiB",
    ),
    shown(Layer::Signals, &["enter"], Action::Open, "send", "send the signal; asks first"),
    shown(Layer::Signals, &["esc", "q"], Action::Back, "close", "send nothing"),
    shown(Layer::Signals, &["j", "down"], Action::Move(Motion::Down), "next", "go to the next signal"),
    shown(Layer::Signals, &["k", "up"], Action::Move(Motion::Up), "before", "go to the signal before"),
    shown(Layer::Sets, &["L"], Action::Set(SetVerb::Load), "load", "choose a model and load it before a job wants it"),
    shown(Layer::Sets, &["p"], Action::Set(SetVerb::Pin), "pin", "have the set stay whoever asks for its memory, or let it leave again"),
    shown(Layer::Sets, &["t"], Action::Set(SetVerb::Keep), "keep", "choose how long the set stays after its last job"),
    shown(Layer::Sets, &["x"], Action::Set(SetVerb::Unload), "unload", "have the set leave, when no job uses it; asks first"),
    shown(
        Layer::Sets,
        &["/"],
        Action::Filter,
        "filter",
        "show only sets and parts with some words, or of which something is true: size>4GiB",
    ),
    shown(Layer::Sets, &["Y"], Action::CopyCommand, "copy command", "copy the command that does what was done last, or lists the sets"),
    shown(Layer::Stays, &["enter"], Action::Open, "take", "let it stay so long"),
    shown(Layer::Stays, &["esc", "q"], Action::Back, "close", "leave it as it is"),
    shown(Layer::Stays, &["j", "down"], Action::Move(Motion::Down), "next", "go to the next time"),
    shown(Layer::Stays, &["k", "up"], Action::Move(Motion::Up), "before", "go to the time before"),
    shown(Layer::Stays, &["Y"], Action::CopyCommand, "copy command", "copy the command that does the same"),
    shown(Layer::Cache, &["c"], Action::Cache(CacheVerb::Convert), "convert", "choose a model and what it is converted to"),
    shown(Layer::Cache, &["V"], Action::Cache(CacheVerb::Verify), "verify", "read the file, or the marked ones, and compare every byte"),
    shown(Layer::Cache, &["D"], Action::Cache(CacheVerb::Clean), "clean", "choose a rule and see what would go by it; asks first"),
    shown(Layer::Cache, &["x"], Action::Cache(CacheVerb::Remove), "remove", "remove the file, or the marked ones; asks first"),
    shown(
        Layer::Cache,
        &["K"],
        Action::Cache(CacheVerb::Keep),
        "keep",
        "keep the file, or the marked ones, whatever rule cleans; again lets them go",
    ),
    shown(Layer::Cache, &["space"], Action::Mark, "mark", "mark the file for the next verb, or unmark it"),
    hidden(Layer::Cache, &["*"], Action::MarkAll, "mark all", "mark every file that is shown, or unmark all"),
    shown(Layer::Cache, &["/"], Action::Filter, "filter", "show only conversions with some words, or of which something is true: used>7d"),
    shown(Layer::Cache, &["s"], Action::Cache(CacheVerb::Sort), "sort", "order by use, size, age, uses, state or name"),
    hidden(Layer::Cache, &["S"], Action::Cache(CacheVerb::Reverse), "reverse", "turn the order around"),
    shown(
        Layer::Cache,
        &["v"],
        Action::Job(JobVerb::PauseConversions),
        "pause",
        "keep conversions from going on, or let them; what is done is kept",
    ),
    shown(
        Layer::Cache,
        &["C"],
        Action::Job(JobVerb::CancelConversion),
        "cancel",
        "give up the conversion at hand, or the first; asks first",
    ),
    shown(Layer::Rules, &["enter"], Action::Open, "show", "see what would go by the rule; nothing goes yet"),
    shown(Layer::Rules, &["esc", "q"], Action::Back, "close", "leave everything"),
    shown(Layer::Rules, &["l", "right"], Action::Move(Motion::Right), "more", "the next amount of the rule"),
    shown(Layer::Rules, &["h", "left"], Action::Move(Motion::Left), "less", "the amount before"),
    hidden(Layer::Rules, &["j", "down"], Action::Move(Motion::Down), "next", "go to the next rule"),
    hidden(Layer::Rules, &["k", "up"], Action::Move(Motion::Up), "before", "go to the rule before"),
    shown(Layer::Gallery, &["enter"], Action::Open, "large", "show the picture as large as the screen, with all that is known of it"),
    shown(
        Layer::Gallery,
        &["d"],
        Action::Job(JobVerb::Duplicate),
        "again",
        "take the picture's settings into the Run form, to change them",
    ),
    shown(
        Layer::Gallery,
        &["/"],
        Action::Filter,
        "filter",
        "show only pictures with some words, or of which something is true: steps>20 & age<1d",
    ),
    hidden(Layer::Gallery, &["l", "right"], Action::Move(Motion::Right), "next", "go to the next picture"),
    hidden(Layer::Gallery, &["h", "left"], Action::Move(Motion::Left), "before", "go to the picture before"),
    shown(Layer::Offload, &["enter"], Action::Tune(TuneVerb::Apply), "apply", "put the wish into the Run form: the next job asks for it"),
    shown(
        Layer::Offload,
        &["A"],
        Action::Tune(TuneVerb::ApplyNow),
        "apply now",
        "give it to the job at once: to a running one at its next step border",
    ),
    shown(Layer::Offload, &["i"], Action::Tune(TuneVerb::Edit), "edit", "type how much goes where"),
    shown(Layer::Offload, &["m"], Action::Tune(TuneVerb::NextWay), "mode", "write the same as virtual VRAM, bytes, ratio or fraction"),
    shown(Layer::Offload, &["+"], Action::Tune(TuneVerb::MoreLeaves), "free more", "let a twentieth of the model more leave"),
    shown(Layer::Offload, &["-"], Action::Tune(TuneVerb::LessLeaves), "less", "let a twentieth of the model less leave"),
    shown(Layer::Offload, &["space"], Action::Tune(TuneVerb::Toggle), "donor", "go to the donors, and take the one at hand in or out"),
    shown(
        Layer::Offload,
        &["P"],
        Action::Tune(TuneVerb::Presets),
        "presets",
        "choose among usual wishes and saved profiles, each with what it comes to",
    ),
    shown(Layer::Offload, &["T"], Action::Tune(TuneVerb::Trial), "trial", "submit a job of two steps that asks for it, to measure a step"),
    shown(Layer::Offload, &["w"], Action::Tune(TuneVerb::Save), "save", "save it as a profile for --profile"),
    shown(Layer::Offload, &["u"], Action::Tune(TuneVerb::Undo), "undo", "go back to the wish before"),
    shown(Layer::Offload, &["D"], Action::Tune(TuneVerb::CopyDiff), "diff", "copy which blocks move from where to where"),
    shown(Layer::Offload, &["e"], Action::Tune(TuneVerb::Pin), "pin", "pin the block at hand where it is, and then to the next device"),
    shown(Layer::Offload, &["x"], Action::Tune(TuneVerb::Unpin), "unpin", "let the block at hand live anywhere again"),
    hidden(Layer::Offload, &["X"], Action::Tune(TuneVerb::UnpinAll), "unpin all", "let every block live anywhere again"),
    shown(Layer::Offload, &["b"], Action::Tune(TuneVerb::GoToBlock), "block", "go to a block by its number"),
    shown(Layer::Offload, &["f"], Action::Tune(TuneVerb::Floor), "floor", "say how much is to stay free where it is computed"),
    shown(
        Layer::Offload,
        &["B"],
        Action::Tune(TuneVerb::Probe),
        "probe",
        "measure this box: links, blocks of each kind, the model's steps",
    ),
    hidden(Layer::Offload, &["l", "right"], Action::Move(Motion::Right), "next", "go to the next block or donor"),
    hidden(Layer::Offload, &["h", "left"], Action::Move(Motion::Left), "before", "go to the block or donor before"),
    hidden(Layer::Offload, &["tab"], Action::Move(Motion::NextPane), "next part", "go to the text, the donors or the blocks"),
    hidden(Layer::Offload, &["shift-tab"], Action::Move(Motion::PreviousPane), "part before", "go to the part before"),
    hidden(Layer::Offload, &["esc"], Action::Back, "back", "from a job's weights back to those of the Run form"),
    shown(Layer::Queue, &["w"], Action::Job(JobVerb::Save), "save", "save the jobs that wait to a file that submits them again"),
    shown(
        Layer::Queue,
        &["/"],
        Action::Filter,
        "filter",
        "show only jobs with some words, or of which something is true: state=failed & owner=ana",
    ),
    shown(Layer::Queue, &["space"], Action::Mark, "mark", "mark the job for the next verb, or unmark it"),
    hidden(Layer::Queue, &["*"], Action::MarkAll, "mark all", "mark every job that is shown, or unmark all"),
    shown(Layer::Compose, &["ctrl-s", "f10"], Action::SubmitJob, "submit", "submit the job"),
    shown(Layer::Compose, &["ctrl-t"], Action::SubmitHeld, "submit held", "submit the job as a held one; H in the queue releases it"),
    shown(Layer::Compose, &["enter", "i"], Action::Open, "edit", "type into the field, or open its choices"),
    shown(Layer::Compose, &["tab"], Action::Move(Motion::NextPane), "next", "go to the next field"),
    hidden(Layer::Compose, &["shift-tab"], Action::Move(Motion::PreviousPane), "before", "go to the field before"),
    hidden(Layer::Compose, &["l", "right"], Action::Move(Motion::Right), "next choice", "take the next choice"),
    hidden(Layer::Compose, &["h", "left"], Action::Move(Motion::Left), "choice before", "take the choice before"),
    shown(Layer::Compose, &["x"], Action::ClearField, "default", "set the field back to its default; undo brings its text back"),
    shown(Layer::Compose, &["u"], Action::RestoreField, "undo", "bring back what was last taken out of a field, also while typing"),
    shown(Layer::Compose, &["P"], Action::TakeProfile, "profile", "take a profile's settings into the form"),
    shown(Layer::Compose, &["w"], Action::SaveProfile, "save", "save the form's settings as a profile for P and --profile"),
    shown(Layer::Compose, &["X"], Action::ClearForm, "empty", "empty the form; asks first"),
    shown(Layer::Log, &["/"], Action::Filter, "search", "search the lines for words, or for what is true of them: level>=warn & age<1h"),
    shown(Layer::Log, &["n"], Action::Log(LogVerb::NextMatch), "next", "go to the next line found"),
    hidden(Layer::Log, &["N"], Action::Log(LogVerb::PreviousMatch), "before", "go to the line found before"),
    shown(Layer::Log, &["f"], Action::Log(LogVerb::Follow), "follow", "follow the end of the log, or stop"),
    shown(Layer::Log, &["+"], Action::Log(LogVerb::MoreLevels), "more", "show less important lines too"),
    shown(Layer::Log, &["-"], Action::Log(LogVerb::FewerLevels), "fewer", "show only more important lines"),
    // Above screens.
    shown(Layer::Detail, &["esc", "q"], Action::Back, "close", "close the details"),
    shown(Layer::Alerts, &["enter"], Action::Open, "go there", "go to what the alert is about"),
    shown(Layer::Alerts, &["x"], Action::Hide, "hide", "hide what is told of a job that is over; it stays in the queue"),
    shown(Layer::Alerts, &["esc", "q", "a"], Action::Back, "close", "close the alerts"),
    shown(Layer::Help, &["esc", "q", "?", "f1"], Action::Back, "close", "close the help"),
    shown(Layer::Help, &["/"], Action::Filter, "search", "show only keys whose line holds some words"),
    // Where letters are typed.
    shown(Layer::Edit, &["ctrl-s", "f10"], Action::SubmitJob, "submit", "submit the job"),
    shown(Layer::Edit, &["ctrl-t"], Action::SubmitHeld, "submit held", "submit the job as a held one"),
    shown(Layer::Edit, &["tab", "down"], Action::Move(Motion::NextPane), "next", "type into the next field"),
    shown(Layer::Edit, &["shift-tab", "up"], Action::Move(Motion::PreviousPane), "before", "type into the field before"),
    shown(Layer::Edit, &["esc", "enter"], Action::Back, "done", "stop typing; then keys move again"),
    shown(Layer::Wish, &["enter"], Action::Open, "take", "take what is typed; then keys act again"),
    shown(Layer::Wish, &["esc"], Action::Back, "drop", "leave it as it was"),
    shown(Layer::Presets, &["enter"], Action::Open, "take", "wish for the selected preset"),
    shown(Layer::Presets, &["esc", "q"], Action::Back, "close", "leave the wish as it is"),
    shown(Layer::Presets, &["j", "down"], Action::Move(Motion::Down), "next", "go to the next preset"),
    shown(Layer::Presets, &["k", "up"], Action::Move(Motion::Up), "before", "go to the preset before"),
    shown(Layer::Filter, &["enter"], Action::Open, "keep", "keep the words and go back to the list"),
    shown(Layer::Filter, &["esc"], Action::Back, "drop", "drop the words"),
    shown(Layer::Pick, &["enter"], Action::Open, "take", "take the choice"),
    shown(Layer::Pick, &["esc"], Action::Back, "close", "leave the field as it is"),
    shown(Layer::Pick, &["down", "ctrl-n"], Action::Move(Motion::Down), "next", "go to the next choice"),
    shown(Layer::Pick, &["up", "ctrl-p"], Action::Move(Motion::Up), "before", "go to the choice before"),
    shown(Layer::Palette, &["enter"], Action::Open, "run", "run the command"),
    shown(Layer::Palette, &["esc"], Action::Back, "close", "close the palette"),
    shown(Layer::Palette, &["down", "ctrl-n"], Action::Move(Motion::Down), "next", "go to the next command"),
    shown(Layer::Palette, &["up", "ctrl-p"], Action::Move(Motion::Up), "before", "go to the command before"),
    shown(Layer::Palette, &["tab"], Action::Complete, "complete", "type the selected command out"),
    shown(Layer::Confirm, &["y"], Action::Accept, "yes", "do it"),
    shown(Layer::Confirm, &["n", "esc", "q"], Action::Decline, "no", "leave it"),
    hidden(Layer::Confirm, &["j", "down"], Action::Move(Motion::Down), "down", "see more of what it is about"),
    hidden(Layer::Confirm, &["k", "up"], Action::Move(Motion::Up), "up", "see what stands above"),
    shown(Layer::Confirm, &["Y"], Action::CopyCommand, "copy command", "copy the command that does the same"),
    // A recording, before all else on the screens.
    shown(
        Layer::Replay,
        &["space"],
        Action::Play(Play::Toggle),
        "pause",
        "stop the recording, or let it go on; at its end, from the beginning",
    ),
    shown(Layer::Replay, &["left"], Action::Play(Play::Back), "10 s back", "go ten seconds back"),
    shown(Layer::Replay, &["right"], Action::Play(Play::Ahead), "10 s ahead", "go ten seconds ahead"),
    hidden(Layer::Replay, &["{"], Action::Play(Play::FarBack), "1 min back", "go a minute back"),
    hidden(Layer::Replay, &["}"], Action::Play(Play::FarAhead), "1 min ahead", "go a minute ahead"),
    shown(Layer::Replay, &["+"], Action::Play(Play::Faster), "faster", "play twice as fast"),
    shown(Layer::Replay, &["-"], Action::Play(Play::Slower), "slower", "play half as fast"),
    hidden(Layer::Hosts, &[">"], Action::NextHost, "next box", "show the next box"),
    // Everywhere.
    hidden(Layer::Everywhere, &["j", "down"], Action::Move(Motion::Down), "down", "go one row down"),
    hidden(Layer::Everywhere, &["k", "up"], Action::Move(Motion::Up), "up", "go one row up"),
    hidden(Layer::Everywhere, &["g", "home"], Action::Move(Motion::First), "first", "go to the first row"),
    hidden(Layer::Everywhere, &["G", "end"], Action::Move(Motion::Last), "last", "go to the last row"),
    hidden(Layer::Everywhere, &["ctrl-u", "pgup"], Action::Move(Motion::PageUp), "page up", "go half a page up"),
    hidden(Layer::Everywhere, &["ctrl-d", "pgdn"], Action::Move(Motion::PageDown), "page down", "go half a page down"),
    shown(Layer::Everywhere, &["enter"], Action::Open, "open", "open details"),
    hidden(Layer::Everywhere, &["esc"], Action::Back, "back", "go one level up, then drop filter and marks"),
    shown(Layer::Everywhere, &["y"], Action::CopyValue, "copy", "copy the value: a picture's path, a prompt, a line"),
    shown(Layer::Everywhere, &["Y"], Action::CopyCommand, "copy command", "copy the command that does the same"),
    hidden(Layer::Everywhere, &["1"], Action::GoTo(Screen::Overview), "overview", "go to the overview"),
    hidden(Layer::Everywhere, &["2"], Action::GoTo(Screen::Devices), "devices", "go to all that is known of one device"),
    hidden(Layer::Everywhere, &["3"], Action::GoTo(Screen::Sets), "sets", "go to the model sets that engines hold"),
    hidden(Layer::Everywhere, &["4"], Action::GoTo(Screen::Cache), "cache", "go to what was converted"),
    hidden(Layer::Everywhere, &["5"], Action::GoTo(Screen::Offload), "offload", "go to the tuner of where weights live"),
    hidden(Layer::Everywhere, &["6"], Action::GoTo(Screen::Queue), "queue", "go to the queue"),
    hidden(Layer::Everywhere, &["7"], Action::GoTo(Screen::Compose), "run", "go to the form of a run"),
    hidden(Layer::Everywhere, &["8"], Action::GoTo(Screen::Log), "log", "go to the log"),
    hidden(Layer::Everywhere, &["9"], Action::GoTo(Screen::Gallery), "gallery", "go to the finished pictures"),
    hidden(Layer::Everywhere, &["a"], Action::Alerts, "alerts", "show what needs a look or a hand, and what to do about it"),
    hidden(Layer::Everywhere, &["z"], Action::Freeze, "freeze", "stop the display while data go on arriving, or show the present"),
    hidden(
        Layer::Everywhere,
        &["M"],
        Action::Mouse,
        "mouse",
        "have clicks select and the wheel scroll, or leave the mouse to the terminal",
    ),
    hidden(Layer::Everywhere, &["r"], Action::Refresh, "refresh", "read the devices now, and what the screen shows besides"),
    hidden(Layer::Everywhere, &[":", "ctrl-p"], Action::Palette, "command", "find a command and run it"),
    hidden(Layer::Everywhere, &["?", "f1"], Action::Help, "help", "show the keys of this screen"),
    hidden(Layer::Everywhere, &["q"], Action::Quit, "quit", "leave; jobs go on"),
    hidden(Layer::Always, &["ctrl-c"], Action::Quit, "quit", "leave; jobs go on"),
    hidden(Layer::Always, &["ctrl-z"], Action::Suspend, "suspend", "stop this program; fg brings it back"),
    hidden(Layer::Always, &["ctrl-l"], Action::Redraw, "redraw", "draw everything anew"),
];

/// Returns the rows of a layer.
pub fn of(layer: Layer) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |b| b.layer == layer)
}

/// Returns the whole table as Markdown, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::new();
    for layer in Layer::ALL {
        page.push_str("### ");
        page.push_str(layer.title());
        page.push_str("\n\n| key | does |\n|---|---|\n");
        for binding in of(*layer) {
            let keys: Vec<String> = binding.keys.iter().map(|k| format!("`{k}`")).collect();
            page.push_str("| ");
            page.push_str(&keys.join(" "));
            page.push_str(" | ");
            page.push_str(binding.about);
            page.push_str(" |\n");
        }
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::tui::chord::Chord;

    #[test]
    fn every_key_can_be_read() {
        for key in BINDINGS.iter().flat_map(|b| b.keys) {
            assert!(key.parse::<Chord>().is_ok(), "{key}");
        }
    }

    #[test]
    fn no_key_means_two_things_in_one_layer() {
        let mut seen: HashMap<(Layer, &str), Action> = HashMap::new();
        for binding in BINDINGS {
            for key in binding.keys {
                let before = seen.insert((binding.layer, key), binding.action);
                assert_eq!(before, None, "{key} in {:?}", binding.layer);
            }
        }
    }

    /// A letter that acts where letters are typed could not be typed.
    #[test]
    fn no_letter_acts_where_letters_are_typed() {
        for binding in BINDINGS.iter().filter(|b| b.layer.takes_text() || b.layer == Layer::Always) {
            for key in binding.keys {
                assert_eq!(key.parse::<Chord>().unwrap().letter(), None, "{key} in {:?}", binding.layer);
            }
        }
    }

    #[test]
    fn function_keys_have_a_twin() {
        for binding in BINDINGS {
            let function = |k: &&str| k.starts_with('f') && k.len() > 1;
            assert!(!binding.keys.iter().all(function), "{:?} needs a key that every keyboard sends", binding.action);
        }
    }

    #[test]
    fn hjkl_always_move() {
        let moves = [
            ("j", Action::Move(Motion::Down)),
            ("k", Action::Move(Motion::Up)),
            ("h", Action::Move(Motion::Left)),
            ("l", Action::Move(Motion::Right)),
        ];
        for binding in BINDINGS {
            for (key, action) in moves {
                assert!(!binding.keys.contains(&key) || binding.action == action, "{key} in {:?}", binding.layer);
            }
        }
    }

    #[test]
    fn labels_are_short_and_sentences_are_fragments() {
        for Binding { label, about, .. } in BINDINGS {
            assert!(label.len() <= 14 && !label.is_empty(), "{label}");
            assert!(about.len() > label.len() && !about.ends_with('.') && !about.starts_with(char::is_uppercase), "{about}");
        }
    }

    #[test]
    fn the_documentation_names_every_layer() {
        let page = markdown();
        for layer in Layer::ALL {
            assert!(page.contains(&format!("### {}\n", layer.title())));
        }
        assert!(page.contains("| `ctrl-s` `f10` | submit the job |"));
    }
}
