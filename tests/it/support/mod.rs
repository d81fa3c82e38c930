//! What the tests share.

pub(crate) mod weights_file;
