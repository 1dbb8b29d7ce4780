//! The app behind the gates, which counts, and a gate's way to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use usher::rehearsal::world::World;
use usher::swarm::gates::Page;

use super::Bug;
use super::wire::Weather;

/// Connections that are tried for one request.
const ATTEMPTS: usize = 3;
/// A connection that does not come is given up.
const CONNECT: Duration = Duration::from_millis(100);
/// An answer that does not come is given up.
const ANSWER: Duration = Duration::from_secs(1);

/// The app. Every request that it gets is an order: none may come twice.
pub struct App {
    pub world: World,
    pub weather: Arc<Weather>,
    pub bug: Option<Bug>,
    /// How often it got each request, by the numbers that gates gave them.
    pub got: Mutex<HashMap<usize, u64>>,
}

impl App {
    /// A gate's request. Only a connection that did not come about is tried
    /// again: the app has seen nothing of that.
    pub async fn forward(&self) -> Page {
        let request = {
            let mut got = self.got.lock();
            let request = got.len();
            got.insert(request, 0);
            request
        };
        for _ in 0..ATTEMPTS {
            let Some(there) = self.weather.packet() else {
                self.world.sleep(CONNECT).await;
                continue;
            };
            self.world.sleep(there).await;
            self.got.lock().entry(request).and_modify(|times| *times += 1);
            if let Some(back) = self.weather.packet() {
                self.world.sleep(back).await;
                return Page::App;
            }
            self.world.sleep(ANSWER).await;
            if self.bug != Some(Bug::RetriesPosts) {
                return Page::Trouble("http_504".into());
            }
        }
        Page::Trouble("http_502".into())
    }

    /// Requests that came more than once.
    pub fn repeated(&self) -> u64 {
        self.got.lock().values().filter(|&&times| times > 1).count() as u64
    }
}
