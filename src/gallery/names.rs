//! What files are called.

use std::path::{Path, PathBuf};

use crate::units::{JobId, RunId, Seed};

/// Letters of a model's name that a file's name takes over.
const MODEL_LETTERS: usize = 48;

/// Returns where the engine writes image `k` of a run: beside its place, hidden, and nobody else's. Runs are counted
/// by each ledger for itself, so `tag` names the ledger.
#[must_use]
pub fn target(folder: &Path, tag: &str, run: RunId, k: u32) -> PathBuf {
    folder.join(format!(".perilune-{tag}-{run}-{k}.part"))
}

/// Returns a picture's name, `000041-night-7.png`: in the order of jobs, with the seed that makes it again.
#[must_use]
pub fn file_name(job: JobId, model: &str, seed: Seed) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+') { c } else { '_' };
    let model: String = model.chars().take(MODEL_LETTERS).map(plain).collect();
    format!("{:06}-{model}-{seed}.png", job.0)
}

/// Returns the `n`-th choice for a name that may be taken: `a.png`, `a-2.png`, `a-3.png`, …
#[must_use]
pub fn choice(path: &Path, n: u32) -> PathBuf {
    if n <= 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{n}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_job_and_hold_no_slash() {
        assert_eq!(file_name(JobId(41), "night", Seed(7)), "000041-night-7.png");
        assert_eq!(file_name(JobId(1), "../a b\n", Seed(0)), "000001-.._a_b_-0.png");
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let path = Path::new("/out/000041-night-v1.5-7.png");
        assert_eq!(choice(path, 1), path);
        assert_eq!(choice(path, 3), Path::new("/out/000041-night-v1.5-7-3.png"));
    }
}
