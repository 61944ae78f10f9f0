"""The entries of `prompts:` into items, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from runner.manifest.item import Field, Item
from runner.manifest.marks import Node
from runner.manifest.matrix import Combination
from runner.manifest.names import check_names, clean_id
from runner.manifest.outputs import DEFAULT, Output
from runner.manifest.reading import Reading, Scope
from runner.manifest.sources import need_prompt, read_source
from runner.manifest.spec import BUILT_IN
from runner.template import Template, TemplateError

_HAS_ALWAYS = frozenset({"batch", "date", "time", "index", "repeat"})
_LATE = {"ext": "${{ ext }} is known only when the result is here. Use it in output: only"}
_IN_ITSELF = "${{ prompt }} can't stand in the prompt itself. Write the text"
_ID_IN_PROMPT = (
    "${{ id }} can't stand in the prompt, because the id is made from it. Use another variable"
)
_NO_ID = (
    "${{ id }} is a hash of the request here, so it can't be part of it. Write id: in this item"
)


class Entries:
    """Reads items one by one; what all of them share (scopes, top-level fields) is made once."""

    def __init__(
        self,
        reading: Reading,
        root: Node,
        path: Path,
        variables: Mapping[str, Any],
        combinations: Sequence[Combination],
        axes: Mapping[str, str | None],
    ) -> None:
        """`axes` maps each name of the matrix to the combination that lacks it, if one does."""
        self.complete = True
        """Whether every file of rows could be looked into; if not, nobody knows what they use."""
        self._reading = reading
        self._root = root
        self._folder = path.parent
        self._combinations = combinations
        known = _HAS_ALWAYS | set(variables) | {name for name, gap in axes.items() if gap is None}
        reasons = dict(_LATE)
        for name in _names_elsewhere(root):
            reasons[name] = (
                f"${{{{ {name} }}}} has no value for some of the prompts. Give it one for all under vars:"
            )
        for name, gap in axes.items():
            if gap is not None:
                reasons[name] = (
                    f"${{{{ {name} }}}} has no value where {gap}. Give it one for all under vars:"
                )
        self._scope = Scope(frozenset(known), reasons)
        self._fields: dict[tuple[Any, ...], Field] = {}
        top = root.get("params")
        self._top = top.value if top is not None and isinstance(top.value, dict) else {}
        self._outputs: dict[tuple[Any, ...], Output] = {}

    def read_all(self) -> list[Item]:
        """Compile all entries that have the shape of one."""
        prompts = self._root.get("prompts")
        entries = prompts.value if prompts is not None and isinstance(prompts.value, list) else []
        return [item for item in map(self.read, entries) if item is not None]

    def read(self, node: Node) -> Item | None:
        """Compile one entry; None where its shape is wrong, which the shape check has said."""
        if not isinstance(node.value, str | dict):
            return None
        source = read_source(self._reading, node, self._folder)
        if source is None and node.get("from") is not None:
            self.complete = False
            return None
        columns = frozenset() if source is None else source.columns
        own = node.get("vars")
        check_names(self._reading, own, "variable")
        variables = _values(own)
        scope = self._scope.plus(*variables, *(columns - BUILT_IN))
        prompt = self._prompt(node, scope, columns)
        written = self._id(node, scope, columns)
        key = (frozenset(variables), columns, written is None)
        fields = self._fields_of(node, scope, key, prompt)
        names = set(_names(fields, prompt, written))
        _warn_of_change(self._reading, node, names)
        if source is not None and prompt is None:
            need_prompt(self._reading, node, source, fields)
            self._reading.used.update(source.mentions)
            names |= source.mentions
        return Item(
            file=self._reading.file,
            root=self._root,
            node=node,
            prompt=prompt,
            fields=fields,
            id=written,
            output=self._output(node, scope.plus("prompt", "id"), key),
            repeat=_repeat(node),
            vars=variables,
            source=source,
            combinations=self._combinations,
            counting=not names.isdisjoint(("index", "repeat")),
        )

    def _prompt(self, node: Node, scope: Scope, columns: frozenset[str]) -> Template | None:
        text = node if isinstance(node.value, str) else node.get("prompt")
        if text is None:
            return None
        if isinstance(text.value, str) and not text.value.strip():
            self._reading.complain(text.place(), "the prompt is empty. Write one, or remove it")
            return None
        scope = scope.plus("id") if "id" in columns else scope.minus(id=_ID_IN_PROMPT)
        scope = scope.plus("prompt") if "prompt" in columns else scope.minus(prompt=_IN_ITSELF)
        return self._reading.template(text, scope)

    def _id(self, node: Node, scope: Scope, columns: frozenset[str]) -> Template | None:
        text = node.get("id")
        if text is None or text.value is None:
            return Template(("", ""), ("id",), (0,)) if "id" in columns else None
        scope = scope.plus("prompt", "id") if "id" in columns else scope.plus("prompt")
        template = self._reading.template(text, scope)
        if template is not None and not template.names:
            try:
                clean_id(template.texts[0])
            except TemplateError as error:
                self._reading.complain(text.place(), str(error))
        return template

    def _fields_of(
        self, node: Node, scope: Scope, key: tuple[Any, ...], prompt: Template | None
    ) -> tuple[Field, ...]:
        """The item's fields over those of the top level; `key` stands for the scope, so that these are made once."""
        written = not key[-1]
        scope = scope.plus("prompt", "id") if written else scope.plus("prompt").minus(id=_NO_ID)
        own = node.get("params")
        overrides = own.value if own is not None and isinstance(own.value, dict) else {}
        if prompt is not None and own is not None and "prompt" in overrides:
            self._reading.complain(
                own.keys["prompt"],
                "the prompt stands twice. Keep prompt: of the item, and remove this",
            )
        fields = []
        for name in sorted({**self._top, **overrides}, key=lambda name: name != "prompt"):
            if name in overrides:
                self._reject_marker(name, own)
                fields.append(self._reading.field(name, overrides[name], scope))
            else:
                if (*key, name) not in self._fields:
                    self._reject_marker(name, self._root.get("params"))
                    self._fields[*key, name] = self._reading.field(name, self._top[name], scope)
                fields.append(self._fields[*key, name])
        return tuple(field for field in fields if field.form is not None)

    def _reject_marker(self, name: str, params: Node | None) -> None:
        if name.startswith("$") and params is not None:
            self._reading.complain(
                params.keys[name], "a name that starts with $ can't be in a request. Remove it"
            )

    def _output(self, node: Node, scope: Scope, key: tuple[Any, ...]) -> Output:
        own, top = node.get("output"), self._root.get("output")
        text = own or top
        if text is None or not isinstance(text.value, str):
            return _DEFAULT_OUTPUT
        cached = self._outputs.get(key) if own is None else None
        if cached is not None:
            return cached
        try:
            output = Output.parse(text.value)
            whole = Template.parse(text.value)
        except TemplateError as error:
            self._reading.complain(text.spot(error.offset), f"output: {error}")
            return _DEFAULT_OUTPUT
        names = dict(zip(whole.names, whole.offsets, strict=True))
        names.pop("ext", None)
        self._reading.check(text, names, scope)
        if own is None:
            self._outputs[key] = output
        return output


