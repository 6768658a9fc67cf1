"""Watching what is served: a durable record, the judge on live pairs, drift, alarms, cost."""

from ._alarm import Alarm as Alarm
from ._alarm import Severity as Severity
from ._record import Label as Label
from ._record import Record as Record
from ._record import Role as Role
from ._record import Status as Status
