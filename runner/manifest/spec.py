"""The shape of a manifest: what may be written where, and the JSON Schema that editors read.

Values that have a form of their own (money, rates, durations) are checked by the modules that own the form.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from runner.budget import Money
from runner.limits import Rate, parse_duration

BUILT_IN = frozenset({"batch", "id", "index", "prompt", "date", "time", "ext", "repeat"})
"""Variables that every job has; nothing else may take their names."""

_SEGMENT = r"[A-Za-z0-9._-]+"
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Scalar = str | int | float | bool


def _money(text: str | int | float) -> str:
    amount = Money.parse(str(text))
    if amount.micros <= 0:
        raise ValueError("a budget has to be more than nothing. Write budget: 25 USD, or remove it")
    return str(text)


def _rate(text: str | int) -> str:
    return str(Rate.parse(str(text)))


def _timeout(text: str | int | float) -> str | int | float:
    if not parse_duration(text) > 0:
        raise ValueError("a timeout has to be longer than nothing. Write 90s, 15m or 2h")
    return text


def _version(number: int) -> int:
    if number > 1:
        raise ValueError(
            f"this manifest is of version {number}, this release reads version 1. Install a newer release of runner"
        )
    if number < 1:
        raise ValueError("there is no such version. Write version: 1")
    return number


def _provider(name: str) -> str:
    if "://" in name:
        raise ValueError(
            "a provider is a name, not a URL: providers.yaml says where it is. Write provider: fal"
        )
    if not _PROVIDER.fullmatch(name):
        raise ValueError("a provider's name has letters, digits, . _ and -. Write provider: fal")
    return name


def _model(path: str) -> str:
    if "://" in path:
        raise ValueError(
            "the model is a path, not a URL: the provider's address is in providers.yaml. "
            "Write what follows the host, such as fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
        )
    if "?" in path or "#" in path:
        raise ValueError(
            "the model's path can't hold ? or #. Write fields of the request under params:"
        )
    if path.startswith("/"):
        raise ValueError(f"the model's path is relative. Write {path.lstrip('/') or 'fal-ai/…'}")
    segments = path.split("/")
    if ".." in segments or "." in segments:
        raise ValueError("the model's path can't hold . or .. as a part. Write it in full")
    if len(path) > 200 or not all(re.fullmatch(_SEGMENT, segment) for segment in segments):
        raise ValueError(
            "the model's path has parts of letters, digits, . _ and -, with / between them. "
            "Write it as the provider does, such as kling/v1/videos/text2video"
        )
    return path


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class LimitsSpec(_Part):
    """Limits of this batch; they only tighten those of the provider."""

    submits: Annotated[str | int, AfterValidator(_rate)] | None = Field(
        None, description="Paid submits per window: 30/1m", examples=["30/1m", "10/1s"]
    )
    in_flight: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Jobs at the provider at one time"
    )
    requests: Annotated[str | int, AfterValidator(_rate)] | None = Field(
        None, description="Requests of any kind per window: 10/1s", examples=["10/1s"]
    )


class ItemSpec(_Part):
    """A prompt with settings of its own, or a file of prompts."""

    prompt: str | None = Field(
        None, description="The text. With from: a template over the file's columns"
    )
    source: str | None = Field(
        None,
        alias="from",
        description="A file of prompts beside the manifest: .csv .tsv .jsonl .txt; columns are variables",
    )
    id: str | int | None = Field(
        None, description="A name for the job; otherwise a short content hash"
    )
    vars: dict[str, Scalar] | None = Field(
        None, description="Variables of this item; they win over all others"
    )
    params: dict[str, Any] | None = Field(
        None, description="Request body fields that override the top level's; null removes one"
    )
    repeat: Annotated[int, Field(ge=1, le=10_000)] = Field(1, description="How many copies to buy")
    output: str | None = Field(None, description="Overrides the top level's output")


class MatrixSpec(_Part):
    """Every combination of the axes, with GitHub Actions' meaning of include and exclude."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[list[Any], Field(min_length=1)]]

    include: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Adds variables to matching combinations, or adds a combination where none matches",
    )
    exclude: list[dict[str, Any]] = Field(
        default_factory=list, description="Removes the combinations that match"
    )


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "item"


Prompt = Annotated[
    Annotated[str, Tag("text")] | Annotated[ItemSpec, Tag("item")], Discriminator(_kind)
]


class ManifestSpec(_Part):
    """What to make, with which model, at which provider."""

    version: Annotated[int, AfterValidator(_version)] = Field(
        description="Version of this format: 1", examples=[1]
    )
    name: str | None = Field(
        None, description="The batch's name; default: the file's stem. May hold ${{ date }}"
    )
    provider: Annotated[str, AfterValidator(_provider)] = Field(
        description="Who sells it: a name from the presets or from providers.yaml",
        examples=["fal", "kling", "simulator"],
    )
    model: Annotated[str, AfterValidator(_model)] = Field(
        description="The endpoint's path",
        examples=["fal-ai/kling-video/v2.5-turbo/pro/text-to-video", "kling/v1/videos/text2video"],
    )
    params: dict[str, Any] | None = Field(
        None, description="Request body, in the API's own field names"
    )
    vars: dict[str, Scalar] | None = Field(None, description="Variables: used as ${{ name }}")
    matrix: MatrixSpec | None = Field(
        None, description="Axes: every combination of their values is made for every prompt"
    )
    prompts: Annotated[list[Prompt], Field(min_length=1)] = Field(
        description="Texts, items and files of prompts"
    )
    output: str | None = Field(
        None,
        description="Where a result goes, under the outputs folder; default: ${{ batch }}/${{ id }}.${{ ext }}",
    )
    limits: LimitsSpec | None = Field(None, description="Slower than the provider allows")
    budget: Annotated[str | int | float, AfterValidator(_money)] | None = Field(
        None, description="Stop before this is spent: 25 USD", examples=["25 USD"]
    )
    on_doubt: Literal["hold", "resubmit"] = Field(
        "hold",
        description="When nobody can tell whether a submit was taken: hold for a person, or submit again "
        "and maybe pay twice",
    )
    timeout: Annotated[str | int | float, AfterValidator(_timeout)] | None = Field(
        None,
        description="After this a running job is reported as stuck; it is still polled",
        examples=["2h", "90s"],
    )


def schema() -> dict[str, Any]:
    """The manifest's JSON Schema (draft 2020-12), with descriptions."""
    document = ManifestSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "runner manifest",
        **{name: value for name, value in document.items() if name != "title"},
        "patternProperties": {"^x-": {"description": "Ignored; a place for anchors"}},
    }
