//! Daemons of other versions: what is told about them, and the one case in which one is replaced.
//!
//! A daemon that is too old to be talked to and that nobody needs is ended, under the start lock, so that
//! its successor can be started. A daemon that works for someone, or a newer one, is never ended: two
//! clients of different versions must not take turns at ending each other's.

use std::cmp::Ordering;

use quire_proto::{
    home::Home,
    id::RequestId,
    v1::{DaemonServiceShutdownRequest, ShutdownMode},
    version,
};
use tokio::time::timeout;

use crate::{
    connect::{PATIENCE, no_daemon},
    failure::{Failure, is_broken},
    reach::Reached,
    start::{StartLock, wait_for_end},
};

/// What people are told when daemon and client differ and talk all the same; `None` when they don't.
#[must_use]
pub fn notice(theirs: &str, ours: &str) -> Option<String> {
    let what = match compare(theirs, ours) {
        Ordering::Less => "`quire daemon restart` brings the new one, nothing is lost",
        Ordering::Greater => "use the `quire` that came with it",
        Ordering::Equal => return None,
    };
    let known = !theirs.is_empty();
    known.then(|| format!("the daemon is {theirs}, this client {ours}: {what}"))
}

/// By numbers where both have them, as 0.10 comes after 0.9.
fn compare(theirs: &str, ours: &str) -> Ordering {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        version.split('.').map(|part| part.parse().ok()).collect()
    };
    match (numbers(theirs), numbers(ours)) {
        (Some(theirs), Some(ours)) => theirs.cmp(&ours),
        _ => theirs.cmp(ours),
    }
}

/// Why a newer daemon is left alone.
#[must_use]
pub fn too_new(reached: &Reached) -> Failure {
    no_daemon(format!(
        "the daemon is {}, newer than this client ({}): use the `quire` that came with it",
        reached.record().version,
        version()
    ))
}

/// Why an older daemon cannot be talked to.
#[must_use]
pub fn too_old(reached: &Reached) -> Failure {
    no_daemon(format!(
        "{}: `quire daemon restart` brings the new one, nothing is lost",
        old(reached)
    ))
}

fn old(reached: &Reached) -> String {
    format!(
        "the daemon is {}, too old for this client ({})",
        reached.record().version,
        version()
    )
}

/// Ends a daemon that is too old, if nothing and nobody needs it, and waits until it has gone.
///
/// # Errors
///
/// [`Exit::NoDaemon`](crate::failure::Exit::NoDaemon) when it is needed, does not answer, or takes too
/// long to end.
pub async fn replace(reached: Reached, home: &Home, start: &StartLock) -> Result<(), Failure> {
    let request = DaemonServiceShutdownRequest {
        request_id: RequestId::random().to_string(),
        mode: ShutdownMode::IfIdle.into(),
    };
    let mut daemon = reached.daemon();
    match timeout(PATIENCE, daemon.shutdown(request)).await {
        Ok(Ok(_)) => {}
        // It has ended meanwhile, or is about to.
        Ok(Err(status)) if is_broken(&status) => {}
        Ok(Err(status)) => {
            return Err(no_daemon(format!(
                "{}, and is left to its work ({}): `quire daemon restart` brings the new one all the same, nothing is lost",
                old(&reached),
                status.message()
            )));
        }
        Err(_elapsed) => return Err(reached.silent()),
    }
    drop((daemon, reached));
    wait_for_end(home, start).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_with_what_to_do() {
        let table = [
            ("0.1.0", "0.1.0", None),
            ("0.1.0", "0.2.0", Some("daemon restart")),
            ("0.9.0", "0.10.0", Some("daemon restart")),
            ("0.2.0", "0.1.0", Some("came with it")),
            ("0.2.0-rc1", "0.1.0", Some("came with it")),
            ("", "0.1.0", None),
        ];
        for (theirs, ours, want) in table {
            let told = notice(theirs, ours);
            match want {
                None => assert_eq!(told, None, "for {theirs} and {ours}"),
                Some(want) => assert!(told.unwrap().contains(want), "for {theirs} and {ours}"),
            }
        }
    }
}
