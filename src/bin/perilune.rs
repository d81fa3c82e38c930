//! The dashboard and every command.

fn main() {}
