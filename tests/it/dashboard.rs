//! What keys, news and answers do: keys in, requests and screens out.

use perilune::jobs::{JobRow, JobState, Move, Progress};
use perilune::placement::Part;
use perilune::profile::Preset;
use perilune::theme::Background;
use perilune::tui::action::{Action, JobVerb};
use perilune::tui::effect::Effect;
use perilune::tui::gallery::Graphics;
use perilune::tui::keymap::{BINDINGS, Layer};
use perilune::tui::message::Message;
use perilune::tui::options::{Distance, Options, PreviewChoice, Traits};
use perilune::tui::pointer::{Gesture, Pointer};
use perilune::tui::screens;
use perilune::tui::screens::compose::Field;
use perilune::tui::terminal::probe::Answers;
use perilune::units::{DeviceId, JobId, Timestamp};
use perilune::wire::control::Counts;
use perilune::wire::{Change, Cursor, LogLine, Reply, Request};
use perilune::workflow::{JobDraft, Kind, Refusal};
use proptest::prelude::*;

use super::support::fixtures;
use super::support::screen::{Screen, XTERM, options};

fn busy() -> Screen {
    Screen::on(fixtures::busy(), 120, 40)
}

/// Keys on a busy box, and what is then asked of the daemon.
fn check(keys: &str, expected: &[Request]) {
    assert_eq!(busy().keys(keys).asked(), expected, "{keys}");
}

#[test]
fn verbs_are_for_the_job_at_hand() {
    check("6P", &[Request::Pause { job: Some(JobId(41)) }]);
    check("6p", &[Request::Pause { job: None }]);
    check("6jH", &[Request::Pause { job: Some(JobId(42)) }]);
    check("6jjjH", &[Request::Resume { job: Some(JobId(44)) }]);
    check("6jJ", &[Request::Move { job: JobId(42), to: Move::Down }]);
    check("6jjK", &[Request::Move { job: JobId(43), to: Move::Up }]);
    check("6jjjjR", &[Request::Retry(vec![JobId(40)])]);
    check("6cy", &[Request::Cancel(vec![JobId(41)])]);
    // The overview's panel of jobs has the same keys, and P finds the running job from anywhere in it.
    check("1<tab><tab>jH", &[Request::Pause { job: Some(JobId(42)) }]);
    check("6GP", &[Request::Pause { job: Some(JobId(41)) }]);
    check("r", &[Request::Devices]);
}

#[test]
fn marked_jobs_are_changed_together() {
    check("6j<space><space>cy", &[Request::Cancel(vec![JobId(42), JobId(43)])]);
    let screen = busy().keys("6*");
    assert_eq!(screen.model.queue.marked.len(), 6);
    // Finished jobs are left out: there is nothing to cancel.
    assert_eq!(screen.keys("cy").asked(), [Request::Cancel([41, 42, 43, 44].map(JobId).to_vec())]);
}

#[test]
fn a_job_is_held_by_number_while_rows_move() {
    let mut screen = busy().keys("6jj");
    assert_eq!(screen.model.job_at_hand(), Some(JobId(43)));
    screen.hear(Change::Gone(vec![JobId(42)]));
    assert_eq!(screen.model.job_at_hand(), Some(JobId(43)));
    assert_eq!(screen.keys("cy").asked(), [Request::Cancel(vec![JobId(43)])]);
}

/// Every key that takes something away asks first, and no other answer than y does it.
#[test]
fn destructive_keys_ask_first() {
    for binding in BINDINGS.iter().filter(|b| b.action.is_destructive()) {
        let reach = match binding.layer {
            Layer::Jobs => "6",
            Layer::Compose => "7",
            Layer::Sets => "3",
            Layer::Cache => "4",
            other => panic!("how is {other:?} reached?"),
        };
        for key in binding.keys {
            let mut screen = busy().keys(reach);
            screen.answer(|request| matches!(request, Request::Cache).then(|| Ok(Reply::Cached(fixtures::cached()))));
            screen.hear(Change::Conversions(vec![fixtures::conversion()]));
            if binding.layer == Layer::Cache {
                screen = screen.keys("jj");
            }
            screen.effects.clear();
            let screen = screen.keys(key);
            assert!(screen.model.confirm.is_some(), "{key} does not ask");
            assert_eq!(screen.asked(), [], "{key} acts before it asks");
            let screen = screen.keys("<enter> n");
            assert!(screen.model.confirm.is_none());
            assert_eq!(screen.asked(), [], "{key} acts without a yes");
        }
    }
    let in_palette = [JobVerb::ClearFinished].map(Action::Job);
    assert!(in_palette.iter().all(|a| a.is_destructive()));
    assert!(busy().keys("6:queue clear<enter>").model.confirm.is_some());
}

