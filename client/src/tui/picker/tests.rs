//! The picker without a terminal or a daemon.

use crossterm::event::KeyEvent;
use insta::assert_snapshot;
use quire_proto::v1::{ClientRef, SearchHit, Session, SessionState};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    draw::draw,
    state::{Effect, Input, Picker, Scope, Wishes},
};
use crate::tui::keys::Chord;

const NOW: i64 = 10_000_000;

fn session(id: &str, title: &str, minutes_ago: i64) -> Session {
    Session {
        id: id.into(),
        title: title.into(),
        workspace: "/home/u/calc".into(),
        model: "openai/gpt-5.2".into(),
        state: SessionState::Idle.into(),
        active_ms: NOW - minutes_ago * 60_000,
        ..Session::default()
    }
}

fn sessions() -> Vec<Session> {
    vec![
        Session {
            workspace: "/srv/a/very/long/way/to/elsewhere".into(),
            ..session("aaa", "newest, elsewhere", 1)
        },
        Session {
            state: SessionState::Running.into(),
            clients: vec![ClientRef::default(); 2],
            ..session("bbb", "runs here", 5)
        },
        Session {
            state: SessionState::NeedsApproval.into(),
            workspace: "/srv/other".into(),
            ..session("ccc", "asks elsewhere", 90)
        },
        Session {
            archived: true,
            ..session("ddd", "put away", 3)
        },
        Session {
            title: String::new(),
            last_prompt: "mend the \u{1b}[31mfence".into(),
            ..session("eee", "", 10)
        },
    ]
}

struct Stage {
    picker: Picker,
}

impl Stage {
    fn empty() -> Self {
        let wishes = Wishes {
            workspace: "/home/u/calc".into(),
            from: None,
            colour: true,
        };
        let (picker, effects) = Picker::new(wishes);
        assert_eq!(effects, [Effect::List(Scope::Everywhere, String::new())]);
        Self { picker }
    }

    fn full() -> Self {
        let mut stage = Self::empty();
        stage.told(Input::Listed(Scope::Everywhere, sessions(), String::new()));
        stage
    }

    fn told(&mut self, input: Input) -> Vec<Effect> {
        self.picker.step(NOW, input)
    }

    fn press(&mut self, key: &str) -> Vec<Effect> {
        let key: Chord = key.parse().unwrap();
        self.told(Input::Key(KeyEvent::from(key)))
    }

    fn write(&mut self, text: &str) -> Vec<Effect> {
        let presses = text.chars().map(|c| c.to_string());
        presses.flat_map(|key| self.press(&key)).collect()
    }

    fn order(&self) -> Vec<&str> {
        self.picker
            .choices
            .iter()
            .map(|choice| choice.id())
            .collect()
    }

    fn picture(&mut self, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, &mut self.picker))
            .unwrap();
        terminal.backend().to_string()
    }
}

fn hit(id: &str, excerpt: &str) -> SearchHit {
    SearchHit {
        session: Some(session(id, &format!("title of {id}"), 7)),
        seq: 1,
        item: 1,
        excerpt: excerpt.into(),
    }
}

#[test]
fn those_that_need_someone_come_first_then_those_of_here_then_the_newest() {
    let mut stage = Stage::full();
    assert_eq!(stage.order(), ["ccc", "bbb", "eee", "aaa"]);
    stage.press("Tab");
    assert_eq!(stage.order(), ["ccc", "ddd", "bbb", "eee", "aaa"]);
    stage.press("Tab");
    assert_eq!(stage.order(), ["bbb", "eee"]);
    stage.press("Tab");
    assert_eq!(stage.order(), ["ccc", "bbb", "eee", "aaa"]);
}

