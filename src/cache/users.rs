//! Which files programs have open or mapped at the moment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux tells of processes.
const PROCESSES: &str = "/proc";

/// Files that programs use, as far as this user may know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    files: BTreeSet<PathBuf>,
}

impl Users {
    /// Asks the kernel which files below these folders every program has open or mapped, this one not counted. Programs of other
    /// users are only seen by root.
    #[must_use]
    pub fn look(folders: &BTreeSet<PathBuf>) -> Self {
        let folders: Vec<PathBuf> = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        let ours = std::process::id().to_string();
        let processes = fs::read_dir(PROCESSES).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let numbers = processes.filter_map(|name| name.into_string().ok()).filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && *n != ours);
        let mut files = BTreeSet::new();
        for process in numbers.map(|number| Path::new(PROCESSES).join(number)) {
            // A process that has ended meanwhile, or is not ours to look into, uses nothing.
            let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files.extend(open.filter_map(|entry| fs::read_link(entry.path()).ok()));
            files.extend(mapped(&fs::read_to_string(process.join("maps")).unwrap_or_default()));
        }
        files.retain(|file| folders.iter().any(|folder| file.starts_with(folder)));
        Self { files }
    }

    /// Returns whether somebody uses this file.
    #[must_use]
    pub fn use_it(&self, path: &Path) -> bool {
        !self.files.is_empty() && path.canonicalize().is_ok_and(|path| self.files.contains(&path))
    }
}

/// Returns the files in a process's list of maps: addresses, rights, offset, device and number, then the path.
fn mapped(maps: &str) -> impl Iterator<Item = PathBuf> {
    maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_files_are_told_from_others() {
        let maps = "7f00-7f10 r--p 00000000 fd:00 42   /models/a b.gguf\n7f10-7f20 rw-p 00000000 00:00 0 \n7ffd-7ffe rw-p 00000000 00:00 0 [stack]\n";
        assert_eq!(mapped(maps).collect::<Vec<_>>(), [PathBuf::from("/models/a b.gguf")]);
    }
}
