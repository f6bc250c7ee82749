//! The client's world: commands see that of the terminal which made their session, also after the daemon's
//! end; keys are found in it, and reach no command and no file.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use quire_proto::{
    CLIENT_KEY,
    id::RequestId,
    v1::{
        ClientWorld, DaemonServiceHelloRequest, ProtocolRange, Session,
        SessionServiceGetWorldRequest, SessionServiceGetWorldResponse, SessionServiceUpdateRequest,
        SessionServiceWatchRequest, session_service_watch_response::Update,
    },
};
use quire_tests::{
    binaries::binaries,
    home::{Home, KEY_VARIABLE, provider},
    model::{Gate, MockModel, Reply, Wire},
    process::Invocation,
    rpc::Rpc,
    skip::skip,
    terminal::Terminal,
    wait,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

const CTRL_D: &str = "\u{4}";

/// What a command says of the world it runs in.
const TELL: &str = r#"echo "<$FOO|$VIRTUAL_ENV|$(umask)|$(basename "$PWD")|$(tool)>""#;

/// A model that tells its world at each prompt.
fn telling() -> MockModel {
    MockModel::playing((0..4).flat_map(|_| [Reply::shell(TELL), Reply::say("told")]))
}

/// A shell of its own: its directory, umask, and a program that only its `PATH` finds.
struct Shell<'a> {
    home: &'a Home,
    name: &'static str,
    umask: &'static str,
}

impl Shell<'_> {
    fn directory(&self) -> PathBuf {
        self.home.work().join(self.name)
    }

    fn make(&self) {
        let bin = self.directory().join("bin");
        fs::create_dir_all(&bin).expect("the work directory is writable");
        let tool = bin.join("tool");
        fs::write(&tool, format!("#!/bin/sh\necho tool-{}\n", self.name))
            .expect("the new directory is writable");
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    fn quire(&self, words: &str) -> Invocation {
        self.make();
        let quire = binaries().quire();
        let line = format!("umask {}; exec {} {words}", self.umask, quire.display());
        let bin = self.directory().join("bin");
        let path = self.home.environment()["PATH"].clone();
        let path = format!("{}:{}", bin.display(), path.display());
        self.home
            .program(Path::new("/bin/sh"))
            .args(["-c", &line])
            .dir(&self.directory())
            .env("PATH", path)
            .env("FOO", format!("foo-{}", self.name))
            .env("VIRTUAL_ENV", self.directory())
    }

    fn told(&self) -> String {
        let Self { name, umask, .. } = self;
        let venv = self.directory().display().to_string();
        format!("<foo-{name}|{venv}|{umask}|{name}|tool-{name}>")
    }
}

/// A daemon that was started elsewhere, with nothing of what a client has.
fn elsewhere(home: &Home) -> Rpc {
    let start = home.quire(["daemon", "start"]).dir(Path::new("/"));
    let started = start
        .without_env(KEY_VARIABLE)
        .env("FOO", "the daemon's")
        .run();
    assert_eq!(started.code, 0, "{}", started.stderr);
    Rpc::connect(home)
}

fn done(run: Invocation) -> String {
    let run = run.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// The newest outcome of a session.
fn told(rpc: &Rpc, session: &str) -> String {
    let outcomes = rpc.outcomes(session);
    let newest = outcomes.last().expect("a command ran");
    newest.text.clone()
}

fn world(rpc: &Rpc, session: &str) -> SessionServiceGetWorldResponse {
    let request = SessionServiceGetWorldRequest {
        session: session.to_owned(),
    };
    let world = rpc.wait(async { rpc.sessions().get_world(request).await });
    world.expect("there is such a session").into_inner()
}

fn session_of(home: &Home, rpc: &Rpc, shell: &Shell<'_>) -> String {
    let listed = done(home.quire(["ps", "--json"]));
    let here = shell.directory().display().to_string();
    let mut lines = listed.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a JSON line");
        (line["cwd"].clone(), line["id"].clone())
    });
    let found = lines.find(|(cwd, _)| *cwd == json!(here));
    let id = found.expect("a session made there").1;
    rpc.session(id.as_str().expect("an id")).id
}

