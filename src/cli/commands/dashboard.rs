//! `perilune` without a command.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::cli::context::Context;
use crate::cli::output;
use crate::cli::plain::Plain;
use crate::cli::report;
use crate::client::{Handle, follow};
use crate::config::{ConfigError, Origin, Settings, key_file, themes};
use crate::prompt::Dialect;
use crate::theme::{Background, Themes};
use crate::tui::keys::Keys;
use crate::tui::options::{PreviewChoice, Surroundings};
use crate::tui::player::Player;
use crate::tui::screens::Screen;
use crate::tui::{self, Options, RunError, rebind, wording};
use crate::units::{Clock, SystemClock, Thresholds};
use crate::wire::control::Topics;
use crate::workflow::{Kind, Refusal, text};

/// Lines that may wait to be written; links wait when there are more.
const LINES: usize = 64;
/// The theme that goes by the terminal's background.
pub(super) const AUTO: &str = "auto";
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

/// Opens the dashboard, or tells line by line. Returns the exit code.
pub(super) fn dashboard(context: &Context, start_screen: Screen) -> Result<u8, Refusal> {
    let links = |topics: Topics| {
        let gates = context.gates();
        gates.map(|gate| (gate.place.to_string(), follow(gate, topics.clone()))).collect::<Vec<_>>()
    };
    if context.plain {
        return plain(context, || Ok((links(Topics { job: None, previews: false, log: true }), None)));
    }
    draw(context, start_screen, || Ok((links(options(context)?.topics()), None)))
}

/// What is shown: places and their links, and what plays them, if it is a recording.
type Shown = (Vec<(String, Handle)>, Option<Player>);

/// Draws what links tell, until the operator leaves. Returns the exit code.
pub(super) fn draw(context: &Context, start_screen: Screen, links: impl FnOnce() -> Result<Shown, Refusal>) -> Result<u8, Refusal> {
    if surroundings(context).is_dumb() && std::io::stdout().is_terminal() {
        return Err(Refusal::new(
            Kind::Usage,
            "TERM names no terminal that the dashboard can draw on",
            "`perilune --plain` tells line by line, `perilune status` once; for the dashboard set TERM, such as xterm-256color",
        ));
    }
    let options = options(context)?;
    let ended = context.wait_for(async {
        let (links, player) = links()?;
        let of_box = |(place, link)| (Options { place, start_screen, ..options.clone() }, link);
        Ok(tui::run_all(links.into_iter().map(of_box).collect(), player).await)
    })?;
    match ended {
        Ok(()) => Ok(0),
        Err(RunError::Signal { number }) => Ok(u8::try_from(SIGNALLED + number).unwrap_or(u8::MAX)),
        Err(RunError::NotATerminal) => Err(Refusal::new(
            Kind::Usage,
            "the dashboard needs a terminal for input and output",
            "`perilune --plain` tells line by line, `perilune status` once, with --json for programs",
        )),
        Err(error @ (RunError::Terminal { .. } | RunError::Closed)) => {
            Err(Refusal::new(Kind::Failed, error.to_string(), "the daemon and its jobs go on"))
        }
    }
}

