//! A session goes through a file unharmed, and no harm to the file goes through unseen.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};
use quire_proto::v1::{self, Event, FILE_DESCRIPTOR_SET, Item, event::Body, item::Kind};

use super::*;
use crate::pure::transcript::Transcript;

/// A file as `quire export` writes it.
pub(crate) fn file(events: &[Event]) -> Vec<u8> {
    let mut header = Header::new("bcdfghjkmn".to_owned());
    header.title = "a \"title\"\nwith \u{2028} and 日本".to_owned();
    header.workspace = "/src/there".to_owned();
    let mut text = Vec::new();
    let mut writer = Writer::begin(&header, &mut text);
    for event in events {
        writer.event(event, &mut text).unwrap();
    }
    let output = Output {
        job: "bcdfghjkmnpq",
        offset: 7,
        stream: "stderr",
        data: "/wD+".to_owned(),
    };
    writer.output(&output, &mut text);
    writer.end(events.len() as u64, None, &mut text);
    text
}

fn read(bytes: &[u8]) -> Result<Contents, NoArchive> {
    let mut reader = Reader::default();
    reader.push(bytes);
    reader.finish()
}

fn kinds() -> Vec<Kind> {
    let access = v1::Access {
        read_only: true,
        ..v1::Access::default()
    };
    let call = v1::ToolCallItem {
        call_id: "c1".into(),
        tool: "exec_command".into(),
        arguments: "{\"cmd\": \"printf '\\\\377'\"}".into(),
        arguments_kind: v1::ArgumentsKind::Freeform.into(),
        access: Some(access),
        intent: Some(v1::Intent {
            job_id: "bcdfghjkmnpq".into(),
            files: vec![v1::FileIntent {
                path: "/x".into(),
                before: vec![0, 255],
                after: Vec::new(),
            }],
            write_id: "w1".into(),
        }),
        outcome: Some(v1::Outcome {
            status: v1::OutcomeStatus::Unknown.into(),
            exit_code: Some(0),
            wall_ms: i64::MAX,
            output_bytes: u64::MAX,
            job_id: "bcdfghjkmnpq".into(),
            ..v1::Outcome::default()
        }),
        opaque: vec![1, 2, 250],
        sample: 3,
        ..v1::ToolCallItem::default()
    };
    vec![
        Kind::Prompt(v1::PromptItem {
            text: "say \u{0} \u{1b}[31m \r\n".into(),
            images: vec![v1::Image {
                media_type: "image/png".into(),
                data: (0..=255).collect(),
            }],
            job_id: "bcdfghjkmnpq".into(),
        }),
        Kind::Message(v1::MessageItem {
            text: "\u{1f980}".repeat(10),
            model: "p/m".into(),
        }),
        Kind::Reasoning(v1::ReasoningItem {
            opaque: vec![128],
            ..v1::ReasoningItem::default()
        }),
        Kind::ToolCall(call),
        Kind::FileChange(v1::FileChangeItem {
            files: vec![v1::FileChange::default()],
            call: 4,
        }),
        Kind::Plan(v1::PlanItem {
            steps: vec![v1::PlanStep {
                text: "one".into(),
                status: v1::PlanStepStatus::Completed.into(),
            }],
            ..v1::PlanItem::default()
        }),
        Kind::Notice(v1::NoticeItem {
            level: v1::NoticeLevel::Warning.into(),
            ..v1::NoticeItem::default()
        }),
        Kind::Compaction(v1::CompactionItem {
            tokens_before: 1,
            ..v1::CompactionItem::default()
        }),
    ]
}

