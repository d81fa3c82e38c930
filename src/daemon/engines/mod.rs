//! Engine processes: started, spoken with, watched, ended.

pub mod link;
pub mod output_lines;
pub mod spawn;

pub use link::{Link, LinkSpec};
