//! Several clients act on one session: they queue, reorder, answer and interrupt, now and after everyone
//! has left, and each is named for what it did.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, path::PathBuf};

use quire_proto::{
    id::RequestId,
    v1::{
        ApprovalServiceListRequest, Event, JobServiceGetRequest, PromptItem, PromptMode,
        QueuedPrompt, StopReason, TurnServiceChangeQueuedRequest, TurnServiceListQueueRequest,
        TurnServicePromptRequest, event::Body, item::Kind,
    },
};
use quire_tests::{
    home::Home,
    lies::Lie,
    model::{Gate, MockModel, Reply, Wire},
    rpc::{Rpc, items},
    skip::skip,
};
use rustix::process::Signal;
use tonic::Code;
use tonic_types::StatusExt as _;

const HOUR: i64 = 3_600;

/// A model that wants to make a file, and then has something to say to three prompts.
fn making() -> MockModel {
    MockModel::playing([
        Reply::shell("echo made > made-file"),
        Reply::say("made it"),
        Reply::say("one"),
        Reply::say("two"),
        Reply::say("three"),
    ])
}

fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> String {
    let run = home.quire(arguments).run();
    assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
    run.stdout
}

/// Queues three prompts behind the approval that waits.
fn queue_three(home: &Home) {
    for text in ["first", "second", "third"] {
        run(home, ["send", "@last", text, "--queue"]);
    }
}

fn queue(rpc: &Rpc) -> Vec<QueuedPrompt> {
    let request = TurnServiceListQueueRequest {
        session: "@last".to_owned(),
    };
    let listed = rpc.wait(async { rpc.turns().list_queue(request).await });
    listed.unwrap().into_inner().prompts
}

fn texts(queue: Vec<QueuedPrompt>) -> Vec<String> {
    let prompts = queue.into_iter().filter_map(|queued| queued.prompt);
    prompts.map(|prompt| prompt.text).collect()
}

fn prompts(events: &[Event]) -> Vec<String> {
    let items = items(events).into_iter();
    let prompts = items.filter_map(|item| match item.kind {
        Some(Kind::Prompt(prompt)) => Some(prompt.text),
        _ => None,
    });
    prompts.collect()
}

/// One pending approval, and this queue behind it.
fn check_waiting(rpc: &Rpc, want: [&str; 3]) {
    let all = ApprovalServiceListRequest::default();
    let listed = rpc.wait(async { rpc.approvals().list(all).await });
    let approvals = listed.unwrap().into_inner().approvals;
    let titles: Vec<_> = approvals.iter().map(|one| one.title.as_str()).collect();
    assert_eq!(titles, ["echo made > made-file"]);
    assert_eq!(texts(queue(rpc)), want);
}

/// The approval is given, and the queue runs in this order.
fn check_goes_on(home: &Home, want: [&str; 4]) {
    assert!(!home.work().join("made-file").exists());
    run(home, ["approve", "@last"]);
    run(home, ["wait", "@last"]);
    assert!(home.work().join("made-file").exists());
    let rpc = Rpc::connect(home);
    let events = rpc.events(&rpc.session("@last").id);
    assert_eq!(prompts(&events), want);
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    let ends = events.iter().filter_map(|event| match &event.body {
        Some(Body::TurnEnded(ended)) => Some(ended.stop_reason()),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [StopReason::Done; 4]);
}

/// Show 3: an hour passes by the clock on the wall.
#[test]
fn what_waited_when_everyone_left_is_there_an_hour_later() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    let shift: PathBuf = home.root().join("shift");
    fs::write(&shift, 0_i64.to_ne_bytes()).unwrap();
    let Some(clock) = Lie::clock(&home, &shift) else {
        return skip("there is no C compiler to change the clock with");
    };
    let asked = ["exec", "go", "--detach", "--approve", "untrusted"];
    assert_eq!(clock.to(home.quire(asked)).run().code, 0);
    assert!(Rpc::connect(&home).settled("@last").needs_approval);
    queue_three(&home);
    let before = Rpc::connect(&home);
    assert_eq!(before.session("@last").clients, [], "someone is attached");
    let told = before.events(&before.session("@last").id);
    drop(before);
    // In place: the daemon has mapped this very file.
    fs::write(&shift, HOUR.to_ne_bytes()).unwrap();
    let rpc = Rpc::connect(&home);
    let watcher = rpc.watch(&rpc.session("@last").id, None);
    watcher.until("the past", |view| view.synced);
    assert_eq!(watcher.view().events, told);
    check_waiting(&rpc, ["first", "second", "third"]);
    check_goes_on(&home, ["go", "first", "second", "third"]);
    watcher.until_turns_ended(4);
    let asked = told.last().unwrap().time_ms;
    let decided = watcher.view().events[told.len()].time_ms;
    assert!(decided - asked >= (HOUR - 60) * 1_000, "no hour has passed");
}

