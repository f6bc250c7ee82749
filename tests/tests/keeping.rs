//! What is kept of sessions, found again and gone on from: search over all of them, and forks.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use quire_proto::{
    id::RequestId,
    v1::{
        ClientWorld, Session, SessionServiceArchiveRequest, SessionServiceForkRequest,
        SessionServiceSearchRequest, SessionServiceSearchResponse, SessionState, StopReason,
        event::Body, item::Kind,
    },
};
use quire_tests::{
    dice::count,
    home::Home,
    model::{Gate, MockModel, Reply, Wire},
    process::Finished,
    rpc::{Rpc, items},
    wait,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

fn ok(run: Finished) -> String {
    assert_eq!(run.code, 0, "{run:#?}");
    run.stdout
}

fn search(rpc: &Rpc, query: &str) -> SessionServiceSearchResponse {
    let request = SessionServiceSearchRequest {
        query: query.to_owned(),
        ..SessionServiceSearchRequest::default()
    };
    let found = rpc.wait(async { rpc.sessions().search(request).await });
    found
        .unwrap_or_else(|status| panic!("search {query:?}: {status}"))
        .into_inner()
}

/// Ids of the sessions found, each once.
fn found(rpc: &Rpc, query: &str) -> Vec<String> {
    let hits = search(rpc, query).hits.into_iter();
    let ids: BTreeSet<_> = hits.map(|hit| hit.session.unwrap_or_default().id).collect();
    ids.into_iter().collect()
}

fn try_fork(rpc: &Rpc, request: SessionServiceForkRequest) -> Result<Session, Status> {
    let forked = rpc.wait(async { rpc.sessions().fork(request).await });
    forked.map(|forked| forked.into_inner().session.expect("a fork is told"))
}

fn of(session: &str, at_seq: u64) -> SessionServiceForkRequest {
    SessionServiceForkRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        at_seq,
        ..SessionServiceForkRequest::default()
    }
}

fn fork(rpc: &Rpc, session: &str, at_seq: u64) -> Session {
    let forked = try_fork(rpc, of(session, at_seq));
    forked.unwrap_or_else(|status| panic!("fork: {status}"))
}

/// The conversation as the model was told it.
fn conversation(body: &Value) -> &Value {
    &body["input"]
}

#[test]
fn a_session_is_found_while_it_streams_and_while_its_command_runs() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::say("Let us see. ")
            .and_shell("echo platypus; touch up; until [ -e go ]; do sleep 0.01; done"),
        Reply::say("The answer is ")
            .and_hold(&gate)
            .and_say("wombat."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home
        .quire(["exec", "where is the kookaburra?", "--detach"])
        .run());
    let rpc = Rpc::connect(&home);
    let id = rpc.session("@last").id;
    wait::until("the command", || home.work().join("up").exists());
    for query in ["kookaburra", "\"let us see\"", "touch up"] {
        assert_eq!(found(&rpc, query), [id.as_str()], "for {query}");
    }
    fs::write(home.work().join("go"), "").unwrap();
    gate.wait_reached();
    assert_eq!(
        found(&rpc, "platypus"),
        [id.as_str()],
        "what a command printed"
    );
    assert_eq!(found(&rpc, "wombat"), [""; 0], "nobody has said it yet");
    gate.open();
    assert_eq!(rpc.settled(&id).stop_reason(), StopReason::Done);
    let hits = search(&rpc, "wombat").hits;
    assert_eq!(hits[0].excerpt, "The answer is \u{2}wombat\u{3}.");
    let told = rpc.events(&id)[usize::try_from(hits[0].seq).unwrap() - 1].clone();
    let Some(Body::ItemCompleted(done)) = told.body else {
        panic!("{told:?}");
    };
    assert_eq!(done.item.unwrap().id, hits[0].item);
}

#[test]
fn what_was_found_before_a_kill_is_found_after_it_and_a_lost_index_is_made_again() {
    let model = MockModel::playing([Reply::say("Here is a wombat."), Reply::say("And an emu.")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "first"]).run());
    let id = Rpc::connect(&home).session("@last").id;
    assert_eq!(found(&Rpc::connect(&home), "wombat"), [id.as_str()]);
    ok(home.quire(["exec", "second", "--session", &id]).run());
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    for query in ["wombat", "emu", "second"] {
        assert_eq!(found(&rpc, query), [id.as_str()], "for {query}");
    }
    home.kill_daemon();
    fs::write(home.paths().state().join("search.db"), "no database at all").unwrap();
    let rpc = Rpc::starting(&home);
    assert_eq!(
        found(&rpc, "wombat emu"),
        [""; 0],
        "they stand in two messages"
    );
    assert_eq!(found(&rpc, "emu"), [id.as_str()]);
    assert_eq!(rpc.events(&id).len() as u64, rpc.session(&id).head_seq);
}

