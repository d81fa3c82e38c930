//! `perilune` without a command.

use std::io::IsTerminal;

use crate::cli::context::Context;
use crate::client::follow;
use crate::config::{ConfigError, themes};
use crate::prompt::Dialect;
use crate::tui::options::{ColorChoice, PreviewChoice, Surroundings};
use crate::tui::screens::Screen;
use crate::tui::{self, Options, RunError};
use crate::workflow::{Kind, Refusal, text};

/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

/// Opens the dashboard. Returns the exit code.
pub(super) fn dashboard(context: &Context, start_screen: Screen) -> Result<u8, Refusal> {
    if surroundings(context).is_dumb() && std::io::stdout().is_terminal() {
        return Err(Refusal::new(
            Kind::Usage,
            "TERM names no terminal that the dashboard can draw on",
            "`perilune status` prints the same as text; for the dashboard set TERM, such as xterm-256color",
        ));
    }
    let options = Options { start_screen, place: context.place.to_string(), ..options(context)? };
    let gate = context.gate();
    let ended = context.wait_for(async {
        let link = follow(gate, options.topics());
        Ok(tui::run(options, link).await)
    })?;
    match ended {
        Ok(()) => Ok(0),
        Err(RunError::Signal { number }) => Ok(u8::try_from(SIGNALLED + number).unwrap_or(u8::MAX)),
        Err(RunError::NotATerminal) => Err(Refusal::new(
            Kind::Usage,
            "the dashboard needs a terminal for input and output",
            "`perilune status` prints the same as text, with --json for programs",
        )),
        Err(error @ (RunError::Terminal { .. } | RunError::Closed)) => {
            Err(Refusal::new(Kind::Failed, error.to_string(), "the daemon and its jobs go on"))
        }
    }
}

fn options(context: &Context) -> Result<Options, Refusal> {
    let settings = &context.settings;
    let surroundings = surroundings(context);
    let color = if context.no_color { ColorChoice::Never } else { ColorChoice::Auto };
    let mut options = Options::new(surroundings.traits(color), |prompt| {
        let count = text::count(prompt, Dialect::default());
        (count.tokens, count.windows)
    });
    options.profiles = Some(settings.paths.profiles());
    options.themes = themes::load(&settings.paths)?;
    let wrong = |origin: String, problem: String| ConfigError::Value { origin, problem };
    if let Some(name) = &settings.theme.value {
        if name != "auto" && options.themes.get(name).is_none() {
            let known = options.themes.names().collect::<Vec<_>>().join(", ");
            return Err(wrong(settings.theme.origin.to_string(), format!("there is no theme `{name}`; there are auto, {known}")).into());
        }
        options.theme.clone_from(name);
    }
    if let Some(text) = &settings.preview.value {
        options.preview = text.parse::<PreviewChoice>().map_err(|e| wrong(settings.preview.origin.to_string(), e.to_string()))?;
    }
    Ok(options)
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
