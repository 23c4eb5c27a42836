"""Every check of a node, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from ..preflight.model import Check, crashed
from . import check_cards, check_host, check_net, check_stack
from .model import Seen, Unread


def judge(seen: Seen) -> list[Check]:
    """Return the checks: kernel and system first, then the parts, then the cards' live values, then what is open.

    A check that crashes, or that needs what could not be read, is a finding like any other.
    """
    given = cast("Seen", _Partly(seen)) if seen.unread else seen
    host = _each(check_host.HOST_CHECKS, given)
    cards = _each(check_cards.CARD_CHECKS, given)
    return [*host, *check_stack.checks(seen), *cards, *_each(check_net.NET_CHECKS, given)]


def _each(checks: Mapping[str, Callable[[Seen], Check]], seen: Seen) -> list[Check]:
    return [_look(name, check, seen) for name, check in checks.items()]


def _look(name: str, check: Callable[[Seen], Check], seen: Seen) -> Check:
    try:
        return check(seen)
    except Unread as error:  # where it was raised says nothing, its text does
        return crashed(name, str(error))
    except Exception as error:  # whatever it is, the report of the node must not be lost
        return crashed(name, error)


class _Partly:
    """What was seen, where some could not be read: who asks for that gets the reader's error."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> object:
        if name in self._seen.unread:
            raise Unread(self._seen.unread[name])
        return getattr(self._seen, name)
