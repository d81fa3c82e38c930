//! The tuner: wishes typed, worked out while they are typed, and asked for.

use std::sync::Arc;

use perilune::config::presets::{Existing, Saved};
use perilune::placement::{Basis, OffloadAsk, Room, VirtualVram};
use perilune::profile::Preset;
use perilune::tui::Options;
use perilune::tui::effect::Effect;
use perilune::tui::message::Message;
use perilune::tui::{rebind, screens};
use perilune::units::{Bytes, DeviceId, JobId};
use perilune::weights::Precision;
use perilune::wire::control::CalibrationView;
use perilune::wire::{Change, Reply, Request, Status, TuneView};
use perilune::workflow::{JobDraft, Kind, Refusal};

use super::screens::check;
use super::support::fixtures;
use super::support::screen::{Screen, options};

/// The tuner of the form's model on this device, after some keys.
fn tuner(status: Status, compute: DeviceId, (width, height): (u16, u16), keys: &str) -> Screen {
    let mut screen = Screen::on(status, width, height).keys("7ll5");
    screen.answer(told(compute));
    screen.keys(keys)
}

fn told(compute: DeviceId) -> impl Fn(&Request) -> Option<Result<Reply, Refusal>> {
    move |request| match request {
        Request::Tune(_) => Some(Ok(Reply::Tune(Box::new(fixtures::tune(compute))))),
        _ => None,
    }
}

fn on_cpu(keys: &str) -> Screen {
    tuner(fixtures::busy(), DeviceId::Cpu, (80, 24), keys)
}

#[test]
fn offload() {
    let cpu = DeviceId::Cpu;
    check("offload_empty", |w, h| Screen::on(fixtures::empty(), w, h).keys("5"));
    check("offload_busy", |w, h| tuner(fixtures::busy(), cpu, (w, h), "i2gb<enter>b17<enter>"));
    check("offload_error", |w, h| tuner(fixtures::broken(), cpu, (w, h), "icpu,1gb;mps,*").down());
    check("offload_short", |w, h| tuner(fixtures::busy(), cpu, (w, h), "icpu,2gb;disk,500mb<enter>"));
    check("offload_card", |w, h| tuner(fixtures::busy(), DeviceId::Cuda(0), (w, h), "icuda:0,1gb;cuda:1,1gb;cpu,*<enter> l"));
    check("offload_presets", |w, h| tuner(fixtures::busy(), cpu, (w, h), "Pj"));
    check("offload_pinned", |w, h| tuner(fixtures::busy(), cpu, (w, h), "i1gb<enter>b3<enter>elelle"));
    check("offload_save", |w, h| tuner(fixtures::busy(), cpu, (w, h), "iauto<enter>w-small"));
    check("offload_refused", |w, h| {
        let mut screen = Screen::on(fixtures::busy(), w, h).keys("7lll5");
        screen.answer(|_| Some(Err(Refusal::new(Kind::Refused, "Flux cannot be run by this version", "choose an SD1.5 model"))));
        screen
    });
}

fn asked(screen: &Screen) -> OffloadAsk {
    screen.model.offload.worked.as_ref().unwrap().ask.clone().unwrap()
}

#[test]
fn the_same_wish_is_written_in_four_ways() {
    let mut screen = on_cpu("i1gb<enter>");
    let (mut kinds, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        screen = screen.keys("m");
        let ask = asked(&screen);
        let worked = screen.model.offload.worked.clone().unwrap();
        kinds.push((ask.expert.is_some(), worked.outcome.is_ok()));
        texts.push(screen.model.offload.input.value().to_owned());
    }
    assert_eq!(kinds, [(true, true), (true, true), (true, true), (false, true)]);
    assert!(matches!(asked(&screen).virtual_vram, VirtualVram::AtLeast(bytes) if bytes >= Bytes::gib(1)), "{texts:?}");
}

