//! What is left when a daemon, a keeper or a session is gone.

use quire_sandbox::{
    record::EXIT_FILE,
    remnant::{REMNANTS_FILE, Remnants},
};

use super::*;

fn keeper(world: &World, job: &Job) -> rustix::process::Pid {
    let JobState::Running(keeper) = job::state(&world.jobs.directory(job.id())).unwrap() else {
        panic!("it should run");
    };
    assert_eq!(keeper.pid, job.pid());
    rustix::process::Pid::from_raw(keeper.pid as i32).unwrap()
}

fn kill(pid: rustix::process::Pid) {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Waits, with a deadline, until there is no such directory.
async fn gone(path: &Path) {
    let removed = async {
        while path.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), removed).await;
    assert!(waited.is_ok(), "`{}` stays", path.display());
}

async fn walk(jobs: &Jobs, known: Option<&HashSet<SessionId>>) {
    jobs.walk().await.settle(known).await;
}

#[tokio::test]
async fn a_walk_connects_to_what_runs_and_leaves_what_may_be_somebodys() {
    let world = World::new();
    let runs = world.start(world.spec("sleep 600")).await;
    let ended = world.start(world.spec("exit 5")).await;
    ended.wait_exit().await;
    let killed = world.start(world.spec("echo in; sleep 600")).await;
    printed(&killed, "in").await;
    kill(keeper(&world, &killed));
    killed.wait_exit().await;
    for known in [None, Some(HashSet::from([world.session.clone()]))] {
        let jobs = world.other_daemon();
        walk(&jobs, known.as_ref()).await;
        assert_eq!(jobs.count(), 1);
        assert_eq!(jobs.get(runs.id()).unwrap().pid(), runs.pid());
        let states: HashMap<_, _> = jobs
            .kept()
            .into_iter()
            .map(|kept| (kept.id, kept.state))
            .collect();
        assert_eq!(states[killed.id()], JobState::Lost, "never an exit code");
        assert!(matches!(&states[ended.id()], JobState::Ended(exit) if exit.code == Some(5)));
        assert_eq!(states.len(), 3);
    }
}

#[tokio::test]
async fn what_belongs_to_no_session_is_stopped_and_removed_but_detached_jobs() {
    let world = World::new();
    let detached = |spec: JobSpec| JobSpec {
        label: Label {
            lifetime: Lifetime::Detached,
            ..spec.label
        },
        ..spec
    };
    let runs = world.start(world.spec("sleep 600")).await;
    let lasts = world.start(detached(world.spec("sleep 600"))).await;
    let ended = world.start(world.spec("exit 5")).await;
    let kept = world.start(detached(world.spec("exit 5"))).await;
    ended.wait_exit().await;
    kept.wait_exit().await;
    let scratch = world.jobs.scratch(&SessionId::random()).unwrap();
    let in_use = world.jobs.scratch(&world.session).unwrap();
    let of = |job: &Job| world.jobs.directory(job.id());

    let jobs = world.other_daemon();
    walk(&jobs, Some(&HashSet::new())).await;
    gone(&of(&runs)).await;
    gone(&of(&ended)).await;
    gone(&scratch).await;
    assert!(record(runs.wait_exit().await).stopped);
    assert!(lasts.ended().is_none() && of(&kept).exists());
    // Of its session, and used by the one that lasts.
    assert!(in_use.exists());

    // Its time is over.
    let later = world.other_daemon_with(JobsConfig {
        max_hours: 0,
        ..JobsConfig::default()
    });
    // A clock that has not moved since the end says that no time is over.
    let exit = of(&kept).join(EXIT_FILE);
    let old = ExitRecord {
        started_ms: 1,
        ..quire_sandbox::record::read(&of(&kept), EXIT_FILE).unwrap()
    };
    std::fs::write(exit, serde_json::to_vec(&old).unwrap()).unwrap();
    walk(&later, Some(&HashSet::new())).await;
    gone(&of(&kept)).await;
    lasts.stop().await;
}

#[tokio::test]
async fn what_a_killed_keeper_left_is_removed_by_whoever_finds_it_gone() {
    let world = World::new();
    let placeholder = world.at("ws/.vscode");
    let make = || {
        std::fs::create_dir(&placeholder).unwrap();
        let epoch = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        let directory = std::fs::File::open(&placeholder).unwrap();
        directory.set_times(epoch).unwrap();
    };
    // Found by the daemon that started it. A full-access job makes none, so it is put there.
    let job = world.start(world.spec("echo in; sleep 600")).await;
    printed(&job, "in").await;
    let note = world.jobs.directory(job.id()).join(REMNANTS_FILE);
    let own: Remnants =
        record::read(&world.jobs.directory(job.id()), REMNANTS_FILE).unwrap_or_default();
    let noted = || {
        make();
        let remnants = Remnants {
            placeholders: vec![placeholder.clone()],
            cgroup: own.cgroup.clone(),
        };
        std::fs::write(&note, serde_json::to_vec(&remnants).unwrap()).unwrap();
    };
    noted();
    kill(keeper(&world, &job));
    assert_eq!(job.wait_exit().await, Ended::Unknown);
    gone(&note).await;
    assert!(!placeholder.exists());
    // Found by another.
    noted();
    walk(&world.other_daemon(), None).await;
    gone(&note).await;
    assert!(!placeholder.exists());
}

#[tokio::test]
async fn what_keepers_left_that_died_before_they_had_made_their_job_is_removed() {
    let world = World::new();
    let jobs = world.at("state/jobs");
    let dead = jobs.join(format!("{}.new-{}", JobId::random(), i32::MAX));
    let alive = jobs.join(format!("{}.new-{}", JobId::random(), std::process::id()));
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::create_dir_all(&alive).unwrap();
    walk(&world.jobs, None).await;
    assert!(!dead.exists() && alive.exists());
}

