"""Machine files of users: units and pedigree on the good ones, one helpful message on every bad one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile, BadInput
from speedlight.hardware.catalogue import load_file, load_machine
from speedlight.hardware.load import parse_machine
from speedlight.hardware.machine import Machine
from speedlight.hardware.spec import json_schema

GOOD = """\
schema: 1
sort: device
id: my-card
name: A card of mine
vendor: me
kind: gpu
release_year: 2024
grade: datasheet
sources: {sheet: "our data sheet, page 3"}
engines:
  - name: sm
    kind: simt
    units: 100
    clock: 2 GHz
    tiles: [[128, 128]]
    launch_latency: {value: 3 us, grade: assumed}
    peaks:
      - {unit: matmul, format: bf16, flops: 204.8 TFLOP/s, sparse: 409.6 TFLOP/s, derive: units * 1024 * clock}
      - {unit: vector, format: fp32, flops: 25.6 TFLOP/s, derive: units * 128 * clock}
tiers:
  - {name: l2, role: cache, capacity: 32 MiB, bandwidth: 6.4 TB/s}
  - {name: hbm, role: main, capacity: 48 GB, bandwidth: {value: 1.2 TB/s, grade: measured, source: our STREAM run, note: copy}}
links:
  - {name: link, role: scale_up, bandwidth: 100 GB/s, latency: 1500 ns}
tdp: 350 W
price: {usd_per_hour: 2.5, date: 2026-01-31, source: our invoice}
"""
SYSTEM = """\
schema: 1
sort: system
id: my-box
name: A box of mine
device: my-card
count: 4
domains:
  - {name: pair, topology: full-mesh, size: 2, bandwidth: 100 GB/s}
  - {name: pcie, topology: tree, size: 4, bandwidth: 32 GB/s}
links:
  - {name: nic, role: scale_out, bandwidth: 25 GB/s}
host_tiers:
  - {name: host, role: host, capacity: 512 GB, bandwidth: 200 GB/s}
  - {name: nvme, role: storage, capacity: 4 TB, bandwidth: 7 GB/s}
node_power: 2 kW
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_device(tmp_path: Path) -> None:
    machine = load_file(write(tmp_path, "my-card.yaml", GOOD.replace("2026-01-31", "'2026-01-31'")))
    assert machine.id == machine.device_id == "my-card"
    assert machine.engine.peak("matmul", "bf16")[0].flops == 204.8e12
    assert machine.engine.clock_hz == 2e9
    assert machine.engine.launch_latency_s == pytest.approx(3e-6)
    assert machine.tier("l2").capacity_bytes == 32 * 2**20
    assert (machine.main.capacity_bytes, machine.main.bandwidth) == (48e9, 1.2e12)
    assert machine.links[0].latency_s == pytest.approx(1.5e-6)
    assert machine.tdp_w == 350
    assert machine.price.usd_per_hour == 2.5
    assert machine.main.resource == "hbm"


def test_pedigree_of_a_users_device(tmp_path: Path) -> None:
    facts = load_file(write(tmp_path, "my-card.yaml", GOOD.replace("2026-01-31", "'2026-01-31'"))).facts
    assert facts["engines.sm.units"].grade == "datasheet"
    assert facts["engines.sm.units"].source == "our data sheet, page 3"  # the file's only source
    assert facts["tiers.hbm.bandwidth"].grade == "measured"
    assert facts["tiers.hbm.bandwidth"].source == "our STREAM run (copy)"
    assert facts["engines.sm.launch_latency_s"].grade == "assumed"
    assert facts["tiers.hbm.latency_s"].grade == "assumed"  # left out: a default, and answers say so
    assert facts["engines.sm.peaks.matmul.bf16.fp32"].value == 204.8e12


def test_a_users_system_finds_its_device_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "my-card.yaml", GOOD.replace("2026-01-31", "'2026-01-31'"))
    box = load_file(write(tmp_path, "my-box.yml", SYSTEM))
    assert (box.id, box.device_id, box.n_devices) == ("my-box", "my-card", 4)
    assert [d.size for d in box.domains] == [2, 4]
    assert [k.name for k in box.links] == ["link", "nic"]
    assert box.tier("nvme").resource == "disk"
    assert box.tier("nvme").granule_bytes == 4096
    assert box.facts["node_power_w"].value == 2000
    assert load_machine("my-box", tmp_path) == box
    assert load_machine("my-card", tmp_path).n_devices == 1


