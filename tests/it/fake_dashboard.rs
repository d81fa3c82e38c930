//! The dashboard on a link that is not there, for tests in a pseudo-terminal and for a look by hand:
//! `cargo run --features fakes --bin perilune-fake-dashboard [light|mono|panics|mouse|mouse-panics]`.

#[path = "support/fake_link.rs"]
mod fake_link;
#[path = "support/fixtures.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the screens' tests use more of them, and may fail")]
mod fixtures;

use std::process::ExitCode;

use perilune::theme::Background;
use perilune::tui::options::{Asking, ColorDepth, Distance, Multiplexer, PreviewChoice, Traits};
use perilune::tui::{Options, RunError, run};

/// A terminal of today.
const XTERM: Traits = Traits {
    colors: ColorDepth::TrueColor,
    unicode: true,
    background: Background::Dark,
    distance: Distance::Near,
    multiplexer: Multiplexer::None,
    asking: Asking::Allowed,
};

fn main() -> ExitCode {
    let plain = Options { preview: PreviewChoice::HalfBlocks, ..Options::new(XTERM, |text| (text.split_whitespace().count(), 1)) };
    let options = match std::env::args().nth(1).as_deref() {
        Some("light") => Options { theme: "light".to_owned(), ..plain },
        Some("mono") => Options { terminal: Traits { colors: ColorDepth::Mono, ..XTERM }, ..plain },
        Some("mouse") => Options { mouse: true, ..plain },
        Some("mouse-panics") => Options { mouse: true, count_tokens: fail_on_boom, ..plain },
        Some("panics") => Options { count_tokens: fail_on_boom, ..plain },
        _ => plain,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return ExitCode::FAILURE };
    match runtime.block_on(async { run(options, fake_link::start()).await }) {
        Ok(()) | Err(RunError::Signal { .. } | RunError::Closed) => ExitCode::SUCCESS,
        Err(RunError::NotATerminal | RunError::Terminal { .. }) => ExitCode::FAILURE,
    }
}

fn fail_on_boom(text: &str) -> (usize, usize) {
    assert!(!text.contains("boom"), "the counter failed");
    (0, 1)
}
