//! Edits against what the model has seen, as a session would keep account of it.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use quire_proto::v1::{
    Event, Intent, Item, ItemCompleted, ItemStatus, Outcome, OutcomeStatus, SessionCreated,
    ToolCallItem, event::Body, item::Kind,
};
use serde_json::json;
use tokio::sync::Barrier;

use super::{World, live};
use crate::{
    ports::tool::{Authors, Known},
    pure::{
        changed::Author,
        transcript::{Transcript, seen::Fingerprint},
    },
};

/// A session that uses tools and remembers what its model was shown.
struct Session {
    world: World,
    transcript: Transcript,
}

/// Somebody else, whatever was changed.
#[derive(Debug)]
struct Rival;

impl Authors for Rival {
    fn of(&self, _: &Path, _: Option<Fingerprint>, _: Option<Fingerprint>) -> Option<Author> {
        Some(Author {
            session: "rival123rival123".to_owned(),
            title: "their work".to_owned(),
        })
    }
}

impl Session {
    fn new(files: &[(&str, &str)]) -> Self {
        Self::of(World::new(files))
    }

    fn of(world: World) -> Self {
        let mut transcript = Transcript::of("test");
        let created = SessionCreated {
            cwd: world.path("w").display().to_string(),
            ..SessionCreated::default()
        };
        transcript.apply(&Event {
            seq: 1,
            body: Some(Body::SessionCreated(created)),
            ..Event::default()
        });
        Self { world, transcript }
    }

    async fn read(&mut self, path: &str) -> Outcome {
        self.call("read_file", &json!({ "path": path }).to_string())
            .await
    }

    async fn patch(&mut self, body: &str) -> Outcome {
        self.call(
            "apply_patch",
            &format!("*** Begin Patch\n{body}*** End Patch\n"),
        )
        .await
    }

    async fn call(&mut self, tool: &str, arguments: &str) -> Outcome {
        self.call_while(tool, arguments, || {}).await
    }

    /// As `call`; `meanwhile` is between the look at the call and the act.
    async fn call_while(
        &mut self,
        tool: &str,
        arguments: &str,
        meanwhile: impl FnOnce(),
    ) -> Outcome {
        self.world.known = Known {
            seen: self.transcript.seen().clone(),
            authors: self.world.known.authors.clone(),
        };
        let prepared = self.world.prepare(tool, arguments).await;
        let (finished, intent) = match prepared {
            Ok(prepared) => {
                meanwhile();
                ((prepared.act)(live()).await, prepared.intent)
            }
            Err(finished) => (finished, None),
        };
        self.take(intent, finished.outcome.clone());
        finished.outcome
    }

    fn take(&mut self, intent: Option<Intent>, outcome: Outcome) {
        let kind = Kind::ToolCall(ToolCallItem {
            intent,
            outcome: Some(outcome),
            ..ToolCallItem::default()
        });
        let item = Item {
            id: self.transcript.next_item().get(),
            status: ItemStatus::Completed.into(),
            kind: Some(kind),
            ..Item::default()
        };
        self.transcript.apply(&Event {
            seq: self.transcript.head() + 1,
            body: Some(Body::ItemCompleted(ItemCompleted { item: Some(item) })),
            ..Event::default()
        });
    }

    fn holds(&self, path: &str) -> String {
        fs::read_to_string(self.world.path(path)).unwrap_or_else(|_| "nothing".to_owned())
    }
}

fn applied(outcome: &Outcome) -> bool {
    match outcome.status() {
        OutcomeStatus::Succeeded => true,
        OutcomeStatus::Failed => false,
        other => panic!("{other:?}: {}", outcome.text),
    }
}

fn update(old: &str, new: &str) -> String {
    format!("*** Update File: a\n@@\n-{old}\n+{new}\n")
}

const MOVE: &str = "*** Update File: a\n*** Move to: b\n";
const DELETE: &str = "*** Delete File: a\n";
const ADD: &str = "*** Add File: a\n+mine\n";

/// What happens to a file between the look at it and the edit.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Written(&'static str),
    Removed,
    Linked,
    Directory,
}

impl Change {
    fn make(self, path: &Path) {
        match self {
            Self::Nothing => return,
            Self::Written(text) => return fs::write(path, text).unwrap(),
            Self::Removed => {}
            Self::Linked => symlink("other", path.with_extension("link")).unwrap(),
            Self::Directory => fs::create_dir(path.with_extension("link")).unwrap(),
        }
        fs::remove_file(path).unwrap();
        if !matches!(self, Self::Removed) {
            fs::rename(path.with_extension("link"), path).unwrap();
        }
    }
}

