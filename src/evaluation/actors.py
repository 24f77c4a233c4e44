"""Who acts in an event: the subject that an alert about it names. The events may be decoded records of any shop."""

from collections.abc import Collection, Mapping
from typing import Any

USER, SESSION, PRODUCT, ADDRESS, SITE = "user#", "session#", "product#", "ip#", "site"
PEOPLE = (USER, SESSION)
# The default of Terraform's variable `nobody_ids`: user ids that shops write for guests. It is a property group of the
# detector, by any keys.
NOBODY = "nobody"
DEFAULTS = {NOBODY: {one: one for one in ("0", "-1", "guest", "anonymous", "null", "undefined")}}
NOBODY_IDS = frozenset(DEFAULTS[NOBODY])


def actor_of(event: Mapping[str, Any], nobody_ids: Collection[str] = NOBODY_IDS) -> str | None:
    """Return `user#<id>`, else `session#<id>`; None if the event names neither."""
    user_id, session = _id(event.get("user_id")), _id(event.get("user_session"))
    if user_id and user_id not in nobody_ids:
        return f"{USER}{user_id}"
    return f"{SESSION}{session}" if session else None


def subject_of(name: str) -> str:
    """Return the subject as in alerts. A name without a known kind is a user's id."""
    return name if name == SITE or name.startswith((USER, SESSION, PRODUCT, ADDRESS)) else f"{USER}{name}"


def buys(event: Mapping[str, Any]) -> bool:
    """Return whether the event is a purchase."""
    return str(event.get("event_type")).strip().lower() == "purchase"


def _id(value: object) -> str | None:
    """Return an id as text: a record may hold an integer, too."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
