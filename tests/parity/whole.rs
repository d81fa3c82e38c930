//! Everything at once: the command, a real daemon in a home of its own, a real engine, the embedded model.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use perilune::imagery::png_text;
use perilune::jobs::{JobState, JobView};
use perilune::units::JobId;
use perilune::wire::control::{Asked, Topics};
use perilune::wire::hello::HelloFrame;
use perilune::wire::{Change, Hello, Limit, Request, ServerFrame, blocking};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The longest that anything is waited for; this machine may be busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// A home of its own. Dropped, its daemon and engines end.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("lune").tempdir().unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perilune"));
        command.args(arguments).arg("--json").env("PERILUNE_HOME", self.0.path());
        command.env("PERILUNE_NVML", self.0.path().join("no-nvml.so")).env("PERILUNE_ENGINE", env!("CARGO_BIN_EXE_perilune-engine"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed; returns the last line that it prints.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    /// Submits a run and listens to what becomes of it, from before its first step on: it waits until somebody listens.
    #[track_caller]
    fn submit(&self, run: &[&str]) -> Follower {
        self.run(&["queue", "pause"]);
        let job = self.run(&[run, &["--detach"]].concat())["job"].as_i64().unwrap();
        let mut follower = self.follow(JobId(job));
        follower.until("it is listened to", |view| view.state == JobState::Queued);
        self.run(&["queue", "resume"]);
        follower
    }

    /// Listens to what becomes of a job.
    #[track_caller]
    fn follow(&self, job: JobId) -> Follower {
        let mut socket = UnixStream::connect(self.0.path().join("run/daemon.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        blocking::write(&mut socket, &Hello::ours(), Limit::CONTROL).unwrap();
        let HelloFrame { hello } = blocking::read(&mut socket, Limit::CONTROL).unwrap().unwrap();
        hello.check().unwrap();
        let request = Request::Subscribe(Topics { job: Some(job), ..Topics::default() });
        blocking::write(&mut socket, &Asked { id: 1, request }, Limit::CONTROL).unwrap();
        Follower { socket, job, view: None }
    }

    fn engine(&self) -> Pid {
        pid(&self.run(&["status"])["engines"][0]["pid"])
    }
}

/// One connection over which a job's changes come as they happen.
struct Follower {
    socket: UnixStream,
    job: JobId,
    view: Option<JobView>,
}

impl Follower {
    /// Waits until something is true of the job. It must not have ended otherwise.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&JobView) -> bool) -> JobView {
        loop {
            if let Some(view) = self.view.as_ref() {
                if holds(view) {
                    return view.clone();
                }
                assert!(!view.state.is_final(), "waited until {what}: {view:?}");
            }
            let frame: Option<ServerFrame> = blocking::read(&mut self.socket, Limit::CONTROL).unwrap();
            let ServerFrame::Event(event) = frame.unwrap_or_else(|| panic!("the daemon hung up")) else { continue };
            match event.change {
                Change::Snapshot(status) => self.view = status.queue.jobs.into_iter().find(|view| view.job == self.job),
                Change::Job(view) if view.job == self.job => self.view = Some(*view),
                Change::Progress { job, progress, .. } if job == self.job => {
                    if let Some(view) = &mut self.view {
                        view.progress = Some(progress);
                    }
                }
                _ => {}
            }
        }
    }

    /// Waits until the job has finished a step.
    #[track_caller]
    fn until_it_steps(&mut self) {
        self.until("it has finished a step", |view| view.progress.is_some_and(|p| p.step > 0));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // It may never have been started.
        drop(self.command(&["stop"]).output());
    }
}

/// The diffusion network's bytes on each device, as a plan or the loaded sets have them.
fn bytes_by_device(rows: &Value, device: &str, bytes: &str, is_meant: impl Fn(&Value) -> bool) -> BTreeMap<String, u64> {
    let rows = rows.as_array().unwrap().iter().filter(|row| is_meant(row));
    rows.map(|row| (row[device].as_str().unwrap().to_owned(), row[bytes].as_u64().unwrap())).collect()
}

fn pid(number: &Value) -> Pid {
    Pid::from_raw(number.as_i64().unwrap().try_into().unwrap()).unwrap()
}

fn pictures(ended: &Value) -> Vec<PathBuf> {
    ended["images"].as_array().unwrap().iter().map(|i| i["path"].as_str().unwrap().into()).collect()
}

#[test]
fn one_command_paints_with_the_embedded_model() {
    let home = Home::new();
    let folder = home.0.path().join("pictures");
    let ended = home.run(&["demo", "-o", folder.to_str().unwrap()]);
    assert_eq!((&ended["state"], &ended["precision"]), (&"done".into(), &"fp32".into()), "{ended}");
    let paths = pictures(&ended);
    let names: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, paths, "the picture and nothing else");

    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(&paths[0]).unwrap()));
    let reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (64, 64));
    let text = reader.info().uncompressed_latin1_text.iter().find(|t| t.keyword == png_text::PARAMETERS).unwrap();
    assert!(text.text.starts_with("a full moon over the sea"), "{}", text.text);

    let asked = &ended["placement"]["asked"][0];
    assert_eq!((asked, &asked["device"]), (&ended["placement"]["measured"][0], &"cpu".into()));
    let sets = home.run(&["sets", "list"]);
    assert_eq!(sets[0]["name"], "moonlet");
    let devices = home.run(&["devices"]);
    let cpu = devices["devices"].as_array().unwrap().iter().find(|d| d["id"] == "cpu").unwrap();
    let held: u64 = cpu["held"].as_array().unwrap().iter().map(|h| h["bytes"].as_u64().unwrap()).sum();
    assert_eq!(Some(held), asked["bytes"].as_u64(), "what is shown on the device is what was measured");
}

