"""Files that are there as a whole or not at all, whatever happens while they are written."""

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """
    Write a file under another name and then give it its own; an earlier file stays until then.

    :param path: the file; its folder is made if need be
    :param content: what to write; text becomes UTF-8
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