fn bodies() -> Vec<Body> {
    let mut bodies = vec![
        Body::SessionCreated(v1::SessionCreated {
            workspace: "/src/there".into(),
            cwd: "/src/there/sub".into(),
            model: "p/old".into(),
            policy: Some(full_access()),
            ..v1::SessionCreated::default()
        }),
        Body::SessionChanged(v1::SessionChanged {
            title: Some(String::new()),
            model: Some("p/m".into()),
            policy: Some(full_access()),
            archived: Some(true),
        }),
        Body::TurnStarted(v1::TurnStarted {
            turn: 1,
            model: "p/m".into(),
        }),
        Body::TurnSuspended(v1::TurnSuspended::default()),
        Body::TurnEnded(v1::TurnEnded {
            turn: 1,
            // No name for it: a newer one.
            stop_reason: 99,
            usage: Some(v1::Usage::default()),
            ..v1::TurnEnded::default()
        }),
        Body::SampleRetried(v1::SampleRetried {
            wait_ms: -1,
            daemon_ended: true,
            ..v1::SampleRetried::default()
        }),
        Body::SampleEnded(v1::SampleEnded::default()),
        Body::JobStarted(v1::JobStarted {
            job_id: "bcdfghjkmnpq".into(),
            item: 4,
            lifetime: v1::JobLifetime::Detached.into(),
            ..v1::JobStarted::default()
        }),
        Body::JobChanged(v1::JobChanged {
            job_id: "bcdfghjkmnpq".into(),
            ..v1::JobChanged::default()
        }),
        Body::JobEnded(v1::JobEnded {
            job_id: "rstvwxz23456".into(),
            exit_code: Some(-1),
            ..v1::JobEnded::default()
        }),
        Body::HistoryRewound(v1::HistoryRewound {
            through_item: 1_000,
            files: true,
        }),
        Body::EventLost(v1::EventLost {}),
        Body::TurnStarted(v1::TurnStarted {
            turn: 2,
            ..v1::TurnStarted::default()
        }),
        Body::ApprovalRequested(v1::ApprovalRequested {
            approval: Some(v1::Approval {
                id: 1,
                session_id: "bcdfghjkmn".into(),
                item: 4,
                ..v1::Approval::default()
            }),
        }),
        Body::ApprovalDecided(v1::ApprovalDecided {
            id: 1,
            answer: Some(v1::ApprovalAnswer::default()),
        }),
        Body::ApprovalRequested(v1::ApprovalRequested {
            approval: Some(v1::Approval {
                id: 2,
                session_id: "bcdfghjkmn".into(),
                ..v1::Approval::default()
            }),
        }),
        Body::PromptQueued(v1::PromptQueued {
            prompt: Some(v1::QueuedPrompt {
                request_id: "r1".into(),
                ..v1::QueuedPrompt::default()
            }),
        }),
        Body::PromptChanged(v1::PromptChanged {
            request_id: "r".into(),
            prompt: Some(v1::PromptItem::default()),
            before: Some(String::new()),
        }),
        Body::PromptRemoved(v1::PromptRemoved {
            request_id: "other".into(),
        }),
    ];
    for (id, kind) in (1..).zip(kinds()) {
        let item = Some(Item {
            id,
            turn: 2,
            status: v1::ItemStatus::Growing.into(),
            kind: Some(kind),
            ..Item::default()
        });
        bodies.push(Body::ItemStarted(v1::ItemStarted { item: item.clone() }));
        bodies.push(Body::ItemChanged(v1::ItemChanged { item: item.clone() }));
        if id % 2 == 0 {
            bodies.push(Body::ItemCompleted(v1::ItemCompleted { item }));
        }
    }
    bodies
}

fn full_access() -> v1::Policy {
    v1::Policy {
        sandbox: v1::SandboxMode::FullAccess.into(),
        network: vec!["*".into()],
        ..v1::Policy::default()
    }
}

/// A session with every kind of event and of item in it, in the middle of a turn.
pub(crate) fn events() -> Vec<Event> {
    let numbered = (1..).zip(bodies());
    let event = |(seq, body)| Event {
        seq,
        time_ms: 1_700_000_000_000 + seq as i64,
        by: (seq % 2 == 0).then(v1::ClientRef::default),
        request_id: "q".repeat(usize::from(seq % 3 == 0)),
        body: Some(body),
    };
    numbered.map(event).collect()
}

