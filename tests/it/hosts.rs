//! Several boxes on one dashboard, through ssh: a real sshd on loopback where one is installed, and a stand-in everywhere.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};

use super::support::daemon::Home;
use super::support::fixtures;
use super::support::screen::Screen;
use super::support::terminal::Terminal;
use super::support::wait::until;

/// Where Debian and others put it, which is on no user's `PATH`.
const SSHD: &str = "/usr/sbin/sshd";

/// A way to the boxes `north` and `south`, each of which has a home of its own.
trait Way {
    /// The command that reaches them.
    fn ssh(&self) -> String;
    /// Lets nobody in any more.
    fn close(&mut self);
    /// Lets everybody in again.
    fn open(&mut self);
}

/// A script in ssh's place.
struct StandIn {
    folder: PathBuf,
}

impl StandIn {
    fn new(folder: &Path, homes: &[(&str, &Home); 2]) -> Self {
        let cases = homes.map(|(name, home)| format!("{name}) export PERILUNE_HOME={};;\n", home.path().display())).concat();
        let program = env!("CARGO_BIN_EXE_perilune");
        let script = format!(
            "#!/bin/sh\n[ -e {0}/closed ] && {{ echo 'ssh: connect to host: Connection refused' >&2; exit 255; }}\ncase $2 in\n{cases}esac\nshift 3\nexec {program} \"$@\"\n",
            folder.display()
        );
        let path = folder.join("ssh");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { folder: folder.to_owned() }
    }
}

impl Way for StandIn {
    fn ssh(&self) -> String {
        self.folder.join("ssh").display().to_string()
    }

    fn close(&mut self) {
        fs::write(self.folder.join("closed"), "").unwrap();
    }

    fn open(&mut self) {
        fs::remove_file(self.folder.join("closed")).unwrap();
    }
}

/// A real server on loopback. Which box is meant, the key says.
struct Sshd {
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
}

#[expect(clippy::disallowed_methods, reason = "the server is a program of its own")]
impl Sshd {
    fn new(folder: &Path, homes: &[(&str, &Home); 2]) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let file = |name: &str| folder.join(name);
        let key = |name: &str| {
            let mut made = Command::new("ssh-keygen");
            made.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file(name));
            assert!(made.status().unwrap().success());
        };
        key("host");
        let authorized = homes.map(|(name, home)| {
            key(name);
            let public = fs::read_to_string(file(&format!("{name}.pub"))).unwrap();
            format!("environment=\"PERILUNE_HOME={}\" {public}", home.path().display())
        });
        let authorized = authorized.concat();
        let hosts = homes.map(|(name, _)| format!("Host {name}\n  IdentityFile {}\n", file(name).display())).concat();
        let config = format!(
            "{hosts}Host *\n  HostName 127.0.0.1\n  Port {port}\n  IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile {}\n  LogLevel ERROR\n",
            file("known").display()
        );
        fs::write(file("config"), config).unwrap();
        fs::write(file("authorized"), authorized).unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_perilune")).parent().unwrap();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPermitUserEnvironment yes\nSetEnv PATH={}:/usr/bin:/bin\n",
            file("host").display(),
            file("authorized").display(),
            programs.display()
        );
        fs::write(file("sshd_config"), server).unwrap();
        let mut sshd = Self { folder: folder.to_owned(), port, server: None };
        sshd.open();
        sshd
    }
}

impl Way for Sshd {
    fn ssh(&self) -> String {
        format!("ssh -F {}", self.folder.join("config").display())
    }

