from __future__ import annotations

import pytest

from paritygate.schemas.ack import Refusal, RouterAck
from paritygate.schemas.errors import DecodeError

ACK = RouterAck(rollout_id="r1", router_id="a", sequence=1, weight=5, applied_at_ms=1)


def test_who_refuses_nothing_says_what_was_always_said() -> None:
    """Readers of earlier builds know these keys and no other."""
    assert ACK.to_bytes() == (
        b'{"applied_at_ms":1,"rollout_id":"r1","router_id":"a","schema_version":1,"sequence":1,"state":"applied",'
        b'"weight":5}'
    )


def test_a_refusal_is_read_as_it_was_written() -> None:
    """Round trip; a count of nothing is none."""
    refused = ACK.model_copy(update={"refused": Refusal(offset=17, reason="forked", count=2)})

    assert RouterAck.from_bytes(refused.to_bytes()) == refused
    with pytest.raises(DecodeError, match="refused"):
        RouterAck.from_bytes(refused.to_bytes().replace(b'"count":2', b'"count":0'))