/// Names of the alternatives of a message, and those that `found` sets.
fn alternatives(
    message: &str,
    found: impl Iterator<Item = DynamicMessage>,
) -> [BTreeSet<String>; 2] {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let fields = pool.get_message_by_name(message).unwrap();
    let all = fields.oneofs().next().unwrap();
    let all = all.fields().map(|field| field.name().to_owned()).collect();
    let set = found.flat_map(|message| {
        let set = message.descriptor().oneofs().next().unwrap();
        let set = set.fields().filter(|field| message.has_field(field));
        set.map(|field| field.name().to_owned()).collect::<Vec<_>>()
    });
    [all, set.collect()]
}

fn dynamic(name: &str, message: &impl prost::Message) -> DynamicMessage {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut dynamic = DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    dynamic.transcode_from(message).unwrap();
    dynamic
}

#[test]
fn every_event_and_every_item_comes_back_as_it_was() {
    let events = events();
    let told = events.iter().map(|event| dynamic("quire.v1.Event", event));
    let [all, seen] = alternatives("quire.v1.Event", told);
    assert_eq!(seen, all, "this test misses some kinds of events");
    let items = kinds().into_iter().map(|kind| Item {
        kind: Some(kind),
        ..Item::default()
    });
    let [all, seen] = alternatives(
        "quire.v1.Item",
        items.map(|item| dynamic("quire.v1.Item", &item)),
    );
    assert_eq!(seen, all, "this test misses some kinds of items");

    let contents = read(&file(&events)).unwrap();
    assert_eq!(contents.events, events);
    assert_eq!(contents.header.workspace, "/src/there");
    assert!(contents.outputs);
    assert_eq!(contents.faults, Vec::<String>::new());
}

