//! The index as its callers see it, on real files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use quire_proto::{
    id::RequestId,
    v1::{
        Event, HistoryRewound, Item, ItemCompleted, ItemStarted, ItemStatus, Outcome, PromptItem,
        Session, SessionChanged, SessionCreated, ToolCallItem, event::Body, item::Kind,
    },
};

use super::*;
use crate::{
    adapters::store::{Append, Durability, Opened},
    pure::{
        search::{MATCH, MATCHED},
        transcript::Transcript,
    },
};

struct Scratch {
    directory: tempfile::TempDir,
    store: Store,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        Self { directory, store }
    }

    fn index(&self) -> PathBuf {
        self.directory.path().join("search.db")
    }

    /// Closes the store and opens it again.
    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = open(self.directory.path());
    }
}

fn open(directory: &Path) -> Store {
    let Opened { store, notices } = Store::open(&directory.join("quire.db")).unwrap();
    assert_eq!(notices, [""; 0]);
    store
}

/// A session under way.
struct Told {
    id: SessionId,
    events: Vec<Event>,
}

impl Told {
    async fn new(store: &Store, workspace: &str, title: &str) -> Self {
        let id = SessionId::random();
        let created = SessionCreated {
            workspace: workspace.to_owned(),
            title: title.to_owned(),
            ..SessionCreated::default()
        };
        let events = vec![event(1, Body::SessionCreated(created))];
        let told = Self { id, events };
        let request = RequestId::random();
        let summary = told.summary();
        let made = store.create(told.id.clone(), &request, &told.events, &summary);
        made.await.unwrap();
        told
    }

    fn summary(&self) -> Session {
        let mut transcript = Transcript::of(self.id.as_str());
        self.events.iter().for_each(|event| transcript.apply(event));
        transcript.summary()
    }

    async fn tell(&mut self, store: &Store, bodies: impl IntoIterator<Item = Body>) {
        let before = self.events.len();
        for body in bodies {
            let seq = self.events.len() as u64 + 1;
            self.events.push(event(seq, body));
        }
        let append = Append {
            session: self.id.clone(),
            events: self.events[before..].to_vec(),
            summary: self.summary(),
            durability: Durability::Plain,
            begins: false,
        };
        store.append(append).await.unwrap();
    }
}

fn event(seq: u64, body: Body) -> Event {
    Event {
        seq,
        time_ms: 1_000_000 + seq.cast_signed(),
        body: Some(body),
        ..Event::default()
    }
}

fn prompt(item: u64, text: &str) -> Body {
    let prompt = PromptItem {
        text: text.to_owned(),
        ..PromptItem::default()
    };
    completed(item, Kind::Prompt(prompt))
}

fn completed(id: u64, kind: Kind) -> Body {
    let item = Item {
        id,
        status: ItemStatus::Completed.into(),
        kind: Some(kind),
        ..Item::default()
    };
    Body::ItemCompleted(ItemCompleted { item: Some(item) })
}

fn call(command: &str, outcome: Option<&str>) -> Kind {
    let outcome = outcome.map(|text| Outcome {
        text: text.to_owned(),
        ..Outcome::default()
    });
    Kind::ToolCall(ToolCallItem {
        title: command.to_owned(),
        outcome,
        ..ToolCallItem::default()
    })
}

fn titled(title: &str) -> Body {
    Body::SessionChanged(SessionChanged {
        title: Some(title.to_owned()),
        ..SessionChanged::default()
    })
}

fn asked(query: &str) -> Search {
    Search {
        query: Query::parse(query),
        include_archived: false,
        workspace: None,
        limit: 20,
    }
}

/// Seq and excerpt of each hit, best first, with brackets around matches.
async fn hits(store: &Store, search: Search) -> Vec<(u64, String)> {
    let found = store.search(search).await.unwrap();
    assert!(found.complete);
    let shown = |hit: Hit| {
        let excerpt = hit.excerpt.replace(MATCH, "[").replace(MATCHED, "]");
        (hit.seq, excerpt)
    };
    found.best.into_iter().map(shown).collect()
}

