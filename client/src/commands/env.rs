//! The environment that a session's commands see.

use std::collections::{BTreeMap, BTreeSet};

use quire_proto::v1::{
    ClientWorld, SessionServiceGetWorldRequest, SessionServiceGetWorldResponse as World,
    SessionServiceUpdateRequest,
};
use serde::Serialize;

use super::{Done, find_session};
use crate::{
    context::{self, Context},
    failure::Failure,
    link::Link,
    output::{
        json_text,
        safe::{self, Care},
    },
    world,
};

/// Show the environment that a session's commands run in, or give it today's.
///
/// It is that of the terminal which made the session. Values that look like secrets are never shown: a
/// daemon holds them in memory only, and commands see none of them unless they run with full access. With
/// --refresh the environment and umask of this terminal take its place; the directory stays the session's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire env @last
  export OPENAI_API_KEY=...; quire env @last --refresh
  . .venv/bin/activate && quire env build --refresh")]
pub struct Arguments {
    /// Id, unique prefix, title, or @last.
    session: String,
    /// Give the session the environment and umask of this terminal, and print what changed.
    #[arg(long)]
    refresh: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
///
/// # Errors
///
/// When there is no such session.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("env").await?;
    let session = find_session(&mut link, &arguments.session).await?.id;
    let before = look(&mut link, &session).await?;
    if !arguments.refresh {
        return match arguments.json {
            true => context::print(json_text(&shown(&session, &before, None)) + "\n"),
            false => show(&session, &before, context.ends.stdout),
        };
    }
    refresh(&mut link, &session).await?;
    let after = look(&mut link, &session).await?;
    let changed = Changed::between(&before, &after);
    match arguments.json {
        true => context::print(json_text(&shown(&session, &after, Some(&changed))) + "\n"),
        false => context::print(changed.lines()),
    }
}

async fn look(link: &mut Link, session: &str) -> Result<World, Failure> {
    let request = SessionServiceGetWorldRequest {
        session: session.to_owned(),
    };
    let world = link
        .call(async |connection| connection.sessions().get_world(request.clone()).await)
        .await?;
    Ok(world.into_inner())
}

async fn refresh(link: &mut Link, session: &str) -> Done {
    let request = SessionServiceUpdateRequest {
        replace_world: true,
        ..world::lending(session, world::here(None)?)
    };
    link.call(async |connection| connection.sessions().update(request.clone()).await)
        .await?;
    Ok(())
}

fn show(session: &str, world: &World, terminal: bool) -> Done {
    context::print(text(world, terminal))?;
    match world.wanted {
        false => Ok(()),
        true => context::progress(format!(
            "keys and other secrets are not here: `quire env {session} --refresh` gives this terminal's\n"
        )),
    }
}

/// Variables as `env` prints them, after two lines of what else a command is given.
fn text(world: &World, terminal: bool) -> String {
    let own = world.world.clone().unwrap_or_default();
    let variables = own.environment.iter().collect::<BTreeMap<_, _>>();
    let mut lines = vec![
        format!("# directory {}", one_line(&own.cwd, true)),
        format!("# umask {}", umask(&own)),
    ];
    lines.extend(variables.iter().map(|(name, value)| {
        let value = one_line(value, terminal);
        format!("{}={value}", one_line(name, terminal))
    }));
    let secrets = world.secrets.iter();
    lines.extend(secrets.map(|name| format!("# {} is a secret", one_line(name, true))));
    lines.join("\n") + "\n"
}

/// A value on a line of its own. For a terminal everything in it that acts is spelled out.
fn one_line(value: &str, terminal: bool) -> String {
    let value = match terminal {
        true => safe::line(value, Care::Prose),
        false => value.into(),
    };
    value.replace('\n', "\\n")
}

fn umask(world: &ClientWorld) -> String {
    format!("{:04o}", world.umask)
}

#[derive(Serialize)]
struct Shown<'a> {
    session: &'a str,
    directory: String,
    umask: String,
    environment: BTreeMap<String, String>,
    secrets: &'a [String],
    /// Only what the disk kept is there.
    wanted: bool,
    #[serde(flatten)]
    changed: Option<&'a Changed>,
}

