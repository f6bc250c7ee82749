//! Two sessions, and people, in one workspace: what each is told, and which edits are refused.

use std::fs;

use quire_proto::v1::{ApprovalVerdict, NoticeItem, OutcomeStatus, item::Kind};
use quire_tests::{
    home::{Home, KEY_VARIABLE, provider},
    model::{Gate, MockModel, Reply, Request, Wire},
    process::Finished,
    repo::Repo,
    rpc::{Rpc, items},
};
use serde_json::{Value, json};

/// What the file holds at first: too long to be shown whole by a refusal.
fn original() -> String {
    (1..=400).map(|nth| format!("line {nth}\n")).collect()
}

/// A patch that makes `old`, a whole line of `f`, `new`.
fn edit(old: &str, new: &str) -> String {
    format!("*** Begin Patch\n*** Update File: f\n@@\n-{old}\n+{new}\n*** End Patch\n")
}

/// One workspace with one file, and two models to work in it.
struct Two {
    home: Home,
    repo: Repo,
    ours: MockModel,
    theirs: MockModel,
}

impl Two {
    fn playing<const N: usize, const M: usize>(ours: [Reply; N], theirs: [Reply; M]) -> Self {
        let (ours, theirs) = (MockModel::playing(ours), MockModel::playing(theirs));
        let home = Home::new();
        let other = format!(
            "[providers.rival]\nwire = \"responses\"\nbase_url = \"{}\"\napi_key_env = \"{KEY_VARIABLE}\"\n",
            theirs.base_url()
        );
        home.configure(&(provider(&ours.base_url(), Wire::Responses) + &other));
        let repo = Repo::with(&home, "project", &[("f", &original()), ("g", "g\n")]);
        Self {
            home,
            repo,
            ours,
            theirs,
        }
    }

    /// A new session of ours.
    fn begin(&self, prompt: &str) -> Finished {
        self.exec(["exec", prompt])
    }

    /// Goes on with our session.
    fn go_on(&self, session: &str, prompt: &str) -> Finished {
        self.exec(["exec", "--session", session, prompt])
    }

    /// A session of theirs, from its beginning to its end.
    fn rival(&self, prompt: &str) -> Finished {
        self.exec(["exec", "--model", "rival/scripted", prompt])
    }

    fn exec<const N: usize>(&self, args: [&str; N]) -> Finished {
        let run = self.home.quire(args).dir(self.repo.directory()).run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    }

    /// The id of the newest session.
    fn newest(&self) -> String {
        Rpc::connect(&self.home).session("@last").id
    }

    fn notices(&self, session: &str) -> Vec<NoticeItem> {
        let all = items(&Rpc::connect(&self.home).events(session)).into_iter();
        let notices = all.filter_map(|one| match one.kind {
            Some(Kind::Notice(notice)) => Some(notice),
            _ => None,
        });
        // The first message of a session tells where it is.
        notices
            .filter(|notice| !notice.text.starts_with('<'))
            .collect()
    }
}

/// What people say or the model is told besides outcomes, in order.
fn told(request: &Request) -> Vec<String> {
    let entries = request.body["input"].as_array().into_iter().flatten();
    let said = entries.filter(|entry| entry["role"] == "user");
    let text = |entry: &Value| match &entry["content"] {
        Value::String(text) => text.clone(),
        parts => parts[0]["text"].as_str().unwrap_or_default().to_owned(),
    };
    said.map(text).collect()
}

fn count(request: &Request, text: &str) -> usize {
    told(request)
        .iter()
        .filter(|said| said.contains(text))
        .count()
}

/// The story of the issue, once with an edit of the other session and once with a command.
#[test]
fn an_edit_of_what_another_session_changed_is_refused_with_the_news() {
    let table = [
        (Reply::patch(&edit("line 7", "theirs")), true),
        (Reply::shell("sed -i 's/^line 7$/theirs/' f"), false),
    ];
    for (change, by_patch) in table {
        let ours = edit("line 300", "ours");
        let two = Two::playing(
            [
                Reply::call(
                    "read_file",
                    json!({"path": "f", "offset": 290, "limit": 20}),
                ),
                Reply::say("I have read it."),
                Reply::patch(&ours),
                Reply::patch(&ours),
                Reply::say("done"),
            ],
            [change, Reply::say("changed it")],
        );
        two.begin("read f");
        let session = two.newest();
        two.rival("the rival's work");
        two.go_on(&session, "now edit it");

        let requests = two.ours.requests();
        let first = &requests[2];
        assert_eq!(
            count(first, "Not as you saw them any more"),
            1,
            "{:?}",
            told(first)
        );
        let by_name = told(first)
            .iter()
            .any(|said| said.contains("the rival's work"));
        assert_eq!(by_name, by_patch, "{:?}", told(first));
        let prompt = told(first).pop().unwrap();
        assert!(
            prompt.contains("now edit it"),
            "the prompt is last: {prompt}"
        );

        let refused = requests[3].outcome(2, 0).unwrap();
        assert!(refused.contains("was not applied") && refused.contains("`f` was changed"));
        assert_eq!(refused.contains("the rival's work"), by_patch, "{refused}");
        assert!(refused.contains("-line 7\n+theirs\n"), "{refused}");
        let applied = requests[4].outcome(3, 0).unwrap();
        assert!(applied.contains("Success"), "{applied}");
        assert_eq!(
            two.repo.read("f"),
            original()
                .replace("line 7\n", "theirs\n")
                .replace("line 300", "ours")
        );
        // Said once, and nothing of one's own doing.
        let last = requests.last().unwrap();
        assert_eq!(count(last, "Not as you saw them any more"), 1);
        let people: Vec<_> = two
            .notices(&session)
            .into_iter()
            .filter(|one| !one.for_model)
            .collect();
        assert_eq!(people.len(), usize::from(by_patch), "{people:?}");
        let newest = two.theirs.requests().pop().unwrap();
        assert!(told(&newest).iter().all(|said| !said.contains("changed f")));
    }
}

