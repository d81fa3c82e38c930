//! Why NVIDIA devices cannot be read, in words that help: the cause, with versions, and what to do.

use std::fs;
use std::path::Path;

use crate::devices::GpuProblem;
use crate::telemetry::pci::word;

/// How opening NVML failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The library cannot be loaded.
    NoLibrary {
        /// The loader's words.
        detail: String,
    },
    /// The kernel module is not loaded.
    NoDriver,
    /// Kernel module and library are of different versions.
    Mismatch,
    /// This user may not talk to the driver.
    Forbidden,
    /// Anything else.
    Failed {
        /// NVML's words.
        detail: String,
    },
}

/// What is known besides NVML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The library that settings name.
    pub(super) library: Option<String>,
    /// Version of the loaded kernel module.
    pub(super) module_version: Option<String>,
    /// Version of the installed library.
    pub(super) library_version: Option<String>,
    /// How many NVIDIA GPUs are on the bus.
    pub(super) gpus: Option<usize>,
}

/// Where distributions put the library.
const LIBRARY_FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
    "/usr/lib/wsl/lib",
];

/// Returns the version of the loaded kernel module.
pub(super) fn module_version(sys: &Path) -> Option<String> {
    word(&sys.join("module/nvidia/version"))
}

/// Returns the version of a library, from the name of the file that its links lead to.
pub(super) fn library_version(library: Option<&Path>) -> Option<String> {
    let version = |path: &Path| {
        let name = fs::canonicalize(path).ok()?.file_name()?.to_string_lossy().into_owned();
        let version = name.split_once(".so.")?.1.to_owned();
        version.contains('.').then_some(version)
    };
    match library {
        Some(path) => version(path),
        None => LIBRARY_FOLDERS.iter().find_map(|folder| version(&Path::new(folder).join("libnvidia-ml.so.1"))),
    }
}

/// Says what is wrong and what to do.
pub(super) fn problem(failure: &Failure, around: &Surroundings) -> GpuProblem {
    let is_absent = match failure {
        Failure::NoLibrary { .. } => around.library.is_none() && around.gpus == Some(0),
        Failure::NoDriver => around.gpus == Some(0),
        Failure::Mismatch | Failure::Forbidden | Failure::Failed { .. } => false,
    };
    if is_absent {
        return no_gpu();
    }
    let (cause, hint) = match failure {
        Failure::NoLibrary { detail } => no_library(detail, around),
        Failure::NoDriver => {
            let library = around.library_version.as_ref().map(|v| format!("; its library {v} is installed")).unwrap_or_default();
            (
                format!("the NVIDIA driver is not loaded{library}"),
                "load it with `sudo modprobe nvidia`; if that fails, `sudo dmesg | grep -i nvidia` says why: often the module was not \
                 built for a new kernel, and installing the driver again builds it"
                    .to_owned(),
            )
        }
        Failure::Mismatch => (
            mismatch(around),
            "reboot, or load the new module: `sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia`; \
             in a container, restart it"
                .to_owned(),
        ),
        Failure::Forbidden => (
            "this user may not talk to the NVIDIA driver".to_owned(),
            "let this user, or this container, open /dev/nvidiactl and /dev/nvidia0…N".to_owned(),
        ),
        Failure::Failed { detail } => {
            (format!("the NVIDIA driver does not start: {detail}"), "`nvidia-smi` and `sudo dmesg | grep -i nvrm` may say more".to_owned())
        }
    };
    GpuProblem { cause, hint, is_absent: false }
}

/// Says that the driver works and has nothing to show.
pub(super) fn no_devices(driver: Option<&str>) -> GpuProblem {
    let driver = driver.map(|v| format!(" {v}")).unwrap_or_default();
    GpuProblem {
        cause: format!("the NVIDIA driver{driver} is loaded but finds no GPU"),
        hint: "`lspci -d 10de:` lists the cards that the bus sees, `sudo dmesg | grep -i nvrm` what the driver makes of them".to_owned(),
        is_absent: false,
    }
}

