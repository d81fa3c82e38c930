//! The cache as a real daemon lists, reads and cleans it for its clients.

use std::fs;
use std::os::unix::fs::FileExt;

use perilune::wire::{CachedState, CachedView, CleanAsk, ConvertAsk, GoneView, ProcessSignal, Reply, Request, SignalAsk, VerifiedView};
use perilune::workflow::Kind;

use crate::support::builders::MODEL;
use crate::support::daemon::Home;
use crate::support::talk::Talk;

fn listed(talk: &mut Talk) -> Vec<CachedView> {
    match talk.call(Request::Cache) {
        Reply::Cached(files) => files,
        other => panic!("{other:?}"),
    }
}

fn cleaned(talk: &mut Talk, ask: CleanAsk) -> Vec<GoneView> {
    match talk.call(Request::CleanCache(ask)) {
        Reply::Cleaned(gone) => gone,
        other => panic!("{other:?}"),
    }
}

fn verified(talk: &mut Talk, file: &CachedView) -> VerifiedView {
    match talk.call(Request::VerifyCached(file.path.clone())) {
        Reply::Verified(view) => view,
        other => panic!("{other:?}"),
    }
}

fn convert(talk: &mut Talk, to: &str) {
    let ask = ConvertAsk { source: MODEL.to_owned(), part: None, to: to.parse().unwrap() };
    assert!(matches!(talk.call(Request::Convert(ask)), Reply::Converted(_)));
}

#[test]
fn conversions_are_listed_read_and_cleaned() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    assert!(listed(&mut talk).is_empty());
    convert(&mut talk, "nf4");
    convert(&mut talk, "int8");
    let files = listed(&mut talk);
    let told: Vec<_> = files.iter().map(|f| (f.to.as_deref().unwrap(), f.state, f.outside)).collect();
    assert_eq!(told, [("int8", CachedState::Valid, false), ("nf4", CachedState::Valid, false)]);
    assert!(files.iter().all(|f| f.bytes.get() == fs::metadata(&f.path).unwrap().len() && f.made.is_some() && f.source.is_some()));
    assert_eq!(verified(&mut talk, &files[0]).problem, None);

    let broken = fs::File::options().read(true).write(true).open(&files[1].path).unwrap();
    let at = broken.metadata().unwrap().len() - 1;
    let mut byte = [0];
    broken.read_exact_at(&mut byte, at).unwrap();
    broken.write_all_at(&[!byte[0]], at).unwrap();
    drop(broken);
    assert!(verified(&mut talk, &files[1]).problem.is_some());
    let after = listed(&mut talk);
    assert_eq!((after[0].state, after[1].state), (CachedState::Valid, CachedState::Damaged), "it is remembered");
    assert!(after[1].damage.is_some());

    let useless = CleanAsk { useless: true, dry_run: true, ..CleanAsk::default() };
    let shown = cleaned(&mut talk, useless.clone());
    assert_eq!(shown.iter().map(|g| (&g.path, g.removed)).collect::<Vec<_>>(), [(&files[1].path, false)]);
    assert!(files[1].path.exists(), "nothing goes in a dry run");
    let others = CleanAsk { files: vec![files[0].path.clone()], dry_run: false, ..useless.clone() };
    assert!(cleaned(&mut talk, others).is_empty(), "a rule takes nothing that was not shown");
    let gone = cleaned(&mut talk, CleanAsk { files: vec![files[1].path.clone()], dry_run: false, ..useless });
    assert!(gone[0].removed && !files[1].path.exists() && files[0].path.exists());
    let named = CleanAsk { files: vec![files[0].path.clone()], ..CleanAsk::default() };
    assert!(cleaned(&mut talk, named)[0].removed && listed(&mut talk).is_empty());
    assert!(cleaned(&mut talk, CleanAsk::default()).is_empty(), "nothing named, nothing gone");
    assert!(verified(&mut talk, &files[0]).problem.is_some(), "it is not there");
}

#[test]
fn signals_are_for_processes_that_hold_memory_of_a_gpu() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let me = SignalAsk { pid: std::process::id(), start_ticks: 1, signal: ProcessSignal::Kill };
    assert_eq!(talk.try_call(Request::Signal(me)).unwrap_err().kind, Kind::NotFound);
    let daemon = talk.status().daemon.pid;
    let refusal = talk.try_call(Request::Signal(SignalAsk { pid: daemon, ..me })).unwrap_err();
    assert_eq!((refusal.kind, refusal.message.contains("is one of ours")), (Kind::Refused, true));
}
