"""A manifest into jobs, lazily and in order.

Rows come one at a time. What is remembered of each job is a digest of its key, and of its id and its output path where
these were written, so that the same request is made once, ids differ, and no two jobs write one file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from runner.errors import ManifestError, Problem
from runner.job import Spec, job_key
from runner.manifest.body import MisplacedError, make_body, say
from runner.manifest.digests import Digests
from runner.manifest.item import Draft, Item, Where
from runner.manifest.manifest import Manifest
from runner.manifest.outputs import DEFAULT, Output, fold
from runner.manifest.rows import read_rows
from runner.manifest.spec import BUILT_IN
from runner.template import TemplateError
from runner.wire import excerpt

MAX_PROBLEMS = 100
HASH_LENGTHS = (8, 12, 16, 32)
"""Characters of its key that a job without a written id is called by: as few as make it differ."""

_HEX = re.compile(r"[0-9a-f]+")
_HIDDEN_COLUMNS = BUILT_IN - {"prompt", "id"}


def expand(manifest: Manifest, *, warn: Callable[[Problem], None] | None = None) -> Iterator[Draft]:
    """Make the jobs, one at a time; `warn` is told of requests that were left out because they exist already.

    Nothing may be bought before the last one is out: what is wrong with a row or a combination is known only then.
    From the first mistake on no job is given out any more.

    Raises:
        ManifestError: at the end of the iteration, everything that is wrong with rows, ids, pictures and outputs.
    """
    return _Expansion(manifest, warn)


class _Made(NamedTuple):
    """A request without a name. `base` is its key as a first copy, `turn` the combination that it comes from."""

    values: dict[str, Any]
    params: dict[str, Any]
    written: str
    key: str
    base: str
    repeat: int
    turn: int


class _Expansion(Iterator[Draft]):
    """The jobs of a manifest, and what is remembered of those that are made."""

    def __init__(
        self,
        manifest: Manifest,
        warn: Callable[[Problem], None] | None = None,
        *,
        check_paths: bool = True,
    ) -> None:
        """Without `check_paths` two jobs may have one path: that is how the first of two is found again."""
        self._tell = warn
        self._manifest = manifest
        self._problems: dict[Problem, None] = {}
        self._clashes: dict[bytes, tuple[str, Where]] = {}
        self._made = 0
        self._keys = Digests()
        self._ids = Digests()
        self._paths = Digests()
        default = Output.parse(DEFAULT)  # its paths differ because ids do
        self._check_paths = check_paths and any(item.output != default for item in manifest.items)
        self._drafts = self._run()

    def __next__(self) -> Draft:
        """The next job."""
        return next(self._drafts)

    def _run(self) -> Iterator[Draft]:
        for item in self._manifest.items:
            before, rows = self._made, 0
            for row, where in self._rows(item):
                rows += 1
                yield from self._jobs(item, row, where)
                if self._full():
                    break
            if self._full():
                break
            self._warn(item, rows, self._made - before)
        self._explain_clashes()
        if self._problems:
            raise ManifestError(list(self._problems))

    def _rows(self, item: Item) -> Iterator[tuple[dict[str, Any], Where]]:
        if item.source is None:
            yield {}, Where(item)
            return
        try:
            for row, line in read_rows(item.source.path, item.source.file):
                yield row, Where(item, line)
        except ManifestError as error:
            self._problems.update(dict.fromkeys(error.problems))
        except OSError as error:
            message = f"can't be read: {error.strerror}. Check its permissions"
            self._problems[Problem(item.source.file, 0, 0, message)] = None

    def _jobs(self, item: Item, row: dict[str, Any], where: Where) -> Iterator[Draft]:
        """The jobs of one item or row. A written id stays as it is where it names only one combination."""
        requests = self._requests(item, row, where)
        turns: dict[str, set[int]] = {}
        if item.id is not None and len(item.combinations) > 1:
            group = list(requests)
            for one in group:
                turns.setdefault(one.written, set()).add(one.turn)
            requests = iter(group)
        for one in requests:
            draft = self._draft(item, one, len(turns.get(one.written, ())) > 1, where)
            if not self._problems and not self._clashes:
                yield draft

    def _requests(self, item: Item, row: dict[str, Any], where: Where) -> Iterator[_Made]:
        manifest = self._manifest
        columns = {name: one for name, one in row.items() if name not in _HIDDEN_COLUMNS}
        for turn, combination in enumerate(item.combinations):
            for repeat in range(item.repeat):
                if repeat == 0 or item.counting:
                    values = {**manifest.variables, **combination, **columns, **item.vars}
                    values["index"], values["repeat"] = self._made + 1, repeat + 1
                    try:
                        params, written = make_body(item, row, values, manifest.images)
                    except MisplacedError as error:
                        self._complain(where, error.path, str(error))
                        break
                    base = key = self._key(params, written, 0)
                if repeat:
                    key = self._key(params, written, repeat)
                    values = {**values, "repeat": repeat + 1}
                if not self._take(key):
                    continue
                values["index"] = self._made
                yield _Made(values, params, written, key, base, repeat, turn)
                if self._made > manifest.cap:
                    words = f"more than {manifest.cap:,} jobs. Use fewer rows, or raise --max-jobs"
                    self._complain(where, (), words)
                    return

    def _key(self, params: Mapping[str, Any], written: str, repeat: int) -> str:
        return job_key(self._manifest.name, self._manifest.model, params, written, repeat)

    def _take(self, key: str) -> bool:
        """Count the request; False where it was made before."""
        new = self._keys.add(bytes.fromhex(key))
        self._made += new
        return new

    def _draft(self, item: Item, one: _Made, shared: bool, where: Where) -> Draft:
        name = one.values["id"] = self._id(one, shared)
        path = ""
        try:
            path = item.output.path(one.values)
        except TemplateError as error:
            self._complain(where, (), f"output: {say(error)}")
        if self._check_paths and path:
            digest = _digest(fold(path))
            if not self._paths.add(digest) and len(self._clashes) < MAX_PROBLEMS:
                self._clashes.setdefault(digest, (path, where))
        spec = Spec(
            key=one.key,
            batch=self._manifest.name,
            id=name,
            index=one.values["index"],
            repeat=one.repeat,
            model=self._manifest.model,
            params=one.params,
            output=path,
        )
        return Draft(spec, where)

    def _id(self, one: _Made, shared: bool) -> str:
        """An id that nobody has yet: the written one, or as much of the key as it takes."""
        copy = f"-{one.repeat + 1}" if one.repeat else ""
        name = one.written + copy
        if one.written and not shared and self._free(name):
            return name
        start = f"{one.written}-" if one.written else ""
        free = self._free if start or copy else self._free_start
        for length in (6 if start else HASH_LENGTHS[0], *HASH_LENGTHS[1:]):
            name = f"{start}{one.base[:length]}{copy}"
            if free(name):
                break
        return name

    def _free(self, name: str) -> bool:
        """Take an id; False where another job has it, or may have it because its key begins like this."""
        lowered = name.lower()
        if len(lowered) in HASH_LENGTHS and _HEX.fullmatch(lowered):
            return not self._keys.count(bytes.fromhex(lowered), 1) and self._ids.add(
                _digest(lowered)
            )
        return self._ids.add(_digest(lowered))

    def _free_start(self, name: str) -> bool:
        """Whether no other key begins like this, and nobody wrote it as an id. So it need not be remembered."""
        if self._keys.count(bytes.fromhex(name), 2) > 1:
            return False
        return not (self._ids and self._ids.count(_digest(name), 1))

    def _complain(self, where: Where, path: tuple[str | int, ...], message: str) -> None:
        self._problems[Problem(*where.locate(*path), message)] = None

    def _full(self) -> bool:
        return len(self._problems) >= MAX_PROBLEMS or self._made > self._manifest.cap

    def _warn(self, item: Item, rows: int, made: int) -> None:
        wanted = rows * len(item.combinations) * item.repeat
        message = ""
        if rows == 0:
            message = "this file has no rows"
        elif made < wanted and not self._problems:
            kind = "combinations" if item.source is None and item.repeat == 1 else "jobs"
            message = (
                f"{wanted - made:,} of {wanted:,} {kind} make the same request as another; each is bought once. "
                "Write repeat: for wanted copies"
            )
        if message and self._tell is not None:
            self._tell(Problem(*Where(item).locate(), message, warning=True))

    def _explain_clashes(self) -> None:
        """Name both places. The first one is found by going through the jobs again, so that nothing is kept for it."""
        if not self._clashes:
            return
        first: dict[bytes, Where] = {}
        try:
            for draft in _Expansion(self._manifest, check_paths=False):
                digest = _digest(fold(draft.spec.output))
                if digest in self._clashes:
                    first.setdefault(digest, draft.where)
        except ManifestError:
            pass  # these are reported anyway
        for digest, (path, where) in self._clashes.items():
            other = first.get(digest)
            shown = excerpt(path, 120)
            words = "another combination of this prompt"
            if other is not None and (other.item, other.row) != (where.item, where.row):
                words = "the one at {}:{}:{}".format(*other.locate())
            self._complain(
                where,
                (),
                f"this job and {words} both write {shown}. Put ${{{{ id }}}} into output:",
            )


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
