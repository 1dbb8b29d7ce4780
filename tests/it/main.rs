//! Every integration test, linked once.
#![expect(unreachable_pub, reason = "nothing is outside of a test binary")]

mod booking;
mod demo;
mod faults;
mod gate;
mod gates;
mod losses;
mod rehearsal;
mod sim;
mod store;
mod support;
mod swarm;
mod tidy;
mod wire;
