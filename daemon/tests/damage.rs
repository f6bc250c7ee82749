//! A daemon over a store that is not what was written: what it says, and that nothing else suffers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::DirBuilderExt as _,
    process::{Child, Command, Stdio},
};

use quire_proto::{
    TOKEN_KEY,
    home::Home,
    id::{RequestId, SessionId},
    v1::{
        self, ApprovalServiceListRequest, DaemonServiceGetStatusRequest, Event,
        JobServiceListRequest, SessionServiceDeleteRequest, SessionServiceGetRequest,
        SessionServiceListEventsRequest, SessionServiceListRequest,
        approval_service_client::ApprovalServiceClient, daemon_service_client::DaemonServiceClient,
        event::Body, job_service_client::JobServiceClient,
        session_service_client::SessionServiceClient,
    },
};
use quired::{
    adapters::store::{Append, Durability, Store},
    pure::transcript::Transcript,
};
use tonic::{
    Code, Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// A daemon of this test's, dead when the test is over.
struct Daemon(Child);

impl Daemon {
    fn ready(home: &Home) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quired"))
            .arg("serve")
            .env("QUIRE_HOME", home.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        let daemon = Self(child);
        assert_eq!(said, "ready\n");
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// Shows the daemon's token with each call.
#[derive(Clone)]
struct Shown(String);

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert(TOKEN_KEY, self.0.parse().unwrap());
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, Shown>;

async fn connect(home: &Home) -> Connection {
    let socket = home.record().unwrap().socket;
    let address = format!("unix://{}", socket.display());
    let channel = Endpoint::try_from(address).unwrap().connect().await;
    InterceptedService::new(channel.unwrap(), Shown(home.token().unwrap()))
}

fn event(seq: u64) -> Event {
    let body = match seq {
        1 => Body::SessionCreated(v1::SessionCreated::default()),
        _ => Body::SessionChanged(v1::SessionChanged {
            title: Some(format!("title {seq}")),
            ..v1::SessionChanged::default()
        }),
    };
    Event {
        seq,
        body: Some(body),
        ..Event::default()
    }
}

/// Writes events `from` to `to` of a session that has those before.
async fn write(store: &Store, session: &SessionId, from: u64, to: u64) {
    let mut transcript = Transcript::of(session.as_str());
    (1..=to)
        .map(event)
        .for_each(|event| transcript.apply(&event));
    let events: Vec<_> = (from..=to).map(event).collect();
    let summary = transcript.summary();
    if from == 1 {
        let request = RequestId::random();
        let made = store.create(session.clone(), &request, &events, &summary);
        made.await.unwrap();
        return;
    }
    let append = Append {
        session: session.clone(),
        events,
        summary,
        durability: Durability::Barrier,
        begins: false,
    };
    store.append(append).await.unwrap();
}

/// A home with a whole session, one damaged at event 3, and one that the disk set back from 9 to 5.
async fn damaged_home() -> (tempfile::TempDir, Home, [SessionId; 3]) {
    let root = tempfile::tempdir().unwrap();
    let home = Home::under(root.path().join("home")).unwrap();
    let mut directory = fs::DirBuilder::new();
    directory.mode(0o700).create(home.state()).unwrap();
    let sessions = [(); 3].map(|()| SessionId::random());
    let [_, damaged, set_back] = &sessions;
    let store = Store::open(&home.database()).unwrap().store;
    for session in &sessions {
        write(&store, session, 1, 5).await;
    }
    store.close().await.unwrap();
    let raw = rusqlite::Connection::open(home.database()).unwrap();
    let flip = "UPDATE events SET body = x'00' WHERE seq = 3 AND session =
                (SELECT number FROM sessions WHERE id = ?1)";
    assert_eq!(raw.execute(flip, [damaged.as_str()]).unwrap(), 1);
    drop(raw);
    let before = fs::read(home.database()).unwrap();
    let store = Store::open(&home.database()).unwrap().store;
    write(&store, set_back, 6, 9).await;
    store.close().await.unwrap();
    fs::write(home.database(), before).unwrap();
    (root, home, sessions)
}

async fn list(connection: &Connection) -> Vec<(String, u64)> {
    let mut client = SessionServiceClient::new(connection.clone());
    let listed = client.list(SessionServiceListRequest::default()).await;
    let sessions = listed.unwrap().into_inner().sessions.into_iter();
    sessions
        .map(|session| (session.id, session.damaged_seq))
        .collect()
}

async fn get(connection: &Connection, session: &SessionId) -> Result<v1::Session, Status> {
    let mut client = SessionServiceClient::new(connection.clone());
    let session = session.to_string();
    let got = client.get(SessionServiceGetRequest { session }).await?;
    Ok(got.into_inner().session.unwrap())
}

#[tokio::test]
async fn a_damaged_session_is_told_and_hurts_no_other() {
    let (_root, home, [whole, damaged, _]) = damaged_home().await;
    let _daemon = Daemon::ready(&home);
    let connection = connect(&home).await;
    let refused = get(&connection, &damaged).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    assert_eq!(
        refused.get_error_details().error_info().unwrap().reason,
        "DAMAGED"
    );
    let sentence = format!(
        "the log of session `{damaged}` is damaged at event 3: \
         `quire export {damaged}` writes what is whole"
    );
    assert_eq!(refused.message(), sentence);
    let listed = list(&connection).await;
    assert!(listed.contains(&(damaged.to_string(), 3)), "{listed:?}");
    assert!(listed.contains(&(whole.to_string(), 0)), "{listed:?}");
    assert_eq!(get(&connection, &whole).await.unwrap().head_seq, 5);
    let mut jobs = JobServiceClient::new(connection.clone());
    jobs.list(JobServiceListRequest::default()).await.unwrap();
    let mut approvals = ApprovalServiceClient::new(connection.clone());
    approvals
        .list(ApprovalServiceListRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_the_disk_lost_is_told_to_everyone_who_comes() {
    let (_root, home, [_, _, set_back]) = damaged_home().await;
    let _daemon = Daemon::ready(&home);
    let connection = connect(&home).await;
    let mut client = DaemonServiceClient::new(connection.clone());
    let status = client.get_status(DaemonServiceGetStatusRequest {}).await;
    let sentence = format!(
        "the disk lost events 6 to 9 of session `{set_back}`: they are marked as lost and the session goes on from there"
    );
    assert_eq!(status.unwrap().into_inner().notices, [sentence]);
    let mut client = SessionServiceClient::new(connection.clone());
    let request = SessionServiceListEventsRequest {
        session: set_back.to_string(),
        after_seq: 5,
        ..SessionServiceListEventsRequest::default()
    };
    let events = client.list_events(request).await.unwrap().into_inner();
    let is_lost = |event: &Event| matches!(event.body, Some(Body::EventLost(_)));
    let lost: Vec<u64> = events
        .events
        .iter()
        .filter(|event| is_lost(event))
        .map(|event| event.seq)
        .collect();
    assert_eq!(lost, [6, 7, 8, 9], "{events:?}");
    // Once the session is awake, it tells its model.
    assert!(events.head_seq == 9 || events.head_seq == 10, "{events:?}");
}

#[tokio::test]
async fn a_repeated_delete_is_answered_like_the_first_also_of_a_damaged_session() {
    let (_root, home, sessions) = damaged_home().await;
    let requests = [(); 3].map(|()| RequestId::random());
    for start in ["first", "second"] {
        let _daemon = Daemon::ready(&home);
        let connection = connect(&home).await;
        let mut client = SessionServiceClient::new(connection.clone());
        for (session, request) in sessions.iter().zip(&requests) {
            for _ in 0..2 {
                let request = SessionServiceDeleteRequest {
                    session: session.to_string(),
                    request_id: request.to_string(),
                };
                let deleted = client.delete(request).await;
                assert!(deleted.is_ok(), "at the {start} start: {deleted:?}");
            }
        }
        assert_eq!(list(&connection).await, []);
    }
    let another = SessionServiceDeleteRequest {
        session: sessions[0].to_string(),
        request_id: RequestId::random().to_string(),
    };
    let _daemon = Daemon::ready(&home);
    let mut client = SessionServiceClient::new(connect(&home).await);
    assert_eq!(
        client.delete(another).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn doctor_reads_every_event() {
    let (_root, home, [_, damaged, set_back]) = damaged_home().await;
    let files = || {
        let entries = fs::read_dir(home.state()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let doctor = Command::new(env!("CARGO_BIN_EXE_quired"))
        .args(["doctor", "--json"])
        .env("QUIRE_HOME", home.state())
        .output()
        .unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    let line = said
        .lines()
        .find(|line| line.contains("\"event store\""))
        .unwrap();
    for part in [
        "\"level\":\"error\"".to_owned(),
        format!("session `{damaged}` is damaged at event 3"),
        format!("session `{set_back}` ends at event 5, but went on to 9"),
    ] {
        assert!(line.contains(&part), "no {part} in {line}");
    }
    assert_eq!(files(), before, "something was made");
}
