"""Executes the notebooks of a folder from top to bottom, each in an empty working folder, and fails with the first error.

Arguments: the folder of notebooks; --html FOLDER writes each executed notebook as a page.
"""

import argparse
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", type=Path)
    parser.add_argument("--html", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.notebooks.glob("*.ipynb"))
    assert paths, f"{arguments.notebooks} has no notebooks"
    for path in paths:
        begin = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), f"{path.name} has outputs: clear them before a commit"
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
        shown = sum(len(cell.get("outputs", ())) for cell in notebook.cells)
        print(f"{path.name}: {len(notebook.cells)} cells, {shown} outputs, {time.monotonic() - begin:.0f} s")
        if arguments.html:
            from nbconvert import HTMLExporter

            arguments.html.mkdir(parents=True, exist_ok=True)
            page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
            (arguments.html / path.with_suffix(".html").name).write_text(page, encoding="utf-8")


main()
