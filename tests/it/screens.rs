//! Screens as users see them: snapshots in two sizes and three states, each reached by keys.

use perilune::devices::{DeviceKind, DeviceReading};
use perilune::jobs::{JobState, Phase, Progress, WaitReason};
use perilune::quant::advice::Suggestion;
use perilune::quant::precision::Target;
use perilune::tui::Options;
use perilune::tui::options::ColorDepth;
use perilune::units::{Bytes, DeviceId};
use perilune::wire::{Change, ConversionId, ConversionView, Reply, Request};

use super::support::fixtures;
use super::support::screen::{Screen, options};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 48);

fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares a screen in both sizes; `reach` leads to it.
pub(crate) fn check(name: &str, reach: impl Fn(u16, u16) -> Screen) {
    for (width, height) in [SMALL, LARGE] {
        compare(&format!("{name}_{width}x{height}"), &reach(width, height).text());
    }
}

/// Compares a screen in three sizes and the least, in plain characters, and where `styles` is set with its styles: dark and without
/// colours. `reach` leads to it.
pub(crate) fn check_everywhere(name: &str, styles: Styles, reach: impl Fn(Options, u16, u16) -> Screen) {
    for (width, height) in [(60, 16), SMALL, (120, 36), LARGE] {
        compare(&format!("{name}_{width}x{height}"), &reach(options(), width, height).text());
    }
    let mut plain = options();
    plain.terminal.unicode = false;
    let text = reach(plain, 80, 24).text();
    assert!(text.is_ascii(), "{text}");
    compare(&format!("{name}_ascii"), &text);
    if styles == Styles::Too {
        compare(&format!("{name}_dark"), &reach(Options { theme: "dark".to_owned(), ..options() }, 80, 24).styled());
        let mut mono = options();
        mono.terminal.colors = ColorDepth::Mono;
        let styled = reach(mono, 80, 24).styled();
        assert!(styled.contains("reversed"), "what is selected is seen without colours");
        compare(&format!("{name}_mono"), &styled);
    }
}

/// Whether styles are compared, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Styles {
    Too,
    Not,
}