#[test]
fn a_deleted_session_leaves_no_word_in_the_index() {
    let model = MockModel::playing([Reply::say("A quokka and a numbat.")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "the bettong"]).run());
    let rpc = Rpc::connect(&home);
    assert_eq!(found(&rpc, "quokka").len(), 1);
    let holds = |word: &str| {
        let files = ["search.db", "search.db-wal"].map(|name| home.paths().state().join(name));
        let bytes = files.iter().filter_map(|path| fs::read(path).ok());
        bytes
            .into_iter()
            .any(|bytes| bytes.windows(word.len()).any(|at| at == word.as_bytes()))
    };
    assert!(holds("quokka") && holds("bettong"));
    ok(home.quire(["delete", "@last"]).run());
    assert_eq!(found(&rpc, "quokka"), [""; 0]);
    wait::until("the words to be gone", || {
        !holds("quokka") && !holds("bettong")
    });
}

#[test]
fn searches_from_the_command_line() {
    let model = MockModel::playing([
        Reply::shell("echo 'error: no such \x1b[31mfile\x1b[0m'"),
        Reply::say("read_to_string failed for src/lib.rs."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "mend the parser"]).run());
    let id = Rpc::connect(&home).session("@last").id;
    let text = ok(home.quire(["search", "read_to", "src/lib"]).run());
    assert!(
        text.starts_with(&format!("{id}  mend the parser")),
        "{text}"
    );
    assert!(
        text.contains("read_to_string failed for src/lib.rs."),
        "{text}"
    );
    let json = ok(home
        .quire(["search", "--json", "\"no such file\"", "--limit", "1"])
        .run());
    let line: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&line["session"], &line["title"]),
        (&json!(id), &json!("mend the parser"))
    );
    let excerpt = line["excerpt"].as_str().unwrap();
    assert!(excerpt.contains("\u{2}no such file\u{3}"), "{excerpt:?}");
    for nothing in [
        ["search", "string -failed"],
        ["search", "unheard of"],
        ["search", "* \""],
    ] {
        let run = home.quire(nothing).run();
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{nothing:?}");
        assert!(run.stderr.contains("nothing found"), "{}", run.stderr);
    }
    let elsewhere = home.user();
    assert_eq!(
        home.quire(["search", "parser", "--here"])
            .dir(&elsewhere)
            .run()
            .code,
        1
    );
    ok(home.quire(["search", "parser", "--here"]).run());
    ok(home.quire(["archive", &id]).run());
    assert_eq!(home.quire(["search", "parser"]).run().code, 1);
    ok(home.quire(["search", "parser", "--all"]).run());
    ok(home.quire(["archive", &id, "--restore"]).run());
    ok(home.quire(["rename", &id, "zoology"]).run());
    assert!(ok(home.quire(["search", "zoo"]).run()).contains("zoology"));
    assert_eq!(home.quire(["search"]).run().code, 2);
}

#[test]
fn no_text_is_a_wrong_query() {
    let model = MockModel::playing([Reply::say("日本語 and 🦀.")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "go"]).run());
    let rpc = Rpc::connect(&home);
    let long = "x\"-".repeat(4_000);
    let odd = [
        "", "\"", "NOT", "NEAR(", "a AND (", "\0", "^*", "{x}: y", "-", "--", "';--", &long,
    ];
    for query in odd {
        let found = search(&rpc, query);
        assert!(found.hits.len() <= 1, "for {query:?}");
    }
    assert!(
        !search(&rpc, "*").notices.is_empty(),
        "it says that there is no word"
    );
    for query in ["本", "🦀", "語 and"] {
        assert_eq!(found(&rpc, query).len(), 1, "for {query}");
    }
}

