//! `usher demo`: gate and booking in one process, nothing installed, a sample
//! event on sale.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::{Booking as BookingConfig, Config, Keys, LoadError, Mail, Toss, load_text};
use crate::run::Process;
use crate::standin;

/// Where the payment stand-in listens, if nobody else does, and the mailbox's page.
const BANK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_001);
const MAILBOX: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_002);

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
    let mut office = BookingConfig { require_pass: true, assertion_keys, ..config.booking.clone() };
    let mut more = String::new();
    // Settings that name a provider are taken at their word.
    if office.toss.is_none() {
        let bank = bank(config)?;
        more += &format!(
            "\x20 cards         http://{}/stand-in/payments   the payment stand-in: no money moves\n",
            bank.listen
        );
        office.toss = Some(Toss {
            base_url: format!("http://{}", bank.listen),
            secret_key: bank.secret_key.clone(),
            timeout: Duration::from_secs(15),
            refund_unknown: true,
            window: Some(format!("http://{}/stand-in/checkout", bank.listen)),
        });
        process.add_stand_in(bank)?;
    }
    if office.mail.is_none() {
        let page = free_near(MAILBOX)?;
        let post = process.add_mailbox(page)?;
        let smtp = format!("smtp://{post}?tls=off");
        office.mail = Some(Mail { smtp, from: "Usher's demo <tickets@usher.example>".into() });
        more += &format!(
            "\x20 mail          http://{page}/           every mail of the demo: none leaves this machine\n"
        );
    }
    process.add_booking(&office, true)?;
    process.add_gate(config, keys, None)?;
    Ok((process, welcome(config, &more)))
}

/// The stand-in on its port, or on a free one, telling the office what changes.
fn bank(config: &Config) -> anyhow::Result<standin::Options> {
    let listen = free_near(BANK)?;
    let webhook = format!("http://{}/api/payments/webhooks/toss", reachable(config.booking.listen));
    Ok(standin::Options { listen, webhook: webhook.parse().ok(), ..standin::Options::default() })
}

/// This address, or a free port beside it when somebody listens there.
fn free_near(address: SocketAddr) -> std::io::Result<SocketAddr> {
    let free = |address: SocketAddr| std::net::TcpListener::bind(address).and_then(|l| l.local_addr());
    free(address).or_else(|_| free(SocketAddr::new(address.ip(), 0)))
}

fn welcome(config: &Config, more: &str) -> String {
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
         {more}\
         \n\
         What to try: open the sale, then send a crowd and open it once more in a private window:\n\
         \x20 usher swarm --target http://{gate} --visitors 500 --path /api/events\n"
    )
}

/// An address to type: a listener on every address is on this machine too.
fn reachable(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() { format!("127.0.0.1:{}", listen.port()) } else { listen.to_string() }
}
