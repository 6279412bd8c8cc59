"""What people read of a study's attributes in the dashboard: the rest are records for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Start = Callable[..., Any]
Application = Callable[[Mapping[str, Any], Start], Iterable[bytes]]

# Of trials and studies. All others are scores by document, draws, workers: pages of JSON.
SHOWN = ("origin", "reading", "message", "duplicate_of", "notes")


def readable(app: Application, objectives: Sequence[str] = ()) -> Application:
    """The dashboard, showing attributes that people read alone, and what is maximised by its name.

    Args:
        app: the dashboard.
        objectives: names of what is maximised; "Objective 0" where none are given.

    Only what it answers to a browser that looks is touched; what it writes to the storage is not.
    """

    def shown(environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        is_look = environ["REQUEST_METHOD"] == "GET"
        if not is_look or not environ.get("PATH_INFO", "").startswith("/api/studies"):
            return app(environ, start)
        held: list[Any] = []

        def hold(status: str, headers: list[tuple[str, str]], *more: Any) -> None:
            held[:] = [status, headers, *more]

        body = b"".join(app(environ, hold))
        status, headers, *more = held
        if dict(headers).get("Content-Type", "").startswith("application/json"):
            answer = without_records(json.loads(body))
            if objectives and "trials" in answer:
                answer.setdefault("objective_names", list(objectives))
            body = json.dumps(answer).encode()
            headers = [h for h in headers if h[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start(status, headers, *more)
        return [body]

    return shown


def without_records(answer: Any) -> Any:
    """An answer of the dashboard's without the attributes that only programs read."""
    if isinstance(answer, list):
        return [without_records(part) for part in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: [a for a in value if a.get("key") in SHOWN]
        if key in ("user_attrs", "union_user_attrs") and isinstance(value, list)
        else without_records(value)
        for key, value in answer.items()
    }
