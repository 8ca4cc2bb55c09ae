//! From a network and a plan to firmware.

pub mod firmware;