/// Each edit of a file that was read is refused with the news, changes nothing, and is then judged by
/// what is there.
#[tokio::test]
async fn an_edit_of_a_changed_file_is_refused_once_with_the_news() {
    let x = || update("x", "y");
    let table = [
        (x(), Change::Nothing, "", true),
        (
            x(),
            Change::Written("x\nnew\n"),
            "`a` was changed by session \"their work\" (rival123):\n@@ -1 +1,2 @@\n x\n+new\n",
            true,
        ),
        (x(), Change::Written("z\n"), "-x\n+z\n", false),
        (
            x(),
            Change::Written("x\0"),
            "`a` was changed by session \"their work\" (rival123).\n",
            false,
        ),
        (x(), Change::Removed, "`a` was removed by session", false),
        (x(), Change::Linked, "`a` became a link to `other`", true),
        (x(), Change::Directory, "`a` became a directory", false),
        (MOVE.to_owned(), Change::Written("z\n"), "-x\n+z\n", true),
        (MOVE.to_owned(), Change::Removed, "`a` was removed", false),
        (DELETE.to_owned(), Change::Written("z\n"), "-x\n+z\n", true),
        (DELETE.to_owned(), Change::Removed, "`a` was removed", false),
        (ADD.to_owned(), Change::Nothing, "", true),
        (ADD.to_owned(), Change::Written("z\n"), "-x\n+z\n", true),
        (ADD.to_owned(), Change::Removed, "`a` was removed", true),
    ];
    for (body, change, news, then) in table {
        let what = format!("{change:?}, then {body}");
        let mut session = Session::new(&[("w/a", "x\n"), ("w/other", "x\n")]);
        session.world.known.authors = Some(Arc::new(Rival));
        assert!(applied(&session.read("a").await));
        change.make(&session.world.path("w/a"));
        if !news.is_empty() {
            let refused = session.patch(&body).await;
            assert!(!applied(&refused), "{what}");
            assert!(refused.text.contains(news), "{what}: {}", refused.text);
            assert!(
                refused.text.contains("no file changed"),
                "{what}: {}",
                refused.text
            );
            assert_eq!(session.holds("w/b"), "nothing", "{what}");
            assert_eq!(session.holds("w/other"), "x\n", "{what}");
        }
        let again = session.patch(&body).await;
        assert_eq!(applied(&again), then, "{what}: {}", again.text);
    }
}

/// The other way to learn the news is to read the file.
#[tokio::test]
async fn after_a_look_at_the_file_an_edit_goes_through() {
    let table: [(&str, Change, bool); 4] = [
        ("x\n", Change::Written("x\nnew\n"), true),
        ("x\n", Change::Removed, true),
        ("x\n", Change::Written("x\0"), true),
        ("", Change::Written("mine\n"), true),
    ];
    for (before, change, want) in table {
        let mut session = Session::new(&[("w/a", before)]);
        session.read("a").await;
        change.make(&session.world.path("w/a"));
        session.read("a").await;
        let outcome = session.patch(ADD).await;
        let unseen = matches!(change, Change::Written("x\0"));
        assert_eq!(
            applied(&outcome),
            want && !unseen,
            "{change:?}: {}",
            outcome.text
        );
    }
}

/// Lines 1 to 3 are read, then line 3000 changes: the model believed to know the file.
#[tokio::test]
async fn a_part_that_was_read_stands_for_the_whole_file() {
    let text: String = (1..=4_000).map(|nth| format!("line {nth}\n")).collect();
    let mut session = Session::new(&[("w/a", &text)]);
    let part = json!({"path": "a", "offset": 1, "limit": 3}).to_string();
    assert!(applied(&session.call("read_file", &part).await));
    fs::write(session.world.path("w/a"), text.replace("line 3000\n", "")).unwrap();
    let refused = session.patch(&update("line 2", "two")).await;
    assert!(refused.text.contains("-line 3000\n"), "{}", refused.text);
    let past = json!({"path": "a", "offset": 9_000}).to_string();
    let mut other = Session::new(&[("w/a", &text)]);
    other.read("a").await;
    fs::write(other.world.path("w/a"), "line 2\n").unwrap();
    assert!(!applied(&other.call("read_file", &past).await));
    assert!(
        !applied(&other.patch(&update("line 2", "two")).await),
        "it saw nothing of it"
    );
}

#[tokio::test]
async fn what_was_never_seen_is_edited_by_its_context_and_never_written_over() {
    let table = [
        (update("x", "y"), true),
        (DELETE.to_owned(), true),
        (format!("{DELETE}{ADD}"), true),
        (ADD.to_owned(), false),
        ("*** Update File: b\n*** Move to: a\n".to_owned(), false),
    ];
    for (body, want) in table {
        let mut session = Session::new(&[("w/a", "x\n"), ("w/b", "b\n")]);
        let outcome = session.patch(&body).await;
        assert_eq!(applied(&outcome), want, "{body}: {}", outcome.text);
        if !want {
            assert!(
                outcome.text.contains(
                    "`a` is there already, made by a command or by someone outside of this session:\n1\tx\n"
                ),
                "{}",
                outcome.text
            );
            assert_eq!(
                (session.holds("w/a"), session.holds("w/b")),
                ("x\n".into(), "b\n".into())
            );
            assert!(applied(&session.patch(&body).await), "now it is known");
        }
    }
}

