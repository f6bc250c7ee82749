"""Calls every RPC of the schema against a living daemon: `tour.py DIRECTORY UNANSWERED...`.

DIRECTORY is where its sessions work. UNANSWERED are the RPCs, as `SessionService.Get`, that the guide says
this version does not answer: they must say so themselves. Every other must answer, and every RPC that the
schema gains must be called here. The model has to play the script in `tests/tests/foreign.rs`.
"""

import sys
import time
from pathlib import Path

import grpc
from client import Client, details, request_id, schema
from grpc_reflection.v1alpha import reflection_pb2

DIRECTORY, UNANSWERED = Path(sys.argv[1]), set(sys.argv[2:])
WORLD = {"cwd": str(DIRECTORY), "umask": 0o022}

quire = Client("tour")


def answers(rpc, **fields):
    """The answer of a call that only newer daemons give; `None` when this one says that it can't yet."""
    if rpc in UNANSWERED:
        quire.is_refused("UNIMPLEMENTED", "NOT_YET", rpc, **fields)
        return None
    return quire(rpc, **fields)


def acts(rpc, **fields):
    """The same, for a call that changes something."""
    return answers(rpc, request_id=request_id(), **fields)


def prompt(session, text, **fields):
    return quire.acts("TurnService.Prompt", session=session, prompt={"text": text}, **fields)


def world(environment):
    return {**WORLD, "environment": environment}


def daemon():
    status = quire("DaemonService.GetStatus")
    assert status.instance_id == quire.hello.instance_id and status.version == quire.hello.daemon_version
    clients = quire("DaemonService.ListClients").clients
    assert [one.name for one in clients if one.id == quire.hello.client_id] == ["tour"], clients
    lines = [one.line for one in quire("DaemonService.TailLog", lines=50)]
    assert any("ready" in line for line in lines), lines
    models = quire("DaemonService.ListModels", world=world({}))
    assert models.default_model == "mock/scripted", models


def made(environment):
    """A session; asked for twice, made once."""
    request = {"request_id": request_id(), "world": world(environment), "title": "the tour"}
    session = quire("SessionService.Create", **request).session
    again = quire("SessionService.Create", **request).session
    assert session.id == again.id and session.cwd == str(DIRECTORY), (session, again)
    listed = quire("SessionService.List").sessions
    assert [one.id for one in listed] == [session.id], listed
    assert quire("SessionService.Get", session="the tour").session.id == session.id
    asks_first = {"id": session.id, "policy": {"approve": "APPROVE_POLICY_UNTRUSTED"}}
    mask = {"paths": ["policy.approve"]}
    changed = quire.acts("SessionService.Update", session=asks_first, update_mask=mask).session
    assert changed.policy.approve == 1, changed
    return session.id


def the_world(session):
    told = answers("SessionService.GetWorld", session=session)
    if told is None:
        return
    assert told.world.cwd == str(DIRECTORY) and told.world.environment["GREETING"] == "hello", told
    assert "MOCK_API_KEY" in told.secrets and "MOCK_API_KEY" not in told.world.environment, told


def approval(session):
    """The first turn waits for a person; two answer, the first wins."""
    request = {"request_id": request_id(), "session": session, "prompt": {"text": "make it"}}
    sent = quire("TurnService.Prompt", **request)
    assert quire("TurnService.Prompt", **request) == sent, "the same request is the same turn"
    assert quire("TurnService.Wait", session=session).needs_approval
    [asked] = quire("ApprovalService.List").approvals
    assert asked.session_id == session and asked.turn == sent.turn, asked
    assert asked.files[0].path.endswith("made.txt"), asked
    decision = {"session": session, "approval": asked.id, "verdict": "APPROVAL_VERDICT_ONCE"}
    decided = quire.acts("ApprovalService.Decide", **decision).approval
    assert decided.answer.by.name == "tour", decided
    decision["verdict"] = "APPROVAL_VERDICT_DENY"
    told = quire.is_refused(
        "FAILED_PRECONDITION", "ANSWERED", "ApprovalService.Decide", request_id=request_id(), **decision
    )
    assert "tour" in told, f"who else answered is told: {told}"
    ended = quire("TurnService.Wait", session=session)
    assert (ended.turn, ended.stop_reason, ended.error) == (1, 1, ""), ended
    assert (DIRECTORY / "made.txt").read_text() == "made\n"
    asks_less = {"id": session, "policy": {"approve": "APPROVE_POLICY_ON_REQUEST"}}
    quire.acts("SessionService.Update", session=asks_less, update_mask={"paths": ["policy.approve"]})


