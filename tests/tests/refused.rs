//! Messages that no client of ours would send: refused with a code and a reason, and nothing else is
//! harmed.

use quire_proto::v1::{PromptItem, TurnServicePromptRequest};
use quire_tests::{
    home::Home,
    model::{MockModel, Reply, Wire},
    processes::proportional,
    rpc::Rpc,
};
use tonic::Code;

const PROMPT: &str = "/quire.v1.TurnService/Prompt";

fn long_prompt(bytes: usize) -> TurnServicePromptRequest {
    TurnServicePromptRequest {
        request_id: "long".to_owned(),
        session: "nobody".to_owned(),
        prompt: Some(PromptItem {
            text: "x".repeat(bytes),
            ..PromptItem::default()
        }),
        ..TurnServicePromptRequest::default()
    }
}

#[test]
fn a_message_that_cannot_be_taken_says_why() {
    let model = MockModel::playing([Reply::say("never asked for")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let refused = |path: &str, request: TurnServicePromptRequest| {
        let status = rpc.call_with(path, request).expect_err("it is refused");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        (status.code(), details)
    };
    let (code, details) = refused(PROMPT, long_prompt(5 << 20));
    assert_eq!(code, Code::ResourceExhausted);
    assert!(details.contains("TOO_LARGE"), "{details}");

    let (code, details) = refused(PROMPT, long_prompt(4 << 20));
    assert_eq!(code, Code::NotFound, "a prompt of 4 MiB is taken");
    assert!(details.contains("NOT_FOUND"), "{details}");

    let (code, details) = refused("/quire.v1.TurnService/Nothing", long_prompt(1));
    assert_eq!(code, Code::Unimplemented);
    assert!(details.contains("NO_SUCH_METHOD"), "{details}");

    // A number where the request has text.
    let malformed = rpc.call_with(PROMPT, 7_u64);
    let status = malformed.expect_err("it is refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(String::from_utf8_lossy(status.details()).contains("INVALID"));
    assert_eq!(rpc.newest(), None, "the daemon answers as before");
}

#[test]
fn large_messages_are_not_kept() {
    let model = MockModel::playing([Reply::say("never asked for")]);
    let home = Home::asking(&model, Wire::Responses);
    let rpc = Rpc::starting(&home);
    let daemon = home.daemon().expect("a daemon runs");
    let _warm = rpc.call_with(PROMPT, long_prompt(5 << 20));
    let before = proportional(daemon);
    for _ in 0..40 {
        let refused = rpc.call_with(PROMPT, long_prompt(8 << 20));
        assert_eq!(
            refused.expect_err("it is refused").code(),
            Code::ResourceExhausted
        );
    }
    let more = proportional(daemon).saturating_sub(before) >> 20;
    // A few messages' worth stays with the allocator, for each of its threads.
    assert!(more < 32, "{more} MiB after 320 that were refused");
}
