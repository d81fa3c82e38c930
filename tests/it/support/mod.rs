//! What the tests share.

pub(crate) mod builders;
pub(crate) mod daemon;
pub(crate) mod talk;
pub(crate) mod wait;
pub(crate) mod weights_file;
