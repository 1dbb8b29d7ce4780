//! From text and environment to [`Config`], with every problem named.
//!
//! The order is: syntax, shape (unknown keys, wrong types), overrides from the
//! environment, then what the values mean together ([`super::check`]).

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::file::File;
use super::{Config, check};

/// Settings that cannot be used, with the reasons.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{}: cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        why: std::io::Error,
    },
    /// One line for each problem, never empty.
    #[error("{}", join(.0))]
    Invalid(Vec<Problem>),
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File, or `environment`.
    pub source: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// The key, such as `room[0].batch`; empty when the text has no such structure.
    pub key: String,
    /// What was expected, and what was found.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.expected)
    }
}

/// Reads and checks a settings file.
///
/// `env` are the process's variables; those that begin with `USHER__` override
/// keys of the file.
///
/// # Errors
/// [`LoadError`] names every problem; nothing is half applied.
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, LoadError> {
    load_both(path, env).map(|(_, config)| config)
}

/// As [`load`], with the file as written, overrides applied.
///
/// # Errors
/// [`LoadError`]
pub fn load_both(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(File, Config), LoadError> {
    let text =
        std::fs::read_to_string(path).map_err(|why| LoadError::Unreadable { path: path.to_owned(), why })?;
    let source = path.display().to_string();
    let file = read(&source, &text, env)?;
    let mut config = finish(&source, &text, &file)?;
    config.gate.key_file = Some(path.with_extension("keys"));
    Ok((file, config))
}

/// As [`load`], from text; `source` names it in messages.
///
/// # Errors
/// [`LoadError::Invalid`]
pub fn load_text(
    source: &str,
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, LoadError> {
    finish(source, text, &read(source, text, env)?)
}

fn read(
    source: &str,
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<File, LoadError> {
    // The text alone first: its errors carry a line and a caret.
    let mut file: File = toml::from_str(text).map_err(|e| {
        LoadError::Invalid(vec![Problem {
            source: source.to_owned(),
            line: e.span().map(|span| line_of(text, span.start)),
            key: String::new(),
            expected: e.to_string().trim_end().to_owned(),
        }])
    })?;
    let overrides: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with("USHER__")).collect();
    if !overrides.is_empty() {
        let table: Table = toml::from_str(text).expect("the same text was parsed above");
        file = with_overrides(&table, &overrides)?;
    }
    Ok(file)
}

fn finish(source: &str, text: &str, file: &File) -> Result<Config, LoadError> {
    check::check(file).map_err(|found| {
        let lines = DeTable::parse(text).ok();
        LoadError::Invalid(
            found
                .into_iter()
                .map(|(key, expected)| Problem {
                    source: source.to_owned(),
                    line: lines.as_ref().and_then(|root| find_line(root.get_ref(), &key, text)),
                    key,
                    expected,
                })
                .collect(),
        )
    })
}

fn env_problem(name: &str, expected: &str) -> LoadError {
    LoadError::Invalid(vec![Problem {
        source: "environment".into(),
        line: None,
        key: name.to_owned(),
        expected: expected.to_owned(),
    }])
}

/// What the table means with all overrides. They are judged together: some
/// keys, such as a certificate and its key, only make sense side by side.
fn with_overrides(table: &Table, overrides: &[(String, String)]) -> Result<File, LoadError> {
    let mut values = Vec::with_capacity(overrides.len());
    for (name, value) in overrides {
        values.push((name.as_str(), override_value(table, name, value)?));
    }
    let all = applied(table, values.iter())?;
    shape(all).map_err(|why| env_problem(&culprits(table, &values), why.message()))
}

/// The value of a variable. A text may be given without quotes even if it reads
/// as a number or a list: then it is a text where only that has the right type.
fn override_value(table: &Table, name: &str, text: &str) -> Result<Value, LoadError> {
    let plain = Value::String(text.to_owned());
    let attempt = |value: Value| {
        let why = shape(applied(table, [&(name, value.clone())])?).err();
        match why.filter(|why| !lacks_another_key(why)) {
            Some(why) => Err(env_problem(name, why.message())),
            None => Ok(value),
        }
    };
    match toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v")) {
        Some(read) => attempt(read).or_else(|why| attempt(plain).map_err(|_| why)),
        None => attempt(plain),
    }
}

fn shape(table: Table) -> Result<File, toml::de::Error> {
    table.try_into()
}

/// Whether the one thing wrong is a key that another variable may bring; serde
/// says so only after every key that is there had the right type.
fn lacks_another_key(why: &toml::de::Error) -> bool {
    why.message().starts_with("missing field")
}

fn applied<'a>(
    table: &Table,
    values: impl IntoIterator<Item = &'a (&'a str, Value)>,
) -> Result<Table, LoadError> {
    let mut table = table.clone();
    for (name, value) in values {
        set_override(&mut table, name, value.clone())?;
    }
    Ok(table)
}

