//! `usher demo`: gate and booking in one process, nothing installed, a sample
//! event on sale.

use std::net::SocketAddr;

use crate::config::{Booking as BookingConfig, Config, Keys, LoadError, load_text};
use crate::run::Process;

const SETTINGS: &str = include_str!("../config/demo.toml");

/// The demo's settings; the environment may override them.
///
/// # Errors
/// [`LoadError`] for a bad override.
pub(crate) fn settings() -> Result<Config, LoadError> {
    load_text("config/demo.toml", SETTINGS, std::env::vars())
}

/// Puts the demo together; answers what to tell the person who started it.
///
/// # Errors
/// When an address is taken.
pub(crate) fn prepare(config: &Config, keys: &Keys) -> anyhow::Result<(Process, String)> {
    let mut process = Process::new(config, false)?;
    // The office believes this gate and no other.
    let assertion_keys = [Some(keys.current), keys.previous].into_iter().flatten().collect();
    let office = BookingConfig { require_pass: true, assertion_keys, ..config.booking.clone() };
    process.add_booking(&office, true)?;
    process.add_gate(config, keys, None)?;
    Ok((process, welcome(config)))
}

fn welcome(config: &Config) -> String {
    let gate = reachable(config.gate.listen);
    let admin = reachable(config.admin.listen);
    let office = reachable(config.booking.listen);
    format!(
        "Usher's demo is up.\n\
         \n\
         \x20 the sale      http://{gate}/           stand in line, take a seat, pay with play money\n\
         \x20 the API       http://{gate}/api/docs\n\
         \x20 operators     http://{admin}/metrics   and `usher room list`\n\
         \x20 behind it     http://{office}/           the booking office itself\n\
         \n\
         What to try: open the sale, then send a crowd and open it once more in a private window:\n\
         \x20 usher swarm --target http://{gate} --visitors 500 --path /api/events\n"
    )
}

/// An address to type: a listener on every address is on this machine too.
fn reachable(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() { format!("127.0.0.1:{}", listen.port()) } else { listen.to_string() }
}
