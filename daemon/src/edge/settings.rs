//! What a new session starts with: workspace, model and policy, from configuration and its client.

use std::path::{Path, PathBuf};

use quire_proto::v1::{
    ApprovePolicy, ClientWorld, DaemonServiceListModelsResponse, Model, Policy, SandboxMode,
};
use tonic::Status;

use super::status::refuse;
use crate::{
    adapters::{
        config::{Flags, Loaded, workspace_of},
        configured::{Configured, known_models, wrong},
        models::Environment,
    },
    pure::{
        catalogue::{self, Traits},
        sample::SampleError,
    },
};

/// Configuration as sessions need it.
pub struct Settings(Configured);

/// What a client asks for a new session; what is empty comes from configuration.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// "provider/model".
    pub model: String,
    /// Unspecified fields come from configuration; lists are added to it.
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
    /// What of the configuration does not hold, and why.
    pub notices: Vec<String>,
}

impl Settings {
    /// Settings from these files and models.
    #[must_use]
    pub fn new(models: Configured) -> Self {
        Self(models)
    }

    /// Settles a wish. The model is made ready, so that a missing key is told before there is a
    /// session.
    ///
    /// # Errors
    ///
    /// What is wrong with configuration, model or key.
    pub async fn settle(
        &self,
        cwd: &Path,
        environment: &Environment,
        wish: Wish,
    ) -> Result<Settled, Status> {
        let policy = wish.policy.unwrap_or_default();
        let flags = Flags {
            model: (!wish.model.is_empty()).then_some(wish.model),
            sandbox: sandbox_word(policy.sandbox()).map(str::to_owned),
            approve: approve_word(policy.approve()).map(str::to_owned),
            writable: wish.add_dirs.into_iter().map(PathBuf::from).collect(),
            max_cost_usd: None,
        };
        let loaded = self.load(cwd, environment, &flags)?;
        let model = self.0.resolve("", &loaded, environment).await?;
        let name = model.name();
        self.0.prepare(model, environment).await?;
        let mut settled = place(cwd, loaded)?;
        settled.model = name;
        let added = &mut settled.policy;
        added.network.extend(policy.network);
        added.writable.extend(policy.writable);
        added.hidden.extend(policy.hidden);
        added.rules.extend(policy.rules);
        added.require.extend(policy.require);
        Ok(settled)
    }

    /// Settles what holds for a session that comes from elsewhere and used `model` there. It keeps the
    /// model if it can be asked here; what it gets else, if anything, a notice says.
    ///
    /// # Errors
    ///
    /// What is wrong with the directory or the configuration. No usable model is no error: such a
    /// session can still be read.
    pub async fn settle_found(
        &self,
        cwd: &Path,
        environment: &Environment,
        model: &str,
    ) -> Result<Settled, Status> {
        let loaded = self.load(cwd, environment, &Flags::default())?;
        let mut found = self.usable(model, &loaded, environment).await;
        if found.is_err() {
            found = self.usable("", &loaded, environment).await;
        }
        let mut settled = place(cwd, loaded)?;
        let told = match &found {
            Ok(usable) if usable == model => None,
            Ok(usable) => Some(format!(
                "`{model}` cannot be asked here: `{usable}` goes on."
            )),
            Err(error) => {
                let why = error.message.lines().next().unwrap_or_default();
                Some(format!("No model can be asked here yet: {why}"))
            }
        };
        settled.notices.extend(told);
        settled.model = found.unwrap_or_else(|_none| model.to_owned());
        Ok(settled)
    }

    /// The whole name of the model that `name` means, if it can be asked.
    async fn usable(
        &self,
        name: &str,
        loaded: &Loaded,
        environment: &Environment,
    ) -> Result<String, SampleError> {
        let model = self.0.resolve(name, loaded, environment).await?;
        let name = model.name();
        self.0.prepare(model, environment).await?;
        Ok(name)
    }

