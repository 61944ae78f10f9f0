"""Files beside the manifest: only below its folder, symbolic links followed first."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from runner.wire import excerpt


class OutsideError(ValueError):
    """A path that isn't a readable file below the manifest's folder."""


def find_inside(folder: Path, written: str) -> Path:
    """The real path of the file that `written` means, on any system.

    Raises:
        OutsideError: it is absolute, leaves the folder, or isn't a file.
    """
    shown = excerpt(written, 80)
    windows, posix = PureWindowsPath(written), PurePosixPath(written)
    if not written.strip():
        raise OutsideError("is empty. Write the name of a file beside the manifest")
    if posix.is_absolute() or windows.drive or windows.root or written.startswith("~"):
        raise OutsideError(
            f"{shown} is an absolute path. Put the file beside the manifest, and write its name"
        )
    if ".." in windows.parts or ".." in posix.parts:
        raise OutsideError(
            f"{shown} leaves the manifest's folder. Put the file beside the manifest, and write its name"
        )
    try:
        root = folder.resolve(strict=True)
        real = (root / written).resolve(strict=True)
        if not real.is_relative_to(root):
            raise OutsideError(
                f"{shown} is a link that leads out of the manifest's folder. Copy the file there"
            )
        if not real.is_file():
            raise OutsideError(
                f"{shown} is not a file. Write the name of a file beside the manifest"
            )
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OutsideError):
            raise
        hint = ". Write / between folders" if "\\" in written else ". Check its name"
        raise OutsideError(f"there is no file {shown} beside the manifest{hint}") from None
    return real
