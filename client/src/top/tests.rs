//! Pictures of the screen over all sessions, and what its keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use quire_proto::v1::{
    Approval, ApprovalAnswer, ClientRef, Job, JobState, Session, SessionState, Synced, Usage,
    daemon_service_watch_response::Update,
};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    app::{App, Effect},
    draw::draw,
    json_line,
    overview::{Overview, Row},
    table_of,
};

const NOW: i64 = 1_000_000;

fn session(id: &str, title: &str, state: SessionState, active_ms: i64) -> Session {
    let runs = state != SessionState::Idle;
    Session {
        id: id.into(),
        title: title.into(),
        state: state.into(),
        workspace: format!("/src/{id}"),
        model: "openai/gpt-5.2".into(),
        active_ms,
        running_turn: u64::from(runs),
        turn_started_ms: if runs { NOW - 90_000 } else { 0 },
        usage: Some(Usage {
            input_tokens: 12_000,
            output_tokens: 345,
            cost_micros: 420_000,
            ..Usage::default()
        }),
        clients: vec![ClientRef::default()],
        ..Session::default()
    }
}

fn approval(session: &str, id: u64, title: &str) -> Approval {
    Approval {
        id,
        session_id: session.into(),
        title: title.into(),
        tool: "exec".into(),
        requested_ms: NOW - 30_000,
        ..Approval::default()
    }
}

fn job(id: &str, session: &str, command: &str) -> Job {
    Job {
        id: id.into(),
        session_id: session.into(),
        command: command.into(),
        state: JobState::Running.into(),
        started_ms: NOW - 7_200_000,
        ..Job::default()
    }
}

fn updates() -> Vec<Update> {
    vec![
        Update::Session(session("aaa", "an older one", SessionState::Idle, 100)),
        Update::Session(session("bbb", "mend the build", SessionState::Running, 900)),
        Update::Session(session(
            "ccc",
            "push it\x1b[2J out",
            SessionState::NeedsApproval,
            200,
        )),
        Update::Approval(approval("ccc", 1, "git push\u{a0}--force")),
        Update::Job(job("jx", "bbb", "npm run dev\necho 2")),
        Update::Synced(Synced::default()),
    ]
}

fn app() -> App {
    let mut app = App::new(true);
    app.begins();
    app.apply(&updates());
    app
}

fn picture(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, NOW)).unwrap();
    terminal.backend().to_string()
}

