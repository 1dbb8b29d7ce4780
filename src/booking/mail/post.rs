//! The way to the mail server (SMTP, RFC 5321).
//!
//! Connections are kept and used again. A password never goes out in the clear
//! unless the settings say `?tls=off`, and is never logged; neither is what the
//! server answers, which may name the recipient.

use std::time::Duration;

use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::letter::Letter;
use crate::config::Mail;
use crate::domain::time::Timestamp;

/// One step of the conversation may take this long.
const STEP: Duration = Duration::from_secs(20);
/// A connection without work is closed after this.
const IDLE: Duration = Duration::from_secs(30);
/// Answers that are about this mail and will not change (RFC 5321, 4.2.3):
/// no such mailbox, not for us, no such name, domain takes no mail. Others,
/// such as a wrong password or a full mailbox, are worth another try.
const FINAL: [u16; 4] = [550, 551, 553, 556];

/// The settings name no server that can be talked to.
#[derive(Debug, thiserror::Error)]
pub enum BadServer {
    /// Not an address, or the certificates of this host cannot be read.
    #[error("booking.mail.smtp: the server cannot be set up")]
    Server(#[source] lettre::transport::smtp::Error),
    /// Not a sender.
    #[error("booking.mail.from: no address")]
    Sender(#[from] AddressError),
}

/// Why a mail did not get out.
#[derive(Debug)]
pub(super) enum Unsent {
    /// It never will.
    Refused(String),
    /// Perhaps the next time.
    Later(String),
}

/// A mail server and a sender.
pub(super) struct Post {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Post {
    pub(super) fn open(settings: &Mail) -> Result<Self, BadServer> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(&settings.smtp))
            .map_err(BadServer::Server)?
            .timeout(Some(STEP))
            .pool_config(PoolConfig::new().idle_timeout(IDLE))
            .build();
        Ok(Self { server, from: settings.from.parse()? })
    }

    pub(super) async fn send(&self, letter: &Letter, now: Timestamp) -> Result<(), Unsent> {
        let message = self.message(letter, now)?;
        self.server.send(message).await.map(|_| ()).map_err(|why| match why.status().map(u16::from) {
            Some(code) if FINAL.contains(&code) => Unsent::Refused(format!("the server said {code}")),
            Some(code) => Unsent::Later(format!("the server said {code}")),
            None => Unsent::Later(why.to_string()),
        })
    }

    fn message(&self, letter: &Letter, now: Timestamp) -> Result<Message, Unsent> {
        let refused = |why: &dyn std::fmt::Display| Unsent::Refused(why.to_string());
        let (name, address) = &letter.to;
        let address = address.parse().map_err(|why: AddressError| refused(&why))?;
        // Sent again, it is still the same mail.
        let id = format!("<{}@{}>", letter.id(), self.from.email.domain());
        let date = std::time::UNIX_EPOCH + Duration::from_millis(now.as_millis());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(one_line(name)), address))
            .subject(one_line(&letter.subject()))
            .date(date)
            .message_id(Some(id))
            // RFC 3834: no out-of-office answers, please.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".into(),
            ))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Content-Language"),
                letter.language_tag().into(),
            ))
            .multipart(MultiPart::alternative_plain_html(letter.text(), letter.html()))
            .map_err(|why| refused(&why))
    }
}

/// The library's way of saying what the settings say: `?tls=off` is its
/// default, a password needs TLS, and otherwise TLS is taken where it is offered.
fn with_tls(url: &str) -> String {
    match url.strip_suffix("?tls=off") {
        Some(plain) => plain.to_owned(),
        None if url.starts_with("smtps:") => url.to_owned(),
        None if url.contains('@') => format!("{url}?tls=required"),
        None => format!("{url}?tls=opportunistic"),
    }
}

/// Without line breaks and other control characters: no header ends early.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_needs_tls_unless_it_is_off_aloud() {
        assert_eq!(with_tls("smtp://u:p@h:587"), "smtp://u:p@h:587?tls=required");
        assert_eq!(with_tls("smtp://h"), "smtp://h?tls=opportunistic");
        assert_eq!(with_tls("smtp://u:p@h:25?tls=off"), "smtp://u:p@h:25");
        assert_eq!(with_tls("smtps://u:p@h"), "smtps://u:p@h");
    }

    #[test]
    fn a_name_cannot_add_a_header() {
        assert_eq!(one_line("Fan\r\nBcc: all@example.org"), "Fan  Bcc: all@example.org");
    }
}
