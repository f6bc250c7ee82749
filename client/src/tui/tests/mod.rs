//! The screen, state by state: what is told and typed goes in, a picture comes out; and the way to a
//! daemon that dies.

mod cards;
mod edge;
mod hard;
mod others;
mod presses;
mod queue;
mod screens;
mod stage;
mod unasked;
