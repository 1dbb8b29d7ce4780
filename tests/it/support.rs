//! What the tests share: servers of their own on free ports, in scratch folders.

pub(crate) mod app;
pub(crate) mod booking;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod http1;
pub(crate) mod office;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis_server;
pub(crate) mod set_clock;
pub(crate) mod smtp;
pub(crate) mod stalls;
pub(crate) mod talker;
pub(crate) mod tls;
pub mod toss;
pub(crate) mod viewer;
pub(crate) mod wait;
