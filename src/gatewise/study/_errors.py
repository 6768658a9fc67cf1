"""What can end a study before it has begun."""

from gatewise.core import GatewiseError


class OtherStudyError(GatewiseError):
    """A folder holds records that new ones cannot stand beside: of another plan, machine, version, model or data."""


class BudgetTooSmallError(GatewiseError):
    """A budget in which not one verdict can be had."""
