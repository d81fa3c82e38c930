//! The folder of the socket: its owner's only, or not used at all.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::workflow::{Kind, Refusal};

/// Why a folder is not private.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("{}: {doing} failed: {source}", path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It is a link or a file.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Which.
        path: PathBuf,
    },
    /// It is somebody else's.
    #[error("{} belongs to user {owner}, not to you", path.display())]
    NotOurs {
        /// Which folder.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// Others may look into it.
    #[error("{} is open to others: its mode is {mode:03o}", path.display())]
    Open {
        /// Which folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl FolderError {
    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } => "check the folder above it, or set PERILUNE_HOME to one of your own".to_owned(),
            Self::NotAFolder { path } | Self::NotOurs { path, .. } => {
                format!("remove {}, or set PERILUNE_HOME to a folder of your own", path.display())
            }
            Self::Open { path, .. } => format!("chmod 700 {}", path.display()),
        }
    }

    /// Returns the refusal of this kind.
    #[must_use]
    pub fn refusal(&self, kind: Kind) -> Refusal {
        Refusal::new(kind, self.to_string(), self.hint())
    }
}

/// Makes the folder where it is missing, and checks it.
pub fn make(path: &Path) -> Result<(), FolderError> {
    let io = |doing| move |source| FolderError::Io { path: path.to_owned(), doing, source };
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(io("making the folder above it"))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io("making it")(e)),
    }
    check(path)
}

/// Checks that the folder is ours alone. One that is not there is no danger.
pub fn check(path: &Path) -> Result<(), FolderError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FolderError::Io { path: path.to_owned(), doing: "looking at it", source }),
    };
    if !metadata.is_dir() {
        return Err(FolderError::NotAFolder { path: path.to_owned() });
    }
    if metadata.uid() != rustix::process::getuid().as_raw() {
        return Err(FolderError::NotOurs { path: path.to_owned(), owner: metadata.uid() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn only_a_private_folder_will_do() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        check(&path).unwrap();
        make(&path).unwrap();
        make(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        let error = make(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is open to others: its mode is 750", path.display()));
        assert_eq!(error.hint(), format!("chmod 700 {}", path.display()));
        std::os::unix::fs::symlink(home.path(), home.path().join("link")).unwrap();
        assert!(check(&home.path().join("link")).unwrap_err().to_string().ends_with("is not a folder"));
    }
}
