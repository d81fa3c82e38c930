//! A real daemon in a home of its own, with the fake engine. Dropped, it is killed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::builders::MODEL;
use super::nvml_stub::NvmlStub;
use super::talk::Talk;
use super::wait::until;
use super::weights_file::{tiny_checkpoint, write, zeros};

/// A home, and the daemon that lives there.
pub(crate) struct Home {
    folder: TempDir,
    daemon: Option<Child>,
    engine: PathBuf,
    nvml: PathBuf,
    variables: Vec<(&'static str, &'static str)>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// It was refused: one line that begins so, a hint, this exit code, and nothing else.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, message: &str) {
        let mut lines = self.stderr.lines();
        let (error, hint) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        assert!(error.starts_with(&format!("error: {message}")), "not `{message}`: {self:?}");
        assert!(hint.starts_with("hint: ") && hint.len() > 10, "{self:?}");
        assert_eq!((self.code, lines.next(), self.stdout.as_str()), (code, None, ""), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

impl Home {
    /// A home without a daemon.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("lune").tempdir().unwrap();
        write(folder.path(), &format!("models/checkpoints/{MODEL}.safetensors"), &zeros(&tiny_checkpoint(), ""));
        // This machine's own GPUs, if it has any, are none of the tests' business.
        let nvml = folder.path().join("no-nvml.so");
        let home = Self { folder, daemon: None, engine: env!("CARGO_BIN_EXE_perilune-fake-engine").into(), nvml, variables: Vec::new() };
        home.config("supervision: {backoff_s: 0.01, backoff_max_s: 0.05}");
        home
    }

    /// A home with a daemon that answers.
    pub(crate) fn with_daemon() -> Self {
        let mut home = Self::empty();
        home.start();
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path().join("output")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("run/daemon.sock")
    }

    /// Writes the settings. Where they do not say how much of the disk is left to others, it is nothing: the little that tests
    /// convert is no matter of how full this machine's disk is.
    pub(crate) fn config(&self, yaml: &str) {
        let floor = if yaml.contains("disk_floor") { "" } else { "disk_floor: 0" };
        fs::write(self.path().join("config.yaml"), format!("{}\n{floor}\n", yaml.trim_end())).unwrap();
    }

    /// Has the fake engine behave like this, from its next run on.
    pub(crate) fn script(&self, script: &Value) {
        let path = self.path().join("script.json");
        // Whole or not at all: an engine may be reading it.
        fs::write(path.with_extension("new"), script.to_string()).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    pub(crate) fn use_engine(&mut self, path: impl Into<PathBuf>) {
        self.engine = path.into();
    }

    /// Sets a variable for every command from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: &'static str) {
        self.variables.retain(|(set, _)| *set != name);
        self.variables.push((name, value));
    }

    pub(crate) fn use_gpus(&mut self, stub: &NvmlStub) {
        self.nvml = stub.library();
    }

    /// A command of the real program, in this home and no other surroundings.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_perilune"));
        command.args(arguments);
        command
    }

    /// A command of any program in this home.
    #[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
    pub(crate) fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path());
        command.env("PERILUNE_HOME", self.path()).env("PERILUNE_ENGINE", &self.engine).env("HOME", self.path());
        command.env("PERILUNE_NVML", &self.nvml);
        command.env("PERILUNE_FAKE_ENGINE", self.path().join("script.json")).env("USER", "ana").env("PATH", "/usr/bin:/bin");
        command.envs(self.variables.iter().copied());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command that starts no daemon.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Done {
        let mut command = self.command(arguments);
        if !arguments.iter().any(|a| a.as_ref() == "--no-spawn") {
            command.arg("--no-spawn");
        }
        finish(command)
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts a daemon with these flags.
    pub(crate) fn start_with(&mut self, flags: &[&str]) {
        let mut command = self.command(&["serve"]);
        command.args(flags);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.daemon = Some(command.spawn().unwrap());
        drop(self.talk());
    }

    /// The daemon's process.
    pub(crate) fn daemon(&mut self) -> &mut Child {
        self.daemon.as_mut().unwrap()
    }

    /// Kills the daemon, as a power cut or the kernel would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// Waits until the daemon answers, and talks to it.
    pub(crate) fn talk(&self) -> Talk {
        until("the daemon to answer", || Talk::with(&self.socket()))
    }

    /// Every file and folder of the home but SQLite's own, which come and go.
    pub(crate) fn tree(&self) -> BTreeSet<PathBuf> {
        let mut folders = vec![self.path().to_owned()];
        let mut found = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                if !entry.file_name().to_string_lossy().contains("sqlite-") {
                    found.insert(entry.path());
                }
            }
        }
        found
    }

    /// The names in the output folder, hidden ones too.
    pub(crate) fn pictures(&self) -> Vec<String> {
        let entries = fs::read_dir(self.output()).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
    }
}
