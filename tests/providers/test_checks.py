"""Checking bodies before money is spent, and what is known of models."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.budget import Money
from runner.providers import (
    Finding,
    check,
    default_seconds,
    find_model,
    image_fields,
    image_limits,
    known_models,
    normalise,
    presets,
    price,
)
from runner.wire import Image
from tests.providers.talk import GATEWAY, IMAGE, NATIVE, TEXT, recorded

V3 = "fal-ai/kling-video/v3/pro/text-to-video"
I2V = "v1/videos/image2video"


def _check(model: str, params: dict[str, Any], provider: str = "kling") -> list[Finding]:
    return check(presets()[provider], model, params)


def _errors(found: list[Finding]) -> list[Finding]:
    return [one for one in found if not one.warning]


@pytest.mark.parametrize("seed", sorted(recorded("seeds")))
def test_every_documented_example_passes(seed: str) -> None:
    """What a seller shows on its page is not refused here."""
    entry = recorded("seeds")[seed]
    assert _errors(_check(entry["model"], entry["request"], entry["provider"])) == []


@pytest.mark.parametrize(
    ("file", "name", "model", "provider"),
    [
        ("fal", "A1", TEXT, "winfull"),
        ("fal", "A2", "fal-ai/kling-video/v2.5-turbo/pro/image-to-video", "quickrouter"),
        ("uniapi", "B1", IMAGE, "uniapi"),
        ("kling", "C2", I2V, "quickrouter"),
        ("kling", "C3", NATIVE, "kling"),
        ("kling", "D1", GATEWAY, "kling-gateway"),
        ("gateway", "E1", GATEWAY, "quickrouter"),
    ],
)
def test_recorded_requests_pass_without_a_word(
    file: str, name: str, model: str, provider: str
) -> None:
    """A request that is known to be right draws neither error nor warning."""
    assert _check(model, recorded(file)[name]["request"], provider) == []


@pytest.mark.parametrize(
    ("model", "params", "path", "message"),
    [
        (TEXT, {}, (), "prompt is missing"),
        (TEXT, {"prompt": ""}, (), "prompt is missing"),
        (TEXT, {"prompt": 5}, ("prompt",), "Write a text"),
        (TEXT, {"prompt": "x", "duration": 7}, ("duration",), "Write one of: 5, 10"),
        (TEXT, {"prompt": "x", "duration": "five"}, ("duration",), "duration can't be 'five'"),
        (TEXT, {"prompt": "x", "aspect_ratio": "4:3"}, ("aspect_ratio",), "16:9, 9:16, 1:1"),
        (TEXT, {"prompt": "x", "aspect_ratio": 969}, ("aspect_ratio",), "16:9"),
        (TEXT, {"prompt": "x", "cfg_scale": 1.5}, ("cfg_scale",), "from 0 to 1"),
        (TEXT, {"prompt": "x", "cfg_scale": True}, ("cfg_scale",), "from 0 to 1"),
        (IMAGE, {"prompt": "x"}, (), "image_url is missing"),
        (V3, {"duration": 5}, (), "prompt or multi_prompt is missing"),
        (V3, {"prompt": "x", "multi_prompt": [{"prompt": "y"}]}, ("multi_prompt",), "exclude"),
        (V3, {"multi_prompt": [{}]}, ("multi_prompt", 0), "prompt is missing"),
        (V3, {"prompt": "x", "generate_audio": "yes"}, ("generate_audio",), "true or"),
        (V3, {"prompt": "x", "duration": 2}, ("duration",), "from 3 to 15"),
        (NATIVE, {"model_name": "kling-v1"}, (), "prompt is missing"),
        (NATIVE, {"prompt": "x", "mode": "high"}, ("mode",), "std, pro, 4k"),
        (NATIVE, {"prompt": "x", "duration": 7}, ("duration",), "does not make 7 s clips"),
        (NATIVE, {"prompt": "x", "multi_shot": True}, (), "shot_type is missing"),
        (NATIVE, {"prompt": "x", "external_task_id": "a"}, ("external_task_id",), "Remove"),
        (I2V, {"prompt": "x"}, (), "image is missing"),
        (I2V, {"image": ["a"]}, ("image",), "Write a path or an address"),
        (I2V, {"image": "a.png", "image_tail": "b.png", "static_mask": "m.png"}, ("static_mask",),
         "exclude each other"),
        ("v1/videos/multi-image2video", {"prompt": "x", "image_list": [{"image": "a"}] * 5},
         ("image_list",), "has 5 items"),
        ("v1/videos/omni-video", {"prompt": "x", "image_list": [{"type": "first_frame"}]},
         ("image_list", 0), "image_url is missing"),
    ],
)  # fmt: skip
def test_what_would_be_refused_is_an_error(
    model: str, params: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    """Each mistake is found at its place, with what to write instead."""
    found = _errors(_check(model, params))
    assert [one.path for one in found] == [path]
    assert message in found[0].message


CAMERA = {"type": "simple", "config": {"zoom": 5, "pan": 0}}


@pytest.mark.parametrize(
    ("camera", "wrong"),
    [
        (CAMERA, ""),
        ({"type": "down_back"}, ""),
        ({"type": "normal"}, "can't be 'normal'"),
        ({"type": "simple"}, "needs config"),
        ({"type": "down_back", "config": {"zoom": 1}}, "Remove it"),
        ({"type": "simple", "config": {"zoom": 5, "pan": 1}}, "moves 2 axes"),
        ({"type": "simple", "config": {"zoom": 0}}, "moves 0 axes"),
        ({"type": "simple", "config": {"zoom": 11}}, "from -10 to 10"),
        ({"type": "simple", "config": {"zoom": 1, "spin": 1}}, "no axis 'spin'"),
    ],
)
def test_camera_moves_along_one_axis(camera: dict[str, Any], wrong: str) -> None:
    """`simple` takes exactly one axis, the others take none."""
    found = _errors(_check(NATIVE, {"prompt": "x", "camera_control": camera}))
    assert [wrong in one.message for one in found][:1] == ([True] if wrong else [])


@pytest.mark.parametrize(
    ("lengths", "whole", "fits"), [((3, 2), 5, True), (("3", "2"), "5", True), ((3, 3), 5, False)]
)
def test_shots_add_up(lengths: tuple[Any, ...], whole: Any, fits: bool) -> None:
    """The shots of a clip last as long as the clip."""
    shots = [{"index": 1, "prompt": "a", "duration": length} for length in lengths]
    params = {"model_name": "kling-v3", "multi_shot": True, "shot_type": "customize",
              "multi_prompt": shots, "duration": whole}  # fmt: skip
    assert (_errors(_check(NATIVE, params)) == []) is fits


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        (TEXT, {"prompt": "x" * 2501}, "2501 characters"),
        (TEXT, {"prompt": "x", "aspect_ration": "16:9"}, "Did you mean aspect_ratio?"),
        (IMAGE, {"prompt": "x", "image_url": "a.png", "aspect_ratio": "16:9"}, "not a documented field"),
        (NATIVE, {"prompt": "x", "model_name": "kling-v2-6-turbo"}, "Did you mean kling-v2"),
        (NATIVE, {"prompt": "x", "model_name": "kling-v1-5"}, "not documented for"),
        (NATIVE, {"prompt": "x", "model_name": "kling-v2-master", "mode": "pro"}, "Remove mode:"),
        (NATIVE, {"prompt": "x", "model_name": "kling-v2-5-turbo", "cfg_scale": 0.5}, "without cfg_scale"),
        (NATIVE, {"prompt": "x", "model_name": "kling-v1", "sound": "on"}, "without sound"),
        ("fal-ai/kling-video/v2.5-turbo/pro/text-to-vide", {"prompt": "x"}, "Did you mean fal-ai"),
        ("fal-ai/never/heard/of", {}, "not known here"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_a_warning(model: str, params: dict[str, Any], message: str) -> None:
    """Unknown fields, long prompts and contradicting documentation never stop a job."""
    found = _check(model, params)
    assert _errors(found) == []
    assert message in found[0].message


def test_pictures_count_whatever_stands_for_them() -> None:
    """A path, an address, loaded bytes and a stored reference are all pictures."""
    pictures: list[Any] = ["a.png", "https://x.example/a.png", Image(b"", "image/png")]
    for picture in [*pictures, {"$image": {}}]:
        assert _check(I2V, {"image": picture}) == []


@pytest.mark.parametrize(
    ("provider", "written", "sent"),
    [("kling", 5, "5"), ("kling", 5.0, "5"), ("kling", "5", "5"), ("quickrouter", 10, "10"),
     ("kling-gateway", "5", 5), ("kling-gateway", 5, 5), ("kling-gateway", "5.0", 5),
     ("kling", "five", "five"), ("kling", True, True), ("kling", None, None)],
)  # fmt: skip
def test_lengths_go_out_the_way_the_seller_wants(provider: str, written: Any, sent: Any) -> None:
    """`5` and `"5"` are the same wish, written as this seller's API wants it."""
    found = normalise(presets()[provider], GATEWAY, {"prompt": "x", "duration": written})
    assert found == {"prompt": "x", "duration": sent}
    assert type(found["duration"]) is type(sent)