def watching(session):
    """The whole history, by watching and by pages, and an observer that may do nothing else."""
    events = []
    watch = quire("SessionService.Watch", session=session)
    for update in watch:
        if update.WhichOneof("update") == "synced":
            break
        if update.WhichOneof("update") == "event":
            events.append(update.event)
    watch.cancel()
    assert [one.seq for one in events] == list(range(1, update.synced.seq + 1))
    page = quire("SessionService.ListEvents", session=session, page_size=10_000)
    assert list(page.events) == events and page.head_seq == len(events)
    ahead = {"session": session, "after": {"seq": 1_000_000}}
    quire.is_refused("DATA_LOSS", "HISTORY_SHORTER", "SessionService.Watch", **ahead)
    observer = Client("onlooker", observer=True)
    assert observer("SessionService.Get", session=session).session.id == session
    act = {"request_id": request_id(), "session": session, "prompt": {"text": "no"}}
    observer.is_refused("PERMISSION_DENIED", "OBSERVER", "TurnService.Prompt", **act)
    observer.close()


def large():
    """The longest prompt there may be comes back as one event, beyond what grpcio takes by itself."""
    text = "x" * (4 << 20)
    session = quire.acts("SessionService.Create", world=world({})).session.id
    prompt(session, text)
    watch = quire("SessionService.Watch", session=session)
    items = (update.event.item_completed.item for update in watch)
    assert next(item.prompt.text for item in items if item.HasField("prompt")) == text
    watch.cancel()
    more = {"request_id": request_id(), "session": session, "prompt": {"text": text + "x" * (64 << 10)}}
    quire.is_refused("RESOURCE_EXHAUSTED", "TOO_LARGE", "TurnService.Prompt", **more)
    quire.acts("TurnService.Interrupt", session=session)
    quire.acts("SessionService.Delete", session=session)


def workspace(session):
    place = str(DIRECTORY)
    found = quire("WorkspaceService.FindFiles", workspace=place, query="made")
    assert [one.path for one in found.files] == ["made.txt"], found
    changes = quire("WorkspaceService.Changes", session=session)
    assert [one.path.endswith("made.txt") for one in changes.files] == [True], changes
    answers("WorkspaceService.FindSymbols", workspace=place, query="made")
    answers("WorkspaceService.Map", workspace=place)
    status = answers("WorkspaceService.Status", workspace=place)
    assert status is None or status.files >= 1, status


def jobs(session):
    """The second turn leaves `cat` running on a terminal."""
    prompt(session, "start it")
    assert quire("TurnService.Wait", session=session).turn == 2
    [job] = quire("JobService.List", session=session).jobs
    assert job.pty and quire("JobService.Get", job=job.id).job == job
    quire.acts("JobService.Resize", job=job.id, columns=100, rows=30)
    write = {"request_id": request_id(), "job": job.id, "data": b"hello\n"}
    quire("JobService.Write", **write)
    quire("JobService.Write", **write)
    read, output = quire("JobService.ReadOutput", job=job.id, follow=True), b""
    for piece in read:
        assert piece.offset == len(output)
        output += piece.data
        if output.count(b"hello") == 2:
            break
    read.cancel()
    detached = quire.acts("JobService.Detach", job=job.id).job
    assert detached.lifetime == 3, detached
    quire.is_refused("DEADLINE_EXCEEDED", "STILL_RUNNING", "JobService.Wait", job=job.id, timeout_ms=20)
    quire.acts("JobService.Signal", job=job.id, signal=9)
    ended = quire("JobService.Wait", job=job.id).job
    assert ended.exit_code == 137, ended
    whole = b"".join(piece.data for piece in quire("JobService.ReadOutput", job=job.id))
    assert whole.count(b"hello") == 2, f"a write that was sent again was written again: {whole}"
    quire.is_refused("FAILED_PRECONDITION", "JOB_ENDED", "JobService.Write", **{**write, "request_id": request_id()})
    started = acts("JobService.Start", session=session, command="echo by hand")
    if started is not None:
        assert quire("JobService.Wait", job=started.job.id).job.exit_code == 0


def queue(session):
    """The third turn runs until it is interrupted; prompts wait behind it meanwhile."""
    running = prompt(session, "wait").turn
    now = {"request_id": request_id(), "session": session, "prompt": {"text": "now"}}
    quire.is_refused("ABORTED", "BUSY", "TurnService.Prompt", mode="PROMPT_MODE_START", **now)
    quire.is_refused("ABORTED", "OTHER_TURN", "TurnService.Prompt", expected_turn=running + 1, **now)
    names = [request_id(), request_id()]
    for name in names:
        fields = {"session": session, "prompt": {"text": name}, "mode": "PROMPT_MODE_QUEUE"}
        assert quire("TurnService.Prompt", request_id=name, **fields).turn == 0
    waiting = quire("TurnService.ListQueue", session=session).prompts
    assert [(one.request_id, one.by.name) for one in waiting] == [(name, "tour") for name in names]
    change = {"session": session, "prompt_request_id": names[1], "prompt": {"text": "first"}, "before": names[0]}
    changed = acts("TurnService.ChangeQueued", **change)
    if changed is not None:
        texts = [(one.request_id, one.prompt.text) for one in changed.prompts]
        assert texts == [(names[1], "first"), (names[0], names[0])], changed
    for name in names:
        quire.acts("TurnService.RemoveQueued", session=session, prompt_request_id=name)
    gone = {"request_id": request_id(), "session": session, "prompt_request_id": names[0]}
    quire.is_refused("NOT_FOUND", "NOT_QUEUED", "TurnService.RemoveQueued", **gone)
    assert quire.acts("TurnService.Interrupt", session=session, expected_turn=running).turn == running
    assert quire("TurnService.Wait", session=session).stop_reason == 2


