//! Answers in the shapes that OpenAI and others send.

use quire_proto::v1::{ArgumentsKind, Usage};
use serde_json::{Value, json};

use crate::pure::{
    codec::{
        Codec,
        harness::{self, check_damaged, stream},
    },
    sample::{Call, Delta, SampleErrorKind, Stop},
};

/// Reasoning, a message and two calls, as the provider streams them.
const WHOLE: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"rs_1","type":"reasoning","encrypted_content":"half","summary":[]}}

event: response.reasoning_summary_part.added
data: {"type":"response.reasoning_summary_part.added","sequence_number":2,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"**Look**"}

event: response.reasoning_summary_text.done
data: {"type":"response.reasoning_summary_text.done","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"**Look**"}

event: response.reasoning_summary_part.added
data: {"type":"response.reasoning_summary_part.added","sequence_number":5,"item_id":"rs_1","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":6,"item_id":"rs_1","output_index":0,"summary_index":1,"delta":"Then fix."}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"id":"rs_1","type":"reasoning","encrypted_content":"gAAA=","summary":[{"type":"summary_text","text":"**Look**"},{"type":"summary_text","text":"Then fix."}]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":9,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":10,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Run\u00adning ","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":11,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"\"tests\" \ud83d\ude00é\n","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":12,"item_id":"msg_1","output_index":1,"content_index":0,"text":"Run\u00adning \"tests\" 😀é\n","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":13,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"text":"Run\u00adning \"tests\" 😀é\n"}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":14,"output_index":1,"item":{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":"Run\u00adning \"tests\" 😀é\n"}]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":15,"output_index":2,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_a","name":"exec_command"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":16,"item_id":"fc_1","output_index":2,"delta":"{\"cmd\":"}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":17,"item_id":"fc_1","output_index":2,"delta":"\"ls\"}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":18,"item_id":"fc_1","output_index":2,"arguments":"{\"cmd\":\"ls\"}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":19,"output_index":2,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"cmd\":\"ls\"}","call_id":"call_a","name":"exec_command"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":20,"output_index":3,"item":{"id":"ctc_1","type":"custom_tool_call","status":"in_progress","call_id":"call_b","input":"","name":"apply_patch"}}

event: response.custom_tool_call_input.delta
data: {"type":"response.custom_tool_call_input.delta","sequence_number":21,"item_id":"ctc_1","output_index":3,"delta":"*** Begin Patch\n"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":22,"output_index":3,"item":{"id":"ctc_1","type":"custom_tool_call","status":"completed","call_id":"call_b","input":"*** Begin Patch\n*** End Patch\n","name":"apply_patch"}}

event: response.completed
data: {"type":"response.completed","sequence_number":23,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"Run\u00adning"}]}],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":64},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":12},"total_tokens":130}}}

"#;

const TEXT: &str = "Run\u{ad}ning \"tests\" 😀é\n";

