//! Whoever is told a snapshot ends where whoever was told every event does. The reader is the client's
//! own, so that neither side is held against what it believes of the other.

use proptest::prelude::*;
use quire_proto::{
    id::ApprovalId,
    v1::{
        ApprovalAnswer, ApprovalDecided, ApprovalRequested, ClientRef, Event, EventLost,
        HistoryRewound, ItemCompleted, ItemStarted, JobEnded, JobStarted, MessageItem, NoticeItem,
        Outcome, PromptItem, PromptQueued, QueuedPrompt, SampleEnded, SampleRetried,
        SessionChanged, SessionCreated, SessionServiceWatchResponse, ToolCallItem, TurnEnded,
        TurnStarted, TurnSuspended, Usage, event::Body, item::Kind,
        session_service_watch_response::Update,
    },
};

use super::*;

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "a part of the client, as it is"
)]
#[path = "../../../../../client/src/view/mod.rs"]
mod view;

use view::View;

/// Makes a history that could be one, from numbers.
#[derive(Default)]
struct History {
    events: Vec<Event>,
    turn: u64,
    running: bool,
    items: u64,
    growing: Vec<Item>,
    approvals: u64,
    jobs: Vec<(String, u64, bool)>,
    queued: Vec<String>,
}

impl History {
    fn of(numbers: &[(u8, u8)]) -> Vec<Event> {
        let mut history = Self::default();
        let created = SessionCreated {
            workspace: "/w".to_owned(),
            model: "p/m".to_owned(),
            ..SessionCreated::default()
        };
        history.tell("create", Some(Body::SessionCreated(created)));
        for (act, detail) in numbers {
            history.act(*act, *detail);
        }
        history.events
    }

