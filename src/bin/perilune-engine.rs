//! The engine: the only program that links libtorch.

fn main() {}
