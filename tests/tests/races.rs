//! Two clients at the same instant: one answer to an approval, one end of a turn, and the truth for whoever
//! was late.
//!
//! `QUIRE_RACES=1000` is how often each race is run.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, thread, time::Duration};

use quire_proto::{
    id::RequestId,
    v1::{
        ApprovalServiceDecideRequest, ApprovalVerdict, Event, StopReason,
        TurnServiceInterruptRequest, event::Body,
    },
};
use quire_tests::{
    dice::{Dice, count},
    home::Home,
    model::{MockModel, Reply, Wire},
    rpc::Rpc,
    wait,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> String {
    let run = home.quire(arguments).run();
    assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
    run.stdout
}

fn decide(rpc: &Rpc, session: &str, approval: u64, verdict: ApprovalVerdict) -> Result<(), Status> {
    let request = ApprovalServiceDecideRequest {
        request_id: RequestId::random().to_string(),
        session: session.to_owned(),
        approval,
        verdict: verdict.into(),
        message: String::new(),
        stop: false,
    };
    let answer = rpc.wait(async { rpc.approvals().decide(request).await });
    answer.map(drop)
}

/// FAULTS row 55, between two connections; the daemon's own tests do it a thousand times.
#[test]
fn of_two_clients_that_answer_at_once_one_wins_and_the_other_is_told() {
    let rounds = count("QUIRE_RACES", 20);
    let numbers: Vec<_> = (0..rounds).collect();
    // Several to an answer: a turn has no thousand requests to the model.
    let calls = numbers.chunks(10).map(|some| {
        let touch = |reply: Reply, nth| reply.and_shell(&format!("touch made-{nth}"));
        some.iter().fold(Reply::default(), touch)
    });
    let model = MockModel::playing(calls.chain([Reply::say("done")]));
    let home = Home::asking(&model, Wire::Responses);
    run(&home, ["exec", "go", "--detach", "--approve", "untrusted"]);
    let session = Rpc::connect(&home).session("@last").id;
    let clients = [
        ("yes", ApprovalVerdict::Once),
        ("no", ApprovalVerdict::Deny),
    ];
    let clients = clients.map(|(name, verdict)| (name, verdict, Rpc::introduced(&home, name)));
    for number in 1..=rounds as u64 {
        let [a, b] = &clients;
        assert!(a.2.settled(&session).needs_approval);
        let [first, second] = thread::scope(|scope| {
            [a, b]
                .map(|(_, verdict, rpc)| scope.spawn(|| decide(rpc, &session, number, *verdict)))
                .map(|answering| answering.join().unwrap())
        });
        let (winner, refused) = match (first, second) {
            (Ok(()), Err(refused)) => (a, refused),
            (Err(refused), Ok(())) => (b, refused),
            other => panic!("approval {number}: {other:?}"),
        };
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let info = refused.get_details_error_info().unwrap();
        let fact = |name: &str| info.metadata.get(name).map(String::as_str);
        assert_eq!(info.reason, "ANSWERED");
        assert_eq!(fact("approval"), Some(number.to_string().as_str()));
        assert_eq!(fact("client_name"), Some(winner.0));
        let verdict = match winner.1 {
            ApprovalVerdict::Deny => "deny",
            _ => "once",
        };
        assert_eq!(fact("verdict"), Some(verdict));
        assert!(fact("decided_ms").unwrap().parse::<i64>().unwrap() > 0);
        assert_eq!(
            fact("client_pid"),
            Some(std::process::id().to_string().as_str())
        );
        assert!(fact("client_id").is_some_and(|id| !id.is_empty()));
    }
    let rpc = &clients[0].2;
    let _ = rpc.settled(&session);
    let events = rpc.events(&session);
    let decided = |event: &&Event| matches!(event.body, Some(Body::ApprovalDecided(_)));
    assert_eq!(events.iter().filter(decided).count(), rounds);
}

/// A model that says a few words to every prompt, without end.
fn chatting(home: &Home) {
    let script = home.root().join("chat.toml");
    fs::write(
        &script,
        "[[step]]\nrepeat = 2000\nsay = \"four words or so\"\ntokens_per_second = 500\n",
    )
    .unwrap();
    let script = script.display();
    home.configure(&format!(
        "model = \"s/m\"\n[providers.s]\nwire = \"script\"\nscript = \"{script}\"\n"
    ));
}

/// FAULTS row 56, from outside; the daemon's own tests do it a thousand times.
#[test]
fn an_interrupt_that_races_the_end_leaves_one_end_and_tells_of_which_turn() {
    let home = Home::new();
    chatting(&home);
    run(&home, ["exec", "hello"]);
    let rpc = Rpc::connect(&home);
    let session = rpc.session("@last").id;
    let mut dice = Dice::rolled();
    let rounds = count("QUIRE_RACES", 30) as u64;
    for turn in 2..2 + rounds {
        assert_eq!(rpc.prompt(&session, "go on").turn, turn);
        wait::pass(Duration::from_millis(dice.below(16) as u64));
        let request = TurnServiceInterruptRequest {
            request_id: RequestId::random().to_string(),
            session: session.clone(),
            expected_turn: turn,
        };
        let answer = rpc.wait(async { rpc.turns().interrupt(request.clone()).await });
        let resting = rpc.settled(&session);
        assert_eq!(resting.turn, turn);
        match (answer, resting.stop_reason()) {
            (Ok(told), StopReason::Interrupted) => assert_eq!(told.into_inner().turn, turn),
            (Err(late), StopReason::Done) => {
                assert_eq!(late.code(), Code::Aborted);
                let told = late.get_details_error_info().unwrap();
                assert_eq!(told.reason, "OTHER_TURN");
                assert_eq!(told.metadata["running_turn"], "0");
            }
            other => panic!("turn {turn}: {other:?}"),
        }
    }
    let events = rpc.events(&session);
    let ended = |event: &&Event| matches!(event.body, Some(Body::TurnEnded(_)));
    assert_eq!(events.iter().filter(ended).count() as u64, rounds + 1);
}