#[test]
fn what_is_wished_can_be_undone_and_what_is_typed_dropped() {
    let screen = on_cpu("i1gb<enter>i<backspace><backspace>mb<esc>");
    assert_eq!(screen.model.offload.input.value(), "1gb");
    let screen = screen.keys("+++uu");
    assert_ne!(asked(&screen).virtual_vram, VirtualVram::AtLeast(Bytes::gib(1)));
    let screen = screen.keys("u");
    assert_eq!(asked(&screen).virtual_vram, VirtualVram::AtLeast(Bytes::gib(1)));
    let screen = screen.keys("uuu");
    assert_eq!(asked(&screen).virtual_vram, VirtualVram::None);
    assert!(screen.model.toasts.iter().any(|t| t.text.contains("nothing to undo")));
}

#[test]
fn the_form_asks_for_what_is_applied_and_nothing_that_does_not_fit_is() {
    let screen = on_cpu("i1gb<enter><enter>");
    let (draft, problems) = screen.model.compose.draft();
    assert_eq!(
        (draft.offload, problems),
        (OffloadAsk { virtual_vram: VirtualVram::AtLeast(Bytes::gib(1)), ..OffloadAsk::default() }, vec![])
    );
    assert!(screen.model.offload.is_applied(&screen.model.known));
    let screen = screen.keys("i<ctrl-u>cpu,2gb;disk,500mb<enter><enter>7");
    assert_eq!(screen.model.compose.draft().0.offload.virtual_vram, VirtualVram::AtLeast(Bytes::gib(1)));
    assert!(screen.model.toasts.iter().any(|t| t.text.starts_with("not possible: ")));
}

/// What is said of keys is said of those that the operator has.
#[test]
fn sentences_of_the_tuner_name_the_keys_of_the_file() {
    let mine = "apply: [f5]\nedit-wish: [f2]\ntrial: [f4]\nrun: [f7]\nprobe: [f6]\napply-now: [f8]\n";
    let with_mine = |status| Screen::with(Options { keys: Arc::new(rebind::parse(mine).unwrap()), ..options() }, 120, 36).told(status);
    let mut screen = with_mine(fixtures::empty()).keys("<f7>lll5");
    screen.answer(told(DeviceId::Cpu));
    let text = screen.text();
    assert!(text.contains("none: nothing leaves; f2 types an amount or a list"), "{text}");
    assert!(text.contains("f5 asks for it in the Run form; f4 tries it with two steps"), "{text}");
    let toasts = |screen: &Screen| screen.model.toasts.iter().map(|t| t.text.clone()).collect::<Vec<_>>().join("|");
    let applied = screen.keys("<f2>1gb<enter><f5>");
    assert!(toasts(&applied).ends_with("and so does the next job; f7 shows it"), "{}", toasts(&applied));
    let refused = applied.keys("<f8>");
    assert!(toasts(&refused).contains("no job of this model runs; f5 is for the next one"), "{}", toasts(&refused));
    let lost = refused.keys("<f6>").down();
    assert!(toasts(&lost).contains("nothing is measured any more; f6 begins again"), "{}", toasts(&lost));
}

#[test]
fn a_jobs_weights_are_tuned_for_that_job() {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("6jO");
    assert_eq!(screen.model.screen, screens::Screen::Offload);
    let Some(Request::Tune(ask)) = screen.asked().pop() else { panic!() };
    assert_eq!(ask.draft.model, "flux-dev");
    screen.answer(told(DeviceId::Cpu));
    // The waiting job is replaced by one that asks for this.
    let screen = screen.keys("i1gb<enter><enter>");
    assert_eq!((screen.model.screen, screen.model.compose.replaces), (screens::Screen::Compose, Some(JobId(42))));
    assert_eq!(screen.model.compose.draft().0.offload.virtual_vram, VirtualVram::AtLeast(Bytes::gib(1)));
    let mut screen = screen.keys("5<esc>");
    screen.answer(told(DeviceId::Cpu));
    assert!(screen.text().contains("Run form, "));
}

#[test]
fn a_trial_is_a_short_job_that_asks_for_the_wish() {
    let mut screen = on_cpu("i1gb<enter>T");
    let Some(Request::Submit(draft)) = screen.asked().pop() else { panic!() };
    let JobDraft { steps, offload, compute_device, held, .. } = *draft;
    assert_eq!((steps, offload, compute_device, held), (Some(2), asked(&screen), Some(DeviceId::Cpu), false));
    screen.answer(|_| Some(Ok(Reply::Accepted(JobId(45)))));
    assert_eq!(screen.model.offload.trial, Some(JobId(45)));
    assert!(!screen.model.compose.unsent || screen.model.compose.draft().0.steps.is_none(), "the form keeps its steps");
}

