//! Malformed and hostile bytes, one by one, and what must hold after each.

mod answers;
mod framing;
mod headers;
mod lane;
mod park;
mod target;
mod tokens;
mod upgrade;
mod world;