/// Tells line by line what links tell, until they end or a signal comes. Returns the exit code.
pub(super) fn plain(context: &Context, links: impl FnOnce() -> Result<Shown, Refusal>) -> Result<u8, Refusal> {
    let thresholds = thresholds(context);
    context.wait_for(async {
        let (links, player) = links()?;
        let now = move || match &player {
            // A recording's time is the time.
            Some(player) => player.head.borrow().moment(Instant::now()),
            None => SystemClock.now(),
        };
        let now = Arc::new(now);
        let several = links.len() > 1;
        let (tell, mut told) = mpsc::channel(LINES);
        for (place, mut link) in links {
            let (tell, now) = (tell.clone(), now.clone());
            let mut plain = Plain::new(several.then_some(place.as_str()), thresholds);
            tokio::spawn(async move {
                // The way to ask is held: a link whose owner has let go of it ends.
                let _asks = link.ask;
                while let Some(news) = link.news.recv().await {
                    let lines = plain.hear(news, now());
                    // When nobody listens any more the program has ended.
                    if tell.send(lines).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        while let Some(lines) = told.recv().await {
            for line in lines {
                output::print(&format!("{}\n", output::plain(line.trim_end())));
            }
        }
        Ok(0)
    })
}

fn options(context: &Context) -> Result<Options, Refusal> {
    let settings = &context.settings;
    let surroundings = surroundings(context);
    let mut options = Options::new(surroundings.traits(context.color), |prompt| {
        let count = text::count(prompt, Dialect::default());
        (count.tokens, count.windows)
    });
    options.profiles = Some(settings.paths.profiles());
    options.operator = Some(context.environment.user());
    options.thresholds = settings.profiled.thresholds;
    options.mouse = settings.mouse.value;
    match keys(context) {
        Ok(keys) => options.keys = Arc::new(keys),
        // Whoever mistypes a key must still be able to look at the box.
        Err(problem) => options.keys_problem = Some(format!("the built-in keys are used: {problem}")),
    }
    options.written = Some(settings.paths.data.clone());
    (options.themes, options.theme) = themed(settings)?;
    if let Some(text) = &settings.preview.value {
        options.preview = text.parse::<PreviewChoice>().map_err(|e| wrong(settings.preview.origin.to_string(), e.to_string()))?;
    }
    Ok(options)
}

fn wrong(origin: String, problem: String) -> ConfigError {
    ConfigError::Value { origin, problem }
}

/// Returns the themes there are, and the name of the one to use.
fn themed(settings: &Settings) -> Result<(Themes, String), ConfigError> {
    let themes = themes::load(&settings.paths)?;
    let name = settings.theme.value.clone().unwrap_or_else(|| AUTO.to_owned());
    if name != AUTO && themes.get(&name).is_none() {
        let known = themes.names().collect::<Vec<_>>().join(", ");
        let origin = match &settings.theme.origin {
            Origin::File => settings.paths.file().display().to_string(),
            other => other.to_string(),
        };
        return Err(wrong(origin, format!("there is no theme `{name}`; there are {AUTO}, {known}")));
    }
    Ok((themes, name))
}

/// Returns the thresholds that the dashboard would have here. Where a theme cannot be used that is told, and the built-in ones are
/// taken: whoever mistypes a theme must still be able to ask how the box is.
pub(super) fn thresholds(context: &Context) -> Thresholds {
    let settings = &context.settings;
    let of_theme = themed(settings).map(|(themes, name)| themes.choose(&name, Background::Any).map(|theme| theme.thresholds));
    let of_theme = of_theme.unwrap_or_else(|problem| {
        report::note(&format!("warning: {problem}; the built-in thresholds are used"));
        None
    });
    of_theme.unwrap_or(Thresholds::DEFAULT).with(settings.profiled.thresholds)
}

/// Returns the keys as the operator has them, or why they cannot be used.
pub(super) fn keys(context: &Context) -> Result<Keys, String> {
    let text = key_file::read(&context.settings.paths).map_err(|e| e.to_string())?;
    let file = wording::file_name(&context.settings.paths.keys());
    text.map_or_else(
        || Ok(Keys::built_in()),
        |text| rebind::parse(&text).map_err(|e| format!("{file}:{}:{}: {}", e.line, e.column, e.problem)),
    )
}

/// Returns what the environment says about the terminal.
pub(super) fn surroundings(context: &Context) -> Surroundings {
    let text = |name| context.environment.text(name).unwrap_or_default();
    Surroundings {
        term: text("TERM"),
        colorterm: text("COLORTERM"),
        no_color: text("NO_COLOR"),
        force_color: text("FORCE_COLOR"),
        colorfgbg: text("COLORFGBG"),
        locale: ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| context.environment.text(name)).unwrap_or_default(),
        ssh_connection: text("SSH_CONNECTION"),
        tmux: text("TMUX"),
    }
}