#[tokio::test]
async fn of_several_files_all_are_edited_or_none() {
    let mut session = Session::new(&[("w/a", "x\n"), ("w/b", "b\n")]);
    session.read("a").await;
    fs::write(session.world.path("w/a"), "x\nnew\n").unwrap();
    let body = format!(
        "*** Update File: b\n@@\n-b\n+c\n*** Add File: n\n+n\n{}",
        update("x", "y")
    );
    let refused = session.patch(&body).await;
    assert!(
        refused
            .text
            .contains("`a` was changed by a command or by someone outside of this session"),
        "{}",
        refused.text
    );
    assert_eq!(
        (session.holds("w/b"), session.holds("w/n")),
        ("b\n".into(), "nothing".into())
    );
    assert!(applied(&session.patch(&body).await));
    assert_eq!(
        (session.holds("w/a"), session.holds("w/b")),
        ("y\nnew\n".into(), "c\n".into())
    );
}

/// One's own edits are known, and what comes after them is news.
#[tokio::test]
async fn an_own_edit_is_known() {
    let mut session = Session::new(&[]);
    assert!(applied(&session.patch(ADD).await));
    assert!(applied(&session.patch(&update("mine", "ours")).await));
    fs::write(session.world.path("w/a"), "ours\ntheirs\n").unwrap();
    let refused = session.patch(&update("ours", "mine")).await;
    assert!(
        refused.text.contains(" ours\n+theirs\n"),
        "{}",
        refused.text
    );
    assert!(applied(&session.patch(DELETE).await));
    fs::write(session.world.path("w/a"), "theirs\n").unwrap();
    assert!(!applied(&session.patch(ADD).await), "it came back");
}

/// The change comes when the plan is made and not yet carried out.
#[tokio::test]
async fn a_change_in_the_last_moment_is_news_too() {
    for read in [true, false] {
        let mut session = Session::new(&[("w/a", "x\n"), ("w/b", "b\n")]);
        if read {
            session.read("a").await;
        }
        let path = session.world.path("w/a");
        let body = format!("*** Update File: b\n@@\n-b\n+c\n{}", update("x", "y"));
        let patch = format!("*** Begin Patch\n{body}*** End Patch\n");
        let meanwhile = || fs::write(path, "x\nnew\n").unwrap();
        let refused = session.call_while("apply_patch", &patch, meanwhile).await;
        assert!(!applied(&refused));
        assert!(refused.text.contains("new\n"), "{}", refused.text);
        assert_eq!(
            (session.holds("w/a"), session.holds("w/b")),
            ("x\nnew\n".into(), "b\n".into())
        );
        assert!(applied(&session.patch(&body).await));
    }
}

#[tokio::test]
async fn a_hidden_file_is_in_no_news() {
    let mut session = Session::new(&[("w/private", "x\n")]);
    session.world.mode = quire_proto::v1::SandboxMode::FullAccess;
    assert!(applied(&session.read("private").await));
    session.world.mode = quire_proto::v1::SandboxMode::WorkspaceWrite;
    fs::write(session.world.path("w/private"), "secret\n").unwrap();
    let refused = session
        .patch("*** Update File: private\n@@\n-x\n+y\n")
        .await;
    assert!(
        !applied(&refused) && !refused.text.contains("secret"),
        "{}",
        refused.text
    );
}

/// Two sessions edit one file at the same instant, again and again: of two edits based on the same
/// content one is made, the other is refused and made afterwards, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_edits_at_once_none_is_lost() {
    const ROUNDS: usize = 50;
    let world = World::new(&[("w/a", "top\n")]);
    let directory = world.path("w");
    let ours = World {
        tools: world.tools.clone(),
        dir: tempfile::tempdir().unwrap(),
        mode: world.mode,
        known: Known::default(),
    };
    let barrier = Arc::new(Barrier::new(2));
    let edit = |mut session: Session, name: &'static str, file: String| {
        let barrier = barrier.clone();
        async move {
            let mut refused = 0;
            for round in 0..ROUNDS {
                assert!(applied(&session.read(&file).await));
                barrier.wait().await;
                let body = format!("*** Update File: {file}\n@@\n top\n+{name} {round}\n");
                while !applied(&session.patch(&body).await) {
                    refused += 1;
                }
                barrier.wait().await;
            }
            (session, refused)
        }
    };
    let file = directory.join("a").display().to_string();
    let one = tokio::spawn(edit(Session::of(world), "one", file.clone()));
    let two = tokio::spawn(edit(Session::of(ours), "two", file));
    let ((kept, first), (_, second)) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!(first + second, ROUNDS, "one of two is refused");
    let text = kept.holds("w/a");
    assert_eq!(text.lines().count(), 1 + 2 * ROUNDS);
    for line in (0..ROUNDS).flat_map(|round| [format!("one {round}"), format!("two {round}")]) {
        assert_eq!(
            text.lines().filter(|held| *held == line).count(),
            1,
            "`{line}`"
        );
    }
}
