//! Checks of the configuration and of the model it leads to.

use super::{super::world::World, Check};
use crate::{
    adapters::models::{choose, key},
    pure::config::{Config, ModelErrorKind},
};

/// Configuration, model and key, as far as each can be looked at without the one before it.
pub(super) fn checks(world: &World) -> Vec<Check> {
    const NAME: &str = "configuration";
    let loaded = match world.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            let remedy = "mend it; `quire config check` looks again";
            return vec![Check::error(
                NAME,
                problems.to_string().replace('\n', "; "),
                remedy,
            )];
        }
    };
    let file = world.places.user.display();
    let configuration = match loaded.merged.notices.as_slice() {
        [] if world.places.user.exists() => Check::ok(NAME, file.to_string()),
        [] => Check::ok(NAME, format!("none at {file}, and none needed")),
        notices => Check::warning(NAME, notices.join("; "), "nothing, unless you wrote it"),
    };
    let mut checks = vec![configuration];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => checks.extend(runtime.block_on(model(world, &loaded.config))),
        Err(error) => {
            let remedy = "look at the limits of this process (`ulimit -a`)";
            checks.push(Check::error(
                "model",
                format!("can't be looked for: {error}"),
                remedy,
            ));
        }
    }
    checks
}

async fn model(world: &World, config: &Config) -> Vec<Check> {
    let environments = [&world.environment];
    let model = match choose(config, &environments).await {
        Ok(model) => model,
        Err(error) => {
            let (found, remedy) = match error.message.split_once('\n') {
                Some((found, remedy)) => (found, remedy),
                None => (
                    error.message.as_str(),
                    "mend the configuration; `quire config path` names the file",
                ),
            };
            return vec![Check::error("model", found, remedy)];
        }
    };
    let how = if config.model.is_some() {
        "configured"
    } else {
        "found"
    };
    if !model.wire.is_spoken() {
        let found = format!("{}: wire `{}` is not spoken yet", model.name(), model.wire);
        return vec![Check::error(
            "model",
            found,
            "choose a model of a provider with wire `responses` or `chat`",
        )];
    }
    let mut checks = vec![Check::ok("model", format!("{} ({how})", model.name()))];
    checks.push(match key(&model, &environments).await {
        Ok(Some(_)) => Check::ok("key", format!("there for provider `{}`", model.provider)),
        Ok(None) => Check::ok("key", format!("provider `{}` wants none", model.provider)),
        Err(error) => {
            let remedy = match error.kind {
                ModelErrorKind::Credentials => "`quire demo` works without one",
                ModelErrorKind::Configuration | ModelErrorKind::NoModel => "mend the configuration",
            };
            Check::error("key", error.message, remedy)
        }
    });
    checks
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use quire_proto::home::Home;

    use super::*;
    use crate::{adapters::config::Places, edge::oneshot::doctor::Level};

    fn found(user: &str, variables: &[(&str, &str)]) -> Vec<(&'static str, Level)> {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        fs::write(top.join("config.toml"), user).unwrap();
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let world = World {
            home: Home::under(top.to_path_buf()).unwrap(),
            places: Places {
                system: top.join("system.toml"),
                user: top.join("config.toml"),
                home: None,
            },
            environment: owned.collect::<BTreeMap<_, _>>(),
            workspace: None,
        };
        checks(&world)
            .into_iter()
            .map(|check| (check.name, check.level))
            .collect()
    }

    #[test]
    fn each_stage_is_looked_at_when_the_one_before_is_fine() {
        let keyed = [("OPENAI_API_KEY", "k")];
        let configured = ("configuration", Level::Ok);
        let table = [
            ("modle = 1", &[][..], vec![("configuration", Level::Error)]),
            (
                "model = \"nobody/x\"",
                &[],
                vec![configured, ("model", Level::Error)],
            ),
            (
                "model = \"openai/x\"",
                &[],
                vec![configured, ("model", Level::Ok), ("key", Level::Error)],
            ),
            (
                "model = \"openai/x\"",
                &keyed,
                vec![configured, ("model", Level::Ok), ("key", Level::Ok)],
            ),
            (
                "model = \"ollama/x\"",
                &[],
                vec![configured, ("model", Level::Ok), ("key", Level::Ok)],
            ),
            (
                "",
                &keyed,
                vec![configured, ("model", Level::Ok), ("key", Level::Ok)],
            ),
        ];
        for (user, variables, want) in table {
            assert_eq!(found(user, variables), want, "for `{user}`");
        }
    }
}
