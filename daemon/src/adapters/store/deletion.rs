//! Sessions that are taken out, and by which request, so that a repeated request is answered like the
//! first, and one that made such a session makes no other.

use std::{collections::BTreeSet, time::SystemTime};

use quire_proto::id::{RequestId, SessionId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;

/// How long a request is remembered.
const REMEMBERED_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// The session that a request deleted.
pub(super) fn find(on: &Connection, request: &RequestId) -> Result<Option<SessionId>, StoreError> {
    let id: Option<String> = on
        .prepare_cached("SELECT session FROM deletions WHERE request = ?1")?
        .query_row([request.as_str()], |row| row.get(0))
        .optional()?;
    Ok(id.and_then(|id| id.parse().ok()))
}

/// Whether a request that is remembered deleted the session.
pub(super) fn was_deleted(on: &Connection, session: &SessionId) -> Result<bool, StoreError> {
    let known = on
        .prepare_cached("SELECT 1 FROM deletions WHERE session = ?1")?
        .exists([session.as_str()])?;
    Ok(known)
}

/// Takes a session out with all its events, whole or damaged, or not at all.
///
/// # Errors
///
/// [`StoreError::Missing`], [`StoreError::Damaged`] when its pages do not let go of it, or as for any
/// write.
pub(super) fn delete(
    on: &Connection,
    session: &SessionId,
    request: &RequestId,
) -> Result<(), StoreError> {
    let number: i64 = on
        .prepare_cached("SELECT number FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::Missing(session.clone()))?;
    // Sent again, the request that made it must not make another.
    on.execute(
        "INSERT OR IGNORE INTO deletions(request, session, time_ms)
         SELECT create_request, id, ?2 FROM sessions
         WHERE number = ?1 AND create_request IS NOT NULL",
        params![number, now_ms()],
    )?;
    remove(on, number, session)?;
    on.execute(
        "INSERT INTO deletions(request, session, time_ms) VALUES (?1, ?2, ?3)",
        params![request.as_str(), session.as_str(), now_ms()],
    )?;
    Ok(())
}

/// Takes out the rows of the session with that number, both kinds or none.
pub(super) fn remove(on: &Connection, number: i64, session: &SessionId) -> Result<(), StoreError> {
    on.execute_batch("SAVEPOINT removal")?;
    let removed = on
        .execute("DELETE FROM events WHERE session = ?1", [number])
        .and_then(|_| on.execute("DELETE FROM sessions WHERE number = ?1", [number]));
    if removed.is_err() {
        on.execute_batch("ROLLBACK TO removal")?;
    }
    on.execute_batch("RELEASE removal")?;
    removed.map_err(|error| StoreError::in_session(error, session, 1))?;
    Ok(())
}

/// Forgets requests that nobody will repeat, and names the sessions that the others deleted.
pub(super) fn forget_old(on: &Connection) -> Result<BTreeSet<SessionId>, StoreError> {
    let oldest = now_ms() - REMEMBERED_MS;
    let mut select = on.prepare("SELECT session, time_ms FROM deletions")?;
    let rows = select.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let (old, young): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, at)| *at < oldest);
    if !old.is_empty() {
        on.execute("DELETE FROM deletions WHERE time_ms < ?1", [oldest])?;
    }
    let young = young.into_iter();
    Ok(young.filter_map(|(id, _)| id.parse().ok()).collect())
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