fn whole_deltas() -> Vec<Delta> {
    let item = json!({"id": "rs_1", "type": "reasoning", "encrypted_content": "gAAA=", "summary": [
        {"type": "summary_text", "text": "**Look**"},
        {"type": "summary_text", "text": "Then fix."}]});
    let opaque = item.to_string().into_bytes();
    vec![
        Delta::Reasoning("**Look**\n\nThen fix.".to_owned()),
        Delta::ReasoningDone { opaque },
        said(TEXT),
        Delta::MessageDone,
        started("exec_command"),
        call(
            "call_a",
            "exec_command",
            "{\"cmd\":\"ls\"}",
            ArgumentsKind::Json,
        ),
        started("apply_patch"),
        call(
            "call_b",
            "apply_patch",
            "*** Begin Patch\n*** End Patch\n",
            ArgumentsKind::Freeform,
        ),
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

fn call(id: &str, tool: &str, arguments: &str, kind: ArgumentsKind) -> Delta {
    Delta::Call(Call {
        call_id: id.to_owned(),
        tool: tool.to_owned(),
        arguments: arguments.to_owned(),
        kind,
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

fn check(events: &[&str]) -> Vec<Delta> {
    harness::check_whole(Codec::Responses, &stream(events))
}

fn error(events: &[&str]) -> (SampleErrorKind, String) {
    let (_, error) = harness::check(Codec::Responses, &stream(events));
    let error = error.unwrap();
    (error.kind, error.message)
}

const COMPLETED: &str = r#"{"type":"response.completed","response":{"status":"completed"}}"#;

#[test]
fn a_whole_answer_is_read_however_it_is_cut() {
    assert_eq!(
        harness::check_whole(Codec::Responses, WHOLE),
        whole_deltas()
    );
}

#[test]
fn damage_never_panics_and_cuts_never_matter() {
    check_damaged(Codec::Responses, WHOLE);
}

#[test]
fn events_that_come_twice_count_once() {
    let events: Vec<_> = WHOLE.split_inclusive("\n\n").collect();
    let twice: String = events.iter().flat_map(|event| [*event, *event]).collect();
    // A replay of the whole stream before its end, as some proxies do when they reconnect.
    let (end, body) = events.split_last().unwrap();
    let replayed = [body.concat(), body.concat(), (*end).to_owned()].concat();
    for stream in [twice, replayed] {
        let decoded = harness::decode(Codec::Responses, [stream.as_bytes()]);
        assert_eq!(decoded, (whole_deltas(), None));
    }
}

#[test]
fn a_call_that_comes_twice_under_other_numbers_counts_once() {
    let done = |index: u32, id: &str| {
        json!({"type": "response.output_item.done", "output_index": index, "item": {
            "type": "function_call", "id": id, "call_id": "c", "name": "f", "arguments": ""}})
        .to_string()
    };
    let (first, again) = (done(0, "fc_1"), done(1, "fc_2"));
    let want = vec![
        started("f"),
        call("c", "f", "{}", ArgumentsKind::Json),
        ended(Stop::Done, [0; 4]),
    ];
    assert_eq!(check(&[&first, &again, COMPLETED]), want);
}

#[test]
fn text_comes_once_whichever_events_bring_it() {
    let delta = |text| json!({"type": "response.output_text.delta", "item_id": "m", "delta": text});
    let done = json!({"type": "response.output_text.done", "item_id": "m", "text": "one two"});
    let message = json!({"type": "message", "id": "m",
                         "content": [{"type": "output_text", "text": "one two"}]});
    let nameless = json!({"type": "message", "content": message["content"]});
    let item = json!({"type": "response.output_item.done", "item": message});
    let end = |item: &Value| json!({"type": "response.completed", "response": {"status": "completed", "output": [item]}});
    let bare: Value = serde_json::from_str(COMPLETED).unwrap();
    let table = [
        ("deltas", vec![delta("one "), delta("two"), bare.clone()]),
        ("done", vec![done.clone(), bare.clone()]),
        ("item", vec![item.clone(), bare.clone()]),
        ("response", vec![end(&message)]),
        (
            "a delta was lost",
            vec![delta("one"), done.clone(), bare.clone()],
        ),
        (
            "all",
            vec![delta("one "), delta("two"), done, item, end(&message)],
        ),
        ("deltas and response", vec![delta("one two"), end(&message)]),
        (
            "deltas and response, no id",
            vec![delta("one two"), end(&nameless)],
        ),
    ];
    for (name, events) in table {
        let events: Vec<_> = events.iter().map(Value::to_string).collect();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let want = vec![
            said("one two"),
            Delta::MessageDone,
            ended(Stop::Done, [0; 4]),
        ];
        assert_eq!(check(&events), want, "{name}");
    }
}

#[test]
fn the_reason_to_stop_is_told() {
    let incomplete = |reason: &str| {
        json!({"type": "response.incomplete", "response": {
            "status": "incomplete", "incomplete_details": {"reason": reason}}})
        .to_string()
    };
    let text = r#"{"type":"response.output_text.delta","delta":"a"}"#;
    let refusal = r#"{"type":"response.refusal.delta","delta":"a"}"#;
    let half = r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a","status":"incomplete"}}"#;
    let limit = incomplete("max_output_tokens");
    let filter = incomplete("content_filter");
    let table = [
        ([text, COMPLETED], Stop::Done),
        ([text, &limit], Stop::MaxTokens),
        ([text, &filter], Stop::Refused),
        ([refusal, COMPLETED], Stop::Refused),
    ];
    for (events, stop) in table {
        let want = vec![said("a"), Delta::MessageDone, ended(stop, [0; 4])];
        assert_eq!(check(&events), want, "for {events:?}");
    }
    assert_eq!(check(&[half, &limit]), [ended(Stop::MaxTokens, [0; 4])]);
}

#[test]
fn half_an_emoji_is_replaced() {
    let half = r#"{"type":"response.output_text.delta","delta":"a\ud83d"}"#;
    let want = vec![
        said("a\u{fffd}"),
        Delta::MessageDone,
        ended(Stop::Done, [0; 4]),
    ];
    assert_eq!(check(&[half, COMPLETED]), want);
}

#[test]
fn unknown_events_are_skipped() {
    let events = [
        r#"{"type":"response.new_thing","delta":{"not":"text"},"item":7}"#,
        r#"{"type":"keepalive","sequence_number":3}"#,
        r#"{"type":"response.output_item.done","item":{"type":"web_search_call","id":"ws"}}"#,
        r#"{"type":"response.output_text.delta","delta":"a"}"#,
        COMPLETED,
        "[DONE]",
    ];
    let want = vec![said("a"), Delta::MessageDone, ended(Stop::Done, [0; 4])];
    assert_eq!(check(&events), want);
}

#[test]
fn an_answer_without_its_end_is_no_answer() {
    let text = r#"{"type":"response.output_text.delta","delta":"a"}"#;
    let created = r#"{"type":"response.created","response":{"status":"in_progress"}}"#;
    let failed = |code: &str| {
        let error = json!({"code": code, "message": "bad day"});
        json!({"type": "response.failed", "response": {"status": "failed", "error": error}})
            .to_string()
    };
    let (overloaded, limited) = (failed("server_error"), failed("rate_limit_exceeded"));
    let flat = r#"{"type":"error","code":"context_length_exceeded","message":"too long"}"#;
    let nested = r#"{"type":"error","error":{"type":"server_error","message":"oops"}}"#;
    let table: &[(&[&str], _, _)] = &[
        (
            &[text],
            SampleErrorKind::Cut,
            "ended its answer before it was whole",
        ),
        (
            &[created],
            SampleErrorKind::Cut,
            "ended its answer before it was whole",
        ),
        (
            &[],
            SampleErrorKind::Cut,
            "ended its answer before it was whole",
        ),
        (
            &[text, "{\"type\":"],
            SampleErrorKind::Garbage,
            "sent an event that is not JSON",
        ),
        (
            &[r#"{"type":"response.output_text.delta","delta":7}"#],
            SampleErrorKind::Garbage,
            "sent a malformed `response.output_text.delta`",
        ),
        (
            &[text, &overloaded],
            SampleErrorKind::Cut,
            "reported an error: bad day",
        ),
        (
            &[&overloaded],
            SampleErrorKind::Unreachable,
            "reported an error: bad day",
        ),
        (
            &[text, &limited],
            SampleErrorKind::RateLimited,
            "reported an error: bad day",
        ),
        (
            &[flat],
            SampleErrorKind::BadRequest,
            "reported an error: too long",
        ),
        (
            &[nested],
            SampleErrorKind::Unreachable,
            "reported an error: oops",
        ),
    ];
    for (events, kind, message) in table {
        assert_eq!(error(events), (*kind, (*message).to_owned()), "{events:?}");
    }
}

#[test]
fn a_web_page_is_garbage() {
    let page = "<!DOCTYPE html>\n<html><body>\nGateway\n</body></html>\n";
    let (deltas, error) = harness::check(Codec::Responses, page);
    assert_eq!(deltas, []);
    assert_eq!(error.unwrap().kind, SampleErrorKind::Garbage);
}

#[test]
fn an_answer_that_was_not_streamed_is_read_too() {
    let item = json!({"type": "message", "id": "m", "content": [
        {"type": "output_text", "text": "hi"}]});
    let body = json!({"object": "response", "status": "completed", "output": [item],
                      "usage": {"input_tokens": 3, "output_tokens": 1}});
    let mut deltas = Vec::new();
    let mut decoder = Codec::Responses.decoder();
    decoder
        .whole(body.to_string().as_bytes(), &mut deltas)
        .unwrap();
    let want = vec![
        said("hi"),
        Delta::MessageDone,
        ended(Stop::Done, [3, 0, 1, 0]),
    ];
    assert_eq!(deltas, want);
    for (body, kind) in [
        (
            r#"{"error":{"message":"no"}}"#,
            SampleErrorKind::Unreachable,
        ),
        (r#"{"hello":1}"#, SampleErrorKind::Garbage),
        ("{", SampleErrorKind::Garbage),
    ] {
        let mut decoder = Codec::Responses.decoder();
        let error = decoder.whole(body.as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind, kind, "for {body}");
    }
}
