"""What the program and its libraries log, as lines on stderr."""

from __future__ import annotations

import logging

from runner.cli.out import Out


class _ToOut(logging.Handler):
    """Prints records through `Out`, which masks secrets and keeps clear of the table that is being drawn."""

    def __init__(self, out: Out) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; its traceback only with `-v`."""
        from runner.cli.words import plain  # noqa: PLC0415 - `--help` logs nothing

        least = logging.DEBUG if self._out.verbose else logging.WARNING
        if record.levelno < least:
            return
        try:
            text = f"{record.levelname.lower()}: {plain(record.getMessage())}"
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                text += f": {type(error).__name__}: {plain(str(error))}"
                if self._out.verbose:
                    trace = logging.Formatter().formatException(record.exc_info)
                    text += "\n" + plain(trace)
            self._out.note(text)
        except Exception:  # noqa: BLE001 - a log line must never end a run
            self.handleError(record)


def log_to(out: Out) -> None:
    """Send all logging to `out`. Libraries speak up from warnings on; this program more under `-v`."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _ToOut):
            root.removeHandler(handler)
    root.addHandler(_ToOut(out))
    logging.getLogger("runner").setLevel(logging.DEBUG)
