//! The mock model itself: what it plays, what it refuses, how it breaks off.

use quire_tests::{
    exchange::{Answer, post},
    model::{Fault, Gate, MockModel, Reply, Wire},
};
use serde_json::{Value, json};

fn path(wire: Wire) -> &'static str {
    match wire {
        Wire::Responses => "/responses",
        Wire::Chat => "/chat/completions",
    }
}

/// A first request, with a shell tool on offer.
fn request(wire: Wire) -> Value {
    let schema = json!({
        "type": "object", "properties": { "cmd": { "type": "string" } }, "required": ["cmd"]
    });
    match wire {
        Wire::Responses => json!({
            "model": "scripted", "stream": true, "store": false,
            "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "go" }] }],
            "tools": [{ "type": "function", "name": "exec_command", "parameters": schema }],
        }),
        Wire::Chat => json!({
            "model": "scripted", "stream": true, "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": "go" }],
            "tools": [{ "type": "function", "function": { "name": "exec_command", "parameters": schema } }],
        }),
    }
}

/// The same with the first reply's call and its outcome.
fn answered(wire: Wire) -> Value {
    let mut body = request(wire);
    let more = match wire {
        Wire::Responses => json!([
            { "type": "function_call", "call_id": "call_s0_0_1", "name": "exec_command", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "call_s0_0_1", "output": "ok" },
        ]),
        Wire::Chat => json!([
            { "role": "assistant", "tool_calls": [{ "id": "call_s0_0_1", "type": "function",
                "function": { "name": "exec_command", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_s0_0_1", "content": "ok" },
        ]),
    };
    let list = if wire == Wire::Chat {
        "messages"
    } else {
        "input"
    };
    let list = body[list].as_array_mut().expect("a list");
    list.extend(more.as_array().expect("a list").clone());
    body
}

fn ask(model: &MockModel, wire: Wire, body: &Value) -> std::io::Result<Answer> {
    post(&model.base_url(), path(wire), MockModel::KEY, body)
}

#[test]
fn replies_follow_the_conversation() {
    for wire in Wire::ALL {
        let model = MockModel::playing([Reply::shell("ls -l"), Reply::say("all done now")]);
        let first = ask(&model, wire, &request(wire)).unwrap();
        assert_eq!(first.status, 200);
        assert!(first.body.contains("call_s0_0_1"), "{}", first.body);
        let again = ask(&model, wire, &request(wire)).unwrap();
        let renamed = again.body.replace("call_s0_0_2", "call_s0_0_1");
        assert_eq!(
            renamed, first.body,
            "the same answer, but for the call's name"
        );
        let second = ask(&model, wire, &answered(wire)).unwrap();
        assert_eq!(second.text(), "all done now");
        let steps: Vec<_> = model.requests().iter().map(|one| one.step).collect();
        assert_eq!(steps, [Some(0), Some(0), Some(1)]);
    }
}

#[test]
fn wrong_keys_and_wrong_requests_are_refused() {
    for wire in Wire::ALL {
        let model = MockModel::playing([Reply::say("hi")]).pardoning();
        let refused = post(&model.base_url(), path(wire), "sk-other", &request(wire)).unwrap();
        assert_eq!(refused.status, 401);
        let mut body = request(wire);
        body["surprise"] = json!(1);
        let refused = ask(&model, wire, &body).unwrap();
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("surprise"), "{}", refused.body);
        assert_eq!(model.breaches().len(), 1);
    }
}

#[test]
#[should_panic(expected = "broke the wire format")]
fn a_breach_fails_the_test() {
    let model = MockModel::playing([]);
    ask(&model, Wire::Chat, &json!({ "model": "m" })).unwrap();
}

#[test]
fn each_fault_fails_as_often_as_told() {
    type Fails = fn(std::io::Result<Answer>) -> bool;
    let table: [(Fault, Fails); 6] = [
        (Fault::Status(429, Some(7)), |answer| {
            answer.is_ok_and(|answer| {
                answer.status == 429 && answer.head.contains(&"retry-after: 7".to_owned())
            })
        }),
        (Fault::Status(503, None), |answer| {
            answer.is_ok_and(|answer| answer.status == 503)
        }),
        (Fault::Html, |answer| {
            answer.is_ok_and(|answer| answer.body.contains("<html>"))
        }),
        (Fault::Reset, |answer| answer.is_err()),
        (Fault::Cut, |answer| {
            answer.is_ok_and(|answer| {
                answer.status == 200
                    && !answer.body.contains("response.completed")
                    && !answer.body.contains("[DONE]")
            })
        }),
        (Fault::GarbageLine, |answer| {
            answer.is_ok_and(|answer| answer.body.contains("{not json"))
        }),
    ];
    for wire in Wire::ALL {
        for (fault, fails) in &table {
            let reply = Reply::say("one two three four").failing(fault.clone(), 2);
            let model = MockModel::playing([reply]);
            for _ in 0..2 {
                assert!(
                    fails(ask(&model, wire, &request(wire))),
                    "for {fault:?} over {wire:?}"
                );
            }
            let whole = ask(&model, wire, &request(wire)).unwrap();
            assert_eq!(whole.text(), "one two three four", "after {fault:?}");
        }
    }
}

#[test]
fn delivery_changes_the_chunks_and_not_the_text() {
    let text = "grüße, 世界 and the rest";
    for wire in Wire::ALL {
        let plain = MockModel::playing([Reply::say(text)]);
        let plain = ask(&plain, wire, &request(wire)).unwrap();
        for reply in [
            Reply::say(text).byte_by_byte(),
            Reply::say(text).in_batches(3),
        ] {
            let model = MockModel::playing([reply]);
            assert_eq!(ask(&model, wire, &request(wire)).unwrap().body, plain.body);
        }
        let model = MockModel::playing([Reply::say(text).twice()]);
        let twice = ask(&model, wire, &request(wire)).unwrap();
        assert_eq!(twice.text().len(), 2 * text.len());
    }
}

#[test]
fn a_gate_holds_an_answer_in_the_middle() {
    let gate = Gate::closed();
    let reply = Reply::say("before ").and_hold(&gate).and_say("after");
    let model = MockModel::playing([reply]);
    let url = model.base_url();
    let asking = std::thread::spawn(move || {
        post(&url, path(Wire::Chat), MockModel::KEY, &request(Wire::Chat)).unwrap()
    });
    gate.wait_reached();
    assert!(!asking.is_finished());
    gate.open();
    assert_eq!(asking.join().unwrap().text(), "before after");
}
