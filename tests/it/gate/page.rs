//! The waiting page over HTTP: its views, and the language it speaks.

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn a_chosen_language_wins_over_the_browsers_and_goes_back_to_the_page() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let _inside = gate.admitted().await;
    let mut fan = gate.client().with("accept-language", "ja");
    assert_eq!(fan.page("/show?seats=2").await.field("content-language"), Some("ja"));
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "null")];
    let answer =
        fan.send("POST", "/queue/language", &form, "return_to=%2Fshow%3Fseats%3D2&language=ko").await;
    assert_eq!((answer.status, answer.field("location")), (303, Some("/show?seats=2")));
    let page = fan.page("/show?seats=2").await;
    assert_eq!(page.field("content-language"), Some("ko"));
    assert!(page.text().contains("lang=\"ko\" aria-current=\"true\""));
    let problem = fan.get("/queue/nothing").await;
    assert_eq!(problem.field("content-language"), Some("ko"), "problems speak it too");
    for elsewhere in ["//evil.test/", "https%3A%2F%2Fevil.test", "%0d%0aSet-Cookie:x", "%ff", "%", ""] {
        let body = format!("language=es&return_to={elsewhere}");
        let answer = fan.send("POST", "/queue/language", &form, &body).await;
        assert_eq!((answer.status, answer.field("location")), (303, Some("/")), "{elsewhere}");
    }
    for wrong in ["", "language=", "language=fr", "language=KO", "language=%", "&&&", "\u{0}"] {
        let answer = fan.send("POST", "/queue/language", &form, wrong).await;
        assert_eq!(answer.status, 400, "{wrong:?}");
    }
    assert_eq!(fan.get("/queue/language").await.status, 405);
}

#[tokio::test]
async fn sold_out_is_said_and_taken_back() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut inside = gate.admitted().await;
    let mut fan = gate.client();
    fan.stand().await;
    assert_eq!(fan.status().await["sold_out"], false);
    inside.get("/command/sold-out").await;
    let told = fan.until_status("sold out", |status| status["sold_out"] == true).await;
    assert_eq!(told["state"], "waiting", "its place is kept");
    assert_eq!(told["said"]["heading"], "Everything is sold right now");
    assert!(fan.page("/").await.text().contains("data-view=\"soldout\""));
    let mut late = gate.client();
    late.page("/").await;
    assert!(late.page("/").await.text().contains("data-view=\"soldout\""));
    assert_eq!(gate.room("main").await["sold_out"], true);
    gate.act("open").await;
    let told = fan.until_status("open again", |status| status["sold_out"] == false).await;
    assert_eq!((&told["paused"], &told["said"]), (&false.into(), &serde_json::Value::Null));
    // Closed by an operator is not sold out.
    gate.act("close").await;
    let told = late.until_state("closed").await;
    assert_eq!((&told["sold_out"], &told["reason"]), (&false.into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn who_is_out_is_told_why() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\npass_ttl = \"60s\"\nclaim_window = \"30s\"").await;
    let mut inside = gate.admitted().await;
    let number = inside.status().await["number"].clone();
    assert_eq!(gate.admin("DELETE", &format!("/admin/v1/rooms/main/passes/{number}"), "").await.status, 204);
    let told = inside.until_state("expired").await;
    assert_eq!(told["reason"], "revoked");
    assert_eq!(told["said"]["action"], "Join again");
    let mut done = gate.admitted().await;
    let mut copy = done.clone();
    done.get("/command/complete").await;
    until("the copy hears of it", DEADLINE, async || {
        (copy.status().await["reason"] == "completed").then_some(())
    })
    .await;
    let mut leaver = gate.client();
    leaver.stand().await;
    assert_eq!(leaver.leave().await["reason"], "left");
}

#[tokio::test]
async fn the_bar_moves_without_script_too() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let _inside = gate.admitted().await;
    let mut before = gate.client();
    before.stand().await;
    let mut fan = gate.client();
    fan.stand().await;
    let bar = |text: &str| {
        let at = text.split_once("<progress").expect("a bar").1.split_once("value=\"").expect("its value").1;
        at.split_once('"').expect("an end").0.to_owned()
    };
    assert_eq!(bar(&fan.page("/").await.text()), "0.500", "one of two before the front");
    before.leave().await;
    until("the bar is full", DEADLINE, async || (bar(&fan.page("/").await.text()) == "1.000").then_some(()))
        .await;
}
