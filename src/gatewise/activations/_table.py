"""The table of activations and gates. A new one is a spec in a file and one line here."""

from gatewise.core import Registry

from ._spec import Kind, Spec

REGISTRY: Registry[Spec] = Registry(
    "activation",
    group="activations",
    package=__name__.rpartition(".")[0],
    table={
        "relu": "._relus:RELU",
        "leaky_relu": "._relus:LEAKY_RELU",
        "relu2": "._relus:RELU2",
        "elu": "._elus:ELU",
        "selu": "._elus:SELU",
        "gelu": "._gelus:GELU",
        "gelu_tanh": "._gelus:GELU_TANH",
        "quick_gelu": "._gelus:QUICK_GELU",
        "silu": "._sigmoids:SILU",
        "mish": "._sigmoids:MISH",
        "hardswish": "._relus:HARDSWISH",
        "softplus": "._sigmoids:SOFTPLUS",
        "sigmoid": "._sigmoids:SIGMOID",
        "tanh": "._sigmoids:TANH",
        "identity": "._relus:IDENTITY",
        "glu": "._gates:GLU",
        "bilinear": "._gates:BILINEAR",
        "reglu": "._gates:REGLU",
        "geglu": "._gates:GEGLU",
        "geglu_tanh": "._gates:GEGLU_TANH",
        "swiglu": "._gates:SWIGLU",
        "swiglu_clamped": "._gates:SWIGLU_CLAMPED",
    },
)


def get(name: str) -> Spec:
    """The spec of that name. Raises `GatewiseError` with the nearest name when there is none."""
    return REGISTRY[name]


def specs() -> tuple[Spec, ...]:
    """Every spec, in the order of the table."""
    return tuple(REGISTRY[name] for name in REGISTRY)


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """The names in the table; of one kind when `kind` is "scalar" or "gate"."""
    return tuple(name for name in REGISTRY if kind is None or REGISTRY[name].kind == kind)