def test_lengths_of_shots_are_typed_too() -> None:
    """A length deep inside the body is a length as well, and everything else stays as written."""
    shots = [{"index": 1, "prompt": "a", "duration": 3}]
    params = {"multi_prompt": shots, "multi_shot": "false", "cfg_scale": "0.5", "other": 5}
    found = normalise(presets()["kling"], NATIVE, params)
    assert found == params | {"multi_prompt": [{"index": 1, "prompt": "a", "duration": "3"}]}


def test_unknown_models_are_sent_as_written() -> None:
    """Nothing is guessed about a model that was never met."""
    assert normalise(presets()["fal"], "fal-ai/x/y", {"duration": 5}) == {"duration": 5}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted({name for path in known_models() for name in find_model(path).fields})  # type: ignore[union-attr]


@given(st.sampled_from(known_models()), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8))
def test_any_values_are_checked_without_a_crash(model: str, params: dict[str, Any]) -> None:
    """Whatever a manifest holds, checking it ends, and what is found points into it."""
    for provider in presets().values():
        normalise(provider, model, params)
        for one in check(provider, model, params):
            assert one.message.isprintable()
            if one.path:
                assert isinstance(one.path[0], str)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (TEXT, ()),
        (IMAGE, ("image_url",)),
        ("fal-ai/kling-video/v2.6/pro/image-to-video", ("end_image_url", "start_image_url")),
        ("kling/v1/videos/image2video",
         ("dynamic_masks.*.mask", "image", "image_tail", "static_mask")),
        ("v1/videos/omni-video", ("image_list.*.image_url",)),
    ],
)  # fmt: skip
def test_image_fields_differ_by_model(model: str, fields: tuple[str, ...]) -> None:
    """Where a picture goes is known per model: the name is not the same for all."""
    assert image_fields(model) == fields


