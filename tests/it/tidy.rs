//! The house's arrows: which module may import which.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → what of ours it may import. `run` and `cli` put things together
/// and may import everything.
const ARROWS: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config", "queue"]),
    ("server", &["domain", "clock"]),
    ("redis", &["config"]),
    ("store", &["domain", "clock", "redis"]),
    ("queue", &["store", "domain", "clock", "config"]),
    ("gate", &["queue", "store", "domain", "clock", "config", "telemetry", "server"]),
    ("booking", &["domain", "clock", "config", "telemetry", "redis"]),
    ("admin", &["queue", "booking", "store", "domain", "config", "telemetry", "lifecycle"]),
    ("swarm", &["domain", "clock"]),
    ("rehearsal", &["queue", "store", "domain", "clock", "config", "swarm"]),
    ("standin", &["domain", "clock"]),
    ("lifecycle", &["server"]),
    ("keys", &["config"]),
    ("demo", &["run", "config", "standin"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("src is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The module a file belongs to: the first part of its path below `src`.
fn module(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).expect("below src").components().next().expect("not empty");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// What a text imports of ours: the word after each `crate::`, `{…}` included.
fn imports(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{').and_then(|group| group.split_once('}')) {
            Some((group, _)) => found.extend(group.split(',').map(|part| word(part.trim()))),
            None => found.push(word(rest)),
        }
    }
    found
}

fn offences(text: &str, module: &str) -> Vec<String> {
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let Some(allowed) = arrows.get(module) else { return Vec::new() };
    imports(text).into_iter().filter(|to| to != module && !allowed.contains(&to.as_str())).collect()
}

#[test]
fn every_import_follows_the_arrows() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for path in sources(&src) {
        let module = module(&path, &src);
        let text = fs::read_to_string(&path).expect("readable");
        for to in offences(&text, &module) {
            broken.push(format!("{}: {module} imports {to}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_wrong_import_is_found() {
    assert_eq!(offences("use crate::queue::Room;", "domain"), ["queue"]);
    assert_eq!(offences("use crate::{clock, gate::Gate};", "booking"), ["gate"]);
    assert!(offences("// crate::gate\nuse crate::domain::id;", "booking").is_empty());
}

#[test]
fn the_domain_neither_waits_nor_reads_a_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let domain = sources(&src).into_iter().filter(|path| module(path, &src) == "domain");
    for path in domain {
        let text = fs::read_to_string(&path).expect("readable");
        let text: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in ["async fn", ".await", "SystemTime", "Instant", "tokio", "serde"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
