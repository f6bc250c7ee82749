"""A watcher that can be killed at any instant: `follow.py SESSION JOURNAL`.

Whatever it is shown goes to the journal first, a line of JSON each, and the text of it to standard output.
When it has the past it says `synced` to standard error. Started again with the same journal it goes on from
the cursor it left, and holds the daemon to leave nothing out and say nothing twice. It ends with the
session's first turn.
"""

import base64
import json
import sys
from pathlib import Path

from client import Client
from google.protobuf.json_format import MessageToDict


class Reader:
    """Where a reader stands: the newest event it has, and what it has of each item that still grows."""

    def __init__(self):
        self.seq, self.growing = 0, {}

    def takes(self, line):
        """One more line of the journal."""
        if "event" in line:
            self.event(line["event"])
        else:
            item, offset = line["item"], line["offset"]
            have = self.growing.setdefault(item, b"")
            assert offset == len(have), f"item {item}: bytes from {offset} where {len(have)} was due"
            self.growing[item] = have + base64.b64decode(line["data"])

    def event(self, event):
        """Events are dense; an item that is complete is what it had grown to, and more."""
        seq = int(event["seq"])
        assert seq == self.seq + 1, f"event {seq} where {self.seq + 1} was due"
        self.seq = seq
        item = event.get("itemCompleted", {}).get("item", {})
        have = self.growing.pop(int(item.get("id", 0)), b"")
        whole = item.get("message", item.get("reasoning", {})).get("text", "")
        assert "message" not in item or whole.encode().startswith(have), f"{have} became {whole}"

    def cursor(self):
        """What a watch goes on from."""
        growing = [{"item": item, "offset": len(have)} for item, have in self.growing.items()]
        return {"seq": self.seq, "growing": growing}


def line_of(update):
    """An update as a line of the journal; `None` for what isn't worth one."""
    kind = update.WhichOneof("update")
    if kind == "event":
        return {"event": MessageToDict(update.event)}
    if kind == "delta":
        data = base64.b64encode(update.delta.data).decode()
        return {"item": update.delta.item, "offset": update.delta.offset, "data": data}
    return None


def main(session, journal):
    journal, reader = Path(journal), Reader()
    written = journal.read_bytes() if journal.exists() else b""
    # The last line may be cut off: it was never had.
    whole = written[: written.rfind(b"\n") + 1]
    journal.write_bytes(whole)
    for line in whole.splitlines():
        reader.takes(json.loads(line))
    client = Client("follower")
    with journal.open("a") as file:
        for update in client("SessionService.Watch", session=session, after=reader.cursor(), timeout=None):
            if update.HasField("synced"):
                print("synced", file=sys.stderr, flush=True)
            line = line_of(update)
            if line is None:
                continue
            reader.takes(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            if update.WhichOneof("update") == "delta":
                print(update.delta.data.decode(), end="", flush=True)
            if "turnEnded" in line.get("event", {}):
                return


main(*sys.argv[1:])
