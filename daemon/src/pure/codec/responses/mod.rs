//! OpenAI Responses.
//!
//! Nothing is stored at the provider: the whole conversation travels with each request, reasoning
//! as the encrypted items the provider gave.

mod decode;
mod encode;
mod event;
#[cfg(test)]
mod tests;

pub use self::{decode::Decoder, encode::encode};