/// Without the old content at hand, the new one must be read before the edit goes through.
#[test]
fn a_new_daemon_still_knows_what_was_read() {
    let two = Two::playing(
        [
            Reply::read("f"),
            Reply::say("I have read it."),
            Reply::patch(&edit("line 300", "ours")),
            Reply::patch(&edit("line 300", "ours")),
            Reply::read("f"),
            Reply::patch(&edit("line 300", "ours")),
            Reply::say("done"),
        ],
        [],
    );
    two.begin("read f");
    let session = two.newest();
    two.home.kill_daemon();
    let theirs = original().replace("line 7\n", "theirs\n");
    fs::write(two.repo.path("f"), &theirs).unwrap();
    two.go_on(&session, "now edit it");
    let requests = two.ours.requests();
    assert_eq!(count(&requests[2], "Not as you saw them any more"), 1);
    for step in [2, 3] {
        let refused = requests[step + 1].outcome(step, 0).unwrap();
        assert!(refused.contains("outside of this session"), "{refused}");
        assert!(
            refused.contains("300\tline 300\n"),
            "where it aims: {refused}"
        );
        assert!(
            !refused.contains("\tline 100\n"),
            "not all of it: {refused}"
        );
        assert!(refused.contains("Read with `read_file`"), "{refused}");
    }
    let applied = requests[6].outcome(5, 0).unwrap();
    assert!(applied.contains("Success"), "{applied}");
    assert_eq!(two.repo.read("f"), theirs.replace("line 300", "ours"));
    let statuses: Vec<_> = Rpc::connect(&two.home)
        .outcomes(&session)
        .iter()
        .map(|outcome| outcome.status())
        .collect();
    let (done, failed) = (OutcomeStatus::Succeeded, OutcomeStatus::Failed);
    assert_eq!(statuses, [done, failed, failed, done, done]);
}

/// A turn that runs is told with the next request, whatever others changed, and only once.
#[test]
fn a_running_turn_is_told_with_its_next_request() {
    let gate = Gate::closed();
    let patch = "*** Begin Patch\n*** Add File: new/h\n+h\n*** Delete File: g\n*** End Patch\n";
    let two = Two::playing(
        [
            Reply::say("I begin. ").and_hold(&gate).and_shell("true"),
            Reply::shell("true"),
            Reply::say("done"),
        ],
        [Reply::patch(patch), Reply::say("changed")],
    );
    let run = two
        .home
        .quire(["exec", "work"])
        .dir(two.repo.directory())
        .spawn();
    gate.wait_reached();
    let session = two.newest();
    two.rival("tidy up");
    gate.open();
    assert_eq!(run.finish().code, 0);
    let requests = two.ours.requests();
    let counts: Vec<_> = requests
        .iter()
        .map(|request| count(request, "changed g (removed) and new/h."))
        .collect();
    assert_eq!(counts, [0, 1, 1], "{:?}", told(&requests[1]));
    let notices = two.notices(&session);
    let for_model: Vec<_> = notices.iter().map(|notice| notice.for_model).collect();
    assert_eq!(for_model, [false, true], "{notices:?}");
    assert!(
        notices[0].text.starts_with("Session \"tidy up\" ("),
        "{notices:?}"
    );
}

/// What a person changed while an edit waited for approval is not written over.
#[test]
fn an_edit_approved_too_late_is_refused() {
    let table = [
        // Seen, so the news is shown.
        (vec![Reply::read("g")], "-g\n+mine\n"),
        // Never seen: what was approved is not what would be done.
        (vec![], "not be the edit that was approved"),
    ];
    for (before, want) in table {
        let patch = "*** Begin Patch\n*** Update File: g\n@@\n-g\n+ours\n*** End Patch\n";
        let steps = before.len();
        let mut replies = before;
        replies.extend([Reply::patch(patch), Reply::say("done")]);
        let model = MockModel::playing(replies);
        let home = Home::asking(&model, Wire::Responses);
        let repo = Repo::with(&home, "project", &[("g", "g\n")]);
        let run = home
            .quire(["exec", "--detach", "--approve", "untrusted", "go"])
            .dir(repo.directory())
            .run();
        assert_eq!(run.code, 0, "{}", run.stderr);
        let rpc = Rpc::connect(&home);
        let session = rpc.session("@last").id;
        assert!(rpc.settled(&session).needs_approval);
        let mine = if steps == 0 { "first\ng\n" } else { "mine\n" };
        fs::write(repo.path("g"), mine).unwrap();
        rpc.decide(&session, ApprovalVerdict::Once).unwrap();
        let _ = rpc.settled(&session);
        let refused = model.requests().pop().unwrap().outcome(steps, 0).unwrap();
        assert!(refused.contains(want), "{refused}");
        assert_eq!(repo.read("g"), mine);
    }
}
