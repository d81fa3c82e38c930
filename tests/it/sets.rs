//! Loaded model sets: shown with what they share, pinned, kept for a while, loaded ahead and unloaded.

use perilune::families::Role;
use perilune::jobs::JobState;
use perilune::library::likeness;
use perilune::placement::Share;
use perilune::units::DeviceId;
use perilune::wire::control::{CalibrateAsk, Topics};
use perilune::wire::plan::PlanAsk;
use perilune::wire::{Change, Reply, Request, SetView};
use perilune::workflow::{JobDraft, Kind};
use serde_json::{Value, json};

use crate::support::builders::{MODEL, a_job, endless};
use crate::support::daemon::Home;
use crate::support::screen::Screen;
use crate::support::talk::Talk;
use crate::support::wait::{until, until_true};
use crate::support::weights_file::{tiny_checkpoint, write, zeros};

const OTHER: &str = "noon";

/// A home with two models, and an engine that tells of parts.
fn home() -> Home {
    home_with(&json!({"holds_parts": true}))
}

fn home_with(script: &Value) -> Home {
    let mut home = Home::empty();
    write(home.path(), &format!("models/checkpoints/{OTHER}.safetensors"), &zeros(&tiny_checkpoint(), ""));
    home.script(script);
    home.start();
    home
}

fn of(model: &str) -> JobDraft {
    JobDraft { model: model.to_owned(), ..a_job() }
}

/// The other model, with the autoencoder of the first.
fn sharing(home: &Home) -> JobDraft {
    let vae = home.path().join(format!("models/checkpoints/{MODEL}.safetensors"));
    JobDraft { vae: Some(vae.to_string_lossy().into_owned()), ..of(OTHER) }
}

fn sets(talk: &mut Talk, request: Request) -> Vec<SetView> {
    match talk.call(request) {
        Reply::Sets(sets) => sets,
        reply => panic!("{reply:?}"),
    }
}

fn load(talk: &mut Talk, draft: JobDraft) -> SetView {
    let [set] = &sets(talk, Request::LoadSet(Box::new(draft)))[..] else { panic!("one set was loaded") };
    set.clone()
}

#[track_caller]
fn refused(talk: &mut Talk, request: Request, kind: Kind, message: &str) {
    let refusal = talk.try_call(request).unwrap_err();
    assert_eq!((refusal.kind, refusal.message.as_str()), (kind, message));
    assert!(refusal.hint.is_some(), "{refusal:?}");
}