#[test]
fn each_session_runs_in_the_world_of_its_own_shell_also_after_kill_9() {
    let model = telling();
    let home = Home::asking(&model, Wire::Responses);
    let rpc = elsewhere(&home);
    let shells = [("a", "0027"), ("b", "0077")].map(|(name, umask)| Shell {
        home: &home,
        name,
        umask,
    });
    for shell in &shells {
        done(shell.quire("exec go"));
    }
    let sessions = shells
        .each_ref()
        .map(|shell| session_of(&home, &rpc, shell));
    for (shell, session) in shells.iter().zip(&sessions) {
        let told = told(&rpc, session);
        assert!(told.contains(&shell.told()), "{told}");
    }
    home.kill_daemon();
    let rpc = elsewhere(&home);
    for (shell, session) in shells.iter().zip(&sessions) {
        assert!(rpc.session(session).wants_world);
        // From another shell, which has the key and nothing else.
        let again = home.quire(["exec", "--session", session, "again"]);
        done(again.env("FOO", "another"));
        let told = told(&rpc, session);
        assert!(told.contains(&shell.told()), "{told}");
        assert!(!rpc.session(session).wants_world);
        assert_eq!(world(&rpc, session).secrets, [KEY_VARIABLE]);
    }
}

/// A turn that goes on by itself under a new daemon, with no client attached.
#[test]
fn a_turn_that_goes_on_by_itself_keeps_its_world() {
    let patient = "until [ -e go ]; do sleep 0.02; done";
    let model = MockModel::playing([
        Reply::default().and_shell_with(patient, json!({ "yield_time_ms": 30_000 })),
        Reply::shell(TELL),
        Reply::say("told"),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let shell = Shell {
        home: &home,
        name: "a",
        umask: "0027",
    };
    done(shell.quire("exec --detach go"));
    // The one that started it has gone, and what it started keeps its secrets to itself.
    let _ = model.wait_for_requests(1);
    home.kill_daemon();
    done(home.quire(["daemon", "start"]));
    fs::write(shell.directory().join("go"), "").unwrap();
    done(home.quire(["wait", "@last"]));
    let rpc = Rpc::connect(&home);
    let told = told(&rpc, "@last");
    assert!(told.contains(&shell.told()), "{told}");
    assert!(rpc.session("@last").wants_world, "nobody gave it a world");
}

#[test]
fn a_key_that_is_exported_after_the_daemons_start_is_simply_there() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let _rpc = elsewhere(&home);
    let refused = home.quire(["exec", "go"]).without_env(KEY_VARIABLE).run();
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    let usable = |run: Invocation| {
        let listed = done(run);
        let all = listed.lines().map(serde_json::from_str);
        let model = all
            .map(|model: Result<Value, _>| model.expect("a JSON line"))
            .find(|model| model["name"] == "mock/scripted");
        model.expect("it is configured")["usable"] == json!(true)
    };
    assert!(usable(home.quire(["models", "--json"])));
    assert!(!usable(
        home.quire(["models", "--json"]).without_env(KEY_VARIABLE)
    ));
    done(home.quire(["exec", "go"]));
}

#[test]
fn a_stale_key_of_the_daemons_own_does_not_win() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let start = home.quire(["daemon", "start"]);
    done(start.env(KEY_VARIABLE, "sk-revoked-0123456789"));
    done(home.quire(["exec", "go"]));
}

/// A turn whose daemon died under it, and whose next one has no key.
fn waiting_for_a_key(model: &MockModel, gate: &Gate) -> (Home, Rpc) {
    let home = Home::asking(model, Wire::Responses);
    let _rpc = elsewhere(&home);
    done(home.quire(["exec", "--detach", "go"]).env("FOO", "first"));
    gate.wait_reached();
    home.kill_daemon();
    gate.open();
    let rpc = elsewhere(&home);
    let settled = rpc.settled("@last");
    assert!(settled.suspended, "{settled:?}");
    (home, rpc)
}

