import pytest
from chapters import ch12_release, ch12_variants

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


def variant(low, value, high, int8=None, default_of=()):
    spread = {"median": 20.0, "ratio": {"median": 1.0}}
    difference = {"value": value, "low": low, "high": high}
    return {
        "label": "MBR", "precision": "float32", "rows": 5000, "default_of": list(default_of),
        "token_f1": {"value": 0.3, "low": 0.28, "high": 0.32}, "difference": difference,
        "one": spread, "many": spread, "peak_mib": 300.0, "int8": int8,
    }  # fmt: skip


def variants(low=-0.02, value=-0.01, high=-0.005, alone=False):
    int8 = {"difference": {"value": -0.01}, "same_slugs": 0.9}
    rows = {
        "plain": variant(low, value, high, default_of=["bulk"]),
        "ours": variant(0, 0, 0, default_of=["command line"]),
        "small": variant(low, value, high, int8),
    }
    rows["ours"]["many"] = {"median": 60.0}
    machine = {"cores": 2, "processor": "P"}
    counts = {"one": 40, "many": 500}
    return {
        "variants": rows, "release": "ours", "alone": alone, "machine": machine, "rows": counts,
    }  # fmt: skip


def test_speed_and_quality_come_from_the_same_row():
    record = variants()
    row = ch12_variants.default_row(record, "command line")
    assert row is ch12_variants.release_row(record)
    says = "Token F1 0.300 (0.280 to 0.320) at 20 ms for one page and 60.0 ms a page among many"
    assert ch12_variants.row_says(row) == says
    assert ch12_variants.release_says(record) == f"{says} (preliminary: the machine had other work)"
    assert ch12_variants.release_says(variants(alone=True)) == says
    frame = ch12_variants.variants_table(record)
    assert frame["default of"].tolist() == ["bulk", "command line", "–"]
    assert frame["beside the release"].tolist()[1] == "–"


def test_sentences_on_variants_follow_the_record():
    lost = ch12_variants.rerank_says(variants())
    assert "costs 0.010 Token F1 (-0.010 (-0.020 to -0.005))" in lost
    assert "3.0 times" in lost
    assert "do not tell from 0" in ch12_variants.rerank_says(variants(high=0.001))
    assert "preliminary" in ch12_variants.timing_says(variants())
    assert "nothing else to do" in ch12_variants.timing_says(variants(alone=True))
    sentence = ch12_variants.int8_sentence(variants())
    assert sentence.startswith("In 0 of 1 variants int8 loses no more than 0.003")
