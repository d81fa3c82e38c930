//! Log lines of both programs: to the terminal, to a file that stays small, and to a ring in memory.
//!
//! A line carries a `source` field where it is not the program's own: an engine's device.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::units::{Clock, SystemClock, Timestamp};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub time: Timestamp,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// Who wrote it.
    pub source: String,
    /// What.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:5} {}: {}", self.time, self.level, self.source, self.text)
    }
}

/// Takes apart a line that another program of ours wrote; returns its level and text.
#[must_use]
pub fn understand(line: &str) -> Option<(Level, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (level, rest) = rest.split_once(' ')?;
    let (_source, text) = rest.trim_start().split_once(": ")?;
    let dated = time.ends_with('Z') && time.contains('T');
    let level = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].into_iter().find(|l| level_name(*l) == level)?;
    dated.then_some((level, text))
}

/// Where log lines go.
#[derive(Debug, Default)]
pub struct Sinks {
    /// Who writes lines that name no other source.
    pub source: &'static str,
    /// Standard error.
    pub terminal: bool,
    /// The folder of a log file.
    pub folder: Option<PathBuf>,
    /// The ring in memory.
    pub ring: Option<&'static Ring>,
}

/// A level that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level of log lines; use error, warn, info, debug or trace")]
pub struct LevelError(pub String);

/// Reads a level, or levels of parts of the program, such as `info,perilune::daemon=debug`.
pub fn check(level: &str) -> Result<EnvFilter, LevelError> {
    let wrong = || LevelError(level.to_owned());
    // A word that is no level would be a part of the program of which everything is logged, and nothing else.
    let is_level = |word: &str| word.contains('=') || word.contains("::") || word.trim().parse::<LevelFilter>().is_ok();
    if !level.split(',').all(is_level) {
        return Err(wrong());
    }
    EnvFilter::try_new(level).map_err(|_| wrong())
}

/// Starts logging for this process. A second call changes nothing.
pub fn start(level: &str, sinks: &Sinks) -> Result<(), LevelError> {
    let filter = check(level)?;
    // A log file that cannot be written must not keep the program from its work.
    let file = sinks.folder.as_deref().and_then(|folder| LogFile::open(folder).ok()).map(Mutex::new);
    let layer = Lines { source: sinks.source, terminal: sinks.terminal, file, ring: sinks.ring };
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    // Already started, as happens when tests share a process.
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

/// The last lines, for clients that ask, and a listener for those that follow. Lines are numbered from 1.
#[derive(Debug, Default)]
pub struct Ring {
    kept: Mutex<Kept>,
    listener: OnceLock<Listener>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    /// Lines before them.
    forgotten: u64,
}

type Tell = dyn Fn(u64, &Line) + Send + Sync;

struct Listener(Box<Tell>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Ring {
    /// Lines that are kept.
    pub const KEPT: usize = 2_000;

    /// Returns an empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self { kept: Mutex::new(Kept { lines: VecDeque::new(), forgotten: 0 }), listener: OnceLock::new() }
    }

    /// Returns the last lines and their numbers, oldest first.
    #[must_use]
    pub fn last(&self, limit: usize) -> Vec<(u64, Line)> {
        let kept = locked(&self.kept);
        let numbered = (kept.forgotten + 1..).zip(&kept.lines);
        numbered.skip(kept.lines.len().saturating_sub(limit)).map(|(seq, line)| (seq, line.clone())).collect()
    }

    /// Has every further line and its number told to `listener`, which must neither log nor wait. There is one listener, the first.
    pub fn listen(&self, listener: impl Fn(u64, &Line) + Send + Sync + 'static) {
        drop(self.listener.set(Listener(Box::new(listener))));
    }

    fn push(&self, line: &Line) {
        let mut kept = locked(&self.kept);
        if kept.lines.len() == Self::KEPT {
            kept.lines.pop_front();
            kept.forgotten += 1;
        }
        kept.lines.push_back(line.clone());
        let seq = kept.forgotten + kept.lines.len() as u64;
        // Under the lock: lines are told in the order in which they are kept.
        if let Some(listener) = self.listener.get() {
            (listener.0)(seq, line);
        }
    }
}

/// A thread that panicked while it wrote a line has left a whole list behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lines {
    source: &'static str,
    terminal: bool,
    file: Option<Mutex<LogFile>>,
    ring: Option<&'static Ring>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let line = Line {
            time: SystemClock.now(),
            level: level_name(*event.metadata().level()),
            source: said.source.unwrap_or_else(|| self.source.to_owned()),
            text: said.text,
        };
        // What cannot be written here can be told nowhere else.
        if self.terminal {
            drop(writeln!(io::stderr(), "{line}"));
        }
        if let Some(file) = &self.file {
            drop(locked(file).write(&line));
        }
        if let Some(ring) = self.ring {
            ring.push(&line);
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    text: String,
    source: Option<String>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            "source" => write!(self.source.insert(String::new()), "{value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "source" {
            self.source = Some(value.to_owned());
        } else {
            self.record_debug(field, &value);
        }
    }
}