    fn tell(&mut self, request_id: &str, body: Option<Body>) {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event {
            seq,
            time_ms: 1_000 + seq.cast_signed(),
            request_id: request_id.to_owned(),
            by: (seq % 3 > 0).then(|| ClientRef {
                name: format!("client {}", seq % 3),
                ..ClientRef::default()
            }),
            body,
            ..Event::default()
        });
    }

    fn act(&mut self, act: u8, detail: u8) {
        match act % 19 {
            0 if !self.running => self.begin(),
            1 if self.running => self.end(detail),
            2 | 3 if self.running => self.start_call(),
            4..=6 => self.complete(detail),
            7 if self.running => self.say(detail),
            8 => self.ask(),
            9 => self.decide(detail),
            10 => self.start_job(detail),
            11 => self.end_job(detail),
            12 => self.queue(detail),
            13 => self.tell(
                "",
                detail
                    .is_multiple_of(4)
                    .then_some(Body::EventLost(EventLost {})),
            ),
            14 if detail < 60 => self.rewind(detail),
            15 if self.running => self.suspend(detail),
            16 => self.change(detail),
            17 if self.running => self.sampled(detail),
            18 => self.note(detail),
            _ => {}
        }
    }

    fn item(&mut self, kind: Kind) -> Item {
        self.items += 1;
        Item {
            id: self.items,
            turn: if self.running { self.turn } else { 0 },
            status: ItemStatus::Growing.into(),
            kind: Some(kind),
            ..Item::default()
        }
    }

    fn done(&mut self, request_id: &str, mut item: Item) {
        item.status = ItemStatus::Completed.into();
        let item = Some(item);
        self.tell(
            request_id,
            Some(Body::ItemCompleted(ItemCompleted { item })),
        );
    }

    fn begin(&mut self) {
        self.turn += 1;
        self.running = true;
        let started = TurnStarted {
            turn: self.turn,
            model: "p/m".to_owned(),
        };
        self.tell("", Some(Body::TurnStarted(started)));
        let request = self.queued.pop().unwrap_or_else(|| "said".to_owned());
        let prompt = PromptItem {
            text: format!("go {}\non", self.turn),
            ..PromptItem::default()
        };
        let item = self.item(Kind::Prompt(prompt));
        self.done(&request, item);
    }

    fn end(&mut self, detail: u8) {
        while let Some(item) = self.growing.pop() {
            self.done("", item);
        }
        self.running = false;
        let ended = TurnEnded {
            turn: self.turn,
            stop_reason: i32::from(detail % 8),
            ..TurnEnded::default()
        };
        self.tell("", Some(Body::TurnEnded(ended)));
    }

    fn start_call(&mut self) {
        let call = ToolCallItem {
            tool: "exec_command".to_owned(),
            ..ToolCallItem::default()
        };
        let item = self.item(Kind::ToolCall(call));
        self.growing.push(item.clone());
        let item = Some(item);
        self.tell("", Some(Body::ItemStarted(ItemStarted { item })));
    }

    /// A call ends, its job perhaps not.
    fn complete(&mut self, detail: u8) {
        if self.growing.is_empty() {
            return;
        }
        let place = usize::from(detail) % self.growing.len();
        let mut item = self.growing.remove(place);
        let job = self.jobs.iter().find(|(_, of, _)| *of == item.id);
        let outcome = Outcome {
            text: "x".repeat(usize::from(detail)),
            job_id: job.map(|(job, ..)| job.clone()).unwrap_or_default(),
            still_running: job.is_some() && detail.is_multiple_of(2),
            ..Outcome::default()
        };
        if let Some(Kind::ToolCall(call)) = &mut item.kind {
            call.outcome = Some(outcome);
        }
        self.done("", item);
    }

    fn say(&mut self, detail: u8) {
        let message = MessageItem {
            text: "m".repeat(usize::from(detail) * 3),
            ..MessageItem::default()
        };
        let item = self.item(Kind::Message(message));
        self.done("", item);
    }

    fn ask(&mut self) {
        let Some(item) = self.growing.last().map(|item| item.id) else {
            return;
        };
        self.approvals += 1;
        let approval = Some(Approval {
            id: self.approvals,
            item,
            ..Approval::default()
        });
        let asked = ApprovalRequested { approval };
        self.tell("", Some(Body::ApprovalRequested(asked)));
    }

    fn decide(&mut self, detail: u8) {
        let id = u64::from(detail) % (self.approvals + 1);
        let answer = Some(ApprovalAnswer {
            decided_ms: i64::from(detail),
            ..ApprovalAnswer::default()
        });
        self.tell(
            "",
            Some(Body::ApprovalDecided(ApprovalDecided { id, answer })),
        );
    }

    fn start_job(&mut self, detail: u8) {
        let item = match self.growing.last() {
            Some(item) if !detail.is_multiple_of(5) => item.id,
            _ => 0,
        };
        let job_id = format!("job{}", self.jobs.len());
        self.jobs.push((job_id.clone(), item, true));
        let started = JobStarted {
            job_id,
            item,
            command: "sleep".to_owned(),
            ..JobStarted::default()
        };
        self.tell("", Some(Body::JobStarted(started)));
    }

    fn end_job(&mut self, detail: u8) {
        let mut running = self.jobs.iter_mut().filter(|(.., runs)| *runs);
        let Some((job_id, _, runs)) = running.nth(usize::from(detail % 3)) else {
            return;
        };
        *runs = false;
        let unknown = detail.is_multiple_of(7);
        let ended = JobEnded {
            job_id: job_id.clone(),
            exit_code: (!unknown).then_some(0),
            unknown: if unknown { "gone" } else { "" }.to_owned(),
            ..JobEnded::default()
        };
        self.tell("", Some(Body::JobEnded(ended)));
    }

    fn queue(&mut self, detail: u8) {
        if detail.is_multiple_of(3) && !self.queued.is_empty() {
            let request_id = self.queued.remove(0);
            let removed = quire_proto::v1::PromptRemoved { request_id };
            return self.tell("", Some(Body::PromptRemoved(removed)));
        }
        let request_id = format!("q{}", self.events.len());
        self.queued.push(request_id.clone());
        let prompt = Some(QueuedPrompt {
            request_id,
            ..QueuedPrompt::default()
        });
        self.tell("", Some(Body::PromptQueued(PromptQueued { prompt })));
    }

    /// Numbers of items that a rewind takes are given again.
    fn rewind(&mut self, detail: u8) {
        if self.running {
            self.end(detail);
        }
        let through_item = self.items.saturating_sub(u64::from(detail % 6));
        self.items = through_item;
        let rewound = HistoryRewound {
            through_item,
            files: false,
        };
        self.tell("", Some(Body::HistoryRewound(rewound)));
    }

    fn suspend(&mut self, detail: u8) {
        let turn = self.turn;
        let body = if detail.is_multiple_of(2) {
            Body::TurnSuspended(TurnSuspended {
                turn,
                reason: "no key".to_owned(),
                wants_world: detail.is_multiple_of(4),
            })
        } else {
            Body::SampleRetried(SampleRetried {
                turn,
                attempt: u32::from(detail),
                ..SampleRetried::default()
            })
        };
        self.tell("", Some(body));
    }

    fn change(&mut self, detail: u8) {
        let changed = SessionChanged {
            title: Some(format!("title {detail}")),
            archived: Some(detail.is_multiple_of(2)),
            ..SessionChanged::default()
        };
        self.tell("", Some(Body::SessionChanged(changed)));
    }

    fn sampled(&mut self, detail: u8) {
        let usage = Some(Usage {
            output_tokens: u64::from(detail),
            ..Usage::default()
        });
        let ended = SampleEnded {
            turn: self.turn,
            usage,
            ..SampleEnded::default()
        };
        self.tell("", Some(Body::SampleEnded(ended)));
    }

    fn note(&mut self, detail: u8) {
        let notice = NoticeItem {
            text: format!("note {detail}"),
            ..NoticeItem::default()
        };
        let item = self.item(Kind::Notice(notice));
        self.done("", item);
    }
}

