//! Where the daemon is, and how to get one.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::config::{Origin, Paths, Settings};

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Local,
    /// On another one, reached with ssh.
    Host(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.pad("local"),
            Self::Host(host) => f.pad(host),
        }
    }
}

/// Where the daemon is, and how to get one.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Where.
    pub place: Place,
    /// Where its files lie, if it is here.
    pub paths: Paths,
    /// Whether one may be started where there is none.
    pub spawn: bool,
    /// This program, which is also the daemon's.
    pub program: Option<PathBuf>,
    /// What a daemon that is started must be told to see what we see.
    pub environment: Vec<(&'static str, OsString)>,
    /// The program that reaches other machines, with its arguments.
    pub ssh: String,
}

impl Gate {
    /// Returns the gate that these settings lead to.
    #[must_use]
    pub fn of(settings: &Settings, place: Place, spawn: bool, program: Option<PathBuf>) -> Self {
        let paths = settings.paths.clone();
        let mut environment = Vec::new();
        // A daemon lives in `/`, so it is told where relative paths lead from here.
        if let Some(home) = paths.in_one_folder() {
            environment.push(("PERILUNE_HOME", home.as_os_str().to_owned()));
        }
        if is_said(&settings.models.origin) {
            let joined = settings.models.value.iter().map(|p| p.as_os_str().to_owned()).collect::<Vec<_>>();
            environment.push(("PERILUNE_MODELS", joined.join(&OsString::from(":"))));
        }
        if is_said(&settings.output.origin) {
            environment.push(("PERILUNE_OUTPUT", settings.output.value.clone().into_os_string()));
        }
        if is_said(&settings.engine.origin) {
            environment.push(("PERILUNE_ENGINE", settings.engine.value.clone().into_os_string()));
        }
        if let (true, Some(nvml)) = (is_said(&settings.nvml.origin), &settings.nvml.value) {
            environment.push(("PERILUNE_NVML", nvml.clone().into_os_string()));
        }
        // Simulated GPUs, floors, sets, and how it behaves, are the daemon's; the rest of a profile is the client's.
        if let (true, Some(profile)) = (is_said(&settings.profile.origin), &settings.profile.value)
            && settings.profiled.is_about_the_daemon()
        {
            environment.push(("PERILUNE_PROFILE", profile.into()));
        }
        Self { place, paths, spawn, program, environment, ssh: settings.ssh.value.clone() }
    }
}

/// What the file or nobody says, a daemon finds out for itself.
fn is_said(origin: &Origin) -> bool {
    match origin {
        Origin::Environment(_) | Origin::Flag(_) => true,
        Origin::Default | Origin::File | Origin::Profile(_) => false,
    }
}