#[test]
fn a_fork_goes_on_with_what_the_model_knew_at_that_event() {
    let model = MockModel::playing([
        Reply::shell("echo one"),
        Reply::say("First."),
        Reply::say("Second."),
        Reply::say("Third."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "do one"]).run());
    let rpc = Rpc::connect(&home);
    let parent = rpc.session("@last");
    let first = parent.head_seq;
    ok(home
        .quire(["exec", "do two", "--session", &parent.id])
        .run());

    let whole = ok(home.quire(["fork", &parent.id]).run()).trim().to_owned();
    let early = ok(home
        .quire([
            "fork",
            &parent.id,
            "--at",
            &first.to_string(),
            "--title",
            "another way",
        ])
        .run());
    let early = early.trim();
    let told = |id: &str| {
        let session = rpc.session(id);
        assert_eq!(
            (session.state(), session.forked_from.as_str()),
            (SessionState::Idle, parent.id.as_str())
        );
        session.title
    };
    assert_eq!(
        (told(&whole).as_str(), told(early).as_str()),
        ("do one (fork)", "another way")
    );
    let Some(Body::SessionCreated(created)) = rpc.events(early).remove(0).body else {
        panic!("a session begins with its creation");
    };
    assert_eq!(
        (created.forked_from.as_str(), created.forked_at),
        (parent.id.as_str(), first)
    );

    // At the same event the same words: what follows is asked in the same context.
    ok(home.quire(["exec", "do two", "--session", early]).run());
    for session in [&parent.id, &whole] {
        ok(home.quire(["exec", "do three", "--session", session]).run());
    }
    let requests = model.requests();
    let asked = |last: &str| {
        let wanted = requests.iter().filter(move |request| {
            let input = conversation(&request.body).to_string();
            let at = |text| input.rfind(text).unwrap_or_default();
            at(last) > 0
                && ["do one", "do two", "do three"]
                    .iter()
                    .all(|other| at(other) <= at(last))
        });
        wanted
            .map(|request| conversation(&request.body))
            .collect::<Vec<_>>()
    };
    let (two, three) = (asked("do two"), asked("do three"));
    assert_eq!((two.len(), three.len()), (2, 2));
    assert_eq!(two[0], two[1]);
    assert_eq!(three[0], three[1]);

    ok(home.quire(["delete", &parent.id]).run());
    assert!(ok(home.quire(["logs", &whole]).run()).contains("First."));
    assert_eq!(
        found(&rpc, "\"do one\"").len(),
        2,
        "forks are found without it"
    );
    let file = ok(home.quire(["export", early]).run());
    ok(home.quire(["delete", early]).run());
    let back = ok(home.quire(["import", "-"]).stdin(file).run());
    assert!(ok(home.quire(["logs", back.trim()]).run()).contains("do two"));
}

#[test]
fn a_session_in_mid_stream_is_forked_at_rest_and_goes_on_itself() {
    let gate = Gate::closed();
    let model = MockModel::playing([
        Reply::default().and_shell_with(
            "touch up; until [ -e go ]; do sleep 0.01; done; echo job-done",
            json!({ "yield_time_ms": 250 }),
        ),
        Reply::say("I shall ").and_hold(&gate).and_say("finish."),
        Reply::say("The job is done."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "go", "--detach"]).run());
    gate.wait_reached();
    let rpc = Rpc::connect(&home);
    let parent = rpc.session("@last").id;
    ok(home
        .quire(["send", &parent, "and then this", "--queue"])
        .run());
    let asked = model.requests().len();
    let head = rpc.session(&parent).head_seq;
    let mut forks = Vec::new();
    for at in 0..=head {
        let made = fork(&rpc, &parent, at);
        let open = (
            made.running_turn,
            made.running_jobs,
            made.queued_prompts,
            made.pending_approvals,
        );
        assert_eq!(
            (made.state(), open),
            (SessionState::Idle, (0, 0, 0, 0)),
            "at {at}"
        );
        forks.push(made.id);
    }
    assert_eq!(model.requests().len(), asked, "a fork asks nobody");
    let stays = |id: &String| rpc.session(id).running_turn == 0;
    assert!(forks.iter().all(stays));
    // No fork owns the job: deleting one leaves it running, with its files.
    let job = ok(home.quire(["jobs", "--json"]).run());
    let job: Value = serde_json::from_str(job.trim()).unwrap();
    let name = job["id"].as_str().unwrap();
    for id in &forks {
        ok(home.quire(["delete", id]).run());
    }
    assert!(home.paths().jobs().join(name).exists());
    let late = fork(&rpc, &parent, 0).id;
    fs::write(home.work().join("go"), "").unwrap();
    gate.open();
    ok(home.quire(["wait", &parent, "--timeout", "60s"]).run());
    let logs = ok(home.quire(["logs", &parent]).run());
    assert!(logs.contains("I shall finish."), "{logs}");
    ok(home.quire(["delete", &parent]).run());
    let logs = ok(home.quire(["logs", &late]).run());
    assert!(
        logs.contains(&parent) && !logs.contains("finish."),
        "{logs}"
    );
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    assert_eq!(rpc.session(&late).state(), SessionState::Idle);
    assert_eq!(rpc.session(&late).damaged_seq, 0);
}