/// Says that the driver does not answer.
pub(super) fn silent() -> GpuProblem {
    GpuProblem {
        cause: "the NVIDIA driver does not answer".to_owned(),
        hint: "if it stays so, `sudo dmesg | grep -i xid` names the fault; a GPU that hangs needs a reset or a reboot".to_owned(),
        is_absent: false,
    }
}

fn no_gpu() -> GpuProblem {
    GpuProblem {
        cause: "this machine has no NVIDIA GPU".to_owned(),
        hint: "cpu, disk and simulated devices work without; a container must be given its GPUs, as with `docker run --gpus all`"
            .to_owned(),
        is_absent: true,
    }
}

fn no_library(detail: &str, around: &Surroundings) -> (String, String) {
    match &around.library {
        Some(path) => {
            (format!("the NVIDIA library {path} cannot be loaded: {detail}"), "correct `nvml` in config.yaml, or PERILUNE_NVML".to_owned())
        }
        None => (
            "the NVIDIA library libnvidia-ml.so.1 is not installed".to_owned(),
            "install the NVIDIA driver, or name the library in PERILUNE_NVML; a container must be given its GPUs, as with \
             `docker run --gpus all`"
                .to_owned(),
        ),
    }
}

fn mismatch(around: &Surroundings) -> String {
    match (&around.module_version, &around.library_version) {
        (Some(module), Some(library)) => format!("NVIDIA driver {module} is loaded but its library is {library}"),
        (Some(module), None) => format!("NVIDIA driver {module} is loaded but its library is of another version"),
        (None, Some(library)) => format!("the NVIDIA library is {library} but the loaded driver is of another version"),
        (None, None) => "the loaded NVIDIA driver and its library are of different versions".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            library: None,
            module_version: Some("580.95.05".to_owned()),
            library_version: Some("580.82.07".to_owned()),
            gpus: Some(1),
        }
    }

    #[test]
    fn a_mismatch_names_both_versions_where_known() {
        let cause = |around: &Surroundings| problem(&Failure::Mismatch, around).cause;
        assert_eq!(cause(&around()), "NVIDIA driver 580.95.05 is loaded but its library is 580.82.07");
        assert!(!cause(&Surroundings::default()).contains("None"));
        assert!(cause(&Surroundings { library_version: None, ..around() }).contains("580.95.05"));
        assert!(cause(&Surroundings { module_version: None, ..around() }).contains("580.82.07"));
    }

    #[test]
    fn a_machine_without_a_gpu_is_not_told_to_install_a_driver() {
        let missing = Failure::NoLibrary { detail: "not found".to_owned() };
        let bare = Surroundings { gpus: Some(0), ..Surroundings::default() };
        assert_eq!(problem(&missing, &bare).cause, "this machine has no NVIDIA GPU");
        assert_eq!(problem(&Failure::NoDriver, &bare).cause, "this machine has no NVIDIA GPU");
        assert!(problem(&missing, &bare).is_absent && !problem(&missing, &around()).is_absent);
        assert!(problem(&missing, &around()).hint.contains("install the NVIDIA driver"));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let around = Surroundings { library: Some("/opt/none.so".to_owned()), gpus: Some(0), ..Surroundings::default() };
        let told = problem(&Failure::NoLibrary { detail: "no such file".to_owned() }, &around);
        assert!(told.cause.contains("/opt/none.so") && told.hint.contains("PERILUNE_NVML"));
    }

    #[test]
    fn every_failure_has_a_hint_of_one_line() {
        let text = || "x".to_owned();
        for failure in [
            Failure::NoLibrary { detail: text() },
            Failure::NoDriver,
            Failure::Mismatch,
            Failure::Forbidden,
            Failure::Failed { detail: text() },
        ] {
            let told = problem(&failure, &around());
            assert!(!told.hint.is_empty() && !told.hint.contains('\n') && !told.cause.contains('\n'), "{told:?}");
        }
    }

    #[test]
    fn a_library_tells_its_version_by_its_file_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libnvidia-ml.so.580.82.07");
        fs::write(&file, "").unwrap();
        let link = folder.path().join("libnvidia-ml.so.1");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(library_version(Some(&link)).as_deref(), Some("580.82.07"));
        fs::remove_file(&link).unwrap();
        fs::write(&link, "").unwrap();
        assert_eq!(library_version(Some(&link)), None);
    }
}
