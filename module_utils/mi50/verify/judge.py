"""Every check of a node, in the order of the report."""

from __future__ import annotations

from ..preflight.model import Check
from . import check_cards, check_host, check_net, check_stack
from .model import Seen


def judge(seen: Seen) -> list[Check]:
    """Return the checks: kernel and system first, then the parts, then the cards' live values, then what is open."""
    host = [check(seen) for check in check_host.HOST_CHECKS]
    cards = [check(seen) for check in check_cards.CARD_CHECKS]
    return [*host, *check_stack.checks(seen), *cards, check_net.check_listeners(seen)]