async fn count(store: &Store, query: &str) -> usize {
    hits(store, asked(query)).await.len()
}

#[tokio::test]
async fn what_was_written_is_found_at_once_and_told_with_its_event() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let mut told = Told::new(store, "/w", "mend the parser").await;
    let found = hits(store, asked("parser")).await;
    assert_eq!(found, [(1, "mend the [parser]".to_owned())]);
    told.tell(store, [prompt(1, "why does parse_config fail?")])
        .await;
    let table = [
        (
            "parse_config",
            vec![(2, "why does [parse_config] fail?".to_owned())],
        ),
        (
            "\"does parse\" FAIL",
            vec![(2, "why [does parse]_config [fail]?".to_owned())],
        ),
        ("config -fail", vec![]),
        (
            "conf",
            vec![(2, "why does parse_[config] fail?".to_owned())],
        ),
        ("nothing", vec![]),
    ];
    for (query, want) in table {
        assert_eq!(hits(store, asked(query)).await, want, "for `{query}`");
    }
    let found = store.search(asked("config")).await.unwrap().best.remove(0);
    assert_eq!((found.item, found.session.id), (1, told.id.to_string()));
}

#[tokio::test]
async fn a_text_is_found_as_it_was_told_last() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let mut told = Told::new(store, "/w", "old name").await;
    let growing = Item {
        id: 1,
        status: ItemStatus::Growing.into(),
        kind: Some(call("cargo test", None)),
        ..Item::default()
    };
    let started = Body::ItemStarted(ItemStarted {
        item: Some(growing),
    });
    told.tell(store, [started, titled("new name")]).await;
    assert_eq!(count(store, "cargo").await, 1, "while it runs");
    assert_eq!(
        (count(store, "old").await, count(store, "new").await),
        (0, 1)
    );
    told.tell(store, [completed(1, call("cargo test", Some("all fine")))])
        .await;
    let found = hits(store, asked("cargo fine")).await;
    assert_eq!(found, [(4, "[cargo] test all [fine]".to_owned())]);
    told.tell(store, [prompt(2, "second thoughts"), titled("")])
        .await;
    assert_eq!(count(store, "thoughts").await, 1);
    let rewound = HistoryRewound {
        through_item: 1,
        ..HistoryRewound::default()
    };
    told.tell(store, [Body::HistoryRewound(rewound)]).await;
    assert_eq!(count(store, "thoughts").await, 0);
    assert_eq!(
        (count(store, "cargo").await, count(store, "name").await),
        (1, 0)
    );
}

#[tokio::test]
async fn searches_are_bounded_by_workspace_archive_limit_and_session() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let mut here = Told::new(store, "/here", "").await;
    here.tell(store, (1..=9).map(|item| prompt(item, "a common word")))
        .await;
    let mut there = Told::new(store, "/there", "").await;
    there
        .tell(store, [prompt(1, "a word less common here")])
        .await;
    let mut away = Told::new(store, "/here", "").await;
    let archived = SessionChanged {
        archived: Some(true),
        ..SessionChanged::default()
    };
    away.tell(store, [prompt(1, "common"), Body::SessionChanged(archived)])
        .await;
    let of = async |search: Search| {
        let found = store.search(search).await.unwrap().best;
        let mut ids: Vec<_> = found.into_iter().map(|hit| hit.session.id).collect();
        ids.sort();
        ids.dedup_by(|one, other| one == other);
        ids
    };
    let sorted = |sessions: &[&Told]| {
        let mut ids: Vec<_> = sessions.iter().map(|told| told.id.to_string()).collect();
        ids.sort();
        ids
    };
    let base = asked("common");
    assert_eq!(of(base.clone()).await, sorted(&[&here, &there]));
    assert_eq!(
        hits(store, base.clone()).await.len(),
        4,
        "three of one session"
    );
    let all = Search {
        include_archived: true,
        ..base.clone()
    };
    assert_eq!(of(all).await, sorted(&[&here, &there, &away]));
    let only = Search {
        workspace: Some("/there".into()),
        ..base.clone()
    };
    assert_eq!(of(only).await, sorted(&[&there]));
    let few = Search { limit: 2, ..base };
    assert_eq!(hits(store, few).await.len(), 2);
}