#[test]
fn keys_that_cannot_act_say_why() {
    for (keys, reason) in [
        ("6GR", "job 39 is done; only failed and cancelled jobs are tried again"),
        ("6H", "job 41 is running; only waiting jobs are held"),
        ("6e", "job 41 is running; only waiting jobs are edited; d takes its settings for a new one"),
        ("6Gc", "job 39 is done; only jobs that are not finished are cancelled"),
        ("8n", "nothing is searched for; / does"),
        ("8Y", "no command does the same"),
    ] {
        let screen = busy().keys(keys);
        assert_eq!(screen.asked(), [], "{keys}");
        assert_eq!(screen.model.toasts.last().map(|t| t.text.as_str()), Some(reason), "{keys}");
    }
    let screen = busy().down().keys("6p");
    assert_eq!(screen.model.toasts.last().unwrap().text, "the daemon does not answer");
}

#[test]
fn waiting_jobs_are_cancelled_page_by_page() {
    let row = |id| JobRow {
        job: JobId(id),
        state: JobState::Queued,
        priority: 0,
        model: String::new(),
        prompt: String::new(),
        owner: String::new(),
        created: fixtures::NOW,
        finished: None,
    };
    let mut screen = busy().keys("6Cy");
    let page = |after: &Option<Cursor>| after.is_none();
    screen.answer(|request| match request {
        Request::List { after, .. } if page(after) => {
            Some(Ok(Reply::Rows { paused: false, rows: vec![row(42), row(43)], next: Some(Cursor("x".to_owned())) }))
        }
        _ => None,
    });
    screen.answer(|request| match request {
        Request::List { after: Some(_), .. } => Some(Ok(Reply::Rows { paused: false, rows: vec![row(99)], next: None })),
        _ => None,
    });
    assert_eq!(screen.asked(), [Request::Cancel(vec![JobId(42), JobId(43)]), Request::Cancel(vec![JobId(99)])]);
}

#[test]
fn the_form_is_submitted_as_it_is_written() {
    let screen = busy().keys("7<enter>night<enter>jia hill, it's late<tab>fog<tab>512x768<esc><ctrl-s>");
    let draft = JobDraft {
        model: "qwen-night".to_owned(),
        prompt: "a hill, it's late".to_owned(),
        negative: "fog".to_owned(),
        size: Some("512x768".parse().unwrap()),
        ..JobDraft::default()
    };
    assert_eq!(screen.asked(), [Request::Models, Request::Submit(Box::new(draft.clone()))]);
    let held = busy().keys("7<enter>night<enter>jia hill<ctrl-t>").asked();
    assert!(matches!(&held[..], [Request::Models, Request::Submit(d)] if d.held && d.prompt == "a hill"));
    // A second submission waits for the answer to the first.
    assert_eq!(screen.keys("<ctrl-s>").asked().len(), 2);
}

#[test]
fn what_is_pasted_upon_a_field_is_written_into_it() {
    let mut screen = busy().keys("7j");
    screen.tell(Message::Pasted("a hill\nat night".to_owned()));
    assert_eq!(screen.model.compose.draft().0.prompt, "a hill at night");
    let mut screen = busy().keys("6");
    screen.tell(Message::Pasted("cy".to_owned()));
    assert_eq!((screen.asked(), screen.model.confirm.is_none()), (Vec::new(), true), "pasted text is no keys");
}