fn press(app: &mut App, keys: &str) -> Option<Effect> {
    let mut effect = None;
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        effect = app.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

#[test]
fn who_needs_someone_is_on_top_and_nothing_acts_on_the_terminal() {
    insta::assert_snapshot!(picture(&mut app(), 110, 9), @r#"
    "quire top  3 sessions, 1 running, 1 needs someone, 1 job, $1.26                                               "
    "STATE           TITLE                   TURN    COST     ID          CLIENTS  TOKENS  WORKSPACE               "
    "needs approval  push it␛[2J out         1 min   $0.42    ccc         1        12.3k   /src/ccc                "
    "  ! waits 30 s: git push<U+00A0>--force                                                                       "
    "running         mend the build          1 min   $0.42    bbb         1        12.3k   /src/bbb                "
    "  + job jx 2 h: npm run dev                                                                                   "
    "idle            an older one                    $0.42    aaa         1        12.3k   /src/aaa                "
    "                                                                                                              "
    "Enter attach  i interrupt  / filter  q quit                                                                   "
    "#);
}

#[test]
fn a_narrow_screen_keeps_what_matters_most() {
    insta::assert_snapshot!(picture(&mut app(), 48, 7), @r#"
    "quire top  3 sessions, 1 running, 1 needs someon"
    "STATE           TITLE                     TURN  "
    "needs approval  push it␛[2J out           1 min "
    "  ! waits 30 s: git push<U+00A0>--force         "
    "running         mend the build            1 min "
    "  + job jx 2 h: npm run dev                     "
    "Enter attach  i interrupt  / filter  q quit     "
    "#);
    for (width, height) in [(1, 1), (5, 2), (20, 3), (300, 1), (3, 50)] {
        picture(&mut app(), width, height);
    }
}

#[test]
fn keys_choose_open_filter_and_interrupt_only_after_a_yes() {
    let open = |id: &str| Some(Effect::Attach(id.to_owned()));
    let stop = |id: &str| Some(Effect::Interrupt(id.to_owned(), 1));
    let table = [
        ("\n", open("ccc")),
        ("j\n", open("bbb")),
        ("jjjjk\n", open("bbb")),
        ("G\n", open("aaa")),
        ("Gg\n", open("ccc")),
        ("/OLDER\n\n", open("aaa")),
        ("/older\n\x1b\n", open("ccc")),
        ("/nothing like it\n\n", None),
        ("ji", None),
        ("jiy", stop("bbb")),
        ("jin", None),
        ("jinq", Some(Effect::Quit)),
        ("Giy", None),
        ("/q", None),
        ("\x1b", None),
    ];
    for (keys, want) in table {
        assert_eq!(press(&mut app(), keys), want, "after {keys:?}");
    }
}

#[test]
fn the_selection_stays_on_its_session_and_in_sight() {
    let mut app = app();
    press(&mut app, "G");
    app.apply(&[Update::Session(session(
        "aaa",
        "now",
        SessionState::Suspended,
        999,
    ))]);
    assert_eq!(app.selected().as_deref(), Some("aaa"));
    for number in 0..100 {
        let id = format!("s{number:02}");
        app.apply(&[Update::Session(session(
            &id,
            &id,
            SessionState::Idle,
            number,
        ))]);
    }
    press(&mut app, "G");
    let shown = picture(&mut app, 60, 10);
    assert!(shown.contains("s00") && !shown.contains("s99"), "{shown}");
    press(&mut app, "g");
    assert!(picture(&mut app, 60, 10).contains("now"));
}

#[test]
fn what_was_seen_stays_until_a_new_watch_has_told_all() {
    let mut app = app();
    app.lost();
    assert!(picture(&mut app, 110, 9).contains("the daemon is gone"));
    app.begins();
    assert!(picture(&mut app, 110, 9).contains("mend the build"));
    app.apply(&[Update::Synced(Synced::default())]);
    assert!(!picture(&mut app, 110, 9).contains("mend the build"));
}

#[test]
fn updates_come_and_go() {
    let mut overview = Overview::default();
    updates().iter().for_each(|update| overview.apply(update));
    assert_eq!(overview.rows("").len(), 5);
    let decided = Approval {
        answer: Some(ApprovalAnswer::default()),
        ..approval("ccc", 1, "x")
    };
    overview.apply(&Update::Approval(decided));
    overview.apply(&Update::JobEnded(job("jx", "bbb", "x")));
    let archived = Session {
        archived: true,
        ..session("aaa", "x", SessionState::Idle, 1)
    };
    overview.apply(&Update::Session(archived));
    let sessions = |overview: &Overview| {
        let rows = overview.rows("");
        let ids = rows.iter().map(|row| match row {
            Row::Session(session) => session.id.clone(),
            other => format!("{other:?}"),
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(sessions(&overview), ["ccc", "bbb"]);
    overview.apply(&Update::SessionDeleted("ccc".into()));
    assert_eq!(sessions(&overview), ["bbb"]);
    assert_eq!(overview.counts().running, 1);
}

#[test]
fn without_a_screen_it_is_a_table_or_lines_of_json() {
    let mut overview = Overview::default();
    updates().iter().for_each(|update| overview.apply(update));
    insta::assert_snapshot!(table_of(&overview, NOW), @r#"
    ID    STATE           TITLE             MODEL           TURN   COST   TOKENS  CLIENTS  WORKSPACE
    ccc   needs approval  push it␛[2J out   openai/gpt-5.2  1 min  $0.42  12.3k   1        /src/ccc
      !1  waits           git push --force                  30 s
    bbb   running         mend the build    openai/gpt-5.2  1 min  $0.42  12.3k   1        /src/bbb
      jx  job             npm run dev                       2 h
    aaa   idle            an older one      openai/gpt-5.2         $0.42  12.3k   1        /src/aaa
    "#);
    let lines: String = updates().iter().filter_map(json_line).collect();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["type"].is_string());
    }
    let asked = json_line(&Update::Approval(approval("ccc", 1, "git push"))).unwrap();
    insta::assert_snapshot!(asked, @r#"{"type":"approval","session":"ccc","id":1,"tool":"exec","title":"git push","reason":"","requested_ms":970000}"#);
}