#[tokio::test]
async fn a_keeper_that_does_not_answer_does_not_hold_up_a_start() {
    let world = World::new();
    let job = world.start(world.spec("sleep 600")).await;
    let pid = keeper(&world, &job);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let jobs = world.other_daemon();
    walk(&jobs, None).await;
    assert_eq!(jobs.count(), 0);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let adopted = jobs.adopt(&world.session, job.id()).await.unwrap();
    assert!(matches!(adopted, Adopted::Running(_)));
    assert!(record(job.stop().await).stopped);
}

#[tokio::test]
async fn detached_jobs_are_bounded_in_number_and_age_over_all_daemons() {
    let world = World::new();
    let bounds = JobsConfig {
        max_detached: 1,
        max_hours: 24,
    };
    let jobs = world.other_daemon_with(bounds);
    let start = async |spec: JobSpec| {
        jobs.start(&SessionId::random(), &JobId::random(), spec)
            .await
    };
    let (first, second) = (
        start(world.spec("sleep 600")).await.unwrap(),
        start(world.spec("sleep 600")).await.unwrap(),
    );
    jobs.detach(first.id().clone()).await.unwrap();
    jobs.detach(first.id().clone()).await.unwrap();
    assert_eq!(jobs.record(first.id()).label.lifetime, Lifetime::Detached);
    let refused = jobs.detach(second.id().clone()).await.unwrap_err();
    let sentence = "1 jobs are detached already: end one first, `quire jobs` lists them";
    assert_eq!(refused, sentence);
    let mut spec = world.spec("sleep 600");
    spec.label.lifetime = Lifetime::Detached;
    let refused = start(spec.clone()).await.unwrap_err();
    assert!(matches!(refused, JobError::TooManyDetached(1)));
    // Another daemon counts those it finds.
    let other = world.other_daemon_with(bounds);
    walk(&other, None).await;
    assert_eq!(
        other.detach(second.id().clone()).await.unwrap_err(),
        sentence
    );
    first.stop().await;
    jobs.detach(second.id().clone()).await.unwrap();
    second.stop().await;
    let refused = jobs.detach(second.id().clone()).await.unwrap_err();
    assert_eq!(refused, "the job no longer runs");

    // The keeper itself minds the time.
    let brief = world.other_daemon_with(JobsConfig {
        max_hours: 0,
        ..bounds
    });
    let job = start(world.spec("sleep 600")).await.unwrap();
    brief.detach(job.id().clone()).await.unwrap();
    // As that daemon hears it: its place is free then.
    let ended = brief.ended(job.session().clone(), job.id().clone()).await;
    assert!(ended.timed_out);
    let job = brief
        .start(&world.session, &JobId::random(), spec)
        .await
        .unwrap();
    assert!(record(job.wait_exit().await).timed_out);
}

#[tokio::test]
async fn a_request_with_an_id_is_carried_out_once_also_for_another_daemon() {
    let world = World::new();
    // A signal ends `read` without a line.
    let script =
        "trap 'echo caught' USR1; echo in; while [ \"$x\" != end ]; do read x && echo $x; done";
    let job = world
        .start(JobSpec {
            stdin: Stdin::Pipe,
            ..world.spec(script)
        })
        .await;
    printed(&job, "in").await;
    let other = world.other_daemon();
    let Ok(Adopted::Running(adopted)) = other.adopt(&world.session, job.id()).await else {
        panic!("it should run");
    };
    for handle in [&job, &adopted, &adopted] {
        handle.write(Some("w"), b"one\n").await.unwrap();
        handle.signal(Some("s"), 10).await.unwrap();
    }
    printed(&job, "caught").await;
    adopted.write(Some("v"), b"two\n").await.unwrap();
    adopted.write(None, b"two\n").await.unwrap();
    adopted.write(None, b"end\n").await.unwrap();
    let text = text(job.follow(0)).await;
    let count = |line: &str| text.lines().filter(|found| *found == line).count();
    assert_eq!(
        (count("one"), count("two"), count("caught")),
        (1, 2, 1),
        "{text}"
    );
}

#[tokio::test]
async fn output_is_replayed_from_any_byte_by_daemons_to_come() {
    let world = World::new();
    let job = world
        .start(JobSpec {
            stdin: Stdin::Pipe,
            ..world.spec("echo one; read x; echo two; exit 3")
        })
        .await;
    printed(&job, "one").await;
    let other = world.other_daemon();
    let Ok(Adopted::Running(adopted)) = other.adopt(&world.session, job.id()).await else {
        panic!("it should run");
    };
    let following = tokio::spawn({
        let mut follow = adopted.follow(2);
        async move {
            let mut bytes = Vec::new();
            while let Some(chunk) = follow.next().await.unwrap() {
                assert_eq!(chunk.offset, 2 + bytes.len() as u64);
                bytes.extend(chunk.bytes);
            }
            bytes
        }
    });
    adopted.write(None, b"\n").await.unwrap();
    let ended = other.ended(world.session.clone(), job.id().clone()).await;
    assert_eq!((ended.exit_code, ended.output_bytes), (Some(3), 8));
    assert_eq!(following.await.unwrap(), b"e\ntwo\n");
    let third = world.other_daemon();
    let ended = third.ended(world.session.clone(), job.id().clone()).await;
    assert_eq!(ended.exit_code, Some(3));
    let mut rest = snapshot(third.directory(job.id()), 5);
    assert_eq!(rest.next().await.unwrap().unwrap().bytes, b"wo\n");
}