#[test]
fn a_job_that_runs_or_waits_has_it_at_once() {
    let now = |keys: &str| {
        let mut screen = Screen::on(fixtures::busy(), 80, 24).keys(keys);
        screen.answer(told(DeviceId::Cpu));
        let screen = screen.keys("i1gb<enter>A");
        match screen.asked().pop() {
            Some(Request::Rebudget { job, ask }) => Ok((job, ask == asked(&screen))),
            _ => Err(screen.model.toasts.last().unwrap().text.clone()),
        }
    };
    assert_eq!((now("6O"), now("6jO")), (Ok((JobId(41), true)), Ok((JobId(42), true))));
    let none = "no job of this model runs; enter is for the next one".to_owned();
    assert_eq!((now("6GO"), now("7ll5")), (Err(none.clone()), Err(none)));
}

#[test]
fn a_job_that_was_given_a_wish_asks_for_it() {
    let mut screen = Screen::on(fixtures::busy(), 120, 36).keys("6O");
    screen.answer(told(DeviceId::Cpu));
    let mut screen = screen.keys("i1gb<enter>");
    assert!(screen.text().contains("job 41, not asked for yet: "), "{}", screen.text());
    let mut job = fixtures::running_job();
    job.spec.offload = asked(&screen);
    screen.hear(Change::Job(Box::new(job)));
    assert!(screen.text().contains("job 41, asked for: "), "{}", screen.text());
}

#[test]
fn a_profile_is_replaced_only_after_a_yes() {
    let mut screen = on_cpu("i1gb<enter>w<enter>");
    let order = |screen: &Screen| {
        let order = screen.effects.iter().rev().find_map(|e| if let Effect::Save(order) = e { Some(order.clone()) } else { None });
        order.unwrap()
    };
    let first = order(&screen);
    assert_eq!((first.name.as_str(), first.existing), ("qwen-night", Existing::Kept));
    assert_eq!(first.preset.virtual_vram_gb, Some(VirtualVram::AtLeast(Bytes::gib(1))));
    screen.tell(Message::Saved { order: first, result: Ok(Saved::Exists) });
    let mut screen = screen.keys("y");
    assert_eq!(order(&screen).existing, Existing::Replaced);
    let shipped = order(&screen);
    screen.tell(Message::Saved { order: shipped, result: Ok(Saved::Ships) });
    assert!(screen.text().contains("It comes with perilune"), "{}", screen.text());
}

#[test]
fn saved_profiles_are_among_the_presets() {
    let screen = on_cpu("P");
    assert!(matches!(screen.effects.last(), Some(Effect::Profiles)), "{:?}", screen.effects.last());
    let mut screen = screen;
    let before = screen.model.offload.presets.as_ref().unwrap().rows.len();
    let profile = |name: &str, text: &str| (name.to_owned(), Preset::parse(text, "p.yaml").unwrap());
    let profiles = vec![
        profile("half", "compute_device: cpu\nvirtual_vram_gb: 1.5\ndonor_device: [disk]\npin_blocks: cpu,3\n"),
        profile("card", "compute_device: cuda:0\nvirtual_vram_gb: 1.5\n"),
        profile("steps", "steps: 4\n"),
    ];
    screen.tell(Message::Profiles(profiles.clone()));
    let rows = &screen.model.offload.presets.as_ref().unwrap().rows;
    assert_eq!(rows[before..].iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["profile half"]);
    assert!(rows[before].outcome.is_ok(), "{:?}", rows[before]);
    let screen = screen.keys(&"j".repeat(before)).keys("<enter>");
    let ask = asked(&screen);
    assert_eq!((ask.virtual_vram.to_string().as_str(), ask.pins.to_string().as_str()), ("1536MiB", "cpu,3"));
    // A list that is closed meanwhile stays so.
    let mut screen = on_cpu("P<esc>");
    screen.tell(Message::Profiles(profiles));
    assert!(screen.model.offload.presets.is_none());
}

