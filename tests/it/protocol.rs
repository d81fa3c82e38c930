//! The control protocol, as friends and strangers speak it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use perilune::jobs::JobState;
use perilune::units::JobId;
use perilune::wire::control::Topics;
use perilune::wire::{Change, Hello, Limit, Reply, Request, ServerFrame, blocking};
use perilune::workflow::{JobDraft, Kind};
use serde_json::{Value, json};

use crate::support::builders::{a_job, scripted};
use crate::support::daemon::Home;
use crate::support::talk::Talk;
use crate::support::wait::until;

fn send(talk: &mut Talk, value: &Value) {
    blocking::write(&mut talk.socket, value, Limit::CONTROL).unwrap();
}

fn error(frame: ServerFrame) -> (Option<u64>, Kind, String) {
    match frame {
        ServerFrame::Error { id, error } => (id, error.kind, error.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_means_nothing_is_refused_and_the_conversation_goes_on() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    for (request, expected) in [
        (json!("explode"), "not a request: unknown variant `explode`"),
        (json!({"show": "x"}), "not a request: invalid type: string \"x\", expected i64"),
        (json!({"submit": {"model": "night", "stepps": 3}}), "not a request: unknown field `stepps`"),
        (json!({"submit": {"model": "night", "size": {"width": 500, "height": 500}}}), "not a request: 500x500 is not divisible by 8"),
    ] {
        send(&mut talk, &json!({"id": 7, "request": request}));
        let (id, kind, message) = error(talk.frame());
        assert!(message.starts_with(expected), "{message}");
        assert_eq!((id, kind), (Some(7), Kind::Usage));
    }
    assert_eq!(talk.status().queue.queued, 0);
}

#[test]
fn what_is_no_frame_ends_the_conversation_and_no_other() {
    let home = Home::with_daemon();
    let mut other = home.talk();
    for (bytes, expected) in [
        (&b"\0\0\0\x05hello"[..], "a frame is not what was expected"),
        (b"\0\0\0\x02[]", "a frame is not what was expected"),
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes was announced; at most 16777216 are accepted"),
        (b"GET / HTTP/1.1\r\n", "a frame of 1195725856 bytes was announced"),
    ] {
        let mut talk = home.talk();
        talk.socket.write_all(bytes).unwrap();
        let (id, _, message) = error(talk.frame());
        assert!(id.is_none() && message.starts_with(expected), "{message}");
        assert!(talk.is_hung_up(), "{expected}");
    }
    let mut cut = home.talk();
    cut.socket.write_all(b"\0\0\0\x09{\"id").unwrap();
    drop(cut);
    other.status();
}

#[test]
fn another_build_is_told_and_turned_away() {
    let home = Home::with_daemon();
    let mut socket = UnixStream::connect(home.socket()).unwrap();
    let mut hello = Hello::ours();
    "0.0.1+feed".clone_into(&mut hello.hello.build);
    blocking::write(&mut socket, &hello, Limit::CONTROL).unwrap();
    let theirs: perilune::wire::hello::HelloFrame = blocking::read(&mut socket, Limit::CONTROL).unwrap().unwrap();
    theirs.hello.check().unwrap();
    let refusal: ServerFrame = blocking::read(&mut socket, Limit::CONTROL).unwrap().unwrap();
    let ServerFrame::Error { id: None, error } = refusal else { panic!("{refusal:?}") };
    assert_eq!(error.hint.as_deref(), Some("restart the daemon: perilune stop"));
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

#[test]
fn answers_carry_the_number_of_their_request_also_when_many_are_asked_at_once() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let asked: Vec<u64> = (0..300).map(|_| talk.ask(Request::Log { limit: 1 })).collect();
    let answered: Vec<u64> = (0..300)
        .map(|_| match talk.frame() {
            ServerFrame::Reply { id, reply: Reply::Log(_) } => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, answered);
}

/// Such as `perilune bridge` with a request piped into it.
#[test]
fn a_client_that_asks_and_then_says_no_more_still_gets_its_answers() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let asked: Vec<u64> = (0..3).map(|_| talk.ask(Request::Submit(Box::new(a_job())))).collect();
    talk.socket.shutdown(std::net::Shutdown::Write).unwrap();
    for id in asked {
        assert!(matches!(talk.frame(), ServerFrame::Reply { id: of, reply: Reply::Accepted(_) } if of == id));
    }
    assert!(talk.is_hung_up());
}

#[test]
fn submissions_sent_at_once_keep_their_order() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    for n in 0..50 {
        talk.ask(Request::Submit(Box::new(JobDraft { prompt: n.to_string(), ..a_job() })));
    }
    for n in 1..=50 {
        assert!(matches!(talk.frame(), ServerFrame::Reply { reply: Reply::Accepted(JobId(job)), .. } if job == n));
    }
    assert_eq!(talk.show(JobId(50)).spec.prompt, "49");
}

#[test]
fn a_client_that_reads_nothing_is_let_go_and_nobody_waits_for_it() {
    let home = Home::with_daemon();
    let mut lazy = home.talk();
    lazy.subscribe(Topics::default());
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    // Each submission is an event of a few hundred bytes that may not be left out.
    for _ in 0..3000 {
        talk.ask(Request::Submit(Box::new(a_job())));
        assert!(matches!(talk.frame(), ServerFrame::Reply { .. }));
    }
    let mut heard = 0;
    while let Ok(Some(_)) = blocking::read::<ServerFrame>(&mut lazy.socket, Limit::CONTROL) {
        heard += 1;
    }
    assert!(heard < 3000, "all {heard} events were kept for it");
    assert_eq!(talk.status().queue.queued, 3000);
}

#[test]
fn runs_go_on_when_their_clients_leave() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.subscribe(Topics::default());
    let job = talk.submit(JobDraft { steps: Some(5), ..scripted(&json!({"step_ms": 10})) });
    drop(talk);
    home.talk().wait_for(job, JobState::Done);
}

