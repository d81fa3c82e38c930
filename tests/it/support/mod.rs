//! What several tests share.

pub(crate) mod fake_link;
pub(crate) mod fixtures;
pub(crate) mod screen;