_DEFAULT_OUTPUT = Output.parse(DEFAULT)


def _repeat(node: Node) -> int:
    written = node.get("repeat")
    return written.value if written is not None and type(written.value) is int else 1


def _names_elsewhere(root: Node) -> set[str]:
    prompts = root.get("prompts")
    entries = prompts.value if prompts is not None and isinstance(prompts.value, list) else []
    own = (entry.get("vars") for entry in entries)
    return {
        name for one in own if one is not None and isinstance(one.value, dict) for name in one.value
    }


def _values(node: Node | None) -> dict[str, Any]:
    if node is None or not isinstance(node.value, dict):
        return {}
    return {name: one.value for name, one in node.value.items()}


def _names(fields: Sequence[Field], *templates: Template | None) -> Iterator[str]:
    for part in (*fields, *templates):
        if part is not None:
            yield from part.names


def _warn_of_change(reading: Reading, node: Node, names: Set[str]) -> None:
    place = node.line, node.column
    if "time" in names:
        reading.warn(
            place,
            "${{ time }} makes this request a new one in every run, which is bought again. Use it in output: only",
        )
    if "index" in names:
        reading.warn(
            place,
            "${{ index }} changes when a prompt is added above, and a changed request is bought again. "
            "Use a variable of your own",
        )
