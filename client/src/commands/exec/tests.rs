//! The driven turn against a daemon that plays.

use std::time::Duration;

use quire_proto::v1::{self, TurnEnded, TurnStarted, event::Body};

use super::*;
use crate::{
    connect::Introduction,
    fake::{Play, Stage},
};

fn ended(stop_reason: v1::StopReason) -> Body {
    Body::TurnEnded(TurnEnded {
        turn: 1,
        stop_reason: stop_reason.into(),
        ..TurnEnded::default()
    })
}

fn asked() -> Body {
    let approval = v1::Approval {
        id: 1,
        turn: 1,
        title: "git push".into(),
        ..v1::Approval::default()
    };
    Body::ApprovalRequested(v1::ApprovalRequested {
        approval: Some(approval),
    })
}

fn client(name: &str, observer: bool) -> v1::ClientRef {
    v1::ClientRef {
        id: format!("other-{name}"),
        name: name.into(),
        pid: 1,
        observer,
    }
}

/// A play in which the first turn has started, and a drive that follows it.
async fn driven(stage: &Stage, play: &Play) -> Drive {
    following(stage, play, TurnId::new(1)).await
}

async fn following(stage: &Stage, play: &Play, turn: Option<TurnId>) -> Drive {
    play.happen(Body::TurnStarted(TurnStarted {
        turn: 1,
        model: String::new(),
    }));
    let who = Introduction {
        name: drive::NAME,
        observer: false,
    };
    let link = Link::open(&stage.host, who).await.unwrap();
    let watch = Watch::from_start(link, "s".into());
    Drive::new(watch, Box::new(Json::default()), turn, u64::MAX)
}

#[tokio::test]
async fn a_question_that_nobody_can_answer_is_denied() {
    let nobody = [
        vec![],
        vec![client("tui", true)],
        vec![client(drive::NAME, false)],
    ];
    for others in nobody {
        let stage = Stage::new("");
        let play = Play::new(others.clone());
        let _fake = stage.up(&play);
        let mut drive = driven(&stage, &play).await;
        play.happen(asked());
        let failure = drive.run(Limits::default()).await.unwrap().unwrap();
        assert_eq!(failure.exit(), Exit::Denied, "for {others:?}");
        let decided = play.heard(|heard| heard.decided.clone());
        assert_eq!(decided.len(), 1);
        assert!(decided[0].stop);
        let told = failure.to_string();
        assert!(
            told.contains("git push") && told.contains("quire attach s"),
            "{told}"
        );
    }
}

/// The request by which the driven prompt came.
const PROMPT: &str = "prompt-of-ours";

fn event(body: Body, request_id: &str) -> v1::Event {
    v1::Event {
        request_id: request_id.into(),
        by: Some(client("tui", false)),
        body: Some(body),
        ..v1::Event::default()
    }
}

#[tokio::test]
async fn a_prompt_that_waited_is_followed_into_its_turn_or_out_of_the_queue() {
    let begun = v1::ItemCompleted {
        item: Some(v1::Item {
            id: 1,
            turn: 1,
            kind: Some(v1::item::Kind::Prompt(v1::PromptItem::default())),
            ..v1::Item::default()
        }),
    };
    let removed = v1::PromptRemoved {
        request_id: PROMPT.into(),
    };
    let table = [
        (event(Body::ItemCompleted(begun), PROMPT), None),
        (
            event(Body::PromptRemoved(removed), "another"),
            Some("the prompt was taken back from tui (pid 1) before its turn"),
        ),
    ];
    for (what, want) in table {
        let stage = Stage::new("");
        let play = Play::new(vec![]);
        let _fake = stage.up(&play);
        let mut drive = following(&stage, &play, None).await.of_prompt(PROMPT, None);
        play.happen_as(what);
        play.happen(ended(v1::StopReason::Done));
        let told = drive.run(Limits::default()).await;
        let told = told.map_err(|failure| failure.to_string());
        assert_eq!(told, want.map_or(Ok(None), |why| Err(why.to_owned())));
    }
}

#[tokio::test]
async fn whoever_can_answer_is_waited_for() {
    let stage = Stage::new("");
    let play = Play::new(vec![client("tui", false)]);
    let _fake = stage.up(&play);
    let mut drive = driven(&stage, &play).await;
    play.happen(asked());
    play.happen(Body::ApprovalDecided(v1::ApprovalDecided {
        id: 1,
        answer: None,
    }));
    play.happen(ended(v1::StopReason::Done));
    assert_eq!(drive.run(Limits::default()).await.unwrap(), None);
    assert!(play.heard(|heard| heard.decided.is_empty()));
}

#[tokio::test]
async fn the_time_limit_interrupts_the_turn() {
    let stage = Stage::new("");
    let play = Play::new(vec![]);
    let _fake = stage.up(&play);
    let mut drive = driven(&stage, &play).await;
    let limits = Limits {
        time: Some(Duration::from_millis(1)),
        interactive: false,
    };
    let failure = drive.run(limits).await.unwrap().unwrap();
    assert_eq!(failure.exit(), Exit::Limit);
    assert_eq!(play.heard(|heard| heard.interrupted[0].expected_turn), 1);
}

#[test]
fn a_file_that_cannot_be_written_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let table = [
        (directory.path().join("answer.md"), true),
        ("answer.md".into(), true),
        (directory.path().to_path_buf(), false),
        (directory.path().join("none/answer.md"), false),
    ];
    for (path, good) in table {
        let exit = check_output(&path).map_err(|failure| failure.exit());
        let want = if good { Ok(()) } else { Err(Exit::Usage) };
        assert_eq!(exit, want, "for {path:?}");
    }
}
