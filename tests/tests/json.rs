//! `quire exec --json`: JSON lines in the vocabulary that scripts parse already, and nothing else.

use quire_tests::{
    home::Home,
    model::{Fault, MockModel, Reply, Wire},
    repo::{FIX, Repo},
};
use serde_json::{Value, json};

/// Every line of it; fails on anything that is not one.
fn lines(stdout: &str) -> Vec<Value> {
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}` is no JSON: {error}"))
    };
    let lines: Vec<Value> = stdout.lines().map(parse).collect();
    lines.iter().for_each(known);
    lines
}

fn is_text(value: &Value, key: &str) {
    assert!(value[key].is_string(), "`{key}` must be a text in {value}");
}

/// Holds a line to the vocabulary.
fn known(line: &Value) {
    match line["type"].as_str().expect("a line has a type") {
        "thread.started" => is_text(line, "thread_id"),
        "turn.started" => {}
        "item.started" | "item.updated" | "item.completed" => known_item(&line["item"]),
        "turn.completed" => {
            for count in ["input_tokens", "cached_input_tokens", "output_tokens"] {
                assert!(line["usage"][count].is_u64(), "no `{count}` in {line}");
            }
        }
        "turn.failed" => is_text(&line["error"], "message"),
        "error" => is_text(line, "message"),
        other => panic!("`{other}` is not in the vocabulary"),
    }
}

fn known_item(item: &Value) {
    is_text(item, "id");
    let status = |known: &[&str]| {
        let status = item["status"].as_str().unwrap_or_default();
        assert!(known.contains(&status), "status `{status}` in {item}");
    };
    match item["type"].as_str().expect("an item has a type") {
        "agent_message" | "reasoning" => is_text(item, "text"),
        "command_execution" => {
            is_text(item, "command");
            is_text(item, "aggregated_output");
            assert!(
                item["exit_code"].is_null() || item["exit_code"].is_i64(),
                "{item}"
            );
            status(&["in_progress", "completed", "failed", "declined"]);
        }
        "file_change" => {
            for change in item["changes"].as_array().expect("changes") {
                is_text(change, "path");
                let kind = change["kind"].as_str().unwrap_or_default();
                assert!(["add", "delete", "update"].contains(&kind), "{change}");
            }
            status(&["in_progress", "completed", "failed", "declined"]);
        }
        "mcp_tool_call" => {
            is_text(item, "server");
            is_text(item, "tool");
        }
        "web_search" => is_text(item, "query"),
        "todo_list" => {
            for todo in item["items"].as_array().expect("items") {
                is_text(todo, "text");
                assert!(todo["completed"].is_boolean(), "{todo}");
            }
        }
        "error" => is_text(item, "message"),
        other => panic!("item type `{other}` is not in the vocabulary"),
    }
}

fn of_type<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn completed<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    let items = of_type(lines, "item.completed").into_iter();
    items
        .map(|line| &line["item"])
        .filter(|item| item["type"] == kind)
        .collect()
}

#[test]
fn a_whole_turn_is_told_in_the_vocabulary() {
    let plan = json!({ "plan": [
        { "step": "look", "status": "completed" },
        { "step": "mend", "status": "in_progress" },
    ] });
    let model = MockModel::playing([
        Reply::say("Looking. ").and_shell("sh ./test.sh"),
        Reply::call("update_plan", plan),
        Reply::patch(FIX),
        Reply::say("Mended.").cached(7),
    ]);
    let home = Home::asking(&model, Wire::Responses);
    let repo = Repo::failing(&home);
    let run = home
        .quire(["exec", "--json", "mend it"])
        .dir(repo.directory())
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines = lines(&run.stdout);

    assert_eq!(lines[0]["type"], "thread.started");
    assert_eq!(lines[1]["type"], "turn.started");
    let command = completed(&lines, "command_execution")[0];
    assert!(
        command["command"]
            .as_str()
            .unwrap()
            .contains("sh ./test.sh"),
        "{command}"
    );
    assert!(
        command["aggregated_output"]
            .as_str()
            .unwrap()
            .contains("FAIL: 2 + 2 = 0")
    );
    assert_eq!(command["exit_code"], 1);
    let change = completed(&lines, "file_change")[0];
    assert_eq!(change["changes"][0]["kind"], "update");
    assert!(
        change["changes"][0]["path"]
            .as_str()
            .unwrap()
            .ends_with("add.sh")
    );
    let todo = completed(&lines, "todo_list")[0];
    assert_eq!(
        todo["items"][0],
        json!({ "text": "look", "completed": true })
    );
    let messages = completed(&lines, "agent_message");
    let texts: Vec<_> = messages
        .iter()
        .map(|item| item["text"].as_str().unwrap().trim_end())
        .collect();
    assert_eq!(texts, ["Looking.", "Mended."]);
    let end = lines.last().unwrap();
    assert_eq!(end["type"], "turn.completed");
    assert_eq!(end["usage"]["cached_input_tokens"], 7);

    // The id is the session's, for `--session` and everything else.
    let thread = lines[0]["thread_id"].as_str().unwrap();
    assert_eq!(home.quire(["logs", thread]).run().code, 0);
}

#[test]
fn items_start_before_they_end_under_the_same_name() {
    let model = MockModel::playing([Reply::shell("echo one"), Reply::say("done")]);
    let home = Home::asking(&model, Wire::Chat);
    let run = home.quire(["exec", "--json", "go"]).run();
    let lines = lines(&run.stdout);
    let started = of_type(&lines, "item.started");
    let command = started
        .iter()
        .find(|line| line["item"]["type"] == "command_execution");
    let id = &command.expect("a command is told when it starts")["item"]["id"];
    assert_eq!(&completed(&lines, "command_execution")[0]["id"], id);
    let ids: Vec<_> = of_type(&lines, "item.completed")
        .iter()
        .map(|line| line["item"]["id"].clone())
        .collect();
    let mut once = ids.clone();
    once.dedup();
    assert_eq!(ids, once, "an item was completed twice");
}

#[test]
fn a_failed_turn_ends_in_the_vocabulary_too() {
    let model = MockModel::playing([Reply::say("x").failing(Fault::Status(400, None), 9)]);
    let home = Home::asking(&model, Wire::Responses);
    let run = home.quire(["exec", "--json", "go"]).run();
    assert_eq!(run.code, 1, "{}", run.stderr);
    let lines = lines(&run.stdout);
    assert_eq!(lines.last().unwrap()["type"], "turn.failed");
}

#[test]
fn a_failure_before_any_turn_is_a_line_too() {
    let home = Home::new();
    home.configure("model = \"mock/scripted\"\n[providers.mock]\nwire = \"chat\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"NO_SUCH_KEY\"\n");
    let run = home.quire(["exec", "--json", "go"]).run();
    assert_eq!(run.code, 4, "{}", run.stderr);
    let lines = lines(&run.stdout);
    assert!(
        ["error", "turn.failed"]
            .iter()
            .any(|kind| lines.last().unwrap()["type"] == *kind)
    );
}
