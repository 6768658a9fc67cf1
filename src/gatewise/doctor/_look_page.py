"""A look, as people read it."""

from collections.abc import Iterator, Mapping
from typing import Any

from ._line import Line, verdict_lines
from ._opinion import OTHERS_CORES
from ._words import array, cache, duration, percent, size, spread


def look_lines(found: Mapping[str, Any]) -> Iterator[Line]:
    """A look, from what is installed to what to expect."""
    yield Line(f"gatewise doctor, {found['started']}", style="bold")
    yield Line("took", f"{duration(found['seconds'])}: {_took(found['took_s'])}", "dim")
    yield Line("\nInstalled", style="bold")
    yield from _installed(found["installed"], found["missing"])
    yield Line("\nThis machine", style="bold")
    yield from _machine(found)
    yield Line("\nWhat it can do at most", style="bold")
    yield from _capacity(found)
    yield Line("\nHow quiet it is", style="bold")
    yield from _quiet(found)
    yield Line("\nCan it support a 2 % verdict? (expected, not measured)", style="bold")
    yield from verdict_lines(found["verdict"])


def _took(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{what} {value:.1f}" for what, value in seconds.items() if value >= 0.05)


def _installed(found: Mapping[str, Any], missing: Mapping[str, str]) -> Iterator[Line]:
    names = [f"{name} {version}" for name, version in found["needed"].items() if version]
    yield Line("needed", ", ".join(names))
    for name in (name for name, version in found["needed"].items() if not version):
        yield Line("missing", f"{name}: pip install {name}", "red")
    for each in found["optional"]:
        if each["version"]:
            yield Line("optional", f"{each['name']} {each['version']}: {each['brings']}")
        else:
            yield Line("not there", f"{each['name']}, for {each['brings']}: {each['install']}", "yellow")
    compiler = found["compiler"]
    if compiler["name"]:
        yield Line("compiler", f"{compiler['name']}: {compiler['brings']}")
    else:
        yield Line("compiler", f"none, and {compiler['brings']} needs one: install a C++ compiler", "yellow")
    if found["native_kernels"]:
        yield Line("native kernels", found["native_kernels"])
    else:
        yield Line("native kernels", f"absent: {missing['installed.native_kernels']}", "yellow")


def _machine(found: Mapping[str, Any]) -> Iterator[Line]:
    machine, missing = found["machine"], found["missing"]
    where = [word for word, there in (("virtual", "virtual_machine"), ("container", "container")) if machine[there]]
    around = f" ({', '.join(where)})" if where else ""
    yield Line("processor", f"{machine['cpu']}, {machine['architecture']}{around}")
    cores = machine["cores"]
    text = f"{cores['allowed']} allowed"
    if cores["online"] is not None:
        text += f" of {cores['online']}"
    if cores["threads_per_core"] is not None:
        each = cores["threads_per_core"]
        text += f", {each} thread{'s' if each > 1 else ''} a core"
    text += f", at most {cores['quota']:g} by the control group" if cores["quota"] is not None else ", no quota"
    yield Line("cores", text)
    caches = machine["caches"]
    yield Line("caches", "; ".join(cache(each) for each in caches) if caches else missing["machine.caches"])
    sets = machine["instruction_sets"]
    if sets:
        lacking = [name for name, there in sets.items() if not there]
        text = ", ".join(name for name, there in sets.items() if there) or "none of those that matter here"
        yield Line("instructions", text + (f" (not: {', '.join(lacking)})" if lacking else ""))
    else:
        yield Line("instructions", missing["machine.instruction_sets"])
    memory = machine["memory"]
    total, free, limit = (memory[name] for name in ("total_bytes", "available_bytes", "limit_bytes"))
    text = f"{size(total)}, {size(free)} available" if total and free else "the system does not tell"
    yield Line("memory", text + (f", at most {size(limit)} by the control group" if limit else ""))
    yield Line("frequency", _frequency(machine["frequency"]))
    yield Line("accelerator", ", ".join(found["accelerators"] or [missing["accelerators"]]))
    clock = found["timer"]
    if clock["smallest_step_s"] is not None:
        steps = f"{clock['smallest_step_s'] * 1e9:.0f} ns", f"{clock['read_s'] * 1e9:.0f} ns"
        yield Line("clock", f"smallest step seen {steps[0]}, one reading costs {steps[1]}")


def _frequency(found: Mapping[str, Any]) -> str:
    words = [f"governor {found['governor']}" if found["governor"] else "the governor is not shown"]
    if found["current_hz"]:
        words.append(f"now {found['current_hz'] / 1e9:.2f} GHz")
    if found["max_hz"]:
        words.append(f"at most {found['max_hz'] / 1e9:.2f} GHz")
    return ", ".join(words)


PRODUCTS = (
    ("matmul f32", "mm_f32", "torch.mm"),
    ("linear f32", "linear_f32", "what an eager model runs, F.linear"),
    ("packed f32", "packed_f32", "what a compiler can run instead, oneDNN"),
    ("matmul bf16", "mm_bf16", "torch.mm"),
)


def _capacity(found: Mapping[str, Any]) -> Iterator[Line]:
    moved, products, counts = found["bandwidth"], found["matmul"], found["threads"]
    for name in ("copy", "triad"):
        rates = {count: moved[f"threads_{count}"][name]["bytes_per_s"] for count in counts}
        yield Line(f"memory {name}", _by_threads(rates, "GB/s"))
    yield Line("", f"arrays of {array(moved['array_bytes'], moved['beyond_cache'])}", "dim")
    for lead, key, what in PRODUCTS:
        rows = {count: products[f"threads_{count}"][key] for count in counts}
        if all(rows.values()):
            rates = {count: row["flop_per_s"] for count, row in rows.items()}
            yield Line(lead, f"{_by_threads(rates, 'GFLOP/s')} ({what})")
        else:
            yield Line(lead, found["missing"][f"matmul.threads_{counts[0]}.{key}"], "yellow")
    shares = {count: products[f"threads_{count}"]["linear_share_of_best"] for count in counts}
    if all(shares.values()):
        shown = ", ".join(f"{percent(share, 0)} on {_threads(count)}" for count, share in shares.items())
        yield Line("", f"eager F.linear reaches {shown} of the fastest f32 product here", "dim")
    if (found["quiet"]["others_cores"] or 0.0) > OTHERS_CORES:
        yield Line("", "measured while other programs were busy: the machine alone can do more", "yellow")
    side = products["side"]
    yield Line("", f"products of {side} × {side} matrices; torch uses {products['torch_uses']}", "dim")


def _by_threads(rates: Mapping[int, Mapping[str, float]], unit: str) -> str:
    """The middle of some repeats (lowest-highest), for each number of threads."""
    shown = [f"{spread(rate, 1e9)} on {_threads(count)}" for count, rate in rates.items()]
    return f"{', '.join(shown)}, {unit}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _quiet(found: Mapping[str, Any]) -> Iterator[Line]:
    load, quiet, whole, probe = found["load"], found["quiet"], found["whole"], found["probe"]
    if load["average"] is not None:
        runnable = f", {load['runnable']} other tasks ready to run" if load["runnable"] is not None else ""
        yield Line("load", f"{load['average']:.2f} over the last minute{runnable}")
    if quiet["others_cores"] is not None:
        names = ", ".join(f"{each['name']} {each['cores']:.2f}" for each in quiet["busiest"])
        text = f"{quiet['others_cores']:.2f} cores busy while gatewise slept {duration(quiet['seconds'])}"
        yield Line("other programs", f"{text}{f': {names}' if names else ''}")
    if whole["steal_share"] is not None:
        yield Line("steal", f"{percent(whole['steal_share'], 2)} of the time went to other tenants")
    if whole["throttled"]:
        yield Line("throttled", f"{whole['throttled']} times by the control group", "red")
    if probe["median_s"] is None:
        yield Line("probe", found["missing"]["probe.median_s"], "yellow")
        return
    yield Line(
        "probe",
        f"{probe['calls']:,} calls of {probe['median_s'] * 1e6:.0f} µs: p99 {probe['p99_over_median']:.2f} × median, "
        f"{percent(probe['outliers'], 1)} outliers (5 % above), drift {100 * probe['drift']:+.1f} %, "
        f"{percent(probe['slow_share'], 0)} of the time slow"
        + ("" if probe["autocorrelation"] is None else f", autocorrelation {probe['autocorrelation']:.2f}"),
    )
