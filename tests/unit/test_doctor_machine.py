"""What a machine says of itself, read from trees of files that are made here: x86, ARM, containers, odd, empty."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import available_memory_bytes, environment
from gatewise.doctor._cgroup import limits
from gatewise.doctor._files import cpus, size_bytes
from gatewise.doctor._machine import last_cache_bytes, machine
from gatewise.doctor._missing import Missing, nulls, settle

X86_FLAGS = "fpu sse2 avx2 fma avx512f avx512bw avx512dq avx512vl avx512_bf16 hypervisor"
X86 = f"processor\t: 0\nmodel name\t: Some EPYC\ncpu MHz\t\t: 2596.138\nflags\t\t: {X86_FLAGS}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
MEMINFO = "MemTotal:       8000000 kB\nMemFree:  1 kB\nMemAvailable:   6000000 kB\n"
CPU = "sys/devices/system/cpu"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def cache(cpu: int, index: int, *facts: str) -> dict[str, str]:
    names = ("level", "type", "size", "shared_cpu_list")
    return {f"{CPU}/cpu{cpu}/cache/index{index}/{name}": f"{fact}\n" for name, fact in zip(names, facts, strict=True)}


def four_threads() -> dict[str, str]:
    """Two cores of two threads, an L1 a core, an L3 for all."""
    files = {"proc/cpuinfo": X86, "proc/meminfo": MEMINFO, f"{CPU}/online": "0-3\n"}
    for cpu in range(4):
        pair = "0,2" if cpu in (0, 2) else "1,3"
        files |= {f"{CPU}/cpu{cpu}/topology/core_cpus_list": pair}
        files |= cache(cpu, 0, "1", "Data", "32K", pair) | cache(cpu, 1, "1", "Instruction", "32K", pair)
        files |= cache(cpu, 3, "3", "Unified", "32768K", "0-3")
    return files


def settled(root: Path, allowed: set[int]) -> dict[str, Any]:
    found = settle(machine(root, allowed))
    json.dumps(found, allow_nan=False)
    assert set(nulls({key: value for key, value in found.items() if key != "missing"})) == set(found["missing"])
    return found


def test_threads_cores_and_caches(tmp_path: Path) -> None:
    found = settled(tree(tmp_path, four_threads()), {0, 1, 2, 3})
    assert found["cpu"] == "Some EPYC"
    assert found["virtual_machine"] is True
    assert found["cores"] | {"quota": None} == {
        "allowed": 4,
        "online": 4,
        "physical": 2,
        "threads_per_core": 2,
        "quota": None,
    }
    assert found["caches"] == [
        {"level": 1, "kind": "data", "size_bytes": 32 * 1024, "instances": 2, "shared_by": 2},
        {"level": 1, "kind": "instruction", "size_bytes": 32 * 1024, "instances": 2, "shared_by": 2},
        {"level": 3, "kind": "unified", "size_bytes": 32 * 2**20, "instances": 1, "shared_by": 4},
    ]
    assert last_cache_bytes(found["caches"]) == 32 * 2**20
    assert found["memory"]["total_bytes"] == 8_000_000 * 1024
    assert found["memory"]["available_bytes"] == 6_000_000 * 1024
    assert found["frequency"]["current_hz"] == 2_596_138_000


def test_only_what_the_process_may_use_counts(tmp_path: Path) -> None:
    found = settled(tree(tmp_path, four_threads()), {0, 1})
    assert found["cores"]["allowed"] == 2
    assert found["cores"]["physical"] == 2
    assert [each["instances"] for each in found["caches"]] == [2, 2, 1]
    assert settled(tmp_path, {0, 2})["cores"]["physical"] == 1


def test_instruction_sets(tmp_path: Path) -> None:
    sets = settled(tree(tmp_path, four_threads()), {0})["instruction_sets"]
    assert sets == {
        "AVX2": True,
        "AVX-512": True,
        "AVX-512 VNNI": False,
        "AVX-512 bf16": True,
        "AVX-512 fp16": False,
        "AMX bf16": False,
        "AMX int8": False,
    }


def test_arm(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": ARM, "sys/class/dmi/id/sys_vendor": "Amazon EC2\n"})
    found = settled(tmp_path, {0})
    assert found["instruction_sets"] == {
        "NEON": True,
        "NEON fp16": True,
        "NEON bf16": True,
        "SVE": True,
        "SVE2": False,
    }
    assert found["virtual_machine"] is True
    facts = environment(tmp_path)
    assert facts["instruction_set"] == "SVE"
    assert facts["cpu"] == "ARM implementer 0x41 part 0xd40"


def test_bare_metal_with_a_governor(tmp_path: Path) -> None:
    folder = f"{CPU}/cpu0/cpufreq"
    files = {
        "proc/cpuinfo": X86.replace("hypervisor", ""),
        f"{folder}/scaling_governor": "powersave\n",
        f"{folder}/scaling_cur_freq": "1800000\n",
        f"{folder}/cpuinfo_max_freq": "4200000\n",
    }
    found = settled(tree(tmp_path, files), {0})
    assert found["virtual_machine"] is False
    assert found["frequency"] == {"governor": "powersave", "current_hz": 1_800_000_000, "max_hz": 4_200_000_000}
    assert environment(tmp_path)["frequency_governor"] == "powersave"


def test_nothing_there(tmp_path: Path) -> None:
    found = settled(tmp_path, {0, 1})
    assert found["cores"]["allowed"] == 2
    assert found["cores"]["physical"] is None
    assert found["caches"] is None
    assert found["instruction_sets"] is None
    assert found["memory"] == {"total_bytes": None, "available_bytes": None, "limit_bytes": None}
    assert found["virtual_machine"] is False
    assert available_memory_bytes(tmp_path) == 0
    assert environment(tmp_path)["instruction_set"] == "no AVX"


ODD = {
    "proc/cpuinfo": "flags\nmodel name\n: : :\ncpu MHz : fast\n",
    "proc/meminfo": "MemTotal:\nMemAvailable: lots kB\n",
    f"{CPU}/online": "none",
    f"{CPU}/cpu0/topology/core_cpus_list": "0-",
    f"{CPU}/cpu0/cache/index0/level": "one",
    f"{CPU}/cpu0/cache/index1/level": "2",
    f"{CPU}/cpu0/cache/index1/type": "Unified",
    f"{CPU}/cpu0/cache/index1/size": "big",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "\n",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "<unknown>",
    "proc/self/cgroup": "nonsense\n0\n:::\n",
    "sys/fs/cgroup/cpu.max": "-1 zero\n",
}


def test_odd_contents(tmp_path: Path) -> None:
    found = settled(tree(tmp_path, ODD), {0})
    assert found["cores"] == {
        "allowed": 1,
        "online": None,
        "physical": None,
        "threads_per_core": None,
        "quota": None,
    }
    assert found["caches"] is None
    assert found["frequency"]["governor"] is None
    assert found["frequency"]["current_hz"] is None


@given(content=st.binary(max_size=200))
def test_no_content_of_a_file_crashes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tree(tmp_path_factory.mktemp("odd"), ODD)
    for name in ODD:
        (root / name).write_bytes(content)
    settled(root, {0})


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2.0),
        ({"sys/fs/cgroup/a/b/cpu.max": "50000 100000\n", "sys/fs/cgroup/other/cpu.max": "1000 100000\n"}, 0.5),
        ({"sys/fs/cgroup/unified/a/b/cpu.max": "300000 100000\n"}, 3.0),
        ({"sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
    ],
)
def test_quota_of_version_2(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    tree(tmp_path, {"proc/self/cgroup": "0::/a/b\n"} | files)
    assert limits(tmp_path).cores == cores


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize(("quota", "cores"), [("250000", 2.5), ("-1", None)])
def test_quota_of_version_1(tmp_path: Path, mount: str, quota: str, cores: float | None) -> None:
    folder = f"sys/fs/cgroup/{mount}/docker/x"
    files = {
        "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n",
        f"{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
        f"{folder}/cpu.stat": "nr_periods 10\nnr_throttled 7\nthrottled_time 5\n",
        "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1073741824\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = limits(tree(tmp_path, files))
    assert found.cores == cores
    assert found.throttled == 7
    assert found.memory_bytes == 2**30


def test_a_huge_limit_on_memory_is_none(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert limits(tree(tmp_path, {"proc/self/cgroup": "3:memory:/\n"} | files)).memory_bytes is None


def test_a_container_that_sees_its_own_mount_only(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/system.slice/box\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    found = settled(tree(tmp_path, files | {".dockerenv": "", "sys/fs/cgroup/memory.max": "1048576\n"}), {0, 1})
    assert found["cores"]["quota"] == 0.5
    assert found["memory"]["limit_bytes"] == 2**20
    assert found["container"] is True


def test_sizes_and_lists() -> None:
    assert [size_bytes(text) for text in ("32K", "8M", "1G", "64", "K", "", None)] == [
        2**15,
        2**23,
        2**30,
        64,
        None,
        None,
        None,
    ]
    assert cpus("0-2,7") == {0, 1, 2, 7}
    assert cpus("0-2,x") == frozenset()
    assert cpus(None) == frozenset()


def test_settle_names_every_hole() -> None:
    found = settle({"a": Missing("why"), "b": [1, Missing("not"), {"c": float("nan")}], "d": float("inf"), "e": 0})
    assert found["missing"].keys() == {"a", "b.1", "b.2.c", "d"}
    assert found["missing"]["a"] == "why"
    assert found["b"] == [1, None, {"c": None}]
    assert found["e"] == 0
