"""Laws of every technique that ships, on small questions of every sort, and of composing them."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario
from speedlight.techniques import Edit, Parameter, Refusal, Technique
from speedlight.techniques.compose import Refused, applied, ask, edited, parsed, settled
from speedlight.techniques.conformance import QUESTIONS, broken
from speedlight.techniques.edits import with_model
from speedlight.techniques.technique import catalogue
from speedlight.techniques.whatif import attribution, whatif

DECODE = QUESTIONS[0]


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(QUESTIONS)))]
)  # fmt: skip
def test_every_technique_keeps_the_laws(number: int) -> None:
    asked = QUESTIONS[number]()
    faults = {t.name: found for t in catalogue().values() if (found := broken(t, asked))}
    assert not faults


def test_the_kit_notices_what_breaks() -> None:
    """Each law is broken once on purpose."""
    sound = catalogue()["kv-quantization"]

    def edit(change: object) -> tuple[Edit, ...]:
        return (Edit("graph", "weights", change),)  # type: ignore[arg-type]

    def longer(subject: object, settings: object) -> Scenario:
        return subject.scenario.with_workload(context=subject.workload.context * 2)  # type: ignore[attr-defined]

    def whole(subject: object, settings: object) -> Scenario:
        return subject.scenario.with_workload(batch=float(subject.workload.batch) + 1)  # type: ignore[attr-defined]

    assert "cites nothing" in str(broken(dataclasses.replace(sound, papers=(), citation=""), DECODE()))
    assert "only changes memory" in str(
        broken(dataclasses.replace(sound, edits=edit(longer), memory_only=True), DECODE())
    )
    assert "cannot be swept" in str(broken(dataclasses.replace(sound, edits=edit(whole)), DECODE()))
    neutral = (Parameter("format", "fp8", "a format", neutral="int4"),)
    assert "neutral" in str(broken(dataclasses.replace(sound, parameters=neutral), DECODE()))
    bad = (Parameter("format", "fp8", "a format", choices=("int8",)),)
    assert "own value is refused" in str(broken(dataclasses.replace(sound, parameters=bad), DECODE()))


def test_order_of_naming_does_not_matter() -> None:
    labels = ("weight-only-int", "kv-quantization")
    answers = [
        ask(DECODE().replace(techniques=tuple(parsed(x) for x in order)), details=False)
        for order in itertools.permutations(labels)
    ]
    assert answers[0].time == answers[1].time
    assert answers[0].scenario == answers[1].scenario


def test_the_same_twice_counts_once_and_other_settings_are_refused() -> None:
    once = DECODE().replace(techniques=(parsed("kv-quantization"),))
    twice = DECODE().replace(techniques=(parsed("kv-quantization"), parsed("kv-quantization:format=fp8")))
    assert applied(once) == applied(twice)
    with pytest.raises(Refused, match="asked for twice"):
        applied(DECODE().replace(techniques=(parsed("kv-quantization"), parsed("kv-quantization:format=int4"))))


def test_two_edits_of_one_slot_conflict() -> None:
    kv = catalogue()["kv-quantization"]
    other = dataclasses.replace(kv, name="another")
    sets = [dataclasses.replace(settled((parsed("kv-quantization"),))[0], technique=t) for t in (kv, other)]
    from speedlight.techniques.compose import _together

    with pytest.raises(Refused, match="both change kv"):
        _together(sets[0].technique, sets[1].technique)


def test_a_scenario_keeps_its_techniques_in_its_file(tmp_path: object) -> None:
    from speedlight.scenario.file import dumps, loads

    asked = DECODE().replace(techniques=(parsed("weight-only-int:bits=3"),))
    assert applied(loads(dumps(asked))).program.model.weights == "int3"


def test_shares_multiply_to_the_whole() -> None:
    shares, outcome, _ = attribution(DECODE(), ["weight-only-int", "kv-quantization:format=int4"])
    assert outcome.gain is not None
    assert shares[0].factor * shares[1].factor == pytest.approx(float(outcome.gain.speedup))
    again, _, _ = attribution(DECODE(), ["kv-quantization:format=int4", "weight-only-int"])
    assert again == shares


def test_a_ranking_names_gain_bound_and_reasons() -> None:
    asked = make_scenario("bert-large", "a100-sxm-80gb", batch=8, isl=128)
    found = whatif(asked, names=("weight-only-int", "kv-quantization"))
    assert [o.names[0].partition(":")[0] for o in found.singles] == ["weight-only-int"]
    assert found.refused[0].refusal is not None
    assert "generate" in found.refused[0].refusal[0]
    best = found.singles[0]
    assert best.gain is not None
    assert best.gain.low <= best.gain.speedup <= best.gain.high
    assert found.before.time == predict(asked, details=False).time


def test_a_ranking_does_not_depend_on_the_order_of_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    from speedlight.techniques.technique import TECHNIQUES

    before = whatif(DECODE(), families=("formats", "kv"), sizes=2, best=4).to_dict()
    turned = dict(reversed(list(TECHNIQUES._members.items())))
    monkeypatch.setattr(TECHNIQUES, "_members", turned)
    assert whatif(DECODE(), families=("formats", "kv"), sizes=2, best=4).to_dict() == before


def test_a_refusal_has_a_reason_and_an_alternative() -> None:
    def refuse(subject: object, settings: object) -> Refusal:
        return Refusal("it is Monday", "Tuesday")

    kv = catalogue()["kv-quantization"]
    one = dataclasses.replace(
        settled((parsed("kv-quantization"),))[0], technique=dataclasses.replace(kv, refuse=refuse)
    )
    with pytest.raises(Refused, match="Monday") as caught:
        edited(DECODE(), (one,))
    assert caught.value.hint == "Tuesday"


def test_unknown_names_and_parameters_are_refused() -> None:
    from speedlight import BadInput, UnknownName

    with pytest.raises(UnknownName, match="weight-only-int"):
        applied(DECODE().replace(techniques=(parsed("weight-only-in"),)))
    for label, message in {
        "weight-only-int:bits=5": "2, 3, 4, 8",
        "weight-only-int:bit=4": "bits",
        "weight-only-int:bits=x": "2, 3",
    }.items():
        with pytest.raises(BadInput) as caught:
            applied(DECODE().replace(techniques=(parsed(label),)))
        assert message in caught.value.expected


def test_a_third_party_registers_the_same_way() -> None:
    assert isinstance(catalogue()["kv-quantization"], Technique)
    with pytest.raises(ValueError, match="no family"):
        dataclasses.replace(catalogue()["kv-quantization"], family="magic")
    with pytest.raises(ValueError, match="need a stage"):
        dataclasses.replace(
            catalogue()["kv-quantization"], edits=(Edit("someday", "x", lambda s, k: with_model(s)),)
        )  # fmt: skip
