"""How Sphinx builds these pages."""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
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
autodoc_typehints_format = "short"

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
    packages = [module.name for module in pkgutil.iter_modules(trio_webpubsub.__path__) if module.name[0] != "_"]
    return {
        name: f"{place}.{name}"
        for place in ["trio_webpubsub", *(f"trio_webpubsub.{package}" for package in packages)]
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


@cache
def said_of_data() -> dict[str, list[str]]:
    """Read what stands below the names that are neither classes nor functions.

    Autodoc looks for it in the module that a name is imported from, which may not be the one that it was written in.
    """
    modules = pkgutil.walk_packages(trio_webpubsub.__path__, "trio_webpubsub.")
    return {
        name: lines
        for module in modules
        if not module.name.endswith("__main__")
        for (owner, name), lines in ModuleAnalyzer.for_module(module.name).find_attr_docs().items()
        if not owner
    }


def read_docstring(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Find the docstring of data, and turn the sections of any other into fields.

    As an extension of its own, napoleon takes what stands before a colon in an attribute's text for its type. Ours is
    prose, so attributes are read like anything else.
    """
    if what == "data":
        lines[:] = said_of_data()[name.rpartition(".")[2]]
        return
    place = "" if what in {"attribute", "property"} else what
    lines[:] = GoogleDocstring(lines, Config(), app, place, name, value, options).lines()


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
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("missing-reference", link_to_the_public_place)
