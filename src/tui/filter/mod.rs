//! What rows of a list must be: words that they hold, and what is true of them.
//!
//! ```text
//! dusk lighthouse                    both words, in any order and case
//! state=failed & owner=ana           & is "and", as a space is
//! size>4GiB & precision=Q8_0         > < >= <= of numbers, with their units: 4GiB, 7d, 90%, 80C
//! set~=flux | !(age<1h)              ~= holds a text, | is "or", ! is "not"
//! "a=b"                              in quotes everything is a word
//! ```
//!
//! Each list says which fields its rows have. Nothing here knows of screens: text in, a filter or an error with its place out.

pub mod evaluate;
pub mod field;
pub mod parse;
mod tokens;

pub use evaluate::{Filter, Filtered};
pub use field::{Field, Kind, Value};
pub use parse::{FilterError, parse};
