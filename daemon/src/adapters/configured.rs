//! Models by name, as the configuration of the moment describes them.
//!
//! Configuration and keys are read at each opening, so that an edit or a new key is simply there.
//! A model whose endpoint did not change is the same model: it keeps its connections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use futures_util::future::BoxFuture;

use super::{
    config::{Flags, Loaded, Places, Sources, load, workspace_of},
    model::{self, Endpoint, Key, Timeouts},
    models::{Environment, choose, key},
};
use crate::{
    ports::model::{Asker, Model, Models, Opened},
    pure::{
        catalogue::{self, ToolStyle, Traits},
        config::{ModelError, ModelErrorKind, Problems, ResolvedModel, Trust, resolve::resolve},
        sample::{SampleError, SampleErrorKind},
    },
};

/// The role of the model for small work.
const SMALL: &str = "small";

/// Models of one user's configuration. Cheap to clone.
#[derive(Clone)]
pub struct Configured {
    places: Places,
    /// The daemon's own environment, looked through after the client's.
    own: Arc<Environment>,
    opened: Arc<Mutex<HashMap<String, Open>>>,
    /// Names of variables that any configuration read so far takes keys from. They only add up: a key is
    /// no less secret when its provider is removed.
    keys: Arc<Mutex<Arc<BTreeSet<String>>>>,
}

/// A model, and what it was made of: the endpoint, and the script as it was.
type Open = (Endpoint, Option<Stamp>, Arc<dyn Model>);

/// Tells a file that was changed.
type Stamp = (SystemTime, u64);

impl Configured {
    /// Models from the files at `places` and keys from this process's environment.
    #[must_use]
    pub fn new(places: Places) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let own = env::vars_os().filter_map(text).collect();
        Self {
            places,
            own: Arc::new(own),
            opened: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// Reads the configuration that holds for a client at `cwd`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn load(
        &self,
        cwd: &Path,
        environment: &Environment,
        flags: &Flags,
    ) -> Result<Loaded, Problems> {
        let workspace = workspace_of(cwd).ok();
        let loaded = load(&Sources {
            places: &self.places,
            workspace: workspace.as_deref(),
            trust: Trust::Untrusted,
            environment,
            flags,
        })?;
        self.learn_keys(&loaded);
        Ok(loaded)
    }

    fn learn_keys(&self, loaded: &Loaded) {
        let providers = loaded.config.providers.values();
        let named = providers.filter_map(|provider| provider.api_key_env.as_ref());
        let named = named.filter(|name| !name.is_empty());
        // Nothing under the lock can leave the set half changed.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = named.filter(|name| !keys.contains(*name)).collect();
        if !new.is_empty() {
            Arc::make_mut(&mut keys).extend(new.into_iter().cloned());
        }
    }

    /// Finds the model that `name` means, or one by itself when it is empty.
    ///
    /// # Errors
    ///
    /// [`SampleErrorKind::Configuration`] or [`SampleErrorKind::Credentials`].
    pub async fn resolve(
        &self,
        name: &str,
        loaded: &Loaded,
        environment: &Environment,
    ) -> Result<ResolvedModel, SampleError> {
        let resolved = match name {
            "" => choose(&loaded.config, &[environment, &self.own]).await,
            name => resolve(&loaded.config.providers, name),
        };
        resolved.map_err(|error| refused(&error))
    }

