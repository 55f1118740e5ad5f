from __future__ import annotations

from dataclasses import replace

import pytest

from ganeval.errors import ConfigError, IncomparableError
from ganeval.protocol import PROTOCOLS, STANDS_FOR, Protocol, get_protocol, routed


def test_keys_are_distinct_and_pinned() -> None:
    """A key that changes makes every stored number incomparable: change it only with the numbers."""
    keys = {name: p.key() for name, p in PROTOCOLS.items()}
    assert keys["adm"] == keys["ttur"]  # the same features; the evaluators differ in other metrics
    assert len(set(keys.values())) == len(keys) - 1
    assert keys == {
        "ttur": "2e36e825dbfc6f2f",
        "pytorch-fid": "1841f1a148059968",
        "clean": "9c5acbabb32399a8",
        "torchmetrics": "486643a247127151",
        "text2image-benchmark": "7f033c412877dc84",
        "adm": "2e36e825dbfc6f2f",
        "stylegan": "de31a58becc9a30b",
        "dgm": "3f8494ee92031bab",
        "edm2": "8482eca2675774fb",
        "fld": "31ebb69cd9417a42",
        "vgg16": "89e112f31d0214c6",
        "cmmd": "3125ee9be81bc267",
        "clip-fid": "3251b20e79a54967",
        "torchvision": "a644cb9ab30ee234",
        "lite": "f263c36a5062c00a",
        "compact": "e88a9c9c419a6b4b",
    }
    assert set(keys) == set(STANDS_FOR)


@pytest.mark.parametrize("field", ["extractor", "layer", "resize", "scale", "decode", "precision", "weights"])
def test_every_field_that_moves_the_number_moves_the_key(field: str) -> None:
    base = get_protocol("ttur")
    assert replace(base, **{field: "other"}).key() != base.key()


@pytest.mark.parametrize(("field", "value"), [("size", 224), ("ddof", 0)])
def test_numbers_in_the_key(field: str, value: int) -> None:
    base = get_protocol("ttur")
    assert replace(base, **{field: value}).key() != base.key()


def test_name_and_verification_are_not_in_the_key() -> None:
    base = get_protocol("ttur")
    assert replace(base, name="mine", verified=True).key() == base.key()


def test_label() -> None:
    ttur = get_protocol("ttur")
    assert ttur.with_weights("6726825d" + "0" * 56, verified=True).label() == "FID"
    assert ttur.with_weights("0123456789" + "0" * 54, verified=False).label() == "FD[inception-01234567]"
    assert get_protocol("ttur:768").with_weights("6" * 64, verified=True).label() == "FD[inception:768]"
    assert get_protocol("compact").with_weights("a" * 64, verified=True).label() == "FD[compact-v1]"
    assert get_protocol("compact").with_weights("a" * 64, verified=False).label() == "FD[compact-aaaaaaaa]"
    assert get_protocol("compact").label("KID") == "KID[compact-v1]"


def test_the_number_of_views_is_in_the_key_of_logits_alone() -> None:
    one, six = get_protocol("compact"), get_protocol("compact:logits-6")
    assert one.at("features").key() == six.at("features").key() == "e88a9c9c419a6b4b"
    assert (one.at("logits").layer, six.at("logits").layer) == ("logits-1", "logits-6")
    assert one.at("logits").key() != six.at("logits").key()
    with pytest.raises(IncomparableError, match="layer: logits-1 against logits-6"):
        one.at("logits").require_same(six.at("logits"), "logits")
    labels = [p.at("logits").with_weights("a" * 64, verified=True).label("IS") for p in (one, six)]
    assert labels == ["IS[compact-v1]", "IS[compact-v1:logits-6]"]
    assert six.label() == one.label()


def test_round_trip() -> None:
    for protocol in (*PROTOCOLS.values(), get_protocol("compact:logits-6")):
        bound = protocol.with_weights("ab" * 32, verified=True)
        assert Protocol.from_dict(bound.to_dict()) == bound


def test_difference_names_the_fields() -> None:
    with pytest.raises(IncomparableError, match="resize: tf1-bilinear against pil-bicubic-float") as error:
        get_protocol("ttur").require_same(get_protocol("clean"), "the statistics in ref.npz")
    assert "ref.npz" in str(error.value)
    assert "scale" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tutr", "Did you mean ttur"),
        ("nonsense", "Available: ttur, pytorch-fid"),
        ("ttur:100", "64, 192, 768, 2048"),
        ("compact:9", "Available: 256, logits-6"),
    ],
)
def test_get_protocol_iv(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_protocol(name)


def test_stylegan_takes_its_neighbours_from_vgg16() -> None:
    stylegan = get_protocol("stylegan")
    assert stylegan.ddof == 0
    assert routed(stylegan, "kid") is stylegan
    elsewhere = routed(stylegan, "precision")
    assert (elsewhere.name, elsewhere.extractor, elsewhere.layer, elsewhere.size) == (
        "stylegan",
        "vgg16-fc2",
        "4096",
        224,
    )
    assert elsewhere.key() == get_protocol("vgg16").key()
    assert routed(get_protocol("ttur"), "precision") == get_protocol("ttur")


def test_a_metrics_own_network_is_the_same_under_every_protocol() -> None:
    for name in PROTOCOLS:
        assert routed(get_protocol(name), "cmmd", "cmmd") == get_protocol("cmmd")
