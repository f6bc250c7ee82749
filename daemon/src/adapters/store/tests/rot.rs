//! Bits that flip and logs that tear, many times over. `QUIRE_ROT=N` says how many.

use super::{
    corpus::{Corpus, Random, Seen, history, rounds, summary},
    *,
};

/// What came of flipping bits of one file.
#[derive(Debug, Default)]
struct Tally {
    harmless: u64,
    /// Told, and made good.
    mended: u64,
    refused: u64,
    told_at_open: u64,
    told_by_reads: u64,
    told_by_verify: u64,
    silent: Vec<u64>,
}

/// Opens what is left and puts it into one of the drawers.
async fn judge(path: &Path, corpus: &Corpus, truth: &Seen, seed: u64, tally: &mut Tally) {
    let Ok(Opened { store, notices }) = Store::open(path) else {
        tally.refused += 1;
        return;
    };
    let seen = Seen::of(&store, corpus).await;
    let drawer = if seen.answers == truth.answers && notices.is_empty() {
        &mut tally.harmless
    } else if seen.answers == truth.answers {
        &mut tally.mended
    } else if !notices.is_empty() {
        &mut tally.told_at_open
    } else if seen.told {
        &mut tally.told_by_reads
    } else if !matches!(store.verify(Pace::Full).await, Ok(none) if none.is_empty()) {
        &mut tally.told_by_verify
    } else {
        tally.silent.push(seed);
        return;
    };
    *drawer += 1;
    let _failed_is_fine = store.close().await;
}

async fn flip(commits: usize, which: fn(&mut Corpus) -> &mut Vec<u8>) -> Tally {
    let mut corpus = Corpus::new(commits).await;
    let directory = tempfile::tempdir().unwrap();
    let whole = open(&corpus.lay_out(directory.path(), true));
    let truth = Seen::of(&whole, &corpus).await;
    assert!(!truth.told);
    whole.close().await.unwrap();
    let mut tally = Tally::default();
    for seed in 0..rounds(300) {
        let mut random = Random(seed);
        let bytes = which(&mut corpus);
        let (at, mask) = (random.below(bytes.len()), 1 << random.below(8));
        bytes[at] ^= mask;
        let path = corpus.lay_out(directory.path(), true);
        judge(&path, &corpus, &truth, seed, &mut tally).await;
        which(&mut corpus)[at] ^= mask;
    }
    tally
}

#[tokio::test]
async fn a_flipped_bit_of_the_database_is_never_silent() {
    // Nothing in the log, which would hide what is below it.
    let tally = flip(0, |corpus| &mut corpus.database).await;
    eprintln!("{tally:?}");
    assert_eq!(tally.silent, [0; 0], "seeds of silent flips: {tally:?}");
    assert!(tally.mended > 0 && tally.told_by_reads > 0, "{tally:?}");
}

#[tokio::test]
async fn a_flipped_bit_of_the_log_is_never_silent() {
    // So much that part of it is in the database already.
    let tally = flip(150, |corpus| &mut corpus.log).await;
    eprintln!("{tally:?}");
    assert_eq!(tally.silent, [0; 0], "seeds of silent flips: {tally:?}");
    assert!(tally.told_at_open > 0, "{tally:?}");
}

/// Where a log may be torn: cut, or with the rest of it as some other file left it.
fn tear(log: &[u8], random: &mut Random) -> Vec<u8> {
    let at = random.below(log.len() + 1);
    let mut torn = log[..at].to_vec();
    if random.below(2) == 0 {
        torn.resize(log.len(), 0x5a);
    }
    torn
}

#[tokio::test]
async fn a_torn_log_leaves_a_dense_prefix_and_what_is_lost_is_told() {
    // Not so much that a part of it has gone to the database: power can't take back that part.
    let mut corpus = Corpus::new(40).await;
    let whole = corpus.log.clone();
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..rounds(300) {
        let mut random = Random(seed);
        corpus.log = tear(&whole, &mut random);
        for with_heads in [false, true] {
            let path = corpus.lay_out(directory.path(), with_heads);
            let Opened { store, notices } = Store::open(&path).unwrap();
            for id in &corpus.deleted {
                let is_there = store.session(id).await.unwrap().is_some();
                assert!(!(is_there && with_heads), "seed {seed}: `{id}` is back");
            }
            for (id, written) in &corpus.histories {
                let told = notices.iter().any(|notice| notice.contains(id.as_str()));
                let lost = check_prefix(&store, id, written, with_heads).await;
                assert_eq!(lost && with_heads, told, "seed {seed}: {notices:?}");
            }
            assert_eq!(store.verify(Pace::Full).await.unwrap(), [], "seed {seed}");
            store.close().await.unwrap();
        }
    }
}

/// Whether any event of the session was lost. What is left is a prefix; with heads, each one lost has its
/// marker, so that the next event gets a seq that was never given before.
async fn check_prefix(
    store: &Store,
    id: &SessionId,
    written: &[v1::Event],
    with_heads: bool,
) -> bool {
    let found = match history(store, id).await {
        Err(StoreError::Missing(_)) => return true,
        found => found.unwrap(),
    };
    let is_marker = |event: &v1::Event| matches!(event.body, Some(Body::EventLost(_)));
    let kept = found.iter().take_while(|event| !is_marker(event)).count();
    assert_eq!(found[..kept], written[..kept], "of `{id}`");
    assert!(found[kept..].iter().all(is_marker), "of `{id}`");
    let seqs = found.iter().map(|event| event.seq);
    assert!(seqs.eq(1..=found.len() as u64), "of `{id}`");
    if with_heads {
        assert_eq!(found.len(), written.len(), "of `{id}`");
    }
    let session = store.session(id).await.unwrap().unwrap();
    assert_eq!(session, summary(id, &found));
    kept < written.len()
}

#[tokio::test]
async fn a_dropped_log_is_told_and_the_session_goes_on() {
    let mut corpus = Corpus::new(60).await;
    corpus.log.clear();
    let directory = tempfile::tempdir().unwrap();
    let path = corpus.lay_out(directory.path(), true);
    let Opened { store, notices } = Store::open(&path).unwrap();
    assert!(!notices.is_empty());
    let mut went_on = 0;
    for (id, written) in &corpus.histories {
        let next = written.len() as u64 + 1;
        match store.append(append(id, [next])).await {
            Ok(()) => went_on += 1,
            // Made after the log began.
            Err(error) => assert!(matches!(error, StoreError::Missing(_)), "{error:?}"),
        }
        let reused = store.append(append(id, [next - 1])).await;
        assert!(reused.is_err(), "a seq was given twice");
    }
    assert!(went_on > 0);
    store.close().await.unwrap();
    assert_eq!(open(&path).verify(Pace::Full).await.unwrap(), []);
}
