"""The Ray Serve door without Ray: what it takes is checked, and what is missing is named."""

import importlib.util

import pytest

from gatewise import serve
from gatewise.core import GatewiseError, MissingExtraError


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(GatewiseError, match="replicas"):
        serve.ray_application(lambda: serve.app([serve.echo()]), replicas=0)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed here")
def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"gatewise\[ray\]"):
        serve.ray_application(lambda: serve.app([serve.echo()]))
