//! The version of NVIDIA's driver, as the kernel tells it.

use std::path::Path;

/// Returns the version of the driver that is loaded, by what the kernel's files say that `read` reads; `None` where they do not.
#[must_use]
pub fn driver_version(read: impl Fn(&Path) -> Option<String>) -> Option<String> {
    let of_module = read(Path::new("/sys/module/nvidia/version")).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    // A container may be shown one of them alone.
    of_module.or_else(|| in_words(&read(Path::new("/proc/driver/nvidia/version"))?))
}

/// Its first line names the module in words that differ between the open one and the other, and then the version.
fn in_words(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_the_version_in_one_of_two_files() {
        let version = |module: Option<&str>, words: Option<&str>| {
            driver_version(|path| if path.starts_with("/sys") { module } else { words }.map(str::to_owned))
        };
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc 12.3.0\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)\n";
        assert_eq!(version(Some("580.82.07\n"), Some(closed)).as_deref(), Some("580.82.07"));
        assert_eq!(version(None, Some(closed)).as_deref(), Some("535.104.05"));
        assert_eq!(version(Some("\n"), Some(open)).as_deref(), Some("580.95.05"));
        assert_eq!((version(None, None), version(None, Some("GCC version: 12.3.0\n"))), (None, None));
    }
}