fn gated() -> (MockModel, Gate) {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("half ").and_hold(&gate).and_say("and whole"),
        Reply::shell(TELL),
        Reply::say("told"),
    ]);
    (model, gate)
}

#[test]
fn a_turn_that_waits_for_a_key_goes_on_with_the_next_client_that_has_it() {
    type Comes = fn(&Home);
    let table: [(&str, Comes); 2] = [
        ("env --refresh", |home| {
            let refreshed = done(home.quire(["env", "@last", "--refresh"]));
            assert!(refreshed.contains(KEY_VARIABLE), "{refreshed}");
        }),
        ("attach", |home| {
            let mut terminal = home.terminal(["attach", "@last"]);
            terminal.shows("whole");
            terminal.types(CTRL_D);
            assert_eq!(terminal.finish(), 0);
        }),
    ];
    for (what, comes) in table {
        if what == "attach" && !Terminal::available() {
            skip("no setsid from util-linux");
            continue;
        }
        let (model, gate) = gated();
        let (home, rpc) = waiting_for_a_key(&model, &gate);
        // Who only looks does not help, nor does one without the key.
        done(home.quire(["logs", "@last"]));
        let keyless = home.quire(["env", "@last", "--refresh"]);
        done(keyless.without_env(KEY_VARIABLE).env("FOO", "first"));
        assert!(rpc.settled("@last").suspended, "for {what}");
        assert!(rpc.session("@last").wants_world, "for {what}");
        comes(&home);
        done(home.quire(["wait", "@last"]));
        assert!(!rpc.session("@last").wants_world, "for {what}");
    }
}

#[test]
fn a_refresh_takes_todays_environment_and_says_what_changed() {
    let model = telling();
    let home = Home::asking(&model, Wire::Responses);
    let rpc = elsewhere(&home);
    let shells = [("a", "0027"), ("b", "0077")].map(|(name, umask)| Shell {
        home: &home,
        name,
        umask,
    });
    let [first, second] = &shells;
    done(
        first
            .quire("exec go")
            .env("GONE", "x")
            .env("A_TOKEN", "hush-hush"),
    );
    let shown = done(home.quire(["env", "@last"]));
    for line in ["FOO=foo-a", "# umask 0027", "# A_TOKEN is a secret"] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    assert!(!shown.contains("hush") && !shown.contains(MockModel::KEY));
    let changed = done(second.quire("env @last --refresh --json").env("NEW", "y"));
    let changed: Value = serde_json::from_str(&changed).expect("one JSON object");
    assert_eq!(changed["added"], json!(["NEW"]));
    let names = json!(["FOO", "PATH", "PWD", "VIRTUAL_ENV"]);
    assert_eq!(changed["changed"], names);
    assert_eq!(changed["removed"], json!(["A_TOKEN", "GONE"]));
    assert_eq!(changed["given_anew"], json!([KEY_VARIABLE]));
    assert_eq!(changed["umask_changed"], json!(["0027", "0077"]));
    assert_eq!(changed["directory"], json!(first.directory()));
    let again = done(second.quire("env @last --refresh").env("NEW", "y"));
    assert_eq!(again, format!("given anew: {KEY_VARIABLE}\n"));
    done(home.quire(["exec", "--session", "@last", "again"]));
    // Commands start where the session was made.
    let want = second.told().replace("|b|", "|a|");
    assert!(told(&rpc, "@last").contains(&want), "{want}");
    // Also after a death.
    home.kill_daemon();
    done(home.quire(["exec", "--session", "@last", "again"]));
    assert!(told(&Rpc::connect(&home), "@last").contains(&want));
    let unknown = home.quire(["env", "nothing"]).run();
    assert_eq!(
        (unknown.code, unknown.stderr.lines().count()),
        (2, 1),
        "{unknown:?}"
    );
}

