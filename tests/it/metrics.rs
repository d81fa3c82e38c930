//! Metrics: what they say, what they never say, who may read them, and that Prometheus takes them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use perilune::cli::exposition;
use perilune::units::Bytes;
use perilune::wire::ConversionView;
use perilune::wire::status::CacheView;
use prometheus_parse::{Scrape, Value};

use super::support::daemon::Home;
use super::support::fixtures;
use super::support::wait::{until, until_true};

/// Reads the text back.
fn scrape(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|l| Ok(l.to_owned()))).unwrap()
}

/// The sample of this name whose labels are these, among others.
fn sample(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let scrape = scrape(text);
    let mut fitting = scrape.samples.iter().filter(|s| s.metric == name && labels.iter().all(|(l, v)| s.labels.get(l) == Some(v)));
    let found = fitting.next()?;
    assert!(fitting.next().is_none(), "{name} {labels:?} is there twice");
    match found.value {
        Value::Counter(v) | Value::Gauge(v) | Value::Untyped(v) => Some(v),
        _ => panic!("{name} is no single value"),
    }
}

/// Has Prometheus' own tool look at the text, where it is installed; what it would say of names is looked at everywhere.
#[expect(clippy::disallowed_methods, reason = "the judge is a program of its own")]
fn check(text: &str) {
    check_without_promtool(text);
    let started =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            // Past the test's own standard error, which is shown only where it fails.
            let told =
                format!("promtool is not installed ({error}): metrics are read with prometheus-parse alone; apt install prometheus\n");
            std::io::stderr().write_all(told.as_bytes()).unwrap();
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

/// The rules of promtool's linter that our names could break.
fn check_without_promtool(text: &str) {
    let scrape = scrape(text);
    assert!(scrape.samples.len() > 20, "{text}");
    let types: BTreeSet<(&str, &str)> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert_eq!(types.len(), text.matches("# HELP ").count());
    for (name, kind) in types {
        assert!(name.starts_with("perilune_") && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        for unit in ["_gib", "_mb", "_ms", "_percent", "_mhz", "_celsius_", "_gauge", "_milliseconds"] {
            assert!(!name.contains(unit), "{name}");
        }
    }
    let distinct: BTreeSet<String> = scrape.samples.iter().map(|s| format!("{}{:?}", s.metric, s.labels)).collect();
    assert_eq!(distinct.len(), scrape.samples.len(), "a sample is there twice");
}

#[test]
fn a_busy_box_is_told_in_base_units() {
    let mut status = fixtures::busy();
    status.conversions =
        vec![fixtures::conversion(), ConversionView { running: true, done: Bytes::gib(1), bytes: Bytes::gib(3), ..fixtures::conversion() }];
    status.cache = CacheView { count: 2, bytes: Bytes::gib(5), by_precision: [("nf4".to_owned(), Bytes::gib(5))].into() };
    let text = exposition::text(&status).unwrap();
    check(&text);
    let gib = |g: f64| Some(g * 1024.0 * 1024.0 * 1024.0);
    let near =
        |found: Option<f64>, expected: Option<f64>| assert!((found.unwrap() - expected.unwrap()).abs() < 1e7, "{found:?} {expected:?}");
    let memory = |part| sample(&text, "perilune_device_memory_bytes", &[("device", "cuda:0"), ("part", part)]);
    near(memory("weights"), gib(18.5));
    near(memory("activations"), gib(3.4));
    near(memory("others"), gib(23.7 - 18.5 - 3.4));
    near(memory("free"), gib(0.3));
    near(sample(&text, "perilune_device_memory_bytes", &[("device", "cpu"), ("part", "donated")]), gib(19.6));
    near(sample(&text, "perilune_set_bytes", &[("set", "qwen-night"), ("component", "vae")]), gib(0.1));
    near(sample(&text, "perilune_set_planned_bytes", &[("set", "qwen-night"), ("component", "vae")]), gib(0.2));
    near(sample(&text, "perilune_conversions_left_bytes", &[]), gib(2.0));
    near(sample(&text, "perilune_cache_bytes", &[("precision", "nf4")]), gib(5.0));
    for (name, labels, expected) in [
        ("perilune_device_utilization_ratio", ("device", "cuda:0"), 0.93),
        ("perilune_device_temperature_celsius", ("device", "cuda:0"), 81.0),
        ("perilune_device_power_watts", ("device", "cuda:0"), 402.0),
        ("perilune_jobs", ("state", "queued"), 2.0),
        ("perilune_jobs", ("state", "held"), 1.0),
        ("perilune_jobs", ("state", "failed"), 1.0),
        ("perilune_conversions", ("state", "waiting"), 1.0),
        ("perilune_conversions", ("state", "running"), 1.0),
        ("perilune_set_in_use", ("set", "qwen-night"), 1.0),
        ("perilune_device_up", ("device", "cuda:1"), 1.0),
    ] {
        assert_eq!(sample(&text, name, &[labels]), Some(expected), "{name}");
    }
    assert_eq!(sample(&text, "perilune_jobs_done_total", &[]), Some(38.0));
    assert_eq!(sample(&text, "perilune_device_clock_hertz", &[("device", "cuda:0"), ("clock", "sm")]), Some(2.52e9));
}

#[test]
fn what_cannot_be_read_has_no_sample() {
    let text = exposition::text(&fixtures::broken()).unwrap();
    check(&text);
    for lost in ["cuda:3", "cuda:4", "cuda:5"] {
        assert_eq!(sample(&text, "perilune_device_up", &[("device", lost)]), Some(0.0));
        assert_eq!(sample(&text, "perilune_device_temperature_celsius", &[("device", lost)]), None, "{lost}");
        assert_eq!(sample(&text, "perilune_device_memory_size_bytes", &[("device", lost)]), None, "{lost}");
    }
    check(&exposition::text(&fixtures::empty()).unwrap());
}

#[test]
fn no_label_is_a_prompt_or_a_path() {
    let mut status = fixtures::busy();
    status.sets[0].name = "/srv/models/ana/secret/night.safetensors".to_owned();
    status.conversions = vec![fixtures::conversion()];
    let text = exposition::text(&status).unwrap();
    for secret in ["red fox", "lighthouse", "/srv", "/models", "dream", "secret", "ana\"", "/home"] {
        assert!(!text.contains(secret), "{secret}\n{text}");
    }
    assert!(text.contains(r#"set="night.safetensors""#));
}

/// What a scraper hears.
fn get(address: SocketAddr, request: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(request.as_bytes()).ok()?;
    let mut heard = String::new();
    socket.read_to_string(&mut heard).ok()?;
    Some(heard)
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn the_daemon_answers_prometheus_on_loopback() {
    let mut home = Home::empty();
    let address = free_port();
    home.start_with(&["--metrics", &address.port().to_string()]);
    let answer = until("metrics", || get(address, "GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n").filter(|a| a.starts_with("HTTP/1.1 200")));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    check(body);
    assert_eq!(sample(body, "perilune_device_up", &[("device", "cpu")]), Some(1.0));
    // The command says the same, once there were two readings to tell a rate from.
    let names = |text: &str| scrape(text).docs.into_keys().collect::<BTreeSet<_>>();
    until_true("both to say the same", || {
        let printed = home.run(&["metrics"]).ok();
        let answered = get(address, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        names(&printed) == names(answered.split_once("\r\n\r\n").unwrap().1)
    });
    check(&home.run(&["metrics"]).ok());
    assert!(get(address, "GET / HTTP/1.0\r\n\r\n").unwrap().contains("/metrics"));
    assert!(get(address, "GET /else HTTP/1.0\r\n\r\n").unwrap().starts_with("HTTP/1.0 404"));
    assert!(get(address, "POST /metrics HTTP/1.0\r\n\r\n").unwrap().starts_with("HTTP/1.0 405"));
    // Nonsense, and one that says nothing, hold up nobody.
    let _silent = TcpStream::connect(address).unwrap();
    get(address, "\u{0}\u{1}nonsense\r\n\r\n");
    assert!(get(address, "GET /metrics HTTP/1.0\r\n\r\n").unwrap().contains("perilune_build_info"));
    home.run(&["stop"]).ok();
    assert!(home.daemon().wait().unwrap().success());
    let log =
        fs::read_dir(home.path().join("state/logs")).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap()).collect::<String>();
    assert!(log.contains(&format!("metrics at http://{address}/metrics")), "{log}");
}

#[test]
fn other_machines_read_only_where_the_operator_says_so() {
    let home = Home::empty();
    home.run(&["serve", "--metrics", "0.0.0.0:0"]).refused(2, "0.0.0.0:0 can be reached from other machines");
    home.run(&["serve", "--metrics", "box:9"]).refused(2, "invalid value 'box:9'");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.run(&["serve", "--metrics", &address]).refused(1, &format!("{address} cannot be listened on"));
    assert!(!home.socket().exists(), "a daemon that cannot do all it was told does not start");
}
