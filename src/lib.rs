//! Usher: a waiting room for on-sales, and the booking office behind it.
//!
//! The map. Rules are pure, edges are thin, `main` does the wiring.
//!
//! | module | owns | imports of ours |
//! | --- | --- | --- |
//! | [`domain`] | the rules of line, pass, seat and order | nothing |
//! | [`clock`] | the only calls to the host's clocks | domain |
//! | [`config`] | settings, read and checked | domain |
//! | [`telemetry`] | log lines and metric families | queue, config |
//! | [`server`] | connections: from an accepted stream to HTTP requests | domain, clock |
//! | [`redis`] | connections to Redis: failover, timeouts | config |
//! | [`store`] | where lines live: memory or Redis | domain, clock, redis |
//! | [`queue`] | the view that answers polls, arrivals in groups, the tick | store, domain, clock, config |
//! | [`gate`] | what the crowd meets: decide, tokens, pages, forwarding | queue, domain, clock, config, telemetry, server |
//! | [`admin`] | health, metrics, rooms: the operators' side | queue, domain, store, config, telemetry, lifecycle |
//! | [`lifecycle`] | signals, drain, shutdown | server |
//! | [`run`] | puts a process together | everything |
//! | [`cli`] | arguments → one mode | run, config, keys |
//! | [`swarm`] | a simulated crowd, and what it saw checked | domain, clock |
//! | [`rehearsal`] | gates and crowd in a simulated world, without sockets | queue, store, domain, clock, config, swarm |
//! | [`booking`] | seats, holds, orders, payments: the office behind the gate | domain, clock, config, redis |
//! | [`standin`] | a payment provider and a mailbox on this machine, for tests and the demo | domain, clock |
//! | [`demo`] | gate and booking in one process | run, config |
//! | [`keys`] | signing keys: made, kept, found again | config |

pub mod admin;
pub mod booking;
pub mod cli;
pub mod clock;
pub mod config;
mod demo;
pub mod domain;
pub mod gate;
pub mod keys;
pub mod lifecycle;
pub mod queue;
pub mod redis;
pub mod rehearsal;
mod run;
pub mod server;
pub mod standin;
pub mod store;
pub mod swarm;
pub mod telemetry;
