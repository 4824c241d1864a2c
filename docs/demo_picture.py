"""Draw the demo's output as a terminal: ``python docs/demo_picture.py`` writes ``docs/demo.svg``. It takes rich."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ["python", "-m", "trio_webpubsub", "demo"]
NAMES = r"\b(ann|bob|cat)\b"


def main() -> None:
    """Run the demo, and draw what it prints."""
    printed = subprocess.run([sys.executable, *COMMAND[1:]], check=True, capture_output=True, text=True).stdout
    lines = printed.splitlines()
    console = Console(record=True, width=max(map(len, lines)) + 1, file=io.StringIO())
    console.print(Text.assemble(("$ ", "dim"), (" ".join(COMMAND), "bold")))
    for line in lines:
        console.print(coloured(line))
    svg = console.export_svg(title="trio-webpubsub", unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fetched from elsewhere; any monospace will do
    Path(__file__).with_name("demo.svg").write_text(svg)


def coloured(line: str) -> Text:
    """Let the times step back, and what matters stand out."""
    text = Text(line)
    text.highlight_regex(r"^ *[\d.]+ s", "dim")
    text.highlight_regex(NAMES, "cyan")
    text.highlight_regex(r"is cut|code \d+", "yellow")
    text.highlight_regex(r"recovered|heard it all, nothing is missing|\b0 (lost|repeated|out of order)", "green")
    if re.search(r"\d+ heard$", line):
        text.stylize("bold")
    return text


if __name__ == "__main__":
    main()
