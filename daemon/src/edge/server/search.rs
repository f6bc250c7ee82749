//! `SessionService.Search`: what was asked, as the store is asked, and what it found.

use quire_proto::v1::{SearchHit, SessionServiceSearchRequest, SessionServiceSearchResponse};
use tonic::Status;

use super::Services;
use crate::{
    adapters::store::{Hits, Search},
    pure::search::Query,
};

/// Hits, unless asked otherwise, and at most.
const HITS: (u32, u32) = (20, 200);

impl Services {
    /// Searches all sessions.
    ///
    /// # Errors
    ///
    /// What the store says; no query is an error.
    pub(super) async fn search_all(
        &self,
        request: SessionServiceSearchRequest,
    ) -> Result<SessionServiceSearchResponse, Status> {
        let query = Query::parse(&request.query);
        let mut notices = Vec::new();
        if query.is_empty() {
            notices.push("the query has no word that could be found".to_owned());
        }
        if query.is_cut() {
            notices.push("the query is too long: only its beginning was looked for".to_owned());
        }
        let limit = match request.limit {
            0 => HITS.0,
            wanted => wanted.min(HITS.1),
        };
        let search = Search {
            query,
            include_archived: request.include_archived,
            workspace: (!request.workspace.is_empty()).then_some(request.workspace),
            limit: limit as usize,
        };
        let Hits { best, complete } = self.sessions.store().search(search).await?;
        if !complete {
            let sentence = "not all sessions could be searched yet: the index is still being made";
            notices.push(sentence.to_owned());
        }
        let (sessions, found): (Vec<_>, Vec<_>) = best
            .into_iter()
            .map(|hit| (hit.session, (hit.seq, hit.item, hit.excerpt)))
            .unzip();
        let seen = self.sessions.seen(sessions).into_iter().zip(found);
        let hits = seen.map(|(session, (seq, item, excerpt))| SearchHit {
            session: Some(session),
            seq,
            item,
            excerpt,
        });
        Ok(SessionServiceSearchResponse {
            hits: hits.collect(),
            notices,
        })
    }
}