#[test]
fn overview() {
    check("overview_empty", |w, h| Screen::on(fixtures::empty(), w, h));
    check("overview_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("1"));
    check("overview_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("1"));
}

#[test]
fn overview_when_there_is_nothing_to_tell_yet() {
    check("overview_first_second", Screen::open);
    check("overview_never_up", |w, h| Screen::open(w, h).down());
    check("overview_down", |w, h| Screen::on(fixtures::busy(), w, h).down().later(12));
}

#[test]
fn overview_without_gpus() {
    check("overview_no_driver", |w, h| {
        let mut status = fixtures::empty();
        status.devices.remove(0);
        status.host.gpu_problem = Some(fixtures::gpu_problem());
        (status.host.driver, status.host.cuda) = (None, None);
        Screen::on(status, w, h)
    });
}

#[test]
fn a_device_below_its_floor_is_marked() {
    let floored = || {
        let mut status = fixtures::busy();
        for device in &mut status.devices {
            device.floor = device.memory.map(|_| Bytes::gib(1));
        }
        status
    };
    check("overview_floors", |w, h| Screen::on(floored(), w, h));
    let text = Screen::on(floored(), 160, 48).keys("2").text();
    assert!(text.contains("floor     ! less is free than 1.0 GiB"), "{text}");
}

#[test]
fn queue() {
    check("queue_empty", |w, h| Screen::on(fixtures::empty(), w, h).keys("6"));
    check("queue_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("6j "));
    check("queue_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("6jjjj").down().later(8));
}

#[test]
fn job_details() {
    check("job_failed", |w, h| Screen::on(fixtures::broken(), w, h).keys("6jjjj<enter>"));
    check("job_done", |w, h| Screen::on(fixtures::busy(), w, h).keys("6G<enter>"));
}

#[test]
fn run() {
    check("run_empty", |w, h| Screen::on(fixtures::empty(), w, h).keys("7"));
    check("run_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("7ljia lighthouse, it's dusk<tab>fog<esc>jji12<esc>"));
    check("run_error", |w, h| Screen::on(fixtures::busy(), w, h).keys("7jia lighthouse<esc>jji513x512<tab>many<esc>Gi0.5<esc>").down());
}

#[test]
fn log() {
    check("log_empty", |w, h| {
        let mut screen = Screen::on(fixtures::empty(), w, h).keys("8");
        screen.model.known.log.clear();
        screen
    });
    check("log_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("8+"));
    check("log_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("8/memory<enter>n").down().later(65));
}

#[test]
fn what_opens_above_a_screen() {
    check("help", |w, h| Screen::on(fixtures::busy(), w, h).keys("6?"));
    check("help_searched", |w, h| Screen::on(fixtures::busy(), w, h).keys("7?/choice<enter>"));
    check("palette", |w, h| Screen::on(fixtures::busy(), w, h).keys("6:queue 42"));
    check("palette_down", |w, h| Screen::on(fixtures::busy(), w, h).down().keys("1:queue"));
    check("confirm", |w, h| Screen::on(fixtures::busy(), w, h).keys("6c"));
    check("choices", |w, h| Screen::on(fixtures::busy(), w, h).keys("7<enter>"));
    check("device", |w, h| Screen::on(fixtures::busy(), w, h).keys("1<enter>"));
    check("set", |w, h| Screen::on(fixtures::busy(), w, h).keys("1<tab><enter>"));
    check("toasts", |w, h| Screen::on(fixtures::busy(), w, h).keys("6jYGR"));
    check("filter", |w, h| Screen::on(fixtures::busy(), w, h).keys("6/night"));
}

#[test]
fn a_picture_of_a_running_job() {
    check("queue_preview", |w, h| {
        let mut screen = Screen::on(fixtures::busy(), w, h).keys("6");
        screen.hear(Change::Preview(fixtures::preview(20)));
        screen
    });
}

/// The precisions of the form, those that suit the box first.
#[test]
fn precisions_that_suit_the_box() {
    let suggestion = |device, to: &str, gib: &str, fits, offload: Option<&str>| Suggestion {
        device,
        to: to.to_owned(),
        bytes: gib.parse().unwrap(),
        needed: gib.parse().unwrap(),
        fits,
        offload: offload.map(|text| text.parse().unwrap()),
        reason: String::new(),
    };
    let advice = || {
        vec![
            suggestion(DeviceId::Cuda(0), "fp8_e4m3fn_scaled", "11.1GiB", true, None),
            suggestion(DeviceId::Cuda(0), "Q8_0", "11.8GiB", true, None),
            suggestion(DeviceId::Cuda(0), "fp16", "22.2GiB", false, Some("3.5GiB")),
            suggestion(DeviceId::Cpu, "bf16", "22.2GiB", true, None),
            suggestion(DeviceId::Cpu, "Q8_0", "11.8GiB", true, None),
        ]
    };
    check("precisions_advised", |w, h| {
        let mut screen = Screen::on(fixtures::busy(), w, h).keys("7<enter>qwen<enter>").keys(&"j".repeat(10)).keys("<enter>");
        let asked = |request: &Request| match request {
            Request::Advise(model) if model == "qwen-night" => Some(Ok(Reply::Advice(advice()))),
            _ => None,
        };
        screen.answer(asked);
        assert!(!screen.asked().iter().any(|r| matches!(r, Request::Advise(_))), "it is asked about the form's model");
        screen
    });
}

/// One conversion that a job waits for, and one that a client has asked for.
#[test]
fn conversions() {
    let status = || {
        let mut status = fixtures::busy();
        let job = status.queue.jobs.iter_mut().find(|j| j.state == JobState::Queued).unwrap();
        job.reason = Some(WaitReason::Converting);
        job.progress = Some(Progress { phase: Phase::Converting, step: 42, steps: 100, step_s: Some(0.3) });
        status.conversions.push(fixtures::conversion());
        status
    };
    check("queue_converting", |w, h| Screen::on(status(), w, h).keys("6"));
    check("overview_converting", |w, h| Screen::on(status(), w, h).keys("1"));
    let paused = || {
        let mut status = status();
        let job = status.queue.jobs.iter_mut().find(|j| j.reason == Some(WaitReason::Converting)).unwrap();
        job.progress = None;
        let waited_for = ConversionView { id: ConversionId(2), to: Target::Fp16, jobs: vec![job.job], ..status.conversions[0].clone() };
        status.conversions.push(waited_for);
        for (conversion, done) in status.conversions.iter_mut().zip([3, 0]) {
            *conversion = ConversionView { paused: true, done: Bytes(done), bytes: Bytes(10), ..conversion.clone() };
        }
        status
    };
    check("queue_conversions_paused", |w, h| Screen::on(paused(), w, h).keys("6"));
    check("confirm_conversion", |w, h| Screen::on(status(), w, h).keys("6V"));
}

#[test]
fn simulated_devices_say_so() {
    check("overview_simulated", |w, h| {
        let mut status = fixtures::busy();
        let simulated = DeviceReading {
            id: DeviceId::Sim(0),
            kind: DeviceKind::Sim,
            simulated: true,
            name: Some("RTX 4090 of profile big".to_owned()),
            source: "simulated".to_owned(),
            ..fixtures::gpu(0, "", 6.0, 24.0)
        };
        status.devices.insert(1, simulated);
        Screen::on(status, w, h)
    });
}

#[test]
fn small_and_tiny_terminals() {
    for (name, keys) in [("overview", "1"), ("queue", "6"), ("run", "7G"), ("log", "8"), ("help", "6?"), ("confirm", "6c")] {
        compare(&format!("least_{name}"), &Screen::on(fixtures::busy(), 60, 16).keys(keys).text());
    }
    compare("too_small", &Screen::on(fixtures::busy(), 59, 15).text());
    compare("one_line", &Screen::on(fixtures::busy(), 30, 1).text());
}

#[test]
fn plain_characters_where_there_is_no_unicode() {
    for (name, keys) in [("overview", "1"), ("run", "7")] {
        let mut options = options();
        options.terminal.unicode = false;
        let text = Screen::with(options, 100, 30).told(fixtures::busy()).keys(keys).text();
        assert!(text.is_ascii(), "{text}");
        compare(&format!("ascii_{name}"), &text);
    }
}

/// Colours of each theme, on the screen that has most of them.
#[test]
fn themes() {
    let styled = |theme: &str, colors| {
        let mut options = Options { theme: theme.to_owned(), ..options() };
        options.terminal.colors = colors;
        Screen::with(options, 80, 24).told(fixtures::broken()).styled()
    };
    for theme in ["dark", "light", "high-contrast", "mono"] {
        compare(&format!("theme_{theme}"), &styled(theme, ColorDepth::TrueColor));
    }
    assert_eq!(styled("dark", ColorDepth::Mono), styled("mono", ColorDepth::TrueColor), "without colours every theme is mono");
}