#[test]
fn what_is_to_stay_free_becomes_a_wish() {
    let screen = on_cpu("f8gb<enter>");
    let wish = asked(&screen);
    let room = fixtures::tune(DeviceId::Cpu).machine.rooms.into_iter().find(|r| r.device == DeviceId::Cpu).unwrap();
    let worked = screen.model.offload.worked.clone().unwrap().outcome.unwrap();
    let bytes = &screen.model.offload.facts.as_ref().unwrap().bytes;
    let here: Bytes = bytes.iter().zip(&worked.plan.homes).filter(|(_, home)| **home == DeviceId::Cpu).map(|(b, _)| *b).sum();
    assert!(matches!(wish.virtual_vram, VirtualVram::AtLeast(_)), "{wish:?}");
    assert!(here + worked.staging + Bytes::gib(8) <= room.free, "{here} and {} of {}", worked.staging, room.free);
    let told = |screen: &Screen| screen.model.toasts.last().unwrap().text.clone();
    assert!(told(&screen).ends_with("so that 8.0 GiB of it stay free"), "{}", told(&screen));
    let screen = on_cpu("i1gb<enter>f99gb<enter>");
    assert!(told(&screen).starts_with("99.0 GiB of cpu cannot stay free: "), "{}", told(&screen));
    assert_eq!(asked(&screen).virtual_vram, VirtualVram::AtLeast(Bytes::gib(1)), "the wish stays");
    assert!(told(&on_cpu("f8gigs<enter>")).contains("`gigs` is not a unit"));
}

#[test]
fn the_box_is_measured_anew() {
    let mut screen = on_cpu("B");
    let Some(Request::Calibrate(ask)) = screen.asked().pop() else { panic!("{:?}", screen.asked()) };
    assert_eq!((ask.model.as_deref(), ask.compute_device), (Some("qwen-night"), Some(DeviceId::Cpu)));
    screen = screen.keys("B");
    assert!(screen.model.toasts.last().unwrap().text.contains("it is being measured"), "{:?}", screen.model.toasts.last());
    let basis = Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: "libtorch".to_owned() };
    screen.answer(|request| match request {
        Request::Calibrate(_) => Some(Ok(Reply::Calibrated(Box::new(CalibrationView { basis: basis.clone(), findings: Vec::new() })))),
        _ => None,
    });
    assert!(matches!(screen.asked().pop(), Some(Request::Tune(_))), "plans are worked out from it");
}

#[test]
fn texts_are_copied_whole() {
    let screen = on_cpu("i1gb<enter>yDY");
    let copied: Vec<&str> =
        screen.effects.iter().filter_map(|e| if let Effect::Copy(text) = e { Some(text.as_str()) } else { None }).collect();
    let [full, diff, command] = copied[..] else { panic!("{copied:?}") };
    assert_eq!(full, "#cpu;1GiB;disk");
    assert!(diff.contains("disk>cpu"), "{diff}");
    assert!(command.starts_with("perilune run -m qwen-night ") && command.contains(" --virtual-vram 1GiB"), "{command}");
}

#[test]
fn donors_are_taken_in_and_out() {
    let card = |keys: &str| tuner(fixtures::busy(), DeviceId::Cuda(0), (120, 36), keys);
    let screen = card("i2gb<enter> l ");
    // The first space goes to the donors: cuda:1, cpu, disk; cpu was the only one, and stays so.
    assert_eq!(screen.model.offload.donors, [], "{:?}", screen.model.toasts);
    let screen = card("i2gb<enter>  ");
    assert_eq!(asked(&screen).donors, [DeviceId::Cpu, DeviceId::Cuda(1)]);
    let screen = card("icuda:0,1gb;cpu,*<enter>  ");
    let text = screen.model.offload.input.value().to_owned();
    assert!(text.starts_with("cuda:0,1GiB;cuda:1,") && text.ends_with(";cpu,*"), "{text}");
    let screen = screen.keys(" ");
    assert_eq!(screen.model.offload.input.value(), "cuda:0,1GiB;cpu,*");
}

