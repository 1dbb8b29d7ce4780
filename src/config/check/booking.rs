//! What the written values of `[booking]` must mean.

use std::time::Duration;

use super::{Problems, key, listen, networks, redis_url};
use crate::config::file::{self, HoldsKind};
use crate::config::{Booking, Kafka, Live, Mail, Toss};

pub(super) fn booking(file: &file::BookingFile, problems: &mut Problems) -> Booking {
    problems.require(
        ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| file.database.starts_with(scheme)),
        "booking.database",
        format!("expected \"sqlite:FILE\" or \"postgres://…\", found {:?}", file.database),
    );
    let redis = file.holds == HoldsKind::Redis;
    if redis && let Err(why) = redis_url(file.redis_url.as_deref().unwrap_or_default()) {
        problems.add("booking.redis_url", why);
    }
    problems.require(
        file.hold_ttl.0 >= Duration::from_secs(1),
        "booking.hold_ttl",
        "expected at least \"1s\"",
    );
    problems.require(
        file.hold_max >= file.hold_ttl,
        "booking.hold_max",
        format!("expected at least hold_ttl = \"{}\", found \"{}\"", file.hold_ttl, file.hold_max),
    );
    problems.require((1..=100).contains(&file.hold_max_seats), "booking.hold_max_seats", "expected 1 to 100");
    problems.require(file.tickets_per_account >= 1, "booking.tickets_per_account", "expected at least 1");
    problems.require(file.refund_fee_percent <= 100, "booking.refund_fee_percent", "expected 0 to 100");
    let assertion_keys = file
        .assertion_keys
        .iter()
        .enumerate()
        .map(|(i, text)| problems.take(key(text), &format!("booking.assertion_keys[{i}]"), || [0; 32]))
        .collect::<Vec<_>>();
    problems.require(
        !file.require_pass || !assertion_keys.is_empty(),
        "booking.assertion_keys",
        "expected the gate's keys, because require_pass = true",
    );
    Booking {
        listen: listen(&file.listen, "booking.listen", problems),
        database: file.database.clone(),
        redis_url: file.redis_url.clone().filter(|_| redis),
        hold_ttl: file.hold_ttl.0,
        hold_max: file.hold_max.0,
        hold_max_seats: file.hold_max_seats,
        tickets_per_account: file.tickets_per_account,
        refund_before: file.refund_before.0,
        refund_fee_percent: file.refund_fee_percent,
        trusted_proxies: networks(&file.trusted_proxies, "booking.trusted_proxies", problems),
        require_pass: file.require_pass,
        assertion_keys,
        jwt_secret: file.jwt_secret.clone(),
        admin: file.admin.as_ref().map(|a| (a.email.clone(), a.password.clone())),
        toss: file.toss.as_ref().map(|file| toss(file, problems)),
        mail: file.mail.as_ref().map(|file| mail(file, problems)),
        kafka: file.kafka.as_ref().map(|file| kafka(file, problems)),
        live: live(&file.live, problems),
    }
}

fn live(file: &file::LiveFile, problems: &mut Problems) -> Live {
    problems.require(file.sockets >= 1, "booking.live.sockets", "expected at least 1");
    problems.require(
        file.idle_timeout.0 >= Duration::from_secs(3),
        "booking.live.idle_timeout",
        format!("expected at least \"3s\", found \"{}\"", file.idle_timeout),
    );
    Live {
        sockets: file.sockets,
        sockets_per_address: file.sockets_per_address,
        idle_timeout: file.idle_timeout.0,
    }
}

fn kafka(file: &file::KafkaFile, problems: &mut Problems) -> Kafka {
    problems.require(
        cfg!(feature = "kafka"),
        "booking.kafka",
        "expected a build with Kafka: cargo build --features kafka",
    );
    let broker = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    problems.require(
        file.brokers.split(',').all(broker),
        "booking.kafka.brokers",
        format!("expected \"host:9092\" or several with commas, found {:?}", file.brokers),
    );
    problems.require(
        file.prefix.len() <= 200
            && file.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        "booking.kafka.prefix",
        format!("expected at most 200 of a-z, A-Z, 0-9, \".\", \"_\" and \"-\", found {:?}", file.prefix),
    );
    Kafka { brokers: file.brokers.clone(), prefix: file.prefix.clone() }
}

fn mail(file: &file::MailFile, problems: &mut Problems) -> Mail {
    // The address holds a password: a message must not repeat it.
    problems.require(
        is_smtp(&file.smtp),
        "booking.mail.smtp",
        "expected \"smtp://user:password@host:587\" or \"smtps://…\", without TLS \"smtp://host:25?tls=off\"",
    );
    problems.require(
        file.from.parse::<lettre::message::Mailbox>().is_ok(),
        "booking.mail.from",
        format!("expected a sender such as \"Tickets <tickets@example.com>\", found {:?}", file.from),
    );
    Mail { smtp: file.smtp.clone(), from: file.from.clone() }
}

