//! Back-ups in a bucket of a server that speaks as S3 does: moto's, which is real HTTP and keeps what it is sent.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/hush";

/// The server, and what it has logged. Dropped, it ends.
struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the reference side is a Python program")]
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/moto_server");
        assert!(program.exists(), "{} is missing: run scripts/test once, it installs the reference packages", program.display());
        let mut command = Command::new(program);
        let mut child = command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("http://").map(|(_, rest)| rest.trim().to_owned())).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        thread::spawn(move || lines.for_each(|line| kept.lock().unwrap().push(line)));
        Self { child, address, log }
    }

    /// One request; returns the status and what came after the head.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", self.address, body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        (status, answer.split_off(end + 4))
    }

    /// How often this part of an upload was sent.
    fn sent(&self, number: usize) -> usize {
        let words = format!("partNumber={number}&");
        self.log.lock().unwrap().iter().filter(|line| line.contains("PUT") && (line.replace(' ', "& ").contains(&words))).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
fn perilune(home: &Path, server: &Server, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(words).env_clear().current_dir(home).env("PERILUNE_HOME", home).env("HOME", home).env("PATH", "/usr/bin:/bin");
    command.env("PERILUNE_BACKUP", "s3://moon/box 3").env("AWS_ENDPOINT_URL", format!("http://{}", server.address));
    command.env("AWS_ACCESS_KEY_ID", "AKIA0000").env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("hush"), "{text}");
    text
}

fn run(home: &Path, server: &Server, words: &[&str]) -> (i32, String) {
    let output = perilune(home, server, words).output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

#[track_caller]
fn ok(home: &Path, server: &Server, words: &[&str], says: &str) {
    let (code, text) = run(home, server, words);
    assert!(code == 0 && text.contains(says), "{words:?}: {code} {text}");
}

/// A network of half as many bytes as its conversion to fp32 will have, which is sent in 13 parts.
fn source(home: &Path) -> PathBuf {
    let width = 1600_u32;
    let count = 10 * width * width;
    // Finite numbers, and no two parts alike.
    let data: Vec<u8> = (0..count).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 16 & 0xbfff).to_le_bytes()[..2].to_vec()).collect();
    let json = format!("{{\"lin.weight\":{{\"dtype\":\"BF16\",\"shape\":[{},{width}],\"data_offsets\":[0,{}]}}}}", 10 * width, data.len());
    let path = home.join("models/diffusion_models/net.safetensors");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat()).unwrap();
    path
}

/// Waits until a part of the upload is noted, and returns the numbers that are, from 1.
fn noted(journal: &Path) -> Vec<usize> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    let number = |line: &str| line.strip_prefix("{\"n\":")?.split(',').next()?.parse::<usize>().ok();
    text.lines().skip(1).filter(|line| line.ends_with('}')).filter_map(number).map(|n| n + 1).collect()
}

#[test]
fn uploads_are_whole_go_on_after_a_kill_and_come_back() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let source = source(home).display().to_string();
    ok(home, &server, &["convert", &source, "--to", "fp32"], "converted");
    let made = home.join("models/diffusion_models/converted/net_fp32.safetensors");
    let bytes = fs::read(&made).unwrap();
    let (code, told) = run(home, &server, &["cache", "backup"]);
    assert!(code == 1 && told.contains("error: s3://moon/box 3/") && told.contains(" failed: NoSuchBucket: "), "{told}");
    assert_eq!(server.ask("PUT", "/moon", b"").0, 200);

    // Killed when the store has some of it.
    let journal = made.with_file_name(".perilune").join("net_fp32.safetensors.upload");
    let mut child = perilune(home, &server, &["cache", "backup"]).spawn().unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    while noted(&journal).is_empty() {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "no part was noted");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = noted(&journal);
    assert!(!before.is_empty() && before.len() < 13, "{before:?}");
    let listed = |server: &Server| String::from_utf8(server.ask("GET", "/moon?list-type=2", b"").1).unwrap();
    assert!(!listed(&server).contains("net_fp32"), "half a file has no name: {}", listed(&server));
    ok(home, &server, &["cache", "restore", "--dry-run"], "no conversions");
    ok(home, &server, &["cache", "backup"], "  saved\n");
    assert!(!journal.exists());
    for number in before {
        assert_eq!(server.sent(number), 1, "part {number} was there");
    }
    ok(home, &server, &["cache", "backup"], "  was there\n");

    // It comes back, and is what it was.
    ok(home, &server, &["cache", "purge", "--yes"], "freed");
    ok(home, &server, &["convert", &source, "--to", "fp32"], "restored (from the back-up)");
    assert!(fs::read(&made).unwrap() == bytes);
    ok(home, &server, &["cache", "verify"], "intact");
    fs::remove_dir_all(home.join("models/diffusion_models/converted")).unwrap();
    ok(home, &server, &["cache", "restore"], "  restored\n");
    assert!(fs::read(&made).unwrap() == bytes);

    // What somebody has changed there is not taken.
    let listing = listed(&server);
    let key =
        listing.split("<Key>").filter_map(|rest| rest.split("</Key>").next()).find(|key| key.ends_with("net_fp32.safetensors")).unwrap();
    let mut wrong = bytes.clone();
    wrong[50_000_000] ^= 1;
    assert_eq!(server.ask("PUT", &format!("/moon/{}", key.replace(' ', "%20")), &wrong).0, 200);
    ok(home, &server, &["cache", "purge", "--yes"], "freed");
    let (code, told) = run(home, &server, &["convert", &source, "--to", "fp32"]);
    assert!(code == 0 && told.contains("the back-up was of no help") && told.contains("\n  converted"), "{told}");
    assert!(fs::read(&made).unwrap() == bytes);

    // An upload that the store has given up is begun anew.
    ok(home, &server, &["cache", "purge", "--yes"], "freed");
    ok(home, &server, &["convert", &source, "--to", "bf16,fp16"], "converted");
    let other = made.with_file_name(".perilune").join("net_fp16.safetensors.upload");
    let address = &server.address;
    fs::write(&other, format!("{{\"to\":\"http://{address} s3://moon\",\"length\":1,\"part\":1,\"id\":\"gone\"}}")).unwrap();
    ok(home, &server, &["cache", "backup"], "  saved\n");
    assert!(!other.exists());

    // A store that is not there costs a word.
    let address = server.address.clone();
    drop(server);
    let gone = Server { child: true_child(), address, log: Arc::default() };
    fs::remove_dir_all(home.join("models/diffusion_models/converted")).unwrap();
    let (code, told) = run(home, &gone, &["convert", &source, "--to", "fp16"]);
    assert!(code == 0 && told.contains("the back-up was of no help") && told.contains("\n  converted"), "{told}");
}

#[expect(clippy::disallowed_methods, reason = "a process that ends at once")]
fn true_child() -> Child {
    Command::new("true").spawn().unwrap()
}