    /// Checks that a session may go on with the model named `name`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub async fn check_model(
        &self,
        cwd: &Path,
        environment: &Environment,
        name: &str,
    ) -> Result<(), Status> {
        let loaded = self.load(cwd, environment, &Flags::default())?;
        let model = self.0.resolve(name, &loaded, environment).await?;
        self.0.prepare(model, environment).await?;
        Ok(())
    }

    /// Models that configuration and catalogue offer to a client.
    ///
    /// # Errors
    ///
    /// What is wrong with configuration.
    pub async fn models(
        &self,
        world: &ClientWorld,
    ) -> Result<DaemonServiceListModelsResponse, Status> {
        let environment = world
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let loaded = self.load(Path::new(&world.cwd), &environment, &Flags::default())?;
        let default = self.0.resolve("", &loaded, &environment).await.ok();
        let default_model = default.map(|model| model.name()).unwrap_or_default();
        let mut known = known_models(&loaded);
        for entry in catalogue::ENTRIES {
            if let Some(provider) = catalogue::provider_of(entry.name) {
                known
                    .entry(format!("{provider}/{}", entry.name))
                    .or_insert_with(|| entry.traits());
            }
        }
        if !default_model.is_empty() {
            known.entry(default_model.clone()).or_default();
        }
        let mut models = Vec::new();
        for (name, traits) in known {
            models.push(self.described(name, &traits, &loaded, &environment).await);
        }
        Ok(DaemonServiceListModelsResponse {
            models,
            default_model,
        })
    }

    async fn described(
        &self,
        name: String,
        traits: &Traits,
        loaded: &Loaded,
        environment: &Environment,
    ) -> Model {
        let ready = async {
            let model = self.0.resolve(&name, loaded, environment).await?;
            self.0.prepare(model, environment).await
        };
        let reason = ready.await.err().map(|error: SampleError| error.message);
        let usd = |micros: u64| micros as f64 / 1e6;
        let price = |part: fn(&catalogue::Price) -> u64| {
            traits.price.as_ref().map_or(0.0, |price| usd(part(price)))
        };
        Model {
            context_window: traits.context_window,
            input_price: price(|price| price.input),
            cached_price: price(|price| price.cached),
            output_price: price(|price| price.output),
            usable: reason.is_none(),
            reason: reason.unwrap_or_default(),
            name,
        }
    }

    fn load(&self, cwd: &Path, environment: &Environment, flags: &Flags) -> Result<Loaded, Status> {
        Ok(self
            .0
            .load(cwd, environment, flags)
            .map_err(|problems| wrong(&problems))?)
    }
}

/// What configuration says of a session in `cwd`, its model aside.
fn place(cwd: &Path, loaded: Loaded) -> Result<Settled, Status> {
    let workspace = workspace_of(cwd).map_err(|error| {
        let message = format!("cannot look at `{}`: {error}", cwd.display());
        refuse(tonic::Code::InvalidArgument, "INVALID", message)
    })?;
    Ok(Settled {
        workspace,
        model: String::new(),
        policy: loaded.config.policy.to_policy(),
        notices: loaded.merged.notices,
    })
}

/// The word that configuration files use.
fn sandbox_word(mode: SandboxMode) -> Option<&'static str> {
    match mode {
        SandboxMode::Unspecified => None,
        SandboxMode::ReadOnly => Some("read-only"),
        SandboxMode::WorkspaceWrite => Some("workspace-write"),
        SandboxMode::FullAccess => Some("full-access"),
    }
}

/// The word that configuration files use.
fn approve_word(policy: ApprovePolicy) -> Option<&'static str> {
    match policy {
        ApprovePolicy::Unspecified => None,
        ApprovePolicy::Untrusted => Some("untrusted"),
        ApprovePolicy::OnRequest => Some("on-request"),
        ApprovePolicy::Never => Some("never"),
    }
}
