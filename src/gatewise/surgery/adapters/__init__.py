"""The families in which sites are found: one file and one line each, tried in this order."""

from gatewise.core import Registry
from gatewise.surgery._blocks import Adapter

ADAPTERS: Registry[Adapter] = Registry(
    "adapter",
    group="adapters",
    package=__name__,
    table={
        "feed-forward": ".feed_forward:ADAPTER",
        "encoder-layer": ".encoder_layer:ADAPTER",
        "sequential": ".sequential:ADAPTER",
        "bert": ".bert:ADAPTER",
        "gated": ".gated:ADAPTER",
        "two-linears": ".two_linears:ADAPTER",
        "traced": ".traced:ADAPTER",
        "activation": ".activation:ADAPTER",
    },
)
