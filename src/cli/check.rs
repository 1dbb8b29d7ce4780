//! `usher check`: what is in effect, and whether it can be reached.

use std::time::Duration;

use anyhow::Context as _;

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::config::file::File;
use crate::run::open_store;
use std::sync::Arc;

const HIDDEN: &str = "(hidden)";

/// The effective settings as TOML, secrets hidden.
pub(super) fn effective(mut file: File) -> String {
    let hide = |secret: &mut Option<String>| {
        if let Some(secret) = secret {
            *secret = HIDDEN.into();
        }
    };
    hide(&mut file.gate.keys.current);
    hide(&mut file.gate.keys.previous);
    hide(&mut file.admin.token);
    hide(&mut file.booking.jwt_secret);
    file.booking.assertion_keys.iter_mut().for_each(|key| *key = HIDDEN.into());
    for url in [&mut file.store.url, &mut file.booking.redis_url].into_iter().flatten() {
        *url = without_password(url);
    }
    file.booking.database = without_password(&file.booking.database);
    if let Some(admin) = &mut file.booking.admin {
        admin.password = HIDDEN.into();
    }
    if let Some(toss) = &mut file.booking.toss {
        toss.secret_key = HIDDEN.into();
    }
    if let Some(mail) = &mut file.booking.mail {
        mail.smtp = without_password(&mail.smtp);
    }
    for room in &mut file.room {
        if let Some(header) = &mut room.bypass.header {
            let name = header.split(':').next().unwrap_or_default();
            *header = format!("{name}: {HIDDEN}");
        }
    }
    toml::to_string(&file).unwrap_or_else(|why| why.to_string())
}

/// A URL whose user part is hidden.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{HIDDEN}{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

/// Reaches what the settings name.
pub(super) fn online(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        open_store(&config.store, &clock).await?;
        for room in &config.rooms {
            for upstream in &room.upstreams {
                let connected = tokio::net::TcpStream::connect(upstream);
                tokio::time::timeout(Duration::from_secs(3), connected)
                    .await
                    .map_err(std::io::Error::from)
                    .and_then(|connected| connected)
                    .with_context(|| format!("room {}: upstream {upstream}", room.name))?;
            }
        }
        if let Some(toss) = &config.booking.toss {
            reach(&toss.base_url).await.with_context(|| format!("booking.toss: {}", toss.base_url))?;
        }
        Ok(())
    })
}

/// Connects to the host of a URL.
async fn reach(url: &str) -> anyhow::Result<()> {
    let url: http::Uri = url.parse()?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    tokio::time::timeout(Duration::from_secs(3), tokio::net::TcpStream::connect((host, port))).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let text = r#"
            [gate.keys]
            current = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            [admin]
            token = "s3cret-token"
            [store]
            kind = "redis"
            url = "redis://user:s3cret@127.0.0.1:6379"
            [booking]
            database = "postgres://user:s3cret@db/usher"
            jwt_secret = "s3cret-jwt"
            admin = { email = "a@b.test", password = "s3cret" }
            mail = { smtp = "smtp://user:s3cret@mail.test:587", from = "a@b.test" }
            toss = { secret_key = "s3cret" }
            [[room]]
            upstreams = ["http://127.0.0.1:1"]
            bypass = { header = "X-Let-Me-In: s3cret" }
        "#;
        let shown = effective(toml::from_str(text).expect("valid"));
        assert!(!shown.contains("s3cret") && !shown.contains("AAAA"), "{shown}");
        assert!(shown.contains("redis://(hidden)@127.0.0.1:6379"), "{shown}");
    }
}
