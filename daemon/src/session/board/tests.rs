//! The board without any session's actor: a transcript is folded, and the board told.

use quire_proto::v1::{
    ApprovalAnswer, ApprovalDecided, ApprovalRequested, JobEnded, JobStarted, JobState, event::Body,
};

use super::*;

/// A session whose events are told to a board.
struct Told {
    board: Board,
    id: SessionId,
    feed: Arc<Feed>,
    transcript: Transcript,
}

impl Told {
    fn new(board: &Board) -> Self {
        let id = SessionId::random();
        let seat = Seat::new(board.clone(), id.clone());
        let transcript = Transcript::of(id.as_str());
        let feed = Arc::new(Feed::new(transcript.summary()).seated(seat));
        board.enter(&id, &feed, &transcript);
        Self {
            board: board.clone(),
            id,
            feed,
            transcript,
        }
    }

    fn writes(&mut self, bodies: impl IntoIterator<Item = Body>) {
        let mut events = Vec::new();
        for body in bodies {
            let event = Event {
                seq: self.transcript.head() + 1,
                body: Some(body),
                ..Event::default()
            };
            self.transcript.apply(&event);
            events.push(event);
        }
        self.board.wrote(&self.id, &self.transcript, &events);
        self.feed.publish(events, self.transcript.summary());
    }

    /// Another actor takes the session over, in the same daemon.
    fn comes_back(&self) {
        self.board.enter(&self.id, &self.feed, &self.transcript);
    }
}

fn asks(id: u64) -> Body {
    let approval = Some(Approval {
        id,
        ..Approval::default()
    });
    Body::ApprovalRequested(ApprovalRequested { approval })
}

fn decides(id: u64) -> Body {
    let answer = Some(ApprovalAnswer::default());
    Body::ApprovalDecided(ApprovalDecided { id, answer })
}

fn starts(job: &str) -> Body {
    Body::JobStarted(JobStarted {
        job_id: job.to_owned(),
        ..JobStarted::default()
    })
}

fn ends(job: &str) -> Body {
    Body::JobEnded(JobEnded {
        job_id: job.to_owned(),
        exit_code: Some(0),
        ..JobEnded::default()
    })
}

/// All that an onlooker does not know yet, a word each; sessions by their place in `of`.
fn news(onlooker: &mut Onlooker, of: &[&Told]) -> Vec<String> {
    let name = |id: &SessionId| {
        let place = of.iter().position(|told| told.id == *id);
        place.map_or("?".to_owned(), |place| place.to_string())
    };
    let word = |matter: &Matter| match matter {
        Matter::Approval(approval) if matter.is_over() => format!("decided {}", approval.id),
        Matter::Approval(approval) => format!("asks {}", approval.id),
        Matter::Job(job) if job.state() == JobState::Running => format!("runs {}", job.id),
        Matter::Job(job) => format!("ended {}", job.id),
    };
    let mut told = Vec::new();
    loop {
        let news = onlooker.next(2);
        if news.is_empty() {
            return told;
        }
        told.extend(news.iter().map(|news| match news {
            News::Session(id, _) => format!("session {}", name(id)),
            News::Deleted(id) => format!("deleted {}", name(id)),
            News::Matter(matter) => word(matter),
            News::Lost => "lost".to_owned(),
        }));
        if told.last().is_some_and(|last| last == "lost") {
            return told;
        }
    }
}

#[test]
fn each_session_that_changed_is_told_once_and_opening_one_is_no_change() {
    let board = Board::default();
    let (mut a, mut b) = (Told::new(&board), Told::new(&board));
    let mut onlooker = board.onlooker();
    let c = Told::new(&board);
    assert!(news(&mut onlooker, &[&a, &b, &c]).is_empty());
    for number in 1..=5 {
        a.writes([asks(number), decides(number)]);
        b.writes([]);
    }
    a.feed.attach(Default::default());
    let told = news(&mut onlooker, &[&a, &b, &c]);
    assert_eq!(told[..2], ["session 1", "session 0"]);
    assert_eq!(told.len(), 2 + 5, "{told:?}");
    assert!(news(&mut onlooker, &[&a, &b, &c]).is_empty());
}

#[test]
fn what_one_was_told_of_is_told_to_its_end_however_late() {
    let board = Board::default();
    let mut a = Told::new(&board);
    a.writes([asks(1), starts("j")]);
    let mut late = board.onlooker();
    let standing = late.standing();
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].2.len(), 2);
    assert!(news(&mut late, &[&a]).is_empty());
    a.writes([decides(1), ends("j")]);
    // All of this comes and goes while it is away, and pushes the two ends out.
    for number in 2..200 {
        a.writes([asks(number), decides(number)]);
    }
    a.writes([asks(200)]);
    let told = news(&mut late, &[&a]);
    for once in [
        "session 0",
        "decided 1",
        "ended j",
        "asks 200",
        "decided 199",
    ] {
        let times = told.iter().filter(|word| *word == once).count();
        assert_eq!(times, 1, "{once} in {told:?}");
    }
    assert_eq!(told.len(), 4 + ENDS, "only the newest ends are kept");
    assert!(news(&mut late, &[&a]).is_empty());
}

#[test]
fn a_session_that_comes_back_is_told_with_what_it_lost_meanwhile() {
    let board = Board::default();
    let mut a = Told::new(&board);
    let mut onlooker = board.onlooker();
    a.writes([starts("j")]);
    assert_eq!(news(&mut onlooker, &[&a]), ["session 0", "runs j"]);
    let end = Event {
        seq: 2,
        body: Some(ends("j")),
        ..Event::default()
    };
    a.transcript.apply(&end);
    a.comes_back();
    assert_eq!(news(&mut onlooker, &[&a]), ["session 0", "ended j"]);
}

#[test]
fn a_deletion_is_told_to_those_who_look_on_and_then_forgotten() {
    let board = Board::default();
    let mut a = Told::new(&board);
    let mut onlooker = board.onlooker();
    a.writes([asks(1)]);
    news(&mut onlooker, &[&a]);
    board.deleted(&a.id);
    a.feed.attach(Default::default());
    assert_eq!(news(&mut onlooker, &[&a]), ["deleted 0"]);
    assert!(news(&mut board.onlooker(), &[&a]).is_empty());
    drop(onlooker);
    assert!(board.state().posts.is_empty() && board.state().order.is_empty());
    // The same name again, as an import may give it.
    a.comes_back();
    assert_eq!(board.state().deletions, 0);
}

#[test]
fn who_misses_too_many_deletions_must_begin_anew_and_memory_is_bounded() {
    let board = Board::default();
    let mut frozen = board.onlooker();
    for _ in 0..DELETIONS + 10 {
        board.deleted(&SessionId::random());
    }
    assert_eq!(board.state().posts.len(), DELETIONS);
    assert_eq!(news(&mut frozen, &[]), ["lost"]);
}

#[test]
fn an_approval_is_told_to_the_users_program_once() {
    let board = Board::default();
    let mut a = Told::new(&board);
    a.writes([asks(1)]);
    let asked = Approval {
        id: 1,
        ..Approval::default()
    };
    assert!(board.tell_once(&a.id, &asked));
    a.comes_back();
    assert!(!board.tell_once(&a.id, &asked));
    a.writes([decides(1)]);
    assert!(!board.tell_once(&a.id, &asked));
}
