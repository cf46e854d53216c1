"""Owns the RPCs that this version does not answer. Each leaves this list when it is built."""

from google.protobuf.message import Message

from authsvc.core.errors import NotImplementedYet
from authsvc.rpc.call import Call


async def _refuse(_self: object, _request: Message, _call: Call) -> Message:
    raise NotImplementedYet


class NotYet:
    """AdminService methods that answer UNIMPLEMENTED."""

    ListAuditEvents = _refuse
