//! Ports that no other test takes, in this process or in another.
//!
//! A port has to be free from when it is chosen until its server listens, and
//! while that server is restarted. So none is one that the system gives to
//! outgoing connections, and none is given twice: a process reserves a block by
//! listening on another loopback address for as long as it lives.

use std::net::{Ipv4Addr, TcpListener};

use parking_lot::Mutex;

/// Where reservations are made; nothing is served there.
const RESERVED: Ipv4Addr = Ipv4Addr::new(127, 83, 21, 7);
const FIRST: u16 = 12_000;
const BLOCK: u16 = 250;
/// Up to 22,000: what a Redis cluster adds for its bus stays below 32,768.
const BLOCKS: u16 = 40;
const BUS: u16 = 10_000;

struct Blocks {
    next: u16,
    end: u16,
    reservations: Vec<TcpListener>,
}

/// A port nobody listens on, and whose cluster bus port is free as well.
///
/// # Panics
/// When every block is another process's.
pub(crate) fn free_port() -> u16 {
    static BLOCKS_TAKEN: Mutex<Blocks> = Mutex::new(Blocks { next: 0, end: 0, reservations: Vec::new() });
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut taken = BLOCKS_TAKEN.lock();
    loop {
        if taken.next == taken.end {
            taken.reserve();
        }
        taken.next += 1;
        let port = taken.next - 1;
        if is_free(port) && is_free(port + BUS) {
            return port;
        }
    }
}

impl Blocks {
    fn reserve(&mut self) {
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("small");
        let blocks = (0..BLOCKS).map(|n| FIRST + (start + n) % BLOCKS * BLOCK);
        let mut free = blocks.filter_map(|first| Some((first, TcpListener::bind((RESERVED, first)).ok()?)));
        let (first, reservation) = free.next().expect("a block of ports is left");
        self.reservations.push(reservation);
        (self.next, self.end) = (first, first + BLOCK);
    }
}
