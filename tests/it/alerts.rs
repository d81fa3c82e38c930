//! Alerts: what is one, since when, what the header and the list say of it, and where the thresholds come from.

use std::fs;

use perilune::devices::{DeviceReading, DiskReading, GpuProblem, Memory};
use perilune::jobs::{JobState, JobView, PartPlacement, Placement, WaitReason};
use perilune::placement::{Part, Share};
use perilune::theme::Themes;
use perilune::tui::Options;
use perilune::tui::alerts::About;
use perilune::tui::screens::Screen as Which;
use perilune::units::{Bytes, DeviceId, Grade, JobId, SaidThresholds, Timestamp};
use perilune::wire::status::PartView;
use perilune::wire::{Change, Status};
use perilune::workflow::JobDraft;
use serde_json::{Value, json};

use super::screens::{Styles, check_everywhere};
use super::support::builders::a_job;
use super::support::daemon::Home;
use super::support::fixtures;
use super::support::screen::{Screen, options};
use super::support::wait::until;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 36)];

/// What the alerts of a screen are about, with their thresholds.
fn about(screen: &Screen) -> Vec<(String, Grade, Option<String>)> {
    screen.model.alerts.all().iter().map(|alert| (alert.what.clone(), alert.grade, alert.limit.clone())).collect()
}

/// A box with one card of this temperature, busy share and used memory.
fn one_card(temperature: f64, busy: f64, used: f64) -> Status {
    let used: Bytes = format!("{:.3}GiB", 24.0 * used).parse().unwrap();
    let memory = Memory { total: Bytes::gib(24), used, free: Bytes::gib(24) - used };
    let card = DeviceReading {
        temperature_c: Some(temperature),
        utilization: Some(busy),
        memory: Some(memory),
        ..fixtures::gpu(0, "NVIDIA GeForce RTX 4090", 1.0, 24.0)
    };
    Status { devices: vec![card], ..fixtures::empty() }
}

fn with(thresholds: SaidThresholds, status: Status) -> Screen {
    Screen::with(Options { thresholds, ..options() }, 80, 24).told(status)
}

#[test]
fn what_lies_beyond_a_threshold_is_an_alert() {
    let check = |status: Status, expected: &[(&str, Grade, &str)]| {
        let said = SaidThresholds { util: Some([0.5, 0.95]), ..SaidThresholds::default() };
        let found = about(&with(said, status));
        let expected: Vec<_> =
            expected.iter().map(|(what, grade, limit)| ((*what).to_owned(), *grade, Some((*limit).to_owned()))).collect();
        assert_eq!(found, expected);
    };
    check(one_card(79.9, 0.4, 0.89), &[]);
    check(one_card(80.0, 0.4, 0.5), &[("cuda:0 temp", Grade::Warn, "80 C")]);
    check(one_card(20.0, 0.96, 0.98), &[("cuda:0 memory", Grade::Crit, "97%"), ("cuda:0 load", Grade::Crit, "95%")]);
    check(
        one_card(81.0, 0.6, 0.98),
        &[("cuda:0 memory", Grade::Crit, "97%"), ("cuda:0 temp", Grade::Warn, "80 C"), ("cuda:0 load", Grade::Warn, "50%")],
    );
}

/// What is marked on the screen is in the list, once.
#[test]
fn less_free_memory_than_a_profile_wants_is_an_alert() {
    let with_floor = |used, floor| {
        let mut status = one_card(20.0, 0.0, used);
        status.devices[0].floor = Some(Bytes::gib(floor));
        Screen::on(status, 80, 24)
    };
    assert_eq!(about(&with_floor(0.5, 12)), []);
    let mut low = with_floor(0.5, 13);
    assert_eq!(about(&low), [("cuda:0 floor".to_owned(), Grade::Warn, Some("13.0 GiB".to_owned()))]);
    assert!(low.text().contains("!12.0/24.0") && low.text().contains("ALERT 1"), "{}", low.text());
    let listed = low.keys("a").text();
    assert!(listed.contains("12.0 GiB free"), "{listed}");
    assert_eq!(with_floor(0.5, 13).keys("a<enter>").model.screen, Which::Devices);
    assert_eq!(about(&with_floor(0.92, 13)), [("cuda:0 memory".to_owned(), Grade::Warn, Some("90%".to_owned()))]);
}

