"""What this machine can do, and whether its measurements can be trusted: a look, and A/A studies."""

from ._aa import aa as aa
from ._aa import check as check
from ._explain import explain as explain
from ._look import look as look
from ._terminal import show as show