#[test]
fn a_killed_engine_costs_one_attempt_and_a_new_one_paints_the_same() {
    let home = Home::new();
    let run = ["run", "-m", "moonlet", "-p", "a crescent moon over mountains", "--seed", "7", "--sampler", "euler"];
    let first = home.run(&run);
    let bytes = fs::read(&pictures(&first)[0]).unwrap();

    // The engine stays for the next job.
    let engine = home.engine();
    let mut follower = home.submit(&[&run[..], &["--steps", "1000"]].concat());
    follower.until_it_steps();
    kill_process(engine, Signal::KILL).unwrap();
    follower.until("it is tried again", |view| view.attempts == 2 && view.state == JobState::Running);
    home.run(&["queue", "cancel", &follower.job.0.to_string()]);
    let ended = follower.until("it is cancelled", |view| view.state == JobState::Cancelled);
    assert!(ended.images.is_empty());

    let again = home.run(&run);
    assert_eq!(fs::read(&pictures(&again)[0]).unwrap(), bytes, "another engine paints the same bytes");
    let names: Vec<String> =
        fs::read_dir(home.0.path().join("output")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "nothing was left of the killed one: {names:?}");
}

#[test]
fn an_engine_that_is_killed_while_it_streams_costs_an_attempt_and_not_a_bit() {
    let home = Home::new();
    let run = ["run", "-m", "moonlet", "-p", "a new moon over a river", "--seed", "5", "--steps", "400", "--size", "64x64"];
    let asked = |more: &[&'static str]| [&run[..], &["--compute-device", "cpu"], more].concat();
    let bytes = |path: &Path| fs::read(path).unwrap();
    let resident = home.run(&asked(&[]));
    // The engine stays for the next job; asking for it later could take longer than the job.
    let engine = home.engine();
    let streams = ["--virtual-vram", "1GiB", "--virtual-vram", "clip=1GiB", "--virtual-vram", "vae=1GiB"];
    let mut follower = home.submit(&asked(&streams));
    follower.until_it_steps();
    kill_process(engine, Signal::KILL).unwrap();
    let ended = follower.until("it is done", |view| view.state == JobState::Done);
    assert_eq!((ended.attempts, ended.images.len(), &ended.failure), (2, 1, &None));
    assert!(bytes(&ended.images[0].path) == bytes(&pictures(&resident)[0]), "another engine streams to the same bytes");
    let placement = ended.placement.unwrap();
    assert_eq!(placement.asked, placement.measured);
    let over: u64 = placement.streamed_over.iter().map(|over| over.bytes_per_step.get()).sum();
    assert!(
        over == placement.streamed_bytes_per_step.get()
            && placement.streamed_over.iter().all(|o| ["disk", "page cache"].contains(&&*o.link))
    );
    assert!(placement.streamed_bytes_per_step.get() > 0 && placement.parts.iter().all(|part| part.streamed_bytes.get() > 0));
    let names: Vec<PathBuf> = fs::read_dir(home.0.path().join("output")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names.len(), 2, "nothing was left of the killed one: {names:?}");
}

#[test]
fn the_daemon_s_end_ends_its_engine_and_the_next_one_goes_on() {
    let home = Home::new();
    let run = ["run", "-m", "moonlet", "-p", "a half moon over the desert", "--size", "64x64", "--steps"];
    home.run(&[&run[..], &["1"]].concat());
    let (engine, daemon) = (home.engine(), pid(&home.run(&["status"])["daemon"]["pid"]));
    let mut follower = home.submit(&[&run[..], &["400"]].concat());
    follower.until_it_steps();
    kill_process(daemon, Signal::KILL).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while test_kill_process(engine).is_ok() {
        assert!(Instant::now() < deadline, "the engine outlives its daemon");
        std::thread::yield_now();
    }
    // The next command starts a daemon, which knows the job.
    home.run(&["status"]);
    let ended = home.follow(follower.job).until("it is done", |view| view.state == JobState::Done);
    assert_eq!((ended.images.len(), ended.attempts), (1, 2), "{ended:?}");
}

#[test]
fn flags_have_text_encoder_and_autoencoder_stream_to_the_same_picture() {
    let home = Home::new();
    // A text that is kept needs no encoder, wherever that is to live.
    fs::write(home.0.path().join("config.yaml"), "embeddings_cache: 0\n").unwrap();
    let job = ["-p", "a full moon", "--seed", "7", "--steps", "3", "--size", "64x64", "--compute-device", "cpu"];
    let flags = ["--virtual-vram", "clip=1GiB", "--donor-device", "clip=disk", "--expert-mode-allocations", "vae=cpu,50%;disk,*"];
    let run = |more: &[&str]| home.run(&[&["run", "-m", "moonlet"][..], &job, more].concat());
    let bytes = |ended: &Value| fs::read(&pictures(ended)[0]).unwrap();
    let resident = run(&[]);
    let planned = home.run(&[&["plan", "moonlet", "--size", "64x64", "--compute-device", "cpu"][..], &flags].concat());
    let ended = run(&flags);
    assert!(bytes(&ended) == bytes(&resident), "{ended}");
    let sets = home.run(&["sets", "list"]);
    for (part, plan) in [("clip_l", &planned["parts"][0]), ("vae", &planned["parts"][1])] {
        let planned = bytes_by_device(&plan["devices"], "id", "held", |_| true);
        let done = bytes_by_device(&sets[0]["components"], "device", "planned", |row| row["role"] == part);
        assert!(done["disk"] == planned["disk"] && planned["disk"] > 0, "{part}: {planned:?} {done:?}");
        let told = ended["placement"]["parts"].as_array().unwrap().iter().find(|p| p["part"] == part).unwrap();
        let measured = bytes_by_device(&told["measured"], "device", "bytes", |_| true);
        assert!(told["asked"] == told["measured"] && measured["disk"] == planned["disk"], "{told}");
        // What encodes pictures comes only where a run starts from one.
        let is_used = |block: &&Value| block["device"] == "disk" && !block["name"].as_str().unwrap().starts_with("encoder.");
        let used: u64 = plan["blocks"].as_array().unwrap().iter().filter(is_used).map(|block| block["stored"].as_u64().unwrap()).sum();
        assert!(used > 0 && told["streamed_bytes"].as_u64() >= Some(used), "{told}");
    }
    assert_eq!(ended["placement"]["asked"], ended["placement"]["measured"]);
    // It is asked again with what the job keeps.
    let again = home.run(&["queue", "show", &ended["job"].to_string()]);
    assert_eq!(again["spec"]["parts"]["clip"]["donors"], serde_json::json!(["disk"]));
}

#[test]
fn what_is_planned_is_what_is_done() {
    let home = Home::new();
    let flags = ["--size", "64x64", "--virtual-vram", "5MiB", "--donor-device", "disk", "--compute-device", "cpu"];
    let plan = || home.run(&[&["plan", "moonlet"][..], &flags].concat());
    let run = || home.run(&[&["run", "-m", "moonlet", "-p", "a full moon", "--seed", "7", "--steps", "12"][..], &flags].concat());
    let before = plan();
    assert_eq!((&before["predicted"]["calibrated"], &before["loaded"]), (&false.into(), &false.into()), "{before}");
    let planned = bytes_by_device(&before["devices"], "id", "held", |_| true);
    assert!(planned.len() == 2 && planned["disk"] > 0, "{before}");
    let ended = run();
    let sets = home.run(&["sets", "list"]);
    let done = bytes_by_device(&sets[0]["components"], "device", "planned", |part| part["role"] == "denoiser");
    assert_eq!(done, planned, "{ended}");
    let asked = bytes_by_device(&ended["placement"]["asked"], "device", "bytes", |_| true);
    assert_eq!((Some(asked["disk"]), asked["disk"]), (before["streamed_bytes_per_step"].as_u64(), planned["disk"]));

    let after = plan();
    assert_eq!((&after["predicted"]["rests_on"][0]["on"], &after["loaded"]), (&"steps".into(), &true.into()), "{after}");
    assert_eq!(bytes_by_device(&after["devices"], "id", "held", |_| true), planned, "the engine keeps what it has");
    assert_eq!(run()["placement"]["asked"], ended["placement"]["asked"]);

    // Blocks this small teach nothing about the disk; measured on purpose, it is known.
    home.run(&["calibrate", "moonlet", "--compute-device", "cpu"]);
    let measured = plan();
    assert_eq!((&measured["predicted"]["calibrated"], &measured["loaded"]), (&true.into(), &false.into()), "{measured}");
    assert_eq!(run()["placement"]["predicted"]["calibrated"], true);
    assert_eq!(plan()["predicted"]["history"]["runs"], 1);

    // Another daemon and another engine know it, too, and place by what is shown.
    home.run(&["stop"]);
    let fresh = plan();
    assert_eq!((&fresh["predicted"]["calibrated"], &fresh["loaded"]), (&true.into(), &false.into()), "{fresh}");
    let last = run();
    assert_eq!(last["placement"]["predicted"]["calibrated"], true);
    let planned = bytes_by_device(&fresh["devices"], "id", "held", |_| true);
    let asked = bytes_by_device(&last["placement"]["asked"], "device", "bytes", |_| true);
    assert_eq!(asked["disk"], planned["disk"], "{fresh} {last}");
    assert_eq!(last["placement"]["predicted"]["step_s"], fresh["predicted"]["step_s"], "one way to foretell");
}

/// The pixels of a picture.
fn pixels(path: &PathBuf) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

#[test]
fn a_run_in_eight_bits_is_converted_once_and_paints_nearly_the_same() {
    let home = Home::new();
    let run = ["run", "-m", "moonlet", "-p", "a full moon over the sea", "--seed", "7", "--sampler", "euler", "--steps", "12"];
    let plain = pixels(&pictures(&home.run(&run))[0]);
    let eight_bits = [&run[..], &["--precision", "Q8_0"]].concat();
    let first = home.run(&eight_bits);
    let painted = pixels(&pictures(&first)[0]);
    let squares: f64 = plain.iter().zip(&painted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let psnr = 10.0 * (255.0_f64.powi(2) * plain.len() as f64 / squares).log10();
    assert!(psnr.is_finite() && psnr > 30.0, "a peak signal-to-noise ratio of {psnr} dB");

    let spec = |ended: &Value| home.run(&["queue", "show", &ended["job"].to_string()])["spec"].clone();
    let made = spec(&first)["conversion"]["result"].as_str().unwrap().to_owned();
    assert!(made.ends_with("models/diffusion_models/gguf/moonlet_Q8_0.gguf"), "{made}");
    let written = fs::metadata(&made).unwrap().modified().unwrap();
    let second = home.run(&eight_bits);
    assert_eq!(spec(&second)["conversion"]["result"], made.as_str());
    assert_eq!(fs::metadata(&made).unwrap().modified().unwrap(), written, "it was not made again");
    assert!(pixels(&pictures(&second)[0]) == painted, "the same to the bit");
    let held = home.run(&["sets", "list"])[0]["components"].as_array().unwrap().iter().map(|c| c["bytes"].as_u64().unwrap()).sum::<u64>();
    assert!(held > 0);
    let text = fs::read(&pictures(&second)[0]).unwrap();
    assert!(text.windows(15).any(|w| w == b"Precision: Q8_0"), "the picture says what it was made with");
}

#[test]
fn a_report_compares_the_pictures_of_precisions() {
    let home = Home::new();
    let page = home.0.path().join("report.html");
    let asked = ["convert", "moonlet", "--to", "Q8_0,Q4_0", "--prompt", "a moon <b>over</b> hills", "--seed", "3,4", "--steps", "4"];
    let told = home.run(&[&asked[..], &["--report", page.to_str().unwrap()]].concat());
    let rows = told["precisions"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["to"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &told["pictures"]), (["fp16", "Q8_0", "Q4_0"].as_slice(), &2.into()), "{told}");
    assert!(rows[0]["psnr_db"].is_null() && rows[0]["identical"].is_null() && rows[0]["rel_l2"].is_null());
    let number = |row: usize, name: &str| rows[row][name].as_f64().unwrap_or_else(|| panic!("{name} of {}", rows[row]));
    assert!(number(1, "psnr_db") > number(2, "psnr_db"), "8 bits are nearer than 4: {told}");
    assert!(rows[0]["latent_rel_l2"].is_null() && number(1, "latent_rel_l2") < number(2, "latent_rel_l2"), "{told}");
    assert!(number(1, "rel_l2") < number(2, "rel_l2") && number(1, "mean_abs") < number(2, "mean_abs"), "{told}");
    assert!((0..3).all(|row| number(row, "step_s") > 0.0) && number(0, "bytes") > number(1, "bytes"), "{told}");
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("src=\"data:image/png;base64,").count(), 6);
    assert!(html.contains("a moon &lt;b&gt;over&lt;/b&gt; hills, seed 4") && !html.contains("<b>"));
}
