//! What sysfs says of GPUs without touching them: which there are, and whether they sleep.

use std::fs;
use std::path::{Path, PathBuf};

const NVIDIA: &str = "0x10de";

/// PCI base class of display controllers; 3D controllers of data centres are among them.
const DISPLAY: &str = "0x03";

/// A GPU as the bus knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PciGpu {
    /// `0000:01:00.0`.
    pub(super) address: String,
    folder: PathBuf,
}

impl PciGpu {
    /// Returns whether it is powered down, so that asking it anything would wake it.
    pub(super) fn is_asleep(&self) -> bool {
        is_asleep(&self.folder)
    }
}

/// Returns whether the device of a sysfs folder is powered down.
pub(super) fn is_asleep(folder: &Path) -> bool {
    matches!(word(&folder.join("power/runtime_status")).as_deref(), Some("suspended" | "suspending"))
}

/// Lists NVIDIA GPUs by address, or `None` where sysfs cannot be read.
pub(super) fn nvidia_gpus(sys: &Path) -> Option<Vec<PciGpu>> {
    let mut gpus = Vec::new();
    for entry in fs::read_dir(sys.join("bus/pci/devices")).ok()?.flatten() {
        let folder = entry.path();
        let is_gpu = word(&folder.join("class")).is_some_and(|class| class.starts_with(DISPLAY));
        if is_gpu && word(&folder.join("vendor")).as_deref() == Some(NVIDIA) {
            gpus.push(PciGpu { address: entry.file_name().to_string_lossy().into_owned(), folder });
        }
    }
    gpus.sort_by(|a, b| a.address.cmp(&b.address));
    Some(gpus)
}

/// Returns a PCI address as sysfs writes it: NVML has eight digits of domain and capital letters.
pub(super) fn address(domain: u32, bus: u32, device: u32) -> String {
    // GPUs are function 0 of their slot; the others are its sound and USB controllers.
    format!("{domain:04x}:{bus:02x}:{device:02x}.0")
}

/// Reads a file of one short line; `None` where there is none, where it cannot be read, or where it is empty.
pub(super) fn word(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(sys: &Path, address: &str, vendor: &str, class: &str, status: &str) {
        let folder = sys.join("bus/pci/devices").join(address);
        fs::create_dir_all(folder.join("power")).unwrap();
        fs::write(folder.join("vendor"), format!("{vendor}\n")).unwrap();
        fs::write(folder.join("class"), format!("{class}\n")).unwrap();
        fs::write(folder.join("power/runtime_status"), format!("{status}\n")).unwrap();
    }

    #[test]
    fn finds_gpus_and_whether_they_sleep() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(nvidia_gpus(sys.path()), None);
        device(sys.path(), "0000:41:00.0", NVIDIA, "0x030200", "suspended");
        device(sys.path(), "0000:01:00.0", NVIDIA, "0x030000", "active");
        device(sys.path(), "0000:01:00.1", NVIDIA, "0x040300", "suspended");
        device(sys.path(), "0000:02:00.0", "0x1002", "0x030000", "active");
        let gpus = nvidia_gpus(sys.path()).unwrap();
        let told: Vec<_> = gpus.iter().map(|g| (g.address.as_str(), g.is_asleep())).collect();
        assert_eq!(told, [("0000:01:00.0", false), ("0000:41:00.0", true)]);
    }

    #[test]
    fn a_device_that_does_not_say_is_awake() {
        let sys = tempfile::tempdir().unwrap();
        assert!(!is_asleep(sys.path()));
        device(sys.path(), "0000:01:00.0", NVIDIA, "0x030000", "unsupported");
        assert!(!nvidia_gpus(sys.path()).unwrap()[0].is_asleep());
    }

    #[test]
    fn addresses_are_written_as_in_sysfs() {
        assert_eq!(address(0, 1, 0), "0000:01:00.0");
        assert_eq!(address(0x1_0000, 0xc1, 0x1f), "10000:c1:1f.0");
    }
}
