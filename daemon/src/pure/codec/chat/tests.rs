//! Answers in the shapes that OpenAI and the many servers after its model send.

use quire_proto::v1::{ArgumentsKind, Usage};
use serde_json::{Value, json};

use crate::pure::{
    codec::{
        Codec, Stage,
        harness::{self, check_damaged, stream},
    },
    sample::{Call, Delta, SampleErrorKind, Stop},
};

/// Reasoning, a message and two calls, as servers stream them.
const WHOLE: &str = r#": ping

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"reasoning_content":"Look "},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"reasoning_content":"first.","reasoning":"first."},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Running "},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"\"tests\" \ud83d\ude00é\n"},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":1,"delta":{"content":"another answer"},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"exec_command","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"cmd\""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":\"ls\"}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"apply_patch","arguments":"{\"patch\":\"x\"}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":12}}}

data: [DONE]

"#;

fn whole_deltas() -> Vec<Delta> {
    vec![
        Delta::Reasoning("Look first.".to_owned()),
        reasoning_done("reasoning_content"),
        said("Running \"tests\" 😀é\n"),
        Delta::MessageDone,
        started("exec_command"),
        started("apply_patch"),
        call("call_a", "exec_command", "{\"cmd\":\"ls\"}"),
        call("call_b", "apply_patch", "{\"patch\":\"x\"}"),
        ended(Stop::Done, [100, 64, 30, 12]),
    ]
}