/// A device that computes is what one wants, unless somebody says otherwise.
#[test]
fn a_busy_device_is_no_alert_by_itself() {
    assert_eq!(about(&Screen::on(one_card(20.0, 1.0, 0.1), 80, 24)), []);
}

#[test]
fn a_profile_wins_over_the_theme_and_the_theme_over_what_is_built_in() {
    let mut themes = Themes::shipped();
    themes.add("mine.yaml", "schema: 1\nname: mine\nextends: dark\nthresholds: {temp: [50, 60], mem: [0.2, 0.3]}\n").unwrap();
    let of_theme = Options { themes, theme: "mine".to_owned(), ..options() };
    let screen = Screen::with(of_theme.clone(), 80, 24).told(one_card(55.0, 0.0, 0.25));
    assert_eq!(screen.model.alerts.all().len(), 2);
    let said = SaidThresholds { temp: Some([70.0, 75.0]), ..SaidThresholds::default() };
    let mut screen = Screen::with(Options { thresholds: said, ..of_theme }, 80, 24).told(one_card(55.0, 0.0, 0.25));
    assert_eq!(about(&screen), [("cuda:0 memory".to_owned(), Grade::Warn, Some("20%".to_owned()))]);
    assert!(screen.text().contains("!6.0/24.0") && !screen.text().contains("!55C"), "{}", screen.text());
}

#[test]
fn values_carry_their_marks() {
    let said = SaidThresholds { util: Some([0.5, 0.95]), ..SaidThresholds::default() };
    let shown = |temperature, busy, used| with(said, one_card(temperature, busy, used)).text();
    let text = shown(95.0, 1.0, 0.98);
    assert!(text.contains("!!95C") && text.contains("!100 ") && text.contains("!!23.5/24.0"), "{text}");
    let text = shown(85.0, 0.6, 0.92);
    assert!(text.contains(" !85C") && text.contains(" !60 ") && text.contains(" !22.1/24.0"), "{text}");
    assert!(text.contains("ALERT 3"), "{text}");
    let device = with(said, one_card(85.0, 0.6, 0.92)).keys("2").text();
    assert!(device.contains("!60%") && device.contains("!85 C") && device.contains("!22.1/24.0 GiB"), "{device}");
}

#[test]
fn an_alert_keeps_since_when_it_is_there_and_goes_with_its_cause() {
    let mut screen = Screen::on(one_card(85.0, 0.0, 0.1), 80, 24).later(250);
    let Status { devices, host, .. } = one_card(92.0, 0.0, 0.1);
    screen.hear(Change::Devices { devices, host: Box::new(host) });
    let alert = screen.model.alerts.all()[0].clone();
    assert_eq!((alert.grade, alert.since, alert.limit.as_deref()), (Grade::Crit, Some(fixtures::NOW), Some("90 C")));
    let mut screen = screen.keys("a");
    assert!(screen.text().contains("4m10s"), "{}", screen.text());
    let Status { devices, host, .. } = one_card(60.0, 0.0, 0.1);
    screen.hear(Change::Devices { devices, host: Box::new(host) });
    assert!(screen.text().contains("Nothing needs a look") && !screen.text().contains("ALERT"), "{}", screen.text());
}

#[test]
fn what_went_wrong_is_among_them() {
    let all = about(&Screen::on(fixtures::broken(), 80, 24));
    let has = |what: &str| all.iter().any(|(told, ..)| told == what);
    assert!(has("cuda:3 LOST") && has("cuda:5 unreadable") && has("engine cuda:1") && has("job 40 FAILED"), "{all:?}");
    let lost =
        Screen::on(fixtures::broken(), 80, 24).model.alerts.all().iter().find(|a| a.about == About::Lost(DeviceId::Cuda(3))).cloned();
    assert_eq!(lost.unwrap().since, Some(Timestamp(fixtures::NOW.0 - 211_000)));
    let mut status = fixtures::empty();
    status.host.disks.push(DiskReading {
        mount: "/models".to_owned(),
        total: Bytes::gib(1000),
        free: Bytes::gib(20),
        read_bps: None,
        write_bps: None,
        why: None,
        measured: None,
    });
    let waits = JobView { state: JobState::Queued, reason: Some(WaitReason::Disk), ..fixtures::job(50, "m", "p") };
    status.queue.jobs.push(waits);
    status.queue.jobs.push(fixtures::done_job());
    status.host.gpu_problem = Some(fixtures::gpu_problem());
    let all = about(&Screen::on(status, 80, 24));
    let whats: Vec<&str> = all.iter().map(|(what, ..)| what.as_str()).collect();
    assert_eq!(whats, ["NVIDIA", "disk /models", "disk full", "job 39 plan"]);
    assert!(all.iter().all(|(_, grade, _)| *grade == Grade::Crit), "{all:?}");
    let mut without = fixtures::empty();
    without.host.gpu_problem = Some(GpuProblem { is_absent: true, ..fixtures::gpu_problem() });
    assert_eq!(about(&Screen::on(without, 80, 24)), [], "a machine without a GPU is not broken");
}

