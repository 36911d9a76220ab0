"""Doctor's reading of what routers said last. Pure.

Law: only routers of rollouts that run are looked at; one that refuses decisions or is stopped is named with its
reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from paritygate.cli.finding import Check, Result

if TYPE_CHECKING:
    from paritygate.schemas.ack import RouterAck

_MEND = "for a signature: look at the router's trusted_keys, the worker's key, and who may write to decisions.v1"


def router_check(acks: Iterable[RouterAck], running: Collection[str]) -> Check:
    """Do the routers of the rollouts that run obey? ``acks``: in log order."""
    last = {(a.rollout_id, a.router_id): a for a in acks if a.rollout_id in running}
    if not last:
        return Check("routers", Result.SKIP, "no rollout runs" if not running else "no router has reported")
    refused = [f"{a.router_id} refused {a.refused}" for a in last.values() if a.refused is not None]
    stopped = [f"{a.router_id} is {a.state}" for a in last.values() if a.state != "applied"]
    heard = f"{len(last)} router(s) of {len({rollout for rollout, _ in last})} rollout(s) that run"
    if refused or stopped:
        return Check("routers", Result.WARN, "; ".join([*refused, *stopped, heard]), _MEND if refused else "")
    return Check("routers", Result.OK, f"{heard} refuse nothing")
