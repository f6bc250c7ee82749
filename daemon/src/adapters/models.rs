//! Which model to ask, and with whose key.
//!
//! Names are resolved by [`pure::config::resolve`](crate::pure::config::resolve); here are the
//! parts that look at the world: keys in environments and from commands, and model servers on this
//! machine. A search sends nothing anywhere but to loopback.

use std::{collections::BTreeMap, fmt, net::SocketAddr, process::Stdio, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::pure::config::{
    Config, ModelError, ModelErrorKind, Provider, ResolvedModel,
    resolve::{LOCAL_SERVERS, cloud_default, first_listed, missing_key, no_model, resolve},
};

/// How long a server on this machine may take to list its models.
const PROBE: Duration = Duration::from_millis(150);
/// How long a command may take to print a key; it may ask a person to unlock something.
const KEY_COMMAND: Duration = Duration::from_secs(30);
/// Longest key read, in bytes.
const LONGEST_KEY: u64 = 64 << 10;
/// Longest list of models read, in bytes.
const LONGEST_LIST: u64 = 1 << 20;

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// A key. It is printed nowhere, not even when debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key itself, for the one header it goes into.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The configured model, else one found: a key in an environment, else a server on this machine.
/// `environments` are looked through in order. Takes under 300 ms.
///
/// # Errors
///
/// [`ModelErrorKind::NoModel`] when nothing is configured and nothing found; else as [`resolve`].
pub async fn choose(
    config: &Config,
    environments: &[&Environment],
) -> Result<ResolvedModel, ModelError> {
    let name = match &config.model {
        Some(name) => Some(name.clone()),
        None => discover(&config.providers, environments).await,
    };
    resolve(&config.providers, &name.ok_or_else(no_model)?)
}

/// Finds a model that can be used without any configuration.
pub async fn discover(
    providers: &BTreeMap<String, Provider>,
    environments: &[&Environment],
) -> Option<String> {
    if let Some(name) = cloud_default(providers, |variable| {
        look_up(environments, variable).is_some()
    }) {
        return Some(name);
    }
    let probes = LOCAL_SERVERS.iter().map(|(provider, path)| async move {
        let url = providers.get(*provider)?.base_url.as_deref()?;
        let list = timeout(PROBE, list_models(loopback(url)?, path))
            .await
            .ok()??;
        Some(format!("{provider}/{}", first_listed(&list)?))
    });
    // All at once, but the best in order wins: the same machine gives the same model each time.
    join_all(probes).await.into_iter().flatten().next()
}

/// The key of a model, or `None` when its provider wants none. Each environment is looked through
/// in order, then the command is run in the first.
///
/// # Errors
///
/// [`ModelErrorKind::Credentials`] when a key is wanted and there is none, or its command fails.
pub async fn key(
    model: &ResolvedModel,
    environments: &[&Environment],
) -> Result<Option<Secret>, ModelError> {
    if !model.key.wanted() {
        return Ok(None);
    }
    let variable = model.key.variable.as_deref();
    if let Some(value) = variable.and_then(|name| look_up(environments, name)) {
        return Ok(Some(Secret(value.to_owned())));
    }
    let Some(command) = model.key.command.as_deref() else {
        return Err(missing_key(model));
    };
    let environment = environments.first().copied();
    match timeout(KEY_COMMAND, print_key(command, environment)).await {
        Ok(Ok(key)) => Ok(Some(Secret(key))),
        Ok(Err(why)) => Err(bad_command(model, &why)),
        Err(_elapsed) => {
            let why = format!("took longer than {} s", KEY_COMMAND.as_secs());
            Err(bad_command(model, &why))
        }
    }
}

fn look_up<'e>(environments: &[&'e Environment], name: &str) -> Option<&'e str> {
    let values = environments
        .iter()
        .filter_map(|environment| environment.get(name));
    values
        .map(|value| value.trim())
        .find(|value| !value.is_empty())
}

fn bad_command(model: &ResolvedModel, why: &str) -> ModelError {
    let provider = &model.provider;
    let message =
        format!("`api_key_command` of provider `{provider}` {why}: run it by hand to see");
    ModelError::new(ModelErrorKind::Credentials, message)
}