#[test]
fn a_draft_survives_screens_and_a_lost_daemon() {
    let mut screen = busy().keys("7<enter>night<enter>jia hill<ctrl-s>").down().keys("168");
    assert!(screen.model.toasts.iter().any(|t| t.text.contains("lost while submitting")));
    screen.tell(Message::Up { place: "local".to_owned() });
    let screen = screen.keys("7<ctrl-s>");
    assert!(screen.asked().iter().any(|r| matches!(r, Request::Submit(d) if d.prompt == "a hill")));
}

#[test]
fn what_the_daemon_refuses_is_said_beside_the_form() {
    let mut screen = busy().keys("7<enter>night<enter>jia hill<ctrl-s>");
    let refusal = Refusal::new(Kind::BadFile, "`night` is a Flux.1 model", "SD1.5 models run");
    screen.answer(|r| matches!(r, Request::Submit(_)).then(|| Err(refusal.clone())));
    assert!(screen.text().contains("refused: `night` is a Flux.1 model; SD1.5 models run"));
    assert!(screen.model.compose.unsent);
    let mut screen = screen.keys("i!");
    assert!(!screen.text().contains("refused"), "another draft may be accepted");
}

#[test]
fn an_edited_job_takes_the_place_of_the_old_one() {
    let mut screen = busy().keys("6je");
    assert_eq!(screen.model.screen, screens::Screen::Compose);
    assert!(screen.text().contains("replaces job 42 when submitted"));
    screen = screen.keys("i, at night<ctrl-s>");
    screen.answer(|r| matches!(r, Request::Submit(_)).then_some(Ok(Reply::Accepted(JobId(45)))));
    assert_eq!(screen.asked(), [Request::Move { job: JobId(45), to: Move::Before(JobId(42)) }, Request::Withdraw(JobId(42))]);
    assert!(!screen.model.compose.unsent && screen.model.compose.replaces.is_none());
    screen.answer(|r| matches!(r, Request::Withdraw(_)).then(|| Ok(Reply::Changed(vec![JobId(42)]))));
    assert!(screen.model.toasts.iter().any(|t| t.text == "job 45 has taken the place of job 42"));
}

#[test]
fn a_job_that_starts_while_its_edit_is_submitted_goes_on() {
    let mut screen = busy().keys("6jei, at night<ctrl-s>");
    screen.answer(|r| matches!(r, Request::Submit(_)).then_some(Ok(Reply::Accepted(JobId(45)))));
    screen.answer(|r| matches!(r, Request::Withdraw(_)).then(|| Ok(Reply::Changed(Vec::new()))));
    assert!(screen.model.toasts.iter().any(|t| t.text == "job 42 had begun and goes on; job 45 is a new one beside it"));
}

#[test]
fn a_job_that_has_started_is_not_replaced() {
    let mut screen = busy().keys("6je");
    let started = perilune::jobs::JobView { state: JobState::Running, ..fixtures::job(42, "flux-dev", "a red fox") };
    screen.hear(Change::Job(Box::new(started)));
    screen = screen.keys("<ctrl-s>");
    assert!(screen.model.toasts.iter().any(|t| t.text.contains("job 42 no longer waits")));
    screen.answer(|r| matches!(r, Request::Submit(_)).then_some(Ok(Reply::Accepted(JobId(45)))));
    assert_eq!(screen.asked(), []);
}

#[test]
fn the_jobs_that_wait_are_saved_to_a_file() {
    let mut screen = busy().keys("6w");
    let texts: Vec<_> =
        screen.effects.iter().filter_map(|e| if let Effect::WriteQueue(text) = e { Some(text.clone()) } else { None }).collect();
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0].lines().filter(|l| l.starts_with("perilune run -m ")).count(), 3, "{}", texts[0]);
    screen.tell(Message::Written(Ok("/home/ana/perilune/queue-20260101T000000.sh".into())));
    assert!(screen.model.toasts.iter().any(|t| t.text == "written: sh /home/ana/perilune/queue-20260101T000000.sh submits them again"));
}

