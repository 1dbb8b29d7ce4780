//! The mailbox to look at: a list, a mail, and both as JSON.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mail_parser::{Message, MessageParser};
use serde_json::{Value, json};

use super::{Mail, Mailbox};

const STYLE: &str = "<meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
    <style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;\
    margin:2rem auto;padding:0 1rem}table{width:100%;border-collapse:collapse}td,th{text-align:left;\
    padding:.4rem;border-bottom:1px solid #8886}iframe{width:100%;height:28rem;border:1px solid #8886;\
    background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere}</style>";

pub(super) fn routes() -> Router<Arc<Mailbox>> {
    Router::new()
        .route("/", get(list))
        .route("/mails", get(all))
        .route("/mails/{number}", get(one))
        .route("/mails/{number}/html", get(html))
}

/// What a mail says of itself, decoded.
fn read(mail: &Mail) -> Option<Message<'_>> {
    MessageParser::default().parse(&mail.raw)
}

fn subject(message: Option<&Message<'_>>) -> String {
    message.and_then(|message| message.subject()).unwrap_or("(no subject)").to_owned()
}

fn text(message: Option<&Message<'_>>) -> String {
    message.and_then(|message| message.body_text(0)).map(Into::into).unwrap_or_default()
}

async fn list(State(mailbox): State<Arc<Mailbox>>) -> Html<String> {
    let row = |mail: &Arc<Mail>| {
        format!(
            "<tr><td>{}</td><td>{}</td><td><a href=\"/mails/{}\">{}</a></td></tr>",
            time(mail),
            escape(&mail.to.join(", ")),
            mail.number,
            escape(&subject(read(mail).as_ref())),
        )
    };
    let rows: String = mailbox.mails().iter().map(row).collect();
    let rows = if rows.is_empty() { "<tr><td colspan=3>None yet.</td></tr>".to_owned() } else { rows };
    Html(format!(
        "<!doctype html><html lang=en>{STYLE}<meta http-equiv=refresh content=5><title>Mailbox</title>\
         <h1>Mailbox</h1><p>Every mail of this demo ends here; none leaves this machine.</p>\
         <table><thead><tr><th>Came<th>To<th>Subject</thead><tbody>{rows}</tbody></table></html>"
    ))
}

async fn all(State(mailbox): State<Arc<Mailbox>>) -> Json<Value> {
    let item = |mail: &Arc<Mail>| {
        let message = read(mail);
        json!({
            "number": mail.number, "from": mail.from, "to": mail.to,
            "received_at": mail.received_at.as_millis(),
            "subject": subject(message.as_ref()), "text": text(message.as_ref()),
        })
    };
    Json(json!({"items": mailbox.mails().iter().map(item).collect::<Vec<_>>()}))
}

async fn one(State(mailbox): State<Arc<Mailbox>>, Path(number): Path<u64>) -> Response {
    let Some(mail) = mailbox.mail(number) else { return StatusCode::NOT_FOUND.into_response() };
    let message = read(&mail);
    let subject = escape(&subject(message.as_ref()));
    Html(format!(
        "<!doctype html><html lang=en>{STYLE}<title>{subject}</title><p><a href=\"/\">Mailbox</a></p>\
         <h1>{subject}</h1><p>To {to}, from {from}, {time}</p>\
         <iframe sandbox title=\"The mail\" src=\"/mails/{number}/html\"></iframe>\
         <h2>As text</h2><pre>{text}</pre></html>",
        to = escape(&mail.to.join(", ")),
        from = escape(&mail.from),
        time = time(&mail),
        text = escape(&text(message.as_ref())),
    ))
    .into_response()
}

/// What the sender made of it: shown, but it may neither run nor fetch anything.
async fn html(State(mailbox): State<Arc<Mailbox>>, Path(number): Path<u64>) -> Response {
    const ALONE: HeaderValue =
        HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:");
    let Some(mail) = mailbox.mail(number) else { return StatusCode::NOT_FOUND.into_response() };
    let message = read(&mail);
    let body = message.and_then(|message| message.body_html(0).map(|html| html.into_owned()));
    ([(header::CONTENT_SECURITY_POLICY, ALONE)], Html(body.unwrap_or_default())).into_response()
}

fn time(mail: &Mail) -> String {
    let at = i64::try_from(mail.received_at.as_millis()).ok();
    at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .map_or_else(String::new, |at| format!("{} UTC", at.strftime("%H:%M:%S")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