#[test]
fn blocks_are_pinned_and_let_go() {
    let screen = on_cpu("i1gb<enter>b3<enter>ee");
    let pins = |screen: &Screen| screen.model.offload.pins.to_string();
    let home = |screen: &Screen| screen.model.offload.worked.as_ref().unwrap().outcome.as_ref().unwrap().plan.homes[3];
    // On the processor or the disk, and then on the device after that, around.
    let first = pins(&screen);
    assert!(["disk,3", "cuda:0,3", "cpu,3"].contains(&first.as_str()), "{first}");
    let mut screen = screen;
    while pins(&screen) != "disk,3" {
        screen = screen.keys("e");
    }
    assert_eq!(home(&screen), DeviceId::Disk);
    let screen = screen.keys("e");
    assert_eq!((pins(&screen).as_str(), home(&screen)), ("cpu,3", DeviceId::Cpu));
    let screen = screen.keys("<enter>");
    let (draft, problems) = screen.model.compose.draft();
    assert_eq!((draft.offload.pins.to_string().as_str(), problems), ("cpu,3", vec![]));
    assert!(perilune::workflow::command_line(&draft).ends_with("--virtual-vram 1GiB --pin-blocks cpu,3"), "{draft:?}");
    assert_eq!(pins(&screen.keys("x")), "");
    let screen = on_cpu("b0<enter>e");
    assert!(screen.model.toasts.iter().any(|t| t.text.contains("never leaves")));
}

#[test]
fn what_is_told_of_another_draft_is_not_taken() {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("7ll57l5");
    assert_eq!(screen.asked().len(), 2, "{:?}", screen.asked());
    screen.answer(told(DeviceId::Cpu));
    assert!(screen.model.offload.facts.is_none());
    screen.answer(told(DeviceId::Cpu));
    assert!(screen.model.offload.facts.is_some());
}

#[test]
fn every_width_shows_the_wish() {
    for (width, height) in [(60, 16), (80, 24), (99, 24), (100, 20), (120, 36), (160, 48), (250, 70)] {
        let mut screen = tuner(fixtures::busy(), DeviceId::Cpu, (width, height), "i2gb<enter>");
        let text = screen.text();
        assert!(text.contains("2gb") && text.contains("draft"), "{width}x{height}\n{text}");
    }
}

/// The row of a device in the memory's panel: its words.
fn memory_of(screen: &mut Screen, device: &str) -> Vec<String> {
    let text = screen.text();
    let rows = text.lines().skip_while(|line| !line.contains(" Memory "));
    let words = rows.map(|line| line.trim_matches('│').split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>());
    words
        .into_iter()
        .find(|words| words.first().is_some_and(|first| first == device))
        .unwrap_or_else(|| panic!("{device} is not in\n{text}"))
}

/// The tuner of the form's model with this changed in what it is told.
fn tuner_of(change: impl Fn(&mut TuneView), keys: &str) -> Screen {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("7ll5");
    let mut view = fixtures::tune(DeviceId::Cpu);
    change(&mut view);
    screen.answer(|request| match request {
        Request::Tune(_) => Some(Ok(Reply::Tune(Box::new(view.clone())))),
        _ => None,
    });
    screen.keys(keys)
}

/// Lets more of the processor be held, by text encoders and others.
fn hold(view: &mut TuneView, more: Bytes) {
    view.held[0].bytes += more;
    view.machine.rooms[2].free += more;
}

#[test]
fn a_draft_replaces_this_network_alone_and_whatever_else_is_held_stays() {
    // All that is held is in both, and nothing changes where the draft is what is loaded.
    let same = |view: &mut TuneView| {
        hold(view, Bytes::gib(4));
        view.active.as_mut().unwrap().plan.homes.fill(DeviceId::Cpu);
    };
    let mut screen = tuner_of(same, "");
    assert!(screen.text().contains("the same as what is loaded"), "{}", screen.text());
    assert_eq!(memory_of(&mut screen, "cpu")[1..5], ["23.4/31.2", "23.4/31.2", "+0", "B"]);
    // Another model comes beside what is there.
    let other = |view: &mut TuneView| view.active = None;
    assert_eq!(memory_of(&mut tuner_of(other, ""), "cpu")[1..], ["23.4/31.2", "26.9/31.2", "+3.4", "GiB", "2.8", "GiB", "ok"]);
    // Where there is no room for both, others leave, and that is said.
    let tight = |view: &mut TuneView| {
        view.active = None;
        view.held[0].bytes += Bytes::gib(4);
    };
    let row = memory_of(&mut tuner_of(tight, ""), "cpu");
    assert_eq!(row[1..], ["27.4/31.2", "29.6/31.2", "+2.2", "GiB", "0", "B", "ok,", "others", "leave"]);
}