fn is_smtp(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let Some(authority) = url.authority() else { return false };
    let server = authority.as_str().rsplit('@').next().unwrap_or_default();
    let port = server.strip_prefix(authority.host()).unwrap_or(server);
    matches!(url.scheme_str(), Some("smtp" | "smtps"))
        && !authority.host().is_empty()
        && (port.is_empty() || authority.port_u16().is_some())
        && matches!(url.path(), "" | "/")
        && matches!(url.query(), None | Some("tls=off"))
}

/// Over TLS, or on this machine.
fn is_private(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && here)
}

/// A page that a browser may be sent to, and to which a query can be added.
fn is_window(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| is_private(&uri)) && !url.contains(['@', '?', '#'])
}

fn toss(file: &file::TossFile, problems: &mut Problems) -> Toss {
    let base = file.base_url.trim_end_matches('/');
    let good = base.parse::<http::Uri>().is_ok_and(|uri| is_private(&uri) && uri.path() == "/")
        && !base.contains(['@', '?', '#']);
    problems.require(
        good,
        "booking.toss.base_url",
        "expected \"https://host\"; http:// only on this machine, because the key goes along".to_owned(),
    );
    problems.require(
        !file.secret_key.is_empty() && file.secret_key.bytes().all(|b| b.is_ascii_graphic() && b != b':'),
        "booking.toss.secret_key",
        "expected visible characters without a colon",
    );
    problems.require(
        (Duration::from_secs(1)..=Duration::from_secs(15)).contains(&file.timeout.0),
        "booking.toss.timeout",
        format!("expected \"1s\" to \"15s\", found \"{}\"", file.timeout),
    );
    problems.require(
        file.window.as_deref().is_none_or(is_window),
        "booking.toss.window",
        "expected \"https://host/path\"; http:// only on this machine".to_owned(),
    );
    Toss {
        base_url: base.to_owned(),
        secret_key: file.secret_key.clone(),
        timeout: file.timeout.0,
        refund_unknown: file.refund_unknown,
        window: file.window.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_goes_out_over_tls_or_stays_on_this_machine() {
        let problems = |base_url: &str| {
            let mut problems = Problems::default();
            let file = format!("base_url = {base_url:?}\nsecret_key = \"k\"");
            toss(&toml::from_str(&file).expect("valid"), &mut problems);
            problems.0.len()
        };
        for good in
            ["https://api.tosspayments.com", "https://a.test/", "http://127.0.0.1:9001", "http://[::1]:1"]
        {
            assert_eq!(problems(good), 0, "{good}");
        }
        for bad in
            ["http://api.tosspayments.com", "ftp://127.0.0.1", "https://k@a.test", "https://a.test/v1", "x"]
        {
            assert_eq!(problems(bad), 1, "{bad}");
        }
    }

    #[test]
    fn a_payment_window_is_a_page_without_a_query() {
        for good in
            ["https://pay.example/shop", "https://pay.example", "http://127.0.0.1:9001/stand-in/checkout"]
        {
            assert!(is_window(good), "{good}");
        }
        for bad in [
            "http://pay.example/",
            "javascript:alert(1)",
            "/checkout",
            "https://a@b.test/",
            "https://a.test/?b",
            "",
        ] {
            assert!(!is_window(bad), "{bad}");
        }
    }

    #[test]
    fn a_mail_server_is_named_by_its_url_and_never_repeated() {
        for url in ["smtp://h", "smtp://u:p@h:587", "smtps://u:p@h", "smtp://h:25?tls=off", "smtp://[::1]:25"]
        {
            assert!(is_smtp(url), "{url}");
        }
        for url in ["", "h:25", "http://h", "smtp://", "smtp://h/x", "smtp://h?tls=maybe", "smtp://h:x"] {
            assert!(!is_smtp(url), "{url}");
        }
        let mut problems = Problems::default();
        let file = file::MailFile { smtp: "http://u:s3cret@h".into(), from: "nobody".into() };
        let _ = mail(&file, &mut problems);
        assert_eq!(problems.0.len(), 2);
        assert!(!format!("{:?}", problems.0).contains("s3cret"));
    }

    #[test]
    fn kafka_needs_a_build_that_has_it() {
        let found = |brokers: &str, prefix: &str| {
            let mut problems = Problems::default();
            let _ = kafka(&file::KafkaFile { brokers: brokers.into(), prefix: prefix.into() }, &mut problems);
            problems
                .0
                .into_iter()
                .map(|(key, _)| key)
                .filter(|key| key != "booking.kafka")
                .collect::<Vec<_>>()
        };
        assert!(found("a:9092,b:9092", "sale-").is_empty());
        assert_eq!(found("a:9092,", "a b"), ["booking.kafka.brokers", "booking.kafka.prefix"]);
        let mut problems = Problems::default();
        let _ = kafka(&file::KafkaFile { brokers: "a:1".into(), prefix: String::new() }, &mut problems);
        assert_eq!(problems.0.is_empty(), cfg!(feature = "kafka"));
    }
}
