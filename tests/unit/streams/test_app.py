from __future__ import annotations

from dataclasses import replace

from paritygate.streams.app import state_topic
from paritygate.streams.settings import WorkerSettings


def test_state_topic_is_named_as_faust_does(settings: WorkerSettings) -> None:
    """The start check looks at the very topic that the Table writes to."""
    from paritygate.streams.app import Spine  # noqa: PLC0415
    from paritygate.streams.metrics import WorkerMetrics  # noqa: PLC0415

    named = replace(settings, app_id="gate-7", kafka=replace(settings.kafka, topic_prefix="t."))
    spine = Spine(named, WorkerMetrics())
    (table,) = spine.app.tables.values()
    assert table.changelog_topic.get_topic_name() == state_topic(named) == "t.gate-7-join-state-changelog"
    assert spine.failure() is None