/// The same on every screen: a donor that was given less than nine tenths, and a device that holds more than was planned.
#[test]
fn a_plan_that_was_not_kept_needs_a_hand_wherever_it_is_shown() {
    let mut status = fixtures::empty();
    status.queue.jobs.push(fixtures::done_job());
    let mut set = fixtures::set("qwen-night");
    set.components[1].bytes = Bytes::gib(12);
    status.sets.push(set.clone());
    let all = about(&Screen::on(status.clone(), 80, 24));
    assert_eq!(all, [("set qwen-night".to_owned(), Grade::Crit, None), ("job 39 plan".to_owned(), Grade::Crit, None)]);
    let sets = Screen::on(status.clone(), 160, 48).keys("3").text();
    assert_eq!(sets.matches("!!12.0").count(), 1, "{sets}");
    assert!(sets.contains("!!30.8"), "the set as a whole: {sets}");
    let job = Screen::on(status, 160, 48).keys("6G<enter>").text();
    assert!(job.contains("12.0 GiB !!"), "{job}");

    // Less than planned where it is computed is no plan that was not kept: memory may have been short.
    let mut status = fixtures::empty();
    set.components[1].bytes = set.components[1].planned;
    set.components[0].bytes = Bytes::gib(10);
    status.sets.push(set.clone());
    let sets = Screen::on(status, 160, 48).keys("3").text();
    assert!(sets.contains("!10.0") && !sets.contains("!!10.0"), "{sets}");
    set.components[0].bytes = Bytes::gib(19);
    let mut status = fixtures::empty();
    status.sets.push(set);
    let sets = Screen::on(status, 160, 48).keys("3").text();
    assert!(sets.contains("!!19.0"), "over its plan: {sets}");
}

/// A text encoder is not loaded where what it makes of the texts was kept.
#[test]
fn a_part_that_was_not_needed_is_no_plan_that_was_not_kept() {
    let mut set = fixtures::set("qwen-night");
    let last = set.components.len() - 1;
    set.components[last].bytes = Bytes::ZERO;
    let (planned, device) = (set.components[last].planned, set.components[last].device);
    let all = |part: fn(&PartView) -> Bytes| set.components.iter().map(part).sum::<Bytes>();
    let mut status = fixtures::empty();
    let of = |part, asked, measured| PartPlacement {
        part,
        asked: vec![Share { device, bytes: asked }],
        measured: vec![Share { device, bytes: measured }],
        streamed_bytes: Bytes::ZERO,
        staging: Bytes::ZERO,
    };
    let placement = Placement {
        asked: vec![Share { device, bytes: Bytes::gib(1) + planned }],
        measured: vec![Share { device, bytes: Bytes::gib(1) }],
        parts: vec![of(Part::Denoiser, Bytes::gib(1), Bytes::gib(1)), of(Part::Clip, planned, Bytes::ZERO)],
        ..Placement::default()
    };
    status.queue.jobs.push(JobView { placement: Some(placement), warnings: Vec::new(), ..fixtures::done_job() });
    status.sets.push(set.clone());
    assert!(all(|part| part.bytes) < all(|part| part.planned));
    assert_eq!(about(&Screen::on(status.clone(), 80, 24)), []);
    for keys in ["1", "3", "6G<enter>"] {
        let text = Screen::on(status.clone(), 160, 48).keys(keys).text();
        assert!(!text.replace("! nearly full", "").contains('!'), "{keys}\n{text}");
    }
}