#[test]
fn a_profile_is_taken_into_the_form_and_made_of_it() {
    let own = || vec![("night".to_owned(), Preset { steps: Some(12), size: "512x768".parse().ok(), ..Preset::default() })];
    let mut screen = busy().keys("7jia hill<esc>P");
    screen.tell(Message::Profiles(own()));
    let text = screen.text();
    assert!(text.contains("night") && text.contains("steps 12, 512x768") && text.contains("one-24gb"), "{text}");
    let mut screen = screen.keys("nigh<enter>");
    let (draft, _) = screen.model.compose.draft();
    assert_eq!((draft.steps, draft.prompt.as_str(), draft.size.map(|s| s.to_string()).as_deref()), (Some(12), "a hill", Some("512x768")));
    screen.effects.clear();
    let screen = screen.keys("wmine<enter>");
    let saved: Vec<_> = screen.effects.iter().filter_map(|e| if let Effect::Save(order) = e { Some(order) } else { None }).collect();
    assert_eq!((saved.len(), saved[0].name.as_str(), saved[0].preset.clone()), (1, "mine", own().remove(0).1));
    let mut screen = screen.keys("w../x<enter>");
    assert!(matches!(screen.model.toasts.last(), Some(toast) if toast.text.contains("no name of a profile")));
    assert!(screen.text().contains("/ ../x"), "what was typed stays to be mended\n{}", screen.text());
    let mut screen = screen.keys("<esc>Pnone like it<enter>");
    assert!(screen.text().contains("/ none like it") && screen.model.toasts.last().unwrap().text == "no profile is called so");
    let mut screen = screen.keys("<esc>:cancle 41<enter>");
    assert_eq!(screen.model.toasts.last().unwrap().text, "no command is called `cancle 41`");
    assert!(screen.text().contains(": cancle 41"), "{}", screen.text());
}

#[test]
fn the_form_says_what_its_job_would_take() {
    let mut screen = busy().keys("7<enter>night<enter>");
    let refusal = Refusal::new(Kind::Refused, "9.0 GiB of weights stay on cuda:0", "free some");
    assert!(screen.effects.iter().any(|e| matches!(e, Effect::Call { request, .. } if matches!(**request, Request::Plan(_)))));
    screen.answer(|r| matches!(r, Request::Plan(_)).then(|| Err(refusal.clone())));
    let text = screen.text();
    assert!(text.contains("estimate   --  9.0 GiB of weights stay on cuda:0"), "{text}");
    assert!(text.contains("not ready: prompt: is empty"), "{text}");
    // What it is to show changes nothing, and is not asked about.
    screen = screen.keys("jia hill<esc>");
    assert!(screen.effects.iter().all(|e| !matches!(e, Effect::Call { request, .. } if matches!(**request, Request::Plan(_)))));
    // Nothing is ready that has no plan.
    let text = screen.text();
    assert!(text.contains("! no plan as things are: 9.0 GiB of weights stay on cuda:0; free some") && !text.contains("ready: "), "{text}");
    let mut screen = busy().keys("7<enter>night<enter>jia hill<esc>");
    let refusal = Refusal::new(Kind::Usage, "block 99 is pinned, but the last block is 27", "unpin it");
    screen.answer(|r| matches!(r, Request::Plan(_)).then(|| Err(refusal.clone())));
    let text = screen.text();
    assert!(
        text.contains("! not ready: block 99 is pinned, but the last block is 27; unpin it") && !text.contains(" ready: ctrl"),
        "{text}"
    );
}

