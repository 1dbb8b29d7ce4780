//! X30: a SQLite file whose disk is full, whose writer's place is another's, and
//! whose office is killed while it tidies the log into the file.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use usher::booking::db::Db;

use crate::support::booking::{Database, TestBooking};
use crate::support::http::{Answer, Client};
use crate::support::office::OfficeProcess;
use crate::support::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);
/// For the database, its log and what else SQLite needs.
const DISK_BYTES: u64 = 12 * 1024 * 1024;

/// A small disk that only this process's children see, and that may be filled up.
struct Disk {
    keeper: Child,
    at: PathBuf,
}

impl Disk {
    /// Mounted over the folder `disk` in `folder`.
    async fn mount(folder: &Path) -> Self {
        let at = folder.join("disk");
        std::fs::create_dir(&at).expect("the scratch folder is ours");
        let mount = format!("mount -t tmpfs -o size={DISK_BYTES} none {} && exec sleep 600", at.display());
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "/bin/sh", "-c", &mount]);
        let keeper = command.stdin(Stdio::null()).spawn().expect("unshare is installed");
        let disk = Self { keeper, at };
        let sleeps = async || {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", disk.keeper.id())).ok()?;
            (name.trim() == "sleep").then_some(())
        };
        until("the disk is mounted (user namespaces are needed)", PATIENCE, sleeps).await;
        disk
    }

    /// What a command begins with that is to see the disk.
    fn prefix(&self) -> Vec<String> {
        let pid = self.keeper.id().to_string();
        ["nsenter", "-t", &pid, "-U", "-m", "--preserve-credentials"].map(str::to_owned).into()
    }

    /// A file there, as seen from here.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.at.strip_prefix("/").expect("an absolute path").join(name);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    /// Leaves no byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.file("filler")).expect("a file on the disk");
        for size in [64 * 1024, 4 * 1024, 1] {
            let bytes = vec![0; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.file("filler")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill().and_then(|()| self.keeper.wait());
    }
}

/// What SQLite itself says of the file, read as a crash has left it.
async fn integrity(database: &Path) -> String {
    let copy = tempfile::tempdir().expect("a scratch folder");
    for end in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{end}", database.display()));
        if from.exists() {
            std::fs::copy(from, copy.path().join(format!("usher.db{end}"))).expect("copies");
        }
    }
    let db = Db::open(&format!("sqlite:{}", copy.path().join("usher.db").display())).await.expect("opens");
    let row = sqlx::query("PRAGMA integrity_check").fetch_one(db.read()).await.expect("a row");
    sqlx::Row::get(&row, 0)
}