/// A log file that is put aside when it has grown.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    const NAME: &str = "daemon.log";
    /// Bytes after which a new file is begun; one old one is kept.
    const LIMIT: u64 = 4 << 20;

    fn open(folder: &Path) -> io::Result<Self> {
        // Prompts are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(Self::NAME);
        let file = Self::append_to(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn append_to(path: &Path) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        if self.size > Self::LIMIT {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = Self::append_to(&self.path)?;
            self.size = 0;
        }
        let text = format!("{line}\n");
        self.size += text.len() as u64;
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { time: Timestamp(0), level: "info", source: "daemon".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_ring_keeps_the_last_lines() {
        let ring = Ring::new();
        for n in 0..=Ring::KEPT {
            ring.push(&line(&n.to_string()));
        }
        assert_eq!(ring.last(usize::MAX).len(), Ring::KEPT);
        let kept = Ring::KEPT as u64;
        let last: Vec<(u64, String)> = ring.last(2).into_iter().map(|(seq, l)| (seq, l.text)).collect();
        assert_eq!(last, [(kept, (kept - 1).to_string()), (kept + 1, kept.to_string())]);
    }

    #[test]
    fn lines_are_told_as_they_are_kept() {
        static RING: Ring = Ring::new();
        static TOLD: Mutex<Vec<(u64, Line)>> = Mutex::new(Vec::new());
        RING.listen(|seq, line| {
            assert!(RING.kept.try_lock().is_err(), "another line could be told first");
            locked(&TOLD).push((seq, line.clone()));
        });
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..100).for_each(|n| RING.push(&line(&format!("{thread}: {n}")))));
            }
        });
        let told = locked(&TOLD).clone();
        assert_eq!(told, RING.last(usize::MAX));
        assert!(told.iter().map(|(seq, _)| *seq).eq(1..=400));
    }

    #[test]
    fn the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(folder.path()).unwrap();
        let long = line(&"x".repeat(1 << 20));
        for _ in 0..9 {
            file.write(&long).unwrap();
        }
        let sizes: u64 = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes < 11 << 20, "{sizes}");
        assert!(folder.path().join("daemon.log.1").exists());
    }

    #[test]
    fn a_line_is_understood_by_the_other_program() {
        for level in [Level::ERROR, Level::INFO] {
            let written = Line { level: level_name(level), ..line("memory ran out: 3 GiB") }.to_string();
            assert_eq!(understand(&written), Some((level, "memory ran out: 3 GiB")), "{written}");
        }
        for foreign in ["", "[W1121 08:31:14 init.cpp:1] info: x", "2026-11-21T08:31:14Z loud engine: x"] {
            assert_eq!(understand(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn levels_are_checked() {
        assert_eq!(start("loud=quiet=", &Sinks::default()), Err(LevelError("loud=quiet=".to_owned())));
        assert!(check("loud").is_err() && check("info, loud").is_err());
        assert!(check("warn").is_ok() && check("info,perilune::daemon=debug").is_ok() && check("off").is_ok());
    }
}
