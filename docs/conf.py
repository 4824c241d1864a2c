"""How Sphinx builds these pages."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from typing import TYPE_CHECKING

import trio_webpubsub

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "trio-webpubsub"
author = "The trio-webpubsub authors"
copyright = author  # noqa: A001  # the name is Sphinx's
release = importlib.metadata.version(project)
version = release

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
html_theme = "furo"
html_title = f"trio-webpubsub {release}"
default_role = "py:obj"
exclude_patterns = ["_build"]

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

nitpicky = True
# The pages build without a network, so what others document is named but not linked.
nitpick_ignore_regex = [
    ("py:.*", r"(trio|httpx|ssl|collections|typing|msgspec|contextlib|datetime|logging|os)\..*"),
    ("py:.*", r"[a-z]+|[A-Z]?[A-Za-z]*(Error|Warning)"),
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


def setup(app: Sphinx) -> None:
    """Hook it in; Sphinx calls this."""
    app.connect("missing-reference", link_to_the_public_place)
