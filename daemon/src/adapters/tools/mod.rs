//! The tools the model may use, one a file.

pub mod exec;