#[test]
fn it_fits_every_terminal() {
    let mut stage = Stage::full();
    assert_snapshot!(stage.picture(20, 5), @r#"
    "›            all · 4"
    "? asks elsewhere    "
    "● runs here         "
    "  mend the ␛[31mfen…"
    "  Enter attaches    "
    "#);
    assert_snapshot!(stage.picture(72, 14), @r#"
    "› type to search                                                 all · 4"
    "  SESSION                          STATE      WORKSPACE           AGE   "
    "? asks elsewhere                   asks you   /srv/other          1 h   "
    "● runs here                        running    /home/u/calc        5 min "
    "  mend the ␛[31mfence              idle       /home/u/calc        10 min"
    "  newest, elsewhere                idle       …/way/to/elsewhere  1 min "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "                                                                        "
    "  Enter attaches · Esc leaves · Tab archived too                        "
    "#);
    assert_snapshot!(stage.picture(120, 9), @r#"
    "› type to search                                                                                                 all · 4"
    "? asks elsewhere                                  asks you   /srv/other          1 h     -        openai/gpt-5.2        "
    "● runs here                                       running    /home/u/calc        5 min   2        openai/gpt-5.2        "
    "  mend the ␛[31mfence                             idle       /home/u/calc        10 min  -        openai/gpt-5.2        "
    "  newest, elsewhere                               idle       …/way/to/elsewhere  1 min   -        openai/gpt-5.2        "
    "                                                                                                                        "
    "                                                                                                                        "
    "                                                                                                                        "
    "  Enter attaches · Esc leaves · Tab archived too                                                                        "
    "#);
    let large = stage.picture(200, 60);
    assert!(large.contains("CLIENTS") && large.contains("openai/gpt-5.2"));
    for (width, height) in [(1, 1), (2, 3), (5, 2), (200, 1)] {
        stage.picture(width, height);
    }
}

#[test]
fn typing_narrows_down_and_enter_chooses() {
    let mut stage = Stage::full();
    stage.write("fnce");
    assert_eq!(stage.order(), ["eee"]);
    assert_eq!(stage.press("Enter"), [Effect::Choose("eee".into())]);
    stage.press("Ctrl+U");
    stage.press("Down");
    assert_eq!(stage.press("Enter"), [Effect::Choose("bbb".into())]);
    stage.write("zzz");
    assert_eq!(stage.press("Enter"), [], "nothing fits");
    assert!(stage.picture(40, 6).contains("nothing fits"));
    stage.press("Ctrl+W");
    assert_eq!(stage.picker.query, "");
    assert_eq!(stage.press("Esc"), [Effect::Leave]);
}

#[test]
fn what_was_said_is_asked_for_one_question_at_a_time() {
    let mut stage = Stage::full();
    assert_eq!(stage.write("f"), [], "too short");
    let search = |query: &str| Effect::Search(query.into(), Scope::Everywhere);
    assert_eq!(stage.write("en"), [search("fe")]);
    assert_eq!(stage.write("ce"), []);
    let hits = vec![
        hit("fff", "about the \u{2}fence\u{3} again"),
        hit("eee", "the fence"),
    ];
    assert_eq!(
        stage.told(Input::Found("fe".into(), hits.clone())),
        [search("fence")]
    );
    assert_eq!(stage.told(Input::Found("fence".into(), hits)), []);
    // The one that fits by itself is not told twice.
    assert_eq!(stage.order(), ["eee", "fff"]);
    assert_snapshot!(stage.picture(72, 7), @r#"
    "› fence                                                          all · 2"
    "  mend the ␛[31mfence              idle       /home/u/calc        10 min"
    "  what was said                                                         "
    "  title of fff  about the fence again                                   "
    "                                                                        "
    "                                                                        "
    "  Enter attaches · Esc leaves · Tab archived too                        "
    "#);
    stage.press("Down");
    assert_eq!(stage.press("Enter"), [Effect::Choose("fff".into())]);
}

#[test]
fn a_daemon_that_cannot_search_is_asked_once() {
    let mut stage = Stage::full();
    assert_eq!(stage.write("fen").len(), 1);
    stage.told(Input::NoSearch);
    assert_eq!(stage.write("ce"), []);
    assert_eq!(stage.order(), ["eee"]);
}

#[test]
fn the_keyboard_is_on_the_first_row_until_it_is_moved() {
    // In whatever order they are told.
    for turn in 0..5 {
        let mut stage = Stage::empty();
        let mut told = sessions();
        told.rotate_left(turn);
        for one in told {
            stage.told(Input::Changed(Box::new(one)));
        }
        assert_eq!(stage.press("Enter"), [Effect::Choose("ccc".into())]);
    }
    let mut stage = Stage::full();
    stage.press("Down");
    stage.press("Up");
    let newer = Session {
        state: SessionState::Suspended.into(),
        ..session("ggg", "just made", 0)
    };
    stage.told(Input::Changed(Box::new(newer)));
    assert_eq!(
        stage.press("Enter"),
        [Effect::Choose("ccc".into())],
        "moved there and back: it was meant"
    );
}

#[test]
fn the_keyboard_stays_on_a_session_while_the_list_changes() {
    let mut stage = Stage::full();
    stage.press("Down");
    let newer = Session {
        state: SessionState::Suspended.into(),
        ..session("ggg", "just made", 0)
    };
    stage.told(Input::Changed(Box::new(newer)));
    assert_eq!(stage.order()[0], "ggg");
    assert_eq!(stage.press("Enter"), [Effect::Choose("bbb".into())]);
    stage.told(Input::Deleted("bbb".into()));
    assert_eq!(stage.order(), ["ggg", "ccc", "eee", "aaa"]);
    assert_eq!(
        stage.press("Enter"),
        [Effect::Choose("eee".into())],
        "what took its place"
    );
}

#[test]
fn further_pages_are_asked_for_as_the_end_comes_near() {
    let mut stage = Stage::empty();
    let page = |from: i64| {
        let ids = from..from + 100;
        ids.map(|n| session(&format!("s{n:03}"), "one of many", n))
            .collect()
    };
    assert_eq!(
        stage.told(Input::Listed(Scope::Everywhere, page(0), "next".into())),
        []
    );
    stage.picture(80, 24);
    assert!(stage.picture(80, 24).contains("all · 100+"));
    assert_eq!(
        stage.press("End"),
        [Effect::List(Scope::Everywhere, "next".into())]
    );
    assert_eq!(stage.press("End"), [], "it has been asked for");
    assert_eq!(
        stage.told(Input::Listed(Scope::Everywhere, page(100), String::new())),
        []
    );
    assert!(stage.picture(80, 24).contains("all · 200"));
}

#[test]
fn a_daemon_that_comes_back_is_asked_anew() {
    let mut stage = Stage::full();
    stage.told(Input::Lost);
    assert!(stage.picture(60, 8).contains("reconnecting"));
    let effects = stage.told(Input::Met);
    assert_eq!(effects, [Effect::List(Scope::Everywhere, String::new())]);
    assert!(!stage.picture(60, 8).contains("reconnecting"));
}
