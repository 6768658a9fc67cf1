"""The built-in study: real inference and real training, on what ships in packages."""

from typing import Any

INFERENCE_ARMS = ["gelu", "gelu_tanh", "quick_gelu", "silu", "relu"]
TRAINING_ARMS = ["gelu", "relu", "swiglu"]


def builtin() -> dict[str, Any]:
    """The tables of the plan that `gatewise evaluate` runs without arguments."""
    return {
        "study": {
            "name": "Do GELU and SwiGLU pay on this machine?",
            "question": "Would another activation make a GELU sentence encoder faster without moving its outputs? "
            "Does SwiGLU train better than GELU at equal parameters?",
            "budget": "345s",
        },
        "part": [
            {
                "name": "inference",
                "arms": INFERENCE_ARMS,
                "subject": {"workload": "sentence-encoder"},
                "measure": {"metrics": ["latency", "output_difference", "parameters", "flops"], "batch": [1, 32]},
            },
            {
                "name": "training",
                "arms": TRAINING_ARMS,
                "subject": {"workload": "byte-lm"},
                "train": {"seeds": 6},
            },
        ],
    }