#[test]
fn whoever_waits_for_one_job_hears_of_no_other() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    let (first, second) = (talk.submit(a_job()), talk.submit(a_job()));
    let mut listener = home.talk();
    listener.subscribe(Topics { job: Some(second), ..Topics::default() });
    let Change::Snapshot(status) = listener.event().change else { panic!("no snapshot") };
    assert_eq!((status.queue.jobs.len(), status.queue.jobs[0].job), (1, second));
    talk.changed(Request::Resume { job: None });
    talk.wait_for(first, JobState::Done);
    let done = listener.hear("the job to be done", |change| match change {
        Change::Job(view) => {
            assert_eq!(view.job, second);
            view.state.is_final().then_some(view)
        }
        Change::Progress { job, .. } => {
            assert_eq!(job, second);
            None
        }
        _ => None,
    });
    assert_eq!(done.state, JobState::Done);
    let refusal = listener.try_call(Request::Subscribe(Topics { job: Some(JobId(99)), ..Topics::default() })).unwrap_err();
    assert_eq!(refusal.kind, Kind::NotFound);
}

#[test]
fn a_subscription_to_the_log_hears_the_engine() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.subscribe(Topics { log: true, ..Topics::default() });
    talk.submit(a_job());
    let line = talk.hear("a line of the engine", |change| match change {
        Change::Log(line) if line.source == "cpu" => Some(line),
        _ => None,
    });
    assert_eq!((line.level.as_str(), line.text.as_str()), ("info", "fake engine for cpu"));
    let Reply::Log(lines) = talk.call(Request::Log { limit: 500 }) else { panic!("no log") };
    assert!(lines.contains(&line), "the line is told under one number");
    assert!(lines.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

#[test]
fn a_snapshot_and_the_changes_after_it_make_one_story() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    let mut listener = home.talk();
    // Submissions and a subscription cross each other.
    for _ in 0..30 {
        talk.ask(Request::Submit(Box::new(a_job())));
    }
    listener.subscribe(Topics::default());
    for _ in 0..30 {
        assert!(matches!(talk.frame(), ServerFrame::Reply { .. }));
    }
    let Change::Snapshot(status) = listener.event().change else { panic!("no snapshot") };
    let mut known: Vec<i64> = status.queue.jobs.iter().map(|j| j.job.0).collect();
    listener.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    until("all jobs to be heard of", || {
        if known.len() < 30
            && let Change::Job(view) = listener.event().change
        {
            assert!(!known.contains(&view.job.0), "job {} was in the snapshot already", view.job);
            known.push(view.job.0);
        }
        (known.len() == 30).then_some(())
    });
}
