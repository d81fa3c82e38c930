//! Where files lie: all in `PERILUNE_HOME`, or where the XDG base directories say.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{ConfigError, Environment};

/// The longest path that a socket can be bound to: `sun_path` less its closing NUL, unix(7).
const SOCKET_PATH_LIMIT: usize = 107;
/// The name of the daemon's socket.
const SOCKET: &str = "daemon.sock";

/// Where files lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// Settings, profiles and themes.
    pub config: PathBuf,
    /// The ledger, the lock and the logs.
    pub state: PathBuf,
    /// What can be made again.
    pub cache: PathBuf,
    /// The folder of the socket, for its owner only.
    pub runtime: PathBuf,
    /// Models and pictures, where nothing else is said.
    pub data: PathBuf,
    /// The folder the socket would lie in, were its path not too long for a socket.
    pub too_long: Option<PathBuf>,
}

impl Paths {
    /// Returns where files lie in these surroundings. A `home` of the command line holds everything.
    pub fn of(environment: &Environment, home: Option<&Path>) -> Result<Self, ConfigError> {
        let chosen = home.map(Path::to_owned).or_else(|| environment.path("PERILUNE_HOME"));
        let mut paths = match chosen {
            Some(home) => Self::in_one(&environment.absolute(&home)),
            None => Self::by_xdg(environment, environment.home().ok_or(ConfigError::NoHome)?),
        };
        if is_too_long(&paths.runtime) {
            let short = short_folder(&paths.runtime);
            paths.too_long = Some(std::mem::replace(&mut paths.runtime, short));
        }
        Ok(paths)
    }

    fn in_one(home: &Path) -> Self {
        Self {
            config: home.to_owned(),
            state: home.join("state"),
            cache: home.join("cache"),
            runtime: home.join("run"),
            data: home.to_owned(),
            too_long: None,
        }
    }

    fn by_xdg(environment: &Environment, home: &Path) -> Self {
        // The specification says that relative paths are invalid and to be ignored.
        let folder = |name: &str| environment.path(name).filter(|p| p.is_absolute());
        let state = folder("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("perilune");
        Self {
            config: folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("perilune"),
            cache: folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("perilune"),
            runtime: folder("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |r| r.join("perilune")),
            data: home.join("perilune"),
            state,
            too_long: None,
        }
    }

    /// Returns the folder that holds everything, where one does.
    #[must_use]
    pub fn in_one_folder(&self) -> Option<&Path> {
        (self.config == self.data).then_some(self.config.as_path())
    }

    /// Returns the socket of the daemon.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join(SOCKET)
    }

    /// Returns where a daemon listens whose runtime folder was taken away and cannot be made again.
    #[must_use]
    pub fn second_socket(&self) -> PathBuf {
        let folder = self.state.join("run");
        if is_too_long(&folder) { short_folder(&folder).join(SOCKET) } else { folder.join(SOCKET) }
    }

    /// Returns the file that says where the daemon really listens.
    #[must_use]
    pub fn socket_note(&self) -> PathBuf {
        self.state.join("daemon.socket")
    }

    /// Returns the folder in which engines of simulated GPUs count what they take.
    #[must_use]
    pub fn tally(&self) -> PathBuf {
        self.runtime.join("simulated")
    }

    /// Returns the file that clients lock while they start a daemon.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.runtime.join("start.lock")
    }

    /// Returns the file that the daemon locks and writes its process id to.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state.join("daemon.lock")
    }

    /// Returns the database.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.sqlite")
    }

    /// Returns the folder in which it is noted what was converted outside of the model folders.
    #[must_use]
    pub fn conversions(&self) -> PathBuf {
        self.cache.join("conversions")
    }

    /// Returns the folder of log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Returns the folder in which engines keep what text encoders made of texts.
    #[must_use]
    pub fn embeddings(&self) -> PathBuf {
        self.cache.join("embeddings")
    }

    /// Returns the file of keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.config.join("keys.yaml")
    }

    /// Returns the file of settings.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.config.join("config.yaml")
    }

    /// Returns the folder of the user's profiles.
    #[must_use]
    pub fn profiles(&self) -> PathBuf {
        self.config.join("profiles")
    }

    /// Returns the folder of the user's themes.
    #[must_use]
    pub fn themes(&self) -> PathBuf {
        self.config.join("themes")
    }
}

fn is_too_long(folder: &Path) -> bool {
    folder.join(SOCKET).as_os_str().len() > SOCKET_PATH_LIMIT
}

/// Returns a short folder of this user's own, the same for the same long one.
fn short_folder(long: &Path) -> PathBuf {
    // FNV-1a: a name, not a secret. Who owns the folder is checked before it is used.
    let digest = long
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    PathBuf::from(format!("/tmp/perilune-{}-{:08x}", rustix::process::getuid().as_raw(), digest >> 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_holds_everything() {
        let environment = Environment::made_of(&[("PERILUNE_HOME", "/srv/p"), ("XDG_RUNTIME_DIR", "/run/user/7")], "/home/ana");
        let paths = Paths::of(&environment, None).unwrap();
        assert_eq!(paths.socket(), Path::new("/srv/p/run/daemon.sock"));
        assert_eq!(paths.ledger(), Path::new("/srv/p/state/ledger.sqlite"));
        assert_eq!(Paths::of(&environment, Some(Path::new("else"))).unwrap().file(), Path::new("/home/ana/else/config.yaml"));
    }

    #[test]
    fn xdg_says_where() {
        let environment = Environment::made_of(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "relative")], "/home/ana");
        let paths = Paths::of(&environment, None).unwrap();
        assert_eq!(paths.socket(), Path::new("/run/user/7/perilune/daemon.sock"));
        assert_eq!(paths.ledger(), Path::new("/home/ana/.local/state/perilune/ledger.sqlite"));
        let bare = Paths::of(&Environment::made_of(&[], "/home/ana"), None).unwrap();
        assert_eq!(bare.socket(), Path::new("/home/ana/.local/state/perilune/run/daemon.sock"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_replaced_and_told() {
        let home = format!("/{}", "x".repeat(120));
        let paths = Paths::of(&Environment::made_of(&[("PERILUNE_HOME", &home)], "/home/ana"), None).unwrap();
        assert!(paths.socket().as_os_str().len() <= SOCKET_PATH_LIMIT);
        assert_eq!(paths.too_long, Some(Path::new(&home).join("run")));
        assert!(paths.ledger().starts_with(&home));
    }
}