/// The variables to name when all together are wrong: the one without which the
/// rest is right, else those that are wrong alone, else all.
fn culprits(table: &Table, values: &[(&str, Value)]) -> String {
    let is_right = |values: &[(&str, Value)]| applied(table, values).is_ok_and(|table| shape(table).is_ok());
    let rest = |i: usize| [&values[..i], &values[i + 1..]].concat();
    if let Some(i) = (0..values.len()).find(|&i| is_right(&rest(i))) {
        return values[i].0.to_owned();
    }
    let wrong: Vec<_> = values
        .iter()
        .filter(|value| !is_right(std::slice::from_ref(*value)))
        .map(|(name, _)| *name)
        .collect();
    if !wrong.is_empty() {
        return wrong.join(", ");
    }
    values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Puts `USHER__GATE__LISTEN` at `gate.listen`, `USHER__ROOM__MAIN__CAPACITY`
/// at `capacity` of the room named `main` (`_` in the variable matches `-`).
fn set_override(table: &mut Table, name: &str, value: Value) -> Result<(), LoadError> {
    let path: Vec<String> = name.split("__").skip(1).map(str::to_ascii_lowercase).collect();
    let (mut at, keys) = match path.as_slice() {
        [first, room, keys @ ..] if first == "room" && !keys.is_empty() => {
            let found =
                table.entry("room").or_insert_with(|| Value::Array(Vec::new())).as_array_mut().and_then(
                    |rooms| {
                        rooms.iter_mut().filter_map(Value::as_table_mut).find(|t| {
                            let name = t.get("name").and_then(Value::as_str).unwrap_or("main");
                            name.replace('-', "_") == *room
                        })
                    },
                );
            (found.ok_or_else(|| env_problem(name, "no room of that name"))?, keys)
        }
        keys @ [_, _, ..] => (table, keys),
        _ => return Err(env_problem(name, "expected USHER__SECTION__KEY")),
    };
    let (last, parents) = keys.split_last().expect("matched non-empty");
    for key in parents {
        at = at
            .entry(key.as_str())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| env_problem(name, "names a key inside a plain value"))?;
    }
    at.insert(last.clone(), value);
    Ok(())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1
}

/// The line of `a.b[2].c`, or of the nearest parent that is written down.
fn find_line(root: &DeTable<'_>, key: &str, text: &str) -> Option<usize> {
    let mut line = None;
    let mut table = root;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((written, value)) = table.iter().find(|(k, _)| k.get_ref() == name) else { break };
        line = Some(line_of(text, written.span().start));
        let mut value = value;
        if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
            let Some(item) = items.get(index) else { break };
            line = Some(line_of(text, item.span().start));
            value = item;
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n";

    fn shaped(env: &[(&str, &str)]) -> Result<File, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        read("test", ROOM, env).map_err(|why| why.to_string())
    }

    #[test]
    fn variables_that_need_one_another_are_taken_together() {
        let tls = [("USHER__GATE__TLS__CERT", "/c.pem"), ("USHER__GATE__TLS__KEY", "12")];
        let admin = [
            ("USHER__BOOKING__ADMIN__PASSWORD", "123456789012"),
            ("USHER__BOOKING__ADMIN__EMAIL", "a@example.org"),
        ];
        let found = shaped(&[tls, admin].concat()).expect("whole");
        let tls = found.gate.tls.expect("both keys");
        assert_eq!((tls.cert, tls.key), ("/c.pem".into(), "12".into()), "a number can be a text");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (env, expected) in [
            (
                &[("USHER__GATE__TLS__CERT", "/c.pem"), ("USHER__GATE__THREADS", "2")][..],
                "USHER__GATE__TLS__CERT: missing field `key`",
            ),
            (
                &[("USHER__GATE__TLS__CERT", "/c.pem"), ("USHER__GATE__THREADS", "many")],
                "USHER__GATE__THREADS: invalid type",
            ),
            (
                &[("USHER__GATE__TLS__CERT", "/c.pem"), ("USHER__GATE__TLS__KYE", "/k.pem")],
                "USHER__GATE__TLS__KYE: unknown field",
            ),
            (
                &[("USHER__GATE__TLS__CERT", "/c"), ("USHER__BOOKING__ADMIN__EMAIL", "a@b")],
                "USHER__GATE__TLS__CERT, USHER__BOOKING__ADMIN__EMAIL: missing field",
            ),
            (&[("USHER__ROOM__NOWHERE__BATCH", "1")], "USHER__ROOM__NOWHERE__BATCH: no room"),
        ] {
            let why = shaped(env).expect_err("wrong");
            assert!(why.contains(expected), "{why}");
        }
    }
}