#[test]
fn the_form_takes_the_string_that_the_flag_takes() {
    let form = |device: &str, amount: &str, expert: &str| {
        let mut state = busy().model.compose;
        for (field, text) in [(Field::Device, device), (Field::VirtualVram, amount), (Field::Expert, expert)] {
            state.put(field, text.to_owned());
        }
        let (draft, problems) = state.draft();
        (draft, problems.into_iter().map(|(_, refusal)| refusal.message).collect::<Vec<_>>())
    };
    let (draft, problems) = form("", "", "#cpu;0.004;disk | vae=cpu,1MiB;disk,*#cpu");
    assert_eq!(problems, [""; 0]);
    assert_eq!((draft.compute_device, draft.offload.virtual_vram.to_string().as_str()), (Some(DeviceId::Cpu), "4294967B"));
    assert_eq!((draft.offload.donors, draft.parts.of(Part::Vae).expert), (vec![DeviceId::Disk], "cpu,1MiB;disk,*".parse().ok()));
    assert_eq!(form("cpu", "", "cpu,50%;disk,*#cpu").1, [""; 0]);
    assert_eq!(form("cuda:0", "", "#cpu").1, ["`#cpu` and cuda:0 are two devices that compute"]);
    assert_eq!(form("", "2MiB", "#cpu;1;disk").1, ["`#cpu;1GiB;disk` says how much leaves, and who takes it, as another field does"]);
    // That nothing of a part leaves is said of it, and is written back.
    let (draft, problems) = form("", "clip=1MiB | clip_l=0", "");
    assert_eq!((problems.len(), draft.parts.of(Part::ClipL).is_nothing(), draft.parts.of(Part::T5).is_nothing()), (0, true, false));
    assert_eq!(Field::VirtualVram.read(&draft), "clip=1MiB | clip_l=none");
}

#[test]
fn a_duplicate_names_the_model_as_the_folders_do() {
    let screen = busy().keys("6d");
    let (draft, problems) = screen.model.compose.draft();
    assert_eq!((draft.model.as_str(), draft.seed, problems.len()), ("qwen-night", Some(perilune::units::Seed(1_234_567)), 0));
    // What was written there before is not lost without a question.
    let screen = screen.keys("6jd");
    assert!(screen.model.confirm.is_some());
    assert!(screen.keys("y").model.compose.draft().0.prompt.starts_with("a red fox in snow, seen"));
}

#[test]
fn q_leaves_at_once_unless_a_draft_would_be_lost() {
    let quits = |keys: &str| busy().keys(keys).wanted(|e| matches!(e, Effect::Quit));
    assert!(quits("q") && quits("6<ctrl-c>") && quits("7<enter>night<enter>q"));
    let draft = "7jia hill<esc>";
    assert!(!quits(&format!("{draft}q")));
    assert!(quits(&format!("{draft}qy")) && quits(&format!("{draft}<ctrl-c><ctrl-c>")));
    // esc never leaves.
    assert!(!quits("<esc><esc><esc>"));
}

#[test]
fn values_and_commands_are_copied() {
    let copied = |keys: &str| {
        let effects = busy().keys(keys).effects;
        effects.into_iter().find_map(|e| if let Effect::Copy(text) = e { Some(text) } else { None })
    };
    assert_eq!(copied("6Gy").as_deref(), Some("/home/ana/pictures/night-0039.png"));
    assert_eq!(copied("6jY").as_deref(), Some("perilune queue show 42"));
    assert_eq!(copied("6cY").as_deref(), Some("perilune queue cancel 41"));
    assert_eq!(copied("1y").as_deref(), Some("cuda:0"));
    assert_eq!(copied("7jia hill<esc>Y").as_deref(), Some("perilune run -p 'a hill'"));
    assert_eq!(copied("8y").as_deref(), Some("job 41: step 14 of 28, 1.5 s"));
}

#[test]
fn nothing_harmful_is_shown_or_copied() {
    let mut screen = busy();
    let job = fixtures::job(42, "flux\u{1b}[2J", "first\nsecond\u{7}\u{9b}31m\u{202e}");
    screen.hear(Change::Job(Box::new(job)));
    screen.hear(Change::Log(fixtures::log_line(0, "info", "\u{1b}]0;x", "a\u{1b}[31mb")));
    for keys in ["1", "6j", "6j<enter>", "8"] {
        screen = screen.keys(keys);
        let text = screen.text();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{keys}");
    }
    let effects = screen.keys("6gjy").effects;
    assert!(effects.iter().any(|e| matches!(e, Effect::Copy(text) if text == "first second?")));
}

