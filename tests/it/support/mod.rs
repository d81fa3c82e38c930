//! What several tests need.

pub(crate) mod nvml_stub;
pub(crate) mod wait;
pub(crate) mod weights_file;
