//! Where the outside comes in: requests are decoded, passed on, and answered.

pub mod oneshot;
