//! What the session needs of the world, as traits: a model that answers, a tool that acts.
//!
//! Adapters implement them; the session knows nothing else of HTTP, processes or files.

pub mod model;
pub mod tool;