    /// Makes a model ready: with its key, over its wire.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn prepare(
        &self,
        resolved: ResolvedModel,
        environment: &Environment,
    ) -> Result<Opened, SampleError> {
        let secret = key(&resolved, &[environment, &self.own])
            .await
            .map_err(|error| refused(&error))?;
        let name = resolved.name();
        let facts = resolved.facts.clone();
        let endpoint = Endpoint {
            traits: traits(&resolved),
            provider: resolved.provider,
            wire: resolved.wire,
            base_url: resolved.base_url,
            key: secret.and_then(|secret| Key::new(secret.expose())),
            script: resolved.script,
            timeouts: Timeouts::default(),
        };
        let traits = endpoint.traits.clone();
        let model = self.open_once(name, endpoint)?;
        Ok(Opened {
            model,
            name: resolved.model,
            traits,
            reasoning_effort: facts.reasoning_effort,
            max_output_tokens: facts.max_output_tokens,
        })
    }

    fn open_once(&self, name: String, endpoint: Endpoint) -> Result<Arc<dyn Model>, SampleError> {
        // Nothing under the lock can leave the map half changed.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = endpoint.script.as_deref().and_then(stamp);
        if let Some((known, then, model)) = opened.get(&name)
            && (known, then) == (&endpoint, &stamp)
        {
            return Ok(model.clone());
        }
        let model = model::open(endpoint.clone())
            .map_err(|error| SampleError::new(SampleErrorKind::Configuration, sentence(&error)))?;
        opened.insert(name, (endpoint, stamp, model.clone()));
        Ok(model)
    }
}

impl Models for Configured {
    fn open(&self, name: String, asker: Asker) -> BoxFuture<'static, Result<Opened, SampleError>> {
        let models = self.clone();
        Box::pin(async move {
            let loaded = models.load(&asker.workspace, &asker.environment, &Flags::default());
            let loaded = loaded.map_err(|problems| wrong(&problems))?;
            let resolved = models.resolve(&name, &loaded, &asker.environment).await?;
            models.prepare(resolved, &asker.environment).await
        })
    }

    fn keys(&self) -> Arc<BTreeSet<String>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    fn open_small(
        &self,
        asker: Asker,
    ) -> BoxFuture<'static, Result<Option<(String, Opened)>, SampleError>> {
        let models = self.clone();
        Box::pin(async move {
            let loaded = models.load(&asker.workspace, &asker.environment, &Flags::default());
            let loaded = loaded.map_err(|problems| wrong(&problems))?;
            let Some(name) = loaded.config.roles.models.get(SMALL) else {
                return Ok(None);
            };
            let resolved = models.resolve(name, &loaded, &asker.environment).await?;
            let name = resolved.name();
            let opened = models.prepare(resolved, &asker.environment).await?;
            Ok(Some((name, opened)))
        })
    }
}

/// What is wrong with the configuration, as a reason not to ask.
#[must_use]
pub fn wrong(problems: &Problems) -> SampleError {
    SampleError::new(SampleErrorKind::Configuration, problems.to_string())
}

fn refused(error: &ModelError) -> SampleError {
    let kind = match error.kind {
        ModelErrorKind::Credentials => SampleErrorKind::Credentials,
        ModelErrorKind::Configuration | ModelErrorKind::NoModel => SampleErrorKind::Configuration,
    };
    SampleError::new(kind, error.message.clone())
}

/// An error with its causes.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some say their cause themselves.
        if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// What the catalogue knows, with what configuration knows better.
fn traits(resolved: &ResolvedModel) -> Traits {
    let facts = &resolved.facts;
    let mut traits = catalogue::look_up(&resolved.model).unwrap_or_default();
    traits.context_window = facts.context_window.unwrap_or(traits.context_window);
    traits.output_limit = facts.max_output_tokens.or(traits.output_limit);
    if let Some(price) = facts.usd_per_million {
        traits.price = Some(price.into());
    }
    if let Some(freeform) = facts.freeform_tools {
        traits.tool_style = if freeform {
            ToolStyle::Freeform
        } else {
            ToolStyle::Json
        };
    }
    traits
}

/// A model's place in the catalogue, for `quire models`.
#[must_use]
pub fn known_models(loaded: &Loaded) -> BTreeMap<String, Traits> {
    let mut known = BTreeMap::new();
    for (provider, settings) in &loaded.config.providers {
        for model in settings.models.keys() {
            if let Ok(resolved) = resolve(&loaded.config.providers, &format!("{provider}/{model}"))
            {
                known.insert(resolved.name(), traits(&resolved));
            }
        }
    }
    known
}
