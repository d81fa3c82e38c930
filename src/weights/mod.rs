//! What a checkpoint contains: element types, shapes, tensors in files, and blocks of tensors.
//!
//! Values only. Nothing here opens a file or knows which model it looks at.

pub mod block_table;
pub mod catalog;
pub mod coded;
pub mod dtype;
pub mod effort;
pub mod encoder_keys;
pub mod keys;
pub mod rows;
pub mod shape;

pub use block_table::{Block, BlockTable, Param, Unit};
pub use catalog::{Catalog, TensorEntry};
pub use coded::{Code, Coded};
pub use dtype::{DType, Precision};
pub use effort::{BlockKind, Effort};
pub use shape::Shape;
