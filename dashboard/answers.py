"""Answers: what every answer of the dashboard has, and the files that pages are made of.

Law: a browser loads nothing but what comes from here, whatever the answer is.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from paritygate.dashboard.parts import POLICY

_STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "live.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
}
#: What comes from others lies beside its licence.
_PLACES: Final = {"uPlot.iife.min.js": "vendor/uplot/", "uPlot.min.css": "vendor/uplot/"}
#: Of every answer.
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def json_answer(model: BaseModel, status: int = 200) -> Response:
    """``model`` as JSON."""
    # orjson writes what is not finite as null.
    content = orjson.dumps(model.model_dump(mode="python"), option=orjson.OPT_NON_STR_KEYS, default=str)
    return Response(content, status_code=status, media_type="application/json", headers=HEADERS)


def static_file(name: str) -> Response:
    """One of the files that pages load.

    :raises KeyError: there is none of that name.
    """
    return Response(_content(name), media_type=_STATIC[name], headers=HEADERS | {"Cache-Control": "no-cache"})


@cache
def _content(name: str) -> bytes:
    if name not in _STATIC:
        raise KeyError(name)
    return files("paritygate.dashboard").joinpath(_PLACES.get(name, "") + name).read_bytes()