#[test]
fn the_form_is_as_the_guide_says() {
    let events = events();
    let text = String::from_utf8(file(&events)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(r#"{"quire":"session","version":1,"id":"bcdfghjkmn","#));
    let call = lines.iter().find(|line| line.contains("\"c1\"")).unwrap();
    for part in [
        r#""outputBytes":"18446744073709551615""#,
        r#""argumentsKind":"ARGUMENTS_KIND_FREEFORM""#,
        r#""opaque":"AQL6""#,
    ] {
        assert!(call.contains(part), "{part} in {call}");
    }
    assert!(lines[lines.len() - 2].ends_with(
        r#""output":{"job":"bcdfghjkmnpq","offset":7,"stream":"stderr","data":"/wD+"}}"#
    ));
    let end = format!(r#","end":{}}}"#, events.len());
    assert!(
        lines[lines.len() - 1].ends_with(&end),
        "{}",
        lines[lines.len() - 1]
    );
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let (events, whole) = (events(), file(&events()));
    for size in [1, 2, 75, 77, 4_096] {
        let mut reader = Reader::default();
        whole.chunks(size).for_each(|piece| reader.push(piece));
        let contents = reader.finish().unwrap();
        assert_eq!(
            (contents.events, contents.faults),
            (events.clone(), vec![]),
            "by {size}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_gives_a_prefix_and_says_so() {
    let (events, whole) = (events(), file(&events()));
    let line_ends = (0..whole.len()).filter(|at| whole[*at] == b'\n');
    let mut lengths: BTreeSet<usize> = line_ends.flat_map(|at| at - 1..at + 3).collect();
    lengths.extend((0..whole.len()).step_by(101));
    let mut longest = 0;
    for length in lengths.range(..whole.len() - 1) {
        match read(&whole[..*length]) {
            Ok(contents) => {
                assert!(events.starts_with(&contents.events), "at {length}");
                assert!(contents.events.len() >= longest, "at {length}");
                let faults = &contents.faults;
                assert_eq!(faults.len(), 1, "at {length}: {faults:?}");
                longest = contents.events.len();
            }
            Err(_nothing) => assert_eq!(longest, 0, "at {length}"),
        }
    }
    assert_eq!(longest, events.len());
    let without_line_end = read(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(without_line_end.faults, Vec::<String>::new());
}

#[test]
fn a_bit_flipped_anywhere_gives_a_prefix_and_says_so() {
    let (events, whole) = (events(), file(&events()));
    for at in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok(contents) = read(&flipped) else {
            continue;
        };
        assert!(events.starts_with(&contents.events), "at {at}");
        assert!(!contents.faults.is_empty(), "at {at}: nobody noticed");
    }
}

/// The file with its lines changed, and summed anew as a forger would.
fn forged(change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let text = String::from_utf8(file(&events())).unwrap();
    let mut rests = text.lines().enumerate().map(|(number, line)| match number {
        0 => line.to_owned(),
        _ => line[SUMMED_FROM..].to_owned(),
    });
    let mut rests: Vec<String> = rests.by_ref().collect();
    change(&mut rests);
    let mut chain = Chain::start(rests[0].as_bytes());
    let mut text = format!("{}\n", rests[0]);
    for rest in &rests[1..] {
        chain = chain.next(rest.as_bytes());
        text += &format!("{}{rest}\n", chain.opening());
    }
    text.into_bytes()
}

#[test]
fn what_is_summed_rightly_and_makes_no_session_is_left_out() {
    type Change = fn(&mut Vec<String>);
    let end = events().len();
    let table: [(&str, Change, usize); 8] = [
        (
            "event 3 twice",
            |lines| lines.insert(4, lines[3].clone()),
            3,
        ),
        ("no event 3", |lines| drop(lines.remove(3)), 2),
        (
            "another making",
            |lines| lines[2] = lines[1].replacen("1", "2", 1).replacen("\"1\"", "\"2\"", 1),
            1,
        ),
        ("no JSON", |lines| lines[3] = "\"seq\":3,".into(), 2),
        (
            "no event",
            |lines| lines[3] = "\"seq\":3,\"event\":7}".into(),
            2,
        ),
        (
            "wrong end",
            |lines| *lines.last_mut().unwrap() = "\"end\":1}".into(),
            end,
        ),
        (
            "more after the end",
            |lines| lines.push("\"x\":1}".into()),
            end,
        ),
        (
            "damage told",
            |lines| {
                let last = lines.last_mut().unwrap();
                *last = last.replace('}', ",\"damaged_at\":99}");
            },
            end,
        ),
    ];
    for (what, change, want) in table {
        let contents = read(&forged(change)).unwrap();
        assert_eq!(contents.events.len(), want, "{what}");
        assert_eq!(contents.faults.len(), 1, "{what}: {:?}", contents.faults);
    }
    assert_eq!(read(&forged(|_| ())).unwrap().faults, Vec::<String>::new());
}

#[test]
fn what_a_newer_version_wrote_is_taken_as_far_as_it_is_understood() {
    let contents = read(&forged(|lines| {
        lines.insert(1 + events().len(), "\"newer_line\":{}}".into());
        lines[2] = lines[2].replace(
            "\"archived\":true",
            "\"archived\":true,\"sparkle\":{\"a\":1}",
        );
    }))
    .unwrap();
    assert_eq!(contents.events, events());
    assert_eq!(contents.faults.len(), 1, "{:?}", contents.faults);
    let mut unknown = events();
    unknown[4].body = None;
    let contents = read(&file(&unknown)).unwrap();
    assert_eq!(contents.events, unknown);
    assert!(contents.faults[0].starts_with("event 5 tells something"));
}

#[test]
fn what_is_no_export_is_told_from_a_damaged_one() {
    let table: [(&[u8], Result<(), NoArchive>); 6] = [
        (b"", Err(NoArchive::SomethingElse)),
        (b"hello\n", Err(NoArchive::SomethingElse)),
        (
            b"{\"quire\":\"other\",\"version\":1,\"id\":\"x\"}\n",
            Err(NoArchive::SomethingElse),
        ),
        (&[0x1f, 0x8b, 0, 255], Err(NoArchive::SomethingElse)),
        (
            b"{\"quire\":\"session\",\"version\":2,\"id\":\"x\",\"more\":[]}\nwhatever\n",
            Err(NoArchive::Newer { found: 2 }),
        ),
        (&file(&events()), Ok(())),
    ];
    for (bytes, want) in table {
        assert_eq!(
            read(bytes).map(drop),
            want,
            "for {:?}",
            &bytes[..bytes.len().min(40)]
        );
    }
    let header = file(&events())
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap()
        .to_vec();
    assert!(matches!(read(&header), Err(NoArchive::Damaged(_))));
    let long = [header.as_slice(), b"\n", &vec![b' '; LINE_MAX + 1]].concat();
    assert!(
        matches!(read(&long), Err(NoArchive::Damaged(why)) if why.contains("longer than 64 MiB"))
    );
}

#[test]
fn an_imported_session_is_at_rest_and_has_the_rights_of_a_new_one_here() {
    let mut events = events();
    // The rights of the file are still there when the rest is written.
    events.retain(|event| !matches!(event.body, Some(Body::HistoryRewound(_))));
    (1..)
        .zip(&mut events)
        .for_each(|(seq, event)| event.seq = seq);
    moved(&mut events, "zzzzzzzzzz", |job| format!("new-{job}"));
    let mut transcript = Transcript::of("zzzzzzzzzz");
    events.iter().for_each(|event| transcript.apply(event));
    let before = transcript.summary();
    assert!(before.running_turn == 2 && before.running_jobs == 1 && before.queued_prompts == 1);
    assert_eq!((before.pending_approvals, before.archived), (1, true));
    let here = Here {
        model: "q/other".into(),
        now_ms: 9,
        origin: "From there.".into(),
        warnings: vec!["beware".into()],
        briefing: Some("it is here".into()),
        ..Here::default()
    };
    let written = settle(&mut transcript, &here);
    let after = transcript.summary();
    assert_eq!(after.state(), v1::SessionState::Idle);
    let open = (
        after.running_turn,
        after.running_jobs,
        after.queued_prompts,
        after.pending_approvals,
    );
    assert_eq!(open, (0, 0, 0, 0));
    assert_eq!(after.policy, Some(v1::Policy::default()));
    assert_eq!((after.model.as_str(), after.archived), ("q/other", false));
    assert!(
        transcript
            .items()
            .all(|item| item.status != v1::ItemStatus::Growing as i32)
    );
    let seqs = written.iter().map(|event| event.seq);
    assert!(seqs.eq(before.head_seq + 1..=after.head_seq), "dense");
    let notices: Vec<_> = transcript
        .items()
        .filter_map(|item| match &item.kind {
            Some(Kind::Notice(notice)) if item.turn == 0 => {
                Some((notice.for_model, notice.text.as_str()))
            }
            _ => None,
        })
        .collect();
    let told = "From there. What was open there (turn 2, approvals: 1, jobs: 1, queued prompts: 1) was ended.";
    assert_eq!(notices[..2], [(false, told), (false, "beware")]);
    assert!(
        notices[2].0 && notices[2].1.ends_with("it is here"),
        "{notices:?}"
    );
    assert!(
        settle(&mut transcript, &here).len() == 3,
        "at rest there is nothing but notices"
    );
}

#[test]
fn every_place_that_names_a_job_or_the_session_is_renamed() {
    let mut events = events();
    moved(&mut events, "zzzzzzzzzz", |_| "another-job!".to_owned());
    let text = String::from_utf8(file(&events)).unwrap();
    // The header and the line of output are not events.
    let left = text.lines().skip(1).take(events.len());
    for line in left {
        for old in ["bcdfghjkmnpq", "rstvwxz23456", "\"bcdfghjkmn\""] {
            assert!(!line.contains(old), "{old} in {line}");
        }
    }
    assert!(text.contains("\"sessionId\":\"zzzzzzzzzz\""));
}