/// What is held where something computes, and would give its place to others, as those hear of it who tune a model.
fn held(talk: &mut Talk, model: &str) -> Vec<Share> {
    match talk.call(Request::Tune(Box::new(PlanAsk { draft: of(model), sweep: None }))) {
        Reply::Tune(told) => told.held,
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn what_lies_in_the_page_cache_is_not_counted_as_free_twice() {
    let plain = home();
    let mut talk = plain.talk();
    let set = load(&mut talk, of(MODEL));
    assert_eq!(held(&mut talk, MODEL), [Share { device: DeviceId::Cpu, bytes: set.bytes }]);
    let mapping = home_with(&json!({"holds_parts": true, "maps_parts": true}));
    let mut talk = mapping.talk();
    let set = load(&mut talk, of(MODEL));
    assert!(set.components.iter().all(|part| part.cached == part.bytes), "{set:?}");
    assert_eq!(held(&mut talk, OTHER), []);
    // A plan counts the blocks of its network wherever they lie, so those that are there are told.
    let network = set.components.iter().find(|part| part.role == Role::Denoiser).unwrap();
    assert_eq!(held(&mut talk, MODEL), [Share { device: DeviceId::Cpu, bytes: network.bytes }]);
}

fn names(talk: &mut Talk) -> Vec<String> {
    talk.status().sets.into_iter().map(|set| set.name).collect()
}

#[test]
fn sets_stand_side_by_side_and_what_they_share_is_counted_once() {
    let home = home();
    let mut talk = home.talk();
    let first = talk.submit(of(MODEL));
    talk.wait_for(first, JobState::Done);
    let second = talk.submit(sharing(&home));
    talk.wait_for(second, JobState::Done);
    let status = talk.status();
    let [other, night] = &status.sets[..] else { panic!("{:?}", status.sets) };
    assert_eq!((other.name.as_str(), night.name.as_str()), (OTHER, MODEL), "the one that was used last stands first");
    let [shared] = &other.shared[..] else { panic!("{:?}", other.shared) };
    assert_eq!((shared.role.name(), &shared.with), ("vae", &vec![night.id.clone()]));
    let vae = other.components.iter().find(|part| part.copy == shared.copy).unwrap();
    assert_eq!((other.alone + vae.bytes, night.alone + vae.bytes), (other.bytes, night.bytes));
    assert!(other.last_used > night.last_used && other.used_by.is_none() && !other.pinned);
    // The device holds it once, for both.
    let cpu = status.devices.iter().find(|device| device.id == DeviceId::Cpu).unwrap();
    let held: Vec<&str> = cpu.held.iter().filter(|held| held.component == "vae").map(|held| held.set.as_str()).collect();
    assert_eq!(held, [format!("{OTHER}, {MODEL}")]);
    let all = cpu.held.iter().map(|held| held.bytes).sum::<perilune::units::Bytes>();
    assert_eq!(all, other.bytes + night.alone);
    let text = home.run(&["sets", "list"]).ok();
    assert!(text.contains("shared with") && text.ends_with(&format!("2 sets: {all} on cpu\n")), "{text}");
    let json = home.run(&["sets", "list", "--json"]).json();
    assert_eq!((&json[0]["id"], &json[0]["shared"][0]["with"][0]), (&json!(other.id), &json!(night.id)));
}

#[test]
fn a_set_is_loaded_ahead_pinned_and_unloaded() {
    let home = home();
    let mut talk = home.talk();
    refused(&mut talk, Request::PinSet(MODEL.to_owned()), Kind::NotFound, "no set `night` is loaded");
    let set = load(&mut talk, of(MODEL));
    assert_eq!((set.name.as_str(), set.used_by, set.pinned), (MODEL, None, false));
    let mut hears = home.talk();
    hears.subscribe(Topics::default());
    assert!(sets(&mut talk, Request::PinSet(MODEL.to_owned()))[0].pinned);
    hears.hear("the set to be pinned", |change| {
        if let Change::Sets(sets) = change { sets.iter().any(|set| set.pinned).then_some(()) } else { None }
    });
    refused(&mut talk, Request::UnloadSet(set.id.to_string()), Kind::Refused, "set `night` is pinned");
    home.run(&["sets", "unload", MODEL]).refused(5, "set `night` is pinned");
    assert!(!sets(&mut talk, Request::UnpinSet(format!("{MODEL}@cpu")))[0].pinned);
    let job = talk.submit(JobDraft { model: MODEL.to_owned(), ..endless() });
    talk.wait_for(job, JobState::Running);
    let busy = talk.status().sets.remove(0);
    assert_eq!((busy.used_by, busy.id.clone()), (Some(job), set.id));
    refused(&mut talk, Request::UnloadSet(MODEL.to_owned()), Kind::Refused, "job 1 uses set `night`");
    home.run(&["sets", "unload", MODEL]).refused(5, "job 1 uses set `night`");
    talk.changed(Request::Cancel(vec![job]));
    talk.wait_for(job, JobState::Cancelled);
    assert_eq!(talk.call(Request::UnloadSet(MODEL.to_owned())), Reply::Done);
    assert!(names(&mut talk).is_empty());
    home.run(&["sets", "unload", MODEL]).refused(4, "no set `night` is loaded");
}

#[test]
fn sets_of_one_name_are_told_apart_by_their_number() {
    let home = home();
    let mut talk = home.talk();
    let full = load(&mut talk, of(MODEL));
    let half = load(&mut talk, JobDraft { precision: Some("bf16".parse().unwrap()), ..of(MODEL) });
    let message = format!("`night` is the name of several sets: {}@cpu, {}@cpu", half.id, full.id);
    refused(&mut talk, Request::UnloadSet(MODEL.to_owned()), Kind::Usage, &message);
    assert_eq!(talk.call(Request::UnloadSet(full.id.to_string())), Reply::Done);
    assert_eq!(talk.status().sets.remove(0).id, half.id);
}

#[test]
fn a_set_leaves_when_its_time_is_over() {
    let home = home();
    let mut talk = home.talk();
    load(&mut talk, of(MODEL));
    load(&mut talk, of(OTHER));
    refused(&mut talk, Request::KeepSet { set: MODEL.to_owned(), for_s: Some(-1.0) }, Kind::Usage, "-1 s is no time that a set can stay");
    let text = home.run(&["sets", "keep", OTHER, "--for", "1h"]).ok();
    assert!(text.contains(" more"), "{text}");
    let kept = sets(&mut talk, Request::KeepSet { set: MODEL.to_owned(), for_s: Some(0.05) }).remove(0);
    assert_eq!((kept.keep_s, kept.leaves.is_some()), (Some(0.05), true));
    until_true("it to leave", || names(&mut talk) == [OTHER]);
    let notice = talk.status().notices.pop().unwrap();
    assert_eq!((notice.level.as_str(), notice.text.as_str()), ("info", "set `night` leaves cpu: no job has used it for 50ms"));
    let ever = sets(&mut talk, Request::KeepSet { set: OTHER.to_owned(), for_s: None }).remove(0);
    assert_eq!((ever.keep_s, ever.leaves), (None, None));
    // What is pinned stays, however short its time is.
    sets(&mut talk, Request::PinSet(OTHER.to_owned()));
    sets(&mut talk, Request::KeepSet { set: OTHER.to_owned(), for_s: Some(0.0) });
    assert_eq!(names(&mut talk), [OTHER]);
}

#[test]
fn what_cannot_be_loaded_is_refused_and_pins_outlive_an_engine() {
    let home = home();
    let mut talk = home.talk();
    let set = load(&mut talk, of(MODEL));
    sets(&mut talk, Request::PinSet(MODEL.to_owned()));
    let refused_here = JobDraft { prompt: json!({"unloadable": "there is no room"}).to_string(), ..of(OTHER) };
    refused(&mut talk, Request::LoadSet(Box::new(refused_here)), Kind::Refused, "there is no room");
    let missing = talk.try_call(Request::LoadSet(Box::new(of("nowhere")))).unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
    let message = "set `night` is pinned on cpu, and what is measured beside it is worth nothing";
    refused(&mut talk, Request::Calibrate(CalibrateAsk::default()), Kind::Refused, message);
    // Its engine dies, and the next one pins it again.
    let dying = talk.submit(JobDraft { prompt: json!({"die": [0, 9]}).to_string(), ..of(OTHER) });
    talk.wait_for(dying, JobState::Failed);
    let again = load(&mut talk, of(MODEL));
    assert_eq!((again.id, again.pinned), (set.id, true));
}

#[test]
fn a_profile_has_sets_loaded_before_any_job_wants_them() {
    let mut home = Home::empty();
    write(home.path(), &format!("models/checkpoints/{OTHER}.safetensors"), &zeros(&tiny_checkpoint(), ""));
    std::fs::create_dir(home.path().join("profiles")).unwrap();
    let sets = format!("sets:\n- {{model: {MODEL}, pin: true}}\n- {{model: {OTHER}, keep: 30m}}\n- {{model: nobody}}\n");
    std::fs::write(home.path().join("profiles/box.yaml"), format!("compute_device: cpu\nfloors: {{cpu: 12MiB}}\n{sets}")).unwrap();
    home.config("profile: box\n");
    home.script(&json!({"holds_parts": true}));
    home.start();
    let mut talk = home.talk();
    let status = until("both sets to stay as the profile says", || {
        let status = talk.status();
        let stays = status.sets.iter().filter(|set| set.pinned || set.keep_s.is_some()).count();
        (stays == 2).then_some(status)
    });
    let set = |name: &str| status.sets.iter().find(|set| set.name == name).unwrap();
    assert_eq!((set(MODEL).pinned, set(MODEL).keep_s), (true, None));
    assert_eq!((set(OTHER).pinned, set(OTHER).keep_s), (false, Some(1800.0)));
    let told = |text: &str| status.notices.iter().any(|n| n.text.starts_with(text));
    assert!(told("set `nobody` of the profile is not loaded: "), "{:?}", status.notices);
    assert!(told("set `night` is loaded on cpu, as the profile says"), "{:?}", status.notices);
    let cpu = status.devices.iter().find(|device| device.id == DeviceId::Cpu).unwrap();
    assert_eq!(cpu.floor, Some(perilune::units::Bytes::mib(12)));
}

#[test]
fn parts_are_the_same_to_the_last_byte_or_not_at_all() {
    let home = Home::empty();
    let path = |name: &str| home.path().join(format!("models/checkpoints/{name}.safetensors"));
    let files = [MODEL, OTHER].map(|name| vec![path(name)]);
    write(home.path(), &format!("models/checkpoints/{OTHER}.safetensors"), &zeros(&tiny_checkpoint(), ""));
    let same = || {
        let roles = [Role::Denoiser, Role::ClipL, Role::Vae].into_iter();
        roles.filter(|role| likeness::is_same(*role, &files[0], &files[1]).unwrap()).count()
    };
    assert_eq!(same(), 3);
    let mut bytes = std::fs::read(path(OTHER)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path(OTHER), bytes).unwrap();
    assert_eq!(same(), 2, "the last byte is one part's");
    std::fs::remove_file(path(OTHER)).unwrap();
    assert!(likeness::is_same(Role::Vae, &files[0], &files[1]).is_err());
}

/// Presses keys on the screen of sets and has the daemon answer what they ask.
fn press(screen: Screen, keys: &str, talk: &mut Talk) -> String {
    let mut screen = screen.keys(keys);
    let talk = std::cell::RefCell::new(talk);
    screen.answer(|request| Some(talk.borrow_mut().try_call(request.clone())));
    screen.text()
}

#[test]
fn the_dashboard_does_with_sets_what_the_command_line_does() {
    let home = home();
    let mut talk = home.talk();
    let screen = |talk: &mut Talk| Screen::on(talk.status(), 120, 36).keys("3");
    let text = press(screen(&mut talk), &format!("L{OTHER}<enter>"), &mut talk);
    assert!(text.contains(&format!("{OTHER} is loaded")), "{text}");
    press(screen(&mut talk), "p", &mut talk);
    press(screen(&mut talk), "tkkk<enter>", &mut talk);
    let set = talk.status().sets.remove(0);
    assert_eq!((set.pinned, set.keep_s), (true, Some(3600.0)));
    press(screen(&mut talk), "p", &mut talk);
    let job = talk.submit(JobDraft { model: OTHER.to_owned(), ..endless() });
    talk.wait_for(job, JobState::Running);
    let text = press(screen(&mut talk), "xy", &mut talk);
    assert!(text.contains(&format!("{OTHER} not unloaded: job 1 uses set `{OTHER}`")), "{text}");
    talk.call(Request::Cancel(vec![job]));
    talk.wait_for(job, JobState::Cancelled);
    let text = press(screen(&mut talk), "xy", &mut talk);
    assert!(text.contains(&format!("{OTHER} has left")), "{text}");
    assert!(names(&mut talk).is_empty());
}
