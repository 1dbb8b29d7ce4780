//! The booking office over HTTP, every case over SQLite and PostgreSQL.

mod accounts;
mod admission;
mod audit;
mod cancel;
mod cards;
mod catalogue;
mod contract;
mod crowd;
mod described;
mod doubt;
mod failover;
mod holds;
mod idempotency;
#[cfg(feature = "kafka")]
mod kafka;
mod live;
mod mail;
mod outbox;
mod plan;
mod pool;
mod provider_books;
mod purchase;
mod races;
mod sqlite_away;
mod support;
mod workers;

/// Runs each case over an in-memory SQLite, a SQLite file and PostgreSQL; those
/// `on shared` ones need a second office and so no database inside the first.
macro_rules! on_each_database {
    ($(async fn $name:ident($office:ident) $body:block)*) => {$(
        $crate::booking::on_each_database!(@case $name $office $body sqlite_memory Memory sqlite_file File postgres Postgres);
    )*};
    (on shared $(async fn $name:ident($office:ident) $body:block)*) => {$(
        $crate::booking::on_each_database!(@case $name $office $body sqlite_file File postgres Postgres);
    )*};
    (@case $name:ident $office:ident $body:block $($test:ident $kind:ident)+) => {
        mod $name {
            #[expect(clippy::allow_attributes, reason = "not every case needs it")]
            #[allow(unused_imports, reason = "not every case needs it")]
            use super::*;

            async fn case($office: $crate::support::booking::TestBooking) {
                $body
                $office.assert_sound().await;
            }

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use $crate::support::booking::{Database, TestBooking};
                if let Some(office) = TestBooking::open(Database::$kind).await {
                    case(office).await;
                }
            })+
        }
    };
}
pub(crate) use on_each_database;
