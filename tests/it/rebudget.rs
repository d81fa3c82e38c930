//! Jobs whose weights get another budget: waiting ones on the ledger, running ones by their engine.

use perilune::jobs::JobState;
use perilune::placement::OffloadAsk;
use perilune::units::JobId;
use perilune::wire::control::Topics;
use perilune::wire::{Change, Request};
use perilune::workflow::{JobDraft, Kind};
use serde_json::json;

use crate::support::builders::{a_job, endless, scripted};
use crate::support::daemon::Home;

fn asking(virtual_vram: &str) -> OffloadAsk {
    OffloadAsk { virtual_vram: virtual_vram.parse().unwrap(), ..OffloadAsk::default() }
}

fn rebudget(job: JobId, virtual_vram: &str) -> Request {
    Request::Rebudget { job, ask: asking(virtual_vram) }
}

#[test]
fn a_waiting_job_asks_the_new_thing_when_it_runs() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    let job = talk.submit(a_job());
    assert_eq!(talk.changed(rebudget(job, "1MiB")), [1]);
    assert_eq!(talk.show(job).spec.offload, asking("1MiB"));
    talk.changed(Request::Resume { job: None });
    assert_eq!(talk.wait_for(job, JobState::Done).spec.offload, asking("1MiB"));
}

#[test]
fn a_running_job_is_changed_by_its_engine_and_everybody_hears_of_it() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(endless());
    talk.wait_for(job, JobState::Running);
    talk.subscribe(Topics::default());
    assert_eq!(talk.changed(rebudget(job, "1MiB")), [1]);
    let notice = talk.hear("a notice", |change| if let Change::Notice(notice) = change { Some(notice) } else { None });
    assert_eq!((notice.level.as_str(), notice.job), ("info", Some(job)));
    assert!(notice.text.starts_with("job 1 goes on with `#cpu;1MiB;disk` after 0.25 s: "), "{}", notice.text);
    let offload = talk.hear("the job", |change| if let Change::Job(view) = change { Some(view.spec.offload) } else { None });
    assert_eq!(offload, asking("1MiB"), "a later attempt asks the same");
    // A run that is held between two steps is changed all the same.
    talk.changed(Request::Pause { job: Some(job) });
    talk.wait_for(job, JobState::Paused);
    assert_eq!(talk.changed(rebudget(job, "2MiB")), [1]);
    assert_eq!((talk.show(job).state, talk.show(job).spec.offload), (JobState::Paused, asking("2MiB")));
}

#[test]
fn what_cannot_be_is_refused_and_the_job_goes_on_as_it_was() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let refused = |talk: &mut crate::support::talk::Talk, request| {
        let refusal = talk.try_call(request).unwrap_err();
        assert!(refusal.hint.is_some(), "{refusal:?}");
        (refusal.kind, refusal.message)
    };
    assert_eq!(refused(&mut talk, rebudget(JobId(9), "1MiB")).0, Kind::NotFound);
    let script = json!({"step_ms": 20, "immovable": "1.0 GiB is missing"});
    let job = talk.submit(JobDraft { steps: Some(1000), ..scripted(&script) });
    talk.wait_for(job, JobState::Running);
    assert_eq!(refused(&mut talk, rebudget(job, "1MiB")), (Kind::Refused, "1.0 GiB is missing".to_owned()));
    let notices = talk.status().notices;
    let notice = notices.last().unwrap();
    assert_eq!((notice.level.as_str(), notice.text.as_str()), ("warn", "job 1 keeps its weights where they are: 1.0 GiB is missing"));
    assert_eq!(talk.show(job).spec.offload, OffloadAsk::default());
    let to_itself = OffloadAsk { donors: vec![perilune::units::DeviceId::Cpu], ..asking("1MiB") };
    assert_eq!(refused(&mut talk, Request::Rebudget { job, ask: to_itself }).0, Kind::Usage);
    talk.changed(Request::Cancel(vec![job]));
    talk.wait_for(job, JobState::Cancelled);
    let (kind, message) = refused(&mut talk, rebudget(job, "1MiB"));
    assert_eq!((kind, message.as_str()), (Kind::Refused, "job 1 is cancelled and cannot be rebudgeted"));
}

#[test]
fn who_asks_too_late_is_told_so() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(scripted(&json!({"hang": 1})));
    talk.wait_for(job, JobState::Running);
    // The engine hangs, and is killed for it; whoever waits is told.
    let asked = talk.ask(rebudget(job, "1MiB"));
    talk.changed(Request::Cancel(vec![job]));
    let refusal = talk.refused(asked);
    assert_eq!(refusal.message, "job 1 had no step left at which its weights could move");
}

#[test]
fn what_an_engine_warns_of_is_heard_at_once() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let script = json!({"notice": ["warn", "128.0 MiB were given back to the device"]});
    let job = talk.submit(scripted(&script));
    talk.wait_for(job, JobState::Done);
    let notices = talk.status().notices;
    let said = notices.iter().find(|n| n.job == Some(job)).unwrap();
    assert_eq!((said.level.as_str(), said.text.as_str()), ("warn", "job 1: 128.0 MiB were given back to the device"));
}

#[test]
fn the_command_takes_the_words_of_run() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    let job = talk.submit(a_job());
    let said = home.run(&["queue", "rebudget", "1", "--virtual-vram", "1MiB", "--donor-device", "disk"]).ok();
    assert_eq!(said, "job 1 has its new budget\n");
    let ask = OffloadAsk { donors: vec![perilune::units::DeviceId::Disk], ..asking("1MiB") };
    assert_eq!(talk.show(job).spec.offload, ask);
    let changed = home.run(&["queue", "rebudget", "1", "--expert-mode-allocations", "cpu,50%;disk,*", "--json"]).json();
    assert_eq!(changed, json!({"changed": [1]}));
    assert_eq!(talk.show(job).spec.offload.expert.unwrap().to_string(), "cpu,50%;disk,*");
    let named = "`#cuda:0` in --expert-mode-allocations and job 1, which computes on cpu, name two devices that compute";
    home.run(&["queue", "rebudget", "1", "--expert-mode-allocations", "cpu,50%;disk,*#cuda:0"]).refused(2, named);
    home.run(&["queue", "rebudget", "1", "--expert-mode-allocations", "cpu,50%;disk,*#cpu"]).ok();
    home.run(&["queue", "rebudget", "1", "--pin-blocks", "disk,3"]).ok();
    let pinned = OffloadAsk { pins: "disk,3".parse().unwrap(), ..OffloadAsk::default() };
    assert_eq!(talk.show(job).spec.offload, pinned, "a budget of nothing else");
    home.run(&["queue", "rebudget", "1", "--virtual-vram", "1MiB", "--pin-blocks", "disk,3"]).ok();
    assert_eq!(talk.show(job).spec.offload, OffloadAsk { pins: pinned.pins, ..asking("1MiB") });
    home.run(&["queue", "rebudget", "1"]).refused(2, "the following required arguments were not provided: ");
    home.run(&["queue", "rebudget", "9", "--virtual-vram", "0"]).refused(4, "there is no job 9");
}
