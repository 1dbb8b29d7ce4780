//! One contract, two stores.
//!
//! One list of cases serves both; a seeded run drives both with the same
//! operations and expects the same answers; stores with a planted bug must be
//! caught by either; and the Redis store meets real faults of real servers.

mod cases;
mod compare;
mod faults;
mod plan;
pub(crate) mod planted;
mod topologies;
mod upkeep;
mod world;