#[tokio::test]
async fn what_was_written_before_the_index_is_read_first() {
    let mut scratch = Scratch::new();
    let mut told = Told::new(&scratch.store, "/w", "").await;
    told.tell(
        &scratch.store,
        (1..=350).map(|item| prompt(item, &format!("word{item} said"))),
    )
    .await;
    assert!(!scratch.index().exists(), "nobody asked for one");
    assert_eq!(
        count(&scratch.store, "word1").await,
        3,
        "word1, word10, ..."
    );
    assert_eq!(count(&scratch.store, "\"word350\"").await, 1);
    scratch.reopen().await;
    told.tell(&scratch.store, [prompt(351, "written unseen")])
        .await;
    scratch.reopen().await;
    assert_eq!(count(&scratch.store, "unseen").await, 1);
    assert_eq!(count(&scratch.store, "\"word350\"").await, 1);
}

/// Whether any file of the index has these bytes.
fn holds(index: &Path, bytes: &[u8]) -> bool {
    let beside = ["search.db", "search.db-wal"].map(|name| index.with_file_name(name));
    let files = beside.iter().filter_map(|path| fs::read(path).ok());
    files
        .into_iter()
        .any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(30), look).await;
    assert!(looked.is_ok(), "waited for {what}");
}

#[tokio::test]
async fn a_deleted_session_leaves_no_word_in_the_file() {
    let mut scratch = Scratch::new();
    let store = &scratch.store;
    let (mut gone, mut unseen) = (
        Told::new(store, "/w", "").await,
        Told::new(store, "/w", "").await,
    );
    let mut kept = Told::new(store, "/w", "").await;
    for told in [&mut gone, &mut unseen, &mut kept] {
        told.tell(store, [prompt(1, "common ground")]).await;
    }
    gone.tell(store, [prompt(2, "xylophonist")]).await;
    unseen.tell(store, [prompt(2, "quizmaster")]).await;
    assert_eq!(count(store, "common").await, 3);
    assert!(holds(&scratch.index(), b"xylophonist") && holds(&scratch.index(), b"quizmaster"));

    store.delete(&gone.id, &RequestId::random()).await.unwrap();
    assert_eq!(count(store, "common").await, 2);
    let index = scratch.index();
    until("the words to be scrubbed", || {
        !holds(&index, b"xylophonist")
    })
    .await;
    assert_eq!(count(store, "common").await, 2);

    // Deleted while nobody keeps the index, as by a kill in between.
    scratch.reopen().await;
    let request = RequestId::random();
    scratch.store.delete(&unseen.id, &request).await.unwrap();
    assert!(holds(&index, b"quizmaster"));
    scratch.store.keep_index();
    until("the words to be scrubbed", || !holds(&index, b"quizmaster")).await;
    let found = scratch.store.search(asked("common")).await.unwrap().best;
    let ids: Vec<_> = found.iter().map(|hit| hit.session.id.as_str()).collect();
    assert_eq!(ids, [kept.id.as_str()]);
}