def test_a_system_of_a_shipped_device_and_json_files(tmp_path: Path) -> None:
    import yaml

    data = yaml.safe_load(SYSTEM.replace("my-card", "rtx-4090"))
    box = load_file(write(tmp_path, "box.json", json.dumps(data)))
    assert (box.device_id, box.n_devices) == ("rtx-4090", 4)
    data.pop("sort")  # told from its fields
    assert load_file(write(tmp_path, "box.json", json.dumps(data))) == box


def test_a_machine_without_a_launch_latency_takes_its_sorts_default(tmp_path: Path) -> None:
    text = GOOD.replace("    launch_latency: {value: 3 us, grade: assumed}\n", "").replace("2026-01-31", "'2026-01-31'")
    machine = load_file(write(tmp_path, "m.yaml", text))
    assert machine.engine.launch_latency_s == 2e-6
    assert machine.facts["engines.sm.launch_latency_s"].grade == "assumed"


BANDWIDTH = "{value: 1.2 TB/s, grade: measured, source: our STREAM run, note: copy}"
DERIVE = "derive: units * 1024 * clock"
L2 = "  - {name: l2, role: cache, capacity: 32 MiB, bandwidth: 6.4 TB/s}\n"
PEAKS = GOOD[GOOD.index("    peaks:") : GOOD.index("tiers:")]
ENGINES = GOOD[GOOD.index("engines:") : GOOD.index("tiers:")]

# What is wrong with the device, the text it replaces, the replacement, and what the message must tell.
BAD_DEVICES = [
    ("no schema", "schema: 1\n", "", "schema: 1"),
    ("a later schema", "schema: 1", "schema: 2", "schema is 2"),
    ("schema yes", "schema: 1", "schema: yes", "schema is True"),
    ("no id", "id: my-card\n", "", "id"),
    ("empty id", "id: my-card", 'id: ""', "id is empty"),
    ("id a number", "id: my-card", "id: 4", r"\$\.id"),
    ("no tiers", GOOD[GOOD.index("tiers:") : GOOD.index("links:")], "", "tiers"),
    ("misspelt field", "role: main, capacity", "role: main, capacitiy", "did you mean capacity"),
    ("unknown field", "tdp: 350 W", "watts: 350 W", "watts"),
    ("unknown sort", "sort: device", "sort: gadget", "gadget"),
    ("unknown kind", "kind: gpu", "kind: toaster", "toaster"),
    ("unknown engine kind", "kind: simt", "kind: vibes", "simt"),
    ("unknown execution", "vendor: me", "vendor: me\nexecution: sideways", "temporal or spatial|temporal, spatial"),
    ("unknown grade", "grade: datasheet", "grade: gospel", "measured"),
    ("negative bandwidth", BANDWIDTH, "-1 TB/s", "positive"),
    ("no bandwidth", BANDWIDTH, "0", "positive"),
    ("bandwidth of inf", BANDWIDTH, ".inf", "finite"),
    ("bandwidth of nan", BANDWIDTH, ".nan", "finite"),
    ("bandwidth 'inf'", BANDWIDTH, '"inf TB/s"', "not a quantity"),
    ("bandwidth too large", BANDWIDTH, "9" * 400, "out of range"),
    ("bandwidth in W", BANDWIDTH, "1.2 TW", "unknown unit"),
    ("bandwidth in bytes", BANDWIDTH, "1.2 TB", "unknown unit"),
    ("bandwidth in bits", BANDWIDTH, "1.2 Tb/s", "unknown unit"),
    ("bandwidth in words", BANDWIDTH, "plenty", "not a quantity"),
    ("bandwidth a list", BANDWIDTH, "[1, 2]", "bandwidth"),
    ("bandwidth a truth value", BANDWIDTH, "true", "bandwidth"),
    ("bandwidth a date", BANDWIDTH, "2024-01-01", "bandwidth"),
    ("a figure with an unknown field", BANDWIDTH, "{value: 1 TB/s, sauce: x}", "source"),
    ("a figure of unknown grade", BANDWIDTH, "{value: 1 TB/s, grade: hearsay}", "hearsay"),
    ("negative latency", "latency: 1500 ns", "latency: -1 ns", "at least 0"),
    ("graded without a source", 'sources: {sheet: "our data sheet, page 3"}\n', "", "without a source"),
    ("several sources, none named", "sources: {", "sources: {b: other, ", "without a source"),
    ("no engine", ENGINES, "engines: []\n", "no engine"),
    ("no peaks", PEAKS, "    peaks: []\n", "no peaks"),
    ("engine a mapping", ENGINES, "engines: {name: sm}\n", "engines"),
    ("a tile of 0", "[[128, 128]]", "[[128, 0]]", "at least 1"),
    ("a tile of three", "[[128, 128]]", "[[128, 128, 1]]", "length 2"),
    ("unknown format", "format: bf16", "format: bf61", "bf61"),
    ("a peak stated twice", "format: fp32, flops: 25.6", "format: fp32, accumulate: fp32, flops: 1 TFLOP/s}\n      - {unit: vector, format: fp32, flops: 25.6", "stated twice"),
    ("sparse below dense", "sparse: 409.6", "sparse: 40.96", "dense rate"),
    ("two main memories", L2, L2.replace("cache", "main"), "2 main memories"),
    ("no main memory", "role: main", "role: cache", "0 main memories"),
    ("unknown role", "role: cache", "role: attic", "attic"),
    ("two memories of one name", "name: l2", "name: hbm", "stated twice"),
    ("unknown link role", "role: scale_up", "role: sideways", "sideways"),
    ("derive off by 3 %", DERIVE, "derive: units * 1056 * clock", "within 2%"),
    ("derive of another unit count", "units: 100", "units: 101.9999 k", "derive"),
    ("derive that imports", DERIVE, """derive: '__import__("os").system("touch /tmp/never")'""", "cannot read"),
    ("derive with an attribute", DERIVE, "derive: units.__class__", "cannot read"),
    ("derive with a lambda", DERIVE, 'derive: "(lambda: 1)()"', "cannot read"),
    ("derive with a power", DERIVE, "derive: 9**9**9**9", "power"),
    ("derive over 0", DERIVE, "derive: units / 0", "division"),
    ("derive of an unknown name", DERIVE, "derive: speed * 3", "speed"),
    ("derive of nothing", DERIVE, 'derive: ""', "cannot read"),
    ("derive beyond floats", DERIVE, "derive: " + "9" * 400 + " * units", "cannot read the expression"),
    ("price of nan", "usd_per_hour: 2.5", "usd_per_hour: .nan", "usd_per_hour"),
    ("price below 0", "usd_per_hour: 2.5", "usd_per_hour: -2.5", "usd_per_hour"),
    ("price without a date", ", date: '2026-01-31'", "", "date"),
    ("a year of long ago", "release_year: 2024", "release_year: 24", "release_year"),
    ("notes a word", "tdp: 350 W", "notes: careful", "notes"),
]  # fmt: skip