/// Runs a command and takes the first line it prints. What it says on stderr is not shown: it may
/// hold a secret. Dropping the future kills it.
async fn print_key(
    command: &[String],
    environment: Option<&Environment>,
) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("names no program")?;
    let mut started = Command::new(program);
    started
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    started.kill_on_drop(true);
    if let Some(environment) = environment.filter(|environment| !environment.is_empty()) {
        started.env_clear().envs(environment);
    }
    let mut child = started
        .spawn()
        .map_err(|error| format!("can't be started ({error})"))?;
    let output = child.stdout.take().ok_or("has no output")?;
    let text = read_text(output, LONGEST_KEY)
        .await
        .ok_or("printed no text")?;
    let status = child
        .wait()
        .await
        .map_err(|error| format!("was lost ({error})"))?;
    if !status.success() {
        return Err(format!("failed ({status})"));
    }
    let key = text.lines().next().map(str::trim).unwrap_or_default();
    if key.is_empty() {
        return Err("printed nothing".to_owned());
    }
    Ok(key.to_owned())
}

async fn read_text(from: impl AsyncRead + Unpin, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).await.ok()?;
    String::from_utf8(bytes).ok()
}

/// The address in a URL, when it is one of this machine's own. Names are not looked up, but for
/// `localhost`: that would send something.
fn loopback(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("http://")?;
    let host = rest.split('/').next()?;
    let host = match host.split_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        None => format!(
            "{}:80",
            if host == "localhost" {
                "127.0.0.1"
            } else {
                host
            }
        ),
        Some(_) => host.to_owned(),
    };
    let address: SocketAddr = host.parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