fn shown<'a>(session: &'a str, world: &'a World, changed: Option<&'a Changed>) -> Shown<'a> {
    let own = world.world.clone().unwrap_or_default();
    Shown {
        session,
        umask: umask(&own),
        directory: own.cwd,
        environment: own.environment.into_iter().collect(),
        secrets: &world.secrets,
        wanted: world.wanted,
        changed,
    }
}

/// What became of variables; values are nobody's to see.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Changed {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    /// Secrets that were there before, and may be others now.
    given_anew: Vec<String>,
    /// Before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    umask_changed: Option<(String, String)>,
}

impl Changed {
    fn between(before: &World, after: &World) -> Self {
        let (old, new) = (variables(before), variables(after));
        let of = |names: &BTreeMap<String, Option<String>>, in_: &dyn Fn(&String) -> bool| {
            names.keys().filter(|name| in_(name)).cloned().collect()
        };
        let (from, to) = (
            umask(&before.world.clone().unwrap_or_default()),
            umask(&after.world.clone().unwrap_or_default()),
        );
        Self {
            added: of(&new, &|name| !old.contains_key(name)),
            removed: of(&old, &|name| !new.contains_key(name)),
            changed: of(&new, &|name| {
                old.get(name).is_some_and(|value| *value != new[name])
            }),
            given_anew: of(&new, &|name| {
                new[name].is_none() && old.get(name) == Some(&None)
            }),
            umask_changed: (from != to).then_some((from, to)),
        }
    }

    fn lines(&self) -> String {
        let lists = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
            ("given anew", &self.given_anew),
        ];
        let mut text = String::new();
        for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            let names: Vec<_> = names.iter().map(|name| one_line(name, true)).collect();
            text += &format!("{what}: {}\n", names.join(" "));
        }
        if let Some((from, to)) = &self.umask_changed {
            text += &format!("umask: {from} is {to} now\n");
        }
        match text.is_empty() {
            true => "nothing changed\n".to_owned(),
            false => text,
        }
    }
}

/// Variables by name; `None` in place of what is a secret.
fn variables(world: &World) -> BTreeMap<String, Option<String>> {
    let open = world.world.clone().unwrap_or_default().environment;
    let secrets: BTreeSet<_> = world.secrets.iter().cloned().collect();
    let secrets = secrets.into_iter().map(|name| (name, None));
    open.into_iter()
        .map(|(name, value)| (name, Some(value)))
        .chain(secrets)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(pairs: &[(&str, &str)], secrets: &[&str], umask: u32) -> World {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        World {
            world: Some(ClientWorld {
                cwd: "/src/app".into(),
                environment: pairs.iter().map(owned).collect(),
                umask,
            }),
            secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
            wanted: false,
        }
    }

    #[test]
    fn an_environment_is_a_line_a_variable_and_shows_no_secret() {
        let world = world(
            &[("PS1", "a\nb\u{1b}[0m"), ("FOO", "bar")],
            &["A_KEY"],
            0o27,
        );
        insta::assert_snapshot!(text(&world, true), @r"
        # directory /src/app
        # umask 0027
        FOO=bar
        PS1=a␊b␛[0m
        # A_KEY is a secret
        ");
        insta::assert_snapshot!(json_text(&shown("bcd", &world, None)), @r#"{"session":"bcd","directory":"/src/app","umask":"0027","environment":{"FOO":"bar","PS1":"a\nb\u001b[0m"},"secrets":["A_KEY"],"wanted":false}"#);
    }

    #[test]
    fn what_changed_is_told_by_name() {
        let before = world(&[("A", "1"), ("B", "1"), ("C", "1")], &["K", "L"], 0o22);
        let after = world(&[("A", "1"), ("B", "2"), ("D", "1")], &["K", "M"], 0o77);
        insta::assert_snapshot!(Changed::between(&before, &after).lines(), @r"
        added: D M
        changed: B
        removed: C L
        given anew: K
        umask: 0022 is 0077 now
        ");
        let same = Changed::between(&before, &world(&[("A", "1")], &[], 0o22));
        assert_eq!(same.lines(), "removed: B C K L\n");
        assert_eq!(Changed::default().lines(), "nothing changed\n");
    }
}
