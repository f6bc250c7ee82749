//! The screen, state by state: what is told and typed goes in, a picture comes out; and the way to a
//! daemon that dies.

mod edge;
mod presses;
mod screens;
mod stage;