/// Show 3, with the daemon killed after each step, the changed queue included.
#[test]
fn what_waited_outlives_daemons_that_are_killed() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    assert!(Rpc::connect(&home).settled("@last").needs_approval);
    queue_three(&home);
    let steps: [&[&str]; 4] = [
        &[],
        &["queue", "edit", "@last", "2", "second, edited"],
        &["queue", "move", "@last", "3", "--first"],
        &["queue", "move", "@last", "2", "--last"],
    ];
    for step in steps {
        if !step.is_empty() {
            let done = home.quire([]).args(step.iter().copied()).run();
            assert_eq!(done.code, 0, "{step:?}: {}", done.stderr);
        }
        home.kill_daemon();
    }
    check_waiting(&Rpc::starting(&home), ["third", "second, edited", "first"]);
    home.kill_daemon();
    check_goes_on(&home, ["go", "third", "second, edited", "first"]);
}

#[test]
fn the_queue_is_changed_by_place_or_by_id_and_what_is_gone_is_told() {
    let model = making();
    let home = Home::asking(&model, Wire::Chat);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    queue_three(&home);
    let rpc = Rpc::connect(&home);
    let ids: Vec<_> = queue(&rpc).into_iter().map(|one| one.request_id).collect();
    let listed = run(&home, ["queue", "@last"]);
    for (line, id) in listed.lines().skip(1).zip(&ids) {
        assert!(line.contains(&id[..6]) && line.contains("send"), "{line}");
    }
    run(
        &home,
        ["queue", "move", "@last", &ids[2][..8], "--before", "1"],
    );
    let json = run(&home, ["queue", "edit", "@last", "2", "FIRST", "--json"]);
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines.iter().map(|line| &line["text"]).collect();
    assert_eq!(told, ["third", "FIRST", "second"]);
    run(&home, ["queue", "remove", "@last", &ids[0], "1"]);
    assert_eq!(texts(queue(&rpc)), ["second"]);
    let gone = home.quire(["queue", "edit", "@last", &ids[0], "x"]).run();
    assert_eq!(gone.code, 2, "{}", gone.stderr);
    assert!(gone.stderr.contains("quire queue"), "{}", gone.stderr);
    run(&home, ["deny", "@last", "--stop"]);
    let _ = rpc.settled("@last");
    assert_eq!(
        prompts(&rpc.events(&rpc.session("@last").id)),
        ["go", "second"]
    );
}