#[test]
fn a_line_that_was_read_with_the_log_is_not_taken_in_again() {
    let mut screen = busy();
    let texts = |screen: &Screen| screen.model.known.log.iter().map(|l| l.text.clone()).collect::<Vec<_>>();
    let (read, last) = (texts(&screen), fixtures::log().pop().unwrap());
    // It was on its way already when the log was read.
    screen.hear(Change::Log(last.clone()));
    assert_eq!(texts(&screen), read);
    let line = |seq: u64, text: &str| Change::Log(LogLine { seq, text: text.to_owned(), ..last.clone() });
    screen.hear(line(last.seq + 1, "the next"));
    // Another daemon begins with its first line.
    screen.tell(Message::Up { place: "local".to_owned() });
    screen.hear(line(1, "the first"));
    assert_eq!(texts(&screen)[read.len()..], ["the next", "the first"]);
}

#[test]
fn the_order_of_waiting_jobs_is_asked_for_once_a_second() {
    let mut screen = busy();
    screen.hear(Change::Job(Box::new(fixtures::job(43, "qwen-night", "moved by somebody"))));
    screen = screen.later(1);
    assert_eq!(screen.asked(), [Request::Status]);
    screen = screen.later(5);
    assert_eq!(screen.asked().len(), 1, "one question at a time");
    let mut status = fixtures::busy();
    status.queue.jobs.swap(1, 2);
    screen.answer(|_| Some(Ok(Reply::Status(Box::new(status.clone())))));
    let order: Vec<i64> = screen.model.known.jobs.iter().map(|j| j.job.0).collect();
    assert_eq!(order, [41, 43, 42, 44, 40, 39]);
    assert_eq!(screen.later(2).asked(), []);
}

#[test]
fn jobs_move_between_their_groups() {
    let mut screen = busy();
    let ids = |s: &Screen| s.model.known.jobs.iter().map(|j| j.job.0).collect::<Vec<_>>();
    screen.hear(Change::Job(Box::new(perilune::jobs::JobView { state: JobState::Done, ..fixtures::running_job() })));
    assert_eq!(ids(&screen), [42, 43, 44, 41, 40, 39]);
    let started = perilune::jobs::JobView { state: JobState::Running, attempts: 1, ..fixtures::job(42, "flux-dev", "x") };
    screen.hear(Change::Job(Box::new(started)));
    assert_eq!(ids(&screen)[0], 42);
    // A new job of the usual priority waits behind those that are higher, before those that are lower.
    screen.hear(Change::Job(Box::new(fixtures::job(46, "qwen-night", "new"))));
    assert_eq!(ids(&screen), [42, 46, 43, 44, 41, 40, 39]);
    screen.hear(Change::Queue { paused: true, counts: Counts { queued: 9, held: 1, running: 1, ..Counts::default() } });
    assert!(screen.keys("6").text().contains("paused: no job starts until p, 7 more wait"));
}

#[test]
fn waiting_jobs_get_a_guess_from_jobs_like_them() {
    let alike = |id| perilune::jobs::JobView { ..fixtures::job(id, "qwen-night", "x") };
    let jobs = vec![fixtures::running_job(), alike(42), alike(43), fixtures::job(44, "flux-dev", "x"), alike(45)];
    let guesses = perilune::tui::estimates::remaining(&jobs);
    // 14 steps of 1.5 s are left, and each job like it takes 28 of them.
    assert_eq!(guesses, [Some(21.0), Some(63.0), Some(105.0), None, None]);
    let timed =
        perilune::jobs::JobView { timing: fixtures::done_job().timing, state: JobState::Done, ..fixtures::job(40, "flux-dev", "x") };
    let guesses = perilune::tui::estimates::remaining(&[fixtures::job(44, "flux-dev", "x"), timed]);
    assert_eq!(guesses, [Some(42.0), None]);
}

#[test]
fn progress_of_a_job_that_was_forgotten_is_ignored() {
    let mut screen = busy();
    screen.hear(Change::Gone(vec![JobId(41)]));
    screen.hear(Change::Progress { job: JobId(41), progress: Progress::starting(28) });
    assert!(screen.model.known.job(JobId(41)).is_none());
}