#[test]
fn a_job_that_failed_is_an_alert_for_a_day_or_until_it_is_hidden() {
    let failed = |screen: &Screen| screen.model.alerts.all().iter().any(|a| a.about == About::Failed(JobId(40)));
    let screen = Screen::on(fixtures::busy(), 80, 24);
    assert!(failed(&screen) && !failed(&screen.later(86_400)));
    let hidden = Screen::on(fixtures::busy(), 80, 24).keys("ajjx");
    assert!(!failed(&hidden), "{:?}", about(&hidden));
    let again = hidden.later(5);
    assert!(!failed(&again), "it comes back");
    let mut other = Screen::on(one_card(85.0, 0.0, 0.1), 80, 24).keys("ax");
    assert!(other.text().contains("cuda:0 temp goes by itself when its cause does"), "{}", other.text());
}

#[test]
fn enter_goes_to_what_an_alert_is_about() {
    let screen = Screen::on(fixtures::broken(), 80, 24);
    let rows: Vec<About> = screen.model.alerts.all().iter().map(|a| a.about.clone()).collect();
    for (row, about) in rows.iter().enumerate() {
        let screen = Screen::on(fixtures::broken(), 80, 24).keys(&format!("a{}<enter>", "j".repeat(row)));
        assert!(screen.model.alarm.is_none());
        let expected = match about {
            About::Failed(_) | About::NotKept(_) => Which::Queue,
            About::Engine(_) => Which::Log,
            About::Set(..) => Which::Sets,
            _ => Which::Devices,
        };
        assert_eq!(screen.model.screen, expected, "{about:?}");
        if let About::Lost(id) = about {
            assert_eq!(screen.model.devices.device, Some(*id));
        }
    }
    let mut copied = Screen::on(fixtures::broken(), 80, 24).keys("aY");
    assert!(copied.text().contains("copied: perilune "), "{}", copied.text());
    assert!(Screen::on(fixtures::broken(), 80, 24).keys("aa").model.alarm.is_none());
    assert!(Screen::on(fixtures::broken(), 80, 24).keys("a:alerts<enter>").model.alarm.is_some());
}

/// Each alert is one line, wherever the list opens.
#[test]
fn the_list_has_a_line_for_each() {
    for (width, height) in SIZES {
        let mut screen = Screen::on(fixtures::broken(), width, height).keys("a");
        let all = screen.model.alerts.all().to_vec();
        let text = screen.text();
        for alert in all {
            let lines = text.lines().filter(|l| l.contains(&format!("{} ", alert.what)) && !l.contains(&format!("{}:", alert.what)));
            assert_eq!(lines.count(), 1, "{}\n{text}", alert.what);
        }
    }
}

#[test]
fn the_list_of_alerts() {
    check_everywhere("alerts", Styles::Too, |options, w, h| Screen::with(options, w, h).told(fixtures::broken()).keys("1aj"));
    check_everywhere("alerts_none", Styles::Not, |options, w, h| Screen::with(options, w, h).told(fixtures::empty()).keys("1a"));
}

/// Whoever asks once sees what the dashboard shows, by the thresholds that the dashboard has.
#[test]
fn a_status_has_the_alerts_too() {
    let home = Home::with_daemon();
    let fail = json!({"fail": [0, "failed", "it was not to be"]}).to_string();
    assert_eq!(home.run(&["run", "-m", "night", "-p", &fail]).code, 1);
    fs::create_dir(home.path().join("profiles")).unwrap();
    fs::write(home.path().join("profiles/low.yaml"), "thresholds: {mem: [0.000001, 0.000002]}\n").unwrap();
    let alerts = |arguments: &[&str]| {
        let status = home.run(&[&["status", "--json"], arguments].concat()).json();
        assert!(status["queue"].is_object() && status["version"].is_string(), "{status}");
        status["alerts"].as_array().cloned().unwrap_or_else(|| panic!("no alerts: {status}"))
    };
    let about = |all: &[Value], about: &str, device: &Value| all.iter().find(|a| a["about"] == about && a["device"] == *device).cloned();
    // The first readings may come after the daemon.
    let memory = until("a reading", || about(&alerts(&["--profile", "low"]), "memory", &json!("cpu")));
    assert_eq!((&memory["grade"], &memory["what"], &memory["since"]), (&json!("crit"), &json!("cpu memory"), &Value::Null));
    assert!(memory["value"].as_str().is_some_and(|v| v.ends_with(" GiB")) && memory["limit"].is_string(), "{memory}");
    let failed = about(&alerts(&[]), "failed", &Value::Null).unwrap();
    let expected = json!({
        "about": "failed", "grade": "crit", "device": null, "disk": null, "set": null, "job": 1, "what": "job 1 FAILED",
        "value": "it was not to be", "limit": null, "since": failed["since"], "hint": failed["hint"],
    });
    assert_eq!(failed, expected);
    assert!(failed["since"].as_str().is_some_and(|s| s.ends_with('Z')) && failed["hint"].is_string(), "{failed}");
    let text = home.run(&["status", "--profile", "low"]).ok();
    let line = |what: &str| text.lines().find(|l| l.contains(what)).unwrap_or_else(|| panic!("no {what} in\n{text}")).to_owned();
    assert!(line("job 1 FAILED").starts_with("!!") && line("job 1 FAILED").contains("it was not to be"), "{text}");
    assert!(line("cpu memory").starts_with("!!") && line("cpu memory").contains("unload sets"), "{text}");
    assert!(line("what to do").contains("limit"), "{text}");
}

