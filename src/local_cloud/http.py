"""HTTP requests to the stack's own servers. They never go through a proxy: no proxy can reach this machine."""

import json
import urllib.error
import urllib.request
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str, timeout_s: float = 30) -> Any:
    """Return the JSON document at the URL. Raise OSError if there is none."""
    with _opener.open(url, timeout=timeout_s) as response:
        return json.load(response)


def post_json(url: str, body: dict) -> Any:
    """Return the server's answer, a JSON document, to a POST request. Raise OSError if there is none."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with _opener.open(request, timeout=30) as response:
        return json.load(response)


def answers(url: str) -> bool:
    """Return whether an HTTP server answers, with whatever status."""
    try:
        _opener.open(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