/// Every process from a command up to the daemon tells its environment.
const ALL_THAT_CAN_BE_SEEN: &str = r#"env; p=$$
while [ "$p" -gt 1 ] && [ "$(cat /proc/$p/comm)" != quired ]; do
  tr '\0' '\n' < /proc/$p/environ; tr '\0' ' ' < /proc/$p/cmdline
  p=$(sed -n 's/^PPid:\t//p' /proc/$p/status)
done; echo told"#;

/// Files below a directory that hold any of these.
fn holding(directory: &Path, secrets: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("it is there");
        if kind.is_dir() {
            found.extend(holding(&path, secrets));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let holds = |secret: &&str| {
                let mut windows = bytes.windows(secret.len());
                windows.any(|window| window == secret.as_bytes())
            };
            found.extend(secrets.iter().any(holds).then_some(path));
        }
    }
    found
}

#[test]
fn a_key_reaches_no_command_and_no_file() {
    let plain = "a-key-of-plain-words";
    let secrets = [MockModel::KEY, plain, "hush-hush-token"];
    for mode in ["read-only", "workspace-write", "full-access"] {
        let patient = format!("{ALL_THAT_CAN_BE_SEEN}; exec sleep 98765");
        let model = MockModel::playing([
            Reply::shell(ALL_THAT_CAN_BE_SEEN),
            // Its files are there as long as it runs.
            Reply::default().and_shell_with(&patient, json!({ "yield_time_ms": 250 })),
            Reply::say("told"),
        ]);
        let home = Home::new();
        let second = format!(
            "\n[providers.other]\nwire = \"chat\"\nbase_url = \"{}\"\napi_key_env = \"MINE\"\n",
            model.base_url()
        );
        home.configure(&(provider(&model.base_url(), Wire::Responses) + &second));
        let exec = home.quire(["exec", "--sandbox", mode, "--approve", "never", "go"]);
        let exec = exec
            .env("MINE", plain)
            .env("ALIAS", plain)
            .env("ANOTHER", MockModel::KEY)
            .env("QUIRE_LOG", "debug")
            .env("FOO", "bar");
        // With full access a command sees what it could read anyway, but for keys of providers.
        let exec = match mode {
            "full-access" => exec,
            _ => exec.env("GITHUB_TOKEN", secrets[2]),
        };
        done(exec);
        let rpc = Rpc::connect(&home);
        for outcome in rpc.outcomes("@last") {
            assert!(outcome.text.contains("FOO=bar"), "{mode}: {}", outcome.text);
            assert!(outcome.text.contains("told"), "{mode}: {}", outcome.text);
            for secret in secrets {
                assert!(!outcome.text.contains(secret), "{mode}: {}", outcome.text);
            }
        }
        assert_eq!(holding(&home.quire_home(), &secrets), Vec::<PathBuf>::new());
        home.kill_daemon();
        assert_eq!(holding(&home.quire_home(), &secrets), Vec::<PathBuf>::new());
        assert_ne!(
            holding(&home.quire_home(), &["foo-", "bar"]),
            Vec::<PathBuf>::new()
        );
    }
}

/// Whether a watcher is asked for its world, as told before the first heartbeat.
fn is_asked(rpc: &Rpc, session: &str, observer: bool) -> bool {
    let asked = async {
        let hello = DaemonServiceHelloRequest {
            protocol: Some(ProtocolRange { min: 1, max: 1 }),
            client_name: "test".into(),
            observer,
            ..Default::default()
        };
        let me = rpc.daemon().hello(hello).await?.into_inner().client_id;
        let mut request = Request::new(SessionServiceWatchRequest {
            session: session.to_owned(),
            heartbeat_ms: 1_000,
            ..Default::default()
        });
        let me = me.parse().expect("an id is text");
        request.metadata_mut().insert(CLIENT_KEY, me);
        let mut updates = rpc.sessions().watch(request).await?.into_inner();
        loop {
            match updates.message().await?.and_then(|told| told.update) {
                Some(Update::WorldWanted(_)) => return Ok(true),
                Some(Update::Heartbeat(_)) | None => return Ok::<_, Status>(false),
                Some(_) => {}
            }
        }
    };
    rpc.wait(asked).expect("the daemon answers")
}