fn said(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn started(tool: &str) -> Delta {
    let tool = tool.to_owned();
    Delta::CallStarted { tool }
}

fn reasoning_done(field: &str) -> Delta {
    let opaque = field.into();
    Delta::ReasoningDone { opaque }
}

fn call(id: &str, tool: &str, arguments: &str) -> Delta {
    Delta::Call(Call {
        call_id: id.to_owned(),
        tool: tool.to_owned(),
        arguments: arguments.to_owned(),
        kind: ArgumentsKind::Json,
        opaque: vec![],
    })
}

fn ended(stop: Stop, [input, cached, output, reasoning]: [u64; 4]) -> Delta {
    let usage = Usage {
        input_tokens: input,
        cached_tokens: cached,
        output_tokens: output,
        reasoning_tokens: reasoning,
        cost_micros: 0,
    };
    Delta::Ended { stop, usage }
}

fn chunk(delta: &Value) -> String {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string()
}

fn finish(reason: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string()
}

fn check(events: &[&str]) -> Vec<Delta> {
    harness::check_whole(Codec::Chat, &stream(events))
}

#[test]
fn a_whole_answer_is_read_however_it_is_cut() {
    assert_eq!(harness::check_whole(Codec::Chat, WHOLE), whole_deltas());
}

#[test]
fn damage_never_panics_and_cuts_never_matter() {
    check_damaged(Codec::Chat, WHOLE);
}

#[test]
fn the_end_is_the_reason_or_done_or_both() {
    let (text, stop) = (chunk(&json!({"content": "a"})), finish("stop"));
    let want = vec![said("a"), Delta::MessageDone, ended(Stop::Done, [0; 4])];
    for events in [
        vec![text.as_str(), &stop, "[DONE]"],
        vec![&text, &stop],
        vec![&text, "[DONE]"],
        vec![&text, &stop, "[DONE]", &text, "[DONE]"],
    ] {
        assert_eq!(check(&events), want, "{events:?}");
    }
}

#[test]
fn what_may_follow_the_reason_is_waited_for() {
    let mut decoder = Codec::Chat.decoder();
    let mut out = Vec::new();
    let mut stage = |bytes: &str| {
        decoder.feed(bytes.as_bytes(), &mut out).unwrap();
        decoder.stage()
    };
    assert_eq!(
        stage(&stream(&[&chunk(&json!({"content": "a"}))])),
        Stage::Open
    );
    assert_eq!(stage(&stream(&[&finish("stop")])), Stage::Said);
    assert_eq!(stage("data: [DONE]\n\n"), Stage::Ended);
}

#[test]
fn the_reason_to_stop_is_told() {
    let table = [
        ("stop", Stop::Done),
        ("tool_calls", Stop::Done),
        ("eos", Stop::Done),
        ("length", Stop::MaxTokens),
        ("content_filter", Stop::Refused),
    ];
    for (reason, stop) in table {
        let deltas = check(&[&finish(reason)]);
        assert_eq!(deltas, [ended(stop, [0; 4])], "for {reason}");
    }
    let refusal = chunk(&json!({"refusal": "no"}));
    let want = [said("no"), Delta::MessageDone, ended(Stop::Refused, [0; 4])];
    assert_eq!(check(&[&refusal, &finish("stop")]), want);
}

#[test]
fn text_and_reasoning_end_where_something_else_begins() {
    let events = [
        chunk(&json!({"content": "a"})),
        chunk(&json!({"reasoning": "b", "content": null})),
        chunk(&json!({"reasoning": "c", "content": "d"})),
        chunk(&json!({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f"}}]})),
        chunk(&json!({"content": "e"})),
        finish("stop"),
    ];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let want = vec![
        said("a"),
        Delta::MessageDone,
        Delta::Reasoning("bc".to_owned()),
        reasoning_done("reasoning"),
        said("d"),
        Delta::MessageDone,
        started("f"),
        said("e"),
        Delta::MessageDone,
        call("i", "f", "{}"),
        ended(Stop::Done, [0; 4]),
    ];
    assert_eq!(check(&events), want);
}

#[test]
fn usage_is_taken_from_wherever_it_stands() {
    let text = json!({"choices": [{"index": 0, "delta": {"content": "a"}}],
                      "usage": {"prompt_tokens": 5, "completion_tokens": 1}});
    let last = json!({"usage": {"prompt_tokens": 5, "completion_tokens": 2,
                                "prompt_cache_hit_tokens": 4}});
    let deltas = check(&[
        &text.to_string(),
        &finish("stop"),
        &last.to_string(),
        "[DONE]",
    ]);
    assert_eq!(deltas.last(), Some(&ended(Stop::Done, [5, 4, 2, 0])));
}

#[test]
fn an_answer_without_its_end_is_no_answer() {
    let text = chunk(&json!({"content": "a"}));
    let begun = chunk(&json!({"role": "assistant", "content": ""}));
    let half = chunk(&json!({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}));
    let limited = r#"{"error":{"code":429,"message":"slow down"}}"#;
    let table: &[(&[&str], _)] = &[
        (&[], SampleErrorKind::Cut),
        (&[&begun], SampleErrorKind::Cut),
        (&[&text], SampleErrorKind::Cut),
        (&[&half], SampleErrorKind::Cut),
        (&["[DONE]"], SampleErrorKind::Cut),
        (&[&text, "not json"], SampleErrorKind::Garbage),
        (
            &[r#"{"choices":[{"delta":{"content":7}}]}"#],
            SampleErrorKind::Garbage,
        ),
        (&[limited], SampleErrorKind::RateLimited),
        (
            &[&text, r#"{"error":{"message":"oops"}}"#],
            SampleErrorKind::Cut,
        ),
        (
            &[r#"{"error":"model is loading"}"#],
            SampleErrorKind::Unreachable,
        ),
        (
            &[r#"{"object":"error","message":"bad"}"#],
            SampleErrorKind::Unreachable,
        ),
    ];
    for (events, kind) in table {
        let (deltas, error) = harness::check(Codec::Chat, &stream(events));
        assert_eq!(error.map(|error| error.kind), Some(*kind), "{events:?}");
        let calls = deltas.iter().any(|delta| matches!(delta, Delta::Call(_)));
        assert!(!calls, "no call of half an answer is made: {events:?}");
    }
}

#[test]
fn half_an_emoji_is_replaced() {
    let half = r#"{"choices":[{"delta":{"content":"a\ud83d"}}]}"#;
    let want = vec![
        said("a\u{fffd}"),
        Delta::MessageDone,
        ended(Stop::Done, [0; 4]),
    ];
    assert_eq!(check(&[half, &finish("stop")]), want);
}

#[test]
fn unknown_chunks_are_skipped() {
    let text = chunk(&json!({"content": "a", "annotations": [1]}));
    let events = [r#"{"type":"ping"}"#, &text, r#"{"x":[1]}"#, &finish("stop")];
    let want = vec![said("a"), Delta::MessageDone, ended(Stop::Done, [0; 4])];
    assert_eq!(check(&events), want);
}

#[test]
fn an_answer_that_was_not_streamed_is_read_too() {
    let message = json!({"role": "assistant", "content": "hi", "tool_calls": [
        {"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let body = json!({"id": "x", "object": "chat.completion",
                      "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                      "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
    let mut deltas = Vec::new();
    let mut decoder = Codec::Chat.decoder();
    decoder
        .whole(body.to_string().as_bytes(), &mut deltas)
        .unwrap();
    let want = vec![
        said("hi"),
        Delta::MessageDone,
        started("f"),
        call("i", "f", "{}"),
        ended(Stop::Done, [3, 0, 1, 0]),
    ];
    assert_eq!(deltas, want);
}