#[tokio::test]
async fn an_index_that_is_not_whole_is_made_again() {
    let mut scratch = Scratch::new();
    let mut told = Told::new(&scratch.store, "/w", "").await;
    told.tell(
        &scratch.store,
        (1..=200).map(|item| prompt(item, &format!("needle{item} and more words"))),
    )
    .await;
    assert_eq!(count(&scratch.store, "needle200").await, 1);
    let breakages: [(&str, fn(&mut Vec<u8>)); 4] = [
        ("no database", |file| *file = b"not a database".repeat(400)),
        ("cut", |file| file.truncate(file.len() / 2)),
        ("zeros", |file| file[2_048..].fill(0)),
        ("another version", |file| {
            file[60..64].copy_from_slice(&[0, 0, 0, 77])
        }),
    ];
    for (what, damage) in breakages {
        scratch.store.close().await.unwrap();
        let index = scratch.index();
        // The thread may still be about to close it.
        until("the index to be closed", || {
            !index.with_extension("db-wal").exists()
        })
        .await;
        let mut bytes = fs::read(&index).unwrap();
        damage(&mut bytes);
        fs::write(&index, bytes).unwrap();
        scratch.store = open(scratch.directory.path());
        assert_eq!(count(&scratch.store, "\"needle200\"").await, 1, "{what}");
        assert_eq!(
            count(&scratch.store, "\"needle1\" words").await,
            1,
            "{what}"
        );
        assert!(
            scratch
                .store
                .verify(crate::adapters::store::Pace::Full)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_log_that_is_another_one_is_read_anew_and_damage_is_not_found() {
    let mut scratch = Scratch::new();
    let mut told = Told::new(&scratch.store, "/w", "").await;
    told.tell(
        &scratch.store,
        [
            prompt(1, "first words"),
            prompt(2, "second words"),
            prompt(3, "third words"),
        ],
    )
    .await;
    assert_eq!(count(&scratch.store, "words").await, 3);
    scratch.store.close().await.unwrap();
    let raw = rusqlite::Connection::open(scratch.directory.path().join("quire.db")).unwrap();
    raw.execute("UPDATE events SET body = zeroblob(9) WHERE seq = 3", [])
        .unwrap();
    drop(raw);
    scratch.store = open(scratch.directory.path());
    let found = hits(&scratch.store, asked("words")).await;
    let mut seqs: Vec<_> = found.iter().map(|(seq, _)| *seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [2, 4], "what is damaged is not shown");
    // A new index finds what stands before the damage, and is then complete.
    fs::remove_file(scratch.index()).unwrap_or_default();
    let scratch = Scratch {
        store: {
            scratch.store.close().await.unwrap();
            open(scratch.directory.path())
        },
        ..scratch
    };
    assert_eq!(count(&scratch.store, "first").await, 1);
    assert_eq!(count(&scratch.store, "second").await, 0);
}

#[tokio::test]
async fn no_query_is_an_error() {
    let scratch = Scratch::new();
    let mut told = Told::new(&scratch.store, "/w", "title").await;
    let text = "a b NEAR \"c\" (d) ^e: f* 日本語 🦀 {g} + h-i ' \\ % _ text AND OR NOT";
    told.tell(&scratch.store, [prompt(1, text)]).await;
    let mut queries: Vec<String> = [
        "",
        " ",
        "\"",
        "\"\"",
        "*",
        "a*",
        "NOT",
        "a AND",
        "NEAR(a b, 3)",
        "text:a",
        "^a",
        "(a",
        "-a",
        "a -b",
        "{a}",
        "a + b",
        "'",
        "\\",
        "\0",
        "a\0b",
        "日",
        "日本",
        "🦀",
        "👩\u{200d}🔬",
        "%",
        "_",
        ";DROP TABLE words",
        "\u{2}a\u{3}",
    ]
    .map(String::from)
    .into();
    queries.push("x".repeat(10_000));
    queries.push("y ".repeat(5_000));
    queries.push("\"-".repeat(5_000));
    queries.push("日本語".repeat(2_000));
    let mut runner = TestRunner::deterministic();
    let any = ".{0,40}|[a-e\"*()^:{}+' \\-\0]{0,40}|\\PC{0,60}";
    let any = proptest::string::string_regex(any).unwrap();
    for _ in 0..400 {
        queries.push(any.new_tree(&mut runner).unwrap().current());
    }
    for query in queries {
        let found = scratch.store.search(asked(&query)).await;
        let found = found.unwrap_or_else(|error| panic!("for {query:?}: {error:?}"));
        for hit in found.best {
            assert!(hit.excerpt.contains(MATCH), "for {query:?}");
        }
    }
    for part in ["日本", "🦀", "a b near", "語"] {
        assert_eq!(count(&scratch.store, part).await, 1, "for `{part}`");
    }
}