#[test]
fn a_change_of_the_queue_that_cannot_be_is_refused_by_its_code() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    queue_three(&home);
    let rpc = Rpc::connect(&home);
    let waiting = queue(&rpc);
    let (one, two) = (&waiting[0].request_id, &waiting[1].request_id);
    let said = |text: &str| {
        Some(PromptItem {
            text: text.to_owned(),
            ..PromptItem::default()
        })
    };
    let none = || "never-sent".to_owned();
    let table = [
        (one.clone(), None, None, Code::InvalidArgument, "INVALID"),
        (
            one.clone(),
            said(" "),
            None,
            Code::InvalidArgument,
            "INVALID",
        ),
        (
            String::new(),
            said("x"),
            None,
            Code::InvalidArgument,
            "INVALID",
        ),
        (
            one.clone(),
            None,
            Some(one.clone()),
            Code::InvalidArgument,
            "INVALID",
        ),
        (none(), said("x"), None, Code::NotFound, "NOT_QUEUED"),
        (
            one.clone(),
            said("x"),
            Some(none()),
            Code::NotFound,
            "NOT_QUEUED",
        ),
    ];
    for (prompt_request_id, prompt, before, code, reason) in table {
        let request = TurnServiceChangeQueuedRequest {
            request_id: RequestId::random().to_string(),
            session: "@last".to_owned(),
            prompt_request_id,
            prompt,
            before,
        };
        let refused = rpc.wait(async { rpc.turns().change_queued(request.clone()).await });
        let refused = refused.expect_err("it is refused");
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
        let told = refused.get_details_error_info().map(|info| info.reason);
        assert_eq!(told.as_deref(), Some(reason), "{request:?}");
    }
    assert_eq!(queue(&rpc), waiting);
    // A prompt cannot pass for news of a job.
    let forged = PromptItem {
        text: "job done".to_owned(),
        job_id: "bcdfghjkmnpq".to_owned(),
        ..PromptItem::default()
    };
    let request = TurnServiceChangeQueuedRequest {
        request_id: RequestId::random().to_string(),
        session: "@last".to_owned(),
        prompt_request_id: two.clone(),
        prompt: Some(forged),
        before: Some(String::new()),
    };
    let changed = rpc.wait(async { rpc.turns().change_queued(request).await });
    let last = changed.unwrap().into_inner().prompts.pop().unwrap();
    assert_eq!(last.request_id, *two);
    assert_eq!(last.prompt.unwrap().job_id, "");
}

#[test]
fn a_prompt_on_a_condition_that_fails_is_aborted_and_leaves_no_trace() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::default().and_hold(&gate).and_say("one")]);
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach"]);
    let rpc = Rpc::connect(&home);
    gate.wait_reached();
    let session = rpc.session("@last").id;
    let before = rpc.events(&session).len();
    let table = [
        (PromptMode::Start, 0, "BUSY"),
        (PromptMode::Start, 1, "BUSY"),
        (PromptMode::Steer, 2, "OTHER_TURN"),
        (PromptMode::Queue, 7, "OTHER_TURN"),
    ];
    for (mode, expected_turn, reason) in table {
        let request = TurnServicePromptRequest {
            request_id: RequestId::random().to_string(),
            session: session.clone(),
            prompt: Some(PromptItem {
                text: "more".to_owned(),
                ..PromptItem::default()
            }),
            mode: mode.into(),
            expected_turn,
        };
        let refused = rpc.wait(async { rpc.turns().prompt(request).await });
        let refused = refused.expect_err("it is refused");
        assert_eq!(refused.code(), Code::Aborted, "{refused}");
        let told = refused.get_details_error_info().unwrap();
        assert_eq!(told.reason, reason);
        assert_eq!(told.metadata["running_turn"], "1");
        assert_eq!(told.metadata["client_name"], "exec");
    }
    assert_eq!(rpc.events(&session).len(), before);
    gate.open();
    let _ = rpc.settled(&session);
}

/// Who caused the newest event like this.
fn by(rpc: &Rpc, session: &str, wanted: impl Fn(&Body) -> bool) -> String {
    let events = rpc.events(session);
    let like = |event: &&Event| event.body.as_ref().is_some_and(&wanted);
    let newest = events.iter().rfind(like).expect("there is such an event");
    newest.by.clone().unwrap_or_default().name
}

#[test]
fn each_event_says_which_client_caused_it() {
    let model = MockModel::playing([Reply::shell("touch made"), Reply::shell("touch another")]);
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    let rpc = Rpc::connect(&home);
    assert!(rpc.settled("@last").needs_approval);
    let session = rpc.session("@last").id;
    let by = |wanted: fn(&Body) -> bool| by(&rpc, &session, wanted);
    let is_queued = |body: &Body| matches!(body, Body::PromptQueued(_));
    let is_changed = |body: &Body| matches!(body, Body::PromptChanged(_));
    let is_removed = |body: &Body| matches!(body, Body::PromptRemoved(_));
    let is_decided = |body: &Body| matches!(body, Body::ApprovalDecided(_));
    let is_session = |body: &Body| matches!(body, Body::SessionChanged(_));
    let is_started = |body: &Body| matches!(body, Body::TurnStarted(_));
    assert_eq!(by(is_started), "exec");
    run(&home, ["send", "@last", "later", "--queue"]);
    assert_eq!(by(is_queued), "send");
    run(&home, ["queue", "edit", "@last", "1", "sooner"]);
    assert_eq!(by(is_changed), "queue");
    run(&home, ["queue", "remove", "@last", "1"]);
    assert_eq!(by(is_removed), "queue");
    run(&home, ["rename", "@last", "renamed"]);
    assert_eq!(by(is_session), "rename");
    run(&home, ["approve", "@last", "--always", "session"]);
    assert_eq!(by(is_decided), "approve");
    assert_eq!(by(is_session), "approve", "the rule that it made");
    let _ = rpc.settled("@last");
    run(&home, ["interrupt", "@last"]);
    let is_notice = |body: &Body| format!("{body:?}").contains("Interrupted from interrupt.");
    assert_eq!(by(is_notice), "interrupt");
    run(&home, ["archive", "@last"]);
    assert_eq!(by(is_session), "archive");
}

