import pytest
from chapters import ch12_release

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.workspace import current


@pytest.fixture(scope="module")
def record():
    return read_json(current().data / "benchmarks" / "inference.json")


def test_shares_of_a_profile_add_up_to_one(record):
    shares = ch12_release.profile_shares(record["models"])
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * 4)
    assert (shares.drop(columns="the rest") >= 0).all(axis=None)


def test_a_floor_is_what_the_products_take(record):
    floors = ch12_release.floors_table(record["models"], record["rates"])
    work = record["models"]["release"]["work"]
    row = floors.set_index(["model", "precision"]).loc["release", "float32"]
    wanted = 1000 * work["row_steps"] * work["multiply_adds"] / record["rates"]["float32"]
    assert row["many, floor"] == pytest.approx(wanted)
    assert row["one, floor"] >= row["many, floor"]
    aims = ch12_release.aims_table(record["models"], floors)
    assert aims.loc["many, int8", "aim"] == 60


def test_sentences_follow_the_record(record):
    rates = {"float32": 2.0, "int8": 7.0}
    assert "lacks such tiles" in ch12_release.tiles_sentence("avx512_vnni", rates)
    assert "has such tiles: its int8 products run 3.5" in ch12_release.tiles_sentence(
        "amx_int8", rates
    )
    worse = {"quality": {kind: {"difference": {"value": -0.01}} for kind in ch12_release.CHOICES}}
    sentence = ch12_release.int8_sentence({"small": worse, "release": worse})
    assert sentence == "In 0 of 4 cases int8 loses no more than 0.003."