/// Asks a server on this machine for its models. HTTP/1.0, so that the answer ends with the
/// connection and comes in one piece.
async fn list_models(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let answer = read_text(stream, LONGEST_LIST).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let ok = head.split(' ').nth(1) == Some("200");
    // Some servers send chunks in spite of HTTP/1.0; a list is one object in all of them.
    let object = body.find('{')?..body.rfind('}')? + 1;
    (ok && !object.is_empty()).then(|| body[object].to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::pure::config::{
        Layer, Origin, Trust, Wire, built_in, merge, resolve::KeySource, typed,
    };

    fn config(text: &str) -> Config {
        let user = Layer::parse(Origin::User("/u.toml".into()), text, None).unwrap();
        typed(&merge(vec![built_in().unwrap(), user], Trust::Untrusted)).unwrap()
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn model(variable: Option<&str>, command: Option<&[&str]>) -> ResolvedModel {
        ResolvedModel {
            provider: "p".into(),
            model: "m".into(),
            wire: Wire::Chat,
            base_url: "http://h/v1".into(),
            key: KeySource {
                variable: variable.map(str::to_owned),
                command: command.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
            },
            script: None,
            facts: Default::default(),
        }
    }

    /// No local server at the usual ports may disturb a test.
    const NOWHERE: &str = "providers.ollama.base_url = \"http://127.0.0.1:1/v1\"\n\
        providers.lmstudio.base_url = \"http://127.0.0.1:1/v1\"\n\
        providers.llamacpp.base_url = \"http://127.0.0.1:1/v1\"\n\
        providers.vllm.base_url = \"http://127.0.0.1:1/v1\"\n";

    /// Answers one request with these bytes.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn the_sessions_environment_comes_before_the_daemons() {
        let session = environment(&[("K", " mine \n"), ("EMPTY", " ")]);
        let daemon = environment(&[("K", "other"), ("D", "daemons"), ("EMPTY", "full")]);
        let table = [("K", "mine"), ("D", "daemons"), ("EMPTY", "full")];
        for (variable, want) in table {
            let key = key(&model(Some(variable), None), &[&session, &daemon])
                .await
                .unwrap();
            assert_eq!(key.unwrap().expose(), want, "for {variable}");
        }
        assert_eq!(key(&model(None, None), &[&session]).await, Ok(None));
    }

    #[tokio::test]
    async fn a_command_prints_the_key_when_no_variable_holds_it() {
        let session = environment(&[("FROM", "session")]);
        let command: &[&str] = &["/bin/sh", "-c", "echo key-$FROM; echo second"];
        let key = key(&model(Some("K"), Some(command)), &[&session])
            .await
            .unwrap();
        assert_eq!(key.unwrap().expose(), "key-session");
    }

    #[tokio::test]
    async fn a_missing_key_says_what_to_do_and_never_what_was_printed() {
        let table: [(_, Option<&[&str]>, _); 5] = [
            (
                Some("K"),
                None,
                "no key for provider `p`: set K, or `api_key_command` in `[providers.p]`",
            ),
            (
                None,
                Some(&["/bin/sh", "-c", "echo secret; exit 3"]),
                "`api_key_command` of provider `p` failed (exit status: 3): run it by hand to see",
            ),
            (
                None,
                Some(&["/bin/sh", "-c", "echo secret >&2"]),
                "`api_key_command` of provider `p` printed nothing: run it by hand to see",
            ),
            (
                None,
                Some(&["/bin/sh", "-c", "printf '\\377'"]),
                "`api_key_command` of provider `p` printed no text: run it by hand to see",
            ),
            (
                None,
                Some(&["/nonexistent/program"]),
                "`api_key_command` of provider `p` can't be started (No such file or directory (os error 2)): run it by hand to see",
            ),
        ];
        for (variable, command, want) in table {
            let error = key(&model(variable, command), &[]).await.unwrap_err();
            assert_eq!(error.message, want);
            assert_eq!(error.kind, ModelErrorKind::Credentials);
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Secret("k".into())), "Secret(..)");
    }

    #[tokio::test]
    async fn what_is_configured_is_not_searched_for() {
        let configured = config(
            "model = \"mine/m\"\n[providers.mine]\nwire = \"chat\"\nbase_url = \"http://127.0.0.1:1\"",
        );
        let keys = environment(&[("OPENAI_API_KEY", "k")]);
        assert_eq!(
            choose(&configured, &[&keys]).await.unwrap().name(),
            "mine/m"
        );
    }

    #[tokio::test]
    async fn a_key_in_the_environment_is_enough() {
        let keys = environment(&[("OPENROUTER_API_KEY", "k")]);
        let chosen = choose(&config(NOWHERE), &[&keys]).await.unwrap();
        assert_eq!(chosen.provider, "openrouter");
    }

    #[tokio::test]
    async fn local_servers_are_found_in_order_and_in_chunks() {
        let lmstudio = server("HTTP/1.0 200 OK\r\n\r\n{\"data\":[{\"id\":\"b\"}]}").await;
        let ollama = server(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n{\"models\":[{\"name\":\"a:8b\"}]}\r\n0\r\n\r\n",
        )
        .await;
        let text = NOWHERE.replacen("127.0.0.1:1/", &format!("{ollama}/"), 1);
        let text = text.replacen("127.0.0.1:1/", &format!("{lmstudio}/"), 1);
        assert_eq!(
            choose(&config(&text), &[]).await.unwrap().name(),
            "ollama/a:8b"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_no_model_server_is_passed_over() {
        let other = server("HTTP/1.0 404 Not Found\r\n\r\n{\"models\":[{\"name\":\"a\"}]}").await;
        let text = NOWHERE.replacen("127.0.0.1:1/", &format!("{other}/"), 1);
        let error = choose(&config(&text), &[]).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::NoModel);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap();
        let text = NOWHERE.replacen("127.0.0.1:1/", &format!("{silent}/"), 1);
        assert!(discover(&config(&text).providers, &[]).await.is_none());
    }

    #[test]
    fn only_this_machine_is_asked() {
        let table = [
            ("http://127.0.0.1:11434/v1", true),
            ("http://localhost:1234/v1", true),
            ("http://[::1]:8080", true),
            ("http://192.168.1.2:8080/v1", false),
            ("http://example.com:8080/v1", false),
            ("https://127.0.0.1:1/v1", false),
        ];
        for (url, want) in table {
            assert_eq!(loopback(url).is_some(), want, "for {url}");
        }
    }
}