#[test]
fn a_client_that_came_back_after_its_daemon_died_is_still_named() {
    let gate = Gate::closed();
    let model = MockModel::playing([Reply::default().and_hold(&gate).and_say("late")]);
    let home = Home::asking(&model, Wire::Responses);
    let client = home.quire(["exec", "go"]).spawn();
    gate.wait_reached();
    home.kill_daemon();
    // The client starts the next, which asks again.
    gate.wait_reached_times(2);
    let pid = client.pid().as_raw_nonzero().get();
    client.signal(Signal::INT);
    assert_eq!(client.finish().code, 130);
    let rpc = Rpc::connect(&home);
    let events = rpc.events(&rpc.session("@last").id);
    let interrupt = |event: &&Event| match &event.body {
        Some(Body::ItemCompleted(done)) => {
            let kind = done.item.as_ref().and_then(|item| item.kind.as_ref());
            matches!(kind, Some(Kind::Notice(notice)) if notice.text.starts_with("Interrupted"))
        }
        _ => false,
    };
    let told = events.iter().find(interrupt).expect("an interrupt");
    let by = told.by.clone().unwrap();
    assert_eq!((by.name.as_str(), by.pid), ("exec", pid.unsigned_abs()));
    gate.open();
}

#[test]
fn what_waits_is_listed_and_who_was_faster_is_told() {
    let model = making();
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    assert!(Rpc::connect(&home).settled("@last").needs_approval);
    let listed = run(&home, ["approve"]);
    assert!(listed.contains("echo made > made-file") && listed.contains("go"));
    let json = run(&home, ["deny", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(line["title"], "echo made > made-file");
    assert_eq!(line["answer"], serde_json::Value::Null);
    assert!(!home.work().join("made-file").exists(), "a list answers");
    let json = run(&home, ["approve", "@last", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(line["answer"]["verdict"], "once");
    assert_eq!(line["answer"]["client"], "approve");
    for late in [
        home.quire(["deny", "@last"]),
        home.quire(["deny", "@last", "--id", "1"]),
    ] {
        let late = late.run();
        assert_eq!(late.code, 1, "{}", late.stderr);
        assert!(
            late.stderr.contains("already approved from approve (pid "),
            "{}",
            late.stderr
        );
    }
    assert_eq!(run(&home, ["approve"]), "");
}

#[test]
fn the_newest_job_is_known_to_the_daemon_by_the_same_name() {
    let home = Home::new();
    let rpc = Rpc::starting(&home);
    let newest = || {
        let request = JobServiceGetRequest {
            job: "@last".to_owned(),
        };
        rpc.wait(async { rpc.jobs().get(request).await })
    };
    assert_eq!(newest().unwrap_err().code(), Code::NotFound);
    let none = home.quire(["job", "logs", "@last"]).run();
    assert_eq!(none.code, 2);
    assert!(
        none.stderr.contains("no job was started yet"),
        "{}",
        none.stderr
    );
    let model = MockModel::playing([
        Reply::shell("echo older"),
        Reply::shell("echo newer"),
        Reply::say("done"),
    ]);
    home.configure(&quire_tests::home::provider(
        &model.base_url(),
        Wire::Responses,
    ));
    run(&home, ["exec", "go"]);
    let job = newest().unwrap().into_inner().job.unwrap();
    assert_eq!(job.command, "echo newer");
    assert_eq!(run(&home, ["job", "logs", "@last"]), "newer\n");
}