#[test]
fn what_donors_take_is_told_as_they_were_given_it() {
    // Half of each block is stored.
    let halved = |view: &mut TuneView| {
        view.network.units.iter_mut().for_each(|unit| unit.stored = Bytes(unit.bytes.get() / 2));
        view.blocks.iter_mut().zip(&view.network.units).for_each(|(block, unit)| block.stored = unit.stored);
        view.active = None;
    };
    let mut screen = tuner(fixtures::busy(), DeviceId::Cuda(0), (160, 48), "");
    let mut view = fixtures::tune(DeviceId::Cuda(0));
    halved(&mut view);
    screen.model.offload.told(view);
    let mut screen = screen.keys("icuda:0,2gb;cuda:1,200mb;cpu,*<enter>");
    let worked = screen.model.offload.worked.clone().unwrap().outcome.unwrap();
    let blocks = &screen.model.offload.facts.as_ref().unwrap().view.blocks;
    let stored = |device| blocks.iter().zip(&worked.plan.homes).filter(|(_, home)| **home == device).map(|(b, _)| b.stored).sum::<Bytes>();
    let (card, host) = (stored(DeviceId::Cuda(1)), stored(DeviceId::Cpu));
    assert!(card > Bytes::mib(100) && card <= Bytes::mib(200), "{card}");
    let text = screen.text();
    assert!(text.contains(&format!("cuda:1 takes {card}, cpu takes {host}")), "{text}");
    assert!(text.contains(&format!("cpu +{host}")) && text.contains(&format!("cuda:1 +{card}")), "{text}");
}

#[test]
fn more_or_less_is_let_go_until_a_wish_that_does_not_fit_does() {
    // Of 3.4 GiB, 2.5 have room.
    let small = |view: &mut TuneView| {
        (view.active, view.machine.rooms[2].free) = (None, Bytes::mib(2560) + view.machine.rooms[2].reserve);
    };
    let fits = |screen: &Screen| screen.model.offload.worked.as_ref().unwrap().outcome.is_ok();
    for wish in ["", "100mb", "cpu,3400mb;disk,*", "cpu,99%;disk,1%", "disk,100mb;cpu,*", "cpu,0.11;disk,*"] {
        let mut screen = tuner_of(small, &format!("i{wish}<enter>"));
        assert!(!fits(&screen), "{wish}");
        let mut pressed = 0;
        while !fits(&screen) {
            pressed += 1;
            screen = screen.keys("+");
            assert!(pressed < 20 && screen.model.toasts.is_empty(), "{wish}: {:?} {:?}", screen.model.offload.input, screen.model.toasts);
        }
        assert!(pressed > 1, "{wish} becomes {} at once", screen.model.offload.input.value());
    }
    // Where donors have too little room, less is let go.
    let mut screen = on_cpu("icpu,2gb;disk,500mb<enter>");
    for _ in 0..6 {
        screen = screen.keys("-");
    }
    assert!(fits(&screen), "{:?}", screen.model.offload.input);
}

#[test]
fn what_cannot_be_taken_stays_to_be_mended() {
    let told = |screen: &Screen| screen.model.toasts.last().map(|t| t.text.clone()).unwrap_or_default();
    let mut screen = on_cpu("i1gb<enter>i<backspace><backspace>gigs<enter>");
    assert!(told(&screen).starts_with("not taken: `gigs` is not a unit"), "{}", told(&screen));
    assert!(screen.model.offload.typing.is_some() && screen.text().contains("`gigs` is not a unit"), "{}", screen.text());
    let screen = screen.keys("<esc>");
    assert_eq!((screen.model.offload.input.value(), screen.model.offload.typing.is_none()), ("1gb", true));
    for (keys, left) in [("b999<enter>", "999"), ("f8gigs<enter>", "8gigs"), ("w<ctrl-u>a/b<enter>", "a/b")] {
        let mut screen = on_cpu(&format!("i1gb<enter>{keys}"));
        assert!(screen.model.offload.typing.is_some() && screen.text().contains(left) && !told(&screen).is_empty(), "{keys}");
        screen = screen.keys("<esc>");
        assert!(screen.model.offload.typing.is_none(), "{keys}");
    }
}