    fn close(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the server is a program of its own")]
    fn open(&mut self) {
        if rustix::process::getuid().is_root() {
            // The server of root wants this folder, which nobody makes where no system was booted.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        let log = fs::File::create(self.folder.join("sshd.log")).unwrap();
        self.server = Some(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        until("sshd to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // It may have ended already.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// The processes that carry a dashboard's conversations with this box.
fn carriers(dashboard: u32, host: &str) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{dashboard}/task/{dashboard}/children")).unwrap();
    let is_its = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(host));
    // The stand-in becomes the bridge, whose words do not name the box.
    let home = |pid: &&str| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| String::from_utf8_lossy(&e).contains(host));
    children.split_whitespace().filter(|pid| is_its(pid) || home(pid)).map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
}

fn both_boxes_are_shown(make: impl FnOnce(&Path, &[(&str, &Home); 2]) -> Box<dyn Way>) {
    let (north, south) = (Home::with_daemon(), Home::with_daemon());
    let folder = tempfile::tempdir().unwrap();
    let mut way = make(folder.path(), &[("north", &north), ("south", &south)]);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(["--host", "north", "--host", "south", "--no-spawn"]);
    command.env("PERILUNE_HOME", folder.path());
    command.env("PERILUNE_SSH", way.ssh());
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    let mut terminal = Terminal::of(command, 160, 40);
    terminal.wait_until("both are up", |t| {
        let text = t.text();
        let row = text.lines().next().unwrap_or_default().to_owned();
        row.contains("[north]") && row.contains(" south ") && row.matches("idle").count() == 2
    });
    terminal.press(">");
    terminal.wait_until("the other is shown", |t| t.text().lines().next().unwrap_or_default().contains("[south]"));

    // The link to one of them is cut, and nobody is let in.
    way.close();
    let of_south = south.path().file_name().unwrap().to_str().unwrap().to_owned();
    let dashboard = terminal.child.process_id().unwrap();
    let pids = [carriers(dashboard, "south"), carriers(dashboard, &of_south)].concat();
    assert!(!pids.is_empty(), "nothing carries the conversation");
    for pid in pids {
        // It may be gone by now.
        let _gone = kill_process(pid, Signal::KILL);
    }
    terminal.wait_until("one is down, the other is not", |t| {
        let text = t.text();
        let row = text.lines().next().unwrap_or_default().to_owned();
        row.contains("[south] ! DOWN for") && row.contains("retry in") && row.matches("DOWN").count() == 1
    });
    // What was known is still there, and keys still work.
    terminal.wait_for("daemon DOWN");
    terminal.press("6");
    terminal.wait_for("Queue");
    terminal.press("1");
    way.open();
    terminal.wait_until("it comes back by itself", |t| {
        let text = t.text();
        let row = text.lines().next().unwrap_or_default().to_owned();
        !row.contains("DOWN") && row.matches("idle").count() == 2
    });
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
}

#[test]
fn two_boxes_are_shown_through_a_real_sshd() {
    if !Path::new(SSHD).exists() {
        // Past the test's own standard error, which is shown only where it fails.
        let told = format!("{SSHD} is not installed: only the stand-in for ssh is tested; apt install openssh-server\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        return;
    }
    both_boxes_are_shown(|folder, homes| Box::new(Sshd::new(folder, homes)));
}

#[test]
fn two_boxes_are_shown_through_a_stand_in_for_ssh() {
    both_boxes_are_shown(|folder, homes| Box::new(StandIn::new(folder, homes)));
}

#[test]
fn commands_speak_with_one_daemon() {
    let home = Home::empty();
    home.run(&["status", "--host", "a", "--host", "b"]).refused(2, "this command speaks with one daemon, and 2 hosts were named");
}

#[test]
fn the_row_of_boxes_says_what_each_does() {
    let up = perilune::tui::hosts::summary(&Screen::on(fixtures::busy(), 120, 40).model);
    let down = Screen::on(fixtures::busy(), 120, 40).down().later(42);
    let down = perilune::tui::hosts::Summary { place: "bo@south".to_owned(), ..perilune::tui::hosts::summary(&down.model) };
    let mut screen = Screen::on(fixtures::busy(), 120, 40);
    screen.model.hosts = Some(perilune::tui::hosts::Hosts { all: vec![up, down], at: 0 });
    let text = screen.text();
    let row = text.lines().next().unwrap();
    assert!(row.contains("[local] 30.7/67.6 GiB 1r/2w"), "{row}");
    assert!(row.contains("bo@south  ! DOWN for 42s"), "{row}");
    assert!(row.trim_end().ends_with("> next box"), "{row}");
    assert!(text.lines().nth(1).unwrap().contains("gpu-box-3") && text.contains("Devices"), "{text}");
    // Where it is narrow, the screen below still has its least size.
    let mut narrow = Screen::on(fixtures::busy(), 60, 16);
    narrow.model.hosts = screen.model.hosts.clone();
    assert!(narrow.text().contains("[local]"));
}