#[test]
fn a_fork_is_made_once_and_refused_where_there_is_nothing_to_take() {
    let model = MockModel::playing([Reply::say("Done.")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "go"]).run());
    let rpc = Rpc::connect(&home);
    let parent = rpc.session("@last");
    let request = of(&parent.id, 0);
    let first = try_fork(&rpc, request.clone()).unwrap();
    home.kill_daemon();
    let rpc = Rpc::starting(&home);
    let again = try_fork(&rpc, request.clone()).unwrap();
    assert_eq!(first.id, again.id);
    ok(home.quire(["delete", &parent.id]).run());
    assert_eq!(
        try_fork(&rpc, request).unwrap().id,
        first.id,
        "also when its parent is gone"
    );
    let refused = |request| try_fork(&rpc, request).unwrap_err();
    let beyond = refused(of(&first.id, 10_000));
    assert_eq!(beyond.code(), Code::InvalidArgument);
    let newest = rpc.session(&first.id).head_seq;
    assert!(
        beyond
            .message()
            .contains(&format!("its newest is {newest}")),
        "{beyond}"
    );
    assert_eq!(refused(of("nobody", 0)).code(), Code::NotFound);
    assert_eq!(refused(of("", 0)).code(), Code::InvalidArgument);
    let anonymous = SessionServiceForkRequest {
        request_id: String::new(),
        ..of(&first.id, 0)
    };
    assert_eq!(refused(anonymous).code(), Code::InvalidArgument);
    let nowhere = SessionServiceForkRequest {
        world: Some(ClientWorld {
            cwd: "/no/such/place".to_owned(),
            ..ClientWorld::default()
        }),
        ..of(&first.id, 0)
    };
    assert_eq!(refused(nowhere).code(), Code::InvalidArgument);
    let run = home.quire(["fork", &first.id, "--at", "10000"]).run();
    assert_eq!(run.code, 2, "{run:#?}");
    // Before the first turn there is a session to take, and nothing said yet.
    let empty = fork(&rpc, &first.id, 1);
    assert_eq!((empty.turns, empty.state()), (0, SessionState::Idle));
}

#[test]
fn a_fork_lives_in_the_world_of_its_parent_unless_given_another() {
    let model = MockModel::playing([
        Reply::shell("echo $ZOO-$PWD"),
        Reply::say("Seen."),
        Reply::shell("echo $ZOO-$PWD"),
        Reply::say("Seen again."),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let exec = home.quire(["exec", "look", "--sandbox", "read-only"]);
    ok(exec.env("ZOO", "emu").run());
    let rpc = Rpc::connect(&home);
    let parent = rpc.session("@last").id;
    let here = fork(&rpc, &parent, 0).id;
    let elsewhere = home.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let place = elsewhere.display().to_string();
    let moved = home.quire(["fork", &parent, "--cd", &place]);
    let moved = ok(moved.env("ZOO", "emu").run()).trim().to_owned();
    let prints = |session: &str| {
        rpc.prompt(session, "look again");
        assert_eq!(rpc.settled(session).stop_reason(), StopReason::Done);
        let outcome = rpc.outcomes(session).pop().expect("a command ran");
        outcome.text.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(prints(&here), format!("emu-{}", home.work().display()));
    assert_eq!(prints(&moved), format!("emu-{place}"));
    let session = rpc.session(&moved);
    assert_eq!(
        session.policy.unwrap_or_default().sandbox(),
        rpc.session(&parent).policy.unwrap_or_default().sandbox()
    );
    let told = items(&rpc.events(&moved)).into_iter().any(|item| {
        matches!(item.kind, Some(Kind::Notice(notice)) if notice.for_model && notice.text.contains(&place))
    });
    assert!(told, "the model is told where it is now");
}

/// `QUIRE_EVENTS=10000` for the figure of the report.
#[test]
fn a_long_session_is_forked_and_searched() {
    let model = MockModel::playing([Reply::say("Done, says the bilby.")]);
    let home = Home::asking(&model, Wire::Responses);
    ok(home.quire(["exec", "go"]).run());
    let rpc = Rpc::connect(&home);
    let session = rpc.session("@last").id;
    let events = count("QUIRE_EVENTS", 1_000) as u64;
    while rpc.session(&session).head_seq < events {
        rpc.wait(join_all(
            (0..100).map(|nth| put_away(&rpc, &session, nth % 2 == 1)),
        ));
    }
    // Which of a hundred came last is anybody's guess.
    rpc.wait(put_away(&rpc, &session, true));
    let head = rpc.session(&session).head_seq;
    let began = Instant::now();
    let made = fork(&rpc, &session, 0);
    let took = began.elapsed();
    eprintln!("a fork of {head} events took {took:?}");
    assert!(made.head_seq > head, "{made:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let forked = rpc.events(&made.id);
    // A page has ten thousand at most.
    let last = made.head_seq.min(10_000);
    assert!(forked.iter().map(|event| event.seq).eq(1..=last));
    let began = Instant::now();
    assert_eq!(found(&rpc, "bilby").len(), 2);
    eprintln!("and the first search after it {:?}", began.elapsed());
}

async fn put_away(rpc: &Rpc, session: &str, restore: bool) {
    let request = SessionServiceArchiveRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        restore,
    };
    let done = rpc.sessions().archive(request).await;
    done.unwrap_or_else(|status| panic!("archive: {status}"));
}
