"""What changes reaches every viewer once, and one that sleeps holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from paritygate.dashboard import push
from paritygate.dashboard.elements import element
from paritygate.dashboard.parts import Part
from paritygate.dashboard.push import Channel, digest_of


class Site:
    """Two parts, one of which can be changed."""

    def __init__(self) -> None:
        self.text, self.made = "a", 0

    def parts(self) -> tuple[Part, ...]:
        self.made += 1
        return tuple(Part(name, element("p", text, id=name)) for name, text in (("one", self.text), ("two", "b")))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "EVERY_S", 0.01)


async def parts_of(stream: AsyncIterator[bytes]) -> dict[str, str]:
    """The next parts that are pushed."""
    async for message in stream:
        if b"event: parts" in message:
            told: dict[str, str] = orjson.loads(message.partition(b"data: ")[2])["parts"]
            return told
    raise AssertionError("the stream ended")


async def test_only_what_changed_is_sent() -> None:
    """First the whole page, then the one part that is another; all viewers share one making."""
    site = Site()
    channel = Channel(site.parts)
    first, second = channel.stream(""), channel.stream("")
    assert await anext(first) == await anext(second) == b"retry: 2000\n\n"
    whole = {"one": '<p id="one">a</p>', "two": '<p id="two">b</p>'}
    assert list(await asyncio.gather(parts_of(first), parts_of(second))) == [whole, whole]

    site.text, made = "<c>", site.made
    channel.wake()
    changed = {"one": '<p id="one">&lt;c&gt;</p>'}
    assert list(await asyncio.gather(parts_of(first), parts_of(second))) == [changed, changed]
    assert site.made == made + 1
    await first.aclose()  # type: ignore[attr-defined]
    await second.aclose()  # type: ignore[attr-defined]
    assert channel.viewers == 0


async def test_a_late_viewer_gets_what_it_lacks() -> None:
    """One who comes with the version that is shown gets nothing; one with an older page gets all parts."""
    site = Site()
    channel = Channel(site.parts)
    watching = channel.stream("")
    await anext(watching)
    await parts_of(watching)
    late = channel.stream("of yesterday")
    await anext(late)
    assert set(await parts_of(late)) == {"one", "two"}

    current = channel.stream(digest_of(site.parts()))
    await anext(current)
    site.text = "d"
    channel.wake()
    assert set(await parts_of(current)) == {"one"}
    for stream in (watching, late, current):
        await stream.aclose()  # type: ignore[attr-defined]


async def test_who_does_not_keep_up_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream ends, so that its browser comes back; the others go on."""
    monkeypatch.setattr(push, "QUEUED", 2)
    site = Site()
    channel = Channel(site.parts)
    slow, quick_one = channel.stream(""), channel.stream("")
    await anext(slow)
    await anext(quick_one)
    await asyncio.gather(parts_of(slow), parts_of(quick_one))
    for i in range(5):
        site.text = str(i)
        channel.wake()
        assert "one" in await parts_of(quick_one)

    assert [message async for message in slow] == []
    assert channel.viewers == 1
    await quick_one.aclose()  # type: ignore[attr-defined]