fn apply(view: &mut View, update: Update) {
    view.apply(&SessionServiceWatchResponse {
        update: Some(update),
    });
}

fn of_events(events: &[Event]) -> View {
    let mut view = View::default();
    for event in events {
        apply(&mut view, Update::Event(event.clone()));
    }
    view
}

/// All that a view tells of what is durable. Who it belongs to is told by a snapshot only.
fn told(view: &View) -> String {
    let session = Session {
        id: String::new(),
        ..view.session().clone()
    };
    let items: Vec<_> = view.items().map(|(_, item)| item.clone()).collect();
    let turns: Vec<_> = view.turns().map(|(id, turn)| (id, turn.clone())).collect();
    let approvals = (1..100).filter_map(ApprovalId::new);
    let approvals: Vec<_> = approvals.filter_map(|id| view.approval(id)).collect();
    let (queue, jobs, marks) = (view.queue(), view.jobs(), view.marks());
    format!("{session:?}\n{items:?}\n{turns:?}\n{approvals:?}\n{queue:?}\n{jobs:?}\n{marks:?}")
}

/// A view that is told of the first `known` events by a snapshot, while as many events happen between
/// two pieces as `pace` says, and then of the rest.
fn of_snapshot(events: &[Event], known: usize, pace: usize) -> View {
    let mut transcript = Transcript::of("test");
    let (before, after) = events.split_at(known);
    before.iter().for_each(|event| transcript.apply(event));
    let mut happening = after.iter();
    let mut view = View::default();
    let mut further = None;
    loop {
        let piece = transcript.piece_of(600, further);
        assert_eq!(piece.snapshot.seq, known as u64);
        assert_eq!(piece.snapshot.continued, further.is_some());
        assert_eq!(piece.snapshot.more, piece.further.is_some());
        further = piece.further;
        apply(&mut view, Update::Snapshot(piece.snapshot));
        if further.is_none() {
            break;
        }
        let meanwhile = happening.by_ref().take(pace);
        meanwhile.for_each(|event| transcript.apply(event));
    }
    if pace == 0 {
        assert_eq!(told(&view), told(&of_events(before)), "before any event");
    }
    for event in after {
        apply(&mut view, Update::Event(event.clone()));
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_tells_what_events_tell(
        numbers in prop::collection::vec(any::<(u8, u8)>(), 1..120),
        part in 0..=100_usize,
        pace in 0..12_usize,
    ) {
        let events = History::of(&numbers);
        let known = (events.len() * part / 100).max(1);
        let all = told(&of_events(&events));
        for pace in [0, pace] {
            let view = of_snapshot(&events, known, pace);
            prop_assert_eq!(told(&view), all.as_str());
        }
    }
}

#[test]
fn the_first_piece_is_bounded_and_holds_what_is_open() {
    let mut history = History::default();
    history.begin();
    history.start_call();
    for _ in 0..500 {
        history.say(255);
    }
    let mut transcript = Transcript::of("test");
    history
        .events
        .iter()
        .for_each(|event| transcript.apply(event));
    let first = transcript.piece(None);
    assert!(first.snapshot.encoded_len() < PIECE_BYTES + 2_000);
    assert!(first.snapshot.more && !first.snapshot.continued);
    assert_eq!(first.snapshot.items[0].id, 2, "the oldest unfinished item");
    assert_eq!(first.snapshot.items.last().map(|item| item.id), Some(502));
    let second = transcript.piece(first.further);
    let newest = second.snapshot.items.last().map(|item| item.id);
    assert_eq!(newest, Some(first.snapshot.items[1].id - 1));
}
