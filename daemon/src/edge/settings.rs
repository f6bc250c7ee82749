//! What a new session starts with: workspace, model and policy, from configuration and its client.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use quire_proto::v1::{ClientWorld, DaemonServiceListModelsResponse, Policy};
use tonic::Status;

use crate::{
    ports::model::{Asker, Models},
    session::{Change, Surroundings},
};

/// Configuration as sessions need it.
pub struct Settings {
    pub(super) models: Arc<dyn Models>,
}

/// What a client asks for a new session; what is empty comes from configuration.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// "provider/model".
    pub model: String,
    /// Unspecified fields come from configuration.
    pub policy: Option<Policy>,
    /// Further writable directories, absolute.
    pub add_dirs: Vec<String>,
}

/// What a new session starts with.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Absolute.
    pub workspace: PathBuf,
    /// "provider/model".
    pub model: String,
    /// Whole.
    pub policy: Policy,
}

impl Settings {
    /// Settles a wish.
    ///
    /// # Errors
    ///
    /// What is wrong with configuration, model or key.
    pub async fn settle(
        &self,
        cwd: &Path,
        surroundings: &Surroundings,
        wish: Wish,
    ) -> Result<Settled, Status> {
        let asker = Asker {
            workspace: cwd.to_owned(),
            environment: surroundings.environment.clone(),
        };
        self.models.open(wish.model.clone(), asker).await?;
        Ok(Settled {
            workspace: cwd.to_owned(),
            model: wish.model,
            policy: wish.policy.unwrap_or_default(),
        })
    }

    /// Checks that a session may go on with `model`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub async fn check_model(
        &self,
        cwd: &Path,
        model: &str,
        change: &Change,
    ) -> Result<(), Status> {
        let environment = change.surroundings.clone().unwrap_or_default().environment;
        self.models
            .open(
                model.to_owned(),
                Asker {
                    workspace: cwd.to_owned(),
                    environment,
                },
            )
            .await?;
        Ok(())
    }

    /// Models that configuration and catalogue offer.
    ///
    /// # Errors
    ///
    /// What is wrong with configuration.
    pub async fn models(
        &self,
        _world: &ClientWorld,
    ) -> Result<DaemonServiceListModelsResponse, Status> {
        Ok(DaemonServiceListModelsResponse::default())
    }
}
