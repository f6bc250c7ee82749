//! `quired config path | get [KEY] [--origin] | check`: what is configured, and by whom.
//!
//! `path` prints where the user's file is, there or not. `get` prints one value, a table, or all of
//! it as TOML; with `--origin`, each value on a line with the layer that set it. `check` looks at
//! every layer. Nothing is changed.

use std::{ffi::OsString, process::ExitCode};

use toml::Value;

use super::world::{Answer, Failure, World, asks_for_manual, say, words};
use crate::{
    adapters::config::{FileState, Loaded, check as check_files},
    pure::config::{Config, Merged, Problems, resolve::resolve, schema, split_key, value_at},
};

const USAGE: &str = "usage: quire config path | get [KEY] [--origin] | check";

const MANUAL: &str = "\
usage: quire config path
       quire config get [KEY] [--origin]
       quire config check

path   prints where your configuration file is
get    prints what holds, all layers considered; with --origin, which layer said so
check  looks for mistakes in every layer; ends with 4 if there are any

examples: quire config get policy.sandbox --origin
          $EDITOR \"$(quire config path)\" && quire config check";

/// Runs the command with the arguments after `config`.
///
/// Ends with 0; 1 if the key is not set; 2 on wrong use; 4 if something is wrong with the
/// configuration, which stderr tells a line each.
#[must_use]
pub fn config(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = words(arguments);
    if asks_for_manual(&arguments) {
        return say(Ok(Answer::manual(MANUAL)));
    }
    say(World::here().and_then(|world| run(&arguments, &world)))
}

fn run(arguments: &[String], world: &World) -> Result<Answer, Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["path"] => Ok(Answer {
            out: format!("{}\n", world.places.user.display()),
            ..Answer::default()
        }),
        ["get", rest @ ..] => get(rest, world),
        ["check"] => Ok(check(world)),
        _ => Err(Failure::usage(USAGE)),
    }
}

fn get(words: &[&str], world: &World) -> Result<Answer, Failure> {
    let origin = words.contains(&"--origin");
    let keys: Vec<_> = words
        .iter()
        .copied()
        .filter(|word| *word != "--origin")
        .collect();
    let key = match keys.as_slice() {
        [] => None,
        [key] if !key.starts_with('-') => Some(*key),
        _ => return Err(Failure::usage(USAGE)),
    };
    let loaded = load(world)?;
    let out = match key {
        None if origin => origins(&loaded.merged, ""),
        None => loaded.merged.table.to_string(),
        Some(key) => one(&loaded.merged, key, origin)?,
    };
    Ok(Answer {
        out,
        err: notices(&loaded),
        code: 0,
    })
}

fn load(world: &World) -> Result<Loaded, Failure> {
    let wrong = |problems: Problems| Failure::configuration(problems.to_string());
    world.load().map_err(wrong)
}

fn one(merged: &Merged, key: &str, origin: bool) -> Result<String, Failure> {
    let names = split_key(key).ok_or_else(|| {
        Failure::usage(format!(
            "`{key}` is no key; write it as in a file, such as `policy.sandbox`"
        ))
    })?;
    let place: Vec<&str> = names.iter().map(String::as_str).collect();
    if schema::find(&place) == schema::Found::Unknown && place[0] != "ui" {
        let advice = schema::advice(&place);
        return Err(Failure::usage(format!("unknown key `{key}`{advice}")));
    }
    let value = value_at(&merged.table, &names).ok_or_else(|| Failure {
        code: 1,
        text: format!("`{key}` is not set"),
    })?;
    Ok(match value {
        _ if origin => origins(merged, &crate::pure::config::layer::dotted(&place)),
        Value::Table(table) => table.to_string(),
        Value::String(text) => format!("{text}\n"),
        other => format!("{other}\n"),
    })
}