def keeping(session):
    """A session as a file, found again, copied, hidden and removed."""
    found = answers("SessionService.Search", query="make")
    # What is searched is brought up to date behind the scenes.
    deadline = time.monotonic() + 30
    while found is not None and not found.hits and time.monotonic() < deadline:
        found = quire("SessionService.Search", query="make")
    assert found is None or found.hits[0].session.id == session, found
    fork = acts("SessionService.Fork", session=session, world=world({}), title="another way")
    if fork is not None:
        assert (fork.session.forked_from, fork.session.title) == (session, "another way"), fork
        quire.acts("SessionService.Delete", session=fork.session.id)
    acts("TurnService.Compact", session=session)
    acts("TurnService.Rewind", session=session, turn=2, conversation=True, preview=True)
    quire.acts("SessionService.Archive", session=session)
    listed = quire("SessionService.List").sessions
    assert not listed, listed
    pieces = [piece.chunk for piece in quire("SessionService.Export", session=session)]
    delete = {"request_id": request_id(), "session": session}
    quire("SessionService.Delete", **delete)
    quire("SessionService.Delete", **delete)
    quire.is_refused("NOT_FOUND", "NOT_FOUND", "SessionService.Get", session=session)
    begin = {"request_id": request_id(), "world": world({})}
    rest = [{"chunk": piece} for piece in pieces]
    back = quire("SessionService.Import", requests=[begin, *rest])
    # The id was taken here once, and no id is ever given twice.
    assert back.session.title == "the tour" and back.session.id != session, back


def whole_daemon(session):
    """What dashboards see."""
    rpc = "DaemonService.Watch"
    if rpc in UNANSWERED:
        return quire.is_refused("UNIMPLEMENTED", "NOT_YET", rpc)
    seen, watch = [], quire(rpc)
    for update in watch:
        if update.WhichOneof("update") == "synced":
            break
        seen.append(update)
    watch.cancel()
    assert session in [one.session.id for one in seen if one.HasField("session")], seen


def strangers():
    """Calls that show no token are told so; an RPC that is none is too."""
    known, quire.metadata = quire.metadata, []
    quire.is_refused("UNAUTHENTICATED", "TOKEN_MISSING_OR_WRONG", "DaemonService.GetStatus")
    quire.metadata = known
    nothing = quire.channel.unary_unary("/quire.v1.TurnService/NoSuchCall")
    try:
        nothing(b"", metadata=quire.metadata)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED and details(error).reason == "NO_SUCH_METHOD"
    else:
        raise AssertionError("a call that is none was answered")


def reflection():
    """What tools without the schema ask for, in both versions of the protocol; it needs no token."""
    request = reflection_pb2.ServerReflectionRequest
    asks = [request(list_services="*"), request(file_containing_symbol="quire.v1.SessionService")]
    for version in ("v1", "v1alpha"):
        # The messages are the same in both.
        ask = quire.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        services, files = ask(iter(asks))
        names = {one.name for one in services.list_services_response.service}
        assert names >= {f"quire.v1.{name.split('.')[0]}" for name in schema()}, names
        assert files.file_descriptor_response.file_descriptor_proto, files


def farewell():
    """The last call: it ends the daemon."""
    ended = quire.acts("DaemonService.Shutdown", mode="SHUTDOWN_MODE_DRAIN")
    assert ended.pid, ended


def accounts():
    """Every RPC was called; each was answered, or said that it isn't yet."""
    for rpc in schema():
        if rpc in UNANSWERED:
            assert quire.refused.get(rpc) == {"UNIMPLEMENTED"} and rpc not in quire.answered, rpc
        else:
            assert rpc in quire.answered, f"{rpc} was never answered: call it in the tour"
    print(f"{len(schema())} RPCs: {len(quire.answered)} answered, {len(UNANSWERED)} not yet")


def main():
    daemon()
    session = made({"GREETING": "hello", "MOCK_API_KEY": "sk-mock-0123456789abcdef", "PATH": "/usr/bin:/bin"})
    the_world(session)
    approval(session)
    watching(session)
    large()
    workspace(session)
    jobs(session)
    queue(session)
    whole_daemon(session)
    keeping(session)
    strangers()
    reflection()
    farewell()
    accounts()


main()
