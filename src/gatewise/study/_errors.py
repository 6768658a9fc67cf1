"""What can end a study before it has begun."""

from gatewise.core import GatewiseError


class BudgetTooSmallError(GatewiseError):
    """A budget in which not one verdict can be had."""
