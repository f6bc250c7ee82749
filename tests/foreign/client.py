"""A Quire client that shares no code with Quire: grpcio, and the schema in `proto`.

It finds the daemon as `proto/README.md` says, introduces itself, and makes any RPC of the schema by its
name. It starts no daemon.
"""

import json
import os
import sys
import uuid
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto"
sys.path.insert(0, str(PROTO))

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# Compiles the schema and imports what comes of it, without a file in between.
STUBS = {
    f"{name.title()}Service": grpc.protos_and_services(f"quire/v1/{name}.proto")[1]
    for name in ("approval", "daemon", "job", "session", "turn", "workspace")
}


def schema():
    """Every RPC of the schema, as `SessionService.Get`, and its descriptor."""
    services = (
        descriptor_pool.Default().FindServiceByName(f"quire.v1.{name}") for name in STUBS
    )
    return {f"{service.name}.{rpc.name}": rpc for service in services for rpc in service.methods}


def request_id():
    """A new name for one request."""
    return str(uuid.uuid4())


class Client:
    """One client of the daemon. `client("TurnService.Prompt", session=..., ...)` makes a call."""

    def __init__(self, name="python", observer=False):
        state = Path(os.environ.get("QUIRE_HOME") or Path.home() / ".local/state/quire")
        record = json.loads((state / "daemon/daemon.json").read_text())
        token = (state / "daemon/token").read_text().strip()
        self.channel = grpc.insecure_channel(
            f"unix://{record['socket']}",
            options=[
                # C-core sends the socket's path as :authority, which the daemon's HTTP/2 library refuses.
                ("grpc.default_authority", "localhost"),
                # An event is as large as what it tells, such as a prompt of 4 MiB.
                ("grpc.max_receive_message_length", -1),
            ],
        )
        # RPCs that were answered, and those that were not, by the name of the code.
        self.answered, self.refused = set(), {}
        self.metadata = [("quire-token", token)]
        self.hello = self(
            "DaemonService.Hello",
            protocol={"min": 1, "max": 1},
            client_name=name,
            pid=os.getpid(),
            observer=observer,
        )
        self.metadata += [("quire-client", self.hello.client_id)]

    def __call__(self, rpc, requests=None, timeout=60, **fields):
        """Makes a call; a stream of answers comes as an iterator that can be cancelled."""
        service, name = rpc.split(".")
        described = schema()[rpc]
        request = message_factory.GetMessageClass(described.input_type)
        method = getattr(getattr(STUBS[service], f"{service}Stub")(self.channel), name)
        if described.client_streaming:
            argument = iter([request(**one) for one in requests])
        else:
            argument = request(**fields)
        try:
            answer = method(argument, metadata=self.metadata, timeout=timeout)
            if described.server_streaming:
                return Answers(answer, lambda: self.answered.add(rpc))
        except grpc.RpcError as error:
            self.refused.setdefault(rpc, set()).add(error.code().name)
            raise
        self.answered.add(rpc)
        return answer

    def acts(self, rpc, **fields):
        """A call that changes something, under a request id of its own."""
        return self(rpc, request_id=request_id(), **fields)

    def is_refused(self, code, reason, rpc, **fields):
        """Holds the daemon to refusing a call like so; says what sentence it gave."""
        try:
            answer = self(rpc, **fields)
            if isinstance(answer, Answers):
                list(answer)
        except grpc.RpcError as error:
            self.refused.setdefault(rpc, set()).add(error.code().name)
            told = details(error)
            assert (error.code().name, told.reason, told.domain) == (code, reason, "quire.v1"), (rpc, error, told)
            assert error.details(), f"{rpc}: a refusal is a sentence"
            return error.details()
        raise AssertionError(f"{rpc} was not refused with {code} {reason}")

    def close(self):
        """Leaves."""
        self.channel.close()


class Answers:
    """A stream of answers; the first of them counts as the call's answer."""

    def __init__(self, call, began):
        self.call, self.began = call, began

    def __iter__(self):
        for answer in self.call:
            self.began()
            yield answer

    def cancel(self):
        """Leaves."""
        self.call.cancel()


def details(error):
    """The `google.rpc.ErrorInfo` that comes with every error of the daemon: reason, domain, metadata."""
    status = rpc_status.from_call(error)
    assert status is not None, f"an error without details: {error}"
    assert (status.code, status.message) == (error.code().value[0], error.details())
    infos = [any for any in status.details if any.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1, status
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    return info
