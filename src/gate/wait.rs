//! Plain requests that are begun, or answered, without hyper: to the app by the
//! fast lane, calls of the gate's own endpoints, and waiting answers.
//!
//! This is what the first crowd sends. All is decided and answered by the very
//! steps of the ordinary way, and whatever is not sure from the view alone, as a
//! turn that has come, is left to it.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::close;
use super::arrive::{Arrived, How, recall};
use super::body::{Reply, Sent};
use super::decide::{Decision, Endpoint, Facts, Upgrade, decide};
use super::lane::Forwarded;
use super::site::Site;
use super::visit::{Asked, Inside};
use super::visitor::{Carrier, Fields as _};
use super::{Gate, accepts_html, address, request};
use crate::domain::time::Timestamp;
use crate::server::{AtOnce, Downstream, Gone, PlainRequest, Relay, write_answer};

/// Bytes that hold an answer's head without growing.
const USUAL_HEAD: usize = 1_024;

/// A plain request that was begun.
#[expect(clippy::large_enum_variant, reason = "the hot one is not put on the heap for the sake of the other")]
pub enum Begun {
    /// Sent to the app.
    Forwarded(Forwarded),
    /// For one of the gate's own endpoints.
    Call(Box<Call>),
}

/// A call of one of the gate's own endpoints.
pub struct Call {
    gate: Arc<Gate>,
    parts: Parts,
    address: IpAddr,
    peer: SocketAddr,
    endpoint: Endpoint,
    body: Full<Bytes>,
}

/// A request to the app, and what is known of it.
pub(super) struct Visit<'a, 'p> {
    pub(super) site: &'a Arc<Site>,
    pub(super) asked: &'a Asked<'a, PlainRequest<'p>>,
    pub(super) facts: Facts,
    pub(super) inside: Inside,
    pub(super) now: Timestamp,
}

impl Gate {
    /// Begins or answers a plain request, or leaves it to the ordinary way.
    pub(super) fn begin_at_once(
        self: &Arc<Self>,
        peer: SocketAddr,
        plain: &PlainRequest<'_>,
        time_of_day: Timestamp,
        answer: &mut Vec<u8>,
    ) -> AtOnce<Begun> {
        let address = address::client(peer, plain, &self.config.trusted_proxies);
        let begun = match Endpoint::of(plain.path()) {
            // Large, the same for all, and not to be copied for each.
            Some(Endpoint::Draw) => None,
            Some(endpoint) => self.call_at_once(endpoint, peer, address, plain),
            None if plain.method == Method::POST => None,
            None => self.visit_at_once(peer, address, plain, time_of_day, answer),
        };
        begun.unwrap_or(AtOnce::Later)
    }

    fn call_at_once(
        self: &Arc<Self>,
        endpoint: Endpoint,
        peer: SocketAddr,
        address: IpAddr,
        plain: &PlainRequest<'_>,
    ) -> Option<AtOnce<Begun>> {
        let (gate, parts) = (Arc::clone(self), parts(plain)?);
        let body = Full::from(Bytes::copy_from_slice(plain.body));
        let call = Call { gate, parts, address, peer, endpoint, body };
        Some(AtOnce::Relay(Begun::Call(Box::new(call))))
    }

    fn visit_at_once(
        self: &Arc<Self>,
        peer: SocketAddr,
        address: IpAddr,
        plain: &PlainRequest<'_>,
        time_of_day: Timestamp,
        answer: &mut Vec<u8>,
    ) -> Option<AtOnce<Begun>> {
        let asked = Asked {
            path: plain.path(),
            target: plain.target,
            fields: plain,
            address,
            page: accepts_html(plain),
            upgrade: Upgrade::None,
        };
        let host = plain.single(&HOST)?;
        let name =
            std::str::from_utf8(host).ok().filter(|host| request::is_host(host)).map(request::host_name)?;
        let sites = self.sites.load();
        let site = sites.find(&name, asked.path)?;
        let now = site.room.now();
        let mut visitor = self.visitor(site, plain, now);
        recall(site, &mut visitor, now);
        let facts = self.facts(site, &visitor, &asked, now);
        let inside = Inside::new(visitor, facts.has_pass, self.trusts(peer.ip()));
        let visit = Visit { site, asked: &asked, facts, inside, now };
        match decide(&facts) {
            Decision::Forward => {
                self.forward_at_once(plain, host, visit).map(|sent| AtOnce::Relay(Begun::Forwarded(sent)))
            }
            Decision::WaitPage | Decision::WaitApi => {
                let response = Reply::whole(self.turn_away_at_once(visit)?)?;
                write_answer(&response, plain.method == Method::HEAD, time_of_day, answer);
                Some(AtOnce::Answered)
            }
            _ => None,
        }
    }

    /// The answer to somebody of whom the view alone tells that it has to wait;
    /// `None`: the store is to be asked, or a session remembered.
    fn turn_away_at_once(&self, visit: Visit<'_, '_>) -> Option<Response<Reply>> {
        let Visit { site, asked, mut inside, now, .. } = visit;
        let visitor = &inside.visitor;
        // A pass of no use any more may be a sign that it is shared, which is the store's to say.
        if visitor.carrier == Carrier::Session || visitor.pass.is_some() {
            return None;
        }
        let arrived = match (visitor.id, visitor.place) {
            (None, _) => Arrived::Nobody,
            (Some(_), None) if !asked.page => Arrived::Nobody,
            _ => {
                let how = if asked.page { How::Join } else { How::Pass };
                self.in_view(site, visitor, how, now)?
            }
        };
        inside.grant = self.grant(site, visitor, &arrived, now);
        Some(self.turn_away(site, asked, inside, arrived))
    }
}

impl Relay for Begun {
    fn run<'a, I>(self, visitor: &'a mut Downstream<'_, I>) -> BoxFuture<'a, Result<(), Gone>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match self {
            Self::Forwarded(forwarded) => Box::pin(forwarded.run(visitor)),
            Self::Call(call) => Box::pin(call.run(visitor)),
        }
    }
}

impl Call {
    async fn run<I>(self: Box<Self>, visitor: &mut Downstream<'_, I>) -> Result<(), Gone>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Self { gate, parts, address, peer, endpoint, body } = *self;
        let to_head = parts.method == Method::HEAD;
        let response = gate.api(endpoint, parts, Sent::Left(body), peer, address).await;
        say(response, to_head, visitor).await
    }
}

/// A request's head, as hyper would have read it; `None` when there is something wrong with it.
fn parts(plain: &PlainRequest<'_>) -> Option<Parts> {
    let mut request = Request::new(());
    *request.method_mut() = plain.method.clone();
    *request.uri_mut() = plain.target.parse().ok()?;
    let headers = request.headers_mut();
    headers.reserve(plain.fields().count());
    for (name, value) in plain.fields() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    let parts = request.into_parts().0;
    request::check(&parts).is_ok().then_some(parts)
}

/// Sends an answer of the gate's own.
pub(super) async fn say<I>(
    response: Response<Reply>,
    to_head: bool,
    visitor: &mut Downstream<'_, I>,
) -> Result<(), Gone>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    let response = if visitor.is_last() { close(response) } else { response };
    let answer = Reply::whole(response).ok_or(Gone)?;
    let mut text = Vec::with_capacity(answer.body().len() + USUAL_HEAD);
    write_answer(&answer, to_head, visitor.time_of_day(), &mut text);
    poll_fn(|cx| Poll::Ready(visitor.send(cx, &text))).await?;
    drop(text);
    poll_fn(|cx| visitor.poll_sent(cx)).await
}
