//! Sessions with a known history, the bytes of their store, and what a reader sees of them.

use std::{collections::BTreeMap, fs, path::Path};

use quire_proto::v1::{
    Item, ItemCompleted, ItemStatus, PromptItem, SessionCreated, TurnEnded, TurnStarted, item::Kind,
};

use super::*;
use crate::pure::transcript::Transcript;

/// As many as `QUIRE_ROT` says, or `default`.
pub(super) fn rounds(default: u64) -> u64 {
    let wanted = std::env::var("QUIRE_ROT");
    wanted.map_or(default, |count| count.parse().expect("a number"))
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// The files of a store as `kill -9` leaves them, and what was written.
pub(super) struct Corpus {
    pub(super) database: Vec<u8>,
    pub(super) log: Vec<u8>,
    heads: Vec<u8>,
    pub(super) histories: BTreeMap<SessionId, Vec<v1::Event>>,
    /// Sessions that were deleted.
    pub(super) deleted: Vec<SessionId>,
}

impl Corpus {
    /// Some sessions that rest in the database, and `commits` more commits in the write-ahead log.
    pub(super) async fn new(commits: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        let mut corpus = Self {
            database: Vec::new(),
            log: Vec::new(),
            heads: Vec::new(),
            histories: BTreeMap::new(),
            deleted: Vec::new(),
        };
        let mut random = Random(7);
        let store = open(&path);
        for _ in 0..6 {
            corpus.create(&store, &mut random).await;
        }
        for _ in 0..60 {
            corpus.append(&store, &mut random).await;
        }
        store.close().await.unwrap();
        let store = open(&path);
        for commit in 0..commits {
            match commit {
                _ if commit % 20 == 3 => corpus.create(&store, &mut random).await,
                _ if commit % 40 == 39 => corpus.delete(&store, &mut random).await,
                _ => corpus.append(&store, &mut random).await,
            }
        }
        // The thread of the store would empty the log if it had nothing to do for a while.
        corpus.database = fs::read(&path).unwrap();
        corpus.log = fs::read(directory.path().join("quire.db-wal")).unwrap_or_default();
        corpus.heads = fs::read(directory.path().join("heads")).unwrap();
        assert_eq!(
            corpus.log.is_empty(),
            commits == 0,
            "this machine is too slow"
        );
        corpus
    }

    async fn create(&mut self, store: &Store, random: &mut Random) {
        let id = SessionId::random();
        let request = RequestId::random();
        let created = SessionCreated {
            workspace: format!("/work/{}", random.below(3)),
            title: format!("session {}", self.histories.len()),
            model: "script/demo".into(),
            ..SessionCreated::default()
        };
        let event = v1::Event {
            seq: 1,
            time_ms: 1_000 + random.below(1 << 20) as i64,
            request_id: request.to_string(),
            body: Some(Body::SessionCreated(created)),
            ..v1::Event::default()
        };
        let summary = summary(&id, std::slice::from_ref(&event));
        let made = store
            .create(id.clone(), &request, std::slice::from_ref(&event), &summary)
            .await;
        assert_eq!(made.unwrap(), id);
        self.histories.insert(id, vec![event]);
    }

    async fn append(&mut self, store: &Store, random: &mut Random) {
        let at = random.below(self.histories.len());
        let (id, history) = self.histories.iter_mut().nth(at).unwrap();
        let before = history.len();
        for _ in 0..=random.below(3) {
            history.push(next_event(history.len() as u64 + 1, random));
        }
        let append = Append {
            session: id.clone(),
            events: history[before..].to_vec(),
            summary: summary(id, history),
            durability: Durability::Plain,
            begins: false,
        };
        store.append(append).await.unwrap();
    }

    async fn delete(&mut self, store: &Store, random: &mut Random) {
        let at = random.below(self.histories.len());
        let id = self.histories.keys().nth(at).unwrap().clone();
        store.delete(&id, &RequestId::random()).await.unwrap();
        self.histories.remove(&id);
        self.deleted.push(id);
    }

    /// Puts the files somewhere, with or without the heads kept outside the database.
    pub(super) fn lay_out(&self, directory: &Path, with_heads: bool) -> PathBuf {
        let path = directory.join("quire.db");
        fs::write(&path, &self.database).unwrap();
        fs::write(directory.join("quire.db-wal"), &self.log).unwrap();
        let _absent = fs::remove_file(directory.join("quire.db-shm"));
        let _absent = fs::remove_file(directory.join("heads"));
        if with_heads {
            fs::write(directory.join("heads"), &self.heads).unwrap();
        }
        path
    }
}

/// The session that these events make.
pub(super) fn summary(id: &SessionId, events: &[v1::Event]) -> v1::Session {
    let mut transcript = Transcript::of(id.as_str());
    events.iter().for_each(|event| transcript.apply(event));
    transcript.summary()
}

fn next_event(seq: u64, random: &mut Random) -> v1::Event {
    let body = match random.below(4) {
        0 => Body::TurnStarted(TurnStarted {
            turn: seq,
            ..TurnStarted::default()
        }),
        1 => Body::TurnEnded(TurnEnded {
            turn: seq,
            ..TurnEnded::default()
        }),
        long => {
            let length = random.below(if long == 2 { 200 } else { 2_500 });
            let prompt = PromptItem {
                text: "words of a prompt. ".repeat(length / 19 + 1),
                ..PromptItem::default()
            };
            let item = Item {
                id: seq,
                turn: 1,
                status: ItemStatus::Completed.into(),
                kind: Some(Kind::Prompt(prompt)),
                ..Item::default()
            };
            Body::ItemCompleted(ItemCompleted { item: Some(item) })
        }
    };
    v1::Event {
        seq,
        time_ms: 1_000_000 + random.below(1 << 30) as i64,
        body: Some(body),
        ..v1::Event::default()
    }
}

/// What a reader sees.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Answers, or the errors in their place, by question.
    pub(super) answers: BTreeMap<String, Result<Vec<u8>, String>>,
    /// True when something was told as damaged.
    pub(super) told: bool,
}