/// A line for each value at or below a place.
fn origins(merged: &Merged, below: &str) -> String {
    let mut text = String::new();
    for (at, origins) in &merged.origins {
        let inside = at
            .strip_prefix(below)
            .is_some_and(|rest| below.is_empty() || rest.is_empty() || rest.starts_with('.'));
        let value = split_key(at).and_then(|names| value_at(&merged.table, &names).cloned());
        if let Some(value) = value.filter(|_| inside) {
            let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
            text.push_str(&format!("{at} = {value}  # {}\n", origins.join(", ")));
        }
    }
    text
}

fn notices(loaded: &Loaded) -> String {
    let lines = loaded.merged.notices.iter();
    lines.map(|notice| format!("notice: {notice}\n")).collect()
}

fn check(world: &World) -> Answer {
    let mut answer = Answer::default();
    for file in check_files(&world.places, world.workspace.as_deref()) {
        let path = file.path.display();
        match file.state {
            FileState::Absent => answer.out.push_str(&format!("none {path}\n")),
            FileState::Right => answer.out.push_str(&format!("ok   {path}\n")),
            FileState::Wrong(problems) => answer.err.push_str(&format!("{problems}\n")),
        }
    }
    if answer.err.is_empty() {
        match world.load() {
            Ok(loaded) => {
                answer.err = model_problems(&loaded.config);
                // A notice is no error, and follows what is.
                answer.out.push_str(&notices(&loaded));
            }
            Err(problems) => answer.err = format!("{problems}\n"),
        }
    }
    if !answer.err.is_empty() {
        answer.code = 4;
    }
    answer
}