fn give(rpc: &Rpc, session: &str, replace_world: bool, pairs: &[(&str, &str)]) -> Session {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let request = SessionServiceUpdateRequest {
        request_id: RequestId::random().to_string(),
        session: Some(Session {
            id: session.to_owned(),
            ..Session::default()
        }),
        world: Some(ClientWorld {
            environment: pairs.iter().map(owned).collect(),
            ..ClientWorld::default()
        }),
        replace_world,
        ..Default::default()
    };
    let updated = rpc.wait(async { rpc.sessions().update(request).await });
    let session = updated.expect("the daemon takes it").into_inner().session;
    session.expect("a session changed is a session told")
}

#[test]
fn only_who_may_act_is_asked_and_until_someone_gave() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let id = rpc.create(&home, &home.work()).id;
    assert!(!is_asked(&rpc, &id, false), "it has all");
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    assert!(!is_asked(&rpc, &id, true), "who only looks");
    assert!(is_asked(&rpc, &id, false) && rpc.session(&id).wants_world);
    let secrets = [("NEW", "x"), ("HOME", "/other"), ("A_TOKEN", "t")];
    assert!(!give(&rpc, &id, false, &secrets).wants_world);
    assert!(!is_asked(&rpc, &id, false), "it was given one");
    let held = world(&rpc, &id);
    let environment = held.world.expect("a world").environment;
    assert_eq!(held.secrets, ["A_TOKEN"]);
    assert!(!environment.contains_key("NEW"), "{environment:?}");
    assert_eq!(environment["HOME"], home.user().display().to_string());
    give(&rpc, &id, true, &secrets[..1]);
    let held = world(&rpc, &id);
    let environment = held.world.expect("a world").environment;
    assert_eq!((environment.len(), held.secrets.len()), (1, 0));
}

#[test]
fn what_is_kept_goes_with_its_session_and_is_nothing_when_damaged() {
    let model = MockModel::playing([Reply::say("hello")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let [damaged, gone, stays] = [(); 3].map(|()| rpc.create(&home, &home.work()).id);
    let directory = home.paths().worlds();
    let file = |id: &str| directory.join(id);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&file(&stays))), (0o700, 0o600));
    done(home.quire(["delete", &gone]));
    assert!(!file(&gone).exists());
    home.kill_daemon();
    // As if the daemon had died between the two.
    fs::copy(file(&stays), file(&gone)).unwrap();
    let whole = fs::read(file(&damaged)).unwrap();
    fs::write(file(&damaged), &whole[..whole.len() / 2]).unwrap();
    let rpc = Rpc::starting(&home);
    wait::until("the stray file to be removed", || !file(&gone).exists());
    let held = world(&rpc, &damaged);
    let environment = held.world.expect("a world").environment;
    assert!(held.wanted && environment.is_empty(), "{environment:?}");
    let log = fs::read_to_string(home.paths().logs().join("quired.log")).unwrap();
    assert!(log.contains("environment cannot be read"), "{log}");
    assert!(!give(&rpc, &damaged, false, &[("FOO", "bar")]).wants_world);
    let kept = fs::read_to_string(file(&damaged)).unwrap();
    assert!(kept.contains(r#""FOO":"bar""#), "{kept}");
    let held = world(&rpc, &stays);
    let environment = held.world.expect("a world").environment;
    assert!(held.wanted && environment.contains_key("PATH"));
    let missing = rpc.wait(async {
        let session = "nothing".to_owned();
        let request = SessionServiceGetWorldRequest { session };
        rpc.sessions().get_world(request).await
    });
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
}
