//! What several tests share.

pub(crate) mod builders;
pub(crate) mod daemon;
pub(crate) mod fixtures;
pub(crate) mod hostile;
pub(crate) mod nvml_stub;
pub(crate) mod screen;
pub(crate) mod talk;
pub(crate) mod terminal;
pub(crate) mod wait;
pub(crate) mod weights_file;
