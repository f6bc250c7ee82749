//! Decodes fixtures in tests, in one piece or in many.

use proptest::prelude::*;

use super::*;

/// What came of an answer: deltas with neighbouring texts joined, and the error, if any.
pub(super) type Decoded = (Vec<Delta>, Option<SampleError>);

pub(super) fn decode<'a>(codec: Codec, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = codec.decoder();
    let mut deltas = Vec::new();
    for piece in pieces {
        let mut batch = Vec::new();
        let result = decoder.feed(piece, &mut batch);
        batch.into_iter().for_each(|delta| join(&mut deltas, delta));
        if let Err(error) = result {
            return (deltas, Some(error));
        }
    }
    let mut batch = Vec::new();
    let result = decoder.finish(&mut batch);
    batch.into_iter().for_each(|delta| join(&mut deltas, delta));
    (deltas, result.err())
}

/// Decodes an answer in one piece, after making sure that it does not matter how it is cut.
pub(super) fn check(codec: Codec, stream: &str) -> Decoded {
    let whole = decode(codec, [stream.as_bytes()]);
    for cut in 0..stream.len() {
        let (head, tail) = stream.as_bytes().split_at(cut);
        assert_eq!(decode(codec, [head, tail]), whole, "cut at {cut}");
    }
    let bytes = stream.as_bytes().chunks(1);
    assert_eq!(decode(codec, bytes), whole, "byte by byte");
    let returns = stream.replace('\n', "\r\n");
    assert_eq!(decode(codec, [returns.as_bytes()]), whole, "with CRLF");
    whole
}

/// As [`check`], for an answer that is whole.
pub(super) fn check_whole(codec: Codec, stream: &str) -> Vec<Delta> {
    let (deltas, error) = check(codec, stream);
    assert_eq!(error, None);
    deltas
}

/// Data lines as an event stream.
pub(super) fn stream(events: &[&str]) -> String {
    let event = |data: &&str| format!("data: {data}\n\n");
    events.iter().map(event).collect()
}

/// Arbitrary cuts of arbitrarily damaged fixtures: never a panic, always the same deltas.
pub(super) fn check_damaged(codec: Codec, fixture: &'static str) {
    let damage = prop::collection::vec((0..fixture.len(), any::<u8>()), 0..4);
    let cuts = prop::collection::vec(0..fixture.len(), 0..12);
    let config = ProptestConfig::with_cases(64);
    proptest!(config, |(damage in damage, mut cuts in cuts)| {
        let mut bytes = fixture.as_bytes().to_vec();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&bytes[start..cut]);
            start = cut;
        }
        pieces.push(&bytes[start..]);
        prop_assert_eq!(decode(codec, pieces), decode(codec, [bytes.as_slice()]));
    });
}