#[test]
fn the_job_in_focus_is_asked_for_where_it_is_not_known() {
    let options = Options { focus_job: Some(JobId(7)), ..options() };
    let mut screen = Screen::with(options, 100, 30);
    screen.tell(Message::Up { place: "local".to_owned() });
    assert!(screen.asked().contains(&Request::Show(JobId(7))));
    screen.hear(Change::Snapshot(Box::new(fixtures::busy())));
    screen.answer(|r| matches!(r, Request::Show(_)).then(|| Ok(Reply::Job(Box::new(fixtures::job(7, "night", "an old hill"))))));
    let text = screen.text();
    assert!(text.contains("Job 7") && text.contains("an old hill"), "{text}");
}

#[test]
fn previews_are_drawn_where_they_are_seen_and_not_too_often() {
    let mut screen = busy().keys("6");
    screen.hear(Change::Preview(fixtures::preview(3)));
    assert!(screen.text().contains('▀'));
    screen.model.dirty = None;
    screen.hear(Change::Preview(fixtures::preview(4)));
    assert_eq!(screen.model.dirty, None, "one picture a second is enough");
    // A finished picture is read only when its job is selected.
    assert!(!screen.wanted(|e| matches!(e, Effect::Prepare(_))));
    let screen = screen.keys("G");
    assert!(screen.wanted(|e| matches!(e, Effect::Prepare(_))));
    let mut elsewhere = busy();
    elsewhere.model.place = "ana@box".to_owned();
    assert!(!elsewhere.keys("6G").wanted(|e| matches!(e, Effect::Prepare(_))), "its files are not here");
}

#[test]
fn a_preview_that_lies_about_its_size_is_not_drawn() {
    let mut screen = busy().keys("6");
    let preview = perilune::wire::control::Preview { width: 4000, height: 4000, ..fixtures::preview(3) };
    screen.hear(Change::Preview(preview));
    assert!(!screen.text().contains('▀'));
}

#[test]
fn the_terminal_decides_how_pictures_are_drawn() {
    let answers = Answers { kitty: true, deflate: true, ..Answers::default() };
    let drawn = |preview, terminal: Traits, answers: &Answers| {
        let mut screen = Screen::with(Options { preview, terminal, ..options() }, 100, 30);
        screen.tell(Message::Probed(answers.clone()));
        screen.model.gallery.graphics
    };
    let tmux = Traits { multiplexer: perilune::tui::options::Multiplexer::Tmux, ..XTERM };
    let wezterm = Answers { name: Some("WezTerm 2024".to_owned()), ..answers.clone() };
    assert_eq!(drawn(PreviewChoice::Auto, XTERM, &answers), Graphics::Kitty { deflate: true });
    assert_eq!(drawn(PreviewChoice::Auto, tmux, &answers), Graphics::HalfBlocks);
    assert_eq!(drawn(PreviewChoice::Kitty, tmux, &answers), Graphics::Kitty { deflate: true });
    assert_eq!(drawn(PreviewChoice::Auto, XTERM, &wezterm), Graphics::HalfBlocks);
    assert_eq!(drawn(PreviewChoice::Auto, XTERM, &Answers { sixel: true, ..Answers::default() }), Graphics::Sixel);
    assert_eq!(drawn(PreviewChoice::Off, XTERM, &answers), Graphics::Off);
    assert_eq!(drawn(PreviewChoice::HalfBlocks, Traits { unicode: false, ..XTERM }, &answers), Graphics::Off);
}

#[test]
fn the_theme_follows_the_background_and_the_palette() {
    let mut screen = Screen::with(options(), 100, 30);
    screen.tell(Message::Probed(Answers { background: Some(Background::Light), ..Answers::default() }));
    let light = screen.model.paint.style(perilune::theme::Role::Warn);
    let screen = screen.keys(":theme dark<enter>");
    assert_ne!(screen.model.paint.style(perilune::theme::Role::Warn), light);
    assert_eq!(screen.model.options.theme, "dark");
}

