//! A queue written to a file: the commands that submit its jobs again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::units::Timestamp;

/// Writes a file of its owner's alone, for prompts are in it. It takes the place of no other.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a queue would keep its place from the next try. What cannot be removed is there to be seen.
        drop(fs::remove_file(path));
    })
}

/// Writes one of a name of its own into a folder, and returns where it is.
pub fn write_into(folder: &Path, text: &str, now: Timestamp) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    // Colons are no part of a name that other systems read.
    let moment: String = now.to_string().chars().take_while(|c| *c != '.').filter(|c| c.is_alphanumeric()).collect();
    let path = folder.join(format!("queue-{moment}.sh"));
    write(&path, text).map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_the_place_of_no_other_file() {
        let home = tempfile::tempdir().unwrap();
        let path = write_into(&home.path().join("lune"), "a\n", Timestamp(1_600_000_000_123)).unwrap();
        assert_eq!(path.file_name().unwrap(), "queue-20200913T122640.sh");
        assert!(write(&path, "b\n").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    }
}