#[test]
fn a_draft_that_makes_no_plan_has_no_memory_to_show() {
    for keys in ["icpu,1gb;mps,*", "icpu,2gb;disk,500mb<enter>"] {
        let mut screen = on_cpu(keys);
        assert_eq!(memory_of(&mut screen, "cpu")[1..], ["23.4/31.2", "--", "--", "--", "no", "plan"]);
        assert_eq!(memory_of(&mut screen, "disk")[1..], ["--"]);
    }
}

#[test]
fn what_follows_from_a_wish_is_shown_on_every_screen_that_has_24_rows() {
    for (width, height) in [(80, 24), (99, 30), (100, 24), (100, 29), (100, 30), (120, 28), (120, 30), (132, 24), (139, 33), (160, 24)] {
        let mut screen = tuner(fixtures::busy(), DeviceId::Cpu, (width, height), "i2gb<enter>");
        let text = screen.text();
        for part in ["draft ", "all away ", "What if", "than with what is loaded", "enter asks for it in the Run form"] {
            assert!(text.contains(part), "{width}x{height} lacks {part}\n{text}");
        }
        let mut screen = screen.keys("T");
        screen.answer(|request| matches!(request, Request::Submit(_)).then(|| Ok(Reply::Accepted(JobId(41)))));
        let mut screen = screen.later(60);
        assert!(screen.text().contains("trial: job 41 "), "{width}x{height}\n{}", screen.text());
    }
}

#[test]
fn what_was_wished_for_another_job_is_nothing_to_go_back_to() {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("6O");
    screen.answer(told(DeviceId::Cpu));
    let screen = screen.keys("i3mib<enter>i<ctrl-u>5mib<enter>u");
    assert_eq!(screen.model.offload.input.value(), "3mib");
    let mut screen = screen.keys("6jO");
    screen.answer(told(DeviceId::Cpu));
    let screen = screen.keys("u");
    assert_eq!(screen.model.offload.input.value(), "");
    assert!(screen.model.toasts.iter().any(|toast| toast.text.contains("nothing to undo")));
}

#[test]
fn a_job_that_is_submitted_is_the_operators() {
    let open = |keys: &str| {
        let options = Options { operator: Some("bo".to_owned()), ..options() };
        let mut screen = Screen::with(options, 80, 24).told(fixtures::busy()).keys(keys);
        screen.answer(told(DeviceId::Cpu));
        screen
    };
    let owner = |screen: Screen| match screen.asked().pop() {
        Some(Request::Submit(draft)) => draft.owner,
        other => panic!("{other:?}"),
    };
    // One that is like another's, one that tries a wish for another's, and one that tries a wish of the form.
    for (opened, then) in [("6d", "<ctrl-s>"), ("6jO", "i1gb<enter>T"), ("7ll5", "i1gb<enter>T")] {
        assert_eq!(owner(open(opened).keys(then)).as_deref(), Some("bo"), "{opened}{then}");
    }
}

#[test]
fn everything_about_a_simulated_gpu_says_so() {
    let sim = DeviceId::Sim(0);
    for (width, height) in [(80, 24), (160, 48)] {
        let mut screen = tuner(fixtures::busy(), DeviceId::Cpu, (width, height), "");
        let mut real = fixtures::tune(DeviceId::Cpu);
        real.machine.rooms.push(Room { device: sim, ..real.machine.rooms[0] });
        screen.model.offload.told(real);
        assert!(!screen.text().contains("sim:0"), "nothing real uses simulated memory\n{}", screen.text());
        let mut view = fixtures::tune(sim);
        let card = view.machine.rooms[0];
        view.machine.rooms.push(Room { device: sim, ..card });
        screen.model.offload.told(view);
        let mut screen = screen.keys("i1gb<enter>");
        assert_eq!(memory_of(&mut screen, "sim:0")[1], "SIMULATED");
        let text = screen.text();
        for part in ["0 sim:0 SIMULATED, c cpu", "A step ─ SIMULATED, ", "/24.0 "] {
            assert!(text.contains(part), "{width}x{height} lacks {part}\n{text}");
        }
    }
}