/// However many jobs have ended well since.
#[test]
fn a_job_that_failed_today_is_among_them_whatever_ended_after_it() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let fail = json!({"fail": [0, "failed", "it was not to be"]}).to_string();
    let failed = talk.submit(JobDraft { prompt: fail, ..a_job() });
    talk.wait_for(failed, JobState::Failed);
    let others: Vec<JobId> = (0..25).map(|_| talk.submit(a_job())).collect();
    talk.wait_for(*others.last().unwrap(), JobState::Done);
    let status = home.run(&["status", "--json"]).json();
    let told = |list: &str, job: JobId| status[list].as_array().unwrap().iter().any(|a| a["job"] == json!(job));
    assert!(told("alerts", failed), "{}", status["alerts"]);
    let jobs: Vec<i64> = status["queue"]["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_i64().unwrap()).collect();
    assert_eq!((jobs.len(), jobs.last()), (21, Some(&failed.0)), "{jobs:?}");
    // A dashboard that opens now has it without a key, and keeps it while others end.
    let mut screen = Screen::on(talk.status(), 80, 24);
    for job in 0..300 {
        screen.hear(Change::Job(Box::new(JobView { job: JobId(1000 + job), warnings: Vec::new(), ..fixtures::done_job() })));
    }
    assert!(screen.model.alerts.all().iter().any(|alert| alert.about == About::Failed(failed)), "{:?}", about(&screen));
}

/// Whoever mistypes a theme must still be able to ask how the box is, and is told.
#[test]
fn a_theme_that_cannot_be_used_keeps_nobody_from_a_status() {
    let home = Home::with_daemon();
    home.config("theme: drak\n");
    let done = home.run(&["status", "--json"]);
    assert!(
        done.stderr.contains("config.yaml: there is no theme `drak`") && done.stderr.contains("the built-in thresholds are used"),
        "{done:?}"
    );
    assert!(done.json()["alerts"].is_array());
}

#[test]
fn thresholds_are_checked_with_the_files_that_say_them() {
    let home = Home::empty();
    for folder in ["profiles", "themes"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    fs::write(home.path().join("profiles/hot.yaml"), "steps: 20\nthresholds:\n  temp: [80, 90]\n  mem: [90, 97]\n").unwrap();
    fs::write(home.path().join("profiles/well.yaml"), "thresholds: {temp: [70, 85], util: [0.9, 0.99]}\n").unwrap();
    fs::write(home.path().join("themes/mine.yaml"), "schema: 1\nname: mine\nthresholds:\n  temp: [90, 80]\n").unwrap();
    let told = home.run(&["config", "validate"]);
    assert_eq!(told.code, 2);
    let lines: Vec<String> = told.stdout.lines().map(|l| l.rsplit('/').next().unwrap().to_owned()).collect();
    assert!(lines.iter().any(|l| l.starts_with("hot.yaml:4:3: ")), "{lines:?}");
    assert!(lines.iter().any(|l| l == "well.yaml: profile is fine"), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("mine.yaml:4:3: ") && l.contains("must rise")), "{lines:?}");
    let settings = home.run(&["config", "--json", "--profile", "well"]).json();
    assert_eq!(settings["settings"]["thresholds"]["value"]["temp"], json!([70.0, 85.0]));
    assert_eq!(settings["settings"]["thresholds"]["origin"], "profile well");
    home.config("run: {thresholds: {temp: [1, 2]}}");
    home.run(&["models", "list"]).refused(2, &format!("{}: run.thresholds", home.path().join("config.yaml").display()));
}