#[track_caller]
fn not_now(answer: Answer) {
    let answer = answer.refused(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
}

fn keyed(fan: &Client, key: &str) -> Client {
    fan.with("idempotency-key", key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_sells_again_when_there_is_room() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let disk = Disk::mount(scratch.path()).await;
    let settings = format!("[booking]\ndatabase = \"sqlite:{}/usher.db\"\n", disk.at.display());
    let mut office = OfficeProcess::start_behind(&settings, disk.prefix()).await;
    let fan = office.fan("fan", 1_000_000).await;
    assert_eq!(fan.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
    let hold = fan.hold(&["A-1-2"]).await.expect(201);
    let order = fan.order(&hold).await.expect(201);
    let next = fan.hold(&["A-1-3"]).await.expect(201);

    disk.fill();
    // What was written before may be written over once.
    let mut charged = 0;
    let refused = loop {
        let answer =
            keyed(&fan, &format!("full-{charged}")).post("/api/wallet/charges", json!({"amount": 1})).await;
        if answer.status != 201 {
            break answer;
        }
        charged += 1;
        assert!(charged < 5_000, "the disk never fills up");
    };
    not_now(refused);
    let pay = json!({"order_id": order.json["order_id"], "method": "points"});
    not_now(keyed(&fan, "pay").post("/api/payments", pay.clone()).await);
    not_now(keyed(&fan, "order").post("/api/orders", json!({"hold_id": next.json["hold_id"]})).await);
    fan.get("/api/wallet").await.expect(200);
    assert_eq!(fan.get("/api/orders").await.expect(200).json["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(integrity(&disk.file("usher.db")).await, "ok");

    disk.make_room();
    // The same requests under the same keys, once each.
    let again = async |key: &str, path: &str, body: serde_json::Value| {
        until("the office sells again", PATIENCE, async || {
            let answer = keyed(&fan, key).post(path, body.clone()).await;
            (answer.status != 503 && answer.code() != "still_running").then_some(answer)
        })
        .await
    };
    let payment = again("pay", "/api/payments", pay).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    let order = again("order", "/api/orders", json!({"hold_id": next.json["hold_id"]})).await.expect(201);
    again(&format!("full-{charged}"), "/api/wallet/charges", json!({"amount": 1})).await.expect(201);
    let payment = fan.pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    let spent = 3 * 176_000;
    assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - spent + charged + 1);
    office.assert_sound();
    office.kill();
    assert_eq!(integrity(&disk.file("usher.db")).await, "ok");
    office.start_again().await;
    assert_eq!(fan.get("/api/me/tickets").await.expect(200).json["items"].as_array().map(Vec::len), Some(3));
    office.assert_sound();
}

/// The database file itself is written to by a checkpoint only: when it changes,
/// one is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_log_goes_into_the_file_nothing_is_lost_that_was_told() {
    let mut office = OfficeProcess::start("[booking]\ndatabase = \"sqlite:FOLDER/usher.db\"\n").await;
    let file = office.folder().join("usher.db");
    let changed = |file: &Path| {
        let data = std::fs::metadata(file).expect("the database");
        (data.mtime(), data.mtime_nsec())
    };
    let mut fans = Vec::new();
    for n in 0..4 {
        fans.push(office.fan(&format!("fan{n}"), 1).await);
    }
    let balances = async || {
        let balance = async |fan: &Client| {
            fan.get("/api/wallet").await.expect(200).json["balance"].as_i64().expect("an amount")
        };
        join_all(fans.iter().map(balance)).await
    };
    let mut told = 0;
    for round in 0..4 {
        let (begun, was) = (balances().await, changed(&file));
        let watched = file.clone();
        let watch = tokio::task::spawn_blocking(move || {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while changed(&watched) == was {
                assert!(tokio::time::Instant::now() < deadline, "no checkpoint");
                std::thread::yield_now();
            }
        });
        let charge = async |(n, fan): (usize, &Client)| {
            for charged in 0.. {
                let fan = keyed(fan, &format!("{round}-{n}-{charged}"));
                match fan.try_post("/api/wallet/charges", json!({"amount": 1})).await {
                    Some(answer) => _ = answer.expect(201),
                    None => return charged,
                }
            }
            unreachable!("goes on until the office is gone")
        };
        let charging = join_all(fans.iter().enumerate().map(charge));
        let killing = async {
            watch.await.expect("a checkpoint");
            office.kill();
        };
        let (charged, ()): (Vec<i64>, ()) = tokio::join!(charging, killing);
        assert_eq!(integrity(&file).await, "ok", "round {round}");
        office.start_again().await;
        office.assert_sound();
        for ((was, is), charged) in begun.iter().zip(balances().await).zip(&charged) {
            // What was not answered may have been done.
            let more = is - was - charged;
            assert!(more == 0 || more == 1, "round {round}: {was} and {charged} are {is}");
        }
        told += charged.iter().sum::<i64>();
    }
    assert!(told > 20, "hardly anything happened: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_writes_for_long_nothing_is_done_by_halves() {
    let office = TestBooking::open(Database::File).await.expect("SQLite is always there");
    let fan = office.fan(1_000_000).await;
    let hold = fan.hold(&["A-1-1"]).await.expect(201);
    let order = fan.order(&hold).await.expect(201);
    let db = Db::open(&office.database).await.expect("the same database");
    let held = db.begin().await.expect("a transaction");
    let (pay, charge) = (keyed(&fan, "pay"), keyed(&fan, "charge"));
    let (payment, charged, looked) = tokio::join!(
        pay.pay(&order),
        charge.post("/api/wallet/charges", json!({"amount": 5})),
        fan.get("/api/wallet"),
    );
    not_now(payment);
    not_now(charged);
    assert_eq!(looked.expect(200).json["balance"], 1_000_000);
    held.rollback().await.expect("rolls back");
    let payment = pay.pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    charge.post("/api/wallet/charges", json!({"amount": 5})).await.expect(201);
    assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 176_000 + 5);
    office.assert_sound().await;
}
