//! Plays a script: reads its file, counts its failures, keeps its silences.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, stream};

use super::{Endpoint, OpenError};
use crate::{
    ports::model::{Deltas, Model},
    pure::{
        sample::{Request, SampleError},
        script::{Beat, Performance, Script},
    },
};

/// A model that plays a script.
pub(super) struct Scripted(Arc<Stage>);

struct Stage {
    provider: String,
    script: Script,
    /// Failures played, by session and step. A daemon that comes back begins to count anew.
    failed: Mutex<HashMap<(String, usize), u32>>,
}

impl Scripted {
    pub(super) fn open(endpoint: Endpoint) -> Result<Self, OpenError> {
        let provider = endpoint.provider;
        let Some(path) = endpoint.script else {
            return Err(OpenError::NoScript { provider });
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(OpenError::ReadScript { path, source }),
        };
        let script = match Script::parse(&text) {
            Ok(script) => script,
            Err(source) => return Err(OpenError::Script { path, source }),
        };
        Ok(Self(Arc::new(Stage {
            provider,
            script,
            failed: Mutex::default(),
        })))
    }
}

impl Model for Scripted {
    fn sample(&self, request: Request) -> Deltas {
        let stage = self.0.clone();
        stream::once(async move { stage.perform(&request) })
            .flat_map(|performance| {
                let beats = stream::iter(performance.beats).then(keep_time).map(Ok);
                beats.chain(stream::iter(performance.failure.map(Err)))
            })
            .boxed()
    }
}

impl Stage {
    fn perform(&self, request: &Request) -> Performance {
        let step = self.script.step_for(request);
        // Poisoned never: nothing below panics. If it were, the count would still be good.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failed.entry((request.cache_key.clone(), step)).or_default();
        let mut performance = self.script.play(request, *count);
        if performance.failure.is_some() {
            *count += 1;
        }
        performance.failure = performance.failure.map(|error| self.named(error));
        performance
    }

    fn named(&self, mut error: SampleError) -> SampleError {
        error.message = format!("`{}` {} (as scripted)", self.provider, error.message);
        error
    }
}

async fn keep_time(beat: Beat) -> Vec<crate::pure::sample::Delta> {
    if !beat.wait.is_zero() {
        tokio::time::sleep(beat.wait).await;
    }
    beat.deltas
}
