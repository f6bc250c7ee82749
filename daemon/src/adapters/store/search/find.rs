//! From matching words to hits: ranked, few of one session, and each read from its event again.

use std::collections::HashMap;

use quire_proto::{id::SessionId, v1};
use rusqlite::{Transaction, params};

use super::{
    Hit, Search,
    keeper::Trouble,
    tables::{Match, Tables},
};
use crate::{
    adapters::store::{
        Room, StoreError,
        deletion::now_ms,
        reader::{self, Readers},
    },
    pure::search::{Change, change},
};

/// Most hits of one session, so that it hides no other.
const OF_ONE: usize = 3;

/// Milliseconds after which age counts half of what it ever will.
const HALF_AGE_MS: f64 = 14.0 * 24.0 * 3_600_000.0;

/// Hits of `search` in an open index, best first.
pub(super) fn find(
    tables: &Tables,
    readers: &Readers,
    search: &Search,
) -> Result<Vec<Hit>, Trouble> {
    let Some(expression) = search.query.expression() else {
        return Ok(Vec::new());
    };
    let names = names(tables, readers, search)?;
    let now = now_ms();
    let mut best: HashMap<i64, Vec<Match>> = HashMap::new();
    tables.matches(&expression, |mut found| {
        if names.contains_key(&found.session) {
            found.rank *= weight(now.saturating_sub(found.spot.time_ms));
            keep(best.entry(found.session).or_default(), found);
        }
    })?;
    let mut ranked: Vec<Match> = best.into_values().flatten().collect();
    ranked.sort_by(|one, other| {
        let newer = other.spot.time_ms.cmp(&one.spot.time_ms);
        let rank = other.rank.total_cmp(&one.rank).then(newer);
        // Copies are as good as each other; which comes first must not change from search to search.
        let copy = (other.session, other.spot.seq).cmp(&(one.session, one.spot.seq));
        rank.then(copy)
    });
    let hits = readers.read_now(|on| told(on, &ranked, &names, search))?;
    Ok(hits)
}

/// Old hits count half of new ones at last.
fn weight(age_ms: i64) -> f64 {
    let age = age_ms.max(0) as f64 / HALF_AGE_MS;
    0.5 + 0.5 * (-age).exp2()
}

fn keep(best: &mut Vec<Match>, found: Match) {
    let at = best.partition_point(|known| known.rank >= found.rank);
    best.insert(at, found);
    best.truncate(OF_ONE);
}

/// The sessions that may be found, by their numbers in the index.
fn names(
    tables: &Tables,
    readers: &Readers,
    search: &Search,
) -> Result<HashMap<i64, SessionId>, Trouble> {
    let (archived, workspace) = (search.include_archived, search.workspace.clone());
    let wanted = readers.read_now(|on| {
        let mut select = on.prepare_cached(
            "SELECT id FROM sessions WHERE (?1 OR NOT archived) AND (?2 IS NULL OR workspace = ?2)",
        )?;
        let ids = select.query_map(params![archived, workspace], |row| row.get::<_, String>(0))?;
        Ok(ids.collect::<Result<std::collections::HashSet<_>, _>>()?)
    })?;
    let known = tables.sessions()?.into_iter();
    let known = known.filter(|(_, id, _)| wanted.contains(id.as_str()));
    Ok(known.map(|(number, id, _)| (number, id)).collect())
}

/// Reads the event of each, until there are enough. One that does not match after all, because the index
/// is behind or not whole, is no hit.
fn told(
    on: &Transaction<'_>,
    ranked: &[Match],
    names: &HashMap<i64, SessionId>,
    search: &Search,
) -> Result<Vec<Hit>, StoreError> {
    let mut sessions: HashMap<i64, Option<v1::Session>> = HashMap::new();
    let mut hits = Vec::new();
    for found in ranked {
        if hits.len() == search.limit {
            break;
        }
        let Some(id) = names.get(&found.session) else {
            continue;
        };
        let session = match sessions.get(&found.session) {
            Some(known) => known.clone(),
            None => {
                let read = reader::session(on, id)?;
                sessions.entry(found.session).or_insert(read).clone()
            }
        };
        if let Some(session) = session
            && let Some(excerpt) = excerpt(on, id, found, search)?
        {
            hits.push(Hit {
                session,
                seq: found.spot.seq,
                item: found.spot.item,
                excerpt,
            });
        }
    }
    Ok(hits)
}

fn excerpt(
    on: &Transaction<'_>,
    id: &SessionId,
    found: &Match,
    search: &Search,
) -> Result<Option<String>, StoreError> {
    let events = match reader::events(on, id, found.spot.seq.saturating_sub(1), Room::of(1)) {
        Err(StoreError::Damaged { .. } | StoreError::Missing(_)) => return Ok(None),
        events => events?,
    };
    let text = match events.first().and_then(change) {
        Some(Change::Title(title)) if found.spot.item == 0 => title,
        Some(Change::Item { id, text }) if found.spot.item == id => text,
        _ => return Ok(None),
    };
    Ok(search.query.excerpt(&text))
}
