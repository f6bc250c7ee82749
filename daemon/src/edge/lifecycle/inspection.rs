//! The look at all of the event store that a daemon takes when it has nothing better to do.
//!
//! What is damaged should be known before it is needed. The look begins when the daemon has been ready
//! for a while, takes a fifth of one processor, and comes again each day.

use std::time::Duration;

use tokio::time;

use super::{Notices, error};
use crate::adapters::store::{Pace, Store, StoreError};

/// From readiness to the first look, so that it takes nothing from those who came first.
const FIRST: Duration = Duration::from_secs(5);

/// Between two looks.
const EACH: Duration = Duration::from_secs(24 * 3_600);

/// Findings that people are told of; the log has all of them.
const TOLD: usize = 5;

/// Looks, and tells what was found, until the store is closed.
pub(super) async fn run(store: Store, notices: Notices) {
    let mut wait = FIRST;
    loop {
        time::sleep(wait).await;
        wait = EACH;
        match store.verify(Pace::Gentle).await {
            Ok(findings) => {
                for finding in &findings {
                    tracing::error!(%finding, "the event store is not what was written");
                }
                let told = findings.iter().take(TOLD);
                told.for_each(|finding| notices.add(finding.to_string()));
            }
            Err(StoreError::Closed) => return,
            Err(failed) => {
                let failed = error::sentence(&failed);
                tracing::error!(error = failed, "the event store cannot be looked at");
            }
        }
    }
}
