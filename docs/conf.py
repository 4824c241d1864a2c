"""How Sphinx builds these pages."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective

import trio_webpubsub
from trio_webpubsub._shell.version import VERSION
from trio_webpubsub.cli.program import make_parser

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "trio-webpubsub"
author = "The trio-webpubsub authors"
copyright = author  # noqa: A001  # the name is Sphinx's
release = version = VERSION

extensions = ["sphinx.ext.autodoc", "sphinxcontrib_trio"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"trio-webpubsub {release}"
default_role = "py:obj"
exclude_patterns = ["_build", "topics/speed_table.rst"]

python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "fully-qualified"

nitpicky = True
nitpick_ignore_regex = [
    # The pages build without a network, so what others document is named but not linked: modules,
    ("py:.*", r"(trio|httpx|ssl|collections|typing|msgspec|contextlib|datetime|logging|os)\..*"),
    # what is built in,
    ("py:.*", r"[a-z]+|[A-Z]?[A-Za-z]*(Error|Warning)"),
    # and type variables, which stand nowhere.
    ("py:.*", r".*\.(T|M_co)"),
]


def public_places() -> dict[str, str]:
    """Say where a name that was defined deep inside is public."""
    packages = [module.name for module in pkgutil.iter_modules(trio_webpubsub.__path__, "trio_webpubsub.")]
    return {
        name: f"{place}.{name}"
        for place in ["trio_webpubsub", *packages]
        if not place.endswith("__main__")
        for name in getattr(importlib.import_module(place), "__all__", ())
    }


def link_to_the_public_place(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Resolve the inner name that autodoc finds in a signature to the name that users import."""
    place = public_places().get(node["reftarget"].rpartition(".")[2])
    if place is None or node["refdomain"] != "py":
        return None
    return env.domains.python_domain.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, text)


def read_google_style(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Turn the sections of a docstring into fields.

    As an extension of its own, napoleon takes what stands before a colon in an attribute's text for its type. Ours is
    prose, so attributes are read like anything else.
    """
    place = "" if what in {"attribute", "data", "property"} else what
    lines[:] = GoogleDocstring(lines, Config(), app, place, name, value, options).lines()


def shorten_names(
    app: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Show public names in signatures without the module that they were written in."""

    def public(match: re.Match[str]) -> str:
        return match[1] if match[1] in public_places() else match[0]

    return tuple(text and re.sub(r"\btrio_webpubsub(?:\.\w+)*\.(\w+)", public, text) for text in (signature, returned))


class CommandHelp(SphinxDirective):
    """``.. command:: listen`` shows what ``trio-webpubsub listen --help`` says."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Give the text as it stands; Sphinx calls this."""
        os.environ |= {"COLUMNS": "82", "NO_COLOR": "1"}  # argparse reads them
        text = make_parser()[1][self.arguments[0]].format_help()
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> None:
    """Hook these in; Sphinx calls this."""
    app.add_directive("command", CommandHelp)
    app.connect("autodoc-process-docstring", read_google_style)
    app.connect("autodoc-process-signature", shorten_names)
    app.connect("missing-reference", link_to_the_public_place)
