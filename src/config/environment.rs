//! The environment as a value, so that tests can make their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What a process is told by its surroundings.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
    program: Option<PathBuf>,
    folder: Option<PathBuf>,
}

/// Without values: some are secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Environment").field("variables", &names).field("home", &self.home).finish_non_exhaustive()
    }
}

impl Environment {
    /// Returns the surroundings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        // A name that is not text is none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        // A program or folder that cannot be named is absent; whoever needs it says so.
        let nameable = |path: std::io::Result<PathBuf>| path.ok().filter(|p| p.to_str().is_some());
        let (program, folder) = (nameable(std::env::current_exe()), nameable(std::env::current_dir()));
        Self { variables, home: std::env::home_dir(), program, folder }
    }

    /// Returns made-up surroundings.
    #[must_use]
    pub fn made_of(variables: &[(&str, &str)], home: &str) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        let program = Some(PathBuf::from("/opt/perilune/bin/perilune"));
        Self { variables, home: Some(PathBuf::from(home)), program, folder: Some(PathBuf::from(home)) }
    }

    /// Returns the first of the variables that we may read which is not text. Paths travel as JSON, which is.
    #[must_use]
    pub fn not_text(&self) -> Option<(&str, String)> {
        let ours = |name: &str| name == "HOME" || name.starts_with("PERILUNE_") || name.starts_with("XDG_");
        let garbled = self.variables.iter().find(|(name, value)| ours(name) && value.to_str().is_none());
        garbled.map(|(name, value)| (name.as_str(), value.to_string_lossy().into_owned()))
    }

    /// Returns a variable that is set to something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name).filter(|value| !value.is_empty())
    }

    /// Returns a variable's text where it is set, if only to nothing.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns a variable that is set to some text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns a variable that names a file or folder.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns the user's home folder.
    #[must_use]
    pub fn home(&self) -> Option<&PathBuf> {
        self.home.as_ref()
    }

    /// Returns this program's file, also after a new build has taken its place.
    #[must_use]
    pub fn program(&self) -> Option<PathBuf> {
        let program = self.program.as_ref()?;
        // Linux marks a file that was replaced while it runs.
        match program.to_string_lossy().strip_suffix(" (deleted)") {
            Some(replaced) => Some(PathBuf::from(replaced)),
            None => Some(program.clone()),
        }
    }

    /// Returns the path as seen from anywhere.
    #[must_use]
    pub fn absolute(&self, path: &std::path::Path) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    /// Returns the name under which this user's jobs are listed.
    #[must_use]
    pub fn user(&self) -> String {
        let named = self.text("USER").or_else(|| self.text("LOGNAME"));
        named.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
    }
}
