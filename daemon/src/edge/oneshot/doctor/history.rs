//! The check of the event store: that every event is what was written.

use quire_proto::home::Home;

use super::Check;
use crate::adapters::store::{Finding, StoreError, verify_file};

/// Damaged places that are named; there may be many of one cause.
const NAMED: usize = 5;

/// Reads all sessions and all their events, beside a daemon that may run.
pub(super) fn history(home: &Home) -> Check {
    const NAME: &str = "event store";
    let path = home.database();
    if !path.exists() {
        return Check::ok(NAME, "none yet; the first session makes it");
    }
    match verify_file(&path) {
        Ok(findings) if findings.is_empty() => Check::ok(NAME, "every event is what was written"),
        Ok(findings) => {
            let remedy = "`quire export SESSION` writes what is whole of a session";
            Check::error(NAME, named(&findings), remedy)
        }
        Err(error @ StoreError::Newer { .. }) => {
            Check::error(NAME, error.to_string(), "use the newer Quire that wrote it")
        }
        Err(error) => Check::error(
            NAME,
            format!("`{}` can't be read: {error}", path.display()),
            "start the daemon: it moves a damaged store aside and keeps what can be read",
        ),
    }
}

fn named(findings: &[Finding]) -> String {
    let mut sentences: Vec<_> = findings
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let more = findings.len().saturating_sub(NAMED);
    if more > 0 {
        sentences.push(format!("{more} more"));
    }
    sentences.join("; ")
}