#[test]
fn far_terminals_get_fewer_pictures() {
    let terminal = Traits { distance: Distance::Far, ..XTERM };
    let mut screen = Screen::with(Options { terminal, ..options() }, 120, 40).told(fixtures::busy()).keys("6");
    screen.hear(Change::Preview(fixtures::preview(3)));
    let mut screen = screen.later(1);
    let before = screen.text();
    screen.hear(Change::Preview(fixtures::preview(4)));
    assert_eq!(screen.model.gallery.live(JobId(41)), Some(&perilune::tui::gallery::Source::Running { job: JobId(41), step: 3 }));
    assert!(before.contains('▀'));
}

fn anything() -> impl Strategy<Value = Message> {
    let keys: Vec<&str> = BINDINGS.iter().flat_map(|b| b.keys.iter().copied()).collect();
    let key = prop_oneof![
        6 => prop::sample::select(keys).prop_map(|k| k.parse().unwrap()),
        2 => any::<char>().prop_map(|c| if c.is_control() { "x".parse().unwrap() } else { c.to_string().parse().unwrap() }),
        1 => prop::sample::select(vec!["backspace", "del", "ctrl-w", "alt-b", "f5", "ctrl-k"]).prop_map(|k| k.parse().unwrap()),
    ];
    prop_oneof![
        12 => key.prop_map(Message::Pressed),
        1 => (0u16..220, 0u16..70, 0u8..3).prop_map(|(column, row, which)| {
            let gesture = [Gesture::Click, Gesture::WheelUp, Gesture::WheelDown][usize::from(which)];
            Message::Pointed(Pointer { gesture, column, row })
        }),
        1 => "\\PC{0,30}".prop_map(Message::Pasted),
        2 => (0u16..220, 0u16..70).prop_map(|(w, h)| Message::Resized(w, h)),
        1 => (0i64..30).prop_map(|s| Message::Tick(Timestamp(fixtures::NOW.0 + s * 1000))),
        1 => Just(()).prop_map(|()| Message::Up { place: "local".to_owned() }),
        1 => Just(()).prop_map(|()| Message::Down { reason: Refusal::bare(Kind::NoDaemon, "gone"), retry_in_s: 2.0 }),
        3 => change().prop_map(|c| Message::Heard(Box::new(c))),
        2 => (1u64..20, answer()).prop_map(|(id, result)| Message::Answered { id, result: Box::new(result) }),
        1 => Just(()).prop_map(|()| Message::Resumed),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::sample::select(vec![fixtures::busy(), fixtures::broken(), fixtures::empty()]).prop_map(|s| Change::Snapshot(Box::new(s))),
        (35i64..50, prop::sample::select(JobState::ALL.to_vec()))
            .prop_map(|(id, state)| Change::Job(Box::new(perilune::jobs::JobView { state, ..fixtures::job(id, "m", "p") }))),
        prop::collection::vec(38i64..46, 0..3).prop_map(|ids| Change::Gone(ids.into_iter().map(JobId).collect())),
        (0u32..30).prop_map(|n| Change::Preview(fixtures::preview(n))),
        "\\PC{0,200}".prop_map(|text| Change::Log(fixtures::log_line(0, "warn", "x", &text))),
        "\\PC{0,200}".prop_map(|text| Change::Notice(fixtures::notice(0, "crit", &text, None))),
        Just(Change::Sets(Vec::new())),
        Just(Change::Engines(Vec::new())),
    ]
}

fn answer() -> impl Strategy<Value = Result<Reply, Refusal>> {
    prop_oneof![
        Just(Ok(Reply::Done)),
        Just(Ok(Reply::Accepted(JobId(60)))),
        Just(Ok(Reply::Changed(vec![JobId(42), JobId(43)]))),
        Just(Ok(Reply::Models(fixtures::models()))),
        Just(Err(Refusal::new(Kind::Refused, "no", "do something else"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is pressed, heard and resized, in whatever order: the dashboard stands, and can be drawn.
    #[test]
    fn nothing_brings_it_down(messages in prop::collection::vec(anything(), 0..80)) {
        let mut screen = busy();
        screen.model.mouse = true;
        for message in messages {
            let resized = matches!(message, Message::Resized(..));
            screen.tell(message);
            if resized {
                screen.resize();
            }
            screen.draw();
        }
    }
}
