//! Settings and the small commands: exit codes, and words an operator can use.

use std::process::Output;

use crate::support::gate::{end_of, run, usher};

const GOOD: &str = "[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n";

/// Runs a command on a settings file.
fn on_file(command: &[&str], settings: &str, env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("usher.toml");
    std::fs::write(&file, settings).expect("the scratch folder is ours");
    let file = file.display().to_string();
    let mut usher = usher();
    usher.args(command).args(["--config", &file]).envs(env.iter().copied());
    end_of(&mut usher)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn settings_that_cannot_be_used_end_with_2_and_name_file_line_key_and_what_was_expected() {
    let twice = format!(
        "{GOOD}paths = [\"/a\"]\n[[room]]\nname = \"b\"\nupstreams = [\"http://h:1\"]\npaths = [\"/a\"]\n"
    );
    let cases: [(&str, String, &[&str]); 19] = [
        ("unknown key", format!("{GOOD}colour = 1\n"), &[":3", "colour", "expected"]),
        ("unknown section", format!("[gates]\n{GOOD}"), &[":1", "gates", "expected"]),
        ("wrong type", format!("{GOOD}capacity = \"many\"\n"), &[":3", "capacity", "expected"]),
        ("bad duration", format!("{GOOD}tick = \"soon\"\n"), &[":3", "tick", "expected a duration"]),
        ("batch 0", format!("{GOOD}batch = 0\n"), &[":3", "room[0].batch", "expected at least 1"]),
        (
            "claim window longer than pass",
            format!("{GOOD}pass_ttl = \"1m\"\nclaim_window = \"2m\"\n"),
            &[":4", "claim_window", "expected at most pass_ttl"],
        ),
        ("two rooms with one path", twice, &["room[1].paths", "room[0]", "expected"]),
        ("no upstream", "[[room]]\nname = \"a\"\n".into(), &[":1", "upstreams", "expected at least one"]),
        ("https upstream", GOOD.replace("http://", "https://"), &[":2", "upstreams[0]", "not supported"]),
        ("bad name", format!("{GOOD}name = \"Main Room\"\n"), &[":3", "room[0].name", "a-z"]),
        (
            "bad key",
            format!("[gate.keys]\ncurrent = \"short\"\n{GOOD}"),
            &[":2", "gate.keys.current", "usher keys new"],
        ),
        (
            "bad address",
            format!("[gate]\nlisten = \"8080\"\n{GOOD}"),
            &[":2", "gate.listen", "expected an address"],
        ),
        (
            "open admin",
            format!("[admin]\nlisten = \"0.0.0.0:8081\"\n{GOOD}"),
            &["admin.token", "expected a token"],
        ),
        (
            "an autotune of nothing",
            format!("{GOOD}autotune = {{}}\n"),
            &[":3", "room[0].autotune", "p95, errors or both"],
        ),
        (
            "a share above 1",
            format!("{GOOD}autotune = {{ errors = 2.0 }}\n"),
            &[":3", "room[0].autotune.errors", "expected a share"],
        ),
        (
            "an opening without an offset",
            format!("{GOOD}opening = {{ at = \"2026-12-01T10:00:00\" }}\n"),
            &[":3", "room[0].opening.at", "with its offset"],
        ),
        (
            "a draw without an opening",
            format!("{GOOD}order = \"draw\"\n"),
            &["room[0].opening", "expected opening = {at", "order = \"draw\""],
        ),
        (
            "a pass that ends before it rotates",
            format!("{GOOD}pass_binding = \"rotate\"\npass_rotation = \"3h\"\n"),
            &[":4", "room[0].pass_rotation", "expected \"1s\" to pass_max"],
        ),
        ("no TOML", "[[room]\n".into(), &[":1", "expected"]),
    ];
    for (what, settings, words) in &cases {
        for command in ["gate", "check"] {
            let output = on_file(&[command], settings, &[]);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{what}: {text}");
            assert!(text.contains("usher.toml"), "{what} names the file: {text}");
            for word in *words {
                assert!(text.contains(word), "{what} names {word}: {text}");
            }
        }
    }
}

#[test]
fn a_header_that_is_the_identity_does_not_rotate_and_the_check_says_so() {
    let check = |more: &str| {
        let output = on_file(&["check"], &format!("{GOOD}pass_binding = \"rotate\"\n{more}"), &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(check("session_header = \"X-Session\"\n").contains("no effect with session_header"));
    assert!(!check("").contains("pass_binding"));
}

#[test]
fn every_problem_is_named_at_once() {
    let output = on_file(&["check"], &format!("{GOOD}batch = 0\ncapacity = 0\nwaiting_status = 204\n"), &[]);
    let text = stderr(&output);
    for key in ["batch", "capacity", "waiting_status"] {
        assert!(text.contains(key), "{key}: {text}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_its_mistakes_are_named() {
    let shown = |env: &[(&str, &str)]| on_file(&["check"], GOOD, env);
    let output = shown(&[("USHER__ROOM__MAIN__CAPACITY", "77"), ("USHER__GATE__LISTEN", "127.0.0.1:1")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("capacity = 77") && text.contains("listen = \"127.0.0.1:1\""), "{text}");
    let digits = shown(&[("USHER__ADMIN__TOKEN", "12345")]);
    assert_eq!(digits.status.code(), Some(0), "a text of digits is a text: {}", stderr(&digits));
    for (name, value) in [
        ("USHER__ROOM__MAIN__CAPACITY", "many"),
        ("USHER__ROOM__NOWHERE__CAPACITY", "1"),
        ("USHER__GATE__COLOUR", "red"),
        ("USHER__GATE", "1"),
        ("USHER__ROOM__MAIN__TICK", "soon"),
    ] {
        let output = shown(&[(name, value)]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        assert!(text.contains("environment") && text.contains(name), "{name}: {text}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_failure_at_work_with_1() {
    for args in [
        &["gate"][..],
        &["dance"],
        &["gate", "--config", "/nowhere/usher.toml"],
        &["keys"],
        &["gate", "--colour"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = on_file(&["gate"], GOOD, &[("USHER__GATE__LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn check_prints_what_is_in_effect_and_no_secret() {
    let key = String::from_utf8(run(&["keys", "new"]).stdout).expect("text").trim().to_owned();
    assert_eq!(key.len(), 43, "32 bytes in base64url");
    assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let settings = format!(
        "[gate.keys]\ncurrent = \"{key}\"\n[admin]\ntoken = \"s3cret\"\n{GOOD}bypass = {{ header = \"X-In: s3cret\" }}\n"
    );
    let output = on_file(&["check"], &settings, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("pass_ttl = \"7m\""), "{text}");
    assert!(!text.contains(&key) && !text.contains("s3cret"), "{text}");
    let unreachable = on_file(&["check", "--online"], GOOD, &[]);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(stderr(&unreachable).contains("127.0.0.1:1"), "{}", stderr(&unreachable));
}

#[test]
fn the_schema_is_json_and_names_every_section() {
    let output = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for section in ["gate", "admin", "store", "room", "booking", "log"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