/// Models that are named somewhere and can't be asked, a line each.
fn model_problems(config: &Config) -> String {
    let main = config.model.iter().map(|name| ("model".to_owned(), name));
    let roles = config.roles.models.iter();
    let roles = roles.map(|(role, name)| (format!("roles.{role}"), name));
    let fallback = config.roles.fallback.iter();
    let fallback = fallback.map(|name| ("roles.fallback".to_owned(), name));
    let agents = config.agents.iter().filter_map(|(agent, says)| {
        let name = says.model.as_ref()?;
        let is_role = name == "main" || config.roles.models.contains_key(name);
        (!is_role).then(|| (format!("agents.{agent}.model"), name))
    });
    let named = main.chain(roles).chain(fallback).chain(agents);
    let wrong = named.filter_map(|(at, name)| {
        let error = resolve(&config.providers, name).err()?;
        Some(format!("{at}: {error}\n"))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use quire_proto::home::Home;

    use super::*;
    use crate::adapters::config::Places;

    struct Scratch {
        directory: tempfile::TempDir,
        world: World,
    }

    impl Scratch {
        fn new(user: &str, repository: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let top = directory.path();
            fs::create_dir_all(top.join("w/.quire")).unwrap();
            fs::write(top.join("config.toml"), user).unwrap();
            if !repository.is_empty() {
                fs::write(top.join("w/.quire/config.toml"), repository).unwrap();
            }
            let world = World {
                home: Home::under(top.to_path_buf()).unwrap(),
                places: Places {
                    system: top.join("system.toml"),
                    user: top.join("config.toml"),
                    home: None,
                },
                environment: BTreeMap::new(),
                workspace: Some(top.join("w")),
            };
            Self { directory, world }
        }

        /// Exit code, stdout and stderr, with the directory left out.
        fn run(&self, line: &str) -> (u8, String, String) {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let answer = run(&words, &self.world).unwrap_or_else(|failure| Answer {
                out: String::new(),
                err: format!("{}\n", failure.text),
                code: failure.code,
            });
            let top = self.directory.path().display().to_string();
            (
                answer.code,
                answer.out.replace(&top, ""),
                answer.err.replace(&top, ""),
            )
        }
    }

    #[test]
    fn each_form_prints_what_it_says() {
        let user = "model = \"openai/gpt-5.2\"\n[providers.x.models.\"m.1\"]\ncontext_window = 9";
        let scratch = Scratch::new(user, "[policy]\nsandbox = \"read-only\"\nhidden = [\"/h\"]");
        let table = [
            ("path", 0, "/config.toml\n", ""),
            ("get model", 0, "openai/gpt-5.2\n", ""),
            (
                "get --origin model",
                0,
                "model = \"openai/gpt-5.2\"  # /config.toml\n",
                "",
            ),
            (
                "get policy.sandbox --origin",
                0,
                "policy.sandbox = \"read-only\"  # /w/.quire/config.toml\n",
                "",
            ),
            (
                "get policy.hidden --origin",
                0,
                "policy.hidden = [\"/h\"]  # built in, /w/.quire/config.toml\n",
                "",
            ),
            ("get daemon.idle_exit_minutes", 0, "30\n", ""),
            ("get daemon", 0, "idle_exit_minutes = 30\n", ""),
            (
                "get providers.x.models.\"m.1\".context_window",
                0,
                "9\n",
                "",
            ),
            ("get roles.small", 1, "", "`roles.small` is not set\n"),
            (
                "get modle",
                2,
                "",
                "unknown key `modle`; did you mean `model`?\n",
            ),
            (
                "get a..b",
                2,
                "",
                "`a..b` is no key; write it as in a file, such as `policy.sandbox`\n",
            ),
            (
                "get a b",
                2,
                "",
                "usage: quire config path | get [KEY] [--origin] | check\n",
            ),
            (
                "",
                2,
                "",
                "usage: quire config path | get [KEY] [--origin] | check\n",
            ),
            (
                "check",
                0,
                "none /system.toml\nok   /config.toml\nok   /w/.quire/config.toml\n",
                "",
            ),
        ];
        for (line, code, out, err) in table {
            let want = (code, out.to_owned(), err.to_owned());
            assert_eq!(scratch.run(line), want, "for `{line}`");
        }
    }

    #[test]
    fn everything_is_printed_as_toml_that_reads_back() {
        let scratch = Scratch::new("model = \"openai/gpt-5.2\"", "");
        let (code, out, _) = scratch.run("get");
        assert_eq!(code, 0);
        assert_eq!(
            out.parse::<toml::Table>().unwrap(),
            scratch.world.load().unwrap().merged.table
        );
        let (_, lines, _) = scratch.run("get --origin");
        assert!(lines.lines().all(|line| line.contains("  # ")), "{lines}");
    }

    #[test]
    fn check_finds_what_is_wrong_in_each_layer_and_in_all() {
        let table = [
            (
                "modle = 1",
                "",
                "/config.toml:1: unknown key `modle`; did you mean `model`?\n",
            ),
            (
                "",
                "x = 1",
                "/w/.quire/config.toml:1: unknown key `x`; known here: model, roles, providers, policy, agents, mcp_servers, daemon, jobs, notify, limits, ui\n",
            ),
            (
                "model = \"opnai/x\"",
                "",
                "model: unknown provider `opnai`; did you mean `openai`?\n",
            ),
            (
                "[agents.a]\nmodel = \"smal\"",
                "",
                "agents.a.model: `smal` names no provider: write `provider/model`, such as `openai/gpt-5.2`\n",
            ),
            (
                "[[policy.rules]]\nprefix = [\"a\"]",
                "",
                "/config.toml: a rule of `policy.rules` [\"a\"] has no `decision`\n",
            ),
        ];
        for (user, repository, want) in table {
            let (code, _, err) = Scratch::new(user, repository).run("check");
            assert_eq!(
                (code, err.as_str()),
                (4, want),
                "for `{user}`, `{repository}`"
            );
        }
    }

    #[test]
    fn what_a_repository_may_not_say_is_told() {
        let scratch = Scratch::new("", "model = \"a/b\"");
        let (code, _, err) = scratch.run("get policy.sandbox");
        assert_eq!(code, 0);
        assert!(
            err.starts_with("notice: `model` in /w/.quire/config.toml is ignored"),
            "{err}"
        );
    }
}
