//! The screen, state by state: what is told and typed goes in, a picture comes out.

mod presses;
mod screens;
mod stage;