def test_image_fields_of_unknown_models_are_the_usual_ones() -> None:
    """A local picture works with a model that was never met."""
    assert {"image_url", "image", "image_tail"} <= set(image_fields("some/new/model"))


def test_image_limits_are_the_apis() -> None:
    """Kling takes JPEG and PNG up to 10 MB."""
    assert image_limits(I2V) == (10_000_000, ("image/jpeg", "image/png"))
    assert "image/webp" in image_limits(IMAGE)[1]


@pytest.mark.parametrize(
    ("model", "params", "cost"),
    [
        (TEXT, {"duration": "10"}, "0.70 USD"),
        (TEXT, {}, "0.35 USD"),
        ("fal-ai/kling-video/v2.1/master/text-to-video", {}, "1.40 USD"),
        ("fal-ai/kling-video/v2.5-turbo/standard/image-to-video", {}, "0.21 USD"),
        ("fal-ai/kling-video/v2.1/pro/image-to-video", {}, "0.49 USD"),
        ("fal-ai/kling-video/v3/turbo/pro/text-to-video", {}, "0.70 USD"),
    ],
)
def test_prices_of_fal(model: str, params: dict[str, Any], cost: str) -> None:
    """Fal's own prices are known, with the default length where the params don't say."""
    found = price(presets()["fal"], model, params)
    assert found == Money.parse(cost)


def test_prices_of_others_are_unknown() -> None:
    """What a reseller charges is not guessed from what fal charges."""
    assert price(presets()["winfull"], TEXT, {}) is None


def test_prices_say_where_they_are_from() -> None:
    """Every price in the presets has a source and a date."""
    for provider in presets().values():
        for found in provider.prices.values():
            assert found.source
            assert found.date


def test_lengths_of_clips() -> None:
    """The length of a clip is what the params say, else the documented default."""
    assert default_seconds(TEXT, {}) == Decimal(5)
    assert default_seconds(TEXT, {"duration": "10"}) == Decimal(10)
    assert default_seconds("some/model", {}) is None
