//! Settings: where each comes from, what it is, and where files lie. The only readers of the environment.
//!
//! A flag wins over the environment, the environment over the profile, the profile over the file, and
//! the file over what is built in. Each value remembers which it was.

pub mod environment;
pub mod error;
pub mod file;
pub mod key_file;
pub mod keys;
pub mod layers;
pub mod paths;
pub mod presets;
pub mod private_folder;
pub mod queue_file;
pub mod settings;
pub mod socket_note;
pub mod themes;

pub use environment::Environment;
pub use error::ConfigError;
pub use keys::StoreKeys;
pub use layers::{Origin, Told};
pub use paths::Paths;
pub use settings::{Flags, Settings, Supervision};
