//! Keys as an operator has them: one file, and what is handled, shown and explained follows it.

use std::fs;
use std::sync::Arc;

use perilune::tui::Options;
use perilune::tui::asked::Purpose;
use perilune::tui::keys::Keys;
use perilune::tui::rebind;
use perilune::tui::screens::Screen as Which;
use perilune::units::JobId;
use perilune::wire::{ConversionView, Reply, Request, SetView, Status};
use portable_pty::CommandBuilder;
use serde_json::Value;

use super::support::daemon::Home;
use super::support::fixtures;
use super::support::screen::{Screen, options};
use super::support::terminal::Terminal;

const MINE: &str = "cancel-job: [del]\noverview: [o]\nqueue: [u]\ndown: [ctrl-n, s]\nhelp: [f2]\naccept: [f8]\nqueue.filter: [f3]\n";

fn with(text: &str) -> Screen {
    let options = Options { keys: Arc::new(rebind::parse(text).unwrap()), ..options() };
    Screen::with(options, 120, 36).told(fixtures::busy())
}

#[test]
fn keys_of_the_file_are_handled() {
    let screen = with(MINE).keys("u");
    assert_eq!(screen.model.screen, Which::Queue);
    let screen = screen.keys("6cj");
    assert!(screen.model.confirm.is_none() && screen.model.job_at_hand() == Some(JobId(41)), "the built-in keys do nothing now");
    let screen = screen.keys("<ctrl-n>s<del>");
    assert_eq!(screen.asked(), [], "it asks first, whatever the key");
    let screen = screen.keys("y");
    assert!(screen.model.confirm.is_some(), "y answers no more");
    assert_eq!(screen.keys("<f8>").asked(), [Request::Cancel(vec![JobId(43)])]);
}

#[test]
fn footer_tabs_help_and_questions_show_the_keys_of_the_file() {
    let mut screen = with(MINE).keys("u");
    let text = screen.text();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("del cancel") && last.contains("f3 filter") && !last.contains(" c cancel"), "{last}");
    let tabs = text.lines().nth(1).unwrap();
    assert!(tabs.contains("[u Queue]") && tabs.contains(" o Overview ") && tabs.contains("f2 help"), "{tabs}");
    let help = screen.keys("<f2>").text();
    assert!(help.lines().any(|l| l.contains(" del ") && l.contains("take the job, or the marked ones, back")), "{help}");
    let question = with(MINE).keys("u<del>").text();
    assert!(question.contains("f8 yes") && question.contains("n no"), "{question}");
    let palette = with(MINE).keys("u:overview").text();
    assert!(palette.lines().any(|l| l.contains("go to the overview") && l.contains(" o │")), "{palette}");
}

/// What sentences say of keys follows the file, too.
#[test]
fn sentences_name_the_keys_of_the_file() {
    let mine = "run: [f7]\nback: [esc, f9]\nhold-job: [f8]\nload-set: [f6]\nsubmit: [f10, ctrl-s]\nfollow: []\n";
    let shown = |status, keys: &str| {
        let options = Options { keys: Arc::new(rebind::parse(mine).unwrap()), ..options() };
        Screen::with(options, 120, 36).told(status).keys(keys).text()
    };
    assert!(shown(fixtures::empty(), "6").contains("The queue is empty. f7 opens the Run form."));
    assert!(shown(fixtures::busy(), "6").contains("by operator; f8 releases it"));
    assert!(shown(fixtures::empty(), "3").contains("No model set is loaded. f6 loads one"));
    assert!(shown(fixtures::busy(), "6/nothing<enter>").contains("No job is like that. esc drops the filter."));
    assert!(shown(fixtures::busy(), "8k").contains("not following, `follow` follows"));
}

/// So do the short messages about what was done, and about what cannot be.
#[test]
fn messages_name_the_keys_of_the_file() {
    let mine = "queue: [f4]\nrun: [f7]\nduplicate-job: [f5]\nlog.filter: [f3]\npause-conversions: [f6]\nretry-job: [f8]\nverify-file: []\n\
                keep-file: [f9]\npin-set: [f10]\ncopy-command: [f11]\nopen: [f2, enter]\neverywhere.quit: [f12]\n";
    let of = |status| Screen::with(Options { keys: Arc::new(rebind::parse(mine).unwrap()), ..options() }, 160, 48).told(status);
    let told = |screen: &Screen| screen.model.toasts.iter().map(|t| t.text.clone()).collect::<Vec<_>>();
    let done = |request: &Request| matches!(request, Request::PauseConversions { .. }).then(|| Ok(Reply::Done));

    let mut sent = of(fixtures::busy()).keys("<f7><enter>night<enter>j<f2>a moon<esc>");
    sent = sent.keys("<ctrl-s>");
    sent.answer(|request| matches!(request, Request::Submit(_)).then_some(Ok(Reply::Accepted(JobId(45)))));
    assert_eq!(told(&sent), ["job 45 is queued; f4 shows the queue"]);

    let edits = of(fixtures::busy()).keys("<f4>e");
    assert_eq!(told(&edits), ["job 41 is running; only waiting jobs are edited; f5 takes its settings for a new one"]);
    assert_eq!(told(&of(fixtures::busy()).keys("8n")), ["nothing is searched for; f3 does"]);

    let converting = Status { conversions: vec![fixtures::conversion()], ..fixtures::busy() };
    for keys in ["<f4><f6>", "4<f6>"] {
        let mut screen = of(converting.clone()).keys(keys);
        screen.answer(done);
        assert_eq!(told(&screen), ["conversions are paused; f6 lets them go on"], "{keys}");
    }
    let paused = ConversionView { paused: true, ..fixtures::conversion() };
    let text = of(Status { conversions: vec![paused], ..fixtures::busy() }).keys("4").text();
    assert!(text.contains("paused; f6 lets it go on"), "{text}");

    let pinned = SetView { pinned: true, ..fixtures::set("night") };
    assert_eq!(told(&of(Status { sets: vec![pinned], ..fixtures::empty() }).keys("3x")), ["night is pinned; f10 lets it leave again"]);

    let mut question = of(fixtures::busy()).keys("<f4>jc");
    assert!(question.text().contains("f8 tries a cancelled job again."), "{}", question.text());
    let mut question = of(fixtures::busy()).keys("<f7><enter>night<enter>j<f2>a moon<esc><f12>");
    assert!(question.text().contains("the draft is lost. f11 copies it as a command."), "{}", question.text());
    let mut picks = of(fixtures::busy()).keys("3Lnothing");
    assert!(picks.text().contains("f2 takes what you type as a path"), "{}", picks.text());

    let mut cache = of(fixtures::busy()).keys("4");
    cache.answer(|request| matches!(request, Request::Cache).then(|| Ok(Reply::Cached(fixtures::cached()))));
    let file = cache.model.known.cached.as_ref().unwrap()[0].path.clone();
    cache.model.asked.note(Purpose::Verify(file));
    assert_eq!(told(&cache.down()), ["the connection was lost while files were read; `verify-file` reads them again"]);
}

