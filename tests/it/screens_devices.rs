//! One device as users see it, and what can be told to a process that holds its memory.

use perilune::devices::{DeviceReading, DiskReading, HostReading, MeasuredSpeed};
use perilune::tui::Options;
use perilune::units::{Bytes, DeviceId, Timestamp};
use perilune::wire::{Change, ProcessSignal, Reply, Request, SignalAsk, Status};

use super::screens::{Styles, check, check_everywhere};
use super::support::fixtures;
use super::support::screen::{Screen, options};

fn disks() -> Vec<DiskReading> {
    let disk = |mount: &str, gib: u64, read: Option<f64>| DiskReading {
        mount: mount.to_owned(),
        total: Bytes::gib(gib),
        free: Bytes::gib(gib / 3),
        read_bps: read,
        write_bps: read.map(|r| r / 9.0),
        measured: (mount == "/models").then_some(MeasuredSpeed { read_bps: 3.2e9, time: Timestamp(fixtures::NOW.0 - 190_000_000) }),
        why: read.is_none().then(|| "it lies on no disk of its own that counts what is read".to_owned()),
    };
    vec![disk("/models", 1863, Some(2.1e9)), disk("/home", 512, Some(0.0)), disk("/run", 63, None)]
}

fn with_disks(status: Status) -> Status {
    let mut status = Status { host: HostReading { disks: disks(), ..status.host.clone() }, ..status };
    for disk in status.devices.iter_mut().filter(|d| d.id == DeviceId::Disk) {
        disk.name = Some("/models".to_owned());
    }
    status
}

/// The screen after a box has worked for a while.
fn lived(mut screen: Screen, status: &Status, seconds: i64) -> Screen {
    for second in 1..=seconds {
        screen = screen.later(1);
        let wave = |phase: i64| 0.5 + 0.45 * ((second + phase) as f64 / 7.0).sin();
        let lived = |d: &DeviceReading| DeviceReading {
            utilization: d.utilization.map(|_| wave(0)),
            power_w: d.power_w.map(|w| w * wave(3) * 1.2),
            temperature_c: d.temperature_c.map(|t| t - 4.0 + 4.0 * wave(9)),
            ..d.clone()
        };
        let devices = status.devices.iter().map(lived).collect();
        screen.hear(Change::Devices { devices, host: Box::new(status.host.clone()) });
    }
    screen.effects.clear();
    screen
}

fn on(status: &Status, options: Options, width: u16, height: u16) -> Screen {
    lived(Screen::with(options, width, height).told(status.clone()).keys("2"), status, 90)
}

#[test]
fn devices() {
    check_everywhere("devices_empty", Styles::Not, |options, w, h| Screen::with(options, w, h).told(fixtures::empty()).keys("2"));
    let busy = with_disks(fixtures::busy());
    check_everywhere("devices_busy", Styles::Too, |options, w, h| on(&busy, options, w, h).keys("j"));
    check_everywhere("devices_error", Styles::Not, |options, w, h| on(&fixtures::broken(), options, w, h).keys("]]"));
    check("devices_cpu", |w, h| on(&busy, options(), w, h).keys("]]]tt"));
    check("devices_disk", |w, h| on(&busy, options(), w, h).keys("[t"));
    check("devices_mig", |w, h| on(&busy, options(), w, h).keys("]]"));
    check("devices_never_up", |w, h| Screen::open(w, h).down().keys("2"));
}

#[test]
fn a_disk_that_nobody_measured_names_the_key_that_does() {
    let mut status = with_disks(fixtures::busy());
    status.host.disks[0].measured = None;
    let text = on(&status, options(), 120, 36).keys("[").text();
    assert!(text.contains("measured  --  5 B measures how fast it reads"), "{text}");
}

#[test]
fn what_opens_above_a_device() {
    let busy = with_disks(fixtures::busy());
    check("devices_signals", |w, h| on(&busy, options(), w, h).keys("jxj"));
    check("devices_confirm", |w, h| on(&busy, options(), w, h).keys("jxjj<enter>"));
}

#[test]
fn signals_go_to_a_process_by_number_and_start() {
    let busy = fixtures::busy();
    let mut screen = on(&busy, options(), 120, 36).keys("jx");
    // The list changes under the operator: the process stays the same one.
    let mut moved = busy.clone();
    moved.devices[0].processes.reverse();
    screen.hear(Change::Devices { devices: moved.devices, host: Box::new(moved.host) });
    screen.effects.clear();
    screen = screen.keys("<enter>");
    assert!(screen.text().contains("Send TERM to process 991 (Xorg)?"), "{}", screen.text());
    screen = screen.keys("y");
    let ask = SignalAsk { pid: 991, start_ticks: 4_711_000, signal: ProcessSignal::Terminate };
    assert_eq!(screen.asked(), [Request::Signal(ask)]);
    screen.answer(|_| Some(Ok(Reply::Done)));
    assert!(screen.text().contains("sent TERM to process 991"));
}

#[test]
fn engines_and_what_cannot_be_seen_are_told_nothing() {
    let busy = fixtures::busy();
    let screen = on(&busy, options(), 120, 36).keys("x");
    assert!(screen.asked().is_empty());
    assert!({ screen }.text().contains("is our engine; cancel its job in the queue"));
    let mut screen = on(&busy, options(), 120, 36).keys("Gx");
    assert!(screen.text().contains("cannot be seen from here"), "{}", screen.text());
    screen = on(&busy, options(), 120, 36).keys("jx");
    let gone = DeviceReading { processes: Vec::new(), ..busy.devices[0].clone() };
    screen.hear(Change::Devices { devices: vec![gone], host: Box::new(busy.host.clone()) });
    assert!(screen.keys("<enter>").text().contains("is not there any more"));
}

#[test]
fn the_bus_is_measured_of_the_device_that_is_looked_at() {
    let busy = fixtures::busy();
    let screen = Screen::with(options(), 120, 36).told(busy.clone()).keys("2");
    assert_eq!(screen.asked(), [Request::Watch(Some(DeviceId::Cuda(0)))]);
    let mut screen = screen.keys("]");
    screen.answer(|_| Some(Ok(Reply::Done)));
    screen = screen.keys("]]");
    assert_eq!(screen.asked(), [Request::Watch(Some(DeviceId::Cuda(2))), Request::Watch(None)], "the host has none");
    screen.effects.clear();
    assert_eq!(screen.keys("[[[1").asked().last(), Some(&Request::Watch(None)));
}

#[test]
fn details_of_a_device_call_absent_values_by_words() {
    let mut status = fixtures::busy();
    status.devices[0].why.insert("clocks.mem_mhz".to_owned(), "not measured here".to_owned());
    status.devices[0].why.insert("something_quite_new".to_owned(), "nobody knows".to_owned());
    let text = Screen::on(status, 80, 40).keys("1<enter>G").text();
    assert!(text.contains("mem clock   not measured here") && text.contains("something quite new "), "{text}");
}