BAD_SYSTEMS = [
    ("unknown device", "device: my-card", "device: my-cart", "my-cart"),
    ("ambiguous device", "device: my-card", "device: h100", "variants"),
    ("a system as device", "device: my-card", "device: dgx-h100", "itself a system"),
    ("itself as device", "device: my-card", "device: my-box", "refers to itself"),
    ("a count of 0", "count: 4", "count: 0", "at least 1"),
    ("a count of minus one", "count: 4", "count: -1", "at least 1"),
    ("a broken count", "count: 4", "count: 4.5", "count"),
    ("more devices than are joined", "count: 4", "count: 8", "domains join 4"),
    ("a domain of 0", "size: 2", "size: 0", "at least 1"),
    ("domains that shrink", "size: 4", "size: 1", "inside it"),
    ("unknown topology", "topology: tree", "topology: spaghetti", "fat-tree"),
    ("a domain stated twice", "name: pcie", "name: pair", "stated twice"),
    ("a second main memory", "role: host", "role: main", "host, storage, remote"),
    ("a host tier named as the device's", "name: nvme", "name: hbm", "stated twice"),
    ("a negative link", "25 GB/s", "-25 GB/s", "positive"),
    ("engines in a system", "node_power: 2 kW", "engines: []", "engines"),
]

BAD_FILES = [
    ("a list", "- 1\n- 2\n", "mapping"),
    ("a word", "hello", "mapping"),
    ("empty", "", "nothing"),
    ("only a comment", "# to do\n", "nothing"),
    ("broken YAML", "schema: 1\n  id: [", "line"),
    ("a tab", "schema:\t1\n\tid: x", "YAML"),
    ("two documents", GOOD + "---\n" + GOOD, "YAML"),
    ("a Python object", 'schema: !!python/object/apply:os.system ["true"]', "YAML"),
    ("deep brackets", "[" * 100_000, "nested"),
    ("deep dashes", "- " * 100_000, "nested"),
    ("deep mappings", "a: " + "{a: " * 3_000, "nested"),
    ("endless digits", "schema: 1\nid: " + "9" * 5_000, "usable|number"),
    ("an alias to itself", "schema: 1\nx: &a [*a]", "x"),
    ("control characters", "schema: 1\nid: a\x00b", "YAML"),
    ("unhashable keys", "? [a, b]\n: 3\n", "YAML|schema"),
    ("too large", "# " + "x" * 2**20, "at most"),
]


