//! OpenAI Chat Completions, and what others made of it.
//!
//! Servers differ in what they leave out or say twice; everything that can be understood is. Tools
//! that take free text are offered as functions with one string.

mod calls;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use self::{decode::Decoder, encode::encode};