impl Seen {
    /// Asks for everything that there is, by every way there is.
    pub(super) async fn of(store: &Store, corpus: &Corpus) -> Self {
        let mut seen = Self::default();
        let all = Listing {
            include_archived: true,
            ..Listing::newest(1_000)
        };
        seen.take("list".into(), store.sessions(all).await);
        seen.take("last".into(), store.find("@last").await);
        for id in corpus.histories.keys().chain(&corpus.deleted) {
            let prefix = &id.as_str()[..8];
            seen.take(format!("prefix {id}"), store.find(prefix).await);
            let one = store.session(id).await;
            seen.take(format!("session {id}"), one.map(Vec::from_iter));
            seen.take_events(id, history(store, id).await);
        }
        for number in 0..corpus.histories.len() {
            let title = format!("session {number}");
            seen.take(title.clone(), store.find(&title).await);
        }
        let unfinished = store.unfinished().await;
        let unfinished = unfinished.map(|ids| ids.into_iter().map(|id| id.to_string()));
        let answer = unfinished.map(|ids| ids.collect::<Vec<_>>().join(" ").into_bytes());
        seen.told |= answer.is_err();
        let answer = answer.map_err(|error| error.to_string());
        seen.answers.insert("unfinished".into(), answer);
        seen
    }

    fn take(&mut self, question: String, answer: Result<Vec<v1::Session>, StoreError>) {
        self.told |= match &answer {
            Ok(sessions) => sessions.iter().any(|session| session.damaged_seq != 0),
            Err(_) => true,
        };
        let answer = answer.map(|sessions| {
            let encoded = sessions
                .iter()
                .map(v1::Session::encode_length_delimited_to_vec);
            encoded.collect::<Vec<_>>().concat()
        });
        self.answers
            .insert(question, answer.map_err(|error| error.to_string()));
    }

    fn take_events(&mut self, id: &SessionId, answer: Result<Vec<v1::Event>, StoreError>) {
        // That a deleted session is missing is no damage; where it should be there, it is seen so.
        self.told |= matches!(&answer, Err(error) if !matches!(error, StoreError::Missing(_)));
        let answer = answer.map(|events| {
            let encoded = events.iter().map(v1::Event::encode_length_delimited_to_vec);
            encoded.collect::<Vec<_>>().concat()
        });
        self.answers.insert(
            format!("events {id}"),
            answer.map_err(|error| error.to_string()),
        );
    }
}

/// All events of a session.
pub(super) async fn history(store: &Store, id: &SessionId) -> Result<Vec<v1::Event>, StoreError> {
    let mut events: Vec<v1::Event> = Vec::new();
    loop {
        let page = store.events(id, events.len() as u64, 100).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}
