//! Carries out one [`Call`]: the request it means, sent until the daemon has answered.

use prost_types::FieldMask;
use quire_proto::{
    id::RequestId,
    v1::{self, ClientWorld, PromptMode},
};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status};

use super::{
    calls::{Answer, Call, Requeue},
    command::Setting,
};
use crate::{
    connect::{Connection, PATIENCE},
    failure::{Failure, is_lost},
    world,
};

/// What calls are about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Id of the session.
    pub(super) session: String,
    /// This client's world, if it may be lent.
    pub(super) world: Option<ClientWorld>,
}

/// Asks the daemon, and asks the next one the same when the connection breaks on the way: the
/// request id makes that safe.
pub(super) async fn ask(
    mut line: watch::Receiver<Connection>,
    subject: Subject,
    call: Call,
) -> Answer {
    let request_id = RequestId::random().to_string();
    loop {
        let connection = line.borrow_and_update().clone();
        let status = match once(&connection, &subject, &request_id, &call).await {
            Ok(answer) => return answer,
            Err(status) => status,
        };
        let found =
            is_lost(&status) && matches!(timeout(PATIENCE, line.changed()).await, Ok(Ok(())));
        if !found {
            return refusal(&call, status);
        }
    }
}

fn refusal(call: &Call, status: Status) -> Answer {
    let passed = matches!(
        status.code(),
        Code::Aborted | Code::FailedPrecondition | Code::NotFound
    );
    let why = Failure::from(status).to_string();
    match call {
        Call::Interrupt { .. } | Call::Decide { .. } | Call::Requeue { .. } if passed => {
            Answer::TooLate(why)
        }
        _ => Answer::Refused(why),
    }
}

async fn once(
    connection: &Connection,
    subject: &Subject,
    request_id: &str,
    call: &Call,
) -> Result<Answer, Status> {
    let (request_id, session) = (request_id.to_owned(), subject.session.clone());
    match call {
        Call::Prompt { text, mode } => {
            let request = prompt(request_id, session, text, *mode);
            let answer = connection.turns().prompt(request).await?;
            let seq = answer.into_inner().seq;
            return Ok(Answer::Done { seq });
        }
        Call::Interrupt { turn } => {
            let request = v1::TurnServiceInterruptRequest {
                request_id,
                session,
                expected_turn: *turn,
            };
            connection.turns().interrupt(request).await?;
        }
        Call::Decide {
            approval,
            verdict,
            message,
        } => {
            let request = v1::ApprovalServiceDecideRequest {
                request_id,
                session,
                approval: approval.get(),
                verdict: (*verdict).into(),
                message: message.clone(),
                stop: false,
            };
            connection.approvals().decide(request).await?;
        }
        Call::Set(setting) => {
            let request = update(request_id, session, setting);
            connection.sessions().update(request).await?;
        }
        Call::Requeue { queued, change } => {
            let queued = queued.clone();
            requeue(connection, (request_id, session), queued, change).await?;
        }
        Call::Fork { title } => {
            let request = v1::SessionServiceForkRequest {
                request_id,
                session,
                at_seq: 0,
                world: None,
                title: title.clone(),
            };
            let forked = connection.sessions().fork(request).await?.into_inner();
            let session = forked.session.unwrap_or_default().id;
            return Ok(Answer::Forked { session });
        }
        Call::LendWorld => {
            if let Some(world) = &subject.world {
                let request = world::lending(&session, world.clone());
                connection.sessions().update(request).await?;
            }
        }
        Call::SendOn => {
            let request = sending_on(request_id, session, subject.world.clone());
            connection.sessions().update(request).await?;
        }
    }
    Ok(Answer::Done { seq: 0 })
}

async fn requeue(
    connection: &Connection,
    (request_id, session): (String, String),
    prompt_request_id: String,
    change: &Requeue,
) -> Result<(), Status> {
    let (prompt, before) = match change {
        Requeue::Rewrite(prompt) => (Some(prompt.clone()), None),
        Requeue::Before(other) => (None, Some(other.clone())),
        Requeue::Remove => {
            let request = v1::TurnServiceRemoveQueuedRequest {
                request_id,
                session,
                prompt_request_id,
            };
            return connection.turns().remove_queued(request).await.map(drop);
        }
    };
    let request = v1::TurnServiceChangeQueuedRequest {
        request_id,
        session,
        prompt_request_id,
        prompt,
        before,
    };
    connection.turns().change_queued(request).await.map(drop)
}

fn prompt(
    request_id: String,
    session: String,
    text: &str,
    mode: PromptMode,
) -> v1::TurnServicePromptRequest {
    v1::TurnServicePromptRequest {
        request_id,
        session,
        prompt: Some(v1::PromptItem {
            text: text.to_owned(),
            ..v1::PromptItem::default()
        }),
        mode: mode.into(),
        expected_turn: 0,
    }
}

fn sending_on(
    request_id: String,
    session: String,
    world: Option<ClientWorld>,
) -> v1::SessionServiceUpdateRequest {
    v1::SessionServiceUpdateRequest {
        request_id,
        session: Some(v1::Session {
            id: session,
            state: v1::SessionState::Running.into(),
            ..v1::Session::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["state".to_owned()],
        }),
        world,
        replace_world: false,
    }
}

fn update(
    request_id: String,
    session: String,
    setting: &Setting,
) -> v1::SessionServiceUpdateRequest {
    let mut changed = v1::Session {
        id: session,
        ..v1::Session::default()
    };
    let mut policy = v1::Policy::default();
    let path = match setting {
        Setting::Model(model) => {
            changed.model.clone_from(model);
            "model"
        }
        Setting::Title(title) => {
            changed.title.clone_from(title);
            "title"
        }
        Setting::Sandbox(mode) => {
            policy.set_sandbox(*mode);
            "policy.sandbox"
        }
        Setting::Approve(approve) => {
            policy.set_approve(*approve);
            "policy.approve"
        }
    };
    changed.policy = Some(policy);
    v1::SessionServiceUpdateRequest {
        request_id,
        session: Some(changed),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
        world: None,
        replace_world: false,
    }
}

#[cfg(test)]
mod tests {
    use quire_proto::v1::SandboxMode;

    use super::*;

    #[test]
    fn a_setting_changes_the_one_field_it_names() {
        let table = [
            (Setting::Model("a/b".into()), "model"),
            (Setting::Title("t".into()), "title"),
            (Setting::Sandbox(SandboxMode::ReadOnly), "policy.sandbox"),
        ];
        for (setting, path) in table {
            let request = update("r".into(), "s".into(), &setting);
            assert_eq!(request.update_mask.unwrap().paths, [path]);
            let session = request.session.unwrap();
            assert_eq!(session.id, "s");
            let is_set = [
                session.model == "a/b",
                session.title == "t",
                session.policy.unwrap().sandbox() == SandboxMode::ReadOnly,
            ];
            assert_eq!(is_set.iter().filter(|set| **set).count(), 1, "for {path}");
        }
    }

    #[test]
    fn only_answers_and_interrupts_can_come_too_late() {
        let prompt = Call::Prompt {
            text: "x".into(),
            mode: PromptMode::Queue,
        };
        let interrupt = Call::Interrupt { turn: 1 };
        let late = |call: &Call, code| {
            let answer = refusal(call, Status::new(code, "so it is"));
            matches!(answer, Answer::TooLate(why) if why == "so it is")
        };
        assert!(late(&interrupt, Code::Aborted));
        assert!(!late(&interrupt, Code::Internal));
        assert!(!late(&prompt, Code::Aborted));
    }
}