#[test]
fn a_key_that_was_taken_away_is_shown_nowhere() {
    let mut screen = with("cancel-job: []\noverview: []\n").keys("6");
    let text = screen.text();
    assert!(!text.contains("c cancel ") && text.lines().nth(1).unwrap().contains(" Overview "), "{text}");
    assert!(!screen.keys("?").text().contains("take the job, or the marked ones, back; asks first"));
}

/// Whatever key is given to what takes something away, it asks first.
#[test]
fn destructive_actions_ask_first_with_any_key() {
    for (text, keys) in [
        ("cancel-job: [f9]", "6<f9>"),
        ("cancel-waiting: [f9]", "6<f9>"),
        ("unload-set: [f9]", "3j<f9>"),
        ("clear-form: [f9]", "7jix<esc><f9>"),
    ] {
        let screen = with(text).keys(keys);
        let asks = screen.model.confirm.is_some() || screen.model.toasts.iter().any(|t| t.text.contains("job 41"));
        assert!(asks, "{text}");
        assert!(screen.asked().iter().all(|r| !matches!(r, Request::Cancel(_) | Request::UnloadSet(_))), "{text}");
    }
}

#[test]
fn a_file_that_is_wrong_is_told_and_the_built_in_keys_stay() {
    let problem = "the built-in keys are used: keys.yaml:1:1: there is no action `cancle`".to_owned();
    let mut screen = Screen::with(Options { keys_problem: Some(problem), ..options() }, 120, 36).told(fixtures::busy());
    assert!(screen.text().contains("the built-in keys are used: keys.yaml:1:1"), "{}", screen.text());
    let mut later = screen.later(60).keys("?");
    assert!(later.text().contains("keys.yaml:1:1: there is no action"), "help goes on saying so\n{}", later.text());
}

#[test]
fn the_program_starts_with_the_built_in_keys_where_the_file_is_wrong() {
    let home = Home::empty();
    fs::write(home.path().join("keys.yaml"), "quit: [Q]\nrefresh: [q q]\n").unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
    command.env("PERILUNE_HOME", home.path());
    command.env("TERM", "xterm-256color");
    command.arg("--no-spawn");
    let mut terminal = Terminal::of(command, 120, 36);
    terminal.wait_for("keys.yaml:2:11: `q q` is no key");
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
}

#[test]
fn validate_checks_the_file() {
    let home = Home::empty();
    let file = home.path().join("keys.yaml");
    fs::write(&file, "# mine\ncancel-job: [del]\nrefresh: [ctrl-r, a]\n").unwrap();
    let told = home.run(&["config", "validate"]);
    assert_eq!(told.code, 2);
    let expected = format!("{}:3:19: `a` is the key of `everywhere.alerts` and of `everywhere.refresh`", file.display());
    assert!(told.stdout.contains(&expected), "{}", told.stdout);
    fs::write(&file, "cancel-job: [del]\n").unwrap();
    assert!(home.run(&["config", "validate"]).ok().contains("keys.yaml: keys are fine"));
    let told = home.run(&["config", "validate", "keys.yaml", "--json"]).json();
    assert_eq!(told["files"][0]["kind"], "keys");
}

#[test]
fn config_keys_lists_what_can_be_written() {
    let home = Home::empty();
    let listed = home.run(&["config", "keys", "--json"]).json();
    let rows = listed["keys"].as_array().unwrap();
    assert_eq!(rows.len(), Keys::built_in().all().len());
    let cancel = rows.iter().find(|r| r["name"] == "jobs.cancel-job").unwrap();
    assert_eq!((&cancel["action"], &cancel["place"], &cancel["destructive"]), (&"cancel-job".into(), &"jobs".into(), &true.into()));
    assert_eq!(cancel["keys"], serde_json::json!(["c"]));
    fs::write(home.path().join("keys.yaml"), "jobs.cancel-job: [del, f9]\n").unwrap();
    let text = home.run(&["config", "keys"]).ok();
    let line = text.lines().find(|l| l.contains("jobs.cancel-job")).unwrap();
    assert!(line.contains("del f9") && line.contains("take the job"), "{line}");
    fs::write(home.path().join("keys.yaml"), "jobs.cancel-job: [p]\n").unwrap();
    let listed: Value = home.run(&["config", "keys", "--json"]).json();
    assert!(listed["problem"].as_str().unwrap().starts_with("keys.yaml:1:19: `p`"), "{}", listed["problem"]);
}
