//! Layers. They hold indices of weights, never weights, and compute with what a residency lends them.

pub mod attention;
pub mod conv;
pub mod expand;
pub mod expand_there;
pub mod linear;
pub mod modulate;
pub mod moments;
pub mod norm;
pub mod patch;
pub mod product;
pub mod rope;
pub mod scope;
pub mod tables;
pub mod time;
pub mod wide;

pub use attention::attend;
pub use conv::Conv2d;
pub use expand::Weight;
pub use linear::Linear;
pub use moments::Moments;
pub use norm::{GroupNorm, LayerNorm, RmsNorm};
pub use product::product;
pub use scope::{Scope, WeightRef};
pub use time::{Embedder, time_embedding};