def refuse(path: Path, tells: str, helps: bool = True) -> BadInput:
    """The file is refused as bad input, with a message that tells what, where and, if ``helps``, what would do."""
    with pytest.raises(BadInput, match=tells) as caught:
        load_file(path)
    assert isinstance(caught.value, BadFile)
    assert path.name in str(caught.value)
    assert caught.value.expected or caught.value.hint or not helps
    return caught.value


@pytest.mark.parametrize(("old", "new", "tells"), [c[1:] for c in BAD_DEVICES], ids=[c[0] for c in BAD_DEVICES])
def test_a_bad_device_is_refused(tmp_path: Path, old: str, new: str, tells: str) -> None:
    good = GOOD.replace("2026-01-31", "'2026-01-31'")
    assert old in good
    refuse(write(tmp_path, "my-card.yaml", good.replace(old, new)), tells)


@pytest.mark.parametrize(("old", "new", "tells"), [c[1:] for c in BAD_SYSTEMS], ids=[c[0] for c in BAD_SYSTEMS])
def test_a_bad_system_is_refused(tmp_path: Path, old: str, new: str, tells: str) -> None:
    write(tmp_path, "my-card.yaml", GOOD.replace("2026-01-31", "'2026-01-31'"))
    assert old in SYSTEM
    refuse(write(tmp_path, "my-box.yaml", SYSTEM.replace(old, new)), tells)


@pytest.mark.parametrize(("text", "tells"), [c[1:] for c in BAD_FILES], ids=[c[0] for c in BAD_FILES])
def test_a_bad_file_is_refused(tmp_path: Path, text: str, tells: str) -> None:
    refuse(write(tmp_path, "m.yaml", text), tells, helps="9999" not in text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "nan.json").write_text('{"schema": NaN}', encoding="utf-8")
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    for name in ("folder.yaml", "binary.yaml", "broken.json", "nan.json", "deep.json", "absent.yaml"):
        refuse(tmp_path / name, ".", helps=name != "deep.json")
    with pytest.raises(BadFile):
        load_machine(str(tmp_path / "absent.yml"))


def test_two_systems_that_name_each_other(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", SYSTEM.replace("my-card", "b").replace("my-box", "a"))
    path = write(tmp_path, "b.yaml", SYSTEM.replace("my-card", "a").replace("my-box", "b"))
    refuse(path, "refers to itself")


def _no_device(name: str) -> Machine:
    raise BadInput(f"no device {name}")


def parse_or_refuse(data: Any) -> None:
    """A machine comes out, or one BadFile naming the file; any other exception fails the test."""
    message = "fuzz.yaml"
    with contextlib.suppress(BadFile):
        try:
            parse_machine(data, "fuzz.yaml", _no_device)
        except BadFile as error:
            message = str(error)
            raise
    assert "fuzz.yaml" in message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1 GB/s", "device", "main"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "sort",
    "id",
    "name",
    "vendor",
    "kind",
    "engines",
    "tiers",
    "device",
    "count",
    "domains",
    "links",
    "grade",
    "sources",
]


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values), json_values)
def test_whatever_the_parser_gives_is_a_machine_or_one_sort_of_error(data: dict[str, Any], extra: Any) -> None:
    for candidate in ({"schema": 1, **data}, extra):
        parse_or_refuse(candidate)


@given(st.sampled_from(["flops", "units", "clock", "capacity", "bandwidth", "latency"]), json_values)
def test_one_odd_value_never_escapes(field: str, value: Any) -> None:
    import yaml

    data = yaml.safe_load(GOOD.replace("2026-01-31", "'2026-01-31'"))
    for record in (data["engines"][0], data["engines"][0]["peaks"][0], *data["tiers"], *data["links"]):
        if field in record:
            record[field] = value
    parse_or_refuse(data)


def test_the_published_schema() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    definitions = schema["$defs"]
    assert {"DeviceSpec", "SystemSpec", "EngineSpec", "TierSpec", "PeakSpec"} <= set(definitions)
    assert {"schema", "id", "engines", "tiers"} <= set(definitions["DeviceSpec"]["required"])
    assert definitions["TierSpec"]["additionalProperties"] is False
    names = [d["properties"]["sort"]["enum"] for d in (definitions["DeviceSpec"], definitions["SystemSpec"])]
    assert names == [["device"], ["system"]]
    assert "$ref" in json.dumps(schema["anyOf"])
