//! Records that cannot be read: damaged, or written by a later version. They stand in no other job's way.

use std::path::{Path, PathBuf};

use perilune::jobs::JobState;
use perilune::ledger::{Answer, Command, Ledger, LedgerError};
use perilune::units::{DeviceId, JobId, Timestamp};
use perilune::wire::Request;
use perilune::workflow::JobDraft;
use rusqlite::Connection;
use serde_json::json;

use crate::support::builders::{a_job, endless, ids, scripted};
use crate::support::daemon::Home;
use crate::support::fixtures;
use crate::support::wait::until_true;

const NOW: Timestamp = Timestamp(1_000);

/// Does to job 2 what no version of this program does.
fn damage(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn ledger(home: &Home) -> PathBuf {
    home.path().join("state/ledger.sqlite")
}

fn listed(ledger: &mut Ledger) -> Vec<String> {
    let list = Command::List { states: Vec::new(), after: None, limit: 100 };
    let Answer::Page { rows, .. } = ledger.run_one(&list, NOW).unwrap() else { panic!("no page") };
    rows.iter().map(|r| format!("{} {}", r.job, r.state)).collect()
}

#[test]
fn one_unreadable_record_is_set_aside_and_the_others_go_on() {
    // What only told where the job was is mended when it is set aside.
    let check = |sql: &str, problem: &str| {
        let mends = sql.contains("SET state") || sql.contains("rank =");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut ledger = Ledger::open(&path).unwrap();
        for prompt in ["a", "b", "c"] {
            ledger.run_one(&Command::Append { spec: Box::new(fixtures::spec("night", prompt)), held: false }, NOW).unwrap();
        }
        damage(&path, sql);
        let recovered = ledger.recover().unwrap();
        assert_eq!(recovered.entries.iter().map(|e| e.job.0).collect::<Vec<_>>(), [1, 3], "{sql}");
        let found = &recovered.unreadable[0];
        assert!(found.job == JobId(2) && found.problem.contains(problem), "{sql}: {found:?}");
        let set_aside = Command::SetAside { job: found.job, problem: found.problem.clone() };
        ledger.run_one(&set_aside, NOW).unwrap();
        assert_eq!(listed(&mut ledger), ["1 queued", "3 queued", "2 failed"], "{sql}");

        let views = Command::Views { jobs: ids([2, 1]), unfinished: 0, finished: 20, amiss: None };
        let Answer::Jobs { views, .. } = ledger.run_one(&views, NOW).unwrap() else { panic!("no views") };
        let failure = views[0].failure.as_ref().unwrap();
        assert!(failure.message.starts_with("its record cannot be read: ") && failure.message.contains(problem), "{failure:?}");
        assert_eq!(
            (views[0].state, views[0].spec.set.name.as_str(), views[1].state),
            (JobState::Failed, "night", JobState::Queued),
            "{sql}"
        );

        let recovered = ledger.recover().unwrap();
        assert_eq!((recovered.unreadable.len(), recovered.finished.get(&JobState::Failed)), (0, Some(&1)), "{sql}: once is enough");
        let assign = Command::Assign { job: JobId(3), device: DeviceId::Cpu, pid: None };
        assert!(matches!(ledger.run_one(&assign, NOW), Ok(Answer::Assigned { .. })), "{sql}");
        match ledger.run_one(&Command::Retry(ids([2])), NOW) {
            Err(LedgerError::Unreadable { job, .. }) => assert_eq!((job, listed(&mut ledger)[2].as_str()), (JobId(2), "2 failed"), "{sql}"),
            Ok(Answer::Jobs { entries, .. }) => assert_eq!((entries[0].state, mends), (JobState::Queued, true), "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    };
    check("UPDATE details SET spec = '{\"set\":' WHERE job = 2", "what it is to do: EOF");
    check("UPDATE details SET spec = json_set(spec, '$.sampler', 'of_2030') WHERE job = 2", "unknown variant `of_2030`");
    check("UPDATE details SET spec = CAST(x'ff' AS TEXT) WHERE job = 2", "utf-8");
    check("DELETE FROM details WHERE job = 2", "what it is to do is missing");
    check("UPDATE jobs SET state = 'archived' WHERE id = 2", "`archived` is not a state");
    check("UPDATE jobs SET state = 'archived', finished = 5 WHERE id = 2", "`archived` is no state");
    check("UPDATE jobs SET rank = 'first' WHERE id = 2", "rank");
    check("UPDATE jobs SET device = 'tpu:0' WHERE id = 2", "tpu:0");
    check("UPDATE jobs SET created = 'once' WHERE id = 2", "created");
}

#[test]
fn a_daemon_starts_with_an_unreadable_job_and_does_the_others() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    for _ in 0..3 {
        talk.submit(a_job());
    }
    home.kill();
    damage(&ledger(&home), "UPDATE details SET spec = json_set(spec, '$.sampler', 'of_2030') WHERE job = 2");
    home.start();
    let mut talk = home.talk();
    talk.changed(Request::Resume { job: None });
    talk.wait_for(JobId(1), JobState::Done);
    talk.wait_for(JobId(3), JobState::Done);
    assert_eq!((talk.status().queue.failed, talk.status().queue.queued), (1, 0));
    let shown = home.run(&["queue", "show", "2"]).ok();
    assert!(shown.contains("its record cannot be read: what it is to do: unknown variant `of_2030`"), "{shown}");
    assert!(shown.contains("failed") && shown.contains("a moon") && !shown.contains("0 steps"), "{shown}");
    assert!(talk.listed().contains(&"2 failed".to_owned()), "{:?}", talk.listed());
    let refusal = talk.try_call(Request::Retry(ids([2]))).unwrap_err();
    assert!(refusal.message.starts_with("job 2: its record cannot be read: "), "{refusal:?}");
    damage(&ledger(&home), "UPDATE details SET spec = json_set(spec, '$.sampler', 'euler') WHERE job = 2");
    assert_eq!(talk.changed(Request::Retry(ids([2]))), [2], "whoever can read it can retry it");
    talk.wait_for(JobId(2), JobState::Done);
}

#[test]
fn a_job_whose_record_is_damaged_while_it_waits_fails_when_its_turn_comes() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let first = talk.submit(endless());
    talk.wait_for(first, JobState::Running);
    let (second, third) = (talk.submit(a_job()), talk.submit(a_job()));
    damage(&ledger(&home), "UPDATE details SET spec = '{' WHERE job = 2");
    talk.changed(Request::Cancel(vec![first]));
    talk.wait_for(third, JobState::Done);
    let failure = talk.wait_for(second, JobState::Failed).failure.unwrap();
    assert!(failure.message.starts_with("its record cannot be read: "), "{failure:?}");
    assert_eq!((talk.status().queue.failed, talk.listed().len()), (1, 3));
    assert!(talk.try_call(Request::Submit(Box::new(a_job()))).is_ok(), "the ledger is in no trouble");
}

#[test]
fn a_cut_off_run_of_an_unreadable_job_is_not_run_again() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(2), ..scripted(&json!({"hang": 1})) });
    talk.wait_for(job, JobState::Running);
    home.kill();
    damage(&ledger(&home), "UPDATE details SET spec = json_set(spec, '$.steps', 'many') WHERE job = 1");
    home.start();
    let mut talk = home.talk();
    let view = talk.wait_for(job, JobState::Failed);
    assert_eq!(view.attempts, 1);
    let next = talk.submit(a_job());
    talk.wait_for(next, JobState::Done);
    until_true("nothing to be hidden", || home.pictures() == ["000002-night-7.png"]);
}
